//! Who may do what: one small pure function, so that the whole policy is one table in the tests.
//!
//! It rules on the key's scopes and on whether it is confined to a customer. Which book a key may see is ruled before
//! (a book of another tenant is not there), and where the ruling depends on an account's owner the handler looks it up.

use crate::keys::{Principal, Scope};
use crate::problem::{Code, Problem};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    OpenAccount,
    FreezeAccount,
    UnfreezeAccount,
    CloseAccount,
    TopUp,
    Withdraw,
    /// With a fee or an effective date set by the caller, or without.
    Transfer {
        sets_terms: bool,
    },
    PostEntry,
    /// For a tier that the caller names, or without.
    Convert {
        names_tier: bool,
    },
    PublishRateSheet,
    PlaceHold,
    CaptureHold,
    VoidHold,
    ReverseEntry,
    SetLimits,
    PublishCalendar,
    SetFeeRule,
    ClosePeriod,
    SetPreferences,
    Pay,
    CancelPayment,
    ReversePayment,
    ReadBook,
    ListAccounts,
    ReadAccount,
    ReadHold,
    ReadTrialBalance,
    ReadCommand,
    ReadEvents,
    ReadLimits,
    ReadNotifications,
    ReadSettings,
    ReadAudit,
    ReadPayment,
    ReadProviders,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Yes.
    Allowed,
    /// Yes, for what is the customer's own: the account debited or read, the accounts listed, the commands given, the preferences.
    IfOwn,
    /// No, and why.
    Denied(&'static str),
}

/// The policy.
pub(crate) fn rule(principal: &Principal, action: Action) -> Ruling {
    let needed = match action {
        Action::OpenAccount
        | Action::TopUp
        | Action::Withdraw
        | Action::Transfer { .. }
        | Action::PostEntry
        | Action::Convert { .. }
        | Action::PlaceHold
        | Action::CaptureHold
        | Action::VoidHold
        | Action::ReverseEntry
        | Action::SetPreferences
        | Action::Pay
        | Action::CancelPayment
        | Action::ReversePayment => Scope::Write,
        Action::FreezeAccount
        | Action::UnfreezeAccount
        | Action::CloseAccount
        | Action::SetLimits
        | Action::PublishCalendar
        | Action::SetFeeRule
        | Action::PublishRateSheet
        | Action::ClosePeriod => Scope::Admin,
        Action::ReadBook
        | Action::ListAccounts
        | Action::ReadAccount
        | Action::ReadHold
        | Action::ReadTrialBalance
        | Action::ReadCommand
        | Action::ReadEvents
        | Action::ReadLimits
        | Action::ReadNotifications
        | Action::ReadSettings
        | Action::ReadAudit
        | Action::ReadPayment
        | Action::ReadProviders => Scope::Read,
    };
    if !principal.scopes.has(needed) {
        return Ruling::Denied(match needed {
            Scope::Read => "this needs the scope read",
            Scope::Write => "this needs the scope write",
            Scope::Admin => "this needs the scope admin",
        });
    }
    if principal.customer.is_none() {
        return Ruling::Allowed;
    }
    match action {
        Action::Transfer { sets_terms: false }
        | Action::Convert { names_tier: false }
        | Action::SetPreferences
        | Action::Pay
        | Action::CancelPayment
        | Action::ReadPayment
        | Action::ListAccounts
        | Action::ReadAccount
        | Action::ReadHold
        | Action::ReadCommand
        | Action::ReadLimits
        | Action::ReadNotifications => Ruling::IfOwn,
        Action::Transfer { sets_terms: true } => Ruling::Denied("a customer's key can't set a fee or effective_on"),
        Action::Convert { names_tier: true } => Ruling::Denied("a customer's key can't name a tier"),
        Action::ReadBook | Action::ReadSettings | Action::ReadProviders => Ruling::Allowed,
        Action::OpenAccount
        | Action::FreezeAccount
        | Action::UnfreezeAccount
        | Action::CloseAccount
        | Action::TopUp
        | Action::Withdraw
        | Action::PostEntry
        | Action::PlaceHold
        | Action::CaptureHold
        | Action::VoidHold
        | Action::ReverseEntry
        | Action::ReversePayment
        | Action::SetLimits
        | Action::PublishCalendar
        | Action::SetFeeRule
        | Action::PublishRateSheet
        | Action::ClosePeriod
        | Action::ReadTrialBalance
        | Action::ReadEvents
        | Action::ReadAudit => Ruling::Denied("a customer's key can't do this"),
    }
}

/// The policy, with a denial as a problem. `Some` is the customer to whom the rest must belong.
pub(crate) fn permit(principal: &Principal, action: Action) -> Result<Option<&str>, Problem> {
    match rule(principal, action) {
        Ruling::Allowed => Ok(None),
        Ruling::IfOwn => match principal.customer.as_deref() {
            // An empty name would be that of every account of the house.
            Some(customer) if !customer.is_empty() => Ok(Some(customer)),
            Some(_) | None => Err(Problem::new(Code::Forbidden)),
        },
        Ruling::Denied(why) => Err(Problem::detailed(Code::Forbidden, why)),
    }
}

#[cfg(test)]
mod tests {
    use event_schemas::PrincipalId;

    use super::*;

    fn principal(customer: bool, scopes: &[Scope]) -> Principal {
        Principal {
            id: PrincipalId(1),
            tenant: "house".into(),
            holder: "till".into(),
            holder_scope: "till".into(),
            customer: customer.then(|| "client:1".into()),
            scopes: scopes.iter().copied().collect(),
        }
    }

    #[test]
    fn the_whole_policy() {
        use Scope::{Admin, Read, Write};
        // y allowed, o own only, - denied; for keys of the house with read, write, admin, all; then of a customer likewise.
        let table = [
            (Action::OpenAccount, "-y-y", "----"),
            (Action::FreezeAccount, "--yy", "----"),
            (Action::UnfreezeAccount, "--yy", "----"),
            (Action::CloseAccount, "--yy", "----"),
            (Action::TopUp, "-y-y", "----"),
            (Action::Withdraw, "-y-y", "----"),
            (Action::Transfer { sets_terms: false }, "-y-y", "-o-o"),
            (Action::Transfer { sets_terms: true }, "-y-y", "----"),
            (Action::PostEntry, "-y-y", "----"),
            (Action::Convert { names_tier: false }, "-y-y", "-o-o"),
            (Action::Convert { names_tier: true }, "-y-y", "----"),
            (Action::PublishRateSheet, "--yy", "----"),
            (Action::PlaceHold, "-y-y", "----"),
            (Action::CaptureHold, "-y-y", "----"),
            (Action::VoidHold, "-y-y", "----"),
            (Action::ReverseEntry, "-y-y", "----"),
            (Action::SetLimits, "--yy", "----"),
            (Action::PublishCalendar, "--yy", "----"),
            (Action::SetFeeRule, "--yy", "----"),
            (Action::ClosePeriod, "--yy", "----"),
            (Action::SetPreferences, "-y-y", "-o-o"),
            (Action::Pay, "-y-y", "-o-o"),
            (Action::CancelPayment, "-y-y", "-o-o"),
            (Action::ReversePayment, "-y-y", "----"),
            (Action::ReadPayment, "y--y", "o--o"),
            (Action::ReadProviders, "y--y", "y--y"),
            (Action::ReadBook, "y--y", "y--y"),
            (Action::ListAccounts, "y--y", "o--o"),
            (Action::ReadAccount, "y--y", "o--o"),
            (Action::ReadHold, "y--y", "o--o"),
            (Action::ReadTrialBalance, "y--y", "----"),
            (Action::ReadCommand, "y--y", "o--o"),
            (Action::ReadEvents, "y--y", "----"),
            (Action::ReadLimits, "y--y", "o--o"),
            (Action::ReadNotifications, "y--y", "o--o"),
            (Action::ReadSettings, "y--y", "y--y"),
            (Action::ReadAudit, "y--y", "----"),
        ];
        let scopes: [&[Scope]; 4] = [&[Read], &[Write], &[Admin], &[Read, Write, Admin]];
        for (action, house, customer) in table {
            for (is_customer, expected) in [(false, house), (true, customer)] {
                let found: String = scopes
                    .iter()
                    .map(|scopes| match rule(&principal(is_customer, scopes), action) {
                        Ruling::Allowed => 'y',
                        Ruling::IfOwn => 'o',
                        Ruling::Denied(_) => '-',
                    })
                    .collect();
                assert_eq!(found, expected, "{action:?}, customer: {is_customer}");
            }
            assert_ne!(rule(&principal(false, &[]), action), Ruling::Allowed, "{action:?} without a scope");
        }
    }
}
