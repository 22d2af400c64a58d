//! The journal in PostgreSQL, as a whole: writers and the server killed under load, a standby that takes over, a writer that
//! was asleep, and proofs from what is left (see `support/failover.rs` and `support/load.rs`).
#![allow(clippy::unwrap_used)]

mod support;

use support::failover::{Kept, servers_killed, standby_takes_over, writer_killed};
use support::postgres::Postgres;

const KILLS: usize = 20;

fn kept(postgres: &Postgres) -> Kept {
    Kept { url: postgres.url.clone(), more: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_again_and_again_loses_nothing() {
    let postgres = Postgres::start();
    writer_killed(&kept(&postgres), "500", KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_loses_nothing() {
    let postgres = Postgres::start();
    servers_killed(&kept(&postgres), KILLS, || postgres.kill(), || postgres.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_from_a_writer_that_is_killed_or_asleep() {
    let postgres = Postgres::start();
    standby_takes_over(&kept(&postgres), "1000", 4).await;
}
