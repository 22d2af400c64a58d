//! One request from head to answer: who asks, for which book, with what body; then the resource's own function; then the
//! headers and the metrics. Every route goes through here, so this is the only place that could forget any of it.
//!
//! There are no middleware layers: at tens of thousands of requests a second each boxed layer is felt.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, FromRequest as _, FromRequestParts as _, Query, RawPathParams, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;

use crate::asking::{Asking, KeyIn};
use crate::auth::authenticate;
use crate::keys::Principal;
use crate::observe::RouteMetrics;
use crate::policy::{Action, permit};
use crate::problem::{Code, Problem};
use crate::request_id::REQUEST_ID;
use crate::sensitive::{OperationName, Read};
use crate::state::{ApiState, Shared};

/// What a resource answers.
pub(crate) type Outcome = Result<Response, Problem>;

/// An authenticated request for this book, with its whole body.
pub(crate) struct Call {
    pub(crate) state: Arc<Shared>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether a command is to be decided without being recorded.
    pub(crate) dry_run: bool,
    params: RawPathParams,
    uri: Uri,
}

impl Call {
    /// A parameter of the path, percent-decoded.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    /// The query string.
    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match Query::try_from_uri(&self.uri) {
            Ok(Query(query)) => Ok(query),
            Err(rejection) => {
                let text = rejection.body_text();
                let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
                Err(Problem::detailed(Code::QueryInvalid, reason.chars().take(200).collect::<String>()))
            }
        }
    }

    /// Whether the principal may do this. `Some` is the customer to whom the rest must belong.
    pub(crate) fn permit(&self, action: Action) -> Result<Option<&str>, Problem> {
        permit(&self.principal, action)
    }

    /// What it takes to make a command of the body.
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking { state: &self.state, principal: &self.principal, key: KeyIn::Header(&self.headers) }
    }
}

/// An answer to what is no route: `not_found` or `method_not_allowed`.
pub(crate) async fn unmatched(state: ApiState, request: Request, metrics: &RouteMetrics, code: Code) -> Response {
    let started = Instant::now();
    let id = state.0.request_ids.of(request.headers());
    let response = finish(Err(Problem::new(code)), id);
    metrics.record(response.status(), started.elapsed());
    response
}

/// An answer to a route that needs no key.
pub(crate) fn serve_open(
    state: &ApiState,
    metrics: &RouteMetrics,
    request: &Request,
    answer: fn() -> Response,
) -> Response {
    let started = Instant::now();
    let id = state.0.request_ids.of(request.headers());
    let response = finish(Ok(answer()), id);
    metrics.record(response.status(), started.elapsed());
    response
}

/// The most bytes of what a provider says.
const CALLBACK_MAX_BYTES: usize = 64 * 1024;

/// An answer to what a provider says.
pub(crate) async fn serve_callback(state: ApiState, metrics: &RouteMetrics, request: Request) -> Response {
    let started = Instant::now();
    let id = state.0.request_ids.of(request.headers());
    let outcome = async {
        let (mut parts, body) = request.into_parts();
        let params = RawPathParams::from_request_parts(&mut parts, &())
            .await
            .map_err(|_| Problem::detailed(Code::NotFound, "the path is not UTF-8"))?;
        let provider = params.iter().find(|(key, _)| *key == "provider").map_or("", |(_, value)| value).to_owned();
        let body = read_body(&state.0, &parts.headers, body, CALLBACK_MAX_BYTES).await?;
        crate::providers::callback(Arc::clone(&state.0), provider, parts.headers, &body).await
    };
    let response = finish(outcome.await, id);
    metrics.record(response.status(), started.elapsed());
    response
}

/// What a route with a key knows of itself.
pub(crate) struct Entrance {
    pub(crate) metrics: RouteMetrics,
    /// The most bytes of a body.
    pub(crate) body_max: usize,
    /// Its name in the document.
    pub(crate) operation: OperationName,
    /// Whether what it shows is somebody's, and goes on the access log. Dry runs do in any case.
    pub(crate) is_sensitive: bool,
}

/// An answer to a route that needs a key.
pub(crate) async fn serve<H, F>(state: ApiState, entrance: &Entrance, request: Request, handler: H) -> Response
where
    H: Fn(Call) -> F,
    F: Future<Output = Outcome>,
{
    let started = Instant::now();
    let id = state.0.request_ids.of(request.headers());
    let metrics = &entrance.metrics;
    let span = tracing::debug_span!("request", route = metrics.route(), request_id = id.to_str().unwrap_or_default());
    let long_body = has_long_body(request.headers());
    let mut unread = false;
    let work = async {
        let call = admit(state.0, request, entrance.body_max).await.inspect_err(|_| unread = long_body)?;
        let is_sensitive = entrance.is_sensitive || call.dry_run;
        let read = is_sensitive.then(|| Read::of(&call, &entrance.operation, &id)).flatten();
        let outcome = handler(call).await;
        match read {
            Some(read) => read.recorded(outcome),
            None => outcome,
        }
    };
    let outcome = work.instrument(span).await;
    let mut response = finish(outcome, id);
    if unread {
        // What was not read of the body ends the connection. The client is told, lest it send the next request into it.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    metrics.record(response.status(), started.elapsed());
    response
}

/// Everything that comes before the resource's own function.
async fn admit(state: Arc<Shared>, request: Request, body_max: usize) -> Result<Call, Problem> {
    let principal = authenticate(request.headers(), &state.keys)?;
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| Problem::detailed(Code::NotFound, "the path is not UTF-8"))?;
    let book = params.iter().find(|(key, _)| *key == "book").map_or("", |(_, value)| value);
    // A book of another tenant is not there, and neither is one that another server keeps. A book has one URL, without a sign
    // or zeros before its number.
    if book.parse() != Ok(state.book) || book.starts_with(['0', '+']) || *principal.tenant != *state.tenant {
        return Err(Problem::new(Code::BookNotFound));
    }
    let (dry_run, body) = if parts.method == Method::POST {
        (is_dry_run(&parts.uri)?, read_body(&state, &parts.headers, body, body_max).await?)
    } else {
        (false, Bytes::new())
    };
    Ok(Call { state, principal, headers: parts.headers, body, dry_run, params, uri: parts.uri })
}

/// The query string of a command.
fn is_dry_run(uri: &Uri) -> Result<bool, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct CommandQuery {
        dry_run: Option<bool>,
    }
    if uri.query().is_none_or(str::is_empty) {
        return Ok(false);
    }
    match Query::<CommandQuery>::try_from_uri(uri) {
        Ok(Query(query)) => Ok(query.dry_run.unwrap_or(false)),
        Err(_) => Err(Problem::detailed(
            Code::QueryInvalid,
            "a command takes no query string but dry_run=true or dry_run=false",
        )),
    }
}

/// Whether a body may be longer than what a server reads on its own to keep a connection.
fn has_long_body(headers: &HeaderMap) -> bool {
    const SHORT_BYTES: usize = 8 * 1024;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    declared.is_some_and(|length| length > SHORT_BYTES) || headers.contains_key(header::TRANSFER_ENCODING)
}

async fn read_body(state: &Shared, headers: &HeaderMap, body: Body, body_max: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::detailed(Code::BodyTooLarge, format!("a body has at most {body_max} bytes"));
    if let Some(kind) = headers.get(header::CONTENT_TYPE)
        && !is_json(kind)
    {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    let declared: Option<usize> =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|text| text.parse().ok());
    if declared.is_some_and(|length| length > body_max) {
        return Err(too_large());
    }
    let mut request = Request::new(body);
    DefaultBodyLimit::max(body_max).apply(&mut request);
    match tokio::time::timeout(state.body_timeout, Bytes::from_request(request, &())).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::BodyUnreadable)),
        Err(_) => Err(Problem::new(Code::RequestTimeout)),
    }
}

/// `application/json`, with or without parameters.
fn is_json(kind: &HeaderValue) -> bool {
    kind.to_str()
        .ok()
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn finish(outcome: Outcome, request_id: HeaderValue) -> Response {
    let mut response = outcome.unwrap_or_else(Problem::into_response);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Outcome {
    let bytes = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        Problem::new(Code::Internal)
    })?;
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
