//! Proof that read models equal a replay: the journal is applied from nothing up to the stored checkpoint, and the digests of
//! each table are compared. Where they differ, the first row that does is named.
//!
//! The replay is kept in memory, all but the rows of tables that are written once ([`replay_rows`]), which are most of the rows by far: of what
//! projecting reads again of them (the newest posting of an account) the newest is kept, and a hash for each group stands for
//! the rest. Only if that differs, a second replay keeps the rows of the first group in doubt. So memory grows with accounts,
//! customers, days and holds, not with events.

mod replay_rows;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use event_schemas::{MultisetHash, Sequence};

use crate::digest::{ProjectionDigest, TableDigest, of_tables, row_hash, without_personal_columns};
use crate::ports::{EventFeed, ReadRows, RowsFault, Table};
use crate::projection::Projection;
use crate::runner::{Progress, Runner, RunnerError, RunnerFault};
use crate::table::{behind_prefix, columns};

use replay_rows::{Doubtful, ReplayRows, group_of};

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
    keep: Option<Doubtful>,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<ReplayRows, RunnerFault> {
    let replayed = ReplayRows::new(keep);
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
        let hash = replayed.hash(table).map_err(unreadable)?;
        tables.push(TableDigest { table, rows: hash.count(), digest: hash.digest() });
    }
    let differing = kept.tables.iter().zip(&tables).find(|(kept, replayed)| kept.digest != replayed.digest);
    let difference = match differing.map(|(kept, _)| kept.table) {
        None => None,
        Some(table) if group_of(table, &[]).is_some() => {
            match first_doubtful_group(rows, replayed, table).map_err(unreadable)? {
                None => None,
                Some(group) => {
                    let again = replay(feed, &[name], sequence, Some((table, group.clone())), on_progress)?;
                    let to = behind_prefix(&group);
                    first_difference(table, rows, again.kept(), &group, to.as_deref()).map_err(unreadable)?
                }
            }
        }
        Some(table) => first_difference(table, rows, replayed.kept(), &[], None).map_err(unreadable)?,
    };
    let replayed = of_tables(name, sequence, tables);
    Ok(ProjectionCheck { projection: name, sequence, kept, replayed, difference })
}

/// The lowest group of a table whose rows are not those of the replay.
fn first_doubtful_group(
    rows: &dyn ReadRows,
    replayed: &ReplayRows,
    table: &'static Table,
) -> Result<Option<Box<[u8]>>, RowsFault> {
    let mut kept: BTreeMap<Box<[u8]>, MultisetHash> = BTreeMap::new();
    rows.range(table, &[], None, false, &mut |key, value| {
        let group = group_of(table, key).unwrap_or_default();
        let hash = row_hash(table, key, value);
        match kept.get_mut(group) {
            Some(of_group) => of_group.insert(hash),
            None => kept.entry(group.into()).or_default().insert(hash),
        }
        ControlFlow::Continue(())
    })?;
    let groups = replayed.groups(table);
    let missing = groups.keys().filter(|group| !kept.contains_key(*group)).min();
    let other = kept.iter().find(|(group, hash)| groups.get(*group) != Some(*hash)).map(|(group, _)| group);
    Ok(missing.into_iter().chain(other).min().cloned())
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
    use crate::audit;
    use crate::memory::{MemoryFeed, MemoryRows};
    use crate::statements::rows::POSTINGS;

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
        for (table, rows) in [(&POSTINGS, 16), (&audit::rows::ACTS, 10), (&audit::rows::BY_ACCOUNT, 2)] {
            assert_eq!(cold.hash(table).unwrap(), warm.hash(table).unwrap());
            let mut hash = MultisetHash::default();
            crate::digest::add_table(&direct, table, &mut hash).unwrap();
            assert_eq!(hash, warm.hash(table).unwrap());
            assert_eq!(hash.count(), rows, "{}", table.name);
        }
    }
}
