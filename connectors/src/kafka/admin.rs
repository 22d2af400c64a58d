//! Topics: made with the right partitions and settings, and looked at before anything is published.

use std::time::{Duration, Instant};

use event_schemas::BookId;
use event_schemas::topics::Topic;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;

use super::client::{ANSWERS_WITHIN, Reader, Told, make};
use super::error::KafkaFault;
use super::settings::KafkaSettings;

/// The most partitions that are made for a topic.
const PARTITIONS_MAX: usize = 1_000;

/// How topics are made where they are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicPlan {
    /// Partitions of a keyed topic.
    pub partitions: usize,
    /// Copies of each partition; `None` for the brokers' default.
    pub replication: Option<i32>,
}

impl Default for TopicPlan {
    fn default() -> Self {
        Self { partitions: 8, replication: None }
    }
}

/// A topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// Its name.
    pub topic: String,
    /// Its partitions.
    pub partitions: usize,
    /// Whether it was made now.
    pub made: bool,
}

/// Settings of topics that must keep everything: the journal's, in which the relay finds its place, and dead letters, which are
/// nowhere else.
const KEEPS_ALL: [(&str, &str); 3] = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];

/// Runs what the client does asynchronously to its end. Never called from within a runtime.
fn wait_for<T>(work: impl Future<Output = T>) -> Result<T, KafkaFault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| KafkaFault::Client(format!("no runtime: {error}")))?;
    Ok(runtime.block_on(work))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWERS_WITHIN)).operation_timeout(Some(ANSWERS_WITHIN))
}

fn refused(what: &str, code: RDKafkaErrorCode) -> KafkaFault {
    KafkaFault::Client(format!("{what}: {code}"))
}

/// Makes the topics of a book that are missing, each keyed one with its dead-letter topic, and checks those that are there.
/// Nothing is ever deleted. Must not be called from within an asynchronous runtime.
pub fn make_topics(settings: &KafkaSettings, book: BookId, plan: TopicPlan) -> Result<Vec<TopicReport>, KafkaFault> {
    if !(1..=PARTITIONS_MAX).contains(&plan.partitions) {
        return Err(KafkaFault::Settings(format!("keyed topics have 1 to {PARTITIONS_MAX} partitions")));
    }
    let reader = Reader::new(settings)?;
    let journal = settings.journal_topic(book);
    let mut wanted = vec![(journal.clone(), 1, true)];
    for topic in Topic::ALL {
        let name = settings.topic(topic);
        // Dead letters stand in the partition of the same number.
        let partitions = reader.partitions(&name)?.unwrap_or(plan.partitions);
        wanted.push((settings.dead_letters(&name), partitions, true));
        wanted.push((name, partitions, false));
    }
    let (admin, _): (AdminClient<Told>, _) = make(&settings.client())?;
    let mut reports = Vec::new();
    let mut missing = Vec::new();
    for (topic, partitions, keeps_all) in &wanted {
        let (partitions, keeps_all) = (*partitions, *keeps_all);
        let found = reader.partitions(topic)?;
        match found {
            None => missing.push(new_topic(topic, partitions, plan.replication, keeps_all)),
            Some(found) if found > 1 && *topic == journal => {
                return Err(KafkaFault::Partitions { topic: topic.clone(), found });
            }
            Some(found) if found < partitions && keeps_all => grow(&admin, topic, partitions)?,
            Some(_) => {}
        }
        if keeps_all && found.is_some() {
            check_settings(&admin, topic)?;
        }
        let partitions = found.map_or(partitions, |found| found.max(partitions));
        reports.push(TopicReport { topic: topic.clone(), partitions, made: found.is_none() });
    }
    if !missing.is_empty() {
        for one in wait_for(admin.create_topics(&missing, &options()))?? {
            match one {
                // Somebody else was faster; it is checked with the next start.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(refused(&format!("topic {topic} can't be made"), code)),
            }
        }
        // Made is not yet there for everybody: what follows would be told that nobody leads a partition.
        let until = Instant::now() + ANSWERS_WITHIN;
        for report in reports.iter().filter(|report| report.made) {
            while !reader.is_led(&report.topic)? {
                if Instant::now() > until {
                    return Err(KafkaFault::Late(ANSWERS_WITHIN));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    Ok(reports)
}

fn new_topic(topic: &str, partitions: usize, replication: Option<i32>, keeps_all: bool) -> NewTopic<'_> {
    let partitions = i32::try_from(partitions).unwrap_or(1);
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication.unwrap_or(-1)));
    let kept: &[_] = if keeps_all { &KEEPS_ALL } else { &[] };
    kept.iter().fold(new, |new, (name, value)| new.set(name, value))
}

/// Gives a dead-letter topic as many partitions as its topic.
fn grow(admin: &AdminClient<Told>, topic: &str, partitions: usize) -> Result<(), KafkaFault> {
    for one in wait_for(admin.create_partitions([&NewPartitions::new(topic, partitions)], &options()))?? {
        if let Err((topic, code)) = one {
            return Err(refused(&format!("topic {topic} can't be given more partitions"), code));
        }
    }
    Ok(())
}

/// The settings without which records would go that must stay.
fn check_settings(admin: &AdminClient<Told>, topic: &str) -> Result<(), KafkaFault> {
    let described = wait_for(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options()))??;
    for one in described {
        let described = one.map_err(|code| refused(&format!("the settings of topic {topic} can't be read"), code))?;
        for (name, wanted) in KEEPS_ALL {
            let found = described.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
            if found != wanted {
                return Err(KafkaFault::TopicSetting { topic: topic.to_owned(), name, found, wanted });
            }
        }
    }
    Ok(())
}

/// Checks that a relay can publish: the topics of the book are there, the journal's with one partition and with settings that
/// keep all records. Must not be called from within an asynchronous runtime.
pub fn check_topics(settings: &KafkaSettings, book: BookId) -> Result<(), KafkaFault> {
    let reader = Reader::new(settings)?;
    let journal = settings.journal_topic(book);
    match reader.partitions(&journal)? {
        None => return Err(KafkaFault::MissingTopic { topic: journal }),
        Some(1) => {}
        Some(found) => return Err(KafkaFault::Partitions { topic: journal, found }),
    }
    for topic in Topic::ALL.map(|topic| settings.topic(topic)) {
        if reader.partitions(&topic)?.is_none() {
            return Err(KafkaFault::MissingTopic { topic });
        }
    }
    let (admin, _): (AdminClient<Told>, _) = make(&settings.client())?;
    check_settings(&admin, &journal)
}

/// That a client can be made at all, so that a wrong property is told before anything starts.
pub(super) fn check_properties(settings: &KafkaSettings) -> Result<(), KafkaFault> {
    make::<BaseConsumer<Told>>(settings.client().set("group.id", "doppia-reader")).map(|_| ())
}
