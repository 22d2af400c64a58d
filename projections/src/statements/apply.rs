//! What an event adds to the statements.

use std::collections::{HashMap, hash_map};
use std::ops::ControlFlow;

use event_schemas::entry::Entry;
use event_schemas::{AccountId, Cause, CommandId, Event, EventBody, PrincipalId, Sequence, Timestamp};
use foldhash::quality::RandomState;

use super::queries::totals_at;
use super::rows::{POSTINGS, PostingKey, PostingRow, TIMES, TimeRow};
use crate::Totals;
use crate::cache::CACHE_MAX_ROWS;
use crate::ports::{ReadRows, RowChanges, RowsFault, Table};
use crate::projection::{ApplyFault, Place, Projection};
use crate::table::{Row, scan};

/// The projection of statements.
#[derive(Debug, Default)]
pub struct Statements {
    /// The totals after the newest posting of an account.
    heads: HashMap<AccountId, Totals, RandomState>,
    /// The newest time of recording, once it is known.
    newest: Option<Timestamp>,
    /// The last sequence recorded at the newest time, while its row is not handed over.
    unwritten: Option<(Timestamp, Sequence)>,
    /// New rows, not handed over.
    postings: Vec<(PostingKey, Vec<u8>)>,
}

impl Statements {
    fn recorded(&mut self, rows: &dyn ReadRows, place: Place, changes: &mut RowChanges) -> Result<(), ApplyFault> {
        let newest = match self.newest {
            Some(newest) => newest,
            None => newest_time(rows)?.unwrap_or(place.recorded_at),
        };
        if place.recorded_at < newest {
            return Err(ApplyFault::Contradiction(format!("recorded at {}, before {newest}", place.recorded_at)));
        }
        if place.recorded_at > newest {
            self.write_time(changes);
        }
        self.newest = Some(place.recorded_at);
        self.unwritten = Some((place.recorded_at, place.sequence));
        Ok(())
    }

    fn write_time(&mut self, changes: &mut RowChanges) {
        if let Some((time, sequence)) = self.unwritten.take() {
            changes.rows.push((&TIMES, TimeRow::key_bytes(&time), Some(TimeRow { sequence }.value_bytes())));
        }
    }

    fn posted(&mut self, rows: &dyn ReadRows, place: Place, cause: Cause, entry: Entry<'_>) -> Result<(), ApplyFault> {
        let (command, actor) = cause.command().unwrap_or((CommandId(0), PrincipalId::ENGINE));
        for (posting, index) in entry.postings.iter().zip(0_u16..) {
            let account = posting.account;
            let head = match self.heads.entry(account) {
                hash_map::Entry::Occupied(found) => found.into_mut(),
                hash_map::Entry::Vacant(free) => free.insert(totals_at(rows, account, Sequence(u64::MAX))?),
            };
            *head = head
                .plus(posting.side, posting.money.amount_minor)
                .ok_or_else(|| ApplyFault::Contradiction(format!("the totals of account {account} overflow")))?;
            let key = PostingKey { account, sequence: place.sequence, posting: index };
            let row = PostingRow {
                side: posting.side,
                amount_minor: posting.money.amount_minor,
                currency: posting.money.currency,
                after: *head,
                effective_on: entry.effective_on,
                recorded_at: place.recorded_at,
                origin: entry.origin,
                reference: entry.reference.into(),
                command,
                actor,
            };
            self.postings.push((key, row.value_bytes()));
        }
        Ok(())
    }
}

fn newest_time(rows: &dyn ReadRows) -> Result<Option<Timestamp>, RowsFault> {
    let mut newest = None;
    scan::<TimeRow>(rows, &[], None, true, &mut |time, _| {
        newest = Some(time);
        ControlFlow::Break(())
    })?;
    Ok(newest)
}

impl Projection for Statements {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&POSTINGS, &TIMES];
        TABLES
    }

    fn apply(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        event: &Event,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        self.recorded(rows, place, changes)?;
        if let Some(entry) = event.body.entry() {
            return self.posted(rows, place, event.cause, entry);
        }
        match &event.body {
            EventBody::AccountOpened(open) => {
                // A new account has no postings: knowing that saves looking for them.
                self.heads.insert(open.account, Totals::default());
                Ok(())
            }
            EventBody::AccountFrozen(_)
            | EventBody::AccountUnfrozen(_)
            | EventBody::AccountClosed(_)
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
            | EventBody::AccessLogged(_)
            | EventBody::EntryPosted(_)
            | EventBody::EntryReversed(_)
            | EventBody::HoldPlaced(_)
            | EventBody::HoldCaptured(_)
            | EventBody::HoldVoided(_)
            | EventBody::HoldExpired(_) => Ok(()),
        }
    }

    fn flush(&mut self, changes: &mut RowChanges) {
        self.write_time(changes);
        // In the order of keys: a store that keeps rows in order takes them faster so.
        self.postings.sort_unstable_by_key(|(key, _)| *key);
        let rows = self.postings.drain(..);
        changes.rows.extend(rows.map(|(key, value)| (&POSTINGS, PostingRow::key_bytes(&key), Some(value))));
        if self.heads.len() > CACHE_MAX_ROWS {
            self.heads.clear();
        }
    }

    fn pending(&self) -> usize {
        self.postings.len() + usize::from(self.unwritten.is_some())
    }
}
