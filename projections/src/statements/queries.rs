//! What is asked of statements. Call these inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that an
//! answer names is the one it reflects.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use event_schemas::entry::EntryOrigin;
use event_schemas::{AccountId, CivilDate, CommandId, Money, PrincipalId, Sequence, Side, Timestamp};

use super::rows::{PostingKey, PostingRow, TimeRow, first_key};
use crate::Totals;
use crate::balances::BalanceView;
use crate::balances::rows::AccountRow;
use crate::ports::{ReadRows, RowsFault};
use crate::table::{Row, behind_key, behind_prefix, get, scan};

/// In which direction a statement is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// In journal order.
    #[default]
    OldestFirst,
    /// Backwards.
    NewestFirst,
}

/// A posting of an account, as a place to go on from. Postings are never changed or moved, so a cursor stays good for ever.
/// Its text is `sequence.posting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementCursor {
    /// The entry's sequence.
    pub sequence: Sequence,
    /// The posting's index in the entry, from 0.
    pub posting: u16,
}

impl fmt::Display for StatementCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sequence, self.posting)
    }
}

/// A text that is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of a statement")]
pub struct CursorError;

impl FromStr for StatementCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (sequence, posting) = text.split_once('.').ok_or(CursorError)?;
        let sequence = Sequence(sequence.parse().map_err(|_| CursorError)?);
        Ok(Self { sequence, posting: posting.parse().map_err(|_| CursorError)? })
    }
}

/// A posting on a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    /// The entry's sequence.
    pub sequence: Sequence,
    /// The posting's index in the entry, from 0.
    pub posting: u16,
    /// Debit or credit.
    pub side: Side,
    /// How much, above zero.
    pub amount: Money,
    /// The balance after it, on the account's normal side.
    pub balance: Money,
    /// The account's totals after it.
    pub after: Totals,
    /// The date it counts for.
    pub effective_on: CivilDate,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What the entry came from: the type of command, and the hold or the entry that it is about.
    pub origin: EntryOrigin,
    /// The command's free text.
    pub reference: Box<str>,
    /// The command.
    pub command: CommandId,
    /// Who gave it.
    pub actor: PrincipalId,
}

impl StatementLine {
    /// The line's own place.
    pub const fn cursor(&self) -> StatementCursor {
        StatementCursor { sequence: self.sequence, posting: self.posting }
    }
}

/// Some lines of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementPage {
    /// The account.
    pub account: AccountId,
    /// The lines, in the order asked for.
    pub lines: Vec<StatementLine>,
    /// The last line's cursor, to hand in for the next page; `None` if no more lines follow by now.
    pub next: Option<StatementCursor>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// At most `limit` lines of an account behind a cursor (before it, if newest first); `None` if there is no such account.
pub fn statement_page(
    rows: &dyn ReadRows,
    account: AccountId,
    cursor: Option<StatementCursor>,
    limit: usize,
    order: Order,
) -> Result<Option<StatementPage>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let Some(facts) = get::<AccountRow>(rows, &account)? else { return Ok(None) };
    let at = cursor.map(|cursor| {
        PostingRow::key_bytes(&PostingKey { account, sequence: cursor.sequence, posting: cursor.posting })
    });
    let first = first_key(account);
    let (from, to) = match (order, at) {
        (Order::OldestFirst, Some(at)) => (behind_key(&at), behind_prefix(&first)),
        (Order::NewestFirst, Some(at)) => (first, Some(at)),
        (_, None) => (first.clone(), behind_prefix(&first)),
    };
    // One more than the page, to know whether there is a next one.
    let wanted = limit.max(1).saturating_add(1);
    let mut lines = Vec::new();
    scan::<PostingRow>(rows, &from, to.as_deref(), order == Order::NewestFirst, &mut |key, row| {
        lines.push(StatementLine {
            sequence: key.sequence,
            posting: key.posting,
            side: row.side,
            amount: Money::new(row.amount_minor, row.currency),
            balance: Money::new(row.after.balance_minor(facts.kind), row.currency),
            after: row.after,
            effective_on: row.effective_on,
            recorded_at: row.recorded_at,
            origin: row.origin,
            reference: row.reference,
            command: row.command,
            actor: row.actor,
        });
        if lines.len() < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let next = if lines.len() == wanted {
        lines.pop();
        lines.last().map(StatementLine::cursor)
    } else {
        None
    };
    Ok(Some(StatementPage { account, lines, next, sequence }))
}

/// The totals of an account after all events up to `sequence`: those of its last posting by then.
pub(crate) fn totals_at(rows: &dyn ReadRows, account: AccountId, sequence: Sequence) -> Result<Totals, RowsFault> {
    let to = PostingRow::key_bytes(&PostingKey { account, sequence, posting: u16::MAX });
    let mut totals = Totals::default();
    scan::<PostingRow>(rows, &first_key(account), Some(&to), true, &mut |_, row| {
        totals = row.after;
        ControlFlow::Break(())
    })?;
    Ok(totals)
}

/// The balance of an account after all events up to `sequence`, or up to what is applied if that is less: the answer's
/// sequence tells which. `None` if the account was not open by then. What is pending is known only for now, so it is zero here.
pub fn balance_at_sequence(
    rows: &dyn ReadRows,
    account: AccountId,
    sequence: Sequence,
) -> Result<Option<BalanceView>, RowsFault> {
    let sequence = sequence.min(rows.checkpoint(super::NAME)?);
    let Some(facts) = get::<AccountRow>(rows, &account)? else { return Ok(None) };
    if facts.opened_sequence > sequence {
        return Ok(None);
    }
    let posted = totals_at(rows, account, sequence)?;
    Ok(Some(BalanceView::of(account, &facts, posted, Totals::default(), sequence)))
}

/// The last sequence recorded at or before a point in time, of those applied; zero if there is none.
pub fn sequence_at_time(rows: &dyn ReadRows, time: Timestamp) -> Result<Sequence, RowsFault> {
    let to = behind_key(&TimeRow::key_bytes(&time));
    let mut sequence = Sequence::ZERO;
    scan::<TimeRow>(rows, &[], Some(&to), true, &mut |_, row| {
        sequence = row.sequence;
        ControlFlow::Break(())
    })?;
    Ok(sequence)
}

/// The balance of an account after all events recorded at or before a point in time; `None` if it was not open by then.
/// Exact for a time before the newest block applied; for a later one, events may still be recorded.
pub fn balance_at_time(
    rows: &dyn ReadRows,
    account: AccountId,
    time: Timestamp,
) -> Result<Option<BalanceView>, RowsFault> {
    balance_at_sequence(rows, account, sequence_at_time(rows, time)?)
}
