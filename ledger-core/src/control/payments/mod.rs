//! Bill payments. A payment is a workflow around a hold in the book:
//!
//! ```text
//! requested ─▶ held ─▶ called ─┬▶ accepted ─▶ captured, receipt (success) ─▶ reversing ─▶ reversed
//!     │          │       ▲     ├▶ refused ──▶ voided (failed)
//!     │          │       └─────┴▶ unknown: the provider is asked until it is known
//!     ├──────────┴▶ canceling ─▶ voided (canceled)
//!     └▶ the book refuses the hold (failed)
//! ```
//!
//! [`Payment::due`] says what has to be done next, and [`Decider::decide`] takes what came of it. Between the two stands an effect
//! that may be done twice, as its identity follows from the payment: the book answers a repeated command with its first verdict,
//! and the provider a repeated call by its key. So whoever dies between effect and fact leaves nothing behind that the next one
//! would do again with another outcome.
//!
//! *Commands to the book* keep their id until the book's refusal of it is on record: a capture that took place and was not
//! recorded is found again under the same id, whoever parked and resumed the payment meanwhile. A payment that is canceled before
//! its hold is on record places the hold and lets it go: whoever else may still place it gets the same verdict.
//!
//! *A provider that contradicts itself* moves no money: what it said first stands, the contradiction is recorded, and while money
//! is still held the payment is parked until somebody looks.
//!
//! `decide.rs` commands and rules · `due.rs` what is to be done next.

mod decide;
mod due;

use event_schemas::control::{PaymentRequested, PaymentStep, PaymentStepped};
use event_schemas::{CommandId, ControlFact, Digest, Sequence, Timestamp};

use super::Decider;

pub use decide::{PaymentCommand, PaymentRejection, receipt_hash};
pub use due::Due;

/// Something that happened to a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentEvent {
    /// It was asked for.
    Requested(PaymentRequested),
    /// It took a step.
    Stepped(PaymentStepped),
}

impl From<PaymentEvent> for ControlFact {
    fn from(event: PaymentEvent) -> Self {
        match event {
            PaymentEvent::Requested(requested) => Self::PaymentRequested(requested),
            PaymentEvent::Stepped(stepped) => Self::PaymentStepped(stepped),
        }
    }
}

impl TryFrom<ControlFact> for PaymentEvent {
    type Error = &'static str;

    fn try_from(fact: ControlFact) -> Result<Self, Self::Error> {
        match fact {
            ControlFact::PaymentRequested(requested) => Ok(Self::Requested(requested)),
            ControlFact::PaymentStepped(stepped) => Ok(Self::Stepped(stepped)),
            ControlFact::ApiKeyIssued(_)
            | ControlFact::ApiKeyRevoked(_)
            | ControlFact::ApiKeyScopesSet(_)
            | ControlFact::ProviderSet(_) => Err("not about a payment"),
        }
    }
}

/// How far a payment is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nobody asked for it.
    #[default]
    None,
    /// Asked for; nothing is held.
    Requested,
    /// The money is held.
    Held,
    /// The provider was called, and no answer is on record.
    Called,
    /// The provider gave no answer.
    Unknown,
    /// The provider took it.
    Accepted,
    /// The provider refused it; the hold is to be let go.
    Refused,
    /// It is being canceled; the hold is to be let go, if there is one.
    Canceling,
    /// Paid.
    Success,
    /// It is being taken back.
    Reversing,
    /// Taken back.
    Reversed,
    /// Not paid: the book or the provider refused.
    Failed,
    /// Not paid: somebody canceled it.
    Canceled,
}

/// What the world is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Under way.
    Pending,
    /// Paid.
    Success,
    /// Not paid: refused.
    Failed,
    /// Not paid: canceled.
    Canceled,
    /// Paid and taken back.
    Reversed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Success, Self::Failed, Self::Canceled, Self::Reversed];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Reversed => "reversed",
        }
    }
}

/// An answer of the provider that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The provider's reference.
    pub reference: Box<str>,
    /// What it took, in minor units; `None` if it refused.
    pub amount_minor: Option<i128>,
}

/// What the book did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    /// The command.
    pub command: CommandId,
    /// The sequence of its event.
    pub sequence: Sequence,
    /// When it was recorded here.
    pub at: Timestamp,
    /// What the provider gets by it, in minor units.
    pub amount_minor: i128,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub number: Box<str>,
    /// The hash that it can be checked by.
    pub hash: Digest,
    /// When it was issued.
    pub at: Timestamp,
}

/// Why a payment goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub code: Box<str>,
    /// In words.
    pub detail: Box<str>,
}

/// A payment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payment {
    /// What was asked for.
    pub request: Option<PaymentRequested>,
    /// How far it is.
    pub phase: Phase,
    /// How many facts it has.
    pub version: u64,
    /// The sequence at which the book holds the money.
    pub hold: Option<Sequence>,
    /// How often the provider was called.
    pub calls: u32,
    /// How many commands the book refused; the next one is another command.
    pub round: u32,
    /// What the provider said.
    pub answer: Option<Answered>,
    /// Why it failed.
    pub failed: Option<Box<str>>,
    /// The entry that paid.
    pub captured: Option<Booked>,
    /// The entry that took it back.
    pub reversed: Option<Booked>,
    /// The receipt.
    pub receipt: Option<Receipt>,
    /// Why it goes no further by itself.
    pub parked: Option<Parked>,
    /// What the provider said that contradicts what stands.
    pub contradictions: Vec<Answered>,
    /// The steps it took: when, the number of the try, and their names.
    pub steps: Vec<(Timestamp, u32, &'static str)>,
    /// Who takes it back.
    pub reverser: Option<event_schemas::PrincipalId>,
    /// A hash over all its facts, in their order.
    pub chain: Digest,
}

impl Payment {
    /// Its id; zero as long as nobody asked for it.
    pub fn id(&self) -> CommandId {
        self.request.as_ref().map_or(CommandId(0), |request| request.payment)
    }

    /// What the world is told.
    pub fn status(&self) -> Status {
        match self.phase {
            Phase::None
            | Phase::Requested
            | Phase::Held
            | Phase::Called
            | Phase::Unknown
            | Phase::Accepted
            | Phase::Refused
            | Phase::Canceling => Status::Pending,
            Phase::Success | Phase::Reversing => Status::Success,
            Phase::Reversed => Status::Reversed,
            Phase::Failed => Status::Failed,
            Phase::Canceled => Status::Canceled,
        }
    }

    /// Whether nothing is left to be done.
    pub fn is_at_rest(&self) -> bool {
        self.due().is_none()
    }

    /// Takes a fact that was recorded, if the rules allow it where it stands; gives the payment that it is about.
    pub fn take(&mut self, fact: &ControlFact) -> Result<CommandId, &'static str> {
        let event = PaymentEvent::try_from(fact.clone())?;
        match (&event, &self.request) {
            (PaymentEvent::Requested(_), Some(_)) => return Err("it was asked for twice"),
            (PaymentEvent::Stepped(_), None) => return Err("it took a step before it was asked for"),
            (PaymentEvent::Stepped(stepped), Some(request)) if stepped.payment != request.payment => {
                return Err("the step is another payment's");
            }
            (PaymentEvent::Stepped(stepped), Some(_)) if !self.may_follow(&stepped.what) => {
                return Err("the step can't follow where it was");
            }
            (PaymentEvent::Requested(_), None) | (PaymentEvent::Stepped(_), Some(_)) => {}
        }
        self.apply(&event);
        Ok(self.id())
    }

    fn applied(&mut self, stepped: &PaymentStepped) {
        let at = stepped.at;
        match &stepped.what {
            PaymentStep::HoldPlaced { sequence } => {
                self.hold = Some(*sequence);
                if self.phase == Phase::Requested {
                    self.phase = Phase::Held;
                }
            }
            PaymentStep::HoldRefused { code, .. } => {
                self.parked = None;
                let canceled = self.phase == Phase::Canceling;
                self.phase = if canceled { Phase::Canceled } else { Phase::Failed };
                self.failed = (!canceled).then(|| code.clone());
            }
            PaymentStep::ProviderCalled => {
                self.calls = self.calls.saturating_add(1);
                self.phase = Phase::Called;
            }
            PaymentStep::ProviderAccepted { reference, amount_minor } => {
                self.answer = Some(Answered { reference: reference.clone(), amount_minor: Some(*amount_minor) });
                self.phase = Phase::Accepted;
                self.parked = None;
            }
            PaymentStep::ProviderRefused { reference, code } => {
                self.answer = Some(Answered { reference: reference.clone(), amount_minor: None });
                self.failed = Some(code.clone());
                self.phase = Phase::Refused;
                self.parked = None;
            }
            PaymentStep::ProviderUnknown { .. } => self.phase = Phase::Unknown,
            PaymentStep::Captured { command, sequence, amount_minor } => {
                self.captured =
                    Some(Booked { command: *command, sequence: *sequence, at, amount_minor: *amount_minor });
                self.phase = Phase::Success;
                self.parked = None;
            }
            PaymentStep::Voided { .. } => {
                self.parked = None;
                let canceled = self.phase == Phase::Canceling;
                self.phase = if canceled { Phase::Canceled } else { Phase::Failed };
            }
            PaymentStep::ReceiptIssued { number, hash } => {
                self.receipt = Some(Receipt { number: number.clone(), hash: *hash, at });
            }
            PaymentStep::CancelRequested { .. } => {
                self.phase = Phase::Canceling;
                self.parked = None;
            }
            PaymentStep::ReversalRequested { actor, .. } => {
                self.phase = Phase::Reversing;
                self.reverser = Some(*actor);
            }
            PaymentStep::Reversed { command, sequence } => {
                let amount_minor = self.captured.map_or(0, |captured| captured.amount_minor);
                self.reversed = Some(Booked { command: *command, sequence: *sequence, at, amount_minor });
                self.phase = Phase::Reversed;
                self.parked = None;
            }
            PaymentStep::Contradicted { reference, amount_minor, .. } => {
                self.contradictions.push(Answered { reference: reference.clone(), amount_minor: *amount_minor });
            }
            PaymentStep::BookRefused { code, .. } => {
                self.round = self.round.saturating_add(1);
                self.parked = Some(Parked { at, code: code.clone(), detail: "the book refuses".into() });
            }
            PaymentStep::Parked { code, detail } => {
                self.parked = Some(Parked { at, code: code.clone(), detail: detail.clone() });
            }
            PaymentStep::Resumed { .. } => {
                self.parked = None;
            }
        }
    }
}

impl Decider for Payment {
    const TYPE: &'static str = PaymentRequested::AGGREGATE_TYPE;
    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type Rejection = PaymentRejection;

    fn decide(&self, command: &PaymentCommand) -> Result<Vec<PaymentEvent>, PaymentRejection> {
        self.decided(command)
    }

    fn apply(&mut self, event: &PaymentEvent) {
        self.version = self.version.saturating_add(1);
        let mut hasher = blake3::Hasher::new_derive_key("doppia 2026 facts of a payment");
        hasher.update(&self.chain.0);
        hasher.update(&ControlFact::from(event.clone()).canonical());
        self.chain = Digest(*hasher.finalize().as_bytes());
        match event {
            PaymentEvent::Requested(requested) => {
                self.steps.push((requested.requested_at, 0, "requested"));
                self.request = Some(requested.clone());
                self.phase = Phase::Requested;
            }
            PaymentEvent::Stepped(stepped) => {
                self.steps.push((stepped.at, stepped.attempt, stepped.what.name()));
                self.applied(stepped);
            }
        }
    }
}
