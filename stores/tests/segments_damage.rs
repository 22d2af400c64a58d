//! Damage of every kind to a journal of 64 KiB on storage in memory: every bit flipped, every cut, emptied, swapped and
//! replayed files, whole folders. Nothing may be accepted in silence: either the journal refuses to open, or `walk` finds it,
//! or it opens with every block that was answered and says in its notices what was wrong and mended.
#![cfg(feature = "segments")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::case_sensitive_file_extension_comparisons)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use event_schemas::block::BlockPlace;
use event_schemas::event::StateDigest;
use event_schemas::{Block, BlockBuilder, BookId, Cause, Digest, Epoch, Event, EventBody, Sequence, Timestamp};
use ledger_core::ports::{Head, Journal, JournalReader};
use stores::segments::sim::SimDisk;
use stores::segments::{
    OpenFault, SegmentJournal, SegmentOptions, SegmentReader, Storage, WitnessPlace, create, open, walk_closed,
};

const BOOK: BookId = BookId::FIRST;
/// Two used segments and a spare of 16 KiB, and the anchor: 56 KiB; the witness and a third used segment are added in the tests.
const SEGMENT_BYTES: u64 = 16 * 1024;

type Files = BTreeMap<String, Vec<u8>>;

fn options(disk: &SimDisk, witness: bool) -> SegmentOptions {
    let place = WitnessPlace { storage: disk.folder("witness"), name: "witness".into() };
    SegmentOptions {
        segment_bytes: SEGMENT_BYTES,
        background: false,
        witness: witness.then_some(place),
        ..SegmentOptions::new(BOOK)
    }
}

fn block(head: Head, epoch: Epoch, events: u64) -> Block {
    let mut builder = BlockBuilder::new();
    for number in 0..events {
        let digest = Digest(*blake3::hash(&(head.sequence.0 + number).to_be_bytes()).as_bytes());
        builder.push(&Event {
            cause: Cause::Engine,
            body: EventBody::StateDigest(StateDigest { digest, accounts: number }),
        });
    }
    builder.seal(BlockPlace {
        book: BOOK,
        first_sequence: head.sequence.next(),
        recorded_at: Timestamp(5),
        epoch,
        previous: head.hash,
    })
}

fn append(journal: &mut SegmentJournal, events: u64) -> Block {
    let block = block(journal.head(), journal.epoch(), events);
    journal.append(std::slice::from_ref(&block)).unwrap();
    block
}

/// A journal of three used segments and a spare, with what each file was after each append, and its blocks.
fn history() -> (Vec<Files>, Vec<Block>) {
    let disk = SimDisk::new();
    create(&disk.folder("journal"), &options(&disk, true)).unwrap();
    let mut versions = vec![disk.files()];
    let mut blocks = Vec::new();
    let mut journal = open(&disk.folder("journal"), &options(&disk, true), Sequence::ZERO).unwrap();
    for events in [3, 150, 2, 1, 100, 60] {
        blocks.push(append(&mut journal, events));
        versions.push(disk.files());
    }
    drop(journal);
    versions.push(disk.files());
    let mut journal = open(&disk.folder("journal"), &options(&disk, true), Sequence::ZERO).unwrap();
    versions.push(disk.files());
    for events in [5, 7] {
        blocks.push(append(&mut journal, events));
        versions.push(disk.files());
    }
    drop(journal);
    versions.push(disk.files());
    (versions, blocks)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It does not open, for writing or for reading.
    Refused,
    /// It opens with everything, and says what was wrong.
    Told,
    /// Only the walk says so.
    Walked,
    Silent,
}

/// What becomes of a damaged journal: `expected` are its blocks.
fn judge(files: &Files, expected: &[Block], witness: bool) -> Verdict {
    let disk = SimDisk::with_files(files);
    let storage = disk.folder("journal");
    let walked = match walk_closed(&storage, &mut |_, _, _| ControlFlow::Continue(())) {
        Ok(report) => !report.findings.is_empty(),
        Err(_) => true,
    };
    let journal = match open(&storage, &options(&disk, witness), Sequence::ZERO) {
        Ok(journal) => journal,
        Err(fault) => {
            // The witness is no part of the folder, and the walk does not look at it.
            let of_witness = matches!(fault, OpenFault::Witness(_) | OpenFault::RolledBack { .. });
            assert!(walked || of_witness, "{fault}, but the walk finds nothing");
            return Verdict::Refused;
        }
    };
    let quiet = journal.notices().iter().all(|notice| notice.starts_with("there is no witness"));
    let mut reader = journal.reader().unwrap();
    for block in expected {
        assert_eq!(reader.next_block().unwrap().as_ref(), Some(block), "opened, and not what was answered");
    }
    assert_eq!(reader.next_block(), Ok(None));
    match (quiet, walked) {
        (false, _) => Verdict::Told,
        (true, true) => Verdict::Walked,
        (true, false) => Verdict::Silent,
    }
}

#[derive(Debug, Default)]
struct Tally(BTreeMap<Verdict, u64>);

impl Tally {
    fn add(&mut self, verdict: Verdict, what: &str) {
        assert_ne!(verdict, Verdict::Silent, "accepted in silence: {what}");
        *self.0.entry(verdict).or_default() += 1;
    }

    fn tell(&self, what: &str) -> u64 {
        let count = |verdict| self.0.get(&verdict).copied().unwrap_or_default();
        let (refused, told, walked) = (count(Verdict::Refused), count(Verdict::Told), count(Verdict::Walked));
        let all = refused + told + walked;
        println!("{all} {what}: {refused} refused, {told} mended and told, {walked} found by the walk, 0 silent");
        all
    }
}

#[test]
fn no_flipped_bit_is_accepted_in_silence() {
    let (versions, blocks) = history();
    let files = versions.last().unwrap();
    assert!(files.len() >= 6, "{:?}", files.keys());
    let all: Vec<(&String, usize)> =
        files.iter().flat_map(|(name, content)| (0..content.len()).map(move |at| (name, at))).collect();
    let half = all.len() / 2;
    let flip = |part: &[(&String, usize)]| {
        let mut tally = Tally::default();
        let mut damaged = files.clone();
        for (name, at) in part {
            for bit in 0..8 {
                damaged.get_mut(*name).unwrap()[*at] ^= 1 << bit;
                tally.add(judge(&damaged, &blocks, true), &format!("bit {bit} of byte {at} of {name}"));
                damaged.get_mut(*name).unwrap()[*at] ^= 1 << bit;
            }
        }
        tally
    };
    let (first, second) = all.split_at(half);
    let (mut tally, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| flip(second));
        (flip(first), other.join().unwrap())
    });
    for (verdict, count) in other.0 {
        *tally.0.entry(verdict).or_default() += count;
    }
    let bytes: usize = files.values().map(Vec::len).sum();
    assert!(bytes >= 64 * 1024);
    assert_eq!(tally.tell("flipped bits"), 8 * bytes as u64);
}

#[test]
fn no_cut_is_accepted_in_silence() {
    let (versions, blocks) = history();
    let files = versions.last().unwrap();
    let mut tally = Tally::default();
    for (name, content) in files {
        for length in 0..content.len() {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap().truncate(length);
            tally.add(judge(&damaged, &blocks, true), &format!("{name} cut to {length} bytes"));
        }
        let mut longer = files.clone();
        longer.get_mut(name).unwrap().push(0);
        tally.add(judge(&longer, &blocks, true), &format!("{name} with a zero more"));
    }
    assert!(tally.tell("cuts") > 64 * 1024);
}

#[test]
fn no_emptied_zeroed_or_missing_file_is_accepted_in_silence() {
    let (versions, blocks) = history();
    let files = versions.last().unwrap();
    let journal: Vec<&String> = files.keys().filter(|name| name.starts_with("journal/")).collect();
    let spare = *journal.iter().filter(|name| name.ends_with(".seg")).max().unwrap();
    let mut tally = Tally::default();
    for (number, change) in ["emptied", "zeroed", "removed"].iter().enumerate() {
        let change_one = |damaged: &mut Files, name: &String| match number {
            0 => damaged.get_mut(name).unwrap().clear(),
            1 => damaged.get_mut(name).unwrap().fill(0),
            _ => drop(damaged.remove(name)),
        };
        let mut whole = files.clone();
        for name in &journal {
            change_one(&mut whole, name);
            // A spare holds nothing: without it, or with its zeros written again, nothing is wrong.
            if *name == spare && number > 0 {
                continue;
            }
            let mut damaged = files.clone();
            change_one(&mut damaged, name);
            tally.add(judge(&damaged, &blocks, true), &format!("{name} {change}"));
        }
        tally.add(judge(&whole, &blocks, true), &format!("the whole journal {change}"));
        tally.add(judge(&whole, &blocks, false), &format!("the whole journal {change}, no witness"));
    }
    // An emptied journal in its place, as a fresh start would make it: only the witness knows better.
    let mut fresh = versions[0].clone();
    fresh.insert("witness/witness".into(), files["witness/witness"].clone());
    assert_eq!(judge_rollback(&fresh), Verdict::Refused);
    tally.tell("emptied, zeroed and removed files");
}

fn judge_rollback(files: &Files) -> Verdict {
    let disk = SimDisk::with_files(files);
    match open(&disk.folder("journal"), &options(&disk, true), Sequence::ZERO) {
        Err(OpenFault::RolledBack { .. }) => Verdict::Refused,
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => Verdict::Silent,
    }
}

#[test]
fn no_swapped_or_replayed_file_is_accepted_in_silence() {
    let (versions, blocks) = history();
    let files = versions.last().unwrap();
    let segments: Vec<&String> = files.keys().filter(|name| name.ends_with(".seg")).collect();
    let mut tally = Tally::default();
    for (at, one) in segments.iter().enumerate() {
        for other in &segments[at + 1..] {
            let mut damaged = files.clone();
            damaged.insert((*one).clone(), files[*other].clone());
            damaged.insert((*other).clone(), files[*one].clone());
            tally.add(judge(&damaged, &blocks, true), &format!("{one} and {other} swapped"));
            let mut doubled = files.clone();
            doubled.insert((*one).clone(), files[*other].clone());
            tally.add(judge(&doubled, &blocks, true), &format!("{other} also as {one}"));
        }
    }
    // Each file as it was at each earlier moment, among the newest of the others; and pairs of them.
    for old in &versions {
        for (name, content) in old.iter().filter(|(name, _)| name.starts_with("journal/")) {
            if files.get(name) == Some(content) {
                continue;
            }
            let mut damaged = files.clone();
            damaged.insert(name.clone(), content.clone());
            tally.add(judge(&damaged, &blocks, true), &format!("{name} as it was"));
            for (second, content) in old.range(name.clone()..).skip(1) {
                if files.get(second) == Some(content) || !second.starts_with("journal/") {
                    continue;
                }
                let mut both = damaged.clone();
                both.insert(second.clone(), content.clone());
                tally.add(judge(&both, &blocks, true), &format!("{name} and {second} as they were"));
            }
        }
    }
    // Pages and sectors of the anchor replayed one by one.
    for old in &versions[1..] {
        for slot in [0, 4096] {
            let mut damaged = files.clone();
            damaged.get_mut("journal/anchor").unwrap()[slot..slot + 512]
                .copy_from_slice(&old["journal/anchor"][slot..slot + 512]);
            if damaged == *files {
                continue;
            }
            let disk = SimDisk::with_files(&damaged);
            // An older slot beside the newest is a slot like any other, if what it names is there.
            if let Ok(journal) = open(&disk.folder("journal"), &options(&disk, true), Sequence::ZERO) {
                assert_eq!(journal.head().sequence, blocks.last().unwrap().header().last_sequence());
            }
        }
    }
    tally.tell("swapped and replayed files");
}

#[test]
fn a_folder_restored_as_a_whole_is_refused_by_the_witness() {
    let (versions, _) = history();
    let files = versions.last().unwrap();
    let mut refused = 0;
    for old in &versions[..versions.len() - 1] {
        let mut restored: Files = old.iter().filter(|(name, _)| name.starts_with("journal/")).map(own).collect();
        let current: Files = files.iter().filter(|(name, _)| name.starts_with("journal/")).map(own).collect();
        if restored == current {
            continue;
        }
        restored.insert("witness/witness".into(), files["witness/witness"].clone());
        assert_eq!(judge_rollback(&restored), Verdict::Refused);
        refused += 1;
    }
    // Another journal of the same book and length, whole in itself.
    let disk = SimDisk::new();
    create(&disk.folder("journal"), &options(&disk, false)).unwrap();
    let mut journal = open(&disk.folder("journal"), &options(&disk, false), Sequence::ZERO).unwrap();
    journal.append(&[block(journal.head(), Epoch(9), 400 / 4)]).unwrap();
    for _ in 0..40 {
        append(&mut journal, 50);
    }
    drop(journal);
    let mut other = disk.files();
    other.insert("witness/witness".into(), files["witness/witness"].clone());
    let disk = SimDisk::with_files(&other);
    assert!(open(&disk.folder("journal"), &options(&disk, true), Sequence::ZERO).is_err());
    println!("{refused} older copies of the whole folder and another journal: all refused by the witness");
    assert!(refused >= 8);
}

fn own((name, content): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (name.clone(), content.clone())
}

#[test]
fn without_a_witness_it_is_said_that_a_rollback_goes_unseen() {
    let (versions, _) = history();
    let disk = SimDisk::with_files(&versions[3]);
    let journal = open(&disk.folder("journal"), &options(&disk, false), Sequence::ZERO).unwrap();
    assert!(journal.notices().iter().any(|notice| notice.contains("would go unseen")));
    drop(journal);
    let mut files = disk.files();
    files.remove("witness/witness");
    let disk = SimDisk::with_files(&files);
    let journal = open(&disk.folder("journal"), &options(&disk, true), Sequence::ZERO).unwrap();
    assert!(journal.notices().iter().any(|notice| notice.contains("would go unseen")));
    drop(journal);
    assert!(disk.files().contains_key("witness/witness"));
}

#[test]
fn a_reader_never_returns_what_was_not_written() {
    let (versions, blocks) = history();
    let files = versions.last().unwrap();
    let mut faults = 0;
    for (name, content) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        for at in (0..content.len()).step_by(37) {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 4;
            let storage: Arc<dyn Storage> = SimDisk::with_files(&damaged).folder("journal");
            let Ok(mut reader) = SegmentReader::open(&storage) else {
                faults += 1;
                continue;
            };
            for block in &blocks {
                match reader.block_at(block.header().first_sequence) {
                    Ok(read) => assert_eq!(read.as_ref(), Some(block)),
                    Err(_) => faults += 1,
                }
            }
            let last = blocks.last().unwrap().header().last_sequence();
            match reader.block_at(last) {
                Ok(read) => assert_eq!(read.as_ref(), blocks.last()),
                Err(_) => faults += 1,
            }
        }
    }
    println!("{faults} faults told by readers of damaged journals, no other block returned");
    assert!(faults > 0);
}

#[test]
fn a_scan_from_a_checkpoint_leaves_older_damage_to_the_walk() {
    let (versions, blocks) = history();
    let mut files = versions.last().unwrap().clone();
    // Within the first frame of the first segment.
    files.get_mut("journal/00000001.seg").unwrap()[4096 + 300] ^= 1;
    let disk = SimDisk::with_files(&files);
    let head = blocks.last().unwrap().header().last_sequence();
    let storage = disk.folder("journal");
    assert!(matches!(open(&storage, &options(&disk, false), Sequence::ZERO), Err(OpenFault::Damaged(_))));
    let report = walk_closed(&storage, &mut |_, _, _| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.findings[0].file, "00000001.seg");
    assert_eq!((report.findings[0].offset, report.findings[0].sequence), (4096, Sequence(1)));
    let mut journal = open(&storage, &options(&disk, false), head).unwrap();
    assert_eq!(journal.head().sequence, head);
    append(&mut journal, 1);
    let mut reader = journal.reader().unwrap();
    assert!(reader.block_at(Sequence(1)).is_err());
    assert!(reader.block_at(Sequence(1)).is_err());
    assert!(reader.block_at(head).unwrap().is_some());
}
