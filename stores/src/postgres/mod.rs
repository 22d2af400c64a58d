//! The journal in PostgreSQL.
//!
//! ```text
//! lease    one row per book: epoch, head, hash of the head        who may write, and up to where it is written
//! blocks   one row per block: its canonical bytes                 the fact
//! events   one row per event, in the layout of postgres-es        for people, SQL and cqrs-es tools
//! ```
//!
//! **An append** is one statement and one round trip: it moves the head in `lease` under the writer's epoch and behind the head
//! that the writer knows, and only if that changed a row it inserts blocks and events. The commit is the flush. No row changed
//! means that another writer has taken over. (The primary key alone would be no fence: a writer that wakes up before its
//! successor's first append would take the next number.)
//!
//! **A lost answer** (the connection broke, the server was killed) leaves it open whether the commit took place. Nothing is
//! decided until it is known: the writer connects again, locks its row of `lease`, which waits for whatever its old connection
//! still does, and reads the head. Its own last block: durable. The head from before: the same bytes are sent again. Another
//! epoch: fenced. Anything else, or no connection for [`PostgresOptions::resolve_within`]: the writer stops.
//!
//! **Taking over** raises the epoch. It needs no word of the writer before, which finds out at its next append and can change
//! nothing. Time only decides when a standby tries: after the lease was not renewed for [`PostgresOptions::lease_ttl`].
//!
//! `client.rs` a connection with a runtime of its own · `lease.rs` taking, renewing and losing the lease · `journal.rs` the writer
//! · `reader.rs` readers and feeds · `rows.rs` what is sent of a group of blocks. The tables stand in `migrations/postgres/`.

mod audit;
mod client;
mod journal;
mod lease;
mod read_models;
mod reader;
mod rows;
mod server;

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use event_schemas::BookId;
use ledger_core::ports::{AppendError, JournalFault};
use sqlx::postgres::PgConnectOptions;

pub use audit::{LeaseRow, TableAudit};
pub use journal::PostgresJournal;
pub use read_models::{Lead, PostgresRows};
pub use reader::PostgresReader;
pub use server::{Migrated, migrate};

pub use crate::watch::LeaseWatch;

/// Where a PostgreSQL server is, and as whom to connect: `postgres://user@host:5432/database`. It never shows a password.
#[derive(Clone)]
pub struct PostgresUrl(Box<PgConnectOptions>);

impl PostgresUrl {
    /// Reads a URL. What it leaves out comes from the environment (`PGHOST`, `PGUSER`, `PGPASSWORD`, `PGPASSFILE`, …), as with
    /// PostgreSQL's own programs.
    pub fn parse(url: &str) -> Result<Self, PostgresFault> {
        // The error could quote the URL, and with it a password.
        let options = PgConnectOptions::from_str(url).map_err(|_| PostgresFault::Url)?;
        Ok(Self(Box::new(options.application_name("doppia"))))
    }

    /// For who makes connections.
    #[cfg(feature = "control")]
    pub(crate) const fn options(&self) -> &PgConnectOptions {
        &self.0
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.0.get_database().unwrap_or_default();
        write!(f, "postgres://{}@{}:{}/{database}", self.0.get_username(), self.0.get_host(), self.0.get_port())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a journal in PostgreSQL is opened.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The server and the database.
    pub url: PostgresUrl,
    /// The book.
    pub book: BookId,
    /// How this writer calls itself in `lease`: for people.
    pub holder: String,
    /// A lease that was not renewed for so long may be taken over.
    pub lease_ttl: Duration,
    /// Wait for the lease for as long as it takes, instead of refusing when another writer keeps it.
    pub standby: bool,
    /// How long to look for the outcome of an append whose answer was lost.
    pub resolve_within: Duration,
    /// Open even if the server answers before it has flushed. For development.
    pub allow_unsafe_server: bool,
}

impl PostgresOptions {
    /// The defaults: a lease of four seconds, no standby, a minute to find out what became of an append.
    pub fn new(url: PostgresUrl, book: BookId) -> Self {
        Self {
            url,
            book,
            holder: format!("process {}", std::process::id()),
            lease_ttl: Duration::from_secs(4),
            standby: false,
            resolve_within: Duration::from_mins(1),
            allow_unsafe_server: false,
        }
    }
}

/// Why a journal in PostgreSQL was not opened, or can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresFault {
    /// The URL can't be read.
    #[error("not a URL of a PostgreSQL server: write it as postgres://user@host:5432/database")]
    Url,
    /// The server can't be reached, or the connection broke.
    #[error("PostgreSQL at {server} can't be reached: {reason}")]
    Unreachable {
        /// Which server.
        server: String,
        /// What went wrong.
        reason: String,
    },
    /// The server refused what was asked: a wrong password, a database that is not there, a table that may not be read.
    #[error("PostgreSQL at {server} refuses: {reason} (SQLSTATE {code})")]
    Refused {
        /// Which server.
        server: String,
        /// PostgreSQL's own code.
        code: String,
        /// What it said.
        reason: String,
    },
    /// The server is older than what this was made for.
    #[error("PostgreSQL {found} is too old: {needed} or newer is needed")]
    ServerTooOld {
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: u32,
    },
    /// The server does not flush before it answers.
    #[error(
        "PostgreSQL has {setting} = {value}: what it acknowledges could be lost. Turn it on, or pass \
         --allow-unsafe-server to try things out"
    )]
    ServerUnsafe {
        /// The setting.
        setting: String,
        /// Its value.
        value: String,
    },
    /// The tables are not there, or of another version than this program's.
    #[error("{0}")]
    Schema(String),
    /// Another writer has the lease and keeps it.
    #[error(
        "book {book} is being written by {holder}, whose lease is alive (epoch {epoch}): stop it first, or start with \
         --standby to wait until it ends"
    )]
    Held {
        /// The book.
        book: BookId,
        /// Who.
        holder: String,
        /// Its epoch.
        epoch: i64,
    },
    /// What the tables hold is not a journal.
    #[error("the journal in PostgreSQL is damaged: {0}")]
    Damaged(String),
    /// A runtime or a thread could not be made.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl From<PostgresFault> for JournalFault {
    fn from(fault: PostgresFault) -> Self {
        if let PostgresFault::Damaged(reason) = fault { Self::Damaged(reason) } else { Self::Io(fault.to_string()) }
    }
}

impl From<PostgresFault> for AppendError {
    fn from(fault: PostgresFault) -> Self {
        Self::Unknown(fault.to_string())
    }
}

/// Checks the server and its tables, as a journal does when it is opened.
#[cfg(feature = "control")]
pub(crate) fn check(url: &PostgresUrl, allow_unsafe: bool) -> Result<(), PostgresFault> {
    server::check(&mut client::Client::new(url.clone()), allow_unsafe)
}

/// What an error of a connection means, as a fault of this server.
#[cfg(feature = "control")]
pub(crate) fn fault_of(error: &sqlx::Error, url: &PostgresUrl) -> PostgresFault {
    client::Trouble::of(error).fault(url)
}

/// A number of the journal as PostgreSQL has it.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_url_never_shows_its_password() {
        let url = PostgresUrl::parse("postgres://ada:s3cret@db.example:6543/ledger").unwrap();
        assert_eq!(url.to_string(), "postgres://ada@db.example:6543/ledger");
        assert_eq!(format!("{url:?}"), "postgres://ada@db.example:6543/ledger");
        let error = PostgresUrl::parse("postgres://ada:s3cret@db:port/ledger").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
