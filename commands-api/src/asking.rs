//! A command on its way from a body to the engine: what it takes to make one, and what is made.
//!
//! A command is made in the same way of a request's body and of an item of a batch; the two differ in where its identity
//! stands.

use axum::http::HeaderMap;
use event_schemas::{CommandBody, CommandId};

use crate::idempotency::{header_key, identity, item_key};
use crate::keys::Principal;
use crate::policy::{Action, permit};
use crate::problem::Problem;
use crate::state::Shared;

/// Where a command's idempotency key stands.
#[derive(Clone, Copy)]
pub(crate) enum KeyIn<'a> {
    /// In the header of the request.
    Header(&'a HeaderMap),
    /// In the member `idempotency_key` of an item, if it has one.
    Item(Option<&'a str>),
}

/// Who asks, of which book, and where the identity of what is asked stands.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) state: &'a Shared,
    pub(crate) principal: &'a Principal,
    pub(crate) key: KeyIn<'a>,
}

/// A command that may be given to the engine.
pub(crate) struct Prepared {
    pub(crate) id: CommandId,
    pub(crate) body: CommandBody,
    /// The member of the body that a field of the command came from.
    pub(crate) member: fn(&'static str) -> &'static str,
}

impl<'a> Asking<'a> {
    /// Whether the principal may do this. `Some` is the customer to whom the rest must belong.
    pub(crate) fn permit(&self, action: Action) -> Result<Option<&'a str>, Problem> {
        permit(self.principal, action)
    }

    /// The id of a command of this type: from the body's `id` or from the key, one of which must be there.
    pub(crate) fn command_id(&self, id: Option<CommandId>, type_name: &str) -> Result<CommandId, Problem> {
        let key = match self.key {
            KeyIn::Header(headers) => header_key(headers)?,
            KeyIn::Item(key) => key.map(item_key).transpose()?,
        };
        identity(id, key.as_deref(), self.principal, type_name)
    }

    /// A command whose fields have the names of the body's members.
    pub(crate) fn prepared(&self, id: Option<CommandId>, body: CommandBody) -> Result<Prepared, Problem> {
        Ok(Prepared { id: self.command_id(id, body.type_name())?, body, member: |field| field })
    }
}
