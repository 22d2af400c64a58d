//! Whether a writer was overtaken: what the thread that looks after a lease tells those who serve under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use event_schemas::Epoch;

/// Tells whether the lease was lost. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LeaseWatch(
    /// The epoch of who took it over; zero while it is ours.
    Arc<AtomicU64>,
);

impl LeaseWatch {
    /// The epoch of the writer that has taken over.
    pub fn lost_to(&self) -> Option<Epoch> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            epoch => Some(Epoch(epoch)),
        }
    }

    pub(crate) fn lose(&self, to: Epoch) {
        self.0.store(to.0, Ordering::Release);
    }
}
