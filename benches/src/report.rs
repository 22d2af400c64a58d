//! Writes `BENCHMARKS.md`: every figure with the machine, the command and the commit.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::engine::{self, EngineResult};
use crate::http::{self, HttpResult};
use crate::{EngineArgs, HttpArgs};

pub(crate) fn write(path: &Path, engine_args: &EngineArgs, http_args: &HttpArgs) -> anyhow::Result<()> {
    eprintln!("engine: {} transfers …", engine_args.transfers);
    let engine = engine::run(engine_args)?;
    eprintln!("http: {} connections for {} s …", http_args.connections, http_args.seconds);
    let http = http::run(http_args)?;
    let text = page(&engine, &http)?;
    std::fs::write(path, &text)?;
    print!("{text}");
    Ok(())
}

fn page(engine: &EngineResult, http: &HttpResult) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "# Benchmarks\n")?;
    writeln!(
        out,
        "Written by `make bench` (`ledger-bench all`). A shared machine is noisy: compare figures of one run.\n"
    )?;
    writeln!(out, "- machine: {}", machine())?;
    writeln!(out, "- commit: {}", commit())?;
    writeln!(out, "- profile: release, overflow checks on\n")?;
    writeln!(out, "## Engine in process\n")?;
    writeln!(
        out,
        "`ledger-bench engine --transfers {} --accounts {} --batch {}`: {} ids; synced journal, id index, digests and \
         checkpoints on, read models off; the submitting thread makes the commands meanwhile.\n",
        engine.transfers, engine.accounts, engine.batch, engine.ids
    )?;
    writeln!(out, "| figure | value |\n| --- | --- |")?;
    writeln!(out, "| transfers/s | {:.0} |", engine.transfers_per_second)?;
    writeln!(out, "| flushes | {} |", engine.flushes)?;
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
        engine.transfers, engine.accounts, engine.start_seconds, engine.start_checkpoint, engine.start_events_replayed
    )?;
    writeln!(
        out,
        "| replay of the journal into state, hashes and digests checked | {:.0} events/s ({} events) |\n",
        engine.replay_events_per_second, engine.replay_events
    )?;
    writeln!(out, "## HTTP, one transfer a request\n")?;
    writeln!(
        out,
        "`ledger-bench http --connections {} --seconds {:.0}`: read models {}; client and server share the cores.\n",
        http.connections,
        http.seconds,
        if http.read_models { "on" } else { "off" }
    )?;
    writeln!(out, "| figure | value |\n| --- | --- |")?;
    writeln!(out, "| transfers/s | {:.0} |", http.transfers_per_second)?;
    writeln!(
        out,
        "| latency p50 / p99 / p99.9 / p100 | {:.2} / {:.2} / {:.2} / {:.2} ms |",
        http.p50_ms, http.p99_ms, http.p999_ms, http.p100_ms
    )?;
    writeln!(out, "\n{}", include_str!("proofs.md").trim_end())?;
    Ok(out)
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {model}, {} GiB, Linux {}", kib / 1024 / 1024, kernel.trim())
}

fn commit() -> String {
    let run = |args: &[&str]| {
        Command::new("git").args(args).output().ok().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let hash = run(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    let dirty = run(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    if dirty { format!("{hash} with uncommitted changes") } else { hash }
}
