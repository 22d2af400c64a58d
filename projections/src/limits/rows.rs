//! The tables of limits.

use event_schemas::codec::{CodecError, Reader, put_date, put_signed, put_varint};
use event_schemas::limits::Caps;
use event_schemas::{CivilDate, Currency, Sequence, Timestamp};

use crate::ports::{ColumnType, Table};
use crate::table::{
    Row, currency_of, key_number, key_text, key_time, put_key_number, put_key_text, put_key_time, put_sequence,
    sequence,
};

/// The limits and the usage of customers.
pub static CUSTOMERS: Table = Table {
    name: "limits_customers",
    projection: super::NAME,
    columns: &[
        ("owner", ColumnType::Text),
        ("currency", ColumnType::Text),
        ("exponent", ColumnType::Number),
        ("version", ColumnType::Number),
        // A cap that is not there is a flag of false and a zero.
        ("limits_transfer", ColumnType::Flag),
        ("per_transfer_minor", ColumnType::Minor),
        ("limits_day", ColumnType::Flag),
        ("daily_minor", ColumnType::Minor),
        ("limits_month", ColumnType::Flag),
        ("monthly_minor", ColumnType::Minor),
        ("counted", ColumnType::Flag),
        ("counted_on", ColumnType::Date),
        ("day_used_minor", ColumnType::Minor),
        ("month_used_minor", ColumnType::Minor),
        ("set_sequence", ColumnType::Number),
        ("changed_sequence", ColumnType::Number),
    ],
    key_columns: 3,
};

/// The version of the newest calendar, in one row.
pub static CALENDAR: Table = Table {
    name: "limits_calendar",
    projection: super::NAME,
    columns: &[
        ("row", ColumnType::Number),
        ("version", ColumnType::Number),
        ("published_sequence", ColumnType::Number),
    ],
    key_columns: 1,
};

/// When the days of the newest calendar begin.
pub static DAYS: Table = Table {
    name: "limits_days",
    projection: super::NAME,
    columns: &[("starts_at", ColumnType::Time), ("day", ColumnType::Date), ("ends", ColumnType::Flag)],
    key_columns: 1,
};

/// What a customer has used of the windows that were last counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The day last counted, in the book's zone; its month follows from it.
    pub on: CivilDate,
    /// What is used of that day, in minor units.
    pub day_minor: i128,
    /// What is used of its month.
    pub month_minor: i128,
}

/// The limits of a customer in a currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerRow {
    /// Their version.
    pub version: u64,
    /// The limits.
    pub caps: Caps,
    /// What was used, if anything was ever charged.
    pub used: Option<Used>,
    /// The event that set the limits last.
    pub set_sequence: Sequence,
    /// The last event that changed anything of the above.
    pub changed_sequence: Sequence,
}

fn put_cap(out: &mut Vec<u8>, cap: Option<i128>) {
    out.push(u8::from(cap.is_some()));
    put_signed(out, cap.unwrap_or(0));
}

fn cap(reader: &mut Reader<'_>) -> Result<Option<i128>, CodecError> {
    match (reader.flag("limited")?, reader.signed("limit")?) {
        (true, cap) => Ok(Some(cap)),
        (false, 0) => Ok(None),
        (false, _) => Err(CodecError::NotCanonical("limit")),
    }
}

impl Row for CustomerRow {
    type Key = (Box<str>, Currency);
    const TABLE: &'static Table = &CUSTOMERS;

    fn put_key((owner, currency): &Self::Key, out: &mut Vec<u8>) {
        put_key_text(out, owner);
        put_key_text(out, currency.code());
        put_key_number(out, currency.exponent().into());
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        let (owner, code) = (key_text(reader)?, key_text(reader)?);
        Ok((owner, currency_of(&code, key_number(reader)?)?))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.version.into());
        for cap in self.caps.all() {
            put_cap(out, cap);
        }
        out.push(u8::from(self.used.is_some()));
        let used = self.used.unwrap_or(Used { on: CivilDate::MIN, day_minor: 0, month_minor: 0 });
        put_date(out, used.on);
        put_signed(out, used.day_minor);
        put_signed(out, used.month_minor);
        put_sequence(out, self.set_sequence);
        put_sequence(out, self.changed_sequence);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let version = reader.number("version")?;
        let (per_transfer_minor, daily_minor, monthly_minor) = (cap(reader)?, cap(reader)?, cap(reader)?);
        let counted = reader.flag("counted")?;
        let used = Used {
            on: reader.date()?,
            day_minor: reader.signed("used of the day")?,
            month_minor: reader.signed("used of the month")?,
        };
        Ok(Self {
            version,
            caps: Caps { per_transfer_minor, daily_minor, monthly_minor },
            used: counted.then_some(used),
            set_sequence: sequence(reader)?,
            changed_sequence: sequence(reader)?,
        })
    }
}

/// The newest calendar. There is one row only, of the key 0; what else is to be known of it, the settings have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalendarRow {
    /// Its version.
    pub version: u64,
    /// The event that published it.
    pub published_sequence: Sequence,
}

impl Row for CalendarRow {
    type Key = ();
    const TABLE: &'static Table = &CALENDAR;

    fn put_key((): &(), out: &mut Vec<u8>) {
        put_key_number(out, 0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<(), CodecError> {
        if key_number(reader)? == 0 { Ok(()) } else { Err(CodecError::NotCanonical("row")) }
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.version.into());
        put_sequence(out, self.published_sequence);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { version: reader.number("version")?, published_sequence: sequence(reader)? })
    }
}

/// A day that begins, or the end of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRow {
    /// Which day begins then.
    pub day: CivilDate,
    /// Whether the calendar ends here: it knows nothing of that day but its beginning.
    pub ends: bool,
}

impl Row for DayRow {
    type Key = Timestamp;
    const TABLE: &'static Table = &DAYS;

    fn put_key(key: &Timestamp, out: &mut Vec<u8>) {
        put_key_time(out, *key);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Timestamp, CodecError> {
        key_time(reader)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_date(out, self.day);
        out.push(u8::from(self.ends));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { day: reader.date()?, ends: reader.flag("ends")? })
    }
}
