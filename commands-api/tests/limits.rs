//! Limits and the calendar over a real book: what they hold back, what is told of what is left of them, and every way in which
//! they are refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use common::{ADMIN, ANNA, Answered, BORIS, House, NOON, READER, WRITER, ask};
use event_schemas::Timestamp;
use serde_json::{Value, json};

fn body(fields: Value, changes: Value) -> String {
    let mut fields = fields;
    for (name, value) in changes.as_object().unwrap() {
        fields[name] = value.clone();
    }
    fields.to_string()
}

fn limits(changes: Value) -> String {
    body(json!({"currency": "EUR", "version": 1}), changes)
}

fn calendar(changes: Value) -> String {
    body(json!({"zone": "Europe/Berlin", "version": 1, "first_day": "2026-11-20"}), changes)
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

const ANNAS_LIMITS: &str = "customers/client:anna/limits";

#[tokio::test]
async fn limits_are_held_and_what_is_left_of_them_is_told() {
    let mut house = House::furnished().await;
    let caps = limits(json!({"per_transfer": "50.00", "daily": "60.00", "monthly": "1000.00"}));
    house.post(ADMIN, ANNAS_LIMITS, &caps).await.expect(201, "");
    unmoved(&mut house, "transfers", &transfer("1.00", json!({})), (422, "calendar_missing", "", true)).await;
    house.post(ADMIN, "calendar", &calendar(json!({}))).await.expect(201, "");

    let dry = house.dry(ANNA, "transfers", &transfer("50.00", json!({}))).await;
    assert_eq!(dry.expect(200, "").body["verdict"], "accepted", "{}", dry.body);
    assert_eq!(
        dry.body["limits"],
        json!([{"owner": "client:anna", "currency": "EUR", "amount": "50.00", "day": "2026-11-21", "windows": [
            {"window": "per_transfer", "cap": "50.00", "used": "50.00", "left": "0.00"},
            {"window": "day", "cap": "60.00", "used": "50.00", "left": "10.00"},
            {"window": "month", "cap": "1000.00", "used": "50.00", "left": "950.00"},
        ]}])
    );
    let above = transfer("50.01", json!({}));
    let refused = unmoved(&mut house, "transfers", &above, (422, "limit_exceeded", "#/amount", true)).await;
    assert_eq!(refused.body["observed"]["window"], "per_transfer");
    house.post(ANNA, "transfers", &transfer("50.00", json!({}))).await.expect(201, "");
    let refused = house.post(ANNA, "transfers", &transfer("10.01", json!({}))).await;
    assert_eq!(refused.expect(422, "limit_exceeded").body["observed"]["window"], "day");
    assert_eq!(
        refused.body["detail"],
        "10.01 EUR are required, the limit per day is 60.00 EUR and 50.00 EUR of it are used; the next day begins at \
         2026-11-21T23:00:00.000000Z"
    );
    // What comes from others does not count, and others are not told of anybody's limits.
    let back = transfer("20.00", json!({"from": "boris:eur", "to": "anna:eur"}));
    let dry = house.dry(BORIS, "transfers", &back).await;
    assert_eq!((&dry.body["verdict"], &dry.body["limits"]), (&json!("accepted"), &json!([])));
    house.post(BORIS, "transfers", &back).await.expect(201, "");
    // Up to what is left of the day.
    let moved = house.post(ANNA, "transfers/up-to", &up_to("40.00", json!({}))).await;
    assert_eq!(moved.expect(201, "").body["moved"], "10.00");
    assert_eq!(house.balance("anna:eur").await, "60.00");
    // Without caps there is no limit.
    house.post(ADMIN, ANNAS_LIMITS, &limits(json!({"version": 2}))).await.expect(201, "");
    house.post(ANNA, "transfers", &transfer("60.00", json!({}))).await.expect(201, "");
}

#[tokio::test]
async fn bad_limits() {
    let mut house = House::furnished().await;
    house.post(ADMIN, ANNAS_LIMITS, &limits(json!({"version": 5, "daily": "1.00"}))).await.expect(201, "");
    for (changes, expected) in [
        (json!({"version": 6, "daily": "0"}), (422, "limit_not_positive", "#/daily", false)),
        (json!({"version": 6, "daily": "-1.00"}), (422, "limit_not_positive", "#/daily", false)),
        (json!({"version": 6, "per_transfer": "0.00"}), (422, "limit_not_positive", "#/per_transfer", false)),
        (json!({"version": 6, "monthly": "-0.01"}), (422, "limit_not_positive", "#/monthly", false)),
        (json!({"version": 6, "daily": "0.001"}), (422, "amount_too_precise", "#/daily", false)),
        (json!({"version": 6, "daily": "much"}), (422, "amount_not_a_number", "#/daily", false)),
        (json!({"version": 6, "daily": 5}), (400, "field_invalid", "#/daily", false)),
        (json!({"version": 6, "weekly": "1"}), (400, "unknown_field", "#/weekly", false)),
        (json!({"version": 6, "owner": "client:anna"}), (400, "unknown_field", "#/owner", false)),
        (json!({"version": 6, "currency": "XXX"}), (422, "currency_unknown", "#/currency", false)),
        (json!({"version": 0}), (400, "field_invalid", "#/version", false)),
        (json!({"version": -1}), (400, "field_invalid", "#/version", false)),
        (json!({"version": 9_007_199_254_740_992_u64}), (400, "field_invalid", "#/version", false)),
        (json!({"version": "6"}), (400, "field_invalid", "#/version", false)),
        (json!({"version": 5}), (409, "version_not_newer", "#/version", true)),
        (json!({"version": 4}), (409, "version_not_newer", "#/version", true)),
    ] {
        unmoved(&mut house, ANNAS_LIMITS, &limits(changes), expected).await;
    }
    let long = format!("customers/{}/limits", "x".repeat(65));
    unmoved(&mut house, &long, &limits(json!({})), (422, "text_too_long", "", false)).await;
    let card = "customers/4111111111111111/limits";
    unmoved(&mut house, card, &limits(json!({})), (422, "card_number_in_text", "", false)).await;
    unmoved(&mut house, "customers/a%00b/limits", &limits(json!({})), (422, "text_invalid", "", false)).await;
    for letter in [WRITER, READER, ANNA] {
        house.post(letter, ANNAS_LIMITS, &limits(json!({"version": 6}))).await.expect(403, "forbidden");
    }
}

#[tokio::test]
async fn a_calendar_is_worked_out_from_a_zone_or_given() {
    let mut house = House::furnished().await;
    let first = ask(&house.router, "POST", "/v1/books/1/calendar").key(ADMIN).idempotent("c").body(calendar(json!({})));
    let first = first.send().await.expect(201, "").body["command_id"].as_str().unwrap().to_owned();
    let recorded = house.get(ADMIN, &format!("commands/{first}")).await.expect(200, "").body["event"]["data"].clone();
    assert_eq!((&recorded["zone"], &recorded["first_day"]), (&json!("Europe/Berlin"), &json!("2026-11-20")));
    assert!(recorded["tz_version"].as_str().unwrap().starts_with("20"));
    let starts = recorded["starts"].as_array().unwrap();
    assert_eq!((starts.len(), &starts[0]), (401, &json!("2026-11-19T23:00:00.000000Z")));
    let again = ask(&house.router, "POST", "/v1/books/1/calendar").key(ADMIN).idempotent("c").body(calendar(json!({})));
    assert_eq!(again.send().await.expect(201, "").header("idempotency-replayed"), "true");

    let given = json!({"version": 2, "zone": "Mars/Olympus", "first_day": "2026-11-20",
        "starts": ["2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:39:35Z"]});
    house.post(ADMIN, "calendar", &given.to_string()).await.expect(201, "");
    let long: Vec<_> = (0..802).map(|day| Timestamp(NOON.0 + day * 86_400_000_000).to_string()).collect();
    let days = |starts: Value| json!({"version": 3, "starts": starts});
    for (changes, expected) in [
        (json!({"version": 3, "zone": "Europe/Atlantis"}), (422, "zone_unknown", "#/zone", false)),
        (json!({"version": 3, "tz_version": "2026a"}), (400, "field_invalid", "#/tz_version", false)),
        (json!({"version": 3, "first_day": "2026-02-30"}), (422, "date_invalid", "#/first_day", false)),
        (json!({"version": 3, "first_day": "9999-12-01"}), (422, "date_invalid", "#/first_day", false)),
        (days(json!(["2026-11-20T00:00:00Z", "tomorrow"])), (422, "time_invalid", "#/starts/1", false)),
        (days(json!(["2026-11-20T00:00:00Z", 7])), (400, "field_invalid", "#/starts/1", false)),
        (days(json!(long)), (422, "calendar_invalid", "#/starts", false)),
        (days(json!(["2026-11-20T00:00:00Z", "2026-11-20T10:00:00Z"])), (422, "calendar_invalid", "#/starts/1", true)),
        (days(json!(["2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z"])), (422, "calendar_invalid", "#/starts/0", true)),
        (json!({"version": 2}), (409, "version_not_newer", "#/version", true)),
    ] {
        unmoved(&mut house, "calendar", &calendar(changes), expected).await;
    }
    let none = calendar(days(json!([])));
    unmoved(&mut house, "calendar", &none, (422, "calendar_invalid", "#/starts/0", true)).await;
    house.post(WRITER, "calendar", &calendar(json!({"version": 3}))).await.expect(403, "forbidden");
}

#[tokio::test]
async fn settings_in_a_batch() {
    let mut house = House::furnished().await;
    let items = json!([
        {"type": "publish_calendar", "idempotency_key": "c", "zone": "UTC", "version": 1, "first_day": "2026-11-01"},
        {"type": "set_limits", "idempotency_key": "l", "owner": "client:anna", "currency": "EUR", "version": 1, "daily": "25.00"},
        {"type": "set_fee_rule", "idempotency_key": "f", "kind": "transfer", "currency": "EUR", "version": 1, "fixed": "1.00"},
        {"type": "close_period", "idempotency_key": "p", "through": "2026-10-31"},
        {"type": "set_notification_preferences", "idempotency_key": "n", "owner": "client:anna", "version": 1,
         "topics": {"hold": ["websocket"]}},
        {"type": "transfer", "idempotency_key": "t", "from": "anna:eur", "to": "boris:eur", "amount": "20.00", "currency": "EUR"},
        {"type": "transfer_up_to", "idempotency_key": "u", "from": "anna:eur", "to": "boris:eur", "at_most": "20.00",
         "currency": "EUR"},
        {"type": "transfer_up_to", "idempotency_key": "v", "from": "anna:eur", "to": "boris:eur", "at_most": "20.00",
         "currency": "EUR"},
    ]);
    let body = json!({"items": items}).to_string();
    let answered = ask(&house.router, "POST", "/v1/books/1/batches").key(ADMIN).body(body).send().await;
    house.catch_up();
    let results = answered.expect(200, "").body["results"].as_array().unwrap();
    let codes: Vec<_> = results.iter().map(|one| one["code"].as_str().unwrap_or("")).collect();
    assert_eq!(codes, ["", "", "", "", "", "", "", "limit_exceeded"], "{}", answered.body);
    assert_eq!(results[7]["errors"][0]["pointer"], "#/items/7/at_most");
    assert_eq!(house.balance("anna:eur").await, "75.00", "20 and the fee, and the 4 that were left of the day");
    let head = house.engine_head();
    for (item, status, code, pointer) in [
        (
            json!({"type": "set_limits", "idempotency_key": "x", "currency": "EUR", "version": 2}),
            400,
            "missing_field",
            "owner",
        ),
        (
            json!({"type": "set_limits", "idempotency_key": "x", "owner": "", "currency": "EUR", "version": 2}),
            400,
            "field_invalid",
            "owner",
        ),
        (
            json!({"type": "set_limits", "idempotency_key": "x", "owner": 7, "currency": "EUR", "version": 2}),
            400,
            "field_invalid",
            "owner",
        ),
    ] {
        let body = json!({"items": [item]}).to_string();
        let answered = ask(&house.router, "POST", "/v1/books/1/batches").key(ADMIN).body(body).send().await;
        assert_eq!(answered.expect(status, code).pointer(), format!("#/items/0/{pointer}"));
    }
    assert_eq!(house.engine_head(), head);
}

#[tokio::test]
async fn a_limit_begins_anew_with_the_day_of_the_zone() {
    let now_us = Arc::new(AtomicI64::new(NOON.0));
    let mut house = House::at(Arc::clone(&now_us), |_| {}).furnish().await;
    house.post(ADMIN, "calendar", &calendar(json!({}))).await.expect(201, "");
    house.post(ADMIN, ANNAS_LIMITS, &limits(json!({"daily": "30.00"}))).await.expect(201, "");
    house.post(ANNA, "transfers", &transfer("30.00", json!({}))).await.expect(201, "");
    // Midnight in Berlin is 23:00 UTC.
    let midnight: Timestamp = "2026-11-21T23:00:00Z".parse().unwrap();
    now_us.store(midnight.0 - 1, Ordering::SeqCst);
    house.post(ANNA, "transfers", &transfer("0.01", json!({}))).await.expect(422, "limit_exceeded");
    now_us.store(midnight.0, Ordering::SeqCst);
    house.post(ANNA, "transfers", &transfer("30.00", json!({}))).await.expect(201, "");
}
