//! Readers that follow a writer block by block.

use super::*;

/// Fixed: whoever entered a segment read ahead of its header, and so kept the zeros that stood there before the second frame.
#[test]
fn a_reader_follows_its_writer_from_segment_to_segment() {
    let disk = SimDisk::default();
    let storage = disk.folder("journal");
    create(&storage, &options()).unwrap();
    let mut journal = open(&storage, &options(), Sequence::ZERO).unwrap();
    let mut beside = journal.segment_reader();
    let mut late = journal.segment_reader();
    for number in 1..=20 {
        // A frame of one page, three to a segment.
        let appended = block(journal.head(), journal.epoch(), 300);
        journal.secure_space(appended.bytes().len()).unwrap();
        journal.append(std::slice::from_ref(&appended)).unwrap();
        assert_eq!(beside.next_block().unwrap(), Some(appended), "block {number}");
        assert_eq!(beside.next_block().unwrap(), None);
        // One that enters a segment with more than its first frame there.
        if number % 7 == 0 {
            let read = std::iter::from_fn(|| late.next_block().unwrap());
            assert_eq!(read.last().unwrap().header().last_sequence(), journal.head().sequence);
        }
    }
    assert!(storage.list().unwrap().len() > 6, "several segments were filled");
}
