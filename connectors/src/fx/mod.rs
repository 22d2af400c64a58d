//! Where rates come from: a closed set of sources, and what must be so of an answer before the book gets it.
//!
//! `source.rs` the sources · `http.rs` asking one over HTTP, with a bound on time and bytes · `answers.rs` what Frankfurter and
//! openexchangerates answer, read from its text · `ecb.rs` the history file of the European Central Bank · `guard.rs` how old and how far
//! from the last sheet rates may be.
//!
//! Every source quotes against a base, its pivot here. All others are quotients of two quotes, and nothing is ever rounded or
//! multiplied by a reciprocal.

mod answers;
mod ecb;
mod guard;
mod http;
mod source;

pub use ecb::EcbHistory;
pub use guard::{Guard, Refused, same_rates};
pub use source::{RateSource, SourceConfig};

use std::path::PathBuf;

use event_schemas::rates::{QuotedRate, RateError};
use event_schemas::{CivilDate, Currency, Timestamp};

/// What a source quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// Its name, such as `frankfurter`.
    pub source: &'static str,
    /// The currency that it quotes against.
    pub pivot: Currency,
    /// The day that it quotes for.
    pub quoted_on: CivilDate,
    /// When it was asked.
    pub fetched_at: Timestamp,
    /// The rates, in the order of their currencies, the pivot not among them.
    pub rates: Vec<QuotedRate>,
}

/// A source that gave no rates that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RateFault {
    /// It could not be reached, or not in time.
    #[error("{source_name} can't be reached: {reason}")]
    Unreachable {
        /// The source.
        source_name: &'static str,
        /// Why, without the URL: it may hold a secret.
        reason: String,
    },
    /// It said no.
    #[error("{source_name} answers {status}: {message}")]
    Status {
        /// The source.
        source_name: &'static str,
        /// The HTTP status.
        status: u16,
        /// Its own words, bounded.
        message: String,
    },
    /// The answer is longer than it may be.
    #[error("the answer of {0} is longer than {max} bytes", max = http::ANSWER_MAX_BYTES)]
    TooLong(&'static str),
    /// The answer is not what this source answers.
    #[error("the answer of {source_name} can't be read: {reason}")]
    Malformed {
        /// The source.
        source_name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A rate that is none.
    #[error("the rate of {currency} by {source_name}: {error}")]
    Rate {
        /// The source.
        source_name: &'static str,
        /// The currency, as the source calls it.
        currency: String,
        /// What is wrong.
        error: RateError,
    },
    /// Currencies that were asked for and are not there: a source drops what it does not know in silence.
    #[error("{source_name} has no {missing}")]
    Missing {
        /// The source.
        source_name: &'static str,
        /// Their codes.
        missing: String,
    },
    /// It has nothing for this day or before.
    #[error("{source_name} has nothing for {date} or before")]
    NothingFor {
        /// The source.
        source_name: &'static str,
        /// The day.
        date: CivilDate,
    },
    /// A file can't be read.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Sorts rates and leaves the pivot out; every currency that was asked for must be there, once.
fn complete(
    source_name: &'static str,
    pivot: Currency,
    symbols: &[Currency],
    mut rates: Vec<QuotedRate>,
) -> Result<Vec<QuotedRate>, RateFault> {
    rates.retain(|rate| rate.currency != pivot && (symbols.is_empty() || symbols.contains(&rate.currency)));
    rates.sort_unstable_by_key(|rate| rate.currency);
    let twice = rates.iter().zip(rates.iter().skip(1)).find(|(one, next)| one.currency == next.currency);
    if let Some((one, _)) = twice {
        return Err(RateFault::Malformed { source_name, reason: format!("{} stands twice", one.currency) });
    }
    let missing: Vec<_> = symbols
        .iter()
        .filter(|symbol| **symbol != pivot && rates.iter().all(|rate| rate.currency != **symbol))
        .map(ToString::to_string)
        .collect();
    if missing.is_empty() && !rates.is_empty() {
        return Ok(rates);
    }
    let missing = if missing.is_empty() { "rates at all".to_owned() } else { missing.join(", ") };
    Err(RateFault::Missing { source_name, missing })
}
