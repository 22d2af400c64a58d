//! Reading blocks: by the writer's process and by any other. What a reader gets from a broker lies below the high watermark: every
//! replica in sync has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_schemas::{Block, BookId, Epoch, Sequence};
use ledger_core::ports::{JournalFault, JournalReader};
use projections::ports::{EventFeed, FeedFault};

use super::chain::{Point, Step};
use super::client::{Tail, Trouble};
use super::known::Known;
use super::record::Record;
use super::{KafkaFault, KafkaUrl, blocks_topic};

const WITHIN: Duration = Duration::from_secs(10);

/// How long a reader tries to reach a cluster that is gone, before it gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// The pause after the first try; each further one is twice as long, up to half a second.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long a feed waits for its broker before it looks at the clock.
const LISTEN: Duration = Duration::from_millis(500);

/// How many records are rather read than searched.
const NEAR: i64 = 16;

/// How many records in a row may say nothing of the topic, before it is read from the start instead.
const STRANGE_MAX: usize = 64;

/// Asks again and again while the cluster can't be reached.
pub(super) fn patiently<T>(
    tail: &mut Tail,
    mut work: impl FnMut(&mut Tail) -> Result<T, Trouble>,
) -> Result<T, KafkaFault> {
    let (until, mut pause) = (Instant::now() + PATIENCE, PAUSE);
    loop {
        match work(tail) {
            Ok(done) => return Ok(done),
            Err(Trouble::Lost(reason)) if Instant::now() < until => {
                tracing::debug!(%reason, "reading the journal is tried again");
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(trouble) => return Err(tail.fault(trouble)),
        }
    }
}

/// The offset of the newest durable record; -1 if there is none. It refuses a topic whose beginning is gone.
pub(super) fn newest_offset(tail: &mut Tail) -> Result<i64, KafkaFault> {
    let (low, high) = patiently(tail, |tail| tail.watermarks(WITHIN))?;
    if low > 0 {
        return Err(KafkaFault::Damaged(format!(
            "the topic {} begins at offset {low}: the records before were deleted. Nothing can be served from it",
            tail.topic()
        )));
    }
    Ok(high - 1)
}

/// Takes the next record into a point, and says what it was. `None`: there is none behind it up to an offset.
pub(super) fn step(tail: &mut Tail, book: BookId, point: &mut Point, up_to: i64) -> Result<Option<Step>, KafkaFault> {
    if point.offset >= up_to {
        return Ok(None);
    }
    let next = point.offset + 1;
    // It is there: to wait for it is to wait for the broker.
    let (offset, record) = patiently(tail, |tail| {
        tail.record(next, WITHIN)?.ok_or_else(|| Trouble::Lost(format!("no record of offset {next} came")))
    })?;
    take(tail, book, point, offset, record).map(Some)
}

fn take(tail: &Tail, book: BookId, point: &mut Point, offset: i64, record: Record) -> Result<Step, KafkaFault> {
    let step = point.take(book, offset, record).map_err(|reason| {
        KafkaFault::Damaged(format!("the record of offset {offset} of {}: {reason}", tail.topic()))
    })?;
    if let Step::Void(void) = &step {
        tracing::info!(topic = tail.topic(), offset, %void, "a record is not part of the journal");
    }
    Ok(step)
}

/// What is known up to some offset near another one: what the writer of that record knew, if the block that it took for the newest
/// stands where it says. (Whoever may write to the topic can lie about more than that; but nobody does so by mistake.)
fn known_near(tail: &mut Tail, offset: i64, above: i64) -> Result<Option<Point>, KafkaFault> {
    for at in (above + 1..=offset).rev().take(STRANGE_MAX) {
        let found = patiently(tail, |tail| tail.record(at, WITHIN))?;
        if let Some(point) = found.and_then(|(_, record)| record.known())
            && point.offset < at
            && stands(tail, &point)?
        {
            return Ok(Some(point));
        }
    }
    Ok(None)
}

/// Whether the newest block of a point stands where the point says.
fn stands(tail: &mut Tail, point: &Point) -> Result<bool, KafkaFault> {
    if point.head_offset < 0 {
        return Ok(point.sequence == Sequence::ZERO);
    }
    let found = patiently(tail, |tail| tail.record(point.head_offset, WITHIN))?;
    Ok(match found {
        Some((offset, Record::Block { block: Ok(block), .. })) => {
            let last = block.header().last_sequence();
            (offset, last, block.hash()) == (point.head_offset, point.sequence, point.hash)
        }
        _ => false,
    })
}

/// Where the journal ends, by its newest records; `known` is what is known of it already.
pub(super) fn end(tail: &mut Tail, book: BookId, known: Point) -> Result<Point, KafkaFault> {
    let newest = newest_offset(tail)?;
    let mut point = known;
    if newest - known.offset > NEAR
        && let Some(found) = known_near(tail, newest, known.offset)?.filter(|found| found.offset > known.offset)
    {
        point = found;
    }
    while step(tail, book, &mut point, newest)?.is_some() {}
    Ok(point)
}

/// A reader of a journal in Kafka, and a feed of it.
pub struct KafkaReader {
    tail: Tail,
    book: BookId,
    known: Arc<Known>,
    /// Whether the writer is in this process, and says where the journal ends.
    beside_writer: bool,
    /// Up to where was read; the next block continues it.
    point: Point,
    /// The offset of the newest record that is known to be there.
    newest: i64,
    /// How many records that were read are no part of the journal.
    void: u64,
}

impl std::fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { book, point, .. } = self;
        f.debug_struct("KafkaReader").field("book", book).field("point", point).finish_non_exhaustive()
    }
}

impl KafkaReader {
    /// A reader of a book's journal. It connects when it is first asked.
    pub fn open(url: &KafkaUrl, book: BookId) -> Self {
        Self::new(url, book, Arc::new(Known::at(Point::START)), false)
    }

    pub(super) fn new(url: &KafkaUrl, book: BookId, known: Arc<Known>, beside_writer: bool) -> Self {
        let topic = blocks_topic(url, book);
        let tail = if beside_writer { Tail::looking_up(url, &topic) } else { Tail::listening(url, &topic) };
        Self { tail, book, known, beside_writer, point: Point::START, newest: -1, void: 0 }
    }

    /// Where the journal ends now.
    fn end(&mut self) -> Result<Point, KafkaFault> {
        if !self.beside_writer {
            let end = end(&mut self.tail, self.book, self.known.end())?;
            self.known.ends(end);
            self.newest = self.newest.max(end.offset);
            return Ok(end);
        }
        let end = self.known.end();
        self.newest = end.offset;
        Ok(end)
    }

    /// The epoch up to where was read.
    pub const fn epoch(&self) -> Epoch {
        self.point.epoch
    }

    /// How many of the records read were no part of the journal: they came late, or were somebody else's.
    pub const fn void_records(&self) -> u64 {
        self.void
    }

    /// The newest sequence there is.
    pub fn durable_sequence(&mut self) -> Result<Sequence, JournalFault> {
        Ok(self.end()?.sequence)
    }

    /// The next block up to the newest record that is known to be there.
    fn read_on(&mut self) -> Result<Option<Block>, KafkaFault> {
        if let Some((point, block)) = self.known.recent(self.point.sequence.next())
            && block.header().previous == self.point.hash
        {
            self.point = point;
            return Ok(Some(block));
        }
        while let Some(step) = step(&mut self.tail, self.book, &mut self.point, self.newest)? {
            match step {
                Step::Extended(block) => {
                    self.known.note(self.point);
                    return Ok(Some(block));
                }
                Step::Void(_) => self.void += 1,
                Step::Claimed(_) => {}
            }
        }
        self.rest();
        Ok(None)
    }

    /// Beside the writer there is nothing to listen for: the newest blocks come from it.
    fn rest(&mut self) {
        if self.beside_writer {
            self.tail.rest();
        }
    }

    /// Goes to a place shortly before a sequence that is there: halving, by what the writers of records knew.
    fn approach(&mut self, sequence: Sequence, end: Point) -> Result<(), KafkaFault> {
        let (mut below, above) = self.known.around(sequence);
        let mut above = above.unwrap_or(end);
        // Where this reader stands may be nearer.
        if self.point.sequence < sequence && self.point.sequence > below.sequence {
            below = self.point;
        }
        while above.offset - below.offset > NEAR {
            let middle = below.offset + (above.offset - below.offset) / 2;
            let Some(found) = known_near(&mut self.tail, middle, below.offset)? else { break };
            if found.sequence >= sequence {
                if found.offset >= above.offset {
                    break;
                }
                above = found;
            } else if found.offset > below.offset {
                below = found;
            } else {
                break;
            }
        }
        self.point = below;
        Ok(())
    }

    fn find(&mut self, sequence: Sequence) -> Result<Option<Block>, KafkaFault> {
        if sequence == Sequence::ZERO {
            return Ok(None);
        }
        if let Some((point, block)) = self.known.recent(sequence) {
            self.point = point;
            return Ok(Some(block));
        }
        let mut end = self.known.end();
        if end.sequence < sequence {
            end = self.end()?;
        }
        if end.sequence < sequence {
            return Ok(None);
        }
        self.newest = self.newest.max(end.offset);
        self.approach(sequence, end)?;
        while let Some(block) = self.read_on()? {
            if block.header().last_sequence() >= sequence {
                self.rest();
                return Ok(Some(block));
            }
        }
        Err(KafkaFault::Damaged(format!("the block of event {sequence} is missing")))
    }

    /// The next block, if one comes within a time.
    fn listen(&mut self, within: Duration) -> Result<Option<Block>, KafkaFault> {
        let until = Instant::now() + within;
        loop {
            if let Some(block) = self.read_on()? {
                return Ok(Some(block));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if self.beside_writer {
                self.known.wait_beyond(self.point.sequence, left);
                self.end()?;
                continue;
            }
            let next = self.point.offset + 1;
            let came = patiently(&mut self.tail, |tail| tail.record(next, left.min(LISTEN)))?;
            let Some((offset, record)) = came else { continue };
            self.newest = self.newest.max(offset);
            if let Step::Extended(block) = take(&self.tail, self.book, &mut self.point, offset, record)? {
                self.known.note(self.point);
                return Ok(Some(block));
            }
        }
    }
}

impl JournalReader for KafkaReader {
    fn block_at(&mut self, sequence: Sequence) -> Result<Option<Block>, JournalFault> {
        let stood = self.point;
        let found = self.find(sequence)?;
        if found.is_none() {
            self.point = stood;
        }
        Ok(found)
    }

    fn next_block(&mut self) -> Result<Option<Block>, JournalFault> {
        if self.point.offset >= self.newest {
            self.newest = if self.beside_writer { self.known.end().offset } else { newest_offset(&mut self.tail)? };
        }
        Ok(self.read_on()?)
    }
}

impl EventFeed for KafkaReader {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        let fault = |fault: KafkaFault| FeedFault(JournalFault::from(fault).to_string());
        let until = Instant::now() + wait;
        // Reading on is what a feed does; another place is looked up, and waited for if it is not there.
        while after != self.point.sequence {
            if let Some(block) = self.find(after.next()).map_err(fault)? {
                return Ok(Some(block));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // The head or above it.
            let end = self.known.end();
            if end.sequence == after {
                self.point = end;
            } else {
                self.known.wait_beyond(after, left.min(LISTEN));
            }
        }
        self.listen(until.saturating_duration_since(Instant::now())).map_err(fault)
    }
}
