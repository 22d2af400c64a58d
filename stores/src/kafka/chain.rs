//! Which records of the topic are the journal. A pure function over the records in their order, the same for everybody who
//! reads: this is the fence.
//!
//! 1. A **claim** counts if its epoch is above that of every claim that counted before it: from there on, it is the epoch.
//! 2. A **block** counts if it was written under the epoch and continues the chain (next sequence, hash of the block before).
//! 3. A record of a lower epoch is **void**: it came late. So is a claim that came second, a block that stands there already,
//!    and a record that no writer of journals has written.
//! 4. A block of the epoch that does not continue the chain is **damage**, and so is one of an epoch that nobody has claimed,
//!    and a record whose writer knew another topic than this one.
//!
//! So a claim is a barrier: once it is read back, nothing of a lower epoch can become part of the journal behind it, however
//! late it arrives. And a writer that knows all records before its block knows whether the block counts.
//!
//! **Starting anywhere.** Each record says up to which offset its writer had read, and what it found there. Whoever has read up
//! to there would have found the same; so reading can begin at any record with what that record's writer knew.

use event_schemas::{Block, BlockHash, BookId, Digest, Epoch, Sequence};
use serde::{Deserialize, Serialize};

use super::record::{Claim, Record};

/// What is known of a topic up to an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Point {
    /// The offset of the last record read; -1: none.
    pub(super) offset: i64,
    /// The epoch; zero before the first claim.
    pub(super) epoch: Epoch,
    /// The head: the last sequence of the newest block.
    pub(super) sequence: Sequence,
    /// Its hash.
    pub(super) hash: BlockHash,
    /// The offset of its record; -1: none.
    pub(super) head_offset: i64,
}

/// What a record turned out to be.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A claim that counts.
    Claimed(Claim),
    /// The next block.
    Extended(Block),
    /// Nothing of the journal.
    Void(Void),
}

/// Why a record is nothing of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Void {
    /// A claim that was not above the epoch: another writer was faster.
    LateClaim(Claim),
    /// A block of a writer that was overtaken.
    LateBlock(Epoch),
    /// A block that stands there already.
    Repeated,
    /// No record of a journal.
    Strange(&'static str),
}

impl std::fmt::Display for Void {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LateClaim(claim) => write!(f, "the claim of epoch {} by {} came too late", claim.epoch, claim.holder),
            Self::LateBlock(epoch) => write!(f, "it is of the writer of epoch {epoch}, which was overtaken"),
            Self::Repeated => f.write_str("its block stands there already"),
            Self::Strange(why) => f.write_str(why),
        }
    }
}

impl Point {
    /// Before the first record.
    pub(super) const START: Self =
        Self { offset: -1, epoch: Epoch(0), sequence: Sequence::ZERO, hash: Digest([0; 32]), head_offset: -1 };

    /// Takes the next record. On an error the topic is damaged, or of a newer release, and nothing is taken.
    pub(super) fn take(&mut self, book: BookId, offset: i64, record: Record) -> Result<Step, String> {
        if offset <= self.offset {
            return Err("it was read before".into());
        }
        let known = record.known();
        let step = match record {
            Record::Newer(format) => {
                return Err(format!("it is of format {format}, which this program does not know: use a newer release"));
            }
            Record::Strange(why) => Step::Void(Void::Strange(why)),
            Record::Claim(claim) if claim.book != book => {
                return Err(format!("it is a claim of book {}, this is the topic of book {book}", claim.book));
            }
            Record::Claim(claim) if claim.epoch <= self.epoch => Step::Void(Void::LateClaim(claim)),
            Record::Claim(claim) => {
                self.agrees(offset, known)?;
                self.epoch = claim.epoch;
                Step::Claimed(claim)
            }
            Record::Block { epoch, .. } if epoch < self.epoch => Step::Void(Void::LateBlock(epoch)),
            Record::Block { epoch, .. } if epoch > self.epoch => {
                return Err(format!("it is a block of epoch {epoch}, which nobody has claimed"));
            }
            Record::Block { block, .. } => {
                let block = block.map_err(|error| format!("it is a block of epoch {}, but {error}", self.epoch))?;
                if self.continues(book, &block)? {
                    self.agrees(offset, known)?;
                    self.sequence = block.header().last_sequence();
                    self.hash = block.hash();
                    self.head_offset = offset;
                    Step::Extended(block)
                } else {
                    Step::Void(Void::Repeated)
                }
            }
        };
        self.offset = offset;
        Ok(step)
    }

    /// Whether a block of the epoch is the next one; it may be one that is known.
    fn continues(&self, book: BookId, block: &Block) -> Result<bool, String> {
        let header = block.header();
        if header.book != book {
            return Err(format!("it is a block of book {}, this is the topic of book {book}", header.book));
        }
        if header.last_sequence() <= self.sequence {
            let other = header.last_sequence() == self.sequence && block.hash() != self.hash;
            return if other { Err(format!("it is another block for event {}", self.sequence)) } else { Ok(false) };
        }
        if header.first_sequence != self.sequence.next() || header.previous != self.hash {
            return Err(format!(
                "it is a block of events {} to {} of the writer of epoch {}, and does not continue the journal, which ends \
                 with event {}",
                header.first_sequence,
                header.last_sequence(),
                self.epoch,
                self.sequence
            ));
        }
        Ok(true)
    }

    /// Whether what the writer of a record knew is what stands here.
    fn agrees(&self, offset: i64, known: Option<Self>) -> Result<(), String> {
        let Some(known) = known else { return Ok(()) };
        if known.offset >= offset || (known.offset == self.offset && known != *self) {
            return Err(format!(
                "its writer had read up to offset {} and found event {} there: this topic is another, or has lost records",
                known.offset, known.sequence
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use event_schemas::block::BlockPlace;
    use event_schemas::event::BookOpened;
    use event_schemas::{BlockBuilder, Event, EventBody, PrincipalId, Timestamp};
    use proptest::prelude::*;

    use super::super::record::Outgoing;
    use super::*;

    const BOOK: BookId = BookId::FIRST;

    fn block(after: &Point, nonce: u128) -> Block {
        let mut builder = BlockBuilder::new();
        builder.push(&Event::engine(EventBody::BookOpened(BookOpened { book: BOOK, nonce: PrincipalId(nonce) })));
        builder.seal(BlockPlace {
            book: BOOK,
            first_sequence: after.sequence.next(),
            recorded_at: Timestamp(0),
            epoch: Epoch(1),
            previous: after.hash,
        })
    }

    /// As it would come back from the broker.
    fn sent(outgoing: &Outgoing) -> Record {
        let header =
            |name: &str| outgoing.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
        Record::read(header, &outgoing.value)
    }

    /// A writer as `journal.rs` has it: one record under way at a time, and nothing more of an epoch in which one was lost.
    #[derive(Debug, Clone)]
    enum Writer {
        /// It does nothing.
        Gone,
        /// It has claimed and has not read its claim yet; the block that it would send again.
        Claiming { known: Point, claim: Claim, again: Option<Block> },
        /// It is the writer as far as it knows.
        Writing { known: Point, epoch: Epoch },
        /// It waits for the answer to a block.
        Waiting { known: Point, epoch: Epoch, block: Block },
    }

    #[derive(Debug, Default)]
    struct Model {
        log: Vec<Record>,
        /// Sent, and may arrive at any time, more than once.
        in_flight: Vec<Record>,
        acknowledged: Vec<Block>,
        nonce: u128,
    }

    impl Model {
        fn claim(&mut self, known: Point, epoch: Epoch, arrives: bool) -> Claim {
            self.nonce += 1;
            let (writer, holder) = (self.nonce.to_string(), String::new());
            let claim = Claim { book: BOOK, epoch, writer, holder, known };
            self.send(sent(&Outgoing::of_claim(&claim).unwrap()), arrives);
            claim
        }

        fn send(&mut self, record: Record, arrives: bool) -> Option<i64> {
            self.in_flight.push(record.clone());
            arrives.then(|| {
                self.log.push(record);
                i64::try_from(self.log.len()).unwrap() - 1
            })
        }

        fn read_on(&self, known: &mut Point) -> Vec<Step> {
            let from = usize::try_from(known.offset + 1).unwrap();
            let records = self.log[from..].iter().zip(known.offset + 1..);
            records.map(|(record, offset)| known.take(BOOK, offset, record.clone()).unwrap()).collect()
        }

        /// One act of one writer, as `dice` say.
        fn act(&mut self, writer: Writer, dice: u8) -> Writer {
            let (arrives, lucky) = (dice & 1 == 0, dice & 2 == 0);
            match writer {
                Writer::Gone => {
                    let mut known = Point::START;
                    // Some claim without having read to the end.
                    for (record, offset) in
                        self.log.iter().take(self.log.len() - self.log.len().min(usize::from(dice >> 4) / 3)).zip(0..)
                    {
                        known.take(BOOK, offset, record.clone()).unwrap();
                    }
                    let claim = self.claim(known, Epoch(known.epoch.0 + 1), arrives);
                    Writer::Claiming { known, claim, again: None }
                }
                Writer::Claiming { mut known, claim, again } => {
                    let before = known.hash;
                    for (record, offset) in self.log.iter().zip(0..).skip(usize::try_from(known.offset + 1).unwrap()) {
                        match known.take(BOOK, offset, record.clone()).unwrap() {
                            Step::Claimed(found) if found.writer == claim.writer => {
                                let Some(block) = again else { return Writer::Writing { known, epoch: claim.epoch } };
                                if known.hash == block.hash() {
                                    self.acknowledged.push(block);
                                    return Writer::Writing { known, epoch: claim.epoch };
                                }
                                assert_eq!(known.hash, before, "somebody else wrote below its epoch");
                                return self.write(known, claim.epoch, block, arrives, lucky);
                            }
                            Step::Claimed(_) => return Writer::Gone,
                            Step::Extended(_) | Step::Void(_) => {}
                        }
                    }
                    if lucky {
                        // Its claim did not arrive as far as it can see: once more, the very same.
                        let record = sent(&Outgoing::of_claim(&claim).unwrap());
                        self.send(record, arrives);
                    }
                    Writer::Claiming { known, claim, again }
                }
                Writer::Writing { known, epoch } => {
                    self.nonce += 1;
                    let block = block(&known, self.nonce);
                    self.write(known, epoch, block, arrives, lucky)
                }
                Writer::Waiting { known, epoch, block } => {
                    // The answer never comes: a barrier first, then what became of it.
                    let claim = self.claim(known, Epoch(epoch.0 + 1), arrives);
                    Writer::Claiming { known, claim, again: Some(block) }
                }
            }
        }

        fn write(&mut self, mut known: Point, epoch: Epoch, block: Block, arrives: bool, answered: bool) -> Writer {
            let record = sent(&Outgoing::of_block(epoch, &known, &block));
            match self.send(record.clone(), arrives) {
                Some(offset) if answered && offset == known.offset + 1 => {
                    assert!(matches!(known.take(BOOK, offset, record), Ok(Step::Extended(_))));
                    self.acknowledged.push(block);
                    Writer::Writing { known, epoch }
                }
                Some(_) if answered => {
                    // Something stands between: it reads what.
                    let overtaken = self.read_on(&mut known).iter().any(|step| matches!(step, Step::Claimed(_)));
                    if overtaken {
                        return Writer::Gone;
                    }
                    assert_eq!(known.hash, block.hash());
                    self.acknowledged.push(block);
                    Writer::Writing { known, epoch }
                }
                Some(_) | None => Writer::Waiting { known, epoch, block },
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever writers do, whatever arrives late or twice: everybody reads the same journal from wherever they begin, and
        /// what was acknowledged is in it.
        #[test]
        fn all_readers_agree_and_nothing_acknowledged_is_void(acts in prop::collection::vec((0_u8..5, any::<u8>()), 1..120)) {
            let mut model = Model::default();
            let mut writers = vec![Writer::Gone; 3];
            for (who, dice) in acts {
                match who {
                    0..3 => {
                        let writer = std::mem::replace(&mut writers[usize::from(who)], Writer::Gone);
                        writers[usize::from(who)] = model.act(writer, dice);
                    }
                    // It is killed; what it has sent may still arrive.
                    3 if dice < 64 => writers[usize::from(dice) % 3] = Writer::Gone,
                    _ if model.in_flight.is_empty() => {}
                    _ => {
                        let late = model.in_flight[usize::from(dice) % model.in_flight.len()].clone();
                        model.log.push(late);
                    }
                }
            }
            let mut end = Point::START;
            let mut journal = Vec::new();
            for step in model.read_on(&mut end) {
                if let Step::Extended(block) = step {
                    journal.push(block);
                }
            }
            for block in &model.acknowledged {
                prop_assert!(journal.contains(block), "acknowledged, and not in the journal");
            }
            for record in &model.log {
                let mut from = record.known().unwrap();
                model.read_on(&mut from);
                prop_assert_eq!(from, end);
            }
        }
    }

    #[test]
    fn damage_is_told_from_what_came_late() {
        let claim = |epoch, known: Point| Claim {
            book: BOOK,
            epoch: Epoch(epoch),
            writer: epoch.to_string(),
            holder: "ada".into(),
            known,
        };
        let claimed = |epoch, known: Point| sent(&Outgoing::of_claim(&claim(epoch, known)).unwrap());
        let mut point = Point::START;
        assert!(matches!(point.take(BOOK, 0, claimed(5, Point::START)), Ok(Step::Claimed(_))));
        let (known, first) = (point, block(&point, 1));
        let written = |epoch, known: &Point, block: &Block| sent(&Outgoing::of_block(Epoch(epoch), known, block));
        assert!(matches!(point.take(BOOK, 1, written(5, &known, &first)), Ok(Step::Extended(_))));
        let (at, second) = (point, block(&point, 2));
        let void = |record: Record| match { at }.take(BOOK, 2, record) {
            Ok(Step::Void(void)) => void,
            other => panic!("{other:?}"),
        };
        assert_eq!(void(written(4, &at, &second)), Void::LateBlock(Epoch(4)));
        assert_eq!(void(written(5, &known, &first)), Void::Repeated);
        assert_eq!(void(claimed(5, Point::START)), Void::LateClaim(claim(5, Point::START)));
        assert!(matches!(void(Record::Strange("")), Void::Strange(_)));
        let damage = |record: Record| { at }.take(BOOK, 2, record).unwrap_err();
        for (record, text) in [
            (written(6, &at, &second), "nobody has claimed"),
            (written(5, &at, &block(&Point { sequence: Sequence(7), ..at }, 3)), "does not continue"),
            (written(5, &at, &block(&Point { hash: second.hash(), ..at }, 3)), "does not continue"),
            (written(5, &known, &block(&known, 9)), "another block"),
            (written(5, &Point { offset: 7, ..at }, &second), "lost records"),
            (written(5, &Point { head_offset: 0, ..at }, &second), "lost records"),
            (claimed(9, Point { offset: 1, ..Point::START }), "lost records"),
            (Record::Newer(2), "newer release"),
            (Record::Block { epoch: Epoch(5), known: 1, head: 1, block: Err("cut".into()) }, "but cut"),
        ] {
            let found = damage(record);
            assert!(found.contains(text), "{found}");
        }
        // An unreadable block of an overtaken writer harms nobody.
        let late = Record::Block { epoch: Epoch(3), known: 1, head: 1, block: Err("cut".into()) };
        assert_eq!(void(late), Void::LateBlock(Epoch(3)));
    }
}
