//! What is asked of the access log. Call this inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that an
//! answer names is the one it reflects. Sequences are those of the access log, not of the book.

use event_schemas::{PrincipalId, Sequence};

use super::rows::{ActorRow, READS, ReadRow, SubjectRow};
use crate::ports::{ReadRows, RowsFault};
use crate::statements::Order;
use crate::table::{Row, damaged, get};
use crate::trail::{Pages, Seen, index, of_rows, of_sources};

/// Whose reads, or of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessOf<'a> {
    /// All of them.
    Book,
    /// Those of one principal.
    Actor(PrincipalId),
    /// Those of one account, customer or command.
    Subject(&'a str),
}

/// A read on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLine {
    /// Its sequence in the access log.
    pub sequence: Sequence,
    /// What was read, by whom and when.
    pub read: ReadRow,
}

/// Some reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPage {
    /// The reads, in the order asked for.
    pub lines: Vec<AccessLine>,
    /// What to hand in as the cursor for the next page; `None` if no more follow by now.
    pub next: Option<Sequence>,
    /// The sequence of the access log that this reflects.
    pub sequence: Sequence,
}

/// At most `limit` reads behind a cursor (before it, if newest first).
pub fn access_page(
    rows: &dyn ReadRows,
    of: AccessOf<'_>,
    cursor: Option<Sequence>,
    limit: usize,
    order: Order,
) -> Result<AccessPage, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let pages = Pages { cursor, limit, order, after: Sequence::ZERO, through: sequence };
    let mut lines = Vec::new();
    let mut take = |sequence, read| {
        lines.push(AccessLine { sequence, read });
        Seen::Taken
    };
    let source = match of {
        AccessOf::Book => None,
        AccessOf::Actor(actor) => {
            let lowest = move |at| ActorRow::key_bytes(&(actor, at));
            Some(index::<ActorRow>(rows, pages, lowest, |key| key.1))
        }
        AccessOf::Subject(subject) => {
            let lowest = move |at| SubjectRow::key_bytes(&(subject.into(), at));
            Some(index::<SubjectRow>(rows, pages, lowest, |key| key.1))
        }
    };
    let next = match source {
        None => of_rows::<ReadRow>(rows, pages, &mut |at, row| take(at, row))?,
        Some(source) => of_sources(vec![source], pages, &mut |at| {
            let row = get::<ReadRow>(rows, &at)?;
            let row = row.ok_or_else(|| damaged(&READS, &format_args!("no read {at}, which is indexed")))?;
            Ok(take(at, row))
        })?,
    };
    Ok(AccessPage { lines, next, sequence })
}
