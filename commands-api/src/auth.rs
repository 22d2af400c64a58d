//! Authentication: from the `Authorization` header to a principal. What the principal may do is in `policy`.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::keys::{KeyRing, Principal};
use crate::problem::{Code, Problem};

/// Who asks. Every failure of a key looks the same from outside.
pub(crate) fn authenticate(headers: &HeaderMap, keys: &KeyRing) -> Result<Arc<Principal>, Problem> {
    let unauthorized = || Problem::new(Code::Unauthorized);
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).ok_or_else(unauthorized)?;
    if values.next().is_some() {
        return Err(unauthorized());
    }
    let (scheme, key) = value.split_once(' ').ok_or_else(unauthorized)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthorized());
    }
    // The fault is in the log; it says nothing about this request.
    keys.principal(key.trim()).map_err(|_| Problem::new(Code::KeysUnavailable))?.ok_or_else(unauthorized)
}
