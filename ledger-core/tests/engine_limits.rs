//! Limits under load: 64 spenders of one customer at once, across midnights, across both changes of the clocks in Berlin and
//! into another month, with holds that are placed, captured, voided and expire in between.
//!
//! What is used is recomputed from the journal alone: from moves of money, the times of their blocks, and the days as written
//! down here. At no event may it be above a limit, and at the end of every day what is left is spent to the last unit.

#![allow(clippy::disallowed_methods, clippy::indexing_slicing, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod stage;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use event_schemas::command::{
    AccountKind, BalancePolicy, Caps, CaptureHold, OpenAccount, PlaceHold, PostTransfer, PublishCalendar, SetLimits,
};
use event_schemas::limits::LimitWindow;
use event_schemas::{
    AccountId, BookId, CivilDate, Command, CommandBody, CommandId, EventBody, Money, Rejection, Timestamp,
};
use ledger_core::engine::Engine;
use ledger_core::ports::{Answer, Verdict};
use stage::Hands;
use stage::talk::{ask, audited, command, eur, open, start, told, top_up, void};
use stores::memory::MemoryBook;

const OWNER: &str = "client:1";
/// The customer's accounts, and where the money goes.
const ACCOUNTS: [u128; 4] = [10, 11, 12, 13];
const SHOP: u128 = 99;
const CAPS: Caps = Caps { per_transfer_minor: Some(500), daily_minor: Some(10_000), monthly_minor: Some(25_000) };
const SPENDERS: u64 = 64;
const MINUTE_US: i64 = 60_000_000;

/// When the days around a change of the clocks begin in Berlin; the last is the end of the last day.
struct Days {
    first: &'static str,
    starts: &'static [&'static str],
}

/// Sunday the 29th of March 2026 lasts 23 hours.
const SPRING: Days = Days {
    first: "2026-03-28",
    starts: &[
        "2026-03-27T23:00:00Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z",
        "2026-03-30T22:00:00Z",
        "2026-03-31T22:00:00Z",
        "2026-04-01T22:00:00Z",
    ],
};

/// Sunday the 25th of October 2026 lasts 25 hours; the book sees the week until the month is over.
const AUTUMN: Days = Days {
    first: "2026-10-24",
    starts: &[
        "2026-10-23T22:00:00Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
        "2026-10-26T23:00:00Z",
        "2026-10-27T23:00:00Z",
        "2026-10-28T23:00:00Z",
        "2026-10-29T23:00:00Z",
        "2026-10-30T23:00:00Z",
        "2026-10-31T23:00:00Z",
        "2026-11-01T23:00:00Z",
    ],
};

impl Days {
    fn starts(&self) -> Vec<Timestamp> {
        self.starts.iter().map(|start| start.parse().unwrap()).collect()
    }

    fn of(&self, at: Timestamp) -> CivilDate {
        let begun = self.starts().iter().filter(|start| **start <= at).count();
        let first: CivilDate = self.first.parse().unwrap();
        CivilDate::from_days(first.days() + i32::try_from(begun).unwrap() - 1).unwrap()
    }
}

fn euros(minor: i128) -> Money {
    Money::new(minor, eur())
}

fn opening(id: u128, account: u128) -> Command {
    command(
        id,
        CommandBody::OpenAccount(OpenAccount {
            account: AccountId(account),
            code: "".into(),
            kind: AccountKind::Liability,
            currency: eur(),
            owner: OWNER.into(),
            policy: BalancePolicy::NO_OVERDRAFT,
        }),
    )
}

fn spend(id: u128, from: u128, minor: i128) -> Command {
    command(
        id,
        CommandBody::PostTransfer(PostTransfer {
            from: AccountId(from),
            to: AccountId(SHOP),
            amount: euros(minor),
            fee_minor: Some(0),
            effective_on: None,
            reference: "".into(),
        }),
    )
}

fn hold(id: u128, from: u128, minor: i128, expires_at: Option<Timestamp>) -> Command {
    let (account, amount) = (AccountId(from), euros(minor));
    command(id, CommandBody::PlaceHold(PlaceHold { account, amount, expires_at, reference: "".into() }))
}

fn capture(id: u128, hold: u128, minor: i128, last: bool) -> Command {
    command(
        id,
        CommandBody::CaptureHold(CaptureHold {
            hold: CommandId(hold),
            to: AccountId(SHOP),
            amount: euros(minor),
            fee_minor: Some(0),
            last,
            effective_on: None,
            reference: "".into(),
        }),
    )
}

/// Splitmix64: the same spending in every run, if not in the same order.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// One spender: transfers and holds, and something of its own holds now and then.
fn spender(engine: &Engine, hands: &Hands, round: u128, spender: u64) {
    let mut dice = Dice((u64::try_from(round).unwrap() << 32) | spender);
    let mut holds = Vec::new();
    for nth in 0..30_u128 {
        let id = (1 << 64) | (round << 32) | (u128::from(spender) << 16) | nth;
        let from = ACCOUNTS[usize::try_from(dice.roll(4)).unwrap()];
        let minor = i128::from(dice.roll(300) + 1);
        let now = hands.wall.load(Ordering::SeqCst);
        let one = match dice.roll(8) {
            0..3 => spend(id, from, minor),
            3 => {
                holds.push((id, minor));
                hold(id, from, minor, None)
            }
            4 => hold(id, from, minor, Some(Timestamp(now + (i64::try_from(dice.roll(90)).unwrap() + 1) * MINUTE_US))),
            5 => match holds.first() {
                Some((hold, _)) => void(id, *hold),
                None => spend(id, from, minor),
            },
            _ => match holds.pop() {
                Some((hold, held)) => capture(id, hold, (held / 2).max(1), dice.roll(2) == 0),
                None => spend(id, from, minor),
            },
        };
        let answers = ask(engine, vec![one]).unwrap();
        assert!(matches!(answers[..], [Answer::Recorded { replayed: false, .. }]), "{answers:?}");
        std::thread::sleep(Duration::from_micros(dice.roll(400)));
    }
}

/// What the journal says was used, day by day, after each of its events; no limit is passed at any of them.
fn used(book: &MemoryBook, days: &Days) -> BTreeMap<CivilDate, i128> {
    let mut used = BTreeMap::<CivilDate, i128>::new();
    let mut holds = BTreeMap::<CommandId, (CivilDate, i128)>::new();
    for block in book.blocks() {
        let recorded_at = block.header().recorded_at;
        for event in block.events() {
            let (sequence, event) = event.unwrap();
            let mine = |account: AccountId| ACCOUNTS.contains(&account.0);
            match &event.body {
                EventBody::EntryPosted(entry) if mine(entry.postings[0].account) => {
                    *used.entry(days.of(recorded_at)).or_default() += entry.postings[0].money.amount_minor;
                }
                EventBody::HoldPlaced(placed) => {
                    let (day, minor) = (days.of(recorded_at), placed.amount.amount_minor);
                    *used.entry(day).or_default() += minor;
                    holds.insert(event.cause.verdict_of().unwrap(), (day, minor));
                }
                EventBody::HoldVoided(voided) => {
                    give_back(&mut used, &holds, voided.hold, voided.released.amount_minor);
                }
                EventBody::HoldExpired(gone) => {
                    give_back(&mut used, &holds, gone.hold, gone.released.amount_minor);
                }
                EventBody::HoldCaptured(captured) => {
                    give_back(&mut used, &holds, captured.hold, captured.released_minor);
                }
                _ => {}
            }
            for (day, minor) in &used {
                assert!((0..=10_000).contains(minor), "{minor} on {day}, after event {sequence}");
                assert!(of_month(&used, *day) <= 25_000, "{used:?} after event {sequence}");
            }
        }
    }
    used
}

fn give_back(
    used: &mut BTreeMap<CivilDate, i128>,
    holds: &BTreeMap<CommandId, (CivilDate, i128)>,
    hold: CommandId,
    minor: i128,
) {
    let (day, placed) = holds[&hold];
    assert!((0..=placed).contains(&minor));
    *used.get_mut(&day).unwrap() -= minor;
}

fn of_month(used: &BTreeMap<CivilDate, i128>, day: CivilDate) -> i128 {
    let month = |day: CivilDate| day.to_string()[..7].to_owned();
    used.iter().filter(|(other, _)| month(**other) == month(day)).map(|(_, minor)| minor).sum()
}

/// Spends what is left of the day, as recomputed from the journal, to the last unit; not one more is to be had.
fn spend_the_rest(book: &MemoryBook, engine: &Engine, days: &Days, now: Timestamp, round: u128) {
    let mut next = (2 << 64) | (round << 32);
    let mut give = |minor: i128| {
        next += 1;
        match ask(engine, vec![spend(next, ACCOUNTS[0], minor)]).unwrap().remove(0) {
            Answer::Recorded { verdict, .. } => verdict,
            Answer::Conflict { .. } => unreachable!("every id is new"),
        }
    };
    let today = days.of(now);
    let used_of = || {
        let used = used(book, days);
        (used.get(&today).copied().unwrap_or(0), of_month(&used, today))
    };
    let start = |day: CivilDate| {
        let first: CivilDate = days.first.parse().unwrap();
        days.starts().get(usize::try_from(day.days() - first.days()).unwrap()).copied()
    };
    // What a refusal says of the first window that an amount is too much for.
    let above = |required_minor: i128| {
        let (day, month) = used_of();
        let account = AccountId(ACCOUNTS[0]);
        let (window, cap_minor, used_minor, resets_at) = if day + required_minor > 10_000 {
            (LimitWindow::Day, 10_000, day, start(CivilDate::from_days(today.days() + 1).unwrap()))
        } else {
            (LimitWindow::Month, 25_000, month, start(today.next_month_start().unwrap()))
        };
        Verdict::Rejected(Rejection::LimitExceeded {
            account,
            window,
            cap_minor,
            used_minor,
            required_minor,
            resets_at,
        })
    };
    let left = || {
        let (day, month) = used_of();
        (10_000 - day).min(25_000 - month)
    };
    while left() > 400 {
        assert_eq!(give(400), Verdict::Accepted);
    }
    let rest = left();
    let refused = above(rest + 1);
    assert_eq!(give(rest + 1), refused);
    if rest > 0 {
        assert_eq!(give(rest), Verdict::Accepted);
    }
    assert_eq!(left(), 0);
    let refused = above(1);
    assert_eq!(give(1), refused);
}

fn week(days: &Days) {
    let (book, hands, starts) = (MemoryBook::new(BookId::FIRST), Hands::new(), days.starts());
    hands.wall.store(starts[0].0, Ordering::SeqCst);
    let engine = start(&book, &hands);
    let calendar = PublishCalendar {
        version: 1,
        zone: "Europe/Berlin".into(),
        tz_version: "2026b".into(),
        first_day: days.first.parse().unwrap(),
        starts: starts.clone(),
    };
    let limits = SetLimits { owner: OWNER.into(), currency: eur(), version: 1, caps: CAPS };
    let mut opened = vec![open(1, SHOP)];
    opened.extend(
        ACCOUNTS
            .iter()
            .flat_map(|account| [opening(100 + account, *account), top_up(200 + account, *account, 1_000_000)]),
    );
    opened.push(command(2, CommandBody::PublishCalendar(calendar)));
    opened.push(command(3, CommandBody::SetLimits(limits)));
    assert!(told(&ask(&engine, opened).unwrap()).iter().all(|answer| answer == "ok"));
    for (round, midnight) in (1_u128..).zip(&starts[1..starts.len() - 1]) {
        // Two hours before midnight the spending begins, and goes on until two hours after it.
        let before = midnight.0 - 120 * MINUTE_US - hands.wall.load(Ordering::SeqCst);
        hands.advance(before);
        std::thread::scope(|scope| {
            for nth in 0..SPENDERS {
                let (engine, hands) = (&engine, &hands);
                scope.spawn(move || spender(engine, hands, round, nth));
            }
            for _ in 0..40 {
                std::thread::sleep(Duration::from_millis(1));
                hands.advance(6 * MINUTE_US);
            }
        });
        // The end of the day that has begun.
        let last_us = starts[usize::try_from(round).unwrap() + 1].0 - 1;
        hands.advance(last_us - hands.wall.load(Ordering::SeqCst));
        // Whatever is due by then expires first.
        ask(&engine, vec![top_up((3 << 64) | round, SHOP, 1)]).unwrap();
        spend_the_rest(&book, &engine, days, Timestamp(last_us), round);
    }
    engine.stop();
    let refused = |event: &EventBody| {
        matches!(event, EventBody::CommandRejected(rejected)
            if matches!(rejected.rejection, Rejection::LimitExceeded { .. }))
    };
    let events = audited(&book);
    let count = |test: &dyn Fn(&EventBody) -> bool| events.iter().filter(|(_, _, event)| test(&event.body)).count();
    assert!(count(&refused) > 100);
    assert!(count(&|event| matches!(event, EventBody::LimitCharged(_))) > 100);
    assert!(count(&|event| matches!(event, EventBody::LimitReleased(_))) > 10);
    assert!(count(&|event| matches!(event, EventBody::HoldExpired(_))) > 0);
}

#[test]
fn limits_hold_while_a_day_of_23_hours_and_the_month_go_by() {
    week(&SPRING);
}

#[test]
fn limits_hold_while_a_day_of_25_hours_and_the_month_go_by() {
    week(&AUTUMN);
}
