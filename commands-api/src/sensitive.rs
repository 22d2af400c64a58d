//! Sensitive reads: each is on the access log before its answer leaves, or nothing leaves.
//!
//! Every query that needs a key is one, unless its route says that it shows nothing of anybody's: so a new query can't forget
//! it. A dry run is one too, because it shows balances. What is on record is who asked, what, of what and with which outcome;
//! a refusal is on record like an answer. Nothing else of a request is, so nothing can get into the log by way of a path.

use std::sync::{Arc, LazyLock};

use axum::http::HeaderValue;
use event_schemas::bounds::OWNER_MAX_BYTES;
use event_schemas::event::AccessLogged;
use event_schemas::{CommandId, PrincipalId};
use utoipa::Path;

use crate::access::AccessLog;
use crate::amounts;
use crate::call::{Call, Outcome};
use crate::problem::{Code, Problem};
use crate::text::free_text;

/// The name of an operation, looked up in its description when it is first needed.
pub(crate) type OperationName = LazyLock<Box<str>, fn() -> Box<str>>;

/// The name in this description.
pub(crate) fn name_of<P: Path>() -> Box<str> {
    P::operation().operation_id.unwrap_or_default().into()
}

/// What was read, told by a handler that knows it better than the path does: part of an answer's extensions.
#[derive(Debug, Clone)]
pub(crate) struct Subject(pub(crate) Box<str>);

/// A read on its way to the log.
pub(crate) struct Read {
    log: Arc<dyn AccessLog>,
    actor: PrincipalId,
    operation: Box<str>,
    subject: Box<str>,
    request: HeaderValue,
}

impl Read {
    /// The read that a call is; `None` if this server keeps no access log.
    pub(crate) fn of(call: &Call, operation: &str, request: &HeaderValue) -> Option<Self> {
        let log = call.state.access.clone()?;
        let operation = if call.dry_run { format!("{operation}?dry_run=true").into() } else { operation.into() };
        Some(Self { log, actor: call.principal.id, operation, subject: subject(call), request: request.clone() })
    }

    /// Puts the read on record. What it would have shown stays here if that can't be done.
    pub(crate) fn recorded(self, outcome: Outcome) -> Outcome {
        let (status, named) = match &outcome {
            Ok(response) => (response.status(), response.extensions().get::<Subject>().cloned()),
            Err(problem) => (problem.code().status(), None),
        };
        let access = AccessLogged {
            actor: self.actor,
            operation: self.operation,
            subject: named.map_or(self.subject, |Subject(named)| named),
            status: status.as_u16(),
            request: self.request.to_str().unwrap_or_default().into(),
        };
        match self.log.try_record(access) {
            Ok(()) => outcome,
            Err(_) => Err(Problem::new(Code::AccessLogBusy).with_retry_after(1)),
        }
    }
}

/// What a path is about: an account by its id however it was named, a customer, a hold or a command. Without one, it is the
/// customer to whom the key is confined, or the whole book: an empty text.
fn subject(call: &Call) -> Box<str> {
    let command = |text: &str| text.parse::<CommandId>().map(|id| id.to_string()).unwrap_or_default().into();
    let command_or_payment = match call.param("payment") {
        "" => "command",
        _ => "payment",
    };
    match ["account", "owner", "hold", command_or_payment].map(|name| call.param(name)) {
        ["", "", "", ""] => call.principal.customer.clone().unwrap_or_default(),
        ["", "", "", id] | ["", "", id, _] => command(id),
        ["", owner, ..] => free_text(owner, "#", OWNER_MAX_BYTES).unwrap_or_default(),
        [account, ..] => {
            amounts::account(account, call.state.book, "#").map(|id| id.to_string()).unwrap_or_default().into()
        }
    }
}
