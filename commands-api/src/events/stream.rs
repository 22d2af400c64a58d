//! The stream: server-sent events (HTML standard, 9.2), made by one task for each connection.
//!
//! ```text
//! journal ─▶ scan on a blocking thread, 64 KiB at a time ─▶ channel of two chunks ─▶ connection
//! ```
//!
//! A client that does not read stops its own task and nobody else's: the task waits for room in the channel, with at most
//! three chunks made. Everything is looked at again while the stream lasts: whether the key is still good, whether the server
//! is stopping, whether the client is there.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use event_schemas::bounds::{
    EVENT_CHUNK_FULL_BYTES, EVENT_SCAN_MAX, EVENT_STREAMS_MAX, EVENT_STREAMS_PER_PRINCIPAL_MAX,
};
use event_schemas::{PrincipalId, Sequence};
use futures_core::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::scan::{Bounds, Filter, Scanned, scan};
use crate::auth::authenticate;
use crate::call::{Call, Outcome};
use crate::policy::{Action, permit};
use crate::problem::{Code, Problem};

/// How many chunks wait for the connection.
const CHUNKS_WAITING: usize = 2;
/// How often a stream without events says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often a stream looks for more on its own; mostly it is woken.
const LOOK: Duration = Duration::from_millis(100);
/// How long a revoked key goes on at most.
const KEY_CHECK: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells a proxy not to collect what should go on at once.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How many streams are open, by principal.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashMap<PrincipalId, usize>>);

/// The place of one stream.
#[derive(Debug)]
struct Seat {
    streams: Arc<Streams>,
    principal: PrincipalId,
}

impl Streams {
    fn take(self: &Arc<Self>, principal: PrincipalId) -> Result<Seat, Problem> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&principal).copied().unwrap_or(0);
        if all >= EVENT_STREAMS_MAX || own >= EVENT_STREAMS_PER_PRINCIPAL_MAX {
            return Err(Problem::new(Code::TooManyStreams).with_retry_after(5));
        }
        open.insert(principal, own + 1);
        Ok(Seat { streams: Arc::clone(self), principal })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.principal) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(open.remove(&self.principal)),
        }
    }
}

/// The event that a client received last.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<Sequence>, Problem> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let sequence = value.to_str().ok().filter(digits).and_then(|text| text.parse().ok());
    match (sequence, values.next()) {
        (Some(sequence), None) => Ok(Some(Sequence(sequence))),
        _ => Err(Problem::detailed(Code::QueryInvalid, "Last-Event-ID must be the id of one event")),
    }
}

/// The chunks of a stream, as the body of its answer.
struct Chunks(mpsc::Receiver<Bytes>);

impl Stream for Chunks {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

/// Opens the stream and answers with it.
pub(super) fn open(call: Call, filter: Filter, after: Sequence) -> Outcome {
    let seat = call.state.streams.take(call.principal.id)?;
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    tokio::spawn(async move {
        follow(&call, filter, after, &sender).await;
        drop(seat);
    });
    let mut response = Response::new(Body::from_stream(Chunks(receiver)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(NO_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// Sends events until there is a reason to end.
async fn follow(call: &Call, filter: Filter, mut after: Sequence, sender: &mpsc::Sender<Bytes>) {
    let state = &*call.state;
    let (mut draining, mut progress) = (state.draining.clone(), Some(state.progress.clone()));
    let mut feed = (state.feeds)();
    // The client learns at once that it is connected.
    let mut chunk = Bytes::from_static(b": the stream begins\n\n");
    let mut key_checked = Instant::now();
    loop {
        if !chunk.is_empty() && sender.send(std::mem::take(&mut chunk)).await.is_err() {
            return;
        }
        let sent = Instant::now();
        // The head can't be waited for, so it is looked at; the read models, which follow it closely, wake.
        let durable = loop {
            if *draining.borrow() || sender.is_closed() {
                return;
            }
            if key_checked.elapsed() >= KEY_CHECK {
                if !is_permitted(call) {
                    tracing::info!(principal = %call.principal.id, "a stream of events ended with its key");
                    return;
                }
                key_checked = Instant::now();
            }
            let durable = state.sink.status().durable;
            if after < durable {
                break durable;
            }
            if sent.elapsed() >= KEEP_ALIVE {
                break after;
            }
            tokio::select! {
                () = grown(&mut progress) => {}
                () = tokio::time::sleep(LOOK) => {}
                () = ended(&mut draining) => return,
                () = sender.closed() => return,
            }
        };
        if durable == after {
            chunk = Bytes::from_static(b": nothing new\n\n");
            continue;
        }
        let bounds = Bounds { events: usize::MAX, bytes: EVENT_CHUNK_FULL_BYTES, scanned: EVENT_SCAN_MAX };
        let by = filter.clone();
        let task = tokio::task::spawn_blocking(move || {
            let found = scan(&mut *feed, after, durable, &by, bounds);
            (feed, found)
        });
        let Ok((returned, Ok(found))) = task.await else {
            // The fault is in the log. The client comes back with the id it has.
            return;
        };
        feed = returned;
        after = found.through;
        chunk = frames(&found).into();
    }
}

/// Waits until the read models have applied more; for ever if there are none.
async fn grown(progress: &mut Option<watch::Receiver<Sequence>>) {
    if let Some(following) = progress {
        if following.changed().await.is_ok() {
            return;
        }
        *progress = None;
    }
    std::future::pending::<()>().await;
}

/// Waits until the server is about to end; for ever if nobody will say so.
async fn ended(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether the key would still open this stream.
fn is_permitted(call: &Call) -> bool {
    authenticate(&call.headers, &call.state.keys)
        .is_ok_and(|principal| principal.id == call.principal.id && permit(&principal, Action::ReadEvents).is_ok())
}

/// Events as the protocol writes them. JSON has no line breaks, so each is one line of data.
fn frames(found: &Scanned) -> String {
    let mut text = String::new();
    for event in &found.events {
        // Writing to a string can't fail.
        let _ = write!(text, "id: {}\nevent: {}\ndata: {}\n\n", event.sequence, event.type_name, event.json.get());
    }
    text
}
