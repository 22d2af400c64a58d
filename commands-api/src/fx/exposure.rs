//! Exposure: `GET …/exposure`. What the house has bought of each currency from customers, less what it has sold: the balances of its
//! position accounts.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use event_schemas::rates::FixedSide;
use event_schemas::{AccountId, BookId, Currency, Money, Rejection, Sequence};
use ledger_core::decide::SystemRole;
use ledger_core::fx::Price;
use projections::ports::{ReadRows, RowsFault};
use projections::{balances, rates};
use serde::Serialize;
use utoipa::ToSchema;

use crate::call::{Call, Outcome, json};
use crate::openapi::params::BookPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::reading::{FreshQuery, fresh, read_range};
use crate::views::MoneyJson;

#[derive(Serialize, ToSchema)]
struct ExposureAnswer {
    /// By currency; what was never converted is left out.
    positions: Vec<PositionJson>,
    /// The version of the rate sheet that values are by; `null` if there is none.
    #[schema(value_type = Option<types::Version>, required)]
    sheet: Option<u64>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Position)]
struct PositionJson {
    /// Above zero if more was bought from customers than sold to them: the house is long.
    position: MoneyJson,
    /// The same at the mid, in the sheet's pivot; `null` if the sheet does not have the currency.
    #[schema(required)]
    value: Option<MoneyJson>,
    /// Margins earned in the currency.
    margin: MoneyJson,
    /// What rounding left over.
    rounding: MoneyJson,
}

/// The house's positions
///
/// Open exposure by currency: the balances of the position accounts, valued at the mids of the newest rate sheet. Not for keys of
/// customers.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/exposure",
    tag = "exchange",
    operation_id = "get_exposure",
    params(BookPath, FreshQuery),
    responses(
        (status = OK, description = "The positions.", body = ExposureAnswer),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    call.permit(Action::ReadTrialBalance)?;
    let query: FreshQuery = call.query()?;
    fresh(&call.state, query).await?;
    let book = call.state.book;
    let answer = read_range(&call.state, move |rows| positions(rows, book)).await?;
    json(StatusCode::OK, &answer)
}

/// Every currency that anything may have been converted from or to.
fn currencies() -> impl Iterator<Item = Currency> {
    let letters = || 'A'..='Z';
    letters()
        .flat_map(move |a| letters().flat_map(move |b| letters().map(move |c| String::from_iter([a, b, c]))))
        .filter_map(|code| code.parse().ok())
}

fn positions(rows: &dyn ReadRows, book: BookId) -> Result<ExposureAnswer, RowsFault> {
    let sequence = rows.checkpoint(balances::NAME)?;
    let sheet = rates::latest(rows)?.found.map(|(sheet, _)| sheet);
    let listed = sheet.iter().flat_map(|sheet| sheet.rates.iter().map(|rate| rate.currency));
    let all: BTreeSet<Currency> = currencies().chain(listed).collect();
    let balance = |role: SystemRole, currency: Currency| -> Result<Option<Money>, RowsFault> {
        let account = AccountId::from_code(book, &role.code(currency));
        Ok(balances::account(rows, account)?.map(|found| found.balance.balance))
    };
    let mut positions = Vec::new();
    for currency in all {
        let Some(position) = balance(SystemRole::FxPosition, currency)? else { continue };
        let of = |found: Option<Money>| MoneyJson::from(found.unwrap_or(Money::new(0, position.currency)));
        let value = sheet.as_ref().and_then(|sheet| {
            let mid = sheet.mid(position.currency, sheet.pivot).ok()?;
            let price = Price::new(mid, position.currency, sheet.pivot, 0);
            let minor = match price.amounts(FixedSide::Sold, position.amount_minor.saturating_abs()) {
                Ok(amounts) => amounts.position_bought_minor,
                Err(Rejection::AmountNotPositive | Rejection::ConvertedAmountZero) => 0,
                Err(_) => return None,
            };
            Some(Money::new(minor * position.amount_minor.signum(), sheet.pivot))
        });
        positions.push(PositionJson {
            position: position.into(),
            value: value.map(Into::into),
            margin: of(balance(SystemRole::FxMargin, currency)?),
            rounding: of(balance(SystemRole::FxRounding, currency)?),
        });
    }
    Ok(ExposureAnswer { positions, sheet: sheet.map(|sheet| sheet.version), sequence })
}
