//! What an event changes in the balances.

use event_schemas::command::{AccountAct, OpenAccount};
use event_schemas::event::EntryPosted;
use event_schemas::{Event, EventBody, Sequence};

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

    fn posted(&mut self, rows: &dyn ReadRows, sequence: Sequence, entry: &EntryPosted) -> Result<(), ApplyFault> {
        for posting in &entry.postings {
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
}

impl Projection for Balances {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&ACCOUNTS, &BY_OWNER, &DAYS];
        TABLES
    }

    fn apply(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        event: &Event,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        match &event.body {
            EventBody::AccountOpened(open) => self.opened(rows, place, open, changes),
            EventBody::AccountFrozen(act) => self.status(rows, place.sequence, act, AccountStatus::Frozen),
            EventBody::AccountUnfrozen(act) => self.status(rows, place.sequence, act, AccountStatus::Open),
            EventBody::AccountClosed(act) => self.status(rows, place.sequence, act, AccountStatus::Closed),
            EventBody::EntryPosted(entry) => self.posted(rows, place.sequence, entry),
            EventBody::BookOpened(_)
            | EventBody::CommandRejected(_)
            | EventBody::StateDigest(_)
            | EventBody::ClockAccepted(_) => Ok(()),
        }
    }

    fn flush(&mut self, changes: &mut RowChanges) {
        self.accounts.flush(changes);
        self.days.flush(changes);
    }

    fn pending(&self) -> usize {
        self.accounts.pending() + self.days.pending()
    }
}
