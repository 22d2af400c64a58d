//! Reading blocks: by the writer's process and by any other. A row that can be seen is committed, and so durable.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event_schemas::{Block, BlockHash, BookId, Sequence};
use ledger_core::ports::{JournalFault, JournalReader};
use projections::ports::{EventFeed, FeedFault};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::client::{Client, Trouble};
use super::{PostgresUrl, bigint};

const WITHIN: Duration = Duration::from_secs(30);

/// How long a reader tries to reach a server that is gone, before it gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// The pause after the first try; each further one is twice as long, up to a second.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often a reader looks for new blocks whose writer is in another process.
const POLL: Duration = Duration::from_millis(20);

/// How many blocks are fetched at once when reading on: some 29 MB at the very most.
const PAGE: i64 = 32;

/// The head, as far as the writer in this process has committed it.
#[derive(Debug, Default)]
pub(super) struct Grown {
    head: Mutex<Sequence>,
    moved: Condvar,
}

impl Grown {
    pub(super) fn to(&self, head: Sequence) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        self.moved.notify_all();
    }

    fn wait_beyond(&self, after: Sequence, wait: Duration) {
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.moved.wait_timeout_while(head, wait, |head| *head <= after);
    }
}

/// A reader of a journal in PostgreSQL, and a feed of it.
pub struct PostgresReader {
    client: Client,
    book: BookId,
    /// Set where the writer is in this process.
    grown: Option<Arc<Grown>>,
    /// The sequence that the next block begins with.
    next: Sequence,
    /// The hash of the block before it, if that one was read.
    previous: Option<BlockHash>,
    fetched: VecDeque<Block>,
}

impl std::fmt::Debug for PostgresReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresReader").field("book", &self.book).field("next", &self.next).finish_non_exhaustive()
    }
}

impl PostgresReader {
    /// A reader of a book's journal. It connects when it is first asked.
    pub const fn open(url: PostgresUrl, book: BookId) -> Self {
        Self::new(url, book, None)
    }

    pub(super) const fn new(url: PostgresUrl, book: BookId, grown: Option<Arc<Grown>>) -> Self {
        let client = Client::new(url);
        Self { client, book, grown, next: Sequence(1), previous: None, fetched: VecDeque::new() }
    }

    /// The newest sequence there is.
    pub fn durable_sequence(&mut self) -> Result<Sequence, JournalFault> {
        let book = i64::from(self.book.get());
        let newest = self.patiently(async |connection: &mut PgConnection| {
            sqlx::query_scalar::<_, i64>("SELECT COALESCE(MAX(last_sequence), 0) FROM blocks WHERE book = $1")
                .bind(book)
                .fetch_one(connection)
                .await
        })?;
        Ok(Sequence(u64::try_from(newest).unwrap_or(0)))
    }

    /// Asks again and again while the server can't be reached.
    fn patiently<T>(
        &mut self,
        mut work: impl AsyncFnMut(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, JournalFault> {
        let (until, mut pause) = (Instant::now() + PATIENCE, PAUSE);
        loop {
            match self.client.run(WITHIN, async |connection: &mut PgConnection| work(connection).await) {
                Ok(done) => return Ok(done),
                Err(Trouble::Lost(reason)) if Instant::now() < until => {
                    tracing::warn!(%reason, "reading the journal is tried again");
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(trouble) => return Err(trouble.fault(self.client.url()).into()),
            }
        }
    }

    /// Fetches the block that holds a sequence, and up to `count` blocks in all.
    fn fetch(&mut self, sequence: Sequence, count: i64) -> Result<Vec<Block>, JournalFault> {
        let (book, from) = (i64::from(self.book.get()), bigint(sequence.0));
        let rows = self.patiently(async |connection: &mut PgConnection| {
            sqlx::query(
                "SELECT hash, bytes FROM blocks WHERE book = $1 AND last_sequence >= $2 ORDER BY last_sequence LIMIT $3",
            )
            .bind(book)
            .bind(from)
            .bind(count)
            .fetch_all(connection)
            .await?
            .into_iter()
            .map(|row| Ok((row.try_get::<Vec<u8>, _>("hash")?, row.try_get::<Vec<u8>, _>("bytes")?)))
            .collect::<Result<Vec<_>, sqlx::Error>>()
        })?;
        let damaged = |reason: String| {
            JournalFault::Damaged(format!("the block of sequence {sequence}, or one behind it: {reason}"))
        };
        let mut blocks: Vec<Block> = Vec::with_capacity(rows.len());
        for (hash, bytes) in rows {
            let block = Block::from_bytes(bytes).map_err(|error| damaged(error.to_string()))?;
            if block.header().book != self.book || block.hash().0[..] != hash[..] {
                return Err(damaged("its columns are not those of its bytes".into()));
            }
            let follows = blocks.last().is_none_or(|before| {
                before.header().last_sequence().next() == block.header().first_sequence
                    && before.hash() == block.header().previous
            });
            if !follows {
                return Err(damaged("it does not follow the one before".into()));
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    fn found(&mut self, block: &Block) {
        self.next = block.header().last_sequence().next();
        self.previous = Some(block.hash());
    }
}

impl JournalReader for PostgresReader {
    fn block_at(&mut self, sequence: Sequence) -> Result<Option<Block>, JournalFault> {
        if sequence == Sequence::ZERO || i64::try_from(sequence.0).is_err() {
            return Ok(None);
        }
        let Some(block) = self.fetch(sequence, 1)?.pop() else { return Ok(None) };
        if block.header().first_sequence > sequence {
            return Err(JournalFault::Damaged(format!("the block of sequence {sequence} is missing")));
        }
        self.fetched.clear();
        self.found(&block);
        Ok(Some(block))
    }

    fn next_block(&mut self) -> Result<Option<Block>, JournalFault> {
        if self.fetched.is_empty() {
            self.fetched = self.fetch(self.next, PAGE)?.into();
        }
        let Some(block) = self.fetched.pop_front() else { return Ok(None) };
        let follows = block.header().first_sequence == self.next
            && self.previous.is_none_or(|previous| previous == block.header().previous);
        if !follows {
            self.fetched.clear();
            return Err(JournalFault::Damaged(format!("no block begins with sequence {} and follows", self.next)));
        }
        self.found(&block);
        Ok(Some(block))
    }
}

impl EventFeed for PostgresReader {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        let until = Instant::now() + wait;
        loop {
            // Reading on is what a feed does; another place is looked up.
            let block =
                if after.next() == self.next { JournalReader::next_block(self) } else { self.block_at(after.next()) };
            let block = block.map_err(|fault| FeedFault(fault.to_string()))?;
            let left = until.saturating_duration_since(Instant::now());
            if block.is_some() || left.is_zero() {
                return Ok(block);
            }
            match &self.grown {
                Some(grown) => grown.wait_beyond(after, left),
                None => std::thread::sleep(left.min(POLL)),
            }
        }
    }
}
