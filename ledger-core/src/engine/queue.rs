//! What waits for the writer: bounded by the number of commands and by the bytes of their events, handed over in the order it
//! came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use event_schemas::{Command, CommandId};

use crate::ports::{LookupReply, PreviewReply, Reply, SubmitError};

/// One piece of work.
pub(super) enum Work {
    /// Decide these, each on its own or all or nothing.
    Commands { commands: Vec<Command>, bytes: usize, linked: bool, reply: Reply },
    /// Say what these would get, all or nothing.
    Preview { commands: Vec<Command>, bytes: usize, linked: bool, reply: PreviewReply },
    /// Find this verdict.
    Lookup { id: CommandId, reply: LookupReply },
}

impl Work {
    fn weight(&self) -> usize {
        match self {
            Self::Commands { commands, .. } | Self::Preview { commands, .. } => commands.len(),
            Self::Lookup { .. } => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Commands { bytes, .. } | Self::Preview { bytes, .. } => *bytes,
            Self::Lookup { .. } => 0,
        }
    }
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    commands: usize,
    bytes: usize,
    closed: bool,
    /// Whether the writer sleeps: only then does a push pay for waking it.
    sleeping: bool,
}

/// The queue.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    max_commands: usize,
    max_bytes: usize,
    length: AtomicU64,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new(max_commands: usize, max_bytes: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting::default()),
            arrived: Condvar::new(),
            max_commands,
            max_bytes,
            length: AtomicU64::new(0),
        }
    }

    /// Adds work, unless that is too much. A submission always fits an empty queue.
    pub(super) fn push(&self, work: Work) -> Result<(), SubmitError> {
        let weight = work.weight();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return Err(SubmitError::Stopped);
        }
        let (commands, bytes) = (waiting.commands.saturating_add(weight), waiting.bytes.saturating_add(work.bytes()));
        if (commands > self.max_commands || bytes > self.max_bytes) && waiting.commands > 0 {
            return Err(SubmitError::Busy { retry_after_ms: 1_000 });
        }
        (waiting.commands, waiting.bytes) = (commands, bytes);
        waiting.work.push_back(work);
        self.note_length(commands);
        let wake = std::mem::take(&mut waiting.sleeping);
        drop(waiting);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Takes what waits, in order, as far as it stays within these bounds (one piece at least); waits if there is nothing.
    /// Empty after `patience`, and `None` when the queue is closed and empty.
    pub(super) fn take(&self, max_commands: usize, max_bytes: usize, patience: Duration) -> Option<Vec<Work>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.work.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting.sleeping = true;
            let (guard, _) = self.arrived.wait_timeout(waiting, patience).unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            waiting.sleeping = false;
        }
        let (mut taken, mut commands, mut bytes) = (Vec::new(), 0_usize, 0_usize);
        while let Some(next) = waiting.work.front() {
            commands = commands.saturating_add(next.weight());
            bytes = bytes.saturating_add(next.bytes());
            if !taken.is_empty() && (commands > max_commands || bytes > max_bytes) {
                break;
            }
            let Some(work) = waiting.work.pop_front() else { break };
            waiting.commands = waiting.commands.saturating_sub(work.weight());
            waiting.bytes = waiting.bytes.saturating_sub(work.bytes());
            taken.push(work);
        }
        self.note_length(waiting.commands);
        Some(taken)
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.arrived.notify_all();
    }

    /// Closes, and hands back what waits, to be refused.
    pub(super) fn abandon(&self) -> Vec<Work> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.closed = true;
        (waiting.commands, waiting.bytes) = (0, 0);
        self.note_length(0);
        waiting.work.drain(..).collect()
    }

    /// How many commands wait.
    pub(super) fn waiting(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    fn note_length(&self, commands: usize) {
        self.length.store(u64::try_from(commands).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
