//! The journal read back from Kafka: block for block what was appended, whatever comes twice; and a stop, with the sequence, at
//! what is missing or not what it was.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use connectors::kafka::{KafkaFault, KafkaFeed, KafkaSettings, Tail, header};
use event_schemas::topics::Topic;
use event_schemas::{Block, Sequence};
use projections::memory::MemoryRows;
use projections::ports::EventFeed as _;
use projections::{Runner, digest};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use support::{BOOK, Broker, Journal, Stored, committed, history, published, relay};

/// All blocks up to the head. What a relay has committed can be read when its brokers have marked it, a little later.
fn blocks(feed: &mut KafkaFeed, head: Sequence) -> Vec<Block> {
    let mut after = Sequence::ZERO;
    let mut blocks = Vec::new();
    while after < head {
        let block = feed.next_block(after, Duration::from_secs(10)).unwrap().expect("the topic ends too early");
        after = block.header().last_sequence();
        blocks.push(block);
    }
    assert_eq!(feed.next_block(after, Duration::ZERO).unwrap(), None);
    blocks
}

fn assert_same(found: &[Block], expected: &[Block]) {
    let hashes = |blocks: &[Block]| blocks.iter().map(Block::hash).collect::<Vec<_>>();
    assert_eq!(hashes(found), hashes(expected));
    assert!(found == expected);
}

/// Writes records as they are, without a transaction: what a relay of less care would do.
fn write(broker: &Broker, topic: &str, records: &[Stored]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    for record in records {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        producer.send(BaseRecord::to(topic).key(&record.key).payload(&record.value).headers(headers)).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

#[test]
fn blocks_come_back_as_they_were_appended() {
    let broker = Broker::shared();
    let settings = broker.topics(1);
    let journal = history(500);
    journal.show(journal.blocks.len() / 2);
    let relay = relay(&settings, &journal);
    published(&relay, &journal);
    let mut feed = KafkaFeed::open(&settings, BOOK).unwrap();
    assert_same(&blocks(&mut feed, journal.head()), &journal.blocks[..journal.blocks.len() / 2]);
    // It waits for what comes, and for no longer than it was told.
    let after = journal.head();
    assert_eq!(feed.next_block(after, Duration::from_millis(50)).unwrap(), None);
    journal.show(journal.blocks.len());
    published(&relay, &journal);
    let next = feed.next_block(after, Duration::from_secs(10)).unwrap().unwrap();
    assert_same(&[next], &journal.blocks[journal.blocks.len() / 2..][..1]);
    relay.stop();
    // From anywhere, also from the middle of a block: the block that holds the next event.
    for after in [0, 1, 5, 100, 101, 102, 250, 333, journal.head().0 - 1] {
        let mut whole = journal.clone();
        let expected = whole.next_block(Sequence(after), Duration::ZERO).unwrap().unwrap();
        let found = feed.next_block(Sequence(after), Duration::from_secs(10)).unwrap().expect("a block");
        assert_same(&[found], &[expected]);
    }
    assert_eq!(feed.next_block(journal.head(), Duration::ZERO).unwrap(), None);

    // Read models made from Kafka are those made from the journal.
    let made = |feed: &mut dyn projections::ports::EventFeed| {
        let mut runner = Runner::new(feed, MemoryRows::default(), projections::all());
        runner.run_to(journal.head(), &mut |_| ()).unwrap();
        let of = |one: Box<dyn projections::Projection>| digest::digest(runner.rows(), one.as_ref()).unwrap();
        projections::all().into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(made(&mut feed), made(&mut journal.clone()));
}

#[test]
fn what_comes_twice_is_passed_over() {
    let broker = Broker::shared();
    let source = broker.topics(1);
    let journal = history(200);
    let relay = relay(&source, &journal);
    published(&relay, &journal);
    relay.stop();
    let records = committed(&broker, &source.journal_topic(BOOK), journal.events().len());
    let target = broker.topics(1);
    // Pieces that overlap, as they come from a relay that starts again without knowing what it wrote.
    for (from, to) in [(0, 90), (40, 130), (129, 131), (0, 10), (100, records.len())] {
        write(&broker, &target.journal_topic(BOOK), &records[from..to]);
    }
    let mut feed = KafkaFeed::open(&target, BOOK).unwrap();
    assert_same(&blocks(&mut feed, journal.head()), &journal.blocks);
}

/// Follows a topic into which these records are written, and gives what stops the projector.
fn stopped_by(broker: &Broker, journal: &Journal, records: &[Stored]) -> String {
    let settings = broker.topics(1);
    write(broker, &settings.journal_topic(BOOK), records);
    let feed = KafkaFeed::open(&settings, BOOK).unwrap();
    let mut runner = Runner::new(feed, MemoryRows::default(), projections::all());
    runner.run_to(journal.head(), &mut |_| ()).unwrap_err().to_string()
}

#[test]
fn a_gap_a_swap_and_a_change_stop_a_projector_which_names_the_event() {
    let broker = Broker::shared();
    let source = broker.topics(1);
    let journal = history(120);
    let relay = relay(&source, &journal);
    published(&relay, &journal);
    relay.stop();
    let records = committed(&broker, &source.journal_topic(BOOK), journal.events().len());
    let changed = |at: usize, change: &dyn Fn(&mut Stored)| {
        let mut records = records.clone();
        change(&mut records[at]);
        records
    };
    let without = |at: usize| [&records[..at], &records[at + 1..]].concat();
    let swapped = [&records[..60], &records[61..62], &records[60..61], &records[62..]].concat();
    // One cent more, in an event of the middle of the book.
    let one = records.iter().position(|record| String::from_utf8_lossy(&record.value).contains("\"50.00\"")).unwrap();
    let dearer = changed(one, &|record| {
        record.value = String::from_utf8_lossy(&record.value).replace("\"50.00\"", "\"50.01\"").into_bytes();
    });
    let block_of_the_change = {
        let mut journal = journal.clone();
        let block = journal.next_block(Sequence(one as u64), Duration::ZERO).unwrap().unwrap();
        block.header().first_sequence
    };
    for (records, expected) in [
        (without(0), "event 1: the topic goes on at event 2 instead".to_owned()),
        (without(60), "event 61: the topic goes on at event 62 instead".to_owned()),
        (swapped, "event 61: the topic goes on at event 62 instead".to_owned()),
        (dearer, format!("event {block_of_the_change}: its block is not what was appended")),
        (
            changed(60, &|record| record.value = b"{}".to_vec()),
            "event 61: the value at offset 60 can't be read".to_owned(),
        ),
        (
            changed(60, &|record| record.value = records[61].value.clone()),
            "event 61: the value at offset 60 is event 62".to_owned(),
        ),
    ] {
        let error = stopped_by(&broker, &journal, &records);
        assert!(error.contains(&expected), "{expected}: {error}");
    }
    let last = records.len() - 1;
    let unmarked = changed(last, &|record| drop(record.headers.insert(header::BLOCK.to_owned(), "00".into())));
    assert!(stopped_by(&broker, &journal, &unmarked).contains("the header of its block can't be read"));
}

#[test]
fn topics_that_are_not_there_are_told() {
    let broker = Broker::shared();
    let settings = broker.settings();
    let topic = settings.journal_topic(BOOK);
    assert_eq!(KafkaFeed::open(&settings, BOOK).err(), Some(KafkaFault::MissingTopic { topic }));
    let topic = settings.topic(Topic::AccountCreated);
    assert_eq!(Tail::open(&settings, &topic, true).err(), Some(KafkaFault::MissingTopic { topic }));
    let nowhere = KafkaSettings::new("127.0.0.1:1").unwrap();
    assert!(matches!(KafkaFeed::open(&nowhere, BOOK).err(), Some(KafkaFault::Unreachable { .. })));
}
