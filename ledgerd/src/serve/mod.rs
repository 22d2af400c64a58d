//! The running server: opens the folder, starts the engine, the read models and the API, and ends them in the other
//! direction.
//!
//! ```text
//! open folder ─▶ keys ─▶ access log ─▶ engine (replays) ─▶ read-model runner, relay to Kafka ─▶ HTTP
//! end:  HTTP drains ─▶ payments stop between two steps ─▶ engine answers what waits ─▶ read models and relay catch up ─▶ folder closes
//! ```

mod access;
mod health;
mod http;
pub mod past;
mod place;
mod runner;
mod split;
mod standby;

use std::future::Future;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use commands_api::{ApiParts, ApiState, Budgets, Feeds};
use connectors::kafka::{KafkaSettings, Relay, RelayParts};
use event_schemas::{Epoch, Timestamp};
use ledger_core::engine::{AcceptClock, Engine, EngineOptions, EngineParts};
use ledger_core::ports::{Clock, CommandSink, Journal};
use stores::access_log::{AccessJournal, AccessLogOptions};
use stores::ids::RunIndex;
use stores::postgres::LeaseWatch;
use stores::rocks::RocksStore;
use stores::scrub::{Scrub, ScrubOptions};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, KeepReadModels, LogFormat};
use crate::keys::{self, Follower, Keys};
use crate::payments;
use crate::telemetry;
use health::{Health, RelayWatch};
use place::Place;
use runner::ReadModels;

/// `ledgerd serve`: binds, serves until SIGTERM or SIGINT, ends in order.
pub async fn command(config: Config, accept_clock: Option<(String, String)>) -> anyhow::Result<()> {
    let listener = bind(&config).await?;
    serve(config, accept_clock, listener, told_to_end()?).await
}

/// `ledgerd serve --read-only`: the same for a moment of the past; for the newest if none is named.
pub async fn read_only(config: Config, at: Option<past::Moment>) -> anyhow::Result<()> {
    let listener = bind(&config).await?;
    past::serve(config, at, listener, told_to_end()?).await
}

/// Ready once SIGTERM or SIGINT has come.
fn told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    })
}

fn bounds(config: &Config) -> http::Bounds {
    http::Bounds {
        max_connections: config.http.max_connections,
        head_timeout: Duration::from_secs(config.http.head_timeout_s),
        write_timeout: Duration::from_secs(config.http.write_timeout_s),
        drain_timeout: Duration::from_secs(config.http.drain_timeout_s),
    }
}

const fn budgets(config: &Config) -> Budgets {
    Budgets {
        rejections_burst: config.limits.rejections_burst,
        rejections_per_second: config.limits.rejections_per_second,
    }
}

/// Binds the address of a configuration.
pub async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.listen).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AddrInUse {
            let hint = "is another ledgerd running? Choose another address with --listen";
            return anyhow::anyhow!("{} is in use: {hint}", config.listen);
        }
        anyhow::anyhow!("{} can't be listened on: {error}", config.listen)
    })
}

/// Serves a book on a listener until `shutdown` is ready. Everything is durable when it returns.
pub async fn serve(
    config: Config,
    accept_clock: Option<(String, String)>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    if config.is_split() {
        return split::serve(config, accept_clock, listener, shutdown).await;
    }
    let started = Instant::now();
    // Before anything counts: a counter made earlier counts into nothing.
    let metrics = telemetry::metrics().map_err(anyhow::Error::msg)?;
    let address = listener.local_addr()?;
    let bus = config.kafka.settings()?;
    let opening = config.clone();
    let Opened { engine, read_models, access, reads, feeds, keys, lease, fresh } =
        tokio::task::spawn_blocking(move || open(&opening, accept_clock)).await??;
    let engine = Arc::new(engine);
    let sink: Arc<dyn CommandSink> = Arc::<Engine>::clone(&engine);
    let relay = start_relay(&config, bus, &feeds, &sink)?;
    let payments = payments::Service::start(&config.payments, keys.store(), Arc::clone(&sink), system_clock()).await?;
    let progress = read_models.as_ref().map(ReadModels::progress);
    // Without read models nothing is ever sent; the sender is gone, and queries say that there are none.
    let nothing = watch::channel(event_schemas::Sequence::ZERO).1;
    let (draining, is_draining) = watch::channel(false);
    let api = ApiState::new(ApiParts {
        book: config.book_id(),
        tenant: config.tenant.clone(),
        sink: Arc::clone(&sink),
        rows: read_models.as_ref().map(ReadModels::rows),
        progress: progress.clone().unwrap_or(nothing),
        feeds,
        draining: is_draining.clone(),
        keys: keys.ring(),
        budgets: budgets(&config),
        access: Some(Arc::new(access::Kept(Arc::clone(&access)))),
        access_rows: reads.as_ref().map(ReadModels::rows),
        quotes: crate::rates::quotes(&config)?,
        payments: payments.clone().map(|service| service as Arc<dyn commands_api::bill_payments::Payments>),
    });
    let follower = Follower::start(keys)?;
    let rates = crate::rates::start(&config, &sink, read_models.as_ref().map(ReadModels::rows), progress.clone())?;
    let scrub = match config.scrub.mib_per_second {
        0 => None,
        // Blocks on servers are the servers' to keep whole.
        _ if config.journal.url.is_some() => None,
        rate => Some(Scrub::start(
            &config.data,
            ScrubOptions {
                bytes_per_second: rate.saturating_mul(1024 * 1024),
                rest: Duration::from_secs(config.scrub.rest_s),
            },
        )?),
    };
    let health = Arc::new(Health {
        read_models: progress,
        runner_fault: read_models.as_ref().map(ReadModels::fault).unwrap_or_default(),
        max_lag_events: config.ready.max_lag_events,
        draining: is_draining,
        scrub: scrub.as_ref().map(Scrub::status),
        access: Some(Arc::clone(&access)),
        relay: relay.as_ref().map(|relay| Box::new(relay.watch()) as RelayWatch),
        ..Health::of_one_process(metrics, sink)
    });
    let router = commands_api::router(api).merge(health::router(health));

    tracing::info!(
        url = %format!("http://{address}"),
        data = %config.data.display(),
        sequence = engine.status().durable.0,
        replayed = engine.replayed().events,
        start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "serving"
    );
    if config.log.format == LogFormat::Pretty {
        greet(&config, address, fresh);
    }
    let mut overtaken = None;
    http::run(listener, router, bounds(&config), async {
        tokio::select! {
            () = shutdown => {}
            by = lost(lease) => overtaken = Some(by),
        }
        let _ = draining.send(true);
    })
    .await;

    drop(rates);
    if let Some(payments) = payments {
        payments.stop().await;
    }
    tokio::task::spawn_blocking(move || {
        drop(scrub);
        drop(follower);
        // Connections that did not end in time may hold it a little longer: what they recorded is written all the same.
        access.end();
        if let Some(reads) = reads {
            reads.end(access.status().durable);
        }
        engine.stop();
        let head = engine.status().durable;
        if let Some(read_models) = read_models {
            read_models.end(head);
        }
        if let Some(relay) = relay {
            relay.end(head);
        }
        tracing::info!(sequence = head.0, "stopped");
    })
    .await?;
    match overtaken {
        None => Ok(()),
        Some(by) => anyhow::bail!(
            "another writer has taken over this book (epoch {}): nothing more was written here. Start this one with \
             --standby if it is to wait for its turn",
            by.0
        ),
    }
}

/// Publishes the journal, if a cluster is named and this server is to do it.
fn start_relay(
    config: &Config,
    bus: Option<KafkaSettings>,
    feeds: &Feeds,
    sink: &Arc<dyn CommandSink>,
) -> anyhow::Result<Option<Relay>> {
    let Some(settings) = bus.filter(|_| config.relay.enabled) else { return Ok(None) };
    let sink = Arc::clone(sink);
    let head = Box::new(move || sink.status().durable);
    Ok(Some(Relay::start(RelayParts { settings, book: config.book_id(), feed: feeds(), head })?))
}

/// Is ready when another writer has taken over. Whoever asks then must be told by that one.
async fn lost(lease: Option<LeaseWatch>) -> Epoch {
    let Some(lease) = lease else { return std::future::pending().await };
    loop {
        if let Some(by) = lease.lost_to() {
            return by;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Opened {
    engine: Engine,
    read_models: Option<ReadModels>,
    access: Arc<AccessJournal>,
    /// The read model of the access log.
    reads: Option<ReadModels>,
    feeds: Feeds,
    keys: Arc<Keys>,
    /// Of a journal on servers: whether another writer has taken over.
    lease: Option<LeaseWatch>,
    /// Whether the folder was made now.
    fresh: bool,
}

/// Everything that waits for the disk.
fn open(config: &Config, accept_clock: Option<(String, String)>) -> anyhow::Result<Opened> {
    let Place { journal, ids, rocks, feed, feeds, notices, lease, fresh } = place::open(config)?;
    for notice in &notices {
        tracing::warn!("{notice}");
    }
    let keys = Arc::new(Keys::for_server(config)?);
    let access = open_access_log(config)?;
    let engine = start_engine(config, journal, ids, &rocks, accept_clock)?;
    let read_models = match config.read_models {
        KeepReadModels::On => Some(ReadModels::start(feed, rocks.clone(), projections::all)?),
        KeepReadModels::Postgres => {
            let rows = place::rows_in_postgres(config, &feeds, engine.status().durable)?;
            Some(ReadModels::start(feed, rows, projections::all)?)
        }
        KeepReadModels::Off => None,
    };
    // The access log is this server's own, and so is its read model.
    let reads = match config.read_models {
        KeepReadModels::On | KeepReadModels::Postgres => {
            Some(ReadModels::start(access.feed(), rocks, access::read_models)?)
        }
        KeepReadModels::Off => None,
    };
    Ok(Opened { engine, read_models, access: Arc::new(access), reads, feeds, keys, lease, fresh })
}

/// The access log, which lies in the data folder wherever the book's journal is.
fn open_access_log(config: &Config) -> anyhow::Result<AccessJournal> {
    let mut options = AccessLogOptions::new(config.book_id(), nonce()?, system_clock());
    if let Some(bytes) = config.journal.segment_bytes {
        options.segment_bytes = options.segment_bytes.min(bytes);
    }
    let access = AccessJournal::open(&config.data, options)?;
    for notice in access.notices() {
        tracing::warn!("the access log: {notice}");
    }
    Ok(access)
}

fn start_engine(
    config: &Config,
    journal: Box<dyn Journal>,
    ids: RunIndex,
    rocks: &RocksStore,
    accept_clock: Option<(String, String)>,
) -> anyhow::Result<Engine> {
    Ok(Engine::start(EngineParts {
        journal,
        ids: Box::new(ids),
        checkpoints: Arc::new(rocks.clone()),
        clock: system_clock(),
        options: EngineOptions {
            book: config.book_id(),
            nonce: nonce()?,
            accept_clock: accept_clock.map(|(actor, reason)| AcceptClock { actor, reason }),
            ..EngineOptions::default()
        },
    })?)
}

/// Random bits, by which a book or a log that is opened for the first time is told from others.
pub(crate) fn nonce() -> anyhow::Result<u128> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(u128::from_be_bytes(bits))
}

/// Makes the data folder, if it is not there, for its owner alone: the journal holds everybody's money and texts. A folder
/// that is there keeps its mode, so that an operator may let a group of analysts in.
pub(crate) fn make_private(folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(above)?;
    std::fs::DirBuilder::new().mode(0o700).create(folder)?;
    std::fs::File::open(above)?.sync_all()
}

/// The machine's clocks.
pub(crate) fn system_clock() -> Clock {
    let start = Instant::now();
    Clock {
        wall: Arc::new(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
        }),
        monotonic_us: Arc::new(move || i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX)),
    }
}

/// A few lines for whoever started it by hand.
fn greet(config: &Config, address: std::net::SocketAddr, fresh: bool) {
    eprintln!("\nDoppia serves book {} at http://{address}", config.book);
    eprintln!("  data       {}{}", config.data.display(), if fresh { " (made now)" } else { "" });
    eprintln!("  API        http://{address}/docs");
    let key = keys::admin_key_path(&config.data);
    if key.exists() {
        eprintln!("  admin key  {}", key.display());
    }
    if config.read_models == KeepReadModels::Off {
        eprintln!("  read models are off: queries of balances answer 503");
    }
    eprintln!("  end it with Ctrl-C\n");
}
