//! What a command's events may take is known before it is decided: space, blocks and groups are planned by it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use event_schemas::bounds::{
    AMOUNT_MAX_MINOR, BLOCK_MAX_BYTES, CODE_MAX_BYTES, EVENT_MAX_BYTES, EVENTS_PER_COMMAND_MAX, OWNER_MAX_BYTES,
    POSTINGS_MAX, TEXT_MAX_BYTES, TOTAL_MAX_MINOR,
};
use event_schemas::command::{AccountAct, AccountKind, BalancePolicy, CashMove, OpenAccount, PostEntry, PostTransfer};
use event_schemas::event::BookOpened;
use event_schemas::{
    AccountId, BookId, CivilDate, Command, CommandBody, CommandId, Currency, Event, EventBody, Money, Posting,
    PrincipalId, Sequence, Timestamp, testing,
};
use ledger_core::bound;
use ledger_core::decide::{Context, decide};
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

/// A state whose accounts have the longest totals: what is observed in a rejection is as long as it gets.
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
            owner: "".into(),
            policy,
        }));
    }
    let most = Money::new(TOTAL_MAX_MINOR - 1, eur());
    let postings = [Posting::debit(AccountId(3), most), Posting::credit(AccountId(1), most)];
    apply(EventBody::EntryPosted(event_schemas::event::EntryPosted {
        kind: event_schemas::EntryKind::General,
        fee_rule: None,
        at_most_minor: None,
        effective_on: CivilDate::from_days(1).unwrap(),
        effective_on_named: false,
        reference: "".into(),
        postings: postings.into_iter().collect(),
    }));
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
            fee_minor: Some(fee_minor),
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
    prop_oneof![
        open.prop_map(CommandBody::OpenAccount),
        act().prop_map(CommandBody::FreezeAccount),
        act().prop_map(CommandBody::UnfreezeAccount),
        act().prop_map(CommandBody::CloseAccount),
        cash().prop_map(CommandBody::TopUp),
        cash().prop_map(CommandBody::Withdraw),
        (account(), cash()).prop_map(|(to, cash)| CommandBody::PostTransfer(PostTransfer {
            from: cash.account,
            to,
            amount: cash.amount,
            fee_minor: cash.fee_minor,
            effective_on: cash.effective_on,
            reference: cash.reference,
        })),
        entry().prop_map(CommandBody::PostEntry),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_command_takes_more_than_its_bound(body in body()) {
        let command = Command { id: CommandId(ID), actor: PrincipalId(ID), body };
        // What is out of bounds is not taken; a text or a posting too many would not even encode.
        if bound::check(&command).is_err() {
            return Ok(());
        }
        let decision = decide(&rich_state(), Context { recorded_at: NOW, named: None }, &command);
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
