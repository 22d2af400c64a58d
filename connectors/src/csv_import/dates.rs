//! Dates in a bank's own form, by a pattern of year, month and day letters: `yymmdd`, `YYYY-MM-DD`, `D/M/YYYY`.

use event_schemas::CivilDate;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A number of exactly so many digits, or of one or two where the pattern has a single letter.
    Year4,
    Year2,
    Month {
        fixed: bool,
    },
    Day {
        fixed: bool,
    },
    Literal(char),
}

/// A date pattern, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DateFormat {
    parts: Vec<Part>,
    pivot: u8,
    pattern: String,
}

impl DateFormat {
    /// Reads a pattern. `pivot`: two-digit years from it on are of the 20th century, those below it of the 21st.
    pub(crate) fn new(pattern: &str, pivot: u8) -> Result<Self, String> {
        if pivot > 99 {
            return Err("the pivot is a two-digit year, 0 to 99".into());
        }
        let mut parts = Vec::new();
        let mut chars = pattern.chars().peekable();
        let (mut years, mut months, mut days) = (0, 0, 0);
        while let Some(letter) = chars.next() {
            let lower = letter.to_ascii_lowercase();
            if !matches!(lower, 'y' | 'm' | 'd') {
                if letter.is_alphanumeric() {
                    return Err(format!("{pattern:?}: {letter:?} is none of y, m, d"));
                }
                parts.push(Part::Literal(letter));
                continue;
            }
            let mut count = 1;
            while chars.next_if(|next| next.to_ascii_lowercase() == lower).is_some() {
                count += 1;
            }
            parts.push(match (lower, count) {
                ('y', 4) => Part::Year4,
                ('y', 2) => Part::Year2,
                ('m', 1 | 2) => Part::Month { fixed: count == 2 },
                ('d', 1 | 2) => Part::Day { fixed: count == 2 },
                _ => return Err(format!("{pattern:?}: a year is yy or yyyy, a month m or mm, a day d or dd")),
            });
            match lower {
                'y' => years += 1,
                'm' => months += 1,
                _ => days += 1,
            }
        }
        if (years, months, days) != (1, 1, 1) {
            return Err(format!("{pattern:?} does not name year, month and day once each"));
        }
        Ok(Self { parts, pivot, pattern: pattern.to_owned() })
    }

    /// Reads a date; the whole text must be used.
    pub(crate) fn parse(&self, text: &str) -> Result<CivilDate, String> {
        let error = || format!("{text:?} is not a date of the form {}", self.pattern);
        let (mut year, mut month, mut day) = (0_i16, 0_i8, 0_i8);
        let mut rest = text;
        for part in &self.parts {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(*literal).ok_or_else(error)?,
                Part::Year4 => year = number(&mut rest, 4, true).ok_or_else(error)?,
                Part::Year2 => {
                    let short = number(&mut rest, 2, true).ok_or_else(error)?;
                    year = if short >= i16::from(self.pivot) { 1900 + short } else { 2000 + short };
                }
                Part::Month { fixed } => {
                    month =
                        number(&mut rest, 2, *fixed).and_then(|month| i8::try_from(month).ok()).ok_or_else(error)?;
                }
                Part::Day { fixed } => {
                    day = number(&mut rest, 2, *fixed).and_then(|day| i8::try_from(day).ok()).ok_or_else(error)?;
                }
            }
        }
        if !rest.is_empty() {
            return Err(error());
        }
        CivilDate::from_ymd(year, month, day).ok_or_else(error)
    }
}

/// Takes a number of `digits` digits (or of one to `digits`, if not fixed) from the front.
fn number(rest: &mut &str, digits: usize, fixed: bool) -> Option<i16> {
    let found = rest.bytes().take(digits).take_while(u8::is_ascii_digit).count();
    if found == 0 || (fixed && found != digits) {
        return None;
    }
    let (head, tail) = rest.split_at_checked(found)?;
    *rest = tail;
    head.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dates_are_read_by_their_pattern() {
        for (pattern, pivot, text, expected) in [
            ("yymmdd", 50, "930702", Some("1993-07-02")),
            ("yymmdd", 50, "490702", Some("2049-07-02")),
            ("yymmdd", 50, "930231", None),
            ("yymmdd", 50, "93072", None),
            ("yymmdd", 50, "9307021", None),
            ("YYYY-MM-DD", 70, "2024-02-29", Some("2024-02-29")),
            ("YYYY-MM-DD", 70, "2023-02-29", None),
            ("YYYY-MM-DD", 70, "2024-2-29", None),
            ("DD/MM/YYYY", 70, "31/12/1999", Some("1999-12-31")),
            ("DD/MM/YYYY", 70, "12-31-1999", None),
            ("D.M.YYYY", 70, "3.1.2001", Some("2001-01-03")),
            ("D.M.YYYY", 70, "31.12.2001", Some("2001-12-31")),
            ("DD.MM.YY", 70, "", None),
        ] {
            let read = DateFormat::new(pattern, pivot).unwrap().parse(text).ok().map(|date| date.to_string());
            assert_eq!(read.as_deref(), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_that_make_no_date_are_refused() {
        for pattern in ["", "yyyymm", "yyymmdd", "yyyy-mm-ddThh", "ddmmddyy"] {
            assert!(DateFormat::new(pattern, 70).is_err(), "{pattern}");
        }
        assert!(DateFormat::new("yymmdd", 100).is_err());
    }
}
