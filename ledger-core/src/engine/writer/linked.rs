//! Linked batches: all or nothing, in one block.
//!
//! The commands are decided one after the other in an attempt at the state, so that each sees what those before it did; their
//! events wait. If all are accepted, the events go into the block. If one is refused, the attempt is taken back and every
//! command gets a refusal on record: that one its own, the others [`Rejection::LinkedItemRefused`]. Applying the events, as a
//! replay does, needs no knowledge of any of this.

use std::collections::BTreeMap;

use event_schemas::block::HEADER_BYTES;
use event_schemas::bounds::{BLOCK_MAX_BYTES, EXPIRIES_PER_BLOCK_MAX};
use event_schemas::event::CommandRejected;
use event_schemas::{Cause, Command, CommandId, Event, EventBody, RecordedEvent, Rejection, Sequence, Timestamp};

use super::{DIGEST_ROOM_BYTES, Decided, Group, Stop, Writer};
use crate::bound::{EXPIRY_BYTES, event_bytes};
use crate::decide::{Context, decide, named};
use crate::ports::{Answer, Verdict};

/// The most bytes of events that a linked batch may cause: what fits in a block that also expires as many holds as it may.
pub(in crate::engine) const LINKED_MAX_BYTES: usize =
    BLOCK_MAX_BYTES - HEADER_BYTES - DIGEST_ROOM_BYTES - EXPIRIES_PER_BLOCK_MAX * EXPIRY_BYTES;

/// A linked batch that is being decided.
pub(super) struct Batch {
    /// The sequence before its first event.
    before: Sequence,
    /// Its events so far: applied, but in no block.
    events: Vec<Event>,
    /// The places of the verdicts among them.
    verdicts: BTreeMap<CommandId, usize>,
}

impl Batch {
    pub(super) const fn behind(before: Sequence) -> Self {
        Self { before, events: Vec::new(), verdicts: BTreeMap::new() }
    }

    /// Notes an event that was applied.
    pub(super) fn push(&mut self, event: Event) {
        if let Some(id) = event.cause.verdict_of() {
            self.verdicts.insert(id, self.events.len());
        }
        self.events.push(event);
    }

    /// Its events so far.
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    fn sequence(&self, place: usize) -> Sequence {
        Sequence(self.before.0.saturating_add(u64::try_from(place).unwrap_or(u64::MAX))).next()
    }
}

impl Writer {
    /// Answers a linked batch: with the verdicts it has, or by deciding it.
    pub(super) fn answer_linked(
        &mut self,
        group: &mut Group,
        submission: usize,
        commands: &[Command],
        recorded_at: Timestamp,
    ) -> Result<Vec<Answer>, Stop> {
        let at = |command| move |id| Decided { id, submission, command };
        let mut known = Vec::with_capacity(commands.len());
        for (place, command) in commands.iter().enumerate() {
            known.push(self.found(group, commands, at(place)(command.id), command)?);
        }
        if let Some(answers) = retried(commands, known) {
            group.replayed = group.replayed.saturating_add(answers.len());
            return Ok(answers);
        }
        let bytes = commands.iter().fold(0_usize, |sum, command| sum.saturating_add(event_bytes(command)));
        self.make_room(group, bytes, recorded_at)?;
        let decided = self.decide_linked(group, commands, recorded_at)?;
        let mut answers = Vec::with_capacity(commands.len());
        for (place, (command, (verdict, sequence))) in commands.iter().zip(decided).enumerate() {
            if matches!(verdict, Verdict::Rejected(_)) {
                group.rejected = group.rejected.saturating_add(1);
            }
            self.note_decided(group, at(place)(command.id), sequence);
            answers.push(Answer::Recorded { verdict, sequence, recorded_at, replayed: false });
        }
        if self.decided.0 >= self.next_digest {
            self.digest(group, recorded_at)?;
        }
        Ok(answers)
    }

    /// Decides all commands, and writes their events or their refusals into the block.
    fn decide_linked(
        &mut self,
        group: &Group,
        commands: &[Command],
        recorded_at: Timestamp,
    ) -> Result<Vec<(Verdict, Sequence)>, Stop> {
        let mut batch = Batch::behind(self.decided);
        self.state.attempt();
        for (place, command) in commands.iter().enumerate() {
            if let Some(rejection) = self.try_linked(&mut batch, group, command, recorded_at)? {
                self.state.take_back();
                return self.refuse_linked(commands, place, &rejection);
            }
        }
        self.state.keep();
        batch.events.iter().for_each(|event| self.write(event));
        let sequence = |command: &Command| batch.verdicts.get(&command.id).map(|place| batch.sequence(*place));
        Ok(commands.iter().filter_map(sequence).map(|sequence| (Verdict::Accepted, sequence)).collect())
    }

    /// Decides one command of an attempt, and applies what it causes; or says why it is refused.
    pub(super) fn try_linked(
        &mut self,
        batch: &mut Batch,
        group: &Group,
        command: &Command,
        recorded_at: Timestamp,
    ) -> Result<Option<Rejection>, Stop> {
        let earlier = match named(&self.state, &command.body) {
            Some(id) => match self.of_batch(batch, id, recorded_at) {
                Some(earlier) => Some(earlier),
                None => self.earlier(group, id, recorded_at)?,
            },
            None => None,
        };
        let decision = decide(&self.state, Context { recorded_at, named: earlier.as_ref() }, command);
        if let EventBody::CommandRejected(rejected) = decision.verdict {
            return Ok(Some(rejected.rejection));
        }
        for event in decision.events(command) {
            self.apply(&event)?;
            batch.push(event);
        }
        Ok(None)
    }

    /// The verdict of an earlier command of the same batch.
    fn of_batch(&self, batch: &Batch, id: CommandId, recorded_at: Timestamp) -> Option<RecordedEvent> {
        let place = *batch.verdicts.get(&id)?;
        let (sequence, event) = (batch.sequence(place), batch.events.get(place)?.clone());
        Some(RecordedEvent { book: self.options.book, sequence, recorded_at, epoch: self.journal.epoch(), event })
    }

    /// Refuses all: one because of what it asked for, the others because of that one.
    fn refuse_linked(
        &mut self,
        commands: &[Command],
        item: usize,
        rejection: &Rejection,
    ) -> Result<Vec<(Verdict, Sequence)>, Stop> {
        let mut decided = Vec::with_capacity(commands.len());
        for (place, command) in commands.iter().enumerate() {
            let rejection = if place == item { rejection.clone() } else { refused_with(commands, item) };
            let rejected = CommandRejected { command: command.body.clone(), rejection: rejection.clone() };
            let cause = Cause::Verdict { command: command.id, actor: command.actor };
            self.push(&Event { cause, body: EventBody::CommandRejected(rejected) })?;
            decided.push((Verdict::Rejected(rejection), self.decided));
        }
        Ok(decided)
    }
}

/// Why the other commands of a batch are refused.
pub(super) fn refused_with(commands: &[Command], item: usize) -> Rejection {
    let command = commands.get(item).map_or(CommandId(0), |command| command.id);
    Rejection::LinkedItemRefused { item: u32::try_from(item).unwrap_or(u32::MAX), command }
}

/// The answers to a linked batch of which ids are known; `None` if none is. A batch that is asked for again has its verdicts
/// again. Anything else is a conflict, for all of it: nothing is recorded of a part.
pub(super) fn retried(commands: &[Command], known: Vec<Option<Answer>>) -> Option<Vec<Answer>> {
    let first = known.iter().flatten().next().map(|answer| match answer {
        Answer::Recorded { sequence, .. } | Answer::Conflict { sequence, .. } => *sequence,
    })?;
    let all: Option<Vec<Answer>> = known.iter().cloned().collect();
    let field = match all {
        Some(answers) if outcome_of_one(commands, &answers) => return Some(answers),
        Some(_) => "linked",
        None => "id",
    };
    let conflict = |answer| match answer {
        Some(Answer::Recorded { sequence, .. }) => Answer::Conflict { field, sequence },
        Some(conflict @ Answer::Conflict { .. }) => conflict,
        None => Answer::Conflict { field, sequence: first },
    };
    Some(known.into_iter().map(conflict).collect())
}

/// Whether verdicts are those that a linked batch can have: all accepted, or one refused and all others because of it.
fn outcome_of_one(commands: &[Command], answers: &[Answer]) -> bool {
    let rejections: Option<Vec<Option<&Rejection>>> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Recorded { verdict: Verdict::Accepted, .. } => Some(None),
            Answer::Recorded { verdict: Verdict::Rejected(rejection), .. } => Some(Some(rejection)),
            Answer::Conflict { .. } => None,
        })
        .collect();
    let Some(rejections) = rejections else { return false };
    let own = |rejection: Option<&Rejection>| !matches!(rejection, Some(Rejection::LinkedItemRefused { .. }) | None);
    match rejections.iter().position(|rejection| own(*rejection)) {
        None => rejections.iter().all(Option::is_none),
        Some(item) => {
            let with = refused_with(commands, item);
            (0..).zip(&rejections).all(|(place, rejection)| place == item || *rejection == Some(&with))
        }
    }
}
