//! The access log: its chain, and that it holds nothing but what belongs there.

use event_schemas::{Block, BookId, Cause, EventBody, Sequence};
use stores::access_log;

use super::beside::{self, Looked};
use super::report::Check;
use crate::folder::Folder;
use crate::outcome::Failure;

/// Checks the access log of a folder that has one.
pub(super) fn check(folder: &Folder, book: Option<BookId>) -> Result<Option<Check>, Failure> {
    if !access_log::exists(folder.path())? {
        return Ok(None);
    }
    beside::walk("access log", "records", &folder.access_storage(), &mut |block| look(block, book)).map(Some)
}

fn look(block: &Block, book: Option<BookId>) -> Looked {
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
