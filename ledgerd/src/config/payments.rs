//! Bill payments: how providers are reached. Secrets stand in files of their own that are only named here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Bill payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaymentsConfig {
    /// Whether this server takes payments and carries them on.
    pub enabled: bool,
    /// Whether payments to providers without a connector are settled by the sandbox's rule. For development.
    pub sandbox: bool,
    /// How many payments have a step under way at a time.
    pub concurrency: usize,
    /// How often a step may fail before the payment is parked.
    pub attempts: u32,
    /// How providers are reached, by their ids.
    pub providers: BTreeMap<String, ProviderConfig>,
}

/// How a provider is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Its base URL, of HTTP. Without one, the sandbox's rule decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The file of the secret that it shares, of 16 bytes or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for PaymentsConfig {
    fn default() -> Self {
        Self { enabled: true, sandbox: false, concurrency: 512, attempts: 8, providers: BTreeMap::new() }
    }
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self { url: None, secret_file: None, timeout_ms: 10_000 }
    }
}

impl PaymentsConfig {
    /// What is wrong with it: the key and why.
    pub(super) fn check(&self) -> Result<(), (String, &'static str)> {
        if !(1..=10_000).contains(&self.concurrency) {
            return Err(("payments.concurrency".into(), "1 to 10000"));
        }
        if !(1..=1_000).contains(&self.attempts) {
            return Err(("payments.attempts".into(), "1 to 1000"));
        }
        for (id, provider) in &self.providers {
            if !ledger_core::control::providers::is_provider_id(id) {
                return Err((format!("payments.providers.{id}"), "a provider's id"));
            }
            if !(1..=120_000).contains(&provider.timeout_ms) {
                return Err((format!("payments.providers.{id}.timeout_ms"), "1 to 120000"));
            }
            if provider.url.is_some() != provider.secret_file.is_some() {
                return Err((format!("payments.providers.{id}"), "url and secret_file belong together"));
            }
        }
        Ok(())
    }
}
