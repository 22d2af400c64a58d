//! What can be asked of a payment, and what comes of it. Saying again what is so already records nothing.

use event_schemas::bounds::{PAYMENT_CONTRADICTIONS_MAX, TEXT_MAX_BYTES};
use event_schemas::control::{PaymentRequested, PaymentStep, PaymentStepped};
use event_schemas::{BookId, Digest, Sequence, Timestamp};

use super::{Answered, Due, Payment, PaymentEvent, Phase, Status};
use crate::control::Decider as _;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentCommand {
    /// A payment: its id is that of the aggregate.
    Request(PaymentRequested),
    /// A step: what came of an effect, or what somebody wants of it.
    Step {
        /// When.
        at: Timestamp,
        /// What.
        what: PaymentStep,
    },
    /// The hold is placed, and the provider is about to be called: two steps recorded as one.
    HeldAndCalled {
        /// When.
        at: Timestamp,
        /// The sequence of the hold.
        sequence: Sequence,
    },
}

/// Why it is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentRejection {
    /// The id is taken by a payment of another content.
    #[error("the id was used for another payment: {0} differs")]
    OtherContent(&'static str),
    /// There is no payment of this id.
    #[error("there is no such payment")]
    NotFound,
    /// It has gone too far to be canceled.
    #[error("the provider has been asked to pay: it can't be canceled any more")]
    NotCancelable(Status),
    /// It is not paid, so there is nothing to take back.
    #[error("only a payment that succeeded can be taken back")]
    NotReversible(Status),
    /// It is not parked.
    #[error("it is not parked")]
    NotParked,
    /// It has gone on meanwhile: look again.
    #[error("the payment has gone on meanwhile")]
    Stale,
}

/// The hash of a receipt: over all facts of the payment up to its capture, and where that stands in the book.
pub fn receipt_hash(chain: Digest, book: BookId, sequence: Sequence) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("doppia 2026 receipt of a payment");
    hasher.update(&chain.0);
    hasher.update(&book.get().to_be_bytes());
    hasher.update(&sequence.0.to_be_bytes());
    Digest(*hasher.finalize().as_bytes())
}

/// The number of a receipt: the day, and twelve digits of the payment's hash.
fn receipt_number(at: Timestamp, hash: Digest) -> Box<str> {
    let day: String = at.date_utc().to_string().chars().filter(char::is_ascii_digit).collect();
    let digits: String = hash.to_string().chars().take(12).collect();
    format!("BP-{day}-{}", digits.to_ascii_uppercase()).into()
}

/// A text cut to what a fact may hold.
fn cut(text: &str) -> Box<str> {
    let mut end = text.len().min(TEXT_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().into()
}

/// The first thing that a client asked for that differs.
fn difference(known: &PaymentRequested, asked: &PaymentRequested) -> Option<&'static str> {
    if known.actor != asked.actor || known.book != asked.book {
        Some("id")
    } else if known.provider != asked.provider {
        Some("provider")
    } else if known.account != asked.account {
        Some("account")
    } else if known.amount.currency != asked.amount.currency {
        Some("currency")
    } else if known.amount != asked.amount {
        Some("amount")
    } else if known.details != asked.details {
        Some("details")
    } else {
        None
    }
}

impl Payment {
    pub(super) fn decided(&self, command: &PaymentCommand) -> Result<Vec<PaymentEvent>, PaymentRejection> {
        match command {
            PaymentCommand::Request(asked) => match &self.request {
                None => Ok(vec![PaymentEvent::Requested(asked.clone())]),
                Some(known) => match difference(known, asked) {
                    None => Ok(Vec::new()),
                    Some(field) => Err(PaymentRejection::OtherContent(field)),
                },
            },
            PaymentCommand::Step { .. } | PaymentCommand::HeldAndCalled { .. } if self.request.is_none() => {
                Err(PaymentRejection::NotFound)
            }
            PaymentCommand::Step { at, what } => self.stepped(*at, what),
            PaymentCommand::HeldAndCalled { at, sequence } => {
                let mut events = self.stepped(*at, &PaymentStep::HoldPlaced { sequence: *sequence })?;
                let mut held = self.clone();
                for event in &events {
                    held.apply(event);
                }
                // Somebody may have canceled it meanwhile: then the hold is on record, and the provider is not called.
                if held.phase == Phase::Held {
                    events.push(held.event(*at, PaymentStep::ProviderCalled));
                }
                Ok(events)
            }
        }
    }

    fn event(&self, at: Timestamp, what: PaymentStep) -> PaymentEvent {
        let attempt = match what {
            PaymentStep::ProviderCalled => self.calls.saturating_add(1),
            PaymentStep::ProviderAccepted { .. }
            | PaymentStep::ProviderRefused { .. }
            | PaymentStep::ProviderUnknown { .. }
            | PaymentStep::Contradicted { .. } => self.calls,
            PaymentStep::HoldPlaced { .. }
            | PaymentStep::HoldRefused { .. }
            | PaymentStep::Captured { .. }
            | PaymentStep::Voided { .. }
            | PaymentStep::ReceiptIssued { .. }
            | PaymentStep::CancelRequested { .. }
            | PaymentStep::ReversalRequested { .. }
            | PaymentStep::Reversed { .. }
            | PaymentStep::BookRefused { .. }
            | PaymentStep::Parked { .. }
            | PaymentStep::Resumed { .. } => self.round,
        };
        PaymentEvent::Stepped(PaymentStepped { payment: self.id(), at, attempt, what })
    }

    /// Whether a step that was recorded can have been recorded here.
    pub(super) fn may_follow(&self, what: &PaymentStep) -> bool {
        match what {
            PaymentStep::HoldPlaced { .. } => {
                self.hold.is_none() && matches!(self.phase, Phase::Requested | Phase::Canceling)
            }
            PaymentStep::HoldRefused { .. } => {
                self.hold.is_none() && matches!(self.phase, Phase::Requested | Phase::Canceling)
            }
            PaymentStep::ProviderCalled => matches!(self.phase, Phase::Held | Phase::Called | Phase::Unknown),
            PaymentStep::ProviderAccepted { amount_minor, .. } => {
                matches!(self.phase, Phase::Called | Phase::Unknown) && self.takes(*amount_minor)
            }
            PaymentStep::ProviderRefused { .. } => matches!(self.phase, Phase::Called | Phase::Unknown),
            PaymentStep::ProviderUnknown { .. } => self.phase == Phase::Called,
            PaymentStep::Captured { amount_minor, .. } => {
                self.phase == Phase::Accepted
                    && self.answer.as_ref().is_some_and(|answer| answer.amount_minor == Some(*amount_minor))
            }
            PaymentStep::Voided { .. } => {
                self.hold.is_some() && matches!(self.phase, Phase::Refused | Phase::Canceling)
            }
            PaymentStep::BookRefused { command, .. } => self.gives(*command),
            PaymentStep::ReceiptIssued { .. } => self.phase == Phase::Success && self.receipt.is_none(),
            PaymentStep::CancelRequested { .. } => matches!(self.phase, Phase::Requested | Phase::Held),
            PaymentStep::ReversalRequested { .. } => self.phase == Phase::Success,
            PaymentStep::Reversed { .. } => self.phase == Phase::Reversing,
            PaymentStep::Contradicted { .. } => self.calls > 0,
            PaymentStep::Parked { .. } => self.parked.is_none() && self.due().is_some(),
            PaymentStep::Resumed { .. } => self.parked.is_some(),
        }
    }

    /// Whether this is the command that is to be given to the book next: to capture, to let go or to take back.
    fn gives(&self, command: event_schemas::CommandId) -> bool {
        match self.due() {
            Some(Due::Capture(due) | Due::Void(due) | Due::Reverse(due)) => due.id == command,
            Some(Due::PlaceHold(_) | Due::CallProvider | Due::AskProvider) | None => false,
        }
    }

    /// Whether the provider may take so much.
    fn takes(&self, amount_minor: i128) -> bool {
        self.request.as_ref().is_some_and(|request| {
            let whole_minor = request.amount.amount_minor;
            amount_minor == whole_minor || (request.partial && (1..whole_minor).contains(&amount_minor))
        })
    }

    fn stepped(&self, at: Timestamp, what: &PaymentStep) -> Result<Vec<PaymentEvent>, PaymentRejection> {
        let one = |what: PaymentStep| Ok(vec![self.event(at, what)]);
        match what {
            PaymentStep::HoldPlaced { sequence } if self.hold == Some(*sequence) => Ok(Vec::new()),
            PaymentStep::ProviderAccepted { reference, amount_minor } => {
                let said = Answered { reference: cut(reference), amount_minor: Some(*amount_minor) };
                let what = PaymentStep::ProviderAccepted { reference: cut(reference), amount_minor: *amount_minor };
                self.answered(at, said, what)
            }
            PaymentStep::ProviderRefused { reference, code } => {
                let said = Answered { reference: cut(reference), amount_minor: None };
                self.answered(at, said, PaymentStep::ProviderRefused { reference: cut(reference), code: cut(code) })
            }
            PaymentStep::ProviderUnknown { .. } if self.phase == Phase::Unknown => Ok(Vec::new()),
            PaymentStep::ProviderUnknown { code } if self.phase == Phase::Called => {
                one(PaymentStep::ProviderUnknown { code: cut(code) })
            }
            PaymentStep::Captured { sequence, .. }
                if self.captured.is_some_and(|known| known.sequence == *sequence) =>
            {
                Ok(Vec::new())
            }
            PaymentStep::Captured { sequence, .. } if self.may_follow(what) => {
                let event = self.event(at, what.clone());
                let mut captured = self.clone();
                captured.apply(&event);
                let book = self.request.as_ref().map_or(BookId::FIRST, |request| request.book);
                let hash = receipt_hash(captured.chain, book, *sequence);
                let number = receipt_number(at, hash);
                let receipt = captured.event(at, PaymentStep::ReceiptIssued { number, hash });
                Ok(vec![event, receipt])
            }
            PaymentStep::Voided { .. } if matches!(self.phase, Phase::Failed | Phase::Canceled) => Ok(Vec::new()),
            PaymentStep::CancelRequested { actor, reason } => match self.phase {
                Phase::Requested | Phase::Held => {
                    one(PaymentStep::CancelRequested { actor: *actor, reason: cut(reason) })
                }
                Phase::Canceling | Phase::Canceled => Ok(Vec::new()),
                Phase::None
                | Phase::Called
                | Phase::Unknown
                | Phase::Accepted
                | Phase::Refused
                | Phase::Success
                | Phase::Reversing
                | Phase::Reversed
                | Phase::Failed => Err(PaymentRejection::NotCancelable(self.status())),
            },
            PaymentStep::ReversalRequested { actor, reason } => match self.phase {
                Phase::Success => one(PaymentStep::ReversalRequested { actor: *actor, reason: cut(reason) }),
                Phase::Reversing | Phase::Reversed => Ok(Vec::new()),
                Phase::None
                | Phase::Requested
                | Phase::Held
                | Phase::Called
                | Phase::Unknown
                | Phase::Accepted
                | Phase::Refused
                | Phase::Canceling
                | Phase::Failed
                | Phase::Canceled => Err(PaymentRejection::NotReversible(self.status())),
            },
            PaymentStep::Reversed { .. } if self.phase == Phase::Reversed => Ok(Vec::new()),
            PaymentStep::Parked { .. } if self.parked.is_some() || self.due().is_none() => Ok(Vec::new()),
            PaymentStep::Parked { code, detail } => one(PaymentStep::Parked { code: cut(code), detail: cut(detail) }),
            PaymentStep::Resumed { .. } if self.parked.is_none() => Err(PaymentRejection::NotParked),
            PaymentStep::Resumed { actor, reason } => {
                one(PaymentStep::Resumed { actor: cut(actor), reason: cut(reason) })
            }
            PaymentStep::HoldPlaced { .. }
            | PaymentStep::HoldRefused { .. }
            | PaymentStep::ProviderCalled
            | PaymentStep::ProviderUnknown { .. }
            | PaymentStep::Captured { .. }
            | PaymentStep::Voided { .. }
            | PaymentStep::BookRefused { .. }
            | PaymentStep::Reversed { .. }
                if self.may_follow(what) =>
            {
                one(what.clone())
            }
            PaymentStep::HoldPlaced { .. }
            | PaymentStep::HoldRefused { .. }
            | PaymentStep::ProviderCalled
            | PaymentStep::ProviderUnknown { .. }
            | PaymentStep::Captured { .. }
            | PaymentStep::Voided { .. }
            | PaymentStep::ReceiptIssued { .. }
            | PaymentStep::BookRefused { .. }
            | PaymentStep::Reversed { .. }
            | PaymentStep::Contradicted { .. } => Err(PaymentRejection::Stale),
        }
    }

    /// What comes of an answer: the first that can be is taken, the same again is nothing new, and another one is a
    /// contradiction.
    fn answered(
        &self,
        at: Timestamp,
        said: Answered,
        what: PaymentStep,
    ) -> Result<Vec<PaymentEvent>, PaymentRejection> {
        if self.calls == 0 {
            return Err(PaymentRejection::Stale);
        }
        if self.answer.as_ref() == Some(&said) || self.contradictions.contains(&said) && self.parked.is_some() {
            return Ok(Vec::new());
        }
        if self.may_follow(&what) {
            return Ok(vec![self.event(at, what)]);
        }
        let code = if self.answer.is_some() { "provider_answers_differ" } else { "provider_amount_differs" };
        let mut events = Vec::new();
        let most = usize::try_from(PAYMENT_CONTRADICTIONS_MAX).unwrap_or(usize::MAX);
        if !self.contradictions.contains(&said) && self.contradictions.len() < most {
            let Answered { reference, amount_minor } = said;
            events.push(self.event(at, PaymentStep::Contradicted { code: code.into(), reference, amount_minor }));
        }
        // Money that is still held waits for somebody to look; what is at rest stays as it is.
        if self.parked.is_none() && self.due().is_some() {
            let detail = "the provider's answer contradicts what it was offered or what it said before".into();
            events.push(self.event(at, PaymentStep::Parked { code: code.into(), detail }));
        }
        Ok(events)
    }
}
