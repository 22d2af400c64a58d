//! CSV → commands over the API, driven by a small declarative rules file.
//!
//! **Shape.** One reader decodes the file and turns each row into a request by the rules; it hands the request to one of N
//! workers by a hash of the row's account, so the rows of one account keep the order of the file. A worker sends one request
//! at a time over a kept connection; the server groups what arrives together into one flush.
//!
//! **Identity.** A row is `source:key`, the row's own key, sent as its `Idempotency-Key`. The book keeps every verdict for as
//! long as its journal lives, so an import that broke off is simply run again: rows that are there answer with their old
//! verdict and are counted as "already there". Nothing is kept on this side.
//!
//! **Accounts** are opened on first reference, with a key that follows from the account's name. The request that opens an
//! account is fixed by the first row of the file that names it, whichever worker sends it.
//!
//! **Refused rows** (they don't parse, or the book says no) go to a report with line number, key, code and reason, and the
//! import goes on. It stops when the server can't be reached for long, the key is wrong, or the server itself fails.
//!
//! **Absent on purpose**: no state file, no deduplication by content, no order between different accounts.

mod amounts;
mod client;
mod dates;
mod plan;
mod read;
mod refused;
mod rules;
mod run;
mod template;

pub use client::StopReason;
pub use rules::{Rules, RulesError};
pub use run::{ImportError, ImportOptions, Progress, Summary, check, import};
