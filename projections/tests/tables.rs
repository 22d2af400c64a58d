//! Given events, these rows: the read models as tables of text.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{
    act, capture, day, entry, expired, hold, journal, noise, open, postings, project, reversal, show, voided,
};
use event_schemas::command::{AccountKind, BalancePolicy};
use event_schemas::{AccountId, Block, CommandId, EventBody, Sequence, Timestamp};
use projections::ports::ReadRows;
use projections::statements::{Order, StatementCursor};
use projections::{balances, statements, trial_balance};

const LIMITED: BalancePolicy = BalancePolicy::Limited { overdraft_minor: 500 };

/// Customer 1 pays in, pays customer 2, and pays a fee to 4 in one entry that moves account 1 twice.
fn story() -> Vec<Block> {
    journal(&[
        (
            0,
            vec![
                noise(),
                open(1, AccountKind::Liability, "EUR", "client:1", LIMITED),
                open(2, AccountKind::Liability, "EUR", "client:2", BalancePolicy::NO_OVERDRAFT),
                open(3, AccountKind::Asset, "EUR", "", BalancePolicy::Unlimited),
            ],
        ),
        (
            10,
            vec![
                entry(21, 0, "EUR", &[(3, 10_000), (1, -10_000)]),
                open(4, AccountKind::Income, "EUR", "", BalancePolicy::Unlimited),
            ],
        ),
        (
            10,
            vec![entry(22, 2, "EUR", &[(1, 4_000), (2, -4_000), (1, 25), (4, -25)]), act(2, EventBody::AccountFrozen)],
        ),
        (0, vec![entry(23, 1, "EUR", &[(1, 100), (3, -100)]), noise()]),
    ])
}

#[test]
fn balances_are_kept_by_account_owner_and_day() {
    let rows = project(&story());
    let wanted = ["account", "code", "kind", "owner", "status", "debits_minor", "credits_minor", "changed_sequence"];
    assert_eq!(
        show(&rows, &balances::rows::ACCOUNTS, &wanted),
        "1 | a:1 | liability | client:1 | open | 4125 | 10000 | 9\n\
         2 | a:2 | liability | client:2 | frozen | 0 | 4000 | 8\n\
         3 | a:3 | asset |  | open | 10000 | 100 | 9\n\
         4 | a:4 | income |  | open | 0 | 25 | 7\n"
    );
    assert_eq!(show(&rows, &balances::rows::BY_OWNER, &["owner", "account"]), "client:1 | 1\nclient:2 | 2\n");
    assert_eq!(
        show(&rows, &balances::rows::DAYS, &["account", "effective_on", "debits_minor", "credits_minor"]),
        "1 | 2024-10-04 | 0 | 10000\n\
         1 | 2024-10-05 | 100 | 0\n\
         1 | 2024-10-06 | 4025 | 0\n\
         2 | 2024-10-06 | 0 | 4000\n\
         3 | 2024-10-04 | 10000 | 0\n\
         3 | 2024-10-05 | 0 | 100\n\
         4 | 2024-10-06 | 0 | 25\n"
    );
}

#[test]
fn statements_have_a_row_per_posting_with_the_totals_behind_it() {
    let rows = project(&story());
    let wanted =
        ["account", "sequence", "posting", "credit", "amount_minor", "debits_minor", "credits_minor", "effective_on"];
    assert_eq!(
        show(&rows, &statements::rows::POSTINGS, &wanted),
        "1 | 5 | 1 | true | 10000 | 0 | 10000 | 2024-10-04\n\
         1 | 7 | 0 | false | 4000 | 4000 | 10000 | 2024-10-06\n\
         1 | 7 | 2 | false | 25 | 4025 | 10000 | 2024-10-06\n\
         1 | 9 | 0 | false | 100 | 4125 | 10000 | 2024-10-05\n\
         2 | 7 | 1 | true | 4000 | 0 | 4000 | 2024-10-06\n\
         3 | 5 | 0 | false | 10000 | 10000 | 0 | 2024-10-04\n\
         3 | 9 | 1 | true | 100 | 10000 | 100 | 2024-10-05\n\
         4 | 7 | 3 | true | 25 | 0 | 25 | 2024-10-06\n"
    );
    assert_eq!(
        show(&rows, &statements::rows::TIMES, &["recorded_at", "sequence"]),
        "2026-01-01T00:00:00.000000Z | 4\n2026-01-01T00:00:00.000010Z | 6\n2026-01-01T00:00:00.000020Z | 10\n"
    );
}

#[test]
fn the_trial_balance_adds_up_by_currency_and_kind() {
    let rows = project(&story());
    let trial = trial_balance::trial_balance(&rows).unwrap();
    assert!(trial.is_balanced());
    assert_eq!((trial.accounts, trial.entries, trial.sequence), (4, 3, Sequence(10)));
    let [euro] = &trial.currencies[..] else { panic!("{trial:?}") };
    assert_eq!((euro.totals.debits_minor, euro.totals.credits_minor), (14_125, 14_125));
    let lines: Vec<_> = euro
        .lines
        .iter()
        .map(|line| format!("{} {} {} {}", line.kind.name(), line.accounts, line.postings, line.balance))
        .collect();
    assert_eq!(lines, ["asset 1 2 99.00 EUR", "liability 2 5 98.75 EUR", "income 1 1 0.25 EUR"]);
}

#[test]
fn an_account_is_seen_with_its_facts_and_balance() {
    let rows = project(&story());
    let view = balances::account(&rows, AccountId(1)).unwrap().unwrap();
    assert_eq!(
        (&*view.code, &*view.owner, view.kind, view.policy),
        ("a:1", "client:1", AccountKind::Liability, LIMITED)
    );
    assert_eq!(
        (view.opened_sequence, view.opened_at, view.changed_sequence),
        (Sequence(2), Timestamp(common::START), Sequence(9))
    );
    assert_eq!(view.status, balances::AccountStatus::Open);
    assert_eq!(view.balance.balance.to_string(), "58.75 EUR");
    assert_eq!(view.balance.available.unwrap().to_string(), "63.75 EUR");
    assert_eq!(view.balance.sequence, Sequence(10));
    let asset = balances::balance_now(&rows, AccountId(3)).unwrap().unwrap();
    assert_eq!((asset.balance.to_string().as_str(), asset.available), ("99.00 EUR", None));
    assert_eq!(balances::account(&rows, AccountId(9)).unwrap(), None);
    assert_eq!(balances::balance_on_date(&rows, AccountId(9), day(0)).unwrap(), None);
}

#[test]
fn balances_of_the_past() {
    let rows = project(&story());
    let at_sequence = |sequence| {
        statements::balance_at_sequence(&rows, AccountId(1), Sequence(sequence))
            .unwrap()
            .map(|view| (view.balance.amount_minor, view.sequence.0))
    };
    // Before it was opened there is no balance; behind the head, the answer says how far it reaches.
    let seen: Vec<_> = [1, 2, 4, 5, 6, 7, 8, 9, 99].map(at_sequence).into();
    let some = |balance, sequence| Some((balance, sequence));
    assert_eq!(
        seen,
        [
            None,
            some(0, 2),
            some(0, 4),
            some(10_000, 5),
            some(10_000, 6),
            some(5_975, 7),
            some(5_975, 8),
            some(5_875, 9),
            some(5_875, 10)
        ]
    );
    let at_time = |offset| {
        statements::balance_at_time(&rows, AccountId(1), Timestamp(common::START + offset))
            .unwrap()
            .map(|view| (view.balance.amount_minor, view.sequence.0))
    };
    // Two blocks bear the last time: both count.
    let seen: Vec<_> = [-1, 0, 9, 10, 19, 20, 1_000].map(at_time).into();
    assert_eq!(
        seen,
        [None, some(0, 4), some(0, 4), some(10_000, 6), some(10_000, 6), some(5_875, 10), some(5_875, 10)]
    );
    let on_date =
        |offset| balances::balance_on_date(&rows, AccountId(1), day(offset)).unwrap().unwrap().balance.amount_minor;
    assert_eq!([-1, 0, 1, 2, 300].map(on_date), [0, 10_000, 9_900, 5_875, 5_875]);
}

#[test]
fn a_statement_is_read_page_by_page_in_both_directions() {
    let rows = project(&story());
    let page = |cursor, order| statements::statement_page(&rows, AccountId(1), cursor, 3, order).unwrap().unwrap();
    let shown = |page: &statements::StatementPage| {
        page.lines.iter().map(|line| format!("{} {}", line.cursor(), line.balance.amount())).collect::<Vec<_>>()
    };
    let first = page(None, Order::OldestFirst);
    assert_eq!(shown(&first), ["5.1 100.00", "7.0 60.00", "7.2 59.75"]);
    assert_eq!(first.next.unwrap().to_string(), "7.2");
    let second = page(first.next, Order::OldestFirst);
    assert_eq!((shown(&second), second.next), (vec!["9.0 58.75".to_owned()], None));
    let newest = page(None, Order::NewestFirst);
    assert_eq!(shown(&newest), ["9.0 58.75", "7.2 59.75", "7.0 60.00"]);
    let rest = page(newest.next, Order::NewestFirst);
    assert_eq!((shown(&rest), rest.next), (vec!["5.1 100.00".to_owned()], None));
    let line = &first.lines[0];
    assert_eq!((&*line.reference, line.command.0, line.actor.0), ("r21", 21, 7));
    assert_eq!("7.2".parse(), Ok(StatementCursor { sequence: Sequence(7), posting: 2 }));
    for bad in ["", "7", "7.", ".2", "7.65536", "-1.0", "7.2.1"] {
        assert!(bad.parse::<StatementCursor>().is_err(), "{bad}");
    }
    assert_eq!(statements::statement_page(&rows, AccountId(9), None, 3, Order::OldestFirst).unwrap(), None);
}

#[test]
fn accounts_are_listed_page_by_page_and_by_owner() {
    let mut events: Vec<_> = (1..=7)
        .map(|id| open(id, AccountKind::Liability, "EUR", if id % 2 == 0 { "a" } else { "a\u{0}b" }, LIMITED))
        .collect();
    events.push(open(8, AccountKind::Liability, "EUR", "", LIMITED));
    let rows = project(&journal(&[(0, events)]));
    let all = |owner: Option<&str>, limit| {
        let (mut after, mut ids, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = balances::accounts_page(&rows, owner, after, limit).unwrap();
            assert!(page.accounts.len() <= limit);
            ids.extend(page.accounts.iter().map(|account| account.account.0));
            pages += 1;
            after = page.next;
            if after.is_none() {
                return (ids, pages);
            }
        }
    };
    assert_eq!(all(None, 3), ((1..=8).collect(), 3));
    assert_eq!(all(None, 4), ((1..=8).collect(), 2));
    assert_eq!(all(Some("a"), 2), (vec![2, 4, 6], 2));
    assert_eq!(all(Some("a\u{0}b"), 9), (vec![1, 3, 5, 7], 1));
    assert_eq!(all(Some("nobody"), 2), (vec![], 1));
}

#[test]
fn a_row_that_is_damaged_is_refused() {
    use projections::ports::{RowChanges, Rows, RowsFault};
    let rows = project(&story());
    let key = 1_u128.to_be_bytes().to_vec();
    let whole = rows.get(&balances::rows::ACCOUNTS, &key).unwrap().unwrap();
    let mut other_version = whole.clone();
    other_version[0] = 9;
    let mut longer = whole.clone();
    longer.push(0);
    for bad in [other_version, longer, whole[..whole.len() - 1].to_vec(), Vec::new()] {
        let rows_of = vec![(&balances::rows::ACCOUNTS, key.clone(), Some(bad))];
        rows.commit(RowChanges { rows: rows_of, checkpoints: Vec::new() }).unwrap();
        let fault = balances::account(&rows, AccountId(1)).unwrap_err();
        assert!(matches!(fault, RowsFault::Damaged { table: "balances_accounts", .. }), "{fault}");
    }
}

/// Of 100.00 on account 1, three holds: captured twice and released, voided, expired; a fourth stays; a capture is reversed.
fn held() -> Vec<Block> {
    let open_one = |id| open(id, AccountKind::Liability, "EUR", "", LIMITED);
    journal(&[
        (0, vec![open_one(1), open_one(2), entry(20, 0, "EUR", &[(2, 10_000), (1, -10_000)])]),
        (
            1,
            vec![
                hold(31, 1, "EUR", 3_000, Some(Timestamp(common::START + 9))),
                hold(32, 1, "EUR", 2_000, None),
                hold(33, 1, "EUR", 1_000, Some(Timestamp(common::START + 2))),
                hold(34, 1, "EUR", 500, None),
                capture(41, 31, 0, postings("EUR", &[(1, 1_000), (2, -1_000)]), 0, 2_000),
            ],
        ),
        (
            1,
            vec![
                expired(33, 1, "EUR", 1_000),
                capture(42, 31, 1, postings("EUR", &[(1, 1_500), (2, -1_500)]), 500, 0),
                voided(43, 32, 1, "EUR", 2_000),
                reversal(44, 41, 8, 2, postings("EUR", &[(1, -1_000), (2, 1_000)])),
            ],
        ),
    ])
}

#[test]
fn holds_are_kept_with_what_became_of_them() {
    let rows = project(&held());
    let wanted =
        ["hold", "account", "amount_minor", "left_minor", "captured_minor", "expires", "status", "changed_sequence"];
    assert_eq!(
        show(&rows, &balances::holds::HOLDS, &wanted),
        "00000000001f | 1 | 3000 | 0 | 2500 | true | captured | 10\n\
         000000000020 | 1 | 2000 | 0 | 0 | false | voided | 11\n\
         000000000021 | 1 | 1000 | 0 | 0 | true | expired | 9\n\
         000000000022 | 1 | 500 | 500 | 0 | false | open | 7\n"
    );
    assert_eq!(show(&rows, &balances::holds::OPEN_HOLDS, &["account", "hold"]), "1 | 000000000022\n");
    let balance = balances::balance_now(&rows, AccountId(1)).unwrap().unwrap();
    assert_eq!((balance.balance.to_string(), balance.pending_debits_minor), ("85.00 EUR".to_owned(), 500));
    assert_eq!(balance.available.unwrap().to_string(), "85.00 EUR", "with an overdraft of 5.00 and 5.00 held");
    let page = balances::holds_page(&rows, AccountId(1), None, 9).unwrap().unwrap();
    let [open] = &page.holds[..] else { panic!("{page:?}") };
    assert_eq!((open.hold, open.left.to_string().as_str(), &*open.reference), (CommandId(34), "5.00 EUR", "room 7"));
    assert_eq!(
        (open.expires_at, open.placed_sequence, open.placed_at),
        (None, Sequence(7), Timestamp(common::START + 1))
    );
    assert_eq!(balances::holds_page(&rows, AccountId(2), None, 9).unwrap().unwrap().holds, []);
    assert_eq!(balances::holds_page(&rows, AccountId(9), None, 9).unwrap(), None);
    assert_eq!(balances::hold(&rows, CommandId(9)).unwrap(), None);
    assert_eq!(balances::hold(&rows, CommandId(31)).unwrap().unwrap().expires_at, Some(Timestamp(common::START + 9)));
}

#[test]
fn captures_and_reversals_are_lines_that_say_what_they_are_about() {
    let rows = project(&held());
    let page = statements::statement_page(&rows, AccountId(1), None, 9, Order::OldestFirst).unwrap().unwrap();
    let lines: Vec<_> = page
        .lines
        .iter()
        .map(|line| {
            let about = line.origin.about().map_or(0, |about| about.0);
            format!(
                "{} {} {} {} {about}",
                line.cursor(),
                line.amount.amount(),
                line.balance.amount(),
                line.origin.name()
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "3.1 100.00 100.00 general 0",
            "8.0 10.00 90.00 capture 31",
            "10.0 15.00 75.00 capture 31",
            "12.0 10.00 85.00 reversal 41"
        ]
    );
    let trial = trial_balance::trial_balance(&rows).unwrap();
    assert!(trial.is_balanced());
    assert_eq!((trial.entries, trial.currencies[0].totals.debits_minor), (4, 13_500), "a hold posts nothing");
}
