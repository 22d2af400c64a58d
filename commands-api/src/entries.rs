//! General entries: `POST /v1/books/{book}/entries`.

use event_schemas::bounds::{POSTINGS_MAX, POSTINGS_MIN, TEXT_MAX_BYTES};
use event_schemas::command::PostEntry;
use event_schemas::{BookId, CommandBody, Posting, Postings};

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome};
use crate::dto::{EntryRequest, PostingRequest};
use crate::openapi::params::{BookPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::text::free_text;
use crate::verdict::{Accepted, record};

/// Post an entry
///
/// Two postings or more, whose debits and credits are equal in each currency. Needs the scope write; not for keys of
/// customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/entries",
    tag = "money",
    operation_id = "post_entry",
    params(BookPath, IdempotencyKey),
    request_body = EntryRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn post(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// An entry. Whether it balances is for the book to say: that verdict belongs on record.
pub(crate) fn prepare(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    asking.permit(Action::PostEntry)?;
    let request = parse::<EntryRequest<'static>>(body)?;
    let count = request.postings.len();
    if !(POSTINGS_MIN..=POSTINGS_MAX).contains(&count) {
        let detail = format!("an entry has {POSTINGS_MIN} to {POSTINGS_MAX} postings, this one {count}");
        return Err(Problem::field(Code::PostingsOutOfBounds, "#/postings", detail));
    }
    let postings = request
        .postings
        .iter()
        .enumerate()
        .map(|(at, request)| posting(&request.0, at, asking.state.book))
        .collect::<Result<Postings, Problem>>()?;
    let entry = PostEntry {
        postings,
        effective_on: amounts::effective_on(request.effective_on.as_deref())?,
        reference: free_text(request.reference.as_deref().unwrap_or(""), "#/reference", TEXT_MAX_BYTES)?,
    };
    asking.prepared(request.id, CommandBody::PostEntry(entry))
}

fn posting(request: &PostingRequest<'_>, at: usize, book: BookId) -> Result<Posting, Problem> {
    let pointer = |member: &str| format!("#/postings/{at}/{member}");
    let currency = amounts::currency(&request.currency, &pointer("currency"))?;
    Ok(Posting {
        account: amounts::account(&request.account, book, &pointer("account"))?,
        side: request.side,
        money: amounts::positive(&request.amount, currency, &pointer("amount"))?,
    })
}
