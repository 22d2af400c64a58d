//! A standby that follows a journal before it is its turn: checkpoints and id index stay near the head, so that taking over reads
//! the last few events instead of all that came since this process last wrote.
//!
//! Nothing is decided here and nothing is kept in memory for the start, which trusts what it finds as always: a checkpoint by its
//! digest on the chain, the index by the sequence it says it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_schemas::{CommandId, EventBody, Sequence};

use super::start::{StartError, decode, newest_checkpoint};
use crate::ports::{Checkpoints, Head, IdIndex, JournalReader};

/// How long a follower waits at the head before it looks again.
const LOOK: Duration = Duration::from_millis(50);

/// How many events lie between two checkpoints at least. A digest is on the chain at each multiple of 65,536.
pub const FOLLOWED_EVERY_EVENTS: u64 = 65_536;

/// Follows a journal until it is told to stop; gives the sequence that it has come to. `every`: so many events lie between two
/// checkpoints at least.
pub fn follow(
    reader: &mut dyn JournalReader,
    checkpoints: &dyn Checkpoints,
    ids: &mut dyn IdIndex,
    every: u64,
    stop: &AtomicBool,
) -> Result<Sequence, StartError> {
    // What a checkpoint may be trusted by is looked up on the chain, wherever that ends.
    let anywhere = Head { sequence: Sequence(u64::MAX), ..Head::default() };
    let (mut state, mut stored) = newest_checkpoint(reader, anywhere, checkpoints)?;
    let indexed = ids.indexed_sequence();
    let (applied, mut at) = (stored, indexed.min(stored));
    let mut next = reader.block_at(at.next())?;
    while !stop.load(Ordering::Relaxed) {
        let Some(block) = next else {
            std::thread::sleep(LOOK);
            next = reader.next_block()?;
            continue;
        };
        let decoded = decode(&block)?;
        let mut digest = None;
        for (sequence, event) in &decoded.events {
            if *sequence > applied {
                state.apply(event).map_err(|error| StartError::Apply { sequence: *sequence, error })?;
                digest = matches!(event.body, EventBody::StateDigest(_)).then_some(*sequence);
            }
        }
        if decoded.last > indexed {
            let verdicts: Vec<(CommandId, Sequence)> = decoded
                .events
                .iter()
                .filter(|(sequence, _)| *sequence > indexed)
                .filter_map(|(sequence, event)| Some((event.cause.verdict_of()?, *sequence)))
                .collect();
            ids.record(&verdicts, decoded.last)?;
        }
        // A digest is the last event of its block, so the state is the one that it is of.
        if let Some(sequence) = digest.filter(|sequence| sequence.0.saturating_sub(stored.0) >= every) {
            checkpoints.store(sequence, &state.encode())?;
            stored = sequence;
        }
        at = decoded.last;
        next = reader.next_block()?;
    }
    Ok(at)
}
