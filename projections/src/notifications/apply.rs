//! Who is told what of an event.

use event_schemas::command::{CommandBody, OpenAccount};
use event_schemas::entry::Entry;
use event_schemas::event::{CommandRejected, HoldCaptured};
use event_schemas::notices::{NoticeTopic, SetNotificationPreferences};
use event_schemas::{AccountId, Currency, Event, EventBody, Money, Side};
use smallvec::SmallVec;

use super::notice::{Channels, DEFAULT_CHANNELS, Template};
use super::rows::{NOTICES, OwnerRow, PreferencesRow, Told, notice_key};
use crate::cache::Cached;
use crate::ports::{ReadRows, RowChanges, Table};
use crate::projection::{ApplyFault, Place, Projection};

/// The projection of notifications.
#[derive(Debug, Default)]
pub struct Notifications {
    owners: Cached<OwnerRow>,
    preferences: Cached<PreferencesRow>,
    /// New rows, not handed over.
    notices: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Told<'a> {
    const fn of(template: Template) -> Self {
        Self { template, account: None, currency: None, amount_minor: 0, kind: "", about: "", reference: "" }
    }

    const fn money(template: Template, account: AccountId, amount: Money) -> Self {
        Self {
            account: Some(account),
            currency: Some(amount.currency),
            amount_minor: amount.amount_minor,
            ..Self::of(template)
        }
    }

    const fn about(self, about: &'a str) -> Self {
        Self { about, ..self }
    }
}

/// The notices of one event.
struct Of<'a> {
    rows: &'a dyn ReadRows,
    at: Place,
    places: u16,
}

impl Notifications {
    /// Tells the owner of an account. The house is told nothing.
    fn tell(&mut self, of: &mut Of<'_>, account: AccountId, told: &Told<'_>) -> Result<(), ApplyFault> {
        match self.owners.get(of.rows, &account)? {
            Some(row) => queue(&mut self.preferences, &mut self.notices, of, &row.owner, told),
            None => Ok(()),
        }
    }

    #[expect(clippy::borrowed_box, reason = "preferences are looked up by it")]
    fn tell_customer(&mut self, of: &mut Of<'_>, owner: &Box<str>, told: &Told<'_>) -> Result<(), ApplyFault> {
        queue(&mut self.preferences, &mut self.notices, of, owner, told)
    }

    fn opened(&mut self, of: &mut Of<'_>, open: &OpenAccount) -> Result<(), ApplyFault> {
        if open.owner.is_empty() {
            return Ok(());
        }
        self.owners.put(of.rows, &open.account, OwnerRow { owner: open.owner.clone() })?;
        let told =
            Told { account: Some(open.account), currency: Some(open.currency), ..Told::of(Template::AccountOpened) };
        self.tell_customer(of, &open.owner, &told)
    }

    fn act(&mut self, of: &mut Of<'_>, account: AccountId, template: Template) -> Result<(), ApplyFault> {
        self.tell(of, account, &Told { account: Some(account), ..Told::of(template) })
    }

    /// Tells each customer what an entry did to each of its accounts, all postings to an account together.
    fn posted(&mut self, of: &mut Of<'_>, entry: Entry<'_>) -> Result<(), ApplyFault> {
        let mut nets = SmallVec::<[(AccountId, Currency, i128); 4]>::new();
        for posting in entry.postings {
            let credit_minor = match posting.side {
                Side::Debit => posting.money.amount_minor.checked_neg(),
                Side::Credit => Some(posting.money.amount_minor),
            };
            let credit_minor = credit_minor.ok_or_else(|| overflow(posting.account))?;
            nets.push((posting.account, posting.money.currency, credit_minor));
        }
        nets.sort_unstable_by_key(|(account, ..)| *account);
        let about = entry.origin.about().map(|about| about.to_string()).unwrap_or_default();
        for of_account in nets.chunk_by(|(account, ..), (other, ..)| account == other) {
            let Some(&(account, currency, _)) = of_account.first() else { continue };
            let net = of_account.iter().try_fold(0_i128, |sum, (.., minor)| sum.checked_add(*minor));
            let net_minor = net.ok_or_else(|| overflow(account))?;
            let template = match net_minor {
                0 => continue,
                1.. => Template::MoneyIn,
                _ => Template::MoneyOut,
            };
            let amount = Money::new(net_minor.checked_abs().ok_or_else(|| overflow(account))?, currency);
            let told = Told {
                kind: entry.origin.name(),
                about: &about,
                reference: entry.reference,
                ..Told::money(template, account, amount)
            };
            self.tell(of, account, &told)?;
        }
        Ok(())
    }

    /// What the last capture of a hold left is free again.
    fn captured(&mut self, of: &mut Of<'_>, captured: &HoldCaptured) -> Result<(), ApplyFault> {
        let payer = captured.postings.iter().find(|posting| posting.side == Side::Debit);
        let Some(payer) = payer.filter(|_| captured.released_minor > 0) else { return Ok(()) };
        let amount = Money::new(captured.released_minor, payer.money.currency);
        let hold = captured.hold.to_string();
        self.tell(of, payer.account, &Told::money(Template::HoldReleased, payer.account, amount).about(&hold))
    }

    /// Tells the customer whose money did not move. Who would have received it is told nothing: the try is not theirs to know.
    fn refused(&mut self, of: &mut Of<'_>, rejected: &CommandRejected) -> Result<(), ApplyFault> {
        let (account, amount, reference) = match &rejected.command {
            CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => (cash.account, cash.amount, &cash.reference),
            CommandBody::PostTransfer(transfer) => (transfer.from, transfer.amount, &transfer.reference),
            CommandBody::TransferUpTo(transfer) => (transfer.from, transfer.at_most, &transfer.reference),
            CommandBody::ConvertFunds(convert) => (convert.from, convert.sold, &convert.reference),
            CommandBody::PlaceHold(hold) => (hold.account, hold.amount, &hold.reference),
            CommandBody::OpenAccount(_)
            | CommandBody::FreezeAccount(_)
            | CommandBody::UnfreezeAccount(_)
            | CommandBody::CloseAccount(_)
            | CommandBody::PostEntry(_)
            | CommandBody::CaptureHold(_)
            | CommandBody::VoidHold(_)
            | CommandBody::ReverseEntry(_)
            | CommandBody::SetLimits(_)
            | CommandBody::PublishCalendar(_)
            | CommandBody::SetFeeRule(_)
            | CommandBody::ClosePeriod(_)
            | CommandBody::SetNotificationPreferences(_)
            | CommandBody::PublishRateSheet(_) => return Ok(()),
        };
        let told = Told {
            kind: rejected.command.type_name(),
            about: rejected.rejection.code(),
            reference,
            ..Told::money(Template::CommandRefused, account, amount)
        };
        self.tell(of, account, &told)
    }

    /// Keeps what a customer wants. That it changed is told as was wanted before: whoever turns a customer's notices off does
    /// not do so unseen.
    fn preferred(&mut self, of: &mut Of<'_>, set: &SetNotificationPreferences) -> Result<(), ApplyFault> {
        let before = self.preferences.get(of.rows, &set.owner)?.map(|before| before.version);
        if let Some(applied) = before.filter(|applied| *applied >= set.version) {
            let version = set.version;
            return Err(ApplyFault::Contradiction(format!("preferences of version {version} after version {applied}")));
        }
        self.tell_customer(of, &set.owner, &Told::of(Template::PreferencesSet))?;
        let channels =
            |topic: NoticeTopic| set.topics.get(&topic).map(|channels| Channels::of(channels.iter().copied()));
        let topics = NoticeTopic::ALL.map(channels);
        let row = PreferencesRow { version: set.version, topics, set_sequence: of.at.sequence };
        Ok(self.preferences.put(of.rows, &set.owner, row)?)
    }
}

/// Queues a notice, by the channels that the customer wants.
#[expect(clippy::borrowed_box, reason = "preferences are looked up by it")]
fn queue(
    preferences: &mut Cached<PreferencesRow>,
    notices: &mut Vec<(Vec<u8>, Vec<u8>)>,
    of: &mut Of<'_>,
    owner: &Box<str>,
    told: &Told<'_>,
) -> Result<(), ApplyFault> {
    let said = preferences.get(of.rows, owner)?.and_then(|said| said.channels(told.template.topic()));
    let channels = said.unwrap_or(DEFAULT_CHANNELS);
    if owner.is_empty() || channels == Channels::NONE {
        return Ok(());
    }
    notices.push((notice_key(owner, of.at.sequence, of.places), told.queued(of.at.recorded_at, channels)));
    let next = of.places.checked_add(1);
    of.places = next.ok_or_else(|| ApplyFault::Contradiction("an event that tells too much".into()))?;
    Ok(())
}

/// Sorts rows by their keys. The keys of one commit begin alike, so the bytes in which they first differ are compared as numbers,
/// and the keys themselves only where those are the same.
fn sort_by_key(rows: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let Some((first, _)) = rows.first() else { return };
    let alike =
        |key: &[u8], most: usize| key.iter().zip(first).take(most).take_while(|(one, other)| one == other).count();
    let common = rows.iter().fold(first.len(), |common, (key, _)| alike(key, common));
    let mut sorted: Vec<_> = rows
        .drain(..)
        .map(|(key, value)| {
            let mut leading = [0; 16];
            leading.iter_mut().zip(key.iter().skip(common)).for_each(|(lead, byte)| *lead = *byte);
            (u128::from_be_bytes(leading), key, value)
        })
        .collect();
    sorted.sort_unstable_by(|(lead, key, _), (other_lead, other_key, _)| (lead, key).cmp(&(other_lead, other_key)));
    rows.extend(sorted.into_iter().map(|(_, key, value)| (key, value)));
}

fn overflow(account: AccountId) -> ApplyFault {
    ApplyFault::Contradiction(format!("what is posted to account {account} overflows"))
}

impl Projection for Notifications {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&super::rows::OWNERS, &super::rows::PREFERENCES, &NOTICES];
        TABLES
    }

    fn apply(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        event: &Event,
        _: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        let of = &mut Of { rows, at: place, places: 0 };
        if let Some(entry) = event.body.entry() {
            self.posted(of, entry)?;
        }
        match &event.body {
            EventBody::AccountOpened(open) => self.opened(of, open),
            EventBody::AccountFrozen(act) => self.act(of, act.account, Template::AccountFrozen),
            EventBody::AccountUnfrozen(act) => self.act(of, act.account, Template::AccountUnfrozen),
            EventBody::AccountClosed(act) => self.act(of, act.account, Template::AccountClosed),
            EventBody::HoldPlaced(placed) => {
                let hold = event.cause.verdict_of().map(|hold| hold.to_string()).unwrap_or_default();
                let told = Told {
                    reference: &placed.reference,
                    ..Told::money(Template::HoldPlaced, placed.account, placed.amount).about(&hold)
                };
                self.tell(of, placed.account, &told)
            }
            EventBody::HoldCaptured(captured) => self.captured(of, captured),
            EventBody::HoldVoided(voided) => {
                let hold = voided.hold.to_string();
                let told = Told::money(Template::HoldVoided, voided.account, voided.released).about(&hold);
                self.tell(of, voided.account, &told)
            }
            EventBody::HoldExpired(expired) => {
                let hold = expired.hold.to_string();
                let told = Told::money(Template::HoldExpired, expired.account, expired.released).about(&hold);
                self.tell(of, expired.account, &told)
            }
            EventBody::CommandRejected(rejected) => self.refused(of, rejected),
            EventBody::LimitsSet(set) => {
                let told = Told { currency: Some(set.currency), ..Told::of(Template::LimitsSet) };
                self.tell_customer(of, &set.owner, &told)
            }
            EventBody::NotificationPreferencesSet(set) => self.preferred(of, set),
            // Entries are told above.
            EventBody::EntryPosted(_)
            | EventBody::EntryReversed(_)
            | EventBody::ConversionPosted(_)
            | EventBody::RateSheetPublished(_)
            | EventBody::BookOpened(_)
            | EventBody::StateDigest(_)
            | EventBody::ClockAccepted(_)
            | EventBody::LimitCharged(_)
            | EventBody::LimitReleased(_)
            | EventBody::CalendarPublished(_)
            | EventBody::FeeRuleSet(_)
            | EventBody::PeriodClosed(_)
            | EventBody::JournalRestored(_)
            | EventBody::ControlRecorded(_)
            | EventBody::AccessLogged(_) => Ok(()),
        }
    }

    fn flush(&mut self, changes: &mut RowChanges) {
        self.owners.flush(changes);
        self.preferences.flush(changes);
        // In the order of keys: a store that keeps rows in order takes them faster so.
        sort_by_key(&mut self.notices);
        changes.rows.extend(self.notices.drain(..).map(|(key, value)| (&NOTICES, key, Some(value))));
    }

    fn pending(&self) -> usize {
        self.owners.pending() + self.preferences.pending() + self.notices.len()
    }
}
