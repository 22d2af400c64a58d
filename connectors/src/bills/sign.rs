//! Signatures between a server and its providers, in both directions the same, as Standard Webhooks has them:
//! `webhook-id`, `webhook-timestamp` (seconds) and `webhook-signature: v1,<base64 of HMAC-SHA256>` over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event_schemas::Timestamp;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Of what: a payment's id.
pub const ID: &str = "webhook-id";
/// When, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The signatures, with blanks between them.
pub const SIGNATURE: &str = "webhook-signature";

/// How far a signature's time may lie from now, in seconds: what is older was perhaps recorded by somebody.
pub const TOLERANCE_S: i64 = 300;

/// The least bytes of a secret.
pub const SECRET_MIN_BYTES: usize = 16;

/// A secret that a provider shares. It never shows.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Why something is not what the provider signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// The secret is too short to be one.
    #[error("a secret has at least {SECRET_MIN_BYTES} bytes")]
    Secret,
    /// The time is none, or too far from now.
    #[error("the signature's time is not within {TOLERANCE_S} s of now")]
    Time,
    /// No signature is right.
    #[error("the signature is not right")]
    Wrong,
}

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, SignatureFault> {
        if bytes.len() < SECRET_MIN_BYTES { Err(SignatureFault::Secret) } else { Ok(Self(bytes.into())) }
    }

    fn mac(&self, id: &str, seconds: i64, body: &[u8]) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        Some(mac)
    }

    /// The signature of a body, as it stands in the header.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mac = self.mac(id, seconds, body).map(|mac| mac.finalize().into_bytes());
        format!("v1,{}", STANDARD.encode(mac.unwrap_or_default()))
    }

    /// Whether one of the signatures is that of the body, and not too old. Compared in constant time.
    pub fn check(
        &self,
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), SignatureFault> {
        let seconds: i64 = timestamp.parse().map_err(|_| SignatureFault::Time)?;
        if (now.0 / 1_000_000).saturating_sub(seconds).saturating_abs() > TOLERANCE_S {
            return Err(SignatureFault::Time);
        }
        let is_right = |signature: &str| {
            let sum = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
            sum.zip(self.mac(id, seconds, body)).is_some_and(|(sum, mac)| mac.verify_slice(&sum).is_ok())
        };
        if signatures.split(' ').take(8).any(is_right) { Ok(()) } else { Err(SignatureFault::Wrong) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_worked_example_of_the_documentation() {
        let secret = Secret::new(b"0123456789abcdef0123456789abcdef").unwrap();
        let (id, seconds) = ("0190a5d4-7c1e-7000-8000-000000000001", 1_795_262_400);
        let body = br#"{"payment":"0190a5d4-7c1e-7000-8000-000000000001","status":"accepted","reference":"W-77","amount":"120.50","currency":"EUR"}"#;
        let signature = secret.sign(id, seconds, body);
        assert_eq!(signature, "v1,eIGiRz4U8/LgHcci0h0D+Hwwul603SxgV5Ccu2Wxb14=");
        let now = Timestamp(seconds * 1_000_000);
        let check =
            |timestamp: &str, signatures: &str, body: &[u8], now| secret.check(id, timestamp, signatures, body, now);
        assert_eq!(check("1795262400", &signature, body, now), Ok(()));
        assert_eq!(check("1795262400", &format!("v1,AAAA v2,x {signature}"), body, now), Ok(()), "one is enough");
        assert_eq!(check("1795262401", &signature, body, now), Err(SignatureFault::Wrong));
        assert_eq!(check("1795262400", &signature, b"{}", now), Err(SignatureFault::Wrong));
        assert_eq!(check("1795262400", "", body, now), Err(SignatureFault::Wrong));
        let late = Timestamp(now.0 + 301 * 1_000_000);
        assert_eq!(check("1795262400", &signature, body, late), Err(SignatureFault::Time));
        assert_eq!(check("yesterday", &signature, body, now), Err(SignatureFault::Time));
        let other = Secret::new(b"0123456789abcdef0123456789abcdeg").unwrap();
        assert_eq!(other.check(id, "1795262400", &signature, body, now), Err(SignatureFault::Wrong));
        assert_eq!(Secret::new(b"short").unwrap_err(), SignatureFault::Secret);
    }
}
