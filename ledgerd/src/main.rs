//! The one binary. Everything it does is in the library beside it, so that tests and the demo run the same code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ledgerd::cli::main()
}
