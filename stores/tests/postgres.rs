//! The journal in PostgreSQL, on a real server: the contract of all journals, the fence, lost answers, crashes, bad input.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use event_schemas::{Block, BookId};
use ledger_core::ports::{AppendError, Journal as _, JournalReader};
use projections::ports::EventFeed;
use stores::conformance::{JournalMaker, check_all, recorded_blocks};
use stores::postgres::{
    Migrated, PostgresFault, PostgresJournal, PostgresOptions, PostgresReader, PostgresUrl, migrate,
};
use support::{Proxy, Server, Wire, server, url};

fn fresh_database(server: &Server) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
    server.database(&name);
    name
}

fn options(url: &str) -> PostgresOptions {
    let mut options = PostgresOptions::new(PostgresUrl::parse(url).unwrap(), BookId::FIRST);
    options.lease_ttl = Duration::from_millis(800);
    options
}

/// A database with tables and without a journal.
fn migrated(server: &Server) -> (String, String) {
    let database = fresh_database(server);
    let url = server.url(&database);
    migrate(&PostgresUrl::parse(&url).unwrap()).unwrap();
    (database, url)
}

fn read_all(url: &str) -> Vec<Block> {
    let mut reader = PostgresReader::open(PostgresUrl::parse(url).unwrap(), BookId::FIRST);
    std::iter::from_fn(|| JournalReader::next_block(&mut reader).unwrap()).collect()
}

struct Postgres {
    server: Arc<Server>,
    url: String,
    polling: bool,
}

impl JournalMaker for Postgres {
    type Journal = PostgresJournal;

    fn fresh(&mut self) -> PostgresJournal {
        self.url = migrated(&self.server).1;
        PostgresJournal::open(&options(&self.url)).unwrap()
    }

    fn reopen(&mut self, journal: PostgresJournal) -> PostgresJournal {
        drop(journal);
        PostgresJournal::open(&options(&self.url)).unwrap()
    }

    fn feed(&mut self, journal: &PostgresJournal) -> Box<dyn EventFeed> {
        if self.polling {
            Box::new(PostgresReader::open(journal.url().clone(), BookId::FIRST))
        } else {
            Box::new(journal.postgres_reader())
        }
    }
}

#[test]
fn keeps_the_contract_of_all_journals() {
    check_all(&mut Postgres { server: server(), url: String::new(), polling: false });
}

#[test]
fn keeps_it_for_readers_of_other_processes() {
    check_all(&mut Postgres { server: server(), url: String::new(), polling: true });
}

#[test]
fn events_are_rows_for_people_and_for_postgres_es() {
    let server = server();
    let (database, url) = migrated(&server);
    let blocks = recorded_blocks();
    PostgresJournal::open(&options(&url)).unwrap().append(&blocks).unwrap();
    let last = blocks.last().unwrap().header().last_sequence();
    let sql = |sql: &str| server.sql(&database, sql);
    assert_eq!(sql("SELECT count(*), min(sequence), max(sequence) FROM events"), format!("{last}|1|{last}"));
    assert_eq!(
        sql("SELECT event_type, event_version, cause FROM journal_events WHERE sequence = 1"),
        "ledger.book.opened|1|engine"
    );
    // What the recorded blocks say of event 2: an amount of 2.01 EUR, debit and credit.
    assert_eq!(
        sql("SELECT side, amount, currency FROM journal_postings WHERE sequence = 2 ORDER BY place"),
        "debit|2.01|EUR\ncredit|2.01|EUR"
    );
    assert_eq!(sql("SELECT sum(CASE side WHEN 'debit' THEN amount ELSE -amount END) FROM journal_postings"), "0.00");
    // Times keep their microseconds.
    let block = &blocks[6];
    let found = sql(&format!(
        "SELECT (EXTRACT(EPOCH FROM recorded_at) * 1000000)::bigint FROM blocks WHERE last_sequence = {}",
        block.header().last_sequence()
    ));
    assert_eq!(found, block.header().recorded_at.0.to_string());
}

#[test]
fn an_overtaken_writer_changes_nothing() {
    let server = server();
    let blocks = recorded_blocks();
    for appends_first in [false, true] {
        let (database, url) = migrated(&server);
        let mut old = PostgresJournal::open(&options(&url)).unwrap();
        old.append(&blocks[..2]).unwrap();
        // A lease that is kept is not taken.
        match PostgresJournal::open(&options(&url)) {
            Err(PostgresFault::Held { epoch: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
        // As if the writer had been asleep for longer than its lease: its keeper renews nothing under the old epoch.
        server.sql(&database, "UPDATE lease SET renewed_at = 'epoch'");
        let mut new = PostgresJournal::open(&options(&url)).unwrap();
        assert!(new.epoch() > old.epoch());
        if appends_first {
            new.append(&blocks[2..4]).unwrap();
        }
        // The head is the one it knows in the first case, and still it is fenced.
        assert_eq!(old.append(&blocks[2..3]), Err(AppendError::Fenced(new.epoch())));
        assert_eq!(old.append(&blocks[2..3]), Err(AppendError::Fenced(new.epoch())), "it stops for good");
        assert_eq!(old.secure_space(1), Err(AppendError::Fenced(new.epoch())));
        new.append(&blocks[if appends_first { 4 } else { 2 }..]).unwrap();
        assert!(read_all(&url) == blocks);
    }
}

#[test]
fn an_idle_writer_learns_that_it_was_overtaken() {
    let server = server();
    let (database, url) = migrated(&server);
    let mut old = PostgresJournal::open(&options(&url)).unwrap();
    let watch = old.watch().unwrap();
    assert_eq!(watch.lost_to(), None);
    server.sql(&database, "UPDATE lease SET epoch = epoch + 1");
    let until = Instant::now() + Duration::from_secs(10);
    while watch.lost_to().is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(watch.lost_to().map(|epoch| epoch.0), Some(2));
    assert!(matches!(old.secure_space(1), Err(AppendError::Fenced(_))));
}

#[test]
fn a_standby_takes_over_when_the_writer_is_gone() {
    let server = server();
    let (_, url) = migrated(&server);
    let blocks = recorded_blocks();
    let mut writer = PostgresJournal::open(&options(&url)).unwrap();
    writer.append(&blocks[..3]).unwrap();
    let standby = {
        let mut options = options(&url);
        options.standby = true;
        std::thread::spawn(move || PostgresJournal::open(&options).unwrap())
    };
    std::thread::sleep(Duration::from_secs(2));
    assert!(!standby.is_finished(), "a lease that is kept was taken");
    writer.append(&blocks[3..4]).unwrap();
    drop(writer);
    let given_back = Instant::now();
    let mut standby = standby.join().unwrap();
    assert!(given_back.elapsed() < Duration::from_secs(5));
    assert_eq!(standby.head().hash, blocks[3].hash());
    standby.append(&blocks[4..]).unwrap();
    assert!(read_all(&url) == blocks);
}

#[test]
fn an_append_whose_answer_is_lost_takes_place_once() {
    let server = server();
    let blocks = recorded_blocks();
    let (database, _) = migrated(&server);
    let proxy = Proxy::to(server.port);
    let mut journal = PostgresJournal::open(&options(&url(proxy.port, &database))).unwrap();
    for (at, block) in blocks.iter().enumerate() {
        // The keeper shares the wire, so either connection may be the one that breaks: both must cope.
        proxy.set([Wire::AnswersLost, Wire::Cut, Wire::Whole][at % 3]);
        journal.append(std::slice::from_ref(block)).unwrap();
    }
    proxy.set(Wire::Whole);
    assert_eq!(journal.head().hash, blocks.last().unwrap().hash());
    assert!(read_all(&server.url(&database)) == blocks);
    let rows = server.sql(&database, "SELECT count(*) FROM events");
    assert_eq!(rows, blocks.last().unwrap().header().last_sequence().to_string());
}

#[test]
fn a_head_that_somebody_moved_stops_the_writer() {
    let server = server();
    let blocks = recorded_blocks();
    let (database, url) = migrated(&server);
    let mut journal = PostgresJournal::open(&options(&url)).unwrap();
    journal.append(&blocks[..2]).unwrap();
    server.sql(&database, "UPDATE lease SET head = 77");
    assert!(matches!(journal.append(&blocks[2..3]), Err(AppendError::Unknown(_))));
    drop(journal);
    // And a start refuses what does not fit together, rather than go on from a guess.
    let refused = PostgresJournal::open(&options(&url)).unwrap_err();
    assert!(matches!(refused, PostgresFault::Damaged(_)), "{refused}");
}

#[test]
fn edited_rows_are_seen_by_readers() {
    let server = server();
    let blocks = recorded_blocks();
    let (database, url) = migrated(&server);
    PostgresJournal::open(&options(&url)).unwrap().append(&blocks).unwrap();
    let place = blocks[4].header().last_sequence();
    let reads = |sql: &str| {
        server.sql(&database, &format!("BEGIN; {sql}; COMMIT"));
        let mut reader = PostgresReader::open(PostgresUrl::parse(&url).unwrap(), BookId::FIRST);
        loop {
            match JournalReader::next_block(&mut reader) {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    };
    let keep = "CREATE TABLE kept AS SELECT * FROM blocks";
    let put_back = "TRUNCATE blocks; INSERT INTO blocks SELECT * FROM kept";
    server.sql(&database, keep);
    for edit in [
        format!(
            "UPDATE blocks SET bytes = set_byte(bytes, 300, get_byte(bytes, 300) # 1) WHERE last_sequence = {place}"
        ),
        format!("DELETE FROM blocks WHERE last_sequence = {place}"),
        format!("UPDATE blocks SET hash = decode(repeat('ab', 32), 'hex') WHERE last_sequence = {place}"),
    ] {
        assert!(reads(&edit).is_err(), "{edit}");
        server.sql(&database, put_back);
    }
    assert!(reads("SELECT 1").unwrap().is_none());
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_nothing_acknowledged() {
    let server = Server::start();
    let (_, url) = migrated(&server);
    let blocks = recorded_blocks();
    let mut journal = PostgresJournal::open(&options(&url)).unwrap();
    let killed = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(150));
                server.kill();
                server.restart();
            }
            killed.store(true, Ordering::SeqCst);
        });
        let mut at = 0;
        while !killed.load(Ordering::SeqCst) || at < blocks.len() {
            if let Some(block) = blocks.get(at) {
                journal.append(std::slice::from_ref(block)).unwrap();
                at += 1;
            }
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    assert!(read_all(&url) == blocks);
}

#[test]
fn what_does_not_fit_is_told() {
    let server = server();
    let parse = |url: &str| PostgresUrl::parse(url).unwrap();
    let open = |url: &str| PostgresJournal::open(&options(url)).unwrap_err();
    // Nobody there; a wrong password; a database that is not there; no tables.
    let nobody = open(&url(support::free_port(), "doppia"));
    assert!(matches!(nobody, PostgresFault::Unreachable { .. }), "{nobody}");
    let wrong = open(&format!("postgres://doppia:wrong@127.0.0.1:{}/doppia", server.port));
    assert!(matches!(&wrong, PostgresFault::Refused { code, .. } if code == "28P01"), "{wrong}");
    assert!(!wrong.to_string().contains("wrong@"), "{wrong}");
    let missing = open(&server.url("nowhere"));
    assert!(matches!(&missing, PostgresFault::Refused { code, .. } if code == "3D000"), "{missing}");
    let database = fresh_database(&server);
    let url = server.url(&database);
    let empty = open(&url);
    assert!(empty.to_string().contains("ledgerd migrate"), "{empty}");
    // Migrating twice is once.
    assert_eq!(migrate(&parse(&url)).unwrap(), Migrated { from: None, to: 3 });
    assert_eq!(migrate(&parse(&url)).unwrap(), Migrated { from: Some(3), to: 3 });
    // Tables of an older and of a newer program.
    server.sql(
        &database,
        "DROP VIEW api_keys; DROP TABLE control_events; DROP FUNCTION control_events_in_order; \
         DELETE FROM _sqlx_migrations WHERE version >= 2",
    );
    assert!(open(&url).to_string().contains("ledgerd migrate"));
    assert_eq!(migrate(&parse(&url)).unwrap(), Migrated { from: Some(1), to: 3 });
    server.sql(&database, "UPDATE _sqlx_migrations SET version = 999 WHERE version = 3");
    assert!(open(&url).to_string().contains("newer release"));
    assert!(migrate(&parse(&url)).unwrap_err().to_string().contains("newer release"));
    assert!(matches!(PostgresUrl::parse("nonsense").unwrap_err(), PostgresFault::Url));
}

#[test]
fn a_server_that_does_not_flush_is_refused() {
    let server = Server::start_with("-c fsync=off");
    let (_, url) = migrated(&server);
    let refused = PostgresJournal::open(&options(&url)).unwrap_err();
    assert!(matches!(&refused, PostgresFault::ServerUnsafe { setting, .. } if setting == "fsync"), "{refused}");
    let mut allowed = options(&url);
    allowed.allow_unsafe_server = true;
    PostgresJournal::open(&allowed).unwrap();
}
