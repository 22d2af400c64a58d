//! Conversions: `POST …/conversions`. Their identity is the quote's, so a quote is used once, and a retry gets the same verdict.

use event_schemas::CommandBody;
use event_schemas::sabotage::{Switch, on};

use super::token::Quote;
use crate::asking::Prepared;
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::ConversionRequest;
use crate::openapi::params::BookPath;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::verdict::{Accepted, record};

/// Convert money by a quote
///
/// Both amounts move in one entry, which balances in each currency through the house's position accounts, or nothing does. The
/// command's id is the quote's: a quote is used once, and a retry of the request gets the same verdict. Only the principal that
/// asked for the quote may use it. Needs the scope write.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/conversions",
    tag = "exchange",
    operation_id = "convert",
    params(BookPath),
    request_body = ConversionRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn post(call: Call) -> Outcome {
    let prepared = prepare(&call)?;
    record(&call, prepared).await
}

fn prepare(call: &Call) -> Result<Prepared, Problem> {
    // Whose accounts they are was looked at when the quote was made, for the same principal.
    call.permit(Action::Convert { names_tier: false })?;
    let request = parse::<ConversionRequest<'static>>(&call.body)?;
    let quotes = call.state.quotes.as_ref().ok_or_else(|| Problem::new(Code::QuotesOff))?;
    let quote = Quote::open(&request.quote, &quotes.keys)
        .filter(|quote| quote.book == call.state.book)
        .ok_or_else(|| Problem::field(Code::QuoteInvalid, "#/quote", "this is not a quote that was made here"))?;
    if quote.principal != call.principal.id && !on(Switch::StrangerActs) {
        return Err(Problem::field(Code::QuoteOfAnother, "#/quote", "the quote was made for somebody else"));
    }
    Ok(Prepared { id: quote.id, body: CommandBody::ConvertFunds(quote.convert), member: |_| "quote" })
}
