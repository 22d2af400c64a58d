//! Statements: `GET …/accounts/{account}/statement`, posting by posting with the balance after each.
//!
//! A cursor addresses a posting. Postings never change or move, so a cursor stays good for ever and no posting is shown
//! twice or left out, however much is posted between two pages.

use axum::http::StatusCode;
use event_schemas::entry::EntryOrigin;
use event_schemas::{AccountId, CivilDate, CommandId, PrincipalId, Sequence, Side, Timestamp};
use projections::statements::{Order, StatementCursor, StatementLine, statement_page};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accounts::account_of_path;
use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::openapi::params::AccountPath;
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{FreshQuery, fresh, must_own, page_limit, read_range};
use crate::views::AmountJson;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatementQuery {
    /// Answers once the read models have applied this sequence.
    #[param(value_type = Option<types::Sequence>)]
    min_sequence: Option<u64>,
    /// How long to wait for `min_sequence`, in milliseconds; 5000 if not given.
    #[param(maximum = 30_000)]
    timeout_ms: Option<u64>,
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

#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[schema(as = Order)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderQuery {
    #[default]
    OldestFirst,
    NewestFirst,
}

impl OrderQuery {
    /// The order, and the byte that stands for it in what a cursor is about.
    pub(crate) const fn order(self) -> (Order, u8) {
        match self {
            Self::OldestFirst => (Order::OldestFirst, 0),
            Self::NewestFirst => (Order::NewestFirst, 1),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct StatementAnswer {
    #[schema(value_type = types::AccountId)]
    account: AccountId,
    lines: Vec<LineJson>,
    /// Where the next page begins; `null` if nothing follows by now.
    #[schema(required)]
    next_cursor: Option<String>,
    /// Where this page ends, to ask later for what is posted after it; `null` for an empty page.
    #[schema(required)]
    end_cursor: Option<String>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StatementLine)]
struct LineJson {
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
    posting: u16,
    #[schema(value_type = types::Side)]
    side: Side,
    #[schema(value_type = types::Amount)]
    amount: AmountJson,
    #[schema(value_type = types::Amount)]
    balance: AmountJson,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    #[schema(value_type = types::CivilDate)]
    effective_on: CivilDate,
    #[schema(value_type = types::Timestamp)]
    recorded_at: Timestamp,
    #[schema(value_type = types::EntryOrigin)]
    entry_kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reference: Box<str>,
    #[schema(value_type = types::CommandId)]
    command_id: CommandId,
    /// Of a capture: the hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    hold: Option<CommandId>,
    /// Of a reversal: the command whose entry it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    reverses: Option<CommandId>,
    /// Who gave the command; customers are not shown who moved their money in the house.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::PrincipalId>, nullable = false)]
    actor: Option<PrincipalId>,
}

/// The statement of an account, page by page
///
/// Posting by posting with the balance after each. A cursor stays good for ever, and no posting is shown twice or
/// left out, however much is posted between two pages.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/accounts/{account}/statement",
    tag = "accounts",
    operation_id = "get_statement",
    params(AccountPath, StatementQuery),
    responses(
        (status = OK, description = "A page.", body = StatementAnswer),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadAccount)?;
    let query: StatementQuery = call.query()?;
    let limit = page_limit(query.limit)?;
    let account = account_of_path(&call)?;
    let (order, order_byte) = query.order.order();
    let state = &*call.state;
    let cursors = CursorOf::new(Paged::Statement, state.book, &[&account.0.to_be_bytes(), &[order_byte]]);
    let cursor = query.cursor.as_deref().map(|text| position(&cursors.decode(text)?)).transpose()?;
    fresh(state, FreshQuery { min_sequence: query.min_sequence, timeout_ms: query.timeout_ms }).await?;
    let shows_actor = customer.is_none();
    if let Some(customer) = customer {
        must_own(state, customer, account)?;
    }
    let page = read_range(state, move |rows| statement_page(rows, account, cursor, limit, order))
        .await?
        .ok_or_else(|| Problem::new(Code::AccountNotFound))?;
    let text = |cursor: StatementCursor| {
        let mut position = [0; 10];
        let (sequence, posting) = position.split_at_mut(8);
        sequence.copy_from_slice(&cursor.sequence.0.to_be_bytes());
        posting.copy_from_slice(&cursor.posting.to_be_bytes());
        cursors.encode(&position)
    };
    let answer = StatementAnswer {
        account,
        next_cursor: page.next.map(text),
        end_cursor: page.lines.last().map(|line| text(line.cursor())),
        lines: page.lines.into_iter().map(|line| line_json(line, shows_actor)).collect(),
        sequence: page.sequence,
    };
    json(StatusCode::OK, &answer)
}

/// The posting that a cursor's position names.
fn position(bytes: &[u8]) -> Result<StatementCursor, Problem> {
    let read = || {
        let (sequence, posting) = bytes.split_at_checked(8)?;
        Some(StatementCursor {
            sequence: Sequence(u64::from_be_bytes(sequence.try_into().ok()?)),
            posting: u16::from_be_bytes(posting.try_into().ok()?),
        })
    };
    read().ok_or_else(|| Problem::new(Code::CursorInvalid))
}

fn line_json(line: StatementLine, shows_actor: bool) -> LineJson {
    let (hold, reverses) = match line.origin {
        EntryOrigin::Command(_) | EntryOrigin::Conversion => (None, None),
        EntryOrigin::Capture(hold) => (Some(hold), None),
        EntryOrigin::Reversal(entry) => (None, Some(entry)),
    };
    LineJson {
        sequence: line.sequence,
        posting: line.posting,
        side: line.side,
        amount: line.amount.into(),
        balance: line.balance.into(),
        currency: line.amount.currency.to_string(),
        effective_on: line.effective_on,
        recorded_at: line.recorded_at,
        entry_kind: line.origin.name(),
        reference: line.reference,
        command_id: line.command,
        hold,
        reverses,
        actor: shows_actor.then_some(line.actor),
    }
}
