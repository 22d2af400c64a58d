//! Limits: how much of a customer's money may leave in one transfer, in a day and in a month of the book's calendar.
//!
//! What counts is what leaves a liability account that has an owner, fees included, by transfer, withdrawal, transfer up to an
//! amount, or hold; per owner and currency, over all of the owner's accounts. A hold is charged when it is placed; captures use
//! what it was charged, and what it releases goes back to the windows it was charged to. A transfer between two liability
//! accounts of one owner does not count, since nothing leaves. Neither do acts of the house: entries of any postings, reversals
//! (which give nothing back either), and fees of top-ups.
//!
//! Where any limit applies, the day has to be known, even if only single transfers are limited: a charge is recorded under its
//! day, so that limits by day and month that are set later find it. Usage never runs backwards (see [`Used::when`]).
//!
//! A book without limits pays one comparison for each move of money.

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{AccountKind, Caps, PublishCalendar, SetLimits};
use event_schemas::event::{LimitCharged, LimitReleased};
use event_schemas::limits::LimitWindow;
use event_schemas::sabotage::{Switch, on};
use event_schemas::{AccountId, CommandId, EventBody, Rejection};

use super::Context;
use super::calendar::{day_at, start_of};
use super::settings::newer;
use crate::state::{Hold, Limits, State, Used};

pub(super) fn set(state: &State, set: &SetLimits) -> Result<EventBody, Rejection> {
    let caps = || set.caps.all().into_iter().flatten();
    if caps().any(|cap| cap <= 0) {
        return Err(Rejection::LimitNotPositive);
    }
    if caps().any(|cap| cap > AMOUNT_MAX_MINOR) {
        return Err(Rejection::AmountTooLarge);
    }
    let customer = event_schemas::CustomerId::from_owner(&set.owner);
    let applied = customer.and_then(|customer| state.limits(customer, set.currency)).map_or(0, |limits| limits.version);
    newer(set.version, applied)?;
    Ok(EventBody::LimitsSet(set.clone()))
}

/// Money that would leave an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    /// The account, which exists.
    pub(super) from: AccountId,
    /// Where it goes; `None` if that is open, as for a hold.
    pub(super) to: Option<AccountId>,
    /// The hold it would be set aside under.
    pub(super) hold: Option<CommandId>,
}

/// Limits as they stand on a day.
struct Standing<'a> {
    limits: &'a Limits,
    used: Used,
    calendar: &'a PublishCalendar,
}

impl Standing<'_> {
    fn windows(&self) -> [(LimitWindow, Option<i128>, i128); 3] {
        let [per_transfer, daily, monthly] = self.limits.caps.all();
        [
            (LimitWindow::PerTransfer, per_transfer, 0),
            (LimitWindow::Day, daily, self.used.day_minor),
            (LimitWindow::Month, monthly, self.used.month_minor),
        ]
    }

    /// Refuses what is above the first limit that it is above.
    fn check(&self, account: AccountId, required_minor: i128) -> Result<(), Rejection> {
        for (window, cap, used_minor) in self.windows() {
            if let Some(cap_minor) = cap
                && used_minor.saturating_add(required_minor) > cap_minor
                && !on(Switch::LimitIgnored)
            {
                let next = match window {
                    LimitWindow::PerTransfer => None,
                    LimitWindow::Day => event_schemas::CivilDate::from_days(self.used.on.days().saturating_add(1)),
                    LimitWindow::Month => self.used.on.next_month_start(),
                };
                let resets_at = next.and_then(|day| start_of(self.calendar, day));
                return Err(Rejection::LimitExceeded {
                    account,
                    window,
                    cap_minor,
                    used_minor,
                    required_minor,
                    resets_at,
                });
            }
        }
        Ok(())
    }
}

/// The limits that apply to money that leaves an account; `None` if none do.
fn standing<'a>(state: &'a State, context: Context<'_>, leaving: Leaving) -> Result<Option<Standing<'a>>, Rejection> {
    if !state.has_limits() {
        return Ok(None);
    }
    let customer_of = |id| {
        let account = state.account(id).filter(|account| account.kind == AccountKind::Liability)?;
        Some((state.customer(id)?, account.currency))
    };
    let Some((customer, currency)) = customer_of(leaving.from) else { return Ok(None) };
    if leaving.to.and_then(customer_of).is_some_and(|(receiver, _)| receiver == customer) {
        return Ok(None);
    }
    let Some(limits) = state.limits(customer, currency).filter(|limits| limits.caps != Caps::NONE) else {
        return Ok(None);
    };
    let calendar = state.calendar().ok_or(Rejection::CalendarMissing)?;
    let today = day_at(calendar, context.recorded_at).ok_or(Rejection::CalendarMissing)?;
    let used = limits.used.map_or_else(|| Used::nothing(today), |used| used.when(today));
    Ok(Some(Standing { limits, used, calendar }))
}

/// What has to be charged for an amount, or why it may not leave.
pub(super) fn charge(
    state: &State,
    context: Context<'_>,
    leaving: Leaving,
    amount_minor: i128,
) -> Result<Option<Box<EventBody>>, Rejection> {
    let Some(standing) = standing(state, context, leaving)? else { return Ok(None) };
    standing.check(leaving.from, amount_minor)?;
    let Standing { limits, used, .. } = standing;
    let currency = state.account(leaving.from).ok_or(Rejection::AccountNotFound { account: leaving.from })?.currency;
    Ok(Some(Box::new(EventBody::LimitCharged(LimitCharged {
        owner: limits.owner.clone(),
        currency,
        account: leaving.from,
        amount_minor,
        day: used.on,
        hold: leaving.hold,
        version: limits.version,
        caps: limits.caps,
        day_used_minor: used.day_minor.saturating_add(amount_minor),
        month_used_minor: used.month_minor.saturating_add(amount_minor),
    }))))
}

/// How much may leave at most, at least one minor unit; `None` without bound.
pub(super) fn headroom(state: &State, context: Context<'_>, leaving: Leaving) -> Result<Option<i128>, Rejection> {
    let Some(standing) = standing(state, context, leaving)? else { return Ok(None) };
    standing.check(leaving.from, 1)?;
    let left = |(_, cap, used): (_, Option<i128>, i128)| cap.map(|cap| cap.saturating_sub(used));
    Ok(standing.windows().into_iter().filter_map(left).min())
}

/// What goes back when a hold that was charged releases an amount.
pub(super) fn release(state: &State, id: CommandId, hold: &Hold, amount_minor: i128) -> Option<Box<EventBody>> {
    let day = state.charged_on(id).filter(|_| amount_minor > 0)?;
    let currency = state.account(hold.account)?.currency;
    let limits = state.limits(state.customer(hold.account)?, currency)?;
    let used = limits.used?.without(amount_minor, day);
    Some(Box::new(EventBody::LimitReleased(LimitReleased {
        owner: limits.owner.clone(),
        currency,
        hold: id,
        amount_minor,
        day,
        day_used_minor: used.day_minor,
        month_used_minor: used.month_minor,
    })))
}
