//! Where the brokers are, how to get in, and what topics are called.

use std::fmt;
use std::path::Path;

use event_schemas::BookId;
use event_schemas::topics::Topic;
use rdkafka::ClientConfig;

use super::error::KafkaFault;

/// The longest prefix of topic names, in bytes: a topic's name has at most 249.
const PREFIX_MAX_BYTES: usize = 100;

/// The properties of the client that an operator may set. All others are the protocol's: acknowledgements, isolation and the
/// like are what exactly once rests on.
const ALLOWED: [&str; 8] =
    ["security.protocol", "sasl.", "ssl.", "enable.ssl.", "client.", "socket.", "broker.address.", "reconnect."];

/// How to reach a Kafka cluster. It never shows the values of properties.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    brokers: String,
    prefix: String,
    properties: Vec<(String, String)>,
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.properties.iter().map(|(name, _)| name).collect();
        let Self { brokers, prefix, .. } = self;
        f.debug_struct("KafkaSettings")
            .field("brokers", brokers)
            .field("prefix", prefix)
            .field("properties", &names)
            .finish()
    }
}

fn wrong(what: impl Into<String>) -> KafkaFault {
    KafkaFault::Settings(what.into())
}

impl KafkaSettings {
    /// The cluster of these brokers: `host:port`, more than one with commas between them.
    pub fn new(brokers: &str) -> Result<Self, KafkaFault> {
        for broker in brokers.split(',') {
            let port = broker.trim().rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
            if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
                return Err(wrong(format!("{broker:?} is no broker: write host:port, more than one with commas")));
            }
        }
        Ok(Self { brokers: brokers.to_owned(), prefix: String::new(), properties: Vec::new() })
    }

    /// With this text before the name of every topic.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, KafkaFault> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if prefix.len() > PREFIX_MAX_BYTES || !prefix.bytes().all(plain) {
            return Err(wrong("the prefix of topics has at most 100 letters, digits, points, underscores and hyphens"));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// With the properties of a file: `name = value` lines, as Kafka's own clients have them; `#` begins a comment.
    pub fn with_properties_file(self, path: &Path) -> Result<Self, KafkaFault> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong(format!("the properties of the Kafka client, {}: {error}", path.display())))?;
        self.with_properties(&text).map_err(|fault| wrong(format!("{}: {fault}", path.display())))
    }

    fn with_properties(mut self, text: &str) -> Result<Self, KafkaFault> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line itself is not repeated: there may be a password on it.
            let number = number + 1;
            let (name, value) = line.split_once('=').ok_or_else(|| wrong(format!("line {number} has no =")))?;
            let (name, value) = (name.trim(), value.trim());
            if !ALLOWED.iter().any(|allowed| name == *allowed || (allowed.ends_with('.') && name.starts_with(allowed)))
            {
                return Err(wrong(format!("line {number}: {name} can't be set here; what says how to get in can")));
            }
            self.properties.push((name.to_owned(), value.to_owned()));
        }
        Ok(self)
    }

    /// The brokers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The name of the topic that has every event of a book.
    pub fn journal_topic(&self, book: BookId) -> String {
        format!("{}book.{book}.journal", self.prefix)
    }

    /// The name of a keyed topic.
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    /// The name of a topic that somebody named, with the prefix; a name that has it already is left alone.
    pub fn named(&self, name: &str) -> String {
        if name.starts_with(&self.prefix) { name.to_owned() } else { format!("{}{name}", self.prefix) }
    }

    /// The dead-letter topic of a topic (whose name has the prefix).
    pub fn dead_letters(&self, topic: &str) -> String {
        format!("{}dlq.{}", self.prefix, topic.strip_prefix(&self.prefix).unwrap_or(topic))
    }

    /// By what the relay of a book is known to the brokers: whoever comes later under this name fences who was there.
    pub(super) fn relay_id(&self, book: BookId) -> String {
        format!("{}doppia-relay.book.{book}", self.prefix)
    }

    /// The client of a cluster, before it is told what for.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "doppia");
        // Soon enough to be back when a broker is, and not a storm.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        config.set("allow.auto.create.topics", "false");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn brokers_are_hosts_with_ports() {
        for brokers in ["localhost:9092", "a:1,b:2", "a:1, b:2", "[::1]:9092"] {
            assert!(KafkaSettings::new(brokers).is_ok(), "{brokers}");
        }
        for brokers in ["", "localhost", "a:1,", "kafka://a:1", "a:0", "a:70000", ":9092", "a:b"] {
            let error = KafkaSettings::new(brokers).unwrap_err().to_string();
            assert!(error.contains("host:port"), "{brokers}: {error}");
        }
    }

    #[test]
    fn names_have_the_prefix_once() {
        let settings = KafkaSettings::new("a:1").unwrap().with_prefix("test.").unwrap();
        assert_eq!(settings.journal_topic(BookId::FIRST), "test.book.1.journal");
        assert_eq!(settings.topic(Topic::EntryWritten), "test.ledger.entry_written");
        assert_eq!(settings.named("account.created"), "test.account.created");
        assert_eq!(settings.named("test.account.created"), "test.account.created");
        assert_eq!(settings.dead_letters("test.account.created"), "test.dlq.account.created");
        assert!(KafkaSettings::new("a:1").unwrap().with_prefix("no spaces").is_err());
        assert!(KafkaSettings::new("a:1").unwrap().with_prefix(&"a".repeat(101)).is_err());
    }

    #[test]
    fn properties_say_how_to_get_in_and_nothing_else() {
        let settings = KafkaSettings::new("a:1").unwrap();
        let file = "# how to get in\nsecurity.protocol = SASL_SSL\n\nsasl.password=geheim=1\n";
        let secured = settings.clone().with_properties(file).unwrap();
        assert_eq!(secured.client().get("sasl.password"), Some("geheim=1"));
        assert!(!format!("{secured:?}").contains("geheim"), "{secured:?}");
        for (file, expected) in [
            ("security.protocol SSL geheim", "line 1 has no ="),
            ("\nacks = 0", "line 2: acks can't be set here"),
            ("transactional.id = geheim", "line 1: transactional.id can't be set here"),
            ("security.protocols = geheim", "line 1: security.protocols can't be set here"),
        ] {
            let error = settings.clone().with_properties(file).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("geheim"), "{error}");
        }
        let error = settings.with_properties_file(Path::new("/no/such.properties")).unwrap_err().to_string();
        assert!(error.contains("/no/such.properties"), "{error}");
    }

    /// The client repeats what it does not take; we do not.
    #[test]
    fn a_value_that_the_client_refuses_is_not_repeated() {
        use rdkafka::consumer::BaseConsumer;

        let settings = KafkaSettings::new("a:1").unwrap().with_properties("security.protocol = geheim").unwrap();
        let error = settings.client().create::<BaseConsumer>().err().unwrap();
        assert!(error.to_string().contains("geheim"));
        assert_eq!(KafkaFault::from(error).to_string(), "the client does not take security.protocol");
    }
}
