//! Reading the durable part of a journal segment by segment, every frame checked, every link of the chain followed; and
//! writing such segments elsewhere. Backups, restores and the scrub are made of it.
//!
//! Nothing behind the end of the extent is read, so it may run beside the writer: what lies before the end was synced before
//! somebody was told, and never changes.

use std::io;
use std::sync::Arc;

use event_schemas::{BlockHash, BookId, Digest, Epoch, Sequence};
use serde::{Deserialize, Serialize};

use super::anchor::{Anchor, write_anchor};
use super::format::{FIRST_FRAME, Last, PAGE, Place, SEGMENT_MAX, SEGMENT_MIN, Slot, follow_blocks, segment_name};
use super::frames::{Found, FrameBuffer, HeaderPage};
use super::options::{Damage, OpenFault};
use super::reader::{ANCHOR_PAUSE, settled_anchor};
use super::spares::SPARE_NEW;
use super::storage::{Storage, StorageFile};

/// What is gathered before it is written: frames may be as small as a page.
const CHUNK: usize = 1024 * 1024;

/// The durable part of a journal at one moment: what its anchor names, and everything before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent(Slot);

impl Extent {
    /// The durable part of a journal now, whether or not a writer has it open.
    pub(crate) fn of(storage: &Arc<dyn Storage>) -> Result<Self, OpenFault> {
        Ok(Self(settled_anchor(storage, ANCHOR_PAUSE)?.agree()?.1))
    }

    /// What the anchor of a copied journal names: nobody writes to it, so both its slots must say the same.
    pub(crate) fn of_copy(storage: &Arc<dyn Storage>) -> Result<Self, OpenFault> {
        let anchor = Anchor::read(storage)?;
        for (at, slot) in anchor.slots.iter().enumerate() {
            if let Err(reason) = slot {
                return Err(OpenFault::Anchor(format!("slot {at}: {reason}")));
            }
        }
        match anchor.slots {
            [Ok(slot), Ok(other)] if slot == other => Ok(Self(slot)),
            _ => Err(OpenFault::Anchor("the two slots of a copy differ".into())),
        }
    }

    /// Whether all behind the end is zero in the segment of the end.
    pub(crate) fn rest_is_zero(&self, storage: &Arc<dyn Storage>) -> Result<bool, OpenFault> {
        let Self(Slot { end, segment_bytes, .. }) = self;
        let rest = FrameBuffer::default().first_nonzero(storage, end.segment, end.offset, *segment_bytes)?;
        Ok(rest.is_none())
    }

    /// The durable part that somebody has written down; `None` if no journal can have it.
    pub(crate) fn known(
        book: BookId,
        segment_bytes: u64,
        epoch: Epoch,
        head: (Sequence, BlockHash),
        last: &SegmentRecord,
    ) -> Option<Self> {
        let possible = (SEGMENT_MIN..=SEGMENT_MAX).contains(&segment_bytes)
            && segment_bytes.is_multiple_of(PAGE)
            && (FIRST_FRAME..=segment_bytes).contains(&last.bytes)
            && last.bytes.is_multiple_of(PAGE)
            && last.number > 0
            && head.0 > Sequence::ZERO;
        let end = Place { segment: last.number, offset: last.bytes };
        possible.then_some(Self(Slot { book, end, segment_bytes, sequence: head.0, epoch, hash: head.1 }))
    }

    /// The same blocks under a later epoch, so that the next writer's is later still.
    pub(crate) fn with_epoch(self, epoch: Epoch) -> Self {
        Self(Slot { epoch: self.0.epoch.max(epoch), ..self.0 })
    }

    pub(crate) const fn book(&self) -> BookId {
        self.0.book
    }

    pub(crate) const fn segment_bytes(&self) -> u64 {
        self.0.segment_bytes
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// The last event, and the hash of the block that ends there.
    pub(crate) const fn head(&self) -> (Sequence, BlockHash) {
        (self.0.sequence, self.0.hash)
    }

    /// Segments in use.
    pub(crate) fn segments(&self) -> u32 {
        if self.0.sequence == Sequence::ZERO { 0 } else { self.0.end.segment }
    }

    /// About how many bytes the segments from one on hold.
    pub(crate) fn bytes_from(&self, number: u32) -> u64 {
        let whole = u64::from(self.0.end.segment.saturating_sub(number));
        whole * self.0.segment_bytes + self.0.end.offset
    }
}

/// What stands in a segment: enough to tell, years later, whether a file still is it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentRecord {
    /// The number, from 1.
    pub number: u32,
    /// The first event.
    pub first_sequence: Sequence,
    /// The last event.
    pub last_sequence: Sequence,
    /// The hash of the block before the first.
    pub previous: BlockHash,
    /// The hash of the last block.
    pub last_hash: BlockHash,
    /// Blocks.
    pub blocks: u64,
    /// Bytes up to the end of the last frame; the rest of the file is zero.
    pub bytes: u64,
    /// BLAKE3 of these bytes.
    pub blake3: Digest,
}

/// Takes an offset and the bytes that stand there.
pub(crate) type Visit<'a, E> = dyn FnMut(u64, &[u8]) -> Result<(), E> + 'a;

/// Reads one segment of an extent from its header to its last frame, checking everything, and hands the bytes over in order,
/// piece by piece without a gap. `before` is the segment before it, if that is known: this one must follow.
pub(crate) fn read_segment<E: From<OpenFault>>(
    storage: &Arc<dyn Storage>,
    extent: &Extent,
    number: u32,
    before: Option<&SegmentRecord>,
    visit: &mut Visit<'_, E>,
) -> Result<SegmentRecord, E> {
    let Extent(slot) = extent;
    let mut buffer = FrameBuffer::default();
    check_file(storage, slot, number)?;
    let header = match buffer.header_page(storage, number).map_err(OpenFault::from)? {
        HeaderPage::Header(header) => header,
        HeaderPage::Blank => return Err(damage(number, 0, before, "the segment has no header").into()),
        HeaderPage::Damaged(reason) => {
            return Err(damage(number, 0, before, &format!("the header: {reason}")).into());
        }
    };
    let ours = header.book == slot.book && header.number == number && header.segment_bytes == slot.segment_bytes;
    if !ours || header.first_sequence == Sequence::ZERO {
        return Err(damage(number, 0, before, "the header is that of another segment").into());
    }
    let (sequence, hash) = match before {
        Some(before) => (before.last_sequence, before.last_hash),
        None if number == 1 => (Sequence::ZERO, BlockHash::default()),
        None => (Sequence(header.first_sequence.0 - 1), header.previous),
    };
    if header.first_sequence != sequence.next() || header.previous != hash {
        return Err(damage(number, 0, before, "the segment does not follow the one before it").into());
    }

    let mut hasher = blake3::Hasher::new();
    let page = header.encode();
    hasher.update(&page);
    visit(0, &page)?;
    let mut last = Last { sequence, hash, ..Last::default() };
    let (mut offset, mut blocks) = (FIRST_FRAME, 0);
    let is_last = number == slot.end.segment;
    let limit = if is_last { slot.end.offset } else { slot.segment_bytes };
    while offset < limit {
        let wrong = |offset, reason: &str| damage_at(number, offset, last.sequence.next(), reason);
        let header = match buffer.frame(storage, number, offset, limit).map_err(OpenFault::from)? {
            Found::Frame(header) => header,
            Found::Blank if !is_last => {
                let stray = buffer.first_nonzero(storage, number, offset, limit).map_err(OpenFault::from)?;
                if let Some(stray) = stray {
                    return Err(wrong(stray, "bytes behind the last frame should be zero").into());
                }
                break;
            }
            Found::Blank => return Err(wrong(offset, "no frame stands here, below the anchor").into()),
            Found::Damaged(reason) => return Err(wrong(offset, reason).into()),
        };
        let frame = buffer.slice(offset, header.frame_bytes).unwrap_or_default();
        if header.book != slot.book || header.epoch > slot.epoch {
            return Err(wrong(offset, "the frame is of another book or a later epoch").into());
        }
        last = follow_blocks(&header, frame, last).map_err(|reason| wrong(offset, &reason))?;
        hasher.update(frame);
        visit(offset, frame)?;
        blocks += u64::from(header.blocks);
        offset += header.frame_bytes;
    }
    if is_last && (last.sequence, last.hash) != (slot.sequence, slot.hash) {
        let reason = "the anchor names another block than the one before this place";
        return Err(damage_at(number, offset, last.sequence.next(), reason).into());
    }
    Ok(SegmentRecord {
        number,
        first_sequence: header.first_sequence,
        last_sequence: last.sequence,
        previous: header.previous,
        last_hash: last.hash,
        blocks,
        bytes: offset,
        blake3: Digest(*hasher.finalize().as_bytes()),
    })
}

/// The event that a segment begins with, and the hash of the block before it, by its header.
pub(crate) fn beginning(
    storage: &Arc<dyn Storage>,
    extent: &Extent,
    number: u32,
) -> Result<(Sequence, BlockHash), OpenFault> {
    check_file(storage, &extent.0, number)?;
    match FrameBuffer::default().header_page(storage, number)? {
        HeaderPage::Header(header) => Ok((header.first_sequence, header.previous)),
        HeaderPage::Blank => Err(damage(number, 0, None, "the segment has no header")),
        HeaderPage::Damaged(reason) => Err(damage(number, 0, None, &format!("the header: {reason}"))),
    }
}

/// Whether the file of a segment is there and has its length.
fn check_file(storage: &Arc<dyn Storage>, slot: &Slot, number: u32) -> Result<(), OpenFault> {
    let file = segment_name(number);
    let found = match storage.open(&file, false) {
        Ok(open) => open.length()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenFault::Missing(file)),
        Err(error) => return Err(error.into()),
    };
    if found == slot.segment_bytes {
        Ok(())
    } else {
        Err(OpenFault::WrongLength { file, expected: slot.segment_bytes, found })
    }
}

fn damage(number: u32, offset: u64, before: Option<&SegmentRecord>, reason: &str) -> OpenFault {
    damage_at(number, offset, before.map_or(Sequence::ZERO, |before| before.last_sequence).next(), reason)
}

fn damage_at(segment: u32, offset: u64, sequence: Sequence, reason: &str) -> OpenFault {
    Damage { segment, offset, sequence, reason: reason.into() }.into()
}

/// How the rest of a written segment, behind its last frame, is made zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// As a hole: for a copy that nobody will write to. It takes no room.
    Hole,
    /// Written, as the writer of a journal needs it: a hole could find the disk full in the middle of a commit.
    Written,
}

/// A segment on its way into a folder. It has no name there before it is whole and synced.
pub(crate) struct SegmentCopy<'a> {
    storage: &'a Arc<dyn Storage>,
    file: Box<dyn StorageFile>,
    chunk: Vec<u8>,
    /// Bytes written, without those in the chunk.
    written: u64,
}

impl<'a> SegmentCopy<'a> {
    pub(crate) fn begin(storage: &'a Arc<dyn Storage>) -> io::Result<Self> {
        let file = storage.create(SPARE_NEW)?;
        Ok(Self { storage, file, chunk: Vec::with_capacity(CHUNK), written: 0 })
    }

    /// Adds the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.chunk, self.written)?;
        self.written += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    /// Makes the rest zero and the whole durable, and gives it its name, over one that has it already.
    pub(crate) fn finish(mut self, number: u32, segment_bytes: u64, rest: Rest) -> io::Result<()> {
        self.flush()?;
        match rest {
            Rest::Hole => {
                // The last byte gives the file its length.
                if self.written < segment_bytes {
                    self.file.write_at(&[0], segment_bytes - 1)?;
                }
            }
            Rest::Written => {
                while self.written < segment_bytes {
                    let left = usize::try_from(segment_bytes - self.written).unwrap_or(CHUNK);
                    self.chunk.resize(left.min(CHUNK), 0);
                    self.flush()?;
                }
            }
        }
        self.file.sync_all()?;
        self.storage.rename(SPARE_NEW, &segment_name(number))?;
        self.storage.sync_dir()
    }
}

/// Writes the anchor of a copied journal. The segments must be durable before.
pub(crate) fn write_anchor_of(storage: &Arc<dyn Storage>, extent: &Extent) -> Result<(), OpenFault> {
    write_anchor(storage, &extent.0)
}

/// Removes what an interrupted copy has left half made.
pub(crate) fn remove_leftovers(storage: &Arc<dyn Storage>) -> io::Result<()> {
    for name in [SPARE_NEW, super::format::ANCHOR_NEW] {
        match storage.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
