//! Bill payments: asked for with `POST …/payments`, shown, listed, canceled, taken back.
//!
//! A payment is on record before it is answered, and goes on whoever waits for it. What the book says to its hold is waited for
//! a moment, because whoever lacks the money wants to know at once; the provider's answer only if `Prefer: wait=N` asks for it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use event_schemas::bounds::TEXT_MAX_BYTES;
use event_schemas::control::{PaymentDetail, PaymentRequested, PaymentStep};
use event_schemas::{AccountId, CommandId, Money, PrincipalId, Sequence, Timestamp};
use ledger_core::control::payments::{Booked, Payment, PaymentRejection, Status};
use ledger_core::control::providers::{NotTaken, take};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accounts::account_of_path;
use crate::amounts;
use crate::bill_payments::{PaymentsFault, Until};
use crate::body::parse;
use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::dto::{BillPaymentRequest, PaymentActRequest};
use crate::idempotency::REPLAYED;
use crate::openapi::params::{AccountPath, BookPath, IdempotencyKey, PaymentPath, Prefer};
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::providers::payments;
use crate::reading::{must_own, page_limit};
use crate::text::free_text;
use crate::views::AmountJson;

/// How long the book's word on the hold is waited for.
const HELD_WITHIN: Duration = Duration::from_secs(2);

/// The longest that `Prefer: wait=N` waits, in seconds.
pub(crate) const WAIT_MAX_S: u64 = 30;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A payment.
#[derive(Serialize, ToSchema)]
#[schema(as = Payment)]
pub(crate) struct PaymentJson {
    #[schema(value_type = types::CommandId)]
    payment: CommandId,
    #[schema(value_type = types::PaymentStatus)]
    status: &'static str,
    #[schema(value_type = types::ProviderId)]
    provider: Box<str>,
    #[schema(value_type = types::AccountId)]
    account: AccountId,
    #[schema(value_type = types::Amount)]
    amount: AmountJson,
    #[schema(value_type = types::Amount)]
    fee: AmountJson,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    details: Vec<DetailJson>,
    #[schema(value_type = types::PrincipalId)]
    actor: PrincipalId,
    #[schema(value_type = types::Timestamp)]
    requested_at: Timestamp,
    /// The hold in the book, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    hold: Option<CommandId>,
    /// The provider's own reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    provider_reference: Option<Box<str>>,
    /// Why it failed: a code of the book, or of the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<Box<str>>,
    /// The entry that paid it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    paid: Option<BookedJson>,
    /// The entry that took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reversed: Option<BookedJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    receipt: Option<ReceiptJson>,
    /// Why it goes no further until somebody of the house has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parked: Option<ParkedJson>,
    steps: Vec<StepJson>,
}

/// What a payer said.
#[derive(Serialize, ToSchema)]
#[schema(as = BillDetail)]
struct DetailJson {
    name: Box<str>,
    value: Box<str>,
}

/// An entry of the book.
#[derive(Serialize, ToSchema)]
#[schema(as = PaymentEntry)]
struct BookedJson {
    #[schema(value_type = types::CommandId)]
    command: CommandId,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
    /// What the provider gets by it, or gives back.
    #[schema(value_type = types::Amount)]
    amount: AmountJson,
    #[schema(value_type = types::Timestamp)]
    at: Timestamp,
}

/// A receipt.
#[derive(Serialize, ToSchema)]
#[schema(as = PaymentReceipt)]
struct ReceiptJson {
    number: Box<str>,
    /// BLAKE3 over the payment's facts and its place in the book.
    hash: String,
    #[schema(value_type = types::Timestamp)]
    issued_at: Timestamp,
}

/// Why a payment waits for somebody.
#[derive(Serialize, ToSchema)]
#[schema(as = PaymentParked)]
struct ParkedJson {
    code: Box<str>,
    #[schema(value_type = types::Timestamp)]
    since: Timestamp,
}

/// A step that was recorded.
#[derive(Serialize, ToSchema)]
#[schema(as = PaymentStepTaken)]
struct StepJson {
    #[schema(value_type = types::Timestamp)]
    at: Timestamp,
    step: &'static str,
    /// The number of the call of the provider, or how often the payment was resumed.
    attempt: u32,
}

impl PaymentJson {
    fn of(payment: &Payment) -> Option<Self> {
        let request = payment.request.as_ref()?;
        let currency = request.amount.currency;
        let booked = |booked: Booked| BookedJson {
            command: booked.command,
            sequence: booked.sequence,
            amount: AmountJson::new(booked.amount_minor, currency),
            at: booked.at,
        };
        let detail = |detail: &PaymentDetail| DetailJson { name: detail.name.clone(), value: detail.value.clone() };
        Some(Self {
            payment: request.payment,
            status: payment.status().name(),
            provider: request.provider.clone(),
            account: request.account,
            amount: request.amount.into(),
            fee: AmountJson::new(request.fee_minor, currency),
            currency: currency.to_string(),
            details: request.details.iter().map(detail).collect(),
            actor: request.actor,
            requested_at: request.requested_at,
            hold: payment.hold.map(|_| payment.hold_id()),
            provider_reference: payment.answer.as_ref().map(|answer| answer.reference.clone()),
            failure: payment.failed.clone(),
            paid: payment.captured.map(booked),
            reversed: payment.reversed.map(booked),
            receipt: payment.receipt.as_ref().map(|receipt| ReceiptJson {
                number: receipt.number.clone(),
                hash: receipt.hash.to_string(),
                issued_at: receipt.at,
            }),
            parked: payment.parked.as_ref().map(|parked| ParkedJson { code: parked.code.clone(), since: parked.at }),
            steps: payment.steps.iter().map(|&(at, attempt, step)| StepJson { at, step, attempt }).collect(),
        })
    }
}

fn shown(status: StatusCode, payment: &Payment) -> Outcome {
    let shown = PaymentJson::of(payment).ok_or_else(|| Problem::new(Code::PaymentNotFound))?;
    json(status, &shown)
}

/// Pays a bill
///
/// Amount and fee are held on the account, the provider is asked, and the money is captured or let go by what it says. Answered
/// when the payment is on record and the book has held the money, or refused to: then with the book's own code. With
/// `Prefer: wait=N` the outcome is waited for, up to N seconds. A key of a customer may pay from what is its own. Needs the
/// scope write.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/payments",
    tag = "payments",
    operation_id = "request_payment",
    params(BookPath, IdempotencyKey, Prefer),
    request_body = BillPaymentRequest,
    responses(
        (status = ACCEPTED, description = "The payment is on record.", body = PaymentJson),
    )
)]
pub(crate) async fn post(call: Call) -> Outcome {
    let customer = call.permit(Action::Pay)?;
    never_dry(&call)?;
    let state = &*call.state;
    let keeper = payments(state)?;
    let request = parse::<BillPaymentRequest<'static>>(&call.body)?;
    let wait = wait_of(&call.headers)?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let amount = amounts::positive(&request.amount, currency, "#/amount")?;
    let account = amounts::account(&request.account, state.book, "#/account")?;
    let details = details(&request)?;
    let not_found = || Problem::field(Code::ProviderNotFound, "#/provider", "there is no such provider");
    let provider = keeper.provider(&request.provider).ok_or_else(not_found)?;
    if let Some(customer) = customer {
        must_own(state, customer, account)?;
    }
    let payment = call.asking().command_id(request.id, "request_payment")?;
    let taken = match take(&provider, amount, &details) {
        Ok(taken) => taken,
        // A retry of what was taken by older terms gets what became of it.
        Err(refusal) => {
            let known = keeper.payment(payment).and_then(|known| known.request.clone());
            match known.filter(|known| known.provider == provider.provider) {
                Some(known) => ledger_core::control::providers::Taken {
                    fee_minor: known.fee_minor,
                    payable: known.payable,
                    details: details.clone(),
                },
                None => return Err(not_taken(&refusal)),
            }
        }
    };
    if !keeper.reaches(&provider.provider) {
        return Err(Problem::new(Code::ProviderUnavailable));
    }
    let actor = call.principal.id;
    state.admission.let_in(actor)?;
    let asked = PaymentRequested {
        payment,
        book: state.book,
        provider: provider.provider.clone(),
        account,
        amount,
        fee_minor: taken.fee_minor,
        payable: taken.payable,
        partial: provider.partial,
        details: taken.details,
        actor,
        requested_at: keeper.now(),
    };
    let (found, replayed) = keeper.request(asked).await.map_err(|fault| refused(&fault, payment))?;
    let found = keeper.wait(payment, Until::Held, HELD_WITHIN).await.unwrap_or(found);
    if let (Status::Failed, None, Some(code)) = (found.status(), found.hold, &found.failed) {
        if !replayed {
            state.admission.charged(actor);
        }
        return Err(by_book(code).with_command(payment).with_replayed(replayed));
    }
    let found = match wait {
        Some(at_most) => keeper.wait(payment, Until::Settled, at_most).await.unwrap_or(found),
        None => found,
    };
    let mut response = shown(StatusCode::ACCEPTED, &found)?;
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(value) = wait.and_then(|wait| HeaderValue::from_str(&format!("wait={}", wait.as_secs())).ok()) {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
    Ok(response)
}

/// A dry run would need the provider's word.
fn never_dry(call: &Call) -> Result<(), Problem> {
    if call.dry_run {
        return Err(Problem::detailed(
            Code::QueryInvalid,
            "a payment has no dry run: a provider can't be asked for one",
        ));
    }
    Ok(())
}

/// How long `Prefer: wait=N` asks to wait. Other preferences are none of ours, and are left alone, as RFC 7240 says.
fn wait_of(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut waits = values.flat_map(|value| value.split(',')).filter_map(|part| {
        let (name, value) = part.split(';').next()?.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').to_owned())
    });
    match waits.next().map(|value| value.parse::<u64>()) {
        None => Ok(None),
        Some(Ok(seconds)) => Ok(Some(Duration::from_secs(seconds.min(WAIT_MAX_S)))),
        Some(Err(_)) => Err(Problem::detailed(Code::QueryInvalid, "Prefer: wait=N takes a number of seconds")),
    }
}

fn details(request: &BillPaymentRequest<'_>) -> Result<Vec<PaymentDetail>, Problem> {
    let named = request.details.iter().flat_map(|details| &details.0);
    named
        .map(|(name, value)| {
            let pointer = format!("#/details/{}", name.replace('~', "~0").replace('/', "~1"));
            let name = free_text(name, "#/details", TEXT_MAX_BYTES)?;
            Ok(PaymentDetail { name, value: free_text(value, &pointer, TEXT_MAX_BYTES)? })
        })
        .collect()
}

fn not_taken(refusal: &NotTaken) -> Problem {
    let (code, pointer) = match refusal {
        NotTaken::Disabled => (Code::ProviderDisabled, "#/provider".into()),
        NotTaken::Currency(_) => (Code::ProviderCurrency, "#/currency".into()),
        NotTaken::Amount { .. } => (Code::ProviderAmountOutOfRange, "#/amount".into()),
        NotTaken::Missing { name, .. } => (Code::PaymentDetailMissing, format!("#/details/{name}")),
        NotTaken::Unknown(_) => (Code::PaymentDetailUnknown, "#/details".into()),
        NotTaken::Malformed { name, .. } => (Code::PaymentDetailInvalid, format!("#/details/{name}")),
        // Refusals may be added.
        _ => (Code::PaymentDetailInvalid, "#".into()),
    };
    Problem::field(code, pointer, refusal.to_string())
}

fn refused(fault: &PaymentsFault, payment: CommandId) -> Problem {
    let problem = match fault {
        PaymentsFault::Rejected(PaymentRejection::NotFound) => Problem::new(Code::PaymentNotFound),
        PaymentsFault::Rejected(PaymentRejection::OtherContent(field)) => {
            let detail = match *field {
                "id" => "the id was used before by somebody else".to_owned(),
                field => format!("{field} differs from the earlier payment"),
            };
            Problem::new(Code::IdempotencyConflict).with_error(detail, Some(format!("#/{field}")))
        }
        PaymentsFault::Rejected(PaymentRejection::NotCancelable(status)) => {
            Problem::detailed(Code::PaymentNotCancelable, format!("the payment is {}", status.name()))
        }
        PaymentsFault::Rejected(PaymentRejection::NotReversible(status)) => {
            Problem::detailed(Code::PaymentNotReversible, format!("the payment is {}", status.name()))
        }
        PaymentsFault::Rejected(_) | PaymentsFault::Unavailable => {
            return Problem::new(Code::PaymentsUnavailable).with_retry_after(1);
        }
    };
    problem.with_command(payment)
}

/// What the book said to the hold, by its code.
fn by_book(code: &str) -> Problem {
    let known = Code::ALL.iter().find(|known| known.code() == code);
    Problem::new(known.copied().unwrap_or(Code::Internal))
}

fn payment_of_path(call: &Call) -> Result<CommandId, Problem> {
    call.param("payment").parse().map_err(|_| Problem::new(Code::PaymentNotFound))
}

/// A payment that this key may see. Somebody else's is not there.
pub(crate) fn visible(call: &Call, customer: Option<&str>) -> Result<Arc<Payment>, Problem> {
    let missing = || Problem::new(Code::PaymentNotFound);
    let payment = payments(&call.state)?.payment(payment_of_path(call)?).ok_or_else(missing)?;
    if let (Some(customer), Some(request)) = (customer, &payment.request) {
        must_own(&call.state, customer, request.account)
            .map_err(|problem| if problem.code() == Code::Forbidden { missing() } else { problem })?;
    }
    Ok(payment)
}

/// A payment
///
/// As it is now, with every step it took. For a key of a customer, a payment from somebody else's account is not there.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/payments/{payment}",
    tag = "payments",
    operation_id = "get_payment",
    params(PaymentPath),
    responses(
        (status = OK, description = "The payment.", body = PaymentJson),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadPayment)?;
    shown(StatusCode::OK, &*visible(&call, customer)?)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PaymentsQuery {
    /// How many rows a page has at most; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins: the `next_cursor` of the page before.
    #[param(value_type = Option<types::Cursor>)]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct PaymentsAnswer {
    payments: Vec<PaymentJson>,
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The payments of an account, page by page
///
/// The newest first.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/accounts/{account}/payments",
    tag = "payments",
    operation_id = "list_payments",
    params(AccountPath, PaymentsQuery),
    responses(
        (status = OK, description = "A page.", body = PaymentsAnswer),
    )
)]
pub(crate) async fn list(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadPayment)?;
    let query: PaymentsQuery = call.query()?;
    let limit = page_limit(query.limit)?;
    let account = account_of_path(&call)?;
    let state = &*call.state;
    let keeper = payments(state)?;
    let cursors = CursorOf::new(Paged::Payments, state.book, &[&account.0.to_be_bytes()]);
    let behind = query.cursor.as_deref().map(|text| position(&cursors.decode(text)?)).transpose()?;
    if let Some(customer) = customer {
        must_own(state, customer, account)?;
    }
    let page = keeper.of_account(account, behind, limit);
    let next = page.next.map(|(at, CommandId(id))| {
        let position: Vec<u8> = at.0.to_be_bytes().into_iter().chain(id.to_be_bytes()).collect();
        cursors.encode(&position)
    });
    let payments = page.payments.iter().filter_map(|payment| PaymentJson::of(payment)).collect();
    json(StatusCode::OK, &PaymentsAnswer { payments, next_cursor: next })
}

fn position(bytes: &[u8]) -> Result<(Timestamp, CommandId), Problem> {
    let invalid = || Problem::new(Code::CursorInvalid);
    let (at, id) = bytes.split_at_checked(8).ok_or_else(invalid)?;
    let at = i64::from_be_bytes(at.try_into().map_err(|_| invalid())?);
    let id = u128::from_be_bytes(id.try_into().map_err(|_| invalid())?);
    Ok((Timestamp(at), CommandId(id)))
}

/// Cancel a payment
///
/// As long as its provider has not been called; what is held is let go then. Canceling twice changes nothing. A key of a
/// customer may cancel what is paid from its own account. Needs the scope write.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/payments/{payment}/cancel",
    tag = "payments",
    operation_id = "cancel_payment",
    params(PaymentPath, Prefer),
    request_body = Option<PaymentActRequest>,
    responses(
        (status = ACCEPTED, description = "It is being canceled, or is.", body = PaymentJson),
    )
)]
pub(crate) async fn cancel(call: Call) -> Outcome {
    let customer = call.permit(Action::CancelPayment)?;
    let actor = call.principal.id;
    act(&call, customer, |reason| PaymentStep::CancelRequested { actor, reason }).await
}

/// Take a payment back
///
/// One that succeeded, before the provider is paid out: amount and fee go back to the payer by an entry that reverses the
/// first. Taking back twice changes nothing. Needs the scope write; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/payments/{payment}/reverse",
    tag = "payments",
    operation_id = "reverse_payment",
    params(PaymentPath, Prefer),
    request_body = Option<PaymentActRequest>,
    responses(
        (status = ACCEPTED, description = "It is being taken back, or is.", body = PaymentJson),
    )
)]
pub(crate) async fn reverse(call: Call) -> Outcome {
    call.permit(Action::ReversePayment)?;
    let actor = call.principal.id;
    act(&call, None, |reason| PaymentStep::ReversalRequested { actor, reason }).await
}

async fn act(call: &Call, customer: Option<&str>, step: impl FnOnce(Box<str>) -> PaymentStep) -> Outcome {
    never_dry(call)?;
    let request = match &*call.body {
        [] => PaymentActRequest::default(),
        body => parse::<PaymentActRequest<'static>>(body)?,
    };
    let reason = free_text(request.reason.as_deref().unwrap_or(""), "#/reason", TEXT_MAX_BYTES)?;
    let wait = wait_of(&call.headers)?;
    let keeper = payments(&call.state)?;
    let payment = visible(call, customer)?.id();
    let found = keeper.step(payment, step(reason)).await.map_err(|fault| refused(&fault, payment))?;
    let found = match wait {
        Some(at_most) => keeper.wait(payment, Until::Settled, at_most).await.unwrap_or(found),
        None => found,
    };
    shown(StatusCode::ACCEPTED, &found)
}

/// An amount for people, with its currency.
pub(crate) fn told(amount: Money) -> String {
    format!("{} {}", amount.amount(), amount.currency)
}
