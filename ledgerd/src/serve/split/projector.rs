//! The projector: one of those that were started has the lead and keeps the read models; the others wait for it to go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use event_schemas::{BookId, Sequence};
use stores::postgres::{Lead, PostgresRows, PostgresUrl};
use tokio::sync::watch;

use super::Standing;
use super::journal::Readers;
use crate::config::Config;
use crate::roles::Role;
use crate::serve::runner::ReadModels;

/// How often a projector that waits looks again, and how often one that leads looks whether it still does.
const LOOK: Duration = Duration::from_millis(250);

/// How long read models may take to catch up when the process ends.
const CATCH_UP: Duration = Duration::from_secs(5);

/// The projector of this process.
pub(super) struct Projector {
    progress: watch::Receiver<Sequence>,
    fault: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What its thread works with.
struct Work {
    url: PostgresUrl,
    book: BookId,
    readers: Readers,
    standing: Standing,
    applied: watch::Sender<Sequence>,
    fault: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
}

impl Projector {
    pub(super) fn start(config: &Config, readers: &Readers, standing: Standing) -> anyhow::Result<Self> {
        let url = config.database().context("no database for read models is named")?;
        let (applied, progress) = watch::channel(Sequence::ZERO);
        let (fault, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let work = Work {
            url,
            book: config.book_id(),
            readers: readers.clone(),
            standing,
            applied,
            fault: Arc::clone(&fault),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("projector".into()).spawn(move || work.run())?;
        Ok(Self { progress, fault, stop, thread })
    }

    pub(super) fn progress(&self) -> watch::Receiver<Sequence> {
        self.progress.clone()
    }

    pub(super) fn fault(&self) -> Arc<Mutex<Option<String>>> {
        Arc::clone(&self.fault)
    }

    /// Ends it; beside a writer that has ended, once it has applied what is durable.
    pub(super) fn end(self, durable: Option<Sequence>) {
        let until = Instant::now() + CATCH_UP;
        while durable.is_some_and(|durable| *self.progress.borrow() < durable) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            tracing::error!("the projector's thread panicked");
        }
    }
}

impl Work {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn waits(&self, what: Option<String>) {
        self.standing.waits(Role::Projector, what);
    }

    fn set_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn run(self) {
        let mut told = String::new();
        while !self.stopping() {
            match self.lead() {
                Ok(()) => told.clear(),
                Err(reason) => {
                    if told != reason {
                        tracing::error!(%reason, "ALARM: the read models are not kept; it is tried again");
                        told.clone_from(&reason);
                    }
                    self.set_fault(Some(reason));
                    self.rest();
                }
            }
        }
    }

    fn rest(&self) {
        if !self.stopping() {
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for the lead, and keeps the read models for as long as it has it.
    fn lead(&self) -> Result<(), String> {
        self.waits(Some("looking for its place".into()));
        let first = loop {
            match self.readers.first()? {
                Some(first) => break first,
                None if self.stopping() => return Ok(()),
                None => {
                    self.waits(Some("the journal is empty: its writer has not opened the book yet".into()));
                    self.rest();
                }
            }
        };
        // Another projector's tables are left alone until it has gone.
        let Some(mut lead) = self.take_lead(&PostgresRows::unopened(&self.url, self.book))? else { return Ok(()) };
        self.set_fault(None);
        let (rows, mut notices) = PostgresRows::open(&self.url, self.book).map_err(|fault| fault.to_string())?;
        let head = self.readers.newest()?;
        notices.extend(rows.fit(Some(first), head).map_err(|fault| fault.to_string())?);
        for notice in notices {
            tracing::warn!("{notice}");
        }
        let feed = (self.readers.feeds)();
        let (applied, fault) = (self.applied.clone(), Arc::clone(&self.fault));
        let models = ReadModels::start_telling(feed, rows, projections::all, applied, fault)
            .map_err(|error| error.to_string())?;
        self.waits(None);
        tracing::info!("this projector keeps the read models");
        let mut looked = Instant::now();
        while !self.stopping() {
            std::thread::sleep(Duration::from_millis(20));
            if looked.elapsed() >= LOOK * 4 {
                looked = Instant::now();
                if !lead.holds() {
                    tracing::warn!("this projector has lost its lead: it waits until it has it again");
                    break;
                }
            }
        }
        models.end(Sequence::ZERO);
        Ok(())
    }

    fn take_lead(&self, rows: &PostgresRows) -> Result<Option<Lead>, String> {
        let mut told = false;
        while !self.stopping() {
            if let Some(lead) = rows.try_lead()? {
                return Ok(Some(lead));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("standing by: another projector keeps the read models of this book");
                self.waits(Some("standing by: another projector keeps the read models of this book".into()));
            }
            self.set_fault(None);
            if let Ok(reached) = rows.applied_through() {
                self.applied.send_replace(reached);
            }
            self.rest();
        }
        Ok(None)
    }
}
