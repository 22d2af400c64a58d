//! Linked batches over a real book: all or nothing, which item was refused and why, and what a retry gets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use commands_api::{ApiState, router};
use common::{ADMIN, ANNA, Answered, House, Script, Scripted, ask, parts};
use event_schemas::CommandId;
use ledger_core::ports::SubmitError;
use serde_json::{Value, json};

fn transfer(key: &str, from: &str, amount: &str) -> Value {
    let to = if from == "anna:eur" { "boris:eur" } else { "anna:eur" };
    json!({"type": "transfer", "idempotency_key": key, "from": from, "to": to, "amount": amount, "currency": "EUR"})
}

async fn post(house: &mut House, letter: char, linked: bool, items: &[Value]) -> Answered {
    let body = json!({"items": items, "linked": linked}).to_string();
    let answered = ask(&house.router, "POST", "/v1/books/1/batches").key(letter).body(body).send().await;
    house.catch_up();
    answered
}

fn codes(answered: &Answered) -> Vec<&str> {
    let results = answered.expect(200, "").body["results"].as_array().unwrap();
    results.iter().map(|one| one["code"].as_str().unwrap_or("")).collect()
}

#[tokio::test]
async fn all_of_it_takes_place_in_one_block() {
    let mut house = House::furnished().await;
    let hold = "0190a5d4-7c1e-7000-8000-000000000001";
    let items = [
        json!({"type": "open_account", "idempotency_key": "o", "code": "new:eur", "kind": "liability", "currency": "EUR"}),
        json!({"type": "hold", "id": hold, "account": "anna:eur", "amount": "100.00", "currency": "EUR"}),
        json!({"type": "capture", "idempotency_key": "c", "hold": hold, "to": "new:eur", "amount": "60.00",
               "currency": "EUR", "last": true}),
        transfer("t", "anna:eur", "40.00"),
    ];
    let answered = post(&mut house, ADMIN, true, &items).await;
    assert_eq!(codes(&answered), ["", "", "", ""]);
    assert_eq!(answered.body["accepted"], true);
    let at: Vec<_> = answered.body["results"].as_array().unwrap().iter().map(|one| &one["recorded_at"]).collect();
    assert!(at.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(house.balance("new:eur").await, "60.00");
    assert_eq!(house.balance("anna:eur").await, "0.00");
    let head = house.engine_head();
    let again = post(&mut house, ADMIN, true, &items).await;
    assert_eq!(again.body["accepted"], true);
    for (first, again) in
        answered.body["results"].as_array().unwrap().iter().zip(again.body["results"].as_array().unwrap())
    {
        assert_eq!((&again["sequence"], &again["replayed"]), (&first["sequence"], &json!(true)));
    }
    assert_eq!(house.engine_head(), head);
}

#[tokio::test]
async fn one_bad_item_takes_all_with_it_and_is_named() {
    let mut house = House::furnished().await;
    let items =
        [transfer("a", "anna:eur", "30.00"), transfer("b", "boris:eur", "130.01"), transfer("c", "anna:eur", "10.00")];
    let before = house.trial_balance().await;
    let answered = post(&mut house, ADMIN, true, &items).await;
    assert_eq!(codes(&answered), ["linked_item_refused", "insufficient_funds", "linked_item_refused"]);
    assert_eq!(answered.body["accepted"], false);
    let results = answered.body["results"].as_array().unwrap();
    assert_eq!(results[1]["errors"][0]["pointer"], "#/items/1/amount");
    assert_eq!(results[1]["observed"]["available_minor"], "13000", "the item before it counts");
    for at in [0, 2] {
        assert_eq!(results[at]["observed"], json!({"item": 1, "command": results[1]["command_id"]}));
        assert_eq!(results[at]["errors"][0]["pointer"], format!("#/items/{at}"));
        assert!(results[at]["detail"].as_str().unwrap().starts_with("item 1 of the batch"));
    }
    assert!(results.iter().all(|one| one["sequence"].is_u64()), "all refusals are on record");
    assert_eq!(house.trial_balance().await, before);
    assert_eq!((house.balance("anna:eur").await, house.balance("boris:eur").await), ("100.00".into(), "100.00".into()));

    // The verdict of each is found under its id, and a retry gets it again.
    let id = results[0]["command_id"].as_str().unwrap();
    assert_eq!(house.get(ADMIN, &format!("commands/{id}")).await.body["code"], "linked_item_refused");
    let head = house.engine_head();
    let again = post(&mut house, ADMIN, true, &items).await;
    for (first, again) in results.iter().zip(again.expect(200, "").body["results"].as_array().unwrap()) {
        assert_eq!(first["sequence"], again["sequence"]);
        assert_eq!((&first["code"], &again["replayed"]), (&again["code"], &json!(true)));
    }
    assert_eq!(house.engine_head(), head);
    // Another attempt has ids of its own.
    let items = [transfer("a2", "anna:eur", "30.00"), transfer("b2", "boris:eur", "130.00")];
    assert_eq!(post(&mut house, ADMIN, true, &items).await.expect(200, "").body["accepted"], true);
    assert_eq!(house.balance("anna:eur").await, "200.00");
}

#[tokio::test]
async fn a_part_of_a_batch_or_a_batch_that_was_not_linked_is_a_conflict() {
    let mut house = House::furnished().await;
    let (a, b) = (transfer("a", "anna:eur", "1.00"), transfer("b", "anna:eur", "2.00"));
    let first = post(&mut house, ADMIN, false, &[a.clone(), b.clone()]).await;
    assert_eq!(codes(&first), ["", ""]);
    // All accepted: the same verdicts, however they were asked for.
    assert_eq!(codes(&post(&mut house, ADMIN, true, &[a.clone(), b.clone()]).await), ["", ""]);
    let more = post(&mut house, ADMIN, true, &[a.clone(), transfer("c", "anna:eur", "3.00")]).await;
    assert_eq!(codes(&more), ["idempotency_conflict"; 2]);
    assert_eq!(more.body["accepted"], false);
    assert_eq!(more.body["results"][1]["errors"][0]["pointer"], "#/items/1/id");
    let changed = post(&mut house, ADMIN, true, &[a.clone(), transfer("b", "anna:eur", "2.50")]).await;
    assert_eq!(codes(&changed), ["idempotency_conflict"; 2]);
    assert_eq!(changed.body["results"][1]["errors"][0]["pointer"], "#/items/1/amount");
    let refused = transfer("d", "anna:eur", "500.00");
    assert_eq!(codes(&post(&mut house, ADMIN, false, std::slice::from_ref(&refused)).await), ["insufficient_funds"]);
    let mixed = post(&mut house, ADMIN, true, &[a, refused]).await;
    assert_eq!(codes(&mixed), ["idempotency_conflict"; 2]);
    assert_eq!(mixed.body["results"][0]["errors"][0]["pointer"], "#/items/0");
    assert_eq!(house.balance("anna:eur").await, "97.00");
}

#[tokio::test]
async fn what_is_wrong_by_shape_forbidden_or_too_large_records_nothing() {
    let mut house = House::furnished().await;
    let head = house.engine_head();
    let good = transfer("a", "anna:eur", "1.00");
    let bad = post(&mut house, ADMIN, true, &[good.clone(), transfer("b", "anna:eur", "-1.00")]).await;
    assert_eq!(bad.expect(422, "amount_not_positive").pointer(), "#/items/1/amount");
    let twice = post(&mut house, ADMIN, true, &[good.clone(), transfer("b", "anna:eur", "1.00"), good.clone()]).await;
    assert_eq!(twice.expect(422, "command_id_repeated").pointer(), "#/items/2");
    let theirs = post(&mut house, ANNA, true, &[good, transfer("b", "boris:eur", "1.00")]).await;
    assert_eq!(theirs.expect(403, "forbidden").pointer(), "#/items/1");
    post(&mut house, ADMIN, true, &[]).await.expect(422, "batch_out_of_bounds");
    let many: Vec<_> = (0..8_190).map(|at| transfer(&format!("k{at}"), "anna:eur", "0.01")).collect();
    let large = post(&mut house, ADMIN, true, &many).await;
    large.expect(422, "batch_out_of_bounds");
    assert!(large.body["detail"].as_str().unwrap().contains("one block"), "{}", large.body);
    assert_eq!(house.engine_head(), head);
    assert_eq!(house.balance("anna:eur").await, "100.00");
    // Hundreds fit.
    let fitting = post(&mut house, ADMIN, true, &many[..1_000]).await;
    assert_eq!(fitting.expect(200, "").body["accepted"], true);
    assert_eq!(house.balance("anna:eur").await, "90.00");

    let scripted = |error| router(ApiState::new(parts(Scripted::of(vec![Script::Refuse(error)]), None)));
    let body = json!({"items": [transfer("k", "anna:eur", "1.00")], "linked": true}).to_string();
    for (error, code) in [
        (SubmitError::LinkedBatchSize, "batch_out_of_bounds"),
        (SubmitError::LinkedBatchIds(CommandId(7)), "command_id_repeated"),
    ] {
        let asked = ask(&scripted(error), "POST", "/v1/books/1/batches").key(ADMIN);
        asked.body(body.clone()).send().await.expect(422, code);
    }
}
