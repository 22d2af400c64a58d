//! Queries of limits, the audit trail, notifications and settings: what is shown, to whom, and page by page.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;

use axum::Router;
use commands_api::{ApiState, router};
use common::{ADMIN, ANNA, Answered, BORIS, House, READER, Scripted, WRITER, ask, parts};
use event_schemas::block::{BlockBuilder, BlockPlace};
use event_schemas::fees::{FeeKind, SetFeeRule};
use event_schemas::limits::{Caps, LimitCharged, PublishCalendar, SetLimits};
use event_schemas::notices::{NoticeChannel, NoticeTopic, SetNotificationPreferences};
use event_schemas::records::ClosePeriod;
use event_schemas::{
    AccountId, BookId, Cause, CivilDate, CommandId, Currency, Digest, Epoch, Event, EventBody, PrincipalId, Sequence,
    Timestamp,
};
use projections::Runner;
use projections::memory::{MemoryFeed, MemoryRows};
use serde_json::{Value, json};

fn transfer(from: &str, to: &str, amount: &str) -> String {
    format!(r#"{{"from":"{from}","to":"{to}","amount":"{amount}","currency":"EUR","reference":"rent"}}"#)
}

/// A furnished house in which Anna has paid Boris twice and wanted too much once, and was frozen.
async fn lived_in() -> House {
    let mut house = House::furnished().await;
    for amount in ["1.00", "2.00"] {
        house.post(ANNA, "transfers", &transfer("anna:eur", "boris:eur", amount)).await.expect(201, "");
    }
    let refused = house.post(ANNA, "transfers", &transfer("anna:eur", "boris:eur", "999.00")).await;
    refused.expect(422, "insufficient_funds");
    house.post(ADMIN, "accounts/anna:eur/freeze", "").await.expect(201, "");
    house
}

/// The rows of all pages, with so many on each.
async fn pages(house: &House, letter: char, path: &str, rows: &str, limit: usize) -> Vec<Value> {
    let join = if path.contains('?') { '&' } else { '?' };
    let (mut read, mut query) = (Vec::new(), format!("{join}limit={limit}"));
    loop {
        let page = house.get(letter, &format!("{path}{query}")).await.expect(200, "").body.clone();
        let found = page[rows].as_array().unwrap().clone();
        assert!(found.len() <= limit);
        read.extend(found);
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("{join}limit={limit}&cursor={cursor}"),
            None => return read,
        }
    }
}

fn told(rows: &[Value], members: &[&str]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    rows.iter().map(|row| members.iter().map(|member| text(&row[*member])).collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn the_audit_trail_shows_acts_and_refusals() {
    let house = lived_in().await;
    let all = pages(&house, READER, "audit", "acts", 3).await;
    assert_eq!(
        told(&all, &["sequence", "type", "verdict", "cause"]),
        [
            "1 open_book accepted engine",
            "2 open_account accepted verdict",
            "3 open_account accepted consequence",
            "4 top_up accepted verdict",
            "5 open_account accepted verdict",
            "6 top_up accepted verdict",
            "7 post_transfer accepted verdict",
            "8 post_transfer accepted verdict",
            "9 post_transfer rejected verdict",
            "10 freeze_account accepted verdict"
        ]
    );
    let mut backwards = pages(&house, READER, "audit?order=newest_first", "acts", 4).await;
    backwards.reverse();
    assert_eq!(backwards, all);
    let refused = &all[8];
    assert_eq!((refused["code"].as_str(), refused["accounts_total"].as_u64()), (Some("insufficient_funds"), Some(2)));
    assert_eq!(refused["accounts"][0], AccountId::from_code(BookId::FIRST, "anna:eur").to_string());
    let anna = refused["actor"].as_str().unwrap();
    assert_eq!(all[9]["actor"], PrincipalId::derive(common::TENANT, "holder-a").to_string());
    assert!(all[6]["actor"] == anna && all[9]["actor"] != anna);

    let found = |query: String| {
        let house = &house;
        async move { told(&pages(house, ADMIN, &format!("audit?{query}"), "acts", 2).await, &["sequence"]) }
    };
    assert_eq!(found("account=boris:eur".into()).await, ["5", "6", "7", "8", "9"]);
    assert_eq!(found("customer=client:anna".into()).await, ["2", "4", "7", "8", "9", "10"]);
    assert_eq!(found(format!("actor={anna}&order=newest_first")).await, ["9", "8", "7"]);
    assert_eq!(found(format!("customer=client:boris&actor={anna}&verdict=accepted")).await, ["7", "8"]);
    assert_eq!(found("verdict=rejected".into()).await, ["9"]);
    assert_eq!(found("type=freeze_account".into()).await, ["10"]);
    assert_eq!(found("customer=client:nobody".into()).await, [""; 0]);
    let command = |at: usize| all[at]["command_id"].as_str().unwrap();
    assert_eq!(found(format!("command={}", command(3))).await, ["3", "4"], "with what had to happen before it");
    assert_eq!(found(format!("command={}", command(8))).await, ["9"]);
    assert_eq!(found(format!("command={}", CommandId(99))).await, [""; 0]);
}

#[tokio::test]
async fn what_is_no_query_of_the_audit_trail_is_refused() {
    let house = lived_in().await;
    for letter in [ANNA, BORIS, WRITER] {
        house.get(letter, "audit").await.expect(403, "forbidden");
    }
    for query in [
        "account=anna:eur&customer=client:anna",
        "customer=client:anna&command=00000000-0000-0000-0000-000000000001",
        "customer=",
        "account=a%20b",
        "actor=me",
        "command=none",
        "type=steal",
        "verdict=maybe",
        "order=sideways",
        "limit=0",
        "limit=1001",
        "page=2",
        "timeout_ms=30001",
    ] {
        house.get(ADMIN, &format!("audit?{query}")).await.expect(400, "query_invalid");
    }
    house.get(ADMIN, "audit?min_sequence=99").await.expect(400, "sequence_in_future");
    let page = house.get(ADMIN, "audit?limit=1&account=anna:eur").await;
    let cursor = page.expect(200, "").body["next_cursor"].as_str().unwrap().to_owned();
    for query in
        ["", "account=boris:eur&", "account=anna:eur&order=newest_first&", "account=anna:eur&verdict=accepted&"]
    {
        house.get(ADMIN, &format!("audit?{query}cursor={cursor}")).await.expect(400, "cursor_invalid");
    }
    house.get(ADMIN, &format!("events?cursor={cursor}")).await.expect(400, "cursor_invalid");
    house.get(ADMIN, &format!("audit?account=anna:eur&cursor={cursor}")).await.expect(200, "");
    let off = router(ApiState::new(parts(Scripted::of(Vec::new()), None)));
    ask(&off, "GET", "/v1/books/1/audit").key(ADMIN).send().await.expect(503, "read_models_off");
}

#[tokio::test]
async fn a_customer_of_too_many_accounts_is_asked_for_one_by_one() {
    use event_schemas::command::{AccountKind, BalancePolicy, OpenAccount};
    let open = |id: u128| OpenAccount {
        account: AccountId(id),
        code: "".into(),
        kind: AccountKind::Liability,
        currency: euro(),
        owner: "client:anna".into(),
        policy: BalancePolicy::NO_OVERDRAFT,
    };
    let api = over(&(1..=1_001).map(|id| verdict(EventBody::AccountOpened(open(id)))).collect::<Vec<_>>());
    let asked = get(&api, ADMIN, "audit?customer=client:anna").await;
    assert!(asked.expect(400, "query_invalid").body["detail"].as_str().unwrap().contains("1000 accounts"));
}

#[tokio::test]
async fn a_query_of_a_command_waits_for_its_act() {
    let mut house = House::furnished().await;
    let path = "/v1/books/1/transfers";
    let body = transfer("anna:eur", "boris:eur", "1.00");
    let posted = ask(&house.router, "POST", path).key(ANNA).idempotent("now").body(body).send().await;
    let command = posted.expect(201, "").body["command_id"].as_str().unwrap().to_owned();
    house.get(ADMIN, &format!("audit?command={command}&timeout_ms=20")).await.expect(504, "read_model_behind");
    house.catch_up();
    let acts = house.get(ADMIN, &format!("audit?command={command}&timeout_ms=20")).await.expect(200, "").body.clone();
    assert_eq!(acts["acts"][0]["sequence"], posted.body["sequence"]);
}

#[tokio::test]
async fn a_customer_is_shown_what_it_is_told() {
    let house = lived_in().await;
    let path = "customers/client:anna/notifications";
    let all = pages(&house, ANNA, path, "notifications", 2).await;
    assert_eq!(
        told(&all, &["sequence", "template", "topic", "state"]),
        [
            "10 account_frozen account queued",
            "9 command_refused refusal queued",
            "8 money_out money_out queued",
            "7 money_out money_out queued",
            "4 money_in money_in queued",
            "2 account_opened account queued"
        ]
    );
    assert_eq!(all, pages(&house, ADMIN, path, "notifications", 9).await);
    let account = AccountId::from_code(BookId::FIRST, "anna:eur").to_string();
    assert_eq!(
        all[1]["parameters"],
        json!({
            "account": account, "currency": "EUR", "amount": "999.00", "command_type": "post_transfer",
            "code": "insufficient_funds", "reference": "rent",
        })
    );
    assert_eq!(
        all[2]["parameters"],
        json!({ "account": account, "currency": "EUR", "amount": "2.00", "entry_kind": "transfer", "reference": "rent" })
    );
    assert_eq!((&all[0]["channels"], &all[0]["parameters"]), (&json!(["email"]), &json!({ "account": account })));
    let mut oldest = pages(&house, ANNA, &format!("{path}?order=oldest_first"), "notifications", 4).await;
    oldest.reverse();
    assert_eq!(oldest, all);
    let out = pages(&house, ANNA, &format!("{path}?topic=money_out"), "notifications", 1).await;
    assert_eq!(told(&out, &["sequence"]), ["8", "7"]);
    // Boris is told of what came in, and nothing of what Anna tried.
    let boris = pages(&house, BORIS, "customers/client:boris/notifications", "notifications", 9).await;
    assert_eq!(told(&boris, &["sequence", "template"]), ["8 money_in", "7 money_in", "6 money_in", "5 account_opened"]);

    house.get(BORIS, path).await.expect(403, "forbidden");
    house.get(WRITER, path).await.expect(403, "forbidden");
    assert_eq!(
        house.get(ADMIN, "customers/nobody/notifications").await.expect(200, "").body["notifications"],
        json!([])
    );
    for query in ["topic=love", "order=sideways", "limit=0", "page=2"] {
        house.get(ANNA, &format!("{path}?{query}")).await.expect(400, "query_invalid");
    }
    let page = house.get(ADMIN, &format!("{path}?limit=1")).await;
    let cursor = page.body["next_cursor"].as_str().unwrap();
    for other in [
        format!("{path}?topic=money_out&cursor={cursor}"),
        format!("{path}?order=oldest_first&cursor={cursor}"),
        format!("customers/client:boris/notifications?cursor={cursor}"),
        format!("customers/client:anna/limits?cursor={cursor}"),
    ] {
        house.get(ADMIN, &other).await.expect(400, "cursor_invalid");
    }
}

fn euro() -> Currency {
    "EUR".parse().unwrap()
}

fn verdict(body: EventBody) -> Event {
    Event { cause: Cause::Verdict { command: CommandId(7), actor: PrincipalId(7) }, body }
}

/// An API over the read models of these events, by an engine that does nothing.
fn over(events: &[Event]) -> Router {
    let rows = MemoryRows::new();
    let mut block = BlockBuilder::new();
    for event in events {
        block.push(event);
    }
    let block = block.seal(BlockPlace {
        book: BookId::FIRST,
        first_sequence: Sequence(1),
        recorded_at: day(1, 1).1,
        epoch: Epoch(1),
        previous: Digest::default(),
    });
    let head = block.header().last_sequence();
    Runner::new(MemoryFeed::new(vec![block]), &rows, projections::all()).run_to(head, &mut |_| {}).unwrap();
    router(ApiState::new(parts(Scripted::of(Vec::new()), Some(Arc::new(rows)))))
}

async fn get(api: &Router, letter: char, path: &str) -> Answered {
    ask(api, "GET", &format!("/v1/books/1/{path}")).key(letter).send().await
}

/// A day of 2026, and when it begins.
fn day(month: i8, day: i8) -> (CivilDate, Timestamp) {
    let date = CivilDate::from_ymd(2026, month, day).unwrap();
    (date, Timestamp(i64::from(date.days()) * 86_400_000_000))
}

fn limits(code: &str, version: u64, caps: Caps) -> Event {
    let currency = code.parse().unwrap();
    verdict(EventBody::LimitsSet(SetLimits { owner: "client:anna".into(), currency, version, caps }))
}

/// January and February, and limits in two currencies; 30.00 EUR of 100.00 a day are used on 1 January.
fn limited() -> Router {
    let (first_day, start) = day(1, 1);
    let starts = (0..=59).map(|at| Timestamp(start.0 + at * 86_400_000_000)).collect();
    let (zone, tz_version) = ("Etc/UTC".into(), "2026b".into());
    let caps = Caps { per_transfer_minor: Some(5_000), daily_minor: Some(10_000), monthly_minor: None };
    let charged = LimitCharged {
        owner: "client:anna".into(),
        currency: euro(),
        account: AccountId(1),
        amount_minor: 3_000,
        day: first_day,
        hold: None,
        version: 3,
        caps,
        day_used_minor: 3_000,
        month_used_minor: 3_000,
    };
    over(&[
        verdict(EventBody::CalendarPublished(PublishCalendar { version: 1, zone, tz_version, first_day, starts })),
        limits("EUR", 3, caps),
        limits("JPY", 1, Caps::NONE),
        Event {
            cause: Cause::Consequence { command: CommandId(8), actor: PrincipalId(7) },
            body: EventBody::LimitCharged(charged),
        },
    ])
}

#[tokio::test]
async fn headroom_is_shown_by_currency_and_moment() {
    let api = limited();
    let path = "customers/client:anna/limits";
    let at_noon = get(&api, ANNA, &format!("{path}?at_time=2026-01-01T12:00:00Z")).await;
    insta::assert_json_snapshot!(at_noon.expect(200, "").body, @r#"
    {
      "customer": "client:anna",
      "limits": [
        {
          "currency": "EUR",
          "day": "2026-01-01",
          "left": "50.00",
          "version": 3,
          "windows": [
            {
              "cap": "50.00",
              "left": "50.00",
              "resets_at": null,
              "used": "0.00",
              "window": "per_transfer"
            },
            {
              "cap": "100.00",
              "left": "70.00",
              "resets_at": "2026-01-02T00:00:00.000000Z",
              "used": "30.00",
              "window": "day"
            },
            {
              "cap": null,
              "left": null,
              "resets_at": "2026-02-01T00:00:00.000000Z",
              "used": "30.00",
              "window": "month"
            }
          ]
        },
        {
          "currency": "JPY",
          "day": "2026-01-01",
          "left": null,
          "version": 1,
          "windows": [
            {
              "cap": null,
              "left": null,
              "resets_at": null,
              "used": "0",
              "window": "per_transfer"
            },
            {
              "cap": null,
              "left": null,
              "resets_at": "2026-01-02T00:00:00.000000Z",
              "used": "0",
              "window": "day"
            },
            {
              "cap": null,
              "left": null,
              "resets_at": "2026-02-01T00:00:00.000000Z",
              "used": "0",
              "window": "month"
            }
          ]
        }
      ],
      "next_cursor": null,
      "sequence": 4
    }
    "#);
    let used = |answered: &Answered| {
        let windows = answered.expect(200, "").body["limits"][0]["windows"].clone();
        (windows[1]["used"].as_str().unwrap().to_owned(), windows[2]["used"].as_str().unwrap().to_owned())
    };
    let tomorrow = get(&api, ANNA, &format!("{path}?currency=EUR&at_time=2026-01-02T00:00:00Z")).await;
    assert_eq!(used(&tomorrow), ("0.00".into(), "30.00".into()));
    assert_eq!(tomorrow.body["limits"].as_array().unwrap().len(), 1);
    let beyond = get(&api, ANNA, &format!("{path}?at_time=2027-01-02T00:00:00Z")).await;
    assert_eq!(beyond.expect(200, "").body["limits"][0]["day"], Value::Null);
    // Now is behind the end of this calendar or before it: it is answered in any case.
    get(&api, READER, path).await.expect(200, "");

    let first = get(&api, ADMIN, &format!("{path}?limit=1")).await;
    let cursor = first.expect(200, "").body["next_cursor"].as_str().unwrap();
    let second = get(&api, ADMIN, &format!("{path}?limit=1&cursor={cursor}")).await;
    assert_eq!(second.expect(200, "").body["limits"][0]["currency"], "JPY");
    assert_eq!(second.body["next_cursor"], Value::Null);
    get(&api, ADMIN, &format!("{path}?currency=EUR&cursor={cursor}")).await.expect(400, "cursor_invalid");
    get(&api, ADMIN, &format!("customers/client:b/limits?cursor={cursor}")).await.expect(400, "cursor_invalid");

    assert_eq!(get(&api, ANNA, &format!("{path}?currency=CHF")).await.expect(200, "").body["limits"], json!([]));
    assert_eq!(get(&api, BORIS, "customers/client:boris/limits").await.expect(200, "").body["limits"], json!([]));
    get(&api, BORIS, path).await.expect(403, "forbidden");
    get(&api, WRITER, path).await.expect(403, "forbidden");
    for query in ["currency=XXX", "currency=", "at_time=noon", "limit=0", "page=2"] {
        get(&api, ANNA, &format!("{path}?{query}")).await.expect(400, "query_invalid");
    }
}

#[tokio::test]
async fn preferences_decide_the_channels() {
    use NoticeChannel::{Sms, Websocket};
    let topics = [(NoticeTopic::Settings, [Sms, Websocket].into())].into();
    let preferences = SetNotificationPreferences { owner: "client:anna".into(), version: 1, topics };
    let api = over(&[verdict(EventBody::NotificationPreferencesSet(preferences)), limits("EUR", 1, Caps::NONE)]);
    let page = get(&api, ANNA, "customers/client:anna/notifications").await;
    let found = &page.expect(200, "").body["notifications"];
    assert_eq!((&found[0]["template"], &found[0]["channels"]), (&json!("limits_set"), &json!(["sms", "websocket"])));
    assert_eq!(found[0]["parameters"], json!({ "currency": "EUR" }));
    assert_eq!((&found[1]["template"], &found[1]["channels"]), (&json!("preferences_set"), &json!(["email"])));
}

#[tokio::test]
async fn the_settings_of_the_book_are_everybodys() {
    let bare = over(&[limits("EUR", 1, Caps::NONE)]);
    assert_eq!(get(&bare, ANNA, "fee-rules").await.expect(200, "").body, json!({ "fee_rules": [], "sequence": 1 }));
    assert_eq!(get(&bare, ANNA, "calendar").await.expect(200, "").body, json!({ "calendar": null, "sequence": 1 }));
    assert_eq!(get(&bare, ANNA, "period").await.expect(200, "").body, json!({ "closed": null, "sequence": 1 }));

    let rule = |max_minor| SetFeeRule {
        kind: FeeKind::Transfer,
        currency: euro(),
        version: 2,
        fixed_minor: 25,
        rate_ppm: 1_500,
        min_minor: 50,
        max_minor,
    };
    let (first_day, start) = day(3, 1);
    let starts = vec![start, Timestamp(start.0 + 86_400_000_000)];
    let (zone, tz_version) = ("Europe/Berlin".into(), "".into());
    let api = over(&[
        verdict(EventBody::FeeRuleSet(rule(Some(1_000)))),
        verdict(EventBody::FeeRuleSet(SetFeeRule { kind: FeeKind::Capture, ..rule(None) })),
        verdict(EventBody::CalendarPublished(PublishCalendar { version: 4, zone, tz_version, first_day, starts })),
        verdict(EventBody::PeriodClosed(ClosePeriod { through: day(2, 28).0, reason: "".into() })),
    ]);
    let rules = get(&api, BORIS, "fee-rules").await.expect(200, "").body["fee_rules"].clone();
    assert_eq!(
        rules[0],
        json!({
            "kind": "transfer", "currency": "EUR", "version": 2, "fixed": "0.25", "rate_ppm": 1500, "min": "0.50",
            "max": "10.00", "set_sequence": 1, "set_at": "2026-01-01T00:00:00.000000Z",
        })
    );
    assert_eq!((&rules[1]["kind"], &rules[1]["max"]), (&json!("capture"), &Value::Null));
    assert_eq!(
        get(&api, READER, "calendar").await.expect(200, "").body["calendar"],
        json!({
            "version": 4, "zone": "Europe/Berlin", "first_day": "2026-03-01", "days": 1,
            "covers_from": "2026-03-01T00:00:00.000000Z", "covers_until": "2026-03-02T00:00:00.000000Z",
            "published_sequence": 3, "published_at": "2026-01-01T00:00:00.000000Z",
        })
    );
    let closed = get(&api, READER, "period").await.expect(200, "").body["closed"].clone();
    assert_eq!((&closed["through"], &closed["closed_sequence"]), (&json!("2026-02-28"), &json!(4)));
    get(&api, WRITER, "period").await.expect(403, "forbidden");
    get(&api, ADMIN, "calendar?limit=3").await.expect(400, "query_invalid");
}
