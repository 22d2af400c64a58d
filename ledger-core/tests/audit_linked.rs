//! What the auditor says of linked batches that were refused: of those that are as they should be, nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use event_schemas::command::AccountAct;
use event_schemas::event::{BookOpened, CommandRejected, HoldExpired};
use event_schemas::{
    AccountId, BookId, Cause, CommandBody, CommandId, Event, EventBody, Money, PrincipalId, Rejection, Sequence,
    Timestamp,
};
use ledger_core::audit::{Auditor, Law};

/// A refusal of a command.
fn refused(id: u128, rejection: Rejection) -> Event {
    let act = AccountAct { account: AccountId(5), reason: "".into() };
    let rejected = CommandRejected { command: CommandBody::FreezeAccount(act), rejection };
    let cause = Cause::Verdict { command: CommandId(id), actor: PrincipalId(1) };
    Event { cause, body: EventBody::CommandRejected(rejected) }
}

/// `own 5`: command 5 is refused for a reason that is so; `seen 5`: for one that was so behind others of its batch at most;
/// `5 for 7 at 2`: command 5 because of command 7 in place 2; `|`: a block begins; `expiry`: an event of the engine's.
fn found(story: &str) -> Vec<Law> {
    let mut auditor = Auditor::new();
    let mut sequence = Sequence::ZERO;
    let mut observe = |auditor: &mut Auditor, event: &Event| {
        sequence = sequence.next();
        auditor.observe(sequence, event);
    };
    auditor.at(Timestamp(1));
    let opened = BookOpened { book: BookId::FIRST, nonce: PrincipalId(1) };
    observe(&mut auditor, &Event::engine(EventBody::BookOpened(opened)));
    for part in story.split(',') {
        let words: Vec<_> = part.split_whitespace().collect();
        let event = match words[..] {
            ["|"] => {
                auditor.at(Timestamp(1));
                continue;
            }
            ["own", id] => refused(id.parse().unwrap(), Rejection::AccountNotFound { account: AccountId(5) }),
            ["seen", id] => refused(id.parse().unwrap(), Rejection::AccountFrozen { account: AccountId(5) }),
            [id, "for", command, "at", item] => {
                let (item, command) = (item.parse().unwrap(), CommandId(command.parse().unwrap()));
                refused(id.parse().unwrap(), Rejection::LinkedItemRefused { item, command })
            }
            ["expiry"] => Event::engine(EventBody::HoldExpired(HoldExpired {
                hold: CommandId(1_000),
                account: AccountId(5),
                released: Money::new(1, "EUR".parse().unwrap()),
                expires_at: Timestamp(1),
            })),
            _ => panic!("{part}"),
        };
        observe(&mut auditor, &event);
    }
    auditor.finish();
    // That there is no such hold is beside the point here.
    auditor.findings().iter().map(|finding| finding.law).filter(|law| *law != Law::HoldsAddUp).collect()
}

#[test]
fn batches_that_were_refused_as_they_are() {
    for story in [
        "own 1, own 2",
        "own 1, 2 for 1 at 0, 3 for 1 at 0, own 4, 5 for 4 at 0",
        "1 for 3 at 2, 2 for 3 at 2, seen 3, 4 for 3 at 2, own 5",
        "1 for 2 at 1, seen 2, |, 3 for 4 at 1, seen 4",
        "1 for 2 at 1, seen 2, 3 for 4 at 1, seen 4, 5 for 4 at 1",
        "1 for 2 at 1, own 2, expiry, own 3",
    ] {
        assert_eq!(found(story), [], "{story}");
    }
}

#[test]
fn batches_that_can_not_have_been() {
    use Law::{LinkedTogether, RejectionHolds};
    for (story, laws) in [
        // The command because of which they were refused is not there, not in its place, or was not refused.
        ("1 for 2 at 1", vec![LinkedTogether]),
        ("1 for 3 at 1, own 2", vec![LinkedTogether]),
        ("1 for 3 at 2, own 3", vec![LinkedTogether]),
        ("1 for 3 at 1, 2 for 3 at 1, own 3", vec![LinkedTogether]),
        ("1 for 2 at 0", vec![LinkedTogether]),
        ("own 1, 2 for 3 at 0", vec![LinkedTogether]),
        ("1 for 1 at 1", vec![LinkedTogether]),
        ("own 1, own 2, 3 for 1 at 0", vec![LinkedTogether]),
        // They do not stand side by side, or not in one block.
        ("own 1, expiry, 2 for 1 at 0", vec![LinkedTogether]),
        ("own 1, |, 2 for 1 at 0", vec![LinkedTogether]),
        ("1 for 2 at 1, |, own 2", vec![LinkedTogether]),
        ("1 for 2 at 1, expiry, own 2", vec![LinkedTogether]),
        // Others name another.
        ("1 for 3 at 2, 2 for 4 at 2, own 3", vec![LinkedTogether, LinkedTogether]),
        // Only behind others of a batch may a refusal say what was not so before it.
        ("seen 1", vec![RejectionHolds]),
        ("seen 1, 2 for 1 at 0", vec![RejectionHolds]),
        ("1 for 2 at 1, own 2, seen 3", vec![RejectionHolds]),
    ] {
        assert_eq!(found(story), laws, "{story}");
    }
}
