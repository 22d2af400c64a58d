//! Dry runs over a real book: what is told is what the command then gets, nothing is recorded, and nobody is shown what a
//! query would not show it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value, missing_docs)]

mod common;

use std::sync::Arc;

use commands_api::{ApiState, Budgets, router};
use common::{ADMIN, ANNA, Answered, House, READER, Script, Scripted, WRITER, ask, parts};
use ledger_core::ports::{EngineFault, SubmitError};
use serde_json::{Value, json};

const HOLD: &str = "0190a5d4-7c1e-7000-8000-000000000001";

fn transfer(amount: &str, more: Value) -> String {
    let mut body = json!({"from": "anna:eur", "to": "boris:eur", "amount": amount, "currency": "EUR"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

/// The balances that a dry run tells of, by account.
fn balances(expected: &Value) -> Vec<(String, String, String, String)> {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or("null").to_owned();
    let accounts = expected["accounts"].as_array().unwrap().iter();
    let told = |of: &Value| ["account", "balance", "pending_debits", "available"].map(|name| text(of, name));
    accounts.map(|of| told(of).into()).collect()
}

/// The same from the read models.
async fn balance(house: &House, account: &str) -> (String, String, String, String) {
    let shown = house.get(ADMIN, &format!("accounts/{account}/balance")).await.expect(200, "").body.clone();
    ["account", "balance", "pending_debits", "available"].map(|name| shown[name].as_str().unwrap().to_owned()).into()
}

#[tokio::test]
async fn what_is_told_is_what_the_command_then_gets() {
    let mut house = House::furnished().await;
    let at = house.engine_head();
    let body = transfer("30.00", json!({"fee": "0.50"}));
    let dry = house.dry(ADMIN, "transfers", &body).await;
    dry.expect(200, "");
    assert_eq!(dry.body["dry_run"], true);
    assert_eq!((&dry.body["status"], &dry.body["verdict"]), (&json!(201), &json!("accepted")));
    assert_eq!(dry.body["at_sequence"], at);
    assert_eq!(dry.body["at_time"], "2026-11-21T12:00:00.000000Z");
    assert_eq!(dry.body["fee"], json!({"amount": "0.50", "currency": "EUR"}));
    assert_eq!(dry.body["limits"], json!([]));
    assert!(dry.body.get("sequence").is_none() && dry.body.get("recorded_at").is_none(), "nothing is on record");
    house.post(ADMIN, "transfers", &body).await.expect(201, "");
    let told = balances(&dry.body);
    assert_eq!(told.len(), 3);
    for account in ["anna:eur", "boris:eur"] {
        assert!(told.contains(&balance(&house, account).await), "{account}: {told:?}");
    }
    assert!(told.iter().any(|of| of.1 == "0.50"), "and the account of fees: {told:?}");

    // A fee that is not named is left to the rule, and there is none.
    let dry = house.dry(ADMIN, "transfers", &transfer("1.00", json!({}))).await;
    assert_eq!(dry.body["fee"], json!({"amount": "0.00", "currency": "EUR", "rule": 0}));

    let body = json!({"id": HOLD, "account": "anna:eur", "amount": "60.00", "currency": "EUR"}).to_string();
    let at_hold = |house: &House, dry_run: &str| {
        ask(&house.router, "POST", &format!("/v1/books/1/holds{dry_run}")).key(ADMIN).body(body.clone()).send()
    };
    let dry = at_hold(&house, "?dry_run=true").await;
    assert_eq!(dry.expect(200, "").body["hold"], HOLD);
    assert!(dry.body.get("fee").is_none());
    at_hold(&house, "?dry_run=false").await.expect(201, "");
    house.catch_up();
    assert_eq!(balances(&dry.body), [balance(&house, "anna:eur").await]);

    let open = r#"{"code":"new:eur","kind":"liability","currency":"EUR"}"#;
    let dry = house.dry(ADMIN, "accounts", open).await;
    let opened = house.post(ADMIN, "accounts", open).await;
    assert_eq!(dry.body["account"], opened.expect(201, "").body["account"]);
}

#[tokio::test]
async fn every_command_has_a_dry_run() {
    let mut house = House::furnished().await;
    let hold = json!({"id": HOLD, "account": "anna:eur", "amount": "60.00", "currency": "EUR"}).to_string();
    ask(&house.router, "POST", "/v1/books/1/holds").key(ADMIN).body(hold).send().await.expect(201, "");
    let paid = house.post(ADMIN, "transfers", &transfer("1.00", json!({}))).await.body["command_id"].clone();
    let paid = paid.as_str().unwrap();
    let cash = r#"{"account":"anna:eur","amount":"1.00","currency":"EUR"}"#;
    let posting =
        |account: &str, side: &str| json!({"account": account, "side": side, "amount": "1.00", "currency": "EUR"});
    let entry = json!({"postings": [posting("anna:eur", "debit"), posting("boris:eur", "credit")]}).to_string();
    let mut asked = vec![
        ("transfers".to_owned(), transfer("1.00", json!({}))),
        ("top-ups".into(), cash.into()),
        ("withdrawals".into(), cash.into()),
        ("entries".into(), entry),
        ("holds".into(), cash.into()),
        (format!("holds/{HOLD}/capture"), r#"{"to":"boris:eur","amount":"1.00","currency":"EUR"}"#.into()),
        (format!("holds/{HOLD}/void"), String::new()),
        (format!("entries/{paid}/reverse"), String::new()),
        ("accounts".into(), r#"{"code":"new:eur","kind":"asset","currency":"EUR"}"#.into()),
        ("accounts/boris:eur/freeze".into(), String::new()),
    ];
    for (path, body) in &asked {
        let dry = house.dry(ADMIN, path, body).await;
        assert_eq!(dry.expect(200, "").body["verdict"], "accepted", "{path} {}", dry.body);
        assert_ne!(dry.body["accounts"], json!([]), "{path}");
    }
    house.post(ADMIN, "accounts/boris:eur/freeze", "").await.expect(201, "");
    asked = vec![
        ("accounts/boris:eur/unfreeze".to_owned(), String::new()),
        ("accounts/boris:eur/close".into(), String::new()),
    ];
    for ((path, body), verdict) in asked.iter().zip(["accepted", "rejected"]) {
        assert_eq!(house.dry(ADMIN, path, body).await.expect(200, "").body["verdict"], verdict);
    }
}

#[tokio::test]
async fn an_expected_refusal_is_the_problem_that_it_would_be() {
    let mut house = House::furnished().await;
    let body = transfer("100.01", json!({}));
    let dry = house.dry(ADMIN, "transfers", &body).await;
    assert_eq!((&dry.expect(200, "").body["status"], &dry.body["verdict"]), (&json!(422), &json!("rejected")));
    assert!(dry.body.get("accounts").is_none() && dry.body.get("fee").is_none());
    let mut real = house.post(ADMIN, "transfers", &body).await.expect(422, "insufficient_funds").body.clone();
    let mut told = dry.body["problem"].clone();
    assert_eq!(told["errors"][0]["pointer"], "#/amount");
    for name in ["sequence", "recorded_at", "command_id"] {
        assert_eq!(told.get(name).is_some(), name == "command_id", "{told}");
        real[name] = Value::Null;
        told[name] = Value::Null;
    }
    assert_eq!(told, real);
    // What is wrong by shape is so here, too.
    house.dry(ADMIN, "transfers", &transfer("0", json!({}))).await.expect(422, "amount_not_positive");
    house.dry(ADMIN, "transfers", "{").await.expect(400, "invalid_json");
    house.dry(READER, "transfers", &body).await.expect(403, "forbidden");
    house.dry(ANNA, "transfers", &transfer("1.00", json!({"fee": "0"}))).await.expect(403, "forbidden");
    let keyless = ask(&house.router, "POST", "/v1/books/1/transfers?dry_run=true").key(ADMIN).body(body).send().await;
    keyless.expect(400, "idempotency_key_missing");
    for query in
        ["dry_run", "dry_run=", "dry_run=yes", "dry_run=TRUE", "dry_run=true&dry_run=false", "dryrun=true", "x"]
    {
        let path = format!("transfers?{query}");
        house.post(ADMIN, &path, &transfer("1.00", json!({}))).await.expect(400, "query_invalid");
    }
    assert_eq!(house.balance("anna:eur").await, "100.00");
}

#[tokio::test]
async fn a_known_command_is_told_its_verdict() {
    let mut house = House::furnished().await;
    let post = |query: &'static str, body: String| {
        let path = format!("/v1/books/1/transfers{query}");
        ask(&house.router, "POST", &path).key(ADMIN).idempotent("once").body(body).send()
    };
    let first = post("", transfer("30.00", json!({}))).await;
    let dry = post("?dry_run=true", transfer("30.00", json!({}))).await;
    assert_eq!(dry.expect(200, "").body["sequence"], first.expect(201, "").body["sequence"]);
    assert_eq!((&dry.body["replayed"], &dry.body["verdict"]), (&json!(true), &json!("accepted")));
    let dry = post("?dry_run=true", transfer("31.00", json!({}))).await;
    assert_eq!(dry.expect(200, "").body["status"], 422);
    assert!(dry.body.get("verdict").is_none() && dry.body.get("replayed").is_none());
    assert_eq!(dry.body["problem"]["code"], "idempotency_conflict");
    assert_eq!(dry.body["problem"]["errors"][0]["pointer"], "#/amount");
    assert_eq!(dry.body["problem"]["sequence"], first.body["sequence"]);
    house.catch_up();
    let refused = house.post(ADMIN, "transfers", &transfer("500.00", json!({"id": HOLD}))).await;
    refused.expect(400, "idempotency_key_invalid");
    let by_id = |query: &str| {
        let path = format!("/v1/books/1/transfers{query}");
        ask(&house.router, "POST", &path).key(ADMIN).body(transfer("500.00", json!({"id": HOLD}))).send()
    };
    let refused = by_id("").await;
    let dry = by_id("?dry_run=true").await;
    assert_eq!(dry.expect(200, "").body["problem"], refused.expect(422, "insufficient_funds").body);
    assert_eq!((&dry.body["replayed"], &dry.body["verdict"]), (&json!(true), &json!("rejected")));
}

#[tokio::test]
async fn nobody_is_shown_what_a_query_would_not_show() {
    let mut house = House::furnished().await;
    let owned = |answered: &Answered| -> Vec<_> { balances(&answered.body).into_iter().map(|(id, ..)| id).collect() };
    let anna = balance(&house, "anna:eur").await.0;
    let dry = house.dry(ANNA, "transfers", &transfer("30.00", json!({}))).await;
    assert_eq!(dry.expect(200, "").body["verdict"], "accepted");
    assert_eq!(owned(&dry), [anna], "the receiver's balance is the receiver's");
    let open = r#"{"code":"anna:more","kind":"liability","currency":"EUR","owner":"client:anna"}"#;
    house.post(ADMIN, "accounts", open).await.expect(201, "");
    let dry = house.dry(ANNA, "transfers", &transfer("30.00", json!({"to": "anna:more"}))).await;
    assert_eq!(owned(&dry).len(), 2, "but both are shown if both are her own");
    house
        .dry(ANNA, "transfers", &transfer("1.00", json!({"from": "boris:eur", "to": "anna:eur"})))
        .await
        .expect(403, "forbidden");
    // A key that may write and not read is told the verdict alone.
    let dry = house.dry(WRITER, "transfers", &transfer("30.00", json!({}))).await;
    assert_eq!(dry.expect(200, "").body["verdict"], "accepted");
    assert!(dry.body.get("accounts").is_none() && dry.body.get("limits").is_none(), "{}", dry.body);
}

#[tokio::test]
async fn an_expected_refusal_costs_as_much_as_a_refusal() {
    let spare = Budgets { rejections_burst: 3, rejections_per_second: 0 };
    let mut house = House::with(|parts| parts.budgets = spare).furnish().await;
    let batch = |amounts: &[&str]| {
        let item = |(at, amount): (usize, &&str)| {
            let mut item: Value = serde_json::from_str(&transfer(amount, json!({"type": "transfer"}))).unwrap();
            item["idempotency_key"] = format!("{at}").into();
            item
        };
        json!({"items": amounts.iter().enumerate().map(item).collect::<Vec<_>>()}).to_string()
    };
    for _ in 0..5 {
        house.dry(ADMIN, "transfers", &transfer("1.00", json!({}))).await.expect(200, "");
    }
    house.dry(ADMIN, "transfers", &transfer("500.00", json!({}))).await.expect(200, "");
    let asked = |body| ask(&house.router, "POST", "/v1/books/1/batches?dry_run=true").key(ADMIN).body(body).send();
    let dry = asked(batch(&["1.00", "500.00", "600.00"])).await;
    assert_eq!(dry.expect(200, "").body["results"][2]["problem"]["code"], "insufficient_funds");
    asked(batch(&["1.00"])).await.expect(429, "rejection_budget_spent");
    house.dry(ADMIN, "transfers", &transfer("1.00", json!({}))).await.expect(429, "rejection_budget_spent");
    house.post(ADMIN, "transfers", &transfer("1.00", json!({}))).await.expect(429, "rejection_budget_spent");
}

#[tokio::test]
async fn the_items_of_a_batch_are_told_one_after_the_other() {
    let mut house = House::furnished().await;
    let item = |key: &str, amount: &str| {
        let mut item: Value = serde_json::from_str(&transfer(amount, json!({"type": "transfer"}))).unwrap();
        item["idempotency_key"] = key.into();
        item
    };
    let dry = |linked: bool, items: Vec<Value>| {
        let body = json!({"items": items, "linked": linked}).to_string();
        ask(&house.router, "POST", "/v1/books/1/batches?dry_run=true").key(ADMIN).body(body).send()
    };
    let head = house.engine_head();
    let told = dry(false, vec![item("a", "60.00"), item("b", "60.00"), item("c", "40.00")]).await;
    let results = told.expect(200, "").body["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|one| one["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 422, 201]);
    assert_eq!(results[1]["problem"]["errors"][0]["pointer"], "#/items/1/amount");
    assert_eq!(results[1]["problem"]["observed"]["available_minor"], "4000", "it comes after the first");
    assert_eq!(balances(&results[2])[0].1, "0.00");
    assert!(told.body.get("accepted").is_none());

    let told = dry(true, vec![item("a", "60.00"), item("b", "60.00"), item("c", "40.00")]).await;
    assert_eq!(told.expect(200, "").body["accepted"], false);
    let codes: Vec<_> =
        told.body["results"].as_array().unwrap().iter().map(|one| one["problem"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["linked_item_refused", "insufficient_funds", "linked_item_refused"]);
    let told = dry(true, vec![item("a", "60.00"), item("b", "40.00")]).await;
    assert_eq!(told.expect(200, "").body["accepted"], true);
    assert_eq!(balances(&told.body["results"][1])[0].1, "0.00");
    for linked in [false, true] {
        let twice = dry(linked, vec![item("a", "1.00"), item("b", "1.00"), item("a", "1.00")]).await;
        assert_eq!(twice.expect(422, "command_id_repeated").pointer(), "#/items/2");
    }
    assert_eq!(house.engine_head(), head);
    house.catch_up();
    assert_eq!(house.balance("anna:eur").await, "100.00");
}

#[tokio::test]
async fn a_fault_of_the_engine_is_one_here_too() {
    for (script, status, code) in [
        (Script::Refuse(SubmitError::Busy { retry_after_ms: 1 }), 503, "engine_busy"),
        (Script::Refuse(SubmitError::LinkedBatchSize), 422, "batch_out_of_bounds"),
        (Script::Fault(EngineFault::Stopped), 503, "writer_stopped"),
        (Script::Nothing, 500, "internal"),
        (Script::Drop, 503, "writer_stopped"),
    ] {
        let router = router(ApiState::new(parts(Scripted::of(vec![script]), None)));
        let body = transfer("1.00", json!({}));
        let path = "/v1/books/1/transfers?dry_run=true";
        ask(&router, "POST", path).key(ADMIN).idempotent("k").body(body).send().await.expect(status, code);
    }
    let sink = Scripted::of(Vec::new());
    let router = router(ApiState::new(parts(Arc::<Scripted>::clone(&sink), None)));
    let asked = ask(&router, "POST", "/v1/books/1/transfers?dry_run=true").key(ADMIN).idempotent("k");
    asked.body(transfer("1.00", json!({}))).send().await.expect(200, "");
}
