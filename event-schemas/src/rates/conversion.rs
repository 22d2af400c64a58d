//! A conversion: what a quote promised, and the entry that keeps it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Rate;
use crate::codec::{
    CodecError, Reader, put_date, put_id, put_money, put_postings, put_signed, put_text, put_time, put_varint,
};
use crate::command::{bounded, minor_text};
use crate::date::{CivilDate, Timestamp};
use crate::ids::AccountId;
use crate::money::{Money, Postings};

/// Which of the two amounts the customer named; the other follows from the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FixedSide {
    /// What is sold.
    Sold,
    /// What is bought.
    Bought,
}

impl FixedSide {
    /// The number in the canonical form.
    pub const fn number(self) -> u8 {
        match self {
            Self::Sold => 1,
            Self::Bought => 2,
        }
    }

    /// The side of this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Sold,
            2 => Self::Bought,
            _ => return None,
        })
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sold => "sold",
            Self::Bought => "bought",
        }
    }
}

/// Converts money of a customer by a quote, whose id is the command's: so a quote is used once.
///
/// The command says all that the quote promised. The book works the amounts out again from the sheet of that version, and
/// refuses what differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConvertFunds {
    /// The account that sells.
    pub from: AccountId,
    /// The account that buys, of the same owner.
    pub to: AccountId,
    /// Whose both are; empty for the house.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub owner: Box<str>,
    /// Which amount was named.
    pub fixed: FixedSide,
    /// What is sold.
    pub sold: Money,
    /// What is bought.
    pub bought: Money,
    /// The tier that the margin is looked up for.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub tier: Box<str>,
    /// The version of the rate sheet.
    pub sheet: u64,
    /// Until when the quote may be used.
    pub expires_at: Timestamp,
    /// A free text. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// Money was converted. It is an entry, and its postings stand in this order: debit the seller, credit the buyer, credit the
/// position of the currency sold, debit that of the currency bought, credit the margin if there is one, and post the rounding
/// if there is any: a credit if it is above zero, else a debit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConversionPosted {
    /// Whose the accounts are.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub owner: Box<str>,
    /// Which amount was named; margin and rounding are in the currency of the other.
    pub fixed: FixedSide,
    /// The tier that the margin was looked up for.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub tier: Box<str>,
    /// The version of the rate sheet.
    pub sheet: u64,
    /// The sheet's source.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub source: Box<str>,
    /// The day for which it quoted.
    pub quoted_on: CivilDate,
    /// Units of the currency sold for one of the sheet's pivot.
    pub sold_per_pivot: Rate,
    /// Units of the currency bought for one of the pivot. The mid is this divided by that; the customer's rate is the mid less
    /// the margin.
    pub bought_per_pivot: Rate,
    /// The margin, in millionths of the mid.
    pub margin_ppm: u32,
    /// The margin earned, in minor units.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub margin_minor: i128,
    /// What rounding left over, in minor units: one at most, either way.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub rounding_minor: i128,
    /// Until when the quote could be used.
    pub expires_at: Timestamp,
    /// The date it counts for: that of recording.
    pub effective_on: CivilDate,
    /// The command's free text.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
    /// Its postings, zero in sum per currency.
    #[serde(deserialize_with = "bounded::postings")]
    #[schemars(with = "Vec<crate::money::Posting>", length(max = 1000))]
    pub postings: Postings,
}

impl ConvertFunds {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.from.0);
        put_id(out, self.to.0);
        put_text(out, &self.owner);
        out.push(self.fixed.number());
        put_money(out, self.sold);
        put_money(out, self.bought);
        put_text(out, &self.tier);
        put_varint(out, self.sheet.into());
        put_time(out, self.expires_at);
        put_text(out, &self.reference);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            from: AccountId(reader.id("from")?),
            to: AccountId(reader.id("to")?),
            owner: reader.text("owner")?,
            fixed: read_side(reader)?,
            sold: reader.money()?,
            bought: reader.money()?,
            tier: reader.text("tier")?,
            sheet: reader.number("version of the sheet")?,
            expires_at: reader.time()?,
            reference: reader.text("reference")?,
        })
    }
}

impl ConversionPosted {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.owner);
        out.push(self.fixed.number());
        put_text(out, &self.tier);
        put_varint(out, self.sheet.into());
        put_text(out, &self.source);
        put_date(out, self.quoted_on);
        self.sold_per_pivot.encode(out);
        self.bought_per_pivot.encode(out);
        put_varint(out, self.margin_ppm.into());
        put_signed(out, self.margin_minor);
        put_signed(out, self.rounding_minor);
        put_time(out, self.expires_at);
        put_date(out, self.effective_on);
        put_text(out, &self.reference);
        put_postings(out, &self.postings);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            owner: reader.text("owner")?,
            fixed: read_side(reader)?,
            tier: reader.text("tier")?,
            sheet: reader.number("version of the sheet")?,
            source: reader.text("source")?,
            quoted_on: reader.date()?,
            sold_per_pivot: Rate::decode(reader)?,
            bought_per_pivot: Rate::decode(reader)?,
            margin_ppm: reader.number("margin")?,
            margin_minor: reader.signed("margin")?,
            rounding_minor: reader.signed("rounding")?,
            expires_at: reader.time()?,
            effective_on: reader.date()?,
            reference: reader.text("reference")?,
            postings: reader.postings()?,
        })
    }
}

fn read_side(reader: &mut Reader<'_>) -> Result<FixedSide, CodecError> {
    FixedSide::from_number(reader.byte("fixed side")?).ok_or(CodecError::NotCanonical("fixed side"))
}
