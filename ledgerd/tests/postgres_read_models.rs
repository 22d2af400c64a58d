//! Read models in PostgreSQL, as a whole: under load, through kills of the server that keeps them and of the database, then
//! proved, edited, found and made anew.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use support::load::Load;
use support::postgres::Postgres;
use support::{Client, Server, replay, try_replay};

fn start(data: &Path, postgres: &Postgres) -> Server {
    let arguments = ["--journal", &postgres.url, "--lease-ms", "500", "--read-models", "postgres"];
    Server::try_start(data, 0, &arguments).unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"))
}

fn sql(postgres: &Postgres, sql: &str) -> String {
    let done = Command::new("psql").args(["-qAt", "-c", sql, &postgres.url]).output().unwrap();
    assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Waits until a write gets a verdict again: one that moves nothing.
async fn answers_again(server: &Server, client: &Client) {
    let body = json!({ "from": "load:0", "to": "load:1", "amount": "100000000.00", "currency": "EUR" });
    let until = Instant::now() + Duration::from_mins(1);
    while !client.try_post("transfers", "again", &body).await.is_ok_and(|answer| answer.status == 422) {
        assert!(Instant::now() < until, "writes did not come back:\n{}", server.log.lock().unwrap().join("\n"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_right_after_kills_and_an_edit_is_found() {
    let postgres = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("doppia.toml"), "[limits]\nrejections_burst = 1000000\n").unwrap();
    let data = folder.path().join("data");
    let mut server = start(&data, &postgres);
    let mut load = Load::open(&Client::admin(&server.url, &data)).await;
    for kill in 0..4 {
        let round = load.start(&Client::admin(&server.url, &data));
        tokio::time::sleep(Duration::from_millis(120)).await;
        if kill == 1 {
            postgres.kill();
            round.enough();
            postgres.restart();
            answers_again(&server, &Client::admin(&server.url, &data)).await;
        } else {
            server.kill();
            server = start(&data, &postgres);
        }
        load.settle(round, &Client::admin(&server.url, &data)).await;
    }
    // Balances by the API, which asks PostgreSQL, are those of the log.
    let client = Client::admin(&server.url, &data);
    load.close(&client).await;
    // And so are those of an analyst.
    let balance = client.balance("load:3").await;
    let of_sql = "SELECT credits - debits FROM analyst.balances_accounts WHERE code = 'load:3'";
    assert_eq!(sql(&postgres, of_sql), balance);
    let journal = ["--journal", &postgres.url];
    let report = replay(&data, &[&journal[..], &["verify"]].concat());
    assert!(report.contains("balances in PostgreSQL") && report.contains("columns in PostgreSQL"), "{report}");
    assert!(server.terminate().success());

    // Two edits: of a column that people see, and of the bytes that the server reads.
    sql(&postgres, "UPDATE read_model.balances_accounts SET credits_minor = 7 WHERE code = 'load:3'");
    sql(&postgres, "DELETE FROM read_model.audit_acts WHERE sequence = 9");
    let ask = |arguments: &[&str]| try_replay(&data, &[&journal[..], arguments].concat());
    let (fine, report) = ask(&["verify"]);
    assert!(!fine && report.contains("balances_accounts.credits_minor") && report.contains("audit_acts"), "{report}");
    let (same, rebuilt) = ask(&["rebuild", "balances", "audit", "--in-postgres"]);
    assert!(!same && rebuilt.contains("balances: rebuilt from nothing"), "{rebuilt}");
    assert!(rebuilt.contains("The digests differ: it was wrong before, and is right now"), "{rebuilt}");
    let (fine, report) = ask(&["verify"]);
    assert!(fine, "{report}");
}

#[test]
fn without_a_journal_there_they_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Server::try_start(&folder.path().join("data"), 0, &["--read-models", "postgres"]);
    let log = refused.err().unwrap();
    assert!(log.contains("read_models") && log.contains("--journal"), "{log}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(["serve", "--read-models", "mysql"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("postgres"));
}
