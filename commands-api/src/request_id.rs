//! `x-request-id`: the client's, if it is short and plain, or one of ours. It ties an answer to a trace and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) const MAX_BYTES: usize = 128;

/// Gives out ids: a random start of the process and a count, which costs no system call per request.
pub(crate) struct RequestIds {
    start: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        // Without randomness ids repeat after a restart, which harms nobody.
        Self { start: getrandom::u64().unwrap_or_default(), count: AtomicU64::new(0) }
    }

    /// The client's id or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let plain = |value: &&HeaderValue| {
            !value.is_empty() && value.len() <= MAX_BYTES && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        headers.get(REQUEST_ID).filter(plain).cloned().unwrap_or_else(|| {
            let count = self.count.fetch_add(1, Ordering::Relaxed);
            HeaderValue::from_str(&format!("{:016x}-{count:x}", self.start))
                .unwrap_or_else(|_| HeaderValue::from_static("none"))
        })
    }
}
