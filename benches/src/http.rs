//! One transfer a request over HTTP/1.1 keep-alive connections, each with one request under way. The client writes and
//! reads plain bytes on one thread, since it shares the two cores with the server that it measures.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::HttpArgs;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct HttpResult {
    pub(crate) connections: usize,
    pub(crate) accounts: u64,
    pub(crate) read_models: bool,
    pub(crate) transfers: u64,
    pub(crate) seconds: f64,
    pub(crate) transfers_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) p100_ms: f64,
}

/// Kills the server when the measurement ends, however it ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(args: &HttpArgs) -> anyhow::Result<HttpResult> {
    std::fs::create_dir_all(&args.http_dir)?;
    let folder = tempfile::Builder::new().prefix("bench-http-").tempdir_in(&args.http_dir)?;
    let data = folder.path().join("data");
    let port = free_port()?;
    let server = start_server(args, &data, port)?;
    let key = wait_for_key(&data, port)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, measure(args, port, key));
    drop(server);
    result
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn start_server(args: &HttpArgs, data: &Path, port: u16) -> anyhow::Result<Server> {
    let mut command = Command::new(&args.ledgerd);
    command.arg("serve").arg("--data").arg(data).arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.arg("--read-models").arg(if args.read_models { "on" } else { "off" });
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}: build it first (make bench does)", args.ledgerd.display()))?;
    if let Some(stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("ERROR") {
                    eprintln!("ledgerd: {line}");
                }
            }
        });
    }
    Ok(Server(child))
}

/// Waits until the server answers and has written its first key.
fn wait_for_key(data: &Path, port: u16) -> anyhow::Result<String> {
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        let ready = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        if ready && let Ok(key) = std::fs::read_to_string(data.join("admin.key")) {
            return Ok(key.trim().to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("ledgerd did not come up within 30 s")
}

/// A keep-alive connection.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    request: Vec<u8>,
}

impl Connection {
    async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(4096), request: Vec::with_capacity(1024) })
    }

    /// Posts a body and gives the status.
    async fn post(&mut self, path: &str, key: &str, id: &str, body: &str) -> anyhow::Result<u16> {
        use std::io::Write as _;
        self.request.clear();
        write!(
            self.request,
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nidempotency-key: {id}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        self.stream.write_all(&self.request).await?;
        self.received.clear();
        loop {
            let read = self.stream.read_buf(&mut self.received).await?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(status) = complete(&self.received)? {
                return Ok(status);
            }
        }
    }
}

/// The status of a response once it is there as a whole.
fn complete(received: &[u8]) -> anyhow::Result<Option<u16>> {
    let Some(head_end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(received.get(..head_end).unwrap_or_default())?;
    let length: usize = head
        .lines()
        .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")))
        .context("an answer without content-length")?
        .1
        .trim()
        .parse()?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((received.len() >= head_end + 4 + length).then_some(status))
}

struct Shared {
    key: String,
    accounts: u64,
    measure_from: Instant,
    until: Instant,
}

async fn measure(args: &HttpArgs, port: u16, key: String) -> anyhow::Result<HttpResult> {
    let mut connection = Connection::open(port).await?;
    for number in 0..args.http_accounts {
        let body =
            format!(r#"{{"code":"bench:{number}","kind":"liability","currency":"EUR","overdraft":"1000000000.00"}}"#);
        let status = connection.post("/v1/books/1/accounts", &key, &format!("open-{number}"), &body).await?;
        ensure!(status == 201, "opening an account gave {status}: {}", String::from_utf8_lossy(&connection.received));
    }
    let measure_from = Instant::now() + Duration::from_secs(2);
    let until = measure_from + Duration::from_secs(args.seconds);
    let shared = Rc::new(Shared { key, accounts: args.http_accounts, measure_from, until });
    let tasks: Vec<_> = (0..args.connections)
        .map(|number| tokio::task::spawn_local(drive(port, number as u64, Rc::clone(&shared))))
        .collect();
    let mut latencies = Histogram::<u64>::new(3)?;
    for task in tasks {
        latencies.add(task.await??)?;
    }
    let seconds = args.seconds as f64;
    let ms = |us: u64| us as f64 / 1_000.0;
    Ok(HttpResult {
        connections: args.connections,
        accounts: args.http_accounts,
        read_models: args.read_models,
        transfers: latencies.len(),
        seconds,
        transfers_per_second: latencies.len() as f64 / seconds,
        p50_ms: ms(latencies.value_at_quantile(0.5)),
        p99_ms: ms(latencies.value_at_quantile(0.99)),
        p999_ms: ms(latencies.value_at_quantile(0.999)),
        p100_ms: ms(latencies.max()),
    })
}

/// Sends transfers on one connection until the time is over; gives their latencies in microseconds.
async fn drive(port: u16, connection_number: u64, shared: Rc<Shared>) -> anyhow::Result<Histogram<u64>> {
    let mut connection = Connection::open(port).await?;
    let mut latencies = Histogram::new(3)?;
    let mut number = 0_u64;
    loop {
        let began = Instant::now();
        if began >= shared.until {
            return Ok(latencies);
        }
        number += 1;
        let from = (connection_number * 7_919 + number * 104_729) % shared.accounts;
        let to = (from + 1 + number % (shared.accounts - 1)) % shared.accounts;
        let body = format!(
            r#"{{"from":"bench:{from}","to":"bench:{to}","amount":"0.{:02}","currency":"EUR"}}"#,
            number % 99 + 1
        );
        let id = format!("t-{connection_number}-{number}");
        let status = connection.post("/v1/books/1/transfers", &shared.key, &id, &body).await?;
        ensure!(status == 201, "a transfer gave {status}: {}", String::from_utf8_lossy(&connection.received));
        if began >= shared.measure_from {
            latencies.record(u64::try_from(began.elapsed().as_micros())?)?;
        }
    }
}
