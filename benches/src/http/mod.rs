//! A load generator over HTTP/1.1 keep-alive connections, each with one request under way, against `ledgerd` processes of its
//! own: one with read models and one without, if both are asked for.
//!
//! `exchange.rs` quotes and conversions · `connection.rs` requests and answers as plain bytes · `server.rs` a `ledgerd` · `load.rs` one round of one combination.
//!
//! Combinations are measured by turns: each round takes all of them once, so that what the machine does beside falls on all
//! alike. Throughput is the median of the rounds, latencies are of all rounds together. Client and servers share the cores; the
//! client is one thread, and its own work is in the latencies.

mod connection;
mod exchange;
mod load;
mod server;

use std::path::Path;

use anyhow::ensure;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::Serialize;

use self::load::Round;
use self::server::Server;
use crate::spread::Spread;
use crate::{HttpArgs, ReadModels};

/// Which accounts money moves between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Load {
    /// All alike.
    Uniform,
    /// The same two, in every transfer.
    Hot,
    /// Conversions between the two accounts of each customer, by quotes that were made before: one request each.
    Conversions,
    /// The same with the quote: two requests each.
    Exchange,
}

impl Load {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Hot => "two hot",
            Self::Conversions => "conversions",
            Self::Exchange => "quotes and conversions",
        }
    }
}

/// A combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) connections: usize,
    pub(crate) load: Load,
    pub(crate) read_models: ReadModels,
    /// Transfers per request.
    pub(crate) items: usize,
}

/// What was measured of it.
#[derive(Debug, Serialize)]
pub(crate) struct CellResult {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) transfers_per_second: Spread,
    pub(crate) requests: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) p100_ms: f64,
    /// The most events that the read models lay behind when the load ended, and the longest that they took to reach the head.
    pub(crate) lag_events: Option<u64>,
    pub(crate) lag_drained_seconds: Option<f64>,
    /// Bytes that the journal's segments grew by, per transfer.
    pub(crate) journal_bytes_per_transfer: f64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct HttpResult {
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    pub(crate) accounts: u64,
    pub(crate) cells: Vec<CellResult>,
}

impl HttpResult {
    pub(crate) fn cell(&self, cell: Cell) -> Option<&CellResult> {
        self.cells.iter().find(|one| one.cell == cell)
    }

    /// Of combinations that differ only in their load: two hot accounts against all alike, round by round.
    pub(crate) fn hot_ratios(&self) -> Vec<(Cell, Spread)> {
        let hot = self.cells.iter().filter(|one| one.cell.load == Load::Hot);
        hot.filter_map(|hot| {
            let uniform = self.cell(Cell { load: Load::Uniform, ..hot.cell })?;
            Some((hot.cell, hot.transfers_per_second.against(&uniform.transfers_per_second)))
        })
        .collect()
    }
}

/// The combinations of `BENCHMARKS.md`.
fn standard() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut add = |connections, read_models, items| {
        let of = |load| Cell { connections, load, read_models, items };
        cells.extend([of(Load::Uniform), of(Load::Hot)]);
    };
    for connections in [1, 16, 64, 256] {
        add(connections, ReadModels::On, 1);
    }
    add(64, ReadModels::Off, 1);
    add(4, ReadModels::On, 1_000);
    cells
}

fn or<T: Copy>(asked: &[T], default: T) -> Vec<T> {
    if asked.is_empty() { vec![default] } else { asked.to_vec() }
}

/// The combinations asked for.
fn cells(args: &HttpArgs) -> Vec<Cell> {
    let asked = [args.connections.len(), args.load.len(), args.read_models.len(), args.items.len()];
    if asked == [0; 4] {
        return standard();
    }
    let mut cells = Vec::new();
    for items in or(&args.items, 1) {
        for read_models in or(&args.read_models, ReadModels::On) {
            for connections in or(&args.connections, 64) {
                for load in or(&args.load, Load::Uniform) {
                    cells.push(Cell { connections, load, read_models, items });
                }
            }
        }
    }
    cells
}

/// A combination with its rounds.
struct Course {
    cell: Cell,
    latencies_us: Histogram<u64>,
    rounds: Vec<Round>,
}

pub(crate) fn run(args: &HttpArgs, dir: &Path) -> anyhow::Result<HttpResult> {
    ensure!(args.http_accounts >= 2 && args.seconds > 0, "it takes two accounts and a second");
    let mut courses = Vec::new();
    for cell in cells(args) {
        ensure!((1..=500).contains(&cell.connections), "1 to 500 connections: a ledgerd takes 512");
        ensure!((1..=8_190).contains(&cell.items), "1 to 8,190 items a request");
        let converts = matches!(cell.load, Load::Conversions | Load::Exchange);
        ensure!(!converts || cell.items == 1, "a conversion is a request of its own");
        ensure!(!converts || cell.read_models == ReadModels::On, "quotes are made by what the read models say");
        courses.push(Course { cell, latencies_us: Histogram::new(3)?, rounds: Vec::new() });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, measure(args, dir, &mut courses))?;
    let cells = courses.into_iter().map(Course::told).collect();
    Ok(HttpResult { seconds: args.seconds, rounds: args.rounds.max(1), accounts: args.http_accounts, cells })
}

async fn measure(args: &HttpArgs, dir: &Path, courses: &mut [Course]) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("bench-http-").tempdir_in(dir)?;
    let mut servers: Vec<(ReadModels, Server)> = Vec::new();
    for course in &*courses {
        let read_models = course.cell.read_models;
        if servers.iter().all(|(switch, _)| *switch != read_models) {
            let data = folder.path().join(read_models.name());
            let server = Server::start(&args.ledgerd, &data, read_models, args.gateway).await?;
            load::open_accounts(&server, args.http_accounts).await?;
            if courses.iter().any(|course| matches!(course.cell.load, Load::Conversions | Load::Exchange)) {
                exchange::prepare(&server, args.http_accounts).await?;
            }
            servers.push((read_models, server));
        }
    }
    let rounds = args.rounds.max(1);
    let mut number = 0;
    for round in 1..=rounds {
        for course in &mut *courses {
            let cell = course.cell;
            eprintln!(
                "http {round}/{rounds}: {} connections, {} accounts, read models {}, {} a request …",
                cell.connections,
                cell.load.name(),
                cell.read_models.name(),
                cell.items
            );
            let server = servers.iter().find(|(switch, _)| *switch == cell.read_models);
            let Some((_, server)) = server else { continue };
            number += 1;
            let (one, latencies_us) = load::round(server, cell, args, number).await?;
            course.latencies_us.add(latencies_us)?;
            course.rounds.push(one);
        }
    }
    Ok(())
}

impl Course {
    fn told(self) -> CellResult {
        let Self { cell, latencies_us, rounds } = self;
        let ms = |us: u64| us as f64 / 1_000.0;
        let sent: u64 = rounds.iter().map(|round| round.sent).sum();
        let grown: u64 = rounds.iter().map(|round| round.journal_bytes).sum();
        CellResult {
            cell,
            transfers_per_second: Spread::of(rounds.iter().map(|round| round.transfers_per_second).collect()),
            requests: latencies_us.len(),
            p50_ms: ms(latencies_us.value_at_quantile(0.5)),
            p99_ms: ms(latencies_us.value_at_quantile(0.99)),
            p999_ms: ms(latencies_us.value_at_quantile(0.999)),
            p100_ms: ms(latencies_us.max()),
            lag_events: rounds.iter().filter_map(|round| round.lag_events).max(),
            lag_drained_seconds: rounds.iter().filter_map(|round| round.lag_drained_seconds).max_by(f64::total_cmp),
            journal_bytes_per_transfer: grown as f64 / sent as f64,
        }
    }
}
