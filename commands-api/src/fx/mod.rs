//! Foreign exchange: rate sheets, rates, quotes, conversions and exposure.
//!
//! `keys.rs` the keys that quotes are signed with · `token.rs` a quote as a text that nobody else can make · `quotes.rs` what a conversion
//! would give · `conversions.rs` a conversion by a quote · `sheets.rs` publishing · `rates.rs` what is quoted · `exposure.rs` the house's
//! positions.

pub(crate) mod conversions;
pub(crate) mod exposure;
mod keys;
mod prices;
pub(crate) mod quotes;
pub(crate) mod rates;
pub(crate) mod sheets;
mod token;

pub use keys::{QuoteKeys, QuoteKeysInvalid};
pub(crate) use token::TOKEN_MAX_BYTES;

use std::sync::Arc;

use event_schemas::Timestamp;

/// What it takes to make quotes.
#[derive(Clone)]
pub struct Quotes {
    /// The keys they are signed with.
    pub keys: QuoteKeys,
    /// The wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Quotes {
    /// Quotes by this machine's clock.
    pub fn new(keys: QuoteKeys) -> Self {
        let now = || Timestamp::from_micros(jiff::Timestamp::now().as_microsecond()).unwrap_or(Timestamp::MAX);
        Self { keys, now: Arc::new(now) }
    }
}
