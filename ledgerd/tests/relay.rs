//! The relay, as a part of the whole: servers and brokers killed under load, what is told of it, and what can be typed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use event_schemas::topics::{Topic, outlets};
use event_schemas::{RecordedEvent, Sequence};
use projections::ports::EventFeed as _;
use serde_json::{Value, json};
use support::kafka::{Kafka, Stored};
use support::load::Load;
use support::{Client, Dice, Server};

const KILLS: usize = 20;

fn ledgerd(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(arguments).current_dir(folder.path()).output().unwrap()
}

fn make_topics(kafka: &Kafka, more: &[&str]) {
    let brokers = kafka.brokers();
    let done = ledgerd(&[&["kafka", "topics", "--kafka", &brokers][..], more].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A folder for data folders, with a configuration. Refusals are part of the load here, and nobody's budget of them shall end it.
fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[limits]\nrejections_burst = 1000000\n{more}");
    std::fs::write(folder.path().join("doppia.toml"), config).unwrap();
    folder
}

fn start(data: &Path, kafka: &Kafka) -> Server {
    Server::try_start(data, 0, &["--kafka", &kafka.brokers()])
        .unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"))
}

async fn ready(client: &Client) -> Value {
    client.get("/readyz").await.body
}

/// Waits until the relay has published everything, and gives what `/readyz` says then.
async fn published(client: &Client) -> Value {
    let until = Instant::now() + Duration::from_mins(2);
    loop {
        let head = client.head().await;
        let told = ready(client).await;
        if told["relay"]["sequence"] == head {
            return told;
        }
        assert!(Instant::now() < until, "the relay does not get there: {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every event of a closed book.
fn journal(data: &Path) -> Vec<RecordedEvent> {
    let mut feed = stores::embedded::reader(data).unwrap();
    let (mut events, mut after) = (Vec::new(), Sequence::ZERO);
    while let Some(block) = feed.next_block(after, Duration::ZERO).unwrap() {
        events.extend(block.events().map(Result::unwrap).map(|(at, event)| block.recorded(at, event)));
        after = block.header().last_sequence();
    }
    events
}

/// The journal's topic is the journal, and each keyed topic has what the topic map says, once and in order for each key.
fn check(kafka: &Kafka, data: &Path, prefix: &str) {
    let events = journal(data);
    let records = kafka.read_until(&format!("{prefix}book.1.journal"), events.len());
    assert_eq!(records.len(), events.len());
    for (record, event) in records.iter().zip(&events) {
        assert_eq!((record.sequence(), &record.value), (event.sequence.0, &serde_json::to_value(event).unwrap()));
    }
    for topic in Topic::ALL {
        let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for event in &events {
            for outlet in outlets(event).into_iter().filter(|outlet| outlet.topic == topic) {
                expected.entry(outlet.key.to_string()).or_default().push(event.sequence.0);
            }
        }
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let count = expected.values().map(Vec::len).sum();
        for record in kafka.read_until(&format!("{prefix}{}", topic.name()), count) {
            let sequence = record.sequence();
            found.entry(record.key).or_default().push(sequence);
        }
        assert_eq!(found, expected, "{}", topic.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_publishes_each_event_once() {
    let kafka = Kafka::start();
    make_topics(&kafka, &["--partitions", "4"]);
    let folder = folder("");
    let data = folder.path().join("data");
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let mut server = start(&data, &kafka);
    let mut load = Load::open(&Client::admin(&server.url, &data)).await;
    for kill in 0..KILLS {
        let round = load.start(&Client::admin(&server.url, &data));
        tokio::time::sleep(Duration::from_millis(150 + dice.below(350))).await;
        // Now and then the broker, too.
        if kill % 7 == 3 {
            kafka.kill();
            tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
        }
        server.kill();
        if kill % 7 == 3 {
            kafka.restart();
        }
        server = start(&data, &kafka);
        load.settle(round, &Client::admin(&server.url, &data)).await;
    }
    let client = Client::admin(&server.url, &data);
    load.close(&client).await;
    let told = published(&client).await;
    assert_eq!((&told["relay"]["state"], &told["relay"]["lag_events"]), (&json!("publishing"), &json!(0)));
    assert!(server.terminate().success());
    check(&kafka, &data, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_goes_on_without_a_broker_and_the_relay_catches_up() {
    let kafka = Kafka::start();
    let folder = folder("[kafka]\nprefix = \"bank.\"\n");
    let data = folder.path().join("data");
    let config = folder.path().join("doppia.toml");
    make_topics(&kafka, &["--partitions", "2", "--config", config.to_str().unwrap()]);
    kafka.kill();
    let server = start(&data, &kafka);
    let client = Client::admin(&server.url, &data);
    let mut load = Load::open(&client).await;
    let round = load.start(&client);
    let until = Instant::now() + Duration::from_secs(30);
    let told = loop {
        let told = ready(&client).await;
        if told["relay"]["state"] == "waiting" {
            break told;
        }
        assert!(Instant::now() < until, "{told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    round.enough();
    // It is told, and it is no reason to take the server out.
    assert_eq!(told["status"], "ready");
    let reason = told["relay"]["reason"].as_str().unwrap();
    assert!(reason.contains("no broker answers at") && reason.contains(&kafka.brokers()), "{reason}");
    assert!(told["relay"]["lag_events"].as_u64().unwrap() > 0, "{told}");
    kafka.restart();
    load.settle(round, &client).await;
    load.close(&client).await;
    published(&client).await;
    let metrics = client.get("/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("doppia_relay_lag_events 0"), "{metrics}");
    assert!(metrics.contains(&format!("doppia_relay_position {}", client.head().await)), "{metrics}");
    assert!(metrics.contains("doppia_relay_running 1"), "{metrics}");
    assert!(server.terminate().success());
    check(&kafka, &data, "bank.");

    // The same topics, and the journal of another book: an alarm, and the ledger goes on.
    let other = folder.path().join("other");
    let server = start(&other, &kafka);
    let client = Client::admin(&server.url, &other);
    let until = Instant::now() + Duration::from_secs(30);
    let told = loop {
        let told = ready(&client).await;
        if told["relay"]["state"] == "stopped" {
            break told;
        }
        assert!(Instant::now() < until, "{told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(told["status"], "ready");
    assert!(told["alarms"][0].as_str().unwrap().contains("Kafka and the journal have parted"), "{told}");
    Load::open(&client).await;
    assert!(server.log.lock().unwrap().iter().any(|line| line.contains("ALARM: the relay to Kafka has stopped")));
    let records: Vec<Stored> = kafka.read_until("bank.book.1.journal", 0);
    assert_eq!(records.len(), journal(&data).len());
}

#[test]
fn wrong_settings_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kafka.properties");
    std::fs::write(&file, "sasl.password = geheim\nacks = 0\n").unwrap();
    let config = folder.path().join("doppia.toml");
    std::fs::write(&config, format!("[kafka]\nbrokers = \"localhost:1\"\nproperties_file = {file:?}\n")).unwrap();
    let data = folder.path().join("data");
    let (config, data) = (config.to_str().unwrap(), data.to_str().unwrap());
    for (arguments, expected) in [
        (&["kafka", "topics"][..], "which cluster? Name it with --kafka"),
        (&["kafka", "topics", "--kafka", "here"], "\"here\" is no broker: write host:port"),
        (&["kafka", "topics", "--kafka", "127.0.0.1:1"], "no broker answers at 127.0.0.1:1"),
        (&["kafka", "topics", "--kafka", "127.0.0.1:1", "--partitions", "0"], "1 to 1000 partitions"),
        (&["kafka", "topics", "--config", config], "line 2: acks can't be set here"),
        (&["serve", "--config", config, "--data", data, "--listen", "127.0.0.1:0"], "line 2: acks can't be set here"),
        (&["serve", "--kafka", "here"], "\"here\" is no broker"),
    ] {
        let done = ledgerd(arguments);
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && error.contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains("geheim"), "{error}");
    }
    assert!(!Path::new(data).exists());
    let printed = ledgerd(&["config", "--config", config]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("localhost:1") && !printed.contains("geheim"), "{printed}");
}
