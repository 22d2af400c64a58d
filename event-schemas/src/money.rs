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

/// An amount of one currency, in minor units: an integer. Decimals stop at this border, and floats never reach it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Minor units: cents for EUR, yen for JPY. At most 10^24 either way where it moves; a refusal may quote any.
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

    /// Reads a decimal text such as `12.34`: an optional minus, digits, and perhaps a point with more digits. Fewer decimals
    /// than the currency has are fine, more are refused unless they are zeros: nothing is rounded in silence.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let shown = || text.chars().take(64).collect::<String>();
        let (negative, whole, decimals) = split_decimal(text).ok_or_else(|| MoneyError::NotANumber(shown()))?;
        let (whole, decimals) = (whole.trim_start_matches('0'), decimals.trim_end_matches('0'));
        let exponent = currency.exponent();
        if decimals.len() > usize::from(exponent) {
            return Err(MoneyError::TooPrecise { text: shown(), currency, exponent });
        }
        // Whole and decimals together may be longer than any decimal is, and are far too large then.
        let sign = if negative { "-" } else { "" };
        let decimal =
            Decimal::from_str_exact(&format!("{sign}0{whole}.{decimals}0")).map_err(|_| MoneyError::TooLarge)?;
        Self::from_decimal(decimal, currency)
    }

    /// An amount given as a decimal: the border where `rust_decimal` stops. More decimals than the currency has are refused
    /// unless they are zeros.
    pub fn from_decimal(decimal: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let (plain, exponent) = (decimal.normalize(), currency.exponent());
        let Some(zeros) = u32::from(exponent).checked_sub(plain.scale()) else {
            return Err(MoneyError::TooPrecise { text: decimal.to_string(), currency, exponent });
        };
        let amount_minor = plain
            .mantissa()
            .checked_mul(10_i128.pow(zeros))
            .filter(|minor| minor.unsigned_abs() <= AMOUNT_MAX_MINOR.unsigned_abs())
            .ok_or(MoneyError::TooLarge)?;
        Ok(Self { amount_minor, currency })
    }

    /// The amount as a decimal, with the currency's decimals; `None` above some 7.9 × 10^28 minor units, which only a total
    /// or a refused amount reaches.
    pub fn decimal(self) -> Option<Decimal> {
        Decimal::try_from_i128_with_scale(self.amount_minor, u32::from(self.currency.exponent())).ok()
    }

    /// Reads exactly what [`Money::amount`] shows, of any size that was ever recorded: a refusal quotes amounts that no
    /// entry may have.
    fn from_recorded(text: &str, code: &str) -> Option<Self> {
        let (negative, whole, decimals) = split_decimal(text)?;
        let currency = Currency::from_parts(code.as_bytes().try_into().ok()?, u8::try_from(decimals.len()).ok()?)?;
        let amount_minor = minor_units(negative, whole.bytes().chain(decimals.bytes()))?;
        let money = Self { amount_minor, currency };
        (money.amount().to_string() == text).then_some(money)
    }

    /// The amount without its currency: `12.34`.
    pub fn amount(self) -> impl fmt::Display {
        Amount { amount_minor: self.amount_minor, exponent: self.currency.exponent() }
    }
}

/// Takes a decimal apart: whether it is negative, its digits before the point and those behind it.
fn split_decimal(text: &str) -> Option<(bool, &str, &str)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = match unsigned.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (unsigned, ""),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (!whole.is_empty() && digits(whole) && digits(decimals)).then_some((unsigned.len() < text.len(), whole, decimals))
}

/// The number that these digits spell; `None` if it does not fit.
fn minor_units(negative: bool, digits: impl Iterator<Item = u8>) -> Option<i128> {
    let mut minor = 0_i128;
    for digit in digits {
        let digit = i128::from(digit - b'0');
        minor = minor.checked_mul(10)?;
        minor = if negative { minor.checked_sub(digit)? } else { minor.checked_add(digit)? };
    }
    Some(minor)
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
    #[schemars(regex(pattern = r"^-?(0|[1-9][0-9]{0,38})(\.[0-9]{1,4})?$"))]
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
        Self::from_recorded(&json.amount, &json.currency)
            .ok_or_else(|| D::Error::custom("not an amount with exactly the decimals of a currency"))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Reading {
        Minor(i128),
        NotANumber,
        TooPrecise,
        TooLarge,
    }
    use Reading::{Minor, NotANumber, TooLarge, TooPrecise};

    fn read(text: &str, currency: &str) -> Reading {
        match Money::parse(text, currency.parse().unwrap()) {
            Ok(money) => Minor(money.amount_minor),
            Err(MoneyError::NotANumber(_)) => NotANumber,
            Err(MoneyError::TooPrecise { .. }) => TooPrecise,
            Err(MoneyError::TooLarge) => TooLarge,
            Err(other @ MoneyError::Currency(_)) => panic!("{other}"),
        }
    }

    #[test]
    fn amounts_are_read_exactly() {
        let bound_eur = format!("1{}.00", "0".repeat(22));
        let above_eur = format!("1{}.01", "0".repeat(22));
        let bound_clf = format!("1{}", "0".repeat(20));
        let nines_clf = format!("{}.9999", "9".repeat(25));
        let ten_to_60 = format!("1{}", "0".repeat(60));
        let zeros = format!("{}12.5{}", "0".repeat(300), "0".repeat(300));
        let many_decimals = format!("0.{}1", "0".repeat(300));
        let below = format!("-{bound_eur}");
        let far_below = format!("-{above_eur}");
        let table: &[(&str, &str, Reading)] = &[
            // Two decimals.
            ("12.34", "EUR", Minor(1_234)),
            ("12.3", "EUR", Minor(1_230)),
            ("12", "EUR", Minor(1_200)),
            ("0.01", "EUR", Minor(1)),
            ("-0.01", "EUR", Minor(-1)),
            ("-12.34", "EUR", Minor(-1_234)),
            ("0", "EUR", Minor(0)),
            ("-0", "EUR", Minor(0)),
            ("-0.00", "EUR", Minor(0)),
            ("007.50", "EUR", Minor(750)),
            ("12.340", "EUR", Minor(1_234)),
            ("12.3400000", "EUR", Minor(1_234)),
            ("12.345", "EUR", TooPrecise),
            ("0.001", "EUR", TooPrecise),
            // None, three, four.
            ("500", "JPY", Minor(500)),
            ("500.00", "JPY", Minor(500)),
            ("500.5", "JPY", TooPrecise),
            ("1.234", "BHD", Minor(1_234)),
            ("1.2", "BHD", Minor(1_200)),
            ("1.2345", "BHD", TooPrecise),
            ("1.2345", "CLF", Minor(12_345)),
            ("1.23456", "CLF", TooPrecise),
            // The bound of 10^24 minor units.
            (&bound_eur, "EUR", Minor(AMOUNT_MAX_MINOR)),
            (&above_eur, "EUR", TooLarge),
            (&below, "EUR", Minor(-AMOUNT_MAX_MINOR)),
            (&far_below, "EUR", TooLarge),
            (&bound_clf, "CLF", Minor(AMOUNT_MAX_MINOR)),
            (&nines_clf, "CLF", TooLarge),
            (&ten_to_60, "JPY", TooLarge),
            (&zeros, "EUR", Minor(1_250)),
            (&many_decimals, "EUR", TooPrecise),
            // Other ways to write numbers, and no numbers.
            (".5", "EUR", NotANumber),
            ("-.5", "EUR", NotANumber),
            ("5.", "EUR", NotANumber),
            ("+5", "EUR", NotANumber),
            ("--5", "EUR", NotANumber),
            ("5-", "EUR", NotANumber),
            ("1-2", "EUR", NotANumber),
            ("1.2.3", "EUR", NotANumber),
            ("1.-2", "EUR", NotANumber),
            ("1e3", "EUR", NotANumber),
            ("1E3", "EUR", NotANumber),
            ("0x10", "EUR", NotANumber),
            ("1,50", "EUR", NotANumber),
            ("1_000", "EUR", NotANumber),
            ("1 000", "EUR", NotANumber),
            (" 5", "EUR", NotANumber),
            ("5 ", "EUR", NotANumber),
            ("5\n", "EUR", NotANumber),
            ("", "EUR", NotANumber),
            ("-", "EUR", NotANumber),
            (".", "EUR", NotANumber),
            ("NaN", "EUR", NotANumber),
            ("inf", "EUR", NotANumber),
            ("\u{0665}", "EUR", NotANumber),
            ("\u{2212}5", "EUR", NotANumber),
        ];
        for (text, currency, expected) in table {
            assert_eq!(read(text, currency), *expected, "{text:?} {currency}");
        }
    }

    #[test]
    fn amounts_are_shown_with_all_their_decimals() {
        for (minor, currency, shown) in [
            (1_234, "EUR", "12.34"),
            (-5, "EUR", "-0.05"),
            (0, "EUR", "0.00"),
            (-500, "JPY", "-500"),
            (1, "BHD", "0.001"),
            (-12_345, "CLF", "-1.2345"),
            (i128::MIN, "JPY", "-170141183460469231731687303715884105728"),
        ] {
            assert_eq!(Money::new(minor, currency.parse().unwrap()).amount().to_string(), shown);
        }
    }

    #[test]
    fn recorded_money_has_one_form_in_json() {
        let read = |amount: &str, currency: &str| {
            serde_json::from_value::<Money>(serde_json::json!({ "amount": amount, "currency": currency })).ok()
        };
        let of = |code: [u8; 3], exponent, minor| Money::new(minor, Currency::from_parts(code, exponent).unwrap());
        assert_eq!(read("12.34", "EUR"), Some(of(*b"EUR", 2, 1_234)));
        assert_eq!(read("12", "JPY"), Some(of(*b"JPY", 0, 12)));
        // The exponent is the recorded one, whatever ISO says.
        assert_eq!(read("1.2345", "EUR"), Some(of(*b"EUR", 4, 12_345)));
        assert_eq!(read("-170141183460469231731687303715884105728", "JPY"), Some(of(*b"JPY", 0, i128::MIN)));
        let refused =
            ["-0.00", "01.00", "1.", ".50", "1.23456", "+1.00", "1e3", "170141183460469231731687303715884105728"];
        for amount in refused {
            assert_eq!(read(amount, "EUR"), None, "{amount}");
        }
        for code in ["eur", "EU", "EURO", "E1R", ""] {
            assert_eq!(read("1.00", code), None, "{code}");
        }
        let json = serde_json::json!({ "amount": "1.00", "currency": "EUR", "more": 1 });
        assert!(serde_json::from_value::<Money>(json).is_err());
        assert!(serde_json::from_value::<Money>(serde_json::json!({ "amount": 1.0, "currency": "EUR" })).is_err());
    }

    #[test]
    fn decimals_pass_the_border_both_ways_and_are_never_rounded() {
        let (eur, jpy): (Currency, Currency) = ("EUR".parse().unwrap(), "JPY".parse().unwrap());
        let decimal = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(Money::from_decimal(decimal("-12.340"), eur), Ok(Money::new(-1_234, eur)));
        assert_eq!(Money::new(-1_234, eur).decimal(), Some(decimal("-12.34")));
        assert!(matches!(Money::from_decimal(decimal("12.345"), eur), Err(MoneyError::TooPrecise { .. })));
        assert!(matches!(Money::from_decimal(decimal("0.5"), jpy), Err(MoneyError::TooPrecise { .. })));
        assert_eq!(Money::from_decimal(Decimal::MAX, jpy), Err(MoneyError::TooLarge));
        assert_eq!(Money::new(i128::MAX, eur).decimal(), None);
    }
}
