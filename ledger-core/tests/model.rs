//! Random streams of commands through `decide` and `apply`, against a second bookkeeper that was written from the rules
//! and not from the code: it collects every condition that holds and answers with the one of the lowest number.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod desk;

use std::collections::BTreeMap;

use desk::streams::{CODES, stream, system};
use desk::{ACTOR, BOOK, Desk, NOON};
use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{AccountKind, BalancePolicy, OpenAccount};
use event_schemas::{
    AccountId, CivilDate, Command, CommandBody, CommandId, Currency, Event, EventBody, Money, Posting, Rejection, Side,
    Timestamp, testing,
};
use ledger_core::decide::{Context, decide};
use ledger_core::state::State;
use proptest::prelude::*;

/// The second bookkeeper.
#[derive(Default)]
struct Model {
    accounts: BTreeMap<AccountId, Page>,
}

#[derive(Clone)]
struct Page {
    currency: Currency,
    kind: AccountKind,
    policy: BalancePolicy,
    frozen: bool,
    closed: bool,
    balance_minor: i128,
}

impl Page {
    fn room_minor(&self) -> Option<i128> {
        match self.policy {
            BalancePolicy::Unlimited => None,
            BalancePolicy::Limited { overdraft_minor } => Some(self.balance_minor + overdraft_minor),
        }
    }
}

fn raises(kind: AccountKind, side: Side) -> i128 {
    let debit_raises = matches!(kind, AccountKind::Asset | AccountKind::Expense);
    if (side == Side::Debit) == debit_raises { 1 } else { -1 }
}

impl Model {
    fn say(&mut self, body: &CommandBody) -> Result<(), Rejection> {
        match body {
            CommandBody::OpenAccount(open) => self.open(open),
            CommandBody::FreezeAccount(act) => self.act(act.account, |page, refused| {
                if page.frozen {
                    refused.push(Rejection::AccountFrozen { account: act.account });
                }
                page.frozen = true;
            }),
            CommandBody::UnfreezeAccount(act) => self.act(act.account, |page, refused| {
                if !page.frozen {
                    refused.push(Rejection::AccountNotFrozen { account: act.account });
                }
                page.frozen = false;
            }),
            CommandBody::CloseAccount(act) => self.act(act.account, |page, refused| {
                if page.balance_minor != 0 {
                    let balance_minor = page.balance_minor;
                    refused.push(Rejection::AccountNotEmpty { account: act.account, balance_minor });
                }
                page.closed = true;
            }),
            CommandBody::TopUp(cash) => {
                let clearing = system("psp-clearing", cash.amount.currency);
                let fee = Money::new(cash.fee_minor, cash.amount.currency);
                let postings = [
                    Posting::debit(clearing, cash.amount),
                    Posting::credit(cash.account, cash.amount),
                    Posting::debit(cash.account, fee),
                    Posting::credit(system("income-fee", fee.currency), fee),
                ];
                self.money(cash.amount, fee, cash.effective_on, (cash.account, clearing), true, &postings)
            }
            CommandBody::Withdraw(cash) => {
                let clearing = system("psp-clearing", cash.amount.currency);
                let fee = Money::new(cash.fee_minor, cash.amount.currency);
                let postings = [
                    Posting::debit(cash.account, cash.amount),
                    Posting::debit(cash.account, fee),
                    Posting::credit(clearing, cash.amount),
                    Posting::credit(system("income-fee", fee.currency), fee),
                ];
                self.money(cash.amount, fee, cash.effective_on, (cash.account, clearing), true, &postings)
            }
            CommandBody::PostTransfer(transfer) => {
                let fee = Money::new(transfer.fee_minor, transfer.amount.currency);
                let postings = [
                    Posting::debit(transfer.from, transfer.amount),
                    Posting::debit(transfer.from, fee),
                    Posting::credit(transfer.to, transfer.amount),
                    Posting::credit(system("income-fee", fee.currency), fee),
                ];
                let parties = (transfer.from, transfer.to);
                self.money(transfer.amount, fee, transfer.effective_on, parties, false, &postings)
            }
            CommandBody::PostEntry(entry) => {
                let mut refused = Vec::new();
                if entry.postings.len() < 2 {
                    let count = u32::try_from(entry.postings.len()).unwrap();
                    refused.push(Rejection::PostingsOutOfBounds { count });
                }
                for posting in &entry.postings {
                    amount(posting.money.amount_minor, 1, &mut refused);
                }
                date(entry.effective_on, &mut refused);
                self.postings(&entry.postings, refused)
            }
        }
    }

    fn open(&mut self, open: &OpenAccount) -> Result<(), Rejection> {
        let mut refused = Vec::new();
        if let BalancePolicy::Limited { overdraft_minor } = open.policy {
            amount(overdraft_minor, 0, &mut refused);
        }
        let followed =
            CODES.iter().any(|code| **code == *open.code && AccountId::from_code(BOOK, code) == open.account);
        let bare = open.code.is_empty() && open.account.0 < 100;
        if !followed && !bare {
            refused.push(Rejection::AccountCodeInvalid);
        }
        if self.accounts.contains_key(&open.account) {
            refused.push(Rejection::AccountExists { account: open.account });
        }
        first(refused)?;
        self.insert(open.account, open.kind, open.currency, open.policy);
        Ok(())
    }

    fn insert(&mut self, id: AccountId, kind: AccountKind, currency: Currency, policy: BalancePolicy) {
        let page = Page { currency, kind, policy, frozen: false, closed: false, balance_minor: 0 };
        self.accounts.insert(id, page);
    }

    fn act(&mut self, id: AccountId, act: impl Fn(&mut Page, &mut Vec<Rejection>)) -> Result<(), Rejection> {
        let page = self.accounts.get_mut(&id).ok_or(Rejection::AccountNotFound { account: id })?;
        let mut refused = Vec::new();
        if page.closed {
            refused.push(Rejection::AccountClosed { account: id });
        }
        let mut after = page.clone();
        act(&mut after, &mut refused);
        first(refused)?;
        *page = after;
        Ok(())
    }

    fn money(
        &mut self,
        money: Money,
        fee: Money,
        effective_on: Option<CivilDate>,
        parties: (AccountId, AccountId),
        cash: bool,
        postings: &[Posting],
    ) -> Result<(), Rejection> {
        let mut refused = Vec::new();
        amount(money.amount_minor, 1, &mut refused);
        amount(fee.amount_minor, 0, &mut refused);
        if money.amount_minor.saturating_add(fee.amount_minor) > AMOUNT_MAX_MINOR {
            refused.push(Rejection::AmountTooLarge);
        }
        date(effective_on, &mut refused);
        if parties.0 == parties.1 {
            refused.push(Rejection::SameAccount { account: parties.0 });
        }
        let moved: Vec<_> = postings.iter().filter(|posting| posting.money.amount_minor > 0).copied().collect();
        let kept = self.accounts.clone();
        // The book opens its own accounts on first use: clearing if money enters or leaves, income if there is a fee.
        let clearing = system("psp-clearing", money.currency);
        if cash && !self.accounts.contains_key(&clearing) {
            self.insert(clearing, AccountKind::Asset, money.currency, BalancePolicy::Unlimited);
        }
        let income = system("income-fee", money.currency);
        if fee.amount_minor > 0 && !self.accounts.contains_key(&income) {
            self.insert(income, AccountKind::Income, money.currency, BalancePolicy::Unlimited);
        }
        let said = self.postings(&moved, refused);
        if said.is_err() {
            self.accounts = kept;
        }
        said
    }

    fn postings(&mut self, postings: &[Posting], mut refused: Vec<Rejection>) -> Result<(), Rejection> {
        for posting in postings {
            let account = posting.account;
            let Some(page) = self.accounts.get(&account) else {
                refused.push(Rejection::AccountNotFound { account });
                continue;
            };
            if page.closed {
                refused.push(Rejection::AccountClosed { account });
            }
            if page.frozen {
                refused.push(Rejection::AccountFrozen { account });
            }
            if page.currency != posting.money.currency {
                refused.push(Rejection::CurrencyMismatch { account, account_currency: page.currency });
            }
        }
        for posting in postings {
            let of_currency = postings.iter().filter(|other| other.money.currency == posting.money.currency);
            let of_side = |side| {
                of_currency
                    .clone()
                    .filter(|other| other.side == side)
                    .fold(0_i128, |sum, other| sum.saturating_add(other.money.amount_minor))
            };
            let (debits_minor, credits_minor) = (of_side(Side::Debit), of_side(Side::Credit));
            if debits_minor != credits_minor {
                refused.push(Rejection::EntryUnbalanced {
                    currency: posting.money.currency,
                    debits_minor,
                    credits_minor,
                });
            }
        }
        let mut after = self.accounts.clone();
        for posting in postings {
            if let Some(page) = after.get_mut(&posting.account) {
                let change = posting.money.amount_minor.saturating_mul(raises(page.kind, posting.side));
                page.balance_minor = page.balance_minor.saturating_add(change);
            }
        }
        for posting in postings {
            let account = posting.account;
            if let (Some(before), Some(after)) = (self.accounts.get(&account), after.get(&account)) {
                let required_minor = before.balance_minor.saturating_sub(after.balance_minor);
                if let Some(available_minor) = before.room_minor()
                    && required_minor > 0
                    && after.room_minor().unwrap() < 0
                {
                    refused.push(Rejection::InsufficientFunds { account, available_minor, required_minor });
                }
            }
        }
        first(refused)?;
        self.accounts = after;
        Ok(())
    }
}

fn amount(minor: i128, least: i128, refused: &mut Vec<Rejection>) {
    if minor < least {
        refused.push(Rejection::AmountNotPositive);
    }
    if minor > AMOUNT_MAX_MINOR {
        refused.push(Rejection::AmountTooLarge);
    }
}

fn date(named: Option<CivilDate>, refused: &mut Vec<Rejection>) {
    let (earliest, latest) = (CivilDate::from_ymd(1900, 1, 1).unwrap(), CivilDate::from_ymd(2027, 11, 22).unwrap());
    if named.is_some_and(|date| date < earliest || date > latest) {
        refused.push(Rejection::EffectiveDateOutOfRange { earliest, latest });
    }
}

/// The condition of the lowest number; of several, the one met first.
fn first(refused: Vec<Rejection>) -> Result<(), Rejection> {
    refused.into_iter().min_by_key(Rejection::number).map_or(Ok(()), Err)
}

/// Decides and applies a stream and gives its events, digesting and recording at the times given.
fn run(commands: &[CommandBody], digest_at: &[bool], times: &[i64]) -> (State, Vec<Event>) {
    let mut state = Desk::new().state;
    let mut events = Vec::new();
    for (place, body) in commands.iter().enumerate() {
        let command = Command { id: CommandId(place as u128), actor: ACTOR, body: body.clone() };
        let time = times.get(place % times.len().max(1)).copied().unwrap_or(0);
        let decision = decide(&state, Context::at(Timestamp(NOON.0 + time)), &command);
        let opens = decision.opens.into_iter().map(EventBody::AccountOpened);
        for body in opens.chain([decision.verdict]) {
            let event = Event::engine(body);
            state.apply(&event).unwrap();
            events.push(event);
        }
        if digest_at.get(place % digest_at.len().max(1)) == Some(&true) {
            state.digest();
        }
    }
    (state, events)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn book_auditor_and_second_bookkeeper_agree(commands in stream()) {
        let mut desk = Desk::new();
        let mut model = Model::default();
        for body in commands {
            let expected = model.say(&body);
            let decision = desk.give(body.clone());
            let said = match decision.verdict {
                EventBody::CommandRejected(rejected) => Err(rejected.rejection),
                _ => Ok(()),
            };
            prop_assert_eq!(said, expected, "{:?}", body);
        }
        prop_assert_eq!(desk.state.accounts().len(), model.accounts.len());
        for (id, page) in &model.accounts {
            prop_assert_eq!(desk.state.account(*id).unwrap().balance_minor(), page.balance_minor);
            prop_assert_eq!(desk.auditor.balances()[id].balance_minor(), page.balance_minor);
        }
        prop_assert_eq!(desk.auditor.digest(), desk.state.digest());
        prop_assert!(desk.auditor.trial_balance().values().all(|(debits, credits)| debits == credits));
        desk.auditor.finish();
        prop_assert_eq!(desk.auditor.findings(), []);
    }

    #[test]
    fn cuts_times_and_restarts_do_not_show(
        commands in stream(),
        digest_at in prop::collection::vec(any::<bool>(), 1..7),
        times in prop::collection::vec(0..3_600_000_000_i64, 1..5),
        at in any::<prop::sample::Index>(),
    ) {
        let (mut once, events) = run(&commands, &[], &[]);
        let (mut cut, other) = run(&commands, &digest_at, &times);
        // Within the day, the time of recording shows nowhere: the same events, the same digest.
        prop_assert_eq!(&events, &other);
        prop_assert_eq!(once.digest(), cut.digest());
        // A checkpoint anywhere, and the tail applied to it, is the same state.
        let mut state = Desk::new().state;
        let at = at.index(events.len());
        events[..at].iter().for_each(|event| state.apply(event).unwrap());
        let bytes = state.encode();
        let mut restarted = State::decode(&bytes).unwrap();
        prop_assert_eq!(restarted.encode(), bytes);
        prop_assert_eq!(restarted.digest(), state.digest());
        events[at..].iter().for_each(|event| restarted.apply(event).unwrap());
        prop_assert_eq!(restarted.digest(), once.digest());
        prop_assert_eq!(restarted.accounts(), once.accounts());
    }

    #[test]
    fn any_command_gets_a_verdict(bodies in prop::collection::vec(testing::command_body(), 1..20)) {
        // Whatever the journal can hold, sensible or not: a verdict, never a panic, and no law broken.
        let mut desk = Desk::new();
        for body in bodies {
            desk.give(body);
        }
        desk.auditor.finish();
        prop_assert_eq!(desk.auditor.findings(), []);
    }

    #[test]
    fn a_damaged_checkpoint_is_refused_or_has_another_digest(
        commands in stream(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let (mut state, _) = run(&commands, &[], &[]);
        let mut bytes = state.encode();
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        // Version, book and nonce come first. The nonce only seeds a map, and the engine takes the book's from the journal.
        if let Ok(mut other) = State::decode(&bytes) {
            prop_assert!(other.digest() != state.digest() || place <= 17);
        }
        prop_assert!(State::decode(&bytes[..place]).is_err());
    }
}

#[test]
fn streams_reach_what_they_should() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met = BTreeMap::<&str, u32>::new();
    for _ in 0..200 {
        let commands = stream().new_tree(&mut runner).unwrap().current();
        for event in run(&commands, &[], &[]).1 {
            let name = match &event.body {
                EventBody::CommandRejected(rejected) => rejected.rejection.code(),
                other => other.type_name(),
            };
            *met.entry(name).or_default() += 1;
        }
    }
    for name in [
        "ledger.account.opened.v1",
        "ledger.account.frozen.v1",
        "ledger.account.unfrozen.v1",
        "ledger.account.closed.v1",
        "ledger.entry.posted.v1",
        "postings_out_of_bounds",
        "amount_not_positive",
        "amount_too_large",
        "effective_date_out_of_range",
        "account_code_invalid",
        "account_exists",
        "same_account",
        "account_not_found",
        "account_closed",
        "account_frozen",
        "account_not_frozen",
        "currency_mismatch",
        "entry_unbalanced",
        "account_not_empty",
        "insufficient_funds",
    ] {
        assert!(met.get(name).is_some_and(|count| *count > 5), "{name}: {met:?}");
    }
    assert!(met["ledger.entry.posted.v1"] > 500, "{met:?}");
}
