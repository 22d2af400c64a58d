//! How a journal is opened, and why it may refuse.

use std::io;
use std::path::Path;
use std::sync::Arc;

use event_schemas::{BookId, Epoch, Sequence};
use ledger_core::ports::JournalFault;

use super::format::{PAGE, SEGMENT_MAX, SEGMENT_MIN};
use super::storage::{DiskStorage, Storage, is_no_space};

/// Where the witness is kept: a folder on another disk, and a name in it.
#[derive(Clone)]
pub struct WitnessPlace {
    /// The folder.
    pub storage: Arc<dyn Storage>,
    /// The file's name.
    pub name: String,
}

impl WitnessPlace {
    /// This file on the real disk.
    pub fn in_file(path: &Path) -> Self {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { storage: Arc::new(DiskStorage::new(folder)), name }
    }
}

impl std::fmt::Debug for WitnessPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WitnessPlace({})", self.name)
    }
}

/// How a journal is created and opened.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// The book whose journal it is.
    pub book: BookId,
    /// The length of a segment, in bytes: whole pages of 4 KiB, 16 KiB to 4 GiB. It counts when the journal is created and
    /// stays with it. A block must fit a segment beside two pages; blocks are at most 900 KiB, so 1 MiB is the least for
    /// anything but tests of small blocks. 64 MiB unless told.
    pub segment_bytes: u64,
    /// Where the witness is; without one, a folder restored as a whole from an older copy goes unseen.
    pub witness: Option<WitnessPlace>,
    /// Whether spare segments and the witness are written by threads of their own. Without them they are written by the
    /// caller of open and append, in a fixed order: for simulated disks.
    pub background: bool,
}

impl SegmentOptions {
    /// The options of a product: segments of 64 MiB, threads, no witness.
    pub const fn new(book: BookId) -> Self {
        Self { book, segment_bytes: 64 * 1024 * 1024, witness: None, background: true }
    }

    /// With the witness in this file.
    #[must_use]
    pub fn with_witness(mut self, path: &Path) -> Self {
        self.witness = Some(WitnessPlace::in_file(path));
        self
    }

    pub(super) fn check(&self) -> Result<(), OpenFault> {
        let fits = (SEGMENT_MIN..=SEGMENT_MAX).contains(&self.segment_bytes) && self.segment_bytes.is_multiple_of(PAGE);
        if fits {
            Ok(())
        } else {
            Err(OpenFault::Options("a segment is 16 KiB to 4 GiB long, in whole pages of 4 KiB"))
        }
    }
}

/// A place of a journal that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment}, offset {offset}, sequence {sequence}: {reason}")]
pub struct Damage {
    /// The segment's number.
    pub segment: u32,
    /// The byte offset in it.
    pub offset: u64,
    /// The sequence that should stand there.
    pub sequence: Sequence,
    /// What is wrong.
    pub reason: String,
}

/// Why a journal was not created or opened. Nothing was changed unless the fault is [`OpenFault::Io`] or
/// [`OpenFault::NoSpace`]; even then opening again is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenFault {
    /// There is something already where a journal was to be created.
    #[error("there is something here already: {0}")]
    Exists(String),
    /// A file is missing. Opening never makes one.
    #[error("the journal is incomplete: {0} is missing")]
    Missing(String),
    /// A file has another length than it was made with.
    #[error("{file} is {found} bytes long and should be {expected}")]
    WrongLength {
        /// The file.
        file: String,
        /// Its length as it was made.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// The anchor is damaged.
    #[error("the anchor is damaged: {0}")]
    Anchor(String),
    /// It is the journal of another book.
    #[error("this is the journal of book {found}, not of book {expected}")]
    OtherBook {
        /// The book asked for.
        expected: BookId,
        /// The book found.
        found: BookId,
    },
    /// Something at or below the anchor is not intact, or something beyond it is what no crash leaves.
    #[error("the journal is damaged: {0}")]
    Damaged(Damage),
    /// The journal is behind its witness, or tells another story: it was restored from an older copy or replaced.
    #[error(
        "the journal has been rolled back: the witness saw sequence {witnessed} (epoch {witnessed_epoch}), the journal \
         has {found} (epoch {found_epoch}): {reason}"
    )]
    RolledBack {
        /// The sequence of the witness.
        witnessed: Sequence,
        /// The epoch of the witness.
        witnessed_epoch: Epoch,
        /// The journal's sequence.
        found: Sequence,
        /// The journal's epoch.
        found_epoch: Epoch,
        /// What differs.
        reason: &'static str,
    },
    /// The witness can't be read. Remove the file to go on without what it knows.
    #[error("the witness can't be read: {0}")]
    Witness(String),
    /// There is no room for what opening must write. Nothing is lost.
    #[error("no space: {0}")]
    NoSpace(String),
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Io(String),
    /// The options make no sense.
    #[error("{0}")]
    Options(&'static str),
}

impl From<io::Error> for OpenFault {
    fn from(error: io::Error) -> Self {
        if is_no_space(&error) { Self::NoSpace(error.to_string()) } else { Self::Io(error.to_string()) }
    }
}

impl From<Damage> for OpenFault {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<OpenFault> for JournalFault {
    fn from(fault: OpenFault) -> Self {
        match &fault {
            OpenFault::Io(reason) | OpenFault::NoSpace(reason) => Self::Io(reason.clone()),
            OpenFault::Exists(_)
            | OpenFault::Missing(_)
            | OpenFault::WrongLength { .. }
            | OpenFault::Anchor(_)
            | OpenFault::OtherBook { .. }
            | OpenFault::Damaged(_)
            | OpenFault::RolledBack { .. }
            | OpenFault::Witness(_)
            | OpenFault::Options(_) => Self::Damaged(fault.to_string()),
        }
    }
}
