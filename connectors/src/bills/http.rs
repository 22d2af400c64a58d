//! A provider behind HTTP: `POST {url}/payments` asks it to take a payment, `GET {url}/payments/{id}` what became of it. Both are
//! signed (`sign.rs`), and both answer
//!
//! ```json
//! { "status": "accepted", "reference": "W-77", "amount": "120.50", "currency": "EUR" }
//! ```
//!
//! or `refused` with a `code`, or `pending`. A status of 408, 425, 429 or 5xx, no connection and no answer in time mean that
//! nothing is known; the `Idempotency-Key`, the payment's id, makes it safe to ask again. Anything else that can't be understood
//! is no answer either.

use std::time::Duration;

use event_schemas::{Currency, Money, Timestamp};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::breaker::{Breaker, BreakerOptions};
use super::provider::{ProviderAnswer, ProviderCall, ProviderFault};
use super::sign::{ID, SIGNATURE, Secret, TIMESTAMP};

/// The most bytes of an answer.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// How a provider is reached.
#[derive(Debug, Clone)]
pub struct HttpProviderOptions {
    /// Its base URL.
    pub url: String,
    /// What it shares.
    pub secret: Secret,
    /// How long a call may take.
    pub timeout: Duration,
    /// When it is left alone.
    pub breaker: BreakerOptions,
}

/// A provider behind HTTP.
#[derive(Debug)]
pub struct HttpProvider {
    client: Client,
    url: Url,
    secret: Secret,
    timeout: Duration,
    breaker: Breaker,
}

#[derive(Deserialize)]
struct AnswerBody {
    status: Box<str>,
    #[serde(default)]
    reference: Box<str>,
    amount: Option<Box<str>>,
    currency: Option<Box<str>>,
    #[serde(default)]
    code: Box<str>,
}

/// Reads an answer, of a call or of a callback.
pub fn read_answer(body: &[u8], currency: Currency) -> Result<ProviderAnswer, ProviderFault> {
    let malformed = |what: &str| ProviderFault::Malformed(format!("the provider's answer {what}"));
    let answer: AnswerBody = serde_json::from_slice(body).map_err(|_| malformed("is not what is expected"))?;
    if answer.reference.len() > 200 || answer.code.len() > 200 {
        return Err(malformed("has a reference or a code of more than 200 bytes"));
    }
    match &*answer.status {
        "pending" => Ok(ProviderAnswer::Pending { reference: answer.reference }),
        "refused" => {
            let code = if answer.code.is_empty() { "refused".into() } else { answer.code };
            Ok(ProviderAnswer::Refused { reference: answer.reference, code })
        }
        "accepted" => {
            if answer.reference.is_empty() {
                return Err(malformed("has no reference"));
            }
            if answer.currency.as_deref() != Some(currency.code()) {
                return Err(malformed("is of another currency"));
            }
            let amount = answer.amount.as_deref().filter(|text| text.len() <= 64);
            let amount = amount.and_then(|text| Money::parse(text, currency).ok());
            let amount = amount.ok_or_else(|| malformed("has no amount that can be read"))?;
            Ok(ProviderAnswer::Accepted { reference: answer.reference, amount_minor: amount.amount_minor })
        }
        _ => Err(malformed("has a status that is none of accepted, refused and pending")),
    }
}

impl HttpProvider {
    /// A provider; the URL must be one of HTTP.
    pub fn new(options: HttpProviderOptions) -> Result<Self, String> {
        let mut url: Url = options.url.parse().map_err(|error| format!("{}: {error}", options.url))?;
        if url.scheme() != "http" {
            return Err(format!("{}: only http:// is spoken here; a proxy beside the server does TLS", options.url));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let client = Client::builder()
            .timeout(options.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let breaker = Breaker::new(options.breaker);
        Ok(Self { client, url, secret: options.secret, timeout: options.timeout, breaker })
    }

    pub(super) const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Its secret, by which callbacks are checked.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    fn signed(&self, request: RequestBuilder, call: &ProviderCall, body: Vec<u8>, now: Timestamp) -> RequestBuilder {
        let (id, seconds) = (call.payment.to_string(), now.0 / 1_000_000);
        let signature = self.secret.sign(&id, seconds, &body);
        request
            .header(ID, &id)
            .header(TIMESTAMP, seconds.to_string())
            .header(SIGNATURE, signature)
            .header("idempotency-key", &id)
            .header("content-type", "application/json")
            .body(body)
    }

    pub(super) async fn pay(&self, call: &ProviderCall, now: Timestamp) -> Result<ProviderAnswer, ProviderFault> {
        let details: Map<String, Value> =
            call.details.iter().map(|detail| (detail.name.to_string(), (*detail.value).into())).collect();
        let body = json!({
            "payment": call.payment,
            "provider": call.provider,
            "amount": call.amount.amount().to_string(),
            "currency": call.amount.currency.code(),
            "details": details,
        });
        let url = self.url.join("payments").map_err(|error| ProviderFault::Down(error.to_string()))?;
        let request = self.signed(self.client.post(url), call, body.to_string().into_bytes(), now);
        let answer = self.ask(request, call).await?;
        answer.ok_or_else(|| ProviderFault::Malformed("the provider has no such resource (404)".into()))
    }

    pub(super) async fn status(
        &self,
        call: &ProviderCall,
        now: Timestamp,
    ) -> Result<Option<ProviderAnswer>, ProviderFault> {
        let url = self.url.join(&format!("payments/{}", call.payment));
        let url = url.map_err(|error| ProviderFault::Down(error.to_string()))?;
        self.ask(self.signed(self.client.get(url), call, Vec::new(), now), call).await
    }

    async fn ask(&self, request: RequestBuilder, call: &ProviderCall) -> Result<Option<ProviderAnswer>, ProviderFault> {
        self.breaker.calling(self.timeout);
        let answered = Self::answered(request, call).await;
        match &answered {
            Ok(_) => self.breaker.succeeded(),
            Err(fault) => {
                if self.breaker.failed() {
                    tracing::error!(provider = %call.provider, %fault, "ALARM: the provider is left alone for a while");
                }
            }
        }
        answered
    }

    async fn answered(request: RequestBuilder, call: &ProviderCall) -> Result<Option<ProviderAnswer>, ProviderFault> {
        let response = request.send().await.map_err(|error| fault(&error))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let unwilling = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
        if unwilling {
            return Err(ProviderFault::Down(format!("the provider answers {status}")));
        }
        let body = bounded(response).await?;
        if !status.is_success() && status != StatusCode::UNPROCESSABLE_ENTITY && status != StatusCode::CONFLICT {
            return Err(ProviderFault::Malformed(format!("the provider answers {status}")));
        }
        read_answer(&body, call.amount.currency).map(Some)
    }
}

fn fault(error: &reqwest::Error) -> ProviderFault {
    if error.is_timeout() { ProviderFault::Timeout } else { ProviderFault::Down(error.to_string()) }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, ProviderFault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(ProviderFault::Malformed(format!(
                "the provider's answer has more than {ANSWER_MAX_BYTES} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
