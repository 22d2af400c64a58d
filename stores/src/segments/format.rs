//! The bytes of segments, frames, anchor and witness. Drawn in `docs/internals/journal-format.md`; all integers are
//! big-endian. Nothing here touches a disk.
//!
//! *Architecture Invariant*: every structure ends in a BLAKE3 over all of its other bytes, and every byte that belongs to
//! none of them is zero and checked. So no bit of a journal is without a witness.

use event_schemas::block::HEADER_BYTES as BLOCK_HEADER_BYTES;
use event_schemas::sabotage::{Switch, on};
use event_schemas::{BlockError, BlockHash, BlockHeader, BookId, Digest, Epoch, Sequence, Timestamp};

/// Frames and the header of a segment are multiples of this many bytes.
pub(super) const PAGE: u64 = 4096;
/// The first frame of a segment starts here, behind the page of its header.
pub(super) const FIRST_FRAME: u64 = PAGE;
/// The bytes of a frame's header.
pub(super) const FRAME_HEADER: usize = 128;
/// The most bytes of a frame: readers hold a whole one. A larger group is committed in several.
pub(super) const FRAME_MAX: u64 = 8 * 1024 * 1024;
/// The smallest segment: its header and three pages of frames.
pub(super) const SEGMENT_MIN: u64 = 4 * PAGE;
/// The largest segment: 4 GiB.
pub(super) const SEGMENT_MAX: u64 = 1 << 32;
/// The anchor: two slots, each the first sector of a page of its own.
pub(super) const ANCHOR_BYTES: u64 = 2 * PAGE;
/// A slot and the zeros behind it: one sector, which a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
/// The bytes of a witness.
pub(super) const WITNESS_BYTES: usize = 96;

pub(super) const ANCHOR: &str = "anchor";
pub(super) const ANCHOR_NEW: &str = "anchor.new";
const FORMAT: u16 = 1;
const HASH: usize = 32;

/// The file of a segment.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:08}.seg")
}

/// The number of a segment from the name of its file.
pub(super) fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    (segment_name(number) == name).then_some(number)
}

/// Rounds up to whole pages.
pub(super) fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE) * PAGE
}

/// Whether all bytes are zero; by words, so that the checks of whole segments run at the speed of memory.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| word == &[0; 64]) && rest.iter().all(|byte| *byte == 0)
}

/// A place where a journal can be continued: behind the last frame of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

impl Place {
    pub(super) const START: Self = Self { segment: 1, offset: FIRST_FRAME };
}

/// Reads fields of a fixed layout one after the other. Callers hand in enough bytes; short input reads as zeros, which no
/// checksum accepts.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.0 = rest;
                *head
            }
            None => [0; N],
        }
    }
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
}

/// Appends the BLAKE3 of what stands there, then zeros up to a length.
fn seal(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes.resize(length, 0);
    bytes
}

/// Checks what [`seal`] made: the hash behind `body` bytes, and the zeros behind that.
fn sealed(bytes: &[u8], body: usize) -> Result<Fields<'_>, &'static str> {
    let (Some(content), Some(hash), Some(rest)) =
        (bytes.get(..body), bytes.get(body..body + HASH), bytes.get(body + HASH..))
    else {
        return Err("too short");
    };
    if blake3::hash(content).as_bytes() != hash {
        return Err("the checksum does not match");
    }
    if !is_zero(rest) {
        return Err("bytes that should be zero are not");
    }
    Ok(Fields(content))
}

/// What every sealed structure begins with: magic, format, two zeros.
fn opening(magic: [u8; 4]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

fn check_opening(fields: &mut Fields<'_>, magic: [u8; 4]) -> Result<(), &'static str> {
    if fields.take::<4>() != magic {
        return Err("the magic number is another one");
    }
    if fields.u16() != FORMAT {
        return Err("it has a format that this release does not know: use a newer release");
    }
    if fields.u16() != 0 {
        return Err("bytes that should be zero are not");
    }
    Ok(())
}

fn book(number: u32) -> Result<BookId, &'static str> {
    BookId::new(number).ok_or("book number zero")
}

/// The first page of a segment that is in use. It is written together with the segment's first frame, because nothing of it
/// but the number is known when the segment is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) book: BookId,
    pub(super) number: u32,
    pub(super) segment_bytes: u64,
    pub(super) first_sequence: Sequence,
    pub(super) previous: BlockHash,
}

pub(super) const SEGMENT_MAGIC: [u8; 4] = *b"DSEG";

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = opening(SEGMENT_MAGIC);
        bytes.extend_from_slice(&self.book.get().to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.segment_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.first_sequence.0.to_be_bytes());
        bytes.extend_from_slice(&self.previous.0);
        seal(bytes, page_usize())
    }

    /// Reads a header page.
    pub(super) fn decode(page: &[u8]) -> Result<Self, &'static str> {
        let mut fields = sealed(page, 64)?;
        check_opening(&mut fields, SEGMENT_MAGIC)?;
        Ok(Self {
            book: book(fields.u32())?,
            number: fields.u32(),
            segment_bytes: fields.u64(),
            first_sequence: Sequence(fields.u64()),
            previous: Digest(fields.take()),
        })
    }
}

/// [`PAGE`] as a length.
pub(super) const fn page_usize() -> usize {
    4096
}

/// A slot of the anchor: the durable head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) book: BookId,
    /// Behind the last frame.
    pub(super) end: Place,
    pub(super) segment_bytes: u64,
    pub(super) sequence: Sequence,
    pub(super) epoch: Epoch,
    pub(super) hash: BlockHash,
}

const SLOT_MAGIC: [u8; 4] = *b"DANC";

impl Slot {
    /// One sector.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = opening(SLOT_MAGIC);
        bytes.extend_from_slice(&self.book.get().to_be_bytes());
        bytes.extend_from_slice(&self.end.segment.to_be_bytes());
        bytes.extend_from_slice(&self.segment_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.end.offset.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.0.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&self.hash.0);
        seal(bytes, SECTOR)
    }

    /// Reads a sector.
    pub(super) fn decode(sector: &[u8]) -> Result<Self, &'static str> {
        let mut fields = sealed(sector, 80)?;
        check_opening(&mut fields, SLOT_MAGIC)?;
        let book = book(fields.u32())?;
        let segment = fields.u32();
        let segment_bytes = fields.u64();
        let slot = Self {
            book,
            end: Place { segment, offset: fields.u64() },
            segment_bytes,
            sequence: Sequence(fields.u64()),
            epoch: Epoch(fields.u64()),
            hash: Digest(fields.take()),
        };
        let bounded = (SEGMENT_MIN..=SEGMENT_MAX).contains(&segment_bytes)
            && segment_bytes.is_multiple_of(PAGE)
            && segment > 0
            && (FIRST_FRAME..=segment_bytes).contains(&slot.end.offset)
            && slot.end.offset.is_multiple_of(PAGE)
            && (slot.sequence > Sequence::ZERO || (slot.end == Place::START && slot.hash == Digest::default()));
        if bounded { Ok(slot) } else { Err("its fields contradict each other") }
    }

    /// Newer slots have the larger key.
    pub(super) const fn age(&self) -> (u64, u64) {
        (self.epoch.0, self.sequence.0)
    }
}

/// The witness: what a head was, kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WitnessMark {
    pub(super) book: BookId,
    pub(super) sequence: Sequence,
    pub(super) epoch: Epoch,
    pub(super) hash: BlockHash,
}

const WITNESS_MAGIC: [u8; 4] = *b"DWIT";

impl WitnessMark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = opening(WITNESS_MAGIC);
        bytes.extend_from_slice(&self.book.get().to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.sequence.0.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&self.hash.0);
        seal(bytes, WITNESS_BYTES)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut fields = sealed(bytes, 64)?;
        check_opening(&mut fields, WITNESS_MAGIC)?;
        let book = book(fields.u32())?;
        if fields.u32() != 0 {
            return Err("bytes that should be zero are not");
        }
        Ok(Self { book, sequence: Sequence(fields.u64()), epoch: Epoch(fields.u64()), hash: Digest(fields.take()) })
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) book: BookId,
    pub(super) blocks: u32,
    pub(super) first_sequence: Sequence,
    pub(super) count: u64,
    pub(super) epoch: Epoch,
    /// The bytes of the blocks as they are stored.
    pub(super) stored_bytes: u64,
    /// The bytes of the blocks in canonical form.
    pub(super) plain_bytes: u64,
    /// The whole frame with header and padding.
    pub(super) frame_bytes: u64,
    pub(super) previous: BlockHash,
}

pub(super) const FRAME_MAGIC: [u8; 4] = *b"DFRM";
/// Where the hash stands; it is over everything before and behind it.
const FRAME_HASH_AT: usize = 96;
/// Blocks stand as they are. Other codecs may come with a later release.
const CODEC_PLAIN: u8 = 0;

impl FrameHeader {
    pub(super) fn last_sequence(&self) -> Sequence {
        Sequence(self.first_sequence.0 + self.count - 1)
    }

    /// Writes the header into the first bytes of a frame that holds its blocks and its padding already.
    pub(super) fn seal(&self, frame: &mut [u8]) {
        let mut bytes = FRAME_MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&[CODEC_PLAIN, 0]);
        bytes.extend_from_slice(&self.book.get().to_be_bytes());
        bytes.extend_from_slice(&self.blocks.to_be_bytes());
        bytes.extend_from_slice(&self.first_sequence.0.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&self.stored_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.plain_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.frame_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.previous.0);
        assert!(bytes.len() == FRAME_HASH_AT && frame.len() as u64 == self.frame_bytes, "the frame's own lengths");
        let body = frame.get(FRAME_HEADER..).unwrap_or_default();
        let hash = blake3::Hasher::new().update(&bytes).update(body).finalize();
        bytes.extend_from_slice(hash.as_bytes());
        if let Some(place) = frame.first_chunk_mut::<FRAME_HEADER>() {
            place.copy_from_slice(&bytes);
        }
    }

    /// Reads a header and checks that its fields agree with each other; the hash is checked by [`FrameHeader::intact`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(bytes.get(..FRAME_HASH_AT).ok_or("too short for a frame")?);
        if fields.take::<4>() != FRAME_MAGIC {
            return Err("no frame begins here");
        }
        if fields.u16() != FORMAT {
            return Err("the frame has a format that this release does not know");
        }
        let [codec, zero] = fields.take();
        if codec != CODEC_PLAIN || zero != 0 {
            return Err("the frame has a codec that this release does not know");
        }
        let header = Self {
            book: book(fields.u32())?,
            blocks: fields.u32(),
            first_sequence: Sequence(fields.u64()),
            count: fields.u64(),
            epoch: Epoch(fields.u64()),
            stored_bytes: fields.u64(),
            plain_bytes: fields.u64(),
            frame_bytes: fields.u64(),
            previous: Digest(fields.take()),
        };
        let bounded = header.blocks > 0
            && header.count >= u64::from(header.blocks)
            && header.first_sequence > Sequence::ZERO
            && header.first_sequence.0.checked_add(header.count).is_some()
            && header.stored_bytes <= FRAME_MAX
            && header.stored_bytes == header.plain_bytes
            && header.frame_bytes == pages(FRAME_HEADER as u64 + header.stored_bytes);
        if bounded { Ok(header) } else { Err("the frame's fields contradict each other") }
    }

    /// Whether a whole frame is what was written.
    pub(super) fn intact(frame: &[u8]) -> bool {
        let (Some(head), Some(hash), Some(body)) =
            (frame.get(..FRAME_HASH_AT), frame.get(FRAME_HASH_AT..FRAME_HEADER), frame.get(FRAME_HEADER..))
        else {
            return false;
        };
        blake3::Hasher::new().update(head).update(body).finalize().as_bytes() == hash || on(Switch::DamageAccepted)
    }
}

/// The last block of a frame, once its blocks were followed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Last {
    pub(super) sequence: Sequence,
    pub(super) hash: BlockHash,
    pub(super) recorded_at: Timestamp,
    pub(super) epoch: Epoch,
}

/// Follows the chain through the blocks of an intact frame. Payloads are covered by the frame's hash and not looked at.
pub(super) fn follow_blocks(header: &FrameHeader, frame: &[u8], before: Last) -> Result<Last, String> {
    let mut rest =
        usize::try_from(header.stored_bytes).ok().and_then(|stored| frame.get(FRAME_HEADER..FRAME_HEADER + stored));
    let mut last = before;
    let follows = header.previous == before.hash && header.first_sequence == before.sequence.next();
    if !follows && !on(Switch::ChainUnchecked) {
        return Err("the frame does not follow the block before it".into());
    }
    for _ in 0..header.blocks {
        let block = next_block(rest.unwrap_or_default()).map_err(|error| error.to_string())?;
        let follows = block.header.previous == last.hash
            && block.header.first_sequence == last.sequence.next()
            && block.header.book == header.book;
        if !follows && !on(Switch::ChainUnchecked) {
            return Err(format!("block {} does not follow the block before it", block.header.first_sequence));
        }
        last = Last {
            sequence: block.header.last_sequence(),
            hash: block.header.hash(),
            recorded_at: block.header.recorded_at,
            epoch: block.header.epoch,
        };
        rest = rest.and_then(|bytes| bytes.get(block.bytes..));
    }
    if rest.is_none_or(|bytes| !bytes.is_empty()) || last.sequence != header.last_sequence() {
        return Err("the frame's blocks are not those its header speaks of".into());
    }
    Ok(last)
}

/// A block at the beginning of some bytes.
pub(super) struct StoredBlock {
    pub(super) header: BlockHeader,
    /// Its length, header and payload.
    pub(super) bytes: usize,
}

pub(super) fn next_block(bytes: &[u8]) -> Result<StoredBlock, BlockError> {
    let head = bytes.first_chunk::<BLOCK_HEADER_BYTES>().ok_or(BlockError::Damaged("shorter than a header"))?;
    let header = BlockHeader::decode(head)?;
    let length = BLOCK_HEADER_BYTES + header.payload_bytes as usize;
    if bytes.len() < length {
        return Err(BlockError::Damaged("length"));
    }
    Ok(StoredBlock { header, bytes: length })
}
