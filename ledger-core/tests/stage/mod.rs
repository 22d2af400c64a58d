//! What an engine in memory stands on: a clock whose hands a test moves, an id index and checkpoints in maps.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod talk;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use event_schemas::{CommandId, Sequence, Timestamp};
use ledger_core::ports::{CheckpointFault, Checkpoints, Clock, IdIndex, IdIndexFault};

pub const START_US: i64 = 1_790_000_000_000_000;

/// Two hands that a test moves: microseconds of the wall clock and of the monotonic one.
#[derive(Clone, Default)]
pub struct Hands {
    pub wall: Arc<AtomicI64>,
    pub monotonic: Arc<AtomicI64>,
}

impl Hands {
    pub fn new() -> Self {
        let hands = Self::default();
        hands.wall.store(START_US, Ordering::SeqCst);
        hands
    }
    pub fn advance(&self, us: i64) {
        self.wall.fetch_add(us, Ordering::SeqCst);
        self.monotonic.fetch_add(us, Ordering::SeqCst);
    }
    pub fn clock(&self) -> Clock {
        let (wall, monotonic) = (Arc::clone(&self.wall), Arc::clone(&self.monotonic));
        Clock {
            wall: Arc::new(move || Timestamp(wall.load(Ordering::SeqCst))),
            monotonic_us: Arc::new(move || monotonic.load(Ordering::SeqCst)),
        }
    }
}

#[derive(Default)]
pub struct MapIndex {
    pub map: BTreeMap<CommandId, Sequence>,
    pub through: Sequence,
}

impl IdIndex for MapIndex {
    fn indexed_sequence(&self) -> Sequence {
        self.through
    }
    fn lookup(&mut self, id: CommandId) -> Result<Option<Sequence>, IdIndexFault> {
        Ok(self.map.get(&id).copied())
    }
    fn record(&mut self, verdicts: &[(CommandId, Sequence)], through: Sequence) -> Result<(), IdIndexFault> {
        self.map.extend(verdicts.iter().copied());
        self.through = through;
        Ok(())
    }
    fn clear(&mut self) -> Result<(), IdIndexFault> {
        *self = Self::default();
        Ok(())
    }
}

#[derive(Default)]
pub struct MapCheckpoints(pub Mutex<BTreeMap<Sequence, Vec<u8>>>);

impl Checkpoints for MapCheckpoints {
    fn sequences(&self) -> Result<Vec<Sequence>, CheckpointFault> {
        Ok(self.0.lock().unwrap().keys().rev().copied().collect())
    }
    fn store(&self, sequence: Sequence, state: &[u8]) -> Result<(), CheckpointFault> {
        self.0.lock().unwrap().insert(sequence, state.to_vec());
        Ok(())
    }
    fn load(&self, sequence: Sequence) -> Result<Option<Vec<u8>>, CheckpointFault> {
        Ok(self.0.lock().unwrap().get(&sequence).cloned())
    }
    fn discard(&self, sequence: Sequence) -> Result<(), CheckpointFault> {
        self.0.lock().unwrap().remove(&sequence);
        Ok(())
    }
}
