//! Who looked at what: the read model of the access log, a journal of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{head, journal, noise, show, verdict};
use event_schemas::event::{AccessLogged, BookOpened};
use event_schemas::{Block, BookId, Event, EventBody, PrincipalId, Sequence};
use projections::access::{AccessOf, AccessPage, access_page};
use projections::memory::{MemoryFeed, MemoryRows};
use projections::statements::Order;
use projections::verify::verify;
use projections::{ACCESS_NAMES, NAMES, Runner, RunnerError, RunnerFault, access, by_name};

fn looked(actor: u128, operation: &str, subject: &str, status: u16) -> Event {
    let access = AccessLogged {
        actor: PrincipalId(actor),
        operation: operation.into(),
        subject: subject.into(),
        status,
        request: format!("req-{actor}").into(),
    };
    Event::engine(EventBody::AccessLogged(access))
}

fn log() -> Vec<Block> {
    let opened = BookOpened { book: BookId::FIRST, nonce: PrincipalId(5) };
    journal(&[
        (0, vec![Event::engine(EventBody::BookOpened(opened))]),
        (1, vec![looked(1, "get_statement", "a:1", 200), looked(2, "get_statement", "a:1", 403)]),
        (1, vec![looked(1, "list_audit", "", 200), looked(1, "get_balance", "a:1\u{0}", 200)]),
    ])
}

fn run(blocks: Vec<Block>) -> (MemoryRows, Result<Sequence, RunnerFault>) {
    let rows = MemoryRows::new();
    let to = head(&blocks);
    let projections = ACCESS_NAMES.map(|name| by_name(name).unwrap()).into();
    let result = Runner::new(MemoryFeed::new(blocks), &rows, projections).run_to(to, &mut |_| {});
    (rows, result)
}

#[test]
fn every_read_stands_there_and_is_found_by_whom_and_of_what() {
    let (rows, result) = run(log());
    assert_eq!(result, Ok(Sequence(5)));
    let wanted = ["sequence", "recorded_at", "actor", "operation", "subject", "status", "request"];
    assert_eq!(
        show(&rows, &access::rows::READS, &wanted),
        "2 | 2026-01-01T00:00:00.000001Z | 1 | get_statement | a:1 | 200 | req-1\n\
         3 | 2026-01-01T00:00:00.000001Z | 2 | get_statement | a:1 | 403 | req-2\n\
         4 | 2026-01-01T00:00:00.000002Z | 1 | list_audit |  | 200 | req-1\n\
         5 | 2026-01-01T00:00:00.000002Z | 1 | get_balance | a:1\u{0} | 200 | req-1\n"
    );
    let all = |of, order| {
        let (mut cursor, mut found) = (None, Vec::new());
        loop {
            let AccessPage { lines, next, sequence } = access_page(&rows, of, cursor, 1, order).unwrap();
            assert_eq!(sequence, Sequence(5));
            found.extend(lines.iter().map(|line| line.sequence.0));
            cursor = next;
            if cursor.is_none() {
                return found;
            }
        }
    };
    assert_eq!(all(AccessOf::Book, Order::OldestFirst), [2, 3, 4, 5]);
    assert_eq!(all(AccessOf::Book, Order::NewestFirst), [5, 4, 3, 2]);
    assert_eq!(all(AccessOf::Actor(PrincipalId(1)), Order::NewestFirst), [5, 4, 2]);
    assert_eq!(all(AccessOf::Subject("a:1"), Order::OldestFirst), [2, 3]);
    assert_eq!(all(AccessOf::Subject("a:1\u{0}"), Order::OldestFirst), [5]);
    assert_eq!(all(AccessOf::Subject("a:"), Order::OldestFirst), [0; 0]);
}

#[test]
fn the_log_is_not_the_book() {
    assert!(ACCESS_NAMES.iter().all(|name| !NAMES.contains(name)));
    for stranger in [noise(), verdict(1, common::act(1, EventBody::AccountFrozen).body)] {
        let mut blocks = log();
        blocks.truncate(2);
        blocks =
            journal(&[(0, common::recorded(&blocks).into_iter().map(|(.., event)| event).chain([stranger]).collect())]);
        let fault = run(blocks).1.unwrap_err();
        assert_eq!((fault.projection, fault.sequence), (Some(access::NAME), Sequence(4)));
        assert!(matches!(fault.error, RunnerError::Contradiction(_)), "{fault}");
    }
}

#[test]
fn it_is_verified_as_the_others_are() {
    let (rows, _) = run(log());
    let projection = by_name(access::NAME).unwrap();
    let found = verify(&mut MemoryFeed::new(log()), &rows, &[projection.as_ref()], &mut |_| {}).unwrap();
    assert!(found[0].agrees() && found[0].kept.rows == 4 * 3, "{found:?}");
}
