//! API keys: issued, listed and revoked in a file of hashes, and looked up in memory.
//!
//! A key is `dop_` and 43 characters of base64url: 256 random bits. The file keeps the BLAKE3 hash of that text and who
//! the key speaks for. A fast hash will do, since nobody guesses 256 bits; and since a key is found by looking its hash up,
//! comparing in constant time would protect nothing: what timing could tell is about a hash the attacker already knows.
//!
//! The file is replaced as a whole (temporary file, sync, rename) with mode 0600, under a lock of its own, so that
//! `ledgerd key` may work beside a running server. The server looks at the file's identity at most once a second and reads
//! it again when it changed. A file that can't be read answers nobody: whoever was revoked in it must not get in.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_schemas::bounds::OWNER_MAX_BYTES;
use event_schemas::{PrincipalId, Timestamp};
use serde::{Deserialize, Serialize};

/// What every key begins with, so that scanners of repositories and logs find one that leaked.
pub const KEY_PREFIX: &str = "dop_";
const SECRET_BYTES: usize = 32;
const KEY_LENGTH: usize = KEY_PREFIX.len() + 43;
const RELOAD_CHECK_MS: u64 = 1_000;

/// What a key may be used for. No scope contains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Queries.
    Read,
    /// Money: open accounts, top up, withdraw, transfer, post entries.
    Write,
    /// Acts of the house: freeze, unfreeze and close accounts.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Admin => 4,
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin),
            other => Err(KeyFault::Refused(format!("{other:?} is not a scope: read, write and admin are"))),
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether it has this one.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// Who a request speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// A hash of tenant and holder, and of the customer if there is one. It survives the rotation of the key.
    pub id: PrincipalId,
    /// Whose books.
    pub tenant: Box<str>,
    /// Who holds the key: a service or a person, for the audit trail.
    pub holder: Box<str>,
    /// The holder as command ids are derived from it. Keys of one holder that speak for different customers have different
    /// ones, so that one customer's `Idempotency-Key` can't bring up another's verdict.
    pub holder_scope: Box<str>,
    /// The customer it is confined to: the owner of the accounts it may debit and read.
    pub customer: Option<Box<str>>,
    /// What it may do.
    pub scopes: Scopes,
}

/// One key as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// A short name for `list` and `revoke`; not secret.
    pub id: String,
    /// BLAKE3 of the key's text, in hex.
    pub hash: String,
    /// Whose books.
    pub tenant: String,
    /// Who holds it.
    pub holder: String,
    /// The customer it is confined to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// Since when it is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Why it was issued.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl KeyRecord {
    fn principal(&self) -> Principal {
        let holder_scope = match &self.customer {
            // A holder has no control characters, so no other holder has this scope.
            Some(customer) => format!("{}\u{1f}{customer}", self.holder),
            None => self.holder.clone(),
        };
        Principal {
            id: PrincipalId::derive(&self.tenant, &holder_scope),
            tenant: self.tenant.as_str().into(),
            holder: self.holder.as_str().into(),
            holder_scope: holder_scope.into(),
            customer: self.customer.as_deref().map(Into::into),
            scopes: self.scopes.iter().copied().collect(),
        }
    }
}

/// A key to be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whose books.
    pub tenant: String,
    /// Who will hold it.
    pub holder: String,
    /// The customer it is confined to; `None` for a key of the house.
    pub customer: Option<String>,
    /// What it may do; at least one scope.
    pub scopes: Vec<Scope>,
    /// Why; may be empty.
    pub note: String,
}

/// The text of a key. It is shown once, by whoever asks for it with [`ApiSecret::reveal`]; `Debug` keeps it back.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiSecret(String);

impl ApiSecret {
    fn random() -> Result<Self, KeyFault> {
        let mut bits = [0_u8; SECRET_BYTES];
        getrandom::fill(&mut bits).map_err(|error| KeyFault::Io(format!("no randomness: {error}")))?;
        Ok(Self(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))))
    }

    /// The text, to be shown or stored once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiSecret(…)")
    }
}

/// A key file that could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// Reading or writing failed.
    #[error("the key file: {0}")]
    Io(String),
    /// The file is not a key file.
    #[error("the key file is damaged: {0}")]
    Damaged(String),
    /// There is no key of this id.
    #[error("there is no key {0:?}")]
    Unknown(String),
    /// What was asked for is not a key.
    #[error("{0}")]
    Refused(String),
}

/// The form of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    keys: Vec<KeyRecord>,
}

/// The file of key hashes.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file at this path; it need not exist before the first key is issued.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, revoked ones too, in the order of issue. No file is no keys.
    pub fn list(&self) -> Result<Vec<KeyRecord>, KeyFault> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(KeyFault::Io(error.to_string())),
        };
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|error| KeyFault::Damaged(error.to_string()))?;
        if document.version != 1 {
            return Err(KeyFault::Damaged(format!("version {} is not known", document.version)));
        }
        for record in &document.keys {
            parse_hash(&record.hash).ok_or_else(|| KeyFault::Damaged(format!("the hash of key {:?}", record.id)))?;
        }
        Ok(document.keys)
    }

    /// Issues a key. The secret is returned and kept nowhere.
    pub fn issue(&self, new: NewKey) -> Result<(KeyRecord, ApiSecret), KeyFault> {
        check_new(&new)?;
        let secret = ApiSecret::random()?;
        let hash = blake3::hash(secret.reveal().as_bytes()).to_hex().to_string();
        let record = KeyRecord {
            // Eight hex digits of the hash: enough to tell keys apart, and nothing of the secret.
            id: format!("key_{}", hash.get(..8).unwrap_or(&hash)),
            hash,
            tenant: new.tenant,
            holder: new.holder,
            customer: new.customer,
            scopes: new.scopes,
            created_at: now(),
            revoked_at: None,
            note: new.note,
        };
        let issued = record.clone();
        self.change(move |keys| {
            if keys.iter().any(|key| key.id == record.id) {
                return Err(KeyFault::Refused("two keys got the same id: try again".into()));
            }
            keys.push(record);
            Ok(())
        })?;
        Ok((issued, secret))
    }

    /// Makes a key void and returns its record. Revoking twice keeps the first time.
    pub fn revoke(&self, id: &str) -> Result<KeyRecord, KeyFault> {
        self.change(|keys| {
            let record = keys.iter_mut().find(|key| key.id == id).ok_or_else(|| KeyFault::Unknown(id.to_owned()))?;
            record.revoked_at.get_or_insert_with(now);
            Ok(record.clone())
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<KeyRecord>) -> Result<T, KeyFault>) -> Result<T, KeyFault> {
        let io = |error: std::io::Error| KeyFault::Io(error.to_string());
        let lock = private().create(true).truncate(false).open(self.beside("lock")).map_err(io)?;
        lock.lock().map_err(io)?;
        let mut keys = self.list()?;
        let outcome = change(&mut keys)?;
        let mut bytes = serde_json::to_vec_pretty(&Document { version: 1, keys })
            .map_err(|error| KeyFault::Io(error.to_string()))?;
        bytes.push(b'\n');
        let temporary = self.beside("new");
        // A leftover of a crash may have another mode.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let mut file = private().create_new(true).open(&temporary).map_err(io)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
        std::fs::rename(&temporary, &self.path).map_err(io)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(io)?;
        Ok(outcome)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn check_new(new: &NewKey) -> Result<(), KeyFault> {
    let name = |what: &str, text: &str| {
        let fits = !text.is_empty() && text.len() <= OWNER_MAX_BYTES && !text.chars().any(char::is_control);
        if fits {
            return Ok(());
        }
        Err(KeyFault::Refused(format!("the {what} must have 1 to {OWNER_MAX_BYTES} bytes without control characters")))
    };
    name("tenant", &new.tenant)?;
    name("holder", &new.holder)?;
    if let Some(customer) = &new.customer {
        name("customer", customer)?;
        if new.scopes.contains(&Scope::Admin) {
            return Err(KeyFault::Refused("a customer's key can't have the scope admin".into()));
        }
    }
    if new.scopes.is_empty() {
        return Err(KeyFault::Refused("a key needs a scope: read, write or admin".into()));
    }
    Ok(())
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

fn parse_hash(hex: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(hex).ok().map(|hash| *hash.as_bytes())
}

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

    fn reload(&self, file: &KeyFile) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn new_key(customer: Option<&str>) -> NewKey {
        NewKey {
            tenant: "house".into(),
            holder: "till".into(),
            customer: customer.map(Into::into),
            scopes: vec![Scope::Read, Scope::Write],
            note: String::new(),
        }
    }

    #[test]
    fn a_key_is_issued_known_and_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let ring = KeyRing::of_file(file.clone()).unwrap();
        assert_eq!(file.list().unwrap(), []);

        let (record, secret) = file.issue(new_key(None)).unwrap();
        assert_eq!(secret.reveal().len(), KEY_LENGTH);
        assert!(secret.reveal().starts_with("dop_"));
        let stored = std::fs::read_to_string(file.path()).unwrap();
        assert!(!stored.contains(&secret.reveal()[4..]), "the secret is not in the file");
        assert!(!format!("{secret:?}").contains(&secret.reveal()[4..]), "nor in Debug");
        assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);

        ring.reload(&file);
        let principal = ring.principal(secret.reveal()).unwrap().unwrap();
        assert_eq!(principal.id, PrincipalId::derive("house", "till"));
        assert!(principal.scopes.has(Scope::Write) && !principal.scopes.has(Scope::Admin));

        file.issue(new_key(None)).unwrap();
        let revoked = file.revoke(&record.id).unwrap();
        assert!(revoked.revoked_at.is_some());
        assert_eq!(file.revoke(&record.id).unwrap(), revoked, "the first time stays");
        ring.reload(&file);
        assert_eq!(ring.principal(secret.reveal()).unwrap(), None);
        assert_eq!(file.list().unwrap().len(), 2);
        assert_eq!(file.revoke("key_none"), Err(KeyFault::Unknown("key_none".into())));
    }

    #[test]
    fn a_rotated_key_is_the_same_principal_and_customers_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let secrets: Vec<_> = [None, None, Some("client:1"), Some("client:2")]
            .into_iter()
            .map(|customer| file.issue(new_key(customer)).unwrap().1)
            .collect();
        let ring = KeyRing::of_file(file).unwrap();
        let ids: Vec<_> = secrets.iter().map(|secret| ring.principal(secret.reveal()).unwrap().unwrap().id).collect();
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
        assert_ne!(ids[2], ids[3]);
    }

    #[test]
    fn what_is_no_key_is_nobody() {
        let ring = KeyRing::fixed(&[]);
        for text in ["", "dop_", "x", &"a".repeat(KEY_LENGTH), &format!("dop_{}", "a".repeat(43))] {
            assert_eq!(ring.principal(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn a_damaged_file_lets_nobody_in_until_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let (_, secret) = file.issue(new_key(None)).unwrap();
        let ring = KeyRing::of_file(file.clone()).unwrap();
        let good = std::fs::read(file.path()).unwrap();
        std::fs::write(file.path(), b"{").unwrap();
        ring.reload(&file);
        assert!(matches!(ring.principal(secret.reveal()), Err(KeyFault::Damaged(_))));
        assert!(file.issue(new_key(None)).is_err(), "nothing is written over a damaged file");
        std::fs::write(file.path(), good).unwrap();
        ring.reload(&file);
        assert!(ring.principal(secret.reveal()).unwrap().is_some());
    }

    #[test]
    fn what_a_key_must_not_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let refused = |change: fn(&mut NewKey)| {
            let mut new = new_key(Some("client:1"));
            change(&mut new);
            matches!(file.issue(new), Err(KeyFault::Refused(_)))
        };
        assert!(refused(|new| new.scopes.clear()));
        assert!(refused(|new| new.scopes.push(Scope::Admin)), "a customer is no admin");
        assert!(refused(|new| new.holder.clear()));
        assert!(refused(|new| new.holder.push('\u{1f}')));
        assert!(refused(|new| new.tenant = "x".repeat(65)));
        assert!(refused(|new| new.customer = Some(String::new())));
        assert_eq!(file.list().unwrap(), [], "nothing was issued");
    }

    #[test]
    fn keys_issued_at_the_same_time_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| drop(file.issue(new_key(None)).unwrap())));
            }
        });
        assert_eq!(file.list().unwrap().len(), 20);
    }
}
