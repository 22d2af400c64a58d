//! Reading durable blocks, beside the writer in its process or in another process with no lock at all.
//!
//! A reader never reads beyond the durable head: in the writer's process it is woken when the head moves, elsewhere it reads
//! the anchor, at most each 50 ms. It opens the anchor anew each time, since a repair may have put another in its place.
//! Every frame is checked as a whole, then each block's payload, then that the block follows the one returned before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_schemas::{Block, BlockHash, BookId, Sequence};
use ledger_core::ports::{JournalFault, JournalReader};
use projections::ports::{EventFeed, FeedFault};

use super::anchor::Anchor;
use super::format::{FIRST_FRAME, FRAME_HEADER, FrameHeader, Last, Place, Slot, follow_blocks, next_block};
use super::frames::{Found, FrameBuffer, HeaderPage};
use super::index::Index;
use super::journal::{Durable, Shared};
use super::options::{Damage, OpenFault};
use super::storage::Storage;
use super::survey::{list_files, read_headers};

const POLL: Duration = Duration::from_millis(50);
/// A slot that is being written looks damaged for a moment. This often it is read again, each time a little later.
const ANCHOR_TRIES: u32 = 25;
pub(super) const ANCHOR_PAUSE: Duration = Duration::from_millis(2);

/// A reader of one journal's durable blocks, and a feed of them.
pub struct SegmentReader {
    storage: Arc<dyn Storage>,
    shared: Arc<Shared>,
    /// Set where the writer is elsewhere: when the anchor was read last.
    polled: Option<Instant>,
    book: BookId,
    segment_bytes: u64,
    durable: Durable,
    frames: FrameBuffer,
    place: Place,
    /// The sequence that `place`, or the next block of the open frame, begins with.
    next: Sequence,
    /// The hash of the block before it, if that one was returned.
    previous: Option<BlockHash>,
    open: Option<OpenFrame>,
    /// Whether `place` and `next` belong together; not after a fault.
    positioned: bool,
}

/// An intact frame whose blocks are being handed out; offsets in its segment.
#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    next_block: u64,
    blocks_end: u64,
    end: u64,
    last: Sequence,
}

impl std::fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentReader")
            .field("next", &self.next)
            .field("durable", &self.durable.sequence)
            .finish_non_exhaustive()
    }
}

/// Reads the anchor while it may be being written: a slot that is no slot is looked at again until it is one, or stays the
/// same. With a pause of zero nobody writes, and one look is enough.
pub(super) fn settled_anchor(storage: &Arc<dyn Storage>, pause: Duration) -> Result<Anchor, OpenFault> {
    let mut tries = 0;
    loop {
        let anchor = Anchor::read(storage)?;
        tries += 1;
        if pause.is_zero() || tries >= ANCHOR_TRIES || matches!(anchor.slots, [Ok(_), Ok(_)]) {
            return Ok(anchor);
        }
        std::thread::sleep(pause);
    }
}

fn durable_of(slot: &Slot) -> Durable {
    Durable { end: slot.end, sequence: slot.sequence, hash: slot.hash, epoch: slot.epoch }
}

impl SegmentReader {
    /// Opens a journal for reading only, whether or not a writer has it open. Nothing is repaired, and the blocks of a crash
    /// that were never answered are not seen. The headers of all segments in use are checked; the blocks are when they are
    /// read.
    pub fn open(storage: &Arc<dyn Storage>) -> Result<Self, OpenFault> {
        let anchor = settled_anchor(storage, ANCHOR_PAUSE)?;
        let (at, newest, other) = anchor.agree()?;
        if let Err(reason) = other
            && !frame_follows(storage, &newest)?
        {
            let text = format!("slot {}: {reason}; and no block beyond the other slot explains it", 1 - at);
            return Err(OpenFault::Anchor(text));
        }
        list_files(storage, newest.segment_bytes, newest.end.segment)?;
        let mut index = Index::default();
        read_headers(storage, &newest, &mut index)?;
        let shared = Arc::new(Shared::new(durable_of(&newest), index));
        let mut reader = Self::live(Arc::clone(storage), shared, newest.book, newest.segment_bytes);
        reader.polled = Some(Instant::now());
        Ok(reader)
    }

    pub(super) fn live(storage: Arc<dyn Storage>, shared: Arc<Shared>, book: BookId, segment_bytes: u64) -> Self {
        let durable = shared.durable();
        Self {
            storage,
            shared,
            polled: None,
            book,
            segment_bytes,
            durable,
            frames: FrameBuffer::default(),
            place: Place::START,
            next: Sequence(1),
            previous: None,
            open: None,
            positioned: true,
        }
    }

    /// Another reader of the same journal, at its beginning.
    #[must_use]
    pub fn another(&self) -> Self {
        let reader = Self::live(Arc::clone(&self.storage), Arc::clone(&self.shared), self.book, self.segment_bytes);
        Self { polled: self.polled, ..reader }
    }

    /// The book.
    pub const fn book(&self) -> BookId {
        self.book
    }

    /// The newest durable sequence.
    pub fn durable_sequence(&mut self) -> Result<Sequence, JournalFault> {
        self.refresh()?;
        Ok(self.durable.sequence)
    }

    /// Looks where the durable head is now.
    fn refresh(&mut self) -> Result<(), JournalFault> {
        if self.polled.is_some_and(|polled| polled.elapsed() >= POLL) {
            self.poll()?;
        }
        self.durable = self.shared.durable();
        Ok(())
    }

    fn poll(&mut self) -> Result<(), JournalFault> {
        self.polled = Some(Instant::now());
        let (_, newest, _) = settled_anchor(&self.storage, ANCHOR_PAUSE)?.agree()?;
        if newest.sequence < self.durable.sequence || newest.book != self.book {
            return Err(JournalFault::Damaged(format!(
                "the anchor went back from sequence {} to {}: the journal was replaced",
                self.durable.sequence, newest.sequence
            )));
        }
        if newest.sequence > self.durable.sequence {
            let known = self.shared.index().segments();
            if newest.end.segment > known {
                let mut index = Index::default();
                read_headers(&self.storage, &newest, &mut index)?;
                *self.shared.index() = index;
            }
            self.shared.publish(durable_of(&newest));
        }
        Ok(())
    }

    fn damage(&self, reason: impl Into<String>) -> JournalFault {
        let Place { segment, offset } = self.place;
        JournalFault::Damaged(Damage { segment, offset, sequence: self.next, reason: reason.into() }.to_string())
    }

    fn limit(&self) -> u64 {
        if self.place.segment == self.durable.end.segment { self.durable.end.offset } else { self.segment_bytes }
    }

    /// Goes from the end of a segment's frames to the next segment.
    fn enter_next_segment(&mut self) -> Result<(), JournalFault> {
        let number = self.place.segment + 1;
        let page = self.frames.header_page(&self.storage, number).map_err(|error| io_fault(&error))?;
        let HeaderPage::Header(header) = page else {
            return Err(self.damage("no frame stands here, and the next segment has no intact header"));
        };
        let follows = header.book == self.book
            && header.number == number
            && header.first_sequence == self.next
            && self.previous.is_none_or(|previous| previous == header.previous);
        if !follows {
            return Err(self.damage("no frame stands here, and the next segment does not follow"));
        }
        self.place = Place { segment: number, offset: FIRST_FRAME };
        Ok(())
    }

    /// The header of the frame at `place`, unchecked but for what it must begin with.
    fn hop(&mut self) -> Result<FrameHeader, JournalFault> {
        let (segment, offset, limit) = (self.place.segment, self.place.offset, self.limit());
        match self.frames.header(&self.storage, segment, offset, limit).map_err(|error| io_fault(&error))? {
            Found::Frame(header) if header.first_sequence == self.next => Ok(header),
            Found::Frame(_) => Err(self.damage("the frame begins with another sequence")),
            Found::Blank => Err(self.damage("no frame stands here")),
            Found::Damaged(reason) => Err(self.damage(reason)),
        }
    }

    /// Opens the frame at `place`, or the first of the next segment. There is one: `next` is not above the durable head.
    fn open_frame(&mut self) -> Result<(), JournalFault> {
        loop {
            let (segment, offset, limit) = (self.place.segment, self.place.offset, self.limit());
            match self.frames.frame(&self.storage, segment, offset, limit).map_err(|error| io_fault(&error))? {
                Found::Frame(header) => {
                    let follows = header.book == self.book
                        && header.first_sequence == self.next
                        && header.last_sequence() <= self.durable.sequence
                        && self.previous.is_none_or(|previous| previous == header.previous);
                    if !follows {
                        return Err(self.damage("the frame does not follow the block before it"));
                    }
                    let blocks = offset + FRAME_HEADER as u64;
                    self.open = Some(OpenFrame {
                        next_block: blocks,
                        blocks_end: blocks + header.stored_bytes,
                        end: offset + header.frame_bytes,
                        last: header.last_sequence(),
                    });
                    return Ok(());
                }
                Found::Blank if segment < self.durable.end.segment => self.enter_next_segment()?,
                Found::Blank => return Err(self.damage("no frame stands here, below the anchor")),
                Found::Damaged(reason) => return Err(self.damage(reason)),
            }
        }
    }

    /// The next block of the open frame: its place in the buffer and its last sequence.
    fn peek(&self, open: &OpenFrame) -> Result<(u64, Sequence), JournalFault> {
        let rest = self.frames.slice(open.next_block, open.blocks_end - open.next_block).unwrap_or_default();
        let block = next_block(rest).map_err(|error| self.damage(error.to_string()))?;
        if block.header.first_sequence != self.next || block.header.book != self.book {
            return Err(self.damage("the block does not follow the block before it"));
        }
        Ok((block.bytes as u64, block.header.last_sequence()))
    }

    fn take(&mut self, wanted: Sequence) -> Result<Block, JournalFault> {
        loop {
            let Some(open) = self.open else {
                self.open_frame()?;
                continue;
            };
            if open.next_block == open.blocks_end {
                self.place.offset = open.end;
                self.open = None;
                continue;
            }
            let (length, last) = self.peek(&open)?;
            let bytes = self.frames.slice(open.next_block, length).unwrap_or_default();
            let block = if last < wanted {
                None
            } else {
                Some(Block::from_bytes(bytes.to_vec()).map_err(|error| self.damage(error.to_string()))?)
            };
            if let Some(block) = &block
                && self.previous.is_some_and(|previous| previous != block.header().previous)
            {
                return Err(self.damage("the block does not follow the block before it"));
            }
            self.open = Some(OpenFrame { next_block: open.next_block + length, ..open });
            self.next = last.next();
            self.previous = block.as_ref().map(Block::hash);
            if let Some(block) = block {
                return Ok(block);
            }
        }
    }

    /// Goes to the frame that holds a durable sequence.
    fn seek(&mut self, sequence: Sequence) -> Result<(), JournalFault> {
        self.open = None;
        self.previous = None;
        let (place, first) = self
            .shared
            .index()
            .locate(sequence)
            .ok_or_else(|| JournalFault::Damaged(format!("no segment holds sequence {sequence}")))?;
        (self.place, self.next) = (place, first);
        loop {
            let header = self.hop()?;
            self.shared.index().note(self.place, header.first_sequence);
            if header.last_sequence() >= sequence {
                return Ok(());
            }
            self.place.offset += header.frame_bytes;
            self.next = header.last_sequence().next();
        }
    }

    fn read(&mut self, sequence: Sequence) -> Result<Block, JournalFault> {
        let in_frame = self
            .open
            .is_some_and(|open| open.next_block < open.blocks_end && (self.next..=open.last).contains(&sequence));
        let read = if self.positioned && (in_frame || sequence == self.next) {
            self.take(sequence)
        } else {
            self.seek(sequence).and_then(|()| self.take(sequence))
        };
        self.positioned = read.is_ok();
        if read.is_err() {
            // The next attempt reads anew and meets the same fault, or none if it was the disk's.
            self.next = sequence;
            self.frames.clear();
        }
        read
    }
}

fn io_fault(error: &std::io::Error) -> JournalFault {
    JournalFault::Io(error.to_string())
}

/// Whether an intact frame follows the block that a slot names: then the other slot was torn while that frame was committed.
fn frame_follows(storage: &Arc<dyn Storage>, slot: &Slot) -> Result<bool, OpenFault> {
    let mut frames = FrameBuffer::default();
    let before = Last { sequence: slot.sequence, hash: slot.hash, ..Last::default() };
    for place in [slot.end, Place { segment: slot.end.segment + 1, offset: FIRST_FRAME }] {
        let found = match frames.frame(storage, place.segment, place.offset, slot.segment_bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        if let Found::Frame(header) = found {
            let frame = frames.slice(place.offset, header.frame_bytes).unwrap_or_default();
            return Ok(header.book == slot.book && follow_blocks(&header, frame, before).is_ok());
        }
    }
    Ok(false)
}

impl JournalReader for SegmentReader {
    fn block_at(&mut self, sequence: Sequence) -> Result<Option<Block>, JournalFault> {
        if sequence > self.durable.sequence {
            self.refresh()?;
        }
        if sequence == Sequence::ZERO || sequence > self.durable.sequence {
            return Ok(None);
        }
        self.read(sequence).map(Some)
    }

    fn next_block(&mut self) -> Result<Option<Block>, JournalFault> {
        self.block_at(self.next)
    }
}

impl EventFeed for SegmentReader {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        let fault = |fault: JournalFault| FeedFault(fault.to_string());
        let until = Instant::now() + wait;
        loop {
            let block = self.block_at(after.next()).map_err(fault)?;
            let left = until.saturating_duration_since(Instant::now());
            if block.is_some() || left.is_zero() {
                return Ok(block);
            }
            if self.polled.is_some() {
                std::thread::sleep(left.min(POLL));
                self.poll().map_err(fault)?;
            } else {
                self.shared.wait_beyond(after, left);
            }
        }
    }
}
