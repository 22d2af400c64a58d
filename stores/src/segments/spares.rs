//! Segments, made whole ahead of need: zeros written, synced, renamed into place, folder synced. Only then is a segment
//! there; until then it is `spare.new`, which the next open removes.
//!
//! Why zeros: a sync of bytes that were written before has no metadata to write, and is half as dear again without them.
//!
//! The thread paces itself by the writer: it stays ahead of twice what the current segment has filled, and otherwise writes
//! a megabyte each 20 ms, so that a spare appears soon in an idle book and never in one burst that the writer's syncs would
//! wait behind. A writer that has to wait for a spare makes it hurry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::format::segment_name;
use super::storage::{Storage, is_no_space};

/// A segment in the making.
pub(super) const SPARE_NEW: &str = "spare.new";
const CHUNK: usize = 1024 * 1024;
const SYNC_EACH: u64 = 4 * 1024 * 1024;
const PACE: Duration = Duration::from_millis(20);

/// Why a segment could not be made.
#[derive(Debug, Clone)]
pub(super) enum MakeError {
    /// No room. Nothing is left of the attempt, and it may be tried again.
    NoSpace(String),
    /// The disk failed. The journal stops.
    Failed(String),
}

/// Makes one segment. `pace` is asked before each chunk with the bytes written so far, and says whether to go on.
pub(super) fn make_segment(
    storage: &Arc<dyn Storage>,
    number: u32,
    segment_bytes: u64,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, MakeError> {
    let made = fill(storage, segment_bytes, pace).and_then(|whole| {
        if whole {
            storage.rename(SPARE_NEW, &segment_name(number))?;
            storage.sync_dir()?;
        }
        Ok(whole)
    });
    if !matches!(made, Ok(true)) {
        // What can't be removed now is removed by the next open, or overwritten by the next attempt.
        let _ = storage.remove(SPARE_NEW);
    }
    made.map_err(|error| {
        let text = format!("making segment {number}: {error}");
        if is_no_space(&error) { MakeError::NoSpace(text) } else { MakeError::Failed(text) }
    })
}

fn fill(storage: &Arc<dyn Storage>, segment_bytes: u64, pace: &mut dyn FnMut(u64) -> bool) -> std::io::Result<bool> {
    let file = storage.create(SPARE_NEW)?;
    let zeros = vec![0; usize::try_from(segment_bytes).map_or(CHUNK, |bytes| bytes.min(CHUNK))];
    let mut written = 0;
    while written < segment_bytes {
        if !pace(written) {
            return Ok(false);
        }
        let take = usize::try_from(segment_bytes - written).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_at(zeros.get(..take).unwrap_or_default(), written)?;
        written += take as u64;
        if written.is_multiple_of(SYNC_EACH) && written < segment_bytes {
            file.sync_data()?;
        }
    }
    file.sync_all()?;
    Ok(true)
}

#[derive(Debug, Default)]
struct Orders {
    wanted: u32,
    made: u32,
    hurry: bool,
    stop: bool,
    error: Option<MakeError>,
}

struct Desk {
    orders: Mutex<Orders>,
    changed: Condvar,
    /// Bytes that the writer has filled of its current segment.
    filled: AtomicU64,
}

impl Desk {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps segments ready ahead of the writer.
pub(super) struct Spares {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    /// Segments up to `made` are there. With a thread, or on the caller's.
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        made: u32,
        background: bool,
    ) -> std::io::Result<Self> {
        let desk = Arc::new(Desk {
            orders: Mutex::new(Orders { wanted: made, made, ..Orders::default() }),
            changed: Condvar::new(),
            filled: AtomicU64::new(0),
        });
        let thread = if background {
            let (desk, storage) = (Arc::clone(&desk), Arc::clone(&storage));
            let body = move || work(&desk, &storage, segment_bytes);
            Some(std::thread::Builder::new().name("journal-spares".into()).spawn(body)?)
        } else {
            None
        };
        Ok(Self { storage, segment_bytes, desk, thread })
    }

    /// Tells how far the current segment is filled.
    pub(super) fn filled(&self, bytes: u64) {
        self.desk.filled.store(bytes, Ordering::Relaxed);
    }

    /// Asks for segments up to this one, without waiting for them. That there is no room is told when one is needed.
    pub(super) fn order(&mut self, through: u32) -> Result<(), MakeError> {
        if self.thread.is_none() {
            return match self.ensure(through) {
                Err(MakeError::NoSpace(_)) | Ok(()) => Ok(()),
                Err(failed @ MakeError::Failed(_)) => Err(failed),
            };
        }
        let mut orders = self.desk.orders();
        if orders.wanted < through {
            orders.wanted = through;
            self.desk.changed.notify_all();
        }
        Ok(())
    }

    /// Waits until the segments up to this one are there.
    pub(super) fn ensure(&mut self, through: u32) -> Result<(), MakeError> {
        let mut orders = self.desk.orders();
        if let Some(MakeError::Failed(reason)) = &orders.error {
            return Err(MakeError::Failed(reason.clone()));
        }
        if self.thread.is_none() {
            while orders.made < through {
                make_segment(&self.storage, orders.made + 1, self.segment_bytes, &mut |_| true)?;
                orders.made += 1;
            }
            return Ok(());
        }
        if orders.made >= through {
            return Ok(());
        }
        // An earlier lack of space is no answer for now: ask again.
        orders.error = None;
        orders.wanted = orders.wanted.max(through);
        orders.hurry = true;
        self.desk.changed.notify_all();
        while orders.made < through && orders.error.is_none() && !orders.stop {
            orders = self.desk.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
        orders.hurry = false;
        match &orders.error {
            Some(error) if orders.made < through => Err(error.clone()),
            None if orders.made < through => Err(MakeError::Failed("the maker of segments has stopped".into())),
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.desk.orders().stop = true;
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(desk: &Desk, storage: &Arc<dyn Storage>, segment_bytes: u64) {
    // A panic here must not leave the writer waiting for ever.
    struct Leave<'a>(&'a Desk);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.orders().stop = true;
            self.0.changed.notify_all();
        }
    }
    let _leave = Leave(desk);
    loop {
        let number = {
            let mut orders = desk.orders();
            while !orders.stop && (orders.made >= orders.wanted || orders.error.is_some()) {
                orders = desk.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
            }
            if orders.stop {
                return;
            }
            orders.made + 1
        };
        let mut pace = |written: u64| {
            let orders = desk.orders();
            let ahead = written > desk.filled.load(Ordering::Relaxed).saturating_mul(2) + SYNC_EACH;
            if ahead && !orders.hurry && !orders.stop {
                let (orders, _) = desk.changed.wait_timeout(orders, PACE).unwrap_or_else(PoisonError::into_inner);
                return !orders.stop;
            }
            !orders.stop
        };
        let made = make_segment(storage, number, segment_bytes, &mut pace);
        let mut orders = desk.orders();
        match made {
            Ok(true) => orders.made = number,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(?error, "no spare segment");
                orders.error = Some(error);
            }
        }
        desk.changed.notify_all();
    }
}
