//! The access log: its chain, and that it holds nothing but what belongs there.

use std::ops::ControlFlow;

use event_schemas::{Block, BookId, Cause, EventBody, Sequence};
use stores::access_log;
use stores::segments::{self, OpenFault};

use super::journal::{checks_of_fault, finding};
use super::report::{Check, Finding};
use crate::folder::Folder;
use crate::outcome::Failure;

/// Checks the access log of a folder that has one.
pub(super) fn check(folder: &Folder, book: Option<BookId>) -> Result<Option<Check>, Failure> {
    if !access_log::exists(folder.path())? {
        return Ok(None);
    }
    let (mut records, mut strange) = (0_u64, Vec::new());
    let walked = segments::walk(&folder.access_storage(), &mut |segment, offset, block| {
        match look(block, book) {
            Ok(found) => records += found,
            Err((sequence, what)) => strange.push(Finding::at(sequence, what).in_frame(segment, offset)),
        }
        ControlFlow::Continue(())
    });
    let report = match walked {
        Ok(report) => report,
        Err(fault @ (OpenFault::Io(_) | OpenFault::NoSpace(_))) => return Err(fault.into()),
        Err(fault) => {
            let found = checks_of_fault(&fault).into_iter().find_map(|check| check.first);
            return Ok(Some(Check::failed("access log", found.unwrap_or_else(|| Finding::of(fault.to_string())))));
        }
    };
    let checked = format!("{records} records, {} blocks, {} segments", report.blocks, report.segments);
    let findings: Vec<_> = report.findings.iter().map(finding).chain(strange).collect();
    Ok(Some(Check::done("access log", checked, findings.len() as u64, findings.first().cloned())))
}

/// How many records a block holds; or the first event that does not belong there.
fn look(block: &Block, book: Option<BookId>) -> Result<u64, (Sequence, String)> {
    let first = block.header().first_sequence;
    if book.is_some_and(|book| book != block.header().book) {
        return Err((first, format!("it is the access log of book {}", block.header().book)));
    }
    let mut records = 0;
    for item in block.events() {
        let (sequence, event) = item.map_err(|error| (first, error.to_string()))?;
        match (&event.body, event.cause) {
            (EventBody::BookOpened(_), Cause::Engine) if sequence == Sequence(1) => {}
            (EventBody::AccessLogged(_), Cause::Engine) if sequence > Sequence(1) => records += 1,
            (body, _) => return Err((sequence, format!("{} does not belong here", body.type_name()))),
        }
    }
    Ok(records)
}
