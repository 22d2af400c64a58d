//! The engine on a journal in memory: verdicts that last, answers after the flush, failures that stop, starts that replay.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    missing_docs
)]

mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use event_schemas::bounds::DIGEST_EVERY_EVENTS;
use event_schemas::command::{AccountAct, AccountKind, BalancePolicy, CashMove, OpenAccount, PostTransfer};
use event_schemas::{
    AccountId, Block, BookId, Command, CommandBody, CommandId, Currency, Epoch, EventBody, Money, PrincipalId,
    RecordedEvent, Rejection, Sequence,
};
use ledger_core::engine::{AcceptClock, ClockError, Engine, EngineOptions, EngineParts, StartError, replay};
use ledger_core::ports::{
    Answer, AppendError, Checkpoints, CommandSink, EngineFault, Head, Journal, JournalFault, JournalReader,
    SubmitError, Verdict, WriterState,
};
use ledger_core::state::State;
use stage::{Hands, MapCheckpoints, MapIndex};
use stores::memory::{MemoryBook, MemoryFault};

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
    let policy = BalancePolicy::NO_OVERDRAFT;
    let account = AccountId(account);
    let (code, owner) = (Box::default(), Box::default());
    command(
        id,
        CommandBody::OpenAccount(OpenAccount {
            account,
            code,
            kind: AccountKind::Liability,
            currency: eur(),
            owner,
            policy,
        }),
    )
}

fn top_up(id: u128, account: u128, amount_minor: i128) -> Command {
    let (account, amount) = (AccountId(account), Money::new(amount_minor, eur()));
    command(
        id,
        CommandBody::TopUp(CashMove { account, amount, fee_minor: Some(0), effective_on: None, reference: "".into() }),
    )
}

fn transfer(id: u128, from: u128, to: u128, amount_minor: i128) -> Command {
    command(
        id,
        CommandBody::PostTransfer(PostTransfer {
            from: AccountId(from),
            to: AccountId(to),
            amount: Money::new(amount_minor, eur()),
            fee_minor: Some(0),
            effective_on: None,
            reference: "".into(),
        }),
    )
}

type Answers = Result<Vec<Answer>, EngineFault>;

fn submit(engine: &Engine, commands: Vec<Command>) -> Receiver<Answers> {
    let (sender, receiver) = channel();
    engine.try_submit(commands, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
    receiver
}

fn ask(engine: &Engine, commands: Vec<Command>) -> Vec<Answer> {
    submit(engine, commands).recv_timeout(Duration::from_secs(10)).unwrap().unwrap()
}

fn ask_one(engine: &Engine, command: Command) -> Answer {
    ask(engine, vec![command]).remove(0)
}

fn look_up(engine: &Engine, id: u128) -> Option<RecordedEvent> {
    let (sender, receiver) = channel();
    engine.try_lookup(CommandId(id), Box::new(move |found| drop(sender.send(found)))).unwrap();
    receiver.recv_timeout(Duration::from_secs(10)).unwrap().unwrap()
}

fn accepted(answer: &Answer) -> Sequence {
    match answer {
        Answer::Recorded { verdict: Verdict::Accepted, sequence, .. } => *sequence,
        other => panic!("not accepted: {other:?}"),
    }
}

fn rejection(answer: &Answer) -> &Rejection {
    match answer {
        Answer::Recorded { verdict: Verdict::Rejected(rejection), .. } => rejection,
        other => panic!("not rejected: {other:?}"),
    }
}

fn replayed(answer: &Answer) -> bool {
    matches!(answer, Answer::Recorded { replayed: true, .. })
}

#[test]
fn a_retry_gets_the_same_verdict_within_a_group_later_and_after_a_restart() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    let answers = ask(&engine, vec![open(1, 10), top_up(2, 10, 500), top_up(2, 10, 500), transfer(3, 10, 11, 1)]);
    assert_eq!(accepted(&answers[1]), accepted(&answers[2]));
    assert!(!replayed(&answers[1]) && replayed(&answers[2]));
    assert_eq!(rejection(&answers[3]).code(), "account_not_found");

    // The refusal stands, although the account exists by now.
    ask_one(&engine, open(4, 11));
    let again = ask_one(&engine, transfer(3, 10, 11, 1));
    assert_eq!(rejection(&again).code(), "account_not_found");
    assert!(replayed(&again));
    engine.stop();

    let engine = start(&book, &hands);
    let head = engine.status().durable;
    let again = ask(&engine, vec![top_up(2, 10, 500), transfer(3, 10, 11, 1)]);
    assert_eq!(accepted(&again[0]), accepted(&answers[1]));
    assert!(again.iter().all(replayed));
    assert_eq!(engine.status().durable, head, "a repeated verdict records nothing");
}

#[test]
fn a_known_id_with_other_content_is_a_conflict_that_names_the_field() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    ask(&engine, vec![open(1, 10), open(2, 11), top_up(3, 10, 500), transfer(4, 10, 11, 100)]);
    let head = engine.status().durable;
    let mut other_actor = transfer(4, 10, 11, 100);
    other_actor.actor = PrincipalId(8);
    let cases = [
        (transfer(4, 10, 11, 101), "amount"),
        (transfer(4, 10, 12, 100), "to"),
        (top_up(4, 10, 100), "type"),
        (other_actor, "id"),
    ];
    for (command, field) in cases {
        let answer = ask_one(&engine, command);
        assert!(matches!(answer, Answer::Conflict { field: found, .. } if found == field), "{answer:?}");
    }
    // Two of one batch, not known before.
    let answers = ask(&engine, vec![transfer(5, 10, 11, 1), transfer(5, 10, 11, 2)]);
    assert!(matches!(answers[1], Answer::Conflict { field: "amount", .. }), "{answers:?}");
    assert_eq!(engine.status().durable, head.plus(1), "a conflict records nothing");
}

#[test]
fn verdicts_are_found_by_id_with_their_event() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    ask(&engine, vec![open(1, 10)]);
    let found = look_up(&engine, 1).unwrap();
    assert!(matches!(found.event.body, EventBody::AccountOpened(_)));
    assert_eq!(found.event.cause.command(), Some((CommandId(1), PrincipalId(7))));
    assert_eq!(look_up(&engine, 2), None);
}

/// A journal whose flushes wait for the test.
struct SlowJournal {
    inner: stores::memory::MemoryJournal,
    entered: std::sync::mpsc::Sender<()>,
    go_on: Receiver<()>,
}

impl Journal for SlowJournal {
    fn head(&self) -> Head {
        self.inner.head()
    }
    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }
    fn secure_space(&mut self, bytes: usize) -> Result<(), AppendError> {
        self.inner.secure_space(bytes)
    }
    fn append(&mut self, blocks: &[Block]) -> Result<(), AppendError> {
        self.entered.send(()).unwrap();
        // With an end, so that a test that fails fails, and does not wait for its own engine.
        self.go_on.recv_timeout(Duration::from_secs(10)).unwrap();
        self.inner.append(blocks)
    }
    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault> {
        self.inner.reader()
    }
}

#[test]
fn nothing_leaves_before_the_flush() {
    let (entered, has_entered) = channel();
    let (let_go, go_on) = channel();
    let inner = MemoryBook::new(BookId::FIRST).writer();
    let_go.send(()).unwrap(); // for the opening of the book
    let engine =
        start_with(Box::new(SlowJournal { inner, entered, go_on }), &Arc::default(), &Hands::new(), options()).unwrap();
    has_entered.recv().unwrap();
    let before = engine.status();

    let first = submit(&engine, vec![open(1, 10), open(1, 10), open(1, 11)]);
    has_entered.recv_timeout(Duration::from_secs(10)).unwrap();
    // The group is decided and being flushed: no answer, no repeated verdict, no conflict, no look-up, no figure shows it.
    let (sender, looked_up) = channel();
    engine.try_lookup(CommandId(1), Box::new(move |found| drop(sender.send(found)))).unwrap();
    let retry = submit(&engine, vec![open(1, 10)]);
    std::thread::sleep(Duration::from_millis(50));
    assert!(first.try_recv().is_err() && retry.try_recv().is_err() && looked_up.try_recv().is_err());
    assert_eq!(engine.status().durable, before.durable);
    assert_eq!(engine.status().accepted_total, before.accepted_total);

    let_go.send(()).unwrap();
    assert_eq!(first.recv_timeout(Duration::from_secs(10)).unwrap().unwrap().len(), 3);
    assert!(looked_up.recv_timeout(Duration::from_secs(10)).unwrap().unwrap().is_some());
    assert!(replayed(&retry.recv_timeout(Duration::from_secs(10)).unwrap().unwrap()[0]));
    assert_eq!(engine.status().durable, before.durable.plus(1));
}

#[test]
fn what_waits_during_a_flush_goes_in_one_group() {
    let (entered, has_entered) = channel();
    let (let_go, go_on) = channel();
    let inner = MemoryBook::new(BookId::FIRST).writer();
    let_go.send(()).unwrap();
    let engine =
        start_with(Box::new(SlowJournal { inner, entered, go_on }), &Arc::default(), &Hands::new(), options()).unwrap();
    has_entered.recv().unwrap();
    let flushes = engine.status().flushes_total;
    let mut replies = vec![submit(&engine, vec![open(1, 1)])];
    has_entered.recv_timeout(Duration::from_secs(10)).unwrap();
    replies.extend((2..50).map(|id| submit(&engine, vec![open(id, id)])));
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    for reply in replies {
        accepted(&reply.recv_timeout(Duration::from_secs(10)).unwrap().unwrap()[0]);
    }
    assert_eq!(engine.status().flushes_total, flushes + 2);
}

#[test]
fn a_full_queue_says_busy_and_takes_nothing() {
    let (entered, has_entered) = channel();
    let (let_go, go_on) = channel();
    let inner = MemoryBook::new(BookId::FIRST).writer();
    let_go.send(()).unwrap();
    let options = EngineOptions { queue_max_commands: 2, ..options() };
    let engine =
        start_with(Box::new(SlowJournal { inner, entered, go_on }), &Arc::default(), &Hands::new(), options).unwrap();
    has_entered.recv().unwrap();
    let mut replies = vec![submit(&engine, vec![open(1, 1)])];
    has_entered.recv_timeout(Duration::from_secs(10)).unwrap();
    replies.extend((2..4).map(|id| submit(&engine, vec![open(id, id)])));
    let refused = engine.try_submit(vec![open(4, 4)], Box::new(|_| panic!("never taken")));
    assert!(matches!(refused, Err(SubmitError::Busy { retry_after_ms: 1.. })));
    for _ in 0..2 {
        let_go.send(()).unwrap();
    }
    for reply in replies {
        accepted(&reply.recv_timeout(Duration::from_secs(10)).unwrap().unwrap()[0]);
    }
    assert_eq!(look_up(&engine, 4), None);
}

#[test]
fn a_full_disk_makes_the_book_read_only_and_writing_returns() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    ask_one(&engine, open(1, 10));
    book.set_full(true);
    let refused = submit(&engine, vec![open(2, 11)]).recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(refused, Err(EngineFault::ReadOnly));
    assert_eq!(engine.status().writer, WriterState::ReadOnly);
    assert!(look_up(&engine, 1).is_some(), "reading goes on");
    assert!(look_up(&engine, 2).is_none(), "nothing of it was recorded");
    book.set_full(false);
    accepted(&ask_one(&engine, open(2, 11)));
    assert_eq!(engine.status().writer, WriterState::Serving);
}

#[test]
fn a_failed_append_stops_the_writer_and_a_start_tells_what_happened() {
    let faults = [
        (MemoryFault::Unknown { written: false }, false),
        (MemoryFault::Unknown { written: true }, true),
        (MemoryFault::Fenced, false),
    ];
    for (fault, written) in faults {
        let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
        let engine = start(&book, &hands);
        ask(&engine, vec![open(1, 10), open(2, 11), top_up(3, 10, 500)]);
        book.fail_next_append(fault);
        let failed = submit(&engine, vec![transfer(4, 10, 11, 100)]).recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(failed, Err(EngineFault::Stopped));
        engine.stop();
        assert_eq!(engine.status().writer, WriterState::Stopped);
        assert!(!engine.status().reason.is_empty());
        assert!(matches!(engine.try_submit(vec![open(5, 12)], Box::new(|_| ())), Err(SubmitError::Stopped)));

        // The retry has one effect, whichever it was.
        let engine = start(&book, &hands);
        let retry = ask_one(&engine, transfer(4, 10, 11, 100));
        accepted(&retry);
        assert_eq!(replayed(&retry), written);
        let rest = ask_one(&engine, transfer(5, 10, 11, 400));
        accepted(&rest);
        let refused = ask_one(&engine, transfer(6, 10, 11, 1));
        assert!(matches!(rejection(&refused), Rejection::InsufficientFunds { available_minor: 0, .. }));
    }
}

#[test]
fn the_digest_does_not_depend_on_cuts_times_or_epochs() {
    let commands: Vec<Command> = std::iter::once(open(1, 1))
        .chain(std::iter::once(open(2, 2)))
        .chain((3..DIGEST_EVERY_EVENTS + 100).map(|id| top_up(u128::from(id), u128::from(id % 2 + 1), 5)))
        .collect();
    let mut digests = Vec::new();
    for (batch, step_us) in [(1_000, 0), (8_190, 1_000_000), (777, 17)] {
        let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
        let mut engine = start(&book, &hands);
        for (nth, chunk) in commands.chunks(batch).enumerate() {
            hands.advance(step_us);
            ask(&engine, chunk.to_vec());
            if nth == 3 {
                engine.stop();
                engine = start(&book, &hands);
            }
        }
        engine.stop();
        let mut found = Vec::new();
        for block in book.blocks() {
            for item in block.events() {
                let (sequence, event) = item.unwrap();
                if let EventBody::StateDigest(digest) = event.body {
                    assert_eq!(sequence, block.header().last_sequence(), "a digest closes its block");
                    found.push((sequence, digest));
                }
            }
        }
        assert_eq!(found.len(), 1);
        let head = book.writer().head();
        let (mut state, _) =
            replay(&mut *book.writer().reader().unwrap(), head, &MapCheckpoints::default(), None).unwrap();
        digests.push((found, state.digest()));
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

#[test]
fn a_start_trusts_only_checkpoints_whose_digest_is_on_the_chain() {
    let (book, hands, checkpoints) = (MemoryBook::new(BookId::FIRST), Hands::new(), Arc::<MapCheckpoints>::default());
    let engine = start_with(Box::new(book.writer()), &checkpoints, &hands, options()).unwrap();
    ask(&engine, vec![open(1, 1), open(2, 2)]);
    let ids: Vec<u64> = (3..2 * DIGEST_EVERY_EVENTS + 50).collect();
    for chunk in ids.chunks(8_000) {
        ask(&engine, chunk.iter().map(|id| top_up(u128::from(*id), 1, 5)).collect());
    }
    engine.stop();
    drop(engine);
    let stored = checkpoints.sequences().unwrap();
    assert_eq!(stored.len(), 2, "{stored:?}");

    let engine = start_with(Box::new(book.writer()), &checkpoints, &hands, options()).unwrap();
    assert_eq!(engine.replayed().checkpoint, stored[0]);
    let whole = engine.status().durable.0 - stored[0].0;
    assert_eq!(engine.replayed().events, whole);
    engine.stop();

    // One bit is changed in the newest, so that it is still a checkpoint, but that of another state: it is passed over and
    // dropped, and the older one serves. Version, book and nonce come first, which no digest covers.
    let doctored = |place: usize| {
        let mut bytes = checkpoints.0.lock().unwrap()[&stored[0]].clone();
        bytes[place] ^= 2;
        State::decode(&bytes).is_ok().then_some(bytes)
    };
    let length = checkpoints.0.lock().unwrap()[&stored[0]].len();
    let bytes = (18..length).rev().find_map(doctored).unwrap();
    checkpoints.0.lock().unwrap().insert(stored[0], bytes);
    let engine = start_with(Box::new(book.writer()), &checkpoints, &hands, options()).unwrap();
    assert_eq!(engine.replayed().checkpoint, stored[1]);
    assert_eq!(checkpoints.sequences().unwrap(), vec![stored[1]]);
    let balance = rejection(&ask_one(&engine, transfer(1 << 90, 1, 2, i128::from(u32::MAX)))).clone();
    let expected = i128::try_from(ids.len()).unwrap() * 5;
    assert!(matches!(balance, Rejection::InsufficientFunds { available_minor, .. } if available_minor == expected));
}

#[test]
fn the_clock_is_guarded() {
    const DAY_US: i64 = 86_400_000_000;
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    ask_one(&engine, open(1, 1));
    hands.advance(DAY_US);
    let Answer::Recorded { recorded_at: later, .. } = ask_one(&engine, open(2, 2)) else { panic!() };
    // Set back a little: time stands still.
    hands.wall.fetch_sub(1_000_000, Ordering::SeqCst);
    let Answer::Recorded { recorded_at, .. } = ask_one(&engine, open(3, 3)) else { panic!() };
    assert_eq!(recorded_at, later);
    // Ahead of the monotonic clock by more than 5 s: the writer stops, and nothing is recorded.
    hands.wall.fetch_add(1_000_000 + 5_100_000, Ordering::SeqCst);
    let jumped = submit(&engine, vec![open(4, 4)]).recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(jumped, Err(EngineFault::Stopped));
    engine.stop();
    assert!(engine.status().reason.contains("jumped"), "{}", engine.status().reason);
    let head = book.writer().head();

    let start = |options| start_with(Box::new(book.writer()), &Arc::default(), &hands, options);
    for (days, accept) in [(-1, false), (401, false), (401, true)] {
        hands.wall.store(head.recorded_at.0 + days * DAY_US, Ordering::SeqCst);
        let word = AcceptClock { actor: "operator".into(), reason: "moved house".into() };
        let started = start(EngineOptions { accept_clock: accept.then_some(word), ..options() });
        match started {
            Ok(_) => assert!(accept),
            Err(StartError::Clock(ClockError::Behind { .. })) => assert_eq!(days, -1),
            Err(StartError::Clock(ClockError::FarAhead { .. })) => assert_eq!((days, accept), (401, false)),
            Err(other) => panic!("{other}"),
        }
    }
    let last = book.blocks().pop().unwrap();
    let (_, event) = last.events().next().unwrap().unwrap();
    assert!(matches!(event.body, EventBody::ClockAccepted(accepted) if &*accepted.actor == "operator"));
}

#[test]
fn a_journal_of_another_book_is_refused() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    start(&book, &hands).stop();
    let other = EngineOptions { book: BookId::new(2).unwrap(), ..options() };
    let refused = start_with(Box::new(book.writer()), &Arc::default(), &hands, other);
    assert!(matches!(refused, Err(StartError::OtherBook { .. })));
}

#[test]
fn what_can_not_be_recorded_is_not_taken() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    let reason = "x".repeat(257).into();
    let long = command(1, CommandBody::FreezeAccount(AccountAct { account: AccountId(1), reason }));
    assert_eq!(engine.try_submit(vec![long], Box::new(|_| ())), Err(SubmitError::OutOfBounds("text")));
    assert_eq!(engine.try_submit(vec![], Box::new(|_| ())), Err(SubmitError::BatchSize));
    let many = (0..8_191).map(|id| open(id, id)).collect();
    assert_eq!(engine.try_submit(many, Box::new(|_| ())), Err(SubmitError::BatchSize));
}

#[test]
fn concurrent_submitters_get_each_their_own_answers() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    ask(&engine, (1..=8).map(|id| open(id, id)).collect());
    ask(&engine, (1..=8).map(|id| top_up(100 + id, id, 1_000)).collect());
    std::thread::scope(|scope| {
        for thread in 0..8_u128 {
            let engine = &engine;
            scope.spawn(move || {
                for nth in 0..200 {
                    let id = 1_000 + thread * 1_000 + nth;
                    accepted(&ask_one(engine, transfer(id, thread + 1, (thread + 1) % 8 + 1, 1)));
                }
            });
        }
    });
    // Everybody gave 200 and got 200.
    for account in 1..=8 {
        let refused = ask_one(&engine, transfer(5_000_000 + account, account, account % 8 + 1, 1_001));
        assert!(matches!(rejection(&refused), Rejection::InsufficientFunds { available_minor: 1_000, .. }));
    }
}
