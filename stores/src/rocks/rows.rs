//! Rows of read models: the port [`Rows`] of `projections`.

use std::ops::ControlFlow;

use event_schemas::Sequence;
use projections::ports::{ReadRows, RowChange, RowChanges, Rows, RowsFault, Table};
use rocksdb::{ColumnFamily, DBRawIterator, ReadOptions, Snapshot, WriteBatch};

use super::{RocksFault, RocksStore};

/// Where the checkpoint of a projection stands in its column family; a table's prefix never starts with zero.
const CHECKPOINT_KEY: [u8; 1] = [0];

/// What a row takes in a batch beside its bytes, at most: a tag, the column family, lengths.
const ROW_OVERHEAD_BYTES: usize = 16;

type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

impl From<RocksFault> for RowsFault {
    fn from(fault: RocksFault) -> Self {
        Self::Io(fault.to_string())
    }
}

/// What all keys of a table start with: its name behind a byte of length.
fn table_prefix(table: &Table) -> Vec<u8> {
    let name = table.name.as_bytes();
    assert!((1..=255).contains(&name.len()), "a table's name has 1 to 255 bytes: {:?}", table.name);
    let mut prefix = Vec::with_capacity(64);
    prefix.extend(u8::try_from(name.len()));
    prefix.extend_from_slice(name);
    prefix
}

fn row_key(table: &Table, key: &[u8]) -> Vec<u8> {
    let mut out = table_prefix(table);
    out.extend_from_slice(key);
    out
}

/// The first key behind everything that starts with this prefix. A prefix ends with a character of a name, or with a
/// length below 255 when there is none, so adding one to its last byte never overflows in UTF-8 text.
fn prefix_end(mut prefix: Vec<u8>) -> Vec<u8> {
    if let Some(last) = prefix.last_mut() {
        *last = last.checked_add(1).unwrap_or(u8::MAX);
    }
    prefix
}

fn decode_checkpoint(projection: &str, bytes: Option<&[u8]>) -> Result<Sequence, RowsFault> {
    match bytes {
        None => Ok(Sequence::ZERO),
        Some(bytes) => match <[u8; 8]>::try_from(bytes) {
            Ok(bytes) => Ok(Sequence(u64::from_be_bytes(bytes))),
            Err(_) => Err(RowsFault::Io(format!("the checkpoint of {projection} has {} bytes", bytes.len()))),
        },
    }
}

/// Visits the rows between two keys of a column family, with the prefix of the table taken off.
fn visit_rows(
    store: &RocksStore,
    mut iterator: DBRawIterator<'_>,
    prefix: usize,
    backwards: bool,
    visit: &mut Visit<'_>,
) -> Result<(), RowsFault> {
    if backwards {
        iterator.seek_to_last();
    } else {
        iterator.seek_to_first();
    }
    while let Some((key, value)) = iterator.item() {
        if visit(key.get(prefix..).unwrap_or_default(), value).is_break() {
            return Ok(());
        }
        if backwards {
            iterator.prev();
        } else {
            iterator.next();
        }
    }
    // An iterator ends in the same way at its last row and at a block that it can't read.
    iterator.status().map_err(|error| store.fault(&error).into())
}

/// The bounds of a range within a table, as RocksDB wants them; `None` if it is empty.
fn bounds(table: &Table, from: &[u8], to: Option<&[u8]>) -> Option<(usize, ReadOptions)> {
    let lower = row_key(table, from);
    let upper = to.map_or_else(|| prefix_end(table_prefix(table)), |to| row_key(table, to));
    if lower >= upper {
        return None;
    }
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(lower);
    options.set_iterate_upper_bound(upper);
    Some((table.name.len() + 1, options))
}

impl ReadRows for RocksStore {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        let Some(family) = self.family(table.projection)? else { return Ok(None) };
        self.inner.db.get_cf(family, row_key(table, key)).map_err(|error| self.fault(&error).into())
    }

    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        let Some(family) = self.family(table.projection)? else { return Ok(()) };
        let Some((prefix, options)) = bounds(table, from, to) else { return Ok(()) };
        visit_rows(self, self.inner.db.raw_iterator_cf_opt(family, options), prefix, backwards, visit)
    }

    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        let Some(family) = self.family(projection)? else { return Ok(Sequence::ZERO) };
        let value = self.inner.db.get_cf(family, CHECKPOINT_KEY).map_err(|error| self.fault(&error))?;
        decode_checkpoint(projection, value.as_deref())
    }
}

/// The rows of one moment.
struct Moment<'a> {
    store: &'a RocksStore,
    snapshot: Snapshot<'a>,
}

impl ReadRows for Moment<'_> {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        let Some(family) = self.store.family(table.projection)? else { return Ok(None) };
        self.snapshot.get_cf(family, row_key(table, key)).map_err(|error| self.store.fault(&error).into())
    }

    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        let Some(family) = self.store.family(table.projection)? else { return Ok(()) };
        let Some((prefix, options)) = bounds(table, from, to) else { return Ok(()) };
        visit_rows(self.store, self.snapshot.raw_iterator_cf_opt(family, options), prefix, backwards, visit)
    }

    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        let Some(family) = self.store.family(projection)? else { return Ok(Sequence::ZERO) };
        let value = self.snapshot.get_cf(family, CHECKPOINT_KEY).map_err(|error| self.store.fault(&error))?;
        decode_checkpoint(projection, value.as_deref())
    }
}

impl Rows for RocksStore {
    fn commit(&self, changes: RowChanges) -> Result<(), RowsFault> {
        self.writable()?;
        self.settle_origin()?;
        // Hundreds of thousands of rows may come at once: the batch is not grown, and a key is put together where the one before
        // it was, behind the name of its table.
        let bytes = |(table, key, value): &RowChange| {
            table.name.len() + key.len() + value.as_ref().map_or(0, Vec::len) + ROW_OVERHEAD_BYTES
        };
        let mut batch = WriteBatch::with_capacity_bytes(changes.rows.iter().map(bytes).sum());
        let (mut row_key, mut of): (Vec<u8>, Option<(&'static Table, usize, &ColumnFamily)>) = (Vec::new(), None);
        for (table, key, value) in changes.rows {
            let (prefix, family) = match of {
                Some((same, prefix, family)) if std::ptr::eq(same, table) => (prefix, family),
                _ => {
                    let Some(family) = self.family(table.projection)? else { continue };
                    row_key = table_prefix(table);
                    of = Some((table, row_key.len(), family));
                    (row_key.len(), family)
                }
            };
            row_key.truncate(prefix);
            row_key.extend_from_slice(&key);
            match value {
                Some(value) => batch.put_cf(family, &row_key, value),
                None => batch.delete_cf(family, &row_key),
            }
        }
        for (projection, sequence) in changes.checkpoints {
            let Some(family) = self.family(projection)? else { continue };
            batch.put_cf(family, CHECKPOINT_KEY, sequence.0.to_be_bytes());
        }
        Ok(self.write(batch, false)?)
    }

    fn reset(&self, projection: &'static str, tables: &[&'static Table]) -> Result<(), RowsFault> {
        self.writable()?;
        let Some(own) = self.family(projection)? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        for table in tables {
            let Some(family) = self.family(table.projection)? else { continue };
            batch.delete_range_cf(family, table_prefix(table), prefix_end(table_prefix(table)));
        }
        batch.delete_cf(own, CHECKPOINT_KEY);
        self.write(batch, false)?;
        // Frees the space, and spares the reads of the rebuild from stepping over what was deleted.
        self.inner.db.compact_range_cf(own, None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }

    fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault> {
        if self.inner.read_only {
            // It shows one moment only.
            read(self);
        } else {
            read(&Moment { store: self, snapshot: self.inner.db.snapshot() });
        }
        Ok(())
    }
}

impl RocksStore {
    /// Empties a projection, whatever tables it had, and forgets its checkpoint.
    pub fn wipe(&self, projection: &str) -> Result<(), RocksFault> {
        self.writable()?;
        let Some(family) = self.family(projection)? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(family, vec![0], vec![u8::MAX; 2]);
        self.write(batch, true)?;
        self.inner.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }

    /// The sequence that a projection has applied.
    pub fn applied(&self, projection: &str) -> Result<Sequence, RowsFault> {
        let Some(family) = self.family(projection)? else { return Ok(Sequence::ZERO) };
        let value = self.inner.db.get_cf(family, CHECKPOINT_KEY).map_err(|error| self.fault(&error))?;
        decode_checkpoint(projection, value.as_deref())
    }
}
