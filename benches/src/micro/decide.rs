//! `decide` and `apply`, by command: a state of 100,000 accounts, commands made beforehand, no block and no disk. The state goes
//! on from round to round, as it would.

use std::time::Instant;

use anyhow::ensure;
use event_schemas::command::{CashMove, PostEntry};
use event_schemas::event::BookOpened;
use event_schemas::holds::{CaptureHold, PlaceHold, VoidHold};
use event_schemas::reversal::ReverseEntry;
use event_schemas::{
    BookId, Command, CommandBody, CommandId, Epoch, Event, EventBody, Money, Posting, PrincipalId, RecordedEvent,
    Sequence, Timestamp,
};
use ledger_core::decide::{Context, decide};
use ledger_core::state::State;

use super::Decided;
use crate::Ids;
use crate::booked::{AMPLE_MINOR, account, currency, mix, move_money, numbered, open, transfer};
use crate::spread::Spread;

const ACCOUNTS: u64 = 100_000;

/// Commands of a kind in a round.
const COMMANDS: u64 = 20_000;

/// An account without money and overdraft.
const POOR: u64 = ACCOUNTS;

const NOW: Timestamp = Timestamp(1_795_168_800_000_000);

/// A command with the verdict of the one that it names.
type Given = (Command, Option<RecordedEvent>);

pub(super) fn measure(rounds: usize) -> anyhow::Result<Vec<Decided>> {
    let mut bench = Bench::new()?;
    let mut kinds: Vec<(&'static str, Vec<f64>)> = Vec::new();
    for round in 0..=rounds {
        let figures = bench.round()?;
        if round == 0 {
            // The first one warms up: maps grow, pages come in.
            kinds = figures.into_iter().map(|(name, _)| (name, Vec::new())).collect();
        } else {
            for ((_, all), (_, ns)) in kinds.iter_mut().zip(figures) {
                all.push(ns);
            }
        }
    }
    Ok(kinds.into_iter().map(|(command, ns)| Decided { command, ns: Spread::of(ns) }).collect())
}

struct Bench {
    state: State,
    /// How many commands there were, for their ids.
    given: u64,
    /// How many accounts were opened.
    opened: u64,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let mut state = State::new();
        let opened = BookOpened { book: BookId::FIRST, nonce: PrincipalId(0x5eed) };
        state.apply(&Event::engine(EventBody::BookOpened(opened)))?;
        let mut bench = Self { state, given: 0, opened: 0 };
        let accounts = (0..ACCOUNTS).map(|number| open(number, AMPLE_MINOR)).chain([open(POOR, 0)]).collect();
        bench.opened = ACCOUNTS + 1;
        bench.time(accounts, true)?;
        Ok(bench)
    }

    /// Every kind once; its name and the nanoseconds of a command.
    fn round(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let money = |minor: i128| Money::new(minor, currency());
        let mut figures = Vec::new();

        let began_at = self.given;
        let uniform = (0..COMMANDS).map(|number| transfer(began_at + number, ACCOUNTS, Ids::Random).body).collect();
        let moved = self.ids(COMMANDS);
        figures.push(("transfer, 100,000 accounts", self.time(uniform, true)?));
        let hot = (0..COMMANDS).map(|number| move_money(number % 2, (number + 1) % 2, mix(number))).collect();
        figures.push(("transfer, two hot accounts", self.time(hot, true)?));
        let poor = (0..COMMANDS).map(|number| move_money(POOR, number % ACCOUNTS, mix(number))).collect();
        figures.push(("transfer, refused: no funds", self.time(poor, false)?));

        let top_ups = (0..COMMANDS).map(|number| {
            CommandBody::TopUp(CashMove {
                account: account(mix(number) % ACCOUNTS),
                amount: money(10_000),
                fee_minor: Some(25),
                effective_on: None,
                reference: Box::default(),
            })
        });
        figures.push(("top-up with a fee", self.time(top_ups.collect(), true)?));
        let entries = (0..COMMANDS).map(|number| {
            let from = mix(number) % (ACCOUNTS - 8);
            let side = |place: u64| {
                let of = account(from + place);
                if place < 4 { Posting::debit(of, money(100)) } else { Posting::credit(of, money(100)) }
            };
            let postings = (0..8).map(side).collect();
            CommandBody::PostEntry(PostEntry { postings, effective_on: None, reference: Box::default() })
        });
        figures.push(("entry of 8 postings", self.time(entries.collect(), true)?));

        let holds = self.ids(COMMANDS);
        let place = (0..COMMANDS).map(|number| {
            CommandBody::PlaceHold(PlaceHold {
                account: account(mix(number) % ACCOUNTS),
                amount: money(500),
                expires_at: None,
                reference: Box::default(),
            })
        });
        figures.push(("hold", self.time(place.collect(), true)?));
        let (captured, voided) = holds.split_at(holds.len() / 2);
        let capture = captured.iter().map(|hold| {
            CommandBody::CaptureHold(CaptureHold {
                hold: *hold,
                to: account(7),
                amount: money(500),
                fee_minor: Some(0),
                last: true,
                effective_on: None,
                reference: Box::default(),
            })
        });
        figures.push(("capture", self.time(capture.collect(), true)?));
        let void = voided.iter().map(|hold| CommandBody::VoidHold(VoidHold { hold: *hold, reason: Box::default() }));
        figures.push(("void", self.time(void.collect(), true)?));

        figures.push(("reversal", self.reverse(&moved, began_at)?));
        let first = self.opened;
        self.opened += COMMANDS;
        let opens = (first..self.opened).map(|number| open(number, 0)).collect();
        figures.push(("opening of an account", self.time(opens, true)?));
        Ok(figures)
    }

    /// Takes back the transfers with these ids, which began at that number.
    fn reverse(&mut self, moved: &[CommandId], began_at: u64) -> anyhow::Result<f64> {
        let mut given: Vec<Given> = Vec::with_capacity(moved.len());
        for (number, entry) in (began_at..).zip(moved) {
            // What stands in the journal: the decision does not depend on funds, so it can be made again.
            let command = Command { id: *entry, ..transfer(number, ACCOUNTS, Ids::Random) };
            let decision = decide(&self.state, Context::at(NOW), &command);
            let verdict = decision.events(&command).last();
            let recorded = verdict.map(|event| RecordedEvent {
                book: BookId::FIRST,
                sequence: Sequence(number + 1),
                recorded_at: NOW,
                epoch: Epoch(1),
                event,
            });
            let body = ReverseEntry { entry: *entry, postings: None, effective_on: None, reference: Box::default() };
            given.push((self.next(CommandBody::ReverseEntry(body)), recorded));
        }
        self.time_given(&given, true)
    }

    /// The ids of the next so many commands.
    fn ids(&self, count: u64) -> Vec<CommandId> {
        (self.given..self.given + count).map(|number| numbered(number, open(0, 0)).id).collect()
    }

    fn next(&mut self, body: CommandBody) -> Command {
        let command = numbered(self.given, body);
        self.given += 1;
        command
    }

    fn time(&mut self, bodies: Vec<CommandBody>, accepted: bool) -> anyhow::Result<f64> {
        let given: Vec<Given> = bodies.into_iter().map(|body| (self.next(body), None)).collect();
        self.time_given(&given, accepted)
    }

    /// Decides and applies; gives the nanoseconds of a command.
    fn time_given(&mut self, given: &[Given], accepted: bool) -> anyhow::Result<f64> {
        let mut refused = 0_usize;
        let began = Instant::now();
        for (command, named) in given {
            let context = Context { recorded_at: NOW, named: named.as_ref() };
            let decision = decide(&self.state, context, command);
            refused += usize::from(matches!(decision.verdict, EventBody::CommandRejected(_)));
            for event in decision.events(command) {
                self.state.apply(&event)?;
            }
        }
        let ns = began.elapsed().as_nanos() as f64;
        let expected = if accepted { 0 } else { given.len() };
        ensure!(refused == expected, "{refused} of {} commands were refused, not {expected}", given.len());
        Ok(ns / given.len() as f64)
    }
}
