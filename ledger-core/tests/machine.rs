//! The engine against the second bookkeeper: 200,000 random sequences of commands, cut into submissions, sent together or
//! apart, with time that passes in between, restarts, retries of whatever was answered, and ids used again for other content.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod bookkeeper;
mod desk;
mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use bookkeeper::Model;
use desk::{ACTOR, BOOK, NOON, streams};
use event_schemas::{Block, Command, CommandBody, CommandId, CustomerId, PrincipalId, Sequence};
use ledger_core::audit::Auditor;
use ledger_core::bound;
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{Answer, CommandSink as _, Verdict};
use ledger_core::state::State;
use proptest::prelude::*;
use stage::{Hands, MapCheckpoints, MapIndex};
use stores::memory::MemoryBook;

const CASES: u32 = 50_000;

fn start(book: &MemoryBook, hands: &Hands) -> Engine {
    let options = EngineOptions { nonce: 9, ..EngineOptions::default() };
    let (journal, ids, checkpoints) =
        (Box::new(book.writer()), Box::<MapIndex>::default(), Arc::<MapCheckpoints>::default());
    Engine::start(EngineParts { journal, ids, checkpoints, clock: hands.clock(), options }).unwrap()
}

/// Sends submissions one behind the other without waiting, so that they meet in a group or not, and gives all answers.
fn ask(engine: &Engine, submissions: Vec<Vec<Command>>) -> Vec<Answer> {
    let (sender, receiver) = channel();
    let count = submissions.len();
    for (place, commands) in submissions.into_iter().enumerate() {
        let sender = sender.clone();
        engine.try_submit(commands, Box::new(move |answers| drop(sender.send((place, answers))))).unwrap();
    }
    let answer = |_| receiver.recv_timeout(Duration::from_secs(30)).unwrap();
    let mut answers: Vec<_> = (0..count).map(answer).collect();
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().flat_map(|(_, answers)| answers.unwrap()).collect()
}

/// How a step goes.
#[derive(Debug, Clone)]
struct Step {
    /// So many new commands.
    size: usize,
    /// Each in a submission of its own.
    apart: bool,
    /// Seconds that pass before it.
    seconds: i64,
    /// Commands that are asked again behind the new ones: which, and what is other about them.
    again: Vec<(prop::sample::Index, Twist)>,
    /// Whether the engine is started anew before it.
    restart: bool,
}

/// What differs when an id is used again.
#[derive(Debug, Clone, Copy)]
enum Twist {
    Nothing,
    Actor,
    Type,
    Words,
}

fn step() -> impl Strategy<Value = Step> {
    let twist = prop_oneof![5 => Just(Twist::Nothing), 1 => Just(Twist::Actor), 1 => Just(Twist::Type), 2 => Just(Twist::Words)];
    (
        1..6_usize,
        any::<bool>(),
        prop_oneof![5 => Just(0), 3 => 0..4_i64],
        prop::collection::vec((any::<prop::sample::Index>(), twist), 0..3),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(size, apart, seconds, again, restart)| Step { size, apart, seconds, again, restart })
}

/// The command with something else in it, and the field that a conflict must name.
fn twisted(command: &Command, twist: Twist) -> (Command, Option<&'static str>) {
    let mut other = command.clone();
    let field = match twist {
        Twist::Nothing => None,
        Twist::Actor => {
            other.actor = PrincipalId(0xbad);
            Some("id")
        }
        Twist::Type => {
            let account = event_schemas::AccountId(1);
            let act = event_schemas::command::AccountAct { account, reason: "".into() };
            other.body = match &other.body {
                CommandBody::FreezeAccount(_) => CommandBody::CloseAccount(act),
                _ => CommandBody::FreezeAccount(act),
            };
            Some("type")
        }
        Twist::Words => Some(reworded(&mut other.body)),
    };
    (other, field)
}

fn reworded(body: &mut CommandBody) -> &'static str {
    let (words, field) = match body {
        CommandBody::OpenAccount(open) => (&mut open.owner, "owner"),
        CommandBody::FreezeAccount(act) | CommandBody::UnfreezeAccount(act) | CommandBody::CloseAccount(act) => {
            (&mut act.reason, "reason")
        }
        CommandBody::TopUp(cash) | CommandBody::Withdraw(cash) => (&mut cash.reference, "reference"),
        CommandBody::PostTransfer(transfer) => (&mut transfer.reference, "reference"),
        CommandBody::PostEntry(entry) => (&mut entry.reference, "reference"),
        CommandBody::PlaceHold(place) => (&mut place.reference, "reference"),
        CommandBody::CaptureHold(capture) => (&mut capture.reference, "reference"),
        CommandBody::VoidHold(void) => (&mut void.reason, "reason"),
        CommandBody::ReverseEntry(reverse) => (&mut reverse.reference, "reference"),
        CommandBody::TransferUpTo(transfer) => (&mut transfer.reference, "reference"),
        CommandBody::ClosePeriod(close) => (&mut close.reason, "reason"),
        CommandBody::SetNotificationPreferences(preferences) => (&mut preferences.owner, "owner"),
        CommandBody::SetLimits(limits) => (&mut limits.owner, "owner"),
        CommandBody::PublishCalendar(calendar) => (&mut calendar.zone, "zone"),
        CommandBody::PublishRateSheet(sheet) => (&mut sheet.source, "source"),
        CommandBody::ConvertFunds(convert) => (&mut convert.reference, "reference"),
        CommandBody::SetFeeRule(rule) => {
            rule.rate_ppm ^= 1;
            return "rate_ppm";
        }
    };
    *words = "other words".into();
    field
}

fn story(bodies: Vec<CommandBody>, steps: &[Step]) -> Result<(), TestCaseError> {
    let command = |(number, body)| Command { id: CommandId(number), actor: ACTOR, body };
    let commands: Vec<_> = (1..).zip(bodies).map(command).take_while(|command| bound::check(command).is_ok()).collect();
    let (book, hands, mut model) = (MemoryBook::new(BOOK), Hands::new(), Model::default());
    hands.wall.store(NOON.0, Ordering::SeqCst);
    let mut engine = start(&book, &hands);
    let mut told: Vec<(Result<(), event_schemas::Rejection>, Sequence)> = Vec::new();
    let (mut step, mut next) = (steps.iter().cycle(), 0);
    while next < commands.len() {
        let Step { size, apart, seconds, again, restart } = step.next().unwrap();
        hands.advance(seconds * 1_000_000);
        model.wait(seconds * 1_000_000);
        if *restart {
            engine.stop();
            engine = start(&book, &hands);
        }
        let last = (next + size).min(commands.len());
        let fresh = &commands[next..last];
        let expected: Vec<_> = fresh.iter().map(|command| model.say(&command.body)).collect();
        // Those asked again may stand in this very submission.
        let again: Vec<_> = again.iter().map(|(which, twist)| (which.index(last), *twist)).collect();
        let repeated: Vec<_> = again.iter().map(|(which, twist)| twisted(&commands[*which], *twist)).collect();
        let all: Vec<_> = fresh.iter().chain(repeated.iter().map(|(command, _)| command)).cloned().collect();
        let submissions = if *apart { all.into_iter().map(|one| vec![one]).collect() } else { vec![all] };
        let answers = ask(&engine, submissions);
        prop_assert_eq!(answers.len(), fresh.len() + repeated.len());
        for ((command, expected), answer) in fresh.iter().zip(expected).zip(&answers) {
            let Answer::Recorded { verdict, sequence, replayed: false, .. } = answer else {
                return Err(TestCaseError::fail(format!("{answer:?} to {command:?}")));
            };
            let said = match verdict {
                Verdict::Accepted => Ok(()),
                Verdict::Rejected(rejection) => Err(rejection.clone()),
            };
            prop_assert_eq!(&said, &expected, "{:?}", command);
            told.push((said, *sequence));
        }
        for (((which, _), (command, field)), answer) in again.iter().zip(&repeated).zip(&answers[fresh.len()..]) {
            let (said, at) = &told[*which];
            match (answer, field) {
                (Answer::Conflict { field: named, sequence }, Some(field)) => {
                    prop_assert_eq!((named, sequence), (field, at), "{:?}", command);
                }
                (Answer::Recorded { verdict, sequence, replayed: true, .. }, None) => {
                    prop_assert_eq!((*verdict == Verdict::Accepted, sequence), (said.is_ok(), at), "{:?}", command);
                    if let (Verdict::Rejected(now), Err(then)) = (verdict, said) {
                        prop_assert_eq!(now, then);
                    }
                }
                _ => return Err(TestCaseError::fail(format!("{answer:?} to {command:?} again"))),
            }
        }
        next = last;
    }
    engine.stop();
    agree(&book.blocks(), &model)
}

/// What the journal left is what the second bookkeeper has, and breaks no law.
fn agree(blocks: &[Block], model: &Model) -> Result<(), TestCaseError> {
    let (mut state, mut auditor) = (State::new(), Auditor::new());
    for block in blocks {
        auditor.at(block.header().recorded_at);
        for event in block.events() {
            let (sequence, event) = event.unwrap();
            auditor.observe(sequence, &event);
            state.apply(&event).unwrap();
        }
    }
    auditor.finish();
    prop_assert_eq!(auditor.findings(), []);
    // The last moments may have no block of their own: what is due then is still held in the journal.
    let now = event_schemas::Timestamp(NOON.0 + model.now);
    while let Some(expiry) = ledger_core::decide::next_expiry(&state, now) {
        for body in expiry {
            state.apply(&event_schemas::Event::engine(body)).unwrap();
        }
    }
    prop_assert_eq!(state.accounts().len(), model.accounts.len());
    for (id, page) in &model.accounts {
        let account = state.account(*id).unwrap();
        prop_assert_eq!(account.balance_minor(), page.balance_minor);
        prop_assert_eq!(account.debits_pending_minor, page.held_minor);
    }
    for (id, slip) in &model.holds {
        prop_assert_eq!(state.hold(*id).map_or(0, |hold| hold.left_minor), slip.left_minor);
    }
    for ((owner, currency), allowance) in &model.limits {
        let limits = state.limits(CustomerId::from_owner(owner).unwrap(), *currency).unwrap();
        let used = limits.used.map(|used| (used.on, used.day_minor, used.month_minor));
        prop_assert_eq!(used, allowance.latest.map(|on| (on, allowance.of_day(on), allowance.of_month(on))));
    }
    for (entry, postings) in &model.entries {
        for (place, posting) in (0..).zip(postings) {
            let reversed = model.reversed.iter().filter(|gone| (gone.0, gone.1) == (*entry, place));
            let reversed_minor: i128 = reversed.map(|gone| gone.2).sum();
            prop_assert_eq!(state.reversed_minor(*entry, place), reversed_minor);
            prop_assert!(reversed_minor <= posting.money.amount_minor);
        }
    }
    Ok(())
}

// Four tests, so that they share the cores; each draws cases of its own.
macro_rules! machine {
    ($($name:ident)*) => {
        $(proptest! {
            #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]
            #[test]
            fn $name(bodies in streams::stream_of(26), steps in prop::collection::vec(step(), 1..8)) {
                story(bodies, &steps)?;
            }
        })*
    };
}

machine! {
    the_first_fifty_thousand_sequences_agree
    the_second_fifty_thousand_sequences_agree
    the_third_fifty_thousand_sequences_agree
    the_fourth_fifty_thousand_sequences_agree
}
