//! A file system of 16 MiB, filled under load over HTTP: no answer without durability, read-only with a problem of its own while
//! it is full, reads go on, writes return when there is room, and nothing acknowledged is lost. RocksDB is on the same disk.
//!
//! It mounts a tmpfs and so needs root. Without root it says that it was skipped; as root it fails if it can't mount.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ledger_core::ports::JournalReader as _;
use serde_json::{Value, json};
use support::small_disk::SmallDisk;
use support::{Client, Server, replay};

const CONNECTIONS: u64 = 8;
/// What a request of the load moves, item by item.
const BATCH: u64 = 200;
/// What is deleted so that the book can go on.
const BALLAST_BYTES: usize = 4 << 20;

#[derive(Default)]
struct Log {
    /// Acknowledged transfers by their key: the sequence.
    acknowledged: Mutex<BTreeMap<String, u64>>,
    /// What else was answered.
    others: Mutex<BTreeMap<(u16, String), u64>>,
}

fn item(key: &str) -> Value {
    json!({ "type": "transfer", "idempotency_key": key, "from": "a", "to": "b", "amount": "0.01", "currency": "EUR",
            "reference": "x".repeat(200) })
}

/// Sends batches until told to stop; a batch that was not taken is sent again with the same keys.
async fn load(client: Client, number: u64, stop: Arc<AtomicBool>, log: Arc<Log>) {
    for count in 0.. {
        let keys: Vec<String> = (0..BATCH).map(|item| format!("k{number}-{count}-{item}")).collect();
        let body = json!({ "items": keys.iter().map(|key| item(key)).collect::<Vec<_>>() });
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let answer = match client.try_post("batches", "", &body).await {
                Ok(answer) => answer,
                Err(error) => {
                    *log.others.lock().unwrap().entry((0, error)).or_default() += 1;
                    return;
                }
            };
            if answer.status == 200 {
                let items = answer.body["results"].as_array().unwrap();
                let mut acknowledged = log.acknowledged.lock().unwrap();
                for (key, item) in keys.iter().zip(items) {
                    assert_eq!(item["verdict"], "accepted", "{item}");
                    acknowledged.insert(key.clone(), item["sequence"].as_u64().unwrap());
                }
                break;
            }
            *log.others.lock().unwrap().entry((answer.status, answer.code().to_owned())).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The sequences of all verdicts, each of which must be there once.
fn verdicts_of(data: &Path) -> BTreeSet<u64> {
    let mut reader = stores::embedded::reader(data).unwrap();
    let (mut sequences, mut ids) = (BTreeSet::new(), BTreeSet::new());
    while let Some(block) = reader.next_block().unwrap() {
        for item in block.events() {
            let (sequence, event) = item.unwrap();
            if let Some(id) = event.cause.verdict_of() {
                assert!(ids.insert(id), "{id} has two verdicts");
                sequences.insert(sequence.0);
            }
        }
    }
    sequences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_read_only_and_back_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk"), 16) else {
        println!("SKIPPED: a small disk is mounted by root only");
        return;
    };
    let data = disk.at.join("data");
    std::fs::write(disk.at.join("doppia.toml"), "[journal]\nsegment_bytes = 1048576\n").unwrap();
    let ballast = disk.at.join("ballast");
    std::fs::write(&ballast, vec![7; BALLAST_BYTES]).unwrap();
    let server = Server::start(&data, 0);
    let client = Client::admin(&server.url, &data);
    for (key, code) in [("oa", "a"), ("ob", "b")] {
        client.done("accounts", key, json!({ "code": code, "kind": "liability", "currency": "EUR" })).await;
    }
    let fund = json!({ "account": "a", "amount": "1000000.00", "currency": "EUR" });
    client.done("top-ups", "fund", fund.clone()).await;

    let (stop, log) = (Arc::new(AtomicBool::new(false)), Arc::<Log>::default());
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|number| tokio::spawn(load(client.clone(), number, Arc::clone(&stop), Arc::clone(&log))))
        .collect();
    let full = (507, "journal_full".to_owned());
    until("the disk is full", async || log.others.lock().unwrap().get(&full).copied().filter(|count| *count > 50))
        .await;
    // What is too much for a batch may do for a single transfer: until that is refused, too.
    for count in 0.. {
        assert!(count < 20_000, "there is always room for one more");
        let key = format!("single-{count}");
        let single = json!({ "from": "a", "to": "b", "amount": "0.01", "currency": "EUR" });
        let answer = client.post("transfers", &key, single).await;
        if (answer.status, answer.code()) == (507, "journal_full") {
            break;
        }
        assert_eq!(answer.status, 201, "{answer:?}");
        log.acknowledged.lock().unwrap().insert(key, answer.sequence());
    }
    // Full, and told so: to who looks after the server, and to who asks the book. RocksDB makes room now and then, and a command
    // may find it, so these are looked for.
    until("it is said that the writer is read-only", async || {
        let ready = client.get("/readyz").await;
        let told = ready.body["reasons"].to_string().contains("the writer is read-only");
        (ready.status == 503 && told).then_some(())
    })
    .await;
    until("the book says so", async || (client.get("/v1/books/1").await.body["writer"] == "read_only").then_some(()))
        .await;
    // What is on record is told again; reads go on.
    let told = client.done("top-ups", "fund", fund).await;
    assert!(told.replayed, "{told:?}");
    let balance = client.get("/v1/books/1/accounts/a/balance").await;
    assert_eq!(balance.status, 200, "{}", balance.body);
    assert_eq!(client.get("/v1/books/1/events?limit=10").await.status, 200);
    let before = log.acknowledged.lock().unwrap().len();

    // Room again: the same load goes on by itself.
    std::fs::remove_file(&ballast).unwrap();
    until("writes return", async || Some(()).filter(|()| log.acknowledged.lock().unwrap().len() > before + 1_000))
        .await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    // The read models had no room either: they stand still and say so. RocksDB goes on by itself once there is room for one of
    // its memtables (16 MiB), so the disk is made larger.
    let ready = client.get("/readyz").await;
    let stood_still = ready.body["reasons"].to_string().contains("the read models have stopped");
    disk.enlarge(64);
    let head = client.head().await;
    until("the read models are level", async || {
        let answer = client.get(&format!("/v1/books/1/accounts/a/balance?min_sequence={head}&timeout_ms=1000")).await;
        (answer.status == 200).then_some(())
    })
    .await;
    until("the server is ready", async || (client.get("/readyz").await.status == 200).then_some(())).await;
    let acknowledged = std::mem::take(&mut *log.acknowledged.lock().unwrap());
    let others = std::mem::take(&mut *log.others.lock().unwrap());
    println!(
        "the read models stood still: {stood_still}; {} acknowledged, {before} before there was room again; other answers: {others:?}",
        acknowledged.len()
    );
    assert!(others.keys().all(|(status, code)| (*status, code.as_str()) == (507, "journal_full")), "{others:?}");
    // The balance that is served is the sum of what was acknowledged: none is missing, none is there twice.
    let moved = i128::try_from(acknowledged.len()).unwrap();
    let balance = client.balance("b").await;
    assert_eq!(balance, format!("{}.{:02}", moved / 100, moved % 100));
    assert!(server.terminate().success());
    let verdicts = verdicts_of(&data);
    let lost: Vec<_> = acknowledged.iter().filter(|(_, sequence)| !verdicts.contains(sequence)).collect();
    assert!(lost.is_empty(), "{} acknowledged and lost: {:?}", lost.len(), lost.first());
    replay(&data, &["verify"]);
    drop(disk);
}
