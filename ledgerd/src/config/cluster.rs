//! Roles in processes of their own: how they find and know each other. The secret is in a file or in the environment, and is only
//! named here.

use std::net::SocketAddr;
use std::path::PathBuf;

use commands_api::grpc::ClusterSecret;
use serde::{Deserialize, Serialize};

use super::{Config, JournalUrl, KeepReadModels};
use crate::roles::Role;
use stores::place::JournalPlace;

/// The variable that may hold the secret itself.
pub const ENV_SECRET: &str = "DOPPIA_CLUSTER_SECRET";

/// How the roles of a cluster find and know each other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// Of a gateway: where the writer and those that stand by are, such as `http://writer-1:7071,http://writer-2:7071`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub writers: String,
    /// Of a writer: the address on which it takes gateways in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_listen: Option<SocketAddr>,
    /// A file with the secret, of 32 bytes at least, that all processes of the cluster have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
}

/// The database of read models and keys where the journal is in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `postgres://user@host:5432/database`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<JournalUrl>,
}

impl ClusterConfig {
    /// The addresses of the writers.
    pub fn writers(&self) -> Vec<String> {
        self.writers.split(',').map(str::trim).filter(|address| !address.is_empty()).map(str::to_owned).collect()
    }

    /// The secret, from its file or from the environment.
    pub fn secret(&self) -> anyhow::Result<ClusterSecret> {
        use anyhow::Context as _;
        let text = match &self.secret_file {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("the cluster's secret {}", file.display()))?
            }
            None => std::env::var(ENV_SECRET).map_err(|_| {
                anyhow::anyhow!(
                    "the roles of a cluster need a secret that all of them have: name a file of 32 bytes or more with \
                     --cluster-secret-file (`openssl rand -hex 32` makes one), or set {ENV_SECRET}"
                )
            })?,
        };
        Ok(ClusterSecret::new(&text)?)
    }
}

impl Config {
    /// The database of read models and keys: that of the journal, or one of its own beside a journal in Kafka.
    pub fn database(&self) -> Option<stores::postgres::PostgresUrl> {
        let url = match self.journal.url.as_ref()?.parse().ok()? {
            JournalPlace::Postgres(url) => return Some(url),
            JournalPlace::Kafka(_) => self.database.url.as_ref()?.parse().ok()?,
        };
        match url {
            JournalPlace::Postgres(url) => Some(url),
            JournalPlace::Kafka(_) => None,
        }
    }

    /// Whether this process has a part of the roles only, or takes gateways in.
    pub fn is_split(&self) -> bool {
        !self.roles.is_whole() || self.cluster.grpc_listen.is_some()
    }

    /// What can't work together: the key, and why.
    pub(super) fn check_cluster(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, reason: &str| Err((key, reason.to_owned()));
        let (roles, place) = (&self.roles, self.journal.url.as_ref().and_then(|url| url.parse().ok()));
        if let Some(url) = &self.database.url {
            match url.parse() {
                Ok(JournalPlace::Postgres(_)) => {}
                Ok(JournalPlace::Kafka(_)) => {
                    return wrong("database.url", "read models and keys are kept in PostgreSQL");
                }
                Err(error) => return Err(("database.url", error.to_string())),
            }
            if !matches!(place, Some(JournalPlace::Kafka(_))) {
                return wrong(
                    "database.url",
                    "it goes with a journal in Kafka; otherwise read models and keys are where the journal is",
                );
            }
        }
        if !self.is_split() {
            if !self.cluster.writers.is_empty() {
                return wrong(
                    "cluster.writers",
                    "this process is the writer: --roles api makes it a gateway to others",
                );
            }
            return Ok(());
        }
        if place.is_none() {
            return wrong(
                "roles",
                "roles in processes of their own need a journal on servers: name it with --journal postgres://… or kafka://…",
            );
        }
        if self.database().is_none() {
            return wrong(
                "database.url",
                "roles in processes of their own keep read models and keys in PostgreSQL: name it with --database postgres://…",
            );
        }
        let reads = roles.has(Role::Api) || roles.has(Role::Projector);
        if reads && self.read_models == KeepReadModels::On {
            return wrong(
                "read_models",
                "roles in processes of their own keep read models in PostgreSQL, since RocksDB is one process's: pass \
                 --read-models postgres",
            );
        }
        if roles.has(Role::Projector) && self.read_models == KeepReadModels::Off {
            return wrong("read_models", "off, and the projector keeps them: leave out the one or the other");
        }
        let writers = self.cluster.writers();
        if roles.has(Role::Writer) {
            if !writers.is_empty() {
                return wrong("cluster.writers", "this process is the writer: only a gateway is told where others are");
            }
            if self.cluster.grpc_listen.is_none() && !roles.has(Role::Api) {
                return wrong(
                    "cluster.grpc_listen",
                    "a writer without api takes gateways in: name an address with --grpc-listen",
                );
            }
        } else {
            if self.cluster.grpc_listen.is_some() {
                return wrong("cluster.grpc_listen", "only a writer takes gateways in");
            }
            if self.journal.standby {
                return wrong("journal.standby", "only a writer can stand by");
            }
            if roles.has(Role::Api) && writers.is_empty() {
                return wrong(
                    "cluster.writers",
                    "api without writer is a gateway: name the writers with --writers http://host:port,…",
                );
            }
            if !roles.has(Role::Api) && !writers.is_empty() {
                return wrong("cluster.writers", "only a gateway (api) goes to writers");
            }
        }
        for address in &writers {
            let host = address.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
            let fine = host.and_then(|host| host.rsplit_once(':')).is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains(['/', '@', '?']) && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            if !fine {
                return Err((
                    "cluster.writers",
                    format!("{address:?} is no address of a writer: write http://host:port"),
                ));
            }
        }
        if roles.has(Role::Relay) && !roles.is_whole() {
            if self.kafka.brokers.is_none() {
                return wrong("kafka.brokers", "the relay publishes to Kafka: name its brokers with --kafka");
            }
            if !self.relay.enabled {
                return wrong("relay.enabled", "off, and the role relay publishes: leave out the one or the other");
            }
        }
        Ok(())
    }
}
