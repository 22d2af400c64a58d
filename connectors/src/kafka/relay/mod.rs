//! The relay: an effector that tails the journal of a book and publishes it, each event once.
//!
//! Its place is in the records: the last record of the journal's topic carries the header of its block. The keyed records of a
//! block and its journal records go into one transaction, so they are there together or not at all, and a relay that starts
//! under the same name fences the one before and gives up what that one had left open. So on every start, and after every
//! fault, it does the same: fence, read the end, compare it with the journal, go on behind it.
//!
//! It never holds up the ledger: it reads the journal as any reader does, in a thread of its own, and when no broker answers it
//! waits, longer each time. It never skips: what it can't publish stops it, with an alarm.

mod publisher;
mod session;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_schemas::{BookId, Sequence};
use projections::ports::EventFeed;

use super::admin::check_properties;
use super::client::Reader;
use super::error::KafkaFault;
use super::journal_topic::last_published;
use super::settings::KafkaSettings;
use session::Session;

/// How long the first wait lasts after a fault; each further one is twice as long, up to `RETRY_MAX`.
const RETRY_MIN: Duration = Duration::from_millis(250);

/// The longest wait between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How long a relay that was fenced looks whether another one goes on, before it tries again itself.
const CONTESTED: Duration = Duration::from_secs(30);

/// How often a wait looks at the stop flag.
const LOOK: Duration = Duration::from_millis(20);

/// How long the relay may take to publish what is left when the server ends. What is missing then is published after the next
/// start.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What a relay works with.
pub struct RelayParts {
    /// The cluster.
    pub settings: KafkaSettings,
    /// The book.
    pub book: BookId,
    /// The book's journal: durable blocks, in order.
    pub feed: Box<dyn EventFeed>,
    /// The durable head of the journal.
    pub head: Box<dyn Fn() -> Sequence + Send>,
}

/// What a relay is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RelayState {
    /// It looks for its place.
    #[default]
    Starting,
    /// It publishes, or waits for events.
    Publishing,
    /// It could not go on for this reason, and tries again.
    Waiting(String),
    /// It has stopped for this reason, for good: somebody has to look. Empty if it was told to end.
    Stopped(String),
}

impl RelayState {
    /// The name: starting, publishing, waiting, stopped.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Publishing => "publishing",
            Self::Waiting(_) => "waiting",
            Self::Stopped(_) => "stopped",
        }
    }

    /// Why it does not publish; empty if it does.
    pub fn reason(&self) -> &str {
        match self {
            Self::Starting | Self::Publishing => "",
            Self::Waiting(reason) | Self::Stopped(reason) => reason,
        }
    }
}

/// How far a relay is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayStatus {
    /// What it is doing.
    pub state: RelayState,
    /// The last event known to be published.
    pub position: Sequence,
    /// Records published since it started, in all topics.
    pub records_total: u64,
    /// Transactions committed since it started.
    pub transactions_total: u64,
    /// How often it had to begin again since it started.
    pub retries_total: u64,
}

/// What the thread and its watchers share.
#[derive(Default)]
struct Shared {
    status: Mutex<RelayStatus>,
    stop: AtomicBool,
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut RelayStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits, unless it is told to end.
    fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.stopping() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }
}

/// A running relay.
pub struct Relay {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// Sets off the alarm if the thread panics.
struct PanicAlarm<'a>(&'a Shared);

impl Drop for PanicAlarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("ALARM: the relay to Kafka has stopped with a panic; the ledger goes on");
            self.0.update(|status| status.state = RelayState::Stopped("it panicked: see the log".into()));
        }
    }
}

impl Relay {
    /// Starts the thread. A broker need not be there; settings that can never work are refused.
    pub fn start(parts: RelayParts) -> Result<Self, KafkaFault> {
        check_properties(&parts.settings)?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("relay".into())
                .spawn(move || {
                    let _alarm = PanicAlarm(&shared);
                    follow(parts, &shared);
                })
                .map_err(|error| KafkaFault::Client(format!("no thread for the relay: {error}")))?
        };
        Ok(Self { shared, thread })
    }

    /// Tells how far it is, whenever it is asked.
    pub fn watch(&self) -> impl Fn() -> RelayStatus + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far it is.
    pub fn status(&self) -> RelayStatus {
        self.watch()()
    }

    /// Lets it publish, for a few seconds, what a journal that grows no more still has, and ends the thread. What is missing
    /// then is published after the next start.
    pub fn end(self, head: Sequence) {
        let until = Instant::now() + CATCH_UP;
        // While it waits for a broker there is nothing to wait for.
        let at_work = |status: &RelayStatus| status.state == RelayState::Publishing && status.position < head;
        while at_work(&self.status()) && !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stop();
    }

    /// Ends the thread at once.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the relay's thread panicked");
        }
    }
}

/// Whether there is another relay. A fence alone does not prove it: the brokers also fence a relay that slept for longer than a
/// transaction may be open. But what was fenced can't have been published by this one, so if it is published, somebody else did.
fn somebody_else_goes_on(parts: &RelayParts, shared: &Shared) -> bool {
    let position = shared.status.lock().unwrap_or_else(PoisonError::into_inner).position;
    let topic = parts.settings.journal_topic(parts.book);
    let until = Instant::now() + CONTESTED;
    while !shared.stopping() && Instant::now() < until {
        shared.update(|status| status.state = RelayState::Waiting("another relay may have taken over".into()));
        let end = Reader::new(&parts.settings).and_then(|reader| last_published(&reader, &topic, parts.book));
        if end.is_ok_and(|end| end.sequence > position) {
            return true;
        }
        shared.pause(CONTESTED / 30);
    }
    false
}

/// Publishes until it is told to end or a fault comes that no waiting mends. Every attempt is a new session.
fn follow(mut parts: RelayParts, shared: &Shared) {
    let mut wait = RETRY_MIN;
    while !shared.stopping() {
        let before = shared.status.lock().unwrap_or_else(PoisonError::into_inner).transactions_total;
        let ended = Session::open(&mut parts, shared).and_then(|mut session| session.run());
        let Err(fault) = ended else { break };
        if shared.stopping() {
            break;
        }
        let taken_over = fault == KafkaFault::Fenced && somebody_else_goes_on(&parts, shared);
        if taken_over || fault.is_final() {
            tracing::error!(%fault, "ALARM: the relay to Kafka has stopped; the ledger goes on");
            shared.update(|status| status.state = RelayState::Stopped(fault.to_string()));
            return;
        }
        // It got somewhere: what is wrong now is new.
        if shared.status.lock().unwrap_or_else(PoisonError::into_inner).transactions_total > before {
            wait = RETRY_MIN;
        }
        tracing::warn!(%fault, ?wait, "the relay to Kafka waits and will try again; the ledger goes on");
        shared.update(|status| {
            status.state = RelayState::Waiting(fault.to_string());
            status.retries_total += 1;
        });
        shared.pause(wait);
        wait = (wait * 2).min(RETRY_MAX);
    }
    shared.update(|status| status.state = RelayState::Stopped(String::new()));
}
