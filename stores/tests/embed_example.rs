//! `examples/embed.rs` does what its comments say, and a book within a program behaves as one within a server.
#![cfg(all(feature = "segments", feature = "rocks"))]
#![allow(clippy::unwrap_used)]

#[path = "../../examples/embed.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for `cargo run --example`")]
mod embed;

use std::path::Path;

use event_schemas::command::AccountAct;
use event_schemas::{AccountId, Command, CommandBody, CommandId, PrincipalId};
use ledger_core::ports::{CommandSink as _, SubmitError};
use stores::book::{Book, BookFault};
use stores::embedded::{EmbeddedFault, EmbeddedOptions};

fn told(folder: &Path) -> String {
    let mut out = Vec::new();
    embed::run(folder, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_example_tells_a_book_from_its_first_event_on_and_its_second_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("book");
    let first = told(&data);
    for line in [
        "opened a book with 1 events",
        "open_account: event 2",
        "open_account: event 3",
        "top_up: event 5", // behind the clearing account, which it opened
        "post_transfer: event 6",
        "ada has 74.50 EUR at event 7",
        "ben has 25.50 EUR at event 7",
        "replayed 7 ledger.command.rejected.v1",
        "ada has 74.50 EUR by the events",
        "ben has 25.50 EUR by the events",
    ] {
        assert!(first.lines().any(|told| told == line), "{line:?} is missing in:\n{first}");
    }
    assert!(first.contains("post_transfer: event 7, refused: insufficient_funds"), "{first}");

    let second = told(&data);
    assert!(second.starts_with("opened a book with 7 events\n"), "{second}");
    assert_eq!(second.matches("already there").count(), 5, "{second}");
    let balances =
        |text: &str| text.lines().filter(|line| line.contains(" has ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(balances(&second), balances(&first));
}

#[test]
fn one_book_writes_to_a_folder_and_leaves_it_when_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions::default();
    let book = Book::open(folder.path(), &options).unwrap();
    let other = Book::open(folder.path(), &options).unwrap_err();
    assert!(matches!(other, BookFault::Folder(EmbeddedFault::Locked { .. })), "{other}");
    book.engine().stop();
    let freeze = CommandBody::FreezeAccount(AccountAct { account: AccountId(1), reason: Box::default() });
    let command = Command { id: CommandId(1), actor: PrincipalId(1), body: freeze };
    let stopped = book.submit(vec![command]).unwrap_err();
    assert!(matches!(stopped, BookFault::Submit(SubmitError::Stopped)), "{stopped}");
    assert_eq!(book.durable(), book.engine().status().durable);
    drop(book);
    assert_eq!(Book::open(folder.path(), &options).unwrap().durable().0, 1);
}
