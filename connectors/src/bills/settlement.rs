//! Reconciliation: a provider's file of what it was paid, held against the payments here.
//!
//! The file is CSV with a header that names at least `payment`, `amount` and `currency`, and perhaps `reference`; other columns
//! are left alone. Each row and each payment ends in exactly one line of the report.

use std::collections::BTreeMap;
use std::io::Read;

use event_schemas::{CommandId, Currency, Money};

/// The most rows of a file.
pub const ROWS_MAX: usize = 5_000_000;

/// A payment that the provider should have been paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The payment.
    pub payment: CommandId,
    /// What the provider took.
    pub amount: Money,
    /// The provider's reference.
    pub reference: Box<str>,
}

/// How a row or a payment came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The file has it as it is here.
    Matched,
    /// It is here and not in the file.
    Missing,
    /// The file has another amount or currency.
    DifferentAmount,
    /// The file has it again.
    Doubled,
    /// It is in the file and not here.
    Unknown,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Matched, Self::Missing, Self::DifferentAmount, Self::Doubled, Self::Unknown];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Missing => "missing",
            Self::DifferentAmount => "different_amount",
            Self::Doubled => "doubled",
            Self::Unknown => "unknown",
        }
    }
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it came out.
    pub outcome: Outcome,
    /// The payment, as the file has it.
    pub payment: Box<str>,
    /// The line of the file, from 1; `None` for a payment that is missing there.
    pub line: Option<u64>,
    /// What is expected.
    pub expected: Option<Money>,
    /// What the file says.
    pub found: Option<Money>,
    /// The provider's reference.
    pub reference: Box<str>,
}

/// A file that can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettlementFault {
    /// It is not CSV.
    #[error("the file can't be read as CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A column is not there.
    #[error("the file has no column {0:?}; it needs payment, amount and currency")]
    Column(&'static str),
    /// A row is not understood.
    #[error("line {line}: {what}")]
    Row {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// It has too many rows.
    #[error("the file has more than {ROWS_MAX} rows")]
    TooLong,
}

/// Holds a file against what is expected.
pub fn reconcile(file: impl Read, expected: impl IntoIterator<Item = Expected>) -> Result<Vec<Line>, SettlementFault> {
    let mut open: BTreeMap<CommandId, (Expected, bool)> =
        expected.into_iter().map(|expected| (expected.payment, (expected, false))).collect();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let headers = reader.headers()?.clone();
    let column = |name: &'static str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let needed = |name: &'static str| column(name).ok_or(SettlementFault::Column(name));
    let (payment, amount, currency) = (needed("payment")?, needed("amount")?, needed("currency")?);
    let reference = column("reference");
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record?;
        if lines.len() >= ROWS_MAX {
            return Err(SettlementFault::TooLong);
        }
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let wrong = |what: String| SettlementFault::Row { line, what };
        let of: Currency = cell(currency).parse().map_err(|_| wrong(format!("{:?} is no currency", cell(currency))))?;
        let found = Money::parse(cell(amount), of).map_err(|error| wrong(error.to_string()))?;
        let name: Box<str> = cell(payment).into();
        let mut told = Line {
            outcome: Outcome::Unknown,
            payment: name.clone(),
            line: Some(line),
            expected: None,
            found: Some(found),
            reference: reference.map(cell).unwrap_or_default().into(),
        };
        if let Some((expected, seen)) = name.parse().ok().and_then(|id: CommandId| open.get_mut(&id)) {
            told.expected = Some(expected.amount);
            told.outcome = match (std::mem::replace(seen, true), expected.amount == found) {
                (true, _) => Outcome::Doubled,
                (false, true) => Outcome::Matched,
                (false, false) => Outcome::DifferentAmount,
            };
        }
        lines.push(told);
    }
    for (expected, _) in open.into_values().filter(|(_, seen)| !seen) {
        lines.push(Line {
            outcome: Outcome::Missing,
            payment: expected.payment.to_string().into(),
            line: None,
            expected: Some(expected.amount),
            found: None,
            reference: expected.reference,
        });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Outcome::{DifferentAmount, Doubled, Matched, Missing, Unknown};
    use super::*;

    fn expected(id: u128, minor: i128) -> Expected {
        let amount = Money::new(minor, "EUR".parse().unwrap());
        Expected { payment: CommandId(id), amount, reference: "W".into() }
    }

    #[test]
    fn every_row_and_every_payment_is_in_one_line() {
        let id = |number: u128| CommandId(number).to_string();
        let file = format!(
            "reference,payment,amount,currency\nW,{},1.00,EUR\nW,{},2.50,EUR\nW,{},1.00,EUR\nW,{},9.00,EUR\nW,x,1.00,EUR\nW,{},4.00,USD\n",
            id(1),
            id(2),
            id(1),
            id(9),
            id(4)
        );
        let lines = reconcile(file.as_bytes(), [1, 2, 3, 4].map(|id| expected(id, 100 * i128::try_from(id).unwrap())));
        let told: Vec<_> = lines.unwrap().iter().map(|line| (line.outcome, line.line)).collect();
        assert_eq!(
            told,
            [
                (Matched, Some(2)),
                (DifferentAmount, Some(3)),
                (Doubled, Some(4)),
                (Unknown, Some(5)),
                (Unknown, Some(6)),
                (DifferentAmount, Some(7)),
                (Missing, None)
            ]
        );
    }

    #[test]
    fn files_that_can_not_be_read_are_refused() {
        for (file, expected) in [
            ("payment,amount\n", "no column \"currency\""),
            ("payment,amount,currency\nx,1.00,EURO\n", "line 2: \"EURO\" is no currency"),
            ("payment,amount,currency\nx,1.001,EUR\n", "line 2"),
            ("payment,amount,currency\nx,1.00\n", "CSV"),
        ] {
            let told = reconcile(file.as_bytes(), []).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
    }
}
