//! The frames of `proto/doppia/writer/v1/writer.proto`, and how they go through tonic.
//!
//! They are few and flat, so they are written here by hand over prost's wire primitives: no compiler of proto files runs in a
//! build. A test holds the numbers of the fields against the proto file.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, skip_field,
};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The largest frame that is taken. The largest submission is a batch of 8 MiB; a dry run's answer is bounded by a block.
pub(super) const FRAME_MAX_BYTES: usize = 32 * 1024 * 1024;

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Hello {
    pub(super) protocol: u64,
    pub(super) book: u64,
    pub(super) origin: Bytes,
    pub(super) nonce: Bytes,
    pub(super) name: Bytes,
}

/// How far the process is that a gateway talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PhaseTag {
    Standby,
    Starting,
    Serving,
    Stopped,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Submit,
    SubmitLinked,
    Preview,
    PreviewEach,
    Lookup,
}

/// One submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submission {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) content: Bytes,
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) number: u64,
    pub(super) content: Bytes,
}

/// From a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ToWriter {
    Hello(Hello),
    Proof(Bytes),
    Submissions(Vec<Submission>),
}

/// From a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FromWriter {
    Challenge { protocol: u64, nonce: Bytes, mac: Bytes },
    State { phase: PhaseTag, epoch: u64, status: Bytes },
    Replies(Vec<Reply>),
    Refusal { code: String, reason: String },
}

/// A field as it stands on the wire.
enum Field {
    Number(u64),
    Bytes(Bytes),
}

/// A frame that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a frame that can't be read: {0}")]
pub(super) struct BadFrame(String);

impl From<prost::DecodeError> for BadFrame {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

fn bad(what: &str) -> BadFrame {
    BadFrame(what.into())
}

/// Goes through the fields of a message. Fields of other wire types than the two in use are passed over, as unknown ones are.
fn fields(mut from: Bytes, mut visit: impl FnMut(u32, Field) -> Result<(), BadFrame>) -> Result<(), BadFrame> {
    while from.has_remaining() {
        let (tag, wire) = decode_key(&mut from)?;
        match wire {
            WireType::Varint => visit(tag, Field::Number(decode_varint(&mut from)?))?,
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut from)?).unwrap_or(usize::MAX);
                if length > from.remaining() {
                    return Err(bad("it ends too early"));
                }
                visit(tag, Field::Bytes(from.split_to(length)))?;
            }
            other @ (WireType::SixtyFourBit | WireType::ThirtyTwoBit | WireType::StartGroup | WireType::EndGroup) => {
                skip_field(other, tag, &mut from, DecodeContext::default())?;
            }
        }
    }
    Ok(())
}

fn put_number(tag: u32, number: u64, out: &mut impl BufMut) {
    if number != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(number, out);
    }
}

fn put_bytes(tag: u32, bytes: &[u8], out: &mut impl BufMut) {
    if !bytes.is_empty() {
        put_part(tag, bytes.len(), out);
        out.put_slice(bytes);
    }
}

/// The head of a part that has so many bytes.
fn put_part(tag: u32, length: usize, out: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// How many bytes a submission or a reply takes: fields 1 and 2 (numbers, if given) and a content with its number.
fn item_length(number: u64, kind: u64, content: &[u8]) -> usize {
    let of = |value: u64| if value == 0 { 0 } else { 1 + encoded_len_varint(value) };
    let of_content = if content.is_empty() { 0 } else { 1 + encoded_len_varint(content.len() as u64) + content.len() };
    of(number) + of(kind) + of_content
}

/// How many bytes it takes as an item of a frame.
fn framed(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

impl PhaseTag {
    const fn number(self) -> u64 {
        match self {
            Self::Standby => 1,
            Self::Starting => 2,
            Self::Serving => 3,
            Self::Stopped => 4,
        }
    }

    fn of(number: u64) -> Result<Self, BadFrame> {
        [Self::Standby, Self::Starting, Self::Serving, Self::Stopped]
            .into_iter()
            .find(|phase| phase.number() == number)
            .ok_or_else(|| bad("an unknown phase"))
    }
}

impl Kind {
    const fn number(self) -> u64 {
        match self {
            Self::Submit => 1,
            Self::SubmitLinked => 2,
            Self::Preview => 3,
            Self::PreviewEach => 4,
            Self::Lookup => 5,
        }
    }

    fn of(number: u64) -> Result<Self, BadFrame> {
        [Self::Submit, Self::SubmitLinked, Self::Preview, Self::PreviewEach, Self::Lookup]
            .into_iter()
            .find(|kind| kind.number() == number)
            .ok_or_else(|| bad("an unknown kind of submission"))
    }
}

/// A message of a frame.
pub(super) trait Frame: Sized {
    fn put(&self, out: &mut impl BufMut);
    fn read(from: Bytes) -> Result<Self, BadFrame>;
}

/// Writes a part whose length is not known beforehand: those of the handshake, which are small.
fn put_small(tag: u32, out: &mut impl BufMut, write: impl FnOnce(&mut Vec<u8>)) {
    let mut part = Vec::with_capacity(128);
    write(&mut part);
    put_part(tag, part.len(), out);
    out.put_slice(&part);
}

/// The one field of a frame, whose number says which frame it is.
fn one(from: Bytes) -> Result<(u32, Bytes), BadFrame> {
    let mut found = None;
    fields(from, |tag, field| {
        if let Field::Bytes(bytes) = field {
            found = Some((tag, bytes));
        }
        Ok(())
    })?;
    found.ok_or_else(|| bad("it is empty"))
}

impl Frame for ToWriter {
    fn put(&self, out: &mut impl BufMut) {
        match self {
            Self::Hello(Hello { protocol, book, origin, nonce, name }) => put_small(1, out, |out| {
                put_number(1, *protocol, out);
                put_number(2, *book, out);
                put_bytes(3, origin, out);
                put_bytes(4, nonce, out);
                put_bytes(5, name, out);
            }),
            Self::Proof(mac) => put_small(2, out, |out| put_bytes(1, mac, out)),
            Self::Submissions(items) => {
                let length = |item: &Submission| item_length(item.number, item.kind.number(), &item.content);
                put_part(3, items.iter().map(|item| framed(length(item))).sum(), out);
                for item in items {
                    put_part(1, length(item), out);
                    put_number(1, item.number, out);
                    put_number(2, item.kind.number(), out);
                    put_bytes(3, &item.content, out);
                }
            }
        }
    }

    fn read(from: Bytes) -> Result<Self, BadFrame> {
        let (which, part) = one(from)?;
        Ok(match which {
            1 => {
                let mut hello = Hello::default();
                fields(part, |tag, field| {
                    match (tag, field) {
                        (1, Field::Number(number)) => hello.protocol = number,
                        (2, Field::Number(number)) => hello.book = number,
                        (3, Field::Bytes(bytes)) => hello.origin = bytes,
                        (4, Field::Bytes(bytes)) => hello.nonce = bytes,
                        (5, Field::Bytes(bytes)) => hello.name = bytes,
                        _ => {}
                    }
                    Ok(())
                })?;
                Self::Hello(hello)
            }
            2 => {
                let mut mac = Bytes::new();
                fields(part, |tag, field| {
                    if let (1, Field::Bytes(bytes)) = (tag, field) {
                        mac = bytes;
                    }
                    Ok(())
                })?;
                Self::Proof(mac)
            }
            3 => {
                let mut items = Vec::new();
                fields(part, |tag, field| {
                    if let (1, Field::Bytes(item)) = (tag, field) {
                        let (number, kind, content) = item_of(item, 3)?;
                        items.push(Submission { number, kind: Kind::of(kind)?, content });
                    }
                    Ok(())
                })?;
                Self::Submissions(items)
            }
            _ => return Err(bad("of an unknown kind")),
        })
    }
}

/// Number, field 2 and content of an item.
fn item_of(item: Bytes, content_tag: u32) -> Result<(u64, u64, Bytes), BadFrame> {
    let mut found = (0, 0, Bytes::new());
    fields(item, |tag, field| {
        match field {
            Field::Number(number) if tag == 1 => found.0 = number,
            Field::Number(number) if tag == 2 => found.1 = number,
            Field::Bytes(bytes) if tag == content_tag => found.2 = bytes,
            Field::Number(_) | Field::Bytes(_) => {}
        }
        Ok(())
    })?;
    Ok(found)
}

impl Frame for FromWriter {
    fn put(&self, out: &mut impl BufMut) {
        match self {
            Self::Challenge { protocol, nonce, mac } => put_small(1, out, |out| {
                put_number(1, *protocol, out);
                put_bytes(2, nonce, out);
                put_bytes(3, mac, out);
            }),
            Self::State { phase, epoch, status } => put_small(2, out, |out| {
                put_number(1, phase.number(), out);
                put_number(2, *epoch, out);
                put_bytes(3, status, out);
            }),
            Self::Replies(items) => {
                let length = |item: &Reply| item_length(item.number, 0, &item.content);
                put_part(3, items.iter().map(|item| framed(length(item))).sum(), out);
                for item in items {
                    put_part(1, length(item), out);
                    put_number(1, item.number, out);
                    put_bytes(2, &item.content, out);
                }
            }
            Self::Refusal { code, reason } => put_small(4, out, |out| {
                put_bytes(1, code.as_bytes(), out);
                put_bytes(2, reason.as_bytes(), out);
            }),
        }
    }

    fn read(from: Bytes) -> Result<Self, BadFrame> {
        let (which, part) = one(from)?;
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).chars().take(400).collect();
        Ok(match which {
            1 => {
                let (mut protocol, mut nonce, mut mac) = (0, Bytes::new(), Bytes::new());
                fields(part, |tag, field| {
                    match (tag, field) {
                        (1, Field::Number(number)) => protocol = number,
                        (2, Field::Bytes(bytes)) => nonce = bytes,
                        (3, Field::Bytes(bytes)) => mac = bytes,
                        _ => {}
                    }
                    Ok(())
                })?;
                Self::Challenge { protocol, nonce, mac }
            }
            2 => {
                let (mut phase, mut epoch, mut status) = (0, 0, Bytes::new());
                fields(part, |tag, field| {
                    match (tag, field) {
                        (1, Field::Number(number)) => phase = number,
                        (2, Field::Number(number)) => epoch = number,
                        (3, Field::Bytes(bytes)) => status = bytes,
                        _ => {}
                    }
                    Ok(())
                })?;
                Self::State { phase: PhaseTag::of(phase)?, epoch, status }
            }
            3 => {
                let mut items = Vec::new();
                fields(part, |tag, field| {
                    if let (1, Field::Bytes(item)) = (tag, field) {
                        let (number, _, content) = item_of(item, 2)?;
                        items.push(Reply { number, content });
                    }
                    Ok(())
                })?;
                Self::Replies(items)
            }
            4 => {
                let (mut code, mut reason) = (String::new(), String::new());
                fields(part, |tag, field| {
                    match (tag, field) {
                        (1, Field::Bytes(bytes)) => code = text(bytes),
                        (2, Field::Bytes(bytes)) => reason = text(bytes),
                        _ => {}
                    }
                    Ok(())
                })?;
                Self::Refusal { code, reason }
            }
            _ => return Err(bad("of an unknown kind")),
        })
    }
}

/// Sends frames of one kind and takes those of another.
pub(super) struct FrameCodec<E, D>(std::marker::PhantomData<fn() -> (E, D)>);

impl<E, D> Default for FrameCodec<E, D> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

/// One direction of it.
pub(super) struct Direction<F>(std::marker::PhantomData<fn() -> F>);

impl<E: Frame + Send + 'static, D: Frame + Send + 'static> Codec for FrameCodec<E, D> {
    type Encode = E;
    type Decode = D;
    type Encoder = Direction<E>;
    type Decoder = Direction<D>;

    fn encoder(&mut self) -> Self::Encoder {
        Direction(std::marker::PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Direction(std::marker::PhantomData)
    }
}

impl<F: Frame> Encoder for Direction<F> {
    type Item = F;
    type Error = Status;

    fn encode(&mut self, item: F, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.put(out);
        Ok(())
    }
}

impl<F: Frame> Decoder for Direction<F> {
    type Item = F;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<F>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        F::read(bytes).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
