//! Where a journal is kept if not in the data folder, as people write it.

use std::fmt;

use crate::kafka::{KafkaFault, KafkaUrl};
use crate::postgres::{PostgresFault, PostgresUrl};

/// The URL of a journal: `postgres://…` or `kafka://…`. It never shows a password.
#[derive(Debug, Clone)]
pub enum JournalPlace {
    /// In PostgreSQL.
    Postgres(PostgresUrl),
    /// In Kafka.
    Kafka(KafkaUrl),
}

/// A URL that can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It is neither.
    #[error("not a URL of a journal: write it as postgres://user@host:5432/database or kafka://host:9092/prefix")]
    Unknown,
    /// It is one of PostgreSQL that can't be read.
    #[error(transparent)]
    Postgres(#[from] PostgresFault),
    /// It is one of Kafka that can't be read.
    #[error(transparent)]
    Kafka(#[from] KafkaFault),
}

impl JournalPlace {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, PlaceError> {
        let begins = |schemes: [&str; 2]| schemes.into_iter().any(|scheme| url.starts_with(scheme));
        if begins(["postgres://", "postgresql://"]) {
            return Ok(Self::Postgres(PostgresUrl::parse(url)?));
        }
        if begins(["kafka://", "kafka+ssl://"]) {
            return Ok(Self::Kafka(KafkaUrl::parse(url)?));
        }
        Err(PlaceError::Unknown)
    }
}

impl fmt::Display for JournalPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => url.fmt(f),
            Self::Kafka(url) => url.fmt(f),
        }
    }
}
