//! Sequence → place. Per segment its first sequence, and a mark for every frame that lies 64 KiB or more behind the mark
//! before it: 1,024 marks of 16 bytes for a full segment of 64 MiB, whatever the size of the frames. Finding a block is a
//! binary search over the segments, one over the marks, and a hop over at most 64 KiB of frames (or one larger frame).
//!
//! Marks are hints. A segment that was never looked at has none, and gets them when a reader hops through it; what is found
//! at the end is checked like everything that is read.

use event_schemas::Sequence;

use super::format::{FIRST_FRAME, Place};

const STRIDE: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: u64,
    first_sequence: Sequence,
}

#[derive(Debug)]
struct Entry {
    first_sequence: Sequence,
    marks: Vec<Mark>,
}

/// The index of one journal; segment `n` is entry `n - 1`.
#[derive(Debug, Default)]
pub(super) struct Index {
    segments: Vec<Entry>,
}

impl Index {
    /// How many segments it knows.
    pub(super) fn segments(&self) -> u32 {
        u32::try_from(self.segments.len()).unwrap_or(u32::MAX)
    }

    /// Adds the next segment; one that is known already changes nothing.
    pub(super) fn add_segment(&mut self, number: u32, first_sequence: Sequence) {
        if number == self.segments() + 1 {
            self.segments.push(Entry { first_sequence, marks: Vec::new() });
        }
    }

    /// Notes where a frame begins.
    pub(super) fn note(&mut self, place: Place, first_sequence: Sequence) {
        let Some(entry) = (place.segment as usize).checked_sub(1).and_then(|at| self.segments.get_mut(at)) else {
            return;
        };
        let at = entry.marks.partition_point(|mark| mark.offset < place.offset);
        let before = at.checked_sub(1).and_then(|at| entry.marks.get(at)).map_or(FIRST_FRAME, |mark| mark.offset);
        let far_behind = place.offset >= before + STRIDE;
        let far_ahead = entry.marks.get(at).is_none_or(|mark| place.offset + STRIDE <= mark.offset);
        if far_behind && far_ahead {
            entry.marks.insert(at, Mark { offset: place.offset, first_sequence });
        }
    }

    /// Where to start looking for a sequence: the place of a frame at or before it, and that frame's first sequence.
    pub(super) fn locate(&self, sequence: Sequence) -> Option<(Place, Sequence)> {
        let number = self.segments.partition_point(|entry| entry.first_sequence <= sequence);
        let entry = self.segments.get(number.checked_sub(1)?)?;
        let marks = entry.marks.partition_point(|mark| mark.first_sequence <= sequence);
        let (offset, first) = marks
            .checked_sub(1)
            .and_then(|at| entry.marks.get(at))
            .map_or((FIRST_FRAME, entry.first_sequence), |mark| (mark.offset, mark.first_sequence));
        Some((Place { segment: u32::try_from(number).ok()?, offset }, first))
    }
}
