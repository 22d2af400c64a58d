//! Payments and providers as the facts tell them, in memory: what queries are answered from, and where the runner looks.
//!
//! Facts come by two ways: at once from the commands that this process carries out, and from the tail, which has those of other
//! processes too. Each fact has its number among those of its payment, so each is applied once, in order, whichever way it came.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use commands_api::bill_payments::{PaymentsPage, Until};
use event_schemas::control::{PaymentStep, ProviderSet};
use event_schemas::{AccountId, CommandId, ControlFact, Timestamp};
use ledger_core::control::Decider as _;
use ledger_core::control::payments::{Payment, PaymentEvent};
use stores::control::{ControlFault, ControlPosition, ControlStore};
use tokio::sync::Notify;

#[derive(Default)]
struct Inner {
    payments: HashMap<CommandId, Arc<Payment>>,
    by_account: BTreeMap<AccountId, BTreeSet<(Timestamp, CommandId)>>,
    providers: BTreeMap<Box<str>, Arc<ProviderSet>>,
    parked: BTreeSet<CommandId>,
    waiters: HashMap<CommandId, Arc<Notify>>,
    position: ControlPosition,
}

/// All payments and providers.
#[derive(Default)]
pub(crate) struct Directory(Mutex<Inner>);

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("payments", &self.inner().payments.len()).finish_non_exhaustive()
    }
}

impl Directory {
    /// All that is on record.
    pub(crate) fn read(store: &ControlStore) -> Result<Self, ControlFault> {
        let directory = Self::default();
        directory.follow(store)?;
        Ok(directory)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is new in the tail; gives the payments that changed by it. It waits for disk or server.
    pub(crate) fn follow(&self, store: &ControlStore) -> Result<Vec<CommandId>, ControlFault> {
        let mut changed = BTreeSet::new();
        loop {
            let position = self.inner().position;
            let rows = store.tail(position)?;
            if rows.is_empty() {
                return Ok(changed.into_iter().collect());
            }
            let mut inner = self.inner();
            for row in rows {
                inner.position = inner.position.max(row.position);
                match row.fact {
                    ControlFact::ProviderSet(set) => {
                        inner.providers.insert(set.provider.clone(), Arc::new(set));
                    }
                    fact @ (ControlFact::PaymentRequested(_) | ControlFact::PaymentStepped(_)) => {
                        if let Ok(event) = PaymentEvent::try_from(fact)
                            && let Some(id) = inner.take(row.version, &event)
                        {
                            changed.insert(id);
                        }
                    }
                    ControlFact::ApiKeyIssued(_) | ControlFact::ApiKeyRevoked(_) | ControlFact::ApiKeyScopesSet(_) => {}
                }
            }
        }
    }

    /// Takes events that were just stored. Gives whether none is missing between what is known and these.
    pub(crate) fn take(&self, events: &[(u64, PaymentEvent)]) -> bool {
        let mut inner = self.inner();
        events.iter().all(|(version, event)| {
            inner.take(*version, event);
            inner.payments.get(&id_of(event)).is_some_and(|payment| payment.version >= *version)
        })
    }

    pub(crate) fn payment(&self, id: CommandId) -> Option<Arc<Payment>> {
        self.inner().payments.get(&id).cloned()
    }

    pub(crate) fn providers(&self) -> Vec<Arc<ProviderSet>> {
        self.inner().providers.values().cloned().collect()
    }

    pub(crate) fn provider(&self, id: &str) -> Option<Arc<ProviderSet>> {
        self.inner().providers.get(id).cloned()
    }

    /// All payments, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Payment>> {
        self.inner().payments.values().cloned().collect()
    }

    /// Those that go no further by themselves.
    pub(crate) fn parked(&self) -> Vec<Arc<Payment>> {
        let inner = self.inner();
        inner.parked.iter().filter_map(|id| inner.payments.get(id).cloned()).collect()
    }

    pub(crate) fn parked_count(&self) -> usize {
        self.inner().parked.len()
    }

    pub(crate) fn of_account(
        &self,
        account: AccountId,
        behind: Option<(Timestamp, CommandId)>,
        limit: usize,
    ) -> PaymentsPage {
        let inner = self.inner();
        let Some(own) = inner.by_account.get(&account) else { return PaymentsPage::default() };
        let upper = behind.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut found: Vec<_> = own.range((std::ops::Bound::Unbounded, upper)).rev().take(limit + 1).copied().collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let payments = found.iter().filter_map(|(_, id)| inner.payments.get(id).cloned()).collect();
        PaymentsPage { payments, next: found.last().copied().filter(|_| more) }
    }

    /// Waits until a payment is so far, but no longer than this; gives it as it is then.
    pub(crate) async fn wait(&self, id: CommandId, until: Until, at_most: Duration) -> Option<Arc<Payment>> {
        let deadline = tokio::time::Instant::now() + at_most;
        loop {
            let notify;
            let changed = {
                let mut inner = self.inner();
                let payment = inner.payments.get(&id)?;
                if until.is_so(payment) {
                    return Some(Arc::clone(payment));
                }
                notify = Arc::clone(inner.waiters.entry(id).or_default());
                // It is told of every change from here on, whether it has been polled or not.
                notify.notified()
            };
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let mut inner = self.inner();
                // Nobody else waits: this one's handle and the map's.
                if inner.waiters.get(&id).is_some_and(|known| Arc::strong_count(known) <= 2) {
                    inner.waiters.remove(&id);
                }
                return inner.payments.get(&id).cloned();
            }
        }
    }
}

fn id_of(event: &PaymentEvent) -> CommandId {
    match event {
        PaymentEvent::Requested(requested) => requested.payment,
        PaymentEvent::Stepped(stepped) => stepped.payment,
    }
}

impl Inner {
    /// Applies an event, if it is the next of its payment; gives the payment then.
    fn take(&mut self, version: u64, event: &PaymentEvent) -> Option<CommandId> {
        let id = id_of(event);
        let payment = self.payments.entry(id).or_default();
        if version != payment.version + 1 {
            return None;
        }
        // Whoever holds an older state keeps it.
        Arc::make_mut(payment).apply(event);
        match event {
            PaymentEvent::Requested(requested) => {
                self.by_account.entry(requested.account).or_default().insert((requested.requested_at, id));
            }
            PaymentEvent::Stepped(stepped) => {
                if let PaymentStep::Contradicted { code, .. } = &stepped.what {
                    tracing::error!(payment = %id, %code, "ALARM: a provider contradicts itself; no money was moved by it");
                }
            }
        }
        if payment.parked.is_some() {
            self.parked.insert(id);
        } else {
            self.parked.remove(&id);
        }
        if let Some(waiting) = self.waiters.remove(&id) {
            waiting.notify_waiters();
        }
        Some(id)
    }
}
