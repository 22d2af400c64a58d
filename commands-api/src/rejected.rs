//! A rejection as a client is told it: its code, a sentence with the figures, the member of the body it is about, and what
//! the book observed.
//!
//! A customer sees figures of the account it may debit and of no other: the receiver of a transfer can be short of room too.

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
        CommandBody::OpenAccount(_)
        | CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PostEntry(_) => None,
    };
    if principal.customer.is_some() && shows_figures(rejection) && account(rejection) != own {
        return None;
    }
    let mut tree = serde_json::to_value(rejection).ok()?;
    let fields = tree.as_object_mut()?;
    fields.remove("code");
    (!fields.is_empty()).then_some(tree)
}

/// Whether a rejection tells something of an account's balance.
const fn shows_figures(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::InsufficientFunds { .. } | Rejection::AccountNotEmpty { .. } | Rejection::BalanceOverflow { .. }
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
        | Rejection::AccountNotEmpty { account, .. }
        | Rejection::InsufficientFunds { account, .. }
        | Rejection::BalanceOverflow { account } => Some(*account),
        Rejection::PostingsOutOfBounds { .. }
        | Rejection::AmountNotPositive
        | Rejection::AmountTooLarge
        | Rejection::EffectiveDateOutOfRange { .. }
        | Rejection::AccountCodeInvalid
        | Rejection::EntryUnbalanced { .. } => None,
    }
}

/// The currency of a command's amounts, if it has one for all.
fn currency(command: &CommandBody) -> Option<Currency> {
    match command {
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => Some(cash.amount.currency),
        CommandBody::PostTransfer(transfer) => Some(transfer.amount.currency),
        CommandBody::OpenAccount(open) => Some(open.currency),
        CommandBody::PostEntry(_)
        | CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_) => None,
    }
}

/// The figures in words. An account is short in the currency of the command: another one is refused before.
fn sentence(rejection: &Rejection, currency: Option<Currency>) -> Option<String> {
    match rejection {
        Rejection::InsufficientFunds { available_minor, required_minor, .. } => {
            let money = |minor| currency.map(|currency| Money::new(minor, currency));
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
        Rejection::CurrencyMismatch { account_currency, .. } => Some(format!("the account is in {account_currency}")),
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
        | Rejection::BalanceOverflow { .. } => None,
    }
}

/// The member of the body that a rejection is about. An account in the path has none.
fn pointer(rejection: &Rejection, command: &CommandBody) -> Option<String> {
    let member = match rejection {
        Rejection::EffectiveDateOutOfRange { .. } => "effective_on",
        Rejection::EntryUnbalanced { .. } | Rejection::PostingsOutOfBounds { .. } => "postings",
        Rejection::AccountCodeInvalid => "code",
        Rejection::CurrencyMismatch { .. } | Rejection::InsufficientFunds { .. }
            if !matches!(command, CommandBody::PostEntry(_)) =>
        {
            if matches!(rejection, Rejection::CurrencyMismatch { .. }) { "currency" } else { "amount" }
        }
        Rejection::AmountNotPositive | Rejection::AmountTooLarge => return None,
        Rejection::AccountExists { .. }
        | Rejection::SameAccount { .. }
        | Rejection::AccountNotFound { .. }
        | Rejection::AccountClosed { .. }
        | Rejection::AccountFrozen { .. }
        | Rejection::AccountNotFrozen { .. }
        | Rejection::CurrencyMismatch { .. }
        | Rejection::AccountNotEmpty { .. }
        | Rejection::InsufficientFunds { .. }
        | Rejection::BalanceOverflow { .. } => return account_member(account(rejection)?, command),
    };
    Some(format!("#/{member}"))
}

/// The member that named this account.
fn account_member(account: AccountId, command: &CommandBody) -> Option<String> {
    match command {
        CommandBody::PostTransfer(transfer) if transfer.to == account => Some("#/to".into()),
        CommandBody::PostTransfer(transfer) if transfer.from == account => Some("#/from".into()),
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) if cash.account == account => Some("#/account".into()),
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
        | CommandBody::PostTransfer(_) => None,
    }
}
