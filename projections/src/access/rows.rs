//! The tables of the access log.

use event_schemas::codec::{CodecError, Reader, put_id, put_text, put_varint};
use event_schemas::{PrincipalId, Sequence, Timestamp};

use crate::ports::{ColumnType, Table};
use crate::table::{Row, key_number, key_text, put_key_number, put_key_text, put_time, time};

/// Reads, in the order of the log.
pub static READS: Table = Table {
    name: "access_reads",
    projection: super::NAME,
    columns: &[
        ("sequence", ColumnType::Number),
        ("recorded_at", ColumnType::Time),
        ("actor", ColumnType::Id),
        ("operation", ColumnType::Text),
        ("subject", ColumnType::Text),
        ("status", ColumnType::Number),
        ("request", ColumnType::Text),
    ],
    key_columns: 1,
};

/// Which reads are whose.
pub static BY_ACTOR: Table = Table {
    name: "access_by_actor",
    projection: super::NAME,
    columns: &[("actor", ColumnType::Id), ("sequence", ColumnType::Number)],
    key_columns: 2,
};

/// Which reads are of what.
pub static BY_SUBJECT: Table = Table {
    name: "access_by_subject",
    projection: super::NAME,
    columns: &[("subject", ColumnType::Text), ("sequence", ColumnType::Number)],
    key_columns: 2,
};

/// A read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRow {
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Who asked.
    pub actor: PrincipalId,
    /// What was asked, as the API names it.
    pub operation: Box<str>,
    /// Of what; empty for the whole book.
    pub subject: Box<str>,
    /// The status of the answer, as in HTTP.
    pub status: u16,
    /// The request's id.
    pub request: Box<str>,
}

impl Row for ReadRow {
    type Key = Sequence;
    const TABLE: &'static Table = &READS;

    fn put_key(key: &Sequence, out: &mut Vec<u8>) {
        put_key_number(out, key.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Sequence, CodecError> {
        key_number(reader).map(Sequence)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_time(out, self.recorded_at);
        put_id(out, self.actor.0);
        put_text(out, &self.operation);
        put_text(out, &self.subject);
        put_varint(out, self.status.into());
        put_text(out, &self.request);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            recorded_at: time(reader)?,
            actor: PrincipalId(reader.id("actor")?),
            operation: reader.text("operation")?,
            subject: reader.text("subject")?,
            status: reader.number("status")?,
            request: reader.text("request")?,
        })
    }
}

/// That a read is an actor's: all of it is key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActorRow;

impl Row for ActorRow {
    type Key = (PrincipalId, Sequence);
    const TABLE: &'static Table = &BY_ACTOR;
    const VALUE_BYTES: usize = 1;

    fn put_key((actor, sequence): &Self::Key, out: &mut Vec<u8>) {
        put_id(out, actor.0);
        put_key_number(out, sequence.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((PrincipalId(reader.id("actor")?), Sequence(key_number(reader)?)))
    }

    fn put(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }
}

/// That a read is of a subject: all of it is key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectRow;

impl Row for SubjectRow {
    type Key = (Box<str>, Sequence);
    const TABLE: &'static Table = &BY_SUBJECT;
    const VALUE_BYTES: usize = 1;

    fn put_key((subject, sequence): &Self::Key, out: &mut Vec<u8>) {
        put_key_text(out, subject);
        put_key_number(out, sequence.0);
    }

    fn read_key(reader: &mut Reader<'_>) -> Result<Self::Key, CodecError> {
        Ok((key_text(reader)?, Sequence(key_number(reader)?)))
    }

    fn put(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }
}
