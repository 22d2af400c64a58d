//! The table `control_events`, through postgres-es; and its tail.
//!
//! Its column `position` is taken under a lock that is held until the commit (a trigger of the table, see the migration), so
//! positions are committed in their order, and a reader that has seen one never misses one below it.

use std::time::Duration;

use event_schemas::ControlFact;
use postgres_es::PostgresEventRepository;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use tokio::runtime::Handle;

use super::{ControlFault, ControlPosition, ControlRow, TAIL_MAX_ROWS};
use crate::postgres::{PostgresUrl, bigint, fault_of};

const EVENTS: &str = "control_events";

/// postgres-es wants a name; nothing ever asks for this table, and it is not there.
const SNAPSHOTS: &str = "control_snapshots";

const CONNECTIONS_MAX: u32 = 4;

/// How long a connection is waited for.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a look at the tail may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The table. Clones share the connections.
#[derive(Clone)]
pub(super) struct ControlTable {
    pool: PgPool,
    url: PostgresUrl,
}

impl ControlTable {
    /// It connects when it is first asked, on the runtime.
    pub(super) fn new(url: &PostgresUrl, runtime: &Handle) -> Self {
        let _entered = runtime.enter();
        let options = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(CONNECT_WITHIN);
        Self { pool: options.connect_lazy_with(url.options().clone()), url: url.clone() }
    }

    pub(super) fn repository(&self) -> PostgresEventRepository {
        PostgresEventRepository::new(self.pool.clone()).with_tables(EVENTS, SNAPSHOTS)
    }

    pub(super) async fn tail(&self, after: ControlPosition) -> Result<Vec<ControlRow>, ControlFault> {
        let asked = sqlx::query(
            "SELECT position, aggregate_id, sequence, payload::text AS payload FROM control_events \
             WHERE position > $1 ORDER BY position LIMIT $2",
        )
        .bind(bigint(after.0))
        .bind(bigint(TAIL_MAX_ROWS as u64))
        .fetch_all(&self.pool);
        let rows = match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(rows) => rows,
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        };
        let fault = |error| ControlFault::from(fault_of(&error, &self.url));
        rows.map_err(fault)?.iter().map(|row| fact_of(row, fault)).collect()
    }
}

fn fact_of(row: &PgRow, fault: impl Fn(sqlx::Error) -> ControlFault) -> Result<ControlRow, ControlFault> {
    let number = |column| row.try_get::<i64, _>(column).map(|number| u64::try_from(number).unwrap_or(0));
    let position = ControlPosition(number("position").map_err(&fault)?);
    let aggregate: String = row.try_get("aggregate_id").map_err(&fault)?;
    let version = number("sequence").map_err(&fault)?;
    let payload: String = row.try_get("payload").map_err(&fault)?;
    let fact: ControlFact = serde_json::from_str(&payload).map_err(|error| {
        ControlFault::Damaged(format!("the row of control_events at position {} can't be read: {error}", position.0))
    })?;
    Ok(ControlRow { position, aggregate: aggregate.into(), version, fact })
}
