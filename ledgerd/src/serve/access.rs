//! Where it is put on record who looked at what: the API's port over the access log of the data folder, or over this server's
//! own log lines where the data folder is not to be written.

use std::sync::Arc;

use commands_api::access::{AccessLog, AccessLogBusy};
use event_schemas::event::AccessLogged;
use projections::Projection;
use stores::access_log::{AccessJournal, AccessLogFull};

/// All read models that a server keeps: those of the book and that of the access log.
pub(super) const ALL_READ_MODELS: [&str; projections::NAMES.len() + projections::ACCESS_NAMES.len()] = {
    let [a, b, c, d, e, f, g, h] = projections::NAMES;
    let [access] = projections::ACCESS_NAMES;
    [a, b, c, d, e, f, g, h, access]
};

/// The read models of the access log.
pub(super) fn read_models() -> Vec<Box<dyn Projection>> {
    projections::ACCESS_NAMES.iter().filter_map(|name| projections::by_name(name)).collect()
}

/// The access log of a book that is served.
pub(super) struct Kept(pub(super) Arc<AccessJournal>);

impl AccessLog for Kept {
    fn try_record(&self, access: AccessLogged) -> Result<(), AccessLogBusy> {
        self.0.try_record(access).map_err(|AccessLogFull| AccessLogBusy)
    }
}

/// A server of the past writes nothing to the data folder, whose access log may have its writer. Reads from it are log lines.
pub(super) struct Told;

impl AccessLog for Told {
    fn try_record(&self, access: AccessLogged) -> Result<(), AccessLogBusy> {
        let AccessLogged { actor, operation, subject, status, request } = access;
        tracing::info!(%actor, %operation, %subject, status, %request, "a read of the past");
        Ok(())
    }
}
