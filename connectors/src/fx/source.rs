//! The sources: a closed set, so that whoever adds one is told of every place that must know it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use event_schemas::rates::{QuotedRate, Rate};
use event_schemas::{CivilDate, Currency, Timestamp};
use serde::{Deserialize, Serialize};

use super::http::Service;
use super::{EcbHistory, Quoted, RateFault, answers, complete};

/// A source as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceConfig {
    /// Frankfurter, by its URL: `http://host` without `/v1`.
    Frankfurter {
        /// The URL.
        url: String,
        /// What it is asked to quote against.
        #[serde(default = "euro")]
        base: String,
    },
    /// openexchangerates, by its URL without `/api`. It quotes against the dollar.
    Openexchangerates {
        /// The URL.
        url: String,
        /// A file with the app id, which is a secret.
        app_id_file: PathBuf,
    },
    /// The history file of the European Central Bank.
    Ecb {
        /// The file: `.csv`, `.csv.gz` or `.zip`.
        file: PathBuf,
    },
    /// A table in a file.
    Table {
        /// A TOML file: `pivot`, `quoted_on` and a table `rates` of texts by currency.
        file: PathBuf,
    },
}

fn euro() -> String {
    "EUR".into()
}

/// A source of rates.
#[derive(Debug, Clone)]
pub enum RateSource {
    /// Frankfurter.
    Frankfurter(HttpSource),
    /// openexchangerates, with its app id.
    OpenExchangeRates(HttpSource, PathBuf),
    /// The European Central Bank's history.
    Ecb(PathBuf),
    /// A table in a file.
    Table(PathBuf),
}

/// A service and what it is asked to quote against.
#[derive(Debug, Clone)]
pub struct HttpSource {
    service: Service,
    base: Currency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    pivot: String,
    quoted_on: String,
    rates: BTreeMap<String, String>,
}

impl RateSource {
    /// A source, which is asked with this bound on time.
    pub fn new(config: &SourceConfig, timeout: Duration) -> Result<Self, RateFault> {
        let http = |name, url: &str, base: &str| {
            let base = base.parse().map_err(|_| RateFault::Malformed {
                source_name: name,
                reason: format!("{base:.8} is not a currency to quote against"),
            })?;
            Ok(HttpSource { service: Service::new(name, url, timeout)?, base })
        };
        Ok(match config {
            SourceConfig::Frankfurter { url, base } => Self::Frankfurter(http("frankfurter", url, base)?),
            SourceConfig::Openexchangerates { url, app_id_file } => {
                Self::OpenExchangeRates(http("openexchangerates", url, "USD")?, app_id_file.clone())
            }
            SourceConfig::Ecb { file } => Self::Ecb(file.clone()),
            SourceConfig::Table { file } => Self::Table(file.clone()),
        })
    }

    /// Its name, as rate sheets tell it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Frankfurter(_) => "frankfurter",
            Self::OpenExchangeRates(..) => "openexchangerates",
            Self::Ecb(_) => "ecb",
            Self::Table(_) => "table",
        }
    }

    /// Whether it has new rates once a day at most.
    pub const fn is_daily(&self) -> bool {
        match self {
            Self::Frankfurter(_) | Self::Ecb(_) => true,
            Self::OpenExchangeRates(..) | Self::Table(_) => false,
        }
    }

    /// The rates of these currencies, or of all that it has: of a day, or the newest.
    pub async fn fetch(
        &self,
        symbols: &[Currency],
        date: Option<CivilDate>,
        now: Timestamp,
    ) -> Result<Quoted, RateFault> {
        let codes: Vec<_> = symbols.iter().map(ToString::to_string).collect();
        match self {
            Self::Frankfurter(HttpSource { service, base }) => {
                let path = date.map_or_else(|| "/v1/latest".to_owned(), |date| format!("/v1/{date}"));
                let codes: Vec<_> = codes.into_iter().filter(|code| *code != base.code()).collect();
                let codes = codes.join(",");
                let mut query = vec![("base", base.code())];
                if !codes.is_empty() {
                    query.push(("symbols", &codes));
                }
                let body = service.get(&path, &query).await?;
                answers::frankfurter(self.name(), &body, *base, symbols, now)
            }
            Self::OpenExchangeRates(HttpSource { service, .. }, app_id_file) => {
                let app_id = secret(app_id_file)?;
                let path =
                    date.map_or_else(|| "/api/latest.json".to_owned(), |date| format!("/api/historical/{date}.json"));
                let codes = codes.join(",");
                let mut query = vec![("app_id", app_id.as_str())];
                if !codes.is_empty() {
                    query.push(("symbols", &codes));
                }
                let body = service.get(&path, &query).await?;
                answers::open_exchange_rates(self.name(), &body, symbols, now)
            }
            Self::Ecb(file) => {
                let file = file.clone();
                let reading = tokio::task::spawn_blocking(move || EcbHistory::read(&file)).await;
                let history = reading
                    .map_err(|error| RateFault::Malformed { source_name: "ecb", reason: error.to_string() })??;
                history.of(date, symbols, now)
            }
            Self::Table(file) => table(self.name(), file, symbols, now),
        }
    }
}

fn read(path: &Path) -> Result<String, RateFault> {
    let fault = |reason: String| RateFault::File { path: path.to_owned(), reason };
    let bytes = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.len();
    if bytes > 1024 * 1024 {
        return Err(fault("it is longer than a MiB".into()));
    }
    std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))
}

/// What stands in a file of one secret, which goes into a query string as it is.
fn secret(path: &Path) -> Result<String, RateFault> {
    let text = read(path)?.trim().to_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.is_empty() || text.len() > 256 || !text.bytes().all(plain) {
        let reason = "1 to 256 letters, digits, dashes and underscores are expected".into();
        return Err(RateFault::File { path: path.to_owned(), reason });
    }
    Ok(text)
}

fn table(name: &'static str, path: &Path, symbols: &[Currency], now: Timestamp) -> Result<Quoted, RateFault> {
    let fault = |reason: String| RateFault::File { path: path.to_owned(), reason };
    let file: TableFile = toml::from_str(&read(path)?).map_err(|error| fault(error.message().to_owned()))?;
    let currency = |code: &str| code.parse::<Currency>().map_err(|error| fault(error.to_string()));
    let pivot = currency(&file.pivot)?;
    let quoted_on = file.quoted_on.parse().map_err(|_| fault("quoted_on is no date".into()))?;
    let mut rates = Vec::new();
    for (code, text) in &file.rates {
        let per_pivot: Rate = text.parse().map_err(|error| RateFault::Rate {
            source_name: name,
            currency: code.chars().take(12).collect(),
            error,
        })?;
        rates.push(QuotedRate { currency: currency(code)?, per_pivot });
    }
    let rates = complete(name, pivot, symbols, rates)?;
    Ok(Quoted { source: name, pivot, quoted_on, fetched_at: now, rates })
}
