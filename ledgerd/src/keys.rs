//! `ledgerd key new|list|revoke`, and the first key of a fresh folder. A running server notices changes by itself.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use commands_api::keys::{KeyFile, KeyRecord, NewKey, Scope};
use serde_json::json;

use crate::cli::Output;

/// The file of hashes in a data folder.
pub fn key_file(data: &Path) -> KeyFile {
    KeyFile::new(data.join("keys.json"))
}

/// Where the first admin key of a data folder is.
pub fn admin_key_path(data: &Path) -> PathBuf {
    data.join("admin.key")
}

/// Issues the admin key of a folder that has no keys yet, and writes it to `admin.key`, readable by its owner only. It is
/// not shown and not logged. Returns whether it was made now.
pub fn ensure_admin_key(data: &Path, tenant: &str) -> anyhow::Result<bool> {
    let file = key_file(data);
    if !file.list()?.is_empty() {
        return Ok(false);
    }
    // The file is made before the key is issued: if it can't be written, no key is in force that nobody has. It gets its
    // name when it is complete, since others wait for it.
    let path = admin_key_path(data);
    let partial = data.join("admin.key.new");
    let at = || format!("making {}", path.display());
    let mut admin =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial).with_context(at)?;
    // What a crash left behind may have another mode.
    admin.set_permissions(Permissions::from_mode(0o600)).with_context(at)?;
    let (_, secret) = file.issue(NewKey {
        tenant: tenant.to_owned(),
        holder: "admin".into(),
        customer: None,
        scopes: Scope::ALL.to_vec(),
        note: "made at the first start".into(),
    })?;
    writeln!(admin, "{}", secret.reveal()).and_then(|()| admin.sync_all()).with_context(at)?;
    std::fs::rename(&partial, &path).with_context(at)?;
    File::open(data).and_then(|folder| folder.sync_all()).with_context(at)?;
    Ok(true)
}

/// Keys of the API.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    act: KeyAct,
}

#[derive(Debug, Subcommand)]
enum KeyAct {
    /// Issues a key and prints it; it is shown this once
    #[command(after_help = "Examples:
  ledgerd key new --holder web-shop --scope read --scope write
  ledgerd key new --holder app --scope read --scope write --customer client:1")]
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
    /// Lists all keys, revoked ones too; never the keys themselves
    List,
    /// Makes a key void
    #[command(after_help = "Example:\n  ledgerd key revoke key_1a2b3c4d")]
    Revoke {
        /// The key's id, as `key list` shows it
        id: String,
    },
}

/// Runs `ledgerd key`.
pub fn run(args: KeyArgs, data: &Path, tenant: &str, output: Output) -> anyhow::Result<()> {
    if !data.is_dir() {
        anyhow::bail!(
            "there is no data folder {}: start `ledgerd serve` first, or name it with --data",
            data.display()
        );
    }
    let file = key_file(data);
    match args.act {
        KeyAct::New { holder, scopes, customer, note } => {
            let (record, secret) = file.issue(NewKey { tenant: tenant.to_owned(), holder, customer, scopes, note })?;
            match output {
                Output::Text => {
                    eprintln!("issued {} for {}; the key is shown this once:", record.id, record.holder);
                    println!("{}", secret.reveal());
                }
                Output::Json => {
                    let mut value = shown(&record);
                    if let Some(fields) = value.as_object_mut() {
                        fields.insert("key".into(), json!(secret.reveal()));
                    }
                    println!("{value}");
                }
            }
        }
        KeyAct::List => {
            let records = file.list()?;
            match output {
                Output::Json => println!("{}", json!(records.iter().map(shown).collect::<Vec<_>>())),
                Output::Text => {
                    let mut table =
                        crate::cli::table(&["id", "holder", "customer", "scopes", "since", "revoked", "note"]);
                    for key in &records {
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
        KeyAct::Revoke { id } => {
            let record = file.revoke(&id)?;
            match output {
                Output::Text => eprintln!("{} ({}) is void", record.id, record.holder),
                Output::Json => println!("{}", shown(&record)),
            }
        }
    }
    Ok(())
}

fn scope_names(key: &KeyRecord) -> Vec<String> {
    key.scopes.iter().map(|scope| format!("{scope:?}").to_lowercase()).collect()
}

/// A record without its hash, which is nobody's business outside the file.
fn shown(key: &KeyRecord) -> serde_json::Value {
    json!({
        "id": key.id, "holder": key.holder, "tenant": key.tenant, "customer": key.customer, "scopes": scope_names(key),
        "created_at": key.created_at, "revoked_at": key.revoked_at, "note": key.note,
    })
}
