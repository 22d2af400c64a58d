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

/// A hash in the form of a UUID of version 8: the ids that follow from names, which nobody may choose.
fn derived_form(hash: u128) -> u128 {
    uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid().as_u128()
}

fn is_derived(id: u128) -> bool {
    let uuid = Uuid::from_u128(id);
    uuid.get_version_num() == 8 && uuid.get_variant() == uuid::Variant::RFC4122
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
    /// An account. UUIDv7 is advised; any UUID but those of version 8 will do, which are the ids of accounts with a code and
    /// follow from it (see [`AccountId::from_code`]).
    AccountId, "an account id (a UUID)"
}

uuid_id! {
    /// A command: the client's UUID, of any version but 8, or a hash of who asked, what for and the `Idempotency-Key`, which
    /// has version 8 (see [`CommandId::from_idempotency_key`]).
    CommandId, "a command id (a UUID)"
}

uuid_id! {
    /// Who gave a command: a 128-bit hash of tenant and holder, which survives the rotation of the holder's key.
    PrincipalId, "a principal id (a UUID)"
}

uuid_id! {
    /// A customer: 128 bits that follow from the owner of accounts. It stands where the owner's text would take too much room;
    /// events have the text.
    CustomerId, "a customer id (a UUID)"
}

impl CustomerId {
    /// The customer to whom accounts of this owner belong; `None` for accounts of the house, which have no owner.
    pub fn from_owner(owner: &str) -> Option<Self> {
        if owner.is_empty() { None } else { Some(Self(derive_id("doppia 2026 customer", &[owner.as_bytes()]))) }
    }
}

impl AccountId {
    /// The id of the account with this code in this book. Codes are names that people read (`berka:2378`); since the id
    /// follows from the code, a code is unique in its book without an index.
    ///
    /// The id is a UUID of version 8, and such ids are for accounts with codes alone: nobody can take the id of an account
    /// that the book, or somebody else, is going to open under a code.
    pub fn from_code(book: BookId, code: &str) -> Self {
        let hash = derive_id("doppia 2026 account code", &[&book.get().to_be_bytes(), code.as_bytes()]);
        Self(derived_form(hash))
    }

    /// The id of an account that is opened with neither an id nor a code: it follows from the command, so that a retry asks
    /// for the same account, and has the form of a random UUID, whatever form the command's id has.
    pub fn from_command(command: CommandId) -> Self {
        let hash = derive_id("doppia 2026 account of command", &[&command.0.to_be_bytes()]);
        Self(uuid::Builder::from_random_bytes(hash.to_be_bytes()).into_uuid().as_u128())
    }

    /// Whether it has the form of an id that follows from a code.
    pub fn is_from_a_code(self) -> bool {
        is_derived(self.0)
    }
}

impl CommandId {
    /// The command id of an `Idempotency-Key`: scoped by tenant, holder and command type.
    ///
    /// The id is a UUID of version 8, and clients may not send such ids themselves: keys can be guessed (`invoice-7`), and
    /// whoever could send the id that follows from somebody's next key would take it away from them.
    pub fn from_idempotency_key(tenant: &str, holder: &str, command_type: &str, key: &str) -> Self {
        let parts = [tenant.as_bytes(), holder.as_bytes(), command_type.as_bytes(), key.as_bytes()];
        Self(derived_form(derive_id("doppia 2026 idempotency key", &parts)))
    }

    /// The command id of one step of a workflow, such as a bill payment: the same after every crash, another one for another
    /// attempt. It has the form of ids that follow from keys, which clients may not send.
    pub fn from_step(workflow: Self, step: &str, attempt: u32) -> Self {
        let parts: [&[u8]; 3] = [&workflow.0.to_be_bytes(), step.as_bytes(), &attempt.to_be_bytes()];
        Self(derived_form(derive_id("doppia 2026 workflow step", &parts)))
    }

    /// The command id by which a workflow opens the account of this code in a book.
    pub fn of_opening(book: BookId, code: &str) -> Self {
        Self(derived_form(derive_id(
            "doppia 2026 opening of an account",
            &[&book.get().to_be_bytes(), code.as_bytes()],
        )))
    }

    /// Whether it has the form of an id that follows from an `Idempotency-Key`.
    pub fn is_from_a_key(self) -> bool {
        is_derived(self.0)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn derived_ids_never_change() {
        let book = BookId::FIRST;
        for (id, text) in [
            (AccountId::from_command(CommandId(7)).to_string(), "cda01017-707a-4230-b0bf-cd8b76d011e5"),
            (AccountId::from_code(book, "berka:2378").to_string(), "397e5d2e-e35d-8beb-b374-8780cd5718d9"),
            (
                AccountId::from_code(BookId::new(2).unwrap(), "berka:2378").to_string(),
                "81b762be-0436-89fc-b206-804dcc73e0a5",
            ),
            (
                CommandId::from_idempotency_key("bank", "app", "top_up", "k1").to_string(),
                "e0553014-cc55-85cb-8b67-1a17a9b0213d",
            ),
            (PrincipalId::derive("bank", "app").to_string(), "819d79f6-adf7-e600-a724-4f471fa20f1b"),
            (CustomerId::from_owner("customer:1").unwrap().to_string(), "7a281fc6-631c-00eb-a0bf-7af9e5f5a115"),
        ] {
            assert_eq!(id, text);
        }
        assert_eq!(CustomerId::from_owner(""), None);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let id = |parts: [&str; 4]| CommandId::from_idempotency_key(parts[0], parts[1], parts[2], parts[3]);
        assert_ne!(id(["a", "bc", "d", "e"]), id(["ab", "c", "d", "e"]));
        assert_ne!(id(["a", "b", "", "cd"]), id(["a", "b", "c", "d"]));
        assert_ne!(PrincipalId::derive("ab", "c"), PrincipalId::derive("a", "bc"));
    }

    #[test]
    fn only_ids_of_codes_have_their_form() {
        assert!(AccountId::from_code(BookId::FIRST, "sys:income-fee:EUR").is_from_a_code());
        assert!(!AccountId(Uuid::now_v7().as_u128()).is_from_a_code());
        assert!(!AccountId(Uuid::new_v4().as_u128()).is_from_a_code());
        for id in 0..200 {
            assert!(!AccountId::from_command(CommandId(id)).is_from_a_code());
        }
        assert!(!AccountId(0).is_from_a_code() && !AccountId(u128::MAX).is_from_a_code());
    }

    #[test]
    fn only_ids_of_keys_have_their_form() {
        for key in 0..200 {
            assert!(CommandId::from_idempotency_key("bank", "app", "top_up", &key.to_string()).is_from_a_key());
        }
        assert!(!CommandId(Uuid::now_v7().as_u128()).is_from_a_key());
        assert!(!CommandId(Uuid::new_v4().as_u128()).is_from_a_key());
        assert!(!CommandId(0).is_from_a_key() && !CommandId(u128::MAX).is_from_a_key());
    }

    #[test]
    fn texts_that_are_no_ids_are_refused() {
        for text in ["", "berka:2378", "0192", "g0000000-0000-7000-8000-000000000000"] {
            assert!(text.parse::<AccountId>().is_err(), "{text}");
        }
        for text in ["0", "-1", "1.5", "4294967296", ""] {
            assert!(text.parse::<BookId>().is_err(), "{text}");
        }
    }
}
