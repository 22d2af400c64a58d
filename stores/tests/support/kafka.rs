//! A real Kafka broker for tests, with data that goes with it, and a wire that can be cut while something is produced.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::free_port;

/// A broker, killed when dropped. Besides its plain port it has one for clients with a password, and one that tells clients to
/// go through a proxy.
pub struct Broker {
    folder: tempfile::TempDir,
    pub port: u16,
    controller: u16,
    /// Wants the user `ada` with the password `s3cret`.
    pub secure: u16,
    behind_proxy: u16,
    pub proxy: Proxy,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka.sh").canonicalize().unwrap()
}

impl Broker {
    pub fn start() -> Self {
        let behind_proxy = free_port();
        let broker = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            controller: free_port(),
            secure: free_port(),
            behind_proxy,
            proxy: Proxy::to(behind_proxy),
        };
        broker.restart();
        broker
    }

    pub fn restart(&self) {
        let Self { port, controller, secure, behind_proxy, .. } = self;
        let proxy = self.proxy.port;
        let host = "127.0.0.1";
        let properties = format!(
            "listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller},SECURE://{host}:{secure},VIA://{host}:{behind_proxy}\n\
             advertised.listeners=PLAINTEXT://{host}:{port},SECURE://{host}:{secure},VIA://{host}:{proxy}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,VIA:PLAINTEXT,SECURE:SASL_PLAINTEXT\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_ada=\"s3cret\";"
        );
        let done = Command::new(script())
            .args(["start", self.data().to_str().unwrap(), &port.to_string()])
            .env("CONTROLLER_PORT", controller.to_string())
            .env("KAFKA_PROPERTIES", properties)
            .output()
            .unwrap();
        assert!(done.status.success(), "kafka.sh start: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("kafka")
    }

    /// Kills it as a crash would.
    pub fn kill(&self) {
        let status = Command::new(script()).arg("kill").arg(self.data()).status().unwrap();
        assert!(status.success());
    }

    pub fn url(&self, prefix: &str) -> String {
        format!("kafka://127.0.0.1:{}/{prefix}", self.port)
    }

    pub fn url_by_proxy(&self, prefix: &str) -> String {
        format!("kafka://127.0.0.1:{}/{prefix}", self.proxy.port)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", format!("127.0.0.1:{}", self.port)).set("group.id", "tests");
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    pub fn make_topic(&self, topic: &str, partitions: i32) {
        let made = wait(self.admin().create_topics(
            [&NewTopic::new(topic, partitions, TopicReplication::Fixed(1))],
            &AdminOptions::new().operation_timeout(Some(Duration::from_secs(20))),
        ));
        assert!(made.unwrap().iter().all(Result::is_ok));
    }

    pub fn set(&self, topic: &str, settings: &[(&str, &str)]) {
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in settings {
            alter = alter.set(name, value);
        }
        let done = wait(self.admin().alter_configs([&alter], &AdminOptions::new()));
        assert!(done.unwrap().iter().all(Result::is_ok));
    }

    /// Deletes the records below an offset.
    pub fn forget(&self, topic: &str, below: i64) {
        let mut records = TopicPartitionList::new();
        records.add_partition_offset(topic, 0, Offset::Offset(below)).unwrap();
        wait(self.admin().delete_records(&records, &AdminOptions::new())).unwrap();
    }

    /// Appends a record as any other program could.
    pub fn produce(&self, topic: &str, headers: &[(&str, &str)], value: &[u8]) {
        let producer: BaseProducer = self.config().create().unwrap();
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(*value) }));
        producer
            .send(BaseRecord::<[u8], _>::to(topic).payload(value).headers(headers))
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    /// How many records a topic has had.
    pub fn records(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.config().create().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match consumer.fetch_watermarks(topic, 0, Duration::from_secs(5)) {
                Ok((_, high)) => return high,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        }
    }
}

fn wait<T>(asked: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(asked)
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("kill").arg(self.data()).status();
    }
}

/// What a wire does to what is produced into a topic of blocks. All else it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Carries it.
    Whole = 0,
    /// Carries it, loses the answer and breaks; the next connection is whole.
    AnswerLost = 1,
    /// Breaks before it; the next connection is whole.
    Cut = 2,
    /// Keeps it, and carries it half a second after the wire was made whole, when nobody waits for it any more.
    Held = 3,
}

pub struct Proxy {
    pub port: u16,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mode = Arc::new(AtomicU8::new(Wire::Whole as u8));
        let proxy = Self { port: listener.local_addr().unwrap().port(), mode: Arc::clone(&mode) };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (from, to, mode) = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&mode));
                let silent = Arc::new(AtomicBool::new(false));
                let silence = Arc::clone(&silent);
                std::thread::spawn(move || says(from, to, &mode, &silence));
                std::thread::spawn(move || answers(server, client, &silent));
            }
        });
        proxy
    }

    /// From the next record on.
    pub fn set(&self, wire: Wire) {
        self.mode.store(wire as u8, Ordering::SeqCst);
    }

    pub fn is(&self, wire: Wire) -> bool {
        self.mode.load(Ordering::SeqCst) == wire as u8
    }
}

/// Whether there is a request in the bytes that produces into a topic of blocks. A request is its length, then the number of what
/// is asked for, which is zero; several may come together.
fn produces(mut bytes: &[u8]) -> bool {
    while let Some([a, b, c, d, act @ ..]) = bytes.first_chunk::<6>() {
        let end = 4 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let request = bytes.get(..end).unwrap_or(bytes);
        if act == &[0, 0] && request.windows(7).take(400).any(|window| window == b".blocks") {
            return true;
        }
        bytes = bytes.get(end..).unwrap_or_default();
    }
    false
}

fn says(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8, silence: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap();
        let now = mode.load(Ordering::SeqCst);
        if produces(bytes) {
            if now == Wire::Cut as u8 {
                mode.store(Wire::Whole as u8, Ordering::SeqCst);
                break;
            }
            if now == Wire::AnswerLost as u8 {
                mode.store(Wire::Whole as u8, Ordering::SeqCst);
                silence.store(true, Ordering::SeqCst);
                let _ = to.write_all(bytes);
                // Time for the rest of it, and for the broker to do it; the answer is not read.
                let _ = from.set_read_timeout(Some(Duration::from_millis(30)));
                while let Ok(count @ 1..) = from.read(&mut buffer) {
                    let _ = to.write_all(buffer.get(..count).unwrap());
                }
                break;
            }
            if now == Wire::Held as u8 {
                while mode.load(Ordering::SeqCst) == Wire::Held as u8 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        if to.write_all(buffer.get(..count).unwrap()).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn answers(mut server: TcpStream, mut client: TcpStream, silent: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        if !silent.load(Ordering::SeqCst) && client.write_all(buffer.get(..count).unwrap()).is_err() {
            // The client is gone; what it has said is still carried.
            std::thread::sleep(Duration::from_secs(5));
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}
