//! Composition: one binary, its configuration, telemetry and roles. It holds no rule of the ledger; it opens the stores,
//! starts the engine and the projection runner, and puts the API in front of them.
//!
//! `cli` what can be typed · `config` defaults, file, environment, flags · `roles` what a process does · `serve` the running
//! server · `telemetry` logs and metrics · `rates` where rates come from · `payments` bill payments carried on · `backup`, `keys`,
//! `import`, `kafka`, `demo` the other subcommands.

pub mod backup;
pub mod cli;
pub mod config;
pub mod demo;
pub mod import;
pub mod kafka;
pub mod keys;
pub mod payments;
mod progress;
pub mod rates;
pub mod roles;
pub mod serve;
pub mod telemetry;
