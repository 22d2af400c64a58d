//! csv and jsonl: a row a posting, in journal order, streamed.

use std::io::Write;
use std::ops::ControlFlow;

use event_schemas::{CivilDate, Sequence, Side, Timestamp};
use serde::Serialize;

use super::Selection;
use super::cell::inert;
use crate::accounts::Accounts;
use crate::journal::Journal;
use crate::outcome::Failure;

/// A posting with its entry. The order of the fields is the order of the columns.
#[derive(Serialize)]
struct Row<'a> {
    sequence: Sequence,
    /// Numbered from 1 within the entry.
    posting: usize,
    date: CivilDate,
    recorded_at: Timestamp,
    kind: &'static str,
    account: String,
    account_code: &'a str,
    account_kind: &'static str,
    side: Side,
    amount: String,
    currency: &'a str,
    command: String,
    reference: &'a str,
}

pub(super) fn write_csv(journal: &mut Journal, selection: &Selection, out: &mut dyn Write) -> Result<(), Failure> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record([
        "sequence",
        "posting",
        "date",
        "recorded_at",
        "kind",
        "account",
        "account_code",
        "account_kind",
        "side",
        "amount",
        "currency",
        "command",
        "reference",
    ])?;
    each(journal, selection, &mut |row| {
        let (account_code, reference) = (inert(row.account_code), inert(row.reference));
        Ok(writer.serialize(Row { account_code: &account_code, reference: &reference, ..row })?)
    })?;
    Ok(writer.flush()?)
}

pub(super) fn write_jsonl(journal: &mut Journal, selection: &Selection, out: &mut dyn Write) -> Result<(), Failure> {
    each(journal, selection, &mut |row| {
        serde_json::to_writer(&mut *out, &row)?;
        Ok(out.write_all(b"\n")?)
    })
}

fn each(
    journal: &mut Journal,
    selection: &Selection,
    put: &mut dyn FnMut(Row<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut accounts = Accounts::new();
    journal.events(Sequence(1), selection.to, "exporting", &mut |header, sequence, event| {
        accounts.see(&event);
        let Some(entry) = event.body.entry() else { return Ok(ControlFlow::Continue(())) };
        let command = event.cause.command().map_or_else(String::new, |(command, _)| command.to_string());
        for (index, posting) in entry.postings.iter().enumerate().filter(|(_, posting)| selection.takes(posting)) {
            let open = accounts.get(posting.account);
            put(Row {
                sequence,
                posting: index + 1,
                date: entry.effective_on,
                recorded_at: header.recorded_at,
                kind: entry.origin.name(),
                account: posting.account.to_string(),
                account_code: open.map_or("", |open| &open.code),
                account_kind: open.map_or("", |open| open.kind.name()),
                side: posting.side,
                amount: posting.money.amount().to_string(),
                currency: posting.money.currency.code(),
                command: command.clone(),
                reference: entry.reference,
            })?;
        }
        Ok(ControlFlow::Continue(()))
    })
}
