//! Which accounts an event or a command is about.

use crate::command::CommandBody;
use crate::event::EventBody;
use crate::ids::AccountId;

impl EventBody {
    /// Whether the event opens, changes, moves or names an account.
    pub fn touches(&self, account: AccountId) -> bool {
        match self {
            Self::AccountOpened(open) => open.account == account,
            Self::AccountFrozen(act) | Self::AccountUnfrozen(act) | Self::AccountClosed(act) => act.account == account,
            Self::EntryPosted(_) | Self::EntryReversed(_) | Self::HoldCaptured(_) | Self::ConversionPosted(_) => {
                self.entry().is_some_and(|entry| entry.postings.iter().any(|posting| posting.account == account))
            }
            Self::HoldPlaced(placed) => placed.account == account,
            Self::HoldVoided(voided) => voided.account == account,
            Self::HoldExpired(expired) => expired.account == account,
            Self::CommandRejected(rejected) => rejected.command.accounts().contains(&account),
            Self::LimitCharged(charged) => charged.account == account,
            Self::BookOpened(_)
            | Self::StateDigest(_)
            | Self::ClockAccepted(_)
            | Self::LimitsSet(_)
            | Self::LimitReleased(_)
            | Self::CalendarPublished(_)
            | Self::FeeRuleSet(_)
            | Self::PeriodClosed(_)
            | Self::NotificationPreferencesSet(_)
            | Self::RateSheetPublished(_)
            | Self::JournalRestored(_)
            | Self::ControlRecorded(_)
            | Self::AccessLogged(_) => false,
        }
    }
}

impl CommandBody {
    /// The accounts that the command names. One that is about a hold or an entry names that, and not its accounts.
    pub fn accounts(&self) -> Vec<AccountId> {
        match self {
            Self::OpenAccount(open) => vec![open.account],
            Self::FreezeAccount(act) | Self::UnfreezeAccount(act) | Self::CloseAccount(act) => vec![act.account],
            Self::TopUp(cash) | Self::Withdraw(cash) => vec![cash.account],
            Self::PostTransfer(transfer) => vec![transfer.from, transfer.to],
            Self::PostEntry(entry) => entry.postings.iter().map(|posting| posting.account).collect(),
            Self::PlaceHold(hold) => vec![hold.account],
            Self::CaptureHold(capture) => vec![capture.to],
            Self::TransferUpTo(transfer) => vec![transfer.from, transfer.to],
            Self::ConvertFunds(convert) => vec![convert.from, convert.to],
            Self::VoidHold(_)
            | Self::ReverseEntry(_)
            | Self::SetLimits(_)
            | Self::PublishCalendar(_)
            | Self::SetFeeRule(_)
            | Self::ClosePeriod(_)
            | Self::SetNotificationPreferences(_)
            | Self::PublishRateSheet(_) => Vec::new(),
        }
    }
}
