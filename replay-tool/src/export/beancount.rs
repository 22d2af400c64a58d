//! A ledger for beancount: accounts opened on or before their first use, entries by date, and for each account an
//! assertion of its balance on the day after its last posting. Debits are positive.

use std::fmt::Write as _;
use std::io::Write;

use event_schemas::{CivilDate, Money, Side};

use super::Selection;
use super::survey::Survey;
use super::{by_date, names};
use crate::journal::Journal;
use crate::outcome::Failure;

pub(super) fn write(journal: &mut Journal, selection: &Selection, out: &mut dyn Write) -> Result<(), Failure> {
    let survey = Survey::take(journal, selection)?;
    let names = names::unique(survey.accounts.opened(), names::beancount);
    writeln!(out, "; Events 1 to {}: {} entries. Debits are positive.", selection.to, survey.entries)?;
    writeln!(out, "option \"title\" \"Book {}\"", journal.book())?;
    for currency in &survey.currencies {
        writeln!(out, "option \"operating_currency\" \"{currency}\"")?;
    }
    writeln!(out)?;
    for ((open, course), name) in survey.accounts.opened().iter().zip(&survey.courses).zip(&names) {
        if selection.takes_currency(open.currency) {
            let opened_on = course.first.map_or(course.opened_on, |first| first.min(course.opened_on));
            writeln!(out, "{opened_on} open {name} {}", open.currency)?;
            writeln!(out, "  id: \"{}\"", open.account)?;
            if !open.code.is_empty() {
                writeln!(out, "  code: {}", quoted(&open.code))?;
            }
        }
    }
    let mut text = String::new();
    by_date::each(journal, selection, &survey, &mut |sequence, entry| {
        text.clear();
        let kind = entry.origin.name();
        let _ = write!(text, "\n{} * \"{kind}\" {}\n", entry.effective_on, quoted(entry.reference));
        let _ = writeln!(text, "  sequence: {sequence}");
        for posting in entry.postings.iter().filter(|posting| selection.takes(posting)) {
            let name = names.get(survey.accounts.known(posting.account)?).map_or("", String::as_str);
            let minor = match posting.side {
                Side::Debit => posting.money.amount_minor,
                Side::Credit => -posting.money.amount_minor,
            };
            let _ = writeln!(text, "  {name}  {}", Money::new(minor, posting.money.currency));
        }
        Ok(out.write_all(text.as_bytes())?)
    })?;
    writeln!(out)?;
    for ((open, course), name) in survey.accounts.opened().iter().zip(&survey.courses).zip(&names) {
        let Some((last, _, _)) = course.last else { continue };
        let next = day_after(last);
        let balance = Money::new(course.balance_minor, open.currency);
        // The tolerance is said, because beancount would otherwise infer one of half a unit of the last digit or more.
        writeln!(out, "{next} balance {name}  {} ~ 0 {}", balance.amount(), open.currency)?;
        if let Some(closed_on) = course.closed_on {
            writeln!(out, "{} close {name}", next.max(closed_on))?;
        }
    }
    Ok(())
}

fn day_after(date: CivilDate) -> CivilDate {
    CivilDate::from_days(date.days() + 1).unwrap_or(date)
}

/// A beancount string on one line.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
