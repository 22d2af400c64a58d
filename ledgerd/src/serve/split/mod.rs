//! A process with some of the roles. The others are elsewhere: gateways reach the writer over gRPC, projectors and relays read the
//! journal, everybody reads what projectors wrote.
//!
//! ```text
//! writer     gRPC door ─▶ take the lease (or stand by) ─▶ engine replays ─▶ the door says "serving"
//! api        streams to the writers · read models in PostgreSQL, their checkpoint polled · the journal without lease · HTTP
//! projector  take the lead (or wait) ─▶ follow the journal
//! relay      follow the journal
//! ```
//!
//! Whatever it waits for, a process tells so at `/readyz` from its first moment on. A writer that lost its lease, or whose engine has
//! stopped, ends: whoever stands by goes on, and whoever looks after processes starts it again.
//!
//! `journal.rs` the journal without its lease · `writer.rs` the writer · `gateway.rs` the API without the engine · `projector.rs`

mod gateway;
mod journal;
mod projector;
mod writer;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use commands_api::grpc::{DoorOptions, PROTOCOL, Phase, WriterDoor};
use connectors::kafka::{Relay, RelayParts};
use event_schemas::Epoch;
use ledger_core::ports::{CommandSink, WriterState};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::health::{self, Health, RelayWatch};
use super::{bounds, http};
use crate::config::{Config, KeepReadModels};
use crate::roles::Role;
use crate::telemetry;
use gateway::Api;
use journal::{HeadWatch, Readers};
use projector::Projector;
use writer::{Late, Writing};

/// How often a writer looks whether it is still one.
const LOOK: Duration = Duration::from_millis(100);

/// What a process waits for, by role.
#[derive(Clone, Default)]
pub(super) struct Standing(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Standing {
    fn waits(&self, role: Role, what: Option<String>) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Some(what) => standing.insert(role.name(), what),
            None => standing.remove(role.name()),
        };
    }

    fn told(&self) -> Vec<String> {
        let standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        standing.iter().map(|(role, what)| format!("{role}: {what}")).collect()
    }
}

/// Why a process ends.
enum End {
    /// It was told to.
    Told,
    /// Another writer has taken over.
    Overtaken(Epoch),
    /// The engine has stopped for this reason.
    Stopped(String),
}

/// Binds the address for gateways, if there is one.
async fn door(config: &Config, readers: &Readers) -> anyhow::Result<Option<(WriterDoor, TcpListener)>> {
    let Some(address) = config.cluster.grpc_listen else { return Ok(None) };
    let secret = config.cluster.secret()?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("{address} can't be listened on for gateways: {error}"))?;
    let options = DoorOptions { book: config.book_id(), secret, origin: readers.origin(), protocol: PROTOCOL };
    Ok(Some((WriterDoor::new(options), listener)))
}

/// Serves the roles of a configuration until `shutdown` is ready. What was acknowledged is durable when it returns.
pub(super) async fn serve(
    config: Config,
    accept_clock: Option<(String, String)>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let metrics = telemetry::metrics().map_err(anyhow::Error::msg)?;
    let address = listener.local_addr()?;
    let roles = config.roles.clone();
    let bus = config.kafka.settings()?;
    let readers = Readers::of(&config)?;
    let standing = Standing::default();
    let (door, grpc) = match door(&config, &readers).await? {
        Some((door, listener)) => {
            let at = listener.local_addr()?;
            let (served, door_of_task) = (door.clone(), door);
            let task = tokio::spawn(async move {
                if let Err(reason) = served.serve(listener).await {
                    tracing::error!(%reason, "ALARM: no gateway is let in any more");
                }
            });
            (Some((door_of_task, task)), Some(at))
        }
        None => (None, None),
    };
    tracing::info!(
        url = %format!("http://{address}"),
        grpc = grpc.map(|grpc| format!("http://{grpc}")).unwrap_or_default(),
        roles = %roles,
        "listening"
    );

    let head = HeadWatch::start(&readers)?;
    let late = Arc::new(Late::new(head.sequence()));
    let mut opening = roles.has(Role::Writer).then(|| {
        let door = door.as_ref().map(|(door, _)| door.clone());
        writer::open(config.clone(), accept_clock, door, standing.clone())
    });
    let mut shutdown = std::pin::pin!(shutdown);

    // With the API in the same process, requests come once the engine is there.
    let mut writing = None;
    if roles.has(Role::Api)
        && let Some(opened) = &mut opening
    {
        tokio::select! {
            opened = opened => writing = Some(opened??),
            () = &mut shutdown => return Ok(()),
        }
        opening = None;
    }
    let (draining, is_draining) = watch::channel(false);
    let api = if roles.has(Role::Api) {
        Some(Api::start(&config, &readers, writing.as_ref(), head.sequence(), &is_draining).await?)
    } else {
        None
    };
    let projector =
        roles.has(Role::Projector).then(|| Projector::start(&config, &readers, standing.clone())).transpose()?;
    if let Some(writing) = &writing {
        late.set(writing);
        tell_serving(address, &roles.to_string(), writing, started);
    }
    let sink: Arc<dyn CommandSink> = match api.as_ref().and_then(Api::gateway) {
        Some(gateway) => gateway,
        None => Arc::<Late>::clone(&late),
    };
    let relay = match bus.filter(|_| roles.has(Role::Relay) && config.relay.enabled) {
        Some(settings) => {
            let durable = head.sequence();
            let head = Box::new(move || durable());
            Some(Relay::start(RelayParts { settings, book: config.book_id(), feed: (readers.feeds)(), head })?)
        }
        None => None,
    };

    let health = Arc::new(Health {
        sink,
        past: None,
        read_models: projector.as_ref().map(Projector::progress).or_else(|| api.as_ref().and_then(Api::progress)),
        runner_fault: match (&projector, &api) {
            (Some(projector), _) => projector.fault(),
            (None, Some(api)) => api.fault(),
            (None, None) => Arc::default(),
        },
        max_lag_events: config.ready.max_lag_events,
        draining: is_draining.clone(),
        metrics,
        scrub: None,
        access: api.as_ref().map(Api::access),
        relay: relay.as_ref().map(|relay| Box::new(relay.watch()) as RelayWatch),
        roles: roles.names(),
        waits: {
            let standing = standing.clone();
            Box::new(move || standing.told())
        },
        writers: api.as_ref().and_then(Api::writers),
        gateways: door.as_ref().map(|(door, _)| {
            let door = door.clone();
            Box::new(move || door.gateways()) as health::Count
        }),
    });
    let mut router = health::router(health);
    if let Some(api) = &api {
        router = commands_api::router(api.state()).merge(router);
    }
    let mut ends = is_draining.clone();
    let http = tokio::spawn(http::run(listener, router, bounds(&config), async move {
        let _ = ends.wait_for(|draining| *draining).await;
    }));
    if !roles.has(Role::Writer) {
        tracing::info!(
            url = %format!("http://{address}"),
            roles = %roles,
            start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "serving"
        );
    }

    let mut failed = None;
    let end = loop {
        tokio::select! {
            () = &mut shutdown => break End::Told,
            opened = next(&mut opening) => {
                opening = None;
                match opened {
                    Ok(opened) => {
                        late.set(&opened);
                        tell_serving(address, &roles.to_string(), &opened, started);
                        writing = Some(opened);
                    }
                    Err(error) => {
                        failed = Some(error);
                        break End::Told;
                    }
                }
            }
            end = watched(writing.as_ref()) => break end,
        }
    };
    let _ = draining.send(true);
    if let Some((door, _)) = &door {
        door.set(Phase::Stopped);
    }
    if http.await.is_err() {
        tracing::error!("the task of the API panicked");
    }
    let engine = writing.map(|writing| writing.engine);
    if let Some(engine) = engine.clone() {
        tokio::task::spawn_blocking(move || engine.stop()).await?;
    }
    if let Some((door, task)) = door {
        door.leave().await;
        task.abort();
    }
    if let Some(gateway) = api.as_ref().and_then(Api::gateway) {
        gateway.end();
    }
    let durable = engine.map(|engine| engine.status().durable);
    tokio::task::spawn_blocking(move || {
        if let Some(api) = api {
            api.end();
        }
        if let Some(projector) = projector {
            projector.end(durable);
        }
        if let Some(relay) = relay {
            relay.end(durable.unwrap_or_default());
        }
        head.end();
    })
    .await?;
    tracing::info!(roles = %roles, "stopped");
    if let Some(error) = failed {
        return Err(error);
    }
    match end {
        End::Told => Ok(()),
        End::Overtaken(by) => anyhow::bail!(
            "another writer has taken over this book (epoch {}): nothing more was written here. Start this one with \
             --standby if it is to wait for its turn",
            by.0
        ),
        End::Stopped(reason) => {
            anyhow::bail!("the writer has stopped: {reason}. Start it again: it replays what is durable")
        }
    }
}

fn tell_serving(address: std::net::SocketAddr, roles: &str, writing: &Writing, started: Instant) {
    tracing::info!(
        url = %format!("http://{address}"),
        roles,
        epoch = writing.epoch,
        sequence = writing.engine.status().durable.0,
        replayed = writing.engine.replayed().events,
        start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "serving"
    );
}

type Opening = oneshot::Receiver<anyhow::Result<Writing>>;

/// The writer, once it is open.
async fn next(opening: &mut Option<Opening>) -> anyhow::Result<Writing> {
    match opening {
        Some(opening) => opening.await.unwrap_or_else(|_| Err(anyhow::anyhow!("opening the journal panicked"))),
        None => std::future::pending().await,
    }
}

/// Is ready when a writer is none any more.
async fn watched(writing: Option<&Writing>) -> End {
    let Some(writing) = writing else { return std::future::pending().await };
    loop {
        if let Some(by) = writing.lease.as_ref().and_then(stores::postgres::LeaseWatch::lost_to) {
            return End::Overtaken(by);
        }
        let status = writing.engine.status();
        if status.writer == WriterState::Stopped {
            // Whether it was overtaken is known a moment later.
            tokio::time::sleep(LOOK).await;
            return match writing.lease.as_ref().and_then(stores::postgres::LeaseWatch::lost_to) {
                Some(by) => End::Overtaken(by),
                None => End::Stopped(status.reason),
            };
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether this process reads read models that a projector keeps.
fn reads_rows(config: &Config) -> bool {
    config.read_models == KeepReadModels::Postgres
}
