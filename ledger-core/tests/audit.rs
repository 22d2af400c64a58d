//! The auditor finds what is wrong: a row for each law, in a book that `decide` would never have made.

#![allow(
    clippy::type_complexity,
    clippy::indexing_slicing,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod desk;

use desk::{ACTOR, BOOK, Desk, NOON};
use event_schemas::command::{AccountAct, AccountKind, BalancePolicy, CommandBody, OpenAccount};
use event_schemas::event::{
    BookOpened, CommandRejected, EntryPosted, EntryReversed, HoldCaptured, HoldExpired, HoldPlaced, HoldVoided,
    StateDigest,
};
use event_schemas::{
    AccountId, Cause, CivilDate, CommandId, Digest, EntryKind, Event, EventBody, Money, Posting, PrincipalId,
    Rejection, Sequence, Timestamp,
};
use ledger_core::audit::{Auditor, FINDINGS_KEPT, Law};

const ANN: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const USD: AccountId = AccountId(3);
const PIT: AccountId = AccountId(4);

fn eur(minor: i128) -> Money {
    Money::new(minor, "EUR".parse().unwrap())
}

fn open(account: AccountId, kind: AccountKind, currency: &str, policy: BalancePolicy) -> EventBody {
    let currency = currency.parse().unwrap();
    EventBody::AccountOpened(OpenAccount { account, code: "".into(), kind, currency, owner: "".into(), policy })
}

fn coded(code: &str, account: AccountId) -> EventBody {
    let EventBody::AccountOpened(open) = open(account, AccountKind::Asset, "EUR", BalancePolicy::Unlimited) else {
        unreachable!()
    };
    EventBody::AccountOpened(OpenAccount { code: code.into(), ..open })
}

fn entry(postings: &[Posting]) -> EventBody {
    entry_on(postings, "2026-11-21".parse().unwrap())
}

fn entry_on(postings: &[Posting], effective_on: CivilDate) -> EventBody {
    EventBody::EntryPosted(EntryPosted {
        kind: EntryKind::General,
        fee_rule: None,
        at_most_minor: None,
        effective_on,
        effective_on_named: true,
        reference: "".into(),
        postings: postings.into(),
    })
}

fn act(account: AccountId) -> AccountAct {
    AccountAct { account, reason: "".into() }
}

fn rejected(rejection: Rejection) -> EventBody {
    EventBody::CommandRejected(CommandRejected { command: CommandBody::CloseAccount(act(ANN)), rejection })
}

/// A book with four accounts: `ann` and `pit` have 100 each, `bob` may owe 50, `usd` is in another currency.
struct Book {
    auditor: Auditor,
    sequence: u64,
    commands: u128,
}

impl Book {
    fn new() -> Self {
        let mut book = Self { auditor: Auditor::new(), sequence: 0, commands: 0 };
        book.event(Event::engine(EventBody::BookOpened(BookOpened { book: BOOK, nonce: PrincipalId(0) })));
        let none = BalancePolicy::NO_OVERDRAFT;
        book.verdict(open(ANN, AccountKind::Liability, "EUR", none));
        book.verdict(open(BOB, AccountKind::Liability, "EUR", BalancePolicy::Limited { overdraft_minor: 50 }));
        book.verdict(open(USD, AccountKind::Liability, "USD", BalancePolicy::Unlimited));
        book.verdict(open(PIT, AccountKind::Asset, "EUR", none));
        book.verdict(entry(&[Posting::debit(PIT, eur(100)), Posting::credit(ANN, eur(100))]));
        assert_eq!(book.auditor.findings(), []);
        book
    }

    fn event(&mut self, event: Event) {
        self.sequence += 1;
        self.auditor.observe(Sequence(self.sequence), &event);
    }

    fn verdict(&mut self, body: EventBody) {
        self.commands += 1;
        self.event(Event { cause: Cause::Verdict { command: CommandId(self.commands), actor: ACTOR }, body });
    }

    fn laws(&self) -> Vec<Law> {
        let mut laws: Vec<_> = self.auditor.findings().iter().map(|finding| finding.law).collect();
        laws.dedup();
        laws
    }
}

#[test]
fn each_law_is_seen_when_it_is_broken() {
    let (debit, credit) = (|id, minor| Posting::debit(id, eur(minor)), |id, minor| Posting::credit(id, eur(minor)));
    let usd = |minor| Money::new(minor, "USD".parse().unwrap());
    let digest = |digest, accounts| EventBody::StateDigest(StateDigest { digest, accounts });
    let cases: Vec<(&str, Vec<EventBody>, &[Law])> = vec![
        ("a good entry", vec![entry(&[debit(ANN, 100), credit(BOB, 100)])], &[]),
        ("to the floor", vec![entry(&[debit(BOB, 50), credit(ANN, 50)])], &[]),
        ("below the floor", vec![entry(&[debit(BOB, 51), credit(ANN, 51)])], &[Law::PolicyRespected]),
        ("below zero", vec![entry(&[debit(ANN, 101), credit(BOB, 101)])], &[Law::PolicyRespected]),
        (
            "an asset below zero",
            vec![entry(&[debit(BOB, 1), credit(PIT, 101), debit(ANN, 100)])],
            &[Law::PolicyRespected],
        ),
        ("unbalanced", vec![entry(&[debit(ANN, 1), credit(BOB, 2)])], &[Law::EntryBalanced]),
        (
            "balanced over currencies only",
            vec![entry(&[debit(ANN, 1), Posting::credit(USD, usd(1))])],
            &[Law::EntryBalanced],
        ),
        ("one posting", vec![entry(&[debit(PIT, 1)])], &[Law::EntryInBounds, Law::EntryBalanced]),
        ("nothing moves", vec![entry(&[debit(ANN, 0), credit(BOB, 0)])], &[Law::EntryInBounds]),
        ("against the grain", vec![entry(&[debit(ANN, -1), credit(BOB, -1)])], &[Law::EntryInBounds]),
        (
            "before 1900",
            vec![entry_on(&[debit(ANN, 1), credit(BOB, 1)], "1899-12-31".parse().unwrap())],
            &[Law::EntryInBounds],
        ),
        ("no such account", vec![entry(&[debit(ANN, 1), credit(AccountId(9), 1)])], &[Law::AccountsOpen]),
        ("wrong currency", vec![entry(&[debit(ANN, 1), credit(USD, 1)])], &[Law::CurrencyMatches]),
        (
            "frozen",
            vec![EventBody::AccountFrozen(act(BOB)), entry(&[debit(ANN, 1), credit(BOB, 1)])],
            &[Law::AccountsOpen],
        ),
        (
            "thawed",
            vec![
                EventBody::AccountFrozen(act(BOB)),
                EventBody::AccountUnfrozen(act(BOB)),
                entry(&[debit(ANN, 1), credit(BOB, 1)]),
            ],
            &[],
        ),
        (
            "closed",
            vec![EventBody::AccountClosed(act(BOB)), entry(&[debit(ANN, 1), credit(BOB, 1)])],
            &[Law::AccountsOpen],
        ),
        ("closed with money", vec![EventBody::AccountClosed(act(ANN))], &[Law::StatusFollows]),
        (
            "frozen twice",
            vec![EventBody::AccountFrozen(act(ANN)), EventBody::AccountFrozen(act(ANN))],
            &[Law::StatusFollows],
        ),
        ("not frozen", vec![EventBody::AccountUnfrozen(act(ANN))], &[Law::StatusFollows]),
        (
            "closed twice",
            vec![EventBody::AccountClosed(act(BOB)), EventBody::AccountClosed(act(BOB))],
            &[Law::StatusFollows],
        ),
        ("freezing nothing", vec![EventBody::AccountFrozen(act(AccountId(9)))], &[Law::StatusFollows]),
        (
            "opened twice",
            vec![open(ANN, AccountKind::Asset, "EUR", BalancePolicy::Unlimited)],
            &[Law::AccountsOpenedOnce],
        ),
        ("another code's id", vec![coded("ann", AccountId::from_code(BOOK, "bob"))], &[Law::AccountsOpenedOnce]),
        (
            "an id for a code without one",
            vec![coded("", AccountId::from_code(BOOK, "bob"))],
            &[Law::AccountsOpenedOnce],
        ),
        (
            "a system account by hand",
            vec![coded("sys:x", AccountId::from_code(BOOK, "sys:x"))],
            &[Law::AccountsOpenedOnce],
        ),
        (
            "an overdraft below zero",
            vec![open(AccountId(9), AccountKind::Asset, "EUR", BalancePolicy::Limited { overdraft_minor: -1 })],
            &[Law::AccountsOpenedOnce],
        ),
        ("a wrong digest", vec![digest(Digest::default(), 4)], &[Law::OneVerdict, Law::StateDigestAgrees]),
        ("a false rejection", vec![rejected(Rejection::AccountNotFound { account: ANN })], &[Law::RejectionHolds]),
        ("a true rejection", vec![rejected(Rejection::AccountNotEmpty { account: ANN, balance_minor: 100 })], &[]),
        (
            "a rejection that saw another balance",
            vec![rejected(Rejection::AccountNotEmpty { account: ANN, balance_minor: 99 })],
            &[Law::RejectionHolds],
        ),
        (
            "funds that would have been enough",
            vec![rejected(Rejection::InsufficientFunds { account: BOB, available_minor: 50, required_minor: 50 })],
            &[Law::RejectionHolds],
        ),
        (
            "funds that were others",
            vec![rejected(Rejection::InsufficientFunds { account: BOB, available_minor: 49, required_minor: 60 })],
            &[Law::RejectionHolds],
        ),
        ("a false freeze", vec![rejected(Rejection::AccountFrozen { account: ANN })], &[Law::RejectionHolds]),
    ];
    for (name, bodies, expected) in cases {
        let mut book = Book::new();
        bodies.into_iter().for_each(|body| book.verdict(body));
        assert_eq!(book.laws(), expected, "{name}: {:?}", book.auditor.findings());
        assert!(book.auditor.findings().iter().all(|finding| finding.sequence == Sequence(book.sequence)));
    }
}

/// The first command after those of [`Book::new`].
const NEXT: CommandId = CommandId(6);
/// The entry that [`Book::new`] posts, and where it stands.
const ENTRY: (CommandId, Sequence) = (CommandId(5), Sequence(6));

fn at(seconds: i64) -> Timestamp {
    Timestamp(NOON.0 + seconds * 1_000_000)
}

fn hold_on(account: AccountId, minor: i128, expires_at: Option<Timestamp>) -> EventBody {
    EventBody::HoldPlaced(HoldPlaced { account, amount: eur(minor), expires_at, reference: "".into() })
}

fn capture(minor: i128, released_minor: i128, left_minor: i128, last: bool) -> EventBody {
    EventBody::HoldCaptured(HoldCaptured {
        hold: NEXT,
        fee_rule: None,
        last,
        released_minor,
        left_minor,
        effective_on: NOON.date_utc(),
        effective_on_named: false,
        reference: "".into(),
        postings: vec![Posting::debit(ANN, eur(minor)), Posting::credit(BOB, eur(minor))].into(),
    })
}

fn void(account: AccountId, minor: i128) -> EventBody {
    EventBody::HoldVoided(HoldVoided { hold: NEXT, account, released: eur(minor), reason: "".into() })
}

fn expire(hold: CommandId, minor: i128, expires_at: Timestamp) -> EventBody {
    EventBody::HoldExpired(HoldExpired { hold, account: ANN, released: eur(minor), expires_at })
}

fn reversal(of: (CommandId, Sequence), places: &[u32], postings: &[Posting]) -> EventBody {
    EventBody::EntryReversed(EntryReversed {
        entry: of.0,
        reverses: of.1,
        rest: true,
        effective_on: NOON.date_utc(),
        effective_on_named: false,
        reference: "".into(),
        postings: postings.into(),
        places: places.to_vec(),
    })
}

/// Laws 5 and 6: what `decide` would never say is seen, each at its time.
#[test]
fn holds_deadlines_and_reversals_are_watched() {
    let place = || hold_on(ANN, 60, Some(at(10)));
    let (debit, credit) = (|id, minor| Posting::debit(id, eur(minor)), |id, minor| Posting::credit(id, eur(minor)));
    let back = |minor| reversal(ENTRY, &[0, 1], &[credit(PIT, minor), debit(ANN, minor)]);
    let other = CommandId(NEXT.0 + 1);
    let adds_up: &[Law] = &[Law::HoldsAddUp];
    let (in_time, once): (&[Law], &[Law]) = (&[Law::DeadlinesKept], &[Law::ReversedAtMostOnce]);
    let cases: Vec<(&str, Vec<(i64, EventBody)>, &[Law])> = vec![
        (
            "a hold and its capture",
            vec![(0, place()), (9, capture(20, 0, 40, false)), (9, capture(30, 10, 0, true))],
            &[],
        ),
        ("held to the floor", vec![(0, hold_on(BOB, 50, None))], &[]),
        ("held below the floor", vec![(0, hold_on(BOB, 51, None))], &[Law::PolicyRespected]),
        (
            "what is held is spent",
            vec![(0, place()), (1, entry(&[debit(ANN, 41), credit(BOB, 41)]))],
            &[Law::PolicyRespected],
        ),
        ("nothing is held", vec![(0, hold_on(ANN, 0, None))], adds_up),
        ("held on an asset", vec![(0, hold_on(PIT, 1, None))], adds_up),
        ("captured and held all the same", vec![(0, place()), (1, capture(30, 0, 60, false))], adds_up),
        ("more than is held", vec![(0, place()), (1, capture(61, 0, -1, false))], adds_up),
        ("released without being the last", vec![(0, place()), (1, capture(20, 40, 0, false))], adds_up),
        ("the last, and something is left", vec![(0, place()), (1, capture(20, 0, 40, true))], adds_up),
        ("captured after a void", vec![(0, place()), (1, void(ANN, 60)), (2, capture(1, 0, 59, false))], adds_up),
        ("voided twice", vec![(0, place()), (1, void(ANN, 60)), (2, void(ANN, 60))], adds_up),
        ("another amount is voided", vec![(0, place()), (1, void(ANN, 59))], adds_up),
        ("another account is voided", vec![(0, place()), (1, void(BOB, 60))], adds_up),
        (
            "closed under a hold",
            vec![(0, hold_on(BOB, 5, None)), (1, EventBody::AccountClosed(act(BOB)))],
            &[Law::StatusFollows],
        ),
        ("captured at the deadline", vec![(0, place()), (10, capture(20, 0, 40, false))], in_time),
        ("voided after the deadline", vec![(0, place()), (11, void(ANN, 60))], in_time),
        ("placed too late", vec![(10, place())], in_time),
        ("expired too early", vec![(0, place()), (9, expire(NEXT, 60, at(10)))], in_time),
        ("expired on time", vec![(0, place()), (10, expire(NEXT, 60, at(10)))], &[]),
        ("expired without a deadline", vec![(0, hold_on(ANN, 60, None)), (10, expire(NEXT, 60, at(10)))], in_time),
        (
            "expired before an earlier one",
            vec![(0, place()), (0, hold_on(ANN, 5, Some(at(11)))), (12, expire(other, 5, at(11)))],
            in_time,
        ),
        ("expired with another amount", vec![(0, place()), (10, expire(NEXT, 59, at(10)))], adds_up),
        ("reversed in parts", vec![(0, back(40)), (0, back(60))], &[]),
        (
            "reversed beyond the original",
            vec![(0, back(40)), (0, back(61))],
            &[Law::ReversedAtMostOnce, Law::PolicyRespected],
        ),
        (
            "reversed beyond the original with funds to spare",
            vec![
                (0, entry(&[debit(BOB, 50), credit(ANN, 50)])),
                (0, entry(&[debit(ANN, 1), credit(PIT, 1), debit(PIT, 100), credit(ANN, 100)])),
                (0, back(60)),
                (0, back(41)),
            ],
            once,
        ),
        ("a side that is not swapped", vec![(0, reversal(ENTRY, &[0, 1], &[debit(PIT, 5), credit(ANN, 5)]))], once),
        ("places that are swapped", vec![(0, reversal(ENTRY, &[1, 0], &[credit(PIT, 5), debit(ANN, 5)]))], once),
        ("a place that is not there", vec![(0, reversal(ENTRY, &[0, 2], &[credit(PIT, 5), debit(ANN, 5)]))], once),
        (
            "another sequence",
            vec![(0, reversal((ENTRY.0, Sequence(5)), &[0, 1], &[credit(PIT, 5), debit(ANN, 5)]))],
            once,
        ),
        (
            "nothing that was posted",
            vec![(0, reversal((CommandId(1), Sequence(2)), &[0, 1], &[credit(PIT, 5), debit(ANN, 5)]))],
            once,
        ),
        (
            "a reversal of a reversal",
            vec![(0, back(5)), (0, reversal((NEXT, Sequence(7)), &[0, 1], &[debit(PIT, 5), credit(ANN, 5)]))],
            once,
        ),
        (
            "a hold that is there",
            vec![(0, place()), (1, rejected(Rejection::HoldNotOpen { hold: NEXT }))],
            &[Law::RejectionHolds],
        ),
        (
            "a hold that was there",
            vec![(0, place()), (1, rejected(Rejection::HoldNotFound { hold: NEXT }))],
            &[Law::RejectionHolds],
        ),
        (
            "a deadline that has not come",
            vec![(0, place()), (9, rejected(Rejection::HoldExpired { hold: NEXT, expires_at: at(10) }))],
            &[Law::RejectionHolds],
        ),
        (
            "an original that is there",
            vec![(0, rejected(Rejection::OriginalNotFound { entry: ENTRY.0 }))],
            &[Law::RejectionHolds],
        ),
        (
            "an original with much left",
            vec![(0, rejected(Rejection::OriginalReversed { entry: ENTRY.0 }))],
            &[Law::RejectionHolds],
        ),
        (
            "less left than there is said to be",
            vec![
                (0, back(40)),
                (
                    0,
                    rejected(Rejection::ReversalAboveOriginal {
                        entry: ENTRY.0,
                        posting: 0,
                        left_minor: 61,
                        required_minor: 62,
                    }),
                ),
            ],
            &[Law::RejectionHolds],
        ),
    ];
    for (name, bodies, expected) in cases {
        let mut book = Book::new();
        for (seconds, body) in bodies {
            book.auditor.at(at(seconds));
            if matches!(body, EventBody::HoldExpired(_)) { book.event(Event::engine(body)) } else { book.verdict(body) }
        }
        assert_eq!(book.laws(), expected, "{name}: {:?}", book.auditor.findings());
        assert!(book.auditor.findings().iter().all(|finding| finding.sequence == Sequence(book.sequence)), "{name}");
    }
}

#[test]
fn causes_and_sequences_are_watched() {
    let entry = || entry(&[Posting::debit(ANN, eur(1)), Posting::credit(BOB, eur(1))]);
    let verdict = |command| Cause::Verdict { command: CommandId(command), actor: ACTOR };
    let consequence = |command| Cause::Consequence { command: CommandId(command), actor: ACTOR };
    let system = || coded("sys:x", AccountId::from_code(BOOK, "sys:x"));
    let cases: Vec<(&str, Vec<(u64, Cause, EventBody)>, &[Law])> = vec![
        ("in order", vec![(7, verdict(70), entry()), (8, verdict(71), entry())], &[]),
        ("a gap", vec![(8, verdict(70), entry())], &[Law::SequencesDense]),
        ("twice", vec![(7, verdict(70), entry()), (7, verdict(71), entry())], &[Law::SequencesDense]),
        ("a second verdict", vec![(7, verdict(70), entry()), (8, verdict(70), entry())], &[Law::OneVerdict]),
        ("a consequence and its verdict", vec![(7, consequence(70), system()), (8, verdict(70), entry())], &[]),
        ("a consequence alone", vec![(7, consequence(70), system())], &[Law::OneVerdict]),
        ("another's verdict", vec![(7, consequence(70), system()), (8, verdict(71), entry())], &[Law::OneVerdict]),
        ("an entry of the engine's", vec![(7, Cause::Engine, entry())], &[Law::OneVerdict]),
        (
            "an opening again",
            vec![(7, Cause::Engine, EventBody::BookOpened(BookOpened { book: BOOK, nonce: PrincipalId(0) }))],
            &[Law::BookOpenedOnce],
        ),
    ];
    for (name, events, expected) in cases {
        let mut book = Book::new();
        for (sequence, cause, body) in events {
            book.auditor.observe(Sequence(sequence), &Event { cause, body });
        }
        book.auditor.finish();
        assert_eq!(book.laws(), expected, "{name}: {:?}", book.auditor.findings());
    }
    let mut auditor = Auditor::new();
    auditor.observe(
        Sequence(1),
        &Event { cause: verdict(1), body: open(ANN, AccountKind::Asset, "EUR", BalancePolicy::Unlimited) },
    );
    assert_eq!(auditor.findings()[0].law, Law::BookOpenedOnce);
}

#[test]
fn an_unbalanced_entry_unbalances_the_trial_balance() {
    let mut book = Book::new();
    book.verdict(entry(&[Posting::debit(ANN, eur(1)), Posting::credit(BOB, eur(2))]));
    book.auditor.finish();
    assert_eq!(book.laws(), [Law::EntryBalanced, Law::TrialBalanceZero]);
}

#[test]
fn findings_are_counted_beyond_those_kept() {
    let mut book = Book::new();
    for _ in 0..FINDINGS_KEPT + 5 {
        book.verdict(EventBody::AccountUnfrozen(act(ANN)));
    }
    assert_eq!(book.auditor.findings().len(), FINDINGS_KEPT);
    assert_eq!(book.auditor.findings_total(), FINDINGS_KEPT as u64 + 5);
}

#[test]
fn the_digest_is_that_of_the_state() {
    let mut desk = Desk::new();
    for line in [
        "open ann liability EUR overdraft 5",
        "open bob expense USD unlimited",
        "top_up ann 10 EUR fee 1",
        "withdraw ann 3 EUR",
        "freeze bob",
        "close bob",
        "freeze ann",
        "open cat liability EUR overdraft 9",
        "open dan liability EUR",
        "h1: hold cat 5 EUR",
        "h2: hold cat 3 EUR until 60",
        "e1: capture h1 dan 2 EUR",
        "reverse e1 0 50 1 50",
        "capture h1 dan 1 EUR last",
        "reverse e1",
        "wait 60",
    ] {
        desk.say(line);
        assert_eq!(desk.auditor.digest(), desk.state.digest(), "{line}");
    }
}
