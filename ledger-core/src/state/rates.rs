//! The newest rate sheets, by their versions. An older one goes when a new one comes: quotes last an hour at most, and no
//! decision needs more.

use event_schemas::bounds::RATE_SHEETS_KEPT;
use event_schemas::codec::{CodecError, Reader};
use event_schemas::event::PublishRateSheet;

use super::State;
use super::rows::Row;

impl Row for PublishRateSheet {
    type Key = u64;
    const KIND: u8 = 10;
    const NAME: &'static str = "rate sheets";

    fn encode(&self, _: &u64, out: &mut Vec<u8>) {
        Self::encode(self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<(u64, Self), CodecError> {
        let sheet = Self::decode(reader)?;
        Ok((sheet.version, sheet))
    }
}

impl State {
    /// The newest rate sheet.
    pub fn newest_rate_sheet(&self) -> Option<&PublishRateSheet> {
        self.tables.rate_sheets.last()
    }

    /// The rate sheet of this version, if it is still at hand.
    pub fn rate_sheet(&self, version: u64) -> Option<&PublishRateSheet> {
        self.tables.rate_sheets.get(&version)
    }

    pub(super) fn publish_rate_sheet(&mut self, sheet: &PublishRateSheet) {
        let sheets = &mut self.tables.rate_sheets;
        sheets.set(sheet.version, sheet.clone());
        while sheets.len() > RATE_SHEETS_KEPT {
            let Some(oldest) = sheets.first().map(|sheet| sheet.version) else { break };
            sheets.remove(&oldest, &mut self.digest);
        }
    }
}
