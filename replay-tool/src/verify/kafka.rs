//! The walk over a journal in Kafka: all records from the first, by the rules of claims.

use std::ops::ControlFlow;

use event_schemas::{Block, BlockHash, BookId, Epoch, Sequence};
use ledger_core::ports::{JournalFault, JournalReader as _};
use stores::kafka::{KafkaReader, KafkaUrl};
use stores::segments::{Finding, WalkReport};

use crate::outcome::Failure;

/// Walks the blocks up to a sequence that was durable when the walk began.
pub(super) fn walk(
    url: &KafkaUrl,
    book: BookId,
    durable: Sequence,
    visit: &mut dyn FnMut(u32, u64, &Block) -> ControlFlow<()>,
) -> Result<WalkReport, Failure> {
    let mut reader = KafkaReader::open(url, book);
    let mut report = WalkReport {
        book,
        sequence: Sequence::ZERO,
        hash: BlockHash::default(),
        epoch: Epoch(0),
        segments: 0,
        frames: 0,
        blocks: 0,
        findings: Vec::new(),
        notices: Vec::new(),
    };
    while report.sequence < durable {
        let block = match reader.next_block() {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(format!("the journal ends before event {durable}, which was durable when this began")),
            Err(JournalFault::Damaged(what)) => Err(what),
            Err(fault) => return Err(fault.into()),
        };
        let block = match block {
            Ok(block) => block,
            Err(what) => {
                // Named as a segment would be, so that it counts to the chain.
                let sequence = report.sequence.next();
                report.findings.push(Finding { file: "0.seg".into(), offset: 0, sequence, what });
                break;
            }
        };
        report.blocks += 1;
        (report.sequence, report.hash) = (block.header().last_sequence(), block.hash());
        if visit(0, 0, &block).is_break() {
            break;
        }
    }
    report.epoch = reader.epoch();
    match reader.void_records() {
        0 => {}
        1 => report.notices.push("1 record of the topic is not part of the journal: it came late".into()),
        count => {
            report.notices.push(format!("{count} records of the topic are not part of the journal: they came late"));
        }
    }
    Ok(report)
}
