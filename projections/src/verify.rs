//! Proof that read models equal a replay: the journal is applied from nothing up to the stored checkpoint, and the digests of
//! each table are compared. Where they differ, the first row that does is named.
//!
//! The replay is kept in memory, all but the postings of statements, which are most of the rows by far: they are written once
//! and only the newest of an account is read again, so a hash for each account stands for them. Only if that differs, a second
//! replay keeps the postings of the first account in doubt. So memory grows with accounts, days and holds, not with postings.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_schemas::{MultisetHash, Sequence};
use foldhash::quality::RandomState;

use crate::digest::{ProjectionDigest, TableDigest, of_tables, row_hash, without_personal_columns};
use crate::memory::MemoryRows;
use crate::ports::{EventFeed, ReadRows, RowChanges, Rows, RowsFault, Table};
use crate::projection::Projection;
use crate::runner::{Progress, Runner, RunnerError, RunnerFault};
use crate::statements::rows::POSTINGS;
use crate::table::{behind_prefix, columns};

/// A row that is not what a replay makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: &'static Table,
    /// The row's key.
    pub key: Vec<u8>,
    /// Its value as it is kept; `None` if there is none.
    pub kept: Option<Vec<u8>>,
    /// Its value after the replay; `None` if there is none.
    pub replayed: Option<Vec<u8>>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Vec<u8>>| match value {
            None => "no row".to_owned(),
            Some(value) => match columns(self.table, &self.key, value) {
                Ok(columns) => {
                    let texts: Vec<_> = columns.iter().map(|(name, text)| format!("{name}={text}")).collect();
                    texts.join(" ")
                }
                Err(fault) => format!("{fault} (key {:02x?}, value {value:02x?})", self.key),
            },
        };
        write!(f, "{}: kept: {}; replayed: {}", self.table.name, show(&self.kept), show(&self.replayed))
    }
}

/// What the comparison of one projection found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionCheck {
    /// The projection.
    pub projection: &'static str,
    /// The sequence it has applied, up to which was replayed.
    pub sequence: Sequence,
    /// The digest of the rows that are kept.
    pub kept: ProjectionDigest,
    /// The digest after the replay.
    pub replayed: ProjectionDigest,
    /// The first row that differs, in the order of tables and keys.
    pub difference: Option<Difference>,
}

impl ProjectionCheck {
    /// Whether the read model equals the replay.
    pub fn agrees(&self) -> bool {
        self.kept.digest == self.replayed.digest
    }
}

/// The account at the front of a posting's key.
type AccountKey = [u8; 16];

#[derive(Debug, Default)]
struct OfAccount {
    hash: MultisetHash,
    newest: (Vec<u8>, Vec<u8>),
}

#[derive(Debug, Default)]
struct Postings {
    all: MultisetHash,
    accounts: HashMap<AccountKey, OfAccount, RandomState>,
}

/// The rows of a replay.
#[derive(Debug, Default)]
struct ReplayRows {
    memory: MemoryRows,
    postings: Mutex<Postings>,
    /// The account whose postings are kept.
    keep: Option<AccountKey>,
}

impl ReplayRows {
    fn postings(&self) -> MutexGuard<'_, Postings> {
        self.postings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_postings(table: &Table) -> bool {
    table.name == POSTINGS.name
}

fn account_of(key: &[u8]) -> AccountKey {
    key.first_chunk().copied().unwrap_or_default()
}

impl ReadRows for ReplayRows {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        self.memory.get(table, key)
    }

    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        if !is_postings(table) {
            return self.memory.range(table, from, to, backwards, visit);
        }
        // Projecting reads an account's newest posting, and that is all there is to see here.
        let postings = self.postings();
        if let Some(OfAccount { newest: (key, value), .. }) = postings.accounts.get(&account_of(from))
            && key.as_slice() >= from
            && to.is_none_or(|to| key.as_slice() < to)
        {
            let _ = visit(key, value);
        }
        Ok(())
    }

    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        self.memory.checkpoint(projection)
    }
}

impl Rows for ReplayRows {
    fn commit(&self, changes: RowChanges) -> Result<(), RowsFault> {
        let mut postings = self.postings();
        let mut kept = Vec::new();
        for (table, key, value) in changes.rows {
            match value {
                Some(value) if is_postings(table) => {
                    let account = account_of(&key);
                    let hash = row_hash(table, &key, &value);
                    postings.all.insert(hash);
                    if self.keep == Some(account) {
                        kept.push((table, key.clone(), Some(value.clone())));
                    }
                    let of_account = postings.accounts.entry(account).or_default();
                    of_account.hash.insert(hash);
                    if key > of_account.newest.0 {
                        of_account.newest = (key, value);
                    }
                }
                value => kept.push((table, key, value)),
            }
        }
        self.memory.commit(RowChanges { rows: kept, checkpoints: changes.checkpoints })
    }

    fn reset(&self, projection: &'static str, tables: &[&'static Table]) -> Result<(), RowsFault> {
        *self.postings() = Postings::default();
        self.memory.reset(projection, tables)
    }

    fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault> {
        read(self);
        Ok(())
    }
}

/// Replays the journal and compares: one check per projection, in the order given. Rows must not change meanwhile: hand in a
/// snapshot, or rows that nobody writes. A fault means that there is nothing to compare with: the journal can't be read, or it
/// ends before a checkpoint.
pub fn verify<F: EventFeed>(
    feed: &mut F,
    rows: &dyn ReadRows,
    projections: &[&dyn Projection],
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<ProjectionCheck>, RunnerFault> {
    let mut at = Vec::with_capacity(projections.len());
    for projection in projections {
        let name = projection.name();
        at.push(rows.checkpoint(name).map_err(|error| fault(name, Sequence::ZERO, error))?);
    }
    // Projections at the same checkpoint, as they nearly always are, share one replay.
    let mut replays = BTreeMap::new();
    for sequence in &at {
        if !replays.contains_key(sequence) {
            let together: Vec<_> =
                projections.iter().zip(&at).filter(|(_, at)| *at == sequence).map(|(one, _)| one.name()).collect();
            replays.insert(*sequence, replay(feed, &together, *sequence, None, on_progress)?);
        }
    }
    let mut checks = Vec::with_capacity(projections.len());
    for (projection, sequence) in projections.iter().zip(at) {
        if let Some(replayed) = replays.get(&sequence) {
            checks.push(check(feed, rows, *projection, sequence, replayed, on_progress)?);
        }
    }
    Ok(checks)
}

fn fault(projection: &'static str, sequence: Sequence, error: impl Into<RunnerError>) -> RunnerFault {
    RunnerFault { projection: Some(projection), sequence, error: error.into() }
}

fn replay<F: EventFeed>(
    feed: &mut F,
    names: &[&'static str],
    to: Sequence,
    keep: Option<AccountKey>,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<ReplayRows, RunnerFault> {
    let replayed = ReplayRows { keep, ..ReplayRows::default() };
    let projections = names.iter().filter_map(|name| crate::by_name(name)).collect();
    let reached = Runner::new(feed, &replayed, projections).run_to(to, on_progress)?;
    if reached < to {
        let projection = names.first().copied();
        return Err(RunnerFault { projection, sequence: reached.next(), error: RunnerError::Short { reached } });
    }
    Ok(replayed)
}

fn check<F: EventFeed>(
    feed: &mut F,
    rows: &dyn ReadRows,
    projection: &dyn Projection,
    sequence: Sequence,
    replayed: &ReplayRows,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<ProjectionCheck, RunnerFault> {
    let name = projection.name();
    let unreadable = |error| fault(name, sequence, error);
    let kept = crate::digest::digest(rows, projection).map_err(unreadable)?;
    let mut tables = Vec::new();
    for &table in projection.tables() {
        let mut hash = MultisetHash::default();
        if is_postings(table) {
            hash = replayed.postings().all;
        } else {
            crate::digest::add_table(&replayed.memory, table, &mut hash).map_err(unreadable)?;
        }
        tables.push(TableDigest { table, rows: hash.count(), digest: hash.digest() });
    }
    let differing = kept.tables.iter().zip(&tables).find(|(kept, replayed)| kept.digest != replayed.digest);
    let difference = match differing.map(|(kept, _)| kept.table) {
        None => None,
        Some(table) if is_postings(table) => {
            let doubtful = first_doubtful_account(rows, replayed).map_err(unreadable)?;
            match doubtful {
                None => None,
                Some(account) => {
                    let again = replay(feed, &[name], sequence, Some(account), on_progress)?;
                    let to = behind_prefix(&account);
                    first_difference(table, rows, &again.memory, &account, to.as_deref()).map_err(unreadable)?
                }
            }
        }
        Some(table) => first_difference(table, rows, &replayed.memory, &[], None).map_err(unreadable)?,
    };
    let replayed = of_tables(name, sequence, tables);
    Ok(ProjectionCheck { projection: name, sequence, kept, replayed, difference })
}

/// The lowest account whose postings are not those of the replay.
fn first_doubtful_account(rows: &dyn ReadRows, replayed: &ReplayRows) -> Result<Option<AccountKey>, RowsFault> {
    let mut kept: BTreeMap<AccountKey, MultisetHash> = BTreeMap::new();
    rows.range(&POSTINGS, &[], None, false, &mut |key, value| {
        kept.entry(account_of(key)).or_default().insert(row_hash(&POSTINGS, key, value));
        ControlFlow::Continue(())
    })?;
    let postings = replayed.postings();
    let missing = postings.accounts.keys().filter(|account| !kept.contains_key(*account)).min();
    let other = kept
        .iter()
        .find(|(account, hash)| postings.accounts.get(*account).is_none_or(|replayed| replayed.hash != **hash))
        .map(|(account, _)| account);
    Ok(missing.into_iter().chain(other).min().copied())
}

/// The lowest key whose rows differ.
fn first_difference(
    table: &'static Table,
    kept: &dyn ReadRows,
    replayed: &dyn ReadRows,
    from: &[u8],
    to: Option<&[u8]>,
) -> Result<Option<Difference>, RowsFault> {
    // Each side is looked up in the other; the second search stops where the first has found something.
    let mut found: Option<Vec<u8>> = None;
    for (one, other) in [(kept, replayed), (replayed, kept)] {
        let mut fault = None;
        let end = found.clone();
        one.range(table, from, end.as_deref().or(to), false, &mut |key, value| match other.get(table, key) {
            Err(error) => {
                fault = Some(error);
                ControlFlow::Break(())
            }
            Ok(twin) => {
                let same = twin.is_some_and(|twin| {
                    without_personal_columns(table, &twin) == without_personal_columns(table, value)
                });
                if same {
                    ControlFlow::Continue(())
                } else {
                    found = Some(key.to_vec());
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
    }
    found
        .map(|key| Ok(Difference { table, kept: kept.get(table, &key)?, replayed: replayed.get(table, &key)?, key }))
        .transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use event_schemas::command::{AccountKind, BalancePolicy, OpenAccount};
    use event_schemas::event::{EntryKind, EntryPosted};
    use event_schemas::{AccountId, BookId, CivilDate, Event, EventBody, Money, Posting, testing};

    use super::*;
    use crate::memory::MemoryFeed;

    /// A cold cache makes the projections read what the replay keeps of the postings: the newest of each account.
    #[test]
    fn a_replay_with_cold_caches_is_the_same() {
        let euro = "EUR".parse().unwrap();
        let open = |account| {
            Event::engine(EventBody::AccountOpened(OpenAccount {
                account: AccountId(account),
                code: "".into(),
                kind: AccountKind::Asset,
                currency: euro,
                owner: "".into(),
                policy: BalancePolicy::Unlimited,
            }))
        };
        let entry = |amount| {
            let money = Money::new(amount, euro);
            Event::engine(EventBody::EntryPosted(EntryPosted {
                kind: EntryKind::General,
                fee_rule: None,
                at_most_minor: None,
                effective_on: CivilDate::from_days(20_000).unwrap(),
                effective_on_named: false,
                reference: "".into(),
                postings: [Posting::debit(AccountId(1), money), Posting::credit(AccountId(2), money)]
                    .into_iter()
                    .collect(),
            }))
        };
        let events: Vec<_> = [open(1), open(2)].into_iter().chain((1..9).map(entry)).collect();
        let feed = MemoryFeed::new(testing::chain(BookId::FIRST, &[events]));
        let head = Sequence(10);
        let warm = replay(&mut feed.clone(), &crate::NAMES, head, None, &mut |_| {}).unwrap();
        let cold = ReplayRows::default();
        let direct = MemoryRows::new();
        for to in (1..=head.0).map(Sequence) {
            Runner::new(feed.clone(), &cold, crate::all()).run_to(to, &mut |_| {}).unwrap();
            Runner::new(feed.clone(), &direct, crate::all()).run_to(to, &mut |_| {}).unwrap();
        }
        assert_eq!(cold.postings().all, warm.postings().all);
        let mut hash = MultisetHash::default();
        crate::digest::add_table(&direct, &POSTINGS, &mut hash).unwrap();
        assert_eq!(hash, warm.postings().all);
        assert_eq!(hash.count(), 16);
    }
}
