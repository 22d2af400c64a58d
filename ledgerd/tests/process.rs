//! The process around the book: files, signals, locks, ports, health.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use event_schemas::{AccountId, BookId, EventBody};
use ledger_core::ports::JournalReader as _;
use serde_json::{Value, json};
use support::{Client, Server, replay};

fn ledgerd(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_key_is_private_and_never_logged() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let path = data.join("admin.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&path).unwrap().trim().to_owned();
    assert_eq!(Client::admin(&server.url, &data).get("/v1/books/1").await.status, 200);
    // What is recorded of it is its hash.
    let facts = std::fs::read(data.join("control/00000001.seg")).unwrap();
    let hash = blake3::hash(key.as_bytes());
    assert!(facts.windows(32).any(|bytes| bytes == hash.as_bytes()));
    assert!(!facts.windows(key.len() - 4).any(|bytes| bytes == &key.as_bytes()[4..]));
    let log = server.log.lock().unwrap().join("\n");
    assert!(log.contains("serving") && !log.contains(&key[4..]), "{log}");
    assert!(server.terminate().success());
    // A second start makes no other key.
    let server = Server::start(&data, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), key);
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_folder_or_the_port_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let port = server.port.to_string();
    let Err(log) = Server::try_start(&data, 0, &[]) else { panic!("two servers on one folder") };
    assert!(log.contains("another process") && log.contains(&server.child.id().to_string()), "{log}");
    let Err(log) = Server::try_start(&folder.path().join("other"), server.port, &[]) else {
        panic!("two servers on one port")
    };
    assert!(log.contains("is in use") && log.contains(&port), "{log}");
    assert_eq!(Client::admin(&server.url, &data).get("/v1/books/1").await.status, 200, "the first one goes on");
    // The lock ends with its process, however it ends.
    server.kill();
    assert!(Server::start(&data, 0).terminate().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_end_keeps_everything_and_exits_with_success() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let api = Client::admin(&server.url, &data);
    api.done("accounts", "a", json!({ "code": "a", "kind": "liability", "currency": "EUR" })).await;
    let load: Vec<_> = (0..8)
        .map(|worker| {
            let api = api.clone();
            tokio::spawn(async move {
                let mut acknowledged = 0_u64;
                for count in 0.. {
                    let body = json!({ "account": "a", "amount": "0.01", "currency": "EUR" });
                    match api.try_post("top-ups", &format!("{worker}-{count}"), &body).await {
                        Ok(answer) if answer.status == 201 => acknowledged += 1,
                        Ok(answer) if answer.status == 503 => break,
                        Ok(answer) => panic!("{answer:?}"),
                        Err(_) => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let status = tokio::task::spawn_blocking(|| server.terminate()).await.unwrap();
    assert!(status.success(), "{status}");
    let mut acknowledged = 0;
    for task in load {
        acknowledged += task.await.unwrap();
    }
    let server = Server::start(&data, 0);
    let api = Client::admin(&server.url, &data);
    let balance: u64 = api.balance("a").await.replace('.', "").parse().unwrap();
    // An answer may be cut off with its connection at the very end, one for each worker at most.
    assert!(acknowledged > 0 && (acknowledged..=acknowledged + 8).contains(&balance), "{acknowledged} {balance}");
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_need_no_key_and_tell_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let api = Client::admin(&server.url, &data);
    api.done("accounts", "a", json!({ "code": "a", "kind": "liability", "currency": "EUR" })).await;
    let head = api.head().await;
    api.get(&format!("/v1/books/1/trial-balance?min_sequence={head}")).await;
    let nobody = api.with_key("");
    assert_eq!(nobody.get("/livez").await.status, 200);
    let ready = nobody.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.body),
        (
            200,
            json!({
                "status": "ready", "reasons": [], "alarms": [], "sequence": head, "read_models_sequence": head,
                "read_only": false, "relay": null, "roles": ["api", "writer", "projector", "relay"], "waits_for": [], "writers": null,
            })
        )
    );
    let Value::String(metrics) = nobody.get("/metrics").await.body else { panic!("metrics are text") };
    for line in [
        format!("doppia_durable_sequence {head}"),
        "doppia_verdicts_total 1".to_owned(),
        "doppia_writer_serving 1".to_owned(),
        "doppia_read_models_running 1".to_owned(),
        "doppia_read_models_lag_events 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    server.kill();
    let server = Server::try_start(&data, 0, &["--read-models", "off"]).unwrap();
    let api = Client::admin(&server.url, &data);
    assert_eq!(api.get("/readyz").await.status, 200);
    assert_eq!(api.get("/v1/books/1/trial-balance").await.code(), "read_models_off");
    let top_up = json!({ "account": "a", "amount": "1", "currency": "EUR" });
    assert!(api.done("top-ups", "t", top_up).await.sequence() > head);
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_finish_its_request_is_cut_off_and_others_are_served() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = folder.path().join("doppia.toml");
    std::fs::write(&config, "[http]\nmax_connections = 2\nhead_timeout_s = 1\n").unwrap();
    let server = Server::try_start(&data, 0, &["--config", config.to_str().unwrap()]).unwrap();
    // Both places are taken by clients that say half a sentence; the third waits until they are cut off.
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(Client::new(&server.url, "").get("/livez").await.status, 200);
    for mut stream in slow {
        let mut rest = Vec::new();
        // Cut off with or without a word, but cut off.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }
    server.kill();
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (fine, key, _) =
        ledgerd(&["key", "--data", data, "new", "--holder", "shop", "--scope", "read", "--scope", "write"]);
    assert!(fine && key.trim().starts_with("dop_") && key.trim().len() == 47, "{key}");
    let (fine, list, _) = ledgerd(&["key", "--data", data, "--output", "json", "list"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert!(fine && list[0]["holder"] == "shop" && list[0]["scopes"] == json!(["read", "write"]), "{list}");
    assert!(!list.to_string().contains(&key.trim()[4..]));
    let id = list[0]["id"].as_str().unwrap();
    assert!(ledgerd(&["key", "--data", data, "revoke", id]).0);
    let (_, list, _) = ledgerd(&["key", "--data", data, "--output", "json", "list"]);
    assert!(serde_json::from_str::<Value>(&list).unwrap()[0]["revoked_at"].is_string());
    let (fine, _, error) = ledgerd(&["key", "--data", data, "revoke", "key_none"]);
    assert!(!fine && error.contains("key_none"), "{error}");
    let (fine, _, error) = ledgerd(&["key", "--data", "/no/such", "list"]);
    assert!(!fine && error.contains("/no/such"), "{error}");
}

#[test]
fn the_command_line_helps() {
    let (fine, script, _) = ledgerd(&["completions", "bash"]);
    assert!(fine && script.contains("ledgerd"));
    let (fine, config, _) = ledgerd(&["config", "--data", "/x"]);
    assert!(fine && config.contains("data = \"/x\"") && config.contains("[http]"), "{config}");
    let (fine, _, error) = ledgerd(&["serve", "--accept-clock"]);
    assert!(!fine && error.contains("--actor"), "{error}");
    let (fine, _, error) = ledgerd(&["import", "/no/rules.toml", "/no/file.csv", "--dry-run"]);
    assert!(!fine && error.contains("/no/rules.toml"), "{error}");
}

/// What stands in the access log of a folder: operation, subject and status of each read.
fn reads(data: &std::path::Path) -> Vec<(String, String, u16)> {
    let mut reader = stores::access_log::reader(data).unwrap();
    let mut reads = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        for event in block.events() {
            if let EventBody::AccessLogged(read) = event.unwrap().1.body {
                reads.push((read.operation.into(), read.subject.into(), read.status));
            }
        }
    }
    reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_on_record_within_a_second_and_when_the_server_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let api = Client::admin(&server.url, &data);
    let open = json!({ "code": "a", "kind": "liability", "currency": "EUR" });
    let account = api.done("accounts", "a", open).await.body["account"].as_str().unwrap().to_owned();
    assert_eq!(api.balance("a").await, "0.00");
    assert_eq!(api.get("/v1/books/1/accounts/nobody/statement").await.status, 404);
    let nobody = AccountId::from_code(BookId::FIRST, "nobody").to_string();
    let mut expected =
        vec![("get_balance".to_owned(), account.clone(), 200), ("get_statement".to_owned(), nobody, 404)];
    let until = Instant::now() + Duration::from_secs(5);
    let asked = Instant::now();
    while reads(&data) != expected {
        assert!(Instant::now() < until, "{:?}", reads(&data));
        std::thread::sleep(Duration::from_millis(20));
    }
    // A second, and what a busy machine takes from it.
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    server.kill();
    assert_eq!(reads(&data), expected, "a kill takes nothing away");

    let server = Server::start(&data, 0);
    let api = Client::admin(&server.url, &data);
    assert_eq!(api.get("/v1/books/1/accounts/a").await.status, 200);
    assert!(server.terminate().success());
    expected.push(("get_account".to_owned(), account, 200));
    assert_eq!(reads(&data), expected, "the last reads are written before the end");
    replay(&data, &["verify"]);
}
