//! Proof: what a journal says, checked and told without the programs that wrote it running.
//!
//! *Architecture Invariant*: everything but `rebuild` reads only, takes no lock and may run beside a live ledgerd.
//!
//! *Architecture Invariant*: connectors are not linked, so a replay cannot have effects outside.
//!
//! `cli` what may be asked · `folder` the only place that opens a data folder · `journal` walking it · `outcome` how a run
//! ends · one module per command.

pub mod accounts;
pub mod balance;
pub mod cli;
pub mod events;
pub mod export;
pub mod journal;
pub mod outcome;
pub mod progress;
