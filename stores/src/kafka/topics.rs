//! The topics of a book: making them, and what must be so of them before they keep a journal.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use event_schemas::BookId;
use event_schemas::bounds::BLOCK_MAX_BYTES;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Context, Trouble};
use super::{KafkaFault, KafkaUrl, blocks_topic, writer_topic};

const WITHIN: Duration = Duration::from_secs(20);

/// Whoever does not answer within this time is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How many replicas a journal has at least, and how many of them are in sync with each answer.
const REPLICAS: usize = 3;
const IN_SYNC: usize = 2;

/// A block, its key and its headers, with much to spare.
const RECORD_MAX_BYTES: usize = BLOCK_MAX_BYTES + 16 * 1024;

/// What a topic of blocks is made with, and must have. Whatever else a cluster sets stays as it is.
const OF_BLOCKS: [(&str, &str); 5] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("compression.type", "producer"),
    ("unclean.leader.election.enable", "false"),
];

/// The signs of life need not be kept: an hour of them, in small files.
const OF_SIGNS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "3600000"),
    ("segment.ms", "3600000"),
    ("segment.bytes", "1048576"),
];

/// What making the topics did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicsMade {
    /// The topics that were made now, of those that a book needs.
    pub made: Vec<String>,
    /// All of them.
    pub topics: Vec<String>,
}

struct Admin<'a> {
    url: &'a KafkaUrl,
    client: AdminClient<Context>,
    /// Asks for metadata: unlike the other it tells why it could not connect.
    asker: BaseConsumer<Context>,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Admin<'a> {
    fn connect(url: &'a KafkaUrl) -> Result<Self, KafkaFault> {
        let client =
            url.client().create_with_context(Context::default()).map_err(|error| KafkaFault::client(&error))?;
        let mut config = url.client();
        config.set("group.id", "doppia.journal");
        let asker = config.create_with_context(Context::default()).map_err(|error| KafkaFault::client(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(Self { url, client, asker, runtime })
    }

    fn trouble(&self, error: &KafkaError, topic: &str) -> KafkaFault {
        self.client.inner().context().trouble(error).fault(self.url, topic)
    }

    fn ask<T>(&self, topic: &str, asked: impl Future<Output = Result<T, KafkaError>>) -> Result<T, KafkaFault> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(WITHIN * 2, asked).await });
        match answer {
            Ok(answer) => answer.map_err(|error| self.trouble(&error, topic)),
            Err(_) => Err(Trouble::Lost("no answer in time".into()).fault(self.url, topic)),
        }
    }

    fn options() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(WITHIN)).operation_timeout(Some(WITHIN))
    }

    /// How many brokers there are, and of a topic its partitions with their replicas; `None` if there is no such topic.
    fn layout(&self, topic: &str) -> Result<(usize, Option<Vec<usize>>), KafkaFault> {
        let found = self.asker.fetch_metadata(Some(topic), CONNECT_WITHIN).map_err(|error| {
            while self.asker.poll(Duration::from_millis(10)).is_some() {}
            self.asker.context().trouble(&error).fault(self.url, topic)
        })?;
        let brokers = found.brokers().len();
        let Some(there) = found.topics().iter().find(|there| there.name() == topic) else { return Ok((brokers, None)) };
        match there.error().map(RDKafkaErrorCode::from) {
            None => {
                Ok((brokers, Some(there.partitions().iter().map(|partition| partition.replicas().len()).collect())))
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok((brokers, None)),
            Some(code) => Err(self.trouble(&KafkaError::MetadataFetch(code), topic)),
        }
    }

    fn settings(&self, topic: &str) -> Result<BTreeMap<String, String>, KafkaFault> {
        let of = ResourceSpecifier::Topic(topic);
        let found = self.ask(topic, self.client.describe_configs([&of], &Self::options()))?;
        let mut settings = BTreeMap::new();
        for resource in found {
            let resource = resource.map_err(|code| self.trouble(&KafkaError::AdminOp(code), topic))?;
            let known = resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
            settings.extend(known);
        }
        Ok(settings)
    }

    fn make(&self, topic: &str, replicas: usize, settings: &[(&str, &str)]) -> Result<bool, KafkaFault> {
        let count = i32::try_from(replicas).unwrap_or(i32::MAX);
        let mut new = NewTopic::new(topic, 1, TopicReplication::Fixed(count));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let made = self.ask(topic, self.client.create_topics([&new], &Self::options()))?;
        match made.into_iter().next() {
            Some(Ok(_)) => Ok(true),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(self.trouble(&KafkaError::AdminOp(code), topic)),
            None => Err(Trouble::Lost("the cluster said nothing of it".into()).fault(self.url, topic)),
        }
    }
}

/// Makes the topics of a book where they are missing, and checks those that are there. Nothing is ever changed or deleted.
pub fn make_topics(url: &KafkaUrl, book: BookId, allow_unsafe: bool) -> Result<TopicsMade, KafkaFault> {
    let admin = Admin::connect(url)?;
    let (blocks, signs) = (blocks_topic(url, book), writer_topic(url, book));
    let mut made = Vec::new();
    for topic in [&blocks, &signs] {
        let (brokers, found) = admin.layout(topic)?;
        if found.is_some() {
            continue;
        }
        if brokers < REPLICAS && !allow_unsafe {
            return Err(KafkaFault::ServerUnsafe(format!(
                "the cluster has {brokers} of the {REPLICAS} brokers that a journal needs to outlive the loss of one"
            )));
        }
        let replicas = brokers.clamp(1, REPLICAS);
        let in_sync = replicas.min(IN_SYNC).to_string();
        let max_bytes = RECORD_MAX_BYTES.max(1_048_588).to_string();
        let settings = if *topic == blocks {
            let more = [("min.insync.replicas", in_sync.as_str()), ("max.message.bytes", max_bytes.as_str())];
            OF_BLOCKS.into_iter().chain(more).collect::<Vec<_>>()
        } else {
            OF_SIGNS.to_vec()
        };
        if admin.make(topic, replicas, &settings)? {
            made.push(topic.clone());
        }
    }
    // A topic that was made now is known everywhere a moment later.
    for topic in [&blocks, &signs] {
        for _ in 0..100 {
            if admin.layout(topic)?.1.is_some_and(|partitions| !partitions.is_empty()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    check_with(&admin, book, allow_unsafe)?;
    Ok(TopicsMade { made, topics: vec![blocks, signs] })
}

/// Checks the topics of a book.
pub(super) fn check(url: &KafkaUrl, book: BookId, allow_unsafe: bool) -> Result<(), KafkaFault> {
    check_with(&Admin::connect(url)?, book, allow_unsafe)
}

fn check_with(admin: &Admin<'_>, book: BookId, allow_unsafe: bool) -> Result<(), KafkaFault> {
    let url = admin.url;
    let (blocks, signs) = (blocks_topic(url, book), writer_topic(url, book));
    let mut replicas = usize::MAX;
    for topic in [&signs, &blocks] {
        let missing = || KafkaFault::TopicMissing { server: url.to_string(), topic: topic.clone() };
        let partitions = admin.layout(topic)?.1.ok_or_else(missing)?;
        let [copies] = partitions.as_slice() else {
            return Err(KafkaFault::TopicUnfit(format!(
                "the topic {topic} has {} partitions and must have one: partitions can't be taken away, so name another \
                 prefix in the URL, or delete the topic if nothing is in it, and run `ledgerd migrate`",
                partitions.len()
            )));
        };
        replicas = *copies;
    }
    judge(&blocks, replicas, &admin.settings(&blocks)?, allow_unsafe)
}

/// What is wrong with a topic of blocks.
fn judge(
    topic: &str,
    replicas: usize,
    settings: &BTreeMap<String, String>,
    allow_unsafe: bool,
) -> Result<(), KafkaFault> {
    let of = |name: &str| settings.get(name).map_or("", String::as_str);
    let number = |name: &str| of(name).parse::<usize>().unwrap_or(0);
    let unfit = |name: &str, needed: &str, why: &str| {
        KafkaFault::TopicUnfit(format!(
            "the topic {topic} has {name} = {}: {why}. Set it: kafka-configs.sh --bootstrap-server … --alter --topic {topic} \
             --add-config {name}={needed}",
            of(name)
        ))
    };
    for (name, why) in [
        ("cleanup.policy", "its records would be compacted away"),
        ("retention.ms", "its records would be deleted after that time"),
        ("retention.bytes", "its oldest records would be deleted"),
        ("compression.type", "the broker would pack records anew"),
    ] {
        let needed = OF_BLOCKS.into_iter().find(|(known, _)| *known == name).map_or("", |(_, needed)| needed);
        if of(name) != needed {
            return Err(unfit(name, needed, why));
        }
    }
    if number("max.message.bytes") < RECORD_MAX_BYTES {
        return Err(unfit("max.message.bytes", "1048588", "the largest block would be refused"));
    }
    let mut risks = Vec::new();
    if of("unclean.leader.election.enable") != "false" {
        risks.push("unclean.leader.election.enable = true".to_owned());
    }
    if replicas < REPLICAS {
        risks.push(format!("{replicas} of {REPLICAS} replicas"));
    }
    if number("min.insync.replicas") < IN_SYNC {
        risks.push(format!("min.insync.replicas = {} instead of {IN_SYNC}", of("min.insync.replicas")));
    }
    if risks.is_empty() {
        return Ok(());
    }
    let risks = format!("the topic {topic} has {}", risks.join(", "));
    if !allow_unsafe {
        return Err(KafkaFault::ServerUnsafe(risks));
    }
    tracing::warn!(%risks, "Kafka may lose what it acknowledges: this is for development only");
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_setting_that_could_lose_records_is_told() {
        let good: BTreeMap<String, String> = OF_BLOCKS
            .into_iter()
            .chain([("min.insync.replicas", "2"), ("max.message.bytes", "1048588")])
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        judge("t", 3, &good, false).unwrap();
        let with = |name: &str, value: &str| {
            let mut settings = good.clone();
            settings.insert(name.into(), value.into());
            settings
        };
        for (name, value) in [
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "1073741824"),
            ("compression.type", "zstd"),
            ("max.message.bytes", "900000"),
        ] {
            // These no override makes good.
            let fault = judge("t", 3, &with(name, value), true).unwrap_err();
            assert!(matches!(fault, KafkaFault::TopicUnfit(_)), "{fault:?}");
            let text = fault.to_string();
            assert!(text.contains(&format!("{name} = {value}")) && text.contains("--add-config"), "{text}");
        }
        for (name, value) in [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")] {
            let fault = judge("t", 3, &with(name, value), false).unwrap_err().to_string();
            assert!(fault.contains(name) && fault.contains("--allow-unsafe-server"), "{fault}");
            judge("t", 3, &with(name, value), true).unwrap();
        }
        assert!(judge("t", 2, &good, false).unwrap_err().to_string().contains("2 of 3 replicas"));
        judge("t", 1, &good, true).unwrap();
    }
}
