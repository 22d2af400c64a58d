//! The tables of the trial balance.

use event_schemas::codec::{CodecError, Reader, put_id, put_text, put_varint};
use event_schemas::command::AccountKind;
use event_schemas::{AccountId, Currency};

use crate::Totals;
use crate::balances::rows::{kind_from_name, put_totals, totals};
use crate::ports::{ColumnType, Table};
use crate::table::{Row, currency_of, key_number, key_text, put_key_number, put_key_text};

/// Totals by currency and kind.
pub static TOTALS: Table = Table {
    name: "trial_balance_totals",
    projection: super::NAME,
    columns: &[
        ("currency", ColumnType::Text),
        ("exponent", ColumnType::Number),
        ("kind", ColumnType::Number),
        ("accounts", ColumnType::Number),
        ("postings", ColumnType::Number),
        ("debits_minor", ColumnType::Minor),
        ("credits_minor", ColumnType::Minor),
    ],
    key_columns: 3,
};

/// The kind of each account.
pub static ACCOUNTS: Table = Table {
    name: "trial_balance_accounts",
    projection: super::NAME,
    columns: &[("account", ColumnType::Id), ("kind", ColumnType::Text)],
    key_columns: 1,
};

/// Counts of the whole book, in one row.
pub static BOOK: Table = Table {
    name: "trial_balance_book",
    projection: super::NAME,
    columns: &[("row", ColumnType::Number), ("accounts", ColumnType::Number), ("entries", ColumnType::Number)],
    key_columns: 1,
};

/// What was posted to the accounts of one kind in one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TotalsRow {
    /// How many accounts there are, closed ones included.
    pub accounts: u64,
    /// How many postings.
    pub postings: u64,
    /// Their sums.
    pub totals: Totals,
}

impl Row for TotalsRow {
    type Key = (Currency, u8);
    const TABLE: &'static Table = &TOTALS;

    fn put_key((currency, kind): &Self::Key, out: &mut Vec<u8>) {
        put_key_text(out, currency.code());
        put_key_number(out, currency.exponent().into());
        put_key_number(out, (*kind).into());
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        let code = key_text(reader)?;
        let currency = currency_of(&code, key_number(reader)?)?;
        Ok((currency, u8::try_from(key_number(reader)?).map_err(|_| CodecError::NotCanonical("kind"))?))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.accounts.into());
        put_varint(out, self.postings.into());
        put_totals(out, self.totals);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { accounts: reader.number("accounts")?, postings: reader.number("postings")?, totals: totals(reader)? })
    }
}

/// The kind of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindRow {
    /// The kind.
    pub kind: AccountKind,
}

impl Row for KindRow {
    type Key = AccountId;
    const TABLE: &'static Table = &ACCOUNTS;

    fn put_key(key: &AccountId, out: &mut Vec<u8>) {
        put_id(out, key.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<AccountId, CodecError> {
        reader.id("account").map(AccountId)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self.kind.name());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { kind: kind_from_name(&reader.text("kind")?)? })
    }
}

/// Counts of the whole book.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BookRow {
    /// Accounts ever opened.
    pub accounts: u64,
    /// Entries posted.
    pub entries: u64,
}

impl Row for BookRow {
    /// There is one row only, of the key 0.
    type Key = ();
    const TABLE: &'static Table = &BOOK;

    fn put_key((): &(), out: &mut Vec<u8>) {
        put_key_number(out, 0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<(), CodecError> {
        if key_number(reader)? == 0 { Ok(()) } else { Err(CodecError::NotCanonical("row")) }
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.accounts.into());
        put_varint(out, self.entries.into());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { accounts: reader.number("accounts")?, entries: reader.number("entries")? })
    }
}
