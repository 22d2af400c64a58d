//! `verify`: everything that can be known of a data folder, from its bytes to its read models.
//!
//! The journal is walked once. The walk checks bytes, hashes and the chain, and hands each intact block to two threads: one
//! replays the state (and looks ids, checkpoints and the witness up on the way), the other audits naively; neither knows the
//! other. Then the read models are compared with a replay of their own. Beside a live writer each part is checked at the
//! moment it has: what was opened before the walk can't be ahead of it.
//!
//! Memory: accounts twice, 32 bytes for each command, some blocks in between, and what `projections::verify` says.

mod access;
mod audit;
mod beside;
mod control;
mod journal;
mod kafka;
mod postgres;
mod read_models;
mod replay;
pub mod report;

use std::io::Write;
use std::time::Instant;

use event_schemas::{BlockHash, Epoch, Sequence};
use ledger_core::ports::Checkpoints as _;
use ledger_core::state::State;
use stores::rocks::RocksStore;
use stores::segments::{OpenFault, read_witness};

use crate::cli::{Format, VerifyArgs};
use crate::folder::Folder;
use crate::outcome::{Failure, Outcome};
use crate::progress::Progress;
use replay::{Replay, Stored};
use report::{Check, Finding, Report};

/// About how many command ids are looked up unless all are asked for.
const SAMPLED_IDS: u64 = 1_000;

/// Checks everything and prints a report. `colour` counts for text only.
pub fn run(
    folder: &Folder,
    arguments: &VerifyArgs,
    format: Format,
    colour: bool,
    progress: Progress,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    check(folder, arguments, progress)?.write(format, colour, out)
}

/// Checks everything.
pub fn check(folder: &Folder, arguments: &VerifyArgs, progress: Progress) -> Result<Report, Failure> {
    let start = Instant::now();
    // What is read before the walk is never ahead of where the walk gets to.
    let durable = folder.reader().and_then(|mut reader| Ok(reader.durable_sequence()?)).unwrap_or_default();
    let mut replay = Replay::default();
    let witness = match &arguments.witness {
        None => Some(Check::skipped("witness", "no --witness: a folder restored from an older copy would go unseen")),
        Some(path) => match read_witness(path) {
            Ok(Some(witnessed)) => {
                replay.witness = Some(witnessed);
                None
            }
            Ok(None) => Some(Check::failed("witness", Finding::of(format!("there is no file {}", path.display())))),
            Err(fault @ OpenFault::Io(_)) => return Err(fault.into()),
            Err(fault) => Some(Check::failed("witness", Finding::of(fault.to_string()))),
        },
    };
    let rocks = folder.rocks_read_only();
    let checkpoints = read_checkpoints(rocks.as_ref(), &mut replay);
    let ids = open_ids(folder, arguments, durable, &mut replay);

    let walked = journal::walk(folder, replay, durable, progress)?;
    let (mut replay, report) = (walked.replay, walked.report);
    let (sequence, hash, epoch) =
        report.as_ref().map_or((Sequence::ZERO, BlockHash::default(), Epoch::default()), |report| {
            (report.sequence, report.hash, report.epoch)
        });
    let mut checks = walked.checks;
    checks.push(witness.unwrap_or_else(|| replay.check_witness(report.as_ref())));
    checks.push(walked.laws);
    checks.push(replay.check_digests());
    checks.push(checkpoints.unwrap_or_else(|| replay.check_checkpoints(report.as_ref())));
    checks.push(ids.unwrap_or_else(|| replay.check_ids()));
    if arguments.no_read_models {
        checks.push(Check::skipped("read models", "left out, as asked"));
    } else {
        checks.extend(read_models::check(folder, rocks, progress)?);
    }
    let book = report.as_ref().map(|report| report.book);
    checks.extend(access::check(folder, book)?);
    checks.extend(control::check(folder, book)?);

    let seconds = start.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let events_per_second = (sequence.0 as f64 / walked.seconds.max(1e-6)) as u64;
    Ok(Report {
        ok: checks.iter().all(|check| check.findings == 0),
        book: report.as_ref().map(|report| report.book),
        sequence,
        hash,
        epoch,
        checks,
        notices: report.map(|report| report.notices).unwrap_or_default(),
        seconds,
        events_per_second,
    })
}

/// Reads the checkpoints for the replay to compare; a check if that is not possible.
fn read_checkpoints(rocks: Result<&Option<RocksStore>, &Failure>, replay: &mut Replay) -> Option<Check> {
    let rocks = match rocks {
        Ok(Some(rocks)) => rocks,
        Ok(None) => return Some(Check::skipped("checkpoints", "there are none yet")),
        Err(failure) => return Some(Check::failed("checkpoints", Finding::of(failure.to_string()))),
    };
    let sequences = match rocks.sequences() {
        Ok(sequences) => sequences,
        Err(fault) => return Some(Check::failed("checkpoints", Finding::of(fault.to_string()))),
    };
    for sequence in sequences {
        let stored = match rocks.load(sequence) {
            Ok(Some(bytes)) => State::decode(&bytes).map(|mut state| state.digest()).map_err(|error| error.to_string()),
            Ok(None) => continue,
            Err(fault) => Err(fault.to_string()),
        };
        replay.checkpoints.push(Stored { sequence, digest: stored, compared: false });
    }
    None
}

/// Opens the id index for the replay to look into; a check if that is not possible.
fn open_ids(folder: &Folder, arguments: &VerifyArgs, durable: Sequence, replay: &mut Replay) -> Option<Check> {
    let book = match folder.reader() {
        Ok(reader) => reader.book(),
        Err(failure) => return Some(Check::skipped("id index", format!("no journal to compare with: {failure}"))),
    };
    match folder.ids(book) {
        Ok(Some(ids)) => {
            replay.every = if arguments.all_ids { 1 } else { (durable.0 / SAMPLED_IDS).max(1) };
            replay.ids = Some(ids);
            None
        }
        Ok(None) => Some(Check::skipped("id index", "there is none yet")),
        Err(failure) => Some(Check::failed("id index", Finding::of(failure.to_string()))),
    }
}
