//! Rows of the state other than accounts, by the command they belong to: open holds, and what was reversed of an entry.
//!
//! There are few of them beside the accounts, and they come and go, so they stand in an ordered map. As with accounts, a row is
//! hashed when the digest is asked for and only if it changed; one that goes takes its hash out of the digest at once.

use std::collections::BTreeMap;

use event_schemas::digest::ElementHash;
use event_schemas::{CommandId, MultisetHash};

/// What a row holds.
pub(super) trait Row {
    /// Appends the canonical form of a row, without its kind.
    fn encode(&self, id: CommandId, out: &mut Vec<u8>);
    /// The byte that tells the rows of this kind from all others in the digest.
    const KIND: u8;
}

#[derive(Debug, Clone)]
struct Kept<V> {
    row: V,
    /// The hash as it is in the digest; `None` for a row that is not in it yet.
    hash: Option<ElementHash>,
}

/// Rows of one kind.
#[derive(Debug, Clone)]
pub(super) struct Rows<V> {
    rows: BTreeMap<CommandId, Kept<V>>,
    /// The rows that changed since the digest was last asked for; some more than once, some gone by now.
    changed: Vec<CommandId>,
}

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), changed: Vec::new() }
    }
}

impl<V: Row> Rows<V> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn get(&self, id: CommandId) -> Option<&V> {
        self.rows.get(&id).map(|kept| &kept.row)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (CommandId, &V)> {
        self.rows.iter().map(|(id, kept)| (*id, &kept.row))
    }

    /// Sets a row, new or not.
    pub(super) fn set(&mut self, id: CommandId, row: V) {
        self.changed.push(id);
        match self.rows.get_mut(&id) {
            Some(kept) => kept.row = row,
            None => {
                self.rows.insert(id, Kept { row, hash: None });
            }
        }
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, id: CommandId, digest: &mut MultisetHash) {
        if let Some(hash) = self.rows.remove(&id).and_then(|kept| kept.hash) {
            digest.remove(hash);
        }
    }

    /// Brings the digest level.
    pub(super) fn rehash(&mut self, digest: &mut MultisetHash, scratch: &mut Vec<u8>) {
        for id in self.changed.drain(..) {
            if let Some(kept) = self.rows.get_mut(&id) {
                scratch.clear();
                scratch.push(V::KIND);
                kept.row.encode(id, scratch);
                let new = ElementHash::of(scratch);
                if let Some(old) = kept.hash.replace(new) {
                    digest.remove(old);
                }
                digest.insert(new);
            }
        }
    }
}
