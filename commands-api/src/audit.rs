//! The audit trail: `GET …/audit`, who asked for what, when, and what the book said, refusals too.

use axum::http::StatusCode;
use event_schemas::{AccountId, CommandId, PrincipalId, Sequence, Timestamp};
use projections::audit::{ACT_TYPES, AuditFilter, AuditLine, AuditOf, CUSTOMER_ACCOUNTS_MAX, audit_page};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::admission::lookup;
use crate::amounts;
use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::openapi::params::BookPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{FreshQuery, fresh, page_limit, read_range};
use crate::state::Shared;
use crate::statement::OrderQuery;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Answers once the read models have applied this sequence.
    #[param(value_type = Option<types::Sequence>)]
    min_sequence: Option<u64>,
    /// How long to wait for `min_sequence`, in milliseconds; 5000 if not given.
    #[param(maximum = 30_000)]
    timeout_ms: Option<u64>,
    /// Only what this principal asked for; what nobody asked for has a principal of zeros.
    #[param(value_type = Option<types::PrincipalId>)]
    actor: Option<String>,
    /// Only what opens, changes, moves or names this account. One of account, customer and command.
    #[param(value_type = Option<types::AccountRef>)]
    account: Option<String>,
    /// Only what is about this customer or an account of it.
    #[param(value_type = Option<types::Owner>)]
    customer: Option<String>,
    /// Only the verdict of this command and what had to happen before it.
    #[param(value_type = Option<types::CommandId>)]
    command: Option<String>,
    /// Only acts of this type.
    #[param(value_type = Option<types::ActType>)]
    r#type: Option<String>,
    /// Only acts with this verdict.
    #[param(inline)]
    verdict: Option<VerdictQuery>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum VerdictQuery {
    Accepted,
    Rejected,
}

#[derive(Serialize, ToSchema)]
struct AuditAnswer {
    acts: Vec<ActJson>,
    /// Where the next page begins; `null` if nothing follows by now. With a filter a page may have few acts or none and yet
    /// be followed by others.
    #[schema(required)]
    next_cursor: Option<String>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Act)]
struct ActJson {
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
    #[schema(value_type = types::Timestamp)]
    recorded_at: Timestamp,
    #[schema(value_type = types::PrincipalId)]
    actor: PrincipalId,
    #[schema(value_type = types::ActType)]
    r#type: Box<str>,
    #[schema(value_type = types::Verdict)]
    verdict: &'static str,
    /// Of a refusal, why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::ProblemCode>, nullable = false)]
    code: Option<Box<str>>,
    #[schema(value_type = types::ActCause)]
    cause: &'static str,
    /// Not there if nobody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    command_id: Option<CommandId>,
    /// The hold or the entry, the customer, the zone of a calendar, the kind of a fee, the last day of a period or the operator.
    #[serde(skip_serializing_if = "str::is_empty")]
    about: Box<str>,
    /// The first two accounts that it is about; the event has all.
    #[schema(value_type = Vec<types::AccountId>, max_items = 2)]
    accounts: Vec<AccountId>,
    /// How many accounts it is about.
    accounts_total: u64,
}

impl From<AuditLine> for ActJson {
    fn from(line: AuditLine) -> Self {
        Self {
            sequence: line.sequence,
            recorded_at: line.recorded_at,
            actor: line.actor,
            r#type: line.command_type,
            verdict: if line.rejection.is_some() { "rejected" } else { "accepted" },
            code: line.rejection,
            cause: line.cause.name(),
            command_id: line.command,
            about: line.about,
            accounts: line.first_accounts.into_iter().flatten().collect(),
            accounts_total: line.accounts,
        }
    }
}

/// What acts are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Book,
    Account(AccountId),
    Customer(Box<str>),
    Command(CommandId),
}

impl AuditQuery {
    fn subject(&self, state: &Shared) -> Result<Subject, Problem> {
        match (self.account.as_deref(), self.customer.as_deref(), self.command.as_deref()) {
            (None, None, None) => Ok(Subject::Book),
            (Some(text), None, None) => amounts::account(text, state.book, "#")
                .map(Subject::Account)
                .map_err(|_| invalid("account must be a UUID or a code")),
            (None, Some(text), None) => {
                let customer = amounts::customer(text, "#").map_err(|_| invalid("customer must be the name of one"))?;
                Ok(Subject::Customer(customer))
            }
            (None, None, Some(text)) => {
                text.parse().map(Subject::Command).map_err(|_| invalid("command must be a UUID"))
            }
            _ => Err(invalid("give one of account, customer and command")),
        }
    }

    fn filter(&self) -> Result<AuditFilter<'static>, Problem> {
        let actor = self.actor.as_deref().map(str::parse).transpose();
        let command_type = self.r#type.as_deref().map(|name| {
            let known = ACT_TYPES.into_iter().find(|known| *known == name);
            known.ok_or_else(|| invalid("there is no such type of acts"))
        });
        Ok(AuditFilter {
            actor: actor.map_err(|_| invalid("actor must be a UUID"))?,
            command_type: command_type.transpose()?,
            accepted: self.verdict.map(|verdict| verdict == VerdictQuery::Accepted),
        })
    }
}

fn invalid(detail: &str) -> Problem {
    Problem::detailed(Code::QueryInvalid, detail)
}

/// The audit trail, page by page
///
/// Who asked for what, when, and what the book said; refusals and what the engine did of itself too. With a filter a page may
/// have fewer acts than it could and yet a `next_cursor`. Not for keys of customers.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/audit",
    tag = "audit",
    operation_id = "list_audit",
    params(BookPath, AuditQuery),
    responses(
        (status = OK, description = "A page.", body = AuditAnswer),
    )
)]
pub(crate) async fn list(call: Call) -> Outcome {
    call.permit(Action::ReadAudit)?;
    let query: AuditQuery = call.query()?;
    let limit = page_limit(query.limit)?;
    let state = &*call.state;
    let (subject, filter) = (query.subject(state)?, query.filter()?);
    let (order, order_byte) = query.order.order();
    let cursors = cursors(state, &subject, &filter, order_byte);
    let cursor = query.cursor.as_deref().map(|text| position(&cursors.decode(text)?)).transpose()?;
    let mut fresh_query = FreshQuery { min_sequence: query.min_sequence, timeout_ms: query.timeout_ms };
    let mut verdict = None;
    if let Subject::Command(command) = subject {
        verdict = lookup(&*state.sink, command, state.verdict_timeout).await?.map(|found| (command, found.sequence));
        // What is answered is there, so it is waited for.
        fresh_query.min_sequence = fresh_query.min_sequence.max(verdict.map(|(_, sequence)| sequence.0));
    }
    fresh(state, fresh_query).await?;
    let page = read_range(state, move |rows| {
        let of = match (&subject, filter.actor) {
            (Subject::Account(account), _) => AuditOf::Account(*account),
            (Subject::Customer(customer), _) => AuditOf::Customer(customer),
            // A command that nobody gave has no acts.
            (Subject::Command(command), _) => match verdict {
                Some((command, sequence)) => AuditOf::Command(command, sequence),
                None => AuditOf::Command(*command, Sequence::ZERO),
            },
            (Subject::Book, Some(actor)) => AuditOf::Actor(actor),
            (Subject::Book, None) => AuditOf::Book,
        };
        audit_page(rows, of, filter, cursor, limit, order)
    })
    .await?;
    let page = page.ok_or_else(|| {
        let detail = format!("the customer has more than {CUSTOMER_ACCOUNTS_MAX} accounts; ask for them one by one");
        Problem::detailed(Code::QueryInvalid, detail)
    })?;
    let answer = AuditAnswer {
        acts: page.lines.into_iter().map(Into::into).collect(),
        next_cursor: page.next.map(|next| cursors.encode(&next.0.to_be_bytes())),
        sequence: page.sequence,
    };
    json(StatusCode::OK, &answer)
}

/// The cursors of pages with this filter.
fn cursors(state: &Shared, subject: &Subject, filter: &AuditFilter<'_>, order: u8) -> CursorOf {
    let (kind, about): (u8, Vec<u8>) = match subject {
        Subject::Book => (0, Vec::new()),
        Subject::Account(account) => (1, account.0.to_be_bytes().into()),
        Subject::Customer(customer) => (2, customer.as_bytes().into()),
        Subject::Command(command) => (3, command.0.to_be_bytes().into()),
    };
    let verdict = filter.accepted.map_or(2, u8::from);
    let actor = filter.actor.map(|actor| actor.0.to_be_bytes());
    let actor = actor.as_ref().map_or(&[][..], |actor| actor);
    let command_type = filter.command_type.unwrap_or_default().as_bytes();
    CursorOf::new(Paged::Audit, state.book, &[&[kind, verdict, order], &about, actor, command_type])
}

fn position(bytes: &[u8]) -> Result<Sequence, Problem> {
    let bytes = bytes.try_into().map_err(|_| Problem::new(Code::CursorInvalid))?;
    Ok(Sequence(u64::from_be_bytes(bytes)))
}
