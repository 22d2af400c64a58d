//! Providers of bill payments: `GET …/providers`, `GET …/providers/{provider}`; and what they say later:
//! `POST /v1/providers/{provider}/callback`.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use event_schemas::control::{ProviderField, ProviderSet, ProviderTerms};
use serde::Serialize;
use utoipa::ToSchema;

use crate::bill_payments::{Callback, CallbackFault, Payments};
use crate::call::{Call, Outcome, json};
use crate::openapi::params::{BookPath, ProviderPath};
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::state::Shared;
use crate::views::AmountJson;

/// Whoever keeps payments here.
pub(crate) fn payments(state: &Shared) -> Result<&Arc<dyn Payments>, Problem> {
    state.payments.as_ref().ok_or_else(|| Problem::new(Code::PaymentsOff))
}

#[derive(Serialize, ToSchema)]
struct ProvidersAnswer {
    providers: Vec<ProviderJson>,
}

/// A provider.
#[derive(Serialize, ToSchema)]
#[schema(as = BillProvider)]
struct ProviderJson {
    #[schema(value_type = types::ProviderId)]
    provider: Box<str>,
    name: Box<str>,
    #[schema(value_type = types::ProviderCategory)]
    category: &'static str,
    /// Whether payments to it are taken.
    enabled: bool,
    /// Whether it may take less than it is offered.
    partial: bool,
    currencies: Vec<TermsJson>,
    fields: Vec<FieldJson>,
}

/// What holds in one currency.
#[derive(Serialize, ToSchema)]
#[schema(as = BillTerms)]
struct TermsJson {
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    #[schema(value_type = types::Amount)]
    fee_fixed: AmountJson,
    /// On top of it, in hundredths of a per cent of the amount.
    fee_basis_points: u16,
    #[schema(value_type = types::Amount)]
    amount_min: AmountJson,
    #[schema(value_type = types::Amount)]
    amount_max: AmountJson,
}

/// Something that a payer has to say in `details`.
#[derive(Serialize, ToSchema)]
#[schema(as = BillField)]
struct FieldJson {
    name: Box<str>,
    /// What people are shown.
    label: Box<str>,
    required: bool,
    #[schema(value_type = types::ProviderFieldKind)]
    kind: &'static str,
    /// A regular expression that the whole text must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pattern: Option<Box<str>>,
    length_min: u16,
    length_max: u16,
}

impl From<&ProviderTerms> for TermsJson {
    fn from(terms: &ProviderTerms) -> Self {
        let amount = |minor| AmountJson::new(minor, terms.currency);
        Self {
            currency: terms.currency.to_string(),
            fee_fixed: amount(terms.fee_fixed_minor),
            fee_basis_points: terms.fee_rate_bp,
            amount_min: amount(terms.amount_min_minor),
            amount_max: amount(terms.amount_max_minor),
        }
    }
}

impl From<&ProviderField> for FieldJson {
    fn from(field: &ProviderField) -> Self {
        Self {
            name: field.name.clone(),
            label: field.label.clone(),
            required: field.required,
            kind: field.kind.name(),
            pattern: field.pattern.clone(),
            length_min: field.length_min,
            length_max: field.length_max,
        }
    }
}

impl From<&ProviderSet> for ProviderJson {
    fn from(set: &ProviderSet) -> Self {
        Self {
            provider: set.provider.clone(),
            name: set.name.clone(),
            category: set.category.name(),
            enabled: set.enabled,
            partial: set.partial,
            currencies: set.terms.iter().map(Into::into).collect(),
            fields: set.fields.iter().map(Into::into).collect(),
        }
    }
}

/// Whom bills can be paid to
///
/// All providers of the catalogue, those that take no payments at present too, with their terms and the fields of `details`.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/providers",
    tag = "payments",
    operation_id = "list_providers",
    params(BookPath),
    responses(
        (status = OK, description = "The catalogue.", body = ProvidersAnswer),
    )
)]
pub(crate) async fn list(call: Call) -> Outcome {
    call.permit(Action::ReadProviders)?;
    let providers = payments(&call.state)?.providers();
    json(StatusCode::OK, &ProvidersAnswer { providers: providers.iter().map(|set| (&**set).into()).collect() })
}

/// A provider
#[utoipa::path(
    get,
    path = "/v1/books/{book}/providers/{provider}",
    tag = "payments",
    operation_id = "get_provider",
    params(ProviderPath),
    responses(
        (status = OK, description = "The provider.", body = ProviderJson),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    call.permit(Action::ReadProviders)?;
    let provider = payments(&call.state)?.provider(call.param("provider"));
    let provider = provider.ok_or_else(|| Problem::new(Code::ProviderNotFound))?;
    json(StatusCode::OK, &ProviderJson::from(&*provider))
}

#[derive(Serialize, ToSchema)]
struct CallbackAnswer {
    /// Always true: what was said is on record, or was before.
    #[schema(value_type = types::Yes)]
    taken: bool,
}

/// What a provider says later
///
/// For providers, not for clients: without a key, signed with the secret that the provider shares (headers `webhook-id`, the
/// payment; `webhook-timestamp`; `webhook-signature`). The body is an answer as to a call. The same again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/providers/{provider}/callback",
    tag = "payments",
    operation_id = "provider_callback",
    params(crate::openapi::params::CallbackPath),
    responses(
        (status = OK, description = "It is on record.", body = CallbackAnswer),
        (status = 400),
        (status = 403),
        (status = 404),
        (status = 408),
        (status = 413),
        (status = 503),
    )
)]
pub(crate) async fn callback(state: Arc<Shared>, provider: String, headers: HeaderMap, body: &[u8]) -> Outcome {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let callback = Callback {
        provider: &provider,
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp"),
        signature: text("webhook-signature"),
        body,
    };
    match payments(&state)?.callback(callback).await {
        Ok(()) => json(StatusCode::OK, &CallbackAnswer { taken: true }),
        Err(CallbackFault::Signature) => Err(Problem::new(Code::SignatureInvalid)),
        Err(CallbackFault::Malformed) => Err(Problem::new(Code::FieldInvalid)),
        Err(CallbackFault::NotFound) => Err(Problem::new(Code::PaymentNotFound)),
        Err(CallbackFault::Unavailable) => Err(Problem::new(Code::PaymentsUnavailable).with_retry_after(5)),
    }
}
