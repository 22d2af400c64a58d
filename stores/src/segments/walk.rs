//! The check of everything, for `verify`: both slots of the anchor, every byte between them, the names, numbers and lengths
//! of the segments, every header, every frame, every payload, every link of the chain, and that all the rest is zero.
//!
//! It runs beside a writer. What lies beyond the anchor is then in motion: the walk follows the anchor while it moves, and
//! looks at the rest when it stands still. A finding ends the walk of its segment; it goes on with the next, whose header
//! says how it must begin.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use event_schemas::{Block, BlockHash, BookId, Digest, Epoch, Sequence};

use super::anchor::Anchor;
use super::format::{
    ANCHOR, FIRST_FRAME, FRAME_HEADER, FRAME_MAGIC, Last, PAGE, Place, SEGMENT_MAGIC, SegmentHeader, Slot,
    follow_blocks, is_zero, next_block, segment_name,
};
use super::frames::{Found, FrameBuffer, HeaderPage};
use super::options::OpenFault;
use super::reader::{ANCHOR_PAUSE, settled_anchor};
use super::storage::Storage;
use super::survey::list_files;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, offset {offset}, sequence {sequence}: {what}")]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The byte offset in it.
    pub offset: u64,
    /// The sequence that should stand there; in the anchor that of its newest slot.
    pub sequence: Sequence,
    /// What is wrong.
    pub what: String,
}

/// What a walk saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkReport {
    /// The book.
    pub book: BookId,
    /// The sequence of the anchor up to which the walk went.
    pub sequence: Sequence,
    /// The hash of the last block there.
    pub hash: BlockHash,
    /// The epoch of the anchor.
    pub epoch: Epoch,
    /// Segments in use.
    pub segments: u32,
    /// Intact frames.
    pub frames: u64,
    /// Intact blocks.
    pub blocks: u64,
    /// What is wrong; empty if nothing is.
    pub findings: Vec<Finding>,
    /// What is not wrong but worth knowing: a crash's leftovers that the next start of the writer repairs.
    pub notices: Vec<String>,
}

/// How often the walk follows a moving anchor before it leaves what lies beyond unseen.
const ROUNDS: u32 = 20;
/// How long the anchor must stand still before what lies beyond it is looked at. A commit takes a few milliseconds.
const STILL: Duration = Duration::from_millis(100);

struct Walk<'a> {
    storage: &'a Arc<dyn Storage>,
    buffer: FrameBuffer,
    place: Place,
    last: Last,
    report: WalkReport,
    visit: &'a mut dyn FnMut(u32, u64, &Block) -> ControlFlow<()>,
}

/// Checks a journal that nobody has open for writing: as [`walk`], but without the pauses that tell a block on its way from
/// damage.
pub fn walk_closed(
    storage: &Arc<dyn Storage>,
    visit: &mut dyn FnMut(u32, u64, &Block) -> ControlFlow<()>,
) -> Result<WalkReport, OpenFault> {
    walk_through(storage, visit, false)
}

/// Checks everything, beside a writer or not. The visitor gets each intact block with its segment and the offset of its frame there, in order, and
/// may break off. Faults are those that leave nothing to walk: no anchor, no valid slot, a missing or cut segment.
pub fn walk(
    storage: &Arc<dyn Storage>,
    visit: &mut dyn FnMut(u32, u64, &Block) -> ControlFlow<()>,
) -> Result<WalkReport, OpenFault> {
    walk_through(storage, visit, true)
}

fn walk_through(
    storage: &Arc<dyn Storage>,
    visit: &mut dyn FnMut(u32, u64, &Block) -> ControlFlow<()>,
    beside_writer: bool,
) -> Result<WalkReport, OpenFault> {
    let pause = if beside_writer { ANCHOR_PAUSE } else { Duration::ZERO };
    let mut anchor = settled_anchor(storage, pause)?;
    let (_, mut slot, _) = anchor.agree()?;
    let mut files = list_files(storage, slot.segment_bytes, slot.end.segment)?;
    let report = WalkReport {
        book: slot.book,
        sequence: slot.sequence,
        hash: slot.hash,
        epoch: slot.epoch,
        segments: 0,
        frames: 0,
        blocks: 0,
        findings: Vec::new(),
        notices: Vec::new(),
    };
    let place = Place { segment: 1, offset: 0 };
    let mut walk = Walk { storage, buffer: FrameBuffer::default(), place, last: Last::default(), report, visit };
    for round in 1.. {
        if walk.up_to(&slot)?.is_break() {
            return Ok(walk.report);
        }
        anchor = settled_anchor(storage, pause)?;
        let (_, newest, _) = anchor.agree()?;
        if newest == slot {
            files = list_files(storage, slot.segment_bytes, slot.end.segment)?;
            let before = walk.report.clone();
            walk.beyond(&slot, &anchor, &files.from_needed)?;
            // What lies beyond may be a block on its way. It is not if the anchor then stands still.
            if walk.report == before || !beside_writer {
                break;
            }
            std::thread::sleep(STILL);
            if settled_anchor(storage, pause)?.agree()?.1 == slot {
                break;
            }
            walk.report = before;
        }
        slot = settled_anchor(storage, pause)?.agree()?.1;
        if round == ROUNDS {
            walk.report
                .notices
                .push("the journal is being written: what lies beyond its anchor was not looked at".into());
            break;
        }
    }
    for name in files.unknown {
        walk.report.notices.push(format!("{name} is no file of the journal"));
    }
    for name in files.leftovers {
        walk.report.notices.push(format!("{name} is a file in the making"));
    }
    Ok(walk.report)
}

impl Walk<'_> {
    fn find(&mut self, offset: u64, what: impl Into<String>) {
        let file = segment_name(self.place.segment);
        self.report.findings.push(Finding { file, offset, sequence: self.last.sequence.next(), what: what.into() });
    }

    /// Walks on to a slot's end.
    fn up_to(&mut self, slot: &Slot) -> Result<ControlFlow<()>, OpenFault> {
        self.buffer.clear();
        self.report.sequence = slot.sequence;
        self.report.hash = slot.hash;
        self.report.epoch = slot.epoch;
        if slot.sequence == Sequence::ZERO {
            return Ok(ControlFlow::Continue(()));
        }
        while self.place < slot.end {
            if self.place.offset == 0 {
                self.header(slot)?;
            }
            let in_last = self.place.segment == slot.end.segment;
            let limit = if in_last { slot.end.offset } else { slot.segment_bytes };
            if self.segment(slot, limit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if in_last {
                self.place = slot.end;
            } else {
                self.place = Place { segment: self.place.segment + 1, offset: 0 };
            }
        }
        if self.report.findings.is_empty() && (self.last.sequence, self.last.hash) != (slot.sequence, slot.hash) {
            self.find(slot.end.offset, "the anchor names another block than the one before this place");
        }
        Ok(ControlFlow::Continue(()))
    }

    fn header(&mut self, slot: &Slot) -> Result<(), OpenFault> {
        let number = self.place.segment;
        match self.buffer.header_page(self.storage, number)? {
            HeaderPage::Header(header) => {
                let SegmentHeader { book, segment_bytes, first_sequence, previous, .. } = header;
                if (book, header.number, segment_bytes) != (slot.book, number, slot.segment_bytes) {
                    self.find(0, "the header is that of another segment");
                }
                if first_sequence != self.last.sequence.next() || previous != self.last.hash {
                    self.find(0, "the segment does not follow the one before it");
                    // What was lost is told. From here on the chain is followed anew.
                    let sequence = Sequence(first_sequence.0.saturating_sub(1));
                    self.last = Last { sequence, hash: previous, ..self.last };
                }
            }
            HeaderPage::Blank => self.find(0, "the segment has no header"),
            HeaderPage::Damaged(reason) => self.find(0, format!("the header: {reason}")),
        }
        self.report.segments = number;
        self.place.offset = FIRST_FRAME;
        Ok(())
    }

    /// Walks the frames of one segment up to a limit; a finding ends it.
    fn segment(&mut self, slot: &Slot, limit: u64) -> Result<ControlFlow<()>, OpenFault> {
        let Place { segment, mut offset } = self.place;
        while offset < limit {
            let header = match self.buffer.frame(self.storage, segment, offset, limit)? {
                Found::Frame(header) => header,
                Found::Blank if segment < slot.end.segment => {
                    if let Some(stray) = self.buffer.first_nonzero(self.storage, segment, offset, slot.segment_bytes)? {
                        self.find(stray, "bytes behind the last frame should be zero");
                    }
                    break;
                }
                Found::Blank => {
                    self.find(offset, "no frame stands here, below the anchor");
                    break;
                }
                Found::Damaged(reason) => {
                    self.find(offset, reason);
                    break;
                }
            };
            let frame = self.buffer.slice(offset, header.frame_bytes).unwrap_or_default();
            let last = match follow_blocks(&header, frame, self.last) {
                Ok(last) if header.book == slot.book && header.epoch <= slot.epoch => last,
                Ok(_) => {
                    self.find(offset, "the frame is of another book or a later epoch");
                    break;
                }
                Err(reason) => {
                    self.find(offset, reason);
                    break;
                }
            };
            let mut rest = frame.get(FRAME_HEADER..).unwrap_or_default();
            for _ in 0..header.blocks {
                let length = next_block(rest).map_or(0, |block| block.bytes);
                let (bytes, behind) = rest.split_at_checked(length).unwrap_or_default();
                rest = behind;
                match Block::from_bytes(bytes.to_vec()) {
                    Ok(block) => {
                        self.report.blocks += 1;
                        if (self.visit)(segment, offset, &block).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                    Err(error) => {
                        let file = segment_name(segment);
                        let sequence = header.first_sequence;
                        self.report.findings.push(Finding { file, offset, sequence, what: error.to_string() });
                    }
                }
            }
            if !is_zero(rest) {
                self.find(offset, "the frame's padding is not zero");
            }
            self.report.frames += 1;
            self.last = last;
            offset += header.frame_bytes;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn find_at(&mut self, place: Place, last: Last, what: &str) {
        let (file, sequence) = (segment_name(place.segment), last.sequence.next());
        self.report.findings.push(Finding { file, offset: place.offset, sequence, what: what.into() });
    }

    fn begins_with(&mut self, place: Place, magic: [u8; 4], limit: u64) -> Result<bool, OpenFault> {
        let bytes = self.buffer.raw(self.storage, place.segment, place.offset, 4, limit)?;
        Ok(bytes.is_some_and(|bytes| bytes == magic))
    }

    /// Looks at what lies beyond a slot's end: nothing, or what a crash leaves.
    fn beyond(&mut self, slot: &Slot, anchor: &Anchor, segments: &[u32]) -> Result<(), OpenFault> {
        self.buffer.clear();
        let mut end = slot.end;
        let mut last = Last { sequence: slot.sequence, hash: slot.hash, ..self.last };
        let mut followed = 0;
        loop {
            let mut place = end;
            let mut found = self.buffer.frame(self.storage, place.segment, place.offset, slot.segment_bytes)?;
            if found == Found::Blank && segments.contains(&(end.segment + 1)) {
                place = Place { segment: end.segment + 1, offset: FIRST_FRAME };
                found = self.buffer.frame(self.storage, place.segment, place.offset, slot.segment_bytes)?;
            }
            let Found::Frame(header) = found else { break };
            let frame = self.buffer.slice(place.offset, header.frame_bytes).unwrap_or_default();
            match follow_blocks(&header, frame, last) {
                Ok(next) if header.book == slot.book && header.epoch >= slot.epoch => last = next,
                Ok(_) | Err(_) => {
                    self.find_at(place, last, "a whole frame stands beyond the anchor that no crash leaves");
                    break;
                }
            }
            end = Place { offset: place.offset + header.frame_bytes, ..place };
            followed += 1;
        }
        if followed > 0 {
            let (first, last) = (slot.sequence.next(), last.sequence);
            self.report.notices.push(format!("sequences {first} to {last} were written whole but not answered"));
        }
        for (at, slot_found) in anchor.slots.iter().enumerate() {
            if let Err(reason) = slot_found {
                let what = format!("slot {at}: {reason}");
                if followed > 0 {
                    self.report.notices.push(format!("{what}; a crash leaves this while a block is committed"));
                } else {
                    let (offset, sequence) = (at as u64 * PAGE, slot.sequence);
                    self.report.findings.push(Finding { file: ANCHOR.into(), offset, sequence, what });
                }
            }
        }
        let empty = slot.sequence == Sequence::ZERO && followed == 0;
        let mut from = if empty { 0 } else { end.offset };
        let torn_frame = self.begins_with(end, FRAME_MAGIC, slot.segment_bytes)?;
        for segment in segments.iter().copied().filter(|segment| *segment >= end.segment) {
            if let Some(offset) = self.buffer.first_nonzero(self.storage, segment, from, slot.segment_bytes)? {
                let place = Place { segment, offset };
                let torn = if segment == end.segment && !empty {
                    torn_frame
                } else {
                    let entered = if empty { 1 } else { end.segment + 1 };
                    let page = Place { segment, offset: 0 };
                    segment == entered && self.begins_with(page, SEGMENT_MAGIC, slot.segment_bytes)?
                };
                if torn {
                    self.report.notices.push(format!(
                        "{}, offset {offset}: a frame that was not written whole and not answered; the next start zeroes it",
                        segment_name(segment)
                    ));
                } else {
                    self.find_at(place, last, "bytes behind the head are not zero");
                }
            }
            from = 0;
        }
        if self.report.findings.is_empty() && slot.sequence == Sequence::ZERO && slot.hash != Digest::default() {
            self.report.findings.push(Finding {
                file: ANCHOR.into(),
                offset: 0,
                sequence: Sequence::ZERO,
                what: "an empty journal with a hash".into(),
            });
        }
        Ok(())
    }
}
