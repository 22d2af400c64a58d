//! Statements: every posting of every account in journal order, with the running totals behind it.
//!
//! - [`rows`]: `statements_postings` by account, sequence and index in the entry, written once and never changed;
//!   `statements_times` by time of recording, with the last sequence recorded then.
//! - [`apply`]: one row per posting. The totals before it are those of the account's newest row, kept in memory while hot.
//! - [`queries`]: a page of a statement, the balance at a sequence and at a point in time: each a seek, whatever the length.
//!
//! The facts of an account (kind, currency, overdraft) stand with the balances; the queries read them there.

pub mod apply;
pub mod queries;
pub mod rows;

pub use apply::Statements;
pub use queries::{
    Order, StatementCursor, StatementLine, StatementPage, balance_at_sequence, balance_at_time, sequence_at_time,
    statement_page,
};

/// The projection's name.
pub const NAME: &str = "statements";
