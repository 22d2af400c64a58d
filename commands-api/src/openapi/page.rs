//! The document for people.

use serde_json::Value;

/// What the page may load: nothing but its own style.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(super) fn html(document: &Value) -> String {
    format!("<!doctype html><title>Doppia</title><pre>{document:#}</pre>")
}
