//! Dead letters: what a consumer could not handle, and everything of the same key behind it, in order.
//!
//! `dlq.<topic>` is a log, and the only place where this stands: parked events, and marks of what was asked for and of what came
//! of it. Nothing in it is edited; what is parked now follows from reading it. It has the partitions of its topic, and a record
//! the partition of the event, so whoever has the one partition reads the other.
//!
//! ```text
//! parked    the event as it was, with headers that say where it stood and why it is here
//! retry     somebody asks for the events of a key to be handled again, in order (actor, reason)
//! discard   somebody gives up one event of a key, or all that are parked (actor, reason)
//! handled   the consumer has handled a parked event after all
//! failed    the consumer has tried again, and in vain; the key stays parked
//! ```
//!
//! Each record names the consumer group: what one group can't handle, another can. A retry is done by the group's consumer, from
//! this log, and not by sending events to their topic again, where other groups would get them twice.

use std::collections::BTreeMap;
use std::time::Duration;

use event_schemas::Timestamp;
use rdkafka::Message as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::client::{ANSWERS_WITHIN, Reader, Told, make};
use super::consumer::Marks;
use super::error::KafkaFault;
use super::record::Received;
use super::settings::KafkaSettings;

/// The names of the headers that dead letters have beside those of the event.
pub mod header {
    /// What the record is: `parked`, `retry`, `discard`, `handled`, `failed`.
    pub const KIND: &str = "dlq-kind";
    /// The consumer group.
    pub const GROUP: &str = "dlq-group";
    /// The topic that the event stood in.
    pub const TOPIC: &str = "dlq-topic";
    /// Its partition there.
    pub const PARTITION: &str = "dlq-partition";
    /// Its offset there.
    pub const OFFSET: &str = "dlq-offset";
    /// The class of the error; `behind` if only an event before it failed.
    pub const ERROR_CLASS: &str = "dlq-error-class";
    /// The error, in words.
    pub const ERROR: &str = "dlq-error";
    /// How often it was tried.
    pub const ATTEMPTS: &str = "dlq-attempts";
    /// When it failed for the first time, RFC 3339.
    pub const FIRST_FAILURE: &str = "dlq-first-failure";
    /// Who asked.
    pub const ACTOR: &str = "dlq-actor";
    /// Why.
    pub const REASON: &str = "dlq-reason";
    /// When a mark was made, RFC 3339.
    pub const TIME: &str = "dlq-time";
}

/// The class of events that did nothing wrong.
pub const BEHIND: &str = "behind";

/// The most events that a partition has parked for a group before its consumer stops: somebody has to look then.
const PARKED_MAX_EVENTS: usize = 100_000;

/// The most events that are read from the dead letters at once.
pub const EVENTS_MAX: usize = 200;

/// The longest text of an error, an actor or a reason, in bytes.
const TEXT_MAX_BYTES: usize = 1_000;

/// Why an event could not be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short class that tells errors apart, such as `http_500`.
    pub class: String,
    /// The error in words.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed first.
    pub first: Timestamp,
}

/// A parked event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its offset in the dead-letter topic.
    pub offset: i64,
    /// The event's id.
    pub id: String,
    /// Why it is here; the newest failure.
    pub failure: Failure,
}

/// A key that is parked for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The group.
    pub group: String,
    /// The key.
    pub key: String,
    /// The partition, of the topic and of its dead letters.
    pub partition: i32,
    /// Its events, in order.
    pub letters: Vec<Letter>,
    /// Whether somebody has asked for a retry that has not been done yet.
    pub retry_asked: bool,
    /// The last event that was parked.
    marks: Marks,
}

/// What is parked, as it follows from the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters(BTreeMap<(String, String, i32), Parked>);

impl DeadLetters {
    /// Takes the next record of the log.
    pub(super) fn apply(&mut self, record: &Received) -> Result<(), KafkaFault> {
        let (Some(kind), Some(group)) = (record.header(header::KIND), record.header(header::GROUP)) else {
            // Somebody else's; it parks nothing.
            return Ok(());
        };
        let of = (group.to_owned(), record.key_text(), record.partition);
        let id = record.id();
        match (kind, id) {
            ("parked", Some(_)) => self.put(record, group, failure(record))?,
            ("retry", _) => {
                if let Some(parked) = self.0.get_mut(&of) {
                    parked.retry_asked = true;
                }
            }
            ("failed", Some(id)) => {
                if let Some(parked) = self.0.get_mut(&of) {
                    parked.retry_asked = false;
                    let letter = parked.letters.iter_mut().find(|letter| letter.id == id);
                    if let Some(letter) = letter {
                        letter.failure = failure(record);
                    }
                }
            }
            ("handled" | "discard", id) => {
                if let Some(parked) = self.0.get_mut(&of) {
                    parked.letters.retain(|letter| id.is_some_and(|id| letter.id != id));
                    if parked.letters.is_empty() {
                        self.0.remove(&of);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts an event behind those of its key; `record` is where it stands in the dead letters.
    pub(super) fn put(&mut self, record: &Received, group: &str, failure: Failure) -> Result<(), KafkaFault> {
        let (key, partition) = (record.key_text(), record.partition);
        let parked = self.0.entry((group.to_owned(), key.clone(), partition)).or_insert_with(|| Parked {
            group: group.to_owned(),
            key,
            partition,
            letters: Vec::new(),
            retry_asked: false,
            marks: Marks::default(),
        });
        // A consumer that was killed before it could say how far it was parks again what it has parked.
        if !parked.marks.had(record) {
            parked.marks.set(record);
            let id = record.id().unwrap_or_default().to_owned();
            parked.letters.push(Letter { offset: record.offset, id, failure });
        }
        if parked.letters.len() > PARKED_MAX_EVENTS {
            let what = format!("{PARKED_MAX_EVENTS} events of key {} are parked", parked.key);
            return Err(KafkaFault::Client(format!("{what}: look at them with `ledgerd dlq`")));
        }
        Ok(())
    }

    /// What is parked, by group, key and partition.
    pub fn parked(&self) -> impl Iterator<Item = &Parked> {
        self.0.values()
    }

    /// What is parked of a key in a partition.
    pub fn of(&self, group: &str, key: &str, partition: i32) -> Option<&Parked> {
        self.0.get(&(group.to_owned(), key.to_owned(), partition))
    }

    pub(super) fn forget(&mut self, partition: i32) {
        self.0.retain(|(_, _, of), _| *of != partition);
    }
}

fn failure(record: &Received) -> Failure {
    let text = |name| record.header(name).unwrap_or_default().to_owned();
    Failure {
        class: text(header::ERROR_CLASS),
        error: text(header::ERROR),
        attempts: text(header::ATTEMPTS).parse().unwrap_or(0),
        first: text(header::FIRST_FAILURE).parse().unwrap_or_default(),
    }
}

/// The time now.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_MAX_BYTES)).unwrap_or(text)
}

/// Reads and writes the dead-letter topic of a topic.
pub struct Desk {
    reader: Reader,
    producer: BaseProducer<Told>,
    told: Told,
    brokers: String,
    topic: String,
    partitions: usize,
}

impl Desk {
    /// Opens the dead letters of a topic (named with its prefix); each must have as many partitions as the other.
    pub fn open(settings: &KafkaSettings, of: &str) -> Result<Self, KafkaFault> {
        let reader = Reader::new(settings)?;
        let topic = settings.dead_letters(of);
        let there = |topic: &str| {
            let missing = || KafkaFault::MissingTopic { topic: topic.to_owned() };
            reader.partitions(topic)?.ok_or_else(missing)
        };
        let (wanted, found) = (there(of)?, there(&topic)?);
        if found != wanted {
            return Err(KafkaFault::Alike { topic, found, of: of.to_owned(), wanted });
        }
        let mut config = settings.client();
        config.set("enable.idempotence", "true").set("message.timeout.ms", "10000").set("linger.ms", "0");
        let (producer, told) = make(&config)?;
        let brokers = settings.brokers().to_owned();
        Ok(Self { reader, producer, told, brokers, topic, partitions: found })
    }

    /// The dead-letter topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Reads all of it, for all groups.
    pub fn read(&self) -> Result<DeadLetters, KafkaFault> {
        let mut letters = DeadLetters::default();
        for partition in 0..i32::try_from(self.partitions).unwrap_or(i32::MAX) {
            self.read_on(partition, 0, &mut letters)?;
        }
        Ok(letters)
    }

    /// Reads what came to a partition since an offset, and gives the offset behind it.
    pub(super) fn read_on(&self, partition: i32, from: i64, letters: &mut DeadLetters) -> Result<i64, KafkaFault> {
        let (first, end) = self.reader.bounds(&self.topic, partition)?;
        let from = from.max(first);
        self.reader.visit(&self.topic, partition, (from, end), |record| letters.apply(&Received::of(record)))?;
        Ok(end.max(from))
    }

    /// The events of some letters of a partition, at most [`EVENTS_MAX`] of the first, as they stood in their topic.
    pub fn events(&self, partition: i32, letters: &[Letter]) -> Result<Vec<Received>, KafkaFault> {
        let letters = letters.get(..EVENTS_MAX.min(letters.len())).unwrap_or_default();
        let (Some(first), Some(last)) = (letters.first(), letters.last()) else { return Ok(Vec::new()) };
        let mut events = Vec::with_capacity(letters.len());
        let mut wanted = letters.iter().map(|letter| letter.offset).peekable();
        self.reader.visit(&self.topic, partition, (first.offset, last.offset + 1), |record| {
            if wanted.next_if_eq(&record.offset()).is_some() {
                events.push(as_it_stood(Received::of(record)));
            }
            Ok(())
        })?;
        match wanted.next() {
            None => Ok(events),
            Some(offset) => Err(KafkaFault::Client(format!("the record at offset {offset} of {} is gone", self.topic))),
        }
    }

    /// Asks for the events of a key to be handled again.
    pub fn ask_retry(&self, parked: &Parked, actor: &str, reason: &str) -> Result<(), KafkaFault> {
        self.mark(parked, "retry", None, &[(header::ACTOR, actor), (header::REASON, reason)])
    }

    /// Gives up one event of a key, or all that are parked.
    pub fn discard(&self, parked: &Parked, id: Option<&str>, actor: &str, reason: &str) -> Result<(), KafkaFault> {
        self.mark(parked, "discard", id, &[(header::ACTOR, actor), (header::REASON, reason)])
    }

    pub(super) fn handled(&self, parked: &Parked, id: &str) -> Result<(), KafkaFault> {
        self.mark(parked, "handled", Some(id), &[])
    }

    pub(super) fn failed(&self, parked: &Parked, id: &str, failure: &Failure) -> Result<(), KafkaFault> {
        let (attempts, first) = (failure.attempts.to_string(), failure.first.to_string());
        let why = [
            (header::ERROR_CLASS, failure.class.as_str()),
            (header::ERROR, &failure.error),
            (header::ATTEMPTS, &attempts),
            (header::FIRST_FAILURE, &first),
        ];
        self.mark(parked, "failed", Some(id), &why)
    }

    fn mark(&self, of: &Parked, kind: &str, id: Option<&str>, more: &[(&str, &str)]) -> Result<(), KafkaFault> {
        let time = now().to_string();
        let fixed = [(header::KIND, kind), (header::GROUP, of.group.as_str()), (header::TIME, &time)];
        let id = id.map(|id| (super::cloud_event::header::ID, id));
        let headers = fixed.iter().chain(&id).chain(more).fold(OwnedHeaders::new(), with);
        self.send(
            BaseRecord::to(&self.topic)
                .partition(of.partition)
                .key(of.key.as_bytes())
                .payload(&[][..])
                .headers(headers),
        )
    }

    /// Parks an event, and gives its offset in the dead letters.
    pub(super) fn park(&self, event: &Received, group: &str, failure: &Failure) -> Result<i64, KafkaFault> {
        let (partition, offset) = (event.partition.to_string(), event.offset.to_string());
        let (attempts, first) = (failure.attempts.to_string(), failure.first.to_string());
        let headers = [
            (header::KIND, "parked"),
            (header::GROUP, group),
            (header::TOPIC, &event.topic),
            (header::PARTITION, &partition),
            (header::OFFSET, &offset),
            (header::ERROR_CLASS, &failure.class),
            (header::ERROR, &failure.error),
            (header::ATTEMPTS, &attempts),
            (header::FIRST_FAILURE, &first),
        ]
        .iter()
        .fold(event.owned_headers(), with);
        let record = BaseRecord::to(&self.topic).partition(event.partition).key(&event.key[..]);
        self.send(record.payload(&event.value[..]).headers(headers))?;
        self.told.delivered().ok_or(KafkaFault::Late(ANSWERS_WITHIN))
    }

    /// Sends, and waits until the brokers have it.
    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), KafkaFault> {
        self.told.forget();
        self.producer.send(record).map_err(|(error, _)| KafkaFault::from(error))?;
        self.producer.flush(ANSWERS_WITHIN + Duration::from_secs(5))?;
        match self.told.undelivered() {
            None => Ok(()),
            Some(reason) => Err(KafkaFault::Unreachable { brokers: self.brokers.clone(), reason }),
        }
    }
}

/// A parked event as it stood in its topic.
fn as_it_stood(mut event: Received) -> Received {
    let number = |name| event.header(name).and_then(|text| text.parse::<i64>().ok());
    let offset = number(header::OFFSET).unwrap_or(-1);
    let partition = number(header::PARTITION).and_then(|number| i32::try_from(number).ok());
    event.topic = event.header(header::TOPIC).unwrap_or_default().to_owned();
    (event.offset, event.partition) = (offset, partition.unwrap_or(event.partition));
    event.headers.retain(|(name, _)| !name.starts_with("dlq-"));
    event
}

fn with(headers: OwnedHeaders, (key, value): &(&str, &str)) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(cut(value)) })
}
