//! Requests: the HTTP API over the engine and the read models.
//!
//! A request is authenticated, read into a closed DTO, checked for shape, permitted, let in by its principal's budget, and
//! given to the engine; the answer is the recorded verdict. A query waits for the sequence it asks for, reads rows from one
//! snapshot, and says which sequence they reflect.
//!
//! *Architecture Invariant*: nothing here decides anything about money. What this crate refuses, it refuses by shape, key
//! or budget; what the book refuses is on record.
//!
//! *Architecture Invariant*: what is not everybody's is read on record: the access log knows of a read before its answer leaves.
//!
//! *Architecture Invariant*: nothing with a sequence leaves here but from the engine's durable answers and from the
//! checkpoint of a read model.

pub mod access;
mod accounts;
mod admission;
mod amounts;
mod asking;
mod audit;
mod auth;
mod batches;
pub mod bill_payments;
mod body;
mod book;
mod calendar;
mod call;
mod cash;
mod commands;
mod cursor;
mod dry_run;
mod dto;
mod entries;
mod events;
mod fee_rules;
mod fx;
pub mod grpc;
mod headroom;
mod holds;
mod idempotency;
pub mod keys;
mod limits;
mod notifications;
mod observe;
mod openapi;
mod payments;
mod periods;
mod policy;
mod preferences;
pub mod problem;
mod providers;
mod reading;
mod reads;
mod receipts;
mod rejected;
mod request_id;
mod reversals;
mod routes;
mod sensitive;
mod settings;
mod state;
mod statement;
mod text;
mod transfers;
mod verdict;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use event_schemas::bounds::BATCH_BODY_MAX_BYTES;

pub use admission::Budgets;
pub use fx::{QuoteKeys, QuoteKeysInvalid, Quotes};
pub use keys::{ApiSecret, KeyDirectory, KeyFault, KeyRecord, KeyRing, Scope};
pub use openapi::openapi;
pub use state::{ApiParts, ApiState, Feeds};

use call::unmatched;
use fx::{conversions, exposure, quotes, rates, sheets};
use observe::RouteMetrics;
use problem::Code;
use routes::{Route, routes};

/// The API's routes, all under `/v1`. Whoever serves them may merge operational routes (`/livez`, `/metrics`) that have no
/// fallback of their own. A metrics recorder must be installed before this is called.
pub fn router(state: ApiState) -> Router {
    observe::describe();
    let missing = Arc::new(RouteMetrics::new("unmatched", "any"));
    let refused = Arc::clone(&missing);
    routes()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(&route.path, route.methods))
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

/// Every route. Handlers are in the order in which the document shows them.
fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::open::<openapi::__path_document>(openapi::document),
        Route::open::<openapi::__path_page>(openapi::page),
        Route::callback::<providers::__path_callback>(),
    ];
    routes.extend(routes![
        of nobody:
        book::get,
        book::trial_balance,
        settings::fee_rules,
        settings::calendar,
        settings::period,
        rates::latest,
        rates::of_date,
        exposure::get,
        providers::list,
        providers::get,
    ]);
    routes.extend(routes![
        accounts::list,
        accounts::open,
        accounts::get,
        accounts::balance,
        accounts::freeze,
        accounts::unfreeze,
        accounts::close,
        statement::get,
        holds::list,
        holds::place,
        holds::get,
        holds::capture,
        holds::void,
        cash::top_up,
        cash::withdraw,
        transfers::post,
        transfers::up_to,
        entries::post,
        quotes::make,
        conversions::post,
        sheets::publish,
        reversals::post,
        payments::post,
        payments::get,
        payments::list,
        payments::cancel,
        payments::reverse,
        receipts::get,
        batches::post => BATCH_BODY_MAX_BYTES,
        headroom::get,
        notifications::list,
        commands::get,
        limits::set,
        calendar::publish,
        fee_rules::set,
        periods::close,
        preferences::set,
        audit::list,
        reads::list,
        events::list,
        events::stream,
    ]);
    routes
}
