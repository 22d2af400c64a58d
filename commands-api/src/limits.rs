//! A customer's limits: `POST …/customers/{owner}/limits`.

use event_schemas::CommandBody;
use event_schemas::limits::{Caps, SetLimits};

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::LimitsRequest;
use crate::openapi::params::{CustomerPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::verdict::{Accepted, record};

/// Set a customer's limits in a currency
///
/// How much may leave in one transfer, withdrawal or hold, in a calendar day and in a calendar month, fees included; what is not
/// given is not limited. Replaces the limits that were set before. Days and months are those of the calendar, without which
/// everything that a limit applies to is refused. Needs the scope admin; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/customers/{owner}/limits",
    tag = "customers",
    operation_id = "set_limits",
    params(CustomerPath, IdempotencyKey),
    request_body = LimitsRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn set(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), || customer_to_set(&call), &call.body)?;
    record(&call, prepared).await
}

/// The limits of this customer.
pub(crate) fn prepare(
    asking: &Asking<'_>,
    owner: impl FnOnce() -> Result<Box<str>, Problem>,
    body: &[u8],
) -> Result<Prepared, Problem> {
    asking.permit(Action::SetLimits)?;
    let request = parse::<LimitsRequest<'static>>(body)?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let cap = |text: Option<&str>, pointer| text.map(|text| amounts::limit(text, currency, pointer)).transpose();
    let caps = Caps {
        per_transfer_minor: cap(request.per_transfer.as_deref(), "#/per_transfer")?,
        daily_minor: cap(request.daily.as_deref(), "#/daily")?,
        monthly_minor: cap(request.monthly.as_deref(), "#/monthly")?,
    };
    let limits = SetLimits { owner: owner()?, currency, version: request.version.0, caps };
    asking.prepared(request.id, CommandBody::SetLimits(limits))
}

/// The customer in the path.
pub(crate) fn customer_to_set(call: &Call) -> Result<Box<str>, Problem> {
    // What is wrong with it is told without a pointer: it does not stand in the body.
    amounts::customer(call.param("owner"), "#").map_err(|problem| {
        let code = problem.code();
        Problem::new(if code == Code::FieldInvalid { Code::NotFound } else { code })
    })
}
