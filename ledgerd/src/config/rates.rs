//! Where rates come from, and what the house keeps of conversions. None of this decides anything: it is put into rate sheets, which
//! are facts of the book.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use connectors::fx::{Guard, RateSource, SourceConfig};
use event_schemas::Currency;
use event_schemas::bounds::{MARGIN_MAX_PPM, QUOTE_SECONDS_MAX};
use event_schemas::rates::MarginRule;
use serde::{Deserialize, Serialize};

/// Rates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatesConfig {
    /// How often this server asks, in seconds.
    pub every_s: u64,
    /// Which currencies; all that a source has if there are none.
    pub symbols: Vec<String>,
    /// How long rates may be used after they were fetched, in seconds.
    pub valid_s: u64,
    /// How long a quote lasts, in seconds.
    pub quote_s: u32,
    /// How many days before today the day may lie that is quoted for.
    pub max_age_days: u32,
    /// How far a rate may move against the last sheet, in millionths.
    pub band_ppm: u32,
    /// How long a service may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// For how long what a daily source said is not asked for again, in seconds.
    pub cache_daily_s: u64,
    /// The margin of what no rule fits, in millionths of the mid.
    pub margin_ppm: u32,
    /// The file of the keys that quotes are signed with [default: `quote.keys` in the data folder, made at the first start].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote_keys_file: Option<PathBuf>,
    /// The sources, the first that answers is taken. Without any this server publishes no rates.
    pub sources: Vec<SourceConfig>,
    /// Margins by tier and pair; the first that fits is the one.
    pub margins: Vec<MarginConfig>,
}

/// A margin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarginConfig {
    /// The tier of customers it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The currency sold by the customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sold: Option<String>,
    /// The currency bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bought: Option<String>,
    /// In millionths of the mid.
    pub margin_ppm: u32,
}

impl Default for RatesConfig {
    fn default() -> Self {
        Self {
            every_s: 600,
            symbols: Vec::new(),
            valid_s: 172_800,
            quote_s: 30,
            max_age_days: 5,
            band_ppm: 100_000,
            timeout_ms: 5_000,
            cache_daily_s: 86_400,
            margin_ppm: 10_000,
            quote_keys_file: None,
            sources: Vec::new(),
            margins: Vec::new(),
        }
    }
}

impl RatesConfig {
    /// The sources, in their order.
    pub fn sources(&self) -> anyhow::Result<Vec<RateSource>> {
        let timeout = Duration::from_millis(self.timeout_ms);
        let source = |config| RateSource::new(config, timeout).context("rates.sources");
        self.sources.iter().map(source).collect()
    }

    /// The currencies.
    pub fn symbols(&self) -> anyhow::Result<Vec<Currency>> {
        self.symbols.iter().map(|code| code.parse().context("rates.symbols")).collect()
    }

    /// The margins, the one for all at the end.
    pub fn margins(&self) -> anyhow::Result<Vec<MarginRule>> {
        let currency = |code: &Option<String>| -> anyhow::Result<Option<Currency>> {
            code.as_ref().map(|code| code.parse().context("rates.margins")).transpose()
        };
        let rule = |margin: &MarginConfig| {
            anyhow::Ok(MarginRule {
                tier: margin.tier.as_deref().map(Into::into),
                sold: currency(&margin.sold)?,
                bought: currency(&margin.bought)?,
                margin_ppm: margin.margin_ppm,
            })
        };
        let mut rules: Vec<_> = self.margins.iter().map(rule).collect::<Result<_, _>>()?;
        rules.push(MarginRule::for_all(self.margin_ppm));
        Ok(rules)
    }

    /// What rates are held to.
    pub const fn guard(&self) -> Guard {
        Guard { max_age_days: self.max_age_days, band_ppm: self.band_ppm }
    }

    /// The key that can't be so, and why.
    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let said = |key, reason: &str| Some((key, reason.to_owned()));
        if !(1..=86_400).contains(&self.every_s) {
            return said("rates.every_s", "1 to 86400");
        }
        if !(60..=31_536_000).contains(&self.valid_s) {
            return said("rates.valid_s", "60 to 31536000");
        }
        if !(1..=QUOTE_SECONDS_MAX).contains(&self.quote_s) {
            return Some(("rates.quote_s", format!("1 to {QUOTE_SECONDS_MAX}")));
        }
        if !(1..=10_000_000).contains(&self.band_ppm) {
            return said("rates.band_ppm", "1 to 10000000");
        }
        if !(10..=60_000).contains(&self.timeout_ms) {
            return said("rates.timeout_ms", "10 to 60000");
        }
        if self.margin_ppm > MARGIN_MAX_PPM || self.margins.iter().any(|rule| rule.margin_ppm > MARGIN_MAX_PPM) {
            return Some(("rates.margin_ppm", format!("0 to {MARGIN_MAX_PPM}")));
        }
        let checks = [
            ("rates.symbols", self.symbols().err()),
            ("rates.margins", self.margins().err()),
            ("rates.sources", self.sources().err()),
        ];
        checks.into_iter().find_map(|(key, error)| error.map(|error| (key, format!("{error:#}"))))
    }
}
