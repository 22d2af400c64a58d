//! What queries have in common: waiting for a sequence, and reading from one snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_schemas::bounds::{MIN_SEQUENCE_WAIT_MAX_MS, PAGE_MAX_ROWS};
use event_schemas::sabotage::{Switch, on};
use event_schemas::{AccountId, Sequence};
use projections::balances;
use projections::ports::{ReadRows, Rows, RowsFault};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::call::Call;
use crate::openapi::types;
use crate::problem::{Code, Problem};
use crate::state::Shared;

const DEFAULT_TIMEOUT_MS: u64 = 5_000;
const DEFAULT_PAGE_ROWS: usize = 100;

/// The query string of a query without pages.
#[derive(Debug, Default, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FreshQuery {
    /// Answers once the read models have applied this sequence: that of an earlier answer, to read what was written.
    #[param(value_type = Option<types::Sequence>)]
    pub(crate) min_sequence: Option<u64>,
    /// How long to wait for `min_sequence`, in milliseconds; 5000 if not given.
    #[param(maximum = 30_000)]
    pub(crate) timeout_ms: Option<u64>,
}

/// The query string of a query with pages.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Answers once the read models have applied this sequence: that of an earlier answer, to read what was written.
    #[param(value_type = Option<types::Sequence>)]
    pub(crate) min_sequence: Option<u64>,
    /// How long to wait for `min_sequence`, in milliseconds; 5000 if not given.
    #[param(maximum = 30_000)]
    pub(crate) timeout_ms: Option<u64>,
    /// How many rows a page has at most; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins: the `next_cursor` of the page before.
    #[param(value_type = Option<types::Cursor>)]
    pub(crate) cursor: Option<String>,
}

impl PageQuery {
    pub(crate) const fn fresh(&self) -> FreshQuery {
        FreshQuery { min_sequence: self.min_sequence, timeout_ms: self.timeout_ms }
    }

    /// How many rows a page has at most.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        page_limit(self.limit)
    }
}

/// How many rows a page has at most, if the query asks for so many.
pub(crate) fn page_limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(DEFAULT_PAGE_ROWS),
        Some(limit) if (1..=PAGE_MAX_ROWS).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::detailed(Code::QueryInvalid, format!("limit must be 1 to {PAGE_MAX_ROWS}"))),
    }
}

/// Waits until the read models have applied `min_sequence`, if the query asks for one. A sequence that is not recorded yet is
/// refused.
pub(crate) async fn fresh(state: &Shared, query: FreshQuery) -> Result<(), Problem> {
    if state.rows.is_none() {
        return Err(Problem::new(Code::ReadModelsOff));
    }
    let timeout_ms = query.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
    if timeout_ms > MIN_SEQUENCE_WAIT_MAX_MS {
        let detail = format!("timeout_ms must be at most {MIN_SEQUENCE_WAIT_MAX_MS}");
        return Err(Problem::detailed(Code::QueryInvalid, detail));
    }
    let Some(wanted) = query.min_sequence.map(Sequence) else { return Ok(()) };
    // No answer ever had a sequence above the durable one, so there is nothing to wait for.
    let durable = durable_through(state, wanted).await;
    if wanted > durable {
        return Err(Problem::detailed(Code::SequenceInFuture, format!("the journal ends at {durable}")));
    }
    let mut progress = state.progress.clone();
    let reached = progress.wait_for(|&sequence| sequence >= wanted);
    if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(timeout_ms), reached).await {
        return Ok(());
    }
    // The read models have stopped, or they are behind: either way they are not there.
    let now = *state.progress.borrow();
    Err(Problem::detailed(Code::ReadModelBehind, format!("the read models are at sequence {now}")).with_retry_after(1))
}

/// The durable sequence, as far as it is known here. Where the engine is in another process, a sequence that another gateway told
/// may be new here: it is waited for as long as what is known here may be old.
pub(crate) async fn durable_through(state: &Shared, wanted: Sequence) -> Sequence {
    let known = || state.sink.status().durable.max(*state.progress.borrow());
    let until = Instant::now() + state.sink.status_age();
    while known() < wanted && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    known()
}

/// Reads some keys from one moment, on this thread: that takes microseconds.
pub(crate) fn read<T>(
    state: &Shared,
    mut query: impl FnMut(&dyn ReadRows) -> Result<T, RowsFault>,
) -> Result<T, Problem> {
    let rows = state.rows.as_ref().ok_or_else(|| Problem::new(Code::ReadModelsOff))?;
    let mut found = None;
    rows.snapshot(&mut |rows| found = Some(query(rows))).map_err(|fault| failed(&fault))?;
    match found {
        Some(Ok(found)) => Ok(found),
        Some(Err(fault)) => Err(failed(&fault)),
        None => Err(Problem::new(Code::ReadModelFailed)),
    }
}

/// Reads ranges from one moment, on a thread that may wait for the disk.
pub(crate) async fn read_range<T: Send + 'static>(
    state: &Shared,
    query: impl FnMut(&dyn ReadRows) -> Result<T, RowsFault> + Send + 'static,
) -> Result<T, Problem> {
    read_range_of(state.rows.clone(), query).await
}

/// The same of these rows.
pub(crate) async fn read_range_of<T: Send + 'static>(
    rows: Option<Arc<dyn Rows>>,
    mut query: impl FnMut(&dyn ReadRows) -> Result<T, RowsFault> + Send + 'static,
) -> Result<T, Problem> {
    let rows = rows.ok_or_else(|| Problem::new(Code::ReadModelsOff))?;
    let task = tokio::task::spawn_blocking(move || {
        let mut found = None;
        let outcome = rows.snapshot(&mut |rows| found = Some(query(rows)));
        outcome.map(|()| found)
    });
    match task.await {
        Ok(Ok(Some(Ok(found)))) => Ok(found),
        Ok(Ok(Some(Err(fault))) | Err(fault)) => Err(failed(&fault)),
        Ok(Ok(None)) | Err(_) => Err(Problem::new(Code::ReadModelFailed)),
    }
}

fn failed(fault: &RowsFault) -> Problem {
    tracing::error!(%fault, "a query failed");
    Problem::new(Code::ReadModelFailed)
}

/// Refuses a customer an account that is not its own. Owners never change, so a read model that lags tells the truth or
/// does not know the account yet.
pub(crate) fn must_own(state: &Shared, customer: &str, account: AccountId) -> Result<(), Problem> {
    match read(state, |rows| balances::account(rows, account))? {
        None => Err(Problem::new(Code::AccountNotFound)),
        Some(found) if *found.owner == *customer || on(Switch::StrangerActs) => Ok(()),
        Some(_) => Err(Problem::detailed(Code::Forbidden, "the account belongs to somebody else")),
    }
}

/// The customer in the path. Keys of a customer are shown their own alone.
pub(crate) fn customer_of_path(call: &Call, own: Option<&str>) -> Result<Box<str>, Problem> {
    let customer = call.param("owner");
    match own {
        Some(own) if *own != *customer && !on(Switch::StrangerActs) => {
            Err(Problem::detailed(Code::Forbidden, "this is about somebody else"))
        }
        _ => Ok(customer.into()),
    }
}
