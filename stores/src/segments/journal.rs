//! The writer: open and append.
//!
//! Cost of an append: one write and one sync for the frame, one write and one sync for the anchor's slot. The frame's buffer
//! is reused; blocks are copied into it once and hashed once.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use event_schemas::sabotage::{Switch, on};
use event_schemas::{Block, BlockHash, BookId, Epoch, Sequence};
use ledger_core::ports::{AppendError, Head, Journal, JournalFault, JournalReader};

use super::create::make_empty;
use super::format::{
    ANCHOR, FIRST_FRAME, FRAME_HEADER, FRAME_MAX, FrameHeader, PAGE, Place, SegmentHeader, Slot, WitnessMark,
    page_usize, pages, segment_name,
};
use super::frames::Found;
use super::index::Index;
use super::options::{OpenFault, SegmentOptions, WitnessPlace};
use super::reader::SegmentReader;
use super::spares::{MakeError, Spares};
use super::storage::{Storage, StorageFile};
use super::survey::{Survey, survey};
use super::witness::{self, Witness};

/// The durable head, as readers in the same process see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durable {
    pub(super) end: Place,
    pub(super) sequence: Sequence,
    pub(super) hash: BlockHash,
    pub(super) epoch: Epoch,
}

/// What the writer shares with its readers.
pub(super) struct Shared {
    durable: Mutex<Durable>,
    moved: Condvar,
    index: Mutex<Index>,
}

impl Shared {
    pub(super) fn new(durable: Durable, index: Index) -> Self {
        Self { durable: Mutex::new(durable), moved: Condvar::new(), index: Mutex::new(index) }
    }

    pub(super) fn durable(&self) -> Durable {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the durable head, and wakes who waits for it.
    pub(super) fn publish(&self, durable: Durable) {
        *self.lock() = durable;
        self.moved.notify_all();
    }

    /// Waits until the durable head is beyond a sequence, or the time is over.
    pub(super) fn wait_beyond(&self, after: Sequence, wait: std::time::Duration) -> Durable {
        let waiting = |durable: &mut Durable| durable.sequence <= after;
        let (durable, _) =
            self.moved.wait_timeout_while(self.lock(), wait, waiting).unwrap_or_else(PoisonError::into_inner);
        *durable
    }

    pub(super) fn mark(&self, book: BookId) -> WitnessMark {
        let Durable { sequence, hash, epoch, .. } = self.durable();
        WitnessMark { book, sequence, epoch, hash }
    }
}

/// The journal of one book, open for its one writer.
pub struct SegmentJournal {
    storage: Arc<dyn Storage>,
    book: BookId,
    segment_bytes: u64,
    epoch: Epoch,
    head: Head,
    end: Place,
    segment: Box<dyn StorageFile>,
    anchor: Box<dyn StorageFile>,
    /// The slot that the next commit writes: always the older one.
    next_slot: usize,
    /// The page of a segment's header, then the frame: one write for both when a segment is entered.
    buffer: Vec<u8>,
    spares: Spares,
    witness: Option<Witness>,
    shared: Arc<Shared>,
    stopped: Option<String>,
    notices: Vec<String>,
}

impl std::fmt::Debug for SegmentJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentJournal").field("head", &self.head).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl From<MakeError> for OpenFault {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::NoSpace(reason) => Self::NoSpace(reason),
            MakeError::Failed(reason) => Self::Io(reason),
        }
    }
}

/// Opens a journal for its writer; never creates one. What lies before the segment that holds `scan_from` (the sequence of
/// the newest trusted checkpoint; zero for everything) is not read beyond the headers of its segments: that is for
/// [`walk`](super::walk()). The caller sees to it that there is one writer.
pub fn open(
    storage: &Arc<dyn Storage>,
    options: &SegmentOptions,
    scan_from: Sequence,
) -> Result<SegmentJournal, OpenFault> {
    let mut found = survey(storage, options.book, scan_from)?;
    check_witness(storage, &mut found, options.witness.as_ref())?;
    SegmentJournal::take_over(storage, found, options)
}

fn check_witness(
    storage: &Arc<dyn Storage>,
    found: &mut Survey,
    place: Option<&WitnessPlace>,
) -> Result<(), OpenFault> {
    let Some(place) = place else {
        found
            .notices
            .push("there is no witness: a journal restored as a whole from an older copy would go unseen".into());
        return Ok(());
    };
    let Some(mark) = witness::read(place)? else {
        found.notices.push(format!(
            "there was no witness at {}, and one is written now: a journal restored from an older copy before this start \
             would go unseen",
            place.name
        ));
        return Ok(());
    };
    if mark.book != found.book {
        return Err(OpenFault::OtherBook { expected: found.book, found: mark.book });
    }
    let rolled_back = |reason| OpenFault::RolledBack {
        witnessed: mark.sequence,
        witnessed_epoch: mark.epoch,
        found: found.head.sequence,
        found_epoch: found.epoch,
        reason,
    };
    if mark.sequence > found.head.sequence {
        return Err(rolled_back("its last blocks are missing"));
    }
    if mark.epoch > found.epoch {
        return Err(rolled_back("it was opened since by a writer that it does not know"));
    }
    let refusal = rolled_back("the block that the witness saw is another one");
    if mark.sequence > Sequence::ZERO && found.hash_at(storage, mark.sequence)? != Some(mark.hash) {
        return Err(refusal);
    }
    Ok(())
}

impl SegmentJournal {
    /// Repairs what the survey found, raises the epoch, and is the writer then.
    fn take_over(storage: &Arc<dyn Storage>, mut found: Survey, options: &SegmentOptions) -> Result<Self, OpenFault> {
        let storage = Arc::clone(storage);
        let epoch = Epoch(found.epoch.0 + 1);
        let segment_bytes = found.segment_bytes;
        let durable = Durable { end: found.end, sequence: found.head.sequence, hash: found.head.hash, epoch };
        // Spares are made anew: whether those that are there reached the disk, a page cache cannot tell.
        let stale = found.spares.iter().copied().map(segment_name);
        let leftovers = found.leftovers.iter().map(|name| (*name).to_owned());
        let mut removed = false;
        for name in stale.chain(leftovers) {
            storage.remove(&name)?;
            removed = true;
        }
        if removed {
            storage.sync_dir()?;
        }
        let (anchor, next_slot);
        if found.head.sequence == Sequence::ZERO {
            // Nothing was ever answered, so everything can be made anew.
            make_empty(&storage, found.book, segment_bytes, epoch)?;
            anchor = storage.open(ANCHOR, true)?;
            next_slot = 0;
        } else {
            write_again(&storage, &mut found)?;
            anchor = storage.open(ANCHOR, true)?;
            let slot = slot_of(found.book, segment_bytes, &durable);
            anchor.write_at(&slot.encode(), found.slot_to_write as u64 * PAGE)?;
            anchor.sync_data()?;
            next_slot = 1 - found.slot_to_write;
        }
        let segment = storage.open(&segment_name(durable.end.segment), true)?;
        let mut spares = Spares::new(Arc::clone(&storage), segment_bytes, durable.end.segment, options.background)?;
        spares.filled(durable.end.offset);
        spares.order(durable.end.segment + 1)?;
        let shared = Arc::new(Shared::new(durable, found.index));
        let witness = match options.witness.clone() {
            Some(place) => Some(Witness::start(place, found.book, Arc::clone(&shared), options.background)?),
            None => None,
        };
        Ok(Self {
            storage,
            book: found.book,
            segment_bytes,
            epoch,
            head: Head {
                sequence: durable.sequence,
                hash: durable.hash,
                recorded_at: found.head.recorded_at,
                epoch: found.head.epoch,
            },
            end: durable.end,
            segment,
            anchor,
            next_slot,
            buffer: Vec::new(),
            spares,
            witness,
            shared,
            stopped: None,
            notices: found.notices,
        })
    }

    /// What the operator should know of this opening.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The book.
    pub const fn book(&self) -> BookId {
        self.book
    }

    /// A reader of the durable blocks, which is also a feed: it is woken when there are more.
    pub fn segment_reader(&self) -> SegmentReader {
        SegmentReader::live(Arc::clone(&self.storage), Arc::clone(&self.shared), self.book, self.segment_bytes)
    }

    /// The most bytes of a frame in this journal.
    fn frame_max(&self) -> u64 {
        FRAME_MAX.min(self.segment_bytes - FIRST_FRAME)
    }

    /// Divides a group into frames.
    fn frames(&self, blocks: &[Block]) -> Vec<(Range<usize>, u64)> {
        let mut frames: Vec<(Range<usize>, u64)> = Vec::with_capacity(1);
        for (at, block) in blocks.iter().enumerate() {
            let length = block.bytes().len() as u64;
            let alone = FRAME_HEADER as u64 + length;
            assert!(
                pages(alone) <= self.frame_max(),
                "a block of {length} bytes does not fit a segment of {} bytes",
                self.segment_bytes
            );
            match frames.last_mut() {
                Some((range, bytes)) if pages(*bytes + length) <= self.frame_max() => {
                    range.end = at + 1;
                    *bytes += length;
                }
                _ => frames.push((at..at + 1, alone)),
            }
        }
        frames
    }

    /// The segment that will be needed last if frames of these lengths follow.
    fn last_needed(&self, lengths: impl Iterator<Item = u64>) -> u32 {
        let mut end = self.end;
        for length in lengths {
            if end.offset + length > self.segment_bytes {
                end = Place { segment: end.segment + 1, offset: FIRST_FRAME };
            }
            end.offset += length;
        }
        end.segment
    }

    fn stop(&mut self, reason: String) -> AppendError {
        tracing::error!(reason, "the journal stops");
        let error = AppendError::Unknown(reason.clone());
        self.stopped = Some(reason).filter(|_| !on(Switch::FailedSyncRetried));
        self.witness = None;
        error
    }

    fn ensure(&mut self, through: u32) -> Result<(), AppendError> {
        match self.spares.ensure(through) {
            Ok(()) => Ok(()),
            Err(MakeError::NoSpace(reason)) => Err(AppendError::NoSpace(reason)),
            Err(MakeError::Failed(reason)) => Err(self.stop(reason)),
        }
    }

    /// Commits one frame: frame, sync, slot, sync, publish.
    fn commit(&mut self, blocks: &[Block], unpadded: u64) -> std::io::Result<()> {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(()) };
        let frame_bytes = pages(unpadded);
        let mut place = self.end;
        if place.offset + frame_bytes > self.segment_bytes {
            place = Place { segment: place.segment + 1, offset: FIRST_FRAME };
            self.segment = self.storage.open(&segment_name(place.segment), true)?;
        }
        let stored_bytes = unpadded - FRAME_HEADER as u64;
        let header = FrameHeader {
            book: self.book,
            blocks: u32::try_from(blocks.len()).map_err(std::io::Error::other)?,
            first_sequence: first.header().first_sequence,
            count: blocks.iter().map(|block| u64::from(block.header().count)).sum(),
            epoch: self.epoch,
            stored_bytes,
            plain_bytes: stored_bytes,
            frame_bytes,
            previous: self.head.hash,
        };
        let enters = place.offset == FIRST_FRAME;
        self.fill_buffer(blocks, &header, enters.then_some(place.segment));
        let (from, offset) = if enters { (0, 0) } else { (page_usize(), place.offset) };
        let durable = Durable {
            end: Place { offset: place.offset + frame_bytes, ..place },
            sequence: last.header().last_sequence(),
            hash: last.hash(),
            epoch: self.epoch,
        };
        self.segment.write_at(self.buffer.get(from..).unwrap_or_default(), offset)?;
        if !on(Switch::SegmentSyncSkipped) {
            self.segment.sync_data()?;
        }
        let slot = slot_of(self.book, self.segment_bytes, &durable).encode();
        self.anchor.write_at(&slot, self.next_slot as u64 * PAGE)?;
        if !on(Switch::AnchorSyncSkipped) {
            self.anchor.sync_data()?;
        }
        self.next_slot = 1 - self.next_slot;
        {
            let mut index = self.shared.index();
            if enters {
                index.add_segment(place.segment, header.first_sequence);
            }
            index.note(place, header.first_sequence);
        }
        self.end = durable.end;
        self.head = Head {
            sequence: durable.sequence,
            hash: durable.hash,
            recorded_at: last.header().recorded_at,
            epoch: last.header().epoch,
        };
        self.shared.publish(durable);
        self.spares.filled(durable.end.offset);
        Ok(())
    }
}

impl SegmentJournal {
    /// Lays out the header page (of a segment that is entered) and the frame, one behind the other.
    fn fill_buffer(&mut self, blocks: &[Block], header: &FrameHeader, enters: Option<u32>) {
        self.buffer.clear();
        if let Some(number) = enters {
            let page = SegmentHeader {
                book: self.book,
                number,
                segment_bytes: self.segment_bytes,
                first_sequence: header.first_sequence,
                previous: header.previous,
            };
            self.buffer.extend_from_slice(&page.encode());
        }
        self.buffer.resize(page_usize(), 0);
        self.buffer.resize(page_usize() + FRAME_HEADER, 0);
        for block in blocks {
            self.buffer.extend_from_slice(block.bytes());
        }
        let whole = page_usize() as u64 + header.frame_bytes;
        self.buffer.resize(usize::try_from(whole).unwrap_or(usize::MAX), 0);
        header.seal(self.buffer.get_mut(page_usize()..).unwrap_or_default());
    }
}

impl Journal for SegmentJournal {
    fn head(&self) -> Head {
        self.head
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The bytes are those of blocks; however they are cut into blocks of up to 900 KiB, they will find room.
    fn secure_space(&mut self, bytes: usize) -> Result<(), AppendError> {
        if let Some(reason) = &self.stopped {
            return Err(AppendError::Unknown(reason.clone()));
        }
        let bytes = bytes as u64;
        let most = self.frame_max();
        let one = pages(FRAME_HEADER as u64 + bytes);
        let through = if one <= most {
            self.last_needed(std::iter::once(one))
        } else {
            // Two frames in a row hold more than one could, or they would be one.
            let frames = 2 * one.div_ceil(most) + 1;
            self.last_needed((0..frames).map(|_| most))
        };
        if through == self.end.segment { Ok(()) } else { self.ensure(through) }
    }

    fn append(&mut self, blocks: &[Block]) -> Result<(), AppendError> {
        if let Some(reason) = &self.stopped {
            return Err(AppendError::Unknown(reason.clone()));
        }
        let mut previous = (self.head.sequence, self.head.hash);
        for block in blocks {
            let header = block.header();
            assert!(header.book == self.book, "a block of book {} for book {}", header.book, self.book);
            assert!(
                header.first_sequence == previous.0.next() && header.previous == previous.1,
                "block {} does not follow sequence {}",
                header.first_sequence,
                previous.0
            );
            previous = (header.last_sequence(), block.hash());
        }
        let frames = self.frames(blocks);
        let through = self.last_needed(frames.iter().map(|(_, bytes)| pages(*bytes)));
        if through > self.end.segment {
            self.ensure(through)?;
        }
        let entered = self.end.segment;
        for (range, bytes) in frames {
            let group = blocks.get(range).unwrap_or_default();
            if let Err(error) = self.commit(group, bytes) {
                return Err(self.stop(format!("writing sequence {} on: {error}", self.head.sequence.next())));
            }
        }
        if let Some(witness) = &self.witness {
            witness.appended();
        }
        if self.end.segment > entered
            && let Err(MakeError::Failed(reason)) = self.spares.order(self.end.segment + 1)
        {
            // What was appended is durable and answered; the next append tells of the disk.
            let _ = self.stop(reason);
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault> {
        Ok(Box::new(self.segment_reader()))
    }
}

fn slot_of(book: BookId, segment_bytes: u64, durable: &Durable) -> Slot {
    let Durable { end, sequence, hash, epoch } = *durable;
    Slot { book, end, segment_bytes, sequence, epoch, hash }
}

/// Writes the newest frames and the zeros behind them again, so that they are dirty and the sync that follows means them:
/// after a crash of the process or a failed sync, pages may be clean and yet not on the disk.
fn write_again(storage: &Arc<dyn Storage>, found: &mut Survey) -> Result<(), OpenFault> {
    let mut open: Option<(u32, Box<dyn StorageFile>)> = None;
    for rewrite in std::mem::take(&mut found.rewrites) {
        let Place { segment, offset } = rewrite.place;
        let file = match &mut open {
            Some((number, file)) if *number == segment => file,
            _ => {
                if let Some((_, file)) = open.take() {
                    file.sync_data()?;
                }
                &mut open.insert((segment, storage.open(&segment_name(segment), true)?)).1
            }
        };
        let Found::Frame(header) = found.buffer.frame(storage, segment, offset, found.segment_bytes)? else {
            return Err(OpenFault::Io(format!(
                "segment {segment}, offset {offset}: it reads otherwise than just before"
            )));
        };
        if let Some(page) = rewrite.header {
            file.write_at(&page.encode(), 0)?;
        }
        file.write_at(found.buffer.slice(offset, header.frame_bytes).unwrap_or_default(), offset)?;
    }
    if let Some((from, to)) = found.dirt {
        let number = found.end.segment;
        let file = storage.open(&segment_name(number), true)?;
        let zeros = vec![0; page_usize()];
        for offset in (from..to).step_by(page_usize()) {
            file.write_at(&zeros, offset)?;
        }
        file.sync_data()?;
    }
    if let Some((_, file)) = open {
        file.sync_data()?;
    }
    Ok(())
}
