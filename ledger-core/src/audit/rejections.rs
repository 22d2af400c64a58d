//! Whether what rejections say was so.

use event_schemas::event::CommandRejected;
use event_schemas::{AccountId, Rejection, Sequence, Side};

use super::{AuditedAccount, Auditor, Law, Status};

impl Auditor {
    /// Checks what a rejection says of the accounts. What it says of the command alone is for `decide` and its tests.
    pub(super) fn command_rejected(&mut self, sequence: Sequence, rejected: &CommandRejected) {
        let known = |id: &AccountId| self.accounts.get(id);
        let status = |id: &AccountId, status| known(id).is_some_and(|account| account.status == status);
        let holds = match &rejected.rejection {
            Rejection::AccountExists { account } | Rejection::BalanceOverflow { account } => known(account).is_some(),
            Rejection::AccountNotFound { account } => known(account).is_none(),
            Rejection::AccountClosed { account } => status(account, Status::Closed),
            Rejection::AccountFrozen { account } => status(account, Status::Frozen),
            Rejection::AccountNotFrozen { account } => status(account, Status::Open),
            Rejection::CurrencyMismatch { account, account_currency } => {
                known(account).is_some_and(|known| known.currency == *account_currency)
            }
            Rejection::AccountNotEmpty { account, balance_minor } => {
                *balance_minor != 0 && known(account).is_some_and(|known| known.balance_minor() == *balance_minor)
            }
            Rejection::InsufficientFunds { account, available_minor, required_minor } => {
                required_minor > available_minor
                    && known(account).and_then(AuditedAccount::available_minor) == Some(*available_minor)
            }
            Rejection::HoldNotPossible { account } => {
                known(account).is_some_and(|known| known.kind.normal_side() == Side::Debit)
            }
            Rejection::AccountHasHolds { account, held_minor } => {
                *held_minor != 0 && known(account).is_some_and(|known| known.held_minor == *held_minor)
            }
            Rejection::ExpiryOutOfRange { .. }
            | Rejection::HoldNotFound { .. }
            | Rejection::HoldNotOpen { .. }
            | Rejection::HoldExpired { .. }
            | Rejection::CaptureAboveHold { .. }
            | Rejection::TooManyHolds { .. } => self.hold_rejection_holds(&rejected.rejection),
            Rejection::OriginalNotFound { .. }
            | Rejection::OriginalNotAnEntry { .. }
            | Rejection::OriginalIsReversal { .. }
            | Rejection::OriginalReversed { .. }
            | Rejection::ReversalAboveOriginal { .. } => self.reversal_rejection_holds(&rejected.rejection),
            Rejection::RateSheetInvalid { .. }
            | Rejection::SameCurrency { .. }
            | Rejection::RateSheetNotFound { .. }
            | Rejection::RateSheetStale { .. }
            | Rejection::RateNotFound { .. }
            | Rejection::QuoteExpired { .. }
            | Rejection::QuoteMismatch { .. }
            | Rejection::ConvertedAmountZero
            | Rejection::QuoteOfAnother { .. } => self.rate_rejection_holds(rejected),
            Rejection::EntryUnbalanced { debits_minor, credits_minor, .. } => debits_minor != credits_minor,
            Rejection::PeriodClosed { .. } | Rejection::PeriodNotOver { .. } | Rejection::VersionNotNewer { .. } => {
                self.setting_rejection_holds(rejected)
            }
            Rejection::PostingsOutOfBounds { .. }
            | Rejection::AmountNotPositive
            | Rejection::AmountTooLarge
            | Rejection::EffectiveDateOutOfRange { .. }
            | Rejection::AccountCodeInvalid
            | Rejection::SameAccount { .. }
            | Rejection::LinkedItemRefused { .. }
            | Rejection::LimitNotPositive
            | Rejection::FeeRuleInvalid
            | Rejection::CalendarInvalid { .. } => true,
            Rejection::CalendarMissing | Rejection::LimitExceeded { .. } => {
                self.limit_rejection_holds(&rejected.rejection)
            }
        };
        if !holds && !self.decided_behind_others() {
            self.find(sequence, Law::RejectionHolds, format!("{:?} was not so", rejected.rejection));
        }
    }
}
