//! Notifications: `GET …/customers/{owner}/notifications`, what a customer is told of each event, newest first.

use axum::http::StatusCode;
use event_schemas::notices::{NoticeChannel, NoticeTopic};
use event_schemas::{AccountId, CommandId, Sequence, Timestamp};
use projections::notifications::{Notice, NoticeCursor, Template, notices_page};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::openapi::params::CustomerPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{FreshQuery, customer_of_path, fresh, page_limit, read_range};
use crate::statement::OrderQuery;
use crate::views::AmountJson;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct NoticesQuery {
    /// Answers once the read models have applied this sequence.
    #[param(value_type = Option<types::Sequence>)]
    min_sequence: Option<u64>,
    /// How long to wait for `min_sequence`, in milliseconds; 5000 if not given.
    #[param(maximum = 30_000)]
    timeout_ms: Option<u64>,
    /// Only notices of this topic.
    #[param(value_type = Option<types::NoticeTopic>)]
    topic: Option<NoticeTopic>,
    /// How many rows a page has at most; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins: the `next_cursor` of the page before.
    #[param(value_type = Option<types::Cursor>)]
    cursor: Option<String>,
    /// In which order; newest first if not given.
    #[param(inline)]
    order: Option<OrderQuery>,
}

#[derive(Serialize, ToSchema)]
struct NoticesAnswer {
    #[schema(value_type = types::Owner)]
    customer: Box<str>,
    notifications: Vec<NoticeJson>,
    /// Where the next page begins; `null` if nothing follows by now. With a topic a page may have few notices or none and yet
    /// be followed by others.
    #[schema(required)]
    next_cursor: Option<String>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Notification)]
struct NoticeJson {
    /// The event that it tells of.
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
    /// The place among what the event tells everybody, from 0: with the sequence, the notice's identity.
    place: u16,
    #[schema(value_type = types::Timestamp)]
    recorded_at: Timestamp,
    #[schema(value_type = types::NoticeTopic)]
    topic: &'static str,
    #[schema(value_type = types::NoticeTemplate)]
    template: &'static str,
    #[schema(value_type = Vec<types::NoticeChannel>, min_items = 1)]
    channels: Vec<&'static str>,
    #[schema(value_type = types::NoticeState)]
    state: &'static str,
    parameters: ParametersJson,
}

/// What the template speaks of; what it does not speak of is not there.
#[derive(Serialize, ToSchema)]
#[schema(as = NotificationParameters)]
struct ParametersJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::AccountId>, nullable = false)]
    account: Option<AccountId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CurrencyCode>, nullable = false)]
    currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::Amount>, nullable = false)]
    amount: Option<AmountJson>,
    /// Of money, what made the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::EntryOrigin>, nullable = false)]
    entry_kind: Option<Box<str>>,
    /// Of a refusal, what was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::ActType>, nullable = false)]
    command_type: Option<Box<str>>,
    /// Of a refusal, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::ProblemCode>, nullable = false)]
    code: Option<Box<str>>,
    /// The hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    hold: Option<CommandId>,
    /// Of a reversal: the command whose entry it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    reverses: Option<CommandId>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reference: Box<str>,
}

impl From<Notice> for NoticeJson {
    fn from(Notice { at, row }: Notice) -> Self {
        let refusal = row.template == Template::CommandRefused;
        let named = |text: &str| (!text.is_empty()).then(|| Box::from(text));
        let reversal = &*row.kind == "reversal";
        let about = || row.about.parse::<CommandId>().ok();
        let parameters = ParametersJson {
            account: row.account,
            currency: row.currency.map(|currency| currency.to_string()),
            amount: row
                .currency
                .filter(|_| row.amount_minor != 0)
                .map(|currency| AmountJson::new(row.amount_minor, currency)),
            entry_kind: named(&row.kind).filter(|_| !refusal),
            command_type: named(&row.kind).filter(|_| refusal),
            code: named(&row.about).filter(|_| refusal),
            hold: if refusal || reversal { None } else { about() },
            reverses: if reversal { about() } else { None },
            reference: row.reference.clone(),
        };
        Self {
            sequence: at.sequence,
            place: at.place,
            recorded_at: row.recorded_at,
            topic: row.template.topic().name(),
            template: row.template.name(),
            channels: row.channels.iter().map(NoticeChannel::name).collect(),
            state: row.state.name(),
            parameters,
        }
    }
}

/// What a customer is told, page by page
///
/// Template and parameters, the channels that the customer wanted when it happened, and what became of it. Newest first. For a
/// key of a customer its own.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/customers/{owner}/notifications",
    tag = "customers",
    operation_id = "list_notifications",
    params(CustomerPath, NoticesQuery),
    responses(
        (status = OK, description = "A page.", body = NoticesAnswer),
    )
)]
pub(crate) async fn list(call: Call) -> Outcome {
    let own = call.permit(Action::ReadNotifications)?;
    let query: NoticesQuery = call.query()?;
    let limit = page_limit(query.limit)?;
    let customer = customer_of_path(&call, own)?;
    let state = &*call.state;
    let (order, order_byte) = query.order.unwrap_or(OrderQuery::NewestFirst).order();
    let topic = query.topic;
    let about = [order_byte, topic.map_or(0, NoticeTopic::number)];
    let cursors = CursorOf::new(Paged::Notifications, state.book, &[customer.as_bytes(), &about]);
    let cursor = query.cursor.as_deref().map(|text| position(&cursors.decode(text)?)).transpose()?;
    fresh(state, FreshQuery { min_sequence: query.min_sequence, timeout_ms: query.timeout_ms }).await?;
    let owner = customer.clone();
    let page = read_range(state, move |rows| notices_page(rows, &owner, topic, cursor, limit, order)).await?;
    let text = |cursor: NoticeCursor| {
        let mut position = cursor.sequence.0.to_be_bytes().to_vec();
        position.extend_from_slice(&cursor.place.to_be_bytes());
        cursors.encode(&position)
    };
    let answer = NoticesAnswer {
        customer,
        notifications: page.notices.into_iter().map(Into::into).collect(),
        next_cursor: page.next.map(text),
        sequence: page.sequence,
    };
    json(StatusCode::OK, &answer)
}

/// The notice that a cursor's position names.
fn position(bytes: &[u8]) -> Result<NoticeCursor, Problem> {
    let read = || {
        let (sequence, place) = bytes.split_first_chunk::<8>()?;
        Some(NoticeCursor {
            sequence: Sequence(u64::from_be_bytes(*sequence)),
            place: u16::from_be_bytes(place.try_into().ok()?),
        })
    };
    read().ok_or_else(|| Problem::new(Code::CursorInvalid))
}
