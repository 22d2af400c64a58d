//! Holds: money set aside with `POST …/holds`, moved with `…/capture`, let go with `…/void`; listed and shown.
//!
//! Only keys of the house place and end holds. A customer sees those of its own accounts.

use axum::http::StatusCode;
use event_schemas::bounds::TEXT_MAX_BYTES;
use event_schemas::command::{CaptureHold, PlaceHold, VoidHold};
use event_schemas::{AccountId, CommandBody, CommandId, Sequence};
use projections::balances;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::account_of_path;
use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::dto::{CaptureRequest, HoldRequest, VoidRequest};
use crate::openapi::params::{AccountPath, BookPath, HoldPath, IdempotencyKey};
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{FreshQuery, PageQuery, fresh, must_own, read, read_range};
use crate::text::free_text;
use crate::verdict::{Accepted, record};
use crate::views::HoldJson;

/// Set money aside
///
/// The account's available amount falls; nothing is posted until a capture. Needs the scope write; not for keys of
/// customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/holds",
    tag = "holds",
    operation_id = "place_hold",
    params(BookPath, IdempotencyKey),
    request_body = HoldRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn place(call: Call) -> Outcome {
    let prepared = prepare_place(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// A hold to be placed.
pub(crate) fn prepare_place(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    asking.permit(Action::PlaceHold)?;
    let request = parse::<HoldRequest<'static>>(body)?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let hold = PlaceHold {
        account: amounts::account(&request.account, asking.state.book, "#/account")?,
        amount: amounts::positive(&request.amount, currency, "#/amount")?,
        expires_at: request.expires_at.as_deref().map(|text| amounts::time(text, "#/expires_at")).transpose()?,
        reference: free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?,
    };
    asking.prepared(request.id, CommandBody::PlaceHold(hold))
}

/// Move money that was set aside
///
/// All or some of what is left; `last` lets the rest go. Needs the scope write; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/holds/{hold}/capture",
    tag = "holds",
    operation_id = "capture_hold",
    params(HoldPath, IdempotencyKey),
    request_body = CaptureRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn capture(call: Call) -> Outcome {
    let prepared = prepare_capture(&call.asking(), || hold_of_path(&call), &call.body)?;
    record(&call, prepared).await
}

/// A capture of this hold.
pub(crate) fn prepare_capture(
    asking: &Asking<'_>,
    hold: impl FnOnce() -> Result<CommandId, Problem>,
    body: &[u8],
) -> Result<Prepared, Problem> {
    asking.permit(Action::CaptureHold)?;
    let request = parse::<CaptureRequest<'static>>(body)?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let capture = CaptureHold {
        hold: hold()?,
        to: amounts::account(&request.to, asking.state.book, "#/to")?,
        amount: amounts::positive(&request.amount, currency, "#/amount")?,
        fee_minor: amounts::fee(request.fee.as_deref(), currency)?,
        last: request.last,
        effective_on: amounts::effective_on(request.effective_on.as_deref())?,
        reference: free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?,
    };
    asking.prepared(request.id, CommandBody::CaptureHold(capture))
}

/// Let go what is left of a hold
///
/// Needs the scope write; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/holds/{hold}/void",
    tag = "holds",
    operation_id = "void_hold",
    params(HoldPath, IdempotencyKey),
    request_body = Option<VoidRequest>,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn void(call: Call) -> Outcome {
    let prepared = prepare_void(&call.asking(), || hold_of_path(&call), &call.body)?;
    record(&call, prepared).await
}

/// The end of this hold.
pub(crate) fn prepare_void(
    asking: &Asking<'_>,
    hold: impl FnOnce() -> Result<CommandId, Problem>,
    body: &[u8],
) -> Result<Prepared, Problem> {
    asking.permit(Action::VoidHold)?;
    // A body may be left out: all it can hold is optional.
    let request = match body {
        [] => VoidRequest::default(),
        body => parse::<VoidRequest<'static>>(body)?,
    };
    let reason = free_text(request.reason.as_deref().unwrap_or(""), "#/reason", TEXT_MAX_BYTES)?;
    asking.prepared(request.id, CommandBody::VoidHold(VoidHold { hold: hold()?, reason }))
}

/// The hold in the path. What can't be the id of a hold is none.
fn hold_of_path(call: &Call) -> Result<CommandId, Problem> {
    call.param("hold").parse().map_err(|_| Problem::new(Code::HoldNotFound))
}

#[derive(Serialize, ToSchema)]
struct HoldAnswer {
    #[serde(flatten)]
    hold: HoldJson,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

/// A hold, open or ended
///
/// For a key of a customer, a hold on somebody else's account is not there.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/holds/{hold}",
    tag = "holds",
    operation_id = "get_hold",
    params(HoldPath, FreshQuery),
    responses(
        (status = OK, description = "The hold.", body = HoldAnswer),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadHold)?;
    let query: FreshQuery = call.query()?;
    let id = hold_of_path(&call)?;
    let state = &*call.state;
    fresh(state, query).await?;
    let missing = || Problem::new(Code::HoldNotFound);
    let hold = read(state, |rows| balances::hold(rows, id))?.ok_or_else(missing)?;
    if let Some(customer) = customer {
        must_own(state, customer, hold.account)
            .map_err(|problem| if problem.code() == Code::Forbidden { missing() } else { problem })?;
    }
    let sequence = hold.sequence;
    json(StatusCode::OK, &HoldAnswer { hold: hold.into(), sequence })
}

#[derive(Serialize, ToSchema)]
struct HoldsAnswer {
    #[schema(value_type = types::AccountId)]
    account: AccountId,
    holds: Vec<HoldJson>,
    #[schema(required)]
    next_cursor: Option<String>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

/// The open holds of an account, page by page
///
/// In the order of their ids.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/accounts/{account}/holds",
    tag = "holds",
    operation_id = "list_holds",
    params(AccountPath, PageQuery),
    responses(
        (status = OK, description = "A page.", body = HoldsAnswer),
    )
)]
pub(crate) async fn list(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadHold)?;
    let query: PageQuery = call.query()?;
    let limit = query.limit()?;
    let account = account_of_path(&call)?;
    let state = &*call.state;
    let cursors = CursorOf::new(Paged::Holds, state.book, &[&account.0.to_be_bytes()]);
    let after = match &query.cursor {
        None => None,
        Some(text) => {
            let id: [u8; 16] = cursors.decode(text)?.try_into().map_err(|_| Problem::new(Code::CursorInvalid))?;
            Some(CommandId(u128::from_be_bytes(id)))
        }
    };
    fresh(state, query.fresh()).await?;
    if let Some(customer) = customer {
        must_own(state, customer, account)?;
    }
    let page = read_range(state, move |rows| balances::holds_page(rows, account, after, limit))
        .await?
        .ok_or_else(|| Problem::new(Code::AccountNotFound))?;
    let answer = HoldsAnswer {
        account,
        holds: page.holds.into_iter().map(Into::into).collect(),
        next_cursor: page.next.map(|next| cursors.encode(&next.0.to_be_bytes())),
        sequence: page.sequence,
    };
    json(StatusCode::OK, &answer)
}
