//! What is held: open holds by id, and by deadline.

use std::collections::BTreeSet;

use event_schemas::bounds::TOTAL_MAX_MINOR;
use event_schemas::codec::{CodecError, Reader, put_id, put_option, put_signed, put_time, put_varint};
use event_schemas::event::{HoldCaptured, HoldExpired, HoldPlaced, HoldVoided};
use event_schemas::{AccountId, CommandId, Timestamp};

use super::rows::{Row, Rows};
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
    const KIND: u8 = 2;

    fn encode(&self, id: CommandId, out: &mut Vec<u8>) {
        put_id(out, id.0);
        put_id(out, self.account.0);
        put_signed(out, self.left_minor);
        put_option(out, self.expires_at, put_time);
    }
}

/// All open holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Holds {
    pub(super) rows: Rows<Hold>,
    deadlines: BTreeSet<(Timestamp, CommandId)>,
}

impl Holds {
    fn open(&mut self, id: CommandId, hold: Hold) {
        if let Some(deadline) = hold.expires_at {
            self.deadlines.insert((deadline, id));
        }
        self.rows.set(id, hold);
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::try_from(self.rows.len()).unwrap_or(0));
        for (id, hold) in self.rows.iter() {
            hold.encode(id, out);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut holds = Self::default();
        let count: usize = reader.number("holds")?;
        let mut before = None;
        for _ in 0..count {
            let id = CommandId(reader.id("hold")?);
            if before.replace(id).is_some_and(|before| before >= id) {
                return Err(CodecError::NotCanonical("holds"));
            }
            let account = AccountId(reader.id("account")?);
            let (left_minor, expires_at) = (reader.signed("left")?, reader.option("deadline", Reader::time)?);
            holds.open(id, Hold { account, left_minor, expires_at });
        }
        Ok(holds)
    }
}

impl State {
    /// The open hold of this id.
    pub fn hold(&self, id: CommandId) -> Option<&Hold> {
        self.holds.rows.get(id)
    }

    /// How many holds are open.
    pub fn holds_open(&self) -> usize {
        self.holds.rows.len()
    }

    /// The earliest deadline of an open hold, and the hold: the next to expire.
    #[inline]
    pub fn next_deadline(&self) -> Option<(Timestamp, CommandId)> {
        self.holds.deadlines.first().copied()
    }

    /// How many holds are due at a time; counted up to `most`.
    pub fn due(&self, at: Timestamp, most: usize) -> usize {
        self.holds.deadlines.range(..=(at, CommandId(u128::MAX))).take(most).count()
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
        self.holds.open(id, Hold { account: placed.account, left_minor, expires_at: placed.expires_at });
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
            self.holds.rows.set(id, Hold { left_minor: captured.left_minor, ..hold });
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
            self.holds.deadlines.remove(&(deadline, id));
        }
        self.holds.rows.remove(id, &mut self.digest);
    }

    fn add_pending(&mut self, id: AccountId, minor: i128) -> Result<(), ApplyError> {
        let place = self.place(id).ok_or(ApplyError::AccountNotFound(id))?;
        let account = self.accounts.get_mut(place).ok_or(ApplyError::AccountNotFound(id))?;
        let sum = account.debits_pending_minor.checked_add(minor);
        account.debits_pending_minor =
            sum.filter(|sum| (0..=TOTAL_MAX_MINOR).contains(sum)).ok_or(ApplyError::Overflow(id))?;
        self.touch(place);
        Ok(())
    }
}
