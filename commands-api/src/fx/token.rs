//! A quote as a text: everything that its conversion will say, and a MAC. Nothing of it is kept anywhere.
//!
//! `base64url(mac, 32 bytes ‖ version, 1 byte ‖ book, 4 ‖ principal, 16 ‖ quote, 16 ‖ the command in canonical form)`

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_schemas::codec::Reader;
use event_schemas::rates::ConvertFunds;
use event_schemas::{BookId, CommandBody, CommandId, PrincipalId};

use super::QuoteKeys;

const VERSION: u8 = 1;

/// The longest text of a quote, in bytes.
pub(crate) const TOKEN_MAX_BYTES: usize = 1_024;

/// A quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quote {
    pub(super) book: BookId,
    /// Who asked for it, and may use it.
    pub(super) principal: PrincipalId,
    /// Its id: that of the conversion to be.
    pub(super) id: CommandId,
    pub(super) convert: ConvertFunds,
}

impl Quote {
    fn message(&self) -> Vec<u8> {
        let mut message = vec![VERSION];
        message.extend_from_slice(&self.book.get().to_be_bytes());
        message.extend_from_slice(&self.principal.0.to_be_bytes());
        message.extend_from_slice(&self.id.0.to_be_bytes());
        CommandBody::ConvertFunds(self.convert.clone()).encode(&mut message);
        message
    }

    /// The text.
    pub(super) fn seal(&self, keys: &QuoteKeys) -> Option<String> {
        let message = self.message();
        let mut bytes = keys.sign(&message)?.to_vec();
        bytes.extend_from_slice(&message);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The quote that a text is; `None` if it was not made with one of these keys.
    pub(super) fn open(text: &str, keys: &QuoteKeys) -> Option<Self> {
        if text.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (mac, message) = bytes.split_first_chunk::<32>()?;
        if !keys.verify(message, mac) {
            return None;
        }
        let mut reader = Reader::new(message);
        if reader.byte("version").ok()? != VERSION {
            return None;
        }
        let book = BookId::new(u32::from_be_bytes(reader.array("book").ok()?))?;
        let principal = PrincipalId(reader.id("principal").ok()?);
        let id = CommandId(reader.id("quote").ok()?);
        let CommandBody::ConvertFunds(convert) = CommandBody::decode(&mut reader).ok()? else { return None };
        reader.finish().ok()?;
        Some(Self { book, principal, id, convert })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use event_schemas::rates::FixedSide;
    use event_schemas::{AccountId, Money, Timestamp};

    use super::*;

    #[test]
    fn a_text_is_its_quote_and_no_other() {
        let keys = QuoteKeys::parse(&"7f".repeat(32)).unwrap();
        let quote = Quote {
            book: BookId::FIRST,
            principal: PrincipalId(7),
            id: CommandId(8),
            convert: ConvertFunds {
                from: AccountId(1),
                to: AccountId(2),
                owner: "x".repeat(64).into(),
                fixed: FixedSide::Bought,
                sold: Money::new(10_i128.pow(24), "USD".parse().unwrap()),
                bought: Money::new(10_i128.pow(24), "EUR".parse().unwrap()),
                tier: "x".repeat(32).into(),
                sheet: u64::MAX,
                expires_at: Timestamp::MAX,
                reference: "x".repeat(256).into(),
            },
        };
        let text = quote.seal(&keys).unwrap();
        assert!(text.len() <= TOKEN_MAX_BYTES, "{}", text.len());
        assert_eq!(Quote::open(&text, &keys), Some(quote));
        let other = QuoteKeys::parse(&"7e".repeat(32)).unwrap();
        assert_eq!(Quote::open(&text, &other), None);
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(Quote::open(std::str::from_utf8(&bytes).unwrap(), &keys), None, "at {place}");
        }
        for wrong in ["", "A", "A A", &text[1..], &text[..text.len() - 1], &format!("{text}A"), &"A".repeat(2_000)] {
            assert_eq!(Quote::open(wrong, &keys), None);
        }
    }
}
