//! Operating a book that works: a backup under load, put back elsewhere and served; a rollback that the witness sees; the past
//! beside the present; damage that the scrub finds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event_schemas::{Digest, EventBody, Sequence};
use ledger_core::ports::JournalReader as _;
use ledger_core::state::State;
use serde_json::{Value, json};
use support::{Client, Dice, Server, replay};

const ACCOUNTS: u64 = 8;
const CONNECTIONS: u64 = 16;

/// A folder in which a server starts with small segments.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = "[journal]\nsegment_bytes = 1048576\n[scrub]\nmib_per_second = 1000\nrest_s = 1\n";
    std::fs::write(folder.path().join("doppia.toml"), settings).unwrap();
    folder
}

fn ledgerd(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(arguments).current_dir(folder).output().unwrap()
}

/// Runs a subcommand, and gives what it says in JSON.
fn said(folder: &Path, arguments: &[&str]) -> Value {
    let output = ledgerd(folder, &[&["--output", "json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a subcommand that fails, and gives what it says.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = ledgerd(folder, arguments);
    assert!(!output.status.success(), "{arguments:?} was not refused");
    String::from_utf8(output.stderr).unwrap()
}

/// The state's digest after an event, replayed from the journal of a data folder.
fn digest_at(data: &Path, at: Sequence) -> Digest {
    let mut reader = stores::embedded::reader(data).unwrap();
    let mut state = State::new();
    while let Some(block) = reader.next_block().unwrap() {
        for item in block.events() {
            let (sequence, event) = item.unwrap();
            if sequence > at {
                return state.digest();
            }
            state.apply(&event).unwrap();
        }
    }
    state.digest()
}

/// A transfer that was acknowledged.
#[derive(Debug, Clone)]
struct Acknowledged {
    key: String,
    body: Value,
    sequence: u64,
}

async fn open_accounts(client: &Client) {
    for account in 0..ACCOUNTS {
        let code = format!("load:{account}");
        let open = json!({ "code": code, "kind": "liability", "currency": "EUR" });
        client.done("accounts", &format!("open-{account}"), open).await;
        let top_up = json!({ "account": code, "amount": "1000000.00", "currency": "EUR" });
        client.done("top-ups", &format!("fund-{account}"), top_up).await;
    }
}

/// Sends transfers until told to stop, and keeps what was acknowledged.
async fn load(client: Client, number: u64, stop: Arc<AtomicBool>, log: Arc<Mutex<Vec<Acknowledged>>>) {
    let mut dice = Dice((number + 1) * 7919);
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let from = dice.below(ACCOUNTS);
        let to = (from + 1 + dice.below(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = format!("{}.{:02}", dice.below(20), dice.below(99) + 1);
        let body = json!({ "from": format!("load:{from}"), "to": format!("load:{to}"), "currency": "EUR", "amount": amount,
                           "reference": "x".repeat(200) });
        let key = format!("k{number}-{count}");
        let answer = client.done("transfers", &key, body.clone()).await;
        log.lock().unwrap().push(Acknowledged { key, body, sequence: answer.sequence() });
    }
}

/// The verdicts of a journal by their sequence: the amount in minor units of each transfer.
fn transfers_of(data: &Path) -> BTreeMap<u64, i128> {
    let mut reader = stores::embedded::reader(data).unwrap();
    let mut found = BTreeMap::new();
    while let Some(block) = reader.next_block().unwrap() {
        for item in block.events() {
            let (sequence, event) = item.unwrap();
            if let EventBody::EntryPosted(entry) = &event.body {
                found.insert(sequence.0, entry.postings[0].money.amount_minor);
            }
        }
    }
    found
}

fn minor(amount: &Value) -> i128 {
    amount.as_str().unwrap().replace('.', "").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_all_that_was_acknowledged_up_to_its_head() {
    let folder = workplace();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let (data, backup) = (at("data"), at("backup"));
    let server = Server::try_start(&data, 0, &["--witness", at("witness").to_str().unwrap()]).unwrap();
    let client = Client::admin(&server.url, &data);
    open_accounts(&client).await;
    let (stop, log) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|number| tokio::spawn(load(client.clone(), number, Arc::clone(&stop), Arc::clone(&log))))
        .collect();
    // A backup from nothing and two that grow, all while the load goes on.
    let mut heads = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let (folder, backup) = (folder.path().to_owned(), backup.to_str().unwrap().to_owned());
        let made = tokio::task::spawn_blocking(move || said(&folder, &["backup", "--to", &backup])).await.unwrap();
        heads.push((made["sequence"].as_u64().unwrap(), made["segments"].as_u64().unwrap(), made["before"].clone()));
    }
    let acknowledged_then = log.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let acknowledged: Vec<Acknowledged> = std::mem::take(&mut *log.lock().unwrap());
    let (head, ..) = heads[2];
    println!(
        "backups up to {heads:?}; {} acknowledged, {acknowledged_then} when the last was made",
        acknowledged.len()
    );
    assert!(heads[0].0 < heads[1].0 && heads[1].0 < head && (heads[2].0) < acknowledged.last().unwrap().sequence);
    assert_eq!((&heads[0].2, &heads[1].2, &heads[2].2), (&Value::Null, &json!(heads[0].0), &json!(heads[1].0)));
    assert!(head > 1_000, "a load that is worth the name");

    // Read again, as a backup and as a data folder.
    let backup_name = backup.to_str().unwrap();
    assert_eq!(said(folder.path(), &["backup", "verify", backup_name])["sequence"], head);
    replay(&backup, &["verify"]);
    let restored = at("restored");
    let restored_name = restored.to_str().unwrap();
    let told = said(folder.path(), &["restore", "--from", backup_name, "--data", restored_name]);
    assert_eq!((&told["sequence"], &told["recorded"]), (&json!(head), &json!(false)));
    let report: Value = serde_json::from_str(&replay(&restored, &["verify", "--output", "json"])).unwrap();
    assert_eq!((&report["ok"], &report["sequence"]), (&json!(true), &json!(head)));
    // The live book had the same state then.
    assert_eq!(digest_at(&data, Sequence(head)), digest_at(&restored, Sequence(head)));
    // All that was acknowledged up to the head is there, as it was asked for, and none twice.
    let (mut expected, mut beyond) = (BTreeMap::new(), 0);
    for one in &acknowledged {
        if one.sequence > head {
            beyond += 1;
        } else {
            assert_eq!(expected.insert(one.sequence, minor(&one.body["amount"])), None);
        }
    }
    let found = transfers_of(&restored);
    let missing: Vec<_> = expected.iter().filter(|(sequence, minor)| found.get(sequence) != Some(minor)).collect();
    println!("{} acknowledged up to the head, {} missing; {beyond} beyond it", expected.len(), missing.len());
    assert!(missing.is_empty() && beyond > 0, "{missing:?}");

    // The restored book serves, and tells what it was asked before.
    let again = Server::start(&restored, 0);
    let there = Client::admin(&again.url, &data);
    for one in acknowledged.iter().filter(|one| one.sequence <= head).step_by(acknowledged.len() / 50 + 1) {
        let answer = there.done("transfers", &one.key, one.body.clone()).await;
        assert!(answer.replayed && answer.sequence() == one.sequence, "{answer:?}");
    }
    assert_eq!(there.head().await, head, "nothing of it was recorded again");
    assert!(again.terminate().success());
    replay(&restored, &["verify"]);

    // The data folder is lost. The witness knows that the book went on, and the loss must be accepted by name.
    assert!(server.terminate().success());
    std::fs::rename(&data, at("lost")).unwrap();
    let (data_name, witness) = (data.to_str().unwrap(), at("witness"));
    let plain = ["restore", "--from", backup_name, "--data", data_name, "--witness", witness.to_str().unwrap()];
    let text = refused(folder.path(), &plain);
    assert!(text.contains(&format!("--accept-rollback-to {head}")), "{text}");
    let accept = |to: u64| {
        let to = to.to_string();
        let more = ["--accept-rollback-to", to.as_str(), "--actor", "anna", "--reason", "the disk died"];
        [&plain[..], &more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let owned = accept(head - 1);
    let text = refused(folder.path(), &owned.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(text.contains("nothing is cut off a backup"), "{text}");
    let owned = accept(head);
    let told = said(folder.path(), &owned.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((&told["sequence"], &told["recorded"]), (&json!(head + 1), &json!(true)));
    let server = Server::try_start(&data, 0, &["--witness", witness.to_str().unwrap()]).unwrap();
    // The backup has the keys' hashes, not the file of the first one.
    let client = Client::admin(&server.url, &at("lost"));
    let transfer = json!({ "from": "load:1", "to": "load:2", "amount": "1.00", "currency": "EUR" });
    client.done("transfers", "after", transfer).await;
    assert!(server.terminate().success());
    let events = replay(&data, &["events", "--type", "journal.restored", "--output", "json"]);
    let event: Value = serde_json::from_str(events.trim()).unwrap();
    assert_eq!((&event["data"]["restored_to"], &event["data"]["actor"]), (&json!(head), &json!("anna")), "{event}");
    replay(&data, &["verify", "--witness", witness.to_str().unwrap()]);
    // What was lost turns up again, and is not taken for the book.
    let text = Server::try_start(&at("lost"), 0, &["--witness", witness.to_str().unwrap()]).err().unwrap();
    assert!(text.contains("rolled back"), "{text}");
    // A backup is not served as a book, nor is one restored over another.
    let text = Server::try_start(&backup, 0, &[]).err().unwrap();
    assert!(text.contains("is a backup"), "{text}");
    let text = refused(folder.path(), &plain);
    assert!(text.contains("is not empty"), "{text}");
}

/// Every file of a folder with its bytes.
fn bytes_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(bytes_of(&entry.path()));
        } else {
            found.insert(entry.path(), std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// Compares every balance that a server of the past tells with the one that replay-tool computes from the journal.
async fn compare_balances(there: &Client, data: &Path, at: u64) {
    for account in 0..ACCOUNTS {
        let code = format!("load:{account}");
        let told = there.get(&format!("/v1/books/1/accounts/{code}/balance")).await;
        let at = at.to_string();
        let computed = replay(data, &["balance", &code, "--at-sequence", &at, "--output", "json"]);
        let computed: Value = serde_json::from_str(&computed).unwrap();
        assert_eq!((told.status, &told.body["balance"]), (200, &computed["balance"]), "{code} at {at}: {}", told.body);
        assert_eq!(told.sequence().to_string(), at);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_served_beside_the_present_and_takes_no_commands() {
    let folder = workplace();
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let client = Client::admin(&server.url, &data);
    open_accounts(&client).await;
    let (stop, log) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let tasks: Vec<_> =
        (0..4).map(|number| tokio::spawn(load(client.clone(), number, Arc::clone(&stop), Arc::clone(&log)))).collect();
    tokio::time::sleep(Duration::from_millis(600)).await;
    // In the middle of the load, and of a block perhaps.
    let at = log.lock().unwrap().last().unwrap().sequence - 3;
    let past = Server::try_start(&data, 0, &["--read-only", "--at", &at.to_string()]).unwrap();
    let there = Client::admin(&past.url, &data);
    compare_balances(&there, &data, at).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    // The present has gone on; the past has not.
    assert!(client.head().await > at);
    let book = there.get("/v1/books/1").await;
    assert_eq!((book.sequence(), &book.body["writer"]), (at, &json!("read_only")));
    compare_balances(&there, &data, at).await;
    let ready = there.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["read_only"], &ready.body["reasons"]), (200, &json!(true), &json!([])));
    // Commands, dry or not, old or new, are refused by one code.
    let acknowledged: Vec<Acknowledged> = std::mem::take(&mut *log.lock().unwrap());
    let first = acknowledged.iter().find(|one| one.sequence <= at).unwrap();
    for key in ["new", first.key.as_str()] {
        let answer = there.post("transfers", key, first.body.clone()).await;
        assert_eq!((answer.status, answer.code()), (503, "read_only"), "{answer:?}");
    }
    // Verdicts are told up to the moment, and none behind it; so are events.
    let events = there.get(&format!("/v1/books/1/events?after_sequence={}", at - 2)).await;
    assert_eq!(events.body["events"].as_array().map(Vec::len), Some(2), "{}", events.body);
    let future = there.get(&format!("/v1/books/1/accounts/load:0/balance?min_sequence={}", at + 1)).await;
    assert_eq!((future.status, future.code()), (400, "sequence_in_future"));
    let late = acknowledged.iter().find(|one| one.sequence > at).unwrap();
    for (one, expected) in [(first, 200), (late, 404)] {
        let id = client.done("transfers", &one.key, one.body.clone()).await.body["command_id"].clone();
        let found = there.get(&format!("/v1/books/1/commands/{}", id.as_str().unwrap())).await;
        assert_eq!(found.status, expected, "{found:?}");
    }
    assert!(past.terminate().success());
    // Who reads an account is on record, in a log that is proved and backed up with the book.
    client.balance("load:3").await;
    assert!(server.terminate().success());
    let reads = replay(&data, &["events", "--access", "--type", "access.logged", "--output", "json"]);
    let read: Value = serde_json::from_str(reads.lines().last().unwrap()).unwrap();
    assert_eq!((&read["data"]["operation"], &read["data"]["status"]), (&json!("get_balance"), &json!(200)), "{read}");
    let report: Value = serde_json::from_str(&replay(&data, &["verify", "--output", "json"])).unwrap();
    let checked = report["checks"].as_array().unwrap().iter().find(|check| check["check"] == "access log").unwrap();
    assert_eq!(checked["result"], "ok", "{checked}");

    // Without a writer: nothing in the folder is changed, and a time names the same moment.
    let before = bytes_of(&data);
    let recorded: Value =
        serde_json::from_str(replay(&data, &["events", "--from", "20", "--to", "20", "--output", "json"]).trim())
            .unwrap();
    let time = recorded["recorded_at"].as_str().unwrap();
    let past = Server::try_start(&data, 0, &["--read-only", "--at", time]).unwrap();
    let there = Client::admin(&past.url, &data);
    let reached = there.head().await;
    assert!(reached >= 20);
    compare_balances(&there, &data, reached).await;
    assert!(past.terminate().success());
    assert!(bytes_of(&data) == before, "serving the past has changed something");
    for (wrong, expected) in
        [("0", "nothing was recorded"), ("99999999", "is not recorded yet"), ("1999-01-01", "nothing was")]
    {
        let text = Server::try_start(&data, 0, &["--read-only", "--at", wrong]).err().unwrap();
        assert!(text.contains(expected), "{wrong}: {text}");
    }

    // A backup has the keys of the book.
    let made = said(folder.path(), &["backup", "--to", "backup"]);
    let names: Vec<_> = made["journals"].as_array().unwrap().iter().map(|journal| journal["name"].clone()).collect();
    assert_eq!(names, [json!("journal"), json!("access"), json!("control")]);
    replay(&folder.path().join("backup"), &["events", "--access", "--output", "json"]);
    let backup = folder.path().join("backup");
    let before = bytes_of(&backup);
    let past = Server::try_start(&backup, 0, &["--read-only"]).unwrap();
    let there = Client::admin(&past.url, &data);
    compare_balances(&there, &data, there.head().await).await;
    assert!(past.terminate().success());
    assert!(bytes_of(&backup) == before);
    // One of an older release has none: its server makes one of its own and tells where.
    std::fs::remove_dir_all(backup.join("control")).unwrap();
    let before = bytes_of(&backup);
    let past = Server::try_start(&backup, 0, &["--read-only"]).unwrap();
    let line = past.log.lock().unwrap().iter().find(|line| line.contains("admin_key")).cloned().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let key = std::fs::read_to_string(line["admin_key"].as_str().unwrap()).unwrap();
    let there = Client::new(&past.url, key.trim());
    compare_balances(&there, &data, there.head().await).await;
    let old_key = Client::admin(&past.url, &data).get("/v1/books/1").await;
    assert_eq!(old_key.status, 401, "a key of the book is none here");
    assert!(past.terminate().success());
    assert!(bytes_of(&backup) == before);
    assert!(!Path::new(line["admin_key"].as_str().unwrap()).exists(), "the temporary folder is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_the_scrub_finds_is_named_and_the_book_goes_on() {
    let folder = workplace();
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let client = Client::admin(&server.url, &data);
    open_accounts(&client).await;
    let alarms = async |wanted: bool| {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let ready = client.get("/readyz").await;
            let alarms = ready.body["alarms"].as_array().unwrap().clone();
            if alarms.is_empty() != wanted {
                return (ready.status, alarms);
            }
            assert!(Instant::now() < until, "{}", ready.body);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let passes = async || {
        let text = client.get("/metrics").await.body.as_str().unwrap().to_owned();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).map(str::to_owned);
            line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        };
        (value("doppia_scrub_passes_total"), value("doppia_scrub_bytes_total"), value("doppia_scrub_damage"))
    };
    let until = Instant::now() + Duration::from_secs(20);
    while passes().await.0 < 1.0 {
        assert!(Instant::now() < until, "no pass");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(passes().await.1 > 0.0);
    assert_eq!(alarms(false).await, (200, Vec::new()));
    let path = data.join("journal/00000001.seg");
    let flip = || {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4096 + 200).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 4096 + 200).unwrap();
    };
    flip();
    let (status, found) = alarms(true).await;
    let text = found[0].as_str().unwrap();
    assert!(text.contains("segment 1, offset 4096, sequence 1"), "{text}");
    assert_eq!((status, passes().await.2 > 0.0), (200, true), "ready all the same");
    assert!(server.log.lock().unwrap().iter().any(|line| line.contains("ALARM: the scrub found damage")));
    // The book goes on, a backup does not copy damage, and what is mended is forgotten.
    let transfer = json!({ "from": "load:1", "to": "load:2", "amount": "1.00", "currency": "EUR" });
    client.done("transfers", "meanwhile", transfer).await;
    let text = refused(folder.path(), &["backup", "--to", "backup"]);
    assert!(text.contains("segment 1, offset 4096, sequence 1"), "{text}");
    flip();
    assert_eq!(alarms(false).await, (200, Vec::new()));
    assert!(server.terminate().success());
    replay(&data, &["verify"]);
}
