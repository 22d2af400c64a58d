//! Backups of a data folder: made while its writer works, checked, and put back.
//!
//! ```text
//! backup/manifest.json   what is in it, with a BLAKE3 over itself; written last
//! backup/journal/        the book's segments up to the manifest's head, and an anchor
//! backup/access/         the access log's, if there is one
//! backup/control/        the control journal's, if there is one
//! ```
//!
//! A backup has the form of a data folder without what can be rebuilt, so that `replay-tool` reads it as it is. It can't be
//! written to as a book: opening it for a writer is refused. API keys are in it as their hashes; the keys of persons are not:
//! they have a backup of their own, which is kept for a shorter time, or erasing a person would erase nothing.
//!
//! *Incremental*. Sealed segments never change, so a backup into a folder that holds an older one copies the segment in which
//! that one ended, and those behind it. Whatever interrupts it leaves the older backup whole: each file is replaced as a whole
//! by one that begins with the same bytes, and the manifest, which says how many of them count, comes last.
//!
//! *Verified while copied*. Every frame and every link of the chain is checked as it is read; damage ends the backup and is
//! told with segment, offset and sequence. [`verify`] reads a backup again, and [`restore`] checks all of it before anything
//! is put in place.

mod make;
mod manifest;
mod restore;

use std::io;
use std::path::{Path, PathBuf};

use event_schemas::{BookId, Sequence};
use ledger_core::ports::AppendError;

use crate::embedded::EmbeddedFault;
use crate::segments::OpenFault;

pub use make::{Made, back_up, verify};
pub use manifest::{JournalRecord, MANIFEST, Manifest};
pub use restore::{AcceptRollback, RestoreOptions, Restored, restore};

/// How far a backup, a check or a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Bytes read and checked.
    pub done: u64,
    /// About how many there are.
    pub total: u64,
}

/// Is told how far it is, several times a second.
pub type OnCopied<'a> = dyn FnMut(Copied) + 'a;

/// Why a backup was not made, is not sound, or was not put back. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupFault {
    /// The folder to back up to holds something else.
    #[error("{0} is not empty and holds no backup: name another folder")]
    NotABackup(PathBuf),
    /// There is no backup in the folder.
    #[error("there is no backup in {0}")]
    NoBackup(PathBuf),
    /// The folder lies within the one that is backed up.
    #[error("{0} lies within the data folder: a backup belongs on another disk")]
    Within(PathBuf),
    /// The first backup into this folder was never finished.
    #[error("the backup in {0} was never finished: make it again")]
    Unfinished(PathBuf),
    /// The manifest is not what was written.
    #[error("the manifest of the backup is damaged: {0}")]
    Manifest(String),
    /// A newer release made it.
    #[error("the backup has format {0}, which this release does not know: use a newer release")]
    Format(u32),
    /// The backup in the folder is that of another book, or of another history of this one.
    #[error("the backup in {folder} is not an older one of this book: {reason}; name another folder")]
    OtherHistory {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        reason: String,
    },
    /// A journal has no event, so there is nothing to back up.
    #[error("the journal is empty: there is nothing to back up yet")]
    Empty,
    /// What stands in the backup is not what the manifest says.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// The folder to restore to is taken.
    #[error("{0} is not empty: a backup is only put where nothing is")]
    Taken(PathBuf),
    /// The witness has seen more than the backup holds.
    #[error(
        "the witness saw sequence {witnessed}, the backup ends at {head}: what came after it would be lost. If it is lost \
         anyway, say so with --accept-rollback-to {head} --actor WHO --reason WHY, which goes on record"
    )]
    WitnessAhead {
        /// The sequence of the witness.
        witnessed: Sequence,
        /// That of the backup.
        head: Sequence,
    },
    /// The sequence that was accepted is not the backup's.
    #[error(
        "the backup ends at {head}, not at {accepted}: nothing is cut off a backup, so only {head} can be accepted"
    )]
    AcceptedOther {
        /// The sequence of the backup.
        head: Sequence,
        /// The one that was named.
        accepted: Sequence,
    },
    /// The witness is that of another book.
    #[error("the witness is that of book {found}, the backup that of book {expected}")]
    OtherWitness {
        /// The backup's book.
        expected: BookId,
        /// The witness's.
        found: BookId,
    },
    /// A restored book is in place, but its witness could not be renewed.
    #[error(
        "the book is in place, but the witness {0} could not be renewed ({1}): delete that file before the next start"
    )]
    WitnessNotRenewed(PathBuf, String),
    /// A journal refuses.
    #[error(transparent)]
    Journal(#[from] OpenFault),
    /// A data folder refuses.
    #[error(transparent)]
    Folder(#[from] EmbeddedFault),
    /// That the book was restored could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

fn io_fault(path: &Path) -> impl FnOnce(io::Error) -> BackupFault {
    let path = path.to_owned();
    move |error| BackupFault::Io { path, error }
}

/// The journals of a data folder that are backed up, by the names of their folders and in this order: the book's, which is
/// always there, and those beside it.
const JOURNALS: [&str; 3] = ["journal", "access", "control"];

/// Whether a folder holds a backup, finished or not.
pub fn is_backup(folder: &Path) -> bool {
    folder.join(MANIFEST).exists()
}
