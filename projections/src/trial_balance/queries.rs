//! What is asked of the trial balance. Call it inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that
//! the answer names is the one it reflects.

use std::ops::ControlFlow;

use event_schemas::command::AccountKind;
use event_schemas::{Currency, Money, Sequence};

use super::rows::{BookRow, TotalsRow};
use crate::Totals;
use crate::ports::{ReadRows, RowsFault};
use crate::table::{Row, damaged, get, scan};

/// The accounts of one kind in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLine {
    /// The kind.
    pub kind: AccountKind,
    /// How many accounts, closed ones included.
    pub accounts: u64,
    /// How many postings.
    pub postings: u64,
    /// All debits and all credits.
    pub totals: Totals,
    /// The balance on the kind's normal side.
    pub balance: Money,
}

/// One currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrencyTrial {
    /// The currency.
    pub currency: Currency,
    /// Its kinds, in the order asset, liability, equity, income, expense; those with accounts only.
    pub lines: Vec<TrialLine>,
    /// The sums over all kinds.
    pub totals: Totals,
}

impl CurrencyTrial {
    /// Whether debits equal credits.
    pub const fn is_balanced(&self) -> bool {
        self.totals.debits_minor == self.totals.credits_minor
    }
}

/// The trial balance of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialBalance {
    /// By currency, in the order of their codes.
    pub currencies: Vec<CurrencyTrial>,
    /// How many accounts were ever opened.
    pub accounts: u64,
    /// How many entries were posted.
    pub entries: u64,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

impl TrialBalance {
    /// Whether debits equal credits in every currency, as the first law asks.
    pub fn is_balanced(&self) -> bool {
        self.currencies.iter().all(CurrencyTrial::is_balanced)
    }
}

/// The trial balance.
pub fn trial_balance(rows: &dyn ReadRows) -> Result<TrialBalance, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let book = get::<BookRow>(rows, &())?.unwrap_or_default();
    let mut currencies: Vec<CurrencyTrial> = Vec::new();
    let mut fault = None;
    scan::<TotalsRow>(rows, &[], None, false, &mut |(currency, kind), row| {
        let Some(kind) = AccountKind::from_number(kind) else {
            fault = Some(damaged(TotalsRow::TABLE, &format_args!("there is no kind {kind}")));
            return ControlFlow::Break(());
        };
        let balance = Money::new(row.totals.balance_minor(kind), currency);
        let line = TrialLine { kind, accounts: row.accounts, postings: row.postings, totals: row.totals, balance };
        if currencies.last().is_none_or(|last| last.currency != currency) {
            currencies.push(CurrencyTrial { currency, lines: Vec::new(), totals: Totals::default() });
        }
        if let Some(last) = currencies.last_mut() {
            last.lines.push(line);
            match last.totals.sum(row.totals) {
                Some(totals) => last.totals = totals,
                None => fault = Some(damaged(TotalsRow::TABLE, &format_args!("the sums of {currency} overflow"))),
            }
        }
        ControlFlow::Continue(())
    })?;
    match fault {
        Some(fault) => Err(fault),
        None => Ok(TrialBalance { currencies, accounts: book.accounts, entries: book.entries, sequence }),
    }
}
