//! A rejection as a client is told it: its code, a sentence with the figures, the member of the body it is about, and what
//! the book observed.
//!
//! A customer sees figures of the account it may debit and of no other: the receiver of a transfer can be short of room too.

use event_schemas::limits::LimitWindow;
use event_schemas::{AccountId, CommandBody, Currency, Money, Rejection};
use serde_json::Value;

use crate::keys::Principal;
use crate::problem::{Code, Problem};

/// The problem of a rejection of this command.
pub(crate) fn problem(rejection: &Rejection, command: &CommandBody, principal: &Principal) -> Problem {
    let shown = observed(rejection, command, principal);
    // What may not be seen is not put into words either.
    let sentence = shown.as_ref().and_then(|_| sentence(rejection, currency(command)));
    let mut problem = Problem::new(Code::from(rejection)).with_observed(shown);
    if let Some(pointer) = pointer(rejection, command) {
        let detail = sentence.clone().unwrap_or_else(|| Code::from(rejection).title().to_owned());
        problem = problem.with_error(detail, Some(pointer));
    }
    problem.with_detail(sentence)
}

/// What the book observed, without its code; nothing if there was nothing or it is not this principal's to see.
pub(crate) fn observed(rejection: &Rejection, command: &CommandBody, principal: &Principal) -> Option<Value> {
    let own = match command {
        CommandBody::PostTransfer(transfer) => Some(transfer.from),
        CommandBody::TransferUpTo(transfer) => Some(transfer.from),
        CommandBody::ConvertFunds(convert) => Some(convert.from),
        CommandBody::OpenAccount(_)
        | CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PostEntry(_)
        | CommandBody::PlaceHold(_)
        | CommandBody::CaptureHold(_)
        | CommandBody::VoidHold(_)
        | CommandBody::ReverseEntry(_)
        | CommandBody::SetLimits(_)
        | CommandBody::PublishCalendar(_)
        | CommandBody::SetFeeRule(_)
        | CommandBody::ClosePeriod(_)
        | CommandBody::SetNotificationPreferences(_)
        | CommandBody::PublishRateSheet(_) => None,
    };
    let is_own = own.is_some() && account(rejection) == own;
    if principal.customer.is_some() && shows_figures(rejection) && !is_own {
        return None;
    }
    let mut tree = serde_json::to_value(rejection).ok()?;
    let fields = tree.as_object_mut()?;
    fields.remove("code");
    (!fields.is_empty()).then_some(tree)
}

/// Whether a rejection tells something of an account's balance, or of a hold or an entry that it has.
const fn shows_figures(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::InsufficientFunds { .. }
            | Rejection::AccountNotEmpty { .. }
            | Rejection::AccountHasHolds { .. }
            | Rejection::BalanceOverflow { .. }
            | Rejection::CaptureAboveHold { .. }
            | Rejection::ReversalAboveOriginal { .. }
            | Rejection::LimitExceeded { .. }
    )
}

/// The account that a rejection is about.
const fn account(rejection: &Rejection) -> Option<AccountId> {
    match rejection {
        Rejection::AccountExists { account }
        | Rejection::SameAccount { account }
        | Rejection::AccountNotFound { account }
        | Rejection::AccountClosed { account }
        | Rejection::AccountFrozen { account }
        | Rejection::AccountNotFrozen { account }
        | Rejection::CurrencyMismatch { account, .. }
        | Rejection::QuoteOfAnother { account }
        | Rejection::HoldNotPossible { account }
        | Rejection::AccountHasHolds { account, .. }
        | Rejection::AccountNotEmpty { account, .. }
        | Rejection::InsufficientFunds { account, .. }
        | Rejection::LimitExceeded { account, .. }
        | Rejection::BalanceOverflow { account } => Some(*account),
        Rejection::PostingsOutOfBounds { .. }
        | Rejection::AmountNotPositive
        | Rejection::AmountTooLarge
        | Rejection::EffectiveDateOutOfRange { .. }
        | Rejection::AccountCodeInvalid
        | Rejection::ExpiryOutOfRange { .. }
        | Rejection::HoldNotFound { .. }
        | Rejection::HoldNotOpen { .. }
        | Rejection::HoldExpired { .. }
        | Rejection::OriginalNotFound { .. }
        | Rejection::OriginalNotAnEntry { .. }
        | Rejection::OriginalIsReversal { .. }
        | Rejection::OriginalReversed { .. }
        | Rejection::ReversalAboveOriginal { .. }
        | Rejection::CaptureAboveHold { .. }
        | Rejection::TooManyHolds { .. }
        | Rejection::EntryUnbalanced { .. }
        | Rejection::LinkedItemRefused { .. }
        | Rejection::LimitNotPositive
        | Rejection::FeeRuleInvalid
        | Rejection::PeriodClosed { .. }
        | Rejection::PeriodNotOver { .. }
        | Rejection::VersionNotNewer { .. }
        | Rejection::CalendarInvalid { .. }
        | Rejection::RateSheetInvalid { .. }
        | Rejection::SameCurrency { .. }
        | Rejection::RateSheetNotFound { .. }
        | Rejection::RateSheetStale { .. }
        | Rejection::RateNotFound { .. }
        | Rejection::QuoteExpired { .. }
        | Rejection::ConvertedAmountZero
        | Rejection::QuoteMismatch { .. }
        | Rejection::CalendarMissing => None,
    }
}

/// The currency of a command's amounts, if it has one for all.
fn currency(command: &CommandBody) -> Option<Currency> {
    match command {
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => Some(cash.amount.currency),
        CommandBody::PostTransfer(transfer) => Some(transfer.amount.currency),
        CommandBody::OpenAccount(open) => Some(open.currency),
        CommandBody::PlaceHold(hold) => Some(hold.amount.currency),
        CommandBody::CaptureHold(capture) => Some(capture.amount.currency),
        CommandBody::TransferUpTo(transfer) => Some(transfer.at_most.currency),
        CommandBody::ConvertFunds(convert) => Some(convert.sold.currency),
        CommandBody::SetLimits(limits) => Some(limits.currency),
        CommandBody::SetFeeRule(rule) => Some(rule.currency),
        CommandBody::PostEntry(_)
        | CommandBody::PublishCalendar(_)
        | CommandBody::ClosePeriod(_)
        | CommandBody::SetNotificationPreferences(_)
        | CommandBody::PublishRateSheet(_)
        | CommandBody::VoidHold(_)
        | CommandBody::ReverseEntry(_)
        | CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_) => None,
    }
}

/// The figures in words. An account is short in the currency of the command: another one is refused before.
fn sentence(rejection: &Rejection, currency: Option<Currency>) -> Option<String> {
    let money = |minor| currency.map(|currency| Money::new(minor, currency));
    match rejection {
        Rejection::InsufficientFunds { available_minor, required_minor, .. } => {
            let (available, required) = (money(*available_minor)?, money(*required_minor)?);
            Some(format!("{required} are required and {available} are available"))
        }
        Rejection::EntryUnbalanced { currency, debits_minor, credits_minor } => {
            let (debits, credits) = (Money::new(*debits_minor, *currency), Money::new(*credits_minor, *currency));
            Some(format!("debits are {debits} and credits are {credits}"))
        }
        Rejection::EffectiveDateOutOfRange { earliest, latest } => {
            Some(format!("dates from {earliest} to {latest} are open"))
        }
        Rejection::ExpiryOutOfRange { after, latest } => {
            Some(format!("a deadline must lie after {after} and not after {latest}"))
        }
        Rejection::HoldExpired { expires_at, .. } => Some(format!("its deadline was {expires_at}")),
        Rejection::CaptureAboveHold { left_minor, required_minor, .. } => {
            let (left, required) = (money(*left_minor)?, money(*required_minor)?);
            Some(format!("{required} are required and {left} are left of the hold"))
        }
        Rejection::TooManyHolds { limit } => Some(format!("a book has at most {limit} open holds")),
        Rejection::CurrencyMismatch { account_currency, .. } => Some(format!("the account is in {account_currency}")),
        Rejection::LimitExceeded { window, cap_minor, used_minor, required_minor, resets_at, .. } => {
            let (cap, used, required) = (money(*cap_minor)?, money(*used_minor)?, money(*required_minor)?);
            let window = window_in_words(*window);
            let resets = resets_at.map_or_else(String::new, |at| format!("; the next {window} begins at {at}"));
            Some(format!("{required} are required, the limit per {window} is {cap} and {used} of it are used{resets}"))
        }
        Rejection::PeriodClosed { through } => Some(format!("all days up to {through} are closed")),
        Rejection::PeriodNotOver { today } => Some(format!("today is {today}")),
        Rejection::VersionNotNewer { applied } => Some(format!("version {applied} was applied last")),
        Rejection::CalendarInvalid { place } => Some(format!("the start at place {place} is wrong")),
        Rejection::RateSheetInvalid { part } => Some(format!("its {} can't be", part.name())),
        Rejection::SameCurrency { currency } => Some(format!("both amounts are in {currency}")),
        Rejection::RateSheetNotFound { newest: 0 } => Some("no rate sheet was published".to_owned()),
        Rejection::RateSheetNotFound { newest } => Some(format!("the newest rate sheet has version {newest}")),
        Rejection::RateSheetStale { valid_until } => Some(format!("the rate sheet was valid until {valid_until}")),
        Rejection::RateNotFound { currency } => Some(format!("the rate sheet has no {currency}")),
        Rejection::QuoteExpired { expires_at } => Some(format!("the quote expired at {expires_at}")),
        Rejection::LinkedItemRefused { item, command } => {
            Some(format!("item {item} of the batch, command {command}, was refused"))
        }
        Rejection::PostingsOutOfBounds { .. }
        | Rejection::AmountNotPositive
        | Rejection::AmountTooLarge
        | Rejection::AccountCodeInvalid
        | Rejection::AccountExists { .. }
        | Rejection::SameAccount { .. }
        | Rejection::AccountNotFound { .. }
        | Rejection::AccountClosed { .. }
        | Rejection::AccountFrozen { .. }
        | Rejection::AccountNotFrozen { .. }
        | Rejection::AccountNotEmpty { .. }
        | Rejection::AccountHasHolds { .. }
        | Rejection::HoldNotFound { .. }
        | Rejection::HoldNotOpen { .. }
        | Rejection::HoldNotPossible { .. }
        | Rejection::OriginalNotFound { .. }
        | Rejection::OriginalNotAnEntry { .. }
        | Rejection::OriginalIsReversal { .. }
        | Rejection::OriginalReversed { .. }
        | Rejection::ReversalAboveOriginal { .. }
        | Rejection::LimitNotPositive
        | Rejection::FeeRuleInvalid
        | Rejection::CalendarMissing
        | Rejection::ConvertedAmountZero
        | Rejection::QuoteMismatch { .. }
        | Rejection::QuoteOfAnother { .. }
        | Rejection::BalanceOverflow { .. } => None,
    }
}

const fn window_in_words(window: LimitWindow) -> &'static str {
    match window {
        LimitWindow::PerTransfer => "transfer",
        LimitWindow::Day => "day",
        LimitWindow::Month => "month",
    }
}

/// The member of the body that a rejection is about. An account, a hold or an entry in the path has none.
fn pointer(rejection: &Rejection, command: &CommandBody) -> Option<String> {
    let member = match rejection {
        // All that is asked stands in the quote.
        Rejection::LimitExceeded { .. } | Rejection::InsufficientFunds { .. } | Rejection::CurrencyMismatch { .. }
            if matches!(command, CommandBody::ConvertFunds(_)) =>
        {
            "quote"
        }
        Rejection::EntryUnbalanced { .. } | Rejection::PostingsOutOfBounds { .. } => "postings",
        Rejection::AccountCodeInvalid => "code",
        Rejection::PeriodClosed { .. } if matches!(command, CommandBody::ClosePeriod(_)) => "through",
        Rejection::PeriodClosed { .. } | Rejection::EffectiveDateOutOfRange { .. } => "effective_on",
        Rejection::PeriodNotOver { .. } => "through",
        Rejection::VersionNotNewer { .. } => "version",
        Rejection::RateSheetInvalid { part } => part.name(),
        Rejection::CalendarInvalid { place } => return Some(format!("#/starts/{place}")),
        Rejection::ExpiryOutOfRange { .. } => "expires_at",
        Rejection::LimitExceeded { .. } => amount_member(command),
        Rejection::CaptureAboveHold { .. } => "amount",
        Rejection::ReversalAboveOriginal { posting, .. } => return part(*posting, command),
        Rejection::CurrencyMismatch { .. } | Rejection::InsufficientFunds { .. }
            if !matches!(command, CommandBody::PostEntry(_) | CommandBody::ReverseEntry(_)) =>
        {
            if matches!(rejection, Rejection::CurrencyMismatch { .. }) { "currency" } else { amount_member(command) }
        }
        Rejection::AmountNotPositive
        | Rejection::AmountTooLarge
        | Rejection::HoldNotFound { .. }
        | Rejection::HoldNotOpen { .. }
        | Rejection::HoldExpired { .. }
        | Rejection::OriginalNotFound { .. }
        | Rejection::OriginalNotAnEntry { .. }
        | Rejection::OriginalIsReversal { .. }
        | Rejection::OriginalReversed { .. }
        | Rejection::TooManyHolds { .. }
        | Rejection::LinkedItemRefused { .. }
        | Rejection::LimitNotPositive
        | Rejection::FeeRuleInvalid
        | Rejection::SameCurrency { .. }
        | Rejection::RateSheetNotFound { .. }
        | Rejection::RateSheetStale { .. }
        | Rejection::RateNotFound { .. }
        | Rejection::QuoteExpired { .. }
        | Rejection::ConvertedAmountZero
        | Rejection::QuoteMismatch { .. }
        | Rejection::CalendarMissing => return None,
        _ if matches!(command, CommandBody::ConvertFunds(_)) => "quote",
        Rejection::AccountExists { .. }
        | Rejection::SameAccount { .. }
        | Rejection::AccountNotFound { .. }
        | Rejection::AccountClosed { .. }
        | Rejection::AccountFrozen { .. }
        | Rejection::AccountNotFrozen { .. }
        | Rejection::CurrencyMismatch { .. }
        | Rejection::QuoteOfAnother { .. }
        | Rejection::HoldNotPossible { .. }
        | Rejection::AccountHasHolds { .. }
        | Rejection::AccountNotEmpty { .. }
        | Rejection::InsufficientFunds { .. }
        | Rejection::BalanceOverflow { .. } => return account_member(account(rejection)?, command),
    };
    Some(format!("#/{member}"))
}

/// The member that says how much moves.
const fn amount_member(command: &CommandBody) -> &'static str {
    if matches!(command, CommandBody::TransferUpTo(_)) { "at_most" } else { "amount" }
}

/// The part of a reversal that named this posting.
fn part(posting: u32, command: &CommandBody) -> Option<String> {
    let CommandBody::ReverseEntry(reverse) = command else { return None };
    let at = reverse.postings.as_ref()?.iter().position(|part| part.posting == posting)?;
    Some(format!("#/postings/{at}/amount"))
}

/// The member that named this account.
fn account_member(account: AccountId, command: &CommandBody) -> Option<String> {
    match command {
        CommandBody::PostTransfer(transfer) if transfer.to == account => Some("#/to".into()),
        CommandBody::PostTransfer(transfer) if transfer.from == account => Some("#/from".into()),
        CommandBody::TransferUpTo(transfer) if transfer.to == account => Some("#/to".into()),
        CommandBody::TransferUpTo(transfer) if transfer.from == account => Some("#/from".into()),
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) if cash.account == account => Some("#/account".into()),
        CommandBody::PlaceHold(hold) if hold.account == account => Some("#/account".into()),
        CommandBody::CaptureHold(capture) if capture.to == account => Some("#/to".into()),
        CommandBody::PostEntry(entry) => {
            let at = entry.postings.iter().position(|posting| posting.account == account)?;
            Some(format!("#/postings/{at}/account"))
        }
        CommandBody::OpenAccount(open) => Some(if open.code.is_empty() { "#/account" } else { "#/code" }.into()),
        // The account stands in the path, or it is one of the book's own.
        CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PlaceHold(_)
        | CommandBody::CaptureHold(_)
        | CommandBody::VoidHold(_)
        | CommandBody::ReverseEntry(_)
        | CommandBody::TransferUpTo(_)
        | CommandBody::SetLimits(_)
        | CommandBody::PublishCalendar(_)
        | CommandBody::SetFeeRule(_)
        | CommandBody::ClosePeriod(_)
        | CommandBody::SetNotificationPreferences(_)
        | CommandBody::PublishRateSheet(_)
        | CommandBody::ConvertFunds(_)
        | CommandBody::PostTransfer(_) => None,
    }
}
