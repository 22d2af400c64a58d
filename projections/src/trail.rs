//! Pages of what has a sequence: kept by it, or found by it through one index or several; in both directions, from a cursor
//! that is a sequence.
//!
//! What a page passes over (a filter that seldom matches) is bounded: it ends there with a cursor to go on from.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use event_schemas::Sequence;

use crate::ports::{ReadRows, RowsFault};
use crate::statements::Order;
use crate::table::{Row, scan};

/// How many rows a page looks at in all, at most, beyond those it takes.
const LOOKED_AT_MAX: usize = 10_000;

/// How many sequences all the sources of a page read ahead together, before their rows are looked at.
const READ_AHEAD: usize = 1_024;

/// What a visitor made of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is on the page.
    Taken,
    /// It is not wanted.
    Passed,
}

/// Where a page begins and how it goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    /// The last sequence of the page before.
    pub(crate) cursor: Option<Sequence>,
    /// How many rows it has at most.
    pub(crate) limit: usize,
    /// In which direction.
    pub(crate) order: Order,
    /// Only what lies behind this sequence counts.
    pub(crate) after: Sequence,
    /// The last sequence that counts: what lies behind it is not there yet.
    pub(crate) through: Sequence,
}

/// Counts what a page has, and says where the next one begins.
struct Page {
    wanted: usize,
    taken: usize,
    passed: usize,
    last: Option<Sequence>,
}

impl Page {
    fn of(pages: Pages) -> Self {
        Self { wanted: pages.limit.max(1), taken: 0, passed: 0, last: None }
    }

    /// Whether the page ends before one more row.
    const fn is_full(&self) -> bool {
        self.taken >= self.wanted || self.passed >= LOOKED_AT_MAX
    }

    fn saw(&mut self, sequence: Sequence, seen: Seen) {
        self.last = Some(sequence);
        match seen {
            Seen::Taken => self.taken += 1,
            Seen::Passed => self.passed += 1,
        }
    }
}

/// The range of keys behind a cursor (before it, if newest first). `lowest` is the lowest key that a sequence can have.
fn bounds(lowest: impl Fn(Sequence) -> Vec<u8>, pages: Pages, cursor: Option<Sequence>) -> (Vec<u8>, Vec<u8>) {
    let behind = |sequence: Sequence| Sequence(sequence.0.saturating_add(1));
    let (after, end) = (pages.after, behind(pages.through));
    match pages.order {
        Order::OldestFirst => (lowest(behind(cursor.map_or(after, |cursor| cursor.max(after)))), lowest(end)),
        Order::NewestFirst => (lowest(behind(after)), lowest(cursor.map_or(end, |cursor| cursor.min(end)))),
    }
}

/// Visits rows kept by sequence; returns the cursor of the next page, if there is one.
pub(crate) fn of_rows<R: Row<Key = Sequence>>(
    rows: &dyn ReadRows,
    pages: Pages,
    visit: &mut dyn FnMut(Sequence, R) -> Seen,
) -> Result<Option<Sequence>, RowsFault> {
    let (from, to) = bounds(|sequence| R::key_bytes(&sequence), pages, pages.cursor);
    let (mut page, mut more) = (Page::of(pages), false);
    scan::<R>(rows, &from, Some(&to), pages.order == Order::NewestFirst, &mut |sequence, row| {
        if page.is_full() {
            more = true;
            return ControlFlow::Break(());
        }
        page.saw(sequence, visit(sequence, row));
        ControlFlow::Continue(())
    })?;
    Ok(page.last.filter(|_| more))
}

/// Gives at most so many sequences behind a cursor, each once, in the order of the page.
pub(crate) type Source<'a> = Box<dyn Fn(Option<Sequence>, usize) -> Result<Vec<Sequence>, RowsFault> + 'a>;

/// The sequences in an index: those of the keys from `lowest` on. Keys of the same sequence count once.
pub(crate) fn index<'a, R: Row>(
    rows: &'a dyn ReadRows,
    pages: Pages,
    lowest: impl Fn(Sequence) -> Vec<u8> + 'a,
    sequence_of: impl Fn(&R::Key) -> Sequence + 'a,
) -> Source<'a> {
    Box::new(move |cursor, most| {
        let (from, to) = bounds(&lowest, pages, cursor);
        let mut found = Vec::with_capacity(most);
        rows.range(R::TABLE, &from, Some(&to), pages.order == Order::NewestFirst, &mut |key, _| {
            let sequence = R::key_of(key).map(|key| sequence_of(&key));
            if let (Ok(sequence), Some(Ok(last))) = (&sequence, found.last())
                && sequence == last
            {
                return ControlFlow::Continue(());
            }
            // A key that can't be read ends it, and is told.
            let unreadable = sequence.is_err();
            found.push(sequence);
            if unreadable || found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        found.into_iter().collect()
    })
}

/// A source with what was read ahead of it.
struct Ahead<'a> {
    source: Source<'a>,
    waiting: VecDeque<Sequence>,
    last: Option<Sequence>,
    ended: bool,
}

impl Ahead<'_> {
    fn head(&mut self, step: usize) -> Result<Option<Sequence>, RowsFault> {
        if self.waiting.is_empty() && !self.ended {
            self.waiting = (self.source)(self.last, step)?.into();
            self.ended = self.waiting.len() < step;
            self.last = self.waiting.back().copied().or(self.last);
        }
        Ok(self.waiting.front().copied())
    }
}

/// Visits the sequences that any of the sources has, each once; returns the cursor of the next page, if there is one.
pub(crate) fn of_sources(
    sources: Vec<Source<'_>>,
    pages: Pages,
    visit: &mut dyn FnMut(Sequence) -> Result<Seen, RowsFault>,
) -> Result<Option<Sequence>, RowsFault> {
    // One more than the page, to know whether there is a next one.
    let step = (READ_AHEAD / sources.len().max(1)).clamp(16, READ_AHEAD).min(pages.limit.saturating_add(1)).max(2);
    let ahead = |source| Ahead { source, waiting: VecDeque::new(), last: pages.cursor, ended: false };
    let mut sources: Vec<_> = sources.into_iter().map(ahead).collect();
    let mut page = Page::of(pages);
    loop {
        let mut next: Option<Sequence> = None;
        for source in &mut sources {
            if let Some(head) = source.head(step)? {
                next = Some(match (next, pages.order) {
                    (None, _) => head,
                    (Some(next), Order::OldestFirst) => next.min(head),
                    (Some(next), Order::NewestFirst) => next.max(head),
                });
            }
        }
        let Some(sequence) = next else { return Ok(None) };
        if page.is_full() {
            return Ok(page.last);
        }
        for source in &mut sources {
            if source.waiting.front() == Some(&sequence) {
                source.waiting.pop_front();
            }
        }
        page.saw(sequence, visit(sequence)?);
    }
}
