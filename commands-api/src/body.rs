//! From the bytes of a body to a DTO, and from what serde says of a bad one to a code and a pointer.
//!
//! The good path parses once and borrows its texts from the body. Only when that fails is the body looked at again, as a
//! tree, to find which field is at fault: serde names an unknown or missing field, and for a wrong type the field is found
//! by offering the DTO one field at a time.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::problem::{Code, Problem};

/// A text of a DTO, borrowed from the body unless it has escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    pub(crate) fn into_inner(self) -> Cow<'a, str> {
        self.0
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text))
            }
        }
        deserializer.deserialize_str(Texts).map(Self)
    }
}

/// What is read from an object and from nothing else. A struct alone would be read from an array, too: its members in their
/// order.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Objects(PhantomData)).map(Self)
    }
}

/// A DTO that borrows from the body: implemented by its `'static` form, which stands for the type without its lifetime.
pub(crate) trait Dto {
    /// The DTO of a body that lives for `'a`.
    type Of<'a>: Deserialize<'a>;
}

/// Reads a DTO.
pub(crate) fn parse<T: Dto>(body: &[u8]) -> Result<T::Of<'_>, Problem> {
    let read: Result<Object<T::Of<'_>>, _> = serde_json::from_slice(body);
    read.map(|object| object.0).map_err(|error| explain::<T>(body, &error))
}

/// What is wrong with a body that `T` does not take.
fn explain<T: Dto>(body: &[u8], error: &serde_json::Error) -> Problem {
    let place = || format!("line {}, column {}", error.line(), error.column());
    let tree: Value = match serde_json::from_slice(body) {
        Ok(tree) => tree,
        Err(_) => {
            return Problem::detailed(Code::InvalidJson, format!("the JSON breaks off or is malformed at {}", place()));
        }
    };
    let message = message_of(error);
    let named = message.split('`').nth(1).unwrap_or_default();
    if message.starts_with("unknown field") {
        let pointer = find_member(&tree, named).unwrap_or_else(|| "#".into());
        return Problem::field(Code::UnknownField, pointer, format!("the field {} is not known", shown(named)));
    }
    if message.starts_with("missing field") {
        let pointer = find_gap(&tree, named).unwrap_or_else(|| format!("#/{}", escaped(named)));
        return Problem::field(Code::MissingField, pointer, format!("the field {} is missing", shown(named)));
    }
    if message.starts_with("duplicate field") {
        return Problem::field(
            Code::FieldInvalid,
            format!("#/{}", escaped(named)),
            format!("the field {} stands twice", shown(named)),
        );
    }
    let detail = if message.starts_with("invalid type") || message.starts_with("unknown variant") {
        message.chars().take(200).collect()
    } else {
        // Texts of other errors are not known here, so they are kept inside.
        format!("the value at {} is not valid", place())
    };
    match find_invalid(&tree, &accepts_shape::<T>) {
        Some(pointer) => Problem::field(Code::FieldInvalid, pointer, detail),
        None => Problem::detailed(Code::FieldInvalid, detail),
    }
}

/// serde's message without the place, which JSON errors append.
fn message_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// A member's name in a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    shown(name).replace('~', "~0").replace('/', "~1")
}

/// Where the first member of this name stands, in the document or in an object of it, maybe in an array.
fn find_member(tree: &Value, name: &str) -> Option<String> {
    let object = tree.as_object()?;
    if object.contains_key(name) {
        return Some(format!("#/{}", escaped(name)));
    }
    let within_array = nested(object).find_map(|(key, at, inner)| {
        inner.contains_key(name).then(|| format!("#/{}/{at}/{}", escaped(key), escaped(name)))
    });
    within_array.or_else(|| {
        object.iter().find_map(|(key, inner)| {
            inner.as_object()?.contains_key(name).then(|| format!("#/{}/{}", escaped(key), escaped(name)))
        })
    })
}

/// Where the first object stands that lacks this member: an inner one if the outer has no such name of its own.
fn find_gap(tree: &Value, name: &str) -> Option<String> {
    const OF_POSTINGS: [&str; 5] = ["account", "side", "posting", "amount", "currency"];
    let object = tree.as_object()?;
    if !OF_POSTINGS.contains(&name) {
        return None;
    }
    nested(object)
        .find(|(_, _, inner)| !inner.contains_key(name))
        .map(|(key, at, _)| format!("#/{}/{at}/{}", escaped(key), escaped(name)))
}

fn nested(object: &Map<String, Value>) -> impl Iterator<Item = (&String, usize, &Map<String, Value>)> {
    object
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_array()?)))
        .flat_map(|(key, items)| items.iter().enumerate().map(move |(at, item)| (key, at, item)))
        .filter_map(|(key, at, item)| Some((key, at, item.as_object()?)))
}

/// Whether the DTO takes every value of the tree, whatever may be missing.
fn accepts_shape<T: Dto>(tree: &Value) -> bool {
    let bytes = serde_json::to_vec(tree).unwrap_or_default();
    match serde_json::from_slice::<Object<T::Of<'_>>>(&bytes) {
        Ok(_) => true,
        Err(error) => message_of(&error).starts_with("missing field"),
    }
}

/// The pointer of the first value whose type or form is wrong, found by offering one value at a time.
fn find_invalid(tree: &Value, accepts: &dyn Fn(&Value) -> bool) -> Option<String> {
    let object = tree.as_object()?;
    let one = |key: &str, value: Value| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    for (key, value) in object {
        if accepts(&one(key, value.clone())) {
            continue;
        }
        let pointer = format!("#/{}", escaped(key));
        for (inner_key, inner) in value.as_object().into_iter().flatten() {
            if !accepts(&one(key, one(inner_key, inner.clone()))) {
                return Some(format!("{pointer}/{}", escaped(inner_key)));
            }
        }
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        for (at, item) in items.iter().enumerate() {
            if accepts(&one(key, Value::Array(vec![item.clone()]))) {
                continue;
            }
            for (inner_key, inner) in item.as_object().into_iter().flatten() {
                if !accepts(&one(key, Value::Array(vec![one(inner_key, inner.clone())]))) {
                    return Some(format!("{pointer}/{at}/{}", escaped(inner_key)));
                }
            }
            return Some(format!("{pointer}/{at}"));
        }
        return Some(pointer);
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::dto::{EntryRequest, TransferRequest};

    fn refusal<T: Dto>(body: &str) -> (Code, String) {
        let Err(problem) = parse::<T>(body.as_bytes()) else { panic!("{body} was taken") };
        let response = problem.clone().document_json();
        (problem.code(), response.pointer("/errors/0/pointer").and_then(Value::as_str).unwrap_or("").to_owned())
    }

    #[test]
    fn bad_bodies_name_the_field() {
        let good = r#""from":"a","to":"b","amount":"1.00","currency":"EUR""#;
        assert!(parse::<TransferRequest<'static>>(format!("{{{good}}}").as_bytes()).is_ok());
        for (body, code, pointer) in [
            ("", Code::InvalidJson, ""),
            ("{", Code::InvalidJson, ""),
            ("{}x", Code::InvalidJson, ""),
            (&"[".repeat(1_000), Code::InvalidJson, ""),
            ("[]", Code::FieldInvalid, ""),
            ("null", Code::FieldInvalid, ""),
            (r#"["a","b","1.00","EUR"]"#, Code::FieldInvalid, ""),
            (r#"[null,"a","b","1.00","EUR",null,null,null]"#, Code::FieldInvalid, ""),
            ("{}", Code::MissingField, "#/from"),
            (&format!(r#"{{{good},"status":"done"}}"#), Code::UnknownField, "#/status"),
            (&format!(r#"{{{good},"a/b~":1}}"#), Code::UnknownField, "#/a~1b~0"),
            (&format!(r#"{{{good},"fee":1.5}}"#), Code::FieldInvalid, "#/fee"),
            (&format!(r#"{{{good},"id":"x"}}"#), Code::FieldInvalid, "#/id"),
            (&format!(r#"{{{good},"to":"c"}}"#), Code::FieldInvalid, "#/to"),
            (r#"{"from":"a","to":"b","amount":100,"currency":"EUR"}"#, Code::FieldInvalid, "#/amount"),
            (r#"{"from":"a","to":null,"amount":"1","currency":"EUR"}"#, Code::FieldInvalid, "#/to"),
        ] {
            assert_eq!(refusal::<TransferRequest<'static>>(body), (code, pointer.to_owned()), "{body}");
        }
    }

    #[test]
    fn bad_postings_name_the_posting() {
        let good = r#"{"account":"a","side":"debit","amount":"1","currency":"EUR"}"#;
        for (second, code, pointer) in [
            (r#"{"account":"a","side":"left","amount":"1","currency":"EUR"}"#, Code::FieldInvalid, "#/postings/1/side"),
            (
                r#"{"account":"a","side":"debit","amount":1,"currency":"EUR"}"#,
                Code::FieldInvalid,
                "#/postings/1/amount",
            ),
            (r#"{"account":"a","side":"debit","currency":"EUR"}"#, Code::MissingField, "#/postings/1/amount"),
            (
                r#"{"account":"a","side":"debit","amount":"1","currency":"EUR","rate":"2"}"#,
                Code::UnknownField,
                "#/postings/1/rate",
            ),
            ("7", Code::FieldInvalid, "#/postings/1"),
            (r#"["a","debit","1","EUR"]"#, Code::FieldInvalid, "#/postings/1"),
        ] {
            let body = format!(r#"{{"postings":[{good},{second}]}}"#);
            assert_eq!(refusal::<EntryRequest<'static>>(&body), (code, pointer.to_owned()), "{body}");
        }
        assert_eq!(refusal::<EntryRequest<'static>>(r#"{"postings":7}"#), (Code::FieldInvalid, "#/postings".into()));
        assert_eq!(refusal::<EntryRequest<'static>>("{}"), (Code::MissingField, "#/postings".into()));
    }

    #[test]
    fn texts_borrow_unless_they_have_escapes() {
        let texts: Vec<Text<'_>> = serde_json::from_str(r#"["plain","tab\u0009"]"#).unwrap();
        assert!(matches!(texts.as_slice(), [Text(Cow::Borrowed("plain")), Text(Cow::Owned(_))]));
    }
}
