//! Proof: what a journal says, checked and told without the programs that wrote it running.
//!
//! *Architecture Invariant*: everything but `rebuild` reads only, takes no lock and may run beside a live ledgerd.
//!
//! *Architecture Invariant*: connectors are not linked, so a replay cannot have effects outside.
//!
//! `cli` what may be asked · `folder` the only place that opens a data folder · `journal` walking it · `outcome` how a run
//! ends · one module per command.

pub mod accounts;
pub mod balance;
pub mod cli;
pub mod events;
pub mod export;
pub mod folder;
pub mod journal;
pub mod outcome;
pub mod progress;
pub mod rebuild;
pub mod verify;

use std::io::Write;

use clap::CommandFactory as _;
use event_schemas::BookId;
use stores::place::JournalPlace;

use cli::{Cli, Command};
use folder::Folder;
use outcome::{Failure, Outcome};
use progress::Progress;

/// Answers one question. `colour` says whether `out` may be coloured.
pub fn run(cli: &Cli, colour: bool, progress: Progress, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let folder = || {
        let book = BookId::new(cli.book).ok_or_else(|| Failure::usage("books are numbered from 1"))?;
        let url = cli.journal.as_deref().map(JournalPlace::parse).transpose();
        let url = url.map_err(|fault| Failure::usage(fault.to_string()))?;
        Folder::find(&cli.data, url.map(|url| (url, book)))
    };
    let outcome = match &cli.command {
        Command::Verify(arguments) => verify::run(&folder()?, arguments, cli.output, colour, progress, out),
        Command::Rebuild(arguments) => rebuild::run(&folder()?, arguments, cli.output, progress, out),
        Command::Balance(arguments) => balance::run(&mut folder()?.journal(progress)?, arguments, cli.output, out),
        Command::Events(arguments) => {
            let folder = folder()?;
            let journal = match (arguments.access, arguments.control) {
                (true, _) => folder.access_journal(progress),
                (_, true) => folder.control_journal(progress),
                _ => folder.journal(progress),
            };
            events::run(&mut journal?, arguments, cli.output, out)
        }
        Command::Export(arguments) => export::run(&mut folder()?.journal(progress)?, arguments, out),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "replay-tool", out);
            Ok(Outcome::Fine)
        }
    }?;
    out.flush()?;
    Ok(outcome)
}
