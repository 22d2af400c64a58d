//! Entries in the order of their effective dates, those of one day in journal order, within bounded memory.
//!
//! A journal whose dates never go back is streamed. Otherwise days are taken together until their entries fill what
//! `--sort-memory` allows, and the journal is read once for each such span: its entries are kept in canonical form in one buffer
//! and an index of (date, sequence, offset) is sorted, not the entries. A span of a single day is in order as it is and is
//! streamed, however large. So memory is bounded, and ten million transfers take a handful of readings at worst.

use std::ops::{ControlFlow, RangeInclusive};

use event_schemas::codec::Reader;
use event_schemas::entry::Entry;
use event_schemas::{CivilDate, Event, Sequence};

use super::Selection;
use super::survey::{Survey, kept_bytes};
use crate::journal::Journal;
use crate::outcome::Failure;

type Visit<'a> = dyn FnMut(Sequence, &Entry<'_>) -> Result<(), Failure> + 'a;

pub(super) fn each(
    journal: &mut Journal,
    selection: &Selection,
    survey: &Survey,
    visit: &mut Visit<'_>,
) -> Result<(), Failure> {
    if survey.ordered {
        let always = CivilDate::MIN..=CivilDate::MAX;
        return scan(journal, selection, always, &mut |sequence, _, entry| visit(sequence, entry));
    }
    for span in spans(survey, selection.sort_max_bytes) {
        if span.start() == span.end() {
            scan(journal, selection, span, &mut |sequence, _, entry| visit(sequence, entry))?;
        } else {
            sorted(journal, selection, span, visit)?;
        }
    }
    Ok(())
}

/// Days taken together until they fill `max_bytes`.
fn spans(survey: &Survey, max_bytes: u64) -> Vec<RangeInclusive<CivilDate>> {
    let mut spans: Vec<RangeInclusive<CivilDate>> = Vec::new();
    let mut filled = 0_u64;
    for (&day, &bytes) in &survey.bytes_by_day {
        match spans.last_mut() {
            Some(span) if filled.saturating_add(bytes) <= max_bytes => *span = *span.start()..=day,
            _ => {
                spans.push(day..=day);
                filled = 0;
            }
        }
        filled = filled.saturating_add(bytes);
    }
    spans
}

fn sorted(
    journal: &mut Journal,
    selection: &Selection,
    span: RangeInclusive<CivilDate>,
    visit: &mut Visit<'_>,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let mut index: Vec<(CivilDate, Sequence, usize)> = Vec::new();
    scan(journal, selection, span, &mut |sequence, event, entry| {
        let before = bytes.len();
        index.push((entry.effective_on, sequence, before));
        event.encode(&mut bytes);
        assert!((bytes.len() - before) as u64 <= kept_bytes(entry), "the estimate is an upper bound");
        Ok(())
    })?;
    index.sort_unstable();
    for (_, sequence, offset) in index {
        let mut reader = Reader::new(bytes.get(offset..).unwrap_or_default());
        let event =
            Event::decode(&mut reader).map_err(|error| Failure::Damaged(format!("event {sequence}: {error}")))?;
        if let Some(entry) = event.body.entry() {
            visit(sequence, &entry)?;
        }
    }
    Ok(())
}

/// The entries of these days, in journal order.
fn scan(
    journal: &mut Journal,
    selection: &Selection,
    days: RangeInclusive<CivilDate>,
    visit: &mut dyn FnMut(Sequence, &Event, &Entry<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    journal.events(Sequence(1), selection.to, "writing entries", &mut |_, sequence, event| {
        if let Some(entry) = event.body.entry()
            && days.contains(&entry.effective_on)
            && entry.postings.iter().any(|posting| selection.takes(posting))
        {
            visit(sequence, &event, &entry)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}
