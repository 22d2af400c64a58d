//! Digests of read models: equal rows, equal digest, whatever the store and the order in which they were written.
//!
//! Two digests are comparable at the same sequence only. Personal columns are left out, so that erasing a person changes no
//! digest; [`without_personal_columns`] is the one place that knows them.

use std::borrow::Cow;
use std::ops::ControlFlow;

use event_schemas::digest::ElementHash;
use event_schemas::{Digest, MultisetHash, Sequence};

use crate::ports::{ReadRows, RowsFault, Table};
use crate::projection::Projection;

/// The digest of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableDigest {
    /// The table.
    pub table: &'static Table,
    /// How many rows it has.
    pub rows: u64,
    /// Their digest.
    pub digest: Digest,
}

/// The digest of a projection's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionDigest {
    /// The projection.
    pub projection: &'static str,
    /// The sequence it has applied.
    pub sequence: Sequence,
    /// How many rows it has.
    pub rows: u64,
    /// The digest of all of them.
    pub digest: Digest,
    /// The same for each table.
    pub tables: Vec<TableDigest>,
}

/// A row's value as it counts for digests. No table has personal columns yet; one that has them cuts them out here.
pub fn without_personal_columns<'a>(_: &'static Table, value: &'a [u8]) -> Cow<'a, [u8]> {
    Cow::Borrowed(value)
}

/// The hash of one row: of its table's name and its key, each behind its length, and its value.
pub(crate) fn row_hash(table: &'static Table, key: &[u8], value: &[u8]) -> ElementHash {
    let value = without_personal_columns(table, value);
    let name = table.name.as_bytes();
    ElementHash::of_parts(&[&(name.len() as u64).to_le_bytes(), name, &(key.len() as u64).to_le_bytes(), key, &value])
}

/// Adds all rows of a table to a hash.
pub(crate) fn add_table(rows: &dyn ReadRows, table: &'static Table, hash: &mut MultisetHash) -> Result<(), RowsFault> {
    rows.range(table, &[], None, false, &mut |key, value| {
        hash.insert(row_hash(table, key, value));
        ControlFlow::Continue(())
    })
}

/// The digest of a projection's rows. Call it inside [`Rows::snapshot`](crate::ports::Rows::snapshot) while a runner runs.
pub fn digest(rows: &dyn ReadRows, projection: &dyn Projection) -> Result<ProjectionDigest, RowsFault> {
    let mut tables = Vec::new();
    for &table in projection.tables() {
        let mut hash = MultisetHash::default();
        add_table(rows, table, &mut hash)?;
        tables.push(TableDigest { table, rows: hash.count(), digest: hash.digest() });
    }
    Ok(of_tables(projection.name(), rows.checkpoint(projection.name())?, tables))
}

/// A projection's digest from those of its tables.
pub(crate) fn of_tables(projection: &'static str, sequence: Sequence, tables: Vec<TableDigest>) -> ProjectionDigest {
    let mut hash = MultisetHash::default();
    for table in &tables {
        hash.insert(ElementHash::of_parts(&[&table.digest.0, table.table.name.as_bytes()]));
    }
    let rows = tables.iter().map(|table| table.rows).sum();
    ProjectionDigest { projection, sequence, rows, digest: hash.digest(), tables }
}
