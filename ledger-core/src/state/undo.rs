//! Attempts: changes that can be taken back whole. A linked batch is applied as one, and a dry run is one that is always taken
//! back.
//!
//! While an attempt is on, each change of an account or of a row first notes what was before; taking back puts the notes in
//! place again, the last one first. What comes back is the state as it was, its hashes included, so that attempts leave nothing
//! behind that grows. While none is on, a change costs one branch. An attempt costs a note of some 150 bytes for each change;
//! whoever makes one bounds its events. There is one attempt at a time.

use std::hash::BuildHasher as _;

use super::{Account, Facts, State, index};

/// What was before an attempt.
#[derive(Debug, Clone)]
pub(super) struct Before {
    facts: Facts,
    /// How many accounts there were.
    opened: usize,
    /// Accounts before each change, in the order of the changes, with their places.
    accounts: Vec<(u32, Account)>,
    /// How many accounts had changed since their hash was taken; `None` once hashes were taken during the attempt.
    changed: Option<usize>,
}

impl Before {
    pub(super) const fn hashes_were_taken(&mut self) {
        self.changed = None;
    }

    /// Notes what an account is before it changes. Out of the way of the changes that nobody takes back.
    #[cold]
    #[inline(never)]
    pub(super) fn note(&mut self, place: usize, account: &Account) {
        self.accounts.push((u32::try_from(place).unwrap_or(u32::MAX), *account));
    }
}

/// A moment of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

impl State {
    /// Begins an attempt: from here on, what is applied can be taken back.
    pub fn attempt(&mut self) {
        assert!(self.before.is_none(), "there is one attempt at a time");
        self.before = Some(Before {
            facts: self.facts,
            opened: self.accounts.len(),
            accounts: Vec::new(),
            changed: Some(self.changed_places.len()),
        });
        for table in self.tables.all_mut() {
            table.attempt();
        }
    }

    /// Ends the attempt, and lets what was applied stand.
    pub fn keep(&mut self) {
        self.before = None;
        for table in self.tables.all_mut() {
            table.keep();
        }
    }

    /// Ends the attempt, and takes back everything that was applied since it began.
    pub fn take_back(&mut self) {
        let Some(before) = self.before.take() else { return };
        for (place, account) in before.accounts.into_iter().rev() {
            if let Some(now) = self.accounts.get_mut(index(place)) {
                *now = account;
            }
            if before.changed.is_none() {
                self.touch(index(place));
            }
        }
        if let Some(changed) = before.changed {
            for place in self.changed_places.drain(changed..) {
                if let Some(changed) = self.changed.get_mut(index(place)) {
                    *changed = false;
                }
            }
        }
        self.unopen(before.opened);
        self.set_nonce(before.facts.nonce);
        self.facts = before.facts;
        for table in self.tables.all_mut() {
            table.take_back(&mut self.digest);
        }
    }

    /// Forgets the accounts from this place on.
    fn unopen(&mut self, from: usize) {
        while self.accounts.len() > from {
            let Some(account) = self.accounts.pop() else { break };
            self.customers.pop();
            let place = self.accounts.len();
            let hash = self.hasher.hash_one(account.id.0);
            if let Ok(entry) = self.places.find_entry(hash, |found| index(*found) == place) {
                entry.remove();
            }
            if let Some(hash) = self.hashes.pop().flatten() {
                self.digest.remove(hash);
            }
            if self.changed.pop() == Some(true) {
                // Only if hashes were taken during the attempt: else it is drained already.
                self.changed_places.retain(|changed| index(*changed) != place);
            }
        }
    }

    /// Notes what an account is before it changes.
    pub(super) fn note(&mut self, place: usize) {
        if let (Some(before), Some(account)) = (&mut self.before, self.accounts.get(place)) {
            before.note(place, account);
        }
    }

    /// This moment of the attempt.
    pub fn mark(&self) -> Mark {
        Mark(self.before.as_ref().map_or(0, |before| before.accounts.len()))
    }

    /// The accounts that changed in the attempt since a mark, as they are now, each once, in the order of their first change.
    pub fn touched(&self, since: Mark) -> Vec<&Account> {
        let changes = self.before.as_ref().and_then(|before| before.accounts.get(since.0..)).unwrap_or_default();
        let mut places: Vec<(u32, usize)> = (0..).zip(changes).map(|(at, (place, _))| (*place, at)).collect();
        places.sort_unstable();
        places.dedup_by_key(|(place, _)| *place);
        places.sort_unstable_by_key(|(_, at)| *at);
        places.iter().filter_map(|(place, _)| self.accounts.get(index(*place))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use event_schemas::command::{AccountKind, BalancePolicy, OpenAccount};
    use event_schemas::event::BookOpened;
    use event_schemas::{AccountId, BookId, Event, EventBody, PrincipalId};

    use super::*;

    fn open(account: u128) -> Event {
        let (code, owner) = (Box::default(), Box::default());
        let (kind, currency, policy) = (AccountKind::Liability, "EUR".parse().unwrap(), BalancePolicy::NO_OVERDRAFT);
        let account = AccountId(account);
        Event::engine(EventBody::AccountOpened(OpenAccount { account, code, kind, currency, owner, policy }))
    }

    #[test]
    fn what_is_taken_back_does_not_pile_up() {
        let mut state = State::new();
        let opened = BookOpened { book: BookId::FIRST, nonce: PrincipalId(7) };
        state.apply(&Event::engine(EventBody::BookOpened(opened))).unwrap();
        state.apply(&open(1)).unwrap();
        for _ in 0..100 {
            state.attempt();
            state.apply(&open(2)).unwrap();
            state.take_back();
        }
        assert_eq!((state.changed_places.len(), state.changed.len(), state.hashes.len()), (1, 1, 1));
        assert_eq!((state.places.len(), state.accounts.len()), (1, 1));
    }
}
