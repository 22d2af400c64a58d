//! Everything of one book in one folder, for whoever opens it: the writer (`ledgerd`), or a reader beside it.
//!
//! ```text
//! data/LOCK       held by the one process that writes
//! data/journal/   the facts
//! data/ids/       runs of the id index     } both can be deleted while nobody writes:
//! data/rocks/     checkpoints, read models } they come back from the journal
//! ```
//!
//! Opening takes the lock, opens RocksDB for the newest checkpoint (the journal is scanned from there), then the journal,
//! then the index. What can be rebuilt never keeps a book from opening: a damaged database is moved aside, one that was made
//! from another journal is deleted, a read model ahead of the journal is emptied; [`Embedded::notices`] says so. Damage of
//! the journal refuses the opening.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::BuildHasher;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use event_schemas::{BlockHash, BookId, Sequence};
use ledger_core::ports::{CheckpointFault, Checkpoints, IdIndexFault, Journal, JournalFault};
use projections::ports::RowsFault;

use crate::backup;
use crate::ids::{BlockHashAt, RunIndex, RunIndexOptions};
use crate::rocks::{RocksFault, RocksStore, damage_marker};
use crate::segments::{self, DiskStorage, OpenFault, SegmentJournal, SegmentOptions, SegmentReader, Storage};

/// How a data folder is created and opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The book.
    pub book: BookId,
    /// The length of a segment in bytes, of a journal that is created.
    pub segment_bytes: u64,
    /// The file of the witness, on another disk; without one a folder restored from an older copy goes unseen.
    pub witness: Option<PathBuf>,
    /// The names of the projections whose read models are kept.
    pub projections: &'static [&'static str],
    /// How many ids make a run of the id index.
    pub freeze_ids: usize,
}

impl Default for EmbeddedOptions {
    /// The first book, segments of 64 MiB, no witness, the read models of the product.
    fn default() -> Self {
        Self {
            book: BookId::FIRST,
            segment_bytes: SegmentOptions::new(BookId::FIRST).segment_bytes,
            witness: None,
            projections: &projections::NAMES,
            freeze_ids: RunIndexOptions::new(BookId::FIRST, 0).freeze_ids,
        }
    }
}

impl EmbeddedOptions {
    fn segments(&self) -> SegmentOptions {
        let mut options = SegmentOptions::new(self.book);
        options.segment_bytes = self.segment_bytes;
        match &self.witness {
            Some(path) => options.with_witness(path),
            None => options,
        }
    }
}

/// Why a data folder was not created or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedFault {
    /// Another process writes to it.
    #[error("another process{holder} writes to {folder}: stop it first")]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// Its process id in brackets, if it left one.
        holder: String,
    },
    /// A journal was to be created where one has been.
    #[error(
        "{folder} holds what was made from a journal, but no journal: is its disk missing? To start an empty book here, \
         delete {found}"
    )]
    JournalGone {
        /// The data folder.
        folder: PathBuf,
        /// What stands there.
        found: PathBuf,
    },
    /// It is a backup, which nobody may write to.
    #[error("{0} is a backup: restore it into a folder of its own, or serve it with --read-only")]
    Backup(PathBuf),
    /// The journal refuses.
    #[error(transparent)]
    Journal(#[from] OpenFault),
    /// The journal can't be read.
    #[error(transparent)]
    Reading(#[from] JournalFault),
    /// RocksDB refuses.
    #[error(transparent)]
    Rocks(#[from] RocksFault),
    /// Its rows can't be read or written.
    #[error(transparent)]
    Rows(#[from] RowsFault),
    /// Its checkpoints can't be read or written.
    #[error(transparent)]
    Checkpoints(#[from] CheckpointFault),
    /// The id index refuses.
    #[error(transparent)]
    Ids(#[from] IdIndexFault),
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

fn io_fault(path: &Path) -> impl FnOnce(io::Error) -> EmbeddedFault {
    let path = path.to_owned();
    move |error| EmbeddedFault::Io { path, error }
}

/// The lock of a data folder, held until the last clone is dropped. The id index holds one too, so that the folder stays
/// locked for as long as an engine has it.
#[derive(Debug, Clone)]
pub struct FolderLock {
    _file: Arc<File>,
}

impl FolderLock {
    /// Takes it, or tells who has it.
    pub fn take(folder: &Path) -> Result<Self, EmbeddedFault> {
        let path = folder.join("LOCK");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let mut file = options.open(&path).map_err(io_fault(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { format!(" (process {})", holder.trim()) } else { String::new() };
                return Err(EmbeddedFault::Locked { folder: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(io_fault(&path)(error)),
        }
        // For people only. A full disk may refuse it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: Arc::new(file) })
    }
}

/// A data folder, open for its one writer.
#[derive(Debug)]
pub struct Embedded {
    /// The journal, with the durable head.
    pub journal: SegmentJournal,
    /// The id index; it may be behind the journal.
    pub ids: RunIndex,
    /// Checkpoints and read models; clones share it.
    pub rocks: RocksStore,
    /// What the operator should know of this opening, in sentences.
    pub notices: Vec<String>,
    /// Nobody else opens the folder while this or `ids` lives.
    pub lock: FolderLock,
}

/// The folder of the journal within a data folder.
pub fn journal_folder(folder: &Path) -> PathBuf {
    folder.join("journal")
}

/// The folder of the id index within a data folder.
pub fn ids_folder(folder: &Path) -> PathBuf {
    folder.join("ids")
}

/// The folder of RocksDB within a data folder.
pub fn rocks_folder(folder: &Path) -> PathBuf {
    folder.join("rocks")
}

fn journal_storage(folder: &Path) -> Arc<dyn Storage> {
    Arc::new(DiskStorage::new(journal_folder(folder)))
}

/// Whether there is a journal in a data folder.
pub fn exists(folder: &Path) -> Result<bool, EmbeddedFault> {
    Ok(segments::exists(&journal_storage(folder))?)
}

/// Makes a data folder with an empty journal. It refuses where one is, and where one must have been.
pub fn create(folder: &Path, options: &EmbeddedOptions) -> Result<(), EmbeddedFault> {
    if backup::is_backup(folder) {
        return Err(EmbeddedFault::Backup(folder.to_owned()));
    }
    make_folder(folder)?;
    let _lock = FolderLock::take(folder)?;
    if !exists(folder)? {
        // These are made when a journal is opened, never before.
        for found in [ids_folder(folder), rocks_folder(folder)] {
            if found.exists() {
                return Err(EmbeddedFault::JournalGone { folder: folder.to_owned(), found });
            }
        }
    }
    let journal = journal_folder(folder);
    make_folder(&journal)?;
    Ok(segments::create(&journal_storage(folder), &options.segments())?)
}

/// Makes a folder for its owner alone, durably, if it is not there: it will hold everybody's money and texts.
pub(crate) fn make_private(folder: &Path) -> Result<(), EmbeddedFault> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    make_folder(above)?;
    fs::DirBuilder::new().mode(0o700).create(folder).map_err(io_fault(folder))?;
    sync_folder(above)
}

/// Makes a folder and those above it, durably.
pub(crate) fn make_folder(folder: &Path) -> Result<(), EmbeddedFault> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    make_folder(above)?;
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_fault(folder)(error)),
    }
    sync_folder(above)
}

fn sync_folder(folder: &Path) -> Result<(), EmbeddedFault> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(io_fault(folder))
}

/// Opens a data folder for its writer. It never creates a journal.
pub fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Embedded, EmbeddedFault> {
    if !exists(folder)? {
        return Err(OpenFault::Missing(journal_folder(folder).display().to_string()).into());
    }
    if backup::is_backup(folder) {
        return Err(EmbeddedFault::Backup(folder.to_owned()));
    }
    let mut local = Local::open(folder, options)?;
    let journal = segments::open(&journal_storage(folder), &options.segments(), local.newest_checkpoint()?)?;
    local.notices.extend(journal.notices().iter().cloned());
    let Beside { ids, rocks, notices, lock } = local.fit(&journal)?;
    Ok(Embedded { journal, ids, rocks, notices, lock })
}

/// What stands beside a journal in a data folder: the id index, checkpoints and read models. All of it comes back from the
/// journal, wherever that is kept.
#[derive(Debug)]
pub struct Beside {
    /// The id index; it may be behind the journal.
    pub ids: RunIndex,
    /// Checkpoints and read models; clones share it.
    pub rocks: RocksStore,
    /// What the operator should know of this opening, in sentences.
    pub notices: Vec<String>,
    /// Nobody else opens the folder while this or `ids` lives.
    pub lock: FolderLock,
}

/// A data folder that is locked, before it is known whether what it holds fits the journal.
#[derive(Debug)]
pub struct Local {
    folder: PathBuf,
    options: EmbeddedOptions,
    lock: FolderLock,
    rocks: RocksStore,
    notices: Vec<String>,
}

impl Local {
    /// Takes the lock and opens RocksDB. The folder must be there.
    pub fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, EmbeddedFault> {
        let lock = FolderLock::take(folder)?;
        let mut notices = Vec::new();
        let rocks = open_rocks(folder, options, &mut notices)?;
        Ok(Self { folder: folder.to_owned(), options: options.clone(), lock, rocks, notices })
    }

    /// The sequence of the newest checkpoint. The engine trusts one only if its digest is on the chain; here it only tells
    /// how much of the journal to scan.
    pub fn newest_checkpoint(&self) -> Result<Sequence, EmbeddedFault> {
        Ok(self.rocks.sequences()?.first().copied().unwrap_or_default())
    }

    /// What a process without a journal of its own keeps in the folder: RocksDB for what is its own, locked, and what the operator
    /// should know of this opening.
    pub fn into_rocks(self) -> (RocksStore, FolderLock, Vec<String>) {
        (self.rocks, self.lock, self.notices)
    }

    /// Sees to it that nothing is of another journal than this one or ahead of it, and opens the id index.
    pub fn fit(mut self, journal: &dyn Journal) -> Result<Beside, EmbeddedFault> {
        let (folder, options) = (&self.folder, &self.options);
        let rocks = fit_rocks(folder, options, self.rocks, journal, &mut self.notices)?;
        let mut index = RunIndexOptions::new(options.book, RandomState::new().hash_one(folder));
        index.freeze_ids = options.freeze_ids;
        index.hash_at = Some(hash_at(journal)?);
        let mut ids = RunIndex::open(&ids_folder(folder), index)?;
        ids.hold(self.lock.clone());
        self.notices.extend(ids.notices().iter().cloned());
        Ok(Beside { ids, rocks, notices: self.notices, lock: self.lock })
    }
}

/// Opens the journal of a data folder for reading only, beside its writer or without one. It takes no lock.
pub fn reader(folder: &Path) -> Result<SegmentReader, EmbeddedFault> {
    Ok(SegmentReader::open(&journal_storage(folder))?)
}

/// Tells the id index which block of the journal holds a sequence.
fn hash_at(journal: &dyn Journal) -> Result<BlockHashAt, EmbeddedFault> {
    let reader = Mutex::new(journal.reader()?);
    Ok(Arc::new(move |sequence| {
        let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        match reader.block_at(sequence) {
            Ok(block) => block.map(|block| block.hash()),
            Err(fault) => {
                tracing::error!(%sequence, %fault, "the block that ends a run of the id index can't be read");
                None
            }
        }
    }))
}

/// Opens RocksDB, moving one aside that can't be read.
fn open_rocks(
    folder: &Path,
    options: &EmbeddedOptions,
    notices: &mut Vec<String>,
) -> Result<RocksStore, EmbeddedFault> {
    let path = rocks_folder(folder);
    let marker = damage_marker(&path);
    let marked = fs::read_to_string(&marker).ok();
    let mut damage = marked.clone().filter(|_| path.exists());
    if damage.is_none() {
        match RocksStore::open(&path, options.projections) {
            Ok(store) => {
                forget_marker(&marker, marked.is_some())?;
                return Ok(store);
            }
            Err(RocksFault::Damaged { reason, .. }) => damage = Some(reason),
            // A file that should be there: damage by another name.
            Err(RocksFault::Io { reason, .. }) if reason.contains("No such file") => damage = Some(reason),
            Err(fault) => return Err(fault.into()),
        }
    }
    let aside = move_aside(folder, &path)?;
    forget_marker(&marker, marked.is_some())?;
    notices.push(format!(
        "read models and checkpoints were damaged and are rebuilt from the journal; what was there is in {}, which can be \
         deleted ({})",
        aside.display(),
        damage.unwrap_or_default().trim()
    ));
    Ok(RocksStore::open(&path, options.projections)?)
}

fn forget_marker(marker: &Path, there: bool) -> Result<(), EmbeddedFault> {
    if there { fs::remove_file(marker).map_err(io_fault(marker)) } else { Ok(()) }
}

fn move_aside(folder: &Path, path: &Path) -> Result<PathBuf, EmbeddedFault> {
    let mut number = 1;
    let aside = loop {
        let aside = path.with_extension(format!("damaged-{number}"));
        if !aside.exists() {
            break aside;
        }
        number += 1;
    };
    fs::rename(path, &aside).map_err(io_fault(path))?;
    sync_folder(folder)?;
    Ok(aside)
}

/// Sees to it that RocksDB holds nothing of another journal and nothing ahead of this one.
fn fit_rocks(
    folder: &Path,
    options: &EmbeddedOptions,
    rocks: RocksStore,
    journal: &dyn Journal,
    notices: &mut Vec<String>,
) -> Result<RocksStore, EmbeddedFault> {
    let head = journal.head().sequence;
    let first = journal.reader()?.block_at(Sequence(1))?.map(|block| block.hash());
    let origin = rocks.origin()?;
    // What does not say where it comes from may be another journal's.
    let strange = if origin.is_some() { origin != first } else { holds_anything(&rocks, options)? };
    if strange {
        drop(rocks);
        let path = rocks_folder(folder);
        fs::remove_dir_all(&path).map_err(io_fault(&path))?;
        notices.push("read models and checkpoints were those of another journal and are rebuilt from this one".into());
        let rocks = RocksStore::open(&path, options.projections)?;
        return note_origin(rocks, first, journal);
    }
    for sequence in rocks.sequences()?.into_iter().filter(|&sequence| sequence > head) {
        rocks.discard(sequence)?;
        notices.push(format!(
            "the checkpoint of sequence {sequence} is ahead of the journal, which ends at {head}: dropped"
        ));
    }
    // The access log counts for itself.
    let of_the_book = options.projections.iter().filter(|projection| !projections::ACCESS_NAMES.contains(projection));
    for projection in of_the_book {
        let applied = rocks.applied(projection)?;
        if applied > head {
            rocks.wipe(projection)?;
            notices.push(format!(
                "the read model {projection} was at sequence {applied}, ahead of the journal, which ends at {head}: it is rebuilt"
            ));
        }
    }
    if origin.is_none() { note_origin(rocks, first, journal) } else { Ok(rocks) }
}

fn holds_anything(rocks: &RocksStore, options: &EmbeddedOptions) -> Result<bool, EmbeddedFault> {
    if !rocks.sequences()?.is_empty() {
        return Ok(true);
    }
    for projection in options.projections {
        if rocks.applied(projection)? > Sequence::ZERO {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes the journal's first block; while the journal is empty there is none, and it is noted before anything is stored.
fn note_origin(
    rocks: RocksStore,
    first: Option<BlockHash>,
    journal: &dyn Journal,
) -> Result<RocksStore, EmbeddedFault> {
    if let Some(first) = first {
        rocks.set_origin(first)?;
    } else {
        let hash_at = hash_at(journal)?;
        rocks.note_origin_first(Box::new(move || hash_at(Sequence(1))));
    }
    Ok(rocks)
}
