//! A whole data folder: made, opened, locked, read beside its writer; and what can be rebuilt never keeps it closed.
#![cfg(all(feature = "segments", feature = "rocks"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use event_schemas::{Block, CommandId, Sequence};
use ledger_core::ports::{Checkpoints, IdIndex, Journal, JournalReader};
use projections::ports::{ColumnType, ReadRows, RowChanges, Rows, Table};
use stores::conformance::recorded_blocks;
use stores::embedded::{self, Embedded, EmbeddedFault, EmbeddedOptions};
use stores::rocks::{RocksStore, damage_marker};
use stores::segments::OpenFault;

static TABLE: Table = Table {
    name: "balances_now",
    projection: "balances",
    columns: &[("key", ColumnType::Text), ("value", ColumnType::Text)],
    key_columns: 1,
};

fn options() -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes: 1 << 20, freeze_ids: 1_000, ..EmbeddedOptions::default() }
}

fn verdicts(blocks: &[Block]) -> Vec<(CommandId, Sequence)> {
    let events = blocks.iter().flat_map(|block| block.events().map(Result::unwrap));
    events.filter_map(|(sequence, event)| Some((event.cause.verdict_of()?, sequence))).collect()
}

/// Appends blocks and lets everything follow them, as the engine and the runner do.
fn append(opened: &mut Embedded, blocks: &[Block]) {
    for block in blocks {
        opened.journal.secure_space(block.bytes().len()).unwrap();
        opened.journal.append(std::slice::from_ref(block)).unwrap();
        let head = opened.journal.head().sequence;
        opened.ids.record(&verdicts(std::slice::from_ref(block)), head).unwrap();
        let rows = vec![(&TABLE, b"head".to_vec(), Some(head.0.to_be_bytes().to_vec()))];
        opened.rocks.commit(RowChanges { rows, checkpoints: vec![("balances", head)] }).unwrap();
        opened.rocks.store(head, b"state").unwrap();
    }
}

/// A folder with these blocks, closed.
fn filled(folder: &Path, blocks: &[Block]) {
    embedded::create(folder, &options()).unwrap();
    // One run of the program only: what it leaves says from which journal it was made.
    append(&mut embedded::open(folder, &options()).unwrap(), blocks);
}

fn notices_but_the_witness(opened: &Embedded) -> Vec<&String> {
    opened.notices.iter().filter(|notice| !notice.contains("witness")).collect()
}

#[test]
fn a_folder_is_made_filled_and_opened_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deep/data");
    let blocks = recorded_blocks();
    assert!(!embedded::exists(&folder).unwrap());
    let missing = embedded::open(&folder, &options()).unwrap_err();
    assert!(matches!(missing, EmbeddedFault::Journal(OpenFault::Missing(_))), "{missing}");
    assert!(!folder.exists(), "opening creates nothing");

    embedded::create(&folder, &options()).unwrap();
    assert!(embedded::exists(&folder).unwrap());
    assert!(matches!(embedded::create(&folder, &options()), Err(EmbeddedFault::Journal(OpenFault::Exists(_)))));
    let mut opened = embedded::open(&folder, &options()).unwrap();
    assert_eq!(notices_but_the_witness(&opened), [""; 0]);
    assert!(opened.notices.iter().any(|notice| notice.contains("witness")), "that there is none is said");
    append(&mut opened, &blocks);

    // A reader beside the writer.
    let mut reader = embedded::reader(&folder).unwrap();
    assert_eq!(reader.next_block().unwrap().as_ref(), blocks.first());
    let rows = RocksStore::open_read_only(&embedded::rocks_folder(&folder), options().projections).unwrap();
    assert_eq!(rows.checkpoint("balances").unwrap(), opened.journal.head().sequence);

    // One writer only.
    let second = embedded::open(&folder, &options()).unwrap_err();
    assert!(matches!(second, EmbeddedFault::Locked { .. }));
    assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
    let ids = opened.ids;
    drop((opened.journal, opened.rocks, opened.lock));
    assert!(matches!(embedded::open(&folder, &options()), Err(EmbeddedFault::Locked { .. })), "the index is open");
    drop(ids);

    let mut opened = embedded::open(&folder, &options()).unwrap();
    assert_eq!(notices_but_the_witness(&opened), [""; 0]);
    let head = opened.journal.head().sequence;
    assert_eq!(head, blocks.last().unwrap().header().last_sequence());
    let indexed = opened.ids.indexed_sequence();
    assert!(indexed > Sequence(2_000) && indexed <= head, "{indexed}");
    for (id, sequence) in verdicts(&blocks) {
        assert_eq!(opened.ids.lookup(id).unwrap(), (sequence <= indexed).then_some(sequence));
    }
    assert_eq!(opened.rocks.sequences().unwrap()[0], head);
    assert_eq!(opened.rocks.checkpoint("balances").unwrap(), head);
}

#[test]
fn a_damaged_database_is_moved_aside() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    filled(&folder, &recorded_blocks());
    let rocks = embedded::rocks_folder(&folder);

    let damage: [(&str, &dyn Fn()); 3] = [
        ("a list of files that is no such list", &|| {
            let name = fs::read_to_string(rocks.join("CURRENT")).unwrap();
            fs::write(rocks.join(name.trim()), b"nonsense").unwrap();
        }),
        ("a missing list of files", &|| {
            let name = fs::read_to_string(rocks.join("CURRENT")).unwrap();
            fs::remove_file(rocks.join(name.trim())).unwrap();
        }),
        ("damage met by an earlier start", &|| fs::write(damage_marker(&rocks), "a block was damaged").unwrap()),
    ];
    for (count, (what, make)) in damage.into_iter().enumerate() {
        make();
        let mut opened = embedded::open(&folder, &options()).unwrap();
        let notices = notices_but_the_witness(&opened);
        assert_eq!(notices.len(), 1, "{what}: {notices:?}");
        let aside = folder.join(format!("rocks.damaged-{}", count + 1));
        assert!(notices[0].contains(&aside.display().to_string()), "{what}: {notices:?}");
        assert!(aside.is_dir());
        assert_eq!(opened.rocks.sequences().unwrap(), []);
        assert_eq!(opened.rocks.checkpoint("balances").unwrap(), Sequence::ZERO);
        append(&mut opened, &[]);
        opened.rocks.store(Sequence(5), b"state").unwrap();
        drop(opened);
        let opened = embedded::open(&folder, &options()).unwrap();
        assert_eq!(notices_but_the_witness(&opened), [""; 0], "{what}: once");
        assert_eq!(opened.rocks.sequences().unwrap(), [Sequence(5)]);
    }
}

#[test]
fn nothing_of_another_journal_is_used() {
    let parent = tempfile::tempdir().unwrap();
    let (one, other) = (parent.path().join("one"), parent.path().join("other"));
    let blocks = recorded_blocks();
    filled(&one, &blocks);
    // The same book, another history from its first event on.
    let strangers = {
        use event_schemas::block::BlockPlace;
        use event_schemas::event::BookOpened;
        use event_schemas::{BlockBuilder, BlockHash, BookId, Epoch, Event, EventBody, PrincipalId, Timestamp};
        let mut builder = BlockBuilder::new();
        let nonce = PrincipalId(0xdead);
        let mut strangers = Vec::new();
        let mut previous = BlockHash::default();
        for first in [1, 3_001] {
            for _ in 0..3_000 {
                builder.push(&Event::engine(EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce })));
            }
            let place = BlockPlace {
                book: BookId::FIRST,
                first_sequence: Sequence(first),
                recorded_at: Timestamp(5),
                epoch: Epoch(1),
                previous,
            };
            let block = builder.seal(place);
            previous = block.hash();
            strangers.push(block);
        }
        strangers
    };
    filled(&other, &strangers);
    fs::remove_dir_all(embedded::journal_folder(&one)).unwrap();
    fs::rename(embedded::journal_folder(&other), embedded::journal_folder(&one)).unwrap();

    let mut opened = embedded::open(&one, &options()).unwrap();
    let notices = notices_but_the_witness(&opened);
    assert!(notices.iter().any(|notice| notice.contains("of another journal")), "{notices:?}");
    assert!(notices.iter().any(|notice| notice.contains("not made from this journal")), "{notices:?}");
    assert_eq!(opened.ids.indexed_sequence(), Sequence::ZERO);
    assert_eq!(opened.ids.lookup(verdicts(&blocks)[0].0), Ok(None));
    assert_eq!(opened.rocks.sequences().unwrap(), []);
    assert_eq!(opened.rocks.checkpoint("balances").unwrap(), Sequence::ZERO);
    assert_eq!(opened.rocks.get(&TABLE, b"head").unwrap(), None);
    drop(opened);
    let opened = embedded::open(&one, &options()).unwrap();
    assert_eq!(notices_but_the_witness(&opened), [""; 0]);

    // And where the journal is gone, none is made beside what it left.
    drop(opened);
    fs::remove_dir_all(embedded::journal_folder(&one)).unwrap();
    assert!(matches!(embedded::create(&one, &options()), Err(EmbeddedFault::JournalGone { .. })));
}

#[test]
fn what_is_ahead_of_the_journal_is_dropped() {
    let parent = tempfile::tempdir().unwrap();
    let (old, new) = (parent.path().join("old"), parent.path().join("new"));
    let blocks = recorded_blocks();
    filled(&old, &blocks[..7]);
    filled(&new, &blocks);
    // An older copy of the journal under newer read models: the restore of a backup without a witness.
    fs::remove_dir_all(embedded::journal_folder(&new)).unwrap();
    fs::rename(embedded::journal_folder(&old), embedded::journal_folder(&new)).unwrap();
    let mut opened = embedded::open(&new, &options()).unwrap();
    let head = opened.journal.head().sequence;
    assert_eq!(head, blocks[6].header().last_sequence());
    assert!(opened.ids.indexed_sequence() <= head);
    for (id, sequence) in verdicts(&blocks) {
        let found = opened.ids.lookup(id).unwrap();
        assert_eq!(found, (sequence <= opened.ids.indexed_sequence()).then_some(sequence));
    }
    assert_eq!(opened.rocks.sequences().unwrap(), []);
    assert_eq!(opened.rocks.checkpoint("balances").unwrap(), Sequence::ZERO);
    assert_eq!(opened.rocks.get(&TABLE, b"head").unwrap(), None);
    let notices = notices_but_the_witness(&opened);
    assert!(notices.iter().any(|notice| notice.contains("read model balances")), "{notices:?}");
    assert!(notices.iter().any(|notice| notice.contains("checkpoint of sequence")), "{notices:?}");
}
