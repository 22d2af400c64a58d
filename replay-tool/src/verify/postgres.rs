//! The walk over a journal in PostgreSQL: chain, lease, and the rows that are kept beside the blocks.

use std::ops::ControlFlow;

use event_schemas::{Block, BlockHash, BookId, Epoch, Sequence};
use ledger_core::ports::{JournalFault, JournalReader as _};
use stores::postgres::{PostgresReader, PostgresUrl, TableAudit};
use stores::segments::{Finding, WalkReport};

use crate::outcome::Failure;

/// How many findings are told; the rest of a damaged table would say the same.
const FINDINGS_KEPT: usize = 100;

/// Walks the blocks up to a sequence that was durable when the walk began.
pub(super) fn walk(
    url: &PostgresUrl,
    book: BookId,
    durable: Sequence,
    visit: &mut dyn FnMut(u32, u64, &Block) -> ControlFlow<()>,
) -> Result<WalkReport, Failure> {
    let mut reader = PostgresReader::open(url.clone(), book);
    let mut audit = TableAudit::of(url.clone(), book);
    let lease = audit.lease()?;
    let mut report = WalkReport {
        book,
        sequence: Sequence::ZERO,
        hash: BlockHash::default(),
        epoch: lease.map_or(Epoch(0), |lease| lease.epoch),
        segments: 0,
        frames: 0,
        blocks: 0,
        findings: Vec::new(),
        notices: Vec::new(),
    };
    let finding = |table: &str, sequence, what| Finding { file: table.into(), offset: 0, sequence, what };
    while report.sequence < durable {
        let block = match reader.next_block() {
            Ok(Some(block)) => block,
            Ok(None) => {
                let what = format!("the journal ends before event {durable}, which was durable when this began");
                report.findings.push(finding("0.seg", report.sequence.next(), what));
                break;
            }
            Err(JournalFault::Damaged(what)) => {
                // Named as a segment would be, so that it counts to the chain.
                report.findings.push(finding("0.seg", report.sequence.next(), what));
                break;
            }
            Err(fault) => return Err(fault.into()),
        };
        if let Some((sequence, what)) = audit.compare(&block)?
            && report.findings.len() < FINDINGS_KEPT
        {
            report.findings.push(finding("events", sequence, what));
        }
        report.blocks += 1;
        (report.sequence, report.hash) = (block.header().last_sequence(), block.hash());
        if visit(0, 0, &block).is_break() {
            break;
        }
    }
    // Read before the walk, so the lease is never ahead of it unless blocks are missing.
    if let Some(lease) = lease
        && (lease.head > durable || (lease.head == report.sequence && lease.head_hash != report.hash))
    {
        let what = format!("it says that the journal ends with event {}, and another block does", lease.head);
        report.findings.push(finding("lease", lease.head, what));
    }
    Ok(report)
}
