//! Providers of bill payments: what can be paid, in which currencies, for which fee, and what a payer has to say.
//!
//! A provider is one aggregate. Each fact has the whole of what holds from then on, so that the history reads without adding up.
//! How a provider is reached (URL, secret) is configuration: secrets are never facts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds::{PROVIDER_FIELDS_MAX, PROVIDER_TERMS_MAX};
use crate::codec::{CodecError, Reader, put_currency, put_option, put_signed, put_text, put_time, put_varint};
use crate::command::{bounded, minor_text};
use crate::currency::Currency;
use crate::date::Timestamp;

/// What a provider is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderCategory {
    /// Water, electricity, heating and the like.
    Utilities,
    /// Access to the net.
    Internet,
    /// Telephones.
    Mobile,
    /// Anything else.
    Other,
}

impl ProviderCategory {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Utilities, Self::Internet, Self::Mobile, Self::Other];

    const fn number(self) -> u8 {
        match self {
            Self::Utilities => 1,
            Self::Internet => 2,
            Self::Mobile => 3,
            Self::Other => 4,
        }
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utilities => "utilities",
            Self::Internet => "internet",
            Self::Mobile => "mobile",
            Self::Other => "other",
        }
    }
}

/// Which texts a field takes, before its lengths and its pattern are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Any text without control characters.
    Text,
    /// The digits 0 to 9.
    Digits,
    /// A telephone number: a plus and digits, as in E.164.
    Phone,
    /// A calendar date, `YYYY-MM-DD`.
    Date,
}

impl FieldKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Text, Self::Digits, Self::Phone, Self::Date];

    const fn number(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Digits => 2,
            Self::Phone => 3,
            Self::Date => 4,
        }
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Digits => "digits",
            Self::Phone => "phone",
            Self::Date => "date",
        }
    }
}

/// Something that a payer has to say, such as a customer number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderField {
    /// Its name in `details`.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub name: Box<str>,
    /// What people are shown.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub label: Box<str>,
    /// Whether it must be there.
    pub required: bool,
    /// Which texts it takes.
    pub kind: FieldKind,
    /// A regular expression that the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounded::text_option")]
    #[schemars(length(max = 256))]
    pub pattern: Option<Box<str>>,
    /// The fewest characters.
    pub length_min: u16,
    /// The most characters.
    pub length_max: u16,
}

/// What holds for payments in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderTerms {
    /// The currency.
    pub currency: Currency,
    /// The fee of every payment, in minor units.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub fee_fixed_minor: i128,
    /// The fee on top of it, in basis points of the amount; halves go to the even minor unit.
    pub fee_rate_bp: u16,
    /// The least amount, in minor units.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub amount_min_minor: i128,
    /// The highest amount, in minor units.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub amount_max_minor: i128,
}

/// A provider as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSet {
    /// Its id: lower-case letters, digits and hyphens.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub provider: Box<str>,
    /// Its name.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub name: Box<str>,
    /// What it is paid for.
    pub category: ProviderCategory,
    /// Whether payments to it are taken.
    pub enabled: bool,
    /// Whether it may take less than it was offered: what it took is captured then, and the rest let go.
    pub partial: bool,
    /// The code of the accounts of what it is owed; a colon and the currency follow.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub payable: Box<str>,
    /// What holds in each currency.
    #[schemars(length(max = 16))]
    pub terms: Vec<ProviderTerms>,
    /// What a payer has to say.
    #[schemars(length(max = 16))]
    pub fields: Vec<ProviderField>,
    /// When.
    pub set_at: Timestamp,
    /// Who set it.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub actor: Box<str>,
    /// Why; may be empty. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

impl ProviderField {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        put_text(out, &self.label);
        out.push(u8::from(self.required));
        out.push(self.kind.number());
        put_option(out, self.pattern.as_deref(), put_text);
        put_varint(out, self.length_min.into());
        put_varint(out, self.length_max.into());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            name: reader.text("field")?,
            label: reader.text("label")?,
            required: reader.flag("required")?,
            kind: {
                let number = reader.byte("kind of a field")?;
                let known = FieldKind::ALL.into_iter().find(|kind| kind.number() == number);
                known.ok_or(CodecError::UnknownTag { what: "kind of a field", tag: number.into() })?
            },
            pattern: reader.option("pattern", |reader| reader.text("pattern"))?,
            length_min: reader.number("least length")?,
            length_max: reader.number("greatest length")?,
        })
    }
}

impl ProviderTerms {
    fn encode(self, out: &mut Vec<u8>) {
        put_currency(out, self.currency);
        put_signed(out, self.fee_fixed_minor);
        put_varint(out, self.fee_rate_bp.into());
        put_signed(out, self.amount_min_minor);
        put_signed(out, self.amount_max_minor);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            currency: reader.currency()?,
            fee_fixed_minor: reader.signed("fixed fee")?,
            fee_rate_bp: reader.number("rate of the fee")?,
            amount_min_minor: reader.signed("least amount")?,
            amount_max_minor: reader.signed("greatest amount")?,
        })
    }
}

/// A list of at most so many.
pub(super) fn list<'a, T>(
    reader: &mut Reader<'a>,
    what: &'static str,
    most: usize,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let count: usize = reader.number(what)?;
    if count > most {
        return Err(CodecError::NotCanonical(what));
    }
    (0..count).map(|_| item(reader)).collect()
}

impl ProviderSet {
    /// The type of the aggregate that a provider is.
    pub const AGGREGATE_TYPE: &'static str = "provider";

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.provider);
        put_text(out, &self.name);
        out.push(self.category.number());
        out.push(u8::from(self.enabled));
        out.push(u8::from(self.partial));
        put_text(out, &self.payable);
        put_varint(out, self.terms.len() as u128);
        for terms in &self.terms {
            terms.encode(out);
        }
        put_varint(out, self.fields.len() as u128);
        for field in &self.fields {
            field.encode(out);
        }
        put_time(out, self.set_at);
        put_text(out, &self.actor);
        put_text(out, &self.reason);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            provider: reader.text("provider")?,
            name: reader.text("name")?,
            category: {
                let number = reader.byte("category")?;
                let known = ProviderCategory::ALL.into_iter().find(|category| category.number() == number);
                known.ok_or(CodecError::UnknownTag { what: "category", tag: number.into() })?
            },
            enabled: reader.flag("enabled")?,
            partial: reader.flag("partial")?,
            payable: reader.text("payable")?,
            terms: list(reader, "terms", PROVIDER_TERMS_MAX, ProviderTerms::decode)?,
            fields: list(reader, "fields", PROVIDER_FIELDS_MAX, ProviderField::decode)?,
            set_at: reader.time()?,
            actor: reader.text("actor")?,
            reason: reader.text("reason")?,
        })
    }
}
