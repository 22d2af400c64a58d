//! Typed rows over tables of bytes.
//!
//! ```text
//! key    the key columns, one after the other, so that bytes sort as values do:
//!          Id 16 bytes | Number 8 | Date 4, sign bit flipped | Time 8, sign bit flipped | Flag 1    (big-endian)
//!          Text: its bytes, a zero byte inside as 00 FF, closed by 00 00
//! value  version (1 byte, now 2), then the other columns in order, in the canonical forms of event-schemas:
//!          Id 16 bytes | Number LEB128 | Minor zigzag LEB128 | Text length and UTF-8 | Date zigzag | Time 8 bytes | Flag 1
//! ```
//!
//! Because every row follows its table's columns, a row can be shown, or kept by a store with columns, without knowing its
//! type: [`columns`] reads it. A change of a row's columns is a new version, which means a rebuild of the projection.

use std::fmt;
use std::hash::Hash;
use std::ops::ControlFlow;

use event_schemas::codec::{CodecError, Reader};
use event_schemas::{CivilDate, Currency, Sequence, Timestamp, codec};

use crate::ports::{ColumnType, ReadRows, RowsFault, Table};

/// The version of every row of this build.
pub const ROW_VERSION: u8 = 2;

/// A row of a table.
pub trait Row: Sized {
    /// The key columns.
    type Key: Clone + Eq + Hash + Ord;

    /// The table.
    const TABLE: &'static Table;

    /// How many bytes a value has, roughly: so many are set aside for it.
    const VALUE_BYTES: usize = 96;

    /// Appends the key.
    fn put_key(key: &Self::Key, out: &mut Vec<u8>);

    /// Reads the key.
    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError>;

    /// Appends the columns that are not the key.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads them.
    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError>;

    /// The key's bytes.
    fn key_bytes(key: &Self::Key) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        Self::put_key(key, &mut out);
        out
    }

    /// The value's bytes.
    fn value_bytes(&self) -> Vec<u8> {
        value_with(Self::VALUE_BYTES, |out| self.put(out))
    }

    /// The key of these bytes.
    fn key_of(bytes: &[u8]) -> Result<Self::Key, RowsFault> {
        let mut reader = Reader::new(bytes);
        Self::read_key(&mut reader)
            .and_then(|key| reader.finish().map(|()| key))
            .map_err(|error| damaged(Self::TABLE, &error))
    }

    /// The row of these bytes.
    fn value_of(bytes: &[u8]) -> Result<Self, RowsFault> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)
            .and_then(|()| Self::read(&mut reader))
            .and_then(|row| reader.finish().map(|()| row))
            .map_err(|error| damaged(Self::TABLE, &error))
    }
}

/// A value of these columns, with so many bytes set aside.
pub(crate) fn value_with(bytes: usize, put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    out.push(ROW_VERSION);
    put(&mut out);
    out
}

fn read_version(reader: &mut Reader<'_>) -> Result<(), CodecError> {
    match reader.byte("row version")? {
        ROW_VERSION => Ok(()),
        other => Err(CodecError::UnknownTag { what: "row version", tag: other.into() }),
    }
}

/// A row that does not have the form its table declares.
pub(crate) fn damaged(table: &Table, reason: &dyn fmt::Display) -> RowsFault {
    RowsFault::Damaged { table: table.name, reason: reason.to_string() }
}

/// The row of a key.
pub fn get<R: Row>(rows: &dyn ReadRows, key: &R::Key) -> Result<Option<R>, RowsFault> {
    rows.get(R::TABLE, &R::key_bytes(key))?.map(|bytes| R::value_of(&bytes)).transpose()
}

/// Visits the rows with `from <= key < to` in order, or backwards, until the visitor breaks off.
pub fn scan<R: Row>(
    rows: &dyn ReadRows,
    from: &[u8],
    to: Option<&[u8]>,
    backwards: bool,
    visit: &mut dyn FnMut(R::Key, R) -> ControlFlow<()>,
) -> Result<(), RowsFault> {
    let mut fault = None;
    rows.range(R::TABLE, from, to, backwards, &mut |key, value| match R::key_of(key)
        .and_then(|key| Ok((key, R::value_of(value)?)))
    {
        Ok((key, row)) => visit(key, row),
        Err(error) => {
            fault = Some(error);
            ControlFlow::Break(())
        }
    })?;
    fault.map_or(Ok(()), Err)
}

/// The smallest key behind all keys that start with this prefix; `None` if there is none (all bytes are 255).
pub fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// The smallest key behind this one.
pub fn behind_key(key: &[u8]) -> Vec<u8> {
    let mut end = Vec::with_capacity(key.len() + 1);
    end.extend_from_slice(key);
    end.push(0);
    end
}

// Key columns.

/// Appends a number to a key.
pub fn put_key_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Reads a number of a key.
pub fn key_number(reader: &mut Reader<'_>) -> Result<u64, CodecError> {
    reader.array("key number").map(u64::from_be_bytes)
}

/// Appends a date to a key.
pub fn put_key_date(out: &mut Vec<u8>, date: CivilDate) {
    out.extend_from_slice(&(date.days().cast_unsigned() ^ (1 << 31)).to_be_bytes());
}

/// Reads a date of a key.
pub fn key_date(reader: &mut Reader<'_>) -> Result<CivilDate, CodecError> {
    let days = (u32::from_be_bytes(reader.array("key date")?) ^ (1 << 31)).cast_signed();
    CivilDate::from_days(days).ok_or(CodecError::NotCanonical("key date"))
}

/// Appends a point in time to a key.
pub fn put_key_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&(time.0.cast_unsigned() ^ (1 << 63)).to_be_bytes());
}

/// Reads a point in time of a key.
pub fn key_time(reader: &mut Reader<'_>) -> Result<Timestamp, CodecError> {
    reader.array("key time").map(|bytes| Timestamp((u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()))
}

/// Appends a text to a key; texts sort by their bytes, a shorter one before those it begins.
pub fn put_key_text(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Reads a text of a key.
pub fn key_text(reader: &mut Reader<'_>) -> Result<Box<str>, CodecError> {
    let mut text = Vec::new();
    loop {
        match reader.byte("key text")? {
            0 => match reader.byte("key text")? {
                0 => break,
                0xff => text.push(0),
                _ => return Err(CodecError::NotCanonical("key text")),
            },
            byte => text.push(byte),
        }
    }
    String::from_utf8(text).map(String::into_boxed_str).map_err(|_| CodecError::NotCanonical("key text"))
}

// Value columns that event-schemas has no helper for.

/// Appends a sequence.
pub(crate) fn put_sequence(out: &mut Vec<u8>, sequence: Sequence) {
    codec::put_varint(out, sequence.0.into());
}

/// Reads a sequence.
pub(crate) fn sequence(reader: &mut Reader<'_>) -> Result<Sequence, CodecError> {
    reader.number("sequence").map(Sequence)
}

/// Appends a point in time.
pub(crate) fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.0.to_be_bytes());
}

/// Reads a point in time.
pub(crate) fn time(reader: &mut Reader<'_>) -> Result<Timestamp, CodecError> {
    reader.array("time").map(|bytes| Timestamp(i64::from_be_bytes(bytes)))
}

/// Appends a currency as two columns: its code (text) and its exponent (number).
pub(crate) fn put_currency(out: &mut Vec<u8>, currency: Currency) {
    codec::put_text(out, currency.code());
    codec::put_varint(out, currency.exponent().into());
}

/// Reads a currency of two columns.
pub(crate) fn currency(reader: &mut Reader<'_>) -> Result<Currency, CodecError> {
    let code = reader.text("currency")?;
    let exponent = reader.number("exponent")?;
    currency_of(&code, exponent)
}

/// The currency of its two columns.
pub(crate) fn currency_of(code: &str, exponent: u64) -> Result<Currency, CodecError> {
    let code: Option<[u8; 3]> = code.as_bytes().try_into().ok();
    code.zip(u8::try_from(exponent).ok())
        .and_then(|(code, exponent)| Currency::from_parts(code, exponent))
        .ok_or(CodecError::NotCanonical("currency"))
}

/// Shows a row by its table's columns, without knowing its type: name and text of each.
pub fn columns(table: &'static Table, key: &[u8], value: &[u8]) -> Result<Vec<(&'static str, String)>, RowsFault> {
    let mut shown = Vec::with_capacity(table.columns.len());
    let mut read = || -> Result<(), CodecError> {
        let (key_columns, value_columns) =
            table.columns.split_at_checked(table.key_columns).ok_or(CodecError::NotCanonical("key columns"))?;
        let mut reader = Reader::new(key);
        for (name, column) in key_columns {
            shown.push((*name, key_column(&mut reader, *column)?));
        }
        reader.finish()?;
        let mut reader = Reader::new(value);
        read_version(&mut reader)?;
        for (name, column) in value_columns {
            shown.push((*name, value_column(&mut reader, *column)?));
        }
        reader.finish()
    };
    read().map_err(|error| damaged(table, &error))?;
    Ok(shown)
}

fn id_text(id: u128) -> String {
    event_schemas::AccountId(id).to_string()
}

fn key_column(reader: &mut Reader<'_>, column: ColumnType) -> Result<String, CodecError> {
    Ok(match column {
        ColumnType::Id => id_text(reader.id("key id")?),
        ColumnType::Number => key_number(reader)?.to_string(),
        ColumnType::Minor => return Err(CodecError::NotCanonical("an amount as key")),
        ColumnType::Text => key_text(reader)?.into(),
        ColumnType::Date => key_date(reader)?.to_string(),
        ColumnType::Time => key_time(reader)?.to_string(),
        ColumnType::Flag => reader.flag("key flag")?.to_string(),
    })
}

fn value_column(reader: &mut Reader<'_>, column: ColumnType) -> Result<String, CodecError> {
    Ok(match column {
        ColumnType::Id => id_text(reader.id("id")?),
        ColumnType::Number => reader.number::<u64>("number")?.to_string(),
        ColumnType::Minor => reader.signed("amount")?.to_string(),
        ColumnType::Text => reader.text("text")?.into(),
        ColumnType::Date => reader.date()?.to_string(),
        ColumnType::Time => time(reader)?.to_string(),
        ColumnType::Flag => reader.flag("flag")?.to_string(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use event_schemas::testing;
    use proptest::prelude::*;

    use super::*;

    fn key<T>(put: impl Fn(&mut Vec<u8>, T), value: T) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, value);
        out
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_values_do(
            numbers in any::<(u64, u64)>(),
            dates in (testing::civil_date(), testing::civil_date()),
            times in any::<(i64, i64)>(),
            texts in ("[a\u{0}\u{1}é]{0,4}", "[a\u{0}\u{1}é]{0,4}"),
            tails in any::<(u64, u64)>(),
        ) {
            prop_assert_eq!(key(put_key_number, numbers.0).cmp(&key(put_key_number, numbers.1)), numbers.0.cmp(&numbers.1));
            prop_assert_eq!(key(put_key_date, dates.0).cmp(&key(put_key_date, dates.1)), dates.0.cmp(&dates.1));
            let times = (Timestamp(times.0), Timestamp(times.1));
            prop_assert_eq!(key(put_key_time, times.0).cmp(&key(put_key_time, times.1)), times.0.cmp(&times.1));
            // A text is compared before the column behind it, whatever that holds.
            let pair = |out: &mut Vec<u8>, (text, tail): (&str, u64)| {
                put_key_text(out, text);
                put_key_number(out, tail);
            };
            let (one, other) = ((texts.0.as_str(), tails.0), (texts.1.as_str(), tails.1));
            prop_assert_eq!(key(pair, one).cmp(&key(pair, other)), one.cmp(&other));
        }

        #[test]
        fn key_columns_read_back(number: u64, date in testing::civil_date(), time: i64, text in testing::text()) {
            let mut bytes = Vec::new();
            put_key_text(&mut bytes, &text);
            put_key_number(&mut bytes, number);
            put_key_date(&mut bytes, date);
            put_key_time(&mut bytes, Timestamp(time));
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(key_text(&mut reader).unwrap(), text);
            prop_assert_eq!(key_number(&mut reader).unwrap(), number);
            prop_assert_eq!(key_date(&mut reader).unwrap(), date);
            prop_assert_eq!(key_time(&mut reader).unwrap(), Timestamp(time));
            prop_assert!(reader.finish().is_ok());
        }
    }

    #[test]
    fn the_end_of_a_prefix_lies_behind_all_that_starts_with_it() {
        assert_eq!(behind_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(behind_prefix(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(behind_prefix(&[255, 255]), None);
        assert_eq!(behind_prefix(&[]), None);
        assert_eq!(behind_key(&[7]), vec![7, 0]);
    }
}
