//! Every rule of the book, a row each: what is asked, and what the book says, with what it observed.
//!
//! A title starts a fresh book. A row without `=>` only has to be accepted. A new rule is a new row.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod desk;

use desk::Desk;
use event_schemas::bounds::{POSTINGS_MAX, TOTAL_MAX_MINOR};
use event_schemas::event::EntryPosted;
use event_schemas::{AccountId, Command, CommandId, EntryKind, Event, EventBody, Money, Posting, Rejection};
use ledger_core::asked;
use ledger_core::bound::{self, OutOfBounds};
use ledger_core::decide::{Context, decide};
use ledger_core::ports::Verdict;

const ACCOUNTS: &str = include_str!("rules/accounts.txt");
const POSTINGS: &str = include_str!("rules/postings.txt");
const MONEY: &str = include_str!("rules/money.txt");
const PRECEDENCE: &str = include_str!("rules/precedence.txt");
const HOLDS: &str = include_str!("rules/holds.txt");
const REVERSALS: &str = include_str!("rules/reversals.txt");
const FEES: &str = include_str!("rules/fees.txt");
const PERIODS: &str = include_str!("rules/periods.txt");
const UP_TO: &str = include_str!("rules/up_to.txt");
const LIMITS: &str = include_str!("rules/limits.txt");
const CONVERSIONS: &str = include_str!("rules/conversions.txt");

fn check(table: &str) {
    let mut desk = Desk::new();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("# ") {
            desk = Desk::new();
            continue;
        }
        rows += 1;
        let (asked, expected) = line.split_once("=>").unwrap_or((line, ""));
        let (said, expected) = (desk.say(asked.trim()), expected.trim());
        // Only refusals have underscores in what is said.
        let fits = if expected.is_empty() { !said.contains('_') } else { said == expected };
        if !fits {
            wrong.push(format!("{asked} => {said}\n    expected {expected}"));
        }
    }
    assert!(rows > 10);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn accounts() {
    check(ACCOUNTS);
}

#[test]
fn postings() {
    check(POSTINGS);
}

#[test]
fn money() {
    check(MONEY);
}

#[test]
fn precedence() {
    check(PRECEDENCE);
}

#[test]
fn holds() {
    check(HOLDS);
}

#[test]
fn reversals() {
    check(REVERSALS);
}

#[test]
fn fees() {
    check(FEES);
}

#[test]
fn periods_and_preferences() {
    check(PERIODS);
}

#[test]
fn transfers_up_to_an_amount() {
    check(UP_TO);
}

#[test]
fn limits() {
    check(LIMITS);
}

#[test]
fn conversions() {
    check(CONVERSIONS);
}

#[test]
fn every_rejection_has_a_row() {
    let rows =
        [ACCOUNTS, POSTINGS, MONEY, PRECEDENCE, HOLDS, REVERSALS, FEES, PERIODS, UP_TO, LIMITS, CONVERSIONS].concat();
    for code in [
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
        "limit_not_positive",
        "limit_exceeded",
        "calendar_invalid",
        "calendar_missing",
        "fee_rule_invalid",
        "version_not_newer",
        "period_closed",
        "period_not_over",
        "rate_sheet_invalid",
        "same_currency",
        "rate_sheet_not_found",
        "rate_sheet_stale",
        "rate_not_found",
        "quote_expired",
        "converted_amount_zero",
        "quote_mismatch",
        "quote_of_another",
    ] {
        assert!(rows.contains(&format!("=> {code}")), "{code}");
    }
}

#[test]
fn an_entry_has_at_most_a_thousand_postings() {
    let pairs = |count| format!("entry {}", "D ann 1 EUR C ann 1 EUR ".repeat(count));
    let mut desk = Desk::new();
    desk.say("open ann liability EUR");
    assert!(desk.say(&pairs(POSTINGS_MAX / 2)).starts_with("D ann 1.00 EUR C ann"));
    // One more is not even admitted, since no journal could quote it.
    let body = desk.command(&pairs(POSTINGS_MAX / 2 + 1));
    let command = Command { id: CommandId(1), actor: desk::ACTOR, body };
    assert_eq!(bound::check(&command), Err(OutOfBounds("postings")));
}

fn event(postings: Vec<Posting>) -> Event {
    Event::engine(EventBody::EntryPosted(EntryPosted {
        kind: EntryKind::General,
        fee_rule: None,
        at_most_minor: None,
        effective_on: desk::NOON.date_utc(),
        effective_on_named: false,
        reference: "".into(),
        postings: postings.into(),
    }))
}

fn verdict(desk: &mut Desk, line: &str) -> Verdict {
    let command = Command { id: CommandId(1), actor: desk::ACTOR, body: desk.command(line) };
    asked::verdict(&decide(&desk.state, Context::at(desk.recorded_at), &command).verdict)
}

/// `balance_overflow`: reached only after 10^12 of the largest entries, so the totals are set by applying such events.
#[test]
fn totals_stay_below_their_bound() {
    let mut desk = Desk::new();
    desk.say("open ann liability EUR unlimited");
    desk.say("open bob liability EUR unlimited");
    let (ann, bob) = (desk.account("ann"), desk.account("bob"));
    let eur = |minor| Money::new(minor, "EUR".parse().unwrap());
    let near = eur(TOTAL_MAX_MINOR - 1);
    desk.state.apply(&event(vec![Posting::debit(ann, near), Posting::credit(bob, near)])).unwrap();
    let refused = |account| Verdict::Rejected(Rejection::BalanceOverflow { account });
    for (line, expected) in [
        ("transfer ann bob m2 EUR", refused(ann)),
        ("entry D bob m2 EUR C bob m2 EUR", refused(bob)),
        ("transfer ann bob m1 EUR", Verdict::Accepted),
        ("transfer bob ann m2 EUR", Verdict::Accepted),
    ] {
        assert_eq!(verdict(&mut desk, line), expected, "{line}");
    }
    // Applying what decide would never say is refused, and leaves the state as it was, wherever in the entry it fails.
    let before = desk.state.digest();
    for wrong in [
        vec![Posting::debit(ann, near), Posting::credit(bob, near)],
        vec![Posting::debit(bob, eur(1)), Posting::credit(ann, eur(1)), Posting::credit(bob, near)],
        vec![Posting::debit(bob, eur(1)), Posting::credit(AccountId(9), eur(1))],
    ] {
        assert!(desk.state.apply(&event(wrong)).is_err());
        assert_eq!(desk.state.digest(), before);
    }
}

/// An account below its floor, as a later rule or another policy may leave one, takes money and gives none.
#[test]
fn an_account_below_its_floor_may_rise() {
    let mut desk = Desk::new();
    desk.say("open ann liability EUR");
    desk.say("open bob liability EUR unlimited");
    let (ann, bob) = (desk.account("ann"), desk.account("bob"));
    let owed = Money::new(500, "EUR".parse().unwrap());
    desk.state.apply(&event(vec![Posting::debit(ann, owed), Posting::credit(bob, owed)])).unwrap();
    let refused = Rejection::InsufficientFunds { account: ann, available_minor: -500, required_minor: 1 };
    for (line, expected) in [
        ("top_up ann 1 EUR", Verdict::Accepted),
        ("transfer bob ann 4 EUR", Verdict::Accepted),
        ("entry D ann 1 EUR C ann 1 EUR", Verdict::Accepted),
        ("top_up ann 1 EUR fee 1.01", Verdict::Rejected(refused.clone())),
        ("up_to ann bob 0.01 EUR", Verdict::Rejected(refused.clone())),
        ("transfer ann bob 0.01 EUR", Verdict::Rejected(refused)),
    ] {
        assert_eq!(verdict(&mut desk, line), expected, "{line}");
    }
}
