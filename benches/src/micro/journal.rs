//! Appends on the real disk: `secure_space` and `append` with both syncs, blocks made beforehand. Beside them the disk's own
//! figure: 4 KiB written over zeros and synced, once.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use event_schemas::block::BlockPlace;
use event_schemas::event::BookOpened;
use event_schemas::{Block, BlockBuilder, BookId, Event, EventBody, PrincipalId, Sequence, Timestamp};
use hdrhistogram::Histogram;
use ledger_core::decide::{Context, decide};
use ledger_core::ports::{Head, Journal as _};
use ledger_core::state::State;
use stores::segments::{self, DiskStorage, SegmentJournal, SegmentOptions, Storage};

use super::Appended;
use crate::Ids;
use crate::booked::{AMPLE_MINOR, numbered, open, transfer};
use crate::spread::Spread;

/// Events of the blocks.
const SIZES: [usize; 3] = [1, 128, 8_192];

/// The events of so many transfers.
pub(super) fn events(count: usize) -> anyhow::Result<Vec<Event>> {
    const ACCOUNTS: u64 = 1_000;
    let mut state = State::new();
    let opened = BookOpened { book: BookId::FIRST, nonce: PrincipalId(0x5eed) };
    state.apply(&Event::engine(EventBody::BookOpened(opened)))?;
    let at = Context::at(Timestamp(1_795_168_800_000_000));
    for number in 0..ACCOUNTS {
        let command = numbered(number, open(number, AMPLE_MINOR));
        for event in decide(&state, at, &command).events(&command) {
            state.apply(&event)?;
        }
    }
    let mut events = Vec::with_capacity(count);
    for number in 0..count as u64 {
        let command = transfer(number, ACCOUNTS, Ids::Random);
        for event in decide(&state, at, &command).events(&command) {
            state.apply(&event)?;
            ensure!(matches!(event.body, EventBody::EntryPosted(_)), "a transfer was refused");
            events.push(event);
        }
    }
    Ok(events)
}

/// What is appended, and how long it took in the round and in all rounds.
struct Course {
    events: usize,
    bytes_per_append: f64,
    rounds: Vec<f64>,
    latencies_ns: Histogram<u64>,
}

impl Course {
    fn new(events: usize, bytes_per_append: f64) -> anyhow::Result<Self> {
        Ok(Self { events, bytes_per_append, rounds: Vec::new(), latencies_ns: Histogram::new(3)? })
    }

    /// Repeats something that tells how long it took, until that adds up to a time.
    fn round(&mut self, time: Duration, mut once: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<()> {
        let (mut spent, mut count) = (Duration::ZERO, 0_u64);
        while spent < time {
            let took = once()?;
            self.latencies_ns.record(u64::try_from(took.as_nanos())?)?;
            spent += took;
            count += 1;
        }
        self.rounds.push(count as f64 / spent.as_secs_f64());
        Ok(())
    }

    fn told(self) -> Appended {
        let appends_per_second = Spread::of(self.rounds);
        let us = |part: f64| self.latencies_ns.value_at_quantile(part) as f64 / 1_000.0;
        Appended {
            events: self.events as u64,
            events_per_second: appends_per_second.median * self.events as f64,
            megabytes_per_second: appends_per_second.median * self.bytes_per_append / 1e6,
            p50_us: us(0.5),
            p99_us: us(0.99),
            p100_us: self.latencies_ns.max() as f64 / 1_000.0,
            appends_per_second,
        }
    }
}

pub(super) fn measure(rounds: usize, time: Duration, dir: &Path) -> anyhow::Result<Vec<Appended>> {
    let folder = tempfile::Builder::new().prefix("bench-journal-").tempdir_in(dir)?;
    let disk = zeros(&folder.path().join("zeros"))?;
    let data = folder.path().join("journal");
    std::fs::create_dir(&data)?;
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(&data));
    let options = SegmentOptions::new(BookId::FIRST);
    segments::create(&storage, &options)?;
    let mut journal = segments::open(&storage, &options, Sequence::ZERO)?;

    let events = events(SIZES.into_iter().max().unwrap_or(1))?;
    let mut of_disk = Course::new(0, 4096.0)?;
    let mut courses = Vec::new();
    for size in SIZES {
        let block = next_block(journal.head(), &journal, events.get(..size).unwrap_or(&events));
        courses.push(Course::new(size, block.bytes().len() as f64)?);
    }
    let mut written = 0_u64;
    for _ in 0..rounds {
        of_disk.round(time, || {
            let page = [written as u8 | 1; 4096];
            let began = Instant::now();
            disk.write_all_at(&page, written % ZERO_PAGES * 4096)?;
            disk.sync_data()?;
            written += 1;
            Ok(began.elapsed())
        })?;
        for course in &mut courses {
            let events = events.get(..course.events).unwrap_or(&events);
            course.round(time, || {
                let block = next_block(journal.head(), &journal, events);
                let began = Instant::now();
                journal.secure_space(block.bytes().len())?;
                journal.append(std::slice::from_ref(&block))?;
                Ok(began.elapsed())
            })?;
        }
    }
    let head = journal.head().sequence;
    drop(journal);
    let again = segments::open(&storage, &options, head)?.head().sequence;
    ensure!(again == head, "the journal ends at {again}, not at {head}");
    Ok([of_disk].into_iter().chain(courses).map(Course::told).collect())
}

/// A block that can follow the head.
fn next_block(head: Head, journal: &SegmentJournal, events: &[Event]) -> Block {
    let mut builder = BlockBuilder::new();
    for event in events {
        builder.push(event);
    }
    builder.seal(BlockPlace {
        book: BookId::FIRST,
        first_sequence: head.sequence.next(),
        recorded_at: head.recorded_at.max(Timestamp(1)),
        epoch: journal.epoch(),
        previous: head.hash,
    })
}

const ZERO_PAGES: u64 = 16_384;

/// A file of zeros that are on the disk, as the journal's segments are.
fn zeros(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create_new(true).write(true).open(path)?;
    let chunk = vec![0; 1 << 20];
    for place in 0..(ZERO_PAGES * 4096) >> 20 {
        file.write_all_at(&chunk, place << 20)?;
    }
    file.sync_all()?;
    Ok(file)
}
