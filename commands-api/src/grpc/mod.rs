//! The port [`CommandSink`](ledger_core::ports::CommandSink) between processes: gateways reach the writer over gRPC.
//!
//! ```text
//! handler ─▶ Gateway::try_submit ─▶ pending, in order ─▶ stream to the writer that serves ─▶ WriterDoor ─▶ engine
//!              ▲ reply                    │ again to its successor, same ids              ◀── replies, in groups
//!              └──────────────────────────┘
//! ```
//!
//! *One effect.* A submission stays with the gateway until it is answered. If its writer goes (a broken stream, a successor that
//! serves), it is sent again, to the successor: the engine's durable verdicts make that one effect. After
//! [`GatewayOptions::give_up`] nobody waits any longer, and the client is told that the outcome is not known.
//!
//! *Which writer.* A gateway keeps a stream to each address that it was given. Each process says whether it stands by, starts or
//! serves, and under which epoch; the one that serves under the highest epoch gets what is submitted. A writer that was overtaken
//! and has not noticed can't harm: the journal refuses what it appends.
//!
//! *Who may talk.* Both sides prove that they know the cluster's secret, without sending it, and that they mean the same book and
//! journal. What follows is neither encrypted nor signed: the port belongs on a private network.
//!
//! `wire.rs` frames · `payload.rs` what stands in them · `server.rs` the writer's half · `client.rs` the gateway's, with
//! `pending.rs` what waits for an answer.

mod client;
pub mod payload;
mod pending;
mod server;
mod wire;

pub use client::{Gateway, GatewayOptions, Origin, SeenWriter};
pub use server::{DoorOptions, Phase, WriterDoor};

/// The version of the frames and of their contents. Both sides must have the same.
pub const PROTOCOL: u64 = 1;

/// The path of the one method.
const EXCHANGE: &str = "/doppia.writer.v1.Writer/Exchange";

/// The name of the service.
const SERVICE: &str = "doppia.writer.v1.Writer";

/// The fewest bytes of a cluster's secret.
pub const SECRET_MIN_BYTES: usize = 32;

/// What the processes of a cluster know and nobody else. It is never shown.
#[derive(Clone)]
pub struct ClusterSecret([u8; 32]);

/// A secret that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's secret has {0} bytes: it takes {SECRET_MIN_BYTES} at least")]
pub struct SecretTooShort(pub usize);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret")
    }
}

/// What both sides have said before they prove anything.
struct Said<'a> {
    protocol: u64,
    book: u64,
    origin: &'a [u8],
    of_gateway: &'a [u8],
    of_writer: &'a [u8],
}

impl ClusterSecret {
    /// A secret of these bytes, without the white space around them.
    pub fn new(text: &str) -> Result<Self, SecretTooShort> {
        let text = text.trim();
        if text.len() < SECRET_MIN_BYTES {
            return Err(SecretTooShort(text.len()));
        }
        Ok(Self(blake3::derive_key("doppia 2026-11-25 between the roles of a cluster", text.as_bytes())))
    }

    /// The proof of one side. It is compared as a `blake3::Hash`, which takes the same time wherever it differs.
    fn proof(&self, side: &[u8], said: &Said<'_>) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&said.protocol.to_le_bytes()).update(&said.book.to_le_bytes());
        for part in [side, said.origin, said.of_gateway, said.of_writer] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.finalize()
    }

    fn of_writer(&self, said: &Said<'_>) -> blake3::Hash {
        self.proof(b"writer", said)
    }

    fn of_gateway(&self, said: &Said<'_>) -> blake3::Hash {
        self.proof(b"gateway", said)
    }
}

/// Whether a proof is the one expected.
fn proves(expected: &blake3::Hash, given: &[u8]) -> bool {
    <[u8; 32]>::try_from(given).is_ok_and(|given| blake3::Hash::from_bytes(given) == *expected)
}

/// Random bytes for a handshake.
fn nonce() -> Result<bytes::Bytes, String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(bytes::Bytes::copy_from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_secret_has_its_length_and_is_never_shown() {
        assert_eq!(ClusterSecret::new("  short \n").unwrap_err(), SecretTooShort(5));
        let secret = ClusterSecret::new("0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(format!("{secret:?}"), "ClusterSecret");
    }

    #[test]
    fn a_proof_is_of_one_side_one_secret_and_all_that_was_said() {
        let (one, other) = (ClusterSecret::new(&"a".repeat(32)).unwrap(), ClusterSecret::new(&"b".repeat(32)).unwrap());
        let said = |book, origin| Said { protocol: 1, book, origin, of_gateway: b"g", of_writer: b"w" };
        let proof = one.of_gateway(&said(1, b"o"));
        assert!(proves(&proof, one.of_gateway(&said(1, b"o")).as_bytes()));
        for wrong in [
            one.of_writer(&said(1, b"o")),
            other.of_gateway(&said(1, b"o")),
            one.of_gateway(&said(2, b"o")),
            one.of_gateway(&said(1, b"p")),
        ] {
            assert!(!proves(&proof, wrong.as_bytes()));
        }
        assert!(!proves(&proof, b"short"));
    }
}
