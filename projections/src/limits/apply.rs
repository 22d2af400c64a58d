//! What an event changes in the limits.

use event_schemas::limits::{LimitCharged, LimitReleased, PublishCalendar, SetLimits};
use event_schemas::{CivilDate, Event, EventBody, Sequence};

use super::rows::{CALENDAR, CUSTOMERS, CalendarRow, CustomerRow, DAYS, DayRow, Used};
use crate::cache::Cached;
use crate::ports::{ReadRows, RowChanges, Table};
use crate::projection::{ApplyFault, Place, Projection};
use crate::table::{Row, scan};

/// The projection of limits.
#[derive(Debug, Default)]
pub struct Limits {
    customers: Cached<CustomerRow>,
    calendar: Cached<CalendarRow>,
    /// The days of the newest calendar, until they are handed over.
    days: Option<PublishCalendar>,
}

fn contradiction<T>(what: String) -> Result<T, ApplyFault> {
    Err(ApplyFault::Contradiction(what))
}

impl Limits {
    fn set(&mut self, rows: &dyn ReadRows, sequence: Sequence, set: &SetLimits) -> Result<(), ApplyFault> {
        let key = (set.owner.clone(), set.currency);
        let before = self.customers.get(rows, &key)?;
        if let Some(before) = before.filter(|before| before.version >= set.version) {
            let applied = before.version;
            return contradiction(format!("limits of version {} after those of version {applied}", set.version));
        }
        let used = before.and_then(|before| before.used);
        let row = CustomerRow {
            version: set.version,
            caps: set.caps,
            used,
            set_sequence: sequence,
            changed_sequence: sequence,
        };
        Ok(self.customers.put(rows, &key, row)?)
    }

    fn charged(&mut self, rows: &dyn ReadRows, sequence: Sequence, charged: &LimitCharged) -> Result<(), ApplyFault> {
        let row = self.customers.get_mut(rows, &(charged.owner.clone(), charged.currency))?;
        let Some(row) = row.filter(|row| row.version == charged.version && row.caps == charged.caps) else {
            return contradiction(format!("a charge to limits of version {}, which are not in force", charged.version));
        };
        let (day_minor, month_minor) = (charged.day_used_minor, charged.month_used_minor);
        // Usage goes on from what it was, whatever limits were set meanwhile, and never runs backwards.
        let before = row.used.unwrap_or(Used { on: charged.day, day_minor: 0, month_minor: 0 });
        if charged.day < before.on {
            return contradiction(format!("a charge for {} after one for {}", charged.day, before.on));
        }
        let of_day = if before.on == charged.day { before.day_minor } else { 0 };
        let same_month = before.on.month_start() == charged.day.month_start();
        let of_month = if same_month { before.month_minor } else { 0 };
        let expected = [of_day, of_month].map(|used_minor| used_minor.checked_add(charged.amount_minor));
        if expected != [Some(day_minor), Some(month_minor)] {
            let (amount, after) = (charged.amount_minor, [day_minor, month_minor]);
            return contradiction(format!(
                "a charge of {amount} after which {after:?} is used of day and month, and {:?} before it",
                [of_day, of_month]
            ));
        }
        let windows = [charged.amount_minor, day_minor, month_minor];
        let above = windows.into_iter().zip(row.caps.all()).find(|(used, cap)| cap.is_some_and(|cap| *used > cap));
        if let Some((used_minor, _)) = above {
            return contradiction(format!("a charge that brings a limit to {used_minor}, above its cap"));
        }
        if charged.amount_minor <= 0 {
            return contradiction(format!("a charge of {}", charged.amount_minor));
        }
        row.used = Some(Used { on: charged.day, day_minor, month_minor });
        row.changed_sequence = sequence;
        Ok(())
    }

    fn released(
        &mut self,
        rows: &dyn ReadRows,
        sequence: Sequence,
        released: &LimitReleased,
    ) -> Result<(), ApplyFault> {
        let hold = released.hold;
        let row = self.customers.get_mut(rows, &(released.owner.clone(), released.currency))?;
        let Some((row, before)) = row.and_then(|row| row.used.map(|used| (row, used))) else {
            return contradiction(format!("hold {hold} gives back what nobody was charged"));
        };
        let given = |same: bool| if same { released.amount_minor } else { 0 };
        let expected = (
            before.day_minor.checked_sub(given(before.on == released.day)),
            before.month_minor.checked_sub(given(before.on.month_start() == released.day.month_start())),
        );
        let (day_minor, month_minor) = (released.day_used_minor, released.month_used_minor);
        let goes_on = expected == (Some(day_minor), Some(month_minor));
        if !goes_on || day_minor < 0 || month_minor < 0 || released.amount_minor <= 0 {
            let after = [day_minor, month_minor];
            return contradiction(format!("after hold {hold}, {after:?} is used of day and month, not {expected:?}"));
        }
        row.used = Some(Used { day_minor, month_minor, ..before });
        row.changed_sequence = sequence;
        Ok(())
    }

    fn published(
        &mut self,
        rows: &dyn ReadRows,
        sequence: Sequence,
        calendar: &PublishCalendar,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        let before = self.calendar.get(rows, &())?.map(|before| before.version);
        if let Some(applied) = before.filter(|applied| *applied >= calendar.version) {
            return contradiction(format!("a calendar of version {} after version {applied}", calendar.version));
        }
        let days = calendar.starts.len().saturating_sub(1) as u64;
        if calendar.starts.windows(2).any(|pair| matches!(pair, [one, next] if one >= next)) || days == 0 {
            return contradiction("a calendar whose days do not follow each other".into());
        }
        // The days before are those handed over and those that are not yet.
        if let Some(unwritten) = self.days.take() {
            drop_days(&unwritten, changes);
        }
        scan::<DayRow>(rows, &[], None, false, &mut |starts_at, _| {
            changes.rows.push((&DAYS, DayRow::key_bytes(&starts_at), None));
            std::ops::ControlFlow::Continue(())
        })?;
        for (start, place) in calendar.starts.iter().zip(0_u64..) {
            let day = i32::try_from(place).ok().and_then(|after| calendar.first_day.days().checked_add(after));
            let Some(day) = day.and_then(CivilDate::from_days) else {
                return contradiction("a calendar of days that there are not".into());
            };
            let row = DayRow { day, ends: place == days };
            changes.rows.push((&DAYS, DayRow::key_bytes(start), Some(row.value_bytes())));
        }
        self.days = Some(calendar.clone());
        let row = CalendarRow { version: calendar.version, published_sequence: sequence };
        Ok(self.calendar.put(rows, &(), row)?)
    }
}

fn drop_days(calendar: &PublishCalendar, changes: &mut RowChanges) {
    changes.rows.extend(calendar.starts.iter().map(|start| (&DAYS, DayRow::key_bytes(start), None)));
}

impl Projection for Limits {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&CUSTOMERS, &CALENDAR, &DAYS];
        TABLES
    }

    fn apply(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        event: &Event,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        let sequence = place.sequence;
        match &event.body {
            EventBody::LimitsSet(set) => self.set(rows, sequence, set),
            EventBody::LimitCharged(charged) => self.charged(rows, sequence, charged),
            EventBody::LimitReleased(released) => self.released(rows, sequence, released),
            EventBody::CalendarPublished(calendar) => self.published(rows, sequence, calendar, changes),
            EventBody::BookOpened(_)
            | EventBody::AccountOpened(_)
            | EventBody::AccountFrozen(_)
            | EventBody::AccountUnfrozen(_)
            | EventBody::AccountClosed(_)
            | EventBody::EntryPosted(_)
            | EventBody::EntryReversed(_)
            | EventBody::CommandRejected(_)
            | EventBody::StateDigest(_)
            | EventBody::ClockAccepted(_)
            | EventBody::HoldPlaced(_)
            | EventBody::HoldCaptured(_)
            | EventBody::HoldVoided(_)
            | EventBody::HoldExpired(_)
            | EventBody::FeeRuleSet(_)
            | EventBody::PeriodClosed(_)
            | EventBody::NotificationPreferencesSet(_)
            | EventBody::RateSheetPublished(_)
            | EventBody::ConversionPosted(_)
            | EventBody::JournalRestored(_)
            | EventBody::ControlRecorded(_)
            | EventBody::AccessLogged(_) => Ok(()),
        }
    }

    fn flush(&mut self, changes: &mut RowChanges) {
        self.days = None;
        self.customers.flush(changes);
        self.calendar.flush(changes);
    }

    fn pending(&self) -> usize {
        self.customers.pending() + self.calendar.pending()
    }
}
