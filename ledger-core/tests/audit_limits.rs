//! The auditor finds what is wrong with limits: charges that are missing, wrong or too high, and holds that give back too little,
//! too much or to another day. A row for each, behind a book that is right.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod desk;

use desk::{ACTOR, Desk};
use event_schemas::command::{Caps, ClosePeriod, CommandBody, PublishCalendar, SetLimits};
use event_schemas::event::{
    CommandRejected, EntryPosted, HoldExpired, HoldPlaced, HoldVoided, LimitCharged, LimitReleased,
};
use event_schemas::limits::LimitWindow;
use event_schemas::{
    AccountId, BookId, Cause, CommandId, Currency, EntryKind, Event, EventBody, Money, Posting, Rejection, Sequence,
    Timestamp,
};
use ledger_core::audit::Law;

/// Ann belongs to a customer with limits, bob to another. Ann holds 3 euros until a minute from now, charged today.
const TOLD: [&str; 7] = [
    "calendar v3 from 2026-11-20 starts -36 -12 12 36",
    "limits client:1 EUR v2 per 5 day 10 month 12",
    "open ann liability EUR overdraft 100 owner client:1",
    "open ada liability EUR overdraft 100 owner client:1",
    "open bob liability EUR overdraft 100 owner client:2",
    "h1: hold ann 3 EUR until 60",
    "transfer bob ann 1 EUR",
];
/// The hold's id: it is the sixth command.
const HOLD: CommandId = CommandId(6);
const CAPS: Caps = Caps { per_transfer_minor: Some(500), daily_minor: Some(1_000), monthly_minor: Some(1_200) };

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn id(code: &str) -> AccountId {
    AccountId::from_code(BookId::FIRST, code)
}

/// The laws that are broken by these events, so many seconds later. What belongs to limits is a consequence of the verdict that
/// follows, or of nobody before an expiry.
fn laws(lines: &[&str], seconds: i64, forged: Vec<EventBody>) -> Vec<Law> {
    let mut desk = Desk::new();
    for line in lines {
        let said = desk.say(line);
        assert!(!said.contains('_'), "{line} => {said}");
    }
    desk.auditor.at(Timestamp(desk.recorded_at.0 + seconds * 1_000_000));
    let expires = forged.iter().any(|body| matches!(body, EventBody::HoldExpired(_)));
    let mut command = CommandId(0xf0);
    for (nth, body) in (1..).zip(forged) {
        let cause = match &body {
            _ if expires => Cause::Engine,
            EventBody::LimitCharged(_) | EventBody::LimitReleased(_) => Cause::Consequence { command, actor: ACTOR },
            _ => Cause::Verdict { command, actor: ACTOR },
        };
        desk.auditor.observe(Sequence(desk.events.len() as u64 + nth), &Event { cause, body });
        if matches!(cause, Cause::Verdict { .. }) {
            command.0 += 1;
        }
    }
    desk.auditor.finish();
    let mut laws: Vec<_> = desk.auditor.findings().iter().map(|finding| finding.law).collect();
    laws.dedup();
    laws
}

fn moved(kind: EntryKind, from: &str, to: &str, minor: i128) -> EntryPosted {
    let money = Money::new(minor, eur());
    EntryPosted {
        kind,
        fee_rule: None,
        at_most_minor: None,
        effective_on: desk::NOON.date_utc(),
        effective_on_named: false,
        reference: "".into(),
        postings: [Posting::debit(id(from), money), Posting::credit(id(to), money)].into_iter().collect(),
    }
}

fn transfer(from: &str, to: &str, minor: i128) -> EventBody {
    EventBody::EntryPosted(moved(EntryKind::Transfer, from, to, minor))
}

fn up_to(minor: i128) -> EventBody {
    let entry = moved(EntryKind::TransferUpTo, "ann", "bob", minor);
    EventBody::EntryPosted(EntryPosted { at_most_minor: Some(2_000), ..entry })
}

/// A charge that follows the 3 euros of the hold.
fn charge(minor: i128) -> LimitCharged {
    LimitCharged {
        owner: "client:1".into(),
        currency: eur(),
        account: id("ann"),
        amount_minor: minor,
        day: "2026-11-21".parse().unwrap(),
        hold: None,
        version: 2,
        caps: CAPS,
        day_used_minor: 300 + minor,
        month_used_minor: 300 + minor,
    }
}

fn charged(minor: i128) -> EventBody {
    EventBody::LimitCharged(charge(minor))
}

fn release(minor: i128) -> LimitReleased {
    LimitReleased {
        owner: "client:1".into(),
        currency: eur(),
        hold: HOLD,
        amount_minor: minor,
        day: "2026-11-21".parse().unwrap(),
        day_used_minor: 300 - minor,
        month_used_minor: 300 - minor,
    }
}

fn released(minor: i128) -> EventBody {
    EventBody::LimitReleased(release(minor))
}

fn void() -> EventBody {
    let released = Money::new(300, eur());
    EventBody::HoldVoided(HoldVoided { hold: HOLD, account: id("ann"), released, reason: "".into() })
}

fn expire() -> EventBody {
    let (account, released) = (id("ann"), Money::new(300, eur()));
    let expires_at = Timestamp(desk::NOON.0 + 60_000_000);
    EventBody::HoldExpired(HoldExpired { hold: HOLD, account, released, expires_at })
}

fn place(minor: i128) -> EventBody {
    let amount = Money::new(minor, eur());
    EventBody::HoldPlaced(HoldPlaced { account: id("ann"), amount, expires_at: None, reference: "".into() })
}

fn refused(rejection: Rejection) -> EventBody {
    let command = ClosePeriod { through: "2026-11-20".parse().unwrap(), reason: "".into() };
    EventBody::CommandRejected(CommandRejected { command: CommandBody::ClosePeriod(command), rejection })
}

#[test]
fn charges_are_added_up_again() {
    let with = |change: &dyn Fn(&mut LimitCharged)| {
        let mut charge = charge(200);
        change(&mut charge);
        vec![EventBody::LimitCharged(charge), transfer("ann", "bob", 200)]
    };
    let cases: Vec<(&str, Vec<EventBody>, bool)> = vec![
        ("a charge and its transfer", vec![charged(200), transfer("ann", "bob", 200)], false),
        ("no charge", vec![transfer("ann", "bob", 200)], true),
        ("a charge for nothing", vec![charged(200), refused(Rejection::AmountNotPositive)], true),
        ("another amount", vec![charged(199), transfer("ann", "bob", 200)], true),
        ("another account", vec![charged(200), transfer("ada", "bob", 200)], true),
        ("who has no limits", vec![transfer("bob", "ann", 200)], false),
        ("charged where nothing leaves", vec![charged(200), transfer("ann", "ada", 200)], true),
        ("what stays with the customer", vec![transfer("ann", "ada", 2_000)], false),
        ("up to the limit of a transfer", vec![charged(500), transfer("ann", "bob", 500)], false),
        ("above it", vec![charged(501), transfer("ann", "bob", 501)], true),
        ("an entry of the house", vec![EventBody::EntryPosted(moved(EntryKind::General, "ann", "bob", 9_000))], false),
        (
            "charged for an entry of the house",
            vec![charged(200), EventBody::EntryPosted(moved(EntryKind::General, "ann", "bob", 200))],
            true,
        ),
        ("another day", with(&|charge| charge.day = "2026-11-22".parse().unwrap()), true),
        ("another version", with(&|charge| charge.version = 1), true),
        ("other limits", with(&|charge| charge.caps.daily_minor = None), true),
        ("less of the day", with(&|charge| charge.day_used_minor -= 1), true),
        ("more of the month", with(&|charge| charge.month_used_minor += 1), true),
        ("another customer", with(&|charge| charge.owner = "client:2".into()), true),
        ("a hold that is none", with(&|charge| charge.hold = Some(HOLD)), true),
        (
            "a hold's own charge",
            vec![EventBody::LimitCharged(LimitCharged { hold: Some(CommandId(0xf0)), ..charge(200) }), place(200)],
            false,
        ),
        ("a hold's charge without the hold", vec![charged(200), place(200)], true),
        ("a hold that is not charged", vec![place(200)], true),
    ];
    for (name, bodies, broken) in cases {
        let expected: &[Law] = if broken { &[Law::LimitsKept] } else { &[] };
        assert_eq!(laws(&TOLD, 0, bodies), expected, "{name}");
    }
    // The day's limit, and the month's behind it.
    let twice = |day_minor: i128| {
        let next = LimitCharged { day_used_minor: day_minor, month_used_minor: day_minor, ..charge(day_minor - 800) };
        vec![
            charged(500),
            transfer("ann", "bob", 500),
            EventBody::LimitCharged(next),
            transfer("ann", "bob", day_minor - 800),
        ]
    };
    assert_eq!(laws(&TOLD, 0, twice(1_000)), []);
    assert_eq!(laws(&TOLD, 0, twice(1_001)), [Law::LimitsKept]);
    let next_day = |minor: i128| {
        let charge = LimitCharged { day: "2026-11-22".parse().unwrap(), day_used_minor: minor, ..charge(minor) };
        vec![EventBody::LimitCharged(charge), transfer("ann", "bob", minor)]
    };
    let spent = [&TOLD[..], &["transfer ann bob 5 EUR"]].concat();
    let month = |minor: i128| {
        let mut bodies = next_day(minor);
        if let EventBody::LimitCharged(charge) = &mut bodies[0] {
            charge.month_used_minor = 800 + minor;
        }
        bodies
    };
    assert_eq!(laws(&spent, 43_200, month(400)), []);
    assert_eq!(laws(&spent, 43_200, month(401)), [Law::LimitsKept]);
    assert_eq!(laws(&spent, 43_200, next_day(400)), [Law::LimitsKept]);
    // Behind the end of the calendar no day is known.
    assert_eq!(laws(&spent, 2 * 86_400, month(400)), [Law::LimitsKept]);
}

#[test]
fn what_holds_give_back_is_what_they_were_charged() {
    let with = |change: &dyn Fn(&mut LimitReleased)| {
        let mut release = release(300);
        change(&mut release);
        vec![EventBody::LimitReleased(release), void()]
    };
    let cases: Vec<(&str, i64, Vec<EventBody>, bool)> = vec![
        ("given back", 0, vec![released(300), void()], false),
        ("not given back", 0, vec![void()], true),
        ("given back twice", 0, vec![released(300), void(), released(300), transfer("ann", "ada", 1)], true),
        ("given back for nothing", 0, vec![released(300), transfer("ann", "ada", 1)], true),
        ("too little", 0, vec![released(299), void()], true),
        ("of another day", 0, with(&|release| release.day = "2026-11-20".parse().unwrap()), true),
        ("more is used", 0, with(&|release| release.day_used_minor = 1), true),
        ("less of the month is used", 0, with(&|release| release.month_used_minor = -1), true),
        ("to another customer", 0, with(&|release| release.owner = "client:2".into()), true),
        ("by time", 60, vec![released(300), expire()], false),
        ("by time, and not given back", 60, vec![expire()], true),
    ];
    for (name, seconds, bodies, broken) in cases {
        let found = laws(&TOLD, seconds, bodies);
        assert!(if broken { found.contains(&Law::LimitsKept) } else { found.is_empty() }, "{name}: {found:?}");
    }
}

#[test]
fn settings_and_refusals_of_limits_are_judged() {
    let (order, holds, up) = (&[Law::SettingsInOrder][..], &[Law::RejectionHolds][..], &[Law::UpToWhatIsThere][..]);
    let limits = |version, cap| {
        let caps = Caps { daily_minor: Some(cap), ..Caps::NONE };
        EventBody::LimitsSet(SetLimits { owner: "client:1".into(), currency: eur(), version, caps })
    };
    let hours = |hours: i64| Timestamp(desk::NOON.0 + hours * 3_600_000_000);
    let calendar = |version, starts: &[i64]| {
        let (zone, tz_version, first_day) = ("".into(), "".into(), desk::NOON.date_utc());
        let starts = starts.iter().map(|start| hours(*start)).collect();
        EventBody::CalendarPublished(PublishCalendar { version, zone, tz_version, first_day, starts })
    };
    let exceeded = |window, cap_minor, used_minor, required_minor, resets_at| {
        let account = id("ann");
        refused(Rejection::LimitExceeded { account, window, cap_minor, used_minor, required_minor, resets_at })
    };
    let midnight = Some(hours(12));
    let cases: Vec<(&str, i64, Vec<EventBody>, &[Law])> = vec![
        ("newer limits", 0, vec![limits(3, 1)], &[]),
        ("the same limits", 0, vec![limits(2, 1)], order),
        ("a limit of zero", 0, vec![limits(3, 0)], order),
        ("a newer calendar", 0, vec![calendar(4, &[-12, 12])], &[]),
        ("the same calendar", 0, vec![calendar(3, &[-12, 12])], order),
        ("no day", 0, vec![calendar(4, &[-12])], order),
        ("a long day", 0, vec![calendar(4, &[-12, 17])], order),
        ("a first day that is far away", 0, vec![calendar(4, &[-31, -11])], order),
        ("no calendar, after all", 0, vec![refused(Rejection::CalendarMissing)], holds),
        ("no calendar any more", 2 * 86_400, vec![refused(Rejection::CalendarMissing)], &[]),
        ("above a transfer", 0, vec![exceeded(LimitWindow::PerTransfer, 500, 0, 501, None)], &[]),
        ("not above a transfer", 0, vec![exceeded(LimitWindow::PerTransfer, 500, 0, 500, None)], holds),
        ("above the day", 0, vec![exceeded(LimitWindow::Day, 1_000, 300, 701, midnight)], &[]),
        ("not above the day", 0, vec![exceeded(LimitWindow::Day, 1_000, 300, 700, midnight)], holds),
        ("more used of the day", 0, vec![exceeded(LimitWindow::Day, 1_000, 301, 701, midnight)], holds),
        ("another limit of the day", 0, vec![exceeded(LimitWindow::Day, 999, 300, 701, midnight)], holds),
        ("another end of the day", 0, vec![exceeded(LimitWindow::Day, 1_000, 300, 701, None)], holds),
        ("above the next day", 43_200, vec![exceeded(LimitWindow::Day, 1_000, 0, 1_001, Some(hours(36)))], &[]),
        ("above the month", 43_200, vec![exceeded(LimitWindow::Month, 1_200, 300, 901, None)], &[]),
        ("not above the month", 43_200, vec![exceeded(LimitWindow::Month, 1_200, 300, 900, None)], holds),
        ("up to the limit of a transfer", 0, vec![charged(500), up_to(500)], &[]),
        ("less than limits allow", 0, vec![charged(499), up_to(499)], up),
    ];
    for (name, seconds, bodies, expected) in cases {
        assert_eq!(laws(&TOLD, seconds, bodies), expected, "{name}");
    }
}
