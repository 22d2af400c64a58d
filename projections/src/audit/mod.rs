//! The audit trail: who asked for what, on which accounts, when, and what the book said.
//!
//! - [`rows`]: `audit_acts` by sequence, one row per verdict and per act of the engine or an operator; `audit_by_actor`,
//!   `audit_by_account` and `audit_by_customer`, which lead to them.
//! - [`apply`]: rows are written once and never read again here, so the trail costs no memory.
//! - [`queries`]: pages in both directions, of the book, of an actor, an account, a customer or a command; the cursor is a
//!   sequence.
//!
//! What posts to an account is found through the account's statement, which has its sequences already: two rows less for every
//! transfer. A customer's acts are those of its accounts and those about the customer itself, merged when they are asked for.
//!
//! What followed from a command (charges to limits) and state digests have no row of their own: the verdict has. A row names at
//! most two accounts; the indexes have all of them, and the event itself has the rest.

pub mod apply;
pub mod queries;
pub mod rows;

pub use apply::{ACT_TYPES, Audit};
pub use queries::{AuditFilter, AuditLine, AuditOf, AuditPage, CUSTOMER_ACCOUNTS_MAX, audit_page};

/// The projection's name.
pub const NAME: &str = "audit";
