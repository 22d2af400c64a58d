//! What a provider is asked, and what it answers.

use std::time::Duration;

use event_schemas::control::{PaymentDetail, PaymentStep};
use event_schemas::{CommandId, Money, Timestamp};

use super::http::HttpProvider;
use super::sandbox::Sandbox;
use crate::process::StepFault;

/// A payment as its provider sees it. The payment's id is the key by which the provider knows a repeated call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderCall {
    /// The payment.
    pub payment: CommandId,
    /// The provider.
    pub provider: Box<str>,
    /// What it is to get.
    pub amount: Money,
    /// What the payer said.
    pub details: Vec<PaymentDetail>,
}

/// What a provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAnswer {
    /// It takes the payment.
    Accepted {
        /// Its reference.
        reference: Box<str>,
        /// What it took, in minor units.
        amount_minor: i128,
    },
    /// It refuses.
    Refused {
        /// Its reference; may be empty.
        reference: Box<str>,
        /// Why, in its words.
        code: Box<str>,
    },
    /// It works on it.
    Pending {
        /// Its reference; may be empty.
        reference: Box<str>,
    },
}

impl ProviderAnswer {
    /// The step that it is; `None` as long as nothing is said.
    pub fn step(self) -> Option<PaymentStep> {
        match self {
            Self::Accepted { reference, amount_minor } => {
                Some(PaymentStep::ProviderAccepted { reference, amount_minor })
            }
            Self::Refused { reference, code } => Some(PaymentStep::ProviderRefused { reference, code }),
            Self::Pending { .. } => None,
        }
    }
}

/// Why nothing is known of what a provider did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderFault {
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It can't be reached, or says that it can't serve.
    #[error("{0}")]
    Down(String),
    /// What it answered can't be understood.
    #[error("{0}")]
    Malformed(String),
}

impl ProviderFault {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timeout => "provider_timeout",
            Self::Down(_) => "provider_down",
            Self::Malformed(_) => "provider_malformed",
        }
    }
}

impl From<ProviderFault> for StepFault {
    fn from(fault: ProviderFault) -> Self {
        Self::passing(fault.code(), &fault)
    }
}

/// How a provider is reached.
#[derive(Debug)]
pub enum Provider {
    /// Over HTTP.
    Http(Box<HttpProvider>),
    /// Not at all: a rule decides.
    Sandbox(Sandbox),
}

impl Provider {
    /// Asks it to take a payment. The same payment may be asked for again: it has one effect. A provider may answer twice.
    pub async fn pay(&self, call: &ProviderCall, now: Timestamp) -> Result<Vec<ProviderAnswer>, ProviderFault> {
        match self {
            Self::Http(http) => http.pay(call, now).await.map(|answer| vec![answer]),
            Self::Sandbox(sandbox) => sandbox.pay(call).await,
        }
    }

    /// Asks it what became of a payment; `None` if it knows of none.
    pub async fn status(&self, call: &ProviderCall, now: Timestamp) -> Result<Option<ProviderAnswer>, ProviderFault> {
        match self {
            Self::Http(http) => http.status(call, now).await,
            Self::Sandbox(sandbox) => sandbox.status(call).await,
        }
    }

    /// How long it is to be left alone; `None` if it may be called.
    pub fn leave_alone(&self) -> Option<Duration> {
        match self {
            Self::Http(http) => http.breaker().leave_alone(),
            Self::Sandbox(_) => None,
        }
    }
}
