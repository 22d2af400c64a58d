//! Somebody who keeps bill payments and does as told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use commands_api::bill_payments::{Callback, CallbackFault, Later, Payments, PaymentsFault, PaymentsPage, Until};
use event_schemas::control::{
    FieldKind, PaymentRequested, PaymentStep, ProviderCategory, ProviderField, ProviderSet, ProviderTerms,
};
use event_schemas::{AccountId, CommandId, Timestamp};
use ledger_core::control::Decider as _;
use ledger_core::control::payments::{Payment, PaymentCommand};

use super::NOON;

/// Keeps payments in memory, and carries none on. What is asked of it is refused if it has a fault.
pub struct Payer {
    pub fault: Option<PaymentsFault>,
    pub callback: Result<(), CallbackFault>,
    pub reaches: bool,
    pub enabled: bool,
    pub payments: Mutex<Vec<Arc<Payment>>>,
}

impl Default for Payer {
    fn default() -> Self {
        Self { fault: None, callback: Ok(()), reaches: true, enabled: true, payments: Mutex::default() }
    }
}

pub const BILL: &str =
    r#"{"account":"a:1","provider":"waterworks","amount":"10.00","currency":"EUR","details":{"number":"7"}}"#;

impl Payments for Payer {
    fn providers(&self) -> Vec<Arc<ProviderSet>> {
        self.provider("waterworks").into_iter().collect()
    }

    fn provider(&self, id: &str) -> Option<Arc<ProviderSet>> {
        let set = ProviderSet {
            provider: "waterworks".into(),
            name: "Water works".into(),
            category: ProviderCategory::Utilities,
            enabled: self.enabled,
            partial: false,
            payable: "payable:waterworks".into(),
            terms: vec![ProviderTerms {
                currency: "EUR".parse().unwrap(),
                fee_fixed_minor: 100,
                fee_rate_bp: 0,
                amount_min_minor: 100,
                amount_max_minor: 100_000,
            }],
            fields: vec![ProviderField {
                name: "number".into(),
                label: "Number".into(),
                required: true,
                kind: FieldKind::Digits,
                pattern: None,
                length_min: 1,
                length_max: 9,
            }],
            set_at: NOON,
            actor: "anna".into(),
            reason: "".into(),
        };
        (id == "waterworks").then(|| Arc::new(set))
    }

    fn reaches(&self, _: &str) -> bool {
        self.reaches
    }

    fn payment(&self, id: CommandId) -> Option<Arc<Payment>> {
        self.payments.lock().unwrap().iter().find(|payment| payment.id() == id).cloned()
    }

    fn of_account(&self, account: AccountId, _: Option<(Timestamp, CommandId)>, limit: usize) -> PaymentsPage {
        let payments = self.payments.lock().unwrap();
        let own = payments.iter().filter(|payment| payment.request.as_ref().is_some_and(|own| own.account == account));
        PaymentsPage { payments: own.take(limit).cloned().collect(), next: None }
    }

    fn request(&self, request: PaymentRequested) -> Later<'_, Result<(Arc<Payment>, bool), PaymentsFault>> {
        Box::pin(async move {
            if let Some(fault) = self.fault.clone() {
                return Err(fault);
            }
            let known = self.payment(request.payment);
            let mut payment = known.as_deref().cloned().unwrap_or_default();
            let events = payment.decide(&PaymentCommand::Request(request))?;
            for event in &events {
                payment.apply(event);
            }
            let payment = Arc::new(payment);
            self.payments.lock().unwrap().push(Arc::clone(&payment));
            Ok((payment, events.is_empty()))
        })
    }

    fn step(&self, id: CommandId, what: PaymentStep) -> Later<'_, Result<Arc<Payment>, PaymentsFault>> {
        Box::pin(async move {
            let mut payment = self.payment(id).as_deref().cloned().unwrap_or_default();
            for event in payment.decide(&PaymentCommand::Step { at: NOON, what })? {
                payment.apply(&event);
            }
            Ok(Arc::new(payment))
        })
    }

    fn wait(&self, id: CommandId, _: Until, _: Duration) -> Later<'_, Option<Arc<Payment>>> {
        Box::pin(async move { self.payment(id) })
    }

    fn callback<'a>(&'a self, _: Callback<'a>) -> Later<'a, Result<(), CallbackFault>> {
        Box::pin(async move { self.callback })
    }

    fn now(&self) -> Timestamp {
        NOON
    }
}
