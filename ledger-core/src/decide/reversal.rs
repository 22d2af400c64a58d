//! Reversals: a new entry with the sides swapped. Of no posting is ever more reversed than it was (law 6).

use event_schemas::bounds::{POSTINGS_MAX, POSTINGS_MIN};
use event_schemas::command::{ReverseEntry, ReversedPart};
use event_schemas::event::EntryReversed;
use event_schemas::{EventBody, Money, Posting, Postings, RecordedEvent, Rejection, Side};

use super::Context;
use super::postings::{amount_rejection, check_postings, effective_date};
use crate::state::State;

pub(super) fn reverse(state: &State, context: Context<'_>, reverse: &ReverseEntry) -> Result<EventBody, Rejection> {
    if let Some(parts) = &reverse.postings {
        check_parts(parts)?;
    }
    let effective_on = effective_date(state, context, reverse.effective_on)?;
    let (original, entry) = original(context, reverse)?;
    // What is left of each posting.
    let mut left: Vec<i128> = (0..)
        .zip(entry)
        .map(|(place, posting)| {
            posting.money.amount_minor.saturating_sub(state.reversed_minor(reverse.entry, place)).max(0)
        })
        .collect();
    let parts = match &reverse.postings {
        Some(parts) => {
            take(reverse, parts, &mut left)?;
            parts.clone()
        }
        None => (0..)
            .zip(&left)
            .filter(|(_, left)| **left > 0)
            .map(|(posting, left)| ReversedPart { posting, amount_minor: *left })
            .collect(),
    };
    if parts.is_empty() {
        return Err(Rejection::OriginalReversed { entry: reverse.entry });
    }
    let postings: Postings = parts.iter().filter_map(|part| swapped(entry, part)).collect();
    check_postings(state, &postings, &[])?;
    Ok(EventBody::EntryReversed(EntryReversed {
        entry: reverse.entry,
        reverses: original.sequence,
        rest: reverse.postings.is_none(),
        effective_on,
        effective_on_named: reverse.effective_on.is_some(),
        reference: reverse.reference.clone(),
        postings,
        places: parts.iter().map(|part| part.posting).collect(),
    }))
}

fn check_parts(parts: &[ReversedPart]) -> Result<(), Rejection> {
    let count = parts.len();
    if !(POSTINGS_MIN..=POSTINGS_MAX).contains(&count) {
        return Err(Rejection::PostingsOutOfBounds { count: u32::try_from(count).unwrap_or(u32::MAX) });
    }
    let worst = parts.iter().filter_map(|part| amount_rejection(part.amount_minor)).min_by_key(Rejection::number);
    worst.map_or(Ok(()), Err)
}

/// The original's event and postings: an entry, a capture or a conversion. That of a conversion swaps the very amounts that were
/// posted, so it is taken back at its own rate, margin and rounding included.
fn original<'a>(context: Context<'a>, reverse: &ReverseEntry) -> Result<(&'a RecordedEvent, &'a [Posting]), Rejection> {
    let entry = reverse.entry;
    let original = context
        .named
        .filter(|named| named.event.cause.verdict_of() == Some(entry))
        .ok_or(Rejection::OriginalNotFound { entry })?;
    match &original.event.body {
        EventBody::EntryPosted(posted) => Ok((original, &posted.postings)),
        EventBody::HoldCaptured(captured) => Ok((original, &captured.postings)),
        EventBody::ConversionPosted(conversion) => Ok((original, &conversion.postings)),
        EventBody::EntryReversed(_) => Err(Rejection::OriginalIsReversal { entry }),
        EventBody::BookOpened(_)
        | EventBody::AccountOpened(_)
        | EventBody::AccountFrozen(_)
        | EventBody::AccountUnfrozen(_)
        | EventBody::AccountClosed(_)
        | EventBody::CommandRejected(_)
        | EventBody::StateDigest(_)
        | EventBody::ClockAccepted(_)
        | EventBody::HoldPlaced(_)
        | EventBody::HoldVoided(_)
        | EventBody::HoldExpired(_)
        | EventBody::LimitsSet(_)
        | EventBody::LimitCharged(_)
        | EventBody::LimitReleased(_)
        | EventBody::CalendarPublished(_)
        | EventBody::FeeRuleSet(_)
        | EventBody::PeriodClosed(_)
        | EventBody::NotificationPreferencesSet(_)
        | EventBody::RateSheetPublished(_)
        | EventBody::ControlRecorded(_)
        | EventBody::AccessLogged(_)
        | EventBody::JournalRestored(_) => Err(Rejection::OriginalNotAnEntry { entry }),
    }
}

/// Takes the parts from what is left. A posting may be named more than once; the parts count together.
fn take(reverse: &ReverseEntry, parts: &[ReversedPart], left: &mut [i128]) -> Result<(), Rejection> {
    for part in parts {
        let (posting, required_minor) = (part.posting, part.amount_minor);
        let left = usize::try_from(posting).ok().and_then(|place| left.get_mut(place));
        let left_minor = left.as_deref().copied().unwrap_or(0);
        match left {
            Some(left) if required_minor <= left_minor => *left = left_minor.saturating_sub(required_minor),
            _ => {
                let entry = reverse.entry;
                return Err(Rejection::ReversalAboveOriginal { entry, posting, left_minor, required_minor });
            }
        }
    }
    Ok(())
}

fn swapped(entry: &[Posting], part: &ReversedPart) -> Option<Posting> {
    let posting = usize::try_from(part.posting).ok().and_then(|place| entry.get(place))?;
    let side = match posting.side {
        Side::Debit => Side::Credit,
        Side::Credit => Side::Debit,
    };
    Some(Posting { account: posting.account, side, money: Money::new(part.amount_minor, posting.money.currency) })
}
