//! The data folder: the only place that knows where things lie in it and opens them. The journal may be in PostgreSQL or in Kafka
//! instead; what stands beside it is in the folder wherever it is.
//!
//! Reading takes no lock and writes nothing there. The id index has no reader of its own (opening it deletes what it can't
//! use), so its runs, which never change, are opened through links in a temporary folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_schemas::{Block, BookId, Sequence};
use ledger_core::ports::{Head, JournalFault, JournalReader};
use projections::ports::{EventFeed, FeedFault};
use stores::embedded;
use stores::ids::{RunIndex, RunIndexOptions};
use stores::kafka::{KafkaReader, KafkaUrl};
use stores::place::JournalPlace;
use stores::postgres::{PostgresReader, PostgresUrl};
use stores::rocks::{RocksStore, damage_marker};
use stores::segments::{self, DiskStorage, SegmentReader, Storage};
use tempfile::TempDir;

use crate::journal::Journal;
use crate::outcome::Failure;
use crate::progress::Progress;

/// A data folder, and the journal that belongs to it.
#[derive(Debug, Clone)]
pub struct Folder {
    data: PathBuf,
    place: Place,
}

/// Where the journal is.
#[derive(Debug, Clone)]
pub enum Place {
    /// In the data folder.
    Segments,
    /// In PostgreSQL.
    Postgres(PostgresUrl, BookId),
    /// In Kafka.
    Kafka(KafkaUrl, BookId),
}

/// A reader of the journal, wherever it is, and a feed of it.
#[derive(Debug)]
pub enum Reader {
    /// Of a journal in the data folder.
    Segments(Box<SegmentReader>),
    /// Of one in PostgreSQL.
    Postgres(Box<PostgresReader>, BookId),
    /// Of one in Kafka.
    Kafka(Box<KafkaReader>, BookId),
}

impl Reader {
    /// The book.
    pub const fn book(&self) -> BookId {
        match self {
            Self::Segments(reader) => reader.book(),
            Self::Postgres(_, book) | Self::Kafka(_, book) => *book,
        }
    }

    /// The newest durable sequence.
    pub fn durable_sequence(&mut self) -> Result<Sequence, JournalFault> {
        match self {
            Self::Segments(reader) => reader.durable_sequence(),
            Self::Postgres(reader, _) => reader.durable_sequence(),
            Self::Kafka(reader, _) => reader.durable_sequence(),
        }
    }
}

impl JournalReader for Reader {
    fn block_at(&mut self, sequence: Sequence) -> Result<Option<Block>, JournalFault> {
        match self {
            Self::Segments(reader) => reader.block_at(sequence),
            Self::Postgres(reader, _) => reader.block_at(sequence),
            Self::Kafka(reader, _) => reader.block_at(sequence),
        }
    }

    fn next_block(&mut self) -> Result<Option<Block>, JournalFault> {
        match self {
            Self::Segments(reader) => JournalReader::next_block(&mut **reader),
            Self::Postgres(reader, _) => JournalReader::next_block(&mut **reader),
            Self::Kafka(reader, _) => JournalReader::next_block(&mut **reader),
        }
    }
}

impl EventFeed for Reader {
    fn next_block(&mut self, after: Sequence, wait: Duration) -> Result<Option<Block>, FeedFault> {
        match self {
            Self::Segments(reader) => EventFeed::next_block(&mut **reader, after, wait),
            Self::Postgres(reader, _) => EventFeed::next_block(&mut **reader, after, wait),
            Self::Kafka(reader, _) => EventFeed::next_block(&mut **reader, after, wait),
        }
    }
}

/// The id index, read through links that go away with it.
#[derive(Debug)]
pub struct Ids {
    /// The index.
    pub index: RunIndex,
    /// What it could not use, in sentences.
    pub refused: Vec<String>,
    _links: TempDir,
}

/// Keeps ledgerd from starting.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Folder {
    /// The folder, if it holds a journal or is told of one elsewhere.
    pub fn find(data: &Path, elsewhere: Option<(JournalPlace, BookId)>) -> Result<Self, Failure> {
        let place = match elsewhere {
            None => Place::Segments,
            Some((JournalPlace::Postgres(url), book)) => Place::Postgres(url, book),
            Some((JournalPlace::Kafka(url), book)) => Place::Kafka(url, book),
        };
        let folder = Self { data: data.to_owned(), place };
        if !matches!(folder.place, Place::Segments) || segments::exists(&folder.storage())? {
            return Ok(folder);
        }
        let text = format!(
            "there is no journal in {}; name the data folder with --data, or servers with --journal",
            data.display()
        );
        Err(Failure::Unreadable(text))
    }

    /// Where the journal is.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.data
    }

    /// Where the journal's files are, if it is in the folder.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(DiskStorage::new(embedded::journal_folder(&self.data)))
    }

    /// Where the files of the access log are, if there is one.
    pub fn access_storage(&self) -> Arc<dyn Storage> {
        Arc::new(DiskStorage::new(stores::access_log::folder(&self.data)))
    }

    /// Where the files of the control journal are, if there is one.
    pub fn control_storage(&self) -> Arc<dyn Storage> {
        Arc::new(DiskStorage::new(stores::control::folder(&self.data)))
    }

    /// A reader of the journal.
    pub fn reader(&self) -> Result<Reader, Failure> {
        Ok(match &self.place {
            Place::Segments => Reader::Segments(Box::new(SegmentReader::open(&self.storage())?)),
            Place::Postgres(url, book) => Reader::Postgres(Box::new(PostgresReader::open(url.clone(), *book)), *book),
            Place::Kafka(url, book) => Reader::Kafka(Box::new(KafkaReader::open(url, *book)), *book),
        })
    }

    /// The journal, up to where it is durable now.
    pub fn journal(&self, progress: Progress) -> Result<Journal, Failure> {
        Self::up_to_now(self.reader()?, progress)
    }

    /// The access log, up to where it is durable now.
    pub fn access_journal(&self, progress: Progress) -> Result<Journal, Failure> {
        if !stores::access_log::exists(&self.data)? {
            return Err(Failure::usage(format!("there is no access log in {}", self.data.display())));
        }
        Self::up_to_now(Reader::Segments(Box::new(SegmentReader::open(&self.access_storage())?)), progress)
    }

    /// The control journal, up to where it is durable now.
    pub fn control_journal(&self, progress: Progress) -> Result<Journal, Failure> {
        if matches!(self.place, Place::Postgres(..)) {
            return Err(Failure::usage("in PostgreSQL the control plane's facts are the rows of control_events"));
        }
        if !stores::control::exists(&self.data)? {
            return Err(Failure::usage(format!("there is no control journal in {}", self.data.display())));
        }
        Self::up_to_now(Reader::Segments(Box::new(SegmentReader::open(&self.control_storage())?)), progress)
    }

    fn up_to_now(mut reader: Reader, progress: Progress) -> Result<Journal, Failure> {
        let durable = reader.durable_sequence()?;
        let head = reader.block_at(durable)?.map_or_else(Head::default, |block| {
            let header = block.header();
            Head { sequence: durable, hash: block.hash(), recorded_at: header.recorded_at, epoch: header.epoch }
        });
        Journal::new(Box::new(reader), head, progress)
    }

    /// The read models and checkpoints as they are now; `None` if there are none yet.
    pub fn rocks_read_only(&self) -> Result<Option<RocksStore>, Failure> {
        let path = embedded::rocks_folder(&self.data);
        if let Ok(reason) = std::fs::read_to_string(damage_marker(&path)) {
            return Err(Failure::Damaged(format!("marked as damaged: {}", reason.trim())));
        }
        if !path.join("CURRENT").exists() {
            return Ok(None);
        }
        Ok(Some(RocksStore::open_read_only(&path, &projections::NAMES)?))
    }

    /// The read models and checkpoints, to write. Ask for the lock first.
    pub fn rocks(&self, _lock: &Lock) -> Result<RocksStore, Failure> {
        Ok(RocksStore::open(&embedded::rocks_folder(&self.data), &projections::NAMES)?)
    }

    /// The id index as it is on disk; `None` if there is none yet.
    pub fn ids(&self, book: BookId) -> Result<Option<Ids>, Failure> {
        let folder = embedded::ids_folder(&self.data);
        let fault = |error: std::io::Error| Failure::Unreadable(format!("{}: {error}", folder.display()));
        if !folder.is_dir() {
            return Ok(None);
        }
        let folder = folder.canonicalize().map_err(fault)?;
        let links = TempDir::with_prefix("doppia-ids-").map_err(fault)?;
        for entry in std::fs::read_dir(&folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            if path.extension().is_some_and(|extension| extension == "run") {
                let link = links.path().join(path.file_name().unwrap_or_default());
                std::os::unix::fs::symlink(&path, link).map_err(fault)?;
            }
        }
        let mut options = RunIndexOptions::new(book, 0);
        let reader = Mutex::new(self.reader()?);
        options.hash_at = Some(Arc::new(move |sequence| {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.block_at(sequence).ok().flatten().map(|block| block.hash())
        }));
        let index = RunIndex::open(links.path(), options)?;
        let refused = index.notices().to_vec();
        Ok(Some(Ids { index, refused, _links: links }))
    }

    /// Takes the folder for writing; refused while ledgerd has it.
    pub fn lock(&self) -> Result<Lock, Failure> {
        let path = self.data.join("LOCK");
        let fault = |error: std::io::Error| Failure::Unreadable(format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(&path).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let holder = std::fs::read_to_string(&path).unwrap_or_default();
                let holder =
                    if holder.trim().is_empty() { String::new() } else { format!(" (process {})", holder.trim()) };
                let data = self.data.display();
                Err(Failure::usage(format!("{data} is in use by a running ledgerd{holder}: stop it first")))
            }
            Err(TryLockError::Error(error)) => Err(fault(error)),
        }
    }
}
