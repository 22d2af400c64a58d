//! The document for people: one page of plain HTML, made once. It has no scripts and loads nothing, so it needs no network
//! and there is nothing in it that could run; requests are tried from a shell, for which each operation has a line.

use std::fmt::Write as _;

use serde_json::{Map, Value};

const STYLE: &str = include_str!("page.css");

/// What the page may do: show itself, with its own style.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(super) fn html(document: &Value) -> String {
    let info = |name: &str| text(document, &format!("/info/{name}"));
    let mut page = String::with_capacity(256 * 1024);
    // Writing to a string can't fail.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} {version}</title><style>{STYLE}</style><h1>{title} <span class=\"dim\">{version}</span></h1>\
         <p>{description}<p>The same as <a href=\"/v1/openapi.json\">OpenAPI {openapi}</a>. Requests need a key: \
         <code>Authorization: Bearer dop_…</code>",
        title = info("title"),
        version = info("version"),
        description = info("description"),
        openapi = text(document, "/openapi"),
    );
    let tags: Vec<_> = items(document, "/tags").collect();
    for tag in &tags {
        let _ = write!(page, "<h4>{}</h4><ul>", text(tag, "/name"));
        for (path, method, operation) in operations(document, tag) {
            let (id, summary) = (text(operation, "/operationId"), text(operation, "/summary"));
            let path = escaped(path);
            let _ = write!(page, "<li><a href=\"#{id}\">{summary}</a> <code class=\"dim\">{method} {path}</code>");
        }
        page.push_str("</ul>");
    }
    for tag in &tags {
        let _ = write!(page, "<h2>{}</h2><p>{}", text(tag, "/name"), text(tag, "/description"));
        for (path, method, operation) in operations(document, tag) {
            describe(&mut page, document, path, method, operation);
        }
    }
    page.push_str("<h2>schemas</h2>");
    for (name, schema) in members(document, "/components/schemas") {
        let name = escaped(name);
        let _ = write!(page, "<details id=\"schema-{name}\"><summary><code>{name}</code></summary>");
        shape(&mut page, schema);
        page.push_str("</details>");
    }
    page.push_str("</html>");
    page
}

/// The operations of a tag: path, method and description.
fn operations<'a>(document: &'a Value, tag: &'a Value) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
    let of_tag = |operation: &&Value| items(operation, "/tags").any(|name| Some(name) == tag.get("name"));
    members(document, "/paths")
        .flat_map(|(path, methods)| members(methods, "").map(move |(method, operation)| (path, method, operation)))
        .filter(move |(_, _, operation)| of_tag(operation))
}

fn describe(page: &mut String, document: &Value, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        page,
        "<section id=\"{}\"><h3><span class=\"method {method}\">{}</span>{}</h3><p><b>{}</b><p>{}",
        text(operation, "/operationId"),
        method.to_ascii_uppercase(),
        escaped(path),
        text(operation, "/summary"),
        text(operation, "/description"),
    );
    let parameters: Vec<_> = items(operation, "/parameters").map(|parameter| resolved(document, parameter)).collect();
    if !parameters.is_empty() {
        page.push_str("<table><tr><th>parameter<th>in<th>form<th>");
        for parameter in parameters {
            let needed = if parameter.get("required") == Some(&Value::Bool(true)) { "" } else { "; optional" };
            let _ = write!(
                page,
                "<tr><td><code>{}</code><td>{}<td>{}<td>{}",
                text(parameter, "/name"),
                text(parameter, "/in"),
                parameter.get("schema").map_or_else(String::new, form) + needed,
                text(parameter, "/description"),
            );
        }
        page.push_str("</table>");
    }
    let body = operation.pointer("/requestBody/content/application~1json/schema");
    if let Some(schema) = body {
        let _ = write!(page, "<p>Body: {}", form(schema));
    }
    page.push_str("<table><tr><th>status<th>answer<th>");
    for (status, response) in members(operation, "/responses") {
        let response = resolved(document, response);
        let description = text(response, "/description");
        let forms: Vec<_> = members(response, "/content")
            .map(|(kind, media)| match media.get("schema") {
                Some(schema) if schema.get("$ref").or(schema.get("anyOf")).is_some() => form(schema),
                _ => format!("<code>{}</code>", escaped(kind)),
            })
            .collect();
        let _ = write!(page, "<tr><td>{status}<td>{}<td>", forms.join(", "));
        if description.contains('\n') || description.starts_with("- ") {
            let _ = write!(page, "<details><summary>codes</summary><pre>{description}</pre></details>");
        } else {
            page.push_str(&description);
        }
    }
    page.push_str("</table>");
    let mut line = format!("curl -H \"Authorization: Bearer $KEY\" \"$URL{}\"", path.replace("{book}", "1"));
    if method != "get" {
        line.push_str(" -H 'Content-Type: application/json'");
        if path.ends_with("/batches") {
            line.push_str(" -d '{\"items\": […]}'");
        } else {
            line.push_str(" -H \"Idempotency-Key: $(uuidgen)\" -d '{…}'");
        }
    }
    let _ = write!(page, "<pre>{}</pre></section>", escaped(&line));
}

/// A schema at length: its members, or the schema as it is.
fn shape(page: &mut String, schema: &Value) {
    let _ = write!(page, "<p>{}", text(schema, "/description"));
    if schema.get("properties").is_none() || schema.get("oneOf").is_some() || schema.get("allOf").is_some() {
        let mut plain = schema.clone();
        if let Some(members) = plain.as_object_mut() {
            members.remove("description");
        }
        let _ = write!(page, "<pre>{}</pre>", linked(&format!("{plain:#}")));
        return;
    }
    let required: Vec<_> = items(schema, "/required").filter_map(Value::as_str).collect();
    page.push_str("<table>");
    for (name, member) in members(schema, "/properties") {
        let needed = if required.contains(&name) { "" } else { "; optional" };
        let name = escaped(name);
        let _ =
            write!(page, "<tr><td><code>{name}</code><td>{}{needed}<td>{}", form(member), text(member, "/description"));
    }
    page.push_str("</table>");
}

/// A schema in a few words.
fn form(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        let name = escaped(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(of) = schema.get(key).and_then(Value::as_array) {
            return of.iter().map(form).collect::<Vec<_>>().join(if key == "allOf" { " and " } else { " or " });
        }
    }
    if let Some(only) = schema.get("const") {
        return format!("<code>{}</code>", escaped(&only.to_string()));
    }
    let mut words = match schema.get("type") {
        Some(Value::String(kind)) => escaped(kind),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".into(),
    };
    if let Some(of) = schema.get("items") {
        let _ = write!(words, " of {}", form(of));
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<_> = values.iter().map(|value| escaped(&value.to_string())).collect();
        words = format!("<code>{}</code>", values.join(" "));
    }
    let bounds = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"];
    for (name, bound) in bounds.iter().filter_map(|name| Some((name, schema.get(*name)?))) {
        let bound = bound.as_str().map_or_else(|| bound.to_string(), str::to_owned);
        let _ = write!(words, ", {name} <code>{}</code>", escaped(&bound));
    }
    words
}

/// JSON as text, with references as links.
fn linked(json: &str) -> String {
    const BEFORE: &str = "#/components/schemas/";
    let mut parts = json.split(BEFORE);
    let mut out = escaped(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once('"').unwrap_or((part, ""));
        let name = escaped(name);
        let _ = write!(out, "<a href=\"#schema-{name}\">{name}</a>&quot;{}", escaped(rest));
    }
    out
}

/// What a reference refers to.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

/// A text of the document. What stands between backticks is code.
fn text(value: &Value, pointer: &str) -> String {
    let text = escaped(value.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('`').peekable();
    let mut is_code = false;
    while let Some(part) = parts.next() {
        // A backtick without its second one stays what it is.
        match (is_code, parts.peek().is_some()) {
            (true, true) => out.extend(["<code>", part, "</code>"]),
            (true, false) => out.extend(["`", part]),
            (false, _) => out.push_str(part),
        }
        is_code = !is_code;
    }
    out
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn members<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let found: Option<&Map<String, Value>> = value.pointer(pointer).and_then(Value::as_object);
    found.into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

/// A text that can stand in HTML, between tags and in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_operation_and_schema_is_shown_and_every_link_leads_somewhere() {
        let document = crate::openapi();
        let page = html(document);
        for (_, methods) in members(document, "/paths") {
            for (_, operation) in members(methods, "") {
                let id = operation.get("operationId").and_then(Value::as_str).unwrap();
                assert_eq!(page.matches(&format!("<section id=\"{id}\">")).count(), 1, "{id}: is its tag listed?");
            }
        }
        for link in page.split("href=\"#").skip(1) {
            let target = link.split('"').next().unwrap();
            assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
        }
        for (name, _) in members(document, "/components/schemas") {
            assert!(page.contains(&format!("<details id=\"schema-{name}\">")), "{name}");
        }
    }

    #[test]
    fn nothing_in_it_runs_or_is_loaded() {
        let page = html(crate::openapi());
        for word in ["<script", "<link", "<img", "<iframe", "src=", "javascript:", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
        assert_eq!(escaped("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
        let words = serde_json::json!({ "description": "the `code` of a <b>, `x" });
        assert_eq!(text(&words, "/description"), "the <code>code</code> of a &lt;b&gt;, `x");
        assert_eq!(form(&serde_json::json!({ "const": "<b>" })), "<code>&quot;&lt;b&gt;&quot;</code>");
    }
}
