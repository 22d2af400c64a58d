//! What is asked of limits. Call these inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that an
//! answer names is the one it reflects.

use std::ops::ControlFlow;

use event_schemas::limits::{Caps, LimitWindow};
use event_schemas::{CivilDate, Currency, Sequence, Timestamp};

use super::rows::{CustomerRow, DayRow};
use crate::ports::{ReadRows, RowsFault};
use crate::table::{Row, behind_key, behind_prefix, get, put_key_text, scan};

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowHeadroom {
    /// Which limit.
    pub window: LimitWindow,
    /// The limit, in minor units; `None` if there is none.
    pub cap_minor: Option<i128>,
    /// What is used of it; of one transfer, nothing ever is.
    pub used_minor: i128,
    /// What is left, zero at least; `None` without a limit.
    pub left_minor: Option<i128>,
    /// When the next window begins; `None` per transfer, and where the calendar does not reach as far.
    pub resets_at: Option<Timestamp>,
}

/// What a customer may still let go in a currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headroom {
    /// The customer.
    pub owner: Box<str>,
    /// The currency.
    pub currency: Currency,
    /// The version of the limits.
    pub version: u64,
    /// The limits.
    pub caps: Caps,
    /// The day that the moment falls on; `None` if no calendar says so, and then limits refuse everything.
    pub day: Option<CivilDate>,
    /// The limits per transfer, day and month, in this order.
    pub windows: [WindowHeadroom; 3],
    /// What a single transfer may take, fees included: the least of what is left; `None` if nothing is limited.
    pub left_minor: Option<i128>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// The limits of a customer in some currencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadroomPage {
    /// One for each currency, in the order of their codes.
    pub limits: Vec<Headroom>,
    /// What to hand in as `after` for the next page; `None` on the last.
    pub next: Option<Currency>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// The day of a moment, when the next day begins and when the next month does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Today {
    day: CivilDate,
    next_day_at: Option<Timestamp>,
    next_month_at: Option<Timestamp>,
}

/// The day of a moment; `None` if the calendar does not know. A day before that which usage was last counted for is taken for
/// that day, as it is when money leaves: usage never runs backwards.
fn today(rows: &dyn ReadRows, at: Timestamp, counted: Option<CivilDate>) -> Result<Option<Today>, RowsFault> {
    let behind = behind_key(&DayRow::key_bytes(&at));
    let mut found = None;
    scan::<DayRow>(rows, &[], Some(&behind), true, &mut |_, row| {
        found = Some(row);
        ControlFlow::Break(())
    })?;
    let Some(DayRow { day, ends: false }) = found else { return Ok(None) };
    let day = counted.map_or(day, |counted| counted.max(day));
    let (mut next_day_at, mut next_month_at) = (None, None);
    scan::<DayRow>(rows, &behind, None, false, &mut |starts_at, row| {
        if row.day > day {
            next_day_at.get_or_insert(starts_at);
        }
        if row.day <= day || row.day.month_start() == day.month_start() {
            return ControlFlow::Continue(());
        }
        next_month_at = Some(starts_at);
        ControlFlow::Break(())
    })?;
    Ok(Some(Today { day, next_day_at, next_month_at }))
}

/// What is left at a moment.
fn of(
    rows: &dyn ReadRows,
    (owner, currency): (Box<str>, Currency),
    row: &CustomerRow,
    at: Timestamp,
    sequence: Sequence,
) -> Result<Headroom, RowsFault> {
    let today = today(rows, at, row.used.map(|used| used.on))?;
    let caps = row.caps;
    let (day_used, month_used) = match (row.used, today) {
        (None, _) => (0, 0),
        (Some(used), Some(today)) => (
            if today.day == used.on { used.day_minor } else { 0 },
            if today.day.month_start() == used.on.month_start() { used.month_minor } else { 0 },
        ),
        (Some(used), None) => (used.day_minor, used.month_minor),
    };
    let window = |window, cap_minor: Option<i128>, used_minor, resets_at| WindowHeadroom {
        window,
        cap_minor,
        used_minor,
        left_minor: cap_minor.map(|cap| cap.saturating_sub(used_minor).max(0)),
        resets_at,
    };
    let windows = [
        window(LimitWindow::PerTransfer, caps.per_transfer_minor, 0, None),
        window(LimitWindow::Day, caps.daily_minor, day_used, today.and_then(|today| today.next_day_at)),
        window(LimitWindow::Month, caps.monthly_minor, month_used, today.and_then(|today| today.next_month_at)),
    ];
    let left_minor = windows.iter().filter_map(|window| window.left_minor).min();
    let day = today.map(|today| today.day);
    Ok(Headroom { owner, currency, version: row.version, caps, day, windows, left_minor, sequence })
}

/// What a customer may still let go in a currency at a moment; `None` if no limits were ever set. What was used before the
/// day last counted is not kept, so a moment of an earlier day is taken for that day.
pub fn headroom(
    rows: &dyn ReadRows,
    owner: &str,
    currency: Currency,
    at: Timestamp,
) -> Result<Option<Headroom>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let key = (owner.into(), currency);
    let Some(row) = get::<CustomerRow>(rows, &key)? else { return Ok(None) };
    of(rows, key, &row, at, sequence).map(Some)
}

/// What a customer may still let go at a moment, likewise: at most `limit` currencies behind `after`.
pub fn headrooms(
    rows: &dyn ReadRows,
    owner: &str,
    at: Timestamp,
    after: Option<Currency>,
    limit: usize,
) -> Result<HeadroomPage, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let mut prefix = Vec::new();
    put_key_text(&mut prefix, owner);
    let to = behind_prefix(&prefix);
    let from = after.map_or(prefix, |after| behind_key(&CustomerRow::key_bytes(&(owner.into(), after))));
    let limit = limit.max(1);
    let mut found = Vec::new();
    scan::<CustomerRow>(rows, &from, to.as_deref(), false, &mut |key, row| {
        found.push((key, row));
        // One more than the page, to know whether there is a next one.
        if found.len() <= limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let more = found.len() > limit;
    found.truncate(limit);
    let limits: Vec<_> =
        found.into_iter().map(|(key, row)| of(rows, key, &row, at, sequence)).collect::<Result<_, _>>()?;
    let next = if more { limits.last().map(|last| last.currency) } else { None };
    Ok(HeadroomPage { limits, next, sequence })
}
