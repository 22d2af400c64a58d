//! What the auditor remembers of every command: whether it posted an entry, and with which postings, for the day on which it
//! is reversed.

use event_schemas::codec::{Reader, put_id, put_signed, put_varint};
use event_schemas::digest::ElementHash;
use event_schemas::event::EntryReversed;
use event_schemas::{Cause, CommandId, MultisetHash, Posting, Rejection, Sequence, Side};

use super::{Auditor, Law};

/// What a command got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// An entry or a capture, whose postings are kept behind this offset, and its sequence.
    Entry(u64, Sequence),
    /// A reversal.
    Reversal,
    /// A hold, with or without a deadline.
    Hold,
    /// Anything else, a refusal above all.
    Other,
}

/// Postings, packed: a number of postings, then for each the number of its account and its side, and its amount.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries(Vec<u8>);

/// A posting as it is kept: which account, which side, how many minor units.
type Kept = (u32, Side, i128);

impl Entries {
    fn read(&self, offset: u64) -> Option<Vec<Kept>> {
        let mut reader = Reader::new(self.0.get(usize::try_from(offset).ok()?..)?);
        let count: usize = reader.number("postings").ok()?;
        (0..count)
            .map(|_| {
                let tag: u64 = reader.number("account").ok()?;
                let side = if tag & 1 == 0 { Side::Debit } else { Side::Credit };
                Some((u32::try_from(tag >> 1).ok()?, side, reader.signed("amount").ok()?))
            })
            .collect()
    }
}

impl Auditor {
    /// The number of an account; one that does not exist has none, which is found elsewhere.
    fn number(&self, posting: &Posting) -> u32 {
        self.accounts.get(&posting.account).map_or(u32::MAX, |account| account.number)
    }

    /// Remembers the postings of an entry.
    pub(super) fn keep_entry(&mut self, cause: Cause, postings: &[Posting]) {
        let Some(command) = cause.verdict_of() else { return };
        let offset = u64::try_from(self.entries.0.len()).unwrap_or(u64::MAX);
        put_varint(&mut self.entries.0, u128::try_from(postings.len()).unwrap_or(0));
        for posting in postings {
            let side = u128::from(posting.side == Side::Credit);
            let tag = (u128::from(self.number(posting)) << 1) | side;
            put_varint(&mut self.entries.0, tag);
            put_signed(&mut self.entries.0, posting.money.amount_minor);
        }
        self.judged.insert(command, Judged::Entry(offset, self.last));
    }

    pub(super) fn entry_reversed(&mut self, sequence: Sequence, cause: Cause, reversed: &EntryReversed) {
        if let Some(command) = cause.verdict_of() {
            self.judged.insert(command, Judged::Reversal);
        }
        let id = reversed.entry;
        let original = match self.judged.get(&id) {
            Some(Judged::Entry(offset, at)) if *at == reversed.reverses => self.entries.read(*offset),
            _ => None,
        };
        let Some(original) = original else {
            let text = format!("command {id} posted no entry at {}", reversed.reverses);
            self.find(sequence, Law::ReversedAtMostOnce, text);
            return self.entry_posted(sequence, reversed.effective_on, &reversed.postings);
        };
        if reversed.places.len() != reversed.postings.len() {
            self.find(sequence, Law::ReversedAtMostOnce, "a posting without a place in the original".into());
        }
        for (posting, place) in reversed.postings.iter().zip(&reversed.places) {
            let of = usize::try_from(*place).ok().and_then(|place| original.get(place)).copied();
            let mirrored = of.is_some_and(|(number, side, _)| number == self.number(posting) && side != posting.side);
            if !mirrored {
                self.find(sequence, Law::ReversedAtMostOnce, format!("posting {place} of command {id} is another"));
            }
            let sum = self.reversed.entry((id, *place)).or_default();
            *sum = sum.saturating_add(posting.money.amount_minor);
            let sum = *sum;
            if let Some((_, _, posted)) = of
                && sum > posted
            {
                let text = format!("of posting {place} of command {id}, {sum} of {posted} is reversed");
                self.find(sequence, Law::ReversedAtMostOnce, text);
            }
        }
        self.entry_posted(sequence, reversed.effective_on, &reversed.postings);
    }

    /// What is left of each posting of an entry.
    fn left(&self, entry: CommandId) -> Option<Vec<i128>> {
        let Some(Judged::Entry(offset, _)) = self.judged.get(&entry) else { return None };
        let left = (0_u32..).zip(self.entries.read(*offset)?).map(|(place, (_, _, posted))| {
            posted.saturating_sub(self.reversed.get(&(entry, place)).copied().unwrap_or(0))
        });
        Some(left.collect())
    }

    /// Whether what a rejection says of an original is so.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller hands in the rejections of this part alone")]
    pub(super) fn reversal_rejection_holds(&self, rejection: &Rejection) -> bool {
        // The verdict of the refused command itself stands among the others by now; the id it names may be its own.
        let judged = |entry: &CommandId| self.judged.get(entry);
        match rejection {
            Rejection::OriginalNotFound { entry } => judged(entry).is_none() || self.judging == Some(*entry),
            Rejection::OriginalNotAnEntry { entry } => matches!(judged(entry), Some(Judged::Hold | Judged::Other)),
            Rejection::OriginalIsReversal { entry } => judged(entry) == Some(&Judged::Reversal),
            Rejection::OriginalReversed { entry } => {
                self.left(*entry).is_some_and(|left| left.iter().all(|left| *left <= 0))
            }
            Rejection::ReversalAboveOriginal { entry, posting, left_minor, required_minor } => {
                // A posting may be named more than once, so less may be left than before the command.
                let place = usize::try_from(*posting).unwrap_or(usize::MAX);
                let most = self.left(*entry).map(|left| left.get(place).copied().unwrap_or(0));
                required_minor > left_minor && most.is_some_and(|most| *left_minor <= most)
            }
            _ => false,
        }
    }

    pub(super) fn add_reversed(&self, set: &mut MultisetHash) {
        let mut rows = std::collections::BTreeMap::<CommandId, Vec<(u32, i128)>>::new();
        for ((entry, place), minor) in &self.reversed {
            rows.entry(*entry).or_default().push((*place, *minor));
        }
        let mut row = Vec::new();
        for (entry, places) in rows {
            row.clear();
            row.push(3);
            put_id(&mut row, entry.0);
            put_varint(&mut row, u128::try_from(places.len()).unwrap_or(0));
            for (place, minor) in places {
                put_varint(&mut row, u128::from(place));
                put_signed(&mut row, minor);
            }
            set.insert(ElementHash::of(&row));
        }
    }
}
