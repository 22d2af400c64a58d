//! The topic map: to which topics of a bus an event goes beside the journal's own, under which key, and with what data. Pure: it
//! knows events, and no broker.
//!
//! ```text
//! account.created         account opened                                       the event   key: the account
//! account.balance.updated each account whose postings or holds an event moves  the change  key: that account
//! transaction.initiated   hold placed                                          the event   key: the account
//! transaction.completed   entry posted or reversed, hold captured, conversion       the event   key: the account it is about
//! transaction.failed      a refused command that would have moved money,       the event   key: the account it is about
//!                         hold voided, hold expired
//! ledger.entry_written    entry posted or reversed, hold captured, conversion       the event   key: the account it is about
//! ```
//!
//! What is deliberately absent: `transaction.validated`, since a verdict validates and posts in one event; a balance, since an
//! event says what moves and not what is there (adding up all changes of a key gives debits, credits and holds of its account).

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::CommandBody;
use crate::currency::Currency;
use crate::date::Timestamp;
use crate::event::{EntryKind, EventBody, RecordedEvent};
use crate::ids::{AccountId, BookId, CommandId, Sequence};
use crate::money::{Money, Posting, Postings, Side};

/// A topic that is keyed, beside the journal's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `account.created`.
    AccountCreated,
    /// `account.balance.updated`.
    BalanceUpdated,
    /// `transaction.initiated`.
    TransactionInitiated,
    /// `transaction.completed`.
    TransactionCompleted,
    /// `transaction.failed`.
    TransactionFailed,
    /// `ledger.entry_written`.
    EntryWritten,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AccountCreated,
        Self::BalanceUpdated,
        Self::TransactionInitiated,
        Self::TransactionCompleted,
        Self::TransactionFailed,
        Self::EntryWritten,
    ];

    /// The name, without the prefix that an installation may put before it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountCreated => "account.created",
            Self::BalanceUpdated => "account.balance.updated",
            Self::TransactionInitiated => "transaction.initiated",
            Self::TransactionCompleted => "transaction.completed",
            Self::TransactionFailed => "transaction.failed",
            Self::EntryWritten => "ledger.entry_written",
        }
    }
}

/// The type of a change of a balance, as in CloudEvents.
pub const BALANCE_CHANGED: &str = "ledger.balance.changed.v1";

/// What an event moves on one account: not a balance, but the difference that it makes. It follows from the event alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BalanceChanged {
    /// The book.
    pub book: BookId,
    /// The event that moved it.
    pub sequence: Sequence,
    /// When that was recorded.
    pub recorded_at: Timestamp,
    /// The type of the event, such as `ledger.entry.posted.v1`.
    pub event: Box<str>,
    /// The command behind it; absent if it was a deadline.
    pub command: Option<CommandId>,
    /// The account.
    pub account: AccountId,
    /// What was debited.
    pub debited: Money,
    /// What was credited.
    pub credited: Money,
    /// What is held more than before; below zero if a hold ended or a part of it was captured.
    pub held: Money,
}

/// By what a record is keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The account it is about.
    Account(AccountId),
    /// The hold or entry that a refused command named, where it named no account.
    Command(CommandId),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(f),
            Self::Command(command) => command.fmt(f),
        }
    }
}

/// One record that an event gives to a keyed topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlet {
    /// Where it goes.
    pub topic: Topic,
    /// Its key.
    pub key: Key,
    /// Its data, if that is not the event itself.
    pub change: Option<BalanceChanged>,
}

/// The records of an event, in the order in which they are published.
pub fn outlets(recorded: &RecordedEvent) -> Vec<Outlet> {
    let mut out = Vec::new();
    let mut plain = |topic, key| out.push(Outlet { topic, key, change: None });
    match &recorded.event.body {
        EventBody::AccountOpened(open) => plain(Topic::AccountCreated, Key::Account(open.account)),
        EventBody::EntryPosted(entry) => {
            // The house's clearing account comes first in a top-up; it is about the customer's.
            let at = usize::from(entry.kind == EntryKind::TopUp);
            written(entry.postings.get(at), &mut plain);
        }
        EventBody::HoldCaptured(captured) => written(captured.postings.first(), &mut plain),
        EventBody::EntryReversed(reversed) => written(reversed.postings.first(), &mut plain),
        EventBody::ConversionPosted(conversion) => written(conversion.postings.first(), &mut plain),
        EventBody::HoldPlaced(placed) => plain(Topic::TransactionInitiated, Key::Account(placed.account)),
        EventBody::HoldVoided(voided) => plain(Topic::TransactionFailed, Key::Account(voided.account)),
        EventBody::HoldExpired(expired) => plain(Topic::TransactionFailed, Key::Account(expired.account)),
        EventBody::CommandRejected(rejected) => {
            if let Some(key) = would_have_moved(&rejected.command) {
                plain(Topic::TransactionFailed, key);
            }
        }
        EventBody::BookOpened(_)
        | EventBody::AccountFrozen(_)
        | EventBody::AccountUnfrozen(_)
        | EventBody::AccountClosed(_)
        | EventBody::StateDigest(_)
        | EventBody::ClockAccepted(_)
        | EventBody::LimitsSet(_)
        | EventBody::LimitCharged(_)
        | EventBody::LimitReleased(_)
        | EventBody::CalendarPublished(_)
        | EventBody::FeeRuleSet(_)
        | EventBody::PeriodClosed(_)
        | EventBody::NotificationPreferencesSet(_)
        | EventBody::RateSheetPublished(_)
        | EventBody::JournalRestored(_)
        | EventBody::ControlRecorded(_)
        | EventBody::AccessLogged(_) => {}
    }
    for change in changes(recorded) {
        let (topic, key) = (Topic::BalanceUpdated, Key::Account(change.account));
        out.push(Outlet { topic, key, change: Some(change) });
    }
    out
}

fn written(about: Option<&Posting>, plain: &mut impl FnMut(Topic, Key)) {
    if let Some(posting) = about {
        plain(Topic::TransactionCompleted, Key::Account(posting.account));
        plain(Topic::EntryWritten, Key::Account(posting.account));
    }
}

/// What a refused command that would have moved money, or set it aside, was about.
fn would_have_moved(command: &CommandBody) -> Option<Key> {
    Some(match command {
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => Key::Account(cash.account),
        CommandBody::PostTransfer(transfer) => Key::Account(transfer.from),
        CommandBody::TransferUpTo(transfer) => Key::Account(transfer.from),
        CommandBody::ConvertFunds(convert) => Key::Account(convert.from),
        CommandBody::PostEntry(entry) => Key::Account(entry.postings.first()?.account),
        CommandBody::PlaceHold(hold) => Key::Account(hold.account),
        CommandBody::CaptureHold(capture) => Key::Command(capture.hold),
        CommandBody::ReverseEntry(reverse) => Key::Command(reverse.entry),
        CommandBody::OpenAccount(_)
        | CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::VoidHold(_)
        | CommandBody::SetLimits(_)
        | CommandBody::PublishCalendar(_)
        | CommandBody::SetFeeRule(_)
        | CommandBody::ClosePeriod(_)
        | CommandBody::SetNotificationPreferences(_)
        | CommandBody::PublishRateSheet(_) => return None,
    })
}

/// Debits, credits and what is held more, by account. In the order of accounts, so that the records of one topic and partition
/// are in the order of their ids, and readers need to remember no more than the last.
#[derive(Default)]
struct Moves(BTreeMap<AccountId, (Currency, [i128; 3])>);

impl Moves {
    fn add(&mut self, account: AccountId, money: Money, which: usize) {
        let (_, sums) = self.0.entry(account).or_insert((money.currency, [0; 3]));
        // An entry has at most 1,000 postings of at most 10^24: no sum leaves the range of its type.
        if let Some(sum) = sums.get_mut(which) {
            *sum += money.amount_minor;
        }
    }

    fn post(&mut self, postings: &Postings) {
        for posting in postings {
            self.add(posting.account, posting.money, usize::from(posting.side == Side::Credit));
        }
    }

    fn hold(&mut self, account: AccountId, by: Money) {
        self.add(account, by, 2);
    }
}

fn minus(money: Money) -> Money {
    Money::new(-money.amount_minor, money.currency)
}

/// What the event moves, one change for each account.
fn changes(recorded: &RecordedEvent) -> impl Iterator<Item = BalanceChanged> + use<'_> {
    let mut moves = Moves::default();
    let body = &recorded.event.body;
    if let Some(entry) = body.entry() {
        moves.post(entry.postings);
    }
    match body {
        EventBody::HoldPlaced(placed) => moves.hold(placed.account, placed.amount),
        EventBody::HoldVoided(voided) => moves.hold(voided.account, minus(voided.released)),
        EventBody::HoldExpired(expired) => moves.hold(expired.account, minus(expired.released)),
        // The first posting of a capture debits the account of the hold; what it takes is held no longer.
        EventBody::HoldCaptured(captured) => {
            if let Some(first) = captured.postings.first() {
                let taken = captured.postings.iter().filter(|one| one.account == first.account);
                let taken: i128 = taken.filter(|one| one.side == Side::Debit).map(|one| one.money.amount_minor).sum();
                moves.hold(first.account, Money::new(-taken - captured.released_minor, first.money.currency));
            }
        }
        EventBody::BookOpened(_)
        | EventBody::AccountOpened(_)
        | EventBody::AccountFrozen(_)
        | EventBody::AccountUnfrozen(_)
        | EventBody::AccountClosed(_)
        | EventBody::EntryPosted(_)
        | EventBody::EntryReversed(_)
        | EventBody::CommandRejected(_)
        | EventBody::StateDigest(_)
        | EventBody::ClockAccepted(_)
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
        | EventBody::AccessLogged(_) => {}
    }
    moves.0.into_iter().map(|(account, (currency, [debited, credited, held]))| BalanceChanged {
        book: recorded.book,
        sequence: recorded.sequence,
        recorded_at: recorded.recorded_at,
        event: recorded.event.body.type_name().into(),
        command: recorded.event.cause.command().map(|(command, _)| command),
        account,
        debited: Money::new(debited, currency),
        credited: Money::new(credited, currency),
        held: Money::new(held, currency),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::command::{CaptureHold, PostTransfer, VoidHold};
    use crate::event::{Cause, CommandRejected, EntryPosted, Event, HoldCaptured, HoldExpired, HoldPlaced};
    use crate::ids::{Epoch, PrincipalId};
    use crate::rejection::Rejection;
    use crate::{CivilDate, CommandBody};

    const ADA: AccountId = AccountId(1);
    const BOB: AccountId = AccountId(2);
    const HOUSE: AccountId = AccountId(3);

    fn eur(minor: i128) -> Money {
        Money::new(minor, Currency::from_parts(*b"EUR", 2).unwrap())
    }

    fn posting(account: AccountId, side: Side, minor: i128) -> Posting {
        Posting { account, side, money: eur(minor) }
    }

    fn recorded(body: EventBody) -> RecordedEvent {
        let cause = Cause::Verdict { command: CommandId(9), actor: PrincipalId(8) };
        let (book, sequence) = (BookId::FIRST, Sequence(7));
        RecordedEvent { book, sequence, recorded_at: Timestamp(0), epoch: Epoch(1), event: Event { cause, body } }
    }

    fn entry(kind: EntryKind, postings: Vec<Posting>) -> EventBody {
        EventBody::EntryPosted(EntryPosted {
            kind,
            fee_rule: None,
            at_most_minor: None,
            effective_on: CivilDate::MIN,
            effective_on_named: false,
            reference: "".into(),
            postings: postings.into_iter().collect(),
        })
    }

    /// Topic, key and change (debited, credited, held) of each record, as text.
    fn told(body: EventBody) -> Vec<String> {
        let tell = |outlet: Outlet| {
            let key = match outlet.key {
                Key::Account(account) => format!("account {}", account.0),
                Key::Command(command) => format!("command {}", command.0),
            };
            let change = outlet.change.map(|change| {
                assert_eq!(Key::Account(change.account), outlet.key);
                format!(" {} {} {}", change.debited.amount(), change.credited.amount(), change.held.amount())
            });
            format!("{} {key}{}", outlet.topic.name(), change.unwrap_or_default())
        };
        outlets(&recorded(body)).into_iter().map(tell).collect()
    }

    #[test]
    fn each_event_goes_where_it_belongs() {
        let transfer =
            vec![posting(ADA, Side::Debit, 125), posting(BOB, Side::Credit, 100), posting(HOUSE, Side::Credit, 25)];
        let top_up = vec![
            posting(HOUSE, Side::Debit, 100),
            posting(ADA, Side::Credit, 100),
            posting(ADA, Side::Debit, 5),
            posting(HOUSE, Side::Credit, 5),
        ];
        let hold = CommandId(5);
        let captured = HoldCaptured {
            hold,
            last: true,
            fee_rule: None,
            released_minor: 10,
            left_minor: 0,
            effective_on: CivilDate::MIN,
            effective_on_named: false,
            reference: "".into(),
            postings: transfer.iter().copied().collect(),
        };
        let placed = HoldPlaced { account: ADA, amount: eur(135), expires_at: None, reference: "".into() };
        let expired = HoldExpired { hold, account: ADA, released: eur(135), expires_at: Timestamp(1) };
        for (body, expected) in [
            (
                entry(EntryKind::Transfer, transfer),
                &[
                    "transaction.completed account 1",
                    "ledger.entry_written account 1",
                    "account.balance.updated account 1 1.25 0.00 0.00",
                    "account.balance.updated account 2 0.00 1.00 0.00",
                    "account.balance.updated account 3 0.00 0.25 0.00",
                ][..],
            ),
            (
                entry(EntryKind::TopUp, top_up),
                &[
                    "transaction.completed account 1",
                    "ledger.entry_written account 1",
                    "account.balance.updated account 1 0.05 1.00 0.00",
                    "account.balance.updated account 3 1.00 0.05 0.00",
                ],
            ),
            (
                EventBody::HoldPlaced(placed),
                &["transaction.initiated account 1", "account.balance.updated account 1 0.00 0.00 1.35"],
            ),
            (
                EventBody::HoldCaptured(captured),
                &[
                    "transaction.completed account 1",
                    "ledger.entry_written account 1",
                    "account.balance.updated account 1 1.25 0.00 -1.35",
                    "account.balance.updated account 2 0.00 1.00 0.00",
                    "account.balance.updated account 3 0.00 0.25 0.00",
                ],
            ),
            (
                EventBody::HoldExpired(expired),
                &["transaction.failed account 1", "account.balance.updated account 1 0.00 0.00 -1.35"],
            ),
        ] {
            assert_eq!(told(body), expected);
        }
    }

    #[test]
    fn a_refusal_fails_what_would_have_moved_money() {
        let transfer = PostTransfer {
            from: ADA,
            to: BOB,
            amount: eur(1),
            fee_minor: None,
            effective_on: None,
            reference: "".into(),
        };
        let capture = CaptureHold {
            hold: CommandId(5),
            to: BOB,
            amount: eur(1),
            fee_minor: None,
            last: true,
            effective_on: None,
            reference: "".into(),
        };
        let void = VoidHold { hold: CommandId(5), reason: "".into() };
        for (command, expected) in [
            (CommandBody::PostTransfer(transfer), &["transaction.failed account 1"][..]),
            (CommandBody::CaptureHold(capture), &["transaction.failed command 5"]),
            (CommandBody::VoidHold(void), &[]),
        ] {
            let rejection = Rejection::AccountNotFound { account: ADA };
            assert_eq!(told(EventBody::CommandRejected(CommandRejected { command, rejection })), expected);
        }
    }
}
