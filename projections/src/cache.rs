//! A write-back cache of rows: hot rows are read once, changed in memory, and written once a commit.
//!
//! The runner is the only writer of a projection's tables, so rows may stay in the cache across commits. When there are too
//! many of them the cache is emptied right after they were handed over, which keeps it bounded without bookkeeping per use.

use std::collections::HashMap;

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

/// The cached rows of one table. The map leads to places in a list, which keeps it small enough for the processor's caches.
#[derive(Debug)]
pub(crate) struct Cached<R: Row> {
    places: HashMap<R::Key, usize, RandomState>,
    slots: Vec<Slot<R>>,
    dirty: Vec<(R::Key, usize)>,
}

impl<R: Row> Default for Cached<R> {
    fn default() -> Self {
        Self { places: HashMap::default(), slots: Vec::new(), dirty: Vec::new() }
    }
}

impl<R: Row> Cached<R> {
    fn place(&mut self, rows: &dyn ReadRows, key: &R::Key) -> Result<usize, RowsFault> {
        if let Some(place) = self.places.get(key) {
            return Ok(*place);
        }
        let row = get(rows, key)?;
        let place = self.slots.len();
        self.places.insert(key.clone(), place);
        self.slots.push(Slot { row, dirty: false });
        Ok(place)
    }

    /// The slot of a place that `place` gave. It is there: both lists are emptied together only.
    #[allow(clippy::indexing_slicing)]
    fn slot(&mut self, place: usize) -> &mut Slot<R> {
        &mut self.slots[place]
    }

    fn mark(&mut self, key: &R::Key, place: usize) {
        if !std::mem::replace(&mut self.slot(place).dirty, true) {
            self.dirty.push((key.clone(), place));
        }
    }

    /// The row of a key.
    pub(crate) fn get(&mut self, rows: &dyn ReadRows, key: &R::Key) -> Result<Option<&R>, RowsFault> {
        let place = self.place(rows, key)?;
        Ok(self.slot(place).row.as_ref())
    }

    /// The row of a key, to be changed.
    pub(crate) fn get_mut(&mut self, rows: &dyn ReadRows, key: &R::Key) -> Result<Option<&mut R>, RowsFault> {
        let place = self.place(rows, key)?;
        if self.slot(place).row.is_some() {
            self.mark(key, place);
        }
        Ok(self.slot(place).row.as_mut())
    }

    /// The row of a key, to be changed; made if there is none.
    pub(crate) fn get_or_default(&mut self, rows: &dyn ReadRows, key: &R::Key) -> Result<&mut R, RowsFault>
    where
        R: Default,
    {
        let place = self.place(rows, key)?;
        self.mark(key, place);
        Ok(self.slot(place).row.get_or_insert_default())
    }

    /// Puts a row in the place of whatever is there.
    pub(crate) fn put(&mut self, rows: &dyn ReadRows, key: &R::Key, row: R) -> Result<(), RowsFault> {
        let place = self.place(rows, key)?;
        self.mark(key, place);
        self.slot(place).row = Some(row);
        Ok(())
    }

    /// How many rows wait to be handed over.
    pub(crate) const fn pending(&self) -> usize {
        self.dirty.len()
    }

    /// Hands over the changed rows, in the order of their keys.
    pub(crate) fn flush(&mut self, changes: &mut RowChanges) {
        self.dirty.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
        changes.rows.reserve(self.dirty.len());
        for (key, place) in self.dirty.drain(..) {
            if let Some(slot) = self.slots.get_mut(place) {
                slot.dirty = false;
                changes.rows.push((R::TABLE, R::key_bytes(&key), slot.row.as_ref().map(Row::value_bytes)));
            }
        }
        if self.slots.len() > CACHE_MAX_ROWS {
            self.places.clear();
            self.slots.clear();
        }
    }
}
