//! What stands in paths and headers, for the document. The router takes it from there itself.
#![allow(dead_code)]

use utoipa::IntoParams;

use super::types;

/// Of everything in a book.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct BookPath {
    /// The book that this server keeps.
    #[param(value_type = types::BookId)]
    book: u32,
}

/// Of one account.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AccountPath {
    /// The book that this server keeps.
    #[param(value_type = types::BookId)]
    book: u32,
    /// The account, by its UUID or by its code.
    #[param(value_type = types::AccountRef)]
    account: String,
}

/// Of one customer.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CustomerPath {
    /// The book that this server keeps.
    #[param(value_type = types::BookId)]
    book: u32,
    /// The customer: the owner of accounts.
    #[param(value_type = types::Customer)]
    owner: String,
}

/// Of the rates of a day.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RateDatePath {
    /// The book that this server keeps.
    #[param(value_type = types::BookId)]
    book: u32,
    /// The day.
    #[param(value_type = types::CivilDate)]
    date: String,
}

/// Of one hold.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct HoldPath {
    /// The book that this server keeps.
    #[param(value_type = types::BookId)]
    book: u32,
    /// The hold: the id of the command that placed it.
    #[param(value_type = types::CommandId)]
    hold: String,
}

/// Of one command.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CommandPath {
    /// The book that this server keeps.
    #[param(value_type = types::BookId)]
    book: u32,
    /// The command's id.
    #[param(value_type = types::CommandId)]
    command: String,
}

/// Of a command that is a request of its own.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct IdempotencyKey {
    /// The identity of the command: 1 to 256 characters, bare or as a structured-field string. Needed if the body has no
    /// `id`; not both. A retry with the same key and content has one effect and gets the same verdict.
    #[param(rename = "Idempotency-Key", value_type = types::IdempotencyKeyText, required = false)]
    idempotency_key: Option<String>,
}

/// Of a stream that goes on.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct LastEventId {
    /// The `id` of the event that was received last.
    #[param(rename = "Last-Event-ID", value_type = types::Sequence, required = false)]
    last_event_id: Option<u64>,
}

/// Of one provider.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ProviderPath {
    /// The book that this server keeps.
    #[param(value_type = types::BookId)]
    book: u32,
    /// The provider.
    #[param(value_type = types::ProviderId)]
    provider: String,
}

/// Of what a provider says later.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CallbackPath {
    /// The provider.
    #[param(value_type = types::ProviderId)]
    provider: String,
}

/// Of one payment.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct PaymentPath {
    /// The book that this server keeps.
    #[param(value_type = types::BookId)]
    book: u32,
    /// The payment.
    #[param(value_type = types::CommandId)]
    payment: String,
}

/// Of what may be waited for.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Prefer {
    /// `wait=N` waits up to N seconds, 30 at most, for the outcome (RFC 7240). Other preferences are left alone.
    #[param(rename = "Prefer", value_type = Option<String>, required = false)]
    prefer: Option<String>,
}
