//! Fee rules: what the book charges for a move of money when the command names no fee of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Reader, put_currency, put_option, put_signed, put_varint};
use crate::command::minor_text;
use crate::currency::Currency;

/// What a fee is charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeeKind {
    /// A top-up.
    TopUp,
    /// A withdrawal.
    Withdrawal,
    /// A transfer.
    Transfer,
    /// The capture of a hold.
    Capture,
}

impl FeeKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::TopUp, Self::Withdrawal, Self::Transfer, Self::Capture];

    /// The number in the canonical form.
    pub const fn number(self) -> u8 {
        match self {
            Self::TopUp => 1,
            Self::Withdrawal => 2,
            Self::Transfer => 3,
            Self::Capture => 4,
        }
    }

    /// The kind of this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::TopUp,
            2 => Self::Withdrawal,
            3 => Self::Transfer,
            4 => Self::Capture,
            _ => return None,
        })
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::Withdrawal => "withdrawal",
            Self::Transfer => "transfer",
            Self::Capture => "capture",
        }
    }
}

/// Sets the fee rule of a kind of move in a currency. Also the event: the rule was set.
///
/// The fee of an amount is `fixed + amount × rate / 1,000,000`, the quotient rounded to a whole minor unit, halves to the even
/// one, then raised to the minimum and lowered to the maximum. A rule of zeros charges nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetFeeRule {
    /// What it is charged for.
    pub kind: FeeKind,
    /// In which currency.
    pub currency: Currency,
    /// The version of the rule of this kind in this currency; each must be above the one before.
    pub version: u64,
    /// The fixed part, in minor units.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub fixed_minor: i128,
    /// The part that grows with the amount, in millionths of it: 2,500 are 0.25 %.
    pub rate_ppm: u32,
    /// The least that is charged, in minor units; zero for no minimum.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub min_minor: i128,
    /// The most that is charged, in minor units.
    #[serde(with = "minor_text::option")]
    #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub max_minor: Option<i128>,
}

impl SetFeeRule {
    /// Appends the canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind.number());
        put_currency(out, self.currency);
        put_varint(out, u128::from(self.version));
        put_signed(out, self.fixed_minor);
        put_varint(out, u128::from(self.rate_ppm));
        put_signed(out, self.min_minor);
        put_option(out, self.max_minor, put_signed);
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            kind: FeeKind::from_number(reader.byte("kind of fee")?).ok_or(CodecError::NotCanonical("kind of fee"))?,
            currency: reader.currency()?,
            version: reader.number("version")?,
            fixed_minor: reader.signed("fixed fee")?,
            rate_ppm: reader.number("fee rate")?,
            min_minor: reader.signed("least fee")?,
            max_minor: reader.option("greatest fee", |reader| reader.signed("greatest fee"))?,
        })
    }
}
