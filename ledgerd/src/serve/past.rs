//! `ledgerd serve --read-only`: the past, served from the journal, beside its writer or without one.
//!
//! No lock is taken and nothing in the data folder is written. Read models and the id index are built in a temporary folder
//! (of `TMPDIR`) from the journal up to one event, and stay there: what is served is that moment exactly, whatever is recorded
//! meanwhile. Commands are refused with `read_only`. A folder without API keys, such as a backup, gets an admin key of its own
//! in the temporary folder.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use commands_api::{ApiParts, ApiState, Feeds, KeyRing};
use event_schemas::{Block, CivilDate, Command, CommandId, RecordedEvent, Sequence, Timestamp};
use ledger_core::ports::{
    CommandSink, EngineFault, EngineStatus, IdIndex as _, JournalReader as _, LookupReply, PreviewReply, Reply,
    SubmitError, WriterState,
};
use projections::Runner;
use projections::ports::{EventFeed, FeedFault};
use stores::embedded;
use stores::ids::{RunIndex, RunIndexOptions};
use stores::rocks::RocksStore;
use stores::segments::SegmentReader;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::health::{self, Health};
use super::{bounds, budgets, http};
use crate::config::{Config, LogFormat};
use crate::keys::{self, Follower, Keys};
use crate::telemetry;

/// How often progress is logged while the read models are built.
const TELL: Duration = Duration::from_secs(5);

/// A moment of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After this event.
    Sequence(Sequence),
    /// After all that was recorded up to this time.
    Time(Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    /// Reads a sequence, a time (RFC 3339), or a date: the start of that day in UTC.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(sequence) = text.parse() {
            return Ok(Self::Sequence(Sequence(sequence)));
        }
        if let Ok(date) = text.parse::<CivilDate>() {
            return Ok(Self::Time(Timestamp(i64::from(date.days()) * 86_400_000_000)));
        }
        text.parse().map(Self::Time).map_err(|_| format!("{text:?} is no sequence, no time (RFC 3339) and no date"))
    }
}

/// A feed that ends at an event, and shows what goes by.
struct Until<S> {
    feed: SegmentReader,
    at: Sequence,
    see: S,
}

impl<S: FnMut(&Block) -> Result<(), FeedFault> + Send> EventFeed for Until<S> {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        if after >= self.at {
            std::thread::sleep(wait);
            return Ok(None);
        }
        let block = EventFeed::next_block(&mut self.feed, after, wait)?;
        if let Some(block) = &block {
            (self.see)(block)?;
        }
        Ok(block)
    }
}

/// The book at its moment, for those who ask what became of a command. It takes none.
struct Past {
    at: Sequence,
    recorded: Mutex<(RunIndex, SegmentReader)>,
}

impl Past {
    fn verdict(&self, id: CommandId) -> Result<Option<RecordedEvent>, String> {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, reader) = &mut *recorded;
        let Some(sequence) = ids.lookup(id).map_err(|fault| fault.to_string())? else { return Ok(None) };
        let block = reader.block_at(sequence).map_err(|fault| fault.to_string())?;
        let found = block.and_then(|block| Some(block.recorded(sequence, block.event(sequence).ok()??)));
        match found.filter(|found| found.event.cause.verdict_of() == Some(id)) {
            Some(found) => Ok(Some(found)),
            None => Err(format!("event {sequence} is not the verdict that the index names")),
        }
    }
}

impl CommandSink for Past {
    fn try_submit(&self, _: Vec<Command>, _: Reply) -> Result<(), SubmitError> {
        Err(SubmitError::ReadOnly)
    }

    fn try_submit_linked(&self, _: Vec<Command>, _: Reply) -> Result<(), SubmitError> {
        Err(SubmitError::ReadOnly)
    }

    fn try_preview(&self, _: Vec<Command>, _: PreviewReply) -> Result<(), SubmitError> {
        Err(SubmitError::ReadOnly)
    }

    fn try_preview_each(&self, _: Vec<Command>, _: PreviewReply) -> Result<(), SubmitError> {
        Err(SubmitError::ReadOnly)
    }

    fn try_lookup(&self, id: CommandId, reply: LookupReply) -> Result<(), SubmitError> {
        reply(self.verdict(id).map_err(|reason| {
            tracing::error!(%id, reason, "a verdict can't be read");
            EngineFault::Stopped
        }));
        Ok(())
    }

    fn status(&self) -> EngineStatus {
        EngineStatus {
            writer: WriterState::ReadOnly,
            reason: format!("this server shows the past at sequence {}", self.at),
            durable: self.at,
            queued: 0,
            accepted_total: 0,
            rejected_total: 0,
            replayed_total: 0,
            flushes_total: 0,
            appended_bytes_total: 0,
            checkpoint: Sequence::ZERO,
        }
    }
}

/// What was built for one moment. The folder goes away with it.
struct Opened {
    past: Past,
    rows: RocksStore,
    feeds: Feeds,
    keys: KeyRing,
    /// Keeps them up to date, where that is possible.
    follower: Option<Follower>,
    book: event_schemas::BookId,
    recorded_at: Timestamp,
    /// The admin key that was made for a folder without keys.
    admin_key: Option<PathBuf>,
    folder: TempDir,
}

/// Serves a moment of the past on a listener until `shutdown` is ready.
pub async fn serve(
    config: Config,
    at: Option<Moment>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    if config.journal.url.is_some() {
        bail!("the past is served from a journal in a data folder; one on servers is not supported yet");
    }
    crate::backup::of_segments(&config)?;
    let started = Instant::now();
    let metrics = telemetry::metrics().map_err(anyhow::Error::msg)?;
    let address = listener.local_addr()?;
    let opening = config.clone();
    let opened = tokio::task::spawn_blocking(move || open(&opening, at)).await??;
    let Opened { past, rows, feeds, keys, follower, book, recorded_at, admin_key, folder } = opened;
    let at = past.at;
    let sink: Arc<dyn CommandSink> = Arc::new(past);
    let (_applied, progress) = watch::channel(at);
    let (draining, is_draining) = watch::channel(false);
    let api = ApiState::new(ApiParts {
        book,
        tenant: config.tenant.clone(),
        sink: Arc::clone(&sink),
        rows: Some(Arc::new(rows)),
        progress: progress.clone(),
        feeds,
        draining: is_draining.clone(),
        keys,
        budgets: budgets(&config),
        access: Some(Arc::new(super::access::Told)),
        access_rows: None,
        quotes: None,
        payments: None,
    });
    let health = Arc::new(Health {
        past: Some(at),
        read_models: Some(progress),
        runner_fault: Arc::default(),
        max_lag_events: config.ready.max_lag_events,
        draining: is_draining,
        ..Health::of_one_process(metrics, sink)
    });
    let router = commands_api::router(api).merge(health::router(health));
    tracing::info!(
        url = %format!("http://{address}"),
        data = %config.data.display(),
        sequence = at.0,
        recorded_at = %recorded_at,
        read_only = true,
        start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "serving"
    );
    if config.log.format == LogFormat::Pretty {
        eprintln!(
            "\nDoppia serves book {book} as it was after event {at} ({recorded_at}), read-only, at http://{address}"
        );
        if let Some(path) = &admin_key {
            eprintln!("  admin key  {} (of this server alone)", path.display());
        }
        eprintln!("  end it with Ctrl-C\n");
    }
    http::run(listener, router, bounds(&config), async {
        shutdown.await;
        let _ = draining.send(true);
    })
    .await;
    tokio::task::spawn_blocking(move || drop(follower)).await?;
    // What was built goes away here and not before: requests read from it.
    drop(folder);
    tracing::info!(sequence = at.0, "stopped");
    Ok(())
}

/// Builds everything for one moment.
fn open(config: &Config, at: Option<Moment>) -> anyhow::Result<Opened> {
    let place = || format!("the data folder {}", config.data.display());
    let mut reader = embedded::reader(&config.data).with_context(place)?;
    let book = reader.book();
    let at = resolve(&mut reader, at)?;
    let moment = reader.block_at(at)?.with_context(|| format!("event {at} is not there any more"))?;
    let folder = tempfile::Builder::new().prefix("doppia-past-").tempdir().context("a temporary folder")?;
    let rows = RocksStore::open(&folder.path().join("rocks"), &projections::NAMES)?;
    let mut ids = RunIndex::open(&folder.path().join("ids"), RunIndexOptions::new(book, book.get().into()))?;
    tracing::info!(sequence = at.0, folder = %folder.path().display(), "building the read models of the past");
    let see = |block: &Block| {
        let mut verdicts = Vec::new();
        for item in block.events() {
            let (sequence, event) = item.map_err(|error| FeedFault(error.to_string()))?;
            verdicts.extend(event.cause.verdict_of().filter(|_| sequence <= at).map(|id| (id, sequence)));
        }
        let through = block.header().last_sequence().min(at);
        ids.record(&verdicts, through).map_err(|fault| FeedFault(fault.to_string()))
    };
    let mut told = Instant::now();
    let mut runner = Runner::new(Until { feed: reader.another(), at, see }, rows.clone(), projections::all());
    let reached = runner.run_to(at, &mut |progress| {
        if told.elapsed() >= TELL {
            told = Instant::now();
            tracing::info!(sequence = progress.sequence.0, of = at.0, "building the read models of the past");
        }
    })?;
    drop(runner);
    anyhow::ensure!(reached == at, "the read models ended at {reached}, not at {at}");

    let (keys, follower, admin_key) = keys_of(config, folder.path())?;
    let source = reader.another();
    let feeds: Feeds = Arc::new(move || Box::new(Until { feed: source.another(), at, see: |_: &Block| Ok(()) }));
    let past = Past { at, recorded: Mutex::new((ids, reader)) };
    let recorded_at = moment.header().recorded_at;
    Ok(Opened { past, rows, feeds, keys, follower, book, recorded_at, admin_key, folder })
}

/// The keys of the data folder: what is issued or revoked later counts here, too. A folder without any gets an admin key that
/// is made in the temporary folder.
fn keys_of(config: &Config, folder: &Path) -> anyhow::Result<(KeyRing, Option<Follower>, Option<PathBuf>)> {
    if stores::control::exists(&config.data)? {
        let keys = Arc::new(Keys::read_only(&config.data)?);
        return Ok((keys.ring(), Some(Follower::start(keys)?), None));
    }
    if let Some(ring) = keys::old_ring(&config.data)? {
        return Ok((ring, None, None));
    }
    let keys = Keys::for_past(folder, config)?;
    let path = keys::admin_key_path(folder);
    tracing::warn!(admin_key = %path.display(), "the folder has no API keys: an admin key was made for this server alone");
    Ok((keys.ring(), None, Some(path)))
}

/// The last event of a moment.
fn resolve(reader: &mut SegmentReader, at: Option<Moment>) -> anyhow::Result<Sequence> {
    let head = reader.durable_sequence()?;
    let at = match at {
        None => head,
        Some(Moment::Sequence(sequence)) if sequence > head => {
            bail!("event {sequence} is not recorded yet: the journal ends at {head}")
        }
        Some(Moment::Sequence(sequence)) => sequence,
        Some(Moment::Time(time)) => last_until(reader, head, time)?,
    };
    anyhow::ensure!(at > Sequence::ZERO, "nothing was recorded up to then");
    Ok(at)
}

/// The last event recorded at a time or before, by bisection: times never run backwards.
fn last_until(reader: &mut SegmentReader, head: Sequence, time: Timestamp) -> anyhow::Result<Sequence> {
    let (mut low, mut high) = (Sequence::ZERO, head.next());
    while low.next() < high {
        let middle = Sequence(low.0 + (high.0 - low.0) / 2);
        let block = reader.block_at(middle)?.with_context(|| format!("event {middle} is not there any more"))?;
        if block.header().recorded_at <= time {
            low = block.header().last_sequence().min(head);
        } else {
            high = block.header().first_sequence;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_sequences_times_or_dates() {
        assert_eq!("17".parse(), Ok(Moment::Sequence(Sequence(17))));
        let day = Moment::Time(Timestamp(86_400_000_000));
        assert_eq!(("1970-01-02".parse(), "1970-01-02T00:00:00Z".parse()), (Ok(day), Ok(day)));
        for text in ["", "-3", "yesterday", "1970-13-01", "12.5"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
