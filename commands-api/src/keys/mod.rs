//! API keys as the API sees them: what a key is, whom it speaks for, and which are let in.
//!
//! A key is `dop_` and 43 characters of base64url: 256 random bits. What is recorded of it is the BLAKE3 hash of that text. A
//! fast hash will do, since nobody guesses 256 bits; and since a key is found by looking its hash up, comparing in constant
//! time would protect nothing: what timing could tell is about a hash the attacker already knows.
//!
//! Issuing, rotating and revoking are decided in `ledger_core::control::api_keys` and stored by the control plane. Whoever
//! serves the API reads those facts into a [`KeyDirectory`] and keeps the [`KeyRing`] up to date; a request looks only at the
//! ring, in memory. If the facts can't be read, the ring is shut: whoever was revoked in them must not get in.
//!
//! `principal.rs` who a key speaks for · `secret.rs` the text of a key · `directory.rs` all keys, from facts · `ring.rs` what a
//! server lets in · `old_file.rs` the file of older releases.

mod directory;
mod old_file;
mod principal;
mod ring;
mod secret;

pub use directory::{KeyDirectory, KeyRecord};
pub use event_schemas::control::{Scope, Scopes};
pub use old_file::read_old_file;
pub use principal::Principal;
pub use ring::KeyRing;
pub use secret::{ApiSecret, KEY_PREFIX};

/// Why keys can't be known or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// What they are kept in can't be read now.
    #[error("keys can't be read: {0}")]
    Unavailable(String),
    /// What they are kept in is not what was written.
    #[error("keys are damaged: {0}")]
    Damaged(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use event_schemas::control::{ApiKeyIssued, ApiKeyRevoked, ApiKeyScopesSet, Holder};
    use event_schemas::{ControlFact, PrincipalId, Timestamp};

    use super::secret::KEY_LENGTH;
    use super::*;

    fn issued(secret: &ApiSecret, customer: Option<&str>) -> ControlFact {
        let made = secret.made();
        ControlFact::ApiKeyIssued(ApiKeyIssued {
            key: made.id,
            hash: made.hash,
            holder: Holder { tenant: "house".into(), name: "till".into(), customer: customer.map(Into::into) },
            scopes: [Scope::Read, Scope::Write].into_iter().collect(),
            replaces: None,
            issued_at: Timestamp(1),
            actor: "anna".into(),
            note: "".into(),
        })
    }

    #[test]
    fn a_key_is_issued_known_and_revoked() {
        let secret = ApiSecret::random().unwrap();
        assert_eq!(secret.reveal().len(), KEY_LENGTH);
        assert!(secret.reveal().starts_with("dop_"));
        assert!(!format!("{secret:?}").contains(&secret.reveal()[4..]), "Debug keeps it back");
        let mut keys = KeyDirectory::default();
        let ring = KeyRing::of(keys.records());
        assert_eq!(ring.principal(secret.reveal()), Ok(None));

        keys.apply(&issued(&secret, None));
        let stored = serde_json::to_string(keys.records()).unwrap();
        assert!(!stored.contains(&secret.reveal()[4..]), "the secret is in no record");
        ring.set(keys.records());
        let principal = ring.principal(secret.reveal()).unwrap().unwrap();
        assert_eq!(principal.id, PrincipalId::derive("house", "till"));
        assert!(principal.scopes.has(Scope::Write) && !principal.scopes.has(Scope::Admin));

        let (key, actor): (Box<str>, Box<str>) = (secret.made().id, "anna".into());
        let scopes = [Scope::Admin].into_iter().collect();
        let set = ApiKeyScopesSet { key: key.clone(), scopes, set_at: Timestamp(2), actor, reason: "".into() };
        keys.apply(&ControlFact::ApiKeyScopesSet(set));
        ring.set(keys.records());
        let scopes = ring.principal(secret.reveal()).unwrap().unwrap().scopes;
        assert!(scopes.has(Scope::Admin) && !scopes.has(Scope::Write));

        for at in [3, 4] {
            let revoked =
                ApiKeyRevoked { key: key.clone(), revoked_at: Timestamp(at), actor: "anna".into(), reason: "".into() };
            keys.apply(&ControlFact::ApiKeyRevoked(revoked));
        }
        ring.set(keys.records());
        assert_eq!(ring.principal(secret.reveal()), Ok(None));
        assert_eq!(keys.get(&key).unwrap().revoked_at, Some(Timestamp(3)), "the first time stays");
    }

    #[test]
    fn keys_of_one_holder_are_the_same_principal_and_customers_are_not() {
        let mut keys = KeyDirectory::default();
        let secrets: Vec<_> = [None, None, Some("client:1"), Some("client:2")]
            .into_iter()
            .map(|customer| {
                let secret = ApiSecret::random().unwrap();
                keys.apply(&issued(&secret, customer));
                secret
            })
            .collect();
        let ring = KeyRing::of(keys.records());
        let ids: Vec<_> = secrets.iter().map(|secret| ring.principal(secret.reveal()).unwrap().unwrap().id).collect();
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
        assert_ne!(ids[2], ids[3]);
    }

    #[test]
    fn what_is_no_key_is_nobody_and_a_ring_that_is_shut_lets_nobody_in() {
        let ring = KeyRing::of(&[]);
        for text in ["", "dop_", "x", &"a".repeat(KEY_LENGTH), &format!("dop_{}", "a".repeat(43))] {
            assert_eq!(ring.principal(text), Ok(None), "{text:?}");
        }
        let secret = ApiSecret::random().unwrap();
        let mut keys = KeyDirectory::default();
        keys.apply(&issued(&secret, None));
        ring.set(keys.records());
        let fault = KeyFault::Damaged("lost".into());
        ring.shut(fault.clone());
        assert_eq!(ring.principal(secret.reveal()), Err(fault));
        ring.set(keys.records());
        assert!(ring.principal(secret.reveal()).unwrap().is_some());
    }

    #[test]
    fn the_file_of_older_releases_is_read_and_a_damaged_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        assert_eq!(read_old_file(&path), Ok(None));
        let hash = "5e".repeat(32);
        let text = format!(
            r#"{{"version":1,"keys":[{{"id":"key_5e5e5e5e","hash":"{hash}","tenant":"main","holder":"till",
            "customer":"client:1","scopes":["read"],"created_at":"2026-11-22T00:00:00Z",
            "revoked_at":"2026-11-23T00:00:00Z","note":"old"}}]}}"#
        );
        std::fs::write(&path, &text).unwrap();
        let records = read_old_file(&path).unwrap().unwrap();
        assert_eq!((records.len(), records[0].scopes.as_slice()), (1, &[Scope::Read][..]));
        assert!(records[0].revoked_at.is_some() && records[0].digest().is_some());
        for damaged in ["{".to_owned(), text.replace(&hash, "5e"), text.replace("\"version\":1", "\"version\":2")] {
            std::fs::write(&path, &damaged).unwrap();
            assert!(matches!(read_old_file(&path), Err(KeyFault::Damaged(_))), "{damaged}");
        }
    }
}
