//! Read models: pure functions over events, and the tables they keep.
//!
//! A read model has a folder: `rows.rs` (its tables), `apply.rs` (what an event changes) and `queries.rs` (what is asked of
//! it). The [`runner`] drives them from an [`ports::EventFeed`] and commits rows and checkpoints together to a [`ports::Rows`];
//! queries read from any [`ports::ReadRows`], best inside [`ports::Rows::snapshot`], so that all of an answer is of one moment.
//!
//! *Architecture Invariant*: nothing here sees the rules (`ledger-core`) or a store's own library. What a read model needs to
//! know stands in the events.

pub mod access;
pub mod audit;
pub mod balances;
pub mod digest;
pub mod limits;
pub mod memory;
pub mod notifications;
pub mod ports;
pub mod projection;
pub mod rates;
pub mod rebuild;
pub mod runner;
pub mod settings;
pub mod statements;
pub mod table;
pub mod trial_balance;
pub mod verify;

mod cache;
mod totals;
mod trail;

pub use projection::{ApplyFault, Place, Projection, all, by_name};
pub use runner::{Progress, Runner, RunnerError, RunnerFault};
pub use totals::Totals;

/// The names of all projections of a book, in the order in which the runner drives them.
pub const NAMES: [&str; 8] = [
    balances::NAME,
    statements::NAME,
    trial_balance::NAME,
    settings::NAME,
    limits::NAME,
    audit::NAME,
    notifications::NAME,
    rates::NAME,
];

/// The names of the projections of the access log, which is a journal of its own: their sequences are not the book's.
pub const ACCESS_NAMES: [&str; 1] = [access::NAME];
