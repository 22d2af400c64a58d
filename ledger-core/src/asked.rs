//! What was asked, read back from a verdict: a retry with the same id is compared with it, field by field.

use event_schemas::command::{
    CaptureHold, CashMove, ConvertFunds, PlaceHold, PostEntry, PostTransfer, ReverseEntry, ReversedPart, TransferUpTo,
    VoidHold,
};
use event_schemas::event::{ConversionPosted, EntryPosted, EntryReversed, HoldCaptured};
use event_schemas::sabotage::{Switch, on};
use event_schemas::{Command, CommandBody, EntryKind, Event, EventBody, Money, Side};

use crate::ports::Verdict;

/// The command body that a verdict answers; `None` for an event that is no verdict, or whose postings do not have the
/// order that its kind prescribes.
pub fn asked(body: &EventBody) -> Option<CommandBody> {
    Some(match body {
        EventBody::AccountOpened(open) => CommandBody::OpenAccount(open.clone()),
        EventBody::AccountFrozen(act) => CommandBody::FreezeAccount(act.clone()),
        EventBody::AccountUnfrozen(act) => CommandBody::UnfreezeAccount(act.clone()),
        EventBody::AccountClosed(act) => CommandBody::CloseAccount(act.clone()),
        EventBody::EntryPosted(entry) => asked_entry(entry)?,
        EventBody::CommandRejected(rejected) => rejected.command.clone(),
        EventBody::HoldPlaced(placed) => CommandBody::PlaceHold(PlaceHold {
            account: placed.account,
            amount: placed.amount,
            expires_at: placed.expires_at,
            reference: placed.reference.clone(),
        }),
        EventBody::HoldCaptured(captured) => asked_capture(captured)?,
        EventBody::HoldVoided(voided) => {
            CommandBody::VoidHold(VoidHold { hold: voided.hold, reason: voided.reason.clone() })
        }
        EventBody::EntryReversed(reversed) => asked_reversal(reversed),
        EventBody::LimitsSet(limits) => CommandBody::SetLimits(limits.clone()),
        EventBody::CalendarPublished(calendar) => CommandBody::PublishCalendar(calendar.clone()),
        EventBody::FeeRuleSet(rule) => CommandBody::SetFeeRule(rule.clone()),
        EventBody::PeriodClosed(close) => CommandBody::ClosePeriod(close.clone()),
        EventBody::NotificationPreferencesSet(preferences) => {
            CommandBody::SetNotificationPreferences(preferences.clone())
        }
        EventBody::RateSheetPublished(sheet) => CommandBody::PublishRateSheet(sheet.clone()),
        EventBody::ConversionPosted(conversion) => asked_conversion(conversion)?,
        EventBody::BookOpened(_)
        | EventBody::StateDigest(_)
        | EventBody::ClockAccepted(_)
        | EventBody::HoldExpired(_)
        | EventBody::LimitCharged(_)
        | EventBody::LimitReleased(_)
        | EventBody::JournalRestored(_)
        | EventBody::ControlRecorded(_)
        | EventBody::AccessLogged(_) => return None,
    })
}

/// See [`HoldCaptured`] for the order of the postings.
fn asked_capture(captured: &HoldCaptured) -> Option<CommandBody> {
    let receiver = captured.postings.get(1)?;
    Some(CommandBody::CaptureHold(CaptureHold {
        hold: captured.hold,
        to: receiver.account,
        amount: receiver.money,
        fee_minor: match captured.fee_rule {
            Some(_) => None,
            None => Some(captured.postings.get(2).map_or(0, |fee| fee.money.amount_minor)),
        },
        last: captured.last,
        effective_on: captured.effective_on_named.then_some(captured.effective_on),
        reference: captured.reference.clone(),
    }))
}

fn asked_reversal(reversed: &EntryReversed) -> CommandBody {
    let parts = reversed.places.iter().zip(&reversed.postings);
    let parts =
        parts.map(|(place, posting)| ReversedPart { posting: *place, amount_minor: posting.money.amount_minor });
    CommandBody::ReverseEntry(ReverseEntry {
        entry: reversed.entry,
        postings: (!reversed.rest).then(|| parts.collect()),
        effective_on: reversed.effective_on_named.then_some(reversed.effective_on),
        reference: reversed.reference.clone(),
    })
}

/// See [`ConversionPosted`] for the order of the postings.
fn asked_conversion(conversion: &ConversionPosted) -> Option<CommandBody> {
    let (from, to) = (conversion.postings.first()?, conversion.postings.get(1)?);
    Some(CommandBody::ConvertFunds(ConvertFunds {
        from: from.account,
        to: to.account,
        owner: conversion.owner.clone(),
        fixed: conversion.fixed,
        sold: from.money,
        bought: to.money,
        tier: conversion.tier.clone(),
        sheet: conversion.sheet,
        expires_at: conversion.expires_at,
        reference: conversion.reference.clone(),
    }))
}

fn asked_entry(entry: &EntryPosted) -> Option<CommandBody> {
    let effective_on = entry.effective_on_named.then_some(entry.effective_on);
    let reference = entry.reference.clone();
    let cash = |account, amount: Money, fee_minor| CashMove {
        account,
        amount,
        fee_minor,
        effective_on,
        reference: reference.clone(),
    };
    // See `EntryKind` for the order of the postings.
    let (first, second) = (entry.postings.first()?, entry.postings.get(1)?);
    let fee_minor = |place: usize| match entry.fee_rule {
        Some(_) => None,
        None => Some(entry.postings.get(place).map_or(0, |posting| posting.money.amount_minor)),
    };
    debug_assert_eq!(first.side, if entry.kind == EntryKind::General { first.side } else { Side::Debit });
    Some(match entry.kind {
        EntryKind::TopUp => CommandBody::TopUp(cash(second.account, second.money, fee_minor(2))),
        EntryKind::Withdrawal => CommandBody::Withdraw(cash(first.account, second.money, fee_minor(2))),
        EntryKind::Transfer => CommandBody::PostTransfer(PostTransfer {
            from: first.account,
            to: second.account,
            amount: second.money,
            fee_minor: fee_minor(2),
            effective_on,
            reference,
        }),
        EntryKind::TransferUpTo => CommandBody::TransferUpTo(TransferUpTo {
            from: first.account,
            to: second.account,
            at_most: Money::new(entry.at_most_minor?, second.money.currency),
            effective_on,
            reference,
        }),
        EntryKind::General => {
            CommandBody::PostEntry(PostEntry { postings: entry.postings.clone(), effective_on, reference })
        }
    })
}

/// The verdict that an event records.
pub fn verdict(body: &EventBody) -> Verdict {
    match body {
        EventBody::CommandRejected(rejected) => Verdict::Rejected(rejected.rejection.clone()),
        EventBody::BookOpened(_)
        | EventBody::AccountOpened(_)
        | EventBody::AccountFrozen(_)
        | EventBody::AccountUnfrozen(_)
        | EventBody::AccountClosed(_)
        | EventBody::EntryPosted(_)
        | EventBody::StateDigest(_)
        | EventBody::ClockAccepted(_)
        | EventBody::HoldPlaced(_)
        | EventBody::HoldCaptured(_)
        | EventBody::HoldVoided(_)
        | EventBody::HoldExpired(_)
        | EventBody::EntryReversed(_)
        | EventBody::LimitsSet(_)
        | EventBody::LimitCharged(_)
        | EventBody::LimitReleased(_)
        | EventBody::CalendarPublished(_)
        | EventBody::FeeRuleSet(_)
        | EventBody::PeriodClosed(_)
        | EventBody::NotificationPreferencesSet(_)
        | EventBody::RateSheetPublished(_)
        | EventBody::ConversionPosted(_)
        | EventBody::JournalRestored(_)
        | EventBody::ControlRecorded(_)
        | EventBody::AccessLogged(_) => Verdict::Accepted,
    }
}

/// The first field in which a command differs from the one that an event is the verdict of; `None` if it is the same.
pub fn difference(event: &Event, command: &Command) -> Option<&'static str> {
    let Some((_, actor)) = event.cause.command() else { return Some("id") };
    match asked(&event.body) {
        Some(before) if actor == command.actor => differing_field(&before, &command.body),
        _ => Some("id"),
    }
}

/// The name of the first field in which two commands differ: `type` if they are of different types.
pub fn differing_field(one: &CommandBody, other: &CommandBody) -> Option<&'static str> {
    if one == other || on(Switch::ConflictUnnoticed) {
        return None;
    }
    let first = |fields: &[(&'static str, bool)]| fields.iter().find(|(_, same)| !same).map(|(name, _)| *name);
    Some(
        match (one, other) {
            (CommandBody::OpenAccount(a), CommandBody::OpenAccount(b)) => first(&[
                ("account", a.account == b.account),
                ("code", a.code == b.code),
                ("kind", a.kind == b.kind),
                ("currency", a.currency == b.currency),
                ("owner", a.owner == b.owner),
                ("overdraft", a.policy == b.policy),
            ]),
            (CommandBody::FreezeAccount(a), CommandBody::FreezeAccount(b))
            | (CommandBody::UnfreezeAccount(a), CommandBody::UnfreezeAccount(b))
            | (CommandBody::CloseAccount(a), CommandBody::CloseAccount(b)) => {
                first(&[("account", a.account == b.account), ("reason", a.reason == b.reason)])
            }
            (CommandBody::TopUp(a), CommandBody::TopUp(b)) | (CommandBody::Withdraw(a), CommandBody::Withdraw(b)) => {
                first(&[
                    ("account", a.account == b.account),
                    ("currency", a.amount.currency == b.amount.currency),
                    ("amount", a.amount == b.amount),
                    ("fee", a.fee_minor == b.fee_minor),
                    ("effective_on", a.effective_on == b.effective_on),
                    ("reference", a.reference == b.reference),
                ])
            }
            (CommandBody::PostTransfer(a), CommandBody::PostTransfer(b)) => first(&[
                ("from", a.from == b.from),
                ("to", a.to == b.to),
                ("currency", a.amount.currency == b.amount.currency),
                ("amount", a.amount == b.amount),
                ("fee", a.fee_minor == b.fee_minor),
                ("effective_on", a.effective_on == b.effective_on),
                ("reference", a.reference == b.reference),
            ]),
            (CommandBody::PostEntry(a), CommandBody::PostEntry(b)) => first(&[
                ("postings", a.postings == b.postings),
                ("effective_on", a.effective_on == b.effective_on),
                ("reference", a.reference == b.reference),
            ]),
            (CommandBody::PlaceHold(a), CommandBody::PlaceHold(b)) => first(&[
                ("account", a.account == b.account),
                ("currency", a.amount.currency == b.amount.currency),
                ("amount", a.amount == b.amount),
                ("expires_at", a.expires_at == b.expires_at),
                ("reference", a.reference == b.reference),
            ]),
            (CommandBody::CaptureHold(a), CommandBody::CaptureHold(b)) => first(&[
                ("hold", a.hold == b.hold),
                ("to", a.to == b.to),
                ("currency", a.amount.currency == b.amount.currency),
                ("amount", a.amount == b.amount),
                ("fee", a.fee_minor == b.fee_minor),
                ("last", a.last == b.last),
                ("effective_on", a.effective_on == b.effective_on),
                ("reference", a.reference == b.reference),
            ]),
            (CommandBody::VoidHold(a), CommandBody::VoidHold(b)) => {
                first(&[("hold", a.hold == b.hold), ("reason", a.reason == b.reason)])
            }
            (CommandBody::TransferUpTo(a), CommandBody::TransferUpTo(b)) => first(&[
                ("from", a.from == b.from),
                ("to", a.to == b.to),
                ("currency", a.at_most.currency == b.at_most.currency),
                ("at_most", a.at_most == b.at_most),
                ("effective_on", a.effective_on == b.effective_on),
                ("reference", a.reference == b.reference),
            ]),
            (CommandBody::SetLimits(a), CommandBody::SetLimits(b)) => first(&[
                ("owner", a.owner == b.owner),
                ("currency", a.currency == b.currency),
                ("version", a.version == b.version),
                ("per_transfer", a.caps.per_transfer_minor == b.caps.per_transfer_minor),
                ("daily", a.caps.daily_minor == b.caps.daily_minor),
                ("monthly", a.caps.monthly_minor == b.caps.monthly_minor),
            ]),
            (CommandBody::PublishCalendar(a), CommandBody::PublishCalendar(b)) => first(&[
                ("version", a.version == b.version),
                ("zone", a.zone == b.zone),
                ("tz_version", a.tz_version == b.tz_version),
                ("first_day", a.first_day == b.first_day),
                ("starts", a.starts == b.starts),
            ]),
            (CommandBody::SetFeeRule(a), CommandBody::SetFeeRule(b)) => first(&[
                ("kind", a.kind == b.kind),
                ("currency", a.currency == b.currency),
                ("version", a.version == b.version),
                ("fixed", a.fixed_minor == b.fixed_minor),
                ("rate_ppm", a.rate_ppm == b.rate_ppm),
                ("min", a.min_minor == b.min_minor),
                ("max", a.max_minor == b.max_minor),
            ]),
            (CommandBody::ClosePeriod(a), CommandBody::ClosePeriod(b)) => {
                first(&[("through", a.through == b.through), ("reason", a.reason == b.reason)])
            }
            (CommandBody::SetNotificationPreferences(a), CommandBody::SetNotificationPreferences(b)) => first(&[
                ("owner", a.owner == b.owner),
                ("version", a.version == b.version),
                ("topics", a.topics == b.topics),
            ]),
            (CommandBody::PublishRateSheet(a), CommandBody::PublishRateSheet(b)) => first(&[
                ("version", a.version == b.version),
                ("pivot", a.pivot == b.pivot),
                ("source", a.source == b.source),
                ("quoted_on", a.quoted_on == b.quoted_on),
                ("fetched_at", a.fetched_at == b.fetched_at),
                ("valid_until", a.valid_until == b.valid_until),
                ("quote_seconds", a.quote_seconds == b.quote_seconds),
                ("rates", a.rates == b.rates),
                ("margins", a.margins == b.margins),
            ]),
            (CommandBody::ConvertFunds(a), CommandBody::ConvertFunds(b)) => first(&[
                ("from", a.from == b.from),
                ("to", a.to == b.to),
                ("owner", a.owner == b.owner),
                ("fixed", a.fixed == b.fixed),
                ("sold", a.sold == b.sold),
                ("bought", a.bought == b.bought),
                ("tier", a.tier == b.tier),
                ("sheet", a.sheet == b.sheet),
                ("expires_at", a.expires_at == b.expires_at),
                ("reference", a.reference == b.reference),
            ]),
            (CommandBody::ReverseEntry(a), CommandBody::ReverseEntry(b)) => first(&[
                ("entry", a.entry == b.entry),
                ("postings", a.postings == b.postings),
                ("effective_on", a.effective_on == b.effective_on),
                ("reference", a.reference == b.reference),
            ]),
            _ => None,
        }
        .unwrap_or("type"),
    )
}
