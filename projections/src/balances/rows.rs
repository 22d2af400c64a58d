//! The tables of balances.

use event_schemas::codec::{CodecError, Reader, put_signed, put_text};
use event_schemas::command::{AccountKind, BalancePolicy};
use event_schemas::{AccountId, CivilDate, Currency, Sequence, Timestamp, codec};

use crate::Totals;
use crate::ports::{ColumnType, Table};
use crate::table::{
    Row, currency, key_date, key_text, put_currency, put_key_date, put_key_text, put_sequence, put_time, sequence, time,
};

/// Whether an account can be posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountStatus {
    /// It can.
    Open,
    /// Not until it is unfrozen.
    Frozen,
    /// Never again.
    Closed,
}

impl AccountStatus {
    /// The name in JSON and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Frozen => "frozen",
            Self::Closed => "closed",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Open, Self::Frozen, Self::Closed].into_iter().find(|status| status.name() == name)
    }
}

/// Accounts.
pub static ACCOUNTS: Table = Table {
    name: "balances_accounts",
    projection: super::NAME,
    columns: &[
        ("account", ColumnType::Id),
        ("code", ColumnType::Text),
        ("kind", ColumnType::Text),
        ("currency", ColumnType::Text),
        ("exponent", ColumnType::Number),
        ("owner", ColumnType::Text),
        ("unlimited", ColumnType::Flag),
        ("overdraft_minor", ColumnType::Minor),
        ("status", ColumnType::Text),
        ("debits_minor", ColumnType::Minor),
        ("credits_minor", ColumnType::Minor),
        ("pending_debits_minor", ColumnType::Minor),
        ("pending_credits_minor", ColumnType::Minor),
        ("opened_sequence", ColumnType::Number),
        ("opened_at", ColumnType::Time),
        ("changed_sequence", ColumnType::Number),
    ],
    key_columns: 1,
};

/// Which accounts an owner has.
pub static BY_OWNER: Table = Table {
    name: "balances_by_owner",
    projection: super::NAME,
    columns: &[("owner", ColumnType::Text), ("account", ColumnType::Id)],
    key_columns: 2,
};

/// What was debited and credited to an account, by effective date.
pub static DAYS: Table = Table {
    name: "balances_days",
    projection: super::NAME,
    columns: &[
        ("account", ColumnType::Id),
        ("effective_on", ColumnType::Date),
        ("debits_minor", ColumnType::Minor),
        ("credits_minor", ColumnType::Minor),
    ],
    key_columns: 2,
};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Its readable name, or empty.
    pub code: Box<str>,
    /// Its kind.
    pub kind: AccountKind,
    /// Its currency.
    pub currency: Currency,
    /// Whose it is, or empty.
    pub owner: Box<str>,
    /// How far it may fall.
    pub policy: BalancePolicy,
    /// Whether it can be posted to.
    pub status: AccountStatus,
    /// What was posted.
    pub posted: Totals,
    /// What is held and not posted.
    pub pending: Totals,
    /// The event that opened it.
    pub opened_sequence: Sequence,
    /// When that was recorded.
    pub opened_at: Timestamp,
    /// The last event that changed anything of the above.
    pub changed_sequence: Sequence,
}

pub(crate) fn kind_from_name(name: &str) -> Result<AccountKind, CodecError> {
    AccountKinds::ALL.into_iter().find(|kind| kind.name() == name).ok_or(CodecError::NotCanonical("account kind"))
}

/// The kinds of accounts, in the order of their numbers.
pub(crate) struct AccountKinds;

impl AccountKinds {
    pub(crate) const ALL: [AccountKind; 5] =
        [AccountKind::Asset, AccountKind::Liability, AccountKind::Equity, AccountKind::Income, AccountKind::Expense];
}

pub(crate) fn put_totals(out: &mut Vec<u8>, totals: Totals) {
    put_signed(out, totals.debits_minor);
    put_signed(out, totals.credits_minor);
}

pub(crate) fn totals(reader: &mut Reader<'_>) -> Result<Totals, CodecError> {
    let totals = Totals { debits_minor: reader.signed("debits")?, credits_minor: reader.signed("credits")? };
    // Below zero is no sum of amounts; kept out here, it can't overflow a balance later.
    if totals.debits_minor < 0 || totals.credits_minor < 0 {
        Err(CodecError::NotCanonical("totals"))
    } else {
        Ok(totals)
    }
}

impl Row for AccountRow {
    type Key = AccountId;
    const TABLE: &'static Table = &ACCOUNTS;

    fn put_key(key: &AccountId, out: &mut Vec<u8>) {
        codec::put_id(out, key.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<AccountId, CodecError> {
        reader.id("account").map(AccountId)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.code);
        put_text(out, self.kind.name());
        put_currency(out, self.currency);
        put_text(out, &self.owner);
        let (unlimited, overdraft_minor) = match self.policy {
            BalancePolicy::Limited { overdraft_minor } => (false, overdraft_minor),
            BalancePolicy::Unlimited => (true, 0),
        };
        out.push(u8::from(unlimited));
        put_signed(out, overdraft_minor);
        put_text(out, self.status.name());
        put_totals(out, self.posted);
        put_totals(out, self.pending);
        put_sequence(out, self.opened_sequence);
        put_time(out, self.opened_at);
        put_sequence(out, self.changed_sequence);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let code = reader.text("code")?;
        let kind = kind_from_name(&reader.text("kind")?)?;
        let currency = currency(reader)?;
        let owner = reader.text("owner")?;
        let unlimited = reader.flag("unlimited")?;
        let overdraft_minor = reader.signed("overdraft")?;
        let policy = match (unlimited, overdraft_minor) {
            (true, 0) => BalancePolicy::Unlimited,
            (false, 0..) => BalancePolicy::Limited { overdraft_minor },
            _ => return Err(CodecError::NotCanonical("balance policy")),
        };
        Ok(Self {
            code,
            kind,
            currency,
            owner,
            policy,
            status: AccountStatus::from_name(&reader.text("status")?).ok_or(CodecError::NotCanonical("status"))?,
            posted: totals(reader)?,
            pending: totals(reader)?,
            opened_sequence: sequence(reader)?,
            opened_at: time(reader)?,
            changed_sequence: sequence(reader)?,
        })
    }
}

/// That an owner has an account: all of it is key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerRow;

impl Row for OwnerRow {
    type Key = (Box<str>, AccountId);
    const TABLE: &'static Table = &BY_OWNER;
    const VALUE_BYTES: usize = 1;

    fn put_key((owner, account): &Self::Key, out: &mut Vec<u8>) {
        put_key_text(out, owner);
        codec::put_id(out, account.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((key_text(reader)?, AccountId(reader.id("account")?)))
    }

    fn put(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }
}

/// An account's totals of one effective date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayRow {
    /// What was debited and credited with effect on that date.
    pub totals: Totals,
}

impl Row for DayRow {
    type Key = (AccountId, CivilDate);
    const TABLE: &'static Table = &DAYS;

    fn put_key((account, date): &Self::Key, out: &mut Vec<u8>) {
        codec::put_id(out, account.0);
        put_key_date(out, *date);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((AccountId(reader.id("account")?), key_date(reader)?))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_totals(out, self.totals);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        totals(reader).map(|totals| Self { totals })
    }
}
