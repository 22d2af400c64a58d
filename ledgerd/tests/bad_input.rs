//! Everything that must be refused, against the real server: each row shows the status, the stable code, and that no
//! balance moved.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use commands_api::Scope;
use connectors::csv_import::{ImportOptions, Rules, import};
use ledgerd::config::Config;
use ledgerd::keys::{Keys, NewKey};
use serde_json::{Value, json};
use support::{Client, Inside};

const ACCOUNTS: [&str; 6] = ["ada", "bob", "yen", "frozen", "closed", "house"];

/// Accounts of every state: ada has 100.00, bob 5.00.
async fn book() -> Inside {
    let inside = Inside::start().await;
    let api = &inside.client;
    let open = |code: &str, currency: &str| json!({ "code": code, "kind": "liability", "currency": currency });
    for code in ["ada", "bob", "frozen", "closed"] {
        api.done("accounts", code, open(code, "EUR")).await;
    }
    api.done("accounts", "yen", open("yen", "JPY")).await;
    let house = json!({ "code": "house", "kind": "income", "currency": "EUR", "overdraft": "unlimited" });
    api.done("accounts", "house", house).await;
    for (account, amount) in [("ada", "100.00"), ("bob", "5.00"), ("frozen", "7.00")] {
        api.done("top-ups", account, json!({ "account": account, "amount": amount, "currency": "EUR" })).await;
    }
    api.done("accounts/frozen/freeze", "freeze", json!({ "reason": "test" })).await;
    api.done("accounts/closed/close", "close", json!({})).await;
    inside
}

/// Every balance and the trial balance, up to date with all that is durable.
async fn money(api: &Client) -> BTreeMap<String, Value> {
    let mut money = BTreeMap::new();
    for account in ACCOUNTS {
        money.insert(account.to_owned(), Value::String(api.balance(account).await));
    }
    let head = api.head().await;
    let trial = api.get(&format!("/v1/books/1/trial-balance?min_sequence={head}")).await;
    assert_eq!(trial.status, 200, "{}", trial.body);
    assert_eq!(trial.body["balanced"], true);
    money.insert("trial balance".into(), trial.body["currencies"].clone());
    money
}

fn transfer(from: &str, to: &str, amount: &str, currency: &str) -> Value {
    json!({ "from": from, "to": to, "amount": amount, "currency": currency })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn entry(postings: &[(&str, &str, &str, &str)]) -> Value {
    let posting = |&(account, side, amount, currency): &(&str, &str, &str, &str)| json!({ "account": account, "side": side, "amount": amount, "currency": currency });
    json!({ "postings": postings.iter().map(posting).collect::<Vec<_>>() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_commands_are_refused_by_code_and_move_nothing() {
    let inside = book().await;
    let api = &inside.client;
    let before = money(api).await;
    let good = transfer("ada", "bob", "1.00", "EUR");
    let rows: Vec<(&str, &str, Value, u16, &str)> = vec![
        ("unknown sender", "transfers", transfer("nobody", "bob", "1.00", "EUR"), 404, "account_not_found"),
        ("unknown receiver", "transfers", transfer("ada", "nobody", "1.00", "EUR"), 404, "account_not_found"),
        (
            "unknown account of a top-up",
            "top-ups",
            json!({"account":"nobody","amount":"1","currency":"EUR"}),
            404,
            "account_not_found",
        ),
        ("unknown account to freeze", "accounts/nobody/freeze", json!({}), 404, "account_not_found"),
        ("to a closed account", "transfers", transfer("ada", "closed", "1.00", "EUR"), 422, "account_closed"),
        (
            "from a closed account",
            "withdrawals",
            json!({"account":"closed","amount":"1","currency":"EUR"}),
            422,
            "account_closed",
        ),
        ("from a frozen account", "transfers", transfer("frozen", "ada", "1.00", "EUR"), 422, "account_frozen"),
        ("to a frozen account", "transfers", transfer("ada", "frozen", "1.00", "EUR"), 422, "account_frozen"),
        ("closing an account with money", "accounts/ada/close", json!({}), 422, "account_not_empty"),
        ("unfreezing an open account", "accounts/ada/unfreeze", json!({}), 422, "account_not_frozen"),
        ("the accounts' other currency", "transfers", transfer("ada", "bob", "1.00", "USD"), 422, "currency_mismatch"),
        (
            "an account of another currency",
            "transfers",
            transfer("ada", "yen", "1.00", "EUR"),
            422,
            "currency_mismatch",
        ),
        ("no currency at all", "transfers", transfer("ada", "bob", "1.00", "XQX"), 422, "currency_unknown"),
        ("zero", "transfers", transfer("ada", "bob", "0.00", "EUR"), 422, "amount_not_positive"),
        ("negative", "transfers", transfer("ada", "bob", "-1.00", "EUR"), 422, "amount_not_positive"),
        ("negative fee", "transfers", with(good.clone(), "fee", json!("-0.01")), 422, "amount_not_positive"),
        ("too precise", "transfers", transfer("ada", "bob", "1.001", "EUR"), 422, "amount_too_precise"),
        (
            "too precise for yen",
            "top-ups",
            json!({"account":"yen","amount":"1.5","currency":"JPY"}),
            422,
            "amount_too_precise",
        ),
        ("not a number", "transfers", transfer("ada", "bob", "one", "EUR"), 422, "amount_not_a_number"),
        (
            "too large",
            "transfers",
            transfer("ada", "bob", "10000000000000000000000000", "EUR"),
            422,
            "amount_too_large",
        ),
        ("a number that is not a text", "transfers", with(good.clone(), "amount", json!(1.00)), 400, "field_invalid"),
        ("over balance", "transfers", transfer("ada", "bob", "100.01", "EUR"), 422, "insufficient_funds"),
        (
            "over balance by the fee",
            "transfers",
            with(transfer("ada", "bob", "100.00", "EUR"), "fee", json!("0.01")),
            422,
            "insufficient_funds",
        ),
        (
            "withdrawal over balance",
            "withdrawals",
            json!({"account":"bob","amount":"5.01","currency":"EUR"}),
            422,
            "insufficient_funds",
        ),
        ("to oneself", "transfers", transfer("ada", "ada", "1.00", "EUR"), 422, "same_account"),
        ("unknown field", "transfers", with(good.clone(), "ammount", json!("1")), 400, "unknown_field"),
        ("missing field", "transfers", json!({"from":"ada","to":"bob","amount":"1"}), 400, "missing_field"),
        ("not JSON of the kind", "transfers", json!(["ada", "bob"]), 400, "field_invalid"),
        (
            "date that is none",
            "transfers",
            with(good.clone(), "effective_on", json!("2024-02-30")),
            422,
            "date_invalid",
        ),
        (
            "date too early",
            "transfers",
            with(good.clone(), "effective_on", json!("1899-12-31")),
            422,
            "effective_date_out_of_range",
        ),
        (
            "date too late",
            "transfers",
            with(good.clone(), "effective_on", json!("2999-01-01")),
            422,
            "effective_date_out_of_range",
        ),
        (
            "unbalanced entry",
            "entries",
            entry(&[("ada", "debit", "1.00", "EUR"), ("bob", "credit", "1.01", "EUR")]),
            422,
            "entry_unbalanced",
        ),
        (
            "entry unbalanced by currency",
            "entries",
            entry(&[("ada", "debit", "1", "EUR"), ("yen", "credit", "1", "JPY")]),
            422,
            "entry_unbalanced",
        ),
        ("entry of one posting", "entries", entry(&[("ada", "debit", "1.00", "EUR")]), 422, "postings_out_of_bounds"),
        (
            "account that exists",
            "accounts",
            json!({"code":"ada","kind":"liability","currency":"EUR"}),
            409,
            "account_exists",
        ),
        (
            "reserved code",
            "accounts",
            json!({"code":"sys:x","kind":"liability","currency":"EUR"}),
            422,
            "account_code_invalid",
        ),
        (
            "card number",
            "transfers",
            with(good.clone(), "reference", json!("card 4111 1111 1111 1111")),
            422,
            "card_number_in_text",
        ),
        (
            "reference too long",
            "transfers",
            with(good.clone(), "reference", json!("x".repeat(257))),
            422,
            "text_too_long",
        ),
    ];
    for (index, (what, path, body, status, code)) in rows.into_iter().enumerate() {
        let answer = api.post(path, &format!("bad-{index}"), body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{what}: {}", answer.body);
        assert_eq!(money(api).await, before, "{what} moved money");
    }
    inside.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_scopes_ids_and_bodies_are_checked_before_anything_moves() {
    let inside = book().await;
    let api = &inside.client;
    let before = money(api).await;
    let good = transfer("ada", "bob", "1.00", "EUR");
    let config = Config { data: inside.data(), ..Config::default() };
    let keys = tokio::task::spawn_blocking(move || Keys::open(&config).unwrap()).await.unwrap();
    let issue = |scopes: &[Scope], customer: Option<&str>, tenant: &str| {
        let new = NewKey {
            tenant: tenant.into(),
            holder: "test".into(),
            customer: customer.map(Into::into),
            scopes: scopes.to_vec(),
            note: String::new(),
        };
        tokio::task::block_in_place(|| keys.issue(new, "test").unwrap())
    };
    let (_, reader) = issue(&[Scope::Read], None, "main");
    let (_, writer) = issue(&[Scope::Write], None, "main");
    let (_, customer) = issue(&[Scope::Read, Scope::Write], Some("client:9"), "main");
    let (_, stranger) = issue(&Scope::ALL, None, "other");
    let (revoked, void) = issue(&Scope::ALL, None, "main");
    tokio::task::block_in_place(|| keys.revoke(&revoked.id, "test", "").unwrap());
    // The server looks several times a second.
    wait_for(api, reader.reveal()).await;

    let (freeze, open) = ("accounts/ada/freeze", json!({ "code": "new", "kind": "liability", "currency": "EUR" }));
    for (what, key, path, body, status, code) in [
        ("no key", "", "transfers", &good, 401, "unauthorized"),
        ("unknown key", "dop_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "transfers", &good, 401, "unauthorized"),
        ("no key at all", "secret", "transfers", &good, 401, "unauthorized"),
        ("revoked key", void.reveal(), "transfers", &good, 401, "unauthorized"),
        ("key of another tenant", stranger.reveal(), "transfers", &good, 404, "book_not_found"),
        ("a reader writes", reader.reveal(), "transfers", &good, 403, "forbidden"),
        ("a writer freezes", writer.reveal(), freeze, &json!({}), 403, "forbidden"),
        ("a customer takes another's money", customer.reveal(), "transfers", &good, 403, "forbidden"),
        ("a customer opens an account", customer.reveal(), "accounts", &open, 403, "forbidden"),
    ] {
        let answer = api.with_key(key).post(path, "k", body.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{what}: {}", answer.body);
        assert_eq!(money(api).await, before, "{what} moved money");
    }
    let answer = api.with_key(writer.reveal()).get("/v1/books/1/accounts/ada/balance").await;
    assert_eq!((answer.status, answer.code()), (403, "forbidden"), "a writer reads");

    let answer = api.post("transfers", "", good.clone()).await;
    assert_eq!((answer.status, answer.code()), (400, "idempotency_key_missing"));
    let answer = api.post("transfers", "big", with(good.clone(), "reference", json!("x".repeat(300 * 1024)))).await;
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    let raw = api.http.post(format!("{}/v1/books/1/transfers", api.url)).bearer_auth(&api.key);
    let raw = raw.header("idempotency-key", "raw").header("content-type", "application/json");
    let answer = raw.body("{\"from\":").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "invalid_json");
    assert_eq!(api.get("/v1/books/2").await.code(), "book_not_found");
    assert_eq!(money(api).await, before);

    // The same key: the same content gives the old verdict, another content is refused and names the field.
    let first = api.done("transfers", "once", good.clone()).await;
    let after = money(api).await;
    assert_ne!(after, before);
    let again = api.done("transfers", "once", good.clone()).await;
    assert!(again.replayed && again.sequence() == first.sequence());
    for (field, value) in [("amount", "2.00"), ("to", "house"), ("reference", "other"), ("fee", "0.01")] {
        let answer = api.post("transfers", "once", with(good.clone(), field, json!(value))).await;
        assert_eq!((answer.status, answer.code()), (422, "idempotency_conflict"), "{field}: {}", answer.body);
        assert_eq!(answer.body["errors"][0]["pointer"], format!("#/{field}"), "{}", answer.body);
    }
    let mine = with(good.clone(), "id", json!("018f3b5e-0000-7000-8000-000000000001"));
    api.done("transfers", "", mine.clone()).await;
    let after_own_id = money(api).await;
    let answer = api.post("transfers", "", with(mine, "amount", json!("9.00"))).await;
    assert_eq!((answer.status, answer.code()), (422, "idempotency_conflict"));
    assert_eq!(money(api).await, after_own_id);
    inside.end().await;
}

async fn wait_for(api: &Client, key: &str) {
    for _ in 0..200 {
        if api.with_key(key).get("/v1/books/1").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server did not notice a new key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_csv_file_that_do_not_parse_or_are_refused_move_nothing() {
    let inside = book().await;
    let before = money(&inside.client).await;
    let rules = r#"
source = "bad"
[row]
key = "{id}"
account = "{account}"
date = { column = "date", format = "yyyy-mm-dd" }
amount = { column = "amount" }
side = { signed = true }
currency = "EUR"
[[account]]
match = "*"
open = false
[[template]]
kind = "entry"
counter = "house"
"#;
    let csv = "id,account,date,amount\n\
        1,ada,2024-01-02\n\
        2,ada,2024-13-01,1.00\n\
        3,ada,2024-01-02,many\n\
        4,nobody,2024-01-02,1.00\n\
        5,ada,2024-01-02,-100.01\n\
        6,ada,2024-01-02,1.005\n\
        7,frozen,2024-01-02,1.00\n\
        ,ada,2024-01-02,1.00\n";
    let file = inside.folder.path().join("bad.csv");
    std::fs::write(&file, csv).unwrap();
    let report = inside.folder.path().join("refused.csv");
    let options = ImportOptions {
        url: inside.client.url.clone(),
        key: inside.client.key.clone(),
        connections: 1,
        strict: false,
        refused: Some(report.clone()),
        retry_for: Duration::from_secs(10),
    };
    let rules = Arc::new(Rules::parse(rules).unwrap());
    let summary = import(rules, &file, &options, |_| ()).await.unwrap();
    assert_eq!((summary.rows, summary.refused, summary.posted), (8, 8, 0));
    let mut reader = csv::Reader::from_path(report).unwrap();
    let mut found: Vec<_> = reader
        .records()
        .map(|record| record.unwrap())
        .map(|record| (record[0].to_owned(), record[2].to_owned()))
        .collect();
    found.sort();
    let expected = [
        ("2", "row_wrong_columns"),
        ("3", "date_invalid"),
        ("4", "amount_not_a_number"),
        ("5", "account_not_found"),
        ("6", "insufficient_funds"),
        ("7", "amount_too_precise"),
        ("8", "account_frozen"),
        ("9", "row_key_invalid"),
    ];
    assert_eq!(found, expected.map(|(line, code)| (line.to_owned(), code.to_owned())));
    assert_eq!(money(&inside.client).await, before);
    inside.end().await;
}
