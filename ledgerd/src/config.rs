//! Configuration: defaults, then `doppia.toml`, then `DOPPIA_*` from the environment, then flags; each later one wins.
//! Nothing here changes what the book decides: fees, limits and calendars are facts of the book. Nothing here is secret:
//! keys lie in files of their own.

mod bus;
mod cluster;
mod payments;
mod rates;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use event_schemas::BookId;
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};
use stores::place::{JournalPlace, PlaceError};

pub use bus::{KafkaConfig, RelayConfig};
pub use cluster::{ClusterConfig, DatabaseConfig, ENV_SECRET};

use crate::roles::Roles;
pub use payments::{PaymentsConfig, ProviderConfig};
pub use rates::{MarginConfig, RatesConfig};

/// The file that is read if it is there and no other is named.
pub const DEFAULT_FILE: &str = "doppia.toml";

/// The first segment of an environment variable; two underscores stand for the point: `DOPPIA_HTTP__MAX_CONNECTIONS`.
const ENV_PREFIX: &str = "DOPPIA_";

/// The variable by which `replay-tool` is told of the witness; it means the same here.
const ENV_WITNESS: &str = "witness";

/// Variables with the prefix that are meant for other subcommands, or hold what is never printed.
const ENV_OF_CLIENTS: [&str; 4] = ["config", "url", "key_file", "cluster_secret"];

/// Whether read models are kept, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum KeepReadModels {
    /// In RocksDB in the data folder.
    On,
    /// Nowhere.
    Off,
    /// In PostgreSQL, as tables that SQL can ask: in the database of the journal, or in one of its own beside a journal in Kafka.
    Postgres,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The effective configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What this process does: some of `api,writer,projector,relay`.
    pub roles: Roles,
    /// The data folder.
    pub data: PathBuf,
    /// The address to listen on. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The tenant that the book belongs to.
    pub tenant: String,
    /// The number of the book.
    pub book: u32,
    /// Whether read models are kept, and where. Off: only commands, verdicts and the book's figures are answered.
    pub read_models: KeepReadModels,
    /// Logs.
    pub log: LogConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// HTTP.
    pub http: HttpConfig,
    /// What a principal may put on record.
    pub limits: LimitsConfig,
    /// Readiness.
    pub ready: ReadyConfig,
    /// The background check of what is kept.
    pub scrub: ScrubConfig,
    /// Where events are published.
    pub kafka: KafkaConfig,
    /// Whether this server publishes them.
    pub relay: RelayConfig,
    /// How roles in processes of their own find and know each other.
    pub cluster: ClusterConfig,
    /// The database of read models and keys beside a journal in Kafka.
    pub database: DatabaseConfig,
    /// Where rates come from.
    pub rates: RatesConfig,
    /// Bill payments.
    pub payments: PaymentsConfig,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Which lines: a level, or directives such as `info,commands_api=debug`.
    pub filter: String,
    /// How they look.
    pub format: LogFormat,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// Where the journal is kept: `postgres://user@host:5432/database` or `kafka://host:9092/prefix`. Without it, in the data
    /// folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<JournalUrl>,
    /// Wait until the book has no other writer, instead of refusing to start. Of a journal on servers.
    pub standby: bool,
    /// How long a writer must be silent before another may take over, in milliseconds. Of a journal on servers.
    pub lease_ms: u64,
    /// Go on although the servers may lose what they acknowledge. For development.
    pub allow_unsafe_server: bool,
    /// The witness file, on another disk. Without one, an older copy of the whole folder goes unseen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<PathBuf>,
    /// The length of a segment, in bytes; taken when the folder is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_bytes: Option<u64>,
}

/// The URL of a journal. It never shows a password, neither in the log nor in the printed configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct JournalUrl(String);

impl JournalUrl {
    /// The servers.
    pub fn parse(&self) -> Result<JournalPlace, PlaceError> {
        JournalPlace::parse(&self.0)
    }
}

impl std::fmt::Debug for JournalUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.parse() {
            Ok(url) => std::fmt::Display::fmt(&url, f),
            Err(_) => f.write_str("(not a URL)"),
        }
    }
}

impl Serialize for JournalUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

/// HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// The most connections; more wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take for the head of a request, in seconds.
    pub head_timeout_s: u64,
    /// How long a client may leave an answer unread before its connection is closed, in seconds.
    pub write_timeout_s: u64,
    /// How long requests under way may take to end when the server stops, in seconds.
    pub drain_timeout_s: u64,
}

/// Budgets, so that nobody fills the journal with refusals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// How many rejections a holder of a key may cause at once.
    pub rejections_burst: u32,
    /// How many come back per second.
    pub rejections_per_second: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let commands_api::Budgets { rejections_burst, rejections_per_second } = commands_api::Budgets::default();
        Self { rejections_burst, rejections_per_second }
    }
}

/// The background check of what is kept: all of it is read again and again, slowly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubConfig {
    /// How many MiB a second are read; 0 turns it off.
    pub mib_per_second: u64,
    /// How long it rests between two passes, in seconds.
    pub rest_s: u64,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { mib_per_second: 4, rest_s: 3_600 }
    }
}

/// Readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadyConfig {
    /// How many events the read models may lie behind the journal before `/readyz` says no.
    pub max_lag_events: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            roles: Roles::default(),
            data: PathBuf::from("./data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            tenant: "main".into(),
            book: BookId::FIRST.get(),
            read_models: KeepReadModels::On,
            log: LogConfig::default(),
            journal: JournalConfig::default(),
            http: HttpConfig::default(),
            limits: LimitsConfig::default(),
            ready: ReadyConfig::default(),
            scrub: ScrubConfig::default(),
            kafka: KafkaConfig::default(),
            relay: RelayConfig::default(),
            cluster: ClusterConfig::default(),
            database: DatabaseConfig::default(),
            rates: RatesConfig::default(),
            payments: PaymentsConfig::default(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Pretty }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            url: None,
            standby: false,
            lease_ms: 4_000,
            allow_unsafe_server: false,
            witness: None,
            segment_bytes: None,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { max_connections: 512, head_timeout_s: 10, write_timeout_s: 30, drain_timeout_s: 10 }
    }
}

impl Default for ReadyConfig {
    fn default() -> Self {
        Self { max_lag_events: 1_000_000 }
    }
}

/// A configuration that can't be used; the text names the key and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

impl Config {
    /// Loads the effective configuration. `file`: a file that must be there; without one, `doppia.toml` is read if it is.
    /// `flags`: what was given on the command line, as a table in which absent means not given.
    pub fn load(file: Option<&Path>, flags: impl Serialize) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match file {
            Some(file) if !file.is_file() => {
                return Err(ConfigError(format!("there is no file {}", file.display())));
            }
            Some(file) => figment = figment.merge(Toml::file_exact(file)),
            None if Path::new(DEFAULT_FILE).is_file() => figment = figment.merge(Toml::file_exact(DEFAULT_FILE)),
            None => {}
        }
        let environment = Env::prefixed(ENV_PREFIX)
            .ignore(&ENV_OF_CLIENTS)
            .split("__")
            .map(|key| if key == ENV_WITNESS { "journal.witness".into() } else { key.into() });
        let config: Self = figment
            .merge(environment)
            .merge(Serialized::defaults(flags))
            .extract()
            .map_err(|error| ConfigError(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// The book.
    pub fn book_id(&self) -> BookId {
        BookId::new(self.book).unwrap_or(BookId::FIRST)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| Err(ConfigError(format!("{key}: {reason}")));
        if BookId::new(self.book).is_none() {
            return wrong("book", "books are numbered from 1");
        }
        if self.tenant.is_empty() || self.tenant.len() > 64 || self.tenant.chars().any(char::is_control) {
            return wrong("tenant", "1 to 64 bytes without control characters");
        }
        if self.data.as_os_str().is_empty() {
            return wrong("data", "a folder");
        }
        if !(1..=100_000).contains(&self.http.max_connections) {
            return wrong("http.max_connections", "1 to 100000");
        }
        if !(1..=300).contains(&self.http.head_timeout_s) {
            return wrong("http.head_timeout_s", "1 to 300");
        }
        if !(1..=300).contains(&self.http.write_timeout_s) {
            return wrong("http.write_timeout_s", "1 to 300");
        }
        if self.http.drain_timeout_s > 300 {
            return wrong("http.drain_timeout_s", "0 to 300");
        }
        if let Some(Err(error)) = self.journal.url.as_ref().map(JournalUrl::parse) {
            return wrong("journal.url", &error.to_string());
        }
        if let Err((key, reason)) = self.check_cluster() {
            return wrong(key, &reason);
        }
        if self.read_models == KeepReadModels::Postgres && self.database().is_none() {
            return wrong(
                "read_models",
                "postgres needs a journal in PostgreSQL: name it with --journal; or, beside a journal in Kafka, a database: name \
                 it with --database",
            );
        }
        if self.journal.url.is_some() && self.journal.witness.is_some() {
            return wrong(
                "journal.witness",
                "a witness guards a journal in the data folder; servers have their own means",
            );
        }
        if !(200..=600_000).contains(&self.journal.lease_ms) {
            return wrong("journal.lease_ms", "200 to 600000");
        }
        if self.journal.url.is_none() && self.journal.standby {
            return wrong("journal.standby", "only a journal on servers can have a standby");
        }
        if let Err(error) = self.kafka.cluster() {
            return wrong("kafka", &error.to_string());
        }
        if let Some((key, reason)) = self.rates.wrong() {
            return wrong(key, &reason);
        }
        if let Err((key, reason)) = self.payments.check() {
            return wrong(&key, reason);
        }
        if self.scrub.mib_per_second > 10_000 {
            return wrong("scrub.mib_per_second", "0 to 10000");
        }
        if !(1..=31_536_000).contains(&self.scrub.rest_s) {
            return wrong("scrub.rest_s", "1 to 31536000");
        }
        if let Some(witness) = &self.journal.witness
            && witness.starts_with(&self.data)
        {
            return wrong("journal.witness", "it must lie outside the data folder, best on another disk");
        }
        crate::telemetry::filter(&self.log.filter).map_err(|error| ConfigError(format!("log.filter: {error}")))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn load(toml: &str, flags: serde_json::Value) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("doppia.toml");
        std::fs::write(&file, toml).unwrap();
        Config::load(Some(&file), flags).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_overrides_defaults_and_flags_override_the_file() {
        assert_eq!(load("", json!({})).unwrap(), Config::default());
        let config =
            load("data = \"/a\"\ntenant = \"t\"\n[http]\nmax_connections = 7", json!({ "data": "/b" })).unwrap();
        assert_eq!((config.data, config.tenant.as_str()), (PathBuf::from("/b"), "t"));
        assert_eq!((config.http.max_connections, config.http.head_timeout_s), (7, 10));
    }

    #[test]
    fn wrong_settings_name_the_key() {
        for (toml, expected) in [
            ("book = 0", "book: "),
            ("listen = \"here\"", "listen"),
            ("datta = \"x\"", "datta"),
            ("tenant = \"\"", "tenant: "),
            ("read_models = \"maybe\"", "read_models"),
            ("[scrub]\nmib_per_second = 10001", "scrub.mib_per_second: "),
            ("[scrub]\nrest_s = 0", "scrub.rest_s: "),
            ("[kafka]\nbrokers = \"here\"", "kafka: \"here\" is no broker"),
            ("[kafka]\nbrokers = \"a:1\"\nprefix = \"a b\"", "kafka: the prefix"),
            ("[kafka]\npassword = \"geheim\"", "password"),
            ("[relay]\nenabled = \"maybe\"", "relay.enabled"),
            ("[payments]\nattempts = 0", "payments.attempts: "),
            ("[payments.providers.Water]\n", "payments.providers.Water: "),
            ("[payments.providers.water]\nurl = \"http://w\"", "payments.providers.water: url and"),
            ("[http]\nmax_connections = 0", "http.max_connections: "),
            ("[http]\nhead_timeout_s = 0", "http.head_timeout_s: "),
            ("[http]\nwrite_timeout_s = 0", "http.write_timeout_s: "),
            ("[log]\nfilter = \"ledgerd=loud\"", "log.filter: "),
            ("data = \"/d\"\n[journal]\nwitness = \"/d/w\"", "journal.witness: "),
            ("[journal]\nurl = \"mysql://u:geheim@h/d\"", "journal.url: "),
            ("[journal]\nurl = \"postgres://h/d\"\nwitness = \"/w\"", "journal.witness: "),
            ("[journal]\nurl = \"kafka://u:geheim@h/d\"", "kafka+ssl"),
            ("[journal]\nurl = \"kafka+ssl://u:geheim@h/d?acks=0\"", "acks is no setting"),
            ("[journal]\nstandby = true", "journal.standby: "),
            ("roles = \"api,boss\"", "\"boss\" is no role"),
            ("roles = \"api\"", "roles: "),
            ("roles = \"api\"\n[journal]\nurl = \"kafka://h:1/p\"", "database.url: "),
            ("[database]\nurl = \"postgres://h/d\"", "database.url: "),
            ("roles = \"api\"\n[journal]\nurl = \"postgres://h/d\"", "read_models: "),
            ("roles = \"projector\"\nread_models = \"off\"\n[journal]\nurl = \"postgres://h/d\"", "read_models: off"),
            ("roles = \"api\"\nread_models = \"postgres\"\n[journal]\nurl = \"postgres://h/d\"", "cluster.writers: "),
            ("roles = \"writer\"\n[journal]\nurl = \"postgres://h/d\"", "cluster.grpc_listen: "),
            ("roles = \"relay\"\n[journal]\nurl = \"postgres://h/d\"", "kafka.brokers: "),
            (
                "roles = \"relay\"\n[journal]\nurl = \"postgres://h/d\"\n[kafka]\nbrokers = \"h:1\"\n[relay]\nenabled = false",
                "relay.enabled: ",
            ),
            (
                "roles = \"projector\"\nread_models = \"postgres\"\n[journal]\nstandby = true\nurl = \"postgres://h/d\"",
                "journal.standby: ",
            ),
            (
                "roles = \"api\"\nread_models = \"postgres\"\n[cluster]\nwriters = \"w:1\"\n[journal]\nurl = \"postgres://h/d\"",
                "is no address of a writer",
            ),
            ("[cluster]\nwriters = \"http://w:1\"", "cluster.writers: this process is the writer"),
            ("[journal]\nlease_ms = 1", "journal.lease_ms: "),
            ("data = [", "doppia.toml"),
        ] {
            let error = load(toml, json!({})).unwrap_err();
            assert!(error.contains(expected), "{toml}: {error}");
            assert!(!error.contains("geheim"), "{toml}: {error}");
        }
        let error = Config::load(Some(Path::new("/no/such.toml")), json!({})).unwrap_err();
        assert!(error.to_string().contains("/no/such.toml"));
    }

    #[test]
    fn the_password_of_a_journal_is_not_printed() {
        let config = load("[journal]\nurl = \"postgres://u:geheim@h:5/d\"", json!({})).unwrap();
        for text in [toml::to_string(&config).unwrap(), format!("{config:?}")] {
            assert!(text.contains("postgres://u@h:5/d") && !text.contains("geheim"), "{text}");
        }
        let url = "kafka+ssl://u:geheim@h:5/d?ssl.key.password=geheimer";
        let config = load(&format!("[journal]\nurl = \"{url}\""), json!({})).unwrap();
        let text = format!("{} {config:?}", toml::to_string(&config).unwrap());
        assert!(text.contains("kafka+ssl://u@h:5/d") && !text.contains("geheim"), "{text}");
    }

    #[test]
    fn it_prints_as_the_file_it_could_be_read_from() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(load(&text, json!({})).unwrap(), Config::default());
    }
}
