//! What the tests of the whole have in common: a ledgerd process that can be killed, and a client.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

pub mod failover;
pub mod kafka;
pub mod load;
pub mod payments;
pub mod postgres;
pub mod roles;
pub mod small_disk;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser as _;
use serde_json::Value;

/// A ledgerd process; killed when dropped.
pub struct Server {
    pub child: Child,
    pub url: String,
    pub port: u16,
    /// Lines of its stderr so far.
    pub log: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Server {
    /// Starts one on a folder and waits until it is ready. Port 0 takes any.
    pub fn start(data: &Path, port: u16) -> Self {
        Self::try_start(data, port, &[]).unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"))
    }

    /// Starts one; gives its log if it ends before it is ready.
    pub fn try_start(data: &Path, port: u16, more: &[&str]) -> Result<Self, String> {
        Self::try_start_with(data, port, more, &[])
    }

    /// The same with variables of the environment.
    pub fn try_start_with(data: &Path, port: u16, more: &[&str], env: &[(&str, &str)]) -> Result<Self, String> {
        Self::launch("serving", data, port, more, env)
    }

    /// The same, where it is up as soon as it says this.
    pub fn try_start_until(says: &'static str, data: &Path, port: u16, more: &[&str]) -> Result<Self, String> {
        Self::launch(says, data, port, more, &[])
    }

    fn launch(says: &'static str, data: &Path, port: u16, more: &[&str], env: &[(&str, &str)]) -> Result<Self, String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ledgerd"))
            .args(["serve", "--log-format", "json", "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data)
            .args(more)
            .envs(env.iter().copied())
            .current_dir(data.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let lines = std::sync::Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // The line "serving" has the address that was really taken.
                if let Ok(line) = serde_json::from_str::<Value>(&line)
                    && line["message"] == says
                {
                    let _ = sender.send(line["url"].as_str().unwrap().to_owned());
                }
                lines.lock().unwrap().push(line);
            }
        });
        let Ok(url) = receiver.recv_timeout(Duration::from_mins(1)) else {
            let _ = child.kill();
            let _ = child.wait();
            let log = log.lock().unwrap().join("\n");
            return Err(log);
        };
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        Ok(Self { child, url, port, log })
    }

    /// Whether it has logged this.
    pub fn has_said(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// Its log so far.
    pub fn told(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// SIGKILL: no word, no flush.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit status.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let until = Instant::now() + Duration::from_mins(1);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("ledgerd did not end after SIGTERM");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub replayed: bool,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    pub fn sequence(&self) -> u64 {
        self.body["sequence"].as_u64().unwrap_or(0)
    }
}

/// A client of book 1.
#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub url: String,
    pub key: String,
}

impl Client {
    pub fn new(url: &str, key: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self { http, url: url.to_owned(), key: key.to_owned() }
    }

    /// With the admin key of a data folder.
    pub fn admin(url: &str, data: &Path) -> Self {
        Self::new(url, std::fs::read_to_string(data.join("admin.key")).unwrap().trim())
    }

    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub async fn try_post(&self, path: &str, idempotency_key: &str, body: &Value) -> Result<Answer, String> {
        let mut request = self
            .http
            .post(format!("{}/v1/books/1/{path}", self.url))
            .header("content-type", "application/json")
            .body(body.to_string());
        if !self.key.is_empty() {
            request = request.bearer_auth(&self.key);
        }
        if !idempotency_key.is_empty() {
            request = request.header("idempotency-key", idempotency_key);
        }
        answer(request.send().await).await
    }

    pub async fn post(&self, path: &str, idempotency_key: &str, body: Value) -> Answer {
        self.try_post(path, idempotency_key, &body).await.unwrap()
    }

    /// Posts, and expects 201.
    pub async fn done(&self, path: &str, idempotency_key: &str, body: Value) -> Answer {
        let answer = self.post(path, idempotency_key, body).await;
        assert_eq!(answer.status, 201, "{path} {}", answer.body);
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.key);
        answer(request.send().await).await.unwrap()
    }

    /// The durable sequence.
    pub async fn head(&self) -> u64 {
        self.get("/v1/books/1").await.sequence()
    }

    /// The balance of an account, as text, up to date with everything that is durable.
    pub async fn balance(&self, account: &str) -> String {
        let head = self.head().await;
        let answer = self.get(&format!("/v1/books/1/accounts/{account}/balance?min_sequence={head}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["balance"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    }
}

pub async fn answer(sent: Result<reqwest::Response, reqwest::Error>) -> Result<Answer, String> {
    let response = sent.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let replayed = response.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
    let bytes = response.bytes().await.map_err(|error| error.to_string())?;
    let body =
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Answer { status, replayed, body })
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Numbers that look random and can be had again from their seed.
pub struct Dice(pub u64);

impl Dice {
    /// From the clock; print `.0` so that a failure can be repeated.
    pub fn new() -> Self {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        Self(u64::from(nanos) << 20 | u64::from(std::process::id()) | 1)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

/// Asks replay-tool about a folder: whether all was fine, and what it printed. It is called as a library, on a thread of its own
/// as its program has; what the program adds is tested beside it.
pub fn try_replay(data: &Path, arguments: &[&str]) -> (bool, String) {
    let arguments: Vec<String> = ["replay-tool", "--data", data.to_str().unwrap()]
        .iter()
        .chain(arguments)
        .map(|argument| (*argument).to_owned())
        .collect();
    let run = move || {
        let cli = replay_tool::cli::Cli::try_parse_from(&arguments).unwrap();
        let mut out = Vec::new();
        let ended = replay_tool::run(&cli, false, replay_tool::progress::Progress::hidden(), &mut out);
        (ended, String::from_utf8(out).unwrap())
    };
    match std::thread::spawn(run).join().unwrap() {
        (Ok(outcome), out) => (outcome == replay_tool::outcome::Outcome::Fine, out),
        (Err(failure), out) => (false, format!("{out}\n{failure}")),
    }
}

/// The same where all has to be fine; gives what it printed.
pub fn replay(data: &Path, arguments: &[&str]) -> String {
    let (fine, out) = try_replay(data, arguments);
    assert!(fine, "replay-tool {arguments:?}: {out}");
    out
}

/// A server in this process, on a folder that is gone afterwards.
pub struct Inside {
    pub folder: tempfile::TempDir,
    pub client: Client,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<(), String>>,
}

impl Inside {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut config = ledgerd::config::Config { data: data.clone(), ..ledgerd::config::Config::default() };
        config.listen.set_port(0);
        config.log.format = ledgerd::config::LogFormat::Json;
        let listener = ledgerd::serve::bind(&config).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            ledgerd::serve::serve(config, None, listener, shutdown).await.map_err(|error| format!("{error:#}"))
        });
        let probe = Client::new(&url, "");
        assert_eq!(probe.get("/livez").await.status, 200);
        Self { client: Client::admin(&url, &data), folder, stop: Some(stop), task }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub async fn end(mut self) {
        let _ = self.stop.take().unwrap().send(());
        drop(self.client);
        self.task.await.unwrap().unwrap();
    }
}
