//! What an event changes of the settings.

use event_schemas::event::{ClosePeriod, PublishCalendar, SetFeeRule};
use event_schemas::{Event, EventBody};

use super::rows::{CALENDAR, CalendarRow, FEE_RULES, FeeRuleRow, PERIOD, PeriodRow};
use crate::cache::Cached;
use crate::ports::{ReadRows, RowChanges, RowsFault, Table};
use crate::projection::{ApplyFault, Place, Projection};

/// The projection of the settings.
#[derive(Debug, Default)]
pub struct Settings {
    fee_rules: Cached<FeeRuleRow>,
    calendar: Cached<CalendarRow>,
    period: Cached<PeriodRow>,
}

impl Settings {
    fn fee_rule(&mut self, rows: &dyn ReadRows, place: Place, rule: &SetFeeRule) -> Result<(), RowsFault> {
        let row = FeeRuleRow {
            version: rule.version,
            fixed_minor: rule.fixed_minor,
            rate_ppm: rule.rate_ppm,
            min_minor: rule.min_minor,
            max_minor: rule.max_minor,
            set_sequence: place.sequence,
            set_at: place.recorded_at,
        };
        self.fee_rules.put(rows, &(rule.kind, rule.currency), row)
    }

    fn calendar(&mut self, rows: &dyn ReadRows, place: Place, calendar: &PublishCalendar) -> Result<(), ApplyFault> {
        let [first, .., last] = calendar.starts.as_slice() else {
            return Err(ApplyFault::Contradiction("a calendar without a day".into()));
        };
        let row = CalendarRow {
            version: calendar.version,
            zone: calendar.zone.clone(),
            tz_version: calendar.tz_version.clone(),
            first_day: calendar.first_day,
            days: calendar.starts.len() as u64 - 1,
            covers_from: *first,
            covers_until: *last,
            published_sequence: place.sequence,
            published_at: place.recorded_at,
        };
        Ok(self.calendar.put(rows, &(), row)?)
    }

    fn closed(&mut self, rows: &dyn ReadRows, place: Place, close: &ClosePeriod) -> Result<(), RowsFault> {
        let row =
            PeriodRow { closed_through: close.through, closed_sequence: place.sequence, closed_at: place.recorded_at };
        self.period.put(rows, &(), row)
    }
}

impl Projection for Settings {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&FEE_RULES, &CALENDAR, &PERIOD];
        TABLES
    }

    fn apply(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        event: &Event,
        _: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        match &event.body {
            EventBody::FeeRuleSet(rule) => Ok(self.fee_rule(rows, place, rule)?),
            EventBody::CalendarPublished(calendar) => self.calendar(rows, place, calendar),
            EventBody::PeriodClosed(close) => Ok(self.closed(rows, place, close)?),
            EventBody::BookOpened(_)
            | EventBody::AccountOpened(_)
            | EventBody::AccountFrozen(_)
            | EventBody::AccountUnfrozen(_)
            | EventBody::AccountClosed(_)
            | EventBody::EntryPosted(_)
            | EventBody::CommandRejected(_)
            | EventBody::StateDigest(_)
            | EventBody::ClockAccepted(_)
            | EventBody::HoldPlaced(_)
            | EventBody::HoldCaptured(_)
            | EventBody::HoldVoided(_)
            | EventBody::HoldExpired(_)
            | EventBody::EntryReversed(_)
            | EventBody::LimitsSet(_)
            | EventBody::LimitCharged(_)
            | EventBody::LimitReleased(_)
            | EventBody::NotificationPreferencesSet(_)
            | EventBody::RateSheetPublished(_)
            | EventBody::ConversionPosted(_)
            | EventBody::JournalRestored(_)
            | EventBody::ControlRecorded(_)
            | EventBody::AccessLogged(_) => Ok(()),
        }
    }

    fn flush(&mut self, changes: &mut RowChanges) {
        self.fee_rules.flush(changes);
        self.calendar.flush(changes);
        self.period.flush(changes);
    }

    fn pending(&self) -> usize {
        self.fee_rules.pending() + self.calendar.pending() + self.period.pending()
    }
}
