//! Transfers: `POST /v1/books/{book}/transfers`, and `…/transfers/up-to` of what is available.

use event_schemas::CommandBody;
use event_schemas::bounds::TEXT_MAX_BYTES;
use event_schemas::command::{PostTransfer, TransferUpTo};

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::{TransferRequest, TransferUpToRequest};
use crate::openapi::params::{BookPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::Problem;
use crate::reading::must_own;
use crate::text::free_text;
use crate::verdict::{Accepted, record};

/// Move money between two accounts
///
/// A key of a customer may debit only what is its own, credit anybody, and set neither fee nor date. Needs the scope
/// write.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/transfers",
    tag = "money",
    operation_id = "post_transfer",
    params(BookPath, IdempotencyKey),
    request_body = TransferRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn post(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// A transfer. A customer may debit only what is its own, and credit anybody.
pub(crate) fn prepare(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    let request = parse::<TransferRequest<'static>>(body)?;
    // Fees and dates other than today's are terms of the house: what counts for an earlier day changes closed statements.
    let sets_terms = request.fee.is_some() || request.effective_on.is_some();
    let customer = asking.permit(Action::Transfer { sets_terms })?;
    let book = asking.state.book;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let transfer = PostTransfer {
        from: amounts::account(&request.from, book, "#/from")?,
        to: amounts::account(&request.to, book, "#/to")?,
        amount: amounts::positive(&request.amount, currency, "#/amount")?,
        fee_minor: amounts::fee(request.fee.as_deref(), currency)?,
        effective_on: amounts::effective_on(request.effective_on.as_deref())?,
        reference: free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?,
    };
    if let Some(customer) = customer {
        must_own(asking.state, customer, transfer.from)?;
    }
    asking.prepared(request.id, CommandBody::PostTransfer(transfer))
}

/// Move what is available, up to an amount
///
/// What the sender has available and its limits leave, and no more than `at_most`; refused if that is nothing. Without a fee. The
/// answer tells how much moved. A key of a customer may debit only what is its own, and set no date. Needs the scope write.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/transfers/up-to",
    tag = "money",
    operation_id = "post_transfer_up_to",
    params(BookPath, IdempotencyKey),
    request_body = TransferUpToRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn up_to(call: Call) -> Outcome {
    let prepared = prepare_up_to(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// A transfer of what is available.
pub(crate) fn prepare_up_to(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    let request = parse::<TransferUpToRequest<'static>>(body)?;
    let customer = asking.permit(Action::Transfer { sets_terms: request.effective_on.is_some() })?;
    let book = asking.state.book;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let transfer = TransferUpTo {
        from: amounts::account(&request.from, book, "#/from")?,
        to: amounts::account(&request.to, book, "#/to")?,
        at_most: amounts::positive(&request.at_most, currency, "#/at_most")?,
        effective_on: amounts::effective_on(request.effective_on.as_deref())?,
        reference: free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?,
    };
    if let Some(customer) = customer {
        must_own(asking.state, customer, transfer.from)?;
    }
    asking.prepared(request.id, CommandBody::TransferUpTo(transfer))
}
