//! The scrub: it finds damage of what nobody reads, names the place, keeps its pace, and forgets damage that is gone.
#![cfg(all(feature = "segments", feature = "rocks"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ledger_core::ports::Journal as _;
use stores::embedded::{self, EmbeddedOptions};
use stores::scrub::{Scrub, ScrubOptions, ScrubStatus};

fn status(scrub: &Scrub) -> ScrubStatus {
    scrub.status().lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn passes(scrub: &Scrub, more: u64) -> ScrubStatus {
    let wanted = status(scrub).passes_total + more;
    let start = Instant::now();
    while status(scrub).passes_total < wanted {
        assert!(start.elapsed() < Duration::from_secs(20), "no pass: {:?}", status(scrub));
        std::thread::sleep(Duration::from_millis(5));
    }
    status(scrub)
}

/// A data folder with a journal of several segments, and its writer.
fn filled(data: &Path) -> stores::embedded::Embedded {
    let options = EmbeddedOptions { segment_bytes: 1 << 20, ..EmbeddedOptions::default() };
    embedded::create(data, &options).unwrap();
    let mut opened = embedded::open(data, &options).unwrap();
    for block in stores::conformance::recorded_blocks() {
        opened.journal.secure_space(block.bytes().len()).unwrap();
        opened.journal.append(&[block]).unwrap();
    }
    opened
}

fn flip(data: &Path, segment: u32, at: usize) {
    let path = data.join(format!("journal/{segment:08}.seg"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn damage_is_found_named_and_forgotten_when_it_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let opened = filled(&data);
    let head = opened.journal.head().sequence;
    let options = ScrubOptions { bytes_per_second: u64::MAX, rest: Duration::from_millis(20) };
    let scrub = Scrub::start(&data, options).unwrap();
    let clean = passes(&scrub, 2);
    assert_eq!((clean.through, clean.damage.len()), (head, 0));
    assert!(clean.bytes_total > 0 && clean.last_pass_ended.is_some());
    flip(&data, 1, 4096 + 130);
    let damaged = passes(&scrub, 2);
    assert_eq!(damaged.damage.len(), 1, "{damaged:?}");
    let told = &damaged.damage[0];
    assert!(told.starts_with("journal: ") && told.contains("segment 1, offset 4096, sequence 1"), "{told}");
    flip(&data, 1, 4096 + 130);
    assert_eq!(passes(&scrub, 2).damage, [""; 0]);
    // It ends at once, in the middle of a rest or of a pass.
    let start = Instant::now();
    drop(scrub);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn it_keeps_its_pace() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let opened = filled(&data);
    drop(opened);
    let fast = ScrubOptions { bytes_per_second: u64::MAX, rest: Duration::from_mins(1) };
    let scrub = Scrub::start(&data, fast).unwrap();
    let whole = passes(&scrub, 1).bytes_total;
    drop(scrub);
    // Two seconds for a pass.
    let start = Instant::now();
    let paced = ScrubOptions { bytes_per_second: whole / 2, rest: Duration::from_mins(1) };
    let scrub = Scrub::start(&data, paced).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(status(&scrub).passes_total, 0, "half way");
    passes(&scrub, 1);
    assert!(start.elapsed() > Duration::from_millis(1_500), "{:?}", start.elapsed());
}
