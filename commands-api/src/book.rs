//! The book as a whole: its head and its trial balance.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use event_schemas::{BookId, Sequence};
use ledger_core::ports::WriterState;
use projections::trial_balance::{self, TrialBalance};
use serde::Serialize;
use utoipa::ToSchema;

use crate::call::{Call, Outcome, json};
use crate::openapi::params::BookPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::reading::{FreshQuery, fresh, read, read_range};
use crate::views::AmountJson;

#[derive(Serialize, ToSchema)]
struct BookAnswer {
    #[schema(value_type = types::BookId)]
    book: BookId,
    /// The durable sequence.
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
    #[schema(value_type = types::WriterState)]
    writer: &'static str,
    /// What each read model has applied; `null` if this server keeps none.
    #[schema(value_type = Option<BTreeMap<String, types::Sequence>>, required)]
    read_models: Option<BTreeMap<&'static str, Sequence>>,
}

/// How far the book is
///
/// The durable sequence, whether commands are taken, and what each read model has applied.
#[utoipa::path(
    get,
    path = "/v1/books/{book}",
    tag = "book",
    operation_id = "get_book",
    params(BookPath, FreshQuery),
    responses(
        (status = OK, description = "The book.", body = BookAnswer),
    )
)]
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

#[derive(Serialize, ToSchema)]
struct TrialBalanceAnswer {
    balanced: bool,
    accounts: u64,
    entries: u64,
    currencies: Vec<CurrencyJson>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TrialBalanceOfCurrency)]
struct CurrencyJson {
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    balanced: bool,
    #[schema(value_type = types::Amount)]
    debits: AmountJson,
    #[schema(value_type = types::Amount)]
    credits: AmountJson,
    lines: Vec<LineJson>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TrialBalanceLine)]
struct LineJson {
    #[schema(value_type = types::AccountKind)]
    kind: &'static str,
    accounts: u64,
    postings: u64,
    #[schema(value_type = types::Amount)]
    debits: AmountJson,
    #[schema(value_type = types::Amount)]
    credits: AmountJson,
    #[schema(value_type = types::Amount)]
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

/// The trial balance
///
/// Debits and credits by currency and kind of account. Not for keys of customers.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/trial-balance",
    tag = "book",
    operation_id = "get_trial_balance",
    params(BookPath, FreshQuery),
    responses(
        (status = OK, description = "The trial balance.", body = TrialBalanceAnswer),
    )
)]
pub(crate) async fn trial_balance(call: Call) -> Outcome {
    call.permit(Action::ReadTrialBalance)?;
    let query: FreshQuery = call.query()?;
    fresh(&call.state, query).await?;
    let trial = read_range(&call.state, trial_balance::trial_balance).await?;
    json(StatusCode::OK, &TrialBalanceAnswer::from(trial))
}
