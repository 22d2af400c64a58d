//! Dry runs: what a command would get, with the balances, the fee and the limits as they would be after it. Any command can
//! be asked for with `dry_run=true`; nothing is recorded.
//!
//! The engine decides it as it would decide the command itself, at the durable state. Everything that comes before admission
//! holds as for the command: policy, shape and the budget of refusals, to which an expected refusal counts, lest somebody
//! find out for free what is refused. A command that has its verdict already is told that verdict.
//!
//! Balances and limits are shown to keys with the scope read, and to a customer only its own: otherwise a dry run would be a
//! way around the policy of queries. What it shows goes on the access log.

use axum::http::StatusCode;
use event_schemas::event::HoldCaptured;
use event_schemas::limits::LimitCharged;
use event_schemas::{
    AccountId, CivilDate, Command, CommandBody, CommandId, Currency, EntryKind, EventBody, Posting, Sequence, Timestamp,
};
use ledger_core::ports::{Answer, Preview, Previews, Verdict};
use ledger_core::state::Account;
use projections::balances;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admission::preview;
use crate::asking::Prepared;
use crate::call::{Call, Outcome, json};
use crate::keys::Scope;
use crate::openapi::types;
use crate::problem::{Code, Document, Problem};
use crate::reading::read;
use crate::rejected;
use crate::sensitive::Subject;
use crate::verdict::{self, Accepted, told};
use crate::views::AmountJson;

/// When a dry run was decided.
#[derive(Serialize, ToSchema)]
#[schema(as = DryRunMoment)]
pub(crate) struct Moment {
    #[schema(value_type = types::Yes)]
    dry_run: bool,
    /// The durable sequence that it was decided at.
    #[schema(value_type = types::Sequence)]
    at_sequence: Sequence,
    /// The time that it was decided for.
    #[schema(value_type = types::Timestamp)]
    at_time: Timestamp,
}

/// What a command would get.
#[derive(Serialize, ToSchema)]
#[schema(as = DryRun)]
pub(crate) struct DryRunAnswer {
    #[serde(flatten)]
    moment: Moment,
    #[serde(flatten)]
    expected: Expected,
}

/// What the commands of a batch would get.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchDryRun)]
pub(crate) struct BatchDryRunAnswer {
    #[serde(flatten)]
    moment: Moment,
    /// Of a linked batch: whether all commands would take place; otherwise none would.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    accepted: Option<bool>,
    /// One for each item, in its place, as it would be after those before it.
    results: Vec<Expected>,
}

/// What one command would get.
#[derive(Serialize, ToSchema)]
#[schema(as = Expected)]
pub(crate) struct Expected {
    /// The status that the command itself would be answered with.
    status: u16,
    #[schema(value_type = types::CommandId)]
    command_id: CommandId,
    /// What the book would say. Not there if the id is that of another command: then `problem` is a conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::Verdict>, nullable = false)]
    verdict: Option<&'static str>,
    /// Stands on a verdict that is on record already: nothing would be decided.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(value_type = Option<types::Yes>, nullable = false)]
    replayed: bool,
    /// Of a verdict that is on record: where.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::Sequence>, nullable = false)]
    sequence: Option<Sequence>,
    /// The account that the command opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::AccountId>, nullable = false)]
    account: Option<AccountId>,
    /// The hold that the command places.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::CommandId>, nullable = false)]
    hold: Option<CommandId>,
    /// Of a transfer up to an amount: how much would move.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<types::Amount>, nullable = false)]
    moved: Option<AmountJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    fee: Option<FeeJson>,
    /// The accounts that it would touch, as they would be after it; those that the key may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    accounts: Option<Vec<BalanceAfter>>,
    /// What it would use of limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limits: Option<Vec<LimitAfter>>,
    /// Why it would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<Document>,
}

/// The fee that would be charged.
#[derive(Serialize, ToSchema)]
#[schema(as = ExpectedFee)]
struct FeeJson {
    #[schema(value_type = types::NotNegativeAmount)]
    amount: AmountJson,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    /// The version of the rule that says so, 0 if there is no rule; not there if the command names its fee.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rule: Option<u64>,
}

/// A balance as it would be.
#[derive(Serialize, ToSchema)]
struct BalanceAfter {
    #[schema(value_type = types::AccountId)]
    account: AccountId,
    #[schema(value_type = types::AccountKind)]
    kind: &'static str,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    #[schema(value_type = types::Amount)]
    balance: AmountJson,
    /// `null` without a limit.
    #[schema(value_type = Option<types::Amount>, required)]
    available: Option<AmountJson>,
    #[schema(value_type = types::Amount)]
    debits: AmountJson,
    #[schema(value_type = types::Amount)]
    credits: AmountJson,
    #[schema(value_type = types::Amount)]
    pending_debits: AmountJson,
    #[schema(value_type = types::Amount)]
    pending_credits: AmountJson,
}

/// What would be used of a customer's limits.
#[derive(Serialize, ToSchema)]
struct LimitAfter {
    #[schema(value_type = types::Owner)]
    owner: Box<str>,
    #[schema(value_type = types::CurrencyCode)]
    currency: String,
    /// What the command counts for, fees included.
    #[schema(value_type = types::Amount)]
    amount: AmountJson,
    /// The day it counts for.
    #[schema(value_type = types::CivilDate)]
    day: CivilDate,
    windows: Vec<WindowAfter>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LimitWindowAfter)]
struct WindowAfter {
    #[schema(value_type = types::LimitWindow)]
    window: &'static str,
    #[schema(value_type = types::Amount)]
    cap: AmountJson,
    /// What would be used of it after this.
    #[schema(value_type = types::Amount)]
    used: AmountJson,
    /// What would be left of it after this.
    #[schema(value_type = types::Amount)]
    left: AmountJson,
}

/// Answers a command that is only asked about.
pub(crate) async fn single(call: &Call, prepared: Prepared) -> Outcome {
    let commands = vec![Command { id: prepared.id, actor: call.principal.id, body: prepared.body.clone() }];
    let Previews { mut items, at_sequence, recorded_at } = ask(call, commands, false).await?;
    let Some(item) = items.pop() else { return Err(Problem::new(Code::Internal)) };
    let expected = expected(call, item, &prepared, |problem| problem);
    let moment = Moment { dry_run: true, at_sequence, at_time: recorded_at };
    let mut response = json(StatusCode::OK, &DryRunAnswer { moment, expected })?;
    if let Some(account) = about(&prepared.body) {
        response.extensions_mut().insert(Subject(account.to_string().into()));
    }
    Ok(response)
}

/// Answers a batch that is only asked about. `within` says of a problem which item it is of.
pub(crate) async fn batch(
    call: &Call,
    prepared: &[Prepared],
    commands: Vec<Command>,
    linked: bool,
    within: impl Fn(usize, Problem) -> Problem,
) -> Outcome {
    let Previews { items, at_sequence, recorded_at } = ask(call, commands, linked).await?;
    let results = items.into_iter().zip(prepared).enumerate();
    let results: Vec<_> =
        results.map(|(at, (item, prepared))| expected(call, item, prepared, |problem| within(at, problem))).collect();
    let accepted = linked.then(|| results.iter().all(|expected| expected.problem.is_none()));
    let moment = Moment { dry_run: true, at_sequence, at_time: recorded_at };
    json(StatusCode::OK, &BatchDryRunAnswer { moment, accepted, results })
}

async fn ask(call: &Call, commands: Vec<Command>, linked: bool) -> Result<Previews, Problem> {
    let state = &*call.state;
    preview(&state.admission, &*state.sink, call.principal.id, commands, linked, state.verdict_timeout).await
}

/// The account that a command names as the one whose money it is about. Others name a hold, an entry or a customer, if anything,
/// and have it in their path.
fn about(command: &CommandBody) -> Option<AccountId> {
    match command {
        CommandBody::OpenAccount(open) => Some(open.account),
        CommandBody::FreezeAccount(act) | CommandBody::UnfreezeAccount(act) | CommandBody::CloseAccount(act) => {
            Some(act.account)
        }
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => Some(cash.account),
        CommandBody::PostTransfer(transfer) => Some(transfer.from),
        CommandBody::TransferUpTo(transfer) => Some(transfer.from),
        CommandBody::PlaceHold(hold) => Some(hold.account),
        CommandBody::PostEntry(entry) => entry.postings.first().map(|posting| posting.account),
        CommandBody::CaptureHold(_)
        | CommandBody::VoidHold(_)
        | CommandBody::ReverseEntry(_)
        | CommandBody::SetLimits(_)
        | CommandBody::PublishCalendar(_)
        | CommandBody::SetFeeRule(_)
        | CommandBody::ClosePeriod(_)
        | CommandBody::SetNotificationPreferences(_)
        | CommandBody::PublishRateSheet(_)
        | CommandBody::ConvertFunds(_) => None,
    }
}

/// What a client is told of a preview.
fn expected(call: &Call, item: Preview, prepared: &Prepared, within: impl FnOnce(Problem) -> Problem) -> Expected {
    let (accounts, events) = match item {
        Preview::Known(answer) => return known(call, answer, prepared, within),
        Preview::Expected { verdict: Verdict::Rejected(rejection), .. } => {
            let problem = rejected::problem(&rejection, &prepared.body, &call.principal).with_command(prepared.id);
            return Expected { verdict: Some("rejected"), ..Expected::refused(within(problem), prepared.id) };
        }
        Preview::Expected { verdict: Verdict::Accepted, accounts, events } => (accounts, events),
    };
    let shows = call.principal.scopes.has(Scope::Read);
    let moved = || events.last().and_then(moved);
    Expected {
        account: verdict::opened(&prepared.body),
        hold: verdict::placed(prepared),
        moved: if matches!(prepared.body, CommandBody::TransferUpTo(_)) { moved() } else { None },
        fee: events.last().and_then(fee),
        accounts: shows.then(|| accounts.iter().filter(|account| may_see(call, account.id)).map(balance).collect()),
        limits: shows.then(|| charges(call, &events)),
        ..Expected::accepted(prepared.id)
    }
}

/// What is told of a command that has its verdict.
fn known(call: &Call, answer: Answer, prepared: &Prepared, within: impl FnOnce(Problem) -> Problem) -> Expected {
    let verdict = match &answer {
        Answer::Recorded { verdict: Verdict::Accepted, .. } => Some("accepted"),
        Answer::Recorded { verdict: Verdict::Rejected(_), .. } => Some("rejected"),
        Answer::Conflict { .. } => None,
    };
    let replayed = verdict.is_some();
    match told(answer, prepared, &call.principal) {
        Ok(Accepted { sequence, account, hold, .. }) => {
            Expected { replayed, sequence: Some(sequence), account, hold, ..Expected::accepted(prepared.id) }
        }
        Err(problem) => Expected { verdict, replayed, ..Expected::refused(within(problem), prepared.id) },
    }
}

impl Expected {
    const fn accepted(command_id: CommandId) -> Self {
        Self {
            status: 201,
            command_id,
            verdict: Some("accepted"),
            replayed: false,
            sequence: None,
            account: None,
            hold: None,
            moved: None,
            fee: None,
            accounts: None,
            limits: None,
            problem: None,
        }
    }

    fn refused(problem: Problem, command_id: CommandId) -> Self {
        let status = problem.code().status().as_u16();
        Self { status, verdict: None, problem: Some(problem.into_document()), ..Self::accepted(command_id) }
    }
}

/// Whether the principal may see this account: a customer its own.
fn may_see(call: &Call, account: AccountId) -> bool {
    call.principal.customer.as_deref().is_none_or(|customer| {
        let found = read(&call.state, |rows| balances::account(rows, account));
        !customer.is_empty() && found.ok().flatten().is_some_and(|found| *found.owner == *customer)
    })
}

fn balance(account: &Account) -> BalanceAfter {
    let amount = |minor| AmountJson::new(minor, account.currency);
    BalanceAfter {
        account: account.id,
        kind: account.kind.name(),
        currency: account.currency.to_string(),
        balance: amount(account.balance_minor()),
        available: account.available_minor().map(amount),
        debits: amount(account.debits_posted_minor),
        credits: amount(account.credits_posted_minor),
        pending_debits: amount(account.debits_pending_minor),
        pending_credits: amount(account.credits_pending_minor),
    }
}

/// The postings of an event that may have a fee, and the version of the rule. The fee's posting is the third (see
/// [`EntryKind`] and [`HoldCaptured`]).
fn with_fee(event: &EventBody) -> Option<(&[Posting], Option<u64>)> {
    if let EventBody::EntryPosted(entry) = event {
        return matches!(entry.kind, EntryKind::TopUp | EntryKind::Withdrawal | EntryKind::Transfer)
            .then_some((&*entry.postings, entry.fee_rule));
    }
    if let EventBody::HoldCaptured(HoldCaptured { postings, fee_rule, .. }) = event {
        return Some((postings, *fee_rule));
    }
    None
}

fn fee(event: &EventBody) -> Option<FeeJson> {
    let (postings, rule) = with_fee(event)?;
    let currency: Currency = postings.first()?.money.currency;
    let minor = postings.get(2).map_or(0, |posting| posting.money.amount_minor);
    Some(FeeJson { amount: AmountJson::new(minor, currency), currency: currency.to_string(), rule })
}

/// How much an entry of two postings moves.
pub(crate) fn moved(event: &EventBody) -> Option<AmountJson> {
    event.entry()?.postings.first().map(|posting| posting.money.into())
}

/// What events charge to limits that the principal may see.
fn charges(call: &Call, events: &[EventBody]) -> Vec<LimitAfter> {
    let customer = call.principal.customer.as_deref();
    let charged = events
        .iter()
        .filter_map(|event| if let EventBody::LimitCharged(charged) = event { Some(charged) } else { None });
    charged.filter(|charged| customer.is_none_or(|customer| *charged.owner == *customer)).map(limit).collect()
}

fn limit(charged: &LimitCharged) -> LimitAfter {
    let amount = |minor| AmountJson::new(minor, charged.currency);
    let windows = [
        ("per_transfer", charged.caps.per_transfer_minor, charged.amount_minor),
        ("day", charged.caps.daily_minor, charged.day_used_minor),
        ("month", charged.caps.monthly_minor, charged.month_used_minor),
    ];
    let windows = windows.into_iter().filter_map(|(window, cap_minor, used_minor)| {
        let cap_minor = cap_minor?;
        let left = amount(cap_minor.saturating_sub(used_minor).max(0));
        Some(WindowAfter { window, cap: amount(cap_minor), used: amount(used_minor), left })
    });
    LimitAfter {
        owner: charged.owner.clone(),
        currency: charged.currency.to_string(),
        amount: amount(charged.amount_minor),
        day: charged.day,
        windows: windows.collect(),
    }
}
