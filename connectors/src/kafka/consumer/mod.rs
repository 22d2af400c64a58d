//! A consumer with effects: it reads a keyed topic as a member of a group and hands each event to a handler, once, in the order
//! of its key.
//!
//! - **Its place** is kept with the group's offsets, and with each offset the mark of the last event (`marks`). Both are written
//!   at once, so what was handled and how far it was read do not part. Duplicates in the topic are passed over by their ids.
//! - **Between an effect and the commit behind it** a crash repeats the event. No offset can close that gap: a handler keys its
//!   effect by the event's id, as every sink must (an `Idempotency-Key`, a unique column).
//! - **What fails** is tried again, with growing waits. Then its key is parked: this event and all later ones of the key go to the
//!   dead letters (`dead_letters`), other keys go on, and an alarm is raised. That stays so, over restarts and changes of members,
//!   until somebody asks for a retry or gives it up.
//! - **One thread** does all of it, so within a partition nothing overtakes: neither a parked event one that is handled again, nor
//!   an event behind it.

mod group;
mod marks;
mod run;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::KafkaFault;
use super::record::Received;
use super::settings::KafkaSettings;
pub(super) use marks::Marks;
use run::Run;

/// An event that a handler could not handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {error}")]
pub struct HandlerFault {
    /// A short class that tells errors apart, such as `http_500`.
    pub class: String,
    /// The error in words.
    pub error: String,
}

/// What has effects.
pub trait Handler {
    /// Handles one event. It may be given the same event again, after a crash: its effect must be keyed by the event's id. It may
    /// take up to a minute.
    fn handle(&mut self, event: &Received) -> Result<(), HandlerFault>;
}

/// How a consumer reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// The group: all members of a service. Each event goes to one of them.
    pub group: String,
    /// The topic, with its prefix.
    pub topic: String,
    /// How often an event is tried before its key is parked, one at least.
    pub attempts: u32,
    /// How long the wait behind the first failure is; each further one is twice as long, up to five seconds.
    pub first_wait: Duration,
    /// How long a member may be silent before its partitions go to others.
    pub session: Duration,
}

impl ConsumerOptions {
    /// Five attempts within some three seconds.
    pub fn new(group: &str, topic: &str) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            attempts: 5,
            first_wait: Duration::from_millis(200),
            session: Duration::from_secs(10),
        }
    }
}

/// What a consumer has done since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerStatus {
    /// Events handled, parked ones that were handled again included.
    pub handled_total: u64,
    /// Events passed over because they had been handled.
    pub duplicates_total: u64,
    /// Events parked.
    pub parked_total: u64,
    /// Attempts that failed.
    pub failures_total: u64,
    /// Keys that are parked now, in this member's partitions. Above zero is an alarm.
    pub parked_keys: u64,
    /// This member's partitions.
    pub partitions: u64,
}

/// A member of a group.
pub struct Consumer {
    settings: KafkaSettings,
    options: ConsumerOptions,
    status: Arc<Mutex<ConsumerStatus>>,
}

impl Consumer {
    /// A member that has not begun yet.
    pub fn new(settings: KafkaSettings, options: ConsumerOptions) -> Result<Self, KafkaFault> {
        let named = |text: &str| !text.is_empty() && text.len() <= 200 && !text.chars().any(char::is_control);
        if !named(&options.group) {
            return Err(KafkaFault::Settings("a consumer group has a name of 1 to 200 bytes".into()));
        }
        if !(1..=20).contains(&options.attempts) {
            return Err(KafkaFault::Settings("an event is tried 1 to 20 times".into()));
        }
        Ok(Self { settings, options, status: Arc::default() })
    }

    /// Tells what it has done, whenever it is asked.
    pub fn watch(&self) -> impl Fn() -> ConsumerStatus + Send + Sync + 'static {
        let status = Arc::clone(&self.status);
        move || status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads until it is told to stop, or until a fault. What was handled is committed then, and the partitions are given up.
    pub fn run(&self, handler: &mut dyn Handler, stop: &AtomicBool) -> Result<(), KafkaFault> {
        Run::open(&self.settings, &self.options, Arc::clone(&self.status), stop)?.run(handler)
    }
}
