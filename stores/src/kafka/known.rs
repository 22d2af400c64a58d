//! What is known of a journal in this process: where it ends, its newest blocks, and places of others. Readers share it, with
//! the writer if there is one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_schemas::{Block, Sequence};

use super::chain::Point;

/// How many bytes of the newest blocks are kept.
const RECENT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// How many places are kept: some 6 MB. When there are more, every second one is forgotten.
const PLACES_MAX: usize = 65_536;

#[derive(Debug)]
struct Inner {
    /// The end, as far as it is durable and counts.
    end: Point,
    /// The newest blocks, each with what is known up to it.
    recent: VecDeque<(Point, Block)>,
    recent_bytes: usize,
    /// By the last sequence of a block: what is known up to it.
    places: BTreeMap<Sequence, Point>,
}

/// What is known of a journal.
#[derive(Debug)]
pub(super) struct Known {
    inner: Mutex<Inner>,
    moved: Condvar,
}

impl Known {
    /// Of a journal that was read up to a point.
    pub(super) fn at(end: Point) -> Self {
        let places = BTreeMap::from([(end.sequence, end)]);
        let inner = Inner { end, recent: VecDeque::new(), recent_bytes: 0, places };
        Self { inner: Mutex::new(inner), moved: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self) -> Point {
        self.lock().end
    }

    /// The end is further on, without a new block.
    pub(super) fn ends(&self, end: Point) {
        let mut inner = self.lock();
        if end.offset > inner.end.offset {
            inner.end = end;
        }
    }

    /// The writer's newest block is durable.
    pub(super) fn grew(&self, end: Point, block: &Block) {
        let mut inner = self.lock();
        inner.end = end;
        inner.recent_bytes += block.bytes().len();
        inner.recent.push_back((end, block.clone()));
        while inner.recent_bytes > RECENT_MAX_BYTES {
            let Some((_, oldest)) = inner.recent.pop_front() else { break };
            inner.recent_bytes -= oldest.bytes().len();
        }
        inner.note(end);
        drop(inner);
        self.moved.notify_all();
    }

    /// Somebody has read a block.
    pub(super) fn note(&self, point: Point) {
        self.lock().note(point);
    }

    /// The block that holds a sequence, and what is known up to it, if it is among the newest.
    pub(super) fn recent(&self, sequence: Sequence) -> Option<(Point, Block)> {
        let inner = self.lock();
        let at = inner.recent.partition_point(|(point, _)| point.sequence < sequence);
        inner.recent.get(at).filter(|(_, block)| block.header().first_sequence <= sequence).cloned()
    }

    /// The nearest places on both sides of a sequence: up to the first, the journal ends before it.
    pub(super) fn around(&self, sequence: Sequence) -> (Point, Option<Point>) {
        let inner = self.lock();
        let below = inner.places.range(..sequence).next_back().map_or(Point::START, |(_, point)| *point);
        (below, inner.places.range(sequence..).next().map(|(_, point)| *point))
    }

    pub(super) fn wait_beyond(&self, after: Sequence, wait: Duration) {
        let inner = self.lock();
        let _ = self.moved.wait_timeout_while(inner, wait, |inner| inner.end.sequence <= after);
    }
}

impl Inner {
    fn note(&mut self, point: Point) {
        self.places.insert(point.sequence, point);
        if self.places.len() > PLACES_MAX {
            let mut keep = false;
            self.places.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::conformance::recorded_blocks;

    #[test]
    fn the_newest_blocks_and_places_are_found_by_sequence_and_bounded() {
        let blocks = recorded_blocks();
        let known = Known::at(Point::START);
        let mut ends = Vec::new();
        for (block, offset) in blocks.iter().zip(0..) {
            let (sequence, hash) = (block.header().last_sequence(), block.hash());
            let end = Point { offset, sequence, hash, head_offset: offset, ..Point::START };
            known.grew(end, block);
            ends.push(end);
        }
        for (block, end) in blocks.iter().zip(&ends) {
            for sequence in [block.header().first_sequence, block.header().last_sequence()] {
                assert_eq!(known.recent(sequence), Some((*end, block.clone())));
            }
        }
        assert_eq!(known.recent(known.end().sequence.next()), None);
        assert_eq!(known.around(blocks[3].header().first_sequence), (ends[2], Some(ends[3])));
        assert_eq!(known.around(Sequence(1)), (Point::START, Some(ends[0])));
        for number in 0..200_000 {
            known.note(Point { sequence: Sequence(100_000 + number), ..Point::START });
        }
        let inner = known.lock();
        assert!(inner.places.len() <= PLACES_MAX && inner.places.len() > PLACES_MAX / 2 - 1);
    }
}
