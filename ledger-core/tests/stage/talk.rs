//! Words for tests of the engine: commands in euros upon accounts 10 and 11, asking in each of the ways there are, and answers
//! in words.
#![allow(clippy::disallowed_methods, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use event_schemas::command::{
    AccountKind, BalancePolicy, CaptureHold, CashMove, OpenAccount, PlaceHold, PostTransfer, ReverseEntry,
    ReversedPart, VoidHold,
};
use event_schemas::{
    AccountId, BookId, Command, CommandBody, CommandId, Currency, Event, Money, PrincipalId, Rejection, Sequence,
    Timestamp,
};
use ledger_core::audit::Auditor;
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{Answer, CommandSink, EngineFault, Previews, Verdict};
use ledger_core::state::State;
use stores::memory::MemoryBook;

use super::{Hands, MapCheckpoints, MapIndex, START_US};

pub fn start(book: &MemoryBook, hands: &Hands) -> Engine {
    start_with(book, hands, EngineOptions { nonce: 42, ..EngineOptions::default() })
}

pub fn start_with(book: &MemoryBook, hands: &Hands, options: EngineOptions) -> Engine {
    let checkpoints = Arc::<MapCheckpoints>::default();
    let (journal, ids) = (Box::new(book.writer()), Box::<MapIndex>::default());
    Engine::start(EngineParts { journal, ids, checkpoints, clock: hands.clock(), options }).unwrap()
}

/// An engine over a fresh book with accounts 10 and 11, and 100 on 10.
pub fn opened() -> (MemoryBook, Hands, Engine) {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    let answers = ask(&engine, vec![open(1, 10), open(2, 11), top_up(3, 10, 100)]).unwrap();
    assert_eq!(told(&answers), ["ok"; 3]);
    (book, hands, engine)
}

pub fn eur() -> Currency {
    "EUR".parse().unwrap()
}

pub fn command(id: u128, body: CommandBody) -> Command {
    Command { id: CommandId(id), actor: PrincipalId(7), body }
}

pub fn open(id: u128, account: u128) -> Command {
    let (account, policy) = (AccountId(account), BalancePolicy::NO_OVERDRAFT);
    let (code, owner) = (Box::default(), Box::default());
    let kind = AccountKind::Liability;
    command(id, CommandBody::OpenAccount(OpenAccount { account, code, kind, currency: eur(), owner, policy }))
}

pub fn top_up(id: u128, account: u128, minor: i128) -> Command {
    let (account, amount) = (AccountId(account), Money::new(minor, eur()));
    let (effective_on, reference) = (None, "".into());
    command(id, CommandBody::TopUp(CashMove { account, amount, fee_minor: Some(0), effective_on, reference }))
}

pub fn transfer(id: u128, from: u128, to: u128, minor: i128) -> Command {
    let (from, to, amount) = (AccountId(from), AccountId(to), Money::new(minor, eur()));
    let (fee_minor, effective_on, reference) = (Some(0), None, "".into());
    command(id, CommandBody::PostTransfer(PostTransfer { from, to, amount, fee_minor, effective_on, reference }))
}

pub fn hold(id: u128, minor: i128, after_us: Option<i64>) -> Command {
    let (account, amount) = (AccountId(10), Money::new(minor, eur()));
    let expires_at = after_us.map(|after| Timestamp(START_US + after));
    command(id, CommandBody::PlaceHold(PlaceHold { account, amount, expires_at, reference: "".into() }))
}

pub fn capture(id: u128, hold: u128, minor: i128) -> Command {
    let (hold, to, amount) = (CommandId(hold), AccountId(11), Money::new(minor, eur()));
    let (fee_minor, last, effective_on, reference) = (Some(0), false, None, "".into());
    command(id, CommandBody::CaptureHold(CaptureHold { hold, to, amount, fee_minor, last, effective_on, reference }))
}

pub fn void(id: u128, hold: u128) -> Command {
    command(id, CommandBody::VoidHold(VoidHold { hold: CommandId(hold), reason: "".into() }))
}

pub fn reverse(id: u128, entry: u128, minor: Option<i128>) -> Command {
    let parts = |amount_minor| (0..2).map(|posting| ReversedPart { posting, amount_minor }).collect();
    let (entry, postings) = (CommandId(entry), minor.map(parts));
    command(id, CommandBody::ReverseEntry(ReverseEntry { entry, postings, effective_on: None, reference: "".into() }))
}

pub fn ask(engine: &Engine, commands: Vec<Command>) -> Result<Vec<Answer>, EngineFault> {
    let (sender, receiver) = channel();
    engine.try_submit(commands, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
    receiver.recv_timeout(Duration::from_secs(20)).unwrap()
}

pub fn link(engine: &Engine, commands: Vec<Command>) -> Result<Vec<Answer>, EngineFault> {
    let (sender, receiver) = channel();
    engine.try_submit_linked(commands, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
    receiver.recv_timeout(Duration::from_secs(20)).unwrap()
}

pub fn preview(engine: &Engine, commands: Vec<Command>) -> Result<Previews, EngineFault> {
    let (sender, receiver) = channel();
    engine.try_preview(commands, Box::new(move |previews| drop(sender.send(previews)))).unwrap();
    receiver.recv_timeout(Duration::from_secs(20)).unwrap()
}

/// Keeps the writer busy with a reply that waits, so that what comes makes one group; until the sender is dropped.
pub fn keep_busy(engine: &Engine, command: Command) -> Sender<()> {
    let (go, gate) = channel();
    let (enter, entered) = channel();
    let wait = move |_| {
        enter.send(()).unwrap();
        assert!(gate.recv().is_err());
    };
    engine.try_submit(vec![command], Box::new(wait)).unwrap();
    entered.recv().unwrap();
    go
}

pub fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted => "ok".into(),
        Verdict::Rejected(Rejection::LinkedItemRefused { item, command }) => {
            format!("linked to {item} ({})", command.0)
        }
        Verdict::Rejected(rejection) => rejection.code().into(),
    }
}

/// Answers in words: `ok`, the code of the refusal, `again …` for one that is told again, `! field` for a conflict.
pub fn told(answers: &[Answer]) -> Vec<String> {
    let told = |answer: &Answer| match answer {
        Answer::Recorded { verdict, replayed: false, .. } => word(verdict),
        Answer::Recorded { verdict, replayed: true, .. } => format!("again {}", word(verdict)),
        Answer::Conflict { field, .. } => format!("! {field}"),
    };
    answers.iter().map(told).collect()
}

pub fn linked(engine: &Engine, commands: Vec<Command>) -> Vec<String> {
    told(&link(engine, commands).unwrap())
}

/// Every event with the block it is in, audited.
pub fn audited(book: &MemoryBook) -> Vec<(usize, Sequence, Event)> {
    let (mut auditor, mut events) = (Auditor::new(), Vec::new());
    for (nth, block) in book.blocks().iter().enumerate() {
        auditor.at(block.header().recorded_at);
        for item in block.events() {
            let (sequence, event) = item.unwrap();
            auditor.observe(sequence, &event);
            events.push((nth, sequence, event));
        }
    }
    auditor.finish();
    assert_eq!(auditor.findings(), []);
    events
}

/// The state that the journal makes.
pub fn replayed(book: &MemoryBook) -> State {
    let mut state = State::new();
    for (_, _, event) in audited(book) {
        state.apply(&event).unwrap();
    }
    state
}

pub fn balance(book: &MemoryBook, account: u128) -> i128 {
    replayed(book).account(AccountId(account)).unwrap().balance_minor()
}
