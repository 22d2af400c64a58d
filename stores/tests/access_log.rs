//! The access log: what was taken is on disk within a second, in order and once; without space it takes nothing and goes on
//! later; a failed sync stops it for good.
#![cfg(all(feature = "segments", feature = "rocks"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_schemas::event::AccessLogged;
use event_schemas::{BookId, Cause, EventBody, PrincipalId, Sequence, Timestamp};
use ledger_core::ports::{Clock, JournalReader};
use projections::ports::EventFeed;
use stores::access_log::{self, AccessJournal, AccessLogFull, AccessLogOptions};
use stores::backup;
use stores::embedded::{self, EmbeddedOptions};
use stores::segments::sim::{Call, Fault, SimDisk};
use stores::segments::{SegmentReader, Storage};

fn clock() -> Clock {
    Clock { wall: Arc::new(|| Timestamp(1_790_000_000_000_000)), monotonic_us: Arc::new(|| 0) }
}

fn options() -> AccessLogOptions {
    AccessLogOptions { segment_bytes: 1 << 20, ..AccessLogOptions::new(BookId::FIRST, 42, clock()) }
}

fn access(number: u64) -> AccessLogged {
    AccessLogged {
        actor: PrincipalId(number.into()),
        operation: "get_statement".into(),
        subject: format!("account:{number}").into(),
        status: 200,
        request: format!("request-{number}").into(),
    }
}

/// The records of a log, checked to be nothing else.
fn records(reader: &mut SegmentReader) -> Vec<AccessLogged> {
    let mut records = Vec::new();
    let mut expected = Sequence(1);
    while let Some(block) = JournalReader::next_block(reader).unwrap() {
        for item in block.events() {
            let (sequence, event) = item.unwrap();
            assert_eq!((sequence, event.cause), (expected, Cause::Engine));
            if let EventBody::AccessLogged(access) = event.body {
                records.push(access);
            } else {
                let EventBody::BookOpened(opened) = event.body else { panic!("{:?}", event.body) };
                assert_eq!((sequence, opened.nonce), (Sequence(1), PrincipalId(42)));
            }
            expected = expected.next();
        }
    }
    records
}

fn until(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[test]
fn records_are_on_disk_within_a_second_in_order_and_once() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    assert!(!access_log::exists(&data).unwrap());
    let log = AccessJournal::open(&data, options()).unwrap();
    let mut feed = log.feed();
    let mut seen = 0;
    for round in 0..3 {
        for number in 0..500 {
            log.try_record(access(round * 500 + number)).unwrap();
        }
        // Another process sees them, too.
        let waited =
            until("on disk", || records(&mut access_log::reader(&data).unwrap()).len() as u64 == (round + 1) * 500);
        assert!(waited < Duration::from_secs(1), "{waited:?}");
        // And the feed has them, which waits for the log's own word.
        while seen < 1 + (round + 1) * 500 {
            let block = EventFeed::next_block(&mut feed, Sequence(seen), Duration::from_secs(1)).unwrap().unwrap();
            seen = block.header().last_sequence().0;
        }
    }
    // An end writes what was taken.
    log.try_record(access(1_500)).unwrap();
    let status = log.status();
    assert_eq!((status.refused_total, status.reason.as_str()), (0, ""));
    drop(log);
    let expected: Vec<AccessLogged> = (0..=1_500).map(access).collect();
    assert_eq!(records(&mut access_log::reader(&data).unwrap()), expected);
    // And a new start goes on behind it; texts that are too long are cut at a character.
    let log = AccessJournal::open(&data, options()).unwrap();
    assert_eq!(log.notices(), [""; 0]);
    log.try_record(AccessLogged { subject: "ä".repeat(200).into(), ..access(7) }).unwrap();
    drop(log);
    let all = records(&mut access_log::reader(&data).unwrap());
    assert_eq!((all.len(), &*all[1_501].subject), (1_502, "ä".repeat(128).as_str()));
}

#[test]
fn a_queue_that_is_full_takes_no_more() {
    let disk = SimDisk::new();
    let log = AccessJournal::open_in(&disk.folder("access"), options(), false).unwrap();
    let taken: u64 = (0..100_000).map(|number| u64::from(log.try_record(access(number)).is_ok())).sum();
    // Bounded: the queue, and what the thread has gathered meanwhile.
    assert!((16_384..100_000).contains(&taken), "{taken}");
    assert_eq!(log.status().refused_total, 100_000 - taken);
    until("written", || log.status().recorded_total == taken);
    assert_eq!(records(&mut log.feed()).len() as u64, taken);
}

#[test]
fn without_space_nothing_is_taken_and_what_was_taken_is_kept() {
    let disk = SimDisk::new();
    let storage: Arc<dyn Storage> = disk.folder("access");
    let log = AccessJournal::open_in(&storage, options(), false).unwrap();
    let mut taken = 0;
    disk.set_full(true);
    let start = Instant::now();
    while log.status().reason.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "never full");
        if log.try_record(access(taken)).is_ok() {
            taken += 1;
        }
    }
    assert_eq!(log.try_record(access(0)), Err(AccessLogFull));
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(log.try_record(access(0)), Err(AccessLogFull), "it does not forget that it is full");
    disk.set_full(false);
    until("room again", || log.status().reason.is_empty());
    log.try_record(access(taken)).unwrap();
    drop(log);
    let expected: Vec<AccessLogged> = (0..=taken).map(access).collect();
    let found = records(&mut SegmentReader::open(&storage).unwrap());
    assert!(found == expected, "{} records, {} expected", found.len(), expected.len());
}

#[test]
fn a_failed_write_or_sync_stops_the_log_for_good() {
    for (call, fault) in [(Call::Write, Fault::Error), (Call::Sync, Fault::Error), (Call::Sync, Fault::HalfSync)] {
        let disk = SimDisk::new();
        let storage: Arc<dyn Storage> = disk.folder("access");
        let log = AccessJournal::open_in(&storage, options(), false).unwrap();
        log.try_record(access(0)).unwrap();
        until("the first", || log.status().recorded_total == 1);
        disk.fault_at_call(call, 1, fault);
        log.try_record(access(1)).unwrap();
        until("stopped", || !log.status().reason.is_empty());
        let operations = disk.operations();
        assert_eq!(log.try_record(access(2)), Err(AccessLogFull));
        drop(log);
        assert_eq!(disk.operations(), operations, "nothing is tried again");
        // The next start finds what is durable, and goes on.
        let log = AccessJournal::open_in(&disk.same_kernel().folder("access"), options(), false).unwrap();
        log.try_record(access(3)).unwrap();
        until("goes on", || log.status().recorded_total == 1);
        let found = records(&mut log.feed());
        assert_eq!((found.first(), found.last()), (Some(&access(0)), Some(&access(3))));
    }
}

#[test]
fn a_backup_has_the_access_log_and_a_restore_brings_it_back() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    let embedded_options = EmbeddedOptions { segment_bytes: 1 << 20, ..EmbeddedOptions::default() };
    embedded::create(&at("data"), &embedded_options).unwrap();
    let mut opened = embedded::open(&at("data"), &embedded_options).unwrap();
    for block in stores::conformance::recorded_blocks() {
        use ledger_core::ports::Journal as _;
        opened.journal.secure_space(block.bytes().len()).unwrap();
        opened.journal.append(&[block]).unwrap();
    }
    let log = AccessJournal::open(&at("data"), options()).unwrap();
    let now = Timestamp(2_000_000_000_000_000);
    for number in 0..2_000 {
        log.try_record(access(number)).unwrap();
    }
    until("on disk", || log.status().recorded_total == 2_000);
    let made = backup::back_up(&at("data"), &at("backup"), now, &mut |_| ()).unwrap();
    let journal = made.manifest.journal("access").unwrap();
    assert_eq!((journal.sequence, made.manifest.journals.len()), (Sequence(2_001), 2));
    for number in 2_000..9_000 {
        log.try_record(access(number)).unwrap();
    }
    until("on disk", || log.status().recorded_total == 9_000);
    let made = backup::back_up(&at("data"), &at("backup"), now, &mut |_| ()).unwrap();
    assert_eq!(made.manifest.journal("access").unwrap().sequence, Sequence(9_001));
    assert_eq!(backup::verify(&at("backup"), &mut |_| ()).unwrap().notices, [""; 0]);
    let options_of = backup::RestoreOptions { now, ..backup::RestoreOptions::default() };
    backup::restore(&at("backup"), &at("restored"), &options_of, &mut |_| ()).unwrap();
    let log = AccessJournal::open(&at("restored"), options()).unwrap();
    log.try_record(access(9_000)).unwrap();
    drop(log);
    let expected: Vec<AccessLogged> = (0..=9_000).map(access).collect();
    assert!(records(&mut access_log::reader(&at("restored")).unwrap()) == expected);
    // A backup does not forget a log that it has had.
    std::fs::remove_dir_all(at("data/access")).unwrap();
    let fault = backup::back_up(&at("data"), &at("backup"), now, &mut |_| ()).unwrap_err();
    assert!(matches!(fault, backup::BackupFault::OtherHistory { .. }), "{fault}");
}
