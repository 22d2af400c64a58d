//! One session of a relay: from looking for its place to the first fault.

use std::time::Duration;

use event_schemas::{Block, Sequence};

use super::publisher::Publisher;
use super::{RelayParts, RelayState, Shared};
use crate::kafka::admin::check_topics;
use crate::kafka::client::Reader;
use crate::kafka::error::KafkaFault;
use crate::kafka::journal_topic::{Published, last_published};

/// How long one wait for a block lasts at most; the stop flag is looked at in between.
const WAIT: Duration = Duration::from_millis(100);

/// The number of bytes of values from which on a transaction is closed. A block is never cut: it has at most some ten megabytes
/// of JSON.
const TRANSACTION_FULL_BYTES: usize = 4 * 1024 * 1024;

/// The number of records from which on a transaction is closed.
const TRANSACTION_FULL_RECORDS: u64 = 20_000;

pub(super) struct Session<'a> {
    parts: &'a mut RelayParts,
    shared: &'a Shared,
    publisher: Publisher,
    published: Published,
}

impl<'a> Session<'a> {
    /// Fences whoever was there before, finds what was published last, and compares it with the journal.
    pub(super) fn open(parts: &'a mut RelayParts, shared: &'a Shared) -> Result<Self, KafkaFault> {
        check_topics(&parts.settings, parts.book)?;
        let publisher = Publisher::open(&parts.settings, parts.book, &|| shared.stopping())?;
        let topic = parts.settings.journal_topic(parts.book);
        let published = last_published(&Reader::new(&parts.settings)?, &topic, parts.book)?;
        compare(parts, published)?;
        shared.update(|status| {
            status.position = published.sequence;
            status.state = RelayState::Publishing;
        });
        tracing::info!(sequence = %published.sequence, %topic, "the relay to Kafka goes on");
        Ok(Self { parts, shared, publisher, published })
    }

    /// Publishes until it is told to end.
    pub(super) fn run(&mut self) -> Result<(), KafkaFault> {
        while !self.shared.stopping() {
            if let Some(first) = next(self.parts, self.published.sequence, WAIT)? {
                self.transaction(first)?;
            }
        }
        Ok(())
    }

    /// Publishes whole blocks: the one at hand and those that are there already, up to a bound.
    fn transaction(&mut self, first: Block) -> Result<(), KafkaFault> {
        let mut published = self.published;
        let mut next_block = Some(first);
        self.publisher.begin()?;
        while let Some(block) = next_block {
            follows(&block, published)?;
            self.publisher.publish(&block, &|| self.shared.stopping())?;
            published = Published::from(block.header());
            let (bytes, records) = self.publisher.open_size();
            let full = bytes >= TRANSACTION_FULL_BYTES || records >= TRANSACTION_FULL_RECORDS;
            next_block = if full { None } else { next(self.parts, published.sequence, Duration::ZERO)? };
        }
        let records = self.publisher.commit(&|| self.shared.stopping())?;
        self.published = published;
        self.shared.update(|status| {
            status.position = published.sequence;
            status.records_total += records;
            status.transactions_total += 1;
        });
        Ok(())
    }
}

fn next(parts: &mut RelayParts, after: Sequence, wait: Duration) -> Result<Option<Block>, KafkaFault> {
    parts.feed.next_block(after, wait).map_err(|fault| KafkaFault::Journal(fault.to_string()))
}

/// Whether a block follows what was published: by its place, and by its hash.
fn follows(block: &Block, published: Published) -> Result<(), KafkaFault> {
    let header = block.header();
    let sequence = published.sequence.next();
    if header.first_sequence != sequence {
        let reason = format!("the block that comes next begins with event {}", header.first_sequence);
        return Err(KafkaFault::Diverged { sequence, reason });
    }
    if header.previous != published.hash {
        let reason = "the journal goes on behind another block than the one that was published".to_owned();
        return Err(KafkaFault::Diverged { sequence, reason });
    }
    Ok(())
}

/// What was published last must be in the journal, by number and by hash. A journal that was put back from an older copy is
/// shorter; that of another installation has other hashes.
fn compare(parts: &mut RelayParts, published: Published) -> Result<(), KafkaFault> {
    let sequence = published.sequence;
    let Some(before) = sequence.0.checked_sub(1) else { return Ok(()) };
    let diverged = |reason: String| Err(KafkaFault::Diverged { sequence, reason });
    let head = (parts.head)();
    if head < sequence {
        return diverged(format!("it is in Kafka, and the journal ends at {head}"));
    }
    match next(parts, Sequence(before), WAIT)? {
        Some(block) if Published::from(block.header()) == published => Ok(()),
        Some(_) => diverged("Kafka has another event there than the journal".to_owned()),
        None => diverged("the journal does not give it out".to_owned()),
    }
}
