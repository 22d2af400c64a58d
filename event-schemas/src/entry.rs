//! Entries of every kind, seen alike: what a capture and a reversal post is an entry as much as that of a transfer.

use crate::date::CivilDate;
use crate::event::{EntryKind, EventBody};
use crate::ids::CommandId;
use crate::money::Postings;

/// What an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryOrigin {
    /// A top-up, a withdrawal, a transfer (up to an amount or not) or an entry of the caller's own making.
    Command(EntryKind),
    /// The capture of this hold.
    Capture(CommandId),
    /// The reversal of the entry of this command.
    Reversal(CommandId),
    /// A conversion.
    Conversion,
}

impl EntryOrigin {
    /// The name of its kind: that of the entry's kind, or `capture` or `reversal`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command(kind) => kind.name(),
            Self::Capture(_) => "capture",
            Self::Reversal(_) => "reversal",
            Self::Conversion => "conversion",
        }
    }

    /// The hold that was captured, or the command whose entry was reversed.
    pub const fn about(self) -> Option<CommandId> {
        match self {
            Self::Command(_) | Self::Conversion => None,
            Self::Capture(about) | Self::Reversal(about) => Some(about),
        }
    }

    /// The origin of this name about this command, if there is one.
    pub fn from_parts(name: &str, about: Option<CommandId>) -> Option<Self> {
        match (name, about) {
            ("capture", Some(hold)) => Some(Self::Capture(hold)),
            ("reversal", Some(entry)) => Some(Self::Reversal(entry)),
            ("conversion", None) => Some(Self::Conversion),
            (name, None) => EntryKind::ALL.into_iter().find(|kind| kind.name() == name).map(Self::Command),
            _ => None,
        }
    }
}

/// An entry, whatever event it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it came from.
    pub origin: EntryOrigin,
    /// The date it counts for.
    pub effective_on: CivilDate,
    /// The command's free text.
    pub reference: &'a str,
    /// Its postings, zero in sum per currency.
    pub postings: &'a Postings,
}

impl EventBody {
    /// The entry that this event posts, if it does.
    pub fn entry(&self) -> Option<Entry<'_>> {
        Some(match self {
            Self::EntryPosted(entry) => Entry {
                origin: EntryOrigin::Command(entry.kind),
                effective_on: entry.effective_on,
                reference: &entry.reference,
                postings: &entry.postings,
            },
            Self::HoldCaptured(captured) => Entry {
                origin: EntryOrigin::Capture(captured.hold),
                effective_on: captured.effective_on,
                reference: &captured.reference,
                postings: &captured.postings,
            },
            Self::EntryReversed(reversed) => Entry {
                origin: EntryOrigin::Reversal(reversed.entry),
                effective_on: reversed.effective_on,
                reference: &reversed.reference,
                postings: &reversed.postings,
            },
            Self::ConversionPosted(conversion) => Entry {
                origin: EntryOrigin::Conversion,
                effective_on: conversion.effective_on,
                reference: &conversion.reference,
                postings: &conversion.postings,
            },
            Self::BookOpened(_)
            | Self::AccountOpened(_)
            | Self::AccountFrozen(_)
            | Self::AccountUnfrozen(_)
            | Self::AccountClosed(_)
            | Self::CommandRejected(_)
            | Self::StateDigest(_)
            | Self::ClockAccepted(_)
            | Self::HoldPlaced(_)
            | Self::HoldVoided(_)
            | Self::HoldExpired(_)
            | Self::LimitsSet(_)
            | Self::LimitCharged(_)
            | Self::LimitReleased(_)
            | Self::CalendarPublished(_)
            | Self::FeeRuleSet(_)
            | Self::PeriodClosed(_)
            | Self::NotificationPreferencesSet(_)
            | Self::RateSheetPublished(_)
            | Self::JournalRestored(_)
            | Self::ControlRecorded(_)
            | Self::AccessLogged(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_its_name_and_what_it_is_about() {
        let id = CommandId(7);
        let all = EntryKind::ALL.map(EntryOrigin::Command).into_iter().chain([
            EntryOrigin::Capture(id),
            EntryOrigin::Reversal(id),
            EntryOrigin::Conversion,
        ]);
        for origin in all {
            assert_eq!(EntryOrigin::from_parts(origin.name(), origin.about()), Some(origin));
            let other = if origin.about().is_some() { None } else { Some(id) };
            assert_eq!(EntryOrigin::from_parts(origin.name(), other), None);
        }
        assert_eq!(EntryOrigin::from_parts("gift", None), None);
    }
}
