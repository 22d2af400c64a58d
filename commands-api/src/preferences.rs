//! What a customer wants to be told: `POST …/customers/{owner}/notification-preferences`.

use event_schemas::CommandBody;
use event_schemas::notices::{NoticeTopic, SetNotificationPreferences};

use crate::asking::{Asking, Prepared};
use crate::body::{Object, parse};
use crate::call::{Call, Outcome};
use crate::dto::{PreferencesRequest, TopicsRequest};
use crate::limits::customer_to_set;
use crate::openapi::params::{CustomerPath, IdempotencyKey};
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::verdict::{Accepted, record};

/// Set what a customer is told
///
/// By topic and channel. A topic that is not given keeps what the house tells by default; one without a channel is not told at
/// all. Replaces the preferences that were set before. Needs the scope write; a key of a customer sets its own.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/customers/{owner}/notification-preferences",
    tag = "customers",
    operation_id = "set_notification_preferences",
    params(CustomerPath, IdempotencyKey),
    request_body = PreferencesRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn set(call: Call) -> Outcome {
    let prepared = prepare(&call.asking(), || customer_to_set(&call), &call.body)?;
    record(&call, prepared).await
}

/// The preferences of this customer.
pub(crate) fn prepare(
    asking: &Asking<'_>,
    owner: impl FnOnce() -> Result<Box<str>, Problem>,
    body: &[u8],
) -> Result<Prepared, Problem> {
    let customer = asking.permit(Action::SetPreferences)?;
    let request = parse::<PreferencesRequest>(body)?;
    let owner = owner()?;
    if customer.is_some_and(|customer| *customer != *owner) {
        return Err(Problem::detailed(Code::Forbidden, "the preferences are somebody else's"));
    }
    let Object(TopicsRequest { money_in, money_out, hold, refusal, account, settings }) = request.topics;
    let topics = [
        (NoticeTopic::MoneyIn, money_in),
        (NoticeTopic::MoneyOut, money_out),
        (NoticeTopic::Hold, hold),
        (NoticeTopic::Refusal, refusal),
        (NoticeTopic::Account, account),
        (NoticeTopic::Settings, settings),
    ];
    let given = topics.into_iter().filter_map(|(topic, channels)| Some((topic, channels?.into_iter().collect())));
    let preferences = SetNotificationPreferences { owner, version: request.version.0, topics: given.collect() };
    asking.prepared(request.id, CommandBody::SetNotificationPreferences(preferences))
}
