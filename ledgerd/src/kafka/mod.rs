//! `ledgerd kafka` and `ledgerd dlq`: the topics that a server publishes to, and those who read them.

mod consume;
pub mod dlq;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use connectors::kafka::{KafkaSettings, Received, Tail, TopicPlan, make_topics};
use serde_json::{Value, json};

use crate::cli::{Output, Settings, table};
use crate::config::Config;

/// Which cluster.
#[derive(Debug, Args)]
pub struct Cluster {
    /// A configuration file [default: doppia.toml, if it is there]
    #[arg(long, env = "DOPPIA_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The brokers, such as localhost:9092 [default: kafka.brokers of the configuration]
    #[arg(long, value_name = "BROKERS", global = true)]
    kafka: Option<String>,
}

impl Cluster {
    /// The configuration, and how to reach the cluster that it names.
    pub(crate) fn open(&self) -> anyhow::Result<(Config, KafkaSettings)> {
        let settings = Settings { config: self.config.clone(), kafka: self.kafka.clone(), ..Settings::default() };
        let config = settings.load()?;
        let cluster = config.kafka.settings()?;
        let cluster = cluster
            .context("which cluster? Name it with --kafka localhost:9092, or as kafka.brokers in doppia.toml")?;
        Ok((config, cluster))
    }
}

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub enum KafkaAct {
    /// Makes the topics that are missing, and checks those that are there
    #[command(
        after_help = "The journal's topic has one partition, and keeps all records: the relay finds its place in them. Nothing is ever
deleted, and topics that are there keep their partitions.

Examples:
  ledgerd kafka topics --kafka localhost:9092
  ledgerd kafka topics --kafka localhost:9092 --partitions 24 --replication 3"
    )]
    Topics {
        /// Partitions of each keyed topic
        #[arg(long, default_value_t = TopicPlan::default().partitions)]
        partitions: usize,
        /// Copies of each partition [default: what the brokers say]
        #[arg(long, value_parser = clap::value_parser!(i32).range(1..=100))]
        replication: Option<i32>,
    },
    /// Prints the records of a topic
    #[command(
        after_help = "It belongs to no consumer group and leaves nothing behind. Without --follow it ends with the last record.

Examples:
  ledgerd kafka tail --topic book.1.journal
  ledgerd kafka tail --topic transaction.completed --follow
  ledgerd kafka tail --topic account.balance.updated --key 01920000-0000-7000-8000-00000000000a --output json | jq .value"
    )]
    Tail {
        /// The topic, such as transaction.completed or book.1.journal
        #[arg(long)]
        topic: String,
        /// Only records of this key
        #[arg(long)]
        key: Option<String>,
        /// Go on with what comes; without it, from the first record to the last there is
        #[arg(long)]
        follow: bool,
        /// With --follow: begin with what comes next, and not with the first record
        #[arg(long, requires = "follow")]
        new: bool,
    },
    /// Runs a program for each event of a topic, as a member of a consumer group
    #[command(
        after_help = "The program gets the event's JSON on its standard input, and headers and key in its environment (DOPPIA_CE_ID,
DOPPIA_CE_TYPE, DOPPIA_KEY, …). Exit status 0: it is done. Any other: it is tried again, then its key is parked: this
event and the later ones of the key go to dlq.<topic> (see `ledgerd dlq`), other keys go on. After a crash an event may come
again: key what the program does by DOPPIA_CE_ID.

Example:
  ledgerd kafka consume --topic transaction.completed --group mail -- ./send-mail.sh"
    )]
    Consume(consume::ConsumeArgs),
}

/// Does what was asked.
pub fn run(cluster: &Cluster, act: &KafkaAct, output: Output) -> anyhow::Result<()> {
    match act {
        KafkaAct::Consume(args) => consume::run(cluster, args)?,
        KafkaAct::Tail { topic, key, follow, new } => tail(cluster, topic, key.as_deref(), *follow, !new, output)?,
        KafkaAct::Topics { partitions, replication } => {
            let (config, settings) = cluster.open()?;
            let plan = TopicPlan { partitions: *partitions, replication: *replication };
            let reports = make_topics(&settings, config.book_id(), plan)?;
            match output {
                Output::Json => {
                    let topics: Vec<_> = reports
                        .iter()
                        .map(|one| json!({ "topic": one.topic, "partitions": one.partitions, "made": one.made }))
                        .collect();
                    println!("{}", json!({ "topics": topics }));
                }
                Output::Text => {
                    let mut shown = table(&["topic", "partitions", ""]);
                    for one in reports {
                        let made = if one.made { "made now" } else { "was there" };
                        shown.add_row([one.topic, one.partitions.to_string(), made.to_owned()]);
                    }
                    println!("{shown}");
                }
            }
        }
    }
    Ok(())
}

/// A record as JSON. A value that is none is shown as text.
fn shown(record: &Received) -> Value {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
    let headers: serde_json::Map<_, _> =
        record.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    json!({
        "topic": record.topic, "partition": record.partition, "offset": record.offset, "key": record.key_text(),
        "headers": headers, "value": serde_json::from_slice(&record.value).unwrap_or_else(|_| text(&record.value)),
    })
}

fn tail(
    cluster: &Cluster,
    topic: &str,
    key: Option<&str>,
    follow: bool,
    from_beginning: bool,
    output: Output,
) -> anyhow::Result<()> {
    let (_, settings) = cluster.open()?;
    let mut tail = Tail::open(&settings, &settings.named(topic), from_beginning)?;
    let mut out = std::io::stdout().lock();
    while follow || !tail.reached_the_end() {
        let Some(record) = tail.next(Duration::from_millis(200))? else { continue };
        if key.is_some_and(|key| key != record.key_text()) {
            continue;
        }
        let line = match output {
            Output::Json => shown(&record).to_string(),
            Output::Text => format!(
                "{}  {}  {}  {}",
                record.id().unwrap_or("-"),
                record.type_name().unwrap_or("-"),
                record.key_text(),
                String::from_utf8_lossy(&record.value)
            ),
        };
        match writeln!(out, "{line}") {
            // Whoever reads it has enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(())
}
