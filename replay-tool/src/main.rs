//! The command line of the library beside it.

use std::io::{BufWriter, IsTerminal as _, stdout};
use std::process::ExitCode;

use clap::Parser as _;
use replay_tool::cli::Cli;
use replay_tool::outcome::Outcome;
use replay_tool::progress::Progress;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut out = BufWriter::with_capacity(1 << 16, stdout().lock());
    match replay_tool::run(&cli, colour, Progress::on_terminal(), &mut out) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // What stands so far is printed first, so that the two do not mix.
            drop(out);
            eprintln!("replay-tool: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
