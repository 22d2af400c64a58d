//! State checkpoints: the port [`Checkpoints`] of `ledger-core`.
//!
//! A checkpoint is cut into pieces of at most 1 MiB under (sequence, piece), and completed by a last record under
//! (sequence, `u32::MAX`): its length, its number of pieces, the BLAKE3 hash of its bytes. What has no last record does not
//! exist. The pieces go past RocksDB's log straight into a file, which is synced before the last record is written and
//! synced itself: a checkpoint of many megabytes is so written once instead of twice.

use event_schemas::Sequence;
use ledger_core::ports::{CheckpointFault, Checkpoints};
use rocksdb::{ColumnFamily, FlushOptions, WriteBatch, WriteOptions};

use super::{CHECKPOINTS, RocksFault, RocksStore};

const PIECE_BYTES: usize = 1 << 20;
/// Pieces written to the memtable at a time.
const BATCH_PIECES: usize = 8;
/// How many checkpoints are kept.
const KEEP: usize = 2;
const LAST: u32 = u32::MAX;

impl From<RocksFault> for CheckpointFault {
    fn from(fault: RocksFault) -> Self {
        Self(fault.to_string())
    }
}

fn key(sequence: Sequence, piece: u32) -> [u8; 12] {
    let mut key = [0; 12];
    let (high, low) = key.split_at_mut(8);
    high.copy_from_slice(&sequence.0.to_be_bytes());
    low.copy_from_slice(&piece.to_be_bytes());
    key
}

/// The last record of a checkpoint.
struct Summary {
    bytes: u64,
    pieces: u32,
    hash: [u8; 32],
}

impl Summary {
    fn of(state: &[u8]) -> Result<Self, CheckpointFault> {
        let pieces = u32::try_from(state.len().div_ceil(PIECE_BYTES)).ok().filter(|&pieces| pieces < LAST);
        let pieces = pieces.ok_or_else(|| CheckpointFault(format!("a state of {} bytes", state.len())))?;
        Ok(Self { bytes: state.len() as u64, pieces, hash: *blake3::hash(state).as_bytes() })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.bytes.to_be_bytes().to_vec();
        out.extend_from_slice(&self.pieces.to_be_bytes());
        out.extend_from_slice(&self.hash);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (pieces, hash) = rest.split_first_chunk::<4>()?;
        Some(Self {
            bytes: u64::from_be_bytes(*length),
            pieces: u32::from_be_bytes(*pieces),
            hash: hash.try_into().ok()?,
        })
    }
}

impl RocksStore {
    fn checkpoint_family(&self) -> Result<&ColumnFamily, CheckpointFault> {
        let missing = || CheckpointFault(format!("{} has no checkpoints", self.inner.path.display()));
        self.inner.db.cf_handle(CHECKPOINTS).ok_or_else(missing)
    }

    fn checkpoint_fault(&self, error: &rocksdb::Error) -> CheckpointFault {
        self.fault(error).into()
    }

    /// All sequences that have any record, newest first, each with whether it is complete.
    fn all_checkpoints(&self) -> Result<Vec<(Sequence, bool)>, CheckpointFault> {
        let mut found = Vec::new();
        let mut iterator = self.inner.db.raw_iterator_cf(self.checkpoint_family()?);
        iterator.seek_to_last();
        while let Some(last) = iterator.key() {
            let Some((high, low)) = last.split_first_chunk::<8>() else {
                return Err(CheckpointFault("a key that is too short".into()));
            };
            let sequence = Sequence(u64::from_be_bytes(*high));
            found.push((sequence, low == LAST.to_be_bytes()));
            if sequence == Sequence::ZERO {
                break;
            }
            // The keys before its first piece: pieces are large, and not read here.
            iterator.seek_for_prev(key(Sequence(sequence.0 - 1), LAST));
        }
        iterator.status().map_err(|error| self.checkpoint_fault(&error))?;
        Ok(found)
    }

    fn drop_checkpoints(&self, sequences: &[Sequence]) -> Result<(), CheckpointFault> {
        let family = self.checkpoint_family()?;
        let mut batch = WriteBatch::default();
        for &sequence in sequences {
            batch.delete_range_cf(family, key(sequence, 0), key(sequence, LAST));
            batch.delete_cf(family, key(sequence, LAST));
        }
        Ok(self.write(batch, true)?)
    }
}

impl Checkpoints for RocksStore {
    fn sequences(&self) -> Result<Vec<Sequence>, CheckpointFault> {
        let all = self.all_checkpoints()?;
        Ok(all.into_iter().filter_map(|(sequence, complete)| complete.then_some(sequence)).collect())
    }

    fn store(&self, sequence: Sequence, state: &[u8]) -> Result<(), CheckpointFault> {
        self.writable()?;
        self.settle_origin()?;
        let family = self.checkpoint_family()?;
        let summary = Summary::of(state)?;
        // The one of the same sequence goes first, so that its pieces never mix with new ones.
        self.drop_checkpoints(&[sequence])?;
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        let mut piece = 0;
        for several in state.chunks(PIECE_BYTES * BATCH_PIECES) {
            let mut batch = WriteBatch::default();
            for bytes in several.chunks(PIECE_BYTES) {
                batch.put_cf(family, key(sequence, piece), bytes);
                piece += 1;
            }
            self.inner.db.write_opt(batch, &unlogged).map_err(|error| self.checkpoint_fault(&error))?;
        }
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.inner.db.flush_cf_opt(family, &flush).map_err(|error| self.checkpoint_fault(&error))?;
        let mut batch = WriteBatch::default();
        batch.put_cf(family, key(sequence, LAST), summary.encode());
        self.write(batch, true)?;
        let mut kept = 0;
        let mut old = Vec::new();
        for (other, complete) in self.all_checkpoints()? {
            if complete && kept < KEEP {
                kept += 1;
            } else {
                old.push(other);
            }
        }
        self.drop_checkpoints(&old)
    }

    fn load(&self, sequence: Sequence) -> Result<Option<Vec<u8>>, CheckpointFault> {
        let family = self.checkpoint_family()?;
        let get = |piece| self.inner.db.get_pinned_cf(family, key(sequence, piece));
        let Some(summary) = get(LAST).map_err(|error| self.checkpoint_fault(&error))? else { return Ok(None) };
        let damaged = || CheckpointFault(format!("the checkpoint of sequence {sequence} is damaged"));
        let summary = Summary::decode(&summary).ok_or_else(damaged)?;
        let mut state = Vec::new();
        for piece in 0..summary.pieces {
            let bytes = get(piece).map_err(|error| self.checkpoint_fault(&error))?.ok_or_else(damaged)?;
            state.extend_from_slice(&bytes);
        }
        if state.len() as u64 != summary.bytes || *blake3::hash(&state).as_bytes() != summary.hash {
            return Err(damaged());
        }
        Ok(Some(state))
    }

    fn discard(&self, sequence: Sequence) -> Result<(), CheckpointFault> {
        self.drop_checkpoints(&[sequence])
    }
}
