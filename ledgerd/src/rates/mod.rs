//! Rates: the loop that publishes rate sheets while a server runs, and `ledgerd rates`.
//!
//! `publisher.rs` from sources to a sheet · `keys.rs` the keys of quotes · `cli.rs` what can be typed

mod cli;
mod keys;
mod publisher;

pub use cli::{RatesArgs, run};
pub use keys::{quotes, rotate};
pub(crate) use publisher::{RatesLoop, start};
