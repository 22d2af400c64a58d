//! Random streams of commands through `decide` and `apply`, against the second bookkeeper of `bookkeeper`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod bookkeeper;
mod desk;

use std::collections::BTreeMap;

use bookkeeper::Model;
use desk::streams::{stream, stream_of};
use desk::{ACTOR, Desk, NOON, recorded};
use event_schemas::{Command, CommandBody, CommandId, CustomerId, Event, EventBody, Timestamp, testing};
use ledger_core::bound;
use ledger_core::decide::{Context, decide, named, next_expiry};
use ledger_core::state::State;
use proptest::prelude::*;

/// Decides and applies a stream and gives its events, digesting and recording at the times given.
fn run(commands: &[CommandBody], digest_at: &[bool], times: &[i64]) -> (State, Vec<Event>) {
    let mut desk = Desk::new();
    let mut state = desk.state;
    let mut all = std::mem::take(&mut desk.events);
    let (opened, mut now) = (all.len(), NOON);
    for (place, body) in commands.iter().enumerate() {
        let command = Command { id: CommandId(place as u128 + 1), actor: ACTOR, body: body.clone() };
        now = now.max(Timestamp(NOON.0 + times.get(place % times.len().max(1)).copied().unwrap_or(0)));
        while let Some(expiry) = next_expiry(&state, now) {
            for event in expiry.into_iter().map(Event::engine) {
                state.apply(&event).unwrap();
                all.push(event);
            }
        }
        let earlier = named(&state, body).and_then(|id| recorded(&all, id));
        let decision = decide(&state, Context { recorded_at: now, named: earlier.as_ref() }, &command);
        for event in decision.events(&command) {
            state.apply(&event).unwrap();
            all.push(event);
        }
        if digest_at.get(place % digest_at.len().max(1)) == Some(&true) {
            state.digest();
        }
    }
    (state, all.split_off(opened))
}

/// The same stream with holds that no time ends, and calendars that know one day, which it is all the time.
fn timeless(mut commands: Vec<CommandBody>) -> Vec<CommandBody> {
    for body in &mut commands {
        match body {
            CommandBody::PlaceHold(place) => place.expires_at = None,
            CommandBody::PublishCalendar(calendar) => {
                calendar.first_day = NOON.date_utc();
                calendar.starts = [-12, 12].map(|hours| Timestamp(NOON.0 + hours * 3_600_000_000)).to_vec();
            }
            CommandBody::PublishRateSheet(sheet) => sheet.valid_until = Timestamp(NOON.0 + 86_400_000_000),
            CommandBody::ConvertFunds(convert) => convert.expires_at = Timestamp(NOON.0 + 86_400_000_000),
            _ => {}
        }
    }
    commands
}

/// A checkpoint anywhere, and the tail applied to it, is the same state.
fn restarts_anywhere(once: &mut State, events: &[Event], at: prop::sample::Index) {
    let mut state = Desk::new().state;
    let at = at.index(events.len());
    events[..at].iter().for_each(|event| state.apply(event).unwrap());
    let bytes = state.encode();
    let mut restarted = State::decode(&bytes).unwrap();
    assert_eq!(restarted.encode(), bytes);
    assert_eq!(restarted.digest(), state.digest());
    assert_eq!(restarted.next_deadline(), state.next_deadline());
    events[at..].iter().for_each(|event| restarted.apply(event).unwrap());
    assert_eq!(restarted.digest(), once.digest());
    assert_eq!(restarted.accounts(), once.accounts());
    assert_eq!(restarted.next_deadline(), once.next_deadline());
    assert_eq!(restarted.encode(), once.encode());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn book_auditor_and_second_bookkeeper_agree(
        commands in stream(),
        waits in prop::collection::vec(prop_oneof![6 => Just(0), 2 => 0..3_i64], 1..20),
    ) {
        let mut desk = Desk::new();
        let mut model = Model::default();
        for (body, seconds) in commands.into_iter().zip(waits.iter().cycle()) {
            desk.recorded_at.0 += seconds * 1_000_000;
            model.wait(seconds * 1_000_000);
            let expected = model.say(&body);
            let decision = desk.give(body.clone());
            let said = match decision.verdict {
                EventBody::CommandRejected(rejected) => Err(rejected.rejection),
                _ => Ok(()),
            };
            prop_assert_eq!(said, expected, "{:?}", body);
        }
        prop_assert_eq!(desk.state.accounts().len(), model.accounts.len());
        for (id, page) in &model.accounts {
            prop_assert_eq!(desk.state.account(*id).unwrap().balance_minor(), page.balance_minor);
            prop_assert_eq!(desk.auditor.balances()[id].balance_minor(), page.balance_minor);
            prop_assert_eq!(desk.state.account(*id).unwrap().debits_pending_minor, page.held_minor);
            prop_assert_eq!(desk.auditor.balances()[id].held_minor, page.held_minor);
        }
        for (id, slip) in &model.holds {
            prop_assert_eq!(desk.state.hold(*id).map_or(0, |hold| hold.left_minor), slip.left_minor);
        }
        for ((owner, currency), allowance) in &model.limits {
            let limits = desk.state.limits(CustomerId::from_owner(owner).unwrap(), *currency).unwrap();
            let used = limits.used.map(|used| (used.on, used.day_minor, used.month_minor));
            prop_assert_eq!(used, allowance.latest.map(|on| (on, allowance.of_day(on), allowance.of_month(on))));
        }
        // Law 6: of no posting is more reversed than was posted.
        for (entry, postings) in &model.entries {
            for (place, posting) in (0..).zip(postings) {
                prop_assert!(desk.state.reversed_minor(*entry, place) <= posting.money.amount_minor);
            }
        }
        prop_assert_eq!(desk.auditor.digest(), desk.state.digest());
        prop_assert!(desk.auditor.trial_balance().values().all(|(debits, credits)| debits == credits));
        desk.auditor.finish();
        prop_assert_eq!(desk.auditor.findings(), []);
    }

    #[test]
    fn cuts_times_and_restarts_do_not_show(
        commands in stream(),
        digest_at in prop::collection::vec(any::<bool>(), 1..7),
        times in prop::collection::vec(0..3_600_000_000_i64, 1..5),
        at in any::<prop::sample::Index>(),
    ) {
        // Where there are deadlines, the time of recording matters; whether digests are taken on the way never does.
        let (mut once, events) = run(&commands, &[], &times);
        let (mut cut, other) = run(&commands, &digest_at, &times);
        prop_assert_eq!(&events, &other);
        prop_assert_eq!(once.digest(), cut.digest());
        restarts_anywhere(&mut once, &events, at);
        let commands = timeless(commands);
        let (mut once, events) = run(&commands, &[], &[]);
        let (mut cut, other) = run(&commands, &digest_at, &times);
        // Within the day, the time of recording shows nowhere: the same events, the same digest.
        prop_assert_eq!(&events, &other);
        prop_assert_eq!(once.digest(), cut.digest());
    }

    #[test]
    fn any_command_gets_a_verdict(bodies in prop::collection::vec(testing::command_body(), 1..20)) {
        // Whatever the engine admits, sensible or not: a verdict, never a panic, and no law broken.
        let mut desk = Desk::new();
        let admitted = |body: &CommandBody| {
            bound::check(&Command { id: CommandId(1), actor: ACTOR, body: body.clone() }).is_ok()
        };
        for body in bodies.into_iter().filter(admitted) {
            desk.give(body);
        }
        desk.auditor.finish();
        prop_assert_eq!(desk.auditor.findings(), []);
    }

    #[test]
    fn a_damaged_checkpoint_is_refused_or_has_another_digest(
        commands in stream(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let (mut state, _) = run(&commands, &[], &[]);
        let mut bytes = state.encode();
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        // Version, book and nonce come first. The nonce only seeds a map, and the engine takes the book's from the journal.
        if let Ok(mut other) = State::decode(&bytes) {
            prop_assert!(other.digest() != state.digest() || place <= 17);
        }
        prop_assert!(State::decode(&bytes[..place]).is_err());
    }
}

#[test]
fn streams_reach_what_they_should() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met = BTreeMap::<&str, u32>::new();
    let times: Vec<_> = (0..150).map(|step| step * 300_000).collect();
    for _ in 0..300 {
        let commands = stream().new_tree(&mut runner).unwrap().current();
        for event in run(&commands, &[], &times).1 {
            let name = match &event.body {
                EventBody::CommandRejected(rejected) => rejected.rejection.code(),
                other => other.type_name(),
            };
            *met.entry(name).or_default() += 1;
        }
    }
    for name in [
        "ledger.account.opened.v1",
        "ledger.account.frozen.v1",
        "ledger.account.unfrozen.v1",
        "ledger.account.closed.v1",
        "ledger.entry.posted.v1",
        "postings_out_of_bounds",
        "amount_not_positive",
        "amount_too_large",
        "effective_date_out_of_range",
        "account_code_invalid",
        "account_exists",
        "same_account",
        "account_not_found",
        "account_closed",
        "account_frozen",
        "account_not_frozen",
        "currency_mismatch",
        "entry_unbalanced",
        "account_not_empty",
        "insufficient_funds",
        "ledger.hold.placed.v1",
        "ledger.hold.captured.v1",
        "ledger.hold.voided.v1",
        "ledger.hold.expired.v1",
        "ledger.entry.reversed.v1",
        "expiry_out_of_range",
        "hold_not_found",
        "hold_not_open",
        "hold_expired",
        "original_not_found",
        "original_not_an_entry",
        "original_is_reversal",
        "original_reversed",
        "reversal_above_original",
        "capture_above_hold",
        "hold_not_possible",
        "account_has_holds",
        "ledger.fee_rule.set.v1",
        "ledger.period.closed.v1",
        "ledger.notification_preferences.set.v1",
        "ledger.limits.set.v1",
        "ledger.limit.charged.v1",
        "ledger.limit.released.v1",
        "ledger.calendar.published.v1",
        "limit_not_positive",
        "calendar_invalid",
        "calendar_missing",
        "limit_exceeded",
        "fee_rule_invalid",
        "version_not_newer",
        "period_closed",
        "period_not_over",
        "ledger.rate_sheet.published.v1",
        "ledger.conversion.posted.v1",
        "rate_sheet_invalid",
        "same_currency",
        "rate_sheet_not_found",
        "quote_expired",
        "converted_amount_zero",
        "quote_mismatch",
        "quote_of_another",
    ] {
        assert!(met.get(name).is_some_and(|count| *count > 5), "{name}: {met:?}");
    }
    assert!(met["ledger.entry.posted.v1"] > 500, "{met:?}");
}

/// The short streams of `machine.rs` reach limits too, and some go on into another day and another month.
#[test]
fn short_streams_reach_limits_across_days_and_months() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met = BTreeMap::<&str, u32>::new();
    let times: Vec<_> = (0..40).map(|step| step * 300_000).collect();
    for _ in 0..6_000 {
        let commands = stream_of(26).new_tree(&mut runner).unwrap().current();
        let mut before = None;
        for event in run(&commands, &[], &times).1 {
            let mut meet = |name| *met.entry(name).or_default() += 1;
            match &event.body {
                EventBody::CommandRejected(rejected) => meet(rejected.rejection.code()),
                EventBody::LimitReleased(released) if before.is_some_and(|day| day != released.day) => {
                    meet("given back to a day that is over");
                }
                EventBody::LimitCharged(charged) => {
                    let other = before.replace(charged.day).filter(|day| *day != charged.day);
                    meet(match other {
                        None => "charged",
                        Some(day) if day.month_start() == charged.day.month_start() => "charged on another day",
                        Some(_) => "charged in another month",
                    });
                }
                other => meet(other.type_name()),
            }
        }
    }
    for name in [
        "charged",
        "charged on another day",
        "charged in another month",
        "ledger.limit.released.v1",
        "given back to a day that is over",
        "limit_exceeded",
        "calendar_missing",
    ] {
        assert!(met.get(name).is_some_and(|count| *count > 1), "{name}: {met:?}");
    }
}
