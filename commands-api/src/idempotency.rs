//! The identity of a write: the `Idempotency-Key` header, or the command's own id in the body.
//!
//! The header is accepted as a structured-field string (`"8e03978e"`, the draft's form) and bare (`8e03978e`, what most
//! clients send); both forms of the same key are the same key. The key itself is never stored: with the tenant, the holder
//! and the command's type it becomes the command's id, so the same key may be used once per type of command, and two
//! holders never meet.

use axum::http::{HeaderMap, HeaderName};
use event_schemas::CommandId;
use event_schemas::bounds::IDEMPOTENCY_KEY_MAX_BYTES;

use crate::keys::Principal;
use crate::problem::{Code, Problem};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an answer repeats an earlier one.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The id of a command of this type: from the body's `id` or from its key, one of which must be there.
pub(crate) fn identity(
    body_id: Option<CommandId>,
    key: Option<&str>,
    principal: &Principal,
    command_type: &str,
) -> Result<CommandId, Problem> {
    match (body_id, key) {
        // Such an id follows from somebody's key, who must find it free when the key is used.
        (Some(id), None) if id.is_from_a_key() => Err(Problem::field(
            Code::FieldInvalid,
            "#/id",
            "UUIDs of version 8 follow from Idempotency-Keys: send one of another version, 7 is advised",
        )),
        (Some(id), None) => Ok(id),
        (None, Some(key)) => {
            Ok(CommandId::from_idempotency_key(&principal.tenant, &principal.holder_scope, command_type, key))
        }
        (None, None) => Err(Problem::new(Code::IdempotencyKeyMissing)),
        (Some(_), Some(_)) => {
            Err(Problem::detailed(Code::IdempotencyKeyInvalid, "send an idempotency key or the field id, not both"))
        }
    }
}

/// The key of an item of a batch. It stands for the same command as the same key in the header of a single request.
pub(crate) fn item_key(text: &str) -> Result<String, Problem> {
    let fits = (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x20..=0x7e));
    if fits {
        return Ok(text.to_owned());
    }
    let detail = format!("the key must have 1 to {IDEMPOTENCY_KEY_MAX_BYTES} printable ASCII characters");
    Err(Problem::field(Code::IdempotencyKeyInvalid, "#/idempotency_key", detail))
}

/// Refuses a key in the header of a request whose items have keys of their own.
pub(crate) fn no_header_key(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        let detail = "a batch has no key of its own: each of its items has an id or an idempotency_key";
        return Err(Problem::detailed(Code::IdempotencyKeyInvalid, detail));
    }
    Ok(())
}

/// The key in the header, unquoted.
pub(crate) fn header_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let invalid = |detail: &str| Problem::detailed(Code::IdempotencyKeyInvalid, detail);
    if values.next().is_some() {
        return Err(invalid("the header stands more than once"));
    }
    let text = value.to_str().map_err(|_| invalid("the key must be ASCII"))?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquote(rest).ok_or_else(|| invalid("the quoted key is not a structured-field string"))?,
        None if text.bytes().all(|b| b.is_ascii_graphic() && b != b'"') => text.to_owned(),
        None => return Err(invalid("a bare key has visible ASCII characters only")),
    };
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX_BYTES {
        return Err(invalid(&format!("the key must have 1 to {IDEMPOTENCY_KEY_MAX_BYTES} characters")));
    }
    Ok(Some(key))
}

/// The content of a structured-field string (RFC 9651, 3.3.3) behind its opening quote. Parameters are refused: nobody
/// sends them, and dropping them would make two keys one.
fn unquote(rest: &str) -> Option<String> {
    let mut key = String::with_capacity(rest.len());
    let mut bytes = rest.bytes();
    loop {
        match bytes.next()? {
            b'"' => break,
            b'\\' => key.push(char::from(bytes.next().filter(|b| matches!(b, b'"' | b'\\'))?)),
            byte @ 0x20..=0x7e => key.push(char::from(byte)),
            _ => return None,
        }
    }
    bytes.next().is_none().then_some(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::http::HeaderValue;

    use super::*;

    fn key(values: &[&[u8]]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        header_key(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn header_forms() {
        let invalid = Err(Code::IdempotencyKeyInvalid);
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&[b"8e03978e-40d5"]), Ok(Some("8e03978e-40d5".into())));
        assert_eq!(key(&[b"\"8e03978e-40d5\""]), Ok(Some("8e03978e-40d5".into())), "both forms are one key");
        assert_eq!(key(&[b"  padded  "]), Ok(Some("padded".into())));
        assert_eq!(key(&[br#""a \"b\" \\ c""#]), Ok(Some(r#"a "b" \ c"#.into())));
        assert_eq!(key(&[b"a b"]), invalid, "a bare key has no space");
        assert_eq!(key(&[b"a\"b"]), invalid, "nor a quote");
        assert_eq!(key(&[b""]), invalid);
        assert_eq!(key(&[b"\"\""]), invalid);
        assert_eq!(key(&[b"\"open"]), invalid);
        assert_eq!(key(&[br#""bad \n escape""#]), invalid);
        assert_eq!(key(&[br#""a";v=1"#]), invalid, "parameters are refused");
        assert_eq!(key(&[b"caf\xe9"]), invalid);
        assert_eq!(key(&[b"a", b"b"]), invalid, "twice");
        assert_eq!(key(&[&[b'x'; 256]]), Ok(Some("x".repeat(256))));
        assert_eq!(key(&[&[b'x'; 257]]), invalid);
    }
}
