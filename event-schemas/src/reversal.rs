//! Reversals: a new entry with the sides swapped, that names the entry it takes back, in whole or in part.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds::POSTINGS_MAX;
use crate::codec::{CodecError, Reader, put_date, put_id, put_option, put_postings, put_signed, put_text, put_varint};
use crate::command::{bounded, minor_text};
use crate::date::CivilDate;
use crate::ids::{CommandId, Sequence};
use crate::money::Postings;

/// A part of an entry to be reversed: so much of one posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReversedPart {
    /// The place of the posting in the original entry, from 0.
    pub posting: u32,
    /// How much of it, in minor units of its currency.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub amount_minor: i128,
}

/// Takes an entry back, by a new one with the sides swapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReverseEntry {
    /// The entry: the id of the command that posted it, or that captured a hold.
    pub entry: CommandId,
    /// Which parts of it; all that is left of it if absent.
    #[serde(deserialize_with = "parts")]
    #[schemars(with = "Option<Vec<ReversedPart>>", length(max = 1000))]
    pub postings: Option<Vec<ReversedPart>>,
    /// The date it counts for; the date of recording if absent.
    pub effective_on: Option<CivilDate>,
    /// A free text. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// An entry was reversed, in whole or in part. It is an entry itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryReversed {
    /// The entry it reverses: the id of its command.
    pub entry: CommandId,
    /// The sequence of that entry.
    pub reverses: Sequence,
    /// Whether the command asked for all that was left; otherwise it named the parts.
    pub rest: bool,
    /// The date it counts for.
    pub effective_on: CivilDate,
    /// Whether the command named that date; otherwise it is the date of recording.
    pub effective_on_named: bool,
    /// The command's free text.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
    /// Its postings, zero in sum per currency.
    #[serde(deserialize_with = "bounded::postings")]
    #[schemars(with = "Vec<crate::money::Posting>", length(max = 1000))]
    pub postings: Postings,
    /// For each of its postings, the place in the original of the posting that it reverses, from 0.
    #[schemars(length(max = 1000))]
    pub places: Vec<u32>,
}

fn parts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<ReversedPart>>, D::Error> {
    let parts = <Option<Vec<ReversedPart>>>::deserialize(deserializer)?;
    if parts.as_ref().is_none_or(|parts| parts.len() <= POSTINGS_MAX) {
        Ok(parts)
    } else {
        Err(serde::de::Error::custom("more than 1,000 parts"))
    }
}

impl ReverseEntry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.entry.0);
        put_option(out, self.postings.as_deref(), |out, parts| {
            assert!(parts.len() <= POSTINGS_MAX, "a reversal of {} parts", parts.len());
            put_varint(out, parts.len() as u128);
            for part in parts {
                put_varint(out, u128::from(part.posting));
                put_signed(out, part.amount_minor);
            }
        });
        put_option(out, self.effective_on, put_date);
        put_text(out, &self.reference);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            entry: CommandId(reader.id("entry")?),
            postings: reader.option("parts", read_parts)?,
            effective_on: reader.option("effective date", Reader::date)?,
            reference: reader.text("reference")?,
        })
    }
}

fn read_parts(reader: &mut Reader<'_>) -> Result<Vec<ReversedPart>, CodecError> {
    let count: usize = reader.number("parts")?;
    if count > POSTINGS_MAX {
        return Err(CodecError::NotCanonical("parts"));
    }
    let part = |reader: &mut Reader<'_>| {
        Ok(ReversedPart { posting: reader.number("place of a posting")?, amount_minor: reader.signed("amount")? })
    };
    (0..count).map(|_| part(reader)).collect()
}

impl EntryReversed {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        assert_eq!(self.postings.len(), self.places.len(), "every posting of a reversal has its place in the original");
        put_id(out, self.entry.0);
        put_varint(out, u128::from(self.reverses.0));
        out.push(u8::from(self.rest));
        put_date(out, self.effective_on);
        out.push(u8::from(self.effective_on_named));
        put_text(out, &self.reference);
        put_postings(out, &self.postings);
        for place in &self.places {
            put_varint(out, u128::from(*place));
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let entry = CommandId(reader.id("entry")?);
        let reverses = Sequence(reader.number("reversed sequence")?);
        let rest = reader.flag("rest")?;
        let effective_on = reader.date()?;
        let effective_on_named = reader.flag("effective date named")?;
        let reference = reader.text("reference")?;
        let postings = reader.postings()?;
        let places: Result<_, _> = (0..postings.len()).map(|_| reader.number("place of a posting")).collect();
        Ok(Self { entry, reverses, rest, effective_on, effective_on_named, reference, postings, places: places? })
    }
}
