//! Rules: what the book allows, and the engine that decides, records and answers.
//!
//! *Architecture Invariant*: [`decide`](decide::decide) and [`State::apply`](state::State::apply) are pure. They see no
//! clock, no randomness, no I/O, no float and no iteration of a hash map; what they need from outside is handed in.
//!
//! *Architecture Invariant*: nothing above the durable sequence leaves the engine.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions)]
#![deny(clippy::float_arithmetic, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod asked;
pub mod audit;
pub mod bound;
pub mod control;
pub mod decide;
pub mod engine;
pub mod fx;
pub mod ports;
pub mod state;
