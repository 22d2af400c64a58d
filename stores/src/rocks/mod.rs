//! RocksDB, for what can be rebuilt: checkpoints of the state and the embedded read models. Never for a fact.
//!
//! One database, a column family per projection and one for checkpoints, so that each has its own memtables and a rebuild
//! of one read model touches no other. A row's key is its table's name behind a length byte, then the key of the row; the
//! checkpoint of a projection stands in the same column family under the key `[0]` (no table name is empty).
//!
//! *Durability.* The rows of a commit and the checkpoints they bring are one write batch, and so one record of RocksDB's
//! log: after a crash they are there together or missing together. The log is not synced for them. A crash of the machine
//! may take the newest commits away, whole and in order, and the runner applies those blocks again. State checkpoints are
//! synced, since the start of the engine counts on them.
//!
//! *Damage.* A database that can't be read is [`RocksFault::Damaged`]: whoever opens it moves it aside and starts with an
//! empty one. Damage met later leaves a marker beside the folder ([`damage_marker`]), so that the next start does the same.
//!
//! *Another process.* RocksDB admits one writer. [`RocksStore::open_read_only`] takes no lock and writes nothing; it sees
//! the database as it was when opened, while the writer goes on.

mod checkpoints;
mod options;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use event_schemas::Digest;
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, ErrorKind, WriteBatch, WriteOptions};

const CHECKPOINTS: &str = "checkpoints";
const PROJECTION_PREFIX: &str = "projection.";
const ORIGIN_KEY: &[u8] = b"origin";

/// How often a read-only open is tried again when the writer changes the list of files under it.
const READ_ONLY_TRIES: u32 = 500;
const READ_ONLY_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// A database that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RocksFault {
    /// Another process has it open.
    #[error("another process has {path} open: {reason}")]
    Locked {
        /// The folder.
        path: PathBuf,
        /// RocksDB's words.
        reason: String,
    },
    /// What was read is not what was written.
    #[error("{path} is damaged ({reason}); it holds only read models and checkpoints, which can be rebuilt: delete it")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// RocksDB's words.
        reason: String,
    },
    /// The disk, or something like it.
    #[error(
        "{path} failed: {reason}; it holds only read models and checkpoints, which can be rebuilt: delete it if this stays"
    )]
    Io {
        /// The folder.
        path: PathBuf,
        /// RocksDB's words.
        reason: String,
    },
    /// It was opened for reading only.
    #[error("{path} was opened for reading only")]
    ReadOnly {
        /// The folder.
        path: PathBuf,
    },
    /// No such projection.
    #[error("no projection {name:?} was declared when the read models were opened")]
    UnknownProjection {
        /// Its name.
        name: String,
    },
}

/// The file whose presence says that damage was met in the database of this folder.
pub fn damage_marker(folder: &Path) -> PathBuf {
    folder.with_extension("damaged")
}

/// The store of checkpoints and read models. Clones share one database, which closes with the last of them.
#[derive(Clone)]
pub struct RocksStore {
    inner: Arc<Inner>,
}

struct Inner {
    db: DB,
    path: PathBuf,
    read_only: bool,
    /// The projections declared at opening; read-only, some may have no column family yet and read as empty.
    projections: Vec<String>,
    /// Tells the journal's first block, as long as the origin is not noted.
    origin_of: Mutex<Option<OriginOf>>,
    origin_is_owed: AtomicBool,
}

/// The hash of a journal's first block, once there is one.
pub type OriginOf = Box<dyn Fn() -> Option<Digest> + Send + Sync>;

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore")
            .field("path", &self.inner.path)
            .field("read_only", &self.inner.read_only)
            .finish_non_exhaustive()
    }
}

impl RocksStore {
    /// Opens the database of a folder for reading and writing, creating what is missing.
    pub fn open(path: &Path, projections: &[&str]) -> Result<Self, RocksFault> {
        let shared = options::Shared::new();
        let database = options::Shared::database();
        let mut names: Vec<String> = vec![rocksdb::DEFAULT_COLUMN_FAMILY_NAME.into(), CHECKPOINTS.into()];
        names.extend(projections.iter().map(|name| family_name(name)));
        // RocksDB opens all its column families or none: those of projections that no longer exist come along unused.
        if path.join("CURRENT").exists() {
            for name in DB::list_cf(&database, path).map_err(|error| fault(path, &error))? {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let families = names.iter().map(|name| ColumnFamilyDescriptor::new(name, shared.family(name)));
        let db = DB::open_cf_descriptors(&database, path, families).map_err(|error| fault(path, &error))?;
        Ok(Self::new(db, path, false, projections))
    }

    /// Opens the database of a folder for reading only, as it is at this moment, even while another process writes to it.
    /// Nothing is locked or written; a projection that was never stored reads as empty.
    pub fn open_read_only(path: &Path, projections: &[&str]) -> Result<Self, RocksFault> {
        let mut tries = 0;
        loop {
            tries += 1;
            // RocksDB reads its list of files first and its log behind it. If the writer moved rows from the log to a file
            // in between, those rows would be missing; and a file may be merged away before it is opened. The list grows
            // in either case, so what was opened counts only if the list did not.
            let before = file_list(path);
            let opened = Self::try_read_only(path, projections);
            let stands_still = before.is_some() && file_list(path) == before;
            if stands_still || before.is_none() || tries >= READ_ONLY_TRIES {
                return match opened {
                    Ok(_) if !stands_still => Err(RocksFault::Io {
                        path: path.to_owned(),
                        reason: "it changes too fast to be opened for reading; try again".into(),
                    }),
                    opened => opened,
                };
            }
            drop(opened);
            std::thread::sleep(READ_ONLY_PAUSE);
        }
    }

    fn try_read_only(path: &Path, projections: &[&str]) -> Result<Self, RocksFault> {
        let shared = options::Shared::new();
        let database = options::Shared::read_only_database();
        let names = DB::list_cf(&database, path).map_err(|error| fault(path, &error))?;
        let families = names.iter().map(|name| ColumnFamilyDescriptor::new(name, shared.family(name)));
        let db =
            DB::open_cf_descriptors_read_only(&database, path, families, false).map_err(|error| fault(path, &error))?;
        Ok(Self::new(db, path, true, projections))
    }

    fn new(db: DB, path: &Path, read_only: bool, projections: &[&str]) -> Self {
        let projections = projections.iter().map(|&name| name.to_owned()).collect();
        let (origin_of, origin_is_owed) = (Mutex::new(None), AtomicBool::new(false));
        let inner = Inner { db, path: path.to_owned(), read_only, projections, origin_of, origin_is_owed };
        Self { inner: Arc::new(inner) }
    }

    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.inner.read_only
    }

    /// The journal that the content was made from, by the hash of its first block, if that was noted.
    pub fn origin(&self) -> Result<Option<Digest>, RocksFault> {
        let value = self.inner.db.get(ORIGIN_KEY).map_err(|error| self.fault(&error))?;
        Ok(value.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Digest))
    }

    /// Notes the journal that the content is made from. Durable.
    pub fn set_origin(&self, origin: Digest) -> Result<(), RocksFault> {
        let mut batch = WriteBatch::default();
        batch.put(ORIGIN_KEY, origin.0);
        self.write(batch, true)
    }

    /// Has the origin noted before anything is stored: for a database that is opened with a journal that is still empty.
    /// Without it, what a long first run leaves would pass for that of any journal put in the place of its own.
    pub fn note_origin_first(&self, origin_of: OriginOf) {
        *self.inner.origin_of.lock().unwrap_or_else(PoisonError::into_inner) = Some(origin_of);
        self.inner.origin_is_owed.store(true, Ordering::Release);
    }

    /// Notes the origin if that is owed.
    fn settle_origin(&self) -> Result<(), RocksFault> {
        if !self.inner.origin_is_owed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut owed = self.inner.origin_of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = owed.as_ref().and_then(|origin_of| origin_of()) {
            self.set_origin(first)?;
            *owed = None;
            self.inner.origin_is_owed.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Makes everything that was committed durable, for an orderly end.
    pub fn sync(&self) -> Result<(), RocksFault> {
        self.writable()?;
        self.inner.db.flush_wal(true).map_err(|error| self.fault(&error))
    }

    fn writable(&self) -> Result<(), RocksFault> {
        if self.inner.read_only { Err(RocksFault::ReadOnly { path: self.inner.path.clone() }) } else { Ok(()) }
    }

    fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), RocksFault> {
        self.writable()?;
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.inner.db.write_opt(batch, &options).map_err(|error| self.fault(&error))
    }

    /// The column family of a projection; `None` if it is declared but was never stored (reading only).
    fn family(&self, projection: &str) -> Result<Option<&ColumnFamily>, RocksFault> {
        if !self.inner.projections.iter().any(|name| name == projection) {
            return Err(RocksFault::UnknownProjection { name: projection.to_owned() });
        }
        Ok(self.inner.db.cf_handle(&family_name(projection)))
    }

    /// What an error of RocksDB means; damage is marked for the next start.
    fn fault(&self, error: &rocksdb::Error) -> RocksFault {
        let fault = fault(&self.inner.path, error);
        if !self.inner.read_only && matches!(fault, RocksFault::Damaged { .. }) {
            let marker = damage_marker(&self.inner.path);
            if let Err(error) = std::fs::write(&marker, format!("{fault}\n")) {
                tracing::error!(marker = %marker.display(), %error, "damage could not be marked");
            }
        }
        fault
    }
}

/// Name and length of the database's list of files, which only ever grows or is replaced.
fn file_list(path: &Path) -> Option<(String, u64)> {
    let name = std::fs::read_to_string(path.join("CURRENT")).ok()?;
    let length = std::fs::metadata(path.join(name.trim_end())).ok()?.len();
    Some((name, length))
}

fn family_name(projection: &str) -> String {
    format!("{PROJECTION_PREFIX}{projection}")
}

fn fault(path: &Path, error: &rocksdb::Error) -> RocksFault {
    let path = path.to_owned();
    let reason = error.to_string();
    #[allow(clippy::wildcard_enum_match_arm, reason = "RocksDB's own list; what is not damage is the disk's")]
    match error.kind() {
        ErrorKind::Corruption => RocksFault::Damaged { path, reason },
        // RocksDB has no kind for it; the words are those of its posix environment.
        ErrorKind::IOError if reason.contains("lock") && reason.contains("LOCK") => RocksFault::Locked { path, reason },
        _ => RocksFault::Io { path, reason },
    }
}
