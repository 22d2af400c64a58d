//! The access log, as the API needs it: every read of what is not everybody's is recorded before its answer leaves.

use event_schemas::event::AccessLogged;

/// The log takes no more just now. What was read must not be answered: 503, and nothing of it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access log is busy: nothing is shown that is not on record")]
pub struct AccessLogBusy;

/// Records who looked at what. Called once per sensitive read (statements, a customer's balances and holds, limits,
/// notifications, audit, events), with the status of the answer that is about to leave.
pub trait AccessLog: Send + Sync {
    /// Takes a record without waiting; it reaches the disk within a second. Texts longer than 256 bytes are refused by the
    /// caller's own bounds, or cut.
    fn try_record(&self, access: AccessLogged) -> Result<(), AccessLogBusy>;
}
