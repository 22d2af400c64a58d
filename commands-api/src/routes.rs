//! Routes: each is a handler with the description that stands beside it (`#[utoipa::path]`). Path and method are read from
//! that description, and the OpenAPI document is made of the same list as the router, so neither can have a route that the
//! other lacks.

use std::sync::{Arc, LazyLock};

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use event_schemas::bounds::BODY_MAX_BYTES;
use utoipa::__dev::{SchemaReferences, Tags};
use utoipa::Path;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::schema::Schema;

use crate::call::{Call, Entrance, Outcome, serve, serve_callback, serve_open};
use crate::observe::RouteMetrics;
use crate::sensitive::name_of;
use crate::state::ApiState;

/// The routes of these handlers, each written `module::handler`. Where the default bound of a body does not fit, the most
/// bytes it may have stand behind `=>`. Queries behind `of nobody:` show nothing that is anybody's, so nobody notes who asked.
macro_rules! routes {
    (of nobody: $($module:ident :: $handler:ident),* $(,)?) => {
        ::pastey::paste! {
            vec![$($crate::routes::Route::of::<$module::[<__path_ $handler>], _, _>(
                $module::$handler,
                $crate::routes::body_max(&[]),
                false,
            )),*]
        }
    };
    ($($module:ident :: $handler:ident $(=> $body_max:expr)?),* $(,)?) => {
        ::pastey::paste! {
            vec![$($crate::routes::Route::of::<$module::[<__path_ $handler>], _, _>(
                $module::$handler,
                $crate::routes::body_max(&[$($body_max)?]),
                true,
            )),*]
        }
    };
}
pub(crate) use routes;

/// The bound that a route names, or the default.
pub(crate) fn body_max(named: &[usize]) -> usize {
    named.first().copied().unwrap_or(BODY_MAX_BYTES)
}

/// A route and its description.
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) method: &'static str,
    /// Makes its description, which only the document needs.
    pub(crate) operation: fn() -> Operation,
    /// Adds the schemas that the description refers to, by name.
    pub(crate) schemas: fn(&mut Vec<(String, RefOr<Schema>)>),
    /// Whether it needs a key.
    pub(crate) authenticated: bool,
    pub(crate) methods: MethodRouter<ApiState>,
}

impl Route {
    /// A route that needs a key, whose bodies have at most so many bytes. Whether what it answers is somebody's matters for
    /// queries alone.
    pub(crate) fn of<P, H, F>(handler: H, body_max: usize, is_sensitive: bool) -> Self
    where
        P: Path + SchemaReferences + for<'t> Tags<'t>,
        H: Fn(Call) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        Self::described::<P>(true, |filter, metrics| {
            let is_sensitive = is_sensitive && filter == MethodFilter::GET;
            let operation = LazyLock::new(name_of::<P> as fn() -> Box<str>);
            let entrance = Arc::new(Entrance { metrics, body_max, operation, is_sensitive });
            on(filter, move |State(state): State<ApiState>, request: Request| {
                let (entrance, handler) = (Arc::clone(&entrance), handler.clone());
                async move { serve(state, &entrance, request, handler).await }
            })
        })
    }

    /// A route that needs no key and answers everybody the same.
    pub(crate) fn open<P: Path + SchemaReferences + for<'t> Tags<'t>>(answer: fn() -> Response) -> Self {
        Self::described::<P>(false, |filter, metrics| {
            let metrics = Arc::new(metrics);
            on(filter, move |State(state): State<ApiState>, request: Request| {
                let metrics = Arc::clone(&metrics);
                async move { serve_open(&state, &metrics, &request, answer) }
            })
        })
    }

    /// The route of what providers say later: it needs no key but a signature.
    pub(crate) fn callback<P: Path + SchemaReferences + for<'t> Tags<'t>>() -> Self {
        Self::described::<P>(false, |filter, metrics| {
            let metrics = Arc::new(metrics);
            on(filter, move |State(state): State<ApiState>, request: Request| {
                let metrics = Arc::clone(&metrics);
                async move { serve_callback(state, &metrics, request).await }
            })
        })
    }

    fn described<P: Path + SchemaReferences + for<'t> Tags<'t>>(
        authenticated: bool,
        methods: impl FnOnce(MethodFilter, RouteMetrics) -> MethodRouter<ApiState>,
    ) -> Self {
        let path = P::path();
        let (method, filter) = match P::methods().as_slice() {
            [HttpMethod::Get] => ("GET", MethodFilter::GET),
            [HttpMethod::Post] => ("POST", MethodFilter::POST),
            [HttpMethod::Put] => ("PUT", MethodFilter::PUT),
            _ => unreachable!("{path}: a route has one method: get, post or put"),
        };
        let methods = methods(filter, RouteMetrics::new(path.clone(), method));
        let operation = || {
            let mut operation = P::operation();
            operation.tags = Some(P::tags().into_iter().map(str::to_owned).collect());
            operation
        };
        Self { path, method, operation, schemas: P::schemas, authenticated, methods }
    }
}
