//! What a folder holds. The survey looks at everything an open must look at, changes nothing, and refuses damage; what it
//! returns is the plan of the repair.
//!
//! Two worlds meet at the anchor. Up to it every byte was synced before somebody was told, so whatever is not intact there
//! is damage. Beyond it a crash may have left anything of the one frame that was being written: if the whole of it is there
//! and follows the chain it is adopted, otherwise it is zeroed. What no crash leaves (a whole frame that does not follow,
//! one behind a gap, one of an earlier epoch) is refused, so that a repair never destroys a block that somebody may miss.

use std::io;
use std::sync::Arc;

use event_schemas::{BlockHash, BookId, Digest, Epoch, Sequence};

use super::anchor::Anchor;
use super::format::{
    ANCHOR, ANCHOR_NEW, FIRST_FRAME, FrameHeader, Last, PAGE, Place, SegmentHeader, Slot, follow_blocks, is_zero,
    next_block, page_usize, segment_name, segment_number,
};
use super::frames::{Found, FrameBuffer, HeaderPage};
use super::index::Index;
use super::options::{Damage, OpenFault};
use super::spares::SPARE_NEW;
use super::storage::Storage;

/// A frame that the repair writes again, and the header of its segment if it is the first there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rewrite {
    pub(super) place: Place,
    pub(super) header: Option<SegmentHeader>,
}

/// What a folder holds and what is to be done about it.
pub(super) struct Survey {
    pub(super) book: BookId,
    pub(super) segment_bytes: u64,
    /// The slot that the repair writes.
    pub(super) slot_to_write: usize,
    /// The newest epoch found.
    pub(super) epoch: Epoch,
    pub(super) head: Last,
    /// Behind the head.
    pub(super) end: Place,
    /// Segments behind the one of the head. They hold nothing.
    pub(super) spares: Vec<u32>,
    /// Files of an interrupted making.
    pub(super) leftovers: Vec<&'static str>,
    /// Frames from the end of the older slot on.
    pub(super) rewrites: Vec<Rewrite>,
    /// Bytes behind the head in its segment that are not zero: from, to; whole pages.
    pub(super) dirt: Option<(u64, u64)>,
    pub(super) index: Index,
    /// What the operator should know.
    pub(super) notices: Vec<String>,
    pub(super) buffer: FrameBuffer,
}

/// The files of a folder: how many segments, what was left half made, what does not belong.
pub(super) struct Files {
    /// Segments numbered from 1 without a gap.
    pub(super) segments: u32,
    /// The numbers of all segments from a given one on, also behind a gap: removals of spares may reach the disk in any
    /// order.
    pub(super) from_needed: Vec<u32>,
    pub(super) leftovers: Vec<&'static str>,
    pub(super) unknown: Vec<String>,
}

/// Lists a journal's files and checks that the segments have their length, and that none up to the one needed is missing.
pub(super) fn list_files(storage: &Arc<dyn Storage>, segment_bytes: u64, needed: u32) -> Result<Files, OpenFault> {
    let mut numbers = Vec::new();
    let mut files = Files { segments: 0, from_needed: Vec::new(), leftovers: Vec::new(), unknown: Vec::new() };
    for name in storage.list()? {
        if let Some(number) = segment_number(&name) {
            numbers.push(number);
        } else if name == SPARE_NEW {
            files.leftovers.push(SPARE_NEW);
        } else if name == ANCHOR_NEW {
            files.leftovers.push(ANCHOR_NEW);
        } else if name != ANCHOR {
            files.unknown.push(name);
        }
    }
    numbers.sort_unstable();
    for number in numbers {
        let name = segment_name(number);
        let file = match storage.open(&name, false) {
            // A writer that opens the journal beside a reader makes its spares anew.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && number > needed => continue,
            opened => opened?,
        };
        let found = file.length()?;
        if found != segment_bytes {
            return Err(OpenFault::WrongLength { file: name, expected: segment_bytes, found });
        }
        if number == files.segments + 1 {
            files.segments = number;
        }
        if number >= needed {
            files.from_needed.push(number);
        }
    }
    if files.segments < needed {
        return Err(OpenFault::Missing(segment_name(files.segments + 1)));
    }
    Ok(files)
}

/// Reads the headers of the segments that are in use and fills the index with them.
pub(super) fn read_headers(
    storage: &Arc<dyn Storage>,
    slot: &Slot,
    index: &mut Index,
) -> Result<Vec<SegmentHeader>, OpenFault> {
    let mut headers: Vec<SegmentHeader> = Vec::new();
    let used = if slot.sequence == Sequence::ZERO { 0 } else { slot.end.segment };
    let mut page = vec![0; page_usize()];
    for number in 1..=used {
        storage.open(&segment_name(number), false)?.read_at(&mut page, 0)?;
        let before = headers.last().map_or(Sequence::ZERO, |header| header.first_sequence);
        let damage =
            |reason: &str| Damage { segment: number, offset: 0, sequence: before.next(), reason: reason.into() };
        let header = SegmentHeader::decode(&page).map_err(|reason| damage(&format!("the header: {reason}")))?;
        let right = header.book == slot.book && header.number == number && header.segment_bytes == slot.segment_bytes;
        if !right {
            return Err(damage("the header is that of another segment").into());
        }
        let follows = if number == 1 {
            header.first_sequence == Sequence(1) && header.previous == Digest::default()
        } else {
            header.first_sequence > before
        };
        if !follows || header.first_sequence > slot.sequence {
            return Err(damage("the header's first sequence is out of order").into());
        }
        index.add_segment(number, header.first_sequence);
        headers.push(header);
    }
    Ok(headers)
}

/// How far a survey has come.
struct Scan<'a> {
    storage: &'a Arc<dyn Storage>,
    book: BookId,
    segment_bytes: u64,
    buffer: FrameBuffer,
    index: Index,
    place: Place,
    last: Last,
    epoch: Epoch,
    rewrite_from: Place,
    rewrites: Vec<Rewrite>,
}

impl Scan<'_> {
    fn damage(&self, reason: impl Into<String>) -> OpenFault {
        self.damage_at(self.place, reason)
    }

    fn damage_at(&self, place: Place, reason: impl Into<String>) -> OpenFault {
        OpenFault::Damaged(Damage {
            segment: place.segment,
            offset: place.offset,
            sequence: self.last.sequence.next(),
            reason: reason.into(),
        })
    }

    fn found(&mut self, limit: u64) -> io::Result<Found> {
        self.buffer.frame(self.storage, self.place.segment, self.place.offset, limit)
    }

    /// Whether an intact frame that stands at a place is the next of the chain, and where the chain is then.
    fn follow(&self, header: &FrameHeader, place: Place) -> Result<Last, String> {
        if header.book != self.book {
            return Err("the frame is of another book".into());
        }
        let frame = self.buffer.slice(place.offset, header.frame_bytes).unwrap_or_default();
        follow_blocks(header, frame, self.last)
    }

    fn accept(&mut self, header: &FrameHeader, last: Last) {
        let first = (self.place.offset == FIRST_FRAME).then_some(SegmentHeader {
            book: self.book,
            number: self.place.segment,
            segment_bytes: self.segment_bytes,
            first_sequence: header.first_sequence,
            previous: header.previous,
        });
        if let Some(header) = first {
            self.index.add_segment(self.place.segment, header.first_sequence);
        }
        self.index.note(self.place, header.first_sequence);
        if self.place >= self.rewrite_from {
            self.rewrites.push(Rewrite { place: self.place, header: first });
        }
        self.epoch = self.epoch.max(header.epoch).max(last.epoch);
        self.last = last;
        self.place.offset += header.frame_bytes;
    }

    fn rest_is_zero(&mut self) -> io::Result<Option<u64>> {
        self.buffer.first_nonzero(self.storage, self.place.segment, self.place.offset, self.segment_bytes)
    }

    /// Follows the frames up to the anchor. Everything must be there.
    fn up_to_anchor(
        &mut self,
        newest: &Slot,
        older: Option<&Slot>,
        headers: &[SegmentHeader],
    ) -> Result<(), OpenFault> {
        loop {
            if let Some(older) = older.filter(|older| older.end == self.place)
                && (older.sequence, older.hash) != (self.last.sequence, self.last.hash)
            {
                return Err(
                    self.damage("the older slot of the anchor names another block than the one before this place")
                );
            }
            if self.place == newest.end {
                break;
            }
            let in_last = self.place.segment == newest.end.segment;
            let limit = if in_last { newest.end.offset } else { self.segment_bytes };
            match self.found(limit)? {
                Found::Frame(header) => {
                    if header.epoch > newest.epoch {
                        return Err(self.damage("the frame has a later epoch than the anchor"));
                    }
                    let last = self.follow(&header, self.place).map_err(|reason| self.damage(reason))?;
                    self.accept(&header, last);
                }
                Found::Blank if !in_last => {
                    if let Some(offset) = self.rest_is_zero()? {
                        let place = Place { offset, ..self.place };
                        return Err(self.damage_at(place, "bytes behind the last frame should be zero"));
                    }
                    let next = headers.get(self.place.segment as usize);
                    let follows = next.is_some_and(|header| {
                        header.first_sequence == self.last.sequence.next() && header.previous == self.last.hash
                    });
                    if !follows {
                        return Err(self.damage("no frame stands here, and the next segment does not follow"));
                    }
                    self.place = Place { segment: self.place.segment + 1, offset: FIRST_FRAME };
                }
                Found::Blank => return Err(self.damage("no frame stands here, below the anchor")),
                Found::Damaged(reason) => return Err(self.damage(reason)),
            }
        }
        if (self.last.sequence, self.last.hash) != (newest.sequence, newest.hash) {
            return Err(self.damage("the anchor names another block than the one before this place"));
        }
        Ok(())
    }

    /// Adopts what follows the anchor. Returns how many frames, and notices.
    fn beyond_anchor(
        &mut self,
        anchor_epoch: Epoch,
        segments: u32,
        notices: &mut Vec<String>,
    ) -> Result<u64, OpenFault> {
        let mut adopted = 0;
        loop {
            let found = self.found(self.segment_bytes)?;
            if let Found::Frame(header) = found {
                let last = self.follow(&header, self.place).map_err(|reason| {
                    self.damage(format!("a whole frame stands beyond the anchor that no crash leaves: {reason}"))
                })?;
                if header.epoch < anchor_epoch {
                    return Err(self
                        .damage("a frame of an earlier epoch stands beyond the anchor: a second writer was at work"));
                }
                self.accept(&header, last);
                adopted += 1;
                continue;
            }
            let next = Place { segment: self.place.segment + 1, offset: FIRST_FRAME };
            if found != Found::Blank || next.segment > segments || self.rest_is_zero()?.is_some() {
                return Ok(adopted);
            }
            let Found::Frame(header) =
                self.buffer.frame(self.storage, next.segment, next.offset, self.segment_bytes)?
            else {
                return Ok(adopted);
            };
            if let Err(reason) = self.follow(&header, next) {
                return Err(self.damage_at(
                    next,
                    format!("a whole frame stands beyond the anchor that no crash leaves: {reason}"),
                ));
            }
            match self.buffer.header_page(self.storage, next.segment)? {
                HeaderPage::Header(page)
                    if page.number == next.segment
                        && page.first_sequence == header.first_sequence
                        && page.previous == header.previous => {}
                HeaderPage::Header(_) => {
                    return Err(self.damage_at(Place { offset: 0, ..next }, "the header is that of another segment"));
                }
                HeaderPage::Blank | HeaderPage::Damaged(_) => {
                    notices.push(format!("the header of segment {} was not whole and is written again", next.segment));
                }
            }
            self.place = next;
        }
    }

    /// What is not zero from a place to the end of its segment, in whole pages. A whole frame among it is refused.
    fn dirt(&mut self, from: Place) -> Result<Option<(u64, u64)>, OpenFault> {
        let limit = self.segment_bytes;
        let mut dirt: Option<(u64, u64)> = None;
        let mut offset = from.offset;
        while let Some(byte) = self.buffer.first_nonzero(self.storage, from.segment, offset, limit)? {
            let page = byte / PAGE * PAGE;
            if let Found::Frame(header) = self.buffer.frame(self.storage, from.segment, page, limit)? {
                let place = Place { offset: page, ..from };
                let first = header.first_sequence;
                return Err(self.damage_at(place, format!("a whole frame (sequence {first}) stands behind a gap")));
            }
            offset = page + PAGE;
            dirt = Some((dirt.map_or(page, |(first, _)| first), offset));
        }
        Ok(dirt)
    }
}

/// Surveys a folder for its writer. Frames are followed from the segment that holds `scan_from` on, or from the older slot.
pub(super) fn survey(storage: &Arc<dyn Storage>, book: BookId, scan_from: Sequence) -> Result<Survey, OpenFault> {
    let (newest_at, newest, other) = Anchor::read(storage)?.agree()?;
    if newest.book != book {
        return Err(OpenFault::OtherBook { expected: book, found: newest.book });
    }
    let files = list_files(storage, newest.segment_bytes, newest.end.segment)?;
    let mut index = Index::default();
    let headers = read_headers(storage, &newest, &mut index)?;
    let mut notices: Vec<String> =
        files.unknown.iter().map(|name| format!("{name} is no file of the journal and was left alone")).collect();

    let rewrite_from = other.map_or(newest.end, |older| older.end);
    let wanted = index.locate(scan_from.next()).map_or(u32::MAX, |(place, _)| place.segment);
    let start = wanted.min(rewrite_from.segment).min(newest.end.segment);
    let before = headers.get(start as usize - 1).map_or_else(Last::default, |header| Last {
        sequence: Sequence(header.first_sequence.0 - 1),
        hash: header.previous,
        ..Last::default()
    });
    let mut scan = Scan {
        storage,
        book,
        segment_bytes: newest.segment_bytes,
        buffer: FrameBuffer::default(),
        index,
        place: Place { segment: start, offset: FIRST_FRAME },
        last: before,
        epoch: newest.epoch,
        rewrite_from,
        rewrites: Vec::new(),
    };
    scan.up_to_anchor(&newest, other.ok().as_ref(), &headers)?;
    let adopted = scan.beyond_anchor(newest.epoch, files.segments, &mut notices)?;
    if adopted > 0 {
        let (first, last) = (newest.sequence.next(), scan.last.sequence);
        notices.push(format!("adopted sequences {first} to {last}, which were written whole but not answered"));
    }
    if adopted > 1 {
        notices.push(format!(
            "{adopted} frames stood beyond the anchor, more than a crash leaves: the disk ignored a sync, or the anchor \
             is an older copy"
        ));
    }
    if let Err(reason) = other {
        if adopted == 0 {
            return Err(OpenFault::Anchor(format!(
                "slot {}: {reason}; and no block beyond the other slot ({}) explains it",
                1 - newest_at,
                newest.sequence
            )));
        }
        notices.push(format!("slot {} of the anchor was not whole ({reason}) and is written again", 1 - newest_at));
    }
    let dirt = scan.dirt(scan.place)?;
    if let Some((from, to)) = dirt {
        notices.push(format!(
            "segment {}, bytes {from} to {to} behind the head (sequence {}) were not zero and no frame: zeroed",
            scan.place.segment, scan.last.sequence
        ));
    }
    let spares: Vec<u32> = files.from_needed.iter().copied().filter(|number| *number > scan.place.segment).collect();
    for segment in spares.iter().copied() {
        if scan.dirt(Place { segment, offset: 0 })?.is_some() {
            notices.push(format!("segment {segment} behind the head was not zero and held no frame: made anew"));
        }
    }
    if scan.last.sequence == Sequence::ZERO && scan.dirt(Place { segment: 1, offset: 0 })?.is_some() && dirt.is_none() {
        notices.push("the header of segment 1 was not zero before the first frame: made anew".into());
    }
    let Scan { buffer, index, place, last, epoch, rewrites, .. } = scan;
    Ok(Survey {
        book,
        segment_bytes: newest.segment_bytes,
        slot_to_write: 1 - newest_at,
        epoch,
        head: last,
        end: place,
        spares,
        leftovers: files.leftovers,
        rewrites,
        dirt,
        index,
        notices,
        buffer,
    })
}

impl Survey {
    /// The hash of the block that ends at this sequence, at or below the head; `None` if no block ends there.
    pub(super) fn hash_at(
        &mut self,
        storage: &Arc<dyn Storage>,
        sequence: Sequence,
    ) -> Result<Option<BlockHash>, OpenFault> {
        if sequence == self.head.sequence {
            return Ok(Some(self.head.hash));
        }
        let Some((mut place, mut first)) = self.index.locate(sequence) else { return Ok(None) };
        loop {
            let damage = |reason: &str| Damage {
                segment: place.segment,
                offset: place.offset,
                sequence: first,
                reason: reason.into(),
            };
            let limit = if place.segment == self.end.segment { self.end.offset } else { self.segment_bytes };
            let header = match self.buffer.frame(storage, place.segment, place.offset, limit)? {
                Found::Frame(header) if header.first_sequence == first => header,
                Found::Frame(_) => return Err(damage("the frame begins with another sequence").into()),
                Found::Blank => return Err(damage("no frame stands here").into()),
                Found::Damaged(reason) => return Err(damage(reason).into()),
            };
            if header.last_sequence() < sequence {
                first = header.last_sequence().next();
                place.offset += header.frame_bytes;
                continue;
            }
            let frame = self.buffer.slice(place.offset, header.frame_bytes).unwrap_or_default();
            let mut rest = frame.get(super::format::FRAME_HEADER..).unwrap_or_default();
            for _ in 0..header.blocks {
                let block = next_block(rest).map_err(|error| damage(&error.to_string()))?;
                if block.header.last_sequence() == sequence {
                    return Ok(Some(block.header.hash()));
                }
                rest = rest.get(block.bytes..).unwrap_or_default();
            }
            return Ok(None);
        }
    }
}

/// Whether a file holds nothing but zeros.
pub(super) fn holds_nothing(storage: &Arc<dyn Storage>, name: &str) -> io::Result<bool> {
    let file = storage.open(name, false)?;
    let length = file.length()?;
    let mut buffer = vec![0; 64 * 1024];
    let mut offset = 0;
    while offset < length {
        let take = usize::try_from((length - offset).min(buffer.len() as u64)).map_err(io::Error::other)?;
        let part = buffer.get_mut(..take).unwrap_or_default();
        file.read_at(part, offset)?;
        if !is_zero(part) {
            return Ok(false);
        }
        offset += take as u64;
    }
    Ok(true)
}
