//! Power cuts at every operation of recorded runs, at every operation of the start that follows, and process crashes.

use super::*;

#[derive(Debug, Default)]
struct Tally {
    moments: usize,
    exhaustive: usize,
    states: usize,
    seconds: usize,
}

/// Every state must be sound: nothing here is the disk's fault, so nothing may be refused either.
fn hold(disk: &SimDisk, note: u64, tried: &[Block], at: &str) {
    match check(disk, plain, note, tried) {
        Ok(Outcome::Sound) => {}
        other => panic!("after {at} (note {note}): {other:?}"),
    }
}

#[test]
fn every_power_cut_of_a_run_keeps_what_was_answered() {
    let (moments, tried) = record(SCRIPT, plain);
    let mut tally = Tally::default();
    let mut seen = std::collections::BTreeSet::new();
    for (number, moment) in moments.iter().enumerate() {
        tally.moments += 1;
        tally.exhaustive += usize::from(moment.unsynced() <= 11);
        for disk in moment.power_cuts(number as u64) {
            if !seen.insert((disk.fingerprint(), moment.note())) {
                continue;
            }
            tally.states += 1;
            hold(&disk.same_kernel(), moment.note(), &tried, moment.operation());
            // A second power cut, during the start after the first.
            if !tally.states.is_multiple_of(13) {
                continue;
            }
            let again = disk.same_kernel();
            again.note(moment.note());
            again.record();
            let mut process = Process::new(&again, plain, &tried);
            if !exists(&process.storage()).unwrap() {
                process.step(Step::Create).unwrap();
            }
            process.run(&[Step::Open, Step::Append(&[2_000])]).unwrap();
            let tried = process.tried.clone();
            drop(process);
            for second in again.recorded() {
                for disk in second.power_cuts(tally.states as u64) {
                    if !seen.insert((disk.fingerprint(), second.note())) {
                        continue;
                    }
                    tally.seconds += 1;
                    hold(&disk, second.note(), &tried, &format!("{}, then {}", moment.operation(), second.operation()));
                }
            }
        }
    }
    println!(
        "power cuts: {} operations, all subsets at {} of them, {} states, {} states of a second cut during the next start; \
         0 answered lost, 0 refused",
        tally.moments, tally.exhaustive, tally.states, tally.seconds
    );
}

#[test]
fn a_killed_process_then_a_power_cut_keeps_what_was_answered() {
    let (moments, tried) = record(SCRIPT, plain);
    let mut states = 0;
    for moment in &moments {
        let mut seen = std::collections::BTreeSet::new();
        let disk = moment.same_kernel();
        hold(&moment.same_kernel(), moment.note(), &tried, moment.operation());
        disk.record();
        let mut process = Process::new(&disk, plain, &tried);
        if !exists(&process.storage()).unwrap() {
            process.step(Step::Create).unwrap();
        }
        process.run(&[Step::Open, Step::Append(&[900])]).unwrap();
        let tried = process.tried.clone();
        drop(process);
        for second in disk.recorded() {
            for disk in second.power_cuts(7) {
                if !seen.insert((disk.fingerprint(), second.note())) {
                    continue;
                }
                states += 1;
                hold(
                    &disk,
                    second.note(),
                    &tried,
                    &format!("{}, killed, then {}", moment.operation(), second.operation()),
                );
            }
        }
    }
    println!("killed at {} operations, then {states} states of a power cut: 0 answered lost, 0 refused", moments.len());
}

#[test]
fn random_runs_keep_what_was_answered() {
    let (mut states, mut moments_seen) = (0, 0);
    for seed in 0..24_u64 {
        let mut number = mix(seed);
        let mut draw = |below: u64| {
            number = mix(number);
            usize::try_from(number % below).unwrap()
        };
        let mut script = vec![Step::Create, Step::Open];
        for _ in 0..10 {
            if draw(4) == 0 {
                script.push(Step::Open);
                continue;
            }
            let blocks = 1 + draw(3);
            let sizes: Vec<usize> = (0..blocks).map(|_| [150, 600, 2_000, 4_200, 11_000][draw(5)]).collect();
            script.push(Step::Append(Box::leak(sizes.into_boxed_slice())));
        }
        let (moments, tried) = record(&script, plain);
        let mut seen = std::collections::BTreeSet::new();
        for moment in &moments {
            moments_seen += 1;
            // Exhaustive subsets are the other tests' business: here a few states of many runs.
            for disk in moment.power_cuts(seed).step_by(5).take(40) {
                if seen.insert((disk.fingerprint(), moment.note())) {
                    states += 1;
                    hold(&disk, moment.note(), &tried, &format!("seed {seed}, {}", moment.operation()));
                }
            }
        }
    }
    println!("random runs: 24 of them, {moments_seen} operations, {states} states; 0 answered lost, 0 refused");
}
