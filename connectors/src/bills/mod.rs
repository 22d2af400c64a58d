//! Bill payments, carried on: what is due of a payment is asked of the book or of its provider, and what came of it is recorded.
//!
//! The rules stand in `ledger_core::control::payments`; here are the effects. Each is known by the payment and the step: a command
//! to the book has an id that follows from them, a call of the provider the payment's id as its key.
//!
//! `provider.rs` what a provider is asked and answers · `sandbox.rs` one that follows a rule · `http.rs` one behind HTTP ·
//! `sign.rs` signatures · `breaker.rs` when to leave a provider alone · `settlement.rs` its file of what it was paid.

mod breaker;
mod http;
mod provider;
mod sandbox;
pub mod settlement;
pub mod sign;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_schemas::command::{AccountKind, BalancePolicy, OpenAccount};
use event_schemas::control::PaymentStep;
use event_schemas::{AccountId, Command, CommandBody, CommandId, Rejection, Sequence, Timestamp};
use ledger_core::control::payments::{Due, Payment, PaymentCommand, PaymentRejection, Phase};
use ledger_core::ports::{Answer, Clock, CommandSink, SubmitError, Verdict};
use tokio::sync::oneshot;

use crate::process::{Next, StepFault, Workflow};

pub use breaker::{Breaker, BreakerOptions};
pub use http::{HttpProvider, HttpProviderOptions, read_answer};
pub use provider::{Provider, ProviderAnswer, ProviderCall, ProviderFault};
pub use sandbox::Sandbox;

/// How long the book's verdict is waited for.
const VERDICT_WITHIN: Duration = Duration::from_secs(30);

/// The longest between two questions of what became of a payment that the provider still works on.
const POLL_MAX: Duration = Duration::from_mins(1);

/// The shortest.
const POLL_MIN: Duration = Duration::from_millis(500);

/// Something that is ready later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a step could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactsFault {
    /// The rules say no.
    #[error(transparent)]
    Rejected(#[from] PaymentRejection),
    /// The facts can't be stored or read.
    #[error("{0}")]
    Failed(String),
}

/// The facts of payments.
pub trait PaymentFacts: Send + Sync + 'static {
    /// A payment as far as it is known here.
    fn payment(&self, id: CommandId) -> Option<Arc<Payment>>;

    /// Decides a command on a payment and stores what comes of it: durable when it is ready. Gives the payment then.
    fn command(&self, id: CommandId, command: PaymentCommand) -> Pending<'_, Result<Arc<Payment>, FactsFault>>;
}

/// Is told of each place where a crash would matter; says whether to stop there. For tests.
pub type Probe = Arc<dyn Fn(&'static str, CommandId) -> bool + Send + Sync>;

/// The workflow of bill payments.
pub struct BillPayments<F> {
    facts: F,
    book: Arc<dyn CommandSink>,
    providers: BTreeMap<Box<str>, Arc<Provider>>,
    /// For every provider that is not listed.
    others: Option<Arc<Provider>>,
    clock: Clock,
    /// Accounts of what providers are owed that are known to be open.
    open: Mutex<BTreeSet<AccountId>>,
    probe: Option<Probe>,
}

impl<F> std::fmt::Debug for BillPayments<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BillPayments").field("providers", &self.providers.keys()).finish_non_exhaustive()
    }
}

/// What bill payments need.
pub struct BillParts<F> {
    /// Where their facts are.
    pub facts: F,
    /// The book.
    pub book: Arc<dyn CommandSink>,
    /// How providers are reached, by their ids.
    pub providers: BTreeMap<Box<str>, Arc<Provider>>,
    /// How all others are reached; `None` if they are not.
    pub others: Option<Arc<Provider>>,
    /// Time.
    pub clock: Clock,
    /// For tests.
    pub probe: Option<Probe>,
}

impl<F: PaymentFacts> BillPayments<F> {
    /// The workflow of these parts.
    pub fn new(parts: BillParts<F>) -> Self {
        let BillParts { facts, book, providers, others, clock, probe } = parts;
        Self { facts, book, providers, others, clock, open: Mutex::default(), probe }
    }

    /// The facts.
    pub fn facts(&self) -> &F {
        &self.facts
    }

    /// How a provider is reached, if it is.
    pub fn provider(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.get(id).or(self.others.as_ref())
    }

    fn now(&self) -> Timestamp {
        (self.clock.wall)()
    }

    /// A place where a crash would matter.
    fn at(&self, place: &'static str, id: CommandId) -> Result<(), StepFault> {
        match &self.probe {
            Some(probe) if probe(place, id) => Err(StepFault::passing("stopped", place)),
            _ => Ok(()),
        }
    }

    /// Records a step; `None` if the payment has gone on meanwhile.
    async fn record(&self, id: CommandId, command: PaymentCommand) -> Result<Option<Arc<Payment>>, StepFault> {
        match self.facts.command(id, command).await {
            Ok(payment) => Ok(Some(payment)),
            Err(FactsFault::Rejected(PaymentRejection::Stale | PaymentRejection::NotCancelable(_))) => Ok(None),
            Err(FactsFault::Rejected(rejection)) => Err(StepFault::lasting("payment_rule", rejection)),
            Err(FactsFault::Failed(why)) => Err(StepFault::passing("facts_unavailable", why)),
        }
    }

    async fn step_of(&self, id: CommandId, what: PaymentStep) -> Result<Option<Arc<Payment>>, StepFault> {
        self.record(id, PaymentCommand::Step { at: self.now(), what }).await
    }

    /// The book's verdict on the last of these commands.
    async fn submit(&self, commands: Vec<Command>) -> Result<(Verdict, Sequence), StepFault> {
        let (sender, receiver) = oneshot::channel();
        let reply = move |answers| {
            let _ = sender.send(answers);
        };
        self.book.try_submit(commands, Box::new(reply)).map_err(|error| match error {
            SubmitError::Busy { .. } => StepFault::passing("engine_busy", error),
            SubmitError::BatchSize
            | SubmitError::LinkedBatchSize
            | SubmitError::LinkedBatchIds(_)
            | SubmitError::OutOfBounds(_) => StepFault::lasting("book_refuses", error),
            SubmitError::Stopped | SubmitError::ReadOnly | _ => StepFault::passing("book_unavailable", error),
        })?;
        let unavailable = |why: &dyn std::fmt::Display| StepFault::passing("book_unavailable", why);
        let answered = tokio::time::timeout(VERDICT_WITHIN, receiver).await;
        let answered = answered.map_err(|_| unavailable(&"the verdict is late"))?;
        let mut answers =
            answered.map_err(|_| unavailable(&"the writer is gone"))?.map_err(|fault| unavailable(&fault))?;
        match answers.pop() {
            Some(Answer::Recorded { verdict, sequence, .. }) => Ok((verdict, sequence)),
            Some(Answer::Conflict { field, .. }) => Err(StepFault::lasting("id_conflict", field)),
            None => Err(unavailable(&"no answer")),
        }
    }

    /// The command that opens the account of what the provider is owed, unless it is known to be open.
    fn opening(&self, payment: &Payment) -> Option<Command> {
        let (request, account) = (payment.request.as_ref()?, payment.payable()?);
        if self.open.lock().unwrap_or_else(PoisonError::into_inner).contains(&account) {
            return None;
        }
        let open = OpenAccount {
            account,
            code: request.payable.clone(),
            kind: AccountKind::Liability,
            currency: request.amount.currency,
            owner: "".into(),
            policy: BalancePolicy::Unlimited,
        };
        // Whoever asks first is its author; the id has to be the same for all.
        let id = CommandId::of_opening(request.book, &request.payable);
        Some(Command { id, actor: event_schemas::PrincipalId::ENGINE, body: CommandBody::OpenAccount(open) })
    }

    async fn place_hold(&self, payment: &Payment, hold: Command) -> Result<Next, StepFault> {
        let id = payment.id();
        if let Some(opening) = self.opening(payment) {
            match self.submit(vec![opening]).await? {
                // Somebody else may have opened it, under a command of its own.
                (Verdict::Accepted | Verdict::Rejected(Rejection::AccountExists { .. }), _) => {
                    let account = payment.payable();
                    self.open.lock().unwrap_or_else(PoisonError::into_inner).extend(account);
                }
                (Verdict::Rejected(rejection), _) => {
                    return Err(StepFault::lasting(rejection.code(), "the account of what the provider is owed"));
                }
            }
        }
        let (verdict, sequence) = self.submit(vec![hold]).await?;
        self.at("hold_placed", id)?;
        match verdict {
            Verdict::Rejected(rejection) => {
                let code = rejection.code().into();
                self.step_of(id, PaymentStep::HoldRefused { sequence, code }).await?;
                Ok(Next::Again)
            }
            Verdict::Accepted if self.leave_alone(payment).is_some() => {
                self.step_of(id, PaymentStep::HoldPlaced { sequence }).await?;
                Ok(Next::Again)
            }
            Verdict::Accepted => {
                let command = PaymentCommand::HeldAndCalled { at: self.now(), sequence };
                match self.record(id, command).await? {
                    Some(payment) if payment.phase == Phase::Called => self.call(&payment).await,
                    Some(_) | None => Ok(Next::Again),
                }
            }
        }
    }

    /// How long the provider is to be left alone; `None` if it may be called.
    fn leave_alone(&self, payment: &Payment) -> Option<Duration> {
        let request = payment.request.as_ref()?;
        self.provider(&request.provider)?.leave_alone()
    }

    fn reached(&self, payment: &Payment) -> Result<(Arc<Provider>, ProviderCall), StepFault> {
        let request = payment.request.as_ref();
        let request = request.ok_or_else(|| StepFault::lasting("payment_rule", "nobody asked for it"))?;
        let unreachable = || StepFault::passing("provider_unavailable", "no connector is set up for this provider");
        let provider = self.provider(&request.provider).ok_or_else(unreachable)?;
        let call = ProviderCall {
            payment: request.payment,
            provider: request.provider.clone(),
            amount: request.amount,
            details: request.details.clone(),
        };
        Ok((Arc::clone(provider), call))
    }

    /// Calls the provider. That it is called is on record.
    async fn call(&self, payment: &Payment) -> Result<Next, StepFault> {
        let id = payment.id();
        self.at("call_recorded", id)?;
        let (provider, call) = self.reached(payment)?;
        match provider.pay(&call, self.now()).await {
            Ok(answers) => {
                self.at("provider_answered", id)?;
                let mut next = Next::Again;
                for answer in answers {
                    next = self.take(id, answer).await?;
                }
                self.at("answer_recorded", id)?;
                Ok(next)
            }
            Err(fault) => {
                self.at("provider_silent", id)?;
                self.step_of(id, PaymentStep::ProviderUnknown { code: fault.code().into() }).await?;
                Err(fault.into())
            }
        }
    }

    /// Records an answer. Whether it comes for the first time or contradicts what stands is for the rules to say.
    async fn take(&self, id: CommandId, answer: ProviderAnswer) -> Result<Next, StepFault> {
        match answer.step() {
            Some(step) => {
                self.step_of(id, step).await?;
                Ok(Next::Again)
            }
            None => Ok(Next::Later(POLL_MIN)),
        }
    }

    async fn ask(&self, payment: &Payment) -> Result<Next, StepFault> {
        let id = payment.id();
        if let Some(wait) = self.leave_alone(payment) {
            return Ok(Next::Later(wait));
        }
        let (provider, call) = self.reached(payment)?;
        match provider.status(&call, self.now()).await {
            Ok(Some(ProviderAnswer::Pending { .. })) => Ok(Next::Later(self.poll(payment))),
            Ok(Some(answer)) => {
                self.at("provider_answered", id)?;
                let next = self.take(id, answer).await?;
                self.at("answer_recorded", id)?;
                Ok(next)
            }
            // It never heard of it, or not any more: the key makes another call safe.
            Ok(None) => match self.step_of(id, PaymentStep::ProviderCalled).await? {
                Some(payment) if payment.phase == Phase::Called => self.call(&payment).await,
                Some(_) | None => Ok(Next::Again),
            },
            Err(fault) => {
                self.step_of(id, PaymentStep::ProviderUnknown { code: fault.code().into() }).await?;
                Err(fault.into())
            }
        }
    }

    /// How long until the provider is asked again: a quarter of how long it has taken so far.
    fn poll(&self, payment: &Payment) -> Duration {
        let since = payment.request.as_ref().map_or(self.now().0, |request| request.requested_at.0);
        let taken = u64::try_from(self.now().0.saturating_sub(since)).unwrap_or(0);
        Duration::from_micros(taken / 4).clamp(POLL_MIN, POLL_MAX)
    }

    async fn capture(&self, payment: &Payment, capture: Command) -> Result<Next, StepFault> {
        let (id, command) = (payment.id(), capture.id);
        let amount_minor = payment.answer.as_ref().and_then(|answer| answer.amount_minor).unwrap_or(0);
        let (verdict, sequence) = self.submit(vec![capture]).await?;
        self.at("captured", id)?;
        match verdict {
            Verdict::Accepted => {
                self.step_of(id, PaymentStep::Captured { command, sequence, amount_minor }).await?;
                self.at("receipt_issued", id)?;
                Ok(Next::Again)
            }
            Verdict::Rejected(rejection) => self.refused(id, command, sequence, &rejection).await,
        }
    }

    /// The book refuses: that is on record and stands for this command, and somebody has to look.
    async fn refused(
        &self,
        id: CommandId,
        command: CommandId,
        sequence: Sequence,
        rejection: &Rejection,
    ) -> Result<Next, StepFault> {
        let code = rejection.code();
        tracing::error!(payment = %id, code, %sequence, "ALARM: the book refuses, the payment is parked");
        self.step_of(id, PaymentStep::BookRefused { command, sequence, code: code.into() }).await?;
        Ok(Next::Again)
    }

    async fn void(&self, payment: &Payment, void: Command) -> Result<Next, StepFault> {
        let (id, command) = (payment.id(), void.id);
        let (verdict, sequence) = self.submit(vec![void]).await?;
        self.at("voided", id)?;
        match verdict {
            Verdict::Accepted => {}
            Verdict::Rejected(rejection) => return self.refused(id, command, sequence, &rejection).await,
        }
        self.step_of(id, PaymentStep::Voided { command, sequence }).await?;
        self.at("void_recorded", id)?;
        Ok(Next::Again)
    }

    async fn reverse(&self, payment: &Payment, reverse: Command) -> Result<Next, StepFault> {
        let (id, command) = (payment.id(), reverse.id);
        let (verdict, sequence) = self.submit(vec![reverse]).await?;
        self.at("reversed", id)?;
        match verdict {
            Verdict::Accepted => {
                self.step_of(id, PaymentStep::Reversed { command, sequence }).await?;
                self.at("reversal_recorded", id)?;
                Ok(Next::Again)
            }
            Verdict::Rejected(rejection) => self.refused(id, command, sequence, &rejection).await,
        }
    }
}

impl<F: PaymentFacts> Workflow for BillPayments<F> {
    type Subject = CommandId;

    async fn step(&self, id: CommandId) -> Result<Next, StepFault> {
        let Some(payment) = self.facts.payment(id) else { return Ok(Next::Rest) };
        match payment.due() {
            None => Ok(Next::Rest),
            Some(Due::PlaceHold(hold)) => self.place_hold(&payment, hold).await,
            Some(Due::CallProvider) => {
                if let Some(wait) = self.leave_alone(&payment) {
                    return Ok(Next::Later(wait));
                }
                // Nobody is called that can't be reached.
                self.reached(&payment)?;
                match self.step_of(id, PaymentStep::ProviderCalled).await? {
                    Some(payment) if payment.phase == Phase::Called => self.call(&payment).await,
                    Some(_) | None => Ok(Next::Again),
                }
            }
            Some(Due::AskProvider) => self.ask(&payment).await,
            Some(Due::Capture(capture)) => self.capture(&payment, capture).await,
            Some(Due::Void(void)) => self.void(&payment, void).await,
            Some(Due::Reverse(reverse)) => self.reverse(&payment, reverse).await,
        }
    }

    async fn park(&self, id: CommandId, attempts: u32, fault: &StepFault) -> Result<(), StepFault> {
        let detail = format!("{} (after {attempts} attempts)", fault.detail);
        self.step_of(id, PaymentStep::Parked { code: fault.code.into(), detail: detail.into() }).await.map(|_| ())
    }
}
