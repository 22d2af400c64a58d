//! The writer and time: holds that expire when a block begins, and the wake-up of an idle book at the earliest deadline.

use std::hash::BuildHasher as _;
use std::time::Duration;

use event_schemas::bounds::{BLOCK_MAX_BYTES, EXPIRIES_PER_BLOCK_MAX};
use event_schemas::{CommandId, Event, RecordedEvent, Sequence, Timestamp};

use super::{Group, LINKED_MAX_BYTES, PATIENCE, Stop, Writer};
use crate::bound::EXPIRY_BYTES;
use crate::decide::next_expiry;
use crate::ports::Answer;

impl Writer {
    /// How long to sleep when nothing comes: no longer than to the earliest deadline, so that an idle book expires too. A
    /// book without space has to wait for that first.
    pub(super) fn patience(&self) -> Duration {
        match self.state.next_deadline() {
            Some((deadline, _)) if !self.read_only => self.clock.until(deadline).min(PATIENCE),
            _ => PATIENCE,
        }
    }

    /// What there is to do when nothing comes.
    pub(super) fn idle(&mut self) -> Result<(), Stop> {
        if self.read_only {
            self.has_space(BLOCK_MAX_BYTES)?;
        }
        if self.read_only { Ok(()) } else { self.expire_due() }
    }

    /// Expires what is due, in blocks of their own.
    pub(super) fn expire_due(&mut self) -> Result<(), Stop> {
        let Some((deadline, _)) = self.state.next_deadline() else { return Ok(()) };
        let now = self.clock.now().map_err(|error| Stop(error.to_string()))?;
        if deadline > now {
            return Ok(());
        }
        let mut group = Group { decided: std::mem::take(&mut self.decided_table), ..Group::default() };
        group.decided.clear();
        self.decide_and_append(group, 0)
    }

    /// The most bytes of the expiries that may come with so many bytes of events.
    pub(super) fn expiry_bytes(&self, recorded_at: Timestamp, bytes: usize) -> usize {
        if self.state.next_deadline().is_none_or(|(deadline, _)| deadline > recorded_at) {
            return 0;
        }
        // A block is closed when the next command might not fit, or at a digest: it is half full at least, or one of a few.
        // With linked batches, which may be as large as that, any two that follow each other are together.
        let blocks = bytes.saturating_mul(2).checked_div(LINKED_MAX_BYTES).unwrap_or(0).saturating_add(4);
        let most = blocks.saturating_mul(EXPIRIES_PER_BLOCK_MAX);
        self.state.due(recorded_at, most).saturating_mul(EXPIRY_BYTES)
    }

    /// At the beginning of a block: expires the holds that are due, in the order of deadline and id, up to the bound.
    pub(super) fn expire(&mut self, group: &mut Group, recorded_at: Timestamp) -> Result<(), Stop> {
        let mut left = EXPIRIES_PER_BLOCK_MAX;
        while left > 0
            && let Some(expiry) = next_expiry(&self.state, recorded_at)
        {
            for body in expiry {
                self.push(&Event::engine(body))?;
            }
            left = left.saturating_sub(1);
            if self.decided.0 >= self.next_digest {
                self.digest(group, recorded_at)?;
                left = EXPIRIES_PER_BLOCK_MAX;
            }
        }
        Ok(())
    }

    /// The verdict of an earlier command, decided in this group or recorded before.
    pub(super) fn earlier(
        &mut self,
        group: &Group,
        id: CommandId,
        recorded_at: Timestamp,
    ) -> Result<Option<RecordedEvent>, Stop> {
        let hash = self.hasher.hash_one(id.0);
        if let Some(decided) = group.decided.find(hash, |decided| decided.id == id) {
            let submission = group.submissions.get(decided.submission);
            let answer = submission.and_then(|submission| submission.answers.get(decided.command));
            let Some(Answer::Recorded { sequence, .. }) = answer else {
                unreachable!("a command that was decided in this group has its answer in this group");
            };
            return self.of_group(group, *sequence, recorded_at).map(Some);
        }
        self.recorded_verdict(id)
    }

    /// An event that is not flushed yet: in a block of the group, or in the one that is being built.
    fn of_group(&self, group: &Group, sequence: Sequence, recorded_at: Timestamp) -> Result<RecordedEvent, Stop> {
        let damaged = || Stop(format!("event {sequence} can't be read back before its flush"));
        if let Some(block) = group.blocks.iter().find(|block| block.header().last_sequence() >= sequence) {
            let event = block.event(sequence).ok().flatten().ok_or_else(damaged)?;
            return Ok(block.recorded(sequence, event));
        }
        let first = self.decided.0.saturating_sub(u64::from(self.builder.count())).saturating_add(1);
        let nth = sequence.0.checked_sub(first).ok_or_else(damaged)?;
        let event = self.builder.event(nth).ok().flatten().ok_or_else(damaged)?;
        Ok(RecordedEvent { book: self.options.book, sequence, recorded_at, epoch: self.journal.epoch(), event })
    }
}
