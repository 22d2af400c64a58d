//! Rows and a feed in memory: for tests, and for `verify`, which replays beside the rows that are kept.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_schemas::{Block, Sequence};

use crate::ports::{EventFeed, FeedFault, ReadRows, RowChanges, Rows, RowsFault, Table};

#[derive(Debug, Default, Clone)]
struct Kept {
    tables: BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>,
    checkpoints: BTreeMap<&'static str, Sequence>,
}

impl ReadRows for Kept {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        Ok(self.tables.get(table.name).and_then(|rows| rows.get(key)).cloned())
    }

    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        let Some(rows) = self.tables.get(table.name) else { return Ok(()) };
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = rows.range::<[u8], _>((Bound::Included(from), end));
        while let Some((key, value)) = if backwards { range.next_back() } else { range.next() } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        Ok(self.checkpoints.get(projection).copied().unwrap_or_default())
    }
}

/// Rows in memory. Clones are cheap and see the same rows.
#[derive(Debug, Default, Clone)]
pub struct MemoryRows {
    // A snapshot holds the inner Arc; a commit meanwhile copies what it holds, so neither waits for the other.
    kept: Arc<Mutex<Arc<Kept>>>,
}

impl MemoryRows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Arc<Kept> {
        Arc::clone(&self.lock())
    }
}

impl ReadRows for MemoryRows {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        self.lock().get(table, key)
    }

    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        self.now().range(table, from, to, backwards, visit)
    }

    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        self.lock().checkpoint(projection)
    }
}

impl Rows for MemoryRows {
    fn commit(&self, changes: RowChanges) -> Result<(), RowsFault> {
        let mut guard = self.lock();
        let kept = Arc::make_mut(&mut guard);
        for (table, key, value) in changes.rows {
            let rows = kept.tables.entry(table.name).or_default();
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        kept.checkpoints.extend(changes.checkpoints);
        Ok(())
    }

    fn reset(&self, projection: &'static str, tables: &[&'static Table]) -> Result<(), RowsFault> {
        let mut guard = self.lock();
        let kept = Arc::make_mut(&mut guard);
        for table in tables {
            kept.tables.remove(table.name);
        }
        kept.checkpoints.remove(projection);
        Ok(())
    }

    fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault> {
        read(self.now().as_ref());
        Ok(())
    }
}

/// Blocks in memory. Clones are cheap and see the same blocks.
#[derive(Debug, Default, Clone)]
pub struct MemoryFeed {
    shared: Arc<(Mutex<Vec<Block>>, Condvar)>,
}

impl MemoryFeed {
    /// These blocks, in order.
    pub fn new(blocks: Vec<Block>) -> Self {
        Self { shared: Arc::new((Mutex::new(blocks), Condvar::new())) }
    }

    /// Appends a block and wakes those who wait for it.
    pub fn push(&self, block: Block) {
        let (blocks, grown) = &*self.shared;
        blocks.lock().unwrap_or_else(PoisonError::into_inner).push(block);
        grown.notify_all();
    }
}

impl EventFeed for MemoryFeed {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        let (blocks, grown) = &*self.shared;
        let find = |blocks: &Vec<Block>| {
            blocks.get(blocks.partition_point(|block| block.header().last_sequence() <= after)).cloned()
        };
        let guard = blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = find(&guard) {
            return Ok(Some(block));
        }
        if wait.is_zero() {
            return Ok(None);
        }
        let (guard, _) = grown
            .wait_timeout_while(guard, wait, |blocks| find(blocks).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        Ok(find(&guard))
    }
}
