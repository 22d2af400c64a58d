//! Walking a journal: one reader, the head it had when the walk began, and events in order up to there.
//!
//! A walk never goes beyond that head, so what it says holds for one moment even while a writer goes on. It costs one
//! block of memory.

use std::ops::ControlFlow;

use event_schemas::{Block, BlockHeader, BookId, Event, Sequence, Timestamp};
use ledger_core::ports::{Head, JournalReader};

use crate::outcome::Failure;
use crate::progress::Progress;

/// Takes an event with the header of its block, and says whether to go on.
pub type VisitEvent<'a> = dyn FnMut(&BlockHeader, Sequence, Event) -> Result<ControlFlow<()>, Failure> + 'a;

/// A journal as it was when it was opened here.
pub struct Journal {
    reader: Box<dyn JournalReader>,
    head: Head,
    book: BookId,
    progress: Progress,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("book", &self.book).field("head", &self.head).finish_non_exhaustive()
    }
}

impl Journal {
    /// A journal of which `head` is durable. Reads its first block.
    pub fn new(mut reader: Box<dyn JournalReader>, head: Head, progress: Progress) -> Result<Self, Failure> {
        let first = reader.block_at(Sequence(1))?;
        let book = first.map_or(BookId::FIRST, |block| block.header().book);
        Ok(Self { reader, head, book, progress })
    }

    /// The book.
    pub const fn book(&self) -> BookId {
        self.book
    }

    /// The last durable block when the journal was opened.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Where progress is shown.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Hands over the blocks that hold the sequences `from..=to`, until the visitor breaks off. `to` is cut to the head.
    pub fn blocks(
        &mut self,
        from: Sequence,
        to: Sequence,
        what: &str,
        visit: &mut dyn FnMut(&Block) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        let from = from.max(Sequence(1));
        let to = to.min(self.head.sequence);
        if from > to {
            return Ok(());
        }
        let bar = self.progress.events(what, to.0 - from.0 + 1);
        let mut next = self.reader.block_at(from)?;
        loop {
            let Some(block) = next else {
                return Err(Failure::Damaged(format!(
                    "the journal ends before event {to}, which was durable when this began"
                )));
            };
            let last = block.header().last_sequence();
            if visit(&block)?.is_break() || last >= to {
                return Ok(());
            }
            bar.set_position(last.0.saturating_sub(from.0));
            next = self.reader.next_block()?;
        }
    }

    /// Hands over the events `from..=to`, each with the header of its block.
    pub fn events(
        &mut self,
        from: Sequence,
        to: Sequence,
        what: &str,
        visit: &mut VisitEvent<'_>,
    ) -> Result<(), Failure> {
        self.blocks(from, to, what, &mut |block| {
            for item in block.events() {
                let (sequence, event) = item?;
                if sequence > to {
                    return Ok(ControlFlow::Break(()));
                }
                if sequence >= from && visit(block.header(), sequence, event)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The first sequence recorded at `time` or later, by bisection (times never run backwards); the one behind the head if
    /// there is none.
    pub fn first_at(&mut self, time: Timestamp) -> Result<Sequence, Failure> {
        let (mut low, mut high) = (Sequence(1), self.head.sequence.next());
        while low < high {
            let middle = Sequence(low.0 + (high.0 - low.0) / 2);
            let header = *self.block_at(middle)?.header();
            if header.recorded_at < time {
                low = header.last_sequence().next();
            } else {
                high = header.first_sequence;
            }
        }
        Ok(low)
    }

    /// The block that holds a sequence.
    pub fn block_at(&mut self, sequence: Sequence) -> Result<Block, Failure> {
        let ends = || Failure::Damaged(format!("the journal ends before event {sequence}, which was durable"));
        self.reader.block_at(sequence)?.ok_or_else(ends)
    }

    /// The reader, to follow the journal beyond the head it had.
    pub fn reader(&mut self) -> &mut dyn JournalReader {
        self.reader.as_mut()
    }
}
