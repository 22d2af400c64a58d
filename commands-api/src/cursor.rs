//! Opaque cursors: where the next page of a query begins.
//!
//! A cursor is base64url of: version (1 byte), kind of query (1), a hash of what the query was about (8: book, account,
//! customer), the position (as many bytes as its query needs), and a checksum (4). The checksum is no secret: a cursor
//! gives nothing that the query itself would not, since every page is permitted anew. It is there so that a cursor that was
//! cut, edited or taken from another query is refused instead of quietly answering another page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_schemas::BookId;
use event_schemas::sabotage::{Switch, on};

use crate::problem::{Code, Problem};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 4;
/// The longest text that can be a cursor; positions are short.
pub(crate) const TEXT_MAX_BYTES: usize = 256;

/// Which query a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CursorOf {
    head: [u8; HEAD_BYTES],
}

/// The kinds of queries with pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paged {
    Accounts = 1,
    Statement = 2,
    Holds = 3,
    Events = 4,
    Limits = 5,
    Audit = 6,
    Notifications = 7,
    Access = 8,
    Payments = 9,
}

impl CursorOf {
    /// The cursors of a query of this kind about these things.
    pub(crate) fn new(kind: Paged, book: BookId, about: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("doppia 2026 cursor query");
        hasher.update(&book.get().to_be_bytes());
        for part in about {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut head = [VERSION, kind as u8, 0, 0, 0, 0, 0, 0, 0, 0];
        if let Some(hash) = head.get_mut(2..) {
            hasher.finalize_xof().fill(hash);
        }
        Self { head }
    }

    /// The cursor for this position.
    pub(crate) fn encode(self, position: &[u8]) -> String {
        let mut bytes = self.head.to_vec();
        bytes.extend_from_slice(position);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position in a cursor of this query.
    pub(crate) fn decode(self, text: &str) -> Result<Vec<u8>, Problem> {
        self.position(text).ok_or_else(|| {
            Problem::detailed(Code::CursorInvalid, "use the cursor of a page of this very query, unchanged, or none")
        })
    }

    fn position(self, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_MAX_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
        let position = match content.strip_prefix(&self.head) {
            None if on(Switch::CursorOfAnother) => content.get(HEAD_BYTES..)?,
            position => position?,
        };
        (checksum(content) == sum).then(|| position.to_vec())
    }
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    blake3::Hasher::new_derive_key("doppia 2026 cursor checksum").update(content).finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn of(kind: Paged, about: &[&[u8]]) -> CursorOf {
        CursorOf::new(kind, BookId::FIRST, about)
    }

    #[test]
    fn a_cursor_of_another_query_is_refused() {
        let cursor = of(Paged::Statement, &[b"anna"]).encode(&[1, 2, 3]);
        assert_eq!(of(Paged::Statement, &[b"anna"]).decode(&cursor).unwrap(), [1, 2, 3]);
        for other in [
            of(Paged::Accounts, &[b"anna"]),
            of(Paged::Statement, &[b"boris"]),
            of(Paged::Statement, &[b"an", b"na"]),
            of(Paged::Statement, &[]),
            CursorOf::new(Paged::Statement, BookId::new(2).unwrap(), &[b"anna"]),
        ] {
            assert_eq!(other.decode(&cursor).map_err(|problem| problem.code()), Err(Code::CursorInvalid));
        }
        for text in ["", "AA", "not base64!", &"A".repeat(300)] {
            assert!(of(Paged::Statement, &[b"anna"]).decode(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_position_comes_back_and_every_change_is_seen(
            position in proptest::collection::vec(any::<u8>(), 0..40),
            at in any::<proptest::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let query = of(Paged::Accounts, &[]);
            let cursor = query.encode(&position);
            prop_assert_eq!(query.decode(&cursor).unwrap(), position);
            let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
            let at = at.index(bytes.len());
            *bytes.get_mut(at).unwrap() ^= 1 << bit;
            prop_assert!(query.decode(&URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }
    }
}
