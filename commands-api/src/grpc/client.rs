//! The gateway's half: keeps a stream to each writer that it was told of, and gives what is submitted to the one that serves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use event_schemas::bounds::{BATCH_MAX_COMMANDS, TEXT_MAX_BYTES};
use event_schemas::{BlockHash, BookId, Command, CommandId, Sequence};
use ledger_core::ports::{
    CommandSink, EngineFault, EngineStatus, LookupReply, PreviewReply, Reply, SubmitError, WriterState,
};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

use super::payload::{self, Outcome};
use super::pending::{Line, Pending, Waiting};
use super::wire::{FRAME_MAX_BYTES, FrameCodec, FromWriter, Hello, Kind, PhaseTag, ToWriter};
use super::{ClusterSecret, EXCHANGE, Said, nonce, proves};

/// How long a connection and its handshake may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How long a gateway waits before it tries an address again; one that refused it is asked less often.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_REFUSED: Duration = Duration::from_secs(2);

/// A writer says something twice a second. One that is silent for so long is asleep, or behind a network that is gone.
const SILENT: Duration = Duration::from_secs(3);

/// How often it is looked at what nobody waits for any longer.
const LOOK: Duration = Duration::from_millis(100);

/// How old the status of a writer that serves may be.
const STATUS_AGE: Duration = Duration::from_millis(250);

/// Finds the first block of a journal: `None` if it has none yet.
pub type Origin = Arc<dyn Fn() -> Result<Option<BlockHash>, String> + Send + Sync>;

/// What a gateway works with.
pub struct GatewayOptions {
    /// The book.
    pub book: BookId,
    /// The addresses of the writer and of those that stand by: `http://host:port`.
    pub writers: Vec<String>,
    /// What writers must know.
    pub secret: ClusterSecret,
    /// The first block of the journal that this gateway reads.
    pub origin: Origin,
    /// How it calls itself, for people.
    pub name: String,
    /// How long a submission is sent again and again before its client is told that nobody answers.
    pub give_up: Duration,
    /// The version it speaks: [`PROTOCOL`](super::PROTOCOL) but in tests.
    pub protocol: u64,
}

impl GatewayOptions {
    /// The time that a submission has: a little less than a request has for its verdict.
    pub const GIVE_UP: Duration = Duration::from_secs(25);
}

/// A writer as a gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenWriter {
    /// Its address.
    pub address: String,
    /// What it does: `serving`, `starting`, `standby`, `stopped`; `gone` if it can't be talked to.
    pub state: &'static str,
    /// Its epoch, if it serves.
    pub epoch: u64,
    /// Why it can't be talked to; empty if it can.
    pub problem: String,
}

/// How far the talk with an address is.
struct Link {
    address: String,
    phase: Option<PhaseTag>,
    epoch: u64,
    stream: u64,
    problem: String,
    wake: Arc<Notify>,
}

struct State {
    links: Vec<Link>,
    current: Option<Line>,
    pending: Pending,
    status: EngineStatus,
    streams: u64,
    ended: bool,
}

struct Shared {
    options: GatewayOptions,
    state: Mutex<State>,
}

/// A [`CommandSink`] whose engine is in another process.
pub struct Gateway {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("writers", &self.shared.options.writers).finish_non_exhaustive()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Finds out who serves now. A change means that all that waits is sent again.
    fn choose(&mut self) {
        let best = self
            .links
            .iter()
            .enumerate()
            .filter(|(_, link)| link.phase == Some(PhaseTag::Serving))
            .max_by_key(|(_, link)| link.epoch)
            .map(|(writer, link)| Line { writer, stream: link.stream });
        if best == self.current {
            return;
        }
        self.current = best;
        let Some(link) = best.and_then(|line| self.links.get(line.writer)) else {
            self.status.writer = WriterState::Stopped;
            "no writer serves now".clone_into(&mut self.status.reason);
            tracing::warn!(waiting = self.pending.commands(), "no writer serves now");
            return;
        };
        self.pending.again();
        tracing::info!(writer = %link.address, epoch = link.epoch, again = self.pending.unsent(), "commands go to this writer");
        link.wake.notify_one();
    }

    fn durable(&mut self, sequence: Sequence) {
        self.status.durable = self.status.durable.max(sequence);
    }
}

impl Gateway {
    /// Starts to look for the writer. Inside a runtime.
    pub fn start(options: GatewayOptions) -> Result<Self, String> {
        let mut endpoints = Vec::new();
        for address in &options.writers {
            let endpoint = Endpoint::from_shared(address.clone())
                .map_err(|error| format!("{address:?} is no address of a writer: {error}"))?;
            endpoints.push(
                endpoint
                    .connect_timeout(CONNECT_WITHIN)
                    .tcp_nodelay(true)
                    .http2_keep_alive_interval(Duration::from_secs(2))
                    .keep_alive_timeout(Duration::from_secs(4))
                    .initial_stream_window_size(8 * 1024 * 1024)
                    .initial_connection_window_size(16 * 1024 * 1024),
            );
        }
        let link = |address: &String| Link {
            address: address.clone(),
            phase: None,
            epoch: 0,
            stream: 0,
            problem: "not reached yet".into(),
            wake: Arc::default(),
        };
        let status = EngineStatus {
            writer: WriterState::Stopped,
            reason: "no writer serves now".into(),
            durable: Sequence::ZERO,
            queued: 0,
            accepted_total: 0,
            rejected_total: 0,
            replayed_total: 0,
            flushes_total: 0,
            appended_bytes_total: 0,
            checkpoint: Sequence::ZERO,
        };
        let state = State {
            links: options.writers.iter().map(link).collect(),
            current: None,
            pending: Pending::default(),
            status,
            streams: 0,
            ended: false,
        };
        let shared = Arc::new(Shared { options, state: Mutex::new(state) });
        let mut tasks: Vec<_> = endpoints
            .into_iter()
            .enumerate()
            .map(|(writer, endpoint)| tokio::spawn(keep_talking(Arc::clone(&shared), writer, endpoint)))
            .collect();
        tasks.push(tokio::spawn(give_up(Arc::clone(&shared))));
        Ok(Self { shared, tasks })
    }

    /// The writers, as they are seen now.
    pub fn writers(&self) -> Vec<SeenWriter> {
        let seen = |link: &Link| SeenWriter {
            address: link.address.clone(),
            state: match link.phase {
                None => "gone",
                Some(PhaseTag::Standby) => "standby",
                Some(PhaseTag::Starting) => "starting",
                Some(PhaseTag::Serving) => "serving",
                Some(PhaseTag::Stopped) => "stopped",
            },
            epoch: link.epoch,
            problem: link.problem.clone(),
        };
        self.shared.state().links.iter().map(seen).collect()
    }

    /// Lets it know of a sequence that is durable: one that was read from the journal, or from a read model.
    pub fn note_durable(&self, sequence: Sequence) {
        self.shared.state().durable(sequence);
    }

    /// Takes no more; whoever still waits is told that the outcome is not known.
    pub fn end(&self) {
        for task in &self.tasks {
            task.abort();
        }
        let waiting = {
            let mut state = self.shared.state();
            state.ended = true;
            state.current = None;
            state.pending.drain()
        };
        for waiting in waiting {
            waiting.fail(EngineFault::Unreachable);
        }
    }

    fn submit(&self, kind: Kind, content: Vec<u8>, commands: usize, waiting: Waiting) -> Result<(), SubmitError> {
        let mut state = self.shared.state();
        if state.ended {
            return Err(SubmitError::Stopped);
        }
        let Some(line) = state.current else { return Err(SubmitError::NoWriter) };
        state.pending.push(kind, content.into(), commands, self.shared.options.give_up, waiting)?;
        // Whoever sends takes all that there is.
        if state.pending.unsent() == 1
            && let Some(link) = state.links.get(line.writer)
        {
            link.wake.notify_one();
        }
        Ok(())
    }

    fn submit_commands(&self, kind: Kind, commands: &[Command], waiting: Waiting) -> Result<(), SubmitError> {
        if commands.is_empty() || commands.len() > BATCH_MAX_COMMANDS {
            return Err(SubmitError::BatchSize);
        }
        self.submit(kind, payload::commands(commands), commands.len(), waiting)
    }
}

impl CommandSink for Gateway {
    fn try_submit(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        self.submit_commands(Kind::Submit, &commands, Waiting::Commands(reply))
    }

    fn try_submit_linked(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        self.submit_commands(Kind::SubmitLinked, &commands, Waiting::Commands(reply))
    }

    fn try_preview(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        self.submit_commands(Kind::Preview, &commands, Waiting::Preview(reply))
    }

    fn try_preview_each(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        self.submit_commands(Kind::PreviewEach, &commands, Waiting::Preview(reply))
    }

    fn try_lookup(&self, id: CommandId, reply: LookupReply) -> Result<(), SubmitError> {
        self.submit(Kind::Lookup, payload::lookup(id), 1, Waiting::Lookup(reply))
    }

    fn status(&self) -> EngineStatus {
        let state = self.shared.state();
        let mut status = state.status.clone();
        status.queued = status.queued.max(u64::try_from(state.pending.commands()).unwrap_or(u64::MAX));
        status
    }

    fn status_age(&self) -> Duration {
        STATUS_AGE
    }
}

/// Tells those who have waited long enough.
async fn give_up(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let expired = {
            let mut state = shared.state();
            state.pending.expired(Instant::now())
        };
        for (waiting, fault) in expired {
            waiting.fail(fault);
        }
    }
}

/// Why a talk ended.
enum Ended {
    /// It was refused, or refuses: asking again soon is of no use.
    Refused(String),
    Broken(String),
}

impl From<String> for Ended {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// Talks to one address, again and again.
async fn keep_talking(shared: Arc<Shared>, writer: usize, endpoint: Endpoint) {
    let mut told = String::new();
    loop {
        let ended = talk(&shared, writer, &endpoint).await;
        let (reason, again) = match ended {
            Ended::Refused(reason) => (reason, AGAIN_REFUSED),
            Ended::Broken(reason) => (reason, AGAIN),
        };
        {
            let mut state = shared.state();
            if let Some(link) = state.links.get_mut(writer) {
                link.phase = None;
                link.epoch = 0;
                link.problem.clone_from(&reason);
            }
            state.choose();
        }
        // Once for each reason: an address may be gone for hours.
        if told != reason {
            tracing::warn!(writer = %endpoint.uri(), %reason, "this writer can't be talked to");
            told = reason;
        }
        tokio::time::sleep(again).await;
    }
}

/// One stream, from its beginning to its end.
async fn talk(shared: &Arc<Shared>, writer: usize, endpoint: &Endpoint) -> Ended {
    match try_talk(shared, writer, endpoint).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

async fn try_talk(shared: &Arc<Shared>, writer: usize, endpoint: &Endpoint) -> Result<std::convert::Infallible, Ended> {
    let ask = Arc::clone(&shared.options.origin);
    let origin = tokio::task::spawn_blocking(move || ask()).await.map_err(|error| error.to_string())??;
    let origin = origin.ok_or_else(|| "the journal is empty: its writer has not opened the book yet".to_owned())?;
    let (sender, receiver) = mpsc::channel(16);
    let opening = open(shared, endpoint, origin, &sender, receiver);
    let mut incoming = match tokio::time::timeout(CONNECT_WITHIN, opening).await {
        Ok(opened) => opened?,
        Err(_) => return Err(Ended::Broken("it does not answer".into())),
    };
    let wake = {
        let mut state = shared.state();
        state.streams += 1;
        let stream = state.streams;
        let Some(link) = state.links.get_mut(writer) else { return Err(Ended::Broken("no such writer".into())) };
        link.stream = stream;
        link.problem.clear();
        Arc::clone(&link.wake)
    };
    // Side by side: a writer that is slow to take does not keep its answers from being read.
    tokio::select! {
        ended = listen(shared, writer, &mut incoming) => Err(ended),
        ended = speak(shared, writer, &wake, &sender) => Err(ended),
    }
}

/// Takes what the writer says, until it says no more.
async fn listen(shared: &Shared, writer: usize, incoming: &mut Streaming<FromWriter>) -> Ended {
    loop {
        let frame = match tokio::time::timeout(SILENT, incoming.message()).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return Ended::Broken("it hung up".into()),
            Ok(Err(status)) => return Ended::Broken(status.message().to_owned()),
            Err(_) => return Ended::Broken(format!("it was silent for {} s", SILENT.as_secs())),
        };
        let taken = match frame {
            FromWriter::State { phase, epoch, status } => on_state(shared, writer, phase, epoch, &status),
            FromWriter::Replies(replies) => on_replies(shared, writer, replies),
            FromWriter::Refusal { reason, .. } => Err(Ended::Refused(reason)),
            FromWriter::Challenge { .. } => Err(Ended::Broken("a handshake in the middle".into())),
        };
        if let Err(ended) = taken {
            return ended;
        }
    }
}

/// Sends what waits, for as long as this writer is the one that serves.
async fn speak(shared: &Shared, writer: usize, wake: &Notify, sender: &mpsc::Sender<ToWriter>) -> Ended {
    loop {
        wake.notified().await;
        loop {
            let group = {
                let mut state = shared.state();
                let is_current = state.current.is_some_and(|line| {
                    line.writer == writer && state.links.get(writer).is_some_and(|link| link.stream == line.stream)
                });
                if is_current { state.pending.group() } else { Vec::new() }
            };
            if group.is_empty() {
                break;
            }
            if sender.send(ToWriter::Submissions(group)).await.is_err() {
                return Ended::Broken("it hung up".into());
            }
        }
    }
}

/// Connects, and finds out whether this is a writer of this cluster, book and journal.
async fn open(
    shared: &Shared,
    endpoint: &Endpoint,
    origin: BlockHash,
    sender: &mpsc::Sender<ToWriter>,
    receiver: mpsc::Receiver<ToWriter>,
) -> Result<Streaming<FromWriter>, Ended> {
    let GatewayOptions { book, secret, name, protocol, .. } = &shared.options;
    let of_gateway = nonce()?;
    let (book, protocol) = (u64::from(book.get()), *protocol);
    let hello = Hello {
        protocol,
        book,
        origin: Bytes::copy_from_slice(&origin.0),
        nonce: of_gateway.clone(),
        name: name.clone().into(),
    };
    let hung_up = || Ended::Broken("it hung up".into());
    sender.send(ToWriter::Hello(hello)).await.map_err(|_| hung_up())?;
    let channel = endpoint.connect().await.map_err(|error| cause(&error))?;
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(FRAME_MAX_BYTES);
    grpc.ready().await.map_err(|error| cause(&error))?;
    let codec = FrameCodec::<ToWriter, FromWriter>::default();
    let path = PathAndQuery::from_static(EXCHANGE);
    let response = grpc.streaming(Request::new(ReceiverStream::new(receiver)), path, codec).await;
    let mut incoming = response.map_err(|status| status.message().to_owned())?.into_inner();
    let (theirs, of_writer, mac) = match incoming.message().await.map_err(|status| status.message().to_owned())? {
        Some(FromWriter::Challenge { protocol, nonce, mac }) => (protocol, nonce, mac),
        Some(FromWriter::Refusal { reason, .. }) => return Err(Ended::Refused(reason)),
        Some(FromWriter::State { .. } | FromWriter::Replies(_)) => {
            return Err(Ended::Refused("it does not speak this protocol".into()));
        }
        None => return Err(hung_up()),
    };
    if theirs != protocol {
        return Err(Ended::Refused(format!(
            "it speaks version {theirs} between roles, this gateway version {protocol}: run the same release"
        )));
    }
    let said = Said { protocol, book, origin: &origin.0, of_gateway: &of_gateway, of_writer: &of_writer };
    if !proves(&secret.of_writer(&said), &mac) {
        return Err(Ended::Refused("it does not have this cluster's secret".into()));
    }
    let proof = Bytes::copy_from_slice(secret.of_gateway(&said).as_bytes());
    sender.send(ToWriter::Proof(proof)).await.map_err(|_| hung_up())?;
    Ok(incoming)
}

/// What lies behind an error of the transport: what it says itself is "transport error".
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().chars().take(TEXT_MAX_BYTES).collect()
}

fn on_state(shared: &Shared, writer: usize, phase: PhaseTag, epoch: u64, status: &[u8]) -> Result<(), Ended> {
    let mut state = shared.state();
    let Some(link) = state.links.get_mut(writer) else { return Ok(()) };
    (link.phase, link.epoch) = (Some(phase), epoch);
    state.choose();
    if phase == PhaseTag::Serving && state.current.is_some_and(|line| line.writer == writer) {
        let told = payload::read_status(status).map_err(|error| Ended::Broken(error.to_string()))?;
        let durable = state.status.durable.max(told.durable);
        state.status = EngineStatus { durable, ..told };
    }
    Ok(())
}

/// Whether this says that the writer goes, and that another may know more.
const fn leaves_it_open(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Fault(
            EngineFault::Stopped
                | EngineFault::Unreachable
                | EngineFault::Refused(SubmitError::Stopped | SubmitError::NoWriter)
        )
    )
}

fn on_replies(shared: &Shared, writer: usize, replies: Vec<super::wire::Reply>) -> Result<(), Ended> {
    let mut outcomes = Vec::with_capacity(replies.len());
    let mut newest = Sequence::ZERO;
    for reply in replies {
        let outcome = payload::read_outcome(&reply.content).map_err(|error| Ended::Broken(error.to_string()))?;
        if let Outcome::Answers(answers) = &outcome {
            for answer in answers {
                let (ledger_core::ports::Answer::Recorded { sequence, .. }
                | ledger_core::ports::Answer::Conflict { sequence, .. }) = answer;
                newest = newest.max(*sequence);
            }
        }
        outcomes.push((reply.number, outcome));
    }
    let told: Vec<(Waiting, Outcome)> = {
        let mut state = shared.state();
        state.durable(newest);
        let is_current = state.current.is_some_and(|line| line.writer == writer);
        outcomes
            .into_iter()
            .filter_map(|(number, outcome)| {
                // A verdict is durable, whoever says so. Anything else counts if it comes from who serves.
                let counts = matches!(outcome, Outcome::Answers(_)) || is_current && !leaves_it_open(&outcome);
                let waiting = if counts { state.pending.take(number) } else { None };
                Some((waiting?, outcome))
            })
            .collect()
    };
    for (waiting, outcome) in told {
        waiting.tell(outcome);
    }
    Ok(())
}
