//! The main job where the journal is not in the data folder: the same bank, imported once into each place, ends in the same
//! state as in the folder, to the digest.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::csv_import::{ImportOptions, Rules, import};
use event_schemas::Digest;
use ledger_core::ports::JournalReader;
use ledger_core::state::State;
use serde_json::Value;
use support::kafka::Kafka;
use support::postgres::Postgres;
use support::{Client, Server, replay, root};

const ROWS: u64 = 46_997;
const ACCOUNT_DAYS: usize = 38_821;

/// Serves, imports, ends; the end-of-day balances by account and day, as the export tells them.
async fn bank(name: &str, data: &Path, serve: &[&str], journal: &[&str]) -> Vec<String> {
    let server = Server::try_start(data, 0, serve).unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"));
    let examples = root().join("examples/berka");
    let options = ImportOptions {
        url: server.url.clone(),
        key: std::fs::read_to_string(data.join("admin.key")).unwrap().trim().to_owned(),
        connections: 64,
        strict: true,
        refused: None,
        retry_for: Duration::from_secs(30),
    };
    let rules = Arc::new(Rules::load(&examples.join("rules.toml")).unwrap());
    let began = Instant::now();
    let summary = import(rules, &examples.join("trans.csv.gz"), &options, &mut |_| ()).await.unwrap();
    println!("{name}: {ROWS} rows in {:?}", began.elapsed());
    assert_eq!((summary.rows, summary.posted, summary.refused), (ROWS, ROWS, 0));
    let api = Client::admin(&server.url, data);
    let head = api.head().await;
    let trial = api.get(&format!("/v1/books/1/trial-balance?min_sequence={head}&timeout_ms=30000")).await.body;
    assert_eq!((trial["balanced"].as_bool(), trial["entries"].as_u64()), (Some(true), Some(ROWS)), "{trial}");
    assert!(server.terminate().success());
    let verified: Value =
        serde_json::from_str(&replay(data, &[journal, &["verify", "--output", "json"]].concat())).unwrap();
    assert_eq!(verified["ok"], true, "{verified}");
    let export = replay(data, &[journal, &["export", "--format", "csv", "--end-of-day"]].concat());
    let mut days: Vec<String> = export.lines().filter(|line| line.starts_with("berka:")).map(str::to_owned).collect();
    days.sort_unstable();
    days
}

/// The state at the end of a journal.
fn digest(mut reader: impl JournalReader) -> Digest {
    let mut state = State::new();
    while let Some(block) = reader.next_block().unwrap() {
        for event in block.events() {
            state.apply(&event.unwrap().1).unwrap();
        }
    }
    state.digest()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_bank_ends_in_the_same_state_wherever_its_journal_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("embedded");
    let here = bank("embedded", &data, &[], &[]).await;
    assert_eq!(here.len(), ACCOUNT_DAYS);
    let expected = digest(stores::embedded::reader(&data).unwrap());

    let postgres = Postgres::start();
    let data = folder.path().join("postgres");
    let journal = ["--journal", &postgres.url];
    let there = bank("PostgreSQL", &data, &[&journal[..], &["--read-models", "postgres"]].concat(), &journal).await;
    assert!(here == there, "the balances of PostgreSQL are not those of the folder");
    let url = stores::postgres::PostgresUrl::parse(&postgres.url).unwrap();
    let found = tokio::task::spawn_blocking(move || {
        digest(stores::postgres::PostgresReader::open(url, event_schemas::BookId::FIRST))
    });
    assert_eq!(found.await.unwrap(), expected);

    let kafka = Kafka::migrated();
    let data = folder.path().join("kafka");
    let journal = ["--journal", &kafka.url];
    let there = bank("Kafka", &data, &[&journal[..], &["--allow-unsafe-server"]].concat(), &journal).await;
    assert!(here == there, "the balances of Kafka are not those of the folder");
    let url = stores::kafka::KafkaUrl::parse(&kafka.url).unwrap();
    let found = tokio::task::spawn_blocking(move || {
        digest(stores::kafka::KafkaReader::open(&url, event_schemas::BookId::FIRST))
    });
    assert_eq!(found.await.unwrap(), expected);
}
