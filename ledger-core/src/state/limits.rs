//! Limits: what each customer may let go and what is used of it, the calendar, and the day that each open hold was charged to.
//!
//! Usage counts for one day and its month: those of the newest charge. It never runs backwards, not even if another calendar
//! says that it is an earlier day again. Usage outlives the limits that it was counted under, so that new ones begin where the
//! old ones stood; what leaves while there are none is not counted.
//!
//! To which customer an account belongs stands in a vector beside the accounts, and is looked at only in a book that has limits.

use event_schemas::codec::{
    CodecError, Reader, put_currency, put_date, put_id, put_option, put_signed, put_text, put_varint,
};
use event_schemas::command::{Caps, PublishCalendar, SetLimits};
use event_schemas::event::{LimitCharged, LimitReleased};
use event_schemas::{AccountId, CivilDate, CommandId, Currency, CustomerId};

use super::rows::Row;
use super::{ApplyError, State};

/// Stands for the customer of accounts that have no owner.
pub(super) const HOUSE: CustomerId = CustomerId(0);

/// What is used of a day and of its month, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The day.
    pub on: CivilDate,
    /// Of the day.
    pub day_minor: i128,
    /// Of the month.
    pub month_minor: i128,
}

impl Used {
    /// Nothing, of this day.
    pub const fn nothing(on: CivilDate) -> Self {
        Self { on, day_minor: 0, month_minor: 0 }
    }

    /// What is used when a day has come. An earlier one is taken for the day that usage counts for.
    #[must_use]
    pub fn when(self, day: CivilDate) -> Self {
        if day <= self.on {
            return self;
        }
        let same_month = day.month_start() == self.on.month_start();
        Self { on: day, day_minor: 0, month_minor: if same_month { self.month_minor } else { 0 } }
    }

    /// What is used after an amount that was counted for a day is given back.
    #[must_use]
    pub fn without(self, minor: i128, day: CivilDate) -> Self {
        let less = |used: i128, same: bool| if same { used.saturating_sub(minor) } else { used };
        Self {
            on: self.on,
            day_minor: less(self.day_minor, self.on == day),
            month_minor: less(self.month_minor, self.on.month_start() == day.month_start()),
        }
    }
}

/// The limits of a customer in a currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The customer.
    pub owner: Box<str>,
    /// Their version.
    pub version: u64,
    /// The limits; without any cap, nothing is limited and nothing counted.
    pub caps: Caps,
    /// What is used; `None` before the first charge.
    pub used: Option<Used>,
}

impl Row for Limits {
    type Key = (CustomerId, Currency);
    const KIND: u8 = 7;
    const NAME: &'static str = "limits";

    fn encode(&self, (customer, currency): &Self::Key, out: &mut Vec<u8>) {
        put_id(out, customer.0);
        put_currency(out, *currency);
        put_text(out, &self.owner);
        put_varint(out, u128::from(self.version));
        self.caps.encode(out);
        put_option(out, self.used, |out, used| {
            put_date(out, used.on);
            put_signed(out, used.day_minor);
            put_signed(out, used.month_minor);
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<(Self::Key, Self), CodecError> {
        let key = (CustomerId(reader.id("customer")?), reader.currency()?);
        let (owner, version) = (reader.text("owner")?, reader.number("version of limits")?);
        let caps = Caps::decode(reader)?;
        let used = reader.option("usage", |reader| {
            Ok(Used {
                on: reader.date()?,
                day_minor: reader.signed("used of the day")?,
                month_minor: reader.signed("used of the month")?,
            })
        })?;
        Ok((key, Self { owner, version, caps, used }))
    }
}

impl Row for PublishCalendar {
    type Key = ();
    const KIND: u8 = 8;
    const NAME: &'static str = "calendars";

    fn encode(&self, (): &(), out: &mut Vec<u8>) {
        Self::encode(self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<((), Self), CodecError> {
        Ok(((), Self::decode(reader)?))
    }
}

/// The day that an open hold was charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChargedOn(CivilDate);

impl Row for ChargedOn {
    type Key = CommandId;
    const KIND: u8 = 9;
    const NAME: &'static str = "charged holds";

    fn encode(&self, hold: &CommandId, out: &mut Vec<u8>) {
        put_id(out, hold.0);
        put_date(out, self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<(CommandId, Self), CodecError> {
        Ok((CommandId(reader.id("hold")?), Self(reader.date()?)))
    }
}

impl State {
    /// Whether limits were ever set for anybody.
    #[inline]
    pub fn has_limits(&self) -> bool {
        self.tables.limits.len() > 0
    }

    /// The limits of a customer in a currency, if any were ever set.
    pub fn limits(&self, customer: CustomerId, currency: Currency) -> Option<&Limits> {
        self.tables.limits.get(&(customer, currency))
    }

    /// The customer to whom an account belongs; `None` for one of the house.
    pub fn customer(&self, account: AccountId) -> Option<CustomerId> {
        self.place(account).and_then(|place| self.customers.get(place)).copied().filter(|customer| *customer != HOUSE)
    }

    /// The calendar, if one was published.
    pub fn calendar(&self) -> Option<&PublishCalendar> {
        self.tables.calendar.get(&())
    }

    /// The day that an open hold was charged to a customer's limits for; `None` if it was not.
    pub fn charged_on(&self, hold: CommandId) -> Option<CivilDate> {
        self.tables.charged.get(&hold).map(|charged| charged.0)
    }

    pub(super) fn set_limits(&mut self, set: &SetLimits) -> Result<(), ApplyError> {
        let customer = CustomerId::from_owner(&set.owner).ok_or(ApplyError::LimitsNotSet)?;
        let key = (customer, set.currency);
        let used = self.tables.limits.get(&key).and_then(|limits| limits.used);
        let limits = Limits { owner: set.owner.clone(), version: set.version, caps: set.caps, used };
        self.tables.limits.set(key, limits);
        Ok(())
    }

    pub(super) fn publish_calendar(&mut self, calendar: &PublishCalendar) {
        self.tables.calendar.set((), calendar.clone());
    }

    pub(super) fn charge_limit(&mut self, charged: &LimitCharged) -> Result<(), ApplyError> {
        let on = charged.day;
        let used = Used { on, day_minor: charged.day_used_minor, month_minor: charged.month_used_minor };
        self.use_limit(&charged.owner, charged.currency, |_| used)?;
        if let Some(hold) = charged.hold {
            self.tables.charged.set(hold, ChargedOn(on));
        }
        Ok(())
    }

    pub(super) fn release_limit(&mut self, released: &LimitReleased) -> Result<(), ApplyError> {
        let hold = released.hold;
        if self.charged_on(hold) != Some(released.day) {
            return Err(ApplyError::HoldDiffers(hold));
        }
        let (day_minor, month_minor) = (released.day_used_minor, released.month_used_minor);
        self.use_limit(&released.owner, released.currency, |before| Used {
            on: before.map_or(released.day, |before| before.on),
            day_minor,
            month_minor,
        })?;
        self.tables.charged.remove(&hold, &mut self.digest);
        Ok(())
    }

    fn use_limit(
        &mut self,
        owner: &str,
        currency: Currency,
        used: impl FnOnce(Option<Used>) -> Used,
    ) -> Result<(), ApplyError> {
        let customer = CustomerId::from_owner(owner).ok_or(ApplyError::LimitsNotSet)?;
        let mut limits = self.limits(customer, currency).cloned().ok_or(ApplyError::LimitsNotSet)?;
        limits.used = Some(used(limits.used));
        self.tables.limits.set((customer, currency), limits);
        Ok(())
    }
}
