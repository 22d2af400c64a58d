//! The read models, each compared with a replay up to its own checkpoint.

use event_schemas::{BlockHash, Sequence};
use ledger_core::ports::JournalReader as _;
use projections::ports::{ReadRows, Rows as _, RowsFault};
use projections::projection::Projection;
use projections::verify::ProjectionCheck;
use projections::{RunnerError, RunnerFault};
use stores::postgres::PostgresRows;
use stores::rocks::RocksStore;

use super::report::{Check, Finding};
use crate::folder::{Folder, Place};
use crate::outcome::Failure;
use crate::progress::Progress;

pub(super) fn check(
    folder: &Folder,
    rocks: Result<Option<RocksStore>, Failure>,
    progress: Progress,
) -> Result<Vec<Check>, Failure> {
    let rocks = match rocks {
        Ok(rocks) => rocks,
        Err(failure) => return Ok(vec![Check::failed("read models", Finding::of(failure.to_string()))]),
    };
    let mut checks = Vec::new();
    if let Place::Postgres(url, book) = folder.place()
        && let Some(postgres) = PostgresRows::find(url, *book)?
    {
        let mut checked = None;
        postgres.snapshot(&mut |rows| checked = Some(compare(folder, rows, postgres.origin(), progress)))?;
        for mut check in checked.transpose()?.unwrap_or_default() {
            check.check.push_str(" in PostgreSQL");
            checks.push(check);
        }
        checks.push(columns(&postgres)?);
    }
    // A server that keeps its read models in PostgreSQL has none of the book in its folder.
    let in_folder = rocks.filter(|rocks| {
        checks.is_empty() || projections::NAMES.iter().any(|name| rocks.checkpoint(name) != Ok(Sequence::ZERO))
    });
    match in_folder {
        Some(rocks) => {
            let origin = rocks.origin().map_err(RowsFault::from);
            checks.extend(compare(folder, &rocks, origin, progress)?);
        }
        None if checks.is_empty() => checks.push(Check::skipped("read models", "there are none yet")),
        None => {}
    }
    Ok(checks)
}

/// Whether the columns in PostgreSQL are those of the rows.
fn columns(postgres: &PostgresRows) -> Result<Check, Failure> {
    let (mut tables, mut differing) = (0_u64, Vec::new());
    for table in projections::all().iter().flat_map(|projection| projection.tables()) {
        tables += 1;
        differing.extend(postgres.differing_column(table)?);
    }
    let found = differing.len() as u64;
    let first = differing.into_iter().next().map(Finding::of);
    Ok(Check::done("columns in PostgreSQL", format!("{tables} tables"), found, first))
}

/// Compares rows with a replay.
fn compare(
    folder: &Folder,
    rows: &dyn ReadRows,
    origin: Result<Option<BlockHash>, RowsFault>,
    progress: Progress,
) -> Result<Vec<Check>, Failure> {
    let (mut reader, first) = match folder.reader().and_then(|mut reader| {
        let first = reader.block_at(Sequence(1))?;
        Ok((reader, first))
    }) {
        Ok(opened) => opened,
        Err(failure) => return Ok(vec![Check::skipped("read models", format!("no journal to replay: {failure}"))]),
    };
    if origin?.is_some_and(|origin| first.is_none_or(|block| block.hash() != origin)) {
        return Ok(vec![Check::failed("read models", Finding::of("they were made from another journal"))]);
    }
    let all = projections::all();
    let head = reader.durable_sequence()?;
    let mut checks: Vec<(&'static str, Check)> = Vec::new();
    let mut sound: Vec<&dyn Projection> = Vec::new();
    for projection in &all {
        let name = projection.name();
        match rows.checkpoint(name) {
            Ok(Sequence::ZERO) => checks.push((name, Check::skipped(name, "it has applied nothing yet"))),
            Ok(at) if at > head => {
                let what = format!("it claims to have applied event {at}, and the journal ends at {head}");
                checks.push((name, Check::failed(name, Finding::at(at, what))));
            }
            Ok(_) => sound.push(projection.as_ref()),
            Err(fault) => checks.push((name, Check::failed(name, Finding::of(fault.to_string())))),
        }
    }
    let bar = progress.events("replaying the read models", head.0);
    let mut on_progress = |at: &projections::Progress| bar.set_position(at.sequence.0);
    match projections::verify::verify(&mut reader, rows, &sound, &mut on_progress) {
        Ok(compared) => checks.extend(compared.iter().map(|one| (one.projection, check_of(one)))),
        Err(fault) => {
            for projection in &sound {
                checks.push((projection.name(), check_of_fault(projection.name(), &fault)));
            }
        }
    }
    // In the order in which the projections are always named.
    checks.sort_by_key(|(name, _)| projections::NAMES.iter().position(|known| known == name));
    Ok(checks.into_iter().map(|(_, check)| check).collect())
}

fn check_of(compared: &ProjectionCheck) -> Check {
    let tables = compared.kept.tables.len();
    let checked = format!("{} rows, {tables} tables, at {}", compared.kept.rows, compared.sequence);
    if compared.agrees() {
        return Check::done(compared.projection, checked, 0, None);
    }
    let pairs = compared.kept.tables.iter().zip(&compared.replayed.tables);
    let differing: Vec<_> =
        pairs.filter(|(kept, replayed)| kept.digest != replayed.digest).map(|(kept, _)| kept.table.name).collect();
    let what = match &compared.difference {
        Some(difference) => difference.to_string(),
        None => format!("{} differs from the replay", differing.join(", ")),
    };
    let table = compared.difference.as_ref().map(|difference| difference.table.name).or(differing.first().copied());
    let finding = Finding { table, ..Finding::of(what) };
    Check::done(compared.projection, checked, differing.len().max(1) as u64, Some(finding))
}

/// A comparison that was not possible: of the journal, if it can't be read there, else of the rows.
fn check_of_fault(name: &'static str, fault: &RunnerFault) -> Check {
    #[allow(clippy::wildcard_enum_match_arm, reason = "what is not the rows' fault is the journal's")]
    match &fault.error {
        RunnerError::Rows(RowsFault::Damaged { table, .. }) => {
            Check::failed(name, Finding { table: Some(*table), ..Finding::of(fault.error.to_string()) })
        }
        RunnerError::Rows(_) => Check::failed(name, Finding::of(fault.error.to_string())),
        _ => Check::skipped(name, format!("the journal can't be replayed: {fault}")),
    }
}
