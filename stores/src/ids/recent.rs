//! The ids that are not in a run yet.

use event_schemas::Sequence;
use hashbrown::HashTable;

use super::filter::Probe;

/// A map of ids in memory: 33 bytes a slot, at most seven of eight slots used.
pub(super) struct Recent {
    table: HashTable<(u128, u64)>,
    seed: u64,
    /// The sequence in front of the first one covered.
    pub(super) after: Sequence,
    min: u128,
    max: u128,
}

impl Recent {
    pub(super) fn new(capacity: usize, seed: u64, after: Sequence) -> Self {
        Self { table: HashTable::with_capacity(capacity), seed, after, min: u128::MAX, max: 0 }
    }

    /// Empty again, with its memory.
    pub(super) fn reuse(mut self, seed: u64, after: Sequence) -> Self {
        self.table.clear();
        Self { table: self.table, seed, after, min: u128::MAX, max: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) const fn max(&self) -> u128 {
        self.max
    }

    /// Adds an id; one that is there keeps its sequence, since the first verdict stands.
    #[inline]
    pub(super) fn insert(&mut self, id: u128, sequence: Sequence) {
        self.min = self.min.min(id);
        self.max = self.max.max(id);
        let seed = self.seed;
        let hash = |&(id, _): &(u128, u64)| Probe::place(id, seed);
        self.table.entry(Probe::place(id, seed), |&(other, _)| other == id, hash).or_insert_with(|| (id, sequence.0));
    }

    #[inline]
    pub(super) fn get(&self, id: u128, place: u64) -> Option<Sequence> {
        if id < self.min || self.max < id {
            return None;
        }
        self.table.find(place, |&(other, _)| other == id).map(|&(_, sequence)| Sequence(sequence))
    }

    /// All of it, in the order of ids.
    pub(super) fn sorted(&self) -> Vec<(u128, u64)> {
        let mut ids: Vec<_> = self.table.iter().copied().collect();
        ids.sort_unstable();
        ids
    }
}
