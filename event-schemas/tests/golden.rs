//! Version 1, as it was released: what these files hold is read for ever, to the same values, and written to the same
//! bytes. `UPDATE_GOLDEN=1` rewrites them, which is right before the first release and wrong ever after; a later version
//! gets a folder of its own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_for_each)]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use event_schemas::bounds::{AMOUNT_MAX_MINOR, TEXT_MAX_BYTES};
use event_schemas::codec::Reader;
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, CaptureHold, CashMove, OpenAccount, PlaceHold, PostEntry, PostTransfer,
    ReverseEntry, ReversedPart, VoidHold,
};
use event_schemas::event::{
    BookOpened, ClockAccepted, CommandRejected, EntryPosted, EntryReversed, HoldCaptured, HoldExpired, HoldPlaced,
    HoldVoided, StateDigest,
};
use event_schemas::{
    AccountId, Block, BookId, Cause, CivilDate, CommandBody, CommandId, Currency, Digest, EntryKind, Event, EventBody,
    Money, Posting, PrincipalId, Rejection, Sequence, Timestamp, testing,
};
use serde_json::{Value, json};

const ANN: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_000a);
const BOB: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_000b);
const CLEARING: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_000c);
const FEES: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_000f);
const VERDICT: Cause = Cause::Verdict { command: CommandId(0xc0), actor: PrincipalId(0xac) };
const CONSEQUENCE: Cause = Cause::Consequence { command: CommandId(0xc0), actor: PrincipalId(0xac) };

fn eur(minor: i128) -> Money {
    Money::new(minor, Currency::from_parts(*b"EUR", 2).unwrap())
}

fn date(text: &str) -> CivilDate {
    text.parse().unwrap()
}

fn open(account: AccountId, kind: AccountKind, policy: BalancePolicy) -> OpenAccount {
    let currency = eur(0).currency;
    OpenAccount { account, code: "berka:2378".into(), kind, currency, owner: "client:1".into(), policy }
}

fn cash(amount: Money, fee_minor: i128) -> CashMove {
    CashMove { account: ANN, amount, fee_minor, effective_on: None, reference: "salary".into() }
}

fn transfer() -> PostTransfer {
    let effective_on = Some(date("1993-01-05"));
    PostTransfer { from: ANN, to: BOB, amount: eur(2_500), fee_minor: 25, effective_on, reference: "rent".into() }
}

fn entry(kind: EntryKind, postings: Vec<Posting>) -> EventBody {
    EventBody::EntryPosted(EntryPosted {
        kind,
        effective_on: date("1993-01-05"),
        effective_on_named: kind == EntryKind::General,
        reference: "Überweisung 7".into(),
        postings: postings.into(),
    })
}

fn rejected(command: CommandBody, rejection: Rejection) -> EventBody {
    EventBody::CommandRejected(CommandRejected { command, rejection })
}

/// Every event, every command as a refusal quotes it, every rejection, and values at their bounds.
fn cases() -> Vec<(String, Event)> {
    let act = AccountAct { account: ANN, reason: "lost card".into() };
    let bare = AccountAct { account: ANN, reason: "".into() };
    let money = Money::new;
    let of = |code: [u8; 3], exponent| Currency::from_parts(code, exponent).unwrap();
    let mut cases = vec![
        (
            "book_opened",
            Cause::Engine,
            EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce: PrincipalId(7) }),
        ),
        (
            "account_opened",
            VERDICT,
            EventBody::AccountOpened(open(
                ANN,
                AccountKind::Liability,
                BalancePolicy::Limited { overdraft_minor: 2_000_000 },
            )),
        ),
        (
            "account_opened_as_a_consequence",
            CONSEQUENCE,
            EventBody::AccountOpened(OpenAccount {
                account: CLEARING,
                code: "sys:psp-clearing:EUR".into(),
                kind: AccountKind::Asset,
                currency: eur(0).currency,
                owner: "".into(),
                policy: BalancePolicy::Unlimited,
            }),
        ),
        ("account_frozen", VERDICT, EventBody::AccountFrozen(act.clone())),
        ("account_unfrozen", VERDICT, EventBody::AccountUnfrozen(bare.clone())),
        ("account_closed", VERDICT, EventBody::AccountClosed(act.clone())),
        (
            "entry_top_up",
            VERDICT,
            entry(
                EntryKind::TopUp,
                vec![
                    Posting::debit(CLEARING, eur(10_000)),
                    Posting::credit(ANN, eur(10_000)),
                    Posting::debit(ANN, eur(100)),
                    Posting::credit(FEES, eur(100)),
                ],
            ),
        ),
        (
            "entry_withdrawal",
            VERDICT,
            entry(EntryKind::Withdrawal, vec![Posting::debit(ANN, eur(1)), Posting::credit(CLEARING, eur(1))]),
        ),
        (
            "entry_transfer",
            VERDICT,
            entry(
                EntryKind::Transfer,
                vec![Posting::debit(ANN, eur(2_525)), Posting::credit(BOB, eur(2_500)), Posting::credit(FEES, eur(25))],
            ),
        ),
        (
            "entry_general_of_four_currencies",
            VERDICT,
            entry(
                EntryKind::General,
                [of(*b"JPY", 0), of(*b"BHD", 3), of(*b"CLF", 4), of(*b"EUR", 2)]
                    .into_iter()
                    .flat_map(|currency| {
                        let money = money(AMOUNT_MAX_MINOR, currency);
                        [Posting::debit(ANN, money), Posting::credit(BOB, money)]
                    })
                    .collect(),
            ),
        ),
        (
            "entry_of_a_length_of_three_bytes",
            VERDICT,
            entry(
                EntryKind::General,
                (0..500).flat_map(|_| [Posting::debit(ANN, eur(1)), Posting::credit(BOB, eur(1))]).collect(),
            ),
        ),
        (
            "state_digest",
            Cause::Engine,
            EventBody::StateDigest(StateDigest { digest: Digest([0xd1; 32]), accounts: 100_000 }),
        ),
        (
            "clock_accepted",
            Cause::Engine,
            EventBody::ClockAccepted(ClockAccepted {
                previous: Timestamp::MIN,
                accepted: Timestamp::MAX,
                actor: "operator".into(),
                reason: "x".repeat(TEXT_MAX_BYTES).into(),
            }),
        ),
    ];
    let general = PostEntry {
        postings: vec![Posting::debit(ANN, eur(1)), Posting::credit(BOB, eur(2))].into(),
        effective_on: Some(CivilDate::MAX),
        reference: "".into(),
    };
    let out_of_bounds = PostEntry { postings: vec![].into(), effective_on: None, reference: "".into() };
    let negative = BalancePolicy::Limited { overdraft_minor: -1 };
    let top_up = || CommandBody::TopUp(cash(eur(100), 0));
    let refusals = [
        ("postings_out_of_bounds", CommandBody::PostEntry(out_of_bounds), Rejection::PostingsOutOfBounds { count: 0 }),
        ("amount_not_positive", CommandBody::TopUp(cash(eur(-5), -1)), Rejection::AmountNotPositive),
        (
            "overdraft_negative",
            CommandBody::OpenAccount(open(BOB, AccountKind::Equity, negative)),
            Rejection::AmountNotPositive,
        ),
        (
            "amount_too_large",
            CommandBody::Withdraw(cash(eur(AMOUNT_MAX_MINOR + 1), i128::MAX)),
            Rejection::AmountTooLarge,
        ),
        (
            "effective_date_out_of_range",
            CommandBody::PostEntry(general.clone()),
            Rejection::EffectiveDateOutOfRange { earliest: date("1900-01-01"), latest: date("2027-11-22") },
        ),
        (
            "account_code_invalid",
            CommandBody::OpenAccount(open(BOB, AccountKind::Income, BalancePolicy::Unlimited)),
            Rejection::AccountCodeInvalid,
        ),
        (
            "account_exists",
            CommandBody::OpenAccount(open(ANN, AccountKind::Expense, BalancePolicy::NO_OVERDRAFT)),
            Rejection::AccountExists { account: ANN },
        ),
        ("same_account", CommandBody::PostTransfer(transfer()), Rejection::SameAccount { account: ANN }),
        ("account_not_found", top_up(), Rejection::AccountNotFound { account: ANN }),
        ("account_closed", CommandBody::CloseAccount(act.clone()), Rejection::AccountClosed { account: ANN }),
        ("account_frozen", CommandBody::FreezeAccount(act), Rejection::AccountFrozen { account: ANN }),
        ("account_not_frozen", CommandBody::UnfreezeAccount(bare), Rejection::AccountNotFrozen { account: ANN }),
        (
            "currency_mismatch",
            CommandBody::TopUp(cash(money(1, of(*b"JPY", 0)), 0)),
            Rejection::CurrencyMismatch { account: ANN, account_currency: eur(0).currency },
        ),
        (
            "entry_unbalanced",
            CommandBody::PostEntry(general),
            Rejection::EntryUnbalanced { currency: eur(0).currency, debits_minor: 1, credits_minor: 2 },
        ),
        ("account_not_empty", top_up(), Rejection::AccountNotEmpty { account: ANN, balance_minor: -1_905_680 }),
        (
            "insufficient_funds",
            CommandBody::PostTransfer(transfer()),
            Rejection::InsufficientFunds { account: ANN, available_minor: -1, required_minor: 2_525 },
        ),
        ("balance_overflow", top_up(), Rejection::BalanceOverflow { account: ANN }),
    ];
    let refusals = refusals.map(|(name, command, rejection)| (name, VERDICT, rejected(command, rejection)));
    cases.extend(refusals);
    cases.extend(holds_and_reversals());
    cases
        .into_iter()
        .map(|(name, cause, body)| {
            let name =
                if matches!(body, EventBody::CommandRejected(_)) { format!("rejected_{name}") } else { name.into() };
            (name, Event { cause, body })
        })
        .collect()
}

/// What is held and what is taken back: events, the commands as a refusal quotes them, and the rejections.
fn holds_and_reversals() -> Vec<(&'static str, Cause, EventBody)> {
    const HOLD: CommandId = CommandId(0xb01d);
    let deadline = Timestamp(1_795_262_400_000_000);
    let place = |expires_at| PlaceHold { account: ANN, amount: eur(12_150), expires_at, reference: "bill 7".into() };
    let placed = |expires_at| {
        let PlaceHold { account, amount, expires_at, reference } = place(expires_at);
        EventBody::HoldPlaced(HoldPlaced { account, amount, expires_at, reference })
    };
    let captured = HoldCaptured {
        hold: HOLD,
        last: true,
        released_minor: 150,
        left_minor: 0,
        effective_on: date("1993-01-05"),
        effective_on_named: false,
        reference: "biller".into(),
        postings: vec![
            Posting::debit(ANN, eur(12_000)),
            Posting::credit(BOB, eur(11_900)),
            Posting::credit(FEES, eur(100)),
        ]
        .into(),
    };
    let part = HoldCaptured {
        last: false,
        released_minor: 0,
        left_minor: 12_149,
        effective_on_named: true,
        postings: vec![Posting::debit(ANN, eur(1)), Posting::credit(BOB, eur(1))].into(),
        ..captured.clone()
    };
    let reversed = EntryReversed {
        entry: HOLD,
        reverses: Sequence(300),
        rest: true,
        effective_on: date("1993-01-06"),
        effective_on_named: false,
        reference: "wrong biller".into(),
        postings: vec![
            Posting::credit(ANN, eur(12_000)),
            Posting::debit(BOB, eur(11_900)),
            Posting::debit(FEES, eur(100)),
        ]
        .into(),
        places: vec![0, 1, 2],
    };
    let in_part = EntryReversed {
        rest: false,
        effective_on_named: true,
        postings: vec![Posting::debit(BOB, eur(1)), Posting::credit(ANN, eur(1))].into(),
        places: vec![1, 0],
        ..reversed.clone()
    };
    let capture = || {
        CommandBody::CaptureHold(CaptureHold {
            hold: HOLD,
            to: BOB,
            amount: eur(11_900),
            fee_minor: 100,
            last: true,
            effective_on: Some(date("1993-01-05")),
            reference: "biller".into(),
        })
    };
    let void = || CommandBody::VoidHold(VoidHold { hold: HOLD, reason: "canceled".into() });
    let reverse = |postings| {
        CommandBody::ReverseEntry(ReverseEntry { entry: HOLD, postings, effective_on: None, reference: "".into() })
    };
    let parts =
        vec![ReversedPart { posting: 1, amount_minor: 5 }, ReversedPart { posting: u32::MAX, amount_minor: -5 }];
    let mut cases = vec![
        ("hold_placed", VERDICT, placed(Some(deadline))),
        ("hold_placed_without_a_deadline", VERDICT, placed(None)),
        ("hold_captured_for_the_last_time", VERDICT, EventBody::HoldCaptured(captured)),
        ("hold_captured_in_part", VERDICT, EventBody::HoldCaptured(part)),
        (
            "hold_voided",
            VERDICT,
            EventBody::HoldVoided(HoldVoided {
                hold: HOLD,
                account: ANN,
                released: eur(12_150),
                reason: "canceled".into(),
            }),
        ),
        (
            "hold_expired",
            Cause::Engine,
            EventBody::HoldExpired(HoldExpired {
                hold: HOLD,
                account: ANN,
                released: eur(12_150),
                expires_at: deadline,
            }),
        ),
        ("entry_reversed", VERDICT, EventBody::EntryReversed(reversed)),
        ("entry_reversed_in_part", VERDICT, EventBody::EntryReversed(in_part)),
    ];
    let (left_minor, required_minor) = (12_150, 12_151);
    let refusals = [
        (
            "expiry_out_of_range",
            CommandBody::PlaceHold(place(Some(Timestamp::MAX))),
            Rejection::ExpiryOutOfRange { after: deadline, latest: Timestamp(deadline.0 + 1) },
        ),
        ("hold_not_found", capture(), Rejection::HoldNotFound { hold: HOLD }),
        ("hold_not_open", void(), Rejection::HoldNotOpen { hold: HOLD }),
        ("hold_expired", capture(), Rejection::HoldExpired { hold: HOLD, expires_at: deadline }),
        ("original_not_found", reverse(None), Rejection::OriginalNotFound { entry: HOLD }),
        ("original_not_an_entry", reverse(None), Rejection::OriginalNotAnEntry { entry: HOLD }),
        ("original_is_reversal", reverse(None), Rejection::OriginalIsReversal { entry: HOLD }),
        ("original_reversed", reverse(None), Rejection::OriginalReversed { entry: HOLD }),
        (
            "reversal_above_original",
            reverse(Some(parts)),
            Rejection::ReversalAboveOriginal { entry: HOLD, posting: 1, left_minor, required_minor },
        ),
        ("capture_above_hold", capture(), Rejection::CaptureAboveHold { hold: HOLD, left_minor, required_minor }),
        ("hold_not_possible", CommandBody::PlaceHold(place(None)), Rejection::HoldNotPossible { account: ANN }),
        ("too_many_holds", CommandBody::PlaceHold(place(None)), Rejection::TooManyHolds { limit: 1_000_000 }),
        ("account_has_holds", void(), Rejection::AccountHasHolds { account: ANN, held_minor: 12_150 }),
    ];
    cases.extend(refusals.map(|(name, command, rejection)| (name, VERDICT, rejected(command, rejection))));
    cases
}

/// Three blocks of the journal of book 1: one event each but the first of a kind.
fn journal() -> Vec<Block> {
    let events: Vec<_> = cases().into_iter().map(|(_, event)| event).collect();
    testing::chain(BookId::FIRST, &[events[..7].to_vec(), events[7..30].to_vec(), events[30..].to_vec()])
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/v1").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The lines of a golden file, each a JSON object; rewritten first if that was asked for.
fn lines(name: &str, fresh: impl Fn() -> Vec<Value>) -> Vec<Value> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines: Vec<_> = fresh().iter().map(Value::to_string).collect();
        fs::write(file(name), lines.join("\n") + "\n").unwrap();
    }
    fs::read_to_string(file(name)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn events_of_version_1_are_read_and_written_as_ever() {
    let golden = lines("events.jsonl", || {
        let line = |(name, event): (String, Event)| {
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            json!({ "case": name, "bytes": hex(&bytes), "event": event })
        };
        cases().into_iter().map(line).collect()
    });
    let cases = cases();
    assert_eq!(golden.len(), cases.len());
    for (line, (name, event)) in golden.iter().zip(cases) {
        assert_eq!(line["case"], name);
        let bytes = unhex(line["bytes"].as_str().unwrap());
        let mut reader = Reader::new(&bytes);
        assert_eq!(Event::decode(&mut reader).unwrap(), event, "{name}");
        reader.finish().unwrap();
        let mut written = Vec::new();
        event.encode(&mut written);
        assert_eq!(hex(&written), line["bytes"], "{name}");
        assert_eq!(serde_json::from_value::<Event>(line["event"].clone()).unwrap(), event, "{name}");
        assert_eq!(serde_json::to_value(&event).unwrap(), line["event"], "{name}");
    }
}

#[test]
fn every_type_is_among_the_cases() {
    let cases = cases();
    for name in EventBody::TYPE_NAMES {
        assert!(cases.iter().any(|(_, event)| event.body.type_name() == name), "{name}");
    }
}

#[test]
fn a_journal_of_version_1_is_read_and_chained_as_ever() {
    let golden = lines("journal.jsonl", || {
        journal().iter().map(|block| json!({ "hash": block.hash(), "bytes": hex(block.bytes()) })).collect()
    });
    let expected = journal();
    assert_eq!(golden.len(), expected.len());
    let mut previous = Digest::default();
    for (line, expected) in golden.iter().zip(&expected) {
        let block = Block::from_bytes(unhex(line["bytes"].as_str().unwrap())).unwrap();
        assert_eq!(&block, expected);
        assert_eq!(block.hash().to_string(), line["hash"]);
        assert_eq!(block.header().previous, previous);
        previous = block.hash();
        let mut payload = Vec::new();
        block.events().for_each(|event| event.unwrap().1.encode(&mut payload));
        assert_eq!(payload, block.payload());
    }
    let events: Vec<_> = expected.iter().flat_map(Block::events).map(|event| event.unwrap().1).collect();
    assert_eq!(events, cases().into_iter().map(|(_, event)| event).collect::<Vec<_>>());
}
