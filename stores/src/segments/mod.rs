//! The embedded journal: one book's blocks in segment files of fixed length.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`storage`] | the folder the files are in: a trait, and the real disk |
//! | `format` | the bytes of segments, frames, anchor and witness |
//! | `frames` | reading frames, checked as wholes |
//! | `index` | sequence → place of a frame, sparse and filled as needed |
//! | `anchor` | the anchor as it is read, and made |
//! | `copy` | the durable part, read with every check and written elsewhere: backups, restores, the scrub |
//! | `survey` | what a folder holds: looks at everything, changes nothing, and refuses damage |
//! | `create` | making an empty journal |
//! | `journal` | the writer: open (survey and repair), append |
//! | `spares` | segments made whole ahead of need |
//! | `witness` | the head, kept elsewhere |
//! | `reader` | reading durable blocks, in this process or in another |
//! | `walk` | the check of everything, for `verify` |
//! | [`sim`] | a disk that loses power, for tests |
//!
//! The bytes are drawn, and the protocol is told step by step with its reasons, in `docs/internals/journal-format.md`.
//!
//! *Architecture Invariant*: an append is answered only after its frame and then the anchor that names it are durable.
//! Whatever lies at or below the anchor and is not intact is damage, never a crash.

mod anchor;
#[cfg_attr(not(feature = "rocks"), allow(dead_code, reason = "backups are of whole data folders"))]
pub(crate) mod copy;
mod create;
mod format;
mod frames;
mod index;
mod journal;
mod options;
mod reader;
pub mod sim;
mod spares;
pub mod storage;
mod survey;
#[cfg(test)]
mod tests;
mod walk;
mod witness;

pub use copy::SegmentRecord;
pub use create::{create, exists};
pub use journal::{SegmentJournal, open};
pub use options::{Damage, OpenFault, SegmentOptions, WitnessPlace};
pub use reader::SegmentReader;
pub use storage::{DiskStorage, Storage, StorageFile};
pub use walk::{Finding, WalkReport, walk, walk_closed};
#[cfg(feature = "rocks")]
pub(crate) use witness::write_witness;
pub use witness::{Witnessed, read_witness};
