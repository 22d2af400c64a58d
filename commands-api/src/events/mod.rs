//! Events: the journal itself, page by page and as a stream that goes on.
//!
//! Events are read from the journal and not from a read model, so what is durable is there at once; nothing above the
//! durable sequence is. They show everybody's money, so only keys of the house may read them.
//!
//! `scan.rs` the walk through the journal that both are made of · `stream.rs` the stream.

mod scan;
mod stream;

use axum::http::StatusCode;
use event_schemas::bounds::{EVENT_PAGE_FULL_BYTES, EVENT_SCAN_MAX};
use event_schemas::{AccountId, EventBody, Sequence};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::amounts;
use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::openapi::params::{BookPath, LastEventId};
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{durable_through, page_limit};
use crate::state::Shared;

pub(crate) use stream::Streams;

use scan::{Bounds, Filter, scan};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Only events after this one; from the first if not given.
    #[param(value_type = Option<types::Sequence>)]
    after_sequence: Option<u64>,
    /// Only events of this type.
    #[param(value_type = Option<types::EventType>)]
    r#type: Option<String>,
    /// Only events that open, change, move or name this account.
    #[param(value_type = Option<types::AccountRef>)]
    account: Option<String>,
    /// How many rows a page has at most; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins: the `next_cursor` or `end_cursor` of a page before.
    #[param(value_type = Option<types::Cursor>)]
    cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StreamQuery {
    /// Only events after this one; from the first if not given. `Last-Event-ID` goes before it.
    #[param(value_type = Option<types::Sequence>)]
    after_sequence: Option<u64>,
    /// Only events of this type.
    #[param(value_type = Option<types::EventType>)]
    r#type: Option<String>,
    /// Only events that open, change, move or name this account.
    #[param(value_type = Option<types::AccountRef>)]
    account: Option<String>,
}

/// The filter that a query asks for.
fn filter(state: &Shared, of_type: Option<&str>, account: Option<&str>) -> Result<Filter, Problem> {
    let of_type = of_type.map(|name| {
        EventBody::TYPE_NAMES
            .into_iter()
            .find(|known| *known == name)
            .ok_or_else(|| Problem::detailed(Code::QueryInvalid, "there is no such type of events"))
    });
    let account = account.map(|text| {
        amounts::account(text, state.book, "#")
            .map_err(|_| Problem::detailed(Code::QueryInvalid, "account must be a UUID or a code"))
    });
    Ok(Filter { of_type: of_type.transpose()?, account: account.transpose()? })
}

/// The durable sequence, if `after` is not beyond it.
async fn durable_from(state: &Shared, after: Sequence) -> Result<Sequence, Problem> {
    let durable = durable_through(state, after).await;
    if after > durable {
        return Err(Problem::detailed(Code::SequenceInFuture, format!("the journal ends at {durable}")));
    }
    Ok(durable)
}

#[derive(Serialize, ToSchema)]
struct EventsAnswer {
    #[schema(value_type = Vec<types::RecordedEvent>)]
    events: Vec<Box<RawValue>>,
    /// Where the next page begins; `null` if nothing follows by now.
    #[schema(required)]
    next_cursor: Option<String>,
    /// Where this page ends, to ask later for what is recorded after it.
    end_cursor: String,
    /// The durable sequence.
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

/// Events, page by page
///
/// In their order, as they are recorded; nothing above the durable sequence. With a filter a page may have fewer events than
/// it could and yet a `next_cursor`. Not for keys of customers.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/events",
    tag = "events",
    operation_id = "list_events",
    params(BookPath, EventsQuery),
    responses(
        (status = OK, description = "A page.", body = EventsAnswer),
    )
)]
pub(crate) async fn list(call: Call) -> Outcome {
    call.permit(Action::ReadEvents)?;
    let query: EventsQuery = call.query()?;
    let limit = page_limit(query.limit)?;
    let state = &*call.state;
    let filter = filter(state, query.r#type.as_deref(), query.account.as_deref())?;
    let cursors = cursors(state, &filter);
    let after = match (query.cursor.as_deref(), query.after_sequence) {
        (Some(_), Some(_)) => {
            return Err(Problem::detailed(Code::QueryInvalid, "give one of cursor and after_sequence"));
        }
        (Some(text), None) => position(&cursors.decode(text)?)?,
        (None, after) => Sequence(after.unwrap_or(0)),
    };
    let durable = durable_from(state, after).await?;
    let bounds = Bounds { events: limit, bytes: EVENT_PAGE_FULL_BYTES, scanned: EVENT_SCAN_MAX };
    let mut feed = (state.feeds)();
    let task = tokio::task::spawn_blocking(move || scan(&mut *feed, after, durable, &filter, bounds));
    let found = match task.await {
        Ok(found) => found?,
        Err(error) => {
            tracing::error!(%error, "a page of events failed");
            return Err(Problem::new(Code::Internal));
        }
    };
    let end_cursor = cursors.encode(&found.through.0.to_be_bytes());
    let answer = EventsAnswer {
        next_cursor: (found.through < durable).then(|| end_cursor.clone()),
        end_cursor,
        events: found.events.into_iter().map(|event| event.json).collect(),
        sequence: durable,
    };
    json(StatusCode::OK, &answer)
}

/// The cursors of pages with this filter.
fn cursors(state: &Shared, filter: &Filter) -> CursorOf {
    let account = filter.account.map(|AccountId(id)| id.to_be_bytes());
    let about: [&[u8]; 2] =
        [filter.of_type.unwrap_or_default().as_bytes(), account.as_ref().map_or(&[], |id| id.as_slice())];
    CursorOf::new(Paged::Events, state.book, &about)
}

fn position(bytes: &[u8]) -> Result<Sequence, Problem> {
    let bytes = bytes.try_into().map_err(|_| Problem::new(Code::CursorInvalid))?;
    Ok(Sequence(u64::from_be_bytes(bytes)))
}

/// Events as they are recorded
///
/// Server-sent events: `id` is the sequence, `event` the type, `data` the event on one line. After a connection that broke,
/// `Last-Event-ID` goes on behind the last event that was received: none is left out and none comes twice. Comments keep the
/// connection alive. The stream ends when the server stops, when the key is revoked, and when the journal can't be read. Not
/// for keys of customers.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/events/stream",
    tag = "events",
    operation_id = "stream_events",
    params(BookPath, StreamQuery, LastEventId),
    responses(
        (status = OK, description = "The stream.", body = String, content_type = "text/event-stream"),
        (status = 429),
    )
)]
pub(crate) async fn stream(call: Call) -> Outcome {
    call.permit(Action::ReadEvents)?;
    let query: StreamQuery = call.query()?;
    let filter = filter(&call.state, query.r#type.as_deref(), query.account.as_deref())?;
    let after = match stream::last_event_id(&call.headers)? {
        Some(last) => last,
        None => Sequence(query.after_sequence.unwrap_or(0)),
    };
    durable_from(&call.state, after).await?;
    stream::open(call, filter, after)
}
