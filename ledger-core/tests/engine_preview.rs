//! Dry runs through the engine, which say what would happen and leave nothing behind, and the bounds of what waits.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod stage;

use std::sync::mpsc::channel;
use std::time::Duration;

use event_schemas::command::{Caps, FeeKind, PublishCalendar, SetFeeRule, SetLimits};
use event_schemas::{BookId, CommandBody, CustomerId, EventBody, Timestamp};
use ledger_core::engine::EngineOptions;
use ledger_core::ports::{Answer, CommandSink, EngineFault, Preview, Previews, SubmitError, Verdict};
use stage::talk::{
    ask, capture, command, eur, hold, keep_busy, linked, open, opened, preview, replayed, reverse, start_with, told,
    top_up, transfer, void, word,
};
use stage::{Hands, START_US};
use stores::memory::MemoryBook;

#[test]
fn a_dry_run_says_what_then_happens_and_leaves_no_trace() {
    let (book, hands, engine) = opened();
    let batch = vec![hold(10, 50, None), capture(11, 10, 20), transfer(12, 10, 11, 5), reverse(13, 12, None)];
    let before = (book.blocks(), engine.status());
    for _ in 0..3 {
        let previews = preview(&engine, batch.clone()).unwrap();
        assert_eq!(previews.at_sequence, engine.status().durable);
        assert_eq!(previews.recorded_at, Timestamp(START_US));
        let after = |nth: usize| match &previews.items[nth] {
            Preview::Expected { verdict: Verdict::Accepted, accounts, .. } => {
                let row = |account: &ledger_core::state::Account| {
                    (
                        account.id.0,
                        account.balance_minor(),
                        account.debits_pending_minor,
                        account.available_minor().unwrap(),
                    )
                };
                accounts.iter().map(row).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(after(0), [(10, 100, 50, 50)]);
        assert_eq!(after(1), [(10, 80, 30, 50), (11, 20, 0, 20)]);
        assert_eq!(after(2), [(10, 75, 30, 45), (11, 25, 0, 25)]);
        assert_eq!(after(3), [(10, 80, 30, 50), (11, 20, 0, 20)]);
    }
    // What would be refused, and because of which.
    let failing = vec![transfer(20, 10, 11, 60), transfer(21, 10, 11, 41), open(22, 40)];
    let previews = preview(&engine, failing.clone()).unwrap();
    let verdicts: Vec<_> = previews
        .items
        .iter()
        .map(|item| match item {
            Preview::Expected { verdict, accounts, .. } => {
                assert!(accounts.is_empty());
                word(verdict)
            }
            Preview::Known(answer) => panic!("{answer:?}"),
        })
        .collect();
    assert_eq!(verdicts, ["linked to 1 (21)", "insufficient_funds", "linked to 1 (21)"]);
    assert_eq!((book.blocks(), engine.status()), before);
    // The ids are as new as before.
    assert_eq!(linked(&engine, failing), verdicts);
    assert_eq!(linked(&engine, batch.clone()), ["ok"; 4]);
    // An id that has its verdict is told it, or what differs.
    let known = preview(&engine, vec![batch[2].clone()]).unwrap();
    assert!(matches!(
        &known.items[..],
        [Preview::Known(Answer::Recorded { verdict: Verdict::Accepted, replayed: true, .. })]
    ));
    let other = preview(&engine, vec![transfer(12, 10, 11, 6)]).unwrap();
    assert!(matches!(&other.items[..], [Preview::Known(Answer::Conflict { field: "amount", .. })]));
    // A hold that is due by then is not in the way, though nothing has expired yet for lack of space.
    assert_eq!(told(&ask(&engine, vec![hold(30, 50, Some(1_000_000))]).unwrap()), ["ok"]);
    book.set_full(true);
    hands.advance(2_000_000);
    assert_eq!(ask(&engine, vec![open(31, 31)]), Err(EngineFault::ReadOnly));
    let previews = preview(&engine, vec![transfer(32, 10, 11, 50)]).unwrap();
    assert!(matches!(&previews.items[..], [Preview::Expected { verdict: Verdict::Accepted, .. }]));
    book.set_full(false);
    assert_eq!(told(&ask(&engine, vec![transfer(32, 10, 11, 50)]).unwrap()), ["ok"]);
    engine.stop();
    let (sender, receiver) = channel();
    let stopped = engine.try_preview(batch, Box::new(move |previews| drop(sender.send(previews))));
    assert_eq!(stopped, Err(SubmitError::Stopped));
    assert!(receiver.recv().is_err());
}

/// Fees by the rule and charges to limits show in a dry run, alone and in linked batches, and are taken back with it.
#[test]
fn a_dry_run_shows_fees_and_what_is_charged() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = stage::talk::start(&book, &hands);
    let owned = |id: u128, account: u128, owner: &str| {
        let mut command = open(id, account);
        let CommandBody::OpenAccount(open) = &mut command.body else { unreachable!() };
        open.owner = owner.into();
        command
    };
    let day = Timestamp(START_US).date_utc();
    let starts = (0..3).map(|nth| Timestamp((i64::from(day.days()) + nth) * 86_400_000_000)).collect();
    let calendar =
        PublishCalendar { version: 1, zone: "Etc/UTC".into(), tz_version: "".into(), first_day: day, starts };
    let caps = Caps { daily_minor: Some(100), ..Caps::NONE };
    let limits = SetLimits { owner: "client:1".into(), currency: eur(), version: 4, caps };
    let rule = SetFeeRule {
        kind: FeeKind::Transfer,
        currency: eur(),
        version: 7,
        fixed_minor: 2,
        rate_ppm: 0,
        min_minor: 0,
        max_minor: None,
    };
    let opened = vec![
        owned(1, 10, "client:1"),
        owned(2, 11, "client:2"),
        top_up(3, 10, 1_000),
        command(4, CommandBody::PublishCalendar(calendar)),
        command(5, CommandBody::SetLimits(limits)),
        command(6, CommandBody::SetFeeRule(rule)),
    ];
    assert_eq!(told(&ask(&engine, opened).unwrap()), ["ok"; 6]);
    let by_rule = |id: u128, minor: i128| {
        let mut command = transfer(id, 10, 11, minor);
        let CommandBody::PostTransfer(transfer) = &mut command.body else { unreachable!() };
        transfer.fee_minor = None;
        command
    };
    let before = book.blocks();
    for _ in 0..2 {
        let previews = preview(&engine, vec![by_rule(10, 40), hold(11, 58, None), void(12, 11)]).unwrap();
        let shown: Vec<Vec<String>> = previews.items.iter().map(events_of).collect();
        let charge = |minor: i128, used: i128| format!("charges {minor}, {used} of the day");
        assert_eq!(shown[0], ["ledger.account.opened.v1".into(), charge(42, 42), "40 and 2 by rule Some(7)".into()]);
        assert_eq!(shown[1], [charge(58, 100), "ledger.hold.placed.v1".into()]);
        assert_eq!(shown[2], ["gives back 58, 42 of the day".to_owned(), "ledger.hold.voided.v1".into()]);
    }
    assert_eq!(book.blocks(), before);
    // What is charged by a batch that is refused is not used.
    let above = vec![by_rule(20, 40), hold(21, 59, None)];
    for _ in 0..2 {
        assert_eq!(previewed(&preview(&engine, above.clone()).unwrap()), ["linked to 1 (21)", "limit_exceeded"]);
    }
    assert_eq!(linked(&engine, above), ["linked to 1 (21)", "limit_exceeded"]);
    assert_eq!(linked(&engine, vec![by_rule(30, 40), hold(31, 58, None)]), ["ok", "ok"]);
    assert_eq!(told(&ask(&engine, vec![by_rule(40, 1)]).unwrap()), ["limit_exceeded"]);
    assert_eq!(
        told(&ask(&engine, vec![void(41, 31), by_rule(42, 56), by_rule(43, 1)]).unwrap()),
        ["ok", "ok", "limit_exceeded"]
    );
    engine.stop();
    let customer = CustomerId::from_owner("client:1").unwrap();
    let used = replayed(&book).limits(customer, eur()).unwrap().used.unwrap();
    assert_eq!((used.on, used.day_minor, used.month_minor), (day, 100, 100));
}

fn previewed(previews: &Previews) -> Vec<String> {
    let told = |item: &Preview| match item {
        Preview::Expected { verdict, .. } => word(verdict),
        Preview::Known(answer) => panic!("{answer:?}"),
    };
    previews.items.iter().map(told).collect()
}

fn events_of(item: &Preview) -> Vec<String> {
    let Preview::Expected { events, .. } = item else { panic!("{item:?}") };
    let word = |event: &EventBody| match event {
        EventBody::LimitCharged(charged) => {
            format!("charges {}, {} of the day", charged.amount_minor, charged.day_used_minor)
        }
        EventBody::LimitReleased(released) => {
            format!("gives back {}, {} of the day", released.amount_minor, released.day_used_minor)
        }
        EventBody::EntryPosted(entry) => {
            let minor = |place: usize| entry.postings[place].money.amount_minor;
            format!("{} and {} by rule {:?}", minor(1), minor(2), entry.fee_rule)
        }
        other => other.type_name().into(),
    };
    events.iter().map(word).collect()
}

#[test]
fn what_waits_is_bounded_by_bytes_too() {
    let (book, hands) = (MemoryBook::new(BookId::FIRST), Hands::new());
    let engine = start_with(&book, &hands, EngineOptions { queue_max_bytes: 1, nonce: 42, ..EngineOptions::default() });
    let go = keep_busy(&engine, open(1, 1));
    let mut busy = false;
    for id in 2..1_000 {
        let preview = engine.try_preview(vec![open(id, id)], Box::new(|_| ()));
        busy |= matches!(preview, Err(SubmitError::Busy { .. }));
        if busy {
            break;
        }
    }
    assert!(busy);
    drop(go);
    // What is larger than the bound by itself is taken when nothing waits.
    let taken = (0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        engine.try_submit(vec![open(5_000, 5_000)], Box::new(|_| ())).is_ok()
    });
    assert!(taken);
}
