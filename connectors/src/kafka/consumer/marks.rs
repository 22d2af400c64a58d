//! How far a partition was handled: the id of the last event of each book. Within a partition, the records of a book come in the
//! order of their ids (sequence first, then account), so whatever is not above the mark was there before.

use std::collections::BTreeMap;

use crate::kafka::error::KafkaFault;
use crate::kafka::record::Received;

/// The most bytes of what can be kept with an offset: brokers take 4,096 unless told otherwise.
const MAX_BYTES: usize = 4_000;

/// The place of an event: its sequence, and what its id says behind that.
pub(crate) type Place = (u64, String);

/// The marks of a partition, by book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(BTreeMap<u32, Place>);

impl Marks {
    /// Whether an event was handled before. One whose id has no place in a book can't be told, and is handled.
    pub(crate) fn had(&self, event: &Received) -> bool {
        event.place().is_some_and(|(book, sequence, rest)| {
            self.0.get(&book).is_some_and(|(at, of)| (sequence, rest) <= (*at, of.as_str()))
        })
    }

    /// Marks an event as handled. A mark never falls: behind a copy of an old event may come copies of newer ones.
    pub(crate) fn set(&mut self, event: &Received) {
        if !self.had(event)
            && let Some((book, sequence, rest)) = event.place()
        {
            self.0.insert(book, (sequence, rest.to_owned()));
        }
    }

    /// As text, to be kept with an offset.
    pub(crate) fn text(&self) -> Result<String, KafkaFault> {
        let one = |(book, (sequence, rest)): (&u32, &Place)| match rest.as_str() {
            "" => format!("{book}/{sequence}"),
            rest => format!("{book}/{sequence}/{rest}"),
        };
        let text = self.0.iter().map(one).collect::<Vec<_>>().join(" ");
        if text.len() > MAX_BYTES {
            let books = self.0.len();
            return Err(KafkaFault::Client(format!(
                "{books} books share a topic, more than an offset can remember: give some of them a prefix of their own"
            )));
        }
        Ok(text)
    }

    /// From what was kept. Whatever it is not (somebody set the offset by hand), nothing was handled before.
    pub(crate) fn of_text(text: &str) -> Self {
        let one = |text: &str| {
            let (book, rest) = text.split_once('/')?;
            let (sequence, rest) = rest.split_once('/').unwrap_or((rest, ""));
            Some((book.parse().ok()?, (sequence.parse().ok()?, rest.to_owned())))
        };
        Self(text.split_whitespace().filter_map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::kafka::header;

    fn event(id: &str) -> Received {
        Received {
            topic: String::new(),
            partition: 0,
            offset: 0,
            key: Vec::new(),
            headers: vec![(header::ID.to_owned(), id.as_bytes().to_vec())],
            value: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_above_the_mark_was_had() {
        let mut marks = Marks::default();
        assert!(!marks.had(&event("1/1")));
        for id in ["1/17/b", "2/4", "1/3/z"] {
            marks.set(&event(id));
        }
        for (id, had) in [
            ("1/16/z", true),
            ("1/17/a", true),
            ("1/17/b", true),
            ("1/17/c", false),
            ("1/18/a", false),
            ("1/100/a", false),
            ("2/4", true),
            ("2/5", false),
            ("3/1", false),
            ("no place", false),
        ] {
            assert_eq!(marks.had(&event(id)), had, "{id}");
        }
        assert_eq!(Marks::of_text(&marks.text().unwrap()), marks);
        assert_eq!(Marks::of_text("set by hand"), Marks::default());
    }

    #[test]
    fn more_books_than_an_offset_remembers_are_told() {
        let mut marks = Marks::default();
        for book in 1..1_000 {
            marks.set(&event(&format!("{book}/1")));
        }
        assert!(marks.text().unwrap_err().to_string().contains("999 books"));
    }
}
