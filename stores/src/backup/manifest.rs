//! The manifest of a backup: JSON that people can read, with a BLAKE3 over what it says.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use event_schemas::{BlockHash, BookId, Digest, Epoch, Sequence, Timestamp};
use serde::{Deserialize, Serialize};

use super::{BackupFault, JOURNALS, io_fault};
use crate::segments::SegmentRecord;
use crate::segments::copy::Extent;

/// The name of the file. It comes last, so a folder without it holds no backup.
pub const MANIFEST: &str = "manifest.json";

/// The one format there is.
const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of this file.
    pub format: u32,
    /// The release that made the backup.
    pub product: String,
    /// When it was made, by the clock of that machine.
    pub made_at: Timestamp,
    /// The book.
    pub book: BookId,
    /// The book's journal first; none before the first backup is finished.
    pub journals: Vec<JournalRecord>,
}

/// One journal of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalRecord {
    /// Its folder in the backup, and in a data folder.
    pub name: String,
    /// The last event.
    pub sequence: Sequence,
    /// The hash of the block that ends there.
    pub hash: BlockHash,
    /// The epoch of the anchor.
    pub epoch: Epoch,
    /// Blocks.
    pub blocks: u64,
    /// The length of a segment's file.
    pub segment_bytes: u64,
    /// Its segments, from the first.
    pub segments: Vec<SegmentRecord>,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    manifest: Manifest,
    /// BLAKE3 of the manifest as JSON without white space.
    blake3: Digest,
}

impl JournalRecord {
    pub(super) fn of(name: &str, extent: &Extent, segments: Vec<SegmentRecord>) -> Self {
        let (sequence, hash) = extent.head();
        Self {
            name: name.to_owned(),
            sequence,
            hash,
            epoch: extent.epoch(),
            blocks: segments.iter().map(|segment| segment.blocks).sum(),
            segment_bytes: extent.segment_bytes(),
            segments,
        }
    }

    /// What of the journal the record is about.
    pub(super) fn extent(&self, book: BookId) -> Result<Extent, BackupFault> {
        self.segments
            .last()
            .and_then(|last| Extent::known(book, self.segment_bytes, self.epoch, (self.sequence, self.hash), last))
            .ok_or_else(|| BackupFault::Manifest(format!("what it says of {} is not possible", self.name)))
    }
}

impl Manifest {
    /// A backup that is begun.
    pub(super) fn begun(book: BookId, made_at: Timestamp) -> Self {
        let product = concat!("doppia ", env!("CARGO_PKG_VERSION")).into();
        Self { format: FORMAT, product, made_at, book, journals: Vec::new() }
    }

    /// One journal of it.
    pub fn journal(&self, name: &str) -> Option<&JournalRecord> {
        self.journals.iter().find(|journal| journal.name == name)
    }

    /// The book's journal, if the backup was finished.
    pub fn book_journal(&self) -> Option<&JournalRecord> {
        self.journals.first()
    }

    /// Reads the manifest of a backup; `None` if the folder holds none.
    pub fn read(folder: &Path) -> Result<Option<Self>, BackupFault> {
        let path = folder.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_fault(&path)(error)),
        };
        // The format first: a newer one may have other fields.
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| BackupFault::Manifest(error.to_string()))?;
        if let Some(format) = value.pointer("/manifest/format").and_then(serde_json::Value::as_u64)
            && format != u64::from(FORMAT)
        {
            return Err(BackupFault::Format(u32::try_from(format).unwrap_or(u32::MAX)));
        }
        let sealed: Sealed = serde_json::from_value(value).map_err(|error| BackupFault::Manifest(error.to_string()))?;
        if sealed.blake3 != seal(&sealed.manifest)? {
            return Err(BackupFault::Manifest("its checksum does not match".into()));
        }
        let names = sealed.manifest.journals.iter().map(|journal| journal.name.as_str());
        // The book's first, and those that are there of the others in their order.
        let in_order = JOURNALS.into_iter().filter(|known| names.clone().any(|name| name == *known));
        let possible = names.clone().eq(in_order)
            && (names.clone().next().is_none_or(|first| first == JOURNALS[0]))
            && sealed.manifest.journals.iter().all(|journal| {
                let numbers = journal.segments.iter().map(|segment| segment.number);
                !journal.segments.is_empty() && numbers.zip(1..).all(|(number, expected)| number == expected)
            });
        if possible {
            Ok(Some(sealed.manifest))
        } else {
            Err(BackupFault::Manifest("its journals or segments are not in order".into()))
        }
    }

    /// Writes the manifest, durably, in place of the one before.
    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupFault> {
        let path = folder.join(MANIFEST);
        let new = folder.join("manifest.json.new");
        let sealed = Sealed { manifest: self.clone(), blake3: seal(self)? };
        let mut text = serde_json::to_vec_pretty(&sealed).map_err(|error| BackupFault::Manifest(error.to_string()))?;
        text.push(b'\n');
        let written = fs::File::create(&new)
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| fs::File::open(folder)?.sync_all());
        written.map_err(io_fault(&path))
    }
}

fn seal(manifest: &Manifest) -> Result<Digest, BackupFault> {
    let text = serde_json::to_vec(manifest).map_err(|error| BackupFault::Manifest(error.to_string()))?;
    Ok(Digest(*blake3::hash(&text).as_bytes()))
}
