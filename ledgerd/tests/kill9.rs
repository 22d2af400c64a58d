//! kill -9 under load, fifty times on the same folder: nothing acknowledged is lost, nothing doubled (see `support/load.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::load::Load;
use support::{Client, Dice, Server};

const KILLS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let mut server = Server::start(&data, 0);
    let mut load = Load::open(&Client::admin(&server.url, &data)).await;
    for _ in 0..KILLS {
        let round = load.start(&Client::admin(&server.url, &data));
        tokio::time::sleep(Duration::from_millis(30 + dice.below(150))).await;
        server.kill();
        server = Server::start(&data, 0);
        load.settle(round, &Client::admin(&server.url, &data)).await;
    }
    assert!(load.unanswered > 0, "no kill met a request under way");
    load.close(&Client::admin(&server.url, &data)).await;
    assert!(server.terminate().success());
}
