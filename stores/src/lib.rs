//! Where it is kept: the embedded journal, the id index, checkpoints and read models. One feature per backend.
//!
//! *Architecture Invariant*: a fact lives in a journal and nowhere else. The id index, checkpoints and read models can be
//! deleted and come back from it.

#[cfg(feature = "segments")]
pub mod ids;
#[cfg(feature = "rocks")]
pub mod rocks;
