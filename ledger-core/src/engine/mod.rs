//! The engine: one thread that numbers, decides, appends, flushes and answers.
//!
//! ```text
//! try_submit ─▶ queue (bounded) ─▶ group: all that waits, within bounds
//!                                    │ secure space, read the clock once
//!                                    │ per command: known id? → its verdict   else decide, encode, apply
//!                                    ▼
//!                                  one append, one flush ─▶ id index ─▶ answers
//! ```
//!
//! There is no added delay: an idle engine takes a single command at once, a busy one takes what gathered during the last
//! flush. State runs ahead of the journal only inside a group; nothing of it leaves before the flush. A group that failed
//! leaves the state ahead for good, so the writer stops, and starting again replays the journal.
//!
//! A linked batch is decided as one attempt at the state: its events go into a block when the last command is decided, or are
//! taken back and replaced by refusals. A dry run is an attempt after the flush that is always taken back.
//!
//! `queue.rs` what waits · `start.rs` from checkpoint and tail to a state · `writer.rs` the loop · `duplicates.rs` known
//! ids · `clock.rs` the guard of the clock · `follow.rs` a standby that waits · `checkpoints.rs` the thread that stores them.

mod checkpoints;
mod clock;
mod duplicates;
mod follow;
mod queue;
mod start;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use event_schemas::bounds::{BATCH_MAX_COMMANDS, QUEUE_MAX_BYTES, QUEUE_MAX_COMMANDS};
use event_schemas::{BookId, Command, CommandId, Sequence};

pub use clock::ClockError;
pub use follow::{FOLLOWED_EVERY_EVENTS, follow};
pub use start::{Replayed, StartError, replay};

use crate::bound::{self, OutOfBounds};
use crate::ports::{
    Checkpoints, Clock, CommandSink, EngineStatus, IdIndex, Journal, LookupReply, PreviewReply, Reply, SubmitError,
    WriterState,
};
use queue::{Queue, Work};
use writer::LINKED_MAX_BYTES;

/// An operator's word that a jump of the clock is right.
#[derive(Debug, Clone)]
pub struct AcceptClock {
    /// Who says so.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// How an engine is run. The defaults are those of production.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The book to open if the journal is empty, and the one expected otherwise.
    pub book: BookId,
    /// 128 random bits for the opening of a fresh book.
    pub nonce: u128,
    /// Go on although the clock jumped.
    pub accept_clock: Option<AcceptClock>,
    /// The most commands that wait.
    pub queue_max_commands: usize,
    /// The most bytes of events that what waits may cause.
    pub queue_max_bytes: usize,
    /// The most bytes of events decided before one flush. The journal's segments must take it.
    pub group_max_bytes: usize,
    /// A state checkpoint is stored at the first digest so many events after the last one.
    pub checkpoint_every_events: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            book: BookId::FIRST,
            nonce: 0,
            accept_clock: None,
            queue_max_commands: QUEUE_MAX_COMMANDS,
            queue_max_bytes: QUEUE_MAX_BYTES,
            group_max_bytes: 8 * 1024 * 1024,
            checkpoint_every_events: 1 << 20,
        }
    }
}

/// What an engine runs on.
pub struct EngineParts {
    /// The book's journal, open for writing.
    pub journal: Box<dyn Journal>,
    /// The index of command ids.
    pub ids: Box<dyn IdIndex>,
    /// Where state checkpoints are kept.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Time.
    pub clock: Clock,
    /// Options.
    pub options: EngineOptions,
}

impl std::fmt::Debug for EngineParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineParts").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Figures that the writer updates and anybody reads.
#[derive(Debug, Default)]
struct Figures {
    durable: AtomicU64,
    accepted: AtomicU64,
    rejected: AtomicU64,
    replayed: AtomicU64,
    flushes: AtomicU64,
    appended_bytes: AtomicU64,
    checkpoint: AtomicU64,
    condition: Mutex<Condition>,
}

#[derive(Debug)]
struct Condition {
    writer: WriterState,
    reason: String,
}

impl Default for Condition {
    fn default() -> Self {
        Self { writer: WriterState::Serving, reason: String::new() }
    }
}

impl Figures {
    fn set_condition(&self, writer: WriterState, reason: String) {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        // A stop is for good.
        if condition.writer != WriterState::Stopped {
            *condition = Condition { writer, reason };
        }
    }

    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
    }
}

/// A running engine. Dropping it stops the writer after what waits is answered.
#[derive(Debug)]
pub struct Engine {
    queue: Arc<Queue>,
    figures: Arc<Figures>,
    group_max_bytes: usize,
    replayed: Replayed,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Replays the journal from the newest trusted checkpoint, opens the book if the journal is empty, and starts the
    /// writer.
    pub fn start(parts: EngineParts) -> Result<Self, StartError> {
        let figures = Arc::new(Figures::default());
        let queue = Arc::new(Queue::new(parts.options.queue_max_commands, parts.options.queue_max_bytes));
        let group_max_bytes = parts.options.group_max_bytes;
        let (writer, replayed) = start::prepare(parts, Arc::clone(&queue), Arc::clone(&figures))?;
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer.run())
            .map_err(|error| StartError::Thread(error.to_string()))?;
        Ok(Self { queue, figures, group_max_bytes, replayed, thread: Mutex::new(Some(thread)) })
    }

    /// What starting took.
    pub const fn replayed(&self) -> Replayed {
        self.replayed
    }

    /// The bytes of events that commands may cause, if they can be recorded at all.
    fn checked_bytes(&self, commands: &[Command]) -> Result<usize, SubmitError> {
        if commands.is_empty() || commands.len() > BATCH_MAX_COMMANDS {
            return Err(SubmitError::BatchSize);
        }
        let mut bytes = 0_usize;
        for command in commands {
            bound::check(command).map_err(|OutOfBounds(what)| SubmitError::OutOfBounds(what))?;
            bytes = bytes.saturating_add(bound::event_bytes(command));
        }
        if bytes > self.group_max_bytes { Err(SubmitError::BatchSize) } else { Ok(bytes) }
    }

    /// The same for commands that are linked.
    fn checked_linked(&self, commands: &[Command]) -> Result<usize, SubmitError> {
        let bytes = self.checked_bytes(commands)?;
        if bytes > LINKED_MAX_BYTES {
            return Err(SubmitError::LinkedBatchSize);
        }
        let mut ids: Vec<CommandId> = commands.iter().map(|command| command.id).collect();
        ids.sort_unstable();
        let twice = ids.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        });
        twice.map_or(Ok(bytes), |id| Err(SubmitError::LinkedBatchIds(id)))
    }

    /// Takes no more, answers what waits, and ends the writer.
    pub fn stop(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A writer that panicked has said so through its status already.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl CommandSink for Engine {
    fn try_submit(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        let bytes = self.checked_bytes(&commands)?;
        self.queue.push(Work::Commands { commands, bytes, linked: false, reply })
    }

    fn try_submit_linked(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        let bytes = self.checked_linked(&commands)?;
        self.queue.push(Work::Commands { commands, bytes, linked: true, reply })
    }

    fn try_preview(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        let bytes = self.checked_linked(&commands)?;
        self.queue.push(Work::Preview { commands, bytes, linked: true, reply })
    }

    fn try_preview_each(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        let bytes = self.checked_linked(&commands)?;
        self.queue.push(Work::Preview { commands, bytes, linked: false, reply })
    }

    fn try_lookup(&self, id: CommandId, reply: LookupReply) -> Result<(), SubmitError> {
        self.queue.push(Work::Lookup { id, reply })
    }

    fn status(&self) -> EngineStatus {
        let figures = &self.figures;
        let condition = figures.condition.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineStatus {
            writer: condition.writer,
            reason: condition.reason.clone(),
            durable: Sequence(figures.durable.load(Ordering::Acquire)),
            queued: self.queue.waiting(),
            accepted_total: read(&figures.accepted),
            rejected_total: read(&figures.rejected),
            replayed_total: read(&figures.replayed),
            flushes_total: read(&figures.flushes),
            appended_bytes_total: read(&figures.appended_bytes),
            checkpoint: Sequence(read(&figures.checkpoint)),
        }
    }
}
