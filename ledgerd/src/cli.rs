//! What can be typed.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use stores::kafka::{TopicsMade, make_topics};
use stores::place::JournalPlace;
use stores::postgres::Migrated;

use crate::config::{Config, KeepReadModels, LogFormat};
use crate::serve::past::Moment;
use crate::{backup, demo, import, kafka, keys, payments, rates, serve, telemetry};

/// Doppia: an event-sourced double-entry ledger
#[derive(Debug, Parser)]
#[command(
    name = "ledgerd",
    version,
    propagate_version = true,
    after_help = "Examples:
  ledgerd serve                                   a ledger in ./data at http://127.0.0.1:7070
  ledgerd serve --data /srv/book --listen 0.0.0.0:7070
  ledgerd import rules.toml movements.csv --key-file data/admin.key
  ledgerd key new --holder web-shop --scope read --scope write
  ledgerd backup --to /mnt/backup/book-1          while it serves; again later for what is new
  ledgerd restore --from /mnt/backup/book-1 --data /srv/book
  ledgerd demo                                    a real bank, imported, proven and served"
)]
pub struct Cli {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value = "text")]
    output: Output,
    #[command(subcommand)]
    act: Act,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// JSON on stdout, for scripts.
    Json,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Serves a book: engine, read models and API in one process, or some of these roles
    #[command(after_help = "Settings come from defaults, doppia.toml, DOPPIA_* and flags; each later one wins.
`ledgerd config` prints the effective ones.

Examples:
  ledgerd serve
  ledgerd serve --data /srv/book --witness /mnt/other-disk/book.witness
  ledgerd serve --journal postgres://ledger@db/ledger           see `ledgerd migrate`
  ledgerd serve --journal postgres://ledger@db/ledger --standby
  ledgerd serve --journal kafka://kafka-1:9092/bank --standby
  ledgerd serve --kafka localhost:9092                          see `ledgerd kafka topics`
  DOPPIA_LISTEN=0.0.0.0:7070 ledgerd serve --log-format json
  ledgerd serve --accept-clock --actor anna --reason \"the server slept for two years\"

Roles in processes of their own, on as many machines as you like (docs/operating.md has it step by step):
  ledgerd serve --roles writer --journal postgres://ledger@db/ledger --grpc-listen 0.0.0.0:7071 --cluster-secret-file secret
  ledgerd serve --roles writer --standby …                      on another machine: takes over within the lease
  ledgerd serve --roles api --journal postgres://ledger@db/ledger --read-models postgres --cluster-secret-file secret \\
      --writers http://writer-1:7071,http://writer-2:7071
  ledgerd serve --roles projector --journal postgres://ledger@db/ledger --read-models postgres
  ledgerd serve --roles relay --journal postgres://ledger@db/ledger --kafka kafka-1:9092

The past, beside the running server: read models of that moment are made in a temporary folder (TMPDIR), commands are refused:
  ledgerd serve --read-only --at 48211 --listen 127.0.0.1:7071
  ledgerd serve --read-only --at 2026-11-21T09:30:00Z --listen 127.0.0.1:7071
  ledgerd serve --read-only --data /mnt/backup/book-1 --listen 127.0.0.1:7071")]
    Serve(ServeArgs),
    /// Turns a CSV file into commands by a rules file
    #[command(
        after_help = "Running it again brings what is missing and doubles nothing. Exit status 3: done, but rows were refused.

Examples:
  ledgerd import examples/berka/rules.toml examples/berka/trans.csv.gz --key-file data/admin.key
  ledgerd import rules.toml movements.csv --dry-run"
    )]
    Import(import::ImportArgs),
    /// Copies what is durable into another folder, while the server serves or not, and checks it on the way
    #[command(after_help = "What is sealed is copied once: into a folder with an older backup only what is new goes.
Keys of the API are in it as hashes; admin.key is not. replay-tool reads a backup as it is:
`replay-tool --data /mnt/backup/book-1 verify`.

Examples:
  ledgerd backup --to /mnt/backup/book-1
  ledgerd backup --data /srv/book --to /mnt/backup/book-1 --verify --output json
  ledgerd backup verify /mnt/backup/book-1")]
    Backup(backup::BackupArgs),
    /// Puts a backup where nothing is, after checking all of it
    #[command(
        after_help = "The folder appears whole or not at all. A witness that has seen more than the backup holds refuses it, unless what
came after is accepted as lost; that goes on record in the book, and the witness is renewed.

Examples:
  ledgerd restore --from /mnt/backup/book-1 --data /srv/book --witness /mnt/other-disk/book.witness
  ledgerd restore --from /mnt/backup/book-1 --data /srv/book --witness /mnt/other-disk/book.witness \\
      --accept-rollback-to 48211 --actor anna --reason \"the disk died at noon\""
    )]
    Restore(backup::RestoreArgs),
    /// Issues, rotates, lists and revokes keys of the API
    #[command(visible_alias = "keys")]
    Key {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        args: keys::KeyArgs,
    },
    /// Providers of bill payments: sets them up, lists them, has their payments taken or not
    Provider {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        args: payments::ProviderArgs,
    },
    /// Bill payments: shows them, lets parked ones go on, holds them against a provider's settlement file
    Payment {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        args: payments::PaymentArgs,
    },
    /// Makes what a journal on servers needs: tables in PostgreSQL, or brings them to this version; topics in Kafka
    #[command(
        after_help = "PostgreSQL's password may stand in the URL, in PGPASSWORD or in a PGPASSFILE; Kafka's in the URL. Nothing is ever
dropped, and no topic that is there is changed.

Examples:
  createdb ledger && ledgerd migrate --journal postgres://ledger@localhost/ledger
  ledgerd migrate --journal kafka://kafka-1:9092,kafka-2:9092/bank
  ledgerd migrate --journal kafka://kafka-1:9092/bank --database postgres://ledger@localhost/ledger"
    )]
    Migrate(Settings),
    /// The topics on Kafka to which a server publishes events: makes, shows and consumes them
    Kafka {
        #[command(flatten)]
        cluster: kafka::Cluster,
        #[command(subcommand)]
        act: kafka::KafkaAct,
    },
    /// What consumers could not handle: shows it, asks for it again, gives it up
    Dlq(kafka::dlq::DlqArgs),
    /// Rates: what sources say, what the book has, publishing by hand
    #[command(
        after_help = "While a server runs with [rates] sources configured, it publishes rate sheets by itself (docs/fx.md).

Examples:
  ledgerd rates show --symbols USD,GBP
  ledgerd rates show --date 2026-10-30 --base USD
  ledgerd rates fetch --config doppia.toml
  ledgerd rates publish --accept-move         what moved too far for the server to publish by itself
  ledgerd rates publish --date 2026-10-30     rates of a day of the past"
    )]
    Rates(rates::RatesArgs),
    /// Prints the effective configuration, which holds no secrets
    Config(Settings),
    /// Imports a real bank into a fresh folder, proves the journal, and serves it
    #[command(after_help = "Examples:
  ledgerd demo
  ledgerd demo --fresh --exit        for scripts: begin anew, and end when all is shown")]
    Demo(demo::DemoArgs),
    /// Prints a completion script for a shell
    #[command(after_help = "Example:\n  ledgerd completions bash > /etc/bash_completion.d/ledgerd")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Which data folder, for what works on the folder itself.
#[derive(Debug, Args)]
struct Folder {
    /// A configuration file [default: doppia.toml, if it is there]
    #[arg(long, env = "DOPPIA_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The data folder [default: ./data]
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// The database of the journal, where the keys are then [default: in the data folder]
    #[arg(long, value_name = "URL", global = true)]
    journal: Option<String>,
    /// Go on although the database server may lose what it acknowledges; for development
    #[arg(long, global = true)]
    allow_unsafe_server: bool,
}

impl Folder {
    fn settings(self) -> Settings {
        let Self { config, data, journal, allow_unsafe_server } = self;
        Settings { config, data, journal, allow_unsafe_server, ..Settings::default() }
    }
}

/// Settings that flags can override; absent ones come from elsewhere.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct Settings {
    /// A configuration file [default: doppia.toml, if it is there]
    #[arg(long, env = "DOPPIA_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// The data folder [default: ./data]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// The address and port to listen on, such as 0.0.0.0:7070 [default: 127.0.0.1:7070]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Whether read models are kept, and where [default: on]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_models: Option<KeepReadModels>,
    /// Where the journal is kept, such as postgres://user@host:5432/database or kafka://host:9092/prefix [default: in the data
    /// folder]
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    pub journal: Option<String>,
    /// Wait until the book has no other writer, instead of refusing to start
    #[arg(long)]
    #[serde(skip)]
    pub standby: bool,
    /// How long a writer must be silent before another may take over, in milliseconds [default: 4000]
    #[arg(long, value_name = "MS")]
    #[serde(skip)]
    pub lease_ms: Option<u64>,
    /// Go on although the servers may lose what they acknowledge; for development
    #[arg(long)]
    #[serde(skip)]
    pub allow_unsafe_server: bool,
    /// The brokers of a Kafka cluster to publish events to, such as localhost:9092 [default: nothing is published]
    #[arg(long, value_name = "BROKERS")]
    #[serde(skip)]
    pub kafka: Option<String>,
    /// The witness file, on another disk
    #[arg(long)]
    #[serde(skip)]
    pub witness: Option<PathBuf>,
    /// What this process does: some of api,writer,projector,relay [default: all of them]
    #[arg(long, value_name = "ROLES")]
    #[serde(skip)]
    pub roles: Option<String>,
    /// Of a gateway (api without writer): where the writer and its standbys take it in, such as http://writer-1:7071,http://writer-2:7071
    #[arg(long, value_name = "ADDRESSES")]
    #[serde(skip)]
    pub writers: Option<String>,
    /// Of a writer: the address and port on which it takes gateways in, such as 0.0.0.0:7071
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip)]
    pub grpc_listen: Option<SocketAddr>,
    /// A file with the secret that all processes of a cluster have; DOPPIA_CLUSTER_SECRET may hold it instead
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub cluster_secret_file: Option<PathBuf>,
    /// The PostgreSQL of read models and keys where the journal is in Kafka, such as postgres://user@host:5432/database
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    pub database: Option<String>,
    /// Which log lines, such as info or info,commands_api=debug [default: info]
    #[arg(long)]
    #[serde(skip)]
    pub log: Option<String>,
    /// How log lines look [default: pretty]
    #[arg(long, value_enum)]
    #[serde(skip)]
    pub log_format: Option<LogFormat>,
}

impl Settings {
    /// The effective configuration.
    pub fn load(&self) -> anyhow::Result<Config> {
        let mut flags = serde_json::to_value(self)?;
        let mut put = |table: &str, key: &str, value: Option<serde_json::Value>| {
            if let (Some(value), Some(fields)) = (value, flags.as_object_mut()) {
                let table = fields.entry(table).or_insert_with(|| serde_json::json!({}));
                if let Some(table) = table.as_object_mut() {
                    table.insert(key.to_owned(), value);
                }
            }
        };
        put("journal", "url", self.journal.clone().map(Into::into));
        put("journal", "standby", self.standby.then_some(true.into()));
        put("journal", "lease_ms", self.lease_ms.map(Into::into));
        put("journal", "allow_unsafe_server", self.allow_unsafe_server.then_some(true.into()));
        put("journal", "witness", self.witness.as_ref().map(|path| path.display().to_string().into()));
        put("kafka", "brokers", self.kafka.clone().map(Into::into));
        put("cluster", "writers", self.writers.clone().map(Into::into));
        put("cluster", "grpc_listen", self.grpc_listen.map(|address| address.to_string().into()));
        put("cluster", "secret_file", self.cluster_secret_file.as_ref().map(|path| path.display().to_string().into()));
        put("database", "url", self.database.clone().map(Into::into));
        put("log", "filter", self.log.clone().map(Into::into));
        put("log", "format", self.log_format.map(serde_json::to_value).transpose()?);
        if let (Some(roles), Some(fields)) = (&self.roles, flags.as_object_mut()) {
            fields.insert("roles".into(), roles.clone().into());
        }
        Ok(Config::load(self.config.as_deref(), flags)?)
    }
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// Serve one moment, without a lock and without writing to the data folder; the newest unless --at names another
    #[arg(long, conflicts_with = "accept_clock")]
    read_only: bool,
    /// Which moment: a sequence, a time (RFC 3339) or a date (its start in UTC)
    #[arg(long, requires = "read_only", value_name = "SEQUENCE|TIME")]
    at: Option<Moment>,
    /// Go on although the clock jumped; recorded with actor and reason
    #[arg(long, requires = "actor", requires = "reason")]
    accept_clock: bool,
    /// Who accepts the clock
    #[arg(long, requires = "accept_clock")]
    actor: Option<String>,
    /// Why the clock is right
    #[arg(long, requires = "accept_clock")]
    reason: Option<String>,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            let (bold, plain) = if std::io::stderr().is_terminal() { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
            eprintln!("{bold}error:{plain} {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.act {
        Act::Serve(args) => {
            let config = args.settings.load()?;
            telemetry::start_logging(&config.log);
            if args.read_only {
                runtime()?.block_on(serve::read_only(config, args.at))?;
                return Ok(ExitCode::SUCCESS);
            }
            let accept_clock = match (args.accept_clock, args.actor, args.reason) {
                (true, Some(actor), Some(reason)) => Some((actor, reason)),
                _ => None,
            };
            runtime()?.block_on(serve::command(config, accept_clock))?;
            Ok(ExitCode::SUCCESS)
        }
        Act::Import(args) => runtime()?.block_on(import::run(args, cli.output)),
        Act::Key { folder, args } => {
            keys::run(args, &folder.settings().load()?, cli.output)?;
            Ok(ExitCode::SUCCESS)
        }
        Act::Provider { folder, args } => {
            payments::run_provider(&args, &folder.settings().load()?, cli.output)?;
            Ok(ExitCode::SUCCESS)
        }
        Act::Payment { folder, args } => payments::run_payment(args, &folder.settings().load()?, cli.output),
        Act::Migrate(settings) => {
            let config = settings.load()?;
            let url =
                config.journal.url.as_ref().context("which one? Name it with --journal postgres://… or kafka://…")?;
            migrate(&config, &url.parse()?, cli.output)?;
            if let Some(database) = &config.database.url {
                migrate(&config, &database.parse()?, cli.output)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Act::Backup(args) => {
            backup::run(args, cli.output)?;
            Ok(ExitCode::SUCCESS)
        }
        Act::Restore(args) => {
            backup::restore(args, cli.output)?;
            Ok(ExitCode::SUCCESS)
        }
        Act::Kafka { cluster, act } => {
            kafka::run(&cluster, &act, cli.output)?;
            Ok(ExitCode::SUCCESS)
        }
        Act::Dlq(args) => {
            kafka::dlq::run(&args, cli.output)?;
            Ok(ExitCode::SUCCESS)
        }
        Act::Rates(args) => {
            runtime()?.block_on(rates::run(args, cli.output))?;
            Ok(ExitCode::SUCCESS)
        }
        Act::Config(settings) => {
            let config = settings.load()?;
            match cli.output {
                Output::Text => print!("{}", toml::to_string(&config)?),
                Output::Json => println!("{}", serde_json::to_string(&config)?),
            }
            Ok(ExitCode::SUCCESS)
        }
        Act::Demo(args) => runtime()?.block_on(demo::run(args)),
        Act::Completions { shell } => {
            // Into memory first: clap panics if whoever reads the script stops early.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ledgerd", &mut script);
            match std::io::stdout().write_all(&script) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
                Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
            }
        }
    }
}

fn migrate(config: &Config, place: &JournalPlace, output: Output) -> anyhow::Result<()> {
    match place {
        JournalPlace::Postgres(url) => {
            let Migrated { from, to } = stores::postgres::migrate(url)?;
            match output {
                Output::Json => {
                    println!("{}", serde_json::json!({ "database": url.to_string(), "from": from, "to": to }));
                }
                Output::Text if from == Some(to) => println!("{url} is of version {to} already"),
                Output::Text => println!("{url} is of version {to} now"),
            }
        }
        JournalPlace::Kafka(url) => {
            let made = make_topics(url, config.book_id(), config.journal.allow_unsafe_server)?;
            match output {
                Output::Json => {
                    let TopicsMade { topics, made } = made;
                    println!("{}", serde_json::json!({ "cluster": url.to_string(), "topics": topics, "made": made }));
                }
                Output::Text if made.made.is_empty() => {
                    println!("{url} has the topics {} already", made.topics.join(", "));
                }
                Output::Text => println!("{url} has the topics {} now", made.topics.join(", ")),
            }
        }
    }
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// An empty table in the product's one style.
pub(crate) fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(header.to_vec());
    // A rule under each row would be more ink than numbers.
    table.remove_style(comfy_table::TableComponent::HorizontalLines);
    table.remove_style(comfy_table::TableComponent::LeftBorderIntersections);
    table.remove_style(comfy_table::TableComponent::RightBorderIntersections);
    table.remove_style(comfy_table::TableComponent::MiddleIntersections);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_folder_of_keys_may_be_named_before_and_behind_the_act() {
        for line in ["key --data d list", "key list --data d", "key revoke key_1 --data d"] {
            let cli = Cli::try_parse_from(std::iter::once("ledgerd").chain(line.split(' '))).map_err(|e| e.to_string());
            let Ok(Cli { act: Act::Key { folder, .. }, .. }) = cli else { panic!("{line}: {cli:?}") };
            assert_eq!(folder.data, Some(PathBuf::from("d")), "{line}");
        }
    }
}
