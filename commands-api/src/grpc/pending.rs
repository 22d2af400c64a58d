//! What a gateway has been given and nobody has answered yet: kept in the order in which it came, bounded, and sent again when the
//! writer changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use event_schemas::bounds::{QUEUE_MAX_BYTES, QUEUE_MAX_COMMANDS};
use ledger_core::ports::{EngineFault, LookupReply, PreviewReply, Reply, SubmitError};

use super::payload::Outcome;
use super::wire::{Kind, Submission};

/// The most submissions of one frame, and the bytes after which it takes no more.
const GROUP_MAX: usize = 4_096;
const GROUP_BYTES: usize = 1024 * 1024;

/// Who waits.
pub(super) enum Waiting {
    Commands(Reply),
    Preview(PreviewReply),
    Lookup(LookupReply),
}

impl Waiting {
    /// Tells it. What is of another kind than what was asked for is no answer.
    pub(super) fn tell(self, outcome: Outcome) {
        match (self, outcome) {
            (Self::Commands(reply), Outcome::Answers(answers)) => reply(Ok(answers)),
            (Self::Commands(reply), Outcome::Fault(fault)) => reply(Err(fault)),
            (Self::Preview(reply), Outcome::Previews(previews)) => reply(Ok(previews)),
            (Self::Preview(reply), Outcome::Fault(fault)) => reply(Err(fault)),
            (Self::Lookup(reply), Outcome::Found(found)) => reply(Ok(found.map(|found| *found))),
            (Self::Lookup(reply), Outcome::Fault(fault)) => reply(Err(fault)),
            (waiting, Outcome::Answers(_) | Outcome::Previews(_) | Outcome::Found(_)) => {
                tracing::error!("the writer answered something else than what was asked");
                waiting.fail(EngineFault::Unreachable);
            }
        }
    }

    pub(super) fn fail(self, fault: EngineFault) {
        match self {
            Self::Commands(reply) => reply(Err(fault)),
            Self::Preview(reply) => reply(Err(fault)),
            Self::Lookup(reply) => reply(Err(fault)),
        }
    }
}

/// A stream to a writer: which address, and which stream to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) writer: usize,
    pub(super) stream: u64,
}

struct Given {
    kind: Kind,
    content: Bytes,
    commands: usize,
    until: Instant,
    waiting: Waiting,
    /// Whether it was ever sent: if not, nothing of it was recorded.
    sent: bool,
}

/// All of it.
#[derive(Default)]
pub(super) struct Pending {
    given: BTreeMap<u64, Given>,
    /// What is to be sent, in order.
    unsent: VecDeque<u64>,
    next: u64,
    commands: usize,
    bytes: usize,
}

impl Pending {
    /// Takes a submission, unless that is too much. One always fits where there is nothing.
    pub(super) fn push(
        &mut self,
        kind: Kind,
        content: Bytes,
        commands: usize,
        give_up: Duration,
        waiting: Waiting,
    ) -> Result<(), SubmitError> {
        let (all, bytes) = (self.commands.saturating_add(commands), self.bytes.saturating_add(content.len()));
        if (all > QUEUE_MAX_COMMANDS || bytes > QUEUE_MAX_BYTES) && !self.given.is_empty() {
            return Err(SubmitError::Busy { retry_after_ms: 1_000 });
        }
        (self.commands, self.bytes) = (all, bytes);
        let number = self.next;
        self.next += 1;
        let until = Instant::now() + give_up;
        self.given.insert(number, Given { kind, content, commands, until, waiting, sent: false });
        self.unsent.push_back(number);
        Ok(())
    }

    /// How many wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// How many commands are without an answer.
    pub(super) const fn commands(&self) -> usize {
        self.commands
    }

    /// The next group to be sent.
    pub(super) fn group(&mut self) -> Vec<Submission> {
        let (mut group, mut bytes) = (Vec::new(), 0_usize);
        while let Some(&number) = self.unsent.front() {
            // Those that have been answered or given up meanwhile are gone.
            let Some(given) = self.given.get_mut(&number) else {
                self.unsent.pop_front();
                continue;
            };
            if !group.is_empty()
                && (group.len() >= GROUP_MAX || bytes.saturating_add(given.content.len()) > GROUP_BYTES)
            {
                break;
            }
            self.unsent.pop_front();
            given.sent = true;
            bytes = bytes.saturating_add(given.content.len());
            group.push(Submission { number, kind: given.kind, content: given.content.clone() });
        }
        group
    }

    /// Everything is to be sent again, in the order in which it came: there is another writer.
    pub(super) fn again(&mut self) {
        self.unsent = self.given.keys().copied().collect();
    }

    /// One is answered.
    pub(super) fn take(&mut self, number: u64) -> Option<Waiting> {
        let given = self.given.remove(&number)?;
        self.commands = self.commands.saturating_sub(given.commands);
        self.bytes = self.bytes.saturating_sub(given.content.len());
        Some(given.waiting)
    }

    /// Those whose time is over, with what they are told.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(Waiting, EngineFault)> {
        // They expire in the order in which they came, but for those of other patience, of which there are none.
        let over: Vec<(u64, bool)> = self
            .given
            .iter()
            .take_while(|(_, given)| given.until <= now)
            .map(|(number, given)| (*number, given.sent))
            .collect();
        let fault = |sent| if sent { EngineFault::Unreachable } else { EngineFault::Refused(SubmitError::NoWriter) };
        over.into_iter().filter_map(|(number, sent)| Some((self.take(number)?, fault(sent)))).collect()
    }

    /// All of them: the gateway ends.
    pub(super) fn drain(&mut self) -> Vec<Waiting> {
        self.unsent.clear();
        let numbers: Vec<u64> = self.given.keys().copied().collect();
        numbers.into_iter().filter_map(|number| self.take(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn push(pending: &mut Pending, content: &'static [u8], give_up: Duration) -> Receiver<EngineFault> {
        let (sender, receiver) = channel();
        let reply: Reply = Box::new(move |answers| {
            let _ = sender.send(answers.unwrap_err());
        });
        pending.push(Kind::Submit, content.into(), 1, give_up, Waiting::Commands(reply)).unwrap();
        receiver
    }

    #[test]
    fn what_is_not_answered_is_sent_again_in_order() {
        let mut pending = Pending::default();
        let patience = Duration::from_mins(1);
        let _waiting: Vec<_> = [b"a", b"b", b"c"].map(|content| push(&mut pending, content, patience)).into();
        let sent = |pending: &mut Pending| pending.group().iter().map(|item| item.number).collect::<Vec<_>>();
        assert_eq!(sent(&mut pending), [0, 1, 2]);
        assert_eq!(sent(&mut pending), [0; 0]);
        assert!(pending.take(1).is_some() && pending.take(1).is_none());
        pending.again();
        assert_eq!((pending.unsent(), pending.commands()), (2, 2));
        assert_eq!(sent(&mut pending), [0, 2]);
    }

    #[test]
    fn what_was_sent_is_not_known_and_what_was_not_did_not_happen() {
        let mut pending = Pending::default();
        let sent = push(&mut pending, b"a", Duration::ZERO);
        pending.group();
        let unsent = push(&mut pending, b"b", Duration::ZERO);
        for (waiting, fault) in pending.expired(Instant::now()) {
            waiting.fail(fault);
        }
        assert_eq!(sent.try_recv().unwrap(), EngineFault::Unreachable);
        assert_eq!(unsent.try_recv().unwrap(), EngineFault::Refused(SubmitError::NoWriter));
        assert!(pending.group().is_empty() && pending.commands() == 0);
    }

    #[test]
    fn it_is_bounded() {
        let mut pending = Pending::default();
        let nobody = || Waiting::Lookup(Box::new(|_| ()));
        let mut push = |commands| pending.push(Kind::Submit, Bytes::new(), commands, Duration::ZERO, nobody());
        push(QUEUE_MAX_COMMANDS + 1).unwrap();
        assert_eq!(push(1), Err(SubmitError::Busy { retry_after_ms: 1_000 }));
    }
}
