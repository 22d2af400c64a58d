//! Fee rules, closed periods, preferences and transfers up to an amount, over a real book: what they change, and every way in
//! which they are refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value, missing_docs)]

mod common;

use common::{ADMIN, ANNA, Answered, BORIS, House, READER, WRITER, ask};
use serde_json::{Value, json};

fn body(fields: Value, changes: Value) -> String {
    let mut fields = fields;
    for (name, value) in changes.as_object().unwrap() {
        fields[name] = value.clone();
    }
    fields.to_string()
}

fn fee_rule(changes: Value) -> String {
    body(json!({"kind": "transfer", "currency": "EUR", "version": 1, "fixed": "0.10", "rate_ppm": 10_000}), changes)
}

fn transfer(amount: &str, changes: Value) -> String {
    body(json!({"from": "anna:eur", "to": "boris:eur", "amount": amount, "currency": "EUR"}), changes)
}

fn up_to(at_most: &str, changes: Value) -> String {
    body(json!({"from": "anna:eur", "to": "boris:eur", "at_most": at_most, "currency": "EUR"}), changes)
}

/// Posts something bad and checks that nothing moved; `recorded` says whether the refusal is on record.
async fn unmoved(house: &mut House, path: &str, body: &str, expected: (u16, &str, &str, bool)) -> Answered {
    let (status, code, pointer, recorded) = expected;
    let (before, head) = (house.trial_balance().await, house.engine_head());
    let answered = house.post(ADMIN, path, body).await;
    answered.expect(status, code);
    assert_eq!(answered.pointer(), pointer, "{path} {body}");
    assert_eq!(answered.body["sequence"].is_u64(), recorded, "{path} {body}: {}", answered.body);
    assert_eq!(house.engine_head() > head, recorded, "{path} {body}");
    assert_eq!(house.trial_balance().await, before, "{path} {body}");
    answered
}

#[tokio::test]
async fn a_fee_is_the_rules_unless_it_is_named() {
    let mut house = House::furnished().await;
    house.post(ADMIN, "fee-rules", &fee_rule(json!({"min": "0.20", "max": "1.00"}))).await.expect(201, "");
    let dry = house.dry(ANNA, "transfers", &transfer("20.00", json!({}))).await;
    assert_eq!(dry.expect(200, "").body["fee"], json!({"amount": "0.30", "currency": "EUR", "rule": 1}));
    house.post(ANNA, "transfers", &transfer("20.00", json!({}))).await.expect(201, "");
    assert_eq!(house.balance("anna:eur").await, "79.70");
    house.post(ANNA, "transfers", &transfer("1.00", json!({}))).await.expect(201, "");
    assert_eq!(house.balance("anna:eur").await, "78.50", "the minimum");
    house.post(ADMIN, "transfers", &transfer("1.00", json!({"fee": "0"}))).await.expect(201, "");
    assert_eq!(house.balance("anna:eur").await, "77.50", "the house may say that there is none");
    let short = transfer("77.00", json!({}));
    let refused = unmoved(&mut house, "transfers", &short, (422, "insufficient_funds", "#/amount", true)).await;
    assert_eq!(refused.body["observed"]["required_minor"], "7787", "with the fee");
    // Of each kind its own.
    let cash = r#"{"account":"anna:eur","amount":"10.00","currency":"EUR"}"#;
    house.post(ADMIN, "fee-rules", &fee_rule(json!({"kind": "withdrawal", "fixed": "2.00", "rate_ppm": 0}))).await;
    house.post(ADMIN, "fee-rules", &fee_rule(json!({"kind": "top_up", "fixed": "0.50", "rate_ppm": 0}))).await;
    house.post(ADMIN, "withdrawals", cash).await.expect(201, "");
    assert_eq!(house.balance("anna:eur").await, "65.50");
    house.post(ADMIN, "top-ups", cash).await.expect(201, "");
    assert_eq!(house.balance("anna:eur").await, "75.00");
    house.post(ADMIN, "fee-rules", &fee_rule(json!({"kind": "capture", "fixed": "1.00", "rate_ppm": 0}))).await;
    let hold = house.post(ADMIN, "holds", cash).await.expect(201, "").body["hold"].as_str().unwrap().to_owned();
    let capture = r#"{"to":"boris:eur","amount":"9.00","currency":"EUR","last":true}"#;
    house.post(ADMIN, &format!("holds/{hold}/capture"), capture).await.expect(201, "");
    assert_eq!(house.balance("anna:eur").await, "65.00");

    for (changes, expected) in [
        (json!({"version": 2, "rate_ppm": 1_000_001}), (422, "fee_rule_invalid", "#/rate_ppm", false)),
        (json!({"version": 2, "min": "2.00", "max": "1.00"}), (422, "fee_rule_invalid", "", true)),
        (json!({"version": 2, "fixed": "-0.10"}), (422, "amount_not_positive", "#/fixed", false)),
        (json!({"version": 2, "rate_ppm": -1}), (400, "field_invalid", "#/rate_ppm", false)),
        (json!({"version": 2, "rate_ppm": 0.5}), (400, "field_invalid", "#/rate_ppm", false)),
        (json!({"version": 2, "kind": "entry"}), (400, "field_invalid", "#/kind", false)),
        (json!({"version": 1}), (409, "version_not_newer", "#/version", true)),
    ] {
        unmoved(&mut house, "fee-rules", &fee_rule(changes), expected).await;
    }
    house.post(WRITER, "fee-rules", &fee_rule(json!({"version": 2}))).await.expect(403, "forbidden");
}

#[tokio::test]
async fn nothing_is_posted_into_a_closed_period() {
    let mut house = House::furnished().await;
    for (body, expected) in [
        (r#"{"through":"2026-11-21"}"#, (422, "period_not_over", "#/through", true)),
        (r#"{"through":"2027-01-01"}"#, (422, "period_not_over", "#/through", true)),
        (r#"{"through":"yesterday"}"#, (422, "date_invalid", "#/through", false)),
        (r#"{"through":"2026-10-31","reason":"4111111111111111"}"#, (422, "card_number_in_text", "#/reason", false)),
        ("{}", (400, "missing_field", "#/through", false)),
    ] {
        unmoved(&mut house, "period-closes", body, expected).await;
    }
    let close = r#"{"through":"2026-10-31","reason":"October"}"#;
    house.post(WRITER, "period-closes", close).await.expect(403, "forbidden");
    house.post(ADMIN, "period-closes", close).await.expect(201, "");
    unmoved(&mut house, "period-closes", close, (422, "period_closed", "#/through", true)).await;
    let late = transfer("1.00", json!({"effective_on": "2026-10-31"}));
    let refused = unmoved(&mut house, "transfers", &late, (422, "period_closed", "#/effective_on", true)).await;
    assert_eq!(refused.body["detail"], "all days up to 2026-10-31 are closed");
    house.post(ADMIN, "transfers", &transfer("1.00", json!({"effective_on": "2026-11-01"}))).await.expect(201, "");
    house.post(ADMIN, "transfers", &transfer("1.00", json!({}))).await.expect(201, "");
}

#[tokio::test]
async fn a_transfer_up_to_an_amount_moves_what_is_there() {
    let mut house = House::furnished().await;
    let dry = house.dry(ANNA, "transfers/up-to", &up_to("500.00", json!({}))).await;
    assert_eq!(dry.expect(200, "").body["moved"], "100.00");
    let first = house.post(ANNA, "transfers/up-to", &up_to("40.00", json!({}))).await;
    assert_eq!(first.expect(201, "").body["moved"], "40.00");
    let moved = house.post(ADMIN, "transfers/up-to", &up_to("500.00", json!({"effective_on": "2026-11-20"}))).await;
    assert_eq!(moved.expect(201, "").body["moved"], "60.00");
    assert_eq!((house.balance("anna:eur").await, house.balance("boris:eur").await), ("0.00".into(), "200.00".into()));
    let nothing = up_to("1.00", json!({}));
    unmoved(&mut house, "transfers/up-to", &nothing, (422, "insufficient_funds", "#/at_most", true)).await;
    for (changes, expected) in [
        (json!({"at_most": "0"}), (422, "amount_not_positive", "#/at_most", false)),
        (json!({"amount": "1.00"}), (400, "unknown_field", "#/amount", false)),
        (json!({"fee": "0"}), (400, "unknown_field", "#/fee", false)),
        (json!({"currency": "USD"}), (422, "currency_mismatch", "#/currency", true)),
        (json!({"to": "anna:eur"}), (422, "same_account", "#/to", true)),
        (json!({"to": "nobody"}), (404, "account_not_found", "#/to", true)),
    ] {
        unmoved(&mut house, "transfers/up-to", &up_to("1.00", changes), expected).await;
    }
    house
        .post(ANNA, "transfers/up-to", &up_to("1.00", json!({"effective_on": "2026-11-20"})))
        .await
        .expect(403, "forbidden");
    let theirs = up_to("1.00", json!({"from": "boris:eur", "to": "anna:eur"}));
    house.post(ANNA, "transfers/up-to", &theirs).await.expect(403, "forbidden");
    // A retry asks for as much as before, whatever moved.
    let post = |at_most: &'static str| {
        let body = up_to(at_most, json!({"from": "boris:eur", "to": "anna:eur"}));
        ask(&house.router, "POST", "/v1/books/1/transfers/up-to").key(BORIS).idempotent("all").body(body).send()
    };
    let first = post("500.00").await;
    let again = post("500.00").await;
    assert_eq!((&again.expect(201, "").body, again.header("idempotency-replayed")), (&first.body, "true"));
    assert_eq!(again.body["moved"], "200.00");
    assert_eq!(post("200.00").await.expect(422, "idempotency_conflict").pointer(), "#/at_most");
}

#[tokio::test]
async fn customers_say_themselves_what_they_are_told() {
    let mut house = House::furnished().await;
    let path = "customers/client:anna/notification-preferences";
    let wanted = json!({"version": 1, "topics": {"money_in": ["email", "sms", "email"], "refusal": []}}).to_string();
    let set = house.post(ANNA, path, &wanted).await.expect(201, "").body["command_id"].as_str().unwrap().to_owned();
    let event = house.get(ANNA, &format!("commands/{set}")).await.body["event"]["data"].clone();
    assert_eq!(event["topics"], json!({"money_in": ["email", "sms"], "refusal": []}));
    house.post(BORIS, path, &wanted).await.expect(403, "forbidden");
    house.post(READER, path, &wanted).await.expect(403, "forbidden");
    house.post(WRITER, path, r#"{"version":2,"topics":{}}"#).await.expect(201, "");
    for (body, expected) in [
        (r#"{"version":2,"topics":{}}"#, (409, "version_not_newer", "#/version", true)),
        (r#"{"version":3}"#, (400, "missing_field", "#/topics", false)),
        (r#"{"version":3,"topics":[]}"#, (400, "field_invalid", "#/topics", false)),
        (r#"{"version":3,"topics":{"weather":["sms"]}}"#, (400, "unknown_field", "#/topics/weather", false)),
        (r#"{"version":3,"topics":{"hold":["pigeon"]}}"#, (400, "field_invalid", "#/topics/hold", false)),
        (r#"{"version":3,"topics":{"hold":["sms"],"hold":[]}}"#, (400, "field_invalid", "#/hold", false)),
    ] {
        unmoved(&mut house, path, body, expected).await;
    }
}
