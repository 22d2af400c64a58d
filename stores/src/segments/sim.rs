//! A disk that loses power, lies and runs full, for tests of everything that is built on [`Storage`].
//!
//! It keeps what a running kernel sees (the cache) apart from what is on the platter. Between them stand the units that are
//! not synced yet: each sector of 512 bytes of each write, each change of a length, each name made, changed or removed. A
//! power cut keeps any subset of them. It is harsher than disks are: a sync of one file brings nothing of another, and names
//! survive in any order.
//!
//! A sync that fails leaves its pages clean in the cache and yet not on the platter, as Linux does: a later sync then says
//! "ok" and writes nothing. So a process that starts again on the same kernel ([`SimDisk::same_kernel`]) reads what a power
//! cut will take away.
//!
//! Memory: contents are shared between the recorded moments until they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::storage::{Storage, StorageFile};

const SECTOR: usize = 512;
/// Up to so many units all their subsets are tried.
const EXHAUSTIVE_UNITS: usize = 11;
/// Beyond that, so many random subsets beside the structured ones.
const RANDOM_SUBSETS: u64 = 48;

/// A file's contents, shared until they are changed.
type Content = Arc<Vec<u8>>;

#[derive(Debug, Clone)]
enum Unit {
    Sector { inode: u64, sector: usize, bytes: Arc<[u8]> },
    Length { inode: u64, length: usize },
    Named { name: String, inode: u64 },
    Renamed { from: String, to: String, inode: u64 },
    Removed { name: String },
}

impl Unit {
    fn of_file(&self, file: u64) -> bool {
        match self {
            Self::Sector { inode, .. } | Self::Length { inode, .. } => *inode == file,
            Self::Named { .. } | Self::Renamed { .. } | Self::Removed { .. } => false,
        }
    }

    fn of_folder(&self, prefix: &str) -> bool {
        match self {
            Self::Sector { .. } | Self::Length { .. } => false,
            Self::Named { name, .. } | Self::Removed { name } | Self::Renamed { to: name, .. } => {
                name.starts_with(prefix)
            }
        }
    }
}

/// What a disk does wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails. A write leaves its first half in the cache; a failed sync leaves clean pages that are nowhere.
    Error,
    /// A sync fails after every other unit has reached the platter. Other operations fail as with [`Fault::Error`].
    HalfSync,
    /// There is no space. A write leaves its first half in the cache. Syncs and renames are not concerned.
    NoSpace,
    /// A sync fails for lack of space, as where space is given out late, and otherwise as with [`Fault::Error`]. Other operations
    /// fail as with [`Fault::NoSpace`].
    NoSpaceSync,
    /// A sync says "ok" and does nothing; a later sync of the same file makes up for it. Other operations are not concerned.
    DropSync,
}

/// The kinds of operations that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Writing into a file.
    Write,
    /// Syncing a file or a folder.
    Sync,
    /// Making, renaming or removing a name.
    Name,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    cached: BTreeMap<u64, Content>,
    durable: BTreeMap<u64, Content>,
    cached_names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending: Vec<Unit>,
    next_inode: u64,
    note: u64,
}

fn sector_of(content: &[u8], sector: usize) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let from = (sector * SECTOR).min(content.len());
    let to = (from + SECTOR).min(content.len());
    if let (Some(part), Some(place)) = (content.get(from..to), bytes.get_mut(..to - from)) {
        place.copy_from_slice(part);
    }
    bytes
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    if let Some(place) = content.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

impl Disk {
    fn apply(&mut self, unit: &Unit) {
        match unit {
            Unit::Sector { inode, sector, bytes } => {
                let content = Arc::make_mut(self.durable.entry(*inode).or_default());
                put(content, sector * SECTOR, bytes);
            }
            Unit::Length { inode, length } => {
                let content = Arc::make_mut(self.durable.entry(*inode).or_default());
                if content.len() < *length {
                    content.resize(*length, 0);
                }
            }
            Unit::Named { name, inode } => {
                self.durable_names.insert(name.clone(), *inode);
            }
            Unit::Renamed { from, to, inode } => {
                if self.durable_names.get(from) == Some(inode) {
                    self.durable_names.remove(from);
                }
                self.durable_names.insert(to.clone(), *inode);
            }
            Unit::Removed { name } => {
                self.durable_names.remove(name);
            }
        }
    }

    fn write(&mut self, inode: u64, bytes: &[u8], offset: usize) {
        let content = Arc::make_mut(self.cached.entry(inode).or_default());
        let grew = content.len() < offset + bytes.len();
        put(content, offset, bytes);
        if grew {
            self.pending.push(Unit::Length { inode, length: offset + bytes.len() });
        }
        let unsynced: BTreeSet<usize> = self
            .pending
            .iter()
            .filter_map(|unit| match unit {
                Unit::Sector { inode: of, sector, .. } if *of == inode => Some(*sector),
                Unit::Sector { .. }
                | Unit::Length { .. }
                | Unit::Named { .. }
                | Unit::Renamed { .. }
                | Unit::Removed { .. } => None,
            })
            .collect();
        let empty = Content::default();
        let cached = self.cached.get(&inode).unwrap_or(&empty);
        let durable = self.durable.get(&inode).unwrap_or(&empty);
        for sector in offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR) {
            let now = sector_of(cached, sector);
            // A sector that says what the platter says already makes no difference, whether it survives or not.
            if unsynced.contains(&sector) || now != sector_of(durable, sector) {
                let length = SECTOR.min(cached.len() - sector * SECTOR);
                let bytes = now.get(..length).unwrap_or_default().into();
                self.pending.push(Unit::Sector { inode, sector, bytes });
            }
        }
    }

    /// Settles the pending units that a sync is about: `keep` says which of them reach the platter.
    fn settle(&mut self, about: impl Fn(&Unit) -> bool, keep: impl Fn(usize) -> bool) {
        let (settled, left): (Vec<Unit>, Vec<Unit>) = std::mem::take(&mut self.pending).into_iter().partition(about);
        self.pending = left;
        for (at, unit) in settled.iter().enumerate() {
            if keep(at) {
                self.apply(unit);
            }
        }
    }

    /// After a power cut: what is on the platter is all there is.
    fn restart(&mut self) {
        self.pending.clear();
        self.cached_names.clone_from(&self.durable_names);
        let named: BTreeSet<u64> = self.durable_names.values().copied().collect();
        self.durable.retain(|inode, _| named.contains(inode));
        for inode in named {
            self.durable.entry(inode).or_default();
        }
        self.cached.clone_from(&self.durable);
    }
}

#[derive(Debug, Default)]
struct Machine {
    disk: Disk,
    operations: u64,
    calls: BTreeMap<Call, u64>,
    fault: Option<(u64, Fault)>,
    call_fault: Option<(Call, u64, Fault)>,
    full: bool,
    happened: bool,
    history: Option<Vec<Moment>>,
    trace: Vec<String>,
}

/// A simulated disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<Machine>>);

/// The state of a disk after one of its operations.
#[derive(Debug, Clone)]
pub struct Moment {
    disk: Disk,
    operation: String,
}

impl Moment {
    /// The note that stood at this moment.
    pub const fn note(&self) -> u64 {
        self.disk.note
    }

    /// The operation that had just been done.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// The disk as a process finds it that starts again on the same kernel.
    pub fn same_kernel(&self) -> SimDisk {
        SimDisk::of(self.disk.clone())
    }

    /// How many units are not synced.
    pub fn unsynced(&self) -> usize {
        self.disk.pending.len()
    }

    /// The disks that a power cut may leave: all subsets of up to 2^11 unsynced units, and otherwise none, all, prefixes,
    /// suffixes, each one missing, each one alone and random ones from the seed. Equal disks come once.
    pub fn power_cuts(&self, seed: u64) -> impl Iterator<Item = SimDisk> + '_ {
        let units = self.disk.pending.len();
        let mut seen = BTreeSet::new();
        subsets(units, seed).filter_map(move |kept| {
            let mut disk = self.disk.clone();
            disk.settle(|_| true, |at| kept.get(at).copied().unwrap_or(false));
            disk.restart();
            let disk = SimDisk::of(disk);
            seen.insert(disk.fingerprint()).then_some(disk)
        })
    }
}

fn subsets(units: usize, seed: u64) -> Box<dyn Iterator<Item = Vec<bool>>> {
    if units <= EXHAUSTIVE_UNITS {
        return Box::new((0_u32..1 << units).map(move |mask| (0..units).map(|at| mask >> at & 1 == 1).collect()));
    }
    let structured = (0..=units)
        .map(move |cut| (0..units).map(|at| at < cut).collect::<Vec<bool>>())
        .chain((1..units).map(move |cut| (0..units).map(|at| at >= cut).collect()))
        .chain((0..units).map(move |one| (0..units).map(|at| at != one).collect()))
        .chain((0..units).map(move |one| (0..units).map(|at| at == one).collect()));
    let random = (0..RANDOM_SUBSETS).map(move |number| {
        (0..units as u64).map(|at| mix(seed ^ mix(number * 0x1_0001 + at / 64)) >> (at % 64) & 1 == 1).collect()
    });
    Box::new(structured.chain(random))
}

/// A scrambled number (the finalizer of SplitMix64).
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn of(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(Machine { disk, ..Machine::default() })))
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder of it.
    pub fn folder(&self, name: &str) -> Arc<dyn Storage> {
        Arc::new(SimFolder { disk: self.clone(), prefix: format!("{name}/") })
    }

    /// From now on each operation leaves a [`Moment`].
    pub fn record(&self) {
        self.machine().history = Some(Vec::new());
    }

    /// The moments recorded, and an end to recording.
    pub fn recorded(&self) -> Vec<Moment> {
        self.machine().history.take().unwrap_or_default()
    }

    /// Notes something for the moments that follow, and leaves a moment: what is promised from here on.
    pub fn note(&self, note: u64) {
        let mut machine = self.machine();
        machine.disk.note = note;
        machine.moment(format!("note {note}"));
    }

    /// How many operations there were that may fail.
    pub fn operations(&self) -> u64 {
        self.machine().operations
    }

    /// How many calls of a kind there were.
    pub fn calls(&self, call: Call) -> u64 {
        self.machine().calls.get(&call).copied().unwrap_or(0)
    }

    /// The operation of this number, counted from zero, meets a fault.
    pub fn fault_at(&self, operation: u64, fault: Fault) {
        let mut machine = self.machine();
        machine.fault = Some((operation, fault));
        machine.happened = false;
    }

    /// The `nth` call of a kind from now on, counted from one, meets a fault.
    pub fn fault_at_call(&self, call: Call, nth: u64, fault: Fault) {
        let mut machine = self.machine();
        let so_far = machine.calls.get(&call).copied().unwrap_or(0);
        machine.call_fault = Some((call, so_far + nth, fault));
        machine.happened = false;
    }

    /// From now on there is no space, until it is said that there is: no file is made and none grows. What was written before
    /// can be written again.
    pub fn set_full(&self, full: bool) {
        self.machine().full = full;
    }

    /// Whether the fault has made a difference.
    pub fn fault_happened(&self) -> bool {
        self.machine().happened
    }

    /// The disk now, with what is not synced.
    pub fn moment(&self) -> Moment {
        let machine = self.machine();
        Moment { disk: machine.disk.clone(), operation: machine.trace.last().cloned().unwrap_or_default() }
    }

    /// A copy of the disk as a process finds it that starts again on the same kernel.
    #[must_use]
    pub fn same_kernel(&self) -> Self {
        Self::of(self.machine().disk.clone())
    }

    /// A hash of what is on the platter.
    pub fn fingerprint(&self) -> [u8; 32] {
        let machine = self.machine();
        let mut hasher = blake3::Hasher::new();
        for (name, inode) in &machine.disk.durable_names {
            let content = machine.disk.durable.get(inode).map_or(&[][..], |content| content);
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            hasher.update(&(content.len() as u64).to_le_bytes()).update(content);
        }
        *hasher.finalize().as_bytes()
    }

    /// All files (`folder/name`) with their contents, as a running process sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let machine = self.machine();
        let content = |inode| machine.disk.cached.get(inode).map(|content| content.to_vec()).unwrap_or_default();
        machine.disk.cached_names.iter().map(|(name, inode)| (name.clone(), content(inode))).collect()
    }

    /// A disk with these files, all on the platter.
    pub fn with_files(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut disk = Disk::default();
        for (name, content) in files {
            disk.next_inode += 1;
            disk.durable_names.insert(name.clone(), disk.next_inode);
            disk.durable.insert(disk.next_inode, Arc::new(content.clone()));
        }
        disk.restart();
        Self::of(disk)
    }

    /// Changes a file on the platter and in the cache: `None` if there is no such file.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
        let mut machine = self.machine();
        let inode = *machine.disk.cached_names.get(name)?;
        let content = Arc::make_mut(machine.disk.cached.get_mut(&inode)?);
        change(content);
        let content = content.clone();
        machine.disk.durable.insert(inode, Arc::new(content));
        Some(())
    }
}

fn no_such_file() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Machine {
    fn moment(&mut self, operation: String) {
        if let Some(history) = &mut self.history {
            history.push(Moment { disk: self.disk.clone(), operation: operation.clone() });
        }
        self.trace.push(operation);
    }

    /// Counts an operation and says which fault meets it.
    fn meet(&mut self, call: Call) -> Option<Fault> {
        let number = self.operations;
        self.operations += 1;
        let nth = self.calls.entry(call).or_default();
        *nth += 1;
        let of_call = self.call_fault.filter(|(of, at, _)| (*of, *at) == (call, *nth)).map(|(_, _, fault)| fault);
        self.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault).or(of_call)
    }

    fn fail(&mut self, operation: &str, fault: Fault) -> io::Error {
        self.happened = true;
        self.moment(format!("{operation}: {fault:?}"));
        match fault {
            Fault::NoSpace | Fault::NoSpaceSync => io::Error::from(io::ErrorKind::StorageFull),
            Fault::Error | Fault::HalfSync | Fault::DropSync => io::Error::other("simulated"),
        }
    }

    fn sync(&mut self, operation: String, about: impl Fn(&Unit) -> bool) -> io::Result<()> {
        match self.meet(Call::Sync) {
            None | Some(Fault::NoSpace) => self.disk.settle(about, |_| true),
            Some(Fault::DropSync) => self.happened = true,
            Some(fault @ (Fault::Error | Fault::NoSpaceSync)) => {
                self.disk.settle(about, |_| false);
                return Err(self.fail(&operation, fault));
            }
            Some(fault @ Fault::HalfSync) => {
                self.disk.settle(about, |at| at.is_multiple_of(2));
                return Err(self.fail(&operation, fault));
            }
        }
        self.moment(operation);
        Ok(())
    }

    /// An operation on names: its units are pending afterwards.
    fn names(&mut self, operation: String, unit: Unit) -> io::Result<()> {
        let makes = matches!(unit, Unit::Named { .. });
        match self.meet(Call::Name) {
            Some(fault @ (Fault::Error | Fault::HalfSync)) => return Err(self.fail(&operation, fault)),
            Some(fault @ (Fault::NoSpace | Fault::NoSpaceSync)) if makes => return Err(self.fail(&operation, fault)),
            None | Some(Fault::NoSpace | Fault::NoSpaceSync | Fault::DropSync) => {}
        }
        if makes && self.full {
            return Err(self.fail(&operation, Fault::NoSpace));
        }
        match &unit {
            Unit::Named { name, inode } => {
                self.disk.cached_names.insert(name.clone(), *inode);
            }
            Unit::Renamed { from, to, inode } => {
                self.disk.cached_names.remove(from);
                self.disk.cached_names.insert(to.clone(), *inode);
            }
            Unit::Removed { name } => {
                self.disk.cached_names.remove(name);
            }
            Unit::Sector { .. } | Unit::Length { .. } => {}
        }
        self.disk.pending.push(unit);
        self.moment(operation);
        Ok(())
    }
}

struct SimFolder {
    disk: SimDisk,
    prefix: String,
}

impl SimFolder {
    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn file(&self, path: String, inode: u64) -> Box<dyn StorageFile> {
        Box::new(SimFile { disk: self.disk.clone(), path, inode })
    }
}

impl Storage for SimFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let machine = self.disk.machine();
        let names = machine.disk.cached_names.keys();
        Ok(names.filter_map(|name| name.strip_prefix(&self.prefix)).map(str::to_owned).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let path = self.path(name);
        let mut machine = self.disk.machine();
        machine.disk.next_inode += 1;
        let inode = machine.disk.next_inode;
        machine.names(format!("create {path}"), Unit::Named { name: path.clone(), inode })?;
        machine.disk.cached.insert(inode, Content::default());
        drop(machine);
        Ok(self.file(path, inode))
    }

    fn open(&self, name: &str, _: bool) -> io::Result<Box<dyn StorageFile>> {
        let path = self.path(name);
        let inode = *self.disk.machine().disk.cached_names.get(&path).ok_or_else(no_such_file)?;
        Ok(self.file(path, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        let mut machine = self.disk.machine();
        let inode = *machine.disk.cached_names.get(&from).ok_or_else(no_such_file)?;
        machine.names(format!("rename {from} to {to}"), Unit::Renamed { from, to, inode })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let name = self.path(name);
        let mut machine = self.disk.machine();
        if !machine.disk.cached_names.contains_key(&name) {
            return Err(no_such_file());
        }
        machine.names(format!("remove {name}"), Unit::Removed { name })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.machine().sync(format!("sync folder {}", self.prefix), |unit| unit.of_folder(&self.prefix))
    }
}

struct SimFile {
    disk: SimDisk,
    path: String,
    inode: u64,
}

impl StorageFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.machine().disk.cached.get(&self.inode).map_or(0, |content| content.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let machine = self.disk.machine();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let content = machine.disk.cached.get(&self.inode).ok_or_else(no_such_file)?;
        let part = content.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let operation = format!("write {} bytes at {offset} of {}", bytes.len(), self.path);
        let mut machine = self.disk.machine();
        let length = machine.disk.cached.get(&self.inode).map_or(0, |content| content.len());
        let grows = offset + bytes.len() > length;
        let met = machine.meet(Call::Write).or((machine.full && grows).then_some(Fault::NoSpace));
        if let Some(fault @ (Fault::Error | Fault::HalfSync | Fault::NoSpace | Fault::NoSpaceSync)) = met {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            machine.disk.write(self.inode, half, offset);
            return Err(machine.fail(&operation, fault));
        }
        machine.disk.write(self.inode, bytes, offset);
        machine.moment(operation);
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.machine().sync(format!("sync {}", self.path), |unit| unit.of_file(self.inode))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }
}
