//! The writer's half: takes gateways in, hands their submissions to the engine, and its answers back.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::http;
use bytes::Bytes;
use event_schemas::bounds::QUEUE_MAX_COMMANDS;
use event_schemas::{BlockHash, BookId, RecordedEvent, Sequence};
use ledger_core::ports::{CommandSink, EngineFault, SubmitError};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::client::Origin;
use super::payload::{self, Outcome};
use super::wire::{FRAME_MAX_BYTES, FrameCodec, FromWriter, Hello, Kind, PhaseTag, Reply, Submission, ToWriter};
use super::{ClusterSecret, SERVICE, Said, nonce, proves};

/// How long a gateway may take for its handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// How often the durable sequence is looked at, and how often a gateway hears of this writer at least.
const LOOK: Duration = Duration::from_millis(10);
const SIGN: Duration = Duration::from_millis(500);

/// The most gateways at once.
const GATEWAYS_MAX: usize = 64;

/// The bytes of replies after which a frame takes no more.
const GROUP_BYTES: usize = 1024 * 1024;

/// How long replies may take to leave when the writer ends.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// What this process is doing as a writer.
#[derive(Clone)]
pub enum Phase {
    /// Another process is the writer.
    Standby,
    /// It is the writer, and replays its journal.
    Starting,
    /// It takes commands.
    Serving {
        /// The engine.
        sink: Arc<dyn CommandSink>,
        /// Under which epoch it writes.
        epoch: u64,
    },
    /// It takes no more.
    Stopped,
}

impl Phase {
    const fn tag(&self) -> PhaseTag {
        match self {
            Self::Standby => PhaseTag::Standby,
            Self::Starting => PhaseTag::Starting,
            Self::Serving { .. } => PhaseTag::Serving,
            Self::Stopped => PhaseTag::Stopped,
        }
    }
}

impl std::fmt::Debug for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.tag(), f)
    }
}

/// What a writer checks gateways by.
pub struct DoorOptions {
    /// The book.
    pub book: BookId,
    /// What gateways must know.
    pub secret: ClusterSecret,
    /// The first block of the journal, once there is one.
    pub origin: Origin,
    /// The version it speaks: [`PROTOCOL`](super::PROTOCOL) but in tests.
    pub protocol: u64,
}

struct Shared {
    options: DoorOptions,
    origin: Mutex<Option<BlockHash>>,
    phase: watch::Sender<Phase>,
    gateways: AtomicUsize,
    /// Submissions that the engine has and replies that have not left.
    in_flight: AtomicUsize,
}

/// Where gateways come in. Clones share it.
#[derive(Clone)]
pub struct WriterDoor(Arc<Shared>);

impl std::fmt::Debug for WriterDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterDoor").field("phase", &*self.0.phase.borrow()).finish_non_exhaustive()
    }
}

impl WriterDoor {
    /// A door that says that it stands by.
    pub fn new(options: DoorOptions) -> Self {
        let phase = watch::channel(Phase::Standby).0;
        let (gateways, in_flight) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Shared { options, origin: Mutex::default(), phase, gateways, in_flight }))
    }

    /// Tells all gateways what this process is doing.
    pub fn set(&self, phase: Phase) {
        self.0.phase.send_replace(phase);
    }

    /// How many gateways are in.
    pub fn gateways(&self) -> usize {
        self.0.gateways.load(Ordering::Relaxed)
    }

    /// Takes gateways in for as long as it is polled.
    pub async fn serve(&self, listener: TcpListener) -> Result<(), String> {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder()
            .initial_stream_window_size(8 * 1024 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024)
            .http2_keepalive_interval(Some(Duration::from_secs(2)))
            .http2_keepalive_timeout(Some(Duration::from_secs(4)))
            .max_concurrent_streams(16)
            .add_service(Exchange(self.clone()))
            .serve_with_incoming(incoming)
            .await
            .map_err(|error| error.to_string())
    }

    /// Waits until replies have left, for a while: the engine has answered what it had.
    pub async fn leave(&self) {
        let until = Instant::now() + LEAVE_WITHIN;
        while self.0.in_flight.load(Ordering::Acquire) > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The first block, which is asked for until it is there.
    async fn origin(&self) -> Result<Option<BlockHash>, String> {
        if let Some(known) = *self.0.origin.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Some(known));
        }
        let ask = Arc::clone(&self.0.options.origin);
        let found = tokio::task::spawn_blocking(move || ask()).await.map_err(|error| error.to_string())??;
        *self.0.origin.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(found)
    }
}

/// The service, as tonic wants it.
#[derive(Clone)]
struct Exchange(WriterDoor);

impl NamedService for Exchange {
    const NAME: &'static str = SERVICE;
}

type Answers = ReceiverStream<Result<FromWriter, Status>>;
type Soon<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for Exchange {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Soon<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let door = self.0.clone();
        Box::pin(async move {
            if request.uri().path() != super::EXCHANGE {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            let mut grpc =
                Grpc::new(FrameCodec::<FromWriter, ToWriter>::default()).max_decoding_message_size(FRAME_MAX_BYTES);
            Ok(grpc.streaming(Talks(door), request).await)
        })
    }
}

/// One call of the method.
struct Talks(WriterDoor);

impl StreamingService<ToWriter> for Talks {
    type Response = FromWriter;
    type ResponseStream = Answers;
    type Future = Soon<Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<ToWriter>>) -> Self::Future {
        let door = self.0.clone();
        Box::pin(async move {
            if door.0.gateways.fetch_add(1, Ordering::Relaxed) >= GATEWAYS_MAX {
                door.0.gateways.fetch_sub(1, Ordering::Relaxed);
                return Err(Status::resource_exhausted("too many gateways"));
            }
            let (sender, receiver) = mpsc::channel(16);
            tokio::spawn(async move {
                let mut talk = Talk { door: door.clone(), outbox: Arc::default(), sender };
                if let Err(reason) = talk.run(request.into_inner()).await {
                    tracing::info!(%reason, "a gateway is gone");
                }
                door.0.gateways.fetch_sub(1, Ordering::Relaxed);
                // What was on its way to it never leaves.
                let left = talk.outbox.abandon();
                door.0.in_flight.fetch_sub(left, Ordering::AcqRel);
            });
            Ok(Response::new(ReceiverStream::new(receiver)))
        })
    }
}

#[derive(Default)]
struct Out {
    ready: Vec<(u64, Outcome)>,
    /// With the engine, or ready and not sent.
    in_flight: usize,
    closed: bool,
}

/// Replies on their way from the engine's thread to the gateway.
#[derive(Default)]
struct Outbox {
    out: Mutex<Out>,
    filled: Notify,
}

impl Outbox {
    fn out(&self) -> std::sync::MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that one has come; whether that is within bounds.
    fn enter(&self) -> bool {
        let mut out = self.out();
        out.in_flight += 1;
        out.in_flight <= QUEUE_MAX_COMMANDS
    }

    fn push(&self, number: u64, outcome: Outcome) {
        let mut out = self.out();
        if out.closed {
            return;
        }
        out.ready.push((number, outcome));
        let first = out.ready.len() == 1;
        drop(out);
        if first {
            self.filled.notify_one();
        }
    }

    fn take(&self) -> Vec<(u64, Outcome)> {
        std::mem::take(&mut self.out().ready)
    }

    fn left(&self, count: usize) {
        let mut out = self.out();
        out.in_flight = out.in_flight.saturating_sub(count);
    }

    fn abandon(&self) -> usize {
        let mut out = self.out();
        out.closed = true;
        out.ready.clear();
        std::mem::take(&mut out.in_flight)
    }
}

/// A gateway that is talked to.
struct Talk {
    door: WriterDoor,
    outbox: Arc<Outbox>,
    sender: mpsc::Sender<Result<FromWriter, Status>>,
}

impl Talk {
    async fn send(&self, frame: FromWriter) -> Result<(), String> {
        self.sender.send(Ok(frame)).await.map_err(|_| "it hung up".to_owned())
    }

    async fn refuse(&self, code: &str, reason: String) -> Result<(), String> {
        tracing::warn!(code, %reason, "a gateway is refused");
        self.send(FromWriter::Refusal { code: code.into(), reason: reason.clone() }).await?;
        Err(reason)
    }

    async fn run(&mut self, mut incoming: Streaming<ToWriter>) -> Result<(), String> {
        let name = match tokio::time::timeout(HANDSHAKE_WITHIN, self.handshake(&mut incoming)).await {
            Ok(done) => done?,
            Err(_) => return Err("it did not finish its handshake".into()),
        };
        tracing::info!(gateway = %name, "a gateway is in");
        let mut phase = self.door.0.phase.subscribe();
        let (mut looks, mut told, mut signed) = (tokio::time::interval(LOOK), Sequence::ZERO, Instant::now());
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        self.tell_state(&mut phase).await?;
        loop {
            tokio::select! {
                biased;
                changed = phase.changed() => {
                    changed.map_err(|_| "the writer ends".to_owned())?;
                    self.tell_state(&mut phase).await?;
                    signed = Instant::now();
                }
                () = self.outbox.filled.notified() => self.reply().await?,
                frame = incoming.message() => match frame {
                    Ok(Some(ToWriter::Submissions(items))) => {
                        let now = phase.borrow().clone();
                        for item in items {
                            self.submit(&now, item);
                        }
                    }
                    Ok(Some(ToWriter::Hello(_) | ToWriter::Proof(_))) => {
                        return self.refuse("frame", "a handshake in the middle".into()).await;
                    }
                    Ok(None) => return Ok(()),
                    Err(status) => return Err(status.message().to_owned()),
                },
                _ = looks.tick() => {
                    let durable = match &*phase.borrow() {
                        Phase::Serving { sink, .. } => sink.status().durable,
                        Phase::Standby | Phase::Starting | Phase::Stopped => told,
                    };
                    if durable != told || signed.elapsed() >= SIGN {
                        told = durable;
                        signed = Instant::now();
                        self.tell_state(&mut phase).await?;
                    }
                }
            }
        }
    }

    /// Finds out whether this is a gateway of this cluster, book and journal; gives its name.
    async fn handshake(&self, incoming: &mut Streaming<ToWriter>) -> Result<String, String> {
        let options = &self.door.0.options;
        let next = |frame: Result<Option<ToWriter>, Status>| {
            frame.map_err(|status| status.message().to_owned())?.ok_or_else(|| "it hung up".to_owned())
        };
        let ToWriter::Hello(hello) = next(incoming.message().await)? else {
            return self.refuse("frame", "a handshake begins with a hello".into()).await.map(|()| String::new());
        };
        let Hello { protocol, book, origin, nonce: of_gateway, name } = hello;
        if protocol != options.protocol {
            let reason = format!(
                "this writer speaks version {} between roles, the gateway version {protocol}: run the same release",
                options.protocol
            );
            return self.refuse("protocol", reason).await.map(|()| String::new());
        }
        let of_writer = nonce()?;
        let said = Said { protocol, book, origin: &origin, of_gateway: &of_gateway, of_writer: &of_writer };
        let mac = Bytes::copy_from_slice(options.secret.of_writer(&said).as_bytes());
        self.send(FromWriter::Challenge { protocol, nonce: of_writer.clone(), mac }).await?;
        let ToWriter::Proof(proof) = next(incoming.message().await)? else {
            return self.refuse("frame", "a hello is followed by a proof".into()).await.map(|()| String::new());
        };
        if !proves(&options.secret.of_gateway(&said), &proof) {
            let reason = "the gateway does not have this cluster's secret".into();
            return self.refuse("secret", reason).await.map(|()| String::new());
        }
        if book != u64::from(options.book.get()) {
            let reason = format!("this writer keeps book {}, the gateway serves book {book}", options.book);
            return self.refuse("book", reason).await.map(|()| String::new());
        }
        let own = self.door.origin().await?;
        if own.is_none_or(|own| own.0[..] != origin[..]) {
            let reason = "the gateway reads another journal than this writer's: their first blocks differ".into();
            return self.refuse("journal", reason).await.map(|()| String::new());
        }
        Ok(String::from_utf8_lossy(&name).chars().filter(|c| !c.is_control()).take(100).collect())
    }

    async fn tell_state(&self, phase: &mut watch::Receiver<Phase>) -> Result<(), String> {
        let frame = {
            let now = phase.borrow_and_update();
            let (epoch, status) = match &*now {
                Phase::Serving { sink, epoch } => (*epoch, payload::status(&sink.status())),
                Phase::Standby | Phase::Starting | Phase::Stopped => (0, Vec::new()),
            };
            FromWriter::State { phase: now.tag(), epoch, status: status.into() }
        };
        self.send(frame).await
    }

    /// Hands one submission to the engine, which answers it later; or answers it.
    fn submit(&self, phase: &Phase, item: Submission) {
        let Submission { number, kind, content } = item;
        let room = self.outbox.enter();
        self.door.0.in_flight.fetch_add(1, Ordering::AcqRel);
        let outbox = Arc::clone(&self.outbox);
        let answer = move |outcome: Outcome| outbox.push(number, outcome);
        if !room {
            answer(Outcome::Fault(EngineFault::Refused(SubmitError::Busy { retry_after_ms: 1_000 })));
            return;
        }
        let Phase::Serving { sink, .. } = phase else {
            answer(Outcome::Fault(EngineFault::Refused(SubmitError::Stopped)));
            return;
        };
        let refused = |error: SubmitError| self.outbox.push(number, Outcome::Fault(EngineFault::Refused(error)));
        let unread = |what: &str| {
            tracing::error!(what, "a submission of a gateway can't be read");
            refused(SubmitError::OutOfBounds("content"));
        };
        let taken = if kind == Kind::Lookup {
            let Ok(id) = payload::read_lookup(&content) else { return unread("a lookup") };
            let told = |found: Option<RecordedEvent>| Outcome::Found(found.map(Box::new));
            sink.try_lookup(id, Box::new(move |found| answer(found.map_or_else(Outcome::Fault, told))))
        } else {
            let commands = match payload::read_commands(&content) {
                Ok(commands) => commands,
                Err(error) => return unread(&error.to_string()),
            };
            let answers = |answered: Result<_, _>| answered.map_or_else(Outcome::Fault, Outcome::Answers);
            let previews = |previewed: Result<_, _>| previewed.map_or_else(Outcome::Fault, Outcome::Previews);
            match kind {
                Kind::Submit => sink.try_submit(commands, Box::new(move |found| answer(answers(found)))),
                Kind::SubmitLinked => sink.try_submit_linked(commands, Box::new(move |found| answer(answers(found)))),
                Kind::Preview => sink.try_preview(commands, Box::new(move |found| answer(previews(found)))),
                Kind::PreviewEach | Kind::Lookup => {
                    sink.try_preview_each(commands, Box::new(move |found| answer(previews(found))))
                }
            }
        };
        if let Err(error) = taken {
            refused(error);
        }
    }

    /// Sends what is ready.
    async fn reply(&self) -> Result<(), String> {
        let ready = self.outbox.take();
        let count = ready.len();
        let (mut group, mut bytes) = (Vec::with_capacity(count.min(4_096)), 0_usize);
        for (number, outcome) in ready {
            let content = Bytes::from(payload::outcome(&outcome));
            bytes = bytes.saturating_add(content.len());
            group.push(Reply { number, content });
            if bytes >= GROUP_BYTES {
                self.send(FromWriter::Replies(std::mem::take(&mut group))).await?;
                bytes = 0;
            }
        }
        if !group.is_empty() {
            self.send(FromWriter::Replies(group)).await?;
        }
        self.outbox.left(count);
        self.door.0.in_flight.fetch_sub(count, Ordering::AcqRel);
        Ok(())
    }
}
