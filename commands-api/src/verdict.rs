//! From a command to the answer of its request: submit it, and turn the recorded verdict into a 201 or a problem.
//!
//! Everything said about a command here comes from the engine's answer, which leaves the engine after the flush; nothing
//! with a sequence is said before.

use axum::http::{HeaderValue, StatusCode};
use event_schemas::{AccountId, Command, CommandBody, CommandId, Rejection, Sequence, Timestamp};
use ledger_core::ports::{Answer, Verdict};
use serde::Serialize;
use serde_json::Value;

use crate::admission::submit;
use crate::call::{Call, Outcome, json};
use crate::idempotency::{REPLAYED, command_id};
use crate::keys::Principal;
use crate::problem::{Code, Problem};

/// What a client is told about an accepted command.
#[derive(Serialize)]
struct Accepted {
    command_id: CommandId,
    sequence: Sequence,
    recorded_at: Timestamp,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountId>,
}

/// Gives a command to the book and answers with its verdict. `id` is the command's id in the body, if it has one.
pub(crate) async fn record(call: &Call, id: Option<CommandId>, body: CommandBody) -> Outcome {
    let id = command_id(&call.headers, id, &call.principal, body.type_name())?;
    record_as(call, id, body, |field| field).await
}

/// Like [`record`], for a command whose id is known; `member` names the body's member that a field of the command came
/// from.
pub(crate) async fn record_as(
    call: &Call,
    id: CommandId,
    body: CommandBody,
    member: impl Fn(&'static str) -> &'static str,
) -> Outcome {
    let account = opened(&body);
    let debited = debited(&body);
    let state = &*call.state;
    let command = Command { id, actor: call.principal.id, body };
    let answer = submit(&state.admission, &*state.sink, command, state.verdict_timeout).await?;
    match answer {
        Answer::Recorded { verdict: Verdict::Accepted, sequence, recorded_at, replayed } => {
            let accepted = Accepted { command_id: id, sequence, recorded_at, verdict: "accepted", account };
            let mut response = json(StatusCode::CREATED, &accepted)?;
            if replayed {
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            }
            Ok(response)
        }
        Answer::Recorded { verdict: Verdict::Rejected(rejection), sequence, recorded_at, replayed } => {
            Err(Problem::new(Code::from(&rejection))
                .with_command(id)
                .with_record(sequence, Some(recorded_at), replayed)
                .with_observed(observed(&rejection, &call.principal, debited)))
        }
        Answer::Conflict { field, sequence } => {
            Err(conflict(member(field)).with_command(id).with_record(sequence, None, false))
        }
    }
}

/// The account that a command opens.
fn opened(body: &CommandBody) -> Option<AccountId> {
    match body {
        CommandBody::OpenAccount(open) => Some(open.account),
        CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PostTransfer(_)
        | CommandBody::PostEntry(_) => None,
    }
}

/// The account that a transfer debits: the only one whose figures its customer may see.
pub(crate) fn debited(body: &CommandBody) -> Option<AccountId> {
    match body {
        CommandBody::PostTransfer(transfer) => Some(transfer.from),
        CommandBody::OpenAccount(_)
        | CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PostEntry(_) => None,
    }
}

/// What the book observed, without its code. A customer sees figures of the account it may debit and of no other: the
/// receiver of a transfer can be short of room too.
pub(crate) fn observed(rejection: &Rejection, principal: &Principal, own: Option<AccountId>) -> Option<Value> {
    let hidden = principal.customer.is_some() && figures_of(rejection).is_some_and(|account| Some(account) != own);
    if hidden {
        return None;
    }
    let mut tree = serde_json::to_value(rejection).ok()?;
    let fields = tree.as_object_mut()?;
    fields.remove("code");
    (!fields.is_empty()).then_some(tree)
}

/// The account whose figures a rejection shows.
const fn figures_of(rejection: &Rejection) -> Option<AccountId> {
    match rejection {
        Rejection::InsufficientFunds { account, .. }
        | Rejection::AccountNotEmpty { account, .. }
        | Rejection::BalanceOverflow { account } => Some(*account),
        Rejection::PostingsOutOfBounds { .. }
        | Rejection::AmountNotPositive
        | Rejection::AmountTooLarge
        | Rejection::EffectiveDateOutOfRange { .. }
        | Rejection::AccountCodeInvalid
        | Rejection::AccountExists { .. }
        | Rejection::SameAccount { .. }
        | Rejection::AccountNotFound { .. }
        | Rejection::AccountClosed { .. }
        | Rejection::AccountFrozen { .. }
        | Rejection::AccountNotFrozen { .. }
        | Rejection::CurrencyMismatch { .. }
        | Rejection::EntryUnbalanced { .. } => None,
    }
}

fn conflict(member: &'static str) -> Problem {
    let problem = Problem::new(Code::IdempotencyConflict);
    match member {
        "type" => problem.with_error("the earlier command was of another type", None),
        "id" => problem.with_error("the id was used by somebody else", Some("#/id".into())),
        member => problem.with_error(format!("{member} differs from the earlier command"), Some(format!("#/{member}"))),
    }
}
