//! Ways in which a ledger goes wrong, built in to prove that the tests notice them: `make sabotage` turns on one after the
//! other and runs the tests that must turn red.
//!
//! Without the feature `sabotage`, [`on`] is a constant `false` and every place that asks it vanishes. No crate turns the
//! feature on, and a test holds them to that.

/// A way to go wrong. Each is asked for at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// A frame is appended without a sync of its segment.
    SegmentSyncSkipped,
    /// The anchor is written without a sync.
    AnchorSyncSkipped,
    /// A journal that failed to sync is written to again.
    FailedSyncRetried,
    /// Opening does not check that each block follows the one before it.
    ChainUnchecked,
    /// A damaged frame is taken for an intact one.
    DamageAccepted,
    /// Commands are answered before their blocks are flushed.
    AnsweredEarly,
    /// A read model applies an event twice.
    AppliedTwice,
    /// A read model passes over an event.
    EventSkipped,
    /// Rows are committed without the checkpoint that belongs to them.
    CheckpointLost,
    /// An account may be overdrawn.
    FundsIgnored,
    /// What is held counts as available.
    HoldIgnored,
    /// More may be captured than is held.
    CaptureAboveHold,
    /// A hold may be captured at its very deadline.
    CaptureAtDeadline,
    /// What was reversed may be reversed again.
    ReversedTwice,
    /// An entry need not balance.
    UnbalancedAccepted,
    /// A frozen account takes part in entries.
    FreezeIgnored,
    /// What is above a customer's limits is let through.
    LimitIgnored,
    /// A fee by the rule is rounded up.
    FeeRoundedUp,
    /// Entries are posted into closed periods.
    PeriodIgnored,
    /// What a customer gets of a conversion is rounded up.
    CustomerRoundedUp,
    /// Money is converted by a sheet or a quote that has expired.
    StaleSheetAccepted,
    /// The id index forgets what it was told, and a retry takes place again.
    IdForgotten,
    /// Other content under a known id is taken for a retry.
    ConflictUnnoticed,
    /// `recorded_at` follows a clock that is set back.
    TimeBackwards,
    /// A checkpoint is taken although its digest is not the one on the chain.
    DigestUnchecked,
    /// A customer's key acts on the accounts of another.
    StrangerActs,
    /// The cursor of another query is accepted.
    CursorOfAnother,
}

/// The environment variable that names the switch to turn on, as it is called here.
pub const VARIABLE: &str = "DOPPIA_SABOTAGE";

/// Whether this build goes wrong in this way.
#[cfg(not(feature = "sabotage"))]
#[inline]
pub const fn on(_switch: Switch) -> bool {
    false
}

/// Whether this build goes wrong in this way.
#[cfg(feature = "sabotage")]
pub fn on(switch: Switch) -> bool {
    use std::sync::OnceLock;
    static NAMED: OnceLock<String> = OnceLock::new();
    *NAMED.get_or_init(|| std::env::var(VARIABLE).unwrap_or_default()) == format!("{switch:?}")
}
