//! Holds and reversals over a real book: what they do to balances and statements, and every way in which they are refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use common::{ADMIN, ANNA, Answered, BORIS, House, NOON, READER, WRITER, ask};
use event_schemas::Timestamp;
use event_schemas::bounds::HOLD_EXPIRES_AHEAD_MAX_DAYS;
use ledger_core::ports::CommandSink as _;
use serde_json::{Value, json};

const SOMETHING: &str = "0190a5d4-7c1e-7000-8000-000000000001";

fn body(fields: &Value, changes: Value) -> String {
    let mut fields = fields.clone();
    for (name, value) in changes.as_object().unwrap() {
        fields[name] = value.clone();
    }
    fields.to_string()
}

/// A hold of 60.00 on Anna's account.
fn hold(changes: Value) -> String {
    body(&json!({"account": "anna:eur", "amount": "60.00", "currency": "EUR"}), changes)
}

/// A capture of 25.00 for Boris.
fn capture(changes: Value) -> String {
    body(&json!({"to": "boris:eur", "amount": "25.00", "currency": "EUR"}), changes)
}

fn transfer(amount: &str) -> String {
    json!({"from": "anna:eur", "to": "boris:eur", "amount": amount, "currency": "EUR"}).to_string()
}

async fn placed(house: &mut House, changes: Value) -> String {
    let answered = house.post(ADMIN, "holds", &hold(changes)).await;
    answered.expect(201, "");
    assert_eq!(answered.body["hold"], answered.body["command_id"], "a hold has the id of its command");
    answered.body["hold"].as_str().unwrap().to_owned()
}

/// The id of a command that was accepted.
fn id(answered: &Answered) -> String {
    answered.expect(201, "").body["command_id"].as_str().unwrap().to_owned()
}

/// Balance, what is held and what is available of an account.
async fn figures(house: &House, account: &str) -> [String; 3] {
    let answered = house.get(ADMIN, &format!("accounts/{account}/balance")).await;
    answered.expect(200, "");
    ["balance", "pending_debits", "available"].map(|name| answered.body[name].as_str().unwrap().to_owned())
}

fn head(house: &House) -> u64 {
    house.engine.status().durable.0
}

/// Posts something bad and checks that nothing moved; `recorded` says whether the refusal is on record.
async fn unmoved(house: &mut House, path: &str, body: &str, expected: (u16, &str, &str, bool)) -> Answered {
    let (status, code, pointer, recorded) = expected;
    let before = (house.trial_balance().await, figures(house, "anna:eur").await, figures(house, "boris:eur").await);
    let at = head(house);
    let answered = house.post(ADMIN, path, body).await;
    answered.expect(status, code);
    assert_eq!(answered.pointer(), pointer, "{path} {body}");
    assert_eq!(answered.body["sequence"].is_u64(), recorded, "{path} {body}: {}", answered.body);
    assert_eq!(head(house) > at, recorded, "{path} {body}");
    let after = (house.trial_balance().await, figures(house, "anna:eur").await, figures(house, "boris:eur").await);
    assert_eq!(before, after, "{path} {body}");
    answered
}

#[tokio::test]
async fn a_hold_is_placed_captured_in_parts_and_ended_by_the_last() {
    let mut house = House::furnished().await;
    let until = Timestamp(NOON.0 + 3_600_000_000).to_string();
    let id = placed(&mut house, json!({"expires_at": until, "reference": "room 7"})).await;
    assert_eq!(figures(&house, "anna:eur").await, ["100.00", "60.00", "40.00"]);
    let short =
        unmoved(&mut house, "transfers", &transfer("50.00"), (422, "insufficient_funds", "#/amount", true)).await;
    assert_eq!(short.body["observed"]["available_minor"], "4000");
    let listed = house.get(ADMIN, "accounts/anna:eur/holds").await;
    let shown = &listed.expect(200, "").body["holds"][0];
    let told =
        ["hold", "status", "amount", "left", "captured", "expires_at", "reference"].map(|name| shown[name].as_str());
    let expected = [&*id, "open", "60.00", "60.00", "0.00", &*until, "room 7"];
    assert_eq!(told, expected.map(Some), "{shown}");

    let path = format!("holds/{id}/capture");
    house.post(ADMIN, &path, &capture(json!({"fee": "1.00", "reference": "night 1"}))).await.expect(201, "");
    assert_eq!(figures(&house, "anna:eur").await, ["74.00", "34.00", "40.00"], "what is available stays");
    let above = capture(json!({"amount": "34.01"}));
    let above = unmoved(&mut house, &path, &above, (422, "capture_above_hold", "#/amount", true)).await;
    assert_eq!(above.body["detail"], "34.01 EUR are required and 34.00 EUR are left of the hold");
    let with_fee = capture(json!({"amount": "34.00", "fee": "0.01"}));
    unmoved(&mut house, &path, &with_fee, (422, "capture_above_hold", "#/amount", true)).await;
    house.post(ADMIN, &path, &capture(json!({"amount": "10.00", "last": true}))).await.expect(201, "");
    assert_eq!(figures(&house, "anna:eur").await, ["64.00", "0.00", "64.00"]);
    assert_eq!(house.balance("boris:eur").await, "135.00");
    assert_eq!(house.get(ADMIN, "accounts/anna:eur/holds").await.body["holds"], json!([]));
    let ended = house.get(ADMIN, &format!("holds/{id}")).await;
    let told = ["status", "amount", "left", "captured"].map(|name| ended.expect(200, "").body[name].as_str().unwrap());
    assert_eq!(told, ["captured", "60.00", "0.00", "36.00"]);
    unmoved(&mut house, &path, &capture(json!({})), (422, "hold_not_open", "", true)).await;
    unmoved(&mut house, &format!("holds/{id}/void"), "", (422, "hold_not_open", "", true)).await;

    let statement = house.get(ADMIN, "accounts/anna:eur/statement").await;
    let lines: Vec<_> = statement.body["lines"].as_array().unwrap().iter().skip(1).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["entry_kind"] == "capture" && line["hold"] == *id));
    assert_eq!((&lines[0]["amount"], &lines[0]["reference"]), (&json!("26.00"), &json!("night 1")));
    assert_eq!(house.trial_balance().await["balanced"], true);
}

#[tokio::test]
async fn a_hold_is_voided() {
    let mut house = House::furnished().await;
    let id = placed(&mut house, json!({})).await;
    let path = format!("holds/{id}/void");
    house.post(ADMIN, &path, r#"{"reason":"the guest left"}"#).await.expect(201, "");
    assert_eq!(figures(&house, "anna:eur").await, ["100.00", "0.00", "100.00"]);
    assert_eq!(house.get(ADMIN, &format!("holds/{id}")).await.body["status"], "voided");
    unmoved(&mut house, &path, "", (422, "hold_not_open", "", true)).await;
    unmoved(&mut house, &format!("holds/{id}/capture"), &capture(json!({})), (422, "hold_not_open", "", true)).await;
}

#[tokio::test]
async fn a_hold_past_its_deadline_is_over() {
    let now_us = Arc::new(AtomicI64::new(NOON.0));
    let mut house = House::at(Arc::clone(&now_us), |_| {}).furnish().await;
    let deadline = Timestamp(NOON.0 + 1_000_000);
    let id = placed(&mut house, json!({"expires_at": deadline.to_string()})).await;
    let path = format!("holds/{id}/capture");
    now_us.store(deadline.0 - 1, Ordering::SeqCst);
    house.post(ADMIN, &path, &capture(json!({}))).await.expect(201, "");
    now_us.store(deadline.0, Ordering::SeqCst);
    let late = house.post(ADMIN, &path, &capture(json!({}))).await;
    assert_eq!(late.expect(422, "hold_expired").body["detail"], format!("its deadline was {deadline}"));
    assert_eq!(figures(&house, "anna:eur").await, ["75.00", "0.00", "75.00"]);
    let shown = house.get(ADMIN, &format!("holds/{id}")).await;
    assert_eq!((&shown.body["status"], &shown.body["captured"]), (&json!("expired"), &json!("25.00")));
    unmoved(&mut house, &format!("holds/{id}/void"), "", (422, "hold_expired", "", true)).await;
}

#[tokio::test]
async fn bad_holds_and_captures() {
    let mut house = House::furnished().await;
    let asset = r#"{"code":"till:eur","kind":"asset","currency":"EUR","overdraft":"unlimited"}"#;
    house.post(ADMIN, "accounts", asset).await.expect(201, "");
    let after = |us: i64| Timestamp(NOON.0 + us).to_string();
    let year_and_more = (HOLD_EXPIRES_AHEAD_MAX_DAYS + 1) * 86_400_000_000;
    for (changes, expected) in [
        (json!({"amount": "100.01"}), (422, "insufficient_funds", "#/amount", true)),
        (json!({"currency": "USD"}), (422, "currency_mismatch", "#/currency", true)),
        (json!({"account": "nobody"}), (404, "account_not_found", "#/account", true)),
        (json!({"account": "till:eur"}), (422, "hold_not_possible", "#/account", true)),
        (json!({"expires_at": after(0)}), (422, "expiry_out_of_range", "#/expires_at", true)),
        (json!({"expires_at": after(-1)}), (422, "expiry_out_of_range", "#/expires_at", true)),
        (json!({"expires_at": after(year_and_more)}), (422, "expiry_out_of_range", "#/expires_at", true)),
        (json!({"expires_at": "2026-11-22"}), (422, "time_invalid", "#/expires_at", false)),
        (json!({"expires_at": 7}), (400, "field_invalid", "#/expires_at", false)),
        (json!({"amount": "0"}), (422, "amount_not_positive", "#/amount", false)),
        (json!({"amount": "1.001"}), (422, "amount_too_precise", "#/amount", false)),
        (json!({"fee": "1.00"}), (400, "unknown_field", "#/fee", false)),
        (json!({"reference": "4111111111111111"}), (422, "card_number_in_text", "#/reference", false)),
    ] {
        unmoved(&mut house, "holds", &hold(changes), expected).await;
    }
    let id = placed(&mut house, json!({})).await;
    let path = format!("holds/{id}/capture");
    for (changes, expected) in [
        (json!({"amount": "60.01"}), (422, "capture_above_hold", "#/amount", true)),
        (json!({"currency": "USD"}), (422, "currency_mismatch", "#/currency", true)),
        (json!({"to": "nobody"}), (404, "account_not_found", "#/to", true)),
        (json!({"to": "anna:eur"}), (422, "same_account", "#/to", true)),
        (json!({"effective_on": "2030-01-01"}), (422, "effective_date_out_of_range", "#/effective_on", true)),
        (json!({"amount": "-1"}), (422, "amount_not_positive", "#/amount", false)),
        (json!({"fee": "-1"}), (422, "amount_not_positive", "#/fee", false)),
        (json!({"last": "yes"}), (400, "field_invalid", "#/last", false)),
        (json!({"hold": SOMETHING}), (400, "unknown_field", "#/hold", false)),
        (json!({"from": "anna:eur"}), (400, "unknown_field", "#/from", false)),
    ] {
        unmoved(&mut house, &path, &capture(changes), expected).await;
    }
    for what in ["capture", "void"] {
        let body = if what == "capture" { capture(json!({})) } else { "{}".into() };
        unmoved(&mut house, &format!("holds/{SOMETHING}/{what}"), &body, (404, "hold_not_found", "", true)).await;
        unmoved(&mut house, &format!("holds/room-7/{what}"), &body, (404, "hold_not_found", "", false)).await;
    }
    unmoved(&mut house, "accounts/anna:eur/close", "", (422, "account_not_empty", "", true)).await;
    house.post(ADMIN, "accounts/anna:eur/freeze", "").await.expect(201, "");
    unmoved(&mut house, &path, &capture(json!({})), (422, "account_frozen", "", true)).await;
    unmoved(&mut house, "holds", &hold(json!({"amount": "1.00"})), (422, "account_frozen", "#/account", true)).await;
    house.post(ADMIN, "accounts/anna:eur/unfreeze", "").await.expect(201, "");

    // Nothing but an overdraft is held: the account is empty, and still can't be closed.
    let body = r#"{"code":"credit:eur","kind":"liability","currency":"EUR","overdraft":"50.00"}"#;
    house.post(ADMIN, "accounts", body).await.expect(201, "");
    placed(&mut house, json!({"account": "credit:eur", "amount": "50.00"})).await;
    let refused = unmoved(&mut house, "accounts/credit:eur/close", "", (422, "account_has_holds", "", true)).await;
    assert_eq!(refused.body["observed"]["held_minor"], "5000");
}

#[tokio::test]
async fn holds_are_read_page_by_page_and_by_their_owner_only() {
    let mut house = House::furnished().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(placed(&mut house, json!({"amount": "1.00"})).await);
    }
    ids.sort();
    for letter in [ADMIN, READER, ANNA] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = house.get(letter, &format!("accounts/anna:eur/holds?limit=2{cursor}")).await;
            let holds = page.expect(200, "").body["holds"].as_array().unwrap().clone();
            found.extend(holds.iter().map(|hold| hold["hold"].as_str().unwrap().to_owned()));
            assert!(holds.len() <= 2);
            let Some(next) = page.body["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            house.get(letter, &format!("accounts/boris:eur/holds?limit=2{cursor}")).await.expect(400, "cursor_invalid");
        }
        assert_eq!(found, ids);
        house.get(letter, &format!("holds/{}", ids[0])).await.expect(200, "");
    }
    house.get(BORIS, "accounts/anna:eur/holds").await.expect(403, "forbidden");
    house.get(BORIS, &format!("holds/{}", ids[0])).await.expect(404, "hold_not_found");
    house.get(WRITER, &format!("holds/{}", ids[0])).await.expect(403, "forbidden");
    house.get(ADMIN, "accounts/nobody/holds").await.expect(404, "account_not_found");
    house.get(ADMIN, &format!("holds/{SOMETHING}")).await.expect(404, "hold_not_found");
    house.get(ADMIN, "holds/room-7").await.expect(404, "hold_not_found");

    let before = head(&house);
    for letter in [ANNA, READER] {
        house.post(letter, "holds", &hold(json!({"amount": "1.00"}))).await.expect(403, "forbidden");
        house.post(letter, &format!("holds/{}/capture", ids[0]), &capture(json!({}))).await.expect(403, "forbidden");
        house.post(letter, &format!("holds/{}/void", ids[0]), "").await.expect(403, "forbidden");
        house.post(letter, &format!("entries/{SOMETHING}/reverse"), "").await.expect(403, "forbidden");
    }
    assert_eq!(head(&house), before);
}

#[tokio::test]
async fn an_entry_is_reversed_in_parts_and_never_above_itself() {
    let mut house = House::furnished().await;
    let paid = json!({"from": "anna:eur", "to": "boris:eur", "amount": "25.00", "currency": "EUR", "fee": "1.00"});
    let original = id(&house.post(ADMIN, "transfers", &paid.to_string()).await);
    assert_eq!(house.balance("anna:eur").await, "74.00");
    let path = format!("entries/{original}/reverse");
    let parts = |amount: &str| {
        json!({"postings": [{"posting": 0, "amount": amount, "currency": "EUR"},
                            {"posting": 1, "amount": amount, "currency": "EUR"}]})
    };
    house.post(ADMIN, &path, &parts("10.00").to_string()).await.expect(201, "");
    assert_eq!((house.balance("anna:eur").await, house.balance("boris:eur").await), ("84.00".into(), "115.00".into()));
    let above = unmoved(
        &mut house,
        &path,
        &parts("15.01").to_string(),
        (422, "reversal_above_original", "#/postings/1/amount", true),
    )
    .await;
    assert_eq!(above.body["observed"]["left_minor"], "1500");
    for (changed, expected) in [
        (json!({"posting": 9}), (422, "reversal_above_original", "#/postings/1/amount", true)),
        (json!({"currency": "USD"}), (422, "currency_mismatch", "#/postings/1/currency", false)),
        (json!({"currency": "JPY", "amount": "1"}), (422, "currency_mismatch", "#/postings/1/currency", false)),
        (json!({"amount": "4.99"}), (422, "entry_unbalanced", "#/postings", true)),
        (json!({"amount": "0"}), (422, "amount_not_positive", "#/postings/1/amount", false)),
        (json!({"posting": -1}), (400, "field_invalid", "#/postings/1/posting", false)),
        (json!({"account": "anna:eur"}), (400, "unknown_field", "#/postings/1/account", false)),
    ] {
        let mut parts = parts("5.00");
        for (name, value) in changed.as_object().unwrap() {
            parts["postings"][1][name] = value.clone();
        }
        unmoved(&mut house, &path, &parts.to_string(), expected).await;
    }
    let lacking = r#"{"postings":[{"amount":"1.00","currency":"EUR"}]}"#;
    unmoved(&mut house, &path, lacking, (400, "missing_field", "#/postings/0/posting", false)).await;
    let single = r#"{"postings":[{"posting":0,"amount":"1.00","currency":"EUR"}]}"#;
    unmoved(&mut house, &path, single, (422, "postings_out_of_bounds", "#/postings", false)).await;
    let part = |posting, amount: &str| json!({"posting": posting, "amount": amount, "currency": "EUR"});
    let twice = json!({"postings": [part(1, "8.00"), part(1, "8.00"), part(0, "16.00")]}).to_string();
    unmoved(&mut house, &path, &twice, (422, "reversal_above_original", "#/postings/0/amount", true)).await;
    unmoved(&mut house, &path, r#"{"postings":[]}"#, (422, "postings_out_of_bounds", "#/postings", false)).await;

    // The rest, fee included.
    let rest = id(&house.post(ADMIN, &path, r#"{"reference":"a mistake"}"#).await);
    assert_eq!((house.balance("anna:eur").await, house.balance("boris:eur").await), ("100.00".into(), "100.00".into()));
    unmoved(&mut house, &path, "", (422, "original_reversed", "", true)).await;
    let line = house.get(ADMIN, "accounts/anna:eur/statement?order=newest_first").await.body["lines"][0].clone();
    let told =
        ["entry_kind", "reverses", "command_id", "reference"].map(|name| line[name].as_str().unwrap().to_owned());
    assert_eq!(told, ["reversal", &*original, &*rest, "a mistake"]);
    unmoved(&mut house, &format!("entries/{rest}/reverse"), "", (422, "original_is_reversal", "", true)).await;
    assert_eq!(house.trial_balance().await["balanced"], true);
}

#[tokio::test]
async fn what_can_be_reversed() {
    let mut house = House::furnished().await;
    let placed = placed(&mut house, json!({})).await;
    let refused = house.post(ADMIN, "transfers", &transfer("1000.00")).await;
    let refused = refused.expect(422, "insufficient_funds").body["command_id"].as_str().unwrap().to_owned();
    for (entry, code, status, recorded) in [
        (&*placed, "original_not_an_entry", 422, true),
        (&*refused, "original_not_an_entry", 422, true),
        (SOMETHING, "original_not_found", 404, true),
        ("transfer-7", "original_not_found", 404, false),
    ] {
        unmoved(&mut house, &format!("entries/{entry}/reverse"), "", (status, code, "", recorded)).await;
    }
    let part = |posting| json!({"posting": posting, "amount": "1.00", "currency": "EUR"});
    let part = &json!({"postings": [part(0), part(1)]}).to_string();
    unmoved(&mut house, &format!("entries/{SOMETHING}/reverse"), part, (404, "original_not_found", "", true)).await;

    let captured = id(&house.post(ADMIN, &format!("holds/{placed}/capture"), &capture(json!({"last": true}))).await);
    // The receiver has spent it: what is not there can't be taken back.
    let spent = json!({"account": "boris:eur", "amount": "110.00", "currency": "EUR"}).to_string();
    house.post(ADMIN, "withdrawals", &spent).await.expect(201, "");
    let short =
        unmoved(&mut house, &format!("entries/{captured}/reverse"), "", (422, "insufficient_funds", "", true)).await;
    assert_eq!(short.body["observed"]["available_minor"], "1500");
    house
        .post(ADMIN, "top-ups", &json!({"account": "boris:eur", "amount": "10.00", "currency": "EUR"}).to_string())
        .await;
    house.post(ADMIN, &format!("entries/{captured}/reverse"), "").await.expect(201, "");
    assert_eq!(figures(&house, "anna:eur").await, ["100.00", "0.00", "100.00"], "the money is back, the hold is not");
    assert_eq!(house.balance("boris:eur").await, "0.00");
}

#[tokio::test]
async fn a_retry_gets_the_same_verdict_and_another_content_a_conflict() {
    let mut house = House::furnished().await;
    let (one, two) = (placed(&mut house, json!({})).await, placed(&mut house, json!({"amount": "40.00"})).await);
    let post = |path: String, body: String| {
        ask(&house.router, "POST", &format!("/v1/books/1/{path}")).key(ADMIN).idempotent("once").body(body).send()
    };
    let first = post(format!("holds/{one}/capture"), capture(json!({}))).await;
    let again = post(format!("holds/{one}/capture"), capture(json!({}))).await;
    assert_eq!(again.expect(201, "").sequence(), first.expect(201, "").sequence());
    assert_eq!(again.header("idempotency-replayed"), "true");
    for (path, changes, pointer) in [
        (format!("holds/{two}/capture"), json!({}), "#/hold"),
        (format!("holds/{one}/capture"), json!({"to": "anna:eur"}), "#/to"),
        (format!("holds/{one}/capture"), json!({"amount": "24.00"}), "#/amount"),
        (format!("holds/{one}/capture"), json!({"last": true}), "#/last"),
    ] {
        let answered = post(path, capture(changes.clone())).await;
        assert_eq!(answered.expect(422, "idempotency_conflict").pointer(), pointer, "{changes}");
    }
    let first = post(format!("holds/{two}/void"), String::new()).await;
    let again = post(format!("holds/{two}/void"), String::new()).await;
    assert_eq!(again.expect(201, "").sequence(), first.expect(201, "").sequence());
    let entry =
        |fields: &str| post(format!("entries/{}/reverse", "0190a5d4-7c1e-7000-8000-000000000001"), fields.into());
    let first = entry("").await;
    let again = entry("{}").await;
    assert_eq!(again.expect(404, "original_not_found").sequence(), first.expect(404, "original_not_found").sequence());
    assert_eq!(entry(r#"{"reference":"x"}"#).await.expect(422, "idempotency_conflict").pointer(), "#/reference");
}

#[tokio::test]
async fn holds_and_reversals_in_a_batch() {
    let mut house = House::furnished().await;
    let (hold, paid) = (SOMETHING, "0190a5d4-7c1e-7000-8000-000000000002");
    let items = json!({"items": [
        {"type": "hold", "id": hold, "account": "anna:eur", "amount": "60.00", "currency": "EUR"},
        {"type": "capture", "idempotency_key": "c", "hold": hold, "to": "boris:eur", "amount": "20.00", "currency": "EUR"},
        {"type": "capture", "idempotency_key": "d", "hold": hold, "to": "boris:eur", "amount": "40.01", "currency": "EUR"},
        {"type": "void", "idempotency_key": "v", "hold": hold, "reason": "done"},
        {"type": "transfer", "id": paid, "from": "anna:eur", "to": "boris:eur", "amount": "5.00", "currency": "EUR"},
        {"type": "reversal", "idempotency_key": "r", "entry": paid},
        {"type": "reversal", "idempotency_key": "s", "entry": paid},
    ]});
    let answered = ask(&house.router, "POST", "/v1/books/1/batches").key(ADMIN).body(items.to_string()).send().await;
    house.catch_up();
    let results = answered.expect(200, "").body["results"].as_array().unwrap().clone();
    let told: Vec<_> = results.iter().map(|one| one["code"].as_str().unwrap_or("")).collect();
    assert_eq!(told, ["", "", "capture_above_hold", "", "", "", "original_reversed"], "{}", answered.body);
    assert_eq!(results[0]["hold"], hold);
    assert_eq!(results[2]["errors"][0]["pointer"], "#/items/2/amount");
    assert_eq!(figures(&house, "anna:eur").await, ["80.00", "0.00", "80.00"]);

    let at = head(&house);
    for (item, code, pointer) in [
        (json!({"type": "void", "idempotency_key": "v"}), "missing_field", "#/items/0/hold"),
        (json!({"type": "void", "idempotency_key": "v", "hold": "room 7"}), "field_invalid", "#/items/0/hold"),
        (json!({"type": "reversal", "idempotency_key": "r"}), "missing_field", "#/items/0/entry"),
        (
            json!({"type": "reversal", "idempotency_key": "r", "entry": paid,
                   "postings": [{"posting": 0, "amount": "1.00", "currency": "EUR"},
                                {"posting": 1, "amount": "1.00", "currency": "EUR"}]}),
            "field_invalid",
            "#/items/0/postings",
        ),
    ] {
        let body = json!({"items": [item]}).to_string();
        let answered = ask(&house.router, "POST", "/v1/books/1/batches").key(ADMIN).body(body).send().await;
        assert_eq!(answered.expect(400, code).pointer(), pointer);
    }
    assert_eq!(head(&house), at);
}
