//! The laws through the whole engine: random commands, cut into random submissions, with retries, ids used again for other
//! content, and restarts in between; then the journal that is left is audited.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod desk;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use desk::{ACTOR, BOOK, NOON, recorded, streams};
use event_schemas::{Block, Command, CommandBody, CommandId, Event, Rejection, Sequence, Timestamp};
use ledger_core::asked::verdict;
use ledger_core::audit::Auditor;
use ledger_core::bound;
use ledger_core::decide::{Context, decide, named};
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{Answer, Clock, CommandSink as _, Preview, Previews, Verdict};
use ledger_core::state::{Account, State};
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

fn link(engine: &Engine, commands: Vec<Command>) -> Vec<Answer> {
    let (sender, receiver) = channel();
    engine.try_submit_linked(commands, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
    receiver.recv_timeout(Duration::from_secs(30)).unwrap().unwrap()
}

fn preview(engine: &Engine, commands: Vec<Command>) -> Previews {
    let (sender, receiver) = channel();
    engine.try_preview(commands, Box::new(move |previews| drop(sender.send(previews)))).unwrap();
    receiver.recv_timeout(Duration::from_secs(30)).unwrap().unwrap()
}

fn said(answer: &Answer) -> &Verdict {
    match answer {
        Answer::Recorded { verdict, .. } => verdict,
        Answer::Conflict { .. } => panic!("{answer:?}"),
    }
}

/// The book as its journal has it: the state, and all events.
#[derive(Default)]
struct Record {
    state: State,
    events: Vec<Event>,
}

impl Record {
    /// Applies what was recorded since the last time.
    fn follow(&mut self, book: &MemoryBook) {
        let all = events(&book.blocks());
        for event in all.into_values().skip(self.events.len()) {
            self.state.apply(&event).unwrap();
            self.events.push(event);
        }
    }

    /// What commands would get, one after the other on a copy of the state; as a linked batch, the first refusal ends it. The
    /// accounts that changed stand beside each verdict, and the state that is left behind them.
    fn expect(&self, commands: &[Command]) -> (Vec<(Verdict, Vec<Account>)>, State) {
        let (mut state, mut events) = (self.state.clone(), self.events.clone());
        let mut expected = Vec::new();
        for (item, command) in commands.iter().enumerate() {
            let before = state.clone();
            let earlier = named(&state, &command.body).and_then(|id| recorded(&events, id));
            let decision = decide(&state, Context { recorded_at: NOON, named: earlier.as_ref() }, command);
            for event in decision.events(command) {
                state.apply(&event).unwrap();
                events.push(event);
            }
            let verdict = verdict(&events.last().unwrap().body);
            if let Verdict::Rejected(own) = verdict {
                let refused = |place| {
                    if place == item {
                        own.clone()
                    } else {
                        Rejection::LinkedItemRefused { item: u32::try_from(item).unwrap(), command: command.id }
                    }
                };
                let all = (0..commands.len()).map(|place| (Verdict::Rejected(refused(place)), Vec::new()));
                return (all.collect(), self.state.clone());
            }
            let changed = state.accounts().iter().filter(|now| before.account(now.id) != Some(*now)).copied();
            expected.push((verdict, changed.collect()));
        }
        (expected, state)
    }
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

    #[test]
    fn linked_is_all_or_nothing_and_a_dry_run_tells_it_without_a_trace(
        bodies in streams::stream(),
        cuts in prop::collection::vec((1..6_usize, 0..8_u8), 1..20),
    ) {
        let book = MemoryBook::new(BOOK);
        let mut engine = start(&book);
        let mut record = Record::default();
        let command = |(number, body): (u128, CommandBody)| Command { id: CommandId(number), actor: ACTOR, body };
        let commands: Vec<_> = (1..).zip(bodies).map(command).filter(|command| bound::check(command).is_ok()).collect();
        let (mut rest, mut cut) = (&commands[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (count, how) = *cut.next().unwrap();
            let (now, later) = rest.split_at(count.min(rest.len()));
            rest = later;
            record.follow(&book);
            let (expected, mut after) = record.expect(now);
            let verdicts: Vec<_> = expected.iter().map(|(verdict, _)| verdict.clone()).collect();
            // A dry run, and another, say what is to be expected, and leave everything as it is.
            let (blocks, status) = (book.blocks(), engine.status());
            for _ in 0..2 {
                let previews = preview(&engine, now.to_vec());
                prop_assert_eq!(previews.at_sequence.0, record.events.len() as u64);
                for (item, (verdict, changed)) in previews.items.iter().zip(&expected) {
                    let Preview::Expected { verdict: told, accounts, .. } = item else { panic!("{item:?}") };
                    prop_assert_eq!(told, verdict);
                    // Those that it touched: among them all that changed.
                    prop_assert!(changed.iter().all(|account| accounts.contains(account)));
                    if now.len() == 1 {
                        prop_assert!(accounts.iter().all(|account| after.account(account.id) == Some(account)));
                    }
                }
                prop_assert_eq!(previews.items.len(), now.len());
            }
            prop_assert_eq!((&book.blocks(), engine.status()), (&blocks, status));
            if how < 2 {
                // Each on its own: the first gets what it was told, if it was told of it alone.
                let answers = ask(&engine, now.to_vec());
                prop_assert!(now.len() > 1 || said(&answers[0]) == &verdicts[0]);
                continue;
            }
            let answers = link(&engine, now.to_vec());
            prop_assert_eq!(answers.iter().map(|answer| said(answer).clone()).collect::<Vec<_>>(), &verdicts[..]);
            let mut left = State::new();
            for event in events(&book.blocks()).values() {
                left.apply(event).unwrap();
            }
            prop_assert_eq!(left.digest(), after.digest());
            if how == 2 {
                engine.stop();
                engine = start(&book);
            }
            // Asked again, alone or together: the same verdicts, at the same places.
            let head = engine.status().durable;
            let again = link(&engine, now.to_vec());
            let apart = ask(&engine, now.to_vec());
            prop_assert_eq!(&again, &apart);
            for (first, again) in answers.iter().zip(&again) {
                let (Answer::Recorded { sequence, .. }, Answer::Recorded { sequence: at, replayed, .. }) = (first, again)
                else {
                    panic!("{first:?} {again:?}")
                };
                prop_assert_eq!((said(first), sequence, true), (said(again), at, *replayed));
            }
            prop_assert_eq!(engine.status().durable, head);
        }
        engine.stop();
        let mut auditor = Auditor::new();
        for block in book.blocks() {
            auditor.at(block.header().recorded_at);
            for event in block.events() {
                let (sequence, event) = event.unwrap();
                auditor.observe(sequence, &event);
            }
        }
        auditor.finish();
        prop_assert_eq!(auditor.findings(), []);
    }
}
