//! The writer: waits for its turn, replays, and takes gateways in.

use std::sync::{Arc, OnceLock};

use commands_api::grpc::{Phase, WriterDoor};
use event_schemas::{Command, CommandId, Sequence};
use ledger_core::engine::Engine;
use ledger_core::ports::{CommandSink, EngineStatus, LookupReply, PreviewReply, Reply, SubmitError, WriterState};
use stores::postgres::LeaseWatch;
use stores::rocks::RocksStore;
use tokio::sync::oneshot;

use super::journal::Durable;
use super::{Opening, Standing};
use crate::config::Config;
use crate::keys::Keys;
use crate::roles::Role;
use crate::serve::place::{self, Place};
use crate::serve::start_engine;

/// A writer at work.
pub(super) struct Writing {
    pub(super) engine: Arc<Engine>,
    pub(super) lease: Option<LeaseWatch>,
    pub(super) epoch: u64,
    pub(super) rocks: RocksStore,
    pub(super) keys: Arc<Keys>,
}

/// Opens the journal on a thread of its own, which a process that is told to end does not wait for: a standby may wait for months.
pub(super) fn open(
    config: Config,
    accept_clock: Option<(String, String)>,
    door: Option<WriterDoor>,
    standing: Standing,
) -> Opening {
    let (sender, receiver) = oneshot::channel();
    let text = if config.journal.standby { "standing by for its turn" } else { "taking the lease" };
    standing.waits(Role::Writer, Some(text.into()));
    let opening = move || {
        let opened = try_open(&config, accept_clock, door.as_ref(), &standing);
        if opened.is_ok() {
            standing.waits(Role::Writer, None);
        }
        let _ = sender.send(opened);
    };
    if let Err(error) = std::thread::Builder::new().name("opening".into()).spawn(opening) {
        tracing::error!(%error, "no thread can be made");
    }
    receiver
}

fn try_open(
    config: &Config,
    accept_clock: Option<(String, String)>,
    door: Option<&WriterDoor>,
    standing: &Standing,
) -> anyhow::Result<Writing> {
    let Place { journal, ids, rocks, notices, lease, .. } = place::open(config)?;
    for notice in &notices {
        tracing::warn!("{notice}");
    }
    standing.waits(Role::Writer, Some("replaying the journal".into()));
    if let Some(door) = door {
        door.set(Phase::Starting);
    }
    let epoch = journal.epoch().0;
    let keys = Arc::new(Keys::for_server(config)?);
    let engine = Arc::new(start_engine(config, journal, ids, &rocks, accept_clock)?);
    if let Some(door) = door {
        let sink = Arc::<Engine>::clone(&engine);
        door.set(Phase::Serving { sink, epoch });
    }
    Ok(Writing { engine, lease, epoch, rocks, keys })
}

/// The engine of this process, once there is one; until then, how far the journal is.
pub(super) struct Late {
    engine: OnceLock<Arc<Engine>>,
    durable: Durable,
}

impl Late {
    pub(super) fn new(durable: Durable) -> Self {
        Self { engine: OnceLock::new(), durable }
    }

    pub(super) fn set(&self, writing: &Writing) {
        let _ = self.engine.set(Arc::clone(&writing.engine));
    }

    fn engine(&self) -> Result<&Engine, SubmitError> {
        self.engine.get().map(|engine| &**engine).ok_or(SubmitError::NoWriter)
    }
}

impl CommandSink for Late {
    fn try_submit(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        self.engine()?.try_submit(commands, reply)
    }

    fn try_submit_linked(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError> {
        self.engine()?.try_submit_linked(commands, reply)
    }

    fn try_preview(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        self.engine()?.try_preview(commands, reply)
    }

    fn try_preview_each(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError> {
        self.engine()?.try_preview_each(commands, reply)
    }

    fn try_lookup(&self, id: CommandId, reply: LookupReply) -> Result<(), SubmitError> {
        self.engine()?.try_lookup(id, reply)
    }

    fn status(&self) -> EngineStatus {
        match self.engine.get() {
            Some(engine) => engine.status(),
            None => EngineStatus {
                // Whether there is a writer is not for this process to say.
                writer: WriterState::Serving,
                reason: String::new(),
                durable: (self.durable)(),
                queued: 0,
                accepted_total: 0,
                rejected_total: 0,
                replayed_total: 0,
                flushes_total: 0,
                appended_bytes_total: 0,
                checkpoint: Sequence::ZERO,
            },
        }
    }
}
