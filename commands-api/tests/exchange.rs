//! Foreign exchange over the API: sheets, rates, quotes and conversions, and everything that goes wrong with them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use commands_api::{QuoteKeys, Quotes};
use common::{ADMIN, ANNA, Answered, BORIS, House, NOON, READER, WRITER, ask};
use event_schemas::Timestamp;
use serde_json::{Value, json};

/// A house that makes quotes by the clock of its engine, with accounts of two customers in two currencies each.
struct Desk {
    house: House,
    clock: Arc<AtomicI64>,
}

fn quotes(clock: &Arc<AtomicI64>, key: &str) -> Quotes {
    let clock = Arc::clone(clock);
    let now = Arc::new(move || Timestamp(clock.load(Ordering::SeqCst)));
    Quotes { keys: QuoteKeys::parse(&key.repeat(32)).unwrap(), now }
}

fn sheet(version: u64, usd_eur: &str, lasts_s: i64) -> String {
    json!({
        "version": version, "pivot": "USD", "source": "table", "quoted_on": "2026-11-20",
        "fetched_at": "2026-11-21T11:00:00Z", "valid_until": Timestamp(NOON.0 + lasts_s * 1_000_000),
        "quote_seconds": 30,
        "rates": [{ "currency": "JPY", "per_pivot": "150" }, { "currency": "EUR", "per_pivot": usd_eur }],
        "margins": [{ "tier": "gold", "margin_ppm": 2500 }, { "margin_ppm": 10000 }],
    })
    .to_string()
}

impl Desk {
    async fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(NOON.0));
        let mut house = House::at(Arc::clone(&clock), |parts| parts.quotes = Some(quotes(&clock, "7f")));
        for (owner, currency) in [("anna", "EUR"), ("anna", "USD"), ("anna", "CHF"), ("boris", "EUR"), ("boris", "USD")]
        {
            let code = format!("{owner}:{}", currency.to_lowercase());
            let body =
                json!({ "code": code, "kind": "liability", "currency": currency, "owner": format!("client:{owner}") });
            house.post(ADMIN, "accounts", &body.to_string()).await.expect(201, "");
        }
        for owner in ["anna", "boris"] {
            let body = format!(r#"{{"account":"{owner}:usd","amount":"1000.00","currency":"USD"}}"#);
            house.post(ADMIN, "top-ups", &body).await.expect(201, "");
        }
        Self { house, clock }
    }

    async fn with_rates() -> Self {
        let mut desk = Self::new().await;
        desk.house.post(ADMIN, "rate-sheets", &sheet(1, "0.92345", 3_600)).await.expect(201, "");
        desk
    }

    async fn quote(&mut self, key: char, body: &str) -> Answered {
        ask(&self.house.router, "POST", "/v1/books/1/quotes").key(key).body(body.to_owned()).send().await
    }

    async fn convert(&mut self, key: char, quote: &str) -> Answered {
        let body = json!({ "quote": quote }).to_string();
        let answered = ask(&self.house.router, "POST", "/v1/books/1/conversions").key(key).body(body).send().await;
        self.house.catch_up();
        answered
    }

    fn wait(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

const HUNDRED: &str = r#"{"from":"anna:usd","to":"anna:eur","amount":"100","currency":"USD","reference":"holiday"}"#;

#[tokio::test]
async fn a_quote_is_kept_once_and_shows_everywhere() {
    let mut desk = Desk::with_rates().await;
    let head = desk.house.engine_head();
    let quote = desk.quote(ANNA, HUNDRED).await.expect(201, "").body.clone();
    assert_eq!(desk.house.engine_head(), head, "a quote is on record");
    for (member, expected) in [
        ("fixed", json!("sold")),
        ("sold", json!({ "amount": "100.00", "currency": "USD" })),
        ("bought", json!({ "amount": "91.42", "currency": "EUR" })),
        ("mid", json!("0.92345")),
        ("rate", json!("0.9142155")),
        ("margin_ppm", json!(10_000)),
        ("margin", json!({ "amount": "0.92", "currency": "EUR" })),
        ("rounding", json!({ "amount": "0.00", "currency": "EUR" })),
        ("sheet", json!(1)),
        ("source", json!("table")),
        ("quoted_on", json!("2026-11-20")),
        ("expires_at", json!("2026-11-21T12:00:30.000000Z")),
    ] {
        assert_eq!(quote[member], expected, "{member}");
    }
    let text = quote["quote"].as_str().unwrap();
    let dry = desk.house.dry(ANNA, "conversions", &json!({ "quote": text }).to_string()).await;
    assert_eq!(dry.expect(200, "").body["verdict"], "accepted");
    let first = desk.convert(ANNA, text).await;
    assert_eq!(first.expect(201, "").body["command_id"], quote["quote_id"]);
    assert_eq!(desk.house.balance("anna:usd").await, "900.00");
    assert_eq!(desk.house.balance("anna:eur").await, "91.42");
    // Again, and long after it has expired: the same verdict, and no second effect.
    desk.wait(3_000);
    let again = desk.convert(ANNA, text).await;
    again.expect(201, "");
    assert_eq!((again.sequence(), again.header("idempotency-replayed")), (first.sequence(), "true"));
    assert_eq!(desk.house.balance("anna:eur").await, "91.42");
    let line = desk.house.get(ANNA, "accounts/anna:eur/statement").await.body["lines"][0].clone();
    assert_eq!((&line["entry_kind"], &line["reference"]), (&json!("conversion"), &json!("holiday")));
    let exposure = desk.house.get(ADMIN, "exposure").await.expect(200, "").body.clone();
    let positions = exposure["positions"].as_array().unwrap();
    let of = |place: usize, member: &str| positions[place][member]["amount"].as_str().unwrap_or("none").to_owned();
    assert_eq!(positions.len(), 2);
    // Euros first: 92.34 were given at the mid, which are 99.99 dollars.
    assert_eq!([of(0, "position"), of(0, "value"), of(0, "margin")], ["-92.34", "-99.99", "0.92"]);
    assert_eq!([of(1, "position"), of(1, "value"), of(1, "margin")], ["100.00", "100.00", "0.00"]);
    let balances = desk.house.trial_balance().await;
    assert_eq!(balances["balanced"], true, "{balances}");
    let reverse = format!("entries/{}/reverse", quote["quote_id"].as_str().unwrap());
    desk.house.post(ADMIN, &reverse, "{}").await.expect(201, "");
    assert_eq!(desk.house.balance("anna:usd").await, "1000.00");
}

#[tokio::test]
async fn the_amount_bought_may_be_named_and_tiers_are_the_houses() {
    let mut desk = Desk::with_rates().await;
    let body = r#"{"from":"anna:usd","to":"anna:eur","amount":"91.42","currency":"EUR"}"#;
    let quote = desk.quote(ANNA, body).await.expect(201, "").body.clone();
    assert_eq!((&quote["fixed"], &quote["sold"]["amount"]), (&json!("bought"), &json!("100.00")));
    assert_eq!(quote["margin"], json!({ "amount": "1.00", "currency": "USD" }));
    let gold = r#"{"from":"anna:usd","to":"anna:eur","amount":"100","currency":"USD","tier":"gold"}"#;
    desk.quote(ANNA, gold).await.expect(403, "forbidden");
    let quote = desk.quote(WRITER, gold).await.expect(201, "").body.clone();
    assert_eq!((&quote["margin_ppm"], &quote["bought"]["amount"]), (&json!(2_500), &json!("92.11")));
    desk.convert(WRITER, quote["quote"].as_str().unwrap()).await.expect(201, "");
    assert_eq!(desk.house.balance("anna:eur").await, "92.11");
}

#[tokio::test]
async fn rates_are_told_by_day_and_base() {
    let mut desk = Desk::with_rates().await;
    let latest = desk.house.get(ANNA, "rates/latest").await.expect(200, "").body.clone();
    assert_eq!((&latest["base"], &latest["rates"]), (&json!("USD"), &json!({ "EUR": "0.92345", "JPY": "150" })));
    let crossed = desk.house.get(READER, "rates/latest?base=EUR&symbols=USD,JPY").await.expect(200, "").body.clone();
    assert_eq!(crossed["rates"], json!({ "USD": "1.082895663", "JPY": "162.4343494504" }));
    for (path, code) in [
        ("rates/latest?base=CHF", "rate_not_found"),
        ("rates/latest?symbols=CHF", "rate_not_found"),
        ("rates/2026-11-19", "not_found"),
        ("rates/yesterday", "not_found"),
        ("rates/latest?base=euro", "query_invalid"),
        ("rates/latest?symbols=", "query_invalid"),
        ("rates/latest?of=USD", "query_invalid"),
    ] {
        assert_eq!(desk.house.get(ADMIN, path).await.code(), code, "{path}");
    }
    desk.house.post(ADMIN, "rate-sheets", &sheet(2, "0.93", 3_600)).await.expect(201, "");
    let day = desk.house.get(ANNA, "rates/2026-11-22").await.expect(200, "").body.clone();
    assert_eq!((&day["sheet"], &day["date"], &day["rates"]["EUR"]), (&json!(2), &json!("2026-11-20"), &json!("0.93")));
    desk.house.get(ANNA, "exposure").await.expect(403, "forbidden");
    assert_eq!(desk.house.get(ADMIN, "exposure").await.expect(200, "").body["positions"], json!([]));
}

#[tokio::test]
async fn what_can_not_be_quoted_has_a_code() {
    let mut desk = Desk::new().await;
    desk.quote(ANNA, HUNDRED).await.expect(422, "rate_sheet_not_found");
    assert_eq!(desk.house.get(ADMIN, "rates/latest").await.code(), "not_found");
    desk.house.post(ADMIN, "rate-sheets", &sheet(1, "0.92345", 3_600)).await.expect(201, "");
    for (key, body, status, code, pointer) in [
        (ANNA, json!({ "amount": "0", "currency": "USD" }), 422, "amount_not_positive", "#/amount"),
        (ANNA, json!({ "amount": "0.001", "currency": "USD" }), 422, "amount_too_precise", "#/amount"),
        (ANNA, json!({ "amount": "0.01", "currency": "USD" }), 422, "converted_amount_zero", "#/amount"),
        (ANNA, json!({ "amount": "1", "currency": "GBP" }), 422, "currency_mismatch", "#/currency"),
        (ANNA, json!({ "amount": "1", "currency": "XXX" }), 422, "currency_unknown", "#/currency"),
        (ANNA, json!({ "amount": "1", "currency": "USD", "to": "anna:chf" }), 422, "rate_not_found", "#/to"),
        (ANNA, json!({ "amount": "1", "currency": "USD", "to": "anna:usd" }), 422, "same_account", "#/to"),
        (ANNA, json!({ "amount": "1", "currency": "USD", "to": "nobody" }), 404, "account_not_found", "#/to"),
        (ADMIN, json!({ "amount": "1", "currency": "USD", "to": "boris:eur" }), 422, "quote_of_another", "#/to"),
        (ADMIN, json!({ "amount": "1", "currency": "USD", "to": "boris:usd" }), 422, "quote_of_another", "#/to"),
        (ANNA, json!({ "amount": "1", "currency": "USD", "to": "boris:eur" }), 403, "forbidden", ""),
        (BORIS, json!({ "amount": "1", "currency": "USD" }), 403, "forbidden", ""),
        (READER, json!({ "amount": "1", "currency": "USD" }), 403, "forbidden", ""),
        (ANNA, json!({ "amount": "1" }), 400, "missing_field", "#/currency"),
        (ANNA, json!({ "amount": "1", "currency": "USD", "rate": "2" }), 400, "unknown_field", "#/rate"),
    ] {
        let mut whole = json!({ "from": "anna:usd", "to": "anna:eur" });
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let answered = desk.quote(key, &whole.to_string()).await;
        assert_eq!((answered.status.as_u16(), answered.code(), answered.pointer()), (status, code, pointer), "{whole}");
    }
    ask(&desk.house.router, "POST", "/v1/books/1/quotes?dry_run=true")
        .key(ANNA)
        .body(HUNDRED)
        .send()
        .await
        .expect(400, "query_invalid");
    desk.wait(3_601);
    desk.quote(ANNA, HUNDRED).await.expect(422, "rate_sheet_stale");
}

#[tokio::test]
async fn a_quote_that_is_not_good_converts_nothing() {
    let mut desk = Desk::with_rates().await;
    let quote = desk.quote(ANNA, HUNDRED).await.body["quote"].as_str().unwrap().to_owned();
    desk.convert(BORIS, &quote).await.expect(422, "quote_of_another");
    desk.convert(ADMIN, &quote).await.expect(422, "quote_of_another");
    let mut other = quote.clone().into_bytes();
    let last = other.len() - 4;
    other[last] = if other[last] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(other).unwrap();
    for text in [tampered.as_str(), "", "x", &quote[1..], &"A".repeat(2_000)] {
        let answered = desk.convert(ANNA, text).await;
        assert_eq!((answered.code(), answered.pointer()), ("quote_invalid", "#/quote"), "{text}");
    }
    // Made with another key: by another house.
    let clock = Arc::clone(&desk.clock);
    let stranger = House::at(Arc::clone(&clock), |parts| parts.quotes = Some(quotes(&clock, "7e")));
    let body = json!({ "quote": quote }).to_string();
    let answered = ask(&stranger.router, "POST", "/v1/books/1/conversions").key(ANNA).body(body).send().await;
    answered.expect(422, "quote_invalid");
    let off = House::new();
    let body = json!({ "quote": quote }).to_string();
    ask(&off.router, "POST", "/v1/books/1/conversions").key(ANNA).body(body).send().await.expect(503, "quotes_off");
    let before = desk.house.trial_balance().await;
    // Frozen in between.
    desk.house.post(ADMIN, "accounts/anna:eur/freeze", "{}").await.expect(201, "");
    let refused = desk.convert(ANNA, &quote).await;
    assert_eq!((refused.code(), refused.pointer()), ("account_frozen", "#/quote"));
    desk.house.post(ADMIN, "accounts/anna:eur/unfreeze", "{}").await.expect(201, "");
    // Refused is a verdict too: this quote is used up.
    desk.convert(ANNA, &quote).await.expect(422, "account_frozen");
    let late = desk.quote(ANNA, HUNDRED).await.body["quote"].as_str().unwrap().to_owned();
    desk.wait(31);
    let refused = desk.convert(ANNA, &late).await;
    refused.expect(422, "quote_expired");
    let much = r#"{"from":"anna:usd","to":"anna:eur","amount":"1000.01","currency":"USD"}"#;
    let quote = desk.quote(ANNA, much).await.body["quote"].as_str().unwrap().to_owned();
    let refused = desk.convert(ANNA, &quote).await;
    assert_eq!((refused.code(), refused.pointer()), ("insufficient_funds", "#/quote"));
    assert_eq!(refused.body["observed"]["required_minor"], "100001");
    assert_eq!(desk.house.trial_balance().await, before);
}

#[tokio::test]
async fn a_quote_outlives_its_sheet_and_not_sixteen_more() {
    let mut desk = Desk::with_rates().await;
    let quote = |answered: Answered| answered.body["quote"].as_str().unwrap().to_owned();
    let (one, other) = (quote(desk.quote(ANNA, HUNDRED).await), quote(desk.quote(ANNA, HUNDRED).await));
    for version in 2..=16 {
        desk.house.post(ADMIN, "rate-sheets", &sheet(version, "0.5", 3_600)).await.expect(201, "");
    }
    desk.convert(ANNA, &one).await.expect(201, "");
    assert_eq!(desk.house.balance("anna:eur").await, "91.42");
    desk.house.post(ADMIN, "rate-sheets", &sheet(17, "0.5", 3_600)).await.expect(201, "");
    desk.convert(ANNA, &other).await.expect(422, "rate_sheet_not_found");
}

#[tokio::test]
async fn a_sheet_that_can_not_be_has_a_code() {
    let mut desk = Desk::with_rates().await;
    let good: Value = serde_json::from_str(&sheet(2, "0.92345", 3_600)).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body.to_string()
    };
    for (body, status, code, pointer) in [
        (with("/version", json!(1)), 409, "version_not_newer", "#/version"),
        (with("/rates/0/per_pivot", json!("0")), 422, "rate_invalid", "#/rates/0/per_pivot"),
        (with("/rates/1/per_pivot", json!("-1")), 422, "rate_invalid", "#/rates/1/per_pivot"),
        (with("/rates/1/per_pivot", json!("1e3")), 422, "rate_invalid", "#/rates/1/per_pivot"),
        (with("/rates/1/per_pivot", json!("0.123456789012345")), 422, "rate_invalid", "#/rates/1/per_pivot"),
        (with("/rates/1/per_pivot", json!(0.92)), 400, "field_invalid", "#/rates/1/per_pivot"),
        (with("/rates/1/currency", json!("USD")), 422, "rate_sheet_invalid", "#/rates"),
        (with("/rates/1/currency", json!("JPY")), 422, "rate_sheet_invalid", "#/rates"),
        (with("/rates", json!([])), 422, "rate_sheet_invalid", "#/rates"),
        (with("/margins", json!([])), 422, "rate_sheet_invalid", "#/margins"),
        (with("/margins/1", json!({ "margin_ppm": 1, "sold": "USD" })), 422, "rate_sheet_invalid", "#/margins"),
        (with("/margins/0/margin_ppm", json!(500_001)), 422, "rate_sheet_invalid", "#/margins/0/margin_ppm"),
        (with("/quote_seconds", json!(0)), 422, "rate_sheet_invalid", "#/quote_seconds"),
        (with("/valid_until", json!("2026-11-21T11:00:00Z")), 422, "rate_sheet_invalid", "#/valid_until"),
        (with("/source", json!("")), 422, "rate_sheet_invalid", "#/source"),
        (with("/pivot", json!("XXX")), 422, "currency_unknown", "#/pivot"),
        (with("/quoted_on", json!("today")), 422, "date_invalid", "#/quoted_on"),
    ] {
        let answered = desk.house.post(ADMIN, "rate-sheets", &body).await;
        assert_eq!((answered.status.as_u16(), answered.code(), answered.pointer()), (status, code, pointer), "{body}");
    }
    desk.house.post(WRITER, "rate-sheets", &good.to_string()).await.expect(403, "forbidden");
    desk.house.post(ANNA, "rate-sheets", &good.to_string()).await.expect(403, "forbidden");
    desk.house.post(ADMIN, "rate-sheets", &good.to_string()).await.expect(201, "");
}
