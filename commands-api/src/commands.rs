//! Verdicts: `GET /v1/books/{book}/commands/{command_id}`.
//!
//! The event is read from the journal, not from a read model: as soon as a command is answered its verdict is found here.

use axum::http::StatusCode;
use event_schemas::event::CommandRejected;
use event_schemas::{CommandId, EventBody, RecordedEvent, Sequence, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::admission::lookup;
use crate::call::{Call, Outcome, json};
use crate::keys::Principal;
use crate::openapi::params::CommandPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::rejected::observed;

#[derive(Serialize, ToSchema)]
struct VerdictAnswer {
    #[schema(value_type = types::CommandId)]
    command_id: CommandId,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    recorded_at: Timestamp,
    #[schema(value_type = types::Verdict)]
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::ProblemCode>, nullable = false)]
    code: Option<&'static str>,
    #[schema(value_type = types::VerdictEvent)]
    event: Value,
}

/// The verdict of a command
///
/// With its event. It is found here as soon as the command is answered. A key of a customer finds the commands of its
/// own principal.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/commands/{command}",
    tag = "book",
    operation_id = "get_command",
    params(CommandPath),
    responses(
        (status = OK, description = "The verdict.", body = VerdictAnswer),
        (status = 507),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadCommand)?;
    let missing = || Problem::new(Code::CommandNotFound);
    let id: CommandId = call.param("command").parse().map_err(|_| missing())?;
    let state = &*call.state;
    let recorded = lookup(&*state.sink, id, state.verdict_timeout).await?.ok_or_else(missing)?;
    let actor = recorded.event.cause.command().map(|(_, actor)| actor);
    if customer.is_some() && actor != Some(call.principal.id) {
        return Err(missing());
    }
    let rejected = match &recorded.event.body {
        EventBody::CommandRejected(rejected) => Some(rejected),
        EventBody::BookOpened(_)
        | EventBody::AccountOpened(_)
        | EventBody::AccountFrozen(_)
        | EventBody::AccountUnfrozen(_)
        | EventBody::AccountClosed(_)
        | EventBody::EntryPosted(_)
        | EventBody::EntryReversed(_)
        | EventBody::HoldPlaced(_)
        | EventBody::HoldCaptured(_)
        | EventBody::HoldVoided(_)
        | EventBody::HoldExpired(_)
        | EventBody::StateDigest(_)
        | EventBody::ClockAccepted(_)
        | EventBody::LimitsSet(_)
        | EventBody::LimitCharged(_)
        | EventBody::LimitReleased(_)
        | EventBody::CalendarPublished(_)
        | EventBody::FeeRuleSet(_)
        | EventBody::PeriodClosed(_)
        | EventBody::NotificationPreferencesSet(_)
        | EventBody::RateSheetPublished(_)
        | EventBody::ConversionPosted(_)
        | EventBody::JournalRestored(_)
        | EventBody::ControlRecorded(_)
        | EventBody::AccessLogged(_) => None,
    };
    let answer = VerdictAnswer {
        command_id: id,
        sequence: recorded.sequence,
        recorded_at: recorded.recorded_at,
        verdict: if rejected.is_some() { "rejected" } else { "accepted" },
        code: rejected.map(|rejected| rejected.rejection.code()),
        event: event_json(&recorded, rejected, &call.principal)?,
    };
    json(StatusCode::OK, &answer)
}

/// The event, with what its principal may not see of a rejection taken out.
fn event_json(
    recorded: &RecordedEvent,
    rejected: Option<&CommandRejected>,
    principal: &Principal,
) -> Result<Value, Problem> {
    let mut tree = serde_json::to_value(recorded).map_err(|error| {
        tracing::error!(%error, sequence = %recorded.sequence, "an event could not be written as JSON");
        Problem::new(Code::Internal)
    })?;
    if let Some(rejected) = rejected
        && observed(&rejected.rejection, &rejected.command, principal).is_none()
        && let Some(rejection) = tree.pointer_mut("/data/rejection").and_then(Value::as_object_mut)
    {
        rejection.retain(|key, _| key == "code");
    }
    Ok(tree)
}
