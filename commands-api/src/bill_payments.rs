//! Bill payments, as the API needs them: somebody who keeps them and carries them on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use event_schemas::control::{PaymentRequested, PaymentStep, ProviderSet};
use event_schemas::{AccountId, CommandId, Timestamp};
use ledger_core::control::payments::{Payment, PaymentRejection};

/// Something that is ready later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a payment could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentsFault {
    /// The rules say no.
    #[error(transparent)]
    Rejected(#[from] PaymentRejection),
    /// It can't be stored now. It may have been: the same may be asked for again.
    #[error("payments can't be recorded now")]
    Unavailable,
}

/// Why a callback is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackFault {
    /// No such provider calls back here, or the signature is not right: which of the two is not told.
    #[error("the signature is not right")]
    Signature,
    /// What it says can't be understood.
    #[error("the body is not an answer to a payment")]
    Malformed,
    /// There is no such payment of this provider.
    #[error("there is no such payment")]
    NotFound,
    /// It can't be recorded now: the provider may send it again.
    #[error("payments can't be recorded now")]
    Unavailable,
}

/// What a callback is: headers and body, as they came.
#[derive(Debug, Clone, Copy)]
pub struct Callback<'a> {
    /// The provider in the path.
    pub provider: &'a str,
    /// Its id: that of the payment.
    pub id: &'a str,
    /// When it was signed.
    pub timestamp: &'a str,
    /// The signatures.
    pub signature: &'a str,
    /// What was signed.
    pub body: &'a [u8],
}

/// Payments of an account, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentsPage {
    /// The payments.
    pub payments: Vec<Arc<Payment>>,
    /// Where the next page begins: behind this one.
    pub next: Option<(Timestamp, CommandId)>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The book has held the money or refused to.
    Held,
    /// Nothing is left to be done, or somebody has to look.
    Settled,
}

impl Until {
    /// Whether it is so.
    pub fn is_so(self, payment: &Payment) -> bool {
        match self {
            Self::Held => payment.hold.is_some() || payment.is_at_rest(),
            Self::Settled => payment.is_at_rest(),
        }
    }
}

/// Whoever keeps bill payments.
pub trait Payments: Send + Sync {
    /// The providers, in the order of their ids.
    fn providers(&self) -> Vec<Arc<ProviderSet>>;

    /// A provider.
    fn provider(&self, id: &str) -> Option<Arc<ProviderSet>>;

    /// Whether a provider can be reached from here.
    fn reaches(&self, provider: &str) -> bool;

    /// A payment.
    fn payment(&self, id: CommandId) -> Option<Arc<Payment>>;

    /// The payments of an account, newest first, behind one of them.
    fn of_account(&self, account: AccountId, behind: Option<(Timestamp, CommandId)>, limit: usize) -> PaymentsPage;

    /// Asks for a payment; durable when it is ready. Says whether it was asked for before.
    fn request(&self, request: PaymentRequested) -> Later<'_, Result<(Arc<Payment>, bool), PaymentsFault>>;

    /// Cancels a payment or takes it back; durable when it is ready.
    fn step(&self, id: CommandId, step: PaymentStep) -> Later<'_, Result<Arc<Payment>, PaymentsFault>>;

    /// Waits until a payment is so far, but no longer than this.
    fn wait(&self, id: CommandId, until: Until, at_most: Duration) -> Later<'_, Option<Arc<Payment>>>;

    /// Takes what a provider says later.
    fn callback<'a>(&'a self, callback: Callback<'a>) -> Later<'a, Result<(), CallbackFault>>;

    /// Time.
    fn now(&self) -> Timestamp;
}
