//! How large a command may be, and how large its events can get. What is out of bounds can't be recorded, not even as a
//! refusal that quotes it, so it never enters the engine.

use event_schemas::bounds::{CODE_MAX_BYTES, OWNER_MAX_BYTES, POSTINGS_MAX, TEXT_MAX_BYTES, TOTAL_MAX_MINOR};
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
            amount(cash.fee_minor)?;
            text(&cash.reference)
        }
        CommandBody::PostTransfer(transfer) => {
            amount(transfer.amount.amount_minor)?;
            amount(transfer.fee_minor)?;
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
            amount(capture.fee_minor)?;
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
    }
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
const FIXED_BYTES: usize = 192;
/// Bytes of a posting at most: tag, id, currency, amount.
const POSTING_BYTES: usize = 1 + 16 + 4 + 19;
/// Bytes of the opening of one system account at most.
const SYSTEM_OPEN_BYTES: usize = 128;

/// Bytes of the place of a posting in a reversal at most.
const PLACE_BYTES: usize = 5;
/// Bytes of the expiry of one hold at most, in canonical form.
pub const EXPIRY_BYTES: usize = 96;

/// The most bytes that the events of a command take in canonical form.
pub fn event_bytes(command: &Command) -> usize {
    let sum = |parts: &[usize]| parts.iter().fold(FIXED_BYTES, |sum, part| sum.saturating_add(*part));
    match &command.body {
        CommandBody::OpenAccount(open) => sum(&[open.code.len(), open.owner.len()]),
        CommandBody::FreezeAccount(act) | CommandBody::UnfreezeAccount(act) | CommandBody::CloseAccount(act) => {
            sum(&[act.reason.len()])
        }
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => {
            sum(&[cash.reference.len(), POSTING_BYTES.saturating_mul(4), SYSTEM_OPEN_BYTES.saturating_mul(2)])
        }
        CommandBody::PostTransfer(transfer) => {
            let opens = if transfer.fee_minor > 0 { SYSTEM_OPEN_BYTES } else { 0 };
            sum(&[transfer.reference.len(), POSTING_BYTES.saturating_mul(3), opens])
        }
        CommandBody::PostEntry(entry) => {
            sum(&[entry.reference.len(), POSTING_BYTES.saturating_mul(entry.postings.len())])
        }
        CommandBody::PlaceHold(place) => sum(&[place.reference.len()]),
        CommandBody::CaptureHold(capture) => {
            let opens = if capture.fee_minor > 0 { SYSTEM_OPEN_BYTES } else { 0 };
            sum(&[capture.reference.len(), POSTING_BYTES.saturating_mul(3), opens])
        }
        CommandBody::VoidHold(void) => sum(&[void.reason.len()]),
        CommandBody::ReverseEntry(reverse) => {
            // How many postings the original has is known only when it is decided.
            let count = reverse.postings.as_ref().map_or(POSTINGS_MAX, Vec::len);
            sum(&[reverse.reference.len(), POSTING_BYTES.saturating_add(PLACE_BYTES).saturating_mul(count)])
        }
    }
}
