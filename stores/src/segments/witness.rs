//! The witness: the head, kept in a small file elsewhere, at most a second behind. It is the only thing that can tell a
//! folder from an older copy of the whole folder, in which every file is as it should be.
//!
//! It is replaced by a rename, so it is always an old one or a new one. It only ever names what is durable in the journal.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use event_schemas::{BlockHash, BookId, Epoch, Sequence};

use super::format::{WITNESS_BYTES, WitnessMark};
use super::journal::Shared;
use super::options::{OpenFault, WitnessPlace};

/// Less than the second promised, by the time that writing it takes.
const EVERY: Duration = Duration::from_millis(900);

/// What a witness remembers of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witnessed {
    /// The book.
    pub book: BookId,
    /// The head that it saw last.
    pub sequence: Sequence,
    /// The hash of the block that ends there.
    pub hash: BlockHash,
    /// The epoch of the anchor then.
    pub epoch: Epoch,
}

/// Reads the witness in a file, for `verify`; `None` if there is no such file.
pub fn read_witness(path: &Path) -> Result<Option<Witnessed>, OpenFault> {
    let place = WitnessPlace::in_file(path);
    let mark = read(&place)?;
    Ok(mark.map(|WitnessMark { book, sequence, epoch, hash }| Witnessed { book, sequence, hash, epoch }))
}

/// Has a witness name the head of a journal, whatever it named before: after a restore that somebody accepted.
#[cfg(feature = "rocks")]
pub(crate) fn write_witness(
    storage: &Arc<dyn super::storage::Storage>,
    path: &Path,
    book: BookId,
) -> Result<(), OpenFault> {
    let extent = super::copy::Extent::of(storage)?;
    let (sequence, hash) = extent.head();
    let mark = WitnessMark { book, sequence, epoch: extent.epoch(), hash };
    Ok(write(&WitnessPlace::in_file(path), &mark)?)
}

/// Reads a witness; `None` if there is no such file.
pub(super) fn read(place: &WitnessPlace) -> Result<Option<WitnessMark>, OpenFault> {
    let file = match place.storage.open(&place.name, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenFault::Witness(error.to_string())),
    };
    let length = file.length()?;
    if length != WITNESS_BYTES as u64 {
        return Err(OpenFault::Witness(format!("{} is {length} bytes long and should be {WITNESS_BYTES}", place.name)));
    }
    let mut bytes = [0; WITNESS_BYTES];
    file.read_at(&mut bytes, 0)?;
    match WitnessMark::decode(&bytes) {
        Ok(mark) => Ok(Some(mark)),
        Err(reason) => Err(OpenFault::Witness(format!("{}: {reason}", place.name))),
    }
}

fn write(place: &WitnessPlace, mark: &WitnessMark) -> io::Result<()> {
    let new = format!("{}.new", place.name);
    let file = place.storage.create(&new)?;
    file.write_at(&mark.encode(), 0)?;
    file.sync_all()?;
    place.storage.rename(&new, &place.name)?;
    place.storage.sync_dir()
}

struct Desk {
    stop: Mutex<bool>,
    changed: Condvar,
}

/// Writes the witness of an open journal.
pub(super) struct Witness {
    place: WitnessPlace,
    book: BookId,
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Writes the first mark and starts the thread. That the first mark can be written is asked for; a later failure is
    /// logged and tried again, since an old witness is still a true one.
    pub(super) fn start(
        place: WitnessPlace,
        book: BookId,
        shared: Arc<Shared>,
        background: bool,
    ) -> Result<Self, OpenFault> {
        let first = shared.mark(book);
        write(&place, &first).map_err(|error| OpenFault::Witness(error.to_string()))?;
        let desk = Arc::new(Desk { stop: Mutex::new(false), changed: Condvar::new() });
        let thread = if background {
            let (desk, place, shared) = (Arc::clone(&desk), place.clone(), Arc::clone(&shared));
            let body = move || work(&desk, &place, first, &shared);
            Some(std::thread::Builder::new().name("journal-witness".into()).spawn(body)?)
        } else {
            None
        };
        Ok(Self { place, book, shared, desk, thread })
    }

    /// Without a thread: writes it now.
    pub(super) fn appended(&self) {
        if self.thread.is_none() {
            put(&self.place, &self.shared.mark(self.book));
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        *self.desk.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn put(place: &WitnessPlace, mark: &WitnessMark) -> bool {
    match write(place, mark) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, witness = place.name, "the witness could not be written");
            false
        }
    }
}

/// Writes the mark whenever it differs from the one written last.
fn work(desk: &Desk, place: &WitnessPlace, first: WitnessMark, shared: &Shared) {
    let mut written = Some(first);
    let mut stop = desk.stop.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if !*stop {
            stop = desk.changed.wait_timeout(stop, EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        let last = *stop;
        let mark = shared.mark(first.book);
        if written != Some(mark) {
            written = put(place, &mark).then_some(mark);
        }
        if last {
            return;
        }
    }
}
