//! The days of the book: they begin where the published calendar says, and nowhere else. Outside of it, nobody knows what day
//! it is.

use event_schemas::command::PublishCalendar;
use event_schemas::{CivilDate, EventBody, Rejection, Timestamp};

use super::settings::newer;
use crate::state::State;

const HOUR_US: i64 = 3_600_000_000;
/// How long a day may be, in hours: clocks are set by an hour or two, and a zone may change once by more.
const DAY_HOURS: std::ops::RangeInclusive<i64> = 20..=28;
/// How far from midnight in UTC the first day may begin, in hours.
const FIRST_HOURS: i64 = 18;

pub(super) fn publish(state: &State, calendar: &PublishCalendar) -> Result<EventBody, Rejection> {
    newer(calendar.version, state.calendar().map_or(0, |calendar| calendar.version))?;
    match wrong_place(calendar) {
        Some(place) => Err(Rejection::CalendarInvalid { place: u32::try_from(place).unwrap_or(u32::MAX) }),
        None => Ok(EventBody::CalendarPublished(calendar.clone())),
    }
}

/// The place of the first start that can't be; where there are too few for a day, that of the first one missing.
fn wrong_place(calendar: &PublishCalendar) -> Option<usize> {
    let midnight_us = i64::from(calendar.first_day.days()).saturating_mul(HOUR_US.saturating_mul(24));
    let Some(first) = calendar.starts.first() else { return Some(0) };
    if first.0.saturating_sub(midnight_us).saturating_abs() > HOUR_US.saturating_mul(FIRST_HOURS) {
        return Some(0);
    }
    let (shortest_us, longest_us) =
        (HOUR_US.saturating_mul(*DAY_HOURS.start()), HOUR_US.saturating_mul(*DAY_HOURS.end()));
    let pairs = calendar.starts.iter().zip(calendar.starts.iter().skip(1));
    for (place, (start, next)) in (1..).zip(pairs) {
        let long_us = next.0.saturating_sub(start.0);
        // Every start begins a day that there is, the one that ends the last day included.
        if !(shortest_us..=longest_us).contains(&long_us) || day_of(calendar, place).is_none() {
            return Some(place);
        }
    }
    (calendar.starts.len() < 2).then_some(1)
}

fn day_of(calendar: &PublishCalendar, place: usize) -> Option<CivilDate> {
    CivilDate::from_days(calendar.first_day.days().checked_add(i32::try_from(place).ok()?)?)
}

/// The day that a moment lies on; `None` outside the calendar.
pub(super) fn day_at(calendar: &PublishCalendar, at: Timestamp) -> Option<CivilDate> {
    let begun = calendar.starts.partition_point(|start| *start <= at);
    if begun >= calendar.starts.len() { None } else { day_of(calendar, begun.checked_sub(1)?) }
}

/// When a day begins; `None` if the calendar does not say.
pub(super) fn start_of(calendar: &PublishCalendar, day: CivilDate) -> Option<Timestamp> {
    let place = day.days().checked_sub(calendar.first_day.days())?;
    calendar.starts.get(usize::try_from(place).ok()?).copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Berlin in the week of the last Sunday of October 2026, when the clocks go back and Sunday lasts 25 hours.
    fn berlin() -> PublishCalendar {
        let starts = ["2026-10-23T22:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"];
        PublishCalendar {
            version: 1,
            zone: "Europe/Berlin".into(),
            tz_version: "2026b".into(),
            first_day: "2026-10-24".parse().unwrap(),
            starts: starts.iter().map(|start| start.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_moment_lies_on_the_day_that_began_last() {
        for (at, day) in [
            ("2026-10-23T21:59:59.999999Z", None),
            ("2026-10-23T22:00:00Z", Some("2026-10-24")),
            ("2026-10-24T21:59:59.999999Z", Some("2026-10-24")),
            ("2026-10-24T22:00:00Z", Some("2026-10-25")),
            ("2026-10-25T22:59:59.999999Z", Some("2026-10-25")),
            ("2026-10-25T23:00:00Z", Some("2026-10-26")),
            ("2026-10-26T22:59:59.999999Z", Some("2026-10-26")),
            ("2026-10-26T23:00:00Z", None),
        ] {
            let found = day_at(&berlin(), at.parse().unwrap()).map(|day| day.to_string());
            assert_eq!(found.as_deref(), day, "{at}");
        }
        assert_eq!(start_of(&berlin(), "2026-10-26".parse().unwrap()), Some(berlin().starts[2]));
        assert_eq!(start_of(&berlin(), "2026-10-27".parse().unwrap()), Some(berlin().starts[3]));
        for day in ["2026-10-23", "2026-10-28"] {
            assert_eq!(start_of(&berlin(), day.parse().unwrap()), None);
        }
    }

    #[test]
    fn the_first_start_that_is_wrong_is_named() {
        let with = |change: &dyn Fn(&mut PublishCalendar)| {
            let mut calendar = berlin();
            change(&mut calendar);
            wrong_place(&calendar)
        };
        let hours = |calendar: &mut PublishCalendar, place: usize, hours: i64| {
            calendar.starts[place].0 += hours * HOUR_US;
        };
        assert_eq!(with(&|_| ()), None);
        assert_eq!(with(&|calendar| calendar.starts.clear()), Some(0));
        assert_eq!(with(&|calendar| calendar.starts.truncate(1)), Some(1));
        assert_eq!(with(&|calendar| calendar.starts.truncate(2)), None);
        // 22:00 the evening before; midnight is two hours later.
        assert_eq!(with(&|calendar| calendar.starts.iter_mut().for_each(|start| start.0 -= 16 * HOUR_US)), None);
        assert_eq!(with(&|calendar| calendar.starts.iter_mut().for_each(|start| start.0 -= 16 * HOUR_US + 1)), Some(0));
        assert_eq!(with(&|calendar| calendar.starts.iter_mut().for_each(|start| start.0 += 20 * HOUR_US)), None);
        assert_eq!(with(&|calendar| calendar.starts.iter_mut().for_each(|start| start.0 += 20 * HOUR_US + 1)), Some(0));
        assert_eq!(with(&|calendar| hours(calendar, 3, 4)), None);
        assert_eq!(with(&|calendar| hours(calendar, 3, 5)), Some(3));
        assert_eq!(with(&|calendar| hours(calendar, 3, -4)), None);
        assert_eq!(with(&|calendar| hours(calendar, 3, -5)), Some(3));
        assert_eq!(with(&|calendar| calendar.starts[1] = calendar.starts[0]), Some(1));
        assert_eq!(with(&|calendar| calendar.starts.swap(1, 2)), Some(1));
        // A day of 29 hours, and one of 20 behind it.
        assert_eq!(with(&|calendar| hours(calendar, 1, 5)), Some(1));
        assert_eq!(with(&|calendar| calendar.first_day = CivilDate::MAX), Some(0));
    }
}
