//! A real broker for tests, a book with a bit of everything in it, and a look at what topics hold.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use connectors::kafka::{KafkaSettings, Relay, RelayParts, RelayStatus, TopicPlan, make_topics};
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, CaptureHold, CashMove, OpenAccount, PlaceHold, PostTransfer, ReverseEntry,
    VoidHold,
};
use event_schemas::{
    AccountId, Block, BookId, Command, CommandBody, CommandId, Currency, Money, PrincipalId, RecordedEvent, Sequence,
};
use projections::ports::{EventFeed, FeedFault};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use stores::book::Book;
use stores::embedded::{EmbeddedOptions, reader};

pub const BOOK: BookId = BookId::FIRST;

/// Waits until something is so, and panics with a word if it never is.
pub fn until(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < end, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A broker, killed when dropped.
pub struct Broker {
    folder: tempfile::TempDir,
    port: u16,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka.sh").canonicalize().unwrap()
}

/// Two ports beside each other that were free a moment ago.
fn free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

impl Broker {
    pub fn start() -> Self {
        let broker = Self { folder: tempfile::tempdir().unwrap(), port: free_ports() };
        broker.restart();
        broker
    }

    /// The broker that the tests of a file share: it ends with the last of them that has it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let broker = Arc::new(Self::start());
            *shared = Arc::downgrade(&broker);
            broker
        })
    }

    fn act(&self, act: &str) {
        let mut command = Process::new(script());
        command.arg(act).arg(self.folder.path().join("kafka"));
        if act == "start" {
            command.arg(self.port.to_string());
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "kafka.sh {act}: {}", String::from_utf8_lossy(&done.stderr));
    }

    pub fn restart(&self) {
        self.act("start");
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        self.act("kill");
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Topics that no other test has, not made yet.
    pub fn settings(&self) -> KafkaSettings {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("t{}.", COUNT.fetch_add(1, Ordering::Relaxed));
        KafkaSettings::new(&self.address()).unwrap().with_prefix(&prefix).unwrap()
    }

    /// The same, made.
    pub fn topics(&self, partitions: usize) -> KafkaSettings {
        let settings = self.settings();
        make_topics(&settings, BOOK, TopicPlan { partitions, replication: Some(1) }).unwrap();
        settings
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Process::new(script()).arg("kill").arg(self.folder.path().join("kafka")).status();
    }
}

/// A journal in memory that gives out only so much of itself.
#[derive(Clone)]
pub struct Journal {
    pub blocks: Arc<Vec<Block>>,
    shown: Arc<AtomicUsize>,
}

impl Journal {
    pub fn new(blocks: Vec<Block>) -> Self {
        let shown = blocks.len();
        Self { blocks: Arc::new(blocks), shown: Arc::new(AtomicUsize::new(shown)) }
    }

    /// How many of its blocks are durable so far.
    pub fn show(&self, blocks: usize) {
        self.shown.store(blocks.min(self.blocks.len()), Ordering::Release);
    }

    /// Makes durable the blocks of which all is at or below an event.
    pub fn show_to(&self, sequence: u64) {
        self.show(self.blocks.partition_point(|block| block.header().last_sequence() <= Sequence(sequence)));
    }

    fn durable(&self) -> &[Block] {
        &self.blocks[..self.shown.load(Ordering::Acquire)]
    }

    pub fn head(&self) -> Sequence {
        self.durable().last().map_or(Sequence::ZERO, |block| block.header().last_sequence())
    }

    pub fn events(&self) -> Vec<RecordedEvent> {
        let of = |block: &Block| -> Vec<_> {
            block.events().map(Result::unwrap).map(|(at, event)| block.recorded(at, event)).collect()
        };
        self.durable().iter().flat_map(of).collect()
    }
}

impl EventFeed for Journal {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        let until = Instant::now() + wait;
        loop {
            let blocks = self.durable();
            let at = blocks.partition_point(|block| block.header().last_sequence() <= after);
            if let Some(block) = blocks.get(at) {
                return Ok(Some(block.clone()));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Starts a relay of a journal.
pub fn relay(settings: &KafkaSettings, journal: &Journal) -> Relay {
    let head = journal.clone();
    Relay::start(RelayParts {
        settings: settings.clone(),
        book: BOOK,
        feed: Box::new(journal.clone()),
        head: Box::new(move || head.head()),
    })
    .unwrap()
}

/// Waits until all that is durable is published.
pub fn published(relay: &Relay, journal: &Journal) -> RelayStatus {
    let watch = relay.watch();
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let status = watch();
        if status.position >= journal.head() {
            return status;
        }
        assert!(Instant::now() < end, "the relay does not get there: {status:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn money(minor: i128) -> Money {
    Money::new(minor, eur())
}

pub fn account(number: u64) -> AccountId {
    AccountId((u128::from(number) << 64) | (4 << 76) | 0x77)
}

const ACCOUNTS: u64 = 12;

fn opening(number: u64) -> CommandBody {
    CommandBody::OpenAccount(OpenAccount {
        account: account(number),
        code: Box::default(),
        kind: AccountKind::Liability,
        currency: eur(),
        owner: format!("customer:{number}").into(),
        policy: BalancePolicy::NO_OVERDRAFT,
    })
}

/// Something of everything, as the number says; what it is about follows from it, too.
fn command(number: u64) -> CommandBody {
    let (from, to) = (account(number / 10 % ACCOUNTS), account((number / 10 + number % 10) % ACCOUNTS));
    let earlier = |back: u64| CommandId(u128::from(number.saturating_sub(back)) | (1 << 100));
    let reference = format!("n° {number} \"quoted\"").into_boxed_str();
    match number % 10 {
        0 => CommandBody::TopUp(CashMove {
            account: from,
            amount: money(5_000),
            fee_minor: Some(7),
            effective_on: None,
            reference,
        }),
        1 => CommandBody::PlaceHold(PlaceHold { account: from, amount: money(300), expires_at: None, reference }),
        3 => CommandBody::CaptureHold(CaptureHold {
            hold: earlier(2),
            to,
            amount: money(200),
            fee_minor: Some(0),
            last: number % 20 == 3,
            effective_on: None,
            reference,
        }),
        5 => CommandBody::VoidHold(VoidHold { hold: earlier(4), reason: reference }),
        7 => {
            CommandBody::ReverseEntry(ReverseEntry { entry: earlier(7), postings: None, effective_on: None, reference })
        }
        8 if number.is_multiple_of(3) => {
            CommandBody::FreezeAccount(AccountAct { account: account(number + 1_000), reason: reference })
        }
        _ => CommandBody::PostTransfer(PostTransfer {
            from,
            to,
            // Some ask for more than there is.
            amount: money(if number.is_multiple_of(11) { 10_000_000 } else { 100 + i128::from(number % 90) }),
            fee_minor: Some(3),
            effective_on: None,
            reference,
        }),
    }
}

/// The journal of a real book: opened accounts, top-ups, transfers, holds with all their ends, reversals and refusals, in
/// blocks of one event and of hundreds.
pub fn history(commands: u64) -> Journal {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("book");
    let book = Book::open(&data, &EmbeddedOptions::default()).unwrap();
    let bodies = (0..ACCOUNTS).map(opening).chain((0..commands).map(command));
    let id = |at: usize| (at as u64).checked_sub(ACCOUNTS).map_or(at as u128 + 1, |n| u128::from(n) | (1 << 100));
    let mut left: Vec<_> =
        bodies.enumerate().map(|(at, body)| Command { id: CommandId(id(at)), actor: PrincipalId(7), body }).collect();
    let mut size = 1;
    while !left.is_empty() {
        let rest = left.split_off(left.len().min(size));
        book.submit(std::mem::replace(&mut left, rest)).unwrap();
        size = if size > 150 { 1 } else { size * 2 + 1 };
    }
    drop(book);
    let mut segments = reader(&data).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    loop {
        let after = blocks.last().map_or(Sequence::ZERO, |block| block.header().last_sequence());
        match EventFeed::next_block(&mut segments, after, Duration::ZERO).unwrap() {
            Some(block) => blocks.push(block),
            None => return Journal::new(blocks),
        }
    }
}

/// A record as it stands in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub value: Vec<u8>,
}

impl Stored {
    pub fn id(&self) -> &str {
        &self.headers["ce_id"]
    }

    /// The event's sequence, from its id.
    pub fn sequence(&self) -> u64 {
        self.id().split('/').nth(1).unwrap().parse().unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.value).unwrap()
    }
}

/// All records of a topic, partition by partition.
pub fn read(broker: &str, topic: &str, isolation: &str) -> Vec<Stored> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "test-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let wait = Duration::from_secs(20);
    let metadata = consumer.fetch_metadata(Some(topic), wait).unwrap();
    let mut records = Vec::new();
    for partition in 0..i32::try_from(metadata.topics()[0].partitions().len()).unwrap() {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        loop {
            match consumer.poll(wait).expect("an end of the partition") {
                Ok(record) => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let headers = record.headers().map_or_else(BTreeMap::new, |headers| {
                        headers.iter().map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect()
                    });
                    records.push(Stored {
                        partition,
                        offset: record.offset(),
                        key: record.key().map(text).unwrap_or_default(),
                        headers,
                        value: record.payload().unwrap_or_default().to_vec(),
                    });
                }
                Err(KafkaError::PartitionEOF(_)) => break,
                Err(KafkaError::MessageConsumption(_)) => {}
                Err(error) => panic!("{topic}: {error}"),
            }
        }
    }
    records
}

/// The committed records of a topic, once there are so many: brokers mark what a relay has committed a little later.
pub fn committed(broker: &Broker, topic: &str, count: usize) -> Vec<Stored> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let records = read(&broker.address(), topic, "read_committed");
        if records.len() >= count || Instant::now() > end {
            return records;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
