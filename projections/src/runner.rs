//! The runner: one thread that drives projections from one feed, decoding each block once.
//!
//! Rows and checkpoints go into one commit, so a crash between commits repeats nothing and loses nothing. Behind the head it
//! commits many blocks at once; at the head, each block as it comes. A projection that is behind the others (after a rebuild)
//! is brought level first, because the feed is read from the lowest checkpoint and the others pass over what they have.
//!
//! Nothing is skipped: what can't be read, found in its place or applied stops the runner for good, and the fault names the
//! sequence. What was applied before it is committed, unless a projection failed in the middle of an event.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event_schemas::sabotage::{Switch, on};
use event_schemas::{Block, BlockError, Sequence, Timestamp};

use crate::ports::{EventFeed, FeedFault, RowChanges, Rows, RowsFault};
use crate::projection::{ApplyFault, Place, Projection};

/// The most blocks of one commit.
const BATCH_MAX_BLOCKS: usize = 1_024;

/// The number of changed rows from which on a commit is due: about a hundred megabytes. The more events share a commit, the
/// fewer times a hot row is written.
const BATCH_ROWS: usize = 400_000;

/// How long applied events stay uncommitted at most while more keep coming: those who wait to read them notice. A run to a
/// given sequence has nobody who waits.
const BATCH_TIME: Duration = Duration::from_millis(500);

/// How long one wait for a block lasts at most; the stop flag is looked at in between.
const WAIT: Duration = Duration::from_millis(200);

/// Why a runner stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// No blocks can be read.
    #[error(transparent)]
    Feed(#[from] FeedFault),
    /// A block or an event can't be read.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Another event came than the one that is next.
    #[error("event {expected} is next, but the feed went on at {found}")]
    Gap {
        /// The event that is next.
        expected: Sequence,
        /// The one that came.
        found: Sequence,
    },
    /// Rows can't be read or written.
    #[error(transparent)]
    Rows(#[from] RowsFault),
    /// An event contradicts what came before.
    #[error("the event contradicts what came before: {0}")]
    Contradiction(String),
    /// The feed ended before the sequence asked for.
    #[error("the feed ends at {reached}")]
    Short {
        /// The last event applied.
        reached: Sequence,
    },
}

impl From<ApplyFault> for RunnerError {
    fn from(fault: ApplyFault) -> Self {
        match fault {
            ApplyFault::Rows(fault) => Self::Rows(fault),
            ApplyFault::Contradiction(what) => Self::Contradiction(what),
        }
    }
}

/// The alarm of a runner that stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} stopped at event {sequence}: {error}", projection.unwrap_or("the read models"))]
pub struct RunnerFault {
    /// The projection that failed; `None` if it was the feed or the commit of all of them.
    pub projection: Option<&'static str>,
    /// The event that could not be applied, or the first one whose effect could not be committed.
    pub sequence: Sequence,
    /// What happened.
    pub error: RunnerError,
}

/// How far a runner has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The sequence that every projection has applied and committed.
    pub sequence: Sequence,
    /// The same for each projection.
    pub checkpoints: Vec<(&'static str, Sequence)>,
    /// When the last block applied was recorded; `None` if there was none yet in this run.
    pub recorded_at: Option<Timestamp>,
    /// How many events this run has gone through.
    pub events: u64,
    /// Whether the feed had nothing more just then.
    pub caught_up: bool,
}

struct Driven {
    projection: Box<dyn Projection>,
    /// Applied in memory.
    applied: Sequence,
    /// Applied and committed.
    committed: Sequence,
}

/// Drives projections from a feed.
pub struct Runner<F, R> {
    feed: F,
    rows: R,
    projections: Vec<Driven>,
    changes: RowChanges,
    batch_blocks: usize,
    batch_since: Instant,
    loaded: bool,
    fault: Option<RunnerFault>,
    events: u64,
    recorded_at: Option<Timestamp>,
}

impl<F: EventFeed, R: Rows> Runner<F, R> {
    /// A runner that will go on from the checkpoints among the rows. It must be the only writer of these projections.
    pub fn new(feed: F, rows: R, projections: Vec<Box<dyn Projection>>) -> Self {
        let driven = |projection| Driven { projection, applied: Sequence::ZERO, committed: Sequence::ZERO };
        Self {
            feed,
            rows,
            projections: projections.into_iter().map(driven).collect(),
            changes: RowChanges::default(),
            batch_blocks: 0,
            batch_since: Instant::now(),
            loaded: false,
            fault: None,
            events: 0,
            recorded_at: None,
        }
    }

    /// Follows the feed until `stop` is set. Progress is told at the start, after every commit and nowhere else.
    pub fn run(&mut self, stop: &AtomicBool, on_progress: &mut dyn FnMut(&Progress)) -> Result<(), RunnerFault> {
        self.drive(Sequence(u64::MAX), Some(stop), on_progress)
    }

    /// Applies everything up to and including `to`, and returns the sequence that all projections have then applied: less
    /// than `to` if the feed ends before, more if they had passed it already.
    pub fn run_to(&mut self, to: Sequence, on_progress: &mut dyn FnMut(&Progress)) -> Result<Sequence, RunnerFault> {
        self.drive(to, None, on_progress)?;
        Ok(self.committed())
    }

    /// The rows, to read.
    pub const fn rows(&self) -> &R {
        &self.rows
    }

    fn committed(&self) -> Sequence {
        self.projections.iter().map(|driven| driven.committed).min().unwrap_or_default()
    }

    /// After a fault, what is in memory can't be trusted; a new runner starts from what is committed.
    fn drive(
        &mut self,
        to: Sequence,
        stop: Option<&AtomicBool>,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), RunnerFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let result = self.follow(to, stop, on_progress);
        if let Err(fault) = &result {
            self.fault = Some(fault.clone());
        }
        result
    }

    fn follow(
        &mut self,
        to: Sequence,
        stop: Option<&AtomicBool>,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), RunnerFault> {
        self.load()?;
        on_progress(&self.progress(false));
        let stopped = || stop.is_some_and(|stop| stop.load(Ordering::Acquire));
        while !stopped() {
            let lowest = self.projections.iter().map(|driven| driven.applied).min();
            let Some(after) = lowest.filter(|lowest| *lowest < to) else { break };
            let wait = if self.batch_blocks == 0 && stop.is_some() { WAIT } else { Duration::ZERO };
            match self.feed.next_block(after, wait) {
                Ok(Some(block)) => {
                    if let Err(fault) = self.apply_block(&block, after, to) {
                        // What is whole is kept; a commit that fails as well adds nothing to the fault at hand.
                        if fault.projection.is_none() && self.batch_blocks > 0 {
                            let _ = self.commit(false, on_progress);
                        }
                        return Err(fault);
                    }
                    if self.commit_is_due(stop.is_some()) {
                        self.commit(false, on_progress)?;
                    }
                }
                Ok(None) if self.batch_blocks > 0 => self.commit(true, on_progress)?,
                Ok(None) if stop.is_none() => break,
                Ok(None) => {}
                Err(error) => {
                    if self.batch_blocks > 0 {
                        let _ = self.commit(false, on_progress);
                    }
                    return Err(RunnerFault { projection: None, sequence: after.next(), error: error.into() });
                }
            }
        }
        if self.batch_blocks > 0 {
            self.commit(false, on_progress)?;
        }
        Ok(())
    }

    fn commit_is_due(&self, is_awaited: bool) -> bool {
        let pending: usize = self.projections.iter().map(|driven| driven.projection.pending()).sum();
        self.batch_blocks >= BATCH_MAX_BLOCKS
            || self.changes.rows.len() + pending >= BATCH_ROWS
            || is_awaited && self.batch_since.elapsed() >= BATCH_TIME
    }

    fn load(&mut self) -> Result<(), RunnerFault> {
        if self.loaded {
            return Ok(());
        }
        for driven in &mut self.projections {
            let name = driven.projection.name();
            driven.applied = self.rows.checkpoint(name).map_err(|error| RunnerFault {
                projection: Some(name),
                sequence: Sequence::ZERO,
                error: error.into(),
            })?;
            driven.committed = driven.applied;
        }
        self.loaded = true;
        Ok(())
    }

    fn apply_block(&mut self, block: &Block, after: Sequence, to: Sequence) -> Result<(), RunnerFault> {
        let header = block.header();
        let expected = after.next();
        let fault = |sequence, error| RunnerFault { projection: None, sequence, error };
        if header.first_sequence > expected || header.last_sequence() < expected {
            let error = RunnerError::Gap { expected, found: header.first_sequence };
            return Err(fault(expected, error));
        }
        if self.batch_blocks == 0 {
            self.batch_since = Instant::now();
        }
        self.batch_blocks += 1;
        let mut next = header.first_sequence;
        for item in block.events() {
            let (sequence, event) = item.map_err(|error| fault(next, error.into()))?;
            if sequence > to {
                break;
            }
            let place = Place { sequence, recorded_at: header.recorded_at };
            for driven in &mut self.projections {
                if driven.applied >= sequence {
                    continue;
                }
                // The block holds what follows the lowest checkpoint, so no projection can be further behind.
                let named = |error| RunnerFault { projection: Some(driven.projection.name()), sequence, error };
                if driven.applied.next() != sequence {
                    return Err(named(RunnerError::Gap { expected: driven.applied.next(), found: sequence }));
                }
                if on(Switch::EventSkipped) && sequence.0.is_multiple_of(3) {
                    driven.applied = sequence;
                    continue;
                }
                let mut applied = driven.projection.apply(&self.rows, place, &event, &mut self.changes);
                if on(Switch::AppliedTwice) && applied.is_ok() {
                    applied = driven.projection.apply(&self.rows, place, &event, &mut self.changes);
                }
                if let Err(error) = applied {
                    let name = driven.projection.name();
                    return Err(RunnerFault { projection: Some(name), sequence, error: error.into() });
                }
                driven.applied = sequence;
            }
            self.events += u64::from(sequence >= expected);
            next = sequence.next();
        }
        self.recorded_at = Some(header.recorded_at);
        Ok(())
    }

    fn commit(&mut self, caught_up: bool, on_progress: &mut dyn FnMut(&Progress)) -> Result<(), RunnerFault> {
        let mut changes = std::mem::take(&mut self.changes);
        for driven in &mut self.projections {
            driven.projection.flush(&mut changes);
            if driven.applied > driven.committed && !on(Switch::CheckpointLost) {
                changes.checkpoints.push((driven.projection.name(), driven.applied));
            }
        }
        self.batch_blocks = 0;
        let sequence = self.committed().next();
        self.rows.commit(changes).map_err(|error| RunnerFault { projection: None, sequence, error: error.into() })?;
        for driven in &mut self.projections {
            driven.committed = driven.applied;
        }
        on_progress(&self.progress(caught_up));
        Ok(())
    }

    fn progress(&self, caught_up: bool) -> Progress {
        Progress {
            sequence: self.committed(),
            checkpoints: self.projections.iter().map(|driven| (driven.projection.name(), driven.committed)).collect(),
            recorded_at: self.recorded_at,
            events: self.events,
            caught_up,
        }
    }
}
