//! Sources of rates against a local server that speaks as they do, and as badly; and the history of the European Central Bank, if
//! it lies beside the project.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors::fx::{EcbHistory, RateFault, RateSource, SourceConfig};
use event_schemas::{Currency, Timestamp};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

const NOW: Timestamp = Timestamp(1_787_313_600_000_000);

/// What the server says to one request: a status and a body, or silence.
type Said = Option<(u16, String)>;

/// A server that says these things one after the other, the last one again and again, and remembers what it was asked.
async fn server(says: Vec<Said>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        for place in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                lines.push(line);
            }
            seen.lock().unwrap().push(lines[0].split(' ').nth(1).unwrap().to_owned());
            match says.get(place).or(says.last()).unwrap() {
                Some((status, body)) => {
                    let head =
                        format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                }
                None => {
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_mins(1)).await;
                        drop(stream);
                    });
                }
            }
        }
    });
    (url, asked)
}

#[allow(clippy::unnecessary_wraps)]
fn said(status: u16, body: &str) -> Said {
    Some((status, body.to_owned()))
}

fn codes(codes: &[&str]) -> Vec<Currency> {
    codes.iter().map(|code| code.parse().unwrap()).collect()
}

fn frankfurter(url: &str) -> RateSource {
    let config = SourceConfig::Frankfurter { url: url.into(), base: "EUR".into() };
    RateSource::new(&config, Duration::from_millis(300)).unwrap()
}

const LATEST: &str = r#"{"amount":1.0,"base":"EUR","date":"2026-08-21","rates":{"GBP":0.86285,"USD":1.1611}}"#;

#[tokio::test]
async fn frankfurter_is_asked_and_read() {
    let (url, asked) = server(vec![said(200, LATEST)]).await;
    let quoted = frankfurter(&url).fetch(&codes(&["EUR", "GBP", "USD"]), None, NOW).await.unwrap();
    let rates: Vec<_> = quoted.rates.iter().map(|rate| format!("{} {}", rate.currency, rate.per_pivot)).collect();
    assert_eq!(rates, ["GBP 0.86285", "USD 1.1611"]);
    assert_eq!((quoted.source, quoted.fetched_at, quoted.pivot.code()), ("frankfurter", NOW, "EUR"));
    frankfurter(&url).fetch(&[], Some("2024-01-15".parse().unwrap()), NOW).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["/v1/latest?base=EUR&symbols=GBP,USD", "/v1/2024-01-15?base=EUR"]);
    // What it does not know it drops in silence; here that is told.
    let fault = frankfurter(&url).fetch(&codes(&["USD", "CLF"]), None, NOW).await.unwrap_err();
    assert!(matches!(&fault, RateFault::Missing { missing, .. } if missing == "CLF"), "{fault}");
}

#[tokio::test]
async fn a_refusal_is_told_and_not_tried_again() {
    for (status, body) in [(404, r#"{"message":"not found"}"#), (422, r#"{"message":"invalid date"}"#)] {
        let (url, asked) = server(vec![said(status, body)]).await;
        let fault = frankfurter(&url).fetch(&[], None, NOW).await.unwrap_err().to_string();
        assert!(fault.starts_with(&format!("frankfurter answers {status}: ")), "{fault}");
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let (url, asked) = server(vec![said(503, ""), None, said(200, LATEST)]).await;
    assert_eq!(frankfurter(&url).fetch(&[], None, NOW).await.unwrap().rates.len(), 2);
    assert_eq!(asked.lock().unwrap().len(), 3);
    let (url, asked) = server(vec![said(500, "<html>")]).await;
    let fault = frankfurter(&url).fetch(&[], None, NOW).await.unwrap_err();
    assert_eq!(fault.to_string(), "frankfurter answers 500: no reason given");
    assert_eq!(asked.lock().unwrap().len(), 3);
    let (url, _) = server(vec![None]).await;
    let fault = frankfurter(&url).fetch(&[], None, NOW).await.unwrap_err();
    assert!(fault.to_string().contains("no answer in time"), "{fault}");
}

#[tokio::test]
async fn a_body_is_bounded_and_a_redirect_is_not_followed() {
    let long = format!("{{\"amount\":1,\"base\":\"{}\"}}", "x".repeat(2 << 20));
    let (url, _) = server(vec![said(200, &long)]).await;
    let fault = frankfurter(&url).fetch(&[], None, NOW).await.unwrap_err();
    assert!(matches!(fault, RateFault::TooLong("frankfurter")), "{fault}");
    let (url, _) = server(vec![said(302, "")]).await;
    let fault = frankfurter(&url).fetch(&[], None, NOW).await.unwrap_err();
    assert!(matches!(fault, RateFault::Status { status: 302, .. }), "{fault}");
}

#[tokio::test]
async fn openexchangerates_is_asked_with_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app-id");
    let source = |url: &str| {
        let config = SourceConfig::Openexchangerates { url: url.into(), app_id_file: file.clone() };
        RateSource::new(&config, Duration::from_millis(300)).unwrap()
    };
    let body = r#"{"disclaimer":"d","license":"l","timestamp":1787270400,"base":"USD","rates":{"EUR":0.861234}}"#;
    let (url, asked) = server(vec![said(200, body)]).await;
    let fault = source(&url).fetch(&[], None, NOW).await.unwrap_err();
    assert!(matches!(fault, RateFault::File { .. }), "{fault}");
    std::fs::write(&file, "s3cret\n").unwrap();
    let quoted = source(&url).fetch(&codes(&["EUR"]), None, NOW).await.unwrap();
    assert_eq!((quoted.pivot.code(), quoted.quoted_on.to_string().as_str()), ("USD", "2026-08-21"));
    assert_eq!(*asked.lock().unwrap(), ["/api/latest.json?app_id=s3cret&symbols=EUR"]);
    let refusal = r#"{"error":true,"status":401,"message":"invalid_app_id","description":"Invalid App ID provided."}"#;
    let (url, _) = server(vec![said(401, refusal)]).await;
    let fault = source(&url).fetch(&[], None, NOW).await.unwrap_err().to_string();
    assert_eq!(fault, "openexchangerates answers 401: invalid_app_id");
    // Nobody there: and the secret is not told.
    let fault = source("http://127.0.0.1:1").fetch(&[], None, NOW).await.unwrap_err().to_string();
    assert!(fault.contains("can't be reached") && !fault.contains("s3cret"), "{fault}");
    std::fs::write(&file, "with spaces & more").unwrap();
    assert!(matches!(source(&url).fetch(&[], None, NOW).await, Err(RateFault::File { .. })));
}

#[tokio::test]
async fn a_table_is_read_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rates.toml");
    let source = RateSource::new(&SourceConfig::Table { file: file.clone() }, Duration::from_secs(1)).unwrap();
    for (text, words) in [
        ("pivot = \"EUR\"\nquoted_on = \"2026-11-20\"\n[rates]\nUSD = \"1.0829\"\n", None),
        ("pivot = \"XXX\"\nquoted_on = \"2026-11-20\"\n[rates]\nUSD = \"1.0829\"\n", Some("XXX")),
        ("pivot = \"EUR\"\nquoted_on = \"2026-11-20\"\n[rates]\nUSD = \"0\"\n", Some("above zero")),
        ("pivot = \"EUR\"\nquoted_on = \"2026-11-20\"\n[rates]\nUSD = 1.0829\n", Some("string")),
        ("pivot = \"EUR\"\nquoted_on = \"soon\"\n[rates]\nUSD = \"1\"\n", Some("no date")),
        ("pivot = \"EUR\"\n", Some("missing field")),
    ] {
        std::fs::write(&file, text).unwrap();
        let outcome = source.fetch(&[], None, NOW).await.map_err(|fault| fault.to_string());
        match words {
            None => assert_eq!(outcome.unwrap().rates.len(), 1),
            Some(words) => assert!(outcome.as_ref().is_err_and(|fault| fault.contains(words)), "{text}: {outcome:?}"),
        }
    }
}

/// The real file, as the bank gives it out.
#[tokio::test]
async fn the_history_of_the_european_central_bank_is_read() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/fx/eurofxref-hist.zip");
    if !path.is_file() {
        eprintln!("skipped: {} is not there", path.display());
        return;
    }
    let history = EcbHistory::read(&path).unwrap();
    assert_eq!(history.days(), 7_126);
    let source = RateSource::new(&SourceConfig::Ecb { file: path.clone() }, Duration::from_secs(1)).unwrap();
    let latest = source.fetch(&codes(&["USD", "JPY", "ISK"]), None, NOW).await.unwrap();
    let rates: Vec<_> = latest.rates.iter().map(|rate| format!("{} {}", rate.currency, rate.per_pivot)).collect();
    assert_eq!(
        (latest.quoted_on.to_string().as_str(), rates),
        ("2026-10-30", vec!["ISK 136".to_owned(), "JPY 175.68".to_owned(), "USD 1.1172".to_owned(),])
    );
    // A Sunday has the rates of Friday, and what was not quoted then is not there.
    let first = history.of(Some("1999-01-10".parse().unwrap()), &codes(&["USD"]), NOW).unwrap();
    assert_eq!(first.quoted_on.to_string(), "1999-01-08");
    assert!(history.of(Some("1999-01-10".parse().unwrap()), &codes(&["CNY"]), NOW).is_err());
    // One flipped bit is found.
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.zip");
    std::fs::write(&damaged, bytes).unwrap();
    assert!(EcbHistory::read(&damaged).is_err());
}
