//! `events` and `balance`: their text, their JSON, their filters.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod common;

use clap::Parser as _;
use event_schemas::RecordedEvent;
use replay_tool::cli::{Cli, Command};
use replay_tool::outcome::Failure;
use replay_tool::{balance, events};

fn asked(book: &common::Book, line: &str) -> Result<String, Failure> {
    let words = std::iter::once("replay-tool").chain(line.split_whitespace());
    let cli = Cli::try_parse_from(words).map_err(|error| Failure::usage(error.to_string()))?;
    let mut out = Vec::new();
    match cli.command {
        Command::Events(arguments) => events::run(&mut book.journal(), &arguments, cli.output, &mut out)?,
        Command::Balance(arguments) => balance::run(&mut book.journal(), &arguments, cli.output, &mut out)?,
        other => panic!("{other:?}"),
    };
    Ok(String::from_utf8(out).unwrap())
}

fn sequences(line: &str) -> Vec<u64> {
    let text = asked(&common::odd_book(), &format!("{line} --output json")).unwrap();
    let parsed = text.lines().map(|line| serde_json::from_str::<RecordedEvent>(line).unwrap());
    parsed.map(|event| event.sequence.0).collect()
}

#[test]
fn events_read_well() {
    insta::assert_snapshot!(asked(&common::odd_book(), "events").unwrap());
}

#[test]
fn events_are_json_lines() {
    insta::assert_snapshot!(asked(&common::odd_book(), "events --output json --limit 6").unwrap());
}

#[test]
fn text_lines_name_accounts_opened_before_the_first_line() {
    let book = common::odd_book();
    let all = asked(&book, "events").unwrap();
    let last = all.lines().last().unwrap();
    assert_eq!(asked(&book, &format!("events --from {}", book.head().sequence)).unwrap().trim_end(), last);
    assert!(last.contains("berka-2378"), "{last}");
}

#[test]
fn events_are_filtered() {
    let all: Vec<u64> = (1..=common::odd_book().head().sequence.0).collect();
    assert_eq!(sequences("events"), all);
    let rows: &[(&str, &[u64])] = &[
        ("--from 3 --to 5", &[3, 4, 5]),
        ("--limit 2", &[1, 2]),
        ("--from 3 --limit 1", &[3]),
        ("--type book.opened", &[1]),
        ("--type ledger.book.opened.v1 --type account.closed", &[1, 20]),
        ("--type command.rejected", &[10]),
        ("--account yen", &[12, 16]),
        ("--account berka-2378", &[4, 10, 11, 19, 20]),
        ("--command 00000000-0000-c0de-0000-000000000005", &[7, 8]),
        ("--actor 00000000-0000-0000-0000-000000000000", &[]),
        ("--since 2026-11-20T10:00:05Z", &[19, 20]),
        ("--since 2026-11-20T10:00:04.000001Z --limit 1", &[19]),
        ("--since 2026-11-20T10:00:01Z --until 2026-11-20T10:00:01Z", &[2, 3, 4]),
        ("--until 2026-11-20T10:00:00Z", &[1]),
        ("--since 2026-11-20 --limit 1", &[1]),
        ("--until 2026-11-20", &[]),
        ("--since 2027-01-01", &[]),
        ("--from 900", &[]),
    ];
    for (filter, expected) in rows {
        assert_eq!(&sequences(&format!("events {filter}")), expected, "{filter}");
    }
}

#[test]
fn balances_at_moments() {
    let book = common::odd_book();
    let rows = [
        ("berka:2378", "899.75"),
        ("berka:2378 --at-sequence 6", "1000.00"),
        ("berka:2378 --at-sequence 5", "0.00"),
        ("berka:2378 --at-sequence 9", "899.75"),
        ("berka:2378 --at-sequence 11", "899.74"),
        ("berka:2378 --at-time 2026-11-20T10:00:02Z", "1000.00"),
        ("berka:2378 --at-time 2026-11-20T10:00:02.999Z", "1000.00"),
        ("berka:2378 --at-time 2026-11-20T10:00:03Z", "899.74"),
        ("berka:2378 --on-date 1993-01-04", "0.00"),
        ("berka:2378 --on-date 1993-01-05", "999.99"),
        ("berka:2378 --on-date 1993-01-06", "1000.00"),
        ("berka:2378 --on-date 1993-02-03", "899.75"),
        ("yen", "12345"),
        ("sys:psp-clearing:CZK", "1050.50"),
        ("capital", "1.234"),
    ];
    for (question, expected) in rows {
        let text = asked(&book, &format!("balance {question} --output json")).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["balance"], expected, "{question}");
    }
    let by_id = event_schemas::AccountId::from_code(event_schemas::BookId::FIRST, "yen");
    assert_eq!(asked(&book, &format!("balance {by_id}")).unwrap(), asked(&book, "balance yen").unwrap());
}

#[test]
fn a_balance_reads_well_and_names_its_evidence() {
    let book = common::odd_book();
    insta::assert_snapshot!(asked(&book, "balance berka:2378 --on-date 1993-01-05").unwrap());
    insta::assert_snapshot!(asked(&book, "balance yen --output json").unwrap());
    let hash = book.head().hash.to_string();
    assert!(asked(&book, "balance yen").unwrap().contains(&hash));
}

#[test]
fn questions_that_do_not_fit_are_refused() {
    let book = common::odd_book();
    for line in [
        "balance nobody",
        "balance yen --at-sequence 3",
        "balance yen --at-sequence 900",
        "balance yen --at-time 1999-01-01",
        "balance yen --at-sequence 3 --on-date 1999-01-01",
        "events --type entry.posed",
        "events --since yesterday",
        "events --follow --to 3",
        "events --from x",
    ] {
        let failure = asked(&book, line).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{line}: {failure}");
    }
}

#[test]
fn a_state_that_contradicts_a_digest_is_damage() {
    let mut book = common::odd_book();
    // A block whose hashes are right and whose digest is not: only a replay sees it.
    book.forge_digest();
    let failure = asked(&book, "balance yen").unwrap_err();
    assert_eq!(failure.exit_code(), 1);
    assert!(failure.to_string().starts_with("event 21 does not fit the state before it"), "{failure}");
    assert_eq!(asked(&book, "events --from 21 --output json").unwrap().lines().count(), 1);
}

#[test]
fn holds_and_reversals_read_well() {
    let book = common::held_book();
    insta::assert_snapshot!(asked(&book, "events").unwrap());
    let lines = |line: &str| asked(&book, line).unwrap().lines().count();
    assert_eq!(lines("events --type hold.captured"), 2);
    assert_eq!(lines("events --account guest --type hold.placed --type hold.voided --type hold.expired"), 5);
    assert_eq!(lines("events --account hotel"), 4, "its opening, two captures and a reversal");
    // 100.00, less 30.05 captured: the other capture was taken back.
    let balance = |line: &str| asked(&book, line).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(balance("balance guest"), "guest  69.95 EUR");
    assert_eq!(balance("balance hotel --on-date 2026-11-03"), "hotel  5.00 EUR");
}
