//! The tables of rate sheets.

use event_schemas::codec::{CodecError, Reader, put_date, put_text, put_varint};
use event_schemas::rates::Rate;
use event_schemas::{CivilDate, Currency, Sequence, Timestamp};

use crate::ports::{ColumnType, Table};
use crate::table::{
    Row, currency_of, key_date, key_number, key_text, put_key_date, put_key_number, put_key_text, put_sequence,
    put_time, sequence, time,
};

/// Sheets by their versions.
pub static SHEETS: Table = Table {
    name: "rates_sheets",
    projection: super::NAME,
    columns: &[
        ("version", ColumnType::Number),
        ("pivot", ColumnType::Text),
        ("pivot_exponent", ColumnType::Number),
        ("source", ColumnType::Text),
        ("quoted_on", ColumnType::Date),
        ("fetched_at", ColumnType::Time),
        ("valid_until", ColumnType::Time),
        ("quote_seconds", ColumnType::Number),
        ("published_sequence", ColumnType::Number),
        ("published_at", ColumnType::Time),
    ],
    key_columns: 1,
};

/// What each sheet quotes.
pub static QUOTES: Table = Table {
    name: "rates_quotes",
    projection: super::NAME,
    columns: &[
        ("version", ColumnType::Number),
        ("currency", ColumnType::Text),
        ("exponent", ColumnType::Number),
        ("per_pivot", ColumnType::Text),
    ],
    key_columns: 3,
};

/// The margins of each sheet, in their order. An empty text fits everything.
pub static MARGINS: Table = Table {
    name: "rates_margins",
    projection: super::NAME,
    columns: &[
        ("version", ColumnType::Number),
        ("place", ColumnType::Number),
        ("has_tier", ColumnType::Flag),
        ("tier", ColumnType::Text),
        ("sold", ColumnType::Text),
        ("sold_exponent", ColumnType::Number),
        ("bought", ColumnType::Text),
        ("bought_exponent", ColumnType::Number),
        ("margin_ppm", ColumnType::Number),
    ],
    key_columns: 2,
};

/// Sheets by the day they quote for.
pub static BY_DATE: Table = Table {
    name: "rates_by_date",
    projection: super::NAME,
    columns: &[
        ("quoted_on", ColumnType::Date),
        ("version", ColumnType::Number),
        ("published_sequence", ColumnType::Number),
    ],
    key_columns: 2,
};

/// A sheet, without its rates and margins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetRow {
    /// The currency that the others are quoted against.
    pub pivot: Currency,
    /// Where the rates come from.
    pub source: Box<str>,
    /// The day they were quoted for.
    pub quoted_on: CivilDate,
    /// When they were fetched.
    pub fetched_at: Timestamp,
    /// Until when conversions may be made by them.
    pub valid_until: Timestamp,
    /// How long a quote may last, in seconds.
    pub quote_seconds: u32,
    /// Which event published the sheet.
    pub published_sequence: Sequence,
    /// When.
    pub published_at: Timestamp,
}

impl Row for SheetRow {
    type Key = u64;
    const TABLE: &'static Table = &SHEETS;

    fn put_key(version: &u64, out: &mut Vec<u8>) {
        put_key_number(out, *version);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<u64, CodecError> {
        key_number(reader)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self.pivot.code());
        put_varint(out, self.pivot.exponent().into());
        put_text(out, &self.source);
        put_date(out, self.quoted_on);
        put_time(out, self.fetched_at);
        put_time(out, self.valid_until);
        put_varint(out, self.quote_seconds.into());
        put_sequence(out, self.published_sequence);
        put_time(out, self.published_at);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let code = reader.text("pivot")?;
        Ok(Self {
            pivot: currency_of(&code, reader.number("exponent")?)?,
            source: reader.text("source")?,
            quoted_on: reader.date()?,
            fetched_at: time(reader)?,
            valid_until: time(reader)?,
            quote_seconds: reader.number("seconds of a quote")?,
            published_sequence: sequence(reader)?,
            published_at: time(reader)?,
        })
    }
}

/// How much of a currency one unit of the pivot buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteRow {
    /// So much.
    pub per_pivot: Rate,
}

impl Row for QuoteRow {
    type Key = (u64, Currency);
    const TABLE: &'static Table = &QUOTES;

    fn put_key((version, currency): &Self::Key, out: &mut Vec<u8>) {
        put_key_number(out, *version);
        put_key_text(out, currency.code());
        put_key_number(out, currency.exponent().into());
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        let version = key_number(reader)?;
        let code = key_text(reader)?;
        Ok((version, currency_of(&code, key_number(reader)?)?))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.per_pivot.to_string());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let text = reader.text("rate")?;
        let per_pivot: Rate = text.parse().map_err(|_| CodecError::NotCanonical("rate"))?;
        if per_pivot.to_string() == *text { Ok(Self { per_pivot }) } else { Err(CodecError::NotCanonical("rate")) }
    }
}

/// A margin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarginRow {
    /// The tier of customers it is for; `None` for all.
    pub tier: Option<Box<str>>,
    /// The currency sold; `None` for all.
    pub sold: Option<Currency>,
    /// The currency bought; `None` for all.
    pub bought: Option<Currency>,
    /// The margin, in millionths.
    pub margin_ppm: u32,
}

fn put_perhaps(out: &mut Vec<u8>, currency: Option<Currency>) {
    put_text(out, currency.as_ref().map_or("", Currency::code));
    put_varint(out, currency.map_or(0, Currency::exponent).into());
}

fn read_perhaps(reader: &mut Reader<'_>) -> Result<Option<Currency>, CodecError> {
    let code = reader.text("currency")?;
    let exponent = reader.number("exponent")?;
    match (code.is_empty(), exponent) {
        (true, 0) => Ok(None),
        (true, _) => Err(CodecError::NotCanonical("exponent")),
        (false, exponent) => currency_of(&code, exponent).map(Some),
    }
}

impl Row for MarginRow {
    type Key = (u64, u64);
    const TABLE: &'static Table = &MARGINS;

    fn put_key((version, place): &Self::Key, out: &mut Vec<u8>) {
        put_key_number(out, *version);
        put_key_number(out, *place);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((key_number(reader)?, key_number(reader)?))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.tier.is_some().into());
        put_text(out, self.tier.as_deref().unwrap_or_default());
        put_perhaps(out, self.sold);
        put_perhaps(out, self.bought);
        put_varint(out, self.margin_ppm.into());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (has_tier, tier) = (reader.flag("has a tier")?, reader.text("tier")?);
        Ok(Self {
            tier: has_tier.then_some(tier),
            sold: read_perhaps(reader)?,
            bought: read_perhaps(reader)?,
            margin_ppm: reader.number("margin")?,
        })
    }
}

/// A sheet found by its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateRow {
    /// Which event published the sheet.
    pub published_sequence: Sequence,
}

impl Row for DateRow {
    type Key = (CivilDate, u64);
    const TABLE: &'static Table = &BY_DATE;

    fn put_key((date, version): &Self::Key, out: &mut Vec<u8>) {
        put_key_date(out, *date);
        put_key_number(out, *version);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((key_date(reader)?, key_number(reader)?))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_sequence(out, self.published_sequence);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { published_sequence: sequence(reader)? })
    }
}
