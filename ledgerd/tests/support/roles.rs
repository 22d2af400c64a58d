//! The roles of one book in processes of their own: what they are started with, and how they are looked at.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::kafka::Kafka;
use super::postgres::Postgres;
use super::{Client, Server};

/// How long anything may take to come up or to come back.
const WITHIN: Duration = Duration::from_secs(30);

/// A port that is free now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A database, a folder for data folders, a secret, and two addresses of writers.
pub struct Cluster {
    pub postgres: Postgres,
    pub folder: tempfile::TempDir,
    pub journal: Vec<String>,
    pub ports: [u16; 2],
    pub lease_ms: &'static str,
}

impl Cluster {
    /// With the journal in PostgreSQL.
    pub fn new(lease_ms: &'static str) -> Self {
        let postgres = Postgres::start();
        let journal = vec!["--journal".to_owned(), postgres.url.clone()];
        Self::over(postgres, journal, lease_ms)
    }

    /// With the journal in Kafka, and all else in PostgreSQL.
    pub fn in_kafka(kafka: &Kafka, lease_ms: &'static str) -> Self {
        let postgres = Postgres::start();
        let journal = ["--journal", &kafka.url, "--database", &postgres.url, "--allow-unsafe-server"];
        let journal = journal.iter().map(|&text| text.to_owned()).collect();
        Self::over(postgres, journal, lease_ms)
    }

    fn over(postgres: Postgres, journal: Vec<String>, lease_ms: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Refusals are part of the load, and nobody's budget of them shall end it.
        std::fs::write(folder.path().join("doppia.toml"), "[limits]\nrejections_burst = 1000000\n").unwrap();
        std::fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef\n").unwrap();
        Self { postgres, folder, journal, ports: [free_port(), free_port()], lease_ms }
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn writers(&self) -> String {
        self.ports.map(|port| format!("http://127.0.0.1:{port}")).join(",")
    }

    /// Starts a process, up to its first word; gives its log if there is none.
    pub fn try_start(&self, says: &'static str, name: &str, more: &[&str]) -> Result<Server, String> {
        let journal: Vec<&str> = self.journal.iter().map(String::as_str).collect();
        Server::try_start_until(says, &self.data(name), 0, &[&journal[..], more].concat())
    }

    fn start(&self, says: &'static str, name: &str, more: &[&str]) -> Server {
        self.try_start(says, name, more).unwrap_or_else(|log| panic!("{name} did not come up:\n{log}"))
    }

    /// One of the two writers. It takes the lease if nobody has it, and stands by otherwise.
    pub fn writer(&self, which: usize) -> Server {
        let listen = format!("127.0.0.1:{}", self.ports[which]);
        let name = format!("writer-{which}");
        let more = [
            "--roles",
            "writer",
            "--standby",
            "--lease-ms",
            self.lease_ms,
            "--grpc-listen",
            &listen,
            "--cluster-secret-file",
            "secret",
        ];
        self.start("listening", &name, &more)
    }

    pub fn gateway(&self, which: usize) -> Server {
        let (name, writers) = (format!("gateway-{which}"), self.writers());
        let more =
            ["--roles", "api", "--read-models", "postgres", "--writers", &writers, "--cluster-secret-file", "secret"];
        self.start("serving", &name, &more)
    }

    pub fn projector(&self, which: usize) -> Server {
        self.start("serving", &format!("projector-{which}"), &["--roles", "projector", "--read-models", "postgres"])
    }

    pub fn relay(&self, kafka: &Kafka) -> Server {
        self.start("serving", "relay", &["--roles", "relay", "--kafka", &kafka.brokers()])
    }

    /// A client of a gateway with the key that the first writer made, once the gateway knows it.
    pub async fn client(&self, gateway: &Server) -> Client {
        let key = self.data("writer-0").join("admin.key");
        let until = Instant::now() + WITHIN;
        while !key.exists() {
            assert!(Instant::now() < until, "the writer made no key");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let client = Client::admin(&gateway.url, &self.data("writer-0"));
        eventually("the gateway has a writer and knows the key", async || {
            client.get("/v1/books/1").await.status == 200 && ready(gateway).await["alarms"] == json!([])
        })
        .await;
        client
    }
}

/// What a process says of itself.
pub async fn ready(server: &Server) -> Value {
    Client::new(&server.url, "").get("/readyz").await.body
}

/// Waits for something.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + WITHIN;
    while !holds().await {
        assert!(Instant::now() < until, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends one transfer again and again until it is answered, and gives how long that took.
pub async fn resumed(client: &Client, key: &str) -> Duration {
    let asked = Instant::now();
    // More than there is: a verdict that moves nothing.
    let body = json!({ "from": "load:0", "to": "load:1", "amount": "100000000.00", "currency": "EUR" });
    while !client.try_post("transfers", key, &body).await.is_ok_and(|answer| answer.status == 422) {
        assert!(asked.elapsed() < Duration::from_mins(1), "writes did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asked.elapsed()
}

/// Sends a signal.
pub fn signal(server: &Server, signal: &str) {
    let status = std::process::Command::new("kill").args([signal, &server.child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until a process ends by itself, and gives its exit status.
pub fn ended(server: &mut Server) -> std::process::ExitStatus {
    let until = Instant::now() + WITHIN;
    loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "it goes on:\n{}", server.told());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The journal's place for replay-tool.
pub fn verify(cluster: &Cluster) -> String {
    let data: &Path = &cluster.data("writer-0");
    super::replay(data, &["--journal", &cluster.postgres.url, "verify"])
}
