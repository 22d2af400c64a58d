//! The API: over the engine of this process, or over writers elsewhere. Read models are a projector's, wherever that runs; the access
//! log is this process's own, in its data folder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use commands_api::grpc::{Gateway, GatewayOptions, PROTOCOL};
use commands_api::{ApiParts, ApiState};
use event_schemas::Sequence;
use ledger_core::engine::Engine;
use ledger_core::ports::{CommandSink, WriterState};
use projections::ports::Rows;
use stores::access_log::AccessJournal;
use stores::embedded::FolderLock;
use stores::postgres::PostgresRows;
use stores::rocks::RocksStore;
use tokio::sync::watch;

use super::journal::{Durable, Readers};
use super::reads_rows;
use super::writer::Writing;
use crate::config::{Config, KeepReadModels};
use crate::keys::{Follower, Keys};
use crate::serve::health::WritersWatch;
use crate::serve::runner::ReadModels;
use crate::serve::{access, budgets, open_access_log, place};

/// How often the checkpoint of the read models is looked at: while it moves, and otherwise.
const LOOK: Duration = Duration::from_millis(10);
const LOOK_IDLE: Duration = Duration::from_millis(25);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long a gateway that starts looks for the writer before it takes requests.
const FIND_WITHIN: Duration = Duration::from_millis(1_500);

/// What a gateway has of its own.
pub(super) struct Api {
    state: ApiState,
    gateway: Option<Arc<Gateway>>,
    access: Arc<AccessJournal>,
    /// The read model of the access log.
    reads: Option<ReadModels>,
    follower: Follower,
    progress: Option<Progress>,
    /// Publishes rate sheets, where sources are named.
    rates: Option<crate::rates::RatesLoop>,
    /// Nobody else opens the folder meanwhile.
    _lock: Option<FolderLock>,
}

/// What waits for servers while a gateway starts.
struct Opened {
    access: Arc<AccessJournal>,
    reads: Option<ReadModels>,
    rows: Option<PostgresRows>,
    keys: Arc<Keys>,
    lock: Option<FolderLock>,
}

fn open(config: &Config, beside: Option<(RocksStore, Arc<Keys>)>) -> anyhow::Result<Opened> {
    let (rocks, keys, lock) = if let Some((rocks, keys)) = beside {
        (rocks, keys, None)
    } else {
        let (rocks, lock, notices) = place::local(config)?.into_rocks();
        for notice in notices {
            tracing::warn!("{notice}");
        }
        (rocks, Arc::new(Keys::open(config)?), Some(lock))
    };
    let access = Arc::new(open_access_log(config)?);
    let rows = if reads_rows(config) {
        let url = config.database().context("no database for read models is named")?;
        Some(PostgresRows::join(&url, config.book_id())?)
    } else {
        None
    };
    let reads = match config.read_models {
        KeepReadModels::Off => None,
        KeepReadModels::On | KeepReadModels::Postgres => {
            Some(ReadModels::start(access.feed(), rocks, access::read_models)?)
        }
    };
    Ok(Opened { access, reads, rows, keys, lock })
}

impl Api {
    pub(super) async fn start(
        config: &Config,
        readers: &Readers,
        writing: Option<&Writing>,
        durable: Durable,
        draining: &watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let opening = config.clone();
        let beside = writing.map(|writing| (writing.rocks.clone(), Arc::clone(&writing.keys)));
        // A gateway without a secret does not get as far as asking servers.
        let secret = if writing.is_none() { Some(config.cluster.secret()?) } else { None };
        let Opened { access, reads, rows, keys, lock } =
            tokio::task::spawn_blocking(move || open(&opening, beside)).await??;
        let gateway = match secret {
            None => None,
            Some(secret) => {
                let options = GatewayOptions {
                    book: config.book_id(),
                    writers: config.cluster.writers(),
                    secret,
                    origin: readers.origin(),
                    name: place::holder(),
                    give_up: GatewayOptions::GIVE_UP,
                    protocol: PROTOCOL,
                };
                Some(Arc::new(Gateway::start(options).map_err(anyhow::Error::msg)?))
            }
        };
        // A writer that is there is found before the first request comes; one that is not is not waited for.
        let until = Instant::now() + FIND_WITHIN;
        while let Some(gateway) = &gateway
            && gateway.status().writer == WriterState::Stopped
            && Instant::now() < until
        {
            tokio::time::sleep(LOOK).await;
        }
        let sink: Arc<dyn CommandSink> = match (&gateway, writing) {
            (Some(gateway), _) => Arc::<Gateway>::clone(gateway),
            (None, Some(writing)) => Arc::<Engine>::clone(&writing.engine),
            (None, None) => anyhow::bail!("api has neither a writer nor a way to one"),
        };
        let progress = rows.clone().map(|rows| Progress::start(rows, gateway.clone(), durable)).transpose()?;
        let nothing = watch::channel(Sequence::ZERO).1;
        let rows = rows.map(|rows| Arc::new(rows) as Arc<dyn Rows>);
        // A quote of one gateway is good at all others only if they share the keys.
        let quotes = match config.rates.quote_keys_file {
            Some(_) => crate::rates::quotes(config)?,
            None => None,
        };
        let reached = progress.as_ref().map(|progress| progress.reached.clone());
        let rates = crate::rates::start(config, &sink, rows.clone(), reached)?;
        let state = ApiState::new(ApiParts {
            book: config.book_id(),
            tenant: config.tenant.clone(),
            sink,
            rows,
            progress: progress.as_ref().map_or(nothing, |progress| progress.reached.clone()),
            feeds: Arc::clone(&readers.feeds),
            draining: draining.clone(),
            keys: keys.ring(),
            budgets: budgets(config),
            access: Some(Arc::new(access::Kept(Arc::clone(&access)))),
            access_rows: reads.as_ref().map(ReadModels::rows),
            quotes,
            // Whoever carries payments on does so in a process that has all roles.
            payments: None,
        });
        let follower = Follower::start(keys)?;
        Ok(Self { state, gateway, access, reads, follower, progress, rates, _lock: lock })
    }

    pub(super) fn state(&self) -> ApiState {
        self.state.clone()
    }

    pub(super) fn gateway(&self) -> Option<Arc<Gateway>> {
        self.gateway.clone()
    }

    pub(super) fn access(&self) -> Arc<AccessJournal> {
        Arc::clone(&self.access)
    }

    pub(super) fn progress(&self) -> Option<watch::Receiver<Sequence>> {
        self.progress.as_ref().map(|progress| progress.reached.clone())
    }

    pub(super) fn fault(&self) -> Arc<Mutex<Option<String>>> {
        self.progress.as_ref().map(|progress| Arc::clone(&progress.fault)).unwrap_or_default()
    }

    pub(super) fn writers(&self) -> Option<WritersWatch> {
        let gateway = self.gateway.clone()?;
        Some(Box::new(move || gateway.writers()))
    }

    pub(super) fn end(self) {
        drop(self.rates);
        drop(self.follower);
        self.access.end();
        if let Some(reads) = self.reads {
            reads.end(self.access.status().durable);
        }
        if let Some(progress) = self.progress {
            progress.end();
        }
    }
}

/// A thread that looks how far the read models are.
struct Progress {
    reached: watch::Receiver<Sequence>,
    fault: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Progress {
    fn start(rows: PostgresRows, gateway: Option<Arc<Gateway>>, durable: Durable) -> anyhow::Result<Self> {
        let (sender, reached) = watch::channel(Sequence::ZERO);
        let (fault, stop) = (Arc::<Mutex<Option<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let (told, stopping) = (Arc::clone(&fault), Arc::clone(&stop));
        let set = move |fault| *told.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        let look = move || {
            while !stopping.load(Ordering::Relaxed) {
                let wait = match rows.applied_through() {
                    Ok(applied) => {
                        let moved = sender.send_if_modified(|known| std::mem::replace(known, applied) != applied);
                        if let Some(gateway) = &gateway {
                            gateway.note_durable(applied.max(durable()));
                        }
                        set(None);
                        if moved { LOOK } else { LOOK_IDLE }
                    }
                    Err(fault) => {
                        set(Some(fault.to_string()));
                        LOOK_AGAIN
                    }
                };
                std::thread::park_timeout(wait);
            }
        };
        let thread = std::thread::Builder::new().name("progress".into()).spawn(look)?;
        Ok(Self { reached, fault, stop, thread })
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        drop(self.thread);
    }
}
