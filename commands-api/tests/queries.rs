//! Queries over a real book: what is shown, to whom, page by page, and from which sequence on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;

use commands_api::{ApiState, router};
use common::{ADMIN, ANNA, BORIS, House, READER, Script, Scripted, ask, parts};
use event_schemas::{AccountId, BookId, Rejection, Sequence};
use ledger_core::ports::{Answer, CommandSink as _, Verdict};
use projections::memory::MemoryRows;
use serde_json::{Value, json};

fn transfer(from: &str, to: &str, amount: &str, more: &str) -> String {
    format!(r#"{{"from":"{from}","to":"{to}","amount":"{amount}","currency":"EUR"{more}}}"#)
}

#[tokio::test]
async fn an_account_is_shown() {
    let mut house = House::furnished().await;
    let body =
        r#"{"code":"anna:credit","kind":"liability","currency":"EUR","owner":"client:anna","overdraft":"50.00"}"#;
    let opened = house.post(ADMIN, "accounts", body).await;
    let id = AccountId::from_code(BookId::FIRST, "anna:credit").to_string();
    assert_eq!(opened.body["account"], id);
    house.post(ANNA, "transfers", &transfer("anna:credit", "boris:eur", "20.00", "")).await.expect(201, "");
    let by_code = house.get(ADMIN, "accounts/anna:credit").await;
    by_code.expect(200, "");
    assert_eq!(house.get(READER, &format!("accounts/{id}")).await.body, by_code.body);
    assert_eq!(house.get(ANNA, "accounts/anna%3Acredit").await.body, by_code.body, "percent-decoded");
    insta::assert_json_snapshot!(by_code.body, @r##"
    {
      "account": "d3d1cabf-31ee-8459-b84f-9e639d1df640",
      "available": "30.00",
      "balance": "-20.00",
      "changed_sequence": 8,
      "code": "anna:credit",
      "currency": "EUR",
      "kind": "liability",
      "opened_at": "2026-11-21T12:00:00.000000Z",
      "opened_sequence": 7,
      "overdraft": "50.00",
      "owner": "client:anna",
      "sequence": 8,
      "status": "open"
    }
    "##);
    insta::assert_json_snapshot!(house.get(ADMIN, "accounts/anna:credit/balance").await.body, @r##"
    {
      "account": "d3d1cabf-31ee-8459-b84f-9e639d1df640",
      "available": "30.00",
      "balance": "-20.00",
      "credits": "0.00",
      "currency": "EUR",
      "debits": "20.00",
      "kind": "liability",
      "pending_credits": "0.00",
      "pending_debits": "0.00",
      "sequence": 8
    }
    "##);
    house.get(ADMIN, "accounts/nobody").await.expect(404, "account_not_found");
    house.get(ADMIN, "accounts/no%20body").await.expect(404, "account_not_found");
}

#[tokio::test]
async fn balances_of_other_moments() {
    let mut house = House::furnished().await;
    let opened = house.get(ADMIN, "accounts/anna:eur").await.body["opened_sequence"].as_u64().unwrap();
    let dated = transfer("anna:eur", "boris:eur", "30.00", r#","effective_on":"2026-11-01""#);
    let moved = house.post(ADMIN, "transfers", &dated).await.sequence();
    let balance = |query: String| {
        let house = &house;
        async move { house.get(ADMIN, &format!("accounts/anna:eur/balance?{query}")).await }
    };
    for (query, expected) in [
        (format!("at_sequence={}", moved - 1), "100.00"),
        (format!("at_sequence={moved}"), "70.00"),
        (format!("at_sequence={opened}"), "0.00"),
        ("at_time=2026-11-21T12:00:00Z".into(), "70.00"),
        ("on_date=2026-10-31".into(), "0.00"),
        ("on_date=2026-11-01".into(), "-30.00"),
        ("on_date=2026-11-21".into(), "70.00"),
    ] {
        let answered = balance(query.clone()).await;
        assert_eq!(answered.expect(200, "").body["balance"], expected, "{query}");
    }
    assert_eq!(balance(format!("at_sequence={}", moved - 1)).await.sequence(), moved - 1, "it says which moment");
    balance(format!("at_sequence={}", opened - 1)).await.expect(404, "account_not_found");
    balance("at_time=2026-11-21T11:59:59Z".into()).await.expect(404, "account_not_found");
    balance(format!("at_sequence={}", moved + 1)).await.expect(400, "sequence_in_future");
    for query in ["at_sequence=1&on_date=2026-11-21", "at_time=noon", "on_date=2026-13-01", "at_sequence=-1", "at=1"] {
        balance(query.into()).await.expect(400, "query_invalid");
    }
}

#[tokio::test]
async fn a_statement_is_read_page_by_page() {
    let mut house = House::furnished().await;
    for cents in 1..=7 {
        let body = transfer("anna:eur", "boris:eur", &format!("0.0{cents}"), r#","reference":"r""#);
        house.post(ANNA, "transfers", &body).await.expect(201, "");
    }
    let page = |query: String| {
        let house = &house;
        async move { house.get(ANNA, &format!("accounts/anna:eur/statement?{query}")).await.expect(200, "").body.clone() }
    };
    let all = page("limit=1000".into()).await;
    let lines = all["lines"].as_array().unwrap().clone();
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0]["balance"], "100.00");
    assert_eq!(lines[7]["balance"], "99.72");
    assert_eq!(all["next_cursor"], Value::Null);
    assert_eq!(lines[7].get("actor"), None, "a customer is not shown who gave a command");
    insta::assert_json_snapshot!(lines[7], @r##"
    {
      "amount": "0.07",
      "balance": "99.72",
      "command_id": "b79574a3-92b8-8aa1-af45-66d923c27be9",
      "currency": "EUR",
      "effective_on": "2026-11-21",
      "entry_kind": "transfer",
      "posting": 0,
      "recorded_at": "2026-11-21T12:00:00.000000Z",
      "reference": "r",
      "sequence": 13,
      "side": "debit"
    }
    "##);

    let mut read = Vec::new();
    let mut query = "limit=3".to_owned();
    let end = loop {
        let page = page(query).await;
        read.extend(page["lines"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=3&cursor={cursor}"),
            None => break page["end_cursor"].as_str().unwrap().to_owned(),
        }
    };
    assert_eq!(read, lines, "the pages make up the whole");
    let mut backwards = page("limit=8&order=newest_first".into()).await["lines"].as_array().unwrap().clone();
    backwards.reverse();
    assert_eq!(backwards, lines);

    // A cursor goes on where it ended, once there is more; and it belongs to its query.
    assert_eq!(page(format!("cursor={end}")).await["lines"], json!([]));
    let refused = |letter: char, path: String| {
        let house = &house;
        async move { house.get(letter, &path).await.expect(400, "cursor_invalid").body.clone() }
    };
    refused(BORIS, format!("accounts/boris:eur/statement?cursor={end}")).await;
    refused(ANNA, format!("accounts/anna:eur/statement?order=newest_first&cursor={end}")).await;
    refused(ADMIN, format!("accounts?cursor={end}")).await;
    refused(ANNA, format!("accounts/anna:eur/statement?cursor={}", &end[1..])).await;
    house.post(ANNA, "transfers", &transfer("anna:eur", "boris:eur", "1.00", "")).await.expect(201, "");
    let more = house.get(ANNA, &format!("accounts/anna:eur/statement?cursor={end}")).await;
    assert_eq!(more.expect(200, "").body["lines"].as_array().unwrap().len(), 1);
    for query in ["limit=0", "limit=1001", "limit=x", "order=sideways", "page=2"] {
        house.get(ANNA, &format!("accounts/anna:eur/statement?{query}")).await.expect(400, "query_invalid");
    }
}

#[tokio::test]
async fn accounts_are_listed_and_a_customer_sees_its_own() {
    let mut house = House::furnished().await;
    for number in 0..5 {
        let body = format!(r#"{{"code":"anna:{number}","kind":"liability","currency":"EUR","owner":"client:anna"}}"#);
        house.post(ADMIN, "accounts", &body).await.expect(201, "");
    }
    let listed = |letter: char| {
        let house = &house;
        async move {
            let mut codes = Vec::new();
            let mut query = "limit=2".to_owned();
            loop {
                let page = house.get(letter, &format!("accounts?{query}")).await.expect(200, "").body.clone();
                for account in page["accounts"].as_array().unwrap() {
                    codes.push(account["code"].as_str().unwrap().to_owned());
                }
                match page["next_cursor"].as_str() {
                    Some(cursor) => query = format!("limit=2&cursor={cursor}"),
                    None => break,
                }
            }
            codes.sort();
            codes
        }
    };
    assert_eq!(listed(ANNA).await, ["anna:0", "anna:1", "anna:2", "anna:3", "anna:4", "anna:eur"]);
    assert_eq!(listed(BORIS).await, ["boris:eur"]);
    let all = listed(ADMIN).await;
    assert_eq!(all.len(), 8);
    assert!(all.contains(&"sys:psp-clearing:EUR".to_owned()), "{all:?}");
    let page = house.get(ANNA, "accounts?limit=1").await;
    let cursor = page.body["next_cursor"].as_str().unwrap();
    house.get(BORIS, &format!("accounts?cursor={cursor}")).await.expect(400, "cursor_invalid");
}

#[tokio::test]
async fn verdicts_are_found_by_id() {
    let mut house = House::furnished().await;
    let done = house.post(ANNA, "transfers", &transfer("anna:eur", "boris:eur", "1.00", "")).await;
    let refused = house.post(ANNA, "transfers", &transfer("anna:eur", "boris:eur", "1000.00", "")).await;
    let path = |answered: &common::Answered| format!("commands/{}", answered.body["command_id"].as_str().unwrap());
    let found = house.get(ANNA, &path(&done)).await;
    assert_eq!(found.expect(200, "").body["verdict"], "accepted");
    assert_eq!(found.body["event"]["type"], "ledger.entry.posted.v1");
    assert_eq!(found.body["sequence"], done.body["sequence"]);
    let found = house.get(ANNA, &path(&refused)).await;
    assert_eq!(found.expect(200, "").body["verdict"], "rejected");
    assert_eq!(found.body["code"], "insufficient_funds");
    assert_eq!(found.body["event"]["data"]["rejection"]["available_minor"], "9900", "her own figures");
    house.get(BORIS, &path(&done)).await.expect(404, "command_not_found");
    house.get(ADMIN, &path(&done)).await.expect(200, "");
    house.get(ADMIN, "commands/none").await.expect(404, "command_not_found");
}

#[tokio::test]
async fn a_customer_is_not_shown_what_others_are_short_of() {
    // The receiver is an account whose balance falls when it is credited, and it has nothing.
    let mut house = House::furnished().await;
    let body = r#"{"code":"till","kind":"asset","currency":"EUR"}"#;
    house.post(ADMIN, "accounts", body).await.expect(201, "");
    let to_till = transfer("anna:eur", "till", "1.00", "");
    let house_sees = house.post(ADMIN, "transfers", &to_till).await;
    assert!(house_sees.expect(422, "insufficient_funds").body["observed"]["available_minor"].is_string());
    let anna_sees = house.post(ANNA, "transfers", &to_till).await;
    assert_eq!(anna_sees.expect(422, "insufficient_funds").body.get("observed"), None);
    let path = format!("commands/{}", anna_sees.body["command_id"].as_str().unwrap());
    assert_eq!(
        house.get(ANNA, &path).await.expect(200, "").body["event"]["data"]["rejection"],
        json!({ "code": "insufficient_funds" })
    );
    let own = house.post(ANNA, "transfers", &transfer("anna:eur", "boris:eur", "101.00", "")).await;
    assert_eq!(own.expect(422, "insufficient_funds").body["observed"]["available_minor"], "10000");
}

#[tokio::test]
async fn the_book_and_its_trial_balance() {
    let house = House::furnished().await;
    let book = house.get(ANNA, "").await;
    insta::assert_json_snapshot!(book.expect(200, "").body, @r##"
    {
      "book": 1,
      "read_models": {
        "audit": 6,
        "balances": 6,
        "limits": 6,
        "notifications": 6,
        "rates": 6,
        "settings": 6,
        "statements": 6,
        "trial_balance": 6
      },
      "sequence": 6,
      "writer": "serving"
    }
    "##);
    insta::assert_json_snapshot!(house.get(ADMIN, "trial-balance").await.body, @r##"
    {
      "accounts": 3,
      "balanced": true,
      "currencies": [
        {
          "balanced": true,
          "credits": "200.00",
          "currency": "EUR",
          "debits": "200.00",
          "lines": [
            {
              "accounts": 1,
              "balance": "200.00",
              "credits": "0.00",
              "debits": "200.00",
              "kind": "asset",
              "postings": 2
            },
            {
              "accounts": 2,
              "balance": "200.00",
              "credits": "200.00",
              "debits": "0.00",
              "kind": "liability",
              "postings": 2
            }
          ]
        }
      ],
      "entries": 2,
      "sequence": 6
    }
    "##);
    let off = router(ApiState::new(parts(Scripted::of(Vec::new()), None)));
    let book = ask(&off, "GET", "/v1/books/1").key(ADMIN).send().await;
    assert_eq!(book.expect(200, "").body["read_models"], Value::Null);
}

#[tokio::test]
async fn a_query_waits_for_the_sequence_it_asks_for() {
    let mut house = House::furnished().await;
    // Posted, but the read models have not come by yet.
    let posted = ask(&house.router, "POST", "/v1/books/1/transfers")
        .key(ANNA)
        .idempotent("now")
        .body(transfer("anna:eur", "boris:eur", "10.00", ""))
        .send()
        .await;
    let sequence = posted.expect(201, "").sequence();
    assert_eq!(house.engine.status().durable, Sequence(sequence));
    let path = format!("/v1/books/1/accounts/anna:eur/balance?min_sequence={sequence}");
    assert_eq!(house.balance("anna:eur").await, "100.00", "without asking, what is there");
    let late = ask(&house.router, "GET", &format!("{path}&timeout_ms=20")).key(ANNA).send().await;
    late.expect(504, "read_model_behind");
    // What is not recorded is not waited for.
    let future = format!("/v1/books/1/accounts/anna:eur/balance?min_sequence={}", sequence + 1);
    ask(&house.router, "GET", &future).key(ANNA).send().await.expect(400, "sequence_in_future");
    let waiting = tokio::spawn(ask(&house.router, "GET", &path).key(ANNA).send());
    tokio::task::yield_now().await;
    house.catch_up();
    let answered = waiting.await.unwrap();
    assert_eq!(answered.expect(200, "").body["balance"], "90.00");
    assert!(answered.sequence() >= sequence);
    house.get(ANNA, "accounts?timeout_ms=30001").await.expect(400, "query_invalid");
}

#[tokio::test]
async fn commands_reach_the_engine_as_they_were_meant() {
    use event_schemas::command::{BalancePolicy, PostTransfer};
    use event_schemas::{CivilDate, CommandBody, Money};
    let sink = Scripted::of(vec![Script::Answer(Answer::Recorded {
        verdict: Verdict::Rejected(Rejection::AmountTooLarge),
        sequence: Sequence(9),
        recorded_at: common::NOON,
        replayed: false,
    })]);
    let api = router(ApiState::new(parts(Arc::<Scripted>::clone(&sink), Some(Arc::new(MemoryRows::new())))));
    let more = r#","fee":"0.50","effective_on":"2026-01-31","reference":"rent é""#;
    let body = transfer("a:1", "0190a5d4-7c1e-7000-8000-000000000001", "10", more);
    ask(&api, "POST", "/v1/books/1/transfers")
        .key(ADMIN)
        .idempotent("k")
        .header("content-type", "application/json; charset=utf-8")
        .body(body)
        .send()
        .await
        .expect(422, "amount_too_large");
    let body = r#"{"code":"a:2","kind":"asset","currency":"JPY","overdraft":"unlimited"}"#;
    ask(&api, "POST", "/v1/books/1/accounts").key(ADMIN).idempotent("k").body(body).send().await.expect(201, "");
    let given = sink.given.lock().unwrap();
    let expected = PostTransfer {
        from: AccountId::from_code(BookId::FIRST, "a:1"),
        to: "0190a5d4-7c1e-7000-8000-000000000001".parse().unwrap(),
        amount: Money::new(1_000, "EUR".parse().unwrap()),
        fee_minor: Some(50),
        effective_on: CivilDate::from_ymd(2026, 1, 31),
        reference: "rent é".into(),
    };
    assert_eq!(given[0].body, CommandBody::PostTransfer(expected));
    assert_eq!(
        given[0].id,
        event_schemas::CommandId::from_idempotency_key(common::TENANT, "holder-a", "post_transfer", "k")
    );
    let CommandBody::OpenAccount(open) = &given[1].body else { panic!("{:?}", given[1]) };
    assert_eq!((open.policy, open.currency.exponent()), (BalancePolicy::Unlimited, 0));
    assert_eq!(given[0].actor, event_schemas::PrincipalId::derive(common::TENANT, "holder-a"));
}
