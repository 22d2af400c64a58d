//! The roles of a book in processes of their own, as a whole: two gateways, a writer and one that stands by, projectors and a relay,
//! killed under load in turn; and what does not go together.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::kafka::Kafka;
use support::load::Load;
use support::roles::{Cluster, ended, eventually, ready, resumed, signal, verify};
use support::{Client, Dice, Server};

/// Writes resume within this time after a kill.
const RESUMES_WITHIN: Duration = Duration::from_secs(10);

/// How often the writer is killed; few unless `KILLS` says how many.
fn kills() -> usize {
    std::env::var("KILLS").map_or(4, |kills| kills.parse().unwrap())
}

fn make_topics(kafka: &Kafka) {
    let brokers = kafka.brokers();
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_ledgerd"))
        .args(["kafka", "topics", "--kafka", &brokers, "--partitions", "2"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The relay's topic is the journal: every event once, in order.
fn check_published(kafka: &Kafka, head: u64) {
    let records = kafka.read_until("book.1.journal", usize::try_from(head).unwrap());
    let sequences: Vec<u64> = records.iter().map(support::kafka::Stored::sequence).collect();
    assert_eq!(sequences, (1..=head).collect::<Vec<_>>());
}

async fn serves(writer: &Server) {
    eventually("a writer serves", async || {
        let told = ready(writer).await;
        told["status"] == "ready" && told["waits_for"] == json!([])
    })
    .await;
}

/// Under load through two gateways the writer is killed, and the one that stood by goes on; the one that was killed stands by next.
async fn writer_killed(cluster: &Cluster, kafka: Option<&Kafka>, kills: usize) -> (f64, f64) {
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let mut writer = cluster.writer(0);
    serves(&writer).await;
    let mut standby = cluster.writer(1);
    let (one, two) = (cluster.gateway(0), cluster.gateway(1));
    let projector = cluster.projector(0);
    let relay = kafka.map(|kafka| cluster.relay(kafka));
    let (a, b) = (cluster.client(&one).await, cluster.client(&two).await);
    let mut load = Load::open(&a).await;
    let mut times = Vec::new();
    for kill in 0..kills {
        eventually("the other stands by", async || {
            let told = ready(&standby).await;
            told["status"] == "standby" && told["waits_for"][0].as_str().unwrap_or("").contains("standing by")
        })
        .await;
        let rounds = [load.start(&a), load.start(&b)];
        tokio::time::sleep(Duration::from_millis(150 + dice.below(200))).await;
        let killed = Instant::now();
        writer.kill();
        // Those under way are sent again to the successor; those that come now are told that there is no writer.
        tokio::time::sleep(Duration::from_millis(30)).await;
        for round in &rounds {
            round.enough();
        }
        resumed(&a, &format!("again-{kill}")).await;
        let took = killed.elapsed();
        assert!(took < RESUMES_WITHIN, "{took:?}");
        times.push(took.as_secs_f64());
        writer = std::mem::replace(&mut standby, cluster.writer(kill % 2));
        for (round, client) in rounds.into_iter().zip([&b, &a]) {
            load.settle(round, client).await;
        }
    }
    load.close(&b).await;
    let head = a.head().await;
    if let (Some(kafka), Some(relay)) = (kafka, &relay) {
        eventually("everything is published", async || ready(relay).await["relay"]["sequence"] == head).await;
        check_published(kafka, head);
    }
    for server in [Some(one), Some(two), Some(standby), Some(writer), Some(projector), relay].into_iter().flatten() {
        let told = server.told();
        assert!(server.terminate().success(), "{told}");
    }
    times.sort_by(f64::total_cmp);
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("writes resumed after {median:.2} s in the median, {slowest:.2} s at most");
    (median, slowest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_again_and_again_loses_nothing() {
    let kafka = Kafka::start();
    make_topics(&kafka);
    let cluster = Cluster::new("1000");
    writer_killed(&cluster, Some(&kafka), kills()).await;
    let report = verify(&cluster);
    assert!(report.contains("balances in PostgreSQL") && report.contains("columns in PostgreSQL"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_with_the_journal_in_kafka() {
    let kafka = Kafka::migrated();
    let cluster = Cluster::in_kafka(&kafka, "1000");
    writer_killed(&cluster, None, kills() / 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_was_asleep_finds_itself_overtaken_and_nothing_splits() {
    let cluster = Cluster::new("1000");
    let mut writer = cluster.writer(0);
    serves(&writer).await;
    let standby = cluster.writer(1);
    let (gateway, _projector) = (cluster.gateway(0), cluster.projector(0));
    let client = cluster.client(&gateway).await;
    let mut load = Load::open(&client).await;
    let round = load.start(&client);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asleep = Instant::now();
    signal(&writer, "-STOP");
    tokio::time::sleep(Duration::from_millis(50)).await;
    round.enough();
    resumed(&client, "again").await;
    println!("writes resumed {:?} after the writer fell asleep", asleep.elapsed());
    assert!(asleep.elapsed() < RESUMES_WITHIN);
    signal(&writer, "-CONT");
    assert!(!ended(&mut writer).success());
    assert!(writer.told().contains("another writer has taken over"), "{}", writer.told());
    load.settle(round, &client).await;
    load.close(&client).await;
    drop((gateway, standby));
    verify(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_role_may_be_killed_and_goes_on() {
    let kafka = Kafka::start();
    make_topics(&kafka);
    let cluster = Cluster::new("2000");
    let writer = cluster.writer(0);
    serves(&writer).await;
    let mut gateways = [cluster.gateway(0), cluster.gateway(1)];
    let mut projectors = [cluster.projector(0), cluster.projector(1)];
    let mut relay = cluster.relay(&kafka);
    let mut load = Load::open(&cluster.client(&gateways[0]).await).await;
    for kill in 0..kills() {
        let which = kill % 2;
        let clients = [cluster.client(&gateways[0]).await, cluster.client(&gateways[1]).await];
        // One of two leads, and the other says so.
        eventually("one projector leads and the other waits", async || {
            let told = [ready(&projectors[0]).await, ready(&projectors[1]).await];
            let waits = told.iter().filter(|told| told["waits_for"].to_string().contains("another projector")).count();
            let leads = told.iter().filter(|told| told["waits_for"] == json!([])).count();
            (waits, leads) == (1, 1)
        })
        .await;
        let leads = usize::from(ready(&projectors[1]).await["waits_for"] == json!([]));
        let rounds = [load.start(&clients[0]), load.start(&clients[1])];
        tokio::time::sleep(Duration::from_millis(200)).await;
        std::mem::replace(&mut projectors[leads], cluster.projector(leads)).kill();
        std::mem::replace(&mut relay, cluster.relay(&kafka)).kill();
        let port = gateways[which].port;
        let free = std::mem::replace(&mut gateways[which], cluster.gateway(which + 2));
        free.kill();
        println!("killed the gateway at {port}, the projector that led, and the relay");
        for (round, client) in rounds.into_iter().zip([&clients[1 - which], &clients[1 - which]]) {
            load.settle(round, client).await;
        }
        // Its folder is free again.
        gateways[which] = cluster.gateway(which);
    }
    let client = cluster.client(&gateways[0]).await;
    load.close(&client).await;
    let head = client.head().await;
    eventually("everything is published", async || ready(&relay).await["relay"]["sequence"] == head).await;
    check_published(&kafka, head);
    drop((gateways, projectors, relay, writer));
    verify(&cluster);
}

fn refused(cluster: &Cluster, name: &str, more: &[&str]) -> String {
    match cluster.try_start("serving", name, more) {
        Ok(server) => panic!("it serves: {}", server.told()),
        Err(log) => log,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_belong_is_told_so_and_nobody_hangs() {
    let cluster = Cluster::new("1000");
    // Before anything: a gateway without a writer, over a journal that is empty.
    let gateway = cluster.gateway(0);
    let told = ready(&gateway).await;
    assert_eq!((&told["status"], &told["roles"]), (&json!("ready"), &json!(["api"])), "{told}");
    assert!(told["alarms"][0].as_str().unwrap().contains("no writer serves now"), "{told}");
    let writer = cluster.writer(0);
    serves(&writer).await;
    let _projector = cluster.projector(0);
    let client = cluster.client(&gateway).await;
    let open = json!({ "code": "a", "kind": "liability", "currency": "EUR" });
    client.done("accounts", "open", open.clone()).await;

    // Another secret; another book; both are told at the gateway, and at the writer.
    std::fs::write(cluster.folder.path().join("secret-2"), "f".repeat(40)).unwrap();
    std::fs::write(cluster.folder.path().join("secret-3"), "f".repeat(31)).unwrap();
    let writers = cluster.writers();
    let api = ["--roles", "api", "--read-models", "postgres", "--writers", &writers];
    let other =
        cluster.try_start("serving", "other", &[&api[..], &["--cluster-secret-file", "secret-2"]].concat()).unwrap();
    eventually("the gateway says what is wrong", async || {
        ready(&other).await["writers"][0]["problem"].as_str().unwrap().contains("does not have this cluster's secret")
    })
    .await;
    let strange = Client { url: other.url.clone(), ..client.clone() };
    let asked = Instant::now();
    let answer = strange.post("accounts", "open-2", open.clone()).await;
    assert_eq!((answer.status, answer.code()), (503, "no_writer"));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    drop(other);
    assert!(
        refused(&cluster, "short", &[&api[..], &["--cluster-secret-file", "secret-3"]].concat()).contains("31 bytes")
    );
    assert!(refused(&cluster, "none", &api).contains("--cluster-secret-file"));

    // Of another cluster's journal.
    let elsewhere = Cluster { ports: cluster.ports, ..Cluster::new("1000") };
    let second = elsewhere.try_start(
        "listening",
        "writer-0",
        &["--roles", "writer", "--grpc-listen", "127.0.0.1:0", "--cluster-secret-file", "secret"],
    );
    let second = second.unwrap();
    serves(&second).await;
    let strange = elsewhere.gateway(0);
    eventually("the gateway says that the journal is another", async || {
        ready(&strange).await["writers"][0]["problem"].as_str().unwrap().contains("another journal")
    })
    .await;
    drop((strange, second));

    // The writer goes, and only a standby that may not take over is left: no hang, a clear code, and queries go on.
    let standby = cluster.writer(1);
    signal(&writer, "-STOP");
    let asked = Instant::now();
    let mut codes = std::collections::BTreeSet::new();
    while asked.elapsed() < Duration::from_millis(500) {
        let waited =
            tokio::time::timeout(Duration::from_millis(100), client.post("accounts", "open-3", open.clone())).await;
        codes.extend(waited.map(|answer| answer.code().to_owned()));
    }
    drop(standby);
    signal(&writer, "-CONT");
    drop(writer);
    eventually("there is no writer", async || {
        client.post("accounts", "open-4", open.clone()).await.code() == "no_writer"
    })
    .await;
    let answer = client.get("/v1/books/1/accounts/a").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // What was asked for while it was asleep is there once, or not at all, when a writer is back.
    let _writer = cluster.writer(1);
    eventually("a writer is back", async || client.post("accounts", "open-3", open.clone()).await.status != 503).await;
    println!("while the writer was asleep: {codes:?}");
}

#[test]
fn what_does_not_go_together_ends_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://doppia@127.0.0.1:1/doppia";
    for (arguments, expected) in [
        (&["--roles", "api"][..], "need a journal on servers"),
        (&["--roles", "boss"], "\"boss\" is no role"),
        (&["--roles", "api,api"], "named twice"),
        (&["--roles", "api", "--journal", "kafka://h:1/p"], "--database"),
        (&["--roles", "api", "--journal", url], "--read-models postgres"),
        (&["--roles", "api", "--journal", url, "--read-models", "postgres"], "--writers"),
        (&["--roles", "writer", "--journal", url], "--grpc-listen"),
        (
            &["--roles", "writer", "--journal", url, "--grpc-listen", "127.0.0.1:0", "--writers", "http://a:1"],
            "only a gateway",
        ),
        (&["--roles", "projector", "--journal", url, "--read-models", "off"], "the projector keeps them"),
        (&["--roles", "relay", "--journal", url], "--kafka"),
        (&["--roles", "relay", "--journal", url, "--kafka", "h:1", "--standby"], "only a writer can stand by"),
        (&["--grpc-listen", "127.0.0.1:0"], "need a journal on servers"),
        (&["--database", url], "goes with a journal in Kafka"),
        (
            &["--roles", "api", "--journal", url, "--read-models", "postgres", "--writers", "writer:1"],
            "write http://host:port",
        ),
        (&["--roles", "writer", "--journal", url, "--grpc-listen", "127.0.0.1:0"], "need a secret"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ledgerd"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(folder.path())
            .env_remove("DOPPIA_CLUSTER_SECRET")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{arguments:?}: {error}");
    }
}

/// What a client sees of the API, whoever decides: the steps, and what each answers but for what differs from run to run.
async fn contract(client: &Client) -> Vec<(String, u16, String)> {
    let mut seen: Vec<(String, u16, String)> = Vec::new();
    let mut note = |what: &str, answer: &support::Answer, fields: &[&str]| {
        let told: Vec<String> =
            fields.iter().map(|field| answer.body.pointer(field).unwrap_or(&Value::Null).to_string()).collect();
        seen.push((
            format!("{what} replayed={}", answer.replayed),
            answer.status,
            format!("{} {}", answer.code(), told.join(" ")),
        ));
    };
    for code in ["anna", "bob"] {
        let open = json!({ "code": code, "kind": "liability", "currency": "EUR", "owner": code });
        note("open", &client.post("accounts", &format!("open-{code}"), open).await, &["/account", "/verdict"]);
    }
    let top_up = json!({ "account": "anna", "amount": "100.00", "currency": "EUR" });
    note("top up", &client.post("top-ups", "t1", top_up.clone()).await, &["/verdict"]);
    note("again", &client.post("top-ups", "t1", top_up).await, &["/verdict"]);
    let more = json!({ "account": "anna", "amount": "200.00", "currency": "EUR" });
    note("conflict", &client.post("top-ups", "t1", more).await, &["/errors/0/pointer"]);
    let transfer = json!({ "from": "anna", "to": "bob", "amount": "30.00", "currency": "EUR" });
    note("dry run", &client.post("transfers?dry_run=true", "d1", transfer.clone()).await, &["/verdict"]);
    note("transfer", &client.post("transfers", "p1", transfer).await, &["/verdict"]);
    let much = json!({ "from": "anna", "to": "bob", "amount": "3000.00", "currency": "EUR" });
    note("too much", &client.post("transfers", "p2", much).await, &["/observed"]);
    let up_to = json!({ "from": "anna", "to": "bob", "at_most": "5.00", "currency": "EUR" });
    note("up to", &client.post("transfers/up-to", "u1", up_to).await, &["/moved"]);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let tomorrow = event_schemas::Timestamp(i64::try_from(since.as_micros()).unwrap() + 86_400_000_000).to_string();
    let hold = json!({ "account": "anna", "amount": "10.00", "currency": "EUR", "expires_at": tomorrow });
    let placed = client.post("holds", "h1", hold).await;
    note("hold", &placed, &["/verdict"]);
    let item = |key: &str, amount: &str| json!({ "type": "transfer", "idempotency_key": key, "from": "anna", "to": "bob", "amount": amount, "currency": "EUR" });
    let linked = json!({ "linked": true, "items": [item("l1", "1.00"), item("l2", "9000.00")] });
    note("linked", &client.post("batches", "", linked).await, &["/results/0/code", "/results/1/code", "/accepted"]);
    let batch = json!({ "items": [item("b1", "1.00"), item("b2", "2.00")] });
    let answer = client.post("batches", "", batch).await;
    note("batch", &answer, &["/results/0/verdict", "/results/1/verdict"]);
    note("not JSON", &client.post("transfers", "x", json!("x")).await, &[]);
    note("no account", &client.get("/v1/books/1/accounts/nobody").await, &[]);
    let head = client.head().await;
    for code in ["anna", "bob"] {
        let answer = client.get(&format!("/v1/books/1/accounts/{code}/balance?min_sequence={head}")).await;
        note("balance", &answer, &["/balance", "/available"]);
        let answer = client.get(&format!("/v1/books/1/accounts/{code}/statement?min_sequence={head}")).await;
        note("statement", &answer, &["/lines/0/amount", "/lines/1/balance"]);
    }
    note("future", &client.get(&format!("/v1/books/1/accounts/anna?min_sequence={}", head + 1000)).await, &[]);
    let events = client.get("/v1/books/1/events?limit=1000").await;
    let types: Vec<String> =
        events.body["events"].as_array().unwrap().iter().map(|event| event["type"].to_string()).collect();
    seen.push(("events".into(), events.status, types.join(" ")));
    let stream = client
        .http
        .get(format!("{}/v1/books/1/events/stream", client.url))
        .bearer_auth(&client.key)
        .header("last-event-id", "0")
        .send()
        .await
        .unwrap();
    let (status, mut stream, mut text) = (stream.status().as_u16(), stream, String::new());
    while text.matches("\ndata:").count() + usize::from(text.starts_with("data:")) < types.len() {
        let piece = tokio::time::timeout(Duration::from_secs(10), stream.chunk()).await.unwrap().unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    seen.push(("stream".into(), status, String::new()));
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sees_no_difference() {
    let whole = support::Inside::start().await;
    let expected = contract(&whole.client).await;
    whole.end().await;
    let cluster = Cluster::new("2000");
    let writer = cluster.writer(0);
    serves(&writer).await;
    let (gateway, _projector) = (cluster.gateway(0), cluster.projector(0));
    let found = contract(&cluster.client(&gateway).await).await;
    for (one, other) in expected.iter().zip(&found) {
        assert_eq!(one, other);
        println!("{one:?}");
    }
    assert_eq!(expected.len(), found.len());
    let accepted = expected.iter().filter(|(_, status, _)| *status == 201).count();
    assert!(accepted >= 6, "{expected:?}");
}
