//! One round of one combination: connections that send transfers until the time is over, and then the wait for the read models.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use serde::Deserialize;

use super::connection::Connection;
use super::exchange;
use super::server::Server;
use super::{Cell, Load};
use crate::booked::mix;
use crate::folder::used_bytes;
use crate::{HttpArgs, ReadModels};

const WARM_UP: Duration = Duration::from_millis(500);

/// How long the read models may take to catch up before the measurement gives up.
const DRAIN_PATIENCE: Duration = Duration::from_mins(2);

/// What a round gave.
pub(super) struct Round {
    pub(super) transfers_per_second: f64,
    /// Transfers answered, those of the warm-up included.
    pub(super) sent: u64,
    /// How much the journal grew meanwhile.
    pub(super) journal_bytes: u64,
    pub(super) lag_events: Option<u64>,
    pub(super) lag_drained_seconds: Option<f64>,
}

/// Opens the accounts that are moved between.
pub(super) async fn open_accounts(server: &Server, accounts: u64) -> anyhow::Result<()> {
    let mut connection = Connection::open(server.port).await?;
    let numbers: Vec<u64> = (0..accounts).collect();
    for chunk in numbers.chunks(1_000) {
        let items = chunk.iter().map(|number| {
            format!(
                r#"{{"type":"open_account","idempotency_key":"open-{number}","code":"bench:{number}","kind":"liability","currency":"EUR","owner":"customer:{number}","overdraft":"1000000000.00"}}"#
            )
        });
        let body = format!(r#"{{"items":[{}]}}"#, items.collect::<Vec<_>>().join(","));
        post_batch(&mut connection, &server.key, &body, chunk.len()).await?;
    }
    Ok(())
}

/// Posts a batch, all of whose items have to be accepted.
pub(super) async fn post_batch(connection: &mut Connection, key: &str, body: &str, items: usize) -> anyhow::Result<()> {
    let status = connection.post("/v1/books/1/batches", key, None, body).await?;
    let answer = std::str::from_utf8(connection.body())?;
    ensure!(status == 200, "a batch gave {status}: {answer}");
    let accepted = answer.matches("\"status\":201").count();
    ensure!(accepted == items, "{accepted} of {items} items were accepted: {}", answer.get(..500).unwrap_or(answer));
    Ok(())
}

struct Shared {
    port: u16,
    key: String,
    cell: Cell,
    accounts: u64,
    /// Makes the ids of each round its own.
    round: u64,
    measure_from: Instant,
    until: Instant,
}

/// What a connection did.
struct Driven {
    /// Transfers answered between the end of the warm-up and the end of the time.
    measured: u64,
    sent: u64,
    /// Of requests answered after the warm-up.
    latencies_us: Histogram<u64>,
}

pub(super) async fn round(
    server: &Server,
    cell: Cell,
    args: &HttpArgs,
    round: u64,
) -> anyhow::Result<(Round, Histogram<u64>)> {
    let journal = server.journal();
    let before = used_bytes(&journal)?;
    let mut quotes = exchange::Quotes::default();
    if cell.load == Load::Conversions {
        quotes = exchange::make(server, cell.connections as u64, args.http_accounts, args.seconds).await?;
    }
    let measure_from = Instant::now() + WARM_UP;
    let until = measure_from + Duration::from_secs(args.seconds);
    let (port, key, accounts) = (server.port, server.key.clone(), args.http_accounts);
    let shared = Rc::new(Shared { port, key, cell, accounts, round, measure_from, until });
    let tasks: Vec<_> = (0..cell.connections as u64)
        .map(|number| tokio::task::spawn_local(drive(number, Rc::clone(&shared), quotes.take(number))))
        .collect();
    let (mut measured, mut sent, mut latencies_us) = (0, 0, Histogram::new(3)?);
    for task in tasks {
        let driven = task.await??;
        measured += driven.measured;
        sent += driven.sent;
        latencies_us.add(driven.latencies_us)?;
    }
    let lag = match server.read_models {
        ReadModels::On | ReadModels::Postgres => Some(drain(server).await?),
        ReadModels::Off => None,
    };
    let round = Round {
        transfers_per_second: measured as f64 / args.seconds as f64,
        sent,
        journal_bytes: used_bytes(&journal)?.saturating_sub(before),
        lag_events: lag.map(|(events, _)| events),
        lag_drained_seconds: lag.map(|(_, seconds)| seconds),
    };
    Ok((round, latencies_us))
}

/// Sends requests on one connection until the time is over.
async fn drive(connection_number: u64, shared: Rc<Shared>, mut quotes: Vec<String>) -> anyhow::Result<Driven> {
    let Shared { cell, .. } = *shared;
    let mut connection = Connection::open(shared.port).await?;
    let mut driven = Driven { measured: 0, sent: 0, latencies_us: Histogram::new(3)? };
    let mut body = String::new();
    let mut id = String::new();
    let mut number = 0;
    loop {
        body.clear();
        id.clear();
        let began = if matches!(cell.load, Load::Conversions | Load::Exchange) {
            let random = mix(shared.round << 48 ^ connection_number << 32 ^ number);
            number += 1;
            let began = Instant::now();
            let quote = match quotes.pop() {
                Some(quote) => quote,
                None if cell.load == Load::Conversions => anyhow::bail!("there are no more quotes: ask for less time"),
                None => exchange::quote(&mut connection, &shared.key, random, shared.accounts).await?,
            };
            exchange::convert(&mut connection, &shared.key, &quote).await?;
            began
        } else if cell.items == 1 {
            write!(id, "t-{}-{connection_number}-{number}", shared.round)?;
            body.push('{');
            write_transfer(&mut body, connection_number, number, &shared)?;
            number += 1;
            let began = Instant::now();
            let status = connection.post("/v1/books/1/transfers", &shared.key, Some(&id), &body).await?;
            ensure!(status == 201, "a transfer gave {status}: {}", String::from_utf8_lossy(connection.body()));
            began
        } else {
            write_batch(&mut body, connection_number, number, &shared)?;
            number += cell.items as u64;
            let began = Instant::now();
            post_batch(&mut connection, &shared.key, &body, cell.items).await?;
            began
        };
        let now = Instant::now();
        driven.sent += cell.items as u64;
        if now >= shared.measure_from {
            // Of the last requests, answered too late to count, the latency counts all the same: a stall must not go unseen.
            driven.latencies_us.record(u64::try_from((now - began).as_micros())?)?;
            driven.measured += if now <= shared.until { cell.items as u64 } else { 0 };
        }
        if now >= shared.until {
            return Ok(driven);
        }
    }
}

/// The members of a transfer, without the brace before them.
fn write_transfer(body: &mut String, connection: u64, number: u64, shared: &Shared) -> std::fmt::Result {
    let random = mix(shared.round << 48 ^ connection << 32 ^ number);
    let (from, to) = match shared.cell.load {
        Load::Uniform => {
            let from = random % shared.accounts;
            (from, (from + 1 + (random >> 32) % (shared.accounts - 1)) % shared.accounts)
        }
        Load::Hot | Load::Conversions | Load::Exchange => (random & 1, (random & 1) ^ 1),
    };
    write!(
        body,
        r#""from":"bench:{from}","to":"bench:{to}","amount":"0.{:02}","currency":"EUR"}}"#,
        (random >> 16) % 99 + 1
    )
}

fn write_batch(body: &mut String, connection: u64, first: u64, shared: &Shared) -> std::fmt::Result {
    body.push_str(r#"{"items":["#);
    for number in first..first + shared.cell.items as u64 {
        let comma = if number == first { "" } else { "," };
        write!(body, r#"{comma}{{"type":"transfer","idempotency_key":"t-{}-{connection}-{number}","#, shared.round)?;
        write_transfer(body, connection, number, shared)?;
    }
    body.push_str("]}");
    Ok(())
}

/// What `/readyz` says.
#[derive(Deserialize)]
struct Readiness {
    sequence: u64,
    read_models_sequence: Option<u64>,
    reasons: Vec<String>,
}

/// Waits until the read models have reached the head; gives how many events they lay behind, and the seconds it took.
async fn drain(server: &Server) -> anyhow::Result<(u64, f64)> {
    let mut connection = Connection::open(server.port).await?;
    let began = Instant::now();
    let mut first = None;
    loop {
        connection.get("/readyz").await?;
        let Readiness { sequence, read_models_sequence, reasons } = serde_json::from_slice(connection.body())?;
        let applied = read_models_sequence.context("the read models are off")?;
        let behind = sequence.saturating_sub(applied);
        let at_first = *first.get_or_insert(behind);
        if behind == 0 {
            return Ok((at_first, began.elapsed().as_secs_f64()));
        }
        let stopped = reasons.iter().find(|reason| reason.contains("stopped"));
        ensure!(stopped.is_none(), "the server is broken: {}", reasons.join("; "));
        ensure!(began.elapsed() < DRAIN_PATIENCE, "the read models are still {behind} events behind");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
