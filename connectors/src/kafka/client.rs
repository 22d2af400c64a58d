//! Clients of the brokers: producers and consumers that remember what went wrong last, so that it can be told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::error::KafkaFault;
use super::settings::KafkaSettings;

/// How long a broker may take to answer a question about topics and offsets.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// How long one poll of a reader waits.
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Said {
    last: Option<String>,
    undelivered: Option<String>,
    /// The offset of the record that was delivered last.
    delivered: Option<i64>,
}

/// What a client said last, for whoever has to tell that no broker answers, and whether a record was not delivered.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Mutex<Said>>);

impl Told {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last(&self) -> Option<String> {
        self.said().last.clone()
    }

    /// Forgets what became of earlier records.
    pub(super) fn forget(&self) {
        let mut said = self.said();
        (said.undelivered, said.delivered) = (None, None);
    }

    /// The offset of the record that was delivered last.
    pub(super) fn delivered(&self) -> Option<i64> {
        self.said().delivered
    }

    /// Why a record was not delivered, if one was not.
    pub(super) fn undelivered(&self) -> Option<String> {
        self.said().undelivered.clone()
    }
}

impl ClientContext for Told {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(target: "librdkafka", "{facility} {line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
        self.said().last = Some(reason.to_owned());
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(record) => self.said().delivered = Some(record.offset()),
            Err((error, _)) => self.said().undelivered = Some(error.to_string()),
        }
    }
}

impl ConsumerContext for Told {}

/// Makes a client of some kind.
pub(super) fn make<T: FromClientConfigAndContext<Told>>(config: &ClientConfig) -> Result<(T, Told), KafkaFault> {
    let told = Told::default();
    Ok((config.create_with_context(told.clone())?, told))
}

/// A consumer that belongs to no group: it reads what it is pointed at, and commits nothing.
pub(super) struct Reader {
    pub(super) consumer: BaseConsumer<Told>,
    told: Told,
    brokers: String,
}

/// What came of a poll.
pub(super) enum Polled<'a> {
    /// A record.
    Record(BorrowedMessage<'a>),
    /// The end of this partition was reached; more may come.
    End(i32),
    /// Nothing in time.
    Nothing,
}

impl Reader {
    /// A reader of committed records only.
    pub(super) fn new(settings: &KafkaSettings) -> Result<Self, KafkaFault> {
        let mut config = settings.client();
        config
            // The client asks for one, although nothing is ever committed under it.
            .set("group.id", "doppia-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "50")
            .set("queued.max.messages.kbytes", "16384");
        let (consumer, told) = make(&config)?;
        Ok(Self { consumer, told, brokers: settings.brokers().to_owned() })
    }

    /// What a failed question means: mostly that nobody is there.
    pub(super) fn fault(&self, error: KafkaError) -> KafkaFault {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, LeaderNotAvailable, OperationTimedOut};
        match error.rdkafka_error_code() {
            Some(BrokerTransportFailure | AllBrokersDown | OperationTimedOut | LeaderNotAvailable) => {
                // The client tells its reasons to whoever polls, one after the other.
                for _ in 0..4 {
                    let _ = self.consumer.poll(Duration::from_millis(10));
                }
                let reason = self.told.last().unwrap_or_else(|| error.to_string());
                KafkaFault::Unreachable { brokers: self.brokers.clone(), reason }
            }
            _ => error.into(),
        }
    }

    /// How many partitions a topic has; `None` if it is not there.
    pub(super) fn partitions(&self, topic: &str) -> Result<Option<usize>, KafkaFault> {
        let metadata = self.consumer.fetch_metadata(Some(topic), ANSWERS_WITHIN).map_err(|error| self.fault(error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.filter(|found| found.error().is_none()).map(|found| found.partitions().len()).filter(|&n| n > 0))
    }

    /// Whether a topic is there, each of its partitions with a broker that leads it.
    pub(super) fn is_led(&self, topic: &str) -> Result<bool, KafkaFault> {
        let metadata = self.consumer.fetch_metadata(Some(topic), ANSWERS_WITHIN).map_err(|error| self.fault(error))?;
        let led = |partition: &MetadataPartition| partition.error().is_none() && partition.leader() >= 0;
        Ok(metadata
            .topics()
            .iter()
            .any(|found| found.name() == topic && !found.partitions().is_empty() && found.partitions().iter().all(led)))
    }

    /// The first offset of a partition, and the one behind its last.
    pub(super) fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaFault> {
        self.consumer.fetch_watermarks(topic, partition, ANSWERS_WITHIN).map_err(|error| self.fault(error))
    }

    /// Reads on from an offset.
    pub(super) fn point_at(&self, topic: &str, partition: i32, offset: i64) -> Result<(), KafkaFault> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        Ok(self.consumer.assign(&list)?)
    }

    /// The next record, if there is one in time.
    pub(super) fn poll(&self, wait: Duration) -> Result<Polled<'_>, KafkaFault> {
        match self.consumer.poll(wait) {
            None => Ok(Polled::Nothing),
            Some(Ok(record)) => Ok(Polled::Record(record)),
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Polled::End(partition)),
            Some(Err(error)) => match error.rdkafka_error_code() {
                // The client goes on by itself once somebody is there again.
                Some(
                    RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::OperationTimedOut,
                ) => Ok(Polled::Nothing),
                _ => Err(self.fault(error)),
            },
        }
    }

    /// The first committed record of a partition from an offset on and below another, as `take` has it.
    pub(super) fn first<T>(
        &self,
        topic: &str,
        partition: i32,
        (from, to): (i64, i64),
        take: impl FnOnce(&BorrowedMessage<'_>) -> Result<T, KafkaFault>,
    ) -> Result<Option<T>, KafkaFault> {
        self.point_at(topic, partition, from)?;
        let until = Instant::now() + ANSWERS_WITHIN;
        loop {
            match self.poll(POLL)? {
                Polled::Record(record) if record.offset() < to => return take(&record).map(Some),
                Polled::Record(_) | Polled::End(_) => return Ok(None),
                Polled::Nothing if Instant::now() > until => return Err(KafkaFault::Late(ANSWERS_WITHIN)),
                Polled::Nothing => {}
            }
        }
    }

    /// Visits the committed records of a partition with offsets from `from` up to and without `to`, in order.
    pub(super) fn visit(
        &self,
        topic: &str,
        partition: i32,
        (from, to): (i64, i64),
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> Result<(), KafkaFault>,
    ) -> Result<(), KafkaFault> {
        if from >= to {
            return Ok(());
        }
        self.point_at(topic, partition, from)?;
        let mut until = Instant::now() + ANSWERS_WITHIN;
        loop {
            match self.poll(POLL)? {
                Polled::Record(record) if record.offset() >= to => return Ok(()),
                Polled::Record(record) => {
                    visit(&record)?;
                    if record.offset() + 1 >= to {
                        return Ok(());
                    }
                    until = Instant::now() + ANSWERS_WITHIN;
                }
                // Behind the last record there may be nothing but the marks of transactions.
                Polled::End(_) => return Ok(()),
                Polled::Nothing if Instant::now() > until => return Err(KafkaFault::Late(ANSWERS_WITHIN)),
                Polled::Nothing => {}
            }
        }
    }
}
