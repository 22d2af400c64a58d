//! Limits: how much of a customer's money may leave in one transfer, in a day and in a month, and the calendar that says when
//! the days of the book begin. Windows are calendar days and months of the book's zone; a decision compares instants with the
//! starts that the calendar lists and needs no database of time zones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds::CALENDAR_DAYS_MAX;
use crate::codec::{
    CodecError, Reader, put_currency, put_date, put_id, put_option, put_signed, put_text, put_time, put_varint,
};
use crate::command::{bounded, minor_text};
use crate::currency::Currency;
use crate::date::{CivilDate, Timestamp};
use crate::ids::{AccountId, CommandId};

/// The most that may leave, fees included, in minor units; what is absent is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// In one transfer, withdrawal or hold.
    #[serde(with = "minor_text::option")]
    #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub per_transfer_minor: Option<i128>,
    /// In a calendar day.
    #[serde(with = "minor_text::option")]
    #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub daily_minor: Option<i128>,
    /// In a calendar month.
    #[serde(with = "minor_text::option")]
    #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub monthly_minor: Option<i128>,
}

impl Caps {
    /// No limit at all.
    pub const NONE: Self = Self { per_transfer_minor: None, daily_minor: None, monthly_minor: None };

    /// All three, in the order per transfer, day, month.
    pub const fn all(self) -> [Option<i128>; 3] {
        [self.per_transfer_minor, self.daily_minor, self.monthly_minor]
    }

    /// Appends the canonical form.
    pub fn encode(self, out: &mut Vec<u8>) {
        for cap in self.all() {
            put_option(out, cap, put_signed);
        }
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            per_transfer_minor: reader.option("limit per transfer", |reader| reader.signed("limit"))?,
            daily_minor: reader.option("daily limit", |reader| reader.signed("limit"))?,
            monthly_minor: reader.option("monthly limit", |reader| reader.signed("limit"))?,
        })
    }
}

/// A window of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitWindow {
    /// One transfer, withdrawal or hold.
    PerTransfer,
    /// A calendar day of the book's zone.
    Day,
    /// A calendar month of the book's zone.
    Month,
}

impl LimitWindow {
    /// The number in the canonical form.
    pub const fn number(self) -> u8 {
        match self {
            Self::PerTransfer => 1,
            Self::Day => 2,
            Self::Month => 3,
        }
    }

    /// The window of this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::PerTransfer,
            2 => Self::Day,
            3 => Self::Month,
            _ => return None,
        })
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerTransfer => "per_transfer",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// Sets the limits of a customer in a currency; without any cap it takes them away. Also the event: the limits were set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLimits {
    /// The customer: the owner of accounts.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub owner: Box<str>,
    /// In which currency.
    pub currency: Currency,
    /// The version of the customer's limits in this currency; each must be above the one before.
    pub version: u64,
    /// The limits.
    pub caps: Caps,
}

/// Says when the days of the book begin. Also the event: the calendar was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishCalendar {
    /// The version of the calendar; each must be above the one before.
    pub version: u64,
    /// The name of the zone in the IANA database, such as `Europe/Berlin`.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub zone: Box<str>,
    /// The version of that database, such as `2026b`; empty if it is not known.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub tz_version: Box<str>,
    /// The first day it knows.
    pub first_day: CivilDate,
    /// When each day begins, from the first on; the last is the end of the last day.
    #[serde(deserialize_with = "starts")]
    #[schemars(length(max = 801))]
    pub starts: Vec<Timestamp>,
}

/// An amount counts towards a customer's limits. It stands before the verdict that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitCharged {
    /// The customer.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub owner: Box<str>,
    /// The currency.
    pub currency: Currency,
    /// The account that the money leaves.
    pub account: AccountId,
    /// How much, fees included, in minor units.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub amount_minor: i128,
    /// The day it counts for, in the book's zone; its month follows from it.
    pub day: CivilDate,
    /// The hold it was set aside under, if it was.
    pub hold: Option<CommandId>,
    /// The version of the limits that allowed it.
    pub version: u64,
    /// These limits.
    pub caps: Caps,
    /// What is used of the day after this.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub day_used_minor: i128,
    /// What is used of the month after this.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub month_used_minor: i128,
}

/// What a hold had charged to a customer's limits and did not use goes back to the windows it was charged to. It stands before
/// the end of the hold that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitReleased {
    /// The customer.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub owner: Box<str>,
    /// The currency.
    pub currency: Currency,
    /// The hold.
    pub hold: CommandId,
    /// How much, in minor units.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub amount_minor: i128,
    /// The day it had counted for.
    pub day: CivilDate,
    /// What is used after this of the day that usage was last counted for. It is lower by the amount only if that is this day.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub day_used_minor: i128,
    /// The same of the month.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub month_used_minor: i128,
}

fn starts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Timestamp>, D::Error> {
    let starts = Vec::deserialize(deserializer)?;
    if starts.len() <= CALENDAR_DAYS_MAX + 1 { Ok(starts) } else { Err(serde::de::Error::custom("more than 800 days")) }
}

impl SetLimits {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.owner);
        put_currency(out, self.currency);
        put_varint(out, u128::from(self.version));
        self.caps.encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            owner: reader.text("owner")?,
            currency: reader.currency()?,
            version: reader.number("version")?,
            caps: Caps::decode(reader)?,
        })
    }
}

impl PublishCalendar {
    /// Appends the canonical form. Of the starts, the first is written in full and each other one as its distance.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::from(self.version));
        put_text(out, &self.zone);
        put_text(out, &self.tz_version);
        put_date(out, self.first_day);
        assert!(self.starts.len() <= CALENDAR_DAYS_MAX + 1, "a calendar of {} starts", self.starts.len());
        put_varint(out, self.starts.len() as u128);
        let mut previous = None;
        for start in &self.starts {
            match previous.replace(start.0) {
                None => put_time(out, *start),
                Some(previous) => put_signed(out, i128::from(start.0) - i128::from(previous)),
            }
        }
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let version = reader.number("version")?;
        let (zone, tz_version) = (reader.text("zone")?, reader.text("zone version")?);
        let first_day = reader.date()?;
        let count: usize = reader.number("starts of days")?;
        if count > CALENDAR_DAYS_MAX + 1 {
            return Err(CodecError::NotCanonical("starts of days"));
        }
        let mut starts: Vec<Timestamp> = Vec::with_capacity(count);
        for _ in 0..count {
            let start = match starts.last() {
                None => reader.time()?,
                Some(previous) => reader
                    .signed("start of a day")?
                    .checked_add(i128::from(previous.0))
                    .and_then(|micros| i64::try_from(micros).ok())
                    .and_then(Timestamp::from_micros)
                    .ok_or(CodecError::NotCanonical("start of a day"))?,
            };
            starts.push(start);
        }
        Ok(Self { version, zone, tz_version, first_day, starts })
    }
}

impl LimitCharged {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.owner);
        put_currency(out, self.currency);
        put_id(out, self.account.0);
        put_signed(out, self.amount_minor);
        put_date(out, self.day);
        put_option(out, self.hold, |out, hold| put_id(out, hold.0));
        put_varint(out, u128::from(self.version));
        self.caps.encode(out);
        put_signed(out, self.day_used_minor);
        put_signed(out, self.month_used_minor);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            owner: reader.text("owner")?,
            currency: reader.currency()?,
            account: AccountId(reader.id("account")?),
            amount_minor: reader.signed("amount")?,
            day: reader.date()?,
            hold: reader.option("hold", |reader| reader.id("hold").map(CommandId))?,
            version: reader.number("version")?,
            caps: Caps::decode(reader)?,
            day_used_minor: reader.signed("used of the day")?,
            month_used_minor: reader.signed("used of the month")?,
        })
    }
}

impl LimitReleased {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.owner);
        put_currency(out, self.currency);
        put_id(out, self.hold.0);
        put_signed(out, self.amount_minor);
        put_date(out, self.day);
        put_signed(out, self.day_used_minor);
        put_signed(out, self.month_used_minor);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            owner: reader.text("owner")?,
            currency: reader.currency()?,
            hold: CommandId(reader.id("hold")?),
            amount_minor: reader.signed("amount")?,
            day: reader.date()?,
            day_used_minor: reader.signed("used of the day")?,
            month_used_minor: reader.signed("used of the month")?,
        })
    }
}
