//! Whether the columns that SQL shows are those of the row's own bytes: what somebody edited by hand is told.

use std::fmt::Write as _;

use projections::ports::{ColumnType, RowsFault, Table};
use projections::table::{behind_key, columns};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::{COMMIT_WITHIN, PostgresRows};

const PAGE: i64 = 4_096;

/// A page of rows with each column as the text that the row's bytes give: `$1` the book, `$2` the first key, `$3` how many.
fn page(table: &Table) -> String {
    let mut texts = String::new();
    for (column, kind) in table.columns {
        // Writing to a text never fails.
        let _ = match kind {
            ColumnType::Time => {
                write!(texts, ", to_char(\"{column}\" AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
            ColumnType::Date => write!(texts, ", to_char(\"{column}\", 'YYYY-MM-DD')"),
            ColumnType::Id | ColumnType::Number | ColumnType::Minor | ColumnType::Text | ColumnType::Flag => {
                write!(texts, ", \"{column}\"::text")
            }
        };
    }
    format!(
        "SELECT row_key, row_value{texts} FROM read_model.\"{}\" WHERE book = $1 AND row_key >= $2 ORDER BY row_key LIMIT $3",
        table.name
    )
}

impl PostgresRows {
    /// Compares the columns of a table with the bytes of its rows; in words, the first that differs.
    pub fn differing_column(&self, table: &'static Table) -> Result<Option<String>, RowsFault> {
        let (statement, book, mut from) = (page(table), self.0.number(), Vec::new());
        let mut lent = self.0.lend()?;
        loop {
            let rows: Vec<PgRow> = lent.ask(COMMIT_WITHIN, async |connection: &mut PgConnection| {
                sqlx::query(&statement).bind(book).bind(&from).bind(PAGE).fetch_all(connection).await
            })?;
            for row in &rows {
                let fault = |error: sqlx::Error| RowsFault::Io(error.to_string());
                let (key, value): (Vec<u8>, Vec<u8>) = (row.try_get(0).map_err(fault)?, row.try_get(1).map_err(fault)?);
                for (place, (name, expected)) in columns(table, &key, &value)?.into_iter().enumerate() {
                    let found: String = row.try_get(place.saturating_add(2)).map_err(fault)?;
                    if found != expected.replace('\0', "\u{fffd}") {
                        return Ok(Some(format!(
                            "{}.{name} shows {found:?} where the row says {expected:?}: it was edited",
                            table.name
                        )));
                    }
                }
                from = behind_key(&key);
            }
            if i64::try_from(rows.len()).is_ok_and(|count| count < PAGE) {
                return Ok(None);
            }
        }
    }
}
