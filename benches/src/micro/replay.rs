//! A journal of transfers, replayed into the state and into the read models on RocksDB, hashes and chain checked.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use ledger_core::ports::JournalReader as _;
use projections::{Projection, Runner};
use stores::embedded::{self, EmbeddedOptions};
use stores::rocks::RocksStore;

use super::Replayed;
use crate::engine::{fill, replay_all};
use crate::spread::Spread;
use crate::{EngineArgs, Ids};

pub(super) fn measure(rounds: usize, transfers: u64, dir: &Path) -> anyhow::Result<Vec<Replayed>> {
    let folder = tempfile::Builder::new().prefix("bench-replay-").tempdir_in(dir)?;
    let data = folder.path().join("data");
    fill(&data, &EngineArgs { transfers, accounts: 100_000, batch: 8_190, journal: None, ids: Ids::Random })?;
    let options = EmbeddedOptions::default();
    let (mut states, mut models, mut events) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        let (replayed, seconds) = replay_all(&data, &options)?;
        states.push(replayed as f64 / seconds);
        events = replayed;
        // Building read models takes ten times as long as anything else here.
        if round < 2 {
            let rows = folder.path().join(format!("rows-{round}"));
            models.push(events as f64 / read_models(&data, &rows, &options, projections::all())?);
            std::fs::remove_dir_all(&rows)?;
        }
    }
    let told = |what: &str, rounds| Replayed { what: what.into(), events, events_per_second: Spread::of(rounds) };
    let mut all = vec![told("into the state", states), told("into all read models, on RocksDB", models)];
    for name in projections::NAMES {
        let rows = folder.path().join(name);
        let alone = projections::by_name(name).into_iter().collect();
        let seconds = read_models(&data, &rows, &options, alone)?;
        std::fs::remove_dir_all(&rows)?;
        all.push(told(&format!("into {name} alone"), vec![events as f64 / seconds]));
    }
    Ok(all)
}

/// The seconds that it takes to build these read models from the journal.
fn read_models(
    data: &Path,
    rows: &Path,
    options: &EmbeddedOptions,
    projections: Vec<Box<dyn Projection>>,
) -> anyhow::Result<f64> {
    let mut feed = embedded::reader(data)?;
    let head = feed.durable_sequence()?;
    ensure!(feed.block_at(head)?.is_some(), "the journal is empty");
    let store = RocksStore::open(rows, options.projections)?;
    let began = Instant::now();
    let reached = Runner::new(feed, store, projections).run_to(head, &mut |_| ())?;
    ensure!(reached == head, "the read models ended at {reached}, the journal at {head}");
    Ok(began.elapsed().as_secs_f64())
}
