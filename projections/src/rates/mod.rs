//! Rate sheets: what was quoted, since when and from where. Every sheet there was is kept, for people who ask what a conversion of
//! last spring was made by.
//!
//! - [`rows`]: `rates_sheets` by version; `rates_quotes` by version and currency; `rates_margins` by version and place;
//!   `rates_by_date`, an index by the day that was quoted for.
//! - [`apply`]: a sheet that is published becomes a row of each. A sheet never changes, so nothing is read.
//! - [`queries`]: the newest sheet, that of a day, one by its version; whole, or the price of one pair.

pub mod apply;
pub mod queries;
pub mod rows;

pub use apply::Rates;
pub use queries::{Found, Pair, SheetHead, history, latest, of_date, pair, sheet};
pub use rows::{MarginRow, QuoteRow, SheetRow};

/// The projection's name.
pub const NAME: &str = "rates";
