//! The keys that a server lets in: looked up in memory, by their hashes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use event_schemas::Digest;

use super::KeyFault;
use super::directory::KeyRecord;
use super::principal::Principal;
use super::secret::{KEY_LENGTH, KEY_PREFIX, hash_of};

type Known = HashMap<Digest, Arc<Principal>>;

/// The keys that a server lets in. Cloning shares them.
#[derive(Clone)]
pub struct KeyRing(Arc<RwLock<Result<Known, KeyFault>>>);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

impl KeyRing {
    /// These keys; void ones let nobody in.
    pub fn of(records: &[KeyRecord]) -> Self {
        Self(Arc::new(RwLock::new(Ok(known(records)))))
    }

    /// From now on these keys, and no others.
    pub fn set(&self, records: &[KeyRecord]) {
        self.put(Ok(known(records)));
    }

    /// From now on nobody, until keys are set again: who may be let in can't be known.
    pub fn shut(&self, fault: KeyFault) {
        self.put(Err(fault));
    }

    fn put(&self, known: Result<Known, KeyFault>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Who this key speaks for; `None` if it is no key, unknown or void. A fault means that nobody can be known now.
    pub fn principal(&self, key: &str) -> Result<Option<Arc<Principal>>, KeyFault> {
        if key.len() != KEY_LENGTH || !key.starts_with(KEY_PREFIX) {
            return Ok(None);
        }
        let hash = hash_of(key);
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Ok(known) => Ok(known.get(&hash).cloned()),
            Err(fault) => Err(fault.clone()),
        }
    }
}

fn known(records: &[KeyRecord]) -> Known {
    records
        .iter()
        .filter(|record| record.revoked_at.is_none())
        .filter_map(|record| Some((record.digest()?, Arc::new(record.principal()))))
        .collect()
}
