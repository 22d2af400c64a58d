//! Records of a journal's topic: what is written of a block and of a claim, and read again.
//!
//! ```text
//! key      the book's number
//! headers  format   1
//!          kind     block | claim
//!          epoch    under which claim it was written
//!          known    the offset up to which its writer had read when it wrote this; -1: nothing
//!          head     the offset of the newest block then; -1: none
//!          first, last, hash   of a block, for tools
//! value    of a block its canonical bytes, of a claim JSON
//! ```
//!
//! Headers are texts, so that any tool shows them.

use event_schemas::{Block, BlockError, BlockHash, BookId, Epoch, Sequence};
use serde::{Deserialize, Serialize};

use super::chain::Point;

const FORMAT: u32 = 1;

/// The longest name of a writer that is kept, in bytes.
const HOLDER_MAX_BYTES: usize = 200;

/// One record.
#[derive(Debug, Clone)]
pub(super) enum Record {
    /// A block, under the claim of its writer.
    Block {
        /// The epoch of the claim.
        epoch: Epoch,
        /// Up to where the writer had read.
        known: i64,
        /// Where the newest block was then.
        head: i64,
        /// The block; why it can't be read.
        block: Result<Block, String>,
    },
    /// A claim to be the one writer.
    Claim(Claim),
    /// Of a newer release.
    Newer(u32),
    /// Nothing that a writer of journals writes, and why.
    Strange(&'static str),
}

/// A claim: who wrote it is the one writer, unless somebody else claimed as much before it in the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// The book.
    pub(super) book: BookId,
    /// The epoch that it opens.
    pub(super) epoch: Epoch,
    /// Random bits by which a writer knows its own, in hexadecimal.
    pub(super) writer: String,
    /// The writer's name, for people.
    pub(super) holder: String,
    /// What the writer knew of the topic.
    pub(super) known: Point,
}

/// What is sent of a record.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) value: Vec<u8>,
}

impl Outgoing {
    pub(super) fn of_block(epoch: Epoch, known: &Point, block: &Block) -> Self {
        let mut headers = common("block", epoch, known);
        headers.push(("first", block.header().first_sequence.to_string()));
        headers.push(("last", block.header().last_sequence().to_string()));
        headers.push(("hash", block.hash().to_string()));
        Self { headers, value: block.bytes().to_vec() }
    }

    pub(super) fn of_claim(claim: &Claim) -> Result<Self, serde_json::Error> {
        let mut claim = claim.clone();
        claim.holder = claim.holder.chars().filter(|character| !character.is_control()).collect();
        let mut end = claim.holder.len().min(HOLDER_MAX_BYTES);
        while !claim.holder.is_char_boundary(end) {
            end -= 1;
        }
        claim.holder.truncate(end);
        let value = serde_json::to_vec(&claim)?;
        Ok(Self { headers: common("claim", claim.epoch, &claim.known), value })
    }
}

fn common(kind: &'static str, epoch: Epoch, known: &Point) -> Vec<(&'static str, String)> {
    vec![
        ("format", FORMAT.to_string()),
        ("kind", kind.into()),
        ("epoch", epoch.0.to_string()),
        ("known", known.offset.to_string()),
        ("head", known.head_offset.to_string()),
    ]
}

impl Record {
    /// Reads a record from its headers and its value.
    pub(super) fn read<'a>(header: impl Fn(&str) -> Option<&'a [u8]>, value: &[u8]) -> Self {
        let text = |name: &str| header(name).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let Some(kind) = text("kind") else { return Self::Strange("it has no kind") };
        match text("format").and_then(|format| format.parse::<u32>().ok()) {
            Some(FORMAT) => {}
            Some(format) if format > FORMAT => return Self::Newer(format),
            Some(_) | None => return Self::Strange("it has no format"),
        }
        match kind {
            "block" => {
                let number = |name: &str| text(name).and_then(|number| number.parse::<i64>().ok());
                let epoch = text("epoch").and_then(|epoch| epoch.parse().ok()).map(Epoch);
                let (Some(epoch), Some(known), Some(head)) = (epoch, number("known"), number("head")) else {
                    return Self::Strange("it is a block without a place");
                };
                let block = Block::from_bytes(value.to_vec()).map_err(|error: BlockError| error.to_string());
                Self::Block { epoch, known, head, block }
            }
            "claim" => serde_json::from_slice(value).map_or(Self::Strange("it is no claim"), Self::Claim),
            _ => Self::Strange("it is of an unknown kind"),
        }
    }

    /// What its writer knew when it wrote this: the state of the whole topic up to that place.
    pub(super) fn known(&self) -> Option<Point> {
        match self {
            Self::Claim(claim) => Some(claim.known),
            Self::Block { epoch, known, head, block } => {
                let header = block.as_ref().ok()?.header();
                let sequence = Sequence(header.first_sequence.0.saturating_sub(1));
                let hash = if sequence == Sequence::ZERO { BlockHash::default() } else { header.previous };
                Some(Point { offset: *known, epoch: *epoch, sequence, hash, head_offset: *head })
            }
            Self::Newer(_) | Self::Strange(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::conformance::recorded_blocks;

    fn read(sent: &Outgoing) -> Record {
        Record::read(
            |name| sent.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes()),
            &sent.value,
        )
    }

    #[test]
    fn what_is_written_is_read() {
        let blocks = recorded_blocks();
        let known = Point { offset: 7, epoch: Epoch(3), sequence: Sequence(1), hash: blocks[0].hash(), head_offset: 5 };
        let record = read(&Outgoing::of_block(Epoch(3), &known, &blocks[1]));
        assert_eq!(record.known(), Some(known));
        let Record::Block { epoch: Epoch(3), block: Ok(block), .. } = record else { panic!("{record:?}") };
        assert!(block == blocks[1]);
        let holder = format!("{}\n{}", "ä".repeat(150), "x");
        let mut claim =
            Claim { book: BookId::FIRST, epoch: Epoch(4), writer: "ab".into(), holder: holder.clone(), known };
        let Record::Claim(found) = read(&Outgoing::of_claim(&claim).unwrap()) else { panic!("a claim") };
        claim.holder = "ä".repeat(100);
        assert_eq!(found, claim);
    }

    #[test]
    fn what_nobody_wrote_is_strange_and_what_comes_later_is_newer() {
        let block = Outgoing::of_block(Epoch(1), &Point::START, &recorded_blocks()[0]);
        let with = |name: &str, value: Option<&str>| {
            let mut sent = block.clone();
            sent.headers.retain(|(known, _)| *known != name);
            if let Some(value) = value {
                sent.headers.push((
                    ["kind", "format", "epoch"].into_iter().find(|known| *known == name).unwrap(),
                    value.into(),
                ));
            }
            read(&sent)
        };
        for (name, value) in
            [("kind", None), ("kind", Some("poem")), ("format", None), ("epoch", Some("x")), ("epoch", None)]
        {
            assert!(matches!(with(name, value), Record::Strange(_)), "{name} {value:?}");
        }
        assert!(matches!(with("kind", Some("claim")), Record::Strange(_)), "a claim that is no JSON");
        assert!(matches!(with("format", Some("2")), Record::Newer(2)));
        let mut flipped = block.clone();
        *flipped.value.last_mut().unwrap() ^= 1;
        assert!(matches!(read(&flipped), Record::Block { block: Err(_), .. }));
    }
}
