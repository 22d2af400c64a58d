//! The OpenAPI document: committed, whole, and true of the bounds that the API holds requests to. That its routes are those
//! of the router needs no test: both are made of one list. That answers are as it says is looked at with every answer of the
//! other tests (`common/conformance.rs`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::collections::BTreeSet;

use commands_api::openapi;
use common::{ADMIN, House, ask};
use event_schemas::bounds::{
    BATCH_MAX_COMMANDS, MIN_SEQUENCE_WAIT_MAX_MS, PAGE_MAX_ROWS, POSTINGS_MAX, POSTINGS_MIN, TEXT_MAX_BYTES,
};
use serde_json::{Value, json};

#[test]
fn the_document_is_committed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let made = openapi();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, format!("{made:#}\n")).unwrap();
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(
        committed == *made,
        "run the tests with UPDATE_OPENAPI=1 to write openapi.json again, and look at what changed"
    );
}

/// Path, method and description of every operation.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    openapi()["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (&**path, &**method, operation))
    })
}

fn parameter(operation: &'static Value, name: &str) -> Option<&'static Value> {
    operation["parameters"].as_array()?.iter().find(|parameter| parameter["name"] == name)
}

fn schema(name: &str) -> &'static Value {
    &openapi()["components"]["schemas"][name]
}

#[test]
fn everything_is_described() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}: the id stands twice");
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{method} {path}");
        let named: BTreeSet<_> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let described: BTreeSet<_> =
            parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(named, described, "{method} {path}");
        for parameter in &parameters {
            assert!(parameter.get("$ref").is_some() || parameter["description"].is_string(), "{path} {parameter}");
        }
        let open = operation["security"] == json!([]);
        assert_eq!(open, !path.starts_with("/v1/books/"), "{method} {path} needs a key");
        assert_eq!(operation["responses"].get("401").is_none(), open, "{method} {path}");
        // A command has an identity: in the header, in each item of a batch, or in a quote.
        let key = parameter(operation, "Idempotency-Key").is_some();
        // A quote is used once, canceling twice or the same answer of a provider twice is once by itself.
        let once = ["/batches", "/quotes", "/conversions", "/cancel", "/payments/{payment}/reverse", "/callback"];
        let needs_key = method == "post" && !once.iter().any(|end| path.ends_with(end));
        assert_eq!(key, needs_key, "{method} {path}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    references(openapi(), &mut found);
    // What is answered to methods that no operation has.
    found.insert("#/components/responses/Problem405".into());
    for reference in &found {
        let target = openapi().pointer(reference.strip_prefix('#').unwrap());
        assert!(
            target.is_some_and(|target| target.as_object().is_some_and(|members| !members.is_empty())),
            "{reference}"
        );
    }
    for kind in ["schemas", "responses", "parameters", "headers"] {
        for name in openapi()["components"][kind].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/{kind}/{name}")), "nothing refers to {kind}/{name}");
        }
    }
}

#[test]
fn bounds_are_those_that_are_held() {
    for (path, _, operation) in operations() {
        if let Some(limit) = parameter(operation, "limit") {
            assert_eq!(
                (&limit["schema"]["minimum"], &limit["schema"]["maximum"]),
                (&json!(1), &json!(PAGE_MAX_ROWS)),
                "{path}"
            );
        }
        if let Some(timeout) = parameter(operation, "timeout_ms") {
            assert_eq!(timeout["schema"]["maximum"], MIN_SEQUENCE_WAIT_MAX_MS, "{path}");
        }
    }
    for request in ["EntryRequest", "ReverseRequest"] {
        let postings = &schema(request)["properties"]["postings"];
        assert_eq!(
            (&postings["minItems"], &postings["maxItems"]),
            (&json!(POSTINGS_MIN), &json!(POSTINGS_MAX)),
            "{request}"
        );
    }
    assert_eq!(schema("BatchRequest")["properties"]["items"]["maxItems"], BATCH_MAX_COMMANDS);
    assert_eq!(schema("FreeText")["maxLength"], TEXT_MAX_BYTES);
    assert!(schema("FreeText")["description"].as_str().unwrap().contains(&TEXT_MAX_BYTES.to_string()));
    for (name, schema) in openapi()["components"]["schemas"].as_object().unwrap() {
        if name.ends_with("Request") || name.starts_with("BatchItem.") {
            assert_eq!(schema["additionalProperties"], false, "{name} is closed");
        }
    }
}

#[test]
fn every_list_has_pages() {
    let mut lists = 0;
    for (path, method, operation) in operations() {
        let answer = operation.pointer("/responses/200/content/application~1json/schema/$ref").and_then(Value::as_str);
        let answer = answer.and_then(|path| openapi().pointer(&path[1..]));
        let pages = answer.is_some_and(|answer| answer["properties"].get("next_cursor").is_some());
        for name in ["limit", "cursor"] {
            assert_eq!(parameter(operation, name).is_some(), pages, "{method} {path}: {name}");
        }
        lists += usize::from(pages);
    }
    assert!(lists >= 4);
}

#[tokio::test]
async fn no_cursor_is_taken_by_another_query() {
    let mut house = House::furnished().await;
    for number in 0..2 {
        let hold = format!(r#"{{"account":"anna:eur","amount":"1.0{number}","currency":"EUR"}}"#);
        house.post(ADMIN, "holds", &hold).await.expect(201, "");
    }
    let queries = [
        "accounts?limit=1",
        "accounts/anna:eur/statement?limit=1",
        "accounts/anna:eur/statement?limit=1&order=newest_first",
        "accounts/boris:eur/statement?limit=1",
        "accounts/anna:eur/holds?limit=1",
        "accounts/boris:eur/holds?limit=1",
        "events?limit=1",
        "events?limit=1&account=anna:eur",
        "events?limit=1&type=ledger.hold.placed.v1",
    ];
    for from in queries {
        let page = house.get(ADMIN, from).await.expect(200, "").body.clone();
        let cursor = page["next_cursor"].as_str().or(page["end_cursor"].as_str());
        // Nothing is held on Boris's account.
        let Some(cursor) = cursor else { continue };
        for to in queries {
            let answered = house.get(ADMIN, &format!("{to}&cursor={cursor}")).await;
            if from == to {
                answered.expect(200, "");
            } else {
                answered.expect(400, "cursor_invalid");
            }
        }
    }
}

#[tokio::test]
async fn the_document_and_its_page_need_no_key() {
    let house = House::new();
    let served = ask(&house.router, "GET", "/v1/openapi.json").send().await;
    assert_eq!(served.expect(200, "").body, *openapi());
    let page = ask(&house.router, "GET", "/docs").open().await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("script"), "{policy}");
    ask(&house.router, "POST", "/docs").send().await.expect(405, "method_not_allowed");
}

#[tokio::test]
async fn a_book_has_one_url() {
    let house = House::furnished().await;
    for book in ["01", "001", "+1", "1.0", "%31%20", "0", "-1", "4294967297"] {
        ask(&house.router, "GET", &format!("/v1/books/{book}")).key(ADMIN).send().await.expect(404, "book_not_found");
    }
    house.get(ADMIN, "").await.expect(200, "");
}
