//! Who a key speaks for.

use event_schemas::PrincipalId;
use event_schemas::control::Scopes;

/// Who a request speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// A hash of tenant and holder, and of the customer if there is one. It survives the rotation of the key.
    pub id: PrincipalId,
    /// Whose books.
    pub tenant: Box<str>,
    /// Who holds the key: a service or a person, for the audit trail.
    pub holder: Box<str>,
    /// The holder as command ids are derived from it (see [`Holder::scope`](event_schemas::control::Holder::scope)).
    pub holder_scope: Box<str>,
    /// The customer it is confined to: the owner of the accounts it may debit and read.
    pub customer: Option<Box<str>>,
    /// What it may do.
    pub scopes: Scopes,
}
