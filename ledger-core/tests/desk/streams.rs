//! Streams of commands upon a few accounts: mostly sensible, so that much is accepted, and with every way to be refused.

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{AccountAct, BalancePolicy, CashMove, OpenAccount, PostEntry, PostTransfer};
use event_schemas::{AccountId, CivilDate, CommandBody, Currency, Money, Posting, Side, testing};
use proptest::prelude::*;

use super::BOOK;

pub const CODES: [&str; 6] = ["ann", "bob", "cat", "dan", "eve", "fay"];

pub fn person(place: usize) -> AccountId {
    AccountId::from_code(BOOK, CODES[place])
}

pub fn system(role: &str, currency: Currency) -> AccountId {
    AccountId::from_code(BOOK, &format!("sys:{role}:{currency}"))
}

fn currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec!["EUR", "EUR", "EUR", "EUR", "EUR", "EUR", "EUR", "EUR", "USD", "JPY"])
        .prop_map(|code| code.parse().unwrap())
}

fn minor() -> impl Strategy<Value = i128> {
    prop_oneof![
        16 => 1..500_i128,
        1 => prop::sample::select(vec![0, -1, AMOUNT_MAX_MINOR, AMOUNT_MAX_MINOR + 1]),
    ]
}

fn fee() -> impl Strategy<Value = i128> {
    prop_oneof![6 => Just(0), 4 => 1..20_i128, 1 => Just(-1)]
}

fn account() -> impl Strategy<Value = AccountId> {
    prop_oneof![
        30 => (0..CODES.len()).prop_map(person),
        2 => (1..4_u128).prop_map(AccountId),
        1 => currency().prop_map(|currency| system("psp-clearing", currency)),
        1 => currency().prop_map(|currency| system("income-fee", currency)),
    ]
}

fn effective_on() -> impl Strategy<Value = Option<CivilDate>> {
    prop_oneof![
        6 => Just(None),
        3 => (8_000..20_000_i32).prop_map(CivilDate::from_days),
        1 => testing::civil_date().prop_map(Some),
    ]
}

fn open() -> impl Strategy<Value = CommandBody> {
    let policy = prop_oneof![
        3 => Just(BalancePolicy::NO_OVERDRAFT),
        2 => (0..400_i128).prop_map(|overdraft_minor| BalancePolicy::Limited { overdraft_minor }),
        1 => Just(BalancePolicy::Unlimited),
        1 => minor().prop_map(|overdraft_minor| BalancePolicy::Limited { overdraft_minor }),
    ];
    let named = (0..CODES.len()).prop_map(|place| (person(place), CODES[place].to_owned()));
    let place = prop_oneof![
        12 => named,
        1 => account().prop_map(|id| (id, String::new())),
        1 => (account(), "[a-f:./]{1,6}"),
    ];
    (place, testing::account_kind(), currency(), policy).prop_map(|((account, code), kind, currency, policy)| {
        let (code, owner) = (code.into(), "".into());
        CommandBody::OpenAccount(OpenAccount { account, code, kind, currency, owner, policy })
    })
}

fn cash() -> impl Strategy<Value = CashMove> {
    (account(), minor(), currency(), fee(), effective_on(), testing::text()).prop_map(
        |(account, minor, currency, fee_minor, effective_on, reference)| {
            let amount = Money::new(minor, currency);
            CashMove { account, amount, fee_minor, effective_on, reference }
        },
    )
}

/// Pairs that balance, and now and then a posting that does not.
fn entry() -> impl Strategy<Value = CommandBody> {
    let pair = (account(), account(), minor(), currency()).prop_map(|(from, to, minor, currency)| {
        let money = Money::new(minor, currency);
        [Posting::debit(from, money), Posting::credit(to, money)]
    });
    let odd = prop_oneof![5 => Just(None), 1 => (account(), minor(), currency(), any::<bool>()).prop_map(Some)];
    (prop::collection::vec(pair, 0..4), odd, effective_on()).prop_map(|(pairs, odd, effective_on)| {
        let odd = odd.map(|(account, minor, currency, debit)| {
            let side = if debit { Side::Debit } else { Side::Credit };
            Posting { account, side, money: Money::new(minor, currency) }
        });
        let postings = pairs.into_iter().flatten().chain(odd).collect();
        CommandBody::PostEntry(PostEntry { postings, effective_on, reference: "".into() })
    })
}

/// A command upon a few accounts that often exist.
pub fn command() -> BoxedStrategy<CommandBody> {
    let act = || account().prop_map(|account| AccountAct { account, reason: "".into() });
    prop_oneof![
        4 => open().boxed(),
        1 => act().prop_map(CommandBody::FreezeAccount).boxed(),
        2 => act().prop_map(CommandBody::UnfreezeAccount).boxed(),
        1 => act().prop_map(CommandBody::CloseAccount).boxed(),
        8 => cash().prop_map(CommandBody::TopUp).boxed(),
        5 => cash().prop_map(CommandBody::Withdraw).boxed(),
        10 => (account(), cash()).prop_map(|(to, cash)| CommandBody::PostTransfer(PostTransfer {
            from: cash.account,
            to,
            amount: cash.amount,
            fee_minor: cash.fee_minor,
            effective_on: cash.effective_on,
            reference: cash.reference,
        })).boxed(),
        8 => entry().boxed(),
    ]
    .boxed()
}

/// A stream of commands, most of them sensible.
pub fn stream() -> impl Strategy<Value = Vec<CommandBody>> {
    // Most streams begin with the accounts they need, or nearly everything would be refused.
    let opened = (0..CODES.len()).map(|place| {
        (testing::account_kind(), currency(), 0..400_i128).prop_map(move |(kind, currency, overdraft_minor)| {
            CommandBody::OpenAccount(OpenAccount {
                account: person(place),
                code: CODES[place].into(),
                kind,
                currency,
                owner: "".into(),
                policy: BalancePolicy::Limited { overdraft_minor },
            })
        })
    });
    let opened: Vec<_> = opened.collect();
    (prop_oneof![4 => opened.prop_map(Some), 1 => Just(None)], prop::collection::vec(command(), 1..120))
        .prop_map(|(opened, rest)| opened.into_iter().flatten().chain(rest).collect())
}
