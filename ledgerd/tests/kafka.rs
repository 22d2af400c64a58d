//! The journal in Kafka, as a whole: writers and the broker killed under load, a standby that takes over, a writer that was
//! asleep, bad input, and proofs from what is left (see `support/failover.rs` and `support/load.rs`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::process::Command;

use support::failover::{Kept, servers_killed, standby_takes_over, writer_killed};
use support::kafka::Kafka;

/// How often something is killed. A broker takes five seconds to come back, so it is few unless `KILLS` says how many.
fn kills() -> usize {
    std::env::var("KILLS").map_or(4, |kills| kills.parse().unwrap())
}

fn kept(kafka: &Kafka) -> Kept {
    Kept { url: kafka.url.clone(), more: vec!["--allow-unsafe-server"] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_again_and_again_loses_nothing() {
    let kafka = Kafka::migrated();
    writer_killed(&kept(&kafka), "500", kills()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_again_and_again_loses_nothing() {
    let kafka = Kafka::migrated();
    servers_killed(&kept(&kafka), kills(), || kafka.kill(), || kafka.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_from_a_writer_that_is_killed_or_asleep() {
    let kafka = Kafka::migrated();
    standby_takes_over(&kept(&kafka), "1000", kills() / 2).await;
}

#[test]
fn what_does_not_fit_ends_with_a_word() {
    let kafka = Kafka::migrated();
    let folder = tempfile::tempdir().unwrap();
    let serve = |url: &str, more: &[&str]| {
        let data = folder.path().join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ledgerd"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--journal", url, "--data"]).arg(data).args(more);
        let done = command.output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{url}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    for (url, text) in [
        ("kafka://127.0.0.1:1/p", "can't be reached"),
        ("kafka://127.0.0.1:port/p", "a broker is a name or an address and a port"),
        ("kafka://ada:s3cret@127.0.0.1/p", "kafka+ssl://"),
        ("redis://127.0.0.1/0", "kafka://host:9092/prefix"),
        (kafka.url_of("nowhere").as_str(), "ledgerd migrate"),
        (kafka.url.as_str(), "--allow-unsafe-server"),
    ] {
        let told = serve(url, &[]);
        assert!(told.contains(text) && !told.contains("s3cret"), "{url}: {told}");
    }
    // The same of the one that makes topics.
    let refused = Kafka::migrate(&kafka.url_of("other"), &[]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("--allow-unsafe-server"), "{told}");
    let again = Kafka::migrate(&kafka.url, &["--allow-unsafe-server", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&told["made"], told["topics"].as_array().unwrap().len()), (&serde_json::json!([]), 2));
}
