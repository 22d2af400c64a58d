//! What is asked of notifications. Call these inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that
//! an answer names is the one it reflects.

use std::ops::ControlFlow;

use event_schemas::Sequence;
use event_schemas::notices::NoticeTopic;

use super::notice::{Channels, DEFAULT_CHANNELS};
use super::rows::{NoticeKey, NoticeRow, PreferencesRow};
use crate::ports::{ReadRows, RowsFault};
use crate::statements::Order;
use crate::table::{Row, behind_key, behind_prefix, get, put_key_text, scan};

/// How many notices of other topics a page passes over at most.
const PASSED_MAX: usize = 10_000;

/// A notice of a customer, as a place to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoticeCursor {
    /// The event.
    pub sequence: Sequence,
    /// The place among the event's notices, from 0.
    pub place: u16,
}

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The event, and the place among what it tells.
    pub at: NoticeCursor,
    /// What is told, and how.
    pub row: NoticeRow,
}

/// Some notices of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticesPage {
    /// The notices, in the order asked for.
    pub notices: Vec<Notice>,
    /// What to hand in as the cursor for the next page; `None` if no more follow by now. With a topic, a page may have few
    /// notices or none and yet be followed by others.
    pub next: Option<NoticeCursor>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// At most `limit` notices of a customer behind a cursor (before it, if newest first), all or those of one topic.
pub fn notices_page(
    rows: &dyn ReadRows,
    owner: &str,
    topic: Option<NoticeTopic>,
    cursor: Option<NoticeCursor>,
    limit: usize,
    order: Order,
) -> Result<NoticesPage, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let mut prefix = Vec::new();
    put_key_text(&mut prefix, owner);
    let at = cursor.map(|NoticeCursor { sequence, place }| {
        NoticeRow::key_bytes(&NoticeKey { owner: owner.into(), sequence, place })
    });
    let (from, to) = match (order, at) {
        (Order::OldestFirst, Some(at)) => (behind_key(&at), behind_prefix(&prefix)),
        (Order::NewestFirst, Some(at)) => (prefix, Some(at)),
        (_, None) => (prefix.clone(), behind_prefix(&prefix)),
    };
    let limit = limit.max(1);
    let (mut notices, mut passed) = (Vec::new(), 0_usize);
    let (mut last, mut more) = (None, false);
    scan::<NoticeRow>(rows, &from, to.as_deref(), order == Order::NewestFirst, &mut |key, row| {
        if notices.len() >= limit || passed >= PASSED_MAX {
            more = true;
            return ControlFlow::Break(());
        }
        let at = NoticeCursor { sequence: key.sequence, place: key.place };
        last = Some(at);
        if topic.is_none_or(|topic| topic == row.template.topic()) {
            notices.push(Notice { at, row });
        } else {
            passed += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok(NoticesPage { notices, next: last.filter(|_| more), sequence })
}

/// What a customer wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// Their version; zero if none were ever set.
    pub version: u64,
    /// The channels of each topic, the house's own where the customer said nothing.
    pub topics: [(NoticeTopic, Channels); 6],
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// What a customer wants to be told.
pub fn preferences(rows: &dyn ReadRows, owner: &str) -> Result<Preferences, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let set = get::<PreferencesRow>(rows, &owner.into())?;
    let channels = |topic| set.and_then(|set| set.channels(topic)).unwrap_or(DEFAULT_CHANNELS);
    let topics = NoticeTopic::ALL.map(|topic| (topic, channels(topic)));
    Ok(Preferences { version: set.map_or(0, |set| set.version), topics, sequence })
}
