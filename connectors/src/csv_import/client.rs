//! Posts one request until it has an answer: retries what may pass (no connection, busy, budget spent), tells a refusal of
//! the row from a failure that ends the import. A retry is safe because the key stays the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde::Deserialize;

use super::plan::AccountSlot;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an import stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// The URL or the key can't be used as given.
    #[error("{0}")]
    Settings(String),
    /// The server could not be reached, or stayed busy, for as long as was allowed.
    #[error("no answer from the server for {waited_s} s ({last})")]
    Unreachable {
        /// How long it was tried, in seconds.
        waited_s: u64,
        /// What happened last.
        last: String,
    },
    /// The server does not accept the key, or the key may not do this.
    #[error("the server does not accept the key: {detail} ({code})")]
    Forbidden {
        /// The stable code.
        code: String,
        /// What the server said.
        detail: String,
    },
    /// The server answered with something that no row can be blamed for.
    #[error("the server answered {status}: {detail} ({code})")]
    Server {
        /// The HTTP status.
        status: u16,
        /// The stable code.
        code: String,
        /// What the server said.
        detail: String,
    },
    /// The import was told to stop by another part of it.
    #[error("stopped")]
    Told,
}

/// What the book said to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the book, perhaps since an earlier run.
    Recorded { sequence: u64, replayed: bool },
    /// It was refused.
    Refused { code: String, detail: String },
}

#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<ProblemField>,
}

#[derive(Deserialize)]
struct ProblemField {
    #[serde(default)]
    pointer: String,
}

#[derive(Deserialize)]
struct Recorded {
    sequence: u64,
}

/// A client of one book.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    retry_for: Duration,
}

impl Client {
    /// A client that keeps up to `connections` connections open.
    pub(crate) fn new(
        url: &str,
        book: u32,
        key: &str,
        connections: usize,
        retry_for: Duration,
    ) -> Result<Self, StopReason> {
        let settings = |reason: &str| StopReason::Settings(reason.to_owned());
        if url.starts_with("https://") {
            return Err(settings(
                "https is not spoken here: give the server's plain http:// address, or put a TLS tunnel between",
            ));
        }
        if !url.starts_with("http://") {
            return Err(settings("the URL must begin with http://"));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
            .map_err(|_| settings("the key has characters that no key has"))?;
        authorization.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, authorization),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(ANSWER_TIMEOUT)
            .connect_timeout(Duration::from_secs(5))
            .pool_max_idle_per_host(connections)
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .map_err(|error| StopReason::Settings(error.to_string()))?;
        Ok(Self { http, base: format!("{}/v1/books/{book}", url.trim_end_matches('/')), retry_for })
    }

    /// Opens an account unless it was opened before. `Ok(None)`: it is there. `Ok(Some(..))`: it was refused.
    pub(crate) async fn ensure_open(
        &self,
        slot: &AccountSlot,
        source: &str,
        told_to_stop: &AtomicBool,
        mut opened: impl FnMut(Opened),
    ) -> Result<Option<(String, String)>, StopReason> {
        let mut refused = None;
        let done: Result<(), StopReason> = slot
            .opened
            .get_or_try_init(|| async {
                let Some(body) = &slot.open else { return Ok(()) };
                let key = super::plan::header_text(&format!("{source}:account:{}", slot.code));
                match self.post("accounts", &key, body, told_to_stop).await? {
                    Outcome::Recorded { sequence, replayed } => {
                        opened(if replayed { Opened::Before } else { Opened::Now { sequence } });
                        Ok(())
                    }
                    Outcome::Refused { code, .. } if code == "account_exists" => {
                        opened(Opened::Before);
                        Ok(())
                    }
                    // An earlier import opened it on other terms. The account is there, and its terms are its own.
                    Outcome::Refused { code, detail } if code == "idempotency_conflict" => {
                        opened(Opened::OtherTerms { detail });
                        Ok(())
                    }
                    Outcome::Refused { code, detail } => {
                        refused = Some((code, detail));
                        Err(StopReason::Told)
                    }
                }
            })
            .await
            .copied();
        match (done, refused) {
            (Ok(()), _) => Ok(None),
            (Err(_), Some(refused)) => Ok(Some(refused)),
            (Err(reason), None) => Err(reason),
        }
    }

    /// Posts a body until there is an answer.
    pub(crate) async fn post(
        &self,
        path: &str,
        key: &str,
        body: &[u8],
        told_to_stop: &AtomicBool,
    ) -> Result<Outcome, StopReason> {
        let url = format!("{}/{path}", self.base);
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            if told_to_stop.load(Ordering::Relaxed) {
                return Err(StopReason::Told);
            }
            let sent = self.http.post(&url).header("Idempotency-Key", key).body(body.to_vec()).send().await;
            let (last, asked_wait) = match sent {
                Ok(response) => {
                    let asked_wait = retry_after(response.headers());
                    match judge(response).await {
                        Judged::Outcome(outcome) => return Ok(outcome),
                        Judged::Stop(reason) => return Err(reason),
                        Judged::Again(last) => (last, asked_wait),
                    }
                }
                Err(error) if error.is_builder() => return Err(StopReason::Settings(chain(&error))),
                Err(error) => (chain(&error), None),
            };
            let pause = asked_wait.unwrap_or(wait).min(LONGEST_WAIT);
            if started.elapsed() + pause > self.retry_for {
                return Err(StopReason::Unreachable { waited_s: started.elapsed().as_secs(), last });
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// How an account came to be open.
pub(crate) enum Opened {
    /// This import opened it.
    Now { sequence: u64 },
    /// It was there.
    Before,
    /// It was there, opened on other terms than the rules have now.
    OtherTerms { detail: String },
}

enum Judged {
    Outcome(Outcome),
    Again(String),
    Stop(StopReason),
}

async fn judge(response: reqwest::Response) -> Judged {
    let status = response.status();
    let replayed = response.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
    let bytes = match response.bytes().await {
        Ok(bytes) => bytes,
        Err(error) => return Judged::Again(chain(&error)),
    };
    if status.is_success() {
        return match serde_json::from_slice::<Recorded>(&bytes) {
            Ok(Recorded { sequence }) => Judged::Outcome(Outcome::Recorded { sequence, replayed }),
            Err(error) => Judged::Stop(StopReason::Server {
                status: status.as_u16(),
                code: "answer_unreadable".into(),
                detail: format!("this does not look like a Doppia server: {error}"),
            }),
        };
    }
    let problem: Problem = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut detail = if problem.detail.is_empty() { problem.title } else { problem.detail };
    for field in problem.errors.iter().filter(|field| !field.pointer.is_empty()) {
        detail = format!("{detail} [{}]", field.pointer);
    }
    if detail.is_empty() {
        detail = status.to_string();
    }
    match status {
        // A late verdict (504) is asked for again with the same key.
        StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::GATEWAY_TIMEOUT
        | StatusCode::REQUEST_TIMEOUT => Judged::Again(format!("{status}: {detail}")),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Judged::Stop(StopReason::Forbidden { code: problem.code, detail })
        }
        _ if status.is_client_error() && !problem.code.is_empty() && problem.code != "book_not_found" => {
            Judged::Outcome(Outcome::Refused { code: problem.code, detail })
        }
        _ => Judged::Stop(StopReason::Server { status: status.as_u16(), code: problem.code, detail }),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error with its causes: reqwest's own text stops before the interesting part.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
