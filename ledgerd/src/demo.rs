//! `ledgerd demo`: the main job on a real bank, from an empty folder to a proven book, as a person would do it by hand.

mod bills;
mod exchange;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use comfy_table::CellAlignment;
use connectors::csv_import::{ImportOptions, Rules};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{Config, LogConfig};
use crate::{cli, import, keys, serve, telemetry};

/// The customer whose statement is shown: the first one of the data.
const CUSTOMER: &str = "berka:2378";
const STATEMENT_LINES: usize = 12;

/// The file that tells a folder of the demo from a book that somebody needs.
const MARK: &str = "made-by-ledgerd-demo";

/// A real bank, imported, proven and served.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The folder to make
    #[arg(long, default_value = "demo-data")]
    data: PathBuf,
    /// Where to listen; if the port is taken, any free one is
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Begin anew if the folder of an earlier demo is there: it is deleted
    #[arg(long)]
    fresh: bool,
    /// End when all is shown, rather than go on serving
    #[arg(long)]
    exit: bool,
    /// Where the examples are [default: ./examples, or beside the build]
    #[arg(long)]
    examples: Option<PathBuf>,
}

/// Runs `ledgerd demo`.
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    telemetry::start_logging(&LogConfig { filter: "error".into(), ..LogConfig::default() });
    let examples = examples(args.examples.as_deref())?;
    let replay_tool = replay_tool()?;
    prepare_folder(&args.data, args.fresh)?;
    let mut config = Config { data: args.data.clone(), listen: args.listen, ..Config::default() };
    // The demo says itself what the server would say.
    config.log.format = crate::config::LogFormat::Json;
    // Bills are paid to nobody.
    config.payments.sandbox = true;

    step("1", &format!("a fresh book in {}", args.data.display()));
    let server = Running::start(&config).await?;
    println!("serving at {}", server.url);

    step("2", "import: every movement of a Czech bank, 1993-01-01 to 1994-03-30 (examples/berka)");
    let rules = Arc::new(Rules::load(&examples.join("berka/rules.toml"))?);
    let options = ImportOptions {
        url: server.url.clone(),
        key: server.key.clone(),
        connections: 32,
        strict: true,
        refused: None,
        retry_for: Duration::from_mins(1),
    };
    let summary = import::import(rules, &examples.join("berka/trans.csv.gz"), &options).await?;
    let seconds = summary.elapsed.as_secs_f64();
    println!(
        "{} rows posted as entries on {} accounts in {seconds:.1} s, each answered after it was on disk; none refused",
        summary.posted, summary.accounts_opened
    );

    step("3", "the trial balance");
    show_trial_balance(&server, summary.last_sequence).await?;
    step("4", &format!("a customer's statement: {CUSTOMER}"));
    show_statement(&server).await?;

    step("5", "two customers convert money at the reference rates of 2026-10-16 (examples/ecb)");
    exchange::show(&server, &examples).await?;
    step("6", "bills: paid, refused by the provider, taken back (the provider is a sandbox)");
    bills::show(&server, &config, &examples).await?;

    step("7", "stop, and prove the journal: chain, anchor, laws, digests, read models equal to a replay");
    server.stop().await?;
    tool(&replay_tool, &args.data, &["verify"])?;
    step("8", "rebuild the read model `balances` from nothing and compare digests");
    tool(&replay_tool, &args.data, &["rebuild", "balances"])?;

    if args.exit {
        println!("\nThe book is in {}. Serve it: ledgerd serve --data {}", args.data.display(), args.data.display());
        return Ok(ExitCode::SUCCESS);
    }
    step("9", "serve it again");
    let server = Running::start(&config).await?;
    by_hand(&server.url, &args.data);
    tokio::signal::ctrl_c().await?;
    server.stop().await?;
    Ok(ExitCode::SUCCESS)
}

fn step(number: &str, text: &str) {
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    println!("\n{bold}{number}. {text}{plain}");
}

fn by_hand(url: &str, data: &Path) {
    let key = keys::admin_key_path(data);
    println!(
        "
  url    {url}
  key    {key}

Go on by hand, in another terminal:

  KEY=$(cat {key})
  curl -s -H \"Authorization: Bearer $KEY\" {url}/v1/books/1/trial-balance
  curl -s -H \"Authorization: Bearer $KEY\" {url}/v1/books/1/accounts/{CUSTOMER}/balance
  curl -s -H \"Authorization: Bearer $KEY\" \"{url}/v1/books/1/accounts/{CUSTOMER}/balance?on_date=1993-06-30\"
  curl -s -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' -H 'Idempotency-Key: by-hand-1' \\
    {url}/v1/books/1/transfers -d '{{\"from\":\"{CUSTOMER}\",\"to\":\"berka:576\",\"amount\":\"100.00\",\"currency\":\"CZK\"}}'
  target/release/replay-tool --data {data} events --follow

End it with Ctrl-C. Another time: ledgerd serve --data {data}",
        key = key.display(),
        data = data.display(),
    );
}

/// A server in this process.
struct Running {
    url: String,
    key: String,
    http: reqwest::Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(config: &Config) -> anyhow::Result<Self> {
        let listener = match TcpListener::bind(config.listen).await {
            Ok(listener) => listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                println!("{} is in use: taking another port", config.listen);
                TcpListener::bind((config.listen.ip(), 0)).await?
            }
            Err(error) => return Err(error).with_context(|| format!("listening on {}", config.listen)),
        };
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let mut task = tokio::spawn(serve::serve(config.clone(), None, listener, async {
            let _ = stopped.await;
        }));
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build()?;
        // The listener takes connections from now on; the answer comes when the book is open.
        let ready = http.get(format!("{url}/livez")).send();
        tokio::select! {
            ended = &mut task => { ended??; bail!("the server ended at once") }
            answered = ready => { answered?; }
        }
        let key = std::fs::read_to_string(keys::admin_key_path(&config.data))?.trim().to_owned();
        Ok(Self { url, key, http, stop, task })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.http.get(format!("{}/v1/books/1/{path}", self.url)).bearer_auth(&self.key).send().await?;
        let status = response.status();
        let body: Value = response.json().await?;
        ensure!(status.is_success(), "GET {path}: {status} {body}");
        Ok(body)
    }

    /// Posts, and waits for what comes of it.
    async fn post(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}/v1/books/1/{path}", self.url);
        let mut request = self.http.post(url).bearer_auth(&self.key).header("prefer", "wait=20").json(body);
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await?;
        let status = response.status();
        let body: Value = response.json().await?;
        ensure!(status.is_success(), "POST {path}: {status} {body}");
        Ok(body)
    }

    async fn stop(self) -> anyhow::Result<()> {
        // Kept connections would be waited for.
        drop(self.http);
        let _ = self.stop.send(());
        self.task.await?
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn members<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn member(value: &Value, name: &str) -> String {
    value.get(name).map(text).unwrap_or_default()
}

fn align_right(table: &mut comfy_table::Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

async fn show_trial_balance(server: &Running, sequence: u64) -> anyhow::Result<()> {
    let trial = server.get(&format!("trial-balance?min_sequence={sequence}&timeout_ms=30000")).await?;
    for currency in members(&trial, "currencies") {
        let code = member(currency, "currency");
        let mut table =
            cli::table(&["accounts of the book", "number", "debits", "credits", &format!("balance, {code}")]);
        for line in members(currency, "lines") {
            table.add_row(["kind", "accounts", "debits", "credits", "balance"].map(|name| member(line, name)));
        }
        table.add_row([
            "total".to_owned(),
            member(&trial, "accounts"),
            member(currency, "debits"),
            member(currency, "credits"),
            String::new(),
        ]);
        align_right(&mut table, &[1, 2, 3, 4]);
        println!("{table}");
    }
    let mut house = cli::table(&["accounts of the house", "kind", "balance, CZK"]);
    for code in ["cash", "interbank", "cards", "interest-paid", "fees", "penalty-interest"] {
        let account = server.get(&format!("accounts/bank:{code}")).await?;
        house.add_row([format!("bank:{code}"), member(&account, "kind"), member(&account, "balance")]);
    }
    align_right(&mut house, &[2]);
    println!("{house}");
    ensure!(trial.get("balanced") == Some(&Value::Bool(true)), "the trial balance is not zero");
    println!(
        "debits equal credits, over {} entries, at sequence {}",
        member(&trial, "entries"),
        member(&trial, "sequence")
    );
    Ok(())
}

async fn show_statement(server: &Running) -> anyhow::Result<()> {
    let statement = server.get(&format!("accounts/{CUSTOMER}/statement?limit={STATEMENT_LINES}")).await?;
    let mut table = cli::table(&["sequence", "effective on", "what", "debit", "credit", "balance, CZK"]);
    for line in members(&statement, "lines") {
        let amount = member(line, "amount");
        let (debit, credit) =
            if member(line, "side") == "debit" { (amount, String::new()) } else { (String::new(), amount) };
        table.add_row([
            member(line, "sequence"),
            member(line, "effective_on"),
            member(line, "reference"),
            debit,
            credit,
            member(line, "balance"),
        ]);
    }
    align_right(&mut table, &[0, 3, 4, 5]);
    println!("{table}");
    let account = server.get(&format!("accounts/{CUSTOMER}")).await?;
    println!("… its balance now is {} {}", member(&account, "balance"), member(&account, "currency"));
    Ok(())
}

/// Runs `replay-tool` and shows what it says.
fn tool(path: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    println!("$ replay-tool --data {} {}", data.display(), arguments.join(" "));
    let status = Command::new(path)
        .arg("--data")
        .arg(data)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("running {}", path.display()))?;
    ensure!(status.success(), "replay-tool {} says no ({status})", arguments.join(" "));
    Ok(())
}

/// The other binary, which is built into the same folder.
fn replay_tool() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("replay-tool");
    ensure!(path.is_file(), "{} is not there: cargo build --release -p replay-tool makes it", path.display());
    Ok(path)
}

fn examples(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let mut places: Vec<PathBuf> = given.map(Path::to_owned).into_iter().collect();
    if given.is_none() {
        places.push("examples".into());
        // target/release/ledgerd → the repository.
        let exe = std::env::current_exe()?;
        places.extend(exe.ancestors().nth(3).map(|root| root.join("examples")));
    }
    let found = places.iter().find(|place| place.join("berka/rules.toml").is_file());
    found.cloned().with_context(|| "the examples are not here: run the demo in the repository, or give --examples")
}

/// Makes the folder, empty but for the mark. What is deleted to begin anew must have the mark, and nobody may serve it.
fn prepare_folder(data: &Path, fresh: bool) -> anyhow::Result<()> {
    if data.exists() {
        let here = data.display();
        ensure!(fresh, "{here} is there: `ledgerd serve --data {here}` serves it, `ledgerd demo --fresh` begins anew");
        ensure!(data.join(MARK).is_file(), "{here} was not made by the demo: it is left alone");
        let served = std::fs::File::open(data.join("LOCK")).is_ok_and(|lock| lock.try_lock().is_err());
        ensure!(!served, "{here} is being served: end that ledgerd first");
        std::fs::remove_dir_all(data).with_context(|| format!("removing {here}"))?;
    }
    serve::make_private(data)
        .and_then(|()| std::fs::write(data.join(MARK), "`ledgerd demo --fresh` deletes this folder\n"))
        .with_context(|| format!("making {}", data.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_a_folder_of_the_demo_that_nobody_serves_is_deleted() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("demo-data");
        prepare_folder(&data, false).unwrap();
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(data.join("old"), "").unwrap();
        assert!(prepare_folder(&data, false).is_err(), "not without being told");
        let lock = std::fs::File::create(data.join("LOCK")).unwrap();
        lock.lock().unwrap();
        assert!(prepare_folder(&data, true).is_err(), "somebody serves it");
        drop(lock);
        prepare_folder(&data, true).unwrap();
        assert!(!data.join("old").exists());

        let book = place.path().join("data");
        std::fs::create_dir_all(book.join("journal")).unwrap();
        assert!(prepare_folder(&book, true).is_err(), "a book of somebody's");
        assert!(book.join("journal").exists());
    }
}
