//! Who guards the guards: the protocol is broken in one place at a time, between the journal and its disk, and the suite has
//! to see it.

use std::io;
use std::sync::Mutex;

use super::*;
use crate::segments::StorageFile;
use crate::segments::sim::Fault;

/// A way to break the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    /// Frames are not synced.
    FrameSync,
    /// Slots are not synced.
    AnchorSync,
    /// Frames are not written again at the start: writes that change nothing are left out.
    Rewrite,
    /// The slot is written one commit late: the answer leaves before it.
    LateAnchor,
    /// The folder is not synced.
    FolderSync,
    /// New segments are not synced.
    SpareSync,
}

struct Saboteur(Arc<dyn Storage>, Sabotage);

struct Sabotaged {
    file: Box<dyn StorageFile>,
    sabotage: Option<Sabotage>,
    late: Mutex<Option<(Vec<u8>, u64)>>,
}

impl Saboteur {
    fn file(&self, name: &str, file: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        let concerned = match self.1 {
            Sabotage::FrameSync | Sabotage::Rewrite => name.ends_with(".seg"),
            Sabotage::AnchorSync | Sabotage::LateAnchor => name == "anchor",
            Sabotage::SpareSync => name == "spare.new",
            Sabotage::FolderSync => false,
        };
        Box::new(Sabotaged { file, sabotage: concerned.then_some(self.1), late: Mutex::default() })
    }
}

impl Storage for Saboteur {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.file(name, self.0.create(name)?))
    }
    fn open(&self, name: &str, write: bool) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.file(name, self.0.open(name, write)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        if self.1 == Sabotage::FolderSync { Ok(()) } else { self.0.sync_dir() }
    }
}

impl StorageFile for Sabotaged {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.sabotage == Some(Sabotage::Rewrite) {
            let mut there = vec![0; bytes.len()];
            if self.file.read_at(&mut there, offset).is_ok() && there == bytes {
                return Ok(());
            }
        }
        if self.sabotage == Some(Sabotage::LateAnchor) {
            let late = self.late.lock().unwrap().replace((bytes.to_vec(), offset));
            return late.map_or(Ok(()), |(bytes, offset)| self.file.write_at(&bytes, offset));
        }
        self.file.write_at(bytes, offset)
    }
    fn sync_all(&self) -> io::Result<()> {
        match self.sabotage {
            Some(Sabotage::FrameSync | Sabotage::AnchorSync | Sabotage::SpareSync) => Ok(()),
            Some(Sabotage::Rewrite | Sabotage::LateAnchor | Sabotage::FolderSync) | None => self.file.sync_all(),
        }
    }
    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }
}

fn frame_sync(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    Arc::new(Saboteur(storage, Sabotage::FrameSync))
}
fn anchor_sync(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    Arc::new(Saboteur(storage, Sabotage::AnchorSync))
}
fn rewrite(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    Arc::new(Saboteur(storage, Sabotage::Rewrite))
}
fn late_anchor(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    Arc::new(Saboteur(storage, Sabotage::LateAnchor))
}
fn folder_sync(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    Arc::new(Saboteur(storage, Sabotage::FolderSync))
}
fn spare_sync(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    Arc::new(Saboteur(storage, Sabotage::SpareSync))
}

const SHORT: &[Step] = &[
    Step::Create,
    Step::Open,
    Step::Append(&[200]),
    Step::Append(&[1_500]),
    Step::Append(&[9_000]),
    Step::Append(&[300]),
    Step::Append(&[200]),
];

/// How many states of power cuts a sabotaged protocol fails.
fn failures_of_cuts(wrap: Wrap) -> usize {
    let (moments, tried) = record(SHORT, wrap);
    let states = moments.iter().flat_map(|moment| moment.power_cuts(1).map(|disk| (disk, moment.note())));
    states.filter(|(disk, note)| check(disk, wrap, *note, &tried) != Ok(Outcome::Sound)).count()
}

/// How many states fail of: a failed sync, a start on the same kernel, a power cut.
fn failures_of_failed_syncs(wrap: Wrap) -> usize {
    let mut failures = 0;
    for operation in 0..200 {
        let disk = SimDisk::new();
        disk.fault_at(operation, Fault::Error);
        let mut process = Process::new(&disk, wrap, &[]);
        if process.run(SHORT).is_ok() {
            continue;
        }
        process.journal = None;
        let note = disk.moment().note();
        if note > 0 && check(&disk.same_kernel(), wrap, note, &process.tried) != Ok(Outcome::Sound) {
            failures += 1;
        }
    }
    failures
}

/// How many bits of the last answered frame can be flipped, after a power cut, without the journal refusing to open. This is
/// what the anchor is for: power cuts alone do not need it, since the frame is found without.
fn silent_flips(wrap: Wrap) -> usize {
    let disk = SimDisk::new();
    let mut process = Process::new(&disk, wrap, &[]);
    process.run(&SHORT[..4]).unwrap();
    // The process is killed: nothing is written at an end.
    std::mem::forget(process.journal.take());
    let disk = disk.moment().power_cuts(0).next().unwrap();
    let end = disk.files()["journal/00000001.seg"].iter().rposition(|byte| *byte != 0).unwrap();
    let start = end / 4096 * 4096;
    let flips = (start * 8..(start + 128) * 8).filter(|bit| {
        let damaged = disk.same_kernel();
        damaged.tamper("journal/00000001.seg", |content| content[bit / 8] ^= 1 << (bit % 8));
        let mut options = process.options();
        options.witness = None;
        open(&wrap(damaged.folder("journal")), &options, Sequence::ZERO).is_ok()
    });
    flips.count()
}

#[test]
fn the_suite_sees_each_sabotage() {
    assert_eq!((failures_of_cuts(plain), failures_of_failed_syncs(plain), silent_flips(plain)), (0, 0, 0));
    let seen = [
        ("frames not synced, power cuts", failures_of_cuts(frame_sync)),
        ("slots not synced, a power cut and flips of the last frame", silent_flips(anchor_sync)),
        ("folder not synced, power cuts", failures_of_cuts(folder_sync)),
        ("segments not synced before use, power cuts", failures_of_cuts(spare_sync)),
        ("frames not written again, failed syncs", failures_of_failed_syncs(rewrite)),
        ("answered before the anchor, a power cut and flips of the last frame", silent_flips(late_anchor)),
    ];
    for (sabotage, failures) in seen {
        println!("{sabotage}: {failures} failures seen");
        assert!(failures > 0, "{sabotage}: not seen");
    }
}
