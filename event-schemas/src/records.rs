//! Facts about the record itself: closed periods, restored journals, and who looked at what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Reader, put_date, put_id, put_option, put_text, put_varint};
use crate::command::bounded;
use crate::date::CivilDate;
use crate::ids::{PrincipalId, Sequence};

/// Closes all days up to one: nothing is posted with an effective date in them any more. Also the event: they were closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosePeriod {
    /// The last day that is closed.
    pub through: CivilDate,
    /// Why; may be empty. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

/// An operator put a journal back from a backup, and accepted that what came after it is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalRestored {
    /// The last event of the backup.
    pub restored_to: Sequence,
    /// The newest event that the witness had seen, if there was a witness.
    pub witnessed: Option<Sequence>,
    /// Who said so.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub actor: Box<str>,
    /// Why.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

/// Somebody read something that is not everybody's. It stands in the access log, a journal of its own, never in a book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLogged {
    /// Who asked.
    pub actor: PrincipalId,
    /// What was asked, as the API names it, such as `get_statement`.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub operation: Box<str>,
    /// Of what: an account, a customer, a command; empty for the whole book.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub subject: Box<str>,
    /// The status of the answer, as in HTTP.
    pub status: u16,
    /// The request's id.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub request: Box<str>,
}

impl ClosePeriod {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_date(out, self.through);
        put_text(out, &self.reason);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { through: reader.date()?, reason: reader.text("reason")? })
    }
}

impl JournalRestored {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::from(self.restored_to.0));
        put_option(out, self.witnessed, |out, sequence| put_varint(out, u128::from(sequence.0)));
        put_text(out, &self.actor);
        put_text(out, &self.reason);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            restored_to: Sequence(reader.number("sequence")?),
            witnessed: reader.option("witnessed", |reader| reader.number("sequence").map(Sequence))?,
            actor: reader.text("actor")?,
            reason: reader.text("reason")?,
        })
    }
}

impl AccessLogged {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.actor.0);
        put_text(out, &self.operation);
        put_text(out, &self.subject);
        put_varint(out, u128::from(self.status));
        put_text(out, &self.request);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            actor: PrincipalId(reader.id("actor")?),
            operation: reader.text("operation")?,
            subject: reader.text("subject")?,
            status: reader.number("status")?,
            request: reader.text("request")?,
        })
    }
}
