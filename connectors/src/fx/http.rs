//! Asking a service: a bound on time and bytes, and another try where that may help.

use std::time::Duration;

use reqwest::{Client, StatusCode};

use super::RateFault;
use super::answers::refusal;

/// The most bytes of an answer.
pub(super) const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// How often a service is asked before this is given up.
const TRIES: u32 = 3;
/// How long to wait before the second try; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(250);

/// A service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    name: &'static str,
    base: String,
    client: Client,
}

impl Service {
    /// A service at this URL, such as `http://rates.internal:8080`.
    pub(super) fn new(name: &'static str, base: &str, timeout: Duration) -> Result<Self, RateFault> {
        let unusable = |reason: String| RateFault::Unreachable { source_name: name, reason };
        let client = Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unusable(error.without_url().to_string()))?;
        Ok(Self { name, base: base.trim_end_matches('/').to_owned(), client })
    }

    /// The body of an answer to this path and query.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, RateFault> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.once(path, query).await {
                // A refusal is one the next time, too, unless the service itself is at a loss.
                Err(RateFault::Unreachable { .. }) => {}
                Err(RateFault::Status { status, .. }) if status >= 500 || status == 429 => {}
                outcome => return outcome,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.once(path, query).await
    }

    async fn once(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, RateFault> {
        let source_name = self.name;
        let unreachable = |error: reqwest::Error| RateFault::Unreachable {
            source_name,
            reason: if error.is_timeout() { "no answer in time".into() } else { error.without_url().to_string() },
        };
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let url = format!("{}{path}?{}", self.base, query.join("&"));
        let mut response = self.client.get(url).send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(RateFault::TooLong(source_name));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return Ok(body);
        }
        Err(RateFault::Status { source_name, status: status.as_u16(), message: refusal(&body) })
    }
}
