//! API keys of a running server and of `ledgerd key`: issued, rotated and revoked as facts of the control plane, and followed.
//!
//! Who changes keys here (a start that makes the first one, or `ledgerd key` beside a server) sees the change at once; every
//! server looks at the tail of the facts several times a second. A server that can't look for [`BLIND_MAX`] lets nobody in,
//! and damage lets nobody in at once: whoever was revoked there must not get in.
//!
//! `cli.rs` what can be typed · `first.rs` the first admin key · `old_file.rs` keys of older releases taken over.

mod cli;
mod first;
mod old_file;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use commands_api::{ApiSecret, KeyDirectory, KeyFault, KeyRecord, KeyRing, Scope};
use event_schemas::Timestamp;
use event_schemas::control::Holder;
use ledger_core::control::api_keys::{Act, KeyCommand, KeyHolder, KeyRejection};
use stores::control::{ControlFault, ControlOptions, ControlPosition, ControlStore, ExecuteFault};

use crate::config::Config;

pub use cli::{KeyArgs, run};
pub use first::admin_key_path;
pub(crate) use old_file::ring as old_ring;

/// How often a server looks whether keys have changed.
const LOOK: Duration = Duration::from_millis(250);

/// How long a server goes on with the keys it knows while it can't look.
const BLIND_MAX: Duration = Duration::from_secs(10);

/// Why keys could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysFault {
    /// What was asked for is not possible.
    #[error(transparent)]
    Refused(#[from] KeyRejection),
    /// A key could not be made, or keys of older releases not be read.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// The control plane can't be read or written.
    #[error(transparent)]
    Store(#[from] ControlFault),
    /// Others changed the same holder's keys again and again.
    #[error("others are changing this holder's keys: try again")]
    Conflict,
}

impl From<ExecuteFault<KeyRejection>> for KeysFault {
    fn from(fault: ExecuteFault<KeyRejection>) -> Self {
        match fault {
            ExecuteFault::Rejected(rejection) => Self::Refused(rejection),
            ExecuteFault::Store(fault) => Self::Store(fault),
            ExecuteFault::Conflict | _ => Self::Conflict,
        }
    }
}

/// A key to be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whose books.
    pub tenant: String,
    /// Who will hold it.
    pub holder: String,
    /// The customer it is confined to; `None` for a key of the house.
    pub customer: Option<String>,
    /// What it may do; at least one scope.
    pub scopes: Vec<Scope>,
    /// Why; may be empty.
    pub note: String,
}

#[derive(Default)]
struct Seen {
    directory: KeyDirectory,
    position: ControlPosition,
}

/// The keys: all of them, and the ring of those that are let in.
pub struct Keys {
    store: ControlStore,
    seen: Mutex<Seen>,
    ring: KeyRing,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The control plane of a configuration.
pub(crate) fn store(config: &Config) -> anyhow::Result<ControlStore> {
    match config.database() {
        Some(url) => Ok(ControlStore::postgres(&url, config.journal.allow_unsafe_server)?),
        None => embedded(config),
    }
}

fn embedded(config: &Config) -> anyhow::Result<ControlStore> {
    let options = ControlOptions::new(config.book_id(), crate::serve::nonce()?, crate::serve::system_clock());
    Ok(ControlStore::embedded(&config.data, &options)?)
}

impl Keys {
    /// The keys of a configuration. They are read; nothing is written.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        Ok(Self::of(store(config)?)?)
    }

    /// The keys of a data folder or a backup as they are, to be followed but not changed.
    pub fn read_only(data: &Path) -> Result<Self, ControlFault> {
        Self::of(ControlStore::read_only(data)?)
    }

    /// The keys of a configuration, for its server: those of an older release are taken over, and if there is none, the first
    /// admin key is made. The lock of the data folder is held.
    pub fn for_server(config: &Config) -> anyhow::Result<Self> {
        let keys = Self::open(config)?;
        cli::take_over(&keys, config)?;
        keys.ensure_admin_key(&config.data, &config.tenant)?;
        Ok(keys)
    }

    /// Keys of a folder that is gone soon, beside none of anybody's: an admin key of its own is made.
    pub(crate) fn for_past(folder: &Path, config: &Config) -> anyhow::Result<Self> {
        let keys = Self::of(embedded(&Config { data: folder.to_owned(), ..config.clone() })?)?;
        keys.ensure_admin_key(folder, &config.tenant)?;
        Ok(keys)
    }

    /// The control plane that they stand in.
    pub(crate) fn store(&self) -> ControlStore {
        self.store.clone()
    }

    fn of(store: ControlStore) -> Result<Self, ControlFault> {
        let keys = Self { store, seen: Mutex::default(), ring: KeyRing::of(&[]) };
        keys.look()?;
        Ok(keys)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is new, and lets the ring know. Gives whether anything was.
    fn look(&self) -> Result<bool, ControlFault> {
        let mut seen = self.seen();
        let mut changed = false;
        loop {
            let rows = self.store.tail(seen.position)?;
            let Some(last) = rows.last() else { break };
            seen.position = last.position;
            for row in &rows {
                seen.directory.apply(&row.fact);
            }
            changed = true;
        }
        if changed {
            self.ring.set(seen.directory.records());
        }
        Ok(changed)
    }

    /// The keys that are let in. It is kept up to date by [`Follower`], and by changes made here.
    pub fn ring(&self) -> KeyRing {
        self.ring.clone()
    }

    /// All keys, void ones too, in the order of issue.
    pub fn list(&self) -> Result<Vec<KeyRecord>, KeysFault> {
        self.look()?;
        Ok(self.seen().directory.records().to_vec())
    }

    fn record(&self, id: &str) -> Result<KeyRecord, KeysFault> {
        self.look()?;
        Ok(self.seen().directory.get(id).cloned().ok_or_else(|| KeyRejection::Unknown(id.into()))?)
    }

    fn command(&self, holder: &Holder, command: KeyCommand) -> Result<(), KeysFault> {
        Ok(self.store.execute_blocking::<KeyHolder>(&holder.principal().to_string(), command)?)
    }

    /// Issues a key. Its secret is returned and kept nowhere.
    pub fn issue(&self, new: NewKey, actor: &str) -> Result<(KeyRecord, ApiSecret), KeysFault> {
        let secret = ApiSecret::random()?;
        Ok((self.issue_made(&secret, new, actor)?, secret))
    }

    fn issue_made(&self, secret: &ApiSecret, new: NewKey, actor: &str) -> Result<KeyRecord, KeysFault> {
        let holder =
            Holder { tenant: new.tenant.into(), name: new.holder.into(), customer: new.customer.map(Into::into) };
        let (key, scopes, act) = (secret.made(), new.scopes.into_iter().collect(), act(actor, &new.note));
        let id = key.id.clone();
        self.command(&holder.clone(), KeyCommand::Issue { holder, key, scopes, act })?;
        self.record(&id)
    }

    /// Issues a key in the place of another, which is void then, unless it is kept until it is revoked.
    pub fn rotate(&self, id: &str, keep: bool, actor: &str, reason: &str) -> Result<(KeyRecord, ApiSecret), KeysFault> {
        let holder = self.record(id)?.held_by();
        let secret = ApiSecret::random()?;
        let successor = secret.made();
        let new = successor.id.clone();
        self.command(&holder, KeyCommand::Rotate { key: id.into(), successor, keep, act: act(actor, reason) })?;
        Ok((self.record(&new)?, secret))
    }

    /// Makes a key void. Revoking twice keeps the first time.
    pub fn revoke(&self, id: &str, actor: &str, reason: &str) -> Result<KeyRecord, KeysFault> {
        let holder = self.record(id)?.held_by();
        self.command(&holder, KeyCommand::Revoke { key: id.into(), act: act(actor, reason) })?;
        self.record(id)
    }

    /// Changes what a key may be used for.
    pub fn set_scopes(&self, id: &str, scopes: &[Scope], actor: &str, reason: &str) -> Result<KeyRecord, KeysFault> {
        let holder = self.record(id)?.held_by();
        let scopes = scopes.iter().copied().collect();
        self.command(&holder, KeyCommand::SetScopes { key: id.into(), scopes, act: act(actor, reason) })?;
        self.record(id)
    }
}

fn act(actor: &str, reason: &str) -> Act {
    Act { actor: actor.into(), at: Timestamp((crate::serve::system_clock().wall)().0), reason: reason.into() }
}

/// Keeps the ring of a server up to date, in a thread that ends when it is dropped.
#[derive(Debug)]
pub struct Follower {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts the thread.
    pub fn start(keys: Arc<Keys>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("keys".into()).spawn(move || follow(&keys, &told))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread that follows the keys panicked");
            }
        }
    }
}

fn follow(keys: &Keys, stop: &AtomicBool) {
    let (mut looked, mut told, mut shut) = (Instant::now(), false, false);
    while !stop.load(Ordering::Acquire) {
        match keys.look() {
            Ok(changed) => {
                if shut {
                    keys.ring.set(keys.seen().directory.records());
                }
                if changed || told {
                    tracing::info!(keys = keys.seen().directory.records().len(), "the keys are up to date");
                }
                (looked, told, shut) = (Instant::now(), false, false);
            }
            Err(fault) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(%fault, "whether keys have changed can't be read");
                }
                let damaged = fault.is_damage();
                if !shut && (damaged || looked.elapsed() >= BLIND_MAX) {
                    tracing::error!(%fault, "ALARM: nobody is let in until the keys can be read");
                    let reason = fault.to_string();
                    keys.ring.shut(if damaged { KeyFault::Damaged(reason) } else { KeyFault::Unavailable(reason) });
                    shut = true;
                }
            }
        }
        std::thread::park_timeout(LOOK);
    }
}
