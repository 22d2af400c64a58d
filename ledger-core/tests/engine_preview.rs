//! Dry runs through the engine, which say what would happen and leave nothing behind, and the bounds of what waits.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod stage;

use std::sync::mpsc::channel;
use std::time::Duration;

use event_schemas::{BookId, Timestamp};
use ledger_core::engine::EngineOptions;
use ledger_core::ports::{Answer, CommandSink, EngineFault, Preview, SubmitError, Verdict};
use stage::talk::{
    ask, capture, hold, keep_busy, linked, open, opened, preview, reverse, start_with, told, transfer, word,
};
use stage::{Hands, START_US};
use stores::memory::MemoryBook;

#[test]
fn a_dry_run_says_what_then_happens_and_leaves_no_trace() {
    let (book, hands, engine) = opened();
    let batch = vec![hold(10, 50, None), capture(11, 10, 20), transfer(12, 10, 11, 5), reverse(13, 12, None)];
    let before = (book.blocks(), engine.status());
    for _ in 0..3 {
        let previews = preview(&engine, batch.clone()).unwrap();
        assert_eq!(previews.at_sequence, engine.status().durable);
        assert_eq!(previews.recorded_at, Timestamp(START_US));
        let after = |nth: usize| match &previews.items[nth] {
            Preview::Expected { verdict: Verdict::Accepted, accounts, .. } => {
                let row = |account: &ledger_core::state::Account| {
                    (
                        account.id.0,
                        account.balance_minor(),
                        account.debits_pending_minor,
                        account.available_minor().unwrap(),
                    )
                };
                accounts.iter().map(row).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(after(0), [(10, 100, 50, 50)]);
        assert_eq!(after(1), [(10, 80, 30, 50), (11, 20, 0, 20)]);
        assert_eq!(after(2), [(10, 75, 30, 45), (11, 25, 0, 25)]);
        assert_eq!(after(3), [(10, 80, 30, 50), (11, 20, 0, 20)]);
    }
    // What would be refused, and because of which.
    let failing = vec![transfer(20, 10, 11, 60), transfer(21, 10, 11, 41), open(22, 40)];
    let previews = preview(&engine, failing.clone()).unwrap();
    let verdicts: Vec<_> = previews
        .items
        .iter()
        .map(|item| match item {
            Preview::Expected { verdict, accounts, .. } => {
                assert!(accounts.is_empty());
                word(verdict)
            }
            Preview::Known(answer) => panic!("{answer:?}"),
        })
        .collect();
    assert_eq!(verdicts, ["linked to 1 (21)", "insufficient_funds", "linked to 1 (21)"]);
    assert_eq!((book.blocks(), engine.status()), before);
    // The ids are as new as before.
    assert_eq!(linked(&engine, failing), verdicts);
    assert_eq!(linked(&engine, batch.clone()), ["ok"; 4]);
    // An id that has its verdict is told it, or what differs.
    let known = preview(&engine, vec![batch[2].clone()]).unwrap();
    assert!(matches!(
        &known.items[..],
        [Preview::Known(Answer::Recorded { verdict: Verdict::Accepted, replayed: true, .. })]
    ));
    let other = preview(&engine, vec![transfer(12, 10, 11, 6)]).unwrap();
    assert!(matches!(&other.items[..], [Preview::Known(Answer::Conflict { field: "amount", .. })]));
    // A hold that is due by then is not in the way, though nothing has expired yet for lack of space.
    assert_eq!(told(&ask(&engine, vec![hold(30, 50, Some(1_000_000))]).unwrap()), ["ok"]);
    book.set_full(true);
    hands.advance(2_000_000);
    assert_eq!(ask(&engine, vec![open(31, 31)]), Err(EngineFault::ReadOnly));
    let previews = preview(&engine, vec![transfer(32, 10, 11, 50)]).unwrap();
    assert!(matches!(&previews.items[..], [Preview::Expected { verdict: Verdict::Accepted, .. }]));
    book.set_full(false);
    assert_eq!(told(&ask(&engine, vec![transfer(32, 10, 11, 50)]).unwrap()), ["ok"]);
    engine.stop();
    let (sender, receiver) = channel();
    let stopped = engine.try_preview(batch, Box::new(move |previews| drop(sender.send(previews))));
    assert_eq!(stopped, Err(SubmitError::Stopped));
    assert!(receiver.recv().is_err());
}

#[test]
fn what_waits_is_bounded_by_bytes_too() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start_with(&book, &hands, EngineOptions { queue_max_bytes: 1, nonce: 42, ..EngineOptions::default() });
    let go = keep_busy(&engine, open(1, 1));
    let mut busy = false;
    for id in 2..1_000 {
        let preview = engine.try_preview(vec![open(id, id)], Box::new(|_| ()));
        busy |= matches!(preview, Err(SubmitError::Busy { .. }));
        if busy {
            break;
        }
    }
    assert!(busy);
    drop(go);
    // What is larger than the bound by itself is taken when nothing waits.
    let taken = (0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        engine.try_submit(vec![open(5_000, 5_000)], Box::new(|_| ())).is_ok()
    });
    assert!(taken);
}
