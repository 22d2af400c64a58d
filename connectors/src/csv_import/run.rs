//! The import itself: reader, workers, report, progress.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::client::{Client, Opened, Outcome, StopReason};
use super::plan::{Planner, Request};
use super::read::{ReadFault, Row, RowReader};
use super::refused::{RefusedRow, Report};
use super::rules::{Rules, RulesError};

/// Rows that wait for one worker.
const WORKER_QUEUE_ROWS: usize = 64;
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// The most notices kept; what comes behind is more of the same.
const NOTICES_MAX: usize = 20;

/// How to import.
#[derive(Clone)]
pub struct ImportOptions {
    /// The server, `http://host:port`.
    pub url: String,
    /// The API key, with the scope `write`.
    pub key: String,
    /// Connections kept, and rows under way at once; 1 to 256.
    pub connections: usize,
    /// Stop at the first refused row.
    pub strict: bool,
    /// Where the report of refused rows goes.
    pub refused: Option<PathBuf>,
    /// How long one row is tried again while the server is away or busy.
    pub retry_for: Duration,
}

impl std::fmt::Debug for ImportOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions").field("url", &self.url).field("strict", &self.strict).finish_non_exhaustive()
    }
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read of the file, as it lies on disk.
    pub bytes_read: u64,
    /// Its size in bytes.
    pub bytes_total: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows answered: posted, already there or refused.
    pub answered: u64,
    /// Rows refused.
    pub refused: u64,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows read, refused and skipped ones included.
    pub rows: u64,
    /// Rows that this run brought into the book.
    pub posted: u64,
    /// Rows that an earlier run had brought.
    pub already_there: u64,
    /// Rows refused, by the rules or by the book.
    pub refused: u64,
    /// Rows that the rules leave out.
    pub skipped: u64,
    /// Accounts opened by this run.
    pub accounts_opened: u64,
    /// The highest sequence that answered: reads that ask for it see the whole import.
    pub last_sequence: u64,
    /// Things worth knowing, such as accounts that exist on other terms.
    pub notices: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why there is no whole import.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The rules do not fit the file.
    #[error("the rules do not fit the file")]
    Rules(#[from] RulesError),
    /// The file can't be read.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: String,
        /// What happened.
        error: std::io::Error,
    },
    /// The report of refused rows can't be written.
    #[error("the report of refused rows can't be written: {0}")]
    Report(std::io::Error),
    /// A row was refused, and the import is strict.
    #[error("line {line} (key {key:?}) was refused: {detail} ({code})")]
    Strict {
        /// The line, from 1.
        line: u64,
        /// The row's key.
        key: String,
        /// The stable code.
        code: String,
        /// Why.
        detail: String,
    },
    /// The server ended it.
    #[error("{reason}")]
    Stopped {
        /// Why.
        reason: StopReason,
        /// What was done until then.
        summary: Box<Summary>,
    },
}

#[derive(Default)]
struct Shared {
    bytes_read: Arc<AtomicU64>,
    rows: AtomicU64,
    posted: AtomicU64,
    already_there: AtomicU64,
    refused: AtomicU64,
    skipped: AtomicU64,
    accounts_opened: AtomicU64,
    last_sequence: AtomicU64,
    stop: AtomicBool,
    stopped: Mutex<Option<StopReason>>,
    notices: Mutex<Vec<String>>,
}

impl Shared {
    fn stop_for(&self, reason: StopReason) {
        if reason != StopReason::Told {
            self.stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    fn notice(&self, text: String) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() < NOTICES_MAX {
            notices.push(text);
        }
    }

    fn progress(&self, bytes_total: u64) -> Progress {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            bytes_read: get(&self.bytes_read),
            bytes_total,
            rows: get(&self.rows),
            answered: get(&self.posted) + get(&self.already_there) + get(&self.refused),
            refused: get(&self.refused),
        }
    }

    fn summary(&self, started: Instant) -> Summary {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            rows: get(&self.rows),
            posted: get(&self.posted),
            already_there: get(&self.already_there),
            refused: get(&self.refused),
            skipped: get(&self.skipped),
            accounts_opened: get(&self.accounts_opened),
            last_sequence: get(&self.last_sequence),
            notices: self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            elapsed: started.elapsed(),
        }
    }
}

struct Job {
    row: Row,
    key: String,
    request: Request,
}

/// Imports a file. `on_progress` is called a few times a second, and once at the end.
///
/// Running it again with the same file and rules brings what is missing and doubles nothing.
pub async fn import(
    rules: Arc<Rules>,
    file: &Path,
    options: &ImportOptions,
    mut on_progress: impl FnMut(Progress),
) -> Result<Summary, ImportError> {
    let started = Instant::now();
    let shared = Arc::new(Shared::default());
    let connections = options.connections.clamp(1, 256);
    let client = Client::new(&options.url, rules.book(), &options.key, connections, options.retry_for)
        .map_err(|reason| ImportError::Stopped { reason, summary: Box::default() })?;
    let client = Arc::new(client);
    let bytes_total = std::fs::metadata(file).map_err(|error| file_error(file, error))?.len();
    let mut report = Report::new(options.refused.as_deref()).map_err(ImportError::Report)?;

    let (refused, mut refused_rows) = mpsc::channel::<RefusedRow>(1024);
    let mut queues = Vec::new();
    for _ in 0..connections {
        let (queue, jobs) = mpsc::channel(WORKER_QUEUE_ROWS);
        queues.push(queue);
        tokio::spawn(work(
            jobs,
            Arc::clone(&client),
            Arc::clone(&shared),
            rules.source().to_owned(),
            rules.separator(),
            refused.clone(),
        ));
    }
    let reader = {
        let (rules, shared, file) = (Arc::clone(&rules), Arc::clone(&shared), file.to_owned());
        tokio::task::spawn_blocking(move || {
            let refuse = |row| refused.blocking_send(row).is_ok();
            read_rows(&rules, &file, &shared, refuse, |row, key, request| {
                let code = request.accounts.first().map_or("", |slot| slot.code.as_str());
                let mut hasher = DefaultHasher::new();
                code.hash(&mut hasher);
                let worker = usize::try_from(hasher.finish() % queues.len() as u64).unwrap_or(0);
                queues.get(worker).is_some_and(|queue| queue.blocking_send(Job { row, key, request }).is_ok())
            })
        })
    };

    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed = None;
    loop {
        tokio::select! {
            row = refused_rows.recv() => {
                let Some(row) = row else { break };
                shared.refused.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = report.add(&row) {
                    failed.get_or_insert(ImportError::Report(error));
                    shared.stop_for(StopReason::Told);
                }
                if options.strict && failed.is_none() {
                    let RefusedRow { line, key, code, detail, .. } = row;
                    failed = Some(ImportError::Strict { line, key, code, detail });
                    shared.stop_for(StopReason::Told);
                }
            }
            _ = ticks.tick() => on_progress(shared.progress(bytes_total)),
        }
    }
    on_progress(shared.progress(bytes_total));
    let read = reader.await.map_err(|error| file_error(file, std::io::Error::other(error)))?;
    if let Some(failed) = failed {
        return Err(failed);
    }
    let stopped = shared.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(reason) = stopped {
        return Err(ImportError::Stopped { reason, summary: Box::new(shared.summary(started)) });
    }
    read?;
    Ok(shared.summary(started))
}

/// Reads a whole file by the rules and sends nothing: how many rows would be sent, skipped and refused. Refused rows go to
/// the report as in an import.
pub fn check(rules: &Rules, file: &Path, refused: Option<&Path>) -> Result<Summary, ImportError> {
    let started = Instant::now();
    let shared = Shared::default();
    let mut report = Report::new(refused).map_err(ImportError::Report)?;
    let mut failed = None;
    let refuse = |row: RefusedRow| {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        match report.add(&row) {
            Ok(()) => true,
            Err(error) => {
                failed = Some(ImportError::Report(error));
                false
            }
        }
    };
    read_rows(rules, file, &shared, refuse, |_, _, _| true)?;
    match failed {
        Some(failed) => Err(failed),
        None => Ok(shared.summary(started)),
    }
}

fn file_error(file: &Path, error: std::io::Error) -> ImportError {
    ImportError::File { path: file.display().to_string(), error }
}

/// Reads and plans each row, until the end or until one of the two functions says that nobody listens any more.
fn read_rows(
    rules: &Rules,
    file: &Path,
    shared: &Shared,
    mut refuse: impl FnMut(RefusedRow) -> bool,
    mut send: impl FnMut(Row, String, Request) -> bool,
) -> Result<(), ImportError> {
    let mut reader =
        RowReader::open(file, &rules.file, Arc::clone(&shared.bytes_read)).map_err(|error| file_error(file, error))?;
    let mut planner = Planner::new(rules, reader.columns())?;
    while let Some(read) = reader.next_row() {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        shared.rows.fetch_add(1, Ordering::Relaxed);
        let goes_on = match read {
            Ok(row) => match planner.plan(&row) {
                Ok(Some(request)) => {
                    let key = request.key.clone();
                    send(row, key, request)
                }
                Ok(None) => {
                    shared.skipped.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(fault) => refuse(RefusedRow {
                    line: row.line,
                    key: fault.key,
                    code: fault.code.to_owned(),
                    detail: fault.detail,
                    row: joined(&row, rules.separator()),
                }),
            },
            Err(ReadFault::Row { line, code, detail, raw }) => {
                refuse(RefusedRow { line, key: String::new(), code: code.to_owned(), detail, row: raw })
            }
            Err(ReadFault::File(error)) => return Err(file_error(file, error)),
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}

fn joined(row: &Row, separator: char) -> String {
    let mut text = String::new();
    for (index, field) in row.fields.iter().enumerate() {
        if index > 0 {
            text.push(separator);
        }
        text.push_str(field);
    }
    text
}

/// One worker: its rows in order, one request at a time.
async fn work(
    mut jobs: mpsc::Receiver<Job>,
    client: Arc<Client>,
    shared: Arc<Shared>,
    source: String,
    separator: char,
    refused: mpsc::Sender<RefusedRow>,
) {
    while let Some(job) = jobs.recv().await {
        let outcome = match answer(&job, &client, &shared, &source).await {
            Ok(outcome) => outcome,
            Err(reason) => {
                shared.stop_for(reason);
                return;
            }
        };
        match outcome {
            Outcome::Recorded { sequence, replayed } => {
                shared.last_sequence.fetch_max(sequence, Ordering::Relaxed);
                let counter = if replayed { &shared.already_there } else { &shared.posted };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Refused { code, detail } => {
                let row = joined(&job.row, separator);
                let refusal = RefusedRow { line: job.row.line, key: job.key, code, detail, row };
                if refused.send(refusal).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn answer(job: &Job, client: &Client, shared: &Shared, source: &str) -> Result<Outcome, StopReason> {
    for slot in &job.request.accounts {
        let opened = |opened| match opened {
            Opened::Now { sequence } => {
                shared.accounts_opened.fetch_add(1, Ordering::Relaxed);
                shared.last_sequence.fetch_max(sequence, Ordering::Relaxed);
            }
            Opened::Before => {}
            Opened::OtherTerms { detail } => {
                shared.notice(format!("account {} is there, on other terms than the rules have: {detail}", slot.code));
            }
        };
        if let Some((code, detail)) = client.ensure_open(slot, source, &shared.stop, opened).await? {
            return Ok(Outcome::Refused { code, detail: format!("opening account {}: {detail}", slot.code) });
        }
    }
    let request = &job.request;
    client.post(request.path, &request.idempotency_key, &request.body, &shared.stop).await
}
