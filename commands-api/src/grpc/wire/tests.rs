#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn to_writer() -> impl Strategy<Value = ToWriter> {
    let kinds = &[Kind::Submit, Kind::SubmitLinked, Kind::Preview, Kind::PreviewEach, Kind::Lookup][..];
    let item = (any::<u64>(), prop::sample::select(kinds), bytes());
    prop_oneof![
        (any::<u64>(), any::<u64>(), bytes(), bytes(), bytes()).prop_map(|(protocol, book, origin, nonce, name)| {
            ToWriter::Hello(Hello { protocol, book, origin, nonce, name })
        }),
        bytes().prop_map(ToWriter::Proof),
        vec(item.prop_map(|(number, kind, content)| Submission { number, kind, content }), 0..9)
            .prop_map(ToWriter::Submissions),
    ]
}

fn from_writer() -> impl Strategy<Value = FromWriter> {
    let phases = &[PhaseTag::Standby, PhaseTag::Starting, PhaseTag::Serving, PhaseTag::Stopped][..];
    prop_oneof![
        (any::<u64>(), bytes(), bytes()).prop_map(|(protocol, nonce, mac)| FromWriter::Challenge {
            protocol,
            nonce,
            mac
        }),
        (prop::sample::select(phases), any::<u64>(), bytes()).prop_map(|(phase, epoch, status)| FromWriter::State {
            phase,
            epoch,
            status
        }),
        vec((any::<u64>(), bytes()).prop_map(|(number, content)| Reply { number, content }), 0..9)
            .prop_map(FromWriter::Replies),
        ("[a-z]{0,20}", "\\PC{0,100}").prop_map(|(code, reason)| FromWriter::Refusal { code, reason }),
    ]
}

fn written(frame: &impl Frame) -> Bytes {
    let mut out = Vec::new();
    frame.put(&mut out);
    out.into()
}

proptest! {
    #[test]
    fn frames_come_back(one in to_writer(), other in from_writer()) {
        prop_assert_eq!(ToWriter::read(written(&one)).unwrap(), one);
        prop_assert_eq!(FromWriter::read(written(&other)).unwrap(), other);
    }

    #[test]
    fn noise_is_no_panic(noise in bytes()) {
        let _ = (ToWriter::read(noise.clone()).is_ok(), FromWriter::read(noise).is_ok());
    }
}

/// The bytes that any other program makes of the proto file (by protoc: `protoc --encode`).
#[test]
fn the_bytes_are_those_of_protobuf() {
    let frame = ToWriter::Submissions(vec![Submission { number: 300, kind: Kind::Lookup, content: "ab".into() }]);
    assert_eq!(&written(&frame)[..], b"\x1a\x0b\x0a\x09\x08\xac\x02\x10\x05\x1a\x02ab");
    let frame = FromWriter::Replies(vec![Reply { number: 1, content: "x".into() }]);
    assert_eq!(&written(&frame)[..], b"\x1a\x07\x0a\x05\x08\x01\x12\x01x");
    let frame = FromWriter::State { phase: PhaseTag::Serving, epoch: 2, status: "s".into() };
    assert_eq!(&written(&frame)[..], b"\x12\x07\x08\x03\x10\x02\x1a\x01s");
}

#[test]
fn the_proto_file_has_these_numbers() {
    let proto = include_str!("../../../proto/doppia/writer/v1/writer.proto");
    for line in [
        "Hello hello = 1;",
        "Proof proof = 2;",
        "Submissions submissions = 3;",
        "Challenge challenge = 1;",
        "State state = 2;",
        "Replies replies = 3;",
        "Refusal refusal = 4;",
        "uint32 book = 2;",
        "bytes origin = 3;",
        "bytes nonce = 4;",
        "string name = 5;",
        "uint64 epoch = 2;",
        "bytes status = 3;",
        "KIND_SUBMIT = 1;",
        "KIND_SUBMIT_LINKED = 2;",
        "KIND_PREVIEW = 3;",
        "KIND_PREVIEW_EACH = 4;",
        "KIND_LOOKUP = 5;",
        "PHASE_STANDBY = 1;",
        "PHASE_STARTING = 2;",
        "PHASE_SERVING = 3;",
        "PHASE_STOPPED = 4;",
        "Kind kind = 2;",
        "bytes content = 3;",
    ] {
        assert!(proto.contains(line), "{line}");
    }
    assert!(proto.contains("package doppia.writer.v1;") && proto.contains("rpc Exchange(stream ToWriter)"));
}
