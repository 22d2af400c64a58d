//! A circuit breaker: a provider that failed several times in a row is left alone for a while, longer each time; then one call
//! finds out whether it is back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerOptions {
    /// How many failures in a row open it.
    pub failures: u32,
    /// How long it stays open at first; twice as long after each failed call that was let through.
    pub rest: Duration,
    /// The longest that it stays open.
    pub rest_max: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failures: 5, rest: Duration::from_secs(2), rest_max: Duration::from_mins(1) }
    }
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// How often it was opened in a row.
    opened: u32,
    /// Open until then; then one call is let through.
    until: Option<Instant>,
    /// Whether that call is under way, and until when it counts as such.
    probing: Option<Instant>,
}

/// A breaker.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: Mutex<State>,
}

impl Breaker {
    /// A closed one.
    pub fn new(options: BreakerOptions) -> Self {
        Self { options, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the provider is to be left alone; `None` if a call may be made.
    pub fn leave_alone(&self) -> Option<Duration> {
        let state = self.state();
        let now = Instant::now();
        let until = state.until?;
        if until > now {
            return Some(until - now);
        }
        // One call is enough to find out.
        state.probing.filter(|until| *until > now).map(|until| (until - now).min(self.options.rest))
    }

    /// A call is about to be made, and will be given up after this long.
    pub fn calling(&self, timeout: Duration) {
        let mut state = self.state();
        if state.until.is_some() {
            state.probing = Some(Instant::now() + timeout);
        }
    }

    /// A call was answered, whatever the answer.
    pub fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// A call failed. Gives whether that opened the breaker.
    pub fn failed(&self) -> bool {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        state.probing = None;
        let was_open = state.until.is_some();
        if state.failures < self.options.failures && !was_open {
            return false;
        }
        // Calls that were under way when it opened say nothing new.
        if state.until.is_some_and(|until| until > Instant::now()) {
            return false;
        }
        let rest = self.options.rest.saturating_mul(1 << state.opened.min(16)).min(self.options.rest_max);
        state.opened = state.opened.saturating_add(1);
        state.until = Some(Instant::now() + rest);
        !was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_call_find_out() {
        let rest = Duration::from_millis(20);
        let breaker = Breaker::new(BreakerOptions { failures: 3, rest, rest_max: Duration::from_secs(1) });
        for _ in 0..10 {
            assert!(!breaker.failed() && !breaker.failed());
            breaker.succeeded();
        }
        assert!(!breaker.failed() && !breaker.failed() && breaker.leave_alone().is_none());
        assert!(breaker.failed(), "the third");
        assert!(breaker.leave_alone().is_some());
        std::thread::sleep(rest);
        assert_eq!(breaker.leave_alone(), None, "one may find out");
        breaker.calling(Duration::from_secs(5));
        assert!(breaker.leave_alone().is_some(), "and only one");
        assert!(!breaker.failed(), "it was open before");
        assert!(breaker.leave_alone().is_some_and(|left| left > rest), "longer than at first");
        std::thread::sleep(2 * rest);
        breaker.calling(Duration::from_secs(5));
        breaker.succeeded();
        assert_eq!(breaker.leave_alone(), None);
    }
}
