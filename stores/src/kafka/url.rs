//! Where a cluster is and how to connect.

use std::fmt;

use rdkafka::ClientConfig;

use super::KafkaFault;

const DEFAULT_PORT: u16 = 9092;
const DEFAULT_PREFIX: &str = "doppia";

/// The longest prefix of a topic's name; Kafka takes names of up to 249 bytes.
const PREFIX_MAX_BYTES: usize = 200;

/// Settings of the client that a URL may hold, by their names in librdkafka. The others are chosen here, and safety hangs on
/// some of them.
const SETTINGS: [&str; 11] = [
    "broker.address.family",
    "client.rack",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
];

/// Where a cluster is, as whom to connect, and how its topics begin: `kafka://host:9092,host:9092/PREFIX`, or with TLS and a
/// password `kafka+ssl://user:password@host:9093/PREFIX?ssl.ca.location=/etc/ca.pem`. It never shows a password.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaUrl {
    secured: bool,
    brokers: String,
    user: Option<String>,
    prefix: String,
    settings: Vec<(&'static str, String)>,
}

impl KafkaUrl {
    /// Reads a URL. Signs that mean something in it are written as `%` and two hexadecimal digits, in passwords above all.
    pub fn parse(url: &str) -> Result<Self, KafkaFault> {
        // Nothing of the URL is quoted but names of settings: it may hold a password.
        let wrong = |what: &str| KafkaFault::Url(what.to_owned());
        let (secured, rest) = match (url.strip_prefix("kafka://"), url.strip_prefix("kafka+ssl://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(wrong("it begins with neither kafka:// nor kafka+ssl://")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, brokers) = place.rsplit_once('@').map_or((None, place), |(login, brokers)| (Some(login), brokers));
        let brokers: Vec<String> = brokers
            .split(',')
            .map(broker)
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("a broker is a name or an address and a port, such as kafka-1.example:9092"))?;
        let prefix = if prefix.is_empty() { DEFAULT_PREFIX } else { prefix };
        let fits = |sign: char| sign.is_ascii_alphanumeric() || "._-".contains(sign);
        if !prefix.chars().all(fits) || prefix.len() > PREFIX_MAX_BYTES {
            return Err(wrong("the prefix of the topics is of letters, digits, points, dashes and underscores"));
        }
        let mut settings = Vec::new();
        let mut user = None;
        let plain = |text: &str| decoded(text).ok_or_else(|| wrong("a % in it is not followed by two digits"));
        settings.push(("security.protocol", if secured { "ssl" } else { "plaintext" }.to_owned()));
        if let Some(login) = login {
            if !secured {
                return Err(wrong("a password goes over TLS only: write kafka+ssl://"));
            }
            let (name, password) = login.split_once(':').ok_or_else(|| wrong("a user without a password"))?;
            let (name, password) = (plain(name)?, plain(password)?);
            settings.extend([
                ("security.protocol", "sasl_ssl".to_owned()),
                ("sasl.mechanism", "PLAIN".to_owned()),
                ("sasl.username", name.clone()),
                ("sasl.password", password),
            ]);
            user = Some(name);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(known) = SETTINGS.into_iter().find(|known| *known == name) else {
                let name: String = name.chars().take(60).filter(|sign| !sign.is_control()).collect();
                return Err(wrong(&format!(
                    "{name} is no setting that can be chosen; these can: {}",
                    SETTINGS.join(", ")
                )));
            };
            settings.push((known, plain(value)?));
        }
        Ok(Self { secured, brokers: brokers.join(","), user, prefix: prefix.to_owned(), settings })
    }

    /// How the names of the topics begin.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The settings of any client of this cluster.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "doppia");
        for (name, value) in &self.settings {
            config.set(*name, value);
        }
        // Whoever waits for a broker to come back waits for little more than that.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        config.set("socket.keepalive.enable", "true").set("socket.nagle.disable", "true");
        config.set("socket.timeout.ms", "10000").set("socket.connection.setup.timeout.ms", "5000");
        config.set("allow.auto.create.topics", "false");
        config
    }
}

/// A broker with its port, if it is one.
fn broker(text: &str) -> Option<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().ok()?),
        Some(_) | None => (text, DEFAULT_PORT),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let colons = inner.len() < host.len();
    let fits = |sign: char| sign.is_ascii_alphanumeric() || "._-".contains(sign) || (colons && sign == ':');
    (port > 0 && !inner.is_empty() && inner.chars().all(fits)).then(|| format!("{host}:{port}"))
}

/// The text that stands behind signs written as `%` and two hexadecimal digits.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for KafkaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secured { "kafka+ssl://" } else { "kafka://" })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}/{}", self.brokers, self.prefix)
    }
}

impl fmt::Debug for KafkaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_url_says_where_and_as_whom() {
        for (url, shown) in [
            ("kafka://localhost", "kafka://localhost:9092/doppia"),
            ("kafka://a.example:1,[::1]:2,10.0.0.1/bank-1", "kafka://a.example:1,[::1]:2,10.0.0.1:9092/bank-1"),
            ("kafka+ssl://ada:s%3A3cret@b:9093/p?ssl.ca.location=/etc/ca.pem", "kafka+ssl://ada@b:9093/p"),
        ] {
            let url = KafkaUrl::parse(url).unwrap();
            assert_eq!(format!("{url} {url:?}"), format!("{shown} {shown}"));
        }
        let url = KafkaUrl::parse("kafka+ssl://ada:s%3A3cret@b/p?sasl.mechanism=SCRAM-SHA-512").unwrap().client();
        for (name, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "ada"),
            ("sasl.password", "s:3cret"),
            ("bootstrap.servers", "b:9092"),
        ] {
            assert_eq!(url.get(name), Some(value));
        }
    }

    #[test]
    fn what_is_no_url_is_told_and_shows_no_password() {
        for (url, text) in [
            ("postgres://h/d", "begins with"),
            ("kafka://", "a broker is"),
            ("kafka://h:port/p", "a broker is"),
            ("kafka://h:0", "a broker is"),
            ("kafka://h,/p", "a broker is"),
            ("kafka://h h/p", "a broker is"),
            ("kafka://h/p/q", "prefix"),
            ("kafka://h/pré", "prefix"),
            ("kafka://ada:s3cret@h/p", "kafka+ssl"),
            ("kafka+ssl://s3cret@h/p", "without a password"),
            ("kafka+ssl://ada:s3cret%2@h/p", "digits"),
            ("kafka+ssl://ada:s3cret@h/p?acks=0", "acks is no setting"),
        ] {
            let error = KafkaUrl::parse(url).unwrap_err().to_string();
            assert!(error.contains(text) && !error.contains("s3cret"), "{url}: {error}");
        }
    }
}
