//! What is held: open holds by id, and by deadline.

use std::collections::BTreeSet;

use event_schemas::bounds::TOTAL_MAX_MINOR;
use event_schemas::codec::{CodecError, Reader, put_id, put_option, put_signed, put_time};
use event_schemas::event::{HoldCaptured, HoldExpired, HoldPlaced, HoldVoided};
use event_schemas::{AccountId, CommandId, MultisetHash, Timestamp};

use super::rows::{Row, Rows, Table};
use super::{ApplyError, State};

/// An open hold. One that has ended is forgotten: the journal has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// The account it is on.
    pub account: AccountId,
    /// What is left of it, in minor units of the account's currency; above zero.
    pub left_minor: i128,
    /// Its deadline.
    pub expires_at: Option<Timestamp>,
}

impl Row for Hold {
    type Key = CommandId;
    const KIND: u8 = 2;
    const NAME: &'static str = "holds";

    fn encode(&self, id: &CommandId, out: &mut Vec<u8>) {
        put_id(out, id.0);
        put_id(out, self.account.0);
        put_signed(out, self.left_minor);
        put_option(out, self.expires_at, put_time);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<(CommandId, Self), CodecError> {
        let (id, account) = (CommandId(reader.id("hold")?), AccountId(reader.id("account")?));
        let (left_minor, expires_at) = (reader.signed("left")?, reader.option("deadline", Reader::time)?);
        Ok((id, Self { account, left_minor, expires_at }))
    }
}

/// All open holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Holds {
    rows: Rows<Hold>,
    deadlines: BTreeSet<(Timestamp, CommandId)>,
}

impl Holds {
    fn open(&mut self, id: CommandId, hold: Hold) {
        if let Some(deadline) = hold.expires_at {
            self.deadlines.insert((deadline, id));
        }
        self.rows.set(id, hold);
    }
}

impl Table for Holds {
    fn rehash(&mut self, digest: &mut MultisetHash, scratch: &mut Vec<u8>) {
        self.rows.rehash(digest, scratch);
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.rows.encode(out);
    }

    fn decode(&mut self, reader: &mut Reader<'_>) -> Result<(), CodecError> {
        self.rows.decode(reader)?;
        let deadline = |(id, hold): (&CommandId, &Hold)| hold.expires_at.map(|deadline| (deadline, *id));
        self.deadlines = self.rows.iter().filter_map(deadline).collect();
        Ok(())
    }

    fn attempt(&mut self) {
        self.rows.attempt();
    }

    fn take_back(&mut self, digest: &mut MultisetHash) {
        let deadlines = &mut self.deadlines;
        self.rows.take_back_each(digest, |id, now, before| {
            if let Some(deadline) = now.and_then(|hold| hold.expires_at) {
                deadlines.remove(&(deadline, *id));
            }
            if let Some(deadline) = before.and_then(|hold| hold.expires_at) {
                deadlines.insert((deadline, *id));
            }
        });
    }

    fn keep(&mut self) {
        self.rows.keep();
    }
}

impl State {
    /// The open hold of this id.
    pub fn hold(&self, id: CommandId) -> Option<&Hold> {
        self.tables.holds.rows.get(&id)
    }

    /// How many holds are open.
    pub fn holds_open(&self) -> usize {
        self.tables.holds.rows.len()
    }

    /// The earliest deadline of an open hold, and the hold: the next to expire.
    #[inline]
    pub fn next_deadline(&self) -> Option<(Timestamp, CommandId)> {
        self.tables.holds.deadlines.first().copied()
    }

    /// How many holds are due at a time; counted up to `most`.
    pub fn due(&self, at: Timestamp, most: usize) -> usize {
        self.tables.holds.deadlines.range(..=(at, CommandId(u128::MAX))).take(most).count()
    }

    pub(super) fn place_hold(&mut self, id: CommandId, placed: &HoldPlaced) -> Result<(), ApplyError> {
        if self.hold(id).is_some() {
            return Err(ApplyError::HoldExists(id));
        }
        if placed.amount.amount_minor <= 0 {
            return Err(ApplyError::HoldDiffers(id));
        }
        self.add_pending(placed.account, placed.amount.amount_minor)?;
        let left_minor = placed.amount.amount_minor;
        self.tables.holds.open(id, Hold { account: placed.account, left_minor, expires_at: placed.expires_at });
        Ok(())
    }

    pub(super) fn capture_hold(&mut self, captured: &HoldCaptured) -> Result<(), ApplyError> {
        let id = captured.hold;
        let hold = *self.hold(id).ok_or(ApplyError::HoldNotFound(id))?;
        let taken = captured.postings.first().ok_or(ApplyError::HoldDiffers(id))?;
        let whole_minor = taken
            .money
            .amount_minor
            .checked_add(captured.released_minor)
            .and_then(|sum| sum.checked_add(captured.left_minor));
        let fits = taken.account == hold.account
            && whole_minor == Some(hold.left_minor)
            && taken.money.amount_minor >= 0
            && captured.released_minor >= 0
            && captured.left_minor >= 0;
        if !fits {
            return Err(ApplyError::HoldDiffers(id));
        }
        self.post(&captured.postings)?;
        let gone_minor = hold.left_minor.saturating_sub(captured.left_minor);
        self.add_pending(hold.account, gone_minor.saturating_neg()).expect("what was held can be taken away");
        if captured.left_minor > 0 {
            self.tables.holds.rows.set(id, Hold { left_minor: captured.left_minor, ..hold });
        } else {
            self.close_hold(id, &hold);
        }
        Ok(())
    }

    pub(super) fn void_hold(&mut self, voided: &HoldVoided) -> Result<(), ApplyError> {
        self.release(voided.hold, voided.account, voided.released.amount_minor)
    }

    pub(super) fn expire_hold(&mut self, expired: &HoldExpired) -> Result<(), ApplyError> {
        self.release(expired.hold, expired.account, expired.released.amount_minor)
    }

    fn release(&mut self, id: CommandId, account: AccountId, released_minor: i128) -> Result<(), ApplyError> {
        let hold = *self.hold(id).ok_or(ApplyError::HoldNotFound(id))?;
        if hold.account != account || hold.left_minor != released_minor {
            return Err(ApplyError::HoldDiffers(id));
        }
        self.add_pending(account, released_minor.saturating_neg())?;
        self.close_hold(id, &hold);
        Ok(())
    }

    fn close_hold(&mut self, id: CommandId, hold: &Hold) {
        if let Some(deadline) = hold.expires_at {
            self.tables.holds.deadlines.remove(&(deadline, id));
        }
        self.tables.holds.rows.remove(&id, &mut self.digest);
        self.tables.charged.remove(&id, &mut self.digest);
    }

    fn add_pending(&mut self, id: AccountId, minor: i128) -> Result<(), ApplyError> {
        let place = self.place(id).ok_or(ApplyError::AccountNotFound(id))?;
        let account = self.accounts.get_mut(place).ok_or(ApplyError::AccountNotFound(id))?;
        if let Some(before) = &mut self.before {
            before.note(place, account);
        }
        let sum = account.debits_pending_minor.checked_add(minor);
        account.debits_pending_minor =
            sum.filter(|sum| (0..=TOTAL_MAX_MINOR).contains(sum)).ok_or(ApplyError::Overflow(id))?;
        self.touch(place);
        Ok(())
    }
}
