//! A journal that somebody else writes, for what asks for a journal and only reads it: the data folder of a standby.

use event_schemas::{Block, Epoch};
use ledger_core::ports::{AppendError, Head, Journal, JournalFault, JournalReader};

/// Makes readers of it.
type Readers = Box<dyn Fn() -> Box<dyn JournalReader> + Send>;

/// A journal without its lease, as it was at one moment; what is read of it goes on.
pub struct Followed {
    head: Head,
    readers: Readers,
}

impl std::fmt::Debug for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Followed").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Followed {
    /// The journal of these readers, which ends with this block at least.
    pub fn new(newest: &Block, readers: impl Fn() -> Box<dyn JournalReader> + Send + 'static) -> Self {
        let header = newest.header();
        let head = Head {
            sequence: header.last_sequence(),
            hash: newest.hash(),
            recorded_at: header.recorded_at,
            epoch: header.epoch,
        };
        Self { head, readers: Box::new(readers) }
    }
}

impl Journal for Followed {
    fn head(&self) -> Head {
        self.head
    }

    fn epoch(&self) -> Epoch {
        self.head.epoch
    }

    fn secure_space(&mut self, _: usize) -> Result<(), AppendError> {
        Err(AppendError::Fenced(self.head.epoch))
    }

    fn append(&mut self, _: &[Block]) -> Result<(), AppendError> {
        Err(AppendError::Fenced(self.head.epoch))
    }

    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault> {
        Ok((self.readers)())
    }
}
