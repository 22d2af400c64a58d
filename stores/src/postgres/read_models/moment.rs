//! Reading: one row, or ranges of one moment.

use std::cell::RefCell;
use std::ops::ControlFlow;

use event_schemas::Sequence;
use projections::ports::{ReadRows, RowsFault, Table};
use sqlx::Executor as _;
use sqlx::postgres::PgConnection;

use super::{Lent, QUERY_WITHIN, shape};

/// How many rows the first page of a range has; each further one has four times as many, up to the most.
const PAGE: i64 = 128;
const PAGE_MAX: i64 = 8_192;

/// The value of a key.
pub(super) fn get(lent: &mut Lent<'_>, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
    let (statement, book) = (shape::get(table), lent.inner.number());
    lent.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
        sqlx::query_scalar(&statement).bind(book).bind(key).fetch_optional(connection).await
    })
}

/// The sequence that a projection has applied.
pub(super) fn checkpoint(lent: &mut Lent<'_>, projection: &str) -> Result<Sequence, RowsFault> {
    let book = lent.inner.number();
    let found: Option<i64> = lent.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
        sqlx::query_scalar("SELECT sequence FROM read_model.checkpoints WHERE book = $1 AND projection = $2")
            .bind(book)
            .bind(projection)
            .fetch_optional(connection)
            .await
    })?;
    Ok(Sequence(found.and_then(|found| u64::try_from(found).ok()).unwrap_or(0)))
}

/// The rows of one moment: a transaction that sees nothing of what is committed after its first look.
pub(super) struct Moment<'a> {
    /// `None` once the connection broke, and with it the moment.
    lent: RefCell<Option<Lent<'a>>>,
}

impl<'a> Moment<'a> {
    pub(super) fn begin(mut lent: Lent<'a>) -> Result<Self, RowsFault> {
        lent.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await
        })?;
        Ok(Self { lent: RefCell::new(Some(lent)) })
    }

    fn with<T>(&self, read: impl FnOnce(&mut Lent<'a>) -> Result<T, RowsFault>) -> Result<T, RowsFault> {
        let mut lent = self.lent.borrow_mut();
        let Some(open) = lent.as_mut() else {
            return Err(RowsFault::Io("the connection to PostgreSQL broke during the query".into()));
        };
        let outcome = read(open);
        if outcome.is_err()
            && let Some(mut broken) = lent.take()
        {
            // Another connection would show another moment.
            broken.client = None;
        }
        outcome
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        if let Some(mut lent) = self.lent.take() {
            let ended =
                lent.ask(QUERY_WITHIN, async |connection: &mut PgConnection| connection.execute("COMMIT").await);
            if ended.is_err() {
                lent.client = None;
            }
        }
    }
}

impl ReadRows for Moment<'_> {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        self.with(|lent| get(lent, table, key))
    }

    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        let statement = shape::page(table, backwards);
        let (mut from, mut to, mut page) = (from.to_vec(), to.map(<[u8]>::to_vec), PAGE);
        loop {
            let rows: Vec<(Vec<u8>, Vec<u8>)> = self.with(|lent| {
                let book = lent.inner.number();
                lent.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
                    sqlx::query_as(&statement)
                        .bind(book)
                        .bind(&from)
                        .bind(to.as_ref())
                        .bind(page)
                        .fetch_all(connection)
                        .await
                })
            })?;
            for (key, value) in &rows {
                if visit(key, value).is_break() {
                    return Ok(());
                }
            }
            let whole = i64::try_from(rows.len()).is_ok_and(|count| count == page);
            let Some((last, _)) = rows.last().filter(|_| whole) else { return Ok(()) };
            if backwards {
                to = Some(last.clone());
            } else {
                from = projections::table::behind_key(last);
            }
            page = page.saturating_mul(4).min(PAGE_MAX);
        }
    }

    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        self.with(|lent| checkpoint(lent, projection))
    }
}
