//! From sources to the book: asks the sources in their order, holds what they say against the last sheet, and publishes what is
//! new. The command's id follows from book and version, so two publishers make one sheet, and a retry makes none.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use connectors::fx::{Guard, Quoted, RateSource, same_rates};
use event_schemas::rates::{MarginRule, PublishRateSheet};
use event_schemas::{Command, CommandBody, CommandId, Currency, PrincipalId, Sequence, Timestamp};
use ledger_core::ports::{Answer, CommandSink, Verdict};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use projections::ports::{Rows, RowsFault};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::{Config, RatesConfig};

/// Who publishes: a holder that no key has, since holders of keys are named by operators and this name has a space.
const HOLDER: &str = "ledgerd rates";

/// How long to wait for the read models, or for a verdict.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a source said, and when it is asked again.
struct Cached {
    quoted: Quoted,
    source: usize,
}

/// What makes sheets of rates.
pub(super) struct Publisher {
    config: RatesConfig,
    sources: Vec<RateSource>,
    symbols: Vec<Currency>,
    margins: Vec<MarginRule>,
    guard: Guard,
    cached: Option<Cached>,
}

impl Publisher {
    pub(super) fn new(config: &RatesConfig) -> anyhow::Result<Self> {
        Ok(Self {
            sources: config.sources()?,
            symbols: config.symbols()?,
            margins: config.margins()?,
            guard: config.guard(),
            config: config.clone(),
            cached: None,
        })
    }

    /// What the first source that answers says and that is taken after the last sheet.
    pub(super) async fn quoted(&mut self, last: Option<&PublishRateSheet>, now: Timestamp) -> Option<Quoted> {
        let age_s = |quoted: &Quoted| now.0.saturating_sub(quoted.fetched_at.0) / 1_000_000;
        let lasts_s = i64::try_from(self.config.cache_daily_s.min(self.config.valid_s / 2)).unwrap_or(i64::MAX);
        if let Some(Cached { quoted, source }) = &self.cached
            && self.sources.get(*source).is_some_and(RateSource::is_daily)
            && age_s(quoted) < lasts_s
        {
            return Some(quoted.clone());
        }
        for (place, source) in self.sources.iter().enumerate() {
            let name = source.name();
            let outcome = source.fetch(&self.symbols, None, now).await;
            let refused = match outcome {
                Ok(quoted) => match self.guard.check(&quoted, last, now) {
                    Ok(()) => {
                        counter!("doppia_rates_fetched_total", "source" => name).increment(1);
                        self.cached = Some(Cached { quoted: quoted.clone(), source: place });
                        return Some(quoted);
                    }
                    Err(refused) => {
                        counter!("doppia_rates_refused_total", "source" => name).increment(1);
                        tracing::error!(
                            source = name,
                            "ALARM: rates are not taken: {refused}. See ledgerd rates publish"
                        );
                        continue;
                    }
                },
                Err(fault) => fault,
            };
            counter!("doppia_rates_failed_total", "source" => name).increment(1);
            tracing::warn!(source = name, "no rates: {refused}");
        }
        None
    }

    /// The sheet that follows the last one, if it says anything new or the last one needs to be renewed.
    pub(super) fn sheet(
        &self,
        quoted: &Quoted,
        last: Option<&PublishRateSheet>,
        now: Timestamp,
    ) -> Option<PublishRateSheet> {
        let valid_us = i64::try_from(self.config.valid_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let valid_until = Timestamp(quoted.fetched_at.0.saturating_add(valid_us));
        let is_needed = last.is_none_or(|last| {
            let ends_soon = last.valid_until.0.saturating_sub(now.0) < valid_us / 2;
            !same_rates(quoted, last)
                || last.margins != self.margins
                || last.quote_seconds != self.config.quote_s
                || (ends_soon && valid_until > last.valid_until)
        });
        is_needed.then(|| PublishRateSheet {
            version: last.map_or(0, |last| last.version).saturating_add(1),
            pivot: quoted.pivot,
            source: quoted.source.into(),
            quoted_on: quoted.quoted_on,
            fetched_at: quoted.fetched_at,
            valid_until,
            quote_seconds: self.config.quote_s,
            rates: quoted.rates.clone(),
            margins: self.margins.clone(),
        })
    }
}

pub(super) fn now() -> Timestamp {
    (crate::serve::system_clock().wall)()
}

/// The running loop.
pub(crate) struct RatesLoop(JoinHandle<()>);

impl Drop for RatesLoop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the loop, if this server has sources. Must be called within a runtime.
pub(crate) fn start(
    config: &Config,
    sink: &Arc<dyn CommandSink>,
    rows: Option<Arc<dyn Rows>>,
    progress: Option<watch::Receiver<Sequence>>,
) -> anyhow::Result<Option<RatesLoop>> {
    if config.rates.sources.is_empty() {
        return Ok(None);
    }
    let (Some(rows), Some(progress)) = (rows, progress) else {
        anyhow::bail!("rates.sources: rates are published by what the read models say, and those are off");
    };
    describe_counter!("doppia_rates_published_total", "Rate sheets published by this server");
    describe_counter!("doppia_rates_fetched_total", "Answers of a source that were taken");
    describe_counter!("doppia_rates_failed_total", "Sources that gave no rates");
    describe_counter!("doppia_rates_refused_total", "Answers of a source that were too old or had moved too far");
    describe_gauge!("doppia_rates_sheet_version", "The version of the newest rate sheet");
    describe_gauge!("doppia_rates_valid_seconds", "How long the newest rate sheet is still valid");
    let server = Server {
        publisher: Publisher::new(&config.rates)?,
        tenant: config.tenant.clone(),
        sink: Arc::clone(sink),
        rows,
        progress,
    };
    let every = Duration::from_secs(config.rates.every_s);
    Ok(Some(RatesLoop(tokio::spawn(server.run(every)))))
}

struct Server {
    publisher: Publisher,
    tenant: String,
    sink: Arc<dyn CommandSink>,
    rows: Arc<dyn Rows>,
    progress: watch::Receiver<Sequence>,
}

impl Server {
    async fn run(mut self, every: Duration) {
        loop {
            if let Err(error) = self.turn().await {
                counter!("doppia_rates_failed_total", "source" => "book").increment(1);
                tracing::warn!("no rate sheet was published: {error:#}");
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn turn(&mut self) -> anyhow::Result<()> {
        let durable = self.sink.status().durable;
        let reached = self.progress.wait_for(|sequence| *sequence >= durable);
        tokio::time::timeout(PATIENCE, reached).await.context("the read models are behind")??;
        let last = self.last().await?;
        let now = now();
        if let Some(last) = &last {
            let left_s = last.valid_until.0.saturating_sub(now.0).max(0) / 1_000_000;
            gauge!("doppia_rates_valid_seconds").set(u32::try_from(left_s).unwrap_or(u32::MAX));
            gauge!("doppia_rates_sheet_version").set(u32::try_from(last.version).unwrap_or(u32::MAX));
        }
        let Some(quoted) = self.publisher.quoted(last.as_ref(), now).await else {
            anyhow::bail!("no source gave rates that can be used");
        };
        let Some(sheet) = self.publisher.sheet(&quoted, last.as_ref(), now) else { return Ok(()) };
        let (version, source, quoted_on) = (sheet.version, sheet.source.clone(), sheet.quoted_on);
        match self.submit(sheet).await? {
            Answer::Recorded { verdict: Verdict::Accepted, sequence, .. } => {
                counter!("doppia_rates_published_total").increment(1);
                tracing::info!(version, %source, %quoted_on, sequence = sequence.0, "a rate sheet is published");
                Ok(())
            }
            Answer::Recorded { verdict: Verdict::Rejected(rejection), .. } => {
                anyhow::bail!("version {version} was refused: {}", rejection.code())
            }
            Answer::Conflict { .. } => anyhow::bail!("version {version} was published by another server"),
        }
    }

    async fn last(&self) -> anyhow::Result<Option<PublishRateSheet>> {
        let rows = Arc::clone(&self.rows);
        let found = tokio::task::spawn_blocking(move || {
            let mut found = None;
            rows.snapshot(&mut |rows| found = Some(projections::rates::latest(rows)))?;
            found.transpose()
        });
        let found: Result<_, RowsFault> = found.await?;
        Ok(found?.and_then(|found| found.found).map(|(sheet, _)| sheet))
    }

    async fn submit(&self, sheet: PublishRateSheet) -> anyhow::Result<Answer> {
        let key = format!("sheet {}", sheet.version);
        let body = CommandBody::PublishRateSheet(sheet);
        let id = CommandId::from_idempotency_key(&self.tenant, HOLDER, body.type_name(), &key);
        let command = Command { id, actor: PrincipalId::derive(&self.tenant, HOLDER), body };
        let (told, answer) = oneshot::channel();
        self.sink.try_submit(vec![command], Box::new(move |answers| drop(told.send(answers))))?;
        let answers = tokio::time::timeout(PATIENCE, answer).await.context("no verdict in time")??;
        answers?.into_iter().next().context("no verdict")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_sheet_is_published_when_it_says_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rates.toml");
        let day = now().date_utc();
        let write = |usd: &str| {
            let text = format!("pivot = \"EUR\"\nquoted_on = \"{day}\"\n[rates]\nUSD = \"{usd}\"\nJPY = \"178.53\"\n");
            std::fs::write(&file, text).unwrap();
        };
        write("1.0829");
        let config = RatesConfig {
            sources: vec![connectors::fx::SourceConfig::Table { file: file.clone() }],
            symbols: vec!["USD".into(), "JPY".into()],
            ..RatesConfig::default()
        };
        let mut publisher = Publisher::new(&config).unwrap();
        let at = now();
        let quoted = publisher.quoted(None, at).await.unwrap();
        let first = publisher.sheet(&quoted, None, at).unwrap();
        assert_eq!((first.version, first.rates.len(), first.margins.len()), (1, 2, 1));
        // The same again is nothing new; half of its time later it is renewed.
        let quoted = publisher.quoted(Some(&first), at).await.unwrap();
        assert_eq!(publisher.sheet(&quoted, Some(&first), at), None);
        let later = Timestamp(at.0 + 90_000_000_000);
        let quoted = publisher.quoted(Some(&first), later).await.unwrap();
        assert_eq!(publisher.sheet(&quoted, Some(&first), later).unwrap().version, 2);
        // Another rate is published, one that has moved too far is not.
        write("1.0830");
        let quoted = publisher.quoted(Some(&first), at).await.unwrap();
        assert_eq!(publisher.sheet(&quoted, Some(&first), at).unwrap().version, 2);
        write("10.830");
        assert_eq!(publisher.quoted(Some(&first), at).await, None);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(publisher.quoted(Some(&first), at).await, None);
    }
}
