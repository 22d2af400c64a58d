//! What the API works with, handed over once when the router is built.

use std::sync::Arc;
use std::time::Duration;

use event_schemas::{BookId, Sequence};
use ledger_core::ports::CommandSink;
use projections::ports::{EventFeed, Rows};
use tokio::sync::watch;

use crate::access::AccessLog;
use crate::admission::{Admission, Budgets};
use crate::bill_payments::Payments;
use crate::events::Streams;
use crate::fx::Quotes;
use crate::keys::KeyRing;
use crate::request_id::RequestIds;

/// How long to wait for a verdict before saying that it is not known yet.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a reader of the journal's durable blocks; each call another one.
pub type Feeds = Arc<dyn Fn() -> Box<dyn EventFeed> + Send + Sync>;

/// The parts of the API's state.
pub struct ApiParts {
    /// The book this server keeps.
    pub book: BookId,
    /// The tenant it belongs to: for keys of other tenants it is not there.
    pub tenant: String,
    /// The engine.
    pub sink: Arc<dyn CommandSink>,
    /// The read models; `None` answers queries with `read_models_off`.
    pub rows: Option<Arc<dyn Rows>>,
    /// The sequence that every read model has applied, sent after its rows are committed.
    pub progress: watch::Receiver<Sequence>,
    /// Readers of the journal's durable blocks, for those who read events.
    pub feeds: Feeds,
    /// Whether the server is about to end: streams end then.
    pub draining: watch::Receiver<bool>,
    /// The keys.
    pub keys: KeyRing,
    /// What a principal may put on record.
    pub budgets: Budgets,
    /// Where it is put on record who looked at what; `None` for a server that keeps no such record.
    pub access: Option<Arc<dyn AccessLog>>,
    /// The read model of that record; `None` answers queries of it with `read_models_off`.
    pub access_rows: Option<Arc<dyn Rows>>,
    /// What it takes to make quotes; `None` answers requests for them with `quotes_off`.
    pub quotes: Option<Quotes>,
    /// Whoever keeps bill payments; `None` answers what is about them with `payments_off`.
    pub payments: Option<Arc<dyn Payments>>,
}

/// The state of the API. Cloning shares it.
#[derive(Clone)]
pub struct ApiState(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) book: BookId,
    pub(crate) tenant: String,
    pub(crate) sink: Arc<dyn CommandSink>,
    pub(crate) rows: Option<Arc<dyn Rows>>,
    pub(crate) progress: watch::Receiver<Sequence>,
    pub(crate) feeds: Feeds,
    pub(crate) streams: Arc<Streams>,
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) keys: KeyRing,
    pub(crate) admission: Arc<Admission>,
    pub(crate) access: Option<Arc<dyn AccessLog>>,
    pub(crate) access_rows: Option<Arc<dyn Rows>>,
    pub(crate) quotes: Option<Quotes>,
    pub(crate) payments: Option<Arc<dyn Payments>>,
    pub(crate) request_ids: RequestIds,
    pub(crate) verdict_timeout: Duration,
    pub(crate) body_timeout: Duration,
}

impl ApiState {
    /// A state of these parts.
    pub fn new(parts: ApiParts) -> Self {
        Self(Arc::new(Shared {
            book: parts.book,
            tenant: parts.tenant,
            sink: parts.sink,
            rows: parts.rows,
            progress: parts.progress,
            feeds: parts.feeds,
            streams: Arc::default(),
            draining: parts.draining,
            keys: parts.keys,
            admission: Arc::new(Admission::new(parts.budgets)),
            access: parts.access,
            access_rows: parts.access_rows,
            quotes: parts.quotes,
            payments: parts.payments,
            request_ids: RequestIds::new(),
            verdict_timeout: VERDICT_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
        }))
    }
}
