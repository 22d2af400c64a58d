//! Blocks: the events of one append, under a header that chains them to all that came before.
//!
//! ```text
//!   0  magic "DBLK"            24  first sequence      48  hash of the block before (32)
//!   4  format version  u16     32  recorded at, us     80  hash of the payload (32)
//!   6  rules version   u16     40  epoch
//!   8  min reader version u16
//!  10  zero            u16
//!  12  book            u32     All integers are big-endian. The block's hash is BLAKE3 over these 112 bytes;
//!  16  event count     u32     the payload is the events' canonical forms, one after the other.
//!  20  payload length  u32
//! ```

use crate::READER_VERSION;
use crate::bounds::BLOCK_MAX_BYTES;
use crate::codec::{CodecError, Reader};
use crate::date::Timestamp;
use crate::digest::Digest;
use crate::event::{Event, RecordedEvent};
use crate::ids::{BookId, Epoch, Sequence};

/// The hash of a block's header, and so of the whole journal up to it.
pub type BlockHash = Digest;

/// The bytes of a header.
pub const HEADER_BYTES: usize = 112;

const MAGIC: [u8; 4] = *b"DBLK";
const FORMAT_VERSION: u16 = 1;

/// A block that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Written for a newer reader.
    #[error(
        "the block needs a reader of version {needed}, this one is of version {READER_VERSION}: use a newer release"
    )]
    NewerReader {
        /// The version it needs.
        needed: u16,
    },
    /// Not a block, or damaged.
    #[error("not an intact block: {0}")]
    Damaged(&'static str),
    /// An event that can't be read.
    #[error("event {sequence}: {error}")]
    Event {
        /// Its sequence.
        sequence: Sequence,
        /// What is wrong.
        error: CodecError,
    },
}

/// The header of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// The rules under which its events were decided.
    pub rules_version: u16,
    /// The oldest reader that understands it.
    pub min_reader_version: u16,
    /// The book.
    pub book: BookId,
    /// How many events it holds, one at least.
    pub count: u32,
    /// The bytes of its payload.
    pub payload_bytes: u32,
    /// The sequence of its first event.
    pub first_sequence: Sequence,
    /// When it was recorded; never before the block ahead of it.
    pub recorded_at: Timestamp,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The hash of the block before; zero for the first.
    pub previous: BlockHash,
    /// BLAKE3 of the payload.
    pub payload_hash: Digest,
}

impl BlockHeader {
    /// The sequence of the last event.
    pub fn last_sequence(&self) -> Sequence {
        Sequence(self.first_sequence.0 + u64::from(self.count) - 1)
    }

    /// The canonical bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        out.extend_from_slice(&self.rules_version.to_be_bytes());
        out.extend_from_slice(&self.min_reader_version.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.book.get().to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.payload_bytes.to_be_bytes());
        out.extend_from_slice(&self.first_sequence.0.to_be_bytes());
        out.extend_from_slice(&self.recorded_at.0.to_be_bytes());
        out.extend_from_slice(&self.epoch.0.to_be_bytes());
        out.extend_from_slice(&self.previous.0);
        out.extend_from_slice(&self.payload_hash.0);
        let mut bytes = [0; HEADER_BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Reads the canonical bytes. Says nothing of the payload.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BlockError> {
        Self::decode_fields(bytes).map_err(|_| BlockError::Damaged("header fields"))?
    }

    fn decode_fields(bytes: &[u8]) -> Result<Result<Self, BlockError>, CodecError> {
        let mut reader = Reader::new(bytes);
        if reader.array("magic")? != MAGIC {
            return Ok(Err(BlockError::Damaged("magic")));
        }
        let format = u16::from_be_bytes(reader.array("format")?);
        let rules_version = u16::from_be_bytes(reader.array("rules version")?);
        let min_reader_version = u16::from_be_bytes(reader.array("reader version")?);
        let zero: [u8; 2] = reader.array("zero")?;
        if format > FORMAT_VERSION || min_reader_version > READER_VERSION {
            return Ok(Err(BlockError::NewerReader { needed: min_reader_version.max(format) }));
        }
        let Some(book) = BookId::new(u32::from_be_bytes(reader.array("book")?)) else {
            return Ok(Err(BlockError::Damaged("book")));
        };
        let count = u32::from_be_bytes(reader.array("count")?);
        let payload_bytes = u32::from_be_bytes(reader.array("payload length")?);
        let first_sequence = Sequence(u64::from_be_bytes(reader.array("first sequence")?));
        let bounded = format == FORMAT_VERSION
            && zero == [0, 0]
            && count > 0
            && payload_bytes as usize <= BLOCK_MAX_BYTES - HEADER_BYTES
            && first_sequence.0 > 0
            && first_sequence.0.checked_add(u64::from(count)).is_some();
        if !bounded {
            return Ok(Err(BlockError::Damaged("header bounds")));
        }
        Ok(Ok(Self {
            rules_version,
            min_reader_version,
            book,
            count,
            payload_bytes,
            first_sequence,
            recorded_at: reader.time()?,
            epoch: Epoch(u64::from_be_bytes(reader.array("epoch")?)),
            previous: Digest(reader.array("previous")?),
            payload_hash: Digest(reader.array("payload hash")?),
        }))
    }

    /// The block's hash.
    pub fn hash(&self) -> BlockHash {
        Digest(*blake3::hash(&self.encode()).as_bytes())
    }
}

/// A whole block in canonical form: header and payload, hash checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    header: BlockHeader,
    hash: BlockHash,
    bytes: Vec<u8>,
}

impl Block {
    /// Takes canonical bytes for a block, checking header, length and payload hash (not the chain, and not the events).
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, BlockError> {
        let head = bytes.first_chunk::<HEADER_BYTES>().ok_or(BlockError::Damaged("shorter than a header"))?;
        let header = BlockHeader::decode(head)?;
        let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
        if payload.len() != header.payload_bytes as usize {
            return Err(BlockError::Damaged("length"));
        }
        if *blake3::hash(payload).as_bytes() != header.payload_hash.0 {
            return Err(BlockError::Damaged("payload hash"));
        }
        Ok(Self { header, hash: header.hash(), bytes })
    }

    /// The header.
    pub const fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// The hash of the header.
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// The canonical bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The canonical bytes, to keep.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Its events, in order, each with its sequence.
    pub fn events(&self) -> Events<'_> {
        Events { reader: Reader::new(self.payload()), next: self.header.first_sequence, left: self.header.count }
    }

    /// The event of this sequence, if it is in the block.
    pub fn event(&self, sequence: Sequence) -> Result<Option<Event>, BlockError> {
        if sequence > self.header.last_sequence() {
            return Ok(None);
        }
        let Some(nth) = sequence.0.checked_sub(self.header.first_sequence.0) else { return Ok(None) };
        nth_event(self.payload(), nth).map(Some).map_err(|error| BlockError::Event { sequence, error })
    }

    /// An event of this block with its place.
    pub fn recorded(&self, sequence: Sequence, event: Event) -> RecordedEvent {
        RecordedEvent {
            book: self.header.book,
            sequence,
            recorded_at: self.header.recorded_at,
            epoch: self.header.epoch,
            event,
        }
    }
}

/// Decodes one event of a payload, and passes over those before it.
fn nth_event(payload: &[u8], nth: u64) -> Result<Event, CodecError> {
    let mut reader = Reader::new(payload);
    for _ in 0..nth {
        let length = reader.number("event length")?;
        reader.bytes(length, "event")?;
    }
    Event::decode(&mut reader)
}

/// The events of a block, decoded one by one.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    reader: Reader<'a>,
    next: Sequence,
    left: u32,
}

impl Iterator for Events<'_> {
    type Item = Result<(Sequence, Event), BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.reader.remaining() == 0 {
                return None;
            }
            self.reader = Reader::new(&[]);
            return Some(Err(BlockError::Damaged("bytes after the last event")));
        }
        let sequence = self.next;
        match Event::decode(&mut self.reader) {
            Ok(event) => {
                self.next = sequence.next();
                self.left -= 1;
                Some(Ok((sequence, event)))
            }
            Err(error) => {
                self.left = 0;
                self.reader = Reader::new(&[]);
                Some(Err(BlockError::Event { sequence, error }))
            }
        }
    }
}

/// Builds blocks one after the other, each chained to the one before.
#[derive(Debug)]
pub struct BlockBuilder {
    bytes: Vec<u8>,
    count: u32,
}

/// What a block's header says beside its payload.
#[derive(Debug, Clone, Copy)]
pub struct BlockPlace {
    /// The book.
    pub book: BookId,
    /// The sequence of its first event.
    pub first_sequence: Sequence,
    /// When it is recorded.
    pub recorded_at: Timestamp,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The hash of the block before.
    pub previous: BlockHash,
}

impl Default for BlockBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BlockBuilder {
    /// An empty block.
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(4096);
        bytes.resize(HEADER_BYTES, 0);
        Self { bytes, count: 0 }
    }

    /// The bytes it would have now.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no event is in it.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many events are in it.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Appends an event.
    pub fn push(&mut self, event: &Event) {
        event.encode(&mut self.bytes);
        self.count += 1;
    }

    /// The event at this place, from 0; `None` if there are not as many.
    pub fn event(&self, nth: u64) -> Result<Option<Event>, CodecError> {
        if nth >= u64::from(self.count) {
            return Ok(None);
        }
        nth_event(self.bytes.get(HEADER_BYTES..).unwrap_or_default(), nth).map(Some)
    }

    /// Closes the block under a header and starts the next one.
    pub fn seal(&mut self, place: BlockPlace) -> Block {
        assert!(self.count > 0, "a block holds one event at least");
        assert!(self.bytes.len() <= BLOCK_MAX_BYTES, "a block of {} bytes", self.bytes.len());
        let next = Vec::with_capacity(self.bytes.len());
        let mut bytes = std::mem::replace(&mut self.bytes, next);
        self.bytes.resize(HEADER_BYTES, 0);
        let count = std::mem::take(&mut self.count);
        let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let header = BlockHeader {
            rules_version: crate::RULES_VERSION,
            min_reader_version: 1,
            book: place.book,
            count,
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            first_sequence: place.first_sequence,
            recorded_at: place.recorded_at,
            epoch: place.epoch,
            previous: place.previous,
            payload_hash: Digest(*blake3::hash(payload).as_bytes()),
        };
        if let Some(slot) = bytes.first_chunk_mut::<HEADER_BYTES>() {
            *slot = header.encode();
        }
        Block { header, hash: header.hash(), bytes }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::event::{BookOpened, EventBody};
    use crate::ids::PrincipalId;

    fn block() -> Block {
        let mut builder = BlockBuilder::new();
        let opened = BookOpened { book: BookId::FIRST, nonce: PrincipalId(1) };
        builder.push(&Event::engine(EventBody::BookOpened(opened)));
        builder.seal(BlockPlace {
            book: BookId::FIRST,
            first_sequence: Sequence(1),
            recorded_at: Timestamp(0),
            epoch: Epoch(1),
            previous: BlockHash::default(),
        })
    }

    #[test]
    fn a_block_for_a_newer_reader_is_refused_with_its_version() {
        for (at, version) in [(5, FORMAT_VERSION + 1), (9, READER_VERSION + 1)] {
            let mut bytes = block().into_bytes();
            bytes[at] = u8::try_from(version).unwrap();
            let error = Block::from_bytes(bytes).unwrap_err();
            assert_eq!(error, BlockError::NewerReader { needed: version });
            assert!(error.to_string().contains("use a newer release"));
        }
    }

    #[test]
    fn an_event_of_a_newer_version_or_type_is_told_with_its_sequence() {
        for (at, tag, what) in [(1, 200, "event type"), (2, 2, "event version")] {
            let whole = block();
            let mut payload = whole.payload().to_vec();
            payload[at] = tag;
            let header = BlockHeader { payload_hash: Digest(*blake3::hash(&payload).as_bytes()), ..*whole.header() };
            let bytes = [&header.encode()[..], &payload].concat();
            let error = CodecError::UnknownTag { what, tag: tag.into() };
            let events: Vec<_> = Block::from_bytes(bytes).unwrap().events().collect();
            assert_eq!(events, [Err(BlockError::Event { sequence: Sequence(1), error })]);
        }
    }

    #[test]
    fn bytes_behind_the_last_event_are_told() {
        let whole = block();
        let mut payload = whole.payload().to_vec();
        payload.push(0);
        let header = BlockHeader {
            payload_bytes: u32::try_from(payload.len()).unwrap(),
            payload_hash: Digest(*blake3::hash(&payload).as_bytes()),
            ..*whole.header()
        };
        let block = Block::from_bytes([&header.encode()[..], &payload].concat()).unwrap();
        assert!(matches!(block.events().last(), Some(Err(BlockError::Damaged(_)))));
    }
}
