//! The keys that quotes are signed with: a text of one key a line, 64 hexadecimal digits, the newest first. Quotes are made
//! with the first and taken with any, so a key is rotated by putting a new one before it and taking the old one away an hour
//! later, when no quote of it can be left. Whoever holds a key can promise amounts, and no others than the rate sheet gives:
//! the book works them out again.

use std::fmt;

/// The most keys of a file.
const KEYS_MAX: usize = 8;

/// The keys that quotes are signed with. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct QuoteKeys(Vec<[u8; 32]>);

/// A text that holds no keys for quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("1 to {KEYS_MAX} lines of 64 hexadecimal digits are expected")]
pub struct QuoteKeysInvalid;

impl fmt::Debug for QuoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

fn key_of(line: &str) -> Option<[u8; 32]> {
    let digits = line.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

impl QuoteKeys {
    /// The keys of a text.
    pub fn parse(text: &str) -> Result<Self, QuoteKeysInvalid> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Option<Vec<_>> = lines.map(key_of).collect();
        keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len())).map(Self).ok_or(QuoteKeysInvalid)
    }

    /// A new line for a text of keys.
    pub fn new_line() -> Result<String, getrandom::Error> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key)?;
        Ok(blake3::Hash::from(key).to_hex().to_string())
    }

    /// The MAC of a message, by the newest key.
    pub(super) fn sign(&self, message: &[u8]) -> Option<[u8; 32]> {
        self.0.first().map(|key| *blake3::keyed_hash(key, message).as_bytes())
    }

    /// Whether a MAC is that of a message, by any key. Compares in constant time.
    pub(super) fn verify(&self, message: &[u8], mac: &[u8; 32]) -> bool {
        // `blake3::Hash` compares in constant time; every key is tried, whichever fits.
        self.0.iter().fold(false, |found, key| found | (blake3::keyed_hash(key, message) == blake3::Hash::from(*mac)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_are_read_and_rotated() {
        let (old, new) = (QuoteKeys::new_line().unwrap(), QuoteKeys::new_line().unwrap());
        assert_ne!(old, new);
        let before = QuoteKeys::parse(&old).unwrap();
        let both = QuoteKeys::parse(&format!("{new}\n  {old}  \n\n")).unwrap();
        let after = QuoteKeys::parse(&new).unwrap();
        let (mac, newer) = (before.sign(b"quote").unwrap(), both.sign(b"quote").unwrap());
        assert!(before.verify(b"quote", &mac) && both.verify(b"quote", &mac) && !after.verify(b"quote", &mac));
        assert!(!before.verify(b"quote", &newer) && both.verify(b"quote", &newer) && after.verify(b"quote", &newer));
        assert!(!both.verify(b"other", &mac));
        assert_eq!(format!("{both:?}"), "2 keys");
        let many = format!("{old}\n").repeat(9);
        for text in ["", "\n", "00", &old[1..], &format!("{old}0"), &format!("{}g", &old[1..]), &many] {
            assert_eq!(QuoteKeys::parse(text), Err(QuoteKeysInvalid), "{text}");
        }
    }
}
