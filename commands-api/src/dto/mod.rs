//! What clients send. One struct per request, every one closed to fields it does not know; what a client may not set is not
//! in it at all. Texts stay texts here: the resources turn them into money, dates and accounts and refuse each by its code.
//!
//! `settings.rs` those that set what later decisions are made by · `fx.rs` those of foreign exchange · `payments.rs` those
//! about bill payments.

mod fx;
mod payments;
mod settings;

use event_schemas::command::AccountKind;
use event_schemas::{CommandId, Side};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::{Dto, Object, Text};
use crate::openapi::types;

pub(crate) use fx::{ConversionRequest, MarginRequest, QuoteRequest, RateRequest, RateSheetRequest};
pub(crate) use payments::{BillPaymentRequest, PaymentActRequest};
pub(crate) use settings::{
    CalendarRequest, ClosePeriodRequest, FeeRuleRequest, LimitsRequest, PreferencesRequest, TopicsRequest,
};

/// `POST …/accounts`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAccountRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::AccountId>)]
    pub(crate) account: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::AccountCode>)]
    pub(crate) code: Option<Text<'a>>,
    #[schema(value_type = types::AccountKind)]
    pub(crate) kind: AccountKind,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::Owner>)]
    pub(crate) owner: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::Overdraft>)]
    pub(crate) overdraft: Option<Text<'a>>,
}

/// `POST …/accounts/{account}/freeze`, `/unfreeze` and `/close`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountActRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reason: Option<Text<'a>>,
}

/// An act on an account as an item of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountActItem<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) account: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reason: Option<Text<'a>>,
}

/// `POST …/top-ups` and `…/withdrawals`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CashRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) account: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    /// On top of the amount. If not given, the fee rule says; without a rule there is none.
    #[serde(borrow)]
    #[schema(value_type = Option<types::NotNegativeAmount>)]
    pub(crate) fee: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::CivilDate>)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/transfers`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) from: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) to: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    /// On top of the amount. If not given, the fee rule says; without a rule there is none.
    #[serde(borrow)]
    #[schema(value_type = Option<types::NotNegativeAmount>)]
    pub(crate) fee: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::CivilDate>)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/transfers/up-to`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferUpToRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) from: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) to: Text<'a>,
    /// The most that moves.
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) at_most: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::CivilDate>)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/entries`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = Vec<PostingRequest>, min_items = 2, max_items = 1000)]
    pub(crate) postings: Vec<Object<PostingRequest<'a>>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::CivilDate>)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/holds`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) account: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::Timestamp>)]
    pub(crate) expires_at: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/holds/{hold}/capture`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) to: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    /// On top of the amount. If not given, the fee rule says; without a rule there is none.
    #[serde(borrow)]
    #[schema(value_type = Option<types::NotNegativeAmount>)]
    pub(crate) fee: Option<Text<'a>>,
    #[serde(default)]
    pub(crate) last: bool,
    #[serde(borrow)]
    #[schema(value_type = Option<types::CivilDate>)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/holds/{hold}/void`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoidRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reason: Option<Text<'a>>,
}

/// `POST …/entries/{command}/reverse`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReverseRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<PartRequest>>, min_items = 2, max_items = 1000)]
    pub(crate) postings: Option<Vec<Object<PartRequest<'a>>>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::CivilDate>)]
    pub(crate) effective_on: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reference: Option<Text<'a>>,
}

/// So much of one posting of an entry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartRequest<'a> {
    pub(crate) posting: u32,
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
}

/// One posting of an entry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostingRequest<'a> {
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) account: Text<'a>,
    #[schema(value_type = types::Side)]
    pub(crate) side: Side,
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) amount: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
}

macro_rules! dto {
    ($($name:ident)*) => {
        $(impl Dto for $name<'static> {
            type Of<'a> = $name<'a>;
        })*
    };
}

dto! { OpenAccountRequest AccountActRequest AccountActItem CashRequest TransferRequest EntryRequest HoldRequest CaptureRequest
VoidRequest ReverseRequest TransferUpToRequest LimitsRequest CalendarRequest FeeRuleRequest ClosePeriodRequest
QuoteRequest ConversionRequest RateSheetRequest BillPaymentRequest PaymentActRequest }

impl Dto for PreferencesRequest {
    type Of<'a> = Self;
}
