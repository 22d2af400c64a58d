//! The thread of the read models. It follows the journal until it is told to end; a fault stops it with an alarm and
//! leaves the commands alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_schemas::Sequence;
use projections::Runner;
use projections::ports::{EventFeed, Rows};
use tokio::sync::watch;

/// How long the read models may take to catch up when the server ends. What is missing then is applied at the next start.
const CATCH_UP: Duration = Duration::from_secs(10);

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

impl ReadModels {
    /// Starts the thread.
    pub(crate) fn start(feed: impl EventFeed + 'static, rows: impl Rows + Clone + 'static) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let fault = Arc::new(Mutex::new(None));
        let (applied, progress) = watch::channel(Sequence::ZERO);
        let thread = {
            let (rows, stop, fault) = (rows.clone(), Arc::clone(&stop), Arc::clone(&fault));
            std::thread::Builder::new().name("read-models".into()).spawn(move || {
                let _alarm = PanicAlarm(&fault);
                let mut runner = Runner::new(feed, rows, projections::all());
                let ended = runner.run(&stop, &mut |reached| {
                    applied.send_replace(reached.sequence);
                });
                if let Err(error) = ended {
                    // Nothing is skipped: the read models stay where they are until somebody has looked.
                    tracing::error!(%error, "ALARM: the read models have stopped; commands go on");
                    *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
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
        let read_models = ReadModels::start(Panics, Arc::new(MemoryRows::default())).expect("a thread");
        let fault = read_models.fault();
        // It does not wait for what will never come.
        read_models.end(Sequence(1));
        let fault = fault.lock().expect("no lock is held");
        assert_eq!(fault.as_deref(), Some("it panicked: see the log"));
    }
}
