//! Notifications: who is told what of each event, by the channels that the customer wants, once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::steps::{any_journal, owner};
use common::{
    act, capture, currency, entry, expired, hold, journal, noise, open, postings, project, recorded, reversal,
};
use common::{show, verdict, voided};
use event_schemas::command::{AccountKind, BalancePolicy, CashMove, CommandBody, PostTransfer};
use event_schemas::event::CommandRejected;
use event_schemas::limits::{Caps, SetLimits};
use event_schemas::notices::{NoticeChannel, NoticeTopic, SetNotificationPreferences};
use event_schemas::{AccountId, Block, CommandBody as Body, Event, EventBody, Money, Rejection, Sequence, Side};
use projections::memory::{MemoryFeed, MemoryRows};
use projections::notifications::{Channels, NoticeCursor, NoticeState, notices_page, preferences};
use projections::statements::Order;
use projections::{Runner, RunnerError, notifications, rebuild};
use proptest::prelude::*;

const ANNA: &str = "client:anna";

fn prefer(owner: &str, version: u64, topics: &[(NoticeTopic, &[NoticeChannel])]) -> Event {
    let topics = topics.iter().map(|(topic, channels)| (*topic, channels.iter().copied().collect())).collect();
    let set = SetNotificationPreferences { owner: owner.into(), version, topics };
    verdict(70, EventBody::NotificationPreferencesSet(set))
}

fn refused(command: Body) -> Event {
    verdict(71, EventBody::CommandRejected(CommandRejected { command, rejection: Rejection::AmountTooLarge }))
}

fn euro(minor: i128) -> Money {
    Money::new(minor, currency("EUR"))
}

fn transfer(from: u128, to: u128) -> Body {
    CommandBody::PostTransfer(PostTransfer {
        from: AccountId(from),
        to: AccountId(to),
        amount: euro(5),
        fee_minor: None,
        effective_on: None,
        reference: "rent".into(),
    })
}

/// Account 1 is Anna's, 2 Boris's, 3 the house's.
fn accounts() -> (i64, Vec<Event>) {
    let one = |id, owner| open(id, AccountKind::Liability, "EUR", owner, BalancePolicy::Unlimited);
    (0, vec![one(1, ANNA), one(2, "client:boris"), one(3, "")])
}

fn told(rows: &MemoryRows) -> String {
    let wanted = [
        "owner",
        "sequence",
        "place",
        "template",
        "channels",
        "state",
        "account",
        "amount_minor",
        "kind",
        "about",
        "reference",
    ];
    show(rows, &notifications::rows::NOTICES, &wanted)
}

#[test]
fn each_event_tells_whom_it_concerns() {
    let rows = project(&journal(&[
        accounts(),
        (
            1,
            vec![
                entry(22, 0, "EUR", &[(3, 900), (1, -800), (1, -100)]),
                entry(23, 0, "EUR", &[(1, 50), (2, -45), (3, -5)]),
                entry(24, 0, "EUR", &[(1, 50), (1, -50)]),
                hold(31, 1, "EUR", 30, None),
                capture(32, 31, 0, postings("EUR", &[(1, 20), (2, -20)]), 10, 0),
                reversal(33, 32, 8, 0, postings("EUR", &[(1, -20), (2, 20)])),
                hold(34, 1, "EUR", 30, None),
                voided(35, 34, 1, "EUR", 30),
                hold(36, 1, "EUR", 30, None),
                expired(36, 1, "EUR", 30),
            ],
        ),
        (
            1,
            vec![
                act(2, EventBody::AccountFrozen),
                act(2, EventBody::AccountUnfrozen),
                act(2, EventBody::AccountClosed),
                act(3, EventBody::AccountFrozen),
                refused(transfer(1, 2)),
                refused(transfer(3, 2)),
                refused(transfer(99, 2)),
                refused(CommandBody::TopUp(CashMove {
                    account: AccountId(2),
                    amount: euro(7),
                    fee_minor: None,
                    effective_on: None,
                    reference: "".into(),
                })),
                verdict(
                    72,
                    EventBody::LimitsSet(SetLimits {
                        owner: ANNA.into(),
                        currency: currency("EUR"),
                        version: 1,
                        caps: Caps::NONE,
                    }),
                ),
                noise(),
            ],
        ),
    ]));
    assert_eq!(
        told(&rows),
        "client:anna | 1 | 0 | account_opened | email | queued | 1 | 0 |  |  | \n\
         client:anna | 4 | 0 | money_in | email | queued | 1 | 900 | general |  | r22\n\
         client:anna | 5 | 0 | money_out | email | queued | 1 | 50 | general |  | r23\n\
         client:anna | 7 | 0 | hold_placed | email | queued | 1 | 30 |  | 00000000001f | room 7\n\
         client:anna | 8 | 0 | money_out | email | queued | 1 | 20 | capture | 00000000001f | r32\n\
         client:anna | 8 | 2 | hold_released | email | queued | 1 | 10 |  | 00000000001f | \n\
         client:anna | 9 | 0 | money_in | email | queued | 1 | 20 | reversal | 000000000020 | taken back\n\
         client:anna | 10 | 0 | hold_placed | email | queued | 1 | 30 |  | 000000000022 | room 7\n\
         client:anna | 11 | 0 | hold_voided | email | queued | 1 | 30 |  | 000000000022 | \n\
         client:anna | 12 | 0 | hold_placed | email | queued | 1 | 30 |  | 000000000024 | room 7\n\
         client:anna | 13 | 0 | hold_expired | email | queued | 1 | 30 |  | 000000000024 | \n\
         client:anna | 18 | 0 | command_refused | email | queued | 1 | 5 | post_transfer | amount_too_large | rent\n\
         client:anna | 22 | 0 | limits_set | email | queued | 0 | 0 |  |  | \n\
         client:boris | 2 | 0 | account_opened | email | queued | 2 | 0 |  |  | \n\
         client:boris | 5 | 1 | money_in | email | queued | 2 | 45 | general |  | r23\n\
         client:boris | 8 | 1 | money_in | email | queued | 2 | 20 | capture | 00000000001f | r32\n\
         client:boris | 9 | 1 | money_out | email | queued | 2 | 20 | reversal | 000000000020 | taken back\n\
         client:boris | 14 | 0 | account_frozen | email | queued | 2 | 0 |  |  | \n\
         client:boris | 15 | 0 | account_unfrozen | email | queued | 2 | 0 |  |  | \n\
         client:boris | 16 | 0 | account_closed | email | queued | 2 | 0 |  |  | \n\
         client:boris | 21 | 0 | command_refused | email | queued | 2 | 7 | top_up | amount_too_large | \n"
    );
    assert_eq!(show(&rows, &notifications::rows::OWNERS, &["account", "owner"]), "1 | client:anna\n2 | client:boris\n");
}

#[test]
fn preferences_choose_the_channels_and_their_change_is_told_as_before() {
    use NoticeChannel::{Email, Sms, Websocket};
    let pay = |command| entry(command, 0, "EUR", &[(1, 5), (2, -5)]);
    let rows = project(&journal(&[
        accounts(),
        (
            1,
            vec![
                prefer(ANNA, 1, &[(NoticeTopic::MoneyOut, &[Sms, Websocket]), (NoticeTopic::Settings, &[])]),
                pay(21),
                prefer(ANNA, 2, &[(NoticeTopic::MoneyOut, &[])]),
                pay(22),
                prefer(ANNA, 9, &[(NoticeTopic::MoneyIn, &[Email])]),
                pay(23),
            ],
        ),
    ]));
    let anna: Vec<_> = notices_page(&rows, ANNA, None, None, 99, Order::OldestFirst)
        .unwrap()
        .notices
        .into_iter()
        .map(|notice| (notice.at.sequence.0, notice.row.template.name(), notice.row.channels))
        .collect();
    let email = Channels::of([Email]);
    assert_eq!(
        anna,
        [
            (1, "account_opened", email),
            (4, "preferences_set", email),
            (5, "money_out", Channels::of([Sms, Websocket])),
            // Version 1 wanted nothing told of settings, version 2 says nothing about them.
            (8, "preferences_set", email),
            (9, "money_out", email),
        ]
    );
    let found = preferences(&rows, ANNA).unwrap();
    assert_eq!((found.version, found.sequence), (9, Sequence(9)));
    assert!(found.topics.iter().all(|(_, channels)| *channels == email));
    assert_eq!(preferences(&rows, "client:boris").unwrap().version, 0);
    let wanted = ["owner", "version", "money_in", "money_out", "settings", "set_sequence"];
    assert_eq!(
        show(&rows, &notifications::rows::PREFERENCES, &wanted),
        "client:anna | 9 | email | default | default | 8\n"
    );
}

#[test]
fn notices_are_read_page_by_page_and_by_topic() {
    let mut events = accounts().1;
    for at in 0..4 {
        events.push(entry(20 + at, 0, "EUR", &[(1, 5), (2, -5)]));
        events.push(entry(30 + at, 0, "EUR", &[(2, 5), (1, -5)]));
    }
    let rows = project(&journal(&[(0, events)]));
    let all = |topic, limit, order| {
        let (mut cursor, mut found) = (None, Vec::new());
        loop {
            let page = notices_page(&rows, ANNA, topic, cursor, limit, order).unwrap();
            assert!(page.notices.len() <= limit && page.sequence == Sequence(11));
            found.extend(page.notices.iter().map(|notice| notice.at.sequence.0));
            cursor = page.next;
            if cursor.is_none() {
                return found;
            }
        }
    };
    for limit in 1..10 {
        assert_eq!(all(None, limit, Order::OldestFirst), [1, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(all(None, limit, Order::NewestFirst), [11, 10, 9, 8, 7, 6, 5, 4, 1]);
        assert_eq!(all(Some(NoticeTopic::MoneyOut), limit, Order::NewestFirst), [10, 8, 6, 4]);
        assert_eq!(all(Some(NoticeTopic::Refusal), limit, Order::NewestFirst), [0; 0]);
    }
    let beyond = Some(NoticeCursor { sequence: Sequence(u64::MAX), place: u16::MAX });
    assert!(notices_page(&rows, ANNA, None, beyond, 9, Order::OldestFirst).unwrap().notices.is_empty());
    assert!(notices_page(&rows, "client:", None, None, 9, Order::OldestFirst).unwrap().notices.is_empty());
}

#[test]
fn a_rebuild_doubles_nothing_and_older_preferences_are_an_alarm() {
    let blocks = journal(&[accounts(), (1, vec![entry(22, 0, "EUR", &[(1, 5), (2, -5)])])]);
    let rows = project(&blocks);
    let before = told(&rows);
    let projection = projections::by_name(notifications::NAME).unwrap();
    rebuild::rebuild(MemoryFeed::new(blocks), &rows, projection, Sequence(4), &mut |_| {}).unwrap();
    assert_eq!(told(&rows), before);

    let blocks = journal(&[accounts(), (1, vec![prefer(ANNA, 4, &[]), prefer(ANNA, 4, &[])])]);
    let rows = MemoryRows::new();
    let fault = Runner::new(MemoryFeed::new(blocks), &rows, projections::all()).run_to(Sequence(5), &mut |_| {});
    let fault = fault.unwrap_err();
    assert_eq!((fault.projection, fault.sequence), (Some(notifications::NAME), Sequence(5)));
    assert!(matches!(fault.error, RunnerError::Contradiction(_)), "{fault}");
}

type Naive = (u64, &'static str, u128, i128, BTreeSet<NoticeChannel>);

/// What a customer is told, by a look at every event.
fn naive(blocks: &[Block], customer: &str) -> Vec<Naive> {
    let mut wants = BTreeMap::new();
    let mut told = Vec::new();
    for (sequence, _, event) in recorded(blocks) {
        let own = |account: AccountId| account.0 <= 7 && owner(account.0) == customer;
        let mut found: Vec<(NoticeTopic, &'static str, u128, i128)> = Vec::new();
        if let Some(entry) = event.body.entry() {
            for account in (1..=7).map(AccountId).filter(|account| own(*account)) {
                let of = entry.postings.iter().filter(|posting| posting.account == account);
                let signed = |side| if side == Side::Credit { 1 } else { -1 };
                let net: i128 = of.map(|posting| signed(posting.side) * posting.money.amount_minor).sum();
                match net {
                    0 => {}
                    1.. => found.push((NoticeTopic::MoneyIn, "money_in", account.0, net)),
                    _ => found.push((NoticeTopic::MoneyOut, "money_out", account.0, -net)),
                }
            }
        }
        let one =
            |account: AccountId, topic, template, amount| own(account).then_some((topic, template, account.0, amount));
        let hold = NoticeTopic::Hold;
        found.extend(match &event.body {
            EventBody::AccountOpened(open) => one(open.account, NoticeTopic::Account, "account_opened", 0),
            EventBody::AccountFrozen(act) => one(act.account, NoticeTopic::Account, "account_frozen", 0),
            EventBody::AccountUnfrozen(act) => one(act.account, NoticeTopic::Account, "account_unfrozen", 0),
            EventBody::HoldPlaced(placed) => one(placed.account, hold, "hold_placed", placed.amount.amount_minor),
            EventBody::HoldVoided(voided) => one(voided.account, hold, "hold_voided", voided.released.amount_minor),
            EventBody::HoldExpired(over) => one(over.account, hold, "hold_expired", over.released.amount_minor),
            EventBody::HoldCaptured(captured) if captured.released_minor > 0 => {
                let payer = captured.postings.iter().find(|posting| posting.side == Side::Debit).unwrap();
                one(payer.account, hold, "hold_released", captured.released_minor)
            }
            EventBody::CommandRejected(rejected) => match &rejected.command {
                CommandBody::PostTransfer(transfer) => {
                    one(transfer.from, NoticeTopic::Refusal, "command_refused", transfer.amount.amount_minor)
                }
                _ => None,
            },
            EventBody::LimitsSet(set) if *set.owner == *customer => Some((NoticeTopic::Settings, "limits_set", 0, 0)),
            EventBody::NotificationPreferencesSet(set) if *set.owner == *customer => {
                Some((NoticeTopic::Settings, "preferences_set", 0, 0))
            }
            _ => None,
        });
        for (topic, template, account, amount) in found {
            let by_default = || BTreeSet::from([NoticeChannel::Email]);
            let channels: BTreeSet<_> = wants.get(&topic).cloned().unwrap_or_else(by_default);
            if !channels.is_empty() {
                told.push((sequence.0, template, account, amount, channels));
            }
        }
        if let EventBody::NotificationPreferencesSet(set) = event.body
            && *set.owner == *customer
        {
            wants = set.topics;
        }
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_is_told_is_what_a_look_at_every_event_finds(blocks in any_journal(), limit in 1..9_usize) {
        let rows = project(&blocks);
        for customer in ["client:1", "client:2", ""] {
            let (mut cursor, mut found) = (None, Vec::new());
            loop {
                let page = notices_page(&rows, customer, None, cursor, limit, Order::OldestFirst).unwrap();
                found.extend(page.notices.into_iter().map(|notice| {
                    assert_eq!(notice.row.state, NoticeState::Queued);
                    let row = notice.row;
                    let account = row.account.map_or(0, |account| account.0);
                    (notice.at.sequence.0, row.template.name(), account, row.amount_minor, row.channels.iter().collect())
                }));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            let expected = if customer.is_empty() { Vec::new() } else { naive(&blocks, customer) };
            prop_assert_eq!(found, expected);
        }
    }
}
