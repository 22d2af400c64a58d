//! Money, sides and postings.

use std::borrow::Cow;
use std::fmt;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::bounds::AMOUNT_MAX_MINOR;
use crate::currency::{Currency, UnknownCurrency};
use crate::ids::AccountId;

/// An amount of one currency, in minor units. `rust_decimal` stops at this border; inside, amounts are integers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Minor units: cents for EUR, yen for JPY. At most 10^24 either way.
    pub amount_minor: i128,
    /// The currency, with its frozen exponent.
    pub currency: Currency,
}

/// An amount that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("{0:?} is not a decimal number")]
    NotANumber(String),
    /// More decimals than the currency has.
    #[error("{text:?} has more than the {exponent} decimals of {currency}")]
    TooPrecise {
        /// The amount as it was given.
        text: String,
        /// The currency.
        currency: Currency,
        /// The decimals it has.
        exponent: u8,
    },
    /// Above 10^24 minor units.
    #[error("the amount is above 10^24 minor units")]
    TooLarge,
    /// Not a currency.
    #[error(transparent)]
    Currency(#[from] UnknownCurrency),
}

impl Money {
    /// An amount of minor units.
    pub const fn new(amount_minor: i128, currency: Currency) -> Self {
        Self { amount_minor, currency }
    }

    /// Reads a decimal text such as `12.34`. Fewer decimals than the currency has are fine, more are refused: nothing is
    /// rounded in silence.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let shown = || text.chars().take(64).collect::<String>();
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-')
            && text.bytes().any(|b| b.is_ascii_digit())
            && !text.ends_with('.')
            && !text.trim_start_matches('-').starts_with('.');
        if !plain {
            return Err(MoneyError::NotANumber(shown()));
        }
        let decimals = text.split_once('.').map_or("", |(_, decimals)| decimals);
        let significant = decimals.trim_end_matches('0').len();
        if significant > usize::from(currency.exponent()) {
            return Err(MoneyError::TooPrecise { text: shown(), currency, exponent: currency.exponent() });
        }
        let whole = text.trim_start_matches('-').split('.').next().unwrap_or("").trim_start_matches('0');
        if whole.len() > 25 {
            return Err(MoneyError::TooLarge);
        }
        let kept = text.len() - (decimals.len() - significant);
        let decimal = Decimal::from_str_exact(text.get(..kept).unwrap_or(text).trim_end_matches('.'))
            .map_err(|_| MoneyError::NotANumber(shown()))?;
        let scale_up = u32::from(currency.exponent()).checked_sub(decimal.scale()).ok_or(MoneyError::TooLarge)?;
        let mantissa = decimal.mantissa();
        let amount_minor = mantissa.checked_mul(10_i128.pow(scale_up)).ok_or(MoneyError::TooLarge)?;
        if amount_minor.abs() > AMOUNT_MAX_MINOR {
            return Err(MoneyError::TooLarge);
        }
        Ok(Self { amount_minor, currency })
    }

    /// The amount without its currency: `12.34`.
    pub fn amount(self) -> impl fmt::Display {
        Amount { amount_minor: self.amount_minor, exponent: self.currency.exponent() }
    }
}

/// Minor units shown as a decimal.
struct Amount {
    amount_minor: i128,
    exponent: u8,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let unit = 10_u128.pow(u32::from(self.exponent));
        let minor = self.amount_minor.unsigned_abs();
        match usize::from(self.exponent) {
            0 => f.pad(&format!("{sign}{minor}")),
            width => f.pad(&format!("{sign}{}.{:0width$}", minor / unit, minor % unit)),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount(), self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Money in JSON: the amount as a text with exactly the decimals of its currency, which carries the exponent along.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Money")]
struct MoneyJson<'a> {
    /// A decimal with exactly the currency's decimals.
    #[schemars(regex(pattern = r"^-?\d{1,25}(\.\d{1,4})?$"))]
    amount: Cow<'a, str>,
    /// ISO 4217.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    currency: Cow<'a, str>,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let amount = self.amount().to_string();
        MoneyJson { amount: amount.into(), currency: self.currency.code().into() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = MoneyJson::deserialize(deserializer)?;
        let decimals = json.amount.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let code: [u8; 3] = json.currency.as_bytes().try_into().map_err(D::Error::custom)?;
        let currency = u8::try_from(decimals)
            .ok()
            .and_then(|exponent| Currency::from_parts(code, exponent))
            .ok_or_else(|| D::Error::custom("not an amount of a currency"))?;
        Self::parse(&json.amount, currency).map_err(D::Error::custom)
    }
}

impl JsonSchema for Money {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        MoneyJson::json_schema(generator)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CurrencyJson { code: self.code().into(), exponent: self.exponent() }.serialize(serializer)
    }
}

/// A currency in JSON where no amount carries its exponent.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Currency")]
struct CurrencyJson<'a> {
    /// ISO 4217.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    code: Cow<'a, str>,
    /// Decimals of the minor unit.
    #[schemars(range(max = 4))]
    exponent: u8,
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = CurrencyJson::deserialize(deserializer)?;
        let code: [u8; 3] = json.code.as_bytes().try_into().map_err(D::Error::custom)?;
        Self::from_parts(code, json.exponent).ok_or_else(|| D::Error::custom("not a currency"))
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        CurrencyJson::json_schema(generator)
    }
}

/// The side of a posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Raises assets and expenses.
    Debit,
    /// Raises liabilities, equity and income.
    Credit,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Debit => Self::Credit,
            Self::Credit => Self::Debit,
        }
    }
}

/// One debit or credit of an entry. The amount is positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Posting {
    /// The account it moves.
    pub account: AccountId,
    /// Debit or credit.
    pub side: Side,
    /// How much, above zero.
    pub money: Money,
}

impl Posting {
    /// A debit.
    pub const fn debit(account: AccountId, money: Money) -> Self {
        Self { account, side: Side::Debit, money }
    }

    /// A credit.
    pub const fn credit(account: AccountId, money: Money) -> Self {
        Self { account, side: Side::Credit, money }
    }
}

/// The postings of an entry: nearly always two to four, kept inline.
pub type Postings = SmallVec<[Posting; 4]>;
