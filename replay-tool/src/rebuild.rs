//! `rebuild`: a read model made again from nothing, in place, and whether it is what it was.
//!
//! It is rebuilt to the sequence that it had applied before, so that both digests are of the same moment; ledgerd brings it
//! level with the journal when it starts. One that had applied nothing is rebuilt to the journal's head.

use std::io::Write;

use event_schemas::{Digest, Sequence};
use ledger_core::ports::JournalReader as _;
use projections::ports::Rows;
use serde::Serialize;
use stores::postgres::PostgresRows;

use crate::cli::{Format, RebuildArgs};
use crate::folder::{Folder, Place};
use crate::outcome::{Failure, Outcome};
use crate::progress::Progress;

/// The answer for one projection.
#[derive(Debug, Serialize)]
struct Rebuilt {
    projection: &'static str,
    /// The sequence of both digests.
    sequence: Sequence,
    /// `None` if there was nothing before, or it could not be read.
    before: Option<Digest>,
    after: Digest,
    rows: u64,
    /// `None` if there is nothing to compare with.
    agrees: Option<bool>,
    /// What stood in the way of comparing.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Rebuilds read models and prints whether they agree with what they were.
pub fn run(
    folder: &Folder,
    arguments: &RebuildArgs,
    format: Format,
    progress: Progress,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let names = names(arguments)?;
    if arguments.in_postgres {
        return in_postgres(folder, &names, format, progress, out);
    }
    let lock = folder.lock()?;
    let mut reader = folder.reader()?;
    let head = reader.durable_sequence()?;
    let rocks = folder.rocks(&lock)?;
    let first = reader.block_at(Sequence(1))?.map(|block| block.hash());
    match (rocks.origin()?, first) {
        (None, Some(first)) => rocks.set_origin(first)?,
        (Some(origin), first) if first != Some(origin) => {
            return Err(Failure::Damaged(
                "the read models were made from another journal; ledgerd makes new ones".into(),
            ));
        }
        _ => {}
    }
    let outcome = each(folder, &rocks, &names, head, (format, progress), out)?;
    rocks.sync()?;
    Ok(outcome)
}

/// Rebuilds those in the database of the journal.
fn in_postgres(
    folder: &Folder,
    names: &[&'static str],
    format: Format,
    progress: Progress,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let Place::Postgres(url, book) = folder.place() else {
        return Err(Failure::usage("--in-postgres needs a journal in PostgreSQL: name it with --journal"));
    };
    let mut reader = folder.reader()?;
    let head = reader.durable_sequence()?;
    let (rows, _) = PostgresRows::open(url, *book)?;
    rows.fit(reader.block_at(Sequence(1))?.map(|block| block.hash()), head)?;
    each(folder, &rows, names, head, (format, progress), out)
}

fn each<R: Rows + Clone>(
    folder: &Folder,
    rows: &R,
    names: &[&'static str],
    head: Sequence,
    (format, progress): (Format, Progress),
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let mut all = Vec::new();
    for name in names {
        let rebuilt = rebuild(folder, rows, name, head, progress)?;
        if format == Format::Text {
            write_text(&rebuilt, out)?;
        }
        all.push(rebuilt);
    }
    if format == Format::Json {
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
    }
    let differs = all.iter().any(|rebuilt| rebuilt.agrees == Some(false));
    Ok(if differs { Outcome::Found } else { Outcome::Fine })
}

fn names(arguments: &RebuildArgs) -> Result<Vec<&'static str>, Failure> {
    if arguments.all {
        return Ok(projections::NAMES.to_vec());
    }
    let find = |name: &String| {
        let known = projections::NAMES.into_iter().find(|known| known == name);
        let unknown = || format!("there is no projection {name:?}; there are: {}", projections::NAMES.join(", "));
        known.ok_or_else(|| Failure::usage(unknown()))
    };
    arguments.projections.iter().map(find).collect()
}

fn rebuild<R: Rows + Clone>(
    folder: &Folder,
    rows: &R,
    name: &'static str,
    head: Sequence,
    progress: Progress,
) -> Result<Rebuilt, Failure> {
    let unknown = || Failure::usage(format!("there is no projection {name}"));
    let projection = projections::by_name(name).ok_or_else(unknown)?;
    let checkpoint = rows.checkpoint(name);
    let before = checkpoint.clone().and_then(|_| projections::digest::digest(rows, projection.as_ref()));
    let to = checkpoint.ok().filter(|sequence| (Sequence(1)..=head).contains(sequence)).unwrap_or(head);
    let bar = progress.events(&format!("rebuilding {name}"), to.0);
    let mut on_progress = |at: &projections::Progress| bar.set_position(at.events);
    let after = projections::rebuild::rebuild(folder.reader()?, rows.clone(), projection, to, &mut on_progress)?;
    let (agrees, note, before) = match before {
        Ok(before) if before.sequence == after.sequence => {
            (Some(before.digest == after.digest), None, Some(before.digest))
        }
        Ok(before) if before.sequence == Sequence::ZERO => (None, Some("there was nothing before".into()), None),
        Ok(before) => {
            let note = format!("it claimed to be at {}, beyond the journal, which ends at {head}", before.sequence);
            (Some(false), Some(note), Some(before.digest))
        }
        Err(fault) => (Some(false), Some(format!("it could not be read before: {fault}")), None),
    };
    Ok(Rebuilt {
        projection: name,
        sequence: after.sequence,
        before,
        after: after.digest,
        rows: after.rows,
        agrees,
        note,
    })
}

fn write_text(rebuilt: &Rebuilt, out: &mut dyn Write) -> Result<(), Failure> {
    let Rebuilt { projection, sequence, rows, .. } = rebuilt;
    writeln!(out, "{projection}: rebuilt from nothing to event {sequence}, {rows} rows")?;
    if let Some(before) = rebuilt.before {
        writeln!(out, "  before  {before}")?;
    }
    writeln!(out, "  after   {}", rebuilt.after)?;
    match (rebuilt.agrees, &rebuilt.note) {
        (Some(true), _) => writeln!(out, "  The digests agree.")?,
        (Some(false), None) => writeln!(out, "  The digests differ: it was wrong before, and is right now.")?,
        (Some(false), Some(note)) => writeln!(out, "  It was wrong before, and is right now: {note}.")?,
        (None, note) => writeln!(out, "  Nothing to compare with: {}.", note.as_deref().unwrap_or("nothing before"))?,
    }
    Ok(())
}
