//! What an event adds to the trial balance.

use event_schemas::entry::Entry;
use event_schemas::{Currency, Event, EventBody, Side};
use smallvec::SmallVec;

use super::rows::{ACCOUNTS, BOOK, BookRow, KindRow, TOTALS, TotalsRow};
use crate::Totals;
use crate::cache::Cached;
use crate::ports::{ReadRows, RowChanges, RowsFault, Table};
use crate::projection::{ApplyFault, Place, Projection};

/// The projection of the trial balance.
#[derive(Debug, Default)]
pub struct TrialBalances {
    kinds: Cached<KindRow>,
    totals: Cached<TotalsRow>,
    book: Cached<BookRow>,
}

impl TrialBalances {
    fn posted(&mut self, rows: &dyn ReadRows, entry: Entry<'_>) -> Result<(), ApplyFault> {
        let mut sums: SmallVec<[(Currency, Totals); 2]> = SmallVec::new();
        for posting in entry.postings {
            let money = posting.money;
            let overflow = || ApplyFault::Contradiction(format!("an entry overflows in {}", money.currency));
            let kind = self
                .kinds
                .get(rows, &posting.account)?
                .ok_or_else(|| ApplyFault::Contradiction(format!("there is no account {}", posting.account)))?
                .kind;
            let row = self.totals.get_or_default(rows, &(money.currency, kind.number()))?;
            row.postings += 1;
            // The sum over many accounts may pass the bound of one, so it is checked against 128 bits only.
            let one = match posting.side {
                Side::Debit => Totals { debits_minor: money.amount_minor, credits_minor: 0 },
                Side::Credit => Totals { debits_minor: 0, credits_minor: money.amount_minor },
            };
            row.totals = row.totals.sum(one).ok_or_else(overflow)?;
            match sums.iter_mut().find(|(currency, _)| *currency == money.currency) {
                Some((_, sum)) => *sum = sum.sum(one).ok_or_else(overflow)?,
                None => sums.push((money.currency, one)),
            }
        }
        if let Some((currency, _)) = sums.iter().find(|(_, sum)| sum.debits_minor != sum.credits_minor) {
            return Err(ApplyFault::Contradiction(format!("an entry whose debits and credits differ in {currency}")));
        }
        self.book.get_or_default(rows, &())?.entries += 1;
        Ok(())
    }

    fn opened(&mut self, rows: &dyn ReadRows, open: &event_schemas::command::OpenAccount) -> Result<(), RowsFault> {
        self.kinds.put(rows, &open.account, KindRow { kind: open.kind })?;
        self.totals.get_or_default(rows, &(open.currency, open.kind.number()))?.accounts += 1;
        self.book.get_or_default(rows, &())?.accounts += 1;
        Ok(())
    }
}

impl Projection for TrialBalances {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&TOTALS, &ACCOUNTS, &BOOK];
        TABLES
    }

    fn apply(&mut self, rows: &dyn ReadRows, _: Place, event: &Event, _: &mut RowChanges) -> Result<(), ApplyFault> {
        if let Some(entry) = event.body.entry() {
            return self.posted(rows, entry);
        }
        // A hold posts nothing, so it is not in the trial balance.
        match &event.body {
            EventBody::AccountOpened(open) => Ok(self.opened(rows, open)?),
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
        self.totals.flush(changes);
        self.kinds.flush(changes);
        self.book.flush(changes);
    }

    fn pending(&self) -> usize {
        self.totals.pending() + self.kinds.pending() + self.book.pending()
    }
}
