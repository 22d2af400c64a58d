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
mod consumer;
pub mod dead_letters;
mod error;
mod feed;
mod journal_topic;
mod record;
mod relay;
mod settings;
mod tail;

pub use admin::{TopicPlan, TopicReport, check_topics, make_topics};
pub use cloud_event::header;
pub use consumer::{Consumer, ConsumerOptions, ConsumerStatus, Handler, HandlerFault};
pub use error::KafkaFault;
pub use feed::KafkaFeed;
pub use record::Received;
pub use relay::{Relay, RelayParts, RelayState, RelayStatus};
pub use settings::KafkaSettings;
pub use tail::Tail;
