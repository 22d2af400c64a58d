//! The lease: taking it, keeping it alive, and noticing that it is gone.
//!
//! Safety does not hang on time. Whoever raises the epoch is the writer, and the statement that appends says so; time only
//! decides when a standby tries. The keeper is a thread with a connection of its own, so that a writer that is idle keeps its
//! lease, and learns that it lost it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_schemas::Epoch;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::client::{Client, Trouble};
use super::{PostgresFault, PostgresOptions};
use crate::watch::LeaseWatch;

const WITHIN: Duration = Duration::from_secs(10);

/// How often a writer that waits for a lease looks at most.
const LOOK: Duration = Duration::from_millis(250);

/// How often a lease is renewed within its time to live.
const RENEWALS_PER_TTL: u32 = 4;

/// What `lease` says of a book.
#[derive(Debug, Clone)]
struct Row {
    epoch: i64,
    holder: String,
    /// How long it was not renewed, by the server's clock.
    silent: Duration,
}

fn look(client: &mut Client, book: i64) -> Result<Option<Row>, Trouble> {
    client.run(WITHIN, async |connection: &mut PgConnection| {
        let found = sqlx::query(
            "SELECT epoch, holder, \
             LEAST(GREATEST(EXTRACT(EPOCH FROM clock_timestamp() - renewed_at) * 1000, 0), 86400000)::bigint AS silent_ms \
             FROM lease WHERE book = $1",
        )
        .bind(book)
        .fetch_optional(connection)
        .await?;
        found
            .map(|row| {
                let silent = Duration::from_millis(u64::try_from(row.try_get::<i64, _>("silent_ms")?).unwrap_or(0));
                Ok(Row { epoch: row.try_get("epoch")?, holder: row.try_get("holder")?, silent })
            })
            .transpose()
    })
}

/// Raises the epoch from the one that was seen (zero: there was no row), above that of the newest block; `None` if somebody else
/// was faster.
fn raise(client: &mut Client, book: i64, seen: i64, holder: &str) -> Result<Option<i64>, Trouble> {
    client.run(WITHIN, async |connection: &mut PgConnection| {
        let statement = if seen == 0 {
            "INSERT INTO lease (book, epoch, head, head_hash, holder, renewed_at) \
             VALUES ($1, $2 + 1, 0, decode(repeat('00', 32), 'hex'), $3, clock_timestamp()) \
             ON CONFLICT (book) DO NOTHING RETURNING epoch"
        } else {
            "UPDATE lease SET holder = $3, renewed_at = clock_timestamp(), epoch = 1 + GREATEST(epoch, COALESCE( \
             (SELECT max(newest.epoch) FROM (SELECT epoch FROM blocks WHERE book = $1 ORDER BY last_sequence DESC LIMIT 1) \
             AS newest), 0)) \
             WHERE book = $1 AND epoch = $2 RETURNING epoch"
        };
        // All rows are fetched, so that the answer is that of the commit.
        let raised = sqlx::query(statement).bind(book).bind(seen).bind(holder).fetch_all(connection).await?;
        raised.first().map(|row| row.try_get("epoch")).transpose()
    })
}

/// Takes the lease of a book, once it is free. Gives the new epoch.
pub(super) fn take(client: &mut Client, options: &PostgresOptions) -> Result<i64, PostgresFault> {
    let book = i64::from(options.book.get());
    // A lease that is alive is renewed several times within its time to live: after that, somebody keeps it.
    let patience = options.lease_ttl + options.lease_ttl / RENEWALS_PER_TTL;
    let until = Instant::now() + patience;
    let mut told = false;
    loop {
        let wait = match look(client, book) {
            Ok(None) => match raise(client, book, 0, &options.holder) {
                Ok(Some(epoch)) => return Ok(epoch),
                Ok(None) => Duration::ZERO,
                Err(trouble) => troubled(client, options, trouble)?,
            },
            Ok(Some(row)) if row.silent >= options.lease_ttl => match raise(client, book, row.epoch, &options.holder) {
                Ok(Some(epoch)) => return Ok(epoch),
                Ok(None) => Duration::ZERO,
                Err(trouble) => troubled(client, options, trouble)?,
            },
            Ok(Some(row)) => {
                if !options.standby && Instant::now() >= until {
                    return Err(PostgresFault::Held { book: options.book, holder: row.holder, epoch: row.epoch });
                }
                if options.standby && !told {
                    tracing::info!(holder = %row.holder, epoch = row.epoch, "standing by: the book has a writer");
                    told = true;
                }
                options.lease_ttl.saturating_sub(row.silent).min(LOOK)
            }
            Err(trouble) => troubled(client, options, trouble)?,
        };
        std::thread::sleep(wait);
    }
}

/// A standby outlives a server that is gone for a while; whoever starts does not.
fn troubled(client: &Client, options: &PostgresOptions, trouble: Trouble) -> Result<Duration, PostgresFault> {
    match trouble {
        Trouble::Lost(reason) if options.standby => {
            tracing::warn!(%reason, "standing by: PostgreSQL can't be reached");
            Ok(LOOK)
        }
        trouble @ (Trouble::Lost(_) | Trouble::Refused { .. }) => Err(trouble.fault(client.url())),
    }
}

/// Keeps a lease alive until it is dropped; then gives it back, so that the next writer need not wait.
pub(super) struct Keeper {
    watch: LeaseWatch,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(options: &PostgresOptions, epoch: i64) -> Result<Self, PostgresFault> {
        let client = Client::new(options.url.clone());
        let watch = LeaseWatch::default();
        let (end, ended) = channel();
        let (book, every) = (i64::from(options.book.get()), options.lease_ttl / RENEWALS_PER_TTL);
        let kept = watch.clone();
        let thread = std::thread::Builder::new()
            .name("lease".into())
            .spawn(move || keep(client, book, epoch, every, &kept, &ended))?;
        Ok(Self { watch, end: Some(end), thread: Some(thread) })
    }

    pub(super) fn watch(&self) -> LeaseWatch {
        self.watch.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A keeper that panicked has kept nothing since; the next writer waits for the lease to run out.
            let _ = thread.join();
        }
    }
}

fn keep(mut client: Client, book: i64, epoch: i64, every: Duration, watch: &LeaseWatch, ended: &Receiver<()>) {
    loop {
        let end = !matches!(ended.recv_timeout(every), Err(RecvTimeoutError::Timeout));
        let renewed = client.run(WITHIN, async |connection: &mut PgConnection| {
            // The beginning of time stands for a lease that was given back.
            sqlx::query_scalar::<_, i64>(
                "UPDATE lease SET renewed_at = CASE WHEN $3 THEN 'epoch'::timestamptz ELSE clock_timestamp() END \
                 WHERE book = $1 AND epoch = $2 RETURNING epoch",
            )
            .bind(book)
            .bind(epoch)
            .bind(end)
            .fetch_all(&mut *connection)
            .await
            .map(|rows| !rows.is_empty())
        });
        match renewed {
            Ok(true) => {}
            Ok(false) => {
                let newest = look(&mut client, book).ok().flatten().map_or(epoch + 1, |row| row.epoch);
                watch.lose(Epoch(u64::try_from(newest).unwrap_or(u64::MAX)));
                tracing::error!(epoch, newest, "another writer has taken over this book");
                return;
            }
            Err(trouble) => tracing::warn!(?trouble, "the lease could not be renewed"),
        }
        if end {
            return;
        }
    }
}
