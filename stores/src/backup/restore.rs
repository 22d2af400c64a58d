//! Putting a backup back: built beside the place, checked, then renamed into it.
//!
//! What can be rebuilt (read models, checkpoints, the id index) is not in a backup; the first start makes it from the
//! journal. A witness that has seen more than the backup holds refuses the restore, unless an operator accepts the loss; then
//! a `JournalRestored` event goes on record under an epoch above all that the witness saw, and the witness is renewed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event_schemas::block::BlockPlace;
use event_schemas::bounds::CLOCK_JUMP_MAX_DAYS;
use event_schemas::event::JournalRestored;
use event_schemas::{BlockBuilder, BlockHash, BookId, Event, EventBody, Sequence, Timestamp};
use ledger_core::ports::Journal as _;

use super::make::{check_segment, finished, is_empty};
use super::manifest::{JournalRecord, Manifest};
use super::{BackupFault, Copied, OnCopied, io_fault};
use crate::embedded::{EmbeddedFault, FolderLock, make_private};
use crate::segments::copy::{Extent, Rest, SegmentCopy, write_anchor_of};
use crate::segments::{self, DiskStorage, SegmentOptions, Storage, Witnessed};

/// An operator's word that what came after the backup is lost.
#[derive(Debug, Clone)]
pub struct AcceptRollback {
    /// The last event of the backup: nothing is cut off it, so no other can be named.
    pub to: Sequence,
    /// Who says so.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// How a backup is put back.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// The witness of the book.
    pub witness: Option<PathBuf>,
    /// The operator's word.
    pub accept: Option<AcceptRollback>,
    /// The clock's time now.
    pub now: Timestamp,
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was put back.
    pub manifest: Manifest,
    /// The head of the restored book: the backup's, or the event behind it that says that it was restored.
    pub sequence: Sequence,
    /// The hash of the block that ends there.
    pub hash: BlockHash,
    /// Bytes copied.
    pub bytes: u64,
    /// Whether the restore was put on record.
    pub recorded: bool,
    /// What is worth knowing, in sentences.
    pub notices: Vec<String>,
}

/// Puts a backup where nothing is. All of it is checked first, and the folder appears whole or not at all.
pub fn restore(
    from: &Path,
    data: &Path,
    options: &RestoreOptions,
    on_copied: &mut OnCopied<'_>,
) -> Result<Restored, BackupFault> {
    let manifest = finished(from)?;
    let book = manifest.book_journal().ok_or_else(|| BackupFault::Unfinished(from.to_owned()))?;
    if data.exists() && !is_empty(data)? {
        return Err(BackupFault::Taken(data.to_owned()));
    }
    let mut notices = Vec::new();
    let witnessed = look_at_witness(&manifest, book, options, &mut notices)?;

    let beside = beside(data)?;
    make_private(&beside)?;
    // It is held until the end: under its new name the folder is still locked for those who would open it.
    let _lock = FolderLock::take(&beside)?;
    empty(&beside)?;
    let total = manifest.journals.iter().flat_map(|journal| &journal.segments).map(|segment| segment.bytes).sum();
    let mut copied = Copied { done: 0, total };
    for journal in &manifest.journals {
        let mut extent = journal.extent(manifest.book)?;
        if let Some(witnessed) = witnessed.filter(|_| journal == book && options.accept.is_some()) {
            extent = extent.with_epoch(witnessed.epoch);
        }
        copy_journal(from, &beside, journal, &extent, &mut |bytes| {
            copied.done += bytes;
            on_copied(copied);
        })?;
    }
    check_witnessed_block(&beside, witnessed, options)?;
    let (mut sequence, mut hash) = (book.sequence, book.hash);
    if let Some(accept) = &options.accept {
        (sequence, hash) = put_on_record(&beside, manifest.book, accept, witnessed, options.now)?;
    }
    fs::File::open(&beside).and_then(|folder| folder.sync_all()).map_err(io_fault(&beside))?;
    fs::rename(&beside, data).map_err(io_fault(data))?;
    let above = above(data);
    fs::File::open(above).and_then(|folder| folder.sync_all()).map_err(io_fault(above))?;
    if options.accept.is_some()
        && let Some(path) = &options.witness
    {
        renew_witness(data, path, manifest.book)?;
    }
    Ok(Restored { sequence, hash, bytes: copied.done, recorded: options.accept.is_some(), notices, manifest })
}

/// What the witness says to this backup, and whether the operator's word is asked for and fits.
fn look_at_witness(
    manifest: &Manifest,
    book: &JournalRecord,
    options: &RestoreOptions,
    notices: &mut Vec<String>,
) -> Result<Option<Witnessed>, BackupFault> {
    let head = book.sequence;
    if let Some(accept) = options.accept.as_ref().filter(|accept| accept.to != head) {
        return Err(BackupFault::AcceptedOther { head, accepted: accept.to });
    }
    let Some(path) = &options.witness else {
        notices.push("there is no witness: whether the book went on after this backup can't be told".into());
        return Ok(None);
    };
    let Some(witnessed) = segments::read_witness(path)? else {
        notices.push(format!(
            "there was no witness at {}: whether the book went on after this backup can't be told",
            path.display()
        ));
        return Ok(None);
    };
    if witnessed.book != manifest.book {
        return Err(BackupFault::OtherWitness { expected: manifest.book, found: witnessed.book });
    }
    // A later epoch: somebody wrote to the book after the backup, if only that he opened it.
    let ahead = witnessed.sequence > head || witnessed.epoch > book.epoch;
    if ahead && options.accept.is_none() {
        return Err(BackupFault::WitnessAhead { witnessed: witnessed.sequence, head });
    }
    Ok(Some(witnessed))
}

/// The block that the witness saw must be the one in the backup, unless what came after the backup was accepted as lost: then
/// the witness may have seen another one.
fn check_witnessed_block(
    beside: &Path,
    witnessed: Option<Witnessed>,
    options: &RestoreOptions,
) -> Result<(), BackupFault> {
    let Some(witnessed) = witnessed.filter(|witnessed| witnessed.sequence > Sequence::ZERO) else { return Ok(()) };
    let mut reader = crate::embedded::reader(beside)?;
    if options.accept.is_some() && witnessed.sequence > reader.durable_sequence().map_err(EmbeddedFault::from)? {
        return Ok(());
    }
    let block =
        ledger_core::ports::JournalReader::block_at(&mut reader, witnessed.sequence).map_err(EmbeddedFault::from)?;
    if block.is_some_and(|block| block.hash() == witnessed.hash) {
        return Ok(());
    }
    let text = format!("the block that the witness saw end at {} is not the one in the backup", witnessed.sequence);
    Err(BackupFault::Damaged(text))
}

fn above(data: &Path) -> &Path {
    data.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The folder in which the restored one is built: on the same disk, so that it can be renamed.
fn beside(data: &Path) -> Result<PathBuf, BackupFault> {
    let Some(name) = data.file_name() else { return Err(BackupFault::Taken(data.to_owned())) };
    let mut name = name.to_owned();
    name.push(".restoring");
    Ok(above(data).join(name))
}

/// Removes what an interrupted restore has left.
fn empty(beside: &Path) -> Result<(), BackupFault> {
    for name in super::JOURNALS {
        let folder = beside.join(name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_fault(&folder)(error)),
            Ok(()) | Err(_) => {}
        }
    }
    if is_empty(beside)? { Ok(()) } else { Err(BackupFault::Taken(beside.to_owned())) }
}

fn copy_journal(
    from: &Path,
    beside: &Path,
    journal: &JournalRecord,
    extent: &Extent,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<(), BackupFault> {
    let target_folder = beside.join(&journal.name);
    make_private(&target_folder)?;
    let source: Arc<dyn Storage> = Arc::new(DiskStorage::new(from.join(&journal.name)));
    let target: Arc<dyn Storage> = Arc::new(DiskStorage::new(&target_folder));
    let mut before = None;
    for expected in &journal.segments {
        let mut copy = SegmentCopy::begin(&target).map_err(io_fault(&target_folder))?;
        check_segment(&source, journal, extent, expected, before, &mut |bytes| {
            copy.push(bytes).map_err(io_fault(&target_folder))?;
            on_bytes(bytes.len() as u64);
            Ok(())
        })?;
        copy.finish(expected.number, extent.segment_bytes(), Rest::Written).map_err(io_fault(&target_folder))?;
        before = Some(expected);
    }
    write_anchor_of(&target, extent)?;
    // What was written is read again, as the writer will read it.
    let report = segments::walk_closed(&target, &mut |_, _, _| std::ops::ControlFlow::Continue(()))?;
    if let Some(finding) = report.findings.first() {
        return Err(BackupFault::Damaged(format!("after it was copied: {finding}")));
    }
    if (report.sequence, report.hash, report.blocks) == (journal.sequence, journal.hash, journal.blocks) {
        Ok(())
    } else {
        Err(BackupFault::Damaged(format!("{} reads otherwise after it was copied", journal.name)))
    }
}

/// Appends the event that says so, under the epoch of a new writer.
fn put_on_record(
    beside: &Path,
    book: BookId,
    accept: &AcceptRollback,
    witnessed: Option<Witnessed>,
    now: Timestamp,
) -> Result<(Sequence, BlockHash), BackupFault> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(beside.join("journal")));
    let mut journal = segments::open(&storage, &SegmentOptions::new(book), accept.to)?;
    let head = journal.head();
    let restored = JournalRestored {
        restored_to: accept.to,
        witnessed: witnessed.map(|witnessed| witnessed.sequence),
        actor: bounded(&accept.actor),
        reason: bounded(&accept.reason),
    };
    // A clock that start would refuse is not put on record here: time stands still until somebody has accepted it.
    let ahead_us = now.0.saturating_sub(head.recorded_at.0);
    let credible = (0..=CLOCK_JUMP_MAX_DAYS.saturating_mul(86_400_000_000)).contains(&ahead_us);
    let recorded_at = if credible { now } else { head.recorded_at };
    let mut builder = BlockBuilder::new();
    builder.push(&Event::engine(EventBody::JournalRestored(restored)));
    let block = builder.seal(BlockPlace {
        book,
        first_sequence: head.sequence.next(),
        recorded_at,
        epoch: journal.epoch(),
        previous: head.hash,
    });
    journal.secure_space(block.bytes().len())?;
    journal.append(std::slice::from_ref(&block))?;
    Ok((block.header().last_sequence(), block.hash()))
}

/// Cuts a text to what an event may hold.
fn bounded(text: &str) -> Box<str> {
    let end = text.floor_char_boundary(event_schemas::bounds::TEXT_MAX_BYTES);
    text.get(..end).unwrap_or(text).into()
}

/// Lets the witness know the restored book. Until this is done it refuses it, rightly.
fn renew_witness(data: &Path, path: &Path, book: BookId) -> Result<(), BackupFault> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(data.join("journal")));
    segments::write_witness(&storage, path, book)
        .map_err(|fault| BackupFault::WitnessNotRenewed(path.to_owned(), fault.to_string()))
}
