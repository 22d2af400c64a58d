//! The import against a server that is scripted to be slow, busy, forgetful or rude. What a real book says is tested in
//! `ledgerd/tests`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors::csv_import::{ImportError, ImportOptions, Rules, StopReason, check, import};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const RULES: &str = r#"
source = "test"
[row]
key = "{id}"
account = "c:{acc}"
amount = { column = "amount" }
side = { signed = true }
currency = "EUR"
[[account]]
match = "c:*"
kind = "liability"
[[account]]
match = "bank:cash"
kind = "asset"
overdraft = "unlimited"
[[template]]
kind = "entry"
counter = "bank:cash"
"#;

type Answer = (u16, &'static str, String);

#[derive(Default)]
struct Book {
    /// Key → sequence.
    verdicts: HashMap<String, u64>,
    /// Keys in the order in which they were taken.
    order: Vec<String>,
    /// Requests seen.
    requests: u64,
}

impl Book {
    fn take(&mut self, key: &str) -> Answer {
        let next = self.verdicts.len() as u64 + 1;
        let sequence = *self.verdicts.entry(key.to_owned()).or_insert(next);
        let replayed = sequence != next;
        if !replayed {
            self.order.push(key.to_owned());
        }
        let header = if replayed { "Idempotency-Replayed: true\r\n" } else { "" };
        (201, header, format!("{{\"sequence\":{sequence}}}"))
    }
}

/// Serves keep-alive HTTP/1.1; `answer` gets the book, the path and the key.
async fn server(answer: fn(&mut Book, &str, &str) -> Answer) -> (String, Arc<Mutex<Book>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let book = Arc::new(Mutex::new(Book::default()));
    let shared = Arc::clone(&book);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, Arc::clone(&shared), answer));
        }
    });
    (url, book)
}

async fn serve(stream: TcpStream, book: Arc<Mutex<Book>>, answer: fn(&mut Book, &str, &str) -> Answer) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut key, mut length) = (String::new(), String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap().to_owned();
            } else if let Some((name, value)) = line.split_once(':') {
                match name.to_ascii_lowercase().as_str() {
                    "idempotency-key" => key = value.trim().to_owned(),
                    "content-length" => length = value.trim().parse().unwrap(),
                    _ => {}
                }
            } else {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let (status, headers, text) = {
            let mut book = book.lock().unwrap();
            book.requests += 1;
            answer(&mut book, &path, &key)
        };
        if status == 0 {
            return;
        }
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n", text.len());
        stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
    }
}

struct Case {
    folder: tempfile::TempDir,
    rules: Arc<Rules>,
}

impl Case {
    fn new(csv: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::File::create(folder.path().join("in.csv")).unwrap().write_all(csv.as_bytes()).unwrap();
        Self { folder, rules: Arc::new(Rules::parse(RULES).unwrap()) }
    }

    fn csv(&self) -> PathBuf {
        self.folder.path().join("in.csv")
    }

    fn report(&self) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join("refused.csv")).ok()
    }

    fn options(&self, url: &str) -> ImportOptions {
        ImportOptions {
            url: url.to_owned(),
            key: "dop_x".into(),
            connections: 4,
            strict: false,
            refused: Some(self.folder.path().join("refused.csv")),
            retry_for: Duration::from_secs(30),
        }
    }
}

fn many_rows() -> String {
    use std::fmt::Write as _;
    let mut csv = String::from("id,acc,amount\n");
    for id in 0..200 {
        writeln!(csv, "{id},{},1.00", id % 7).unwrap();
    }
    csv
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_one_account_keep_their_order_and_a_second_run_doubles_nothing() {
    let (url, book) = server(|book, _, key| book.take(key)).await;
    let case = Case::new(&many_rows());
    let mut last = None;
    let first = import(Arc::clone(&case.rules), &case.csv(), &case.options(&url), |progress| last = Some(progress))
        .await
        .unwrap();
    assert_eq!((first.rows, first.posted, first.already_there, first.refused), (200, 200, 0, 0));
    assert_eq!((first.accounts_opened, first.last_sequence), (8, 208));
    let last = last.unwrap();
    assert_eq!((last.answered, last.bytes_read), (200, last.bytes_total));
    for account in 0..7 {
        let numbers: Vec<u64> =
            book.lock().unwrap().order.iter().filter_map(|key| key.strip_prefix("test:")?.parse().ok()).collect();
        let of_account: Vec<_> = numbers.into_iter().filter(|id| id % 7 == account).collect();
        assert!(of_account.is_sorted() && of_account.len() >= 28, "{of_account:?}");
        let opened = book.lock().unwrap().order.iter().position(|key| *key == format!("test:account:c:{account}"));
        let used = book.lock().unwrap().order.iter().position(|key| *key == format!("test:{account}"));
        assert!(opened < used);
    }
    let second = import(Arc::clone(&case.rules), &case.csv(), &case.options(&url), |_| ()).await.unwrap();
    assert_eq!((second.posted, second.already_there, second.accounts_opened), (0, 200, 0));
    assert_eq!(case.report(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_tried_again() {
    // Of each three requests one is refused as busy, one is cut before and one after it was taken.
    let (url, book) = server(|book, _, key| match book.requests % 4 {
        0 => (503, "Retry-After: 0\r\n", r#"{"code":"engine_busy"}"#.into()),
        1 => (0, "", String::new()),
        2 => {
            book.take(key);
            (0, "", String::new())
        }
        _ => book.take(key),
    })
    .await;
    let case = Case::new("id,acc,amount\n1,1,1.00\n2,1,-1.00\n3,2,3.00\n");
    let summary = import(Arc::clone(&case.rules), &case.csv(), &case.options(&url), |_| ()).await.unwrap();
    assert_eq!((summary.posted + summary.already_there, summary.refused), (3, 0));
    assert_eq!(book.lock().unwrap().verdicts.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_rows_are_reported_and_the_rest_goes_on() {
    let (url, _) = server(|book, _, key| match key {
        "test:2" => {
            (422, "", r#"{"code":"insufficient_funds","title":"Insufficient funds","detail":"has 0.00"}"#.into())
        }
        "test:account:c:9" => (422, "", r#"{"code":"account_code_invalid","detail":"no"}"#.into()),
        "test:account:c:8" => (409, "", r#"{"code":"account_exists"}"#.into()),
        _ => book.take(key),
    })
    .await;
    let csv = "id,acc,amount\n1,1,1.00\n2,1,-5.00\n3,1,x\n4,9,1\n5\n6,8,1\n";
    let case = Case::new(csv);
    let summary = import(Arc::clone(&case.rules), &case.csv(), &case.options(&url), |_| ()).await.unwrap();
    assert_eq!((summary.rows, summary.posted, summary.refused), (6, 2, 4));
    let report = case.report().unwrap();
    let mut lines: Vec<_> = report.lines().skip(1).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "3,2,insufficient_funds,has 0.00,\"2,1,-5.00\"",
            "4,3,amount_not_a_number,\"\"\"x\"\" is not an amount\",\"3,1,x\"",
            "5,4,account_code_invalid,opening account c:9: no,\"4,9,1\"",
            "6,,row_wrong_columns,1 fields where there are 3 columns,5",
        ]
    );
    let mut strict = case.options(&url);
    strict.strict = true;
    strict.connections = 1;
    let error = import(Arc::clone(&case.rules), &case.csv(), &strict, |_| ()).await.unwrap_err();
    assert!(matches!(error, ImportError::Strict { .. }), "{error}");

    let dry = check(&case.rules, &case.csv(), None).unwrap();
    assert_eq!((dry.rows, dry.refused, dry.posted), (6, 2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_pass_ends_the_import_with_a_reason() {
    let stopped = |error: ImportError| match error {
        ImportError::Stopped { reason, .. } => reason,
        other => panic!("{other}"),
    };
    let case = Case::new(&many_rows());
    let (url, _) = server(|_, _, _| (401, "", r#"{"code":"unauthorized","detail":"unknown key"}"#.into())).await;
    let reason = stopped(import(Arc::clone(&case.rules), &case.csv(), &case.options(&url), |_| ()).await.unwrap_err());
    assert_eq!(reason, StopReason::Forbidden { code: "unauthorized".into(), detail: "unknown key".into() });

    let (url, _) = server(|_, _, _| (507, "", r#"{"code":"journal_full","detail":"no space"}"#.into())).await;
    let reason = stopped(import(Arc::clone(&case.rules), &case.csv(), &case.options(&url), |_| ()).await.unwrap_err());
    assert!(matches!(reason, StopReason::Server { status: 507, .. }), "{reason}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = case.options(&format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    options.retry_for = Duration::from_millis(200);
    let reason = stopped(import(Arc::clone(&case.rules), &case.csv(), &options, |_| ()).await.unwrap_err());
    assert!(matches!(reason, StopReason::Unreachable { .. }), "{reason}");

    options.url = "https://localhost".into();
    let reason = stopped(import(Arc::clone(&case.rules), &case.csv(), &options, |_| ()).await.unwrap_err());
    assert!(reason.to_string().contains("https"), "{reason}");
}

#[test]
fn the_examples_fit_their_rules() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for (rules, file, rows, skipped) in [
        ("berka/rules.toml", "berka/trans.csv.gz", 46_997, 0),
        ("own-bank/rules.toml", "own-bank/transactions.csv", 11, 1),
    ] {
        let rules = Rules::load(&examples.join(rules)).unwrap();
        let summary = check(&rules, &examples.join(file), None).unwrap();
        assert_eq!((summary.rows, summary.skipped, summary.refused), (rows, skipped, 0), "{file}");
    }
}
