//! Clients of a cluster: one that sends a record and waits for its answer, one that reads a topic from any offset. librdkafka
//! has threads of its own; whoever uses these stays synchronous.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::record::{Outgoing, Record};
use super::{KafkaFault, KafkaUrl};

/// The one partition of each topic here.
const PARTITION: i32 = 0;

/// How long a broker may let a reader wait that has reached the end. Until then the same connection carries nothing else: whoever
/// listens there for new records waits for them longer than whoever looks up records here and there.
const LISTENING: Duration = Duration::from_millis(50);
const LOOKING_UP: Duration = Duration::from_millis(5);

/// The longest that is waited in one go, so that a client notices when its broker is gone.
const POLL: Duration = Duration::from_millis(100);

/// Something that did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The cluster said no.
    Refused(String),
    /// There is no such topic.
    NoTopic,
    /// There is no record of this offset: the topic begins behind it, or ends before it.
    NoOffset,
    /// The cluster could not be reached, or took too long: whether what was asked has had an effect is not known.
    Lost(String),
}

impl Trouble {
    /// The same as a fault of this cluster.
    pub(super) fn fault(self, url: &KafkaUrl, topic: &str) -> KafkaFault {
        let (server, topic) = (url.to_string(), topic.to_owned());
        match self {
            Self::Refused(reason) => KafkaFault::Refused { server, reason },
            Self::NoTopic => KafkaFault::TopicMissing { server, topic },
            Self::NoOffset => KafkaFault::Damaged(format!(
                "the topic {topic} has lost records: it ends earlier or begins later than it did"
            )),
            Self::Lost(reason) => KafkaFault::Unreachable { server, reason },
        }
    }
}

/// What librdkafka tells beside its answers.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// The newest error, and whether it means that the cluster does not let this client in.
    last: Mutex<Option<(String, bool)>>,
}

impl Context {
    /// What an error means, together with what was told before it.
    pub(super) fn trouble(&self, error: &KafkaError) -> Trouble {
        let code = error.rdkafka_error_code();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = match &last {
            Some((last, _)) => format!("{} ({last})", told(error)),
            None => told(error),
        };
        match code {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Trouble::NoTopic,
            Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => Trouble::NoOffset,
            Some(code) if is_refusal(code) => Trouble::Refused(reason),
            _ if last.is_some_and(|(_, refused)| refused) => Trouble::Refused(reason),
            _ => Trouble::Lost(reason),
        }
    }

    /// Trouble without an error: no answer in time.
    fn late(&self, within: Duration) -> Trouble {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let late = format!("no answer within {} ms", within.as_millis());
        match last {
            Some((last, true)) => Trouble::Refused(last),
            Some((last, false)) => Trouble::Lost(format!("{late} ({last})")),
            None => Trouble::Lost(late),
        }
    }
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::SecurityDisabled
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidReplicationFactor
            | RDKafkaErrorCode::InvalidConfig
            | RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::UnsupportedVersion
    )
}

/// An error in the words of librdkafka, without the names of its functions.
fn told(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // It tells each broken connection several times, and what matters of it comes as an error.
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let refused = error.rdkafka_error_code().is_some_and(is_refusal);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers are down" says less than what was said of them.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) || last.is_none() {
            *last = Some((reason.to_owned(), refused));
        }
    }
}

impl ConsumerContext for Context {}

type Delivered = Result<i64, KafkaError>;

impl ProducerContext for Context {
    type DeliveryOpaque = Box<SyncSender<Delivered>>;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Self::DeliveryOpaque) {
        // Nobody may be waiting any more.
        let _ = answer.try_send(match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        });
    }
}

/// Sends records to a topic, one at a time.
pub(super) struct Sender {
    producer: ThreadedProducer<Context>,
    topic: String,
    within: Duration,
}

impl Sender {
    /// A sender whose records are delivered within a time, each once, or not at all, as far as it can tell.
    pub(super) fn new(url: &KafkaUrl, topic: &str, within: Duration) -> Result<Self, KafkaFault> {
        Self::with(url, topic, within, true)
    }

    /// A sender of records that may stand there twice.
    pub(super) fn of_signs(url: &KafkaUrl, topic: &str, within: Duration) -> Result<Self, KafkaFault> {
        Self::with(url, topic, within, false)
    }

    fn with(url: &KafkaUrl, topic: &str, within: Duration, idempotent: bool) -> Result<Self, KafkaFault> {
        let mut config = url.client();
        config
            // A record that is sent again by itself must not stand there twice. (It takes half a second to begin with.)
            .set("enable.idempotence", if idempotent { "true" } else { "false" })
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("compression.type", "none")
            .set("message.timeout.ms", within.as_millis().to_string())
            .set("request.timeout.ms", within.as_millis().min(5_000).to_string())
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "500")
            .set("topic.metadata.refresh.fast.interval.ms", "100");
        let producer = config.create_with_context(Context::default()).map_err(|error| KafkaFault::client(&error))?;
        Ok(Self { producer, topic: topic.to_owned(), within })
    }

    /// Sends a record and waits until every replica in sync has it. Gives its offset. After an error it may have arrived, or
    /// still arrive, unless it was refused.
    pub(super) fn send(&self, key: &str, outgoing: &Outgoing) -> Result<i64, Trouble> {
        use rdkafka::producer::Producer as _;
        let (answer, answered) = sync_channel(1);
        let mut headers = OwnedHeaders::new_with_capacity(outgoing.headers.len());
        for (name, value) in &outgoing.headers {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(answer))
            .partition(PARTITION)
            .key(key)
            .payload(&outgoing.value)
            .headers(headers);
        let context = self.producer.context();
        self.producer.send(record).map_err(|(error, _)| context.trouble(&error))?;
        // It ends by itself; a little more, lest a clock that runs differently takes an answer for none.
        match answered.recv_timeout(self.within + Duration::from_secs(5)) {
            Ok(delivered) => delivered.map_err(|error| context.trouble(&error)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(context.late(self.within)),
        }
    }
}

/// Reads a topic's records from any offset on.
pub(super) struct Tail {
    url: KafkaUrl,
    topic: String,
    /// Made when it is first needed.
    consumer: Option<BaseConsumer<Context>>,
    /// The offset that comes next, if nothing else is asked for.
    next: Option<i64>,
    /// How long the broker may keep a request at the end.
    wait: Duration,
}

impl Tail {
    /// For whoever reads on and waits for new records.
    pub(super) fn listening(url: &KafkaUrl, topic: &str) -> Self {
        Self { url: url.clone(), topic: topic.to_owned(), consumer: None, next: None, wait: LISTENING }
    }

    /// For whoever looks up records, and [rests](Self::rest) in between.
    pub(super) fn looking_up(url: &KafkaUrl, topic: &str) -> Self {
        Self { wait: LOOKING_UP, ..Self::listening(url, topic) }
    }

    /// Nothing is read ahead until the next record is asked for.
    pub(super) fn rest(&mut self) {
        if let (Some(consumer), Some(_)) = (&self.consumer, self.next.take()) {
            // If it fails, the broker is asked in vain.
            let _ = consumer.unassign();
        }
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Trouble of this topic as a fault.
    pub(super) fn fault(&self, trouble: Trouble) -> KafkaFault {
        trouble.fault(&self.url, &self.topic)
    }

    fn consumer(&mut self) -> Result<&BaseConsumer<Context>, Trouble> {
        if self.consumer.is_none() {
            let (mut config, wait) = (self.url.client(), self.wait);
            config
                // Partitions are assigned here and nothing is committed; librdkafka wants a name all the same.
                .set("group.id", "doppia.journal")
                .set("enable.auto.commit", "false")
                .set("enable.auto.offset.store", "false")
                .set("auto.offset.reset", "error")
                .set("check.crcs", "true")
                .set("fetch.wait.max.ms", wait.as_millis().to_string())
                .set("fetch.queue.backoff.ms", "5")
                .set("fetch.error.backoff.ms", "50")
                // What is read ahead: some blocks of the largest size.
                .set("queued.max.messages.kbytes", "8192")
                .set("fetch.message.max.bytes", "2097152")
                .set("topic.metadata.refresh.fast.interval.ms", "100");
            let made = config.create_with_context(Context::default());
            self.consumer = Some(made.map_err(|error| Trouble::Lost(error.to_string()))?);
        }
        self.consumer.as_ref().ok_or_else(|| Trouble::Lost("there is no client".into()))
    }

    /// The first offset of the topic, and that behind its last durable record.
    pub(super) fn watermarks(&mut self, within: Duration) -> Result<(i64, i64), Trouble> {
        let topic = self.topic.clone();
        let consumer = self.consumer()?;
        let found = consumer.fetch_watermarks(&topic, PARTITION, within);
        if found.is_err() {
            // What else there is to know of it waits in the queue.
            while consumer.poll(Duration::ZERO).is_some_and(|polled| polled.is_err()) {}
        }
        found.map_err(|error| consumer.context().trouble(&error))
    }

    /// The record of an offset, or the next one there is behind it; `None` if there is none within a time.
    pub(super) fn record(&mut self, offset: i64, within: Duration) -> Result<Option<(i64, Record)>, Trouble> {
        self.message(offset, within, |message| {
            let headers = message.headers();
            let header = |name: &str| {
                headers
                    .and_then(|headers| headers.iter().find(|header| header.key == name))
                    .and_then(|header| header.value)
            };
            Record::read(header, message.payload().unwrap_or_default())
        })
    }

    /// The same of a record whose headers do not matter.
    pub(super) fn value(&mut self, offset: i64, within: Duration) -> Result<Option<(i64, Vec<u8>)>, Trouble> {
        self.message(offset, within, |message| message.payload().unwrap_or_default().to_vec())
    }

    fn message<T>(
        &mut self,
        offset: i64,
        within: Duration,
        read: impl Fn(&BorrowedMessage<'_>) -> T,
    ) -> Result<Option<(i64, T)>, Trouble> {
        let until = Instant::now() + within;
        let (topic, next) = (self.topic.clone(), self.next.take());
        let consumer = self.consumer()?;
        if next != Some(offset) {
            let mut at = TopicPartitionList::with_capacity(1);
            at.add_partition_offset(&topic, PARTITION, Offset::Offset(offset))
                .and_then(|()| consumer.assign(&at))
                .map_err(|error| consumer.context().trouble(&error))?;
        }
        let mut error = None;
        let found = loop {
            let left = until.saturating_duration_since(Instant::now());
            match consumer.poll(left.min(POLL)) {
                Some(Ok(message)) if message.offset() >= offset => break Some((message.offset(), read(&message))),
                Some(Err(found)) => match consumer.context().trouble(&found) {
                    // A connection that broke is made again by itself.
                    Trouble::Lost(reason) => error = Some(reason),
                    trouble @ (Trouble::Refused(_) | Trouble::NoTopic | Trouble::NoOffset) => return Err(trouble),
                },
                None if left.is_zero() => break None,
                Some(Ok(_)) | None => {}
            }
        };
        match (found, error) {
            (Some((at, record)), _) => {
                self.next = Some(at + 1);
                Ok(Some((at, record)))
            }
            (None, None) => {
                self.next = Some(offset);
                Ok(None)
            }
            // Assigned anew the next time, lest it waits for something that does not come.
            (None, Some(reason)) => Err(Trouble::Lost(reason)),
        }
    }
}
