//! Read models: pure functions over events, and the tables they keep.
pub mod ports;
