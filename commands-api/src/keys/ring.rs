//! The keys a server knows, followed as the file changes.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use super::file::{KEY_LENGTH, KEY_PREFIX, KeyFault, KeyFile, KeyRecord, parse_hash};
use super::principal::Principal;

/// How often the file is looked at, in milliseconds, at most.
const RELOAD_CHECK_MS: u64 = 1_000;

type Known = HashMap<[u8; 32], Arc<Principal>>;

/// What tells that the file was replaced: a rename changes the inode even within one tick of the file system's clock.
type FileIdentity = Option<(u64, u64, i64, i64)>;

/// The keys a server knows. Cloning shares them.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

struct Ring {
    file: Option<KeyFile>,
    known: RwLock<Result<Known, KeyFault>>,
    identity: Mutex<FileIdentity>,
    started: Instant,
    /// Milliseconds from `started` at which the file is looked at next.
    next_check_ms: AtomicU64,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

impl KeyRing {
    /// The keys of a file, followed as it changes. A file that is not there yet is a ring without keys.
    pub fn of_file(file: KeyFile) -> Result<Self, KeyFault> {
        let identity = identity_of(file.path());
        let known = known(&file.list()?);
        Ok(Self::with(Some(file), known, identity))
    }

    /// A fixed set of keys.
    pub fn fixed(records: &[KeyRecord]) -> Self {
        Self::with(None, known(records), None)
    }

    fn with(file: Option<KeyFile>, known: Known, identity: FileIdentity) -> Self {
        Self(Arc::new(Ring {
            file,
            known: RwLock::new(Ok(known)),
            identity: Mutex::new(identity),
            started: Instant::now(),
            next_check_ms: AtomicU64::new(RELOAD_CHECK_MS),
        }))
    }

    /// Who this key speaks for; `None` if it is no key, unknown or revoked. A fault means that nobody can be known now.
    pub fn principal(&self, key: &str) -> Result<Option<Arc<Principal>>, KeyFault> {
        self.follow_file();
        if key.len() != KEY_LENGTH || !key.starts_with(KEY_PREFIX) {
            return Ok(None);
        }
        let hash = blake3::hash(key.as_bytes());
        match &*self.0.known.read().unwrap_or_else(PoisonError::into_inner) {
            Ok(known) => Ok(known.get(hash.as_bytes()).cloned()),
            Err(fault) => Err(fault.clone()),
        }
    }

    /// Looks at the file if a second has passed, on whatever request comes then. Only one request does; the others go on
    /// with what is known.
    fn follow_file(&self) {
        let ring = &*self.0;
        let Some(file) = &ring.file else { return };
        let elapsed_ms = u64::try_from(ring.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next_ms = ring.next_check_ms.load(Ordering::Relaxed);
        let ours = elapsed_ms >= next_ms
            && ring
                .next_check_ms
                .compare_exchange(next_ms, elapsed_ms + RELOAD_CHECK_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if ours {
            self.reload(file);
        }
    }

    pub(super) fn reload(&self, file: &KeyFile) {
        let ring = &*self.0;
        let mut identity = ring.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let found = identity_of(file.path());
        let failed = ring.known.read().unwrap_or_else(PoisonError::into_inner).is_err();
        if found == *identity && !failed {
            return;
        }
        let read = file.list().map(|records| known(&records));
        match &read {
            Ok(known) => tracing::info!(keys = known.len(), "the key file was read again"),
            Err(fault) => tracing::error!(%fault, "the key file can't be read: nobody is let in until it can"),
        }
        *ring.known.write().unwrap_or_else(PoisonError::into_inner) = read;
        *identity = found;
    }
}

fn known(records: &[KeyRecord]) -> Known {
    records
        .iter()
        .filter(|record| record.revoked_at.is_none())
        .filter_map(|record| Some((parse_hash(&record.hash)?, Arc::new(record.principal()))))
        .collect()
}

fn identity_of(path: &Path) -> FileIdentity {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}
