//! What the services answer. Numbers are read from their text.

use std::collections::BTreeMap;

use event_schemas::rates::{QuotedRate, Rate};
use event_schemas::{CivilDate, Currency, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Quoted, RateFault, complete};

/// `{"amount":1.0,"base":"USD","date":"2026-08-21","rates":{"EUR":0.86123}}`
#[derive(Deserialize)]
struct Frankfurter<'a> {
    #[serde(borrow)]
    amount: &'a RawValue,
    base: String,
    date: String,
    #[serde(borrow)]
    rates: BTreeMap<String, &'a RawValue>,
}

/// `{"timestamp":1787270400,"base":"USD","rates":{"EUR":0.861234}}`
#[derive(Deserialize)]
struct OpenExchangeRates<'a> {
    timestamp: i64,
    base: String,
    #[serde(borrow)]
    rates: BTreeMap<String, &'a RawValue>,
}

fn rates(name: &'static str, found: BTreeMap<String, &RawValue>) -> Result<Vec<QuotedRate>, RateFault> {
    let mut rates = Vec::new();
    for (code, number) in found {
        // A source may quote what is no currency here, such as gold.
        let Ok(currency) = code.parse::<Currency>() else { continue };
        let per_pivot = Rate::parse_number(number.get()).map_err(|error| RateFault::Rate {
            source_name: name,
            currency: code.chars().take(12).collect(),
            error,
        })?;
        rates.push(QuotedRate { currency, per_pivot });
    }
    Ok(rates)
}

fn malformed(source_name: &'static str, reason: impl Into<String>) -> RateFault {
    RateFault::Malformed { source_name, reason: reason.into() }
}

/// What Frankfurter answers, which must be of this base.
pub(super) fn frankfurter(
    name: &'static str,
    body: &[u8],
    base: Currency,
    symbols: &[Currency],
    fetched_at: Timestamp,
) -> Result<Quoted, RateFault> {
    let answer: Frankfurter<'_> = serde_json::from_slice(body).map_err(|error| malformed(name, error.to_string()))?;
    if answer.base != base.code() {
        return Err(malformed(name, format!("{base} was asked for, and {:.8} answered", answer.base)));
    }
    if Rate::parse_number(answer.amount.get()) != Ok(Rate::ONE) {
        return Err(malformed(name, "the rates are not for one unit"));
    }
    let quoted_on: CivilDate = answer.date.parse().map_err(|_| malformed(name, "its date is none"))?;
    let rates = complete(name, base, symbols, rates(name, answer.rates)?)?;
    Ok(Quoted { source: name, pivot: base, quoted_on, fetched_at, rates })
}

/// What openexchangerates answers.
pub(super) fn open_exchange_rates(
    name: &'static str,
    body: &[u8],
    symbols: &[Currency],
    fetched_at: Timestamp,
) -> Result<Quoted, RateFault> {
    let answer: OpenExchangeRates<'_> =
        serde_json::from_slice(body).map_err(|error| malformed(name, error.to_string()))?;
    let base: Currency = answer.base.parse().map_err(|_| malformed(name, "its base is no currency"))?;
    let at = answer.timestamp.checked_mul(1_000_000).and_then(Timestamp::from_micros);
    let quoted_on = at.ok_or_else(|| malformed(name, "its timestamp is none"))?.date_utc();
    let rates = complete(name, base, symbols, rates(name, answer.rates)?)?;
    Ok(Quoted { source: name, pivot: base, quoted_on, fetched_at, rates })
}

/// The words of a refusal: `{"message":"not found"}`, or `{"message":"invalid_app_id","description":"…"}`.
pub(super) fn refusal(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    struct Refusal {
        #[serde(default)]
        message: String,
    }
    let words = serde_json::from_slice::<Refusal>(body).unwrap_or_default().message;
    let words = if words.is_empty() { "no reason given".to_owned() } else { words };
    words.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: Timestamp = Timestamp(1_787_313_600_000_000);

    fn eur() -> Currency {
        "EUR".parse().unwrap()
    }

    fn codes(codes: &[&str]) -> Vec<Currency> {
        codes.iter().map(|code| code.parse().unwrap()).collect()
    }

    #[test]
    fn frankfurter_is_read_from_its_text() {
        let body = br#"{"amount":1.0,"base":"EUR","date":"2026-08-21","rates":{"USD":1.1611,"GBP":0.86285,"XAU":3}}"#;
        let quoted = frankfurter("frankfurter", body, eur(), &codes(&["USD", "GBP"]), NOW).unwrap();
        let shown: Vec<_> = quoted.rates.iter().map(|rate| format!("{} {}", rate.currency, rate.per_pivot)).collect();
        assert_eq!(shown, ["GBP 0.86285", "USD 1.1611"]);
        assert_eq!((quoted.quoted_on.to_string().as_str(), quoted.pivot), ("2026-08-21", eur()));
        let all = frankfurter("frankfurter", body, eur(), &[], NOW).unwrap();
        assert_eq!(all.rates.len(), 2);
        // It drops what it does not know, and says nothing.
        let fault = frankfurter("frankfurter", body, eur(), &codes(&["USD", "CHF"]), NOW).unwrap_err();
        assert_eq!(fault.to_string(), "frankfurter has no CHF");
    }

    #[test]
    fn what_is_not_an_answer_is_refused() {
        for (body, words) in [
            ("", "can't be read"),
            ("[]", "can't be read"),
            (r#"{"amount":1.0,"base":"USD","date":"2026-08-21","rates":{"GBP":1}}"#, "EUR was asked for"),
            (r#"{"amount":100,"base":"EUR","date":"2026-08-21","rates":{"GBP":1}}"#, "not for one unit"),
            (r#"{"amount":1,"base":"EUR","date":"yesterday","rates":{"GBP":1}}"#, "its date"),
            (r#"{"amount":1,"base":"EUR","date":"2026-08-21","rates":{"GBP":0}}"#, "above zero"),
            (r#"{"amount":1,"base":"EUR","date":"2026-08-21","rates":{"GBP":-0.8}}"#, "above zero"),
            (r#"{"amount":1,"base":"EUR","date":"2026-08-21","rates":{"GBP":"0.8"}}"#, "not a decimal"),
            (r#"{"amount":1,"base":"EUR","date":"2026-08-21","rates":{"GBP":null}}"#, "not a decimal"),
            (r#"{"amount":1,"base":"EUR","date":"2026-08-21","rates":{"GBP":0.1234567890123456}}"#, "more digits"),
            (r#"{"amount":1,"base":"EUR","date":"2026-08-21","rates":{}}"#, "no rates at all"),
        ] {
            let fault = frankfurter("frankfurter", body.as_bytes(), eur(), &[], NOW).unwrap_err().to_string();
            assert!(fault.contains(words), "{body}: {fault}");
        }
    }

    #[test]
    fn openexchangerates_quotes_against_the_dollar() {
        let body = br#"{"disclaimer":"d","license":"l","timestamp":1787270400,"base":"USD","rates":{"EUR":0.861234,"VND":2.6e4}}"#;
        let quoted = open_exchange_rates("openexchangerates", body, &codes(&["EUR", "VND", "USD"]), NOW).unwrap();
        let shown: Vec<_> = quoted.rates.iter().map(|rate| format!("{} {}", rate.currency, rate.per_pivot)).collect();
        assert_eq!(shown, ["EUR 0.861234", "VND 26000"]);
        assert_eq!((quoted.pivot.code(), quoted.quoted_on.to_string().as_str()), ("USD", "2026-08-21"));
        assert_eq!(
            refusal(br#"{"error":true,"status":401,"message":"invalid_app_id","description":"x"}"#),
            "invalid_app_id"
        );
        assert_eq!(refusal(b"<html>"), "no reason given");
    }
}
