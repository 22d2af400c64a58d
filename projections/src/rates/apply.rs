//! What an event changes of the rates.

use event_schemas::event::PublishRateSheet;
use event_schemas::{Event, EventBody};

use super::rows::{BY_DATE, DateRow, MARGINS, MarginRow, QUOTES, QuoteRow, SHEETS, SheetRow};
use crate::ports::{ReadRows, RowChanges, Table};
use crate::projection::{ApplyFault, Place, Projection};
use crate::table::Row;

/// The projection of rate sheets. It holds nothing.
#[derive(Debug, Default)]
pub struct Rates;

fn published(place: Place, sheet: &PublishRateSheet, changes: &mut RowChanges) {
    let version = sheet.version;
    let row = SheetRow {
        pivot: sheet.pivot,
        source: sheet.source.clone(),
        quoted_on: sheet.quoted_on,
        fetched_at: sheet.fetched_at,
        valid_until: sheet.valid_until,
        quote_seconds: sheet.quote_seconds,
        published_sequence: place.sequence,
        published_at: place.recorded_at,
    };
    changes.rows.push((&SHEETS, SheetRow::key_bytes(&version), Some(row.value_bytes())));
    for rate in &sheet.rates {
        let row = QuoteRow { per_pivot: rate.per_pivot };
        changes.rows.push((&QUOTES, QuoteRow::key_bytes(&(version, rate.currency)), Some(row.value_bytes())));
    }
    for (at, rule) in (0..).zip(&sheet.margins) {
        let row =
            MarginRow { tier: rule.tier.clone(), sold: rule.sold, bought: rule.bought, margin_ppm: rule.margin_ppm };
        changes.rows.push((&MARGINS, MarginRow::key_bytes(&(version, at)), Some(row.value_bytes())));
    }
    let row = DateRow { published_sequence: place.sequence };
    changes.rows.push((&BY_DATE, DateRow::key_bytes(&(sheet.quoted_on, version)), Some(row.value_bytes())));
}

impl Projection for Rates {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&SHEETS, &QUOTES, &MARGINS, &BY_DATE];
        TABLES
    }

    fn apply(
        &mut self,
        _: &dyn ReadRows,
        place: Place,
        event: &Event,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        match &event.body {
            EventBody::RateSheetPublished(sheet) => published(place, sheet, changes),
            EventBody::BookOpened(_)
            | EventBody::AccountOpened(_)
            | EventBody::AccountFrozen(_)
            | EventBody::AccountUnfrozen(_)
            | EventBody::AccountClosed(_)
            | EventBody::EntryPosted(_)
            | EventBody::CommandRejected(_)
            | EventBody::StateDigest(_)
            | EventBody::ClockAccepted(_)
            | EventBody::HoldPlaced(_)
            | EventBody::HoldCaptured(_)
            | EventBody::HoldVoided(_)
            | EventBody::HoldExpired(_)
            | EventBody::EntryReversed(_)
            | EventBody::ConversionPosted(_)
            | EventBody::LimitsSet(_)
            | EventBody::LimitCharged(_)
            | EventBody::LimitReleased(_)
            | EventBody::CalendarPublished(_)
            | EventBody::FeeRuleSet(_)
            | EventBody::PeriodClosed(_)
            | EventBody::NotificationPreferencesSet(_)
            | EventBody::JournalRestored(_)
            | EventBody::ControlRecorded(_)
            | EventBody::AccessLogged(_) => {}
        }
        Ok(())
    }

    fn flush(&mut self, _: &mut RowChanges) {}

    fn pending(&self) -> usize {
        0
    }
}
