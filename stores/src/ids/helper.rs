//! The thread that turns frozen maps into runs, so that the writer of the journal never waits for it (unless it falls
//! behind by several maps, which bounds the memory).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use event_schemas::{BookId, Sequence};

use super::BlockHashAt;
use super::recent::Recent;
use super::run::{self, Coverage, Run, RunFault};

const RUNNING: u8 = 0;
/// Finish what was handed over, unless it fails.
const CLOSING: u8 = 1;
/// Drop what was handed over.
const ABANDONED: u8 = 2;

const RETRY_STEP: Duration = Duration::from_millis(50);
const RETRY_STEPS: u32 = 20;

/// A frozen map on its way to a run.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) ids: Arc<Recent>,
    pub(super) last: Sequence,
}

pub(super) enum Report {
    /// The oldest map that was handed over is a run now.
    Written(Box<Run>),
    /// It could not be written, and is tried again.
    Failing(String),
}

pub(super) struct Helper {
    jobs: Option<Sender<Job>>,
    pub(super) reports: Receiver<Report>,
    thread: Option<JoinHandle<()>>,
    mode: Arc<AtomicU8>,
}

struct Work {
    folder: PathBuf,
    book: BookId,
    seed: u64,
    hash_at: Option<BlockHashAt>,
    mode: Arc<AtomicU8>,
    reports: Sender<Report>,
}

impl Helper {
    pub(super) fn start(
        folder: PathBuf,
        book: BookId,
        seed: u64,
        hash_at: Option<BlockHashAt>,
    ) -> std::io::Result<Self> {
        let (jobs, inbox) = channel();
        let (outbox, reports) = channel();
        let mode = Arc::new(AtomicU8::new(RUNNING));
        let work = Work { folder, book, seed, hash_at, mode: Arc::clone(&mode), reports: outbox };
        let thread = std::thread::Builder::new().name("id-runs".into()).spawn(move || work.run(&inbox))?;
        Ok(Self { jobs: Some(jobs), reports, thread: Some(thread), mode })
    }

    /// Hands over a map. `false` if the thread is gone.
    pub(super) fn submit(&self, job: Job) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }

    /// Ends the thread without finishing what was handed over; when this returns it writes no more.
    pub(super) fn abandon(&mut self) {
        self.end(ABANDONED);
    }

    fn end(&mut self, mode: u8) {
        self.mode.store(mode, Ordering::Release);
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the id index's runs panicked");
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end(CLOSING);
        }
    }
}

impl Work {
    fn run(&self, inbox: &Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            loop {
                if self.mode.load(Ordering::Acquire) == ABANDONED {
                    return;
                }
                match self.write(&job) {
                    Ok(run) => {
                        drop(job);
                        let _ = self.reports.send(Report::Written(Box::new(run)));
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, folder = %self.folder.display(), "a run of the id index could not be written");
                        let _ = self.reports.send(Report::Failing(error.to_string()));
                        if !self.wait() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Waits before the next try; `false` if the index is being closed meanwhile.
    fn wait(&self) -> bool {
        for _ in 0..RETRY_STEPS {
            if self.mode.load(Ordering::Acquire) != RUNNING {
                return false;
            }
            std::thread::sleep(RETRY_STEP);
        }
        self.mode.load(Ordering::Acquire) == RUNNING
    }

    fn write(&self, job: &Job) -> Result<Run, RunFault> {
        let chain = match &self.hash_at {
            Some(hash_at) => {
                hash_at(job.last).ok_or(RunFault::Damaged("the journal does not show the run's last block"))?
            }
            None => event_schemas::BlockHash::default(),
        };
        let coverage = Coverage { book: self.book, first: job.ids.after.next(), last: job.last, chain };
        run::write(&self.folder, coverage, self.seed, &job.ids.sorted())?;
        Run::open(&self.folder.join(run::file_name(coverage.first)))
    }
}
