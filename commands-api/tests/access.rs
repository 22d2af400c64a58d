//! The access log: every query of what is somebody's is on it, with what came of it, before anything leaves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;

use axum::body::to_bytes;
use commands_api::{ApiState, openapi, router};
use common::{ADMIN, ANNA, BORIS, FullLog, House, Log, NOON, READER, Scripted, ask, parts};
use event_schemas::block::{BlockBuilder, BlockPlace};
use event_schemas::event::{AccessLogged, BookOpened};
use event_schemas::{AccountId, BookId, Digest, Epoch, Event, EventBody, PrincipalId, Sequence};
use projections::Runner;
use projections::memory::{MemoryFeed, MemoryRows};

const HOLD: &str = "0190a5d4-7c1e-7000-8000-000000000001";

async fn logged() -> (House, Arc<Log>) {
    let log = Arc::new(Log::default());
    let kept = Arc::clone(&log);
    let house = House::with(move |parts| parts.access = Some(kept)).furnish().await;
    let hold = format!(r#"{{"id":"{HOLD}","account":"anna:eur","amount":"1.00","currency":"EUR"}}"#);
    ask(&house.router, "POST", "/v1/books/1/holds").key(ADMIN).body(hold).send().await.expect(201, "");
    let mut house = house;
    house.catch_up();
    (house, log)
}

fn taken(log: &Log) -> Vec<(String, String, u16)> {
    let told = log.0.lock().unwrap().drain(..).collect::<Vec<_>>();
    told.into_iter().map(|one| (one.operation.into(), one.subject.into(), one.status)).collect()
}

#[tokio::test]
async fn who_looked_at_what_is_on_record() {
    let (house, log) = logged().await;
    assert_eq!(taken(&log), [], "commands are on record in the book");
    let anna = AccountId::from_code(BookId::FIRST, "anna:eur").to_string();
    for (letter, path, operation, subject, status) in [
        (ADMIN, "accounts", "list_accounts", "", 200),
        (ANNA, "accounts", "list_accounts", "client:anna", 200),
        (READER, "accounts/anna:eur", "get_account", &*anna, 200),
        (READER, &*format!("accounts/{anna}/balance"), "get_balance", &anna, 200),
        (ANNA, "accounts/anna:eur/statement", "get_statement", &anna, 200),
        (BORIS, "accounts/anna:eur/statement", "get_statement", &anna, 403),
        (ADMIN, "accounts/anna:eur/statement?limit=0", "get_statement", &anna, 400),
        (ADMIN, "accounts/anna:eur/holds", "list_holds", &anna, 200),
        (ADMIN, &format!("holds/{HOLD}"), "get_hold", HOLD, 200),
        (BORIS, &format!("holds/{HOLD}"), "get_hold", HOLD, 404),
        (ADMIN, &format!("commands/{HOLD}"), "get_command", HOLD, 200),
        (ADMIN, "events", "list_events", "", 200),
        (ANNA, "events", "list_events", "client:anna", 403),
        (ADMIN, "events/stream?after_sequence=999", "stream_events", "", 400),
        // What a path can't name does not get into the log by it.
        (ADMIN, "accounts/what%20is%20this", "get_account", "", 404),
        (ADMIN, "holds/4111111111111111", "get_hold", "", 404),
    ] {
        let answered = house.get(letter, path).await;
        assert_eq!(answered.status, status, "{path}");
        assert_eq!(taken(&log), [(operation.to_owned(), subject.to_owned(), status)], "{path}");
    }
    // Of everybody: how far the book is, and whether it balances. Of nobody: those without a key.
    house.get(ADMIN, "").await.expect(200, "");
    house.get(ADMIN, "trial-balance").await.expect(200, "");
    ask(&house.router, "GET", "/v1/books/1/accounts").send().await.expect(401, "unauthorized");
    ask(&house.router, "GET", "/v1/openapi.json").send().await.expect(200, "");
    assert_eq!(taken(&log), []);
    for (letter, id) in [(ANNA, "trace-7"), (ANNA, "trace-8"), (READER, "trace-9")] {
        let asked = ask(&house.router, "GET", "/v1/books/1/accounts").key(letter).header("x-request-id", id);
        asked.send().await.expect(200, "");
    }
    let told = log.0.lock().unwrap().drain(..).collect::<Vec<_>>();
    let requests: Vec<_> = told.iter().map(|one| &*one.request).collect();
    assert_eq!(requests, ["trace-7", "trace-8", "trace-9"]);
    assert_eq!(told[0].actor, told[1].actor);
    assert_ne!(told[0].actor, told[2].actor);
}

#[tokio::test]
async fn a_stream_is_on_record_when_it_begins_and_a_dry_run_like_a_query() {
    let (mut house, log) = logged().await;
    let stream = ask(&house.router, "GET", "/v1/books/1/events/stream").key(READER).open().await;
    assert_eq!(stream.status(), 200);
    assert_eq!(taken(&log), [("stream_events".to_owned(), String::new(), 200)]);
    drop(stream);
    let anna = AccountId::from_code(BookId::FIRST, "anna:eur").to_string();
    let body = r#"{"from":"anna:eur","to":"boris:eur","amount":"10.00","currency":"EUR"}"#;
    house.dry(ADMIN, "transfers", body).await.expect(200, "");
    assert_eq!(taken(&log), [("post_transfer?dry_run=true".to_owned(), anna, 200)]);
    house.post(ADMIN, "transfers", body).await.expect(201, "");
    assert_eq!(taken(&log), []);
}

#[tokio::test]
async fn nothing_is_shown_that_is_not_on_record() {
    let mut house = House::with(|parts| parts.access = Some(Arc::new(FullLog))).furnish().await;
    for path in [
        "accounts",
        "accounts/anna:eur",
        "accounts/anna:eur/balance",
        "accounts/anna:eur/statement",
        "accounts/anna:eur/holds",
        "accounts/nobody",
        "events",
    ] {
        let answered = house.get(ADMIN, path).await;
        assert_eq!(answered.expect(503, "access_log_busy").header("retry-after"), "1", "{path}");
        assert!(!answered.body.to_string().contains("anna"), "{}", answered.body);
    }
    let stream = ask(&house.router, "GET", "/v1/books/1/events/stream").key(ADMIN).open().await;
    assert_eq!(stream.status(), 503);
    let body = to_bytes(stream.into_body(), 1 << 20).await.unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("ledger."), "no event left");
    let body = r#"{"from":"anna:eur","to":"boris:eur","amount":"10.00","currency":"EUR"}"#;
    house.dry(ADMIN, "transfers", body).await.expect(503, "access_log_busy");
    // Money moves as ever.
    house.post(ADMIN, "transfers", body).await.expect(201, "");
    house.get(ADMIN, "").await.expect(200, "");
}

/// A query that is added is on record unless somebody says that it is not: this list grows by hand.
#[tokio::test]
async fn every_query_of_the_document_is_on_record_but_these() {
    const OF_NOBODY: [&str; 12] = [
        "get_book",
        "get_trial_balance",
        "list_fee_rules",
        "get_calendar",
        "get_period",
        "get_latest_rates",
        "get_rates_of_day",
        "get_exposure",
        "list_providers",
        "get_provider",
        "get_openapi",
        "get_docs",
    ];
    for (path, methods) in openapi()["paths"].as_object().unwrap() {
        let Some(operation) = methods.get("get") else { continue };
        let log = Arc::new(Log::default());
        let mut parts = parts(Scripted::of(Vec::new()), None);
        parts.access = Some(Arc::<Log>::clone(&log));
        let path = path.replace("{book}", "1").replace("{account}", "a:1").replace("{date}", "2026-01-01");
        let path = ["{hold}", "{command}", "{owner}", "{payment}", "{provider}"]
            .iter()
            .fold(path, |path, name| path.replace(name, HOLD));
        let answered = ask(&router(ApiState::new(parts)), "GET", &path).key(ADMIN).open().await;
        let told = taken(&log);
        let id = operation["operationId"].as_str().unwrap();
        if OF_NOBODY.contains(&id) {
            assert_eq!(told, [], "{id}");
        } else {
            assert_eq!(told.len(), 1, "{id}");
            assert_eq!((&*told[0].0, told[0].2), (id, answered.status().as_u16()));
        }
    }
}

/// An access log with five reads, and the API over its read model.
fn read_back() -> axum::Router {
    let actor = |id| PrincipalId(id);
    let read = |actor, operation: &str, subject: &str, status| {
        let (operation, subject, request) = (operation.into(), subject.into(), "trace".into());
        Event::engine(EventBody::AccessLogged(AccessLogged { actor, operation, subject, status, request }))
    };
    let anna = AccountId::from_code(BookId::FIRST, "anna:eur").to_string();
    let mut builder = BlockBuilder::new();
    builder.push(&Event::engine(EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce: actor(9) })));
    builder.push(&read(actor(1), "get_statement", &anna, 200));
    builder.push(&read(actor(2), "list_events", "", 200));
    builder.push(&read(actor(2), "get_balance", &anna, 403));
    builder.push(&read(actor(1), "get_limits", "client:anna", 200));
    builder.push(&read(actor(1), "get_hold", HOLD, 404));
    let block = builder.seal(BlockPlace {
        book: BookId::FIRST,
        first_sequence: Sequence(1),
        recorded_at: NOON,
        epoch: Epoch(1),
        previous: Digest::default(),
    });
    let (rows, head) = (MemoryRows::new(), block.header().last_sequence());
    let models = vec![projections::by_name(projections::access::NAME).unwrap()];
    Runner::new(MemoryFeed::new(vec![block]), &rows, models).run_to(head, &mut |_| {}).unwrap();
    let mut parts = parts(Scripted::of(Vec::new()), None);
    parts.access_rows = Some(Arc::new(rows));
    router(ApiState::new(parts))
}

#[tokio::test]
async fn the_log_is_read_page_by_page_by_actor_and_by_subject() {
    let api = read_back();
    let get = |letter: char, query: String| ask(&api, "GET", &format!("/v1/books/1/access{query}")).key(letter).send();
    let told = |page: &common::Answered| -> Vec<String> {
        page.expect(200, "");
        assert_eq!(page.body["sequence"], 6);
        let reads = page.body["reads"].as_array().unwrap();
        reads.iter().map(|read| format!("{} {}", read["sequence"], read["operation"].as_str().unwrap())).collect()
    };
    let of = |id: u128| PrincipalId(id).to_string();
    for (query, expected) in [
        (String::new(), &["2 get_statement", "3 list_events", "4 get_balance", "5 get_limits", "6 get_hold"][..]),
        ("?order=newest_first&limit=2".into(), &["6 get_hold", "5 get_limits"]),
        (format!("?actor={}", of(2)), &["3 list_events", "4 get_balance"]),
        (format!("?actor={}", of(7)), &[]),
        ("?account=anna:eur".into(), &["2 get_statement", "4 get_balance"]),
        ("?customer=client:anna".into(), &["5 get_limits"]),
        (format!("?command={HOLD}"), &["6 get_hold"]),
    ] {
        assert_eq!(told(&get(READER, query.clone()).await), expected, "{query}");
    }
    let first = get(ADMIN, "?limit=3".into()).await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    assert_eq!(told(&get(ADMIN, format!("?limit=3&cursor={cursor}")).await), ["5 get_limits", "6 get_hold"]);
    for other in ["order=newest_first", "account=anna:eur", &format!("actor={}", of(1))] {
        get(ADMIN, format!("?{other}&cursor={cursor}")).await.expect(400, "cursor_invalid");
    }
    for bad in ["actor=anna", "account=a%20b", "customer=", "command=7", "account=a:1&customer=b", "min_sequence=1"] {
        get(ADMIN, format!("?{bad}")).await.expect(400, "query_invalid");
    }
    get(ANNA, String::new()).await.expect(403, "forbidden");
    get(common::WRITER, String::new()).await.expect(403, "forbidden");
    let without = router(ApiState::new(parts(Scripted::of(Vec::new()), None)));
    ask(&without, "GET", "/v1/books/1/access").key(ADMIN).send().await.expect(503, "read_models_off");
}
