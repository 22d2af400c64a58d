//! The command line: what may be asked, with an example each.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use event_schemas::{CivilDate, CommandId, PrincipalId, Sequence, Timestamp};

use crate::outcome::EXIT_CODES;

/// Proof from the journal: verify, rebuild, balances at a moment, events, export.
///
/// The journal is opened read-only and without a lock: every command but `rebuild` may run beside a live ledgerd.
#[derive(Debug, Parser)]
#[command(name = "replay-tool", version, after_help = EXIT_CODES, max_term_width = 120)]
pub struct Cli {
    /// The data folder.
    #[arg(long, global = true, default_value = "./data", env = "DOPPIA_DATA", value_name = "FOLDER")]
    pub data: PathBuf,
    /// Where the journal is, if not in the data folder, such as postgres://user@host:5432/database or
    /// kafka://host:9092/prefix.
    #[arg(long, global = true, env = "DOPPIA_JOURNAL__URL", value_name = "URL", hide_env_values = true)]
    pub journal: Option<String>,
    /// Which book of those servers.
    #[arg(long, global = true, default_value_t = 1, env = "DOPPIA_BOOK", value_name = "NUMBER")]
    pub book: u32,
    /// For people or for scripts.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// For whom the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

/// What may be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check everything: chain, anchor, witness, laws, digests, checkpoints, id index, read models.
    #[command(after_help = "Examples:
  replay-tool verify
  replay-tool --data /srv/doppia verify --witness /mnt/other/doppia.witness
  replay-tool verify --output json | jq '.checks[] | select(.outcome != \"ok\")'")]
    Verify(VerifyArgs),
    /// Make a read model again from nothing, and say whether it agrees with the one before. Needs ledgerd stopped.
    #[command(after_help = "Examples:
  replay-tool rebuild balances
  replay-tool rebuild --all --output json
  replay-tool --journal postgres://ledger@localhost/ledger rebuild --all --in-postgres")]
    Rebuild(RebuildArgs),
    /// The balance of an account at a moment, computed from the journal alone.
    #[command(after_help = "Examples:
  replay-tool balance berka:2378
  replay-tool balance berka:2378 --at-sequence 40000
  replay-tool balance berka:2378 --at-time 2026-11-21T09:30:00Z
  replay-tool balance berka:2378 --on-date 1993-12-31 --output json")]
    Balance(BalanceArgs),
    /// The events, filtered, a line each.
    #[command(after_help = "Examples:
  replay-tool events --limit 20
  replay-tool events --account berka:2378 --type entry.posted
  replay-tool events --type command.rejected --since 2026-11-21 --output json
  replay-tool events --access --since 2026-11-21
  replay-tool events --follow --output json | jq .type")]
    Events(EventsArgs),
    /// Postings or end-of-day balances for spreadsheets and other ledgers.
    #[command(after_help = "Examples:
  replay-tool export --format csv --out postings.csv
  replay-tool export --format csv --end-of-day --currency CZK
  replay-tool export --format hledger --out book.journal && hledger -f book.journal check -s
  replay-tool export --format beancount --out book.beancount && bean-check book.beancount

Rows of csv and jsonl stand in journal order and are streamed. hledger and beancount want entries by date: a journal whose
dates never go back is streamed too; otherwise it is read once for every `--sort-memory` of entries, so memory stays
below twice that and the accounts (about 500 bytes each), whatever its size.

In csv, a reference or an account code that a spreadsheet would take for a formula (it begins with = + - @, a tab or the end
of a line) gets an apostrophe in front; numbers stay as they are. The other forms have the texts as they are recorded.")]
    Export(ExportArgs),
    /// Print shell completions.
    #[command(after_help = "Example:
  replay-tool completions bash > /etc/bash_completion.d/replay-tool")]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Arguments of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The witness file on another disk: shows whether the whole folder was restored from an older copy.
    #[arg(long, env = "DOPPIA_WITNESS", value_name = "FILE")]
    pub witness: Option<PathBuf>,
    /// Look up every command id in the id index; otherwise about a thousand of them, evenly spread.
    #[arg(long)]
    pub all_ids: bool,
    /// Leave the read models out.
    #[arg(long)]
    pub no_read_models: bool,
}

/// Arguments of `rebuild`.
#[derive(Debug, Clone, Args)]
pub struct RebuildArgs {
    /// Which read models: balances, statements, trial_balance, settings, limits, audit, notifications, rates.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "PROJECTION")]
    pub projections: Vec<String>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
    /// Those in the database of the journal. A ledgerd that keeps them goes on from what is there then
    #[arg(long)]
    pub in_postgres: bool,
}

/// Arguments of `balance`.
#[derive(Debug, Clone, Args)]
pub struct BalanceArgs {
    /// The account's id or code.
    pub account: String,
    /// Which moment.
    #[command(flatten)]
    pub at: MomentArgs,
}

/// A moment; now if nothing is said.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub struct MomentArgs {
    /// After this event.
    #[arg(long, value_name = "SEQUENCE", value_parser = parse_sequence)]
    pub at_sequence: Option<Sequence>,
    /// After all that was recorded up to this time (RFC 3339, or a date: the start of that day in UTC).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at_time: Option<Timestamp>,
    /// Of all entries on record, those that count for this date or an earlier one.
    #[arg(long, value_name = "DATE")]
    pub on_date: Option<CivilDate>,
}

/// Arguments of `events`.
#[derive(Debug, Clone, Default, Args)]
pub struct EventsArgs {
    /// From this sequence on.
    #[arg(long, value_name = "SEQUENCE", value_parser = parse_sequence)]
    pub from: Option<Sequence>,
    /// Up to this sequence.
    #[arg(long, value_name = "SEQUENCE", value_parser = parse_sequence)]
    pub to: Option<Sequence>,
    /// That touch this account (id or code): its opening and status, postings, refused commands that name it.
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// Of this type, such as `entry.posted` or `ledger.entry.posted.v1`; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Caused by this command.
    #[arg(long, value_name = "UUID")]
    pub command: Option<CommandId>,
    /// Caused by this principal.
    #[arg(long, value_name = "UUID")]
    pub actor: Option<PrincipalId>,
    /// Recorded at this time or later (RFC 3339, or a date: the start of that day in UTC).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<Timestamp>,
    /// Recorded at this time or earlier.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<Timestamp>,
    /// At most so many.
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Of the access log, where it stands who looked at what, instead of the book.
    #[arg(long, conflicts_with = "account")]
    pub access: bool,
    /// Of the control journal, where it stands which keys were issued and revoked, instead of the book.
    #[arg(long, conflicts_with_all = ["account", "access"])]
    pub control: bool,
    /// Go on with what is recorded from now on; without `--from` or `--since` only that. Ends with Ctrl-C.
    #[arg(long, conflicts_with_all = ["to", "until"])]
    pub follow: bool,
}

/// Arguments of `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Which form.
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// The file to write; standard output if absent.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// csv only: `account,date,balance`, a row per account and date on which it moved.
    #[arg(long)]
    pub end_of_day: bool,
    /// Only postings of this currency.
    #[arg(long, value_name = "CODE")]
    pub currency: Option<String>,
    /// Only what stands up to this sequence.
    #[arg(long, value_name = "SEQUENCE", value_parser = parse_sequence)]
    pub to: Option<Sequence>,
    /// hledger and beancount: how many MiB of entries to sort at a time. With less memory the journal is read more often.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub sort_memory: u64,
}

/// The forms of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A row a posting.
    Csv,
    /// A JSON object a posting.
    Jsonl,
    /// A journal for hledger.
    Hledger,
    /// A ledger for beancount.
    Beancount,
}

fn parse_sequence(text: &str) -> Result<Sequence, String> {
    text.parse().map(Sequence).map_err(|_| format!("{text:?} is not a sequence (a number from 1)"))
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let day = text.parse::<CivilDate>().map(|date| Timestamp(i64::from(date.days()) * 86_400_000_000));
    day.or_else(|_| text.parse()).map_err(|error| error.to_string())
}
