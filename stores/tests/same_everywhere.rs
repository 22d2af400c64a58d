//! One stream of 100,000 commands of all kinds, given to the engine on each store in other cuts: the verdicts and the digest of
//! the state are the same everywhere (law 3).
#![cfg(all(feature = "segments", feature = "postgres", feature = "kafka"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_wrap)]

#[path = "../../ledger-core/tests/stage/mod.rs"]
mod stage;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use event_schemas::{BookId, Command, Digest, Sequence, Timestamp};
use ledger_core::audit::Auditor;
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{Answer, CommandSink as _, Journal, JournalReader, Verdict};
use ledger_core::state::State;
use stage::{Hands, MapCheckpoints, MapIndex, START_US};
use stores::kafka::{KafkaJournal, KafkaOptions, KafkaUrl, make_topics};
use stores::memory::MemoryBook;
use stores::postgres::{PostgresJournal, PostgresOptions, PostgresUrl, migrate};
use stores::segments::{DiskStorage, SegmentOptions, Storage};
use support::kafka::Broker;
use support::{Server, mixed};

const COMMANDS: usize = 100_000;

/// What a client was told, without what depends on the cuts: at which sequence, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Said(Verdict, bool),
    Conflict(&'static str),
}

struct Run {
    told: Vec<Told>,
    digest: Digest,
    /// How many events of each kind there are.
    events: BTreeMap<&'static str, u64>,
}

/// Gives all commands, so many at once.
fn run(name: &str, journal: Box<dyn Journal>, mut reader: impl JournalReader, commands: &[Command], cut: usize) -> Run {
    let hands = Hands::new();
    let (ids, checkpoints) = (Box::<MapIndex>::default(), Arc::<MapCheckpoints>::default());
    let options = EngineOptions { nonce: 42, ..EngineOptions::default() };
    let engine = Engine::start(EngineParts { journal, ids, checkpoints, clock: hands.clock(), options }).unwrap();
    let mut told = Vec::with_capacity(commands.len());
    for moment in commands.chunks(mixed::MOMENT) {
        // Not after the last one: whether holds that are due then expire before the engine stops is a matter of luck.
        if !told.is_empty() {
            hands.advance(mixed::STEP_US);
        }
        for group in moment.chunks(cut) {
            let (sender, receiver) = channel();
            let reply = Box::new(move |answers| drop(sender.send(answers)));
            engine.try_submit(group.to_vec(), reply).unwrap();
            let answers = receiver.recv_timeout(Duration::from_mins(1)).unwrap().unwrap();
            told.extend(answers.into_iter().map(|answer| match answer {
                Answer::Recorded { verdict, replayed, .. } => Told::Said(verdict, replayed),
                Answer::Conflict { field, .. } => Told::Conflict(field),
            }));
        }
    }
    engine.stop();
    // The state as the journal has it, audited on the way.
    let (mut state, mut auditor, mut events, mut cuts) = (State::new(), Auditor::new(), BTreeMap::new(), 0_u32);
    while let Some(block) = reader.next_block().unwrap() {
        auditor.at(block.header().recorded_at);
        cuts += 1;
        for event in block.events() {
            let (sequence, event) = event.unwrap();
            auditor.observe(sequence, &event);
            state.apply(&event).unwrap();
            *events.entry(event.body.type_name()).or_default() += 1;
        }
    }
    auditor.finish();
    assert_eq!(auditor.findings(), [], "{name}");
    let digest = state.digest();
    println!("{name}: {} events in {cuts} blocks, digest {digest}", events.values().sum::<u64>());
    Run { told, digest, events }
}

#[test]
fn the_same_commands_have_the_same_end_on_every_store() {
    let commands = mixed::commands(COMMANDS, Timestamp(START_US));

    let book = MemoryBook::new(BookId::FIRST);
    let memory = run("memory", Box::new(book.writer()), book.reader(), &commands, mixed::MOMENT);

    // The stream is what it says: of every kind there is something, and most of it is accepted.
    for kind in [
        "ledger.account.opened.v1",
        "ledger.account.frozen.v1",
        "ledger.entry.posted.v1",
        "ledger.entry.reversed.v1",
        "ledger.hold.placed.v1",
        "ledger.hold.captured.v1",
        "ledger.hold.voided.v1",
        "ledger.hold.expired.v1",
        "ledger.limit.charged.v1",
        "ledger.limits.set.v1",
        "ledger.fee_rule.set.v1",
        "ledger.rate_sheet.published.v1",
        "ledger.conversion.posted.v1",
        "ledger.command.rejected.v1",
        "ledger.state.digest.v1",
    ] {
        assert!(memory.events.get(kind).is_some_and(|count| *count > 0), "no {kind} in {:?}", memory.events);
    }
    let count = |of: fn(&Told) -> bool| memory.told.iter().filter(|told| of(told)).count();
    assert!(count(|told| matches!(told, Told::Said(Verdict::Accepted, false))) > COMMANDS / 2, "{:?}", memory.events);
    assert!(count(|told| matches!(told, Told::Said(_, true))) > COMMANDS / 100);
    assert!(count(|told| matches!(told, Told::Conflict(_))) > 100);

    let same = |name: &str, other: &Run| {
        let differs = memory.told.iter().zip(&other.told).position(|(here, there)| here != there);
        assert_eq!(differs, None, "{name} says something else");
        assert_eq!((memory.told.len(), memory.digest), (other.told.len(), other.digest), "{name}");
    };

    let again = MemoryBook::new(BookId::FIRST);
    same("memory, one by one", &run("memory", Box::new(again.writer()), again.reader(), &commands, 1));

    let folder = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::create(folder.path()).unwrap());
    let mut options = SegmentOptions::new(BookId::FIRST);
    options.segment_bytes = 4 << 20;
    stores::segments::create(&storage, &options).unwrap();
    let journal = stores::segments::open(&storage, &options, Sequence::ZERO).unwrap();
    let reader = journal.segment_reader();
    same("embedded", &run("embedded", Box::new(journal), reader, &commands, 137));

    let server = Server::start();
    let url = PostgresUrl::parse(&server.url("doppia")).unwrap();
    migrate(&url).unwrap();
    let journal = PostgresJournal::open(&PostgresOptions::new(url, BookId::FIRST)).unwrap();
    let reader = journal.postgres_reader();
    same("PostgreSQL", &run("PostgreSQL", Box::new(journal), reader, &commands, 499));

    let broker = Broker::start();
    let mut options = KafkaOptions::new(KafkaUrl::parse(&broker.url("same")).unwrap(), BookId::FIRST);
    options.allow_unsafe_server = true;
    make_topics(&options.url, BookId::FIRST, true).unwrap();
    let journal = KafkaJournal::open(&options).unwrap();
    let reader = journal.kafka_reader();
    same("Kafka", &run("Kafka", Box::new(journal), reader, &commands, 1_009));
}
