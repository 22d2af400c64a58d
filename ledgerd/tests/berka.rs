//! The main job on real data: a bank of 46,997 movements is imported, with the server killed twice in mid-import; then the
//! book is compared with the bank's own printed balances, and its exports with what other people's programs say.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use connectors::csv_import::{ImportError, ImportOptions, Progress, Rules, Summary, import};
use serde_json::Value;
use support::{Client, Server, replay, root};

const ROWS: u64 = 46_997;
const ACCOUNTS: u64 = 1_229 + 6;
const ACCOUNT_DAYS: usize = 38_821;
/// The sum of all signed amounts: what the customers have in the end.
const CUSTOMERS_TOTAL: &str = "39296762.80";

/// Imports; kills the server when `kill_at` rows are answered and lets `then` say what happens next.
async fn run(
    url: &str,
    data: &Path,
    retry_for: Duration,
    mut on_progress: impl FnMut(Progress),
) -> Result<Summary, ImportError> {
    let examples = root().join("examples/berka");
    let options = ImportOptions {
        url: url.to_owned(),
        key: std::fs::read_to_string(data.join("admin.key")).unwrap().trim().to_owned(),
        connections: 32,
        strict: true,
        refused: None,
        retry_for,
    };
    let rules = Arc::new(Rules::load(&examples.join("rules.toml")).unwrap());
    import(rules, &examples.join("trans.csv.gz"), &options, &mut on_progress).await
}

/// The balances that the bank printed, in hundredths, by account and day, and the number of rows.
fn printed() -> HashMap<(String, String), Vec<i64>> {
    let file = std::fs::File::open(root().join("examples/berka/trans.csv.gz")).unwrap();
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(flate2::read::GzDecoder::new(file));
    let mut printed: HashMap<_, Vec<i64>> = HashMap::new();
    for row in reader.deserialize::<HashMap<String, String>>() {
        let row = row.unwrap();
        let date = &row["date"];
        let date = format!("19{}-{}-{}", &date[0..2], &date[2..4], &date[4..6]);
        printed.entry((row["account_id"].clone(), date)).or_default().push(hundredths(&row["balance"]));
    }
    printed
}

fn hundredths(text: &str) -> i64 {
    let (whole, part) = text.split_once('.').unwrap();
    assert_eq!(part.len(), 2, "{text}");
    format!("{whole}{part}").parse().unwrap()
}

fn check_with(program: &str, arguments: &[&str], file: &Path) {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap_or_else(|error| {
        panic!("{program} is needed to check the export, and can't be run ({error}): `make setup` installs it")
    });
    assert!(
        output.status.success(),
        "{program}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_bank_survives_kills_in_mid_import_and_agrees_with_its_own_books() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");

    // The first kill ends the import, since it is not to wait.
    let mut server = Some(Server::start(&data, 0));
    let url = server.as_ref().unwrap().url.clone();
    let ended = run(&url, &data, Duration::ZERO, |progress| {
        if progress.answered > ROWS / 5
            && let Some(server) = server.take()
        {
            server.kill();
        }
    })
    .await;
    let Err(ImportError::Stopped { summary, .. }) = ended else { panic!("the import went on without a server") };
    assert!(summary.posted > ROWS / 5 && summary.posted < ROWS, "{summary:?}");

    // The second kill is waited out: the server comes back on its port, and the import goes on.
    let mut server = Some(Server::start(&data, 0));
    let port = server.as_ref().unwrap().port;
    let url = server.as_ref().unwrap().url.clone();
    let mut back = None;
    let second = run(&url, &data, Duration::from_mins(2), |progress| {
        if progress.answered > ROWS / 2
            && let Some(server) = server.take()
        {
            server.kill();
            let data = data.clone();
            back = Some(std::thread::spawn(move || Server::start(&data, port)));
        }
    })
    .await
    .unwrap();
    let server = back.unwrap().join().unwrap();
    assert_eq!((second.rows, second.posted + second.already_there, second.refused), (ROWS, ROWS, 0));
    // What the first run was told is in the book is there; what it was not told may be.
    assert!(second.already_there >= summary.posted, "{second:?}");

    let third = run(&url, &data, Duration::from_secs(30), |_| ()).await.unwrap();
    assert_eq!((third.posted, third.already_there, third.accounts_opened), (0, ROWS, 0));

    let api = Client::admin(&url, &data);
    let head = api.head().await;
    let trial = api.get(&format!("/v1/books/1/trial-balance?min_sequence={head}&timeout_ms=30000")).await.body;
    assert_eq!(trial["balanced"], true, "{trial}");
    assert_eq!((trial["accounts"].as_u64(), trial["entries"].as_u64()), (Some(ACCOUNTS), Some(ROWS)), "{trial}");
    assert_eq!(trial["currencies"].as_array().unwrap().len(), 1);
    let czk = &trial["currencies"][0];
    assert_eq!(czk["debits"], czk["credits"]);
    assert!(server.terminate().success());

    let verified: Value = serde_json::from_str(&replay(&data, &["verify", "--output", "json"])).unwrap();
    println!("{verified}");

    // Each account and day: the balance is within 1.00 of one that the bank printed that day.
    let mut bank = printed();
    assert_eq!(bank.len(), ACCOUNT_DAYS);
    let export = replay(&data, &["export", "--format", "csv", "--end-of-day"]);
    let mut last = HashMap::new();
    let mut agreeing = 0;
    for row in csv::Reader::from_reader(export.as_bytes()).records() {
        let row = row.unwrap();
        let Some(number) = row[0].strip_prefix("berka:") else { continue };
        let ours = hundredths(&row[2]);
        let theirs = bank.remove(&(number.to_owned(), row[1].to_owned()));
        let theirs = theirs.unwrap_or_else(|| panic!("a day on which the bank printed nothing: {row:?}"));
        assert!(theirs.iter().any(|printed| (printed - ours).abs() <= 100), "{row:?}, the bank printed {theirs:?}");
        agreeing += 1;
        last.insert(number.to_owned(), ours);
    }
    assert!(bank.is_empty(), "days without a balance: {bank:?}");
    assert_eq!(agreeing, ACCOUNT_DAYS);
    assert_eq!(last.values().sum::<i64>(), hundredths(CUSTOMERS_TOTAL));

    let hledger = folder.path().join("book.journal");
    replay(&data, &["export", "--format", "hledger", "--out", hledger.to_str().unwrap()]);
    check_with("hledger", &["check", "-s", "-f"], &hledger);
    let beancount = folder.path().join("book.beancount");
    replay(&data, &["export", "--format", "beancount", "--out", beancount.to_str().unwrap()]);
    check_with("bean-check", &[], &beancount);
}
