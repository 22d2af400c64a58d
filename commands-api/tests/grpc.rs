//! Gateways and writers on loopback: who is let in, where commands go when a writer is gone, and what a client is told meanwhile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use commands_api::grpc::{ClusterSecret, DoorOptions, Gateway, GatewayOptions, PROTOCOL, Phase, WriterDoor};
use event_schemas::command::AccountAct;
use event_schemas::{AccountId, BookId, Command, CommandBody, CommandId, Digest, PrincipalId, Sequence, Timestamp};
use ledger_core::ports::{
    Answer, CommandSink, EngineFault, EngineStatus, LookupReply, PreviewReply, Previews, Reply, SubmitError, Verdict,
    WriterState,
};
use tokio::net::TcpListener;

/// What every engine of a cluster has on record.
type Book = Arc<Mutex<BTreeMap<CommandId, u64>>>;

/// An engine that records ids, and answers or keeps silent.
struct Engine {
    book: Book,
    /// Records, and never answers: as one that is killed after its flush.
    silent: bool,
    /// What it refuses with.
    refuses: Option<SubmitError>,
    kept: Mutex<Vec<Reply>>,
}

impl Engine {
    fn new(book: &Book) -> Self {
        Self { book: Arc::clone(book), silent: false, refuses: None, kept: Mutex::default() }
    }
}

impl CommandSink for Engine {
    fn try_submit(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        if let Some(error) = self.refuses {
            return Err(error);
        }
        let mut book = self.book.lock().unwrap();
        let mut answers = Vec::new();
        for command in commands {
            let next = u64::try_from(book.len()).unwrap() + 1;
            let replayed = book.contains_key(&command.id);
            let sequence = Sequence(*book.entry(command.id).or_insert(next));
            answers.push(Answer::Recorded {
                verdict: Verdict::Accepted,
                sequence,
                recorded_at: Timestamp(7),
                replayed,
            });
        }
        drop(book);
        if self.silent {
            self.kept.lock().unwrap().push(reply);
        } else {
            reply(Ok(answers));
        }
        Ok(())
    }

    fn try_submit_linked(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        self.try_submit(commands, reply)
    }

    fn try_preview(&self, _: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        reply(Ok(Previews { items: Vec::new(), at_sequence: Sequence(3), recorded_at: Timestamp(1) }));
        Ok(())
    }

    fn try_preview_each(&self, _: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        reply(Err(EngineFault::ReadOnly));
        Ok(())
    }

    fn try_lookup(&self, _: CommandId, reply: LookupReply) -> Result<(), SubmitError> {
        reply(Ok(None));
        Ok(())
    }

    fn status(&self) -> EngineStatus {
        EngineStatus {
            writer: WriterState::Serving,
            reason: String::new(),
            durable: Sequence(u64::try_from(self.book.lock().unwrap().len()).unwrap()),
            queued: 0,
            accepted_total: 0,
            rejected_total: 0,
            replayed_total: 0,
            flushes_total: 0,
            appended_bytes_total: 0,
            checkpoint: Sequence::ZERO,
        }
    }
}

fn secret(text: &str) -> ClusterSecret {
    ClusterSecret::new(&text.repeat(32)).unwrap()
}

/// A writer's door on loopback, and its address.
async fn door(change: impl FnOnce(&mut DoorOptions)) -> (WriterDoor, String) {
    let origin = Arc::new(|| Ok(Some(Digest([1; 32]))));
    let mut options = DoorOptions { book: BookId::FIRST, secret: secret("s"), origin, protocol: PROTOCOL };
    change(&mut options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let door = WriterDoor::new(options);
    let serving = door.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    (door, address)
}

fn gateway(writers: Vec<String>, give_up: Duration) -> Gateway {
    let origin = Arc::new(|| Ok(Some(Digest([1; 32]))));
    let (book, secret) = (BookId::FIRST, secret("s"));
    let options = GatewayOptions { book, writers, secret, origin, name: "test".into(), give_up, protocol: PROTOCOL };
    Gateway::start(options).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(20);

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < end, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn command(id: u128) -> Command {
    let act = AccountAct { account: AccountId(1), reason: "".into() };
    Command { id: CommandId(id), actor: PrincipalId(1), body: CommandBody::FreezeAccount(act) }
}

type Told = Receiver<Result<Vec<Answer>, EngineFault>>;

fn submit(gateway: &Gateway, id: u128) -> Result<Told, SubmitError> {
    let (sender, receiver) = channel();
    gateway.try_submit(vec![command(id)], Box::new(move |answers| sender.send(answers).unwrap()))?;
    Ok(receiver)
}

async fn told<T: Send + 'static>(receiver: Receiver<T>) -> T {
    tokio::task::spawn_blocking(move || receiver.recv_timeout(PATIENCE).unwrap()).await.unwrap()
}

fn sequence(answers: &Result<Vec<Answer>, EngineFault>) -> (u64, bool) {
    match answers.as_ref().unwrap()[0] {
        Answer::Recorded { sequence, replayed, .. } => (sequence.0, replayed),
        Answer::Conflict { .. } => panic!("{answers:?}"),
    }
}

fn serving(engine: Engine, epoch: u64) -> Phase {
    Phase::Serving { sink: Arc::new(engine), epoch }
}

/// What a gateway says, and what is wrong with the writer.
type Wrong = (&'static str, fn(&mut DoorOptions));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_belong_is_told_why() {
    let wrong: [Wrong; 4] = [
        ("does not have this cluster's secret", |options| options.secret = secret("t")),
        ("keeps book 2, the gateway serves book 1", |options| options.book = BookId::new(2).unwrap()),
        ("another journal", |options| options.origin = Arc::new(|| Ok(Some(Digest([2; 32]))))),
        ("version 0 between roles, the gateway version 1", |options| options.protocol = 0),
    ];
    for (expected, change) in wrong {
        let (door, address) = door(change).await;
        door.set(serving(Engine::new(&Book::default()), 1));
        let gateway = gateway(vec![address], PATIENCE);
        until(expected, || gateway.writers()[0].problem.contains(expected)).await;
        assert_eq!(submit(&gateway, 1).err(), Some(SubmitError::NoWriter));
        assert_eq!(gateway.status().writer, WriterState::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_through_and_comes_back() {
    let book = Book::default();
    let (door, address) = door(|_| ()).await;
    let gateway = gateway(vec![address], PATIENCE);
    until("it is seen to stand by", || gateway.writers()[0].state == "standby").await;
    assert_eq!(submit(&gateway, 1).err(), Some(SubmitError::NoWriter), "a standby takes nothing");
    door.set(serving(Engine::new(&book), 4));
    until("it is seen to serve", || gateway.status().writer == WriterState::Serving).await;
    assert_eq!((gateway.writers()[0].state, gateway.writers()[0].epoch, door.gateways()), ("serving", 4, 1));
    let asked: Vec<Told> = (1..=5_000).map(|id| submit(&gateway, id).unwrap()).collect();
    for (count, answers) in (1..).zip(asked) {
        assert_eq!(sequence(&told(answers).await), (count, false));
    }
    assert_eq!(gateway.status().durable, Sequence(5_000), "an answer tells how far the journal is");
    assert_eq!(sequence(&told(submit(&gateway, 77).unwrap()).await), (77, true));
    let (sender, previews) = channel();
    gateway.try_preview(vec![command(1)], Box::new(move |found| sender.send(found).unwrap())).unwrap();
    assert_eq!(told(previews).await.unwrap().at_sequence, Sequence(3));
    let (sender, previews) = channel();
    gateway.try_preview_each(vec![command(1)], Box::new(move |found| sender.send(found).unwrap())).unwrap();
    assert_eq!(told(previews).await, Err(EngineFault::ReadOnly));
    let (sender, found) = channel();
    gateway.try_lookup(CommandId(1), Box::new(move |verdict| sender.send(verdict).unwrap())).unwrap();
    assert_eq!(told(found).await, Ok(None));
    assert_eq!(submit_none(&gateway), Err(SubmitError::BatchSize));
    // What the engine refuses comes back as what it is.
    let busy = SubmitError::Busy { retry_after_ms: 250 };
    door.set(serving(Engine { refuses: Some(busy), ..Engine::new(&book) }, 4));
    assert_eq!(told(submit(&gateway, 9_000).unwrap()).await, Err(EngineFault::Refused(busy)));
}

fn submit_none(gateway: &Gateway) -> Result<(), SubmitError> {
    gateway.try_submit(Vec::new(), Box::new(|_| ()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_answered_goes_to_the_successor_and_has_one_effect() {
    let book = Book::default();
    let ((one, first), (other, second)) = (door(|_| ()).await, door(|_| ()).await);
    one.set(serving(Engine { silent: true, ..Engine::new(&book) }, 1));
    let gateway = gateway(vec![first, second], PATIENCE);
    until("the first serves", || gateway.status().writer == WriterState::Serving).await;
    let asked: Vec<Told> = (1..=100).map(|id| submit(&gateway, id).unwrap()).collect();
    until("all is recorded", || book.lock().unwrap().len() == 100).await;
    // It is asleep, and the other has taken over: the higher epoch is the writer.
    other.set(serving(Engine::new(&book), 2));
    for (count, answers) in (1..).zip(asked) {
        assert_eq!(sequence(&told(answers).await), (count, true), "in their order, and replayed");
    }
    assert_eq!(book.lock().unwrap().len(), 100);
    // It wakes up: what it says changes nothing, and nothing new goes to it.
    one.set(serving(Engine { silent: true, ..Engine::new(&book) }, 1));
    assert_eq!(sequence(&told(submit(&gateway, 101).unwrap()).await), (101, false));
    // It comes back under a third epoch.
    one.set(serving(Engine::new(&book), 3));
    until("commands go there", || gateway.writers()[0].epoch == 3).await;
    assert_eq!(sequence(&told(submit(&gateway, 102).unwrap()).await), (102, false));
    other.set(Phase::Stopped);
    one.set(Phase::Stopped);
    until("none serves", || gateway.status().writer == WriterState::Stopped).await;
    assert_eq!(submit(&gateway, 103).err(), Some(SubmitError::NoWriter));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_answers_is_said_to_be_unknown_in_time() {
    let book = Book::default();
    let (door, address) = door(|_| ()).await;
    door.set(serving(Engine { silent: true, ..Engine::new(&book) }, 1));
    let gateway = gateway(vec![address], Duration::from_millis(700));
    until("it serves", || gateway.status().writer == WriterState::Serving).await;
    let asked = Instant::now();
    let answers = submit(&gateway, 1).unwrap();
    door.set(Phase::Stopped);
    assert_eq!(told(answers).await, Err(EngineFault::Unreachable));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    // Of one that ends, too.
    door.set(serving(Engine { silent: true, ..Engine::new(&book) }, 2));
    until("it serves again", || gateway.status().writer == WriterState::Serving).await;
    let answers = submit(&gateway, 2).unwrap();
    gateway.end();
    assert_eq!(told(answers).await, Err(EngineFault::Unreachable));
    assert_eq!(submit(&gateway, 3).err(), Some(SubmitError::Stopped));
}
