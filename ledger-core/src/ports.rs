//! Ports: what the engine needs of the world, as traits that `stores` implements. All are synchronous; an adapter that
//! needs a runtime owns it.

use event_schemas::{
    Block, BlockHash, Command, CommandId, Epoch, EventBody, RecordedEvent, Rejection, Sequence, Timestamp,
};

use crate::state::Account;

/// The last durable block of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The sequence of its last event; zero for an empty journal.
    pub sequence: Sequence,
    /// Its hash; zero for an empty journal.
    pub hash: BlockHash,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Under which epoch.
    pub epoch: Epoch,
}

/// How an append failed. Success means that every block is durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Another writer has taken over; nothing was written.
    #[error("another writer has taken over (epoch {0})")]
    Fenced(Epoch),
    /// There is no room; nothing was written, and the same append may be tried again.
    #[error("no space: {0}")]
    NoSpace(String),
    /// It is not known whether the blocks are durable. The writer stops and finds out at its next start.
    #[error("the journal failed, and whether the last blocks are durable is not known: {0}")]
    Unknown(String),
}

/// A journal that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalFault {
    /// Reading failed.
    #[error("reading the journal failed: {0}")]
    Io(String),
    /// What was read is not what was written.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
}

/// The journal of one book, open for its one writer.
pub trait Journal: Send {
    /// The last durable block.
    fn head(&self) -> Head;

    /// The epoch of this writer, above that of every block it found.
    fn epoch(&self) -> Epoch;

    /// Makes sure that an append of up to so many bytes of blocks finds room, before anything is decided (law 8).
    fn secure_space(&mut self, bytes: usize) -> Result<(), AppendError>;

    /// Appends blocks that follow the head, in one flush. On `Ok` they are durable and are the head.
    fn append(&mut self, blocks: &[Block]) -> Result<(), AppendError>;

    /// A reader of its durable blocks, independent of the writer.
    fn reader(&self) -> Result<Box<dyn JournalReader>, JournalFault>;
}

/// Reads durable blocks. Whatever it returns is intact: hashes are checked, and the chain between blocks read in a row.
pub trait JournalReader: Send {
    /// The block that holds this sequence; `None` if it is above the durable head. The next call of
    /// [`JournalReader::next_block`] goes on behind it.
    fn block_at(&mut self, sequence: Sequence) -> Result<Option<Block>, JournalFault>;

    /// The block behind the last one returned (the first block, to begin with); `None` at the durable head, and more later
    /// if the journal grows.
    fn next_block(&mut self) -> Result<Option<Block>, JournalFault>;
}

/// An index that failed; it can always be rebuilt from the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the id index failed: {0}")]
pub struct IdIndexFault(pub String);

/// Command id → sequence of its verdict, for as long as the journal lives. Written from flushed blocks only.
pub trait IdIndex: Send {
    /// Everything up to this sequence is in it.
    fn indexed_sequence(&self) -> Sequence;

    /// The verdict's sequence of a command.
    fn lookup(&mut self, id: CommandId) -> Result<Option<Sequence>, IdIndexFault>;

    /// Adds the verdicts of flushed blocks, which end at `through`.
    fn record(&mut self, verdicts: &[(CommandId, Sequence)], through: Sequence) -> Result<(), IdIndexFault>;

    /// Forgets everything: the caller rebuilds from the first block.
    fn clear(&mut self) -> Result<(), IdIndexFault>;
}

/// A checkpoint store that failed. Checkpoints only make starting faster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint store failed: {0}")]
pub struct CheckpointFault(pub String);

/// State checkpoints: opaque bytes for the sequence of a `StateDigest` event. They are trusted only if the digest of what
/// they hold is the one on the chain.
pub trait Checkpoints: Send + Sync {
    /// The sequences stored, newest first.
    fn sequences(&self) -> Result<Vec<Sequence>, CheckpointFault>;

    /// Stores one, and drops all but the newest two.
    fn store(&self, sequence: Sequence, state: &[u8]) -> Result<(), CheckpointFault>;

    /// Loads one.
    fn load(&self, sequence: Sequence) -> Result<Option<Vec<u8>>, CheckpointFault>;

    /// Drops one that turned out wrong.
    fn discard(&self, sequence: Sequence) -> Result<(), CheckpointFault>;
}

/// What the book said to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Accepted,
    /// Refused.
    Rejected(Rejection),
}

/// The engine's answer to one command of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The verdict is durable.
    Recorded {
        /// What the book said.
        verdict: Verdict,
        /// The sequence of the verdict's event.
        sequence: Sequence,
        /// When it was recorded.
        recorded_at: Timestamp,
        /// Whether the verdict is that of an earlier command with the same id and content.
        replayed: bool,
    },
    /// A command with the same id and other content has its verdict already. Nothing was recorded.
    Conflict {
        /// The first field that differs.
        field: &'static str,
        /// The sequence of the earlier verdict.
        sequence: Sequence,
    },
}

/// What a command would get if it were submitted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preview {
    /// Its id is new.
    Expected {
        /// What the book would say.
        verdict: Verdict,
        /// The accounts that it would touch, each once, as they would be after it (and after the commands linked before it). Empty if
        /// it would be refused.
        accounts: Vec<Account>,
        /// What would be recorded of it, the verdict last; of one that would be refused, nothing.
        events: Vec<EventBody>,
    },
    /// Its id has its verdict already: what a submission would be answered.
    Known(Answer),
}

/// The answer to a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previews {
    /// One for each command, in order.
    pub items: Vec<Preview>,
    /// The durable sequence that they were decided at.
    pub at_sequence: Sequence,
    /// The time that they were decided for.
    pub recorded_at: Timestamp,
}

/// Why a submission got no answers. What it asked for may have happened: a retry with the same ids finds out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineFault {
    /// The disk is full: reading goes on, and writing returns when there is space. Nothing of the submission was recorded.
    #[error("read-only: the journal has no space")]
    ReadOnly,
    /// The writer stopped; the reason stands in its log and in [`EngineStatus`].
    #[error("the writer has stopped")]
    Stopped,
    /// A writer in another process did not take it. Nothing of the submission was recorded.
    #[error(transparent)]
    Refused(#[from] SubmitError),
    /// No writer in another process answered in time: whether it was recorded is not known, and a retry with the same ids
    /// finds out.
    #[error("no writer answered in time")]
    Unreachable,
}

/// Why a submission was not taken. Nothing of it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The queue is full.
    #[error("the engine is busy: try again in {retry_after_ms} ms")]
    Busy {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// More commands than a submission may hold, or none.
    #[error("a submission holds 1 to 8,190 commands and at most 8 MiB")]
    BatchSize,
    /// The events of a linked batch might not fit in one block.
    #[error("the commands of a linked batch are too large to be recorded in one block")]
    LinkedBatchSize,
    /// Two commands of a linked batch have the same id.
    #[error("two commands of a linked batch have the id {0}")]
    LinkedBatchIds(CommandId),
    /// A part of a command is so large that it can't be recorded, not even as a refusal.
    #[error("the command's {0} is out of bounds")]
    OutOfBounds(&'static str),
    /// The writer has stopped.
    #[error("the writer has stopped")]
    Stopped,
    /// What is served is the past: it takes no commands.
    #[error("the past takes no commands")]
    ReadOnly,
    /// The writer is another process, and just now none of those that are known serves.
    #[error("no writer serves now")]
    NoWriter,
}

/// Takes the answers to a submission, in its order; called once, after the flush, on the writer's thread: it must not wait.
pub type Reply = Box<dyn FnOnce(Result<Vec<Answer>, EngineFault>) + Send>;

/// Takes the recorded verdict of a command, if there is one.
pub type LookupReply = Box<dyn FnOnce(Result<Option<RecordedEvent>, EngineFault>) + Send>;

/// Takes the answer to a dry run; called as a [`Reply`] is.
pub type PreviewReply = Box<dyn FnOnce(Result<Previews, EngineFault>) + Send>;

/// How the writer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterState {
    /// It takes commands.
    Serving,
    /// The disk is full.
    ReadOnly,
    /// It has stopped for good.
    Stopped,
}

/// The engine's figures, for health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStatus {
    /// How the writer is.
    pub writer: WriterState,
    /// Why it stopped or went read-only; empty while it serves.
    pub reason: String,
    /// The durable sequence.
    pub durable: Sequence,
    /// Commands that wait.
    pub queued: u64,
    /// Commands answered with a recorded verdict since the start.
    pub accepted_total: u64,
    /// Of these, refused.
    pub rejected_total: u64,
    /// Verdicts answered again.
    pub replayed_total: u64,
    /// Flushes since the start.
    pub flushes_total: u64,
    /// Bytes of blocks appended since the start.
    pub appended_bytes_total: u64,
    /// The sequence of the newest checkpoint stored.
    pub checkpoint: Sequence,
}

/// Where commands go. Never blocks.
pub trait CommandSink: Send + Sync {
    /// Hands over commands; the reply gets an answer for each. They are decided in this order, each on its own.
    fn try_submit(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError>;

    /// Hands over commands of which either all take place or none: if one is refused, it gets its own verdict and all others
    /// [`Rejection::LinkedItemRefused`]. A command may name an earlier one of the batch. If some of the ids are known, or all with
    /// other content or another outcome, every command is answered with a conflict and nothing is recorded.
    fn try_submit_linked(&self, commands: Vec<Command>, reply: Reply) -> Result<(), SubmitError>;

    /// Asks what a command, or several as a linked batch, would get at the next durable sequence. Nothing is recorded. It works
    /// without space, too.
    fn try_preview(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError>;

    /// The same of commands that are decided each on its own. They are bounded as a linked batch is.
    fn try_preview_each(&self, commands: Vec<Command>, reply: PreviewReply) -> Result<(), SubmitError>;

    /// Asks for the recorded verdict of a command.
    fn try_lookup(&self, id: CommandId, reply: LookupReply) -> Result<(), SubmitError>;

    /// How the engine is.
    fn status(&self) -> EngineStatus;

    /// How old a status may be at most while the writer serves. Zero where the engine is in this process.
    fn status_age(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// Time as the engine sees it: two functions, so that tests and replays hand in their own.
#[derive(Clone)]
pub struct Clock {
    /// The wall clock.
    pub wall: std::sync::Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Microseconds of a clock that never jumps, from an arbitrary start.
    pub monotonic_us: std::sync::Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
