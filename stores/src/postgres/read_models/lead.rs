//! Which of several processes keeps the read models of a book: the one whose session holds a lock of the database.
//!
//! It only spares the others their work. What keeps two of them apart is the checkpoint, which moves on only from where a process
//! left it.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::super::client::{Client, Trouble};
use super::PostgresRows;

const WITHIN: Duration = Duration::from_secs(5);

/// The lock, for as long as its session lives. The database lets it go when the process does.
pub struct Lead {
    client: Client,
    book: i64,
}

impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lead").field("book", &self.book).finish_non_exhaustive()
    }
}

impl PostgresRows {
    /// Takes the lead, if nobody has it. `Err` says why the database could not be asked.
    pub fn try_lead(&self) -> Result<Option<Lead>, String> {
        let mut lead = Lead { client: Client::new(self.0.url.clone()), book: self.0.number() };
        let book = lead.book;
        let taken = lead.client.run(WITHIN, async |connection: &mut PgConnection| {
            sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock(hashtext('doppia projector'), $1::int)")
                .bind(book)
                .fetch_one(connection)
                .await
        });
        match taken {
            Ok(true) => Ok(Some(lead)),
            Ok(false) => Ok(None),
            Err(trouble) => Err(self.told(trouble)),
        }
    }

    fn told(&self, trouble: Trouble) -> String {
        trouble.fault(&self.0.url).to_string()
    }
}

impl Lead {
    /// Whether it is still held: its session lives. A new session would not have it.
    pub fn holds(&mut self) -> bool {
        let book = self.book;
        self.client
            .run(WITHIN, async |connection: &mut PgConnection| {
                sqlx::query_scalar::<_, bool>(
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() \
                     AND objid = $1::int::oid)",
                )
                .bind(book)
                .fetch_one(connection)
                .await
            })
            .unwrap_or(false)
    }
}
