//! Who looked at what: `GET …/access`, the access log page by page.
//!
//! The access log is a journal of its own, so sequences here are not the book's, and what is answered lies a second or so
//! behind: reads are written together.

use axum::http::StatusCode;
use event_schemas::{CommandId, PrincipalId, Sequence, Timestamp};
use projections::access::{AccessLine, AccessOf, access_page};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::amounts;
use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::openapi::params::BookPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{page_limit, read_range_of};
use crate::state::Shared;
use crate::statement::OrderQuery;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReadsQuery {
    /// Only what this principal looked at. One of actor, account, customer and command.
    #[param(value_type = Option<types::PrincipalId>)]
    actor: Option<String>,
    /// Only who looked at this account.
    #[param(value_type = Option<types::AccountRef>)]
    account: Option<String>,
    /// Only who looked at what is told of this customer as a whole: limits, notices; and its own lists.
    #[param(value_type = Option<types::Customer>)]
    customer: Option<String>,
    /// Only who looked at this command or hold.
    #[param(value_type = Option<types::CommandId>)]
    command: Option<String>,
    /// How many rows a page has at most; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page begins: the `next_cursor` of the page before.
    #[param(value_type = Option<types::Cursor>)]
    cursor: Option<String>,
    /// In which order.
    #[serde(default)]
    #[param(inline)]
    order: OrderQuery,
}

#[derive(Serialize, ToSchema)]
struct ReadsAnswer {
    reads: Vec<ReadJson>,
    #[schema(required)]
    next_cursor: Option<String>,
    /// Of the access log: how far it is known here. It is 0 as long as nothing is.
    sequence: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Read)]
struct ReadJson {
    /// Of the access log, not of the book.
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    recorded_at: Timestamp,
    #[schema(value_type = types::PrincipalId)]
    actor: PrincipalId,
    /// What was asked, by its `operationId`.
    operation: Box<str>,
    /// Of what: an account, a customer, a command or a hold; not there for the whole book.
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: Box<str>,
    /// The status that was answered.
    status: u16,
    /// The `X-Request-Id`.
    request: Box<str>,
}

impl From<AccessLine> for ReadJson {
    fn from(AccessLine { sequence, read }: AccessLine) -> Self {
        Self {
            sequence,
            recorded_at: read.recorded_at,
            actor: read.actor,
            operation: read.operation,
            subject: read.subject,
            status: read.status,
            request: read.request,
        }
    }
}

/// Whose reads, or of what.
#[derive(Debug, Clone)]
enum Whose {
    All,
    Actor(PrincipalId),
    Subject(Box<str>),
}

fn invalid(detail: &str) -> Problem {
    Problem::detailed(Code::QueryInvalid, detail)
}

impl ReadsQuery {
    fn whose(&self, state: &Shared) -> Result<Whose, Problem> {
        let Self { actor, account, customer, command, .. } = self;
        match (actor.as_deref(), account.as_deref(), customer.as_deref(), command.as_deref()) {
            (None, None, None, None) => Ok(Whose::All),
            (Some(text), None, None, None) => {
                text.parse().map(Whose::Actor).map_err(|_| invalid("actor must be a UUID"))
            }
            (None, Some(text), None, None) => amounts::account(text, state.book, "#")
                .map(|account| Whose::Subject(account.to_string().into()))
                .map_err(|_| invalid("account must be a UUID or a code")),
            (None, None, Some(text), None) => amounts::customer(text, "#")
                .map(Whose::Subject)
                .map_err(|_| invalid("customer must be the name of one")),
            (None, None, None, Some(text)) => text
                .parse()
                .map(|CommandId(id)| Whose::Subject(CommandId(id).to_string().into()))
                .map_err(|_| invalid("command must be a UUID")),
            _ => Err(invalid("give one of actor, account, customer and command")),
        }
    }
}

/// Who looked at what, page by page
///
/// Every query of what is somebody's, answered or refused, and every dry run. It takes a second for a read to be found here.
/// This query is on record, too. Not for keys of customers.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/access",
    tag = "audit",
    operation_id = "list_access",
    params(BookPath, ReadsQuery),
    responses(
        (status = OK, description = "A page.", body = ReadsAnswer),
    )
)]
pub(crate) async fn list(call: Call) -> Outcome {
    call.permit(Action::ReadAudit)?;
    let query: ReadsQuery = call.query()?;
    let limit = page_limit(query.limit)?;
    let state = &*call.state;
    let whose = query.whose(state)?;
    let (order, order_byte) = query.order.order();
    let cursors = cursors(state, &whose, order_byte);
    let cursor = query.cursor.as_deref().map(|text| position(&cursors.decode(text)?)).transpose()?;
    let page = read_range_of(state.access_rows.clone(), move |rows| {
        let of = match &whose {
            Whose::All => AccessOf::Book,
            Whose::Actor(actor) => AccessOf::Actor(*actor),
            Whose::Subject(subject) => AccessOf::Subject(subject),
        };
        access_page(rows, of, cursor, limit, order)
    })
    .await?;
    let answer = ReadsAnswer {
        reads: page.lines.into_iter().map(Into::into).collect(),
        next_cursor: page.next.map(|next| cursors.encode(&next.0.to_be_bytes())),
        sequence: page.sequence.0,
    };
    json(StatusCode::OK, &answer)
}

/// The cursors of these pages.
fn cursors(state: &Shared, whose: &Whose, order: u8) -> CursorOf {
    let (kind, about): (u8, Vec<u8>) = match whose {
        Whose::All => (0, Vec::new()),
        Whose::Actor(PrincipalId(actor)) => (1, actor.to_be_bytes().into()),
        Whose::Subject(subject) => (2, subject.as_bytes().into()),
    };
    CursorOf::new(Paged::Access, state.book, &[&[kind, order], &about])
}

fn position(bytes: &[u8]) -> Result<Sequence, Problem> {
    let bytes = bytes.try_into().map_err(|_| Problem::new(Code::CursorInvalid))?;
    Ok(Sequence(u64::from_be_bytes(bytes)))
}
