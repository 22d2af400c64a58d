//! The guard of the clock. `recorded_at` never runs backwards, and one jump of ten years would ratchet it for ever, expire
//! every hold and open every limit; so a wall clock that runs away from the monotonic one stops the writer, and a gap that
//! is found at start needs an operator's word.

use std::time::Duration;

use event_schemas::Timestamp;
use event_schemas::bounds::{CLOCK_AHEAD_MAX_US, CLOCK_JUMP_MAX_DAYS};
use event_schemas::sabotage::{Switch, on};

use crate::ports::Clock;

/// Why the clock can't be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// At start: behind the newest record.
    #[error(
        "the clock says {wall}, but the journal was written to at {newest}: set the clock, or start with --accept-clock"
    )]
    Behind {
        /// The wall clock.
        wall: Timestamp,
        /// The newest `recorded_at`.
        newest: Timestamp,
    },
    /// At start: far ahead of the newest record.
    #[error(
        "the clock says {wall}, more than {CLOCK_JUMP_MAX_DAYS} days after the journal was last written to ({newest}): set the clock, or start with --accept-clock"
    )]
    FarAhead {
        /// The wall clock.
        wall: Timestamp,
        /// The newest `recorded_at`.
        newest: Timestamp,
    },
    /// While running: the wall clock ran away from the monotonic one.
    #[error("the wall clock jumped ahead by {ahead_us} us: the writer stopped; check the clock and start again")]
    Jumped {
        /// By how much.
        ahead_us: i64,
    },
    /// Outside the range that a journal can hold.
    #[error("the wall clock says {0}, which no journal can hold")]
    OutOfRange(Timestamp),
}

/// Checks the clock at start against the newest record; `None` on a fresh journal.
pub(super) fn check_at_start(wall: Timestamp, newest: Option<Timestamp>) -> Result<(), ClockError> {
    if wall.0 <= 0 || wall > Timestamp::MAX {
        return Err(ClockError::OutOfRange(wall));
    }
    let Some(newest) = newest else { return Ok(()) };
    let ahead_us = wall.0.saturating_sub(newest.0);
    // A clock that was set back by less than the guard tolerates while running is waited for, by not running backwards.
    if ahead_us < CLOCK_AHEAD_MAX_US.saturating_neg() {
        return Err(ClockError::Behind { wall, newest });
    }
    if ahead_us > CLOCK_JUMP_MAX_DAYS.saturating_mul(86_400_000_000) {
        return Err(ClockError::FarAhead { wall, newest });
    }
    Ok(())
}

/// How far a healthy clock may drift from the monotonic one: one part in 2,000.
const DRIFT_PARTS: i64 = 2_000;

/// Reads the time of recording.
#[derive(Debug)]
pub(super) struct ClockGuard {
    clock: Clock,
    wall_us: i64,
    monotonic_us: i64,
    newest: Timestamp,
}

impl ClockGuard {
    /// Begins to watch a clock, and gives what it says now, to be checked.
    pub(super) fn start(clock: Clock, newest: Timestamp) -> (Self, Timestamp) {
        let (wall, monotonic_us) = ((clock.wall)(), (clock.monotonic_us)());
        (Self { clock, wall_us: wall.0, monotonic_us, newest }, wall)
    }

    /// Notes a time on record: nothing is recorded before it.
    pub(super) fn recorded(&mut self, at: Timestamp) {
        self.newest = self.newest.max(at);
    }

    /// How long it is until a time, as it would be recorded.
    pub(super) fn until(&self, time: Timestamp) -> Duration {
        let now = self.newest.max((self.clock.wall)());
        Duration::from_micros(u64::try_from(time.0.saturating_sub(now.0)).unwrap_or(0))
    }

    /// The time to record at: the wall clock's, never before the newest.
    pub(super) fn now(&mut self) -> Result<Timestamp, ClockError> {
        let (wall_us, monotonic_us) = ((self.clock.wall)().0, (self.clock.monotonic_us)());
        let elapsed_us = monotonic_us.saturating_sub(self.monotonic_us).max(0);
        let expected_us = self.wall_us.saturating_add(elapsed_us);
        let ahead_us = wall_us.saturating_sub(expected_us);
        if ahead_us > CLOCK_AHEAD_MAX_US {
            return Err(ClockError::Jumped { ahead_us });
        }
        // The expectation follows a slow drift, and a clock that was set back, but not a jump ahead.
        let drift_us = elapsed_us.checked_div(DRIFT_PARTS).unwrap_or(0);
        self.wall_us = expected_us.saturating_add(ahead_us.min(drift_us));
        self.monotonic_us = monotonic_us;
        self.newest = if on(Switch::TimeBackwards) { Timestamp(wall_us) } else { self.newest.max(Timestamp(wall_us)) };
        Ok(self.newest)
    }
}
