//! Rows of the state other than accounts, each kind in a table of its own: open holds, what was reversed of an entry, settings.
//!
//! There are few of them beside the accounts, and they come and go, so they stand in an ordered map. As with accounts, a row is
//! hashed when the digest is asked for and only if it changed; one that goes takes its hash out of the digest at once.
//!
//! A new kind is a type that implements [`Row`], a field of [`Tables`] and a line in its two lists: digest, checkpoint and
//! taking back follow.

use std::collections::BTreeMap;

use event_schemas::MultisetHash;
use event_schemas::codec::{CodecError, Reader, put_varint};
use event_schemas::command::{PublishCalendar, PublishRateSheet, SetFeeRule};
use event_schemas::digest::ElementHash;

use super::holds::Holds;
use super::limits::{ChargedOn, Limits};
use super::reversals::Reversed;
use super::settings::{ClosedThrough, PreferencesVersion};

/// What a row holds.
pub(super) trait Row: Sized {
    /// What it stands under.
    type Key: Ord + Clone;
    /// The byte that tells the rows of this kind from all others in the digest.
    const KIND: u8;
    /// What the rows are called where a checkpoint is found wrong.
    const NAME: &'static str;
    /// Appends the canonical form of a row with its key, without its kind.
    fn encode(&self, key: &Self::Key, out: &mut Vec<u8>);
    /// Reads the canonical form.
    fn decode(reader: &mut Reader<'_>) -> Result<(Self::Key, Self), CodecError>;
}

/// All rows of one kind, as the state as a whole handles them.
pub(super) trait Table {
    /// Brings the digest level.
    fn rehash(&mut self, digest: &mut MultisetHash, scratch: &mut Vec<u8>);
    /// Appends all rows to a checkpoint.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads all rows of a checkpoint.
    fn decode(&mut self, reader: &mut Reader<'_>) -> Result<(), CodecError>;
    /// Notes from here on what was before each change.
    fn attempt(&mut self);
    /// Takes back every change since then.
    fn take_back(&mut self, digest: &mut MultisetHash);
    /// Lets the changes stand.
    fn keep(&mut self);
}

/// All tables, in the order in which a checkpoint has them.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) holds: Holds,
    pub(super) reversed: Rows<Reversed>,
    pub(super) fee_rules: Rows<SetFeeRule>,
    pub(super) closed: Rows<ClosedThrough>,
    pub(super) preferences: Rows<PreferencesVersion>,
    pub(super) limits: Rows<Limits>,
    pub(super) calendar: Rows<PublishCalendar>,
    pub(super) charged: Rows<ChargedOn>,
    pub(super) rate_sheets: Rows<PublishRateSheet>,
}

impl Tables {
    pub(super) fn all(&self) -> [&dyn Table; 9] {
        [
            &self.holds,
            &self.reversed,
            &self.fee_rules,
            &self.closed,
            &self.preferences,
            &self.limits,
            &self.calendar,
            &self.charged,
            &self.rate_sheets,
        ]
    }

    pub(super) fn all_mut(&mut self) -> [&mut dyn Table; 9] {
        [
            &mut self.holds,
            &mut self.reversed,
            &mut self.fee_rules,
            &mut self.closed,
            &mut self.preferences,
            &mut self.limits,
            &mut self.calendar,
            &mut self.charged,
            &mut self.rate_sheets,
        ]
    }
}

#[derive(Debug, Clone)]
struct Kept<V> {
    row: V,
    /// The hash as it is in the digest; `None` for a row that is not in it yet.
    hash: Option<ElementHash>,
}

/// What was before each change since an attempt began, in the order of the changes.
#[derive(Debug, Clone)]
struct Before<V: Row> {
    rows: Vec<(V::Key, Option<Kept<V>>)>,
    /// How many rows had changed since their hash was taken; `None` once hashes were taken during the attempt.
    changed: Option<usize>,
}

/// Rows of one kind.
#[derive(Debug, Clone)]
pub(super) struct Rows<V: Row> {
    by_key: BTreeMap<V::Key, Kept<V>>,
    /// The rows that changed since the digest was last asked for; some more than once, some gone by now.
    changed: Vec<V::Key>,
    before: Option<Before<V>>,
}

impl<V: Row> Default for Rows<V> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), changed: Vec::new(), before: None }
    }
}

impl<V: Row> Rows<V> {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn get(&self, key: &V::Key) -> Option<&V> {
        self.by_key.get(key).map(|kept| &kept.row)
    }

    pub(super) fn first(&self) -> Option<&V> {
        self.by_key.first_key_value().map(|(_, kept)| &kept.row)
    }

    pub(super) fn last(&self) -> Option<&V> {
        self.by_key.last_key_value().map(|(_, kept)| &kept.row)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&V::Key, &V)> {
        self.by_key.iter().map(|(key, kept)| (key, &kept.row))
    }

    /// Sets a row, new or not.
    pub(super) fn set(&mut self, key: V::Key, row: V) {
        self.changed.push(key.clone());
        let old = if let Some(kept) = self.by_key.get_mut(&key) {
            let row = std::mem::replace(&mut kept.row, row);
            Some(Kept { row, hash: kept.hash })
        } else {
            self.by_key.insert(key.clone(), Kept { row, hash: None });
            None
        };
        if let Some(before) = &mut self.before {
            before.rows.push((key, old));
        }
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, key: &V::Key, digest: &mut MultisetHash) {
        let Some(old) = self.by_key.remove(key) else { return };
        if let Some(hash) = old.hash {
            digest.remove(hash);
        }
        if let Some(before) = &mut self.before {
            before.rows.push((key.clone(), Some(old)));
        }
    }

    /// Takes back every change since the attempt began, the last one first, and tells of each row what it was and what it
    /// is again.
    pub(super) fn take_back_each(
        &mut self,
        digest: &mut MultisetHash,
        mut tell: impl FnMut(&V::Key, Option<&V>, Option<&V>),
    ) {
        let Some(Before { rows, changed }) = self.before.take() else { return };
        for (key, old) in rows.into_iter().rev() {
            let now = self.by_key.remove(&key);
            tell(&key, now.as_ref().map(|now| &now.row), old.as_ref().map(|old| &old.row));
            // A hash that is kept beside a row is in the digest, and no other is.
            let put_back = match (now, old) {
                (Some(now), Some(old)) => Some(Kept { row: old.row, hash: now.hash }),
                (Some(now), None) => {
                    now.hash.into_iter().for_each(|hash| digest.remove(hash));
                    None
                }
                (None, Some(old)) => {
                    old.hash.into_iter().for_each(|hash| digest.insert(hash));
                    Some(old)
                }
                (None, None) => None,
            };
            if changed.is_none() {
                self.changed.push(key.clone());
            }
            if let Some(kept) = put_back {
                self.by_key.insert(key, kept);
            }
        }
        if let Some(changed) = changed {
            self.changed.truncate(changed);
        }
    }
}

impl<V: Row> Table for Rows<V> {
    fn rehash(&mut self, digest: &mut MultisetHash, scratch: &mut Vec<u8>) {
        for key in self.changed.drain(..) {
            if let Some(kept) = self.by_key.get_mut(&key) {
                scratch.clear();
                scratch.push(V::KIND);
                kept.row.encode(&key, scratch);
                let new = ElementHash::of(scratch);
                if let Some(old) = kept.hash.replace(new) {
                    digest.remove(old);
                }
                digest.insert(new);
            }
        }
        if let Some(before) = &mut self.before {
            before.changed = None;
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::try_from(self.len()).unwrap_or(0));
        for (key, row) in self.iter() {
            row.encode(key, out);
        }
    }

    fn decode(&mut self, reader: &mut Reader<'_>) -> Result<(), CodecError> {
        let count: usize = reader.number(V::NAME)?;
        for _ in 0..count {
            let (key, row) = V::decode(reader)?;
            if self.by_key.last_key_value().is_some_and(|(before, _)| *before >= key) {
                return Err(CodecError::NotCanonical(V::NAME));
            }
            self.set(key, row);
        }
        Ok(())
    }

    fn attempt(&mut self) {
        self.before = Some(Before { rows: Vec::new(), changed: Some(self.changed.len()) });
    }

    fn take_back(&mut self, digest: &mut MultisetHash) {
        self.take_back_each(digest, |_, _, _| {});
    }

    fn keep(&mut self) {
        self.before = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use event_schemas::{AccountId, CommandId};

    use super::super::Hold;
    use super::*;

    #[test]
    fn what_is_taken_back_does_not_pile_up() {
        let (mut rows, mut digest, mut scratch) = (Rows::<Hold>::default(), MultisetHash::default(), Vec::new());
        let hold = |left_minor| Hold { account: AccountId(1), left_minor, expires_at: None };
        rows.set(CommandId(1), hold(5));
        rows.rehash(&mut digest, &mut scratch);
        rows.set(CommandId(2), hold(6));
        let before = digest;
        for _ in 0..100 {
            rows.attempt();
            rows.remove(&CommandId(1), &mut digest);
            rows.set(CommandId(1), hold(7));
            rows.set(CommandId(2), hold(8));
            rows.set(CommandId(3), hold(9));
            rows.remove(&CommandId(3), &mut digest);
            rows.take_back(&mut digest);
        }
        assert_eq!((digest, rows.changed.len(), rows.len()), (before, 1, 2));
        assert_eq!((rows.get(&CommandId(1)), rows.get(&CommandId(2))), (Some(&hold(5)), Some(&hold(6))));
    }
}
