//! What an event changes in the balances.

use event_schemas::command::{AccountAct, OpenAccount};
use event_schemas::entry::Entry;
use event_schemas::event::{Cause, HoldCaptured, HoldPlaced};
use event_schemas::{AccountId, CommandId, Event, EventBody, Sequence, Side};

use super::holds::{HOLDS, HoldRow, HoldStatus, OPEN_HOLDS, OpenHoldRow};
use super::rows::{ACCOUNTS, AccountRow, AccountStatus, BY_OWNER, DAYS, DayRow, OwnerRow};
use crate::Totals;
use crate::cache::Cached;
use crate::ports::{ReadRows, RowChanges, Table};
use crate::projection::{ApplyFault, Place, Projection};
use crate::table::Row;

/// The projection of balances.
#[derive(Debug, Default)]
pub struct Balances {
    accounts: Cached<AccountRow>,
    days: Cached<DayRow>,
    holds: Cached<HoldRow>,
}

impl Balances {
    fn opened(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        open: &OpenAccount,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        if self.accounts.get(rows, &open.account)?.is_some() {
            return Err(ApplyFault::Contradiction(format!("account {} is opened again", open.account)));
        }
        if !open.owner.is_empty() {
            let key = OwnerRow::key_bytes(&(open.owner.clone(), open.account));
            changes.rows.push((&BY_OWNER, key, Some(OwnerRow.value_bytes())));
        }
        let row = AccountRow {
            code: open.code.clone(),
            kind: open.kind,
            currency: open.currency,
            owner: open.owner.clone(),
            policy: open.policy,
            status: AccountStatus::Open,
            posted: Totals::default(),
            pending: Totals::default(),
            opened_sequence: place.sequence,
            opened_at: place.recorded_at,
            changed_sequence: place.sequence,
        };
        Ok(self.accounts.put(rows, &open.account, row)?)
    }

    fn status(
        &mut self,
        rows: &dyn ReadRows,
        sequence: Sequence,
        act: &AccountAct,
        status: AccountStatus,
    ) -> Result<(), ApplyFault> {
        let row = self
            .accounts
            .get_mut(rows, &act.account)?
            .ok_or_else(|| ApplyFault::Contradiction(format!("there is no account {}", act.account)))?;
        row.status = status;
        row.changed_sequence = sequence;
        Ok(())
    }

    fn posted(&mut self, rows: &dyn ReadRows, sequence: Sequence, entry: Entry<'_>) -> Result<(), ApplyFault> {
        for posting in entry.postings {
            let account = posting.account;
            let overflow = || ApplyFault::Contradiction(format!("the totals of account {account} overflow"));
            let row = self
                .accounts
                .get_mut(rows, &account)?
                .ok_or_else(|| ApplyFault::Contradiction(format!("a posting to {account}, which is no account")))?;
            if row.currency != posting.money.currency {
                return Err(ApplyFault::Contradiction(format!("a posting in another currency to {account}")));
            }
            row.posted = row.posted.plus(posting.side, posting.money.amount_minor).ok_or_else(overflow)?;
            row.changed_sequence = sequence;
            let day = self.days.get_or_default(rows, &(account, entry.effective_on))?;
            day.totals = day.totals.plus(posting.side, posting.money.amount_minor).ok_or_else(overflow)?;
        }
        Ok(())
    }

    /// Changes what is held on an account. Money is held on accounts that debits lower, so it is pending debits.
    fn held(
        &mut self,
        rows: &dyn ReadRows,
        sequence: Sequence,
        account: AccountId,
        by_minor: i128,
    ) -> Result<(), ApplyFault> {
        let row = self
            .accounts
            .get_mut(rows, &account)?
            .ok_or_else(|| ApplyFault::Contradiction(format!("a hold on {account}, which is no account")))?;
        row.pending = row
            .pending
            .plus(Side::Debit, by_minor)
            .ok_or_else(|| ApplyFault::Contradiction(format!("what is held on {account} leaves its bounds")))?;
        row.changed_sequence = sequence;
        Ok(())
    }

    fn placed(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        cause: Cause,
        placed: &HoldPlaced,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        let hold =
            cause.verdict_of().ok_or_else(|| ApplyFault::Contradiction("a hold that no command placed".into()))?;
        if self.holds.get(rows, &hold)?.is_some() {
            return Err(ApplyFault::Contradiction(format!("hold {hold} is placed again")));
        }
        self.held(rows, place.sequence, placed.account, placed.amount.amount_minor)?;
        let row = HoldRow {
            account: placed.account,
            amount_minor: placed.amount.amount_minor,
            currency: placed.amount.currency,
            left_minor: placed.amount.amount_minor,
            captured_minor: 0,
            expires_at: placed.expires_at,
            reference: placed.reference.clone(),
            status: HoldStatus::Open,
            placed_sequence: place.sequence,
            placed_at: place.recorded_at,
            changed_sequence: place.sequence,
        };
        let key = OpenHoldRow::key_bytes(&(placed.account, hold));
        changes.rows.push((&OPEN_HOLDS, key, Some(OpenHoldRow.value_bytes())));
        Ok(self.holds.put(rows, &hold, row)?)
    }

    /// Takes from an open hold what was captured and what was released; a hold of which nothing is left ends as `ended`.
    fn taken(
        &mut self,
        rows: &dyn ReadRows,
        sequence: Sequence,
        hold: CommandId,
        (captured_minor, released_minor): (i128, i128),
        ended: HoldStatus,
        changes: &mut RowChanges,
    ) -> Result<i128, ApplyFault> {
        let row = self
            .holds
            .get_mut(rows, &hold)?
            .filter(|row| row.status == HoldStatus::Open)
            .ok_or_else(|| ApplyFault::Contradiction(format!("hold {hold} is not open")))?;
        let taken_minor = captured_minor
            .checked_add(released_minor)
            .filter(|taken| captured_minor >= 0 && released_minor >= 0 && *taken <= row.left_minor)
            .ok_or_else(|| ApplyFault::Contradiction(format!("more is taken from hold {hold} than is left of it")))?;
        row.left_minor -= taken_minor;
        row.captured_minor += captured_minor;
        row.changed_sequence = sequence;
        let (account, left_minor) = (row.account, row.left_minor);
        if left_minor == 0 {
            row.status = ended;
            changes.rows.push((&OPEN_HOLDS, OpenHoldRow::key_bytes(&(account, hold)), None));
        }
        self.held(rows, sequence, account, -taken_minor)?;
        Ok(left_minor)
    }

    fn captured(
        &mut self,
        rows: &dyn ReadRows,
        sequence: Sequence,
        captured: &HoldCaptured,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        let hold = captured.hold;
        let account = self.holds.get(rows, &hold)?.map(|row| row.account);
        let debits = captured.postings.iter().filter(|one| one.side == Side::Debit && Some(one.account) == account);
        let captured_minor = debits.map(|posting| posting.money.amount_minor).sum();
        let taken = (captured_minor, captured.released_minor);
        let left_minor = self.taken(rows, sequence, hold, taken, HoldStatus::Captured, changes)?;
        if left_minor != captured.left_minor {
            let said = captured.left_minor;
            return Err(ApplyFault::Contradiction(format!("{left_minor} is left of hold {hold}, not {said}")));
        }
        Ok(())
    }

    /// A hold that a command or its deadline ended: all of it is released.
    fn released(
        &mut self,
        rows: &dyn ReadRows,
        sequence: Sequence,
        (hold, released_minor): (CommandId, i128),
        ended: HoldStatus,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        match self.taken(rows, sequence, hold, (0, released_minor), ended, changes)? {
            0 => Ok(()),
            left => Err(ApplyFault::Contradiction(format!("{left} is left of hold {hold}, which has ended"))),
        }
    }
}

impl Projection for Balances {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&ACCOUNTS, &BY_OWNER, &DAYS, &HOLDS, &OPEN_HOLDS];
        TABLES
    }

    fn apply(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        event: &Event,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        let sequence = place.sequence;
        if let Some(entry) = event.body.entry() {
            self.posted(rows, sequence, entry)?;
        }
        match &event.body {
            EventBody::AccountOpened(open) => self.opened(rows, place, open, changes),
            EventBody::AccountFrozen(act) => self.status(rows, place.sequence, act, AccountStatus::Frozen),
            EventBody::AccountUnfrozen(act) => self.status(rows, place.sequence, act, AccountStatus::Open),
            EventBody::AccountClosed(act) => self.status(rows, place.sequence, act, AccountStatus::Closed),
            EventBody::HoldPlaced(placed) => self.placed(rows, place, event.cause, placed, changes),
            EventBody::HoldCaptured(captured) => self.captured(rows, sequence, captured, changes),
            EventBody::HoldVoided(voided) => {
                let released = (voided.hold, voided.released.amount_minor);
                self.released(rows, sequence, released, HoldStatus::Voided, changes)
            }
            EventBody::HoldExpired(expired) => {
                let released = (expired.hold, expired.released.amount_minor);
                self.released(rows, sequence, released, HoldStatus::Expired, changes)
            }
            // Entries are posted above.
            EventBody::EntryPosted(_)
            | EventBody::EntryReversed(_)
            | EventBody::BookOpened(_)
            | EventBody::CommandRejected(_)
            | EventBody::StateDigest(_)
            | EventBody::ClockAccepted(_)
            | EventBody::LimitsSet(_)
            | EventBody::LimitCharged(_)
            | EventBody::LimitReleased(_)
            | EventBody::CalendarPublished(_)
            | EventBody::FeeRuleSet(_)
            | EventBody::PeriodClosed(_)
            | EventBody::NotificationPreferencesSet(_)
            | EventBody::RateSheetPublished(_)
            | EventBody::ConversionPosted(_)
            | EventBody::JournalRestored(_)
            | EventBody::ControlRecorded(_)
            | EventBody::AccessLogged(_) => Ok(()),
        }
    }

    fn flush(&mut self, changes: &mut RowChanges) {
        self.accounts.flush(changes);
        self.days.flush(changes);
        self.holds.flush(changes);
    }

    fn pending(&self) -> usize {
        self.accounts.pending() + self.days.pending() + self.holds.pending()
    }
}
