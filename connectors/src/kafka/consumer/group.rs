//! The member's side of its group: which partitions it has, and how far each of them was handled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::marks::Marks;
use crate::kafka::error::KafkaFault;

/// A partition: what comes next, and what was handled.
#[derive(Debug, Clone, Default)]
pub(super) struct Handled {
    pub(super) next: i64,
    pub(super) marks: Marks,
    /// Whether that is more than what was committed.
    pub(super) more: bool,
}

/// What the consumer's callbacks and its thread share; the callbacks run within the thread's polls.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What was handled, by partition.
    pub(super) handled: BTreeMap<i32, Handled>,
    /// Partitions that came and are not prepared yet.
    pub(super) came: Vec<i32>,
    /// Partitions that went.
    pub(super) went: Vec<i32>,
}

/// The context of the group's client.
#[derive(Clone)]
pub(super) struct Member {
    topic: String,
    shared: Arc<Mutex<Shared>>,
}

impl Member {
    pub(super) fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), shared: Arc::default() }
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what was handled and is not committed, each offset with its mark.
    pub(super) fn commit(&self, consumer: &BaseConsumer<Self>, mode: CommitMode) -> Result<(), KafkaFault> {
        let mut shared = self.shared();
        let mut list = TopicPartitionList::new();
        for (partition, handled) in shared.handled.iter().filter(|(_, handled)| handled.more) {
            let mut element = list.add_partition(&self.topic, *partition);
            element.set_offset(Offset::Offset(handled.next))?;
            element.set_metadata(handled.marks.text()?);
        }
        if list.count() == 0 {
            return Ok(());
        }
        consumer.commit(&list, mode)?;
        shared.handled.values_mut().for_each(|handled| handled.more = false);
        Ok(())
    }
}

impl ClientContext for Member {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(target: "librdkafka", "{facility} {line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, "the consumer: {reason}");
    }
}

impl ConsumerContext for Member {
    /// Before partitions go: whoever gets them goes on behind what was handled here.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(_) = rebalance
            && !consumer.assignment_lost()
            && let Err(fault) = self.commit(consumer, CommitMode::Sync)
        {
            tracing::warn!(%fault, "the consumer gave up partitions before it could say how far it was");
        }
        if let Rebalance::Revoke(list) = rebalance {
            let went: Vec<_> =
                list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
            let mut shared = self.shared();
            shared.handled.retain(|partition, _| !went.contains(partition));
            shared.came.retain(|partition| !went.contains(partition));
            shared.went.extend(went);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let came = list
                .elements()
                .iter()
                .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
                .collect::<Vec<_>>();
            self.shared().came.extend(came);
        }
    }
}
