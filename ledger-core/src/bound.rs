//! How large a command may be, and how large its events can get. What is out of bounds can't be recorded, not even as a
//! refusal that quotes it, so it never enters the engine.

use event_schemas::bounds::{
    CALENDAR_DAYS_MAX, CODE_MAX_BYTES, MARGIN_RULES_MAX, OWNER_MAX_BYTES, POSTINGS_MAX, RATE_NAME_MAX_BYTES,
    SHEET_RATES_MAX, TEXT_MAX_BYTES, TOTAL_MAX_MINOR,
};
use event_schemas::command::{BalancePolicy, OpenAccount};
use event_schemas::{Command, CommandBody};

/// Which part of a command is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBounds(pub &'static str);

/// Checks that a command can be recorded.
pub fn check(command: &Command) -> Result<(), OutOfBounds> {
    let text = |text: &str| if text.len() > TEXT_MAX_BYTES { Err(OutOfBounds("text")) } else { Ok(()) };
    let amount = |minor: i128| {
        if minor.unsigned_abs() > TOTAL_MAX_MINOR.unsigned_abs() { Err(OutOfBounds("amount")) } else { Ok(()) }
    };
    match &command.body {
        CommandBody::OpenAccount(open) => check_open(open),
        CommandBody::FreezeAccount(act) | CommandBody::UnfreezeAccount(act) | CommandBody::CloseAccount(act) => {
            text(&act.reason)
        }
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => {
            amount(cash.amount.amount_minor)?;
            amount(cash.fee_minor.unwrap_or(0))?;
            text(&cash.reference)
        }
        CommandBody::PostTransfer(transfer) => {
            amount(transfer.amount.amount_minor)?;
            amount(transfer.fee_minor.unwrap_or(0))?;
            text(&transfer.reference)
        }
        CommandBody::PostEntry(entry) => {
            if entry.postings.len() > POSTINGS_MAX {
                return Err(OutOfBounds("postings"));
            }
            entry.postings.iter().try_for_each(|posting| amount(posting.money.amount_minor))?;
            text(&entry.reference)
        }
        CommandBody::PlaceHold(place) => {
            amount(place.amount.amount_minor)?;
            text(&place.reference)
        }
        CommandBody::CaptureHold(capture) => {
            amount(capture.amount.amount_minor)?;
            amount(capture.fee_minor.unwrap_or(0))?;
            text(&capture.reference)
        }
        CommandBody::VoidHold(void) => text(&void.reason),
        CommandBody::ReverseEntry(reverse) => {
            let parts = reverse.postings.as_deref().unwrap_or_default();
            if parts.len() > POSTINGS_MAX {
                return Err(OutOfBounds("postings"));
            }
            parts.iter().try_for_each(|part| amount(part.amount_minor))?;
            text(&reverse.reference)
        }
        CommandBody::TransferUpTo(transfer) => {
            amount(transfer.at_most.amount_minor)?;
            text(&transfer.reference)
        }
        CommandBody::SetLimits(limits) => {
            customer(&limits.owner)?;
            limits.caps.all().into_iter().flatten().try_for_each(amount)
        }
        CommandBody::PublishCalendar(calendar) => {
            if calendar.starts.len() > CALENDAR_DAYS_MAX.saturating_add(1) {
                return Err(OutOfBounds("starts"));
            }
            text(&calendar.zone)?;
            text(&calendar.tz_version)
        }
        CommandBody::SetFeeRule(rule) => {
            amount(rule.fixed_minor)?;
            amount(rule.min_minor)?;
            rule.max_minor.into_iter().try_for_each(amount)
        }
        CommandBody::ClosePeriod(close) => text(&close.reason),
        CommandBody::SetNotificationPreferences(preferences) => customer(&preferences.owner),
        CommandBody::PublishRateSheet(sheet) => {
            if sheet.rates.len() > SHEET_RATES_MAX {
                return Err(OutOfBounds("rates"));
            }
            let long = |tier: &str| tier.len() > RATE_NAME_MAX_BYTES;
            if sheet.margins.len() > MARGIN_RULES_MAX
                || sheet.margins.iter().filter_map(|rule| rule.tier.as_deref()).any(long)
            {
                return Err(OutOfBounds("margins"));
            }
            if sheet.source.len() > RATE_NAME_MAX_BYTES { Err(OutOfBounds("source")) } else { Ok(()) }
        }
        CommandBody::ConvertFunds(convert) => {
            if convert.owner.len() > OWNER_MAX_BYTES {
                return Err(OutOfBounds("owner"));
            }
            if convert.tier.len() > RATE_NAME_MAX_BYTES {
                return Err(OutOfBounds("tier"));
            }
            amount(convert.sold.amount_minor)?;
            amount(convert.bought.amount_minor)?;
            text(&convert.reference)
        }
    }
}

/// A customer is named, and shortly.
const fn customer(owner: &str) -> Result<(), OutOfBounds> {
    if owner.is_empty() || owner.len() > OWNER_MAX_BYTES { Err(OutOfBounds("owner")) } else { Ok(()) }
}

fn check_open(open: &OpenAccount) -> Result<(), OutOfBounds> {
    if open.code.len() > CODE_MAX_BYTES {
        return Err(OutOfBounds("code"));
    }
    if open.owner.len() > OWNER_MAX_BYTES {
        return Err(OutOfBounds("owner"));
    }
    match open.policy {
        BalancePolicy::Limited { overdraft_minor } if !(0..=TOTAL_MAX_MINOR).contains(&overdraft_minor) => {
            Err(OutOfBounds("overdraft"))
        }
        BalancePolicy::Limited { .. } | BalancePolicy::Unlimited => Ok(()),
    }
}

/// Bytes of everything but texts and postings in the verdict of any command: length, tag, cause, and the largest rejection.
const FIXED_BYTES: usize = 208;
/// Bytes of a posting at most: tag, id, currency, amount.
const POSTING_BYTES: usize = 1 + 16 + 4 + 19;
/// Bytes of an amount at most, and whether there is one.
const AMOUNT_BYTES: usize = 20;
/// Bytes of the start of a day in a calendar at most.
const START_BYTES: usize = 10;
/// Bytes of the opening of one system account at most.
const SYSTEM_OPEN_BYTES: usize = 96;
/// Bytes of everything but texts and postings in the verdict of a move of money that takes place.
const MOVED_BYTES: usize = 112;

/// Bytes of a rate of a sheet at most, with its currency.
const RATE_BYTES: usize = 12;
/// Bytes of a margin rule at most, without its tier.
const MARGIN_BYTES: usize = 18;
/// Bytes of what a rate sheet says beside rates, margins and its source.
const SHEET_BYTES: usize = 64;
/// Bytes of what a conversion says beside texts and postings, two amounts of it in either form.
const CONVERSION_BYTES: usize = 128;
/// Bytes of the place of a posting in a reversal at most.
const PLACE_BYTES: usize = 5;
/// Bytes of what one command charges to a limit at most.
const CHARGE_BYTES: usize = 240;
/// Bytes of what one command gives back to a limit at most.
const RELEASE_BYTES: usize = 176;
/// Bytes of the expiry of one hold at most, in canonical form, with what it gives back to a limit: that has no command's ids.
pub const EXPIRY_BYTES: usize = 96 + RELEASE_BYTES - 32;

/// The most bytes that the events of a command take in canonical form.
pub fn event_bytes(command: &Command) -> usize {
    let sum_from = |from: usize, parts: &[usize]| parts.iter().fold(from, |sum, part| sum.saturating_add(*part));
    let sum = |parts: &[usize]| sum_from(FIXED_BYTES, parts);
    // A move of money takes place, with all that comes with it, or is refused without any of that.
    let moved = |text: &str, parts: &[usize]| sum_from(MOVED_BYTES, parts).max(FIXED_BYTES).saturating_add(text.len());
    let fee = |minor| if minor == Some(0) { 0 } else { POSTING_BYTES.saturating_add(SYSTEM_OPEN_BYTES) };
    match &command.body {
        CommandBody::OpenAccount(open) => sum(&[open.code.len(), open.owner.len()]),
        CommandBody::FreezeAccount(act) | CommandBody::UnfreezeAccount(act) | CommandBody::CloseAccount(act) => {
            sum(&[act.reason.len()])
        }
        CommandBody::TopUp(cash) => {
            moved(&cash.reference, &[POSTING_BYTES.saturating_mul(3), SYSTEM_OPEN_BYTES, fee(cash.fee_minor)])
        }
        CommandBody::Withdraw(cash) => moved(
            &cash.reference,
            &[POSTING_BYTES.saturating_mul(2), SYSTEM_OPEN_BYTES, fee(cash.fee_minor), CHARGE_BYTES],
        ),
        CommandBody::PostTransfer(transfer) => {
            moved(&transfer.reference, &[POSTING_BYTES.saturating_mul(2), fee(transfer.fee_minor), CHARGE_BYTES])
        }
        CommandBody::PostEntry(entry) => {
            sum(&[entry.reference.len(), POSTING_BYTES.saturating_mul(entry.postings.len())])
        }
        CommandBody::PlaceHold(place) => moved(&place.reference, &[CHARGE_BYTES]),
        CommandBody::CaptureHold(capture) => {
            moved(&capture.reference, &[POSTING_BYTES.saturating_mul(2), fee(capture.fee_minor), RELEASE_BYTES])
        }
        CommandBody::VoidHold(void) => moved(&void.reason, &[RELEASE_BYTES]),
        CommandBody::ReverseEntry(reverse) => {
            // How many postings the original has is known only when it is decided.
            let count = reverse.postings.as_ref().map_or(POSTINGS_MAX, Vec::len);
            sum(&[reverse.reference.len(), POSTING_BYTES.saturating_add(PLACE_BYTES).saturating_mul(count)])
        }
        CommandBody::TransferUpTo(transfer) => {
            moved(&transfer.reference, &[POSTING_BYTES.saturating_mul(2), CHARGE_BYTES])
        }
        CommandBody::SetLimits(limits) => sum(&[limits.owner.len(), AMOUNT_BYTES.saturating_mul(3)]),
        CommandBody::PublishCalendar(calendar) => {
            let starts = START_BYTES.saturating_mul(calendar.starts.len());
            sum(&[calendar.zone.len(), calendar.tz_version.len(), starts])
        }
        CommandBody::SetFeeRule(_) => sum(&[AMOUNT_BYTES.saturating_mul(3)]),
        CommandBody::ClosePeriod(close) => sum(&[close.reason.len()]),
        CommandBody::SetNotificationPreferences(preferences) => {
            sum(&[preferences.owner.len(), preferences.topics.len().saturating_mul(2)])
        }
        CommandBody::PublishRateSheet(sheet) => {
            let tiers: usize = sheet.margins.iter().map(|rule| rule.tier.as_ref().map_or(0, |tier| tier.len())).sum();
            let margins = MARGIN_BYTES.saturating_mul(sheet.margins.len());
            sum(&[sheet.source.len(), RATE_BYTES.saturating_mul(sheet.rates.len()), margins, tiers, SHEET_BYTES])
        }
        CommandBody::ConvertFunds(convert) => {
            let texts = convert.owner.len().saturating_add(convert.tier.len()).saturating_add(RATE_NAME_MAX_BYTES);
            let opens = SYSTEM_OPEN_BYTES.saturating_mul(4);
            let postings = POSTING_BYTES.saturating_mul(6);
            moved(&convert.reference, &[texts, postings, opens, CHARGE_BYTES, CONVERSION_BYTES])
        }
    }
}
