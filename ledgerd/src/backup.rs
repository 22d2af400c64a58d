//! `ledgerd backup`, `ledgerd backup verify` and `ledgerd restore`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use event_schemas::Sequence;
use serde_json::json;
use stores::backup::{self, AcceptRollback, Made, RestoreOptions, Restored};

use crate::cli::{Output, Settings};
use crate::config::Config;
use crate::progress::Bytes;

/// What is said whenever a backup is made: it is found out too late otherwise.
const KEYS_APART: &str = "keys of the API are in the backup as hashes; admin.key is not";

/// A backup of a data folder.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BackupArgs {
    /// Where the backup is, or goes: a new folder, or one with an older backup of the book, to which what is new is added
    #[arg(long, required = true, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Read it again when it is made, as `backup verify` does
    #[arg(long)]
    verify: bool,
    /// A configuration file [default: doppia.toml, if it is there]
    #[arg(long, env = "DOPPIA_CONFIG")]
    config: Option<PathBuf>,
    /// The data folder [default: ./data]
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(subcommand)]
    act: Option<BackupAct>,
}

#[derive(Debug, Subcommand)]
enum BackupAct {
    /// Checks a backup: every byte that its manifest speaks of, every link of the chain
    #[command(after_help = "Example:\n  ledgerd backup verify /mnt/backup/book-1")]
    Verify {
        /// The folder of the backup
        folder: PathBuf,
    },
}

/// A backup, put back.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The folder of the backup
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The data folder to make: it must not exist, or be empty [default: ./data]
    #[arg(long)]
    data: Option<PathBuf>,
    /// The witness file: it tells whether the book went on after this backup
    #[arg(long)]
    witness: Option<PathBuf>,
    /// A configuration file [default: doppia.toml, if it is there]
    #[arg(long, env = "DOPPIA_CONFIG")]
    config: Option<PathBuf>,
    /// Go on although what came after the backup is lost; the backup's last sequence must be named. It goes on record
    #[arg(long, value_name = "SEQUENCE", requires = "actor", requires = "reason")]
    accept_rollback_to: Option<u64>,
    /// Who accepts it
    #[arg(long, requires = "accept_rollback_to")]
    actor: Option<String>,
    /// Why
    #[arg(long, requires = "accept_rollback_to")]
    reason: Option<String>,
}

/// Runs `ledgerd backup`.
pub fn run(args: BackupArgs, output: Output) -> anyhow::Result<()> {
    if let Some(BackupAct::Verify { folder }) = args.act {
        let checked = verify(&folder)?;
        return print(&checked, &folder, "verified", output);
    }
    let Some(to) = args.to else { anyhow::bail!("name the folder of the backup with --to") };
    let config = Settings { config: args.config, data: args.data, ..Settings::default() }.load()?;
    of_segments(&config)?;
    let made = {
        let bar = Bytes::new("backing up");
        backup::back_up(&config.data, &to, now(), &mut |copied| bar.set(copied))?
    };
    print(&made, &to, "backed up", output)?;
    if args.verify {
        let checked = verify(&to)?;
        if output == Output::Text {
            eprintln!("read again: {} segments, all as they were written", checked.segments);
        }
    }
    Ok(())
}

fn verify(folder: &Path) -> anyhow::Result<Made> {
    let bar = Bytes::new("verifying");
    Ok(backup::verify(folder, &mut |copied| bar.set(copied))?)
}

fn print(made: &Made, folder: &Path, what: &str, output: Output) -> anyhow::Result<()> {
    let (sequence, hash) = made.head();
    match output {
        Output::Json => {
            let journals = made.manifest.journals.iter().map(|journal| {
                let segments = journal.segments.len();
                json!({ "name": journal.name, "sequence": journal.sequence, "hash": journal.hash, "epoch": journal.epoch,
                        "blocks": journal.blocks, "segments": segments })
            });
            let value = json!({
                "folder": folder, "book": made.manifest.book, "sequence": sequence, "hash": hash,
                "made_at": made.manifest.made_at, "before": made.before, "segments": made.segments, "bytes": made.bytes,
                "journals": journals.collect::<Vec<_>>(), "notices": made.notices,
            });
            println!("{}", serde_json::to_string(&value)?);
        }
        Output::Text => {
            println!("{what}: book {} up to sequence {sequence}, in {}", made.manifest.book, folder.display());
            println!("  last block {hash}");
            println!("  made at    {}", made.manifest.made_at);
            let mib = made.bytes.div_ceil(1024 * 1024);
            let added = made.before.map_or_else(String::new, |before| format!(", on top of a backup up to {before}"));
            println!("  segments   {} ({mib} MiB){added}", made.segments);
            println!("  {KEYS_APART}");
            for notice in &made.notices {
                println!("  note: {notice}");
            }
        }
    }
    Ok(())
}

/// Runs `ledgerd restore`.
pub fn restore(args: RestoreArgs, output: Output) -> anyhow::Result<()> {
    let settings = Settings { config: args.config, data: args.data, witness: args.witness, ..Settings::default() };
    let config = settings.load()?;
    of_segments(&config)?;
    let accept = match (args.accept_rollback_to, args.actor, args.reason) {
        (Some(to), Some(actor), Some(reason)) => Some(AcceptRollback { to: Sequence(to), actor, reason }),
        _ => None,
    };
    let options = RestoreOptions { witness: config.journal.witness.clone(), accept, now: now() };
    let restored = {
        let bar = Bytes::new("restoring");
        backup::restore(&args.from, &config.data, &options, &mut |copied| bar.set(copied))?
    };
    print_restored(&restored, &config.data, output)
}

fn print_restored(restored: &Restored, data: &Path, output: Output) -> anyhow::Result<()> {
    let Restored { manifest, sequence, hash, bytes, recorded, notices } = restored;
    match output {
        Output::Json => {
            let value = json!({
                "data": data, "book": manifest.book, "sequence": sequence, "hash": hash, "bytes": bytes,
                "backup_made_at": manifest.made_at, "recorded": recorded, "notices": notices,
            });
            println!("{}", serde_json::to_string(&value)?);
        }
        Output::Text => {
            println!("restored: book {} up to sequence {sequence}, in {}", manifest.book, data.display());
            println!("  last block {hash}");
            println!("  backup of  {}", manifest.made_at);
            if *recorded {
                println!("  that it was restored is on record as event {sequence}");
            }
            println!("  keys of the API are those of the backup: what was revoked since is in force again");
            for notice in notices {
                println!("  note: {notice}");
            }
        }
    }
    Ok(())
}

/// A journal in a database is backed up by the means of the database.
pub(crate) fn of_segments(config: &Config) -> anyhow::Result<()> {
    if config.journal.url.is_some() {
        anyhow::bail!("the journal is on servers: this is for journals in a data folder; use their own means");
    }
    Ok(())
}

fn now() -> event_schemas::Timestamp {
    (stores::book::system_clock().wall)()
}
