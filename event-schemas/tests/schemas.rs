//! The committed JSON Schemas are those of the types, and events obey them. `UPDATE_SCHEMAS=1` rewrites the files; a
//! released one never changes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::event::{HoldExpired, HoldVoided};
use event_schemas::topics::{BALANCE_CHANGED, BalanceChanged, outlets};
use event_schemas::{ControlFact, EventBody, schema, testing};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

#[test]
fn committed_schemas_are_those_of_the_types() {
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut named = BTreeSet::new();
    let more = schema::control_schemas().into_iter().chain(schema::derived());
    for (name, schema) in schema::schemas().into_iter().chain(more) {
        let file = folder().join(format!("{name}.json"));
        named.insert(format!("{name}.json"));
        if update {
            fs::write(&file, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let committed: Value = serde_json::from_slice(&fs::read(&file).unwrap_or_default()).unwrap_or_default();
        assert!(
            committed == schema,
            "{} differs from its type: run with UPDATE_SCHEMAS=1 and look at the diff",
            file.display()
        );
    }
    let found: BTreeSet<_> =
        fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, named, "one file for every type");
}

#[test]
fn events_obey_the_schema_of_their_type_and_of_no_other() {
    let validators: Vec<_> = schema::schemas()
        .into_iter()
        .map(|(name, _)| {
            let text = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
            let schema: Value = serde_json::from_str(&text).unwrap();
            (name, jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap())
        })
        .collect();
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for _ in 0..2_000 {
        let event = testing::recorded_event().new_tree(&mut runner).unwrap().current();
        let own = event.event.body.type_name();
        met.insert(own);
        let mut json = serde_json::to_value(&event).unwrap();
        for (name, validator) in &validators {
            let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
            assert_eq!(errors.is_empty(), *name == own, "{json} against {name}: {errors:?}");
        }
        // A schema that lets anything pass would prove nothing: without its data, or with a field too many, it is refused.
        let (_, validator) = validators.iter().find(|(name, _)| *name == own).unwrap();
        json["data"]["surprise"] = 1.into();
        assert!(!validator.is_valid(&json), "{own} takes an unknown field");
        json.as_object_mut().unwrap().remove("data");
        assert!(!validator.is_valid(&json), "{own} takes an event without data");
    }
    assert_eq!(met, EventBody::TYPE_NAMES.into_iter().collect());
}

#[test]
fn facts_of_the_control_plane_obey_the_schema_of_their_type_and_of_no_other() {
    let validators: Vec<_> = schema::control_schemas()
        .into_iter()
        .map(|(name, schema)| (name, jsonschema::draft202012::options().build(&schema).unwrap()))
        .collect();
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for _ in 0..200 {
        let fact = testing::control_fact().new_tree(&mut runner).unwrap().current();
        met.insert(fact.type_name());
        let mut json = serde_json::to_value(&fact).unwrap();
        assert_eq!(serde_json::from_value::<ControlFact>(json.clone()).unwrap(), fact);
        for (name, validator) in &validators {
            assert_eq!(validator.is_valid(&json), *name == fact.type_name(), "{json} against {name}");
        }
        let (_, validator) = validators.iter().find(|(name, _)| *name == fact.type_name()).unwrap();
        json["data"]["surprise"] = 1.into();
        assert!(!validator.is_valid(&json), "{} takes an unknown field", fact.type_name());
    }
    assert_eq!(met, ControlFact::TYPE_NAMES.into_iter().collect());
}

/// Whether its amounts are such as the book decides: there is no sum of others.
fn is_bounded(body: &EventBody) -> bool {
    let mut amounts: Vec<_> =
        body.entry().into_iter().flat_map(|entry| entry.postings).map(|one| one.money.amount_minor).collect();
    if let EventBody::HoldPlaced(placed) = body {
        amounts.push(placed.amount.amount_minor);
    }
    if let EventBody::HoldVoided(HoldVoided { released, .. }) | EventBody::HoldExpired(HoldExpired { released, .. }) =
        body
    {
        amounts.push(released.amount_minor);
    }
    if let EventBody::HoldCaptured(captured) = body {
        amounts.push(captured.released_minor);
    }
    amounts.into_iter().all(|amount| amount.unsigned_abs() <= AMOUNT_MAX_MINOR.unsigned_abs())
}

#[test]
fn what_topics_carry_obeys_its_schema() {
    let text = fs::read_to_string(folder().join(format!("{BALANCE_CHANGED}.json"))).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for _ in 0..1_000 {
        let event = testing::recorded_event().new_tree(&mut runner).unwrap().current();
        if !is_bounded(&event.event.body) {
            continue;
        }
        for change in outlets(&event).into_iter().filter_map(|outlet| outlet.change) {
            met.insert(change.event.clone());
            let json = serde_json::to_value(&change).unwrap();
            let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{json}: {errors:?}");
            assert_eq!(serde_json::from_value::<BalanceChanged>(json).unwrap(), change);
        }
    }
    assert!(met.len() >= 6, "{met:?}");
    assert!(!validator.is_valid(&serde_json::json!({})));
}
