//! The stream of events over real HTTP: a client whose connections break, and a server that ends and comes back, make up the
//! journal with nothing left out and nothing twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Client, Server};

/// A stream as a client reads it.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(api: &Client, after: u64) -> Self {
        let request = api
            .http
            .get(format!("{}/v1/books/1/events/stream", api.url))
            .bearer_auth(&api.key)
            .header("last-event-id", after);
        let response = request.timeout(Duration::from_mins(2)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event with its id; `None` when the stream has ended, which it does between two events.
    async fn next(&mut self) -> Option<(u64, Value)> {
        loop {
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                if frame.starts_with(':') {
                    continue;
                }
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                return Some((field("id: ").parse().unwrap(), serde_json::from_str(field("data: ")).unwrap()));
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await;
            let Some(bytes) = chunk.expect("the stream stands still").expect("the stream was cut off") else {
                assert_eq!(self.text, "", "nothing is cut off");
                return None;
            };
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

async fn furnish(api: &Client) {
    for code in ["anna:eur", "boris:eur"] {
        let open = json!({"code": code, "kind": "liability", "currency": "EUR"});
        api.done("accounts", &format!("open-{code}"), open).await;
    }
    api.done("top-ups", "fill", json!({"account": "anna:eur", "amount": "1000.00", "currency": "EUR"})).await;
}

/// Posts so many transfers, one after the other.
fn posting(api: &Client, name: &'static str, count: u32) -> tokio::task::JoinHandle<()> {
    let api = api.clone();
    tokio::spawn(async move {
        for number in 0..count {
            let body = json!({"from": "anna:eur", "to": "boris:eur", "amount": "0.01", "currency": "EUR"});
            api.done("transfers", &format!("{name}-{number}"), body).await;
        }
    })
}

#[tokio::test]
async fn a_client_that_reconnects_reads_the_journal_once() {
    const EACH: u32 = 150;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, 0);
    let port = server.port;
    let api = Client::admin(&server.url, &data);
    furnish(&api).await;
    let mut read: Vec<(u64, Value)> = Vec::new();
    let last = |read: &[(u64, Value)]| read.last().map_or(0, |(id, _)| *id);

    // Connections that break after ever more events, while others post.
    let writers = [posting(&api, "a", EACH), posting(&api, "b", EACH)];
    for count in [1, 7, 30, 80] {
        let mut stream = Stream::open(&api, last(&read)).await;
        for _ in 0..count {
            read.push(stream.next().await.unwrap());
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }

    // A server that ends takes its streams with it, at once and between two events.
    let head = api.head().await;
    let mut stream = Stream::open(&api, last(&read)).await;
    while last(&read) < head {
        read.push(stream.next().await.unwrap());
    }
    let started = Instant::now();
    let (status, rest) = tokio::join!(tokio::task::spawn_blocking(move || server.terminate()), stream.next());
    assert!(status.unwrap().success());
    assert_eq!(rest, None);
    assert!(started.elapsed() < Duration::from_secs(8), "the end waited for a stream");

    // It comes back, and the stream goes on where it was.
    let server = Server::start(&data, port);
    let mut stream = Stream::open(&api, last(&read)).await;
    posting(&api, "c", EACH).await.unwrap();
    let head = api.head().await;
    while last(&read) < head {
        read.push(stream.next().await.unwrap());
    }
    assert!(head >= u64::from(3 * EACH));
    assert_eq!(read.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=head).collect::<Vec<_>>());

    // The pages say the same.
    let (mut paged, mut path) = (Vec::new(), "/v1/books/1/events?limit=100".to_owned());
    loop {
        let page = api.get(&path).await.body;
        paged.extend(page["events"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/books/1/events?limit=100&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, read.into_iter().map(|(_, event)| event).collect::<Vec<_>>());

    let future = api.http.get(format!("{}/v1/books/1/events/stream", api.url)).bearer_auth(&api.key);
    let refused = future.header("last-event-id", head + 1).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "sequence_in_future");
    drop(server);
}
