//! A real Kafka broker for tests of the whole, and a look at what topics hold.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;

use super::root;

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A broker, killed when dropped.
pub struct Kafka {
    data: PathBuf,
    /// Deleted with it.
    folder: Option<tempfile::TempDir>,
    /// More lines for its configuration.
    properties: String,
    port: u16,
    controller: u16,
    /// Of a journal there.
    pub url: String,
}

/// A record: its key, its event id and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub key: String,
    pub id: String,
    pub value: Value,
}

impl Stored {
    pub fn sequence(&self) -> u64 {
        self.value["sequence"].as_u64().unwrap()
    }
}

impl Kafka {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut kafka = Self::start_in(folder.path().join("kafka"), |_, _| String::new());
        kafka.folder = Some(folder);
        kafka
    }

    /// In a folder, with more lines for its configuration, which are made from its port and its controller's.
    pub fn start_in(data: PathBuf, properties: impl FnOnce(u16, u16) -> String) -> Self {
        let (port, controller) = (free_port(), free_port());
        let url = format!("kafka://127.0.0.1:{port}/bank");
        let kafka = Self { data, folder: None, properties: properties(port, controller), port, controller, url };
        kafka.restart();
        kafka
    }

    /// With the topics of a book and without a journal.
    pub fn migrated() -> Self {
        let kafka = Self::start();
        let done = Self::migrate(&kafka.url, &["--allow-unsafe-server"]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        kafka
    }

    pub fn migrate(url: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ledgerd")).args(["migrate", "--journal", url]).args(more).output().unwrap()
    }

    pub fn url_of(&self, prefix: &str) -> String {
        format!("kafka://127.0.0.1:{}/{prefix}", self.port)
    }

    fn act(&self, act: &str) {
        let mut command = Command::new(root().join("deploy/kafka.sh"));
        command.arg(act).arg(&self.data).env("CONTROLLER_PORT", self.controller.to_string());
        command.env("KAFKA_PROPERTIES", &self.properties);
        if act == "start" {
            command.arg(self.port.to_string());
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "kafka.sh {act}: {}", String::from_utf8_lossy(&done.stderr));
    }

    pub fn restart(&self) {
        self.act("start");
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        self.act("kill");
    }

    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The committed records of a topic, once there are so many: brokers mark what a relay has committed a little later.
    pub fn read_until(&self, topic: &str, count: usize) -> Vec<Stored> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let records = self.read(topic);
            if records.len() >= count || Instant::now() > end {
                return records;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All committed records of a topic, partition by partition.
    fn read(&self, topic: &str) -> Vec<Stored> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("group.id", "test-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let wait = Duration::from_secs(20);
        let metadata = consumer.fetch_metadata(Some(topic), wait).unwrap();
        let mut records = Vec::new();
        for partition in 0..i32::try_from(metadata.topics()[0].partitions().len()).unwrap() {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            consumer.assign(&list).unwrap();
            loop {
                match consumer.poll(wait).expect("an end of the partition") {
                    Ok(record) => {
                        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                        let id = record.headers().unwrap().iter().find(|header| header.key == "ce_id");
                        records.push(Stored {
                            key: record.key().map(text).unwrap_or_default(),
                            id: text(id.unwrap().value.unwrap()),
                            value: serde_json::from_slice(record.payload().unwrap()).unwrap(),
                        });
                    }
                    Err(KafkaError::PartitionEOF(_)) => break,
                    Err(KafkaError::MessageConsumption(_)) => {}
                    Err(error) => panic!("{topic}: {error}"),
                }
            }
        }
        records
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = Command::new(root().join("deploy/kafka.sh")).arg("kill").arg(&self.data).status();
    }
}
