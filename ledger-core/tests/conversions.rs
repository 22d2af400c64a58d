//! Conversions between all currencies of ISO 4217, decided by the book and held against fractions of any length: 100,000 of them,
//! or as many as the environment variable `CONVERSIONS` says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{AccountKind, BalancePolicy, OpenAccount};
use event_schemas::event::{BookOpened, ConversionPosted};
use event_schemas::rates::{ConvertFunds, FixedSide, MarginRule, PublishRateSheet, QuotedRate, Rate};
use event_schemas::{
    AccountId, BookId, Command, CommandBody, CommandId, Currency, Event, EventBody, Money, PrincipalId, Rejection,
    Sequence, Side, Timestamp,
};
use ledger_core::audit::Auditor;
use ledger_core::decide::{Context, decide};
use ledger_core::fx::Price;
use ledger_core::state::State;
use num_bigint::BigInt;

const NOW: Timestamp = Timestamp(1_795_262_400_000_000);

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Of any length: as many small as large ones.
    fn minor(&mut self) -> i128 {
        let most = 10_i128.pow(u32::try_from(self.below(25)).unwrap());
        let wide = (i128::from(self.next()) << 64 | i128::from(self.next())) & i128::MAX;
        (wide % most + 1).min(AMOUNT_MAX_MINOR)
    }

    fn rate(&mut self) -> Rate {
        let digits = if self.below(20) == 0 { 14 } else { 1 + u32::try_from(self.below(7)).unwrap() };
        let mantissa = 1 + self.below(10_u64.pow(digits) - 1);
        let scale = u8::try_from(self.below(u64::from(digits.min(14)) + 1)).unwrap();
        Rate::new(mantissa, scale).unwrap()
    }

    fn margin(&mut self) -> u32 {
        match self.below(8) {
            0 => 0,
            1 => 500_000,
            2 => u32::try_from(self.below(500_001)).unwrap(),
            _ => u32::try_from(self.below(50_000)).unwrap(),
        }
    }
}

fn currencies() -> Vec<Currency> {
    let letters = || 'A'..='Z';
    let codes =
        letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| String::from_iter([a, b, c]))));
    codes.filter_map(|code| code.parse().ok()).collect()
}

fn account(currency: Currency) -> AccountId {
    AccountId(u128::from(u32::from_be_bytes([
        1,
        currency.code_bytes()[0],
        currency.code_bytes()[1],
        currency.code_bytes()[2],
    ])))
}

struct Book {
    state: State,
    auditor: Auditor,
    events: u64,
}

impl Book {
    fn record(&mut self, event: &Event) {
        self.state.apply(event).unwrap();
        self.events += 1;
        self.auditor.observe(Sequence(self.events), event);
    }
}

fn book(currencies: &[Currency]) -> Book {
    let mut book = Book { state: State::new(), auditor: Auditor::new(), events: 0 };
    book.auditor.at(NOW);
    book.record(&Event::engine(EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce: PrincipalId(1) })));
    for (number, currency) in (1..).zip(currencies) {
        let open = OpenAccount {
            account: account(*currency),
            code: "".into(),
            kind: AccountKind::Liability,
            currency: *currency,
            owner: "client:1".into(),
            policy: BalancePolicy::Unlimited,
        };
        let cause = event_schemas::Cause::Verdict { command: CommandId(number), actor: PrincipalId(1) };
        book.record(&Event { cause, body: EventBody::AccountOpened(open) });
    }
    book
}

fn sheet(numbers: &mut Numbers, version: u64, currencies: &[Currency]) -> PublishRateSheet {
    let pivot = currencies[usize::try_from(numbers.below(currencies.len() as u64)).unwrap()];
    let others = currencies.iter().filter(|currency| **currency != pivot);
    PublishRateSheet {
        version,
        pivot,
        source: "random".into(),
        quoted_on: NOW.date_utc(),
        fetched_at: NOW,
        valid_until: Timestamp(NOW.0 + 1),
        quote_seconds: 30,
        rates: others.map(|currency| QuotedRate { currency: *currency, per_pivot: numbers.rate() }).collect(),
        margins: vec![
            MarginRule { tier: Some("gold".into()), sold: None, bought: None, margin_ppm: numbers.margin() },
            MarginRule::for_all(numbers.margin()),
        ],
    }
}

/// The mid in minor units as a fraction, and the millionths that are left to the customer.
struct Exact {
    over: BigInt,
    under: BigInt,
    kept: BigInt,
}

fn big(number: i128) -> BigInt {
    BigInt::from(number)
}

impl Exact {
    fn of(sheet: &PublishRateSheet, sold: Currency, bought: Currency, margin_ppm: u32) -> Self {
        let ten = |power: u8| BigInt::from(10).pow(power.into());
        let rate = |currency| {
            let found = sheet.rates.iter().find(|rate| rate.currency == currency).map(|rate| rate.per_pivot);
            found.unwrap_or(Rate::ONE)
        };
        let (s, b) = (rate(sold), rate(bought));
        Self {
            over: BigInt::from(b.mantissa()) * ten(s.scale()) * ten(bought.exponent()),
            under: BigInt::from(s.mantissa()) * ten(b.scale()) * ten(sold.exponent()),
            kept: BigInt::from(1_000_000 - margin_ppm),
        }
    }

    /// The amount at the mid is never more than a half away from what the position takes or gives; and the customer gives no
    /// less and gets no more than exactly, and less than one minor unit away from it.
    fn judge(&self, fixed: FixedSide, [given, got, at_mid]: [i128; 3]) {
        let million = BigInt::from(1_000_000);
        let half = |whole: i128, over: &BigInt, under: &BigInt| {
            let twice: BigInt = 2 * (big(whole) * under - over);
            let apart = if twice < big(0) { -twice } else { twice };
            assert!(&apart < under || (&apart == under && whole % 2 == 0), "{whole} is not {over}/{under}");
        };
        if fixed == FixedSide::Sold {
            half(at_mid, &(big(given) * &self.over), &self.under);
            let (exact, unit) = (big(given) * &self.over * &self.kept, &self.under * &million);
            assert!(big(got) * &unit <= exact && big(got + 1) * &unit > exact, "the customer gets {got}");
        } else {
            half(at_mid, &(big(got) * &self.under), &self.over);
            let (exact, unit) = (big(got) * &self.under * &million, &self.over * &self.kept);
            assert!(big(given) * &unit >= exact && big(given - 1) * &unit < exact, "the customer gives {given}");
        }
    }

    /// Whether the other amount is nothing, or more than there may be.
    fn is_refused(&self, fixed: FixedSide, named: i128, rejection: &Rejection) -> bool {
        let most = big(AMOUNT_MAX_MINOR);
        let ((over, under), (customer, unit)) = match fixed {
            FixedSide::Sold => {
                let over = big(named) * &self.over;
                ((over.clone(), self.under.clone()), (over * &self.kept, &self.under * 1_000_000))
            }
            FixedSide::Bought => {
                let over = big(named) * &self.under;
                ((over.clone(), self.over.clone()), (over * 1_000_000, &self.over * &self.kept))
            }
        };
        match rejection {
            Rejection::ConvertedAmountZero if fixed == FixedSide::Sold => customer < unit,
            Rejection::ConvertedAmountZero => 2 * over <= under,
            Rejection::AmountTooLarge => 2 * over > (2 * &most - 1) * under || customer > most * unit,
            _ => false,
        }
    }
}

fn check_posted(posted: &ConversionPosted, exact: &Exact) {
    let mut sums = std::collections::BTreeMap::<Currency, i128>::new();
    for posting in &posted.postings {
        assert!(posting.money.amount_minor > 0);
        let sign = if posting.side == Side::Debit { 1 } else { -1 };
        *sums.entry(posting.money.currency).or_default() += sign * posting.money.amount_minor;
    }
    assert!(sums.len() == 2 && sums.values().all(|sum| *sum == 0), "{posted:?}");
    assert!((-1..=1).contains(&posted.rounding_minor), "{posted:?}");
    let minor = |place: usize| posted.postings[place].money.amount_minor;
    let at_mid = if posted.fixed == FixedSide::Sold { minor(3) } else { minor(2) };
    exact.judge(posted.fixed, [minor(0), minor(1), at_mid]);
}

#[test]
fn conversions_of_every_pair_balance_and_never_favour_the_customer() {
    let cases: u64 = std::env::var("CONVERSIONS").map_or(100_000, |cases| cases.parse().unwrap());
    let currencies = currencies();
    assert!(currencies.len() >= 165);
    let exponents: std::collections::BTreeSet<_> = currencies.iter().map(|currency| currency.exponent()).collect();
    assert_eq!(exponents.into_iter().collect::<Vec<_>>(), [0, 2, 3, 4]);
    let pairs: Vec<_> = currencies
        .iter()
        .flat_map(|sold| currencies.iter().map(move |bought| (*sold, *bought)))
        .filter(|(sold, bought)| sold != bought)
        .collect();
    let (mut book, mut numbers) = (book(&currencies), Numbers(7));
    let (mut posted, mut rounded) = (0_u64, [0_u64; 3]);
    let mut current = None::<PublishRateSheet>;
    for case in 0..cases {
        if case % 1_000 == 0 {
            let published = sheet(&mut numbers, case / 1_000 + 1, &currencies);
            let id = CommandId(1_000_000_000 + u128::from(case));
            let command = Command { id, actor: PrincipalId(1), body: CommandBody::PublishRateSheet(published.clone()) };
            for event in decide(&book.state, Context::at(NOW), &command).events(&command) {
                book.record(&event);
            }
            current = Some(published);
        }
        let sheet = current.as_ref().unwrap();
        let place = usize::try_from(case).unwrap();
        let (sold, bought) = pairs[place % pairs.len()];
        let fixed = if place / pairs.len() % 2 == 0 { FixedSide::Sold } else { FixedSide::Bought };
        let tier = if numbers.below(4) == 0 { "gold" } else { "" };
        let (mid, margin_ppm) = (sheet.mid(sold, bought).unwrap(), sheet.margin_ppm(tier, sold, bought).unwrap());
        let (exact, named) = (Exact::of(sheet, sold, bought, margin_ppm), numbers.minor());
        let amounts = match Price::new(mid, sold, bought, margin_ppm).amounts(fixed, named) {
            Ok(amounts) => amounts,
            Err(rejection) => {
                assert!(exact.is_refused(fixed, named, &rejection), "case {case}: {rejection:?}");
                continue;
            }
        };
        let convert = ConvertFunds {
            from: account(sold),
            to: account(bought),
            owner: "client:1".into(),
            fixed,
            sold: Money::new(amounts.sold_minor, sold),
            bought: Money::new(amounts.bought_minor, bought),
            tier: tier.into(),
            sheet: sheet.version,
            expires_at: NOW,
            reference: "".into(),
        };
        let id = CommandId(2_000_000_000 + u128::from(case));
        let command = Command { id, actor: PrincipalId(1), body: CommandBody::ConvertFunds(convert) };
        let decision = decide(&book.state, Context::at(NOW), &command);
        let EventBody::ConversionPosted(conversion) = &decision.verdict else { panic!("case {case}: {decision:?}") };
        check_posted(conversion, &exact);
        posted += 1;
        rounded[usize::try_from(conversion.rounding_minor + 1).unwrap()] += 1;
        for event in decision.events(&command) {
            book.record(&event);
        }
    }
    book.auditor.finish();
    assert_eq!(book.auditor.findings(), []);
    assert!(posted > cases / 2, "{posted} of {cases}");
    assert!(rounded.iter().all(|count| *count > 0) || cases < 100_000, "{rounded:?}");
    println!("{cases} cases, {posted} posted, left over by rounding -1, 0, 1: {rounded:?}");
}
