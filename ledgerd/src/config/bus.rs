//! Where events are published. What is secret (passwords, keys of TLS) stands in a file of its own that is only named here.

use std::path::PathBuf;

use connectors::kafka::{KafkaFault, KafkaSettings};
use serde::{Deserialize, Serialize};

/// A Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// Its brokers: `host:port`, more than one with commas between them. Without them nothing is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brokers: Option<String>,
    /// What stands before the name of every topic.
    pub prefix: String,
    /// A file of client properties, such as `security.protocol = SASL_SSL`: how to get in. It may hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties_file: Option<PathBuf>,
}

impl KafkaConfig {
    /// How to reach the cluster, if one is named; without the file of properties.
    pub fn cluster(&self) -> Result<Option<KafkaSettings>, KafkaFault> {
        let Some(brokers) = &self.brokers else { return Ok(None) };
        KafkaSettings::new(brokers)?.with_prefix(&self.prefix).map(Some)
    }

    /// The same, with the properties.
    pub fn settings(&self) -> Result<Option<KafkaSettings>, KafkaFault> {
        match (self.cluster()?, &self.properties_file) {
            (Some(cluster), Some(file)) => cluster.with_properties_file(file).map(Some),
            (cluster, _) => Ok(cluster),
        }
    }
}

/// The relay, which publishes the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelayConfig {
    /// Whether this server publishes, if a cluster is named.
    pub enabled: bool,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}
