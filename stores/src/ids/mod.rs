//! The id index: command id → sequence of its verdict, for as long as the journal lives.
//!
//! Recent ids are in a map. When it holds [`RunIndexOptions::freeze_ids`] it is frozen, and a helper thread makes it a
//! sorted *run*, a file that never changes (see `run.rs` for its bytes). A lookup asks the map, the frozen maps that are
//! not files yet, then the runs from the newest: by their range of ids, which settles it for time-ordered ids, then by a
//! filter, then with one read of 4 KiB.
//!
//! *What is durable*: the runs. After a start, [`IdIndex::indexed_sequence`] is the end of the runs that follow one another
//! from the first sequence without a gap; the engine records the rest again from the journal. A run that is damaged or
//! missing, one of another book, or one that was made from another journal (it holds the hash of the block that ends it) is
//! deleted with all behind it. A bucket found damaged by a lookup is a fault: the run is moved aside, and the next start
//! rebuilds from there.
//!
//! *Memory*: 2.15 MB per million ids in runs; a map of 262,144 ids takes 17 MB, and there are at most six: the recent one,
//! four that wait for the helper thread, one kept for use again. While the disk refuses runs (it is full, say), up to sixteen wait;
//! then recording fails.
//!
//! *Deliberately absent*: runs are not merged; forty of them hold ten million ids.

mod filter;
mod helper;
mod recent;
mod run;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event_schemas::sabotage::{Switch, on};
use event_schemas::{BlockHash, BookId, CommandId, Sequence};
use ledger_core::ports::{IdIndex, IdIndexFault};

use filter::Probe;
use helper::{Helper, Job, Report};
use recent::Recent;
use run::{BUCKET_BYTES, Run};

/// The hash of the block of the journal that holds a sequence, if it is durable.
pub type BlockHashAt = Arc<dyn Fn(Sequence) -> Option<BlockHash> + Send + Sync>;

/// Maps that may wait for the helper thread before recording waits for it.
const WAITING_MAX: usize = 4;
/// Maps that may wait while the helper thread fails to write them.
const FAILING_MAX: usize = 16;

/// How an index is opened.
#[derive(Clone)]
pub struct RunIndexOptions {
    /// The book.
    pub book: BookId,
    /// How many ids make a run.
    pub freeze_ids: usize,
    /// Seeds the hash of maps and filters. Runs keep the seed they were made with, which then goes before this one.
    pub seed: u64,
    /// Ties runs to the journal they were made from; without it, runs of another journal of the same book go unseen.
    pub hash_at: Option<BlockHashAt>,
}

impl RunIndexOptions {
    /// For a book, with runs of 262,144 ids.
    pub const fn new(book: BookId, seed: u64) -> Self {
        Self { book, freeze_ids: 262_144, seed, hash_at: None }
    }
}

impl std::fmt::Debug for RunIndexOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunIndexOptions")
            .field("book", &self.book)
            .field("freeze_ids", &self.freeze_ids)
            .field("tied_to_journal", &self.hash_at.is_some())
            .finish_non_exhaustive()
    }
}

/// The id index in a folder. One at a time may have it open: whoever opens it holds the lock of the data folder.
pub struct RunIndex {
    folder: PathBuf,
    options: RunIndexOptions,
    notices: Vec<String>,
    indexed: Sequence,
    /// The largest id of all: above it lies every new time-ordered id.
    ceiling: u128,
    recent: Recent,
    /// Frozen, oldest first; the helper thread makes runs of them in this order.
    waiting: Vec<Job>,
    spare: Option<Recent>,
    /// Oldest first.
    runs: Vec<Run>,
    runs_ceiling: u128,
    helper: Helper,
    failing: Option<String>,
    /// After damage nothing is answered until [`IdIndex::clear`].
    broken: Option<IdIndexFault>,
    buffer: Box<[u8; BUCKET_BYTES]>,
    /// Dropped last, when the helper thread has ended.
    lock: Option<Box<dyn Send + Sync>>,
}

impl std::fmt::Debug for RunIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunIndex")
            .field("folder", &self.folder)
            .field("indexed", &self.indexed)
            .field("runs", &self.runs.len())
            .field("recent", &self.recent.len())
            .finish_non_exhaustive()
    }
}

fn fault(folder: &Path, error: impl std::fmt::Display) -> IdIndexFault {
    IdIndexFault(format!("{}: {error}", folder.display()))
}

impl RunIndex {
    /// Opens the index of a folder, which is made if it is missing. What can't be used is deleted, and
    /// [`RunIndex::notices`] says so.
    pub fn open(folder: &Path, options: RunIndexOptions) -> Result<Self, IdIndexFault> {
        let mut options = options;
        options.freeze_ids = options.freeze_ids.max(1);
        fs::create_dir_all(folder).map_err(|error| fault(folder, error))?;
        let mut notices = Vec::new();
        let runs = open_runs(folder, &options, &mut notices).map_err(|error| fault(folder, error))?;
        if let Some(run) = runs.first() {
            options.seed = run.seed;
        }
        let indexed = runs.last().map_or(Sequence::ZERO, |run| run.coverage.last);
        let runs_ceiling = runs.iter().map(|run| run.max).max().unwrap_or(0);
        let helper = Helper::start(folder.to_owned(), options.book, options.seed, options.hash_at.clone())
            .map_err(|error| fault(folder, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            notices,
            indexed,
            ceiling: runs_ceiling,
            recent: Recent::new(capacity(&options), options.seed, indexed),
            waiting: Vec::new(),
            spare: None,
            runs,
            runs_ceiling,
            helper,
            failing: None,
            broken: None,
            buffer: Box::new([0; BUCKET_BYTES]),
            lock: None,
            options,
        })
    }

    /// What the operator should know of the opening: runs that were deleted, and why.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Keeps something, such as the lock of the data folder, for as long as the index is open.
    pub fn hold(&mut self, lock: impl Send + Sync + 'static) {
        self.lock = Some(Box::new(lock));
    }

    /// How many runs there are.
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Takes over the runs that the helper thread has finished.
    fn adopt(&mut self) {
        while let Ok(report) = self.helper.reports.try_recv() {
            self.take(report);
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Written(run) => {
                self.failing = None;
                let job = self.waiting.remove(0);
                assert_eq!(job.last, run.coverage.last, "runs are written in the order of their maps");
                self.runs_ceiling = self.runs_ceiling.max(run.max);
                self.runs.push(*run);
                self.spare = Arc::into_inner(job.ids);
            }
            Report::Failing(reason) => self.failing = Some(reason),
        }
    }

    /// Freezes the recent ids and hands them to the helper thread, waiting for it if it is too far behind.
    fn freeze(&mut self) -> Result<(), IdIndexFault> {
        loop {
            self.adopt();
            let limit = if self.failing.is_some() { FAILING_MAX } else { WAITING_MAX };
            if self.waiting.len() < limit {
                break;
            }
            if let Some(reason) = &self.failing {
                return Err(fault(&self.folder, format!("runs can't be written: {reason}")));
            }
            match self.helper.reports.recv_timeout(Duration::from_secs(1)) {
                Ok(report) => self.take(report),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Err(self.helper_gone()),
            }
        }
        let empty = match self.spare.take() {
            Some(spare) => spare.reuse(self.options.seed, self.indexed),
            None => Recent::new(capacity(&self.options), self.options.seed, self.indexed),
        };
        let ids = Arc::new(std::mem::replace(&mut self.recent, empty));
        let job = Job { ids, last: self.indexed };
        self.waiting.push(job.clone());
        if self.helper.submit(job) { Ok(()) } else { Err(self.helper_gone()) }
    }

    fn helper_gone(&self) -> IdIndexFault {
        fault(&self.folder, "the thread that writes runs has ended")
    }

    /// Looks into the runs, newest first.
    fn find_in_runs(&mut self, id: u128, probe: &Probe) -> Result<Option<Sequence>, IdIndexFault> {
        for run in self.runs.iter().rev() {
            if !run.may_hold(id, probe) {
                continue;
            }
            match run.get(id, &mut self.buffer) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    // Out of the way, so that the next start does without it and the engine records those ids again.
                    let aside = run.path.with_extension("damaged");
                    let moved = fs::rename(&run.path, &aside);
                    tracing::error!(run = %run.path.display(), %error, moved = moved.is_ok(), "a run of the id index is damaged");
                    let broken = fault(&run.path, format!("{error}; the next start rebuilds it"));
                    self.broken = Some(broken.clone());
                    return Err(broken);
                }
            }
        }
        Ok(None)
    }
}

/// Room for a map of ids, and for the rest of the batch that fills it.
fn capacity(options: &RunIndexOptions) -> usize {
    options.freeze_ids.saturating_add(event_schemas::bounds::GROUP_MAX_COMMANDS.min(options.freeze_ids))
}

/// Opens the runs that follow one another from the first sequence, and deletes everything else.
fn open_runs(folder: &Path, options: &RunIndexOptions, notices: &mut Vec<String>) -> io::Result<Vec<Run>> {
    // Writes that did not finish, and runs that a lookup found damaged.
    delete(folder, &list_files(folder, &["tmp", "damaged"])?)?;
    let paths = list_files(folder, &["run"])?;
    let mut runs: Vec<Run> = Vec::new();
    let mut refused = None;
    for path in &paths {
        match Run::open(path) {
            Ok(run) => match unfit(&run, runs.last(), options) {
                None => runs.push(run),
                Some(reason) => refused = Some((path, reason.to_owned())),
            },
            Err(error) => refused = Some((path, error.to_string())),
        }
        if let Some((path, reason)) = &refused {
            notices
                .push(format!("id index: {} is not used ({reason}); it is rebuilt from the journal", path.display()));
            break;
        }
    }
    // The hash of a block covers all before it, so the newest run that agrees with the journal vouches for the older ones.
    if let Some(hash_at) = &options.hash_at {
        while let Some(run) = runs.pop_if(|run| hash_at(run.coverage.last) != Some(run.coverage.chain)) {
            notices.push(format!(
                "id index: {} was not made from this journal; it is rebuilt from the journal",
                run.path.display()
            ));
        }
    }
    delete(folder, paths.get(runs.len()..).unwrap_or_default())?;
    Ok(runs)
}

/// Why a run can't follow the ones before it.
fn unfit(run: &Run, before: Option<&Run>, options: &RunIndexOptions) -> Option<&'static str> {
    let expected = before.map_or(Sequence(1), |before| before.coverage.last.next());
    let coverage = &run.coverage;
    if coverage.book != options.book {
        Some("it belongs to another book")
    } else if coverage.first != expected || run.path.file_name() != Some(run::file_name(expected).as_ref()) {
        Some("it does not follow the run before it")
    } else if coverage.last < coverage.first || run.max < run.min {
        Some("its range is empty")
    } else if before.is_some_and(|before| before.seed != run.seed) {
        Some("its hash has another seed")
    } else {
        None
    }
}

/// The files with one of these extensions, in the order of their names.
fn list_files(folder: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().and_then(|extension| extension.to_str()).is_some_and(|own| extensions.contains(&own)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Deletes files, the last one first, so that those left always follow one another.
fn delete(folder: &Path, paths: &[PathBuf]) -> io::Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    for path in paths.iter().rev() {
        fs::remove_file(path)?;
    }
    File::open(folder)?.sync_all()
}

impl IdIndex for RunIndex {
    fn indexed_sequence(&self) -> Sequence {
        self.indexed
    }

    fn lookup(&mut self, id: CommandId) -> Result<Option<Sequence>, IdIndexFault> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let id = id.0;
        if id > self.ceiling || on(Switch::IdForgotten) {
            return Ok(None);
        }
        let probe = Probe::new(id, self.options.seed);
        if let Some(sequence) = self.recent.get(id, probe.place) {
            return Ok(Some(sequence));
        }
        for job in self.waiting.iter().rev() {
            if let Some(sequence) = job.ids.get(id, probe.place) {
                return Ok(Some(sequence));
            }
        }
        if id > self.runs_ceiling {
            return Ok(None);
        }
        self.find_in_runs(id, &probe)
    }

    fn record(&mut self, verdicts: &[(CommandId, Sequence)], through: Sequence) -> Result<(), IdIndexFault> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        self.adopt();
        if through <= self.indexed {
            return Ok(());
        }
        for &(id, sequence) in verdicts {
            assert!(sequence <= through, "a verdict at {sequence}, recorded through {through}");
            if sequence > self.indexed {
                self.recent.insert(id.0, sequence);
            }
        }
        self.ceiling = self.ceiling.max(self.recent.max());
        self.indexed = through;
        if self.recent.len() >= self.options.freeze_ids { self.freeze() } else { Ok(()) }
    }

    fn clear(&mut self) -> Result<(), IdIndexFault> {
        self.helper.abandon();
        self.runs.clear();
        self.waiting.clear();
        let deleted =
            list_files(&self.folder, &["run", "tmp", "damaged"]).and_then(|files| delete(&self.folder, &files));
        deleted.map_err(|error| fault(&self.folder, error))?;
        let mut again = Self::open(&self.folder, self.options.clone())?;
        again.lock = self.lock.take();
        *self = again;
        Ok(())
    }
}
