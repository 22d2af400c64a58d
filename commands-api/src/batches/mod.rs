//! Batches: `POST /v1/books/{book}/batches`, many commands in one request.
//!
//! The items are independent: each is decided on its own, in their order, and has a verdict of its own; one that the book
//! refuses takes no other with it. Or they are linked: they go into one block, and if one is refused none takes place. That
//! one then has its own refusal, and all others have one that names it. Either way they go to the engine in one submission.
//! What is wrong by shape or forbidden in one item refuses the whole batch before anything is recorded, and the problem
//! names the item.
//!
//! `item.rs` what an item may be, and the command it asks for.

mod item;

use std::collections::HashMap;

use axum::http::StatusCode;
use event_schemas::bounds::{BATCH_MAX_COMMANDS, BODY_MAX_BYTES};
use event_schemas::{Command, CommandId};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::admission::submit_all;
use crate::asking::{Asking, KeyIn, Prepared};
use crate::body::{Dto, parse};
use crate::call::{Call, Outcome, json};
use crate::dry_run;
use crate::idempotency::no_header_key;
use crate::openapi::params::BookPath;
use crate::openapi::types;
use crate::problem::{Code, Problem};
use crate::verdict::{Accepted, told};

use item::Item;
pub(crate) use item::ItemType;

/// `POST …/batches`.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BatchRequest<'a> {
    #[serde(borrow)]
    #[schema(value_type = Vec<types::BatchItem>, min_items = 1, max_items = 8190)]
    items: Vec<Item<'a>>,
    /// Whether all commands take place or none; they must fit into one block of the journal. If not given, each is decided on
    /// its own.
    #[serde(default)]
    linked: bool,
}

impl Dto for BatchRequest<'static> {
    type Of<'a> = BatchRequest<'a>;
}

/// One item's verdict: its status with what a single request would have answered.
struct ItemAnswer(Result<Accepted, Problem>);

impl Serialize for ItemAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<T: Serialize> {
            #[serde(skip_serializing_if = "Option::is_none")]
            status: Option<u16>,
            #[serde(flatten)]
            answer: T,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            replayed: bool,
        }
        match &self.0 {
            Ok(accepted) => {
                let status = Some(StatusCode::CREATED.as_u16());
                Whole { status, answer: accepted, replayed: accepted.replayed }.serialize(serializer)
            }
            // A problem document has its status in it.
            Err(problem) => Whole { status: None, answer: problem.document(), replayed: problem.is_replayed() }
                .serialize(serializer),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct BatchAnswer {
    #[schema(value_type = Vec<types::BatchResult>)]
    results: Vec<ItemAnswer>,
    /// Of a linked batch: whether all commands took place; otherwise none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    accepted: Option<bool>,
}

/// Give many commands at once
///
/// Each is decided on its own, in their order, and has a verdict of its own, as its request would have had. If they are
/// `linked`, either all take place or none: the one that is refused says why, and the others are refused with
/// `linked_item_refused`, which names it. A retry of a linked batch gives all of its items again. What is wrong by shape or
/// forbidden in one item refuses the whole batch, and nothing is recorded. Takes no Idempotency-Key: each item has an
/// `id` or an `idempotency_key`.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/batches",
    tag = "batches",
    operation_id = "post_batch",
    params(BookPath),
    request_body = BatchRequest,
    responses(
        (status = OK, description = "A result for each item, in its place.", body = BatchAnswer),
    )
)]
pub(crate) async fn post(call: Call) -> Outcome {
    no_header_key(&call.headers)?;
    let (call, Batch { prepared, linked }) = prepare(call).await?;
    if linked || call.dry_run {
        each_once(&prepared)?;
    }
    let state = &*call.state;
    let actor = call.principal.id;
    let commands = prepared.iter().map(|one| Command { id: one.id, actor, body: one.body.clone() }).collect();
    let within = |at: usize, problem: Problem| problem.within(&item(at));
    if call.dry_run {
        return dry_run::batch(&call, &prepared, commands, linked, within).await;
    }
    let answers = submit_all(&state.admission, &*state.sink, actor, commands, linked, state.verdict_timeout).await?;
    let results = answers.into_iter().zip(&prepared).enumerate();
    let results: Vec<_> = results
        .map(|(at, (answer, prepared))| {
            ItemAnswer(told(answer, prepared, &call.principal).map_err(|problem| within(at, problem)))
        })
        .collect();
    let accepted = linked.then(|| results.iter().all(|ItemAnswer(result)| result.is_ok()));
    json(StatusCode::OK, &BatchAnswer { results, accepted })
}

/// The commands of a batch.
struct Batch {
    prepared: Vec<Prepared>,
    linked: bool,
}

/// Refuses a batch that names a command twice. Of independent items the second is a retry of the first; what is decided as a
/// whole has no room for one.
fn each_once(prepared: &[Prepared]) -> Result<(), Problem> {
    let mut places = HashMap::<CommandId, usize>::with_capacity(prepared.len());
    for (at, Prepared { id, .. }) in prepared.iter().enumerate() {
        if let Some(first) = places.insert(*id, at) {
            let detail = format!("items {first} and {at} are the same command");
            return Err(Problem::field(Code::CommandIdRepeated, item(at), detail));
        }
    }
    Ok(())
}

/// Makes the commands, on a thread that may take its time if the body is long.
async fn prepare(call: Call) -> Result<(Call, Batch), Problem> {
    if call.body.len() <= BODY_MAX_BYTES {
        let prepared = prepare_items(&call)?;
        return Ok((call, prepared));
    }
    let task = tokio::task::spawn_blocking(move || prepare_items(&call).map(|prepared| (call, prepared)));
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a batch could not be read");
        Err(Problem::new(Code::Internal))
    })
}

fn prepare_items(call: &Call) -> Result<Batch, Problem> {
    let request = parse::<BatchRequest<'static>>(&call.body)?;
    let count = request.items.len();
    if !(1..=BATCH_MAX_COMMANDS).contains(&count) {
        let detail = format!("a batch has 1 to {BATCH_MAX_COMMANDS} items, this one {count}");
        return Err(Problem::field(Code::BatchOutOfBounds, "#/items", detail));
    }
    let one = |(at, mut of): (usize, Item<'_>)| {
        let key = of.key.take();
        let asking = Asking { key: KeyIn::Item(key.as_deref()), ..call.asking() };
        of.prepare(&asking).map_err(|problem| problem.within(&item(at)))
    };
    let prepared = request.items.into_iter().enumerate().map(one).collect::<Result<_, _>>()?;
    Ok(Batch { prepared, linked: request.linked })
}

/// The pointer of an item.
fn item(at: usize) -> String {
    format!("#/items/{at}")
}
