//! What has to be done next, and under which identity: the same whoever asks, and however often.

use event_schemas::command::{CaptureHold, PlaceHold, ReverseEntry, VoidHold};
use event_schemas::control::PaymentRequested;
use event_schemas::{AccountId, Command, CommandBody, CommandId, Money, PrincipalId};

use super::{Payment, Phase};

/// What has to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Ask the book to hold the money.
    PlaceHold(Command),
    /// Record that the provider is called, and call it.
    CallProvider,
    /// Ask the provider what became of it, and call it again if it knows nothing.
    AskProvider,
    /// Capture the hold.
    Capture(Command),
    /// Let the hold go.
    Void(Command),
    /// Take the entry back.
    Reverse(Command),
}

impl Due {
    /// A short name, for logs and alarms.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PlaceHold(_) => "place_hold",
            Self::CallProvider => "call_provider",
            Self::AskProvider => "ask_provider",
            Self::Capture(_) => "capture",
            Self::Void(_) => "void",
            Self::Reverse(_) => "reverse",
        }
    }
}

impl Payment {
    /// The id of its hold: that of the command that places it.
    pub fn hold_id(&self) -> CommandId {
        CommandId::from_step(self.id(), "hold", 0)
    }

    /// Amount and fee.
    pub fn total(&self) -> Option<Money> {
        let request = self.request.as_ref()?;
        Some(Money::new(request.amount.amount_minor.saturating_add(request.fee_minor), request.amount.currency))
    }

    /// The account of what the provider is owed.
    pub fn payable(&self) -> Option<AccountId> {
        self.request.as_ref().map(|request| AccountId::from_code(request.book, &request.payable))
    }

    fn placing(&self, request: &PaymentRequested) -> Option<Due> {
        let body = CommandBody::PlaceHold(PlaceHold {
            account: request.account,
            amount: self.total()?,
            // The workflow ends it, not time.
            expires_at: None,
            reference: format!("payment:{}", request.payment).into(),
        });
        Some(Due::PlaceHold(self.command("hold", 0, request.actor, body)))
    }

    fn command(&self, step: &str, attempt: u32, actor: PrincipalId, body: CommandBody) -> Command {
        Command { id: CommandId::from_step(self.id(), step, attempt), actor, body }
    }

    /// What has to be done next; nothing at rest, and nothing while it is parked.
    pub fn due(&self) -> Option<Due> {
        let request = self.request.as_ref().filter(|_| self.parked.is_none())?;
        let reference = || format!("payment:{}", request.payment).into();
        match self.phase {
            Phase::Canceling if self.hold.is_none() => self.placing(request),
            Phase::Requested => self.placing(request),
            Phase::Held => Some(Due::CallProvider),
            Phase::Called | Phase::Unknown => Some(Due::AskProvider),
            Phase::Accepted => {
                let amount_minor = self.answer.as_ref()?.amount_minor?;
                let body = CommandBody::CaptureHold(CaptureHold {
                    hold: self.hold_id(),
                    to: self.payable()?,
                    amount: Money::new(amount_minor, request.amount.currency),
                    fee_minor: Some(request.fee_minor),
                    // What the provider did not take is let go.
                    last: true,
                    effective_on: None,
                    reference: reference(),
                });
                Some(Due::Capture(self.command("capture", self.round, request.actor, body)))
            }
            Phase::Refused | Phase::Canceling => {
                let body = CommandBody::VoidHold(VoidHold { hold: self.hold_id(), reason: reference() });
                Some(Due::Void(self.command("void", self.round, request.actor, body)))
            }
            Phase::Reversing => {
                let body = CommandBody::ReverseEntry(ReverseEntry {
                    entry: self.captured?.command,
                    postings: None,
                    effective_on: None,
                    reference: reference(),
                });
                Some(Due::Reverse(self.command("reverse", self.round, self.reverser.unwrap_or(request.actor), body)))
            }
            Phase::None | Phase::Success | Phase::Reversed | Phase::Failed | Phase::Canceled => None,
        }
    }
}
