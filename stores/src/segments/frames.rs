//! Reading frames: one buffer over one segment, with read-ahead that grows while reading goes on in a row.
//!
//! A frame is checked as a whole before a byte of it is used. Nothing at or behind `limit` is ever read into the buffer, so
//! what a writer does there cannot be seen half done.

use std::io;
use std::sync::Arc;

use super::format::{FRAME_HEADER, FrameHeader, PAGE, is_zero, segment_name};
use super::storage::{Storage, StorageFile};

const AHEAD_MIN: u64 = 16 * 1024;
const AHEAD_MAX: u64 = 2 * 1024 * 1024;

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// An intact frame.
    Frame(FrameHeader),
    /// Zeros, or the end of what may be read.
    Blank,
    /// Something else.
    Damaged(&'static str),
}

/// A buffer over one segment.
#[derive(Default)]
pub(super) struct FrameBuffer {
    file: Option<(u32, Box<dyn StorageFile>)>,
    start: u64,
    filled: usize,
    bytes: Vec<u8>,
    ahead: u64,
}

impl FrameBuffer {
    /// Forgets what was read, not the memory for it.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
        self.file = None;
    }

    /// Bytes of the segment that are in the buffer since the last call.
    pub(super) fn slice(&self, offset: u64, length: u64) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        if to > self.filled { None } else { self.bytes.get(from..to) }
    }

    fn load(
        &mut self,
        storage: &Arc<dyn Storage>,
        segment: u32,
        offset: u64,
        length: u64,
        limit: u64,
    ) -> io::Result<bool> {
        if offset.checked_add(length).is_none_or(|end| end > limit) {
            return Ok(false);
        }
        let same = self.file.as_ref().is_some_and(|(open, _)| *open == segment);
        if same && self.slice(offset, length).is_some() {
            return Ok(true);
        }
        let behind = self.start + self.filled as u64;
        let in_a_row = same && self.filled > 0 && (self.start..=behind).contains(&offset);
        self.ahead = if in_a_row { (self.ahead * 2).min(AHEAD_MAX) } else { AHEAD_MIN };
        self.filled = 0;
        if !same {
            self.file = Some((segment, storage.open(&segment_name(segment), false)?));
        }
        let wanted = length.max(self.ahead).min(limit - offset);
        let wanted = usize::try_from(wanted).map_err(io::Error::other)?;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        if let (Some((_, file)), Some(buffer)) = (&self.file, self.bytes.get_mut(..wanted)) {
            file.read_at(buffer, offset)?;
        }
        self.start = offset;
        self.filled = wanted;
        Ok(true)
    }

    /// Any bytes of a segment, if they lie before the limit.
    pub(super) fn raw(
        &mut self,
        storage: &Arc<dyn Storage>,
        segment: u32,
        offset: u64,
        length: u64,
        limit: u64,
    ) -> io::Result<Option<&[u8]>> {
        Ok(if self.load(storage, segment, offset, length, limit)? { self.slice(offset, length) } else { None })
    }

    /// The header of a frame, its hash unchecked: to hop over frames.
    pub(super) fn header(
        &mut self,
        storage: &Arc<dyn Storage>,
        segment: u32,
        offset: u64,
        limit: u64,
    ) -> io::Result<Found> {
        let Some(bytes) = self.raw(storage, segment, offset, FRAME_HEADER as u64, limit)? else {
            return Ok(Found::Blank);
        };
        if is_zero(bytes) {
            return Ok(Found::Blank);
        }
        Ok(match FrameHeader::decode(bytes) {
            Ok(header) if header.frame_bytes <= limit - offset => Found::Frame(header),
            Ok(_) => Found::Damaged("the frame runs beyond the end"),
            Err(reason) => Found::Damaged(reason),
        })
    }

    /// A whole frame, its hash checked. Its bytes are then in [`FrameBuffer::slice`].
    pub(super) fn frame(
        &mut self,
        storage: &Arc<dyn Storage>,
        segment: u32,
        offset: u64,
        limit: u64,
    ) -> io::Result<Found> {
        let header = match self.header(storage, segment, offset, limit)? {
            Found::Frame(header) => header,
            other @ (Found::Blank | Found::Damaged(_)) => return Ok(other),
        };
        let intact = self.raw(storage, segment, offset, header.frame_bytes, limit)?.is_some_and(FrameHeader::intact);
        Ok(if intact { Found::Frame(header) } else { Found::Damaged("the frame's checksum does not match") })
    }

    /// The first byte from `offset` on that is not zero.
    pub(super) fn first_nonzero(
        &mut self,
        storage: &Arc<dyn Storage>,
        segment: u32,
        mut offset: u64,
        limit: u64,
    ) -> io::Result<Option<u64>> {
        while offset < limit {
            let length = (256 * 1024).min(limit - offset);
            let bytes = self.raw(storage, segment, offset, length, limit)?.unwrap_or_default();
            if !is_zero(bytes) {
                let at = bytes.iter().position(|byte| *byte != 0).unwrap_or_default();
                return Ok(Some(offset + at as u64));
            }
            offset += length;
        }
        Ok(None)
    }

    /// Whether the header page of a segment is blank, and otherwise what it says. It is read without what lies behind it: the
    /// writer may be writing there.
    pub(super) fn header_page(&mut self, storage: &Arc<dyn Storage>, segment: u32) -> io::Result<HeaderPage> {
        let page = self.raw(storage, segment, 0, PAGE, PAGE)?.unwrap_or_default();
        if is_zero(page) {
            return Ok(HeaderPage::Blank);
        }
        Ok(super::format::SegmentHeader::decode(page).map_or_else(HeaderPage::Damaged, HeaderPage::Header))
    }
}

/// The first page of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderPage {
    /// An intact header.
    Header(super::format::SegmentHeader),
    /// Zeros: the segment is not in use.
    Blank,
    /// Something else.
    Damaged(&'static str),
}
