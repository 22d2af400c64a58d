//! Settings of the book: the fee rules, the calendar, and how far periods are closed. They are facts of the book, so this is
//! what the newest of them says.
//!
//! - [`rows`]: `settings_fee_rules` by kind of move and currency; `settings_calendar` and `settings_period`, one row each.
//! - [`apply`]: the newest fact replaces the one before.
//! - [`queries`]: all fee rules, the calendar without the start of each day, the last day that is closed.

pub mod apply;
pub mod queries;
pub mod rows;

pub use apply::Settings;
pub use queries::{FeeRules, Setting, calendar, closed_period, fee_rules};
pub use rows::{CalendarRow, FeeRuleRow, PeriodRow};

/// The projection's name.
pub const NAME: &str = "settings";
