//! Streams of commands upon a few accounts: mostly sensible, so that much is accepted, and with every way to be refused.

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, Caps, CaptureHold, CashMove, ClosePeriod, ConvertFunds, FeeKind, FixedSide,
    MarginRule, OpenAccount, PlaceHold, PostEntry, PostTransfer, PublishCalendar, PublishRateSheet, QuotedRate,
    ReverseEntry, ReversedPart, SetFeeRule, SetLimits, SetNotificationPreferences, TransferUpTo, VoidHold,
};
use event_schemas::rates::Rate;
use event_schemas::{AccountId, CivilDate, CommandBody, CommandId, Currency, Money, Posting, Side, Timestamp, testing};
use ledger_core::fx::Price;
use proptest::prelude::*;

use super::{BOOK, NOON};

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

/// None: the rule says.
fn fee() -> impl Strategy<Value = Option<i128>> {
    prop_oneof![5 => Just(Some(0)), 3 => (1..20_i128).prop_map(Some), 1 => Just(Some(-1)), 5 => Just(None)]
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
    let owner = prop_oneof![2 => Just("".into()), 1 => owner()];
    (place, testing::account_kind(), currency(), policy, owner).prop_map(
        |((account, code), kind, currency, policy, owner)| {
            let code = code.into();
            CommandBody::OpenAccount(OpenAccount { account, code, kind, currency, owner, policy })
        },
    )
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

/// Mostly what customers have, so that much can be held.
fn kind() -> impl Strategy<Value = AccountKind> {
    prop_oneof![2 => Just(AccountKind::Liability), 1 => testing::account_kind()]
}

fn hold() -> impl Strategy<Value = CommandBody> {
    let seconds = prop_oneof![8 => 1..40_i64, 1 => prop::sample::select(vec![-1, 0, 34_560_000, 34_560_200])];
    let deadline = seconds.prop_map(|seconds| Timestamp(NOON.0 + seconds * 1_000_000));
    let owner = prop_oneof![12 => (0..CODES.len()).prop_map(person), 1 => account()];
    let small = prop_oneof![6 => 1..150_i128, 1 => minor()];
    (owner, small, currency(), prop::option::of(deadline)).prop_map(|(account, minor, currency, expires_at)| {
        let amount = Money::new(minor, currency);
        CommandBody::PlaceHold(PlaceHold { account, amount, expires_at, reference: "".into() })
    })
}

/// How far back the command is that a capture, a void or a reversal names, of those that fit; see [`stream`].
fn back() -> impl Strategy<Value = CommandId> {
    prop_oneof![10 => 0..4_u128, 1 => 900..1_000_u128].prop_map(CommandId)
}

fn capture() -> impl Strategy<Value = CommandBody> {
    let small = prop_oneof![6 => 1..120_i128, 1 => minor()];
    (back(), account(), small, currency(), fee(), any::<bool>()).prop_map(
        |(hold, to, minor, currency, fee_minor, last)| {
            let amount = Money::new(minor, currency);
            let (effective_on, reference) = (None, "".into());
            CommandBody::CaptureHold(CaptureHold { hold, to, amount, fee_minor, last, effective_on, reference })
        },
    )
}

fn reverse() -> impl Strategy<Value = CommandBody> {
    // A few of the first two postings, in equal amounts mostly, so that much balances.
    let even = (1..200_i128).prop_map(|minor| vec![(0, minor), (1, minor)]);
    let odd = prop::collection::vec((0..4_u32, minor()), 0..4);
    let parts = prop_oneof![3 => even, 1 => odd].prop_map(|parts| {
        parts.into_iter().map(|(posting, amount_minor)| ReversedPart { posting, amount_minor }).collect()
    });
    (back(), prop::option::of(parts), effective_on()).prop_map(|(entry, postings, effective_on)| {
        CommandBody::ReverseEntry(ReverseEntry { entry, postings, effective_on, reference: "".into() })
    })
}

fn transfer() -> impl Strategy<Value = CommandBody> {
    (account(), cash()).prop_map(|(to, cash)| {
        CommandBody::PostTransfer(PostTransfer {
            from: cash.account,
            to,
            amount: cash.amount,
            fee_minor: cash.fee_minor,
            effective_on: cash.effective_on,
            reference: cash.reference,
        })
    })
}

fn up_to() -> impl Strategy<Value = CommandBody> {
    (account(), account(), minor(), currency(), effective_on()).prop_map(|(from, to, minor, currency, effective_on)| {
        let at_most = Money::new(minor, currency);
        CommandBody::TransferUpTo(TransferUpTo { from, to, at_most, effective_on, reference: "".into() })
    })
}

/// The version of a setting; see [`aim`].
fn version() -> impl Strategy<Value = u64> {
    prop_oneof![8 => Just(NEXT), 1 => 0..4_u64]
}

/// Stands for the version behind the newest.
const NEXT: u64 = u64::MAX;

fn fee_rule() -> impl Strategy<Value = CommandBody> {
    let part = || prop_oneof![8 => 0..30_i128, 1 => prop::sample::select(vec![-1, AMOUNT_MAX_MINOR + 1])];
    let rate = prop_oneof![4 => 0..100_000_u32, 4 => Just(500_000), 1 => Just(1_000_000), 1 => Just(1_000_001)];
    let kind = prop::sample::select(FeeKind::ALL.to_vec());
    (kind, currency(), version(), part(), rate, prop_oneof![4 => Just(0), 1 => part()], prop::option::of(part()))
        .prop_map(|(kind, currency, version, fixed_minor, rate_ppm, min_minor, max_minor)| {
            CommandBody::SetFeeRule(SetFeeRule { kind, currency, version, fixed_minor, rate_ppm, min_minor, max_minor })
        })
}

fn close_period() -> impl Strategy<Value = CommandBody> {
    let today = NOON.date_utc().days();
    let day = prop_oneof![4 => 8_000..14_000_i32, 1 => 14_000..20_000_i32, 1 => today - 1..today + 2];
    day.prop_map(|day| {
        CommandBody::ClosePeriod(ClosePeriod { through: CivilDate::from_days(day).unwrap(), reason: "".into() })
    })
}

const OWNERS: [&str; 3] = ["client:1", "client:2", "client:3"];

fn owner() -> impl Strategy<Value = Box<str>> {
    prop::sample::select(OWNERS.to_vec()).prop_map(Into::into)
}

fn prefer() -> impl Strategy<Value = CommandBody> {
    (owner(), version()).prop_map(|(owner, version)| {
        let topics = std::collections::BTreeMap::new();
        CommandBody::SetNotificationPreferences(SetNotificationPreferences { owner, version, topics })
    })
}

fn limits() -> impl Strategy<Value = CommandBody> {
    let odd = || prop::sample::select(vec![0, -1, AMOUNT_MAX_MINOR, AMOUNT_MAX_MINOR + 1]);
    let cap = |most: i128| prop::option::of(prop_oneof![24 => 1..most, 1 => odd()]);
    (owner(), currency(), version(), (cap(500), cap(900), cap(1_200))).prop_map(
        |(owner, currency, version, (per_transfer_minor, daily_minor, monthly_minor))| {
            let caps = Caps { per_transfer_minor, daily_minor, monthly_minor };
            CommandBody::SetLimits(SetLimits { owner, currency, version, caps })
        },
    )
}

const HOUR_US: i64 = 3_600_000_000;

/// A calendar in which a day begins within seconds of noon, and now and then a month: its days are then of 20 hours, for many
/// of them, until the first of December comes that early.
fn calendar() -> impl Strategy<Value = CommandBody> {
    let days = prop_oneof![3 => Just(("2026-11-20", 1, 24)), 2 => Just(("2026-10-08", 54, 20))];
    let break_it = prop_oneof![12 => Just(None), 1 => (any::<prop::sample::Index>(), 0..4_u8).prop_map(Some)];
    (version(), days, 0..12_i64, 1..3_i64, break_it).prop_map(
        |(version, (first, before, hours), seconds, more, broken)| {
            let start = |place: i64| Timestamp(NOON.0 + seconds * 1_000_000 + (place - before) * hours * HOUR_US);
            let mut starts: Vec<_> = (0..=before + more).map(start).collect();
            match broken {
                Some((_, 0)) => starts.truncate(1),
                Some((_, 1)) => starts.clear(),
                Some((at, 2)) => at.get_mut(&mut starts).0 += 9 * HOUR_US,
                // The days end before it begins, or are over long since.
                Some((_, _)) => starts.truncate(starts.len() - usize::try_from(more).unwrap()),
                None => {}
            }
            let (zone, tz_version, first_day) = ("Etc/Odd".into(), "".into(), first.parse().unwrap());
            CommandBody::PublishCalendar(PublishCalendar { version, zone, tz_version, first_day, starts })
        },
    )
}

fn sheet() -> impl Strategy<Value = CommandBody> {
    let rate = || (1..2_000_000_u64, 0..6_u8).prop_filter_map("a rate", |(mantissa, scale)| Rate::new(mantissa, scale));
    let near = || (50..200_u64).prop_filter_map("a rate", |mantissa| Rate::new(mantissa, 2));
    let rate = move || prop_oneof![3 => near(), 1 => rate()];
    let ppm = || prop_oneof![3 => 0..60_000_u32, 1 => Just(500_000)];
    let odd = prop_oneof![20 => Just(0_u8), 1 => 1..6_u8];
    let seconds = prop_oneof![3 => Just(86_400), 1 => 1..12_i64];
    (version(), (rate(), rate()), (ppm(), ppm()), seconds, odd).prop_map(
        |(version, (yen, dollars), (gold, all), seconds, odd)| {
            let currency = |code: &str| code.parse::<Currency>().unwrap();
            let quoted = |code: &str, per_pivot| QuotedRate { currency: currency(code), per_pivot };
            let gold =
                MarginRule { tier: Some("gold".into()), sold: None, bought: Some(currency("EUR")), margin_ppm: gold };
            let mut sheet = PublishRateSheet {
                version,
                pivot: currency("EUR"),
                source: "ecb".into(),
                quoted_on: "2026-10-30".parse().unwrap(),
                fetched_at: NOON,
                valid_until: Timestamp(NOON.0 + seconds * 1_000_000),
                quote_seconds: 30,
                rates: vec![quoted("JPY", yen), quoted("USD", dollars)],
                margins: vec![gold, MarginRule::for_all(all)],
            };
            match odd {
                1 => sheet.rates.reverse(),
                2 => sheet.margins.truncate(1),
                3 => sheet.valid_until = NOON,
                4 => sheet.quote_seconds = 0,
                5 => sheet.rates.truncate(1),
                _ => {}
            }
            CommandBody::PublishRateSheet(sheet)
        },
    )
}

/// Mostly as a quote would have it; see [`aim`].
fn convert() -> impl Strategy<Value = CommandBody> {
    let fixed = prop_oneof![Just(FixedSide::Sold), Just(FixedSide::Bought)];
    let minor = || prop_oneof![40 => 1..300_i128, 1 => prop::sample::select(vec![0, -1, AMOUNT_MAX_MINOR + 1])];
    let seconds = prop_oneof![8 => Just(86_400), 1 => -1..40_i64];
    let tier = prop_oneof![3 => Just(""), 1 => Just("gold")];
    (account(), account(), fixed, (minor(), currency()), (minor(), currency()), (tier, version(), owner()), seconds)
        .prop_map(|(from, to, fixed, sold, bought, (tier, sheet, owner), seconds)| {
            CommandBody::ConvertFunds(ConvertFunds {
                from,
                to,
                owner,
                fixed,
                sold: Money::new(sold.0, sold.1),
                bought: Money::new(bought.0, bought.1),
                tier: tier.into(),
                sheet,
                expires_at: Timestamp(NOON.0 + seconds * 1_000_000),
                reference: "".into(),
            })
        })
}

/// Makes of a conversion one that a quote could have promised: two accounts of one owner, and the amounts of the newest sheet.
fn quoted(
    convert: &mut ConvertFunds,
    nth: usize,
    owned: &[(AccountId, Box<str>, Currency)],
    sheet: Option<&PublishRateSheet>,
) {
    let pairs = owned.iter().flat_map(|one| owned.iter().map(move |other| (one, other)));
    let pairs: Vec<_> = pairs.filter(|(one, other)| one.1 == other.1 && one.2 != other.2).collect();
    let Some((from, to)) = pairs.get(nth % pairs.len().max(1)) else { return };
    (convert.from, convert.to, convert.owner) = (from.0, to.0, from.1.clone());
    (convert.sold.currency, convert.bought.currency) = (from.2, to.2);
    let Some(sheet) = sheet else { return };
    let Ok(mid) = sheet.mid(from.2, to.2) else { return };
    let Some(ppm) = sheet.margin_ppm(&convert.tier, from.2, to.2) else { return };
    let named = if convert.fixed == FixedSide::Sold { convert.sold } else { convert.bought };
    if let Ok(amounts) = Price::new(mid, from.2, to.2, ppm).amounts(convert.fixed, named.amount_minor)
        && !nth.is_multiple_of(11)
    {
        (convert.sold.amount_minor, convert.bought.amount_minor) = (amounts.sold_minor, amounts.bought_minor);
    }
    if nth.is_multiple_of(7) {
        convert.owner = "stranger".into();
    }
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
        10 => transfer().boxed(),
        8 => entry().boxed(),
        6 => hold().boxed(),
        5 => capture().boxed(),
        2 => back().prop_map(|hold| CommandBody::VoidHold(VoidHold { hold, reason: "".into() })).boxed(),
        9 => reverse().boxed(),
        4 => up_to().boxed(),
        3 => fee_rule().boxed(),
        1 => close_period().boxed(),
        1 => prefer().boxed(),
        2 => limits().boxed(),
        1 => calendar().boxed(),
        1 => sheet().boxed(),
        4 => convert().boxed(),
    ]
    .boxed()
}

/// A stream of commands, most of them sensible.
pub fn stream() -> impl Strategy<Value = Vec<CommandBody>> {
    stream_of(120)
}

/// The same, of fewer commands than so many behind the openings.
pub fn stream_of(most: usize) -> impl Strategy<Value = Vec<CommandBody>> {
    // Most streams begin with the accounts they need, or nearly everything would be refused.
    let opened = (0..CODES.len()).map(|place| {
        let owner = prop_oneof![1 => Just("".into()), 3 => owner()];
        (kind(), currency(), 0..400_i128, owner).prop_map(move |(kind, currency, overdraft_minor, owner)| {
            CommandBody::OpenAccount(OpenAccount {
                account: person(place),
                code: CODES[place].into(),
                kind,
                currency,
                owner,
                policy: BalancePolicy::Limited { overdraft_minor },
            })
        })
    });
    let opened: Vec<_> = opened.collect();
    // Half of them have limits from the start, a calendar without which those would refuse everything, and moves of money that
    // may be too much for them.
    let moves = prop::collection::vec(prop_oneof![6 => transfer(), 3 => hold(), 2 => up_to(), 1 => capture()], 0..10);
    let limited = prop::option::of((calendar(), prop::collection::vec(limits(), 1..4), moves));
    // And many have rates, and conversions by them.
    let rates = prop::option::of((sheet(), prop::collection::vec(convert(), 0..8)));
    let opened = prop_oneof![4 => (opened, limited, rates).prop_map(Some), 1 => Just(None)];
    (opened, prop::collection::vec(command(), 1..most))
        .prop_map(|(opened, rest)| {
            let (opened, limited, rates) = opened.unwrap_or_default();
            let rates = rates.into_iter().flat_map(|(sheet, converts)| std::iter::once(sheet).chain(converts));
            let limited =
                limited.into_iter().flat_map(|(calendar, limits, moves)| [vec![calendar], limits, moves].concat());
            opened.into_iter().chain(limited).chain(rates).chain(rest).collect()
        })
        .prop_map(|mut commands: Vec<CommandBody>| {
            aim(&mut commands);
            commands
        })
}

/// Turns "so many back" into the number of a command of this stream, which are numbered from 1: of a hold for captures and
/// voids, of what may be an entry for reversals. What is too far back names no command. Most amounts get the currency of the
/// account they are taken from, and most settings the version behind the one before, so that much is accepted; limits are mostly
/// those of somebody who has such an account.
fn aim(commands: &mut [CommandBody]) {
    let (mut holds, mut entries, mut before) = (Vec::new(), Vec::new(), None);
    let mut accounts = std::collections::BTreeMap::<AccountId, Currency>::new();
    let mut held = std::collections::BTreeMap::<u128, (AccountId, Currency)>::new();
    let mut owned = Vec::<(Box<str>, Currency)>::new();
    let (mut theirs, mut newest) = (Vec::<(AccountId, Box<str>, Currency)>::new(), None::<PublishRateSheet>);
    let mut versions = std::collections::BTreeMap::<String, u64>::new();
    for (number, body) in (1_u128..).zip(commands) {
        let of = |ids: &[u128], back: CommandId| {
            let found = usize::try_from(back.0).ok().and_then(|back| ids.iter().rev().nth(back)).copied();
            CommandId(found.unwrap_or(1_000_000))
        };
        let fit = |amount: &mut Money, account: AccountId| {
            if let Some(currency) = accounts.get(&account).filter(|_| amount.amount_minor % 5 != 0) {
                amount.currency = *currency;
            }
        };
        let mut count = |of: String, version: &mut u64| {
            let newest = versions.entry(of).or_default();
            if *version == NEXT {
                *version = *newest + 1;
            }
            *newest = (*newest).max(*version);
        };
        match body {
            CommandBody::OpenAccount(open) => {
                if !accounts.contains_key(&open.account) && !open.owner.is_empty() {
                    theirs.push((open.account, open.owner.clone(), open.currency));
                }
                accounts.entry(open.account).or_insert(open.currency);
                if open.kind == AccountKind::Liability && !open.owner.is_empty() {
                    owned.push((open.owner.clone(), open.currency));
                }
            }
            CommandBody::PlaceHold(place) => {
                fit(&mut place.amount, place.account);
                held.insert(number, (place.account, place.amount.currency));
                holds.push(number);
            }
            CommandBody::CaptureHold(capture) => {
                capture.hold = of(&holds, capture.hold);
                if let Some((account, currency)) = held.get(&capture.hold.0)
                    && capture.amount.amount_minor % 7 != 0
                {
                    capture.amount.currency = *currency;
                    let others = accounts.iter().filter(|(id, of)| *id != account && *of == currency);
                    let others: Vec<_> = others.map(|(id, _)| *id).collect();
                    if !others.is_empty() {
                        capture.to = others[usize::try_from(number).unwrap() % others.len()];
                    }
                }
                entries.push(number);
            }
            CommandBody::VoidHold(void) => void.hold = of(&holds, void.hold),
            CommandBody::ReverseEntry(reverse) => {
                // Often what was named before, so that parts add up.
                reverse.entry = match before {
                    Some((_, reversal)) if number % 8 == 3 => CommandId(reversal),
                    Some((before, _)) if number % 2 == 0 => before,
                    _ => of(&entries, reverse.entry),
                };
                before = Some((reverse.entry, number));
                entries.push(number);
            }
            CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => {
                fit(&mut cash.amount, cash.account);
                entries.push(number);
            }
            CommandBody::PostTransfer(transfer) => {
                fit(&mut transfer.amount, transfer.from);
                entries.push(number);
            }
            CommandBody::TransferUpTo(transfer) => {
                fit(&mut transfer.at_most, transfer.from);
                entries.push(number);
            }
            CommandBody::PostEntry(_) => entries.push(number),
            CommandBody::SetFeeRule(rule) => {
                count(format!("fee of {:?} in {}", rule.kind, rule.currency), &mut rule.version);
            }
            CommandBody::SetNotificationPreferences(preferences) => {
                count(format!("preferences of {}", preferences.owner), &mut preferences.version);
            }
            CommandBody::SetLimits(limits) => {
                // Mostly of somebody who has such an account.
                let nth = usize::try_from(number).unwrap();
                if let Some((owner, currency)) = owned.get(nth % owned.len().max(1)).filter(|_| number % 5 != 0) {
                    (limits.owner, limits.currency) = (owner.clone(), *currency);
                }
                count(format!("limits of {} in {}", limits.owner, limits.currency), &mut limits.version);
            }
            CommandBody::PublishCalendar(calendar) => count("calendar".into(), &mut calendar.version),
            CommandBody::PublishRateSheet(sheet) => {
                count("rates".into(), &mut sheet.version);
                newest = Some(sheet.clone());
            }
            CommandBody::ConvertFunds(convert) => {
                if convert.sheet == NEXT {
                    convert.sheet = newest.as_ref().map_or(1, |sheet| sheet.version);
                }
                let nth = usize::try_from(number).unwrap();
                if nth % 13 != 0 {
                    quoted(convert, nth, &theirs, newest.as_ref());
                }
                entries.push(number);
            }
            CommandBody::FreezeAccount(_)
            | CommandBody::UnfreezeAccount(_)
            | CommandBody::CloseAccount(_)
            | CommandBody::ClosePeriod(_) => {}
        }
    }
}

/// The same command with the ids of the commands that it names changed.
pub fn renamed(body: &CommandBody, rename: impl Fn(CommandId) -> CommandId) -> CommandBody {
    let mut body = body.clone();
    match &mut body {
        CommandBody::CaptureHold(capture) => capture.hold = rename(capture.hold),
        CommandBody::VoidHold(void) => void.hold = rename(void.hold),
        CommandBody::ReverseEntry(reverse) => reverse.entry = rename(reverse.entry),
        _ => {}
    }
    body
}
