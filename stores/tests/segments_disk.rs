//! The embedded journal on the machine's own disk: threads, a reader in the same process, one that reads the anchor as
//! another process would, and a start after each.
#![cfg(feature = "segments")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use event_schemas::block::BlockPlace;
use event_schemas::{Block, BlockBuilder, BookId, Cause, Digest, Epoch, Event, EventBody, Sequence, Timestamp};
use ledger_core::ports::{Head, Journal, JournalReader};
use projections::ports::EventFeed;
use stores::segments::{DiskStorage, OpenFault, SegmentOptions, SegmentReader, Storage, create, open, walk};

const BOOK: BookId = BookId::FIRST;
/// How far the writer goes.
const LAST: u64 = 40_000;

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(DiskStorage::create(self.0.join("journal")).unwrap())
    }

    fn options(&self) -> SegmentOptions {
        SegmentOptions { segment_bytes: 1024 * 1024, ..SegmentOptions::new(BOOK) }.with_witness(&self.0.join("witness"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A block of `count` events behind a head.
fn block(head: Head, epoch: Epoch, count: u64) -> Block {
    let mut builder = BlockBuilder::new();
    for number in 0..count {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&(head.sequence.0 + number + 1).to_be_bytes());
        let body =
            EventBody::StateDigest(event_schemas::event::StateDigest { digest: Digest(digest), accounts: number });
        builder.push(&Event { cause: Cause::Engine, body });
    }
    builder.seal(BlockPlace {
        book: BOOK,
        first_sequence: head.sequence.next(),
        recorded_at: Timestamp(i64::try_from(head.sequence.0).unwrap()),
        epoch,
        previous: head.hash,
    })
}

fn after(block: &Block) -> Head {
    let header = block.header();
    Head { sequence: header.last_sequence(), hash: block.hash(), recorded_at: header.recorded_at, epoch: header.epoch }
}

#[test]
fn readers_follow_a_writer_over_many_segments() {
    let folder = Folder::new("follow");
    let storage = folder.storage();
    let options = folder.options();
    assert!(matches!(open(&storage, &options, Sequence::ZERO), Err(OpenFault::Missing(_))));
    create(&storage, &options).unwrap();
    assert!(matches!(create(&storage, &options), Err(OpenFault::Exists(_))));

    let mut journal = open(&storage, &options, Sequence::ZERO).unwrap();
    let mut here = journal.segment_reader();
    let mut elsewhere = SegmentReader::open(&storage).unwrap();
    let follow = |reader: &mut SegmentReader| {
        let mut read = Sequence::ZERO;
        while read.0 < LAST {
            let block = EventFeed::next_block(reader, read, Duration::from_secs(30)).unwrap().unwrap();
            assert_eq!(block.header().first_sequence, read.next());
            read = block.header().last_sequence();
        }
        read
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(|| follow(&mut here)), scope.spawn(|| follow(&mut elsewhere))];
        while journal.head().sequence.0 < LAST {
            let count = 1 + journal.head().sequence.0 % 700;
            let first = block(journal.head(), journal.epoch(), count);
            let second = block(after(&first), journal.epoch(), 3);
            journal.secure_space(first.bytes().len() + second.bytes().len()).unwrap();
            journal.append(&[first, second]).unwrap();
        }
        for reader in readers {
            assert!(reader.join().unwrap().0 >= LAST);
        }
    });
    let head = journal.head();
    let mut random = journal.segment_reader();
    for sequence in (1..=head.sequence.0).rev().step_by(997) {
        let block = random.block_at(Sequence(sequence)).unwrap().unwrap();
        assert!(block.header().first_sequence.0 <= sequence && sequence <= block.header().last_sequence().0);
    }
    assert_eq!(random.block_at(head.sequence.next()).unwrap(), None);
    drop(journal);

    let mut blocks = 0;
    let report = walk(&storage, &mut |_, _, _| {
        blocks += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((report.findings.as_slice(), report.sequence, report.blocks), (&[][..], head.sequence, blocks));
    assert!(report.segments > 1);

    let mut journal = open(&storage, &options, Sequence(head.sequence.0 / 2)).unwrap();
    assert_eq!(journal.notices(), &[] as &[String]);
    assert_eq!((journal.head(), journal.epoch()), (head, Epoch(head.epoch.0 + 1)));
    let next = block(head, journal.epoch(), 1);
    journal.append(std::slice::from_ref(&next)).unwrap();
    assert_eq!(journal.reader().unwrap().block_at(head.sequence.next()).unwrap(), Some(next));
}

#[test]
fn a_folder_restored_as_a_whole_is_refused_by_its_witness() {
    let folder = Folder::new("restore");
    let storage = folder.storage();
    let options = folder.options();
    create(&storage, &options).unwrap();
    let mut journal = open(&storage, &options, Sequence::ZERO).unwrap();
    let first = block(journal.head(), journal.epoch(), 10);
    journal.append(&[first]).unwrap();
    drop(journal);
    let copy = folder.0.join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in storage.list().unwrap() {
        std::fs::copy(folder.0.join("journal").join(&name), copy.join(&name)).unwrap();
    }
    let mut journal = open(&storage, &options, Sequence::ZERO).unwrap();
    let second = block(journal.head(), journal.epoch(), 10);
    journal.append(&[second]).unwrap();
    drop(journal);
    for name in storage.list().unwrap() {
        std::fs::remove_file(folder.0.join("journal").join(name)).unwrap();
    }
    for entry in std::fs::read_dir(&copy).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.0.join("journal").join(entry.file_name())).unwrap();
    }
    let fault = open(&storage, &options, Sequence::ZERO).unwrap_err();
    assert!(matches!(fault, OpenFault::RolledBack { witnessed: Sequence(20), found: Sequence(10), .. }), "{fault}");
    for name in storage.list().unwrap() {
        std::fs::remove_file(folder.0.join("journal").join(name)).unwrap();
    }
    assert!(matches!(create(&storage, &options), Err(OpenFault::Exists(_))));
}
