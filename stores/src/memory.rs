//! A journal in memory, for tests, with faults on demand.
//!
//! It keeps the contract of every journal (see [`conformance`](crate::conformance)) except that nothing outlives the
//! process. [`MemoryBook`] stands for what outlives a writer: the blocks, the writer's lease, the disk that may be full.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_schemas::{Block, BookId, Epoch, Sequence};
use ledger_core::ports::{AppendError, Head, Journal, JournalFault, JournalReader};
use projections::ports::{EventFeed, FeedFault};

/// A fault that the next append meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryFault {
    /// Another writer takes over before it.
    Fenced,
    /// The disk is full, this once.
    NoSpace,
    /// The append ends as [`AppendError::Unknown`], and the writer with it.
    Unknown {
        /// Whether the blocks are there in truth.
        written: bool,
    },
}

#[derive(Debug, Default)]
struct Inner {
    blocks: Vec<Block>,
    /// The newest writer's.
    epoch: Epoch,
    faults: VecDeque<MemoryFault>,
    full: bool,
}

impl Inner {
    fn head(&self) -> Head {
        self.blocks.last().map_or_else(Head::default, |block| Head {
            sequence: block.header().last_sequence(),
            hash: block.hash(),
            recorded_at: block.header().recorded_at,
            epoch: block.header().epoch,
        })
    }
}

#[derive(Debug)]
struct Shared {
    book: BookId,
    inner: Mutex<Inner>,
    grown: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blocks of a book in memory, and the handle by which a test makes them fail. Clones share everything.
#[derive(Debug, Clone)]
pub struct MemoryBook {
    shared: Arc<Shared>,
}

impl MemoryBook {
    /// An empty journal.
    pub fn new(book: BookId) -> Self {
        let inner = Mutex::new(Inner::default());
        Self { shared: Arc::new(Shared { book, inner, grown: Condvar::new() }) }
    }

    /// Opens a writer, which fences the one before.
    pub fn writer(&self) -> MemoryJournal {
        let mut inner = self.shared.lock();
        inner.epoch = Epoch(inner.epoch.max(inner.head().epoch).0 + 1);
        MemoryJournal { shared: Arc::clone(&self.shared), epoch: inner.epoch, stopped: None }
    }

    /// Opens a reader.
    pub fn reader(&self) -> MemoryReader {
        MemoryReader { shared: Arc::clone(&self.shared), next: 0 }
    }

    /// Lets an append to come meet a fault; several are met one after the other.
    pub fn fail_next_append(&self, fault: MemoryFault) {
        self.shared.lock().faults.push_back(fault);
    }

    /// Fills the disk, or frees it.
    pub fn set_full(&self, full: bool) {
        self.shared.lock().full = full;
    }

    /// All blocks.
    pub fn blocks(&self) -> Vec<Block> {
        self.shared.lock().blocks.clone()
    }
}

/// The writer of a journal in memory.
#[derive(Debug)]
pub struct MemoryJournal {
    shared: Arc<Shared>,
    epoch: Epoch,
    stopped: Option<AppendError>,
}

impl MemoryJournal {
    /// The writer of a fresh journal. [`MemoryBook::writer`] opens one again.
    pub fn new(book: BookId) -> Self {
        MemoryBook::new(book).writer()
    }

    /// What it shares with the writers after it.
    pub fn book(&self) -> MemoryBook {
        MemoryBook { shared: Arc::clone(&self.shared) }
    }

    fn stop(&mut self, error: AppendError) -> AppendError {
        self.stopped = Some(error.clone());
        error
    }
}

fn no_space() -> AppendError {
    AppendError::NoSpace("the memory journal was told to be full".into())
}

fn unknown() -> AppendError {
    AppendError::Unknown("the memory journal was told to fail".into())
}

/// Panics unless the blocks continue the journal: a writer that appends anything else has a bug.
pub(crate) fn assert_follows(book: BookId, head: Head, blocks: &[Block]) {
    let (mut sequence, mut hash) = (head.sequence, head.hash);
    let (mut recorded_at, mut epoch) = (head.recorded_at, head.epoch);
    for block in blocks {
        let header = block.header();
        assert_eq!(header.book, book, "a block of another book");
        assert_eq!(header.first_sequence, sequence.next(), "a block that does not follow the head");
        assert_eq!(header.previous, hash, "a block that does not chain to the head");
        let first = sequence == Sequence::ZERO;
        assert!(first || header.recorded_at >= recorded_at, "a block recorded before the head");
        assert!(header.epoch >= epoch, "a block of an epoch below the head's");
        (sequence, hash) = (header.last_sequence(), block.hash());
        (recorded_at, epoch) = (header.recorded_at, header.epoch);
    }
}

impl Journal for MemoryJournal {
    fn head(&self) -> Head {
        self.shared.lock().head()
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn secure_space(&mut self, _bytes: usize) -> Result<(), AppendError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        if self.shared.lock().full { Err(no_space()) } else { Ok(()) }
    }

    fn append(&mut self, blocks: &[Block]) -> Result<(), AppendError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        if inner.epoch > self.epoch {
            return Err(self.stop(AppendError::Fenced(inner.epoch)));
        }
        assert_follows(shared.book, inner.head(), blocks);
        let outcome = match inner.faults.pop_front() {
            None if inner.full => return Err(no_space()),
            None => Ok(()),
            Some(MemoryFault::NoSpace) => return Err(no_space()),
            Some(MemoryFault::Fenced) => {
                inner.epoch = Epoch(inner.epoch.0 + 1);
                return Err(self.stop(AppendError::Fenced(inner.epoch)));
            }
            Some(MemoryFault::Unknown { written: false }) => return Err(self.stop(unknown())),
            Some(MemoryFault::Unknown { written: true }) => Err(self.stop(unknown())),
        };
        inner.blocks.extend_from_slice(blocks);
        drop(inner);
        shared.grown.notify_all();
        outcome
    }

    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault> {
        Ok(Box::new(self.book().reader()))
    }
}

/// A reader of a journal in memory.
#[derive(Debug, Clone)]
pub struct MemoryReader {
    shared: Arc<Shared>,
    next: usize,
}

impl MemoryReader {
    fn find(inner: &Inner, sequence: Sequence) -> Option<usize> {
        let at = inner.blocks.partition_point(|block| block.header().last_sequence() < sequence);
        (at < inner.blocks.len()).then_some(at)
    }
}

impl JournalReader for MemoryReader {
    fn block_at(&mut self, sequence: Sequence) -> Result<Option<Block>, JournalFault> {
        let inner = self.shared.lock();
        if sequence == Sequence::ZERO {
            return Ok(None);
        }
        let Some(at) = Self::find(&inner, sequence) else { return Ok(None) };
        self.next = at + 1;
        Ok(inner.blocks.get(at).cloned())
    }

    fn next_block(&mut self) -> Result<Option<Block>, JournalFault> {
        let block = self.shared.lock().blocks.get(self.next).cloned();
        self.next += usize::from(block.is_some());
        Ok(block)
    }
}

impl EventFeed for MemoryReader {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        let deadline = Instant::now() + wait;
        let mut inner = self.shared.lock();
        loop {
            if let Some(at) = Self::find(&inner, after.next()) {
                return Ok(inner.blocks.get(at).cloned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            (inner, _) = self.shared.grown.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::conformance::recorded_blocks;

    #[test]
    fn faults_are_met_on_demand() {
        let blocks = recorded_blocks();
        let book = MemoryBook::new(BookId::FIRST);
        let mut journal = book.writer();
        book.set_full(true);
        assert!(matches!(journal.secure_space(1), Err(AppendError::NoSpace(_))));
        assert!(matches!(journal.append(&blocks[..1]), Err(AppendError::NoSpace(_))));
        book.set_full(false);
        assert_eq!(journal.secure_space(1), Ok(()));
        book.fail_next_append(MemoryFault::NoSpace);
        assert!(matches!(journal.append(&blocks[..1]), Err(AppendError::NoSpace(_))));
        assert_eq!(journal.append(&blocks[..1]), Ok(()));

        // Unknown stops the writer, whether or not the blocks are there; the next one finds out.
        for written in [false, true] {
            let before = book.blocks().len();
            let mut journal = book.writer();
            book.fail_next_append(MemoryFault::Unknown { written });
            assert!(matches!(journal.append(&blocks[before..=before]), Err(AppendError::Unknown(_))));
            assert!(matches!(journal.secure_space(1), Err(AppendError::Unknown(_))));
            assert!(matches!(journal.append(&blocks[before..=before]), Err(AppendError::Unknown(_))));
            assert_eq!(book.blocks().len(), before + usize::from(written));
        }

        // A writer that was overtaken can't append.
        let mut old = book.writer();
        let mut new = book.writer();
        assert!(new.epoch() > old.epoch());
        assert_eq!(old.append(&blocks[2..3]), Err(AppendError::Fenced(new.epoch())));
        assert_eq!(new.append(&blocks[2..3]), Ok(()));
        book.fail_next_append(MemoryFault::Fenced);
        assert!(matches!(new.append(&blocks[3..4]), Err(AppendError::Fenced(_))));
        assert_eq!(book.blocks(), blocks[..3]);
    }

    #[test]
    fn a_feed_waits_for_the_next_block() {
        let blocks = recorded_blocks();
        let book = MemoryBook::new(BookId::FIRST);
        let mut feed = book.reader();
        assert_eq!(EventFeed::next_block(&mut feed, Sequence::ZERO, Duration::ZERO), Ok(None));
        let mut journal = book.writer();
        let expected = blocks.clone();
        let writer = std::thread::spawn(move || {
            for block in blocks {
                journal.append(&[block]).unwrap();
            }
        });
        let mut after = Sequence::ZERO;
        for block in expected {
            let read = EventFeed::next_block(&mut feed, after, Duration::from_mins(1)).unwrap().unwrap();
            assert_eq!(read, block);
            after = block.header().last_sequence();
        }
        writer.join().unwrap();
    }
}
