//! Identifiers. Each is a type of its own, so that a sequence is never taken for an epoch or an account for a command.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct IdError {
    text: String,
    what: &'static str,
}

/// The book: one set of accounts that balances, with one journal and one writer. Numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BookId(pub NonZeroU32);

impl BookId {
    /// The book that a fresh installation opens.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The book of this number, if it is one (zero is none).
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for BookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BookId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self).map_err(|_| IdError { text: text.chars().take(80).collect(), what: "a book number" })
    }
}

/// The position of an event in its book's journal: dense from 1. Zero stands for "before the first event".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The sequence `count` events later.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// The next sequence.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The reign of one writer: raised at every start and takeover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first 128 bits of a BLAKE3 hash over length-prefixed parts, so that no two lists of parts hash the same text.
fn derive_id(domain: &str, parts: &[&[u8]]) -> u128 {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    u128::from_be_bytes(bytes)
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_u128(self.0).hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text)
                    .map(|uuid| Self(uuid.as_u128()))
                    .map_err(|_| IdError { text: text.chars().take(80).collect(), what: $what })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": "uuid" })
            }
        }
    };
}

uuid_id! {
    /// An account. Any UUID will do; UUIDv7 is advised. An account with a code has the id that [`AccountId::from_code`] gives.
    AccountId, "an account id (a UUID)"
}

uuid_id! {
    /// A command: the client's UUID, or a hash of who asked, what for and the `Idempotency-Key`.
    CommandId, "a command id (a UUID)"
}

uuid_id! {
    /// Who gave a command: a 128-bit hash of tenant and holder, which survives the rotation of the holder's key.
    PrincipalId, "a principal id (a UUID)"
}

impl AccountId {
    /// The id of the account with this code in this book. Codes are names that people read (`berka:2378`); since the id
    /// follows from the code, a code is unique in its book without an index.
    pub fn from_code(book: BookId, code: &str) -> Self {
        Self(derive_id("doppia 2026 account code", &[&book.get().to_be_bytes(), code.as_bytes()]))
    }
}

impl CommandId {
    /// The command id of an `Idempotency-Key`: scoped by tenant, holder and command type.
    pub fn from_idempotency_key(tenant: &str, holder: &str, command_type: &str, key: &str) -> Self {
        let parts = [tenant.as_bytes(), holder.as_bytes(), command_type.as_bytes(), key.as_bytes()];
        Self(derive_id("doppia 2026 idempotency key", &parts))
    }
}

impl PrincipalId {
    /// The engine itself: for events that no command caused.
    pub const ENGINE: Self = Self(0);

    /// The principal of a holder of a tenant.
    pub fn derive(tenant: &str, holder: &str) -> Self {
        Self(derive_id("doppia 2026 principal", &[tenant.as_bytes(), holder.as_bytes()]))
    }
}
