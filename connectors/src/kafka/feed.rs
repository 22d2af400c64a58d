//! The journal, read back from its topic: for projectors that run where the journal can't be reached.
//!
//! It gives out the blocks of the journal, not merely its events: each is put together from its events' JSON and the block
//! header that its last record carries, and must have the hash that this header has. So what a projector applies is, byte for
//! byte, what the writer appended; what is missing, out of its place, changed or of another book is a fault that names the
//! sequence, and the projector stops (law 9).
//!
//! Bounded: it holds one block. Duplicates need no memory of ids, since the journal is dense: what is not above the last
//! sequence was there already. That does not rest on transactions.

use std::time::{Duration, Instant};

use event_schemas::bounds::BLOCK_MAX_BYTES;
use event_schemas::{Block, BlockHash, BlockHeader, BookId, Event, RecordedEvent, Sequence};
use projections::ports::{EventFeed, FeedFault};
use rdkafka::Message as _;

use super::client::{ANSWERS_WITHIN, Polled, Reader};
use super::cloud_event::{block_of, header, text_of};
use super::error::KafkaFault;
use super::settings::KafkaSettings;

/// How many records are passed over rather than looked for.
const NEAR: i64 = 2_000;

/// How long one poll lasts.
const POLL_MIN: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(200);

/// More events than a block can hold: none is shorter than 20 bytes.
const BLOCK_MAX_EVENTS: u64 = BLOCK_MAX_BYTES as u64 / 20;

/// The events of a block of which the last has not come yet.
#[derive(Default)]
struct Open {
    first: Sequence,
    last: Sequence,
    events: Vec<Event>,
}

/// A feed of the blocks of a book.
pub struct KafkaFeed {
    reader: Reader,
    topic: String,
    book: BookId,
    /// What was asked for last, if the reader stands right for it.
    asked: Option<Sequence>,
    /// Behind which event the next record is expected; `None` until the end of a block was seen, behind which one begins.
    reached: Option<Sequence>,
    /// Whether all that is there was read.
    at_end: bool,
    open: Open,
    /// The hash of the block before, once one was read.
    previous: Option<BlockHash>,
}

fn fault(sequence: Sequence, reason: impl std::fmt::Display) -> FeedFault {
    FeedFault(format!("event {sequence}: {reason}"))
}

fn of_kafka(error: &KafkaFault) -> FeedFault {
    FeedFault(error.to_string())
}

impl KafkaFeed {
    /// Opens the journal's topic of a book.
    pub fn open(settings: &KafkaSettings, book: BookId) -> Result<Self, KafkaFault> {
        let reader = Reader::new(settings)?;
        let topic = settings.journal_topic(book);
        match reader.partitions(&topic)? {
            None => Err(KafkaFault::MissingTopic { topic }),
            Some(1) => Ok(Self {
                reader,
                topic,
                book,
                asked: None,
                reached: None,
                at_end: false,
                open: Open::default(),
                previous: None,
            }),
            Some(found) => Err(KafkaFault::Partitions { topic, found }),
        }
    }

    /// Points at an event far enough before `after` that the end of a block comes before it.
    fn seek(&mut self, after: Sequence) -> Result<(), KafkaFault> {
        let target = Sequence(after.0.saturating_sub(BLOCK_MAX_EVENTS));
        let (mut low, mut high) = self.reader.bounds(&self.topic, 0)?;
        while high - low > NEAR {
            let middle = low + (high - low) / 2;
            let found = self
                .reader
                .first(&self.topic, 0, (middle, high), |record| Ok((record.offset(), sequence_of(record)?)))?;
            match found {
                Some((offset, sequence)) if sequence <= target => low = offset,
                Some(_) | None => high = middle,
            }
        }
        self.reader.point_at(&self.topic, 0, low)?;
        self.asked = Some(after);
        self.reached = (target == Sequence::ZERO).then_some(Sequence::ZERO);
        self.at_end = false;
        self.previous = None;
        self.open = Open::default();
        Ok(())
    }

    /// Takes one record; gives a block if that was its last event.
    fn take(&mut self, after: Sequence, record: Taken) -> Result<Option<Block>, FeedFault> {
        let Taken { recorded, block } = record;
        let sequence = recorded.sequence;
        if recorded.book != self.book {
            return Err(fault(sequence, format!("it is of book {}, not of book {}", recorded.book, self.book)));
        }
        match self.reached {
            // It comes a second time.
            Some(reached) if sequence <= reached => return Ok(None),
            Some(reached) if sequence != reached.next() => {
                return Err(fault(reached.next(), format!("the topic goes on at event {sequence} instead")));
            }
            Some(_) => {}
            None if sequence > after => {
                return Err(fault(
                    after.next(),
                    format!("the topic begins at event {sequence}, or in the middle of its block"),
                ));
            }
            // Perhaps in the middle of a block. Behind the end of one begins another.
            None => {
                self.previous = block.map(|block| block.hash());
                self.reached = block.map(|_| sequence);
                return Ok(None);
            }
        }
        self.reached = Some(sequence);
        if self.open.events.is_empty() {
            self.open.first = sequence;
        }
        self.open.last = sequence;
        self.open.events.push(recorded.event);
        let Some(header) = block else { return Ok(None) };
        let open = std::mem::take(&mut self.open);
        let block = assemble(header, &open)?;
        if self.previous.is_some_and(|previous| previous != header.previous) {
            return Err(fault(open.first, "its block does not follow the block before it"));
        }
        self.previous = Some(block.hash());
        self.asked = Some(after.max(header.last_sequence()));
        Ok((header.last_sequence() > after).then_some(block))
    }
}

/// Puts a block together; its payload must have the hash that its header has.
fn assemble(header: BlockHeader, open: &Open) -> Result<Block, FeedFault> {
    if (header.first_sequence, header.last_sequence()) != (open.first, open.last) {
        return Err(fault(
            open.first,
            format!("its block should hold events {} to {}", header.first_sequence, header.last_sequence()),
        ));
    }
    let mut bytes = header.encode().to_vec();
    for event in &open.events {
        event.encode(&mut bytes);
    }
    Block::from_bytes(bytes).map_err(|error| fault(open.first, format!("its block is not what was appended: {error}")))
}

/// What a record says.
struct Taken {
    recorded: RecordedEvent,
    block: Option<BlockHeader>,
}

fn sequence_of(record: &impl rdkafka::Message) -> Result<Sequence, KafkaFault> {
    let id = text_of(record, header::ID).and_then(|id| id.split_once('/')?.1.parse().ok());
    id.map(Sequence).ok_or_else(|| {
        KafkaFault::Client(format!("the record at offset {} was not written by a relay", record.offset()))
    })
}

fn taken(record: &impl rdkafka::Message) -> Result<Taken, FeedFault> {
    let at = sequence_of(record).map_err(|error| of_kafka(&error))?;
    let recorded: RecordedEvent = serde_json::from_slice(record.payload().unwrap_or_default())
        .map_err(|error| fault(at, format!("the value at offset {} can't be read: {error}", record.offset())))?;
    if recorded.sequence != at {
        return Err(fault(at, format!("the value at offset {} is event {}", record.offset(), recorded.sequence)));
    }
    let block = match text_of(record, header::BLOCK) {
        None => None,
        Some(text) => Some(block_of(text).ok_or_else(|| fault(at, "the header of its block can't be read"))?),
    };
    Ok(Taken { recorded, block })
}

impl EventFeed for KafkaFeed {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        if self.asked != Some(after) {
            self.seek(after).map_err(|error| of_kafka(&error))?;
        }
        let until = Instant::now() + wait;
        // What is there already is read, however short the wait: `None` means that there is no more.
        let patience = until.max(Instant::now() + ANSWERS_WITHIN);
        loop {
            let enough = Instant::now() >= if self.at_end { until } else { patience };
            if enough {
                return Ok(None);
            }
            let left = until.saturating_duration_since(Instant::now()).clamp(POLL_MIN, POLL_MAX);
            let record = match self.reader.poll(left).map_err(|error| of_kafka(&error))? {
                Polled::Record(record) => taken(&record)?,
                Polled::End(_) => {
                    self.at_end = true;
                    continue;
                }
                Polled::Nothing => continue,
            };
            self.at_end = false;
            if let Some(block) = self.take(after, record)? {
                return Ok(Some(block));
            }
        }
    }
}
