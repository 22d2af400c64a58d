//! The writer's loop. What it does with time and with earlier verdicts stands in `writer/holds.rs`, with linked batches in
//! `writer/linked.rs`, and with dry runs in `writer/preview.rs`.

mod holds;
mod linked;
mod preview;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use event_schemas::block::BlockPlace;
use event_schemas::bounds::{BLOCK_MAX_BYTES, DIGEST_EVERY_EVENTS, GROUP_MAX_COMMANDS};
use event_schemas::event::StateDigest;
use event_schemas::sabotage::{Switch, on};
use event_schemas::{
    Block, BlockBuilder, BlockHash, Command, CommandId, Event, EventBody, RecordedEvent, Sequence, Timestamp,
};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

pub(super) use self::linked::LINKED_MAX_BYTES;
use super::checkpoints::CheckpointWriter;
use super::clock::ClockGuard;
use super::duplicates::Recorded;
use super::queue::{Queue, Work};
use super::{EngineOptions, Figures};
use crate::asked::{difference, differing_field, verdict};
use crate::bound;
use crate::decide::{Context, decide, named};
use crate::ports::{Answer, AppendError, EngineFault, IdIndex, Journal, Verdict, WriterState};
use crate::state::State;

/// How long the writer sleeps at most when nothing comes, before it looks whether space has returned.
const PATIENCE: Duration = Duration::from_millis(500);

/// Room kept in every block for a `StateDigest` event.
const DIGEST_ROOM_BYTES: usize = 128;

/// Why the writer stops for good.
struct Stop(String);

pub(super) struct Writer {
    journal: Box<dyn Journal>,
    ids: Box<dyn IdIndex>,
    recorded: Recorded,
    state: State,
    clock: ClockGuard,
    checkpoints: CheckpointWriter,
    options: EngineOptions,
    queue: Arc<Queue>,
    figures: Arc<Figures>,
    builder: BlockBuilder,
    /// The last event decided, durable or not.
    decided: Sequence,
    previous: BlockHash,
    next_digest: u64,
    checkpoint: Sequence,
    read_only: bool,
    hasher: FixedState,
    decided_table: HashTable<Decided>,
}

/// A command of the group that was decided: where it stands in the group.
#[derive(Clone, Copy)]
struct Decided {
    id: CommandId,
    submission: usize,
    command: usize,
}

/// A submission while its group is being decided.
struct Submission {
    commands: Vec<Command>,
    /// Whether all take place or none.
    linked: bool,
    answers: Vec<Answer>,
    reply: Owed<Vec<Answer>>,
}

/// A reply that is owed: whatever becomes of the writer, who waits for it is told, if only that the writer has stopped. A
/// reply that panics is its own affair and not the book's.
struct Owed<T>(Option<OwedReply<T>>);

type OwedReply<T> = Box<dyn FnOnce(Result<T, EngineFault>) + Send>;

impl<T> Owed<T> {
    fn new(reply: OwedReply<T>) -> Self {
        Self(Some(reply))
    }

    fn answer(mut self, answer: Result<T, EngineFault>) {
        self.give(answer);
    }

    fn give(&mut self, answer: Result<T, EngineFault>) {
        if let Some(reply) = self.0.take() {
            // The panic hook has written it down.
            let _ = catch_unwind(AssertUnwindSafe(|| reply(answer)));
        }
    }
}

impl<T> Drop for Owed<T> {
    fn drop(&mut self) {
        self.give(Err(EngineFault::Stopped));
    }
}

/// What is decided before one flush.
#[derive(Default)]
struct Group {
    submissions: Vec<Submission>,
    blocks: Vec<Block>,
    verdicts: Vec<(CommandId, Sequence)>,
    /// The commands decided in this group, by id. The table is the writer's, so that it keeps its room.
    decided: HashTable<Decided>,
    checkpoint: Option<(Sequence, Vec<u8>)>,
    rejected: usize,
    replayed: usize,
}

/// Refuses what waits when the writer ends, however it ends.
struct StopGuard {
    queue: Arc<Queue>,
    figures: Arc<Figures>,
}

impl Drop for StopGuard {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() { "the writer failed an assertion: see the log" } else { "stopped" };
        self.figures.set_condition(WriterState::Stopped, reason.into());
        for work in self.queue.abandon() {
            match work {
                Work::Commands { reply, .. } => Owed::new(reply).answer(Err(EngineFault::Stopped)),
                Work::Preview { reply, .. } => Owed::new(reply).answer(Err(EngineFault::Stopped)),
                Work::Lookup { reply, .. } => Owed::new(reply).answer(Err(EngineFault::Stopped)),
            }
        }
    }
}

impl Writer {
    #[expect(clippy::too_many_arguments, reason = "called once, with the parts of an engine")]
    pub(super) fn new(
        journal: Box<dyn Journal>,
        ids: Box<dyn IdIndex>,
        recorded: Recorded,
        state: State,
        clock: ClockGuard,
        checkpoints: CheckpointWriter,
        options: EngineOptions,
        queue: Arc<Queue>,
        figures: Arc<Figures>,
        checkpoint: Sequence,
    ) -> Self {
        let head = journal.head();
        let hasher = FixedState::with_seed(u64::try_from(options.nonce & u128::from(u64::MAX)).unwrap_or(0));
        Self {
            journal,
            ids,
            recorded,
            state,
            clock,
            checkpoints,
            options,
            queue,
            figures,
            builder: BlockBuilder::new(),
            decided: head.sequence,
            previous: head.hash,
            next_digest: digest_after(head.sequence),
            checkpoint,
            read_only: false,
            hasher,
            decided_table: HashTable::new(),
        }
    }

    /// Runs until the queue is closed and empty, or until the writer has to stop.
    pub(super) fn run(mut self) {
        let guard = StopGuard { queue: Arc::clone(&self.queue), figures: Arc::clone(&self.figures) };
        loop {
            let patience = self.patience();
            let Some(work) = self.queue.take(GROUP_MAX_COMMANDS, self.options.group_max_bytes, patience) else { break };
            let done = if work.is_empty() { self.idle() } else { self.group(work) };
            if let Err(Stop(reason)) = done {
                self.figures.set_condition(WriterState::Stopped, reason);
                break;
            }
        }
        drop(guard);
    }

    /// Decides, appends and answers one group.
    fn group(&mut self, work: Vec<Work>) -> Result<(), Stop> {
        let (mut lookups, mut previews) = (Vec::new(), Vec::new());
        let mut group = Group { decided: std::mem::take(&mut self.decided_table), ..Group::default() };
        group.decided.clear();
        let mut bytes = 0_usize;
        for work in work {
            match work {
                Work::Lookup { id, reply } => lookups.push((id, Owed::new(reply))),
                Work::Preview { commands, linked, reply, .. } => previews.push((commands, linked, Owed::new(reply))),
                Work::Commands { commands, bytes: more, linked, reply } => {
                    bytes = bytes.saturating_add(more);
                    let answers = Vec::with_capacity(commands.len());
                    group.submissions.push(Submission { commands, linked, answers, reply: Owed::new(reply) });
                }
            }
        }
        let outcome = if group.submissions.is_empty() {
            self.decided_table = group.decided;
            if self.read_only { Ok(()) } else { self.expire_due() }
        } else {
            self.decide_and_append(group, bytes)
        };
        for (id, reply) in lookups {
            self.look_up(id, reply);
        }
        outcome?;
        // Only now is the state what is durable.
        previews.into_iter().try_for_each(|(commands, linked, reply)| self.preview(&commands, linked, reply))
    }

    fn decide_and_append(&mut self, mut group: Group, bytes: usize) -> Result<(), Stop> {
        // Whoever waits is told when the group is dropped.
        let recorded_at = self.clock.now().map_err(|error| Stop(error.to_string()))?;
        if !self.has_space(bytes.saturating_add(self.expiry_bytes(recorded_at, bytes)))? {
            return self.answer_without_space(group);
        }
        let decided = self.decide_group(&mut group, recorded_at);
        if on(Switch::AnsweredEarly) {
            group.submissions.iter_mut().for_each(|early| early.reply.give(Ok(early.answers.clone())));
        }
        let appended = decided.and_then(|()| self.append(&group));
        if let Err(stop) = appended {
            // The state is ahead of the journal now: nothing may be decided on it any more.
            for submission in group.submissions {
                submission.reply.answer(Err(EngineFault::Stopped));
            }
            return Err(stop);
        }
        self.decided_table = std::mem::take(&mut group.decided);
        let verdicts = std::mem::take(&mut group.verdicts);
        Figures::add(&self.figures.accepted, verdicts.len());
        Figures::add(&self.figures.rejected, group.rejected);
        Figures::add(&self.figures.replayed, group.replayed);
        for submission in group.submissions {
            submission.reply.answer(Ok(submission.answers));
        }
        if let Some((sequence, state)) = group.checkpoint {
            self.checkpoints.offer(sequence, state);
        }
        if group.blocks.is_empty() {
            return Ok(());
        }
        self.ids.record(&verdicts, self.journal.head().sequence).map_err(|fault| Stop(fault.to_string()))
    }

    /// Without space nothing is decided. Verdicts that stand in the journal are told again all the same: whoever lost an
    /// answer must not have to wait for a larger disk.
    fn answer_without_space(&mut self, group: Group) -> Result<(), Stop> {
        for Submission { commands, linked, reply, .. } in group.submissions {
            let mut known = Vec::with_capacity(commands.len());
            for command in &commands {
                let answer = self.known(command)?;
                if answer.is_none() && !linked {
                    break;
                }
                known.push(answer);
            }
            let answers = if linked { linked::retried(&commands, known) } else { known.into_iter().collect() };
            match answers.filter(|answers: &Vec<Answer>| answers.len() == commands.len()) {
                Some(answers) => {
                    Figures::add(&self.figures.replayed, answers.len());
                    reply.answer(Ok(answers));
                }
                None => reply.answer(Err(EngineFault::ReadOnly)),
            }
        }
        Ok(())
    }

    /// Secures space for a group, before anything is decided. `false`: there is none, and the book is read-only.
    fn has_space(&mut self, bytes: usize) -> Result<bool, Stop> {
        // Headers and frames come on top of the events; an eighth is far more than they take.
        let room = bytes.saturating_add(bytes >> 3).saturating_add(16 * 1024);
        match self.journal.secure_space(room) {
            Ok(()) => {
                if std::mem::take(&mut self.read_only) {
                    self.figures.set_condition(WriterState::Serving, String::new());
                }
                Ok(true)
            }
            Err(AppendError::NoSpace(reason)) => {
                self.read_only = true;
                self.figures.set_condition(WriterState::ReadOnly, reason);
                Ok(false)
            }
            Err(error) => Err(Stop(error.to_string())),
        }
    }

    fn decide_group(&mut self, group: &mut Group, recorded_at: Timestamp) -> Result<(), Stop> {
        self.expire(group, recorded_at)?;
        for submission in 0..group.submissions.len() {
            let Some(commands) = group.submissions.get_mut(submission).map(|it| std::mem::take(&mut it.commands))
            else {
                continue;
            };
            if group.submissions.get(submission).is_some_and(|submission| submission.linked) {
                let answers = self.answer_linked(group, submission, &commands, recorded_at)?;
                if let Some(submission) = group.submissions.get_mut(submission) {
                    submission.answers = answers;
                }
            } else {
                for (place, command) in commands.iter().enumerate() {
                    let at = Decided { id: command.id, submission, command: place };
                    let answer = self.answer(group, &commands, at, command, recorded_at)?;
                    if let Some(submission) = group.submissions.get_mut(submission) {
                        submission.answers.push(answer);
                    }
                }
            }
            if let Some(submission) = group.submissions.get_mut(submission) {
                submission.commands = commands;
            }
        }
        if !self.builder.is_empty() {
            self.seal(group, recorded_at);
        }
        Ok(())
    }

    /// Answers a command: with the verdict it has, here or in the journal, or by deciding it.
    fn answer(
        &mut self,
        group: &mut Group,
        current: &[Command],
        at: Decided,
        command: &Command,
        recorded_at: Timestamp,
    ) -> Result<Answer, Stop> {
        if let Some(answer) = self.found(group, current, at, command)? {
            group.replayed = group.replayed.saturating_add(1);
            return Ok(answer);
        }
        self.make_room(group, bound::event_bytes(command), recorded_at)?;
        let (verdict, sequence) = self.decide_one(group, command, recorded_at)?;
        if matches!(verdict, Verdict::Rejected(_)) {
            group.rejected = group.rejected.saturating_add(1);
        }
        self.note_decided(group, at, sequence);
        if sequence.0 >= self.next_digest {
            self.digest(group, recorded_at)?;
        }
        Ok(Answer::Recorded { verdict, sequence, recorded_at, replayed: false })
    }

    /// The answer to a command that has its verdict, in this group or in the journal.
    fn found(
        &mut self,
        group: &Group,
        current: &[Command],
        at: Decided,
        command: &Command,
    ) -> Result<Option<Answer>, Stop> {
        let hash = self.hasher.hash_one(command.id.0);
        match group.decided.find(hash, |decided| decided.id == command.id).copied() {
            Some(earlier) => Ok(Some(same_group(group, current, earlier, at, command))),
            None => self.known(command),
        }
    }

    fn note_decided(&self, group: &mut Group, at: Decided, sequence: Sequence) {
        let hasher = &self.hasher;
        group.decided.insert_unique(hasher.hash_one(at.id.0), at, |decided| hasher.hash_one(decided.id.0));
        group.verdicts.push((at.id, sequence));
    }

    /// Closes the block if so many bytes of events might not fit in it; a new one begins with the holds that are due.
    fn make_room(&mut self, group: &mut Group, bytes: usize, recorded_at: Timestamp) -> Result<(), Stop> {
        if self.builder.len().saturating_add(bytes).saturating_add(DIGEST_ROOM_BYTES) > BLOCK_MAX_BYTES {
            self.seal(group, recorded_at);
        }
        if self.builder.is_empty() { self.expire(group, recorded_at) } else { Ok(()) }
    }

    /// The answer to a command whose verdict stands in the journal.
    fn known(&mut self, command: &Command) -> Result<Option<Answer>, Stop> {
        Ok(self.recorded_verdict(command.id)?.map(|recorded| from_journal(&recorded, command)))
    }

    /// The verdict of a command as the journal has it.
    fn recorded_verdict(&mut self, id: CommandId) -> Result<Option<RecordedEvent>, Stop> {
        let Some(sequence) = self.ids.lookup(id).map_err(|fault| Stop(fault.to_string()))? else {
            return Ok(None);
        };
        let recorded = self.recorded.event(sequence).map_err(|fault| Stop(fault.to_string()))?;
        // An index that leads elsewhere would give this command another one's verdict, and no effect.
        if recorded.event.cause.verdict_of() != Some(id) {
            return Err(Stop(format!("the id index is wrong: event {sequence} is not the verdict it names")));
        }
        Ok(Some(recorded))
    }

    fn decide_one(
        &mut self,
        group: &Group,
        command: &Command,
        recorded_at: Timestamp,
    ) -> Result<(Verdict, Sequence), Stop> {
        let earlier = match named(&self.state, &command.body) {
            Some(id) => self.earlier(group, id, recorded_at)?,
            None => None,
        };
        let context = Context { recorded_at, named: earlier.as_ref() };
        let mut said = Verdict::Accepted;
        for event in decide(&self.state, context, command).events(command) {
            said = verdict(&event.body);
            self.push(&event)?;
        }
        Ok((said, self.decided))
    }

    /// Numbers an event, writes it into the block and applies it.
    fn push(&mut self, event: &Event) -> Result<(), Stop> {
        self.write(event);
        self.apply(event)
    }

    fn write(&mut self, event: &Event) {
        self.builder.push(event);
        self.decided = self.decided.next();
    }

    fn apply(&mut self, event: &Event) -> Result<(), Stop> {
        // What was decided on this very state fits it; if not, this program is wrong and must not go on.
        self.state.apply(event).map_err(|error| Stop(format!("event {} does not apply: {error}", self.decided)))
    }

    /// Closes the block that crosses a multiple of `DIGEST_EVERY_EVENTS` with the state's digest.
    fn digest(&mut self, group: &mut Group, recorded_at: Timestamp) -> Result<(), Stop> {
        let digest = self.state.digest();
        let accounts = u64::try_from(self.state.accounts().len()).unwrap_or(0);
        self.push(&Event::engine(EventBody::StateDigest(StateDigest { digest, accounts })))?;
        self.next_digest = digest_after(self.decided);
        // A checkpoint costs as much as its accounts: the more there are, the rarer it is.
        let every = self.options.checkpoint_every_events.max(accounts.saturating_mul(8));
        if self.decided.0.saturating_sub(self.checkpoint.0) >= every {
            self.checkpoint = self.decided;
            group.checkpoint = Some((self.decided, self.state.encode()));
        }
        self.seal(group, recorded_at);
        Ok(())
    }

    fn seal(&mut self, group: &mut Group, recorded_at: Timestamp) {
        let count = u64::from(self.builder.count());
        let block = self.builder.seal(BlockPlace {
            book: self.options.book,
            first_sequence: Sequence(self.decided.0.saturating_sub(count)).next(),
            recorded_at,
            epoch: self.journal.epoch(),
            previous: self.previous,
        });
        self.previous = block.hash();
        group.blocks.push(block);
    }

    fn append(&mut self, group: &Group) -> Result<(), Stop> {
        if group.blocks.is_empty() {
            return Ok(());
        }
        // Space was secured, so even "no space" leaves a state that is ahead of the journal.
        self.journal.append(&group.blocks).map_err(|error| Stop(error.to_string()))?;
        debug_assert_eq!(self.journal.head().sequence, self.decided);
        self.figures.durable.store(self.decided.0, Ordering::Release);
        Figures::add(&self.figures.flushes, 1);
        let bytes = group.blocks.iter().fold(0_usize, |sum, block| sum.saturating_add(block.bytes().len()));
        Figures::add(&self.figures.appended_bytes, bytes);
        Ok(())
    }

    fn look_up(&mut self, id: CommandId, reply: Owed<Option<RecordedEvent>>) {
        let found = match self.ids.lookup(id) {
            Ok(None) => Ok(None),
            Ok(Some(sequence)) => match self.recorded.event(sequence) {
                Ok(recorded) if recorded.event.cause.verdict_of() == Some(id) => Ok(Some(recorded)),
                Ok(_) | Err(_) => Err(EngineFault::Stopped),
            },
            Err(_) => Err(EngineFault::Stopped),
        };
        reply.answer(found);
    }
}

/// The first multiple of `DIGEST_EVERY_EVENTS` behind a sequence.
fn digest_after(sequence: Sequence) -> u64 {
    let crossed = sequence.0.checked_div(DIGEST_EVERY_EVENTS).unwrap_or(0);
    crossed.saturating_add(1).saturating_mul(DIGEST_EVERY_EVENTS)
}

/// The answer to a command whose id was decided earlier in the same group.
fn same_group(group: &Group, current: &[Command], earlier: Decided, at: Decided, command: &Command) -> Answer {
    let submission = group.submissions.get(earlier.submission);
    let commands = if earlier.submission == at.submission {
        current
    } else {
        submission.map_or(&[][..], |submission| &submission.commands)
    };
    let before = commands.get(earlier.command);
    let answer = submission.and_then(|submission| submission.answers.get(earlier.command));
    let (Some(before), Some(Answer::Recorded { verdict, sequence, recorded_at, .. })) = (before, answer) else {
        unreachable!("a command that was decided in this group has its answer in this group");
    };
    let field = if before.actor == command.actor { differing_field(&before.body, &command.body) } else { Some("id") };
    match field {
        Some(field) => Answer::Conflict { field, sequence: *sequence },
        None => Answer::Recorded {
            verdict: verdict.clone(),
            sequence: *sequence,
            recorded_at: *recorded_at,
            replayed: true,
        },
    }
}

/// The answer to a command whose id has its verdict in the journal.
fn from_journal(recorded: &RecordedEvent, command: &Command) -> Answer {
    match difference(&recorded.event, command) {
        Some(field) => Answer::Conflict { field, sequence: recorded.sequence },
        None => Answer::Recorded {
            verdict: verdict(&recorded.event.body),
            sequence: recorded.sequence,
            recorded_at: recorded.recorded_at,
            replayed: true,
        },
    }
}
