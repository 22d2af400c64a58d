//! `ledgerd key new|rotate|revoke|scopes|list`. A running server notices changes by itself.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use commands_api::{ApiSecret, KeyRecord, Scope};
use serde_json::json;
use stores::embedded::FolderLock;

use super::{Keys, NewKey, old_file};
use crate::cli::Output;
use crate::config::Config;

/// Keys of the API.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    act: KeyAct,
    /// Who does it, for the record [default: the name of the user who runs it]
    #[arg(long, global = true)]
    actor: Option<String>,
}

#[derive(Debug, Subcommand)]
enum KeyAct {
    /// Issues a key and prints it; it is shown this once
    #[command(
        visible_alias = "issue",
        after_help = "Examples:
  ledgerd key new --holder web-shop --scope read --scope write
  ledgerd key new --holder app --scope read --scope write --customer client:1"
    )]
    New {
        /// Who will hold it: a service or a person, for the audit trail
        #[arg(long)]
        holder: String,
        /// What it may do; may be given several times
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
        /// Confines it to the accounts of this owner
        #[arg(long)]
        customer: Option<String>,
        /// Why it is issued
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Issues a key in the place of another and prints it; the old one is void at once, unless it is kept
    #[command(after_help = "The holder stays: what it did and what it may retry is the same with the new key.

Examples:
  ledgerd key rotate key_0123456789abcdef
  ledgerd key rotate key_0123456789abcdef --keep     then, when its program has the new one:
  ledgerd key revoke key_0123456789abcdef")]
    Rotate {
        /// The key's id, as `key list` shows it
        id: String,
        /// Leave the old key in force until it is revoked
        #[arg(long)]
        keep: bool,
        /// Why
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Changes what a key may do
    #[command(after_help = "Example:\n  ledgerd key scopes key_0123456789abcdef --scope read")]
    Scopes {
        /// The key's id, as `key list` shows it
        id: String,
        /// What it may do from now on; may be given several times
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
        /// Why
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Lists all keys, revoked ones too; never the keys themselves
    List,
    /// Makes a key void
    #[command(after_help = "Example:\n  ledgerd key revoke key_0123456789abcdef")]
    Revoke {
        /// The key's id, as `key list` shows it
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        note: String,
    },
}

/// Runs `ledgerd key`.
pub fn run(args: KeyArgs, config: &Config, output: Output) -> anyhow::Result<()> {
    let data = &config.data;
    if config.database().is_none() && !data.is_dir() {
        anyhow::bail!(
            "there is no data folder {}: start `ledgerd serve` first, or name it with --data",
            data.display()
        );
    }
    let keys = Keys::open(config)?;
    if old_file::is_there(data) {
        // A server of an older release reads that file, and would let nobody in without it.
        let _lock = FolderLock::take(data).context("its keys must be taken over first")?;
        take_over(&keys, config)?;
    }
    let actor = args.actor.unwrap_or_else(user);
    match args.act {
        KeyAct::New { holder, scopes, customer, note } => {
            let new = NewKey { tenant: config.tenant.clone(), holder, customer, scopes, note };
            let (record, secret) = keys.issue(new, &actor)?;
            show_secret(&record, &secret, output);
        }
        KeyAct::Rotate { id, keep, note } => {
            let (record, secret) = keys.rotate(&id, keep, &actor, &note)?;
            if output == Output::Text {
                let word = if keep { "stays in force until it is revoked" } else { "is void" };
                eprintln!("{id} {word}");
            }
            show_secret(&record, &secret, output);
        }
        KeyAct::Scopes { id, scopes, note } => {
            let record = keys.set_scopes(&id, &scopes, &actor, &note)?;
            match output {
                Output::Text => eprintln!("{} ({}) may {}", record.id, record.holder, scope_names(&record).join(" ")),
                Output::Json => println!("{}", shown(&record)),
            }
        }
        KeyAct::List => list(&keys.list()?, output),
        KeyAct::Revoke { id, note } => {
            let record = keys.revoke(&id, &actor, &note)?;
            match output {
                Output::Text => eprintln!("{} ({}) is void", record.id, record.holder),
                Output::Json => println!("{}", shown(&record)),
            }
        }
    }
    Ok(())
}

/// Takes keys of an older release over, and says so.
pub(super) fn take_over(keys: &Keys, config: &Config) -> anyhow::Result<()> {
    if let Some(count) = keys.take_old_file_over(&config.data)? {
        tracing::info!(keys = count, "the keys of keys.json were taken over; it is keys.json.imported now");
    }
    Ok(())
}

fn user() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| "operator".into())
}

fn show_secret(record: &KeyRecord, secret: &ApiSecret, output: Output) {
    match output {
        Output::Text => {
            eprintln!("issued {} for {}; the key is shown this once:", record.id, record.holder);
            println!("{}", secret.reveal());
        }
        Output::Json => {
            let mut value = shown(record);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("key".into(), json!(secret.reveal()));
            }
            println!("{value}");
        }
    }
}

fn list(records: &[KeyRecord], output: Output) {
    match output {
        Output::Json => println!("{}", json!(records.iter().map(shown).collect::<Vec<_>>())),
        Output::Text => {
            let mut table = crate::cli::table(&["id", "holder", "customer", "scopes", "since", "revoked", "note"]);
            for key in records {
                table.add_row([
                    key.id.clone(),
                    key.holder.clone(),
                    key.customer.clone().unwrap_or_default(),
                    scope_names(key).join(" "),
                    key.created_at.to_string(),
                    key.revoked_at.map(|at| at.to_string()).unwrap_or_default(),
                    key.note.clone(),
                ]);
            }
            println!("{table}");
        }
    }
}

fn scope_names(key: &KeyRecord) -> Vec<&'static str> {
    key.scopes.iter().map(|scope| scope.name()).collect()
}

/// A record without its hash, which is nobody's business outside.
fn shown(key: &KeyRecord) -> serde_json::Value {
    json!({
        "id": key.id, "holder": key.holder, "tenant": key.tenant, "customer": key.customer, "scopes": scope_names(key),
        "created_at": key.created_at, "revoked_at": key.revoked_at, "note": key.note,
    })
}
