//! Amounts in a bank's own form (`1.234,50`, `-12.00`, `(12.00)`) → a plain decimal and a sign. No arithmetic happens here:
//! whether an amount suits its currency is for the API to say.

/// How amounts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AmountFormat {
    /// The decimal separator.
    pub(crate) decimal: char,
    /// The separator of thousands, if there is one. Spaces between digits are always taken for one.
    pub(crate) thousands: Option<char>,
}

/// A magnitude as the API reads it, and whether it was below zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Digits with at most one point: `1234.50`.
    pub(crate) magnitude: String,
    /// Whether it bore a minus, before or behind, or stood in parentheses.
    pub(crate) negative: bool,
}

impl AmountFormat {
    /// Reads an amount.
    pub(crate) fn parse(self, text: &str) -> Result<Amount, String> {
        let error = || format!("{text:?} is not an amount");
        let trimmed = text.trim();
        let (negative, digits) = if let Some(inner) = trimmed.strip_prefix('(') {
            (true, inner.strip_suffix(')').ok_or_else(error)?)
        } else if let Some(rest) = trimmed.strip_prefix(['-', '\u{2212}']) {
            (true, rest)
        } else if let Some(rest) = trimmed.strip_suffix('-') {
            (true, rest)
        } else {
            (false, trimmed.strip_prefix('+').unwrap_or(trimmed))
        };
        let mut magnitude = String::with_capacity(digits.len());
        let mut pointed = false;
        for letter in digits.trim().chars() {
            match letter {
                '0'..='9' => magnitude.push(letter),
                _ if letter == self.decimal && !pointed && !magnitude.is_empty() => {
                    pointed = true;
                    magnitude.push('.');
                }
                ' ' | '\u{a0}' | '\u{202f}' if !pointed => {}
                _ if Some(letter) == self.thousands && !pointed && !magnitude.is_empty() => {}
                _ => return Err(error()),
            }
        }
        if magnitude.is_empty() || magnitude.ends_with('.') {
            return Err(error());
        }
        Ok(Amount { magnitude, negative })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_many_forms() {
        let english = AmountFormat { decimal: '.', thousands: Some(',') };
        let german = AmountFormat { decimal: ',', thousands: Some('.') };
        let plain = AmountFormat { decimal: '.', thousands: None };
        for (format, text, expected) in [
            (english, "1,234.50", Some(("1234.50", false))),
            (english, "-0.10", Some(("0.10", true))),
            (english, "(12.00)", Some(("12.00", true))),
            (english, "12.00-", Some(("12.00", true))),
            (german, "1.234,5", Some(("1234.5", false))),
            (german, "1 234,5", Some(("1234.5", false))),
            (german, "1,2,3", None),
            (plain, "+7", Some(("7", false))),
            (plain, "1,234.50", None),
            (plain, "", None),
            (plain, "-", None),
            (plain, "12.", None),
            (plain, ".5", None),
            (plain, "(5", None),
            (plain, "--5", None),
            (plain, "twelve", None),
            (plain, "1e5", None),
        ] {
            let expected = expected.map(|(magnitude, negative)| Amount { magnitude: magnitude.into(), negative });
            assert_eq!(format.parse(text).ok(), expected, "{text}");
        }
    }
}
