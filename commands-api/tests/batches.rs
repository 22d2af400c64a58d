//! Batches over a real book: a verdict for each item in its place, and nothing at all on record when one item is malformed
//! or forbidden.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;

use commands_api::{ApiState, Budgets, router};
use common::{ADMIN, ANNA, Answered, House, NOON, READER, Script, Scripted, ask, parts};
use event_schemas::Sequence;
use event_schemas::bounds::{BATCH_BODY_MAX_BYTES, BATCH_MAX_COMMANDS, BODY_MAX_BYTES};
use ledger_core::ports::{Answer, CommandSink as _, SubmitError, Verdict};
use serde_json::{Value, json};

const BATCHES: &str = "/v1/books/1/batches";

fn transfer(key: &str, amount: &str) -> Value {
    json!({"type": "transfer", "idempotency_key": key, "from": "anna:eur", "to": "boris:eur", "amount": amount,
           "currency": "EUR"})
}

async fn post(house: &mut House, letter: char, items: &[Value]) -> Answered {
    post_text(house, letter, json!({"items": items}).to_string()).await
}

async fn post_text(house: &mut House, letter: char, body: String) -> Answered {
    let answered = ask(&house.router, "POST", BATCHES).key(letter).body(body).send().await;
    house.catch_up();
    answered
}

fn results(answered: &Answered) -> &Vec<Value> {
    answered.expect(200, "");
    answered.body["results"].as_array().unwrap()
}

fn head(house: &House) -> u64 {
    house.engine.status().durable.0
}

#[tokio::test]
async fn every_item_has_a_verdict_of_its_own_in_its_place() {
    let mut house = House::furnished().await;
    let account = |kind: &str, key: &str| json!({"type": kind, "idempotency_key": key, "account": "new:eur"});
    let cash = |kind: &str, key: &str, amount: &str| json!({"type": kind, "idempotency_key": key, "account": "new:eur", "amount": amount, "currency": "EUR"});
    let posting =
        |account: &str, side: &str| json!({"account": account, "side": side, "amount": "1.00", "currency": "EUR"});
    let items = [
        json!({"type": "open_account", "idempotency_key": "o", "code": "new:eur", "kind": "liability", "currency": "EUR"}),
        cash("top_up", "t", "10.00"),
        transfer("a", "30.00"),
        transfer("b", "70.01"),
        cash("withdrawal", "w", "10.00"),
        json!({"type": "entry", "id": "0190a5d4-7c1e-7000-8000-000000000001",
               "postings": [posting("anna:eur", "debit"), posting("boris:eur", "credit")]}),
        account("freeze_account", "f"),
        account("freeze_account", "f"),
        account("unfreeze_account", "u"),
        account("close_account", "c"),
        cash("top_up", "t2", "1.00"),
        transfer("a", "31.00"),
    ];
    let answered = post(&mut house, ADMIN, &items).await;
    let results = results(&answered);
    let told: Vec<_> =
        results.iter().map(|one| (one["status"].as_u64().unwrap(), one["code"].as_str().unwrap_or(""))).collect();
    let done = (201, "");
    let expected = [
        done,
        done,
        done,
        (422, "insufficient_funds"),
        done,
        done,
        done,
        done,
        done,
        done,
        (422, "account_closed"),
        (422, "idempotency_conflict"),
    ];
    assert_eq!(told, expected, "{}", answered.body);
    assert_eq!(results[7]["sequence"], results[6]["sequence"], "an item given twice is one command");
    assert_eq!((&results[7]["replayed"], &results[6]["replayed"]), (&json!(true), &Value::Null));
    assert!(results[0]["account"].is_string());
    assert_eq!(results[5]["command_id"], "0190a5d4-7c1e-7000-8000-000000000001");
    assert_eq!(results[3]["errors"][0]["pointer"], "#/items/3/amount");
    assert_eq!(results[3]["observed"]["available_minor"], "7000");
    assert_eq!(results[11]["errors"][0]["pointer"], "#/items/11/amount");
    let recorded: Vec<_> = results.iter().filter_map(|one| one["sequence"].as_u64()).collect();
    assert_eq!(recorded.len(), results.len());
    assert_eq!(house.balance("anna:eur").await, "69.00");
    assert_eq!(house.balance("boris:eur").await, "131.00");
    assert_eq!(house.balance("new:eur").await, "0.00");

    // The whole of it again: the same verdicts, and nothing new.
    let before = head(&house);
    let again = post(&mut house, ADMIN, &items).await;
    for (first, again) in results.iter().zip(self::results(&again)) {
        assert_eq!(first["sequence"], again["sequence"]);
        assert_eq!(first["code"], again["code"]);
    }
    assert_eq!(head(&house), before);
}

#[tokio::test]
async fn a_key_is_the_same_command_alone_and_in_a_batch() {
    let mut house = House::furnished().await;
    let first = post(&mut house, ADMIN, &[transfer("k", "5.00")]).await;
    let body = r#"{"from":"anna:eur","to":"boris:eur","amount":"5.00","currency":"EUR"}"#;
    let path = "/v1/books/1/transfers";
    let alone = ask(&house.router, "POST", path).key(ADMIN).idempotent("k").body(body).send().await;
    alone.expect(201, "");
    assert_eq!(alone.header("idempotency-replayed"), "true");
    assert_eq!(alone.body["sequence"], results(&first)[0]["sequence"]);
    assert_eq!(house.balance("anna:eur").await, "95.00");
}

#[tokio::test]
async fn one_bad_item_refuses_the_batch_and_is_named() {
    let mut house = House::furnished().await;
    let with = |changes: Value| {
        let mut item = transfer("bad", "1.00");
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(item.as_object_mut().unwrap().remove(name)),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    item[name] = value.clone();
                }
            }
        }
        item
    };
    let (trial, before) = (house.trial_balance().await, head(&house));
    for (bad, status, code, pointer) in [
        (with(json!({"amount": "0"})), 422, "amount_not_positive", "#/items/1/amount"),
        (with(json!({"amount": 1})), 400, "field_invalid", "#/items/1/amount"),
        (with(json!({"amount": null})), 400, "missing_field", "#/items/1/amount"),
        (with(json!({"limit": "1"})), 400, "unknown_field", "#/items/1/limit"),
        (with(json!({"currency": "XXX"})), 422, "currency_unknown", "#/items/1/currency"),
        (with(json!({"type": null})), 400, "missing_field", "#/items/1/type"),
        (with(json!({"type": 7})), 400, "field_invalid", "#/items/1/type"),
        (with(json!({"type": "gift"})), 400, "field_invalid", "#/items/1/type"),
        (with(json!({"idempotency_key": null})), 400, "idempotency_key_missing", "#/items/1"),
        (with(json!({"idempotency_key": ""})), 400, "idempotency_key_invalid", "#/items/1/idempotency_key"),
        (with(json!({"idempotency_key": "ä"})), 400, "idempotency_key_invalid", "#/items/1/idempotency_key"),
        (with(json!({"idempotency_key": 7})), 400, "field_invalid", "#/items/1/idempotency_key"),
        (with(json!({"id": "0190a5d4-7c1e-7000-8000-000000000001"})), 400, "idempotency_key_invalid", "#/items/1"),
        (with(json!({"reference": "x".repeat(BODY_MAX_BYTES)})), 413, "body_too_large", "#/items/1"),
        (json!(7), 400, "field_invalid", "#/items/1"),
        (
            json!({"type": "entry", "idempotency_key": "e", "postings": [
                {"account": "anna:eur", "side": "debit", "amount": "1", "currency": "EUR"},
                {"account": "boris:eur", "side": "left", "amount": "1", "currency": "EUR"}]}),
            400,
            "field_invalid",
            "#/items/1/postings/1/side",
        ),
    ] {
        let answered = post(&mut house, ADMIN, &[transfer("good", "1.00"), bad.clone()]).await;
        answered.expect(status, code);
        assert_eq!(answered.pointer(), pointer, "{bad}");
        assert_eq!(head(&house), before, "{bad}");
    }
    let twice = r#"{"items":[{"type":"transfer","idempotency_key":"k","from":"anna:eur","to":"boris:eur","amount":"1","amount":"2","currency":"EUR"}]}"#;
    let answered = post_text(&mut house, ADMIN, twice.into()).await;
    assert_eq!(answered.expect(400, "field_invalid").pointer(), "#/items/0/amount");
    for (body, status, code, pointer) in [
        (r#"{"items":[]}"#, 422, "batch_out_of_bounds", "#/items"),
        (r#"{"items":7}"#, 400, "field_invalid", "#/items"),
        ("{}", 400, "missing_field", "#/items"),
        (r#"{"items":[{}],"linked":true}"#, 400, "missing_field", "#/items/0/type"),
        (r#"{"items":[{}],"linked":"yes"}"#, 400, "field_invalid", "#/linked"),
        (r#"{"items":[{}],"atomic":true}"#, 400, "unknown_field", "#/atomic"),
        (r#"{"items":["#, 400, "invalid_json", ""),
    ] {
        let answered = post_text(&mut house, ADMIN, body.into()).await;
        assert_eq!(answered.expect(status, code).pointer(), pointer, "{body}");
    }
    let long = vec![transfer("k", "0.01"); BATCH_MAX_COMMANDS + 1];
    assert_eq!(post(&mut house, ADMIN, &long).await.expect(422, "batch_out_of_bounds").pointer(), "#/items");
    post_text(&mut house, ADMIN, "x".repeat(BATCH_BODY_MAX_BYTES + 1)).await.expect(413, "body_too_large");
    let body = json!({"items": [transfer("k", "1.00")]}).to_string();
    let keyed = ask(&house.router, "POST", BATCHES).key(ADMIN).idempotent("whole").body(body).send().await;
    keyed.expect(400, "idempotency_key_invalid");
    assert_eq!(head(&house), before);
    assert_eq!(house.trial_balance().await, trial);
}

#[tokio::test]
async fn the_policy_rules_on_each_item() {
    let mut house = House::furnished().await;
    let before = head(&house);
    let theirs = json!({"type": "transfer", "idempotency_key": "t", "from": "boris:eur", "to": "anna:eur",
                        "amount": "1.00", "currency": "EUR"});
    let minting = json!({"type": "top_up", "idempotency_key": "m", "account": "anna:eur", "amount": "1.00",
                         "currency": "EUR"});
    for bad in [theirs, minting] {
        let answered = post(&mut house, ANNA, &[transfer("own", "1.00"), bad]).await;
        assert_eq!(answered.expect(403, "forbidden").pointer(), "#/items/1");
    }
    assert_eq!(
        post(&mut house, READER, &[transfer("r", "1.00")]).await.expect(403, "forbidden").pointer(),
        "#/items/0"
    );
    assert_eq!(head(&house), before);
    assert_eq!(results(&post(&mut house, ANNA, &[transfer("own", "1.00")]).await)[0]["status"], 201);
}

#[tokio::test]
async fn a_full_batch_is_one_submission() {
    let mut house = House::furnished().await;
    let items: Vec<_> = (0..BATCH_MAX_COMMANDS).map(|at| transfer(&format!("k{at}"), "0.01")).collect();
    let answered = post(&mut house, ADMIN, &items).await;
    assert!(results(&answered).iter().all(|one| one["status"] == 201));
    assert_eq!(house.balance("anna:eur").await, "18.10");
}

#[tokio::test]
async fn each_refusal_counts_and_a_fault_is_of_the_whole() {
    let mut house = House::with(|parts| parts.budgets = Budgets { rejections_burst: 3, rejections_per_second: 0 });
    let items: Vec<_> = (0..3).map(|at| transfer(&format!("k{at}"), "1.00")).collect();
    let answered = post(&mut house, ADMIN, &items).await;
    assert!(results(&answered).iter().all(|one| one["code"] == "account_not_found"));
    post(&mut house, ADMIN, &items).await.expect(429, "rejection_budget_spent");

    let one =
        || Answer::Recorded { verdict: Verdict::Accepted, sequence: Sequence(7), recorded_at: NOON, replayed: false };
    for (script, status, code) in [
        (Script::Refuse(SubmitError::Busy { retry_after_ms: 1 }), 503, "engine_busy"),
        (Script::Refuse(SubmitError::BatchSize), 422, "batch_out_of_bounds"),
        (Script::Answer(one()), 500, "internal"),
        (Script::Drop, 503, "writer_stopped"),
    ] {
        let router = router(ApiState::new(parts(Scripted::of(vec![script]), None)));
        let body = json!({"items": items}).to_string();
        let answered = ask(&router, "POST", BATCHES).key(ADMIN).body(body).send().await;
        answered.expect(status, code);
    }
    let scripted = Scripted::of(Vec::new());
    let router = router(ApiState::new(parts(Arc::<Scripted>::clone(&scripted), None)));
    let body = json!({"items": [transfer("k", "1.00")]}).to_string();
    ask(&router, "POST", BATCHES).key(ADMIN).body(body).send().await.expect(200, "");
}
