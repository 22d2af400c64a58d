//! Limits: headroom is what a naive count of charges leaves, on every day and whatever the cuts; and what contradicts stops.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod common;

use common::{START, currency, head, journal, noise, project, verdict};
use event_schemas::limits::{Caps, LimitCharged, LimitReleased, LimitWindow, PublishCalendar, SetLimits};
use event_schemas::{
    AccountId, Block, Cause, CivilDate, CommandId, Event, EventBody, PrincipalId, Sequence, Timestamp,
};
use projections::limits::{Headroom, headroom, headrooms};
use projections::memory::{MemoryFeed, MemoryRows};
use projections::ports::ReadRows;
use projections::{Runner, RunnerError, RunnerFault, digest, limits};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const DAY_US: i64 = 86_400_000_000;
const ANNA: &str = "client:anna";

/// The day that begins so many days after the start of all journals, 2026-01-01.
fn day(offset: i64) -> CivilDate {
    CivilDate::from_days((START / DAY_US + offset) as i32).unwrap()
}

fn consequence(command: u128, body: EventBody) -> Event {
    Event { cause: Cause::Consequence { command: CommandId(command), actor: PrincipalId(7) }, body }
}

fn calendar(version: u64, first: i64, days: i64) -> Event {
    let starts = (first..=first + days).map(|day| Timestamp(START + day * DAY_US)).collect();
    let (zone, tz_version) = ("UTC".into(), "2026b".into());
    let calendar = PublishCalendar { version, zone, tz_version, first_day: day(first), starts };
    verdict(1, EventBody::CalendarPublished(calendar))
}

fn caps(per_transfer: i128, daily: i128, monthly: i128) -> Caps {
    let cap = |minor: i128| (minor > 0).then_some(minor);
    Caps { per_transfer_minor: cap(per_transfer), daily_minor: cap(daily), monthly_minor: cap(monthly) }
}

fn set(owner: &str, code: &str, version: u64, caps: Caps) -> Event {
    verdict(2, EventBody::LimitsSet(SetLimits { owner: owner.into(), currency: currency(code), version, caps }))
}

fn charge(version: u64, caps: Caps, on: CivilDate, amount: i128, used: (i128, i128)) -> Event {
    let charged = LimitCharged {
        owner: ANNA.into(),
        currency: currency("EUR"),
        account: AccountId(1),
        amount_minor: amount,
        day: on,
        hold: None,
        version,
        caps,
        day_used_minor: used.0,
        month_used_minor: used.1,
    };
    consequence(3, EventBody::LimitCharged(charged))
}

fn release(on: CivilDate, amount: i128, used: (i128, i128)) -> Event {
    let released = LimitReleased {
        owner: ANNA.into(),
        currency: currency("EUR"),
        hold: CommandId(9),
        amount_minor: amount,
        day: on,
        day_used_minor: used.0,
        month_used_minor: used.1,
    };
    consequence(4, EventBody::LimitReleased(released))
}

fn of_anna(rows: &MemoryRows, at: i64) -> Headroom {
    headroom(rows, ANNA, currency("EUR"), Timestamp(at)).unwrap().unwrap()
}

#[test]
fn headroom_is_told_for_every_window_and_moment() {
    let caps = caps(500, 1_000, 1_500);
    // 800 on 2026-01-30, 400 on the 31st; the calendar knows January and February.
    let rows = project(&journal(&[
        (0, vec![noise(), calendar(1, 0, 59), set(ANNA, "EUR", 1, caps)]),
        (29 * DAY_US + 5, vec![charge(1, caps, day(29), 500, (500, 500)), charge(1, caps, day(29), 300, (800, 800))]),
        (DAY_US, vec![charge(1, caps, day(30), 400, (400, 1_200))]),
    ]));
    let noon = |day: i64| START + day * DAY_US + DAY_US / 2;
    let left = |at: i64| {
        let found = of_anna(&rows, at);
        (found.day, found.windows.map(|window| window.left_minor.unwrap()), found.left_minor.unwrap())
    };
    assert_eq!(left(noon(30)), (Some(day(30)), [500, 600, 300], 300));
    assert_eq!(left(noon(31)), (Some(day(31)), [500, 1_000, 1_500], 500), "a new month");
    // What was used before is not kept: a day before the last charge is taken for that of the charge.
    assert_eq!(left(noon(29)), left(noon(30)));
    assert_eq!(of_anna(&rows, noon(29)).windows, of_anna(&rows, noon(30)).windows);
    let now = of_anna(&rows, noon(30));
    assert_eq!((now.version, now.caps, now.sequence), (1, caps, Sequence(6)));
    let windows = now.windows.map(|window| (window.window, window.used_minor, window.resets_at));
    assert_eq!(
        windows,
        [
            (LimitWindow::PerTransfer, 0, None),
            (LimitWindow::Day, 400, Some(Timestamp(START + 31 * DAY_US))),
            (LimitWindow::Month, 1_200, Some(Timestamp(START + 31 * DAY_US)))
        ]
    );
    // The calendar ends with February: the day ends there, and of the month after it nothing is known.
    let last = of_anna(&rows, noon(58)).windows;
    assert_eq!(last[1].resets_at, Some(Timestamp(START + 59 * DAY_US)));
    assert_eq!(last[2].resets_at, Some(Timestamp(START + 59 * DAY_US)), "the last start begins another month");
    let beyond = of_anna(&rows, noon(59));
    assert_eq!((beyond.day, beyond.windows[1].used_minor, beyond.windows[1].resets_at), (None, 400, None));
    assert_eq!(headroom(&rows, "client:boris", currency("EUR"), Timestamp(START)).unwrap(), None);
}

#[test]
fn limits_are_replaced_taken_away_and_listed_by_currency() {
    let (tight, wide) = (caps(0, 100, 0), caps(0, 1_000, 0));
    let rows = project(&journal(&[
        (
            0,
            vec![
                calendar(1, 0, 40),
                set(ANNA, "EUR", 1, wide),
                set(ANNA, "CHF", 1, tight),
                set("client:b", "EUR", 1, tight),
            ],
        ),
        (
            5,
            vec![charge(1, wide, day(0), 600, (600, 600)), set(ANNA, "EUR", 2, tight), set(ANNA, "CHF", 2, Caps::NONE)],
        ),
    ]));
    let euro = of_anna(&rows, START + 9);
    assert_eq!((euro.version, euro.left_minor, euro.windows[1].used_minor), (2, Some(0), 600), "never below zero");
    let page = |after, limit| headrooms(&rows, ANNA, Timestamp(START + 9), after, limit).unwrap();
    let first = page(None, 1);
    assert_eq!(first.limits.iter().map(|one| one.currency.code().to_owned()).collect::<Vec<_>>(), ["CHF"]);
    assert_eq!((first.limits[0].left_minor, first.limits[0].caps), (None, Caps::NONE), "nothing is limited");
    let second = page(first.next, 1);
    assert_eq!((&second.limits[..], second.next), (&[euro][..], None));
    assert_eq!(page(None, 2).limits.len(), 2);
    assert_eq!((page(None, 2).next, page(None, 9).sequence), (None, Sequence(7)));
    assert!(headrooms(&rows, "client:", Timestamp(START), None, 9).unwrap().limits.is_empty());
}

#[test]
fn a_new_calendar_replaces_the_days_of_the_one_before() {
    // In one commit, and in one for each event: the days of version 1 are gone in both.
    let events = [set(ANNA, "EUR", 1, caps(0, 10, 0)), calendar(1, 0, 3), calendar(2, 10, 3), calendar(5, 20, 2)];
    let at_once = project(&journal(&[(0, events.to_vec())]));
    let one_by_one = MemoryRows::new();
    let blocks = journal(&events.map(|event| (0, vec![event])));
    for to in 1..=4 {
        let mut runner = Runner::new(MemoryFeed::new(blocks.clone()), &one_by_one, projections::all());
        runner.run_to(Sequence(to), &mut |_| {}).unwrap();
    }
    for rows in [&at_once, &one_by_one] {
        let days = common::show(rows, &limits::rows::DAYS, &["day", "ends"]);
        assert_eq!(days, "2026-01-21 | false\n2026-01-22 | false\n2026-01-23 | true\n");
        assert_eq!(of_anna(rows, START).day, None);
        assert_eq!(of_anna(rows, START + 21 * DAY_US).day, Some(day(21)));
        assert_eq!(common::show(rows, &limits::rows::CALENDAR, &["version", "published_sequence"]), "5 | 4\n");
    }
}

#[test]
fn a_calendar_that_goes_back_a_day_does_not_bring_back_usage() {
    // By the new calendar the moment of the charge is still 2026-01-01; usage stays that of the 2nd until the 3rd begins.
    let cap = caps(0, 1_000, 0);
    let moved = |version, by: i64| {
        let mut event = calendar(version, 0, 40);
        let EventBody::CalendarPublished(published) = &mut event.body else { panic!() };
        published.starts.iter_mut().for_each(|start| start.0 += by);
        event
    };
    let hour = DAY_US / 24;
    let rows = project(&journal(&[
        (0, vec![calendar(1, 0, 40), set(ANNA, "EUR", 1, cap)]),
        (DAY_US + hour, vec![charge(1, cap, day(1), 300, (300, 300)), moved(2, 5 * hour)]),
    ]));
    let seen = |at: i64| (of_anna(&rows, at).day, of_anna(&rows, at).windows[1]);
    let (today, window) = seen(START + DAY_US + 2 * hour);
    assert_eq!((today, window.used_minor), (Some(day(1)), 300));
    assert_eq!(window.resets_at, Some(Timestamp(START + 2 * DAY_US + 5 * hour)));
    let (tomorrow, window) = seen(START + 2 * DAY_US + 6 * hour);
    assert_eq!((tomorrow, window.used_minor), (Some(day(2)), 0));
}

fn fault_of(events: Vec<Event>) -> RunnerFault {
    let blocks = journal(&[(0, events)]);
    let rows = MemoryRows::new();
    Runner::new(MemoryFeed::new(blocks.clone()), &rows, projections::all())
        .run_to(head(&blocks), &mut |_| {})
        .unwrap_err()
}

#[test]
fn what_contradicts_stops_with_an_alarm() {
    let cap = caps(400, 500, 600);
    let begun = || vec![calendar(3, 0, 40), set(ANNA, "EUR", 3, cap), charge(3, cap, day(0), 300, (300, 300))];
    let bad = [
        set(ANNA, "EUR", 3, cap),
        set(ANNA, "EUR", 2, cap),
        calendar(3, 0, 50),
        charge(2, cap, day(0), 1, (301, 301)),
        charge(3, caps(0, 500, 600), day(0), 1, (301, 301)),
        // Sums that are another, on the same day, the next, and in the next month.
        charge(3, cap, day(0), 1, (302, 301)),
        charge(3, cap, day(0), 1, (301, 302)),
        charge(3, cap, day(1), 1, (301, 301)),
        charge(3, cap, day(1), 1, (1, 1)),
        charge(3, cap, day(31), 1, (1, 301)),
        // Back to a day that is over.
        charge(3, cap, CivilDate::from_days(day(0).days() - 1).unwrap(), 1, (1, 1)),
        // Above a cap, of a transfer, a day, a month; and an amount that is none.
        charge(3, cap, day(1), 401, (401, 701)),
        charge(3, cap, day(0), 201, (501, 501)),
        charge(3, cap, day(1), 301, (301, 601)),
        charge(3, cap, day(0), 0, (300, 300)),
        charge(3, cap, day(0), -1, (299, 299)),
        release(day(0), 100, (200, 300)),
        release(day(0), 100, (300, 200)),
        release(day(1), 100, (200, 200)),
        release(day(0), 301, (-1, -1)),
        release(day(0), -5, (305, 305)),
    ];
    for event in bad {
        let mut events = begun();
        events.push(event);
        let fault = fault_of(events.clone());
        assert_eq!((fault.projection, fault.sequence), (Some(limits::NAME), Sequence(4)), "{:?}", events[3]);
        assert!(matches!(fault.error, RunnerError::Contradiction(_)), "{fault}");
    }
    let mut late = begun();
    late.extend([charge(3, cap, day(1), 300, (300, 600)), release(day(0), 300, (300, 300)), noise()]);
    assert_eq!(of_anna(&project(&journal(&[(0, late)])), START + DAY_US).windows[2].used_minor, 300);
    let nobody = fault_of(vec![set(ANNA, "EUR", 1, cap), release(day(0), 1, (0, 0))]);
    assert_eq!(nobody.sequence, Sequence(2));
    assert_eq!(fault_of(vec![charge(1, cap, day(0), 1, (1, 1))]).sequence, Sequence(1), "nothing was ever set");
    let mut backwards = calendar(1, 0, 3);
    let EventBody::CalendarPublished(published) = &mut backwards.body else { panic!() };
    published.starts.swap(1, 2);
    assert_eq!(fault_of(vec![backwards]).projection, Some(limits::NAME));
}

/// What happens: days pass, money is charged, and what was charged goes back.
#[derive(Debug, Clone)]
enum Step {
    Pass(i64),
    Charge(i128),
    Release(Index),
    Set(i128),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop_oneof![3 => 1..2_i64, 1 => 3..40_i64].prop_map(Step::Pass),
        5 => (1..1_000_i128).prop_map(Step::Charge),
        2 => any::<Index>().prop_map(Step::Release),
        1 => (20_000..90_000_i128).prop_map(Step::Set),
    ]
}

/// A journal, and what was charged to which day and not given back.
fn story(steps: &[Step]) -> (Vec<Block>, Vec<(i64, i128)>, Caps, i64) {
    let month = |offset: i64| day(offset).month_start();
    let (mut now, mut version, mut limit) = (0, 1, caps(0, 50_000, 90_000));
    let mut charges: Vec<(i64, i128)> = Vec::new();
    let mut last = 0;
    let mut blocks = vec![(0, vec![calendar(1, 0, 800), set(ANNA, "EUR", 1, limit)])];
    for step in steps {
        let used = |charges: &[(i64, i128)], at: i64| -> (i128, i128) {
            let of_day = charges.iter().filter(|(on, _)| *on == at).map(|(_, amount)| amount).sum();
            let of_month = charges.iter().filter(|(on, _)| month(*on) == month(at)).map(|(_, amount)| amount).sum();
            (of_day, of_month)
        };
        let event = match step {
            Step::Pass(days) => {
                now += days;
                blocks.push((days * DAY_US, vec![noise()]));
                continue;
            }
            Step::Charge(amount) => {
                charges.push((now, *amount));
                last = now;
                charge(version, limit, day(now), *amount, used(&charges, now))
            }
            Step::Release(which) if !charges.is_empty() => {
                let (on, amount) = charges.remove(which.index(charges.len()));
                release(day(on), amount, used(&charges, last))
            }
            Step::Release(_) => noise(),
            Step::Set(cap) => {
                version += 1;
                limit = caps(0, *cap, 2 * cap);
                set(ANNA, "EUR", version, limit)
            }
        };
        blocks.push((1, vec![event]));
    }
    (journal(&blocks), charges, limit, now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn headroom_equals_a_naive_count(steps in vec(any_step(), 1..40), later in 0..70_i64, cut in 1..9_u64) {
        let (blocks, charges, limit, now) = story(&steps);
        let rows = project(&blocks);
        let at = now + later;
        let found = of_anna(&rows, START + at * DAY_US + DAY_US / 2);
        let of_day: i128 = charges.iter().filter(|(on, _)| *on == at).map(|(_, amount)| amount).sum();
        let same_month = |on: i64| day(on).month_start() == day(at).month_start();
        let of_month: i128 = charges.iter().filter(|(on, _)| same_month(*on)).map(|(_, amount)| amount).sum();
        prop_assert_eq!((found.caps, found.day), (limit, Some(day(at))));
        prop_assert_eq!((found.windows[1].used_minor, found.windows[2].used_minor), (of_day, of_month));
        let left = (limit.daily_minor.unwrap() - of_day).min(limit.monthly_minor.unwrap() - of_month).max(0);
        prop_assert_eq!(found.left_minor, Some(left));
        prop_assert_eq!(found.windows[1].resets_at, Some(Timestamp(START + (at + 1) * DAY_US)));

        // Whatever the cuts between commits.
        let slow = MemoryRows::new();
        while slow.checkpoint(limits::NAME).unwrap() < head(&blocks) {
            let to = Sequence(slow.checkpoint(limits::NAME).unwrap().0 + cut);
            Runner::new(MemoryFeed::new(blocks.clone()), &slow, projections::all()).run_to(to, &mut |_| {}).unwrap();
        }
        let projection = projections::by_name(limits::NAME).unwrap();
        prop_assert_eq!(
            digest::digest(&slow, projection.as_ref()).unwrap(),
            digest::digest(&rows, projection.as_ref()).unwrap()
        );
    }
}
