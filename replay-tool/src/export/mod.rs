//! `export`: the postings of a book for other programs. The date of a posting is its entry's effective date.
//!
//! `rows` csv and jsonl, streamed · `cell` csv without formulas · `end_of_day` balances by day · `survey` and `by_date` what a plain-text ledger needs ·
//! `names` accounts as such a ledger can spell them · `hledger`, `beancount` the ledgers.
//!
//! Memory: `rows` one block; the others the accounts, and `by_date` its bound beside them; `end_of_day` some 50 bytes for
//! each account and day on which it moved.

mod beancount;
mod by_date;
mod cell;
mod end_of_day;
mod hledger;
mod names;
mod rows;
mod survey;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use event_schemas::{Posting, Sequence};

use crate::cli::{ExportArgs, ExportFormat};
use crate::journal::Journal;
use crate::outcome::{Failure, Outcome};

/// Which postings.
#[derive(Debug, Clone)]
struct Selection {
    currency: Option<String>,
    to: Sequence,
    /// The most bytes of entries kept at a time to be sorted.
    sort_max_bytes: u64,
}

impl Selection {
    fn takes(&self, posting: &Posting) -> bool {
        self.takes_currency(posting.money.currency)
    }

    fn takes_currency(&self, currency: event_schemas::Currency) -> bool {
        self.currency.as_deref().is_none_or(|code| code == currency.code())
    }
}

/// Exports to the file asked for, or to `out`. A file appears under its name only when it is complete.
pub fn run(journal: &mut Journal, arguments: &ExportArgs, out: &mut dyn Write) -> Result<Outcome, Failure> {
    if arguments.end_of_day && arguments.format != ExportFormat::Csv {
        return Err(Failure::usage("--end-of-day is for --format csv"));
    }
    let to = arguments.to.unwrap_or(Sequence(u64::MAX)).min(journal.head().sequence);
    let sort_max_bytes = arguments.sort_memory.saturating_mul(1 << 20);
    let selection = Selection { currency: arguments.currency.clone(), to, sort_max_bytes };
    let Some(path) = &arguments.out else {
        write(journal, arguments, &selection, out)?;
        out.flush()?;
        return Ok(Outcome::Fine);
    };
    let partial = partial_path(path);
    let at = |error: std::io::Error| {
        Failure::Output(std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&partial).map_err(at)?);
    let written = write(journal, arguments, &selection, &mut file).and_then(|()| file.flush().map_err(at));
    if written.is_err() {
        // What is left of it is of no use; that it can't be removed would say nothing new.
        let _ = std::fs::remove_file(&partial);
    }
    written?;
    std::fs::rename(&partial, path).map_err(at)?;
    Ok(Outcome::Fine)
}

fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

fn write(
    journal: &mut Journal,
    arguments: &ExportArgs,
    selection: &Selection,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match arguments.format {
        ExportFormat::Csv if arguments.end_of_day => end_of_day::write(journal, selection, out),
        ExportFormat::Csv => rows::write_csv(journal, selection, out),
        ExportFormat::Jsonl => rows::write_jsonl(journal, selection, out),
        ExportFormat::Hledger => hledger::write(journal, selection, out),
        ExportFormat::Beancount => beancount::write(journal, selection, out),
    }
}
