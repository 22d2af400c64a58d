//! Facts: what a Doppia journal says, and the bytes and JSON it says it in.
//!
//! Everything that is ever written to a journal is defined here and nowhere else: identifiers, money, commands as a
//! verdict quotes them, rejections, events and the blocks that hold them. The crate knows no rule of the ledger: it can
//! tell what happened, not whether it may.
//!
//! *Architecture Invariant*: a released event version never changes. A new need is a new version beside the old one,
//! and the module `upcast` lifts what is old when it is read.

pub mod block;
pub mod bounds;
pub mod codec;
pub mod command;
pub mod control;
pub mod currency;
pub mod date;
pub mod digest;
pub mod entry;
pub mod event;
pub mod fees;
pub mod holds;
pub mod ids;
pub mod limits;
pub mod money;
pub mod notices;
pub mod rates;
pub mod records;
pub mod rejection;
pub mod reversal;
pub mod sabotage;
pub mod schema;
#[cfg(feature = "testing")]
pub mod testing;
pub mod topics;
mod touches;
mod upcast;

pub use block::{Block, BlockBuilder, BlockError, BlockHash, BlockHeader};
pub use codec::CodecError;
pub use command::{Command, CommandBody};
pub use control::{ControlFact, ControlRecorded};
pub use currency::Currency;
pub use date::{CivilDate, Timestamp};
pub use digest::{Digest, MultisetHash};
pub use event::{Cause, EntryKind, Event, EventBody, RecordedEvent};
pub use ids::{AccountId, BookId, CommandId, CustomerId, Epoch, PrincipalId, Sequence};
pub use money::{Money, Posting, Postings, Side};
pub use rejection::Rejection;

/// The version of the rules under which this build decides and applies. It stands in every block header.
pub const RULES_VERSION: u16 = 1;

/// The newest block and event format that this build can read. A block that asks for more is refused with a clear message.
pub const READER_VERSION: u16 = 1;
