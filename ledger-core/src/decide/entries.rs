//! Moves of money that become entries: top-ups, withdrawals, transfers, transfers up to an amount, and entries of the caller's
//! own making.
//!
//! A transfer up to an amount moves what is available of the sender and within its limits, at most that amount, without a fee. Nothing of it is
//! asked for but that anything moves: where limits or funds do not even allow one minor unit, it is refused, and one is what was
//! required.

use event_schemas::bounds::{POSTINGS_MAX, POSTINGS_MIN};
use event_schemas::command::{CashMove, FeeKind, PostEntry, PostTransfer, TransferUpTo};
use event_schemas::event::EntryPosted;
use event_schemas::{EntryKind, EventBody, Money, Posting, Postings, Rejection, Side};
use smallvec::smallvec;

use super::fees::{Fee, fee};
use super::limits::{Leaving, charge, headroom};
use super::postings::{
    amount_rejection, check_accounts, check_amounts, check_funds, check_postings, effective_date, two_sides,
};
use super::system::{SystemRole, push_fee, system_account};
use super::{Before, Context};
use crate::state::{Account, State};

pub(super) fn top_up(
    state: &State,
    context: Context<'_>,
    cash: &CashMove,
    before: &mut Before,
) -> Result<EventBody, Rejection> {
    let amount = cash.amount;
    let Fee { money: fee, rule } = fee(state, FeeKind::TopUp, amount, cash.fee_minor);
    check_amounts(amount, fee)?;
    let effective_on = effective_date(state, context, cash.effective_on)?;
    let clearing = system_account(state, SystemRole::Clearing, amount.currency, &mut before.opens);
    let mut postings: Postings = smallvec![Posting::debit(clearing, amount), Posting::credit(cash.account, amount)];
    if fee.amount_minor > 0 {
        let income = system_account(state, SystemRole::FeeIncome, amount.currency, &mut before.opens);
        postings.push(Posting::debit(cash.account, fee));
        postings.push(Posting::credit(income, fee));
    }
    two_sides(cash.account, clearing)?;
    check_postings(state, &postings, &before.opens)?;
    Ok(EventBody::EntryPosted(EntryPosted {
        kind: EntryKind::TopUp,
        fee_rule: rule,
        at_most_minor: None,
        effective_on,
        effective_on_named: cash.effective_on.is_some(),
        reference: cash.reference.clone(),
        postings,
    }))
}

pub(super) fn withdraw(
    state: &State,
    context: Context<'_>,
    cash: &CashMove,
    before: &mut Before,
) -> Result<EventBody, Rejection> {
    let amount = cash.amount;
    let Fee { money: fee, rule } = fee(state, FeeKind::Withdrawal, amount, cash.fee_minor);
    let total = check_amounts(amount, fee)?;
    let effective_on = effective_date(state, context, cash.effective_on)?;
    let clearing = system_account(state, SystemRole::Clearing, amount.currency, &mut before.opens);
    let mut postings: Postings = smallvec![Posting::debit(cash.account, total), Posting::credit(clearing, amount)];
    push_fee(state, fee, &mut postings, &mut before.opens);
    two_sides(cash.account, clearing)?;
    leave(state, context, &postings, before)?;
    Ok(EventBody::EntryPosted(EntryPosted {
        kind: EntryKind::Withdrawal,
        fee_rule: rule,
        at_most_minor: None,
        effective_on,
        effective_on_named: cash.effective_on.is_some(),
        reference: cash.reference.clone(),
        postings,
    }))
}

pub(super) fn post_transfer(
    state: &State,
    context: Context<'_>,
    transfer: &PostTransfer,
    before: &mut Before,
) -> Result<EventBody, Rejection> {
    let amount = transfer.amount;
    let Fee { money: fee, rule } = fee(state, FeeKind::Transfer, amount, transfer.fee_minor);
    let total = check_amounts(amount, fee)?;
    let effective_on = effective_date(state, context, transfer.effective_on)?;
    two_sides(transfer.from, transfer.to)?;
    let mut postings: Postings = smallvec![Posting::debit(transfer.from, total), Posting::credit(transfer.to, amount)];
    push_fee(state, fee, &mut postings, &mut before.opens);
    leave(state, context, &postings, before)?;
    Ok(EventBody::EntryPosted(EntryPosted {
        kind: EntryKind::Transfer,
        fee_rule: rule,
        at_most_minor: None,
        effective_on,
        effective_on_named: transfer.effective_on.is_some(),
        reference: transfer.reference.clone(),
        postings,
    }))
}

pub(super) fn transfer_up_to(
    state: &State,
    context: Context<'_>,
    transfer: &TransferUpTo,
    before: &mut Before,
) -> Result<EventBody, Rejection> {
    let (from, to, at_most) = (transfer.from, transfer.to, transfer.at_most);
    amount_rejection(at_most.amount_minor).map_or(Ok(()), Err)?;
    let effective_on = effective_date(state, context, transfer.effective_on)?;
    two_sides(from, to)?;
    check_accounts(state, &[Posting::debit(from, at_most), Posting::credit(to, at_most)], &[])?;
    let allowed_minor = headroom(state, context, Leaving { from, to: Some(to), hold: None })?;
    let available_minor = state
        .account(from)
        .filter(|account| account.kind.normal_side() == Side::Credit)
        .and_then(Account::available_minor);
    if let Some(available_minor) = available_minor.filter(|available| *available <= 0) {
        return Err(Rejection::InsufficientFunds { account: from, available_minor, required_minor: 1 });
    }
    let bounds = [Some(at_most.amount_minor), allowed_minor, available_minor];
    let moved_minor = bounds.into_iter().flatten().min().unwrap_or(0);
    let moved = Money::new(moved_minor, at_most.currency);
    let postings: Postings = smallvec![Posting::debit(from, moved), Posting::credit(to, moved)];
    leave(state, context, &postings, before)?;
    Ok(EventBody::EntryPosted(EntryPosted {
        kind: EntryKind::TransferUpTo,
        fee_rule: None,
        at_most_minor: Some(at_most.amount_minor),
        effective_on,
        effective_on_named: transfer.effective_on.is_some(),
        reference: transfer.reference.clone(),
        postings,
    }))
}

/// Checks the postings of money that leaves the account of the first one for that of the second, limits between accounts and
/// funds.
fn leave(state: &State, context: Context<'_>, postings: &[Posting], before: &mut Before) -> Result<(), Rejection> {
    check_accounts(state, postings, &before.opens)?;
    if let [from, to, ..] = postings {
        let leaving = Leaving { from: from.account, to: Some(to.account), hold: None };
        before.limit = charge(state, context, leaving, from.money.amount_minor)?;
    }
    check_funds(state, postings, None)
}

pub(super) fn post_entry(state: &State, context: Context<'_>, entry: &PostEntry) -> Result<EventBody, Rejection> {
    let count = entry.postings.len();
    if !(POSTINGS_MIN..=POSTINGS_MAX).contains(&count) {
        return Err(Rejection::PostingsOutOfBounds { count: u32::try_from(count).unwrap_or(u32::MAX) });
    }
    let worst = entry
        .postings
        .iter()
        .filter_map(|posting| amount_rejection(posting.money.amount_minor))
        .min_by_key(Rejection::number);
    if let Some(rejection) = worst {
        return Err(rejection);
    }
    let effective_on = effective_date(state, context, entry.effective_on)?;
    check_postings(state, &entry.postings, &[])?;
    Ok(EventBody::EntryPosted(EntryPosted {
        kind: EntryKind::General,
        fee_rule: None,
        at_most_minor: None,
        effective_on,
        effective_on_named: entry.effective_on.is_some(),
        reference: entry.reference.clone(),
        postings: entry.postings.clone(),
    }))
}
