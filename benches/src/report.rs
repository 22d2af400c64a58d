//! Writes `BENCHMARKS.md`: every figure with the machine, the command and the commit.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use crate::engine::{self, EngineResult};
use crate::http::{self, Cell, HttpResult, Load};
use crate::machine::Place;
use crate::micro::{self, MicroResult};
use crate::spread::whole;
use crate::{EngineArgs, HttpArgs, MicroArgs, ReadModels, plot};

/// Where the plot stands, beside the page.
const PLOT: &str = "docs/bench/http.svg";

/// Everything that `all` measures.
#[derive(Debug, Serialize)]
pub(crate) struct Everything {
    place: Place,
    minutes: f64,
    micro: MicroResult,
    engine: EngineResult,
    http: HttpResult,
}

pub(crate) fn measure(
    micro: &MicroArgs,
    engine: &EngineArgs,
    http: &HttpArgs,
    dir: &Path,
) -> anyhow::Result<Everything> {
    let place = Place::here(dir);
    let began = Instant::now();
    let micro = micro::run(micro, dir)?;
    let engine = engine::run(engine, dir)?;
    let http = http::run(http, dir)?;
    Ok(Everything { place, minutes: began.elapsed().as_secs_f64() / 60.0, micro, engine, http })
}

/// Writes the page, and the plot beside it.
pub(crate) fn write(all: &Everything, path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, page(all)?).with_context(|| path.display().to_string())?;
    if let Some(svg) = plot::svg(&all.http)? {
        let plot = path.parent().unwrap_or(Path::new("")).join(PLOT);
        std::fs::create_dir_all(plot.parent().unwrap_or(Path::new("")))?;
        std::fs::write(&plot, svg).with_context(|| plot.display().to_string())?;
        eprintln!("wrote {} and {}", path.display(), plot.display());
    }
    Ok(())
}

/// The whole page.
pub(crate) fn page(all: &Everything) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "# Benchmarks\n")?;
    writeln!(
        out,
        "Written by `make bench` (`ledger-bench all`) in {:.1} minutes. What is compared was measured by turns; figures are \
         medians of rounds, with the lowest and the highest in brackets. A shared machine is noisy: compare figures of one \
         run.\n",
        all.minutes
    )?;
    writeln!(out, "- machine: {}", all.place.machine)?;
    writeln!(out, "- disk: {}; load before: {}", all.place.disk, all.place.load_before)?;
    writeln!(out, "- commit: {}", all.place.commit)?;
    writeln!(out, "- profile: release, overflow checks on\n")?;
    out.push_str(&targets(all)?);
    out.push_str(&http(&all.http)?);
    out.push_str(&engine(&all.engine)?);
    out.push_str(&micro(&all.micro)?);
    writeln!(out, "{}", include_str!("proofs.md").trim_end())?;
    Ok(out)
}

/// What the product promises, and what was measured.
fn targets(all: &Everything) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "## What is promised\n")?;
    writeln!(out, "| what | promised | measured | kept |\n| --- | --- | --- | --- |")?;
    let mut row = |what: &str, promised: &str, measured: String, kept: bool| {
        writeln!(out, "| {what} | {promised} | {measured} | {} |", if kept { "yes" } else { "**no**" })
    };
    let cell = |load| Cell { connections: 64, load, read_models: ReadModels::On, items: 1 };
    for load in [Load::Uniform, Load::Hot] {
        let Some(of) = all.http.cell(cell(load)) else { continue };
        let what = format!("HTTP, a transfer a request, 64 connections, read models on, {} accounts", load.name());
        let tps = &of.transfers_per_second;
        row(&what, "18,000/s", format!("{}/s", tps.whole()), tps.median >= 18_000.0)?;
        row("… p99", "10 ms", format!("{:.2} ms", of.p99_ms), of.p99_ms <= 10.0)?;
        let drained = of.lag_drained_seconds.unwrap_or_default();
        row("… read models level after the load", "5 s", format!("{drained:.2} s"), drained <= 5.0)?;
    }
    for (_, ratio) in all.http.hot_ratios().into_iter().filter(|(of, _)| *of == cell(Load::Hot)) {
        let measured = format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.lowest, ratio.highest);
        row("… two hot accounts against uniform", "0.85", measured, ratio.median >= 0.85)?;
    }
    let engine = &all.engine;
    let speed = engine.transfers_per_second;
    let what = format!("engine in process, batches of {}, {} ids", whole(engine.batch as f64), engine.ids.name());
    row(&what, "500,000/s", format!("{}/s", whole(speed)), speed >= 500_000.0)?;
    let disk = engine.disk_bytes_per_transfer;
    row("… bytes on disk per transfer, all of the data folder", "250", format!("{disk:.0}"), disk <= 250.0)?;
    writeln!(out)?;
    Ok(out)
}

pub(crate) fn http(result: &HttpResult) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "## HTTP\n")?;
    writeln!(
        out,
        "`ledger-bench http`: {} rounds of {} s each, combinations by turns; {} accounts; client and server share the cores. \
         *Behind*: the most events that the read models lay behind when the load ended, and the longest that they took to \
         reach the head. *Bytes*: growth of the journal's segments per transfer, pages of 4 KiB per flush included.\n",
        result.rounds,
        result.seconds,
        whole(result.accounts as f64)
    )?;
    if plot::svg(result)?.is_some() {
        let what = "Throughput and latency against connections, one transfer a request, read models on";
        writeln!(out, "![{what}]({PLOT})\n\n{what}; upright lines reach from the lowest round to the highest.\n")?;
    }
    writeln!(
        out,
        "| connections | accounts | read models | transfers a request | transfers/s | p50 ms | p99 ms | p99.9 ms | p100 ms \
         | behind | bytes |\n| --: | --- | --- | --: | --- | --: | --: | --: | --: | --- | --: |"
    )?;
    for one in &result.cells {
        let behind = match (one.lag_events, one.lag_drained_seconds) {
            (Some(events), Some(seconds)) => format!("{}, {seconds:.2} s", whole(events as f64)),
            _ => String::new(),
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {behind} | {:.0} |",
            one.cell.connections,
            one.cell.load.name(),
            one.cell.read_models.name(),
            whole(one.cell.items as f64),
            one.transfers_per_second.whole(),
            one.p50_ms,
            one.p99_ms,
            one.p999_ms,
            one.p100_ms,
            one.journal_bytes_per_transfer
        )?;
    }
    writeln!(out)?;
    let ratios = result.hot_ratios();
    if !ratios.is_empty() {
        writeln!(out, "Two hot accounts against uniform, round by round:\n")?;
        for (cell, ratio) in ratios {
            writeln!(
                out,
                "- {} connections, read models {}, {} a request: {:.2} ({:.2}–{:.2})",
                cell.connections,
                cell.read_models.name(),
                whole(cell.items as f64),
                ratio.median,
                ratio.lowest,
                ratio.highest
            )?;
        }
        writeln!(out)?;
    }
    Ok(out)
}

pub(crate) fn engine(engine: &EngineResult) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "## Engine in process\n")?;
    writeln!(
        out,
        "`ledger-bench engine --transfers {} --accounts {} --batch {} --ids {}`: synced journal, id index, digests and \
         checkpoints on, read models off; the submitting thread makes the commands meanwhile.\n",
        engine.transfers,
        engine.accounts,
        engine.batch,
        engine.ids.name()
    )?;
    writeln!(out, "| figure | value |\n| --- | --- |")?;
    writeln!(out, "| transfers/s | {} |", whole(engine.transfers_per_second))?;
    writeln!(out, "| flushes | {} |", whole(engine.flushes as f64))?;
    writeln!(
        out,
        "| batch latency p50 / p99 / p100 | {:.1} / {:.1} / {:.1} ms |",
        engine.batch_p50_ms, engine.batch_p99_ms, engine.batch_p100_ms
    )?;
    writeln!(out, "| canonical block bytes per transfer | {:.1} |", engine.block_bytes_per_transfer)?;
    writeln!(out, "| bytes on disk per transfer, all of the data folder | {:.1} |", engine.disk_bytes_per_transfer)?;
    writeln!(
        out,
        "| start with {} transfers and {} accounts | {:.2} s (checkpoint {}, {} events replayed) |",
        whole(engine.transfers as f64),
        whole(engine.accounts as f64),
        engine.start_seconds,
        whole(engine.start_checkpoint as f64),
        whole(engine.start_events_replayed as f64)
    )?;
    writeln!(
        out,
        "| replay of the journal into state, hashes and digests checked | {} events/s ({} events) |\n",
        whole(engine.replay_events_per_second),
        whole(engine.replay_events as f64)
    )?;
    Ok(out)
}

pub(crate) fn micro(result: &MicroResult) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "## The parts\n\n`ledger-bench micro`, one thread.\n")?;
    if !result.decide.is_empty() {
        writeln!(out, "| decide and apply, 100,000 accounts | ns a command |\n| --- | --- |")?;
        for one in &result.decide {
            writeln!(out, "| {} | {} |", one.command, one.ns.whole())?;
        }
        writeln!(out)?;
    }
    if !result.codec.is_empty() {
        writeln!(out, "| blocks in memory | events/s | MB/s | bytes an event |\n| --- | --- | --: | --: |")?;
        for one in &result.codec {
            let speed = one.events_per_second.whole();
            writeln!(
                out,
                "| {} | {speed} | {} | {:.1} |",
                one.what,
                whole(one.megabytes_per_second),
                one.bytes_per_event
            )?;
        }
        writeln!(out)?;
    }
    if !result.journal.is_empty() {
        writeln!(
            out,
            "| append, durable | appends/s | events/s | MB/s | p50 µs | p99 µs | p100 µs |\n\
             | --- | --- | --: | --: | --: | --: | --: |"
        )?;
        for one in &result.journal {
            let (what, events) = match one.events {
                0 => ("the disk: 4 KiB over zeros, one sync".to_owned(), String::new()),
                events => (format!("a block of {}, two syncs", whole(events as f64)), whole(one.events_per_second)),
            };
            writeln!(
                out,
                "| {what} | {} | {events} | {:.1} | {} | {} | {} |",
                one.appends_per_second.whole(),
                one.megabytes_per_second,
                whole(one.p50_us),
                whole(one.p99_us),
                whole(one.p100_us)
            )?;
        }
        writeln!(out)?;
    }
    if !result.replay.is_empty() {
        writeln!(out, "| replay of a journal | events | events/s |\n| --- | --: | --- |")?;
        for one in &result.replay {
            writeln!(out, "| {} | {} | {} |", one.what, whole(one.events as f64), one.events_per_second.whole())?;
        }
        writeln!(out)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_http_table_has_a_row_a_combination_and_the_ratios() {
        let text = http(&plot::tests::result()).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 2 + 8, "{text}");
        assert!(text.contains("| 64 | two hot | on | 1 | 37,749 (37,367–38,130) | 1.51 | 4.73 |"), "{text}");
        assert!(text.contains("- 64 connections, read models on, 1 a request: 0.93 (0.93–0.93)"), "{text}");
        assert!(text.contains("](docs/bench/http.svg)"), "{text}");
    }
}
