//! A data folder as ledgerd leaves it: a book run by the engine, its id index, checkpoints and read models.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;

use event_schemas::command::{AccountKind, BalancePolicy, CashMove, OpenAccount, PostTransfer};
use event_schemas::{AccountId, BookId, Command, CommandBody, CommandId, PrincipalId, Sequence, Timestamp};
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{Answer, Clock, CommandSink as _, JournalReader as _, Verdict};
use projections::Runner;
use stores::embedded::{self, EmbeddedOptions};

use super::money;

/// How many customers there are.
const ACCOUNTS: u128 = 50;

/// Segments of 2 MiB and runs of 20,000 ids, so that there are several of each.
pub fn options(witness: Option<&Path>) -> EmbeddedOptions {
    EmbeddedOptions {
        segment_bytes: 2 << 20,
        freeze_ids: 20_000,
        witness: witness.map(Path::to_owned),
        ..EmbeddedOptions::default()
    }
}

fn command(number: u128, body: CommandBody) -> Command {
    // Time-ordered, as clients are told to make them.
    Command { id: CommandId((0x019a_0000_0000_7000 << 64) + number), actor: PrincipalId::derive("bank", "test"), body }
}

pub fn customer(number: u128) -> AccountId {
    AccountId::from_code(BookId::FIRST, &format!("bank:{}", number % ACCOUNTS))
}

fn openings() -> Vec<Command> {
    let open = |number| {
        CommandBody::OpenAccount(OpenAccount {
            account: customer(number),
            code: format!("bank:{number}").into(),
            kind: AccountKind::Liability,
            currency: "EUR".parse().unwrap(),
            owner: format!("customer:{}", number % 7).into(),
            policy: BalancePolicy::NO_OVERDRAFT,
        })
    };
    let top_up = |number| {
        CommandBody::TopUp(CashMove {
            account: customer(number),
            amount: money("1000000.00", "EUR"),
            fee_minor: Some(100),
            effective_on: None,
            reference: "first money".into(),
        })
    };
    let bodies = (0..ACCOUNTS).map(open).chain((0..ACCOUNTS).map(top_up));
    bodies.zip(1..).map(|(body, number)| command(number, body)).collect()
}

fn transfer(number: u128) -> Command {
    // Every hundredth asks for more than there is.
    let amount = if number.is_multiple_of(100) { "99999999.00" } else { "0.01" };
    command(
        1_000_000 + number,
        CommandBody::PostTransfer(PostTransfer {
            from: customer(number),
            to: customer(number * 7 + 1),
            amount: money(amount, "EUR"),
            fee_minor: Some(0),
            effective_on: Some(format!("2026-10-{:02}", number % 28 + 1).parse().unwrap()),
            reference: "".into(),
        }),
    )
}

/// Makes the folder, if it is not there, and posts transfers `from..to` by a writer that then stops in order.
pub fn run(data: &Path, options: &EmbeddedOptions, from: u128, to: u128) {
    if !embedded::exists(data).unwrap() {
        embedded::create(data, options).unwrap();
    }
    let opened = embedded::open(data, options).unwrap();
    let rocks = opened.rocks.clone();
    let ticks = Arc::new(AtomicI64::new(0));
    let now = Arc::clone(&ticks);
    let clock = Clock {
        wall: Arc::new(move || Timestamp(1_795_168_800_000_000 + now.fetch_add(1_000, Ordering::Relaxed))),
        monotonic_us: Arc::new(move || ticks.load(Ordering::Relaxed)),
    };
    let engine = Engine::start(EngineParts {
        journal: Box::new(opened.journal),
        ids: Box::new(opened.ids),
        checkpoints: Arc::new(rocks.clone()),
        clock,
        options: EngineOptions {
            nonce: 0x5eed,
            group_max_bytes: 512 << 10,
            checkpoint_every_events: 1,
            ..EngineOptions::default()
        },
    })
    .unwrap();
    let mut commands = if from == 0 { openings() } else { Vec::new() };
    commands.extend((from..to).map(transfer));
    for batch in commands.chunks(1_000) {
        let (sender, receiver) = channel();
        let reply = Box::new(move |answers| sender.send(answers).unwrap());
        engine.try_submit(batch.to_vec(), reply).unwrap();
        for answer in receiver.recv().unwrap().unwrap() {
            assert!(matches!(answer, Answer::Recorded { verdict: Verdict::Accepted | Verdict::Rejected(_), .. }));
        }
    }
    engine.stop();
    drop(engine);
    let mut reader = embedded::reader(data).unwrap();
    let head = reader.durable_sequence().unwrap();
    let mut runner = Runner::new(reader, rocks.clone(), projections::all());
    assert_eq!(runner.run_to(head, &mut |_| {}).unwrap(), head);
    rocks.sync().unwrap();
}

pub fn head(data: &Path) -> Sequence {
    embedded::reader(data).unwrap().durable_sequence().unwrap()
}

/// A file of the journal.
pub fn segment(data: &Path, number: u32) -> std::path::PathBuf {
    data.join(format!("journal/{number:08}.seg"))
}

/// The first sequence that a segment holds.
pub fn first_in_segment(data: &Path, offset: usize, number: u32) -> u64 {
    let bytes = std::fs::read(segment(data, number)).unwrap();
    u64::from_be_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The last block, to see that a reader gets there.
pub fn last_hash(data: &Path) -> String {
    let mut reader = embedded::reader(data).unwrap();
    let head = reader.durable_sequence().unwrap();
    reader.block_at(head).unwrap().unwrap().hash().to_string()
}
