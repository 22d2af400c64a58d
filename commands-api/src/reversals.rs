//! Reversals: `POST …/entries/{command}/reverse`, of what any command posted: a transfer, a top-up, an entry, a capture.
//!
//! Without `postings` all that is left of the original is taken back. A part names its posting by its place in the original
//! and its amount in the posting's currency. The command has minor units alone, so the currency is compared here, with the
//! original as it is on record.

use event_schemas::bounds::{POSTINGS_MAX, POSTINGS_MIN, TEXT_MAX_BYTES};
use event_schemas::command::{ReverseEntry, ReversedPart};
use event_schemas::{CommandBody, CommandId, Currency};

use crate::admission::lookup;
use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::{PartRequest, ReverseRequest};
use crate::openapi::params::{CommandPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::text::free_text;
use crate::verdict::{Accepted, record};

/// Take an entry back
///
/// Whatever command posted it: a transfer, a top-up, an entry, a capture. Without `postings` all that is left of it.
/// Needs the scope write; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/entries/{command}/reverse",
    tag = "money",
    operation_id = "reverse_entry",
    params(CommandPath, IdempotencyKey),
    request_body = Option<ReverseRequest>,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn post(call: Call) -> Outcome {
    let entry = || call.param("command").parse().map_err(|_| Problem::new(Code::OriginalNotFound));
    let (prepared, currencies) = prepare(&call.asking(), entry, &call.body)?;
    if let CommandBody::ReverseEntry(ReverseEntry { entry, postings: Some(parts), .. }) = &prepared.body {
        same_currencies(&call, *entry, parts, &currencies).await?;
    }
    record(&call, prepared).await
}

/// A reversal of all that is left of an entry, as an item of a batch.
pub(crate) fn prepare_whole(
    asking: &Asking<'_>,
    entry: impl FnOnce() -> Result<CommandId, Problem>,
    body: &[u8],
) -> Result<Prepared, Problem> {
    let (prepared, _) = prepare(asking, entry, body)?;
    if matches!(&prepared.body, CommandBody::ReverseEntry(ReverseEntry { postings: Some(_), .. })) {
        let detail = "an entry is reversed in part by a request of its own";
        return Err(Problem::field(Code::FieldInvalid, "#/postings", detail));
    }
    Ok(prepared)
}

/// A reversal, and the currency of each of its parts.
fn prepare(
    asking: &Asking<'_>,
    entry: impl FnOnce() -> Result<CommandId, Problem>,
    body: &[u8],
) -> Result<(Prepared, Vec<Currency>), Problem> {
    asking.permit(Action::ReverseEntry)?;
    // A body may be left out: all it can hold is optional.
    let request = match body {
        [] => ReverseRequest::default(),
        body => parse::<ReverseRequest<'static>>(body)?,
    };
    let (postings, currencies) = match &request.postings {
        None => (None, Vec::new()),
        Some(parts) if !(POSTINGS_MIN..=POSTINGS_MAX).contains(&parts.len()) => {
            let detail =
                format!("a reversal names {POSTINGS_MIN} to {POSTINGS_MAX} postings, or none for all that is left");
            return Err(Problem::field(Code::PostingsOutOfBounds, "#/postings", detail));
        }
        Some(parts) => {
            let parts = parts.iter().enumerate().map(|(at, request)| part(&request.0, at));
            let (parts, currencies) = parts.collect::<Result<(Vec<_>, Vec<_>), Problem>>()?;
            (Some(parts), currencies)
        }
    };
    let reverse = ReverseEntry {
        entry: entry()?,
        postings,
        effective_on: amounts::effective_on(request.effective_on.as_deref())?,
        reference: free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?,
    };
    Ok((asking.prepared(request.id, CommandBody::ReverseEntry(reverse))?, currencies))
}

fn part(request: &PartRequest<'_>, at: usize) -> Result<(ReversedPart, Currency), Problem> {
    let pointer = |member: &str| format!("#/postings/{at}/{member}");
    let currency = amounts::currency(&request.currency, &pointer("currency"))?;
    let amount = amounts::positive(&request.amount, currency, &pointer("amount"))?;
    Ok((ReversedPart { posting: request.posting, amount_minor: amount.amount_minor }, currency))
}

/// Refuses parts in another currency than the postings they name. An original that is not there, or has no such posting, is
/// for the book to refuse.
async fn same_currencies(
    call: &Call,
    entry: CommandId,
    parts: &[ReversedPart],
    currencies: &[Currency],
) -> Result<(), Problem> {
    let state = &*call.state;
    let original = lookup(&*state.sink, entry, state.verdict_timeout).await?;
    let Some(postings) = original.as_ref().and_then(|original| original.event.body.entry()).map(|entry| entry.postings)
    else {
        return Ok(());
    };
    for (at, (part, currency)) in parts.iter().zip(currencies).enumerate() {
        let posting = usize::try_from(part.posting).ok().and_then(|place| postings.get(place));
        if let Some(posting) = posting
            && posting.money.currency != *currency
        {
            let detail = format!("posting {} is in {}", part.posting, posting.money.currency);
            return Err(Problem::field(Code::CurrencyMismatch, format!("#/postings/{at}/currency"), detail));
        }
    }
    Ok(())
}
