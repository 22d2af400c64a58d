//! A run: an immutable file of command ids in order, each with the sequence of its verdict.
//!
//! ```text
//! header, 4096 bytes; integers big-endian
//!    0  magic "DOPPIARN"      48  buckets       u64     80  seed of the hash   u64
//!    8  format version  u64   56  ids           u64     88  hash of the block that ends
//!   16  book            u64   64  filter lines  u64         at the last sequence (32)
//!   24  first sequence  u64   72  zero          u64    120  smallest id (16)   136  largest id (16)
//!   32  last sequence   u64                            152  zero
//!   40  zero            u64                           4064  BLAKE3 of the bytes before, the fences and the filter (32)
//! buckets, 4096 bytes each: up to 170 of (id 16, sequence 8), then zero
//! fences, 24 bytes a bucket: its first id (16), the first 8 bytes of its BLAKE3 hash
//! filter, 64 bytes a line: words little-endian
//! ```
//!
//! Header, fences and filter are read and checked when the run is opened, and stay in memory: 2.15 bytes an id. A bucket
//! is read when the filter lets an id pass, and checked by the hash in its fence, which the header's hash covers. So every
//! byte that an answer rests on is checked, and an open reads a tenth of the file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use event_schemas::{BlockHash, BookId, Sequence};

use super::filter::{Filter, LINE_BYTES, Probe};

const MAGIC: [u8; 8] = *b"DOPPIARN";
const FORMAT_VERSION: u64 = 1;
const HEADER_BYTES: usize = 4096;
const HASH_AT: usize = HEADER_BYTES - 32;
pub(super) const BUCKET_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 24;
const BUCKET_IDS: usize = 170;
const FENCE_BYTES: usize = 24;

/// What a run covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) book: BookId,
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    /// The hash of the block that ends at `last`, and so of the journal up to it; zero if nobody could tell.
    pub(super) chain: BlockHash,
}

/// A run, open for lookups.
pub(super) struct Run {
    pub(super) coverage: Coverage,
    pub(super) seed: u64,
    pub(super) path: PathBuf,
    pub(super) min: u128,
    pub(super) max: u128,
    file: File,
    ids: usize,
    fences: Vec<(u128, [u8; 8])>,
    filter: Filter,
}

/// A run that is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunFault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Damaged(&'static str),
}

/// The name of the run that starts at a sequence.
pub(super) fn file_name(first: Sequence) -> String {
    format!("{:020}.run", first.0)
}

fn bucket_hash(bucket: &[u8]) -> [u8; 8] {
    let hash = blake3::hash(bucket);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The bytes of a header, without its hash.
fn header(coverage: &Coverage, seed: u64, ids: usize, buckets: usize, lines: usize, min: u128, max: u128) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    let numbers = [
        FORMAT_VERSION,
        u64::from(coverage.book.get()),
        coverage.first.0,
        coverage.last.0,
        0,
        buckets as u64,
        ids as u64,
        lines as u64,
        0,
        seed,
    ];
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&coverage.chain.0);
    out.extend_from_slice(&min.to_be_bytes());
    out.extend_from_slice(&max.to_be_bytes());
    out.resize(HASH_AT, 0);
    out
}

/// Writes a run: a temporary file, synced, renamed, the folder synced. The ids are in order, without doubles, at least one.
pub(super) fn write(folder: &Path, coverage: Coverage, seed: u64, ids: &[(u128, u64)]) -> Result<(), RunFault> {
    let (Some(&(min, _)), Some(&(max, _))) = (ids.first(), ids.last()) else {
        return Err(RunFault::Damaged("a run without ids"));
    };
    let buckets = ids.len().div_ceil(BUCKET_IDS);
    let lines = Filter::lines_for(ids.len());
    let size = HEADER_BYTES + buckets * (BUCKET_BYTES + FENCE_BYTES) + lines * LINE_BYTES;
    let mut bytes = header(&coverage, seed, ids.len(), buckets, lines, min, max);
    bytes.reserve_exact(size - bytes.len());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes);
    bytes.resize(HEADER_BYTES, 0);
    let mut filter = Filter::new(ids.len());
    let mut tables = Vec::with_capacity(buckets * FENCE_BYTES + lines * LINE_BYTES);
    for several in ids.chunks(BUCKET_IDS) {
        let start = bytes.len();
        for &(id, sequence) in several {
            bytes.extend_from_slice(&id.to_be_bytes());
            bytes.extend_from_slice(&sequence.to_be_bytes());
            filter.insert(&Probe::new(id, seed));
        }
        bytes.resize(start + BUCKET_BYTES, 0);
        let first = several.first().map_or(0, |&(id, _)| id);
        tables.extend_from_slice(&first.to_be_bytes());
        tables.extend_from_slice(&bucket_hash(bytes.get(start..).unwrap_or_default()));
    }
    filter.encode(&mut tables);
    hasher.update(&tables);
    if let Some(slot) = bytes.get_mut(HASH_AT..HEADER_BYTES) {
        slot.copy_from_slice(hasher.finalize().as_bytes());
    }
    bytes.extend_from_slice(&tables);

    let path = folder.join(file_name(coverage.first));
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.copied().map_or(0, u64::from_be_bytes)
}

fn long(bytes: &[u8], at: usize) -> u128 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.copied().map_or(0, u128::from_be_bytes)
}

impl Run {
    /// Opens a run and checks everything but its buckets, which are checked when they are read.
    pub(super) fn open(path: &Path) -> Result<Self, RunFault> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = vec![0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0)?;
        if !head.starts_with(&MAGIC) || number(&head, 8) != FORMAT_VERSION {
            return Err(RunFault::Damaged("not a run of this format"));
        }
        // Lengths are bounded by the length of the file before anything is allocated by them.
        let lengths = || {
            let buckets = usize::try_from(number(&head, 48)).ok()?;
            let ids = usize::try_from(number(&head, 56)).ok()?;
            let lines = usize::try_from(number(&head, 64)).ok()?;
            let tables = buckets.checked_mul(FENCE_BYTES)?.checked_add(lines.checked_mul(LINE_BYTES)?)?;
            let tables_at = buckets.checked_mul(BUCKET_BYTES)?.checked_add(HEADER_BYTES)?;
            let fits = tables_at.checked_add(tables)? as u64 == length
                && ids > 0
                && ids.div_ceil(BUCKET_IDS) == buckets
                && lines == Filter::lines_for(ids);
            fits.then_some((buckets, ids, tables, tables_at))
        };
        let (buckets, ids, tables, tables_at) = lengths().ok_or(RunFault::Damaged("its length"))?;
        let mut table = vec![0; tables];
        file.read_exact_at(&mut table, tables_at as u64)?;
        let (fields, hash) = head.split_at(HASH_AT);
        let mut hasher = blake3::Hasher::new();
        hasher.update(fields).update(&table);
        if hasher.finalize().as_bytes() != hash {
            return Err(RunFault::Damaged("its hash"));
        }
        let book = u32::try_from(number(fields, 16)).ok().and_then(BookId::new);
        let mut chain = BlockHash::default();
        if let Some(bytes) = fields.get(88..120) {
            chain.0.copy_from_slice(bytes);
        }
        let coverage = Coverage {
            book: book.ok_or(RunFault::Damaged("its book"))?,
            first: Sequence(number(fields, 24)),
            last: Sequence(number(fields, 32)),
            chain,
        };
        let (fences, filter) = table.split_at(buckets * FENCE_BYTES);
        let fence = |bytes: &[u8; FENCE_BYTES]| {
            let hash = bytes.last_chunk::<8>().copied().unwrap_or_default();
            (long(bytes, 0), hash)
        };
        Ok(Self {
            coverage,
            seed: number(fields, 80),
            path: path.to_owned(),
            min: long(fields, 120),
            max: long(fields, 136),
            file,
            ids,
            fences: fences.as_chunks::<FENCE_BYTES>().0.iter().map(fence).collect(),
            filter: Filter::decode(filter),
        })
    }

    /// Whether a lookup has to look into the file.
    #[inline]
    pub(super) fn may_hold(&self, id: u128, probe: &Probe) -> bool {
        self.min <= id && id <= self.max && self.filter.contains(probe)
    }

    /// Reads and checks the bucket that would hold an id.
    pub(super) fn get(&self, id: u128, buffer: &mut [u8; BUCKET_BYTES]) -> Result<Option<Sequence>, RunFault> {
        let Some(bucket) = self.fences.partition_point(|&(first, _)| first <= id).checked_sub(1) else {
            return Ok(None);
        };
        let Some(&(_, hash)) = self.fences.get(bucket) else { return Ok(None) };
        self.file.read_exact_at(buffer, (HEADER_BYTES + bucket * BUCKET_BYTES) as u64)?;
        if bucket_hash(buffer) != hash {
            return Err(RunFault::Damaged("the hash of a bucket"));
        }
        let held = (self.ids - bucket * BUCKET_IDS).min(BUCKET_IDS);
        let entries = buffer.as_chunks::<ENTRY_BYTES>().0.get(..held).unwrap_or_default();
        let found = entries.binary_search_by(|entry| long(entry, 0).cmp(&id));
        Ok(found.ok().and_then(|at| entries.get(at)).map(|entry| Sequence(number(entry, 16))))
    }
}
