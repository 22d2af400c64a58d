//! The anchor as it is read: two slots, and zeros wherever there is none; and as it is made, whole.

use std::io;
use std::sync::Arc;

use super::format::{ANCHOR, ANCHOR_BYTES, ANCHOR_NEW, SECTOR, Slot, page_usize};
use super::options::OpenFault;
use super::storage::Storage;

/// The two slots of an anchor file.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    pub(super) slots: [Result<Slot, &'static str>; 2],
}

impl Anchor {
    /// Reads the anchor. A slot that is no slot is left to the caller; everything else must be as it was made.
    pub(super) fn read(storage: &Arc<dyn Storage>) -> Result<Self, OpenFault> {
        let file = storage.open(ANCHOR, false).map_err(|error| missing(error, ANCHOR))?;
        let found = file.length()?;
        if found != ANCHOR_BYTES {
            return Err(OpenFault::WrongLength { file: ANCHOR.into(), expected: ANCHOR_BYTES, found });
        }
        let mut bytes = vec![0; 2 * page_usize()];
        file.read_at(&mut bytes, 0)?;
        Self::decode(&bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, OpenFault> {
        let mut slots = [Err("missing"); 2];
        for ((slot, page), at) in slots.iter_mut().zip(bytes.chunks_exact(page_usize())).zip(0_usize..) {
            let (sector, rest) = page.split_at(SECTOR);
            *slot = Slot::decode(sector);
            if let Some(stray) = rest.iter().position(|byte| *byte != 0) {
                let stray = at * page_usize() + SECTOR + stray;
                return Err(OpenFault::Anchor(format!("byte {stray} should be zero")));
            }
        }
        Ok(Self { slots })
    }

    /// The newest valid slot, and which it is.
    pub(super) fn newest(&self) -> Result<(usize, Slot), OpenFault> {
        match &self.slots {
            [Ok(first), Ok(second)] if second.age() > first.age() => Ok((1, *second)),
            [Ok(first), _] => Ok((0, *first)),
            [Err(_), Ok(second)] => Ok((1, *second)),
            [Err(first), Err(second)] => {
                Err(OpenFault::Anchor(format!("no valid slot (slot 0: {first}; slot 1: {second})")))
            }
        }
    }

    /// The slot that is not the newest.
    pub(super) fn other(&self, newest_at: usize) -> Result<Slot, &'static str> {
        let [first, second] = self.slots;
        if newest_at == 0 { second } else { first }
    }

    /// The newest and the other slot, both or the one valid, checked against each other.
    pub(super) fn agree(&self) -> Result<(usize, Slot, Result<Slot, &'static str>), OpenFault> {
        let (at, newest) = self.newest()?;
        let other = self.other(at);
        if let Ok(older) = other {
            let agree = older.book == newest.book
                && older.segment_bytes == newest.segment_bytes
                && older.sequence <= newest.sequence
                && older.end <= newest.end;
            if !agree {
                return Err(OpenFault::Anchor("its two slots contradict each other".into()));
            }
        }
        Ok((at, newest, other))
    }
}

fn missing(error: io::Error, file: &str) -> OpenFault {
    if error.kind() == io::ErrorKind::NotFound { OpenFault::Missing(file.into()) } else { error.into() }
}

/// Makes an anchor whose two slots name the same place, over one that is there.
pub(super) fn write_anchor(storage: &Arc<dyn Storage>, slot: &Slot) -> Result<(), OpenFault> {
    let mut page = slot.encode();
    page.resize(page_usize(), 0);
    let made = storage.create(ANCHOR_NEW).and_then(|file| {
        file.write_at(&page.repeat(2), 0)?;
        file.sync_all()
    });
    if let Err(error) = made {
        let _ = storage.remove(ANCHOR_NEW);
        return Err(error.into());
    }
    storage.rename(ANCHOR_NEW, ANCHOR)?;
    Ok(storage.sync_dir()?)
}
