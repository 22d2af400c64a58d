//! Every journal against the contract of all journals.
#![allow(clippy::unwrap_used)]

use event_schemas::BookId;
use ledger_core::ports::Journal;
use projections::ports::EventFeed;
use stores::conformance::{JournalMaker, check_all};
use stores::memory::MemoryBook;

struct Memory(MemoryBook);

impl JournalMaker for Memory {
    fn fresh(&mut self) -> Box<dyn Journal> {
        self.0 = MemoryBook::new(BookId::FIRST);
        Box::new(self.0.writer())
    }

    fn reopen(&mut self, journal: Box<dyn Journal>) -> Box<dyn Journal> {
        drop(journal);
        Box::new(self.0.writer())
    }

    fn feed(&mut self) -> Box<dyn EventFeed> {
        Box::new(self.0.reader())
    }
}

#[test]
fn memory() {
    check_all(&mut Memory(MemoryBook::new(BookId::FIRST)));
}
