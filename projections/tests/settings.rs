//! The settings of the book: the newest fact of each counts, and what was refused is none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{START, currency, day, journal, noise, project, verdict};
use event_schemas::event::CommandRejected;
use event_schemas::fees::FeeKind;
use event_schemas::records::ClosePeriod;
use event_schemas::{CommandBody, Event, EventBody, Rejection, Sequence, Timestamp};
use projections::memory::MemoryRows;
use projections::settings::{calendar, closed_period, fee_rules};

fn rule(kind: FeeKind, code: &str, version: u64, max_minor: Option<i128>) -> event_schemas::fees::SetFeeRule {
    event_schemas::fees::SetFeeRule {
        kind,
        currency: currency(code),
        version,
        fixed_minor: 25,
        rate_ppm: 2_500,
        min_minor: 50,
        max_minor,
    }
}

fn fee(kind: FeeKind, code: &str, version: u64, max_minor: Option<i128>) -> Event {
    verdict(1, EventBody::FeeRuleSet(rule(kind, code, version, max_minor)))
}

fn published(version: u64, zone: &str, days: i64) -> Event {
    let starts = (0..=days).map(|day| Timestamp(START + day * 86_400_000_000)).collect();
    verdict(
        2,
        EventBody::CalendarPublished(event_schemas::limits::PublishCalendar {
            version,
            zone: zone.into(),
            tz_version: "2026b".into(),
            first_day: day(0),
            starts,
        }),
    )
}

fn close(offset: i32) -> ClosePeriod {
    ClosePeriod { through: day(offset), reason: "month end".into() }
}

fn refused(command: CommandBody) -> Event {
    let rejection = Rejection::VersionNotNewer { applied: 1 };
    verdict(9, EventBody::CommandRejected(CommandRejected { command, rejection }))
}

#[test]
fn nothing_is_set_to_begin_with() {
    let rows = MemoryRows::new();
    assert!(fee_rules(&rows).unwrap().rules.is_empty());
    assert_eq!(calendar(&rows).unwrap().set, None);
    assert_eq!(closed_period(&rows).unwrap().set, None);
    let rows = project(&journal(&[(0, vec![noise()])]));
    assert_eq!(calendar(&rows).unwrap().sequence, Sequence(1));
}

#[test]
fn the_newest_of_each_counts() {
    let rows = project(&journal(&[
        (
            0,
            vec![
                fee(FeeKind::Transfer, "EUR", 1, Some(100)),
                fee(FeeKind::Transfer, "CHF", 7, None),
                fee(FeeKind::TopUp, "EUR", 1, Some(0)),
                published(3, "UTC", 2),
                verdict(3, EventBody::PeriodClosed(close(-9))),
            ],
        ),
        (
            5,
            vec![
                fee(FeeKind::Transfer, "EUR", 2, None),
                published(4, "Europe/Berlin", 400),
                verdict(3, EventBody::PeriodClosed(close(-1))),
                refused(CommandBody::SetFeeRule(rule(FeeKind::Capture, "EUR", 1, None))),
                refused(CommandBody::ClosePeriod(close(8))),
            ],
        ),
    ]));
    let rules = fee_rules(&rows).unwrap();
    assert_eq!(rules.sequence, Sequence(10));
    let shown: Vec<_> = rules
        .rules
        .iter()
        .map(|(kind, currency, rule)| (kind.name(), currency.code(), rule.version, rule.max_minor, rule.set_sequence.0))
        .collect();
    let expected = [("top_up", "EUR", 1, Some(0), 3), ("transfer", "CHF", 7, None, 2), ("transfer", "EUR", 2, None, 6)];
    assert_eq!(shown, expected);
    let one = &rules.rules[0].2;
    assert_eq!((one.fixed_minor, one.rate_ppm, one.min_minor, one.set_at), (25, 2_500, 50, Timestamp(START)));

    let found = calendar(&rows).unwrap().set.unwrap();
    assert_eq!((found.version, &*found.zone, &*found.tz_version, found.days), (4, "Europe/Berlin", "2026b", 400));
    assert_eq!((found.first_day, found.covers_from), (day(0), Timestamp(START)));
    assert_eq!(found.covers_until, Timestamp(START + 400 * 86_400_000_000));
    assert_eq!((found.published_sequence, found.published_at), (Sequence(7), Timestamp(START + 5)));

    let period = closed_period(&rows).unwrap().set.unwrap();
    assert_eq!((period.closed_through, period.closed_sequence), (day(-1), Sequence(8)));
    assert_eq!(period.closed_at, Timestamp(START + 5));
}
