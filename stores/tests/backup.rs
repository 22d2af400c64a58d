//! Backups: complete, grown, interrupted, damaged, put back; and what the witness says to that.
#![cfg(all(feature = "segments", feature = "rocks"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use event_schemas::block::BlockPlace;
use event_schemas::event::StateDigest;
use event_schemas::{Block, BlockBuilder, BookId, Digest, Epoch, Event, EventBody, Sequence, Timestamp};
use ledger_core::ports::{Journal as _, JournalReader};
use stores::backup::{self, AcceptRollback, BackupFault, MANIFEST, Made, RestoreOptions, Restored};
use stores::embedded::{self, EmbeddedFault, EmbeddedOptions};
use stores::segments::{OpenFault, SegmentJournal, SegmentOptions, sim::mix};

const SEGMENT_BYTES: u64 = 32 * 1024;
const NOW: Timestamp = Timestamp(2_000_000_000_000_000);

/// A data folder whose journal has segments of 32 KiB, and a witness beside it.
struct Home {
    parent: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { parent: tempfile::tempdir().unwrap() };
        embedded::create(&home.data(), &home.options()).unwrap();
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.parent.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.at("data")
    }

    fn options(&self) -> EmbeddedOptions {
        EmbeddedOptions {
            segment_bytes: SEGMENT_BYTES,
            witness: Some(self.at("witness")),
            ..EmbeddedOptions::default()
        }
    }

    /// Opens the journal of a data folder for writing.
    fn open(&self, data: &Path) -> SegmentJournal {
        let mut options = SegmentOptions::new(BookId::FIRST).with_witness(&self.at("witness"));
        options.background = false;
        let storage: std::sync::Arc<dyn stores::segments::Storage> =
            std::sync::Arc::new(stores::segments::DiskStorage::new(embedded::journal_folder(data)));
        stores::segments::open(&storage, &options, Sequence::ZERO).unwrap()
    }

    fn back_up(&self, to: &str) -> Result<Made, BackupFault> {
        backup::back_up(&self.data(), &self.at(to), NOW, &mut |_| ())
    }

    fn restore(&self, from: &str, to: &str, options: &RestoreOptions) -> Result<Restored, BackupFault> {
        backup::restore(&self.at(from), &self.at(to), options, &mut |_| ())
    }
}

/// A block of some events behind a journal's head.
fn block(journal: &SegmentJournal, events: u64) -> Block {
    let head = journal.head();
    let mut builder = BlockBuilder::new();
    for event in 0..events {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&mix(head.sequence.0 << 10 | event).to_be_bytes());
        let body = EventBody::StateDigest(StateDigest { digest: Digest(digest), accounts: event });
        builder.push(&Event::engine(body));
    }
    builder.seal(BlockPlace {
        book: BookId::FIRST,
        first_sequence: head.sequence.next(),
        recorded_at: Timestamp(1_999_000_000_000_000 + i64::try_from(head.sequence.0).unwrap()),
        epoch: journal.epoch(),
        previous: head.hash,
    })
}

fn append(journal: &mut SegmentJournal, blocks: u64) {
    for number in 0..blocks {
        let block = block(journal, 1 + number % 40);
        journal.secure_space(block.bytes().len()).unwrap();
        journal.append(&[block]).unwrap();
    }
}

fn blocks_of(data: &Path) -> Vec<Block> {
    let mut reader = embedded::reader(data).unwrap();
    std::iter::from_fn(|| JournalReader::next_block(&mut reader).unwrap()).collect()
}

fn head_of(blocks: &[Block]) -> (Sequence, Digest) {
    blocks.last().map_or_else(Default::default, |block| (block.header().last_sequence(), block.hash()))
}

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn walk_findings(data: &Path) -> Vec<String> {
    let storage: std::sync::Arc<dyn stores::segments::Storage> =
        std::sync::Arc::new(stores::segments::DiskStorage::new(embedded::journal_folder(data)));
    let report = stores::segments::walk_closed(&storage, &mut |_, _, _| std::ops::ControlFlow::Continue(())).unwrap();
    report.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_backup_beside_the_writer_is_put_back_elsewhere_and_goes_on() {
    let home = Home::new();
    let mut journal = home.open(&home.data());
    append(&mut journal, 60);
    let before = files_of(&home.data().join("journal"));
    let made = home.back_up("backup").unwrap();
    assert_eq!(files_of(&home.data().join("journal")), before, "a backup changes nothing of what it copies");
    let blocks = blocks_of(&home.data());
    assert_eq!((made.head(), made.before), (head_of(&blocks), None));
    assert!(made.segments > 3, "{made:?}");
    assert_eq!(backup::verify(&home.at("backup"), &mut |_| ()).unwrap().notices, [""; 0]);
    // It reads as a data folder does, and nobody can write to it as to one.
    assert_eq!(blocks_of(&home.at("backup")), blocks);
    assert_eq!(walk_findings(&home.at("backup")), [""; 0]);
    let refused = embedded::open(&home.at("backup"), &home.options()).unwrap_err();
    assert!(matches!(refused, EmbeddedFault::Backup(_)), "{refused}");

    let restored = home.restore("backup", "restored", &RestoreOptions { now: NOW, ..RestoreOptions::default() });
    let restored = restored.unwrap();
    assert_eq!(((restored.sequence, restored.hash), restored.recorded), (head_of(&blocks), false));
    assert!(restored.notices[0].contains("no witness"), "{restored:?}");
    assert_eq!(blocks_of(&home.at("restored")), blocks);
    // Every byte of its segments is written: the writer must not find a full disk in the middle of a commit.
    for number in 1..=made.segments {
        let file = fs::metadata(home.at("restored").join(format!("journal/{number:08}.seg"))).unwrap();
        assert!(file.blocks() * 512 >= SEGMENT_BYTES, "segment {number} has a hole");
    }
    drop(journal);
    fs::remove_dir_all(home.data()).unwrap();
    let mut journal = home.open(&home.at("restored"));
    append(&mut journal, 10);
    drop(journal);
    assert_eq!(walk_findings(&home.at("restored")), [""; 0]);
    let opened = embedded::open(&home.at("restored"), &home.options()).unwrap();
    assert_eq!(opened.journal.head().sequence, head_of(&blocks_of(&home.at("restored"))).0);
}

#[test]
fn a_second_backup_copies_what_is_new() {
    let home = Home::new();
    let mut journal = home.open(&home.data());
    append(&mut journal, 60);
    let first = home.back_up("backup").unwrap();
    let old = files_of(&home.at("backup/journal"));
    append(&mut journal, 30);
    let second = home.back_up("backup").unwrap();
    let (had, has) = (first.manifest.journals[0].segments.len(), second.manifest.journals[0].segments.len());
    assert!(has > had);
    assert_eq!((second.before, second.segments as usize), (Some(first.head().0), has - had + 1));
    let new = files_of(&home.at("backup/journal"));
    for number in 1..had {
        let name = format!("{number:08}.seg");
        assert_eq!(old[&name], new[&name]);
    }
    assert_eq!(backup::verify(&home.at("backup"), &mut |_| ()).unwrap().head(), head_of(&blocks_of(&home.data())));
    // One from nothing is the same.
    let whole = home.back_up("whole").unwrap();
    assert_eq!(whole.manifest.journals, second.manifest.journals);
    assert_eq!(files_of(&home.at("whole/journal")), new);
    // And one with nothing new says so.
    let third = home.back_up("backup").unwrap();
    assert_eq!((third.before, third.head(), third.segments), (Some(second.head().0), second.head(), 1));
}

/// The files in the order in which a backup replaces them.
#[test]
fn a_backup_that_is_interrupted_anywhere_leaves_the_older_one_whole() {
    let home = Home::new();
    let mut journal = home.open(&home.data());
    append(&mut journal, 40);
    let older = home.back_up("older").unwrap();
    copy_folder(&home.at("older"), &home.at("newer"));
    append(&mut journal, 40);
    let newer = home.back_up("newer").unwrap();
    let first = older.manifest.journals[0].segments.len();
    let last = newer.manifest.journals[0].segments.len();
    let mut order: Vec<String> = (first..=last).map(|number| format!("journal/{number:08}.seg")).collect();
    order.push("journal/anchor".into());
    for done in 0..=order.len() {
        let name = format!("interrupted-{done}");
        copy_folder(&home.at("older"), &home.at(&name));
        for file in &order[..done] {
            fs::copy(home.at("newer").join(file), home.at(&name).join(file)).unwrap();
        }
        // Half of the next file is there under the name of files in the making.
        fs::write(home.at(&name).join("journal/spare.new"), [7; 5_000]).unwrap();
        let checked = backup::verify(&home.at(&name), &mut |_| ()).unwrap();
        assert_eq!(checked.head(), older.head(), "{done} files replaced");
        assert_eq!(walk_findings(&home.at(&name)), [""; 0], "{done} files replaced");
        let restored = home.restore(&name, &format!("restored-{done}"), &RestoreOptions::default()).unwrap();
        assert_eq!((restored.sequence, restored.hash), older.head());
        let again = home.back_up(&name).unwrap();
        assert_eq!((again.before, again.head()), (Some(older.head().0), newer.head()));
        assert_eq!(files_of(&home.at(&name).join("journal")), files_of(&home.at("newer/journal")));
    }
    // The first one, interrupted before its manifest.
    copy_folder(&home.at("older"), &home.at("begun"));
    let begun = backup::back_up(&home.at("nothing"), &home.at("begun"), NOW, &mut |_| ()).unwrap_err();
    assert!(matches!(begun, BackupFault::Journal(OpenFault::Missing(_))), "{begun}");
}

#[test]
fn no_flipped_bit_of_a_backup_passes() {
    let home = Home::new();
    let mut journal = home.open(&home.data());
    append(&mut journal, 12);
    let manifest = home.back_up("backup").unwrap().manifest;
    let folder = home.at("backup");
    let (mut tried, mut refused) = (0, 0);
    for file in ["manifest.json", "journal/anchor", "journal/00000001.seg", "journal/00000002.seg"] {
        let path = folder.join(file);
        let whole = fs::read(&path).unwrap();
        let step = if file == "manifest.json" { 1 } else { 61 };
        for at in (0..whole.len()).step_by(step) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            tried += 1;
            match backup::verify(&folder, &mut |_| ()) {
                Err(_) => refused += 1,
                // White space of the manifest says nothing, and neither does the case of a hexadecimal digit.
                Ok(checked) => assert_eq!((file, checked.manifest), ("manifest.json", manifest.clone()), "byte {at}"),
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    println!("{tried} flips, {refused} refused");
    assert!(backup::verify(&folder, &mut |_| ()).is_ok() && refused > 1_000);
    // A damaged backup is never put in place, nor half of it.
    let path = folder.join("journal/00000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[9_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let fault = home.restore("backup", "restored", &RestoreOptions::default()).unwrap_err();
    let BackupFault::Journal(OpenFault::Damaged(damage)) = &fault else { panic!("{fault}") };
    assert_eq!((damage.segment, damage.offset / 4096), (1, 2));
    assert!(!home.at("restored").exists());
    fs::remove_file(&path).unwrap();
    let fault = backup::verify(&folder, &mut |_| ()).unwrap_err();
    assert!(matches!(fault, BackupFault::Journal(OpenFault::Missing(_))), "{fault}");
}

#[test]
fn damage_of_the_journal_ends_the_backup_and_leaves_the_older_one() {
    let home = Home::new();
    let mut journal = home.open(&home.data());
    append(&mut journal, 20);
    let older = home.back_up("backup").unwrap();
    append(&mut journal, 40);
    let last = home.back_up("other").unwrap().manifest.journals[0].segments.len();
    let path = home.data().join(format!("journal/{:08}.seg", last - 1));
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 200] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let fault = home.back_up("backup").unwrap_err();
    let BackupFault::Journal(OpenFault::Damaged(damage)) = &fault else { panic!("{fault}") };
    assert_eq!((damage.segment as usize, damage.offset), (last - 1, 4096));
    assert_eq!(backup::verify(&home.at("backup"), &mut |_| ()).unwrap().head(), older.head());
}

#[test]
fn folders_that_are_taken_or_of_another_history_are_refused() {
    let home = Home::new();
    let fault = home.back_up("backup").unwrap_err();
    assert!(matches!(fault, BackupFault::Empty), "{fault}");
    let mut journal = home.open(&home.data());
    append(&mut journal, 30);
    let early = home.at("early");
    copy_folder(&home.data(), &early);
    append(&mut journal, 30);
    home.back_up("backup").unwrap();

    let within = backup::back_up(&home.data(), &home.data().join("sub/backup"), NOW, &mut |_| ()).unwrap_err();
    assert!(matches!(within, BackupFault::Within(_)), "{within}");
    fs::create_dir(home.at("full")).unwrap();
    fs::write(home.at("full/letter"), "dear").unwrap();
    let full = home.back_up("full").unwrap_err();
    assert!(matches!(full, BackupFault::NotABackup(_)), "{full}");
    // Another data folder is no place for a backup either.
    let other = Home::new();
    let taken = backup::back_up(&home.data(), &other.data(), NOW, &mut |_| ()).unwrap_err();
    assert!(matches!(taken, BackupFault::NotABackup(_)), "{taken}");
    let taken = home.restore("backup", "full", &RestoreOptions::default()).unwrap_err();
    assert!(matches!(taken, BackupFault::Taken(_)), "{taken}");
    let none = home.restore("full", "restored", &RestoreOptions::default()).unwrap_err();
    assert!(matches!(none, BackupFault::NoBackup(_)), "{none}");

    // An older copy of the data folder, and one that went another way, must not replace what the backup has.
    let rolled_back = backup::back_up(&early, &home.at("backup"), NOW, &mut |_| ()).unwrap_err();
    assert!(matches!(rolled_back, BackupFault::OtherHistory { .. }), "{rolled_back}");
    let mut options = home.options();
    options.witness = None;
    let mut opened = embedded::open(&early, &options).unwrap();
    append(&mut opened.journal, 60);
    drop(opened);
    let forked = backup::back_up(&early, &home.at("backup"), NOW, &mut |_| ()).unwrap_err();
    assert!(matches!(&forked, BackupFault::OtherHistory { .. }), "{forked}");
    assert_eq!(backup::verify(&home.at("backup"), &mut |_| ()).unwrap().head(), head_of(&blocks_of(&home.data())));

    // A manifest of the future, and one that was begun and never finished.
    let text = fs::read_to_string(home.at("backup").join(MANIFEST)).unwrap();
    fs::write(home.at("backup").join(MANIFEST), text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    let newer = backup::verify(&home.at("backup"), &mut |_| ()).unwrap_err();
    assert!(matches!(newer, BackupFault::Format(2)), "{newer}");
}

#[test]
fn a_witness_that_saw_more_refuses_and_the_accepted_loss_is_on_record() {
    let home = Home::new();
    let witness = home.at("witness");
    let mut journal = home.open(&home.data());
    append(&mut journal, 20);
    let head = home.back_up("backup").unwrap().head().0;
    let with = |accept| RestoreOptions { witness: Some(witness.clone()), accept, now: NOW };
    let accept = |to| Some(AcceptRollback { to, actor: "anna".into(), reason: "the disk died".into() });
    // The witness is level: nothing to accept.
    let level = home.restore("backup", "level", &with(None)).unwrap();
    assert_eq!((level.sequence, level.notices.len()), (head, 0));

    append(&mut journal, 5);
    drop(journal);
    let seen = stores::segments::read_witness(&witness).unwrap().unwrap();
    let lost = home.at("lost");
    fs::rename(home.data(), &lost).unwrap();
    let refused = home.restore("backup", "data", &with(None)).unwrap_err();
    let BackupFault::WitnessAhead { witnessed, head: told } = &refused else { panic!("{refused}") };
    assert_eq!((*witnessed, *told), (seen.sequence, head));
    for wrong in [head.0 - 1, head.0 + 1, seen.sequence.0] {
        let refused = home.restore("backup", "data", &with(accept(Sequence(wrong)))).unwrap_err();
        assert!(matches!(refused, BackupFault::AcceptedOther { .. }), "{refused}");
    }
    assert!(!home.data().exists(), "nothing is put in place by what is refused");

    let restored = home.restore("backup", "data", &with(accept(head))).unwrap();
    assert_eq!((restored.sequence, restored.recorded), (head.next(), true));
    let blocks = blocks_of(&home.data());
    let block = blocks.last().unwrap();
    let (_, event) = block.events().next().unwrap().unwrap();
    let EventBody::JournalRestored(event) = event.body else { panic!("{event:?}") };
    assert_eq!((event.restored_to, event.witnessed), (head, Some(seen.sequence)));
    assert_eq!((&*event.actor, &*event.reason), ("anna", "the disk died"));
    assert_eq!(block.header().recorded_at, NOW);
    assert!(block.header().epoch > seen.epoch, "an epoch above all that the witness saw");
    // The witness knows the book as it is now; the folder that was lost is refused should it turn up.
    let renewed = stores::segments::read_witness(&witness).unwrap().unwrap();
    assert_eq!((renewed.sequence, renewed.hash), (head.next(), block.hash()));
    let found_again = embedded::open(&lost, &home.options()).unwrap_err();
    assert!(matches!(found_again, EmbeddedFault::Journal(OpenFault::RolledBack { .. })), "{found_again}");
    let mut opened = embedded::open(&home.data(), &home.options()).unwrap();
    append(&mut opened.journal, 3);
    drop(opened);
    assert_eq!(walk_findings(&home.data()), [""; 0]);
    // What the backup holds goes on being backed up behind it, and the lost folder does not.
    assert_eq!(home.back_up("backup").unwrap().before, Some(head));
    let fault = backup::back_up(&lost, &home.at("backup"), NOW, &mut |_| ()).unwrap_err();
    assert!(matches!(fault, BackupFault::OtherHistory { .. }), "{fault}");
}

#[test]
fn a_book_that_was_opened_since_and_a_clock_that_cannot_be_right() {
    let home = Home::new();
    let witness = home.at("witness");
    let mut journal = home.open(&home.data());
    append(&mut journal, 3);
    let head = home.back_up("backup").unwrap().head().0;
    drop(journal);
    // Opened, and nothing recorded: the epoch alone tells.
    drop(home.open(&home.data()));
    let with = |accept, now| RestoreOptions { witness: Some(witness.clone()), accept, now };
    let refused = home.restore("backup", "restored", &with(None, NOW)).unwrap_err();
    assert!(matches!(refused, BackupFault::WitnessAhead { .. }), "{refused}");
    let accept = || Some(AcceptRollback { to: head, actor: "anna".into(), reason: String::new() });
    let last = head_of(&blocks_of(&home.data()));
    let seen = fs::read(&witness).unwrap();
    for now in [Timestamp(1), Timestamp(4_000_000_000_000_000)] {
        let name = format!("restored-{}", now.0);
        let restored = home.restore("backup", &name, &with(accept(), now)).unwrap();
        let blocks = blocks_of(&home.at(&name));
        let before = blocks.iter().find(|block| block.hash() == last.1).unwrap();
        let block = blocks.last().unwrap();
        assert_eq!(block.header().recorded_at, before.header().recorded_at, "time neither jumps nor runs backwards");
        assert_eq!((restored.sequence, block.header().epoch > Epoch(2)), (head.next(), true));
        fs::write(&witness, &seen).unwrap();
    }
    // The witness of another book is no witness of this one.
    drop(home.open(&home.data()));
    let mut bytes = fs::read(&witness).unwrap();
    bytes[11] = 2;
    let hash = *blake3::hash(&bytes[..64]).as_bytes();
    bytes[64..].copy_from_slice(&hash);
    fs::write(&witness, bytes).unwrap();
    let refused = home.restore("backup", "other", &with(None, NOW)).unwrap_err();
    assert!(matches!(refused, BackupFault::OtherWitness { .. }), "{refused}");
}
