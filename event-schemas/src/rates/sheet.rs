//! The rate sheet: a fact of the book with a version that rises, like the calendar.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Rate;
use crate::bounds::{MARGIN_RULES_MAX, SHEET_RATES_MAX};
use crate::codec::{CodecError, Reader, put_currency, put_date, put_option, put_text, put_time, put_varint};
use crate::command::bounded;
use crate::currency::Currency;
use crate::date::{CivilDate, Timestamp};

/// How much of a currency one unit of the pivot buys, before any margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotedRate {
    /// The currency.
    pub currency: Currency,
    /// Units of it for one unit of the pivot.
    pub per_pivot: Rate,
}

/// What the house keeps of a conversion. What is absent fits everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarginRule {
    /// The tier of customers it is for.
    #[serde(deserialize_with = "bounded::text_option")]
    #[schemars(length(max = 256))]
    pub tier: Option<Box<str>>,
    /// The currency sold by the customer.
    pub sold: Option<Currency>,
    /// The currency bought by the customer.
    pub bought: Option<Currency>,
    /// The margin, in millionths of the mid: 10,000 are 1 %.
    pub margin_ppm: u32,
}

/// Publishes a rate sheet. Also the event: the sheet was published.
///
/// Of the margins, the first that fits a conversion is the one; the last fits everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishRateSheet {
    /// The version of the sheet; each must be above the one before.
    pub version: u64,
    /// The currency that all others are quoted against.
    pub pivot: Currency,
    /// Where the rates come from, such as `frankfurter`.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub source: Box<str>,
    /// The day for which the source quoted them.
    pub quoted_on: CivilDate,
    /// When they were fetched.
    pub fetched_at: Timestamp,
    /// Until when conversions may be made by them.
    pub valid_until: Timestamp,
    /// How long a quote made of them may last, in seconds.
    pub quote_seconds: u32,
    /// The rates, in the order of their currencies, the pivot not among them.
    #[serde(deserialize_with = "rates")]
    #[schemars(length(max = 256))]
    pub rates: Vec<QuotedRate>,
    /// The margins.
    #[serde(deserialize_with = "margins")]
    #[schemars(length(max = 256))]
    pub margins: Vec<MarginRule>,
}

/// A part of a rate sheet that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SheetPart {
    /// There are none, they are not in order, or the pivot is among them.
    Rates,
    /// The last does not fit everything, or one is above a half.
    Margins,
    /// It is over already, or more than a year ahead.
    ValidUntil,
    /// Quotes last no second, or more than an hour.
    QuoteSeconds,
    /// There is no source, or its name is too long.
    Source,
}

impl SheetPart {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Rates, Self::Margins, Self::ValidUntil, Self::QuoteSeconds, Self::Source];

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Rates => 1,
            Self::Margins => 2,
            Self::ValidUntil => 3,
            Self::QuoteSeconds => 4,
            Self::Source => 5,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.number() == number)
    }

    /// The member of the sheet.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rates => "rates",
            Self::Margins => "margins",
            Self::ValidUntil => "valid_until",
            Self::QuoteSeconds => "quote_seconds",
            Self::Source => "source",
        }
    }
}

/// The mid of a pair: how much of the bought currency one unit of the sold one is worth, `bought / sold`, each per unit of the
/// pivot. Exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mid {
    /// Units of the sold currency for one of the pivot.
    pub sold_per_pivot: Rate,
    /// Units of the bought currency for one of the pivot.
    pub bought_per_pivot: Rate,
}

impl PublishRateSheet {
    /// How much of a currency one unit of the pivot buys.
    pub fn per_pivot(&self, currency: Currency) -> Option<Rate> {
        if currency == self.pivot {
            return Some(Rate::ONE);
        }
        let place = self.rates.binary_search_by_key(&currency, |rate| rate.currency).ok()?;
        self.rates.get(place).map(|rate| rate.per_pivot)
    }

    /// The mid of a pair; the currency that is missing if there is none.
    pub fn mid(&self, sold: Currency, bought: Currency) -> Result<Mid, Currency> {
        Ok(Mid {
            sold_per_pivot: self.per_pivot(sold).ok_or(sold)?,
            bought_per_pivot: self.per_pivot(bought).ok_or(bought)?,
        })
    }

    /// The margin of a pair for a tier, in millionths; `None` only if no rule fits, which no published sheet has.
    pub fn margin_ppm(&self, tier: &str, sold: Currency, bought: Currency) -> Option<u32> {
        self.margins.iter().find(|rule| rule.fits(tier, sold, bought)).map(|rule| rule.margin_ppm)
    }

    /// Appends the canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.rates.len() <= SHEET_RATES_MAX, "a sheet of {} rates", self.rates.len());
        assert!(self.margins.len() <= MARGIN_RULES_MAX, "a sheet of {} margins", self.margins.len());
        put_varint(out, self.version.into());
        put_currency(out, self.pivot);
        put_text(out, &self.source);
        put_date(out, self.quoted_on);
        put_time(out, self.fetched_at);
        put_time(out, self.valid_until);
        put_varint(out, self.quote_seconds.into());
        put_varint(out, self.rates.len() as u128);
        for rate in &self.rates {
            put_currency(out, rate.currency);
            rate.per_pivot.encode(out);
        }
        put_varint(out, self.margins.len() as u128);
        for rule in &self.margins {
            put_option(out, rule.tier.as_deref(), put_text);
            put_option(out, rule.sold, put_currency);
            put_option(out, rule.bought, put_currency);
            put_varint(out, rule.margin_ppm.into());
        }
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            version: reader.number("version")?,
            pivot: reader.currency()?,
            source: reader.text("source")?,
            quoted_on: reader.date()?,
            fetched_at: reader.time()?,
            valid_until: reader.time()?,
            quote_seconds: reader.number("seconds of a quote")?,
            rates: read_list(reader, SHEET_RATES_MAX, "rates", |reader| {
                Ok(QuotedRate { currency: reader.currency()?, per_pivot: Rate::decode(reader)? })
            })?,
            margins: read_list(reader, MARGIN_RULES_MAX, "margins", |reader| {
                Ok(MarginRule {
                    tier: reader.option("tier", |reader| reader.text("tier"))?,
                    sold: reader.option("currency sold", Reader::currency)?,
                    bought: reader.option("currency bought", Reader::currency)?,
                    margin_ppm: reader.number("margin")?,
                })
            })?,
        })
    }
}

impl MarginRule {
    /// A rule for everything.
    pub const fn for_all(margin_ppm: u32) -> Self {
        Self { tier: None, sold: None, bought: None, margin_ppm }
    }

    /// Whether the rule fits a conversion.
    pub fn fits(&self, tier: &str, sold: Currency, bought: Currency) -> bool {
        self.tier.as_deref().is_none_or(|of| of == tier)
            && self.sold.is_none_or(|of| of == sold)
            && self.bought.is_none_or(|of| of == bought)
    }
}

fn read_list<T>(
    reader: &mut Reader<'_>,
    most: usize,
    what: &'static str,
    read: impl Fn(&mut Reader<'_>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let count: usize = reader.number(what)?;
    if count > most {
        return Err(CodecError::NotCanonical(what));
    }
    (0..count).map(|_| read(reader)).collect()
}

fn at_most<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
    most: usize,
) -> Result<Vec<T>, D::Error> {
    let list = <Vec<T>>::deserialize(deserializer)?;
    if list.len() <= most { Ok(list) } else { Err(serde::de::Error::custom("a list that is too long")) }
}

fn rates<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<QuotedRate>, D::Error> {
    at_most(deserializer, SHEET_RATES_MAX)
}

fn margins<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<MarginRule>, D::Error> {
    at_most(deserializer, MARGIN_RULES_MAX)
}
