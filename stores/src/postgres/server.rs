//! What must be so of a server before it keeps a journal: its version, its settings, the tables.

use std::time::Duration;

use futures_core::future::BoxFuture;
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migrate as _, Migration, MigrationSource, MigrationType, Migrator};
use sqlx::postgres::PgConnection;

use super::client::Client;
use super::{PostgresFault, PostgresUrl};

/// The tables, as steps from nothing: each with its number and what it is about. A released step never changes.
const STEPS: [(i64, &str, &str); 3] = [
    (1, "journal", include_str!("../../migrations/postgres/0001_journal.sql")),
    (2, "control", include_str!("../../migrations/postgres/0002_control.sql")),
    (3, "conversions", include_str!("../../migrations/postgres/0003_conversions.sql")),
];

/// The steps, for who runs them.
#[derive(Debug)]
struct Steps;

impl MigrationSource<'static> for Steps {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        let step = |(version, about, sql): (i64, &'static str, &'static str)| {
            Migration::new(version, about.into(), MigrationType::Simple, sql.into(), false)
        };
        Box::pin(std::future::ready(Ok(STEPS.into_iter().map(step).collect())))
    }
}

/// The oldest server that this is tested with, in major versions.
const OLDEST_SERVER: u32 = 13;

/// Without these a server acknowledges what it could still lose.
const MUST_BE_ON: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];

const WITHIN: Duration = Duration::from_secs(30);

/// What migrating did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; `None` where there were no tables.
    pub from: Option<i64>,
    /// The version now.
    pub to: i64,
}

/// Brings the tables of a database to the version of this program. Nothing is ever dropped.
pub fn migrate(url: &PostgresUrl) -> Result<Migrated, PostgresFault> {
    let mut client = Client::new(url.clone());
    check_version(&mut client)?;
    let from = applied(&mut client)?;
    if let Some(from) = from.filter(|from| *from > newest()) {
        return Err(newer(from));
    }
    let done = client.ask(Duration::from_mins(10), async |connection: &mut PgConnection| {
        Ok(match Migrator::new(Steps).await {
            Ok(migrator) => migrator.run(connection).await,
            Err(error) => Err(error),
        })
    })?;
    done.map_err(|error| PostgresFault::Schema(format!("the tables could not be made: {error}")))?;
    Ok(Migrated { from, to: newest() })
}

fn newest() -> i64 {
    STEPS.iter().map(|(version, ..)| *version).max().unwrap_or(0)
}

fn newer(found: i64) -> PostgresFault {
    let newest = newest();
    PostgresFault::Schema(format!(
        "the tables are of version {found}, this program knows version {newest}: use a newer release"
    ))
}

/// The version of the tables; `None` where there are none.
fn applied(client: &mut Client) -> Result<Option<i64>, PostgresFault> {
    let there: bool = client.ask(WITHIN, async |connection: &mut PgConnection| {
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(connection).await
    })?;
    if !there {
        return Ok(None);
    }
    let steps = client.ask(WITHIN, async |connection: &mut PgConnection| {
        Ok(match connection.dirty_version().await {
            Ok(None) => connection.list_applied_migrations().await.map_err(|error| error.to_string()),
            Ok(Some(dirty)) => Err(format!("step {dirty} was left half done")),
            Err(error) => Err(error.to_string()),
        })
    })?;
    let steps =
        steps.map_err(|error| PostgresFault::Schema(format!("the version of the tables can't be read: {error}")))?;
    Ok(steps.iter().map(|step| step.version).max())
}

/// Checks version, settings and tables.
pub(super) fn check(client: &mut Client, allow_unsafe: bool) -> Result<(), PostgresFault> {
    check_version(client)?;
    for setting in MUST_BE_ON {
        let value = setting_of(client, setting)?;
        if value == "off" {
            let (setting, value) = (setting.to_owned(), value);
            if !allow_unsafe {
                return Err(PostgresFault::ServerUnsafe { setting, value });
            }
            tracing::warn!(%setting, %value, "PostgreSQL may lose what it acknowledges: this is for development only");
        }
    }
    match applied(client)? {
        Some(version) if version == newest() => Ok(()),
        Some(version) if version > newest() => Err(newer(version)),
        Some(version) => Err(PostgresFault::Schema(format!(
            "the tables are of version {version}, this program needs version {}: run `ledgerd migrate`",
            newest()
        ))),
        None => Err(PostgresFault::Schema("the database has no tables of a ledger: run `ledgerd migrate`".into())),
    }
}

fn setting_of(client: &mut Client, setting: &str) -> Result<String, PostgresFault> {
    let setting = setting.to_owned();
    client.ask(WITHIN, async |connection: &mut PgConnection| {
        sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(connection).await
    })
}

pub(super) fn check_version(client: &mut Client) -> Result<(), PostgresFault> {
    let number: u32 = setting_of(client, "server_version_num")?.parse().unwrap_or(0);
    if number / 10_000 < OLDEST_SERVER {
        let found = setting_of(client, "server_version")?;
        return Err(PostgresFault::ServerTooOld { found, needed: OLDEST_SERVER });
    }
    Ok(())
}
