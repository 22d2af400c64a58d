//! A program that is run for each event: killed with its consumer, given what it can't handle, and what operators do then.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::kafka::Kafka;
use support::{Client, Server};

const TOPIC: &str = "account.balance.updated";

/// Has each effect once, by the event's id: a line in a log. Refuses events of one key while a file is there.
const PROGRAM: &str = r#"#!/bin/sh
cat > /dev/null
if [ -e "$1/broken" ] && [ "$DOPPIA_KEY" = "$(cat "$1/broken")" ]; then
    echo "no mail to $DOPPIA_KEY" >&2
    exit 3
fi
if mkdir "$1/done/$(echo "$DOPPIA_CE_ID" | tr / _)" 2>/dev/null; then
    echo "$DOPPIA_KEY $DOPPIA_CE_ID $DOPPIA_CE_TYPE" >> "$1/effects"
fi
"#;

fn ledgerd(kafka: &Kafka, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledgerd"));
    command.args(arguments).args(["--kafka", &kafka.brokers()]).current_dir(folder.path());
    command.output().unwrap()
}

fn said(kafka: &Kafka, arguments: &[&str]) -> String {
    let done = ledgerd(kafka, arguments);
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn dlq(kafka: &Kafka, arguments: &[&str]) -> String {
    said(kafka, &[&["dlq"], arguments, &["--topic", TOPIC]].concat())
}

fn parked(kafka: &Kafka) -> Value {
    serde_json::from_str(&dlq(kafka, &["list", "--output", "json"])).unwrap()
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !so() {
        assert!(Instant::now() < end, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A consumer; killed when dropped.
struct Consumer(Child);

impl Consumer {
    fn start(kafka: &Kafka, folder: &Path, metrics: u16) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_ledgerd"))
            .args(["kafka", "consume", "--kafka", &kafka.brokers(), "--topic", TOPIC, "--group", "mail"])
            .args(["--attempts", "2", "--metrics", &format!("127.0.0.1:{metrics}"), "--"])
            .arg(folder.join("program"))
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn terminate(mut self) {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The ids of a key's events, in order: as they stand in the topic, or as they had their effects.
type ByKey = BTreeMap<String, Vec<String>>;

fn in_the_topic(kafka: &Kafka, count: usize) -> ByKey {
    let mut of = ByKey::new();
    for record in kafka.read_until(TOPIC, count) {
        of.entry(record.key).or_default().push(record.id);
    }
    of
}

fn effects(folder: &Path) -> ByKey {
    let mut of = ByKey::new();
    for line in std::fs::read_to_string(folder.join("effects")).unwrap_or_default().lines() {
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[2], "ledger.balance.changed.v1");
        of.entry(words[0].to_owned()).or_default().push(words[1].to_owned());
    }
    of
}

/// Transfers from the third customer to each of the others, and back.
async fn transfers(client: &Client, round: usize) {
    for number in 0..30 {
        let (from, to) = if number % 2 == 0 { (2, number % 5 / 2) } else { (number % 2, 2) };
        let (from, to) = (format!("load:{from}"), format!("load:{to}"));
        let to = if from == to { "load:3".to_owned() } else { to };
        let body = json!({ "from": from, "to": to, "amount": "1.00", "currency": "EUR" });
        client.done("transfers", &format!("t{round}-{number}"), body).await;
    }
}

async fn published(client: &Client) {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let head = client.head().await;
        if client.get("/readyz").await.body["relay"]["sequence"] == head {
            return;
        }
        assert!(Instant::now() < end, "the relay does not get there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_has_each_event_once_and_operators_free_what_it_parks() {
    let kafka = Kafka::start();
    said(&kafka, &["kafka", "topics", "--partitions", "2"]);
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("program"), PROGRAM).unwrap();
    std::fs::set_permissions(at.join("program"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(at.join("done")).unwrap();
    let data = at.join("data");
    let server = Server::try_start(&data, 0, &["--kafka", &kafka.brokers()]).unwrap();
    let client = Client::admin(&server.url, &data);
    for account in 0..4 {
        let code = format!("load:{account}");
        let open = json!({ "code": code, "kind": "liability", "currency": "EUR" });
        client.done("accounts", &format!("open-{account}"), open).await;
        let top_up = json!({ "account": code, "amount": "100.00", "currency": "EUR" });
        client.done("top-ups", &format!("fund-{account}"), top_up).await;
    }
    let key = event_schemas::AccountId::from_code(event_schemas::BookId::FIRST, "load:1").to_string();
    std::fs::write(at.join("broken"), &key).unwrap();
    // Consumers that are killed while they work, the programs under way with them.
    for round in 0..3 {
        let mut consumer = Consumer::start(&kafka, at, 0);
        transfers(&client, round).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        consumer.0.kill().unwrap();
        consumer.0.wait().unwrap();
    }
    published(&client).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let consumer = Consumer::start(&kafka, at, port);
    // Eight postings of top-ups, and two of each of 90 transfers.
    let topic = in_the_topic(&kafka, 8 + 2 * 90);
    let of_the_key = topic[&key].len();
    until("all others have had their effect, and the key is parked", || {
        effects(at).values().map(Vec::len).sum::<usize>() == topic.values().map(Vec::len).sum::<usize>() - of_the_key
            && parked(&kafka)["keys"][0]["events"] == of_the_key
    });
    let told = parked(&kafka);
    let told = &told["keys"][0];
    assert_eq!((&told["group"], &told["key"]), (&json!("mail"), &json!(key)));
    assert_eq!((&told["first"]["event"], &told["first"]["attempts"]), (&json!(topic[&key][0]), &json!(2)));
    assert_eq!(
        (&told["first"]["error_class"], &told["first"]["error"]),
        (&json!("exit_3"), &json!(format!("no mail to {key}")))
    );
    let log = std::fs::read_to_string(at.join("log")).unwrap();
    assert!(log.contains("ALARM: a key is parked"), "{log}");
    let metrics = Client::new(&format!("http://127.0.0.1:{port}"), "");
    let figures = metrics.get("/metrics").await.body;
    assert!(figures.as_str().unwrap().contains("\ndoppia_consumer_parked_keys 1\n"), "{figures}");
    assert!(dlq(&kafka, &["list"]).contains("exit_3"));
    let shown = dlq(&kafka, &["show", "--key", &key, "--output", "json"]);
    let shown: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(shown.iter().map(|one| one["event"].as_str().unwrap()).collect::<Vec<_>>(), topic[&key]);
    assert!(shown.iter().all(|one| one["record"]["value"]["account"] == key));

    // What can't be done, in words.
    for (arguments, expected) in [
        (&["dlq", "list"][..], "of which topic? Name it with --topic"),
        (&["dlq", "list", "--topic", "no.such"], "topic no.such is missing"),
        (
            &["dlq", "show", "--topic", TOPIC, "--key", "nobody"],
            "key nobody is not parked in dlq.account.balance.updated",
        ),
        (&["dlq", "retry", "--topic", TOPIC, "--key", &key], "--actor"),
        (&["dlq", "discard", "--topic", TOPIC, "--key", &key, "--all", "--actor", "anna"], "Say so with --reason"),
        (
            &["dlq", "discard", "--topic", TOPIC, "--key", &key, "--event", "1/1", "--actor", "anna", "--reason", "x"],
            "event 1/1 of key",
        ),
        (&["kafka", "tail", "--topic", "no.such"], "topic no.such is missing"),
        (&["kafka", "consume", "--topic", TOPIC, "--group", "", "--", "true"], "a consumer group has a name"),
    ] {
        let mut arguments = arguments.to_vec();
        let brokers = kafka.brokers();
        let at = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
        arguments.splice(at..at, ["--kafka", &brokers]);
        let done =
            Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(&arguments).current_dir(folder.path()).output().unwrap();
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && error.contains(expected), "{arguments:?}: {error}");
    }

    // Mended: one is given up, the rest is handled in order, and the key is free for what comes.
    std::fs::remove_file(at.join("broken")).unwrap();
    let given_up = &topic[&key][0];
    let who = ["--key", &key, "--actor", "anna", "--reason", "sent by hand"];
    let answer = dlq(&kafka, &[&["discard", "--event", given_up][..], &who].concat());
    assert!(answer.contains("gave up key"), "{answer}");
    dlq(&kafka, &[&["retry"][..], &who].concat());
    until("nothing is parked", || parked(&kafka)["keys"] == json!([]));
    // The consumer notices at its next look.
    let end = Instant::now() + Duration::from_secs(20);
    while !metrics.get("/metrics").await.body.as_str().unwrap().contains("\ndoppia_consumer_parked_keys 0\n") {
        assert!(Instant::now() < end, "a key is still told to be parked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    transfers(&client, 3).await;
    published(&client).await;
    let topic = in_the_topic(&kafka, 8 + 2 * 120);
    let mut expected = topic.clone();
    expected.get_mut(&key).unwrap().remove(0);
    until("all have had their effect", || effects(at) == expected);
    consumer.terminate();

    // What stands in the dead letters can be looked at as any topic.
    let tail =
        said(&kafka, &["kafka", "tail", "--topic", "dlq.account.balance.updated", "--key", &key, "--output", "json"]);
    let kinds: Vec<_> = tail
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["headers"]["dlq-kind"].as_str().unwrap().to_owned())
        .collect();
    let count = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
    assert_eq!((count("discard"), count("retry"), count("handled")), (1, 1, of_the_key - 1));
    let text = said(&kafka, &["kafka", "tail", "--topic", "book.1.journal"]);
    assert_eq!(text.lines().count() as u64, client.head().await);
    assert!(server.terminate().success());
}
