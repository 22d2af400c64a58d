//! The small parts, each alone: `decide` rules by command, `codec` blocks, `journal` appends on the real disk, `replay` state
//! and read models from a journal.

mod codec;
mod decide;
mod journal;
mod replay;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::MicroArgs;
use crate::spread::Spread;

/// A part of the micro benchmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Decide and apply, by command.
    Decide,
    /// Blocks, written and read in memory.
    Codec,
    /// Appends with their syncs, on the real disk.
    Journal,
    /// A journal replayed into the state, and into the read models.
    Replay,
}

/// What was measured; empty where it was not asked for.
#[derive(Debug, Serialize)]
pub(crate) struct MicroResult {
    pub(crate) decide: Vec<Decided>,
    pub(crate) codec: Vec<Coded>,
    pub(crate) journal: Vec<Appended>,
    pub(crate) replay: Vec<Replayed>,
}

/// Decide and apply of one kind of command.
#[derive(Debug, Serialize)]
pub(crate) struct Decided {
    pub(crate) command: &'static str,
    /// Nanoseconds per command, events applied.
    pub(crate) ns: Spread,
}

/// Blocks one way.
#[derive(Debug, Serialize)]
pub(crate) struct Coded {
    pub(crate) what: &'static str,
    pub(crate) events_per_second: Spread,
    pub(crate) bytes_per_event: f64,
    pub(crate) megabytes_per_second: f64,
}

/// Appends of blocks of one size.
#[derive(Debug, Serialize)]
pub(crate) struct Appended {
    /// Events in a block; zero for the disk's own figure.
    pub(crate) events: u64,
    pub(crate) appends_per_second: Spread,
    pub(crate) events_per_second: f64,
    pub(crate) megabytes_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p100_us: f64,
}

/// A journal gone through.
#[derive(Debug, Serialize)]
pub(crate) struct Replayed {
    pub(crate) what: String,
    pub(crate) events: u64,
    pub(crate) events_per_second: Spread,
}

pub(crate) fn run(args: &MicroArgs, dir: &Path) -> anyhow::Result<MicroResult> {
    let wants = |part| args.parts.is_empty() || args.parts.contains(&part);
    let rounds = args.micro_rounds.max(1);
    let time = Duration::try_from_secs_f64(args.micro_seconds)?.max(Duration::from_millis(10));
    let mut result = MicroResult { decide: vec![], codec: vec![], journal: vec![], replay: vec![] };
    if wants(Part::Decide) {
        eprintln!("micro: decide and apply …");
        result.decide = decide::measure(rounds)?;
    }
    if wants(Part::Codec) {
        eprintln!("micro: block codec …");
        result.codec = codec::measure(rounds, time)?;
    }
    if wants(Part::Journal) {
        eprintln!("micro: appends …");
        result.journal = journal::measure(rounds, time, dir)?;
    }
    if wants(Part::Replay) {
        eprintln!("micro: replay of {} transfers …", args.replay_transfers);
        result.replay = replay::measure(rounds, args.replay_transfers, dir)?;
    }
    Ok(result)
}

/// Repeats something until the time is over; gives how often it was done, and the seconds that it took.
fn repeat(time: Duration, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<(u64, f64)> {
    let began = Instant::now();
    let mut count = 0;
    loop {
        once()?;
        count += 1;
        let took = began.elapsed();
        if took >= time {
            return Ok((count, took.as_secs_f64()));
        }
    }
}
