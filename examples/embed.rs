//! A ledger inside your own program: no server, no network, one folder.
//!
//! ```sh
//! cargo run --release -p stores --example embed              # in a temporary folder
//! cargo run --release -p stores --example embed -- ./my-book # in one that stays; run it twice
//! ```
//!
//! Five steps: open a book, open accounts, post, ask for balances, and replay the journal to see that the balances are what the
//! events say. In a program of your own, depend on `event-schemas`, `ledger-core`, `projections` and `stores`.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use event_schemas::command::{AccountKind, BalancePolicy, CashMove, OpenAccount, PostTransfer};
use event_schemas::{AccountId, BookId, Command, CommandBody, CommandId, Currency, Money, PrincipalId};
use ledger_core::ports::{Answer, JournalReader as _, Verdict};
use ledger_core::state::State;
use projections::balances::balance_now;
use stores::book::Book;
use stores::embedded::{self, EmbeddedOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args_os().nth(1).map_or_else(|| temporary.path().join("book"), Into::into);
    run(&folder, &mut std::io::stdout())
}

/// The tour, told to `out`.
pub fn run(folder: &Path, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    // 1. Open a book. Where there is none, an empty one is made. One process writes to a folder; others may read it.
    let book = Book::open(folder, &EmbeddedOptions::default())?;
    writeln!(out, "opened a book with {} events", book.durable())?;

    // 2. Open accounts. An account has one currency, a kind, and a policy that says how far it may fall. Its id can be any UUID;
    // here it follows from its code.
    let euro: Currency = "EUR".parse()?;
    let (ada, ben) = (AccountId::from_code(BookId::FIRST, "ada"), AccountId::from_code(BookId::FIRST, "ben"));
    let open = |code: &str, account| {
        CommandBody::OpenAccount(OpenAccount {
            account,
            code: code.into(),
            kind: AccountKind::Liability, // what we owe a customer
            currency: euro,
            owner: code.into(),
            policy: BalancePolicy::Limited { overdraft_minor: 0 },
        })
    };

    // 3. Post. Money is a whole number of minor units, here cents. It enters the book by a top-up and moves by transfers.
    let top_up = CommandBody::TopUp(CashMove {
        account: ada,
        amount: Money::parse("100.00", euro)?,
        fee_minor: Some(0),
        effective_on: None, // the day it is recorded
        reference: "first deposit".into(),
    });
    let transfer = |amount: &str| -> Result<CommandBody, Box<dyn Error>> {
        Ok(CommandBody::PostTransfer(PostTransfer {
            from: ada,
            to: ben,
            amount: Money::parse(amount, euro)?,
            fee_minor: Some(0),
            effective_on: None,
            reference: "dinner".into(),
        }))
    };

    // Every command has an id of its own. Given again, by a retry or by the second run of this program, it gets the verdict it had
    // and has no second effect. Here the ids follow from keys; a random UUID does as well, if you keep it until you have the answer.
    let commands = vec![
        command("ada's account", open("ada", ada)),
        command("ben's account", open("ben", ben)),
        command("deposit 1", top_up),
        command("dinner 1", transfer("25.50")?),
        command("dinner 2", transfer("80.00")?), // more than she has left
    ];
    let names: Vec<&str> = commands.iter().map(|command| command.body.type_name()).collect();
    // `submit` returns once the verdicts are on the disk. What the book refuses is an answer, not an error.
    for (name, answer) in names.iter().zip(book.submit(commands)?) {
        match answer {
            Answer::Recorded { verdict: Verdict::Accepted, sequence, replayed: false, .. } => {
                writeln!(out, "{name}: event {sequence}")?;
            }
            Answer::Recorded { verdict: Verdict::Rejected(why), sequence, replayed: false, .. } => {
                writeln!(out, "{name}: event {sequence}, refused: {}", why.code())?;
            }
            Answer::Recorded { sequence, .. } => writeln!(out, "{name}: already there, event {sequence}")?,
            Answer::Conflict { field, .. } => writeln!(out, "{name}: its id stands for another {field}")?,
        }
    }

    // 4. Ask for balances. A query sees all that was answered before it, at one moment.
    let (of_ada, of_ben) = book.query(|rows| Ok((balance_now(rows, ada)?, balance_now(rows, ben)?)))?;
    for (name, balance) in [("ada", of_ada), ("ben", of_ben)] {
        let balance = balance.ok_or("the account is open")?;
        writeln!(out, "{name} has {} at event {}", balance.balance, balance.sequence)?;
    }

    // 5. Replay. The journal is all there is: read from its first event, it gives the same balances. A reader takes no lock, so
    // this could be another process, too.
    let mut journal = embedded::reader(folder)?;
    let mut state = State::new();
    while let Some(block) = journal.next_block()? {
        for event in block.events() {
            let (sequence, event) = event?;
            state.apply(&event)?;
            writeln!(out, "replayed {sequence} {}", event.body.type_name())?;
        }
    }
    for (name, id) in [("ada", ada), ("ben", ben)] {
        let account = state.account(id).ok_or("the account is open")?;
        writeln!(out, "{name} has {} by the events", Money::new(account.balance_minor(), account.currency))?;
    }
    Ok(())
}

/// A command given by this program, with an id that follows from a key.
fn command(key: &str, body: CommandBody) -> Command {
    let id = CommandId::from_idempotency_key("main", "embed", body.type_name(), key);
    Command { id, actor: PrincipalId::derive("main", "embed"), body }
}
