//! Whatever is posted, read models say what naive sums over all postings say, however the run was cut into commits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod common;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::steps::any_journal;
use common::{DAY_0, day, head, moved, naive, naive_holds, project};
use event_schemas::{AccountId, Sequence, Timestamp};
use projections::memory::{MemoryFeed, MemoryRows};
use projections::ports::{ReadRows, RowChanges, Rows, RowsFault, Table};
use projections::statements::{Order, statement_page};
use projections::table::columns;
use projections::{Runner, RunnerError, Totals, balances, by_name, digest, rebuild, statements, trial_balance};
use proptest::collection::vec;
use proptest::prelude::*;

fn sums(totals: Totals) -> (i128, i128) {
    (totals.debits_minor, totals.credits_minor)
}

fn digests(rows: &dyn ReadRows) -> Vec<digest::ProjectionDigest> {
    projections::all().iter().map(|projection| digest::digest(rows, projection.as_ref()).unwrap()).collect()
}

/// Fails chosen commits: with nothing written, or with everything written and nobody told.
struct Unreliable {
    rows: MemoryRows,
    commits: AtomicUsize,
    fail: Vec<bool>,
    written: bool,
}

impl ReadRows for Unreliable {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        self.rows.get(table, key)
    }
    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        self.rows.range(table, from, to, backwards, visit)
    }
    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        self.rows.checkpoint(projection)
    }
}

impl Rows for Unreliable {
    fn commit(&self, changes: RowChanges) -> Result<(), RowsFault> {
        let nth = self.commits.fetch_add(1, Ordering::Relaxed);
        if self.fail.get(nth).copied().unwrap_or(false) {
            if self.written {
                self.rows.commit(changes)?;
            }
            return Err(RowsFault::Io("the disk is gone".into()));
        }
        self.rows.commit(changes)
    }
    fn reset(&self, projection: &'static str, tables: &[&'static Table]) -> Result<(), RowsFault> {
        self.rows.reset(projection, tables)
    }
    fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault> {
        self.rows.snapshot(read)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn balances_equal_naive_sums(blocks in any_journal()) {
        let rows = project(&blocks);
        let moved = moved(&blocks);
        for account in (1..=7).map(AccountId) {
            let now = balances::balance_now(&rows, account).unwrap().unwrap();
            prop_assert_eq!((now.debits_minor, now.credits_minor), naive(&moved, account, |_| true));
            for sequence in (0..=head(&blocks).0).map(Sequence) {
                let then = statements::balance_at_sequence(&rows, account, sequence).unwrap();
                prop_assert_eq!(then.is_some(), account.0 <= u128::from(sequence.0));
                if let Some(then) = then {
                    let expected = naive(&moved, account, |m| m.sequence <= sequence);
                    prop_assert_eq!((then.debits_minor, then.credits_minor), expected);
                    prop_assert_eq!(then.sequence, sequence);
                }
            }
            for offset in 0..40 {
                let time = Timestamp(common::START + offset);
                let then = statements::balance_at_time(&rows, account, time).unwrap().unwrap();
                let expected = naive(&moved, account, |m| m.recorded_at <= time);
                prop_assert_eq!((then.debits_minor, then.credits_minor), expected);
            }
            for offset in -6..6 {
                let then = balances::balance_on_date(&rows, account, day(offset)).unwrap().unwrap();
                let expected = naive(&moved, account, |m| m.effective_on.days() <= DAY_0 + offset);
                prop_assert_eq!((then.debits_minor, then.credits_minor), expected);
            }
        }
    }

    #[test]
    fn what_is_held_equals_what_its_events_say(blocks in any_journal(), limit in 1..5_usize) {
        let rows = project(&blocks);
        let holds = naive_holds(&blocks);
        for account in (1..=7).map(AccountId) {
            let own: Vec<_> = holds.iter().filter(|((of, _), left)| *of == account && **left > 0).collect();
            let now = balances::balance_now(&rows, account).unwrap().unwrap();
            let held: i128 = own.iter().map(|(_, left)| **left).sum();
            prop_assert_eq!((now.pending_debits_minor, now.pending_credits_minor), (held, 0));
            let (mut after, mut listed) = (None, Vec::new());
            loop {
                let page = balances::holds_page(&rows, account, after, limit).unwrap().unwrap();
                prop_assert!(page.holds.len() <= limit);
                listed.extend(page.holds.iter().map(|hold| ((hold.account, hold.hold), hold.left.amount_minor)));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(listed, own.into_iter().map(|(id, left)| (*id, *left)).collect::<Vec<_>>());
        }
        for (&(account, id), &left) in &holds {
            let hold = balances::hold(&rows, id).unwrap().unwrap();
            prop_assert_eq!((hold.account, hold.left.amount_minor), (account, left));
            prop_assert_eq!(hold.status == balances::HoldStatus::Open, left > 0);
            prop_assert!(hold.captured.amount_minor + left <= hold.amount.amount_minor);
        }
    }

    #[test]
    fn statements_chain(blocks in any_journal(), limit in 1..7_usize) {
        let rows = project(&blocks);
        let moved = moved(&blocks);
        for account in (1..=7).map(AccountId) {
            let read = |order| {
                let (mut cursor, mut lines) = (None, Vec::new());
                loop {
                    let page = statement_page(&rows, account, cursor, limit, order).unwrap().unwrap();
                    assert!(page.lines.len() <= limit);
                    lines.extend(page.lines);
                    cursor = page.next;
                    if cursor.is_none() {
                        return lines;
                    }
                }
            };
            let lines = read(Order::OldestFirst);
            let mut newest_first = read(Order::NewestFirst);
            newest_first.reverse();
            prop_assert_eq!(&lines, &newest_first);
            let own: Vec<_> = moved.iter().filter(|m| m.account == account).collect();
            prop_assert_eq!(lines.len(), own.len());
            let mut before = Totals::default();
            for (line, own) in lines.iter().zip(own) {
                prop_assert_eq!((line.sequence, line.side, line.amount.amount_minor), (own.sequence, own.side, own.amount));
                before = before.plus(line.side, line.amount.amount_minor).unwrap();
                prop_assert_eq!(line.after, before);
            }
            let now = balances::balance_now(&rows, account).unwrap().unwrap();
            prop_assert_eq!(sums(before), (now.debits_minor, now.credits_minor));
        }
    }

    #[test]
    fn the_trial_balance_is_zero_at_every_sequence(blocks in any_journal()) {
        let rows = MemoryRows::new();
        let mut runner = Runner::new(MemoryFeed::new(blocks.clone()), &rows, projections::all());
        let moved = moved(&blocks);
        for sequence in (1..=head(&blocks).0).map(Sequence) {
            prop_assert_eq!(runner.run_to(sequence, &mut |_| {}).unwrap(), sequence);
            let trial = trial_balance::trial_balance(&rows).unwrap();
            prop_assert!(trial.is_balanced());
            prop_assert_eq!(trial.sequence, sequence);
            let postings: u64 = trial.currencies.iter().flat_map(|one| &one.lines).map(|line| line.postings).sum();
            prop_assert_eq!(postings as usize, moved.iter().filter(|m| m.sequence <= sequence).count());
        }
    }

    #[test]
    fn cuts_and_failed_commits_change_nothing(
        blocks in any_journal(),
        steps in vec(1..9_u64, 1..20),
        fail in vec(any::<bool>(), 0..24),
        written in any::<bool>(),
    ) {
        let expected = digests(&project(&blocks));
        let rows = Unreliable { rows: MemoryRows::new(), commits: AtomicUsize::new(0), fail, written };
        let head = head(&blocks);
        let mut at = 0;
        let mut steps = steps.into_iter().cycle();
        while at < head.0 {
            // A runner for a few steps, as a process that is started, and ends or dies.
            let mut runner = Runner::new(MemoryFeed::new(blocks.clone()), &rows, projections::all());
            loop {
                let to = Sequence((at + steps.next().unwrap()).min(head.0));
                match runner.run_to(to, &mut |_| {}) {
                    Ok(reached) => at = reached.0,
                    Err(fault) => {
                        prop_assert_eq!(fault.error, RunnerError::Rows(RowsFault::Io("the disk is gone".into())));
                        prop_assert!(runner.run_to(to, &mut |_| {}).is_err(), "a runner that failed goes on");
                        break;
                    }
                }
                if at >= head.0 || at % 3 == 0 {
                    break;
                }
            }
        }
        prop_assert_eq!(digests(&rows), expected);
    }

    #[test]
    fn a_rebuilt_projection_is_the_same_and_is_brought_level(blocks in any_journal(), which in 0..projections::NAMES.len(), short in 0..9_u64) {
        let rows = project(&blocks);
        let before = digests(&rows);
        let name = projections::NAMES[which];
        let head = head(&blocks);
        let to = Sequence(head.0.saturating_sub(short));
        let rebuilt =
            rebuild::rebuild(MemoryFeed::new(blocks.clone()), &rows, by_name(name).unwrap(), to, &mut |_| {}).unwrap();
        prop_assert_eq!(rebuilt.sequence, to);
        prop_assert_eq!(rebuilt == before[which], to == head);
        Runner::new(MemoryFeed::new(blocks), &rows, projections::all()).run_to(head, &mut |_| {}).unwrap();
        prop_assert_eq!(digests(&rows), before);
    }

    #[test]
    fn every_row_can_be_shown_by_its_columns(blocks in any_journal()) {
        let rows = project(&blocks);
        for projection in projections::all() {
            for table in projection.tables() {
                rows.range(table, &[], None, false, &mut |key, value| {
                    assert_eq!(columns(table, key, value).unwrap().len(), table.columns.len());
                    ControlFlow::Continue(())
                })
                .unwrap();
            }
        }
    }
}
