//! Money that enters or leaves the book: `POST /v1/books/{book}/top-ups` and `/withdrawals`.

use event_schemas::CommandBody;
use event_schemas::bounds::TEXT_MAX_BYTES;
use event_schemas::command::CashMove;

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::CashRequest;
use crate::openapi::params::{BookPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::Problem;
use crate::text::free_text;
use crate::verdict::{Accepted, record};

/// Money enters
///
/// Needs the scope write; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/top-ups",
    tag = "money",
    operation_id = "top_up",
    params(BookPath, IdempotencyKey),
    request_body = CashRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn top_up(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), &call.body, Action::TopUp, CommandBody::TopUp)?;
    record(&call, prepared).await
}

/// Money leaves
///
/// Needs the scope write; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/withdrawals",
    tag = "money",
    operation_id = "withdraw",
    params(BookPath, IdempotencyKey),
    request_body = CashRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn withdraw(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), &call.body, Action::Withdraw, CommandBody::Withdraw)?;
    record(&call, prepared).await
}

/// A top-up or a withdrawal.
pub(crate) fn prepare(
    asking: &Asking<'_>,
    body: &[u8],
    action: Action,
    command: fn(CashMove) -> CommandBody,
) -> Result<Prepared, Problem> {
    asking.permit(action)?;
    let request = parse::<CashRequest<'static>>(body)?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let cash = CashMove {
        account: amounts::account(&request.account, asking.state.book, "#/account")?,
        amount: amounts::positive(&request.amount, currency, "#/amount")?,
        fee_minor: amounts::fee(request.fee.as_deref(), currency)?,
        effective_on: amounts::effective_on(request.effective_on.as_deref())?,
        reference: free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?,
    };
    asking.prepared(request.id, command(cash))
}
