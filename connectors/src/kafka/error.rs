//! What can go wrong between us and a broker, in words that say what to do.

use std::time::Duration;

use event_schemas::Sequence;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// A fault of the bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaFault {
    /// A setting that can't be used.
    #[error("{0}")]
    Settings(String),
    /// No broker answers.
    #[error("no broker answers at {brokers} ({reason}): is Kafka running, and is this its address?")]
    Unreachable {
        /// Where they were looked for.
        brokers: String,
        /// What the client said.
        reason: String,
    },
    /// A topic that is not there.
    #[error("topic {topic} is missing: make it with `ledgerd kafka topics`")]
    MissingTopic {
        /// Which topic.
        topic: String,
    },
    /// A topic whose partitions do not fit.
    #[error(
        "topic {topic} has {found} partitions, it must have one: events of a book are in order within one partition only. \
         Delete the topic, or choose another prefix, and make it with `ledgerd kafka topics`"
    )]
    Partitions {
        /// Which topic.
        topic: String,
        /// How many it has.
        found: usize,
    },
    /// A dead-letter topic that has not as many partitions as its topic.
    #[error(
        "topic {topic} has {found} partitions, and {of} has {wanted}: what is parked stands in the partition of the same number. \
         Give it as many with `ledgerd kafka topics`"
    )]
    Alike {
        /// Which topic.
        topic: String,
        /// How many partitions it has.
        found: usize,
        /// The topic that it belongs to.
        of: String,
        /// How many partitions that one has.
        wanted: usize,
    },
    /// A setting of a topic that would lose what must stay.
    #[error(
        "topic {topic} has {name}={found}, and must have {name}={wanted}: the relay finds its place in the records of this topic. \
         Set it with kafka-configs.sh --alter"
    )]
    TopicSetting {
        /// Which topic.
        topic: String,
        /// Which setting.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// What is in Kafka is not what is in the journal.
    #[error(
        "Kafka and the journal have parted at event {sequence}: {reason}. Nothing more is published. Publish under another prefix, \
         or delete the topics of this book and let them be filled anew"
    )]
    Diverged {
        /// The event.
        sequence: Sequence,
        /// How they differ.
        reason: String,
    },
    /// Another relay of the same book has started.
    #[error(
        "another relay of this book has taken over; this one publishes nothing more. Run one relay for each book and prefix"
    )]
    Fenced,
    /// The journal can't be read.
    #[error("the journal can't be read: {0}")]
    Journal(String),
    /// Kafka did not do what was asked within its time.
    #[error("Kafka took longer than {0:?}")]
    Late(Duration),
    /// Anything else that the client or the broker refuses.
    #[error("Kafka: {0}")]
    Client(String),
}

impl KafkaFault {
    /// Whether no waiting mends it: somebody has to look. A fence may come of a long sleep; the relay looks for itself who is there.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Journal(_) | Self::Settings(_))
    }
}

impl From<KafkaError> for KafkaFault {
    fn from(error: KafkaError) -> Self {
        let fenced = |code| {
            use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
            matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch)
        };
        if let KafkaError::ClientConfig(_, _, name, _) = &error {
            // The client repeats the value, which may be a secret.
            return Self::Settings(format!("the client does not take {name}"));
        }
        let code = error.rdkafka_error_code();
        if code.is_some_and(fenced) { Self::Fenced } else { Self::Client(error.to_string()) }
    }
}
