//! Requests: the HTTP API over the engine and the read models.
//!
//! A request is authenticated, read into a closed DTO, checked for shape, permitted, let in by its principal's budget, and
//! given to the engine; the answer is the recorded verdict. A query waits for the sequence it asks for, reads rows from one
//! snapshot, and says which sequence they reflect.
//!
//! *Architecture Invariant*: nothing here decides anything about money. What this crate refuses, it refuses by shape, key
//! or budget; what the book refuses is on record.
//!
//! *Architecture Invariant*: nothing with a sequence leaves here but from the engine's durable answers and from the
//! checkpoint of a read model.

mod accounts;
mod admission;
mod amounts;
mod asking;
mod auth;
mod batches;
mod body;
mod book;
mod call;
mod cash;
mod commands;
mod cursor;
mod dto;
mod entries;
mod holds;
mod idempotency;
pub mod keys;
mod observe;
mod policy;
pub mod problem;
mod reading;
mod rejected;
mod request_id;
mod reversals;
mod state;
mod statement;
mod text;
mod transfers;
mod verdict;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::routing::MethodRouter;
use event_schemas::bounds::{BATCH_BODY_MAX_BYTES, BODY_MAX_BYTES};

pub use admission::Budgets;
pub use keys::{ApiSecret, KeyFault, KeyFile, KeyRecord, KeyRing, NewKey, Scope};
pub use state::{ApiParts, ApiState};

use call::{Call, Outcome, route, unmatched};
use observe::RouteMetrics;
use problem::Code;

const BOOK: &str = "/v1/books/{book}";
const ACCOUNTS: &str = "/v1/books/{book}/accounts";
const ACCOUNT: &str = "/v1/books/{book}/accounts/{account}";
const BALANCE: &str = "/v1/books/{book}/accounts/{account}/balance";
const STATEMENT: &str = "/v1/books/{book}/accounts/{account}/statement";
const ACCOUNT_HOLDS: &str = "/v1/books/{book}/accounts/{account}/holds";
const FREEZE: &str = "/v1/books/{book}/accounts/{account}/freeze";
const UNFREEZE: &str = "/v1/books/{book}/accounts/{account}/unfreeze";
const CLOSE: &str = "/v1/books/{book}/accounts/{account}/close";
const TOP_UPS: &str = "/v1/books/{book}/top-ups";
const WITHDRAWALS: &str = "/v1/books/{book}/withdrawals";
const TRANSFERS: &str = "/v1/books/{book}/transfers";
const REVERSE: &str = "/v1/books/{book}/entries/{command}/reverse";
const HOLDS: &str = "/v1/books/{book}/holds";
const HOLD: &str = "/v1/books/{book}/holds/{hold}";
const CAPTURE: &str = "/v1/books/{book}/holds/{hold}/capture";
const VOID: &str = "/v1/books/{book}/holds/{hold}/void";
const BATCHES: &str = "/v1/books/{book}/batches";
const ENTRIES: &str = "/v1/books/{book}/entries";
const TRIAL_BALANCE: &str = "/v1/books/{book}/trial-balance";
const COMMAND: &str = "/v1/books/{book}/commands/{command}";

/// The API's routes, all under `/v1`. Whoever serves them may merge operational routes (`/livez`, `/metrics`) that have no
/// fallback of their own. A metrics recorder must be installed before this is called.
pub fn router(state: ApiState) -> Router {
    observe::describe();
    let missing = Arc::new(RouteMetrics::new("unmatched", "any"));
    let refused = Arc::clone(&missing);
    let routes: Vec<(&'static str, MethodRouter<ApiState>)> = vec![
        with(BOOK, |path| get(path, book::get)),
        with(ACCOUNTS, |path| get(path, accounts::list).merge(post(path, accounts::open))),
        with(ACCOUNT, |path| get(path, accounts::get)),
        with(BALANCE, |path| get(path, accounts::balance)),
        with(STATEMENT, |path| get(path, statement::get)),
        with(FREEZE, |path| post(path, accounts::freeze)),
        with(UNFREEZE, |path| post(path, accounts::unfreeze)),
        with(CLOSE, |path| post(path, accounts::close)),
        with(TOP_UPS, |path| post(path, cash::top_up)),
        with(WITHDRAWALS, |path| post(path, cash::withdraw)),
        with(TRANSFERS, |path| post(path, transfers::post)),
        with(ACCOUNT_HOLDS, |path| get(path, holds::list)),
        with(HOLDS, |path| post(path, holds::place)),
        with(HOLD, |path| get(path, holds::get)),
        with(CAPTURE, |path| post(path, holds::capture)),
        with(VOID, |path| post(path, holds::void)),
        with(REVERSE, |path| post(path, reversals::post)),
        with(BATCHES, |path| route(&Method::POST, path, BATCH_BODY_MAX_BYTES, batches::post)),
        with(ENTRIES, |path| post(path, entries::post)),
        with(TRIAL_BALANCE, |path| get(path, book::trial_balance)),
        with(COMMAND, |path| get(path, commands::get)),
    ];
    routes
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .method_not_allowed_fallback(move |State(state): State<ApiState>, request: Request| {
            let metrics = Arc::clone(&refused);
            async move { unmatched(state, request, &metrics, Code::MethodNotAllowed).await }
        })
        .fallback(move |State(state): State<ApiState>, request: Request| {
            let metrics = Arc::clone(&missing);
            async move { unmatched(state, request, &metrics, Code::NotFound).await }
        })
        .with_state(state)
}

/// A path with its methods; the path is also the name by which its requests are counted.
fn with(
    path: &'static str,
    methods: impl FnOnce(&'static str) -> MethodRouter<ApiState>,
) -> (&'static str, MethodRouter<ApiState>) {
    (path, methods(path))
}

fn get<H, F>(path: &'static str, handler: H) -> MethodRouter<ApiState>
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    route(&Method::GET, path, BODY_MAX_BYTES, handler)
}

fn post<H, F>(path: &'static str, handler: H) -> MethodRouter<ApiState>
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Outcome> + Send + 'static,
{
    route(&Method::POST, path, BODY_MAX_BYTES, handler)
}
