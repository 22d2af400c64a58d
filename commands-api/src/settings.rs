//! What holds for the whole book: the fee rules, the calendar, and how far periods are closed.

use axum::http::StatusCode;
use event_schemas::{CivilDate, Sequence, Timestamp};
use projections::settings;
use serde::Serialize;
use utoipa::ToSchema;

use crate::call::{Call, Outcome, json};
use crate::openapi::params::BookPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::reading::{FreshQuery, fresh, read, read_range};
use crate::views::AmountJson;

#[derive(Serialize, ToSchema)]
struct FeeRulesAnswer {
    fee_rules: Vec<FeeRuleJson>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FeeRule)]
struct FeeRuleJson {
    #[schema(value_type = types::FeeKind)]
    kind: &'static str,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    version: u64,
    /// The part that is always charged.
    #[schema(value_type = types::Amount)]
    fixed: AmountJson,
    /// The part that grows with the amount, in millionths of it.
    #[schema(maximum = 1_000_000)]
    rate_ppm: u32,
    /// The least that is charged.
    #[schema(value_type = types::Amount)]
    min: AmountJson,
    /// The most; `null` if there is no such bound.
    #[schema(value_type = Option<types::Amount>, required)]
    max: Option<AmountJson>,
    #[schema(value_type = types::Sequence)]
    set_sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    set_at: Timestamp,
}

/// The fee rules
///
/// The newest for each kind of move and currency. What has no rule costs nothing.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/fee-rules",
    tag = "settings",
    operation_id = "list_fee_rules",
    params(BookPath, FreshQuery),
    responses(
        (status = OK, description = "The fee rules.", body = FeeRulesAnswer),
    )
)]
pub(crate) async fn fee_rules(call: Call) -> Outcome {
    call.permit(Action::ReadSettings)?;
    let query: FreshQuery = call.query()?;
    fresh(&call.state, query).await?;
    let found = read_range(&call.state, settings::fee_rules).await?;
    let rules = found.rules.into_iter().map(|(kind, currency, rule)| {
        let amount = |minor| AmountJson::new(minor, currency);
        FeeRuleJson {
            kind: kind.name(),
            currency: currency.to_string(),
            version: rule.version,
            fixed: amount(rule.fixed_minor),
            rate_ppm: rule.rate_ppm,
            min: amount(rule.min_minor),
            max: rule.max_minor.map(amount),
            set_sequence: rule.set_sequence,
            set_at: rule.set_at,
        }
    });
    json(StatusCode::OK, &FeeRulesAnswer { fee_rules: rules.collect(), sequence: found.sequence })
}

#[derive(Serialize, ToSchema)]
struct CalendarAnswer {
    /// `null` if none was ever published: then limits refuse everything that they apply to.
    #[schema(required)]
    calendar: Option<CalendarJson>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Calendar)]
struct CalendarJson {
    version: u64,
    /// The zone, by its name in the IANA database.
    zone: Box<str>,
    /// The version of that database, if it is known.
    #[serde(skip_serializing_if = "str::is_empty")]
    tz_version: Box<str>,
    #[schema(value_type = types::CivilDate)]
    first_day: CivilDate,
    days: u64,
    /// When the first day begins.
    #[schema(value_type = types::Timestamp)]
    covers_from: Timestamp,
    /// When the last day ends.
    #[schema(value_type = types::Timestamp)]
    covers_until: Timestamp,
    #[schema(value_type = types::Sequence)]
    published_sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    published_at: Timestamp,
}

/// The calendar in force
///
/// Which days the book knows, without the beginning of each: the event has them.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/calendar",
    tag = "settings",
    operation_id = "get_calendar",
    params(BookPath, FreshQuery),
    responses(
        (status = OK, description = "The calendar.", body = CalendarAnswer),
    )
)]
pub(crate) async fn calendar(call: Call) -> Outcome {
    call.permit(Action::ReadSettings)?;
    let query: FreshQuery = call.query()?;
    fresh(&call.state, query).await?;
    let found = read(&call.state, settings::calendar)?;
    let calendar = found.set.map(|calendar| CalendarJson {
        version: calendar.version,
        zone: calendar.zone,
        tz_version: calendar.tz_version,
        first_day: calendar.first_day,
        days: calendar.days,
        covers_from: calendar.covers_from,
        covers_until: calendar.covers_until,
        published_sequence: calendar.published_sequence,
        published_at: calendar.published_at,
    });
    json(StatusCode::OK, &CalendarAnswer { calendar, sequence: found.sequence })
}

#[derive(Serialize, ToSchema)]
struct PeriodAnswer {
    /// `null` if none was ever closed.
    #[schema(required)]
    closed: Option<ClosedJson>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ClosedPeriod)]
struct ClosedJson {
    /// The last day that is closed: nothing is posted with an effective date up to it any more.
    #[schema(value_type = types::CivilDate)]
    through: CivilDate,
    #[schema(value_type = types::Sequence)]
    closed_sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    closed_at: Timestamp,
}

/// How far periods are closed
#[utoipa::path(
    get,
    path = "/v1/books/{book}/period",
    tag = "settings",
    operation_id = "get_period",
    params(BookPath, FreshQuery),
    responses(
        (status = OK, description = "The closed period.", body = PeriodAnswer),
    )
)]
pub(crate) async fn period(call: Call) -> Outcome {
    call.permit(Action::ReadSettings)?;
    let query: FreshQuery = call.query()?;
    fresh(&call.state, query).await?;
    let found = read(&call.state, settings::closed_period)?;
    let closed = found.set.map(|period| ClosedJson {
        through: period.closed_through,
        closed_sequence: period.closed_sequence,
        closed_at: period.closed_at,
    });
    json(StatusCode::OK, &PeriodAnswer { closed, sequence: found.sequence })
}
