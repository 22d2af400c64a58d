//! A standby that follows: what it leaves behind lets an engine start near the head, with the same state and the same answers.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event_schemas::Sequence;
use ledger_core::engine::{Engine, EngineOptions, EngineParts, follow};
use ledger_core::ports::{Answer, CommandSink as _, Head};
use stage::talk::{ask, opened, top_up};
use stage::{MapCheckpoints, MapIndex};

#[test]
fn an_engine_goes_on_where_a_follower_came_to() {
    let (book, hands, engine) = opened();
    let checkpoints = Arc::<MapCheckpoints>::default();
    let stop = Arc::new(AtomicBool::new(false));
    let following = {
        let (mut reader, checkpoints, stop) = (book.reader(), Arc::clone(&checkpoints), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut ids = MapIndex::default();
            let reached = follow(&mut reader, checkpoints.as_ref(), &mut ids, 65_536, &stop).unwrap();
            (reached, ids)
        })
    };
    let mut last = Vec::new();
    for batch in 0..18_u128 {
        let commands = (0..8_000).map(|item| top_up(1_000 + batch * 8_000 + item, 10, 1)).collect();
        last = ask(&engine, commands).unwrap();
    }
    let head = engine.status().durable;
    assert!(head.0 > 2 * 65_536, "{head}");
    let until = Instant::now() + Duration::from_mins(1);
    while checkpoints.0.lock().unwrap().len() < 2 {
        assert!(Instant::now() < until, "no checkpoints are stored");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
    stop.store(true, Ordering::Relaxed);
    let (reached, ids) = following.join().unwrap();
    assert_eq!((reached, ids.through), (head, head));
    drop(engine);

    let (journal, ids) = (Box::new(book.writer()), Box::new(ids));
    let options = EngineOptions { nonce: 42, ..EngineOptions::default() };
    let parts = EngineParts { journal, ids, checkpoints: checkpoints.clone(), clock: hands.clock(), options };
    let engine = Engine::start(parts).unwrap();
    let replayed = engine.replayed();
    // The digest is the last event of the block that crosses the multiple.
    assert!(replayed.checkpoint >= Sequence(2 * 65_536) && replayed.indexed == 0, "{replayed:?}");
    assert_eq!(replayed.events, head.0 - replayed.checkpoint.0);
    // What the first engine answered, the second answers again.
    let again = ask(&engine, vec![top_up(1_000 + 18 * 8_000 - 1, 10, 1)]).unwrap();
    let (Answer::Recorded { sequence, .. }, Answer::Recorded { sequence: first, .. }) =
        (&again[0], last.last().unwrap())
    else {
        panic!("{again:?}")
    };
    assert_eq!(sequence, first);
    // And the states are one: a replay from nothing says so.
    let mut reader = book.reader();
    let at = Head { sequence: head, ..Head::default() };
    let (mut cold, _) = ledger_core::engine::replay(&mut reader, at, &MapCheckpoints::default(), None).unwrap();
    let (mut warm, _) = ledger_core::engine::replay(&mut reader, at, checkpoints.as_ref(), None).unwrap();
    assert_eq!(cold.digest(), warm.digest());
}
