//! A connection with a runtime of its own, so that whoever uses it stays synchronous.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::runtime::Runtime;

use super::{PostgresFault, PostgresUrl};

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A statement that did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server said no: the statement had no effect.
    Refused {
        /// Its code.
        code: String,
        /// Its words.
        reason: String,
    },
    /// The connection broke, could not be made, or took too long: whether the statement had an effect is not known.
    Lost(String),
}

impl Trouble {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = error {
            let code = database.code().unwrap_or_default().into_owned();
            let reason = database.message().to_owned();
            // Of these classes the server says that it ends, that it does not serve yet, or that the connection is gone.
            if !code.starts_with("57P") && !code.starts_with("08") {
                return Self::Refused { code, reason };
            }
            return Self::Lost(reason);
        }
        Self::Lost(error.to_string())
    }

    /// The same as a fault of this server.
    pub(super) fn fault(self, url: &PostgresUrl) -> PostgresFault {
        let server = url.to_string();
        match self {
            Self::Refused { code, reason } => PostgresFault::Refused { server, code, reason },
            Self::Lost(reason) => PostgresFault::Unreachable { server, reason },
        }
    }
}

/// A connection that is made when it is needed, and made again after it broke.
pub(super) struct Client {
    connection: Option<PgConnection>,
    /// Made with the first connection.
    runtime: Option<Runtime>,
    url: PostgresUrl,
}

impl Client {
    /// A client that is not connected yet.
    pub(super) const fn new(url: PostgresUrl) -> Self {
        Self { connection: None, runtime: None, url }
    }

    pub(super) const fn url(&self) -> &PostgresUrl {
        &self.url
    }

    /// Does some work on the connection, within a time. A connection that broke or took too long is dropped: the server ends
    /// what it was doing.
    pub(super) fn run<T>(
        &mut self,
        within: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Trouble> {
        let Self { connection, runtime, url } = self;
        let runtime = if let Some(runtime) = runtime {
            runtime
        } else {
            let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.insert(made.map_err(|error| Trouble::Lost(error.to_string()))?)
        };
        runtime.block_on(async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => match tokio::time::timeout(CONNECT_WITHIN, url.0.connect()).await {
                    Ok(open) => open.map_err(|error| Trouble::of(&error))?,
                    Err(_) => return Err(Trouble::Lost("connecting took too long".into())),
                },
            };
            match tokio::time::timeout(within, work(&mut open)).await {
                Ok(Ok(done)) => {
                    *connection = Some(open);
                    Ok(done)
                }
                Ok(Err(error)) => {
                    let trouble = Trouble::of(&error);
                    if matches!(trouble, Trouble::Refused { .. }) {
                        *connection = Some(open);
                    }
                    Err(trouble)
                }
                Err(_) => Err(Trouble::Lost(format!("no answer within {} ms", within.as_millis()))),
            }
        })
    }

    /// The same where trouble is a fault.
    pub(super) fn ask<T>(
        &mut self,
        within: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, PostgresFault> {
        self.run(within, work).map_err(|trouble| trouble.fault(&self.url))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let connection = self.connection.take();
        // Politely, so that the server's log has no line of it; but not for long, and not where waiting is not allowed.
        if let Some(connection) = connection
            && tokio::runtime::Handle::try_current().is_err()
        {
            let close = async { tokio::time::timeout(Duration::from_millis(500), connection.close()).await };
            let _ = runtime.block_on(close);
        }
        runtime.shutdown_background();
    }
}
