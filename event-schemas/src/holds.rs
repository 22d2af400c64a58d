//! Holds: money of an account that is set aside until it is captured, voided, or its deadline comes. What is asked, and what
//! happened. The id of a hold is that of the command that placed it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::{
    CodecError, Reader, put_date, put_id, put_money, put_option, put_postings, put_signed, put_text, put_time,
    put_varint,
};
use crate::command::{bounded, minor_text, read_fee};
use crate::date::{CivilDate, Timestamp};
use crate::ids::{AccountId, CommandId};
use crate::money::{Money, Postings};

/// Sets money of an account aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceHold {
    /// The account: one that debits lower (liability, equity, income).
    pub account: AccountId,
    /// How much.
    pub amount: Money,
    /// The deadline, at which the hold ends by itself. Without one, somebody has to end it.
    pub expires_at: Option<Timestamp>,
    /// A free text. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// Moves held money, or a part of it, to another account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureHold {
    /// The hold: the id of the command that placed it.
    pub hold: CommandId,
    /// The account credited.
    pub to: AccountId,
    /// What the receiver gets.
    pub amount: Money,
    /// A fee that is taken from the hold on top, in minor units of the same currency; zero for none. If absent, the fee rule
    /// says.
    #[serde(with = "minor_text::option")]
    #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub fee_minor: Option<i128>,
    /// Whether what is left after this is released.
    pub last: bool,
    /// The date it counts for; the date of recording if absent.
    pub effective_on: Option<CivilDate>,
    /// A free text. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// Ends a hold and releases what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidHold {
    /// The hold.
    pub hold: CommandId,
    /// Why; may be empty. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

/// A hold was placed: the account's pending debits rise by its amount. Its id is that of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldPlaced {
    /// The account.
    pub account: AccountId,
    /// How much is held.
    pub amount: Money,
    /// The deadline, if it has one.
    pub expires_at: Option<Timestamp>,
    /// The command's free text.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// Held money was moved. It is an entry: debit the account (amount and fee), credit the receiver; with a fee also credit fee
/// income. The account's pending debits fall by what its posting takes and by what is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldCaptured {
    /// The hold.
    pub hold: CommandId,
    /// Whether the command said that this is the last capture.
    pub last: bool,
    /// If the command left the fee to the rule, the version of the rule; zero if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_rule: Option<u64>,
    /// What is released of the hold, in minor units of its currency; above zero only if this is the last capture.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub released_minor: i128,
    /// What is still held after this; at zero the hold is closed.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub left_minor: i128,
    /// The date it counts for.
    pub effective_on: CivilDate,
    /// Whether the command named that date; otherwise it is the date of recording.
    pub effective_on_named: bool,
    /// The command's free text.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
    /// Its postings, zero in sum.
    #[serde(deserialize_with = "bounded::postings")]
    #[schemars(with = "Vec<crate::money::Posting>", length(max = 1000))]
    pub postings: Postings,
}

/// A hold was ended by a command; the account's pending debits fall by what is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldVoided {
    /// The hold.
    pub hold: CommandId,
    /// Its account.
    pub account: AccountId,
    /// What was left of it.
    pub released: Money,
    /// The command's reason.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

/// The deadline of a hold came; the account's pending debits fall by what is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldExpired {
    /// The hold.
    pub hold: CommandId,
    /// Its account.
    pub account: AccountId,
    /// What was left of it.
    pub released: Money,
    /// Its deadline.
    pub expires_at: Timestamp,
}

impl PlaceHold {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.account.0);
        put_money(out, self.amount);
        put_option(out, self.expires_at, put_time);
        put_text(out, &self.reference);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            account: AccountId(reader.id("account")?),
            amount: reader.money()?,
            expires_at: reader.option("deadline", Reader::time)?,
            reference: reader.text("reference")?,
        })
    }
}

impl CaptureHold {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.hold.0);
        put_id(out, self.to.0);
        put_money(out, self.amount);
        put_signed(out, self.fee_minor.unwrap_or(0));
        out.push(u8::from(self.last));
        put_option(out, self.effective_on, put_date);
        put_text(out, &self.reference);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, by_rule: bool) -> Result<Self, CodecError> {
        Ok(Self {
            hold: CommandId(reader.id("hold")?),
            to: AccountId(reader.id("to")?),
            amount: reader.money()?,
            fee_minor: read_fee(reader, by_rule)?,
            last: reader.flag("last")?,
            effective_on: reader.option("effective date", Reader::date)?,
            reference: reader.text("reference")?,
        })
    }
}

impl VoidHold {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.hold.0);
        put_text(out, &self.reason);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { hold: CommandId(reader.id("hold")?), reason: reader.text("reason")? })
    }
}

impl HoldPlaced {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.account.0);
        put_money(out, self.amount);
        put_option(out, self.expires_at, put_time);
        put_text(out, &self.reference);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            account: AccountId(reader.id("account")?),
            amount: reader.money()?,
            expires_at: reader.option("deadline", Reader::time)?,
            reference: reader.text("reference")?,
        })
    }
}

/// The bit beside `last` in the canonical form of a capture that tells that the fee was left to the rule.
const CAPTURE_FEE_BY_RULE: u8 = 2;

impl HoldCaptured {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.hold.0);
        out.push(u8::from(self.last) | if self.fee_rule.is_some() { CAPTURE_FEE_BY_RULE } else { 0 });
        if let Some(version) = self.fee_rule {
            put_varint(out, u128::from(version));
        }
        put_signed(out, self.released_minor);
        put_signed(out, self.left_minor);
        put_date(out, self.effective_on);
        out.push(u8::from(self.effective_on_named));
        put_text(out, &self.reference);
        put_postings(out, &self.postings);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let hold = CommandId(reader.id("hold")?);
        let bits = reader.byte("last")?;
        if bits & !(1 | CAPTURE_FEE_BY_RULE) != 0 {
            return Err(CodecError::NotCanonical("last"));
        }
        let fee_rule =
            if bits & CAPTURE_FEE_BY_RULE == 0 { None } else { Some(reader.number("version of the fee rule")?) };
        Ok(Self {
            hold,
            last: bits & 1 == 1,
            fee_rule,
            released_minor: reader.signed("released")?,
            left_minor: reader.signed("left")?,
            effective_on: reader.date()?,
            effective_on_named: reader.flag("effective date named")?,
            reference: reader.text("reference")?,
            postings: reader.postings()?,
        })
    }
}

impl HoldVoided {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.hold.0);
        put_id(out, self.account.0);
        put_money(out, self.released);
        put_text(out, &self.reason);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            hold: CommandId(reader.id("hold")?),
            account: AccountId(reader.id("account")?),
            released: reader.money()?,
            reason: reader.text("reason")?,
        })
    }
}

impl HoldExpired {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.hold.0);
        put_id(out, self.account.0);
        put_money(out, self.released);
        put_time(out, self.expires_at);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            hold: CommandId(reader.id("hold")?),
            account: AccountId(reader.id("account")?),
            released: reader.money()?,
            expires_at: reader.time()?,
        })
    }
}
