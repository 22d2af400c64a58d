//! What a journal on servers has to outlive, wherever it is kept: writers and servers that are killed under load, a standby that
//! takes over, a writer that was asleep; and proofs from what is left.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::Load;
use super::{Client, Dice, Server, replay};

/// Writes resume within this time after a kill.
const RESUMES_WITHIN: Duration = Duration::from_secs(10);

/// A journal: how `ledgerd serve` is told of it, and how `replay-tool` is.
pub struct Kept {
    pub url: String,
    pub more: Vec<&'static str>,
}

impl Kept {
    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        ["--journal", &self.url].into_iter().chain(self.more.iter().copied()).chain(more.iter().copied()).collect()
    }

    fn start(&self, data: &Path, more: &[&str]) -> Server {
        Server::try_start(data, 0, &self.arguments(more))
            .unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"))
    }

    /// Verifies everything; the findings are printed if there are any.
    fn verify(&self, data: &Path) {
        replay(data, &["--journal", &self.url, "verify"]);
    }
}

/// A folder for data folders. Refusals are part of the load here, and nobody's budget of them shall end it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("doppia.toml"), "[limits]\nrejections_burst = 1000000\n").unwrap();
    folder
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

async fn end(kept: &Kept, load: &Load, server: Server, client: &Client, data: &Path, slowest: Duration) {
    println!("writes resumed within {slowest:?}");
    assert!(slowest < RESUMES_WITHIN, "{slowest:?}");
    load.close(client).await;
    assert!(server.terminate().success());
    kept.verify(data);
}

/// The writer is killed under load and started again.
pub async fn writer_killed(kept: &Kept, lease_ms: &str, kills: usize) {
    let folder = folder();
    let data = folder.path().join("data");
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let lease = ["--lease-ms", lease_ms];
    let mut server = kept.start(&data, &lease);
    let mut load = Load::open(&Client::admin(&server.url, &data)).await;
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        let round = load.start(&Client::admin(&server.url, &data));
        tokio::time::sleep(Duration::from_millis(50 + dice.below(150))).await;
        let killed = Instant::now();
        server.kill();
        server = kept.start(&data, &lease);
        let client = Client::admin(&server.url, &data);
        resumed(&client, &format!("again-{kill}")).await;
        slowest = slowest.max(killed.elapsed());
        load.settle(round, &client).await;
    }
    let client = Client::admin(&server.url, &data);
    end(kept, &load, server, &client, &data, slowest).await;
}

/// What keeps the journal is killed under load and started again.
pub async fn servers_killed(kept: &Kept, kills: usize, kill: impl Fn(), restart: impl Fn()) {
    let folder = folder();
    let data = folder.path().join("data");
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let server = kept.start(&data, &[]);
    let client = Client::admin(&server.url, &data);
    let mut load = Load::open(&client).await;
    let mut slowest = Duration::ZERO;
    for count in 0..kills {
        let round = load.start(&client);
        tokio::time::sleep(Duration::from_millis(50 + dice.below(150))).await;
        kill();
        round.enough();
        restart();
        // From the moment at which the server answers again: how long it takes to recover is its own affair.
        slowest = slowest.max(resumed(&client, &format!("again-{count}")).await);
        load.settle(round, &client).await;
    }
    end(kept, &load, server, &client, &data, slowest).await;
}

/// A data folder with the keys of another, so that clients need not care which server answers. Beside a journal in PostgreSQL the
/// keys are in the database, and nothing is copied.
fn folder_with_keys(folder: &Path, name: &str, keys: Option<&Path>) -> PathBuf {
    let data = folder.join(name);
    if let Some(control) = keys.map(|keys| keys.join("control")).filter(|control| control.exists()) {
        std::fs::create_dir_all(data.join("control")).unwrap();
        for file in std::fs::read_dir(&control).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), data.join("control").join(file.file_name())).unwrap();
        }
    }
    data
}

fn signal(server: &Server, signal: &str) {
    let status = Command::new("kill").args([signal, &server.child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// A standby takes over from a writer that is killed, and from one that is put to sleep and woken later; so on in turn.
pub async fn standby_takes_over(kept: &Kept, lease_ms: &str, takeovers: usize) {
    let folder = folder();
    let lease = ["--lease-ms", lease_ms];
    let mut data = folder_with_keys(folder.path(), "0", None);
    let mut writer = kept.start(&data, &lease);
    // The first writer's admin key opens every writer after it.
    let first = data.clone();
    let mut load = Load::open(&Client::admin(&writer.url, &first)).await;
    let mut slowest = Duration::ZERO;
    for takeover in 1..=takeovers {
        let next = folder_with_keys(folder.path(), &takeover.to_string(), Some(&data));
        // Another writer without --standby is refused, in words.
        if takeover == 1 {
            let other = folder_with_keys(folder.path(), "other", Some(&data));
            let log = Server::try_start(&other, 0, &kept.arguments(&lease)).err().unwrap();
            assert!(log.contains("is being written by") && log.contains("--standby"), "{log}");
        }
        let waiting = {
            let (next, arguments) = (next.clone(), kept.arguments(&[&lease[..], &["--standby"]].concat()));
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            std::thread::spawn(move || {
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                Server::try_start(&next, 0, &arguments)
            })
        };
        let round = load.start(&Client::admin(&writer.url, &first));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(!waiting.is_finished(), "the standby took over from a writer that is alive");
        let gone = Instant::now();
        let asleep = if takeover % 2 == 0 {
            signal(&writer, "-STOP");
            Some(writer)
        } else {
            writer.kill();
            None
        };
        round.enough();
        let server = tokio::task::spawn_blocking(move || waiting.join().unwrap()).await.unwrap();
        writer = server.unwrap_or_else(|log| panic!("the standby did not come up:\n{log}"));
        let client = Client::admin(&writer.url, &first);
        resumed(&client, &format!("again-{takeover}")).await;
        slowest = slowest.max(gone.elapsed());
        if let Some(mut asleep) = asleep {
            // It wakes up with requests in hand, finds itself overtaken, answers none of them, and ends with a word.
            signal(&asleep, "-CONT");
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
        data = next;
    }
    let client = Client::admin(&writer.url, &first);
    end(kept, &load, writer, &client, &data, slowest).await;
}
