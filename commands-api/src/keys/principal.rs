//! Who a key speaks for, and what it may be used for.

use event_schemas::PrincipalId;
use serde::{Deserialize, Serialize};

use super::file::KeyFault;

/// What a key may be used for. No scope contains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Queries.
    Read,
    /// Money: open accounts, top up, withdraw, transfer, post entries.
    Write,
    /// Acts of the house: freeze, unfreeze and close accounts; set limits, fees and the calendar, close periods.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Admin => 4,
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin),
            other => Err(KeyFault::Refused(format!("{other:?} is not a scope: read, write and admin are"))),
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether it has this one.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// Who a request speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// A hash of tenant and holder, and of the customer if there is one. It survives the rotation of the key.
    pub id: PrincipalId,
    /// Whose books.
    pub tenant: Box<str>,
    /// Who holds the key: a service or a person, for the audit trail.
    pub holder: Box<str>,
    /// The holder as command ids are derived from it. Keys of one holder that speak for different customers have different
    /// ones, so that one customer's `Idempotency-Key` can't bring up another's verdict.
    pub holder_scope: Box<str>,
    /// The customer it is confined to: the owner of the accounts it may debit and read.
    pub customer: Option<Box<str>>,
    /// What it may do.
    pub scopes: Scopes,
}
