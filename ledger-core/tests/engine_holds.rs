//! Time and earlier verdicts through the engine: holds that expire on the deadline with nobody asking, captures and voids
//! around it, and reversals that find their original wherever it is.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs
)]

mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use event_schemas::bounds::EXPIRIES_PER_BLOCK_MAX;
use event_schemas::command::{
    AccountKind, BalancePolicy, CaptureHold, CashMove, OpenAccount, PlaceHold, ReverseEntry, ReversedPart, VoidHold,
};
use event_schemas::{
    AccountId, BookId, Cause, Command, CommandBody, CommandId, Currency, Event, EventBody, Money, PrincipalId,
    Timestamp,
};
use ledger_core::audit::Auditor;
use ledger_core::engine::{Engine, EngineOptions, EngineParts, StartError};
use ledger_core::ports::{Answer, Checkpoints, CommandSink, Journal, Verdict, WriterState};
use stage::{Hands, MapCheckpoints, MapIndex, START_US};
use stores::memory::MemoryBook;

fn options() -> EngineOptions {
    EngineOptions { nonce: 42, checkpoint_every_events: 1, ..EngineOptions::default() }
}

fn start_with(
    journal: Box<dyn Journal>,
    checkpoints: &Arc<MapCheckpoints>,
    hands: &Hands,
    options: EngineOptions,
) -> Result<Engine, StartError> {
    let checkpoints: Arc<dyn Checkpoints> = Arc::<MapCheckpoints>::clone(checkpoints);
    Engine::start(EngineParts { journal, ids: Box::<MapIndex>::default(), checkpoints, clock: hands.clock(), options })
}

fn start(book: &MemoryBook, hands: &Hands) -> Engine {
    start_with(Box::new(book.writer()), &Arc::default(), hands, options()).unwrap()
}

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn command(id: u128, body: CommandBody) -> Command {
    Command { id: CommandId(id), actor: PrincipalId(7), body }
}

fn open(id: u128, account: u128) -> Command {
    let (account, policy) = (AccountId(account), BalancePolicy::NO_OVERDRAFT);
    let (code, owner) = (Box::default(), Box::default());
    let kind = AccountKind::Liability;
    command(id, CommandBody::OpenAccount(OpenAccount { account, code, kind, currency: eur(), owner, policy }))
}

fn top_up(id: u128, account: u128, minor: i128, reference: &str) -> Command {
    let (account, amount) = (AccountId(account), Money::new(minor, eur()));
    let (effective_on, reference) = (None, reference.into());
    command(id, CommandBody::TopUp(CashMove { account, amount, fee_minor: Some(0), effective_on, reference }))
}

/// A hold on account 10, with a deadline so many microseconds after the start of the test.
fn hold(id: u128, minor: i128, after_us: Option<i64>) -> Command {
    let (account, amount) = (AccountId(10), Money::new(minor, eur()));
    let expires_at = after_us.map(|after| Timestamp(START_US + after));
    command(id, CommandBody::PlaceHold(PlaceHold { account, amount, expires_at, reference: "".into() }))
}

fn capture(id: u128, hold: u128, minor: i128) -> Command {
    let (hold, to, amount) = (CommandId(hold), AccountId(11), Money::new(minor, eur()));
    let (fee_minor, last, effective_on) = (Some(0), false, None);
    command(
        id,
        CommandBody::CaptureHold(CaptureHold { hold, to, amount, fee_minor, last, effective_on, reference: "".into() }),
    )
}

fn void(id: u128, hold: u128) -> Command {
    command(id, CommandBody::VoidHold(VoidHold { hold: CommandId(hold), reason: "".into() }))
}

fn reverse(id: u128, entry: u128, minor: Option<i128>) -> Command {
    let postings = minor
        .map(|amount_minor| vec![ReversedPart { posting: 0, amount_minor }, ReversedPart { posting: 1, amount_minor }]);
    let entry = CommandId(entry);
    command(id, CommandBody::ReverseEntry(ReverseEntry { entry, postings, effective_on: None, reference: "".into() }))
}

fn ask(engine: &Engine, commands: Vec<Command>) -> Vec<Answer> {
    let (sender, receiver) = channel();
    engine.try_submit(commands, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
    receiver.recv_timeout(Duration::from_secs(20)).unwrap().unwrap()
}

/// What was said to each: `ok`, or the code of the refusal.
fn said(engine: &Engine, commands: Vec<Command>) -> Vec<&'static str> {
    let said = |answer| match answer {
        Answer::Recorded { verdict: Verdict::Accepted, .. } => "ok",
        Answer::Recorded { verdict: Verdict::Rejected(rejection), .. } => rejection.code(),
        Answer::Conflict { field, .. } => field,
    };
    ask(engine, commands).into_iter().map(said).collect()
}

/// Every event with the block it is in, audited against the times of the blocks.
fn audited(book: &MemoryBook) -> Vec<(usize, Timestamp, Event)> {
    let (mut auditor, mut events) = (Auditor::new(), Vec::new());
    for (nth, block) in book.blocks().iter().enumerate() {
        auditor.at(block.header().recorded_at);
        for item in block.events() {
            let (sequence, event) = item.unwrap();
            auditor.observe(sequence, &event);
            events.push((nth, block.header().recorded_at, event));
        }
    }
    auditor.finish();
    assert_eq!(auditor.findings(), []);
    events
}

fn expired(book: &MemoryBook) -> Vec<(Timestamp, CommandId)> {
    let of = |(_, recorded_at, event): &(usize, Timestamp, Event)| match &event.body {
        EventBody::HoldExpired(expired) => {
            assert_eq!(event.cause, Cause::Engine);
            assert!(expired.expires_at <= *recorded_at);
            Some((expired.expires_at, expired.hold))
        }
        _ => None,
    };
    audited(book).iter().filter_map(of).collect()
}

/// Waits until so many holds have expired, with nobody asking anything of the engine.
fn wait_for(book: &MemoryBook, count: usize) {
    let began = Instant::now();
    while expired(book).len() < count {
        assert!(began.elapsed() < Duration::from_secs(20), "{} of {count} expired", expired(book).len());
        std::thread::sleep(Duration::from_millis(20));
    }
}

const SECOND_US: i64 = 1_000_000;

#[test]
fn an_idle_book_expires_its_holds_at_the_deadline() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    let placed =
        vec![open(1, 10), top_up(2, 10, 100, ""), hold(3, 60, Some(SECOND_US)), hold(4, 40, Some(3 * SECOND_US))];
    assert_eq!(said(&engine, placed), ["ok"; 4]);
    hands.advance(SECOND_US - 1);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(expired(&book), [], "nothing expires before its deadline");
    hands.advance(1);
    wait_for(&book, 1);
    assert_eq!(expired(&book), [(Timestamp(START_US + SECOND_US), CommandId(3))]);
    assert_eq!(said(&engine, vec![hold(5, 61, None), hold(6, 60, None)]), ["insufficient_funds", "ok"]);
    // What came due while nobody was running expires at the start.
    engine.stop();
    hands.advance(5 * SECOND_US);
    let engine = start(&book, &hands);
    wait_for(&book, 2);
    assert_eq!(said(&engine, vec![hold(7, 40, None)]), ["ok"]);
}

#[test]
fn every_block_first_expires_what_is_due() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    let deadline = Some(10 * SECOND_US);
    let placed = vec![
        open(1, 10),
        open(2, 11),
        top_up(3, 10, 100, ""),
        hold(4, 30, deadline),
        hold(5, 30, deadline),
        hold(6, 40, Some(11 * SECOND_US)),
        hold(9, 1, deadline),
    ];
    assert_eq!(said(&engine, placed), ["ok", "ok", "ok", "ok", "ok", "ok", "insufficient_funds"]);
    hands.advance(10 * SECOND_US - 1);
    assert_eq!(said(&engine, vec![capture(10, 4, 10)]), ["ok"]);
    hands.advance(1);
    // At the deadline the money is free, and neither capture nor void reaches it any more, whoever comes first.
    let asked =
        vec![capture(11, 4, 10), void(12, 5), hold(13, 50, None), capture(14, 6, 40), void(15, 6), hold(16, 1, None)];
    let answers = ["hold_expired", "hold_expired", "ok", "ok", "hold_not_open", "insufficient_funds"];
    assert_eq!(said(&engine, asked), answers);
    let of = |id: u128| CommandId(id);
    let deadline = Timestamp(START_US + 10 * SECOND_US);
    assert_eq!(expired(&book), [(deadline, of(4)), (deadline, of(5))]);
}

#[test]
fn many_holds_expire_in_order_and_bounded_per_block() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    ask(&engine, vec![open(1, 10), open(2, 11), top_up(3, 10, 1_000_000, "")]);
    let count = 2 * EXPIRIES_PER_BLOCK_MAX + 500;
    let after = |nth: usize| SECOND_US + i64::try_from(nth * 7 % 13).unwrap();
    let holds = (0..count).map(|nth| hold(1_000 + nth as u128, 5, Some(after(nth)))).collect();
    assert!(
        ask(&engine, holds).iter().all(|answer| matches!(answer, Answer::Recorded { verdict: Verdict::Accepted, .. }))
    );
    hands.advance(2 * SECOND_US);
    // One that is due and that the first block may not have reached: the deadline counts all the same.
    let last = (0..count).max_by_key(|nth| (after(*nth), *nth)).unwrap();
    assert_eq!(said(&engine, vec![capture(4, 1_000 + last as u128, 1)]), ["hold_expired"]);
    wait_for(&book, count);
    let order = expired(&book);
    assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "by deadline, then by id");
    let mut per_block = BTreeMap::<usize, usize>::new();
    for (block, _, event) in audited(&book) {
        if matches!(event.body, EventBody::HoldExpired(_)) {
            *per_block.entry(block).or_default() += 1;
        }
    }
    assert!(per_block.len() >= 3 && per_block.values().all(|count| *count <= EXPIRIES_PER_BLOCK_MAX), "{per_block:?}");
}

#[test]
fn a_full_disk_delays_expiry_and_nothing_else() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    assert_eq!(said(&engine, vec![open(1, 10), top_up(2, 10, 100, ""), hold(3, 60, Some(SECOND_US))]), ["ok"; 3]);
    book.set_full(true);
    hands.advance(2 * SECOND_US);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(engine.status().writer, WriterState::ReadOnly);
    assert_eq!(expired(&book), []);
    book.set_full(false);
    wait_for(&book, 1);
    assert_eq!(engine.status().writer, WriterState::Serving);
}

#[test]
fn a_reversal_finds_its_original_wherever_it_is() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    let long = "x".repeat(250);
    // In a block of the same group that is closed already, and in the one that is being built.
    let mut batch = vec![open(1, 10), open(2, 11)];
    batch.extend((100..7_000).map(|id| top_up(id, 10, 5, &long)));
    batch.extend([reverse(3, 100, Some(2)), reverse(4, 6_999, None), reverse(5, 100, Some(4)), reverse(6, 4, None)]);
    let answers = said(&engine, batch);
    assert_eq!(answers[answers.len() - 4..], ["ok", "ok", "reversal_above_original", "original_is_reversal"]);
    assert!(audited(&book).iter().map(|(block, ..)| *block).max() > Some(2), "the group takes several blocks");
    // Recorded before, and before a restart; one that takes back what a part had left, and only once.
    assert_eq!(
        said(&engine, vec![reverse(7, 101, None), reverse(8, 101, None), reverse(9, 1, None)]),
        ["ok", "original_reversed", "original_not_an_entry",]
    );
    engine.stop();
    let engine = start(&book, &hands);
    let again =
        vec![reverse(10, 100, None), reverse(11, 100, None), reverse(12, 101, None), reverse(13, 1 << 90, None)];
    assert_eq!(said(&engine, again), ["ok", "original_reversed", "original_reversed", "original_not_found"]);
    // A retry has its verdict, and an id used again for other content names the field.
    let head = engine.status().durable;
    assert_eq!(
        said(&engine, vec![reverse(10, 100, None), reverse(11, 100, None), reverse(10, 100, Some(1))]),
        ["ok", "original_reversed", "postings",]
    );
    assert_eq!(engine.status().durable, head);
    let reversed: Vec<_> = audited(&book)
        .into_iter()
        .filter_map(|(_, _, event)| match event.body {
            EventBody::EntryReversed(reversed) => Some((reversed.entry.0, reversed.postings[0].money.amount_minor)),
            _ => None,
        })
        .collect();
    assert_eq!(reversed, [(100, 2), (6_999, 5), (101, 5), (100, 3)]);
}

#[test]
fn a_hold_is_told_apart_from_what_never_was_one() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    let asked = vec![
        open(1, 10),
        open(2, 11),
        top_up(3, 10, 100, ""),
        hold(4, 60, None),
        capture(5, 4, 60),
        capture(6, 4, 1),
        void(7, 4),
        void(8, 3),
        void(9, 99),
        hold(10, 40, None),
        capture(11, 10, 30),
        capture(12, 10, 30),
    ];
    let answers = said(&engine, asked);
    assert_eq!(answers[5..9], ["hold_not_open", "hold_not_open", "hold_not_found", "hold_not_found"]);
    assert_eq!(answers[9..], ["ok", "ok", "capture_above_hold"], "of two captures at once, one fits");
    engine.stop();
    let engine = start(&book, &hands);
    let retried = vec![capture(11, 10, 30), capture(12, 10, 30), capture(11, 10, 29), void(13, 4), void(14, 10)];
    assert_eq!(said(&engine, retried), ["ok", "capture_above_hold", "amount", "hold_not_open", "ok"]);
    audited(&book);
}
