//! Looking into a topic: for people, and for tests. It belongs to no group and leaves nothing behind.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Polled, Reader};
use super::error::KafkaFault;
use super::record::Received;
use super::settings::KafkaSettings;

/// A topic that is being read, all partitions at once. Within a partition, records come in order.
pub struct Tail {
    reader: Reader,
    /// Partitions whose end has not been reached yet.
    behind: BTreeSet<i32>,
}

impl Tail {
    /// Opens a topic (named with its prefix), from its first records, or from what comes next.
    pub fn open(settings: &KafkaSettings, topic: &str, from_beginning: bool) -> Result<Self, KafkaFault> {
        let reader = Reader::new(settings)?;
        let missing = || KafkaFault::MissingTopic { topic: topic.to_owned() };
        let partitions = reader.partitions(topic)?.ok_or_else(missing)?;
        let mut list = TopicPartitionList::new();
        let numbers = 0..i32::try_from(partitions).unwrap_or(i32::MAX);
        for partition in numbers.clone() {
            // By number, so that nothing is missed between now and the first poll.
            let (first, end) = reader.bounds(topic, partition)?;
            list.add_partition_offset(topic, partition, Offset::Offset(if from_beginning { first } else { end }))?;
        }
        reader.consumer.assign(&list)?;
        Ok(Self { reader, behind: numbers.collect() })
    }

    /// The next record of any partition, if one comes in time.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Received>, KafkaFault> {
        let until = Instant::now() + wait;
        loop {
            match self.reader.poll(until.saturating_duration_since(Instant::now()))? {
                Polled::Record(record) => return Ok(Some(Received::of(&record))),
                Polled::End(partition) => {
                    self.behind.remove(&partition);
                }
                Polled::Nothing => {}
            }
            if Instant::now() >= until {
                return Ok(None);
            }
        }
    }

    /// Whether the end of every partition has been reached once.
    pub fn reached_the_end(&self) -> bool {
        self.behind.is_empty()
    }
}
