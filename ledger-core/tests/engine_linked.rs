//! Linked batches through the engine: all or nothing, in one block, with verdicts that are kept and told again.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod stage;

use std::sync::mpsc::channel;

use event_schemas::bounds::{BLOCK_MAX_BYTES, EXPIRIES_PER_BLOCK_MAX, TOTAL_MAX_MINOR};
use event_schemas::command::{CashMove, PostEntry};
use event_schemas::{
    AccountId, BookId, Command, CommandBody, CommandId, Event, EventBody, Money, Posting, Rejection, Sequence,
};
use ledger_core::ports::{
    Answer, CommandSink, EngineFault, Journal, JournalReader, Preview, SubmitError, Verdict, WriterState,
};
use stage::Hands;
use stage::talk::{
    ask, audited, balance, capture, command, eur, hold, keep_busy, link, linked, open, opened, preview, replayed,
    reverse, start, told, top_up, transfer, void,
};
use stores::memory::{MemoryBook, MemoryFault};

#[test]
fn all_or_nothing() {
    let (book, _, engine) = opened();
    // Each sees what those before it did: 100 go there and back.
    let there_and_back = vec![transfer(10, 10, 11, 100), transfer(11, 11, 10, 60), transfer(12, 10, 11, 60)];
    assert_eq!(linked(&engine, there_and_back.clone()), ["ok"; 3]);
    assert_eq!((balance(&book, 10), balance(&book, 11)), (0, 100));
    // One that fails takes all others with it, wherever it stands, and is named.
    let failing = vec![transfer(20, 11, 10, 30), transfer(21, 11, 10, 71), transfer(22, 11, 10, 1)];
    let refused = ["linked to 1 (21)", "insufficient_funds", "linked to 1 (21)"];
    assert_eq!(linked(&engine, failing.clone()), refused);
    assert_eq!(linked(&engine, vec![transfer(23, 9, 10, 1), open(24, 30)]), ["account_not_found", "linked to 0 (23)"]);
    assert_eq!(
        linked(&engine, vec![open(25, 30), transfer(26, 10, 30, 1)]),
        ["linked to 1 (26)", "insufficient_funds"]
    );
    assert_eq!((balance(&book, 10), balance(&book, 11)), (0, 100));
    assert!(replayed(&book).account(AccountId(30)).is_none());
    // The verdicts are on record and told again, after a restart too; the command that failed saw 70, not 100.
    let again: Vec<_> = refused.iter().map(|word| format!("again {word}")).collect();
    assert_eq!(linked(&engine, failing.clone()), again);
    engine.stop();
    let engine = start(&book, &Hands::new());
    let head = engine.status().durable;
    assert_eq!(linked(&engine, failing.clone()), again);
    assert_eq!(linked(&engine, there_and_back), ["again ok"; 3]);
    let single = link(&engine, vec![failing[1].clone()]).unwrap();
    assert!(matches!(
        &single[..],
        [Answer::Recorded {
            verdict: Verdict::Rejected(Rejection::InsufficientFunds { available_minor: 70, required_minor: 71, .. }),
            replayed: true,
            ..
        }]
    ));
    // On its own, an item is told what it got.
    assert_eq!(told(&ask(&engine, vec![failing[0].clone()]).unwrap()), ["again linked to 1 (21)"]);
    assert_eq!(engine.status().durable, head, "nothing of this is recorded");
    // A batch of one is a command.
    assert_eq!(linked(&engine, vec![transfer(30, 11, 10, 100)]), ["ok"]);
    assert_eq!(linked(&engine, vec![transfer(31, 11, 10, 1)]), ["insufficient_funds"]);
}

#[test]
fn one_block_and_one_verdict_each_side_by_side() {
    let (book, _, engine) = opened();
    let batches = [
        vec![transfer(10, 10, 11, 1), transfer(11, 10, 11, 2), transfer(12, 10, 11, 3)],
        vec![transfer(20, 10, 11, 1), transfer(21, 10, 11, 1_000), transfer(22, 10, 11, 3)],
    ];
    for batch in &batches {
        let answers = link(&engine, batch.clone()).unwrap();
        let events = audited(&book);
        let at = |command: &Command| events.iter().find(|(.., event)| event.cause.verdict_of() == Some(command.id));
        let found: Vec<_> = batch.iter().map(|command| at(command).unwrap()).collect();
        assert!(found.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1.next() == pair[1].1));
        for (answer, (_, sequence, event)) in answers.iter().zip(&found) {
            let Answer::Recorded { verdict, sequence: told, replayed: false, .. } = answer else {
                panic!("{answer:?}")
            };
            assert_eq!((told, verdict), (sequence, &ledger_core::asked::verdict(&event.body)));
        }
    }
    // What an accepted one opens on its way stands before it, in the same block.
    let usd = CashMove {
        account: AccountId(40),
        amount: Money::new(5, "USD".parse().unwrap()),
        fee_minor: Some(1),
        effective_on: None,
        reference: "".into(),
    };
    let mut account = open(30, 40);
    let CommandBody::OpenAccount(open) = &mut account.body else { unreachable!() };
    open.currency = "USD".parse().unwrap();
    let answers = link(&engine, vec![account, command(31, CommandBody::TopUp(usd))]).unwrap();
    let sequences: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Recorded { sequence, .. } => sequence.0,
            Answer::Conflict { .. } => panic!("{answer:?}"),
        })
        .collect();
    assert_eq!(sequences[1] - sequences[0], 3, "clearing and fee accounts stand between");
    let mut reader = book.reader();
    for sequence in sequences {
        let block = reader.block_at(Sequence(sequence)).unwrap().unwrap();
        assert_eq!(block.header().count, 4);
    }
}

#[test]
fn an_item_may_name_an_earlier_one() {
    let (book, _, engine) = opened();
    // A hold and its captures; an entry and parts of its reversal; a hold that has ended by then.
    let batch = vec![
        hold(10, 50, None),
        capture(11, 10, 20),
        capture(12, 10, 30),
        transfer(13, 11, 10, 40),
        reverse(14, 13, Some(15)),
        reverse(15, 13, None),
        reverse(16, 11, Some(5)),
    ];
    assert_eq!(linked(&engine, batch.clone()), ["ok"; 7]);
    assert_eq!((balance(&book, 10), balance(&book, 11)), (55, 45));
    let reversed: Vec<_> = audited(&book)
        .into_iter()
        .filter_map(|(_, _, event)| match event.body {
            EventBody::EntryReversed(reversed) => Some((reversed.reverses, reversed.postings[0].money.amount_minor)),
            _ => None,
        })
        .collect();
    let sequence = |id: u128| {
        let events = audited(&book);
        events.iter().find(|(.., event)| event.cause.verdict_of() == Some(CommandId(id))).unwrap().1
    };
    assert_eq!(reversed, [(sequence(13), 15), (sequence(13), 25), (sequence(11), 5)]);
    // The same, refused by the last: nothing of it is left, and the ids that it named never were anything.
    let failing = vec![hold(20, 50, None), capture(21, 20, 50), void(22, 20)];
    assert_eq!(linked(&engine, failing), ["linked to 2 (22)", "linked to 2 (22)", "hold_not_open"]);
    let failing = vec![transfer(23, 10, 11, 5), reverse(24, 23, None), reverse(25, 23, None)];
    assert_eq!(linked(&engine, failing), ["linked to 2 (25)", "linked to 2 (25)", "original_reversed"]);
    let after = vec![capture(26, 20, 1), void(27, 20), reverse(28, 23, None), reverse(29, 24, None)];
    let answers = ["hold_not_found", "hold_not_found", "original_not_an_entry", "original_not_an_entry"];
    assert_eq!(told(&ask(&engine, after).unwrap()), answers);
    assert_eq!((balance(&book, 10), replayed(&book).holds_open()), (55, 0));
    // A later one can't be named.
    assert_eq!(
        linked(&engine, vec![reverse(30, 31, None), transfer(31, 10, 11, 1)]),
        ["original_not_found", "linked to 0 (30)"]
    );
}

#[test]
fn what_is_known_in_part_or_otherwise_is_a_conflict() {
    let (_, _, engine) = opened();
    assert_eq!(told(&ask(&engine, vec![transfer(10, 10, 11, 1), transfer(11, 10, 11, 1_000)]).unwrap())[0], "ok");
    assert_eq!(linked(&engine, vec![transfer(20, 10, 11, 1), transfer(21, 10, 11, 2)]), ["ok"; 2]);
    let head = engine.status().durable;
    let cases = [
        (vec![transfer(20, 10, 11, 1), transfer(22, 10, 11, 2)], vec!["! id", "! id"]),
        (vec![transfer(22, 10, 11, 2), transfer(20, 10, 11, 9)], vec!["! id", "! amount"]),
        (vec![transfer(20, 10, 11, 9), transfer(21, 11, 10, 2)], vec!["! amount", "! from"]),
        (vec![transfer(20, 10, 11, 1), transfer(21, 10, 11, 3)], vec!["! linked", "! amount"]),
        // One accepted and one refused: no linked batch ends so.
        (vec![transfer(10, 10, 11, 1), transfer(11, 10, 11, 1_000)], vec!["! linked", "! linked"]),
    ];
    for (batch, expected) in cases {
        assert_eq!(linked(&engine, batch.clone()), expected, "{batch:?}");
        assert_eq!(engine.status().durable, head);
    }
    // A part of it, or all of it in another order, has the verdicts that it has.
    assert_eq!(linked(&engine, vec![transfer(21, 10, 11, 2), transfer(20, 10, 11, 1)]), ["again ok"; 2]);
    // Two in one group: the second finds what the first got before it is flushed.
    let (sender, receiver) = channel();
    let (go, flushes) = (keep_busy(&engine, open(12, 12)), engine.status().flushes_total);
    for _ in 0..2 {
        let sender = sender.clone();
        let batch = vec![transfer(30, 10, 11, 1), transfer(31, 10, 11, 1_000)];
        engine.try_submit_linked(batch, Box::new(move |answers| drop(sender.send(answers)))).unwrap();
    }
    drop(go);
    let of = |answers: Result<Vec<Answer>, EngineFault>| told(&answers.unwrap());
    assert_eq!(of(receiver.recv().unwrap()), ["linked to 1 (31)", "insufficient_funds"]);
    assert_eq!(of(receiver.recv().unwrap()), ["again linked to 1 (31)", "again insufficient_funds"]);
    assert_eq!(engine.status().flushes_total, flushes + 1);
}

#[test]
fn what_can_not_be_linked_is_not_taken() {
    let (_, _, engine) = opened();
    let refused = |commands| engine.try_submit_linked(commands, Box::new(|_| panic!("not taken"))).unwrap_err();
    assert_eq!(refused(vec![]), SubmitError::BatchSize);
    assert_eq!(refused((0..8_191).map(|id| open(id, id)).collect()), SubmitError::BatchSize);
    assert_eq!(refused((0..6_000).map(|id| open(id, id)).collect()), SubmitError::LinkedBatchSize);
    let twice = vec![open(5, 5), open(6, 6), open(5, 5)];
    assert_eq!(refused(twice.clone()), SubmitError::LinkedBatchIds(CommandId(5)));
    let preview = engine.try_preview(twice, Box::new(|_| panic!("not taken")));
    assert_eq!(preview, Err(SubmitError::LinkedBatchIds(CommandId(5))));
}

#[test]
fn the_largest_batch_fits_one_block_among_others_and_behind_expiries() {
    let (book, hands, engine) = opened();
    assert_eq!(told(&ask(&engine, vec![top_up(4, 10, 1_000_000)]).unwrap()), ["ok"]);
    let count = 2 * EXPIRIES_PER_BLOCK_MAX as u128 + 500;
    let holds: Vec<_> = (0..count).map(|nth| hold(1_000_000 + nth, 5, Some(1_000_000))).collect();
    assert!(ask(&engine, holds).unwrap().iter().all(|answer| told(std::slice::from_ref(answer)) == ["ok"]));
    // As many as are taken, three times in one go, with single commands between, right when many holds are due.
    let long = |id: u128| {
        let mut command = transfer(id, 10, 11, 1);
        let CommandBody::PostTransfer(transfer) = &mut command.body else { unreachable!() };
        transfer.reference = "x".repeat(256).into();
        command
    };
    // One whose events, quoted by refusals, are as large as they may get.
    let large = |id: u128| {
        let posting = |place| Posting::debit(AccountId(u128::MAX - place), Money::new(TOTAL_MAX_MINOR, eur()));
        let postings = (0..200).map(posting).collect();
        command(
            id,
            CommandBody::PostEntry(PostEntry { postings, effective_on: None, reference: "x".repeat(256).into() }),
        )
    };
    let most = |from: u128, of: &dyn Fn(u128) -> Command| {
        let taken = |count: &u128| engine.try_preview((0..*count).map(of).collect(), Box::new(|_| ())).is_ok();
        (from..10_000).take_while(taken).last().unwrap()
    };
    let (most_large, most) = (most(10, &large), most(500, &long));
    let (sender, receiver) = channel();
    let go = keep_busy(&engine, open(12, 12));
    hands.advance(2_000_000);
    let first = (0..most_large).map(|nth| large(90_000_000 + nth)).collect();
    engine
        .try_submit_linked(
            first,
            Box::new(|answers| {
                assert!(answers.unwrap().iter().all(|answer| told(std::slice::from_ref(answer)) != ["ok"]));
            }),
        )
        .unwrap();
    for round in 1..=3_u128 {
        let batch: Vec<_> = (0..most).map(|nth| long(round * 10_000_000 + nth)).collect();
        let reply = sender.clone();
        engine.try_submit_linked(batch, Box::new(move |answers| drop(reply.send(answers)))).unwrap();
        let reply = sender.clone();
        let between = vec![transfer(round * 10_000_000 + 9_000_000, 10, 11, 1)];
        engine.try_submit(between, Box::new(move |answers| drop(reply.send(answers)))).unwrap();
    }
    drop(go);
    drop(sender);
    for answers in receiver {
        assert!(told(&answers.unwrap()).iter().all(|word| word == "ok"));
    }
    let events = audited(&book);
    for round in 1..=3_u128 {
        let ids = CommandId(round * 10_000_000)..CommandId(round * 10_000_000 + most);
        let of = |event: &Event| event.cause.verdict_of().is_some_and(|id| ids.contains(&id));
        let found: Vec<_> = events.iter().filter(|(.., event)| of(event)).collect();
        assert_eq!(found.len() as u128, most);
        assert!(found.iter().all(|(block, ..)| *block == found[0].0), "all in one block");
    }
    let expired = |block: usize| {
        let mut of = events.iter().filter(|(nth, ..)| *nth == block);
        of.any(|(.., event)| matches!(event.body, EventBody::HoldExpired(_)))
    };
    let place = events.iter().find(|(.., event)| event.cause.verdict_of() == Some(CommandId(90_000_000))).unwrap().0;
    assert!(expired(place), "the largest stand behind expiries");
    assert!(book.blocks().iter().all(|block| block.bytes().len() <= BLOCK_MAX_BYTES));
    assert_eq!(balance(&book, 11), 3 * (i128::try_from(most).unwrap() + 1));
}

#[test]
fn a_digest_waits_for_the_end_of_a_batch() {
    let (book, _, engine) = opened();
    assert_eq!(told(&ask(&engine, vec![top_up(4, 10, 1_000_000)]).unwrap()), ["ok"]);
    // Up to shortly before the digest is due.
    let mut next = 1_000_u128;
    while engine.status().durable.0 < 65_536 - 100 {
        let left = 65_536 - 50 - engine.status().durable.0;
        let some: Vec<_> = (0..u128::from(left.min(8_000))).map(|nth| transfer(next + nth, 10, 11, 1)).collect();
        next += 8_000;
        ask(&engine, some).unwrap();
    }
    let mut batch: Vec<_> = (0..200).map(|nth| transfer(10_000_000 + nth, 10, 11, 1)).collect();
    batch.push(transfer(11_000_000, 10, 11, 10_000_000));
    let answers = linked(&engine, batch);
    assert_eq!((answers[0].as_str(), answers[200].as_str()), ("linked to 200 (11000000)", "insufficient_funds"));
    let events = audited(&book);
    let digests: Vec<_> = events.iter().filter(|(.., event)| matches!(event.body, EventBody::StateDigest(_))).collect();
    assert_eq!(digests.len(), 1);
    let last = events.iter().rev().find(|(.., event)| event.cause.verdict_of().is_some()).unwrap();
    assert_eq!((digests[0].0, digests[0].1), (last.0, last.1.next()), "right behind the batch, in its block");
    engine.stop();
    let engine = start(&book, &Hands::new());
    assert_eq!(told(&ask(&engine, vec![transfer(12_000_000, 10, 11, 1)]).unwrap()), ["ok"]);
}

#[test]
fn a_batch_is_there_whole_or_not_at_all_after_a_crash() {
    for written in [false, true] {
        for refused in [false, true] {
            let (book, hands, engine) = opened();
            let before = replayed(&book);
            book.fail_next_append(MemoryFault::Unknown { written });
            let last = if refused { 1_000 } else { 3 };
            let batch =
                vec![transfer(10, 10, 11, 1), hold(11, 2, None), capture(12, 11, 1), transfer(13, 10, 11, last)];
            assert_eq!(link(&engine, batch.clone()), Err(EngineFault::Stopped));
            // Nothing is told of a state that is ahead of the journal: refused, or answered that the writer has stopped.
            let (sender, receiver) = channel();
            let reply = Box::new(move |previews| drop(sender.send(previews)));
            match engine.try_preview(vec![transfer(14, 10, 11, 1)], reply) {
                Ok(()) => assert_eq!(receiver.recv().unwrap(), Err(EngineFault::Stopped)),
                Err(error) => assert_eq!(error, SubmitError::Stopped),
            }
            drop(engine);
            let engine = start(&book, &hands);
            let (mut state, mut before) = (replayed(&book), before);
            let moved = written && !refused;
            assert_eq!(state.digest() != before.digest(), moved);
            let words = if refused {
                ["linked to 3 (13)", "linked to 3 (13)", "linked to 3 (13)", "insufficient_funds"]
            } else {
                ["ok"; 4]
            };
            let again = if written { "again " } else { "" };
            let words: Vec<_> = words.iter().map(|word| format!("{again}{word}")).collect();
            assert_eq!(linked(&engine, batch), words);
            assert_eq!(balance(&book, 11), if refused { 0 } else { 5 });
        }
    }
}

#[test]
fn a_full_disk_refuses_whole_batches_and_still_tells_and_previews() {
    let (book, _, engine) = opened();
    let batch = vec![transfer(10, 10, 11, 1), transfer(11, 10, 11, 2)];
    assert_eq!(linked(&engine, batch.clone()), ["ok"; 2]);
    book.set_full(true);
    let other = vec![transfer(20, 10, 11, 1), transfer(21, 10, 11, 2)];
    assert_eq!(link(&engine, other.clone()), Err(EngineFault::ReadOnly));
    assert_eq!(engine.status().writer, WriterState::ReadOnly);
    assert_eq!(linked(&engine, batch.clone()), ["again ok"; 2]);
    assert_eq!(linked(&engine, vec![batch[0].clone(), other[0].clone()]), ["! id", "! id"]);
    let previews = preview(&engine, other.clone()).unwrap();
    assert_eq!(previews.at_sequence, engine.status().durable);
    assert!(previews.items.iter().all(|item| matches!(item, Preview::Expected { verdict: Verdict::Accepted, .. })));
    book.set_full(false);
    assert_eq!(linked(&engine, other), ["ok"; 2]);
    assert_eq!(balance(&book, 11), 6);
}

#[test]
fn sixty_four_submitters_of_linked_batches() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start(&book, &hands);
    let accounts = 4..12_u128;
    assert!(ask(&engine, accounts.clone().map(|id| open(id, id)).collect()).is_ok());
    assert!(ask(&engine, accounts.clone().map(|id| top_up(100 + id, id, 40)).collect()).is_ok());
    let (accepted, refused) = std::thread::scope(|scope| {
        let engine = &engine;
        let threads: Vec<_> = (0..64_u128)
            .map(|thread| {
                scope.spawn(move || {
                    let (mut accepted, mut refused) = (0, 0);
                    for nth in 0..20 {
                        // Around in a ring of three, with amounts that do not always fit.
                        let place = |step: u128| 4 + (thread + nth + step) % 8;
                        let minor = i128::try_from(1 + (thread * 7 + nth * 13) % 60).unwrap();
                        let id = |step: u128| 1_000 + (thread * 100 + nth) * 10 + step;
                        let batch: Vec<_> =
                            (0..3).map(|step| transfer(id(step), place(step), place(step + 1), minor)).collect();
                        let words = linked(engine, batch.clone());
                        if words == ["ok"; 3] {
                            accepted += 1;
                        } else {
                            let own = words.iter().filter(|word| *word == "insufficient_funds").count();
                            assert_eq!((own, words.iter().filter(|word| *word == "ok").count()), (1, 0), "{words:?}");
                            refused += 1;
                        }
                        let again: Vec<_> = words.iter().map(|word| format!("again {word}")).collect();
                        assert_eq!(linked(engine, batch), again);
                    }
                    (accepted, refused)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    assert_eq!(accepted + refused, 64 * 20);
    let events = audited(&book);
    let entries = events.iter().filter(|(.., event)| matches!(event.body, EventBody::EntryPosted(_))).count();
    assert_eq!(entries, 8 + 3 * accepted);
}

#[test]
fn wherever_a_crash_cuts_the_journal_no_batch_is_cut() {
    let (book, hands, engine) = opened();
    let batches: Vec<_> = (1..=20_u128)
        .map(|nth| {
            let id = |step: u128| nth * 100 + step;
            let last = if nth % 3 == 0 { 1_000 } else { 1 };
            vec![hold(id(0), 3, None), capture(id(1), id(0), 1), transfer(id(2), 11, 10, last), void(id(3), id(0))]
        })
        .collect();
    for (nth, batch) in batches.iter().enumerate() {
        // Some alone, some in one group with others.
        let go = (nth % 4 == 0).then(|| keep_busy(&engine, open(10_000 + nth as u128, 10_000 + nth as u128)));
        engine.try_submit_linked(batch.clone(), Box::new(|answers| assert!(answers.is_ok()))).unwrap();
        drop(go);
    }
    engine.stop();
    let (whole, blocks) = (audited(&book), book.blocks());
    // The book and its accounts are opened by two blocks.
    for cut in 2..=blocks.len() {
        let left = MemoryBook::new(BookId::FIRST);
        left.writer().append(&blocks[..cut]).unwrap();
        let last = blocks[cut - 1].header().last_sequence();
        let verdicts = |batch: &[Command]| {
            let of = |event: &Event| batch.iter().any(|command| event.cause.verdict_of() == Some(command.id));
            whole.iter().filter(|(_, sequence, event)| *sequence <= last && of(event)).count()
        };
        assert!(batches.iter().all(|batch| [0, batch.len()].contains(&verdicts(batch))), "cut behind {last}");
        // What is missing can be asked for again, in order, and ends as it did.
        let engine = start(&left, &hands);
        for (nth, batch) in (1..).zip(&batches) {
            let again = verdicts(batch) > 0;
            let expected = batch.iter().enumerate().map(|(place, command)| {
                let word = match (nth % 3, place) {
                    (0, 2) => "insufficient_funds".to_owned(),
                    (0, _) => format!("linked to 2 ({})", command.id.0 - place as u128 + 2),
                    _ => "ok".to_owned(),
                };
                if again { format!("again {word}") } else { word }
            });
            assert_eq!(linked(&engine, batch.clone()), expected.collect::<Vec<_>>());
        }
        engine.stop();
        assert_eq!((balance(&left, 10), balance(&left, 11)), (balance(&book, 10), balance(&book, 11)));
    }
}
