//! The background scrub: reads what is durable again and again at a modest pace, so that damage of what nobody reads is found
//! while a backup of it still exists.
//!
//! A pass reads every segment of every journal of a data folder up to where it is durable, checks each frame and follows the
//! chain; then it rests. It reads through the page cache, as every reader does: what the cache still holds is not read from the
//! disk. Damage is told as an alarm with segment, offset and sequence, and stays told until a whole pass finds none; nothing
//! is repaired and nothing stops, since what the book needs to go on is in memory.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_schemas::Sequence;

use crate::segments::copy::{Extent, read_segment};
use crate::segments::{self, DiskStorage, OpenFault, Storage};

/// How long one sleep lasts at most: the end of the server should not have to wait for it.
const NAP: Duration = Duration::from_millis(50);

/// How a scrub is paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Bytes a second; at least one.
    pub bytes_per_second: u64,
    /// How long it rests between two passes.
    pub rest: Duration,
}

/// The figures of a scrub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// Bytes read and checked since the start.
    pub bytes_total: u64,
    /// Passes finished since the start, those that found damage too.
    pub passes_total: u64,
    /// Where in the book the last finished pass ended.
    pub through: Sequence,
    /// How long ago it ended.
    pub last_pass_ended: Option<Instant>,
    /// What the last finished pass found, or this one so far: journal, segment, offset, sequence and reason of each. At most
    /// sixteen are kept.
    pub damage: Vec<String>,
}

/// The most findings that are kept.
const FINDINGS_MAX: usize = 16;

/// A running scrub. Dropping it ends its thread.
#[derive(Debug)]
pub struct Scrub {
    status: Arc<Mutex<ScrubStatus>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scrub {
    /// Starts the thread on the journals of a data folder.
    pub fn start(data: &Path, options: ScrubOptions) -> std::io::Result<Self> {
        let status = Arc::new(Mutex::new(ScrubStatus::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let journals = ["journal", "access", "control"]
            .map(|name| (name, Arc::new(DiskStorage::new(data.join(name))) as Arc<dyn Storage>))
            .into();
        let work = Work { journals, options, status: Arc::clone(&status), stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new().name("scrub".into()).spawn(move || work.run())?;
        Ok(Self { status, stop, thread: Some(thread) })
    }

    /// The figures, to be looked at while it runs.
    pub fn status(&self) -> Arc<Mutex<ScrubStatus>> {
        Arc::clone(&self.status)
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the scrub panicked");
        }
    }
}

struct Work {
    journals: Vec<(&'static str, Arc<dyn Storage>)>,
    options: ScrubOptions,
    status: Arc<Mutex<ScrubStatus>>,
    stop: Arc<AtomicBool>,
}

/// Why a segment was not read to its end.
enum End {
    Stopped,
    Fault(OpenFault),
}

impl From<OpenFault> for End {
    fn from(fault: OpenFault) -> Self {
        Self::Fault(fault)
    }
}

/// One pass.
struct Pass {
    began: Instant,
    bytes: u64,
    through: Sequence,
    damage: Vec<String>,
}

impl Work {
    fn run(&self) {
        loop {
            let mut pass = Pass { began: Instant::now(), bytes: 0, through: Sequence::ZERO, damage: Vec::new() };
            for (name, storage) in &self.journals {
                if self.journal(name, storage, &mut pass).is_err() {
                    return;
                }
            }
            self.finished(pass);
            if !self.sleep(self.options.rest) {
                return;
            }
        }
    }

    fn status(&self) -> std::sync::MutexGuard<'_, ScrubStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finished(&self, pass: Pass) {
        let mut status = self.status();
        if pass.damage.is_empty() && !status.damage.is_empty() {
            tracing::info!("the scrub finds no damage any more");
        }
        status.passes_total += 1;
        status.through = pass.through;
        status.last_pass_ended = Some(Instant::now());
        status.damage = pass.damage;
        let seconds = pass.began.elapsed().as_secs();
        tracing::debug!(bytes = pass.bytes, seconds, "a pass of the scrub is finished");
    }

    /// Reads one journal. An error is the end of the thread.
    fn journal(&self, name: &str, storage: &Arc<dyn Storage>, pass: &mut Pass) -> Result<(), ()> {
        let extent = match segments::exists(storage) {
            Ok(false) => return Ok(()),
            Ok(true) => Extent::of(storage),
            Err(fault) => Err(fault),
        };
        let extent = match extent {
            Ok(extent) => extent,
            Err(fault) => {
                self.alarm(name, &fault, pass);
                return Ok(());
            }
        };
        // What a segment must follow is known only if the one before it was sound.
        let mut before = None;
        for number in 1..=extent.segments() {
            let read = read_segment::<End>(storage, &extent, number, before.as_ref(), &mut |_, bytes| {
                self.status().bytes_total += bytes.len() as u64;
                pass.bytes += bytes.len() as u64;
                if self.pace(pass) { Ok(()) } else { Err(End::Stopped) }
            });
            match read {
                Ok(record) => before = Some(record),
                Err(End::Stopped) => return Err(()),
                Err(End::Fault(fault)) => {
                    self.alarm(name, &fault, pass);
                    before = None;
                }
            }
        }
        if name == "journal" {
            pass.through = extent.head().0;
        }
        Ok(())
    }

    fn alarm(&self, name: &str, fault: &OpenFault, pass: &mut Pass) {
        let text = format!("{name}: {fault}");
        if pass.damage.len() < FINDINGS_MAX {
            pass.damage.push(text.clone());
        }
        let mut status = self.status();
        if status.damage.contains(&text) {
            return;
        }
        tracing::error!(damage = text, "ALARM: the scrub found damage; the last sound backup may be needed");
        if status.damage.len() < FINDINGS_MAX {
            status.damage.push(text);
        }
    }

    /// Waits until as much time has passed as the bytes read so far may take; `false` if the end has come.
    fn pace(&self, pass: &Pass) -> bool {
        let due_us = u128::from(pass.bytes) * 1_000_000 / u128::from(self.options.bytes_per_second.max(1));
        let due = Duration::from_micros(u64::try_from(due_us).unwrap_or(u64::MAX));
        let wait = due.saturating_sub(pass.began.elapsed());
        // Frames may be small: sleeps that are worth waking up for are gathered.
        if wait < NAP { !self.stop.load(Ordering::Acquire) } else { self.sleep(wait) }
    }

    fn sleep(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            if self.stop.load(Ordering::Acquire) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}
