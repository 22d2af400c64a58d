//! A small language for journals, and a naive model of what read models should say about them.
#![allow(clippy::wildcard_enum_match_arm)]
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

pub mod steps;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use event_schemas::block::BlockPlace;
use event_schemas::command::{AccountAct, AccountKind, BalancePolicy, OpenAccount};
use event_schemas::digest::Digest;
use event_schemas::event::{
    EntryKind, EntryPosted, EntryReversed, HoldCaptured, HoldExpired, HoldPlaced, HoldVoided, StateDigest,
};
use event_schemas::{
    AccountId, Block, BookId, Cause, CivilDate, CommandId, Currency, Epoch, Event, EventBody, Money, Posting, Postings,
    PrincipalId, Sequence, Side, Timestamp, testing,
};
use projections::Runner;
use projections::memory::{MemoryFeed, MemoryRows};
use projections::ports::{ReadRows as _, Table};
use projections::table::columns;

pub const DAY_0: i32 = 20_000;
pub const START: i64 = 1_767_225_600_000_000;

pub fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

pub fn day(offset: i32) -> CivilDate {
    CivilDate::from_days(DAY_0 + offset).unwrap()
}

pub fn verdict(command: u128, body: EventBody) -> Event {
    Event { cause: Cause::Verdict { command: CommandId(command), actor: PrincipalId(7) }, body }
}

pub fn open(account: u128, kind: AccountKind, code: &str, owner: &str, policy: BalancePolicy) -> Event {
    let open = OpenAccount {
        account: AccountId(account),
        code: format!("a:{account}").into(),
        kind,
        currency: currency(code),
        owner: owner.into(),
        policy,
    };
    verdict(account, EventBody::AccountOpened(open))
}

pub fn act(account: u128, body: fn(AccountAct) -> EventBody) -> Event {
    verdict(1, body(AccountAct { account: AccountId(account), reason: "because".into() }))
}

/// An entry from (account, signed amount): above zero debits, below credits.
pub fn entry(command: u128, on: i32, code: &str, moves: &[(u128, i128)]) -> Event {
    let entry = EntryPosted {
        kind: EntryKind::General,
        fee_rule: None,
        at_most_minor: None,
        effective_on: day(on),
        effective_on_named: true,
        reference: format!("r{command}").into(),
        postings: postings(code, moves),
    };
    verdict(command, EventBody::EntryPosted(entry))
}

/// The postings of (account, signed amount): above zero debits, below credits.
pub fn postings(code: &str, moves: &[(u128, i128)]) -> Postings {
    let posting = |&(account, amount): &(u128, i128)| Posting {
        account: AccountId(account),
        side: if amount > 0 { Side::Debit } else { Side::Credit },
        money: Money::new(amount.abs(), currency(code)),
    };
    moves.iter().map(posting).collect()
}

pub fn hold(command: u128, account: u128, code: &str, amount: i128, expires_at: Option<Timestamp>) -> Event {
    let (account, amount) = (AccountId(account), Money::new(amount, currency(code)));
    verdict(command, EventBody::HoldPlaced(HoldPlaced { account, amount, expires_at, reference: "room 7".into() }))
}

/// A capture of `hold` by these moves, after which this is released and this is left.
pub fn capture(
    command: u128,
    hold: u128,
    on: i32,
    postings: Postings,
    released_minor: i128,
    left_minor: i128,
) -> Event {
    let captured = HoldCaptured {
        hold: CommandId(hold),
        fee_rule: None,
        last: released_minor > 0,
        released_minor,
        left_minor,
        effective_on: day(on),
        effective_on_named: true,
        reference: format!("r{command}").into(),
        postings,
    };
    verdict(command, EventBody::HoldCaptured(captured))
}

pub fn voided(command: u128, hold: u128, account: u128, code: &str, released: i128) -> Event {
    let (account, released) = (AccountId(account), Money::new(released, currency(code)));
    verdict(command, EventBody::HoldVoided(HoldVoided { hold: CommandId(hold), account, released, reason: "".into() }))
}

pub fn expired(hold: u128, account: u128, code: &str, released: i128) -> Event {
    let (account, released) = (AccountId(account), Money::new(released, currency(code)));
    Event::engine(EventBody::HoldExpired(HoldExpired {
        hold: CommandId(hold),
        account,
        released,
        expires_at: Timestamp(START),
    }))
}

/// A reversal by these moves of the entry of this command at this sequence.
pub fn reversal(command: u128, entry: u128, reverses: u64, on: i32, postings: Postings) -> Event {
    let reversed = EntryReversed {
        entry: CommandId(entry),
        reverses: Sequence(reverses),
        rest: true,
        effective_on: day(on),
        effective_on_named: true,
        reference: "taken back".into(),
        places: (0..).take(postings.len()).collect(),
        postings,
    };
    verdict(command, EventBody::EntryReversed(reversed))
}

pub fn noise() -> Event {
    Event::engine(EventBody::StateDigest(StateDigest { digest: Digest([3; 32]), accounts: 2 }))
}

/// Blocks of these events; the number with each is how many microseconds after the block before it was recorded.
pub fn journal(blocks: &[(i64, Vec<Event>)]) -> Vec<Block> {
    let mut place = BlockPlace {
        book: BookId::FIRST,
        first_sequence: Sequence(1),
        recorded_at: Timestamp(START),
        epoch: Epoch(1),
        previous: Digest::default(),
    };
    let mut out = Vec::new();
    for (later, events) in blocks {
        place.recorded_at.0 += later;
        let block = testing::seal(events, place);
        place.first_sequence = block.header().last_sequence().next();
        place.previous = block.hash();
        out.push(block);
    }
    out
}

/// Projects all blocks in one run.
pub fn project(blocks: &[Block]) -> MemoryRows {
    let rows = MemoryRows::new();
    let head = head(blocks);
    let reached =
        Runner::new(MemoryFeed::new(blocks.to_vec()), &rows, projections::all()).run_to(head, &mut |_| {}).unwrap();
    assert_eq!(reached, head);
    rows
}

/// The last sequence.
pub fn head(blocks: &[Block]) -> Sequence {
    blocks.last().map_or(Sequence::ZERO, |block| block.header().last_sequence())
}

/// Every event of a journal, with when it was recorded.
pub fn recorded(blocks: &[Block]) -> Vec<(Sequence, Timestamp, Event)> {
    let of_block = |block: &Block| {
        let at = block.header().recorded_at;
        block.events().map(|item| item.map(|(sequence, event)| (sequence, at, event)).unwrap()).collect::<Vec<_>>()
    };
    blocks.iter().flat_map(of_block).collect()
}

/// The rows of a table with these columns, ids as short numbers.
pub fn show(rows: &MemoryRows, table: &'static Table, wanted: &[&str]) -> String {
    let mut text = String::new();
    rows.range(table, &[], None, false, &mut |key, value| {
        let shown = columns(table, key, value).unwrap();
        assert_eq!(shown.len(), table.columns.len());
        let cells: Vec<_> = wanted
            .iter()
            .map(|name| {
                let (_, cell) = shown.iter().find(|(column, _)| column == name).unwrap();
                cell.trim_start_matches("00000000-0000-0000-0000-").trim_start_matches("00000000000").to_owned()
            })
            .collect();
        text.push_str(&cells.join(" | "));
        text.push('\n');
        ControlFlow::Continue(())
    })
    .unwrap();
    text
}

/// One posting, as the model remembers it.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub sequence: Sequence,
    pub recorded_at: Timestamp,
    pub account: AccountId,
    pub side: Side,
    pub amount: i128,
    pub effective_on: CivilDate,
}

/// What is left of every hold, by account and hold: what was placed less what its events took, zero for those that ended.
pub fn naive_holds(blocks: &[Block]) -> BTreeMap<(AccountId, CommandId), i128> {
    let mut left = BTreeMap::new();
    let mut of = BTreeMap::new();
    for item in blocks.iter().flat_map(|block| block.events()) {
        let event = item.unwrap().1;
        let (hold, taken) = match event.body {
            EventBody::HoldPlaced(placed) => {
                let hold = event.cause.verdict_of().unwrap();
                of.insert(hold, placed.account);
                (hold, -placed.amount.amount_minor)
            }
            EventBody::HoldCaptured(captured) => {
                let account = of[&captured.hold];
                let own = captured.postings.iter().filter(|one| one.account == account && one.side == Side::Debit);
                (captured.hold, own.map(|one| one.money.amount_minor).sum::<i128>() + captured.released_minor)
            }
            EventBody::HoldVoided(voided) => (voided.hold, voided.released.amount_minor),
            EventBody::HoldExpired(expired) => (expired.hold, expired.released.amount_minor),
            _ => continue,
        };
        *left.entry((of[&hold], hold)).or_insert(0) -= taken;
    }
    left
}

/// Every posting of a journal, in order.
pub fn moved(blocks: &[Block]) -> Vec<Moved> {
    let mut all = Vec::new();
    for block in blocks {
        for item in block.events() {
            let (sequence, event) = item.unwrap();
            if let Some(entry) = event.body.entry() {
                all.extend(entry.postings.iter().map(|posting| Moved {
                    sequence,
                    recorded_at: block.header().recorded_at,
                    account: posting.account,
                    side: posting.side,
                    amount: posting.money.amount_minor,
                    effective_on: entry.effective_on,
                }));
            }
        }
    }
    all
}

/// Debits and credits of the postings of an account that a test picks.
pub fn naive(moved: &[Moved], account: AccountId, picks: impl Fn(&Moved) -> bool) -> (i128, i128) {
    let sum = |side| {
        moved.iter().filter(|m| m.account == account && m.side == side && picks(m)).map(|m| m.amount).sum::<i128>()
    };
    (sum(Side::Debit), sum(Side::Credit))
}
