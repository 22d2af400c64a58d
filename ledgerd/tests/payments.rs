//! Bill payments of a real server with the sandbox as the provider: every outcome, bad input, and what is left when the process
//! dies at every place where that would matter.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::payments::{Payer, bill, held, id_of, pay, payment, settled, steps, verify};
use support::{Client, Dice};

const SANDBOX: &str = "sandbox = true\nattempts = 2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_succeed_fail_are_canceled_and_are_taken_back() {
    let payer = Payer::new(SANDBOX);
    let (server, client) = payer.furnished(&[], "1000.00").await;

    let paid = pay(&client, "b1", &bill("120.50")).await.unwrap();
    assert_eq!((paid.status, &paid.body["status"]), (202, &json!("success")), "{}", paid.body);
    assert_eq!(
        steps(&paid.body),
        ["requested", "hold_placed", "provider_called", "provider_accepted", "captured", "receipt_issued"]
    );
    assert_eq!(client.balance("ada").await, "878.50");
    assert_eq!(client.balance("payable:waterworks:EUR").await, "120.50");
    let again = pay(&client, "b1", &bill("120.50")).await.unwrap();
    assert!(again.replayed, "{}", again.body);
    assert_eq!(again.body, paid.body);
    let other = pay(&client, "b1", &bill("120.51")).await.unwrap();
    assert_eq!((other.status, other.code()), (422, "idempotency_conflict"));

    // The receipt in its three forms.
    let receipt = format!("{}/v1/books/1/payments/{}/receipt", client.url, id_of(&paid));
    for (accept, kind, begin) in [
        ("application/pdf", "application/pdf", "%PDF"),
        ("text/html", "text/html", "<!doctype"),
        ("application/json", "application/json", "{"),
    ] {
        let request = client.http.get(&receipt).bearer_auth(&client.key).header("accept", accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(kind));
        assert!(response.bytes().await.unwrap().starts_with(begin.as_bytes()), "{kind}");
    }

    // Refused by the provider: the hold is let go.
    let refused = pay(&client, "b2", &bill("50.01")).await.unwrap();
    assert_eq!((&refused.body["status"], &refused.body["failure"]), (&json!("failed"), &json!("account_closed")));
    assert_eq!((client.balance("ada").await.as_str(), held(&client, "ada").await), ("878.50", 0));

    // No answer in time, but taken: the status tells. The same answer twice is one.
    for (key, amount) in [("b3", "10.02"), ("b4", "10.05")] {
        let paid = pay(&client, key, &bill(amount)).await.unwrap();
        assert_eq!(paid.body["status"], "success", "{}", paid.body);
    }
    assert_eq!(client.balance("ada").await, "856.43");

    // Another amount, contradicting answers, and a provider that is down: parked, and the money is still held.
    for (key, amount, code) in [
        ("b5", "10.04", "provider_amount_differs"),
        ("b6", "10.06", "provider_answers_differ"),
        ("b7", "10.07", "provider_down"),
    ] {
        let parked = pay(&client, key, &bill(amount)).await.unwrap();
        assert_eq!((&parked.body["status"], &parked.body["parked"]["code"]), (&json!("pending"), &json!(code)));
        let cancel = client.post(&format!("payments/{}/cancel", id_of(&parked)), "", json!({})).await;
        assert_eq!((cancel.status, cancel.code()), (409, "payment_not_cancelable"), "{}", cancel.body);
    }
    assert_eq!((client.balance("ada").await.as_str(), held(&client, "ada").await), ("856.43", 3));
    let parked: Value = serde_json::from_str(&payer.done(&["--output", "json", "payment", "parked"])).unwrap();
    assert_eq!(parked.as_array().unwrap().len(), 3, "{parked}");
    let id = parked.as_array().unwrap().iter().find(|one| one["parked"]["code"] == "provider_down").unwrap()["payment"]
        .clone();
    payer.done(&["payment", "retry", id.as_str().unwrap(), "--reason", "it is up"]);
    // The server sees it, tries again, and parks it again.
    for _ in 0..200 {
        if steps(&payment(&client, id.as_str().unwrap()).await).iter().filter(|step| **step == "parked").count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let again = payment(&client, id.as_str().unwrap()).await;
    assert_eq!(steps(&again).iter().filter(|step| **step == "resumed").count(), 1, "{again}");

    // Half of it taken by a provider that may: the rest of the hold is let go.
    let half = json!({ "account": "ada", "provider": "chatter", "amount": "20.08", "currency": "EUR", "details": { "number": "+491511234567" } });
    let half = pay(&client, "b8", &half).await.unwrap();
    assert_eq!((&half.body["status"], &half.body["paid"]["amount"]), (&json!("success"), &json!("10.04")));
    assert_eq!(client.balance("ada").await, "846.14");

    // Taken back, once.
    for _ in 0..2 {
        let back = client.post(&format!("payments/{}/reverse", id_of(&paid)), "", json!({ "reason": "twice" })).await;
        assert_eq!(back.status, 202, "{}", back.body);
        settled_as(&client, &id_of(&paid), "reversed").await;
    }
    assert_eq!(client.balance("ada").await, "967.64");
    let not = client.post(&format!("payments/{}/reverse", id_of(&refused)), "", json!({})).await;
    assert_eq!((not.status, not.code()), (409, "payment_not_reversible"));

    // Canceled while the provider takes its time is too late; the slow one goes on to its end.
    let slow = client.post("payments", "b9", bill("10.03")).await;
    assert_eq!((slow.status, &slow.body["status"]), (202, &json!("pending")), "{}", slow.body);
    assert_eq!(settled(&client, &id_of(&slow)).await["status"], "success");

    // Reconciliation.
    let file = payer.folder.path().join("settlement.csv");
    let line = |answer: &support::Answer, amount: &str| format!("{},{amount},EUR\n", id_of(answer));
    let slow_line = line(&slow, "10.03");
    std::fs::write(&file, format!("payment,amount,currency\n{slow_line}{slow_line}{}", line(&refused, "50.01")))
        .unwrap();
    let (code, printed, _) =
        payer.run(&["--output", "json", "payment", "reconcile", file.to_str().unwrap(), "--provider", "waterworks"]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(code, Some(3));
    assert_eq!(
        report["counts"],
        json!({ "matched": 1, "missing": 2, "different_amount": 0, "doubled": 1, "unknown": 1 }),
        "{report}"
    );

    // Pages of the account.
    let first = client.get("/v1/books/1/accounts/ada/payments?limit=5").await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = client.get(&format!("/v1/books/1/accounts/ada/payments?limit=5&cursor={cursor}")).await.body;
    let listed = |page: &Value| page["payments"].as_array().unwrap().len();
    assert_eq!((listed(&first), listed(&second), &second["next_cursor"]), (5, 4, &Value::Null));

    assert!(server.terminate().success());
    verify(&payer.data);
}

async fn settled_as(client: &Client, id: &str, status: &str) -> Value {
    for _ in 0..400 {
        let found = payment(client, id).await;
        if found["status"] == status {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{id} never was {status}: {}", payment(client, id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_has_a_code_each_and_moves_nothing() {
    let payer = Payer::new("[payments.providers.waterworks]\n[payments.providers.fibre]");
    let (server, client) = payer.furnished(&[], "100.00").await;
    let with = |changes: Value| {
        let mut body = bill("10.00");
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    client
        .done(
            "accounts",
            "open-poor",
            json!({ "code": "poor", "kind": "liability", "currency": "EUR", "owner": "customer:2" }),
        )
        .await;
    client
        .done(
            "accounts",
            "open-iced",
            json!({ "code": "iced", "kind": "liability", "currency": "EUR", "owner": "customer:3" }),
        )
        .await;
    client.done("accounts/iced/freeze", "freeze", json!({})).await;
    payer.done(&["provider", "disable", "fibre", "--reason", "they moved"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (at, (body, status, code)) in [
        (with(json!({ "provider": "gasworks" })), 404, "provider_not_found"),
        (with(json!({ "provider": "fibre", "details": { "contract": "12345678" } })), 422, "provider_disabled"),
        (with(json!({ "currency": "CZK" })), 422, "provider_currency"),
        (with(json!({ "amount": "0.99" })), 422, "provider_amount_out_of_range"),
        (with(json!({ "amount": "10000.01" })), 422, "provider_amount_out_of_range"),
        (with(json!({ "details": {} })), 422, "payment_detail_missing"),
        (with(json!({ "details": { "customer_number": "x" } })), 422, "payment_detail_invalid"),
        (with(json!({ "details": { "customer_number": "AB123456", "colour": "red" } })), 422, "payment_detail_unknown"),
        (with(json!({ "details": { "customer_number": 7 } })), 400, "field_invalid"),
        (with(json!({ "details": { "customer_number": "4111111111111111" } })), 422, "card_number_in_text"),
        (with(json!({ "amount": "-1" })), 422, "amount_not_positive"),
        (with(json!({ "status": "success" })), 400, "unknown_field"),
        (with(json!({ "fee": "0.00" })), 400, "unknown_field"),
        (with(json!({ "account": "nobody" })), 404, "account_not_found"),
        (with(json!({ "account": "poor" })), 422, "insufficient_funds"),
        (with(json!({ "account": "iced" })), 422, "account_frozen"),
        (with(json!({ "provider": "chatter", "details": { "number": "+491511234567" } })), 503, "provider_unavailable"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = pay(&client, &format!("bad-{at}"), &body).await.unwrap();
        assert_eq!((answer.status, answer.code()), (status, code), "{body}: {}", answer.body);
        if matches!(code, "insufficient_funds" | "account_frozen" | "account_not_found") {
            let again = pay(&client, &format!("bad-{at}"), &body).await.unwrap();
            assert_eq!((again.code(), again.replayed), (code, true), "{}", again.body);
        }
    }
    let dry = client.post("payments?dry_run=true", "dry", bill("10.00")).await;
    assert_eq!((dry.status, dry.code()), (400, "query_invalid"));
    for (path, code) in [
        ("/v1/books/1/payments/0190a5d4-7c1e-7000-8000-000000000001", "payment_not_found"),
        ("/v1/books/1/payments/x", "payment_not_found"),
        ("/v1/books/1/payments/x/receipt", "payment_not_found"),
        ("/v1/books/1/providers/gasworks", "provider_not_found"),
        ("/v1/books/1/accounts/ada/payments?cursor=AAAA", "cursor_invalid"),
    ] {
        assert_eq!(client.get(path).await.code(), code, "{path}");
    }
    // A customer pays from its own account and sees its own payments.
    let issued = payer.done(&[
        "--output",
        "json",
        "key",
        "issue",
        "--holder",
        "app",
        "--customer",
        "customer:1",
        "--scope",
        "read",
        "--scope",
        "write",
    ]);
    let key = serde_json::from_str::<Value>(&issued).unwrap()["key"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let own = client.with_key(&key);
    let paid = pay(&own, "own", &bill("10.00")).await.unwrap();
    assert_eq!(paid.body["status"], "success", "{}", paid.body);
    let stranger = pay(&own, "not-own", &with(json!({ "account": "poor" }))).await.unwrap();
    assert_eq!((stranger.status, stranger.code()), (403, "forbidden"));
    let reverse = own.post(&format!("payments/{}/reverse", id_of(&paid)), "", json!({})).await;
    assert_eq!((reverse.status, reverse.code()), (403, "forbidden"));
    assert_eq!((client.balance("ada").await.as_str(), held(&client, "ada").await), ("89.00", 0));
    assert!(server.terminate().success());
    verify(&payer.data);
}

/// Dies at each place where an effect and its fact could come apart, is started again, and has one effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_leaves_one_effect() {
    for (place, amount, then, expected, balance) in [
        ("hold_placed", "20.00", "", "success", "979.00"),
        ("call_recorded", "20.00", "", "success", "979.00"),
        ("provider_answered", "20.00", "", "success", "979.00"),
        ("answer_recorded", "20.00", "", "success", "979.00"),
        ("captured", "20.00", "", "success", "979.00"),
        ("receipt_issued", "20.00", "", "success", "979.00"),
        ("provider_silent", "20.02", "", "success", "978.98"),
        ("answer_recorded", "20.01", "", "failed", "1000.00"),
        ("voided", "20.01", "", "failed", "1000.00"),
        ("void_recorded", "20.01", "", "failed", "1000.00"),
        ("reversed", "20.00", "reverse", "reversed", "1000.00"),
        ("reversal_recorded", "20.00", "reverse", "reversed", "1000.00"),
    ] {
        let payer = Payer::new(SANDBOX);
        let (mut server, client) = payer.furnished(&[("LEDGERD_TEST_ABORT_AT", place)], "1000.00").await;
        let request = bill(amount);
        let asked = pay(&client, "bill", &request).await;
        if then == "reverse" {
            let id = id_of(asked.as_ref().unwrap());
            let _ = client.try_post(&format!("payments/{id}/{then}"), "", &json!({})).await;
        } else {
            assert!(asked.is_err() || asked.as_ref().is_ok_and(|answer| answer.status >= 200), "{place}");
        }
        for _ in 0..400 {
            if server.child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(server.child.try_wait().unwrap().is_some(), "{place}: it did not die");
        let server = payer.start(&[]);
        let client = Client::admin(&server.url, &payer.data);
        // The same request again is the same payment.
        let again = pay(&client, "bill", &request).await.unwrap();
        assert!(again.replayed, "{place}: {}", again.body);
        let found = settled_as(&client, &id_of(&again), expected).await;
        assert_eq!(
            (client.balance("ada").await.as_str(), held(&client, "ada").await),
            (balance, 0),
            "{place}: {found}"
        );
        let steps = steps(&found);
        for step in ["hold_placed", "captured", "voided", "receipt_issued", "reversed"] {
            assert!(steps.iter().filter(|known| **known == step).count() <= 1, "{place}: {steps:?}");
        }
        assert!(server.terminate().success());
        verify(&payer.data);
    }
}

/// Killed at random under load, many times: every payment ends, each with one effect, and the book agrees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load_leave_every_payment_with_one_effect() {
    let kills: u64 = std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let payer = Payer::new(SANDBOX);
    let (mut server, mut client) = payer.furnished(&[], "1000000.00").await;
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let mut keys = Vec::new();
    // Succeeds, refused, silent but taken, answered twice.
    let amounts = ["20.00", "20.01", "20.02", "20.05"];
    for round in 0..kills {
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut asked = Vec::new();
                    for count in 0..200 {
                        let amount = amounts[(number + count) % amounts.len()];
                        let key = format!("k{round}-{number}-{count}");
                        asked.push((key.clone(), amount));
                        if client.try_post("payments", &key, &bill(amount)).await.is_err() {
                            break;
                        }
                    }
                    asked
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(150 + dice.below(400))).await;
        server.kill();
        for task in tasks {
            keys.extend(task.await.unwrap());
        }
        server = payer.start(&[]);
        client = Client::admin(&server.url, &payer.data);
    }
    assert!(keys.len() > 100, "{}", keys.len());
    let (mut spent_minor, mut owed_minor, mut paid) = (0_i64, 0_i64, 0);
    for (key, amount) in &keys {
        let answer = pay(&client, key, &bill(amount)).await.unwrap();
        let expected = if *amount == "20.01" { "failed" } else { "success" };
        let found = settled_as(&client, &id_of(&answer), expected).await;
        assert_eq!(found["status"], expected, "{found}");
        if expected == "success" {
            let minor: i64 = amount.replace('.', "").parse().unwrap();
            (spent_minor, owed_minor, paid) = (spent_minor + minor + 100, owed_minor + minor, paid + 1);
        }
    }
    let text = |minor: i64| format!("{}.{:02}", minor / 100, minor % 100);
    assert_eq!(client.balance("ada").await, text(100_000_000 - spent_minor), "{paid} paid");
    assert_eq!(client.balance("payable:waterworks:EUR").await, text(owed_minor));
    assert_eq!(held(&client, "ada").await, 0, "no hold is left");
    println!("{} payments, {paid} of them paid, {kills} kills", keys.len());
    assert!(server.terminate().success());
    verify(&payer.data);
}

/// How many payments a second come to their end over HTTP, from 64 connections. Prints a figure; run it by name, on a machine at
/// rest: `cargo test --release --workspace --test payments -- --ignored --nocapture payments_a_second`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn payments_a_second() {
    const CONNECTIONS: u64 = 64;
    let payer = Payer::new("sandbox = true");
    let (server, client) = payer.furnished(&[], "100000000.00").await;
    for number in 0..CONNECTIONS {
        let code = format!("payer:{number}");
        let open = json!({ "code": code, "kind": "liability", "currency": "EUR", "owner": "" });
        client.done("accounts", &format!("open-{number}"), open).await;
        let cash = json!({ "account": code, "amount": "10000000.00", "currency": "EUR" });
        client.done("top-ups", &format!("cash-{number}"), cash).await;
    }
    let started = std::time::Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let client = Client::new(&client.url, &client.key);
            tokio::spawn(async move {
                let mut body = bill("20.00");
                body["account"] = json!(format!("payer:{number}"));
                let mut done = 0_u64;
                while started.elapsed() < Duration::from_secs(10) {
                    let answer = pay(&client, &format!("m{number}-{done}"), &body).await.unwrap();
                    assert_eq!(answer.body["status"], "success", "{}", answer.body);
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    let took = started.elapsed();
    println!(
        "{done} payments in {took:?}: {:.0} a second",
        f64::from(u32::try_from(done).unwrap()) / took.as_secs_f64()
    );
    assert!(server.terminate().success());
}
