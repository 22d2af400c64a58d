//! A walk through the journal: the events of a range that pass a filter, as JSON, within bounds.

use std::time::Duration;

use event_schemas::{AccountId, Block, Event, Sequence};
use projections::ports::EventFeed;
use serde_json::value::{RawValue, to_raw_value};

use crate::problem::{Code, Problem};

/// Which events.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) of_type: Option<&'static str>,
    pub(super) account: Option<AccountId>,
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        self.of_type.is_none_or(|name| event.body.type_name() == name)
            && self.account.is_none_or(|account| event.body.touches(account))
    }
}

/// How much one walk may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The most events that are found.
    pub(super) events: usize,
    /// The number of bytes of JSON from which on it ends.
    pub(super) bytes: usize,
    /// The most events that are looked at.
    pub(super) scanned: u64,
}

/// An event that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) sequence: Sequence,
    pub(super) type_name: &'static str,
    pub(super) json: Box<RawValue>,
}

/// What a walk found, and the last event that it looked at.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) events: Vec<Found>,
    pub(super) through: Sequence,
}

/// Walks from the event behind `after` to `durable` at most, which a feed may already be beyond.
pub(super) fn scan(
    feed: &mut dyn EventFeed,
    after: Sequence,
    durable: Sequence,
    filter: &Filter,
    bounds: Bounds,
) -> Result<Scanned, Problem> {
    let mut found = Scanned { events: Vec::new(), through: after };
    let last = durable.min(Sequence(after.0.saturating_add(bounds.scanned)));
    let mut bytes = 0;
    while found.through < last {
        let block = feed.next_block(found.through, Duration::ZERO).map_err(|fault| unreadable(&fault))?;
        let Some(block) = block else {
            return Err(unreadable(&format!("event {} is durable, but the feed has none", found.through.next())));
        };
        for item in block.events() {
            let (sequence, event) = item.map_err(|error| unreadable(&error))?;
            if sequence <= found.through {
                continue;
            }
            if sequence > last {
                return Ok(found);
            }
            if sequence != found.through.next() {
                return Err(unreadable(&format!("event {} is next, but {sequence} came", found.through.next())));
            }
            if filter.takes(&event) {
                let event = written(&block, sequence, event)?;
                bytes += event.json.get().len();
                found.events.push(event);
            }
            found.through = sequence;
            if found.events.len() >= bounds.events || bytes >= bounds.bytes {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

fn written(block: &Block, sequence: Sequence, event: Event) -> Result<Found, Problem> {
    let type_name = event.body.type_name();
    let json = to_raw_value(&block.recorded(sequence, event)).map_err(|error| {
        tracing::error!(%error, %sequence, "an event could not be written as JSON");
        Problem::new(Code::Internal)
    })?;
    Ok(Found { sequence, type_name, json })
}

fn unreadable(fault: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%fault, "the journal could not be read for events");
    Problem::new(Code::JournalUnreadable)
}
