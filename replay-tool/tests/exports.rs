//! Exports: their text, and what `hledger` and `bean-check` say to it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod common;

use std::path::Path;
use std::process::Command;

use clap::Parser as _;
use event_schemas::Money;
use event_schemas::command::{AccountKind, BalancePolicy};
use replay_tool::cli::{Cli, Command as Asked, ExportArgs};
use replay_tool::export;
use replay_tool::outcome::{Failure, Outcome};

fn arguments(line: &str) -> ExportArgs {
    let words = ["replay-tool", "export"].into_iter().chain(line.split_whitespace());
    match Cli::try_parse_from(words).unwrap().command {
        Asked::Export(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

fn exported(book: &common::Book, line: &str) -> String {
    let mut out = Vec::new();
    assert_eq!(export::run(&mut book.journal(), &arguments(line), &mut out).unwrap(), Outcome::Fine);
    String::from_utf8(out).unwrap()
}

/// Runs a checker over a file; it has to find it right.
fn check(program: &str, arguments: &[&str], file: &Path) {
    let output = Command::new(program).args(arguments).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("{program} can't be run ({error}): `make setup` installs it"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{program} says:\n{said}");
}

fn check_hledger(text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("book.journal");
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    check("hledger", &["check", "--strict", "-f"], &file);
    check("hledger", &["check", "ordereddates", "-f"], Path::new(path));
}

fn check_beancount(text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("book.beancount");
    std::fs::write(&file, text).unwrap();
    check("bean-check", &[], &file);
}

#[test]
fn csv_has_a_row_a_posting() {
    insta::assert_snapshot!(exported(&common::odd_book(), "--format csv"));
}

#[test]
fn jsonl_has_an_object_a_posting() {
    let text = exported(&common::odd_book(), "--format jsonl --currency JPY");
    assert_eq!(text.lines().count(), 2);
    insta::assert_snapshot!(text);
}

#[test]
fn end_of_day_sums_by_effective_date() {
    insta::assert_snapshot!(exported(&common::odd_book(), "--format csv --end-of-day"));
    insta::assert_snapshot!(exported(&common::odd_book(), "--format csv --end-of-day --currency BHD"));
}

#[test]
fn hledger_checks_the_export() {
    let text = exported(&common::odd_book(), "--format hledger");
    insta::assert_snapshot!(text);
    check_hledger(&text);
    check_hledger(&exported(&common::odd_book(), "--format hledger --currency CZK --to 9"));
}

#[test]
fn beancount_checks_the_export() {
    let text = exported(&common::odd_book(), "--format beancount");
    insta::assert_snapshot!(text);
    check_beancount(&text);
    check_beancount(&exported(&common::odd_book(), "--format beancount --currency CZK --to 9"));
}

#[test]
fn the_checkers_find_a_wrong_amount() {
    // That they pass says something only because they would fail.
    let hledger = exported(&common::odd_book(), "--format hledger").replacen("1.234 BHD", "1.235 BHD", 2);
    let beancount = exported(&common::odd_book(), "--format beancount").replacen("1.234 BHD", "1.235 BHD", 2);
    assert!(std::panic::catch_unwind(|| check_hledger(&hledger)).is_err());
    assert!(std::panic::catch_unwind(|| check_beancount(&beancount)).is_err());
}

#[test]
fn an_empty_book_exports_to_nothing_that_fails() {
    let book = common::Book::open();
    check_hledger(&exported(&book, "--format hledger"));
    check_beancount(&exported(&book, "--format beancount"));
    assert_eq!(exported(&book, "--format csv").lines().count(), 1);
    assert_eq!(exported(&book, "--format csv --end-of-day"), "account,date,balance\n");
}

#[test]
fn little_memory_gives_the_same_order() {
    let book = common::odd_book();
    for format in ["hledger", "beancount"] {
        let plenty = exported(&book, &format!("--format {format}"));
        assert_eq!(exported(&book, &format!("--format {format} --sort-memory 0")), plenty);
    }
}

#[test]
fn a_file_appears_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postings.csv");
    let line = format!("--format csv --out {}", path.display());
    assert_eq!(exported(&common::odd_book(), &line), "");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), exported(&common::odd_book(), "--format csv"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = arguments("--format csv --out /nonexistent/postings.csv");
    let failure = export::run(&mut common::odd_book().journal(), &missing, &mut Vec::new()).unwrap_err();
    assert_eq!(failure.exit_code(), 3, "{failure}");
}

#[test]
fn csv_has_no_text_that_a_spreadsheet_would_run() {
    let mut book = common::Book::open();
    let open = BalancePolicy::Unlimited;
    let from = book.account("-A1", AccountKind::Liability, "EUR", open);
    let to = book.account("shop", AccountKind::Liability, "EUR", open);
    let texts = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "a=b", "'=1", ""];
    for text in texts {
        book.transfer(from, to, Money::new(100, "EUR".parse().unwrap()), None, text);
    }
    book.seal();
    let csv = exported(&book, "--format csv");
    let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(csv.as_bytes()).records().map(Result::unwrap).collect();
    let references: Vec<_> = rows.iter().step_by(2).map(|row| &row[12]).collect();
    let inert: Vec<_> = texts.iter().take(7).map(|text| format!("'{text}")).collect();
    assert_eq!(references[..7], inert);
    assert_eq!(references[7..], texts[7..], "texts that are no formulas stay");
    assert!(rows.iter().step_by(2).all(|row| &row[6] == "'-A1" && &row[9] == "1.00"), "{csv}");
    let days = exported(&book, "--format csv --end-of-day");
    assert!(days.contains("\n'-A1,") && days.contains(",-10.00\n"), "numbers stay: {days}");
    // For programs, not for spreadsheets.
    let line = exported(&book, "--format jsonl").lines().next().unwrap().to_owned();
    assert!(line.contains(r#""account_code":"-A1""#) && line.contains(r#""reference":"=HYPERLINK(1)""#), "{line}");
}

#[test]
fn end_of_day_is_for_csv() {
    let asked = arguments("--format jsonl --end-of-day");
    let failure = export::run(&mut common::odd_book().journal(), &asked, &mut Vec::new()).unwrap_err();
    assert!(matches!(failure, Failure::Usage(_)), "{failure}");
}

/// A conversion has two currencies: the export balances in each by the position accounts, and the checkers agree.
#[test]
fn conversions_balance_in_each_currency() {
    let mut book = common::Book::open();
    let open = BalancePolicy::Unlimited;
    for (converted, (sold, bought)) in [("USD", "EUR"), ("JPY", "BHD"), ("EUR", "JPY")].into_iter().enumerate() {
        let from = book.account(&format!("ann:{sold}:{converted}"), AccountKind::Liability, sold, open);
        let to = book.account(&format!("ann:{bought}:{converted}"), AccountKind::Liability, bought, open);
        book.conversion((from, sold), (to, bought), 12_345);
    }
    book.seal();
    for memory in ["", " --sort-memory 1"] {
        let hledger = exported(&book, &format!("--format hledger{memory}"));
        assert!(hledger.contains("sys:fx-position:USD") && hledger.contains("conversion"), "{hledger}");
        check_hledger(&hledger);
        check_beancount(&exported(&book, &format!("--format beancount{memory}")));
    }
    let rows = exported(&book, "--format csv --currency EUR");
    assert!(rows.lines().skip(1).all(|row| row.contains(",conversion,")), "{rows}");
}

#[test]
fn captures_and_reversals_are_entries_and_holds_are_not() {
    let book = common::held_book();
    let rows = exported(&book, "--format csv");
    let kinds: Vec<_> = rows.lines().skip(1).map(|row| row.split(',').nth(4).unwrap()).collect();
    assert_eq!(kinds, [["top_up"; 2].as_slice(), &["capture"; 6], &["reversal"; 3]].concat());
    for memory in ["", " --sort-memory 1"] {
        check_hledger(&exported(&book, &format!("--format hledger{memory}")));
        check_beancount(&exported(&book, &format!("--format beancount{memory}")));
    }
    let days = exported(&book, "--format csv --end-of-day");
    assert!(days.contains("hotel,2026-11-04,30.00\n"), "{days}");
}
