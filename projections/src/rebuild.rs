//! Building a projection anew from the journal, in place.

use event_schemas::Sequence;

use crate::digest::{ProjectionDigest, digest};
use crate::ports::{EventFeed, Rows};
use crate::projection::Projection;
use crate::runner::{Progress, Runner, RunnerError, RunnerFault};

/// Deletes a projection's rows and replays the journal up to `to` into them; returns the digest of what came out. No other
/// runner may drive this projection meanwhile. If it is interrupted, the rows stand at an earlier sequence, whole and correct,
/// and any runner goes on from there.
pub fn rebuild<F: EventFeed, R: Rows>(
    feed: F,
    rows: R,
    projection: Box<dyn Projection>,
    to: Sequence,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<ProjectionDigest, RunnerFault> {
    let name = projection.name();
    let tables = projection.tables();
    let at = |sequence, error| RunnerFault { projection: Some(name), sequence, error };
    rows.reset(name, tables).map_err(|error| at(Sequence::ZERO, error.into()))?;
    let mut runner = Runner::new(feed, rows, vec![projection]);
    let reached = runner.run_to(to, on_progress)?;
    if reached < to {
        return Err(at(reached.next(), RunnerError::Short { reached }));
    }
    let fresh = crate::by_name(name)
        .ok_or_else(|| at(reached, RunnerError::Contradiction(format!("there is no projection {name}"))))?;
    digest(runner.rows(), fresh.as_ref()).map_err(|error| at(reached, error.into()))
}
