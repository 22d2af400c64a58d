//! The id index against a map that keeps everything: over freezes, reopenings, kills and damage, it knows what it says it
//! knows, and never answers wrongly.
#![cfg(feature = "segments")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use event_schemas::{BlockHash, BookId, CommandId, Digest, Sequence};
use ledger_core::ports::IdIndex;
use proptest::prelude::*;
use stores::ids::{RunIndex, RunIndexOptions};

fn options(freeze_ids: usize) -> RunIndexOptions {
    RunIndexOptions { freeze_ids, ..RunIndexOptions::new(BookId::FIRST, 0xfeed) }
}

fn spread(n: u64) -> CommandId {
    CommandId(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// Time-ordered, like UUIDv7.
fn ordered(n: u64) -> CommandId {
    CommandId(0x0190_0000_0000_7000_8000_0000_0000_0000 + (u128::from(n) << 64) + (spread(n).0 >> 66))
}

fn runs(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "run")).collect();
    files.sort();
    files
}

/// Everything at or below what it has indexed is found, everything else is absent.
fn assert_knows(index: &mut RunIndex, model: &BTreeMap<CommandId, Sequence>) {
    let indexed = index.indexed_sequence();
    for (&id, &sequence) in model {
        let expected = (sequence <= indexed).then_some(sequence);
        assert_eq!(index.lookup(id).unwrap(), expected, "{id:?}, indexed through {indexed}");
        let neighbour = CommandId(id.0 ^ 1);
        if !model.contains_key(&neighbour) {
            assert_eq!(index.lookup(neighbour).unwrap(), None);
        }
    }
}

/// An index with verdicts at sequences 2, 4, 6, …, closed again, so that all runs are written.
fn filled(folder: &Path, count: u64, freeze: usize) -> BTreeMap<CommandId, Sequence> {
    let mut model = BTreeMap::new();
    let mut index = RunIndex::open(folder, options(freeze)).unwrap();
    for n in 1..=count {
        index.record(&[(spread(n), Sequence(2 * n))], Sequence(2 * n)).unwrap();
        model.insert(spread(n), Sequence(2 * n));
    }
    model
}

#[derive(Debug, Clone)]
enum Step {
    Record { ids: usize, silent: u64, ordered: bool },
    Reopen,
    Clear,
    Lookups,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40_usize, 0..5_u64, any::<bool>()).prop_map(|(ids, silent, ordered)| Step::Record { ids, silent, ordered }),
        2 => Just(Step::Reopen),
        1 => Just(Step::Clear),
        2 => Just(Step::Lookups),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map(freeze in 1..60_usize, steps in proptest::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut index = RunIndex::open(folder.path(), options(freeze)).unwrap();
        // All that was ever recorded, by blocks: what the engine would replay.
        let mut journal: Vec<(Vec<(CommandId, Sequence)>, Sequence)> = Vec::new();
        let mut model = BTreeMap::new();
        let (mut head, mut next) = (0, 0);
        for step in steps {
            match step {
                Step::Record { ids, silent, ordered: in_order } => {
                    let mut verdicts = Vec::new();
                    for _ in 0..ids {
                        next += 1;
                        head += 1;
                        verdicts.push((if in_order { ordered(next) } else { spread(next) }, Sequence(head)));
                    }
                    head += silent;
                    model.extend(verdicts.iter().copied());
                    index.record(&verdicts, Sequence(head)).unwrap();
                    journal.push((verdicts, Sequence(head)));
                }
                Step::Reopen | Step::Clear => {
                    if matches!(step, Step::Clear) {
                        index.clear().unwrap();
                        prop_assert_eq!(index.indexed_sequence(), Sequence::ZERO);
                    } else {
                        drop(index);
                        index = RunIndex::open(folder.path(), options(freeze)).unwrap();
                    }
                    prop_assert!(index.indexed_sequence() <= Sequence(head));
                    assert_knows(&mut index, &model);
                    for (verdicts, through) in &journal {
                        index.record(verdicts, *through).unwrap();
                    }
                }
                Step::Lookups => {}
            }
            prop_assert_eq!(index.indexed_sequence(), Sequence(head));
            assert_knows(&mut index, &model);
        }
    }

    #[test]
    fn a_flipped_bit_never_gives_a_wrong_answer(run in 0..5_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let folder = tempfile::tempdir().unwrap();
        let model = filled(folder.path(), 1_000, 200);
        let files = runs(folder.path());
        assert_eq!(files.len(), 5);
        let mut bytes = fs::read(&files[run]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&files[run], bytes).unwrap();
        never_wrong(folder.path(), &model, run as u64 * 400);
    }

    #[test]
    fn a_cut_run_never_gives_a_wrong_answer(run in 0..5_usize, at in any::<prop::sample::Index>()) {
        let folder = tempfile::tempdir().unwrap();
        let model = filled(folder.path(), 1_000, 200);
        let file = &runs(folder.path())[run];
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..at.index(bytes.len())]).unwrap();
        let mut index = RunIndex::open(folder.path(), options(200)).unwrap();
        prop_assert_eq!(index.indexed_sequence(), Sequence(run as u64 * 400));
        prop_assert_eq!(index.notices().len(), 1);
        assert_knows(&mut index, &model);
    }
}

/// With one run damaged behind `intact`: each lookup is right or a fault; after a fault, the next start is right again.
fn never_wrong(folder: &Path, model: &BTreeMap<CommandId, Sequence>, intact: u64) {
    let mut index = RunIndex::open(folder, options(200)).unwrap();
    let indexed = index.indexed_sequence();
    assert!(indexed == Sequence(2_000) || indexed == Sequence(intact), "{indexed}");
    assert_eq!(index.notices().len(), usize::from(indexed < Sequence(2_000)));
    let mut faults = 0;
    for (&id, &sequence) in model {
        match index.lookup(id) {
            Ok(found) => assert_eq!(found, (sequence <= indexed).then_some(sequence)),
            Err(_) => faults += 1,
        }
    }
    drop(index);
    if faults > 0 {
        let mut index = RunIndex::open(folder, options(200)).unwrap();
        assert_eq!(index.indexed_sequence(), Sequence(intact), "without the damaged run");
        assert_knows(&mut index, model);
    }
}

#[test]
fn every_byte_of_a_run_is_covered() {
    let folder = tempfile::tempdir().unwrap();
    let model = filled(folder.path(), 400, 200);
    let files = runs(folder.path());
    let kept: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let good = &kept[0];
    // Every byte of the header's fields and of the tables, and every 97th of the buckets (the lookups read them all).
    for at in (0..good.len()).filter(|at| at % 97 == 0 || *at < 200 || *at > good.len() - 500) {
        files.iter().zip(&kept).for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
        let mut bytes = good.clone();
        bytes[at] = !bytes[at];
        fs::write(&files[0], bytes).unwrap();
        let mut index = RunIndex::open(folder.path(), options(200)).unwrap();
        let seen = index.indexed_sequence() == Sequence::ZERO || model.keys().any(|&id| index.lookup(id).is_err());
        assert!(seen, "byte {at} was changed and nobody saw it");
    }
}

#[test]
fn remains_of_a_killed_write_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let model = filled(folder.path(), 1_000, 200);
    // Killed before the rename: a temporary file, whole or torn. Killed before the folder was synced: the newest is gone.
    let newest = runs(folder.path()).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    for torn in [0, 100, 5_000, bytes.len()] {
        fs::remove_file(&newest).unwrap();
        let temporary = newest.with_extension("tmp");
        fs::write(&temporary, &bytes[..torn]).unwrap();
        let mut index = RunIndex::open(folder.path(), options(200)).unwrap();
        assert_eq!(index.indexed_sequence(), Sequence(1_600));
        assert!(!temporary.exists());
        assert_eq!(index.notices(), [""; 0]);
        assert_knows(&mut index, &model);
        drop(index);
        fs::write(&newest, &bytes).unwrap();
    }
}

#[test]
fn a_gap_another_book_and_a_stranger_end_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let model = filled(folder.path(), 1_000, 200);
    let files = runs(folder.path());
    let kept: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let restore = || files.iter().zip(&kept).for_each(|(file, bytes)| fs::write(file, bytes).unwrap());

    fs::remove_file(&files[2]).unwrap();
    let mut index = RunIndex::open(folder.path(), options(200)).unwrap();
    assert_eq!(index.indexed_sequence(), Sequence(800));
    assert_eq!(runs(folder.path()).len(), 2, "what follows a gap is deleted");
    assert_knows(&mut index, &model);
    drop(index);

    restore();
    fs::copy(&files[1], &files[3]).unwrap();
    let index = RunIndex::open(folder.path(), options(200)).unwrap();
    assert_eq!(index.indexed_sequence(), Sequence(1_200), "a run under another's name");
    drop(index);

    restore();
    let other = RunIndexOptions { freeze_ids: 200, ..RunIndexOptions::new(BookId::new(2).unwrap(), 0) };
    let index = RunIndex::open(folder.path(), other).unwrap();
    assert_eq!(index.indexed_sequence(), Sequence::ZERO);
    assert_eq!(index.notices().len(), 1);
}

#[test]
fn runs_of_another_journal_are_not_used() {
    let hash =
        |salt: u64, sequence: Sequence| Digest(*blake3::hash(&(salt + sequence.0 * 1_000).to_be_bytes()).as_bytes());
    let tied = |at: Arc<dyn Fn(Sequence) -> Option<BlockHash> + Send + Sync>| RunIndexOptions {
        hash_at: Some(at),
        ..options(100)
    };
    let folder = tempfile::tempdir().unwrap();
    let head = Arc::new(AtomicU64::new(0));
    let durable = Arc::clone(&head);
    let first: Arc<dyn Fn(Sequence) -> Option<BlockHash> + Send + Sync> =
        Arc::new(move |at| (at.0 <= durable.load(Ordering::Acquire)).then(|| hash(1, at)));
    let mut index = RunIndex::open(folder.path(), tied(Arc::clone(&first))).unwrap();
    for n in 1..=1_000 {
        head.store(n, Ordering::Release);
        index.record(&[(spread(n), Sequence(n))], Sequence(n)).unwrap();
    }
    drop(index);
    let mut index = RunIndex::open(folder.path(), tied(Arc::clone(&first))).unwrap();
    assert_eq!(index.indexed_sequence(), Sequence(1_000));
    assert_eq!(index.lookup(spread(1_000)), Ok(Some(Sequence(1_000))));
    drop(index);

    // The journal was restored to 650: runs beyond it go.
    head.store(650, Ordering::Release);
    let index = RunIndex::open(folder.path(), tied(Arc::clone(&first))).unwrap();
    assert_eq!(index.indexed_sequence(), Sequence(600));
    drop(index);

    // The journal went another way after 300.
    let other = Arc::new(move |at: Sequence| Some(hash(if at.0 <= 300 { 1 } else { 2 }, at)));
    let index = RunIndex::open(folder.path(), tied(other)).unwrap();
    assert_eq!(index.indexed_sequence(), Sequence(300));
    assert_eq!(runs(folder.path()).len(), 3);
}

#[test]
fn runs_that_cannot_be_written_stay_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    // The journal does not show the block of the run yet, so the helper can't finish it.
    let open = Arc::new(Mutex::new(false));
    let gate = Arc::clone(&open);
    let hash_at: Arc<dyn Fn(Sequence) -> Option<BlockHash> + Send + Sync> =
        Arc::new(move |_| gate.lock().unwrap().then(BlockHash::default));
    let mut index = RunIndex::open(folder.path(), RunIndexOptions { hash_at: Some(hash_at), ..options(10) }).unwrap();
    let mut model = BTreeMap::new();
    let mut full = None;
    for n in 1..=1_000 {
        if index.record(&[(spread(n), Sequence(n))], Sequence(n)).is_err() {
            full = Some(n);
            break;
        }
        model.insert(spread(n), Sequence(n));
    }
    let full = full.expect("what waits is bounded");
    assert!((150..=180).contains(&full), "{full}");
    model.insert(spread(full), Sequence(full));
    assert_knows(&mut index, &model);
    assert!(runs(folder.path()).is_empty());

    *open.lock().unwrap() = true;
    while index.run_count() < 16 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        index.record(&[], index.indexed_sequence()).unwrap();
    }
    assert_knows(&mut index, &model);
    index.record(&[(spread(5_000), Sequence(full + 1))], Sequence(full + 1)).unwrap();
    drop(index);
    let index = RunIndex::open(folder.path(), options(10)).unwrap();
    assert_eq!(index.indexed_sequence(), Sequence(full + 1));
}

#[test]
fn the_first_verdict_stands_and_old_blocks_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = RunIndex::open(folder.path(), options(100)).unwrap();
    index.record(&[(spread(1), Sequence(3))], Sequence(3)).unwrap();
    index.record(&[(spread(1), Sequence(4)), (spread(2), Sequence(5))], Sequence(5)).unwrap();
    index.record(&[(spread(3), Sequence(2))], Sequence(5)).unwrap();
    assert_eq!(index.lookup(spread(1)), Ok(Some(Sequence(3))));
    assert_eq!(index.lookup(spread(2)), Ok(Some(Sequence(5))));
    assert_eq!(index.lookup(spread(3)), Ok(None));
    assert_eq!(index.lookup(CommandId(0)), Ok(None));
    assert_eq!(index.lookup(CommandId(u128::MAX)), Ok(None));
    index.record(&[(CommandId(0), Sequence(6)), (CommandId(u128::MAX), Sequence(7))], Sequence(7)).unwrap();
    assert_eq!(index.lookup(CommandId(0)), Ok(Some(Sequence(6))));
    assert_eq!(index.lookup(CommandId(u128::MAX)), Ok(Some(Sequence(7))));
}
