//! Every journal against the contract of all journals.
#![allow(clippy::unwrap_used)]

use event_schemas::BookId;
use projections::ports::EventFeed;
use stores::conformance::{JournalMaker, check_all};
use stores::memory::{MemoryBook, MemoryJournal};

struct Memory;

impl JournalMaker for Memory {
    type Journal = MemoryJournal;

    fn fresh(&mut self) -> MemoryJournal {
        MemoryJournal::new(BookId::FIRST)
    }

    fn reopen(&mut self, journal: MemoryJournal) -> MemoryJournal {
        let book: MemoryBook = journal.book();
        drop(journal);
        book.writer()
    }

    fn feed(&mut self, journal: &MemoryJournal) -> Box<dyn EventFeed> {
        Box::new(journal.book().reader())
    }
}

#[test]
fn memory() {
    check_all(&mut Memory);
}

#[cfg(feature = "segments")]
mod segments {
    use std::sync::Arc;

    use event_schemas::{BookId, Sequence};
    use projections::ports::EventFeed;
    use stores::conformance::{JournalMaker, check_all};
    use stores::segments::{DiskStorage, SegmentJournal, SegmentOptions, SegmentReader, Storage, create, open};

    struct Segments {
        /// The last is that of the journal made last; the others go with it.
        folders: Vec<tempfile::TempDir>,
        options: SegmentOptions,
        /// Whether feeds poll the anchor, as those of another process do, or are woken by the writer.
        polling: bool,
    }

    impl Segments {
        fn check(segment_bytes: u64, background: bool, polling: bool) {
            let mut options = SegmentOptions::new(BookId::FIRST);
            options.segment_bytes = segment_bytes;
            options.background = background;
            check_all(&mut Self { folders: Vec::new(), options, polling });
        }

        fn storage(&self) -> Arc<dyn Storage> {
            Arc::new(DiskStorage::new(self.folders.last().unwrap().path()))
        }
    }

    impl JournalMaker for Segments {
        type Journal = SegmentJournal;

        fn fresh(&mut self) -> SegmentJournal {
            self.folders.push(tempfile::tempdir().unwrap());
            create(&self.storage(), &self.options).unwrap();
            open(&self.storage(), &self.options, Sequence::ZERO).unwrap()
        }

        fn reopen(&mut self, journal: SegmentJournal) -> SegmentJournal {
            drop(journal);
            open(&self.storage(), &self.options, Sequence::ZERO).unwrap()
        }

        fn feed(&mut self, journal: &SegmentJournal) -> Box<dyn EventFeed> {
            if self.polling {
                Box::new(SegmentReader::open(&self.storage()).unwrap())
            } else {
                Box::new(journal.segment_reader())
            }
        }
    }

    #[test]
    fn in_large_segments() {
        Segments::check(4 << 20, true, false);
    }

    #[test]
    fn in_segments_that_a_block_fills() {
        Segments::check(1 << 20, true, true);
    }

    #[test]
    fn without_threads() {
        Segments::check(1 << 20, false, false);
    }
}
