//! Journals of segments beside the book's: their chain, and that they hold nothing but what belongs there.

use std::ops::ControlFlow;
use std::sync::Arc;

use event_schemas::{Block, Sequence};
use stores::segments::{self, OpenFault, Storage};

use super::journal::{checks_of_fault, finding};
use super::report::{Check, Finding};
use crate::outcome::Failure;

/// How many records a block holds; or the first event that does not belong there.
pub(super) type Looked = Result<u64, (Sequence, String)>;

/// Walks a journal. `records` is what its records are called.
pub(super) fn walk(
    name: &str,
    records: &str,
    storage: &Arc<dyn Storage>,
    look: &mut dyn FnMut(&Block) -> Looked,
) -> Result<Check, Failure> {
    let (mut count, mut strange) = (0_u64, Vec::new());
    let walked = segments::walk(storage, &mut |segment, offset, block| {
        match look(block) {
            Ok(found) => count += found,
            Err((sequence, what)) => strange.push(Finding::at(sequence, what).in_frame(segment, offset)),
        }
        ControlFlow::Continue(())
    });
    let report = match walked {
        Ok(report) => report,
        Err(fault @ (OpenFault::Io(_) | OpenFault::NoSpace(_))) => return Err(fault.into()),
        Err(fault) => {
            let found = checks_of_fault(&fault).into_iter().find_map(|check| check.first);
            return Ok(Check::failed(name, found.unwrap_or_else(|| Finding::of(fault.to_string()))));
        }
    };
    let checked = format!("{count} {records}, {} blocks, {} segments", report.blocks, report.segments);
    let findings: Vec<_> = report.findings.iter().map(finding).chain(strange).collect();
    Ok(Check::done(name, checked, findings.len() as u64, findings.first().cloned()))
}
