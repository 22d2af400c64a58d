//! The control plane: people and paper. One aggregate per entity, each with a short history of its own, decided here and
//! stored elsewhere.
//!
//! *Architecture Invariant*: a decider is pure, as the book's `decide` is. Times, ids and random bits are handed in within
//! the command.
//!
//! `api_keys.rs` keys of the API and who holds them · `providers.rs` providers of bill payments · `payments/` bill payments.

pub mod api_keys;
pub mod payments;
pub mod providers;

use event_schemas::ControlFact;

/// An aggregate of the control plane: its state, and the rules by which commands become facts.
///
/// What is stored are its facts. The state is made from them by [`Decider::apply`] before each command, so it may hold whatever
/// the rules need and is stored nowhere.
pub trait Decider: Default + Send + Sync + 'static {
    /// The type's name, under which its facts are stored.
    const TYPE: &'static str;

    /// What can be asked for. A command that met a conflict is decided again, so it can be cloned.
    type Command: Clone + Send + Sync + 'static;

    /// What can happen.
    type Event: Into<ControlFact> + TryFrom<ControlFact> + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static;

    /// Why something is refused.
    type Rejection: std::error::Error + Send + Sync + 'static;

    /// What comes of a command: facts, of which there are none if all is as it should be already.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// What the state is after a fact. A fact that was recorded is never refused.
    fn apply(&mut self, event: &Self::Event);
}
