//! What holds of the parts of any move of money: amounts, dates, accounts, balance, funds and totals.

use event_schemas::bounds::{AMOUNT_MAX_MINOR, EFFECTIVE_AHEAD_MAX_DAYS, EFFECTIVE_EARLIEST_DAYS, TOTAL_MAX_MINOR};
use event_schemas::command::OpenAccount;
use event_schemas::sabotage::{Switch, on};
use event_schemas::{AccountId, CivilDate, Money, Posting, Rejection, Side};
use smallvec::SmallVec;

use super::Context;
use crate::state::{Account, AccountStatus, State};

pub(super) fn two_sides(one: AccountId, other: AccountId) -> Result<(), Rejection> {
    if one == other { Err(Rejection::SameAccount { account: one }) } else { Ok(()) }
}

pub(super) const fn amount_rejection(amount_minor: i128) -> Option<Rejection> {
    if amount_minor <= 0 {
        return Some(Rejection::AmountNotPositive);
    }
    if amount_minor > AMOUNT_MAX_MINOR {
        return Some(Rejection::AmountTooLarge);
    }
    None
}

/// Checks amount and fee, and gives their sum.
pub(super) fn check_amounts(amount: Money, fee: Money) -> Result<Money, Rejection> {
    if amount.amount_minor <= 0 || fee.amount_minor < 0 {
        return Err(Rejection::AmountNotPositive);
    }
    let total_minor = amount.amount_minor.checked_add(fee.amount_minor).filter(|total| *total <= AMOUNT_MAX_MINOR);
    Ok(Money::new(total_minor.ok_or(Rejection::AmountTooLarge)?, amount.currency))
}

/// The date that a move counts for: the one named, or the date of recording in UTC. A closed period has no more dates to
/// offer. Today is never in one: a period is closed when it is over, and time does not run backwards.
pub(super) fn effective_date(
    state: &State,
    context: Context<'_>,
    named: Option<CivilDate>,
) -> Result<CivilDate, Rejection> {
    let today = context.recorded_at.date_utc();
    let Some(date) = named else { return Ok(today) };
    let earliest = CivilDate::from_days(EFFECTIVE_EARLIEST_DAYS).unwrap_or(CivilDate::MIN);
    let latest = CivilDate::from_days(today.days().saturating_add(EFFECTIVE_AHEAD_MAX_DAYS)).unwrap_or(CivilDate::MAX);
    if !(earliest..=latest).contains(&date) {
        return Err(Rejection::EffectiveDateOutOfRange { earliest, latest });
    }
    match state.closed_through() {
        Some(through) if date <= through && !on(Switch::PeriodIgnored) => Err(Rejection::PeriodClosed { through }),
        _ => Ok(date),
    }
}

/// Debits and credits of one account, or of one currency, within an entry.
struct Sums<K> {
    key: K,
    debits_minor: i128,
    credits_minor: i128,
}

fn sum_by<K: PartialEq>(postings: &[Posting], key: impl Fn(&Posting) -> K) -> SmallVec<[Sums<K>; 4]> {
    let mut sums: SmallVec<[Sums<K>; 4]> = SmallVec::new();
    for posting in postings {
        let of = key(posting);
        let place = sums.iter().position(|sum| sum.key == of).unwrap_or_else(|| {
            sums.push(Sums { key: key(posting), debits_minor: 0, credits_minor: 0 });
            sums.len().saturating_sub(1)
        });
        if let Some(sum) = sums.get_mut(place) {
            // At most 1,000 postings of at most 10^24: far from the end of an i128.
            match posting.side {
                Side::Debit => sum.debits_minor = sum.debits_minor.saturating_add(posting.money.amount_minor),
                Side::Credit => sum.credits_minor = sum.credits_minor.saturating_add(posting.money.amount_minor),
            }
        }
    }
    sums
}

/// Checks accounts, balance per currency, funds and totals of an entry whose amounts are in bounds.
pub(super) fn check_postings(state: &State, postings: &[Posting], opens: &[OpenAccount]) -> Result<(), Rejection> {
    check_accounts(state, postings, opens)?;
    check_funds(state, postings, None)
}

/// Checks that accounts are there and open, and that the postings balance in each currency.
pub(super) fn check_accounts(state: &State, postings: &[Posting], opens: &[OpenAccount]) -> Result<(), Rejection> {
    let mut worst: Option<Rejection> = None;
    for posting in postings {
        if let Some(rejection) = account_rejection(state, posting, opens)
            && worst.as_ref().is_none_or(|worst| rejection.number() < worst.number())
        {
            worst = Some(rejection);
        }
    }
    if let Some(rejection) = worst {
        return Err(rejection);
    }
    for sum in sum_by(postings, |posting| posting.money.currency) {
        if sum.debits_minor != sum.credits_minor && !on(Switch::UnbalancedAccepted) {
            return Err(Rejection::EntryUnbalanced {
                currency: sum.key,
                debits_minor: sum.debits_minor,
                credits_minor: sum.credits_minor,
            });
        }
    }
    Ok(())
}

/// Checks funds and totals. What is taken from a hold was found available when it was placed, so it is not asked for again.
pub(super) fn check_funds(
    state: &State,
    postings: &[Posting],
    held: Option<(AccountId, i128)>,
) -> Result<(), Rejection> {
    let sums = sum_by(postings, |posting| posting.account);
    for sum in &sums {
        if let Some(account) = state.account(sum.key) {
            let held_minor = held.map_or(0, |(id, minor)| if id == sum.key { minor } else { 0 });
            check_funds_of(account, sum, held_minor)?;
        }
    }
    for sum in &sums {
        if let Some(account) = state.account(sum.key) {
            check_totals(account, sum)?;
        }
    }
    Ok(())
}

fn account_rejection(state: &State, posting: &Posting, opens: &[OpenAccount]) -> Option<Rejection> {
    let id = posting.account;
    let Some(account) = state.account(id) else {
        // One that this very command opens is open, and was made for the currency.
        let opening = opens.iter().any(|open| open.account == id);
        return if opening { None } else { Some(Rejection::AccountNotFound { account: id }) };
    };
    match account.status {
        AccountStatus::Closed => return Some(Rejection::AccountClosed { account: id }),
        AccountStatus::Frozen if !on(Switch::FreezeIgnored) => return Some(Rejection::AccountFrozen { account: id }),
        AccountStatus::Frozen | AccountStatus::Open => {}
    }
    if account.currency == posting.money.currency {
        return None;
    }
    Some(Rejection::CurrencyMismatch { account: id, account_currency: account.currency })
}

/// An entry that lowers an account's balance may take what is available and no more. One that raises it always may, even
/// if the account is below its floor.
fn check_funds_of(account: &Account, sum: &Sums<AccountId>, held_minor: i128) -> Result<(), Rejection> {
    let required_minor = match account.kind.normal_side() {
        Side::Debit => sum.credits_minor.saturating_sub(sum.debits_minor),
        Side::Credit => sum.debits_minor.saturating_sub(sum.credits_minor),
    }
    .saturating_sub(held_minor);
    match account.available_minor() {
        Some(available_minor)
            if required_minor > 0 && required_minor > available_minor && !on(Switch::FundsIgnored) =>
        {
            Err(Rejection::InsufficientFunds { account: account.id, available_minor, required_minor })
        }
        _ => Ok(()),
    }
}

fn check_totals(account: &Account, sum: &Sums<AccountId>) -> Result<(), Rejection> {
    let fits = |total: i128, add: i128| total.checked_add(add).is_some_and(|total| total <= TOTAL_MAX_MINOR);
    if fits(account.debits_posted_minor, sum.debits_minor) && fits(account.credits_posted_minor, sum.credits_minor) {
        Ok(())
    } else {
        Err(Rejection::BalanceOverflow { account: account.id })
    }
}
