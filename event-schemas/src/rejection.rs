//! Rejections: every way in which the book says no. One closed enum, in the order of precedence: where several hold, the
//! first is the answer. Codes are stable; a new rejection takes a free number between its neighbours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Reader, put_currency, put_date, put_id, put_option, put_signed, put_time, put_varint};
use crate::command::minor_text;
use crate::currency::Currency;
use crate::date::{CivilDate, Timestamp};
use crate::ids::{AccountId, CommandId};
use crate::limits::LimitWindow;
use crate::rates::SheetPart;

/// A standing condition for which a command was refused, with what was observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "code", deny_unknown_fields)]
pub enum Rejection {
    /// Another command of the same linked batch was refused, so none of them took place.
    LinkedItemRefused {
        /// The place of that command in the batch, from 0.
        item: u32,
        /// That command; its verdict says why.
        command: CommandId,
    },
    /// An entry has fewer or more postings than it may.
    PostingsOutOfBounds {
        /// How many it had.
        count: u32,
    },
    /// An amount is zero or below, or a fee or an overdraft below zero.
    AmountNotPositive,
    /// An amount is above 10^24 minor units.
    AmountTooLarge,
    /// A limit is zero or below.
    LimitNotPositive,
    /// A fee rule has a negative part, a rate above the whole amount, or a minimum above its maximum.
    FeeRuleInvalid,
    /// The effective date lies outside the range that is open.
    EffectiveDateOutOfRange {
        /// The earliest date there is.
        earliest: CivilDate,
        /// The latest.
        latest: CivilDate,
    },
    /// The effective date lies in a closed period; or the period is closed already.
    PeriodClosed {
        /// The last day that is closed.
        through: CivilDate,
    },
    /// The period to be closed is not over: its last day must lie before today.
    PeriodNotOver {
        /// Today.
        today: CivilDate,
    },
    /// The deadline of a hold is not after the time of recording, or too far ahead.
    ExpiryOutOfRange {
        /// The time of recording, which it must lie after.
        after: Timestamp,
        /// The latest it may be.
        latest: Timestamp,
    },
    /// The code is reserved, too long, has other characters than letters, digits and `:._-`, or does not go with the id.
    AccountCodeInvalid,
    /// The version is not above the one that was applied last.
    VersionNotNewer {
        /// The version that was applied last.
        applied: u64,
    },
    /// The calendar has no day, days that do not follow each other or do not last 20 to 28 hours, or a first day that does not
    /// begin within 18 hours of midnight UTC.
    CalendarInvalid {
        /// The place of the first start that is wrong, from 0.
        place: u32,
    },
    /// A part of the rate sheet can't be.
    RateSheetInvalid {
        /// Which part.
        part: SheetPart,
    },
    /// Both amounts of a conversion are of one currency.
    SameCurrency {
        /// The currency.
        currency: Currency,
    },
    /// The rate sheet of this version is not at hand: it never was, or newer ones have taken its place.
    RateSheetNotFound {
        /// The version of the newest sheet; zero if there is none.
        newest: u64,
    },
    /// The rate sheet is no longer valid.
    RateSheetStale {
        /// Until when it was.
        valid_until: Timestamp,
    },
    /// The rate sheet has no rate of a currency.
    RateNotFound {
        /// The currency.
        currency: Currency,
    },
    /// The quote has expired.
    QuoteExpired {
        /// Until when it could be used.
        expires_at: Timestamp,
    },
    /// The other amount rounds to zero.
    ConvertedAmountZero,
    /// By the sheet, other amounts come out than the quote promised.
    QuoteMismatch {
        /// What is sold by the sheet, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        sold_minor: i128,
        /// What is bought.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        bought_minor: i128,
    },
    /// An account of a conversion is not of the owner that the quote was made for.
    QuoteOfAnother {
        /// The account.
        account: AccountId,
    },
    /// An account with this id exists.
    AccountExists {
        /// The id.
        account: AccountId,
    },
    /// No hold was placed under this id.
    HoldNotFound {
        /// The hold.
        hold: CommandId,
    },
    /// The hold has ended: it was captured in full, captured for the last time, or voided.
    HoldNotOpen {
        /// The hold.
        hold: CommandId,
    },
    /// The deadline of the hold has passed: nothing is held under it any more.
    HoldExpired {
        /// The hold.
        hold: CommandId,
        /// Its deadline.
        expires_at: Timestamp,
    },
    /// There is no command of this id.
    OriginalNotFound {
        /// The id that was named.
        entry: CommandId,
    },
    /// The command of this id posted no entry: it was refused, or is of another type.
    OriginalNotAnEntry {
        /// The id that was named.
        entry: CommandId,
    },
    /// The entry is a reversal itself.
    OriginalIsReversal {
        /// The id that was named.
        entry: CommandId,
    },
    /// Sender and receiver are the same account.
    SameAccount {
        /// The account.
        account: AccountId,
    },
    /// Nothing is left of the entry: it was reversed before.
    OriginalReversed {
        /// The entry.
        entry: CommandId,
    },
    /// More of a posting is to be reversed than is left of it. Of a posting that the entry does not have, nothing is left.
    ReversalAboveOriginal {
        /// The entry.
        entry: CommandId,
        /// The place of the posting in it, from 0.
        posting: u32,
        /// What is left of the posting, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        left_minor: i128,
        /// What was asked for.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        required_minor: i128,
    },
    /// More is to be captured than is left of the hold.
    CaptureAboveHold {
        /// The hold.
        hold: CommandId,
        /// What is left of it, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        left_minor: i128,
        /// What was asked for, fee included.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        required_minor: i128,
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
    /// Debits raise this account (asset or expense), so nothing can be held on it.
    HoldNotPossible {
        /// The account.
        account: AccountId,
    },
    /// The book has as many open holds as it may.
    TooManyHolds {
        /// How many that is.
        limit: u64,
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
    /// Money is held on an account to be closed.
    AccountHasHolds {
        /// The account.
        account: AccountId,
        /// How much is held, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        held_minor: i128,
    },
    /// A limit of the customer applies, but no calendar says which day it is.
    CalendarMissing,
    /// A limit of the account's customer would be exceeded.
    LimitExceeded {
        /// The account that the money would leave.
        account: AccountId,
        /// Which limit.
        window: LimitWindow,
        /// The limit, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        cap_minor: i128,
        /// What is used of it.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        used_minor: i128,
        /// What was asked for, fees included.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        required_minor: i128,
        /// When the window ends and the next one begins; absent per transfer, or if the calendar does not reach as far.
        resets_at: Option<Timestamp>,
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
            Self::LinkedItemRefused { .. } => 10,
            Self::PostingsOutOfBounds { .. } => 100,
            Self::AmountNotPositive => 110,
            Self::LimitNotPositive => 112,
            Self::FeeRuleInvalid => 113,
            Self::AmountTooLarge => 120,
            Self::EffectiveDateOutOfRange { .. } => 130,
            Self::PeriodClosed { .. } => 131,
            Self::ExpiryOutOfRange { .. } => 132,
            Self::PeriodNotOver { .. } => 134,
            Self::AccountCodeInvalid => 140,
            Self::VersionNotNewer { .. } => 141,
            Self::CalendarInvalid { .. } => 142,
            Self::RateSheetInvalid { .. } => 143,
            Self::SameCurrency { .. } => 144,
            Self::RateSheetNotFound { .. } => 145,
            Self::RateSheetStale { .. } => 146,
            Self::RateNotFound { .. } => 147,
            Self::QuoteExpired { .. } => 148,
            Self::ConvertedAmountZero => 149,
            Self::AccountExists { .. } => 150,
            Self::QuoteMismatch { .. } => 151,
            Self::HoldNotFound { .. } => 152,
            Self::HoldNotOpen { .. } => 154,
            Self::HoldExpired { .. } => 155,
            Self::OriginalNotFound { .. } => 156,
            Self::OriginalNotAnEntry { .. } => 157,
            Self::OriginalIsReversal { .. } => 158,
            Self::SameAccount { .. } => 160,
            Self::OriginalReversed { .. } => 162,
            Self::ReversalAboveOriginal { .. } => 164,
            Self::CaptureAboveHold { .. } => 166,
            Self::AccountNotFound { .. } => 170,
            Self::AccountClosed { .. } => 180,
            Self::AccountFrozen { .. } => 190,
            Self::AccountNotFrozen { .. } => 200,
            Self::CurrencyMismatch { .. } => 210,
            Self::QuoteOfAnother { .. } => 211,
            Self::HoldNotPossible { .. } => 212,
            Self::TooManyHolds { .. } => 214,
            Self::EntryUnbalanced { .. } => 220,
            Self::AccountNotEmpty { .. } => 230,
            Self::AccountHasHolds { .. } => 235,
            Self::CalendarMissing => 236,
            Self::LimitExceeded { .. } => 237,
            Self::InsufficientFunds { .. } => 240,
            Self::BalanceOverflow { .. } => 250,
        }
    }

    /// The stable code, as it stands in problem documents and in JSON.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LinkedItemRefused { .. } => "linked_item_refused",
            Self::PostingsOutOfBounds { .. } => "postings_out_of_bounds",
            Self::AmountNotPositive => "amount_not_positive",
            Self::LimitNotPositive => "limit_not_positive",
            Self::FeeRuleInvalid => "fee_rule_invalid",
            Self::AmountTooLarge => "amount_too_large",
            Self::EffectiveDateOutOfRange { .. } => "effective_date_out_of_range",
            Self::PeriodClosed { .. } => "period_closed",
            Self::ExpiryOutOfRange { .. } => "expiry_out_of_range",
            Self::PeriodNotOver { .. } => "period_not_over",
            Self::AccountCodeInvalid => "account_code_invalid",
            Self::VersionNotNewer { .. } => "version_not_newer",
            Self::CalendarInvalid { .. } => "calendar_invalid",
            Self::RateSheetInvalid { .. } => "rate_sheet_invalid",
            Self::SameCurrency { .. } => "same_currency",
            Self::RateSheetNotFound { .. } => "rate_sheet_not_found",
            Self::RateSheetStale { .. } => "rate_sheet_stale",
            Self::RateNotFound { .. } => "rate_not_found",
            Self::QuoteExpired { .. } => "quote_expired",
            Self::ConvertedAmountZero => "converted_amount_zero",
            Self::QuoteMismatch { .. } => "quote_mismatch",
            Self::QuoteOfAnother { .. } => "quote_of_another",
            Self::AccountExists { .. } => "account_exists",
            Self::HoldNotFound { .. } => "hold_not_found",
            Self::HoldNotOpen { .. } => "hold_not_open",
            Self::HoldExpired { .. } => "hold_expired",
            Self::OriginalNotFound { .. } => "original_not_found",
            Self::OriginalNotAnEntry { .. } => "original_not_an_entry",
            Self::OriginalIsReversal { .. } => "original_is_reversal",
            Self::SameAccount { .. } => "same_account",
            Self::OriginalReversed { .. } => "original_reversed",
            Self::ReversalAboveOriginal { .. } => "reversal_above_original",
            Self::CaptureAboveHold { .. } => "capture_above_hold",
            Self::AccountNotFound { .. } => "account_not_found",
            Self::AccountClosed { .. } => "account_closed",
            Self::AccountFrozen { .. } => "account_frozen",
            Self::AccountNotFrozen { .. } => "account_not_frozen",
            Self::CurrencyMismatch { .. } => "currency_mismatch",
            Self::HoldNotPossible { .. } => "hold_not_possible",
            Self::TooManyHolds { .. } => "too_many_holds",
            Self::EntryUnbalanced { .. } => "entry_unbalanced",
            Self::AccountNotEmpty { .. } => "account_not_empty",
            Self::AccountHasHolds { .. } => "account_has_holds",
            Self::CalendarMissing => "calendar_missing",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::InsufficientFunds { .. } => "insufficient_funds",
            Self::BalanceOverflow { .. } => "balance_overflow",
        }
    }

    /// Appends the canonical form: the number and what was observed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::from(self.number()));
        match self {
            Self::PostingsOutOfBounds { count } => put_varint(out, u128::from(*count)),
            Self::AmountNotPositive
            | Self::LimitNotPositive
            | Self::FeeRuleInvalid
            | Self::AmountTooLarge
            | Self::AccountCodeInvalid
            | Self::ConvertedAmountZero
            | Self::CalendarMissing => {}
            Self::RateSheetInvalid { part } => out.push(part.number()),
            Self::SameCurrency { currency } | Self::RateNotFound { currency } => put_currency(out, *currency),
            Self::RateSheetNotFound { newest } => put_varint(out, u128::from(*newest)),
            Self::RateSheetStale { valid_until: time } | Self::QuoteExpired { expires_at: time } => {
                put_time(out, *time);
            }
            Self::QuoteMismatch { sold_minor, bought_minor } => {
                put_signed(out, *sold_minor);
                put_signed(out, *bought_minor);
            }
            Self::LinkedItemRefused { item, command } => {
                put_varint(out, u128::from(*item));
                put_id(out, command.0);
            }
            Self::PeriodClosed { through: date } | Self::PeriodNotOver { today: date } => put_date(out, *date),
            Self::VersionNotNewer { applied } => put_varint(out, u128::from(*applied)),
            Self::CalendarInvalid { place } => put_varint(out, u128::from(*place)),
            Self::LimitExceeded { account, window, cap_minor, used_minor, required_minor, resets_at } => {
                put_id(out, account.0);
                out.push(window.number());
                put_signed(out, *cap_minor);
                put_signed(out, *used_minor);
                put_signed(out, *required_minor);
                put_option(out, *resets_at, put_time);
            }
            Self::EffectiveDateOutOfRange { earliest, latest } => {
                put_date(out, *earliest);
                put_date(out, *latest);
            }
            Self::ExpiryOutOfRange { after, latest } => {
                put_time(out, *after);
                put_time(out, *latest);
            }
            Self::HoldNotFound { hold: id }
            | Self::HoldNotOpen { hold: id }
            | Self::OriginalNotFound { entry: id }
            | Self::OriginalNotAnEntry { entry: id }
            | Self::OriginalIsReversal { entry: id }
            | Self::OriginalReversed { entry: id } => put_id(out, id.0),
            Self::HoldExpired { hold, expires_at } => {
                put_id(out, hold.0);
                put_time(out, *expires_at);
            }
            Self::ReversalAboveOriginal { entry, posting, left_minor, required_minor } => {
                put_id(out, entry.0);
                put_varint(out, u128::from(*posting));
                put_signed(out, *left_minor);
                put_signed(out, *required_minor);
            }
            Self::CaptureAboveHold { hold, left_minor, required_minor } => {
                put_id(out, hold.0);
                put_signed(out, *left_minor);
                put_signed(out, *required_minor);
            }
            Self::TooManyHolds { limit } => put_varint(out, u128::from(*limit)),
            Self::AccountExists { account }
            | Self::QuoteOfAnother { account }
            | Self::HoldNotPossible { account }
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
            Self::AccountNotEmpty { account, balance_minor: minor }
            | Self::AccountHasHolds { account, held_minor: minor } => {
                put_id(out, account.0);
                put_signed(out, *minor);
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
        let hold = |reader: &mut Reader<'_>| reader.id("hold").map(CommandId);
        let entry = |reader: &mut Reader<'_>| reader.id("entry").map(CommandId);
        Ok(match number {
            10 => Self::LinkedItemRefused {
                item: reader.number("place in the batch")?,
                command: CommandId(reader.id("command")?),
            },
            100 => Self::PostingsOutOfBounds { count: reader.number("count")? },
            110 => Self::AmountNotPositive,
            112 => Self::LimitNotPositive,
            113 => Self::FeeRuleInvalid,
            120 => Self::AmountTooLarge,
            130 => Self::EffectiveDateOutOfRange { earliest: reader.date()?, latest: reader.date()? },
            131 => Self::PeriodClosed { through: reader.date()? },
            134 => Self::PeriodNotOver { today: reader.date()? },
            132 => Self::ExpiryOutOfRange { after: reader.time()?, latest: reader.time()? },
            140 => Self::AccountCodeInvalid,
            141 => Self::VersionNotNewer { applied: reader.number("version")? },
            142 => Self::CalendarInvalid { place: reader.number("place of a start")? },
            143 => Self::RateSheetInvalid {
                part: SheetPart::from_number(reader.byte("part of a rate sheet")?)
                    .ok_or(CodecError::NotCanonical("part of a rate sheet"))?,
            },
            144 => Self::SameCurrency { currency: reader.currency()? },
            145 => Self::RateSheetNotFound { newest: reader.number("version")? },
            146 => Self::RateSheetStale { valid_until: reader.time()? },
            147 => Self::RateNotFound { currency: reader.currency()? },
            148 => Self::QuoteExpired { expires_at: reader.time()? },
            149 => Self::ConvertedAmountZero,
            151 => Self::QuoteMismatch { sold_minor: reader.signed("sold")?, bought_minor: reader.signed("bought")? },
            211 => Self::QuoteOfAnother { account: account(reader)? },
            150 => Self::AccountExists { account: account(reader)? },
            152 => Self::HoldNotFound { hold: hold(reader)? },
            154 => Self::HoldNotOpen { hold: hold(reader)? },
            155 => Self::HoldExpired { hold: hold(reader)?, expires_at: reader.time()? },
            156 => Self::OriginalNotFound { entry: entry(reader)? },
            157 => Self::OriginalNotAnEntry { entry: entry(reader)? },
            158 => Self::OriginalIsReversal { entry: entry(reader)? },
            160 => Self::SameAccount { account: account(reader)? },
            162 => Self::OriginalReversed { entry: entry(reader)? },
            164 => Self::ReversalAboveOriginal {
                entry: entry(reader)?,
                posting: reader.number("place of a posting")?,
                left_minor: reader.signed("left")?,
                required_minor: reader.signed("required")?,
            },
            166 => Self::CaptureAboveHold {
                hold: hold(reader)?,
                left_minor: reader.signed("left")?,
                required_minor: reader.signed("required")?,
            },
            170 => Self::AccountNotFound { account: account(reader)? },
            180 => Self::AccountClosed { account: account(reader)? },
            190 => Self::AccountFrozen { account: account(reader)? },
            200 => Self::AccountNotFrozen { account: account(reader)? },
            210 => Self::CurrencyMismatch { account: account(reader)?, account_currency: reader.currency()? },
            212 => Self::HoldNotPossible { account: account(reader)? },
            214 => Self::TooManyHolds { limit: reader.number("limit")? },
            220 => Self::EntryUnbalanced {
                currency: reader.currency()?,
                debits_minor: reader.signed("debits")?,
                credits_minor: reader.signed("credits")?,
            },
            230 => Self::AccountNotEmpty { account: account(reader)?, balance_minor: reader.signed("balance")? },
            235 => Self::AccountHasHolds { account: account(reader)?, held_minor: reader.signed("held")? },
            236 => Self::CalendarMissing,
            237 => Self::LimitExceeded {
                account: account(reader)?,
                window: LimitWindow::from_number(reader.byte("window of a limit")?)
                    .ok_or(CodecError::NotCanonical("window of a limit"))?,
                cap_minor: reader.signed("limit")?,
                used_minor: reader.signed("used")?,
                required_minor: reader.signed("required")?,
                resets_at: reader.option("end of the window", Reader::time)?,
            },
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
