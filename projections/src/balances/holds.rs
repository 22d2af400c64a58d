//! The tables of holds.

use event_schemas::codec::{CodecError, Reader, put_id, put_signed, put_text};
use event_schemas::{AccountId, CommandId, Currency, Sequence, Timestamp};

use crate::ports::{ColumnType, Table};
use crate::table::{Row, currency, put_currency, put_sequence, put_time, sequence, time};

/// Holds, open and ended.
pub static HOLDS: Table = Table {
    name: "balances_holds",
    projection: super::NAME,
    columns: &[
        ("hold", ColumnType::Id),
        ("account", ColumnType::Id),
        ("amount_minor", ColumnType::Minor),
        ("currency", ColumnType::Text),
        ("exponent", ColumnType::Number),
        ("left_minor", ColumnType::Minor),
        ("captured_minor", ColumnType::Minor),
        ("expires", ColumnType::Flag),
        ("expires_at", ColumnType::Time),
        ("reference", ColumnType::Text),
        ("status", ColumnType::Text),
        ("placed_sequence", ColumnType::Number),
        ("placed_at", ColumnType::Time),
        ("changed_sequence", ColumnType::Number),
    ],
    key_columns: 1,
};

/// Which holds of an account are open.
pub static OPEN_HOLDS: Table = Table {
    name: "balances_open_holds",
    projection: super::NAME,
    columns: &[("account", ColumnType::Id), ("hold", ColumnType::Id)],
    key_columns: 2,
};

/// What became of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldStatus {
    /// Something is held under it.
    Open,
    /// It was captured in full, or for the last time.
    Captured,
    /// It was voided; parts may have been captured before.
    Voided,
    /// Its deadline came; parts may have been captured before.
    Expired,
}

impl HoldStatus {
    const ALL: [Self; 4] = [Self::Open, Self::Captured, Self::Voided, Self::Expired];

    /// The name in JSON and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
        }
    }
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// The account whose money is held.
    pub account: AccountId,
    /// How much was held to begin with, in minor units.
    pub amount_minor: i128,
    /// The currency.
    pub currency: Currency,
    /// How much is held now; zero once it has ended.
    pub left_minor: i128,
    /// How much was captured, fees included.
    pub captured_minor: i128,
    /// Its deadline, if it has one.
    pub expires_at: Option<Timestamp>,
    /// The free text of the command that placed it.
    pub reference: Box<str>,
    /// What became of it.
    pub status: HoldStatus,
    /// The event that placed it.
    pub placed_sequence: Sequence,
    /// When that was recorded.
    pub placed_at: Timestamp,
    /// The last event that changed it.
    pub changed_sequence: Sequence,
}

impl Row for HoldRow {
    type Key = CommandId;
    const TABLE: &'static Table = &HOLDS;

    fn put_key(key: &CommandId, out: &mut Vec<u8>) {
        put_id(out, key.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<CommandId, CodecError> {
        reader.id("hold").map(CommandId)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_id(out, self.account.0);
        put_signed(out, self.amount_minor);
        put_currency(out, self.currency);
        put_signed(out, self.left_minor);
        put_signed(out, self.captured_minor);
        out.push(u8::from(self.expires_at.is_some()));
        put_time(out, self.expires_at.unwrap_or_default());
        put_text(out, &self.reference);
        put_text(out, self.status.name());
        put_sequence(out, self.placed_sequence);
        put_time(out, self.placed_at);
        put_sequence(out, self.changed_sequence);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (account, amount_minor) = (AccountId(reader.id("account")?), reader.signed("amount")?);
        let currency = currency(reader)?;
        let (left_minor, captured_minor) = (reader.signed("left")?, reader.signed("captured")?);
        if left_minor < 0 || captured_minor < 0 {
            return Err(CodecError::NotCanonical("hold"));
        }
        let expires_at = match (reader.flag("expires")?, time(reader)?) {
            (true, at) => Some(at),
            (false, Timestamp(0)) => None,
            (false, _) => return Err(CodecError::NotCanonical("deadline")),
        };
        let reference = reader.text("reference")?;
        let name = reader.text("status")?;
        let status = HoldStatus::ALL.into_iter().find(|status| status.name() == &*name);
        Ok(Self {
            account,
            amount_minor,
            currency,
            left_minor,
            captured_minor,
            expires_at,
            reference,
            status: status.ok_or(CodecError::NotCanonical("status"))?,
            placed_sequence: sequence(reader)?,
            placed_at: time(reader)?,
            changed_sequence: sequence(reader)?,
        })
    }
}

/// That a hold of an account is open: all of it is key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHoldRow;

impl Row for OpenHoldRow {
    type Key = (AccountId, CommandId);
    const TABLE: &'static Table = &OPEN_HOLDS;
    const VALUE_BYTES: usize = 1;

    fn put_key((account, hold): &Self::Key, out: &mut Vec<u8>) {
        put_id(out, account.0);
        put_id(out, hold.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((AccountId(reader.id("account")?), CommandId(reader.id("hold")?)))
    }

    fn put(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }
}
