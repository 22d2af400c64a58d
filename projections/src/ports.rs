//! Ports: where events come from and where rows are kept.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use event_schemas::{Block, Sequence};

/// A feed that failed. The runner stops with an alarm; nothing is skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event feed failed: {0}")]
pub struct FeedFault(pub String);

/// Durable blocks, in order.
pub trait EventFeed: Send {
    /// The block that holds the sequence behind `after`, waiting up to `wait` for it to become durable.
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault>;
}

/// Rows that could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowsFault {
    /// The store failed.
    #[error("the read-model store failed: {0}")]
    Io(String),
    /// A row does not have the form its table declares.
    #[error("a row of {table} can't be read: {reason}")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// The type of a column, for stores that have columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// A UUID.
    Id,
    /// A sequence, count or other number of 64 bits.
    Number,
    /// Minor units of a currency, up to 38 digits.
    Minor,
    /// A text.
    Text,
    /// A calendar date.
    Date,
    /// A point in time, in microseconds.
    Time,
    /// A truth value.
    Flag,
}

/// A table that a projection declares: its name and its columns, those of the key first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The name, `projection_rows`.
    pub name: &'static str,
    /// The projection it belongs to.
    pub projection: &'static str,
    /// Name and type of each column.
    pub columns: &'static [(&'static str, ColumnType)],
    /// How many of them, from the first, are the key.
    pub key_columns: usize,
}

/// Reading rows. Keys sort as their bytes.
pub trait ReadRows {
    /// The value of a key.
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault>;

    /// Visits the rows with `from <= key < to` (`None`: to the end of the table) in the order of their keys, or backwards,
    /// until the visitor breaks off.
    #[allow(clippy::type_complexity)]
    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault>;

    /// The sequence that a projection has applied.
    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault>;
}

/// A change of one row: table, key, and the new value or `None` to delete.
pub type RowChange = (&'static Table, Vec<u8>, Option<Vec<u8>>);

/// Changes to rows, applied all or not at all, together with the checkpoints they bring.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RowChanges {
    /// The rows; where a key comes twice, the later change counts.
    pub rows: Vec<RowChange>,
    /// Projection and the sequence it has now applied.
    pub checkpoints: Vec<(&'static str, Sequence)>,
}

/// Rows that are kept somewhere. Reading sees what was committed.
pub trait Rows: ReadRows + Send + Sync {
    /// Commits changes in one transaction.
    fn commit(&self, changes: RowChanges) -> Result<(), RowsFault>;

    /// Deletes all rows of these tables and the checkpoint of their projection, in one transaction.
    fn reset(&self, projection: &'static str, tables: &[&'static Table]) -> Result<(), RowsFault>;

    /// Reads from one moment: nothing that is committed meanwhile is seen.
    fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault>;
}

impl<T: EventFeed + ?Sized> EventFeed for &mut T {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        (**self).next_block(after, wait)
    }
}

impl<T: EventFeed + ?Sized> EventFeed for Box<T> {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        (**self).next_block(after, wait)
    }
}

macro_rules! rows_behind {
    ($pointer:ty) => {
        impl<T: ReadRows + ?Sized> ReadRows for $pointer {
            fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
                (**self).get(table, key)
            }

            fn range(
                &self,
                table: &'static Table,
                from: &[u8],
                to: Option<&[u8]>,
                backwards: bool,
                visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
            ) -> Result<(), RowsFault> {
                (**self).range(table, from, to, backwards, visit)
            }

            fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
                (**self).checkpoint(projection)
            }
        }

        impl<T: Rows + ?Sized> Rows for $pointer {
            fn commit(&self, changes: RowChanges) -> Result<(), RowsFault> {
                (**self).commit(changes)
            }

            fn reset(&self, projection: &'static str, tables: &[&'static Table]) -> Result<(), RowsFault> {
                (**self).reset(projection, tables)
            }

            fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault> {
                (**self).snapshot(read)
            }
        }
    };
}

rows_behind!(&T);
rows_behind!(Arc<T>);
rows_behind!(Box<T>);
