//! Blocks in memory: events encoded and sealed under their hashes, and read back with the hashes checked.

use std::hint::black_box;
use std::time::Duration;

use anyhow::ensure;
use event_schemas::block::BlockPlace;
use event_schemas::{Block, BlockBuilder, BlockHash, BookId, Epoch, Event, Sequence, Timestamp};

use super::{Coded, repeat};
use crate::spread::Spread;

/// Events of a block.
const EVENTS: usize = 8_000;

pub(super) fn measure(rounds: usize, time: Duration) -> anyhow::Result<Vec<Coded>> {
    let events = super::journal::events(EVENTS)?;
    let mut builder = BlockBuilder::new();
    let block = build(&mut builder, &events);
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (count, seconds) = repeat(time, || {
            black_box(build(&mut builder, &events));
            Ok(())
        })?;
        writes.push(count as f64 * EVENTS as f64 / seconds);
        let (count, seconds) = repeat(time, || {
            let read = Block::from_bytes(block.bytes().to_vec())?;
            let mut found = 0;
            for event in read.events() {
                black_box(event?);
                found += 1;
            }
            ensure!(found == EVENTS, "{found} events came back");
            Ok(())
        })?;
        reads.push(count as f64 * EVENTS as f64 / seconds);
    }
    let bytes_per_event = block.bytes().len() as f64 / EVENTS as f64;
    let coded = |what, rounds| {
        let events_per_second = Spread::of(rounds);
        let megabytes_per_second = events_per_second.median * bytes_per_event / 1e6;
        Coded { what, events_per_second, bytes_per_event, megabytes_per_second }
    };
    Ok(vec![coded("write: encode, hash, seal", writes), coded("read: hashes checked, decode", reads)])
}

fn build(builder: &mut BlockBuilder, events: &[Event]) -> Block {
    for event in events {
        builder.push(event);
    }
    builder.seal(BlockPlace {
        book: BookId::FIRST,
        first_sequence: Sequence(1),
        recorded_at: Timestamp(1),
        epoch: Epoch(1),
        previous: BlockHash::default(),
    })
}
