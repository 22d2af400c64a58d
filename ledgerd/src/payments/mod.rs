//! Bill payments of a running server: their facts in the control plane, what is known of them in memory, and the runner that
//! carries them on.
//!
//! ```text
//! POST …/payments ─▶ fact ─▶ directory ─▶ runner ─▶ book, provider ─▶ fact ─▶ directory ─▶ …
//!                              ▲ tail of the control plane: facts of other processes (`ledgerd payment retry`)
//! ```
//!
//! At a start all facts are read, and every payment that is not at rest is carried on.
//!
//! `directory.rs` what is known · `cli.rs` what can be typed · `file.rs` catalogues of providers in files.

mod cli;
mod directory;
mod file;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use commands_api::bill_payments::{Callback, CallbackFault, Later, Payments, PaymentsFault, PaymentsPage, Until};
use connectors::bills::{
    BillParts, BillPayments, BreakerOptions, FactsFault, HttpProvider, HttpProviderOptions, PaymentFacts, Pending,
    Probe, Provider, Sandbox, read_answer, sign::Secret,
};
use connectors::process::{Runner, RunnerOptions};
use event_schemas::control::{PaymentRequested, PaymentStep, ProviderSet};
use event_schemas::{AccountId, CommandId, Timestamp};
use ledger_core::control::payments::{Payment, PaymentCommand, PaymentRejection};
use ledger_core::ports::{Clock, CommandSink};
use stores::control::{ControlStore, ExecuteFault};
use tokio::task::JoinHandle;

use crate::config::PaymentsConfig;
use directory::Directory;

pub(crate) use cli::load;
pub use cli::{PaymentArgs, ProviderArgs, run_payment, run_provider};

/// How often the tail is looked at for facts of other processes.
const LOOK: Duration = Duration::from_millis(250);

/// For tests: the name of a place at which the process ends as if it were killed.
const ABORT_AT: &str = "LEDGERD_TEST_ABORT_AT";

/// The facts, as the runner needs them.
#[derive(Clone)]
struct Facts {
    store: ControlStore,
    directory: Arc<Directory>,
}

impl Facts {
    /// Reads the tail to its end.
    async fn follow(&self) -> Vec<CommandId> {
        let (store, directory) = (self.store.clone(), Arc::clone(&self.directory));
        let followed = tokio::task::spawn_blocking(move || directory.follow(&store)).await;
        match followed {
            Ok(Ok(changed)) => changed,
            Ok(Err(fault)) => {
                tracing::error!(%fault, "the facts of payments can't be read");
                Vec::new()
            }
            Err(error) => {
                tracing::error!(%error, "the facts of payments can't be read");
                Vec::new()
            }
        }
    }

    /// Decides a command and stores what comes of it. Says whether anything did.
    async fn execute(&self, id: CommandId, command: PaymentCommand) -> Result<(Arc<Payment>, bool), FactsFault> {
        let executed = self.store.execute_told::<Payment>(&id.to_string(), command).await;
        let (events, rejection) = match executed {
            Ok(events) => (events, None),
            Err(ExecuteFault::Rejected(rejection)) => (Vec::new(), Some(rejection)),
            Err(ExecuteFault::Store(fault)) => {
                tracing::error!(payment = %id, %fault, "a payment can't be recorded");
                return Err(FactsFault::Failed(fault.to_string()));
            }
            Err(fault) => return Err(FactsFault::Failed(fault.to_string())),
        };
        // What others stored in between is in the tail.
        let known = self.directory.take(&events) && rejection.is_none() && !events.is_empty();
        if !known {
            self.follow().await;
        }
        if let Some(rejection) = rejection {
            return Err(rejection.into());
        }
        let payment = self.directory.payment(id);
        let payment = payment.ok_or_else(|| FactsFault::Failed("what was stored can't be read yet".into()))?;
        Ok((payment, !events.is_empty()))
    }
}

impl PaymentFacts for Facts {
    fn payment(&self, id: CommandId) -> Option<Arc<Payment>> {
        self.directory.payment(id)
    }

    fn command(&self, id: CommandId, command: PaymentCommand) -> Pending<'_, Result<Arc<Payment>, FactsFault>> {
        Box::pin(async move { self.execute(id, command).await.map(|(payment, _)| payment) })
    }
}

/// Bill payments of a server.
pub(crate) struct Service {
    facts: Facts,
    runner: Runner<BillPayments<Facts>>,
    clock: Clock,
    stop: Arc<AtomicBool>,
    follower: JoinHandle<()>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("runner", &self.runner).finish_non_exhaustive()
    }
}

/// How providers are reached.
fn connectors_of(config: &PaymentsConfig) -> anyhow::Result<BTreeMap<Box<str>, Arc<Provider>>> {
    let mut providers = BTreeMap::new();
    for (id, settings) in &config.providers {
        let provider = match &settings.url {
            None => Provider::Sandbox(Sandbox),
            Some(url) => {
                let file = settings.secret_file.as_ref();
                let file = file.with_context(|| format!("payments.providers.{id}: a url needs a secret_file"))?;
                let secret =
                    std::fs::read(file).with_context(|| format!("payments.providers.{id}: {}", file.display()))?;
                let secret = Secret::new(secret.trim_ascii())
                    .map_err(|fault| anyhow::anyhow!("payments.providers.{id}: {}: {fault}", file.display()))?;
                let options = HttpProviderOptions {
                    url: url.clone(),
                    secret,
                    timeout: Duration::from_millis(settings.timeout_ms),
                    breaker: BreakerOptions::default(),
                };
                let http = HttpProvider::new(options).map_err(anyhow::Error::msg)?;
                Provider::Http(Box::new(http))
            }
        };
        providers.insert(id.as_str().into(), Arc::new(provider));
    }
    Ok(providers)
}

/// Ends the process at a place that a test names.
fn probe() -> Option<Probe> {
    let wanted = std::env::var(ABORT_AT).ok()?;
    tracing::warn!(place = %wanted, "for a test, this process will end by itself");
    Some(Arc::new(move |place, _| {
        if place == wanted {
            std::process::abort();
        }
        false
    }))
}

impl Service {
    /// Reads all facts and carries on what is not at rest; `None` if payments are turned off.
    pub(crate) async fn start(
        config: &PaymentsConfig,
        store: ControlStore,
        book: Arc<dyn CommandSink>,
        clock: Clock,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        if !config.enabled {
            return Ok(None);
        }
        let providers = connectors_of(config)?;
        let reading = store.clone();
        let directory = tokio::task::spawn_blocking(move || Directory::read(&reading)).await??;
        let facts = Facts { store, directory: Arc::new(directory) };
        let others = config.sandbox.then(|| Arc::new(Provider::Sandbox(Sandbox)));
        if config.sandbox {
            tracing::warn!("payments to providers without a connector are settled by the sandbox: for development");
        }
        let parts = BillParts { facts: facts.clone(), book, providers, others, clock: clock.clone(), probe: probe() };
        let options =
            RunnerOptions { concurrency: config.concurrency, attempts: config.attempts, ..RunnerOptions::default() };
        let runner = Runner::start(BillPayments::new(parts), options);
        let open: Vec<_> = facts.directory.all().into_iter().filter(|payment| !payment.is_at_rest()).collect();
        if !open.is_empty() {
            tracing::info!(payments = open.len(), "payments are carried on");
        }
        for payment in &open {
            runner.wake(payment.id());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let follower = tokio::spawn(follow(facts.clone(), runner.clone(), Arc::clone(&stop)));
        Ok(Some(Arc::new(Self { facts, runner, clock, stop, follower })))
    }

    /// Begins no further step, and waits for those under way.
    pub(crate) async fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.runner.stop().await;
        self.follower.abort();
    }
}

/// Takes facts of other processes, and tells how payments are.
async fn follow(facts: Facts, runner: Runner<BillPayments<Facts>>, stop: Arc<AtomicBool>) {
    metrics::describe_gauge!("doppia_payments_parked", "Bill payments that somebody has to look at");
    metrics::describe_gauge!("doppia_payments_active", "Bill payments that are not at rest");
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::Acquire) {
        look.tick().await;
        for id in facts.follow().await {
            if facts.directory.payment(id).is_some_and(|payment| !payment.is_at_rest()) {
                runner.wake(id);
            }
        }
        let status = runner.status();
        let active = status.queued + status.running + status.sleeping;
        metrics::gauge!("doppia_payments_active").set(u32::try_from(active).map_or(f64::MAX, f64::from));
        let parked = facts.directory.parked_count();
        metrics::gauge!("doppia_payments_parked").set(u32::try_from(parked).map_or(f64::MAX, f64::from));
    }
}

fn fault(fault: FactsFault) -> PaymentsFault {
    match fault {
        FactsFault::Rejected(rejection) => PaymentsFault::Rejected(rejection),
        FactsFault::Failed(_) | _ => PaymentsFault::Unavailable,
    }
}

impl Payments for Service {
    fn providers(&self) -> Vec<Arc<ProviderSet>> {
        self.facts.directory.providers()
    }

    fn provider(&self, id: &str) -> Option<Arc<ProviderSet>> {
        self.facts.directory.provider(id)
    }

    fn reaches(&self, provider: &str) -> bool {
        self.runner.workflow().provider(provider).is_some()
    }

    fn payment(&self, id: CommandId) -> Option<Arc<Payment>> {
        self.facts.directory.payment(id)
    }

    fn of_account(&self, account: AccountId, behind: Option<(Timestamp, CommandId)>, limit: usize) -> PaymentsPage {
        self.facts.directory.of_account(account, behind, limit)
    }

    fn request(&self, request: PaymentRequested) -> Later<'_, Result<(Arc<Payment>, bool), PaymentsFault>> {
        Box::pin(async move {
            let id = request.payment;
            let (payment, is_new) = self.facts.execute(id, PaymentCommand::Request(request)).await.map_err(fault)?;
            self.runner.wake(id);
            Ok((payment, !is_new))
        })
    }

    fn step(&self, id: CommandId, what: PaymentStep) -> Later<'_, Result<Arc<Payment>, PaymentsFault>> {
        Box::pin(async move {
            let command = PaymentCommand::Step { at: self.now(), what };
            let (payment, _) = self.facts.execute(id, command).await.map_err(fault)?;
            self.runner.wake(id);
            Ok(payment)
        })
    }

    fn wait(&self, id: CommandId, until: Until, at_most: Duration) -> Later<'_, Option<Arc<Payment>>> {
        Box::pin(self.facts.directory.wait(id, until, at_most))
    }

    fn callback<'a>(&'a self, callback: Callback<'a>) -> Later<'a, Result<(), CallbackFault>> {
        Box::pin(async move {
            let Callback { provider, id, timestamp, signature, body } = callback;
            let known = self.runner.workflow().provider(provider).map(|known| &**known);
            let Some(Provider::Http(http)) = known else { return Err(CallbackFault::Signature) };
            http.secret().check(id, timestamp, signature, body, self.now()).map_err(|_| CallbackFault::Signature)?;
            let payment = id.parse().ok().and_then(|id| self.facts.directory.payment(id));
            let own = payment.as_ref().and_then(|payment| payment.request.as_ref());
            let own = own.filter(|request| *request.provider == *provider).ok_or(CallbackFault::NotFound)?;
            let answer = read_answer(body, own.amount.currency).map_err(|_| CallbackFault::Malformed)?;
            let Some(what) = answer.step() else { return Ok(()) };
            match self.step(own.payment, what).await {
                Ok(_) => Ok(()),
                // Nobody has called the provider yet.
                Err(PaymentsFault::Rejected(PaymentRejection::Stale)) => Err(CallbackFault::NotFound),
                Err(_) => Err(CallbackFault::Unavailable),
            }
        })
    }

    fn now(&self) -> Timestamp {
        (self.clock.wall)()
    }
}
