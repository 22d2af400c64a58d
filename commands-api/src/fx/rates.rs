//! Rates: `GET …/rates/latest` and `GET …/rates/{date}`.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use event_schemas::rates::{PublishRateSheet, Rate};
use event_schemas::{CivilDate, Currency, Sequence, Timestamp};
use projections::rates::{self as sheets, Found, SheetHead};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::prices::Shown;
use crate::amounts;
use crate::call::{Call, Outcome, json};
use crate::openapi::params::{BookPath, RateDatePath};
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{FreshQuery, fresh, read_range};

/// The query string of rates.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RatesQuery {
    /// The currency that the others are told in; the sheet's pivot if not given.
    #[param(value_type = Option<types::CurrencyCode>)]
    base: Option<String>,
    /// Which currencies, with commas between them; all if not given.
    #[param(max_length = 1024)]
    symbols: Option<String>,
    /// Answers once the read models have applied this sequence: that of an earlier answer, to read what was written.
    #[param(value_type = Option<types::Sequence>)]
    min_sequence: Option<u64>,
    /// How long to wait for `min_sequence`, in milliseconds; 5000 if not given.
    #[param(maximum = 30_000)]
    timeout_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct RatesAnswer {
    /// One unit of this buys as much of the others.
    #[schema(value_type = types::CurrencyCode)]
    base: String,
    /// The day for which the source quoted.
    #[schema(value_type = types::CivilDate)]
    date: CivilDate,
    /// Mids by currency. Of the sheet's pivot they are as the source quoted them; of another base, ten decimals of the quotient.
    rates: BTreeMap<String, String>,
    /// The version of the rate sheet.
    #[schema(value_type = types::Version)]
    sheet: u64,
    #[schema(value_type = types::CurrencyCode)]
    pivot: String,
    source: String,
    #[schema(value_type = types::Timestamp)]
    fetched_at: Timestamp,
    /// Until when conversions may be made by them.
    #[schema(value_type = types::Timestamp)]
    valid_until: Timestamp,
    #[schema(value_type = types::Sequence)]
    published_sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    published_at: Timestamp,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

/// The latest rates
///
/// Mids of the newest rate sheet, without the house's margin.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/rates/latest",
    tag = "exchange",
    operation_id = "get_latest_rates",
    params(BookPath, RatesQuery),
    responses(
        (status = OK, description = "The rates.", body = RatesAnswer),
        (status = 422),
    )
)]
pub(crate) async fn latest(call: Call) -> Outcome {
    call.permit(Action::ReadSettings)?;
    let query: RatesQuery = call.query()?;
    fresh(&call.state, query.fresh()).await?;
    let found = read_range(&call.state, sheets::latest).await?;
    answer(&query, found)
}

/// The rates of a day
///
/// Mids of the newest rate sheet that was quoted for this day, or for the last day before it that has one.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/rates/{date}",
    tag = "exchange",
    operation_id = "get_rates_of_day",
    params(RateDatePath, RatesQuery),
    responses(
        (status = OK, description = "The rates.", body = RatesAnswer),
        (status = 422),
    )
)]
pub(crate) async fn of_date(call: Call) -> Outcome {
    call.permit(Action::ReadSettings)?;
    let date: CivilDate = call.param("date").parse().map_err(|_| Problem::new(Code::NotFound))?;
    let query: RatesQuery = call.query()?;
    fresh(&call.state, query.fresh()).await?;
    let found = read_range(&call.state, move |rows| sheets::of_date(rows, date)).await?;
    answer(&query, found)
}

impl RatesQuery {
    const fn fresh(&self) -> FreshQuery {
        FreshQuery { min_sequence: self.min_sequence, timeout_ms: self.timeout_ms }
    }
}

fn answer(query: &RatesQuery, found: Found<(PublishRateSheet, SheetHead)>) -> Outcome {
    let none = || Problem::detailed(Code::NotFound, "no rate sheet was published, or none for this day or before");
    let (sheet, head) = found.found.ok_or_else(none)?;
    let invalid = |problem: Problem, text: &str| {
        let detail = format!("{} is not a currency", text.chars().take(12).collect::<String>());
        if problem.code() == Code::CurrencyUnknown { Problem::detailed(Code::QueryInvalid, detail) } else { problem }
    };
    let currency = |text: &str| amounts::currency(text, "#").map_err(|problem| invalid(problem, text));
    let base = query.base.as_deref().map_or(Ok(sheet.pivot), currency)?;
    let missing =
        |currency: Currency| Problem::detailed(Code::RateNotFound, format!("the rate sheet has no {currency}"));
    let all = || sheet.rates.iter().map(|rate| rate.currency).chain([sheet.pivot]).filter(|one| *one != base);
    let wanted: Vec<Currency> = match query.symbols.as_deref() {
        None => all().collect(),
        Some(symbols) => symbols.split(',').map(currency).collect::<Result<_, _>>()?,
    };
    let mut rates = BTreeMap::new();
    for currency in wanted {
        let mid = sheet.mid(base, currency).map_err(missing)?;
        let text = if mid.sold_per_pivot == Rate::ONE {
            mid.bought_per_pivot.to_string()
        } else {
            Shown::mid(mid).to_string()
        };
        rates.insert(currency.to_string(), text);
    }
    let answer = RatesAnswer {
        base: base.to_string(),
        date: sheet.quoted_on,
        rates,
        sheet: sheet.version,
        pivot: sheet.pivot.to_string(),
        source: sheet.source.into(),
        fetched_at: sheet.fetched_at,
        valid_until: sheet.valid_until,
        published_sequence: head.row.published_sequence,
        published_at: head.row.published_at,
        sequence: found.sequence,
    };
    json(StatusCode::OK, &answer)
}
