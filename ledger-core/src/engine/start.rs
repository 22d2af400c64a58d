//! From a journal to a running writer: newest trusted checkpoint, then the tail.
//!
//! A checkpoint is trusted only if the digest of what it holds is that of the `StateDigest` event on the chain at its
//! sequence. Every later `StateDigest` is compared on the way, so a state that went wrong is found at start at the latest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};

use event_schemas::block::BlockPlace;
use event_schemas::event::{BookOpened, ClockAccepted};
use event_schemas::sabotage::{Switch, on};
use event_schemas::{Block, BlockBuilder, BookId, CommandId, Event, EventBody, PrincipalId, Sequence};

use super::checkpoints::CheckpointWriter;
use super::clock::{ClockError, ClockGuard, check_at_start};
use super::duplicates::Recorded;
use super::queue::Queue;
use super::writer::Writer;
use super::{AcceptClock, EngineParts, Figures};
use crate::ports::{
    AppendError, CheckpointFault, Checkpoints, Head, IdIndex, IdIndexFault, Journal, JournalFault, JournalReader,
};
use crate::state::{ApplyError, State};

/// Why an engine did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The journal can't be read.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The journal can't be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The id index failed.
    #[error(transparent)]
    IdIndex(#[from] IdIndexFault),
    /// The checkpoint store failed.
    #[error(transparent)]
    Checkpoints(#[from] CheckpointFault),
    /// An event can't be applied.
    #[error("event {sequence} can't be applied: {error}")]
    Apply {
        /// Its sequence.
        sequence: Sequence,
        /// Why.
        error: ApplyError,
    },
    /// The journal is another book's.
    #[error("the journal is that of book {found:?}, not of book {expected}")]
    OtherBook {
        /// The book asked for.
        expected: BookId,
        /// The one found.
        found: Option<BookId>,
    },
    /// The clock can't be trusted.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The thread could not be started.
    #[error("the writer's thread could not be started: {0}")]
    Thread(String),
}

/// What starting took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// The sequence of the checkpoint it began with; zero for none.
    pub checkpoint: Sequence,
    /// The events applied on top.
    pub events: u64,
    /// Verdicts added to the id index.
    pub indexed: u64,
}

/// Builds the state at the journal's head, bringing the id index level on the way if one is given.
pub fn replay(
    reader: &mut dyn JournalReader,
    head: Head,
    checkpoints: &dyn Checkpoints,
    mut ids: Option<&mut dyn IdIndex>,
) -> Result<(State, Replayed), StartError> {
    let (mut state, checkpoint) = newest_checkpoint(reader, head, checkpoints)?;
    let mut replayed = Replayed { checkpoint, ..Replayed::default() };
    let mut indexed = head.sequence;
    if let Some(ids) = ids.as_deref_mut() {
        if ids.indexed_sequence() > head.sequence {
            ids.clear()?;
        }
        indexed = ids.indexed_sequence();
    }
    let behind = indexed.min(checkpoint);
    if behind >= head.sequence {
        return Ok((state, replayed));
    }
    // Reading, hashing and decoding go on beside applying.
    let (sender, receiver) = sync_channel(READ_AHEAD_BLOCKS);
    std::thread::scope(|scope| {
        scope.spawn(move || read_ahead(reader, behind, head.sequence, &sender));
        for decoded in receiver {
            let decoded: DecodedBlock = decoded?;
            for (sequence, event) in &decoded.events {
                if *sequence > checkpoint {
                    state.apply(event).map_err(|error| StartError::Apply { sequence: *sequence, error })?;
                    replayed.events = replayed.events.saturating_add(1);
                }
            }
            if let Some(ids) = ids.as_deref_mut()
                && decoded.last > indexed
            {
                let verdict = |(sequence, event): &(Sequence, Event)| {
                    event.cause.verdict_of().filter(|_| *sequence > indexed).map(|id| (id, *sequence))
                };
                let verdicts: Vec<(CommandId, Sequence)> = decoded.events.iter().filter_map(verdict).collect();
                replayed.indexed = replayed.indexed.saturating_add(u64::try_from(verdicts.len()).unwrap_or(0));
                ids.record(&verdicts, decoded.last)?;
            }
        }
        Ok((state, replayed))
    })
}

/// How many decoded blocks wait at most to be applied.
const READ_AHEAD_BLOCKS: usize = 4;

pub(super) struct DecodedBlock {
    pub(super) events: Vec<(Sequence, Event)>,
    pub(super) last: Sequence,
}

/// Sends the blocks behind a sequence up to the head, decoded; or why that can't be done.
fn read_ahead(
    reader: &mut dyn JournalReader,
    behind: Sequence,
    head: Sequence,
    sender: &SyncSender<Result<DecodedBlock, JournalFault>>,
) {
    let mut next = reader.block_at(behind.next());
    loop {
        let decoded = match next {
            Ok(Some(block)) => decode(&block),
            Ok(None) => Err(JournalFault::Damaged(format!("it ends before its head, {head}"))),
            Err(fault) => Err(fault),
        };
        let at_end = decoded.as_ref().map_or(true, |decoded| decoded.last >= head);
        if sender.send(decoded).is_err() || at_end {
            return;
        }
        next = reader.next_block();
    }
}

pub(super) fn decode(block: &Block) -> Result<DecodedBlock, JournalFault> {
    let events: Result<Vec<_>, _> = block.events().collect();
    let events = events.map_err(|error| JournalFault::Damaged(error.to_string()))?;
    Ok(DecodedBlock { events, last: block.header().last_sequence() })
}

pub(super) fn newest_checkpoint(
    reader: &mut dyn JournalReader,
    head: Head,
    checkpoints: &dyn Checkpoints,
) -> Result<(State, Sequence), StartError> {
    for sequence in checkpoints.sequences()? {
        // One that can't be read is passed over like one that is wrong: checkpoints only make starting faster.
        if sequence <= head.sequence
            && let Ok(Some(bytes)) = checkpoints.load(sequence)
            && let Ok(mut state) = State::decode(&bytes)
            && let Some(block) = reader.block_at(sequence)?
            && let Ok(Some(event)) = block.event(sequence)
            && let EventBody::StateDigest(recorded) = event.body
            && (state.digest() == recorded.digest || on(Switch::DigestUnchecked))
        {
            return Ok((state, sequence));
        }
        // If it can't be dropped now, the next start passes over it again.
        let _ = checkpoints.discard(sequence);
    }
    Ok((State::new(), Sequence::ZERO))
}

pub(super) fn prepare(
    parts: EngineParts,
    queue: Arc<Queue>,
    figures: Arc<Figures>,
) -> Result<(Writer, Replayed), StartError> {
    let EngineParts { mut journal, mut ids, checkpoints, clock, options } = parts;
    let found = journal.head();
    // Watched from the first look on: replaying takes minutes, and that is when a clock that was wrong at boot is set.
    let (mut clock, wall) = ClockGuard::start(clock, found.recorded_at);
    let fresh = found.sequence == Sequence::ZERO;
    let clock_checked = check_at_start(wall, (!fresh).then_some(found.recorded_at));
    if fresh {
        clock_checked.clone()?;
        let opened = BookOpened { book: options.book, nonce: PrincipalId(options.nonce) };
        append_engine_event(journal.as_mut(), EventBody::BookOpened(opened), options.book, wall)?;
    }
    let (state, replayed) =
        replay(journal.reader()?.as_mut(), journal.head(), checkpoints.as_ref(), Some(ids.as_mut()))?;
    if state.book() != Some(options.book) {
        return Err(StartError::OtherBook { expected: options.book, found: state.book() });
    }
    match (clock_checked, &options.accept_clock) {
        (Ok(()), _) => {}
        (Err(error @ ClockError::OutOfRange(_)), _) | (Err(error), None) => return Err(error.into()),
        (Err(_), Some(AcceptClock { actor, reason })) => {
            let accepted = ClockAccepted {
                previous: found.recorded_at,
                accepted: wall,
                actor: shortened(actor),
                reason: shortened(reason),
            };
            let at = found.recorded_at.max(wall);
            append_engine_event(journal.as_mut(), EventBody::ClockAccepted(accepted), options.book, at)?;
            ids.record(&[], journal.head().sequence)?;
        }
    }
    let head = journal.head();
    figures.durable.store(head.sequence.0, Ordering::Release);
    figures.checkpoint.store(replayed.checkpoint.0, Ordering::Relaxed);
    let checkpoint_writer = CheckpointWriter::start(checkpoints, Arc::clone(&figures))
        .map_err(|error| StartError::Thread(error.to_string()))?;
    let recorded = Recorded::new(journal.reader()?);
    clock.recorded(head.recorded_at);
    let writer = Writer::new(
        journal,
        ids,
        recorded,
        state,
        clock,
        checkpoint_writer,
        options,
        queue,
        figures,
        replayed.checkpoint,
    );
    Ok((writer, replayed))
}

/// Cuts an operator's text to what an event may hold.
fn shortened(text: &str) -> Box<str> {
    let mut end = text.len().min(event_schemas::bounds::TEXT_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().into()
}

fn append_engine_event(
    journal: &mut dyn Journal,
    body: EventBody,
    book: BookId,
    recorded_at: event_schemas::Timestamp,
) -> Result<(), StartError> {
    let head = journal.head();
    let mut builder = BlockBuilder::new();
    builder.push(&Event::engine(body));
    let block = builder.seal(BlockPlace {
        book,
        first_sequence: head.sequence.next(),
        recorded_at,
        epoch: journal.epoch(),
        previous: head.hash,
    });
    journal.secure_space(block.bytes().len())?;
    journal.append(std::slice::from_ref(&block))?;
    Ok(())
}
