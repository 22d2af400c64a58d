//! Facts of the control plane: people and paper. Each is about one aggregate, whose facts are numbered from 1.
//!
//! Embedded, a fact stands in a journal of its own (`data/control/`), within a [`ControlRecorded`] event; in PostgreSQL it is
//! the payload of a row of `control_events`. Its JSON is the same in both: `{"type": "ledger.api_key.issued.v1", "data": {…}}`.
//!
//! Canonical form, version 1 of every fact: type (1 byte), version (1 byte), then the fields in the order of their declaration.
//!
//! `api_keys.rs` keys of the API and who holds them · `providers.rs` providers of bill payments · `payments.rs` bill payments.

mod api_keys;
mod payments;
mod providers;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use api_keys::{ApiKeyIssued, ApiKeyRevoked, ApiKeyScopesSet, Holder, Scope, ScopeError, Scopes};
pub use payments::{PaymentDetail, PaymentRequested, PaymentStep, PaymentStepped};
pub use providers::{FieldKind, ProviderCategory, ProviderField, ProviderSet, ProviderTerms};

use crate::codec::{CodecError, Reader, put_text, put_varint};
use crate::command::bounded;

/// What happened in the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
pub enum ControlFact {
    /// A key of the API was issued.
    #[serde(rename = "ledger.api_key.issued.v1")]
    ApiKeyIssued(ApiKeyIssued),
    /// A key of the API was made void.
    #[serde(rename = "ledger.api_key.revoked.v1")]
    ApiKeyRevoked(ApiKeyRevoked),
    /// What a key of the API may be used for was changed.
    #[serde(rename = "ledger.api_key.scopes_set.v1")]
    ApiKeyScopesSet(ApiKeyScopesSet),
    /// A provider of bill payments was set up or changed.
    #[serde(rename = "ledger.provider.set.v1")]
    ProviderSet(ProviderSet),
    /// A bill payment was asked for.
    #[serde(rename = "ledger.payment.requested.v1")]
    PaymentRequested(PaymentRequested),
    /// A bill payment took a step.
    #[serde(rename = "ledger.payment.stepped.v1")]
    PaymentStepped(PaymentStepped),
}

impl ControlFact {
    /// The names of all types, in the order of their numbers.
    pub const TYPE_NAMES: [&'static str; 6] = [
        "ledger.api_key.issued.v1",
        "ledger.api_key.revoked.v1",
        "ledger.api_key.scopes_set.v1",
        "ledger.provider.set.v1",
        "ledger.payment.requested.v1",
        "ledger.payment.stepped.v1",
    ];

    /// Type number and version in the canonical form.
    const fn tag(&self) -> (u8, u8) {
        match self {
            Self::ApiKeyIssued(_) => (1, 1),
            Self::ApiKeyRevoked(_) => (2, 1),
            Self::ApiKeyScopesSet(_) => (3, 1),
            Self::ProviderSet(_) => (4, 1),
            Self::PaymentRequested(_) => (5, 1),
            Self::PaymentStepped(_) => (6, 1),
        }
    }

    /// The type's name with its version.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::ApiKeyIssued(_) => "ledger.api_key.issued.v1",
            Self::ApiKeyRevoked(_) => "ledger.api_key.revoked.v1",
            Self::ApiKeyScopesSet(_) => "ledger.api_key.scopes_set.v1",
            Self::ProviderSet(_) => "ledger.provider.set.v1",
            Self::PaymentRequested(_) => "ledger.payment.requested.v1",
            Self::PaymentStepped(_) => "ledger.payment.stepped.v1",
        }
    }

    /// The type of the aggregate that the fact is about.
    pub const fn aggregate_type(&self) -> &'static str {
        match self {
            Self::ApiKeyIssued(_) | Self::ApiKeyRevoked(_) | Self::ApiKeyScopesSet(_) => Holder::AGGREGATE_TYPE,
            Self::ProviderSet(_) => ProviderSet::AGGREGATE_TYPE,
            Self::PaymentRequested(_) | Self::PaymentStepped(_) => PaymentRequested::AGGREGATE_TYPE,
        }
    }

    /// The canonical bytes.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.encode(&mut out);
        out
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (type_number, version) = self.tag();
        out.push(type_number);
        out.push(version);
        match self {
            Self::ApiKeyIssued(issued) => issued.encode(out),
            Self::ApiKeyRevoked(revoked) => revoked.encode(out),
            Self::ApiKeyScopesSet(set) => set.encode(out),
            Self::ProviderSet(set) => set.encode(out),
            Self::PaymentRequested(requested) => requested.encode(out),
            Self::PaymentStepped(stepped) => stepped.encode(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let [type_number, version] = reader.array("control fact")?;
        if version != 1 {
            return Err(CodecError::UnknownTag { what: "version of a control fact", tag: version.into() });
        }
        Ok(match type_number {
            1 => Self::ApiKeyIssued(ApiKeyIssued::decode(reader)?),
            2 => Self::ApiKeyRevoked(ApiKeyRevoked::decode(reader)?),
            3 => Self::ApiKeyScopesSet(ApiKeyScopesSet::decode(reader)?),
            4 => Self::ProviderSet(ProviderSet::decode(reader)?),
            5 => Self::PaymentRequested(PaymentRequested::decode(reader)?),
            6 => Self::PaymentStepped(PaymentStepped::decode(reader)?),
            other => return Err(CodecError::UnknownTag { what: "control fact", tag: other.into() }),
        })
    }
}

/// A fact of the control plane with its place among those of its aggregate. It stands in the control journal, never in a book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlRecorded {
    /// Which aggregate of the type that the fact is about.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub aggregate: Box<str>,
    /// The number of the fact among those of its aggregate, from 1 and without gaps.
    pub version: u64,
    /// What happened.
    pub fact: ControlFact,
}

impl ControlRecorded {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.aggregate);
        put_varint(out, self.version.into());
        self.fact.encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            aggregate: reader.text("aggregate")?,
            version: reader.number("version")?,
            fact: ControlFact::decode(reader)?,
        })
    }
}
