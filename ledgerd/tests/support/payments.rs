//! Bill payments of a real server: set up, asked for, and looked at with the book beside them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Answer, Client, Server, root};

/// A data folder with a configuration beside it, and servers on it.
pub struct Payer {
    pub folder: tempfile::TempDir,
    pub data: PathBuf,
}

impl Payer {
    /// With this `[payments]` in the configuration, and the providers of the example.
    pub fn new(payments: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("doppia.toml"), format!("[payments]\n{payments}\n")).unwrap();
        let data = folder.path().join("data");
        Self { folder, data }
    }

    pub fn start(&self, env: &[(&str, &str)]) -> Server {
        Server::try_start_with(&self.data, 0, &[], env).unwrap_or_else(|log| panic!("ledgerd did not come up:\n{log}"))
    }

    /// Runs ledgerd beside the server: success, what it printed, and what it complained of.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_ledgerd"))
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    pub fn done(&self, arguments: &[&str]) -> String {
        let (code, printed, complaint) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {complaint}");
        printed
    }

    pub fn load_providers(&self) {
        let file = root().join("examples/providers.toml");
        self.done(&["provider", "load", file.to_str().unwrap()]);
    }

    /// A server with providers and a customer who has this much.
    pub async fn furnished(&self, env: &[(&str, &str)], balance: &str) -> (Server, Client) {
        let server = self.start(env);
        self.load_providers();
        let client = Client::admin(&server.url, &self.data);
        let until = Instant::now() + Duration::from_secs(5);
        while client.get("/v1/books/1/providers").await.body["providers"].as_array().is_none_or(Vec::is_empty) {
            assert!(Instant::now() < until, "the providers never came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let open = json!({ "code": "ada", "kind": "liability", "currency": "EUR", "owner": "customer:1" });
        client.done("accounts", "open-ada", open).await;
        client.done("top-ups", "top-up", json!({ "account": "ada", "amount": balance, "currency": "EUR" })).await;
        (server, client)
    }
}

pub fn bill(amount: &str) -> Value {
    json!({
        "account": "ada", "provider": "waterworks", "amount": amount, "currency": "EUR",
        "details": { "customer_number": "AB123456" },
    })
}

/// Asks for a payment, and waits for what comes of it.
pub async fn pay(client: &Client, key: &str, body: &Value) -> Result<Answer, String> {
    let request = client
        .http
        .post(format!("{}/v1/books/1/payments", client.url))
        .bearer_auth(&client.key)
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .header("prefer", "wait=15")
        .body(body.to_string());
    super::answer(request.send().await).await
}

pub async fn payment(client: &Client, id: &str) -> Value {
    let answer = client.get(&format!("/v1/books/1/payments/{id}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

pub fn id_of(answer: &Answer) -> String {
    answer.body["payment"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

/// Waits until a payment has one of these statuses, or is parked.
pub async fn settled(client: &Client, id: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let found = payment(client, id).await;
        if found["status"] != "pending" || !found["parked"].is_null() {
            return found;
        }
        assert!(Instant::now() < until, "{found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is held on an account.
pub async fn held(client: &Client, account: &str) -> usize {
    let head = client.head().await;
    let answer = client.get(&format!("/v1/books/1/accounts/{account}/holds?min_sequence={head}")).await;
    answer.body["holds"].as_array().unwrap_or_else(|| panic!("{}", answer.body)).len()
}

/// The steps that a payment took.
pub fn steps(payment: &Value) -> Vec<&str> {
    payment["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

/// Whether replay-tool finds all as it should be: the book, its read models, and the payments' facts by their rules.
pub fn verify(data: &Path) {
    super::replay(data, &["verify"]);
}
