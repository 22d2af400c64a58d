//! The tables of the audit trail.

use event_schemas::codec::{CodecError, Reader, put_id, put_text, put_varint};
use event_schemas::{AccountId, CommandId, PrincipalId, Sequence, Timestamp};

use crate::ports::{ColumnType, Table};
use crate::table::{Row, key_number, key_text, put_key_number, put_key_text, put_time, time};

/// Acts, in journal order.
pub static ACTS: Table = Table {
    name: "audit_acts",
    projection: super::NAME,
    columns: &[
        ("sequence", ColumnType::Number),
        ("recorded_at", ColumnType::Time),
        ("cause", ColumnType::Text),
        ("command", ColumnType::Id),
        ("actor", ColumnType::Id),
        ("command_type", ColumnType::Text),
        // `accepted`, or the code of the rejection.
        ("outcome", ColumnType::Text),
        // The hold or the entry that it is about; the customer, the calendar's zone or the operator. Empty for most.
        ("about", ColumnType::Text),
        // How many accounts it is about, and the first two of them; zero where there is none.
        ("accounts", ColumnType::Number),
        ("account", ColumnType::Id),
        ("other_account", ColumnType::Id),
    ],
    key_columns: 1,
};

/// Which acts are whose.
pub static BY_ACTOR: Table = Table {
    name: "audit_by_actor",
    projection: super::NAME,
    columns: &[("actor", ColumnType::Id), ("sequence", ColumnType::Number)],
    key_columns: 2,
};

/// Which acts are about an account, those that post to it left out: its statement leads to them.
pub static BY_ACCOUNT: Table = Table {
    name: "audit_by_account",
    projection: super::NAME,
    columns: &[("account", ColumnType::Id), ("sequence", ColumnType::Number)],
    key_columns: 2,
};

/// Which acts are about a customer and not about an account.
pub static BY_CUSTOMER: Table = Table {
    name: "audit_by_customer",
    projection: super::NAME,
    columns: &[("customer", ColumnType::Text), ("sequence", ColumnType::Number)],
    key_columns: 2,
};

/// Why an event stands in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActCause {
    /// A deadline, an operator at start, the opening of the book.
    Engine,
    /// It had to happen before a verdict.
    Consequence,
    /// A command's verdict.
    Verdict,
}

impl ActCause {
    /// The name in JSON and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Consequence => "consequence",
            Self::Verdict => "verdict",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Engine, Self::Consequence, Self::Verdict].into_iter().find(|cause| cause.name() == name)
    }
}

/// An act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRow {
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Why it happened.
    pub cause: ActCause,
    /// The command; zero if there was none.
    pub command: CommandId,
    /// Who gave it.
    pub actor: PrincipalId,
    /// What was asked, as commands are named in JSON; what the engine did is named alike.
    pub command_type: Box<str>,
    /// `accepted`, or the code of the rejection.
    pub outcome: Box<str>,
    /// The hold or the entry that it is about; the customer, the calendar's zone or the operator; empty for none.
    pub about: Box<str>,
    /// How many accounts it is about.
    pub accounts: u64,
    /// The first two of them.
    pub first_accounts: [Option<AccountId>; 2],
}

impl Row for ActRow {
    type Key = Sequence;
    const TABLE: &'static Table = &ACTS;

    fn put_key(key: &Sequence, out: &mut Vec<u8>) {
        put_key_number(out, key.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Sequence, CodecError> {
        key_number(reader).map(Sequence)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_time(out, self.recorded_at);
        put_text(out, self.cause.name());
        put_id(out, self.command.0);
        put_id(out, self.actor.0);
        put_text(out, &self.command_type);
        put_text(out, &self.outcome);
        put_text(out, &self.about);
        put_varint(out, self.accounts.into());
        for account in self.first_accounts {
            put_id(out, account.map_or(0, |account| account.0));
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let recorded_at = time(reader)?;
        let cause = ActCause::from_name(&reader.text("cause")?).ok_or(CodecError::NotCanonical("cause"))?;
        let (command, actor) = (CommandId(reader.id("command")?), PrincipalId(reader.id("actor")?));
        let (command_type, outcome) = (reader.text("command type")?, reader.text("outcome")?);
        let (about, accounts) = (reader.text("about")?, reader.number("accounts")?);
        let (account, other) = (AccountId(reader.id("account")?), AccountId(reader.id("other account")?));
        let first_accounts = [(accounts > 0).then_some(account), (accounts > 1).then_some(other)];
        Ok(Self { recorded_at, cause, command, actor, command_type, outcome, about, accounts, first_accounts })
    }
}

/// That an act is an actor's: all of it is key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActorRow;

impl Row for ActorRow {
    type Key = (PrincipalId, Sequence);
    const TABLE: &'static Table = &BY_ACTOR;
    const VALUE_BYTES: usize = 1;

    fn put_key((actor, sequence): &Self::Key, out: &mut Vec<u8>) {
        put_id(out, actor.0);
        put_key_number(out, sequence.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((PrincipalId(reader.id("actor")?), Sequence(key_number(reader)?)))
    }

    fn put(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }
}

/// That an act is about an account: all of it is key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountActRow;

impl Row for AccountActRow {
    type Key = (AccountId, Sequence);
    const TABLE: &'static Table = &BY_ACCOUNT;
    const VALUE_BYTES: usize = 1;

    fn put_key((account, sequence): &Self::Key, out: &mut Vec<u8>) {
        put_id(out, account.0);
        put_key_number(out, sequence.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((AccountId(reader.id("account")?), Sequence(key_number(reader)?)))
    }

    fn put(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }
}

/// That an act is about a customer: all of it is key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomerActRow;

impl Row for CustomerActRow {
    type Key = (Box<str>, Sequence);
    const TABLE: &'static Table = &BY_CUSTOMER;
    const VALUE_BYTES: usize = 1;

    fn put_key((customer, sequence): &Self::Key, out: &mut Vec<u8>) {
        put_key_text(out, customer);
        put_key_number(out, sequence.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((key_text(reader)?, Sequence(key_number(reader)?)))
    }

    fn put(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }
}
