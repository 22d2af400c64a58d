//! From a command to the answer of its request: submit it, and turn the recorded verdict into a 201 or a problem.
//!
//! Everything said about a command here comes from the engine's answer, which leaves the engine after the flush; nothing
//! with a sequence is said before.

use axum::http::{HeaderValue, StatusCode};
use event_schemas::{AccountId, Command, CommandBody, CommandId, Sequence, Timestamp};
use ledger_core::ports::{Answer, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use crate::admission::{lookup, submit};
use crate::asking::Prepared;
use crate::call::{Call, Outcome, json};
use crate::dry_run;
use crate::idempotency::REPLAYED;
use crate::keys::Principal;
use crate::openapi::types;
use crate::problem::{Code, Problem};
use crate::rejected;
use crate::views::AmountJson;

/// What a client is told about an accepted command.
#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedAnswer)]
pub(crate) struct Accepted {
    #[schema(value_type = types::CommandId)]
    command_id: CommandId,
    #[schema(value_type = types::Sequence)]
    pub(crate) sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    recorded_at: Timestamp,
    #[schema(value_type = types::Verdict)]
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::AccountId>, nullable = false)]
    pub(crate) account: Option<AccountId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    pub(crate) hold: Option<CommandId>,
    /// Of a transfer up to an amount: how much moved. Not told in a batch; the verdict's event has it in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::Amount>, nullable = false)]
    moved: Option<AmountJson>,
    #[serde(skip)]
    pub(crate) replayed: bool,
}

/// Gives a command to the book and answers with its verdict; or with the one it would get, if that is all that is asked.
pub(crate) async fn record(call: &Call, prepared: Prepared) -> Outcome {
    if call.dry_run {
        return dry_run::single(call, prepared).await;
    }
    let state = &*call.state;
    let command = Command { id: prepared.id, actor: call.principal.id, body: prepared.body.clone() };
    let answer = submit(&state.admission, &*state.sink, command, state.verdict_timeout).await?;
    let mut accepted = told(answer, &prepared, &call.principal)?;
    if matches!(prepared.body, CommandBody::TransferUpTo(_)) {
        // The verdict stands, whether its event can be read just now or not.
        let found = lookup(&*state.sink, prepared.id, state.verdict_timeout).await.ok().flatten();
        accepted.moved = found.and_then(|recorded| dry_run::moved(&recorded.event.body));
    }
    let mut response = json(StatusCode::CREATED, &accepted)?;
    if accepted.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The engine's answer to a command as its principal is told it.
pub(crate) fn told(answer: Answer, prepared: &Prepared, principal: &Principal) -> Result<Accepted, Problem> {
    let Prepared { id, body, member } = prepared;
    match answer {
        Answer::Recorded { verdict: Verdict::Accepted, sequence, recorded_at, replayed } => {
            let account = opened(body);
            let hold = placed(prepared);
            Ok(Accepted {
                command_id: *id,
                sequence,
                recorded_at,
                verdict: "accepted",
                account,
                hold,
                moved: None,
                replayed,
            })
        }
        Answer::Recorded { verdict: Verdict::Rejected(rejection), sequence, recorded_at, replayed } => {
            Err(rejected::problem(&rejection, body, principal).with_command(*id).with_record(
                sequence,
                Some(recorded_at),
                replayed,
            ))
        }
        Answer::Conflict { field, sequence } => {
            Err(conflict(member(field)).with_command(*id).with_record(sequence, None, false))
        }
    }
}

/// The hold that a command places: it has the command's id.
pub(crate) fn placed(prepared: &Prepared) -> Option<CommandId> {
    matches!(prepared.body, CommandBody::PlaceHold(_)).then_some(prepared.id)
}

/// The account that a command opens.
pub(crate) fn opened(body: &CommandBody) -> Option<AccountId> {
    match body {
        CommandBody::OpenAccount(open) => Some(open.account),
        CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PostTransfer(_)
        | CommandBody::PostEntry(_)
        | CommandBody::PlaceHold(_)
        | CommandBody::CaptureHold(_)
        | CommandBody::VoidHold(_)
        | CommandBody::ReverseEntry(_)
        | CommandBody::TransferUpTo(_)
        | CommandBody::SetLimits(_)
        | CommandBody::PublishCalendar(_)
        | CommandBody::SetFeeRule(_)
        | CommandBody::ClosePeriod(_)
        | CommandBody::SetNotificationPreferences(_)
        | CommandBody::PublishRateSheet(_)
        | CommandBody::ConvertFunds(_) => None,
    }
}

fn conflict(member: &'static str) -> Problem {
    let problem = Problem::new(Code::IdempotencyConflict);
    match member {
        "type" => problem.with_error("the earlier command was of another type", None),
        "id" => {
            let detail = "the id was used before: by somebody else, or without the rest of this batch";
            problem.with_error(detail, Some("#/id".into()))
        }
        "linked" => problem.with_error("the earlier commands were not linked as these are", None),
        member => problem.with_error(format!("{member} differs from the earlier command"), Some(format!("#/{member}"))),
    }
}
