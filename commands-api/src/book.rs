//! The book as a whole: its head and its trial balance.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use event_schemas::{BookId, Sequence};
use ledger_core::ports::WriterState;
use projections::trial_balance::{self, TrialBalance};
use serde::Serialize;

use crate::call::{Call, Outcome, json};
use crate::policy::Action;
use crate::reading::{FreshQuery, fresh, read, read_range};
use crate::views::AmountJson;

#[derive(Serialize)]
struct BookAnswer {
    book: BookId,
    /// The durable sequence.
    sequence: Sequence,
    writer: &'static str,
    /// What each read model has applied; `null` if this server keeps none.
    read_models: Option<BTreeMap<&'static str, Sequence>>,
}

/// `GET /v1/books/{book}`.
pub(crate) async fn get(call: Call) -> Outcome {
    call.permit(Action::ReadBook)?;
    let query: FreshQuery = call.query()?;
    let state = &*call.state;
    let read_models = if state.rows.is_some() {
        fresh(state, query).await?;
        let checkpoints = read(state, |rows| {
            projections::NAMES.into_iter().map(|name| Ok((name, rows.checkpoint(name)?))).collect()
        })?;
        Some(checkpoints)
    } else {
        None
    };
    let status = state.sink.status();
    let writer = match status.writer {
        WriterState::Serving => "serving",
        WriterState::ReadOnly => "read_only",
        WriterState::Stopped => "stopped",
    };
    json(StatusCode::OK, &BookAnswer { book: state.book, sequence: status.durable, writer, read_models })
}

#[derive(Serialize)]
struct TrialBalanceAnswer {
    balanced: bool,
    accounts: u64,
    entries: u64,
    currencies: Vec<CurrencyJson>,
    sequence: Sequence,
}

#[derive(Serialize)]
struct CurrencyJson {
    currency: String,
    balanced: bool,
    debits: AmountJson,
    credits: AmountJson,
    lines: Vec<LineJson>,
}

#[derive(Serialize)]
struct LineJson {
    kind: &'static str,
    accounts: u64,
    postings: u64,
    debits: AmountJson,
    credits: AmountJson,
    balance: AmountJson,
}

impl From<TrialBalance> for TrialBalanceAnswer {
    fn from(trial: TrialBalance) -> Self {
        let balanced = trial.is_balanced();
        let currencies = trial.currencies.into_iter().map(|of| {
            let amount = |minor| AmountJson::new(minor, of.currency);
            let lines = of.lines.iter().map(|line| LineJson {
                kind: line.kind.name(),
                accounts: line.accounts,
                postings: line.postings,
                debits: amount(line.totals.debits_minor),
                credits: amount(line.totals.credits_minor),
                balance: line.balance.into(),
            });
            CurrencyJson {
                currency: of.currency.to_string(),
                balanced: of.is_balanced(),
                debits: amount(of.totals.debits_minor),
                credits: amount(of.totals.credits_minor),
                lines: lines.collect(),
            }
        });
        Self {
            balanced,
            accounts: trial.accounts,
            entries: trial.entries,
            currencies: currencies.collect(),
            sequence: trial.sequence,
        }
    }
}

/// `GET /v1/books/{book}/trial-balance`.
pub(crate) async fn trial_balance(call: Call) -> Outcome {
    call.permit(Action::ReadTrialBalance)?;
    let query: FreshQuery = call.query()?;
    fresh(&call.state, query).await?;
    let trial = read_range(&call.state, trial_balance::trial_balance).await?;
    json(StatusCode::OK, &TrialBalanceAnswer::from(trial))
}
