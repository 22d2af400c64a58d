//! The accounts that the book keeps for itself, and opens on first use.

use event_schemas::command::{AccountKind, BalancePolicy, OpenAccount};
use event_schemas::{AccountId, BookId, Currency, Money, Posting, Postings};

use super::Opens;
use crate::state::State;

/// The accounts that the book keeps for itself, per currency. Their ids follow from book, role and currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRole {
    /// Money on its way from or to the payment provider: an asset.
    Clearing,
    /// Fees earned: income.
    FeeIncome,
    /// What the house has bought of a currency from customers less what it has sold: equity, which stands between currencies.
    FxPosition,
    /// Margins earned on conversions: income.
    FxMargin,
    /// What rounding of conversions left over: income, of either sign.
    FxRounding,
}

/// Codes that begin so belong to the book.
pub const SYSTEM_CODE_PREFIX: &str = "sys:";

impl SystemRole {
    /// The code of the account, such as `sys:psp-clearing:EUR`.
    pub fn code(self, currency: Currency) -> String {
        let role = match self {
            Self::Clearing => "psp-clearing",
            Self::FeeIncome => "income-fee",
            Self::FxPosition => "fx-position",
            Self::FxMargin => "income-fx-margin",
            Self::FxRounding => "fx-rounding",
        };
        format!("{SYSTEM_CODE_PREFIX}{role}:{currency}")
    }

    const fn kind(self) -> AccountKind {
        match self {
            Self::Clearing => AccountKind::Asset,
            Self::FxPosition => AccountKind::Equity,
            Self::FeeIncome | Self::FxMargin | Self::FxRounding => AccountKind::Income,
        }
    }
}

/// Adds the posting of a fee to those of a move of money, if there is one.
pub(super) fn push_fee(state: &State, fee: Money, postings: &mut Postings, opens: &mut Opens) {
    if fee.amount_minor > 0 {
        let income = system_account(state, SystemRole::FeeIncome, fee.currency, opens);
        postings.push(Posting::credit(income, fee));
    }
}

/// The id of a system account, noting its opening if this is its first use.
pub(super) fn system_account(state: &State, role: SystemRole, currency: Currency, opens: &mut Opens) -> AccountId {
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
