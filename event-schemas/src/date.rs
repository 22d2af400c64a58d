//! Calendar dates and points in time, as plain integers with their ISO 8601 forms at the border.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A text that is not a date or a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct DateError {
    text: String,
    what: &'static str,
}

/// A calendar date, in days from 1970-01-01, between the years 1 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CivilDate(i32);

impl CivilDate {
    /// 0001-01-01.
    pub const MIN: Self = Self(-719_162);
    /// 9999-12-31.
    pub const MAX: Self = Self(2_932_896);

    /// The date so many days from 1970-01-01; `None` outside the years 1 to 9999.
    pub const fn from_days(days: i32) -> Option<Self> {
        if days >= Self::MIN.0 && days <= Self::MAX.0 { Some(Self(days)) } else { None }
    }

    /// Days from 1970-01-01.
    pub const fn days(self) -> i32 {
        self.0
    }

    /// The date of a year, month and day.
    pub fn from_ymd(year: i16, month: i8, day: i8) -> Option<Self> {
        Self::from_jiff(Date::new(year, month, day).ok()?)
    }

    fn from_jiff(date: Date) -> Option<Self> {
        let epoch = jiff::civil::date(1970, 1, 1);
        Self::from_days(epoch.until(date).ok()?.get_days())
    }

    fn to_jiff(self) -> Date {
        jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(self.0))
    }
}

impl fmt::Display for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl fmt::Debug for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CivilDate {
    type Err = DateError;

    /// Reads `YYYY-MM-DD` and nothing else.
    fn from_str(text: &str) -> Result<Self, DateError> {
        let error = || DateError { text: text.chars().take(40).collect(), what: "a date (YYYY-MM-DD)" };
        if text.len() != 10 || text.as_bytes().get(4) != Some(&b'-') {
            return Err(error());
        }
        text.parse::<Date>().ok().and_then(Self::from_jiff).ok_or_else(error)
    }
}

/// A point in time: microseconds from 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The latest time there is: the end of the year 9999, so that every timestamp has a text.
    pub const MAX: Self = Self(253_402_300_799_999_999 - 86_400_000_000);

    /// The date of this moment in UTC.
    pub fn date_utc(self) -> CivilDate {
        let days = i32::try_from(self.0.div_euclid(MICROS_PER_DAY)).unwrap_or(i32::MAX);
        CivilDate(days.clamp(CivilDate::MIN.0, CivilDate::MAX.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = DateError;

    /// Reads RFC 3339, such as `2026-11-21T09:30:00Z`; anything finer than a microsecond is cut.
    fn from_str(text: &str) -> Result<Self, DateError> {
        text.parse::<jiff::Timestamp>()
            .map(|time| Self(time.as_microsecond()))
            .map_err(|_| DateError { text: text.chars().take(40).collect(), what: "a time (RFC 3339)" })
    }
}

macro_rules! text_serde {
    ($name:ident, $format:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }
    };
}

text_serde!(CivilDate, "date");
text_serde!(Timestamp, "date-time");
