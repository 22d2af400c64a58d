//! Whether the other tables say what the blocks say: for `replay-tool verify`.

use std::time::Duration;

use event_schemas::{Block, BlockHash, BookId, Digest, Epoch, Sequence};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::client::Client;
use super::rows::EventColumns;
use super::{PostgresFault, PostgresUrl};

const WITHIN: Duration = Duration::from_mins(1);

/// What `lease` says of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRow {
    /// The epoch of its writer.
    pub epoch: Epoch,
    /// The head of its journal.
    pub head: Sequence,
    /// The hash of that block.
    pub head_hash: BlockHash,
}

/// Compares the tables of a book with its blocks. It only reads.
pub struct TableAudit {
    client: Client,
    book: BookId,
}

impl std::fmt::Debug for TableAudit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableAudit").field("book", &self.book).finish_non_exhaustive()
    }
}

impl TableAudit {
    /// An audit of a book's tables. It connects when it is first asked.
    pub const fn of(url: PostgresUrl, book: BookId) -> Self {
        Self { client: Client::new(url), book }
    }

    /// The lease; `None` if the book was never written.
    pub fn lease(&mut self) -> Result<Option<LeaseRow>, PostgresFault> {
        let book = i64::from(self.book.get());
        self.client.ask(WITHIN, async |connection: &mut PgConnection| {
            let row = sqlx::query("SELECT epoch, head, head_hash FROM lease WHERE book = $1")
                .bind(book)
                .fetch_optional(connection)
                .await?;
            row.map(|row| {
                let number = |name| row.try_get::<i64, _>(name).map(|number| u64::try_from(number).unwrap_or(0));
                let hash: Vec<u8> = row.try_get("head_hash")?;
                let head_hash = Digest(hash.try_into().unwrap_or([0xff; 32]));
                Ok(LeaseRow { epoch: Epoch(number("epoch")?), head: Sequence(number("head")?), head_hash })
            })
            .transpose()
        })
    }

    /// The first event of a block whose row in `events` is not what the block says, and what is wrong with it.
    pub fn compare(&mut self, block: &Block) -> Result<Option<(Sequence, String)>, PostgresFault> {
        let expected = EventColumns::of(std::slice::from_ref(block))?;
        let (book, header) = (self.book.get().to_string(), block.header());
        let (first, last) = (super::bigint(header.first_sequence.0), super::bigint(header.last_sequence().0));
        let rows = self.client.ask(WITHIN, async |connection: &mut PgConnection| {
            sqlx::query(
                "SELECT sequence, event_type, event_version, payload::text, metadata::text FROM events \
                 WHERE aggregate_type = 'book' AND aggregate_id = $1 AND sequence BETWEEN $2 AND $3 ORDER BY sequence",
            )
            .bind(book)
            .bind(first)
            .bind(last)
            .fetch_all(connection)
            .await
        })?;
        let mut rows = rows.iter().peekable();
        let texts = [&expected.payload, &expected.metadata];
        for (place, sequence) in expected.sequence.iter().enumerate() {
            let found = rows.next_if(|row| row.try_get::<i64, _>("sequence").is_ok_and(|found| found == *sequence));
            let at = Sequence(u64::try_from(*sequence).unwrap_or(0));
            let Some(row) = found else { return Ok(Some((at, "its row in events is missing".into()))) };
            let same =
                |column: &str, expected: Option<&str>| row.try_get::<String, _>(column).ok().as_deref() == expected;
            let [payload, metadata] = texts.map(|texts| texts.get(place).map(String::as_str));
            let columns = [
                ("event_type", expected.event_type.get(place).copied()),
                ("event_version", expected.event_version.get(place).copied()),
                ("payload", payload),
                ("metadata", metadata),
            ];
            if let Some((column, _)) = columns.into_iter().find(|(column, expected)| !same(column, *expected)) {
                return Ok(Some((at, format!("the column {column} of its row in events is not what the block says"))));
            }
        }
        Ok(None)
    }
}
