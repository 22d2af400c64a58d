//! The file of key hashes: issue, list, revoke.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_schemas::bounds::OWNER_MAX_BYTES;
use event_schemas::{PrincipalId, Timestamp};
use serde::{Deserialize, Serialize};

use super::principal::{Principal, Scope};

/// What every key begins with, so that scanners of repositories and logs find one that leaked.
pub const KEY_PREFIX: &str = "dop_";
const SECRET_BYTES: usize = 32;
/// The length of a key's text.
pub(super) const KEY_LENGTH: usize = KEY_PREFIX.len() + 43;

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
    pub(super) fn principal(&self) -> Principal {
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

pub(super) fn parse_hash(hex: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(hex).ok().map(|hash| *hash.as_bytes())
}
