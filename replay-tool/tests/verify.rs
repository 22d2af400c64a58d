//! `verify` and `rebuild` on real folders: what they say of a sound one, and what they find in damaged ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Parser as _;
use common::bank;
use event_schemas::Sequence;
use ledger_core::ports::Checkpoints as _;
use ledger_core::state::State;
use projections::ports::{ReadRows as _, RowChanges, Rows as _, Table};
use replay_tool::cli::Cli;
use replay_tool::outcome::{Failure, Outcome};
use replay_tool::progress::Progress;
use serde_json::Value;
use stores::embedded;
use stores::rocks::RocksStore;
use tempfile::TempDir;

/// Enough events for two state digests and a checkpoint.
const TRANSFERS: u128 = 140_000;

/// A sound folder, made once and copied by each test.
fn sound() -> &'static Path {
    static SOUND: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, data) = SOUND.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        bank::run(&data, &bank::options(Some(&folder.path().join("witness"))), 0, TRANSFERS);
        (folder, data)
    });
    data
}

fn witness() -> String {
    format!("--witness {}", sound().with_file_name("witness").display())
}

struct Copy {
    _folder: TempDir,
    data: PathBuf,
}

fn copied() -> Copy {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    bank::copy(sound(), &data);
    Copy { _folder: folder, data }
}

fn ask(data: &Path, line: &str) -> Result<(Outcome, String), Failure> {
    let data = data.to_str().unwrap();
    let cli = Cli::try_parse_from(["replay-tool", "--data", data].into_iter().chain(line.split_whitespace())).unwrap();
    let mut out = Vec::new();
    let outcome = replay_tool::run(&cli, false, Progress::hidden(), &mut out)?;
    Ok((outcome, String::from_utf8(out).unwrap()))
}

/// The report of `verify` as JSON, and whether it found something.
fn verify(data: &Path, line: &str) -> (Outcome, Value) {
    let (outcome, text) = ask(data, &format!("verify --output json {line}")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["ok"], outcome == Outcome::Fine);
    (outcome, report)
}

fn result(report: &Value, check: &str) -> String {
    find(report, check)["result"].as_str().unwrap().to_owned()
}

fn find<'a>(report: &'a Value, check: &str) -> &'a Value {
    let found = report["checks"].as_array().unwrap().iter().find(|one| one["check"] == check);
    found.unwrap_or_else(|| panic!("no check {check} in {report:#}"))
}

/// Every check but these is fine or skipped.
fn only_failed(report: &Value, expected: &[&str]) {
    let checks = report["checks"].as_array().unwrap();
    let failed: Vec<_> =
        checks.iter().filter(|check| check["result"] == "failed").map(|check| &check["check"]).collect();
    assert_eq!(failed, expected, "{report:#}");
}

#[test]
fn a_sound_folder_is_found_sound() {
    let line = format!("verify {}", witness());
    let (outcome, text) = ask(sound(), &line).unwrap();
    assert_eq!(outcome, Outcome::Fine, "{text}");
    // Blocks and frames depend on how commands met, and the last line on the machine.
    let mut shown = Vec::new();
    for line in text.lines().filter(|line| !line.contains(" events/s")) {
        let words: Vec<_> =
            line.split_whitespace().map(|word| if word.len() == 64 { "<hash>" } else { word }).collect();
        shown.push(words.join(" "));
    }
    let (_, report) = verify(sound(), &format!("{} --all-ids", witness()));
    let of_the_journal = ["anchor", "chain", "witness", "laws", "replay", "checkpoints", "id index"];
    for check in of_the_journal.into_iter().chain(projections::NAMES) {
        assert_eq!(result(&report, check), "ok", "{report:#}");
    }
    assert_eq!(report["sequence"], bank::head(sound()).0);
    assert_eq!(report["hash"], bank::last_hash(sound()));
    assert!(find(&report, "replay")["checked"].as_str().unwrap().ends_with(" 2 state digests"), "{report:#}");
    assert!(find(&report, "id index")["checked"].as_str().unwrap().starts_with("140000 of 140100 ids"), "{report:#}");
    assert!(shown.iter().any(|line| line.starts_with("chain ok")), "{text}");
}

#[test]
fn a_flipped_bit_is_named_by_segment_offset_and_sequence() {
    let copy = copied();
    let path = bank::segment(&copy.data, 2);
    let mut bytes = std::fs::read(&path).unwrap();
    // In the middle of the segment's first frame.
    bytes[4096 + 3000] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    let (outcome, report) = verify(&copy.data, "");
    assert_eq!(outcome, Outcome::Found);
    assert_eq!(result(&report, "chain"), "failed");
    let first = &find(&report, "chain")["first"];
    assert_eq!((&first["segment"], &first["offset"]), (&2.into(), &4096.into()), "{report:#}");
    // What is lost begins behind the last event that the laws could judge.
    let judged: u64 = find(&report, "laws")["checked"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(first["sequence"], judged + 1, "{report:#}");
    assert!(judged > 1_000);
    assert_eq!((result(&report, "laws"), result(&report, "replay")), ("ok".into(), "ok".into()));
    let (_, text) = ask(&copy.data, "verify").unwrap();
    assert!(text.contains(&format!("segment 2, offset 4096, sequence {}: ", judged + 1)), "{text}");

    let failure = ask(&copy.data, "export --format csv --out /dev/null/x").map(|_| ()).unwrap_err();
    assert_eq!(failure.exit_code(), 3, "{failure}");
    let failure = ask(&copy.data, "balance bank:1").map(|_| ()).unwrap_err();
    assert_eq!(failure.exit_code(), 1, "{failure}");
    assert!(failure.to_string().contains("segment 2, offset 4096"), "{failure}");
}

#[test]
fn a_flipped_bit_in_the_anchor_is_found() {
    let copy = copied();
    let path = copy.data.join("journal/anchor");
    let sound = std::fs::read(&path).unwrap();
    let mut anchors_failed = 0;
    for offset in [40, 4096 + 40, 3000] {
        let mut bytes = sound.clone();
        bytes[offset] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (outcome, report) = verify(&copy.data, "");
        assert_eq!(outcome, Outcome::Found, "{report:#}");
        if result(&report, "anchor") == "failed" {
            anchors_failed += 1;
        } else {
            // The newest slot: a crash in the middle of a commit looks the same, but read models are never ahead of one.
            assert!(report["notices"].to_string().contains("slot"), "{report:#}");
            only_failed(&report, &projections::NAMES);
        }
    }
    assert_eq!(anchors_failed, 2);
    let mut bytes = sound;
    bytes[40] ^= 1;
    bytes[4096 + 40] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (_, report) = verify(&copy.data, "");
    only_failed(&report, &["anchor"]);
    assert_eq!(result(&report, "chain"), "skipped");
}

#[test]
fn a_missing_and_a_cut_segment_are_found() {
    let copy = copied();
    let path = bank::segment(&copy.data, 1);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let (outcome, report) = verify(&copy.data, "");
    assert_eq!((outcome, find(&report, "chain")["first"]["file"].as_str()), (Outcome::Found, Some("00000001.seg")));
    std::fs::remove_file(&path).unwrap();
    let (outcome, report) = verify(&copy.data, "");
    assert_eq!((outcome, result(&report, "chain").as_str()), (Outcome::Found, "failed"));
}

#[test]
fn an_older_copy_of_the_folder_is_seen_by_the_witness() {
    let folder = tempfile::tempdir().unwrap();
    let (data, old, witness) = (folder.path().join("data"), folder.path().join("old"), folder.path().join("witness"));
    let options = bank::options(Some(&witness));
    bank::run(&data, &options, 0, 500);
    bank::copy(&data, &old);
    bank::run(&data, &options, 500, 1_000);
    let line = format!("--witness {}", witness.display());
    assert_eq!(verify(&data, &line).0, Outcome::Fine);
    let (outcome, report) = verify(&old, &line);
    assert_eq!(outcome, Outcome::Found);
    only_failed(&report, &["witness"]);
    // Without the witness nothing can be seen.
    assert_eq!(verify(&old, "").0, Outcome::Fine);
    // One that grew on in another way is as long, and another.
    bank::run(&old, &bank::options(None), 2_000, 2_600);
    bank::run(&old, &bank::options(None), 2_600, 2_700);
    let (_, report) = verify(&old, &line);
    only_failed(&report, &["witness"]);
    assert!(find(&report, "witness")["first"]["what"].as_str().unwrap().contains("was replaced"), "{report:#}");
    // A witness that is not there, or not a witness.
    std::fs::write(&witness, "x").unwrap();
    only_failed(&verify(&data, &line).1, &["witness"]);
    std::fs::remove_file(&witness).unwrap();
    only_failed(&verify(&data, &line).1, &["witness"]);
}

/// Opens the read models of a folder that no writer has, to doctor them.
fn doctor(data: &Path, doctor: impl FnOnce(&RocksStore)) {
    let rocks = RocksStore::open(&embedded::rocks_folder(data), &projections::NAMES).unwrap();
    doctor(&rocks);
    rocks.sync().unwrap();
}

/// Changes the last byte of a table's first row, if it has one.
fn change_a_row(rocks: &RocksStore, table: &'static Table) -> bool {
    let mut row = None;
    rocks
        .range(table, &[], None, false, &mut |key, value| {
            row = Some((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
    let Some((key, mut value)) = row else { return false };
    *value.last_mut().unwrap() ^= 2;
    rocks.commit(RowChanges { rows: vec![(table, key, Some(value))], checkpoints: Vec::new() }).unwrap();
    true
}

#[test]
fn a_doctored_row_is_named_and_a_rebuild_mends_it() {
    let mut doctored = 0;
    for projection in projections::all() {
        for table in projection.tables() {
            let copy = copied();
            let mut changed = false;
            doctor(&copy.data, |rocks| changed = change_a_row(rocks, table));
            if !changed {
                continue;
            }
            doctored += 1;
            let (outcome, report) = verify(&copy.data, "");
            assert_eq!(outcome, Outcome::Found);
            only_failed(&report, &[projection.name()]);
            let first = &find(&report, projection.name())["first"];
            assert_eq!(first["table"], table.name);
            let what = first["what"].as_str().unwrap();
            assert!(what.contains("kept: ") && what.contains("replayed: "), "{what}");

            let (outcome, text) = ask(&copy.data, &format!("rebuild {}", projection.name())).unwrap();
            assert_eq!(outcome, Outcome::Found, "{text}");
            assert!(text.contains("The digests differ"), "{text}");
            assert_eq!(verify(&copy.data, "").0, Outcome::Fine);
        }
    }
    assert!(doctored >= 9, "{doctored} tables have rows");
}

#[test]
fn a_missing_row_is_found() {
    let copy = copied();
    let table = projections::by_name("balances").unwrap().tables()[0];
    doctor(&copy.data, |rocks| {
        let mut first = Vec::new();
        rocks
            .range(table, &[], None, false, &mut |key, _| {
                first = key.to_vec();
                std::ops::ControlFlow::Break(())
            })
            .unwrap();
        rocks.commit(RowChanges { rows: vec![(table, first, None)], checkpoints: Vec::new() }).unwrap();
    });
    let (_, report) = verify(&copy.data, "");
    only_failed(&report, &["balances"]);
    assert!(find(&report, "balances")["first"]["what"].as_str().unwrap().contains("kept: no row"), "{report:#}");
}

#[test]
fn rebuilding_a_sound_model_changes_nothing() {
    let copy = copied();
    let (outcome, text) = ask(&copy.data, "rebuild --all").unwrap();
    assert_eq!(outcome, Outcome::Fine, "{text}");
    assert_eq!(text.matches("The digests agree.").count(), projections::NAMES.len(), "{text}");
    let (_, json) = ask(&copy.data, "rebuild balances --output json").unwrap();
    let rebuilt: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rebuilt[0]["agrees"], true);
    assert_eq!(rebuilt[0]["before"], rebuilt[0]["after"]);
    assert_eq!(rebuilt[0]["sequence"], bank::head(&copy.data).0);
    assert_eq!(verify(&copy.data, "").0, Outcome::Fine);
}

#[test]
fn read_models_that_are_gone_are_rebuilt_to_the_head() {
    let copy = copied();
    std::fs::remove_dir_all(embedded::rocks_folder(&copy.data)).unwrap();
    let (outcome, report) = verify(&copy.data, "");
    assert_eq!((outcome, result(&report, "read models").as_str()), (Outcome::Fine, "skipped"));
    let (outcome, text) = ask(&copy.data, "rebuild --all").unwrap();
    assert_eq!(outcome, Outcome::Fine, "{text}");
    assert_eq!(
        text.matches("Nothing to compare with: there was nothing before.").count(),
        projections::NAMES.len(),
        "{text}"
    );
    let (outcome, report) = verify(&copy.data, "");
    assert_eq!((outcome, result(&report, "statements").as_str()), (Outcome::Fine, "ok"), "{report:#}");
}

#[test]
fn a_rebuild_is_refused_while_a_writer_has_the_folder() {
    let copy = copied();
    let held = embedded::open(&copy.data, &bank::options(None)).unwrap();
    let failure = ask(&copy.data, "rebuild balances").map(|_| ()).unwrap_err();
    assert_eq!(failure.exit_code(), 2, "{failure}");
    assert!(failure.to_string().contains("stop it first"), "{failure}");
    // Everything else reads beside the writer.
    assert_eq!(verify(&copy.data, "").0, Outcome::Fine);
    assert!(ask(&copy.data, "balance bank:1").is_ok());
    drop(held);
    assert!(ask(&copy.data, "rebuild balances").is_ok());
    let failure = ask(&copy.data, "rebuild balance").map(|_| ()).unwrap_err();
    assert_eq!(failure.exit_code(), 2, "{failure}");
}

#[test]
fn a_wrong_checkpoint_is_found() {
    let newest = |rocks: &RocksStore| rocks.sequences().unwrap()[0];
    // One that holds the state of another moment.
    let copy = copied();
    doctor(&copy.data, |rocks| rocks.store(newest(rocks), &State::new().encode()).unwrap());
    let (outcome, report) = verify(&copy.data, "");
    assert_eq!(outcome, Outcome::Found);
    only_failed(&report, &["checkpoints"]);
    // One where no digest stands, one ahead of the journal, one that is no state.
    for (sequence, bytes) in [(77, State::new().encode()), (900_000, State::new().encode()), (77, b"x".to_vec())] {
        let copy = copied();
        doctor(&copy.data, |rocks| {
            for sequence in rocks.sequences().unwrap() {
                rocks.discard(sequence).unwrap();
            }
            rocks.store(Sequence(sequence), &bytes).unwrap();
        });
        let (_, report) = verify(&copy.data, "");
        only_failed(&report, &["checkpoints"]);
        assert_eq!(find(&report, "checkpoints")["first"]["sequence"], sequence);
    }
}

#[test]
fn a_damaged_run_of_the_id_index_is_found_and_left_as_it_is() {
    let copy = copied();
    let mut runs: Vec<_> =
        std::fs::read_dir(embedded::ids_folder(&copy.data)).unwrap().map(|one| one.unwrap().path()).collect();
    runs.sort();
    assert!(runs.len() > 3);
    let mut bytes = std::fs::read(&runs[1]).unwrap();
    bytes[4096 + 10] ^= 1;
    std::fs::write(&runs[1], &bytes).unwrap();
    let (outcome, report) = verify(&copy.data, "--all-ids");
    assert_eq!(outcome, Outcome::Found);
    only_failed(&report, &["id index"]);
    bytes[100] ^= 1;
    std::fs::write(&runs[1], &bytes).unwrap();
    only_failed(&verify(&copy.data, "").1, &["id index"]);
    let still = std::fs::read_dir(embedded::ids_folder(&copy.data)).unwrap().count();
    assert_eq!((still, std::fs::read(&runs[1]).unwrap()), (runs.len(), bytes));
}

#[test]
fn reading_writes_nothing() {
    let copy = copied();
    let state = |folder: &Path| {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), std::fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    };
    let before = state(&copy.data);
    for line in ["verify", "balance bank:1", "events --limit 3", "export --format csv --end-of-day"] {
        ask(&copy.data, line).unwrap();
        assert!(state(&copy.data) == before, "{line} changed a file");
    }
}

#[test]
fn a_folder_without_a_journal_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    for line in ["verify", "rebuild --all", "events", "balance x", "export --format csv"] {
        let failure = ask(folder.path(), line).map(|_| ()).unwrap_err();
        assert_eq!(failure.exit_code(), 3, "{line}: {failure}");
        assert!(failure.to_string().contains("there is no journal in"), "{failure}");
    }
}
