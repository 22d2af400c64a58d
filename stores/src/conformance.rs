//! The contract of a journal, as functions that any adapter runs: one suite, so that stores differ in where they keep
//! blocks and in nothing else.
//!
//! It feeds [`recorded_blocks`], whose cuts, times and epochs are fixed, and expects what is read back to have the same
//! hashes. Each function panics where the contract is broken; [`check_all`] runs them all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use event_schemas::block::BlockPlace;
use event_schemas::event::{BookOpened, EntryPosted};
use event_schemas::{
    AccountId, Block, BlockBuilder, BlockHash, BookId, Cause, CivilDate, CommandId, Currency, EntryKind, Epoch, Event,
    EventBody, Money, Posting, PrincipalId, Sequence, Timestamp,
};
use ledger_core::ports::{Head, Journal, JournalReader};
use projections::ports::EventFeed;

/// Makes journals of book 1, as the suite needs them.
pub trait JournalMaker {
    /// The adapter.
    type Journal: Journal;

    /// An empty journal, apart from all others.
    fn fresh(&mut self) -> Self::Journal;

    /// Closes the journal made last and opens it again, as a new start of the process would.
    fn reopen(&mut self, journal: Self::Journal) -> Self::Journal;

    /// A feed of the journal made last.
    fn feed(&mut self, journal: &Self::Journal) -> Box<dyn EventFeed>;
}

const BOOK: BookId = BookId::FIRST;

/// The hash of the last of the [`recorded_blocks`]. Blocks with other bytes would be another format.
pub const RECORDED_HASH: &str = "0beb8fe2c443ec1c5107be8e50205565951936f61ad05c437a26fb241f800f3d";

fn entry(number: u64, reference: &str, currency: Currency) -> Event {
    let money = Money { amount_minor: i128::from(number) * 100 + 1, currency };
    let debit = Posting::debit(AccountId(u128::from(number) << 64 | 1), money);
    let credit = Posting::credit(AccountId(u128::from(number) << 64 | 2), money);
    Event {
        cause: Cause::Verdict {
            command: CommandId(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            actor: PrincipalId(7),
        },
        body: EventBody::EntryPosted(EntryPosted {
            kind: EntryKind::General,
            fee_rule: None,
            at_most_minor: None,
            effective_on: CivilDate::from_days(20_000).unwrap_or(CivilDate::MIN),
            effective_on_named: number.is_multiple_of(2),
            reference: reference.into(),
            postings: [debit, credit].into_iter().collect(),
        }),
    }
}

/// A short history: blocks of one event and of thousands, cut at odd places, with times that stand still and jump and
/// epochs that rise. The same bytes every time.
pub fn recorded_blocks() -> Vec<Block> {
    // Events of the block, microseconds since the one before, epoch.
    const CUTS: [(u64, i64, u64); 12] = [
        (1, 0, 1),
        (1, 0, 1),
        (3, 1, 1),
        (40, 1_000_000, 1),
        (7, 0, 1),
        (1, 86_400_000_000, 2),
        (2_500, 17, 2),
        (1, 1, 2),
        (190, 3_600_000_000, 4),
        (5_000, 5, 4),
        (2, 0, 4),
        (64, 31_536_000_000_000, 9),
    ];
    let currency = Currency::from_parts(*b"EUR", 2);
    let mut builder = BlockBuilder::new();
    let (mut next, mut time, mut previous) = (1, 1_700_000_000_000_000, BlockHash::default());
    let mut blocks = Vec::new();
    for (count, later_us, epoch) in CUTS {
        let first_sequence = Sequence(next);
        for number in next..next + count {
            let event = match currency {
                Some(currency) if number > 1 => {
                    // Of different lengths, so that block ends fall anywhere in a page.
                    let length = usize::try_from(number * 37 % 101).unwrap_or(0);
                    entry(number, &"reference ".repeat(11)[..length], currency)
                }
                _ => Event::engine(EventBody::BookOpened(BookOpened { book: BOOK, nonce: PrincipalId(0x1234_5678) })),
            };
            builder.push(&event);
        }
        next += count;
        time += later_us;
        let recorded_at = Timestamp(time);
        let block = builder.seal(BlockPlace { book: BOOK, first_sequence, recorded_at, epoch: Epoch(epoch), previous });
        previous = block.hash();
        blocks.push(block);
    }
    blocks
}

/// Runs the whole suite.
pub fn check_all(maker: &mut impl JournalMaker) {
    starts_empty(maker);
    keeps_what_is_appended(maker);
    keeps_it_whatever_the_grouping(maker);
    finds_the_block_of_every_sequence(maker);
    shows_appends_to_open_readers(maker);
    feeds_events(maker);
    secures_space(maker);
    refuses_what_does_not_follow(maker);
    survives_reopening(maker);
}

/// The head that these blocks make.
fn head_of(blocks: &[Block]) -> Head {
    blocks.last().map_or_else(Head::default, |block| Head {
        sequence: block.header().last_sequence(),
        hash: block.hash(),
        recorded_at: block.header().recorded_at,
        epoch: block.header().epoch,
    })
}

fn append(journal: &mut dyn Journal, blocks: &[Block]) {
    let bytes = blocks.iter().map(|block| block.bytes().len()).sum();
    assert_eq!(journal.secure_space(bytes), Ok(()), "space for {bytes} bytes");
    assert_eq!(journal.append(blocks), Ok(()), "an append that follows the head");
}

fn reader(journal: &dyn Journal) -> Box<dyn JournalReader> {
    match journal.reader() {
        Ok(reader) => reader,
        Err(fault) => panic!("a reader: {fault}"),
    }
}

fn read_all(reader: &mut dyn JournalReader) -> Vec<Block> {
    let mut blocks = Vec::new();
    loop {
        match reader.next_block() {
            Ok(Some(block)) => blocks.push(block),
            Ok(None) => return blocks,
            Err(fault) => panic!("reading on behind {} blocks: {fault}", blocks.len()),
        }
    }
}

fn block_at(reader: &mut dyn JournalReader, sequence: Sequence) -> Option<Block> {
    match reader.block_at(sequence) {
        Ok(block) => block,
        Err(fault) => panic!("the block of sequence {sequence}: {fault}"),
    }
}

fn assert_holds(journal: &dyn Journal, blocks: &[Block]) {
    assert_eq!(journal.head(), head_of(blocks), "the head");
    let read = read_all(reader(journal).as_mut());
    let hashes = |blocks: &[Block]| blocks.iter().map(Block::hash).collect::<Vec<_>>();
    assert_eq!(hashes(&read), hashes(blocks), "the hashes of the blocks read back");
    assert!(read == blocks, "the bytes of the blocks read back");
}

/// A fresh journal has no head and no block.
pub fn starts_empty(maker: &mut impl JournalMaker) {
    let journal = maker.fresh();
    assert_eq!(journal.head().sequence, Sequence::ZERO);
    assert_eq!(journal.head().hash, BlockHash::default());
    assert!(journal.epoch() > Epoch(0), "an epoch above that of no block");
    let mut reader = reader(&journal);
    assert_eq!(block_at(reader.as_mut(), Sequence(1)), None);
    assert_eq!(block_at(reader.as_mut(), Sequence::ZERO), None);
    assert_eq!(read_all(reader.as_mut()), []);
}

/// Blocks appended one by one are read back with the same bytes and hashes.
pub fn keeps_what_is_appended(maker: &mut impl JournalMaker) {
    let blocks = recorded_blocks();
    assert_eq!(head_of(&blocks).hash.to_string(), RECORDED_HASH, "the recorded blocks are always the same");
    let mut journal = maker.fresh();
    for (count, block) in blocks.iter().enumerate() {
        append(&mut journal, std::slice::from_ref(block));
        assert_eq!(journal.head(), head_of(blocks.get(..=count).unwrap_or_default()));
    }
    assert_holds(&journal, &blocks);
}

/// How blocks are grouped into appends leaves no trace; appending none changes nothing.
pub fn keeps_it_whatever_the_grouping(maker: &mut impl JournalMaker) {
    let blocks = recorded_blocks();
    for group in [2, 5, blocks.len()] {
        let mut journal = maker.fresh();
        for several in blocks.chunks(group) {
            append(&mut journal, several);
            append(&mut journal, &[]);
        }
        assert_holds(&journal, &blocks);
    }
}

/// `block_at` finds the block of its first, its last and each sequence between, and reading goes on behind it.
pub fn finds_the_block_of_every_sequence(maker: &mut impl JournalMaker) {
    let blocks = recorded_blocks();
    let mut journal = maker.fresh();
    append(&mut journal, &blocks);
    let mut reader = reader(&journal);
    for (at, block) in blocks.iter().enumerate().rev() {
        let (first, last) = (block.header().first_sequence.0, block.header().last_sequence().0);
        let step = usize::try_from((last - first) / 50 + 1).unwrap_or(1);
        for sequence in (first..=last).step_by(step).chain([last]) {
            let found = block_at(reader.as_mut(), Sequence(sequence)).map(|block| block.hash());
            assert_eq!(found, Some(block.hash()), "the block of sequence {sequence}");
        }
        let behind = read_all(reader.as_mut());
        assert!(behind == blocks.get(at + 1..).unwrap_or_default(), "what stands behind sequence {last}");
    }
    let head = journal.head().sequence;
    assert_eq!(block_at(reader.as_mut(), head.next()), None, "above the head");
    assert_eq!(block_at(reader.as_mut(), Sequence(u64::MAX)), None, "far above the head");
}

/// A reader at the head sees what is appended later; readers don't disturb one another.
pub fn shows_appends_to_open_readers(maker: &mut impl JournalMaker) {
    let blocks = recorded_blocks();
    let mut journal = maker.fresh();
    let mut tail = reader(&journal);
    let mut late = None;
    for (at, block) in blocks.iter().enumerate() {
        assert_eq!(tail.next_block(), Ok(None), "at the head");
        append(&mut journal, std::slice::from_ref(block));
        assert!(tail.next_block().as_ref() == Ok(&Some(block.clone())), "block {at}, read behind the writer");
        if at == 4 {
            late = Some(reader(&journal));
        }
    }
    assert_eq!(tail.next_block(), Ok(None), "at the head");
    let mut late = late.unwrap_or_else(|| reader(&journal));
    assert!(read_all(late.as_mut()) == blocks, "read from the start by a reader opened in the middle");

    // The same with the reader on a thread of its own.
    let mut journal = maker.fresh();
    let mut tail = reader(&journal);
    let expected = blocks.len();
    let read = std::thread::spawn(move || {
        let mut read = Vec::new();
        while read.len() < expected {
            match tail.next_block() {
                Ok(Some(block)) => read.push(block),
                Ok(None) => std::thread::yield_now(),
                Err(fault) => panic!("reading while appending: {fault}"),
            }
        }
        read
    });
    for several in blocks.chunks(2) {
        append(&mut journal, several);
    }
    match read.join() {
        Ok(read) => assert!(read == blocks, "read while appending"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A feed gives the block behind a sequence, waits for one that is not there yet, and can be asked for any place again.
pub fn feeds_events(maker: &mut impl JournalMaker) {
    let blocks = recorded_blocks();
    let mut journal = maker.fresh();
    let mut feed = maker.feed(&journal);
    let soon = std::time::Duration::from_millis(5);
    assert_eq!(feed.next_block(Sequence::ZERO, soon), Ok(None), "an empty journal");
    let expected = blocks.clone();
    let read = std::thread::spawn(move || {
        let wait = std::time::Duration::from_mins(2);
        let mut after = Sequence::ZERO;
        for block in &expected {
            let read = feed.next_block(after, wait);
            assert!(read.as_ref() == Ok(&Some(block.clone())), "the block behind sequence {after}");
            after = block.header().last_sequence();
        }
        // From the start again, and from inside a block.
        assert!(feed.next_block(Sequence::ZERO, soon).as_ref() == Ok(&expected.first().cloned()));
        if let Some(block) = expected.iter().find(|block| block.header().count > 2) {
            let inside = block.header().first_sequence;
            assert!(feed.next_block(inside, soon).as_ref() == Ok(&Some(block.clone())), "inside a block");
        }
        assert_eq!(feed.next_block(after, soon), Ok(None), "at the head");
    });
    for block in &blocks {
        append(&mut journal, std::slice::from_ref(block));
    }
    if let Err(panic) = read.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Space can be secured again and again, for more than a segment holds or nothing, and changes no block.
pub fn secures_space(maker: &mut impl JournalMaker) {
    let blocks = recorded_blocks();
    let mut journal = maker.fresh();
    for block in &blocks {
        for bytes in [0, 1, event_schemas::bounds::BLOCK_MAX_BYTES, block.bytes().len()] {
            assert_eq!(journal.secure_space(bytes), Ok(()), "space for {bytes} bytes");
        }
        append(&mut journal, std::slice::from_ref(block));
    }
    assert_holds(&journal, &blocks);
}

/// A block that does not follow the head is a bug of the writer: refused, by panic or by error, and nothing is kept of it.
pub fn refuses_what_does_not_follow(maker: &mut impl JournalMaker) {
    let blocks = recorded_blocks();
    let [first, second, third, ..] = blocks.as_slice() else { panic!("three recorded blocks") };
    let place = |block: &Block| BlockPlace {
        book: BOOK,
        first_sequence: block.header().first_sequence,
        recorded_at: block.header().recorded_at,
        epoch: block.header().epoch,
        previous: block.header().previous,
    };
    let made = |place| {
        let mut builder = BlockBuilder::new();
        builder.push(&Event::engine(EventBody::BookOpened(BookOpened { book: BOOK, nonce: PrincipalId(1) })));
        builder.seal(place)
    };
    let wrong: [(&str, Vec<Block>); 6] = [
        ("a block again", vec![first.clone()]),
        ("a gap", vec![third.clone()]),
        ("a group out of order", vec![third.clone(), second.clone()]),
        ("another block before it", vec![made(BlockPlace { previous: BlockHash::default(), ..place(second) })]),
        ("another book", vec![made(BlockPlace { book: BookId::new(2).unwrap_or(BOOK), ..place(second) })]),
        ("a group that breaks in its middle", vec![second.clone(), first.clone()]),
    ];
    for (what, blocks) in wrong {
        let mut journal = maker.fresh();
        append(&mut journal, std::slice::from_ref(first));
        let outcome = catch_unwind(AssertUnwindSafe(|| journal.append(&blocks)));
        assert!(!matches!(outcome, Ok(Ok(()))), "{what} was taken");
        let journal = maker.reopen(journal);
        assert_holds(&journal, std::slice::from_ref(first));
    }
}

/// What was appended is there after each reopening, the epoch rises, and appending goes on.
pub fn survives_reopening(maker: &mut impl JournalMaker) {
    let blocks = recorded_blocks();
    let mut journal = maker.fresh();
    for (at, several) in blocks.chunks(5).enumerate() {
        let epoch = journal.epoch();
        journal = maker.reopen(journal);
        assert!(journal.epoch() > epoch, "the epoch of opening {at}");
        assert!(journal.epoch() > journal.head().epoch, "an epoch above that of every block");
        assert_holds(&journal, blocks.get(..at * 5).unwrap_or_default());
        append(&mut journal, several);
    }
    journal = maker.reopen(journal);
    assert_holds(&journal, &blocks);
}
