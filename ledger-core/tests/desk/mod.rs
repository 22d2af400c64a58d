//! A desk for tests: commands go in as lines of text, verdicts come out as lines of text, and whatever is decided is
//! applied, audited, read back and measured on the way.

#![allow(
    clippy::indexing_slicing,
    clippy::match_same_arms,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    dead_code,
    unreachable_pub
)]

pub mod streams;

use std::collections::BTreeMap;

use event_schemas::bounds::EVENTS_PER_COMMAND_MAX;
use event_schemas::codec::Reader;
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, Caps, CaptureHold, CashMove, ClosePeriod, ConvertFunds, FeeKind, FixedSide,
    MarginRule, OpenAccount, PlaceHold, PostEntry, PostTransfer, PublishCalendar, PublishRateSheet, QuotedRate,
    ReverseEntry, ReversedPart, SetFeeRule, SetLimits, SetNotificationPreferences, TransferUpTo, VoidHold,
};
use event_schemas::event::BookOpened;
use event_schemas::{
    AccountId, BookId, CivilDate, Command, CommandBody, CommandId, Currency, Epoch, Event, EventBody, Money, Posting,
    PrincipalId, RecordedEvent, Rejection, Sequence, Side, Timestamp,
};
use ledger_core::asked::asked;
use ledger_core::audit::Auditor;
use ledger_core::bound;
use ledger_core::decide::{Context, Decision, decide, named, next_expiry};
use ledger_core::state::State;

pub const BOOK: BookId = BookId::FIRST;
/// 2026-11-21T12:00:00Z.
pub const NOON: Timestamp = Timestamp(1_795_262_400_000_000);
pub const ACTOR: PrincipalId = PrincipalId(0xac);

pub struct Desk {
    pub state: State,
    pub auditor: Auditor,
    pub events: Vec<Event>,
    pub recorded_at: Timestamp,
    commands: u128,
    names: BTreeMap<AccountId, String>,
    labels: BTreeMap<String, CommandId>,
}

impl Desk {
    pub fn new() -> Self {
        let mut desk = Self {
            state: State::new(),
            auditor: Auditor::new(),
            events: Vec::new(),
            recorded_at: NOON,
            commands: 0,
            names: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        desk.record(Event::engine(EventBody::BookOpened(BookOpened { book: BOOK, nonce: PrincipalId(0x90) })));
        desk
    }

    /// Applies an event as it comes back from its bytes, and has it audited.
    pub fn record(&mut self, event: Event) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        let read = Event::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(read, event);
        self.state.apply(&read).unwrap();
        self.events.push(read);
        self.auditor.at(self.recorded_at);
        self.auditor.observe(Sequence(self.events.len() as u64), &event);
        assert_eq!(self.auditor.findings(), [], "after {event:?}");
    }

    /// Decides a command and records what it causes.
    pub fn give(&mut self, body: CommandBody) -> Decision {
        self.commands += 1;
        self.expire();
        let command = Command { id: CommandId(self.commands), actor: ACTOR, body };
        let earlier = named(&self.state, &command.body).and_then(|id| recorded(&self.events, id));
        let context = Context { recorded_at: self.recorded_at, named: earlier.as_ref() };
        let decision = decide(&self.state, context, &command);
        let before = self.state.digest();
        let recorded = self.events.len();
        for event in decision.clone().events(&command) {
            self.record(event);
        }
        assert!(self.events.len() - recorded <= EVENTS_PER_COMMAND_MAX);
        if matches!(decision.verdict, EventBody::CommandRejected(_)) {
            assert_eq!(self.events.len(), recorded + 1, "a refusal has no consequences");
            assert_eq!(self.state.digest(), before, "a refusal changes nothing");
        } else {
            assert_ne!(self.state.digest(), before, "what is done shows");
        }
        // Law 4: what was asked can be told from the verdict, so a retry can be compared with it.
        assert_eq!(asked(&decision.verdict).as_ref(), Some(&command.body));
        if bound::check(&command).is_ok() {
            let mut bytes = Vec::new();
            self.events.iter().skip(recorded).for_each(|event| event.encode(&mut bytes));
            assert!(bytes.len() <= bound::event_bytes(&command), "{} bytes of {command:?}", bytes.len());
        }
        decision
    }

    /// Expires what is due, as every block does first.
    pub fn expire(&mut self) {
        while let Some(expiry) = next_expiry(&self.state, self.recorded_at) {
            let mut bytes = Vec::new();
            for event in expiry.into_iter().map(Event::engine) {
                event.encode(&mut bytes);
                self.record(event);
            }
            assert!(bytes.len() <= bound::EXPIRY_BYTES);
        }
    }

    /// What the desk says to a line of a table. `h1: hold ann 5 EUR` gives the command a name; `wait 60` lets seconds pass.
    pub fn say(&mut self, line: &str) -> String {
        if let Some((label, line)) = line.split_once(": ")
            && !label.contains(' ')
        {
            self.labels.insert(label.into(), CommandId(self.commands + 1));
            return self.say(line.trim());
        }
        let mut words = line.split_whitespace();
        if line.starts_with("wait ") {
            let before = self.events.len();
            self.recorded_at.0 += words.nth(1).unwrap().parse::<i64>().unwrap() * 1_000_000;
            self.expire();
            let expired = |event: &&Event| matches!(event.body, EventBody::HoldExpired(_));
            return format!("{} expired", self.events[before..].iter().filter(expired).count());
        }
        if line.starts_with("held ") {
            let id = self.account(words.nth(1).unwrap());
            let account = self.state.account(id).unwrap();
            assert_eq!(self.auditor.balances()[&id].held_minor, account.debits_pending_minor);
            return Money::new(account.debits_pending_minor, account.currency).amount().to_string();
        }
        if line.starts_with("balance ") {
            let id = self.account(words.nth(1).unwrap());
            let account = self.state.account(id).unwrap();
            assert_eq!(self.auditor.balances()[&id].balance_minor(), account.balance_minor());
            return Money::new(account.balance_minor(), account.currency).amount().to_string();
        }
        let body = self.command(line);
        let decision = self.give(body);
        self.told(&decision)
    }

    /// The account of a name: `ann` by its code, `#7` by a bare id, `clearing:EUR` and `fees:EUR` of the book itself.
    pub fn account(&mut self, name: &str) -> AccountId {
        let id = match (name.strip_prefix('#'), name.split_once(':')) {
            (Some(number), _) => AccountId(number.parse().unwrap()),
            (_, Some(("clearing", currency))) => AccountId::from_code(BOOK, &format!("sys:psp-clearing:{currency}")),
            (_, Some(("position", currency))) => AccountId::from_code(BOOK, &format!("sys:fx-position:{currency}")),
            (_, Some(("margin", currency))) => AccountId::from_code(BOOK, &format!("sys:income-fx-margin:{currency}")),
            (_, Some(("rounding", currency))) => AccountId::from_code(BOOK, &format!("sys:fx-rounding:{currency}")),
            (_, Some(("fees", currency))) => AccountId::from_code(BOOK, &format!("sys:income-fee:{currency}")),
            _ => AccountId::from_code(BOOK, name),
        };
        self.names.insert(id, name.into());
        id
    }

    fn name(&self, id: AccountId) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| {
            let text = id.to_string();
            for currency in ["EUR", "USD", "JPY", "GBP", "BHD"] {
                for (role, code) in [
                    ("clearing", "psp-clearing"),
                    ("fees", "income-fee"),
                    ("position", "fx-position"),
                    ("margin", "income-fx-margin"),
                    ("rounding", "fx-rounding"),
                ] {
                    if AccountId::from_code(BOOK, &format!("sys:{code}:{currency}")) == id {
                        return format!("{role}:{currency}");
                    }
                }
            }
            text
        })
    }

    /// Reads a command: `open ann liability EUR overdraft 5`, `top_up ann 10 EUR fee 1 on 2026-11-20`,
    /// `transfer ann bob 5 EUR fee rule`, `fee_rule transfer EUR v1 fixed 0.10 ppm 2500`, `entry D ann 5 EUR C bob 5 EUR on 1993-01-05`, `close ann`.
    pub fn command(&mut self, line: &str) -> CommandBody {
        let words: Vec<&str> = line.split_whitespace().collect();
        let option = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        let effective_on = option("on").map(|date| date.parse::<CivilDate>().unwrap());
        let reference: Box<str> = option("reference").unwrap_or_default().into();
        // `fee 1`, `fee rule`, or none at all.
        let fee_minor = |currency| match option("fee") {
            Some("rule") => None,
            fee => Some(fee.map_or(0, |fee| minor(fee, currency))),
        };
        let version = || words.iter().find_map(|word| word.strip_prefix('v')?.parse().ok()).unwrap();
        match words[0] {
            "open" => {
                let name = words[1];
                let account = self.account(option("as").unwrap_or(name));
                let code = if name.starts_with('#') { "" } else { name };
                let currency = currency(words[3]);
                let policy = match option("overdraft") {
                    _ if words.contains(&"unlimited") => BalancePolicy::Unlimited,
                    None => BalancePolicy::NO_OVERDRAFT,
                    Some(overdraft) => BalancePolicy::Limited { overdraft_minor: minor(overdraft, currency) },
                };
                let owner = option("owner").unwrap_or_default().into();
                CommandBody::OpenAccount(OpenAccount {
                    account,
                    code: code.into(),
                    kind: kind(words[2]),
                    currency,
                    owner,
                    policy,
                })
            }
            "freeze" => CommandBody::FreezeAccount(self.act(words[1])),
            "unfreeze" => CommandBody::UnfreezeAccount(self.act(words[1])),
            "close" => CommandBody::CloseAccount(self.act(words[1])),
            "top_up" | "withdraw" => {
                let amount = money(words[2], words[3]);
                let fee_minor = fee_minor(amount.currency);
                let account = self.account(words[1]);
                let cash = CashMove { account, amount, fee_minor, effective_on, reference };
                if words[0] == "top_up" { CommandBody::TopUp(cash) } else { CommandBody::Withdraw(cash) }
            }
            "transfer" => {
                let amount = money(words[3], words[4]);
                let fee_minor = fee_minor(amount.currency);
                let (from, to) = (self.account(words[1]), self.account(words[2]));
                CommandBody::PostTransfer(PostTransfer { from, to, amount, fee_minor, effective_on, reference })
            }
            "up_to" => {
                let (from, to, at_most) = (self.account(words[1]), self.account(words[2]), money(words[3], words[4]));
                CommandBody::TransferUpTo(TransferUpTo { from, to, at_most, effective_on, reference })
            }
            "fee_rule" => {
                let currency = currency(words[2]);
                let part = |name| option(name).map(|part| minor(part, currency));
                CommandBody::SetFeeRule(SetFeeRule {
                    kind: FeeKind::ALL.into_iter().find(|kind| kind.name() == words[1]).unwrap(),
                    currency,
                    version: version(),
                    fixed_minor: part("fixed").unwrap_or(0),
                    rate_ppm: option("ppm").map_or(0, |rate| rate.parse().unwrap()),
                    min_minor: part("min").unwrap_or(0),
                    max_minor: part("max"),
                })
            }
            "close_period" => {
                CommandBody::ClosePeriod(ClosePeriod { through: words[1].parse().unwrap(), reason: "because".into() })
            }
            // `sheet EUR v1 USD=1.0829 JPY=178.53 ppm 10000 gold=2500 lasts 60 quotes 30 source ecb`
            "sheet" => {
                let rates = words[2..].iter().take_while(|word| **word != "ppm").filter_map(|word| {
                    let (code, rate) = word.split_once('=')?;
                    Some(QuotedRate { currency: currency(code), per_pivot: rate.parse().unwrap() })
                });
                let rates = rates.collect();
                let special = words.iter().skip_while(|word| **word != "ppm").filter_map(|word| {
                    let (tier, ppm) = word.split_once('=')?;
                    let tier = Some(tier.into());
                    Some(MarginRule { tier, sold: None, bought: None, margin_ppm: ppm.parse().unwrap() })
                });
                let all = option("ppm").map(|ppm| MarginRule::for_all(ppm.parse().unwrap()));
                let seconds = |name| option(name).map(|seconds| seconds.parse::<i64>().unwrap());
                CommandBody::PublishRateSheet(PublishRateSheet {
                    version: version(),
                    pivot: currency(words[1]),
                    source: option("source").unwrap_or("ecb").into(),
                    quoted_on: "2026-10-30".parse().unwrap(),
                    fetched_at: self.recorded_at,
                    valid_until: Timestamp(self.recorded_at.0 + seconds("lasts").unwrap_or(3_600) * 1_000_000),
                    quote_seconds: u32::try_from(seconds("quotes").unwrap_or(30)).unwrap(),
                    rates,
                    margins: special.chain(all).collect(),
                })
            }
            // `sell ann ben 100 USD for 91.42 EUR v1 owner client:1 tier gold until 30`, `buy` with the same words
            "sell" | "buy" => {
                let (sold, bought) = (money(words[3], words[4]), money(words[6], words[7]));
                let until = option("until").map_or(60, |seconds| seconds.parse::<i64>().unwrap());
                CommandBody::ConvertFunds(ConvertFunds {
                    from: self.account(words[1]),
                    to: self.account(words[2]),
                    owner: option("owner").unwrap_or_default().into(),
                    fixed: if words[0] == "sell" { FixedSide::Sold } else { FixedSide::Bought },
                    sold,
                    bought,
                    tier: option("tier").unwrap_or_default().into(),
                    sheet: version(),
                    expires_at: Timestamp(self.recorded_at.0 + until * 1_000_000),
                    reference,
                })
            }
            "prefer" => {
                let (owner, version, topics) = (words[1].into(), version(), BTreeMap::new());
                CommandBody::SetNotificationPreferences(SetNotificationPreferences { owner, version, topics })
            }
            "limits" => {
                let currency = currency(words[2]);
                let cap = |name| option(name).map(|cap| minor(cap, currency));
                let caps =
                    Caps { per_transfer_minor: cap("per"), daily_minor: cap("day"), monthly_minor: cap("month") };
                CommandBody::SetLimits(SetLimits { owner: words[1].into(), currency, version: version(), caps })
            }
            "calendar" => {
                // Starts of days in hours from now.
                let start =
                    |hours: &&str| Timestamp(self.recorded_at.0 + hours.parse::<i64>().unwrap() * 3_600_000_000);
                let at = words.iter().position(|word| *word == "starts").unwrap();
                CommandBody::PublishCalendar(PublishCalendar {
                    version: version(),
                    zone: "Etc/UTC".into(),
                    tz_version: "".into(),
                    first_day: option("from").unwrap().parse().unwrap(),
                    starts: words[at + 1..].iter().map(start).collect(),
                })
            }
            "entry" => {
                let end = words.iter().position(|word| *word == "on").unwrap_or(words.len());
                let postings = words[1..end]
                    .chunks(4)
                    .map(|posting| {
                        let side = if posting[0] == "D" { Side::Debit } else { Side::Credit };
                        Posting { account: self.account(posting[1]), side, money: money(posting[2], posting[3]) }
                    })
                    .collect();
                CommandBody::PostEntry(PostEntry { postings, effective_on, reference })
            }
            "hold" => {
                let expires_at = option("until")
                    .map(|seconds| Timestamp(self.recorded_at.0 + seconds.parse::<i64>().unwrap() * 1_000_000));
                let (account, amount) = (self.account(words[1]), money(words[2], words[3]));
                CommandBody::PlaceHold(PlaceHold { account, amount, expires_at, reference })
            }
            "capture" => {
                let amount = money(words[3], words[4]);
                let fee_minor = fee_minor(amount.currency);
                let (hold, to, last) = (self.label(words[1]), self.account(words[2]), words.contains(&"last"));
                CommandBody::CaptureHold(CaptureHold { hold, to, amount, fee_minor, last, effective_on, reference })
            }
            "void" => CommandBody::VoidHold(VoidHold { hold: self.label(words[1]), reason: "because".into() }),
            "reverse" => {
                let end = words.iter().position(|word| *word == "on").unwrap_or(words.len());
                let part = |part: &[&str]| ReversedPart {
                    posting: part[0].parse().unwrap(),
                    amount_minor: part[1].parse().unwrap(),
                };
                let parts: Vec<_> = words[2..end].chunks(2).filter(|chunk| chunk.len() == 2).map(part).collect();
                let postings = (words.get(2) != Some(&"rest") && end > 2).then_some(parts);
                CommandBody::ReverseEntry(ReverseEntry {
                    entry: self.label(words[1]),
                    postings,
                    effective_on,
                    reference,
                })
            }
            other => panic!("no command {other}"),
        }
    }

    /// The command of a name; an unknown name stands for a command that never was.
    fn label(&self, name: &str) -> CommandId {
        self.labels.get(name).copied().unwrap_or(CommandId(u128::MAX))
    }

    fn act(&mut self, name: &str) -> AccountAct {
        AccountAct { account: self.account(name), reason: "because".into() }
    }

    /// A decision in words.
    fn told(&self, decision: &Decision) -> String {
        let opens: Vec<_> = decision.opens.iter().map(|open| format!("opens {}, ", self.name(open.account))).collect();
        let verdict = match &decision.verdict {
            EventBody::AccountOpened(_) => "opened".into(),
            EventBody::AccountFrozen(_) => "frozen".into(),
            EventBody::AccountUnfrozen(_) => "unfrozen".into(),
            EventBody::AccountClosed(_) => "closed".into(),
            EventBody::EntryPosted(entry) => self.entry(&entry.postings, entry.effective_on) + &by_rule(entry.fee_rule),
            EventBody::FeeRuleSet(_)
            | EventBody::NotificationPreferencesSet(_)
            | EventBody::LimitsSet(_)
            | EventBody::RateSheetPublished(_)
            | EventBody::CalendarPublished(_) => "set".into(),
            EventBody::ConversionPosted(posted) => self.entry(&posted.postings, posted.effective_on),
            EventBody::PeriodClosed(close) => format!("closed through {}", close.through),
            EventBody::HoldPlaced(_) => "held".into(),
            EventBody::HoldCaptured(captured) => {
                let entry = self.entry(&captured.postings, captured.effective_on);
                let rule = by_rule(captured.fee_rule);
                format!("{entry}{rule} left {} released {}", captured.left_minor, captured.released_minor)
            }
            EventBody::HoldVoided(voided) => format!("voided {}", voided.released),
            EventBody::EntryReversed(reversed) => self.entry(&reversed.postings, reversed.effective_on),
            EventBody::CommandRejected(rejected) => self.refused(&rejected.rejection),
            other => panic!("no verdict: {other:?}"),
        };
        let limit = match decision.limit.as_deref() {
            None => String::new(),
            Some(EventBody::LimitCharged(charged)) => {
                let (money, day) = (Money::new(charged.amount_minor, charged.currency), charged.day);
                format!("charges {money} on {day} ({} {}), ", charged.day_used_minor, charged.month_used_minor)
            }
            Some(EventBody::LimitReleased(released)) => {
                let (money, day) = (Money::new(released.amount_minor, released.currency), released.day);
                format!("returns {money} of {day} ({} {}), ", released.day_used_minor, released.month_used_minor)
            }
            Some(other) => panic!("no matter of limits: {other:?}"),
        };
        opens.concat() + &limit + &verdict
    }

    fn entry(&self, postings: &[Posting], effective_on: CivilDate) -> String {
        let mut words: Vec<_> = postings
            .iter()
            .map(|posting| {
                let side = if posting.side == Side::Debit { "D" } else { "C" };
                format!("{side} {} {}", self.name(posting.account), posting.money)
            })
            .collect();
        if effective_on != self.recorded_at.date_utc() {
            words.push(format!("on {effective_on}"));
        }
        words.join(" ")
    }

    fn refused(&self, rejection: &Rejection) -> String {
        let observed = match rejection {
            Rejection::AmountNotPositive
            | Rejection::AmountTooLarge
            | Rejection::AccountCodeInvalid
            | Rejection::LimitNotPositive
            | Rejection::FeeRuleInvalid
            | Rejection::ConvertedAmountZero
            | Rejection::CalendarMissing => String::new(),
            Rejection::RateSheetInvalid { part } => format!(" {}", part.name()),
            Rejection::SameCurrency { currency } | Rejection::RateNotFound { currency } => format!(" {currency}"),
            Rejection::RateSheetNotFound { newest } => format!(" {newest}"),
            Rejection::RateSheetStale { valid_until: at } | Rejection::QuoteExpired { expires_at: at } => {
                format!(" {}", (self.recorded_at.0 - at.0) / 1_000_000)
            }
            Rejection::QuoteMismatch { sold_minor, bought_minor } => format!(" {sold_minor} {bought_minor}"),
            Rejection::LinkedItemRefused { item, .. } => format!(" {item}"),
            Rejection::PeriodClosed { through: date } | Rejection::PeriodNotOver { today: date } => format!(" {date}"),
            Rejection::VersionNotNewer { applied } => format!(" {applied}"),
            Rejection::CalendarInvalid { place } => format!(" {place}"),
            Rejection::LimitExceeded { account, window, cap_minor, used_minor, required_minor, resets_at } => {
                let resets = resets_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
                let (account, window) = (self.name(*account), window.name());
                format!(" {account} {window} {cap_minor} {used_minor} {required_minor} {resets}")
            }
            Rejection::PostingsOutOfBounds { count } => format!(" {count}"),
            Rejection::EffectiveDateOutOfRange { earliest, latest } => format!(" {earliest} {latest}"),
            Rejection::AccountExists { account }
            | Rejection::SameAccount { account }
            | Rejection::AccountNotFound { account }
            | Rejection::AccountClosed { account }
            | Rejection::AccountFrozen { account }
            | Rejection::AccountNotFrozen { account }
            | Rejection::HoldNotPossible { account }
            | Rejection::QuoteOfAnother { account }
            | Rejection::BalanceOverflow { account } => format!(" {}", self.name(*account)),
            Rejection::CurrencyMismatch { account, account_currency } => {
                format!(" {} {account_currency}", self.name(*account))
            }
            Rejection::EntryUnbalanced { currency, debits_minor, credits_minor } => {
                format!(" {currency} {debits_minor} {credits_minor}")
            }
            Rejection::AccountNotEmpty { account, balance_minor: minor }
            | Rejection::AccountHasHolds { account, held_minor: minor } => {
                format!(" {} {minor}", self.name(*account))
            }
            Rejection::ExpiryOutOfRange { after, latest } => {
                assert_eq!((*after, latest.0 - after.0), (self.recorded_at, 400 * 86_400_000_000));
                String::new()
            }
            Rejection::HoldNotFound { .. }
            | Rejection::HoldNotOpen { .. }
            | Rejection::OriginalNotFound { .. }
            | Rejection::OriginalNotAnEntry { .. }
            | Rejection::OriginalIsReversal { .. }
            | Rejection::OriginalReversed { .. } => String::new(),
            Rejection::HoldExpired { expires_at, .. } => {
                format!(" {}", (self.recorded_at.0 - expires_at.0) / 1_000_000)
            }
            Rejection::ReversalAboveOriginal { posting, left_minor, required_minor, .. } => {
                format!(" {posting} {left_minor} {required_minor}")
            }
            Rejection::CaptureAboveHold { left_minor, required_minor, .. } => format!(" {left_minor} {required_minor}"),
            Rejection::TooManyHolds { limit } => format!(" {limit}"),
            Rejection::InsufficientFunds { account, available_minor, required_minor } => {
                format!(" {} {available_minor} {required_minor}", self.name(*account))
            }
        };
        format!("{}{observed}", rejection.code())
    }
}

fn by_rule(rule: Option<u64>) -> String {
    rule.map_or_else(String::new, |version| format!(" by rule {version}"))
}

/// The verdict of a command among these events, which are numbered from 1.
pub fn recorded(events: &[Event], id: CommandId) -> Option<RecordedEvent> {
    let at = events.iter().position(|event| event.cause.verdict_of() == Some(id))?;
    let sequence = Sequence(at as u64 + 1);
    Some(RecordedEvent { book: BOOK, sequence, recorded_at: NOON, epoch: Epoch(1), event: events[at].clone() })
}

/// `EUR`, or `EUR/3` for a currency that was recorded with another exponent.
fn currency(word: &str) -> Currency {
    match word.split_once('/') {
        Some((code, exponent)) => {
            Currency::from_parts(code.as_bytes().try_into().unwrap(), exponent.parse().unwrap()).unwrap()
        }
        None => word.parse().unwrap(),
    }
}

/// `12.34`, or `m1234` for minor units of any size.
fn minor(word: &str, currency: Currency) -> i128 {
    match word.strip_prefix('m') {
        Some(minor) => minor.parse().unwrap(),
        None => Money::parse(word, currency).unwrap().amount_minor,
    }
}

fn money(amount: &str, code: &str) -> Money {
    let currency = currency(code);
    Money::new(minor(amount, currency), currency)
}

fn kind(word: &str) -> AccountKind {
    (1..=5).filter_map(AccountKind::from_number).find(|kind| kind.name() == word).unwrap()
}
