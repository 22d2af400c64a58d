//! Problem documents (RFC 9457): one table of codes, each with its status and its title, and the document that carries one.
//!
//! A code is part of the API: clients branch on it, so it never changes its meaning. Titles and details are for people.
//! Rejections of the ledger stand in the same table, because a client sees no difference between what the API refuses by
//! shape and what the book refuses by rule, except that the latter has a `sequence`: it is on record.
//!
//! No document says anything about the inside of the server: faults are logged where they are found, and what leaves here
//! is the code and a fixed sentence.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use event_schemas::{CommandId, Rejection, Sequence, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::openapi::types;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident, $code:literal, $status:ident, $title:literal;)*) => {
        /// Every code that a problem document may have.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
        }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable text.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// A short sentence for people, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    InvalidJson, "invalid_json", BAD_REQUEST, "The body is not valid JSON";
    /// The body has a field that this request does not know.
    UnknownField, "unknown_field", BAD_REQUEST, "The body has an unknown field";
    /// A field that must be there is not.
    MissingField, "missing_field", BAD_REQUEST, "A required field is missing";
    /// A field has another type or form than it must.
    FieldInvalid, "field_invalid", BAD_REQUEST, "A field has the wrong type or form";
    /// The query string is not understood.
    QueryInvalid, "query_invalid", BAD_REQUEST, "The query string is not valid";
    /// The cursor is not one that this query gave out.
    CursorInvalid, "cursor_invalid", BAD_REQUEST, "The cursor does not belong to this query";
    /// A sequence that is not recorded yet, to wait for or to go on behind.
    SequenceInFuture, "sequence_in_future", BAD_REQUEST, "The sequence is not recorded yet";
    /// A write without an identity.
    IdempotencyKeyMissing, "idempotency_key_missing", BAD_REQUEST, "A write needs an Idempotency-Key header or an id";
    /// The identity of a write is malformed or given twice.
    IdempotencyKeyInvalid, "idempotency_key_invalid", BAD_REQUEST, "The Idempotency-Key is not valid";
    /// The body could not be read to its end.
    BodyUnreadable, "body_unreadable", BAD_REQUEST, "The body could not be read";
    /// No key, or none that is known.
    Unauthorized, "unauthorized", UNAUTHORIZED, "A valid API key is required";
    /// What a provider says is not signed as it must be.
    SignatureInvalid, "signature_invalid", FORBIDDEN, "The signature is not valid";
    /// The key may not do this.
    Forbidden, "forbidden", FORBIDDEN, "This key may not do this";
    /// No such resource.
    NotFound, "not_found", NOT_FOUND, "There is no such resource";
    /// No such book for this key.
    BookNotFound, "book_not_found", NOT_FOUND, "There is no such book";
    /// No such account, by a read model or by the book.
    AccountNotFound, "account_not_found", NOT_FOUND, "There is no such account";
    /// No such provider of bill payments.
    ProviderNotFound, "provider_not_found", NOT_FOUND, "There is no such provider";
    /// No such bill payment for this key.
    PaymentNotFound, "payment_not_found", NOT_FOUND, "There is no such payment";
    /// The payment has no receipt, or none yet.
    ReceiptNotFound, "receipt_not_found", NOT_FOUND, "The payment has no receipt";
    /// No such hold, by a read model or by the book.
    HoldNotFound, "hold_not_found", NOT_FOUND, "There is no such hold";
    /// No command of this id, so no entry to reverse.
    OriginalNotFound, "original_not_found", NOT_FOUND, "There is no such entry to reverse";
    /// No verdict for this id.
    CommandNotFound, "command_not_found", NOT_FOUND, "There is no verdict for this command";
    /// The resource exists, the method does not.
    MethodNotAllowed, "method_not_allowed", METHOD_NOT_ALLOWED, "The resource does not have this method";
    /// The body came too slowly.
    RequestTimeout, "request_timeout", REQUEST_TIMEOUT, "The body did not arrive in time";
    /// The account's id or code is taken.
    AccountExists, "account_exists", CONFLICT, "The account exists already";
    /// The provider has been asked to pay, or the payment is over.
    PaymentNotCancelable, "payment_not_cancelable", CONFLICT, "The payment can't be canceled any more";
    /// The payment did not succeed.
    PaymentNotReversible, "payment_not_reversible", CONFLICT, "Only a payment that succeeded can be taken back";
    /// The body is longer than allowed.
    BodyTooLarge, "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is not declared as JSON.
    UnsupportedMediaType, "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body must be application/json";
    /// The same identity with another content.
    IdempotencyConflict, "idempotency_conflict", UNPROCESSABLE_ENTITY, "The same key was used for another request";
    /// Zero or below, or a fee or overdraft below zero.
    AmountNotPositive, "amount_not_positive", UNPROCESSABLE_ENTITY, "The amount is not positive";
    /// More decimals than the currency has.
    AmountTooPrecise, "amount_too_precise", UNPROCESSABLE_ENTITY, "The amount has too many decimals";
    /// Not a decimal number.
    AmountNotANumber, "amount_not_a_number", UNPROCESSABLE_ENTITY, "The amount is not a decimal number";
    /// Above 10^24 minor units.
    AmountTooLarge, "amount_too_large", UNPROCESSABLE_ENTITY, "The amount is too large";
    /// Not a currency of ISO 4217.
    CurrencyUnknown, "currency_unknown", UNPROCESSABLE_ENTITY, "The currency is not known";
    /// Not a calendar date.
    DateInvalid, "date_invalid", UNPROCESSABLE_ENTITY, "The date is not valid";
    /// Not a time zone of the IANA database.
    ZoneUnknown, "zone_unknown", UNPROCESSABLE_ENTITY, "The time zone is not known";
    /// Not a point in time.
    TimeInvalid, "time_invalid", UNPROCESSABLE_ENTITY, "The time is not valid";
    /// A text with control characters.
    TextInvalid, "text_invalid", UNPROCESSABLE_ENTITY, "The text has control characters";
    /// A text above its bound.
    TextTooLong, "text_too_long", UNPROCESSABLE_ENTITY, "The text is too long";
    /// What looks like a card number does not enter a journal that nothing is ever deleted from.
    CardNumberInText, "card_number_in_text", UNPROCESSABLE_ENTITY, "The text contains what looks like a card number";
    /// Fewer than two postings, or too many.
    PostingsOutOfBounds, "postings_out_of_bounds", UNPROCESSABLE_ENTITY, "The entry has too few or too many postings";
    /// No item, too many, or items too large together.
    BatchOutOfBounds, "batch_out_of_bounds", UNPROCESSABLE_ENTITY, "The batch has no item or too much in it";
    /// Two commands of a linked batch, or of a dry run, are one.
    CommandIdRepeated, "command_id_repeated", UNPROCESSABLE_ENTITY, "Two commands of the batch have the same identity";
    /// The effective date is outside the open range.
    EffectiveDateOutOfRange, "effective_date_out_of_range", UNPROCESSABLE_ENTITY, "The effective date is out of range";
    /// The deadline of a hold has passed or is too far ahead.
    ExpiryOutOfRange, "expiry_out_of_range", UNPROCESSABLE_ENTITY, "The deadline is out of range";
    /// The account code is reserved, malformed or does not go with the id.
    AccountCodeInvalid, "account_code_invalid", UNPROCESSABLE_ENTITY, "The account code is not valid";
    /// The hold was captured or voided.
    HoldNotOpen, "hold_not_open", UNPROCESSABLE_ENTITY, "The hold has ended";
    /// The deadline of the hold has passed.
    HoldExpired, "hold_expired", UNPROCESSABLE_ENTITY, "The hold has expired";
    /// What is to be reversed posted nothing.
    OriginalNotAnEntry, "original_not_an_entry", UNPROCESSABLE_ENTITY, "The command to be reversed posted no entry";
    /// What is to be reversed is a reversal.
    OriginalIsReversal, "original_is_reversal", UNPROCESSABLE_ENTITY, "A reversal can't be reversed";
    /// From and to are one account.
    SameAccount, "same_account", UNPROCESSABLE_ENTITY, "Sender and receiver are the same account";
    /// All of the entry was reversed before.
    OriginalReversed, "original_reversed", UNPROCESSABLE_ENTITY, "The entry was reversed before";
    /// More than is left of a posting.
    ReversalAboveOriginal, "reversal_above_original", UNPROCESSABLE_ENTITY, "More is reversed than is left of the entry";
    /// More than is left of the hold.
    CaptureAboveHold, "capture_above_hold", UNPROCESSABLE_ENTITY, "More is captured than is left of the hold";
    /// The account is closed.
    AccountClosed, "account_closed", UNPROCESSABLE_ENTITY, "The account is closed";
    /// The account is frozen.
    AccountFrozen, "account_frozen", UNPROCESSABLE_ENTITY, "The account is frozen";
    /// The account is not frozen.
    AccountNotFrozen, "account_not_frozen", UNPROCESSABLE_ENTITY, "The account is not frozen";
    /// The account has another currency.
    CurrencyMismatch, "currency_mismatch", UNPROCESSABLE_ENTITY, "The account has another currency";
    /// Nothing can be held on an account that debits raise.
    HoldNotPossible, "hold_not_possible", UNPROCESSABLE_ENTITY, "Nothing can be held on this account";
    /// The book has no room for another hold.
    TooManyHolds, "too_many_holds", UNPROCESSABLE_ENTITY, "The book has too many open holds";
    /// Debits and credits differ.
    EntryUnbalanced, "entry_unbalanced", UNPROCESSABLE_ENTITY, "Debits and credits differ";
    /// The account to be closed has a balance.
    AccountNotEmpty, "account_not_empty", UNPROCESSABLE_ENTITY, "The account's balance is not zero";
    /// The account to be closed has open holds.
    AccountHasHolds, "account_has_holds", UNPROCESSABLE_ENTITY, "Money is held on the account";
    /// A limit applies and no calendar tells the day.
    CalendarMissing, "calendar_missing", UNPROCESSABLE_ENTITY, "No calendar tells which day it is, and a limit applies";
    /// A limit of the customer would be exceeded.
    LimitExceeded, "limit_exceeded", UNPROCESSABLE_ENTITY, "A limit would be exceeded";
    /// A limit of zero or below.
    LimitNotPositive, "limit_not_positive", UNPROCESSABLE_ENTITY, "A limit must be above zero";
    /// A fee rule that contradicts itself.
    FeeRuleInvalid, "fee_rule_invalid", UNPROCESSABLE_ENTITY, "The fee rule is invalid";
    /// The period is closed.
    PeriodClosed, "period_closed", UNPROCESSABLE_ENTITY, "The period is closed";
    /// The period to be closed is not over.
    PeriodNotOver, "period_not_over", UNPROCESSABLE_ENTITY, "The period is not over";
    /// An older or equal version.
    VersionNotNewer, "version_not_newer", CONFLICT, "The version is not above the one applied last";
    /// A calendar that is out of order.
    CalendarInvalid, "calendar_invalid", UNPROCESSABLE_ENTITY, "The calendar is invalid";
    /// A rate sheet that can't be.
    RateSheetInvalid, "rate_sheet_invalid", UNPROCESSABLE_ENTITY, "The rate sheet is invalid";
    /// A text that is no rate, or one of zero.
    RateInvalid, "rate_invalid", UNPROCESSABLE_ENTITY, "The rate is not a decimal above zero";
    /// Nothing to convert.
    SameCurrency, "same_currency", UNPROCESSABLE_ENTITY, "Both amounts are in the same currency";
    /// No sheet, or no longer this one.
    RateSheetNotFound, "rate_sheet_not_found", UNPROCESSABLE_ENTITY, "There is no such rate sheet";
    /// The sheet is over.
    RateSheetStale, "rate_sheet_stale", UNPROCESSABLE_ENTITY, "The rate sheet is no longer valid";
    /// The pair is not on the sheet.
    RateNotFound, "rate_not_found", UNPROCESSABLE_ENTITY, "The rate sheet has no such currency";
    /// Too late.
    QuoteExpired, "quote_expired", UNPROCESSABLE_ENTITY, "The quote has expired";
    /// Too little.
    ConvertedAmountZero, "converted_amount_zero", UNPROCESSABLE_ENTITY, "The converted amount rounds to zero";
    /// The book comes to other amounts.
    QuoteMismatch, "quote_mismatch", UNPROCESSABLE_ENTITY, "The quote is not what the rate sheet gives";
    /// The quote is of another customer or principal.
    QuoteOfAnother, "quote_of_another", UNPROCESSABLE_ENTITY, "The quote was made for somebody else";
    /// Not a quote, or not of this server.
    QuoteInvalid, "quote_invalid", UNPROCESSABLE_ENTITY, "This is not a quote that was made here";
    /// The server makes no quotes.
    QuotesOff, "quotes_off", SERVICE_UNAVAILABLE, "This server makes no quotes";
    /// Another item of a linked batch was refused.
    LinkedItemRefused, "linked_item_refused", UNPROCESSABLE_ENTITY, "Another command of the linked batch was refused";
    /// Not enough money, overdraft included.
    InsufficientFunds, "insufficient_funds", UNPROCESSABLE_ENTITY, "The account has insufficient funds";
    /// The account's total would pass its bound.
    BalanceOverflow, "balance_overflow", UNPROCESSABLE_ENTITY, "The account's total would be too large";
    /// The provider takes no payments at present.
    ProviderDisabled, "provider_disabled", UNPROCESSABLE_ENTITY, "The provider takes no payments at present";
    /// The provider does not take this currency.
    ProviderCurrency, "provider_currency", UNPROCESSABLE_ENTITY, "The provider does not take this currency";
    /// Below the provider's least amount or above its greatest.
    ProviderAmountOutOfRange, "provider_amount_out_of_range", UNPROCESSABLE_ENTITY, "The provider does not take this amount";
    /// A field that the provider needs.
    PaymentDetailMissing, "payment_detail_missing", UNPROCESSABLE_ENTITY, "The provider needs another detail";
    /// A field that the provider does not ask for.
    PaymentDetailUnknown, "payment_detail_unknown", UNPROCESSABLE_ENTITY, "The provider does not ask for this detail";
    /// A field that is not as the provider needs it.
    PaymentDetailInvalid, "payment_detail_invalid", UNPROCESSABLE_ENTITY, "A detail is not as the provider needs it";
    /// Too many refused commands by one principal.
    RejectionBudgetSpent, "rejection_budget_spent", TOO_MANY_REQUESTS, "Too many refused commands: wait and try again";
    /// The server, or the principal, has as many streams open as it may.
    TooManyStreams, "too_many_streams", TOO_MANY_REQUESTS, "Too many streams of events are open";
    /// A mistake of ours.
    Internal, "internal", INTERNAL_SERVER_ERROR, "Something went wrong on our side";
    /// The queue of the engine is full.
    EngineBusy, "engine_busy", SERVICE_UNAVAILABLE, "The ledger is busy: try again";
    /// The writer has stopped.
    WriterStopped, "writer_stopped", SERVICE_UNAVAILABLE, "The ledger takes no commands now";
    /// The writer is another process, and none serves just now: nothing was recorded.
    NoWriter, "no_writer", SERVICE_UNAVAILABLE, "No writer serves now: nothing was recorded, try again";
    /// The writer went before it answered, and no other took its place in time.
    OutcomeUnknown, "outcome_unknown", SERVICE_UNAVAILABLE, "It is not known whether this was recorded: ask again with the same key";
    /// This server shows a moment of the past.
    ReadOnly, "read_only", SERVICE_UNAVAILABLE, "This server shows the past and takes no commands";
    /// This server keeps no read models.
    ReadModelsOff, "read_models_off", SERVICE_UNAVAILABLE, "This server keeps no read models";
    /// The read models can't be read.
    ReadModelFailed, "read_model_failed", SERVICE_UNAVAILABLE, "The read models can't be read now";
    /// The journal can't be read.
    JournalUnreadable, "journal_unreadable", SERVICE_UNAVAILABLE, "The journal can't be read now";
    /// The API keys can't be read, so nobody is known.
    KeysUnavailable, "keys_unavailable", SERVICE_UNAVAILABLE, "API keys can't be checked now";
    /// It can't be put on record now who looks at what.
    AccessLogBusy, "access_log_busy", SERVICE_UNAVAILABLE, "What can't be put on record is not shown: try again";
    /// The read models did not reach `min_sequence` in time.
    ReadModelBehind, "read_model_behind", GATEWAY_TIMEOUT, "The read models have not reached that sequence yet";
    /// The engine did not answer in time.
    VerdictLate, "verdict_late", GATEWAY_TIMEOUT, "The verdict is not known yet: ask again with the same key";
    /// This server takes no bill payments.
    PaymentsOff, "payments_off", SERVICE_UNAVAILABLE, "This server keeps no bill payments";
    /// Nothing is set up to reach the provider.
    ProviderUnavailable, "provider_unavailable", SERVICE_UNAVAILABLE, "The provider can't be reached from here";
    /// Bill payments can't be recorded.
    PaymentsUnavailable, "payments_unavailable", SERVICE_UNAVAILABLE, "Bill payments can't be recorded now: try again";
    /// The disk is full.
    JournalFull, "journal_full", INSUFFICIENT_STORAGE, "The ledger is read-only: its journal has no space";
}

impl From<&Rejection> for Code {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::PostingsOutOfBounds { .. } => Self::PostingsOutOfBounds,
            Rejection::AmountNotPositive => Self::AmountNotPositive,
            Rejection::AmountTooLarge => Self::AmountTooLarge,
            Rejection::EffectiveDateOutOfRange { .. } => Self::EffectiveDateOutOfRange,
            Rejection::ExpiryOutOfRange { .. } => Self::ExpiryOutOfRange,
            Rejection::HoldNotFound { .. } => Self::HoldNotFound,
            Rejection::HoldNotOpen { .. } => Self::HoldNotOpen,
            Rejection::HoldExpired { .. } => Self::HoldExpired,
            Rejection::OriginalNotFound { .. } => Self::OriginalNotFound,
            Rejection::OriginalNotAnEntry { .. } => Self::OriginalNotAnEntry,
            Rejection::OriginalIsReversal { .. } => Self::OriginalIsReversal,
            Rejection::OriginalReversed { .. } => Self::OriginalReversed,
            Rejection::ReversalAboveOriginal { .. } => Self::ReversalAboveOriginal,
            Rejection::CaptureAboveHold { .. } => Self::CaptureAboveHold,
            Rejection::HoldNotPossible { .. } => Self::HoldNotPossible,
            Rejection::TooManyHolds { .. } => Self::TooManyHolds,
            Rejection::AccountHasHolds { .. } => Self::AccountHasHolds,
            Rejection::CalendarMissing => Self::CalendarMissing,
            Rejection::LimitExceeded { .. } => Self::LimitExceeded,
            Rejection::LimitNotPositive => Self::LimitNotPositive,
            Rejection::FeeRuleInvalid => Self::FeeRuleInvalid,
            Rejection::PeriodClosed { .. } => Self::PeriodClosed,
            Rejection::PeriodNotOver { .. } => Self::PeriodNotOver,
            Rejection::VersionNotNewer { .. } => Self::VersionNotNewer,
            Rejection::CalendarInvalid { .. } => Self::CalendarInvalid,
            Rejection::RateSheetInvalid { .. } => Self::RateSheetInvalid,
            Rejection::SameCurrency { .. } => Self::SameCurrency,
            Rejection::RateSheetNotFound { .. } => Self::RateSheetNotFound,
            Rejection::RateSheetStale { .. } => Self::RateSheetStale,
            Rejection::RateNotFound { .. } => Self::RateNotFound,
            Rejection::QuoteExpired { .. } => Self::QuoteExpired,
            Rejection::ConvertedAmountZero => Self::ConvertedAmountZero,
            Rejection::QuoteMismatch { .. } => Self::QuoteMismatch,
            Rejection::QuoteOfAnother { .. } => Self::QuoteOfAnother,
            Rejection::LinkedItemRefused { .. } => Self::LinkedItemRefused,
            Rejection::AccountCodeInvalid => Self::AccountCodeInvalid,
            Rejection::AccountExists { .. } => Self::AccountExists,
            Rejection::SameAccount { .. } => Self::SameAccount,
            Rejection::AccountNotFound { .. } => Self::AccountNotFound,
            Rejection::AccountClosed { .. } => Self::AccountClosed,
            Rejection::AccountFrozen { .. } => Self::AccountFrozen,
            Rejection::AccountNotFrozen { .. } => Self::AccountNotFrozen,
            Rejection::CurrencyMismatch { .. } => Self::CurrencyMismatch,
            Rejection::EntryUnbalanced { .. } => Self::EntryUnbalanced,
            Rejection::AccountNotEmpty { .. } => Self::AccountNotEmpty,
            Rejection::InsufficientFunds { .. } => Self::InsufficientFunds,
            Rejection::BalanceOverflow { .. } => Self::BalanceOverflow,
        }
    }
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// For people.
    pub detail: String,
    /// Where: a JSON pointer as a URI fragment, such as `#/amount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pointer: Option<String>,
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Document>);

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document {
    /// `urn:doppia:problem:` and the code.
    #[schema(format = "uri")]
    r#type: String,
    /// For people; the same for every problem of this code.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    #[schema(value_type = types::ProblemCode)]
    code: &'static str,
    /// For people; about this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
    /// What is wrong with which part of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Of a verdict: the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    command_id: Option<CommandId>,
    /// Of a verdict: where it is on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::Sequence>, nullable = false)]
    sequence: Option<Sequence>,
    /// Of a verdict: when it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::Timestamp>, nullable = false)]
    recorded_at: Option<Timestamp>,
    /// Of a rejection: the figures that the book saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    observed: Option<Value>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
    #[serde(skip)]
    replayed: bool,
    #[serde(skip)]
    which: Code,
}

impl Problem {
    /// A problem with the title alone.
    pub fn new(code: Code) -> Self {
        Self(Box::new(Document {
            r#type: format!("urn:doppia:problem:{}", code.code()),
            title: code.title(),
            status: code.status().as_u16(),
            code: code.code(),
            detail: None,
            errors: Vec::new(),
            command_id: None,
            sequence: None,
            recorded_at: None,
            observed: None,
            retry_after_s: None,
            replayed: false,
            which: code,
        }))
    }

    /// A problem with a sentence about this occurrence.
    pub fn detailed(code: Code, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(code);
        problem.0.detail = Some(detail.into());
        problem
    }

    /// A problem with one field of the body: `pointer` is a URI fragment such as `#/amount`.
    pub fn field(code: Code, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::detailed(code, detail.clone()).with_error(detail, Some(pointer.into()))
    }

    /// Adds what is wrong with one part.
    #[must_use]
    pub fn with_error(mut self, detail: impl Into<String>, pointer: Option<String>) -> Self {
        self.0.errors.push(FieldError { detail: detail.into(), pointer });
        self
    }

    /// Says that the problem is of an item of the body: `item` is its pointer, such as `#/items/3`.
    #[must_use]
    pub fn within(mut self, item: &str) -> Self {
        for error in &mut self.0.errors {
            let inner = error.pointer.as_deref().and_then(|pointer| pointer.strip_prefix('#')).unwrap_or_default();
            error.pointer = Some(format!("{item}{inner}"));
        }
        if self.0.errors.is_empty() {
            let detail = self.0.detail.clone().unwrap_or_else(|| self.0.title.to_owned());
            return self.with_error(detail, Some(item.to_owned()));
        }
        self
    }

    /// Names the command.
    #[must_use]
    pub fn with_command(mut self, id: CommandId) -> Self {
        self.0.command_id = Some(id);
        self
    }

    /// Says where the verdict stands.
    #[must_use]
    pub fn with_record(mut self, sequence: Sequence, recorded_at: Option<Timestamp>, replayed: bool) -> Self {
        self.0.sequence = Some(sequence);
        self.0.recorded_at = recorded_at;
        self.0.replayed = replayed;
        self
    }

    /// Adds a sentence about this occurrence, if there is one.
    #[must_use]
    pub fn with_detail(mut self, detail: Option<String>) -> Self {
        self.0.detail = detail;
        self
    }

    /// Adds what was observed; nothing if there was nothing.
    #[must_use]
    pub fn with_observed(mut self, observed: Option<Value>) -> Self {
        self.0.observed = observed;
        self
    }

    /// Says whether it repeats an earlier verdict.
    #[must_use]
    pub fn with_replayed(mut self, replayed: bool) -> Self {
        self.0.replayed = replayed;
        self
    }

    /// Tells the client when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Its code.
    pub const fn code(&self) -> Code {
        self.0.which
    }

    /// The document, for tests that look into it.
    #[cfg(test)]
    pub(crate) fn document_json(&self) -> Value {
        serde_json::to_value(&*self.0).unwrap_or_default()
    }

    /// Whether it repeats an earlier verdict.
    pub(crate) const fn is_replayed(&self) -> bool {
        self.0.replayed
    }

    /// The document, as a part of an answer.
    pub(crate) fn document(&self) -> impl Serialize + '_ {
        &*self.0
    }

    /// The document, to be a part of an answer.
    pub(crate) fn into_document(self) -> Document {
        *self.0
    }

    /// The HTTP response.
    pub(crate) fn into_response(self) -> Response {
        let document = *self.0;
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = document.which.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if document.which == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = document.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if document.replayed {
            headers.insert(crate::idempotency::REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

    use std::collections::HashSet;
    use std::fmt::Write as _;

    use event_schemas::limits::LimitWindow;
    use event_schemas::{AccountId, CivilDate, Currency};

    use super::*;

    #[test]
    fn codes_are_unique_and_have_the_form_of_codes() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            let text = code.code();
            assert!(seen.insert(text), "{text} stands twice in the table");
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{text}");
        }
    }

    #[test]
    fn every_code_is_documented() {
        let mut expected = String::from(
            "# Problems\n\nEvery problem document (RFC 9457, `application/problem+json`) has one of these codes. A code never \
             changes its meaning;\ntitles and details may. This table is compared with the code by a test.\n\n| code | status | \
             title |\n| --- | --- | --- |\n",
        );
        for code in Code::ALL {
            writeln!(expected, "| `{}` | {} | {} |", code.code(), code.status().as_u16(), code.title()).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/PROBLEMS.md");
        if std::env::var_os("UPDATE_PROBLEMS").is_some() {
            std::fs::write(path, &expected).unwrap();
        }
        let documented = std::fs::read_to_string(path).unwrap();
        assert_eq!(documented, expected, "run the tests with UPDATE_PROBLEMS=1 to write PROBLEMS.md again");
    }

    #[test]
    fn every_rejection_keeps_its_code() {
        let (account, id) = (AccountId(1), CommandId(2));
        let currency: Currency = "EUR".parse().unwrap();
        let all = [
            Rejection::PostingsOutOfBounds { count: 1 },
            Rejection::AmountNotPositive,
            Rejection::AmountTooLarge,
            Rejection::EffectiveDateOutOfRange { earliest: CivilDate::MIN, latest: CivilDate::MAX },
            Rejection::AccountCodeInvalid,
            Rejection::AccountExists { account },
            Rejection::SameAccount { account },
            Rejection::AccountNotFound { account },
            Rejection::AccountClosed { account },
            Rejection::AccountFrozen { account },
            Rejection::AccountNotFrozen { account },
            Rejection::CurrencyMismatch { account, account_currency: currency },
            Rejection::EntryUnbalanced { currency, debits_minor: 1, credits_minor: 2 },
            Rejection::AccountNotEmpty { account, balance_minor: 1 },
            Rejection::InsufficientFunds { account, available_minor: 1, required_minor: 2 },
            Rejection::BalanceOverflow { account },
            Rejection::ExpiryOutOfRange { after: Timestamp(1), latest: Timestamp(2) },
            Rejection::HoldNotFound { hold: id },
            Rejection::HoldNotOpen { hold: id },
            Rejection::HoldExpired { hold: id, expires_at: Timestamp(1) },
            Rejection::OriginalNotFound { entry: id },
            Rejection::OriginalNotAnEntry { entry: id },
            Rejection::OriginalIsReversal { entry: id },
            Rejection::OriginalReversed { entry: id },
            Rejection::ReversalAboveOriginal { entry: id, posting: 0, left_minor: 1, required_minor: 2 },
            Rejection::CaptureAboveHold { hold: id, left_minor: 1, required_minor: 2 },
            Rejection::HoldNotPossible { account },
            Rejection::TooManyHolds { limit: 1 },
            Rejection::AccountHasHolds { account, held_minor: 1 },
            Rejection::CalendarMissing,
            Rejection::LimitExceeded {
                account,
                window: LimitWindow::Day,
                cap_minor: 1,
                used_minor: 1,
                required_minor: 1,
                resets_at: None,
            },
            Rejection::LimitNotPositive,
            Rejection::FeeRuleInvalid,
            Rejection::PeriodClosed { through: CivilDate::MAX },
            Rejection::PeriodNotOver { today: CivilDate::MAX },
            Rejection::VersionNotNewer { applied: 1 },
            Rejection::CalendarInvalid { place: 1 },
            Rejection::LinkedItemRefused { item: 1, command: id },
        ];
        for rejection in &all {
            let code = Code::from(rejection);
            assert_eq!(code.code(), rejection.code());
            let expected = match code {
                Code::AccountNotFound | Code::HoldNotFound | Code::OriginalNotFound => 404,
                Code::AccountExists | Code::VersionNotNewer => 409,
                _ => 422,
            };
            assert_eq!(code.status().as_u16(), expected, "{}", code.code());
        }
    }

    #[test]
    fn a_problem_says_nothing_it_does_not_know() {
        let json = serde_json::to_value(&*Problem::new(Code::Internal).0).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "status", "title", "type"]);
    }
}
