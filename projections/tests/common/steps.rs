//! Journals at random in which everything is possible that happens: money moves, holds are placed on accounts that debits lower,
//! what ends or is reversed is one of those that are there, and customers and settings change.

use std::collections::BTreeMap;

use event_schemas::command::{AccountKind, BalancePolicy, CommandBody, PostTransfer, SetLimits, VoidHold};
use event_schemas::entry::EntryOrigin;
use event_schemas::event::CommandRejected;
use event_schemas::limits::Caps;
use event_schemas::notices::{NoticeChannel, NoticeTopic, SetNotificationPreferences};
use event_schemas::{
    AccountId, Block, Cause, CommandId, Event, EventBody, Money, Postings, PrincipalId, Rejection, Side, Timestamp,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{act, capture, currency, entry, expired, hold, journal, noise, open, postings, reversal, verdict, voided};

/// Accounts 1 to 4 are in EUR, 5 to 7 in JPY, of all kinds.
const KINDS: [AccountKind; 7] = [
    AccountKind::Asset,
    AccountKind::Liability,
    AccountKind::Income,
    AccountKind::Expense,
    AccountKind::Equity,
    AccountKind::Asset,
    AccountKind::Liability,
];

/// Whose accounts they are: of two customers, and of the house.
pub fn owner(account: u128) -> &'static str {
    ["", "client:1", "client:2"][usize::try_from(account % 3).unwrap()]
}

fn opening() -> Vec<Event> {
    let one = |(id, kind): (u128, AccountKind)| {
        let code = if id <= 4 { "EUR" } else { "JPY" };
        open(id, kind, code, owner(id), BalancePolicy::Unlimited)
    };
    (1..).zip(KINDS).map(one).collect()
}

/// Debits at random, balanced by credits of the same sums to other accounts of the currency, the same one at times.
fn any_event() -> impl Strategy<Value = Event> {
    let moves = vec((0..4_u128, 0..4_u128, 1..10_000_i128), 1..4);
    let entries = (any::<u128>(), -5..5_i32, any::<bool>(), moves).prop_map(|(command, on, euro, moves)| {
        let account = |at: u128| if euro { 1 + at } else { 5 + at % 3 };
        let pairs =
            moves.iter().flat_map(|&(debit, credit, amount)| [(account(debit), amount), (account(credit), -amount)]);
        entry(command, on, if euro { "EUR" } else { "JPY" }, &pairs.collect::<Vec<_>>())
    });
    prop_oneof![9 => entries, 1 => Just(noise())]
}

/// Something that happens, as far as it can: holds are placed on accounts that debits lower, and what ends or is reversed is
/// one of those that are there.
#[derive(Debug, Clone)]
enum Step {
    Event(Box<Event>),
    Hold { on: usize, amount: i128 },
    Capture { which: Index, parts: i128, to: u128, release: bool },
    End { which: Index, expires: bool },
    Reverse { which: Index },
    Refuse { from: u128, to: u128, amount: i128, known: bool },
    Freeze { account: u128, frozen: bool },
    Prefer { owner: u128, topics: Vec<(usize, u8)> },
    Limit { owner: u128, cap: Option<i128> },
}

fn any_step() -> impl Strategy<Value = Step> {
    let capture = (any::<Index>(), 1..5_i128, 0..2_u128, any::<bool>());
    prop_oneof![
        8 => any_event().prop_map(|event| Step::Event(Box::new(event))),
        4 => (0..4_usize, 1..10_000_i128).prop_map(|(on, amount)| Step::Hold { on, amount }),
        3 => capture.prop_map(|(which, parts, to, release)| Step::Capture { which, parts, to, release }),
        2 => (any::<Index>(), any::<bool>()).prop_map(|(which, expires)| Step::End { which, expires }),
        1 => any::<Index>().prop_map(|which| Step::Reverse { which }),
        2 => (1..9_u128, 1..8_u128, 1..100_i128, any::<bool>())
            .prop_map(|(from, to, amount, known)| Step::Refuse { from, to, amount, known }),
        1 => (1..8_u128, any::<bool>()).prop_map(|(account, frozen)| Step::Freeze { account, frozen }),
        1 => (1..3_u128, vec((0..6_usize, 0..8_u8), 0..4)).prop_map(|(owner, topics)| Step::Prefer { owner, topics }),
        1 => (1..3_u128, prop::option::of(1..500_i128)).prop_map(|(owner, cap)| Step::Limit { owner, cap }),
    ]
}

/// What steps need to know of those before.
#[derive(Default)]
struct Before {
    holds: Vec<(u128, u128, i128)>,
    entries: Vec<(u128, u64, Postings)>,
    sequence: u64,
    commands: u128,
    version: u64,
}

impl Before {
    fn code(account: u128) -> &'static str {
        if account <= 4 { "EUR" } else { "JPY" }
    }

    fn event(&mut self, step: Step) -> Event {
        self.commands += 1;
        let command = u128::MAX - self.commands;
        match step {
            Step::Event(event) => *event,
            Step::Hold { on, amount } => {
                let account = [2, 3, 5, 7][on];
                self.holds.push((command, account, amount));
                hold(
                    command,
                    account,
                    Self::code(account),
                    amount,
                    (amount % 2 == 0).then_some(Timestamp(i64::try_from(amount).unwrap())),
                )
            }
            Step::Capture { which, parts, to, release } if !self.holds.is_empty() => {
                let at = which.index(self.holds.len());
                let (id, account, left) = self.holds[at];
                let taken = (left / parts).max(1);
                let released = if release { left - taken } else { 0 };
                self.holds[at].2 = left - taken - released;
                let left = self.holds[at].2;
                if left == 0 {
                    self.holds.remove(at);
                }
                let to = if account <= 4 { [1, 4] } else { [6, 6] }[to as usize];
                let moves = postings(Self::code(account), &[(account, taken), (to, -taken)]);
                capture(command, id, 0, moves, released, left)
            }
            Step::End { which, expires } if !self.holds.is_empty() => {
                let (id, account, left) = self.holds.remove(which.index(self.holds.len()));
                let code = Self::code(account);
                if expires { expired(id, account, code, left) } else { voided(command, id, account, code, left) }
            }
            Step::Reverse { which } if !self.entries.is_empty() => {
                let (entry, sequence, mut postings) = self.entries.remove(which.index(self.entries.len()));
                for posting in &mut postings {
                    posting.side = if posting.side == Side::Debit { Side::Credit } else { Side::Debit };
                }
                reversal(command, entry, sequence, 3, postings)
            }
            Step::Capture { .. } | Step::End { .. } | Step::Reverse { .. } => noise(),
            Step::Refuse { from, to, amount, known } => verdict(command, refused(from, to, amount, known)),
            Step::Freeze { account, frozen } => {
                act(account, if frozen { EventBody::AccountFrozen } else { EventBody::AccountUnfrozen })
            }
            Step::Prefer { owner: of, topics } => {
                self.version += 1;
                let channels = |bits: u8| (0..3).filter(move |bit| bits & (1 << bit) != 0);
                let topics = topics.into_iter().map(|(topic, bits)| {
                    (NoticeTopic::ALL[topic], channels(bits).map(|channel| NoticeChannel::ALL[channel]).collect())
                });
                let (owner, topics) = (owner(of).into(), topics.collect::<BTreeMap<_, _>>());
                let set = SetNotificationPreferences { owner, version: self.version, topics };
                verdict(command, EventBody::NotificationPreferencesSet(set))
            }
            Step::Limit { owner: of, cap } => {
                self.version += 1;
                let caps = Caps { daily_minor: cap, ..Caps::NONE };
                let set = SetLimits { owner: owner(of).into(), currency: currency("EUR"), version: self.version, caps };
                verdict(command, EventBody::LimitsSet(set))
            }
        }
    }

    fn block(&mut self, steps: Vec<Step>) -> Vec<Event> {
        let mut events = Vec::new();
        for step in steps {
            let mut event = self.event(step);
            self.sequence += 1;
            if let Cause::Verdict { actor, .. } = &mut event.cause {
                *actor = PrincipalId(u128::from(7 + self.sequence % 3));
            }
            if let (Some(command), Some(entry)) = (event.cause.verdict_of(), event.body.entry())
                && !matches!(entry.origin, EntryOrigin::Reversal(_))
            {
                self.entries.push((command.0, self.sequence, entry.postings.clone()));
            }
            events.push(event);
        }
        events
    }
}

fn refused(from: u128, to: u128, amount: i128, known: bool) -> EventBody {
    let command = if known {
        CommandBody::PostTransfer(PostTransfer {
            from: AccountId(from),
            to: AccountId(to),
            amount: Money::new(amount, currency("EUR")),
            fee_minor: None,
            effective_on: None,
            reference: "rent".into(),
        })
    } else {
        CommandBody::VoidHold(VoidHold { hold: CommandId(from), reason: "".into() })
    };
    EventBody::CommandRejected(CommandRejected { command, rejection: Rejection::AmountTooLarge })
}

pub fn any_journal() -> impl Strategy<Value = Vec<Block>> {
    vec((0..3_i64, vec(any_step(), 1..6)), 1..12).prop_map(|blocks| {
        let opening = opening();
        let mut before = Before { sequence: opening.len() as u64, ..Before::default() };
        let first = std::iter::once((0, opening));
        let rest = blocks.into_iter().map(|(later, steps)| (later, before.block(steps)));
        let blocks: Vec<_> = first.chain(rest).collect();
        journal(&blocks)
    })
}
