//! The laws through the whole engine: random commands, cut into random submissions, with retries, ids used again for other
//! content, and restarts in between; then the journal that is left is audited.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod desk;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use desk::{ACTOR, BOOK, NOON, streams};
use event_schemas::{Block, Command, CommandBody, CommandId, Event, Sequence, Timestamp};
use ledger_core::asked::verdict;
use ledger_core::audit::Auditor;
use ledger_core::bound;
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{Answer, Clock, CommandSink as _, Verdict};
use ledger_core::state::State;
use proptest::prelude::*;
use stage::{MapCheckpoints, MapIndex};
use stores::memory::MemoryBook;

fn start(book: &MemoryBook) -> Engine {
    let clock = Clock { wall: Arc::new(|| Timestamp(NOON.0)), monotonic_us: Arc::new(|| 0) };
    let options = EngineOptions { nonce: 9, ..EngineOptions::default() };
    let (journal, ids, checkpoints) =
        (Box::new(book.writer()), Box::<MapIndex>::default(), Arc::<MapCheckpoints>::default());
    Engine::start(EngineParts { journal, ids, checkpoints, clock, options }).unwrap()
}

fn ask(engine: &Engine, commands: Vec<Command>) -> Vec<Answer> {
    let (sender, receiver) = channel();
    engine.try_submit(commands, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
    receiver.recv_timeout(Duration::from_secs(30)).unwrap().unwrap()
}

fn events(blocks: &[Block]) -> BTreeMap<Sequence, Event> {
    blocks.iter().flat_map(Block::events).map(|event| event.unwrap()).collect()
}

/// What was first asked under an id, and what was answered.
type Asked = BTreeMap<CommandId, (CommandBody, Verdict, Sequence)>;

/// Holds an answer against what was answered before under this id (law 4).
fn judge(asked: &mut Asked, command: &Command, answer: &Answer) {
    match (asked.get(&command.id), answer) {
        (None, Answer::Recorded { verdict, sequence, replayed: false, .. }) => {
            asked.insert(command.id, (command.body.clone(), verdict.clone(), *sequence));
        }
        (Some((body, before, at)), Answer::Recorded { verdict, sequence, replayed: true, .. }) => {
            assert_eq!((body, before, at), (&command.body, verdict, sequence));
        }
        (Some((body, _, at)), Answer::Conflict { sequence, .. }) => {
            assert_ne!(body, &command.body);
            assert_eq!(at, sequence);
        }
        (before, answer) => panic!("{answer:?} to {command:?}, asked before: {before:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_answered_is_in_the_journal_once_and_breaks_no_law(
        bodies in streams::stream(),
        ids in prop::collection::vec(0..80_u128, 1..60),
        cuts in prop::collection::vec((1..12_usize, 0..6_u8), 1..20),
    ) {
        let admitted = |command: &Command| bound::check(command).is_ok();
        // Fresh ids for most, and some ids twice: with the same content or another.
        let commands: Vec<_> = bodies
            .iter()
            .enumerate()
            .flat_map(|(at, body)| {
                let id = match ids[at % ids.len()] {
                    often @ 0..8 => often,
                    _ => 1_000 + at as u128,
                };
                let body = streams::renamed(body, |named| CommandId(999 + named.0));
                let command = Command { id: CommandId(id), actor: ACTOR, body };
                if at % 7 == 3 { vec![command.clone(), command] } else { vec![command] }
            })
            .filter(admitted)
            .collect();
        let book = MemoryBook::new(BOOK);
        let mut engine = start(&book);
        let mut asked = Asked::new();
        let (mut rest, mut cut) = (&commands[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (count, restart) = cut.next().unwrap();
            let (now, later) = rest.split_at((*count).min(rest.len()));
            rest = later;
            for (command, answer) in now.iter().zip(ask(&engine, now.to_vec())) {
                judge(&mut asked, command, &answer);
            }
            if *restart == 0 {
                engine.stop();
                engine = start(&book);
            }
        }
        // Once more, everything: nothing new is recorded.
        let before = book.blocks();
        for command in &commands {
            judge(&mut asked, command, &ask(&engine, vec![command.clone()])[0]);
        }
        engine.stop();
        let blocks = book.blocks();
        prop_assert_eq!(&blocks, &before);

        let mut auditor = Auditor::new();
        let mut state = State::new();
        let events = events(&blocks);
        for (sequence, event) in &events {
            auditor.observe(*sequence, event);
            state.apply(event).unwrap();
        }
        auditor.finish();
        prop_assert_eq!(auditor.findings(), []);
        prop_assert_eq!(auditor.verdicts(), asked.len());
        prop_assert_eq!(auditor.digest(), state.digest());
        for (id, (_, answered, sequence)) in &asked {
            let event = &events[sequence];
            prop_assert_eq!(event.cause.verdict_of(), Some(*id));
            prop_assert_eq!(&verdict(&event.body), answered);
        }
    }
}
