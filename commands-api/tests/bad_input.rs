//! Bad input over a real book: the status, the stable code, and that no balance moved.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{ADMIN, ANNA, House, READER, REVOKED, STRANGER, WRITER, ask};

/// Posts something bad and checks that nothing moved; `recorded` says whether the refusal is on record.
async fn unmoved(
    house: &mut House,
    path: &str,
    body: &str,
    (status, code, pointer, recorded): (u16, &str, &str, bool),
) {
    let before = house.trial_balance().await;
    let head = house.engine_head();
    let answered = house.post(ADMIN, path, body).await;
    answered.expect(status, code);
    assert_eq!(answered.pointer(), pointer, "{path} {body}");
    assert_eq!(answered.body["sequence"].is_u64(), recorded, "{path} {body}: {}", answered.body);
    assert_eq!(house.engine_head() > head, recorded, "{path} {body}");
    assert_eq!(house.trial_balance().await, before, "{path} {body}");
    assert_eq!(house.balance("anna:eur").await, "100.00");
    assert_eq!(house.balance("boris:eur").await, "100.00");
}

fn transfer(with: &str) -> String {
    let mut body: serde_json::Value =
        serde_json::from_str(r#"{"from":"anna:eur","to":"boris:eur","amount":"10.00","currency":"EUR"}"#).unwrap();
    let changes: serde_json::Value = serde_json::from_str(with).unwrap();
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test]
async fn transfers() {
    let mut house = House::furnished().await;
    for (with, expected) in [
        // By the book: on record.
        (r#"{"to":"nobody"}"#, (404, "account_not_found", "#/to", true)),
        (r#"{"from":"0190a5d4-7c1e-7000-8000-000000000001"}"#, (404, "account_not_found", "#/from", true)),
        (r#"{"currency":"USD"}"#, (422, "currency_mismatch", "#/currency", true)),
        (r#"{"amount":"100.01"}"#, (422, "insufficient_funds", "#/amount", true)),
        (r#"{"amount":"100.00","fee":"0.01"}"#, (422, "insufficient_funds", "#/amount", true)),
        (r#"{"to":"anna:eur"}"#, (422, "same_account", "#/to", true)),
        (r#"{"effective_on":"1899-12-31"}"#, (422, "effective_date_out_of_range", "#/effective_on", true)),
        (r#"{"effective_on":"2028-01-01"}"#, (422, "effective_date_out_of_range", "#/effective_on", true)),
        // By shape: not on record.
        (r#"{"amount":"0.00"}"#, (422, "amount_not_positive", "#/amount", false)),
        (r#"{"amount":"-5.00"}"#, (422, "amount_not_positive", "#/amount", false)),
        (r#"{"amount":"1.001"}"#, (422, "amount_too_precise", "#/amount", false)),
        (r#"{"amount":"ten"}"#, (422, "amount_not_a_number", "#/amount", false)),
        (r#"{"amount":"99999999999999999999999999"}"#, (422, "amount_too_large", "#/amount", false)),
        (r#"{"amount":10}"#, (400, "field_invalid", "#/amount", false)),
        (r#"{"fee":"-0.01"}"#, (422, "amount_not_positive", "#/fee", false)),
        (r#"{"currency":"EURO"}"#, (422, "currency_unknown", "#/currency", false)),
        (r#"{"effective_on":"2026-02-30"}"#, (422, "date_invalid", "#/effective_on", false)),
        (r#"{"status":"done"}"#, (400, "unknown_field", "#/status", false)),
        (r#"{"rate":"2"}"#, (400, "unknown_field", "#/rate", false)),
        (r#"{"from":"an account"}"#, (422, "account_code_invalid", "#/from", false)),
        (r#"{"reference":"card 4111 1111 1111 1111"}"#, (422, "card_number_in_text", "#/reference", false)),
        (r#"{"reference":"two\nlines"}"#, (422, "text_invalid", "#/reference", false)),
    ] {
        unmoved(&mut house, "transfers", &transfer(with), expected).await;
    }
    let long = transfer(&format!(r#"{{"reference":"{}"}}"#, "x".repeat(257)));
    unmoved(&mut house, "transfers", &long, (422, "text_too_long", "#/reference", false)).await;
    let large = transfer(&format!(r#"{{"reference":"{}"}}"#, "x".repeat(256 * 1024)));
    unmoved(&mut house, "transfers", &large, (413, "body_too_large", "", false)).await;
    unmoved(&mut house, "transfers", "{", (400, "invalid_json", "", false)).await;
    unmoved(&mut house, "transfers", "{}", (400, "missing_field", "#/from", false)).await;
}

#[tokio::test]
async fn closed_and_frozen_accounts() {
    let mut house = House::furnished().await;
    house.post(ADMIN, "accounts/boris:eur/freeze", r#"{"reason":"court order"}"#).await.expect(201, "");
    unmoved(&mut house, "transfers", &transfer("{}"), (422, "account_frozen", "#/to", true)).await;
    unmoved(&mut house, "accounts/anna:eur/unfreeze", "{}", (422, "account_not_frozen", "", true)).await;
    house.post(ADMIN, "accounts/boris:eur/unfreeze", "").await.expect(201, "");
    unmoved(&mut house, "accounts/boris:eur/close", "{}", (422, "account_not_empty", "", true)).await;

    let body = r#"{"code":"empty:eur","kind":"liability","currency":"EUR"}"#;
    house.post(ADMIN, "accounts", body).await.expect(201, "");
    house.post(ADMIN, "accounts/empty:eur/close", "{}").await.expect(201, "");
    unmoved(&mut house, "transfers", &transfer(r#"{"to":"empty:eur"}"#), (422, "account_closed", "#/to", true)).await;
    let cash = r#"{"account":"empty:eur","amount":"1.00","currency":"EUR"}"#;
    unmoved(&mut house, "top-ups", cash, (422, "account_closed", "#/account", true)).await;
    unmoved(&mut house, "accounts/none%20such/freeze", "{}", (404, "account_not_found", "", false)).await;
}

#[tokio::test]
async fn cash_and_entries() {
    let mut house = House::furnished().await;
    let over = r#"{"account":"anna:eur","amount":"100.01","currency":"EUR"}"#;
    unmoved(&mut house, "withdrawals", over, (422, "insufficient_funds", "#/amount", true)).await;
    let zero = r#"{"account":"anna:eur","amount":"0","currency":"EUR"}"#;
    unmoved(&mut house, "top-ups", zero, (422, "amount_not_positive", "#/amount", false)).await;

    let posting = |account: &str, side: &str, amount: &str| {
        format!(r#"{{"account":"{account}","side":"{side}","amount":"{amount}","currency":"EUR"}}"#)
    };
    let entry = |postings: &[String]| format!(r#"{{"postings":[{}]}}"#, postings.join(","));
    let (debit, credit) = (posting("anna:eur", "debit", "5.00"), posting("boris:eur", "credit", "4.99"));
    let unbalanced = entry(&[debit.clone(), credit]);
    unmoved(&mut house, "entries", &unbalanced, (422, "entry_unbalanced", "#/postings", true)).await;
    let single = entry(std::slice::from_ref(&debit));
    unmoved(&mut house, "entries", &single, (422, "postings_out_of_bounds", "#/postings", false)).await;
    let many = entry(&vec![debit.clone(); 1_001]);
    unmoved(&mut house, "entries", &many, (422, "postings_out_of_bounds", "#/postings", false)).await;
    let zero = entry(&[debit.clone(), posting("boris:eur", "credit", "0.00")]);
    unmoved(&mut house, "entries", &zero, (422, "amount_not_positive", "#/postings/1/amount", false)).await;
    let unknown = entry(&[debit, posting("no one", "credit", "5.00")]);
    unmoved(&mut house, "entries", &unknown, (422, "account_code_invalid", "#/postings/1/account", false)).await;
}

#[tokio::test]
async fn accounts() {
    let mut house = House::furnished().await;
    let account = |with: &str| format!(r#"{{"kind":"liability","currency":"EUR"{with}}}"#);
    for (with, expected) in [
        (r#","code":"anna:eur""#, (409, "account_exists", "#/code", true)),
        (r#","code":"sys:anything""#, (422, "account_code_invalid", "#/code", true)),
        (r#","code":"a code""#, (422, "account_code_invalid", "#/code", false)),
        (r#","code":"0190a5d4-7c1e-7000-8000-000000000001""#, (422, "account_code_invalid", "#/code", false)),
        (r#","account":"anna:usd""#, (400, "field_invalid", "#/account", false)),
        (r#","overdraft":"-1.00""#, (422, "amount_not_positive", "#/overdraft", false)),
        (r#","overdraft":"lots""#, (422, "amount_not_a_number", "#/overdraft", false)),
        (r#","owner":"4111111111111111""#, (422, "card_number_in_text", "#/owner", false)),
        (r#","status":"open""#, (400, "unknown_field", "#/status", false)),
    ] {
        unmoved(&mut house, "accounts", &account(with), expected).await;
    }
    let kind = r#"{"kind":"savings","currency":"EUR"}"#;
    unmoved(&mut house, "accounts", kind, (400, "field_invalid", "#/kind", false)).await;
}

#[tokio::test]
async fn keys_and_scopes() {
    let mut house = House::furnished().await;
    let before = house.trial_balance().await;
    let path = "/v1/books/1/transfers";
    for header in [
        None,
        Some("Bearer"),
        Some("Bearer nonsense"),
        Some("Basic YTpi"),
        Some(&*format!("Bearer {}", common::key('z'))),
        Some(&*format!("Bearer {}", common::key(REVOKED))),
    ] {
        let mut asked = ask(&house.router, "POST", path).idempotent("k").body(transfer("{}"));
        if let Some(header) = header {
            asked = asked.header("authorization", header);
        }
        let answered = asked.send().await;
        assert_eq!(answered.expect(401, "unauthorized").header("www-authenticate"), "Bearer", "{header:?}");
    }
    house.post(READER, "transfers", &transfer("{}")).await.expect(403, "forbidden");
    house.post(WRITER, "accounts/anna:eur/freeze", "{}").await.expect(403, "forbidden");
    house.get(WRITER, "accounts/anna:eur").await.expect(403, "forbidden");
    house.post(STRANGER, "transfers", &transfer("{}")).await.expect(404, "book_not_found");
    ask(&house.router, "POST", "/v1/books/2/transfers")
        .key(ADMIN)
        .idempotent("k")
        .body(transfer("{}"))
        .send()
        .await
        .expect(404, "book_not_found");

    // A customer debits its own and nobody else's, and does nothing else.
    let from_boris = transfer(r#"{"from":"boris:eur","to":"anna:eur"}"#);
    house.post(ANNA, "transfers", &from_boris).await.expect(403, "forbidden");
    house.post(ANNA, "transfers", &transfer(r#"{"fee":"0"}"#)).await.expect(403, "forbidden");
    house.post(ANNA, "transfers", &transfer(r#"{"effective_on":"1993-01-05"}"#)).await.expect(403, "forbidden");
    house.post(ANNA, "transfers", &transfer(r#"{"from":"anna:usd"}"#)).await.expect(404, "account_not_found");
    let cash = r#"{"account":"anna:eur","amount":"1.00","currency":"EUR"}"#;
    for path in ["top-ups", "withdrawals"] {
        house.post(ANNA, path, cash).await.expect(403, "forbidden");
    }
    for path in ["accounts", "entries", "accounts/anna:eur/freeze", "accounts/anna:eur/close"] {
        house.post(ANNA, path, "{}").await.expect(403, "forbidden");
    }
    for path in ["trial-balance", "accounts/boris:eur", "accounts/boris:eur/balance", "accounts/boris:eur/statement"] {
        house.get(ANNA, path).await.expect(403, "forbidden");
    }
    assert_eq!(house.trial_balance().await, before);
}

#[tokio::test]
async fn one_identity_one_content() {
    let house = House::furnished().await;
    let post = |key: &'static str, body: String| {
        ask(&house.router, "POST", "/v1/books/1/transfers").key(ADMIN).idempotent(key).body(body).send()
    };
    let first = post("order-7", transfer("{}")).await;
    assert_eq!(first.expect(201, "").header("idempotency-replayed"), "");
    // The quoted form is the same key, and the same verdict comes back.
    let again = post("\"order-7\"", transfer("{}")).await;
    assert_eq!(again.expect(201, "").header("idempotency-replayed"), "true");
    assert_eq!(again.body, first.body);
    for (with, pointer) in [
        (r#"{"amount":"11.00"}"#, "#/amount"),
        (r#"{"to":"someone:else"}"#, "#/to"),
        (r#"{"fee":"0.10"}"#, "#/fee"),
        (r#"{"reference":"x"}"#, "#/reference"),
        (r#"{"effective_on":"2026-11-20"}"#, "#/effective_on"),
    ] {
        let conflict = post("order-7", transfer(with)).await;
        assert_eq!(conflict.expect(422, "idempotency_conflict").pointer(), pointer);
        assert_eq!(conflict.body["sequence"], first.body["sequence"]);
    }
    // A refusal is repeated too, and does not become true later.
    let refused = post("order-8", transfer(r#"{"amount":"500.00"}"#)).await;
    assert_eq!(refused.expect(422, "insufficient_funds").header("idempotency-replayed"), "");
    let again = post("order-8", transfer(r#"{"amount":"500.00"}"#)).await;
    assert_eq!(again.expect(422, "insufficient_funds").header("idempotency-replayed"), "true");
    assert_eq!(again.body, refused.body);
    // Another holder's key of the same name is another command.
    let other = ask(&house.router, "POST", "/v1/books/1/transfers")
        .key(WRITER)
        .idempotent("order-7")
        .body(transfer("{}"))
        .send()
        .await;
    assert_eq!(other.expect(201, "").header("idempotency-replayed"), "");
    // But an id in the body is one for all, and nobody gets another's verdict by it.
    let id = r#"{"id":"0190a5d4-7c1e-7000-8000-0000000000aa"}"#;
    let by_id =
        |letter: char| ask(&house.router, "POST", "/v1/books/1/transfers").key(letter).body(transfer(id)).send();
    assert_eq!(by_id(ADMIN).await.expect(201, "").body["command_id"], "0190a5d4-7c1e-7000-8000-0000000000aa");
    assert_eq!(by_id(ADMIN).await.expect(201, "").header("idempotency-replayed"), "true");
    assert_eq!(by_id(WRITER).await.expect(422, "idempotency_conflict").pointer(), "#/id");

    let without = ask(&house.router, "POST", "/v1/books/1/transfers").key(ADMIN).body(transfer("{}")).send().await;
    without.expect(400, "idempotency_key_missing");
    post("a b", transfer("{}")).await.expect(400, "idempotency_key_invalid");
    post("k", transfer(id)).await.expect(400, "idempotency_key_invalid");

    // Nobody takes the id that follows from a key which somebody else is going to use.
    let next = event_schemas::CommandId::from_idempotency_key(common::TENANT, "holder-a", "post_transfer", "order-9");
    let squatting = transfer(&format!(r#"{{"id":"{next}"}}"#));
    let refused = ask(&house.router, "POST", "/v1/books/1/transfers").key(WRITER).body(squatting).send().await;
    assert_eq!(refused.expect(400, "field_invalid").pointer(), "#/id");
    assert_eq!(post("order-9", transfer("{}")).await.expect(201, "").body["command_id"], next.to_string());
}

#[tokio::test]
async fn what_a_retry_opens_is_the_same_account() {
    let house = House::new();
    let open = |key: &'static str, body: &'static str| {
        ask(&house.router, "POST", "/v1/books/1/accounts").key(ADMIN).idempotent(key).body(body).send()
    };
    let body = r#"{"kind":"asset","currency":"EUR"}"#;
    let first = open("one", body).await;
    let again = open("one", body).await;
    assert_eq!(first.expect(201, "").body["account"], again.expect(201, "").body["account"]);
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = open("two", body).await;
    assert_ne!(other.expect(201, "").body["account"], first.body["account"]);
    open("code", r#"{"code":"a:1","kind":"asset","currency":"EUR"}"#).await.expect(201, "");
    let changed = open("code", r#"{"code":"a:2","kind":"asset","currency":"EUR"}"#).await;
    assert_eq!(changed.expect(422, "idempotency_conflict").pointer(), "#/code");
    let changed = open("code", r#"{"code":"a:1","kind":"asset","currency":"EUR","overdraft":"1"}"#).await;
    assert_eq!(changed.expect(422, "idempotency_conflict").pointer(), "#/overdraft");
}
