//! The auditor finds what is wrong with settings and with what follows from them: fees, closed periods, transfers up to an
//! amount. A row for each way to go wrong, behind a book that is right.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod desk;

use desk::{ACTOR, Desk};
use event_schemas::command::{ClosePeriod, CommandBody, FeeKind, SetFeeRule, SetNotificationPreferences};
use event_schemas::event::{CommandRejected, EntryPosted};
use event_schemas::{Cause, CommandId, EntryKind, Event, EventBody, Money, Posting, Rejection, Sequence};
use ledger_core::audit::Law;

/// The laws that are broken by events which follow what the desk was told.
fn laws(lines: &[&str], forged: impl FnOnce(&mut Desk) -> Vec<EventBody>) -> Vec<Law> {
    let mut desk = Desk::new();
    for line in lines {
        let said = desk.say(line);
        assert!(!said.contains('_'), "{line} => {said}");
    }
    for (nth, body) in (0_u32..).zip(forged(&mut desk)) {
        let cause = Cause::Verdict { command: CommandId(0xf0 + u128::from(nth)), actor: ACTOR };
        let sequence = Sequence(desk.events.len() as u64 + u64::from(nth) + 1);
        desk.auditor.observe(sequence, &Event { cause, body });
    }
    desk.auditor.finish();
    let mut laws: Vec<_> = desk.auditor.findings().iter().map(|finding| finding.law).collect();
    laws.dedup();
    laws
}

fn eur(minor: i128) -> Money {
    Money::new(minor, "EUR".parse().unwrap())
}

/// From ann to bob, with a fee that goes to cat.
fn entry(desk: &mut Desk, kind: EntryKind, minor: i128, fee_minor: i128) -> EntryPosted {
    let (ann, bob, cat) = (desk.account("ann"), desk.account("bob"), desk.account("cat"));
    let mut postings = vec![Posting::debit(ann, eur(minor + fee_minor)), Posting::credit(bob, eur(minor))];
    if fee_minor > 0 {
        postings.push(Posting::credit(cat, eur(fee_minor)));
    }
    EntryPosted {
        kind,
        fee_rule: None,
        at_most_minor: None,
        effective_on: desk.recorded_at.date_utc(),
        effective_on_named: false,
        reference: "".into(),
        postings: postings.into(),
    }
}

const OPENED: [&str; 4] =
    ["open ann liability EUR", "open bob liability EUR", "open cat income EUR", "top_up ann 100 EUR"];

fn with(lines: &[&'static str]) -> Vec<&'static str> {
    OPENED.iter().chain(lines).copied().collect()
}

#[test]
fn fees_are_added_up_again() {
    let rule = with(&["fee_rule transfer EUR v4 fixed 0.03 ppm 500000 max 10"]);
    for (kind, rules, version, minor, fee_minor, broken) in [
        (EntryKind::Transfer, &rule, 4, 10, 8, false),
        // 5.5, 6.5: to the even one.
        (EntryKind::Transfer, &rule, 4, 5, 5, false),
        (EntryKind::Transfer, &rule, 4, 7, 7, false),
        (EntryKind::Transfer, &rule, 4, 5, 6, true),
        (EntryKind::Transfer, &rule, 4, 7, 6, true),
        (EntryKind::Transfer, &rule, 4, 5_000, 1_000, false),
        (EntryKind::Transfer, &rule, 4, 5_000, 1_001, true),
        (EntryKind::Transfer, &rule, 4, 10, 0, true),
        (EntryKind::Transfer, &rule, 3, 10, 8, true),
        (EntryKind::Transfer, &rule, 0, 10, 0, true),
        (EntryKind::Withdrawal, &rule, 0, 10, 0, false),
        (EntryKind::Withdrawal, &rule, 4, 10, 8, true),
        (EntryKind::General, &rule, 4, 10, 8, true),
        (EntryKind::Transfer, &with(&[]), 0, 10, 0, false),
        (EntryKind::Transfer, &with(&[]), 0, 10, 1, true),
        (EntryKind::Transfer, &with(&[]), 1, 10, 0, true),
    ] {
        let found = laws(rules, |desk| {
            let entry = entry(desk, kind, minor, fee_minor);
            vec![EventBody::EntryPosted(EntryPosted { fee_rule: Some(version), ..entry })]
        });
        let expected: &[Law] = if broken { &[Law::FeeByRule] } else { &[] };
        assert_eq!(found, expected, "{fee_minor} of {minor} by rule {version}, {kind:?}");
    }
}

#[test]
fn what_moves_up_to_an_amount_is_what_there_is() {
    let upto: &[Law] = &[Law::UpToWhatIsThere];
    for (kind, at_most_minor, minor, expected) in [
        (EntryKind::TransferUpTo, Some(500), 500, &[][..]),
        (EntryKind::TransferUpTo, Some(500), 499, upto),
        (EntryKind::TransferUpTo, Some(500), 501, upto),
        (EntryKind::TransferUpTo, Some(20_000), 10_000, &[]),
        (EntryKind::TransferUpTo, Some(20_000), 9_999, upto),
        (EntryKind::TransferUpTo, Some(20_000), 10_001, &[Law::UpToWhatIsThere, Law::PolicyRespected]),
        (EntryKind::TransferUpTo, None, 500, upto),
        (EntryKind::Transfer, Some(500), 500, upto),
    ] {
        let found = laws(&OPENED, |desk| {
            let entry = entry(desk, kind, minor, 0);
            vec![EventBody::EntryPosted(EntryPosted { at_most_minor, ..entry })]
        });
        assert_eq!(found, expected, "{minor} of {at_most_minor:?}, {kind:?}");
    }
}

fn close(through: &str) -> EventBody {
    EventBody::PeriodClosed(ClosePeriod { through: through.parse().unwrap(), reason: "".into() })
}

fn rule(version: u64, min_minor: i128, max_minor: Option<i128>) -> SetFeeRule {
    let (kind, currency) = (FeeKind::Transfer, "EUR".parse().unwrap());
    SetFeeRule { kind, currency, version, fixed_minor: 0, rate_ppm: 0, min_minor, max_minor }
}

fn prefer(version: u64) -> SetNotificationPreferences {
    SetNotificationPreferences { owner: "client:1".into(), version, topics: std::collections::BTreeMap::new() }
}

fn refused(command: CommandBody, rejection: Rejection) -> EventBody {
    EventBody::CommandRejected(CommandRejected { command, rejection })
}

#[test]
fn settings_follow_each_other_and_closed_periods_are_kept() {
    let told = with(&["fee_rule transfer EUR v4", "prefer client:1 v2", "close_period 2026-10-31"]);
    let (order, kept, holds) = (&[Law::SettingsInOrder][..], &[Law::PeriodsKept][..], &[Law::RejectionHolds][..]);
    let on = |date: &'static str| {
        move |desk: &mut Desk| {
            let entry = entry(desk, EntryKind::General, 5, 0);
            EventBody::EntryPosted(EntryPosted { effective_on: date.parse().unwrap(), ..entry })
        }
    };
    let not_newer = |applied| Rejection::VersionNotNewer { applied };
    let closed = |date: &str| Rejection::PeriodClosed { through: date.parse().unwrap() };
    let period = ClosePeriod { through: "2026-11-21".parse().unwrap(), reason: "".into() };
    let cases: Vec<(&str, EventBody, &[Law])> = vec![
        ("a newer rule", EventBody::FeeRuleSet(rule(5, 0, None)), &[]),
        ("the same version", EventBody::FeeRuleSet(rule(4, 0, None)), order),
        ("a minimum above the maximum", EventBody::FeeRuleSet(rule(5, 2, Some(1))), order),
        ("a negative minimum", EventBody::FeeRuleSet(rule(5, -1, None)), order),
        (
            "a rate above the whole",
            EventBody::FeeRuleSet(SetFeeRule { rate_ppm: 1_000_001, ..rule(5, 0, None) }),
            order,
        ),
        ("newer preferences", EventBody::NotificationPreferencesSet(prefer(3)), &[]),
        ("the same preferences", EventBody::NotificationPreferencesSet(prefer(2)), order),
        ("a later period", close("2026-11-20"), &[]),
        ("a period that is not over", close("2026-11-21"), order),
        ("a period that is closed", close("2026-10-31"), order),
        ("an earlier period", close("2026-09-30"), order),
        ("a day that is open", on("2026-11-01")(&mut Desk::new()), &[]),
        ("a day that is closed", on("2026-10-31")(&mut Desk::new()), kept),
        ("a day long closed", on("1993-01-05")(&mut Desk::new()), kept),
        ("a true refusal", refused(CommandBody::SetFeeRule(rule(4, 0, None)), not_newer(4)), &[]),
        ("another version", refused(CommandBody::SetFeeRule(rule(4, 0, None)), not_newer(5)), holds),
        ("a version that is newer", refused(CommandBody::SetFeeRule(rule(5, 0, None)), not_newer(4)), holds),
        ("preferences refused", refused(CommandBody::SetNotificationPreferences(prefer(2)), not_newer(2)), &[]),
        (
            "preferences refused for nothing",
            refused(CommandBody::SetNotificationPreferences(prefer(3)), not_newer(2)),
            holds,
        ),
        ("a closed period", refused(CommandBody::ClosePeriod(period.clone()), closed("2026-10-31")), &[]),
        ("another closed period", refused(CommandBody::ClosePeriod(period.clone()), closed("2026-10-30")), holds),
        (
            "not over",
            refused(
                CommandBody::ClosePeriod(period.clone()),
                Rejection::PeriodNotOver { today: "2026-11-21".parse().unwrap() },
            ),
            &[],
        ),
        (
            "not over on another day",
            refused(
                CommandBody::ClosePeriod(period),
                Rejection::PeriodNotOver { today: "2026-11-20".parse().unwrap() },
            ),
            holds,
        ),
    ];
    for (name, body, expected) in cases {
        assert_eq!(laws(&told, |_| vec![body]), expected, "{name}");
    }
}
