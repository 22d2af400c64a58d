//! The text of a key: what its holder sends with each request.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_schemas::Digest;
use ledger_core::control::api_keys::MadeKey;

use super::KeyFault;

/// What every key begins with, so that scanners of repositories and logs find one that leaked.
pub const KEY_PREFIX: &str = "dop_";
const SECRET_BYTES: usize = 32;
/// The length of a key's text.
pub(super) const KEY_LENGTH: usize = KEY_PREFIX.len() + 43;
/// How much of the hash makes the id: enough to tell keys apart without asking anybody, and nothing of the secret.
const ID_DIGITS: usize = 16;

/// The text of a key. It is shown once, by whoever asks for it with [`ApiSecret::reveal`]; `Debug` keeps it back.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiSecret(String);

impl ApiSecret {
    /// A new one, of 256 random bits.
    pub fn random() -> Result<Self, KeyFault> {
        let mut bits = [0_u8; SECRET_BYTES];
        getrandom::fill(&mut bits).map_err(|error| KeyFault::Unavailable(format!("no randomness: {error}")))?;
        Ok(Self(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))))
    }

    /// The text, to be shown or stored once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is known of it: its id and its hash.
    pub fn made(&self) -> MadeKey {
        let hash = hash_of(&self.0);
        let hex = hash.to_string();
        MadeKey { id: format!("key_{}", hex.get(..ID_DIGITS).unwrap_or(&hex)).into(), hash }
    }
}

impl fmt::Debug for ApiSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiSecret(…)")
    }
}

/// The hash of a key's text.
pub(super) fn hash_of(text: &str) -> Digest {
    Digest(*blake3::hash(text.as_bytes()).as_bytes())
}
