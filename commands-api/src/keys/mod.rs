//! API keys: issued, listed and revoked in a file of hashes, and looked up in memory.
//!
//! A key is `dop_` and 43 characters of base64url: 256 random bits. The file keeps the BLAKE3 hash of that text and who
//! the key speaks for. A fast hash will do, since nobody guesses 256 bits; and since a key is found by looking its hash up,
//! comparing in constant time would protect nothing: what timing could tell is about a hash the attacker already knows.
//!
//! The file is replaced as a whole (temporary file, sync, rename) with mode 0600, under a lock of its own, so that
//! `ledgerd key` may work beside a running server. The server looks at the file's identity at most once a second and reads
//! it again when it changed. A file that can't be read answers nobody: whoever was revoked in it must not get in.
//!
//! `principal.rs` who a key speaks for and what it may be used for · `file.rs` the file · `ring.rs` what a server knows.

mod file;
mod principal;
mod ring;

pub use file::{ApiSecret, KEY_PREFIX, KeyFault, KeyFile, KeyRecord, NewKey};
pub use principal::{Principal, Scope, Scopes};
pub use ring::KeyRing;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::os::unix::fs::PermissionsExt as _;

    use event_schemas::PrincipalId;

    use super::file::KEY_LENGTH;
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
