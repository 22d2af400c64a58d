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

    /// The first day of its month.
    #[must_use]
    pub fn month_start(self) -> Self {
        Self::from_jiff(self.to_jiff().first_of_month()).unwrap_or(self)
    }

    /// The first day of the month after its own; `None` behind the year 9999.
    pub fn next_month_start(self) -> Option<Self> {
        Self::from_jiff(self.to_jiff().last_of_month().tomorrow().ok()?)
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
        let formed = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
        if text.len() != 10 || !text.bytes().enumerate().all(formed) {
            return Err(error());
        }
        text.parse::<Date>().ok().and_then(Self::from_jiff).ok_or_else(error)
    }
}

/// A point in time: microseconds from 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-30T22:00:00Z, the latest time that has a text in every offset.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// The moment so many microseconds from 1970-01-01T00:00:00Z; `None` outside [`Timestamp::MIN`] to [`Timestamp::MAX`].
    pub fn from_micros(micros: i64) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&Self(micros)).then_some(Self(micros))
    }

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
            .ok()
            .and_then(|time| Self::from_micros(time.as_microsecond()))
            .ok_or_else(|| DateError { text: text.chars().take(40).collect(), what: "a time (RFC 3339)" })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dates_are_read_in_one_form() {
        for (text, days) in [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(-1)),
            ("2000-02-29", Some(11_016)),
            ("1993-01-05", Some(8_405)),
            ("0001-01-01", Some(CivilDate::MIN.days())),
            ("9999-12-31", Some(CivilDate::MAX.days())),
            ("1900-01-01", Some(crate::bounds::EFFECTIVE_EARLIEST_DAYS)),
            ("1900-02-29", None),
            ("2001-02-29", None),
            ("2024-13-01", None),
            ("2024-00-10", None),
            ("2024-04-31", None),
            ("0000-01-01", None),
            ("10000-01-01", None),
            ("-001-01-01", None),
            ("2024-1-1", None),
            ("2024-1-001", None),
            ("2024-01-1 ", None),
            ("20240101", None),
            ("2024/01/01", None),
            ("2024-W01-1", None),
            ("2024-001", None),
            ("2024-01-01T00:00:00", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<CivilDate>().ok().map(CivilDate::days), days, "{text:?}");
        }
        assert_eq!(CivilDate::from_days(CivilDate::MIN.days() - 1), None);
        assert_eq!(CivilDate::from_days(CivilDate::MAX.days() + 1), None);
        assert_eq!(CivilDate::from_ymd(1993, 1, 5), "1993-01-05".parse().ok());
    }

    #[test]
    fn months_begin_on_their_first_day() {
        for (day, start, next) in [
            ("2026-11-21", "2026-11-01", Some("2026-12-01")),
            ("2026-12-31", "2026-12-01", Some("2027-01-01")),
            ("2028-02-29", "2028-02-01", Some("2028-03-01")),
            ("2027-02-01", "2027-02-01", Some("2027-03-01")),
            ("0001-01-01", "0001-01-01", Some("0001-02-01")),
            ("9999-12-31", "9999-12-01", None),
        ] {
            let day: CivilDate = day.parse().unwrap();
            assert_eq!(day.month_start().to_string(), start);
            assert_eq!(day.next_month_start().map(|day| day.to_string()).as_deref(), next);
        }
    }

    #[test]
    fn times_are_read_and_shown_in_utc() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00.000001Z", Some(1)),
            ("1970-01-01T00:00:00.0000019Z", Some(1)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2026-11-21T09:30:00Z", Some(1_795_253_400_000_000)),
            ("0001-01-01T00:00:00Z", Some(Timestamp::MIN.0)),
            ("9999-12-30T22:00:00Z", Some(Timestamp::MAX.0)),
            ("0000-12-31T23:59:59Z", None),
            ("9999-12-31T23:00:00Z", None),
            ("2026-02-30T00:00:00Z", None),
            ("2026-11-21T09:30:00", None),
            ("2026-11-21", None),
            ("now", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Timestamp>().ok().map(|time| time.0), micros, "{text:?}");
        }
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00.000000Z");
        assert_eq!(Timestamp::from_micros(Timestamp::MAX.0 + 1), None);
        assert_eq!(Timestamp::from_micros(Timestamp::MIN.0 - 1), None);
    }

    #[test]
    fn a_moment_lies_on_its_day() {
        for (micros, day) in [
            (0, "1970-01-01"),
            (MICROS_PER_DAY - 1, "1970-01-01"),
            (MICROS_PER_DAY, "1970-01-02"),
            (-1, "1969-12-31"),
            (Timestamp::MIN.0, "0001-01-01"),
            (Timestamp::MAX.0, "9999-12-30"),
        ] {
            assert_eq!(Timestamp(micros).date_utc().to_string(), day);
        }
    }
}
