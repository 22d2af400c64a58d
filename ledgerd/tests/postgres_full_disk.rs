//! The disk of the database server is full under load: nothing is acknowledged that is not there, nothing acknowledged is lost,
//! the server is ready again when there is room, and both proofs hold.
//!
//! It mounts a tmpfs and so needs root. Without root it says that it was skipped; as root it fails if it can't mount.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::load::Load;
use support::postgres::Postgres;
use support::small_disk::SmallDisk;
use support::{Client, Server, replay};

/// What is left to the server, after which it is full.
const LEFT_BYTES: usize = 3 << 20;

/// Whether a write gets its verdict: one that moves nothing.
async fn answers(client: &Client, key: &str) -> bool {
    let body = json!({ "from": "load:0", "to": "load:1", "amount": "100000000.00", "currency": "EUR" });
    let asked = tokio::time::timeout(Duration::from_secs(5), client.try_post("transfers", key, &body)).await;
    asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 422))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_the_database_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk"), 192) else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let postgres = Postgres::start_in(disk.at.join("postgres"), "-c max_wal_size=32MB -c min_wal_size=32MB");
    std::fs::write(folder.path().join("doppia.toml"), "[limits]\nrejections_burst = 1000000\n").unwrap();
    let data = folder.path().join("data");
    let arguments = ["--journal", &postgres.url, "--lease-ms", "1000"];
    let start =
        || Server::try_start(&data, 0, &arguments).unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"));
    let mut server = start();
    let mut load = Load::open(&Client::admin(&server.url, &data)).await;

    // Everything but a little is taken; then the load takes the rest.
    let ballast = disk.fill(LEFT_BYTES);
    let client = Client::admin(&server.url, &data);
    let round = load.start(&client);
    let until = Instant::now() + Duration::from_mins(2);
    let mut count = 0;
    while answers(&client, &format!("still-{count}")).await {
        assert!(Instant::now() < until, "the disk is not full yet");
        count += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "full after {count} looks; ledgerd says: {}",
        server.log.lock().unwrap().last().cloned().unwrap_or_default()
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    round.enough();

    // There is room again. The database may have ended itself, and the writer with it: whatever did is started again.
    ballast.let_go();
    postgres.restart();
    let until = Instant::now() + Duration::from_mins(1);
    while !answers(&client, "again").await && Instant::now() < until {
        if server.child.try_wait().unwrap().is_some() || client.get("/readyz").await.status != 200 {
            let log = server.log.lock().unwrap().join("\n");
            assert!(log.contains("No space left on device") || log.contains("PostgreSQL"), "no word of why:\n{log}");
            println!("the writer has stopped, and is started again");
            server.kill();
            server = start();
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = Client::admin(&server.url, &data);
    let there = answers(&client, "at-last").await;
    assert!(there, "{}", server.log.lock().unwrap().join("\n"));
    load.settle(round, &client).await;
    load.close(&client).await;
    assert!(server.terminate().success());
    replay(&data, &["--journal", &postgres.url, "verify"]);
    drop(postgres);
}
