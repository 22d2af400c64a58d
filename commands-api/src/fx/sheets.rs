//! Rate sheets: `POST …/rate-sheets`.

use event_schemas::CommandBody;
use event_schemas::bounds::{
    MARGIN_MAX_PPM, MARGIN_RULES_MAX, QUOTE_SECONDS_MAX, RATE_NAME_MAX_BYTES, SHEET_RATES_MAX,
};
use event_schemas::rates::{MarginRule, PublishRateSheet, QuotedRate, Rate};

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::{Object, parse};
use crate::call::{Call, Outcome};
use crate::dto::{MarginRequest, RateRequest, RateSheetRequest};
use crate::openapi::params::{BookPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::text::free_text;
use crate::verdict::{Accepted, record};

/// Publish a rate sheet
///
/// How much of each currency one unit of the pivot buys, what the house keeps of conversions, and until when both hold. Of the
/// margins, the first that fits a conversion is the one; the last must fit everything. Replaces the sheet that was published before;
/// quotes that were made of it stay good until they expire. Needs the scope admin; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/rate-sheets",
    tag = "exchange",
    operation_id = "publish_rate_sheet",
    params(BookPath, IdempotencyKey),
    request_body = RateSheetRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn publish(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// A rate sheet to be published. Rates may stand in any order.
pub(crate) fn prepare(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    asking.permit(Action::PublishRateSheet)?;
    let request = parse::<RateSheetRequest<'static>>(body)?;
    let invalid = |pointer: &str, detail: String| Problem::field(Code::RateSheetInvalid, pointer, detail);
    if request.rates.len() > SHEET_RATES_MAX || request.margins.len() > MARGIN_RULES_MAX {
        return Err(invalid("#/rates", format!("a sheet has at most {SHEET_RATES_MAX} rates and as many margins")));
    }
    for (pointer, empty) in [
        ("#/rates", request.rates.is_empty()),
        ("#/margins", request.margins.is_empty()),
        ("#/source", request.source.is_empty()),
    ] {
        if empty {
            return Err(invalid(pointer, "it must not be empty".into()));
        }
    }
    if !(1..=QUOTE_SECONDS_MAX).contains(&request.quote_seconds) {
        return Err(invalid("#/quote_seconds", format!("a quote lasts 1 to {QUOTE_SECONDS_MAX} seconds")));
    }
    let mut rates: Vec<QuotedRate> =
        request.rates.iter().enumerate().map(|(at, rate)| quoted(at, rate)).collect::<Result<_, _>>()?;
    rates.sort_unstable_by_key(|rate| rate.currency);
    let margins = request.margins.iter().enumerate().map(|(at, rule)| margin(at, rule));
    let sheet = PublishRateSheet {
        version: request.version.0,
        pivot: amounts::currency(&request.pivot, "#/pivot")?,
        source: free_text(&request.source, "#/source", RATE_NAME_MAX_BYTES)?,
        quoted_on: amounts::date(&request.quoted_on, "#/quoted_on")?,
        fetched_at: amounts::time(&request.fetched_at, "#/fetched_at")?,
        valid_until: amounts::time(&request.valid_until, "#/valid_until")?,
        quote_seconds: request.quote_seconds,
        rates,
        margins: margins.collect::<Result<_, _>>()?,
    };
    asking.prepared(request.id, CommandBody::PublishRateSheet(sheet))
}

fn quoted(at: usize, Object(request): &Object<RateRequest<'_>>) -> Result<QuotedRate, Problem> {
    let per_pivot: Rate = request.per_pivot.parse().map_err(|error: event_schemas::rates::RateError| {
        Problem::field(Code::RateInvalid, format!("#/rates/{at}/per_pivot"), error.to_string())
    })?;
    Ok(QuotedRate { currency: amounts::currency(&request.currency, &format!("#/rates/{at}/currency"))?, per_pivot })
}

fn margin(at: usize, Object(request): &Object<MarginRequest<'_>>) -> Result<MarginRule, Problem> {
    let pointer = |member: &str| format!("#/margins/{at}/{member}");
    let currency = |text: Option<&str>, member| text.map(|text| amounts::currency(text, &pointer(member))).transpose();
    if request.margin_ppm > MARGIN_MAX_PPM {
        let detail = format!("at most {MARGIN_MAX_PPM}, which is a half");
        return Err(Problem::field(Code::RateSheetInvalid, pointer("margin_ppm"), detail));
    }
    if request.tier.as_deref().is_some_and(str::is_empty) {
        return Err(Problem::field(Code::RateSheetInvalid, pointer("tier"), "a tier has a name, or is left out"));
    }
    let tier =
        request.tier.as_deref().map(|tier| free_text(tier, &pointer("tier"), RATE_NAME_MAX_BYTES)).transpose()?;
    Ok(MarginRule {
        tier,
        sold: currency(request.sold.as_deref(), "sold")?,
        bought: currency(request.bought.as_deref(), "bought")?,
        margin_ppm: request.margin_ppm,
    })
}
