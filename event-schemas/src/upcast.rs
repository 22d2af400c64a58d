//! Where old event versions are lifted to the newest when they are read.
//!
//! Version 1 is the newest of every event, so there is nothing to lift yet. When an event gets a version 2, its decoder
//! of version 1 stays as it is in [`crate::event`], and the function that turns the old body into the new one stands
//! here, beside a golden journal of the old version that proves it.

/// The versions in which each event type can be read, by its type number: the newest last.
pub const READABLE_VERSIONS: &[u8] = &[1];
