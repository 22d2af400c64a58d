//! Rejections: every way in which the book says no. One closed enum, in the order of precedence: where several hold, the
//! first is the answer. Codes are stable; a new rejection takes a free number between its neighbours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Reader, put_currency, put_date, put_id, put_signed, put_varint};
use crate::command::minor_text;
use crate::currency::Currency;
use crate::date::CivilDate;
use crate::ids::AccountId;

/// A standing condition for which a command was refused, with what was observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "code", deny_unknown_fields)]
pub enum Rejection {
    /// An entry has fewer or more postings than it may.
    PostingsOutOfBounds {
        /// How many it had.
        count: u32,
    },
    /// An amount is zero or below, or a fee or an overdraft below zero.
    AmountNotPositive,
    /// An amount is above 10^24 minor units.
    AmountTooLarge,
    /// The effective date lies outside the range that is open.
    EffectiveDateOutOfRange {
        /// The earliest date there is.
        earliest: CivilDate,
        /// The latest.
        latest: CivilDate,
    },
    /// The code is reserved, too long, has other characters than letters, digits and `:._-`, or does not go with the id.
    AccountCodeInvalid,
    /// An account with this id exists.
    AccountExists {
        /// The id.
        account: AccountId,
    },
    /// Sender and receiver are the same account.
    SameAccount {
        /// The account.
        account: AccountId,
    },
    /// There is no such account.
    AccountNotFound {
        /// The id.
        account: AccountId,
    },
    /// The account is closed.
    AccountClosed {
        /// The account.
        account: AccountId,
    },
    /// The account is frozen.
    AccountFrozen {
        /// The account.
        account: AccountId,
    },
    /// The account is not frozen, so it can't be unfrozen.
    AccountNotFrozen {
        /// The account.
        account: AccountId,
    },
    /// The amount is in another currency than the account.
    CurrencyMismatch {
        /// The account.
        account: AccountId,
        /// The account's currency.
        account_currency: Currency,
    },
    /// Debits and credits of a currency differ.
    EntryUnbalanced {
        /// The currency.
        currency: Currency,
        /// The sum of its debits, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        debits_minor: i128,
        /// The sum of its credits.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        credits_minor: i128,
    },
    /// The balance of an account to be closed is not zero.
    AccountNotEmpty {
        /// The account.
        account: AccountId,
        /// Its balance, on its normal side, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        balance_minor: i128,
    },
    /// The account has less than is asked for.
    InsufficientFunds {
        /// The account.
        account: AccountId,
        /// What may be taken from it at most, overdraft included, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        available_minor: i128,
        /// What was asked for.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        required_minor: i128,
    },
    /// A total of the account would pass 10^36 minor units.
    BalanceOverflow {
        /// The account.
        account: AccountId,
    },
}

impl Rejection {
    /// The stable number, which stands in the canonical form.
    pub const fn number(&self) -> u16 {
        match self {
            Self::PostingsOutOfBounds { .. } => 100,
            Self::AmountNotPositive => 110,
            Self::AmountTooLarge => 120,
            Self::EffectiveDateOutOfRange { .. } => 130,
            Self::AccountCodeInvalid => 140,
            Self::AccountExists { .. } => 150,
            Self::SameAccount { .. } => 160,
            Self::AccountNotFound { .. } => 170,
            Self::AccountClosed { .. } => 180,
            Self::AccountFrozen { .. } => 190,
            Self::AccountNotFrozen { .. } => 200,
            Self::CurrencyMismatch { .. } => 210,
            Self::EntryUnbalanced { .. } => 220,
            Self::AccountNotEmpty { .. } => 230,
            Self::InsufficientFunds { .. } => 240,
            Self::BalanceOverflow { .. } => 250,
        }
    }

    /// The stable code, as it stands in problem documents and in JSON.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PostingsOutOfBounds { .. } => "postings_out_of_bounds",
            Self::AmountNotPositive => "amount_not_positive",
            Self::AmountTooLarge => "amount_too_large",
            Self::EffectiveDateOutOfRange { .. } => "effective_date_out_of_range",
            Self::AccountCodeInvalid => "account_code_invalid",
            Self::AccountExists { .. } => "account_exists",
            Self::SameAccount { .. } => "same_account",
            Self::AccountNotFound { .. } => "account_not_found",
            Self::AccountClosed { .. } => "account_closed",
            Self::AccountFrozen { .. } => "account_frozen",
            Self::AccountNotFrozen { .. } => "account_not_frozen",
            Self::CurrencyMismatch { .. } => "currency_mismatch",
            Self::EntryUnbalanced { .. } => "entry_unbalanced",
            Self::AccountNotEmpty { .. } => "account_not_empty",
            Self::InsufficientFunds { .. } => "insufficient_funds",
            Self::BalanceOverflow { .. } => "balance_overflow",
        }
    }

    /// Appends the canonical form: the number and what was observed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::from(self.number()));
        match self {
            Self::PostingsOutOfBounds { count } => put_varint(out, u128::from(*count)),
            Self::AmountNotPositive | Self::AmountTooLarge | Self::AccountCodeInvalid => {}
            Self::EffectiveDateOutOfRange { earliest, latest } => {
                put_date(out, *earliest);
                put_date(out, *latest);
            }
            Self::AccountExists { account }
            | Self::SameAccount { account }
            | Self::AccountNotFound { account }
            | Self::AccountClosed { account }
            | Self::AccountFrozen { account }
            | Self::AccountNotFrozen { account }
            | Self::BalanceOverflow { account } => put_id(out, account.0),
            Self::CurrencyMismatch { account, account_currency } => {
                put_id(out, account.0);
                put_currency(out, *account_currency);
            }
            Self::EntryUnbalanced { currency, debits_minor, credits_minor } => {
                put_currency(out, *currency);
                put_signed(out, *debits_minor);
                put_signed(out, *credits_minor);
            }
            Self::AccountNotEmpty { account, balance_minor } => {
                put_id(out, account.0);
                put_signed(out, *balance_minor);
            }
            Self::InsufficientFunds { account, available_minor, required_minor } => {
                put_id(out, account.0);
                put_signed(out, *available_minor);
                put_signed(out, *required_minor);
            }
        }
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let number: u16 = reader.number("rejection")?;
        let account = |reader: &mut Reader<'_>| reader.id("account").map(AccountId);
        Ok(match number {
            100 => Self::PostingsOutOfBounds { count: reader.number("count")? },
            110 => Self::AmountNotPositive,
            120 => Self::AmountTooLarge,
            130 => Self::EffectiveDateOutOfRange { earliest: reader.date()?, latest: reader.date()? },
            140 => Self::AccountCodeInvalid,
            150 => Self::AccountExists { account: account(reader)? },
            160 => Self::SameAccount { account: account(reader)? },
            170 => Self::AccountNotFound { account: account(reader)? },
            180 => Self::AccountClosed { account: account(reader)? },
            190 => Self::AccountFrozen { account: account(reader)? },
            200 => Self::AccountNotFrozen { account: account(reader)? },
            210 => Self::CurrencyMismatch { account: account(reader)?, account_currency: reader.currency()? },
            220 => Self::EntryUnbalanced {
                currency: reader.currency()?,
                debits_minor: reader.signed("debits")?,
                credits_minor: reader.signed("credits")?,
            },
            230 => Self::AccountNotEmpty { account: account(reader)?, balance_minor: reader.signed("balance")? },
            240 => Self::InsufficientFunds {
                account: account(reader)?,
                available_minor: reader.signed("available")?,
                required_minor: reader.signed("required")?,
            },
            250 => Self::BalanceOverflow { account: account(reader)? },
            other => return Err(CodecError::UnknownTag { what: "rejection", tag: other.into() }),
        })
    }
}
