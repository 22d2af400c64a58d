//! All keys as the facts tell them: who has which, and which are void.

use std::collections::HashMap;

use event_schemas::control::{Holder, Scope};
use event_schemas::{ControlFact, Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::principal::Principal;

/// One key, without its secret.
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
    /// Who holds it.
    pub fn held_by(&self) -> Holder {
        Holder {
            tenant: self.tenant.as_str().into(),
            name: self.holder.as_str().into(),
            customer: self.customer.as_deref().map(Into::into),
        }
    }

    /// Its hash, if it is one.
    pub fn digest(&self) -> Option<Digest> {
        parse_hash(&self.hash)
    }

    pub(super) fn principal(&self) -> Principal {
        let holder = self.held_by();
        Principal {
            id: holder.principal(),
            holder_scope: holder.scope(),
            tenant: holder.tenant,
            holder: holder.name,
            customer: holder.customer,
            scopes: self.scopes.iter().copied().collect(),
        }
    }
}

pub(super) fn parse_hash(hex: &str) -> Option<Digest> {
    hex.parse().ok()
}

/// All keys, void ones too, in the order of issue.
#[derive(Debug, Clone, Default)]
pub struct KeyDirectory {
    records: Vec<KeyRecord>,
    places: HashMap<Box<str>, usize>,
}

impl KeyDirectory {
    /// Takes one fact, in the order in which they were recorded. Facts about other things change nothing.
    pub fn apply(&mut self, fact: &ControlFact) {
        match fact {
            ControlFact::ApiKeyIssued(issued) => {
                self.places.insert(issued.key.clone(), self.records.len());
                self.records.push(KeyRecord {
                    id: issued.key.to_string(),
                    hash: issued.hash.to_string(),
                    tenant: issued.holder.tenant.to_string(),
                    holder: issued.holder.name.to_string(),
                    customer: issued.holder.customer.as_deref().map(Into::into),
                    scopes: issued.scopes.iter().collect(),
                    created_at: issued.issued_at,
                    revoked_at: None,
                    note: issued.note.to_string(),
                });
            }
            ControlFact::ApiKeyRevoked(revoked) => {
                if let Some(record) = self.record(&revoked.key) {
                    record.revoked_at.get_or_insert(revoked.revoked_at);
                }
            }
            ControlFact::ApiKeyScopesSet(set) => {
                if let Some(record) = self.record(&set.key) {
                    record.scopes = set.scopes.iter().collect();
                }
            }
            ControlFact::ProviderSet(_) | ControlFact::PaymentRequested(_) | ControlFact::PaymentStepped(_) => {}
        }
    }

    fn record(&mut self, id: &str) -> Option<&mut KeyRecord> {
        self.places.get(id).and_then(|place| self.records.get_mut(*place))
    }

    /// The key of an id.
    pub fn get(&self, id: &str) -> Option<&KeyRecord> {
        self.places.get(id).and_then(|place| self.records.get(*place))
    }

    /// All of them.
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }
}
