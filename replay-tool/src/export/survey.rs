//! The first reading of a journal for a plain-text ledger: its accounts, what each ends with and where, and how its entries
//! lie over the days.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use event_schemas::entry::Entry;
use event_schemas::{CivilDate, Currency, EventBody, Sequence, Side, Timestamp};

use super::Selection;
use crate::accounts::Accounts;
use crate::journal::Journal;
use crate::outcome::Failure;

/// What an account went through.
#[derive(Debug, Clone)]
pub(super) struct Course {
    /// The date of recording of its opening.
    pub(super) opened_on: CivilDate,
    /// The date of recording of its closing.
    pub(super) closed_on: Option<CivilDate>,
    /// Debits less credits, in minor units.
    pub(super) balance_minor: i128,
    /// Its first effective date.
    pub(super) first: Option<CivilDate>,
    /// Its last posting in the order of dates: date, entry, index of the posting in the entry.
    pub(super) last: Option<(CivilDate, Sequence, usize)>,
}

/// What the first reading found.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) accounts: Accounts,
    /// In the order of `accounts`.
    pub(super) courses: Vec<Course>,
    /// The currencies of the accounts selected; of two exponents under one code, the larger.
    pub(super) currencies: BTreeSet<Currency>,
    /// Bytes that the entries of a day take when they are kept, about.
    pub(super) bytes_by_day: BTreeMap<CivilDate, u64>,
    /// Whether effective dates never go back in journal order.
    pub(super) ordered: bool,
    pub(super) entries: u64,
}

/// What an entry takes when it is kept to be sorted: its canonical bytes at most (a reversal has a number more with each
/// posting, a capture and a reversal an id and two amounts), and its place in the index.
pub(super) fn kept_bytes(entry: &Entry<'_>) -> u64 {
    u64::try_from(160 + entry.reference.len() + 44 * entry.postings.len()).unwrap_or(u64::MAX)
}

impl Survey {
    pub(super) fn take(journal: &mut Journal, selection: &Selection) -> Result<Self, Failure> {
        let mut survey = Self {
            accounts: Accounts::new(),
            courses: Vec::new(),
            currencies: BTreeSet::new(),
            bytes_by_day: BTreeMap::new(),
            ordered: true,
            entries: 0,
        };
        let mut newest = CivilDate::MIN;
        journal.events(Sequence(1), selection.to, "surveying", &mut |header, sequence, event| {
            survey.accounts.see(&event);
            if let Some(entry) = event.body.entry()
                && entry.postings.iter().any(|posting| selection.takes(posting))
            {
                survey.ordered &= entry.effective_on >= newest;
                newest = newest.max(entry.effective_on);
                survey.entries += 1;
                *survey.bytes_by_day.entry(entry.effective_on).or_default() += kept_bytes(&entry);
                survey.post(selection, sequence, &entry)?;
            }
            match &event.body {
                EventBody::AccountOpened(_) => survey.open(header.recorded_at),
                EventBody::AccountClosed(act) => {
                    let place = survey.accounts.known(act.account)?;
                    if let Some(course) = survey.courses.get_mut(place) {
                        course.closed_on = Some(header.recorded_at.date_utc());
                    }
                }
                // Entries are taken above, of whatever kind; a hold posts nothing.
                EventBody::EntryPosted(_)
                | EventBody::EntryReversed(_)
                | EventBody::HoldPlaced(_)
                | EventBody::HoldCaptured(_)
                | EventBody::HoldVoided(_)
                | EventBody::HoldExpired(_)
                | EventBody::BookOpened(_)
                | EventBody::AccountFrozen(_)
                | EventBody::AccountUnfrozen(_)
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
                | EventBody::AccessLogged(_) => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for open in survey.accounts.opened().iter().filter(|open| selection.takes_currency(open.currency)) {
            survey.currencies.insert(open.currency);
        }
        let all = survey.currencies.clone();
        let wider = |one: &Currency| all.iter().any(|two| two.code() == one.code() && two.exponent() > one.exponent());
        survey.currencies.retain(|currency| !wider(currency));
        Ok(survey)
    }

    fn open(&mut self, recorded_at: Timestamp) {
        self.courses.push(Course {
            opened_on: recorded_at.date_utc(),
            closed_on: None,
            balance_minor: 0,
            first: None,
            last: None,
        });
    }

    fn post(&mut self, selection: &Selection, sequence: Sequence, entry: &Entry<'_>) -> Result<(), Failure> {
        let date = entry.effective_on;
        for (index, posting) in entry.postings.iter().enumerate().filter(|(_, posting)| selection.takes(posting)) {
            let place = self.accounts.known(posting.account)?;
            let Some(course) = self.courses.get_mut(place) else { continue };
            course.balance_minor += match posting.side {
                Side::Debit => posting.money.amount_minor,
                Side::Credit => -posting.money.amount_minor,
            };
            course.first = Some(course.first.map_or(date, |first| first.min(date)));
            course.last = course.last.max(Some((date, sequence, index)));
        }
        Ok(())
    }
}
