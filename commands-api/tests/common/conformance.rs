//! Every answer in these tests is one that the OpenAPI document tells of: its status, its type, its headers and its body.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::Value;

use super::Answered;

/// A part of the document, with what it refers to.
fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(pointer) => resolved(commands_api::openapi().pointer(&pointer[1..]).unwrap()),
        None => value,
    }
}

/// The path in the document that a request's path is of.
fn template(path: &str) -> Option<&'static String> {
    let parts: Vec<_> = path.split('/').collect();
    let fits = |template: &&String| {
        let wanted: Vec<_> = template.split('/').collect();
        wanted.len() == parts.len()
            && wanted
                .iter()
                .zip(&parts)
                .all(|(wanted, part)| wanted.starts_with('{') && !part.is_empty() || wanted == part)
    };
    let paths = commands_api::openapi()["paths"].as_object().unwrap();
    // A path without a variable goes before one with.
    paths.keys().filter(fits).min_by_key(|template| template.matches('{').count())
}

fn validator(pointer: &str) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    let make = || {
        let mut schema = commands_api::openapi().pointer(pointer).unwrap().clone();
        let mut needed = BTreeMap::new();
        collect(&schema, &mut needed);
        for (name, needed) in needed {
            schema["components"]["schemas"][name] = needed.clone();
        }
        Arc::new(jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap())
    };
    Arc::clone(made.entry(pointer.to_owned()).or_insert_with(make))
}

/// The schemas that a schema refers to, and those that they refer to.
fn collect(schema: &Value, needed: &mut BTreeMap<String, &'static Value>) {
    match schema {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            if let Some(name) = name
                && !needed.contains_key(name)
            {
                let found = &commands_api::openapi()["components"]["schemas"][name];
                needed.insert(name.to_owned(), found);
                collect(found, needed);
            }
            members.values().for_each(|member| collect(member, needed));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, needed)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn escaped(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

/// Panics if the document does not tell of this answer.
pub fn check(method: &str, path: &str, answered: &Answered) {
    let method = method.to_lowercase();
    let Some(template) = template(path) else { return };
    let Some(operation) = commands_api::openapi()["paths"][template].get(&method) else { return };
    let told = format!("{method} {template} answered {}: {}", answered.status, answered.body);
    let status = answered.status.as_u16().to_string();
    let place = format!("/paths/{}/{method}/responses/{status}", escaped(template));
    let response = operation["responses"].get(&status).unwrap_or_else(|| panic!("not documented: {told}"));
    let place = response.get("$ref").and_then(Value::as_str).map_or(place, |pointer| pointer[1..].to_owned());
    let response = resolved(response);
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let required = resolved(header).get("required") == Some(&Value::Bool(true));
        assert!(!required || answered.headers.contains_key(name), "no {name}: {told}");
    }
    let kind = answered.header("content-type").split(';').next().unwrap();
    assert!(response["content"].get(kind).is_some(), "{kind} is not documented: {told}");
    if kind.ends_with("json") {
        let validator = validator(&format!("{place}/content/{}/schema", escaped(kind)));
        let errors: Vec<_> = validator.iter_errors(&answered.body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}: {told}");
    }
}
