//! The producer of a relay: one transaction after the other.

use std::time::{Duration, Instant};

use event_schemas::topics::{Outlet, Topic, outlets};
use event_schemas::{Block, BookId};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::kafka::client::{Told, make};
use crate::kafka::cloud_event::{Attributes, with_block};
use crate::kafka::error::KafkaFault;
use crate::kafka::settings::KafkaSettings;

/// How long a transaction may be open before the brokers give it up, and how long a record may take.
const TRANSACTION_MAX: Duration = Duration::from_mins(1);

/// How long one step waits before the stop flag is looked at again.
const STEP: Duration = Duration::from_millis(500);

/// The most bytes of records that wait in the client.
const QUEUE_MAX_KBYTES: &str = "65536";

/// A producer with a transaction open or none.
pub(super) struct Publisher {
    producer: BaseProducer<Told>,
    told: Told,
    brokers: String,
    journal: String,
    topics: [(Topic, String); Topic::ALL.len()],
    key: String,
    open_bytes: usize,
    open_records: u64,
}

impl Publisher {
    /// Makes the producer known to the brokers under the name of the book's relay. When it returns, no other producer of that
    /// name can commit any more, and what one had left open is given up.
    pub(super) fn open(
        settings: &KafkaSettings,
        book: BookId,
        stopping: &dyn Fn() -> bool,
    ) -> Result<Self, KafkaFault> {
        let mut config = settings.client();
        let transaction_max = TRANSACTION_MAX.as_millis().to_string();
        config
            .set("transactional.id", settings.relay_id(book))
            .set("transaction.timeout.ms", &transaction_max)
            .set("message.timeout.ms", &transaction_max)
            .set("queue.buffering.max.kbytes", QUEUE_MAX_KBYTES)
            .set("linger.ms", "5")
            .set("batch.size", "524288")
            .set("compression.type", "lz4")
            // As the other clients of Kafka spread keys, so that their topics can be joined with ours.
            .set("partitioner", "murmur2_random");
        let (producer, told): (BaseProducer<Told>, _) = make(&config)?;
        let publisher = Self {
            producer,
            told,
            brokers: settings.brokers().to_owned(),
            journal: settings.journal_topic(book),
            topics: Topic::ALL.map(|topic| (topic, settings.topic(topic))),
            key: book.to_string(),
            open_bytes: 0,
            open_records: 0,
        };
        publisher.patiently(stopping, || publisher.producer.init_transactions(STEP))?;
        Ok(publisher)
    }

    /// Tries again what only took too long, until the time of a transaction is over or there is a reason to end.
    fn patiently(
        &self,
        stopping: &dyn Fn() -> bool,
        mut work: impl FnMut() -> Result<(), KafkaError>,
    ) -> Result<(), KafkaFault> {
        let until = Instant::now() + TRANSACTION_MAX;
        loop {
            let Err(error) = work() else { return Ok(()) };
            let late = matches!(&error, KafkaError::Transaction(inner) if inner.is_retriable())
                || error == KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
            if !late {
                return Err(self.fault(error));
            }
            if stopping() || Instant::now() > until {
                let reason = self.told.last().or_else(|| self.told.undelivered()).unwrap_or_else(|| error.to_string());
                return Err(KafkaFault::Unreachable { brokers: self.brokers.clone(), reason });
            }
            self.producer.poll(Duration::ZERO);
        }
    }

    /// What an error means. A fatal one hides what it came from, which the client knows.
    fn fault(&self, error: KafkaError) -> KafkaFault {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
            if matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch) {
                return KafkaFault::Fenced;
            }
            return KafkaFault::Client(reason);
        }
        error.into()
    }

    pub(super) fn begin(&mut self) -> Result<(), KafkaFault> {
        (self.open_bytes, self.open_records) = (0, 0);
        self.producer.begin_transaction().map_err(|error| self.fault(error))
    }

    /// Bytes of values and records of the open transaction.
    pub(super) const fn open_size(&self) -> (usize, u64) {
        (self.open_bytes, self.open_records)
    }

    /// Hands all records of a block to the client: of each event those of the keyed topics, then that of the journal's.
    pub(super) fn publish(&mut self, block: &Block, stopping: &dyn Fn() -> bool) -> Result<(), KafkaFault> {
        let last = block.header().last_sequence();
        for event in block.events() {
            let (sequence, event) = event.map_err(|error| KafkaFault::Journal(error.to_string()))?;
            let recorded = block.recorded(sequence, event);
            let attributes = Attributes::of(&recorded);
            let value = json(&recorded)?;
            for outlet in outlets(&recorded) {
                self.outlet(&outlet, &attributes, &value, stopping)?;
            }
            let mut headers = attributes.of_journal(&sequence.to_string(), &self.key);
            if sequence == last {
                headers = with_block(headers, block.header());
            }
            let record = BaseRecord::to(&self.journal).partition(0).key(&self.key).payload(&value[..]);
            self.send(record.headers(headers), stopping)?;
            self.open_bytes += value.len();
            self.open_records += 1;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    fn outlet(
        &mut self,
        outlet: &Outlet,
        attributes: &Attributes,
        value: &[u8],
        stopping: &dyn Fn() -> bool,
    ) -> Result<(), KafkaFault> {
        let Some((_, topic)) = self.topics.iter().find(|(topic, _)| *topic == outlet.topic) else { return Ok(()) };
        let key = outlet.key.to_string();
        let change = outlet.change.as_ref().map(json).transpose()?;
        let value = change.as_deref().unwrap_or(value);
        let record = BaseRecord::to(topic).key(&key).payload(value).headers(attributes.of_outlet(outlet, &key));
        self.send(record, stopping)?;
        self.open_bytes += value.len();
        self.open_records += 1;
        Ok(())
    }

    /// Hands a record to the client; waits while its queue is full.
    fn send(&self, mut record: BaseRecord<'_, String, [u8]>, stopping: &dyn Fn() -> bool) -> Result<(), KafkaFault> {
        let until = Instant::now() + TRANSACTION_MAX;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    if stopping() || Instant::now() > until {
                        return Err(KafkaFault::Late(TRANSACTION_MAX));
                    }
                    record = again;
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(self.fault(error)),
            }
        }
    }

    /// Commits, and gives the number of records. After an error nobody knows whether it was committed; the next session reads it.
    pub(super) fn commit(&mut self, stopping: &dyn Fn() -> bool) -> Result<u64, KafkaFault> {
        self.patiently(stopping, || self.producer.commit_transaction(STEP))?;
        Ok(self.open_records)
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, KafkaFault> {
    serde_json::to_vec(value).map_err(|error| KafkaFault::Journal(error.to_string()))
}
