//! The engine when something beside it fails: everybody who asked is told, and nothing wrong is believed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_schemas::block::BlockPlace;
use event_schemas::bounds::DIGEST_EVERY_EVENTS;
use event_schemas::command::{AccountAct, AccountKind, BalancePolicy, OpenAccount};
use event_schemas::event::StateDigest;
use event_schemas::{
    AccountId, Block, BlockBuilder, BookId, Command, CommandBody, CommandId, Digest, Epoch, Event, EventBody,
    PrincipalId, RecordedEvent, Sequence, Timestamp,
};
use ledger_core::engine::{Engine, EngineOptions, EngineParts, StartError};
use ledger_core::ports::{
    Answer, AppendError, CheckpointFault, Checkpoints, Clock, CommandSink as _, EngineFault, Head, IdIndex,
    IdIndexFault, Journal, JournalFault, JournalReader, Verdict, WriterState,
};
use ledger_core::state::ApplyError;
use stores::memory::{MemoryBook, MemoryJournal};

const START_US: i64 = 1_790_000_000_000_000;
const PATIENCE: Duration = Duration::from_secs(10);

/// What goes wrong, when a test says so.
#[derive(Default)]
struct Wrong {
    append_panics: AtomicBool,
    space_is_unknown: AtomicBool,
    /// Every look-up finds this; zero for an honest index.
    index_says: AtomicI64,
    checkpoints_fail: AtomicBool,
    /// By how much the wall clock jumps when the checkpoints are listed, which is where a start begins to replay.
    jump_us: AtomicI64,
    wall_us: AtomicI64,
}

struct BadJournal(MemoryJournal, Arc<Wrong>);

impl Journal for BadJournal {
    fn head(&self) -> Head {
        self.0.head()
    }
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }
    fn secure_space(&mut self, bytes: usize) -> Result<(), AppendError> {
        if self.1.space_is_unknown.load(Ordering::SeqCst) {
            return Err(AppendError::Unknown("a sync failed".into()));
        }
        self.0.secure_space(bytes)
    }
    fn append(&mut self, blocks: &[Block]) -> Result<(), AppendError> {
        assert!(!self.1.append_panics.load(Ordering::SeqCst), "told to panic");
        self.0.append(blocks)
    }
    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault> {
        self.0.reader()
    }
}

struct BadIndex(BTreeMap<CommandId, Sequence>, Sequence, Arc<Wrong>);

impl IdIndex for BadIndex {
    fn indexed_sequence(&self) -> Sequence {
        self.1
    }
    fn lookup(&mut self, id: CommandId) -> Result<Option<Sequence>, IdIndexFault> {
        match u64::try_from(self.2.index_says.load(Ordering::SeqCst)).unwrap() {
            0 => Ok(self.0.get(&id).copied()),
            said => Ok(Some(Sequence(said))),
        }
    }
    fn record(&mut self, verdicts: &[(CommandId, Sequence)], through: Sequence) -> Result<(), IdIndexFault> {
        self.0.extend(verdicts.iter().copied());
        self.1 = through;
        Ok(())
    }
    fn clear(&mut self) -> Result<(), IdIndexFault> {
        (self.0, self.1) = (BTreeMap::new(), Sequence::ZERO);
        Ok(())
    }
}

struct BadCheckpoints(Mutex<BTreeMap<Sequence, Vec<u8>>>, Arc<Wrong>);

impl BadCheckpoints {
    fn work(&self) -> Result<(), CheckpointFault> {
        let fails = self.1.checkpoints_fail.load(Ordering::SeqCst);
        if fails { Err(CheckpointFault("a block of it is damaged".into())) } else { Ok(()) }
    }
}

impl Checkpoints for BadCheckpoints {
    fn sequences(&self) -> Result<Vec<Sequence>, CheckpointFault> {
        self.1.wall_us.fetch_add(self.1.jump_us.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(self.0.lock().unwrap().keys().rev().copied().collect())
    }
    fn store(&self, sequence: Sequence, state: &[u8]) -> Result<(), CheckpointFault> {
        self.0.lock().unwrap().insert(sequence, state.to_vec());
        Ok(())
    }
    fn load(&self, sequence: Sequence) -> Result<Option<Vec<u8>>, CheckpointFault> {
        self.work()?;
        Ok(self.0.lock().unwrap().get(&sequence).cloned())
    }
    fn discard(&self, sequence: Sequence) -> Result<(), CheckpointFault> {
        self.work()?;
        self.0.lock().unwrap().remove(&sequence);
        Ok(())
    }
}

struct World {
    book: MemoryBook,
    wrong: Arc<Wrong>,
    checkpoints: Arc<BadCheckpoints>,
}

impl World {
    fn new() -> Self {
        let wrong = Arc::<Wrong>::default();
        wrong.wall_us.store(START_US, Ordering::SeqCst);
        let checkpoints = Arc::new(BadCheckpoints(Mutex::default(), Arc::clone(&wrong)));
        Self { book: MemoryBook::new(BookId::FIRST), wrong, checkpoints }
    }

    fn start(&self) -> Engine {
        self.try_start(BTreeMap::new(), Sequence::ZERO).unwrap()
    }

    /// With an id index that holds this and says it goes so far.
    fn try_start(&self, ids: BTreeMap<CommandId, Sequence>, indexed: Sequence) -> Result<Engine, StartError> {
        let wrong = Arc::clone(&self.wrong);
        let checkpoints: Arc<dyn Checkpoints> = Arc::<BadCheckpoints>::clone(&self.checkpoints);
        Engine::start(EngineParts {
            journal: Box::new(BadJournal(self.book.writer(), Arc::clone(&self.wrong))),
            ids: Box::new(BadIndex(ids, indexed, Arc::clone(&self.wrong))),
            checkpoints,
            clock: Clock {
                wall: Arc::new(move || Timestamp(wrong.wall_us.load(Ordering::SeqCst))),
                monotonic_us: Arc::new(|| 0),
            },
            options: EngineOptions { nonce: 42, checkpoint_every_events: 1, ..EngineOptions::default() },
        })
    }
}

fn open(id: u128, account: u128) -> Command {
    let body = CommandBody::OpenAccount(OpenAccount {
        account: AccountId(account),
        code: "".into(),
        kind: AccountKind::Liability,
        currency: "EUR".parse().unwrap(),
        owner: "".into(),
        policy: BalancePolicy::NO_OVERDRAFT,
    });
    Command { id: CommandId(id), actor: PrincipalId(7), body }
}

fn freeze(id: u128, account: u128) -> Command {
    let body = CommandBody::FreezeAccount(AccountAct { account: AccountId(account), reason: "".into() });
    Command { id: CommandId(id), actor: PrincipalId(7), body }
}

type Answers = Result<Vec<Answer>, EngineFault>;

fn submit(engine: &Engine, commands: Vec<Command>) -> Receiver<Answers> {
    let (sender, receiver) = channel();
    engine.try_submit(commands, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
    receiver
}

fn ask(engine: &Engine, commands: Vec<Command>) -> Answers {
    submit(engine, commands).recv_timeout(PATIENCE).unwrap()
}

fn look_up(engine: &Engine, id: u128) -> Receiver<Result<Option<RecordedEvent>, EngineFault>> {
    let (sender, receiver) = channel();
    engine.try_lookup(CommandId(id), Box::new(move |found| drop(sender.send(found)))).unwrap();
    receiver
}

fn accepted(answers: &Answers) -> bool {
    let all = |answer: &Answer| matches!(answer, Answer::Recorded { verdict: Verdict::Accepted, .. });
    answers.as_ref().is_ok_and(|answers| answers.iter().all(all))
}

#[test]
fn a_writer_that_panics_tells_everybody_who_waits() {
    let world = World::new();
    let engine = world.start();
    assert!(accepted(&ask(&engine, vec![open(1, 10)])));
    // The writer is kept in a reply until all of what follows waits for it: one group.
    let (let_go, go_on) = channel::<()>();
    engine.try_submit(vec![open(2, 11)], Box::new(move |_| go_on.recv().unwrap())).unwrap();
    let one = submit(&engine, vec![open(3, 12)]);
    let found = look_up(&engine, 1);
    let other = submit(&engine, vec![open(4, 13)]);
    world.wrong.append_panics.store(true, Ordering::SeqCst);
    let_go.send(()).unwrap();
    assert_eq!(one.recv_timeout(PATIENCE).unwrap(), Err(EngineFault::Stopped));
    assert_eq!(other.recv_timeout(PATIENCE).unwrap(), Err(EngineFault::Stopped));
    assert_eq!(found.recv_timeout(PATIENCE).unwrap(), Err(EngineFault::Stopped));
    engine.stop();
    assert_eq!(engine.status().writer, WriterState::Stopped);
    assert!(engine.status().reason.contains("assertion"), "{}", engine.status().reason);
}

#[test]
fn a_journal_that_fails_before_the_decision_tells_who_waits() {
    let world = World::new();
    let engine = world.start();
    world.wrong.space_is_unknown.store(true, Ordering::SeqCst);
    assert_eq!(ask(&engine, vec![open(1, 10)]), Err(EngineFault::Stopped));
    engine.stop();
    assert!(engine.status().reason.contains("a sync failed"), "{}", engine.status().reason);
}

#[test]
fn a_reply_that_panics_harms_nobody_else() {
    let world = World::new();
    let engine = world.start();
    let (let_go, go_on) = channel::<()>();
    engine.try_submit(vec![open(1, 10)], Box::new(move |_| go_on.recv().unwrap())).unwrap();
    engine.try_submit(vec![open(2, 11)], Box::new(|_| panic!("told to panic"))).unwrap();
    engine.try_lookup(CommandId(1), Box::new(|_| panic!("told to panic"))).unwrap();
    let other = submit(&engine, vec![open(3, 12)]);
    let_go.send(()).unwrap();
    assert!(accepted(&other.recv_timeout(PATIENCE).unwrap()));
    assert!(accepted(&ask(&engine, vec![open(2, 11), open(4, 13)])));
    assert_eq!(engine.status().writer, WriterState::Serving);
}

#[test]
fn a_full_disk_keeps_no_recorded_verdict_back() {
    let world = World::new();
    let engine = world.start();
    let before = ask(&engine, vec![open(1, 10), open(2, 11)]).unwrap();
    let head = engine.status().durable;
    world.book.set_full(true);
    assert_eq!(ask(&engine, vec![open(3, 12)]), Err(EngineFault::ReadOnly));
    let again = ask(&engine, vec![open(2, 11), open(1, 10)]).unwrap();
    for (again, before) in again.iter().zip(before.iter().rev()) {
        let (Answer::Recorded { sequence, replayed, .. }, Answer::Recorded { sequence: first, .. }) = (again, before)
        else {
            panic!("{again:?}");
        };
        assert!(*replayed && sequence == first);
    }
    assert!(matches!(ask(&engine, vec![freeze(1, 10)]).unwrap()[..], [Answer::Conflict { field: "type", .. }]));
    assert_eq!(ask(&engine, vec![open(1, 10), open(4, 13)]), Err(EngineFault::ReadOnly));
    assert_eq!(engine.status().durable, head);
    assert_eq!(engine.status().writer, WriterState::ReadOnly);
}

#[test]
fn an_index_that_leads_elsewhere_stops_the_writer() {
    for another in [2, 1] {
        // The verdict of the same wish with another id, and an event that is no verdict.
        let world = World::new();
        let engine = world.start();
        assert!(accepted(&ask(&engine, vec![open(1, 10)])));
        world.wrong.index_says.store(another, Ordering::SeqCst);
        assert_eq!(look_up(&engine, 2).recv_timeout(PATIENCE).unwrap(), Err(EngineFault::Stopped));
        assert_eq!(ask(&engine, vec![open(2, 10)]), Err(EngineFault::Stopped), "not the verdict of another command");
        engine.stop();
        assert!(engine.status().reason.contains("id index"), "{}", engine.status().reason);
    }
}

#[test]
fn an_index_that_is_ahead_of_the_journal_is_made_anew() {
    let world = World::new();
    assert!(accepted(&ask(&world.start(), vec![open(1, 10)])));
    // Of a journal that went on further and was put back since: it knows a command that never happened here.
    let ids = BTreeMap::from([(CommandId(1), Sequence(2)), (CommandId(2), Sequence(3))]);
    let engine = world.try_start(ids, Sequence(3)).unwrap();
    let answers = ask(&engine, vec![open(1, 10), open(2, 11)]).unwrap();
    let replayed: Vec<bool> =
        answers.iter().map(|answer| matches!(answer, Answer::Recorded { replayed: true, .. })).collect();
    assert_eq!(replayed, [true, false], "{answers:?}");
}

#[test]
fn a_state_that_is_not_the_one_on_the_chain_does_not_serve() {
    let world = World::new();
    assert!(accepted(&ask(&world.start(), vec![open(1, 10)])));
    let mut writer = world.book.writer();
    let head = writer.head();
    let mut builder = BlockBuilder::new();
    builder.push(&Event::engine(EventBody::StateDigest(StateDigest { digest: Digest([7; 32]), accounts: 1 })));
    let block = builder.seal(BlockPlace {
        book: BookId::FIRST,
        first_sequence: head.sequence.next(),
        recorded_at: head.recorded_at,
        epoch: writer.epoch(),
        previous: head.hash,
    });
    writer.append(&[block]).unwrap();
    let refused = world.try_start(BTreeMap::new(), Sequence::ZERO);
    let digest = |error: &StartError| matches!(error, StartError::Apply { error: ApplyError::Digest { .. }, .. });
    assert!(refused.as_ref().is_err_and(digest), "{refused:?}");
}

#[test]
fn a_checkpoint_that_can_not_be_read_is_passed_over() {
    let world = World::new();
    let engine = world.start();
    let ids: Vec<u64> = (1..DIGEST_EVERY_EVENTS + 10).collect();
    for chunk in ids.chunks(8_000) {
        ask(&engine, chunk.iter().map(|id| freeze(u128::from(*id), 1)).collect()).unwrap();
    }
    engine.stop();
    drop(engine);
    let stored = *world.checkpoints.0.lock().unwrap().keys().next().unwrap();
    let engine = world.start();
    assert_eq!(engine.replayed().checkpoint, stored);
    drop(engine);
    world.wrong.checkpoints_fail.store(true, Ordering::SeqCst);
    let engine = world.start();
    assert_eq!(engine.replayed().checkpoint, Sequence::ZERO);
    assert_eq!(engine.replayed().events, engine.status().durable.0);
}

#[test]
fn a_clock_that_jumps_while_the_journal_is_replayed_is_seen() {
    let world = World::new();
    let engine = world.start();
    assert!(accepted(&ask(&engine, vec![open(1, 10)])));
    drop(engine);
    let head = world.book.writer().head();
    world.wrong.jump_us.store(10 * 365 * 86_400_000_000, Ordering::SeqCst);
    let engine = world.start();
    assert_eq!(ask(&engine, vec![open(2, 11)]), Err(EngineFault::Stopped));
    engine.stop();
    assert!(engine.status().reason.contains("jumped"), "{}", engine.status().reason);
    assert_eq!(world.book.writer().head().sequence, head.sequence, "nothing was recorded ten years ahead");
}
