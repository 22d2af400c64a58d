//! Accounts: opened, frozen, unfrozen and closed; listed, shown, with their balances and statements.

use axum::http::StatusCode;
use event_schemas::bounds::{OWNER_MAX_BYTES, TEXT_MAX_BYTES};
use event_schemas::command::{AccountAct, BalancePolicy, OpenAccount};
use event_schemas::{AccountId, CivilDate, CommandBody, Sequence, Timestamp};
use projections::{balances, statements};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::amounts;
use crate::asking::{Asking, Prepared};
use crate::body::parse;
use crate::call::{Call, Outcome, json};
use crate::cursor::{CursorOf, Paged};
use crate::dto::{AccountActItem, AccountActRequest, OpenAccountRequest};
use crate::openapi::params::{AccountPath, BookPath, IdempotencyKey};
use crate::openapi::types;
use crate::policy::Action;
use crate::problem::{Code, Problem};
use crate::reading::{FreshQuery, PageQuery, fresh, must_own, read, read_range};
use crate::text::free_text;
use crate::verdict::{Accepted, record};
use crate::views::{AccountJson, BalanceJson};

/// Open an account
///
/// Its id is the one given, else it follows from the code, else from the command. Needs the scope write; not for keys
/// of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/accounts",
    tag = "accounts",
    operation_id = "open_account",
    params(BookPath, IdempotencyKey),
    request_body = OpenAccountRequest,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn open(call: Call) -> Outcome {
    let prepared = prepare_open(&call.asking(), &call.body)?;
    record(&call, prepared).await
}

/// An account to be opened. Its id is the one given, else the one that follows from the code, else one that follows from
/// the command: a retry asks for the same account in each case.
pub(crate) fn prepare_open(asking: &Asking<'_>, body: &[u8]) -> Result<Prepared, Problem> {
    asking.permit(Action::OpenAccount)?;
    let request = parse::<OpenAccountRequest<'static>>(body)?;
    let currency = amounts::currency(&request.currency, "#/currency")?;
    let code = request.code.as_deref().map(|code| amounts::new_code(code, "#/code")).transpose()?;
    let policy = match request.overdraft.as_deref() {
        Some(text) => amounts::overdraft(text, currency, "#/overdraft")?,
        None => BalancePolicy::NO_OVERDRAFT,
    };
    let owner = free_text(request.owner.as_deref().unwrap_or(""), "#/owner", OWNER_MAX_BYTES)?;
    let id = asking.command_id(request.id, "open_account")?;
    let named = request.account.is_some();
    let account = match (request.account.as_deref(), code.as_deref()) {
        (Some(text), _) => text.parse().map_err(|_| {
            Problem::field(Code::FieldInvalid, "#/account", "a UUID is expected; leave it out to get one")
        })?,
        (None, Some(code)) => AccountId::from_code(asking.state.book, code),
        (None, None) => AccountId::from_command(id),
    };
    let code = code.unwrap_or_default();
    let open = OpenAccount { account, code, kind: request.kind, currency, owner, policy };
    // An id that nobody gave follows from the code, so where ids differ it is the code that was changed.
    let member: fn(&'static str) -> &'static str =
        if named { |field| field } else { |field| if field == "account" { "code" } else { field } };
    Ok(Prepared { id, body: CommandBody::OpenAccount(open), member })
}

/// Freeze an account
///
/// It takes no debits until it is unfrozen. Needs the scope admin; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/accounts/{account}/freeze",
    tag = "accounts",
    operation_id = "freeze_account",
    params(AccountPath, IdempotencyKey),
    request_body = Option<AccountActRequest>,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn freeze(call: Call) -> Outcome {
    act(call, Action::FreezeAccount, CommandBody::FreezeAccount).await
}

/// Unfreeze an account
///
/// Needs the scope admin; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/accounts/{account}/unfreeze",
    tag = "accounts",
    operation_id = "unfreeze_account",
    params(AccountPath, IdempotencyKey),
    request_body = Option<AccountActRequest>,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn unfreeze(call: Call) -> Outcome {
    act(call, Action::UnfreezeAccount, CommandBody::UnfreezeAccount).await
}

/// Close an account
///
/// It must be empty and have no open hold. Needs the scope admin; not for keys of customers.
#[utoipa::path(
    post,
    path = "/v1/books/{book}/accounts/{account}/close",
    tag = "accounts",
    operation_id = "close_account",
    params(AccountPath, IdempotencyKey),
    request_body = Option<AccountActRequest>,
    responses(
        (status = CREATED, description = "The command is on record, accepted.", body = Accepted),
    )
)]
pub(crate) async fn close(call: Call) -> Outcome {
    act(call, Action::CloseAccount, CommandBody::CloseAccount).await
}

async fn act(call: Call, action: Action, command: fn(AccountAct) -> CommandBody) -> Outcome {
    let asking = call.asking();
    asking.permit(action)?;
    // A body may be left out: all it can hold is optional.
    let request = match call.body.as_ref() {
        [] => AccountActRequest::default(),
        body => parse::<AccountActRequest<'static>>(body)?,
    };
    let reason = free_text(request.reason.as_deref().unwrap_or(""), "#/reason", TEXT_MAX_BYTES)?;
    let account = account_of_path(&call)?;
    let prepared = asking.prepared(request.id, command(AccountAct { account, reason }))?;
    record(&call, prepared).await
}

/// An act on an account as an item of a batch, which names the account in its body.
pub(crate) fn prepare_act(
    asking: &Asking<'_>,
    body: &[u8],
    action: Action,
    command: fn(AccountAct) -> CommandBody,
) -> Result<Prepared, Problem> {
    asking.permit(action)?;
    let request = parse::<AccountActItem<'static>>(body)?;
    let reason = free_text(request.reason.as_deref().unwrap_or(""), "#/reason", TEXT_MAX_BYTES)?;
    let account = amounts::account(&request.account, asking.state.book, "#/account")?;
    asking.prepared(request.id, command(AccountAct { account, reason }))
}

/// The account in the path. What can't be the name of an account is none.
pub(crate) fn account_of_path(call: &Call) -> Result<AccountId, Problem> {
    amounts::account(call.param("account"), call.state.book, "#").map_err(|_| Problem::new(Code::AccountNotFound))
}

#[derive(Serialize, ToSchema)]
struct AccountAnswer {
    #[serde(flatten)]
    account: AccountJson,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

#[derive(Serialize, ToSchema)]
struct AccountsAnswer {
    accounts: Vec<AccountJson>,
    #[schema(required)]
    next_cursor: Option<String>,
    #[schema(value_type = types::Sequence)]
    sequence: Sequence,
}

/// An account with its balance
#[utoipa::path(
    get,
    path = "/v1/books/{book}/accounts/{account}",
    tag = "accounts",
    operation_id = "get_account",
    params(AccountPath, FreshQuery),
    responses(
        (status = OK, description = "The account.", body = AccountAnswer),
    )
)]
pub(crate) async fn get(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadAccount)?;
    let query: FreshQuery = call.query()?;
    let account = account_of_path(&call)?;
    let state = &*call.state;
    fresh(state, query).await?;
    if let Some(customer) = customer {
        must_own(state, customer, account)?;
    }
    let view = read(state, |rows| balances::account(rows, account))?.ok_or_else(missing)?;
    let sequence = view.balance.sequence;
    json(StatusCode::OK, &AccountAnswer { account: view.into(), sequence })
}

/// Accounts, page by page
///
/// In the order of their ids; for a key of a customer its own.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/accounts",
    tag = "accounts",
    operation_id = "list_accounts",
    params(BookPath, PageQuery),
    responses(
        (status = OK, description = "A page.", body = AccountsAnswer),
    )
)]
pub(crate) async fn list(call: Call) -> Outcome {
    let customer = call.permit(Action::ListAccounts)?.map(str::to_owned);
    let query: PageQuery = call.query()?;
    let limit = query.limit()?;
    let state = &*call.state;
    let cursors = CursorOf::new(Paged::Accounts, state.book, &[customer.as_deref().unwrap_or_default().as_bytes()]);
    let after = match &query.cursor {
        None => None,
        Some(text) => {
            let position = cursors.decode(text)?;
            let id: [u8; 16] = position.try_into().map_err(|_| Problem::new(Code::CursorInvalid))?;
            Some(AccountId(u128::from_be_bytes(id)))
        }
    };
    fresh(state, query.fresh()).await?;
    let page = read_range(state, move |rows| balances::accounts_page(rows, customer.as_deref(), after, limit)).await?;
    let answer = AccountsAnswer {
        accounts: page.accounts.into_iter().map(Into::into).collect(),
        next_cursor: page.next.map(|next| cursors.encode(&next.0.to_be_bytes())),
        sequence: page.sequence,
    };
    json(StatusCode::OK, &answer)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BalanceQuery {
    /// Answers once the read models have applied this sequence.
    #[param(value_type = Option<types::Sequence>)]
    min_sequence: Option<u64>,
    /// How long to wait for `min_sequence`, in milliseconds; 5000 if not given.
    #[param(maximum = 30_000)]
    timeout_ms: Option<u64>,
    /// The balance after this event.
    #[param(value_type = Option<types::Sequence>)]
    at_sequence: Option<u64>,
    /// The balance after all that was recorded up to this time.
    #[param(value_type = Option<types::Timestamp>)]
    at_time: Option<String>,
    /// The balance by effective date, at the end of this day.
    #[param(value_type = Option<types::CivilDate>)]
    on_date: Option<String>,
}

/// The moment a balance is asked for.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Now,
    AtSequence(Sequence),
    AtTime(Timestamp),
    OnDate(CivilDate),
}

impl BalanceQuery {
    fn moment(&self) -> Result<Moment, Problem> {
        let invalid = |detail: &str| Problem::detailed(Code::QueryInvalid, detail);
        match (self.at_sequence, self.at_time.as_deref(), self.on_date.as_deref()) {
            (None, None, None) => Ok(Moment::Now),
            (Some(sequence), None, None) => Ok(Moment::AtSequence(Sequence(sequence))),
            (None, Some(time), None) => {
                time.parse().map(Moment::AtTime).map_err(|_| invalid("at_time must be a time as in RFC 3339"))
            }
            (None, None, Some(date)) => {
                date.parse().map(Moment::OnDate).map_err(|_| invalid("on_date must be a date as YYYY-MM-DD"))
            }
            _ => Err(invalid("give one of at_sequence, at_time and on_date")),
        }
    }
}

/// A balance
///
/// Now, after a sequence, at a time of recording, or by effective date.
#[utoipa::path(
    get,
    path = "/v1/books/{book}/accounts/{account}/balance",
    tag = "accounts",
    operation_id = "get_balance",
    params(AccountPath, BalanceQuery),
    responses(
        (status = OK, description = "The balance.", body = BalanceJson),
    )
)]
pub(crate) async fn balance(call: Call) -> Outcome {
    let customer = call.permit(Action::ReadAccount)?;
    let query: BalanceQuery = call.query()?;
    let moment = query.moment()?;
    let account = account_of_path(&call)?;
    let state = &*call.state;
    // A balance at a sequence is one only when that sequence is applied.
    let min_sequence = query.min_sequence.max(query.at_sequence);
    fresh(state, FreshQuery { min_sequence, timeout_ms: query.timeout_ms }).await?;
    if let Some(customer) = customer {
        must_own(state, customer, account)?;
    }
    let view = match moment {
        Moment::Now => read(state, |rows| balances::balance_now(rows, account))?,
        Moment::AtSequence(sequence) => {
            read_range(state, move |rows| statements::balance_at_sequence(rows, account, sequence)).await?
        }
        Moment::AtTime(time) => read_range(state, move |rows| statements::balance_at_time(rows, account, time)).await?,
        Moment::OnDate(date) => read_range(state, move |rows| balances::balance_on_date(rows, account, date)).await?,
    };
    json(StatusCode::OK, &BalanceJson::from(view.ok_or_else(missing)?))
}

fn missing() -> Problem {
    Problem::new(Code::AccountNotFound)
}
