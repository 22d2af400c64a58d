//! Closed periods: `POST …/period-closes`.

use event_schemas::CommandBody;
use event_schemas::bounds::TEXT_MAX_BYTES;
use event_schemas::records::ClosePeriod;

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::ClosePeriodRequest;
use crate::openapi::params::{BookPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::Problem;
use crate::text::free_text;
use crate::verdict::{Accepted, record};

/// Close a period
///
/// All days up to one, for good: nothing is posted with an effective date in them any more. The last of them must be over. Needs
/// the scope admin; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/period-closes",
    tag = "settings",
    operation_id = "close_period",
    params(BookPath, IdempotencyKey),
    request_body = ClosePeriodRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn close(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// A period to be closed.
pub(crate) fn prepare(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    asking.permit(Action::ClosePeriod)?;
    let request = parse::<ClosePeriodRequest<'static>>(body)?;
    let close = ClosePeriod {
        through: amounts::date(&request.through, "#/through")?,
        reason: free_text(request.reason.as_deref().unwrap_or(""), "#/reason", TEXT_MAX_BYTES)?,
    };
    asking.prepared(request.id, CommandBody::ClosePeriod(close))
}
