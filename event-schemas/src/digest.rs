//! Digests of sets: equal sets have equal digests, whatever the order in which they were built.
//!
//! Each element is hashed with BLAKE3 to 512 bits, and the hashes are added lane by lane (eight lanes of 64 bits, wrapping).
//! An element is taken out by subtracting. So the digest of a million rows follows a change of one row at the cost of one
//! hash, where hashing everything anew would cost a million. The published [`Digest`] is the BLAKE3 hash of the sum and the
//! number of elements.
//!
//! What it is good for: finding a row that differs by fault or by crash. What it is not: a commitment against somebody who
//! may choose the rows at will (sums of hashes have shortcuts); the hash chain of the blocks is that.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 256 bits of BLAKE3, shown as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).to_hex().fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = blake3::HexError;
    fn from_str(text: &str) -> Result<Self, blake3::HexError> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

/// The hash of one element, as it is added to a set's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ElementHash([u64; 8]);

impl ElementHash {
    /// Hashes an element.
    #[inline]
    pub fn of(element: &[u8]) -> Self {
        Self::finish(blake3::Hasher::new().update(element))
    }

    /// Hashes an element of several parts; the parts before the last need a fixed or self-delimiting form.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Self::finish(&hasher)
    }

    fn finish(hasher: &blake3::Hasher) -> Self {
        let mut bytes = [0; 64];
        hasher.finalize_xof().fill(&mut bytes);
        let mut lanes = [0; 8];
        for (lane, chunk) in lanes.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *lane = u64::from_le_bytes(*chunk);
        }
        Self(lanes)
    }
}

/// The running sum of a multiset's element hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MultisetHash {
    lanes: [u64; 8],
    count: u64,
}

impl MultisetHash {
    /// Adds an element.
    pub fn insert(&mut self, element: ElementHash) {
        self.count = self.count.wrapping_add(1);
        for (lane, add) in self.lanes.iter_mut().zip(element.0) {
            *lane = lane.wrapping_add(add);
        }
    }

    /// Takes an element out.
    pub fn remove(&mut self, element: ElementHash) {
        self.count = self.count.wrapping_sub(1);
        for (lane, sub) in self.lanes.iter_mut().zip(element.0) {
            *lane = lane.wrapping_sub(sub);
        }
    }

    /// How many elements there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The digest of the set.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for lane in self.lanes {
            hasher.update(&lane.to_le_bytes());
        }
        hasher.update(&self.count.to_le_bytes());
        Digest(*hasher.finalize().as_bytes())
    }
}
