//! Events: what happened. An event is its cause and its body; its sequence, time and epoch follow from the block it is in.
//!
//! Canonical form, version 1 of every type: length (LEB128, of all that follows), type (1 byte), version (1 byte), cause (1
//! byte: 0 the engine, 1 a command's consequence, 2 a command's verdict; for a command its id and its actor, 16 bytes each),
//! then the body's fields in the order of their declaration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds::EVENT_MAX_BYTES;
use crate::codec::{CodecError, Reader, put_date, put_id, put_postings, put_signed, put_text, put_time, put_varint};
use crate::command::{AccountAct, CommandBody, OpenAccount};
use crate::control::ControlRecorded;
use crate::date::{CivilDate, Timestamp};
use crate::digest::Digest;
pub use crate::fees::SetFeeRule;
pub use crate::holds::{HoldCaptured, HoldExpired, HoldPlaced, HoldVoided};
use crate::ids::{BookId, CommandId, Epoch, PrincipalId, Sequence};
pub use crate::limits::{LimitCharged, LimitReleased, PublishCalendar, SetLimits};
use crate::money::Postings;
pub use crate::notices::SetNotificationPreferences;
pub use crate::rates::{ConversionPosted, PublishRateSheet};
pub use crate::records::{AccessLogged, ClosePeriod, JournalRestored};
use crate::rejection::Rejection;
pub use crate::reversal::EntryReversed;
use crate::upcast;

/// Why an event stands in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Cause {
    /// The engine itself: the opening of the book, state digests, holds that expire, acts of an operator at start.
    Engine,
    /// Something that had to happen before the verdict: a system account opened on first use, an amount charged to a limit.
    Consequence {
        /// The command.
        command: CommandId,
        /// Who gave it.
        actor: PrincipalId,
    },
    /// The verdict of a command: exactly one event per command admitted, and the last of its events.
    Verdict {
        /// The command.
        command: CommandId,
        /// Who gave it.
        actor: PrincipalId,
    },
}

impl Cause {
    /// The command whose verdict this is.
    pub const fn verdict_of(self) -> Option<CommandId> {
        match self {
            Self::Verdict { command, .. } => Some(command),
            Self::Engine | Self::Consequence { .. } => None,
        }
    }

    /// The command and the actor behind it, if it was one.
    pub const fn command(self) -> Option<(CommandId, PrincipalId)> {
        match self {
            Self::Verdict { command, actor } | Self::Consequence { command, actor } => Some((command, actor)),
            Self::Engine => None,
        }
    }
}

/// The command that an entry came from; it fixes the order of the entry's postings (see [`EntryPosted`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Of a top-up: debit clearing, credit customer; with a fee also debit customer, credit fee income.
    TopUp,
    /// Of a withdrawal: debit customer (amount and fee), credit clearing; with a fee also credit fee income.
    Withdrawal,
    /// Of a transfer: debit sender (amount and fee), credit receiver; with a fee also credit fee income.
    Transfer,
    /// Of an entry of the caller's own making.
    General,
    /// Of a transfer up to an amount: debit sender, credit receiver.
    TransferUpTo,
}

/// The bit of an entry kind's number that stands for a fee by the rule.
const FEE_BY_RULE: u8 = 0x80;

impl EntryKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::TopUp, Self::Withdrawal, Self::Transfer, Self::General, Self::TransferUpTo];

    const fn number(self) -> u8 {
        match self {
            Self::TopUp => 1,
            Self::Withdrawal => 2,
            Self::Transfer => 3,
            Self::General => 4,
            Self::TransferUpTo => 5,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::TopUp,
            2 => Self::Withdrawal,
            3 => Self::Transfer,
            4 => Self::General,
            5 => Self::TransferUpTo,
            _ => return None,
        })
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::Withdrawal => "withdrawal",
            Self::Transfer => "transfer",
            Self::General => "general",
            Self::TransferUpTo => "transfer_up_to",
        }
    }
}

/// An atomic double-entry record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryPosted {
    /// The command it came from.
    pub kind: EntryKind,
    /// If the command left the fee to the rule, the version of the rule; zero if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_rule: Option<u64>,
    /// Of a transfer up to an amount, that amount, in minor units; the postings have what moved.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::command::minor_text::option")]
    #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub at_most_minor: Option<i128>,
    /// The date it counts for.
    pub effective_on: CivilDate,
    /// Whether the command named that date; otherwise it is the date of recording.
    pub effective_on_named: bool,
    /// The command's free text.
    #[serde(deserialize_with = "crate::command::bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
    /// Its postings, zero in sum per currency.
    #[serde(deserialize_with = "crate::command::bounded::postings")]
    #[schemars(with = "Vec<crate::money::Posting>", length(max = 1000))]
    pub postings: Postings,
}

impl EntryPosted {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let byte = reader.byte("entry kind")?;
        let kind = EntryKind::from_number(byte & !FEE_BY_RULE).ok_or(CodecError::NotCanonical("entry kind"))?;
        let fee_rule = if byte & FEE_BY_RULE == 0 { None } else { Some(reader.number("version of the fee rule")?) };
        let up_to = kind == EntryKind::TransferUpTo;
        Ok(Self {
            kind,
            fee_rule,
            at_most_minor: if up_to { Some(reader.signed("at most")?) } else { None },
            effective_on: reader.date()?,
            effective_on_named: reader.flag("effective date named")?,
            reference: reader.text("reference")?,
            postings: reader.postings()?,
        })
    }
}

/// The first event of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookOpened {
    /// The book.
    pub book: BookId,
    /// 128 random bits that tell this journal from every other one of the same number. They also seed the engine's maps.
    pub nonce: PrincipalId,
}

/// A command was refused. The command stands here in full: a retry is compared with it, and the audit trail shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRejected {
    /// What was asked.
    pub command: CommandBody,
    /// Why it was refused, with what was observed.
    pub rejection: Rejection,
}

/// The digest of the whole state after all events before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateDigest {
    /// The digest.
    pub digest: Digest,
    /// How many accounts there are.
    pub accounts: u64,
}

/// An operator told the engine to go on although the clock had jumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockAccepted {
    /// The newest time on record before.
    pub previous: Timestamp,
    /// The wall clock's time that was accepted.
    pub accepted: Timestamp,
    /// Who said so.
    #[serde(deserialize_with = "crate::command::bounded::text")]
    #[schemars(length(max = 256))]
    pub actor: Box<str>,
    /// Why.
    #[serde(deserialize_with = "crate::command::bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
pub enum EventBody {
    /// The book was opened.
    #[serde(rename = "ledger.book.opened.v1")]
    BookOpened(BookOpened),
    /// An account was opened.
    #[serde(rename = "ledger.account.opened.v1")]
    AccountOpened(OpenAccount),
    /// An account was frozen.
    #[serde(rename = "ledger.account.frozen.v1")]
    AccountFrozen(AccountAct),
    /// An account was unfrozen.
    #[serde(rename = "ledger.account.unfrozen.v1")]
    AccountUnfrozen(AccountAct),
    /// An account was closed.
    #[serde(rename = "ledger.account.closed.v1")]
    AccountClosed(AccountAct),
    /// An entry was posted.
    #[serde(rename = "ledger.entry.posted.v1")]
    EntryPosted(EntryPosted),
    /// A command was refused.
    #[serde(rename = "ledger.command.rejected.v1")]
    CommandRejected(CommandRejected),
    /// The state's digest, at regular points.
    #[serde(rename = "ledger.state.digest.v1")]
    StateDigest(StateDigest),
    /// An operator accepted a jump of the clock.
    #[serde(rename = "ledger.clock.accepted.v1")]
    ClockAccepted(ClockAccepted),
    /// A hold was placed.
    #[serde(rename = "ledger.hold.placed.v1")]
    HoldPlaced(HoldPlaced),
    /// A hold was captured, in whole or in part.
    #[serde(rename = "ledger.hold.captured.v1")]
    HoldCaptured(HoldCaptured),
    /// A hold was voided.
    #[serde(rename = "ledger.hold.voided.v1")]
    HoldVoided(HoldVoided),
    /// A hold expired.
    #[serde(rename = "ledger.hold.expired.v1")]
    HoldExpired(HoldExpired),
    /// An entry was reversed, in whole or in part.
    #[serde(rename = "ledger.entry.reversed.v1")]
    EntryReversed(EntryReversed),
    /// A customer's limits were set.
    #[serde(rename = "ledger.limits.set.v1")]
    LimitsSet(SetLimits),
    /// An amount was charged to a customer's limits.
    #[serde(rename = "ledger.limit.charged.v1")]
    LimitCharged(LimitCharged),
    /// What a hold had charged and did not use went back.
    #[serde(rename = "ledger.limit.released.v1")]
    LimitReleased(LimitReleased),
    /// The days of the book were given their beginnings.
    #[serde(rename = "ledger.calendar.published.v1")]
    CalendarPublished(PublishCalendar),
    /// A fee rule was set.
    #[serde(rename = "ledger.fee_rule.set.v1")]
    FeeRuleSet(SetFeeRule),
    /// A period was closed.
    #[serde(rename = "ledger.period.closed.v1")]
    PeriodClosed(ClosePeriod),
    /// A customer said what to be told.
    #[serde(rename = "ledger.notification_preferences.set.v1")]
    NotificationPreferencesSet(SetNotificationPreferences),
    /// The journal was put back from a backup.
    #[serde(rename = "ledger.journal.restored.v1")]
    JournalRestored(JournalRestored),
    /// Somebody read something. Only in the access log.
    #[serde(rename = "ledger.access.logged.v1")]
    AccessLogged(AccessLogged),
    /// Something happened in the control plane. Only in the control journal; boxed, so that the book's events stay small.
    #[serde(rename = "ledger.control.recorded.v1")]
    ControlRecorded(Box<ControlRecorded>),
    /// A rate sheet was published.
    #[serde(rename = "ledger.rate_sheet.published.v1")]
    RateSheetPublished(PublishRateSheet),
    /// Money was converted. Boxed, as it is larger than the rest.
    #[serde(rename = "ledger.conversion.posted.v1")]
    ConversionPosted(Box<ConversionPosted>),
}

impl EventBody {
    /// Type number and version in the canonical form.
    const fn tag(&self) -> (u8, u8) {
        match self {
            Self::BookOpened(_) => (1, 1),
            Self::AccountOpened(_) => (2, 1),
            Self::AccountFrozen(_) => (3, 1),
            Self::AccountUnfrozen(_) => (4, 1),
            Self::AccountClosed(_) => (5, 1),
            Self::EntryPosted(_) => (6, 1),
            Self::CommandRejected(_) => (7, 1),
            Self::StateDigest(_) => (8, 1),
            Self::ClockAccepted(_) => (9, 1),
            Self::HoldPlaced(_) => (10, 1),
            Self::HoldCaptured(_) => (11, 1),
            Self::HoldVoided(_) => (12, 1),
            Self::HoldExpired(_) => (13, 1),
            Self::EntryReversed(_) => (14, 1),
            Self::LimitsSet(_) => (15, 1),
            Self::LimitCharged(_) => (16, 1),
            Self::LimitReleased(_) => (17, 1),
            Self::CalendarPublished(_) => (18, 1),
            Self::FeeRuleSet(_) => (19, 1),
            Self::PeriodClosed(_) => (20, 1),
            Self::NotificationPreferencesSet(_) => (21, 1),
            Self::JournalRestored(_) => (22, 1),
            Self::AccessLogged(_) => (23, 1),
            Self::ControlRecorded(_) => (24, 1),
            Self::RateSheetPublished(_) => (25, 1),
            Self::ConversionPosted(_) => (26, 1),
        }
    }

    /// The names of all types, in the order of their numbers.
    pub const TYPE_NAMES: [&'static str; 26] = [
        "ledger.book.opened.v1",
        "ledger.account.opened.v1",
        "ledger.account.frozen.v1",
        "ledger.account.unfrozen.v1",
        "ledger.account.closed.v1",
        "ledger.entry.posted.v1",
        "ledger.command.rejected.v1",
        "ledger.state.digest.v1",
        "ledger.clock.accepted.v1",
        "ledger.hold.placed.v1",
        "ledger.hold.captured.v1",
        "ledger.hold.voided.v1",
        "ledger.hold.expired.v1",
        "ledger.entry.reversed.v1",
        "ledger.limits.set.v1",
        "ledger.limit.charged.v1",
        "ledger.limit.released.v1",
        "ledger.calendar.published.v1",
        "ledger.fee_rule.set.v1",
        "ledger.period.closed.v1",
        "ledger.notification_preferences.set.v1",
        "ledger.journal.restored.v1",
        "ledger.access.logged.v1",
        "ledger.control.recorded.v1",
        "ledger.rate_sheet.published.v1",
        "ledger.conversion.posted.v1",
    ];

    /// The type's name with its version, as in JSON and in CloudEvents.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::BookOpened(_) => "ledger.book.opened.v1",
            Self::AccountOpened(_) => "ledger.account.opened.v1",
            Self::AccountFrozen(_) => "ledger.account.frozen.v1",
            Self::AccountUnfrozen(_) => "ledger.account.unfrozen.v1",
            Self::AccountClosed(_) => "ledger.account.closed.v1",
            Self::EntryPosted(_) => "ledger.entry.posted.v1",
            Self::CommandRejected(_) => "ledger.command.rejected.v1",
            Self::StateDigest(_) => "ledger.state.digest.v1",
            Self::ClockAccepted(_) => "ledger.clock.accepted.v1",
            Self::HoldPlaced(_) => "ledger.hold.placed.v1",
            Self::HoldCaptured(_) => "ledger.hold.captured.v1",
            Self::HoldVoided(_) => "ledger.hold.voided.v1",
            Self::HoldExpired(_) => "ledger.hold.expired.v1",
            Self::EntryReversed(_) => "ledger.entry.reversed.v1",
            Self::LimitsSet(_) => "ledger.limits.set.v1",
            Self::LimitCharged(_) => "ledger.limit.charged.v1",
            Self::LimitReleased(_) => "ledger.limit.released.v1",
            Self::CalendarPublished(_) => "ledger.calendar.published.v1",
            Self::FeeRuleSet(_) => "ledger.fee_rule.set.v1",
            Self::PeriodClosed(_) => "ledger.period.closed.v1",
            Self::NotificationPreferencesSet(_) => "ledger.notification_preferences.set.v1",
            Self::JournalRestored(_) => "ledger.journal.restored.v1",
            Self::AccessLogged(_) => "ledger.access.logged.v1",
            Self::ControlRecorded(_) => "ledger.control.recorded.v1",
            Self::RateSheetPublished(_) => "ledger.rate_sheet.published.v1",
            Self::ConversionPosted(_) => "ledger.conversion.posted.v1",
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::BookOpened(opened) => {
                put_varint(out, u128::from(opened.book.get()));
                put_id(out, opened.nonce.0);
            }
            Self::AccountOpened(open) => open.encode(out),
            Self::AccountFrozen(act) | Self::AccountUnfrozen(act) | Self::AccountClosed(act) => act.encode(out),
            Self::EntryPosted(entry) => {
                out.push(entry.kind.number() | if entry.fee_rule.is_some() { FEE_BY_RULE } else { 0 });
                if let Some(version) = entry.fee_rule {
                    put_varint(out, u128::from(version));
                }
                if entry.kind == EntryKind::TransferUpTo {
                    put_signed(out, entry.at_most_minor.unwrap_or(0));
                }
                put_date(out, entry.effective_on);
                out.push(u8::from(entry.effective_on_named));
                put_text(out, &entry.reference);
                put_postings(out, &entry.postings);
            }
            Self::CommandRejected(rejected) => {
                rejected.command.encode(out);
                rejected.rejection.encode(out);
            }
            Self::StateDigest(state) => {
                out.extend_from_slice(&state.digest.0);
                put_varint(out, u128::from(state.accounts));
            }
            Self::ClockAccepted(clock) => {
                put_time(out, clock.previous);
                put_time(out, clock.accepted);
                put_text(out, &clock.actor);
                put_text(out, &clock.reason);
            }
            Self::HoldPlaced(placed) => placed.encode(out),
            Self::HoldCaptured(captured) => captured.encode(out),
            Self::HoldVoided(voided) => voided.encode(out),
            Self::HoldExpired(expired) => expired.encode(out),
            Self::EntryReversed(reversed) => reversed.encode(out),
            Self::LimitsSet(limits) => limits.encode(out),
            Self::LimitCharged(charged) => charged.encode(out),
            Self::LimitReleased(released) => released.encode(out),
            Self::CalendarPublished(calendar) => calendar.encode(out),
            Self::FeeRuleSet(rule) => rule.encode(out),
            Self::PeriodClosed(close) => close.encode(out),
            Self::NotificationPreferencesSet(preferences) => preferences.encode(out),
            Self::JournalRestored(restored) => restored.encode(out),
            Self::AccessLogged(access) => access.encode(out),
            Self::ControlRecorded(recorded) => recorded.encode(out),
            Self::RateSheetPublished(sheet) => sheet.encode(out),
            Self::ConversionPosted(conversion) => conversion.encode(out),
        }
    }

    /// Reads version 1 of a type. Frozen: a version 2 gets a function of its own, and [`crate::upcast`] calls it.
    pub(crate) fn decode_v1(type_number: u8, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match type_number {
            1 => Self::BookOpened(BookOpened {
                book: BookId::new(reader.number("book")?).ok_or(CodecError::NotCanonical("book"))?,
                nonce: PrincipalId(reader.id("nonce")?),
            }),
            2 => Self::AccountOpened(OpenAccount::decode(reader)?),
            3 => Self::AccountFrozen(AccountAct::decode(reader)?),
            4 => Self::AccountUnfrozen(AccountAct::decode(reader)?),
            5 => Self::AccountClosed(AccountAct::decode(reader)?),
            6 => Self::EntryPosted(EntryPosted::decode(reader)?),
            7 => Self::CommandRejected(CommandRejected {
                command: CommandBody::decode(reader)?,
                rejection: Rejection::decode(reader)?,
            }),
            8 => Self::StateDigest(StateDigest {
                digest: Digest(reader.array("digest")?),
                accounts: reader.number("accounts")?,
            }),
            9 => Self::ClockAccepted(ClockAccepted {
                previous: reader.time()?,
                accepted: reader.time()?,
                actor: reader.text("actor")?,
                reason: reader.text("reason")?,
            }),
            10 => Self::HoldPlaced(HoldPlaced::decode(reader)?),
            11 => Self::HoldCaptured(HoldCaptured::decode(reader)?),
            12 => Self::HoldVoided(HoldVoided::decode(reader)?),
            13 => Self::HoldExpired(HoldExpired::decode(reader)?),
            14 => Self::EntryReversed(EntryReversed::decode(reader)?),
            15 => Self::LimitsSet(SetLimits::decode(reader)?),
            16 => Self::LimitCharged(LimitCharged::decode(reader)?),
            17 => Self::LimitReleased(LimitReleased::decode(reader)?),
            18 => Self::CalendarPublished(PublishCalendar::decode(reader)?),
            19 => Self::FeeRuleSet(SetFeeRule::decode(reader)?),
            20 => Self::PeriodClosed(ClosePeriod::decode(reader)?),
            21 => Self::NotificationPreferencesSet(SetNotificationPreferences::decode(reader)?),
            22 => Self::JournalRestored(JournalRestored::decode(reader)?),
            23 => Self::AccessLogged(AccessLogged::decode(reader)?),
            24 => Self::ControlRecorded(Box::new(ControlRecorded::decode(reader)?)),
            25 => Self::RateSheetPublished(PublishRateSheet::decode(reader)?),
            26 => Self::ConversionPosted(Box::new(ConversionPosted::decode(reader)?)),
            other => return Err(CodecError::UnknownTag { what: "event type", tag: other.into() }),
        })
    }
}

/// An event: its cause and its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Why it stands here.
    pub cause: Cause,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

impl Event {
    /// An event of the engine's own.
    pub const fn engine(body: EventBody) -> Self {
        Self { cause: Cause::Engine, body }
    }

    /// Appends the canonical form, length included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // The length comes first and nearly always fits one byte; what follows is moved when it does not.
        let start = out.len();
        out.push(0);
        let (type_number, version) = self.body.tag();
        out.push(type_number);
        out.push(version);
        match self.cause {
            Cause::Engine => out.push(0),
            Cause::Consequence { command, actor } | Cause::Verdict { command, actor } => {
                out.push(if matches!(self.cause, Cause::Verdict { .. }) { 2 } else { 1 });
                put_id(out, command.0);
                put_id(out, actor.0);
            }
        }
        self.body.encode(out);
        put_length(out, start);
    }

    /// Reads the canonical form, length included.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let length: usize = reader.number("event length")?;
        if length > EVENT_MAX_BYTES {
            return Err(CodecError::NotCanonical("event length"));
        }
        let mut inner = Reader::new(reader.bytes(length, "event")?);
        let [type_number, version, cause] = inner.array("event")?;
        let cause = match cause {
            0 => Cause::Engine,
            1 | 2 => {
                let command = CommandId(inner.id("command")?);
                let actor = PrincipalId(inner.id("actor")?);
                if cause == 1 { Cause::Consequence { command, actor } } else { Cause::Verdict { command, actor } }
            }
            tag => return Err(CodecError::UnknownTag { what: "cause", tag: tag.into() }),
        };
        let body = upcast::read_body(type_number, version, &mut inner)?;
        inner.finish()?;
        Ok(Self { cause, body })
    }
}

/// Writes the length of everything after the byte kept free at `start`, making room if it needs more than one.
fn put_length(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start - 1;
    assert!(length <= EVENT_MAX_BYTES, "an event of {length} bytes: commands are bounded before they are decided");
    if let (Ok(short @ 0..0x80), Some(slot)) = (u8::try_from(length), out.get_mut(start)) {
        *slot = short;
    } else {
        let mut prefix = Vec::with_capacity(3);
        put_varint(&mut prefix, length as u128);
        out.splice(start..=start, prefix);
    }
}

/// An event with its place: how it is shown, filtered and exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedEvent {
    /// The book.
    pub book: BookId,
    /// Its position.
    pub sequence: Sequence,
    /// When its block was recorded.
    pub recorded_at: Timestamp,
    /// Under which writer.
    pub epoch: Epoch,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}
