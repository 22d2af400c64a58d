//! What the tests share: keys, a client that speaks to a router without a network, an engine that follows a script, and a
//! real book in memory with its read models.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code, unreachable_pub, missing_docs)]

mod conformance;
pub mod payer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use commands_api::access::{AccessLog, AccessLogBusy};
use commands_api::{ApiParts, ApiState, Budgets, KeyRecord, KeyRing, Scope, router};
use event_schemas::event::AccessLogged;
use event_schemas::{BookId, Command, CommandId, RecordedEvent, Sequence, Timestamp};
use ledger_core::engine::{Engine, EngineOptions, EngineParts};
use ledger_core::ports::{
    Answer, CheckpointFault, Checkpoints, Clock, CommandSink, EngineFault, EngineStatus, IdIndex, IdIndexFault,
    LookupReply, Preview, PreviewReply, Previews, Reply, SubmitError, Verdict, WriterState,
};
use projections::memory::MemoryRows;
use projections::ports::Rows;
use projections::{Runner, all};
use serde_json::Value;
use stores::memory::{MemoryBook, MemoryReader};
use tokio::sync::watch;
use tower::ServiceExt as _;

pub const TENANT: &str = "house";
/// 2026-11-21T12:00:00Z.
pub const NOON: Timestamp = Timestamp(1_795_262_400_000_000);

/// A key's text: 43 times the same letter.
pub fn key(letter: char) -> String {
    format!("dop_{}", letter.to_string().repeat(43))
}

pub fn record(letter: char, tenant: &str, customer: Option<&str>, scopes: &[Scope]) -> KeyRecord {
    KeyRecord {
        id: format!("key_{letter}"),
        hash: blake3::hash(key(letter).as_bytes()).to_hex().to_string(),
        tenant: tenant.into(),
        holder: format!("holder-{letter}"),
        customer: customer.map(Into::into),
        scopes: scopes.to_vec(),
        created_at: NOON,
        revoked_at: None,
        note: String::new(),
    }
}

pub const ADMIN: char = 'a';
pub const READER: char = 'r';
pub const WRITER: char = 'w';
pub const ANNA: char = 'n';
pub const BORIS: char = 'b';
pub const STRANGER: char = 's';
pub const REVOKED: char = 'x';

pub fn keys() -> Vec<KeyRecord> {
    use Scope::{Read, Write};
    let mut revoked = record(REVOKED, TENANT, None, &Scope::ALL);
    revoked.revoked_at = Some(NOON);
    vec![
        record(ADMIN, TENANT, None, &Scope::ALL),
        record(READER, TENANT, None, &[Read]),
        record(WRITER, TENANT, None, &[Write]),
        record(ANNA, TENANT, Some("client:anna"), &[Read, Write]),
        record(BORIS, TENANT, Some("client:boris"), &[Read, Write]),
        record(STRANGER, "elsewhere", None, &Scope::ALL),
        revoked,
    ]
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answered {
    pub fn code(&self) -> &str {
        // Accounts and verdicts have a field of this name, too.
        if self.status.is_success() { "" } else { self.body["code"].as_str().unwrap_or("") }
    }

    pub fn pointer(&self) -> &str {
        self.body["errors"][0]["pointer"].as_str().unwrap_or("")
    }

    pub fn sequence(&self) -> u64 {
        self.body["sequence"].as_u64().unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn expect(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        let kind = if code.is_empty() { "application/json" } else { "application/problem+json" };
        assert_eq!(self.header("content-type"), kind);
        assert_ne!(self.header("x-request-id"), "");
        self
    }
}

/// A request under construction.
pub struct Asked {
    router: Router,
    request: axum::http::request::Builder,
    body: Body,
}

impl Asked {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn key(self, letter: char) -> Self {
        let text = format!("Bearer {}", key(letter));
        self.header("authorization", &text)
    }

    pub fn idempotent(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// The answer as it begins, for one that goes on.
    pub async fn open(self) -> Response {
        self.router.oneshot(self.request.body(self.body).unwrap()).await.unwrap()
    }

    /// The whole answer, which must be one that the OpenAPI document tells of.
    pub async fn send(self) -> Answered {
        let (method, path) = (self.request.method_ref().unwrap().clone(), self.request.uri_ref().unwrap().clone());
        let response = self.open().await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let answered = Answered { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        conformance::check(method.as_str(), path.path(), &answered);
        answered
    }
}

pub fn ask(router: &Router, method: &str, path: &str) -> Asked {
    let request = Request::builder().method(method).uri(path);
    Asked { router: router.clone(), request, body: Body::empty() }
}

/// An access log that remembers what it was told.
#[derive(Default)]
pub struct Log(pub Mutex<Vec<AccessLogged>>);

impl AccessLog for Log {
    fn try_record(&self, access: AccessLogged) -> Result<(), AccessLogBusy> {
        self.0.lock().unwrap().push(access);
        Ok(())
    }
}

/// An access log that takes nothing.
pub struct FullLog;

impl AccessLog for FullLog {
    fn try_record(&self, _: AccessLogged) -> Result<(), AccessLogBusy> {
        Err(AccessLogBusy)
    }
}

/// What a scripted engine does with the next command or lookup.
pub enum Script {
    Answer(Answer),
    Found(Option<Box<RecordedEvent>>),
    Fault(EngineFault),
    Refuse(SubmitError),
    /// Answers a submission with nothing.
    Nothing,
    /// Drops the reply, as a writer that went down does.
    Drop,
    /// Never answers.
    Keep,
}

/// An engine that does as told, in the order told, and remembers what it was given.
#[derive(Default)]
pub struct Scripted {
    pub script: Mutex<Vec<Script>>,
    pub given: Mutex<Vec<Command>>,
    kept: Mutex<Vec<Reply>>,
    sequence: AtomicU64,
}

impl Scripted {
    pub fn of(script: Vec<Script>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script), ..Self::default() })
    }

    /// The next step; without one, commands are accepted.
    fn next(&self) -> Script {
        let mut script = self.script.lock().unwrap();
        if script.is_empty() { Script::Answer(self.accepted()) } else { script.remove(0) }
    }

    fn accepted(&self) -> Answer {
        let sequence = Sequence(self.sequence.fetch_add(1, Ordering::SeqCst) + 1);
        Answer::Recorded { verdict: Verdict::Accepted, sequence, recorded_at: NOON, replayed: false }
    }
}

impl CommandSink for Scripted {
    fn try_submit(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        self.given.lock().unwrap().extend(commands);
        match self.next() {
            Script::Answer(answer) => reply(Ok(vec![answer])),
            Script::Nothing => reply(Ok(Vec::new())),
            Script::Fault(fault) => reply(Err(fault)),
            Script::Refuse(error) => return Err(error),
            Script::Drop => drop(reply),
            Script::Keep => self.kept.lock().unwrap().push(reply),
            Script::Found(_) => panic!("a lookup was scripted, a command came"),
        }
        Ok(())
    }

    fn try_submit_linked(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        self.try_submit(commands, reply)
    }

    fn try_preview(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        self.given.lock().unwrap().extend(commands);
        match self.next() {
            Script::Answer(answer) => {
                let items = vec![Preview::Known(answer)];
                reply(Ok(Previews { items, at_sequence: Sequence(7), recorded_at: NOON }));
            }
            Script::Nothing => {
                reply(Ok(Previews { items: Vec::new(), at_sequence: Sequence(7), recorded_at: NOON }));
            }
            Script::Fault(fault) => reply(Err(fault)),
            Script::Refuse(error) => return Err(error),
            Script::Drop | Script::Keep => drop(reply),
            Script::Found(_) => panic!("a lookup was scripted, a dry run came"),
        }
        Ok(())
    }

    fn try_preview_each(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        self.try_preview(commands, reply)
    }

    fn try_lookup(&self, _: CommandId, reply: LookupReply) -> Result<(), SubmitError> {
        match self.next() {
            Script::Found(found) => reply(Ok(found.map(|found| *found))),
            Script::Fault(fault) => reply(Err(fault)),
            Script::Refuse(error) => return Err(error),
            Script::Answer(_) | Script::Nothing => reply(Ok(None)),
            Script::Drop | Script::Keep => drop(reply),
        }
        Ok(())
    }

    fn status(&self) -> EngineStatus {
        EngineStatus {
            writer: WriterState::Serving,
            reason: "nobody outside is told this".into(),
            durable: Sequence(self.sequence.load(Ordering::SeqCst)),
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

pub fn parts(sink: Arc<dyn CommandSink>, rows: Option<Arc<dyn Rows>>) -> ApiParts {
    ApiParts {
        book: BookId::FIRST,
        tenant: TENANT.into(),
        sink,
        rows,
        progress: watch::channel(Sequence::ZERO).1,
        feeds: Arc::new(|| Box::new(MemoryBook::new(BookId::FIRST).reader())),
        draining: watch::channel(false).1,
        keys: KeyRing::of(&keys()),
        budgets: Budgets::default(),
        access: None,
        access_rows: None,
        quotes: None,
        payments: None,
    }
}

/// A router over an engine that follows a script, without rows.
pub fn scripted(script: Vec<Script>) -> (Router, Arc<Scripted>) {
    let sink = Scripted::of(script);
    let router = router(ApiState::new(parts(Arc::<Scripted>::clone(&sink), Some(Arc::new(MemoryRows::new())))));
    (router, sink)
}

#[derive(Default)]
struct MapIndex {
    map: BTreeMap<CommandId, Sequence>,
    through: Sequence,
}

impl IdIndex for MapIndex {
    fn indexed_sequence(&self) -> Sequence {
        self.through
    }
    fn lookup(&mut self, id: CommandId) -> Result<Option<Sequence>, IdIndexFault> {
        Ok(self.map.get(&id).copied())
    }
    fn record(&mut self, verdicts: &[(CommandId, Sequence)], through: Sequence) -> Result<(), IdIndexFault> {
        self.map.extend(verdicts.iter().copied());
        self.through = through;
        Ok(())
    }
    fn clear(&mut self) -> Result<(), IdIndexFault> {
        *self = Self::default();
        Ok(())
    }
}

struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn sequences(&self) -> Result<Vec<Sequence>, CheckpointFault> {
        Ok(Vec::new())
    }
    fn store(&self, _: Sequence, _: &[u8]) -> Result<(), CheckpointFault> {
        Ok(())
    }
    fn load(&self, _: Sequence) -> Result<Option<Vec<u8>>, CheckpointFault> {
        Ok(None)
    }
    fn discard(&self, _: Sequence) -> Result<(), CheckpointFault> {
        Ok(())
    }
}

/// A real book in memory: engine, journal, read models, API.
pub struct House {
    pub router: Router,
    pub engine: Arc<Engine>,
    runner: Runner<MemoryReader, MemoryRows>,
    progress: watch::Sender<Sequence>,
    count: u64,
}

impl House {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut ApiParts)) -> Self {
        Self::at(Arc::new(AtomicI64::new(NOON.0)), change)
    }

    /// A book whose clock stands at these microseconds.
    pub fn at(now_us: Arc<AtomicI64>, change: impl FnOnce(&mut ApiParts)) -> Self {
        let (wall_us, monotonic_us) = (Arc::clone(&now_us), now_us);
        let book = MemoryBook::new(BookId::FIRST);
        let engine = Engine::start(EngineParts {
            journal: Box::new(book.writer()),
            ids: Box::<MapIndex>::default(),
            checkpoints: Arc::new(NoCheckpoints),
            clock: Clock {
                wall: Arc::new(move || Timestamp(wall_us.load(Ordering::SeqCst))),
                monotonic_us: Arc::new(move || monotonic_us.load(Ordering::SeqCst)),
            },
            options: EngineOptions { nonce: 42, ..EngineOptions::default() },
        })
        .unwrap();
        let engine = Arc::new(engine);
        let rows = MemoryRows::new();
        let (progress, following) = watch::channel(Sequence::ZERO);
        let mut parts = parts(Arc::<Engine>::clone(&engine), Some(Arc::new(rows.clone())));
        parts.progress = following;
        let reader = book.reader();
        parts.feeds = Arc::new(move || Box::new(reader.clone()));
        change(&mut parts);
        let runner = Runner::new(book.reader(), rows, all());
        Self { router: router(ApiState::new(parts)), engine, runner, progress, count: 0 }
    }

    /// Brings the read models up to the journal.
    pub fn catch_up(&mut self) {
        let durable = self.engine.status().durable;
        let applied = self.runner.run_to(durable, &mut |_| {}).unwrap();
        assert_eq!(applied, durable);
        self.progress.send_replace(applied);
    }

    /// The durable sequence.
    pub fn engine_head(&self) -> u64 {
        self.engine.status().durable.0
    }

    /// Asks what a post would get, with a key that no other request has. Checks that nothing is recorded.
    pub async fn dry(&mut self, letter: char, path: &str, body: &str) -> Answered {
        let head = self.engine_head();
        let answered = self.post(letter, &format!("{path}?dry_run=true"), body).await;
        assert_eq!(self.engine_head(), head, "a dry run of {path} {body} is on record");
        answered
    }

    /// Posts with a key of its own for each request, and brings the read models up.
    pub async fn post(&mut self, letter: char, path: &str, body: &str) -> Answered {
        self.count += 1;
        let answered = ask(&self.router, "POST", &format!("/v1/books/1/{path}"))
            .key(letter)
            .idempotent(&format!("request-{}", self.count))
            .body(body.to_owned())
            .send()
            .await;
        self.catch_up();
        answered
    }

    pub async fn get(&self, letter: char, path: &str) -> Answered {
        let slash = if path.is_empty() { "" } else { "/" };
        ask(&self.router, "GET", &format!("/v1/books/1{slash}{path}")).key(letter).send().await
    }

    /// Two customers with money and a trial balance to compare with.
    pub async fn furnished() -> Self {
        Self::new().furnish().await
    }

    /// Furnishes it.
    pub async fn furnish(mut self) -> Self {
        let house = &mut self;
        for (code, owner) in [("anna:eur", "client:anna"), ("boris:eur", "client:boris")] {
            let body = format!(r#"{{"code":"{code}","kind":"liability","currency":"EUR","owner":"{owner}"}}"#);
            house.post(ADMIN, "accounts", &body).await.expect(201, "");
            let body = format!(r#"{{"account":"{code}","amount":"100.00","currency":"EUR"}}"#);
            house.post(ADMIN, "top-ups", &body).await.expect(201, "");
        }
        self
    }

    /// The balance of an account as a text.
    pub async fn balance(&self, account: &str) -> String {
        let answered = self.get(ADMIN, &format!("accounts/{account}/balance")).await;
        answered.expect(200, "").body["balance"].as_str().unwrap().to_owned()
    }

    /// Everything that money could have moved.
    pub async fn trial_balance(&self) -> Value {
        let mut body = self.get(ADMIN, "trial-balance").await.expect(200, "").body.clone();
        body["sequence"] = Value::Null;
        body
    }
}
