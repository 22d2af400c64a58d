//! The writer.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_schemas::{Block, BookId, Epoch};
use ledger_core::ports::{AppendError, Head, Journal, JournalFault, JournalReader};

use super::chain::{Point, Step, Void};
use super::client::{Sender, Tail, Trouble};
use super::known::Known;
use super::lease::{Keeper, wait_for_turn};
use super::reader::{KafkaReader, end, newest_offset, step};
use super::record::{Claim, Outgoing, Record};
use super::{KafkaFault, KafkaOptions, KafkaUrl, blocks_topic, topics};
use crate::memory::assert_follows;
use crate::watch::LeaseWatch;

const WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The journal of a book in Kafka, open for its one writer.
pub struct KafkaJournal {
    // Dropped first: the next writer need not wait, and all still stands.
    keeper: Option<Keeper>,
    watch: LeaseWatch,
    /// Made anew after each lost answer.
    sender: Option<Sender>,
    tail: Tail,
    options: KafkaOptions,
    /// Random bits by which it knows its own claims.
    writer: String,
    /// That of the first claim: what blocks are sealed with.
    epoch: Epoch,
    /// That of the newest claim: what records are written under.
    claimed: Epoch,
    /// What is known of the topic.
    point: Point,
    head: Head,
    known: Arc<Known>,
    stopped: Option<AppendError>,
}

impl std::fmt::Debug for KafkaJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { options, epoch, point, .. } = self;
        f.debug_struct("KafkaJournal")
            .field("book", &options.book)
            .field("epoch", epoch)
            .field("point", point)
            .finish_non_exhaustive()
    }
}

/// How a claim ended.
#[derive(Debug)]
enum Claimed {
    /// It counts.
    Ours,
    /// Another's counts.
    Theirs(Claim),
}

/// What was read on the way to a claim's return.
type Passed<'a> = &'a mut dyn FnMut(&Point, &Block);

/// Appends a claim above what is known, and reads until it comes back. It may be sent again: the second time it is void.
fn claim(
    tail: &mut Tail,
    sender: &mut Option<Sender>,
    options: &KafkaOptions,
    claim: &Claim,
    point: &mut Point,
    passed: Passed<'_>,
) -> Result<Claimed, KafkaFault> {
    let (until, mut pause) = (Instant::now() + options.resolve_within, PAUSE);
    let outgoing = Outgoing::of_claim(claim).map_err(|error| KafkaFault::Io(error.into()))?;
    loop {
        let sender = match sender {
            Some(sender) => sender,
            None => sender.insert(Sender::new(&options.url, tail.topic(), options.append_within)?),
        };
        // Whether or not it arrived: what counts is what is read.
        let sent = sender.send(&options.book.to_string(), &outgoing);
        let newest = match sent {
            Ok(offset) => Ok(newest_offset(tail)?.max(offset)),
            Err(trouble) => tail.watermarks(WITHIN).map(|(_, high)| high - 1).map_err(|_| trouble),
        };
        let trouble = match newest {
            Ok(newest) => {
                let returned = return_of(tail, options.book, claim, point, newest, passed)?;
                tail.rest();
                if let Some(claimed) = returned {
                    return Ok(claimed);
                }
                Trouble::Lost("a claim did not come back".into())
            }
            Err(trouble) => trouble,
        };
        if Instant::now() >= until {
            return Err(tail.fault(trouble));
        }
        tracing::warn!(?trouble, "a claim to the book is sent again");
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Reads up to the return of a claim, and not further.
fn return_of(
    tail: &mut Tail,
    book: BookId,
    claim: &Claim,
    point: &mut Point,
    newest: i64,
    passed: Passed<'_>,
) -> Result<Option<Claimed>, KafkaFault> {
    while let Some(step) = step(tail, book, point, newest)? {
        match step {
            Step::Claimed(found) if found.writer == claim.writer && found.epoch == claim.epoch => {
                return Ok(Some(Claimed::Ours));
            }
            Step::Claimed(found) => return Ok(Some(Claimed::Theirs(found))),
            Step::Extended(block) => passed(point, &block),
            Step::Void(Void::LateClaim(_) | Void::LateBlock(_) | Void::Repeated | Void::Strange(_)) => {}
        }
    }
    Ok(None)
}

/// Random bits, in hexadecimal.
fn random() -> String {
    let bits = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", bits(), bits())
}

impl KafkaJournal {
    /// Opens a book's journal for writing: checks the topics, waits for its turn, claims the book, reads the head. The topics must
    /// be there ([`make_topics`](super::make_topics)); an empty journal is one without blocks.
    pub fn open(options: &KafkaOptions) -> Result<Self, KafkaFault> {
        let topic = blocks_topic(&options.url, options.book);
        // Made first, because it takes a while until it may send.
        let mut sender = Some(Sender::new(&options.url, &topic, options.append_within)?);
        topics::check(&options.url, options.book, options.allow_unsafe_server)?;
        let (mut tail, mut point, writer) = (Tail::looking_up(&options.url, &topic), Point::START, random());
        let (epoch, head) = loop {
            wait_for_turn(options)?;
            point = end(&mut tail, options.book, point)?;
            let mut head = head_of(&mut tail, &point)?;
            let epoch = Epoch(point.epoch.max(head.epoch).0 + 1);
            let (holder, known) = (options.holder.clone(), point);
            let ours = Claim { book: options.book, epoch, writer: writer.clone(), holder, known };
            let mut passed = |_: &Point, block: &Block| head = head_at(block);
            match claim(&mut tail, &mut sender, options, &ours, &mut point, &mut passed)? {
                Claimed::Ours => break (epoch, head),
                Claimed::Theirs(found) if options.standby => {
                    tracing::info!(holder = %found.holder, epoch = found.epoch.0, "standing by: another writer was faster");
                    // It has its lease's time to say that it is there.
                    std::thread::sleep(options.lease_ttl);
                }
                Claimed::Theirs(found) => {
                    return Err(KafkaFault::Held { book: options.book, holder: found.holder, epoch: found.epoch });
                }
            }
        };
        if head.epoch >= epoch {
            return Err(KafkaFault::Damaged(format!("block {} is of a later epoch than its claim", head.sequence)));
        }
        let watch = LeaseWatch::default();
        let keeper = Keeper::start(options, epoch, &writer, watch.clone())?;
        tracing::info!(book = %options.book, epoch = epoch.0, head = head.sequence.0, "claimed the book");
        Ok(Self {
            keeper: Some(keeper),
            watch,
            sender,
            tail,
            options: options.clone(),
            writer,
            epoch,
            claimed: epoch,
            point,
            head,
            known: Arc::new(Known::at(point)),
            stopped: None,
        })
    }

    /// Tells whether another writer has taken over.
    pub fn watch(&self) -> LeaseWatch {
        self.watch.clone()
    }

    /// A reader in this process, which is woken by each append.
    pub fn kafka_reader(&self) -> KafkaReader {
        KafkaReader::new(&self.options.url, self.options.book, Arc::clone(&self.known), true)
    }

    /// Makes such readers for whoever asks, for as long as they are wanted.
    pub fn readers(&self) -> impl Fn() -> KafkaReader + Send + Sync + use<> {
        let (url, book, known) = (self.options.url.clone(), self.options.book, Arc::clone(&self.known));
        move || KafkaReader::new(&url, book, Arc::clone(&known), true)
    }

    /// The cluster.
    pub const fn url(&self) -> &KafkaUrl {
        &self.options.url
    }

    fn stop(&mut self, error: AppendError) -> AppendError {
        self.stopped = Some(error.clone());
        // It says no more that it is there: whoever stands by need not wait for somebody to end this process.
        self.keeper = None;
        error
    }

    fn fenced(&mut self, by: Epoch) -> AppendError {
        self.watch.lose(by);
        self.stop(AppendError::Fenced(by))
    }

    /// A block of this writer is durable and counts.
    fn grew(&mut self, block: &Block) {
        self.head = head_at(block);
        self.known.grew(self.point, block);
    }

    /// Sends one block, and ends when it is known what became of it.
    fn append_one(&mut self, block: &Block) -> Result<(), AppendError> {
        let until = Instant::now() + self.options.append_within + self.options.resolve_within;
        let key = self.options.book.to_string();
        loop {
            let outgoing = Outgoing::of_block(self.claimed, &self.point, block);
            let sent = match &self.sender {
                Some(sender) => sender.send(&key, &outgoing),
                None => Err(Trouble::Lost("there is no connection".into())),
            };
            match sent {
                Ok(offset) if offset == self.point.offset + 1 => {
                    let (epoch, known, head) = (self.claimed, self.point.offset, self.point.head_offset);
                    let record = Record::Block { epoch, known, head, block: Ok(block.clone()) };
                    return match self.point.take(self.options.book, offset, record) {
                        Ok(Step::Extended(_)) => {
                            self.grew(block);
                            Ok(())
                        }
                        other => {
                            let text = format!("a block at its place does not count: {other:?}");
                            Err(self.stop(AppendError::Unknown(text)))
                        }
                    };
                }
                Ok(offset) => {
                    tracing::info!(
                        offset,
                        known = self.point.offset,
                        "another record stands before the block: reading it"
                    );
                    match self.look(block) {
                        Ok(Some(done)) => return done,
                        Ok(None) => {
                            let text = "a block was taken, and does not stand in the topic";
                            return Err(self.stop(AppendError::Unknown(text.into())));
                        }
                        Err(fault) => return Err(self.stop(fault.into())),
                    }
                }
                Err(trouble) => {
                    tracing::warn!(?trouble, "the answer to an append was lost: looking for its outcome");
                    // What was sent may arrive for as long as it likes; what is sent after the claim is another's.
                    self.sender = None;
                    match self.barrier(block) {
                        Ok(Some(done)) => return done,
                        Ok(None) if Instant::now() >= until => {
                            return Err(self.stop(self.tail.fault(trouble).into()));
                        }
                        Ok(None) => {
                            tracing::info!(epoch = self.claimed.0, "the append did not take place: it is sent again");
                        }
                        Err(fault) => return Err(self.stop(fault.into())),
                    }
                }
            }
        }
    }

    /// Reads what stands up to the end of the topic. `Some`: the end of the append; `None`: its block is not there.
    fn look(&mut self, block: &Block) -> Result<Option<Result<(), AppendError>>, KafkaFault> {
        let newest = newest_offset(&mut self.tail)?;
        while let Some(step) = step(&mut self.tail, self.options.book, &mut self.point, newest)? {
            match step {
                Step::Claimed(found) => return Ok(Some(Err(self.fenced(found.epoch)))),
                Step::Extended(found) if found.hash() == block.hash() => {
                    self.grew(block);
                    return Ok(Some(Ok(())));
                }
                Step::Extended(found) => return Err(another_block(&found)),
                Step::Void(_) => {}
            }
        }
        Ok(None)
    }

    /// Claims the book anew, so that what was sent before stands before the claim or never counts. `Some`: the end of the append;
    /// `None`: its block did not arrive in time, and can be sent again.
    fn barrier(&mut self, block: &Block) -> Result<Option<Result<(), AppendError>>, KafkaFault> {
        let ours = Claim {
            book: self.options.book,
            epoch: Epoch(self.claimed.0 + 1),
            writer: self.writer.clone(),
            holder: self.options.holder.clone(),
            known: self.point,
        };
        let mut arrived = Vec::new();
        let mut passed = |_: &Point, found: &Block| arrived.push(found.clone());
        let claimed = claim(&mut self.tail, &mut self.sender, &self.options, &ours, &mut self.point, &mut passed)?;
        if let Some(other) = arrived.iter().find(|found| found.hash() != block.hash()) {
            return Err(another_block(other));
        }
        if let Claimed::Theirs(found) = claimed {
            return Ok(Some(Err(self.fenced(found.epoch))));
        }
        self.claimed = ours.epoch;
        if let Some(keeper) = &self.keeper {
            keeper.raise(ours.epoch);
        }
        if arrived.is_empty() {
            self.known.ends(self.point);
            return Ok(None);
        }
        self.grew(block);
        Ok(Some(Ok(())))
    }
}

fn another_block(found: &Block) -> KafkaFault {
    let last = found.header().last_sequence();
    KafkaFault::Damaged(format!("somebody else has written a block up to event {last} under this writer's epoch"))
}

fn head_at(block: &Block) -> Head {
    let header = block.header();
    Head { sequence: header.last_sequence(), hash: block.hash(), recorded_at: header.recorded_at, epoch: header.epoch }
}

/// The newest block up to a point.
fn head_of(tail: &mut Tail, point: &Point) -> Result<Head, KafkaFault> {
    if point.head_offset < 0 {
        return Ok(Head::default());
    }
    let wrong = || {
        let at = point.head_offset;
        KafkaFault::Damaged(format!(
            "the record of offset {at} is not the block that ends the journal with {}",
            point.sequence
        ))
    };
    let found = super::reader::patiently(tail, |tail| {
        tail.record(point.head_offset, WITHIN)?.ok_or_else(|| Trouble::Lost("the newest block did not come".into()))
    })?;
    let (offset, Record::Block { block: Ok(block), .. }) = found else { return Err(wrong()) };
    if offset != point.head_offset || block.hash() != point.hash {
        return Err(wrong());
    }
    Ok(head_at(&block))
}

impl Journal for KafkaJournal {
    fn head(&self) -> Head {
        self.head
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn secure_space(&mut self, _bytes: usize) -> Result<(), AppendError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        // Space is the cluster's affair; whether this is still the writer is known here, at no cost.
        match self.watch.lost_to() {
            Some(by) => Err(self.fenced(by)),
            None => Ok(()),
        }
    }

    fn append(&mut self, blocks: &[Block]) -> Result<(), AppendError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        assert_follows(self.options.book, self.head, blocks);
        // One after the other: a block whose predecessor did not arrive would be damage to whoever reads it.
        blocks.iter().try_for_each(|block| self.append_one(block))
    }

    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault> {
        Ok(Box::new(self.kafka_reader()))
    }
}
