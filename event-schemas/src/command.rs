//! Commands: what somebody asks of the book. They stand with the facts, because a refusal quotes the command it refuses and
//! because a retry is compared with what was recorded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::{
    CodecError, Reader, put_currency, put_date, put_id, put_money, put_option, put_postings, put_signed, put_text,
};
use crate::currency::Currency;
use crate::date::CivilDate;
pub use crate::fees::{FeeKind, SetFeeRule};
pub use crate::holds::{CaptureHold, PlaceHold, VoidHold};
use crate::ids::{AccountId, CommandId, PrincipalId};
pub use crate::limits::{Caps, PublishCalendar, SetLimits};
use crate::money::{Money, Postings, Side};
pub use crate::notices::{NoticeChannel, NoticeTopic, SetNotificationPreferences};
pub use crate::rates::{ConvertFunds, FixedSide, MarginRule, PublishRateSheet, QuotedRate};
pub use crate::records::ClosePeriod;
pub use crate::reversal::{ReverseEntry, ReversedPart};

/// A command as it is admitted to the engine: complete, bounded, with a known author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The client's UUID, or the hash of its `Idempotency-Key`.
    pub id: CommandId,
    /// Who asks.
    pub actor: PrincipalId,
    /// What is asked.
    pub body: CommandBody,
}

/// The kind of an account; it tells which side raises the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// What the book owns; debits raise it.
    Asset,
    /// What the book owes, customers' money above all; credits raise it.
    Liability,
    /// What belongs to the owners; credits raise it.
    Equity,
    /// What was earned; credits raise it.
    Income,
    /// What was spent; debits raise it.
    Expense,
}

impl AccountKind {
    /// The side that raises the balance of such an account.
    pub const fn normal_side(self) -> Side {
        match self {
            Self::Asset | Self::Expense => Side::Debit,
            Self::Liability | Self::Equity | Self::Income => Side::Credit,
        }
    }

    /// The number in the canonical form.
    pub const fn number(self) -> u8 {
        match self {
            Self::Asset => 1,
            Self::Liability => 2,
            Self::Equity => 3,
            Self::Income => 4,
            Self::Expense => 5,
        }
    }

    /// The kind of this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Asset,
            2 => Self::Liability,
            3 => Self::Equity,
            4 => Self::Income,
            5 => Self::Expense,
            _ => return None,
        })
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asset => "asset",
            Self::Liability => "liability",
            Self::Equity => "equity",
            Self::Income => "income",
            Self::Expense => "expense",
        }
    }
}

/// How far an account's balance may fall, on its normal side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum BalancePolicy {
    /// The balance may fall to minus the overdraft and no further; an overdraft of zero forbids going below zero.
    Limited {
        /// How far below zero the balance may fall, in minor units, zero or above.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        overdraft_minor: i128,
    },
    /// The balance may fall without bound: clearing, income and other accounts of the house.
    Unlimited,
}

impl BalancePolicy {
    /// May not go below zero.
    pub const NO_OVERDRAFT: Self = Self::Limited { overdraft_minor: 0 };

    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Limited { overdraft_minor } => {
                out.push(1);
                put_signed(out, overdraft_minor);
            }
            Self::Unlimited => out.push(2),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        match reader.byte("balance policy")? {
            1 => Ok(Self::Limited { overdraft_minor: reader.signed("overdraft")? }),
            2 => Ok(Self::Unlimited),
            tag => Err(CodecError::UnknownTag { what: "balance policy", tag: tag.into() }),
        }
    }
}

/// An `i128` of minor units as a JSON string of digits: JSON numbers lose precision in most readers.
pub(crate) mod minor_text {
    use std::borrow::Cow;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let value: i128 = text.parse().map_err(D::Error::custom)?;
        // One number, one text: no plus, no leading zeros, no minus zero.
        if value.to_string() == *text { Ok(value) } else { Err(D::Error::custom("not a plain whole number")) }
    }

    /// The same where there may be none.
    pub(crate) mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Minor(#[serde(with = "super")] i128);

        #[expect(clippy::ref_option, reason = "serde asks for it")]
        pub(crate) fn serialize<S: Serializer>(value: &Option<i128>, serializer: S) -> Result<S::Ok, S::Error> {
            value.map(Minor).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i128>, D::Error> {
            Ok(<Option<Minor>>::deserialize(deserializer)?.map(|Minor(value)| value))
        }
    }
}

/// Texts and postings in JSON, held to the bounds of the canonical form.
pub(crate) mod bounded {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    use crate::bounds::{POSTINGS_MAX, TEXT_MAX_BYTES};
    use crate::money::Postings;

    pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
        let text = <Box<str>>::deserialize(deserializer)?;
        if text.len() <= TEXT_MAX_BYTES { Ok(text) } else { Err(D::Error::custom("a text of more than 256 bytes")) }
    }

    pub(crate) fn text_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
        let text = <Option<Box<str>>>::deserialize(deserializer)?;
        match text {
            Some(text) if text.len() > TEXT_MAX_BYTES => Err(D::Error::custom("a text of more than 256 bytes")),
            text => Ok(text),
        }
    }

    pub(crate) fn postings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Postings, D::Error> {
        let postings = Postings::deserialize(deserializer)?;
        if postings.len() <= POSTINGS_MAX { Ok(postings) } else { Err(D::Error::custom("more than 1,000 postings")) }
    }
}

/// Opens an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    /// Its id. With a code, the id that follows from the code.
    pub account: AccountId,
    /// A name that people read, such as `berka:2378`; empty for none. `sys:` is reserved.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub code: Box<str>,
    /// Asset, liability, equity, income or expense.
    pub kind: AccountKind,
    /// Its one currency, with the exponent that it keeps for good.
    pub currency: Currency,
    /// An opaque reference to the customer it belongs to; empty for an account of the house. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub owner: Box<str>,
    /// How far its balance may fall.
    pub policy: BalancePolicy,
}

/// Freezes, unfreezes or closes an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountAct {
    /// Which account.
    pub account: AccountId,
    /// Why; may be empty. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reason: Box<str>,
}

/// Money that enters or leaves the book through the payment provider's clearing account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CashMove {
    /// The customer's account.
    pub account: AccountId,
    /// How much enters or leaves.
    pub amount: Money,
    /// A fee that the customer pays on top, in minor units of the same currency; zero for none. If absent, the fee rule says.
    #[serde(with = "minor_text::option")]
    #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub fee_minor: Option<i128>,
    /// The date it counts for; the date of recording if absent.
    pub effective_on: Option<CivilDate>,
    /// A free text, such as an invoice number. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// Moves money from one account to another of the same currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostTransfer {
    /// The account debited.
    pub from: AccountId,
    /// The account credited.
    pub to: AccountId,
    /// What the receiver gets.
    pub amount: Money,
    /// A fee that the sender pays on top, in minor units of the same currency; zero for none. If absent, the fee rule says.
    #[serde(with = "minor_text::option")]
    #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub fee_minor: Option<i128>,
    /// The date it counts for; the date of recording if absent.
    pub effective_on: Option<CivilDate>,
    /// A free text. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// Moves what is available, up to an amount, from one account to another of the same currency. Without a fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferUpTo {
    /// The account debited.
    pub from: AccountId,
    /// The account credited.
    pub to: AccountId,
    /// The most that moves. If nothing at all is available, the command is refused.
    pub at_most: Money,
    /// The date it counts for; the date of recording if absent.
    pub effective_on: Option<CivilDate>,
    /// A free text. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// Posts an entry of any number of postings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostEntry {
    /// Its postings, zero in sum per currency.
    #[serde(deserialize_with = "bounded::postings")]
    #[schemars(with = "Vec<crate::money::Posting>", length(max = 1000))]
    pub postings: Postings,
    /// The date it counts for; the date of recording if absent.
    pub effective_on: Option<CivilDate>,
    /// A free text. No personal data.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub reference: Box<str>,
}

/// What a command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type", content = "data", deny_unknown_fields)]
pub enum CommandBody {
    /// Open an account.
    OpenAccount(OpenAccount),
    /// Freeze an account: nothing is posted to it until it is unfrozen.
    FreezeAccount(AccountAct),
    /// Unfreeze it.
    UnfreezeAccount(AccountAct),
    /// Close it for good; its balance must be zero.
    CloseAccount(AccountAct),
    /// Money enters: debit clearing, credit the customer.
    TopUp(CashMove),
    /// Money leaves: debit the customer, credit clearing.
    Withdraw(CashMove),
    /// Money moves between two accounts.
    PostTransfer(PostTransfer),
    /// An entry of the caller's own making.
    PostEntry(PostEntry),
    /// Money of an account is set aside.
    PlaceHold(PlaceHold),
    /// Held money moves to another account.
    CaptureHold(CaptureHold),
    /// A hold ends.
    VoidHold(VoidHold),
    /// An entry is taken back.
    ReverseEntry(ReverseEntry),
    /// What is available moves between two accounts, up to an amount.
    TransferUpTo(TransferUpTo),
    /// A customer's limits are set.
    SetLimits(SetLimits),
    /// The days of the book are given their beginnings.
    PublishCalendar(PublishCalendar),
    /// A fee rule is set.
    SetFeeRule(SetFeeRule),
    /// A period is closed.
    ClosePeriod(ClosePeriod),
    /// A customer says what to be told.
    SetNotificationPreferences(SetNotificationPreferences),
    /// A rate sheet is published.
    PublishRateSheet(PublishRateSheet),
    /// Money of a customer is converted by a quote.
    ConvertFunds(ConvertFunds),
}

/// The bit of a command type's number that stands for a fee by the rule.
const FEE_BY_RULE: u8 = 0x80;

impl CommandBody {
    /// The type's name, as in JSON and in the derivation of command ids.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::OpenAccount(_) => "open_account",
            Self::FreezeAccount(_) => "freeze_account",
            Self::UnfreezeAccount(_) => "unfreeze_account",
            Self::CloseAccount(_) => "close_account",
            Self::TopUp(_) => "top_up",
            Self::Withdraw(_) => "withdraw",
            Self::PostTransfer(_) => "post_transfer",
            Self::PostEntry(_) => "post_entry",
            Self::PlaceHold(_) => "place_hold",
            Self::CaptureHold(_) => "capture_hold",
            Self::VoidHold(_) => "void_hold",
            Self::ReverseEntry(_) => "reverse_entry",
            Self::TransferUpTo(_) => "transfer_up_to",
            Self::SetLimits(_) => "set_limits",
            Self::PublishCalendar(_) => "publish_calendar",
            Self::SetFeeRule(_) => "set_fee_rule",
            Self::ClosePeriod(_) => "close_period",
            Self::SetNotificationPreferences(_) => "set_notification_preferences",
            Self::PublishRateSheet(_) => "publish_rate_sheet",
            Self::ConvertFunds(_) => "convert_funds",
        }
    }

    /// Appends the canonical form: the type's number and its fields. The number's highest bit tells that the fee is left to the
    /// rule; the fee is then written as zero.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::OpenAccount(open) => {
                out.push(1);
                open.encode(out);
            }
            Self::FreezeAccount(act) => {
                out.push(2);
                act.encode(out);
            }
            Self::UnfreezeAccount(act) => {
                out.push(3);
                act.encode(out);
            }
            Self::CloseAccount(act) => {
                out.push(4);
                act.encode(out);
            }
            Self::TopUp(cash) => {
                out.push(with_fee(5, cash.fee_minor));
                cash.encode(out);
            }
            Self::Withdraw(cash) => {
                out.push(with_fee(6, cash.fee_minor));
                cash.encode(out);
            }
            Self::PostTransfer(transfer) => {
                out.push(with_fee(7, transfer.fee_minor));
                put_id(out, transfer.from.0);
                put_id(out, transfer.to.0);
                put_money(out, transfer.amount);
                put_signed(out, transfer.fee_minor.unwrap_or(0));
                put_option(out, transfer.effective_on, put_date);
                put_text(out, &transfer.reference);
            }
            Self::PostEntry(entry) => {
                out.push(8);
                put_postings(out, &entry.postings);
                put_option(out, entry.effective_on, put_date);
                put_text(out, &entry.reference);
            }
            Self::PlaceHold(hold) => {
                out.push(9);
                hold.encode(out);
            }
            Self::CaptureHold(capture) => {
                out.push(with_fee(10, capture.fee_minor));
                capture.encode(out);
            }
            Self::VoidHold(void) => {
                out.push(11);
                void.encode(out);
            }
            Self::ReverseEntry(reverse) => {
                out.push(12);
                reverse.encode(out);
            }
            Self::TransferUpTo(transfer) => {
                out.push(13);
                put_id(out, transfer.from.0);
                put_id(out, transfer.to.0);
                put_money(out, transfer.at_most);
                put_option(out, transfer.effective_on, put_date);
                put_text(out, &transfer.reference);
            }
            Self::SetLimits(limits) => {
                out.push(14);
                limits.encode(out);
            }
            Self::PublishCalendar(calendar) => {
                out.push(15);
                calendar.encode(out);
            }
            Self::SetFeeRule(rule) => {
                out.push(16);
                rule.encode(out);
            }
            Self::ClosePeriod(close) => {
                out.push(17);
                close.encode(out);
            }
            Self::SetNotificationPreferences(preferences) => {
                out.push(18);
                preferences.encode(out);
            }
            Self::PublishRateSheet(sheet) => {
                out.push(19);
                sheet.encode(out);
            }
            Self::ConvertFunds(convert) => {
                out.push(20);
                convert.encode(out);
            }
        }
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let byte = reader.byte("command type")?;
        let number = byte & !FEE_BY_RULE;
        let by_rule = byte != number;
        if by_rule && !matches!(number, 5..=7 | 10) {
            return Err(CodecError::UnknownTag { what: "command type", tag: byte.into() });
        }
        Ok(match number {
            1 => Self::OpenAccount(OpenAccount::decode(reader)?),
            2 => Self::FreezeAccount(AccountAct::decode(reader)?),
            3 => Self::UnfreezeAccount(AccountAct::decode(reader)?),
            4 => Self::CloseAccount(AccountAct::decode(reader)?),
            5 => Self::TopUp(CashMove::decode(reader, by_rule)?),
            6 => Self::Withdraw(CashMove::decode(reader, by_rule)?),
            7 => Self::PostTransfer(PostTransfer {
                from: AccountId(reader.id("from")?),
                to: AccountId(reader.id("to")?),
                amount: reader.money()?,
                fee_minor: read_fee(reader, by_rule)?,
                effective_on: reader.option("effective date", Reader::date)?,
                reference: reader.text("reference")?,
            }),
            8 => Self::PostEntry(PostEntry {
                postings: reader.postings()?,
                effective_on: reader.option("effective date", Reader::date)?,
                reference: reader.text("reference")?,
            }),
            9 => Self::PlaceHold(PlaceHold::decode(reader)?),
            10 => Self::CaptureHold(CaptureHold::decode(reader, by_rule)?),
            11 => Self::VoidHold(VoidHold::decode(reader)?),
            12 => Self::ReverseEntry(ReverseEntry::decode(reader)?),
            13 => Self::TransferUpTo(TransferUpTo {
                from: AccountId(reader.id("from")?),
                to: AccountId(reader.id("to")?),
                at_most: reader.money()?,
                effective_on: reader.option("effective date", Reader::date)?,
                reference: reader.text("reference")?,
            }),
            14 => Self::SetLimits(SetLimits::decode(reader)?),
            15 => Self::PublishCalendar(PublishCalendar::decode(reader)?),
            16 => Self::SetFeeRule(SetFeeRule::decode(reader)?),
            17 => Self::ClosePeriod(ClosePeriod::decode(reader)?),
            18 => Self::SetNotificationPreferences(SetNotificationPreferences::decode(reader)?),
            19 => Self::PublishRateSheet(PublishRateSheet::decode(reader)?),
            20 => Self::ConvertFunds(ConvertFunds::decode(reader)?),
            tag => return Err(CodecError::UnknownTag { what: "command type", tag: tag.into() }),
        })
    }
}

const fn with_fee(number: u8, fee_minor: Option<i128>) -> u8 {
    if fee_minor.is_none() { number | FEE_BY_RULE } else { number }
}

pub(crate) fn read_fee(reader: &mut Reader<'_>, by_rule: bool) -> Result<Option<i128>, CodecError> {
    match (reader.signed("fee")?, by_rule) {
        (0, true) => Ok(None),
        (_, true) => Err(CodecError::NotCanonical("fee")),
        (fee_minor, false) => Ok(Some(fee_minor)),
    }
}

impl OpenAccount {
    /// Appends the canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.account.0);
        put_text(out, &self.code);
        out.push(self.kind.number());
        put_currency(out, self.currency);
        put_text(out, &self.owner);
        self.policy.put(out);
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            account: AccountId(reader.id("account")?),
            code: reader.text("account code")?,
            kind: AccountKind::from_number(reader.byte("account kind")?)
                .ok_or(CodecError::NotCanonical("account kind"))?,
            currency: reader.currency()?,
            owner: reader.text("owner")?,
            policy: BalancePolicy::read(reader)?,
        })
    }
}

impl AccountAct {
    /// Appends the canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.account.0);
        put_text(out, &self.reason);
    }

    /// Reads the canonical form.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { account: AccountId(reader.id("account")?), reason: reader.text("reason")? })
    }
}

impl CashMove {
    fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.account.0);
        put_money(out, self.amount);
        put_signed(out, self.fee_minor.unwrap_or(0));
        put_option(out, self.effective_on, put_date);
        put_text(out, &self.reference);
    }

    fn decode(reader: &mut Reader<'_>, by_rule: bool) -> Result<Self, CodecError> {
        Ok(Self {
            account: AccountId(reader.id("account")?),
            amount: reader.money()?,
            fee_minor: read_fee(reader, by_rule)?,
            effective_on: reader.option("effective date", Reader::date)?,
            reference: reader.text("reference")?,
        })
    }
}
