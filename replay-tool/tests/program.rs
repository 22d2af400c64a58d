//! The program itself: exit codes, standard output and error, following a journal that grows under another writer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::bank;
use event_schemas::{EventBody, RecordedEvent};

fn program(data: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replay-tool"));
    command.arg("--data").arg(data).args(line.split_whitespace());
    command
}

fn run(data: &Path, line: &str) -> (i32, String, String) {
    let Output { status, stdout, stderr } = program(data, line).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn exit_codes_are_those_of_the_help() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    bank::run(&data, &bank::options(None), 0, 200);
    let (code, out, err) = run(&data, "verify");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("All is well: events 1 to "), "{out}");
    assert!(!out.contains('\x1b'), "no colour but on a terminal");

    let (code, out, err) = run(&data, "balance nobody");
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.starts_with("replay-tool: there is no account nobody"), "{err}");
    assert_eq!(run(&data, "balance").0, 2);
    assert_eq!(run(&data, "export --format pdf").0, 2);
    assert_eq!(run(&folder.path().join("elsewhere"), "verify").0, 3);
    let (code, help, _) = run(&data, "--help");
    assert_eq!(code, 0);
    for code in 0..=3 {
        assert!(help.contains(&format!("\n  {code}  ")), "{help}");
    }

    let path = bank::segment(&data, 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 200] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (code, out, _) = run(&data, "verify");
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("segment 1, offset 4096, sequence 1: ") && out.contains("NOT all is well"), "{out}");
    assert_eq!(run(&data, "events").0, 1);
}

#[test]
fn the_report_reads_well() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    bank::run(&data, &bank::options(None), 0, 200);
    let (_, out, _) = run(&data, "verify");
    // What depends on the machine and on how commands met in groups is taken out.
    let mut shown = String::new();
    for line in out.lines().filter(|line| !line.contains(" events/s")) {
        let line = match line.split_once(", hash ") {
            Some((front, hash)) if hash.len() == 64 => format!("{front}, hash <hash>"),
            _ => line.to_owned(),
        };
        let line = if line.starts_with("chain") { line.replace(|c: char| c.is_ascii_digit(), "") } else { line };
        shown += &(line + "\n");
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn completions_are_made_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, err) = run(Path::new("data"), &format!("completions {shell}"));
        assert!(code == 0 && out.contains("replay-tool") && out.contains("rebuild"), "{err}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    bank::run(&data, &bank::options(None), 0, 5_000);
    let mut child = program(&data, "events --output json").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("ledger.book.opened.v1"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn following_sees_what_another_writer_records() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    bank::run(&data, &bank::options(None), 0, 10);
    let before = bank::head(&data).0;
    let line = format!("events --follow --from {before} --type entry.posted --limit 6 --output json");
    let mut child = program(&data, &line).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The last event of before is there at once; only then is more recorded.
    let first: RecordedEvent = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first.sequence.0, before);
    bank::run(&data, &bank::options(None), 11, 16);
    for line in lines {
        let event: RecordedEvent = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(event.sequence.0 > before && matches!(event.event.body, EventBody::EntryPosted(_)));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
