//! Limits: what each customer may still let go, in each currency, now or at another moment.
//!
//! - [`rows`]: `limits_customers` by owner and currency, with the caps and what was last counted; `limits_calendar`, the newest
//!   calendar's facts; `limits_days`, when its days begin.
//! - [`apply`]: events carry the usage after them; it is compared with that before and taken over.
//! - [`queries`]: headroom at a moment: usage counts as nothing once its day or month is over.
//!
//! Usage never runs backwards: a moment of a day before the last charge is taken for the day of the charge, as it is when money
//! leaves. The calendar is replaced as a whole, so headroom at a moment before the newest calendar's first day is not known.

pub mod apply;
pub mod queries;
pub mod rows;

pub use apply::Limits;
pub use queries::{Headroom, HeadroomPage, WindowHeadroom, headroom, headrooms};

/// The projection's name.
pub const NAME: &str = "limits";
