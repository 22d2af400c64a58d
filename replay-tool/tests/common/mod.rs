//! A book for tests: commands decided by the rules of `ledger-core` and sealed into blocks, and a reader of such blocks.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value)]

pub mod bank;

use event_schemas::block::BlockPlace;
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, CaptureHold, CashMove, ConvertFunds, FixedSide, MarginRule, OpenAccount,
    PlaceHold, PostEntry, PostTransfer, PublishRateSheet, QuotedRate, ReverseEntry, VoidHold,
};
use event_schemas::event::{BookOpened, HoldExpired, StateDigest};
use event_schemas::{
    AccountId, Block, BlockBuilder, BookId, CivilDate, Command, CommandBody, CommandId, Currency, Digest, Epoch, Event,
    EventBody, Money, Posting, PrincipalId, RecordedEvent, Sequence, Timestamp,
};
use ledger_core::decide::{Context, decide, named};
use ledger_core::fx::Price;
use ledger_core::ports::{Head, JournalFault, JournalReader};
use ledger_core::state::State;
use replay_tool::journal::Journal;
use replay_tool::progress::Progress;

/// 2026-11-20T10:00:00Z.
const START: i64 = 1_795_168_800_000_000;

/// Blocks as a writer would make them, one second apart.
pub struct Book {
    pub state: State,
    pub blocks: Vec<Block>,
    history: Vec<RecordedEvent>,
    builder: BlockBuilder,
    next: Sequence,
    commands: u128,
    actor: PrincipalId,
}

impl Book {
    pub fn open() -> Self {
        let mut book = Self {
            state: State::new(),
            blocks: Vec::new(),
            history: Vec::new(),
            builder: BlockBuilder::new(),
            next: Sequence(1),
            commands: 0,
            actor: PrincipalId::derive("bank", "importer"),
        };
        let opened = BookOpened { book: BookId::FIRST, nonce: PrincipalId(0x5eed) };
        book.push(Event::engine(EventBody::BookOpened(opened)));
        book.seal();
        book
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(START + 1_000_000 * i64::try_from(self.blocks.len()).unwrap())
    }

    fn push(&mut self, event: Event) {
        self.state.apply(&event).unwrap();
        self.builder.push(&event);
        let (sequence, recorded_at) = (self.next, self.now());
        self.history.push(RecordedEvent { book: BookId::FIRST, sequence, recorded_at, epoch: Epoch(1), event });
        self.next = self.next.next();
    }

    /// The id of the command that was run last.
    pub fn last(&self) -> CommandId {
        CommandId(0xc0de << 64 | self.commands)
    }

    /// Decides a command and adds its events to the block.
    pub fn run(&mut self, body: CommandBody) -> EventBody {
        self.commands += 1;
        let command = Command { id: self.last(), actor: self.actor, body };
        let earlier = named(&self.state, &command.body);
        let earlier = self.history.iter().find(|one| earlier.is_some() && one.event.cause.verdict_of() == earlier);
        let decision = decide(&self.state, Context { recorded_at: self.now(), named: earlier }, &command);
        let verdict = decision.verdict.clone();
        for event in decision.events(&command) {
            self.push(event);
        }
        verdict
    }

    /// Adds the state's digest.
    pub fn digest(&mut self) {
        let digest = self.state.digest();
        let accounts = self.state.accounts().len() as u64;
        self.push(Event::engine(EventBody::StateDigest(StateDigest { digest, accounts })));
    }

    /// Adds a block with a digest that is not the state's.
    pub fn forge_digest(&mut self) {
        let digest = StateDigest { digest: Digest([7; 32]), accounts: 1 };
        self.builder.push(&Event::engine(EventBody::StateDigest(digest)));
        self.next = self.next.next();
        self.seal();
    }

    /// Closes the block.
    pub fn seal(&mut self) {
        if self.builder.is_empty() {
            return;
        }
        let first_sequence = Sequence(self.next.0 - u64::from(self.builder.count()));
        let previous = self.blocks.last().map_or(Digest::default(), Block::hash);
        let place =
            BlockPlace { book: BookId::FIRST, first_sequence, recorded_at: self.now(), epoch: Epoch(1), previous };
        let block = self.builder.seal(place);
        self.blocks.push(block);
    }

    pub fn account(&mut self, code: &str, kind: AccountKind, currency: &str, policy: BalancePolicy) -> AccountId {
        let account = AccountId::from_code(BookId::FIRST, code);
        let verdict = self.run(CommandBody::OpenAccount(OpenAccount {
            account,
            code: code.into(),
            kind,
            currency: currency.parse().unwrap(),
            owner: "".into(),
            policy,
        }));
        assert!(matches!(verdict, EventBody::AccountOpened(_)), "{verdict:?}");
        account
    }

    pub fn top_up(&mut self, account: AccountId, amount: Money, fee_minor: i128, on: Option<&str>) -> EventBody {
        let effective_on = on.map(|date| date.parse().unwrap());
        self.run(CommandBody::TopUp(CashMove {
            account,
            amount,
            fee_minor: Some(fee_minor),
            effective_on,
            reference: "cash in".into(),
        }))
    }

    pub fn transfer(
        &mut self,
        from: AccountId,
        to: AccountId,
        amount: Money,
        on: Option<&str>,
        reference: &str,
    ) -> EventBody {
        let effective_on = on.map(|date| date.parse().unwrap());
        self.run(CommandBody::PostTransfer(PostTransfer {
            from,
            to,
            amount,
            fee_minor: Some(0),
            effective_on,
            reference: reference.into(),
        }))
    }

    pub fn entry(&mut self, postings: &[Posting], on: &str) -> EventBody {
        self.run(CommandBody::PostEntry(PostEntry {
            postings: postings.iter().copied().collect(),
            effective_on: Some(on.parse().unwrap()),
            reference: "".into(),
        }))
    }

    pub fn hold(&mut self, account: AccountId, amount: Money, expires_at: Option<Timestamp>) -> CommandId {
        let hold = PlaceHold { account, amount, expires_at, reference: "room 7".into() };
        let verdict = self.run(CommandBody::PlaceHold(hold));
        assert!(matches!(verdict, EventBody::HoldPlaced(_)), "{verdict:?}");
        self.last()
    }

    pub fn capture(&mut self, hold: CommandId, to: AccountId, amount: Money, last: bool, on: &str) -> CommandId {
        let effective_on = Some(date(on));
        let capture =
            CaptureHold { hold, to, amount, fee_minor: Some(5), last, effective_on, reference: "one night".into() };
        let verdict = self.run(CommandBody::CaptureHold(capture));
        assert!(matches!(verdict, EventBody::HoldCaptured(_)), "{verdict:?}");
        self.last()
    }

    /// Converts so many minor units by the first rate sheet, which is published if there is none yet.
    pub fn conversion(&mut self, from: (AccountId, &str), to: (AccountId, &str), sold_minor: i128) {
        let currency = |code: &str| code.parse::<Currency>().unwrap();
        if self.state.rate_sheet(1).is_none() {
            let rate =
                |code: &str, rate: &str| QuotedRate { currency: currency(code), per_pivot: rate.parse().unwrap() };
            let now = self.now();
            let verdict = self.run(CommandBody::PublishRateSheet(PublishRateSheet {
                version: 1,
                pivot: currency("EUR"),
                source: "ecb".into(),
                quoted_on: now.date_utc(),
                fetched_at: now,
                valid_until: Timestamp(now.0 + 86_400_000_000),
                quote_seconds: 30,
                rates: vec![rate("BHD", "0.4071"), rate("JPY", "178.53"), rate("USD", "1.0829")],
                margins: vec![MarginRule::for_all(10_000)],
            }));
            assert!(matches!(verdict, EventBody::RateSheetPublished(_)), "{verdict:?}");
        }
        let sheet = self.state.rate_sheet(1).unwrap();
        let (sold, bought) = (currency(from.1), currency(to.1));
        let price = Price::new(sheet.mid(sold, bought).unwrap(), sold, bought, 10_000);
        let amounts = price.amounts(FixedSide::Sold, sold_minor).unwrap();
        let verdict = self.run(CommandBody::ConvertFunds(ConvertFunds {
            from: from.0,
            to: to.0,
            owner: "".into(),
            fixed: FixedSide::Sold,
            sold: Money::new(sold_minor, sold),
            bought: Money::new(amounts.bought_minor, bought),
            tier: "".into(),
            sheet: 1,
            expires_at: self.now(),
            reference: "".into(),
        }));
        assert!(matches!(verdict, EventBody::ConversionPosted(_)), "{verdict:?}");
    }

    pub fn close_account(&mut self, account: AccountId) -> EventBody {
        self.run(CommandBody::CloseAccount(AccountAct { account, reason: "moved away".into() }))
    }

    pub fn head(&self) -> Head {
        head_of(&self.blocks)
    }

    /// The journal as the tool sees it.
    pub fn journal(&self) -> Journal {
        let reader = Blocks { blocks: self.blocks.clone(), next: 0 };
        Journal::new(Box::new(reader), self.head(), Progress::hidden()).unwrap()
    }
}

pub fn head_of(blocks: &[Block]) -> Head {
    let Some(last) = blocks.last() else { return Head::default() };
    let header = last.header();
    Head { sequence: header.last_sequence(), hash: last.hash(), recorded_at: header.recorded_at, epoch: header.epoch }
}

pub fn money(text: &str, currency: &str) -> Money {
    Money::parse(text, currency.parse::<Currency>().unwrap()).unwrap()
}

pub fn date(text: &str) -> CivilDate {
    text.parse().unwrap()
}

/// Reads blocks from memory.
pub struct Blocks {
    blocks: Vec<Block>,
    next: usize,
}

impl JournalReader for Blocks {
    fn block_at(&mut self, sequence: Sequence) -> Result<Option<Block>, JournalFault> {
        let place = self.blocks.iter().position(|block| block.header().last_sequence() >= sequence);
        self.next = place.map_or(self.blocks.len(), |place| place + 1);
        Ok(place.map(|place| self.blocks[place].clone()))
    }

    fn next_block(&mut self) -> Result<Option<Block>, JournalFault> {
        let block = self.blocks.get(self.next).cloned();
        self.next += usize::from(block.is_some());
        Ok(block)
    }
}

/// A small book with everything in it that an export or a listing could trip over: two currencies of other exponents,
/// entries recorded out of the order of their dates, codes and references that need spelling, a refusal, a closed account.
pub fn odd_book() -> Book {
    let mut book = Book::open();
    let none = BalancePolicy::NO_OVERDRAFT;
    let alice = book.account("berka:2378", AccountKind::Liability, "CZK", none);
    let bob = book.account("Berka.2378", AccountKind::Liability, "CZK", none);
    let twin = book.account("berka-2378", AccountKind::Liability, "CZK", BalancePolicy::Unlimited);
    book.seal();
    book.top_up(alice, money("1000.00", "CZK"), 0, Some("1993-01-05"));
    book.top_up(bob, money("50.50", "CZK"), 125, Some("1993-03-01"));
    book.seal();
    book.transfer(alice, bob, money("100.25", "CZK"), Some("1993-02-03"), "for \"rent\"; back\\slash | é\u{7}");
    book.transfer(bob, twin, money("9999.00", "CZK"), None, "too much");
    book.transfer(alice, twin, money("0.01", "CZK"), Some("1993-01-05"), "");
    book.seal();
    let yen = book.account("yen", AccountKind::Liability, "JPY", none);
    let dinar = book.account("dinar", AccountKind::Expense, "BHD", BalancePolicy::Unlimited);
    let capital = book.account("capital", AccountKind::Equity, "BHD", BalancePolicy::Unlimited);
    book.top_up(yen, money("12345", "JPY"), 0, None);
    book.entry(
        &[Posting::debit(dinar, money("1.234", "BHD")), Posting::credit(capital, money("1.234", "BHD"))],
        "1993-06-30",
    );
    book.digest();
    book.seal();
    book.transfer(twin, alice, money("0.01", "CZK"), Some("1993-01-06"), "all of it");
    book.close_account(twin);
    book.seal();
    book
}

/// A book of holds: captured twice, voided, expired, refused; and a capture reversed with effect on an earlier day.
pub fn held_book() -> Book {
    let mut book = Book::open();
    let guest = book.account("guest", AccountKind::Liability, "EUR", BalancePolicy::NO_OVERDRAFT);
    let hotel = book.account("hotel", AccountKind::Liability, "EUR", BalancePolicy::NO_OVERDRAFT);
    book.top_up(guest, money("100.00", "EUR"), 0, Some("2026-11-01"));
    let expires_at = Timestamp(book.now().0 + 1);
    let hold = book.hold(guest, money("60.00", "EUR"), None);
    let other = book.hold(guest, money("10.00", "EUR"), None);
    let late = book.hold(guest, money("20.00", "EUR"), Some(expires_at));
    book.seal();
    let released = money("20.00", "EUR");
    book.push(Event::engine(EventBody::HoldExpired(HoldExpired { hold: late, account: guest, released, expires_at })));
    let captured = book.capture(hold, hotel, money("25.00", "EUR"), false, "2026-11-04");
    book.capture(hold, hotel, money("30.00", "EUR"), true, "2026-11-03");
    book.run(CommandBody::VoidHold(VoidHold { hold: other, reason: "the guest left".into() }));
    let verdict = book.run(CommandBody::VoidHold(VoidHold { hold: late, reason: "".into() }));
    assert!(matches!(verdict, EventBody::CommandRejected(_)), "{verdict:?}");
    book.seal();
    let verdict = book.run(CommandBody::ReverseEntry(ReverseEntry {
        entry: captured,
        postings: None,
        effective_on: Some(date("2026-11-02")),
        reference: "a mistake".into(),
    }));
    assert!(matches!(verdict, EventBody::EntryReversed(_)), "{verdict:?}");
    book.digest();
    book.seal();
    book
}
