//! What no crash leaves, made by hand: each must be refused by its own rule, and named.

use super::*;
use crate::segments::OpenFault;
use crate::segments::format::{
    ANCHOR_BYTES, FIRST_FRAME, FRAME_HEADER, FrameHeader, PAGE, Place, SECTOR, SegmentHeader, Slot, page_usize, pages,
    segment_name, segment_number,
};

const SEGMENT: &str = "journal/00000001.seg";

/// A journal of three blocks in three frames of a page, closed; and those blocks.
fn three() -> (SimDisk, Vec<Block>) {
    let disk = SimDisk::new();
    let mut process = Process::new(&disk, plain, &[]);
    process.run(&[Step::Create, Step::Open, Step::Append(&[200]), Step::Append(&[200])]).unwrap();
    process.journal = None;
    (disk, process.tried)
}

fn open_without_witness(disk: &SimDisk) -> Result<SegmentJournal, OpenFault> {
    open(&disk.folder("journal"), &options(), Sequence::ZERO)
}

fn frame(blocks: &[Block], epoch: Epoch) -> Vec<u8> {
    let stored: Vec<u8> = blocks.iter().flat_map(|block| block.bytes().to_vec()).collect();
    let stored_bytes = stored.len() as u64;
    let frame_bytes = pages(FRAME_HEADER as u64 + stored_bytes);
    let mut bytes = vec![0; FRAME_HEADER];
    bytes.extend_from_slice(&stored);
    bytes.resize(usize::try_from(frame_bytes).unwrap(), 0);
    let header = FrameHeader {
        book: BOOK,
        blocks: u32::try_from(blocks.len()).unwrap(),
        first_sequence: blocks[0].header().first_sequence,
        count: blocks.iter().map(|block| u64::from(block.header().count)).sum(),
        epoch,
        stored_bytes,
        plain_bytes: stored_bytes,
        frame_bytes,
        previous: blocks[0].header().previous,
    };
    header.seal(&mut bytes);
    bytes
}

fn put(disk: &SimDisk, name: &str, offset: u64, bytes: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    disk.tamper(name, |content| content[offset..offset + bytes.len()].copy_from_slice(bytes)).unwrap();
}

const HEAD_END: u64 = FIRST_FRAME + 2 * PAGE;

fn damage(result: Result<SegmentJournal, OpenFault>) -> crate::segments::Damage {
    match result {
        Err(OpenFault::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_frame_beyond_the_anchor_is_adopted_only_if_it_follows() {
    let (disk, tried) = three();
    let head = head_of(tried.last().unwrap());
    let next = block(head, Epoch(1), 200);

    let follows = disk.same_kernel();
    put(&follows, SEGMENT, HEAD_END, &frame(std::slice::from_ref(&next), Epoch(1)));
    let journal = open_without_witness(&follows).unwrap();
    assert_eq!(journal.head(), head_of(&next));
    assert!(journal.notices().iter().any(|notice| notice.starts_with("adopted")), "{:?}", journal.notices());

    let other_chain = block(Head { hash: Digest([7; 32]), ..head }, Epoch(1), 200);
    let gap = block(head_of(&next), Epoch(1), 200);
    let repeated = tried.last().unwrap().clone();
    for stray in [other_chain, gap, repeated] {
        let disk = disk.same_kernel();
        put(&disk, SEGMENT, HEAD_END, &frame(std::slice::from_ref(&stray), Epoch(1)));
        let damage = damage(open_without_witness(&disk));
        assert_eq!((damage.segment, damage.offset, damage.sequence), (1, HEAD_END, head.sequence.next()));
    }
}

#[test]
fn blocks_that_do_not_follow_each_other_within_a_frame_are_refused() {
    let (disk, tried) = three();
    let head = head_of(tried.last().unwrap());
    let first = block(head, Epoch(1), 200);
    let second = block(Head { hash: Digest([7; 32]), ..head_of(&first) }, Epoch(1), 200);
    put(&disk, SEGMENT, HEAD_END, &frame(&[first, second], Epoch(1)));
    assert!(damage(open_without_witness(&disk)).reason.contains("does not follow"));
}

#[test]
fn a_frame_of_a_writer_that_was_succeeded_is_refused() {
    let (disk, tried) = three();
    drop(open_without_witness(&disk).unwrap());
    let head = head_of(tried.last().unwrap());
    put(&disk, SEGMENT, HEAD_END, &frame(&[block(head, Epoch(1), 200)], Epoch(1)));
    assert!(damage(open_without_witness(&disk)).reason.contains("second writer"));
}

#[test]
fn a_whole_frame_behind_a_gap_is_never_zeroed() {
    let (disk, tried) = three();
    let next = block(head_of(tried.last().unwrap()), Epoch(1), 200);
    let lost = block(head_of(&next), Epoch(1), 200);
    drop(open_without_witness(&disk).unwrap());
    // Segment 2 is a spare.
    for (file, offset) in [("journal/00000002.seg", PAGE), ("journal/00000002.seg", 2 * PAGE)] {
        let disk = disk.same_kernel();
        put(&disk, file, offset, &frame(std::slice::from_ref(&lost), Epoch(2)));
        let damage = damage(open_without_witness(&disk));
        assert_eq!((damage.segment, damage.offset), (2, offset));
    }
    // Torn, and a whole frame behind it in the same segment of the head.
    let disk = SimDisk::new();
    let mut process = Process::new(&disk, plain, &[]);
    process.run(&[Step::Create, Step::Open, Step::Append(&[200])]).unwrap();
    process.journal = None;
    put(&disk, SEGMENT, FIRST_FRAME + PAGE, &[1]);
    put(&disk, SEGMENT, FIRST_FRAME + 2 * PAGE, &frame(&[lost], Epoch(1)));
    assert_eq!(damage(open_without_witness(&disk)).offset, FIRST_FRAME + 2 * PAGE);
}

#[test]
fn what_is_no_frame_beyond_the_anchor_is_zeroed_and_told() {
    let (disk, tried) = three();
    put(&disk, SEGMENT, HEAD_END + 700, &[1, 2, 3]);
    let spare = disk.files().keys().filter(|name| name.ends_with(".seg")).max().unwrap().clone();
    put(&disk, &spare, 9_000, &[4]);
    let journal = open_without_witness(&disk).unwrap();
    assert_eq!(journal.head(), head_of(tried.last().unwrap()));
    let told = journal.notices().join("\n");
    assert!(told.contains("zeroed") && told.contains("made anew"), "{told}");
    drop(journal);
    assert!(disk.files()[SEGMENT][usize::try_from(HEAD_END).unwrap()..].iter().all(|byte| *byte == 0));
    assert!(disk.files()[&spare].iter().all(|byte| *byte == 0));
}

#[test]
fn one_bad_slot_is_refused_unless_a_block_beyond_the_other_explains_it() {
    let (disk, tried) = three();
    let files = disk.files();
    let slot = |at: usize| Slot::decode(&files["journal/anchor"][at * page_usize()..][..SECTOR]).unwrap();
    let newest = usize::from(slot(1).age() > slot(0).age());
    for (bad, refused) in [(newest, false), (1 - newest, true)] {
        let disk = disk.same_kernel();
        put(&disk, "journal/anchor", bad as u64 * PAGE + 40, &[0xff]);
        match open_without_witness(&disk) {
            Err(OpenFault::Anchor(reason)) if refused => assert!(reason.contains(&format!("slot {bad}")), "{reason}"),
            Ok(journal) if !refused => {
                // The head was beyond the other slot: nothing is lost, and it is told.
                assert_eq!(journal.head(), head_of(tried.last().unwrap()));
                assert!(journal.notices().iter().any(|notice| notice.contains(&format!("slot {bad}"))));
            }
            other => panic!("slot {bad}: {other:?}"),
        }
    }
}

#[test]
fn slots_that_contradict_each_other_are_refused() {
    let (disk, _) = three();
    let files = disk.files();
    let slot = |at: usize| Slot::decode(&files["journal/anchor"][at * page_usize()..][..SECTOR]).unwrap();
    let (newest, older) = if slot(1).age() > slot(0).age() { (1, 0) } else { (0, 1) };
    let base = slot(older);
    let wrong = [
        Slot { hash: Digest([9; 32]), ..base },
        Slot { book: BookId::new(2).unwrap(), ..base },
        Slot { segment_bytes: base.segment_bytes * 2, ..base },
        Slot { end: Place { segment: 2, ..base.end }, ..base },
    ];
    for slot in wrong {
        let disk = disk.same_kernel();
        put(&disk, "journal/anchor", older as u64 * PAGE, &slot.encode());
        assert!(open_without_witness(&disk).is_err(), "{slot:?} beside slot {newest}");
    }
    // The newest slot names another block than the one that stands there.
    put(&disk, "journal/anchor", newest as u64 * PAGE, &Slot { hash: Digest([9; 32]), ..slot(newest) }.encode());
    assert!(damage(open_without_witness(&disk)).reason.contains("anchor names another block"));
}

#[test]
fn a_journal_of_another_book_is_refused() {
    let (disk, _) = three();
    let other = SegmentOptions { book: BookId::new(2).unwrap(), ..options() };
    let fault = open(&disk.folder("journal"), &other, Sequence::ZERO).unwrap_err();
    assert_eq!(fault, OpenFault::OtherBook { expected: BookId::new(2).unwrap(), found: BOOK });
}

#[test]
fn creating_refuses_what_may_be_somebodys_journal_and_clears_what_cannot_be() {
    let (disk, _) = three();
    let mut files = disk.files();
    files.remove("journal/anchor");
    let without_anchor = SimDisk::with_files(&files);
    let refused = create(&without_anchor.folder("journal"), &options());
    assert!(matches!(refused, Err(OpenFault::Exists(_))), "{refused:?}");
    let empty: std::collections::BTreeMap<String, Vec<u8>> =
        [("journal/00000001.seg".to_owned(), vec![0; 100]), ("journal/spare.new".to_owned(), vec![0; 5])].into();
    let interrupted = SimDisk::with_files(&empty);
    create(&interrupted.folder("journal"), &options()).unwrap();
    assert_eq!(open_without_witness(&interrupted).unwrap().head(), Head::default());
    let tiny = SegmentOptions { segment_bytes: 4096, ..options() };
    assert!(matches!(create(&SimDisk::new().folder("journal"), &tiny), Err(OpenFault::Options(_))));
}

#[test]
fn structures_read_as_they_were_written_and_no_flipped_bit_passes() {
    let place = Place { segment: 3, offset: 3 * PAGE };
    let slot = Slot {
        book: BOOK,
        end: place,
        segment_bytes: 16 * 1024,
        sequence: Sequence(77),
        epoch: Epoch(5),
        hash: Digest([1; 32]),
    };
    let header = SegmentHeader {
        book: BOOK,
        number: 3,
        segment_bytes: 16 * 1024,
        first_sequence: Sequence(70),
        previous: Digest([2; 32]),
    };
    assert_eq!((Slot::decode(&slot.encode()), SegmentHeader::decode(&header.encode())), (Ok(slot), Ok(header)));
    let frame = frame(&[block(Head::default(), Epoch(1), 500)], Epoch(1));
    assert!(FrameHeader::decode(&frame).is_ok() && FrameHeader::intact(&frame));
    let passes = |bytes: &[u8], check: &dyn Fn(&[u8]) -> bool| {
        let mut bytes = bytes.to_vec();
        (0..bytes.len() * 8)
            .filter(|bit| {
                bytes[bit / 8] ^= 1 << (bit % 8);
                let passes = check(&bytes);
                bytes[bit / 8] ^= 1 << (bit % 8);
                passes
            })
            .count()
    };
    assert_eq!(passes(&slot.encode(), &|bytes| Slot::decode(bytes).is_ok()), 0);
    assert_eq!(passes(&header.encode(), &|bytes| SegmentHeader::decode(bytes).is_ok()), 0);
    assert_eq!(passes(&frame, &FrameHeader::intact), 0);
    assert_eq!((segment_name(7).as_str(), segment_number("00000007.seg")), ("00000007.seg", Some(7)));
    for name in ["7.seg", "00000000.seg", "0000007.seg", "00000007.seg.old", "anchor", "+0000007.seg"] {
        assert_eq!(segment_number(name), None, "{name}");
    }
    assert_eq!(ANCHOR_BYTES, 8192);
}
