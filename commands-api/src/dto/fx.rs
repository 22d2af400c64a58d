//! Requests of foreign exchange.

use event_schemas::CommandId;
use serde::Deserialize;
use utoipa::ToSchema;

use super::settings::Version;
use crate::body::{Object, Text};
use crate::openapi::types;

/// `POST …/quotes`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuoteRequest<'a> {
    /// The account that sells.
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) from: Text<'a>,
    /// The account that buys, of the same owner and another currency.
    #[serde(borrow)]
    #[schema(value_type = types::AccountRef)]
    pub(crate) to: Text<'a>,
    /// How much is sold or bought, by the currency.
    #[serde(borrow)]
    #[schema(value_type = types::PositiveAmount)]
    pub(crate) amount: Text<'a>,
    /// That of the account that sells, or of the one that buys.
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    /// The tier of customers that the margin is for. For keys of the house.
    #[serde(borrow)]
    #[schema(value_type = Option<types::RateName>)]
    pub(crate) tier: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::FreeText>)]
    pub(crate) reference: Option<Text<'a>>,
}

/// `POST …/conversions`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversionRequest<'a> {
    /// The quote, as it was given out.
    #[serde(borrow)]
    #[schema(value_type = types::QuoteText)]
    pub(crate) quote: Text<'a>,
}

/// `POST …/rate-sheets`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateSheetRequest<'a> {
    #[schema(value_type = Option<types::CommandId>)]
    pub(crate) id: Option<CommandId>,
    #[schema(value_type = types::Version)]
    pub(crate) version: Version,
    /// The currency that the others are quoted against.
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) pivot: Text<'a>,
    /// Where the rates come from.
    #[serde(borrow)]
    #[schema(value_type = types::RateName)]
    pub(crate) source: Text<'a>,
    /// The day for which it quotes.
    #[serde(borrow)]
    #[schema(value_type = types::CivilDate)]
    pub(crate) quoted_on: Text<'a>,
    /// When they were fetched.
    #[serde(borrow)]
    #[schema(value_type = types::Timestamp)]
    pub(crate) fetched_at: Text<'a>,
    /// Until when conversions may be made by the sheet.
    #[serde(borrow)]
    #[schema(value_type = types::Timestamp)]
    pub(crate) valid_until: Text<'a>,
    /// How long a quote may last.
    #[schema(minimum = 1, maximum = 3600)]
    pub(crate) quote_seconds: u32,
    #[serde(borrow)]
    #[schema(value_type = Vec<RateRequest>, min_items = 1, max_items = 256)]
    pub(crate) rates: Vec<Object<RateRequest<'a>>>,
    #[serde(borrow)]
    #[schema(value_type = Vec<MarginRequest>, min_items = 1, max_items = 256)]
    pub(crate) margins: Vec<Object<MarginRequest<'a>>>,
}

/// How much of a currency one unit of the pivot buys.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateRequest<'a> {
    #[serde(borrow)]
    #[schema(value_type = types::KnownCurrency)]
    pub(crate) currency: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = types::RateText)]
    pub(crate) per_pivot: Text<'a>,
}

/// What the house keeps of a conversion. What is not given fits everything.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarginRequest<'a> {
    #[serde(borrow)]
    #[schema(value_type = Option<types::RateName>)]
    pub(crate) tier: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::KnownCurrency>)]
    pub(crate) sold: Option<Text<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<types::KnownCurrency>)]
    pub(crate) bought: Option<Text<'a>>,
    /// In millionths of the mid: 10000 are 1 %.
    #[schema(maximum = 500_000)]
    pub(crate) margin_ppm: u32,
}
