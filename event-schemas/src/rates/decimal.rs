//! A rate as a source quotes it: an exact decimal, above zero.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounds::{RATE_DIGITS_MAX, RATE_SCALE_MAX};
use crate::codec::{CodecError, Reader, put_varint};

/// An exact decimal above zero: at most [`RATE_DIGITS_MAX`] significant digits, at most [`RATE_SCALE_MAX`] of them behind the
/// point. One value has one form: `1.10` is `1.1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    mantissa: u64,
    scale: u8,
}

/// A text that is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RateError {
    /// Not a decimal number.
    #[error("{0:?} is not a decimal number")]
    NotANumber(String),
    /// Zero or below.
    #[error("a rate must be above zero")]
    NotPositive,
    /// More digits than a rate may have.
    #[error("{0:?} has more digits than a rate may have")]
    TooLong(String),
}

const MANTISSA_END: u64 = 10_u64.pow(RATE_DIGITS_MAX);

impl Rate {
    /// One: the rate of the pivot.
    pub const ONE: Self = Self { mantissa: 1, scale: 0 };

    /// A rate of so many units of 10^-scale, brought to its one form; `None` if it is zero or out of bounds.
    pub const fn new(mut mantissa: u64, mut scale: u8) -> Option<Self> {
        while scale > 0 && mantissa.is_multiple_of(10) && mantissa > 0 {
            mantissa /= 10;
            scale -= 1;
        }
        if mantissa == 0 || mantissa >= MANTISSA_END || scale > RATE_SCALE_MAX {
            return None;
        }
        Some(Self { mantissa, scale })
    }

    /// Its digits, as a whole number.
    pub const fn mantissa(self) -> u64 {
        self.mantissa
    }

    /// How many of them stand behind the point.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Reads a number as JSON writes it, an exponent included: `0.92345`, `1.2e-5`. From its text, so nothing is lost.
    pub fn parse_number(text: &str) -> Result<Self, RateError> {
        let shown = || text.chars().take(64).collect::<String>();
        let (decimal, exponent) = match text.split_once(['e', 'E']) {
            Some((decimal, exponent)) => {
                (decimal, exponent.parse::<i32>().map_err(|_| RateError::NotANumber(shown()))?)
            }
            None => (text, 0),
        };
        let unsigned = decimal.strip_prefix('-').unwrap_or(decimal);
        let (whole, behind) = match unsigned.split_once('.') {
            Some((_, "")) => return Err(RateError::NotANumber(shown())),
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(behind) {
            return Err(RateError::NotANumber(shown()));
        }
        let all: Vec<u8> = whole.bytes().chain(behind.bytes()).map(|byte| byte - b'0').collect();
        let trailing = all.iter().rev().take_while(|digit| **digit == 0).count();
        let kept = all.get(..all.len() - trailing).unwrap_or_default();
        let significant: Vec<u8> = kept.iter().copied().skip_while(|digit| *digit == 0).collect();
        if significant.is_empty() || unsigned.len() < decimal.len() {
            return Err(RateError::NotPositive);
        }
        let too_long = || RateError::TooLong(shown());
        if significant.len() > RATE_DIGITS_MAX as usize || all.len() > 4096 {
            return Err(too_long());
        }
        let mantissa = significant.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(*digit));
        // Places behind the point, of the digits that are kept; below zero if zeros are missing before it.
        let places = i64::try_from(behind.len()).unwrap_or(i64::MAX)
            - i64::try_from(trailing).unwrap_or(i64::MAX)
            - i64::from(exponent);
        let (mantissa, scale) = match u8::try_from(places) {
            Ok(scale) => (mantissa, scale),
            Err(_) if (-i64::from(RATE_DIGITS_MAX)..0).contains(&places) => {
                let zeros = u32::try_from(-places).unwrap_or(u32::MAX);
                let grown = 10_u64.checked_pow(zeros).and_then(|power| mantissa.checked_mul(power));
                (grown.ok_or_else(too_long)?, 0)
            }
            Err(_) => return Err(too_long()),
        };
        Self::new(mantissa, scale).ok_or_else(too_long)
    }

    /// Appends the canonical form.
    pub fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.mantissa.into());
        out.push(self.scale);
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (mantissa, scale) = (reader.number("digits of a rate")?, reader.byte("scale of a rate")?);
        let rate = Self::new(mantissa, scale).ok_or(CodecError::NotCanonical("rate"))?;
        if rate.scale == scale { Ok(rate) } else { Err(CodecError::NotCanonical("rate")) }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    /// Reads a plain decimal, such as `0.92345`.
    fn from_str(text: &str) -> Result<Self, RateError> {
        if text.contains(['e', 'E']) {
            return Err(RateError::NotANumber(text.chars().take(64).collect()));
        }
        Self::parse_number(text)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u64.pow(self.scale.into());
        match usize::from(self.scale) {
            0 => write!(f, "{}", self.mantissa),
            width => write!(f, "{}.{:0width$}", self.mantissa / unit, self.mantissa % unit),
        }
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let rate: Self = text.parse().map_err(D::Error::custom)?;
        if rate.to_string() == *text { Ok(rate) } else { Err(D::Error::custom("not the one form of a rate")) }
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(0|[1-9][0-9]{0,13})(\.[0-9]{0,13}[1-9])?$" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rates_are_read_exactly_and_have_one_form() {
        for (text, shown) in [
            ("0.92345", Some("0.92345")),
            ("1", Some("1")),
            ("1.10", Some("1.1")),
            ("001.0", Some("1")),
            ("15839.5", Some("15839.5")),
            ("0.00001028", Some("0.00001028")),
            ("1.028e-5", Some("0.00001028")),
            ("1.5E3", Some("1500")),
            ("12e0", Some("12")),
            ("99999999999999", Some("99999999999999")),
            ("0.00000000000001", Some("0.00000000000001")),
            ("100000000000000", None),
            ("0.000000000000001", None),
            ("1.23456789012345", None),
            ("1e40", None),
            ("1e-40", None),
            ("1e99999999999", None),
            ("0", None),
            ("0.000", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            (".5", None),
            ("5.", None),
            ("1,5", None),
            ("NaN", None),
            ("N/A", None),
            (" 1", None),
            ("0x1", None),
        ] {
            let read = Rate::parse_number(text).ok();
            assert_eq!(read.map(|rate| rate.to_string()).as_deref(), shown, "{text}");
            if let Some(rate) = read {
                let mut bytes = Vec::new();
                rate.encode(&mut bytes);
                assert_eq!(Rate::decode(&mut Reader::new(&bytes)).unwrap(), rate);
                assert_eq!(serde_json::from_value::<Rate>(serde_json::to_value(rate).unwrap()).unwrap(), rate);
            }
        }
        assert!("1e0".parse::<Rate>().is_err());
        assert_eq!(Rate::parse_number("0"), Err(RateError::NotPositive));
        assert_eq!(Rate::parse_number("-0.5"), Err(RateError::NotPositive));
        // Another form of 1.1, and zero.
        for bytes in [[110, 2], [0, 0]] {
            assert!(Rate::decode(&mut Reader::new(&bytes)).is_err());
        }
        assert!(serde_json::from_str::<Rate>("\"1.10\"").is_err());
    }
}
