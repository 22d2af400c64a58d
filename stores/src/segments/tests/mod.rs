//! The crash suite. Its parts share the scripts that are recorded and the check that every state of the disk must pass.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::case_sensitive_file_extension_comparisons)]

mod crash;
mod faults;
mod following;
mod refusals;
mod sabotage;

use std::ops::ControlFlow;
use std::sync::Arc;

use event_schemas::block::BlockPlace;
use event_schemas::event::StateDigest;
use event_schemas::{Block, BlockBuilder, BookId, Cause, Digest, Epoch, Event, EventBody, Sequence, Timestamp};
use ledger_core::ports::{AppendError, Head, Journal, JournalReader};

use super::sim::{SimDisk, mix};
use super::{SegmentJournal, SegmentOptions, Storage, WitnessPlace, create, exists, open, walk_closed};

pub(super) const BOOK: BookId = BookId::FIRST;

/// Puts something between the journal and its disk.
pub(super) type Wrap = fn(Arc<dyn Storage>) -> Arc<dyn Storage>;

/// What a process does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Create,
    /// Opens the journal, after closing it if it is open.
    Open,
    /// Appends blocks of about so many bytes, one group.
    Append(&'static [usize]),
}

/// Two lives of a journal with segments of 16 KiB: frames of one sector and of many, of several blocks, several segments.
pub(super) const SCRIPT: &[Step] = &[
    Step::Create,
    Step::Open,
    Step::Append(&[200]),
    Step::Append(&[1_500]),
    Step::Append(&[300, 2_500]),
    Step::Append(&[5_000]),
    Step::Append(&[200]),
    Step::Open,
    Step::Append(&[9_000]),
    Step::Append(&[700, 700, 700]),
    Step::Append(&[4_000, 9_000]),
    Step::Append(&[200]),
    Step::Open,
    Step::Append(&[300]),
];

/// A process at work on a disk, and all blocks that it tried to append.
pub(super) struct Process {
    pub(super) disk: SimDisk,
    pub(super) wrap: Wrap,
    pub(super) journal: Option<SegmentJournal>,
    pub(super) tried: Vec<Block>,
}

pub(super) fn options() -> SegmentOptions {
    SegmentOptions { segment_bytes: 16 * 1024, background: false, ..SegmentOptions::new(BOOK) }
}

/// A block of about so many bytes behind a head; its content follows from its place.
pub(super) fn block(head: Head, epoch: Epoch, bytes: usize) -> Block {
    let mut builder = BlockBuilder::new();
    let mut number = mix(head.sequence.0 << 20 | bytes as u64);
    while builder.is_empty() || builder.len() + 60 < bytes {
        let mut digest = [0; 32];
        for part in digest.chunks_mut(8) {
            number = mix(number);
            part.copy_from_slice(&number.to_be_bytes());
        }
        let body = EventBody::StateDigest(StateDigest { digest: Digest(digest), accounts: number });
        builder.push(&Event { cause: Cause::Engine, body });
    }
    builder.seal(BlockPlace {
        book: BOOK,
        first_sequence: head.sequence.next(),
        recorded_at: Timestamp(1_000_000),
        epoch,
        previous: head.hash,
    })
}

pub(super) fn head_of(block: &Block) -> Head {
    Head {
        sequence: block.header().last_sequence(),
        hash: block.hash(),
        recorded_at: block.header().recorded_at,
        epoch: block.header().epoch,
    }
}

impl Process {
    pub(super) fn new(disk: &SimDisk, wrap: Wrap, tried: &[Block]) -> Self {
        Self { disk: disk.clone(), wrap, journal: None, tried: tried.to_vec() }
    }

    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        (self.wrap)(self.disk.folder("journal"))
    }

    pub(super) fn options(&self) -> SegmentOptions {
        let witness = WitnessPlace { storage: self.disk.folder("witness"), name: "witness".into() };
        SegmentOptions { witness: Some(witness), ..options() }
    }

    /// Takes a step and notes what is promised then: one more than the sequence answered. An error ends the process; lack of
    /// space does not: the step is taken again.
    pub(super) fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Create => {
                create(&self.storage(), &self.options()).map_err(|error| error.to_string())?;
                self.disk.note(1);
            }
            Step::Open => {
                self.journal = None;
                let journal = open(&self.storage(), &self.options(), Sequence::ZERO);
                self.journal = Some(journal.map_err(|error| error.to_string())?);
            }
            Step::Append(sizes) => {
                let journal = self.journal.as_mut().unwrap();
                let mut head = journal.head();
                let mut blocks: Vec<Block> = Vec::new();
                for size in sizes {
                    let block = block(head, journal.epoch(), *size);
                    head = head_of(&block);
                    blocks.push(block);
                }
                self.tried.retain(|block| block.header().first_sequence < blocks[0].header().first_sequence);
                self.tried.extend(blocks.iter().cloned());
                let bytes = blocks.iter().map(|block| block.bytes().len()).sum();
                let journal = self.journal.as_mut().unwrap();
                let mut appended = journal.secure_space(bytes).and_then(|()| journal.append(&blocks));
                if let Err(AppendError::NoSpace(_)) = appended {
                    appended = journal.secure_space(bytes).and_then(|()| journal.append(&blocks));
                }
                appended.map_err(|error| error.to_string())?;
                self.disk.note(1 + head.sequence.0);
            }
        }
        Ok(())
    }

    pub(super) fn run(&mut self, script: &[Step]) -> Result<(), String> {
        script.iter().try_for_each(|step| self.step(*step))
    }
}

/// What came of a disk state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything answered is there, and the journal works.
    Sound,
    /// The journal refuses to open, and says why.
    Refused(String),
}

/// Opens the journal that a disk state holds and holds it to what was promised: `note - 1` answered sequences, none at all
/// if the note is zero, and the blocks that were tried. `Err` is a broken law.
pub(super) fn check(disk: &SimDisk, wrap: Wrap, note: u64, tried: &[Block]) -> Result<Outcome, String> {
    let mut process = Process::new(disk, wrap, tried);
    if !exists(&process.storage()).unwrap() {
        if note > 0 {
            return Ok(Outcome::Refused("no journal".into()));
        }
        process.step(Step::Create).map_err(|error| format!("creating it again: {error}"))?;
    }
    match open(&process.storage(), &process.options(), Sequence::ZERO) {
        Ok(journal) => process.journal = Some(journal),
        Err(fault) => return Ok(Outcome::Refused(fault.to_string())),
    }
    let journal = process.journal.as_ref().unwrap();
    let answered = note.saturating_sub(1);
    if journal.head().sequence.0 < answered {
        return Err(format!("LOST: {answered} answered, head {}", journal.head().sequence));
    }
    same_blocks(journal, tried)?;
    process.step(Step::Append(&[600])).map_err(|error| format!("appending after it: {error}"))?;
    same_blocks(process.journal.as_ref().unwrap(), &process.tried)?;
    let report =
        walk_closed(&process.storage(), &mut |_, _, _| ControlFlow::Continue(())).map_err(|fault| fault.to_string())?;
    if !report.findings.is_empty() {
        return Err(format!("the walk finds {}", report.findings[0]));
    }
    // What was just answered needs nothing that is not synced.
    drop(process.journal.take());
    let cut = disk.moment().power_cuts(0).next().unwrap();
    let process = Process::new(&cut, wrap, &process.tried);
    let journal = match open(&process.storage(), &process.options(), Sequence::ZERO) {
        Ok(journal) => journal,
        Err(fault) => return Ok(Outcome::Refused(format!("after a second power cut: {fault}"))),
    };
    if journal.head().sequence != process.tried.last().unwrap().header().last_sequence() {
        return Err(format!("LOST: head {} after a second power cut", journal.head().sequence));
    }
    same_blocks(&journal, &process.tried)?;
    Ok(Outcome::Sound)
}

/// Whether the journal holds the first of the blocks that were tried, each once and whole, and nothing else.
fn same_blocks(journal: &SegmentJournal, tried: &[Block]) -> Result<(), String> {
    let mut reader = journal.segment_reader();
    let mut head = Head::default();
    while let Some(block) = JournalReader::next_block(&mut reader).map_err(|fault| fault.to_string())? {
        let same = tried.iter().find(|tried| tried.header().first_sequence == block.header().first_sequence);
        if same != Some(&block) {
            return Err(format!("block {} is not what was tried", block.header().first_sequence));
        }
        head = head_of(&block);
    }
    if (head.sequence, head.hash) != (journal.head().sequence, journal.head().hash) {
        return Err(format!("read up to {}, head {}", head.sequence, journal.head().sequence));
    }
    Ok(())
}

/// Runs a script on a new disk and returns its moments and the blocks tried.
pub(super) fn record(script: &[Step], wrap: Wrap) -> (Vec<super::sim::Moment>, Vec<Block>) {
    let disk = SimDisk::new();
    disk.record();
    let mut process = Process::new(&disk, wrap, &[]);
    process.run(script).unwrap();
    process.journal = None;
    (disk.recorded(), process.tried)
}

pub(super) fn plain(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    storage
}
