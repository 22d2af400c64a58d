//! Where and of what a measurement was taken.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// The machine, the disk and the commit of a measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Place {
    pub(crate) machine: String,
    pub(crate) disk: String,
    pub(crate) load_before: String,
    pub(crate) commit: String,
}

impl Place {
    /// This machine; `dir`: where the data goes.
    pub(crate) fn here(dir: &Path) -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            machine: machine(),
            disk: disk(dir),
            load_before: load.split_whitespace().next().unwrap_or("unknown").to_owned(),
            commit: commit(),
        }
    }
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

/// File system and device of a folder: those of the longest mount point above it.
fn disk(dir: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let of = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
        dir.starts_with(point).then(|| (point.len(), format!("{kind} on {device}")))
    });
    of.max_by_key(|(length, _)| *length).map_or_else(|| "unknown".to_owned(), |(_, disk)| disk)
}

fn commit() -> String {
    let run = |args: &[&str]| {
        Command::new("git").args(args).output().ok().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let hash = run(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    let dirty = run(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    if dirty { format!("{hash} with uncommitted changes") } else { hash }
}
