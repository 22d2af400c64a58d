//! The journal in Kafka, on a real broker: the contract of all journals, the fence, lost answers, records that come late, crashes,
//! bad input.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use event_schemas::block::BlockPlace;
use event_schemas::event::BookOpened;
use event_schemas::{
    Block, BlockBuilder, BlockHash, BookId, Epoch, Event, EventBody, PrincipalId, Sequence, Timestamp,
};
use ledger_core::ports::{AppendError, Journal as _, JournalReader};
use projections::ports::EventFeed;
use stores::conformance::{JournalMaker, check_all, recorded_blocks};
use stores::kafka::{KafkaFault, KafkaJournal, KafkaOptions, KafkaReader, KafkaUrl, make_topics};
use support::kafka::{Broker, Wire};

/// One broker for the tests of this file that do it no harm: it ends with the last test that has it.
fn broker() -> Arc<Broker> {
    static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let broker = Arc::new(Broker::start());
        *shared = Arc::downgrade(&broker);
        broker
    })
}

fn fresh_prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn parse(url: &str) -> KafkaUrl {
    KafkaUrl::parse(url).unwrap()
}

fn options(url: &str) -> KafkaOptions {
    let mut options = KafkaOptions::new(parse(url), BookId::FIRST);
    options.lease_ttl = Duration::from_millis(400);
    options.allow_unsafe_server = true;
    options
}

/// A writer whose signs of life come so seldom that whoever is in a hurry takes it for dead: as if it had been asleep.
fn sleepy(url: &str) -> KafkaOptions {
    KafkaOptions { lease_ttl: Duration::from_secs(4), ..options(url) }
}

/// One that is in a hurry.
fn hasty(url: &str) -> KafkaOptions {
    KafkaOptions { lease_ttl: Duration::from_millis(200), standby: true, ..options(url) }
}

/// Topics without a journal: their prefix and their URL.
fn made(broker: &Broker) -> (String, String) {
    let prefix = fresh_prefix();
    let url = broker.url(&prefix);
    assert_eq!(make_topics(&parse(&url), BookId::FIRST, true).unwrap().made.len(), 2);
    (prefix, url)
}

fn blocks_topic(prefix: &str) -> String {
    format!("{prefix}.book.1.blocks")
}

fn read(url: &str) -> Result<Vec<Block>, ledger_core::ports::JournalFault> {
    let mut reader = KafkaReader::open(&parse(url), BookId::FIRST);
    let mut blocks = Vec::new();
    while let Some(block) = JournalReader::next_block(&mut reader)? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// Small blocks, one event each, behind a head.
fn small_blocks(count: u64) -> Vec<Block> {
    let (mut builder, mut previous) = (BlockBuilder::new(), BlockHash::default());
    let mut block = |number: u64| {
        let opened = BookOpened { book: BookId::FIRST, nonce: PrincipalId(number.into()) };
        builder.push(&Event::engine(EventBody::BookOpened(opened)));
        let (first_sequence, recorded_at) = (Sequence(number), Timestamp(0));
        let place = BlockPlace { book: BookId::FIRST, first_sequence, recorded_at, epoch: Epoch(1), previous };
        let block = builder.seal(place);
        previous = block.hash();
        block
    };
    (1..=count).map(&mut block).collect()
}

/// Another block behind one than the one that is recorded there.
fn block_behind(block: &Block) -> Block {
    let header = block.header();
    let mut next = BlockBuilder::new();
    next.push(&Event::engine(EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce: PrincipalId(9) })));
    next.seal(BlockPlace {
        book: BookId::FIRST,
        first_sequence: header.last_sequence().next(),
        recorded_at: header.recorded_at,
        epoch: header.epoch,
        previous: block.hash(),
    })
}

struct Kafka {
    broker: Arc<Broker>,
    url: String,
    polling: bool,
}

impl JournalMaker for Kafka {
    type Journal = KafkaJournal;

    fn fresh(&mut self) -> KafkaJournal {
        self.url = made(&self.broker).1;
        KafkaJournal::open(&options(&self.url)).unwrap()
    }

    fn reopen(&mut self, journal: KafkaJournal) -> KafkaJournal {
        drop(journal);
        KafkaJournal::open(&options(&self.url)).unwrap()
    }

    fn feed(&mut self, journal: &KafkaJournal) -> Box<dyn EventFeed> {
        if self.polling {
            Box::new(KafkaReader::open(journal.url(), BookId::FIRST))
        } else {
            Box::new(journal.kafka_reader())
        }
    }
}

#[test]
fn keeps_the_contract_of_all_journals() {
    check_all(&mut Kafka { broker: broker(), url: String::new(), polling: false });
}

#[test]
fn keeps_it_for_readers_of_other_processes() {
    let mut maker = Kafka { broker: broker(), url: String::new(), polling: true };
    stores::conformance::feeds_events(&mut maker);
}

#[test]
fn any_block_is_found_without_reading_all_before_it() {
    let broker = broker();
    let (_, url) = made(&broker);
    let blocks = small_blocks(600);
    for part in blocks.chunks(150) {
        // Each start finds the end, and a claim stands between.
        let mut journal = KafkaJournal::open(&options(&url)).unwrap();
        assert_eq!(journal.head().sequence, Sequence(part[0].header().first_sequence.0 - 1));
        journal.append(part).unwrap();
    }
    let journal = KafkaJournal::open(&options(&url)).unwrap();
    assert_eq!(journal.head().hash, blocks.last().unwrap().hash());
    for mut reader in [journal.kafka_reader(), KafkaReader::open(&parse(&url), BookId::FIRST)] {
        assert_eq!(reader.durable_sequence().unwrap(), Sequence(600));
        for sequence in [1, 600, 300, 299, 151, 150, 17, 16, 450, 601] {
            let found = reader.block_at(Sequence(sequence)).unwrap();
            assert!(found.as_ref() == blocks.get(usize::try_from(sequence - 1).unwrap()), "{sequence}");
        }
        reader.block_at(Sequence(598)).unwrap();
        let next = JournalReader::next_block(&mut reader).unwrap().map(|block| block.hash());
        assert_eq!(next, Some(blocks[598].hash()));
    }
    assert!(read(&url).unwrap() == blocks);
}

#[test]
fn an_overtaken_writer_changes_nothing() {
    let broker = broker();
    let blocks = recorded_blocks();
    for appends_first in [false, true] {
        let (prefix, url) = made(&broker);
        let mut old = KafkaJournal::open(&sleepy(&url)).unwrap();
        old.append(&blocks[..2]).unwrap();
        let mut new = KafkaJournal::open(&hasty(&url)).unwrap();
        assert!(new.epoch() > old.epoch());
        if appends_first {
            new.append(&blocks[2..4]).unwrap();
        }
        // The head is the one it knows in the first case, and Kafka takes its block; still nobody counts it.
        let late = [block_behind(&blocks[1])];
        assert_eq!(old.append(&late), Err(AppendError::Fenced(new.epoch())));
        assert_eq!(old.append(&late), Err(AppendError::Fenced(new.epoch())), "it stops for good");
        assert_eq!(old.secure_space(1), Err(AppendError::Fenced(new.epoch())));
        new.append(&blocks[if appends_first { 4 } else { 2 }..]).unwrap();
        assert!(read(&url).unwrap() == blocks);
        assert_eq!(broker.records(&blocks_topic(&prefix)), 2 + 12 + 1, "two claims, the blocks, and one that is void");
    }
}

#[test]
fn an_idle_writer_learns_that_it_was_overtaken() {
    let broker = broker();
    let (_, url) = made(&broker);
    let mut old = KafkaJournal::open(&sleepy(&url)).unwrap();
    let watch = old.watch();
    assert_eq!(watch.lost_to(), None);
    let new = KafkaJournal::open(&hasty(&url)).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while watch.lost_to().is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(watch.lost_to(), Some(new.epoch()));
    assert_eq!(old.secure_space(1), Err(AppendError::Fenced(new.epoch())));
}

#[test]
fn a_standby_takes_over_when_the_writer_is_gone() {
    let broker = broker();
    let (_, url) = made(&broker);
    let blocks = recorded_blocks();
    let mut writer = KafkaJournal::open(&options(&url)).unwrap();
    writer.append(&blocks[..3]).unwrap();
    match KafkaJournal::open(&options(&url)) {
        Err(KafkaFault::Held { epoch: Epoch(1), .. }) => {}
        other => panic!("{other:?}"),
    }
    let standby = {
        let options = KafkaOptions { standby: true, ..options(&url) };
        std::thread::spawn(move || KafkaJournal::open(&options).unwrap())
    };
    std::thread::sleep(Duration::from_secs(2));
    assert!(!standby.is_finished(), "it took over from a writer that is alive");
    writer.append(&blocks[3..4]).unwrap();
    drop(writer);
    let ended = Instant::now();
    let mut standby = standby.join().unwrap();
    assert!(ended.elapsed() < Duration::from_secs(5));
    assert_eq!(standby.head().hash, blocks[3].hash());
    standby.append(&blocks[4..]).unwrap();
    assert!(read(&url).unwrap() == blocks);
}

#[test]
fn an_append_whose_answer_is_lost_takes_place_once() {
    let broker = broker();
    let blocks = recorded_blocks();
    let (prefix, url) = made(&broker);
    let mut journal = KafkaJournal::open(&options(&broker.url_by_proxy(&prefix))).unwrap();
    for (at, block) in blocks.iter().enumerate() {
        broker.proxy.set([Wire::AnswerLost, Wire::Cut, Wire::Whole][at % 3]);
        journal.append(std::slice::from_ref(block)).unwrap();
        assert!(broker.proxy.is(Wire::Whole), "the wire did not break");
    }
    assert_eq!(journal.head().hash, blocks.last().unwrap().hash());
    assert!(read(&url).unwrap() == blocks);
}

#[test]
fn a_block_that_arrives_after_it_was_given_up_counts_for_nothing() {
    let broker = Broker::start();
    let blocks = recorded_blocks();
    let (prefix, url) = made(&broker);
    let mut held = options(&broker.url_by_proxy(&prefix));
    held.append_within = Duration::from_secs(1);
    let mut journal = KafkaJournal::open(&held).unwrap();
    journal.append(&blocks[..3]).unwrap();
    broker.proxy.set(Wire::Held);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(4));
            broker.proxy.set(Wire::Whole);
        });
        journal.append(&blocks[3..4]).unwrap();
    });
    // What was held arrives now.
    std::thread::sleep(Duration::from_secs(1));
    journal.append(&blocks[4..]).unwrap();
    assert!(read(&url).unwrap() == blocks);
    let records = broker.records(&blocks_topic(&prefix));
    assert!(records > 2 + 12, "nothing came late: {records} records");
    // Whoever starts behind it finds the same.
    drop(journal);
    assert_eq!(KafkaJournal::open(&options(&url)).unwrap().head().hash, blocks.last().unwrap().hash());
}

#[test]
fn records_of_others_are_passed_over_and_forged_ones_are_seen() {
    let broker = broker();
    let blocks = recorded_blocks();
    let (prefix, url) = made(&broker);
    let topic = blocks_topic(&prefix);
    let mut journal = KafkaJournal::open(&options(&url)).unwrap();
    journal.append(&blocks[..2]).unwrap();
    broker.produce(&topic, &[], b"by mistake");
    broker.produce(&topic, &[("format", "1"), ("kind", "claim")], b"{}");
    journal.append(&blocks[2..]).unwrap();
    assert!(read(&url).unwrap() == blocks);
    let forged = [("format", "1"), ("kind", "block"), ("epoch", "1"), ("known", "3"), ("head", "3")];
    broker.produce(&topic, &forged, small_blocks(1)[0].bytes());
    assert!(read(&url).unwrap() == blocks, "a block of the past is none");
    drop(journal);
    let journal = KafkaJournal::open(&options(&url)).unwrap();
    let epoch = journal.epoch().to_string();
    let forged = [("format", "1"), ("kind", "block"), ("epoch", epoch.as_str()), ("known", "3"), ("head", "3")];
    let mut next = BlockBuilder::new();
    next.push(&Event::engine(EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce: PrincipalId(1) })));
    let next = next.seal(BlockPlace {
        book: BookId::FIRST,
        first_sequence: journal.head().sequence.next(),
        recorded_at: journal.head().recorded_at,
        epoch: Epoch(9),
        previous: BlockHash::default(),
    });
    broker.produce(&topic, &forged, next.bytes());
    let fault = read(&url).map(|blocks| blocks.len()).unwrap_err().to_string();
    assert!(fault.contains("damaged") && fault.contains("does not continue"), "{fault}");
    drop(journal);
    assert!(matches!(KafkaJournal::open(&options(&url)).unwrap_err(), KafkaFault::Damaged(_)));
}

#[test]
fn a_topic_that_lost_its_beginning_is_refused() {
    let broker = broker();
    let (prefix, url) = made(&broker);
    KafkaJournal::open(&options(&url)).unwrap().append(&recorded_blocks()).unwrap();
    broker.forget(&blocks_topic(&prefix), 3);
    let refused = KafkaJournal::open(&options(&url)).unwrap_err();
    assert!(matches!(&refused, KafkaFault::Damaged(text) if text.contains("deleted")), "{refused}");
    assert!(read(&url).is_err());
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_nothing_acknowledged() {
    let broker = Broker::start();
    let (_, url) = made(&broker);
    let blocks = small_blocks(400);
    let mut journal = KafkaJournal::open(&options(&url)).unwrap();
    let killed = std::sync::atomic::AtomicBool::new(false);
    let mut at = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(300));
                broker.kill();
                broker.restart();
            }
            killed.store(true, Ordering::SeqCst);
        });
        while !killed.load(Ordering::SeqCst) && at < blocks.len() {
            journal.append(&blocks[at..=at]).unwrap();
            at += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        while !killed.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    journal.append(&blocks[at..]).unwrap();
    assert!(read(&url).unwrap() == blocks);
}

#[test]
fn what_does_not_fit_is_told() {
    let broker = broker();
    let open = |url: &str| KafkaJournal::open(&options(url)).unwrap_err();
    let nobody = open(&format!("kafka://127.0.0.1:{}/p", support::free_port()));
    assert!(matches!(nobody, KafkaFault::Unreachable { .. }), "{nobody}");
    // No topics; too many partitions; settings that lose records.
    let missing = open(&broker.url(&fresh_prefix()));
    assert!(matches!(&missing, KafkaFault::TopicMissing { .. }), "{missing}");
    assert!(missing.to_string().contains("ledgerd migrate"), "{missing}");
    let prefix = fresh_prefix();
    broker.make_topic(&blocks_topic(&prefix), 3);
    for refused in
        [open(&broker.url(&prefix)), make_topics(&parse(&broker.url(&prefix)), BookId::FIRST, true).unwrap_err()]
    {
        let text = refused.to_string();
        assert!(text.contains("3 partitions") || text.contains("ledgerd migrate"), "{text}");
    }
    assert!(open(&broker.url(&prefix)).to_string().contains("3 partitions"));
    let (prefix, url) = made(&broker);
    for (name, wrong, right) in [
        ("retention.ms", "604800000", "-1"),
        ("cleanup.policy", "compact", "delete"),
        ("max.message.bytes", "100000", "1048588"),
    ] {
        let settings = |value| [("retention.ms", "-1"), (name, value)];
        broker.set(&blocks_topic(&prefix), &settings(wrong));
        let refused = open(&url);
        assert!(refused.to_string().contains(&format!("{name} = {wrong}")), "{refused}");
        broker.set(&blocks_topic(&prefix), &settings(right));
    }
    // One broker is not three.
    let unsafe_one = KafkaOptions { allow_unsafe_server: false, ..options(&url) };
    let refused = KafkaJournal::open(&unsafe_one).unwrap_err();
    assert!(matches!(refused, KafkaFault::ServerUnsafe(_)), "{refused}");
    let refused = make_topics(&parse(&broker.url(&fresh_prefix())), BookId::FIRST, false).unwrap_err();
    assert!(refused.to_string().contains("--allow-unsafe-server"), "{refused}");
    // Making them twice is once.
    assert_eq!(make_topics(&parse(&url), BookId::FIRST, true).unwrap().made, Vec::<String>::new());
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let broker = broker();
    let (prefix, _) = made(&broker);
    let url = |password: &str| {
        format!("kafka+ssl://ada:{password}@127.0.0.1:{}/{prefix}?security.protocol=sasl_plaintext", broker.secure)
    };
    KafkaJournal::open(&options(&url("s3cret"))).unwrap().append(&recorded_blocks()).unwrap();
    let wrong = KafkaJournal::open(&options(&url("gu3ss"))).unwrap_err();
    assert!(matches!(wrong, KafkaFault::Refused { .. }), "{wrong}");
    let text = format!("{wrong} {wrong:?} {:?}", options(&url("gu3ss")));
    assert!(!text.contains("gu3ss") && text.contains("ada@"), "{text}");
}
