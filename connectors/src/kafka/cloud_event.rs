//! Events as records: CloudEvents 1.0 in the binary mode of its Kafka binding. Attributes stand in headers, the value is the
//! event's JSON.

use std::fmt::Write as _;

use event_schemas::block::HEADER_BYTES;
use event_schemas::topics::{BALANCE_CHANGED, Key, Outlet};
use event_schemas::{BlockHeader, CommandId, RecordedEvent};
use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};

/// The names of headers.
pub mod header {
    /// The event's id: unique among all events of its source.
    pub const ID: &str = "ce_id";
    /// The book: `/books/1`.
    pub const SOURCE: &str = "ce_source";
    /// The version of CloudEvents, `1.0`.
    pub const SPEC_VERSION: &str = "ce_specversion";
    /// The event's type with its version.
    pub const TYPE: &str = "ce_type";
    /// What it is about: the key of a keyed topic, the sequence in the journal's.
    pub const SUBJECT: &str = "ce_subject";
    /// When it was recorded, RFC 3339.
    pub const TIME: &str = "ce_time";
    /// The key again, as CloudEvents calls it.
    pub const PARTITION_KEY: &str = "ce_partitionkey";
    /// The form of the value.
    pub const CONTENT_TYPE: &str = "content-type";
    /// W3C trace context; it follows from the command.
    pub const TRACE_PARENT: &str = "traceparent";
    /// On the last event of a block, in the journal's topic: the block's header in canonical bytes, as hexadecimal.
    pub const BLOCK: &str = "doppia-block";
}

/// The value of `content-type`.
const JSON: &str = "application/json";

/// What all records of one event share.
pub(super) struct Attributes {
    id: String,
    source: String,
    time: String,
    trace: String,
    type_name: &'static str,
}

impl Attributes {
    pub(super) fn of(recorded: &RecordedEvent) -> Self {
        Self {
            id: format!("{}/{}", recorded.book, recorded.sequence),
            source: format!("/books/{}", recorded.book),
            time: recorded.recorded_at.to_string(),
            trace: trace_parent(recorded),
            type_name: recorded.event.body.type_name(),
        }
    }

    fn headers(&self, id: &str, type_name: &str, subject: &str, key: &str) -> OwnedHeaders {
        [
            (header::ID, id),
            (header::SOURCE, &self.source),
            (header::SPEC_VERSION, "1.0"),
            (header::TYPE, type_name),
            (header::SUBJECT, subject),
            (header::TIME, &self.time),
            (header::PARTITION_KEY, key),
            (header::CONTENT_TYPE, JSON),
            (header::TRACE_PARENT, &self.trace),
        ]
        .into_iter()
        .fold(OwnedHeaders::new_with_capacity(10), with)
    }

    /// The headers of the record in the journal's topic.
    pub(super) fn of_journal(&self, sequence: &str, key: &str) -> OwnedHeaders {
        self.headers(&self.id, self.type_name, sequence, key)
    }

    /// The headers of a record in a keyed topic. One event can change several accounts: then the id names the account, too.
    pub(super) fn of_outlet(&self, outlet: &Outlet, key: &str) -> OwnedHeaders {
        match (&outlet.change, outlet.key) {
            (Some(_), Key::Account(_)) => self.headers(&format!("{}/{key}", self.id), BALANCE_CHANGED, key, key),
            _ => self.headers(&self.id, self.type_name, key, key),
        }
    }
}

fn with(headers: OwnedHeaders, (key, value): (&str, &str)) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// The headers with that of a block, for its last event.
pub(super) fn with_block(headers: OwnedHeaders, block: &BlockHeader) -> OwnedHeaders {
    let mut text = String::with_capacity(2 * HEADER_BYTES);
    for byte in block.encode() {
        let _ = write!(text, "{byte:02x}");
    }
    with(headers, (header::BLOCK, &text))
}

/// The header of a block from its text.
pub(super) fn block_of(text: &str) -> Option<BlockHeader> {
    let mut bytes = [0; HEADER_BYTES];
    if text.len() != 2 * HEADER_BYTES || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    BlockHeader::decode(&bytes).ok()
}

/// A trace for an event of which none was recorded: all events of a command are of one trace, whose id is the command's, and each
/// is a span of it, whose id is the sequence. Nothing was sampled.
fn trace_parent(recorded: &RecordedEvent) -> String {
    let of_engine = CommandId((u128::from(recorded.book.get()) << 64) | u128::from(recorded.sequence.0));
    let trace = recorded.event.cause.command().map(|(command, _)| command).filter(|command| command.0 != 0);
    format!("00-{:032x}-{:016x}-00", trace.unwrap_or(of_engine).0, recorded.sequence.0)
}

/// The text of a header, if the record has it.
pub(super) fn text_of<'m>(record: &'m impl Message, name: &str) -> Option<&'m str> {
    let value = record.headers()?.iter().find(|header| header.key == name)?.value?;
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use event_schemas::event::BookOpened;
    use event_schemas::{
        BlockBuilder, BlockHash, BookId, Cause, Epoch, Event, EventBody, PrincipalId, Sequence, Timestamp,
    };

    use super::*;

    fn recorded(cause: Cause) -> RecordedEvent {
        let body = EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce: PrincipalId(1) });
        let event = Event { cause, body };
        RecordedEvent { book: BookId::FIRST, sequence: Sequence(17), recorded_at: Timestamp(0), epoch: Epoch(1), event }
    }

    #[test]
    fn a_trace_is_never_all_zeros() {
        let verdict = |id| Cause::Verdict { command: CommandId(id), actor: PrincipalId(0) };
        for (cause, trace) in [
            (verdict(0xabc), "00-00000000000000000000000000000abc-0000000000000011-00"),
            (verdict(0), "00-00000000000000010000000000000011-0000000000000011-00"),
            (Cause::Engine, "00-00000000000000010000000000000011-0000000000000011-00"),
        ] {
            assert_eq!(trace_parent(&recorded(cause)), trace);
        }
    }

    #[test]
    fn a_block_header_comes_back_from_its_text() {
        let mut builder = BlockBuilder::new();
        builder.push(&recorded(Cause::Engine).event);
        let block = builder.seal(event_schemas::block::BlockPlace {
            book: BookId::FIRST,
            first_sequence: Sequence(1),
            recorded_at: Timestamp(5),
            epoch: Epoch(3),
            previous: BlockHash::default(),
        });
        let headers = with_block(OwnedHeaders::new(), block.header());
        let text = std::str::from_utf8(headers.get(0).value.unwrap()).unwrap().to_owned();
        assert_eq!(block_of(&text).unwrap(), *block.header());
        for bad in ["", "00", &text[1..], &format!("{text}00"), &text.replace("44424c4b", "00000000")] {
            assert_eq!(block_of(bad), None, "{bad}");
        }
    }
}
