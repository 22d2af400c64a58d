#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use event_schemas::testing;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Accepted), testing::rejection().prop_map(Verdict::Rejected)]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (verdict(), any::<u64>(), testing::timestamp(), any::<bool>()).prop_map(
            |(verdict, sequence, recorded_at, replayed)| {
                Answer::Recorded { verdict, sequence: Sequence(sequence), recorded_at, replayed }
            }
        ),
        (prop::sample::select(&["type", "amount", "effective_on", "linked"][..]), any::<u64>())
            .prop_map(|(field, sequence)| Answer::Conflict { field, sequence: Sequence(sequence) }),
    ]
}

fn account() -> impl Strategy<Value = Account> {
    let minor = || -(10_i128.pow(36))..10_i128.pow(36);
    let status = prop::sample::select(&[AccountStatus::Open, AccountStatus::Frozen, AccountStatus::Closed][..]);
    let totals = (minor(), minor(), minor(), minor());
    (testing::account_id(), totals, testing::policy(), testing::currency(), testing::account_kind(), status).prop_map(
        |(id, (debits, credits, debits_pending, credits_pending), policy, currency, kind, status)| Account {
            id,
            debits_posted_minor: debits,
            credits_posted_minor: credits,
            debits_pending_minor: debits_pending,
            credits_pending_minor: credits_pending,
            policy,
            currency,
            kind,
            status,
        },
    )
}

fn preview() -> impl Strategy<Value = Preview> {
    prop_oneof![
        (verdict(), vec(account(), 0..4), vec(testing::event_body(), 0..4))
            .prop_map(|(verdict, accounts, events)| Preview::Expected { verdict, accounts, events }),
        answer().prop_map(Preview::Known),
    ]
}

fn refused() -> impl Strategy<Value = SubmitError> {
    prop_oneof![
        any::<u64>().prop_map(|retry_after_ms| SubmitError::Busy { retry_after_ms }),
        testing::command_id().prop_map(SubmitError::LinkedBatchIds),
        prop::sample::select(
            &[
                SubmitError::BatchSize,
                SubmitError::LinkedBatchSize,
                SubmitError::OutOfBounds("reference"),
                SubmitError::Stopped,
                SubmitError::ReadOnly,
                SubmitError::NoWriter,
            ][..]
        ),
    ]
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let fault = prop_oneof![
        Just(EngineFault::ReadOnly),
        Just(EngineFault::Stopped),
        Just(EngineFault::Unreachable),
        refused().prop_map(EngineFault::Refused),
    ];
    prop_oneof![
        vec(answer(), 0..8).prop_map(Outcome::Answers),
        (vec(preview(), 0..4), any::<u64>(), testing::timestamp()).prop_map(|(items, at, recorded_at)| {
            Outcome::Previews(Previews { items, at_sequence: Sequence(at), recorded_at })
        }),
        prop::option::of(testing::recorded_event().prop_map(Box::new)).prop_map(Outcome::Found),
        fault.prop_map(Outcome::Fault),
    ]
}

proptest! {
    #[test]
    fn commands_come_back(given in vec(testing::command(), 0..8)) {
        prop_assert_eq!(read_commands(&commands(&given)).unwrap(), given);
    }

    #[test]
    fn outcomes_come_back(given in any_outcome()) {
        prop_assert_eq!(read_outcome(&outcome(&given)).unwrap(), given);
    }

    #[test]
    fn lookups_come_back(id in testing::command_id()) {
        prop_assert_eq!(read_lookup(&lookup(id)).unwrap(), id);
    }

    #[test]
    fn noise_is_refused_and_takes_no_memory(bytes in vec(any::<u8>(), 0..200)) {
        let _ = (read_commands(&bytes).is_ok(), read_outcome(&bytes).is_ok(), read_status(&bytes).is_ok());
    }

    #[test]
    fn figures_come_back(figures in vec(any::<u64>(), 8), which in 0..3_usize) {
        let states = [WriterState::Serving, WriterState::ReadOnly, WriterState::Stopped];
        let given = EngineStatus {
            writer: states[which],
            reason: "no space".into(),
            durable: Sequence(figures[0]),
            queued: figures[1],
            accepted_total: figures[2],
            rejected_total: figures[3],
            replayed_total: figures[4],
            flushes_total: figures[5],
            appended_bytes_total: figures[6],
            checkpoint: Sequence(figures[7]),
        };
        prop_assert_eq!(read_status(&status(&given)).unwrap(), given);
    }
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let given = EngineStatus {
        writer: WriterState::Stopped,
        reason: "ä".repeat(200),
        durable: Sequence(1),
        queued: 0,
        accepted_total: 0,
        rejected_total: 0,
        replayed_total: 0,
        flushes_total: 0,
        appended_bytes_total: 0,
        checkpoint: Sequence::ZERO,
    };
    assert_eq!(read_status(&status(&given)).unwrap().reason, "ä".repeat(128));
}
