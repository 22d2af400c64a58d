//! Creating a journal, and making an empty one anew.

use std::sync::Arc;

use event_schemas::{BookId, Digest, Epoch, Sequence};

use super::anchor::write_anchor;
use super::format::{ANCHOR, Place, Slot, segment_number};
use super::options::{OpenFault, SegmentOptions};
use super::spares::make_segment;
use super::storage::Storage;
use super::survey::holds_nothing;
use super::witness;

/// Whether there is a journal in a folder: that is, an anchor.
pub fn exists(storage: &Arc<dyn Storage>) -> Result<bool, OpenFault> {
    match storage.list() {
        Ok(names) => Ok(names.iter().any(|name| name == ANCHOR)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Creates an empty journal. The anchor comes last, so that an interrupted creation has left no journal and can be repeated;
/// segments that hold anything, and a witness that remembers anything, are refused.
pub fn create(storage: &Arc<dyn Storage>, options: &SegmentOptions) -> Result<(), OpenFault> {
    options.check()?;
    let names = storage.list()?;
    for name in &names {
        if name == ANCHOR {
            return Err(OpenFault::Exists("a journal".into()));
        }
        if segment_number(name).is_some() && !holds_nothing(storage, name)? {
            return Err(OpenFault::Exists(format!("{name}, which is not empty, without an anchor")));
        }
    }
    if let Some(place) = &options.witness
        && let Some(mark) = witness::read(place)?
        && mark.sequence > Sequence::ZERO
    {
        let text = format!("a witness of a journal of book {} up to sequence {}", mark.book, mark.sequence);
        return Err(OpenFault::Exists(text));
    }
    for name in names.iter().filter(|name| segment_number(name).is_some()) {
        storage.remove(name)?;
    }
    make_empty(storage, options.book, options.segment_bytes, Epoch(0))
}

/// Makes the first segment and the anchor of an empty journal, over what is there.
pub(super) fn make_empty(
    storage: &Arc<dyn Storage>,
    book: BookId,
    segment_bytes: u64,
    epoch: Epoch,
) -> Result<(), OpenFault> {
    make_segment(storage, 1, segment_bytes, &mut |_| true)?;
    let slot =
        Slot { book, end: Place::START, segment_bytes, sequence: Sequence::ZERO, epoch, hash: Digest::default() };
    write_anchor(storage, &slot)
}
