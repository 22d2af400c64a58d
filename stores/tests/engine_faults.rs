//! The engine on a journal whose disk fails at the N-th write, sync or name, under load: no answer without durability, no
//! answer lost, read-only without space and back, and a failed write or sync stops the writer for good.
#![cfg(feature = "segments")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event_schemas::command::{AccountKind, BalancePolicy, CashMove, OpenAccount, PostTransfer};
use event_schemas::{AccountId, BookId, Command, CommandBody, CommandId, Currency, Money, PrincipalId, Sequence};
use event_schemas::{Digest, RecordedEvent, Timestamp};
use ledger_core::audit::Auditor;
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{
    Answer, CheckpointFault, Checkpoints, Clock, CommandSink as _, EngineFault, IdIndex, IdIndexFault,
    JournalReader as _, Verdict, WriterState,
};
use ledger_core::state::State;
use stores::segments::sim::{Call, Fault, SimDisk};
use stores::segments::{SegmentOptions, SegmentReader, create, open};

/// One command of a group takes some 300 bytes, a group a frame of its own, and a segment two frames: so there is a new
/// segment every few groups.
const GROUP: u128 = 24;
const SEGMENT_BYTES: u64 = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);
const CALLS: u64 = 200;

#[derive(Default)]
struct MapIndex(BTreeMap<CommandId, Sequence>, Sequence);

impl IdIndex for MapIndex {
    fn indexed_sequence(&self) -> Sequence {
        self.1
    }
    fn lookup(&mut self, id: CommandId) -> Result<Option<Sequence>, IdIndexFault> {
        Ok(self.0.get(&id).copied())
    }
    fn record(&mut self, verdicts: &[(CommandId, Sequence)], through: Sequence) -> Result<(), IdIndexFault> {
        self.0.extend(verdicts.iter().copied());
        self.1 = through;
        Ok(())
    }
    fn clear(&mut self) -> Result<(), IdIndexFault> {
        *self = Self::default();
        Ok(())
    }
}

struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn sequences(&self) -> Result<Vec<Sequence>, CheckpointFault> {
        Ok(Vec::new())
    }
    fn store(&self, _: Sequence, _: &[u8]) -> Result<(), CheckpointFault> {
        Ok(())
    }
    fn load(&self, _: Sequence) -> Result<Option<Vec<u8>>, CheckpointFault> {
        Ok(None)
    }
    fn discard(&self, _: Sequence) -> Result<(), CheckpointFault> {
        Ok(())
    }
}

fn clock() -> Clock {
    let us = Arc::new(AtomicI64::new(1_790_000_000_000_000));
    let (wall, monotonic) = (Arc::clone(&us), us);
    Clock {
        wall: Arc::new(move || Timestamp(wall.fetch_add(1, Ordering::SeqCst))),
        monotonic_us: Arc::new(move || monotonic.load(Ordering::SeqCst)),
    }
}

fn start(disk: &SimDisk) -> Engine {
    let mut options = SegmentOptions::new(BookId::FIRST);
    (options.segment_bytes, options.background) = (SEGMENT_BYTES, false);
    let storage = disk.folder("journal");
    if disk.files().is_empty() {
        create(&storage, &options).unwrap();
    }
    Engine::start(EngineParts {
        journal: Box::new(open(&storage, &options, Sequence::ZERO).unwrap()),
        ids: Box::<MapIndex>::default(),
        checkpoints: Arc::new(NoCheckpoints),
        clock: clock(),
        options: EngineOptions { nonce: 42, ..EngineOptions::default() },
    })
    .unwrap()
}

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn command(id: u128, body: CommandBody) -> Command {
    Command { id: CommandId(id), actor: PrincipalId(7), body }
}

fn opening() -> Vec<Command> {
    let open = |number: u128| {
        command(
            number,
            CommandBody::OpenAccount(OpenAccount {
                account: AccountId(number),
                code: Box::default(),
                kind: AccountKind::Liability,
                currency: eur(),
                owner: Box::default(),
                policy: BalancePolicy::NO_OVERDRAFT,
            }),
        )
    };
    let funds = CommandBody::TopUp(CashMove {
        account: AccountId(1),
        amount: Money::new(1_000_000, eur()),
        fee_minor: Some(0),
        effective_on: None,
        reference: "".into(),
    });
    vec![open(1), open(2), command(3, funds)]
}

/// The `nth` group: transfers of one cent, each with an id of its own and a long text.
fn group(nth: u128) -> Vec<Command> {
    let transfer = |item| {
        command(
            1_000 + nth * GROUP + item,
            CommandBody::PostTransfer(PostTransfer {
                from: AccountId(1),
                to: AccountId(2),
                amount: Money::new(1, eur()),
                fee_minor: Some(0),
                effective_on: None,
                reference: "x".repeat(256).into(),
            }),
        )
    };
    (0..GROUP).map(transfer).collect()
}

fn ask(engine: &Engine, commands: Vec<Command>) -> Result<Vec<Answer>, EngineFault> {
    let (sender, receiver) = channel();
    match engine.try_submit(commands, Box::new(move |answers| drop(sender.send(answers)))) {
        Ok(()) => receiver.recv_timeout(PATIENCE).unwrap(),
        Err(_) => Err(EngineFault::Stopped),
    }
}

fn look_up(engine: &Engine, id: CommandId) -> Option<RecordedEvent> {
    let (sender, receiver) = channel();
    engine.try_lookup(id, Box::new(move |found| drop(sender.send(found)))).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap().unwrap()
}

/// What was answered, kept outside of what may fail.
#[derive(Default, Clone)]
struct Acknowledged(BTreeMap<CommandId, Sequence>);

impl Acknowledged {
    fn note(&mut self, commands: &[Command], answers: &[Answer]) {
        assert_eq!(commands.len(), answers.len());
        for (command, answer) in commands.iter().zip(answers) {
            let Answer::Recorded { verdict: Verdict::Accepted, sequence, .. } = answer else { panic!("{answer:?}") };
            let earlier = self.0.insert(command.id, *sequence);
            assert!(earlier.is_none_or(|earlier| earlier == *sequence), "two verdicts for one command");
        }
    }
}

/// Reads a journal as a start would find it, and holds it to what was answered.
fn check(disk: &SimDisk, acknowledged: &Acknowledged, at: &str) -> Digest {
    let mut options = SegmentOptions::new(BookId::FIRST);
    options.background = false;
    let storage = disk.folder("journal");
    let journal = open(&storage, &options, Sequence::ZERO).unwrap_or_else(|fault| panic!("{at}: {fault}"));
    let mut reader: SegmentReader = journal.segment_reader();
    let (mut state, mut auditor, mut verdicts) = (State::new(), Auditor::new(), BTreeMap::new());
    while let Some(block) = reader.next_block().unwrap() {
        auditor.at(block.header().recorded_at);
        for item in block.events() {
            let (sequence, event) = item.unwrap();
            state.apply(&event).unwrap();
            auditor.observe(sequence, &event);
            if let Some(id) = event.cause.verdict_of() {
                assert_eq!(verdicts.insert(id, sequence), None, "{at}: {id} has two verdicts");
            }
        }
    }
    auditor.finish();
    assert_eq!(auditor.findings(), [], "{at}");
    for (id, sequence) in &acknowledged.0 {
        assert_eq!(verdicts.get(id), Some(sequence), "{at}: LOST {id}");
    }
    state.digest()
}

/// What came of a run with one fault.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    read_only: u64,
    stopped: u64,
    unseen: u64,
}

/// Puts load on an engine until the `nth` call of a kind has met a fault, and a little longer.
fn run(call: Call, nth: u64, fault: Fault, tally: &mut Tally) {
    let at = format!("{fault:?} at {call:?} {nth}");
    let disk = SimDisk::new();
    let engine = start(&disk);
    let mut acknowledged = Acknowledged::default();
    acknowledged.note(&opening(), &ask(&engine, opening()).unwrap());
    let last_call = disk.calls(call) + nth;
    disk.fault_at_call(call, nth, fault);
    let (mut after, mut met, mut stopped_at) = (0, false, None);
    for number in 0.. {
        assert!(number < 500, "{at}: never called");
        let commands = group(number);
        let answered = ask(&engine, commands.clone());
        match &answered {
            Ok(answers) => acknowledged.note(&commands, answers),
            Err(EngineFault::ReadOnly) => {
                assert!(matches!(fault, Fault::NoSpace | Fault::NoSpaceSync) && disk.fault_happened(), "{at}");
                tally.read_only += 1;
                met = true;
                // Reading goes on, and so does telling a verdict again.
                assert!(look_up(&engine, CommandId(3)).is_some(), "{at}");
                // There is room again: the same group is taken, and is recorded once.
                let answers = ask(&engine, commands.clone()).unwrap_or_else(|fault| panic!("{at}: {fault}"));
                acknowledged.note(&commands, &answers);
                assert_eq!(engine.status().writer, WriterState::Serving, "{at}");
            }
            Err(_) => {
                assert!(disk.fault_happened(), "{at}: stopped without a fault");
                let until = Instant::now() + PATIENCE;
                while engine.status().writer != WriterState::Stopped {
                    assert!(Instant::now() < until, "{at}: {:?}", engine.status());
                    std::thread::yield_now();
                }
                // For good: nothing is tried again on this disk.
                let operations = disk.operations();
                assert_eq!(ask(&engine, group(number + 1)), Err(EngineFault::Stopped), "{at}");
                assert_eq!(disk.operations(), operations, "{at}: a stopped writer goes on writing");
                tally.stopped += 1;
                stopped_at = Some(number);
                break;
            }
        }
        if disk.fault_happened() || disk.calls(call) >= last_call {
            after += 1;
        }
        if after == 3 {
            break;
        }
    }
    tally.runs += 1;
    tally.unseen += u64::from(stopped_at.is_none() && !met);
    drop(engine);
    // The same kernel, and a power cut that leaves nothing or everything of what was not synced.
    let moment = disk.moment();
    let cuts: Vec<SimDisk> = moment.power_cuts(nth).collect();
    for cut in cuts.first().into_iter().chain(cuts.last()) {
        check(cut, &acknowledged, &format!("{at}, after a power cut"));
    }
    let again = disk.same_kernel();
    let engine = start(&again);
    if let Some(number) = stopped_at {
        // Whoever got no answer asks again, and there is one effect.
        let commands = group(number);
        let answers = ask(&engine, commands.clone()).unwrap_or_else(|fault| panic!("{at}, started again: {fault}"));
        acknowledged.note(&commands, &answers);
    }
    let moved = acknowledged.0.keys().filter(|id| id.0 >= 1_000).count();
    drop(engine);
    let digest = check(&again.same_kernel(), &acknowledged, &format!("{at}, started again"));
    let cut = again.moment().power_cuts(0).next().unwrap();
    assert_eq!(check(&cut, &acknowledged, &format!("{at}, started again and cut")), digest);
    assert_eq!(moved as u128 % GROUP, 0);
}

fn every_call(call: Call, fault: Fault) -> Tally {
    let tally = Mutex::new(Tally::default());
    let next = std::sync::atomic::AtomicU64::new(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut own = Tally::default();
                loop {
                    let nth = next.fetch_add(1, Ordering::SeqCst);
                    if nth > CALLS {
                        break;
                    }
                    run(call, nth, fault, &mut own);
                }
                let mut all = tally.lock().unwrap();
                all.runs += own.runs;
                all.read_only += own.read_only;
                all.stopped += own.stopped;
                all.unseen += own.unseen;
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("{fault:?} at each {call:?} from 1 to {CALLS}: {tally:?}; 0 answered lost");
    assert_eq!(tally.runs, CALLS);
    tally
}

#[test]
fn an_error_of_the_nth_write_stops_the_writer() {
    let tally = every_call(Call::Write, Fault::Error);
    assert_eq!((tally.stopped, tally.read_only), (CALLS, 0));
}

#[test]
fn no_space_at_the_nth_write_is_read_only_or_a_stop() {
    // A segment in the making can be made later; a frame or a slot that finds no room where there was some is a failed write.
    let tally = every_call(Call::Write, Fault::NoSpace);
    assert!(tally.stopped > 0 && tally.read_only > 0, "{tally:?}");
    assert_eq!(tally.stopped + tally.read_only + tally.unseen, CALLS);
}

#[test]
fn an_error_of_the_nth_sync_stops_the_writer() {
    for fault in [Fault::Error, Fault::HalfSync] {
        let tally = every_call(Call::Sync, fault);
        assert_eq!((tally.stopped, tally.read_only), (CALLS, 0));
    }
}

#[test]
fn no_space_at_the_nth_sync_is_read_only_or_a_stop() {
    let tally = every_call(Call::Sync, Fault::NoSpaceSync);
    assert!(tally.stopped > 0 && tally.read_only > 0, "{tally:?}");
    assert_eq!(tally.stopped + tally.read_only + tally.unseen, CALLS);
}

#[test]
fn an_error_of_the_nth_name_stops_the_writer() {
    let tally = every_call(Call::Name, Fault::Error);
    assert_eq!((tally.stopped, tally.read_only), (CALLS, 0));
}

#[test]
fn no_space_at_the_nth_name_is_read_only_and_back() {
    let tally = every_call(Call::Name, Fault::NoSpace);
    assert_eq!(tally.stopped, 0, "{tally:?}");
    assert!(tally.read_only > 0, "{tally:?}");
}

#[test]
fn a_disk_that_stays_full_is_read_only_until_it_is_not() {
    for full_at in 0..40 {
        let at = format!("full from group {full_at} on");
        let disk = SimDisk::new();
        let engine = start(&disk);
        let mut acknowledged = Acknowledged::default();
        acknowledged.note(&opening(), &ask(&engine, opening()).unwrap());
        let (mut number, mut refused) = (0, 0);
        while refused < 5 {
            assert!(number < 200, "{at}: never full");
            disk.set_full(number >= full_at);
            let commands = group(number);
            match ask(&engine, commands.clone()) {
                Ok(answers) => {
                    assert_eq!(refused, 0, "{at}: taken without space");
                    acknowledged.note(&commands, &answers);
                    number += 1;
                }
                Err(fault) => {
                    assert_eq!(fault, EngineFault::ReadOnly, "{at}");
                    assert_eq!(engine.status().writer, WriterState::ReadOnly, "{at}");
                    refused += 1;
                }
            }
        }
        // What is on record is told again, even now; nothing new is.
        let told = ask(&engine, opening()).unwrap();
        assert!(told.iter().all(|answer| matches!(answer, Answer::Recorded { replayed: true, .. })), "{at}: {told:?}");
        assert!(look_up(&engine, CommandId(1_000 + number * GROUP)).is_none(), "{at}");
        check(&disk.same_kernel(), &acknowledged, &at);
        disk.set_full(false);
        for number in number..number + 3 {
            let commands = group(number);
            let answers = ask(&engine, commands.clone()).unwrap_or_else(|fault| panic!("{at}, space again: {fault}"));
            acknowledged.note(&commands, &answers);
        }
        assert_eq!(engine.status().writer, WriterState::Serving, "{at}");
        drop(engine);
        check(&disk.moment().power_cuts(0).next().unwrap(), &acknowledged, &at);
    }
}
