//! The words of notices: templates, channels, states.

use event_schemas::codec::CodecError;
use event_schemas::notices::{NoticeChannel, NoticeTopic};

/// What the house does where a customer said nothing: everything is told by e-mail.
pub const DEFAULT_CHANNELS: Channels = Channels(1);

/// What is told. The parameters of each are the columns of a notice that are not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Template {
    /// An account was credited: kind of entry, amount, what it is about, reference.
    MoneyIn,
    /// An account was debited, likewise.
    MoneyOut,
    /// Money was set aside: amount, hold, reference.
    HoldPlaced,
    /// The last capture of a hold left this much free again: amount, hold.
    HoldReleased,
    /// A hold was ended by a command: what was left, hold.
    HoldVoided,
    /// The deadline of a hold came: what was left, hold.
    HoldExpired,
    /// Money did not move: the kind of command, its amount, the code of the rejection.
    CommandRefused,
    /// An account was opened.
    AccountOpened,
    /// An account was frozen. Why, the house may have to keep to itself.
    AccountFrozen,
    /// An account was unfrozen.
    AccountUnfrozen,
    /// An account was closed.
    AccountClosed,
    /// Limits were set: the currency.
    LimitsSet,
    /// Preferences were set.
    PreferencesSet,
}

impl Template {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::MoneyIn,
        Self::MoneyOut,
        Self::HoldPlaced,
        Self::HoldReleased,
        Self::HoldVoided,
        Self::HoldExpired,
        Self::CommandRefused,
        Self::AccountOpened,
        Self::AccountFrozen,
        Self::AccountUnfrozen,
        Self::AccountClosed,
        Self::LimitsSet,
        Self::PreferencesSet,
    ];

    /// The name in JSON and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MoneyIn => "money_in",
            Self::MoneyOut => "money_out",
            Self::HoldPlaced => "hold_placed",
            Self::HoldReleased => "hold_released",
            Self::HoldVoided => "hold_voided",
            Self::HoldExpired => "hold_expired",
            Self::CommandRefused => "command_refused",
            Self::AccountOpened => "account_opened",
            Self::AccountFrozen => "account_frozen",
            Self::AccountUnfrozen => "account_unfrozen",
            Self::AccountClosed => "account_closed",
            Self::LimitsSet => "limits_set",
            Self::PreferencesSet => "preferences_set",
        }
    }

    /// The topic it belongs to, which the customer's preferences are about.
    pub const fn topic(self) -> NoticeTopic {
        match self {
            Self::MoneyIn => NoticeTopic::MoneyIn,
            Self::MoneyOut => NoticeTopic::MoneyOut,
            Self::HoldPlaced | Self::HoldReleased | Self::HoldVoided | Self::HoldExpired => NoticeTopic::Hold,
            Self::CommandRefused => NoticeTopic::Refusal,
            Self::AccountOpened | Self::AccountFrozen | Self::AccountUnfrozen | Self::AccountClosed => {
                NoticeTopic::Account
            }
            Self::LimitsSet | Self::PreferencesSet => NoticeTopic::Settings,
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Self, CodecError> {
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or(CodecError::NotCanonical("template"))
    }
}

const fn bit(channel: NoticeChannel) -> u8 {
    match channel {
        NoticeChannel::Email => 1,
        NoticeChannel::Sms => 2,
        NoticeChannel::Websocket => 4,
    }
}

/// The channels of a topic or a notice. As a text: their names with commas between, in the order of [`NoticeChannel::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Channels(u8);

impl Channels {
    /// Not told at all.
    pub const NONE: Self = Self(0);

    /// Those channels.
    pub fn of(channels: impl IntoIterator<Item = NoticeChannel>) -> Self {
        Self(channels.into_iter().fold(0, |bits, channel| bits | bit(channel)))
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = NoticeChannel> {
        NoticeChannel::ALL.into_iter().filter(move |channel| self.0 & bit(*channel) != 0)
    }

    pub(crate) const fn text(self) -> &'static str {
        match self.0 & 7 {
            0 => "",
            1 => "email",
            2 => "sms",
            3 => "email,sms",
            4 => "websocket",
            5 => "email,websocket",
            6 => "sms,websocket",
            _ => "email,sms,websocket",
        }
    }

    pub(crate) fn from_text(text: &str) -> Result<Self, CodecError> {
        (0..8).map(Self).find(|channels| channels.text() == text).ok_or(CodecError::NotCanonical("channels"))
    }
}

/// What became of a notice. A replay knows the first only: the others are for effectors to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeState {
    /// It waits to be sent.
    Queued,
    /// It was sent by every channel.
    Sent,
    /// It was tried and will not be tried again.
    Failed,
    /// Somebody has to look at it.
    Parked,
}

impl NoticeState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Sent, Self::Failed, Self::Parked];

    /// The name in JSON and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Parked => "parked",
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Self, CodecError> {
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or(CodecError::NotCanonical("state"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_and_channels_read_back() {
        for template in Template::ALL {
            assert_eq!(Template::from_name(template.name()).unwrap(), template);
        }
        for state in NoticeState::ALL {
            assert_eq!(NoticeState::from_name(state.name()).unwrap(), state);
        }
        for bits in 0..8 {
            let channels = Channels(bits);
            assert_eq!(Channels::from_text(channels.text()).unwrap(), channels);
            let names: Vec<_> = channels.iter().map(NoticeChannel::name).collect();
            assert_eq!(names.join(","), channels.text());
            assert_eq!(Channels::of(channels.iter()), channels);
        }
        assert!(Channels::from_text("sms,email").is_err() && Template::from_name("").is_err());
        assert_eq!(DEFAULT_CHANNELS.text(), "email");
        assert!(NoticeTopic::ALL.into_iter().all(|topic| Template::ALL.iter().any(|one| one.topic() == topic)));
    }
}
