//! Attempts at the state: whatever is applied and taken back leaves it as it was, digests and deadlines included.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod desk;

use desk::{Desk, streams};
use event_schemas::{AccountId, CommandBody, CommandId, Event, Timestamp};
use ledger_core::state::State;
use proptest::prelude::*;

/// Every event that a stream of commands causes, from the opening of the book on.
fn events(commands: Vec<CommandBody>, seconds: &[i64]) -> Vec<Event> {
    let mut desk = Desk::new();
    for (body, seconds) in commands.into_iter().zip(seconds.iter().cycle()) {
        desk.recorded_at.0 += seconds * 1_000_000;
        desk.give(body);
    }
    desk.events
}

/// All that shows of a state, without a digest of its own being taken.
fn shows(state: &State) -> (Vec<u8>, Option<(Timestamp, CommandId)>, usize, usize) {
    (state.encode(), state.next_deadline(), state.due(Timestamp::MAX, usize::MAX), state.holds_open())
}

/// The digest of what a checkpoint holds, hashed anew from all rows.
fn hashed_anew(state: &State) -> event_schemas::Digest {
    State::decode(&state.encode()).unwrap().digest()
}

fn cuts() -> impl Strategy<Value = Vec<(usize, bool, bool)>> {
    prop::collection::vec((1..12_usize, any::<bool>(), any::<bool>()), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_taken_back_never_was(
        commands in streams::stream(),
        seconds in prop::collection::vec(prop_oneof![6 => Just(0), 2 => 0..3_i64], 1..20),
        cuts in cuts(),
        digest_at in prop::collection::vec(any::<bool>(), 1..7),
        digest_first in any::<bool>(),
    ) {
        let events = events(commands, &seconds);
        let (mut state, mut never) = (State::new(), State::new());
        let (mut rest, mut cut, mut digests) = (&events[..], cuts.iter().cycle(), digest_at.iter().cycle());
        while !rest.is_empty() {
            let (count, once_more, digest_after) = *cut.next().unwrap();
            let (now, later) = rest.split_at(count.min(rest.len()));
            if digest_first {
                prop_assert_eq!(state.digest(), never.digest());
            }
            let before = shows(&state);
            let attempts = if once_more { 2 } else { 1 };
            for _ in 0..attempts {
                state.attempt();
                for event in now {
                    state.apply(event).unwrap();
                    // One that does not apply is no obstacle: it changed nothing.
                    let _ = state.apply(event);
                    if *digests.next().unwrap() {
                        prop_assert_eq!(state.digest(), hashed_anew(&state));
                    }
                }
                state.take_back();
                prop_assert_eq!(&shows(&state), &before);
                for account in never.accounts() {
                    prop_assert_eq!(state.account(account.id), Some(account));
                }
                if digest_after {
                    prop_assert_eq!(state.digest(), never.digest());
                }
            }
            // And then it does happen: in an attempt that is kept, or in none.
            if once_more {
                state.attempt();
            }
            for event in now {
                state.apply(event).unwrap();
                never.apply(event).unwrap();
            }
            state.keep();
            prop_assert_eq!(&shows(&state), &shows(&never));
            rest = later;
        }
        prop_assert_eq!(state.digest(), never.digest());
        prop_assert_eq!(state.digest(), hashed_anew(&state));
    }

    #[test]
    fn an_attempt_tells_what_it_touched(commands in streams::stream(), at in any::<prop::sample::Index>()) {
        let events = events(commands, &[0]);
        let (before, tried) = events.split_at(at.index(events.len()));
        let mut state = State::new();
        for event in before {
            state.apply(event).unwrap();
        }
        let old = state.clone();
        state.attempt();
        let begin = state.mark();
        for event in tried {
            let (mark, last) = (state.mark(), state.clone());
            state.apply(event).unwrap();
            let touched: Vec<AccountId> = state.touched(mark).iter().map(|account| account.id).collect();
            let changed: Vec<_> = state
                .accounts()
                .iter()
                .filter(|account| last.account(account.id) != Some(*account))
                .map(|account| account.id)
                .collect();
            prop_assert!(changed.iter().all(|id| touched.contains(id)));
            for (place, id) in touched.iter().enumerate() {
                prop_assert!(!touched[..place].contains(id), "told twice");
            }
        }
        let touched = state.touched(begin);
        for account in state.accounts().iter().filter(|account| old.account(account.id) != Some(*account)) {
            prop_assert!(touched.contains(&account));
        }
        state.take_back();
        prop_assert!(state.touched(state.mark()).is_empty());
    }
}
