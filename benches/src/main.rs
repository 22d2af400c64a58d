//! `ledger-bench`: what the engine, replay and HTTP take on this machine.
//!
//! Each subcommand makes its own data in a temporary folder, measures, checks that what it measured was right, and prints a
//! line of JSON; `all` runs them in a row and writes `BENCHMARKS.md`. Numbers of a shared machine are noisy: compare
//! within one run.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "statistics are floats; no money passes through them"
)]

mod engine;
mod http;
mod report;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures the ledger engine.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  ledger-bench engine --transfers 10000000\n  ledger-bench http --ledgerd target/release/ledgerd\n  ledger-bench all --ledgerd target/release/ledgerd --write BENCHMARKS.md"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The engine in process: batches on a synced journal, then a start from its checkpoint, then a replay of it all.
    Engine(EngineArgs),
    /// One transfer a request over HTTP/1.1, against a ledgerd process of its own.
    Http(HttpArgs),
    /// Everything, written up as BENCHMARKS.md.
    All {
        #[command(flatten)]
        engine: EngineArgs,
        #[command(flatten)]
        http: HttpArgs,
        /// The file to write.
        #[arg(long, default_value = "BENCHMARKS.md")]
        write: PathBuf,
    },
}

/// How the engine is measured.
#[derive(Debug, Args)]
struct EngineArgs {
    /// How many transfers.
    #[arg(long, default_value_t = 10_000_000)]
    transfers: u64,
    /// Among how many accounts.
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
    /// Commands per submission.
    #[arg(long, default_value_t = 8_190)]
    batch: usize,
    /// Command ids at random instead of ordered by time.
    #[arg(long)]
    random_ids: bool,
    /// Where to put the data; a temporary folder below it is removed afterwards.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// How HTTP is measured.
#[derive(Debug, Args)]
struct HttpArgs {
    /// The ledgerd to start.
    #[arg(long, default_value = "target/release/ledgerd")]
    ledgerd: PathBuf,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// For how long, after two seconds of warming up.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Among how many accounts.
    #[arg(long, default_value_t = 1_000)]
    http_accounts: u64,
    /// Keep the read models on.
    #[arg(long)]
    read_models: bool,
    /// Where to put the data.
    #[arg(long, default_value = "target")]
    http_dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Engine(args) => println!("{}", serde_json::to_string_pretty(&engine::run(&args)?)?),
        Command::Http(args) => println!("{}", serde_json::to_string_pretty(&http::run(&args)?)?),
        Command::All { engine, http, write } => report::write(&write, &engine, &http)?,
    }
    Ok(())
}
