//! What is asked of the audit trail. Call this inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that
//! an answer names is the one it reflects.

use event_schemas::bounds::EVENTS_PER_COMMAND_MAX;
use event_schemas::{AccountId, CommandId, PrincipalId, Sequence, Timestamp};

use super::apply::ACCEPTED;
use super::rows::{ACTS, AccountActRow, ActCause, ActRow, ActorRow, CustomerActRow};
use crate::balances::{self, accounts_page};
use crate::ports::{ReadRows, RowsFault};
use crate::statements::rows::{PostingKey, PostingRow};
use crate::statements::{self, Order};
use crate::table::{Row, damaged, get};
use crate::trail::{Pages, Seen, Source, index, of_rows, of_sources};

/// The most accounts that a customer may have for its acts to be merged: each is read on its own.
pub const CUSTOMER_ACCOUNTS_MAX: usize = 1_000;

/// Whose acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOf<'a> {
    /// Everybody's.
    Book,
    /// Those of one principal.
    Actor(PrincipalId),
    /// Those about one account.
    Account(AccountId),
    /// Those about a customer or any of its accounts.
    Customer(&'a str),
    /// A command's verdict, which stands at this sequence, and what had to happen before it.
    Command(CommandId, Sequence),
}

/// Which acts of those are wanted; a page looks through a bounded number of others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditFilter<'a> {
    /// Of this principal only.
    pub actor: Option<PrincipalId>,
    /// Of this command type only.
    pub command_type: Option<&'a str>,
    /// Accepted ones only, or refused ones only.
    pub accepted: Option<bool>,
}

/// An act on the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// Its sequence.
    pub sequence: Sequence,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Why it happened.
    pub cause: ActCause,
    /// The command, if there was one.
    pub command: Option<CommandId>,
    /// Who gave it; the engine's own id if nobody did.
    pub actor: PrincipalId,
    /// What was asked.
    pub command_type: Box<str>,
    /// The code of the rejection; `None` if it was accepted.
    pub rejection: Option<Box<str>>,
    /// The hold or the entry that it is about; the customer, the calendar's zone or the operator; empty for none.
    pub about: Box<str>,
    /// How many accounts it is about.
    pub accounts: u64,
    /// The first two of them.
    pub first_accounts: [Option<AccountId>; 2],
}

/// Some acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The acts, in the order asked for.
    pub lines: Vec<AuditLine>,
    /// What to hand in as the cursor for the next page; `None` if no more follow by now. With a filter, a page may have few
    /// lines or none and yet be followed by others.
    pub next: Option<Sequence>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

fn line(sequence: Sequence, row: ActRow) -> AuditLine {
    let rejection = if &*row.outcome == ACCEPTED { None } else { Some(row.outcome) };
    AuditLine {
        sequence,
        recorded_at: row.recorded_at,
        cause: row.cause,
        command: (row.cause != ActCause::Engine).then_some(row.command),
        actor: row.actor,
        command_type: row.command_type,
        rejection,
        about: row.about,
        accounts: row.accounts,
        first_accounts: row.first_accounts,
    }
}

/// At most `limit` acts behind a cursor (before it, if newest first); `None` for a customer of more than
/// [`CUSTOMER_ACCOUNTS_MAX`] accounts, whose acts are to be asked for account by account.
pub fn audit_page(
    rows: &dyn ReadRows,
    of: AuditOf<'_>,
    filter: AuditFilter<'_>,
    cursor: Option<Sequence>,
    limit: usize,
    order: Order,
) -> Result<Option<AuditPage>, RowsFault> {
    let mut through = rows.checkpoint(super::NAME)?;
    // What other read models lead to counts as far as all of them have come.
    if matches!(of, AuditOf::Account(_) | AuditOf::Customer(_)) {
        through = through.min(rows.checkpoint(statements::NAME)?);
    }
    if matches!(of, AuditOf::Customer(_)) {
        through = through.min(rows.checkpoint(balances::NAME)?);
    }
    let mut pages = Pages { cursor, limit, order, after: Sequence::ZERO, through };
    let mut lines = Vec::new();
    let mut take = |sequence: Sequence, row: ActRow, of_command: Option<CommandId>| {
        let wanted = filter.actor.is_none_or(|wanted| wanted == row.actor)
            && filter.command_type.is_none_or(|wanted| *wanted == *row.command_type)
            && filter.accepted.is_none_or(|accepted| (&*row.outcome == ACCEPTED) == accepted)
            && of_command.is_none_or(|wanted| row.cause != ActCause::Engine && wanted == row.command);
        if wanted {
            lines.push(line(sequence, row));
            Seen::Taken
        } else {
            Seen::Passed
        }
    };
    let sources = match of {
        AuditOf::Book => None,
        AuditOf::Command(_, verdict) => {
            pages.through = through.min(verdict);
            pages.after = Sequence(verdict.0.saturating_sub(EVENTS_PER_COMMAND_MAX as u64));
            None
        }
        AuditOf::Actor(actor) => {
            let lowest = move |at| ActorRow::key_bytes(&(actor, at));
            Some(vec![index::<ActorRow>(rows, pages, lowest, |key| key.1)])
        }
        AuditOf::Account(account) => Some(of_account(rows, pages, account).into()),
        AuditOf::Customer(customer) => {
            let owned = accounts_page(rows, Some(customer), None, CUSTOMER_ACCOUNTS_MAX)?;
            if owned.next.is_some() {
                return Ok(None);
            }
            let owner: Box<str> = customer.into();
            let lowest = move |at| CustomerActRow::key_bytes(&(owner.clone(), at));
            let mut sources = vec![index::<CustomerActRow>(rows, pages, lowest, |key| key.1)];
            sources.extend(owned.accounts.iter().flat_map(|owned| of_account(rows, pages, owned.account)));
            Some(sources)
        }
    };
    let of_command = if let AuditOf::Command(command, _) = of { Some(command) } else { None };
    let next = match sources {
        None => of_rows::<ActRow>(rows, pages, &mut |at, row| take(at, row, of_command))?,
        Some(sources) => of_sources(sources, pages, &mut |at| {
            let row = get::<ActRow>(rows, &at)?;
            let row = row.ok_or_else(|| damaged(&ACTS, &format_args!("no act {at}, which is indexed")))?;
            Ok(take(at, row, None))
        })?,
    };
    Ok(Some(AuditPage { lines, next, sequence: through }))
}

/// The acts about an account: what posts to it, and the rest.
fn of_account(rows: &dyn ReadRows, pages: Pages, account: AccountId) -> [Source<'_>; 2] {
    let posted = move |sequence| PostingRow::key_bytes(&PostingKey { account, sequence, posting: 0 });
    let other = move |at| AccountActRow::key_bytes(&(account, at));
    [
        index::<PostingRow>(rows, pages, posted, |key| key.sequence),
        index::<AccountActRow>(rows, pages, other, |key| key.1),
    ]
}
