//! Events over a real book: pages and streams, whom they are for, where they begin and end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use commands_api::{ApiState, KeyRing, router};
use common::{ADMIN, ANNA, House, READER, Scripted, WRITER, ask, parts};
use event_schemas::{BookId, RecordedEvent, Sequence};
use futures_core::Stream as _;
use serde_json::Value;
use stores::conformance::recorded_blocks;
use stores::memory::MemoryBook;
use tokio::sync::watch;

const EVENTS: &str = "/v1/books/1/events";
const STREAM: &str = "/v1/books/1/events/stream";

async fn transfer(house: &mut House, cents: u32) {
    let body = format!(r#"{{"from":"anna:eur","to":"boris:eur","amount":"0.{cents:02}","currency":"EUR"}}"#);
    house.post(ADMIN, "transfers", &body).await.expect(201, "");
}

fn sequences(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn events_are_read_page_by_page() {
    let mut house = House::furnished().await;
    for cents in 1..=5 {
        transfer(&mut house, cents).await;
    }
    let all = house.get(ADMIN, "events?limit=1000").await.expect(200, "").body.clone();
    let head = all["sequence"].as_u64().unwrap();
    assert_eq!(sequences(&all), (1..=head).collect::<Vec<_>>());
    assert_eq!(all["next_cursor"], Value::Null);
    for event in all["events"].as_array().unwrap() {
        let read: RecordedEvent = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), *event, "the form of the event's own schema");
    }

    let (mut read, mut query) = (Vec::new(), "limit=3".to_owned());
    let end = loop {
        let page = house.get(READER, &format!("events?{query}")).await.expect(200, "").body.clone();
        read.extend(sequences(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=3&cursor={cursor}"),
            None => break page["end_cursor"].as_str().unwrap().to_owned(),
        }
    };
    assert_eq!(read, (1..=head).collect::<Vec<_>>(), "the pages make up the whole");
    transfer(&mut house, 9).await;
    let after = house.get(ADMIN, &format!("events?cursor={end}")).await.expect(200, "").body.clone();
    assert_eq!(sequences(&after), [head + 1], "a cursor goes on where it ended");
    let after = house.get(ADMIN, &format!("events?after_sequence={head}")).await.expect(200, "").body.clone();
    assert_eq!(sequences(&after), [head + 1]);
    let after = house.get(ADMIN, &format!("events?after_sequence={}", head + 1)).await.expect(200, "").body.clone();
    assert_eq!(sequences(&after), [] as [u64; 0]);

    // A cursor belongs to its query.
    for query in ["type=ledger.entry.posted.v1&", "account=anna:eur&"] {
        house.get(ADMIN, &format!("events?{query}cursor={end}")).await.expect(400, "cursor_invalid");
    }
    house.get(ADMIN, &format!("accounts?cursor={end}")).await.expect(400, "cursor_invalid");
}

#[tokio::test]
async fn filters() {
    let mut house = House::furnished().await;
    transfer(&mut house, 1).await;
    let page = |query: &'static str| {
        let house = &house;
        async move { house.get(ADMIN, &format!("events?{query}")).await.expect(200, "").body.clone() }
    };
    let posted = page("type=ledger.entry.posted.v1").await;
    let types: Vec<_> = posted["events"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["ledger.entry.posted.v1"; 3]);
    let of_anna = page("account=anna:eur").await;
    let types: Vec<_> = of_anna["events"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["ledger.account.opened.v1", "ledger.entry.posted.v1", "ledger.entry.posted.v1"]);
    let both = page("account=boris:eur&type=ledger.account.opened.v1").await;
    assert_eq!(both["events"].as_array().unwrap().len(), 1);
    let nothing = page("account=nobody").await;
    assert_eq!((nothing["events"].as_array().unwrap().len(), &nothing["next_cursor"]), (0, &Value::Null));
}

#[tokio::test]
async fn what_is_refused() {
    let house = House::furnished().await;
    let future = house.engine_head() + 1;
    for path in ["events", "events/stream"] {
        house.get(ANNA, path).await.expect(403, "forbidden");
        house.get(WRITER, path).await.expect(403, "forbidden");
        for query in ["type=nothing", "type=", "account=no%20code", "after_sequence=-1", "after=1", "order=x"] {
            house.get(ADMIN, &format!("{path}?{query}")).await.expect(400, "query_invalid");
        }
        let refused = house.get(ADMIN, &format!("{path}?after_sequence={future}")).await;
        refused.expect(400, "sequence_in_future");
        house.get(ADMIN, &format!("{path}?after_sequence={}", u64::MAX)).await.expect(400, "sequence_in_future");
    }
    for query in ["limit=0", "limit=1001", "cursor=AA&after_sequence=1"] {
        house.get(ADMIN, &format!("events?{query}")).await.expect(400, "query_invalid");
    }
    house.get(ADMIN, "events?cursor=AA").await.expect(400, "cursor_invalid");
    for (id, status, code) in [
        ("x", 400, "query_invalid"),
        ("", 400, "query_invalid"),
        ("+1", 400, "query_invalid"),
        ("-1", 400, "query_invalid"),
    ] {
        let asked = ask(&house.router, "GET", STREAM).key(ADMIN).header("last-event-id", id);
        asked.send().await.expect(status, code);
    }
    let future = future.to_string();
    let asked = ask(&house.router, "GET", STREAM).key(ADMIN).header("last-event-id", &future);
    asked.send().await.expect(400, "sequence_in_future");
}

/// Reads a stream as a client does.
struct Client {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Sent {
    id: u64,
    kind: String,
    data: Value,
}

impl Client {
    fn of(response: Response<Body>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_ne!(response.headers()["x-request-id"], "");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    async fn connect(house: &House, after: u64) -> Self {
        let asked = ask(&house.router, "GET", STREAM).key(READER).header("last-event-id", &after.to_string());
        Self::of(asked.open().await)
    }

    /// The next chunk is in the text; `false` at the end.
    async fn more(&mut self) -> bool {
        let next = std::future::poll_fn(|context| Pin::new(&mut self.body).poll_next(context));
        match next.await {
            Some(chunk) => {
                self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
                true
            }
            None => false,
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Sent> {
        tokio::time::timeout(Duration::from_secs(8), self.read()).await.expect("the stream stands still")
    }

    async fn read(&mut self) -> Option<Sent> {
        loop {
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                if frame.starts_with(':') {
                    continue;
                }
                let line =
                    |at: usize, name: &str| frame.lines().nth(at).unwrap().strip_prefix(name).unwrap().to_owned();
                assert_eq!(frame.lines().count(), 3);
                return Some(Sent {
                    id: line(0, "id: ").parse().unwrap(),
                    kind: line(1, "event: "),
                    data: serde_json::from_str(&line(2, "data: ")).unwrap(),
                });
            }
            if !self.more().await {
                assert_eq!(self.text, "", "nothing is cut off");
                return None;
            }
        }
    }

    async fn take(&mut self, count: usize) -> Vec<Sent> {
        let mut sent = Vec::new();
        while sent.len() < count {
            sent.push(self.next().await.expect("the stream ended"));
        }
        sent
    }
}

#[tokio::test]
async fn a_stream_goes_on_behind_the_last_event_received() {
    let mut house = House::furnished().await;
    let head = house.engine_head();
    let mut client = Client::of(ask(&house.router, "GET", STREAM).key(READER).open().await);
    let mut sent = client.take(usize::try_from(head).unwrap()).await;
    for cents in 1..=3 {
        transfer(&mut house, cents).await;
    }
    sent.extend(client.take(1).await);
    drop(client);
    // Two more came while nobody listened, another one comes after.
    let mut client = Client::connect(&house, sent.last().unwrap().id).await;
    sent.extend(client.take(2).await);
    transfer(&mut house, 4).await;
    sent.extend(client.take(1).await);
    assert_eq!(sent.iter().map(|sent| sent.id).collect::<Vec<_>>(), (1..=head + 4).collect::<Vec<_>>());
    let page = house.get(ADMIN, "events?limit=1000").await.body;
    for (sent, event) in sent.iter().zip(page["events"].as_array().unwrap()) {
        assert_eq!((&sent.data, &*sent.kind), (event, event["type"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_stream_passes_over_what_is_not_asked_for() {
    let mut house = House::furnished().await;
    let head = house.engine_head();
    let path = format!("{STREAM}?type=ledger.entry.posted.v1&account=boris:eur&after_sequence={head}");
    let mut client = Client::of(ask(&house.router, "GET", &path).key(READER).open().await);
    let open = r#"{"code":"carla:eur","kind":"liability","currency":"EUR"}"#;
    house.post(ADMIN, "accounts", open).await.expect(201, "");
    transfer(&mut house, 1).await;
    assert_eq!(client.next().await.unwrap().id, head + 2);
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_is_alive() {
    let house = House::furnished().await;
    tokio::time::pause();
    let mut client = Client::connect(&house, house.engine_head()).await;
    for _ in 0..4 {
        assert!(client.more().await);
    }
    assert_eq!(client.text.matches("\n\n").count(), 4);
    assert!(client.text.split("\n\n").all(|frame| frame.is_empty() || frame.starts_with(": ")), "{}", client.text);
}

#[tokio::test]
async fn streams_end_when_the_server_does() {
    let (drain, draining) = watch::channel(false);
    let house = House::with(|parts| parts.draining = draining).furnish().await;
    let head = house.engine_head();
    let mut client = Client::connect(&house, head - 1).await;
    assert_eq!(client.next().await.unwrap().id, head);
    drain.send(true).unwrap();
    assert_eq!(client.next().await, None);
    let mut late = Client::connect(&house, head).await;
    assert_eq!(late.next().await, None);
}

#[tokio::test]
async fn a_stream_ends_with_its_key() {
    let ring = KeyRing::of(&common::keys());
    let house = House::with(|parts| parts.keys = ring.clone());
    let mut client = Client::of(ask(&house.router, "GET", STREAM).key(READER).open().await);
    assert_eq!(client.next().await.unwrap().kind, "ledger.book.opened.v1");
    let others: Vec<_> = common::keys().into_iter().filter(|key| key.id != format!("key_{READER}")).collect();
    ring.set(&others);
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn nobody_takes_all_streams() {
    let house = House::furnished().await;
    let asked = |letter| ask(&house.router, "GET", STREAM).key(letter);
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(Client::of(asked(READER).open().await));
    }
    assert_eq!(asked(READER).open().await.status(), 429);
    let others = Client::of(asked(ADMIN).open().await);
    drop(others);
    // The places are free as soon as the tasks have noticed.
    for _ in 0..2 {
        open.clear();
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..16 {
            open.push(Client::of(asked(READER).open().await));
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_nobody_from_ending() {
    const TRANSFERS: u64 = 2_000;
    let (drain, draining) = watch::channel(false);
    let mut house = House::with(|parts| parts.draining = draining).furnish().await;
    let item = |number| {
        let transfer = r#""type":"transfer","from":"anna:eur","to":"boris:eur","amount":"0.01","currency":"EUR""#;
        format!(r#"{{{transfer},"idempotency_key":"t-{number}"}}"#)
    };
    let items: Vec<_> = (0..TRANSFERS).map(item).collect();
    let batch = format!(r#"{{"items":[{}]}}"#, items.join(","));
    let posted = ask(&house.router, "POST", "/v1/books/1/batches").key(ADMIN).body(batch).send().await;
    posted.expect(200, "");
    house.catch_up();
    let mut idle = Client::connect(&house, 0).await;
    let mut busy = Client::connect(&house, 0).await;
    let all = usize::try_from(house.engine_head()).unwrap();
    assert_eq!(busy.take(all).await.last().unwrap().id, house.engine_head(), "the other one is not in the way");
    drain.send(true).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut read = 0;
    while idle.next().await.is_some() {
        read += 1;
    }
    assert!(read < all / 2, "{read} of {all} were made for a client that did not read");
}

#[tokio::test]
async fn nothing_above_the_durable_sequence_is_shown() {
    // A feed that is ahead of what the engine has called durable.
    let book = MemoryBook::new(BookId::FIRST);
    ledger_core::ports::Journal::append(&mut book.writer(), &recorded_blocks()).unwrap();
    let last = recorded_blocks().last().unwrap().header().last_sequence();
    assert!(last > Sequence(4));
    let sink = Scripted::of(Vec::new());
    let mut parts = parts(Arc::<Scripted>::clone(&sink), None);
    let reader = book.reader();
    parts.feeds = Arc::new(move || Box::new(reader.clone()));
    let router = router(ApiState::new(parts));
    let accept = async || {
        let body = r#"{"from":"a:1","to":"b:1","amount":"10.00","currency":"EUR"}"#;
        let asked = ask(&router, "POST", "/v1/books/1/transfers").key(ADMIN).idempotent("k").body(body);
        asked.send().await.expect(201, "");
    };
    for _ in 0..3 {
        accept().await;
    }
    let page = ask(&router, "GET", EVENTS).key(ADMIN).send().await;
    assert_eq!(sequences(&page.expect(200, "").body), [1, 2, 3]);
    assert_eq!(page.body["next_cursor"], Value::Null);
    let mut client = Client::of(ask(&router, "GET", STREAM).key(ADMIN).open().await);
    assert_eq!(client.take(3).await.iter().map(|sent| sent.id).collect::<Vec<_>>(), [1, 2, 3]);
    let quiet = tokio::time::timeout(Duration::from_millis(500), client.next()).await;
    assert!(quiet.is_err(), "event 4 is not durable: {quiet:?}");
    accept().await;
    assert_eq!(client.next().await.unwrap().id, 4);
}
