//! Holds: placed, captured, voided, expired. The state, the balance and the hold are looked at in one step (law 5).

use event_schemas::bounds::{HOLD_EXPIRES_AHEAD_MAX_DAYS, HOLDS_OPEN_MAX, TOTAL_MAX_MINOR};
use event_schemas::command::{CaptureHold, FeeKind, PlaceHold, VoidHold};
use event_schemas::event::{HoldCaptured, HoldExpired, HoldPlaced, HoldVoided};
use event_schemas::sabotage::{Switch, on};
use event_schemas::{CommandId, EventBody, Money, Posting, Postings, Rejection, Side, Timestamp};
use smallvec::{SmallVec, smallvec};

use super::fees::{Fee, fee};
use super::limits::{Leaving, charge, release};
use super::postings::{amount_rejection, check_accounts, check_amounts, check_funds, effective_date, two_sides};
use super::system::push_fee;
use super::{Before, Context, living};
use crate::state::{AccountStatus, Hold, State};

const DAY_US: i64 = 86_400_000_000;

pub(super) fn place(
    state: &State,
    context: Context<'_>,
    hold: CommandId,
    place: &PlaceHold,
    before: &mut Before,
) -> Result<EventBody, Rejection> {
    let (id, amount) = (place.account, place.amount);
    if let Some(rejection) = amount_rejection(amount.amount_minor) {
        return Err(rejection);
    }
    check_deadline(context, place.expires_at)?;
    let account = living(state, id)?;
    if account.status == AccountStatus::Frozen {
        return Err(Rejection::AccountFrozen { account: id });
    }
    if account.currency != amount.currency {
        return Err(Rejection::CurrencyMismatch { account: id, account_currency: account.currency });
    }
    if account.kind.normal_side() == Side::Debit {
        return Err(Rejection::HoldNotPossible { account: id });
    }
    if state.holds_open() >= HOLDS_OPEN_MAX {
        return Err(Rejection::TooManyHolds { limit: u64::try_from(HOLDS_OPEN_MAX).unwrap_or(u64::MAX) });
    }
    let required_minor = amount.amount_minor;
    before.limit = charge(state, context, Leaving { from: id, to: None, hold: Some(hold) }, required_minor)?;
    if let Some(available_minor) = account.available_minor()
        && required_minor > available_minor
    {
        return Err(Rejection::InsufficientFunds { account: id, available_minor, required_minor });
    }
    if account.debits_pending_minor.saturating_add(required_minor) > TOTAL_MAX_MINOR {
        return Err(Rejection::BalanceOverflow { account: id });
    }
    let PlaceHold { account, amount, expires_at, reference } = place.clone();
    Ok(EventBody::HoldPlaced(HoldPlaced { account, amount, expires_at, reference }))
}

fn check_deadline(context: Context<'_>, expires_at: Option<Timestamp>) -> Result<(), Rejection> {
    let after = context.recorded_at;
    let latest = Timestamp(after.0.saturating_add(HOLD_EXPIRES_AHEAD_MAX_DAYS.saturating_mul(DAY_US)));
    let latest = latest.min(Timestamp::MAX);
    match expires_at {
        Some(deadline) if deadline <= after || deadline > latest => Err(Rejection::ExpiryOutOfRange { after, latest }),
        _ => Ok(()),
    }
}

/// The hold, if it is open and its deadline has not come. The deadline counts although expiry is bounded per block and may
/// not have reached the hold yet.
fn open_hold<'a>(state: &'a State, context: Context<'_>, id: CommandId) -> Result<&'a Hold, Rejection> {
    let (found, expires_at) = match (state.hold(id), context.named) {
        (Some(hold), _) => (Some(hold), hold.expires_at),
        (None, Some(named)) if named.event.cause.verdict_of() == Some(id) => {
            let EventBody::HoldPlaced(placed) = &named.event.body else {
                return Err(Rejection::HoldNotFound { hold: id });
            };
            (None, placed.expires_at)
        }
        (None, _) => return Err(Rejection::HoldNotFound { hold: id }),
    };
    if let Some(expires_at) = expires_at.filter(|deadline| {
        *deadline < context.recorded_at || (*deadline == context.recorded_at && !on(Switch::CaptureAtDeadline))
    }) {
        return Err(Rejection::HoldExpired { hold: id, expires_at });
    }
    found.ok_or(Rejection::HoldNotOpen { hold: id })
}

pub(super) fn capture(
    state: &State,
    context: Context<'_>,
    capture: &CaptureHold,
    before: &mut Before,
) -> Result<EventBody, Rejection> {
    let amount = capture.amount;
    let Fee { money: fee, rule } = fee(state, FeeKind::Capture, amount, capture.fee_minor);
    let total = check_amounts(amount, fee)?;
    let effective_on = effective_date(state, context, capture.effective_on)?;
    let hold = open_hold(state, context, capture.hold)?;
    two_sides(hold.account, capture.to)?;
    // An amount of another currency can't be compared; the check of the postings tells of it.
    let same_currency = state.account(hold.account).is_some_and(|account| account.currency == amount.currency);
    let left_minor = hold.left_minor.saturating_sub(total.amount_minor);
    if same_currency && left_minor < 0 && !on(Switch::CaptureAboveHold) {
        let (left_minor, required_minor) = (hold.left_minor, total.amount_minor);
        return Err(Rejection::CaptureAboveHold { hold: capture.hold, left_minor, required_minor });
    }
    let mut postings: Postings = smallvec![Posting::debit(hold.account, total), Posting::credit(capture.to, amount)];
    push_fee(state, fee, &mut postings, &mut before.opens);
    check_accounts(state, &postings, &before.opens)?;
    check_funds(state, &postings, Some((hold.account, total.amount_minor)))?;
    let (released_minor, left_minor) = if capture.last { (left_minor, 0) } else { (0, left_minor) };
    before.limit = release(state, capture.hold, hold, released_minor);
    Ok(EventBody::HoldCaptured(HoldCaptured {
        hold: capture.hold,
        last: capture.last,
        fee_rule: rule,
        released_minor,
        left_minor,
        effective_on,
        effective_on_named: capture.effective_on.is_some(),
        reference: capture.reference.clone(),
        postings,
    }))
}

pub(super) fn void(
    state: &State,
    context: Context<'_>,
    void: &VoidHold,
    before: &mut Before,
) -> Result<EventBody, Rejection> {
    let hold = open_hold(state, context, void.hold)?;
    before.limit = release(state, void.hold, hold, hold.left_minor);
    let released = held(state, hold).ok_or(Rejection::AccountNotFound { account: hold.account })?;
    Ok(EventBody::HoldVoided(HoldVoided {
        hold: void.hold,
        account: hold.account,
        released,
        reason: void.reason.clone(),
    }))
}

/// What is left of a hold, in the currency of its account.
fn held(state: &State, hold: &Hold) -> Option<Money> {
    state.account(hold.account).map(|account| Money::new(hold.left_minor, account.currency))
}

/// The events of one hold that expires: what goes back to a customer's limits, if it was charged to them, and the expiry. They
/// belong together, in one block.
pub type Expiry = SmallVec<[EventBody; 2]>;

/// The next hold that expires at this time, in the order of deadline and id; `None` if none is due.
pub fn next_expiry(state: &State, recorded_at: Timestamp) -> Option<Expiry> {
    let (expires_at, id) = state.next_deadline().filter(|(deadline, _)| *deadline <= recorded_at)?;
    let hold = state.hold(id)?;
    let (account, released) = (hold.account, held(state, hold)?);
    let limit = release(state, id, hold, hold.left_minor).map(|limit| *limit);
    let expired = EventBody::HoldExpired(HoldExpired { hold: id, account, released, expires_at });
    Some(limit.into_iter().chain([expired]).collect())
}
