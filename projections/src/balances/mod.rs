//! Balances: every account with its facts, its status and its totals, and its totals day by day of effect.
//!
//! - [`rows`]: `balances_accounts` by account; `balances_by_owner` by owner and account; `balances_days` by account and date;
//! - [`holds`]: `balances_holds` by hold, ended ones too; `balances_open_holds` by account and hold.
//! - [`apply`]: an entry touches one account row and one day row per posting; both stay in memory while they are hot.
//! - [`queries`]: an account, a page of accounts, the balance now and on a date. The balance at a sequence or at a point in
//!   time is asked of the statements, which keep a running balance.
//!
//! A balance on a date sums the days up to it, so its cost grows with the days on which the account moved.

pub mod apply;
pub mod holds;
pub mod queries;
pub mod rows;

pub use apply::Balances;
pub use holds::HoldStatus;
pub use queries::{
    AccountView, AccountsPage, BalanceView, HoldView, HoldsPage, account, accounts_page, balance_now, balance_on_date,
    hold, holds_page,
};
pub use rows::AccountStatus;

/// The projection's name.
pub const NAME: &str = "balances";
