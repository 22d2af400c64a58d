//! Records as they are read: copied out of the client, so that they can be kept, shown and sent on.

use std::fmt;

use rdkafka::Message;
use rdkafka::message::{Header, Headers as _, OwnedHeaders};

use super::cloud_event::header;

/// A record of a topic.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// Its topic, with the prefix.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key; empty if it has none.
    pub key: Vec<u8>,
    /// Its headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its value.
    pub value: Vec<u8>,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{} {}", self.topic, self.partition, self.offset, self.id().unwrap_or("without an id"))
    }
}

impl Received {
    pub(super) fn of(message: &impl Message) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().unwrap_or_default().to_vec(),
            headers: headers.unwrap_or_default(),
            value: message.payload().unwrap_or_default().to_vec(),
        }
    }

    /// The text of a header, if it has one.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value).ok()
    }

    /// The event's id, by which readers tell duplicates: unique in its topic.
    pub fn id(&self) -> Option<&str> {
        self.header(header::ID)
    }

    /// The event's type.
    pub fn type_name(&self) -> Option<&str> {
        self.header(header::TYPE)
    }

    /// The key as text.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    /// The book and the sequence of the event, and what its id says behind them.
    pub(super) fn place(&self) -> Option<(u32, u64, &str)> {
        let (book, rest) = self.id()?.split_once('/')?;
        let (sequence, rest) = rest.split_once('/').unwrap_or((rest, ""));
        Some((book.parse().ok()?, sequence.parse().ok()?, rest))
    }

    /// The headers, to be sent on.
    pub(super) fn owned_headers(&self) -> OwnedHeaders {
        let headers = OwnedHeaders::new_with_capacity(self.headers.len() + 8);
        self.headers.iter().fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
    }
}
