//! The filter of a run: says of nearly every id that is not in the run that it isn't, at the cost of one cache line.
//!
//! A blocked Bloom filter: 512-bit lines, 32 ids to a line (16 bits an id); an id sets one bit in each of the eight words
//! of its line. About one absent id in a thousand passes. The hash is seeded, so that whoever chooses command ids can't
//! choose them to collide; its definition is part of the file format.

/// What the lines and the map are addressed by: 128 bits of an id, mixed into two numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    /// Spreads ids over lines and map buckets.
    pub(super) place: u64,
    masks: [u64; 8],
}

/// One cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

const IDS_PER_LINE: usize = 32;
pub(super) const LINE_BYTES: usize = 64;

const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    #[allow(clippy::cast_possible_truncation)]
    let folded = product as u64 ^ (product >> 64) as u64;
    folded
}

#[allow(clippy::cast_possible_truncation)]
const fn mix(id: u128, seed: u64) -> (u64, u64) {
    let (high, low) = ((id >> 64) as u64, id as u64);
    let both = fold(low ^ seed, high ^ 0x9e37_79b9_7f4a_7c15) ^ high.rotate_left(32) ^ low;
    (fold(both ^ 0xa076_1d64_78bd_642f, seed | 1), fold(both ^ 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3))
}

impl Probe {
    #[inline]
    pub(super) fn new(id: u128, seed: u64) -> Self {
        let (place, bits) = mix(id, seed);
        let mut masks = [0; 8];
        for (shift, mask) in masks.iter_mut().enumerate() {
            *mask = 1 << (bits >> (shift * 6 + 16) & 63);
        }
        Self { place, masks }
    }

    /// Only the number that maps need.
    #[inline]
    pub(super) fn place(id: u128, seed: u64) -> u64 {
        mix(id, seed).0
    }
}

/// The filter of one run.
pub(super) struct Filter {
    lines: Vec<Line>,
}

impl Filter {
    /// How many lines the filter of so many ids has.
    pub(super) const fn lines_for(ids: usize) -> usize {
        if ids == 0 { 1 } else { ids.div_ceil(IDS_PER_LINE) }
    }

    pub(super) fn new(ids: usize) -> Self {
        Self { lines: vec![Line::default(); Self::lines_for(ids)] }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)]
    fn line(&self, probe: &Probe) -> usize {
        (((probe.place >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    pub(super) fn insert(&mut self, probe: &Probe) {
        let line = self.line(probe);
        if let Some(Line(words)) = self.lines.get_mut(line) {
            for (word, mask) in words.iter_mut().zip(probe.masks) {
                *word |= mask;
            }
        }
    }

    /// Whether the id may be in the run.
    #[inline]
    pub(super) fn contains(&self, probe: &Probe) -> bool {
        let Some(Line(words)) = self.lines.get(self.line(probe)) else { return true };
        let missing = words.iter().zip(probe.masks).fold(0, |missing, (word, mask)| missing | (!word & mask));
        missing == 0
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for Line(words) in &self.lines {
            for word in words {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        let line = |chunk: &[u8; LINE_BYTES]| {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(chunk.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            Line(words)
        };
        Self { lines: bytes.as_chunks::<LINE_BYTES>().0.iter().map(line).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_no_false_negatives_and_few_false_positives() {
        let count: u128 = 20_000;
        let id = |n: u128| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let mut filter = Filter::new(20_000);
        for n in 0..count {
            filter.insert(&Probe::new(id(n), 7));
        }
        assert!((0..count).all(|n| filter.contains(&Probe::new(id(n), 7))));
        let false_positives = (count..11 * count).filter(|&n| filter.contains(&Probe::new(id(n), 7))).count();
        assert!(false_positives < 500, "{false_positives} of 200,000");
    }

    #[test]
    fn the_hash_of_the_file_format_stays() {
        assert_eq!(mix(0x0123_4567_89ab_cdef_0011_2233_4455_6677, 42), PINNED);
        let mut filter = Filter::new(100);
        filter.insert(&Probe::new(5, 42));
        let mut bytes = Vec::new();
        filter.encode(&mut bytes);
        assert!(Filter::decode(&bytes).contains(&Probe::new(5, 42)));
        assert!(!Filter::decode(&bytes).contains(&Probe::new(6, 42)));
    }

    const PINNED: (u64, u64) = (7_784_894_395_066_182_758, 16_999_925_927_081_301_958);
}
