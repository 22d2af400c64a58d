//! Keys of the API while a server runs: issued, rotated, narrowed and revoked beside it, in the data folder and in PostgreSQL;
//! those of an older release taken over; and what a server does that can't look.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::postgres::Postgres;
use support::{Client, Server, replay};

/// Where keys are: in a data folder, or in the database that more arguments name.
struct Place<'a> {
    data: &'a Path,
    more: &'a [&'a str],
}

impl Place<'_> {
    /// Runs `ledgerd key` and gives success, what it printed, and what it complained of.
    fn key(&self, arguments: &[&str]) -> (bool, Value, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_ledgerd"))
            .args(["--output", "json", "keys", "--actor", "anna", "--data"])
            .arg(self.data)
            .args(arguments)
            .args(self.more)
            .current_dir(self.data.parent().unwrap())
            .output()
            .unwrap();
        let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.success(), printed, String::from_utf8(output.stderr).unwrap())
    }

    fn done(&self, arguments: &[&str]) -> Value {
        let (success, printed, complaint) = self.key(arguments);
        assert!(success, "{arguments:?}: {complaint}");
        printed
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

async fn status(client: &Client, key: &str) -> u16 {
    client.with_key(key).get("/v1/books/1").await.status
}

/// Waits for a status, and for no longer than a second: that is what is promised.
async fn within_a_second(client: &Client, key: &str, expected: u16) {
    let changed = Instant::now();
    while status(client, key).await != expected {
        assert!(changed.elapsed() < Duration::from_secs(1), "{} after a second", status(client, key).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The life of a key beside a server.
async fn a_key_lives(server: &Server, place: &Place<'_>) {
    let client = Client::admin(&server.url, place.data);
    let before = place.done(&["list"]).as_array().unwrap().len();
    let issued = place.done(&["issue", "--holder", "till", "--scope", "read", "--scope", "write", "--note", "till 7"]);
    let (first, id) = (text(&issued["key"]).to_owned(), text(&issued["id"]).to_owned());
    within_a_second(&client, &first, 200).await;
    let open = json!({ "code": format!("of-{id}"), "kind": "liability", "currency": "EUR" });
    let opened = client.with_key(&first).done("accounts", "open", open.clone()).await;

    // A rotated key: the same holder, so a retry of what the old key did finds its verdict.
    let kept = place.done(&["rotate", &id, "--keep"]);
    let (second, second_id) = (text(&kept["key"]).to_owned(), text(&kept["id"]).to_owned());
    within_a_second(&client, &second, 200).await;
    assert_eq!(status(&client, &first).await, 200, "it was to be kept");
    let again = client.with_key(&second).post("accounts", "open", open).await;
    assert_eq!((again.replayed, again.sequence()), (true, opened.sequence()), "{}", again.body);
    let third = text(&place.done(&["rotate", &second_id])["key"]).to_owned();
    within_a_second(&client, &third, 200).await;
    assert_eq!((status(&client, &second).await, status(&client, &first).await), (401, 200));

    // Scopes take effect, too.
    let listed = place.done(&["list"]);
    let third_id = text(&listed.as_array().unwrap().last().unwrap()["id"]).to_owned();
    place.done(&["scopes", &third_id, "--scope", "write"]);
    within_a_second(&client, &third, 403).await;

    place.done(&["revoke", &id, "--note", "lost"]);
    within_a_second(&client, &first, 401).await;
    place.done(&["revoke", &id]);
    let listed = place.done(&["list"]);
    let records = listed.as_array().unwrap();
    assert_eq!(records.len(), before + 3);
    let void: Vec<_> =
        records.iter().filter(|record| !record["revoked_at"].is_null()).map(|record| text(&record["id"])).collect();
    assert_eq!(void, [id.as_str(), second_id.as_str()]);
    assert!(!listed.to_string().contains(&first[4..]), "no secret is listed");

    for (arguments, expected) in [
        (&["revoke", "key_none"][..], "there is no key"),
        (&["rotate", &id], "is void"),
        (&["scopes", &third_id, "--scope", "all"], "is not a scope"),
        (&["new", "--holder", "", "--scope", "read"], "the holder must have"),
        (&["new", "--holder", "c", "--customer", "c:1", "--scope", "admin"], "can't have the scope admin"),
    ] {
        let (success, _, complaint) = place.key(arguments);
        assert!(!success && complaint.contains(expected), "{arguments:?}: {complaint}");
    }
    assert_eq!(place.done(&["list"]).as_array().unwrap().len(), before + 3, "nothing was issued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_changed_beside_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let place = Place { data: &data, more: &[] };
    let (success, _, complaint) = place.key(&["list"]);
    assert!(!success && complaint.contains("no data folder"), "{complaint}");
    let server = Server::start(&data, 0);
    a_key_lives(&server, &place).await;
    // Who did what is on record, and proved.
    let said = replay(&data, &["events", "--control"]);
    assert!(said.contains("issued to till") && said.contains("revoked by anna \"lost\""), "{said}");
    server.kill();
    let report: Value = serde_json::from_str(&replay(&data, &["verify", "--output", "json"])).unwrap();
    let checked = report["checks"].as_array().unwrap().iter().find(|check| check["check"] == "control").unwrap();
    assert_eq!((&checked["result"], text(&checked["checked"]).split(',').next()), (&json!("ok"), Some("7 facts")));

    // A damaged control journal is refused, and nobody is let in by a server under which it is damaged.
    let server = Server::start(&data, 0);
    let client = Client::admin(&server.url, &data);
    assert_eq!(client.get("/v1/books/1").await.status, 200);
    let anchor = data.join("control/anchor");
    let sound = std::fs::read(&anchor).unwrap();
    std::fs::write(&anchor, vec![0; sound.len()]).unwrap();
    let damaged = Instant::now();
    let answer = loop {
        let answer = client.get("/v1/books/1").await;
        if answer.status != 200 {
            break answer;
        }
        assert!(damaged.elapsed() < Duration::from_secs(2), "somebody is let in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((answer.status, answer.code()), (503, "keys_unavailable"));
    let log = Server::try_start(&folder.path().join("data"), 0, &[]).err().unwrap();
    assert!(log.contains("another process"), "{log}");
    std::fs::write(&anchor, &sound).unwrap();
    within_a_second(&client, &client.key, 200).await;
    assert!(server.terminate().success());
    std::fs::write(&anchor, vec![0; sound.len()]).unwrap();
    let log = Server::try_start(&data, 0, &[]).err().unwrap();
    assert!(log.contains("the control journal: the anchor is damaged"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_an_older_release_are_taken_over_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let place = Place { data: &data, more: &[] };
    std::fs::create_dir(&data).unwrap();
    let secret = |letter: &str| format!("dop_{}", letter.repeat(43));
    let record = |id: &str, letter: &str, revoked: Value| {
        json!({
            "id": id, "hash": blake3::hash(secret(letter).as_bytes()).to_hex().to_string(), "tenant": "main",
            "holder": "admin", "scopes": ["read", "write", "admin"], "created_at": "2026-11-22T00:00:00Z",
            "revoked_at": revoked, "note": "x".repeat(300),
        })
    };
    let keys = json!({ "version": 1, "keys": [
        record("key_11111111", "a", Value::Null), record("key_22222222", "b", json!("2026-11-23T00:00:00Z")),
    ]});
    std::fs::write(data.join("keys.json"), "{").unwrap();
    let log = Server::try_start(&data, 0, &[]).err().unwrap();
    assert!(log.contains("keys.json") && log.contains("damaged"), "{log}");
    std::fs::write(data.join("keys.json"), keys.to_string()).unwrap();
    let server = Server::start(&data, 0);
    let client = Client::new(&server.url, &secret("a"));
    assert_eq!((status(&client, &secret("a")).await, status(&client, &secret("b")).await), (200, 401));
    assert!(!data.join("keys.json").exists() && data.join("keys.json.imported").exists());
    assert!(!data.join("admin.key").exists(), "there was an admin key already");
    let listed = place.done(&["list"]);
    let listed: Vec<_> =
        listed.as_array().unwrap().iter().map(|key| (text(&key["id"]), text(&key["created_at"]))).collect();
    assert_eq!(
        listed,
        [("key_11111111", "2026-11-22T00:00:00.000000Z"), ("key_22222222", "2026-11-22T00:00:00.000000Z")]
    );
    let said = replay(&data, &["events", "--control", "--output", "json"]);
    let facts: Vec<Value> = said.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(facts.iter().all(|fact| fact["data"]["fact"]["data"]["actor"] == "import"), "{said}");
    assert_eq!(facts.len(), 3);

    // A copy of the file turns up again, as in the folder of a standby: nothing comes back to life.
    place.done(&["revoke", "key_11111111"]);
    assert!(server.terminate().success());
    std::fs::write(data.join("keys.json"), keys.to_string()).unwrap();
    let server = Server::start(&data, 0);
    let client = Client::new(&server.url, &secret("a"));
    assert_eq!(status(&client, &secret("a")).await, 401);
    // While it runs it has the folder; a file that turns up now waits for the next start.
    std::fs::write(data.join("keys.json"), keys.to_string()).unwrap();
    let (success, _, complaint) = place.key(&["list"]);
    assert!(!success && complaint.contains("another process"), "{complaint}");
    server.kill();
    assert_eq!(place.done(&["list"]).as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_in_the_database_of_the_journal() {
    let postgres = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::try_start(&data, 0, &["--journal", &postgres.url]).unwrap();
    a_key_lives(&server, &Place { data: &data, more: &["--journal", &postgres.url] }).await;
    assert!(!data.join("control").exists());
    // A short outage of the database locks nobody out.
    let client = Client::admin(&server.url, &data);
    postgres.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(status(&client, &client.key).await, 200);
    postgres.restart();
    assert!(server.terminate().success());
    let report: Value =
        serde_json::from_str(&replay(&data, &["--journal", &postgres.url, "verify", "--output", "json"])).unwrap();
    let checked = report["checks"].as_array().unwrap().iter().find(|check| check["check"] == "control").unwrap();
    assert_eq!((&checked["result"], &checked["checked"]), (&json!("ok"), &json!("7 facts")));
}
