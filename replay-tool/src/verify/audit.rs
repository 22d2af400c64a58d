//! The laws, by the naive auditor.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use event_schemas::Sequence;
use ledger_core::audit::Auditor;

use super::journal::Placed;
use super::report::{Check, Finding};

/// Audits blocks as they come, up to the first that does not follow.
pub(super) fn run(blocks: Receiver<Arc<Placed>>) -> Check {
    let mut auditor = Auditor::new();
    let mut next = Sequence(1);
    let mut first = None;
    let mut gap = false;
    for placed in blocks {
        if gap || placed.block.header().first_sequence != next {
            // What lies behind a hole can't be judged: the chain's check tells of the hole. The rest is let through, so
            // that the walk goes on.
            gap = true;
            continue;
        }
        // Deadlines of holds are judged against the time of the block.
        auditor.at(placed.block.header().recorded_at);
        for item in placed.block.events() {
            // One that can't be read is the replay's finding.
            let Ok((sequence, event)) = item else {
                gap = true;
                break;
            };
            auditor.observe(sequence, &event);
            next = sequence.next();
        }
        first = first.or_else(|| first_finding(&auditor, Some(&placed)));
    }
    auditor.finish();
    first = first.or_else(|| first_finding(&auditor, None));
    let checked =
        format!("{} events, {} accounts, {} verdicts", next.0 - 1, auditor.balances().len(), auditor.verdicts());
    let check = Check::done("laws", checked, auditor.findings_total(), first);
    if gap { check.with_note("up to the damage") } else { check }
}

fn first_finding(auditor: &Auditor, placed: Option<&Arc<Placed>>) -> Option<Finding> {
    let found = auditor.findings().first()?;
    let finding = Finding::at(found.sequence, format!("{}: {}", found.law, found.text));
    Some(match placed {
        Some(placed) => finding.in_frame(placed.segment, placed.offset),
        None => finding,
    })
}
