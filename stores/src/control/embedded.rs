//! The embedded repository: facts in a second journal of segments (`data/control/`), of the same format and with the same
//! answers to crashes as the book's.
//!
//! All facts are read when the journal is opened and kept in memory, by aggregate and in order: the control plane is small.
//! Storing takes the lock `data/control/LOCK`, opens the journal as its writer, reads what others have appended meanwhile,
//! compares the aggregate's version, appends one block and syncs it, and closes the journal again. So `ledgerd key` works
//! beside a running server, which sees what was stored when it next looks at the tail; and after a failed write or sync the
//! next one starts from what the disk has, by the same steps as a start does. What comes while a group is stored waits and is
//! stored as the next group, in one block; while more and more comes, the journal stays open, for half a second at most, so that
//! many payments share the syncs of opening it.
//!
//! The first event is `BookOpened` with a nonce of the journal's own, all others are `ControlRecorded`; a command's facts share
//! a block, so they are there together or not at all. There is no witness: a folder that is restored from an older copy takes
//! back what was recorded since, revocations too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cqrs_es::Aggregate;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot};
use event_schemas::block::BlockPlace;
use event_schemas::bounds::BLOCK_MAX_BYTES;
use event_schemas::event::BookOpened;
use event_schemas::{
    Block, BlockBuilder, BlockHash, Cause, ControlFact, ControlRecorded, Event, EventBody, PrincipalId, Sequence,
    Timestamp,
};
use ledger_core::ports::{Journal as _, JournalReader as _};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::es::split;
use super::{ControlFault, ControlOptions, ControlPosition, ControlRow, TAIL_MAX_ROWS, carried};
use crate::segments::{self, DiskStorage, OpenFault, SegmentJournal, SegmentOptions, SegmentReader, Storage};

/// How long storing waits for another process that stores.
const LOCK_WITHIN: Duration = Duration::from_secs(10);

/// How long whoever has stored something waits for more before the journal is closed.
const LINGER: Duration = Duration::from_millis(4);

/// How long the journal stays open while more and more comes: other processes wait for their turn meanwhile.
const WRITING_MAX: Duration = Duration::from_millis(500);

/// How long others have to take their turn then.
const TURN: Duration = Duration::from_millis(8);

/// The most bytes of facts that are stored as one group: a block's, less its header.
const GROUP_MAX_BYTES: usize = BLOCK_MAX_BYTES - 4 * 1024;

/// Everything has been read when the journal was opened; its writer need not scan it again.
const ANYWHERE: Sequence = Sequence(u64::MAX - 1);

/// The folder of the control journal within a data folder.
pub fn folder(data: &Path) -> PathBuf {
    data.join("control")
}

/// Whether a data folder has a control journal.
pub fn exists(data: &Path) -> Result<bool, OpenFault> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(folder(data)));
    segments::exists(&storage)
}

fn replaced() -> ControlFault {
    ControlFault::Damaged("its journal has gone back, or is another one than before".into())
}

/// Facts as they were read.
#[derive(Default)]
struct Known {
    /// Made when there is something to read.
    reader: Option<SegmentReader>,
    through: Sequence,
    /// The hash of the block that ends there.
    hash: BlockHash,
    rows: Vec<ControlRow>,
    /// The places in `rows` of each aggregate's facts.
    of: BTreeMap<(&'static str, Box<str>), Vec<usize>>,
}

impl Known {
    /// Takes the facts of the block behind the last one taken.
    fn take(&mut self, block: &Block) -> Result<(), ControlFault> {
        if block.header().previous != self.hash {
            return Err(replaced());
        }
        for item in block.events() {
            let (sequence, event) = item.map_err(|error| ControlFault::Damaged(error.to_string()))?;
            let strange =
                |what: String| ControlFault::Damaged(format!("event {sequence} of the control journal {what}"));
            let recorded = match (event.body, event.cause) {
                (EventBody::ControlRecorded(recorded), Cause::Engine) if sequence > Sequence(1) => recorded,
                (EventBody::BookOpened(_), Cause::Engine) if sequence == Sequence(1) => continue,
                (other, _) => return Err(strange(format!("is {}, which does not belong there", other.type_name()))),
            };
            let ControlRecorded { aggregate, version, fact } = *recorded;
            let places = self.of.entry((fact.aggregate_type(), aggregate.clone())).or_default();
            if version != places.len() as u64 + 1 {
                return Err(strange(format!("is fact {version} of {aggregate}, not {}", places.len() + 1)));
            }
            places.push(self.rows.len());
            self.rows.push(ControlRow { position: ControlPosition(sequence.0), aggregate, version, fact });
        }
        (self.through, self.hash) = (block.header().last_sequence(), block.hash());
        Ok(())
    }

    fn follow(&mut self, reader: &mut SegmentReader) -> Result<(), ControlFault> {
        while let Some(block) = reader.block_at(self.through.next())? {
            self.take(&block)?;
        }
        Ok(())
    }

    /// Reads what is new.
    fn catch_up(&mut self, storage: &Arc<dyn Storage>) -> Result<(), ControlFault> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None if segments::exists(storage)? => {
                let mut reader = SegmentReader::open(storage)?;
                if reader.durable_sequence()? < self.through {
                    return Err(replaced());
                }
                reader
            }
            None if self.through == Sequence::ZERO => return Ok(()),
            None => return Err(replaced()),
        };
        self.follow(&mut reader)?;
        // An empty journal is made anew by its first writer, and a reader would hold on to the old one.
        self.reader = Some(reader).filter(|_| self.through > Sequence::ZERO);
        Ok(())
    }

    fn of(&self, aggregate_type: &'static str, aggregate: &str) -> impl Iterator<Item = &ControlRow> {
        let places = self.of.get(&(aggregate_type, Box::from(aggregate)));
        places.into_iter().flatten().filter_map(|place| self.rows.get(*place))
    }
}

/// What becomes of facts: stored, or `None` if others came first.
type Stored = Result<Option<()>, ControlFault>;

/// Facts of one command that wait to be stored.
struct Waiting {
    aggregate_type: &'static str,
    facts: Vec<ControlRecorded>,
    /// About how many bytes they take in a block, and never fewer than they do.
    bytes: usize,
    answer: oneshot::Sender<Stored>,
}

/// The journal, open to be written, and the lock that goes with it: given back in this order.
struct Writing {
    journal: SegmentJournal,
    _lock: Option<File>,
    since: Instant,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether somebody is storing, and will come back for what waits.
    is_served: bool,
}

struct Shared {
    storage: Arc<dyn Storage>,
    lock: Option<PathBuf>,
    /// How it is written; `None` if it is read only.
    options: Option<ControlOptions>,
    known: Mutex<Known>,
    queue: Mutex<Queue>,
}

/// The journal and what is known of it. Clones share it.
#[derive(Clone)]
pub(super) struct ControlJournal(Arc<Shared>);

impl ControlJournal {
    pub(super) fn open(data: &Path, options: Option<ControlOptions>) -> Result<Self, ControlFault> {
        let folder = folder(data);
        let lock = folder.join("LOCK");
        let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(folder));
        Self::of(storage, Some(lock), options)
    }

    pub(super) fn of(
        storage: Arc<dyn Storage>,
        lock: Option<PathBuf>,
        options: Option<ControlOptions>,
    ) -> Result<Self, ControlFault> {
        let shared = Shared { storage, lock, options, known: Mutex::default(), queue: Mutex::default() };
        let journal = Self(Arc::new(shared));
        journal.settle()?;
        journal.known().catch_up(&journal.0.storage)?;
        Ok(journal)
    }

    /// Opens a journal that is there as its writer once, scanning all of it: what a crash has left is repaired, and damage is
    /// found before anything is answered.
    fn settle(&self) -> Result<(), ControlFault> {
        let Some(options) = &self.0.options else { return Ok(()) };
        if segments::exists(&self.0.storage)? {
            let _lock = self.locked()?;
            segments::open(&self.0.storage, &segment_options(options), Sequence::ZERO)?;
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tail(&self, after: ControlPosition) -> Result<Vec<ControlRow>, ControlFault> {
        let mut known = self.known();
        known.catch_up(&self.0.storage)?;
        let from = known.rows.partition_point(|row| row.position <= after);
        Ok(known.rows.iter().skip(from).take(TAIL_MAX_ROWS).cloned().collect())
    }

    /// The lock of who stores, once it is free.
    fn locked(&self) -> Result<Option<File>, ControlFault> {
        let Some(path) = &self.0.lock else { return Ok(None) };
        let failed = |error: std::io::Error| ControlFault::Failed(format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(path).map_err(failed)?;
        let until = Instant::now() + LOCK_WITHIN;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(ControlFault::Busy(path.parent().unwrap_or(path).display().to_string()));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Opens the journal as its writer, and makes it where there is none. The lock is held.
    fn writer(&self, options: &ControlOptions) -> Result<SegmentJournal, ControlFault> {
        let (storage, segment_options) = (&self.0.storage, segment_options(options));
        if !segments::exists(storage)? {
            segments::create(storage, &segment_options)?;
        }
        let mut journal = segments::open(storage, &segment_options, ANYWHERE)?;
        if journal.head().sequence == Sequence::ZERO {
            let opened = BookOpened { book: options.book, nonce: PrincipalId(options.nonce) };
            append(&mut journal, [EventBody::BookOpened(opened)], (options.clock.wall)())?;
        }
        Ok(journal)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the facts of one command stored, in one block with whatever else waits.
    async fn store(&self, aggregate_type: &'static str, facts: Vec<ControlRecorded>) -> Stored {
        if self.0.options.is_none() {
            return Err(ControlFault::ReadOnly);
        }
        if facts.is_empty() {
            return Ok(Some(()));
        }
        let (answer, answered) = oneshot::channel();
        let bytes = facts.iter().map(size).sum();
        let serve = {
            let mut queue = self.queue();
            queue.waiting.push_back(Waiting { aggregate_type, facts, bytes, answer });
            !std::mem::replace(&mut queue.is_served, true)
        };
        if serve {
            let journal = self.clone();
            tokio::task::spawn_blocking(move || journal.serve());
        }
        let gone = |_| Err(ControlFault::Failed("whoever stored it is gone".into()));
        answered.await.unwrap_or_else(gone)
    }

    /// Stores what waits, group by group, until nothing does.
    fn serve(&self) {
        /// Whoever comes next serves, should this one panic.
        struct Served<'a>(&'a ControlJournal);
        impl Drop for Served<'_> {
            fn drop(&mut self) {
                self.0.queue().is_served = false;
            }
        }
        let served = Served(self);
        let mut writing: Option<Writing> = None;
        loop {
            // What comes a moment later shares the open journal; others get their turn now and then all the same.
            if writing.is_some() {
                self.linger();
            }
            if writing.as_ref().is_some_and(|writing| writing.since.elapsed() >= WRITING_MAX) {
                writing = None;
                std::thread::sleep(TURN);
            }
            let mut group = Vec::new();
            {
                let mut queue = self.queue();
                let mut bytes = 0;
                while let Some(next) = queue.waiting.front()
                    && (group.is_empty() || bytes + next.bytes <= GROUP_MAX_BYTES)
                {
                    bytes += next.bytes;
                    group.extend(queue.waiting.pop_front());
                }
                if group.is_empty() {
                    // The journal is closed and the lock given back before anybody else serves.
                    drop(writing);
                    queue.is_served = false;
                    std::mem::forget(served);
                    return;
                }
            }
            let stored = self.store_group(&mut writing, &group);
            if stored.is_err() {
                writing = None;
            }
            for (place, Waiting { answer, .. }) in group.into_iter().enumerate() {
                let own = match &stored {
                    Ok(stored) => Ok(stored.contains(&place).then_some(())),
                    Err(fault) => Err(fault.clone()),
                };
                // Whoever asked may be gone; what is stored stays.
                let _ = answer.send(own);
            }
        }
    }

    /// Waits a moment for something to store.
    fn linger(&self) {
        let until = Instant::now() + LINGER;
        while self.queue().waiting.is_empty() && Instant::now() < until {
            std::thread::sleep(LINGER / 20);
        }
    }

    /// Takes the lock, and opens the journal.
    fn open_writing(&self, options: &ControlOptions) -> Result<Writing, ControlFault> {
        if let Some(path) = self.0.lock.as_ref().and_then(|lock| lock.parent()) {
            DiskStorage::create(path).map_err(|error| ControlFault::Failed(format!("{}: {error}", path.display())))?;
        }
        let lock = self.locked()?;
        let journal = self.writer(options)?;
        let mut known = self.known();
        if journal.head().sequence < known.through {
            return Err(replaced());
        }
        known.follow(&mut journal.segment_reader())?;
        // It would only find out by and by what is known here already.
        known.reader = None;
        Ok(Writing { journal, _lock: lock, since: Instant::now() })
    }

    /// Stores the facts of several commands in one block, but for those that others came before: gives the places of those that
    /// are stored.
    fn store_group(&self, writing: &mut Option<Writing>, group: &[Waiting]) -> Result<BTreeSet<usize>, ControlFault> {
        let options = self.0.options.as_ref().ok_or(ControlFault::ReadOnly)?;
        let writing = match writing {
            Some(writing) => writing,
            none => none.insert(self.open_writing(options)?),
        };
        let (mut stored, mut bodies) = (BTreeSet::new(), Vec::new());
        {
            let known = self.known();
            let mut ahead: BTreeMap<(&'static str, &str), u64> = BTreeMap::new();
            for (place, Waiting { aggregate_type, facts, .. }) in group.iter().enumerate() {
                let Some(first) = facts.first() else { continue };
                let aggregate = &*first.aggregate;
                let ahead = ahead.entry((aggregate_type, aggregate)).or_default();
                if known.of(aggregate_type, aggregate).count() as u64 + *ahead + 1 == first.version {
                    *ahead += facts.len() as u64;
                    stored.insert(place);
                    bodies.extend(facts.iter().map(|fact| EventBody::ControlRecorded(Box::new(fact.clone()))));
                }
            }
        }
        if bodies.is_empty() {
            return Ok(stored);
        }
        // Readers go on meanwhile with what is known.
        let block = append(&mut writing.journal, bodies, (options.clock.wall)())?;
        let mut known = self.known();
        if known.through < block.header().first_sequence {
            known.take(&block)?;
        }
        // The next look opens it anew, and finds out if it is another journal than it was.
        known.reader = None;
        Ok(stored)
    }
}

/// At least as many bytes as a fact takes in a block.
fn size(recorded: &ControlRecorded) -> usize {
    recorded.aggregate.len() + recorded.fact.canonical().len() + 64
}

fn segment_options(options: &ControlOptions) -> SegmentOptions {
    SegmentOptions { segment_bytes: options.segment_bytes, background: false, ..SegmentOptions::new(options.book) }
}

/// Appends events as one block, which is durable then.
fn append(
    journal: &mut SegmentJournal,
    bodies: impl IntoIterator<Item = EventBody>,
    now: Timestamp,
) -> Result<Block, ControlFault> {
    let mut builder = BlockBuilder::new();
    for body in bodies {
        builder.push(&Event::engine(body));
    }
    if builder.len() > BLOCK_MAX_BYTES {
        return Err(ControlFault::Failed(format!("{} facts at once do not fit a block", builder.count())));
    }
    let head = journal.head();
    let block = builder.seal(BlockPlace {
        book: journal.book(),
        first_sequence: head.sequence.next(),
        recorded_at: now.max(head.recorded_at),
        epoch: journal.epoch(),
        previous: head.hash,
    });
    journal.secure_space(block.bytes().len())?;
    journal.append(std::slice::from_ref(&block))?;
    Ok(block)
}

fn recorded(event: &SerializedEvent) -> Result<ControlRecorded, PersistenceError> {
    let fact: ControlFact = serde_json::from_value(event.payload.clone())?;
    Ok(ControlRecorded { aggregate: event.aggregate_id.as_str().into(), version: event.sequence as u64, fact })
}

fn serialized(aggregate_type: &str, row: &ControlRow) -> Result<SerializedEvent, PersistenceError> {
    let (event_type, event_version) = split(row.fact.type_name());
    Ok(SerializedEvent::new(
        row.aggregate.to_string(),
        usize::try_from(row.version).unwrap_or(usize::MAX),
        aggregate_type.to_owned(),
        event_type.to_owned(),
        event_version.to_owned(),
        serde_json::to_value(&row.fact)?,
        json!({}),
    ))
}

impl ControlJournal {
    /// The facts of an aggregate behind a version, as cqrs-es has them.
    async fn events<A: Aggregate>(&self, id: &str, after: usize) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let (journal, id) = (self.clone(), id.to_owned());
        blocking(move || {
            let mut known = journal.known();
            known.catch_up(&journal.0.storage).map_err(carried)?;
            known.of(A::TYPE, &id).skip(after).map(|row| serialized(A::TYPE, row)).collect()
        })
        .await
    }
}

/// Does what waits for the disk away from the tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PersistenceError> + Send + 'static,
) -> Result<T, PersistenceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(carried(ControlFault::Failed(error.to_string()))))
}

impl PersistedEventRepository for ControlJournal {
    async fn get_events<A: Aggregate>(&self, id: &str) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.events::<A>(id, 0).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        id: &str,
        last: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.events::<A>(id, last).await
    }

    /// There are none.
    async fn get_snapshot<A: Aggregate>(&self, _: &str) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        if snapshot.is_some() {
            return Err(carried(ControlFault::Failed("snapshots are not stored".into())));
        }
        let facts = events.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
        match self.store(A::TYPE, facts).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(PersistenceError::OptimisticLockError),
            Err(fault) => Err(carried(fault)),
        }
    }

    async fn stream_events<A: Aggregate>(&self, id: &str) -> Result<ReplayStream, PersistenceError> {
        stream(self.events::<A>(id, 0).await?).await
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        let journal = self.clone();
        let events = blocking(move || {
            let mut known = journal.known();
            known.catch_up(&journal.0.storage).map_err(carried)?;
            let rows = known.rows.iter().filter(|row| row.fact.aggregate_type() == A::TYPE);
            rows.map(|row| serialized(A::TYPE, row)).collect::<Result<Vec<_>, _>>()
        });
        stream(events.await?).await
    }
}

async fn stream(events: Vec<SerializedEvent>) -> Result<ReplayStream, PersistenceError> {
    let (mut feed, stream) = ReplayStream::new(events.len().max(1));
    for event in events {
        feed.push(Ok(event)).await?;
    }
    Ok(stream)
}
