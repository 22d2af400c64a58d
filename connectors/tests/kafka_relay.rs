//! The relay on a real broker: what it publishes, and that each of it is there once, whoever is killed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use connectors::kafka::{KafkaFault, KafkaSettings, RelayState, TopicPlan, check_topics, make_topics};
use event_schemas::topics::{BALANCE_CHANGED, BalanceChanged, Topic, outlets};
use event_schemas::{AccountId, RecordedEvent, Sequence};
use projections::Runner;
use projections::balances::balance_now;
use projections::memory::MemoryRows;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use support::{BOOK, Broker, Journal, Stored, committed, history, published, read, relay, until};

/// What a keyed topic should hold: for each key, the ids in order.
fn expected(journal: &Journal, topic: Topic) -> BTreeMap<String, Vec<String>> {
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in journal.events() {
        for outlet in outlets(&event).into_iter().filter(|outlet| outlet.topic == topic) {
            let key = outlet.key.to_string();
            let id = format!("1/{}", event.sequence);
            let id = if outlet.change.is_some() { format!("{id}/{key}") } else { id };
            of.entry(key).or_default().push(id);
        }
    }
    of
}

fn by_key(records: &[Stored]) -> BTreeMap<String, Vec<String>> {
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records {
        of.entry(record.key.clone()).or_default().push(record.id().to_owned());
    }
    of
}

/// The journal's topic holds every event of the journal once, dense and in order, and the keyed topics each of theirs once for
/// its key, in order.
fn check(broker: &Broker, settings: &KafkaSettings, journal: &Journal) {
    let events = journal.events();
    let records = committed(broker, &settings.journal_topic(BOOK), events.len());
    assert_eq!(records.len(), events.len());
    for (record, event) in records.iter().zip(&events) {
        assert_eq!(&serde_json::from_slice::<RecordedEvent>(&record.value).unwrap(), event);
        assert_eq!(record.sequence(), event.sequence.0);
    }
    for topic in Topic::ALL {
        let expected = expected(journal, topic);
        let records = committed(broker, &settings.topic(topic), expected.values().map(Vec::len).sum());
        assert_eq!(by_key(&records), expected, "{}", topic.name());
    }
}

#[test]
fn every_event_is_published_once_with_its_attributes() {
    let broker = Broker::shared();
    let settings = broker.topics(4);
    let journal = history(600);
    let relay = relay(&settings, &journal);
    let status = published(&relay, &journal);
    assert_eq!(status.state, RelayState::Publishing);
    relay.end(journal.head());
    check(&broker, &settings, &journal);

    // Each value obeys the schema of its type, and says of itself what the headers say.
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../event-schemas/schemas");
    let mut validators = HashMap::new();
    let mut met = BTreeMap::<String, usize>::new();
    let topics = Topic::ALL.map(|topic| settings.topic(topic));
    let mut records_total = 0;
    for topic in topics.iter().chain([&settings.journal_topic(BOOK)]) {
        for record in committed(&broker, topic, 0) {
            records_total += 1;
            let kind = record.headers["ce_type"].clone();
            let validator = validators.entry(kind.clone()).or_insert_with(|| {
                let text = std::fs::read_to_string(schemas.join(format!("{kind}.json"))).unwrap();
                let schema = serde_json::from_str(&text).unwrap();
                jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
            });
            let json = record.json();
            assert!(validator.is_valid(&json), "{kind}: {json}");
            assert_eq!(json["sequence"], record.sequence());
            assert_eq!(json["recorded_at"], record.headers["ce_time"]);
            assert_eq!(record.headers["ce_source"], "/books/1");
            assert_eq!(record.headers["ce_specversion"], "1.0");
            assert_eq!(record.headers["content-type"], "application/json");
            assert_eq!(record.headers["ce_partitionkey"], record.key);
            let command = if kind == BALANCE_CHANGED { &json["command"] } else { &json["cause"]["command"] };
            let trace: Vec<_> = record.headers["traceparent"].split('-').collect();
            assert_eq!((trace[0], trace[1].len(), trace[2].len()), ("00", 32, 16));
            if let Some(command) = command.as_str() {
                assert_eq!(trace[1], command.replace('-', ""));
            }
            if topic.contains("journal") {
                assert_eq!(record.headers["ce_subject"], record.sequence().to_string());
            } else {
                assert_eq!(record.headers["ce_subject"], record.key);
            }
            *met.entry(kind).or_default() += 1;
        }
    }
    assert_eq!(status.records_total, records_total);
    println!("{met:?}");
    for kind in ["entry.posted", "entry.reversed", "hold.placed", "hold.captured", "hold.voided", "command.rejected"] {
        assert!(met[&format!("ledger.{kind}.v1")] > 10, "the history has too little of {kind}");
    }
}

/// What an outside system makes of `account.balance.updated` alone is what the book has.
#[test]
fn the_changes_of_an_account_add_up_to_its_balance() {
    let broker = Broker::shared();
    let settings = broker.topics(4);
    let journal = history(400);
    let relay = relay(&settings, &journal);
    published(&relay, &journal);
    relay.stop();
    let mut sums: BTreeMap<AccountId, [i128; 3]> = BTreeMap::new();
    let count = expected(&journal, Topic::BalanceUpdated).values().map(Vec::len).sum();
    for record in committed(&broker, &settings.topic(Topic::BalanceUpdated), count) {
        let change: BalanceChanged = serde_json::from_slice(&record.value).unwrap();
        let sums = sums.entry(change.account).or_default();
        for (sum, by) in sums.iter_mut().zip([change.debited, change.credited, change.held]) {
            *sum += by.amount_minor;
        }
    }
    let mut runner = Runner::new(journal.clone(), MemoryRows::default(), projections::all());
    runner.run_to(journal.head(), &mut |_| ()).unwrap();
    assert!(sums.len() > 10);
    for (account, [debited, credited, held]) in sums {
        let balance = balance_now(runner.rows(), account).unwrap().unwrap();
        assert_eq!((balance.debits_minor, balance.credits_minor), (debited, credited), "{account}");
        assert_eq!(balance.pending_debits_minor, held, "{account}");
    }
}

/// Relays that come and go while the journal grows: each goes on where the records end.
#[test]
fn a_relay_goes_on_where_the_records_end() {
    let broker = Broker::shared();
    let settings = broker.topics(3);
    let journal = history(900);
    let blocks = journal.blocks.len();
    for round in 1..=10 {
        journal.show(blocks * round / 10);
        let relay = relay(&settings, &journal);
        if round % 2 == 0 {
            published(&relay, &journal);
        } else {
            // Somewhere on its way.
            std::thread::sleep(Duration::from_millis(40 * u64::try_from(round).unwrap()));
        }
        relay.stop();
    }
    let relay = relay(&settings, &journal);
    published(&relay, &journal);
    relay.stop();
    check(&broker, &settings, &journal);
}

/// Readers that see what transactions gave up find no event out of its place: they pass over what they had, by its sequence.
#[test]
fn what_is_given_up_comes_again_with_the_same_ids() {
    let broker = Broker::shared();
    let settings = broker.topics(2);
    let journal = history(300);
    journal.show(journal.blocks.len() / 2);
    let relay_1 = relay(&settings, &journal);
    published(&relay_1, &journal);
    relay_1.stop();
    // A relay that died in the middle of a transaction: under the same name, with the records that it would have written.
    let topic = settings.journal_topic(BOOK);
    let half_done: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("transactional.id", format!("{}doppia-relay.book.1", topic.strip_suffix("book.1.journal").unwrap()))
        .create()
        .unwrap();
    half_done.init_transactions(Duration::from_secs(20)).unwrap();
    half_done.begin_transaction().unwrap();
    let before = journal.head();
    journal.show(journal.blocks.len());
    for event in journal.events().iter().filter(|event| event.sequence > before).take(20) {
        let value = serde_json::to_vec(event).unwrap();
        half_done.send(BaseRecord::to(&topic).partition(0).key("1").payload(&value)).unwrap();
    }
    half_done.flush(Duration::from_secs(20)).unwrap();
    let relay_2 = relay(&settings, &journal);
    published(&relay_2, &journal);
    relay_2.stop();
    assert!(half_done.commit_transaction(Duration::from_secs(20)).is_err(), "it was not fenced");
    check(&broker, &settings, &journal);
    let all = read(&broker.address(), &topic, "read_uncommitted");
    assert_eq!(all.len(), journal.events().len() + 20);
    let mut reached = 0;
    for record in &all {
        let sequence = record.json()["sequence"].as_u64().unwrap();
        assert!(sequence <= reached + 1, "{sequence} after {reached}");
        reached = reached.max(sequence);
    }
    assert_eq!(Sequence(reached), journal.head());
}

#[test]
fn of_two_relays_one_is_fenced_and_stops_with_an_alarm() {
    let broker = Broker::shared();
    let settings = broker.topics(2);
    let journal = history(600);
    let blocks = journal.blocks.len();
    journal.show(blocks / 4);
    let first = relay(&settings, &journal);
    published(&first, &journal);
    let second = relay(&settings, &journal);
    until("the second is there", Duration::from_secs(20), || second.status().state == RelayState::Publishing);
    for shown in blocks / 4..=blocks {
        journal.show(shown);
        std::thread::sleep(Duration::from_millis(3));
    }
    published(&second, &journal);
    until(
        "the first has stopped",
        Duration::from_secs(20),
        || matches!(first.status().state, RelayState::Stopped(reason) if reason.contains("another relay")),
    );
    assert_eq!(second.status().state, RelayState::Publishing);
    first.stop();
    second.stop();
    check(&broker, &settings, &journal);
}

#[test]
fn kafka_that_is_ahead_of_the_journal_or_beside_it_stops_the_relay() {
    let broker = Broker::shared();
    let settings = broker.topics(2);
    let (journal, other) = (history(60), history(60));
    let whole = relay(&settings, &journal);
    published(&whole, &journal);
    whole.stop();
    let records = committed(&broker, &settings.journal_topic(BOOK), journal.events().len()).len();
    // The same book, put back from an older copy; and another book of the same number.
    let (head, shorter) = (journal.head(), journal.blocks.len() - 3);
    for (journal, expected) in [
        (Journal::new(journal.blocks[..shorter].to_vec()), "it is in Kafka, and the journal ends at"),
        (other, "Kafka has another event there than the journal"),
    ] {
        let relay = relay(&settings, &journal);
        until("it stops", Duration::from_secs(20), || matches!(relay.status().state, RelayState::Stopped(_)));
        let reason = relay.status().state.reason().to_owned();
        assert!(reason.contains(&format!("parted at event {head}")) && reason.contains(expected), "{reason}");
        relay.stop();
    }
    assert_eq!(committed(&broker, &settings.journal_topic(BOOK), records).len(), records);
    // And what nobody's relay wrote.
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    let topic = settings.journal_topic(BOOK);
    producer.send(BaseRecord::<str, str>::to(&topic).payload("hello")).unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
    let relay = relay(&settings, &journal);
    until("it stops", Duration::from_secs(20), || matches!(relay.status().state, RelayState::Stopped(_)));
    assert!(relay.status().state.reason().contains("was not written by a relay"), "{:?}", relay.status());
    relay.stop();
}

#[test]
fn topics_that_do_not_fit_are_told_and_waited_for() {
    let broker = Broker::shared();
    let settings = broker.settings();
    let journal = history(20);
    // Missing: the relay waits, and goes on once somebody has made them.
    let waits = relay(&settings, &journal);
    until("it waits", Duration::from_secs(20), || matches!(waits.status().state, RelayState::Waiting(_)));
    let reason = waits.status().state.reason().to_owned();
    assert!(reason.contains("book.1.journal is missing") && reason.contains("ledgerd kafka topics"), "{reason}");
    let plan = TopicPlan { partitions: 3, replication: None };
    let made = make_topics(&settings, BOOK, plan).unwrap();
    assert_eq!(made.len(), 1 + 2 * Topic::ALL.len());
    assert!(made.iter().all(|report| report.made));
    let again = make_topics(&settings, BOOK, TopicPlan { partitions: 5, replication: None }).unwrap();
    assert!(again.iter().all(|report| !report.made && report.partitions <= 3), "{again:?}");
    published(&waits, &journal);
    waits.stop();
    check(&broker, &settings, &journal);

    // Three partitions for the journal.
    let wrong = broker.settings();
    let topic = wrong.journal_topic(BOOK);
    create(&broker, &topic, 3, &[]);
    let refused = KafkaFault::Partitions { topic, found: 3 };
    assert_eq!(check_topics(&wrong, BOOK), Err(refused.clone()));
    assert_eq!(make_topics(&wrong, BOOK, plan), Err(refused));
    // Settings under which the relay's place would go.
    for (name, value) in [("cleanup.policy", "compact"), ("retention.ms", "60000")] {
        let wrong = broker.settings();
        create(&broker, &wrong.journal_topic(BOOK), 1, &[(name, value)]);
        let error = make_topics(&wrong, BOOK, plan).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}={value}")), "{error}");
    }
    let plan = TopicPlan { partitions: 0, replication: None };
    assert!(make_topics(&settings, BOOK, plan).unwrap_err().to_string().contains("1 to 1000 partitions"));
}

fn create(broker: &Broker, topic: &str, partitions: i32, config: &[(&'static str, &'static str)]) {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in config {
        new = new.set(name, value);
    }
    let options = AdminOptions::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.create_topics([&new], &options)).unwrap()[0].as_ref().unwrap();
}

#[test]
fn without_a_broker_the_relay_says_where_it_looked() {
    let settings = KafkaSettings::new("127.0.0.1:1").unwrap();
    let error = check_topics(&settings, BOOK).unwrap_err().to_string();
    assert!(error.contains("no broker answers at 127.0.0.1:1") && error.contains("refused"), "{error}");
}

/// The broker is killed several times while a relay publishes.
#[test]
fn a_broker_that_is_killed_again_and_again_gets_each_event_once() {
    let broker = Broker::start();
    let settings = broker.topics(3);
    let journal = history(4_000);
    let blocks = journal.blocks.len();
    journal.show(1);
    let relay = relay(&settings, &journal);
    for kill in 1..=4 {
        for shown in blocks * (kill - 1) / 4..=blocks * kill / 4 {
            journal.show(shown);
            std::thread::sleep(Duration::from_millis(if shown % 16 == 0 { 12 } else { 0 }));
        }
        broker.kill();
        std::thread::sleep(Duration::from_millis(300));
        broker.restart();
    }
    let status = published(&relay, &journal);
    println!("{status:?}");
    relay.stop();
    check(&broker, &settings, &journal);
}
