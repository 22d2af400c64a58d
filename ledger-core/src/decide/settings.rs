//! Settings of the book that decisions look at. A setting is a fact with a version; one that is not newer than the one in
//! force is refused, so that order and duplicates take care of themselves.
//!
//! A period is closed by the date of recording in UTC: its last day must lie before that. It is not the day of the book's
//! calendar: another calendar may be published at any time, and today must never move into a closed period.

use event_schemas::bounds::{AMOUNT_MAX_MINOR, FEE_RATE_MAX_PPM};
use event_schemas::command::{ClosePeriod, SetFeeRule, SetNotificationPreferences};
use event_schemas::{EventBody, Rejection};

use super::Context;
use crate::state::State;

pub(super) fn set_fee_rule(state: &State, rule: &SetFeeRule) -> Result<EventBody, Rejection> {
    let least = [rule.fixed_minor, rule.min_minor, rule.max_minor.unwrap_or(0)].into_iter().min().unwrap_or(0);
    if least < 0 || rule.rate_ppm > FEE_RATE_MAX_PPM || rule.max_minor.is_some_and(|max| rule.min_minor > max) {
        return Err(Rejection::FeeRuleInvalid);
    }
    let most = [rule.fixed_minor, rule.min_minor, rule.max_minor.unwrap_or(0)].into_iter().max().unwrap_or(0);
    if most > AMOUNT_MAX_MINOR {
        return Err(Rejection::AmountTooLarge);
    }
    let applied = state.fee_rule(rule.kind, rule.currency).map_or(0, |rule| rule.version);
    newer(rule.version, applied)?;
    Ok(EventBody::FeeRuleSet(rule.clone()))
}

pub(super) fn close_period(state: &State, context: Context<'_>, close: &ClosePeriod) -> Result<EventBody, Rejection> {
    if let Some(through) = state.closed_through().filter(|through| close.through <= *through) {
        return Err(Rejection::PeriodClosed { through });
    }
    let today = context.recorded_at.date_utc();
    if close.through >= today {
        return Err(Rejection::PeriodNotOver { today });
    }
    Ok(EventBody::PeriodClosed(close.clone()))
}

pub(super) fn set_preferences(state: &State, preferences: &SetNotificationPreferences) -> Result<EventBody, Rejection> {
    newer(preferences.version, state.preferences_version(&preferences.owner))?;
    Ok(EventBody::NotificationPreferencesSet(preferences.clone()))
}

/// A version must be above the one applied last, zero if there was none.
pub(super) const fn newer(version: u64, applied: u64) -> Result<(), Rejection> {
    if version > applied { Ok(()) } else { Err(Rejection::VersionNotNewer { applied }) }
}
