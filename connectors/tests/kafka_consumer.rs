//! Consumers with effects: members that come, go and crash, duplicates, and events that can't be handled. One effect each, in the
//! order of the key; what can't be handled parks its key, and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use connectors::kafka::dead_letters::{BEHIND, Desk, header};
use connectors::kafka::{
    Consumer, ConsumerOptions, ConsumerStatus, Handler, HandlerFault, KafkaFault, KafkaSettings, Received, TopicPlan,
    make_topics,
};
use event_schemas::topics::{Topic, outlets};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use support::{BOOK, Broker, Journal, committed, history, published, relay, until};

const TOPIC: Topic = Topic::BalanceUpdated;

/// What the effects are had in: a store that knows ids, as a sink must.
#[derive(Default)]
struct Store {
    /// Effects by key, in the order in which they came.
    effects: BTreeMap<String, Vec<String>>,
    ids: HashSet<String>,
    /// How often an event came that had had its effect.
    again: usize,
    /// Events that are refused.
    poison: HashSet<String>,
    /// How often a poison was tried.
    tried: usize,
    /// Panic at the next event, as a crash between an effect and its commit.
    crash: bool,
}

type Shared = Arc<Mutex<Store>>;

fn lock(store: &Shared) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sink(Shared);

impl Handler for Sink {
    fn handle(&mut self, event: &Received) -> Result<(), HandlerFault> {
        let mut store = lock(&self.0);
        let id = event.id().unwrap().to_owned();
        if store.poison.contains(&id) {
            store.tried += 1;
            return Err(HandlerFault { class: "http_422".into(), error: format!("{id} is refused") });
        }
        if store.ids.insert(id.clone()) {
            store.effects.entry(event.key_text()).or_default().push(id);
        } else {
            store.again += 1;
        }
        assert!(!std::mem::take(&mut store.crash), "told to crash");
        Ok(())
    }
}

/// A member at work.
struct Working {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), KafkaFault>>,
    watch: Box<dyn Fn() -> ConsumerStatus>,
}

fn member(settings: &KafkaSettings, group: &str, store: &Shared) -> Working {
    let mut options = ConsumerOptions::new(group, &settings.topic(TOPIC));
    options.attempts = 3;
    options.first_wait = Duration::from_millis(10);
    options.session = Duration::from_secs(6);
    let consumer = Consumer::new(settings.clone(), options).unwrap();
    let (stop, watch) = (Arc::new(AtomicBool::new(false)), Box::new(consumer.watch()));
    let thread = {
        let (stop, mut sink) = (Arc::clone(&stop), Sink(Arc::clone(store)));
        std::thread::spawn(move || consumer.run(&mut sink, &stop))
    };
    Working { stop, thread, watch }
}

impl Working {
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().unwrap();
    }
}

/// For each key the ids of its events, in order.
fn expected(journal: &Journal) -> BTreeMap<String, Vec<String>> {
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in journal.events() {
        for outlet in outlets(&event).into_iter().filter(|outlet| outlet.topic == TOPIC) {
            let key = outlet.key.to_string();
            of.entry(key.clone()).or_default().push(format!("1/{}/{key}", event.sequence));
        }
    }
    of
}

fn count(of: &BTreeMap<String, Vec<String>>) -> usize {
    of.values().map(Vec::len).sum()
}

/// Sends records of the topic once more, as they are.
fn again(broker: &Broker, settings: &KafkaSettings, take: usize) -> usize {
    let topic = settings.topic(TOPIC);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    let records: Vec<_> = committed(broker, &topic, take).into_iter().take(take).collect();
    for record in &records {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let to = BaseRecord::to(&topic).partition(record.partition).key(&record.key);
        producer.send(to.payload(&record.value).headers(headers)).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    records.len()
}

#[test]
fn members_come_go_and_crash_and_each_event_has_one_effect() {
    let broker = Broker::shared();
    let settings = broker.topics(4);
    let journal = history(1_500);
    let blocks = journal.blocks.len();
    journal.show(1);
    let relay = relay(&settings, &journal);
    let store = Shared::default();
    let first = member(&settings, "mail", &store);
    let grow = |from: usize, to: usize| {
        for shown in blocks * from / 8..=blocks * to / 8 {
            journal.show(shown);
            std::thread::sleep(Duration::from_millis(15));
        }
    };
    grow(0, 2);
    // A second member takes a part of the partitions over.
    let second = member(&settings, "mail", &store);
    until("the partitions are shared", Duration::from_secs(20), || {
        ((first.watch)().partitions, (second.watch)().partitions) == (2, 2)
    });
    grow(2, 4);
    published(&relay, &journal);
    assert_eq!(again(&broker, &settings, 100), 100);
    first.end();
    grow(4, 5);
    // One that has an effect and can't say so any more.
    lock(&store).crash = true;
    grow(5, 6);
    until("the second has crashed", Duration::from_secs(20), || second.thread.is_finished());
    assert!(second.thread.join().is_err());
    let third = member(&settings, "mail", &store);
    grow(6, 8);
    published(&relay, &journal);
    let expected = expected(&journal);
    until("all have had their effect", Duration::from_secs(40), || lock(&store).ids.len() >= count(&expected));
    // Copies of what was handled reach no handler.
    let before = lock(&store).again;
    assert!(before >= 1, "the crash lost the event");
    let copies = again(&broker, &settings, 200);
    until("the copies are passed over", Duration::from_secs(20), || (third.watch)().duplicates_total >= copies as u64);
    third.end();
    relay.stop();
    let store = lock(&store);
    assert_eq!(store.effects, expected);
    assert_eq!(store.again, before);
}

#[test]
fn a_poison_parks_its_key_until_it_is_retried_or_given_up() {
    let broker = Broker::shared();
    let settings = broker.topics(3);
    let journal = history(400);
    journal.show_to(journal.head().0 * 2 / 3);
    let relay = relay(&settings, &journal);
    published(&relay, &journal);
    let half = expected(&journal);
    // Two keys, each with a poison in its middle.
    let keys: Vec<_> = half.iter().filter(|(_, ids)| ids.len() > 6).map(|(key, _)| key.clone()).take(2).collect();
    assert_eq!(keys.len(), 2);
    let store = Shared::default();
    let poison = |key: &String| half[key][3].clone();
    lock(&store).poison = keys.iter().map(poison).collect();
    let ledger = member(&settings, "mail", &store);
    let parked_of = |half: &BTreeMap<String, Vec<String>>| keys.iter().map(|key| half[key].len() - 3).sum::<usize>();
    until("all others have had their effect", Duration::from_secs(30), || {
        lock(&store).ids.len() == count(&half) - parked_of(&half)
            && (ledger.watch)().parked_total == parked_of(&half) as u64
    });
    let status = (ledger.watch)();
    assert_eq!((status.parked_keys, status.failures_total), (2, 6), "{status:?}");
    assert_eq!(lock(&store).tried, 6);

    // The letters say what happened, and are the events as they were.
    let desk = Desk::open(&settings, &settings.topic(TOPIC)).unwrap();
    let letters = desk.read().unwrap();
    assert_eq!(letters.parked().count(), 2);
    for parked in letters.parked() {
        let ids: Vec<_> = parked.letters.iter().map(|letter| letter.id.clone()).collect();
        assert_eq!((parked.group.as_str(), ids), ("mail", half[&parked.key][3..].to_vec()));
        let [poison, behind, ..] = &parked.letters[..] else { panic!("{parked:?}") };
        assert_eq!((poison.failure.class.as_str(), poison.failure.attempts), ("http_422", 3));
        assert!(poison.failure.error.contains("is refused") && poison.failure.first.0 > 0);
        assert_eq!((behind.failure.class.as_str(), behind.failure.attempts), (BEHIND, 0));
        let event = desk.events(parked.partition, &parked.letters).unwrap().remove(0);
        let stood: Vec<_> = committed(&broker, &settings.topic(TOPIC), 0)
            .into_iter()
            .filter(|record| record.id() == poison.id)
            .collect();
        assert_eq!(
            (event.offset, event.partition, &event.value),
            (stood[0].offset, stood[0].partition, &stood[0].value)
        );
        assert_eq!((event.topic, event.headers.len()), (settings.topic(TOPIC), stood[0].headers.len()));
    }
    let dead = committed(&broker, desk.topic(), parked_of(&half));
    for name in [header::TOPIC, header::PARTITION, header::OFFSET, header::ERROR_CLASS, header::ATTEMPTS] {
        assert!(dead.iter().all(|record| record.headers.contains_key(name)), "{name}");
    }
    assert!(dead.iter().all(|record| record.headers[header::FIRST_FAILURE].ends_with('Z')));

    // A restart changes nothing, and what comes later of these keys goes behind.
    ledger.end();
    let ledger = member(&settings, "mail", &store);
    journal.show(journal.blocks.len());
    published(&relay, &journal);
    let whole = expected(&journal);
    until("all others have had their effect", Duration::from_secs(30), || {
        lock(&store).ids.len() == count(&whole) - parked_of(&whole)
    });
    until("the rest is parked", Duration::from_secs(30), || {
        desk.read().unwrap().parked().map(|parked| parked.letters.len()).sum::<usize>() == parked_of(&whole)
    });
    assert_eq!(lock(&store).tried, 6, "what is parked was tried again");

    // Retried in vain: it stays, with more attempts.
    let letters = desk.read().unwrap();
    let of = |key: &String| letters.parked().find(|parked| parked.key == *key).unwrap().clone();
    desk.ask_retry(&of(&keys[0]), "anna", "the provider is back").unwrap();
    until("it was tried in vain", Duration::from_secs(20), || lock(&store).tried == 9);
    until("it is told", Duration::from_secs(20), || {
        let letters = desk.read().unwrap();
        let parked = letters.parked().find(|parked| parked.key == keys[0]).unwrap();
        !parked.retry_asked && parked.letters[0].failure.attempts == 6
    });
    // Mended and retried: all of the key, in order.
    lock(&store).poison.remove(&poison(&keys[0]));
    desk.ask_retry(&of(&keys[0]), "anna", "mended").unwrap();
    until("one key is free", Duration::from_secs(20), || (ledger.watch)().parked_keys == 1);
    assert_eq!(lock(&store).effects[&keys[0]], whole[&keys[0]]);
    // The other poison is given up, and the events behind it are handled.
    desk.discard(&of(&keys[1]), Some(&poison(&keys[1])), "anna", "a test payment").unwrap();
    desk.ask_retry(&of(&keys[1]), "anna", "behind the one given up").unwrap();
    until("no key is parked", Duration::from_secs(20), || (ledger.watch)().parked_keys == 0);
    ledger.end();
    let mut without = whole.clone();
    without.get_mut(&keys[1]).unwrap().remove(3);
    assert_eq!(lock(&store).effects, without);
    assert_eq!(lock(&store).again, 0);
    assert_eq!(desk.read().unwrap().parked().count(), 0);
    // What was given up is on record.
    let dead = committed(&broker, desk.topic(), 0);
    let given_up: Vec<_> = dead.iter().filter(|record| record.headers[header::KIND] == "discard").collect();
    assert_eq!(given_up.len(), 1);
    assert_eq!((given_up[0].id(), &given_up[0].key), (poison(&keys[1]).as_str(), &keys[1]));
    assert_eq!(given_up[0].headers[header::ACTOR], "anna");
    assert_eq!(given_up[0].headers[header::REASON], "a test payment");

    // Another group of the same topic has its own effects, and nothing of it was sent again.
    let other = Shared::default();
    let audit = member(&settings, "audit", &other);
    until("the other group has all", Duration::from_secs(30), || lock(&other).ids.len() == count(&whole));
    assert_eq!((audit.watch)().duplicates_total, 0);
    audit.end();
    assert_eq!(lock(&other).effects, whole);
    relay.stop();
}

#[test]
fn what_does_not_fit_is_told() {
    let broker = Broker::shared();
    let settings = broker.settings();
    let topic = settings.topic(TOPIC);
    let missing = Desk::open(&settings, &topic).err();
    assert_eq!(missing, Some(KafkaFault::MissingTopic { topic: topic.clone() }));
    make_topics(&settings, BOOK, TopicPlan { partitions: 2, replication: None }).unwrap();
    assert!(Desk::open(&settings, &topic).is_ok());
    for (group, attempts) in [("", 1), ("a\nb", 1), ("mail", 0), ("mail", 21)] {
        let mut options = ConsumerOptions::new(group, &topic);
        options.attempts = attempts;
        let refused = Consumer::new(settings.clone(), options).err();
        assert!(matches!(refused, Some(KafkaFault::Settings(_))), "{group:?} {attempts}: {refused:?}");
    }
    // A topic that has grown: its dead letters have no place for what comes from the new partitions.
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (more, options) = (NewPartitions::new(&topic, 5), AdminOptions::new());
    runtime.block_on(admin.create_partitions([&more], &options)).unwrap()[0].as_ref().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let alike = loop {
        match Desk::open(&settings, &topic).err() {
            None => assert!(Instant::now() < end, "it is not told"),
            Some(fault) => break fault,
        }
    };
    assert!(alike.to_string().contains("has 2 partitions, and") && alike.to_string().contains("has 5"), "{alike}");
    let reports = make_topics(&settings, BOOK, TopicPlan::default()).unwrap();
    let names: BTreeSet<_> = reports.iter().filter(|one| one.partitions == 5).map(|one| one.topic.as_str()).collect();
    assert_eq!(names, [topic.as_str(), &settings.dead_letters(&topic)].into());
    until("they are alike", Duration::from_secs(10), || Desk::open(&settings, &topic).is_ok());
}
