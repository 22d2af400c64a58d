//! HTTP/1.1 in front of a router: bounded connections, a time limit for the head of a request, keep-alive, and an orderly
//! end. `axum::serve` has no such bounds, so this speaks to hyper itself.

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

/// What bounds the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The most connections; more wait in the system's queue.
    pub(crate) max_connections: usize,
    /// For the head of a request; an idle connection is closed after it, too.
    pub(crate) head_timeout: Duration,
    /// For requests under way at the end.
    pub(crate) drain_timeout: Duration,
}

/// Serves until `shutdown` is ready, then ends the requests under way.
pub(crate) async fn run(listener: TcpListener, router: Router, bounds: Bounds, shutdown: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(bounds.max_connections));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head_timeout).pipeline_flush(true).max_buf_size(64 * 1024);
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
