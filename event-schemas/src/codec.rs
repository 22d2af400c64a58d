//! The canonical binary form: one value, one sequence of bytes. What could be written in two ways is refused when read.
//!
//! Integers are LEB128 (7 bits a byte, least significant first, shortest form only), signed ones zigzag first; ids are 16
//! bytes, most significant first; texts are a length and UTF-8. `docs/internals/event-format.md` draws the events.

use crate::bounds::{POSTINGS_MAX, TEXT_MAX_BYTES};
use crate::currency::Currency;
use crate::date::{CivilDate, Timestamp};
use crate::money::{Money, Posting, Postings, Side};

/// Bytes that are not the canonical form of anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end too early.
    #[error("the bytes end too early, reading {0}")]
    Truncated(&'static str),
    /// A value that has another, canonical form, or is out of its bounds.
    #[error("{0} is not in canonical form")]
    NotCanonical(&'static str),
    /// A tag that this version does not know.
    #[error("unknown {what} {tag}")]
    UnknownTag {
        /// Of what.
        what: &'static str,
        /// The tag.
        tag: u32,
    },
    /// Bytes are left over.
    #[error("{0} bytes are left over")]
    Trailing(usize),
}

/// Appends an unsigned integer.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

#[inline]
#[allow(clippy::cast_possible_truncation)]
fn low_byte(value: u128) -> u8 {
    (value & 0x7f) as u8
}

/// Appends a signed integer, zigzag.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, value: i128) {
    put_varint(out, (value.cast_unsigned() << 1) ^ (value >> 127).cast_unsigned());
}

/// Appends an id.
#[inline]
pub fn put_id(out: &mut Vec<u8>, id: u128) {
    out.extend_from_slice(&id.to_be_bytes());
}

/// Appends a text. What would be refused when read is never written: commands are bounded before they are decided.
#[inline]
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() <= TEXT_MAX_BYTES, "a text of {} bytes", text.len());
    put_varint(out, text.len() as u128);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a currency: three letters and the exponent.
#[inline]
pub fn put_currency(out: &mut Vec<u8>, currency: Currency) {
    out.extend_from_slice(&currency.code_bytes());
    out.push(currency.exponent());
}

/// Appends an amount and its currency.
pub fn put_money(out: &mut Vec<u8>, money: Money) {
    put_currency(out, money.currency);
    put_signed(out, money.amount_minor);
}

/// Appends a date.
#[inline]
pub fn put_date(out: &mut Vec<u8>, date: CivilDate) {
    put_signed(out, i128::from(date.days()));
}

/// Appends a point in time.
#[inline]
pub fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.0.to_be_bytes());
}

/// Appends an optional value: a byte 0, or a byte 1 and the value.
pub fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(out, value);
        }
    }
}

const POSTING_CREDIT: u8 = 1;
const POSTING_SAME_CURRENCY: u8 = 2;

/// Appends postings. Each starts with a tag: bit 0 set for a credit, bit 1 set if the currency is that of the posting before.
pub fn put_postings(out: &mut Vec<u8>, postings: &[Posting]) {
    assert!(postings.len() <= POSTINGS_MAX, "an entry of {} postings", postings.len());
    put_varint(out, postings.len() as u128);
    let mut previous = None;
    for posting in postings {
        let same = previous == Some(posting.money.currency);
        let side = if posting.side == Side::Credit { POSTING_CREDIT } else { 0 };
        out.push(side | if same { POSTING_SAME_CURRENCY } else { 0 });
        put_id(out, posting.account.0);
        if !same {
            put_currency(out, posting.money.currency);
        }
        put_signed(out, posting.money.amount_minor);
        previous = Some(posting.money.currency);
    }
}

/// Reads canonical bytes from the front.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Ends the reading: an error if bytes are left.
    pub const fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.rest.len())) }
    }

    /// The next `count` bytes.
    #[inline]
    pub fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CodecError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CodecError::Truncated(what))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self, what: &'static str) -> Result<u8, CodecError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// An unsigned integer.
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u128, CodecError> {
        let mut value = 0_u128;
        let mut shift = 0_u32;
        loop {
            let byte = self.byte(what)?;
            let bits = u128::from(byte & 0x7f);
            if shift > 126 || (shift == 126 && bits > 3) {
                return Err(CodecError::NotCanonical(what));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                // A last byte of zero says nothing that a shorter form would not.
                return if byte == 0 && shift > 0 { Err(CodecError::NotCanonical(what)) } else { Ok(value) };
            }
            shift += 7;
        }
    }

    /// An unsigned integer that fits the type.
    #[inline]
    pub fn number<T: TryFrom<u128>>(&mut self, what: &'static str) -> Result<T, CodecError> {
        T::try_from(self.varint(what)?).map_err(|_| CodecError::NotCanonical(what))
    }

    /// A signed integer.
    #[inline]
    pub fn signed(&mut self, what: &'static str) -> Result<i128, CodecError> {
        let raw = self.varint(what)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// An id.
    #[inline]
    pub fn id(&mut self, what: &'static str) -> Result<u128, CodecError> {
        self.array(what).map(u128::from_be_bytes)
    }

    /// A text.
    pub fn text(&mut self, what: &'static str) -> Result<Box<str>, CodecError> {
        let length: usize = self.number(what)?;
        if length == 0 {
            return Ok(Box::default());
        }
        if length > TEXT_MAX_BYTES {
            return Err(CodecError::NotCanonical(what));
        }
        let text = std::str::from_utf8(self.bytes(length, what)?).map_err(|_| CodecError::NotCanonical(what))?;
        Ok(text.into())
    }

    /// A currency.
    #[inline]
    pub fn currency(&mut self) -> Result<Currency, CodecError> {
        let [a, b, c, exponent] = self.array("currency")?;
        Currency::from_parts([a, b, c], exponent).ok_or(CodecError::NotCanonical("currency"))
    }

    /// An amount and its currency.
    pub fn money(&mut self) -> Result<Money, CodecError> {
        let currency = self.currency()?;
        Ok(Money::new(self.signed("amount")?, currency))
    }

    /// A date.
    #[inline]
    pub fn date(&mut self) -> Result<CivilDate, CodecError> {
        let days = i32::try_from(self.signed("date")?).map_err(|_| CodecError::NotCanonical("date"))?;
        CivilDate::from_days(days).ok_or(CodecError::NotCanonical("date"))
    }

    /// A point in time.
    #[inline]
    pub fn time(&mut self) -> Result<Timestamp, CodecError> {
        Timestamp::from_micros(i64::from_be_bytes(self.array("time")?)).ok_or(CodecError::NotCanonical("time"))
    }

    /// A byte that is 0 or 1.
    #[inline]
    pub fn flag(&mut self, what: &'static str) -> Result<bool, CodecError> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::NotCanonical(what)),
        }
    }

    /// An optional value.
    pub fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.flag(what)? { read(self).map(Some) } else { Ok(None) }
    }

    /// Postings.
    pub fn postings(&mut self) -> Result<Postings, CodecError> {
        let count: usize = self.number("postings")?;
        if count > POSTINGS_MAX {
            return Err(CodecError::NotCanonical("postings"));
        }
        let mut postings = Postings::with_capacity(count);
        let mut previous = None;
        for _ in 0..count {
            let tag = self.byte("posting")?;
            let side = if tag & POSTING_CREDIT == 0 { Side::Debit } else { Side::Credit };
            let account = crate::ids::AccountId(self.id("posting account")?);
            let currency = match (tag & !POSTING_CREDIT, previous) {
                (0, previous) => {
                    let currency = self.currency()?;
                    if previous == Some(currency) {
                        return Err(CodecError::NotCanonical("posting currency"));
                    }
                    currency
                }
                (POSTING_SAME_CURRENCY, Some(previous)) => previous,
                _ => return Err(CodecError::NotCanonical("posting tag")),
            };
            previous = Some(currency);
            postings.push(Posting { account, side, money: Money::new(self.signed("amount")?, currency) });
        }
        Ok(postings)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn integers_are_read_in_their_shortest_form_only() {
        let table: &[(&[u8], Result<u128, CodecError>)] = &[
            (&[0], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0x80, 0x00], Err(CodecError::NotCanonical("it"))),
            (&[0xff, 0x80, 0x00], Err(CodecError::NotCanonical("it"))),
            (&[0x80], Err(CodecError::Truncated("it"))),
            (&[], Err(CodecError::Truncated("it"))),
        ];
        for (bytes, expected) in table {
            assert_eq!(&Reader::new(bytes).varint("it"), expected, "{bytes:?}");
        }
        let mut greatest = vec![0xff; 18];
        greatest.push(0x03);
        assert_eq!(Reader::new(&greatest).varint("it"), Ok(u128::MAX));
        greatest.push(0x01);
        for too_much in [0x04, 0x07, 0x80, 0x83] {
            *greatest.get_mut(18).unwrap() = too_much;
            assert_eq!(Reader::new(&greatest).varint("it"), Err(CodecError::NotCanonical("it")));
        }
        assert_eq!(Reader::new(&[0x80, 0x02]).number::<u8>("it"), Err(CodecError::NotCanonical("it")));
    }

    #[test]
    fn signed_integers_alternate_around_zero() {
        for (value, bytes) in [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (-64, vec![0x7f]), (64, vec![0x80, 0x01])] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(Reader::new(&out).signed("it"), Ok(value));
        }
    }

    #[test]
    fn what_is_longer_than_its_bound_is_refused() {
        let mut text = Vec::new();
        put_varint(&mut text, TEXT_MAX_BYTES as u128 + 1);
        text.resize(400, b'x');
        assert_eq!(Reader::new(&text).text("it"), Err(CodecError::NotCanonical("it")));
        let mut postings = Vec::new();
        put_varint(&mut postings, POSTINGS_MAX as u128 + 1);
        assert_eq!(Reader::new(&postings).postings(), Err(CodecError::NotCanonical("postings")));
        assert_eq!(Reader::new(&[2, 0xc3, 0x28]).text("it"), Err(CodecError::NotCanonical("it")));
        assert_eq!(Reader::new(&[2]).flag("it"), Err(CodecError::NotCanonical("it")));
    }

    #[test]
    fn a_repeated_currency_is_written_short_and_in_no_other_way() {
        let eur = Currency::from_parts(*b"EUR", 2).unwrap();
        let account = crate::ids::AccountId(7);
        let pair = [Posting::debit(account, Money::new(1, eur)), Posting::credit(account, Money::new(1, eur))];
        let mut short = Vec::new();
        put_postings(&mut short, &pair);
        assert_eq!(short.len(), 1 + (1 + 16 + 4 + 1) + (1 + 16 + 1));
        assert_eq!(Reader::new(&short).postings().unwrap().as_slice(), pair);
        let mut long = vec![2];
        for posting in pair {
            long.push(u8::from(posting.side == Side::Credit));
            put_id(&mut long, posting.account.0);
            put_currency(&mut long, eur);
            put_signed(&mut long, 1);
        }
        assert_eq!(Reader::new(&long).postings(), Err(CodecError::NotCanonical("posting currency")));
        // The first posting has no currency before it, and no tag has other bits.
        for tag in [2, 3, 4, 0x80] {
            let mut wrong = short.clone();
            *wrong.get_mut(1).unwrap() = tag;
            assert_eq!(Reader::new(&wrong).postings(), Err(CodecError::NotCanonical("posting tag")));
        }
    }
}
