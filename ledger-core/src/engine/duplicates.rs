//! Known ids: the verdict of an earlier command is read from the journal and compared.
//!
//! Blocks that were read stay in a small cache with the offsets of their events, since retries come in the order of the
//! first attempts: replaying an import reads each block once.

use std::collections::VecDeque;

use event_schemas::codec::Reader;
use event_schemas::{Block, Event, RecordedEvent, Sequence};

use crate::ports::{JournalFault, JournalReader};

const CACHED_BLOCKS: usize = 16;

struct CachedBlock {
    block: Block,
    /// Where each event starts in the payload.
    offsets: Vec<usize>,
}

/// Reads single events of the journal.
pub(super) struct Recorded {
    reader: Box<dyn JournalReader>,
    cache: VecDeque<CachedBlock>,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorded").field("cached", &self.cache.len()).finish_non_exhaustive()
    }
}

impl Recorded {
    pub(super) fn new(reader: Box<dyn JournalReader>) -> Self {
        Self { reader, cache: VecDeque::new() }
    }

    /// The durable event of this sequence.
    pub(super) fn event(&mut self, sequence: Sequence) -> Result<RecordedEvent, JournalFault> {
        let holds = |cached: &CachedBlock| {
            let header = cached.block.header();
            (header.first_sequence..=header.last_sequence()).contains(&sequence)
        };
        if let Some(cached) = self.cache.iter().find(|cached| holds(cached)) {
            return decode(cached, sequence);
        }
        let missing = || JournalFault::Damaged(format!("event {sequence} is indexed, but the journal ends before it"));
        let block = self.reader.block_at(sequence)?.ok_or_else(missing)?;
        let offsets = offsets(&block)?;
        let cached = CachedBlock { block, offsets };
        let event = decode(&cached, sequence);
        if self.cache.len() >= CACHED_BLOCKS {
            self.cache.pop_front();
        }
        self.cache.push_back(cached);
        event
    }
}

fn offsets(block: &Block) -> Result<Vec<usize>, JournalFault> {
    let damaged = |error| JournalFault::Damaged(format!("block at {}: {error}", block.header().first_sequence));
    let payload = block.payload();
    let mut reader = Reader::new(payload);
    let mut offsets = Vec::new();
    while reader.remaining() > 0 {
        offsets.push(payload.len().saturating_sub(reader.remaining()));
        let length = reader.number("event length").map_err(damaged)?;
        reader.bytes(length, "event").map_err(damaged)?;
    }
    Ok(offsets)
}

fn decode(cached: &CachedBlock, sequence: Sequence) -> Result<RecordedEvent, JournalFault> {
    let header = cached.block.header();
    let nth = sequence.0.saturating_sub(header.first_sequence.0);
    let bytes = usize::try_from(nth)
        .ok()
        .and_then(|nth| cached.offsets.get(nth))
        .and_then(|offset| cached.block.payload().get(*offset..))
        .ok_or_else(|| JournalFault::Damaged(format!("event {sequence} is not in its block")))?;
    let event = Event::decode(&mut Reader::new(bytes))
        .map_err(|error| JournalFault::Damaged(format!("event {sequence}: {error}")))?;
    Ok(cached.block.recorded(sequence, event))
}
