//! The engine in process: batches of transfers on a synced journal with id index, digests and checkpoints on, read models off.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use event_schemas::{BookId, Command, Sequence};
use ledger_core::engine::{Engine, EngineOptions, EngineParts, replay};
use ledger_core::ports::{
    Answer, CheckpointFault, Checkpoints, CommandSink, EngineFault, Head, Journal, SubmitError, Verdict,
};
use serde::Serialize;
use stores::book::system_clock;
use stores::embedded::{self, Beside, Embedded, EmbeddedOptions, Local};
use stores::kafka::{KafkaJournal, KafkaOptions, make_topics};
use stores::place::JournalPlace;
use stores::postgres::{PostgresJournal, PostgresOptions, migrate};

use crate::booked::{AMPLE_MINOR, numbered, open, transfer};
use crate::folder::folder_bytes;
use crate::{EngineArgs, Ids};

/// Submissions under way at a time: one being decided, one waiting, one being made.
const UNDER_WAY: usize = 3;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct EngineResult {
    pub(crate) transfers: u64,
    pub(crate) accounts: u64,
    pub(crate) batch: usize,
    pub(crate) ids: Ids,
    pub(crate) seconds: f64,
    pub(crate) transfers_per_second: f64,
    pub(crate) flushes: u64,
    pub(crate) block_bytes_per_transfer: f64,
    pub(crate) disk_bytes_per_transfer: f64,
    pub(crate) batch_p50_ms: f64,
    pub(crate) batch_p99_ms: f64,
    pub(crate) batch_p100_ms: f64,
    pub(crate) start_seconds: f64,
    pub(crate) start_checkpoint: u64,
    pub(crate) start_events_replayed: u64,
    pub(crate) replay_events: u64,
    pub(crate) replay_seconds: f64,
    pub(crate) replay_events_per_second: f64,
}

pub(crate) fn run(args: &EngineArgs, dir: &Path) -> anyhow::Result<EngineResult> {
    ensure!(args.accounts >= 2 && args.transfers > 0, "it takes two accounts and a transfer");
    eprintln!("engine: {} transfers with {} ids …", args.transfers, args.ids.name());
    let folder = tempfile::Builder::new().prefix("bench-engine-").tempdir_in(dir)?;
    let data = folder.path().join("data");
    let options = EmbeddedOptions::default();
    let kept = Kept::create(&data, &options, args.journal.as_deref())?;

    let engine = start(&data, &options, &kept)?;
    open_accounts(&engine, args.accounts)?;
    let before = engine.status();
    let (seconds, mut latencies_us) = transfer_all(&engine, args)?;
    let after = engine.status();
    engine.stop();
    drop(engine);
    latencies_us.sort_unstable();
    let percentile = |part: f64| percentile_ms(&latencies_us, part);
    let transfers = args.transfers as f64;

    let began = Instant::now();
    let engine = start(&data, &options, &kept)?;
    let start_seconds = began.elapsed().as_secs_f64();
    let replayed = engine.replayed();
    ensure!(engine.status().durable == after.durable, "the journal lost events");
    drop(engine);

    let (replay_events, replay_seconds) = match &kept {
        Kept::InTheFolder => replay_all(&data, &options)?,
        Kept::Postgres(postgres) => replay_of(&PostgresJournal::open(postgres)?)?,
        Kept::Kafka(kafka) => replay_of(&KafkaJournal::open(kafka)?)?,
    };
    Ok(EngineResult {
        transfers: args.transfers,
        accounts: args.accounts,
        batch: args.batch,
        ids: args.ids,
        seconds,
        transfers_per_second: transfers / seconds,
        flushes: after.flushes_total - before.flushes_total,
        block_bytes_per_transfer: (after.appended_bytes_total - before.appended_bytes_total) as f64 / transfers,
        disk_bytes_per_transfer: folder_bytes(&data)? as f64 / transfers,
        batch_p50_ms: percentile(0.5),
        batch_p99_ms: percentile(0.99),
        batch_p100_ms: percentile(1.0),
        start_seconds,
        start_checkpoint: replayed.checkpoint.0,
        start_events_replayed: replayed.events,
        replay_events,
        replay_seconds,
        replay_events_per_second: replay_events as f64 / replay_seconds,
    })
}

/// Where the journal that is measured is kept.
enum Kept {
    InTheFolder,
    Postgres(PostgresOptions),
    Kafka(KafkaOptions),
}

impl Kept {
    /// Makes an empty journal; in PostgreSQL, the tables of a database that has none; in Kafka, topics that are not there.
    fn create(data: &Path, options: &EmbeddedOptions, url: Option<&str>) -> anyhow::Result<Self> {
        let Some(url) = url else {
            embedded::create(data, options)?;
            return Ok(Self::InTheFolder);
        };
        let kept = match JournalPlace::parse(url)? {
            JournalPlace::Postgres(url) => {
                let migrated = migrate(&url)?;
                ensure!(
                    migrated.from.is_none(),
                    "the database is used already: name an empty one, lest a journal be measured into"
                );
                Self::Postgres(PostgresOptions::new(url, options.book))
            }
            JournalPlace::Kafka(url) => {
                let mut kafka = KafkaOptions::new(url, options.book);
                // What is measured is one machine.
                kafka.allow_unsafe_server = true;
                let topics = make_topics(&kafka.url, options.book, kafka.allow_unsafe_server)?;
                ensure!(
                    topics.made.len() == topics.topics.len(),
                    "the topics are used already: name another prefix, lest a journal be measured into"
                );
                Self::Kafka(kafka)
            }
        };
        std::fs::create_dir_all(data)?;
        Ok(kept)
    }
}

/// A journal of transfers in a fresh folder, closed.
pub(crate) fn fill(data: &Path, args: &EngineArgs) -> anyhow::Result<()> {
    let options = EmbeddedOptions::default();
    embedded::create(data, &options)?;
    let engine = start(data, &options, &Kept::InTheFolder)?;
    open_accounts(&engine, args.accounts)?;
    transfer_all(&engine, args)?;
    Ok(())
}

fn start(data: &Path, options: &EmbeddedOptions, kept: &Kept) -> anyhow::Result<Engine> {
    let (journal, beside): (Box<dyn Journal>, Beside) = match kept {
        Kept::InTheFolder => {
            let Embedded { journal, ids, rocks, notices, lock } = embedded::open(data, options)?;
            (Box::new(journal), Beside { ids, rocks, notices, lock })
        }
        Kept::Postgres(postgres) => {
            let local = Local::open(data, options)?;
            let journal = PostgresJournal::open(postgres)?;
            let beside = local.fit(&journal)?;
            (Box::new(journal), beside)
        }
        Kept::Kafka(kafka) => {
            let local = Local::open(data, options)?;
            let journal = KafkaJournal::open(kafka)?;
            let beside = local.fit(&journal)?;
            (Box::new(journal), beside)
        }
    };
    Ok(Engine::start(EngineParts {
        journal,
        ids: Box::new(beside.ids),
        checkpoints: Arc::new(beside.rocks),
        clock: system_clock(),
        options: EngineOptions { nonce: 0x5eed, ..EngineOptions::default() },
    })?)
}

type Answers = Result<Vec<Answer>, EngineFault>;

fn open_accounts(engine: &Engine, accounts: u64) -> anyhow::Result<()> {
    let numbers: Vec<u64> = (0..accounts).collect();
    for chunk in numbers.chunks(4_096) {
        let commands = chunk.iter().map(|number| numbered(*number, open(*number, AMPLE_MINOR)));
        let (sender, receiver) = channel();
        engine.try_submit(commands.collect(), Box::new(move |answers| drop(sender.send(answers))))?;
        check(&receiver.recv()?)?;
    }
    Ok(())
}

fn check(answers: &Answers) -> anyhow::Result<()> {
    let answers = answers.as_ref().map_err(Clone::clone)?;
    for answer in answers {
        let fine = matches!(answer, Answer::Recorded { verdict: Verdict::Accepted, replayed: false, .. });
        ensure!(fine, "a command was not accepted: {answer:?}");
    }
    Ok(())
}

/// Submits all transfers, made by this thread while the writer works on the other core; gives seconds and batch latencies.
fn transfer_all(engine: &Engine, args: &EngineArgs) -> anyhow::Result<(f64, Vec<u64>)> {
    let (done, finished) = sync_channel::<(Instant, Answers)>(UNDER_WAY * 2);
    let mut latencies_us = Vec::new();
    let mut under_way = 0;
    let mut made = 0;
    let began = Instant::now();
    while made < args.transfers {
        let count = (args.transfers - made).min(args.batch as u64);
        let commands = (made..made + count).map(|number| transfer(number, args.accounts, args.ids)).collect();
        made += count;
        if under_way == UNDER_WAY {
            settle(&finished, &mut latencies_us)?;
            under_way -= 1;
        }
        submit(engine, commands, &done)?;
        under_way += 1;
    }
    for _ in 0..under_way {
        settle(&finished, &mut latencies_us)?;
    }
    Ok((began.elapsed().as_secs_f64(), latencies_us))
}

fn submit(
    engine: &Engine,
    commands: Vec<Command>,
    done: &std::sync::mpsc::SyncSender<(Instant, Answers)>,
) -> anyhow::Result<()> {
    let done = done.clone();
    let submitted = Instant::now();
    match engine.try_submit(commands, Box::new(move |answers| drop(done.send((submitted, answers))))) {
        Ok(()) => Ok(()),
        Err(error @ SubmitError::Busy { .. }) => Err(error).context("the queue is deeper than what is under way"),
        Err(error) => Err(error.into()),
    }
}

fn settle(finished: &Receiver<(Instant, Answers)>, latencies_us: &mut Vec<u64>) -> anyhow::Result<()> {
    let (submitted, answers) = finished.recv_timeout(Duration::from_mins(1))?;
    latencies_us.push(u64::try_from(submitted.elapsed().as_micros())?);
    check(&answers)
}

struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn sequences(&self) -> Result<Vec<Sequence>, CheckpointFault> {
        Ok(Vec::new())
    }
    fn store(&self, _: Sequence, _: &[u8]) -> Result<(), CheckpointFault> {
        Ok(())
    }
    fn load(&self, _: Sequence) -> Result<Option<Vec<u8>>, CheckpointFault> {
        Ok(None)
    }
    fn discard(&self, _: Sequence) -> Result<(), CheckpointFault> {
        Ok(())
    }
}

/// Replays the whole journal into a state, hashes, chain and digests checked.
pub(crate) fn replay_all(data: &Path, options: &EmbeddedOptions) -> anyhow::Result<(u64, f64)> {
    replay_of(&embedded::open(data, options)?.journal)
}

fn replay_of(journal: &dyn Journal) -> anyhow::Result<(u64, f64)> {
    let head: Head = journal.head();
    let mut reader = journal.reader()?;
    let began = Instant::now();
    let (state, replayed) = replay(reader.as_mut(), head, &NoCheckpoints, None)?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(replayed.events == head.sequence.0 && state.book() == Some(BookId::FIRST), "the replay fell short");
    Ok((replayed.events, seconds))
}

fn percentile_ms(sorted_us: &[u64], part: f64) -> f64 {
    let place = ((sorted_us.len() as f64 * part).ceil() as usize).clamp(1, sorted_us.len().max(1));
    sorted_us.get(place - 1).map_or(0.0, |us| *us as f64 / 1_000.0)
}
