//! HTTP/1.1 in front of a router: bounded connections, a time limit for the head of a request and for a client that does not
//! read its answers, keep-alive, and an orderly end. `axum::serve` has no such bounds, so this speaks to hyper itself.
//!
//! hyper's `pipeline_flush` stays off: with it, a client that sends requests and reads no answers makes the server keep all
//! of them in memory, without bound, and the answer to a malformed head is never written.

mod patience;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use patience::Patient;

/// What bounds the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The most connections; more wait in the system's queue.
    pub(crate) max_connections: usize,
    /// For the head of a request; an idle connection is closed after it, too.
    pub(crate) head_timeout: Duration,
    /// How long a client may take none of an answer that is ready, before its connection is closed.
    pub(crate) write_timeout: Duration,
    /// For requests under way at the end.
    pub(crate) drain_timeout: Duration,
}

/// Serves until `shutdown` is ready, then ends the requests under way.
pub(crate) async fn run(listener: TcpListener, router: Router, bounds: Bounds, shutdown: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(bounds.max_connections));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head_timeout).max_buf_size(64 * 1024);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        let (slot, stream) = match tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        } {
            (slot, Ok((stream, _))) => (slot, stream),
            (_, Err(error)) => {
                // Out of file descriptors, or a client that left at once: neither is a reason to stop serving.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Without it, small answers wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let stream = Patient::new(stream, bounds.write_timeout);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(bounds.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the time to end them was over");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    const BODY_BYTES: usize = 64 * 1024;

    /// A server with one slot whose only route answers 64 KiB, and how often it did.
    async fn serving() -> (std::net::SocketAddr, Arc<AtomicUsize>, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&answered);
        let router = Router::new().route(
            "/",
            get(move || {
                count.fetch_add(1, Ordering::Relaxed);
                async { vec![b'x'; BODY_BYTES] }
            }),
        );
        let bounds = Bounds {
            max_connections: 1,
            head_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_millis(300),
            drain_timeout: Duration::ZERO,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(run(listener, router, bounds, async {
            let _ = stopped.await;
        }));
        (address, answered, stop)
    }

    #[tokio::test]
    async fn who_reads_no_answers_gets_few_and_loses_the_connection() {
        const ASKED: usize = 2_000;
        let (address, answered, _stop) = serving().await;
        let mut greedy = TcpStream::connect(address).await.unwrap();
        let requests = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(ASKED);
        // The server takes no more than fits its buffers, or hangs up on the way.
        let _ = tokio::time::timeout(Duration::from_millis(200), greedy.write_all(&requests)).await;
        // There is one slot: the second client is answered once the first has lost it.
        let mut patient = TcpStream::connect(address).await.unwrap();
        patient.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        patient.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() > BODY_BYTES);
        // The system's buffers take some answers, the server's one more; the rest was never made.
        assert!(answered.load(Ordering::Relaxed) < ASKED / 4, "{answered:?} answers were made for nobody");
    }

    #[tokio::test]
    async fn what_is_no_request_is_told_so() {
        let (address, _, _stop) = serving().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GARBAGE\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
}
