//! A write-back cache of rows: hot rows are read once, changed in memory, and written once a commit.
//!
//! The runner is the only writer of a projection's tables, so rows may stay in the cache across commits. When there are too
//! many of them the cache is emptied right after they were handed over, which keeps it bounded without bookkeeping per use.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::quality::RandomState;

use crate::ports::{ReadRows, RowChanges, RowsFault};
use crate::table::{Row, get};

/// The most rows a cache keeps across a commit: some hundred bytes each.
pub(crate) const CACHE_MAX_ROWS: usize = 1 << 19;

#[derive(Debug)]
struct Slot<R> {
    row: Option<R>,
    dirty: bool,
}

/// The cached rows of one table.
#[derive(Debug)]
pub(crate) struct Cached<R: Row> {
    slots: HashMap<R::Key, Slot<R>, RandomState>,
    dirty: Vec<R::Key>,
}

impl<R: Row> Default for Cached<R> {
    fn default() -> Self {
        Self { slots: HashMap::default(), dirty: Vec::new() }
    }
}

impl<R: Row> Cached<R> {
    fn slot<'a>(
        slots: &'a mut HashMap<R::Key, Slot<R>, RandomState>,
        rows: &dyn ReadRows,
        key: &R::Key,
    ) -> Result<&'a mut Slot<R>, RowsFault> {
        match slots.entry(key.clone()) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(Slot { row: get(rows, key)?, dirty: false })),
        }
    }

    /// The row of a key.
    pub(crate) fn get(&mut self, rows: &dyn ReadRows, key: &R::Key) -> Result<Option<&R>, RowsFault> {
        Self::slot(&mut self.slots, rows, key).map(|slot| slot.row.as_ref())
    }

    /// The row of a key, to be changed.
    pub(crate) fn get_mut(&mut self, rows: &dyn ReadRows, key: &R::Key) -> Result<Option<&mut R>, RowsFault> {
        let slot = Self::slot(&mut self.slots, rows, key)?;
        if slot.row.is_some() && !slot.dirty {
            slot.dirty = true;
            self.dirty.push(key.clone());
        }
        Ok(slot.row.as_mut())
    }

    /// The row of a key, to be changed; made if there is none.
    pub(crate) fn get_or_default(&mut self, rows: &dyn ReadRows, key: &R::Key) -> Result<&mut R, RowsFault>
    where
        R: Default,
    {
        let slot = Self::slot(&mut self.slots, rows, key)?;
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(key.clone());
        }
        Ok(slot.row.get_or_insert_default())
    }

    /// Puts a row in the place of whatever was there.
    pub(crate) fn put(&mut self, key: R::Key, row: R) {
        let before = self.slots.insert(key.clone(), Slot { row: Some(row), dirty: true });
        if before.is_none_or(|slot| !slot.dirty) {
            self.dirty.push(key);
        }
    }

    /// How many rows wait to be handed over.
    pub(crate) const fn pending(&self) -> usize {
        self.dirty.len()
    }

    /// Hands over the changed rows, in the order of their keys.
    pub(crate) fn flush(&mut self, changes: &mut RowChanges) {
        self.dirty.sort_unstable();
        for key in self.dirty.drain(..) {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.dirty = false;
                changes.rows.push((R::TABLE, R::key_bytes(&key), slot.row.as_ref().map(Row::value_bytes)));
            }
        }
        if self.slots.len() > CACHE_MAX_ROWS {
            self.slots.clear();
        }
    }
}
