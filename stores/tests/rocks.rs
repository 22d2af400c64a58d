//! RocksDB behind its two ports: rows with their checkpoints, and state checkpoints.
#![cfg(feature = "rocks")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use event_schemas::{Digest, Sequence};
use ledger_core::ports::Checkpoints;
use projections::ports::{ColumnType, ReadRows, RowChanges, Rows, RowsFault, Table};
use proptest::prelude::*;
use stores::rocks::{RocksFault, RocksStore, damage_marker};

const PROJECTIONS: [&str; 2] = ["balances", "statements"];

const fn table(name: &'static str, projection: &'static str) -> Table {
    Table { name, projection, columns: &[("key", ColumnType::Text), ("value", ColumnType::Text)], key_columns: 1 }
}

// One name starts with another, and one is shorter: their rows stay apart.
static TABLES: [Table; 4] = [
    table("balances_now", "balances"),
    table("balances_nowhere", "balances"),
    table("balances", "balances"),
    table("statements_lines", "statements"),
];

fn open(folder: &Path) -> RocksStore {
    RocksStore::open(&folder.join("rocks"), &PROJECTIONS).unwrap()
}

fn rows(
    store: &dyn ReadRows,
    table: &'static Table,
    from: &[u8],
    to: Option<&[u8]>,
    backwards: bool,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    store
        .range(table, from, to, backwards, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    rows
}

fn all(store: &dyn ReadRows, table: &'static Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows(store, table, b"", None, false)
}

fn put(store: &RocksStore, table: &'static Table, key: &[u8], value: &[u8], sequence: u64) {
    let rows = vec![(table, key.to_vec(), Some(value.to_vec()))];
    store.commit(RowChanges { rows, checkpoints: vec![(table.projection, Sequence(sequence))] }).unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(usize, Vec<u8>, Option<Vec<u8>>)>),
    Reset,
    Reopen,
    Range { table: usize, from: Vec<u8>, to: Option<Vec<u8>>, backwards: bool },
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(254), Just(255)], 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let change =
        (0..TABLES.len(), key(), proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 0..20)));
    let range = (0..TABLES.len(), key(), proptest::option::of(key()), any::<bool>());
    prop_oneof![
        6 => proptest::collection::vec(change, 0..20).prop_map(Step::Commit),
        1 => Just(Step::Reset),
        1 => Just(Step::Reopen),
        6 => range.prop_map(|(table, from, to, backwards)| Step::Range { table, from, to, backwards }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_agree_with_a_map(steps in proptest::collection::vec(step(), 1..25)) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let mut model: [BTreeMap<Vec<u8>, Vec<u8>>; 4] = Default::default();
        let mut applied = 0;
        for (sequence, step) in (1..).zip(steps) {
            match step {
                Step::Commit(changes) => {
                    for (table, key, value) in &changes {
                        match value {
                            Some(value) => model[*table].insert(key.clone(), value.clone()),
                            None => model[*table].remove(key),
                        };
                    }
                    let rows = changes.into_iter().map(|(table, key, value)| (&TABLES[table], key, value)).collect();
                    store.commit(RowChanges { rows, checkpoints: vec![("balances", Sequence(sequence))] }).unwrap();
                    applied = sequence;
                }
                Step::Reset => {
                    store.reset("balances", &[&TABLES[0], &TABLES[1]]).unwrap();
                    model[0].clear();
                    model[1].clear();
                    applied = 0;
                }
                Step::Reopen => {
                    drop(store);
                    store = open(folder.path());
                }
                Step::Range { table, from, to, backwards } => {
                    let within = |key: &[u8]| key >= from.as_slice() && to.as_ref().is_none_or(|to| key < to.as_slice());
                    let mut expected: Vec<_> =
                        model[table].iter().filter(|(key, _)| within(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
                    if backwards {
                        expected.reverse();
                    }
                    prop_assert_eq!(rows(&store, &TABLES[table], &from, to.as_deref(), backwards), expected);
                }
            }
            prop_assert_eq!(store.checkpoint("balances").unwrap(), Sequence(applied));
            for (table, model) in TABLES.iter().zip(&model) {
                let expected: Vec<_> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                prop_assert_eq!(all(&store, table), expected);
                if let Some((key, value)) = model.first_key_value() {
                    let found = store.get(table, key).unwrap();
                    prop_assert_eq!(found.as_ref(), Some(value));
                }
            }
        }
    }
}

#[test]
fn a_visitor_can_break_off_and_a_snapshot_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for key in 0..10_u8 {
        put(&store, &TABLES[0], &[key], b"old", u64::from(key) + 1);
    }
    let mut seen = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        seen.push(key[0]);
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    store.range(&TABLES[0], &[2], None, false, &mut visit).unwrap();
    assert_eq!(seen, [2, 3, 4]);

    let writer = store.clone();
    let mut called = 0;
    store
        .snapshot(&mut |moment| {
            called += 1;
            put(&writer, &TABLES[0], &[0], b"new", 99);
            put(&writer, &TABLES[3], b"line", b"new", 99);
            assert_eq!(moment.get(&TABLES[0], &[0]).unwrap().unwrap(), b"old");
            assert_eq!(moment.checkpoint("balances").unwrap(), Sequence(10));
            assert_eq!(all(moment, &TABLES[3]), []);
            assert!(all(moment, &TABLES[0]).iter().all(|(_, value)| value == b"old"));
        })
        .unwrap();
    assert_eq!(called, 1);
    assert_eq!(store.get(&TABLES[0], &[0]).unwrap().unwrap(), b"new");
    assert_eq!(store.checkpoint("statements").unwrap(), Sequence(99));
}

#[test]
fn checkpoints_come_back_whole_and_the_newest_two_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert_eq!(store.sequences().unwrap(), []);
    let state = |sequence: u64, bytes: usize| -> Vec<u8> {
        let mut state = vec![0; bytes];
        blake3::Hasher::new().update(&sequence.to_be_bytes()).finalize_xof().fill(&mut state);
        state
    };
    let sizes = [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 20_000_000, 7];
    for (sequence, bytes) in (1_u64..).map(|n| n * 65_536).zip(sizes) {
        store.store(Sequence(sequence), &state(sequence, bytes)).unwrap();
        assert!(store.load(Sequence(sequence)).unwrap().unwrap() == state(sequence, bytes), "{bytes} bytes");
        assert_eq!(store.load(Sequence(sequence + 1)).unwrap(), None);
    }
    let newest = [Sequence(7 * 65_536), Sequence(6 * 65_536)];
    assert_eq!(store.sequences().unwrap(), newest);
    assert_eq!(store.load(Sequence(5 * 65_536)).unwrap(), None);
    // Stored again, shorter: nothing of the longer one is left.
    store.store(newest[1], b"short").unwrap();
    drop(store);

    let store = open(folder.path());
    assert_eq!(store.sequences().unwrap(), newest);
    assert_eq!(store.load(newest[1]).unwrap().unwrap(), b"short");
    store.discard(newest[0]).unwrap();
    assert_eq!(store.sequences().unwrap(), [newest[1]]);
    assert_eq!(store.load(newest[0]).unwrap(), None);
    store.discard(newest[0]).unwrap();
}

#[test]
fn another_process_reads_while_this_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rocks");
    assert!(matches!(RocksStore::open_read_only(&path, &PROJECTIONS), Err(RocksFault::Io { .. })), "nothing there");
    assert!(!path.exists(), "reading creates nothing");

    let writer = RocksStore::open(&path, &["balances"]).unwrap();
    put(&writer, &TABLES[0], b"a", b"1", 1);
    writer.store(Sequence(5), b"state").unwrap();
    let names = || fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let before = names();
    let reader = RocksStore::open_read_only(&path, &PROJECTIONS).unwrap();
    assert!(reader.is_read_only());
    put(&writer, &TABLES[0], b"a", b"2", 2);
    assert_eq!(reader.get(&TABLES[0], b"a").unwrap().unwrap(), b"1", "as it was when opened");
    assert_eq!(reader.checkpoint("balances").unwrap(), Sequence(1));
    reader.snapshot(&mut |moment| assert_eq!(all(moment, &TABLES[0]).len(), 1)).unwrap();
    assert_eq!(reader.load(Sequence(5)).unwrap().unwrap(), b"state");
    // Declared, but never stored by the writer.
    assert_eq!(reader.get(&TABLES[3], b"a").unwrap(), None);
    assert_eq!(all(&reader, &TABLES[3]), []);
    assert_eq!(reader.checkpoint("statements").unwrap(), Sequence::ZERO);
    // Nothing is written through it, nor beside it.
    let refused = [
        reader.commit(RowChanges::default()).unwrap_err().to_string(),
        reader.reset("balances", &[&TABLES[0]]).unwrap_err().to_string(),
        reader.store(Sequence(9), b"x").unwrap_err().to_string(),
        reader.discard(Sequence(5)).unwrap_err().to_string(),
        reader.wipe("balances").unwrap_err().to_string(),
        reader.set_origin(Digest::default()).unwrap_err().to_string(),
    ];
    for fault in refused {
        assert!(fault.contains("was opened for reading only"), "{fault}");
    }
    assert_eq!(names(), before);
    drop(reader);
    let reader = RocksStore::open_read_only(&path, &PROJECTIONS).unwrap();
    assert_eq!(reader.get(&TABLES[0], b"a").unwrap().unwrap(), b"2");

    // A second writer is refused (RocksDB locks per process as well as between processes).
    assert!(matches!(RocksStore::open(&path, &PROJECTIONS), Err(RocksFault::Locked { .. })));
}

#[test]
fn reading_goes_on_while_files_are_merged_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rocks");
    let writer = RocksStore::open(&path, &PROJECTIONS).unwrap();
    let state = vec![7; 3 << 20];
    std::thread::scope(|scope| {
        let store = writer.clone();
        let writing = scope.spawn(move || {
            for sequence in 1..60 {
                put(&store, &TABLES[0], b"n", &[0; 1000], sequence);
                store.store(Sequence(sequence), &state).unwrap();
                if sequence % 10 == 0 {
                    store.reset("statements", &[&TABLES[3]]).unwrap();
                }
            }
        });
        let mut opened = 0;
        while !writing.is_finished() || opened == 0 {
            let reader = RocksStore::open_read_only(&path, &PROJECTIONS).unwrap();
            for sequence in reader.sequences().unwrap() {
                assert_eq!(reader.load(sequence).unwrap().unwrap().len(), 3 << 20);
            }
            assert!(all(&reader, &TABLES[0]).len() <= 1);
            opened += 1;
        }
    });
}

#[test]
fn a_projection_that_was_not_declared_is_a_fault_and_dropped_ones_may_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, &TABLES[3], b"line", b"1", 7);
    drop(store);
    let store = RocksStore::open(&folder.path().join("rocks"), &["balances"]).unwrap();
    assert!(matches!(store.get(&TABLES[3], b"line"), Err(RowsFault::Io(_))));
    assert!(store.commit(RowChanges { rows: vec![], checkpoints: vec![("statements", Sequence(1))] }).is_err());
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.checkpoint("statements").unwrap(), Sequence(7));
    store.wipe("statements").unwrap();
    assert_eq!(store.checkpoint("statements").unwrap(), Sequence::ZERO);
    assert_eq!(all(&store, &TABLES[3]), []);
    assert_eq!(store.origin().unwrap(), None);
    store.set_origin(Digest([3; 32])).unwrap();
    assert_eq!(store.origin().unwrap(), Some(Digest([3; 32])));
}

#[test]
fn damage_is_named_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rocks");
    let store = open(folder.path());
    let mut noise = vec![0; 200_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    store.store(Sequence(1), &noise).unwrap();
    drop(store);
    // Damage in the middle of a table file is met when its block is read.
    let tables = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let tables = tables.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    let largest = tables.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    assert!(bytes.len() > 100_000);
    bytes[50_000] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let store = open(folder.path());
    let fault = store.load(Sequence(1)).unwrap_err().to_string();
    assert!(fault.contains("can be rebuilt"), "{fault}");
    assert!(damage_marker(&path).exists());
    drop(store);
    // Damage in the list of files is met when it is opened.
    for entry in fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        if file.file_name().unwrap().to_str().unwrap().starts_with("MANIFEST") {
            let mut bytes = fs::read(&file).unwrap();
            bytes[20] ^= 0x40;
            fs::write(&file, bytes).unwrap();
        }
    }
    assert!(matches!(RocksStore::open(&path, &PROJECTIONS), Err(RocksFault::Damaged { .. })));
}
