//! The rows of a replay: those that projecting reads again, and hashes of the rest.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_schemas::{MultisetHash, Sequence};
use foldhash::quality::RandomState;

use crate::digest::row_hash;
use crate::memory::MemoryRows;
use crate::ports::{ReadRows, RowChanges, Rows, RowsFault, Table};
use crate::statements::rows::POSTINGS;
use crate::{access, audit, notifications};

/// The tables whose rows are written once and never again, each with how many bytes at the end of a key tell the rows of a
/// group apart: the postings of an account, the acts of an actor, 65,536 acts that follow one another.
const WRITTEN_ONCE: [(&Table, usize); 9] = [
    (&POSTINGS, 16),
    (&audit::rows::ACTS, 2),
    (&audit::rows::BY_ACTOR, 8),
    (&audit::rows::BY_ACCOUNT, 8),
    (&audit::rows::BY_CUSTOMER, 8),
    (&notifications::rows::NOTICES, 16),
    (&access::rows::READS, 2),
    (&access::rows::BY_ACTOR, 8),
    (&access::rows::BY_SUBJECT, 8),
];

/// The group of a key in a table that is written once; `None` for another table. Groups sort as their keys do, for what is
/// left out is of one length and stands at the end.
pub(super) fn group_of<'a>(table: &Table, key: &'a [u8]) -> Option<&'a [u8]> {
    let (_, tail) = WRITTEN_ONCE.iter().find(|(one, _)| one.name == table.name)?;
    key.get(..key.len().saturating_sub(*tail))
}

#[derive(Debug, Default)]
struct Group {
    hash: MultisetHash,
    /// The newest row, of postings only.
    newest: Option<Box<(Vec<u8>, Vec<u8>)>>,
}

/// The rows of one table that is written once.
#[derive(Debug, Default)]
struct Once {
    all: MultisetHash,
    groups: HashMap<Box<[u8]>, Group, RandomState>,
}

/// A group whose rows are kept.
pub(super) type Doubtful = (&'static Table, Box<[u8]>);

/// The rows of a replay.
#[derive(Debug, Default)]
pub(super) struct ReplayRows {
    memory: MemoryRows,
    once: Mutex<HashMap<&'static str, Once, RandomState>>,
    keep: Option<Doubtful>,
}

impl ReplayRows {
    fn once(&self) -> MutexGuard<'_, HashMap<&'static str, Once, RandomState>> {
        self.once.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No rows, those of the group in doubt to be kept.
    pub(super) fn new(keep: Option<Doubtful>) -> Self {
        Self { keep, ..Self::default() }
    }

    /// The rows that are kept.
    pub(super) const fn kept(&self) -> &MemoryRows {
        &self.memory
    }

    /// The hash of each group of a table that is written once.
    pub(super) fn groups(&self, table: &Table) -> HashMap<Box<[u8]>, MultisetHash, RandomState> {
        let once = self.once();
        let groups = once.get(table.name).into_iter().flat_map(|once| &once.groups);
        groups.map(|(group, of_group)| (group.clone(), of_group.hash)).collect()
    }

    /// The hash of all rows of a table.
    pub(super) fn hash(&self, table: &'static Table) -> Result<MultisetHash, RowsFault> {
        let mut hash = MultisetHash::default();
        if group_of(table, &[]).is_some() {
            hash = self.once().get(table.name).map(|once| once.all).unwrap_or_default();
        } else {
            crate::digest::add_table(&self.memory, table, &mut hash)?;
        }
        Ok(hash)
    }
}

impl ReadRows for ReplayRows {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        self.memory.get(table, key)
    }

    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        if table.name != POSTINGS.name {
            return self.memory.range(table, from, to, backwards, visit);
        }
        // Projecting reads an account's newest posting, and that is all there is to see here.
        let once = self.once();
        let of_account = once.get(table.name).zip(from.get(..16)).and_then(|(once, account)| once.groups.get(account));
        if let Some((key, value)) = of_account.and_then(|group| group.newest.as_deref())
            && key.as_slice() >= from
            && to.is_none_or(|to| key.as_slice() < to)
        {
            let _ = visit(key, value);
        }
        Ok(())
    }

    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        self.memory.checkpoint(projection)
    }
}

impl Rows for ReplayRows {
    fn commit(&self, changes: RowChanges) -> Result<(), RowsFault> {
        let mut all = self.once();
        let mut kept = Vec::new();
        for (table, key, value) in changes.rows {
            let (Some(value), Some(group)) = (&value, group_of(table, &key)) else {
                kept.push((table, key, value));
                continue;
            };
            let hash = row_hash(table, &key, value);
            let once = all.entry(table.name).or_default();
            once.all.insert(hash);
            if self.keep.as_ref().is_some_and(|(of, doubtful)| of.name == table.name && **doubtful == *group) {
                kept.push((table, key.clone(), Some(value.clone())));
            }
            let of_group = match once.groups.get_mut(group) {
                Some(of_group) => of_group,
                None => once.groups.entry(group.into()).or_default(),
            };
            of_group.hash.insert(hash);
            if table.name == POSTINGS.name && of_group.newest.as_ref().is_none_or(|newest| newest.0 < key) {
                of_group.newest = Some(Box::new((key, value.clone())));
            }
        }
        self.memory.commit(RowChanges { rows: kept, checkpoints: changes.checkpoints })
    }

    fn reset(&self, projection: &'static str, tables: &[&'static Table]) -> Result<(), RowsFault> {
        let mut once = self.once();
        for table in tables {
            once.remove(table.name);
        }
        self.memory.reset(projection, tables)
    }

    fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault> {
        read(self);
        Ok(())
    }
}
