//! JSON Schemas (draft 2020-12) of recorded events, one for each event type and version, and of what is derived from events for
//! topics; generated from the types themselves. The generated files are committed under `schemas/`; a test tells when they
//! differ.

use serde_json::{Map, Value};

use crate::control::ControlFact;
use crate::event::{EventBody, RecordedEvent};
use crate::topics::{BALANCE_CHANGED, BalanceChanged};

/// The name and the JSON Schema of every event type, in the order of their numbers.
pub fn schemas() -> Vec<(&'static str, Value)> {
    let whole = schemars::schema_for!(RecordedEvent).to_value();
    EventBody::TYPE_NAMES.iter().map(|name| (*name, of_type(whole.clone(), name))).collect()
}

/// The name and the JSON Schema of every fact of the control plane, in the order of their numbers.
pub fn control_schemas() -> Vec<(&'static str, Value)> {
    let whole = schemars::schema_for!(ControlFact).to_value();
    ControlFact::TYPE_NAMES.iter().map(|name| (*name, of_type(whole.clone(), name))).collect()
}

/// The name and the JSON Schema of what topics carry that is not an event itself, but follows from one.
pub fn derived() -> Vec<(&'static str, Value)> {
    let mut schema = schemars::schema_for!(BalanceChanged).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), BALANCE_CHANGED.into());
    }
    vec![(BALANCE_CHANGED, schema)]
}

/// Narrows the schema of all to one type: keeps its alternative of the body, and the definitions it needs.
fn of_type(mut schema: Value, name: &'static str) -> Value {
    let Some(root) = schema.as_object_mut() else { return schema };
    let alternatives = root.remove("oneOf");
    let body = alternatives.as_ref().and_then(Value::as_array).into_iter().flatten();
    for alternative in body.filter(|body| body.pointer("/properties/type/const").and_then(Value::as_str) == Some(name))
    {
        merge(root, alternative);
    }
    root.insert("title".into(), name.into());
    let definitions = match root.remove("$defs") {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    let mut used = Map::new();
    collect(&Value::Object(root.clone()), &definitions, &mut used);
    root.insert("$defs".into(), Value::Object(used));
    schema
}

/// Adds properties, required names and description of one alternative to the envelope.
fn merge(root: &mut Map<String, Value>, alternative: &Value) {
    for key in ["type", "properties", "required", "description"] {
        match (root.get_mut(key), alternative.get(key)) {
            (Some(Value::Object(into)), Some(Value::Object(from))) => into.extend(from.clone()),
            (Some(Value::Array(into)), Some(Value::Array(from))) => into.extend(from.iter().cloned()),
            (_, Some(from)) => {
                root.insert(key.into(), from.clone());
            }
            (_, None) => {}
        }
    }
}

/// Finds the definitions that a schema refers to, and those that they refer to.
fn collect(value: &Value, definitions: &Map<String, Value>, used: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            let target = fields.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
            if let Some((name, definition)) = target.and_then(|name| definitions.get_key_value(name))
                && !used.contains_key(name)
            {
                used.insert(name.clone(), definition.clone());
                collect(definition, definitions, used);
            }
            fields.values().for_each(|field| collect(field, definitions, used));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, definitions, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
