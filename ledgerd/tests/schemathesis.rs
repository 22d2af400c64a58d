//! The API against its own document: schemathesis makes requests from it, right ones and wrong ones, and holds every answer
//! against it. It then has to leave a book behind that proves true.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Client, Server, replay, root};

/// How many requests at least.
const REQUESTS_MIN: u64 = 20_000;
/// How many of them are made at random, by all processes together; the others follow from the document, case by case.
const AT_RANDOM: usize = 19_000;
/// A run takes two to three minutes on two cores.
const TIME_MAX: Duration = Duration::from_mins(10);

/// What a process does: the first one goes through the cases that follow from the document, too.
const PROCESSES: [&str; 2] = ["examples,coverage,fuzzing", "fuzzing"];

/// Two customers with money, and an account that may be frozen and closed.
async fn furnish(api: &Client) {
    for (code, owner) in [("anna:eur", "client:anna"), ("boris:eur", "client:boris"), ("acted:eur", "")] {
        let open = json!({"code": code, "kind": "liability", "currency": "EUR", "owner": owner});
        api.done("accounts", &format!("open-{code}"), open).await;
    }
    for code in ["anna:eur", "boris:eur"] {
        let top_up = json!({"account": code, "amount": "1000000.00", "currency": "EUR"});
        api.done("top-ups", &format!("fill-{code}"), top_up).await;
    }
}

/// Starts one process.
fn schemathesis(server: &Server, key: &str, phases: &str, examples: usize, seed: u64, said: &Path) -> Child {
    let tool = root().join("target/schemathesis/bin/schemathesis");
    assert!(tool.exists(), "schemathesis is not there: `make setup` installs it");
    let deploy = root().join("deploy/schemathesis");
    let out = std::fs::File::create(said).unwrap();
    Command::new(tool)
        .arg("--config-file")
        .arg(deploy.join("schemathesis.toml"))
        .args(["run", &format!("{}/v1/openapi.json", server.url)])
        .args(["--phases", phases, "--max-examples", &examples.to_string(), "--no-color"])
        .args(["--seed", &seed.to_string()])
        .env("DOPPIA_KEY", key)
        .env("SEED", seed.to_string())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", &deploy)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(said.parent().unwrap())
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap()
}

/// Waits for a process; it is ended when the time is over.
fn is_content(mut child: Child, until: Instant) -> bool {
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

/// How many requests the server has answered, by status.
async fn answered(server: &Server) -> Vec<(u16, u64)> {
    let text = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(format!("{}/metrics", server.url))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let counted = text.lines().filter(|line| line.starts_with("doppia_http_requests_total{"));
    counted
        .map(|line| {
            let status = line.split("status=\"").nth(1).unwrap().split('"').next().unwrap();
            (status.parse().unwrap(), line.rsplit(' ').next().unwrap().parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn no_answer_is_a_fault_or_differs_from_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // Whoever makes thousands of wrong requests a minute would be told to wait.
    let limits = "[limits]\nrejections_burst = 1_000_000_000\nrejections_per_second = 1_000_000\n";
    std::fs::write(folder.path().join("doppia.toml"), limits).unwrap();
    let server = Server::start(&data, 0);
    let api = Client::admin(&server.url, &data);
    furnish(&api).await;
    let started = Instant::now();
    let paths = commands_api::openapi()["paths"].as_object().unwrap();
    let operations: usize = paths.values().map(|methods| methods.as_object().unwrap().len()).sum();
    let examples = AT_RANDOM / operations / PROCESSES.len() + 1;
    let said = |at: usize| folder.path().join(format!("said-{at}.txt"));
    // The same requests each time, unless others are asked for.
    let seed: u64 = std::env::var("SEED").map_or(1, |text| text.parse().unwrap());
    let start =
        |(at, phases): (usize, &&str)| schemathesis(&server, &api.key, phases, examples, seed + at as u64, &said(at));
    let running: Vec<_> = PROCESSES.iter().enumerate().map(start).collect();
    let content: Vec<_> = running.into_iter().map(|child| is_content(child, started + TIME_MAX)).collect();
    for (at, content) in content.into_iter().enumerate() {
        assert!(content, "schemathesis is not content:\n{}", std::fs::read_to_string(said(at)).unwrap());
    }
    let took = started.elapsed();
    let answered = answered(&server).await;
    let requests: u64 = answered.iter().map(|(_, count)| count).sum();
    let of =
        |class: u16| answered.iter().filter(|(status, _)| status / 100 == class).map(|(_, count)| count).sum::<u64>();
    println!("{requests} requests in {took:?}: {} done, {} refused, {} faults", of(2), of(4), of(5));
    assert_eq!(of(5), 0, "{answered:?}");
    assert!(requests >= REQUESTS_MIN, "only {requests} requests");
    assert!(of(2) >= requests / 10, "hardly anything was done: {answered:?}");
    assert!(server.terminate().success());
    replay(&data, &["verify"]);
}
