//! Limits as the auditor sees them: every charge added up by day, each held against the move of money that it belongs to.

use std::collections::BTreeMap;

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::codec::{put_currency, put_date, put_id, put_option, put_signed, put_text, put_varint};
use event_schemas::command::{AccountKind, Caps, PublishCalendar, SetLimits};
use event_schemas::digest::ElementHash;
use event_schemas::event::{LimitCharged, LimitReleased};
use event_schemas::limits::LimitWindow;
use event_schemas::{
    AccountId, CivilDate, CommandId, Currency, CustomerId, EntryKind, Event, EventBody, MultisetHash, Rejection,
    Sequence, Timestamp,
};

use super::{Auditor, Law};

/// A customer's limits in a currency, and what counts towards them on each day of one month: that of the newest charge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AuditedLimits {
    version: u64,
    caps: Caps,
    newest: Option<CivilDate>,
    days: BTreeMap<CivilDate, i128>,
}

impl AuditedLimits {
    /// What is used of a day, and of the month that all days kept are in.
    fn used(&self, day: CivilDate) -> (i128, i128) {
        let month = self.days.values().fold(0_i128, |sum, minor| sum.saturating_add(*minor));
        (self.days.get(&day).copied().unwrap_or(0), month)
    }

    /// Turns to a day, unless a later one has come before; the days of other months are forgotten.
    fn turn_to(&mut self, day: CivilDate) -> CivilDate {
        let day = self.newest.map_or(day, |newest| newest.max(day));
        self.days.retain(|kept, _| kept.month_start() == day.month_start());
        self.newest = Some(day);
        day
    }
}

/// The day that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Today {
    /// The caller tells no time.
    NotTold,
    /// No calendar says.
    NotKnown,
    Is(CivilDate),
}

/// Whose limits an event is charged to, the account, how much, and for which hold.
type Charge = (Box<str>, Currency, AccountId, i128, Option<CommandId>);
/// Whose limits it gives back to, from which hold, and how much.
type Release = (Box<str>, Currency, CommandId, i128);

/// What limits make of the event that comes next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected {
    charged: Option<LimitCharged>,
    released: Option<LimitReleased>,
}

fn day_of(calendar: &PublishCalendar, at: Timestamp) -> Option<CivilDate> {
    let days = (calendar.first_day.days()..).map_while(CivilDate::from_days);
    let bounds = calendar.starts.iter().zip(calendar.starts.iter().skip(1));
    days.zip(bounds).find(|(_, (start, end))| **start <= at && at < **end).map(|(day, _)| day)
}

impl Auditor {
    fn today(&self) -> Today {
        let Some(now) = self.time else { return Today::NotTold };
        self.calendar.as_ref().and_then(|calendar| day_of(calendar, now)).map_or(Today::NotKnown, Today::Is)
    }

    pub(super) fn limits_set(&mut self, sequence: Sequence, set: &SetLimits) {
        if set.caps.all().into_iter().flatten().any(|cap| !(1..=AMOUNT_MAX_MINOR).contains(&cap)) {
            self.find(sequence, Law::SettingsInOrder, format!("limits of {:?}", set.caps));
        }
        let limits = self.limits.entry((set.owner.clone(), set.currency)).or_default();
        let before = std::mem::replace(&mut limits.version, set.version);
        limits.caps = set.caps;
        self.rises(sequence, before, set.version);
    }

    pub(super) fn limits_version(&self, set: &SetLimits) -> u64 {
        self.limits.get(&(set.owner.clone(), set.currency)).map_or(0, |limits| limits.version)
    }

    pub(super) fn calendar_published(&mut self, sequence: Sequence, calendar: &PublishCalendar) {
        let hours = |hours: i64| hours.saturating_mul(3_600_000_000);
        let follows =
            |(start, next): (&Timestamp, &Timestamp)| (hours(20)..=hours(28)).contains(&next.0.saturating_sub(start.0));
        let midnight_us = hours(i64::from(calendar.first_day.days()).saturating_mul(24));
        let near = |first: &Timestamp| first.0.saturating_sub(midnight_us).saturating_abs() <= hours(18);
        let sound = calendar.starts.len() > 1
            && calendar.starts.first().is_some_and(near)
            && calendar.starts.iter().zip(calendar.starts.iter().skip(1)).all(follows);
        if !sound {
            self.find(sequence, Law::SettingsInOrder, "the days of the calendar can't be".into());
        }
        let before = self.calendar.replace(calendar.clone()).map_or(0, |calendar| calendar.version);
        self.rises(sequence, before, calendar.version);
    }

    pub(super) fn limit_charged(&mut self, sequence: Sequence, charged: &LimitCharged) {
        let known = self.today();
        let Some(limits) = self.limits.get_mut(&(charged.owner.clone(), charged.currency)) else {
            return self.find(sequence, Law::LimitsKept, format!("{:?} has no limits", charged.owner));
        };
        let day = limits.turn_to(if let Today::Is(day) = known { day } else { charged.day });
        let used = limits.days.entry(day).or_default();
        *used = used.saturating_add(charged.amount_minor);
        let (day_minor, month_minor) = limits.used(day);
        let above = [charged.amount_minor, day_minor, month_minor]
            .into_iter()
            .zip(limits.caps.all())
            .any(|(used, cap)| cap.is_some_and(|cap| used > cap));
        let (version, caps) = (limits.version, limits.caps);
        if (charged.version, charged.caps) != (version, caps) || caps == Caps::NONE {
            self.find(sequence, Law::LimitsKept, format!("charged to other limits than {caps:?} of version {version}"));
        }
        if charged.day != day || known == Today::NotKnown {
            self.find(sequence, Law::LimitsKept, format!("charged for {}, not {day}", charged.day));
        }
        if above || charged.amount_minor < 1 {
            self.find(sequence, Law::LimitsKept, format!("{} is above {caps:?}", charged.amount_minor));
        }
        if (charged.day_used_minor, charged.month_used_minor) != (day_minor, month_minor) {
            let text = format!("{day_minor} of the day and {month_minor} of the month are used: {charged:?}");
            self.find(sequence, Law::LimitsKept, text);
        }
        if let Some(hold) = charged.hold {
            self.charged.insert(hold, charged.day);
        }
        self.expected.charged = Some(charged.clone());
    }

    pub(super) fn limit_released(&mut self, sequence: Sequence, released: &LimitReleased) {
        if self.charged.get(&released.hold) != Some(&released.day) {
            let text = format!("hold {} was not charged for {}", released.hold, released.day);
            self.find(sequence, Law::LimitsKept, text);
        }
        let Some(limits) = self.limits.get_mut(&(released.owner.clone(), released.currency)) else {
            return self.find(sequence, Law::LimitsKept, format!("{:?} has no limits", released.owner));
        };
        // A day of another month is forgotten already.
        if let Some(used) = limits.days.get_mut(&released.day) {
            *used = used.saturating_sub(released.amount_minor);
        }
        let used = limits.newest.map(|newest| limits.used(newest));
        if used != Some((released.day_used_minor, released.month_used_minor)) || released.amount_minor < 1 {
            self.find(sequence, Law::LimitsKept, format!("{used:?} are used of day and month: {released:?}"));
        }
        self.expected.released = Some(released.clone());
    }

    /// Holds what was charged or released right before this event against what it is about. Before the event counts.
    pub(super) fn check_limits(&mut self, sequence: Sequence, event: &Event) {
        let Expected { charged, released } = std::mem::take(&mut self.expected);
        let charge = charged.as_ref().map(|charged| {
            (charged.owner.clone(), charged.currency, charged.account, charged.amount_minor, charged.hold)
        });
        let due = self.charge_due(event);
        if charge != due {
            self.find(sequence, Law::LimitsKept, format!("{due:?} should have been charged, and was {charge:?}"));
        }
        let release = released
            .as_ref()
            .map(|released| (released.owner.clone(), released.currency, released.hold, released.amount_minor));
        let due = self.release_due(event);
        if release != due {
            self.find(sequence, Law::LimitsKept, format!("{due:?} should have been released, and was {release:?}"));
        }
        self.charging = charged;
    }

    /// What an event takes from a customer who has limits.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what else there is takes nothing from a customer")]
    fn charge_due(&self, event: &Event) -> Option<Charge> {
        if self.limits.is_empty() {
            return None;
        }
        let (from, to, amount, hold) = match &event.body {
            EventBody::EntryPosted(entry)
                if matches!(entry.kind, EntryKind::Withdrawal | EntryKind::Transfer | EntryKind::TransferUpTo) =>
            {
                let (from, to) = (entry.postings.first()?, entry.postings.get(1)?);
                (from.account, Some(to.account), from.money, None)
            }
            EventBody::ConversionPosted(conversion) => {
                let from = conversion.postings.first()?;
                (from.account, None, from.money, None)
            }
            EventBody::HoldPlaced(placed) => (placed.account, None, placed.amount, event.cause.verdict_of()),
            _ => return None,
        };
        let owner = self.customer(from)?;
        if to.and_then(|to| self.customer(to)) == Some(owner) {
            return None;
        }
        let limits = self.limits.get(&(owner.into(), amount.currency))?;
        (limits.caps != Caps::NONE).then(|| (owner.into(), amount.currency, from, amount.amount_minor, hold))
    }

    /// What an event gives back of a hold that was charged.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what else there is ends no hold")]
    fn release_due(&self, event: &Event) -> Option<Release> {
        let (hold, minor) = match &event.body {
            EventBody::HoldCaptured(captured) => (captured.hold, captured.released_minor),
            EventBody::HoldVoided(voided) => (voided.hold, voided.released.amount_minor),
            EventBody::HoldExpired(expired) => (expired.hold, expired.released.amount_minor),
            _ => return None,
        };
        let account = self.holds.get(&hold)?.account();
        self.charged.get(&hold).filter(|_| minor > 0)?;
        Some((self.customer(account)?.into(), self.accounts.get(&account)?.currency, hold, minor))
    }

    /// The customer whose money is on an account.
    fn customer(&self, account: AccountId) -> Option<&str> {
        let liability = self.accounts.get(&account).is_some_and(|account| account.kind == AccountKind::Liability);
        self.owners.get(&account).filter(|_| liability).map(|owner| &**owner)
    }

    /// How much limits allow in the move that is looked at; `None` without bound.
    pub(super) fn allowed_minor(&self) -> Option<i128> {
        let charged = self.charging.as_ref()?;
        let before = |used: i128| used.saturating_sub(charged.amount_minor);
        let used = [0, before(charged.day_used_minor), before(charged.month_used_minor)];
        used.into_iter().zip(charged.caps.all()).filter_map(|(used, cap)| Some(cap?.saturating_sub(used))).min()
    }

    /// Whether what a rejection says of limits is so.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller hands in the rejections of this part alone")]
    pub(super) fn limit_rejection_holds(&self, rejection: &Rejection) -> bool {
        match rejection {
            Rejection::CalendarMissing => !matches!(self.today(), Today::Is(_)),
            Rejection::LimitExceeded { account, window, cap_minor, used_minor, required_minor, resets_at } => {
                let limits = self.customer(*account).zip(self.accounts.get(account));
                let limits = limits.and_then(|(owner, account)| self.limits.get(&(owner.into(), account.currency)));
                let Some(mut limits) = limits.cloned() else { return false };
                let today = match self.today() {
                    Today::Is(today) => today,
                    Today::NotKnown => return false,
                    Today::NotTold => return used_minor.saturating_add(*required_minor) > *cap_minor,
                };
                let today = limits.turn_to(today);
                let (day_minor, month_minor) = limits.used(today);
                let (cap, used, next) = match window {
                    LimitWindow::PerTransfer => (limits.caps.per_transfer_minor, 0, None),
                    LimitWindow::Day => {
                        (limits.caps.daily_minor, day_minor, CivilDate::from_days(today.days().saturating_add(1)))
                    }
                    LimitWindow::Month => (limits.caps.monthly_minor, month_minor, today.next_month_start()),
                };
                let starts =
                    self.calendar.iter().flat_map(|calendar| (calendar.first_day.days()..).zip(&calendar.starts));
                let next = next.and_then(|next| starts.into_iter().find(|(day, _)| *day == next.days()));
                cap == Some(*cap_minor)
                    && used == *used_minor
                    && used.saturating_add(*required_minor) > *cap_minor
                    && next.map(|(_, start)| *start) == *resets_at
            }
            _ => false,
        }
    }

    pub(super) fn add_limits(&self, set: &mut MultisetHash) {
        let mut add = |kind: u8, row: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = vec![kind];
            row(&mut bytes);
            set.insert(ElementHash::of(&bytes));
        };
        for ((owner, currency), limits) in &self.limits {
            let Some(customer) = CustomerId::from_owner(owner) else { continue };
            add(7, &|out| {
                put_id(out, customer.0);
                put_currency(out, *currency);
                put_text(out, owner);
                put_varint(out, u128::from(limits.version));
                limits.caps.encode(out);
                put_option(out, limits.newest, |out, newest| {
                    let (day_minor, month_minor) = limits.used(newest);
                    put_date(out, newest);
                    put_signed(out, day_minor);
                    put_signed(out, month_minor);
                });
            });
        }
        if let Some(calendar) = &self.calendar {
            add(8, &|out| calendar.encode(out));
        }
        for (hold, day) in &self.charged {
            add(9, &|out| {
                put_id(out, hold.0);
                put_date(out, *day);
            });
        }
    }
}
