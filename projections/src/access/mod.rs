//! Who looked at what: the read model of the access log, a journal of its own beside that of the book.
//!
//! - [`rows`]: `access_reads` by sequence of that journal; `access_by_actor` and `access_by_subject`, which lead to them.
//! - [`apply`]: one row per read; anything but reads and the opening of the log is an alarm.
//! - [`queries`]: pages in both directions, of all, of an actor and of a subject.

pub mod apply;
pub mod queries;
pub mod rows;

pub use apply::Access;
pub use queries::{AccessLine, AccessOf, AccessPage, access_page};

/// The projection's name.
pub const NAME: &str = "access";
