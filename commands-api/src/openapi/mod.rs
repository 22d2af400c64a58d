//! The OpenAPI 3.1 document: made of the routes that the router serves, the types that their handlers read and write, the
//! events' own schemas and the table of problem codes. What all operations have in common (the key, the request's id, the
//! problems) is added here, so that no handler can forget it.
//!
//! The document is committed as `openapi.json`; a test tells when the code and the file differ.
//!
//! `types.rs` the texts that requests and answers are made of · `params.rs` what stands in paths and headers · `batch.rs` items and results
//! of batches · `page.rs` the
//! document for people.

mod batch;
mod page;
pub(crate) mod params;
pub(crate) mod types;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::dry_run::{BatchDryRunAnswer, DryRunAnswer};
use crate::problem::{Code, Document as ProblemDocument};
use crate::routes::Route;

/// The tags, in the order in which they are shown.
const TAGS: &[(&str, &str)] = &[
    ("book", "The book as a whole: how far it is, whether it balances, what was decided."),
    ("accounts", "Accounts: opened, frozen, closed; their balances and statements."),
    ("money", "Money that enters, moves and leaves."),
    ("exchange", "Foreign exchange: rates, quotes, conversions, the house's positions."),
    ("holds", "Money set aside: placed, captured, let go."),
    ("payments", "Bills: the providers, and payments from hold to receipt."),
    ("customers", "Customers: what they may still let go, and what they are told."),
    ("settings", "What holds for the whole book: fees, calendar, closed periods."),
    ("audit", "Who asked for what, when, and what the book said."),
    ("events", "The journal itself: what happened, in its order."),
    ("batches", "Many commands in one request."),
    ("api", "This description."),
];

const DESCRIPTION: &str = "An event-sourced double-entry ledger. A command is answered once it is durable, with a verdict \
that stands for ever; a retry with the same identity gets the same verdict. Amounts are decimal texts with the decimals of \
their currency. Every refusal is a problem document (RFC 9457) with a stable `code`. Queries take `min_sequence`, the \
`sequence` of an earlier answer, to read what was written.";

/// Which problems an operation can have beside what it names itself.
const OF_ALL: &[u16] = &[400, 401, 403, 404, 500, 503];
const OF_QUERIES: &[u16] = &[504];
const OF_COMMANDS: &[u16] = &[408, 409, 413, 415, 422, 429, 504, 507];

/// The document of these routes.
pub(crate) fn describe(routes: &[Route]) -> Value {
    let mut paths = BTreeMap::<&str, Map<String, Value>>::new();
    let mut schemas = Map::new();
    let plain = |value: Result<Value, serde_json::Error>| value.unwrap_or_default();
    let mut listed = types::all();
    for route in routes {
        (route.schemas)(&mut listed);
    }
    list::<ProblemDocument>(&mut listed);
    list::<DryRunAnswer>(&mut listed);
    list::<BatchDryRunAnswer>(&mut listed);
    for (name, schema) in listed {
        schemas.insert(name, plain(serde_json::to_value(schema)));
    }
    // These describe themselves; what stands in for them gives way.
    schemas.extend(types::of_recorded_events());
    schemas.extend(batch::schemas());
    schemas.insert("VerdictEvent".into(), verdict_event());
    for route in routes {
        let operation = operation(route, plain(serde_json::to_value((route.operation)())));
        paths.entry(&route.path).or_default().insert(route.method.to_ascii_lowercase(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Doppia",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": TAGS.iter().map(|(name, description)| json!({ "name": name, "description": description }))
            .collect::<Vec<_>>(),
        "security": [{ "key": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problems(),
            "parameters": { "RequestId": request_id(), "DryRun": dry_run() },
            "headers": headers(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `dop_` and 43 characters. What it may do follows from its scopes (read, \
                                    write, admin) and from whether it is confined to a customer.",
                },
            },
        },
    })
}

/// The event of a verdict. A customer is not shown what somebody else's account is short of.
fn verdict_event() -> Value {
    json!({
        "description": "The event as it is recorded; for a key of a customer, a rejection may have its code alone.",
        "anyOf": [
            { "$ref": "#/components/schemas/RecordedEvent" },
            {
                "type": "object",
                "properties": {
                    "book": { "$ref": "#/components/schemas/BookId" },
                    "sequence": { "$ref": "#/components/schemas/Sequence" },
                    "recorded_at": { "$ref": "#/components/schemas/Timestamp" },
                    "epoch": { "$ref": "#/components/schemas/Epoch" },
                    "cause": { "$ref": "#/components/schemas/Cause" },
                    "type": { "const": "ledger.command.rejected.v1" },
                    "data": {
                        "type": "object",
                        "properties": {
                            "command": { "$ref": "#/components/schemas/CommandBody" },
                            "rejection": {
                                "type": "object",
                                "properties": { "code": { "$ref": "#/components/schemas/ProblemCode" } },
                                "required": ["code"],
                                "additionalProperties": false,
                            },
                        },
                        "required": ["command", "rejection"],
                        "additionalProperties": false,
                    },
                },
                "required": ["book", "sequence", "recorded_at", "epoch", "cause", "type", "data"],
                "additionalProperties": false,
            },
        ],
    })
}

/// Adds the schema of a type and those that it refers to, by name.
fn list<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// What every command answers when it is only asked about: a response of its own, or beside the one that its status has.
fn may_be_dry(responses: &mut Map<String, Value>) {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let media = responses.get_mut("200").and_then(|response| response.pointer_mut("/content/application~1json"));
    if let Some(media) = media.and_then(Value::as_object_mut) {
        let own = media.remove("schema").unwrap_or_default();
        media.insert("schema".into(), json!({ "anyOf": [own, reference(&BatchDryRunAnswer::name())] }));
        return;
    }
    let response = json!({
        "description": "With `dry_run=true`: what the command would get. Nothing is recorded.",
        "content": { "application/json": { "schema": reference(&DryRunAnswer::name()) } },
    });
    responses.insert("200".into(), response);
}

fn dry_run() -> Value {
    json!({
        "name": "dry_run",
        "in": "query",
        "description": "Whether to say what the command would get, and to record nothing. Shows balances and limits to keys \
                        with the scope read.",
        "schema": { "type": "boolean", "default": false },
    })
}

/// An operation with what all have in common.
fn operation(route: &Route, mut operation: Value) -> Value {
    let Some(members) = operation.as_object_mut() else { return operation };
    optional_body(members);
    let responses = members.entry("responses").or_insert_with(|| json!({}));
    let Some(responses) = responses.as_object_mut() else { return operation };
    let is_command = route.authenticated && route.method == "POST";
    // A provider can't be asked for a dry run.
    let may_be_dry_run = is_command && !route.path.contains("/payments");
    if may_be_dry_run {
        may_be_dry(responses);
    }
    let mut success = Map::new();
    success.insert("X-Request-Id".into(), json!({ "$ref": "#/components/headers/X-Request-Id" }));
    let own: Vec<u16> = responses.keys().filter_map(|status| status.parse().ok()).collect();
    for status in &own {
        let Some(response) = responses.get_mut(&status.to_string()).and_then(Value::as_object_mut) else { continue };
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        if let Some(headers) = headers.as_object_mut() {
            headers.extend(success.clone());
            if *status == 201 || *status == 202 {
                headers.insert(
                    "Idempotency-Replayed".into(),
                    json!({ "$ref": "#/components/headers/Idempotency-Replayed" }),
                );
            }
        }
    }
    if !route.authenticated {
        for status in own.iter().filter(|status| **status >= 400) {
            responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/Problem{status}") }));
        }
        members.insert("security".into(), json!([]));
        return operation;
    }
    let by_method = if route.method == "GET" { OF_QUERIES } else { OF_COMMANDS };
    let refused = own.iter().filter(|status| **status >= 400).chain(OF_ALL).chain(by_method);
    for status in refused {
        responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/Problem{status}") }));
    }
    if let Some(parameters) = members.entry("parameters").or_insert_with(|| json!([])).as_array_mut() {
        if may_be_dry_run {
            parameters.push(json!({ "$ref": "#/components/parameters/DryRun" }));
        }
        parameters.push(json!({ "$ref": "#/components/parameters/RequestId" }));
    }
    operation
}

/// A body that may be left out is one that is not required; `null` is not taken in its place.
fn optional_body(operation: &mut Map<String, Value>) {
    let contents = operation.get_mut("requestBody").and_then(|body| body.get_mut("content"));
    for media in contents.and_then(Value::as_object_mut).into_iter().flat_map(|contents| contents.values_mut()) {
        let Some(alternatives) = media.pointer("/schema/oneOf").and_then(Value::as_array) else { continue };
        let present = alternatives.iter().find(|schema| schema.get("$ref").is_some()).cloned();
        if let (Some(present), Some(members)) = (present, media.as_object_mut()) {
            members.insert("schema".into(), present);
        }
    }
}

/// A response for each status that a problem can have, with its codes.
fn problems() -> Map<String, Value> {
    let mut codes = BTreeMap::<u16, Vec<Code>>::new();
    for code in Code::ALL {
        codes.entry(code.status().as_u16()).or_default().push(*code);
    }
    let of_status = |(status, codes): (u16, Vec<Code>)| {
        let names: Vec<_> = codes.iter().map(|code| code.code()).collect();
        let lines = codes.iter().map(|code| format!("- `{}`: {}", code.code(), code.title()));
        let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } });
        for (name, statuses) in [
            ("WWW-Authenticate", &[401][..]),
            ("Retry-After", &[429, 503, 504]),
            ("Idempotency-Replayed", &[404, 409, 422]),
        ] {
            if statuses.contains(&status)
                && let Some(headers) = headers.as_object_mut()
            {
                headers.insert(name.into(), json!({ "$ref": format!("#/components/headers/{name}") }));
            }
        }
        let response = json!({
            "description": lines.collect::<Vec<_>>().join("\n"),
            "headers": headers,
            "content": {
                "application/problem+json": {
                    "schema": {
                        "allOf": [{ "$ref": "#/components/schemas/Problem" }],
                        "properties": { "status": { "const": status }, "code": { "enum": names } },
                    },
                },
            },
        });
        (format!("Problem{status}"), response)
    };
    codes.into_iter().map(of_status).collect()
}

fn request_id() -> Value {
    json!({
        "name": "X-Request-Id",
        "in": "header",
        "description": "Comes back in the answer and stands in the server's traces. Without one, or with one that is not 1 \
                        to 128 visible ASCII characters, the server makes one.",
        "schema": { "type": "string" },
    })
}

fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The id of the request.",
            "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": crate::request_id::MAX_BYTES },
        },
        "Idempotency-Replayed": {
            "description": "Stands on the verdict of an earlier request with the same identity and content.",
            "schema": { "type": "string", "const": "true" },
        },
        "Retry-After": {
            "description": "In how many seconds to try again, if that may help.",
            "schema": { "type": "integer", "minimum": 1 },
        },
        "WWW-Authenticate": {
            "description": "How to authenticate.",
            "required": true,
            "schema": { "type": "string", "const": "Bearer" },
        },
    })
}

/// The document, written once.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| describe(&crate::routes()));
static TEXT: LazyLock<Bytes> = LazyLock::new(|| serde_json::to_vec(&*DOCUMENT).unwrap_or_default().into());
static PAGE: LazyLock<Bytes> = LazyLock::new(|| page::html(&DOCUMENT).into());

/// The OpenAPI document of this API, as it is served at `/v1/openapi.json`.
pub fn openapi() -> &'static Value {
    &DOCUMENT
}

fn answer(kind: &'static str, bytes: &Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes.clone()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// This document
///
/// OpenAPI 3.1, made of the code that serves it.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "api",
    operation_id = "get_openapi",
    responses((status = 200, description = "The document.", body = serde_json::Value))
)]
pub(crate) fn document() -> Response {
    answer("application/json", &TEXT)
}

/// This document for people
///
/// One page without scripts.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "api",
    operation_id = "get_docs",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"))
)]
pub(crate) fn page() -> Response {
    let mut response = answer("text/html; charset=utf-8", &PAGE);
    // Nothing is loaded and nothing runs: the page is text with a style of its own.
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    response
}
