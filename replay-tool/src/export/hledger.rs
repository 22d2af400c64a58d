//! A journal for hledger: directives that its strict checks ask for, entries by date, and at the last posting of each
//! account an assertion of its balance. The code of a transaction is the sequence of its event. Debits are positive.

use std::fmt::Write as _;
use std::io::Write;

use event_schemas::{Currency, Money, Side};

use super::Selection;
use super::survey::Survey;
use super::{by_date, names};
use crate::journal::Journal;
use crate::outcome::Failure;

pub(super) fn write(journal: &mut Journal, selection: &Selection, out: &mut dyn Write) -> Result<(), Failure> {
    let survey = Survey::take(journal, selection)?;
    let names = names::unique(survey.accounts.opened(), names::hledger);
    writeln!(out, "; Book {}, events 1 to {}: {} entries.", journal.book(), selection.to, survey.entries)?;
    writeln!(out, "; The code of a transaction is the sequence of its event. Debits are positive.")?;
    writeln!(out, "decimal-mark .")?;
    for currency in &survey.currencies {
        writeln!(out, "commodity {}", sample(*currency))?;
    }
    writeln!(out)?;
    for (open, name) in survey.accounts.opened().iter().zip(&names) {
        if selection.takes_currency(open.currency) {
            writeln!(out, "account {name}  ; id: {}", open.account)?;
        }
    }
    let mut line = String::new();
    by_date::each(journal, selection, &survey, &mut |sequence, entry| {
        line.clear();
        let _ = write!(line, "\n{} ({sequence}) {}", entry.effective_on, entry.origin.name());
        if !entry.reference.is_empty() {
            let _ = write!(line, " | {}", plain(entry.reference));
        }
        line.push('\n');
        for (index, posting) in entry.postings.iter().enumerate().filter(|(_, posting)| selection.takes(posting)) {
            let place = survey.accounts.known(posting.account)?;
            let name = names.get(place).map_or("", String::as_str);
            let _ = write!(line, "    {name}  {}", signed(posting.side, posting.money));
            if let Some(course) = survey.courses.get(place)
                && course.last == Some((entry.effective_on, sequence, index))
            {
                let _ = write!(line, " = {}", Money::new(course.balance_minor, posting.money.currency));
            }
            line.push('\n');
        }
        Ok(out.write_all(line.as_bytes())?)
    })
}

/// How amounts of a currency look; the decimal mark has to be there even without decimals.
fn sample(currency: Currency) -> String {
    let zeros = "0".repeat(usize::from(currency.exponent()));
    format!("1000.{zeros} {currency}")
}

fn signed(side: Side, money: Money) -> Money {
    match side {
        Side::Debit => money,
        Side::Credit => Money::new(-money.amount_minor, money.currency),
    }
}

/// A text on one line that starts no comment.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c == ';' || c.is_control() { ' ' } else { c }).collect()
}
