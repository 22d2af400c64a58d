//! The tables of notifications.

use event_schemas::codec::{CodecError, Reader, put_id, put_signed, put_text, put_varint};
use event_schemas::notices::NoticeTopic;
use event_schemas::{AccountId, Currency, Sequence, Timestamp};

use super::notice::{Channels, NoticeState, Template};
use crate::ports::{ColumnType, Table};
use crate::table::{
    Row, currency_of, key_number, key_text, put_key_number, put_key_text, put_sequence, put_time, sequence, time,
    value_with,
};

/// Whose accounts are; those of the house are not here.
pub static OWNERS: Table = Table {
    name: "notifications_owners",
    projection: super::NAME,
    columns: &[("account", ColumnType::Id), ("owner", ColumnType::Text)],
    key_columns: 1,
};

/// What customers want to be told.
pub static PREFERENCES: Table = Table {
    name: "notifications_preferences",
    projection: super::NAME,
    // The channels of each topic; `default` where the customer said nothing.
    columns: &[
        ("owner", ColumnType::Text),
        ("version", ColumnType::Number),
        ("money_in", ColumnType::Text),
        ("money_out", ColumnType::Text),
        ("hold", ColumnType::Text),
        ("refusal", ColumnType::Text),
        ("account", ColumnType::Text),
        ("settings", ColumnType::Text),
        ("set_sequence", ColumnType::Number),
    ],
    key_columns: 1,
};

/// Notices, customer by customer.
pub static NOTICES: Table = Table {
    name: "notifications_notices",
    projection: super::NAME,
    columns: &[
        ("owner", ColumnType::Text),
        ("sequence", ColumnType::Number),
        ("place", ColumnType::Number),
        ("recorded_at", ColumnType::Time),
        ("template", ColumnType::Text),
        ("channels", ColumnType::Text),
        ("state", ColumnType::Text),
        // The account; zero for none.
        ("account", ColumnType::Id),
        // The currency, empty for none, and the amount in it, zero for none.
        ("currency", ColumnType::Text),
        ("exponent", ColumnType::Number),
        ("amount_minor", ColumnType::Minor),
        // Of money, the kind of entry; of a refusal, the type of command.
        ("kind", ColumnType::Text),
        // The hold or the entry taken back; of a refusal, the code.
        ("about", ColumnType::Text),
        ("reference", ColumnType::Text),
    ],
    key_columns: 3,
};

/// Whose account it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRow {
    /// The customer.
    pub owner: Box<str>,
}

impl Row for OwnerRow {
    type Key = AccountId;
    const TABLE: &'static Table = &OWNERS;

    fn put_key(key: &AccountId, out: &mut Vec<u8>) {
        put_id(out, key.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<AccountId, CodecError> {
        reader.id("account").map(AccountId)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.owner);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { owner: reader.text("owner")? })
    }
}

/// What a customer wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreferencesRow {
    /// Their version.
    pub version: u64,
    /// The channels of each topic, in the order of [`NoticeTopic::ALL`]; `None` where the customer said nothing.
    pub topics: [Option<Channels>; 6],
    /// The event that set them.
    pub set_sequence: Sequence,
}

impl PreferencesRow {
    /// The channels of a topic, if the customer said which.
    pub fn channels(&self, topic: NoticeTopic) -> Option<Channels> {
        NoticeTopic::ALL.into_iter().zip(self.topics).find(|(one, _)| *one == topic).and_then(|(_, channels)| channels)
    }
}

/// What stands for the channels of a topic that the customer said nothing about.
const DEFAULT: &str = "default";

impl Row for PreferencesRow {
    type Key = Box<str>;
    const TABLE: &'static Table = &PREFERENCES;

    fn put_key(owner: &Box<str>, out: &mut Vec<u8>) {
        put_key_text(out, owner);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Box<str>, CodecError> {
        key_text(reader)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.version.into());
        for channels in self.topics {
            put_text(out, channels.map_or(DEFAULT, Channels::text));
        }
        put_sequence(out, self.set_sequence);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let version = reader.number("version")?;
        let mut topics = [None; 6];
        for channels in &mut topics {
            let text = reader.text("channels")?;
            *channels = if &*text == DEFAULT { None } else { Some(Channels::from_text(&text)?) };
        }
        Ok(Self { version, topics, set_sequence: sequence(reader)? })
    }
}

/// Which notice: whose, of which event, and which of those that the event tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeKey {
    /// The customer.
    pub owner: Box<str>,
    /// The event.
    pub sequence: Sequence,
    /// The place among the event's notices, from 0.
    pub place: u16,
}

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// When the event was recorded.
    pub recorded_at: Timestamp,
    /// What is told.
    pub template: Template,
    /// By which channels; one at least.
    pub channels: Channels,
    /// What became of it.
    pub state: NoticeState,
    /// The account that it is about, if it is about one.
    pub account: Option<AccountId>,
    /// The currency of the amount or of the limits, if there is one.
    pub currency: Option<Currency>,
    /// The amount in minor units, above zero; zero for none.
    pub amount_minor: i128,
    /// Of money, the kind of entry; of a refusal, the type of command; else empty.
    pub kind: Box<str>,
    /// The hold or the entry taken back; of a refusal, the code of the rejection; else empty.
    pub about: Box<str>,
    /// The command's free text.
    pub reference: Box<str>,
}

/// What is told, in the making: a notice without a text of its own, for there are some for nearly every event.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) template: Template,
    pub(super) account: Option<AccountId>,
    pub(super) currency: Option<Currency>,
    pub(super) amount_minor: i128,
    pub(super) kind: &'a str,
    pub(super) about: &'a str,
    pub(super) reference: &'a str,
}

impl Told<'_> {
    /// Appends the columns of a notice that are not its key.
    fn put(&self, recorded_at: Timestamp, channels: Channels, state: NoticeState, out: &mut Vec<u8>) {
        put_time(out, recorded_at);
        put_text(out, self.template.name());
        put_text(out, channels.text());
        put_text(out, state.name());
        put_id(out, self.account.map_or(0, |account| account.0));
        put_text(out, self.currency.as_ref().map_or("", Currency::code));
        put_varint(out, self.currency.map_or(0, |currency| currency.exponent().into()));
        put_signed(out, self.amount_minor);
        put_text(out, self.kind);
        put_text(out, self.about);
        put_text(out, self.reference);
    }

    /// The value of a notice that is queued.
    pub(super) fn queued(&self, recorded_at: Timestamp, channels: Channels) -> Vec<u8> {
        value_with(NoticeRow::VALUE_BYTES, |out| self.put(recorded_at, channels, NoticeState::Queued, out))
    }
}

/// The key of a notice.
pub(super) fn notice_key(owner: &str, sequence: Sequence, place: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(owner.len() + 18);
    put_key_text(&mut key, owner);
    put_key_number(&mut key, sequence.0);
    put_key_number(&mut key, place.into());
    key
}

impl Row for NoticeRow {
    type Key = NoticeKey;
    const TABLE: &'static Table = &NOTICES;

    fn put_key(key: &NoticeKey, out: &mut Vec<u8>) {
        put_key_text(out, &key.owner);
        put_key_number(out, key.sequence.0);
        put_key_number(out, key.place.into());
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<NoticeKey, CodecError> {
        Ok(NoticeKey {
            owner: key_text(reader)?,
            sequence: Sequence(key_number(reader)?),
            place: u16::try_from(key_number(reader)?).map_err(|_| CodecError::NotCanonical("place"))?,
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        let (kind, about, reference) = (&*self.kind, &*self.about, &*self.reference);
        let (account, currency, amount_minor) = (self.account, self.currency, self.amount_minor);
        let told = Told { template: self.template, account, currency, amount_minor, kind, about, reference };
        told.put(self.recorded_at, self.channels, self.state, out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let recorded_at = time(reader)?;
        let template = Template::from_name(&reader.text("template")?)?;
        let channels = Channels::from_text(&reader.text("channels")?)?;
        let state = NoticeState::from_name(&reader.text("state")?)?;
        let account = reader.id("account")?;
        let (code, exponent) = (reader.text("currency")?, reader.number("exponent")?);
        let currency = match &*code {
            "" => None,
            code => Some(currency_of(code, exponent)?),
        };
        Ok(Self {
            recorded_at,
            template,
            channels,
            state,
            account: (account != 0).then_some(AccountId(account)),
            currency,
            amount_minor: reader.signed("amount")?,
            kind: reader.text("kind")?,
            about: reader.text("about")?,
            reference: reader.text("reference")?,
        })
    }
}
