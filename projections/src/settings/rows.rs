//! The tables of the settings.

use event_schemas::codec::{CodecError, Reader, put_date, put_signed, put_text, put_varint};
use event_schemas::fees::FeeKind;
use event_schemas::{CivilDate, Currency, Sequence, Timestamp};

use crate::ports::{ColumnType, Table};
use crate::table::{
    Row, currency_of, key_number, key_text, put_key_number, put_key_text, put_sequence, put_time, sequence, time,
};

/// Fee rules by kind of move and currency.
pub static FEE_RULES: Table = Table {
    name: "settings_fee_rules",
    projection: super::NAME,
    columns: &[
        ("kind", ColumnType::Number),
        ("currency", ColumnType::Text),
        ("exponent", ColumnType::Number),
        ("version", ColumnType::Number),
        ("fixed_minor", ColumnType::Minor),
        ("rate_ppm", ColumnType::Number),
        ("min_minor", ColumnType::Minor),
        ("has_max", ColumnType::Flag),
        ("max_minor", ColumnType::Minor),
        ("set_sequence", ColumnType::Number),
        ("set_at", ColumnType::Time),
    ],
    key_columns: 3,
};

/// The calendar, in one row.
pub static CALENDAR: Table = Table {
    name: "settings_calendar",
    projection: super::NAME,
    columns: &[
        ("row", ColumnType::Number),
        ("version", ColumnType::Number),
        ("zone", ColumnType::Text),
        ("tz_version", ColumnType::Text),
        ("first_day", ColumnType::Date),
        ("days", ColumnType::Number),
        ("covers_from", ColumnType::Time),
        ("covers_until", ColumnType::Time),
        ("published_sequence", ColumnType::Number),
        ("published_at", ColumnType::Time),
    ],
    key_columns: 1,
};

/// How far periods are closed, in one row.
pub static PERIOD: Table = Table {
    name: "settings_period",
    projection: super::NAME,
    columns: &[
        ("row", ColumnType::Number),
        ("closed_through", ColumnType::Date),
        ("closed_sequence", ColumnType::Number),
        ("closed_at", ColumnType::Time),
    ],
    key_columns: 1,
};

/// A fee rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeRuleRow {
    /// Its version.
    pub version: u64,
    /// The fixed part, in minor units.
    pub fixed_minor: i128,
    /// The part that grows with the amount, in millionths of it.
    pub rate_ppm: u32,
    /// The least that is charged, in minor units.
    pub min_minor: i128,
    /// The most, if there is one.
    pub max_minor: Option<i128>,
    /// Which event set it.
    pub set_sequence: Sequence,
    /// When it was set.
    pub set_at: Timestamp,
}

impl Row for FeeRuleRow {
    type Key = (FeeKind, Currency);
    const TABLE: &'static Table = &FEE_RULES;

    fn put_key((kind, currency): &Self::Key, out: &mut Vec<u8>) {
        put_key_number(out, kind.number().into());
        put_key_text(out, currency.code());
        put_key_number(out, currency.exponent().into());
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        let kind = u8::try_from(key_number(reader)?).ok().and_then(FeeKind::from_number);
        let code = key_text(reader)?;
        let currency = currency_of(&code, key_number(reader)?)?;
        Ok((kind.ok_or(CodecError::NotCanonical("kind of fee"))?, currency))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.version.into());
        put_signed(out, self.fixed_minor);
        put_varint(out, self.rate_ppm.into());
        put_signed(out, self.min_minor);
        out.push(self.max_minor.is_some().into());
        put_signed(out, self.max_minor.unwrap_or(0));
        put_sequence(out, self.set_sequence);
        put_time(out, self.set_at);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (version, fixed_minor) = (reader.number("version")?, reader.signed("fixed fee")?);
        let (rate_ppm, min_minor) = (reader.number("fee rate")?, reader.signed("least fee")?);
        let (has_max, max_minor) = (reader.flag("has a greatest fee")?, reader.signed("greatest fee")?);
        Ok(Self {
            version,
            fixed_minor,
            rate_ppm,
            min_minor,
            max_minor: has_max.then_some(max_minor),
            set_sequence: sequence(reader)?,
            set_at: time(reader)?,
        })
    }
}

/// There is one row only, of the key 0.
fn read_only_key(reader: &mut Reader<'_>) -> Result<(), CodecError> {
    if key_number(reader)? == 0 { Ok(()) } else { Err(CodecError::NotCanonical("row")) }
}

/// The calendar, without the start of each day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarRow {
    /// Its version.
    pub version: u64,
    /// The zone, by its name in the IANA database.
    pub zone: Box<str>,
    /// The version of that database; empty if it is not known.
    pub tz_version: Box<str>,
    /// The first day it knows.
    pub first_day: CivilDate,
    /// How many days it knows.
    pub days: u64,
    /// When the first day begins.
    pub covers_from: Timestamp,
    /// When the last day ends.
    pub covers_until: Timestamp,
    /// Which event published it.
    pub published_sequence: Sequence,
    /// When it was published.
    pub published_at: Timestamp,
}

impl Row for CalendarRow {
    type Key = ();
    const TABLE: &'static Table = &CALENDAR;

    fn put_key((): &(), out: &mut Vec<u8>) {
        put_key_number(out, 0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<(), CodecError> {
        read_only_key(reader)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.version.into());
        put_text(out, &self.zone);
        put_text(out, &self.tz_version);
        put_date(out, self.first_day);
        put_varint(out, self.days.into());
        put_time(out, self.covers_from);
        put_time(out, self.covers_until);
        put_sequence(out, self.published_sequence);
        put_time(out, self.published_at);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            version: reader.number("version")?,
            zone: reader.text("zone")?,
            tz_version: reader.text("zone version")?,
            first_day: reader.date()?,
            days: reader.number("days")?,
            covers_from: time(reader)?,
            covers_until: time(reader)?,
            published_sequence: sequence(reader)?,
            published_at: time(reader)?,
        })
    }
}

/// How far periods are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodRow {
    /// The last day that is closed.
    pub closed_through: CivilDate,
    /// Which event closed it.
    pub closed_sequence: Sequence,
    /// When it was closed.
    pub closed_at: Timestamp,
}

impl Row for PeriodRow {
    type Key = ();
    const TABLE: &'static Table = &PERIOD;

    fn put_key((): &(), out: &mut Vec<u8>) {
        put_key_number(out, 0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<(), CodecError> {
        read_only_key(reader)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_date(out, self.closed_through);
        put_sequence(out, self.closed_sequence);
        put_time(out, self.closed_at);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { closed_through: reader.date()?, closed_sequence: sequence(reader)?, closed_at: time(reader)? })
    }
}
