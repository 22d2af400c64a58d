//! How a run ends: with an answer, with a finding, or not at all; and the exit codes that scripts go by.

use std::io;

use event_schemas::{BlockError, Sequence};
use ledger_core::ports::{CheckpointFault, IdIndexFault, JournalFault};
use ledger_core::state::ApplyError;
use projections::ports::RowsFault;
use projections::{RunnerError, RunnerFault};
use stores::kafka::KafkaFault;
use stores::postgres::PostgresFault;
use stores::rocks::RocksFault;
use stores::segments::OpenFault;

/// The exit codes, as they stand in the help.
pub const EXIT_CODES: &str = "Exit codes:
  0  all is well
  1  found damage, or two things that ought to agree and do not
  2  the question does not fit: wrong arguments, an unknown account, a folder that is in use
  3  could not read: no such folder, no permission, a failing disk";

/// A run that reached its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Fine,
    /// Damage or a difference was found, and reported.
    Found,
}

/// A run that did not reach its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The question does not fit.
    #[error("{0}")]
    Usage(String),
    /// What was read is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// Reading failed.
    #[error("{0}")]
    Unreadable(String),
    /// The output could not be written.
    #[error("writing the output failed: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// A question that does not fit.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Damaged(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreadable(_) | Self::Output(_) => 3,
        }
    }

    /// Whether the reader of the output went away, as `head` does when it has seen enough. That is no failure.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn apply(sequence: Sequence, error: &ApplyError) -> Self {
        Self::Damaged(format!("event {sequence} does not fit the state before it: {error}"))
    }
}

impl From<JournalFault> for Failure {
    fn from(fault: JournalFault) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "a fault of another crate that may grow: all else is reading"
        )]
        match fault {
            JournalFault::Damaged(_) => Self::Damaged(fault.to_string()),
            _ => Self::Unreadable(fault.to_string()),
        }
    }
}

impl From<BlockError> for Failure {
    fn from(error: BlockError) -> Self {
        #[allow(clippy::wildcard_enum_match_arm, reason = "all but a block for a newer reader is damage")]
        match error {
            BlockError::NewerReader { .. } => Self::Unreadable(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<RowsFault> for Failure {
    fn from(fault: RowsFault) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "a fault of another crate that may grow: all else is reading"
        )]
        match fault {
            RowsFault::Damaged { .. } => Self::Damaged(fault.to_string()),
            _ => Self::Unreadable(fault.to_string()),
        }
    }
}

impl From<RocksFault> for Failure {
    fn from(fault: RocksFault) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "a fault of another crate that may grow: all else is reading"
        )]
        match fault {
            RocksFault::Damaged { .. } => Self::Damaged(fault.to_string()),
            RocksFault::Locked { .. } => Self::Usage(fault.to_string()),
            _ => Self::Unreadable(fault.to_string()),
        }
    }
}

impl From<PostgresFault> for Failure {
    fn from(fault: PostgresFault) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "a fault of another crate that may grow: all else is reading"
        )]
        match fault {
            PostgresFault::Damaged(_) => Self::Damaged(fault.to_string()),
            PostgresFault::Url => Self::Usage(fault.to_string()),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

impl From<KafkaFault> for Failure {
    fn from(fault: KafkaFault) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "a fault of another crate that may grow: all else is reading"
        )]
        match fault {
            KafkaFault::Damaged(_) => Self::Damaged(fault.to_string()),
            KafkaFault::Url(_) => Self::Usage(fault.to_string()),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

impl From<OpenFault> for Failure {
    fn from(fault: OpenFault) -> Self {
        #[allow(clippy::wildcard_enum_match_arm, reason = "a fault of another crate that may grow: all else is damage")]
        match fault {
            OpenFault::Io(_) | OpenFault::NoSpace(_) => Self::Unreadable(fault.to_string()),
            _ => Self::Damaged(fault.to_string()),
        }
    }
}

impl From<RunnerFault> for Failure {
    fn from(fault: RunnerFault) -> Self {
        #[allow(clippy::wildcard_enum_match_arm, reason = "a fault of another crate that may grow: all else is damage")]
        match fault.error {
            RunnerError::Feed(_) | RunnerError::Rows(RowsFault::Io(_)) => Self::Unreadable(fault.to_string()),
            _ => Self::Damaged(fault.to_string()),
        }
    }
}

impl From<CheckpointFault> for Failure {
    fn from(fault: CheckpointFault) -> Self {
        Self::Unreadable(fault.to_string())
    }
}

impl From<IdIndexFault> for Failure {
    fn from(fault: IdIndexFault) -> Self {
        Self::Unreadable(fault.to_string())
    }
}

impl From<csv::Error> for Failure {
    fn from(error: csv::Error) -> Self {
        #[allow(clippy::wildcard_enum_match_arm, reason = "writing fails through the output, or not at all")]
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Self::Output(error),
            other => Self::Output(io::Error::other(format!("{other:?}"))),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}
