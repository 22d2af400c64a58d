//! kill -9 under load, fifty times on the same folder. The log of what was acknowledged is kept here, in another process
//! than the one that is killed. After each kill: nothing acknowledged is lost, nothing is there twice, and a retry of what
//! got no answer has one effect.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Answer, Client, Dice, Server};

const KILLS: usize = 50;
const ACCOUNTS: u64 = 8;
const CONNECTIONS: u64 = 16;
const OPENING_MINOR: i64 = 100_000_000;

/// One transfer that was asked for.
#[derive(Clone)]
struct Asked {
    key: String,
    from: u64,
    to: u64,
    minor: i64,
    /// What was answered; `None` while nothing was.
    answered: Option<Answered>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    accepted: bool,
    sequence: u64,
}

impl Asked {
    fn body(&self) -> Value {
        json!({
            "from": format!("load:{}", self.from), "to": format!("load:{}", self.to), "currency": "EUR",
            "amount": format!("{}.{:02}", self.minor / 100, self.minor % 100),
        })
    }
}

/// A verdict, if it is one. Anything else (503 of a server that ends) is no answer.
fn verdict(answer: &Answer) -> Option<Answered> {
    match (answer.status, answer.code()) {
        (201, _) => Some(Answered { accepted: true, sequence: answer.sequence() }),
        (422, "insufficient_funds") => Some(Answered { accepted: false, sequence: answer.sequence() }),
        (503, _) => None,
        _ => panic!("{answer:?}"),
    }
}

/// Sends transfers until told to stop or cut off, and keeps the log.
async fn load(client: Client, round: usize, number: u64, stop: Arc<AtomicBool>, log: Arc<Mutex<Vec<Asked>>>) {
    let mut dice = Dice(((round as u64 + 1) << 32) | ((number + 1) * 7919));
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let from = dice.below(ACCOUNTS);
        let to = (from + 1 + dice.below(ACCOUNTS - 1)) % ACCOUNTS;
        // One in eight asks for more than there is: refusals are durable verdicts, too.
        let minor =
            if dice.below(8) == 0 { 100 * OPENING_MINOR } else { 1 + i64::try_from(dice.below(10_000)).unwrap() };
        let mut asked = Asked { key: format!("k{round}-{number}-{count}"), from, to, minor, answered: None };
        let sent = client.try_post("transfers", &asked.key, &asked.body()).await;
        asked.answered = sent.as_ref().ok().and_then(verdict);
        log.lock().unwrap().push(asked);
        if sent.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut dice = Dice::new();
    println!("seed {}", dice.0);
    let mut server = Server::start(&data, 0);
    let mut expected = BTreeMap::new();
    let client = Client::admin(&server.url, &data);
    for account in 0..ACCOUNTS {
        let code = format!("load:{account}");
        let open = json!({ "code": code, "kind": "liability", "currency": "EUR" });
        client.done("accounts", &format!("open-{account}"), open).await;
        let amount = format!("{}.00", OPENING_MINOR / 100);
        let top_up = json!({ "account": code, "amount": amount, "currency": "EUR" });
        client.done("top-ups", &format!("fund-{account}"), top_up).await;
        expected.insert(account, OPENING_MINOR);
    }
    let (mut acknowledged, mut unanswered, mut recorded_unanswered) = (0, 0, 0);
    let mut sequences = HashSet::new();
    for round in 0..KILLS {
        let client = Client::admin(&server.url, &data);
        let stop = Arc::new(AtomicBool::new(false));
        let log = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|number| tokio::spawn(load(client.clone(), round, number, Arc::clone(&stop), Arc::clone(&log))))
            .collect();
        tokio::time::sleep(Duration::from_millis(30 + dice.below(150))).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }

        server = Server::start(&data, 0);
        let client = Client::admin(&server.url, &data);
        let asked = std::mem::take(&mut *log.lock().unwrap());
        for asked in asked {
            let again = client.try_post("transfers", &asked.key, &asked.body()).await.unwrap();
            let now = verdict(&again).unwrap();
            if let Some(answered) = &asked.answered {
                acknowledged += 1;
                assert!(again.replayed, "acknowledged, and not there after the kill: {} {answered:?}", asked.key);
                assert_eq!(&now, answered, "another verdict after the kill: {}", asked.key);
                // By id, too: the event of the verdict is the one that was acknowledged. A sample, to save time.
                if acknowledged % 16 == 0 {
                    let id = again.body["command_id"].as_str().unwrap();
                    let event = client.get(&format!("/v1/books/1/commands/{id}")).await;
                    assert_eq!((event.status, event.sequence()), (200, answered.sequence), "{}", event.body);
                }
            } else {
                unanswered += 1;
                recorded_unanswered += usize::from(again.replayed);
                let third = client.try_post("transfers", &asked.key, &asked.body()).await.unwrap();
                assert!(third.replayed);
                assert_eq!(verdict(&third), Some(now.clone()), "{}", asked.key);
            }
            assert!(sequences.insert(now.sequence), "two commands share the verdict {}", now.sequence);
            if now.accepted {
                *expected.get_mut(&asked.from).unwrap() -= asked.minor;
                *expected.get_mut(&asked.to).unwrap() += asked.minor;
            }
        }
    }
    println!(
        "{KILLS} kills, {acknowledged} acknowledged, {unanswered} without an answer, of which {recorded_unanswered} were recorded"
    );
    assert!(acknowledged > KILLS && unanswered > 0, "there was no load: {acknowledged} and {unanswered}");

    // What the book says, by its read models and by id, is what the log says.
    let client = Client::admin(&server.url, &data);
    let mut found = HashMap::new();
    for account in 0..ACCOUNTS {
        let balance = client.balance(&format!("load:{account}")).await;
        found.insert(account, balance.replace('.', "").parse::<i64>().unwrap());
    }
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
    assert!(server.terminate().success());
}
