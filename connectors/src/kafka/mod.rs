//! Kafka as the bus: whatever keeps the journal, its events are published to topics, and read from them.
//!
//! ```text
//! journal ─▶ relay ─┬▶ book.<id>.journal   every event, in order, one partition ─▶ feed ─▶ projections elsewhere
//!                   └▶ account.created, …  by account                           ─▶ consumer ─▶ a handler with effects
//!                                                                                    └▶ dlq.<topic>  what can't be handled
//! ```
//!
//! `docs/kafka-relay.md` tells users what is in the records, `docs/internals/kafka-relay.md` why each of them is there once.

mod admin;
mod client;
mod cloud_event;
mod error;
mod journal_topic;
mod relay;
mod settings;

pub use admin::{TopicPlan, TopicReport, check_topics, make_topics};
pub use cloud_event::header;
pub use error::KafkaFault;
pub use relay::{Relay, RelayParts, RelayState, RelayStatus};
pub use settings::KafkaSettings;
