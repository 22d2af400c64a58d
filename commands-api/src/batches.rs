//! Batches: `POST /v1/books/{book}/batches`, many commands in one request.
//!
//! The items are independent: each is decided on its own, in their order, and has a verdict of its own; one that the book
//! refuses takes no other with it. They go to the engine in one submission and become durable in as few flushes as it can.
//! What is wrong by shape or forbidden in one item refuses the whole batch before anything is recorded, and the problem
//! names the item.
//!
//! An item is a `type` and the members of that command's own request, with its `id` or its `idempotency_key`. The same key
//! stands for the same command here and in the header of a single request, so either may be retried as the other.

use std::borrow::Cow;
use std::fmt;

use axum::http::StatusCode;
use event_schemas::bounds::{BATCH_MAX_COMMANDS, BODY_MAX_BYTES};
use event_schemas::{Command, CommandBody, CommandId};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::admission::submit_all;
use crate::asking::{Asking, KeyIn, Prepared};
use crate::body::{Dto, Text, parse};
use crate::call::{Call, Outcome, json};
use crate::idempotency::no_header_key;
use crate::openapi::params::BookPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::verdict::{Accepted, told};
use crate::{accounts, cash, entries, holds, reversals, transfers};

/// What an item asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemType {
    Transfer,
    TopUp,
    Withdrawal,
    Entry,
    Hold,
    Capture,
    Void,
    Reversal,
    OpenAccount,
    FreezeAccount,
    UnfreezeAccount,
    CloseAccount,
}

impl ItemType {
    pub(crate) const ALL: &'static [Self] = &[
        Self::Transfer,
        Self::TopUp,
        Self::Withdrawal,
        Self::Entry,
        Self::Hold,
        Self::Capture,
        Self::Void,
        Self::Reversal,
        Self::OpenAccount,
        Self::FreezeAccount,
        Self::UnfreezeAccount,
        Self::CloseAccount,
    ];

    /// The text of the member `type`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::TopUp => "top_up",
            Self::Withdrawal => "withdrawal",
            Self::Entry => "entry",
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Reversal => "reversal",
            Self::OpenAccount => "open_account",
            Self::FreezeAccount => "freeze_account",
            Self::UnfreezeAccount => "unfreeze_account",
            Self::CloseAccount => "close_account",
        }
    }

    fn of(name: Option<&str>) -> Result<Self, Problem> {
        let Some(name) = name else {
            return Err(Problem::field(Code::MissingField, "#/type", "the field type is missing"));
        };
        Self::ALL.iter().copied().find(|known| known.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|known| known.name()).collect();
            let detail = format!("there is no such type; {} are known", known.join(", "));
            Problem::field(Code::FieldInvalid, "#/type", detail)
        })
    }
}

/// An item: what a batch needs of it, and the rest as it came, for the DTO of its type.
struct Item<'a> {
    kind: Option<Text<'a>>,
    key: Option<Text<'a>>,
    rest: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Item<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
                let mut item = Item { kind: None, key: None, rest: Vec::with_capacity(8) };
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match &*name {
                        "type" if item.kind.is_some() => return Err(A::Error::duplicate_field("type")),
                        "type" => item.kind = Some(map.next_value()?),
                        "idempotency_key" if item.key.is_some() => {
                            return Err(A::Error::duplicate_field("idempotency_key"));
                        }
                        "idempotency_key" => item.key = Some(map.next_value()?),
                        _ => item.rest.push((name.into_inner(), map.next_value()?)),
                    }
                }
                Ok(item)
            }
        }
        deserializer.deserialize_map(Items)
    }
}

impl<'a> Item<'a> {
    /// The members that are not the batch's, as a body of their own: repeated names stay repeated, for the DTO to refuse.
    fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = vec![b'{'];
        for (name, value) in &self.rest {
            if bytes.len() > 1 {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut bytes, name)?;
            bytes.push(b':');
            bytes.extend_from_slice(value.get().as_bytes());
        }
        bytes.push(b'}');
        Ok(bytes)
    }

    /// Takes out the member that a single request has in its path: a hold or an entry, by its id.
    fn take(&mut self, name: &'static str) -> Option<&'a RawValue> {
        let at = self.rest.iter().position(|(member, _)| member == name)?;
        Some(self.rest.remove(at).1)
    }

    fn prepare(&mut self, asking: &Asking<'_>) -> Result<Prepared, Problem> {
        let of = ItemType::of(self.kind.as_deref())?;
        let about = match of {
            ItemType::Capture | ItemType::Void => ("hold", self.take("hold")),
            ItemType::Reversal => ("entry", self.take("entry")),
            ItemType::Transfer
            | ItemType::TopUp
            | ItemType::Withdrawal
            | ItemType::Entry
            | ItemType::Hold
            | ItemType::OpenAccount
            | ItemType::FreezeAccount
            | ItemType::UnfreezeAccount
            | ItemType::CloseAccount => ("", None),
        };
        let about = || id(about.0, about.1);
        let body = &*self.body().map_err(|_| Problem::new(Code::InvalidJson))?;
        if body.len() > BODY_MAX_BYTES {
            return Err(Problem::detailed(Code::BodyTooLarge, format!("an item has at most {BODY_MAX_BYTES} bytes")));
        }
        match of {
            ItemType::Transfer => transfers::prepare(asking, body),
            ItemType::TopUp => cash::prepare(asking, body, Action::TopUp, CommandBody::TopUp),
            ItemType::Withdrawal => cash::prepare(asking, body, Action::Withdraw, CommandBody::Withdraw),
            ItemType::Entry => entries::prepare(asking, body),
            ItemType::Hold => holds::prepare_place(asking, body),
            ItemType::Capture => holds::prepare_capture(asking, about, body),
            ItemType::Void => holds::prepare_void(asking, about, body),
            ItemType::Reversal => reversals::prepare_whole(asking, about, body),
            ItemType::OpenAccount => accounts::prepare_open(asking, body),
            ItemType::FreezeAccount => {
                accounts::prepare_act(asking, body, Action::FreezeAccount, CommandBody::FreezeAccount)
            }
            ItemType::UnfreezeAccount => {
                accounts::prepare_act(asking, body, Action::UnfreezeAccount, CommandBody::UnfreezeAccount)
            }
            ItemType::CloseAccount => {
                accounts::prepare_act(asking, body, Action::CloseAccount, CommandBody::CloseAccount)
            }
        }
    }
}

/// The id in this member.
fn id(name: &str, value: Option<&RawValue>) -> Result<CommandId, Problem> {
    let pointer = format!("#/{name}");
    match value {
        None => Err(Problem::field(Code::MissingField, pointer, format!("the field {name} is missing"))),
        Some(value) => serde_json::from_str(value.get())
            .map_err(|_| Problem::field(Code::FieldInvalid, pointer, "the UUID of a command is expected")),
    }
}

/// `POST …/batches`.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BatchRequest<'a> {
    #[serde(borrow)]
    #[schema(value_type = Vec<types::BatchItem>, min_items = 1, max_items = 8190)]
    items: Vec<Item<'a>>,
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
}

/// Give many commands at once
///
/// Each is decided on its own, in their order, and has a verdict of its own, as its request would have had. What is
/// wrong by shape or forbidden in one item refuses the whole batch, and nothing is recorded. Takes no
/// Idempotency-Key: each item has an `id` or an `idempotency_key`.
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
    let (call, prepared) = prepare(call).await?;
    let state = &*call.state;
    let actor = call.principal.id;
    let commands = prepared.iter().map(|one| Command { id: one.id, actor, body: one.body.clone() }).collect();
    let answers = submit_all(&state.admission, &*state.sink, actor, commands, state.verdict_timeout).await?;
    let results = answers.into_iter().zip(&prepared).enumerate();
    let results = results.map(|(at, (answer, prepared))| {
        ItemAnswer(told(answer, prepared, &call.principal).map_err(|problem| problem.within(&item(at))))
    });
    json(StatusCode::OK, &BatchAnswer { results: results.collect() })
}

/// Makes the commands, on a thread that may take its time if the body is long.
async fn prepare(call: Call) -> Result<(Call, Vec<Prepared>), Problem> {
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

fn prepare_items(call: &Call) -> Result<Vec<Prepared>, Problem> {
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
    request.items.into_iter().enumerate().map(one).collect()
}

/// The pointer of an item.
fn item(at: usize) -> String {
    format!("#/items/{at}")
}
