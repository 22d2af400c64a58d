//! A stream of commands of all kinds, most of them sensible: the same one every time.

use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, Caps, CaptureHold, CashMove, ConvertFunds, FeeKind, FixedSide, MarginRule,
    NoticeChannel, NoticeTopic, OpenAccount, PlaceHold, PostEntry, PostTransfer, PublishCalendar, PublishRateSheet,
    QuotedRate, ReverseEntry, ReversedPart, SetFeeRule, SetLimits, SetNotificationPreferences, TransferUpTo, VoidHold,
};
use event_schemas::{
    AccountId, BookId, CivilDate, Command, CommandBody, CommandId, Currency, Money, Posting, PrincipalId, Timestamp,
};

const ACCOUNTS: u64 = 300;
const DAY_US: i64 = 86_400_000_000;

/// The clock stands still for so many commands, and then goes on by [`STEP_US`]: what is decided depends on the time.
pub const MOMENT: usize = 2_000;
/// Three hours.
pub const STEP_US: i64 = 3 * 3_600_000_000;

struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn minor(&mut self, most: u64) -> i128 {
        1 + i128::from(self.below(most))
    }
}

/// Makes the commands.
struct Mixed {
    dice: Dice,
    start: Timestamp,
    commands: Vec<Command>,
    holds: Vec<(CommandId, usize)>,
    entries: Vec<CommandId>,
    version: u64,
    sheet: Option<PublishRateSheet>,
}

/// Whose owner has an account of this number less so many, too, in another currency.
const PARTNER: usize = 1_000;

/// Four in five are in euros.
fn currency(account: usize) -> Currency {
    let code = match account % 10 {
        8 | 9 if account >= PARTNER => "EUR",
        _ if account >= PARTNER => "USD",
        8 => "USD",
        9 => "JPY",
        _ => "EUR",
    };
    code.parse().unwrap()
}

fn code(account: usize) -> String {
    format!("mixed:{account}")
}

fn id(account: usize) -> AccountId {
    AccountId::from_code(BookId::FIRST, &code(account))
}

fn owner(account: usize) -> Box<str> {
    format!("customer:{}", account % 100).into()
}

fn money(amount_minor: i128, account: usize) -> Money {
    Money::new(amount_minor, currency(account))
}

impl Mixed {
    fn push(&mut self, body: CommandBody) -> CommandId {
        let number = self.commands.len() as u128 + 1;
        // Spread over all of the space, as random ids are.
        let id = CommandId(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        self.commands.push(Command { id, actor: PrincipalId(7), body });
        id
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.start.0 + i64::try_from(self.commands.len() / MOMENT).unwrap() * STEP_US)
    }

    fn account(&mut self) -> usize {
        // A few are everybody's.
        let most = if self.dice.below(4) == 0 { 10 } else { ACCOUNTS };
        usize::try_from(self.dice.below(most)).unwrap()
    }

    /// Another account, mostly of the same currency.
    fn other(&mut self, than: usize) -> usize {
        loop {
            let other = self.account();
            if other != than && (currency(other) == currency(than) || self.dice.below(50) == 0) {
                return other;
            }
        }
    }

    fn fee(&mut self) -> Option<i128> {
        (self.dice.below(3) == 0).then(|| i128::from(self.dice.below(30)))
    }

    fn open(&mut self, account: usize) {
        let kind = if account.is_multiple_of(40) { AccountKind::Asset } else { AccountKind::Liability };
        let policy = match account % 7 {
            0 => BalancePolicy::Unlimited,
            1 => BalancePolicy::Limited { overdraft_minor: 50_000 },
            _ => BalancePolicy::NO_OVERDRAFT,
        };
        let code = code(account).into();
        let (account, currency, owner) = (id(account), currency(account), owner(account));
        self.push(CommandBody::OpenAccount(OpenAccount { account, code, kind, currency, owner, policy }));
    }

    fn calendar(&mut self) {
        // A hundred days, the first of which began ten days ago.
        let starts = (-10..90).map(|day| Timestamp(self.start.0 + day * DAY_US)).collect();
        let first_day = CivilDate::from_days(self.start.date_utc().days() - 10).unwrap();
        let (zone, tz_version) = ("Etc/UTC".into(), "2026b".into());
        self.push(CommandBody::PublishCalendar(PublishCalendar { version: 1, zone, tz_version, first_day, starts }));
    }

    fn sheet(&mut self) {
        let rate =
            |code: &str, rate: String| QuotedRate { currency: code.parse().unwrap(), per_pivot: rate.parse().unwrap() };
        let sheet = PublishRateSheet {
            version: self.sheet.as_ref().map_or(0, |sheet| sheet.version) + 1,
            pivot: "EUR".parse().unwrap(),
            source: "mixed".into(),
            quoted_on: self.start.date_utc(),
            fetched_at: self.start,
            valid_until: Timestamp(self.start.0 + 100 * DAY_US),
            quote_seconds: 60,
            rates: vec![
                rate("JPY", format!("{}.{:02}", 150 + self.dice.below(50), self.dice.below(100))),
                rate("USD", format!("1.{:04}", self.dice.below(2_000))),
            ],
            margins: vec![
                MarginRule { tier: Some("gold".into()), sold: None, bought: None, margin_ppm: 2_500 },
                MarginRule::for_all(10_000),
            ],
        };
        self.sheet = Some(sheet.clone());
        self.push(CommandBody::PublishRateSheet(sheet));
    }

    /// Between two accounts of one owner; every fourth time of neighbours, whose owners differ.
    fn convert(&mut self) {
        let Some(sheet) = self.sheet.clone() else { return self.sheet() };
        let from = self.account();
        let to = if self.dice.below(4) == 0 { (from + 1) % 300 } else { from + PARTNER };
        let (sold, bought) = (currency(from), currency(to));
        let fixed = if self.dice.below(2) == 0 { FixedSide::Sold } else { FixedSide::Bought };
        let named = self.dice.minor(5_000);
        let amounts = sheet
            .mid(sold, bought)
            .ok()
            .and_then(|mid| ledger_core::fx::Price::new(mid, sold, bought, 10_000).amounts(fixed, named).ok());
        let (sold_minor, bought_minor) =
            amounts.map_or((named, named), |amounts| (amounts.sold_minor, amounts.bought_minor));
        let id = self.push(CommandBody::ConvertFunds(ConvertFunds {
            from: id(from),
            to: id(to),
            owner: owner(from),
            fixed,
            sold: Money::new(sold_minor, sold),
            bought: Money::new(bought_minor, bought),
            tier: "".into(),
            sheet: sheet.version,
            expires_at: Timestamp(self.now().0 + DAY_US),
            reference: "convert".into(),
        }));
        self.entries.push(id);
    }

    fn settings(&mut self) {
        self.version += 1;
        let (version, account) = (self.version, self.account());
        let (owner, currency) = (owner(account), currency(account));
        let body = match self.dice.below(3) {
            0 => CommandBody::SetFeeRule(SetFeeRule {
                kind: FeeKind::ALL[usize::try_from(self.dice.below(4)).unwrap()],
                currency,
                version,
                fixed_minor: i128::from(self.dice.below(5)),
                rate_ppm: u32::try_from(self.dice.below(5_000)).unwrap(),
                min_minor: 1,
                max_minor: Some(500),
            }),
            1 => {
                let caps = Caps {
                    per_transfer_minor: Some(5_000 + self.dice.minor(40_000)),
                    daily_minor: Some(self.dice.minor(2_000_000)),
                    monthly_minor: Some(self.dice.minor(20_000_000)),
                };
                CommandBody::SetLimits(SetLimits { owner, currency, version, caps })
            }
            _ => {
                let topics = [(NoticeTopic::MoneyIn, [NoticeChannel::Email].into())].into();
                CommandBody::SetNotificationPreferences(SetNotificationPreferences { owner, version, topics })
            }
        };
        self.push(body);
    }

    fn cash(&mut self, most: u64) -> CashMove {
        let account = self.account();
        let (amount, fee_minor) = (money(self.dice.minor(most), account), self.fee());
        CashMove { account: id(account), amount, fee_minor, effective_on: None, reference: "cash".into() }
    }

    fn hold(&mut self) {
        let account = self.account();
        let expires_at = (self.dice.below(3) > 0)
            .then(|| Timestamp(self.now().0 + STEP_US * i64::try_from(self.dice.below(12)).unwrap() + 1));
        let amount = money(self.dice.minor(20_000), account);
        let hold = PlaceHold { account: id(account), amount, expires_at, reference: "room".into() };
        let hold = self.push(CommandBody::PlaceHold(hold));
        self.holds.push((hold, account));
    }

    /// One of the last few hundred.
    fn recent<T: Copy>(dice: &mut Dice, of: &[T]) -> Option<T> {
        let back = usize::try_from(dice.below(300)).unwrap();
        of.iter().rev().nth(back).copied()
    }

    fn end_hold(&mut self, captured: bool) {
        let Some((hold, account)) = Self::recent(&mut self.dice, &self.holds) else { return };
        if !captured {
            self.push(CommandBody::VoidHold(VoidHold { hold, reason: "gone".into() }));
            return;
        }
        let to = id(self.other(account));
        let (amount, last) = (money(self.dice.minor(12_000), account), self.dice.below(3) == 0);
        let (fee_minor, effective_on, reference) = (self.fee(), None, "room".into());
        let capture = CaptureHold { hold, to, amount, fee_minor, last, effective_on, reference };
        let entry = self.push(CommandBody::CaptureHold(capture));
        self.entries.push(entry);
    }

    fn reverse(&mut self) {
        let Some(entry) = Self::recent(&mut self.dice, &self.entries) else { return };
        let part = self.dice.minor(200);
        let part = |posting| ReversedPart { posting, amount_minor: part };
        let postings = (self.dice.below(2) == 0).then(|| vec![part(0), part(1)]);
        let reverse = ReverseEntry { entry, postings, effective_on: None, reference: "back".into() };
        self.push(CommandBody::ReverseEntry(reverse));
    }

    fn entry(&mut self) {
        let from = self.account();
        let parts: Vec<_> = (0..=self.dice.below(4)).map(|_| (self.other(from), self.dice.minor(500))).collect();
        let sum: i128 = parts.iter().map(|(_, minor)| minor).sum();
        let credits = parts.into_iter().map(|(to, minor)| Posting::credit(id(to), money(minor, from)));
        let postings = std::iter::once(Posting::debit(id(from), money(sum, from))).chain(credits).collect();
        self.push(CommandBody::PostEntry(PostEntry { postings, effective_on: None, reference: "split".into() }));
    }

    fn transfer(&mut self) {
        let from = self.account();
        let to = self.other(from);
        let (amount, reference) = (money(self.dice.minor(5_000), from), "rent".into());
        let (from, to, effective_on) = (id(from), id(to), None);
        let body = if self.dice.below(6) == 0 {
            CommandBody::TransferUpTo(TransferUpTo { from, to, at_most: amount, effective_on, reference })
        } else {
            let fee_minor = self.fee();
            CommandBody::PostTransfer(PostTransfer { from, to, amount, fee_minor, effective_on, reference })
        };
        let entry = self.push(body);
        self.entries.push(entry);
    }

    /// A command that was given before; now and then with other content.
    fn again(&mut self) {
        let Some(mut command) = (!self.commands.is_empty()).then(|| {
            let back = usize::try_from(self.dice.below(self.commands.len() as u64)).unwrap();
            self.commands[back].clone()
        }) else {
            return;
        };
        if self.dice.below(4) == 0
            && let CommandBody::PostTransfer(transfer) = &mut command.body
        {
            transfer.amount.amount_minor += 1;
        }
        self.commands.push(command);
    }

    fn step(&mut self) {
        let account = id(self.account());
        let act = AccountAct { account, reason: "why".into() };
        match self.dice.below(200) {
            0..10 => {
                let cash = self.cash(100_000);
                let entry = self.push(CommandBody::TopUp(cash));
                self.entries.push(entry);
            }
            10..22 => {
                let cash = self.cash(30_000);
                self.push(CommandBody::Withdraw(cash));
            }
            22..40 => self.hold(),
            40..52 => self.end_hold(true),
            52..58 => self.end_hold(false),
            58..68 => self.reverse(),
            68..78 => self.entry(),
            78 => drop(self.push(CommandBody::FreezeAccount(act))),
            79..85 => drop(self.push(CommandBody::UnfreezeAccount(act))),
            85 => drop(self.push(CommandBody::CloseAccount(act))),
            86 => self.settings(),
            87 if self.dice.below(8) == 0 => self.sheet(),
            87 | 95..103 => self.convert(),
            88..94 => self.again(),
            94 => {
                let nobody = usize::try_from(ACCOUNTS + self.dice.below(20)).unwrap();
                self.open(nobody);
            }
            _ => self.transfer(),
        }
    }
}

/// So many commands, to be given from `start` on, the clock going on by [`STEP_US`] after each [`MOMENT`] of them.
pub fn commands(count: usize, start: Timestamp) -> Vec<Command> {
    let dice = Dice(0x2026_1125_d077_1a11);
    let (commands, holds, entries) = (Vec::with_capacity(count + 1), Vec::new(), Vec::new());
    let mut mixed = Mixed { dice, start, commands, holds, entries, version: 0, sheet: None };
    for account in 0..usize::try_from(ACCOUNTS).unwrap() {
        mixed.open(account);
        mixed.open(account + PARTNER);
    }
    mixed.calendar();
    for account in 0..usize::try_from(ACCOUNTS).unwrap() {
        let (amount, reference) = (money(1_000_000, account), "first".into());
        let cash = CashMove { account: id(account), amount, fee_minor: Some(0), effective_on: None, reference };
        mixed.push(CommandBody::TopUp(cash));
    }
    while mixed.commands.len() < count {
        mixed.step();
    }
    mixed.commands
}
