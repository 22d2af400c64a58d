//! Holds as the auditor sees them.

use event_schemas::bounds::{AMOUNT_MAX_MINOR, HOLDS_OPEN_MAX, TOTAL_MAX_MINOR};
use event_schemas::codec::{put_id, put_option, put_signed, put_time};
use event_schemas::digest::ElementHash;
use event_schemas::event::{HoldCaptured, HoldExpired, HoldPlaced, HoldVoided};
use event_schemas::{AccountId, Cause, CommandId, Currency, MultisetHash, Rejection, Sequence, Side, Timestamp};

use super::entries::Judged;
use super::{Auditor, Law, Status};

/// An open hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuditedHold {
    account: AccountId,
    currency: Currency,
    left_minor: i128,
    expires_at: Option<Timestamp>,
}

impl AuditedHold {
    pub(super) const fn account(&self) -> AccountId {
        self.account
    }
}

impl Auditor {
    pub(super) fn hold_placed(&mut self, sequence: Sequence, cause: Cause, placed: &HoldPlaced) {
        let (id, amount_minor) = (placed.account, placed.amount.amount_minor);
        if !(1..=AMOUNT_MAX_MINOR).contains(&amount_minor) {
            self.find(sequence, Law::HoldsAddUp, format!("{amount_minor} is held"));
        }
        if let (Some(deadline), Some(now)) = (placed.expires_at, self.time)
            && deadline <= now
        {
            self.find(sequence, Law::DeadlinesKept, format!("the deadline {deadline} is not after {now}"));
        }
        let Some(account) = self.accounts.get_mut(&id) else {
            return self.find(sequence, Law::AccountsOpen, format!("account {id} does not exist"));
        };
        account.held_minor = account.held_minor.saturating_add(amount_minor);
        let account = *account;
        if account.status != Status::Open {
            self.find(sequence, Law::AccountsOpen, format!("account {id} is {:?}", account.status));
        }
        if account.currency != placed.amount.currency {
            let text = format!("{:?} on account {id} of {:?}", placed.amount.currency, account.currency);
            self.find(sequence, Law::CurrencyMatches, text);
        }
        if account.kind.normal_side() == Side::Debit {
            self.find(sequence, Law::HoldsAddUp, format!("account {id} is raised by debits"));
        }
        if account.held_minor > TOTAL_MAX_MINOR {
            self.find(sequence, Law::TotalsInBounds, format!("{} is held on account {id}", account.held_minor));
        }
        if account.available_minor().is_some_and(|left| left < 0) {
            self.find(sequence, Law::PolicyRespected, format!("more is held on account {id} than is available"));
        }
        let Some(hold) = cause.verdict_of() else { return };
        self.judged.insert(hold, Judged::Hold);
        if let Some(deadline) = placed.expires_at {
            self.deadlines.insert((deadline, hold));
        }
        let (currency, expires_at) = (placed.amount.currency, placed.expires_at);
        self.holds.insert(hold, AuditedHold { account: id, currency, left_minor: amount_minor, expires_at });
        if self.holds.len() > HOLDS_OPEN_MAX {
            self.find(sequence, Law::HoldsAddUp, format!("{} holds are open", self.holds.len()));
        }
    }

    pub(super) fn hold_captured(&mut self, sequence: Sequence, captured: &HoldCaptured) {
        let taken = captured.postings.first().copied();
        let taken_minor = taken.map_or(0, |posting| posting.money.amount_minor);
        if let Some(hold) = self.open(sequence, captured.hold) {
            let gone_minor = taken_minor.saturating_add(captured.released_minor);
            let adds_up = captured.released_minor >= 0
                && captured.left_minor >= 0
                && hold.left_minor == gone_minor.saturating_add(captured.left_minor)
                && (captured.last || captured.released_minor == 0)
                && (!captured.last || captured.left_minor == 0);
            if !adds_up {
                let text = format!("hold {} had {}: {captured:?}", captured.hold, hold.left_minor);
                self.find(sequence, Law::HoldsAddUp, text);
            }
            if taken.is_none_or(|posting| posting.account != hold.account || posting.side != Side::Debit) {
                self.find(sequence, Law::HoldsAddUp, format!("hold {} is on another account", captured.hold));
            }
            self.in_time(sequence, captured.hold, &hold);
            // First the hold shrinks, then the entry is posted: so what was held may be taken.
            self.shrink(captured.hold, &hold, captured.left_minor);
        }
        self.entry_posted(sequence, captured.effective_on, &captured.postings);
    }

    pub(super) fn hold_voided(&mut self, sequence: Sequence, voided: &HoldVoided) {
        let Some(hold) = self.open(sequence, voided.hold) else { return };
        let released = (voided.account, voided.released.amount_minor, voided.released.currency);
        if released != (hold.account, hold.left_minor, hold.currency) {
            self.find(sequence, Law::HoldsAddUp, format!("{voided:?} of {hold:?}"));
        }
        self.in_time(sequence, voided.hold, &hold);
        self.shrink(voided.hold, &hold, 0);
    }

    pub(super) fn hold_expired(&mut self, sequence: Sequence, expired: &HoldExpired) {
        let Some(hold) = self.open(sequence, expired.hold) else { return };
        let released = (expired.account, expired.released.amount_minor, expired.released.currency);
        if released != (hold.account, hold.left_minor, hold.currency) {
            self.find(sequence, Law::HoldsAddUp, format!("{expired:?} of {hold:?}"));
        }
        if hold.expires_at != Some(expired.expires_at) || self.time.is_some_and(|now| expired.expires_at > now) {
            self.find(sequence, Law::DeadlinesKept, format!("hold {} is not due", expired.hold));
        } else if self.deadlines.first() != Some(&(expired.expires_at, expired.hold)) {
            self.find(sequence, Law::DeadlinesKept, format!("another hold is due before {}", expired.hold));
        }
        self.shrink(expired.hold, &hold, 0);
    }

    fn open(&mut self, sequence: Sequence, id: CommandId) -> Option<AuditedHold> {
        let hold = self.holds.get(&id).copied();
        if hold.is_none() {
            self.find(sequence, Law::HoldsAddUp, format!("hold {id} is not open"));
        }
        hold
    }

    fn in_time(&mut self, sequence: Sequence, id: CommandId, hold: &AuditedHold) {
        if let (Some(deadline), Some(now)) = (hold.expires_at, self.time)
            && deadline <= now
        {
            self.find(sequence, Law::DeadlinesKept, format!("the deadline of hold {id} was {deadline}"));
        }
    }

    fn shrink(&mut self, id: CommandId, hold: &AuditedHold, left_minor: i128) {
        if let Some(account) = self.accounts.get_mut(&hold.account) {
            let gone_minor = hold.left_minor.saturating_sub(left_minor);
            account.held_minor = account.held_minor.saturating_sub(gone_minor);
        }
        if left_minor > 0 {
            self.holds.insert(id, AuditedHold { left_minor, ..*hold });
        } else {
            self.holds.remove(&id);
            self.charged.remove(&id);
            if let Some(deadline) = hold.expires_at {
                self.deadlines.remove(&(deadline, id));
            }
        }
    }

    /// Whether what a rejection says of a hold is so.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller hands in the rejections of this part alone")]
    pub(super) fn hold_rejection_holds(&self, rejection: &Rejection) -> bool {
        let placed = |hold: &CommandId| self.judged.get(hold) == Some(&Judged::Hold);
        let passed = |deadline: Timestamp| self.time.is_none_or(|now| deadline <= now);
        match rejection {
            Rejection::ExpiryOutOfRange { after, latest } => {
                after < latest && self.time.is_none_or(|now| *after == now)
            }
            Rejection::HoldNotFound { hold } => !placed(hold),
            Rejection::HoldNotOpen { hold } => placed(hold) && !self.holds.contains_key(hold),
            Rejection::HoldExpired { hold, expires_at } => {
                let known = self.holds.get(hold).is_none_or(|open| open.expires_at == Some(*expires_at));
                placed(hold) && known && passed(*expires_at)
            }
            Rejection::CaptureAboveHold { hold, left_minor, required_minor } => {
                required_minor > left_minor && self.holds.get(hold).is_some_and(|open| open.left_minor == *left_minor)
            }
            Rejection::TooManyHolds { limit } => u64::try_from(self.holds.len()).is_ok_and(|open| open >= *limit),
            _ => false,
        }
    }

    pub(super) fn add_holds(&self, set: &mut MultisetHash) {
        let mut row = Vec::new();
        for (id, hold) in &self.holds {
            row.clear();
            row.push(2);
            put_id(&mut row, id.0);
            put_id(&mut row, hold.account.0);
            put_signed(&mut row, hold.left_minor);
            put_option(&mut row, hold.expires_at, put_time);
            set.insert(ElementHash::of(&row));
        }
    }
}
