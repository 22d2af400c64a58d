//! What the book says to a command: a pure function of the state, the time of recording and the command.
//!
//! Checks stand in the order of precedence of [`Rejection`]; where several postings of an entry fail, the lowest number
//! wins, and among equals the first posting. Everything is checked before anything is said: a decision changes nothing, and
//! [`State::apply`] does what it says. What is asked of accounts stands here, everything else in a file of its own beside this
//! one.

mod calendar;
mod conversion;
mod entries;
mod fees;
mod holds;
mod limits;
mod postings;
mod reversal;
mod settings;
mod system;

use event_schemas::bounds::{AMOUNT_MAX_MINOR, CODE_MAX_BYTES};
use event_schemas::command::{AccountAct, BalancePolicy, CaptureHold, OpenAccount, VoidHold};
use event_schemas::event::CommandRejected;
use event_schemas::{
    AccountId, Cause, Command, CommandBody, CommandId, Event, EventBody, RecordedEvent, Rejection, Timestamp,
};
use smallvec::SmallVec;

pub use self::holds::{Expiry, next_expiry};
pub use self::system::{SYSTEM_CODE_PREFIX, SystemRole};
use crate::state::{Account, AccountStatus, State};

/// What a decision needs from outside.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// When the block will be recorded.
    pub recorded_at: Timestamp,
    /// The verdict of the earlier command that this one names, if [`named`] asks for it and there is one.
    pub named: Option<&'a RecordedEvent>,
}

impl Context<'_> {
    /// The context of a command that names no other, or none that there is.
    pub const fn at(recorded_at: Timestamp) -> Self {
        Self { recorded_at, named: None }
    }
}

/// The earlier command whose verdict the decision of this one needs: that of the entry to be reversed, and that of a hold
/// which is not open, to tell one that has ended from one that never was.
pub fn named(state: &State, body: &CommandBody) -> Option<CommandId> {
    match body {
        CommandBody::ReverseEntry(reverse) => Some(reverse.entry),
        CommandBody::CaptureHold(CaptureHold { hold, .. }) | CommandBody::VoidHold(VoidHold { hold, .. }) => {
            state.hold(*hold).is_none().then_some(*hold)
        }
        CommandBody::OpenAccount(_)
        | CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PostTransfer(_)
        | CommandBody::PostEntry(_)
        | CommandBody::PlaceHold(_)
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

type Opens = SmallVec<[OpenAccount; 2]>;

/// What has to happen before the verdict, as far as it is known.
#[derive(Default)]
struct Before {
    opens: Opens,
    limit: Option<Box<EventBody>>,
}

/// What happens: system accounts that the command opens, what it charges to a limit or gives back, then the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// System accounts opened on first use, in order.
    pub opens: SmallVec<[OpenAccount; 2]>,
    /// What is charged to a customer's limits, or goes back to them.
    pub limit: Option<Box<EventBody>>,
    /// The verdict's event.
    pub verdict: EventBody,
}

impl Decision {
    /// The events that it makes of the command, in order; the verdict is the last.
    pub fn events(self, command: &Command) -> impl Iterator<Item = Event> + use<> {
        let (command, actor) = (command.id, command.actor);
        let consequence = move |body| Event { cause: Cause::Consequence { command, actor }, body };
        let verdict = Event { cause: Cause::Verdict { command, actor }, body: self.verdict };
        let before = self.opens.into_iter().map(EventBody::AccountOpened).chain(self.limit.map(|limit| *limit));
        before.map(consequence).chain(std::iter::once(verdict))
    }
}

/// Decides a command. Duplicates are not seen here: the engine asks its id index first.
pub fn decide(state: &State, context: Context<'_>, command: &Command) -> Decision {
    let mut before = Before::default();
    let decided = match &command.body {
        CommandBody::OpenAccount(open) => open_account(state, open),
        CommandBody::FreezeAccount(act) => freeze(state, act),
        CommandBody::UnfreezeAccount(act) => unfreeze(state, act),
        CommandBody::CloseAccount(act) => close(state, act),
        CommandBody::TopUp(cash) => entries::top_up(state, context, cash, &mut before),
        CommandBody::Withdraw(cash) => entries::withdraw(state, context, cash, &mut before),
        CommandBody::PostTransfer(transfer) => entries::post_transfer(state, context, transfer, &mut before),
        CommandBody::PostEntry(entry) => entries::post_entry(state, context, entry),
        CommandBody::PlaceHold(place) => holds::place(state, context, command.id, place, &mut before),
        CommandBody::CaptureHold(capture) => holds::capture(state, context, capture, &mut before),
        CommandBody::VoidHold(void) => holds::void(state, context, void, &mut before),
        CommandBody::ReverseEntry(reverse) => reversal::reverse(state, context, reverse),
        CommandBody::TransferUpTo(transfer) => entries::transfer_up_to(state, context, transfer, &mut before),
        CommandBody::SetFeeRule(rule) => settings::set_fee_rule(state, rule),
        CommandBody::ClosePeriod(close) => settings::close_period(state, context, close),
        CommandBody::SetNotificationPreferences(preferences) => settings::set_preferences(state, preferences),
        CommandBody::PublishRateSheet(sheet) => conversion::publish(state, context, sheet),
        CommandBody::ConvertFunds(convert) => conversion::convert(state, context, convert, &mut before),
        CommandBody::SetLimits(set) => limits::set(state, set),
        CommandBody::PublishCalendar(calendar) => calendar::publish(state, calendar),
    };
    match decided {
        Ok(verdict) => Decision { opens: before.opens, limit: before.limit, verdict },
        Err(rejection) => Decision {
            opens: SmallVec::new(),
            limit: None,
            verdict: EventBody::CommandRejected(CommandRejected { command: command.body.clone(), rejection }),
        },
    }
}

fn open_account(state: &State, open: &OpenAccount) -> Result<EventBody, Rejection> {
    if let BalancePolicy::Limited { overdraft_minor } = open.policy {
        if overdraft_minor < 0 {
            return Err(Rejection::AmountNotPositive);
        }
        if overdraft_minor > AMOUNT_MAX_MINOR {
            return Err(Rejection::AmountTooLarge);
        }
    }
    // Without a code, the id may be any but those that follow from codes: else somebody could sit on the place of a system
    // account, or of another's account, before it is opened.
    let valid = if open.code.is_empty() { !open.account.is_from_a_code() } else { code_is_valid(state, open) };
    if !valid {
        return Err(Rejection::AccountCodeInvalid);
    }
    if state.account(open.account).is_some() {
        return Err(Rejection::AccountExists { account: open.account });
    }
    Ok(EventBody::AccountOpened(open.clone()))
}

fn code_is_valid(state: &State, open: &OpenAccount) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'_' | b'-');
    open.code.len() <= CODE_MAX_BYTES
        && open.code.bytes().all(allowed)
        && !open.code.starts_with(SYSTEM_CODE_PREFIX)
        && state.book().is_some_and(|book| AccountId::from_code(book, &open.code) == open.account)
}

/// The account, if it exists and is not closed.
fn living(state: &State, id: AccountId) -> Result<&Account, Rejection> {
    let account = state.account(id).ok_or(Rejection::AccountNotFound { account: id })?;
    if account.status == AccountStatus::Closed {
        return Err(Rejection::AccountClosed { account: id });
    }
    Ok(account)
}

fn freeze(state: &State, act: &AccountAct) -> Result<EventBody, Rejection> {
    if living(state, act.account)?.status == AccountStatus::Frozen {
        return Err(Rejection::AccountFrozen { account: act.account });
    }
    Ok(EventBody::AccountFrozen(act.clone()))
}

fn unfreeze(state: &State, act: &AccountAct) -> Result<EventBody, Rejection> {
    if living(state, act.account)?.status == AccountStatus::Open {
        return Err(Rejection::AccountNotFrozen { account: act.account });
    }
    Ok(EventBody::AccountUnfrozen(act.clone()))
}

fn close(state: &State, act: &AccountAct) -> Result<EventBody, Rejection> {
    let account = living(state, act.account)?;
    if account.balance_minor() != 0 {
        return Err(Rejection::AccountNotEmpty { account: act.account, balance_minor: account.balance_minor() });
    }
    if account.debits_pending_minor != 0 {
        return Err(Rejection::AccountHasHolds { account: act.account, held_minor: account.debits_pending_minor });
    }
    Ok(EventBody::AccountClosed(act.clone()))
}
