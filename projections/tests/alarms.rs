//! What stops a runner, what it leaves behind, and what verify finds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::items_after_statements)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{capture, entry, expired, hold, journal, noise, open, postings, project, voided};
use event_schemas::block::HEADER_BYTES;
use event_schemas::command::{AccountKind, BalancePolicy};
use event_schemas::digest::Digest;
use event_schemas::{AccountId, Block, BlockError, Sequence};
use projections::memory::{MemoryFeed, MemoryRows};
use projections::ports::{EventFeed, FeedFault, ReadRows, RowChanges, Rows, Table};
use projections::verify::{ProjectionCheck, verify};
use projections::{Projection, Runner, RunnerError, RunnerFault, audit, balances, rebuild, statements, trial_balance};

fn accounts() -> (i64, Vec<event_schemas::Event>) {
    let one = |id| open(id, AccountKind::Liability, "EUR", "", BalancePolicy::Unlimited);
    (0, vec![one(1), one(2), one(3)])
}

fn pay(from: u128, to: u128, amount: i128) -> event_schemas::Event {
    entry(9, 0, "EUR", &[(from, amount), (to, -amount)])
}

/// Events 1 to 3 open accounts; 4 to 9 are entries, two a block.
fn blocks() -> Vec<Block> {
    journal(&[
        accounts(),
        (1, vec![pay(1, 2, 10), pay(2, 3, 20)]),
        (1, vec![pay(1, 3, 30), noise()]),
        (1, vec![pay(3, 2, 40), pay(3, 1, 50)]),
    ])
}

fn run(blocks: Vec<Block>, to: u64) -> (MemoryRows, Result<Sequence, RunnerFault>) {
    let rows = MemoryRows::new();
    let mut runner = Runner::new(MemoryFeed::new(blocks), &rows, projections::all());
    let result = runner.run_to(Sequence(to), &mut |_| {});
    if let Err(fault) = &result {
        assert_eq!(runner.run_to(Sequence(to), &mut |_| {}), Err(fault.clone()), "a runner that stopped stays so");
    }
    (rows, result)
}

/// The checkpoint of all projections, which is the same.
fn checkpoint(rows: &dyn ReadRows) -> u64 {
    let found = projections::NAMES.map(|name| rows.checkpoint(name).unwrap().0);
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
    found[0]
}

#[test]
fn a_gap_stops_with_an_alarm_that_names_the_sequence() {
    let mut gapped = blocks();
    gapped.remove(1);
    let (rows, result) = run(gapped, 9);
    let fault = result.unwrap_err();
    assert_eq!(fault.error, RunnerError::Gap { expected: Sequence(4), found: Sequence(6) });
    assert_eq!(fault.sequence, Sequence(4));
    assert_eq!(fault.to_string(), "the read models stopped at event 4: event 4 is next, but the feed went on at 6");
    assert_eq!(checkpoint(&rows), 3, "what came before the gap is kept");
}

/// A feed that hands out a block that lies before what was asked for.
struct Stuck(Block);

impl EventFeed for Stuck {
    fn next_block(&mut self, _: Sequence, _: Duration) -> Result<Option<Block>, FeedFault> {
        Ok(Some(self.0.clone()))
    }
}

#[test]
fn a_block_that_comes_again_is_not_applied_again() {
    let rows = MemoryRows::new();
    let fault = Runner::new(Stuck(blocks().remove(0)), &rows, projections::all()).run_to(Sequence(9), &mut |_| {});
    let error = RunnerError::Gap { expected: Sequence(4), found: Sequence(1) };
    assert_eq!(fault, Err(RunnerFault { projection: None, sequence: Sequence(4), error }));
    assert_eq!(checkpoint(&rows), 3);
}

/// The block with its payload changed and its header made to fit.
fn altered(block: &Block, change: impl Fn(&mut Vec<u8>)) -> Block {
    let mut payload = block.payload().to_vec();
    change(&mut payload);
    let mut header = *block.header();
    header.payload_bytes = u32::try_from(payload.len()).unwrap();
    header.payload_hash = Digest(*blake3::hash(&payload).as_bytes());
    let mut bytes = header.encode().to_vec();
    assert_eq!(bytes.len(), HEADER_BYTES);
    bytes.extend(payload);
    Block::from_bytes(bytes).unwrap()
}

#[test]
fn an_event_that_cant_be_read_stops_and_what_came_before_is_kept() {
    let mut damaged = blocks();
    // The second half of the block: event 5 has a type that nobody knows.
    damaged[1] = altered(&damaged[1], |payload| {
        let second = payload.len() / 2;
        payload[second + 1] = 200;
    });
    let (rows, result) = run(damaged, 9);
    let fault = result.unwrap_err();
    assert_eq!((fault.projection, fault.sequence), (None, Sequence(5)));
    assert!(matches!(fault.error, RunnerError::Block(BlockError::Event { sequence: Sequence(5), .. })), "{fault}");
    assert_eq!(checkpoint(&rows), 4);
}

#[test]
fn an_event_that_contradicts_stops_and_names_the_projection() {
    let stranger = journal(&[accounts(), (1, vec![pay(1, 2, 10), pay(1, 77, 10)])]);
    let (rows, result) = run(stranger, 5);
    let fault = result.unwrap_err();
    assert_eq!((fault.projection, fault.sequence), (Some(balances::NAME), Sequence(5)));
    assert!(matches!(fault.error, RunnerError::Contradiction(_)), "{fault}");
    assert_eq!(checkpoint(&rows), 0, "half an event is never committed");

    // Holds: placed twice, captured above what is left, ended twice, captured when ended, and a remainder that is another.
    let taken = |amount| postings("EUR", &[(1, amount), (2, -amount)]);
    let placed = || hold(50, 1, "EUR", 10, None);
    for contradicting in [
        vec![placed(), placed()],
        vec![hold(50, 77, "EUR", 10, None)],
        vec![placed(), capture(51, 50, 0, taken(11), 0, 0)],
        vec![placed(), capture(51, 50, 0, taken(9), 2, 0)],
        vec![placed(), capture(51, 50, 0, taken(9), 0, 2)],
        vec![placed(), voided(51, 50, 1, "EUR", 9)],
        vec![capture(51, 50, 0, taken(1), 0, 0)],
        vec![placed(), voided(51, 50, 1, "EUR", 10), expired(50, 1, "EUR", 10)],
        vec![placed(), expired(50, 1, "EUR", 10), capture(51, 50, 0, taken(10), 0, 0)],
    ] {
        let last = 3 + contradicting.len() as u64;
        let fault = run(journal(&[accounts(), (1, contradicting)]), last).1.unwrap_err();
        assert_eq!((fault.projection, fault.sequence), (Some(balances::NAME), Sequence(last)));
        assert!(matches!(fault.error, RunnerError::Contradiction(_)), "{fault}");
    }

    let lopsided = journal(&[accounts(), (1, vec![entry(9, 0, "EUR", &[(1, 10), (2, -9)])])]);
    let fault = run(lopsided, 4).1.unwrap_err();
    assert_eq!((fault.projection, fault.sequence), (Some(trial_balance::NAME), Sequence(4)));

    let again = journal(&[accounts(), accounts()]);
    assert_eq!(run(again, 4).1.unwrap_err().projection, Some(balances::NAME));

    let backwards = journal(&[accounts(), (-1, vec![noise()])]);
    assert_eq!(run(backwards, 4).1.unwrap_err().projection, Some(statements::NAME));
}

#[test]
fn a_runner_follows_a_growing_journal_until_it_is_stopped() {
    let all = blocks();
    let feed = MemoryFeed::new(all[..1].to_vec());
    let rows = MemoryRows::new();
    let stop = AtomicBool::new(false);
    let mut seen = Vec::new();
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| {
            Runner::new(feed.clone(), &rows, projections::all()).run(&stop, &mut |progress| {
                seen.push(progress.sequence.0);
                match progress.sequence.0 {
                    3 => feed.push(all[1].clone()),
                    5 => feed.push(all[2].clone()),
                    7 => feed.push(all[3].clone()),
                    9 => stop.store(true, Ordering::Release),
                    _ => {}
                }
            })
        });
        assert_eq!(runner.join().unwrap(), Ok(()));
    });
    assert_eq!(seen, [0, 3, 5, 7, 9]);
    assert_eq!(checkpoint(&rows), 9);
}

#[test]
fn a_feed_that_ends_early_or_fails_is_told() {
    let (_, result) = run(blocks(), 99);
    assert_eq!(result, Ok(Sequence(9)));
    let rows = MemoryRows::new();
    let projection = projections::by_name(balances::NAME).unwrap();
    let fault = rebuild::rebuild(MemoryFeed::new(blocks()), &rows, projection, Sequence(99), &mut |_| {}).unwrap_err();
    assert_eq!(fault.error, RunnerError::Short { reached: Sequence(9) });

    struct Broken;
    impl EventFeed for Broken {
        fn next_block(&mut self, _: Sequence, _: Duration) -> Result<Option<Block>, FeedFault> {
            Err(FeedFault("no disk".into()))
        }
    }
    let fault = Runner::new(Broken, &rows, projections::all()).run(&AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!(fault.error, RunnerError::Feed(FeedFault("no disk".into())));
}

fn checks(rows: &MemoryRows, blocks: Vec<Block>) -> Result<Vec<ProjectionCheck>, RunnerFault> {
    let all = projections::all();
    let all: Vec<&dyn Projection> = all.iter().map(AsRef::as_ref).collect();
    verify(&mut MemoryFeed::new(blocks), rows, &all, &mut |_| {})
}

#[test]
fn verify_agrees_with_rows_that_nobody_touched() {
    let found = checks(&project(&blocks()), blocks()).unwrap();
    assert_eq!(found.len(), projections::NAMES.len());
    for check in &found {
        assert!(check.agrees(), "{check:?}");
        assert_eq!((check.sequence, &check.difference), (Sequence(9), &None));
        assert_eq!(check.kept, check.replayed);
    }
    assert!(found[..3].iter().all(|check| check.kept.rows > 0));
    let empty = checks(&MemoryRows::new(), blocks()).unwrap();
    assert!(empty.iter().all(ProjectionCheck::agrees));
}

#[test]
fn verify_handles_projections_at_different_checkpoints() {
    let rows = project(&blocks());
    let projection = projections::by_name(balances::NAME).unwrap();
    rebuild::rebuild(MemoryFeed::new(blocks()), &rows, projection, Sequence(4), &mut |_| {}).unwrap();
    let found = checks(&rows, blocks()).unwrap();
    for check in &found {
        assert_eq!(check.sequence.0, if check.kept.projection == balances::NAME { 4 } else { 9 });
    }
    assert!(found.iter().all(ProjectionCheck::agrees));
    // A journal that ends before what the rows have applied proves nothing.
    let mut short = blocks();
    short.pop();
    let fault = checks(&rows, short).unwrap_err();
    assert_eq!(fault.error, RunnerError::Short { reached: Sequence(7) });
}

/// What verify says after the rows of a table were changed.
fn after(table: &'static Table, change: impl Fn(&[u8], &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)>) -> String {
    let rows = project(&blocks());
    let mut changed = Vec::new();
    rows.range(table, &[], None, false, &mut |key, value| {
        changed.extend(change(key, value).map(|(key, value)| (table, key, value)));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert!(!changed.is_empty());
    rows.commit(RowChanges { rows: changed, checkpoints: Vec::new() }).unwrap();
    let found = checks(&rows, blocks()).unwrap();
    let different: Vec<_> = found.iter().filter(|check| !check.agrees()).collect();
    assert_eq!(different.len(), 1);
    assert_eq!(different[0].projection, table.projection);
    different[0].difference.as_ref().unwrap().to_string()
}

#[test]
fn verify_names_the_first_row_that_differs() {
    // The totals of a day, one bit off: the debits of account 2 are 20, zigzag 40.
    let found = after(&balances::rows::DAYS, |key, value| {
        let mut value = value.to_vec();
        value[1] ^= 2;
        (key[15] == 2).then(|| (key.to_vec(), Some(value)))
    });
    let id = AccountId(2);
    assert_eq!(
        found,
        format!(
            "balances_days: kept: account={id} effective_on=2024-10-04 debits_minor=21 credits_minor=50; \
             replayed: account={id} effective_on=2024-10-04 debits_minor=20 credits_minor=50"
        )
    );
    // A posting that is gone, two rows on: the lowest is named.
    let found = after(&statements::rows::POSTINGS, |key, _| (key[15] >= 2).then(|| (key.to_vec(), None)));
    assert!(
        found.starts_with(
            "statements_postings: kept: no row; replayed: account=00000000-0000-0000-0000-000000000002 sequence=4"
        ),
        "{found}"
    );
    // A posting that nobody posted.
    let found = after(&statements::rows::POSTINGS, |key, value| {
        let mut other = key.to_vec();
        other[15] = 8;
        (key[15] == 1).then(|| (other, Some(value.to_vec())))
    });
    assert!(
        found.starts_with("statements_postings: kept: account=00000000-0000-0000-0000-000000000008 sequence=4"),
        "{found}"
    );
    assert!(found.ends_with("replayed: no row"), "{found}");
    // An act that is gone, an account that an act is not about: of tables that are written once as of the others.
    let found = after(&audit::rows::ACTS, |key, _| (key[7] == 6).then(|| (key.to_vec(), None)));
    assert!(found.starts_with("audit_acts: kept: no row; replayed: sequence=6 recorded_at="), "{found}");
    let found = after(&audit::rows::BY_ACCOUNT, |key, value| {
        let mut other = key.to_vec();
        other[23] = 9;
        (key[15] == 3).then(|| (other, Some(value.to_vec())))
    });
    let id = AccountId(3);
    assert_eq!(found, format!("audit_by_account: kept: account={id} sequence=9; replayed: no row"));
    // A row that can't be read is shown as it is.
    let found = after(&trial_balance::rows::BOOK, |key, _| Some((key.to_vec(), Some(vec![1, 3]))));
    assert!(found.contains("can't be read") && found.ends_with("accounts=3 entries=5"), "{found}");
}
