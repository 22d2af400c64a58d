//! Where it is kept: the embedded journal, the id index, checkpoints and read models. One feature per backend.
//!
//! *Architecture Invariant*: a fact lives in a journal and nowhere else. The id index, checkpoints and read models can be
//! deleted and come back from it.

#[cfg(feature = "segments")]
pub mod access_log;
#[cfg(all(feature = "segments", feature = "rocks"))]
pub mod backup;
#[cfg(all(feature = "segments", feature = "rocks"))]
pub mod book;
pub mod conformance;
#[cfg(feature = "control")]
pub mod control;
#[cfg(all(feature = "segments", feature = "rocks"))]
pub mod embedded;
pub mod followed;
#[cfg(feature = "segments")]
pub mod ids;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
#[cfg(all(feature = "postgres", feature = "kafka"))]
pub mod place;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "rocks")]
pub mod rocks;
#[cfg(feature = "segments")]
pub mod scrub;
#[cfg(feature = "segments")]
pub mod segments;
#[cfg(any(feature = "postgres", feature = "kafka"))]
mod watch;
