//! Rates: exact decimals, the sheet that decisions look them up in, and conversions from one currency to another.
//!
//! `decimal.rs` what a source quotes: digits and a point, never a float. `sheet.rs` the rate sheet: how much of each currency one
//! unit of the pivot buys, and the house's margins. `conversion.rs` the command and the entry.
//!
//! A sheet quotes against one pivot and nothing else. The mid of a pair is the quotient of two quotes, kept as a quotient: no
//! rate is rounded, and no rounded reciprocal exists.

mod conversion;
mod decimal;
mod sheet;

pub use conversion::{ConversionPosted, ConvertFunds, FixedSide};
pub use decimal::{Rate, RateError};
pub use sheet::{MarginRule, Mid, PublishRateSheet, QuotedRate, SheetPart};
