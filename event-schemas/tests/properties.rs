//! Properties of the canonical forms: what is written is read back, one value has one form, and no bytes make the reader

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_for_each)]
//! panic.

use event_schemas::block::HEADER_BYTES;
use event_schemas::codec::Reader;
use event_schemas::testing;
use event_schemas::{Block, BlockHeader, CivilDate, CommandBody, CommandId, Event, Money, RecordedEvent, Rejection};
use proptest::prelude::*;
use proptest::sample::Index;

fn bytes_of(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}

/// Decodes everything in `bytes` as one event; if that works, its canonical form must be these very bytes.
fn canonical_or_refused(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    match Event::decode(&mut reader) {
        Ok(event) => {
            let used = bytes.len() - reader.remaining();
            assert_eq!(bytes_of(&event), &bytes[..used], "{event:?} has a second form");
            true
        }
        Err(_) => false,
    }
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), prop_oneof![Just(0), Just(1), Just(0x80), any::<u8>()])
            .prop_map(|(at, to)| Mutation::Set(at, to)),
        (any::<Index>(), prop_oneof![Just(0), Just(0x80), any::<u8>()])
            .prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Cut),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
        Mutation::Set(at, to) => *at.get_mut(bytes) = *to,
        Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        Mutation::Remove(at) => {
            bytes.remove(at.index(bytes.len()));
        }
        Mutation::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}

/// Sets the length in front of an event to what follows it, so that a mutation reaches the fields behind it.
fn with_length(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    event_schemas::codec::put_varint(&mut bytes, body.len() as u128);
    bytes.extend_from_slice(body);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn events_come_back_from_bytes(event in testing::event()) {
        let bytes = bytes_of(&event);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Event::decode(&mut reader).unwrap(), event);
        prop_assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn events_come_back_from_json(event in testing::recorded_event()) {
        let text = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(&serde_json::from_str::<RecordedEvent>(&text).unwrap(), &event);
        let value = serde_json::to_value(&event).unwrap();
        prop_assert_eq!(&value["type"], event.event.body.type_name());
        prop_assert_eq!(serde_json::from_value::<RecordedEvent>(value).unwrap(), event);
    }

    #[test]
    fn commands_come_back(command in testing::command_body()) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(&CommandBody::decode(&mut reader).unwrap(), &command);
        prop_assert_eq!(reader.remaining(), 0);
        let value = serde_json::to_value(&command).unwrap();
        prop_assert_eq!(&value["type"], command.type_name());
        prop_assert_eq!(serde_json::from_value::<CommandBody>(value).unwrap(), command);
    }

    #[test]
    fn rejections_come_back(rejection in testing::rejection()) {
        let mut bytes = Vec::new();
        rejection.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(&Rejection::decode(&mut reader).unwrap(), &rejection);
        prop_assert_eq!(reader.remaining(), 0);
        let value = serde_json::to_value(&rejection).unwrap();
        prop_assert_eq!(&value["code"], rejection.code());
        prop_assert_eq!(serde_json::from_value::<Rejection>(value).unwrap(), rejection);
    }

    #[test]
    fn a_changed_event_is_refused_or_another_canonical_event(
        event in testing::event(),
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let bytes = bytes_of(&event);
        let mut whole = bytes.clone();
        mutations.iter().for_each(|mutation| mutate(&mut whole, mutation));
        canonical_or_refused(&whole);
        let mut inner = Reader::new(&bytes);
        let length: usize = inner.number("length").unwrap();
        let mut body = inner.bytes(length, "body").unwrap().to_vec();
        mutations.iter().for_each(|mutation| mutate(&mut body, mutation));
        canonical_or_refused(&with_length(&body));
    }

    #[test]
    fn a_cut_event_is_refused(event in testing::event(), at in any::<Index>()) {
        let bytes = bytes_of(&event);
        prop_assert!(!canonical_or_refused(&bytes[..at.index(bytes.len())]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in 0..12_u8, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        canonical_or_refused(&bytes);
        canonical_or_refused(&with_length(&bytes));
        // Behind a valid type, version and cause more of the random bytes are read as fields.
        let mut typed = vec![kind, 1, 0];
        typed.extend_from_slice(&bytes);
        canonical_or_refused(&with_length(&typed));
        let _ = CommandBody::decode(&mut Reader::new(&bytes));
        let _ = Rejection::decode(&mut Reader::new(&bytes));
        if let Ok(block) = Block::from_bytes(bytes) {
            block.events().for_each(drop);
        }
    }

    #[test]
    fn integers_have_one_form(value in any::<u128>(), bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        let mut out = Vec::new();
        event_schemas::codec::put_varint(&mut out, value);
        event_schemas::codec::put_signed(&mut out, value.cast_signed());
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.varint("it").unwrap(), value);
        prop_assert_eq!(reader.signed("it").unwrap(), value.cast_signed());
        prop_assert_eq!(reader.remaining(), 0);
        let mut reader = Reader::new(&bytes);
        if let Ok(read) = reader.varint("it") {
            let mut again = Vec::new();
            event_schemas::codec::put_varint(&mut again, read);
            prop_assert_eq!(&again[..], &bytes[..bytes.len() - reader.remaining()]);
        }
    }

    #[test]
    fn headers_come_back(block in testing::block()) {
        let header = *block.header();
        prop_assert_eq!(BlockHeader::decode(&header.encode()).unwrap(), header);
        prop_assert_eq!(header.hash(), block.hash());
    }

    #[test]
    fn arbitrary_headers_never_panic_and_have_one_form(
        block in testing::block(),
        mutations in prop::collection::vec((0..HEADER_BYTES, any::<u8>()), 1..6),
    ) {
        let mut bytes = block.header().encode();
        mutations.iter().for_each(|(at, to)| bytes[*at] = *to);
        if let Ok(header) = BlockHeader::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes);
            prop_assert!(header.last_sequence() >= header.first_sequence);
        }
    }

    #[test]
    fn amounts_come_back_from_their_text(money in testing::money()) {
        let text = money.amount().to_string();
        match Money::parse(&text, money.currency) {
            Ok(read) => prop_assert_eq!(read, money),
            Err(error) => prop_assert!(
                money.amount_minor.unsigned_abs() > event_schemas::bounds::AMOUNT_MAX_MINOR.unsigned_abs(),
                "{text} {error}"
            ),
        }
    }

    #[test]
    fn amounts_of_any_text_never_panic(text in "[-+0-9., e]{0,45}", currency in testing::currency()) {
        if let Ok(money) = Money::parse(&text, currency) {
            prop_assert_eq!(Money::parse(&money.amount().to_string(), currency), Ok(money));
        }
    }

    #[test]
    fn dates_and_times_come_back_from_their_text(date in testing::civil_date(), time in testing::timestamp()) {
        prop_assert_eq!(date.to_string().parse::<CivilDate>().unwrap(), date);
        prop_assert_eq!(time.to_string().parse::<event_schemas::Timestamp>().unwrap(), time);
        let parsed: jiff::Timestamp = time.to_string().parse().unwrap();
        let day = parsed.to_zoned(jiff::tz::TimeZone::UTC).date();
        prop_assert_eq!(time.date_utc().to_string(), day.to_string());
    }

    #[test]
    fn ids_come_back_from_their_text(id in any::<u128>()) {
        prop_assert_eq!(CommandId(id).to_string().parse::<CommandId>().unwrap(), CommandId(id));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_come_back_and_every_flipped_bit_shows(block in testing::block()) {
        let again = Block::from_bytes(block.bytes().to_vec()).unwrap();
        prop_assert_eq!(&again, &block);
        let events: Vec<_> = again.events().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(events.len(), block.header().count as usize);
        for (offset, (sequence, event)) in events.iter().enumerate() {
            prop_assert_eq!(sequence.0, block.header().first_sequence.0 + offset as u64);
            prop_assert_eq!(again.event(*sequence).unwrap(), Some(event.clone()));
        }
        prop_assert_eq!(again.event(block.header().last_sequence().next()).unwrap(), None);
        // Large blocks are sampled: every bit of the header, and a bit in every few bytes of the payload.
        let stride = (block.bytes().len() / 512).max(1);
        for at in (0..HEADER_BYTES).chain((HEADER_BYTES..block.bytes().len()).step_by(stride)) {
            for bit in 0..8 {
                let mut bytes = block.bytes().to_vec();
                bytes[at] ^= 1 << bit;
                // What from_bytes cannot see is another header, and that has another hash: the chain sees it.
                prop_assert!(Block::from_bytes(bytes).map_or(true, |other| other.hash() != block.hash()));
            }
        }
        for cut in (0..block.bytes().len()).step_by(stride) {
            prop_assert!(Block::from_bytes(block.bytes()[..cut].to_vec()).is_err());
        }
        let mut longer = block.bytes().to_vec();
        longer.push(0);
        prop_assert!(Block::from_bytes(longer).is_err());
    }

    #[test]
    fn chained_blocks_follow_each_other(
        blocks in prop::collection::vec(prop::collection::vec(testing::event(), 1..4), 1..5),
    ) {
        let chain = testing::chain(event_schemas::BookId::FIRST, &blocks);
        for (before, after) in chain.iter().zip(&chain[1..]) {
            prop_assert_eq!(after.header().previous, before.hash());
            prop_assert_eq!(after.header().first_sequence, before.header().last_sequence().next());
        }
    }
}
