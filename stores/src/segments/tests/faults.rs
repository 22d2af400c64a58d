//! One fault of the disk at every operation of a run, then a start on the same kernel, a power cut, or both.
//!
//! A disk that says what it does (an error, no space) may cost nothing that was answered and may not make the journal refuse.
//! A disk that lies (a sync dropped) may cost something; then the journal has to refuse. It must not go on as if nothing were
//! missing.

use super::*;
use crate::segments::sim::Fault;

#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    states: usize,
    sound: usize,
    refused: usize,
}

type Seen = std::collections::BTreeSet<([u8; 32], u64)>;

fn with_fault(operation: u64, fault: Fault, script: &[Step]) -> Option<(Process, SimDisk)> {
    let disk = SimDisk::new();
    disk.fault_at(operation, fault);
    disk.record();
    let mut process = Process::new(&disk, plain, &[]);
    let _ = process.run(script);
    process.journal = None;
    disk.fault_happened().then_some((process, disk))
}

fn operations(script: &[Step]) -> u64 {
    let disk = SimDisk::new();
    let mut process = Process::new(&disk, plain, &[]);
    process.run(script).unwrap();
    process.journal = None;
    disk.operations()
}

fn judge(outcome: Result<Outcome, String>, lies: bool, tally: &mut Tally, at: &str) {
    tally.states += 1;
    match outcome {
        Ok(Outcome::Sound) => tally.sound += 1,
        Ok(Outcome::Refused(_)) if lies => tally.refused += 1,
        other => panic!("{at}: {other:?}"),
    }
}

/// A process starts again on the kernel that has met the fault, appends, and loses power at each of its operations.
fn same_kernel_then_cut(disk: &SimDisk, process: &Process, note: u64, lies: bool, tally: &mut Tally, at: &str) {
    let mut seen = Seen::new();
    judge(check(&disk.same_kernel(), plain, note, &process.tried), lies, tally, at);
    let again = disk.same_kernel();
    again.note(note);
    again.record();
    let mut next = Process::new(&again, plain, &process.tried);
    if !exists(&next.storage()).unwrap() && next.step(Step::Create).is_err() {
        return;
    }
    if let Err(reason) = next.run(&[Step::Open, Step::Append(&[900])]) {
        assert!(lies, "{at}, on the same kernel: {reason}");
        tally.refused += 1;
        return;
    }
    next.journal = None;
    for moment in again.recorded() {
        for cut in moment.power_cuts(3) {
            if !seen.insert((cut.fingerprint(), moment.note())) {
                continue;
            }
            let at = format!("{at}, same kernel, then a cut after {}", moment.operation());
            judge(check(&cut, plain, moment.note(), &next.tried), lies, tally, &at);
        }
    }
}

fn every_operation(fault: Fault, script: &[Step]) -> Tally {
    let lies = fault == Fault::DropSync;
    let mut tally = Tally::default();
    for operation in 0..operations(script) {
        let Some((process, disk)) = with_fault(operation, fault, script) else { continue };
        tally.runs += 1;
        let moments = disk.recorded();
        let met = moments
            .iter()
            .position(|moment| moment.operation().contains("Error") || moment.operation().contains("HalfSync"));
        let last = moments.last().unwrap();
        let at = format!("{fault:?} at operation {operation}, last {}", last.operation());
        same_kernel_then_cut(&last.same_kernel(), &process, last.note(), lies, &mut tally, &at);
        let mut seen = Seen::new();
        // A power cut at once and at every operation after the fault.
        let from = if lies { usize::try_from(operation).unwrap() } else { met.unwrap_or(0) };
        for moment in &moments[from.min(moments.len() - 1)..] {
            for cut in moment.power_cuts(operation) {
                // A dropped sync leaves a trail of states behind it; every third is enough of them.
                let fresh = seen.insert((cut.fingerprint(), moment.note()));
                if !fresh || lies && !seen.len().is_multiple_of(3) {
                    continue;
                }
                let at = format!("{at}, then a cut after {}", moment.operation());
                judge(check(&cut, plain, moment.note(), &process.tried), lies, &mut tally, &at);
            }
        }
    }
    println!("{fault:?} at each of {} operations: {tally:?}; 0 answered lost, 0 silent", tally.runs);
    tally
}

/// Shorter than the crash suite's, with the same turns.
const FAULT_SCRIPT: &[Step] = &[
    Step::Create,
    Step::Open,
    Step::Append(&[200]),
    Step::Append(&[300, 1_500]),
    Step::Open,
    Step::Append(&[5_000]),
    Step::Append(&[200, 4_000]),
    Step::Append(&[200]),
];

#[test]
fn an_error_anywhere_loses_nothing() {
    let tally = every_operation(Fault::Error, FAULT_SCRIPT);
    assert!(tally.runs > 50 && tally.refused == 0);
}

#[test]
fn a_half_done_sync_anywhere_loses_nothing() {
    let tally = every_operation(Fault::HalfSync, FAULT_SCRIPT);
    assert!(tally.runs > 50 && tally.refused == 0);
}

#[test]
fn a_dropped_sync_anywhere_is_made_up_for_or_refused() {
    let tally = every_operation(Fault::DropSync, FAULT_SCRIPT);
    assert!(tally.runs > 20 && tally.refused > 0 && tally.sound > 0);
}

/// Files in which something is not as it was written, after a crash: a bit of a sector, or all of it.
fn with_file_fault(disk: &SimDisk, visit: &mut dyn FnMut(&SimDisk, String)) {
    for (name, content) in disk.files() {
        for (sector, bytes) in content.chunks(512).enumerate() {
            if bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            let bit = usize::try_from(crate::segments::sim::mix(sector as u64) % 4096).unwrap() % (bytes.len() * 8);
            let flipped = disk.same_kernel();
            flipped.tamper(&name, |content| content[sector * 512 + bit / 8] ^= 1 << (bit % 8)).unwrap();
            visit(&flipped, format!("bit {bit} of sector {sector} of {name} flipped"));
            let lost = disk.same_kernel();
            let end = sector * 512 + bytes.len();
            lost.tamper(&name, |content| content[sector * 512..end].fill(0)).unwrap();
            visit(&lost, format!("sector {sector} of {name} lost"));
        }
    }
}

#[test]
fn a_crash_and_one_file_fault_lose_nothing_in_silence() {
    let (moments, tried) = record(FAULT_SCRIPT, plain);
    let (mut tally, mut seen) = (Tally::default(), Seen::new());
    for moment in &moments {
        let cuts: Vec<SimDisk> = moment.power_cuts(1).collect();
        for cut in cuts.first().into_iter().chain(cuts.last()) {
            if !seen.insert((cut.fingerprint(), moment.note())) {
                continue;
            }
            tally.runs += 1;
            with_file_fault(cut, &mut |disk, fault| {
                let at = format!("a cut after {}, {fault}", moment.operation());
                judge(check(disk, plain, moment.note(), &tried), true, &mut tally, &at);
            });
        }
    }
    println!("crash and one file fault: {tally:?}; 0 answered lost in silence");
    assert!(tally.refused > tally.sound && tally.sound > 0);
}

#[test]
fn no_space_anywhere_leaves_a_journal_that_goes_on_when_there_is() {
    let total = operations(SCRIPT);
    let (mut met, mut retried) = (0, 0);
    for operation in 0..total {
        let disk = SimDisk::new();
        disk.fault_at(operation, Fault::NoSpace);
        let mut process = Process::new(&disk, plain, &[]);
        let mut result = process.run(SCRIPT);
        if !disk.fault_happened() {
            continue;
        }
        met += 1;
        if result.is_err() {
            // Creating and opening say so and can be done again; a frame or a slot that finds no room in its segment stops
            // the writer. In either case a new start goes on.
            retried += 1;
            if !exists(&process.storage()).unwrap() {
                process.step(Step::Create).unwrap();
            }
            result = process.run(&[Step::Open, Step::Append(&[5_000])]);
        }
        assert_eq!(result, Ok(()), "no space at operation {operation}");
        let journal = process.journal.take().unwrap();
        assert_eq!(journal.head(), head_of(process.tried.last().unwrap()));
        drop(journal);
        assert!(!disk.files().contains_key("journal/spare.new"), "a partial segment is left at operation {operation}");
        assert_eq!(check(&disk.same_kernel(), plain, disk.moment().note(), &process.tried), Ok(Outcome::Sound));
    }
    println!("no space at {met} operations: {retried} needed a new start, 0 answered lost");
    assert!(met > 30);
}

#[test]
fn no_space_for_a_segment_is_told_before_anything_is_written_and_can_be_tried_again() {
    let disk = SimDisk::new();
    let mut process = Process::new(&disk, plain, &[]);
    process.run(&[Step::Create, Step::Open, Step::Append(&[9_000])]).unwrap();
    // The spare that is there is used up; the next cannot be made.
    disk.fault_at(disk.operations() + 9, Fault::NoSpace);
    process.run(&[Step::Append(&[9_000])]).unwrap();
    let journal = process.journal.as_mut().unwrap();
    let head = journal.head();
    for attempt in 0..3 {
        disk.fault_at(disk.operations(), Fault::NoSpace);
        let full = journal.secure_space(9_000);
        assert!(matches!(full, Err(AppendError::NoSpace(_))), "attempt {attempt}: {full:?}");
        disk.fault_at(disk.operations(), Fault::NoSpace);
        let full = journal.append(&[block(head, journal.epoch(), 9_000)]);
        assert!(matches!(full, Err(AppendError::NoSpace(_))), "attempt {attempt}: {full:?}");
        assert_eq!(journal.head(), head);
        assert!(!disk.files().contains_key("journal/spare.new"));
    }
    assert_eq!(journal.secure_space(9_000), Ok(()));
    assert_eq!(journal.append(&[block(head, journal.epoch(), 9_000)]), Ok(()));
}

#[test]
fn a_failed_write_or_sync_stops_the_writer_for_good() {
    for offset in 0..4 {
        let disk = SimDisk::new();
        let mut process = Process::new(&disk, plain, &[]);
        process.run(&[Step::Create, Step::Open, Step::Append(&[200])]).unwrap();
        let journal = process.journal.as_mut().unwrap();
        disk.fault_at(disk.operations() + offset, Fault::Error);
        let next = block(journal.head(), journal.epoch(), 300);
        let before = (journal.head(), disk.operations());
        assert!(matches!(journal.append(std::slice::from_ref(&next)), Err(AppendError::Unknown(_))));
        for _ in 0..3 {
            assert!(matches!(journal.append(std::slice::from_ref(&next)), Err(AppendError::Unknown(_))));
            assert!(matches!(journal.secure_space(1), Err(AppendError::Unknown(_))));
        }
        assert_eq!((journal.head(), disk.operations()), (before.0, before.1 + offset + 1));
        let mut reader = journal.segment_reader();
        assert_eq!(reader.block_at(next.header().first_sequence), Ok(None), "shown although not answered");
    }
}
