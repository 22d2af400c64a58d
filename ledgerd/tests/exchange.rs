//! Foreign exchange through a real server: it publishes what its sources say, makes quotes, converts, survives being killed, and
//! its journal is proved.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Client, Server, replay};

fn ledgerd(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(arguments).current_dir(folder).output().unwrap()
}

fn table(folder: &Path, usd: &str) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today = event_schemas::Timestamp(i64::try_from(since.as_micros()).unwrap()).date_utc();
    let text = format!("pivot = \"EUR\"\nquoted_on = \"{today}\"\n[rates]\nUSD = \"{usd}\"\nJPY = \"178.53\"\n");
    std::fs::write(folder.join("rates.new"), text).unwrap();
    std::fs::rename(folder.join("rates.new"), folder.join("rates.toml")).unwrap();
}

async fn until_sheet(client: &Client, version: u64) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = client.get("/v1/books/1/rates/latest").await;
        if answer.status == 200 && answer.body["sheet"].as_u64() >= Some(version) {
            return answer.body;
        }
        assert!(Instant::now() < until, "no sheet of version {version}: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn rates_are_published_and_conversions_survive() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let data = folder.join("data");
    let settings = "[rates]\nevery_s = 1\nsymbols = [\"USD\", \"JPY\"]\nquote_s = 600\n\
        [[rates.sources]]\nkind = \"table\"\nfile = \"rates.toml\"\n\
        [[rates.margins]]\ntier = \"gold\"\nmargin_ppm = 2500\n";
    std::fs::write(folder.join("doppia.toml"), settings).unwrap();
    table(folder, "1.0829");
    let server = Server::start(&data, 0);
    let client = Client::admin(&server.url, &data);
    let first = until_sheet(&client, 1).await;
    assert_eq!((&first["rates"]["USD"], &first["source"]), (&json!("1.0829"), &json!("table")));
    for currency in ["EUR", "USD"] {
        let code = format!("anna:{currency}");
        let open = json!({ "code": code, "kind": "liability", "currency": currency, "owner": "client:anna" });
        client.done("accounts", &format!("open-{currency}"), open).await;
    }
    let top_up = json!({ "account": "anna:USD", "amount": "1000.00", "currency": "USD" });
    client.done("top-ups", "fund", top_up).await;

    // What moved too far waits for a person.
    table(folder, "2.0829");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(until_sheet(&client, 1).await["sheet"], 1);
    let url = server.url.clone();
    let key = data.join("admin.key");
    let by_hand = ["rates", "publish", "--url", &url, "--key-file", key.to_str().unwrap()];
    let refused = ledgerd(folder, &by_hand);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("--accept-move"), "{words}");
    let taken = ledgerd(folder, &[&by_hand[..], &["--accept-move"]].concat());
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert_eq!(until_sheet(&client, 2).await["rates"]["USD"], "2.0829");
    let shown = ledgerd(folder, &["rates", "show", "--url", &url, "--key-file", key.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("2.0829"));

    // Quotes, one of them used before the server is killed and again behind it.
    let quote = async |client: &Client| {
        let body = json!({ "from": "anna:USD", "to": "anna:EUR", "amount": "100", "currency": "USD" });
        client.done("quotes", "", body).await.body
    };
    let (used, open) = (quote(&client).await, quote(&client).await);
    let convert = async |client: &Client, quote: &Value| {
        client.done("conversions", "", json!({ "quote": quote["quote"] })).await.body
    };
    let before = convert(&client, &used).await;
    server.kill();
    let server = Server::start(&data, 0);
    let client = Client::admin(&server.url, &data);
    assert_eq!(convert(&client, &used).await["sequence"], before["sequence"]);
    convert(&client, &open).await;
    // Twice 47.52 at 2.0829 less 1 %, rounded down.
    assert_eq!(client.balance("anna:EUR").await, "95.04");
    let exposure = client.get("/v1/books/1/exposure").await.body;
    assert_eq!(exposure["positions"][1]["position"], json!({ "amount": "200.00", "currency": "USD" }), "{exposure}");
    assert!(server.terminate().success());
    replay(&data, &["verify"]);
    for (program, format) in [("hledger", "hledger"), ("bean-check", "beancount")] {
        let file = folder.join(format!("book.{format}"));
        replay(&data, &["export", "--format", format, "--out", file.to_str().unwrap()]);
        let mut check = Command::new(program);
        if program == "hledger" {
            check.args(["check", "--strict", "-f"]);
        }
        let said = check.arg(&file).output().unwrap_or_else(|error| panic!("{program} can't be run ({error})"));
        assert!(said.status.success(), "{program}: {}", String::from_utf8_lossy(&said.stderr));
    }
    // A new key before the old one: quotes of the old one are still taken.
    let rotated = ledgerd(folder, &["rates", "rotate-key"]);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    assert_eq!(std::fs::read_to_string(data.join("quote.keys")).unwrap().lines().count(), 2);
    let server = Server::start(&data, 0);
    let client = Client::admin(&server.url, &data);
    assert_eq!(convert(&client, &used).await["sequence"], before["sequence"]);
}
