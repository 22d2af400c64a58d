//! What a standby does while it waits: it follows the journal, so that its checkpoints and its id index are near the head when its
//! turn comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use event_schemas::{BookId, Sequence};
use ledger_core::engine::{FOLLOWED_EVERY_EVENTS, StartError, follow};
use ledger_core::ports::{Journal, JournalFault, JournalReader};
use stores::embedded::{Beside, Local};
use stores::followed::Followed;
use stores::kafka::{KafkaReader, KafkaUrl};
use stores::postgres::{PostgresReader, PostgresUrl};

/// How often it is looked for the first block of a journal that has none.
const LOOK: Duration = Duration::from_millis(250);

/// A journal that can be read without its lease, and tells how far it is.
trait Readable: JournalReader {
    fn newest(&mut self) -> Result<Sequence, JournalFault>;
}

impl Readable for PostgresReader {
    fn newest(&mut self) -> Result<Sequence, JournalFault> {
        self.durable_sequence()
    }
}

impl Readable for KafkaReader {
    fn newest(&mut self) -> Result<Sequence, JournalFault> {
        self.durable_sequence()
    }
}

/// The thread that follows.
pub(super) struct Standby {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Waited>>,
}

/// The data folder after the wait.
enum Waited {
    /// It fits the journal, and is near its head.
    Near(Box<Beside>),
    /// The journal had nothing yet.
    Unfit(Local),
}

impl Standby {
    /// Follows a journal in PostgreSQL.
    pub(super) fn in_postgres(local: Local, url: &PostgresUrl, book: BookId) -> anyhow::Result<Self> {
        let url = url.clone();
        Self::start(local, move || PostgresReader::open(url.clone(), book))
    }

    /// Follows a journal in Kafka.
    pub(super) fn in_kafka(local: Local, url: &KafkaUrl, book: BookId) -> anyhow::Result<Self> {
        let url = url.clone();
        Self::start(local, move || KafkaReader::open(&url, book))
    }

    fn start<R: Readable + 'static>(local: Local, readers: impl Fn() -> R + Send + 'static) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name("standby".into()).spawn(move || wait(local, readers, &stopping))?;
        Ok(Self { stop, thread })
    }

    /// Ends the wait: the turn has come.
    pub(super) fn end(self, journal: &dyn Journal) -> anyhow::Result<Beside> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(Ok(Waited::Near(beside))) => Ok(*beside),
            Ok(Ok(Waited::Unfit(local))) => local.fit(journal).context("the data folder"),
            Ok(Err(error)) => Err(error),
            Err(_) => anyhow::bail!("following the journal panicked"),
        }
    }
}

fn wait<R: Readable + 'static>(
    local: Local,
    readers: impl Fn() -> R + Send + 'static,
    stop: &AtomicBool,
) -> anyhow::Result<Waited> {
    let mut reader = readers();
    let newest = loop {
        // What can't be read now is no reason to give up: whoever takes over needs the servers anyway.
        let found = reader.newest().and_then(|newest| reader.block_at(newest));
        match found {
            Ok(Some(block)) => break block,
            Ok(None) => {}
            Err(fault) => tracing::warn!(%fault, "the journal can't be followed yet"),
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(Waited::Unfit(local));
        }
        std::thread::sleep(LOOK);
    };
    let followed = Followed::new(&newest, move || Box::new(readers()));
    let mut beside = local.fit(&followed).context("the data folder")?;
    while !stop.load(Ordering::Relaxed) {
        match follow(&mut reader, &beside.rocks, &mut beside.ids, FOLLOWED_EVERY_EVENTS, stop) {
            Ok(reached) => tracing::info!(sequence = reached.0, "followed the journal to here"),
            Err(error @ StartError::Journal(JournalFault::Io(_))) => {
                tracing::warn!(%error, "following the journal is tried again");
                std::thread::sleep(LOOK);
            }
            Err(error) => {
                // The start finds out, and says so, if it is not only this thread's trouble.
                tracing::error!(%error, "the journal is not followed any more: taking over will take longer");
                break;
            }
        }
    }
    Ok(Waited::Near(Box::new(beside)))
}
