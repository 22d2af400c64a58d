//! The history file of the European Central Bank, `eurofxref-hist`: one row a day, the newest first, against the euro, `N/A` where
//! a currency was not quoted. As CSV, as CSV in gzip, or as the zip file that the bank gives out.

use std::io::Read as _;
use std::path::Path;

use event_schemas::rates::{QuotedRate, Rate};
use event_schemas::{CivilDate, Currency, Timestamp};
use flate2::Crc;
use flate2::read::{DeflateDecoder, GzDecoder};

use super::{Quoted, RateFault, complete};

const NAME: &str = "ecb";

/// The most bytes of a file, packed or not.
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The whole history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcbHistory {
    days: Vec<(CivilDate, Vec<QuotedRate>)>,
}

impl EcbHistory {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, RateFault> {
        let fault = |reason: String| RateFault::File { path: path.to_owned(), reason };
        let file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
        let mut bytes = Vec::new();
        file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
        if bytes.len() as u64 > FILE_MAX_BYTES {
            return Err(fault(format!("it is longer than {FILE_MAX_BYTES} bytes")));
        }
        let text = unpack(&bytes).map_err(fault)?;
        Self::parse(&text).map_err(fault)
    }

    /// Reads the text of the file.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
        let head = reader.headers().map_err(|error| error.to_string())?.clone();
        if head.get(0) != Some("Date") {
            return Err("its first column is not Date".into());
        }
        let columns: Vec<Option<Currency>> = head.iter().skip(1).map(|code| code.parse().ok()).collect();
        let mut days = Vec::new();
        for row in reader.records() {
            let row = row.map_err(|error| error.to_string())?;
            let date = row.get(0).unwrap_or_default();
            let date: CivilDate = date.parse().map_err(|_| format!("{date:.20} is no date"))?;
            let mut rates = Vec::new();
            for (column, text) in columns.iter().zip(row.iter().skip(1)) {
                let Some(currency) = column.filter(|_| !text.is_empty() && text != "N/A") else { continue };
                let per_pivot: Rate = text.parse().map_err(|error| format!("{date}, {currency}: {error}"))?;
                rates.push(QuotedRate { currency, per_pivot });
            }
            days.push((date, rates));
        }
        days.sort_unstable_by_key(|(date, _)| *date);
        if let Some((one, _)) = days.iter().zip(days.iter().skip(1)).find(|(one, next)| one.0 == next.0) {
            return Err(format!("{} stands twice", one.0));
        }
        if days.is_empty() { Err("it has no day".into()) } else { Ok(Self { days }) }
    }

    /// How many days it has.
    pub fn days(&self) -> usize {
        self.days.len()
    }

    /// The rates of a day, or of the last day before it that has any; of the newest without a day.
    pub fn of(
        &self,
        date: Option<CivilDate>,
        symbols: &[Currency],
        fetched_at: Timestamp,
    ) -> Result<Quoted, RateFault> {
        let last = date.unwrap_or(CivilDate::MAX);
        let end = self.days.partition_point(|(day, _)| *day <= last);
        let found = end.checked_sub(1).and_then(|place| self.days.get(place));
        let (quoted_on, rates) = found.ok_or(RateFault::NothingFor { source_name: NAME, date: last })?;
        let pivot: Currency = "EUR"
            .parse()
            .map_err(|_| RateFault::Malformed { source_name: NAME, reason: "the euro is no currency".into() })?;
        let rates = complete(NAME, pivot, symbols, rates.clone())?;
        Ok(Quoted { source: NAME, pivot, quoted_on: *quoted_on, fetched_at, rates })
    }
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let bounded = |reader: &mut dyn std::io::Read| {
        let mut text = Vec::new();
        reader.take(FILE_MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > FILE_MAX_BYTES { Err("it unpacks to too much".to_owned()) } else { Ok(text) }
    };
    match bytes {
        [0x1f, 0x8b, ..] => bounded(&mut GzDecoder::new(bytes)),
        [b'P', b'K', 3, 4, ..] => {
            let entry = Entry::find(bytes).ok_or("it is not a zip file with one packed file")?;
            let text = bounded(&mut DeflateDecoder::new(entry.packed))?;
            let mut crc = Crc::new();
            crc.update(&text);
            if crc.sum() == entry.crc { Ok(text) } else { Err("it is damaged".into()) }
        }
        plain => Ok(plain.to_vec()),
    }
}

/// The number of the one way of packing that is known.
const PACKED: usize = 8;

/// The one file of a zip file.
struct Entry<'a> {
    packed: &'a [u8],
    crc: u32,
}

impl<'a> Entry<'a> {
    /// Reads the end of the directory, its one entry, and the header that stands before the packed bytes.
    fn find(bytes: &'a [u8]) -> Option<Self> {
        let half = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let place = |at: usize| usize::try_from(word(at)?).ok();
        let end = bytes.len().checked_sub(22)?;
        if word(end)? != 0x0605_4b50 || half(end + 10)? != 1 {
            return None;
        }
        let entry = place(end + 16)?;
        if word(entry)? != 0x0201_4b50 || half(entry.checked_add(10)?)? != PACKED {
            return None;
        }
        let (crc, length, header) = (word(entry + 16)?, place(entry + 20)?, place(entry + 42)?);
        let begin = header.checked_add(30)?.checked_add(half(header.checked_add(26)?)?)?;
        let begin = begin.checked_add(half(header + 28)?)?;
        Some(Self { packed: bytes.get(begin..begin.checked_add(length)?)?, crc })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TEXT: &str = "Date,USD,JPY,CYP,\n2026-10-30,1.1611,178.53,N/A,\n2026-10-29,1.1650,178.10,N/A,\n1999-01-04,1.1789,133.73,0.58231,\n";

    fn shown(quoted: &Quoted) -> String {
        let rates = quoted.rates.iter().map(|rate| format!(" {} {}", rate.currency, rate.per_pivot));
        format!("{}{}", quoted.quoted_on, rates.collect::<String>())
    }

    #[test]
    fn a_day_has_the_rates_of_the_last_day_that_was_quoted() {
        let history = EcbHistory::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(history.days(), 3);
        let of = |date: Option<&str>, codes: &[&str]| {
            let codes: Vec<_> = codes.iter().map(|code| code.parse().unwrap()).collect();
            history.of(date.map(|date| date.parse().unwrap()), &codes, Timestamp(0)).map(|quoted| shown(&quoted))
        };
        assert_eq!(of(None, &[]).unwrap(), "2026-10-30 JPY 178.53 USD 1.1611");
        assert_eq!(of(Some("2026-10-29"), &["USD", "EUR"]).unwrap(), "2026-10-29 USD 1.165");
        assert_eq!(of(Some("2020-01-01"), &["USD"]).unwrap(), "1999-01-04 USD 1.1789");
        assert_eq!(of(Some("1999-01-03"), &[]).unwrap_err().to_string(), "ecb has nothing for 1999-01-03 or before");
        assert_eq!(of(None, &["GBP"]).unwrap_err().to_string(), "ecb has no GBP");
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for (text, words) in [
            ("", "first column"),
            ("Date,USD\n", "no day"),
            ("Day,USD\n", "first column"),
            ("Date,USD\nyesterday,1\n", "no date"),
            ("Date,USD\n2026-10-30,0\n", "above zero"),
            ("Date,USD\n2026-10-30,-\n", "not a decimal"),
            ("Date,USD\n2026-10-30,1\n2026-10-30,1\n", "twice"),
        ] {
            let reason = EcbHistory::parse(text.as_bytes()).unwrap_err();
            assert!(reason.contains(words), "{text:?}: {reason}");
        }
        for bytes in [&b"PK\x03\x04"[..], b"PK\x03\x04 and nothing else that would be a zip", b"\x1f\x8b\x08"] {
            assert!(unpack(bytes).is_err());
        }
    }
}
