//! What the book says to a command: a pure function of the state, the time of recording and the command.
//!
//! Checks stand in the order of precedence of [`Rejection`]; where several postings of an entry fail, the lowest number
//! wins, and among equals the first posting. Everything is checked before anything is said: a decision changes nothing, and
//! [`State::apply`] does what it says. Holds and reversals have files of their own beside this one.

mod holds;
mod reversal;

use event_schemas::bounds::{
    AMOUNT_MAX_MINOR, CODE_MAX_BYTES, EFFECTIVE_AHEAD_MAX_DAYS, EFFECTIVE_EARLIEST_DAYS, POSTINGS_MAX, POSTINGS_MIN,
    TOTAL_MAX_MINOR,
};
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, CaptureHold, CashMove, OpenAccount, PostEntry, PostTransfer, VoidHold,
};
use event_schemas::event::{CommandRejected, EntryPosted};
use event_schemas::sabotage::{Switch, on};
use event_schemas::{
    AccountId, BookId, Cause, CivilDate, Command, CommandBody, CommandId, Currency, EntryKind, Event, EventBody, Money,
    Posting, Postings, RecordedEvent, Rejection, Side, Timestamp,
};
use smallvec::{SmallVec, smallvec};

pub use self::holds::next_expiry;
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
        | CommandBody::SetNotificationPreferences(_) => None,
    }
}

/// What happens: system accounts that the command opens, then the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// System accounts opened on first use, in order.
    pub opens: SmallVec<[OpenAccount; 2]>,
    /// The verdict's event.
    pub verdict: EventBody,
}

impl Decision {
    /// The events that it makes of the command, in order; the verdict is the last.
    pub fn events(self, command: &Command) -> impl Iterator<Item = Event> + use<> {
        let (command, actor) = (command.id, command.actor);
        let open =
            move |open| Event { cause: Cause::Consequence { command, actor }, body: EventBody::AccountOpened(open) };
        let verdict = Event { cause: Cause::Verdict { command, actor }, body: self.verdict };
        self.opens.into_iter().map(open).chain(std::iter::once(verdict))
    }
}

/// The accounts that the book keeps for itself, per currency. Their ids follow from book, role and currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRole {
    /// Money on its way from or to the payment provider: an asset.
    Clearing,
    /// Fees earned: income.
    FeeIncome,
}

/// Codes that begin so belong to the book.
pub const SYSTEM_CODE_PREFIX: &str = "sys:";

impl SystemRole {
    /// The code of the account, such as `sys:psp-clearing:EUR`.
    pub fn code(self, currency: Currency) -> String {
        let role = match self {
            Self::Clearing => "psp-clearing",
            Self::FeeIncome => "income-fee",
        };
        format!("{SYSTEM_CODE_PREFIX}{role}:{currency}")
    }

    const fn kind(self) -> AccountKind {
        match self {
            Self::Clearing => AccountKind::Asset,
            Self::FeeIncome => AccountKind::Income,
        }
    }
}

/// Decides a command. Duplicates are not seen here: the engine asks its id index first.
pub fn decide(state: &State, context: Context<'_>, command: &Command) -> Decision {
    let mut opens = SmallVec::new();
    let decided = match &command.body {
        CommandBody::OpenAccount(open) => open_account(state, open),
        CommandBody::FreezeAccount(act) => freeze(state, act),
        CommandBody::UnfreezeAccount(act) => unfreeze(state, act),
        CommandBody::CloseAccount(act) => close(state, act),
        CommandBody::TopUp(cash) => top_up(state, context, cash, &mut opens),
        CommandBody::Withdraw(cash) => withdraw(state, context, cash, &mut opens),
        CommandBody::PostTransfer(transfer) => post_transfer(state, context, transfer, &mut opens),
        CommandBody::PostEntry(entry) => post_entry(state, context, entry),
        CommandBody::PlaceHold(place) => holds::place(state, context, place),
        CommandBody::CaptureHold(capture) => holds::capture(state, context, capture, &mut opens),
        CommandBody::VoidHold(void) => holds::void(state, context, void),
        CommandBody::ReverseEntry(reverse) => reversal::reverse(state, context, reverse),
        CommandBody::TransferUpTo(_)
        | CommandBody::SetLimits(_)
        | CommandBody::PublishCalendar(_)
        | CommandBody::SetFeeRule(_)
        | CommandBody::ClosePeriod(_)
        | CommandBody::SetNotificationPreferences(_) => unreachable!("not admitted to the engine"),
    };
    match decided {
        Ok(verdict) => Decision { opens, verdict },
        Err(rejection) => Decision {
            opens: SmallVec::new(),
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

type Opens = SmallVec<[OpenAccount; 2]>;

fn top_up(state: &State, context: Context<'_>, cash: &CashMove, opens: &mut Opens) -> Result<EventBody, Rejection> {
    let (amount, fee) = (cash.amount, Money::new(cash.fee_minor.unwrap_or(0), cash.amount.currency));
    check_amounts(amount, fee)?;
    let effective_on = effective_date(context, cash.effective_on)?;
    let clearing = system_account(state, SystemRole::Clearing, amount.currency, opens);
    let mut postings: Postings = smallvec![Posting::debit(clearing, amount), Posting::credit(cash.account, amount)];
    if fee.amount_minor > 0 {
        let income = system_account(state, SystemRole::FeeIncome, amount.currency, opens);
        postings.push(Posting::debit(cash.account, fee));
        postings.push(Posting::credit(income, fee));
    }
    two_sides(cash.account, clearing)?;
    check_postings(state, &postings, opens, None)?;
    Ok(posted(EntryKind::TopUp, effective_on, cash.effective_on.is_some(), &cash.reference, postings))
}

fn withdraw(state: &State, context: Context<'_>, cash: &CashMove, opens: &mut Opens) -> Result<EventBody, Rejection> {
    let (amount, fee) = (cash.amount, Money::new(cash.fee_minor.unwrap_or(0), cash.amount.currency));
    let total = check_amounts(amount, fee)?;
    let effective_on = effective_date(context, cash.effective_on)?;
    let clearing = system_account(state, SystemRole::Clearing, amount.currency, opens);
    let mut postings: Postings = smallvec![Posting::debit(cash.account, total), Posting::credit(clearing, amount)];
    push_fee(state, fee, &mut postings, opens);
    two_sides(cash.account, clearing)?;
    check_postings(state, &postings, opens, None)?;
    Ok(posted(EntryKind::Withdrawal, effective_on, cash.effective_on.is_some(), &cash.reference, postings))
}

fn post_transfer(
    state: &State,
    context: Context<'_>,
    transfer: &PostTransfer,
    opens: &mut Opens,
) -> Result<EventBody, Rejection> {
    let (amount, fee) = (transfer.amount, Money::new(transfer.fee_minor.unwrap_or(0), transfer.amount.currency));
    let total = check_amounts(amount, fee)?;
    let effective_on = effective_date(context, transfer.effective_on)?;
    two_sides(transfer.from, transfer.to)?;
    let mut postings: Postings = smallvec![Posting::debit(transfer.from, total), Posting::credit(transfer.to, amount)];
    push_fee(state, fee, &mut postings, opens);
    check_postings(state, &postings, opens, None)?;
    Ok(posted(EntryKind::Transfer, effective_on, transfer.effective_on.is_some(), &transfer.reference, postings))
}

fn post_entry(state: &State, context: Context<'_>, entry: &PostEntry) -> Result<EventBody, Rejection> {
    let count = entry.postings.len();
    if !(POSTINGS_MIN..=POSTINGS_MAX).contains(&count) {
        return Err(Rejection::PostingsOutOfBounds { count: u32::try_from(count).unwrap_or(u32::MAX) });
    }
    let worst = entry
        .postings
        .iter()
        .filter_map(|posting| amount_rejection(posting.money.amount_minor))
        .min_by_key(Rejection::number);
    if let Some(rejection) = worst {
        return Err(rejection);
    }
    let effective_on = effective_date(context, entry.effective_on)?;
    check_postings(state, &entry.postings, &[], None)?;
    let postings = entry.postings.clone();
    Ok(posted(EntryKind::General, effective_on, entry.effective_on.is_some(), &entry.reference, postings))
}

fn posted(
    kind: EntryKind,
    effective_on: CivilDate,
    effective_on_named: bool,
    reference: &str,
    postings: Postings,
) -> EventBody {
    EventBody::EntryPosted(EntryPosted {
        kind,
        fee_rule: None,
        at_most_minor: None,
        effective_on,
        effective_on_named,
        reference: reference.into(),
        postings,
    })
}

fn two_sides(one: AccountId, other: AccountId) -> Result<(), Rejection> {
    if one == other { Err(Rejection::SameAccount { account: one }) } else { Ok(()) }
}

const fn amount_rejection(amount_minor: i128) -> Option<Rejection> {
    if amount_minor <= 0 {
        return Some(Rejection::AmountNotPositive);
    }
    if amount_minor > AMOUNT_MAX_MINOR {
        return Some(Rejection::AmountTooLarge);
    }
    None
}

/// Checks amount and fee, and gives their sum.
fn check_amounts(amount: Money, fee: Money) -> Result<Money, Rejection> {
    if amount.amount_minor <= 0 || fee.amount_minor < 0 {
        return Err(Rejection::AmountNotPositive);
    }
    let total_minor = amount.amount_minor.checked_add(fee.amount_minor).filter(|total| *total <= AMOUNT_MAX_MINOR);
    Ok(Money::new(total_minor.ok_or(Rejection::AmountTooLarge)?, amount.currency))
}

fn effective_date(context: Context<'_>, named: Option<CivilDate>) -> Result<CivilDate, Rejection> {
    let today = context.recorded_at.date_utc();
    let earliest = CivilDate::from_days(EFFECTIVE_EARLIEST_DAYS).unwrap_or(CivilDate::MIN);
    let latest = CivilDate::from_days(today.days().saturating_add(EFFECTIVE_AHEAD_MAX_DAYS)).unwrap_or(CivilDate::MAX);
    match named {
        None => Ok(today),
        Some(date) if (earliest..=latest).contains(&date) => Ok(date),
        Some(_) => Err(Rejection::EffectiveDateOutOfRange { earliest, latest }),
    }
}

fn push_fee(state: &State, fee: Money, postings: &mut Postings, opens: &mut Opens) {
    if fee.amount_minor > 0 {
        let income = system_account(state, SystemRole::FeeIncome, fee.currency, opens);
        postings.push(Posting::credit(income, fee));
    }
}

/// The id of a system account, noting its opening if this is its first use.
fn system_account(state: &State, role: SystemRole, currency: Currency, opens: &mut Opens) -> AccountId {
    let code = role.code(currency);
    let account = AccountId::from_code(state.book().unwrap_or(BookId::FIRST), &code);
    if state.account(account).is_none() {
        opens.push(OpenAccount {
            account,
            code: code.into(),
            kind: role.kind(),
            currency,
            owner: Box::default(),
            policy: BalancePolicy::Unlimited,
        });
    }
    account
}

/// Debits and credits of one account, or of one currency, within an entry.
struct Sums<K> {
    key: K,
    debits_minor: i128,
    credits_minor: i128,
}

fn sum_by<K: PartialEq>(postings: &[Posting], key: impl Fn(&Posting) -> K) -> SmallVec<[Sums<K>; 4]> {
    let mut sums: SmallVec<[Sums<K>; 4]> = SmallVec::new();
    for posting in postings {
        let of = key(posting);
        let place = sums.iter().position(|sum| sum.key == of).unwrap_or_else(|| {
            sums.push(Sums { key: key(posting), debits_minor: 0, credits_minor: 0 });
            sums.len().saturating_sub(1)
        });
        if let Some(sum) = sums.get_mut(place) {
            // At most 1,000 postings of at most 10^24: far from the end of an i128.
            match posting.side {
                Side::Debit => sum.debits_minor = sum.debits_minor.saturating_add(posting.money.amount_minor),
                Side::Credit => sum.credits_minor = sum.credits_minor.saturating_add(posting.money.amount_minor),
            }
        }
    }
    sums
}

/// Checks accounts, balance per currency and funds of an entry whose amounts are in bounds. What is taken from a hold was
/// found available when it was placed, so it is not asked for again.
fn check_postings(
    state: &State,
    postings: &[Posting],
    opens: &[OpenAccount],
    held: Option<(AccountId, i128)>,
) -> Result<(), Rejection> {
    let mut worst: Option<Rejection> = None;
    for posting in postings {
        if let Some(rejection) = account_rejection(state, posting, opens)
            && worst.as_ref().is_none_or(|worst| rejection.number() < worst.number())
        {
            worst = Some(rejection);
        }
    }
    if let Some(rejection) = worst {
        return Err(rejection);
    }
    for sum in sum_by(postings, |posting| posting.money.currency) {
        if sum.debits_minor != sum.credits_minor && !on(Switch::UnbalancedAccepted) {
            return Err(Rejection::EntryUnbalanced {
                currency: sum.key,
                debits_minor: sum.debits_minor,
                credits_minor: sum.credits_minor,
            });
        }
    }
    let sums = sum_by(postings, |posting| posting.account);
    for sum in &sums {
        if let Some(account) = state.account(sum.key) {
            let held_minor = held.map_or(0, |(id, minor)| if id == sum.key { minor } else { 0 });
            check_funds(account, sum, held_minor)?;
        }
    }
    for sum in &sums {
        if let Some(account) = state.account(sum.key) {
            check_totals(account, sum)?;
        }
    }
    Ok(())
}

fn account_rejection(state: &State, posting: &Posting, opens: &[OpenAccount]) -> Option<Rejection> {
    let id = posting.account;
    let Some(account) = state.account(id) else {
        // One that this very command opens is open, and was made for the currency.
        let opening = opens.iter().any(|open| open.account == id);
        return if opening { None } else { Some(Rejection::AccountNotFound { account: id }) };
    };
    match account.status {
        AccountStatus::Closed => return Some(Rejection::AccountClosed { account: id }),
        AccountStatus::Frozen if !on(Switch::FreezeIgnored) => return Some(Rejection::AccountFrozen { account: id }),
        AccountStatus::Frozen | AccountStatus::Open => {}
    }
    if account.currency == posting.money.currency {
        return None;
    }
    Some(Rejection::CurrencyMismatch { account: id, account_currency: account.currency })
}

/// An entry that lowers an account's balance may take what is available and no more. One that raises it always may, even
/// if the account is below its floor.
fn check_funds(account: &Account, sum: &Sums<AccountId>, held_minor: i128) -> Result<(), Rejection> {
    let required_minor = match account.kind.normal_side() {
        Side::Debit => sum.credits_minor.saturating_sub(sum.debits_minor),
        Side::Credit => sum.debits_minor.saturating_sub(sum.credits_minor),
    }
    .saturating_sub(held_minor);
    match account.available_minor() {
        Some(available_minor)
            if required_minor > 0 && required_minor > available_minor && !on(Switch::FundsIgnored) =>
        {
            Err(Rejection::InsufficientFunds { account: account.id, available_minor, required_minor })
        }
        _ => Ok(()),
    }
}

fn check_totals(account: &Account, sum: &Sums<AccountId>) -> Result<(), Rejection> {
    let fits = |total: i128, add: i128| total.checked_add(add).is_some_and(|total| total <= TOTAL_MAX_MINOR);
    if fits(account.debits_posted_minor, sum.debits_minor) && fits(account.credits_posted_minor, sum.credits_minor) {
        Ok(())
    } else {
        Err(Rejection::BalanceOverflow { account: account.id })
    }
}
