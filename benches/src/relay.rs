//! The relay: a journal of transfers that is there already, published to a Kafka that runs elsewhere, from the first event to
//! the commit of the last.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use connectors::kafka::{KafkaSettings, Relay, RelayParts, RelayState, TopicPlan, make_topics};
use ledger_core::ports::JournalReader as _;
use serde::Serialize;
use stores::embedded::{EmbeddedOptions, reader};

use crate::engine::fill;
use crate::spread::whole;
use crate::{EngineArgs, Ids};

/// How the relay is measured.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct RelayArgs {
    /// The brokers to publish to; topics of a prefix of their own are made, and left there
    #[arg(long, value_name = "BROKERS")]
    brokers: String,
    /// Of how many transfers the journal is that is published
    #[arg(long, default_value_t = 200_000)]
    relay_transfers: u64,
    /// Among how many accounts
    #[arg(long, default_value_t = 10_000)]
    relay_accounts: u64,
    /// Commands per submission, and so about events per block
    #[arg(long, default_value_t = 1_000)]
    relay_batch: usize,
    /// Partitions of each keyed topic
    #[arg(long, default_value_t = TopicPlan::default().partitions)]
    partitions: usize,
    /// How often it is published, each time to topics of its own
    #[arg(long, default_value_t = 3)]
    relay_rounds: usize,
}

/// What was measured, round by round.
#[derive(Debug, Serialize)]
pub(crate) struct RelayResult {
    events: u64,
    partitions: usize,
    rounds: Vec<Round>,
}

#[derive(Debug, Serialize)]
struct Round {
    seconds: f64,
    records: u64,
    transactions: u64,
    events_per_second: f64,
    records_per_second: f64,
}

/// Longer than this no round takes.
const ROUND_MAX: Duration = Duration::from_mins(10);

pub(crate) fn run(args: &RelayArgs, dir: &Path) -> anyhow::Result<RelayResult> {
    let folder = tempfile::Builder::new().prefix("bench-relay-").tempdir_in(dir)?;
    let data = folder.path().join("data");
    let (transfers, accounts, batch) = (args.relay_transfers, args.relay_accounts, args.relay_batch);
    eprintln!("relay: making a journal of {transfers} transfers …");
    fill(&data, &EngineArgs { transfers, accounts, batch, journal: None, ids: Ids::Random })?;
    let book = EmbeddedOptions::default().book;
    let mut events = 0;
    let mut rounds = Vec::new();
    for number in 0..args.relay_rounds {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
        let settings = KafkaSettings::new(&args.brokers)?.with_prefix(&format!("bench-{now}-{number}."))?;
        make_topics(&settings, book, TopicPlan { partitions: args.partitions, replication: None })?;
        let mut feed = reader(&data)?;
        let head = feed.durable_sequence()?;
        ensure!(feed.block_at(head)?.is_some(), "the journal is empty");
        events = head.0;
        let parts = RelayParts { settings, book, feed: Box::new(reader(&data)?), head: Box::new(move || head) };
        let relay = Relay::start(parts)?;
        let watch = relay.watch();
        // From the moment at which it has found its place: looking for it is the affair of a start.
        let mut began = None;
        let asked = Instant::now();
        let status = loop {
            let status = watch();
            if status.state == RelayState::Publishing {
                began.get_or_insert_with(Instant::now);
            }
            if status.position >= head {
                break status;
            }
            if let RelayState::Waiting(reason) | RelayState::Stopped(reason) = &status.state {
                bail!("the relay does not publish: {reason}");
            }
            ensure!(asked.elapsed() < ROUND_MAX, "the relay does not come to an end: {status:?}");
            std::thread::sleep(Duration::from_millis(2));
        };
        let seconds = began.context("the relay was never seen at work")?.elapsed().as_secs_f64();
        relay.stop();
        eprintln!("relay: round {} took {seconds:.2} s", number + 1);
        rounds.push(Round {
            seconds,
            records: status.records_total,
            transactions: status.transactions_total,
            events_per_second: events as f64 / seconds,
            records_per_second: status.records_total as f64 / seconds,
        });
    }
    Ok(RelayResult { events, partitions: args.partitions, rounds })
}

pub(crate) fn page(result: &RelayResult) -> String {
    let mut out = format!(
        "{} events to keyed topics of {} partitions\n\nround  seconds  records  transactions  events/s  records/s\n",
        whole(result.events as f64),
        result.partitions
    );
    for (number, round) in result.rounds.iter().enumerate() {
        let Round { seconds, records, transactions, events_per_second, records_per_second } = round;
        let _ = writeln!(
            out,
            "{:>5}  {seconds:>7.2}  {:>7}  {transactions:>12}  {:>8}  {:>9}",
            number + 1,
            whole(*records as f64),
            whole(*events_per_second),
            whole(*records_per_second),
        );
    }
    out
}
