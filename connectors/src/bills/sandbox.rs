//! A provider that is a rule: what it does follows from the last two digits of the amount in minor units, so that whoever tries
//! a payment out can ask for any outcome. It keeps nothing: the same call has the same answer.
//!
//! | amount ends in | what happens |
//! | --- | --- |
//! | `01` | refused |
//! | `02` | no answer in time; the payment was taken all the same, as the status tells |
//! | `03` | taken, after two seconds |
//! | `04` | taken with another amount: one minor unit less |
//! | `05` | taken, and the same answer once more |
//! | `06` | taken, and refused in a second answer |
//! | `07` | down, always |
//! | `08` | half of it taken |
//! | anything else | taken |

use std::time::Duration;

use event_schemas::CommandId;

use super::provider::{ProviderAnswer, ProviderCall, ProviderFault};

/// How long the slow ones take.
const SLOW: Duration = Duration::from_secs(2);

/// A provider that is a rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sandbox;

impl Sandbox {
    pub(super) async fn pay(self, call: &ProviderCall) -> Result<Vec<ProviderAnswer>, ProviderFault> {
        match call.amount.amount_minor % 100 {
            2 => Err(ProviderFault::Timeout),
            3 => {
                tokio::time::sleep(SLOW).await;
                self.status(call).await.map(|answer| answer.into_iter().collect())
            }
            5 => Ok(vec![taken(call, call.amount.amount_minor); 2]),
            6 => Ok(vec![taken(call, call.amount.amount_minor), refused(call)]),
            _ => self.status(call).await.map(|answer| answer.into_iter().collect()),
        }
    }

    #[expect(clippy::unused_async, reason = "as the others")]
    pub(super) async fn status(self, call: &ProviderCall) -> Result<Option<ProviderAnswer>, ProviderFault> {
        let whole_minor = call.amount.amount_minor;
        match whole_minor % 100 {
            1 => Ok(Some(refused(call))),
            4 => Ok(Some(taken(call, whole_minor - 1))),
            7 => Err(ProviderFault::Down("the sandbox plays dead".into())),
            8 => Ok(Some(taken(call, whole_minor / 2))),
            _ => Ok(Some(taken(call, whole_minor))),
        }
    }
}

fn reference(payment: CommandId) -> Box<str> {
    format!("SBX-{:032x}", payment.0).into()
}

fn taken(call: &ProviderCall, amount_minor: i128) -> ProviderAnswer {
    ProviderAnswer::Accepted { reference: reference(call.payment), amount_minor }
}

fn refused(call: &ProviderCall) -> ProviderAnswer {
    ProviderAnswer::Refused { reference: reference(call.payment), code: "account_closed".into() }
}
