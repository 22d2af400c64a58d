//! End-of-day balances: for each account and each effective date on which it moved, the sum of all its postings effective
//! up to that date, on its normal side. Accounts stand in the order of their opening.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;

use event_schemas::{CivilDate, Money, Sequence};

use super::Selection;
use super::cell::inert;
use crate::accounts::{Accounts, name_of};
use crate::journal::Journal;
use crate::outcome::Failure;

pub(super) fn write(journal: &mut Journal, selection: &Selection, out: &mut dyn Write) -> Result<(), Failure> {
    let mut accounts = Accounts::new();
    let mut moved: Vec<BTreeMap<CivilDate, i128>> = Vec::new();
    journal.events(Sequence(1), selection.to, "summing by day", &mut |_, _, event| {
        accounts.see(&event);
        moved.resize_with(accounts.opened().len(), BTreeMap::new);
        if let Some(entry) = event.body.entry() {
            for posting in entry.postings.iter().filter(|posting| selection.takes(posting)) {
                let place = accounts.known(posting.account)?;
                let kind = accounts.opened().get(place).map(|open| open.kind);
                let raises = kind.is_some_and(|kind| kind.normal_side() == posting.side);
                let amount_minor = posting.money.amount_minor;
                if let Some(days) = moved.get_mut(place) {
                    *days.entry(entry.effective_on).or_default() += if raises { amount_minor } else { -amount_minor };
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["account", "date", "balance"])?;
    for (open, days) in accounts.opened().iter().zip(&moved) {
        let name = name_of(open);
        let mut balance_minor = 0;
        for (date, moved_minor) in days {
            balance_minor += moved_minor;
            let balance = Money::new(balance_minor, open.currency).amount().to_string();
            writer.write_record([&*inert(&name), &date.to_string(), &balance])?;
        }
    }
    Ok(writer.flush()?)
}
