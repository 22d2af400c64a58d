//! Quotes and conversions: each customer has an account in euros and one in dollars.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use event_schemas::Timestamp;

use super::connection::Connection;
use super::load::post_batch;
use super::server::Server;
use crate::booked::mix;

/// How many conversions a second at most quotes are made for.
const MOST_PER_SECOND: u64 = 40_000;

/// Opens the accounts, and publishes a rate sheet whose quotes last an hour.
pub(super) async fn prepare(server: &Server, accounts: u64) -> anyhow::Result<()> {
    let mut connection = Connection::open(server.port).await?;
    let numbers: Vec<u64> = (0..accounts).collect();
    for chunk in numbers.chunks(500) {
        let mut body = String::from(r#"{"items":["#);
        for number in chunk {
            for currency in ["EUR", "USD"] {
                let comma = if body.ends_with('[') { "" } else { "," };
                let code = format!("fx:{number}:{currency}");
                write!(
                    body,
                    r#"{comma}{{"type":"open_account","idempotency_key":"{code}","code":"{code}","kind":"liability","currency":"{currency}","owner":"customer:{number}","overdraft":"1000000000.00"}}"#
                )?;
            }
        }
        body.push_str("]}");
        post_batch(&mut connection, &server.key, &body, chunk.len() * 2).await?;
    }
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = Timestamp(i64::try_from(since.as_micros())?);
    let (day, until) = (now.date_utc(), Timestamp(now.0 + 86_400_000_000));
    let body = format!(
        r#"{{"version":1,"pivot":"EUR","source":"table","quoted_on":"{day}","fetched_at":"{now}","valid_until":"{until}","quote_seconds":3600,"rates":[{{"currency":"USD","per_pivot":"1.0829"}}],"margins":[{{"margin_ppm":10000}}]}}"#
    );
    let status = connection.post("/v1/books/1/rate-sheets", &server.key, Some("sheet-1"), &body).await?;
    ensure!(status == 201, "a rate sheet gave {status}: {}", String::from_utf8_lossy(connection.body()));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // Until the read models have the last account and the sheet, a quote is refused.
    while let Err(error) = quote(&mut connection, &server.key, accounts - 1, accounts).await {
        ensure!(std::time::Instant::now() < until, "no quote: {error}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A quote for some customer.
pub(super) async fn quote(
    connection: &mut Connection,
    key: &str,
    random: u64,
    accounts: u64,
) -> anyhow::Result<String> {
    let number = random % accounts;
    let (from, to) = if random >> 40 & 1 == 0 { ("EUR", "USD") } else { ("USD", "EUR") };
    let cents = (random >> 16) % 9_000 + 100;
    let body = format!(
        r#"{{"from":"fx:{number}:{from}","to":"fx:{number}:{to}","amount":"{}.{:02}","currency":"{from}"}}"#,
        cents / 100,
        cents % 100
    );
    let status = connection.post("/v1/books/1/quotes", key, None, &body).await?;
    let answer = std::str::from_utf8(connection.body())?;
    ensure!(status == 201, "a quote gave {status}: {answer}");
    let quote = answer.split("\"quote\":\"").nth(1).and_then(|rest| rest.split('"').next());
    Ok(quote.context("an answer without a quote")?.to_owned())
}

/// Converts by a quote.
pub(super) async fn convert(connection: &mut Connection, key: &str, quote: &str) -> anyhow::Result<()> {
    let body = format!(r#"{{"quote":"{quote}"}}"#);
    let status = connection.post("/v1/books/1/conversions", key, None, &body).await?;
    ensure!(status == 201, "a conversion gave {status}: {}", String::from_utf8_lossy(connection.body()));
    Ok(())
}

/// Quotes for each connection.
#[derive(Default)]
pub(super) struct Quotes(Vec<Vec<String>>);

impl Quotes {
    /// Those of a connection.
    pub(super) fn take(&mut self, connection: u64) -> Vec<String> {
        let place = usize::try_from(connection).unwrap_or(usize::MAX);
        self.0.get_mut(place).map(std::mem::take).unwrap_or_default()
    }
}

/// Makes quotes for a round before it begins.
pub(super) async fn make(server: &Server, connections: u64, accounts: u64, seconds: u64) -> anyhow::Result<Quotes> {
    let each = MOST_PER_SECOND * (seconds + 1) / connections;
    let (port, key) = (server.port, server.key.clone());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = u64::try_from(since.as_micros())?;
    let tasks: Vec<_> = (0..connections)
        .map(|number| {
            let key = key.clone();
            tokio::task::spawn_local(async move {
                let mut connection = Connection::open(port).await?;
                let mut quotes = Vec::new();
                for place in 0..each {
                    quotes.push(quote(&mut connection, &key, mix(seed ^ number << 32 ^ place), accounts).await?);
                }
                anyhow::Ok(quotes)
            })
        })
        .collect();
    let mut quotes = Quotes::default();
    for task in tasks {
        quotes.0.push(task.await??);
    }
    Ok(quotes)
}
