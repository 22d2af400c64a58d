//! `ledgerd kafka topics`: the topics that a server publishes to.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use connectors::kafka::{KafkaSettings, TopicPlan, make_topics};
use serde_json::json;
use std::path::PathBuf;

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
}

/// Does what was asked.
pub fn run(cluster: &Cluster, act: &KafkaAct, output: Output) -> anyhow::Result<()> {
    let (config, settings) = cluster.open()?;
    match *act {
        KafkaAct::Topics { partitions, replication } => {
            let reports = make_topics(&settings, config.book_id(), TopicPlan { partitions, replication })?;
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
