//! Bill payments to a provider behind HTTP, which checks signatures, knows repeated calls by their key, fails, is slow, and calls
//! back later.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use connectors::bills::sign::Secret;
use event_schemas::Timestamp;
use serde_json::{Value, json};
use support::payments::{Payer, bill, held, id_of, pay, payment, settled, steps, verify};
use support::{Answer, Client};

const SECRET: &[u8] = b"a secret of more than sixteen bytes";

/// What a provider does with the next calls, and what it did.
#[derive(Default)]
struct Books {
    /// Statuses to answer calls with before they are taken for good.
    fails: Vec<u16>,
    /// Leave calls without an answer, taken all the same.
    silent: bool,
    /// Answer that it works on it.
    pending: bool,
    /// Taken, by payment.
    taken: BTreeMap<String, String>,
    calls: u32,
}

type Shared = Arc<Mutex<Books>>;

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let secret = Secret::new(SECRET).unwrap();
    secret.check(text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"), body, now()).is_ok()
}

fn accepted(amount: &str) -> String {
    json!({ "status": "accepted", "reference": "W-77", "amount": amount, "currency": "EUR" }).to_string()
}

async fn take(State(books): State<Shared>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    assert!(is_signed(&headers, &body), "{headers:?}");
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let (id, amount) = (asked["payment"].as_str().unwrap().to_owned(), asked["amount"].as_str().unwrap().to_owned());
    assert_eq!(headers["idempotency-key"], id.as_str());
    assert_eq!(asked["details"], json!({ "customer_number": "AB123456" }));
    let silent = {
        let mut books = books.lock().unwrap();
        books.calls += 1;
        if !books.fails.is_empty() {
            let status = books.fails.remove(0);
            return (StatusCode::from_u16(status).unwrap(), "not now".into());
        }
        books.taken.insert(id, amount.clone());
        if books.pending {
            return (StatusCode::ACCEPTED, json!({ "status": "pending", "reference": "W-77" }).to_string());
        }
        books.silent
    };
    if silent {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    if amount == "13.00" {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({ "status": "refused", "code": "unknown_customer" }).to_string(),
        );
    }
    if amount == "14.00" {
        return (StatusCode::OK, "<html>".into());
    }
    (StatusCode::OK, accepted(&amount))
}

async fn status(State(books): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> (StatusCode, String) {
    assert!(is_signed(&headers, b""));
    let books = books.lock().unwrap();
    match books.taken.get(&id) {
        None => (StatusCode::NOT_FOUND, String::new()),
        Some(_) if books.pending => (StatusCode::OK, json!({ "status": "pending" }).to_string()),
        Some(amount) if amount == "14.00" => (StatusCode::OK, "[]".into()),
        Some(amount) => (StatusCode::OK, accepted(amount)),
    }
}

/// A provider on loopback.
async fn provider() -> (Shared, String) {
    let books = Shared::default();
    let router = Router::new()
        .route("/v1/payments", post(take))
        .route("/v1/payments/{id}", get(status))
        .with_state(Arc::clone(&books));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
            );
        }
    });
    (books, url)
}

fn payer(url: &str) -> Payer {
    let payer = Payer::new(&format!(
        "attempts = 3\n[payments.providers.waterworks]\nurl = \"{url}\"\nsecret_file = \"secret\"\ntimeout_ms = 1000"
    ));
    std::fs::write(payer.folder.path().join("secret"), SECRET).unwrap();
    payer
}

async fn call_back(client: &Client, id: &str, body: &str, secret: &[u8]) -> Answer {
    let seconds = now().0 / 1_000_000;
    let signature = Secret::new(secret).unwrap().sign(id, seconds, body.as_bytes());
    let request = client
        .http
        .post(format!("{}/v1/providers/waterworks/callback", client.url))
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds.to_string())
        .header("webhook-signature", signature)
        .body(body.to_owned());
    support::answer(request.send().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_behind_http() {
    let (books, url) = provider().await;
    let payer = payer(&url);
    let (server, client) = payer.furnished(&[], "1000.00").await;

    let paid = pay(&client, "h1", &bill("120.50")).await.unwrap();
    assert_eq!(
        (&paid.body["status"], &paid.body["provider_reference"]),
        (&json!("success"), &json!("W-77")),
        "{}",
        paid.body
    );
    let refused = pay(&client, "h2", &bill("13.00")).await.unwrap();
    assert_eq!((&refused.body["status"], &refused.body["failure"]), (&json!("failed"), &json!("unknown_customer")));

    // It fails twice: asked what became of it, it knows nothing, and is called again.
    books.lock().unwrap().fails = vec![503, 500];
    let paid = pay(&client, "h3", &bill("20.00")).await.unwrap();
    assert_eq!(paid.body["status"], "success", "{}", paid.body);
    let calls = steps(&paid.body).iter().filter(|step| **step == "provider_called").count();
    assert_eq!(calls, 3, "{}", paid.body);

    // It takes the payment and says nothing: one call, and the status tells.
    (books.lock().unwrap().silent, books.lock().unwrap().calls) = (true, 0);
    let paid = pay(&client, "h4", &bill("21.00")).await.unwrap();
    assert_eq!((&paid.body["status"], books.lock().unwrap().calls), (&json!("success"), 1), "{}", paid.body);
    books.lock().unwrap().silent = false;

    // It works on it, and calls back.
    books.lock().unwrap().pending = true;
    let asked = client.post("payments", "h5", bill("22.00")).await;
    let id = id_of(&asked);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(payment(&client, &id).await["status"], "pending");
    let forged = call_back(&client, &id, &accepted("22.00"), b"another secret of 16 bytes").await;
    assert_eq!((forged.status, forged.code()), (403, "signature_invalid"));
    let unknown = call_back(&client, "0190a5d4-7c1e-7000-8000-000000000001", &accepted("22.00"), SECRET).await;
    assert_eq!((unknown.status, unknown.code()), (404, "payment_not_found"));
    let malformed = call_back(&client, &id, "{}", SECRET).await;
    assert_eq!((malformed.status, malformed.code()), (400, "field_invalid"));
    for _ in 0..2 {
        let taken = call_back(&client, &id, &accepted("22.00"), SECRET).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
    }
    assert_eq!(settled(&client, &id).await["status"], "success");
    // Too late, and something else: on record, and no money moves.
    let refused = json!({ "status": "refused", "code": "late" }).to_string();
    assert_eq!(call_back(&client, &id, &refused, SECRET).await.status, 200);
    let found = payment(&client, &id).await;
    assert_eq!((&found["status"], steps(&found).last().copied()), (&json!("success"), Some("contradicted")), "{found}");
    // Another amount while the money is held: parked.
    let asked = client.post("payments", "h6", bill("23.00")).await;
    let id = id_of(&asked);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(call_back(&client, &id, &accepted("22.99"), SECRET).await.status, 200);
    assert_eq!(payment(&client, &id).await["parked"]["code"], "provider_amount_differs");
    // A late answer that fits ends it all the same.
    assert_eq!(call_back(&client, &id, &accepted("23.00"), SECRET).await.status, 200);
    assert_eq!(settled(&client, &id).await["status"], "success");
    books.lock().unwrap().pending = false;

    // What can't be understood is no answer, and is parked after three tries.
    let parked = pay(&client, "h7", &bill("14.00")).await.unwrap();
    assert_eq!(parked.body["parked"]["code"], "provider_malformed", "{}", parked.body);
    assert_eq!(held(&client, "ada").await, 1);
    // 1000 - 121.50 - 21 - 22 - 23 - 24: balances count what is posted, not what is held.
    assert_eq!(client.balance("ada").await, "788.50");
    assert!(server.terminate().success());
    verify(&payer.data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_is_left_alone_and_its_payments_wait_or_are_canceled() {
    // Nobody listens there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let payer = payer(&url);
    let (server, client) = payer.furnished(&[], "1000.00").await;
    let first = client.post("payments", "d1", bill("20.00")).await;
    let second = client.post("payments", "d2", bill("20.00")).await;
    let is_open = || server.log.lock().unwrap().iter().any(|line| line.contains("left alone"));
    for _ in 0..400 {
        if is_open() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_open(), "the breaker never opened");
    // One that comes now waits with its money held, and can be canceled, as nobody was called.
    let third = client.post("payments", "d3", bill("20.00")).await;
    let id = id_of(&third);
    assert_eq!(steps(&payment(&client, &id).await), ["requested", "hold_placed"]);
    for _ in 0..2 {
        let cancel = client.post(&format!("payments/{id}/cancel"), "", json!({ "reason": "too slow" })).await;
        assert_eq!(cancel.status, 202, "{}", cancel.body);
        assert_eq!(settled(&client, &id).await["status"], "canceled");
    }
    for asked in [&first, &second] {
        let cancel = client.post(&format!("payments/{}/cancel", id_of(asked)), "", json!({})).await;
        assert_eq!(cancel.code(), "payment_not_cancelable", "{}", cancel.body);
    }
    assert_eq!((client.balance("ada").await.as_str(), held(&client, "ada").await), ("1000.00", 2));
    assert!(server.terminate().success());
    verify(&payer.data);
}
