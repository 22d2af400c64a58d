//! Read models in PostgreSQL, on a real server: the same rows as anywhere else, in columns that SQL can ask, and one writer.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

#[path = "../../ledger-core/tests/stage/mod.rs"]
mod stage;
mod support;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use event_schemas::{BlockHash, BookId, Sequence, Timestamp};
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{CommandSink as _, JournalReader as _};
use projections::memory::MemoryRows;
use projections::ports::{ReadRows, RowChanges, Rows, RowsFault, Table};
use projections::{Runner, digest, table};
use proptest::prelude::*;
use stage::{Hands, MapCheckpoints, MapIndex, START_US};
use stores::memory::MemoryBook;
use stores::postgres::{PostgresRows, PostgresUrl};
use support::{mixed, server};

static OWNERS: &Table = &projections::balances::rows::BY_OWNER;

fn open(url: &PostgresUrl) -> PostgresRows {
    let (rows, notices) = PostgresRows::open(url, BookId::FIRST).unwrap();
    assert_eq!(notices, Vec::<String>::new());
    rows
}

/// A book with some of everything in it.
fn book(commands: usize) -> (MemoryBook, Sequence) {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let (ids, checkpoints) = (Box::<MapIndex>::default(), Arc::<MapCheckpoints>::default());
    let (journal, options) = (Box::new(book.writer()), EngineOptions { nonce: 42, ..EngineOptions::default() });
    let engine = Engine::start(EngineParts { journal, ids, checkpoints, clock: hands.clock(), options }).unwrap();
    for moment in mixed::commands(commands, Timestamp(START_US)).chunks(mixed::MOMENT) {
        let (sender, receiver) = channel();
        engine.try_submit(moment.to_vec(), Box::new(move |answers| drop(sender.send(answers)))).unwrap();
        receiver.recv_timeout(Duration::from_mins(1)).unwrap().unwrap();
        hands.advance(mixed::STEP_US);
    }
    engine.stop();
    let head = engine.status().durable;
    (book, head)
}

fn first_hash(book: &MemoryBook) -> BlockHash {
    book.reader().next_block().unwrap().unwrap().hash()
}

fn run_to(rows: impl Rows, book: &MemoryBook, to: Sequence) {
    let mut runner = Runner::new(book.reader(), rows, projections::all());
    runner.run_to(to, &mut |_| {}).unwrap();
}

fn all(rows: &dyn ReadRows, table: &'static Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        all.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    rows.range(table, &[], None, false, &mut visit).unwrap();
    all
}

#[test]
fn the_same_commands_leave_the_same_rows_as_in_memory() {
    let server = server();
    let url = PostgresUrl::parse(&server.database("same")).unwrap();
    let (book, head) = book(12_000);
    let (memory, postgres) = (MemoryRows::new(), open(&url));
    // With starts in between: what is in memory is only a cache of rows.
    for part in 1..=3 {
        run_to(postgres.clone(), &book, Sequence(head.0 * part / 3));
    }
    run_to(memory.clone(), &book, head);
    for projection in projections::all() {
        let (here, there) = (
            digest::digest(&memory, projection.as_ref()).unwrap(),
            digest::digest(&postgres, projection.as_ref()).unwrap(),
        );
        assert_eq!(here, there);
        assert_eq!(there.sequence, head);
        for table in projection.tables() {
            // The columns of SQL are those of the rows.
            let names: Vec<_> = table.columns.iter().map(|(name, _)| format!("\"{name}\"::text")).collect();
            let sql = format!(
                "SET timezone = 'UTC'; SELECT json_agg(json_build_array({}) ORDER BY row_key) FROM read_model.\"{}\"",
                names.join(", "),
                table.name
            );
            let found: Option<Vec<Vec<String>>> = serde_json::from_str(match server.sql("same", &sql).as_str() {
                "" => "null",
                text => text,
            })
            .unwrap();
            let expected: Vec<Vec<String>> = all(&memory, table)
                .iter()
                .map(|(key, value)| {
                    table::columns(table, key, value).unwrap().into_iter().map(|(_, text)| text).collect()
                })
                .collect();
            let found = found.unwrap_or_default();
            assert_eq!(found.len(), expected.len(), "{}", table.name);
            for (found, expected) in found.iter().zip(&expected) {
                for ((found, expected), (name, kind)) in found.iter().zip(expected).zip(table.columns) {
                    let same = match kind {
                        projections::ports::ColumnType::Time => {
                            let found = format!("{}Z", found.replace(' ', "T").trim_end_matches("+00"));
                            found.parse::<Timestamp>().unwrap() == expected.parse::<Timestamp>().unwrap()
                        }
                        _ => found == expected,
                    };
                    assert!(same, "{}.{name}: {found} is not {expected}", table.name);
                }
            }
        }
    }
    for table in projections::all().iter().flat_map(|projection| projection.tables()) {
        assert_eq!(postgres.differing_column(table).unwrap(), None);
    }
    server.sql(
        "same",
        "UPDATE read_model.balances_accounts SET credits_minor = credits_minor + 1 WHERE code = 'mixed:7'",
    );
    let edited = postgres.differing_column(&projections::balances::rows::ACCOUNTS).unwrap().unwrap();
    assert!(edited.contains("balances_accounts.credits_minor") && edited.contains("edited"), "{edited}");
    // Emptied and made anew, one of them after the other.
    let projection = projections::by_name("balances").unwrap();
    let before = digest::digest(&postgres, projection.as_ref()).unwrap();
    let after = projections::rebuild::rebuild(book.reader(), postgres.clone(), projection, head, &mut |_| {}).unwrap();
    assert_eq!(before, after);
}

#[test]
fn the_questions_of_the_manual_have_answers() {
    use ledger_core::ports::Journal as _;
    use stores::postgres::{PostgresJournal, PostgresOptions, migrate};
    let server = server();
    let url = PostgresUrl::parse(&server.database("questions")).unwrap();
    let (book, head) = book(12_000);
    migrate(&url).unwrap();
    PostgresJournal::open(&PostgresOptions::new(url.clone(), BookId::FIRST)).unwrap().append(&book.blocks()).unwrap();
    let rows = open(&url);
    run_to(rows, &book, head);
    let manual = include_str!("../../docs/analysts.md");
    let questions: Vec<&str> = manual.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(questions.len(), 11);
    let ask = |number: usize| -> Vec<Vec<String>> {
        let answer = server.sql("questions", questions[number - 1]);
        answer.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    };
    for number in 1..=11 {
        assert!(!ask(number).is_empty(), "question {number} has no answer:\n{}", questions[number - 1]);
    }
    // What the state of the book says.
    let mut state = ledger_core::state::State::new();
    for event in book.blocks().iter().flat_map(event_schemas::Block::events) {
        state.apply(&event.unwrap().1).unwrap();
    }
    let units = |minor: i128, currency: event_schemas::Currency| {
        event_schemas::Money::new(minor, currency).to_string().split(' ').next().unwrap().to_owned()
    };
    let of = |code: &str| *state.account(event_schemas::AccountId::from_code(BookId::FIRST, code)).unwrap();
    for row in ask(1) {
        let account = of(&row[0]);
        assert_eq!(row[2], units(account.balance_minor(), account.currency), "{row:?}");
        let available = account.balance_minor() - account.debits_pending_minor;
        assert_eq!(row[3], units(available, account.currency), "{row:?}");
    }
    assert!(ask(2).len() == 3 && ask(2).iter().all(|row| row[3].trim_matches(&['0', '.'][..]).is_empty()));
    let statement = ask(3);
    let mut balance = 0_i128;
    for row in &statement {
        let minor = |text: &str| text.replace('.', "").parse::<i128>().unwrap();
        balance += minor(&row[4]);
        assert_eq!(minor(&row[5]), balance, "{row:?}");
    }
    for row in ask(4) {
        let account = of(&row[0]);
        assert_eq!(row[2], units(account.balance_minor(), account.currency), "{row:?}");
    }
    let sent: Vec<f64> = ask(5).iter().map(|row| row[3].parse().unwrap()).collect();
    assert!(sent.len() == 10 && sent.windows(2).all(|pair| pair[0] >= pair[1]), "{sent:?}");
    let refused: u64 = ask(6).iter().map(|row| row[3].parse::<u64>().unwrap()).sum();
    let rejections =
        server.sql("questions", "SELECT count(*) FROM journal_events WHERE event_type = 'ledger.command.rejected'");
    assert_eq!(refused.to_string(), rejections);
    assert!(ask(7).iter().all(|row| row[5].parse::<f64>().unwrap() >= 80.0));
    let held: i128 =
        state.accounts().iter().map(|account| account.debits_pending_minor).filter(|minor| *minor > 0).sum();
    let asked: i128 = ask(8).iter().map(|row| row[2].replace('.', "").parse::<i128>().unwrap()).sum();
    assert_eq!(asked, held);
    for currency in ["EUR", "USD", "JPY"] {
        let account = of(&format!("sys:income-fee:{currency}"));
        let earned: i128 = ask(9)
            .iter()
            .filter(|row| row[1] == currency)
            .map(|row| row[2].replace('.', "").parse::<i128>().unwrap())
            .sum();
        assert_eq!(earned, account.balance_minor(), "{currency}");
    }
    let by_the_journal = ask(10);
    assert!(by_the_journal.len() > 300);
    for row in by_the_journal {
        let number = |text: &str| if text.is_empty() { 0.0 } else { text.parse::<f64>().unwrap() };
        assert!(
            (number(&row[1]) - number(&row[3])).abs() < 1e-9 && (number(&row[2]) - number(&row[4])).abs() < 1e-9,
            "{row:?}"
        );
    }
    assert!(ask(11).iter().all(|row| row[2] == "0"));
}

#[test]
fn of_two_who_keep_the_same_rows_one_changes_nothing() {
    let server = server();
    let url = PostgresUrl::parse(&server.database("two")).unwrap();
    let (book, head) = book(2_000);
    let (one, other) = (open(&url), open(&url));
    let half = Sequence(head.0 / 2);
    let mut late = Runner::new(book.reader(), other.clone(), projections::all());
    late.run_to(Sequence(10), &mut |_| {}).unwrap();
    run_to(one.clone(), &book, half);
    // It was at 10, and what it has in memory is of then: what it would write is wrong, and is not written.
    let fault = late.run_to(Sequence(half.0 + 1), &mut |_| {}).unwrap_err();
    println!("{fault}");
    let projection = projections::by_name("balances").unwrap();
    assert_eq!(digest::digest(&one, projection.as_ref()).unwrap().sequence, half);
    // The checkpoint is what stops it, whatever it would write.
    other.checkpoint("balances").unwrap();
    let step = |to| RowChanges { rows: vec![], checkpoints: vec![("balances", to)] };
    one.commit(step(half.next())).unwrap();
    let fault = other.commit(step(half.next())).unwrap_err().to_string();
    assert!(fault.contains("another process"), "{fault}");
    one.commit(step(half)).unwrap();
    // Nor does it go on where somebody has begun to make it anew.
    let beside = open(&url);
    beside.checkpoint("audit").unwrap();
    one.reset("audit", projections::by_name("audit").unwrap().tables()).unwrap();
    let changes = RowChanges { rows: vec![], checkpoints: vec![("audit", half.next())] };
    assert!(beside.commit(changes).is_err());
    run_to(one.clone(), &book, half);
    // Started again, it goes on from what is there.
    run_to(other, &book, head);
    let memory = MemoryRows::new();
    run_to(memory.clone(), &book, head);
    for projection in projections::all() {
        assert_eq!(
            digest::digest(&one, projection.as_ref()).unwrap(),
            digest::digest(&memory, projection.as_ref()).unwrap()
        );
    }
}

#[test]
fn rows_of_another_journal_or_of_its_future_are_made_anew() {
    let server = server();
    let url = PostgresUrl::parse(&server.database("strange")).unwrap();
    let (book, head) = book(2_000);
    let rows = open(&url);
    assert_eq!(rows.fit(Some(first_hash(&book)), head).unwrap(), Vec::<String>::new());
    run_to(rows.clone(), &book, head);
    assert_eq!(rows.fit(Some(first_hash(&book)), head).unwrap(), Vec::<String>::new());
    let ahead = rows.fit(Some(first_hash(&book)), Sequence(head.0 - 1)).unwrap();
    assert!(ahead.len() == projections::NAMES.len() && ahead[0].contains("ahead of the journal"), "{ahead:?}");
    run_to(rows.clone(), &book, head);
    let other = event_schemas::Digest([9; 32]);
    let strange = rows.fit(Some(other), head).unwrap();
    assert!(strange.len() == projections::NAMES.len() && strange[0].contains("another journal"), "{strange:?}");
    assert_eq!(rows.origin().unwrap(), Some(other));
    let projection = projections::by_name("statements").unwrap();
    assert_eq!(digest::digest(&rows, projection.as_ref()).unwrap().rows, 0);
}

#[test]
fn tables_of_another_release_are_made_anew() {
    let server = server();
    let url = PostgresUrl::parse(&server.database("release")).unwrap();
    let (book, head) = book(1_000);
    run_to(open(&url), &book, head);
    server.sql("release", "UPDATE read_model.shapes SET shape = 'older' WHERE table_name = 'balances_accounts'");
    let (rows, notices) = PostgresRows::open(&url, BookId::FIRST).unwrap();
    assert!(notices.len() == 1 && notices[0].contains("balances"), "{notices:?}");
    assert_eq!(rows.checkpoint("balances").unwrap(), Sequence::ZERO);
    assert_eq!(rows.checkpoint("statements").unwrap(), head);
    run_to(rows, &book, head);
    assert_eq!(server.sql("release", "SELECT count(*) > 300 FROM analyst.balances_days"), "t");
}

#[test]
fn a_text_with_a_zero_byte_is_kept() {
    let server = server();
    let url = PostgresUrl::parse(&server.database("zero")).unwrap();
    let rows = open(&url);
    let mut key = Vec::new();
    table::put_key_text(&mut key, "a\0b");
    key.extend_from_slice(&[7; 16]);
    let value = vec![table::ROW_VERSION];
    let changes = RowChanges { rows: vec![(OWNERS, key.clone(), Some(value.clone()))], checkpoints: vec![] };
    rows.commit(changes).unwrap();
    assert_eq!(rows.get(OWNERS, &key).unwrap(), Some(value));
    assert_eq!(server.sql("zero", "SELECT owner FROM read_model.balances_by_owner"), "a\u{fffd}b");
    // A row that does not have the form of its table is refused, and with it everything beside it.
    let bad =
        RowChanges { rows: vec![(OWNERS, vec![1, 2], Some(vec![9]))], checkpoints: vec![("balances", Sequence(5))] };
    assert!(matches!(rows.commit(bad), Err(RowsFault::Damaged { .. })));
    assert_eq!(rows.checkpoint("balances").unwrap(), Sequence::ZERO);
}

/// Keys that sort in each way there is, and ranges between any two of them.
#[test]
fn ranges_are_those_of_memory() {
    let server = server();
    let url = PostgresUrl::parse(&server.database("ranges")).unwrap();
    let (memory, postgres) = (MemoryRows::new(), open(&url));
    let mut rows = Vec::new();
    for text in ["", "a", "a\0", "a\0b", "ab", "b", "é", "\u{10ffff}"] {
        for number in 0..100_u8 {
            let mut key = Vec::new();
            table::put_key_text(&mut key, text);
            key.extend_from_slice(&[number.wrapping_mul(91); 16]);
            rows.push((OWNERS, key, Some(vec![table::ROW_VERSION])));
        }
    }
    // The later change of a key counts.
    let (table, key, _) = rows[5].clone();
    rows.push((table, key, None));
    for store in [&memory as &dyn Rows, &postgres] {
        store.commit(RowChanges { rows: rows.clone(), checkpoints: vec![("balances", Sequence(1))] }).unwrap();
    }
    assert_eq!(all(&memory, OWNERS).len(), 799);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let ends = (0..rows.len(), proptest::option::of(0..rows.len()), any::<bool>(), 0..400_usize, 0..3_usize);
    runner
        .run(&ends, |(from, to, backwards, most, cut)| {
            let from = &rows[from].1[..rows[from].1.len() - cut];
            let to = to.map(|to| &rows[to].1[..]);
            let read = |store: &dyn ReadRows| {
                let mut found = Vec::new();
                let mut visit = |key: &[u8], _: &[u8]| {
                    found.push(key.to_vec());
                    if found.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                store.range(OWNERS, from, to, backwards, &mut visit).unwrap();
                found
            };
            prop_assert_eq!(read(&memory), read(&postgres));
            Ok(())
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_one_moment_inside_a_runtime_too() {
    let server = server();
    let url = PostgresUrl::parse(&server.database("moment")).unwrap();
    let (book, head) = book(2_000);
    let rows = tokio::task::spawn_blocking(move || open(&url)).await.unwrap();
    let third = Sequence(head.0 / 3);
    run_to(rows.clone(), &book, third);
    let mut seen = None;
    rows.snapshot(&mut |moment| {
        let before = moment.checkpoint("balances").unwrap();
        run_to(rows.clone(), &book, head);
        seen = Some((before, moment.checkpoint("balances").unwrap()));
    })
    .unwrap();
    assert_eq!(seen, Some((third, third)));
    assert_eq!(rows.checkpoint("balances").unwrap(), head);
}
