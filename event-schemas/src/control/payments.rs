//! Bill payments: a workflow around a hold. Each payment is one aggregate, and each step it takes is a fact, with its time and
//! the number of the try, recorded before anything is done that rests on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::providers::list;
use crate::bounds::PROVIDER_FIELDS_MAX;
use crate::codec::{CodecError, Reader, put_id, put_money, put_option, put_signed, put_text, put_time, put_varint};
use crate::command::{bounded, minor_text};
use crate::date::Timestamp;
use crate::digest::Digest;
use crate::ids::{AccountId, BookId, CommandId, PrincipalId, Sequence};
use crate::money::Money;

/// What a payer said: one field of the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentDetail {
    /// The field.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub name: Box<str>,
    /// Its text.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub value: Box<str>,
}

/// A payment was asked for. What it costs and where the money goes are taken from the provider's terms then, and stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequested {
    /// Its id.
    pub payment: CommandId,
    /// The book whose money it moves.
    pub book: BookId,
    /// The provider.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub provider: Box<str>,
    /// The account that pays.
    pub account: AccountId,
    /// What the provider gets.
    pub amount: Money,
    /// The fee on top, in minor units of the same currency.
    #[serde(with = "minor_text")]
    #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
    pub fee_minor: i128,
    /// The code of the account of what the provider is owed.
    #[serde(deserialize_with = "bounded::text")]
    #[schemars(length(max = 256))]
    pub payable: Box<str>,
    /// Whether the provider may take less.
    pub partial: bool,
    /// What the payer said, in the order of the provider's fields.
    #[schemars(length(max = 16))]
    pub details: Vec<PaymentDetail>,
    /// Who asked for it: commands to the book are given in its name.
    pub actor: PrincipalId,
    /// When.
    pub requested_at: Timestamp,
}

/// What happened to a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum PaymentStep {
    /// The book holds amount and fee.
    HoldPlaced {
        /// The sequence of the book's event.
        sequence: Sequence,
    },
    /// The book refused to hold them: the payment has failed.
    HoldRefused {
        /// The sequence of the refusal.
        sequence: Sequence,
        /// Its code.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        code: Box<str>,
    },
    /// The provider is about to be called.
    ProviderCalled,
    /// The provider takes it.
    ProviderAccepted {
        /// The provider's own reference.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        reference: Box<str>,
        /// What it took, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        amount_minor: i128,
    },
    /// The provider refuses it.
    ProviderRefused {
        /// The provider's own reference; may be empty.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        reference: Box<str>,
        /// Why, in the provider's words.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        code: Box<str>,
    },
    /// The provider gave no answer: what it did is not known, and it is asked.
    ProviderUnknown {
        /// What went wrong.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        code: Box<str>,
    },
    /// The hold was captured: the money is the provider's.
    Captured {
        /// The book's command.
        command: CommandId,
        /// The sequence of its event.
        sequence: Sequence,
        /// What the provider gets, in minor units.
        #[serde(with = "minor_text")]
        #[schemars(with = "String", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        amount_minor: i128,
    },
    /// What was held was let go, or nothing was ever held.
    Voided {
        /// The book's command.
        command: CommandId,
        /// The sequence of its event.
        sequence: Sequence,
    },
    /// The payer has a receipt.
    ReceiptIssued {
        /// Its number.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        number: Box<str>,
        /// BLAKE3 over all facts before and the book's event.
        hash: Digest,
    },
    /// Somebody cancels it.
    CancelRequested {
        /// Who.
        actor: PrincipalId,
        /// Why; may be empty. No personal data.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        reason: Box<str>,
    },
    /// Somebody takes it back.
    ReversalRequested {
        /// Who.
        actor: PrincipalId,
        /// Why; may be empty. No personal data.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        reason: Box<str>,
    },
    /// Its entry was taken back.
    Reversed {
        /// The book's command.
        command: CommandId,
        /// The sequence of its event.
        sequence: Sequence,
    },
    /// The provider said something that contradicts what it said before, or what it was offered. No money moved by it.
    Contradicted {
        /// Which contradiction: `provider_amount_differs` or `provider_answers_differ`.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        code: Box<str>,
        /// The reference it gave.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        reference: Box<str>,
        /// The amount it named, in minor units, if it says that it took some.
        #[serde(with = "minor_text::option")]
        #[schemars(with = "Option<String>", regex(pattern = r"^-?(0|[1-9][0-9]{0,38})$"))]
        amount_minor: Option<i128>,
    },
    /// The book refused to capture, to let go or to take back: it goes no further by itself, and the next try is another command.
    BookRefused {
        /// The book's command.
        command: CommandId,
        /// The sequence of the refusal.
        sequence: Sequence,
        /// Its code.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        code: Box<str>,
    },
    /// It goes no further by itself: somebody has to look.
    Parked {
        /// Why.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        code: Box<str>,
        /// In words.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        detail: Box<str>,
    },
    /// Somebody let it go on.
    Resumed {
        /// Who.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        actor: Box<str>,
        /// Why; may be empty. No personal data.
        #[serde(deserialize_with = "bounded::text")]
        #[schemars(length(max = 256))]
        reason: Box<str>,
    },
}

/// A payment took a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentStepped {
    /// The payment.
    pub payment: CommandId,
    /// When.
    pub at: Timestamp,
    /// Of calls of the provider, their number; of commands to the book, how many the book refused before.
    pub attempt: u32,
    /// What happened.
    pub what: PaymentStep,
}

impl PaymentDetail {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        put_text(out, &self.value);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { name: reader.text("field")?, value: reader.text("detail")? })
    }
}

impl PaymentRequested {
    /// The type of the aggregate that a payment is.
    pub const AGGREGATE_TYPE: &'static str = "bill_payment";

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.payment.0);
        put_varint(out, self.book.get().into());
        put_text(out, &self.provider);
        put_id(out, self.account.0);
        put_money(out, self.amount);
        put_signed(out, self.fee_minor);
        put_text(out, &self.payable);
        out.push(u8::from(self.partial));
        put_varint(out, self.details.len() as u128);
        for detail in &self.details {
            detail.encode(out);
        }
        put_id(out, self.actor.0);
        put_time(out, self.requested_at);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            payment: CommandId(reader.id("payment")?),
            book: BookId::new(reader.number("book")?).ok_or(CodecError::NotCanonical("book"))?,
            provider: reader.text("provider")?,
            account: AccountId(reader.id("account")?),
            amount: reader.money()?,
            fee_minor: reader.signed("fee")?,
            payable: reader.text("payable")?,
            partial: reader.flag("partial")?,
            details: list(reader, "details", PROVIDER_FIELDS_MAX, PaymentDetail::decode)?,
            actor: PrincipalId(reader.id("actor")?),
            requested_at: reader.time()?,
        })
    }
}

impl PaymentStep {
    /// The name in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::HoldPlaced { .. } => "hold_placed",
            Self::HoldRefused { .. } => "hold_refused",
            Self::ProviderCalled => "provider_called",
            Self::ProviderAccepted { .. } => "provider_accepted",
            Self::ProviderRefused { .. } => "provider_refused",
            Self::ProviderUnknown { .. } => "provider_unknown",
            Self::Captured { .. } => "captured",
            Self::Voided { .. } => "voided",
            Self::ReceiptIssued { .. } => "receipt_issued",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::ReversalRequested { .. } => "reversal_requested",
            Self::Reversed { .. } => "reversed",
            Self::Contradicted { .. } => "contradicted",
            Self::BookRefused { .. } => "book_refused",
            Self::Parked { .. } => "parked",
            Self::Resumed { .. } => "resumed",
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let text_pair = |out: &mut Vec<u8>, tag, one: &str, other: &str| {
            out.push(tag);
            put_text(out, one);
            put_text(out, other);
        };
        let entry = |out: &mut Vec<u8>, tag, command: CommandId, sequence: Sequence| {
            out.push(tag);
            put_id(out, command.0);
            put_varint(out, sequence.0.into());
        };
        match self {
            Self::HoldPlaced { sequence } => {
                out.push(1);
                put_varint(out, sequence.0.into());
            }
            Self::HoldRefused { sequence, code } => {
                out.push(2);
                put_varint(out, sequence.0.into());
                put_text(out, code);
            }
            Self::ProviderCalled => out.push(3),
            Self::ProviderAccepted { reference, amount_minor } => {
                out.push(4);
                put_text(out, reference);
                put_signed(out, *amount_minor);
            }
            Self::ProviderRefused { reference, code } => text_pair(out, 5, reference, code),
            Self::ProviderUnknown { code } => {
                out.push(6);
                put_text(out, code);
            }
            Self::Captured { command, sequence, amount_minor } => {
                entry(out, 7, *command, *sequence);
                put_signed(out, *amount_minor);
            }
            Self::Voided { command, sequence } => entry(out, 8, *command, *sequence),
            Self::ReceiptIssued { number, hash } => {
                out.push(9);
                put_text(out, number);
                out.extend_from_slice(&hash.0);
            }
            Self::CancelRequested { actor, reason } => {
                out.push(10);
                put_id(out, actor.0);
                put_text(out, reason);
            }
            Self::ReversalRequested { actor, reason } => {
                out.push(11);
                put_id(out, actor.0);
                put_text(out, reason);
            }
            Self::Reversed { command, sequence } => entry(out, 12, *command, *sequence),
            Self::Contradicted { code, reference, amount_minor } => {
                text_pair(out, 13, code, reference);
                put_option(out, *amount_minor, put_signed);
            }
            Self::Parked { code, detail } => text_pair(out, 14, code, detail),
            Self::Resumed { actor, reason } => text_pair(out, 15, actor, reason),
            Self::BookRefused { command, sequence, code } => {
                entry(out, 16, *command, *sequence);
                put_text(out, code);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let sequence = |reader: &mut Reader<'_>| reader.number("sequence").map(Sequence);
        let command = |reader: &mut Reader<'_>| reader.id("command").map(CommandId);
        Ok(match reader.byte("step of a payment")? {
            1 => Self::HoldPlaced { sequence: sequence(reader)? },
            2 => Self::HoldRefused { sequence: sequence(reader)?, code: reader.text("code")? },
            3 => Self::ProviderCalled,
            4 => {
                Self::ProviderAccepted { reference: reader.text("reference")?, amount_minor: reader.signed("amount")? }
            }
            5 => Self::ProviderRefused { reference: reader.text("reference")?, code: reader.text("code")? },
            6 => Self::ProviderUnknown { code: reader.text("code")? },
            7 => Self::Captured {
                command: command(reader)?,
                sequence: sequence(reader)?,
                amount_minor: reader.signed("amount")?,
            },
            8 => Self::Voided { command: command(reader)?, sequence: sequence(reader)? },
            9 => Self::ReceiptIssued { number: reader.text("number")?, hash: Digest(reader.array("hash")?) },
            10 => Self::CancelRequested { actor: PrincipalId(reader.id("actor")?), reason: reader.text("reason")? },
            11 => Self::ReversalRequested { actor: PrincipalId(reader.id("actor")?), reason: reader.text("reason")? },
            12 => Self::Reversed { command: command(reader)?, sequence: sequence(reader)? },
            13 => Self::Contradicted {
                code: reader.text("code")?,
                reference: reader.text("reference")?,
                amount_minor: reader.option("amount", |reader| reader.signed("amount"))?,
            },
            14 => Self::Parked { code: reader.text("code")?, detail: reader.text("detail")? },
            15 => Self::Resumed { actor: reader.text("actor")?, reason: reader.text("reason")? },
            16 => {
                Self::BookRefused { command: command(reader)?, sequence: sequence(reader)?, code: reader.text("code")? }
            }
            tag => return Err(CodecError::UnknownTag { what: "step of a payment", tag: tag.into() }),
        })
    }
}

impl PaymentStepped {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.payment.0);
        put_time(out, self.at);
        put_varint(out, self.attempt.into());
        self.what.encode(out);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            payment: CommandId(reader.id("payment")?),
            at: reader.time()?,
            attempt: reader.number("attempt")?,
            what: PaymentStep::decode(reader)?,
        })
    }
}
