//! The writer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_schemas::{Block, BlockHash, BookId, Digest, Epoch, Sequence};
use ledger_core::ports::{AppendError, Head, Journal, JournalFault, JournalReader};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::client::{Client, Trouble};
use super::lease::{Keeper, take};
use super::reader::{Grown, PostgresReader};
use super::rows::{BlockColumns, EventColumns};
use super::{PostgresFault, PostgresOptions, PostgresUrl, bigint, server};
use crate::memory::assert_follows;
use crate::watch::LeaseWatch;

/// How long the server may take for one append, before its answer counts as lost.
const APPEND_WITHIN: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(10);

/// How long an append that the server refuses for a while (a full disk, a deadlock) is tried again.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// One statement: nothing is inserted unless the lease lets the head move.
const APPEND: &str = "\
WITH fence AS (
    UPDATE lease SET head = $3, head_hash = $4, renewed_at = clock_timestamp()
    WHERE book = $1 AND epoch = $2 AND head = $5 AND head_hash = $6
    RETURNING book
), kept AS (
    INSERT INTO blocks (book, last_sequence, first_sequence, recorded_at, epoch, previous, hash, bytes)
    SELECT fence.book, b.last_sequence, b.first_sequence,
           'epoch'::timestamptz + b.recorded_at_us * interval '1 microsecond', b.epoch, b.previous, b.hash, b.bytes
    FROM fence, UNNEST($7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[], $12::bytea[], $13::bytea[])
        AS b (last_sequence, first_sequence, recorded_at_us, epoch, previous, hash, bytes)
), told AS (
    INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
    SELECT 'book', fence.book::text, e.sequence, e.event_type, e.event_version, e.payload::json, e.metadata::json
    FROM fence, UNNEST($14::bigint[], $15::text[], $16::text[], $17::text[], $18::text[])
        AS e (sequence, event_type, event_version, payload, metadata)
)
SELECT book FROM fence";

/// The row of `lease`, locked for a moment: whatever an old connection still does is waited for.
const READ_BACK: &str = "SELECT epoch, head, head_hash FROM lease WHERE book = $1 FOR UPDATE";

/// The journal of a book in PostgreSQL, open for its one writer.
pub struct PostgresJournal {
    // Dropped first: the lease is given back while everything still stands.
    keeper: Option<Keeper>,
    client: Client,
    book: BookId,
    epoch: Epoch,
    head: Head,
    resolve_within: Duration,
    grown: Arc<Grown>,
    stopped: Option<AppendError>,
}

impl std::fmt::Debug for PostgresJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresJournal").field("book", &self.book).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What `lease` says when it is read back.
struct ReadBack {
    epoch: Epoch,
    head: Sequence,
    head_hash: BlockHash,
}

fn read_back(client: &mut Client, book: BookId) -> Result<Option<ReadBack>, Trouble> {
    let book = i64::from(book.get());
    client.run(WITHIN, async |connection: &mut PgConnection| {
        let rows = sqlx::query(READ_BACK).bind(book).fetch_all(connection).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let number = |name| row.try_get::<i64, _>(name).map(|number| u64::try_from(number).unwrap_or(0));
        let hash: Vec<u8> = row.try_get("head_hash")?;
        let head_hash = Digest(hash.try_into().unwrap_or([0xff; 32]));
        Ok(Some(ReadBack { epoch: Epoch(number("epoch")?), head: Sequence(number("head")?), head_hash }))
    })
}

impl PostgresJournal {
    /// Opens a book's journal for writing: checks the server, takes the lease, reads the head. The tables must be there
    /// ([`migrate`](super::migrate)); an empty journal is one without blocks.
    pub fn open(options: &PostgresOptions) -> Result<Self, PostgresFault> {
        let mut client = Client::new(options.url.clone());
        server::check(&mut client, options.allow_unsafe_server)?;
        let epoch = take(&mut client, options)?;
        // From here on, nobody else moves the head without this one finding out.
        let keeper = Keeper::start(options, epoch)?;
        let epoch = Epoch(u64::try_from(epoch).unwrap_or(0));
        let head = Self::newest(&mut client, options, epoch)?;
        let grown = Arc::new(Grown::default());
        grown.to(head.sequence);
        tracing::info!(book = %options.book.get(), epoch = epoch.0, head = head.sequence.0, "took the lease");
        Ok(Self {
            keeper: Some(keeper),
            client,
            book: options.book,
            epoch,
            head,
            resolve_within: options.resolve_within,
            grown,
            stopped: None,
        })
    }

    /// The head, as lease and blocks agree on it.
    fn newest(client: &mut Client, options: &PostgresOptions, epoch: Epoch) -> Result<Head, PostgresFault> {
        let lease = read_back(client, options.book)
            .map_err(|trouble| trouble.fault(&options.url))?
            .ok_or_else(|| PostgresFault::Damaged("the row of the lease is gone".into()))?;
        if lease.epoch != epoch {
            let holder = "a writer that was faster".into();
            return Err(PostgresFault::Held { book: options.book, holder, epoch: bigint(lease.epoch.0) });
        }
        let mut reader = PostgresReader::open(options.url.clone(), options.book);
        let fault = |fault: JournalFault| PostgresFault::Damaged(fault.to_string());
        let newest = reader.durable_sequence().map_err(fault)?;
        let head = match reader.block_at(newest).map_err(fault)? {
            None => Head::default(),
            Some(block) => Head {
                sequence: block.header().last_sequence(),
                hash: block.hash(),
                recorded_at: block.header().recorded_at,
                epoch: block.header().epoch,
            },
        };
        if (head.sequence, head.hash) != (lease.head, lease.head_hash) {
            return Err(PostgresFault::Damaged(format!(
                "the lease says that it ends with sequence {}, the newest block ends with {}: rows were lost or edited; \
                 restore the database",
                lease.head, head.sequence
            )));
        }
        if head.epoch >= epoch {
            return Err(PostgresFault::Damaged(format!("block {} is of a later epoch than the lease", head.sequence)));
        }
        Ok(head)
    }

    /// Tells whether another writer has taken over.
    pub fn watch(&self) -> Option<LeaseWatch> {
        self.keeper.as_ref().map(Keeper::watch)
    }

    /// A reader in this process, which is woken by each append.
    pub fn postgres_reader(&self) -> PostgresReader {
        PostgresReader::new(self.client.url().clone(), self.book, Some(Arc::clone(&self.grown)))
    }

    /// Makes such readers for whoever asks, for as long as they are wanted.
    pub fn readers(&self) -> impl Fn() -> PostgresReader + Send + Sync + use<> {
        let (url, book, grown) = (self.client.url().clone(), self.book, Arc::clone(&self.grown));
        move || PostgresReader::new(url.clone(), book, Some(Arc::clone(&grown)))
    }

    /// The server.
    pub const fn url(&self) -> &PostgresUrl {
        self.client.url()
    }

    fn stop(&mut self, error: AppendError) -> AppendError {
        self.stopped = Some(error.clone());
        error
    }

    fn fenced(&mut self, by: Epoch) -> AppendError {
        if let Some(watch) = self.watch() {
            watch.lose(by);
        }
        self.stop(AppendError::Fenced(by))
    }

    /// Finds out what became of an append whose answer is not known. `Some`: the end of it; `None`: it did not take place, and
    /// may be sent again.
    fn resolve(&mut self, after: Head) -> Option<Result<(), AppendError>> {
        let (until, mut pause) = (Instant::now() + self.resolve_within, PAUSE);
        loop {
            match read_back(&mut self.client, self.book) {
                Ok(Some(lease)) if lease.epoch != self.epoch => return Some(Err(self.fenced(lease.epoch))),
                Ok(Some(lease)) if (lease.head, lease.head_hash) == (after.sequence, after.hash) => {
                    return Some(Ok(()));
                }
                Ok(Some(lease)) if (lease.head, lease.head_hash) == (self.head.sequence, self.head.hash) => {
                    return None;
                }
                Ok(_) => {
                    let text = "the head in PostgreSQL is neither the one before the append nor the one after it";
                    return Some(Err(self.stop(AppendError::Unknown(text.into()))));
                }
                Err(trouble) if Instant::now() < until => {
                    tracing::warn!(?trouble, "the outcome of an append is looked for again");
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(trouble) => {
                    let fault = trouble.fault(self.client.url());
                    return Some(Err(self.stop(fault.into())));
                }
            }
        }
    }

    /// Sends an append once. `Ok(true)`: done; `Ok(false)`: the fence let nothing through.
    fn send(&mut self, after: Head, blocks: &BlockColumns, events: &EventColumns) -> Result<bool, Trouble> {
        let (book, epoch, before) = (i64::from(self.book.get()), bigint(self.epoch.0), self.head);
        self.client.run(APPEND_WITHIN, async |connection: &mut PgConnection| {
            let rows = sqlx::query(APPEND)
                .bind(book)
                .bind(epoch)
                .bind(bigint(after.sequence.0))
                .bind(&after.hash.0[..])
                .bind(bigint(before.sequence.0))
                .bind(&before.hash.0[..])
                .bind(&blocks.last_sequence)
                .bind(&blocks.first_sequence)
                .bind(&blocks.recorded_at_us)
                .bind(&blocks.epoch)
                .bind(&blocks.previous)
                .bind(&blocks.hash)
                .bind(&blocks.bytes)
                .bind(&events.sequence)
                .bind(&events.event_type)
                .bind(&events.event_version)
                .bind(&events.payload)
                .bind(&events.metadata)
                // All rows are fetched, so that the answer is that of the commit and not of its last row.
                .fetch_all(connection)
                .await?;
            Ok(!rows.is_empty())
        })
    }
}

/// Whether the server may take the same statement a little later: no space, no memory, too many of something, a deadlock.
fn may_pass(code: &str) -> bool {
    code.starts_with("53") || code.starts_with("40") || code == "57014"
}

impl Journal for PostgresJournal {
    fn head(&self) -> Head {
        self.head
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn secure_space(&mut self, _bytes: usize) -> Result<(), AppendError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        // Space is the server's affair; whether this is still the writer is known here, at no cost.
        match self.watch().and_then(|watch| watch.lost_to()) {
            Some(by) => Err(self.fenced(by)),
            None => Ok(()),
        }
    }

    fn append(&mut self, blocks: &[Block]) -> Result<(), AppendError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        assert_follows(self.book, self.head, blocks);
        let Some(last) = blocks.last() else { return Ok(()) };
        let header = last.header();
        let after = Head {
            sequence: header.last_sequence(),
            hash: last.hash(),
            recorded_at: header.recorded_at,
            epoch: header.epoch,
        };
        let events = EventColumns::of(blocks).map_err(|fault| self.stop(fault.into()))?;
        let columns = BlockColumns::of(blocks);
        let (until, mut pause) = (Instant::now() + REFUSED_WITHIN, PAUSE);
        loop {
            match self.send(after, &columns, &events) {
                Ok(true) => break,
                // Fenced, or an earlier try of these very bytes that had its effect after all.
                Ok(false) => match self.resolve(after) {
                    Some(Ok(())) => break,
                    Some(Err(error)) => return Err(error),
                    None => {
                        let text = "PostgreSQL moved no head, although epoch and head are as they were";
                        return Err(self.stop(AppendError::Unknown(text.into())));
                    }
                },
                Err(Trouble::Refused { code, reason }) => {
                    if !may_pass(&code) || Instant::now() >= until {
                        let text = format!("PostgreSQL refuses the append: {reason} (SQLSTATE {code})");
                        let error =
                            if code == "53100" { AppendError::NoSpace(text) } else { AppendError::Unknown(text) };
                        return Err(self.stop(error));
                    }
                    tracing::warn!(%code, %reason, "the append is sent again");
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(Trouble::Lost(reason)) => {
                    tracing::warn!(%reason, "the answer to an append was lost: looking for its outcome");
                    match self.resolve(after) {
                        Some(Ok(())) => break,
                        Some(Err(error)) => return Err(error),
                        None => tracing::info!("the append did not take place: it is sent again"),
                    }
                }
            }
        }
        self.head = after;
        self.grown.to(after.sequence);
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault> {
        Ok(Box::new(self.postgres_reader()))
    }
}
