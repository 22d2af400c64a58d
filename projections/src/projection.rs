//! What a projection is: a pure function from events to changes of its tables. What it holds in memory is a cache of rows and
//! nothing else, so dropping it loses nothing and the same events give the same rows whatever the cuts between commits.

use event_schemas::{Event, Sequence, Timestamp};

use crate::ports::{ReadRows, RowChanges, RowsFault, Table};
use crate::{access, audit, balances, limits, notifications, rates, settings, statements, trial_balance};

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its sequence.
    pub sequence: Sequence,
    /// When its block was recorded.
    pub recorded_at: Timestamp,
}

/// An event that a projection can't apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyFault {
    /// The rows can't be read.
    #[error(transparent)]
    Rows(#[from] RowsFault),
    /// The event contradicts what came before: a posting to an account that was never opened, an entry whose sides differ.
    #[error("the event contradicts what came before: {0}")]
    Contradiction(String),
}

/// A read model in the making.
pub trait Projection: Send {
    /// Its name, which its checkpoint goes by.
    fn name(&self) -> &'static str;

    /// Its tables.
    fn tables(&self) -> &'static [&'static Table];

    /// Applies one event: reads through the cache, adds finished rows to `changes` and keeps others in the cache.
    /// After a fault the projection is thrown away with its cache, and nothing of the batch is committed.
    fn apply(
        &mut self,
        rows: &dyn ReadRows,
        place: Place,
        event: &Event,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault>;

    /// Hands over the changed rows that are still in the cache; after this, `changes` holds everything since the last time.
    fn flush(&mut self, changes: &mut RowChanges);

    /// How many rows `flush` would hand over, roughly; the runner commits before this becomes too many.
    fn pending(&self) -> usize;
}

/// All projections of a book, in the order of [`crate::NAMES`].
pub fn all() -> Vec<Box<dyn Projection>> {
    crate::NAMES.iter().filter_map(|name| by_name(name)).collect()
}

/// The projection of this name, of a book or of the access log, with an empty cache.
pub fn by_name(name: &str) -> Option<Box<dyn Projection>> {
    match name {
        balances::NAME => Some(Box::new(balances::Balances::default())),
        statements::NAME => Some(Box::new(statements::Statements::default())),
        trial_balance::NAME => Some(Box::new(trial_balance::TrialBalances::default())),
        rates::NAME => Some(Box::new(rates::Rates)),
        settings::NAME => Some(Box::new(settings::Settings::default())),
        limits::NAME => Some(Box::new(limits::Limits::default())),
        audit::NAME => Some(Box::new(audit::Audit::default())),
        notifications::NAME => Some(Box::new(notifications::Notifications::default())),
        access::NAME => Some(Box::new(access::Access)),
        _ => None,
    }
}
