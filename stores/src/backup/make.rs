//! Making a backup, and checking one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use event_schemas::{BlockHash, Sequence, Timestamp};

use super::manifest::{JournalRecord, Manifest};
use super::{BackupFault, Copied, JOURNALS, OnCopied, io_fault, is_backup};
use crate::embedded::{FolderLock, make_private};
use crate::segments::copy::{Extent, Rest, SegmentCopy, beginning, read_segment, remove_leftovers, write_anchor_of};
use crate::segments::{self, DiskStorage, SegmentRecord, Storage};

/// What making a backup, or checking one, came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What the backup holds now.
    pub manifest: Manifest,
    /// The last event of the backup that was there before; `None` if this is the first.
    pub before: Option<Sequence>,
    /// Segments copied or checked.
    pub segments: u32,
    /// Their bytes.
    pub bytes: u64,
    /// What is worth knowing, in sentences.
    pub notices: Vec<String>,
}

impl Made {
    /// The last event of the book in the backup, and the hash of the block that ends there.
    pub fn head(&self) -> (Sequence, BlockHash) {
        self.manifest.book_journal().map_or_else(Default::default, |journal| (journal.sequence, journal.hash))
    }
}

fn storage_of(folder: &Path, name: &str) -> Arc<dyn Storage> {
    Arc::new(DiskStorage::new(folder.join(name)))
}

/// Counts bytes and tells of them.
struct Meter<'a, 'b> {
    copied: Copied,
    told: u64,
    on_copied: &'a mut OnCopied<'b>,
}

impl Meter<'_, '_> {
    fn add(&mut self, bytes: usize) {
        self.copied.done += bytes as u64;
        self.copied.total = self.copied.total.max(self.copied.done);
        if self.copied.done >= self.told {
            self.told = self.copied.done + 4 * 1024 * 1024;
            (self.on_copied)(self.copied);
        }
    }
}

/// Backs a data folder up into another folder, whether or not a writer is at work: what is durable now, up to one head. No
/// lock of the data folder is taken and nothing in it is changed.
pub fn back_up(data: &Path, to: &Path, made_at: Timestamp, on_copied: &mut OnCopied<'_>) -> Result<Made, BackupFault> {
    let book = storage_of(data, "journal");
    if !segments::exists(&book)? {
        return Err(segments::OpenFault::Missing(data.join("journal").display().to_string()).into());
    }
    if absolute(to)?.starts_with(absolute(data)?) {
        return Err(BackupFault::Within(to.to_owned()));
    }
    let mut extents = Vec::new();
    for name in JOURNALS {
        // Those beside the book's are there once something was recorded in them.
        let storage = storage_of(data, name);
        if segments::exists(&storage)? {
            extents.extend(Some((name, Extent::of(&storage)?)).filter(|(_, extent)| extent.segments() > 0));
        }
    }
    let Some(number) = extents.first().filter(|(name, _)| *name == JOURNALS[0]).map(|(_, extent)| extent.book()) else {
        return Err(BackupFault::Empty);
    };

    let (older, _lock) = begin(to, number, made_at)?;
    let mut manifest = Manifest::begun(number, made_at);
    let mut made = Made { manifest: manifest.clone(), before: None, segments: 0, bytes: 0, notices: Vec::new() };
    made.before = older.book_journal().map(|journal| journal.sequence);
    let mut meter = Meter { copied: Copied { done: 0, total: 0 }, told: 0, on_copied };
    for (name, extent) in &extents {
        let from = older.journal(name).map_or(1, |journal| journal.segments.len() as u64);
        meter.copied.total += extent.bytes_from(u32::try_from(from).unwrap_or(u32::MAX));
    }
    for (name, extent) in &extents {
        let target = to.join(name);
        make_private(&target)?;
        let copy = CopyOf { source: &storage_of(data, name), target: &storage_of(to, name), folder: to };
        let record = copy.run(name, extent, older.journal(name), &mut made, &mut meter)?;
        manifest.journals.push(record);
    }
    if let Some(lost) = older.journals.iter().find(|older| manifest.journal(&older.name).is_none()) {
        let reason = format!("it has a journal {} that is not there any more", lost.name);
        return Err(BackupFault::OtherHistory { folder: to.to_owned(), reason });
    }
    manifest.write(to)?;
    made.manifest = manifest;
    Ok(made)
}

/// A path that two names of one folder share, also if the folder is not there yet.
fn absolute(path: &Path) -> Result<std::path::PathBuf, BackupFault> {
    let mut missing = Vec::new();
    let mut there = std::path::absolute(path).map_err(io_fault(path))?;
    while !there.exists() {
        let Some(name) = there.file_name().map(ToOwned::to_owned) else { break };
        missing.push(name);
        there.pop();
    }
    let mut found = there.canonicalize().map_err(io_fault(path))?;
    found.extend(missing.iter().rev());
    Ok(found)
}

/// Takes the folder of a backup: a new one, an empty one, or one that holds an older backup of the book.
fn begin(to: &Path, book: event_schemas::BookId, made_at: Timestamp) -> Result<(Manifest, FolderLock), BackupFault> {
    if to.exists() && !is_backup(to) && !is_empty(to)? {
        return Err(BackupFault::NotABackup(to.to_owned()));
    }
    make_private(to)?;
    let lock = FolderLock::take(to)?;
    let manifest = match Manifest::read(to)? {
        Some(manifest) if manifest.book == book => manifest,
        Some(manifest) => {
            let reason = format!("it is of book {}", manifest.book);
            return Err(BackupFault::OtherHistory { folder: to.to_owned(), reason });
        }
        None => {
            // From here on the folder is known as one of ours, whatever interrupts.
            let manifest = Manifest::begun(book, made_at);
            manifest.write(to)?;
            manifest
        }
    };
    Ok((manifest, lock))
}

/// Whether a folder holds nothing but, at most, the lock of somebody who began and ended before anything else.
pub(super) fn is_empty(folder: &Path) -> Result<bool, BackupFault> {
    for entry in fs::read_dir(folder).map_err(io_fault(folder))? {
        if entry.map_err(io_fault(folder))?.file_name() != "LOCK" {
            return Ok(false);
        }
    }
    Ok(true)
}

struct CopyOf<'a> {
    source: &'a Arc<dyn Storage>,
    target: &'a Arc<dyn Storage>,
    folder: &'a Path,
}

impl CopyOf<'_> {
    fn run(
        &self,
        name: &str,
        extent: &Extent,
        older: Option<&JournalRecord>,
        made: &mut Made,
        meter: &mut Meter<'_, '_>,
    ) -> Result<JournalRecord, BackupFault> {
        let other = |reason: String| BackupFault::OtherHistory { folder: self.folder.to_owned(), reason };
        if let Some(older) = older {
            let (sequence, _) = extent.head();
            if older.sequence > sequence {
                return Err(other(format!("{name} ends at {} there and at {sequence} here", older.sequence)));
            }
            if older.segment_bytes != extent.segment_bytes() {
                return Err(other(format!("the segments of {name} have another length")));
            }
        }
        remove_leftovers(self.target).map_err(io_fault(self.folder))?;
        // All but the last of its segments are sealed: they are here as they will be for ever.
        let mut records: Vec<SegmentRecord> = older.map(|older| older.segments.clone()).unwrap_or_default();
        let resumed = records.pop();
        let first = u32::try_from(records.len()).unwrap_or(u32::MAX).saturating_add(1);
        if let Some(sealed) = records.last()
            && beginning(self.source, extent, first)? != (sealed.last_sequence.next(), sealed.last_hash)
        {
            return Err(other(format!("segment {first} of {name} does not follow what was backed up before it")));
        }
        for number in first..=extent.segments() {
            let begun = resumed.as_ref().filter(|resumed| resumed.number == number);
            let record = self.segment(extent, number, records.last(), begun, meter)?;
            made.segments += 1;
            made.bytes += record.bytes;
            records.push(record);
        }
        write_anchor_of(self.target, extent)?;
        Ok(JournalRecord::of(name, extent, records))
    }

    /// Copies one segment. `begun` is what the older backup has of it: it must begin with the same bytes.
    fn segment(
        &self,
        extent: &Extent,
        number: u32,
        before: Option<&SegmentRecord>,
        begun: Option<&SegmentRecord>,
        meter: &mut Meter<'_, '_>,
    ) -> Result<SegmentRecord, BackupFault> {
        let fault = |error| io_fault(self.folder)(error);
        let mut copy = SegmentCopy::begin(self.target).map_err(fault)?;
        let mut hasher = blake3::Hasher::new();
        let mut same = begun.is_none();
        let copied = read_segment::<BackupFault>(self.source, extent, number, before, &mut |offset, bytes| {
            if let Some(begun) = begun {
                hasher.update(bytes);
                same = same || (offset + bytes.len() as u64 == begun.bytes && hasher.finalize() == begun.blake3.0);
            }
            copy.push(bytes).map_err(|error| io_fault(self.folder)(error))?;
            meter.add(bytes.len());
            Ok(())
        });
        let record = match copied {
            Ok(record) if same => record,
            Ok(_) => {
                let reason = format!("segment {number} does not begin with what was backed up of it");
                let _ = remove_leftovers(self.target);
                return Err(BackupFault::OtherHistory { folder: self.folder.to_owned(), reason });
            }
            Err(fault) => {
                let _ = remove_leftovers(self.target);
                return Err(fault);
            }
        };
        if let Err(error) = copy.finish(number, extent.segment_bytes(), Rest::Hole) {
            let _ = remove_leftovers(self.target);
            return Err(fault(error));
        }
        Ok(record)
    }
}

/// Checks a backup: its manifest, every byte that the manifest speaks of, every link of the chain.
pub fn verify(folder: &Path, on_copied: &mut OnCopied<'_>) -> Result<Made, BackupFault> {
    let manifest = finished(folder)?;
    let mut made = Made { manifest: manifest.clone(), before: None, segments: 0, bytes: 0, notices: Vec::new() };
    let total = manifest.journals.iter().flat_map(|journal| &journal.segments).map(|segment| segment.bytes).sum();
    let mut meter = Meter { copied: Copied { done: 0, total }, told: 0, on_copied };
    for journal in &manifest.journals {
        let storage = storage_of(folder, &journal.name);
        let extent = journal.extent(manifest.book)?;
        check_journal(&storage, journal, &extent, &mut |bytes| {
            meter.add(bytes.len());
            Ok(())
        })?;
        made.segments += u32::try_from(journal.segments.len()).unwrap_or(u32::MAX);
        made.bytes += journal.segments.iter().map(|segment| segment.bytes).sum::<u64>();
        let anchor = Extent::of_copy(&storage)?;
        if anchor.head().0 < journal.sequence || anchor.book() != manifest.book {
            let (found, expected) = (anchor.head().0, journal.sequence);
            return Err(BackupFault::Damaged(format!("the anchor of {} names {found}, not {expected}", journal.name)));
        }
        if anchor.head().0 > journal.sequence || !anchor.rest_is_zero(&storage)? {
            // A later backup was interrupted, or somebody wrote here who must not. In the first case what there is more follows
            // what the manifest speaks of.
            let report = segments::walk_closed(&storage, &mut |_, _, _| std::ops::ControlFlow::Continue(()))?;
            if let Some(finding) = report.findings.first() {
                return Err(BackupFault::Damaged(finding.to_string()));
            }
            made.notices.push(format!(
                "a later backup of {} was interrupted: this one ends at {}; make another to go on",
                journal.name, journal.sequence
            ));
        }
    }
    Ok(made)
}

/// The manifest of a finished backup.
pub(super) fn finished(folder: &Path) -> Result<Manifest, BackupFault> {
    match Manifest::read(folder)? {
        None => Err(BackupFault::NoBackup(folder.to_owned())),
        Some(manifest) if manifest.journals.is_empty() => Err(BackupFault::Unfinished(folder.to_owned())),
        Some(manifest) => Ok(manifest),
    }
}

/// Reads every segment of a journal in a backup and compares it with what the manifest says.
pub(super) fn check_journal(
    storage: &Arc<dyn Storage>,
    journal: &JournalRecord,
    extent: &Extent,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), BackupFault>,
) -> Result<(), BackupFault> {
    let mut before = None;
    for expected in &journal.segments {
        check_segment(storage, journal, extent, expected, before, visit)?;
        before = Some(expected);
    }
    Ok(())
}

/// The same of one segment.
pub(super) fn check_segment(
    storage: &Arc<dyn Storage>,
    journal: &JournalRecord,
    extent: &Extent,
    expected: &SegmentRecord,
    before: Option<&SegmentRecord>,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), BackupFault>,
) -> Result<(), BackupFault> {
    let found = read_segment::<BackupFault>(storage, extent, expected.number, before, &mut |_, bytes| visit(bytes))?;
    if found == *expected {
        return Ok(());
    }
    let text = format!("segment {} of {} is not the one in the manifest", expected.number, journal.name);
    Err(BackupFault::Damaged(text))
}
