//! What an event adds to the read model of the access log.

use event_schemas::{Event, EventBody};

use super::rows::{ActorRow, BY_ACTOR, BY_SUBJECT, READS, ReadRow, SubjectRow};
use crate::ports::{ReadRows, RowChanges, Table};
use crate::projection::{ApplyFault, Place, Projection};
use crate::table::Row;

/// The projection of the access log.
#[derive(Debug, Default)]
pub struct Access;

impl Projection for Access {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&READS, &BY_ACTOR, &BY_SUBJECT];
        TABLES
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "whatever is no read does not belong into the access log")]
    fn apply(
        &mut self,
        _: &dyn ReadRows,
        place: Place,
        event: &Event,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        let sequence = place.sequence;
        let access = match &event.body {
            EventBody::AccessLogged(access) => access,
            EventBody::BookOpened(_) | EventBody::JournalRestored(_) => return Ok(()),
            other => {
                let what = format!("{} does not belong into the access log", other.type_name());
                return Err(ApplyFault::Contradiction(what));
            }
        };
        let row = ReadRow {
            recorded_at: place.recorded_at,
            actor: access.actor,
            operation: access.operation.clone(),
            subject: access.subject.clone(),
            status: access.status,
            request: access.request.clone(),
        };
        changes.rows.push((&READS, ReadRow::key_bytes(&sequence), Some(row.value_bytes())));
        let by_actor = ActorRow::key_bytes(&(access.actor, sequence));
        changes.rows.push((&BY_ACTOR, by_actor, Some(ActorRow.value_bytes())));
        let by_subject = SubjectRow::key_bytes(&(access.subject.clone(), sequence));
        changes.rows.push((&BY_SUBJECT, by_subject, Some(SubjectRow.value_bytes())));
        Ok(())
    }

    fn flush(&mut self, _: &mut RowChanges) {}

    fn pending(&self) -> usize {
        0
    }
}
