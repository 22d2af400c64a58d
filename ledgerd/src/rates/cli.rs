//! `ledgerd rates`: what sources say, what the book has, and publishing by hand.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use connectors::fx::Quoted;
use event_schemas::{CivilDate, Timestamp};
use serde_json::{Value, json};

use super::publisher::{Publisher, now};
use crate::cli::{Output, Settings, table};

/// Rates.
#[derive(Debug, Args)]
pub struct RatesArgs {
    #[command(subcommand)]
    act: Act,
}

/// A server.
#[derive(Debug, Args)]
struct Server {
    /// The server
    #[arg(long, env = "DOPPIA_URL", default_value = "http://127.0.0.1:7070")]
    url: String,
    /// A file with an API key
    #[arg(long, env = "DOPPIA_KEY_FILE", default_value = "data/admin.key")]
    key_file: PathBuf,
    /// The number of the book
    #[arg(long, default_value_t = 1)]
    book: u32,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Act {
    /// Shows the rates of the book: the latest, or those of a day
    Show {
        #[command(flatten)]
        server: Server,
        /// The day [default: the latest rates]
        #[arg(long)]
        date: Option<CivilDate>,
        /// One unit of this buys as much of the others [default: the sheet's pivot]
        #[arg(long)]
        base: Option<String>,
        /// Which currencies, with commas between them [default: all]
        #[arg(long)]
        symbols: Option<String>,
    },
    /// Asks the configured sources, and shows what they say. Nothing is published
    Fetch {
        /// A configuration file [default: doppia.toml, if it is there]
        #[arg(long, env = "DOPPIA_CONFIG")]
        config: Option<PathBuf>,
        /// The day [default: the newest rates]
        #[arg(long)]
        date: Option<CivilDate>,
    },
    /// Publishes what the first configured source says as the next rate sheet
    Publish {
        #[command(flatten)]
        server: Server,
        /// A configuration file [default: doppia.toml, if it is there]
        #[arg(long, env = "DOPPIA_CONFIG")]
        config: Option<PathBuf>,
        /// Rates of a day of the past, whatever their age
        #[arg(long)]
        date: Option<CivilDate>,
        /// Take rates that have moved too far against the last sheet
        #[arg(long)]
        accept_move: bool,
    },
    /// Puts a new key before the one that quotes are signed with. Takes effect when servers start again
    RotateKey {
        /// A configuration file [default: doppia.toml, if it is there]
        #[arg(long, env = "DOPPIA_CONFIG")]
        config: Option<PathBuf>,
        /// The data folder [default: ./data]
        #[arg(long)]
        data: Option<PathBuf>,
    },
}

/// Runs `ledgerd rates`.
pub async fn run(args: RatesArgs, output: Output) -> anyhow::Result<()> {
    match args.act {
        Act::Show { server, date, base, symbols } => show(&server, date, base, symbols, output).await,
        Act::Fetch { config, date } => {
            let config = Settings { config, ..Settings::default() }.load()?;
            fetch(&config.rates, date, output).await
        }
        Act::Publish { server, config, date, accept_move } => {
            let config = Settings { config, ..Settings::default() }.load()?;
            publish(&server, &config.rates, date, accept_move, output).await
        }
        Act::RotateKey { config, data } => {
            let config = Settings { config, data, ..Settings::default() }.load()?;
            let path = super::rotate(&config)?;
            match output {
                Output::Json => println!("{}", json!({ "file": path })),
                Output::Text => println!("{} has a new key; servers take it when they start again", path.display()),
            }
            Ok(())
        }
    }
}

impl Server {
    fn key(&self) -> anyhow::Result<String> {
        let key = std::fs::read_to_string(&self.key_file).with_context(|| {
            format!("the key file {} can't be read: name one with --key-file", self.key_file.display())
        })?;
        Ok(key.trim().to_owned())
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(u16, Value)> {
        let response = request.bearer_auth(self.key()?).send().await.context("the server can't be reached")?;
        let status = response.status().as_u16();
        Ok((status, response.json().await.context("the server's answer can't be read")?))
    }

    fn path(&self, path: &str) -> String {
        format!("{}/v1/books/{}/{path}", self.url.trim_end_matches('/'), self.book)
    }
}

fn refused(status: u16, body: &Value) -> anyhow::Error {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    anyhow::anyhow!("the server answers {status}: {} ({}) {}", text("title"), text("code"), text("detail"))
}

async fn show(
    server: &Server,
    date: Option<CivilDate>,
    base: Option<String>,
    symbols: Option<String>,
    output: Output,
) -> anyhow::Result<()> {
    let day = date.map_or_else(|| "latest".to_owned(), |date| date.to_string());
    let query: Vec<_> = [("base", base), ("symbols", symbols)]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={value}")))
        .collect();
    let url = server.path(&format!("rates/{day}?{}", query.join("&")));
    let (status, body) = server.ask(reqwest::Client::new().get(url)).await?;
    if status != 200 {
        return Err(refused(status, &body));
    }
    if output == Output::Json {
        println!("{body}");
        return Ok(());
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    println!(
        "1 {} on {} by {}, sheet {}, valid until {}",
        text("base"),
        text("date"),
        text("source"),
        body.get("sheet").unwrap_or(&Value::Null),
        text("valid_until")
    );
    let mut shown = table(&["currency", "rate"]);
    for (currency, rate) in body.get("rates").and_then(Value::as_object).into_iter().flatten() {
        shown.add_row([currency.as_str(), rate.as_str().unwrap_or_default()]);
    }
    println!("{shown}");
    Ok(())
}

fn as_json(quoted: &Quoted) -> Value {
    json!({
        "source": quoted.source,
        "pivot": quoted.pivot.code(),
        "quoted_on": quoted.quoted_on,
        "fetched_at": quoted.fetched_at,
        "rates": quoted.rates.iter().map(|rate| (rate.currency.to_string(), json!(rate.per_pivot)))
            .collect::<serde_json::Map<_, _>>(),
    })
}

async fn fetch(config: &crate::config::RatesConfig, date: Option<CivilDate>, output: Output) -> anyhow::Result<()> {
    let (sources, symbols) = (config.sources()?, config.symbols()?);
    anyhow::ensure!(!sources.is_empty(), "no source is configured: see [rates] in docs/fx.md");
    let mut failed = 0;
    for source in &sources {
        match source.fetch(&symbols, date, now()).await {
            Ok(quoted) if output == Output::Json => println!("{}", as_json(&quoted)),
            Ok(quoted) => {
                println!("1 {} on {} by {}", quoted.pivot, quoted.quoted_on, quoted.source);
                let mut shown = table(&["currency", "rate"]);
                for rate in &quoted.rates {
                    shown.add_row([rate.currency.to_string(), rate.per_pivot.to_string()]);
                }
                println!("{shown}");
            }
            Err(fault) => {
                failed += 1;
                eprintln!("{}: {fault}", source.name());
            }
        }
    }
    anyhow::ensure!(failed < sources.len(), "no source gave rates");
    Ok(())
}

async fn publish(
    server: &Server,
    config: &crate::config::RatesConfig,
    date: Option<CivilDate>,
    accept_move: bool,
    output: Output,
) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let (status, last) = server.ask(client.get(server.path("rates/latest"))).await?;
    let last = match status {
        200 => Some(last),
        404 => None,
        _ => return Err(refused(status, &last)),
    };
    let (sources, symbols) = (config.sources()?, config.symbols()?);
    let source = sources.first().context("no source is configured: see [rates] in docs/fx.md")?;
    let quoted = source.fetch(&symbols, date, now()).await?;
    let publisher = Publisher::new(config)?;
    let mut sheet = publisher.sheet(&quoted, None, now()).context("nothing to publish")?;
    sheet.version = last.as_ref().and_then(|last| last.get("sheet")?.as_u64()).unwrap_or(0) + 1;
    if date.is_none()
        && !accept_move
        && let Some(last) = &last
    {
        let before = last_sheet(last, &quoted)?;
        config.guard().check(&quoted, Some(&before), now()).context("not published: see --accept-move")?;
    }
    let body = json!({
        "version": sheet.version,
        "pivot": sheet.pivot.code(),
        "source": sheet.source,
        "quoted_on": sheet.quoted_on,
        "fetched_at": sheet.fetched_at,
        "valid_until": sheet.valid_until,
        "quote_seconds": sheet.quote_seconds,
        "rates": sheet.rates.iter().map(|rate| json!({
            "currency": rate.currency.code(), "per_pivot": rate.per_pivot,
        })).collect::<Vec<_>>(),
        "margins": sheet.margins.iter().map(|rule| {
            let mut members = serde_json::Map::new();
            members.extend(rule.tier.as_ref().map(|tier| ("tier".to_owned(), json!(tier))));
            members.extend(rule.sold.map(|sold| ("sold".to_owned(), json!(sold.code()))));
            members.extend(rule.bought.map(|bought| ("bought".to_owned(), json!(bought.code()))));
            members.insert("margin_ppm".to_owned(), json!(rule.margin_ppm));
            Value::Object(members)
        }).collect::<Vec<_>>(),
    });
    let key = format!("rate-sheet-{}-{}", sheet.version, sheet.fetched_at.0);
    let request = client.post(server.path("rate-sheets")).header("Idempotency-Key", key).json(&body);
    let (status, answer) = server.ask(request).await?;
    if status != 201 {
        return Err(refused(status, &answer));
    }
    match output {
        Output::Json => println!("{answer}"),
        Output::Text => println!(
            "rate sheet {} of {} for {} is published: {} rates against {}",
            sheet.version,
            sheet.source,
            sheet.quoted_on,
            sheet.rates.len(),
            sheet.pivot
        ),
    }
    Ok(())
}

/// As much of the last sheet as is needed to tell how far rates have moved.
fn last_sheet(last: &Value, quoted: &Quoted) -> anyhow::Result<event_schemas::rates::PublishRateSheet> {
    let text = |name: &str| last.get(name).and_then(Value::as_str).context("the server's rates can't be read");
    let mut rates = Vec::new();
    for (code, rate) in last.get("rates").and_then(Value::as_object).context("the server's rates can't be read")? {
        let per_pivot = rate.as_str().context("the server's rates can't be read")?.parse()?;
        rates.push(event_schemas::rates::QuotedRate { currency: code.parse()?, per_pivot });
    }
    rates.sort_unstable_by_key(|rate| rate.currency);
    Ok(event_schemas::rates::PublishRateSheet {
        version: 0,
        pivot: text("base")?.parse()?,
        source: quoted.source.into(),
        quoted_on: text("date")?.parse()?,
        fetched_at: Timestamp(0),
        valid_until: Timestamp(0),
        quote_seconds: 1,
        rates,
        margins: Vec::new(),
    })
}
