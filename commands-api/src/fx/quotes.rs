//! Quotes: `POST …/quotes`. Nothing is recorded, and nothing is kept: all that a quote promises stands in its text.

use axum::http::StatusCode;
use event_schemas::bounds::{RATE_NAME_MAX_BYTES, TEXT_MAX_BYTES};
use event_schemas::rates::{ConvertFunds, FixedSide};
use event_schemas::{AccountId, CivilDate, CommandId, Money, Timestamp};
use ledger_core::fx::Price;
use projections::balances::{self, AccountView};
use projections::rates;
use serde::Serialize;
use utoipa::ToSchema;

use super::prices::Shown;
use super::token::Quote;
use super::{Quotes, prices};
use crate::amounts;
use crate::body::parse;
use crate::call::{Call, Outcome, json};
use crate::dto::QuoteRequest;
use crate::openapi::params::BookPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::read;
use crate::text::free_text;
use crate::views::MoneyJson;

#[derive(Serialize, ToSchema)]
struct QuoteAnswer {
    /// The quote itself, to be sent back as it is.
    #[schema(value_type = types::QuoteText)]
    quote: String,
    /// Its id: that of the conversion to be.
    #[schema(value_type = types::CommandId)]
    quote_id: CommandId,
    #[schema(value_type = types::AccountId)]
    from: AccountId,
    #[schema(value_type = types::AccountId)]
    to: AccountId,
    /// Which amount was named.
    #[schema(value_type = types::FixedSide)]
    fixed: &'static str,
    sold: MoneyJson,
    bought: MoneyJson,
    /// The mid, in units bought for one unit sold: ten decimals of the exact quotient of the two rates below.
    #[schema(value_type = types::RateText)]
    mid: String,
    /// The mid less the margin, likewise.
    #[schema(value_type = types::RateText)]
    rate: String,
    /// Units of the currency sold for one unit of the sheet's pivot.
    #[schema(value_type = types::RateText)]
    sold_per_pivot: String,
    /// Units of the currency bought for one unit of the pivot.
    #[schema(value_type = types::RateText)]
    bought_per_pivot: String,
    /// The margin, in millionths of the mid.
    margin_ppm: u32,
    /// The margin, in the currency of the amount that was not named.
    margin: MoneyJson,
    /// What rounding leaves over, in the same: one minor unit at most, either way.
    rounding: MoneyJson,
    /// The version of the rate sheet.
    #[schema(value_type = types::Version)]
    sheet: u64,
    source: String,
    /// The day for which the source quoted.
    #[schema(value_type = types::CivilDate)]
    quoted_on: CivilDate,
    #[schema(value_type = types::Timestamp)]
    expires_at: Timestamp,
}

/// Ask for a quote
///
/// What a conversion between two accounts of one owner would give and take, for an amount in the currency of either: what is sold
/// or what is bought. The quote binds the house until it expires, and is good for one conversion. Nothing is recorded by asking. A
/// key of a customer asks for its own accounts; only keys of the house may name a tier. Needs the scope write.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/quotes",
    tag = "exchange",
    operation_id = "make_quote",
    params(BookPath),
    request_body = QuoteRequest,
    responses(
        (status = CREATED, description = "The quote.", body = QuoteAnswer),
    )
)]
pub(crate) async fn make(call: Call) -> Outcome {
    if call.dry_run {
        return Err(Problem::detailed(Code::QueryInvalid, "a quote records nothing: there is no dry run of it"));
    }
    let request = parse::<QuoteRequest<'static>>(&call.body)?;
    let customer = call.permit(Action::Convert { names_tier: request.tier.is_some() })?;
    let book = call.state.book;
    let from = amounts::account(&request.from, book, "#/from")?;
    let to = amounts::account(&request.to, book, "#/to")?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let named = amounts::positive(&request.amount, currency, "#/amount")?;
    let tier = free_text(request.tier.as_deref().unwrap_or(""), "#/tier", RATE_NAME_MAX_BYTES)?;
    let reference = free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?;
    let quotes = call.state.quotes.as_ref().ok_or_else(|| Problem::new(Code::QuotesOff))?;
    let (seller, buyer) = accounts(&call, customer, from, to)?;
    let (sold, bought) = (seller.currency, buyer.currency);
    if sold.code_bytes() == bought.code_bytes() {
        return Err(Problem::field(Code::SameCurrency, "#/to", format!("both accounts are in {sold}")));
    }
    let fixed = match currency {
        of if of == sold => FixedSide::Sold,
        of if of == bought => FixedSide::Bought,
        _ => {
            let detail = format!("the accounts are in {sold} and {bought}");
            return Err(Problem::field(Code::CurrencyMismatch, "#/currency", detail));
        }
    };
    let asked = Asked { from, to, owner: seller.owner, fixed, named, tier, reference };
    answer(&call, quotes, asked, sold, bought)
}

/// What is to be converted.
struct Asked {
    from: AccountId,
    to: AccountId,
    owner: Box<str>,
    fixed: FixedSide,
    named: Money,
    tier: Box<str>,
    reference: Box<str>,
}

/// Both accounts, which are of one owner: of the customer, if it is one that asks.
fn accounts(
    call: &Call,
    customer: Option<&str>,
    from: AccountId,
    to: AccountId,
) -> Result<(AccountView, AccountView), Problem> {
    if from == to {
        return Err(Problem::field(Code::SameAccount, "#/to", "both accounts are the same"));
    }
    let find = |account, pointer: &str| {
        let found = read(&call.state, |rows| balances::account(rows, account))?;
        let found = found.ok_or_else(|| Problem::field(Code::AccountNotFound, pointer, "there is no such account"))?;
        match customer {
            Some(customer) if *found.owner != *customer => {
                Err(Problem::detailed(Code::Forbidden, "the account belongs to somebody else"))
            }
            _ => Ok(found),
        }
    };
    let (seller, buyer) = (find(from, "#/from")?, find(to, "#/to")?);
    if seller.owner != buyer.owner {
        return Err(Problem::field(Code::QuoteOfAnother, "#/to", "the accounts are of two owners"));
    }
    Ok((seller, buyer))
}

fn answer(
    call: &Call,
    quotes: &Quotes,
    asked: Asked,
    sold: event_schemas::Currency,
    bought: event_schemas::Currency,
) -> Outcome {
    let pair = read(&call.state, |rows| rates::pair(rows, &asked.tier, sold, bought))?;
    let pair = pair.ok_or_else(|| Problem::detailed(Code::RateSheetNotFound, "no rate sheet was published"))?;
    let (sheet, now) = (pair.head.row, (quotes.now)());
    if now > sheet.valid_until {
        let detail = format!("the rate sheet was valid until {}", sheet.valid_until);
        return Err(Problem::detailed(Code::RateSheetStale, detail));
    }
    let mid = pair.mid.map_err(|currency| {
        let pointer = if currency == sold { "#/from" } else { "#/to" };
        Problem::field(Code::RateNotFound, pointer, format!("the rate sheet has no {currency}"))
    })?;
    let price = Price::new(mid, sold, bought, pair.margin_ppm);
    let amounts = price
        .amounts(asked.fixed, asked.named.amount_minor)
        .map_err(|rejection| Problem::field(Code::from(&rejection), "#/amount", Code::from(&rejection).title()))?;
    let lasts_us = i64::from(sheet.quote_seconds).saturating_mul(1_000_000);
    let expires_at = Timestamp(now.0.saturating_add(lasts_us)).min(sheet.valid_until);
    let other = if asked.fixed == FixedSide::Sold { bought } else { sold };
    let convert = ConvertFunds {
        from: asked.from,
        to: asked.to,
        owner: asked.owner,
        fixed: asked.fixed,
        sold: Money::new(amounts.sold_minor, sold),
        bought: Money::new(amounts.bought_minor, bought),
        tier: asked.tier,
        sheet: pair.head.version,
        expires_at,
        reference: asked.reference,
    };
    let id = quote_id().map_err(|error| {
        tracing::error!(%error, "no random id for a quote");
        Problem::new(Code::Internal)
    })?;
    let quote = Quote { book: call.state.book, principal: call.principal.id, id, convert };
    let text = quote.seal(&quotes.keys).ok_or_else(|| Problem::new(Code::QuotesOff))?;
    let shown: prices::Shown = Shown::mid(mid);
    let convert = &quote.convert;
    json(
        StatusCode::CREATED,
        &QuoteAnswer {
            quote: text,
            quote_id: id,
            from: convert.from,
            to: convert.to,
            fixed: convert.fixed.name(),
            sold: convert.sold.into(),
            bought: convert.bought.into(),
            mid: shown.to_string(),
            rate: shown.less(pair.margin_ppm).to_string(),
            sold_per_pivot: mid.sold_per_pivot.to_string(),
            bought_per_pivot: mid.bought_per_pivot.to_string(),
            margin_ppm: pair.margin_ppm,
            margin: Money::new(amounts.margin_minor, other).into(),
            rounding: Money::new(amounts.rounding_minor, other).into(),
            sheet: convert.sheet,
            source: sheet.source.into(),
            quoted_on: sheet.quoted_on,
            expires_at,
        },
    )
}

/// A random UUID of version 4.
fn quote_id() -> Result<CommandId, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    let random = u128::from_be_bytes(bytes);
    Ok(CommandId(random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62)))
}
