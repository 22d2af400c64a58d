//! The journal in Kafka.
//!
//! ```text
//! PREFIX.book.N.blocks   one partition: blocks, one a record, and the claims of their writers      the fact
//! PREFIX.book.N.writer   one partition: signs of life of the writer, an hour of them               when a standby tries
//! ```
//!
//! A partition takes records of whoever sends them, in one order, and never says no to a writer that was overtaken. So the fence
//! is in the reading: a writer opens an epoch with a **claim** among the blocks, and every reader takes a block only if it is of
//! the newest epoch claimed before it and continues the chain (`chain.rs` has the whole rule). An overtaken writer may still
//! append; nobody takes it, and it learns so before it answers:
//!
//! **An append** sends one block at a time by an idempotent producer, to all replicas in sync. It is answered when each block has
//! the offset behind the last record that the writer knows. If something stands between, the writer reads what: another's claim
//! means that it was overtaken.
//!
//! **A lost answer** (a broker that restarts, a broken connection) leaves it open whether the block will be there: it may arrive
//! even later than one looks. So the writer appends a claim of the next epoch first, and reads until that comes back: its block
//! stands before it, or never will be part of the journal, and the same bytes are sent again under the new epoch. The same with
//! another's claim before its own: it was overtaken.
//!
//! `record.rs` what is written · `chain.rs` which records count · `client.rs` sending and reading · `known.rs` what a process knows ·
//! `journal.rs` the writer · `lease.rs` signs of life · `reader.rs` readers and feeds · `topics.rs` making and checking topics ·
//! `url.rs`. The protocol and what was tried against it: `docs/internals/kafka-journal.md`.

mod chain;
mod client;
mod journal;
mod known;
mod lease;
mod reader;
mod record;
mod topics;
mod url;

use std::time::Duration;

use event_schemas::{BookId, Epoch};
use ledger_core::ports::{AppendError, JournalFault};
use rdkafka::error::KafkaError;

pub use journal::KafkaJournal;
pub use reader::KafkaReader;
pub use topics::{TopicsMade, make_topics};
pub use url::KafkaUrl;

pub use crate::watch::LeaseWatch;

/// The topic of a book's blocks.
pub fn blocks_topic(url: &KafkaUrl, book: BookId) -> String {
    format!("{}.book.{book}.blocks", url.prefix())
}

/// The topic of its writer's signs of life.
pub fn writer_topic(url: &KafkaUrl, book: BookId) -> String {
    format!("{}.book.{book}.writer", url.prefix())
}

/// How a journal in Kafka is opened.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// The cluster and the prefix of its topics.
    pub url: KafkaUrl,
    /// The book.
    pub book: BookId,
    /// How this writer calls itself in its claims: for people.
    pub holder: String,
    /// A writer that was silent for so long may be overtaken.
    pub lease_ttl: Duration,
    /// Wait for as long as it takes, instead of refusing when another writer is there.
    pub standby: bool,
    /// How long one append may take before its answer counts as lost.
    pub append_within: Duration,
    /// How long to look for the outcome of an append whose answer was lost.
    pub resolve_within: Duration,
    /// Open even if the topic could lose what is acknowledged. For development.
    pub allow_unsafe_server: bool,
}

impl KafkaOptions {
    /// The defaults: a lease of four seconds, no standby, ten seconds for an append and a minute to find out what became of it.
    pub fn new(url: KafkaUrl, book: BookId) -> Self {
        Self {
            url,
            book,
            holder: format!("process {}", std::process::id()),
            lease_ttl: Duration::from_secs(4),
            standby: false,
            append_within: Duration::from_secs(10),
            resolve_within: Duration::from_mins(1),
            allow_unsafe_server: false,
        }
    }
}

/// Why a journal in Kafka was not opened, or can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaFault {
    /// The URL can't be read.
    #[error(
        "not a URL of a Kafka cluster: {0}. Write it as kafka://host:9092/prefix or kafka+ssl://user:password@host:9093/prefix"
    )]
    Url(String),
    /// The cluster can't be reached, or the connection broke.
    #[error("Kafka at {server} can't be reached: {reason}")]
    Unreachable {
        /// Which cluster.
        server: String,
        /// What went wrong.
        reason: String,
    },
    /// The cluster refused what was asked: a wrong password, a topic that may not be read, a replica that can't be placed.
    #[error("Kafka at {server} refuses: {reason}")]
    Refused {
        /// Which cluster.
        server: String,
        /// What it said.
        reason: String,
    },
    /// A topic is not there.
    #[error("there is no topic {topic} in Kafka at {server}: make it with `ledgerd migrate`")]
    TopicMissing {
        /// Which cluster.
        server: String,
        /// Which topic.
        topic: String,
    },
    /// A topic can't keep a journal.
    #[error("{0}")]
    TopicUnfit(String),
    /// The topic could lose what is acknowledged.
    #[error("{0}: what Kafka acknowledges could be lost. Change it, or pass --allow-unsafe-server to try things out")]
    ServerUnsafe(String),
    /// Another writer is there.
    #[error(
        "book {book} is being written by {holder}, which is alive (epoch {epoch}): stop it first, or start with --standby to \
         wait until it ends"
    )]
    Held {
        /// The book.
        book: BookId,
        /// Who.
        holder: String,
        /// Its epoch.
        epoch: Epoch,
    },
    /// What the topic holds is not a journal.
    #[error("the journal in Kafka is damaged: {0}")]
    Damaged(String),
    /// A runtime or a thread could not be made.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl KafkaFault {
    /// A client that could not be made: a setting that librdkafka does not take.
    fn client(error: &KafkaError) -> Self {
        if let KafkaError::ClientConfig(_, reason, setting, _) = error {
            return Self::Url(format!("{setting}: {reason}"));
        }
        if let KafkaError::ClientCreation(reason) = error {
            // Of a file, librdkafka says little more than which setting named it: its path is no secret, and is the mistake.
            return Self::Url(format!("{reason}. Is the file that the URL names there, readable, and of PEM?"));
        }
        Self::Io(std::io::Error::other(error.to_string()))
    }
}

impl From<KafkaFault> for JournalFault {
    fn from(fault: KafkaFault) -> Self {
        if let KafkaFault::Damaged(reason) = fault { Self::Damaged(reason) } else { Self::Io(fault.to_string()) }
    }
}

impl From<KafkaFault> for AppendError {
    fn from(fault: KafkaFault) -> Self {
        Self::Unknown(fault.to_string())
    }
}
