//! The journal in PostgreSQL, as a whole: writers and the server killed under load, a standby that takes over, a writer that
//! was asleep, and proofs from what is left (see `support/load.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use support::load::Load;
use support::postgres::Postgres;
use support::{Client, Dice, Server, replay};

const KILLS: usize = 20;

/// Writes resume within this time after a kill.
const RESUMES_WITHIN: Duration = Duration::from_secs(10);

fn arguments(postgres: &Postgres) -> [&str; 2] {
    ["--journal", &postgres.url]
}

/// A folder for data folders. Refusals are part of the load here, and nobody's budget of them shall end it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("doppia.toml"), "[limits]\nrejections_burst = 1000000\n").unwrap();
    folder
}

fn start(data: &Path, postgres: &Postgres, more: &[&str]) -> Server {
    let arguments: Vec<_> = arguments(postgres).iter().chain(more).copied().collect();
    Server::try_start(data, 0, &arguments).unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"))
}

/// Verifies everything; the findings are printed if there are any.
fn verify(data: &Path, postgres: &Postgres) {
    replay(data, &["--journal", &postgres.url, "verify"]);
}

/// Sends one transfer again and again until it is answered, and gives how long that took.
async fn resumed(client: &Client, key: &str) -> Duration {
    let asked = Instant::now();
    let body = json!({ "from": "load:0", "to": "load:1", "amount": "100000000.00", "currency": "EUR" });
    loop {
        // More than there is: a verdict that moves nothing.
        if client.try_post("transfers", key, &body).await.is_ok_and(|answer| answer.status == 422) {
            return asked.elapsed();
        }
        assert!(asked.elapsed() < Duration::from_mins(1), "writes did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_again_and_again_loses_nothing() {
    let postgres = Postgres::start();
    let folder = folder();
    let data = folder.path().join("data");
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let lease = ["--lease-ms", "500"];
    let mut server = start(&data, &postgres, &lease);
    let mut load = Load::open(&Client::admin(&server.url, &data)).await;
    let mut slowest = Duration::ZERO;
    for kill in 0..KILLS {
        let round = load.start(&Client::admin(&server.url, &data));
        tokio::time::sleep(Duration::from_millis(50 + dice.below(150))).await;
        let killed = Instant::now();
        server.kill();
        server = start(&data, &postgres, &lease);
        let client = Client::admin(&server.url, &data);
        resumed(&client, &format!("again-{kill}")).await;
        slowest = slowest.max(killed.elapsed());
        load.settle(round, &client).await;
    }
    println!("writes resumed within {slowest:?}");
    assert!(slowest < RESUMES_WITHIN, "{slowest:?}");
    load.close(&Client::admin(&server.url, &data)).await;
    assert!(server.terminate().success());
    verify(&data, &postgres);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_loses_nothing() {
    let postgres = Postgres::start();
    let folder = folder();
    let data = folder.path().join("data");
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let server = start(&data, &postgres, &[]);
    let client = Client::admin(&server.url, &data);
    let mut load = Load::open(&client).await;
    let mut slowest = Duration::ZERO;
    for kill in 0..KILLS {
        let round = load.start(&client);
        tokio::time::sleep(Duration::from_millis(50 + dice.below(150))).await;
        postgres.kill();
        round.enough();
        postgres.restart();
        // From the moment at which the server answers again: how long a database takes to recover is its own affair.
        slowest = slowest.max(resumed(&client, &format!("again-{kill}")).await);
        load.settle(round, &client).await;
    }
    println!("writes resumed within {slowest:?}");
    assert!(slowest < RESUMES_WITHIN, "{slowest:?}");
    load.close(&client).await;
    assert!(server.terminate().success());
    verify(&data, &postgres);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_from_a_writer_that_is_killed_or_asleep() {
    let postgres = Postgres::start();
    let folder = folder();
    let lease = ["--lease-ms", "1000"];
    // The keys are in the database: the first writer's admin key opens every writer after it.
    let data = folder.path().join("0");
    let mut writer = start(&data, &postgres, &lease);
    let mut load = Load::open(&Client::admin(&writer.url, &data)).await;
    let mut slowest = Duration::ZERO;
    for takeover in 1..=4 {
        let next = folder.path().join(takeover.to_string());
        // Another writer without --standby is refused, in words.
        if takeover == 1 {
            let other = folder.path().join("other");
            let refused = Server::try_start(&other, 0, &[&arguments(&postgres)[..], &lease].concat());
            let log = refused.err().unwrap();
            assert!(log.contains("is being written by") && log.contains("--standby"), "{log}");
        }
        let waiting = {
            let (next, arguments) = (next.clone(), [&arguments(&postgres)[..], &lease, &["--standby"]].concat());
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            std::thread::spawn(move || {
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                Server::try_start(&next, 0, &arguments)
            })
        };
        let round = load.start(&Client::admin(&writer.url, &data));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(!waiting.is_finished(), "the standby took over from a writer that is alive");
        let gone = Instant::now();
        let asleep = if takeover % 2 == 0 {
            let status = Command::new("kill").args(["-STOP", &writer.child.id().to_string()]).status().unwrap();
            assert!(status.success());
            Some(writer)
        } else {
            writer.kill();
            None
        };
        round.enough();
        let server = tokio::task::spawn_blocking(move || waiting.join().unwrap()).await.unwrap();
        writer = server.unwrap_or_else(|log| panic!("the standby did not come up:\n{log}"));
        let client = Client::admin(&writer.url, &data);
        resumed(&client, &format!("again-{takeover}")).await;
        slowest = slowest.max(gone.elapsed());
        if let Some(mut asleep) = asleep {
            // It wakes up with requests in hand, finds itself overtaken, answers none of them, and ends with a word.
            let status = Command::new("kill").args(["-CONT", &asleep.child.id().to_string()]).status().unwrap();
            assert!(status.success());
            let until = Instant::now() + Duration::from_secs(20);
            let status = loop {
                if let Some(status) = asleep.child.try_wait().unwrap() {
                    break status;
                }
                assert!(Instant::now() < until, "an overtaken writer goes on");
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            assert!(!status.success());
            std::thread::sleep(Duration::from_millis(200));
            let log = asleep.log.lock().unwrap().join("\n");
            assert!(log.contains("another writer has taken over"), "{log}");
        }
        load.settle(round, &client).await;
        assert!(!next.join("admin.key").exists(), "a second admin key was made");
    }
    println!("writes resumed within {slowest:?}");
    assert!(slowest < RESUMES_WITHIN, "{slowest:?}");
    load.close(&Client::admin(&writer.url, &data)).await;
    assert!(writer.terminate().success());
    verify(&data, &postgres);
}
