//! Notifications: what each event tells which customer, and by which channels. Template and parameters, never a rendered text;
//! recipients are looked up when a notice is sent.
//!
//! - [`rows`]: `notifications_notices` by customer, sequence of the event and place in it, so that a rebuild doubles nothing;
//!   `notifications_preferences`, what customers want; `notifications_owners`, whose accounts are.
//! - [`notice`]: templates, topics, channels, states.
//! - [`apply`]: who is told what. [`DEFAULT_CHANNELS`] is what the house does where a customer said nothing.
//! - [`queries`]: a customer's notices and preferences.
//!
//! Every notice is queued here and stays so: sending is the work of an effector, which keeps what became of it where a replay
//! does not reach.

pub mod apply;
pub mod notice;
pub mod queries;
pub mod rows;

pub use apply::Notifications;
pub use notice::{Channels, DEFAULT_CHANNELS, NoticeState, Template};
pub use queries::{Notice, NoticeCursor, NoticesPage, Preferences, notices_page, preferences};

/// The projection's name.
pub const NAME: &str = "notifications";
