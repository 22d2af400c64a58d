//! The journal without its lease: readers for whoever wants one, its first block, and how far it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use commands_api::Feeds;
use commands_api::grpc::Origin;
use event_schemas::{BlockHash, BookId, Sequence};
use ledger_core::ports::JournalFault;
use stores::kafka::KafkaReader;
use stores::place::JournalPlace;
use stores::postgres::PostgresReader;

use crate::config::Config;

/// How often it is looked how far the journal is, and how often while it can't be read.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the first block is waited for: a reader of Kafka has to find its place first.
const FIRST_WITHIN: Duration = Duration::from_millis(1_500);

/// Makes readers.
#[derive(Clone)]
pub(super) struct Readers {
    pub(super) feeds: Feeds,
    place: JournalPlace,
    book: BookId,
    first: Arc<OnceLock<BlockHash>>,
}

/// Tells how far the journal is.
pub(super) type Durable = Arc<dyn Fn() -> Sequence + Send + Sync>;

impl Readers {
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let place = config.journal.url.as_ref().context("no journal on servers is named")?.parse()?;
        let book = config.book_id();
        let feeds: Feeds = match &place {
            JournalPlace::Postgres(url) => {
                let url = url.clone();
                Arc::new(move || Box::new(PostgresReader::open(url.clone(), book)))
            }
            JournalPlace::Kafka(url) => {
                let url = url.clone();
                Arc::new(move || Box::new(KafkaReader::open(&url, book)))
            }
        };
        Ok(Self { feeds, place, book, first: Arc::default() })
    }

    /// The hash of the first block, once there is one.
    pub(super) fn first(&self) -> Result<Option<BlockHash>, String> {
        if let Some(known) = self.first.get() {
            return Ok(Some(*known));
        }
        let found = (self.feeds)().next_block(Sequence::ZERO, FIRST_WITHIN).map_err(|fault| fault.to_string())?;
        Ok(found.map(|block| *self.first.get_or_init(|| block.hash())))
    }

    /// The same, for those who shake hands.
    pub(super) fn origin(&self) -> Origin {
        let readers = self.clone();
        Arc::new(move || readers.first())
    }

    /// How far the journal is.
    pub(super) fn newest(&self) -> Result<Sequence, String> {
        self.head()().map_err(|fault| fault.to_string())
    }

    /// Asks again and again how far the journal is.
    fn head(&self) -> Box<dyn FnMut() -> Result<Sequence, JournalFault> + Send> {
        match &self.place {
            JournalPlace::Postgres(url) => {
                let mut reader = PostgresReader::open(url.clone(), self.book);
                Box::new(move || reader.durable_sequence())
            }
            JournalPlace::Kafka(url) => {
                let mut reader = KafkaReader::open(url, self.book);
                Box::new(move || reader.durable_sequence())
            }
        }
    }
}

/// A thread that looks how far the journal is.
pub(super) struct HeadWatch {
    durable: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl HeadWatch {
    pub(super) fn start(readers: &Readers) -> anyhow::Result<Self> {
        let (durable, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (found, stopping, mut head) = (Arc::clone(&durable), Arc::clone(&stop), readers.head());
        let thread = std::thread::Builder::new().name("head".into()).spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                match head() {
                    Ok(sequence) => {
                        found.fetch_max(sequence.0, Ordering::AcqRel);
                        std::thread::park_timeout(LOOK);
                    }
                    Err(fault) => {
                        tracing::warn!(%fault, "how far the journal is can't be read");
                        std::thread::park_timeout(LOOK_AGAIN);
                    }
                }
            }
        })?;
        Ok(Self { durable, stop, thread })
    }

    /// Tells it.
    pub(super) fn sequence(&self) -> Durable {
        let durable = Arc::clone(&self.durable);
        Arc::new(move || Sequence(durable.load(Ordering::Acquire)))
    }

    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // It may wait for a server that is gone; the process ends without it.
        drop(self.thread);
    }
}
