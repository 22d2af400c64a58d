//! The access log: who looked at what, in a journal of its own beside the book's (`data/access/`), of the same format.
//!
//! Shape: a bounded queue and one thread. The thread waits for a record, gathers what comes within half a second (or as much
//! as fits a block), and appends it in one flush, so a record is on disk within a second of being taken and a busy server
//! pays for two flushes a second. The first event is `BookOpened` with a nonce of the log's own; all others are
//! `AccessLogged`. It has no state, no digests and no witness: the chain is what it proves.
//!
//! *When its disk fails.* Nothing may be shown that will not be on record, so the log takes no more: [`AccessLogFull`]. Without
//! space what was taken waits in memory and is written when there is room; then the log takes records again. A failed write or
//! sync stops it for good, as it does the book's writer, and the next start reads what is durable.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_schemas::block::BlockPlace;
use event_schemas::bounds::BLOCK_MAX_BYTES;
use event_schemas::event::{AccessLogged, BookOpened};
use event_schemas::{Block, BlockBuilder, BookId, Event, EventBody, PrincipalId, Sequence, Timestamp};
use ledger_core::ports::{AppendError, Clock, Journal as _};

use crate::segments::{self, DiskStorage, OpenFault, SegmentJournal, SegmentOptions, SegmentReader, Storage};

/// How long records are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(500);
/// How long a log without space waits before it looks again.
const RETRY: Duration = Duration::from_millis(500);
/// The most records that wait to be gathered.
const QUEUE_MAX_RECORDS: usize = 16_384;
/// More than one record takes, with its four texts of at most 256 bytes.
const RECORD_MAX_BYTES: usize = 2_048;
/// The most records of one block: with short texts it is full of them, not of bytes.
const BLOCK_MAX_RECORDS: u32 = 4_096;

/// Only the newest segment is scanned when the log is opened: nothing is replayed from it.
const ANYWHERE: Sequence = Sequence(u64::MAX - 1);

/// How an access log is kept.
#[derive(Clone)]
pub struct AccessLogOptions {
    /// The book whose reads it records.
    pub book: BookId,
    /// 128 random bits for the opening of a fresh log.
    pub nonce: u128,
    /// The length of a segment in bytes, of a log that is created.
    pub segment_bytes: u64,
    /// Time.
    pub clock: Clock,
}

impl AccessLogOptions {
    /// Segments of 4 MiB.
    pub const fn new(book: BookId, nonce: u128, clock: Clock) -> Self {
        Self { book, nonce, segment_bytes: 4 * 1024 * 1024, clock }
    }
}

impl std::fmt::Debug for AccessLogOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLogOptions").field("book", &self.book).finish_non_exhaustive()
    }
}

/// Why an access log was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessLogFault {
    /// Its journal refuses.
    #[error("the access log: {0}")]
    Journal(#[from] OpenFault),
    /// It can't be written.
    #[error("the access log: {0}")]
    Append(#[from] AppendError),
    /// Its folder or its thread can't be made.
    #[error("the access log: {0}")]
    Io(#[from] std::io::Error),
}

/// The log takes no more records now: its queue is full, or its disk fails. What was to be shown must not be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access log takes no records now")]
pub struct AccessLogFull;

/// The figures of an access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogStatus {
    /// The last event that is durable.
    pub durable: Sequence,
    /// Records on disk since the start.
    pub recorded_total: u64,
    /// Records refused since the start.
    pub refused_total: u64,
    /// Why it takes no records; empty while it does.
    pub reason: String,
}

#[derive(Default)]
struct Figures {
    durable: AtomicU64,
    recorded: AtomicU64,
    refused: AtomicU64,
    failing: AtomicBool,
    closing: AtomicBool,
    reason: Mutex<String>,
}

impl Figures {
    fn set_reason(&self, reason: String) {
        self.failing.store(!reason.is_empty(), Ordering::Release);
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// An open access log. Dropping it writes what was taken.
pub struct AccessJournal {
    sender: RwLock<Option<SyncSender<AccessLogged>>>,
    figures: Arc<Figures>,
    reader: SegmentReader,
    thread: Mutex<Option<JoinHandle<()>>>,
    notices: Vec<String>,
}

impl std::fmt::Debug for AccessJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessJournal").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// The folder of the access log within a data folder.
pub fn folder(data: &Path) -> PathBuf {
    data.join("access")
}

/// Whether a data folder has an access log.
pub fn exists(data: &Path) -> Result<bool, OpenFault> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(folder(data)));
    segments::exists(&storage)
}

/// Opens the access log of a data folder for reading only, beside its writer or without one.
pub fn reader(data: &Path) -> Result<SegmentReader, OpenFault> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(folder(data)));
    SegmentReader::open(&storage)
}

impl AccessJournal {
    /// Opens the access log of a data folder, and makes it where there is none. The caller holds the lock of the data folder.
    pub fn open(data: &Path, options: AccessLogOptions) -> Result<Self, AccessLogFault> {
        let storage: Arc<dyn Storage> = Arc::new(DiskStorage::create(folder(data))?);
        Self::open_in(&storage, options, true)
    }

    /// The same in a folder of any kind of disk. Without `background` the journal has no threads of its own.
    pub fn open_in(
        storage: &Arc<dyn Storage>,
        options: AccessLogOptions,
        background: bool,
    ) -> Result<Self, AccessLogFault> {
        let mut segment_options = SegmentOptions::new(options.book);
        segment_options.segment_bytes = options.segment_bytes;
        segment_options.background = background;
        if !segments::exists(storage)? {
            segments::create(storage, &segment_options)?;
        }
        let mut journal = segments::open(storage, &segment_options, ANYWHERE)?;
        // That there is no witness is as it should be.
        let notices = journal.notices().iter().filter(|notice| !notice.contains("witness")).cloned().collect();
        if journal.head().sequence == Sequence::ZERO {
            let mut builder = BlockBuilder::new();
            let opened = BookOpened { book: options.book, nonce: PrincipalId(options.nonce) };
            builder.push(&Event::engine(EventBody::BookOpened(opened)));
            let block = sealed(&journal, &mut builder, (options.clock.wall)());
            journal.secure_space(block.bytes().len())?;
            journal.append(std::slice::from_ref(&block))?;
        }
        let figures = Arc::new(Figures::default());
        figures.durable.store(journal.head().sequence.0, Ordering::Release);
        let (sender, records) = sync_channel(QUEUE_MAX_RECORDS);
        let reader = journal.segment_reader();
        let keeper = Keeper { journal, records, clock: options.clock, figures: Arc::clone(&figures) };
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(move || keeper.run())?;
        let (sender, thread) = (RwLock::new(Some(sender)), Mutex::new(Some(thread)));
        Ok(Self { sender, figures, reader, thread, notices })
    }

    /// What the operator should know of this opening.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Takes a record, without waiting. It is on disk within a second.
    pub fn try_record(&self, access: AccessLogged) -> Result<(), AccessLogFull> {
        let failing = self.figures.failing.load(Ordering::Acquire);
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        let sender = sender.as_ref().filter(|_| !failing);
        if sender.is_some_and(|sender| sender.try_send(shortened(access)).is_ok()) {
            return Ok(());
        }
        self.figures.refused.fetch_add(1, Ordering::Relaxed);
        Err(AccessLogFull)
    }

    /// A reader of what is durable, and a feed: it is woken when there is more.
    pub fn feed(&self) -> SegmentReader {
        self.reader.another()
    }

    /// The figures.
    pub fn status(&self) -> AccessLogStatus {
        let figures = &self.figures;
        AccessLogStatus {
            durable: Sequence(figures.durable.load(Ordering::Acquire)),
            recorded_total: figures.recorded.load(Ordering::Relaxed),
            refused_total: figures.refused.load(Ordering::Relaxed),
            reason: figures.reason.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl AccessJournal {
    /// Takes no more, and writes what was taken.
    pub fn end(&self) {
        self.figures.closing.store(true, Ordering::Release);
        *self.sender.write().unwrap_or_else(PoisonError::into_inner) = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the access log panicked");
        }
    }
}

impl Drop for AccessJournal {
    fn drop(&mut self) {
        self.end();
    }
}

/// Cuts texts to what an event may hold.
fn shortened(mut access: AccessLogged) -> AccessLogged {
    for text in [&mut access.operation, &mut access.subject, &mut access.request] {
        let end = text.floor_char_boundary(event_schemas::bounds::TEXT_MAX_BYTES);
        if end < text.len() {
            *text = text.get(..end).unwrap_or_default().into();
        }
    }
    access
}

fn sealed(journal: &SegmentJournal, builder: &mut BlockBuilder, now: Timestamp) -> Block {
    let head = journal.head();
    builder.seal(BlockPlace {
        book: journal.book(),
        first_sequence: head.sequence.next(),
        recorded_at: now.max(head.recorded_at),
        epoch: journal.epoch(),
        previous: head.hash,
    })
}

/// The thread.
struct Keeper {
    journal: SegmentJournal,
    records: Receiver<AccessLogged>,
    clock: Clock,
    figures: Arc<Figures>,
}

/// Says that the log has stopped, however its thread ends.
struct StopGuard(Arc<Figures>);

impl Drop for StopGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_reason("it failed an assertion: see the log".into());
        }
    }
}

impl Keeper {
    fn run(mut self) {
        let _guard = StopGuard(Arc::clone(&self.figures));
        let mut builder = BlockBuilder::new();
        while let Ok(first) = self.records.recv() {
            builder.push(&Event::engine(EventBody::AccessLogged(first)));
            let until = Instant::now() + GATHER;
            while builder.len() + RECORD_MAX_BYTES < BLOCK_MAX_BYTES && builder.count() < BLOCK_MAX_RECORDS {
                match self.records.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(record) => builder.push(&Event::engine(EventBody::AccessLogged(record))),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            let block = sealed(&self.journal, &mut builder, (self.clock.wall)());
            if let Err(error) = self.append(&block) {
                let lost = block.header().count;
                tracing::error!(%error, lost, "ALARM: the access log has stopped: reads of what is recorded are refused");
                self.figures.set_reason(error.to_string());
                return;
            }
        }
    }

    /// Appends a block; without space, as soon as there is some.
    fn append(&mut self, block: &Block) -> Result<(), AppendError> {
        let mut said = false;
        loop {
            let appended = self
                .journal
                .secure_space(block.bytes().len())
                .and_then(|()| self.journal.append(std::slice::from_ref(block)));
            match appended {
                Ok(()) => break,
                Err(AppendError::NoSpace(reason)) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::error!(reason, "the access log has no space: reads of what is recorded are refused");
                    }
                    self.figures.set_reason(reason);
                    if self.figures.closing.load(Ordering::Acquire) {
                        return Err(AppendError::NoSpace("the server ends".into()));
                    }
                    std::thread::sleep(RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        if said {
            tracing::info!("the access log goes on");
            self.figures.set_reason(String::new());
        }
        self.figures.durable.store(self.journal.head().sequence.0, Ordering::Release);
        self.figures.recorded.fetch_add(u64::from(block.header().count), Ordering::Relaxed);
        Ok(())
    }
}
