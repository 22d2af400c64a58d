//! The trial balance: what was debited and credited in all, by currency and kind of account. Both sides are equal, always.
//!
//! - [`rows`]: `trial_balance_totals` by currency and kind; `trial_balance_accounts`, the kind of each account, because a
//!   posting does not say it; `trial_balance_book`, one row of counts.
//! - [`apply`]: adds up, and refuses an entry whose sides differ in a currency.
//! - [`queries`]: the whole of it, with the proof.

pub mod apply;
pub mod queries;
pub mod rows;

pub use apply::TrialBalances;
pub use queries::{CurrencyTrial, TrialBalance, TrialLine, trial_balance};

/// The projection's name.
pub const NAME: &str = "trial_balance";
