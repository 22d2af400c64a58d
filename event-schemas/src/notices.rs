//! What a customer wants to be told, and how. What is told is worked out by a read model; addresses stand elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Reader, put_text, put_varint};
use crate::command::bounded;

/// What a customer can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeTopic {
    /// Money came in.
    MoneyIn,
    /// Money went out.
    MoneyOut,
    /// Money was set aside, or is free again.
    Hold,
    /// Something that was asked for was refused.
    Refusal,
    /// An account was opened, frozen, unfrozen or closed.
    Account,
    /// The customer's limits or preferences changed.
    Settings,
}

impl NoticeTopic {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::MoneyIn, Self::MoneyOut, Self::Hold, Self::Refusal, Self::Account, Self::Settings];

    /// The number in the canonical form.
    pub const fn number(self) -> u8 {
        match self {
            Self::MoneyIn => 1,
            Self::MoneyOut => 2,
            Self::Hold => 3,
            Self::Refusal => 4,
            Self::Account => 5,
            Self::Settings => 6,
        }
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MoneyIn => "money_in",
            Self::MoneyOut => "money_out",
            Self::Hold => "hold",
            Self::Refusal => "refusal",
            Self::Account => "account",
            Self::Settings => "settings",
        }
    }
}

/// A way to tell a customer something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeChannel {
    /// By e-mail.
    Email,
    /// By SMS.
    Sms,
    /// In an open session, at once.
    Websocket,
}

impl NoticeChannel {
    /// All of them, in the order of their bits.
    pub const ALL: [Self; 3] = [Self::Email, Self::Sms, Self::Websocket];

    /// The bit in the canonical form.
    pub const fn bit(self) -> u8 {
        match self {
            Self::Email => 1,
            Self::Sms => 2,
            Self::Websocket => 4,
        }
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Websocket => "websocket",
        }
    }
}

/// Sets what a customer wants to be told, by topic and channel. A topic that is not named keeps what the house tells by
/// default; one that is named without a channel is not told at all. Also the event: the preferences were set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetNotificationPreferences {
    /// The customer: the owner of accounts.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub owner: Box<str>,
    /// The version of the customer's preferences; each must be above the one before.
    pub version: u64,
    /// The channels of each topic.
    pub topics: BTreeMap<NoticeTopic, BTreeSet<NoticeChannel>>,
}

impl SetNotificationPreferences {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.owner);
        put_varint(out, u128::from(self.version));
        put_varint(out, self.topics.len() as u128);
        for (topic, channels) in &self.topics {
            out.push(topic.number());
            out.push(channels.iter().fold(0, |bits, channel| bits | channel.bit()));
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (owner, version) = (reader.text("owner")?, reader.number("version")?);
        let count: usize = reader.number("topics")?;
        let mut topics = BTreeMap::new();
        for _ in 0..count {
            let [number, bits] = reader.array("topic")?;
            let topic = NoticeTopic::ALL.into_iter().find(|topic| topic.number() == number);
            let topic = topic.ok_or(CodecError::UnknownTag { what: "topic", tag: number.into() })?;
            let channels: BTreeSet<_> =
                NoticeChannel::ALL.into_iter().filter(|channel| bits & channel.bit() != 0).collect();
            let known = channels.iter().fold(0, |bits, channel| bits | channel.bit());
            if known != bits || topics.last_key_value().is_some_and(|(last, _)| *last >= topic) {
                return Err(CodecError::NotCanonical("topics"));
            }
            topics.insert(topic, channels);
        }
        Ok(Self { owner, version, topics })
    }
}
