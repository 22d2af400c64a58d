//! The one walk over the journal, and the two threads that get its blocks.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use event_schemas::{Block, Sequence};
use stores::segments::{self, OpenFault, WalkReport};

use super::replay::Replay;
use super::report::{Check, Finding};
use super::{audit, kafka, postgres};
use crate::folder::{Folder, Place};
use crate::outcome::Failure;
use crate::progress::Progress;

/// Blocks that wait for a thread; each has at most 900 KiB.
const WAITING_BLOCKS: usize = 16;

/// An intact block and the frame it is in.
pub(super) struct Placed {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) block: Block,
}

/// What the walk brought.
pub(super) struct Walked {
    /// Anchor and chain.
    pub(super) checks: Vec<Check>,
    pub(super) laws: Check,
    pub(super) replay: Replay,
    /// `None` if there was nothing to walk.
    pub(super) report: Option<WalkReport>,
    pub(super) seconds: f64,
}

pub(super) fn walk(
    folder: &Folder,
    mut replay: Replay,
    durable: Sequence,
    progress: Progress,
) -> Result<Walked, Failure> {
    let start = Instant::now();
    let bar = progress.events("verifying the journal", durable.0);
    let (to_replay, replayed) = sync_channel::<Arc<Placed>>(WAITING_BLOCKS);
    let (to_audit, audited) = sync_channel::<Arc<Placed>>(WAITING_BLOCKS);
    let (walked, replay, laws) = std::thread::scope(|scope| {
        let replaying = scope.spawn(move || {
            for placed in replayed {
                replay.block(&placed);
            }
            replay
        });
        let auditing = scope.spawn(move || audit::run(audited));
        let mut visit = |segment, offset, block: &Block| {
            bar.set_position(block.header().last_sequence().0);
            let placed = Arc::new(Placed { segment, offset, block: block.clone() });
            match (to_replay.send(Arc::clone(&placed)), to_audit.send(placed)) {
                (Ok(()), Ok(())) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        };
        let walked = match folder.place() {
            Place::Segments => segments::walk(&folder.storage(), &mut visit).map(Ok),
            Place::Postgres(url, book) => Ok(postgres::walk(url, *book, durable, &mut visit)),
            Place::Kafka(url, book) => Ok(kafka::walk(url, *book, durable, &mut visit)),
        };
        drop((to_replay, to_audit));
        // A thread that panicked found a bug: its panic goes on here.
        let replay = replaying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let laws = auditing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (walked, replay, laws)
    });
    let seconds = start.elapsed().as_secs_f64();
    let (checks, report) = match walked {
        Ok(Ok(report)) => (checks_of(folder.place(), &report), Some(report)),
        // What can't be reached is no finding.
        Ok(Err(failure)) => return Err(failure),
        Err(fault @ (OpenFault::Io(_) | OpenFault::NoSpace(_))) => return Err(fault.into()),
        Err(fault) => (checks_of_fault(&fault), None),
    };
    Ok(Walked { checks, laws, replay, report, seconds })
}

pub(super) fn finding(found: &segments::Finding) -> Finding {
    Finding {
        file: Some(found.file.clone()),
        segment: found.file.strip_suffix(".seg").and_then(|number| number.parse().ok()),
        offset: Some(found.offset),
        sequence: Some(found.sequence),
        what: found.what.clone(),
        table: None,
    }
}

fn checks_of(place: &Place, report: &WalkReport) -> Vec<Check> {
    let (anchor, chain): (Vec<_>, Vec<_>) =
        report.findings.iter().map(finding).partition(|found| found.segment.is_none());
    let count = |findings: &[Finding]| findings.len() as u64;
    let WalkReport { blocks, frames, segments, .. } = report;
    if let Place::Postgres(..) = place {
        let (rows, lease): (Vec<_>, Vec<_>) =
            anchor.into_iter().partition(|found| found.file.as_deref() == Some("events"));
        return vec![
            Check::done("lease", "its head is the newest block's", count(&lease), lease.first().cloned()),
            Check::done("chain", format!("{blocks} blocks"), count(&chain), chain.first().cloned()),
            Check::done("rows", format!("{} events", report.sequence), count(&rows), rows.first().cloned()),
        ];
    }
    if let Place::Kafka(..) = place {
        return vec![Check::done("chain", format!("{blocks} blocks"), count(&chain), chain.first().cloned())];
    }
    let checked = format!("{blocks} blocks, {frames} frames, {segments} segments");
    vec![
        Check::done("anchor", "2 slots", count(&anchor), anchor.first().cloned()),
        Check::done("chain", checked, count(&chain), chain.first().cloned()),
    ]
}

/// Faults that leave nothing to walk.
pub(super) fn checks_of_fault(fault: &OpenFault) -> Vec<Check> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "what has no place is told in its own words")]
    let found = match fault {
        OpenFault::Damaged(damage) => {
            Finding::at(damage.sequence, damage.reason.clone()).in_frame(damage.segment, damage.offset)
        }
        OpenFault::Missing(file) | OpenFault::WrongLength { file, .. } => {
            Finding { file: Some(file.clone()), ..Finding::of(fault.to_string()) }
        }
        other => Finding::of(other.to_string()),
    };
    if matches!(fault, OpenFault::Anchor(_)) {
        let why = "without an anchor nothing says where the journal ends";
        vec![Check::failed("anchor", found), Check::skipped("chain", why)]
    } else {
        vec![Check::failed("chain", found)]
    }
}
