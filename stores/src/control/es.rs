//! Deciders as cqrs-es wants aggregates: once for all of them.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use event_schemas::ControlFact;
use ledger_core::control::Decider;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A decider, as an aggregate of cqrs-es.
#[derive(Debug, Default)]
pub struct Es<D>(pub D);

/// An event of a decider, as an event of cqrs-es: its JSON is that of the [`ControlFact`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fact<E>(pub E);

impl<D: Decider> Aggregate for Es<D> {
    const TYPE: &'static str = D::TYPE;
    type Command = D::Command;
    type Event = Fact<D::Event>;
    type Error = D::Rejection;
    type Services = ();

    async fn handle(&mut self, command: D::Command, (): &(), sink: &EventSink<Self>) -> Result<(), D::Rejection> {
        for event in self.0.decide(&command)? {
            sink.write(Fact(event), self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Fact<D::Event>) {
        self.0.apply(&event.0);
    }
}

// cqrs-es asks for these to store snapshots. The plain event store never does; any other would find out at its first use.

impl<D> Serialize for Es<D> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("the state of a control aggregate is not stored"))
    }
}

impl<'de, D> Deserialize<'de> for Es<D> {
    fn deserialize<T: Deserializer<'de>>(_: T) -> Result<Self, T::Error> {
        Err(T::Error::custom("the state of a control aggregate is not stored"))
    }
}

/// A type's name and its version, as postgres-es keeps them: `ledger.api_key.issued` and `1`.
pub(super) fn split(type_name: &'static str) -> (&'static str, &'static str) {
    type_name.rsplit_once(".v").unwrap_or((type_name, "1"))
}

impl<E> DomainEvent for Fact<E>
where
    E: Into<ControlFact> + TryFrom<ControlFact> + Clone + PartialEq + std::fmt::Debug + Send + Sync,
{
    fn event_type(&self) -> String {
        let fact: ControlFact = self.0.clone().into();
        split(fact.type_name()).0.into()
    }

    fn event_version(&self) -> String {
        let fact: ControlFact = self.0.clone().into();
        split(fact.type_name()).1.into()
    }
}

impl<E: Into<ControlFact> + Clone> Serialize for Fact<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fact: ControlFact = self.0.clone().into();
        fact.serialize(serializer)
    }
}

impl<'de, E: TryFrom<ControlFact>> Deserialize<'de> for Fact<E> {
    fn deserialize<T: Deserializer<'de>>(deserializer: T) -> Result<Self, T::Error> {
        let fact = ControlFact::deserialize(deserializer)?;
        let name = fact.type_name();
        let other = |_| T::Error::custom(format_args!("{name} is a fact about another kind of aggregate"));
        E::try_from(fact).map(Self).map_err(other)
    }
}
