//! The control plane's facts, through cqrs-es: in PostgreSQL, or embedded in a journal of segments (`data/control/`).
//!
//! ```text
//! execute(aggregate, command) ─▶ cqrs-es: load its facts, decide, persist ─▶ control_events    PostgreSQL (postgres-es)
//!                                  ▲ again after a conflict                 └▶ data/control/    a second segment journal
//! tail(after) ◀── all facts, in the order of their commits
//! ```
//!
//! *Whole commands.* cqrs-es decides and stores within one future, and a future that is dropped (a client that hangs up, a
//! time limit) ends wherever it waits. So each command runs in a task of its own, on a runtime of the store's own: it is
//! carried out whole or not at all, whoever still waits for it.
//!
//! *Conflicts.* Two commands on one aggregate may load the same facts; the second to store is refused, and is decided again on
//! what is there then, a bounded number of times.
//!
//! *Only plain events.* cqrs-es' snapshot and aggregate stores apply each event twice when an aggregate keeps its state up to
//! date itself, as ours do; what can't be stored as a snapshot can't be stored so by mistake (see `es.rs`).
//!
//! `es.rs` deciders as cqrs-es wants them, once for all · `embedded.rs` the journal of segments · `postgres.rs` the table.

mod embedded;
mod es;
mod postgres;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore, PersistenceError};
use cqrs_es::{AggregateError, CqrsFramework, EventEnvelope, Query};
use event_schemas::{BookId, ControlFact};
use ledger_core::control::Decider;
use ledger_core::ports::{AppendError, Clock, JournalFault};
use tokio::runtime::Runtime;

use crate::postgres::{PostgresFault, PostgresUrl};
use crate::segments::{OpenFault, Storage};

pub use embedded::{exists, folder};
pub use es::{Es, Fact};

use embedded::ControlJournal;
use postgres::ControlTable;

/// How often a command is decided again after conflicts.
const TRIES_MAX: u32 = 64;

/// The most facts that one look at the tail gives.
pub const TAIL_MAX_ROWS: usize = 4_096;

/// Where a fact stands among all facts of the control plane: later ones have higher positions, which may have gaps. Zero stands
/// for "before the first".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControlPosition(pub u64);

/// A fact with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRow {
    /// Its place among all.
    pub position: ControlPosition,
    /// The aggregate that it is about.
    pub aggregate: Box<str>,
    /// Its number among the facts of its aggregate, from 1.
    pub version: u64,
    /// What happened.
    pub fact: ControlFact,
}

/// Why the control plane can't be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ControlFault {
    /// The journal refuses to be opened.
    #[error("the control journal: {0}")]
    Journal(#[from] OpenFault),
    /// The journal can't be read.
    #[error("the control journal: {0}")]
    Reading(#[from] JournalFault),
    /// The journal can't be written.
    #[error("the control journal: {0}")]
    Append(#[from] AppendError),
    /// Facts are not what can have been written.
    #[error("the control plane is damaged: {0}")]
    Damaged(String),
    /// Another process keeps the journal for too long.
    #[error("another process keeps the control journal {0} locked: wait until it is done, or end it")]
    Busy(String),
    /// It was opened to be read.
    #[error("the control plane was opened to be read, not to be changed")]
    ReadOnly,
    /// PostgreSQL can't be asked.
    #[error("{0}")]
    Postgres(Arc<PostgresFault>),
    /// Anything else that failed, such as a folder that can't be made.
    #[error("the control plane: {0}")]
    Failed(String),
}

impl From<PostgresFault> for ControlFault {
    fn from(fault: PostgresFault) -> Self {
        Self::Postgres(Arc::new(fault))
    }
}

impl ControlFault {
    /// Whether what is stored is not what was written: trying again will not help.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::Reading(JournalFault::Damaged(_)) => true,
            Self::Journal(fault) => !matches!(fault, OpenFault::Io(_) | OpenFault::NoSpace(_)),
            Self::Reading(_)
            | Self::Append(_)
            | Self::Busy(_)
            | Self::ReadOnly
            | Self::Postgres(_)
            | Self::Failed(_) => false,
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteFault<R: std::error::Error> {
    /// The rules say no.
    #[error(transparent)]
    Rejected(R),
    /// Others changed the same aggregate again and again.
    #[error("others are changing the same thing: try again")]
    Conflict,
    /// The facts can't be read or stored. Whether this command's were stored is not known: ask again, or send it again.
    #[error(transparent)]
    Store(#[from] ControlFault),
}

/// How the facts are kept in a data folder.
#[derive(Clone)]
pub struct ControlOptions {
    /// The book beside whose journal they are.
    pub book: BookId,
    /// 128 random bits for the opening of a fresh journal.
    pub nonce: u128,
    /// The length of a segment in bytes, of a journal that is created.
    pub segment_bytes: u64,
    /// Time.
    pub clock: Clock,
}

impl ControlOptions {
    /// Segments of 1 MiB, the least that holds any block.
    pub const fn new(book: BookId, nonce: u128, clock: Clock) -> Self {
        Self { book, nonce, segment_bytes: 1024 * 1024, clock }
    }
}

impl std::fmt::Debug for ControlOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlOptions").field("book", &self.book).finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Kept {
    Journal(ControlJournal),
    Table(ControlTable),
}

struct Inner {
    kept: Kept,
    runtime: Option<Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Commands under way go on on their own threads; waiting for them is not allowed everywhere.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The control plane's facts. Clones share it.
#[derive(Clone)]
pub struct ControlStore(Arc<Inner>);

impl std::fmt::Debug for ControlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = match self.0.kept {
            Kept::Journal(_) => "journal",
            Kept::Table(_) => "table",
        };
        f.debug_tuple("ControlStore").field(&place).finish()
    }
}

impl ControlStore {
    /// Those of a data folder. The journal is made with the first fact; one that is there is read as a whole, and damage is
    /// refused. Several processes may have it open: each takes a lock only while it stores.
    pub fn embedded(data: &Path, options: &ControlOptions) -> Result<Self, ControlFault> {
        Self::of(Kept::Journal(ControlJournal::open(data, Some(options.clone()))?))
    }

    /// Those of a data folder or of a backup, to be read only. Nothing is written, and no lock is taken.
    pub fn read_only(data: &Path) -> Result<Self, ControlFault> {
        Self::of(Kept::Journal(ControlJournal::open(data, None)?))
    }

    /// The same in a folder of any kind of disk, for tests. There is no lock: the caller sees to it that one store is open.
    pub fn in_storage(storage: &Arc<dyn Storage>, options: &ControlOptions) -> Result<Self, ControlFault> {
        Self::of(Kept::Journal(ControlJournal::of(Arc::clone(storage), None, Some(options.clone()))?))
    }

    /// Those in a database that `migrate` has made the tables of.
    pub fn postgres(url: &PostgresUrl, allow_unsafe_server: bool) -> Result<Self, ControlFault> {
        crate::postgres::check(url, allow_unsafe_server)?;
        let runtime = runtime()?;
        let kept = Kept::Table(ControlTable::new(url, runtime.handle()));
        Ok(Self(Arc::new(Inner { kept, runtime: Some(runtime) })))
    }

    fn of(kept: Kept) -> Result<Self, ControlFault> {
        Ok(Self(Arc::new(Inner { kept, runtime: Some(runtime()?) })))
    }

    fn runtime(&self) -> &Runtime {
        self.0.runtime.as_ref().unwrap_or_else(|| unreachable!("it is taken when the last clone is dropped"))
    }

    /// Carries a command out on one aggregate, whole or not at all: also if this future is dropped. Its facts are durable when
    /// it returns.
    pub async fn execute<D: Decider>(
        &self,
        aggregate: &str,
        command: D::Command,
    ) -> Result<(), ExecuteFault<D::Rejection>> {
        self.execute_told::<D>(aggregate, command).await.map(|_| ())
    }

    /// The same, and gives what came of it: the events with their numbers among those of the aggregate.
    pub async fn execute_told<D: Decider>(
        &self,
        aggregate: &str,
        command: D::Command,
    ) -> Result<Vec<(u64, D::Event)>, ExecuteFault<D::Rejection>> {
        let (kept, aggregate) = (self.0.kept.clone(), aggregate.to_owned());
        let task = self.runtime().spawn(async move {
            match kept {
                Kept::Journal(journal) => run::<D, _>(|| journal.clone(), &aggregate, &command).await,
                Kept::Table(table) => run::<D, _>(|| table.repository(), &aggregate, &command).await,
            }
        });
        task.await.unwrap_or_else(|error| Err(ControlFault::Failed(error.to_string()).into()))
    }

    /// The same for who may wait. Not to be called within a task.
    pub fn execute_blocking<D: Decider>(
        &self,
        aggregate: &str,
        command: D::Command,
    ) -> Result<(), ExecuteFault<D::Rejection>> {
        self.runtime().block_on(self.execute::<D>(aggregate, command))
    }

    /// Facts behind a position, in order, at most [`TAIL_MAX_ROWS`]. None is ever stored before one that was given here. It
    /// waits for disk or server: not to be called within a task.
    pub fn tail(&self, after: ControlPosition) -> Result<Vec<ControlRow>, ControlFault> {
        match &self.0.kept {
            Kept::Journal(journal) => journal.tail(after),
            Kept::Table(table) => self.runtime().block_on(table.tail(after)),
        }
    }
}

fn runtime() -> Result<Runtime, ControlFault> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| ControlFault::Failed(error.to_string()))
}

/// What cqrs-es tells of the events that it has stored.
struct Told<D: Decider>(Arc<Mutex<Numbered<D>>>);

/// Events with their numbers among those of their aggregate.
type Numbered<D> = Vec<(u64, <D as Decider>::Event)>;

impl<D: Decider> Default for Told<D> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<D: Decider> Clone for Told<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[async_trait::async_trait]
impl<D: Decider> Query<Es<D>> for Told<D> {
    async fn dispatch(&self, _: &str, events: &[EventEnvelope<Es<D>>]) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(events.iter().map(|event| (event.sequence as u64, event.payload.0.clone())));
    }
}

/// Decides and stores until there is no conflict.
async fn run<D: Decider, R: PersistedEventRepository>(
    repository: impl Fn() -> R,
    aggregate: &str,
    command: &D::Command,
) -> Result<Vec<(u64, D::Event)>, ExecuteFault<D::Rejection>> {
    for tried in 1..=TRIES_MAX {
        let store = PersistedEventStore::<R, Es<D>>::new_event_store(repository());
        let told = Told::<D>::default();
        let executed =
            CqrsFramework::new(store, vec![Box::new(told.clone())], ()).execute(aggregate, command.clone()).await;
        match executed {
            Ok(()) => return Ok(std::mem::take(&mut *told.0.lock().unwrap_or_else(PoisonError::into_inner))),
            // Each conflict means that somebody else came through, so waiting is for fairness only.
            Err(AggregateError::AggregateConflict) => {
                tokio::time::sleep(Duration::from_micros(u64::from(tried.min(16)) * 250)).await;
            }
            Err(AggregateError::UserError(rejection)) => return Err(ExecuteFault::Rejected(rejection)),
            Err(
                AggregateError::DatabaseConnectionError(error)
                | AggregateError::DeserializationError(error)
                | AggregateError::UnexpectedError(error),
            ) => {
                let fault = match error.downcast::<ControlFault>() {
                    Ok(fault) => *fault,
                    Err(error) => ControlFault::Failed(error.to_string()),
                };
                return Err(fault.into());
            }
        }
    }
    Err(ExecuteFault::Conflict)
}

/// A fault as cqrs-es carries it; [`run`] takes it out again.
fn carried(fault: ControlFault) -> PersistenceError {
    PersistenceError::UnknownError(Box::new(fault))
}
