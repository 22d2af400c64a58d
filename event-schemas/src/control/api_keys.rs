//! Keys of the API and who holds them. All keys of one holder are one aggregate: the holder stays when keys come and go.
//!
//! A key's secret is nowhere in here. What stands here is its BLAKE3 hash: nobody guesses the 256 random bits behind it.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{CodecError, Reader, put_option, put_text, put_time};
use crate::command::bounded;
use crate::date::Timestamp;
use crate::digest::Digest;
use crate::ids::PrincipalId;

/// What a key may be used for. No scope contains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Queries.
    Read,
    /// Money: open accounts, top up, withdraw, transfer, post entries.
    Write,
    /// Acts of the house: freeze, unfreeze and close accounts; set limits, fees and the calendar, close periods.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Admin => 4,
        }
    }

    /// The name in JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope: read, write and admin are")]
pub struct ScopeError(String);

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let named = Self::ALL.into_iter().find(|scope| scope.name() == text);
        named.ok_or_else(|| ScopeError(text.chars().take(80).collect()))
    }
}

/// A set of scopes. In JSON a list of names, none of them twice.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether it has this one.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its scopes, in the order of their bits.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let bits = reader.byte("scopes")?;
        let known = Scope::ALL.into_iter().fold(0, |bits, scope| bits | scope.bit());
        if bits & !known == 0 { Ok(Self(bits)) } else { Err(CodecError::NotCanonical("scopes")) }
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let listed = Vec::<Scope>::deserialize(deserializer)?;
        let scopes: Self = listed.iter().copied().collect();
        if scopes.iter().count() == listed.len() { Ok(scopes) } else { Err(D::Error::custom("a scope comes twice")) }
    }
}

impl JsonSchema for Scopes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scopes".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<Scope>(), "uniqueItems": true })
    }
}

/// Who holds keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Whose books.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub tenant: Box<str>,
    /// A service or a person, for the audit trail.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub name: Box<str>,
    /// The customer that the holder's keys are confined to; `None` for keys of the house.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounded::text_option")]
    #[schemars(length(max = 256))]
    pub customer: Option<Box<str>>,
}

impl Holder {
    /// The type of the aggregate that a holder's keys are.
    pub const AGGREGATE_TYPE: &'static str = "api_key_holder";

    /// The holder as command ids are derived from it. Holders of one name that speak for different customers have different
    /// ones, so that one customer's `Idempotency-Key` can't bring up another's verdict.
    pub fn scope(&self) -> Box<str> {
        match &self.customer {
            // A name has no control characters, so no other holder has this scope.
            Some(customer) => format!("{}\u{1f}{customer}", self.name).into(),
            None => self.name.clone(),
        }
    }

    /// Who acts with these keys. It survives the rotation of a key.
    pub fn principal(&self) -> PrincipalId {
        PrincipalId::derive(&self.tenant, &self.scope())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.tenant);
        put_text(out, &self.name);
        put_option(out, self.customer.as_deref(), put_text);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            tenant: reader.text("tenant")?,
            name: reader.text("holder")?,
            customer: reader.option("customer", |reader| reader.text("customer"))?,
        })
    }
}

/// A key was issued, as the holder's first, as one more, or in the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyIssued {
    /// A short name for people; not secret.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub key: Box<str>,
    /// BLAKE3 of the key's text.
    pub hash: Digest,
    /// Who holds it.
    pub holder: Holder,
    /// What it may be used for.
    pub scopes: Scopes,
    /// The key in whose place it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounded::text_option")]
    #[schemars(length(max = 256))]
    pub replaces: Option<Box<str>>,
    /// When.
    pub issued_at: Timestamp,
    /// Who issued it.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub actor: Box<str>,
    /// Why; may be empty. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub note: Box<str>,
}

/// A key was made void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRevoked {
    /// Which.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub key: Box<str>,
    /// When.
    pub revoked_at: Timestamp,
    /// Who made it void.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub actor: Box<str>,
    /// Why; may be empty. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

/// What a key may be used for was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyScopesSet {
    /// Which.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub key: Box<str>,
    /// What it may be used for from now on.
    pub scopes: Scopes,
    /// When.
    pub set_at: Timestamp,
    /// Who changed it.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub actor: Box<str>,
    /// Why; may be empty. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

impl ApiKeyIssued {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.key);
        out.extend_from_slice(&self.hash.0);
        self.holder.encode(out);
        out.push(self.scopes.0);
        put_option(out, self.replaces.as_deref(), put_text);
        put_time(out, self.issued_at);
        put_text(out, &self.actor);
        put_text(out, &self.note);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            key: reader.text("key")?,
            hash: Digest(reader.array("hash")?),
            holder: Holder::decode(reader)?,
            scopes: Scopes::decode(reader)?,
            replaces: reader.option("replaced key", |reader| reader.text("replaced key"))?,
            issued_at: reader.time()?,
            actor: reader.text("actor")?,
            note: reader.text("note")?,
        })
    }
}

impl ApiKeyRevoked {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.key);
        put_time(out, self.revoked_at);
        put_text(out, &self.actor);
        put_text(out, &self.reason);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            key: reader.text("key")?,
            revoked_at: reader.time()?,
            actor: reader.text("actor")?,
            reason: reader.text("reason")?,
        })
    }
}

impl ApiKeyScopesSet {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.key);
        out.push(self.scopes.0);
        put_time(out, self.set_at);
        put_text(out, &self.actor);
        put_text(out, &self.reason);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            key: reader.text("key")?,
            scopes: Scopes::decode(reader)?,
            set_at: reader.time()?,
            actor: reader.text("actor")?,
            reason: reader.text("reason")?,
        })
    }
}
