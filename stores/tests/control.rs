//! The control plane's facts: one suite for the journal in a data folder and the table in PostgreSQL, and what each of them
//! must stand beside it: power cuts, failed syncs and damage there, late commits here.
#![cfg(all(feature = "control", feature = "rocks"))]
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::case_sensitive_file_extension_comparisons
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use cqrs_es::EventStore as _;
use cqrs_es::persist::PersistedEventStore;
use event_schemas::control::{Holder, Scope};
use event_schemas::{BookId, ControlFact, Digest, Timestamp};
use ledger_core::control::api_keys::{Act, KeyCommand, KeyHolder, KeyRejection, MadeKey};
use ledger_core::ports::Clock;
use postgres_es::PostgresEventRepository;
use stores::control::{ControlFault, ControlOptions, ControlPosition, ControlRow, ControlStore, Es, ExecuteFault};
use stores::postgres::{PostgresUrl, migrate};
use stores::segments::sim::{Call, Fault, SimDisk};
use stores::{backup, control, embedded};
use support::Server;

fn clock() -> Clock {
    Clock { wall: Arc::new(|| Timestamp(1_790_000_000_000_000)), monotonic_us: Arc::new(|| 0) }
}

fn options() -> ControlOptions {
    ControlOptions::new(BookId::FIRST, 42, clock())
}

fn holder(name: &str) -> Holder {
    Holder { tenant: "main".into(), name: name.into(), customer: None }
}

fn act() -> Act {
    Act { actor: "test".into(), at: Timestamp(7), reason: "".into() }
}

fn made(id: &str) -> MadeKey {
    MadeKey { id: id.into(), hash: Digest(*blake3::hash(id.as_bytes()).as_bytes()) }
}

type Executed = Result<(), ExecuteFault<KeyRejection>>;

fn issue_command(name: &str, id: &str) -> KeyCommand {
    let scopes = [Scope::Read].into_iter().collect();
    KeyCommand::Issue { holder: holder(name), key: made(id), scopes, act: act() }
}

fn rotate_command(id: &str, successor: &str) -> KeyCommand {
    KeyCommand::Rotate { key: id.into(), successor: made(successor), keep: false, act: act() }
}

fn does(store: &ControlStore, name: &str, command: KeyCommand) -> Executed {
    store.execute_blocking::<KeyHolder>(&holder(name).principal().to_string(), command)
}

fn issue(store: &ControlStore, name: &str, id: &str) -> Executed {
    does(store, name, issue_command(name, id))
}

fn rotate(store: &ControlStore, name: &str, id: &str, successor: &str) -> Executed {
    does(store, name, rotate_command(id, successor))
}

fn all(store: &ControlStore) -> Vec<ControlRow> {
    let mut rows: Vec<ControlRow> = Vec::new();
    loop {
        let more = store.tail(rows.last().map_or_else(ControlPosition::default, |row| row.position)).unwrap();
        if more.is_empty() {
            return rows;
        }
        rows.extend(more);
    }
}

/// Facts in short, and a check that positions rise and versions have no gap.
fn told(rows: &[ControlRow]) -> Vec<String> {
    let mut versions = BTreeMap::new();
    assert!(rows.windows(2).all(|pair| pair[0].position < pair[1].position), "positions rise");
    let word = |row: &ControlRow| match &row.fact {
        ControlFact::ApiKeyIssued(issued) => format!("+{}", issued.key),
        ControlFact::ApiKeyRevoked(revoked) => format!("-{}", revoked.key),
        ControlFact::ApiKeyScopesSet(set) => format!("={}", set.key),
        other => panic!("{} is not about keys", other.type_name()),
    };
    rows.iter()
        .map(|row| {
            let version = versions.entry(&row.aggregate).or_insert(0);
            *version += 1;
            assert_eq!(row.version, *version, "{row:?}");
            word(row)
        })
        .collect()
}

/// Opens the same facts again and again.
type Open<'a> = &'a (dyn Fn() -> ControlStore + Sync);

/// What every place must do. Each test takes holders of its own.
fn suite(open: Open<'_>) {
    facts_are_kept_in_order(open);
    many_at_once_lose_nothing(open);
    one_of_many_rotations_wins(open);
    what_is_begun_is_carried_out_whole(open);
}

fn facts_are_kept_in_order(open: Open<'_>) {
    let store = open();
    assert_eq!(all(&store), []);
    issue(&store, "ada", "a").unwrap();
    issue(&store, "bob", "b").unwrap();
    rotate(&store, "ada", "a", "c").unwrap();
    let revoke = KeyCommand::Revoke { key: "b".into(), act: act() };
    does(&store, "bob", revoke.clone()).unwrap();
    let expected = ["+a", "+b", "+c", "-a", "-b"];
    assert_eq!(told(&all(&store)), expected);
    // What is so already is no fact, and what is refused is none.
    issue(&store, "ada", "a").unwrap();
    does(&store, "bob", revoke).unwrap();
    let refused = rotate(&store, "ada", "a", "d").unwrap_err();
    assert!(matches!(refused, ExecuteFault::Rejected(KeyRejection::Void(_))), "{refused}");
    let rows = all(&store);
    assert_eq!(told(&rows), expected);
    // Another store of the same place, and one that is opened later, have the same.
    assert_eq!(all(&open()), rows);
    drop(store);
    assert_eq!(all(&open()), rows);
    assert_eq!(open().tail(rows[2].position).unwrap(), rows[3..]);
}

/// Several stores of one place stand for several processes.
fn many_at_once_lose_nothing(open: Open<'_>) {
    const TASKS: usize = 6;
    const KEYS: usize = 12;
    let before = all(&open()).len();
    let done = AtomicBool::new(false);
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            // What a tail has gone past never changes: rows come behind it only.
            let (store, mut rows) = (open(), Vec::<ControlRow>::new());
            loop {
                let last = done.load(Ordering::Acquire);
                let after = rows.last().map_or_else(ControlPosition::default, |row| row.position);
                rows.extend(store.tail(after).unwrap());
                if last && store.tail(rows.last().unwrap().position).unwrap().is_empty() {
                    return rows;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let workers: Vec<_> = (0..TASKS)
            .map(|task| {
                scope.spawn(move || {
                    let store = open();
                    for number in 0..KEYS {
                        let id = format!("m{task}-{number}");
                        issue(&store, "many", &id).unwrap();
                        if number % 3 == 0 {
                            rotate(&store, "many", &id, &format!("{id}r")).unwrap();
                        }
                    }
                })
            })
            .collect();
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        // Readers of other processes look at most every 50 ms.
        std::thread::sleep(Duration::from_millis(100));
        done.store(true, Ordering::Release);
        let followed = follower.join().unwrap();
        ended.into_iter().for_each(Result::unwrap);
        followed
    });
    let rows = all(&open());
    assert_eq!(followed, rows, "a follower has seen everything, in the same order");
    let facts = told(&rows);
    assert_eq!(facts.len(), before + TASKS * (KEYS + 2 * KEYS.div_ceil(3)));
    assert_eq!(facts.iter().collect::<BTreeSet<_>>().len(), facts.len(), "nothing is there twice");
    // A rotation is one step: what it voids stands right behind what it issues.
    for (place, fact) in facts.iter().enumerate().filter(|(_, fact)| fact.starts_with('-') && fact.contains('m')) {
        assert_eq!(facts[place - 1], format!("+{}r", &fact[1..]));
    }
}

fn one_of_many_rotations_wins(open: Open<'_>) {
    issue(&open(), "eve", "e").unwrap();
    let before = told(&all(&open())).len();
    let outcomes: Vec<Executed> = std::thread::scope(|scope| {
        let racers: Vec<_> =
            (0..6).map(|racer| scope.spawn(move || rotate(&open(), "eve", "e", &format!("e{racer}")))).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let void =
        outcomes.iter().filter(|outcome| matches!(outcome, Err(ExecuteFault::Rejected(KeyRejection::Void(_))))).count();
    assert_eq!((won, void), (1, 5), "{outcomes:?}");
    assert_eq!(told(&all(&open())).len(), before + 2);
}

/// A client that hangs up drops the future of its command, wherever that waits.
fn what_is_begun_is_carried_out_whole(open: Open<'_>) {
    let store = open();
    issue(&store, "fay", "f0").unwrap();
    let aggregate = holder("fay").principal().to_string();
    for polls in 1..=8 {
        let (old, new) = (format!("f{}", polls - 1), format!("f{polls}"));
        let mut future = Box::pin(store.execute::<KeyHolder>(&aggregate, rotate_command(&old, &new)));
        for _ in 0..polls {
            if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            std::thread::yield_now();
        }
        drop(future);
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let facts = told(&all(&store));
            let (issued, voided) = (facts.contains(&format!("+{new}")), facts.contains(&format!("-{old}")));
            assert_eq!(issued, voided, "half a command");
            if issued {
                break;
            }
            assert!(Instant::now() < until, "a command whose future was dropped was never carried out");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn the_journal_keeps_what_it_must() {
    let folder = tempfile::tempdir().unwrap();
    suite(&|| ControlStore::embedded(folder.path(), &options()).unwrap());
    // A reader sees the same and changes nothing.
    let reader = ControlStore::read_only(folder.path()).unwrap();
    assert_eq!(all(&reader), all(&ControlStore::embedded(folder.path(), &options()).unwrap()));
    let fault = issue(&reader, "ada", "z").unwrap_err();
    assert!(matches!(fault, ExecuteFault::Store(ControlFault::ReadOnly)), "{fault}");
    // A folder without facts stays without a journal until there is one.
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(all(&ControlStore::embedded(empty.path(), &options()).unwrap()), []);
    assert!(!control::exists(empty.path()).unwrap());
}

fn small() -> ControlOptions {
    ControlOptions { segment_bytes: 32 * 1024, ..options() }
}

fn store_on(disk: &SimDisk) -> Result<ControlStore, ControlFault> {
    ControlStore::in_storage(&disk.folder("control"), &small())
}

/// The commands of the runs with crashes: each is one fact or two, and they fill more than one segment.
fn run(disk: &SimDisk) -> Vec<Vec<String>> {
    let store = store_on(disk).unwrap();
    let mut groups = Vec::new();
    for number in 0..12 {
        let id = format!("k{number}");
        issue(&store, "crash", &id).unwrap();
        groups.push(vec![format!("+{id}")]);
        disk.note(groups.len() as u64);
        if number % 4 == 0 {
            rotate(&store, "crash", &id, &format!("{id}r")).unwrap();
            groups.push(vec![format!("+{id}r"), format!("-{id}")]);
            disk.note(groups.len() as u64);
        }
    }
    groups
}

/// What is there is the first so many commands, whole, and none that was acknowledged is missing.
fn hold(disk: &SimDisk, groups: &[Vec<String>], at: &str) {
    let acknowledged = usize::try_from(disk.moment().note()).unwrap();
    let store = store_on(disk).unwrap_or_else(|fault| panic!("after {at}: {fault}"));
    let found = told(&all(&store));
    let whole = (acknowledged..=groups.len()).find(|count| groups[..*count].concat() == found);
    assert!(whole.is_some_and(|count| count <= acknowledged + 1), "after {at}, {acknowledged} acknowledged: {found:?}");
    // And it goes on.
    issue(&store, "crash", "later").unwrap();
    assert_eq!(told(&all(&store)).len(), found.len() + 1);
}

#[test]
fn power_cuts_and_kills_keep_what_was_acknowledged_and_commands_whole() {
    let disk = SimDisk::new();
    disk.record();
    let groups = run(&disk);
    let moments = disk.recorded();
    let (mut seen, mut states) = (BTreeSet::new(), 0);
    for (number, moment) in moments.iter().enumerate() {
        // Killed: the kernel goes on.
        let cuts = moment.power_cuts(number as u64).take(64).collect::<Vec<_>>();
        for disk in std::iter::once(moment.same_kernel()).chain(cuts) {
            if seen.insert((disk.fingerprint(), moment.note())) {
                states += 1;
                hold(&disk, &groups, moment.operation());
            }
        }
    }
    println!("{} operations, {states} states: nothing acknowledged lost, no command in part", moments.len());
    // Commands that follow each other closely share an open journal, so there are fewer moments to be cut at.
    assert!(states > 60, "{states}");
}

#[test]
fn a_failed_write_or_sync_is_told_and_the_next_command_starts_from_what_the_disk_has() {
    for (call, fault) in [(Call::Write, Fault::Error), (Call::Sync, Fault::Error), (Call::Sync, Fault::HalfSync)] {
        for nth in 1..=12 {
            let disk = SimDisk::new();
            let store = store_on(&disk).unwrap();
            issue(&store, "crash", "a").unwrap();
            disk.fault_at_call(call, nth, fault);
            let outcome = rotate(&store, "crash", "a", "b");
            assert_eq!(outcome.is_err(), disk.fault_happened(), "{call:?} {nth}: {outcome:?}");
            // Whatever became of it: the command sent again has one effect, also after a power cut right then.
            if outcome.is_err() {
                rotate(&store, "crash", "a", "b").unwrap();
            }
            assert_eq!(told(&all(&store)), ["+a", "+b", "-a"]);
            disk.note(2);
            for cut in disk.moment().power_cuts(nth).take(20) {
                assert_eq!(told(&all(&store_on(&cut).unwrap())), ["+a", "+b", "-a"], "{call:?} {nth}");
            }
        }
    }
}

#[test]
fn without_space_a_command_is_refused_and_nothing_is_lost() {
    let disk = SimDisk::new();
    let store = store_on(&disk).unwrap();
    issue(&store, "crash", "a").unwrap();
    disk.set_full(true);
    // What fits the segment that is there still goes; then no more.
    let mut taken = 1;
    let refused = (0..20).find_map(|number| match issue(&store, "crash", &format!("b{number}")) {
        Ok(()) => {
            taken += 1;
            None
        }
        Err(fault) => Some(fault),
    });
    assert!(refused.is_some());
    assert_eq!(told(&all(&store)).len(), taken);
    disk.set_full(false);
    issue(&store, "crash", "c").unwrap();
    assert_eq!(told(&all(&store)).len(), taken + 1);
}

#[test]
fn damage_is_refused() {
    let disk = SimDisk::new();
    run(&disk);
    let files = disk.files();
    let segments: Vec<_> = files.keys().filter(|name| name.contains(".seg")).collect();
    assert!(segments.len() > 2, "{segments:?}");
    let mut refused = 0;
    for name in &segments[..2] {
        // The first page is the segment's header, the frames follow.
        for at in (0..24 * 1024).step_by(1_021) {
            let damaged = SimDisk::with_files(&files);
            damaged.tamper(name, |bytes| bytes[at] ^= 0x10).unwrap();
            match store_on(&damaged) {
                Err(fault) => {
                    assert!(fault.is_damage(), "{name} {at}: {fault}");
                    refused += 1;
                }
                Ok(_) => panic!("{name}, byte {at}: a flipped bit was accepted"),
            }
        }
        // A segment that is gone, and an anchor that is gone.
        let mut fewer = files.clone();
        fewer.remove(*name);
        assert!(store_on(&SimDisk::with_files(&fewer)).unwrap_err().is_damage());
    }
    println!("{refused} flipped bits refused");
    let mut fewer = files.clone();
    fewer.retain(|name, _| !name.ends_with("anchor"));
    let store = store_on(&SimDisk::with_files(&fewer)).unwrap();
    let fault = issue(&store, "crash", "new").unwrap_err();
    assert!(fault.to_string().contains("without an anchor"), "{fault}");
}

/// A running store notices that the journal under it was damaged or replaced.
#[test]
fn a_store_does_not_go_on_with_another_journal() {
    let disk = SimDisk::new();
    let store = store_on(&disk).unwrap();
    issue(&store, "crash", "a").unwrap();
    let older = disk.files();
    issue(&store, "crash", "b").unwrap();
    let rolled_back = SimDisk::with_files(&older);
    for (name, bytes) in rolled_back.files() {
        disk.tamper(&name, |now| now.clone_from(&bytes)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(60));
    let fault = store.tail(ControlPosition::default()).unwrap_err();
    assert!(fault.is_damage(), "{fault}");
}

#[test]
fn a_backup_has_the_control_journal_and_a_restore_brings_it_back() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    let embedded_options = embedded::EmbeddedOptions { segment_bytes: 1 << 20, ..Default::default() };
    embedded::create(&at("data"), &embedded_options).unwrap();
    let mut opened = embedded::open(&at("data"), &embedded_options).unwrap();
    for block in stores::conformance::recorded_blocks() {
        use ledger_core::ports::Journal as _;
        opened.journal.secure_space(block.bytes().len()).unwrap();
        opened.journal.append(&[block]).unwrap();
    }
    let store = ControlStore::embedded(&at("data"), &options()).unwrap();
    let now = Timestamp(2_000_000_000_000_000);
    issue(&store, "ada", "a").unwrap();
    let back_up = || backup::back_up(&at("data"), &at("backup"), now, &mut |_| ());
    // There is no access log here: the journals of a backup are those that are there.
    assert_eq!(back_up().unwrap().manifest.journals.len(), 2);
    rotate(&store, "ada", "a", "b").unwrap();
    back_up().unwrap();
    issue(&store, "ada", "later").unwrap();
    assert_eq!(backup::verify(&at("backup"), &mut |_| ()).unwrap().notices, [""; 0]);
    // A backup can be read as it is, and not written to.
    assert_eq!(told(&all(&ControlStore::read_only(&at("backup")).unwrap())), ["+a", "+b", "-a"]);
    let options_of = backup::RestoreOptions { now, ..backup::RestoreOptions::default() };
    backup::restore(&at("backup"), &at("restored"), &options_of, &mut |_| ()).unwrap();
    let restored = ControlStore::embedded(&at("restored"), &options()).unwrap();
    issue(&restored, "ada", "c").unwrap();
    assert_eq!(told(&all(&restored)), ["+a", "+b", "-a", "+c"]);
    // A backup does not forget a journal that it has had.
    std::fs::remove_dir_all(at("data/control")).unwrap();
    let fault = back_up().unwrap_err();
    assert!(matches!(fault, backup::BackupFault::OtherHistory { .. }), "{fault}");
}

/// Another process that keeps the lock for a moment is waited for.
#[test]
fn the_lock_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = ControlStore::embedded(folder.path(), &options()).unwrap();
    issue(&store, "ada", "a").unwrap();
    let lock = std::fs::File::open(control::folder(folder.path()).join("LOCK")).unwrap();
    lock.lock().unwrap();
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let start = Instant::now();
            issue(&store, "ada", "b").unwrap();
            start.elapsed()
        });
        std::thread::sleep(Duration::from_millis(200));
        lock.unlock().unwrap();
        waiting.join().unwrap()
    });
    assert!(waited >= Duration::from_millis(150), "{waited:?}");
    assert_eq!(told(&all(&store)), ["+a", "+b"]);
}

fn database(server: &Server, name: &str) -> PostgresUrl {
    server.database(name);
    let url = PostgresUrl::parse(&server.url(name)).unwrap();
    let fault = ControlStore::postgres(&url, false).unwrap_err();
    assert!(fault.to_string().contains("ledgerd migrate"), "{fault}");
    migrate(&url).unwrap();
    url
}

fn insert(sequence: u32, id: &str) -> String {
    let fact = ControlFact::ApiKeyRevoked(event_schemas::control::ApiKeyRevoked {
        key: id.into(),
        revoked_at: Timestamp(1),
        actor: "test".into(),
        reason: "".into(),
    });
    let payload = serde_json::to_string(&fact).unwrap();
    format!(
        "INSERT INTO control_events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata) \
         VALUES ('api_key_holder', 'x{id}', {sequence}, 'ledger.api_key.revoked', '1', '{payload}', '{{}}')"
    )
}

/// One writer begins first and commits last. Gives what a tail sees while it waits, and then.
async fn late_commit(url: &str, store: &ControlStore) -> (Vec<String>, Vec<String>) {
    use sqlx::{Connection as _, Executor as _, PgConnection};
    let mut slow = PgConnection::connect(url).await.unwrap();
    let mut fast = PgConnection::connect(url).await.unwrap();
    let mut begun = slow.begin().await.unwrap();
    begun.execute(insert(1, "slow").as_str()).await.unwrap();
    let other = tokio::spawn(async move { fast.execute(insert(1, "fast").as_str()).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let look = |after: ControlPosition| {
        let store = store.clone();
        tokio::task::spawn_blocking(move || store.tail(after).unwrap())
    };
    let first = look(ControlPosition::default()).await.unwrap();
    begun.commit().await.unwrap();
    other.await.unwrap().unwrap();
    let after = first.last().map_or_else(ControlPosition::default, |row| row.position);
    let then = look(after).await.unwrap();
    let names = |rows: &[ControlRow]| rows.iter().map(|row| row.aggregate.to_string()).collect();
    (names(&first), names(&then))
}

#[test]
fn the_table_keeps_what_it_must() {
    let server = Server::start();
    let url = database(&server, "suite");
    suite(&|| ControlStore::postgres(&url, false).unwrap());
    let store = ControlStore::postgres(&url, false).unwrap();

    // Plain postgres-es reads the rows, and people do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pool = sqlx::PgPool::connect(&server.url("suite")).await.unwrap();
        let plain = PostgresEventRepository::new(pool).with_tables("control_events", "snapshots");
        let events = PersistedEventStore::<_, Es<KeyHolder>>::new_event_store(plain);
        let loaded = events.load_events(&holder("ada").principal().to_string()).await.unwrap();
        let found: Vec<ControlFact> = loaded.into_iter().map(|event| event.payload.0.into()).collect();
        let rows = rows_of(&url).await;
        let ada = holder("ada").principal().to_string();
        let expected: Vec<_> = rows.into_iter().filter(|row| *row.aggregate == *ada).map(|row| row.fact).collect();
        assert_eq!((found.len(), found), (3, expected));
    });
    let sql = |sql: &str| server.sql("suite", sql);
    assert_eq!(
        sql("SELECT event_type, event_version FROM control_events ORDER BY position LIMIT 1"),
        "ledger.api_key.issued|1"
    );
    assert_eq!(
        sql("SELECT key, holder, revoked_by FROM api_keys WHERE holder = 'ada' ORDER BY key"),
        "a|ada|test\nc|ada|"
    );

    // A row that is not what was written is told.
    sql("UPDATE control_events SET payload = '{}' WHERE position = (SELECT min(position) FROM control_events)");
    let fault = store.tail(ControlPosition::default()).unwrap_err();
    assert!(fault.is_damage(), "{fault}");

    // Late commits are waited for; and it is the trigger that sees to it.
    let url = database(&server, "late");
    let store = ControlStore::postgres(&url, false).unwrap();
    let seen = runtime.block_on(late_commit(&server.url("late"), &store));
    assert_eq!(seen, (vec![], vec!["xslow".to_owned(), "xfast".to_owned()]));
    database(&server, "without");
    server.sql("without", "DROP TRIGGER control_events_in_order ON control_events");
    let store = ControlStore::postgres(&PostgresUrl::parse(&server.url("without")).unwrap(), false).unwrap();
    let seen = runtime.block_on(late_commit(&server.url("without"), &store));
    assert_eq!(seen, (vec!["xfast".to_owned()], vec![]), "a bare number loses the late one");

    // A server that is killed: what was acknowledged is there, and the store finds back by itself.
    let url = database(&server, "killed");
    let store = ControlStore::postgres(&url, false).unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(60));
                server.kill();
                killed.store(true, Ordering::Release);
            });
            for number in 0.. {
                let id = format!("p{round}-{number}");
                let (outcome, over) = (issue(&store, "gone", &id), killed.load(Ordering::Acquire));
                match outcome {
                    Ok(()) => acknowledged.push(format!("+{id}")),
                    Err(ExecuteFault::Store(fault)) => assert!(!fault.is_damage(), "{fault}"),
                    Err(other) => panic!("{other}"),
                }
                if over {
                    break;
                }
            }
        });
        server.restart();
        let found: BTreeSet<_> = told(&all(&store)).into_iter().collect();
        assert!(acknowledged.iter().all(|fact| found.contains(fact)), "acknowledged and lost");
    }
    assert!(acknowledged.len() > 3, "{}", acknowledged.len());
}

/// Opening waits for the server, and so does reading: not on a task.
async fn rows_of(url: &PostgresUrl) -> Vec<ControlRow> {
    let url = url.clone();
    tokio::task::spawn_blocking(move || all(&ControlStore::postgres(&url, false).unwrap())).await.unwrap()
}
