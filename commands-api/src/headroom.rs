//! Headroom: `GET …/customers/{owner}/limits`, what a customer may still let go in each currency.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use event_schemas::{CivilDate, Currency, Sequence, Timestamp};
use projections::limits::{Headroom, HeadroomPage, headroom, headrooms};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::openapi::params::CustomerPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{FreshQuery, customer_of_path, fresh, page_limit, read_range};
use crate::views::AmountJson;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HeadroomQuery {
    /// Answers once the read models have applied this sequence.
    #[param(value_type = Option<types::Sequence>)]
    min_sequence: Option<u64>,
    /// How long to wait for `min_sequence`, in milliseconds; 5000 if not given.
    #[param(maximum = 30_000)]
    timeout_ms: Option<u64>,
    /// Only the limits in this currency.
    #[param(value_type = Option<types::KnownCurrency>)]
    currency: Option<String>,
    /// The moment for which to tell what is left; now if not given. A moment of a day before the last charge is taken for
    /// the day of the charge.
    #[param(value_type = Option<types::Timestamp>)]
    at_time: Option<String>,
    /// How many rows a page has at most; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins: the `next_cursor` of the page before.
    #[param(value_type = Option<types::Cursor>)]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct HeadroomAnswer {
    #[schema(value_type = types::Owner)]
    customer: Box<str>,
    /// One for each currency in which limits were ever set.
    limits: Vec<LimitsJson>,
    #[schema(required)]
    next_cursor: Option<String>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Limits)]
struct LimitsJson {
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    version: u64,
    /// The book's day at that moment; `null` if its calendar does not reach as far: then nothing limited may leave.
    #[schema(value_type = Option<types::CivilDate>, required)]
    day: Option<CivilDate>,
    /// What may leave at once, fees included; `null` if nothing limits it.
    #[schema(value_type = Option<types::Amount>, required)]
    left: Option<AmountJson>,
    windows: Vec<WindowJson>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LimitOfWindow)]
struct WindowJson {
    #[schema(value_type = types::LimitWindow)]
    window: &'static str,
    /// The limit; `null` if there is none.
    #[schema(value_type = Option<types::Amount>, required)]
    cap: Option<AmountJson>,
    #[schema(value_type = types::Amount)]
    used: AmountJson,
    #[schema(value_type = Option<types::Amount>, required)]
    left: Option<AmountJson>,
    /// When the next window begins; `null` for a single transfer, and if the calendar does not reach as far.
    #[schema(value_type = Option<types::Timestamp>, required)]
    resets_at: Option<Timestamp>,
}

impl From<Headroom> for LimitsJson {
    fn from(headroom: Headroom) -> Self {
        let currency = headroom.currency;
        let amount = |minor: i128| AmountJson::new(minor, currency);
        let windows = headroom.windows.into_iter().map(|window| WindowJson {
            window: window.window.name(),
            cap: window.cap_minor.map(amount),
            used: amount(window.used_minor),
            left: window.left_minor.map(amount),
            resets_at: window.resets_at,
        });
        Self {
            currency: currency.to_string(),
            version: headroom.version,
            day: headroom.day,
            left: headroom.left_minor.map(amount),
            windows: windows.collect(),
        }
    }
}

/// What a customer may still let go
///
/// In each currency in which it has limits: what a single transfer may take, and what is used and left of the day and the month.
/// For a key of a customer its own.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/customers/{owner}/limits",
    tag = "customers",
    operation_id = "get_limits",
    params(CustomerPath, HeadroomQuery),
    responses(
        (status = OK, description = "A page.", body = HeadroomAnswer),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    let own = call.permit(Action::ReadLimits)?;
    let query: HeadroomQuery = call.query()?;
    let limit = page_limit(query.limit)?;
    let customer = customer_of_path(&call, own)?;
    let invalid = |detail: &str| Problem::detailed(Code::QueryInvalid, detail);
    let currency = query.currency.as_deref().map(str::parse::<Currency>).transpose();
    let currency = currency.map_err(|_| invalid("currency must be a code of ISO 4217 with a minor unit"))?;
    let at = match query.at_time.as_deref() {
        Some(text) => text.parse().map_err(|_| invalid("at_time must be a time as in RFC 3339"))?,
        None => now(),
    };
    let state = &*call.state;
    let code = query.currency.as_deref().unwrap_or_default();
    let cursors = CursorOf::new(Paged::Limits, state.book, &[customer.as_bytes(), code.as_bytes()]);
    let after = query.cursor.as_deref().map(|text| position(&cursors.decode(text)?)).transpose()?;
    fresh(state, FreshQuery { min_sequence: query.min_sequence, timeout_ms: query.timeout_ms }).await?;
    let owner = customer.clone();
    let page = read_range(state, move |rows| match currency {
        None => headrooms(rows, &owner, at, after, limit),
        Some(currency) => {
            let limits: Vec<_> = headroom(rows, &owner, currency, at)?.into_iter().collect();
            Ok(HeadroomPage { limits, next: None, sequence: rows.checkpoint(projections::limits::NAME)? })
        }
    })
    .await?;
    let text = |currency: Currency| {
        let [a, b, c] = currency.code_bytes();
        cursors.encode(&[a, b, c, currency.exponent()])
    };
    let answer = HeadroomAnswer {
        customer,
        limits: page.limits.into_iter().map(Into::into).collect(),
        next_cursor: page.next.map(text),
        sequence: page.sequence,
    };
    json(StatusCode::OK, &answer)
}

/// The currency that a cursor's position names.
fn position(bytes: &[u8]) -> Result<Currency, Problem> {
    let read = || {
        let (code, exponent) = bytes.split_first_chunk::<3>()?;
        let [exponent] = exponent else { return None };
        Currency::from_parts(*code, *exponent)
    };
    read().ok_or_else(|| Problem::new(Code::CursorInvalid))
}

/// The time of this machine. Nothing is decided by it: it only says which day's headroom is shown.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).ok().and_then(Timestamp::from_micros).unwrap_or(Timestamp::MAX)
}
