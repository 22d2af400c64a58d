//! What is sent of a group of blocks: columns, as arrays, for one statement.

use event_schemas::{Block, BlockError};

use super::{PostgresFault, bigint};

/// The columns of `blocks`.
#[derive(Debug, Default)]
pub(super) struct BlockColumns {
    pub(super) last_sequence: Vec<i64>,
    pub(super) first_sequence: Vec<i64>,
    pub(super) recorded_at_us: Vec<i64>,
    pub(super) epoch: Vec<i64>,
    pub(super) previous: Vec<Vec<u8>>,
    pub(super) hash: Vec<Vec<u8>>,
    pub(super) bytes: Vec<Vec<u8>>,
}

/// The columns of `events`.
#[derive(Debug, Default)]
pub(super) struct EventColumns {
    pub(super) sequence: Vec<i64>,
    pub(super) event_type: Vec<&'static str>,
    pub(super) event_version: Vec<&'static str>,
    pub(super) payload: Vec<String>,
    pub(super) metadata: Vec<String>,
}

impl BlockColumns {
    pub(super) fn of(blocks: &[Block]) -> Self {
        let mut columns = Self::default();
        for block in blocks {
            let header = block.header();
            columns.last_sequence.push(bigint(header.last_sequence().0));
            columns.first_sequence.push(bigint(header.first_sequence.0));
            columns.recorded_at_us.push(header.recorded_at.0);
            columns.epoch.push(bigint(header.epoch.0));
            columns.previous.push(header.previous.0.to_vec());
            columns.hash.push(block.hash().0.to_vec());
            columns.bytes.push(block.bytes().to_vec());
        }
        columns
    }
}

/// The type of an event and its version, as postgres-es keeps them: `ledger.entry.posted` and `1`.
fn split(type_name: &'static str) -> (&'static str, &'static str) {
    type_name.rsplit_once(".v").unwrap_or((type_name, "1"))
}

impl EventColumns {
    /// Decodes the events of blocks that this very process has made, and writes them as JSON.
    pub(super) fn of(blocks: &[Block]) -> Result<Self, PostgresFault> {
        let mut columns = Self::default();
        for block in blocks {
            let header = block.header();
            let metadata = format!(
                r#"{{"recorded_at":"{}","epoch":"{}","block":"{}"}}"#,
                header.recorded_at,
                header.epoch.0,
                header.last_sequence()
            );
            for event in block.events() {
                let (sequence, event) = event.map_err(|error: BlockError| PostgresFault::Damaged(error.to_string()))?;
                let (event_type, event_version) = split(event.body.type_name());
                let payload = serde_json::to_string(&event).map_err(|error| {
                    PostgresFault::Damaged(format!("event {sequence} can't be written as JSON: {error}"))
                })?;
                columns.sequence.push(bigint(sequence.0));
                columns.event_type.push(event_type);
                columns.event_version.push(event_version);
                columns.payload.push(payload);
                columns.metadata.push(metadata.clone());
            }
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::conformance::recorded_blocks;

    #[test]
    fn columns_have_a_row_for_each_block_and_event() {
        let blocks = recorded_blocks();
        let (rows, events) = (BlockColumns::of(&blocks), EventColumns::of(&blocks).unwrap());
        assert_eq!(rows.bytes.len(), blocks.len());
        let last = blocks.last().unwrap().header().last_sequence();
        assert_eq!(events.sequence, (1..=i64::try_from(last.0).unwrap()).collect::<Vec<_>>());
        assert_eq!(
            (events.event_type.first(), events.event_version.first()),
            (Some(&"ledger.book.opened"), Some(&"1"))
        );
        let event: event_schemas::Event = serde_json::from_str(events.payload.last().unwrap()).unwrap();
        assert_eq!(event, blocks.last().unwrap().event(last).unwrap().unwrap());
    }
}
