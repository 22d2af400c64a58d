//! The end of the journal's topic: which event was published last. It is read from the records themselves, so it can't be lost
//! or be older than they are.

use event_schemas::{BlockHash, BlockHeader, BookId, Sequence};
use rdkafka::Message as _;

use super::client::Reader;
use super::cloud_event::{block_of, header, text_of};
use super::error::KafkaFault;

/// What was published last: the end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Published {
    /// Its last event.
    pub(super) sequence: Sequence,
    /// Its hash, and so that of all before it.
    pub(super) hash: BlockHash,
}

impl From<&BlockHeader> for Published {
    fn from(block: &BlockHeader) -> Self {
        Self { sequence: block.last_sequence(), hash: block.hash() }
    }
}

/// How many offsets are looked at first, from the end back; each further look takes eight times as many.
const LOOK: i64 = 64;

fn diverged(sequence: Sequence, reason: String) -> KafkaFault {
    KafkaFault::Diverged { sequence, reason }
}

/// Finds what was published last. Only what is committed counts: call it when no transaction of the relay is open.
pub(super) fn last_published(reader: &Reader, topic: &str, book: BookId) -> Result<Published, KafkaFault> {
    let (low, high) = reader.bounds(topic, 0)?;
    let mut look = LOOK;
    let mut to = high;
    while to > low {
        let from = to.saturating_sub(look).max(low);
        let mut last = None;
        // At the end there may be marks of transactions, and records of some that were given up: then look further back.
        reader.visit(topic, 0, (from, to), |record| {
            last = Some((record.offset(), text_of(record, header::BLOCK).map(str::to_owned)));
            Ok(())
        })?;
        if let Some((offset, text)) = last {
            let block = text.as_deref().and_then(block_of).filter(|block| block.book == book).ok_or_else(|| {
                let reason =
                    format!("the record at offset {offset} of {topic} was not written by a relay of this book");
                diverged(Sequence::ZERO, reason)
            })?;
            return Ok(Published::from(&block));
        }
        to = from;
        look = look.saturating_mul(8);
    }
    if high > 0 && low > 0 {
        let reason =
            format!("the records of {topic} are gone (its first offset is {low}), and so is the relay's place");
        return Err(diverged(Sequence::ZERO, reason));
    }
    Ok(Published::default())
}
