//! What a command's events may take is known before it is decided: space, blocks and groups are planned by it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use event_schemas::bounds::{
    AMOUNT_MAX_MINOR, BATCH_MAX_COMMANDS, BLOCK_MAX_BYTES, CALENDAR_DAYS_MAX, CODE_MAX_BYTES, EVENT_MAX_BYTES,
    EVENTS_PER_COMMAND_MAX, MARGIN_RULES_MAX, OWNER_MAX_BYTES, POSTINGS_MAX, RATE_NAME_MAX_BYTES, SHEET_RATES_MAX,
    TEXT_MAX_BYTES, TOTAL_MAX_MINOR,
};
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, Caps, CaptureHold, CashMove, ClosePeriod, ConvertFunds, FeeKind, FixedSide,
    MarginRule, NoticeChannel, NoticeTopic, OpenAccount, PlaceHold, PostEntry, PostTransfer, PublishCalendar,
    PublishRateSheet, QuotedRate, ReverseEntry, ReversedPart, SetFeeRule, SetLimits, SetNotificationPreferences,
    TransferUpTo, VoidHold,
};
use event_schemas::event::{BookOpened, HoldPlaced, LimitCharged};
use event_schemas::{
    AccountId, BookId, Cause, CivilDate, Command, CommandBody, CommandId, Currency, Epoch, Event, EventBody, Money,
    Posting, PrincipalId, RecordedEvent, Sequence, Timestamp, testing,
};
use ledger_core::bound;
use ledger_core::decide::{Context, decide, named, next_expiry};
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{
    AppendError, CheckpointFault, Checkpoints, Clock, CommandSink as _, Head, IdIndex, IdIndexFault, Journal,
    JournalFault, JournalReader,
};
use ledger_core::state::State;
use proptest::prelude::*;
use stores::memory::{MemoryBook, MemoryJournal};

const NOW: Timestamp = Timestamp(1_795_262_400_000_000);
const ID: u128 = u128::MAX;

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn longest_owner() -> Box<str> {
    "x".repeat(OWNER_MAX_BYTES).into()
}

/// A hold that is open, charged to limits, and due a second from now; and an entry that can be reversed.
const HOLD: CommandId = CommandId(ID - 1);
const ENTRY: CommandId = CommandId(ID - 2);

/// A state whose accounts have the longest totals and the longest owners, with limits, a hold, a calendar and fee rules: what is
/// observed in a rejection is as long as it gets, and so is what is charged and given back.
fn rich_state() -> State {
    let mut state = State::new();
    let mut apply = |body| state.apply(&Event::engine(body)).unwrap();
    apply(EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce: PrincipalId(3) }));
    for (account, policy) in [
        (1, BalancePolicy::Limited { overdraft_minor: AMOUNT_MAX_MINOR }),
        (2, BalancePolicy::NO_OVERDRAFT),
        (3, BalancePolicy::Unlimited),
    ] {
        apply(EventBody::AccountOpened(OpenAccount {
            account: AccountId(account),
            code: "".into(),
            kind: AccountKind::Liability,
            currency: eur(),
            owner: longest_owner(),
            policy,
        }));
    }
    let most = Money::new(TOTAL_MAX_MINOR - 1, eur());
    let postings = [Posting::debit(AccountId(3), most), Posting::credit(AccountId(1), most)];
    let starts = [-12, 12].map(|hours| Timestamp(NOW.0 + hours * 3_600_000_000)).to_vec();
    let (zone, tz_version, first_day) = ("".into(), "".into(), NOW.date_utc());
    apply(EventBody::CalendarPublished(PublishCalendar { version: u64::MAX, zone, tz_version, first_day, starts }));
    let most_of_all = Some(AMOUNT_MAX_MINOR);
    let caps = Caps { per_transfer_minor: most_of_all, daily_minor: most_of_all, monthly_minor: most_of_all };
    let version = u64::MAX;
    apply(EventBody::LimitsSet(SetLimits { owner: longest_owner(), currency: eur(), version, caps }));
    for kind in FeeKind::ALL {
        let (fixed_minor, rate_ppm, min_minor, max_minor) = (0, 500_000, 0, None);
        let currency = eur();
        apply(EventBody::FeeRuleSet(SetFeeRule {
            kind,
            currency,
            version,
            fixed_minor,
            rate_ppm,
            min_minor,
            max_minor,
        }));
    }
    apply(EventBody::EntryPosted(event_schemas::event::EntryPosted {
        kind: event_schemas::EntryKind::General,
        fee_rule: None,
        at_most_minor: None,
        effective_on: CivilDate::from_days(1).unwrap(),
        effective_on_named: false,
        reference: "".into(),
        postings: postings.into_iter().collect(),
    }));
    let half = AMOUNT_MAX_MINOR / 2;
    let verdict = Cause::Verdict { command: HOLD, actor: PrincipalId(ID) };
    let charged = LimitCharged {
        owner: longest_owner(),
        currency: eur(),
        account: AccountId(1),
        amount_minor: half,
        day: NOW.date_utc(),
        hold: Some(HOLD),
        version,
        caps,
        day_used_minor: half,
        month_used_minor: half,
    };
    let (amount, expires_at) = (Money::new(half, eur()), Some(Timestamp(NOW.0 + 1_000_000)));
    let placed = HoldPlaced { account: AccountId(1), amount, expires_at, reference: "".into() };
    for body in [EventBody::LimitCharged(charged), EventBody::HoldPlaced(placed)] {
        state.apply(&Event { cause: verdict, body }).unwrap();
    }
    state
}

fn minor() -> impl Strategy<Value = i128> {
    prop_oneof![
        prop::sample::select(vec![
            0,
            1,
            -1,
            AMOUNT_MAX_MINOR,
            AMOUNT_MAX_MINOR + 1,
            TOTAL_MAX_MINOR,
            -TOTAL_MAX_MINOR,
            TOTAL_MAX_MINOR + 1
        ]),
        -TOTAL_MAX_MINOR..TOTAL_MAX_MINOR,
        1..AMOUNT_MAX_MINOR,
    ]
}

fn account() -> impl Strategy<Value = AccountId> {
    prop_oneof![6 => (1..4_u128).prop_map(AccountId), 1 => Just(AccountId(u128::MAX))]
}

fn currency() -> impl Strategy<Value = Currency> {
    prop_oneof![4 => Just(eur()), 1 => prop::sample::select(vec!["USD", "JPY"]).prop_map(|code| code.parse().unwrap())]
}

fn date() -> impl Strategy<Value = Option<CivilDate>> {
    prop_oneof![
        Just(None),
        Just(Some(CivilDate::MAX)),
        Just(Some(CivilDate::MIN)),
        (0..20_000).prop_map(CivilDate::from_days)
    ]
}

fn text(max: usize) -> impl Strategy<Value = Box<str>> {
    prop_oneof![Just(0), Just(max), Just(max + 1), 0..max].prop_map(|length| "x".repeat(length).into_boxed_str())
}

fn cash() -> impl Strategy<Value = CashMove> {
    (account(), minor(), currency(), minor(), date(), text(TEXT_MAX_BYTES)).prop_map(
        |(account, minor, currency, fee_minor, effective_on, reference)| CashMove {
            account,
            amount: Money::new(minor, currency),
            fee_minor: Some(fee_minor).filter(|fee| fee % 3 != 0),
            effective_on,
            reference,
        },
    )
}

fn entry() -> impl Strategy<Value = PostEntry> {
    let posting = (account(), minor(), currency(), any::<bool>()).prop_map(|(account, minor, currency, debit)| {
        let money = Money::new(minor, currency);
        if debit { Posting::debit(account, money) } else { Posting::credit(account, money) }
    });
    let count = prop_oneof![4 => 0..6_usize, 1 => Just(POSTINGS_MAX), 1 => Just(POSTINGS_MAX + 1)];
    let postings = (prop::collection::vec(posting, 1..8), count)
        .prop_map(|(several, count)| several.into_iter().cycle().take(count).collect());
    (postings, date(), text(TEXT_MAX_BYTES)).prop_map(|(postings, effective_on, reference)| PostEntry {
        postings,
        effective_on,
        reference,
    })
}

fn body() -> impl Strategy<Value = CommandBody> {
    let act = || (account(), text(TEXT_MAX_BYTES)).prop_map(|(account, reason)| AccountAct { account, reason });
    let policy = prop_oneof![
        Just(BalancePolicy::Unlimited),
        minor().prop_map(|overdraft_minor| BalancePolicy::Limited { overdraft_minor })
    ];
    let open = (account(), text(CODE_MAX_BYTES), testing::account_kind(), currency(), text(OWNER_MAX_BYTES), policy)
        .prop_map(|(account, code, kind, currency, owner, policy)| OpenAccount {
            account,
            code,
            kind,
            currency,
            owner,
            policy,
        });
    let hold = || prop_oneof![8 => Just(HOLD), 1 => Just(CommandId(7))];
    let entry_id = prop_oneof![8 => Just(ENTRY), 1 => Just(CommandId(7))];
    let deadline = prop::option::of(prop::sample::select(vec![NOW.0 - 1, NOW.0 + 1, Timestamp::MAX.0]));
    let place = (account(), minor(), currency(), deadline, text(TEXT_MAX_BYTES));
    let part = (0..4_u32, minor()).prop_map(|(posting, amount_minor)| ReversedPart { posting, amount_minor });
    let reverse = (entry_id, prop::option::of(prop::collection::vec(part, 0..5)), date(), text(TEXT_MAX_BYTES));
    let caps = (prop::option::of(minor()), prop::option::of(minor()), prop::option::of(minor()));
    let starts = prop::sample::select(vec![0, 1, 2, CALENDAR_DAYS_MAX + 1, CALENDAR_DAYS_MAX + 2]);
    let calendar = (starts, prop::sample::select(vec![21, 24, 29]), text(TEXT_MAX_BYTES), text(TEXT_MAX_BYTES));
    let kind = prop::sample::select(FeeKind::ALL.to_vec());
    let rule = (kind, currency(), any::<u64>(), minor(), any::<u32>(), minor(), prop::option::of(minor()));
    let through = date().prop_map(|date| date.unwrap_or(CivilDate::MIN));
    let channels = || NoticeChannel::ALL.into_iter().collect();
    let topics = any::<bool>()
        .prop_map(move |all| NoticeTopic::ALL.into_iter().filter(|_| all).map(|topic| (topic, channels())).collect());
    prop_oneof![
        place
            .prop_map(|(account, minor, currency, deadline, reference)| {
                let (amount, expires_at) = (Money::new(minor, currency), deadline.map(Timestamp));
                CommandBody::PlaceHold(PlaceHold { account, amount, expires_at, reference })
            })
            .boxed(),
        (hold(), any::<bool>(), cash())
            .prop_map(|(hold, last, cash)| {
                CommandBody::CaptureHold(CaptureHold {
                    hold,
                    to: cash.account,
                    amount: cash.amount,
                    fee_minor: cash.fee_minor,
                    last,
                    effective_on: cash.effective_on,
                    reference: cash.reference,
                })
            })
            .boxed(),
        (hold(), text(TEXT_MAX_BYTES))
            .prop_map(|(hold, reason)| CommandBody::VoidHold(VoidHold { hold, reason }))
            .boxed(),
        reverse
            .prop_map(|(entry, postings, effective_on, reference)| {
                CommandBody::ReverseEntry(ReverseEntry { entry, postings, effective_on, reference })
            })
            .boxed(),
        (account(), cash())
            .prop_map(|(to, cash)| {
                CommandBody::TransferUpTo(TransferUpTo {
                    from: cash.account,
                    to,
                    at_most: cash.amount,
                    effective_on: cash.effective_on,
                    reference: cash.reference,
                })
            })
            .boxed(),
        (text(OWNER_MAX_BYTES), currency(), any::<u64>(), caps)
            .prop_map(|(owner, currency, version, (per_transfer_minor, daily_minor, monthly_minor))| {
                let caps = Caps { per_transfer_minor, daily_minor, monthly_minor };
                CommandBody::SetLimits(SetLimits { owner, currency, version, caps })
            })
            .boxed(),
        calendar
            .prop_map(|(count, hours, zone, tz_version)| {
                // Just below the end of time, where numbers are longest.
                let start = |place: usize| {
                    Timestamp(Timestamp::MAX.0 - (900 - i64::try_from(place).unwrap()) * hours * 3_600_000_000)
                };
                let starts: Vec<_> = (0..count).map(start).collect();
                let first_day = starts.first().map_or(CivilDate::MIN, |start| start.date_utc());
                CommandBody::PublishCalendar(PublishCalendar { version: u64::MAX, zone, tz_version, first_day, starts })
            })
            .boxed(),
        rule.prop_map(|(kind, currency, version, fixed_minor, rate_ppm, min_minor, max_minor)| {
            CommandBody::SetFeeRule(SetFeeRule { kind, currency, version, fixed_minor, rate_ppm, min_minor, max_minor })
        })
        .boxed(),
        (through, text(TEXT_MAX_BYTES))
            .prop_map(|(through, reason)| CommandBody::ClosePeriod(ClosePeriod { through, reason }))
            .boxed(),
        (text(OWNER_MAX_BYTES), any::<u64>(), topics)
            .prop_map(|(owner, version, topics)| {
                CommandBody::SetNotificationPreferences(SetNotificationPreferences { owner, version, topics })
            })
            .boxed(),
        (0..=SHEET_RATES_MAX, 0..=MARGIN_RULES_MAX).prop_map(|(rates, margins)| longest_sheet(rates, margins)).boxed(),
        (account(), account(), any::<bool>(), text(OWNER_MAX_BYTES), text(TEXT_MAX_BYTES))
            .prop_map(|(from, to, all, owner, reference)| longest_conversion(from, to, all, owner, reference))
            .boxed(),
        open.prop_map(CommandBody::OpenAccount).boxed(),
        act().prop_map(CommandBody::FreezeAccount).boxed(),
        act().prop_map(CommandBody::UnfreezeAccount).boxed(),
        act().prop_map(CommandBody::CloseAccount).boxed(),
        cash().prop_map(CommandBody::TopUp).boxed(),
        cash().prop_map(CommandBody::Withdraw).boxed(),
        (account(), cash())
            .prop_map(|(to, cash)| CommandBody::PostTransfer(PostTransfer {
                from: cash.account,
                to,
                amount: cash.amount,
                fee_minor: cash.fee_minor,
                effective_on: cash.effective_on,
                reference: cash.reference,
            }))
            .boxed(),
        entry().prop_map(CommandBody::PostEntry).boxed(),
    ]
}

/// A sheet of so many rates and margins, all as long as they get.
fn longest_sheet(rates: usize, margins: usize) -> CommandBody {
    let code = |place: usize| {
        let letter = |digit: usize| b'A' + u8::try_from(digit % 26).unwrap();
        Currency::from_parts([letter(place / 676), letter(place / 26), letter(place)], 4).unwrap()
    };
    let rate = |place| QuotedRate { currency: code(place), per_pivot: "0.99999999999999".parse().unwrap() };
    let rule = |_| MarginRule {
        tier: Some("x".repeat(RATE_NAME_MAX_BYTES).into()),
        sold: Some(code(0)),
        bought: Some(code(1)),
        margin_ppm: 500_000,
    };
    CommandBody::PublishRateSheet(PublishRateSheet {
        version: u64::MAX,
        pivot: eur(),
        source: "x".repeat(RATE_NAME_MAX_BYTES).into(),
        quoted_on: CivilDate::MAX,
        fetched_at: Timestamp::MAX,
        valid_until: Timestamp(NOW.0 + 366 * 86_400_000_000),
        quote_seconds: 3_600,
        rates: (0..rates).map(rate).collect(),
        margins: (1..margins).map(rule).chain([MarginRule::for_all(500_000)]).collect(),
    })
}

/// A conversion with the longest texts, of the longest amounts, or of one that takes place.
fn longest_conversion(from: AccountId, to: AccountId, all: bool, owner: Box<str>, reference: Box<str>) -> CommandBody {
    let longest = if all { -TOTAL_MAX_MINOR } else { AMOUNT_MAX_MINOR };
    let usd: Currency = "USD".parse().unwrap();
    CommandBody::ConvertFunds(ConvertFunds {
        from,
        to,
        owner,
        fixed: FixedSide::Sold,
        sold: Money::new(longest, eur()),
        bought: Money::new(longest, usd),
        tier: "x".repeat(RATE_NAME_MAX_BYTES).into(),
        sheet: u64::MAX,
        expires_at: Timestamp::MAX,
        reference,
    })
}

/// A conversion that takes place, opens all the book's own accounts and is charged to limits, with the longest texts.
#[test]
fn the_longest_conversion_is_within_its_bound() {
    let mut state = rich_state();
    let usd: Currency = "USD".parse().unwrap();
    let (sell, buy) = (AccountId(11), AccountId(12));
    for (account, currency) in [(sell, eur()), (buy, usd)] {
        let open = OpenAccount {
            account,
            code: "".into(),
            kind: AccountKind::Liability,
            currency,
            owner: longest_owner(),
            policy: BalancePolicy::Unlimited,
        };
        state.apply(&Event::engine(EventBody::AccountOpened(open))).unwrap();
    }
    let caps = Caps { per_transfer_minor: Some(AMOUNT_MAX_MINOR), ..Caps::NONE };
    let limits = SetLimits { owner: longest_owner(), currency: eur(), version: u64::MAX, caps };
    state.apply(&Event::engine(EventBody::LimitsSet(limits))).unwrap();
    let CommandBody::PublishRateSheet(mut sheet) = longest_sheet(1, 1) else { unreachable!() };
    sheet.rates[0] = QuotedRate { currency: usd, per_pivot: "0.99999999999999".parse().unwrap() };
    sheet.margins[0].margin_ppm = 333_333;
    state.apply(&Event::engine(EventBody::RateSheetPublished(sheet.clone()))).unwrap();
    let price = ledger_core::fx::Price::new(sheet.mid(eur(), usd).unwrap(), eur(), usd, 333_333);
    let mut longest = 0;
    for less in 0..1_000 {
        let amounts = price.amounts(FixedSide::Sold, AMOUNT_MAX_MINOR - less).unwrap();
        let reference = "x".repeat(TEXT_MAX_BYTES).into();
        let mut body = longest_conversion(sell, buy, false, longest_owner(), reference);
        let CommandBody::ConvertFunds(convert) = &mut body else { unreachable!() };
        (convert.sold.amount_minor, convert.bought.amount_minor) = (amounts.sold_minor, amounts.bought_minor);
        let command = Command { id: CommandId(ID), actor: PrincipalId(ID), body };
        let decision = decide(&state, Context::at(NOW), &command);
        assert!(matches!(decision.verdict, EventBody::ConversionPosted(_)), "{decision:?}");
        let (opens, limited) = (decision.opens.len(), decision.limit.is_some());
        let mut bytes = Vec::new();
        decision.events(&command).for_each(|event| event.encode(&mut bytes));
        assert!(bytes.len() <= bound::event_bytes(&command), "{}", bytes.len());
        if opens == 4 && limited {
            longest = longest.max(bytes.len());
        }
    }
    assert!(longest > 1_000, "{longest}");
}

/// An entry of three postings of the largest amounts.
fn original() -> RecordedEvent {
    let most = Money::new(AMOUNT_MAX_MINOR, eur());
    let postings =
        [Posting::debit(AccountId(3), most), Posting::credit(AccountId(1), most), Posting::debit(AccountId(2), most)];
    let body = EventBody::EntryPosted(event_schemas::event::EntryPosted {
        kind: event_schemas::EntryKind::General,
        fee_rule: None,
        at_most_minor: None,
        effective_on: NOW.date_utc(),
        effective_on_named: false,
        reference: "".into(),
        postings: postings.into_iter().collect(),
    });
    let event = Event { cause: Cause::Verdict { command: ENTRY, actor: PrincipalId(ID) }, body };
    let (book, sequence) = (BookId::FIRST, Sequence(u64::MAX));
    RecordedEvent { book, sequence, recorded_at: NOW, epoch: Epoch(1), event }
}

/// A batch of as many moves of money as it may have, with the longest texts, is within the bound of a group.
#[test]
fn the_longest_batch_of_moves_fits_a_group() {
    let (account, amount, reference) = (AccountId(1), Money::new(1, eur()), "x".repeat(TEXT_MAX_BYTES).into());
    let cash = CashMove { account, amount, fee_minor: None, effective_on: None, reference };
    for body in [CommandBody::TopUp(cash.clone()), CommandBody::Withdraw(cash)] {
        let command = Command { id: CommandId(ID), actor: PrincipalId(ID), body };
        assert!(bound::event_bytes(&command) * BATCH_MAX_COMMANDS <= EngineOptions::default().group_max_bytes);
    }
}

/// An expiry that gives back, with the longest owner and amounts.
#[test]
fn no_expiry_takes_more_than_its_bound() {
    let expiry = next_expiry(&rich_state(), Timestamp(NOW.0 + 1_000_000)).unwrap();
    assert!(matches!(expiry[..], [EventBody::LimitReleased(_), EventBody::HoldExpired(_)]));
    let mut bytes = Vec::new();
    expiry.into_iter().for_each(|body| Event::engine(body).encode(&mut bytes));
    assert!(bytes.len() <= bound::EXPIRY_BYTES && bytes.len() > bound::EXPIRY_BYTES / 2, "{} bytes", bytes.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn no_command_takes_more_than_its_bound(body in body()) {
        let command = Command { id: CommandId(ID), actor: PrincipalId(ID), body };
        // What is out of bounds is not taken; a text or a posting too many would not even encode.
        if bound::check(&command).is_err() {
            return Ok(());
        }
        let state = rich_state();
        let original = original();
        let named = named(&state, &command.body).filter(|id| *id == ENTRY).map(|_| &original);
        let decision = decide(&state, Context { recorded_at: NOW, named }, &command);
        let mut bytes = Vec::new();
        let mut count = 0;
        for event in decision.events(&command) {
            let before = bytes.len();
            event.encode(&mut bytes);
            prop_assert!(bytes.len() - before <= EVENT_MAX_BYTES);
            count += 1;
        }
        prop_assert!(count <= EVENTS_PER_COMMAND_MAX);
        prop_assert!(bytes.len() <= bound::event_bytes(&command), "{} of {:?}", bytes.len(), command);
    }
}

/// A journal that holds the engine to its word: no append takes more than was secured for it.
struct Exact(MemoryJournal, usize);

impl Journal for Exact {
    fn head(&self) -> Head {
        self.0.head()
    }
    fn epoch(&self) -> event_schemas::Epoch {
        self.0.epoch()
    }
    fn secure_space(&mut self, bytes: usize) -> Result<(), AppendError> {
        self.1 = bytes;
        self.0.secure_space(bytes)
    }
    fn append(&mut self, blocks: &[event_schemas::Block]) -> Result<(), AppendError> {
        let bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
        assert!(bytes <= self.1, "{bytes} bytes where {} were secured", self.1);
        assert!(blocks.iter().all(|block| block.bytes().len() <= BLOCK_MAX_BYTES));
        self.0.append(blocks)
    }
    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault> {
        self.0.reader()
    }
}

#[derive(Default)]
struct NoIds(Sequence);

impl IdIndex for NoIds {
    fn indexed_sequence(&self) -> Sequence {
        self.0
    }
    fn lookup(&mut self, _: CommandId) -> Result<Option<Sequence>, IdIndexFault> {
        Ok(None)
    }
    fn record(&mut self, _: &[(CommandId, Sequence)], through: Sequence) -> Result<(), IdIndexFault> {
        self.0 = through;
        Ok(())
    }
    fn clear(&mut self) -> Result<(), IdIndexFault> {
        Ok(())
    }
}

struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn sequences(&self) -> Result<Vec<Sequence>, CheckpointFault> {
        Ok(Vec::new())
    }
    fn store(&self, _: Sequence, _: &[u8]) -> Result<(), CheckpointFault> {
        Ok(())
    }
    fn load(&self, _: Sequence) -> Result<Option<Vec<u8>>, CheckpointFault> {
        Ok(None)
    }
    fn discard(&self, _: Sequence) -> Result<(), CheckpointFault> {
        Ok(())
    }
}

#[test]
fn the_largest_entries_fill_blocks_that_stay_within_their_bound() {
    let book = MemoryBook::new(BookId::FIRST);
    let engine = Engine::start(EngineParts {
        journal: Box::new(Exact(book.writer(), 0)),
        ids: Box::<NoIds>::default(),
        checkpoints: Arc::new(NoCheckpoints),
        clock: Clock { wall: Arc::new(|| NOW), monotonic_us: Arc::new(|| 0) },
        options: EngineOptions::default(),
    })
    .unwrap();
    // A thousand postings of unknown accounts, each in another currency than the one before it: nothing is written short.
    let currencies = [eur(), "USD".parse().unwrap()];
    let largest = |nth: u128| {
        let posting = |place: usize| {
            let money = Money::new(TOTAL_MAX_MINOR - 1, currencies[place % 2]);
            Posting::debit(AccountId(u128::MAX - u128::try_from(place).unwrap()), money)
        };
        let body = CommandBody::PostEntry(PostEntry {
            postings: (0..POSTINGS_MAX).map(posting).collect(),
            effective_on: Some(CivilDate::MAX),
            reference: "x".repeat(TEXT_MAX_BYTES).into(),
        });
        Command { id: CommandId(u128::MAX - nth), actor: PrincipalId(u128::MAX), body }
    };
    // Small ones between them, so that every fill of a block is met.
    let small = |nth: u128| {
        let body = CommandBody::FreezeAccount(AccountAct { account: AccountId(nth), reason: "".into() });
        Command { id: CommandId(nth), actor: PrincipalId(u128::MAX), body }
    };
    for round in 0..4_u128 {
        let (sender, receiver) = channel();
        let commands: Vec<Command> = (0..180)
            .map(|nth| largest(round * 1_000 + nth))
            .chain((1..400).map(|nth| small(round * 1_000 + nth)))
            .collect();
        let count = commands.len();
        engine.try_submit(commands, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_mins(1)).unwrap().unwrap().len(), count);
    }
    engine.stop();
    let full = book.blocks().iter().filter(|block| block.bytes().len() > BLOCK_MAX_BYTES - 64 * 1024).count();
    assert!(full > 16, "{full} blocks were filled");
}
