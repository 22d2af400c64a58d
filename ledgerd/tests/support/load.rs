//! Transfers under which something is killed, and the log of what was acknowledged: kept here, in another process than those
//! that are killed. Afterwards nothing acknowledged is lost, nothing is there twice, and a retry of what got no answer has one
//! effect.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Answer, Client, Dice};

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
async fn send(client: Client, round: usize, number: u64, stop: Arc<AtomicBool>, log: Arc<Mutex<Vec<Asked>>>) {
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

/// The book as the log has it.
pub struct Load {
    expected: BTreeMap<u64, i64>,
    sequences: HashSet<u64>,
    rounds: usize,
    pub acknowledged: usize,
    pub unanswered: usize,
    pub recorded_unanswered: usize,
}

/// A round under way.
pub struct Round {
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Vec<Asked>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Round {
    /// No new transfers: those under way are waited for when the round is settled.
    pub fn enough(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Opens the accounts and funds them.
    pub async fn open(client: &Client) -> Self {
        let mut expected = BTreeMap::new();
        for account in 0..ACCOUNTS {
            let code = format!("load:{account}");
            let open = json!({ "code": code, "kind": "liability", "currency": "EUR" });
            client.done("accounts", &format!("open-{account}"), open).await;
            let amount = format!("{}.00", OPENING_MINOR / 100);
            let top_up = json!({ "account": code, "amount": amount, "currency": "EUR" });
            client.done("top-ups", &format!("fund-{account}"), top_up).await;
            expected.insert(account, OPENING_MINOR);
        }
        Self { expected, sequences: HashSet::new(), rounds: 0, acknowledged: 0, unanswered: 0, recorded_unanswered: 0 }
    }

    /// Starts a round.
    pub fn start(&mut self, client: &Client) -> Round {
        let (stop, log) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let task =
            |number| tokio::spawn(send(client.clone(), self.rounds, number, Arc::clone(&stop), Arc::clone(&log)));
        let tasks = (0..CONNECTIONS).map(task).collect();
        self.rounds += 1;
        Round { stop, log, tasks }
    }

    /// Ends a round: asks for every transfer of it again, and compares.
    pub async fn settle(&mut self, round: Round, client: &Client) {
        round.enough();
        for task in round.tasks {
            task.await.unwrap();
        }
        let asked = std::mem::take(&mut *round.log.lock().unwrap());
        for asked in asked {
            let again = client.try_post("transfers", &asked.key, &asked.body()).await.unwrap();
            let now = verdict(&again).unwrap();
            if let Some(answered) = &asked.answered {
                self.acknowledged += 1;
                assert!(again.replayed, "acknowledged, and not there after the kill: {} {answered:?}", asked.key);
                assert_eq!(&now, answered, "another verdict after the kill: {}", asked.key);
                // By id, too: the event of the verdict is the one that was acknowledged. A sample, to save time.
                if self.acknowledged.is_multiple_of(16) {
                    let id = again.body["command_id"].as_str().unwrap();
                    let event = client.get(&format!("/v1/books/1/commands/{id}")).await;
                    assert_eq!((event.status, event.sequence()), (200, answered.sequence), "{}", event.body);
                }
            } else {
                self.unanswered += 1;
                self.recorded_unanswered += usize::from(again.replayed);
                let third = client.try_post("transfers", &asked.key, &asked.body()).await.unwrap();
                assert!(third.replayed);
                assert_eq!(verdict(&third), Some(now.clone()), "{}", asked.key);
            }
            assert!(self.sequences.insert(now.sequence), "two commands share the verdict {}", now.sequence);
            if now.accepted {
                *self.expected.get_mut(&asked.from).unwrap() -= asked.minor;
                *self.expected.get_mut(&asked.to).unwrap() += asked.minor;
            }
        }
    }

    /// What the book says, by its read models, is what the log says.
    pub async fn close(&self, client: &Client) {
        let Self { acknowledged, unanswered, recorded_unanswered, rounds, .. } = self;
        println!(
            "{rounds} kills, {acknowledged} acknowledged, {unanswered} without an answer, of which {recorded_unanswered} were \
             recorded"
        );
        assert!(acknowledged > rounds, "there was no load: {acknowledged} acknowledged");
        let mut found = BTreeMap::new();
        for account in 0..ACCOUNTS {
            let balance = client.balance(&format!("load:{account}")).await;
            found.insert(account, balance.replace('.', "").parse::<i64>().unwrap());
        }
        assert_eq!(found, self.expected);
    }
}
