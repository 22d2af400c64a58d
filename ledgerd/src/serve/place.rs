//! Where the book is kept: its journal in the data folder, in PostgreSQL or in Kafka, and what stands beside it in the data folder
//! whichever it is. What follows in `serve` does not know the difference.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use commands_api::Feeds;
use event_schemas::Sequence;
use ledger_core::ports::Journal;
use projections::ports::EventFeed;
use stores::embedded::{self, Beside, Embedded, EmbeddedOptions, Local};
use stores::ids::RunIndex;
use stores::kafka::{KafkaJournal, KafkaOptions, KafkaUrl};
use stores::place::JournalPlace;
use stores::postgres::{LeaseWatch, PostgresJournal, PostgresOptions, PostgresRows, PostgresUrl};
use stores::rocks::RocksStore;

use super::access::ALL_READ_MODELS;
use super::make_private;
use super::standby::Standby;
use crate::config::Config;

/// An open book.
pub(super) struct Place {
    pub(super) journal: Box<dyn Journal>,
    pub(super) ids: RunIndex,
    pub(super) rocks: RocksStore,
    /// A feed for the read models.
    pub(super) feed: Box<dyn EventFeed>,
    /// More feeds, for those who read events.
    pub(super) feeds: Feeds,
    pub(super) notices: Vec<String>,
    pub(super) lease: Option<LeaseWatch>,
    /// Whether the folder was made now.
    pub(super) fresh: bool,
}

fn options(config: &Config) -> EmbeddedOptions {
    let mut options = EmbeddedOptions {
        book: config.book_id(),
        witness: config.journal.witness.clone(),
        projections: &ALL_READ_MODELS,
        ..EmbeddedOptions::default()
    };
    if let Some(bytes) = config.journal.segment_bytes {
        options.segment_bytes = bytes;
    }
    options
}

/// Opens the book, and makes an empty one where there is none.
pub(super) fn open(config: &Config) -> anyhow::Result<Place> {
    let options = options(config);
    match &config.journal.url {
        None => in_the_folder(config, &options),
        Some(url) => match url.parse()? {
            JournalPlace::Postgres(url) => in_postgres(config, &options, url),
            JournalPlace::Kafka(url) => in_kafka(config, &options, url),
        },
    }
}

/// The data folder of a process that does not write the journal, locked.
pub(super) fn local(config: &Config) -> anyhow::Result<Local> {
    Ok(beside(config, &options(config))?.0)
}

fn in_the_folder(config: &Config, options: &EmbeddedOptions) -> anyhow::Result<Place> {
    let place = || format!("the data folder {}", config.data.display());
    let fresh = !embedded::exists(&config.data).with_context(place)?;
    if fresh {
        make_private(&config.data).with_context(place)?;
        embedded::create(&config.data, options).with_context(place)?;
    }
    let Embedded { journal, ids, rocks, notices, .. } = embedded::open(&config.data, options).with_context(place)?;
    let feed = journal.segment_reader();
    let reader = feed.another();
    let feeds: Feeds = Arc::new(move || Box::new(reader.another()));
    let (journal, feed) = (Box::new(journal), Box::new(feed));
    Ok(Place { journal, ids, rocks, feed, feeds, notices, lease: None, fresh })
}

/// The data folder beside a journal on servers, locked: two processes on one folder must not take the lease from each other.
fn beside(config: &Config, options: &EmbeddedOptions) -> anyhow::Result<(Local, bool)> {
    let place = || format!("the data folder {}", config.data.display());
    if embedded::exists(&config.data).with_context(place)? {
        anyhow::bail!(
            "{} holds a journal of its own: name another folder with --data, or leave --journal out",
            config.data.display()
        );
    }
    let fresh = !config.data.exists();
    make_private(&config.data).with_context(place)?;
    Ok((Local::open(&config.data, options).with_context(place)?, fresh))
}

fn in_postgres(config: &Config, options: &EmbeddedOptions, url: PostgresUrl) -> anyhow::Result<Place> {
    let (local, fresh) = beside(config, options)?;
    let mut postgres = PostgresOptions::new(url, config.book_id());
    postgres.holder = holder();
    postgres.lease_ttl = Duration::from_millis(config.journal.lease_ms);
    postgres.standby = config.journal.standby;
    postgres.allow_unsafe_server = config.journal.allow_unsafe_server;
    let (journal, beside) = if config.journal.standby {
        let waiting = Standby::in_postgres(local, &postgres.url, config.book_id())?;
        let journal = PostgresJournal::open(&postgres)?;
        let beside = waiting.end(&journal)?;
        (journal, beside)
    } else {
        let journal = PostgresJournal::open(&postgres)?;
        let beside = local.fit(&journal).context("the data folder")?;
        (journal, beside)
    };
    let Beside { ids, rocks, notices, .. } = beside;
    let (feed, readers, lease) = (journal.postgres_reader(), journal.readers(), journal.watch());
    let feeds: Feeds = Arc::new(move || Box::new(readers()));
    let (journal, feed) = (Box::new(journal), Box::new(feed));
    Ok(Place { journal, ids, rocks, feed, feeds, notices, lease, fresh })
}

/// The read models in PostgreSQL, of a journal that has begun: nothing in them is of another journal or ahead of this one.
pub(super) fn rows_in_postgres(config: &Config, feeds: &Feeds, head: Sequence) -> anyhow::Result<PostgresRows> {
    let url =
        config.database().context("read models in PostgreSQL need a journal there, or a database of their own")?;
    let (rows, mut notices) = PostgresRows::open(&url, config.book_id())?;
    let first = feeds().next_block(Sequence::ZERO, Duration::ZERO)?.map(|block| block.hash());
    notices.extend(rows.fit(first, head)?);
    for notice in notices {
        tracing::warn!("{notice}");
    }
    Ok(rows)
}

fn in_kafka(config: &Config, options: &EmbeddedOptions, url: KafkaUrl) -> anyhow::Result<Place> {
    let (local, fresh) = beside(config, options)?;
    let mut kafka = KafkaOptions::new(url, config.book_id());
    kafka.holder = holder();
    kafka.lease_ttl = Duration::from_millis(config.journal.lease_ms);
    kafka.standby = config.journal.standby;
    kafka.allow_unsafe_server = config.journal.allow_unsafe_server;
    let (journal, beside) = if config.journal.standby {
        let waiting = Standby::in_kafka(local, &kafka.url, config.book_id())?;
        let journal = KafkaJournal::open(&kafka)?;
        let beside = waiting.end(&journal)?;
        (journal, beside)
    } else {
        let journal = KafkaJournal::open(&kafka)?;
        let beside = local.fit(&journal).context("the data folder")?;
        (journal, beside)
    };
    let Beside { ids, rocks, notices, .. } = beside;
    let (feed, readers, lease) = (journal.kafka_reader(), journal.readers(), Some(journal.watch()));
    let feeds: Feeds = Arc::new(move || Box::new(readers()));
    let (journal, feed) = (Box::new(journal), Box::new(feed));
    Ok(Place { journal, ids, rocks, feed, feeds, notices, lease, fresh })
}

/// How this process calls itself to those who look at the lease.
pub(super) fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} on {}", std::process::id(), host.trim())
}
