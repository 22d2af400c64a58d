//! Bill payments as a model: two workers, a book, a provider and people, in every order that a generator can think of; shrunk to
//! the shortest one that goes wrong. The rules of payments and of the book are the real ones, the stores are in memory.
//!
//! A worker reads the payment, does what is due, and records what came of it: three steps, between which anything may happen, and
//! after each of which it may die. Two of them at once is more than a server has; it stands for a standby that took over from a
//! writer which does not know it yet.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::match_same_arms,
    clippy::wrong_self_convention
)]

use std::collections::BTreeMap;

use event_schemas::command::{AccountKind, BalancePolicy, CaptureHold, CashMove, OpenAccount, VoidHold};
use event_schemas::control::{PaymentRequested, PaymentStep};
use event_schemas::{
    AccountId, BookId, Command, CommandBody, CommandId, Currency, Event, EventBody, Money, PrincipalId, RecordedEvent,
    Rejection, Sequence, Timestamp,
};
use ledger_core::control::Decider as _;
use ledger_core::control::payments::{
    Due, Payment, PaymentCommand, PaymentEvent, PaymentRejection, Phase, Status, receipt_hash,
};
use ledger_core::decide::{Context, decide, named, next_expiry};
use ledger_core::state::State;
use proptest::prelude::*;

const ACTOR: PrincipalId = PrincipalId(0xac);
const PAYER: AccountId = AccountId(0xa);
const PAYMENT: CommandId = CommandId(0x0190_0000_0000_7000_8000_0000_0000_00f1);
const FUNDS_MINOR: i128 = 50_000;
const AMOUNT_MINOR: i128 = 12_050;
const FEE_MINOR: i128 = 100;
const PAYABLE: &str = "payable:waterworks:EUR";

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

/// The book: a verdict for every command, the same for ever.
struct Book {
    state: State,
    events: Vec<Event>,
    verdicts: BTreeMap<CommandId, u64>,
    now: Timestamp,
}

impl Book {
    fn new() -> Self {
        let now = Timestamp(1_795_262_400_000_000);
        let mut book = Self { state: State::new(), events: Vec::new(), verdicts: BTreeMap::new(), now };
        let open = |account, code: &str, kind, owner: &str, policy| {
            CommandBody::OpenAccount(OpenAccount {
                account,
                code: code.into(),
                kind,
                currency: eur(),
                owner: owner.into(),
                policy,
            })
        };
        let payable = AccountId::from_code(BookId::FIRST, PAYABLE);
        book.state
            .apply(&Event::engine(EventBody::BookOpened(event_schemas::event::BookOpened {
                book: BookId::FIRST,
                nonce: PrincipalId(1),
            })))
            .unwrap();
        book.done(1, open(PAYER, "", AccountKind::Liability, "customer:1", BalancePolicy::NO_OVERDRAFT));
        book.done(2, open(payable, PAYABLE, AccountKind::Liability, "", BalancePolicy::Unlimited));
        let cash = CashMove {
            account: PAYER,
            amount: Money::new(FUNDS_MINOR, eur()),
            fee_minor: Some(0),
            effective_on: None,
            reference: "".into(),
        };
        book.done(3, CommandBody::TopUp(cash));
        book
    }

    fn done(&mut self, id: u128, body: CommandBody) {
        let verdict = self.submit(&Command { id: CommandId(id), actor: ACTOR, body });
        assert_eq!(verdict.0, None);
    }

    fn recorded(&self, id: CommandId) -> Option<RecordedEvent> {
        let sequence = *self.verdicts.get(&id)?;
        Some(RecordedEvent {
            book: BookId::FIRST,
            sequence: Sequence(sequence),
            recorded_at: self.now,
            epoch: event_schemas::Epoch(1),
            event: self.events[usize::try_from(sequence).unwrap() - 1].clone(),
        })
    }

    /// The rejection, if it is one, and the sequence.
    fn submit(&mut self, command: &Command) -> (Option<Rejection>, Sequence) {
        if !self.verdicts.contains_key(&command.id) {
            while let Some(expiry) = next_expiry(&self.state, self.now) {
                for event in expiry.into_iter().map(Event::engine) {
                    self.state.apply(&event).unwrap();
                    self.events.push(event);
                }
            }
            let earlier = named(&self.state, &command.body).and_then(|id| self.recorded(id));
            let decision = decide(&self.state, Context { recorded_at: self.now, named: earlier.as_ref() }, command);
            for event in decision.events(command) {
                self.state.apply(&event).unwrap();
                self.events.push(event);
            }
            self.verdicts.insert(command.id, self.events.len() as u64);
        }
        let recorded = self.recorded(command.id).unwrap();
        let rejection = match recorded.event.body {
            EventBody::CommandRejected(rejected) => Some(rejected.rejection),
            _ => None,
        };
        (rejection, recorded.sequence)
    }

    fn balance(&self, account: AccountId) -> i128 {
        self.state.account(account).map_or(0, ledger_core::state::Account::balance_minor)
    }

    fn held(&self) -> i128 {
        self.state.account(PAYER).map_or(0, |account| account.debits_pending_minor)
    }
}

/// What the provider makes of a payment, whenever it hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Character {
    Takes,
    Refuses,
    TakesLess,
    TakesHalf,
}

#[derive(Debug, Clone, Copy)]
struct Scenario {
    character: Character,
    partial: bool,
    funds: bool,
}

/// What a worker has in mind.
#[derive(Debug, Clone, Default)]
enum Mind {
    #[default]
    Nothing,
    Read(Box<Payment>),
    /// Something to be recorded; and whether the provider is to be called once that is done.
    Did(PaymentCommand),
    /// The provider is to be called.
    Calls,
}

struct World {
    book: Book,
    payment: Payment,
    facts: Vec<PaymentEvent>,
    scenario: Scenario,
    /// What the provider has done: once.
    heard: bool,
    minds: [Mind; 2],
    /// Whether somebody ended the hold behind the workflow's back.
    meddled: bool,
    /// Whether the provider was made to say something that contradicts its deeds.
    lied: bool,
}

impl World {
    fn new(scenario: Scenario) -> Self {
        let mut world = Self {
            book: Book::new(),
            payment: Payment::default(),
            facts: Vec::new(),
            scenario,
            heard: false,
            minds: [Mind::Nothing, Mind::Nothing],
            meddled: false,
            lied: false,
        };
        let amount_minor = if scenario.funds { AMOUNT_MINOR } else { FUNDS_MINOR };
        let request = PaymentRequested {
            payment: PAYMENT,
            book: BookId::FIRST,
            provider: "waterworks".into(),
            account: PAYER,
            amount: Money::new(amount_minor, eur()),
            fee_minor: FEE_MINOR,
            payable: PAYABLE.into(),
            partial: scenario.partial,
            details: Vec::new(),
            actor: ACTOR,
            requested_at: world.book.now,
        };
        world.record(PaymentCommand::Request(request.clone())).unwrap();
        world.record(PaymentCommand::Request(request)).unwrap();
        assert_eq!(world.facts.len(), 1, "asked for twice is asked for once");
        world
    }

    fn amount(&self) -> i128 {
        self.payment.request.as_ref().unwrap().amount.amount_minor
    }

    fn record(&mut self, command: PaymentCommand) -> Result<(), PaymentRejection> {
        let events = self.payment.decide(&command)?;
        for event in events {
            // What is recorded is what the rules allow there: verify would find anything else.
            let mut twin = self.payment.clone();
            twin.take(&event.clone().into())
                .unwrap_or_else(|what| panic!("{what}: {event:?} at {:?}", self.payment.phase));
            self.payment.apply(&event);
            assert_eq!(twin, self.payment);
            self.facts.push(event);
        }
        Ok(())
    }

    fn step(&mut self, what: PaymentStep) -> Result<(), PaymentRejection> {
        self.record(PaymentCommand::Step { at: self.book.now, what })
    }

    /// What the provider did, if it heard of the payment.
    fn taken(&self) -> Option<i128> {
        if !self.heard {
            return None;
        }
        match self.scenario.character {
            Character::Takes => Some(self.amount()),
            Character::Refuses => None,
            Character::TakesLess => Some(self.amount() - 1),
            Character::TakesHalf => Some(self.amount() / 2),
        }
    }

    fn says(&self) -> PaymentStep {
        match self.taken() {
            Some(amount_minor) => PaymentStep::ProviderAccepted { reference: "W".into(), amount_minor },
            None => PaymentStep::ProviderRefused { reference: "W".into(), code: "no".into() },
        }
    }

    /// The next of the three steps of a worker.
    fn works(&mut self, worker: usize, answer_is_lost: bool) {
        let step = |at, what| Mind::Did(PaymentCommand::Step { at, what });
        let now = self.book.now;
        self.minds[worker] = match std::mem::take(&mut self.minds[worker]) {
            Mind::Nothing => Mind::Read(Box::new(self.payment.clone())),
            Mind::Calls => {
                self.heard = true;
                let what =
                    if answer_is_lost { PaymentStep::ProviderUnknown { code: "timeout".into() } } else { self.says() };
                step(now, what)
            }
            Mind::Read(payment) => match payment.due() {
                None => Mind::Nothing,
                Some(Due::PlaceHold(hold)) => match self.book.submit(&hold) {
                    (None, sequence) => Mind::Did(PaymentCommand::HeldAndCalled { at: now, sequence }),
                    (Some(rejection), sequence) => {
                        step(now, PaymentStep::HoldRefused { sequence, code: rejection.code().into() })
                    }
                },
                Some(Due::CallProvider) => step(now, PaymentStep::ProviderCalled),
                Some(Due::AskProvider) if answer_is_lost => {
                    step(now, PaymentStep::ProviderUnknown { code: "timeout".into() })
                }
                Some(Due::AskProvider) if self.heard => step(now, self.says()),
                Some(Due::AskProvider) => step(now, PaymentStep::ProviderCalled),
                Some(Due::Capture(capture)) => {
                    let (command, amount_minor) = (capture.id, payment.answer.unwrap().amount_minor.unwrap());
                    match self.book.submit(&capture) {
                        (None, sequence) => step(now, PaymentStep::Captured { command, sequence, amount_minor }),
                        (Some(rejection), sequence) => step(now, refused(command, sequence, &rejection)),
                    }
                }
                Some(Due::Void(void)) => {
                    let command = void.id;
                    match self.book.submit(&void) {
                        (None, sequence) => step(now, PaymentStep::Voided { command, sequence }),
                        (Some(rejection), sequence) => step(now, refused(command, sequence, &rejection)),
                    }
                }
                Some(Due::Reverse(reverse)) => {
                    let command = reverse.id;
                    match self.book.submit(&reverse) {
                        (None, sequence) => step(now, PaymentStep::Reversed { command, sequence }),
                        (Some(rejection), sequence) => step(now, refused(command, sequence, &rejection)),
                    }
                }
            },
            Mind::Did(command) => {
                let calls = match &command {
                    PaymentCommand::HeldAndCalled { .. } => true,
                    PaymentCommand::Step { what, .. } => *what == PaymentStep::ProviderCalled,
                    PaymentCommand::Request(_) => false,
                };
                let recorded = self.record(command);
                if recorded.is_ok() && calls && self.payment.phase == Phase::Called {
                    Mind::Calls
                } else {
                    Mind::Nothing
                }
            }
        };
    }

    fn acts(&mut self, action: Action) {
        match action {
            Action::Works { worker, answer_is_lost } => self.works(usize::from(worker), answer_is_lost),
            Action::Dies { worker } => self.minds[usize::from(worker)] = Mind::Nothing,
            Action::Cancel => {
                let _ = self.step(PaymentStep::CancelRequested { actor: ACTOR, reason: "".into() });
            }
            Action::Reverse => {
                let _ = self.step(PaymentStep::ReversalRequested { actor: ACTOR, reason: "".into() });
            }
            Action::Callback { truly } => {
                let says = self.says();
                let what = if truly {
                    says
                } else {
                    match says {
                        PaymentStep::ProviderRefused { .. } => {
                            PaymentStep::ProviderAccepted { reference: "W".into(), amount_minor: self.amount() + 1 }
                        }
                        _ => PaymentStep::ProviderRefused { reference: "X".into(), code: "late".into() },
                    }
                };
                // A provider that has not heard of a payment has nothing to say of it.
                if self.heard {
                    self.lied |= !truly;
                    let _ = self.step(what);
                }
            }
            Action::Resume => {
                let _ = self.step(PaymentStep::Resumed { actor: "anna".into(), reason: "".into() });
            }
            Action::Park => {
                let _ = self.step(PaymentStep::Parked { code: "x".into(), detail: "".into() });
            }
            Action::TimePasses => self.book.now = Timestamp(self.book.now.0 + 40 * 86_400_000_000),
            Action::Meddle { captures } => {
                let hold = self.payment.hold_id();
                let id = CommandId(0x0bad + u128::from(captures));
                let body = if captures {
                    CommandBody::CaptureHold(CaptureHold {
                        hold,
                        to: AccountId::from_code(BookId::FIRST, PAYABLE),
                        amount: Money::new(1, eur()),
                        fee_minor: Some(0),
                        last: false,
                        effective_on: None,
                        reference: "".into(),
                    })
                } else {
                    CommandBody::VoidHold(VoidHold { hold, reason: "".into() })
                };
                let (rejection, _) = self.book.submit(&Command { id, actor: ACTOR, body });
                self.meddled |= rejection.is_none();
            }
        }
        self.check();
    }

    /// What holds at every moment.
    fn check(&self) {
        let captures = self.book.events.iter().filter(|event| matches!(event.body, EventBody::HoldCaptured(_))).count();
        let meddled = usize::from(self.meddled);
        assert!(captures <= 1 + meddled, "captured {captures} times");
        let count =
            |wanted: fn(&EventBody) -> bool| self.book.events.iter().filter(|event| wanted(&event.body)).count();
        assert!(count(|body| matches!(body, EventBody::HoldPlaced(_))) <= 1, "held twice");
        assert!(count(|body| matches!(body, EventBody::EntryReversed(_))) <= 1, "taken back twice");
        let total: i128 = self
            .book
            .state
            .accounts()
            .iter()
            .map(|account| match account.kind.normal_side() {
                event_schemas::Side::Debit => account.balance_minor(),
                event_schemas::Side::Credit => -account.balance_minor(),
            })
            .sum();
        assert_eq!(total, 0, "the book balances");
        if self.payment.captured.is_some() {
            assert!(self.payment.receipt.is_some(), "what is captured has a receipt");
        }
        if self.meddled || !self.payment.is_at_rest() || self.payment.parked.is_some() {
            return;
        }
        let paid = self.payment.captured.map_or(0, |captured| captured.amount_minor);
        let (spent, owed) = match self.payment.status() {
            Status::Success => (paid + FEE_MINOR, paid),
            Status::Pending | Status::Failed | Status::Canceled | Status::Reversed => (0, 0),
        };
        let payable = AccountId::from_code(BookId::FIRST, PAYABLE);
        // A worker may have done what it has not recorded only where something is still due.
        assert_eq!(
            (self.book.balance(PAYER), self.book.balance(payable), self.book.held()),
            (FUNDS_MINOR - spent, owed, 0),
            "{:?}: {:?}",
            self.payment.status(),
            self.payment.steps
        );
        match self.payment.status() {
            Status::Success => assert!(self.lied || self.taken() == Some(paid), "paid what was not taken"),
            Status::Failed | Status::Canceled => {
                assert!(self.lied || self.taken().is_none(), "the provider took what was not paid");
            }
            Status::Reversed => {}
            Status::Pending => panic!("at rest and pending"),
        }
    }

    /// One worker, to the end; whoever parks it looks at it and lets it go on, but not for ever.
    fn to_the_end(&mut self) {
        self.minds = [Mind::Nothing, Mind::Nothing];
        for _ in 0..3 {
            for _ in 0..64 {
                self.acts(Action::Works { worker: 0, answer_is_lost: false });
            }
            if self.payment.parked.is_none() {
                break;
            }
            let _ = self.step(PaymentStep::Resumed { actor: "anna".into(), reason: "".into() });
        }
        for _ in 0..64 {
            self.acts(Action::Works { worker: 0, answer_is_lost: false });
        }
        let explained = self.payment.parked.is_some() || self.payment.is_at_rest();
        assert!(explained, "it never ends: {:?}", self.payment.steps);
        if let Some(parked) = &self.payment.parked {
            let why = &parked.code;
            let differs = !self.payment.contradictions.is_empty();
            assert!(differs || self.meddled || &**why == "x", "parked for no reason: {why}");
        }
        if let Some(receipt) = &self.payment.receipt {
            // The receipt can be checked by anybody who has the facts.
            let mut again = Payment::default();
            for fact in &self.facts {
                again.take(&fact.clone().into()).unwrap();
                if again.captured.is_some() {
                    break;
                }
            }
            let sequence = again.captured.unwrap().sequence;
            assert_eq!(receipt.hash, receipt_hash(again.chain, BookId::FIRST, sequence));
        }
    }
}

fn refused(command: CommandId, sequence: Sequence, rejection: &Rejection) -> PaymentStep {
    PaymentStep::BookRefused { command, sequence, code: rejection.code().into() }
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Works { worker: u8, answer_is_lost: bool },
    Dies { worker: u8 },
    Cancel,
    Reverse,
    Callback { truly: bool },
    Resume,
    Park,
    TimePasses,
    Meddle { captures: bool },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        24 => (0_u8..2, prop::bool::weighted(0.2))
            .prop_map(|(worker, answer_is_lost)| Action::Works { worker, answer_is_lost }),
        3 => (0_u8..2).prop_map(|worker| Action::Dies { worker }),
        2 => Just(Action::Cancel),
        2 => Just(Action::Reverse),
        2 => prop::bool::weighted(0.8).prop_map(|truly| Action::Callback { truly }),
        1 => Just(Action::Resume),
        1 => Just(Action::Park),
        1 => Just(Action::TimePasses),
        1 => prop::bool::weighted(0.5).prop_map(|captures| Action::Meddle { captures }),
    ]
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let character = prop::sample::select(vec![
        Character::Takes,
        Character::Takes,
        Character::Refuses,
        Character::TakesLess,
        Character::TakesHalf,
    ]);
    (character, any::<bool>(), prop::bool::weighted(0.9)).prop_map(|(character, partial, funds)| Scenario {
        character,
        partial,
        funds,
    })
}

fn cases() -> u32 {
    std::env::var("INTERLEAVINGS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_things_moves_money_twice_or_loses_it(
        scenario in scenario(),
        actions in proptest::collection::vec(action(), 0..48),
    ) {
        let mut world = World::new(scenario);
        for action in actions {
            world.acts(action);
        }
        world.to_the_end();
    }
}

#[test]
fn the_straight_ways() {
    for (character, partial, funds, expected, balance) in [
        (Character::Takes, false, true, Status::Success, FUNDS_MINOR - AMOUNT_MINOR - FEE_MINOR),
        (Character::Refuses, false, true, Status::Failed, FUNDS_MINOR),
        (Character::TakesHalf, true, true, Status::Success, FUNDS_MINOR - AMOUNT_MINOR / 2 - FEE_MINOR),
        (Character::TakesHalf, false, true, Status::Pending, FUNDS_MINOR),
        (Character::TakesLess, false, true, Status::Pending, FUNDS_MINOR),
        (Character::Takes, false, false, Status::Failed, FUNDS_MINOR),
    ] {
        let mut world = World::new(Scenario { character, partial, funds });
        world.to_the_end();
        let told = (world.payment.status(), world.book.balance(PAYER));
        assert_eq!(told, (expected, balance), "{character:?} {partial}: {:?}", world.payment.steps);
        let parked = world.payment.parked.as_ref().map(|parked| &*parked.code);
        assert_eq!(parked, (expected == Status::Pending).then_some("provider_amount_differs"));
        assert_eq!(
            world.payment.failed.as_deref(),
            match (expected, funds) {
                (Status::Failed, false) => Some("insufficient_funds"),
                (Status::Failed, true) => Some("no"),
                _ => None,
            }
        );
    }
}

#[test]
fn what_is_too_late_or_too_early_is_refused() {
    let mut world = World::new(Scenario { character: Character::Takes, partial: false, funds: true });
    let reverse = || PaymentStep::ReversalRequested { actor: ACTOR, reason: "".into() };
    let cancel = || PaymentStep::CancelRequested { actor: ACTOR, reason: "".into() };
    assert_eq!(world.step(reverse()), Err(PaymentRejection::NotReversible(Status::Pending)));
    let early = PaymentStep::ProviderAccepted { reference: "W".into(), amount_minor: AMOUNT_MINOR };
    assert_eq!(world.step(early), Err(PaymentRejection::Stale), "nobody has called it");
    world.to_the_end();
    assert_eq!(world.step(cancel()), Err(PaymentRejection::NotCancelable(Status::Success)));
    let facts = world.facts.len();
    let other = PaymentStep::ProviderRefused { reference: "X".into(), code: "late".into() };
    for _ in 0..3 {
        world.step(other.clone()).unwrap();
    }
    assert_eq!((world.facts.len(), world.payment.status()), (facts + 1, Status::Success), "recorded once, and no more");
    for _ in 0..3 {
        world.step(reverse()).unwrap();
        world.to_the_end();
    }
    assert_eq!((world.payment.status(), world.book.balance(PAYER)), (Status::Reversed, FUNDS_MINOR));
    assert_eq!(
        Payment::default().decide(&PaymentCommand::Step { at: Timestamp(0), what: cancel() }),
        Err(PaymentRejection::NotFound)
    );
}
