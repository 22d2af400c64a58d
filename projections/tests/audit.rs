//! The audit trail: every act stands on it once, found by actor, account, customer and command, page by page.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod common;

use std::collections::BTreeSet;

use common::steps::{any_journal, owner};
use common::{
    act, currency, entry, expired, head, hold, journal, noise, open, project, recorded, show, verdict, voided,
};
use event_schemas::command::{AccountKind, BalancePolicy, CommandBody, PostTransfer};
use event_schemas::event::{AccessLogged, CommandRejected};
use event_schemas::limits::{Caps, SetLimits};
use event_schemas::{
    AccountId, Block, Cause, CommandId, Event, EventBody, Money, PrincipalId, Rejection, Sequence, Timestamp,
};
use projections::audit::rows::ActCause;
use projections::audit::{AuditFilter, AuditLine, AuditOf, CUSTOMER_ACCOUNTS_MAX, audit_page};
use projections::memory::{MemoryFeed, MemoryRows};
use projections::ports::{RowChanges, Rows};
use projections::statements::Order;
use projections::{Runner, RunnerError, audit, rebuild, statements};
use proptest::prelude::*;

const ALL: AuditFilter<'static> = AuditFilter { actor: None, command_type: None, accepted: None };

/// All pages together; each but the last is full if there is no filter.
fn read(rows: &MemoryRows, of: AuditOf<'_>, filter: AuditFilter<'_>, limit: usize, order: Order) -> Vec<AuditLine> {
    let (mut cursor, mut lines) = (None, Vec::new());
    loop {
        let page = audit_page(rows, of, filter, cursor, limit, order).unwrap().unwrap();
        assert!(page.lines.len() <= limit);
        assert!(page.next.is_none() || page.lines.len() == limit || filter != ALL);
        lines.extend(page.lines);
        cursor = page.next;
        if cursor.is_none() {
            return lines;
        }
    }
}

fn sequences(lines: &[AuditLine]) -> Vec<u64> {
    lines.iter().map(|line| line.sequence.0).collect()
}

fn refused(from: u128, to: u128) -> EventBody {
    let command = CommandBody::PostTransfer(PostTransfer {
        from: AccountId(from),
        to: AccountId(to),
        amount: Money::new(5, currency("EUR")),
        fee_minor: None,
        effective_on: None,
        reference: "".into(),
    });
    EventBody::CommandRejected(CommandRejected { command, rejection: Rejection::AmountTooLarge })
}

fn limits(owner: &str, version: u64) -> EventBody {
    EventBody::LimitsSet(SetLimits { owner: owner.into(), currency: currency("EUR"), version, caps: Caps::NONE })
}

/// A story of everything: 1 and 2 are Anna's, 3 is the house's.
fn story() -> Vec<Block> {
    let account = |id, owner| open(id, AccountKind::Liability, "EUR", owner, BalancePolicy::Unlimited);
    let house = Event { cause: Cause::Consequence { command: CommandId(24), actor: PrincipalId(9) }, ..account(3, "") };
    journal(&[
        (0, vec![noise(), account(1, "client:anna"), account(2, "client:anna"), house]),
        (
            10,
            vec![
                entry(24, 0, "EUR", &[(3, 900), (1, -400), (1, -100), (2, -400)]),
                act(2, EventBody::AccountFrozen),
                verdict(25, refused(1, 3)),
                hold(26, 1, "EUR", 10, None),
                expired(26, 1, "EUR", 10),
                verdict(27, limits("client:anna", 1)),
                verdict(28, limits("client:boris", 1)),
                hold(29, 1, "EUR", 7, None),
                voided(30, 29, 1, "EUR", 7),
            ],
        ),
    ])
}

#[test]
fn who_what_when_verdict_and_cause() {
    let rows = project(&story());
    let wanted = [
        "sequence",
        "cause",
        "command",
        "actor",
        "command_type",
        "outcome",
        "about",
        "accounts",
        "account",
        "other_account",
    ];
    assert_eq!(
        show(&rows, &audit::rows::ACTS, &wanted),
        "2 | verdict | 1 | 7 | open_account | accepted |  | 1 | 1 | 0\n\
         3 | verdict | 2 | 7 | open_account | accepted |  | 1 | 2 | 0\n\
         4 | consequence | 000000000018 | 9 | open_account | accepted |  | 1 | 3 | 0\n\
         5 | verdict | 000000000018 | 7 | post_entry | accepted |  | 3 | 3 | 1\n\
         6 | verdict | 1 | 7 | freeze_account | accepted |  | 1 | 2 | 0\n\
         7 | verdict | 000000000019 | 7 | post_transfer | amount_too_large |  | 2 | 1 | 3\n\
         8 | verdict | 00000000001a | 7 | place_hold | accepted |  | 1 | 1 | 0\n\
         9 | engine | 0 | 0 | expire_hold | accepted | 00000000001a | 1 | 1 | 0\n\
         10 | verdict | 00000000001b | 7 | set_limits | accepted | client:anna | 0 | 0 | 0\n\
         11 | verdict | 00000000001c | 7 | set_limits | accepted | client:boris | 0 | 0 | 0\n\
         12 | verdict | 00000000001d | 7 | place_hold | accepted |  | 1 | 1 | 0\n\
         13 | verdict | 00000000001e | 7 | void_hold | accepted | 00000000001d | 1 | 1 | 0\n"
    );
    let lines = read(&rows, AuditOf::Book, ALL, 5, Order::OldestFirst);
    let refused = &lines[5];
    assert_eq!((refused.sequence, refused.rejection.as_deref()), (Sequence(7), Some("amount_too_large")));
    assert_eq!((refused.command, refused.actor), (Some(CommandId(25)), PrincipalId(7)));
    assert_eq!((refused.recorded_at, refused.cause), (Timestamp(common::START + 10), ActCause::Verdict));
    assert_eq!(refused.first_accounts, [Some(AccountId(1)), Some(AccountId(3))]);
    assert_eq!((lines[7].command, lines[7].actor), (None, PrincipalId::ENGINE), "nobody gave it");
}

#[test]
fn acts_are_found_by_what_they_are_about() {
    let rows = project(&story());
    let of = |of| sequences(&read(&rows, of, ALL, 2, Order::OldestFirst));
    assert_eq!(of(AuditOf::Account(AccountId(1))), [2, 5, 7, 8, 9, 12, 13], "twice in one entry is once on the trail");
    assert_eq!(of(AuditOf::Account(AccountId(2))), [3, 5, 6]);
    assert_eq!(of(AuditOf::Account(AccountId(9))), [0; 0]);
    assert_eq!(of(AuditOf::Customer("client:anna")), [2, 3, 5, 6, 7, 8, 9, 10, 12, 13]);
    assert_eq!(of(AuditOf::Customer("client:boris")), [11]);
    assert_eq!(of(AuditOf::Customer("")), [0; 0], "the house is no customer");
    assert_eq!(of(AuditOf::Actor(PrincipalId(9))), [4]);
    assert_eq!(of(AuditOf::Actor(PrincipalId::ENGINE)), [9]);
    // The verdict and what had to happen before it.
    assert_eq!(of(AuditOf::Command(CommandId(24), Sequence(5))), [4, 5]);
    assert_eq!(of(AuditOf::Command(CommandId(2), Sequence(3))), [3]);
    assert_eq!(of(AuditOf::Command(CommandId(24), Sequence(99))), [0; 0]);
    let newest = read(&rows, AuditOf::Command(CommandId(24), Sequence(5)), ALL, 1, Order::NewestFirst);
    assert_eq!(sequences(&newest), [5, 4]);
}

#[test]
fn acts_are_picked_by_type_verdict_and_actor() {
    let rows = project(&story());
    let picked = |of, filter| sequences(&read(&rows, of, filter, 2, Order::NewestFirst));
    let account = AuditOf::Account(AccountId(1));
    assert_eq!(picked(AuditOf::Book, AuditFilter { command_type: Some("set_limits"), ..ALL }), [11, 10]);
    assert_eq!(picked(AuditOf::Book, AuditFilter { accepted: Some(false), ..ALL }), [7]);
    assert_eq!(picked(account, AuditFilter { accepted: Some(true), ..ALL }), [13, 12, 9, 8, 5, 2]);
    assert_eq!(picked(account, AuditFilter { actor: Some(PrincipalId::ENGINE), ..ALL }), [9]);
    assert_eq!(picked(account, AuditFilter { command_type: Some("post_entry"), accepted: Some(false), ..ALL }), [0; 0]);
}

#[test]
fn a_page_that_passes_over_much_ends_and_goes_on() {
    let mut events = vec![verdict(1, refused(1, 2))];
    events.extend((0..12_000).map(|_| verdict(2, limits("client:anna", 1))));
    events.push(verdict(3, refused(1, 2)));
    let rows = MemoryRows::new();
    let blocks = journal(&events.chunks(1_000).map(|events| (0, events.to_vec())).collect::<Vec<_>>());
    let audit = projections::by_name(audit::NAME).unwrap();
    Runner::new(MemoryFeed::new(blocks.clone()), &rows, vec![audit]).run_to(head(&blocks), &mut |_| {}).unwrap();
    let filter = AuditFilter { accepted: Some(false), ..ALL };
    for of in [AuditOf::Book, AuditOf::Actor(PrincipalId(7))] {
        let first = audit_page(&rows, of, filter, None, 2, Order::OldestFirst).unwrap().unwrap();
        assert_eq!((sequences(&first.lines), first.next), (vec![1], Some(Sequence(10_001))));
        let second = audit_page(&rows, of, filter, first.next, 2, Order::OldestFirst).unwrap().unwrap();
        assert_eq!((sequences(&second.lines), second.next), (vec![12_002], None));
    }
}

#[test]
fn a_customer_of_too_many_accounts_is_refused() {
    let accounts = |count: usize| {
        let one = |id| open(id, AccountKind::Liability, "EUR", "client:anna", BalancePolicy::Unlimited);
        project(&journal(&[(0, (1..=count as u128).map(one).collect())]))
    };
    let of = |rows: &MemoryRows| {
        audit_page(rows, AuditOf::Customer("client:anna"), ALL, None, 7, Order::NewestFirst).unwrap()
    };
    let page = of(&accounts(CUSTOMER_ACCOUNTS_MAX)).unwrap();
    assert_eq!(sequences(&page.lines), [1_000, 999, 998, 997, 996, 995, 994]);
    assert_eq!(of(&accounts(CUSTOMER_ACCOUNTS_MAX + 1)), None);
}

#[test]
fn an_account_is_shown_as_far_as_all_that_leads_to_it_has_come() {
    let blocks = story();
    let rows = project(&blocks);
    let statements = projections::by_name(statements::NAME).unwrap();
    rebuild::rebuild(MemoryFeed::new(blocks), &rows, statements, Sequence(7), &mut |_| {}).unwrap();
    for of in [AuditOf::Account(AccountId(1)), AuditOf::Customer("client:anna")] {
        for (order, first) in [(Order::OldestFirst, 2), (Order::NewestFirst, 7)] {
            let page = audit_page(&rows, of, ALL, None, 9, order).unwrap().unwrap();
            assert_eq!(page.sequence, Sequence(7));
            assert_eq!(sequences(&page.lines)[0], first);
            assert!(page.lines.iter().all(|line| line.sequence <= Sequence(7)));
        }
    }
    let book = audit_page(&rows, AuditOf::Book, ALL, None, 99, Order::OldestFirst).unwrap().unwrap();
    assert_eq!((book.sequence, book.lines.len()), (Sequence(13), 12));
}

#[test]
fn an_index_that_leads_nowhere_and_a_read_in_a_book_are_told() {
    let rows = project(&story());
    let key = 5_u64.to_be_bytes().to_vec();
    rows.commit(RowChanges { rows: vec![(&audit::rows::ACTS, key, None)], checkpoints: Vec::new() }).unwrap();
    let fault = audit_page(&rows, AuditOf::Account(AccountId(1)), ALL, None, 9, Order::OldestFirst).unwrap_err();
    assert!(fault.to_string().contains("no act 5"), "{fault}");

    let access = AccessLogged {
        actor: PrincipalId(1),
        operation: "get_statement".into(),
        subject: "".into(),
        status: 200,
        request: "r".into(),
    };
    let blocks = journal(&[(0, vec![noise(), verdict(1, EventBody::AccessLogged(access))])]);
    let rows = MemoryRows::new();
    let fault = Runner::new(MemoryFeed::new(blocks), &rows, projections::all()).run_to(Sequence(2), &mut |_| {});
    let fault = fault.unwrap_err();
    assert_eq!((fault.projection, fault.sequence), (Some(audit::NAME), Sequence(2)));
    assert!(matches!(fault.error, RunnerError::Contradiction(_)), "{fault}");
}

fn is_act(event: &Event) -> bool {
    !matches!(event.body, EventBody::StateDigest(_) | EventBody::LimitCharged(_) | EventBody::LimitReleased(_))
}

/// Whether an event is about a customer: it touches one of its accounts, or names it.
fn about_customer(event: &Event, customer: &str) -> bool {
    let named = match &event.body {
        EventBody::LimitsSet(set) => *set.owner == *customer,
        EventBody::NotificationPreferencesSet(set) => *set.owner == *customer,
        _ => false,
    };
    named || (1..=7).any(|account| owner(account) == customer && event.body.touches(AccountId(account)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_trail_is_what_a_look_at_every_event_finds(blocks in any_journal(), limit in 1..9_usize) {
        let rows = project(&blocks);
        let events = recorded(&blocks);
        let naive = |picks: &dyn Fn(&Event) -> bool| -> Vec<u64> {
            events.iter().filter(|(_, _, event)| is_act(event) && picks(event)).map(|(at, ..)| at.0).collect()
        };
        let both = |of, filter| {
            let oldest = sequences(&read(&rows, of, filter, limit, Order::OldestFirst));
            let mut newest = sequences(&read(&rows, of, filter, limit, Order::NewestFirst));
            newest.reverse();
            assert_eq!(oldest, newest);
            oldest
        };
        let refused = |event: &Event| matches!(event.body, EventBody::CommandRejected(_));
        prop_assert_eq!(both(AuditOf::Book, ALL), naive(&|_| true));
        prop_assert_eq!(both(AuditOf::Book, AuditFilter { accepted: Some(false), ..ALL }), naive(&refused));
        for account in (1..=8).map(AccountId) {
            prop_assert_eq!(both(AuditOf::Account(account), ALL), naive(&|event| event.body.touches(account)));
        }
        for customer in ["client:1", "client:2", "client:3"] {
            let expected = naive(&|event| about_customer(event, customer));
            prop_assert_eq!(both(AuditOf::Customer(customer), ALL), expected);
            let actor = AuditFilter { actor: Some(PrincipalId(8)), ..ALL };
            let expected = naive(&|event| {
                about_customer(event, customer) && event.cause.command().is_some_and(|(_, actor)| actor.0 == 8)
            });
            prop_assert_eq!(both(AuditOf::Customer(customer), actor), expected);
        }
        let actor_of = |event: &Event| event.cause.command().map_or(PrincipalId::ENGINE, |(_, actor)| actor);
        let actors: BTreeSet<_> = events.iter().map(|(_, _, event)| actor_of(event)).collect();
        for actor in actors {
            prop_assert_eq!(both(AuditOf::Actor(actor), ALL), naive(&|event| actor_of(event) == actor));
        }
    }
}
