//! What was taken back: for each entry that was ever reversed, how much of each of its postings.

use event_schemas::CommandId;
use event_schemas::codec::{CodecError, Reader, put_id, put_signed, put_varint};
use event_schemas::event::EntryReversed;
use event_schemas::sabotage::{Switch, on};

use super::rows::Row;
use super::{ApplyError, State};

/// What was reversed of an entry: the places of its postings, ascending, and the minor units reversed of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reversed(Vec<(u32, i128)>);

impl Reversed {
    fn minor(&self, posting: u32) -> i128 {
        self.0
            .binary_search_by_key(&posting, |(place, _)| *place)
            .ok()
            .and_then(|at| self.0.get(at))
            .map_or(0, |(_, minor)| *minor)
    }

    /// Adds a part; `None` if the sum leaves its bounds.
    fn add(&mut self, posting: u32, minor: i128) -> Option<()> {
        match self.0.binary_search_by_key(&posting, |(place, _)| *place) {
            Ok(at) => {
                let (_, sum) = self.0.get_mut(at)?;
                *sum = sum.checked_add(minor)?;
            }
            Err(at) => self.0.insert(at, (posting, minor)),
        }
        Some(())
    }
}

impl Row for Reversed {
    type Key = CommandId;
    const KIND: u8 = 3;
    const NAME: &'static str = "reversed entries";

    fn encode(&self, id: &CommandId, out: &mut Vec<u8>) {
        put_id(out, id.0);
        put_varint(out, u128::try_from(self.0.len()).unwrap_or(0));
        for (place, minor) in &self.0 {
            put_varint(out, u128::from(*place));
            put_signed(out, *minor);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<(CommandId, Self), CodecError> {
        let id = CommandId(reader.id("entry")?);
        let places: usize = reader.number("reversed postings")?;
        let mut reversed = Self::default();
        for _ in 0..places {
            let (place, minor) = (reader.number("place of a posting")?, reader.signed("reversed")?);
            if reversed.0.last().is_some_and(|(before, _)| *before >= place) {
                return Err(CodecError::NotCanonical("reversed postings"));
            }
            reversed.0.push((place, minor));
        }
        Ok((id, reversed))
    }
}

impl State {
    /// How much of a posting of an entry was reversed, in minor units.
    pub fn reversed_minor(&self, entry: CommandId, posting: u32) -> i128 {
        self.tables
            .reversed
            .get(&entry)
            .filter(|_| !on(Switch::ReversedTwice))
            .map_or(0, |reversed| reversed.minor(posting))
    }

    pub(super) fn reverse(&mut self, reversal: &EntryReversed) -> Result<(), ApplyError> {
        let id = reversal.entry;
        let mut reversed = self.tables.reversed.get(&id).cloned().unwrap_or_default();
        for (posting, place) in reversal.postings.iter().zip(&reversal.places) {
            reversed.add(*place, posting.money.amount_minor).ok_or(ApplyError::ReversalTooLarge(id))?;
        }
        self.post(&reversal.postings)?;
        self.tables.reversed.set(id, reversed);
        Ok(())
    }
}
