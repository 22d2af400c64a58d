//! The tables of statements.

use event_schemas::codec::{self, CodecError, Reader, put_date, put_id, put_signed, put_text};
use event_schemas::entry::EntryOrigin;
use event_schemas::{AccountId, CivilDate, CommandId, Currency, PrincipalId, Sequence, Side, Timestamp};

use crate::Totals;
use crate::balances::rows::{put_totals, totals};
use crate::ports::{ColumnType, Table};
use crate::table::{
    Row, currency, key_number, key_time, put_currency, put_key_number, put_key_time, put_sequence, put_time, sequence,
    time,
};

/// Postings, account by account.
pub static POSTINGS: Table = Table {
    name: "statements_postings",
    projection: super::NAME,
    columns: &[
        ("account", ColumnType::Id),
        ("sequence", ColumnType::Number),
        ("posting", ColumnType::Number),
        ("credit", ColumnType::Flag),
        ("amount_minor", ColumnType::Minor),
        ("currency", ColumnType::Text),
        ("exponent", ColumnType::Number),
        ("debits_minor", ColumnType::Minor),
        ("credits_minor", ColumnType::Minor),
        ("effective_on", ColumnType::Date),
        ("recorded_at", ColumnType::Time),
        ("entry_kind", ColumnType::Text),
        // The hold captured or the command whose entry is reversed, as a UUID; empty for most, so it is a text and not an id.
        ("about", ColumnType::Text),
        ("reference", ColumnType::Text),
        ("command", ColumnType::Id),
        ("actor", ColumnType::Id),
    ],
    key_columns: 3,
};

/// The last sequence recorded at a point in time.
pub static TIMES: Table = Table {
    name: "statements_times",
    projection: super::NAME,
    columns: &[("recorded_at", ColumnType::Time), ("sequence", ColumnType::Number)],
    key_columns: 1,
};

/// Which posting: account, sequence of its entry, index in the entry from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostingKey {
    /// The account.
    pub account: AccountId,
    /// The entry's sequence.
    pub sequence: Sequence,
    /// The posting's index in the entry, from 0.
    pub posting: u16,
}

/// A posting with the totals behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostingRow {
    /// Debit or credit.
    pub side: Side,
    /// How much, above zero.
    pub amount_minor: i128,
    /// The currency.
    pub currency: Currency,
    /// The account's totals after this posting.
    pub after: Totals,
    /// The date it counts for.
    pub effective_on: CivilDate,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What the entry came from.
    pub origin: EntryOrigin,
    /// The command's free text.
    pub reference: Box<str>,
    /// The command.
    pub command: CommandId,
    /// Who gave it.
    pub actor: PrincipalId,
}

fn read_origin(reader: &mut Reader<'_>) -> Result<EntryOrigin, CodecError> {
    let (name, about) = (reader.text("entry kind")?, reader.text("about")?);
    let about: Option<CommandId> = match &*about {
        "" => None,
        text => Some(text.parse().map_err(|_| CodecError::NotCanonical("about"))?),
    };
    EntryOrigin::from_parts(&name, about).ok_or(CodecError::NotCanonical("entry kind"))
}

impl Row for PostingRow {
    type Key = PostingKey;
    const TABLE: &'static Table = &POSTINGS;

    fn put_key(key: &PostingKey, out: &mut Vec<u8>) {
        put_id(out, key.account.0);
        put_key_number(out, key.sequence.0);
        put_key_number(out, key.posting.into());
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<PostingKey, CodecError> {
        Ok(PostingKey {
            account: AccountId(reader.id("account")?),
            sequence: Sequence(key_number(reader)?),
            posting: u16::try_from(key_number(reader)?).map_err(|_| CodecError::NotCanonical("posting index"))?,
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.side == Side::Credit));
        put_signed(out, self.amount_minor);
        put_currency(out, self.currency);
        put_totals(out, self.after);
        put_date(out, self.effective_on);
        put_time(out, self.recorded_at);
        put_text(out, self.origin.name());
        match self.origin.about() {
            Some(about) => put_text(out, &about.to_string()),
            None => put_text(out, ""),
        }
        put_text(out, &self.reference);
        put_id(out, self.command.0);
        put_id(out, self.actor.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            side: if reader.flag("credit")? { Side::Credit } else { Side::Debit },
            amount_minor: reader.signed("amount")?,
            currency: currency(reader)?,
            after: totals(reader)?,
            effective_on: reader.date()?,
            recorded_at: time(reader)?,
            origin: read_origin(reader)?,
            reference: reader.text("reference")?,
            command: CommandId(reader.id("command")?),
            actor: PrincipalId(reader.id("actor")?),
        })
    }
}

/// The last sequence recorded at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRow {
    /// The sequence.
    pub sequence: Sequence,
}

impl Row for TimeRow {
    type Key = Timestamp;
    const TABLE: &'static Table = &TIMES;

    fn put_key(key: &Timestamp, out: &mut Vec<u8>) {
        put_key_time(out, *key);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Timestamp, CodecError> {
        key_time(reader)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_sequence(out, self.sequence);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        sequence(reader).map(|sequence| Self { sequence })
    }
}

/// The key of an account's postings before its first one.
pub(crate) fn first_key(account: AccountId) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    codec::put_id(&mut key, account.0);
    key
}
