//! The thread of the read models. It follows the journal until it is told to end; a fault stops it with an alarm and
//! leaves the commands alone. A store that fails (a full disk) is tried again, from what is committed; no other fault is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_schemas::Sequence;
use projections::ports::{EventFeed, Rows, RowsFault};
use projections::{Projection, Runner, RunnerError};
use tokio::sync::watch;

/// How long the read models may take to catch up when the server ends. What is missing then is applied at the next start.
const CATCH_UP: Duration = Duration::from_secs(10);

/// How long the first wait lasts after the store has failed; each further one is twice as long, up to `RETRY_MAX`.
const RETRY_MIN: Duration = Duration::from_millis(250);

/// The longest wait between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How often a wait looks at the stop flag.
const LOOK: Duration = Duration::from_millis(20);

/// Makes the read models of a journal, with nothing cached.
pub(crate) type Models = fn() -> Vec<Box<dyn Projection>>;

/// The running read models.
pub(crate) struct ReadModels {
    rows: Arc<dyn Rows>,
    progress: watch::Receiver<Sequence>,
    fault: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Sets off the alarm if the thread panics: read models that stand still without a word would pass for fresh ones.
struct PanicAlarm<'a>(&'a Mutex<Option<String>>);

impl Drop for PanicAlarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("ALARM: the read models have stopped with a panic; commands go on");
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some("it panicked: see the log".into());
        }
    }
}

fn set(fault: &Mutex<Option<String>>, to: Option<String>) {
    *fault.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

/// Waits, unless it is told to end.
fn pause(wait: Duration, stop: &AtomicBool) {
    let until = Instant::now() + wait;
    while !stop.load(Ordering::Relaxed) && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
}

/// Drives the read models until it is told to end or a fault comes that no waiting mends. Every attempt is a new runner: after
/// a fault only what is committed can be trusted.
fn follow(
    mut feed: impl EventFeed,
    rows: &(impl Rows + Clone),
    models: Models,
    stop: &AtomicBool,
    fault: &Mutex<Option<String>>,
    applied: &watch::Sender<Sequence>,
) {
    let mut wait = RETRY_MIN;
    loop {
        let mut first = None;
        let mut runner = Runner::new(&mut feed, rows.clone(), models());
        let ended = runner.run(stop, &mut |reached| {
            applied.send_replace(reached.sequence);
            // The first progress is told before anything is written. Only a commit shows that the store is well again.
            if *first.get_or_insert(reached.sequence) < reached.sequence && wait > RETRY_MIN {
                tracing::info!(sequence = %reached.sequence, "the read models go on");
                set(fault, None);
                wait = RETRY_MIN;
            }
        });
        let Err(error) = ended else { return };
        // Nothing is skipped: the read models stay where they are until the store or somebody has mended it.
        set(fault, Some(error.to_string()));
        if !matches!(error.error, RunnerError::Rows(RowsFault::Io(_))) {
            tracing::error!(%error, "ALARM: the read models have stopped; commands go on");
            return;
        }
        tracing::error!(%error, ?wait, "ALARM: the read models stand still and will be tried again; commands go on");
        pause(wait, stop);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        wait = (wait * 2).min(RETRY_MAX);
    }
}

impl ReadModels {
    /// Starts the thread.
    pub(crate) fn start(
        feed: impl EventFeed + 'static,
        rows: impl Rows + Clone + 'static,
        models: Models,
    ) -> anyhow::Result<Self> {
        Self::start_telling(feed, rows, models, watch::channel(Sequence::ZERO).0, Arc::default())
    }

    /// The same where others tell how far it is, and its fault, beyond its end.
    pub(crate) fn start_telling(
        feed: impl EventFeed + 'static,
        rows: impl Rows + Clone + 'static,
        models: Models,
        applied: watch::Sender<Sequence>,
        fault: Arc<Mutex<Option<String>>>,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let progress = applied.subscribe();
        let thread = {
            let (rows, stop, fault) = (rows.clone(), Arc::clone(&stop), Arc::clone(&fault));
            std::thread::Builder::new().name("read-models".into()).spawn(move || {
                let _alarm = PanicAlarm(&fault);
                follow(feed, &rows, models, &stop, &fault, &applied);
            })?
        };
        Ok(Self { rows: Arc::new(rows), progress, fault, stop, thread })
    }

    /// The rows, for queries.
    pub(crate) fn rows(&self) -> Arc<dyn Rows> {
        Arc::clone(&self.rows)
    }

    /// The sequence applied.
    pub(crate) fn progress(&self) -> watch::Receiver<Sequence> {
        self.progress.clone()
    }

    /// Why it stopped, if a fault stopped it.
    pub(crate) fn fault(&self) -> Arc<Mutex<Option<String>>> {
        Arc::clone(&self.fault)
    }

    /// Lets the read models catch up with a journal that grows no more, and ends the thread.
    pub(crate) fn end(self, head: Sequence) {
        let until = Instant::now() + CATCH_UP;
        while *self.progress.borrow() < head && !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the read models' thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use event_schemas::Block;
    use projections::memory::MemoryRows;
    use projections::ports::FeedFault;

    use super::*;

    struct Panics;

    impl EventFeed for Panics {
        fn next_block(&mut self, _: Sequence, _: Duration) -> Result<Option<Block>, FeedFault> {
            panic!("told to panic")
        }
    }

    #[test]
    fn a_panic_sets_off_the_alarm() {
        let rows = Arc::new(MemoryRows::default());
        let read_models = ReadModels::start(Panics, rows, projections::all).expect("a thread");
        let fault = read_models.fault();
        // It does not wait for what will never come.
        read_models.end(Sequence(1));
        let fault = fault.lock().expect("no lock is held");
        assert_eq!(fault.as_deref(), Some("it panicked: see the log"));
    }
}
