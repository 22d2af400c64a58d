//! `ledger-bench`: what commands, blocks, appends, replay and HTTP take on this machine.
//!
//! Each subcommand makes its own data in a temporary folder, measures by turns what is to be compared, checks that what it
//! measured was right, and prints tables or JSON; `all` runs them in a row and writes `BENCHMARKS.md` with its plot. Numbers of a
//! shared machine are noisy: compare within one run.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "statistics are floats; no money passes through them"
)]

mod booked;
mod engine;
mod folder;
mod http;
mod machine;
mod micro;
mod plot;
mod relay;
mod report;
mod spread;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::http::Load;
use crate::micro::Part;

/// Measures the ledger: commands, blocks, appends, replay, HTTP
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  ledger-bench micro decide codec                  two parts of the micro benchmarks
  ledger-bench engine --transfers 1000000 --ids time-ordered
  ledger-bench http --connections 64 --load uniform,hot --seconds 20 --rounds 5
  ledger-bench http --connections 64 --read-models on,off --output json
  ledger-bench http --connections 4 --items 1000   JSON batches of 1,000 transfers
  ledger-bench relay --brokers localhost:9092      publishes 200,000 transfers
  ledger-bench all --write BENCHMARKS.md           everything, as `make bench` does"
)]
struct Cli {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value = "text")]
    output: Output,
    /// Where the data goes while it is measured: a disk of the kind that is asked about
    #[arg(long, global = true, default_value = "target")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables.
    Text,
    /// JSON on stdout.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Decide and apply by command, block codec, appends on the real disk, replay and read models
    Micro(MicroArgs),
    /// The engine in process: batches on a synced journal, then a start from its checkpoint, then a replay of it all
    Engine(EngineArgs),
    /// A load generator over HTTP/1.1, against ledgerd processes of its own
    #[command(
        after_help = "Without --connections, --load, --read-models and --items it measures the rows of BENCHMARKS.md;
with any of them, every combination of what is given (64 connections, uniform, on, 1 item unless told)."
    )]
    Http(HttpArgs),
    /// The relay to Kafka: a journal of transfers, published to brokers that run already (`deploy/kafka.sh start`)
    Relay(relay::RelayArgs),
    /// Everything, written up as BENCHMARKS.md with its plot
    All {
        #[command(flatten)]
        micro: MicroArgs,
        #[command(flatten)]
        engine: EngineArgs,
        #[command(flatten)]
        http: HttpArgs,
        /// The file to write; the plot goes to docs/bench/ beside it
        #[arg(long, default_value = "BENCHMARKS.md")]
        write: PathBuf,
    },
}

/// How the small parts are measured.
#[derive(Debug, Clone, Args, Serialize)]
struct MicroArgs {
    /// Which parts; all of them if none is named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// For how long each kind of block is appended, and coded, in each round
    #[arg(long, default_value_t = 0.7)]
    micro_seconds: f64,
    /// How often each is measured, by turns
    #[arg(long, default_value_t = 5)]
    micro_rounds: usize,
    /// Of how many transfers the journal is that is replayed
    #[arg(long, default_value_t = 1_000_000)]
    replay_transfers: u64,
}

/// How the engine is measured.
#[derive(Debug, Clone, Args, Serialize)]
struct EngineArgs {
    /// How many transfers
    #[arg(long, default_value_t = 10_000_000)]
    transfers: u64,
    /// Among how many accounts
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
    /// Commands per submission
    #[arg(long, default_value_t = 8_190)]
    batch: usize,
    /// Keep the journal on servers: in an empty database such as postgres://user@host/bench, or in topics that are not there yet
    /// such as kafka://host:9092/bench
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    journal: Option<String>,
    /// The ids of the commands
    #[arg(long, value_enum, default_value = "random")]
    ids: Ids,
}

/// The ids of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Ids {
    /// As UUIDv4: the worst there is for an index.
    Random,
    /// As UUIDv7.
    TimeOrdered,
}

impl Ids {
    const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::TimeOrdered => "time-ordered",
        }
    }
}

/// How HTTP is measured.
#[derive(Debug, Clone, Args, Serialize)]
struct HttpArgs {
    /// The ledgerd to start
    #[arg(long, default_value = "target/release/ledgerd")]
    ledgerd: PathBuf,
    /// Connections, each with one request under way: 1,16,64,256
    #[arg(long, value_delimiter = ',')]
    connections: Vec<usize>,
    /// Which accounts move money: uniform, hot; or what else is done: conversions, exchange
    #[arg(long, value_enum, value_delimiter = ',')]
    load: Vec<Load>,
    /// Whether read models are kept: on, off or both
    #[arg(long, value_enum, value_delimiter = ',')]
    read_models: Vec<ReadModels>,
    /// Transfers per request: 1 posts transfers, more post batches
    #[arg(long, value_delimiter = ',')]
    items: Vec<usize>,
    /// For how long each combination is measured in each round, after half a second of warming up
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// How often each combination is measured, by turns
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Among how many accounts, if the load is uniform
    #[arg(long, default_value_t = 1_000)]
    http_accounts: u64,
    /// Through a gateway: the API, the writer and the projector in processes of their own; with --read-models postgres
    #[arg(long)]
    gateway: bool,
}

/// Whether a server keeps read models, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum ReadModels {
    /// In RocksDB in its folder.
    On,
    /// Nowhere.
    Off,
    /// In the database of its journal, which `DOPPIA_JOURNAL__URL` names.
    Postgres,
}

impl ReadModels {
    const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Postgres => "postgres",
        }
    }
}

fn main() -> anyhow::Result<()> {
    let Cli { output, dir, command } = Cli::parse();
    std::fs::create_dir_all(&dir)?;
    match command {
        Command::Micro(args) => {
            let result = micro::run(&args, &dir)?;
            print(output, &result, || report::micro(&result))
        }
        Command::Engine(args) => {
            let result = engine::run(&args, &dir)?;
            print(output, &result, || report::engine(&result))
        }
        Command::Http(args) => {
            let result = http::run(&args, &dir)?;
            print(output, &result, || report::http(&result))
        }
        Command::Relay(args) => {
            let result = relay::run(&args, &dir)?;
            print(output, &result, || Ok(relay::page(&result)))
        }
        Command::All { micro, engine, http, write } => {
            let result = report::measure(&micro, &engine, &http, &dir)?;
            report::write(&result, &write)?;
            print(output, &result, || report::page(&result))
        }
    }
}

fn print<T: Serialize>(
    output: Output,
    result: &T,
    text: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    match output {
        Output::Text => print!("{}", text()?),
        Output::Json => println!("{}", serde_json::to_string_pretty(result)?),
    }
    Ok(())
}
