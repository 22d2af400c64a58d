//! What is asked of balances. Call these inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that an
//! answer names is the one it reflects.

use std::ops::ControlFlow;

use event_schemas::command::{AccountKind, BalancePolicy};
use event_schemas::{AccountId, CivilDate, CommandId, Currency, Money, Sequence, Timestamp};

use super::holds::{HoldRow, HoldStatus, OpenHoldRow};
use super::rows::{AccountRow, AccountStatus, DayRow, OwnerRow};
use crate::Totals;
use crate::ports::{ReadRows, RowsFault};
use crate::table::{Row, behind_key, behind_prefix, damaged, get, scan};

/// A balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceView {
    /// The account.
    pub account: AccountId,
    /// Its kind, which says on which side the balance counts.
    pub kind: AccountKind,
    /// Its currency.
    pub currency: Currency,
    /// All debits posted, in minor units.
    pub debits_minor: i128,
    /// All credits posted.
    pub credits_minor: i128,
    /// Debits held and not posted.
    pub pending_debits_minor: i128,
    /// Credits held and not posted.
    pub pending_credits_minor: i128,
    /// The balance on the account's normal side.
    pub balance: Money,
    /// What may be taken at most: balance and overdraft less what is held; `None` without a limit.
    pub available: Option<Money>,
    /// The sequence that this reflects: every event up to it and none behind it.
    pub sequence: Sequence,
}

impl BalanceView {
    /// The balance of an account from its totals.
    pub(crate) fn of(
        account: AccountId,
        row: &AccountRow,
        posted: Totals,
        pending: Totals,
        sequence: Sequence,
    ) -> Self {
        let balance_minor = posted.balance_minor(row.kind);
        // What is held lowers what may be taken only on the side that takes: the one opposite to the normal side.
        let held_minor = match row.kind.normal_side() {
            event_schemas::Side::Debit => pending.credits_minor,
            event_schemas::Side::Credit => pending.debits_minor,
        };
        let available = match row.policy {
            BalancePolicy::Limited { overdraft_minor } => {
                Some(Money::new(balance_minor.saturating_add(overdraft_minor).saturating_sub(held_minor), row.currency))
            }
            BalancePolicy::Unlimited => None,
        };
        Self {
            account,
            kind: row.kind,
            currency: row.currency,
            debits_minor: posted.debits_minor,
            credits_minor: posted.credits_minor,
            pending_debits_minor: pending.debits_minor,
            pending_credits_minor: pending.credits_minor,
            balance: Money::new(balance_minor, row.currency),
            available,
            sequence,
        }
    }
}

/// An account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Its id.
    pub account: AccountId,
    /// Its readable name, or empty.
    pub code: Box<str>,
    /// Its kind.
    pub kind: AccountKind,
    /// Its currency.
    pub currency: Currency,
    /// Whose it is, or empty.
    pub owner: Box<str>,
    /// How far it may fall.
    pub policy: BalancePolicy,
    /// Whether it can be posted to.
    pub status: AccountStatus,
    /// The event that opened it.
    pub opened_sequence: Sequence,
    /// When that was recorded.
    pub opened_at: Timestamp,
    /// The last event that changed it, postings included.
    pub changed_sequence: Sequence,
    /// Its balance now.
    pub balance: BalanceView,
}

impl AccountView {
    fn of(account: AccountId, row: AccountRow, sequence: Sequence) -> Self {
        let balance = BalanceView::of(account, &row, row.posted, row.pending, sequence);
        Self {
            account,
            code: row.code,
            kind: row.kind,
            currency: row.currency,
            owner: row.owner,
            policy: row.policy,
            status: row.status,
            opened_sequence: row.opened_sequence,
            opened_at: row.opened_at,
            changed_sequence: row.changed_sequence,
            balance,
        }
    }
}

/// Some accounts, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountsPage {
    /// The accounts.
    pub accounts: Vec<AccountView>,
    /// What to hand in as `after` for the next page; `None` on the last.
    pub next: Option<AccountId>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// The account of this id, if there is one.
pub fn account(rows: &dyn ReadRows, account: AccountId) -> Result<Option<AccountView>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    Ok(get::<AccountRow>(rows, &account)?.map(|row| AccountView::of(account, row, sequence)))
}

/// At most `limit` accounts with ids above `after`, all or those of one owner.
pub fn accounts_page(
    rows: &dyn ReadRows,
    owner: Option<&str>,
    after: Option<AccountId>,
    limit: usize,
) -> Result<AccountsPage, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let mut accounts = Vec::new();
    // One more than the page, to know whether there is a next one.
    let wanted = limit.max(1).saturating_add(1);
    let more = |found: usize| if found < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    match owner {
        None => {
            let from = after.map(|after| behind_key(&AccountRow::key_bytes(&after))).unwrap_or_default();
            scan::<AccountRow>(rows, &from, None, false, &mut |account, row| {
                accounts.push(AccountView::of(account, row, sequence));
                more(accounts.len())
            })?;
        }
        Some(owner) => {
            let mut prefix = Vec::new();
            crate::table::put_key_text(&mut prefix, owner);
            let to = behind_prefix(&prefix);
            let from = after.map_or(prefix, |after| behind_key(&OwnerRow::key_bytes(&(owner.into(), after))));
            let mut ids = Vec::new();
            scan::<OwnerRow>(rows, &from, to.as_deref(), false, &mut |(_, account), _| {
                ids.push(account);
                more(ids.len())
            })?;
            for account in ids {
                let row = get::<AccountRow>(rows, &account)?.ok_or_else(|| {
                    damaged(AccountRow::TABLE, &format_args!("no account {account}, which has an owner"))
                })?;
                accounts.push(AccountView::of(account, row, sequence));
            }
        }
    }
    let next = if accounts.len() == wanted {
        accounts.pop();
        accounts.last().map(|last| last.account)
    } else {
        None
    };
    Ok(AccountsPage { accounts, next, sequence })
}

/// The balance of an account as it stands; `None` if there is no such account.
pub fn balance_now(rows: &dyn ReadRows, account: AccountId) -> Result<Option<BalanceView>, RowsFault> {
    Ok(self::account(rows, account)?.map(|view| view.balance))
}

/// The balance of an account from the postings with effect on or before a date, as recorded by now; `None` if there is no such
/// account. Nothing held counts: a hold has no effective date.
pub fn balance_on_date(
    rows: &dyn ReadRows,
    account: AccountId,
    date: CivilDate,
) -> Result<Option<BalanceView>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let Some(row) = get::<AccountRow>(rows, &account)? else { return Ok(None) };
    let mut posted = Some(Totals::default());
    let from = DayRow::key_bytes(&(account, CivilDate::MIN));
    let to = behind_key(&DayRow::key_bytes(&(account, date)));
    scan::<DayRow>(rows, &from, Some(&to), false, &mut |_, day| {
        posted = posted.and_then(|posted| posted.sum(day.totals));
        if posted.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let posted = posted.ok_or_else(|| damaged(DayRow::TABLE, &format_args!("the days of {account} overflow")))?;
    Ok(Some(BalanceView::of(account, &row, posted, Totals::default(), sequence)))
}

/// A hold as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldView {
    /// Its id: that of the command that placed it.
    pub hold: CommandId,
    /// The account whose money is held.
    pub account: AccountId,
    /// How much was held to begin with.
    pub amount: Money,
    /// How much is held now; zero once it has ended.
    pub left: Money,
    /// How much was captured, fees included.
    pub captured: Money,
    /// Its deadline, if it has one.
    pub expires_at: Option<Timestamp>,
    /// The free text of the command that placed it.
    pub reference: Box<str>,
    /// What became of it.
    pub status: HoldStatus,
    /// The event that placed it.
    pub placed_sequence: Sequence,
    /// When that was recorded.
    pub placed_at: Timestamp,
    /// The last event that changed it.
    pub changed_sequence: Sequence,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

impl HoldView {
    fn of(hold: CommandId, row: HoldRow, sequence: Sequence) -> Self {
        Self {
            hold,
            account: row.account,
            amount: Money::new(row.amount_minor, row.currency),
            left: Money::new(row.left_minor, row.currency),
            captured: Money::new(row.captured_minor, row.currency),
            expires_at: row.expires_at,
            reference: row.reference,
            status: row.status,
            placed_sequence: row.placed_sequence,
            placed_at: row.placed_at,
            changed_sequence: row.changed_sequence,
            sequence,
        }
    }
}

/// Some open holds of an account, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldsPage {
    /// The account.
    pub account: AccountId,
    /// The holds.
    pub holds: Vec<HoldView>,
    /// What to hand in as `after` for the next page; `None` on the last.
    pub next: Option<CommandId>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// The hold of this id, open or ended, if there is one.
pub fn hold(rows: &dyn ReadRows, hold: CommandId) -> Result<Option<HoldView>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    Ok(get::<HoldRow>(rows, &hold)?.map(|row| HoldView::of(hold, row, sequence)))
}

/// At most `limit` open holds of an account with ids above `after`; `None` if there is no such account.
pub fn holds_page(
    rows: &dyn ReadRows,
    account: AccountId,
    after: Option<CommandId>,
    limit: usize,
) -> Result<Option<HoldsPage>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    if get::<AccountRow>(rows, &account)?.is_none() {
        return Ok(None);
    }
    let prefix = account.0.to_be_bytes();
    let to = behind_prefix(&prefix);
    let from = after.map_or(prefix.to_vec(), |after| behind_key(&OpenHoldRow::key_bytes(&(account, after))));
    // One more than the page, to know whether there is a next one.
    let limit = limit.max(1);
    let mut ids = Vec::new();
    scan::<OpenHoldRow>(rows, &from, to.as_deref(), false, &mut |(_, hold), _| {
        ids.push(hold);
        if ids.len() <= limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let mut holds = Vec::with_capacity(ids.len());
    for id in ids {
        let row = get::<HoldRow>(rows, &id)?
            .ok_or_else(|| damaged(HoldRow::TABLE, &format_args!("no hold {id}, which is open")))?;
        holds.push(HoldView::of(id, row, sequence));
    }
    let next = if more { holds.last().map(|last| last.hold) } else { None };
    Ok(Some(HoldsPage { account, holds, next, sequence }))
}
