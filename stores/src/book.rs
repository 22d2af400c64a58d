//! A book within a program of one's own: engine, journal and read models in one folder, without a server.
//! `examples/embed.rs` shows all of it.
//!
//! Shape: two threads, the engine's writer and the caller's. Read models are brought level when they are asked ([`Book::query`]),
//! by the caller's thread; `ledgerd` has a thread that follows the journal instead. Deliberately absent: keys, policies, HTTP.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use event_schemas::{Command, Sequence, Timestamp};
use ledger_core::engine::{Engine, EngineOptions, EngineParts, StartError};
use ledger_core::ports::{Answer, Clock, CommandSink, EngineFault, Reply, SubmitError};
use projections::ports::{ReadRows, Rows, RowsFault};
use projections::{Runner, RunnerFault};

use crate::embedded::{self, Embedded, EmbeddedFault, EmbeddedOptions};
use crate::rocks::RocksStore;
use crate::segments::SegmentReader;

/// Why a book was not opened, or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BookFault {
    /// Its folder was not created or opened.
    #[error(transparent)]
    Folder(#[from] EmbeddedFault),
    /// The engine did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Commands were not taken. Nothing of them was recorded.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Commands got no answers. They may have happened: submitting them again with the same ids finds out.
    #[error(transparent)]
    Engine(#[from] EngineFault),
    /// The read models stopped at an event. Commands go on.
    #[error(transparent)]
    ReadModels(#[from] RunnerFault),
    /// A read model can't be read.
    #[error(transparent)]
    Rows(#[from] RowsFault),
}

/// An open book. Dropping it answers what waits, and closes the folder.
pub struct Book {
    // Dropped first: the writer ends before anything it stands on.
    engine: Engine,
    read_models: Mutex<Runner<SegmentReader, RocksStore>>,
    notices: Vec<String>,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Book {
    /// Opens the book in a folder, and makes an empty one where there is none.
    pub fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, BookFault> {
        if !embedded::exists(folder)? {
            embedded::create(folder, options)?;
        }
        let Embedded { journal, ids, rocks, notices, .. } = embedded::open(folder, options)?;
        let feed = journal.segment_reader();
        let engine = Engine::start(EngineParts {
            journal: Box::new(journal),
            ids: Box::new(ids),
            checkpoints: Arc::new(rocks.clone()),
            clock: system_clock(),
            options: EngineOptions { book: options.book, nonce: nonce(), ..EngineOptions::default() },
        })?;
        let read_models = Mutex::new(Runner::new(feed, rocks, projections::all()));
        Ok(Self { engine, read_models, notices })
    }

    /// What whoever runs it should know of this opening, in sentences.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The engine, for those who would rather not wait, and for its figures.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Gives commands, 8,190 at most, and waits until their verdicts are durable. Each is decided on its own, in this order.
    pub fn submit(&self, commands: Vec<Command>) -> Result<Vec<Answer>, BookFault> {
        waited(|reply| self.engine.try_submit(commands, reply))
    }

    /// Gives commands of which either all take place or none, and waits.
    pub fn submit_linked(&self, commands: Vec<Command>) -> Result<Vec<Answer>, BookFault> {
        waited(|reply| self.engine.try_submit_linked(commands, reply))
    }

    /// Brings the read models level with all that was answered so far, and reads from one moment of them. Of its queries only one
    /// runs at a time.
    pub fn query<T>(&self, read: impl Fn(&dyn ReadRows) -> Result<T, RowsFault>) -> Result<T, BookFault> {
        let mut runner = self.read_models.lock().unwrap_or_else(PoisonError::into_inner);
        runner.run_to(self.durable(), &mut |_| ())?;
        let mut found = None;
        runner.rows().snapshot(&mut |rows| found = Some(read(rows)))?;
        let found = found.unwrap_or_else(|| Err(RowsFault::Io("the store made no snapshot".into())));
        Ok(found?)
    }

    /// The sequence of the last event that is durable.
    pub fn durable(&self) -> Sequence {
        self.engine.status().durable
    }
}

fn waited(submit: impl FnOnce(Reply) -> Result<(), SubmitError>) -> Result<Vec<Answer>, BookFault> {
    let (sender, answers) = mpsc::sync_channel(1);
    submit(Box::new(move |given| drop(sender.send(given))))?;
    // Every reply is called once, even by a writer that panics.
    Ok(answers.recv().unwrap_or(Err(EngineFault::Stopped))?)
}

/// The clocks of this machine.
pub fn system_clock() -> Clock {
    let start = Instant::now();
    Clock {
        wall: Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
        }),
        monotonic_us: Arc::new(move || i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX)),
    }
}

/// Random bits for a book that is opened for the first time: they tell it from others, and keep nothing secret.
fn nonce() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(Instant::now()));
    half() << 64 | half()
}
