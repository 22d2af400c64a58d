//! Settings that decisions look at: fee rules, the closed period, and how new a customer's preferences are. What the
//! preferences say is for read models.

use event_schemas::codec::{CodecError, Reader, put_date, put_id, put_varint};
use event_schemas::command::{ClosePeriod, FeeKind, SetFeeRule, SetNotificationPreferences};
use event_schemas::{CivilDate, Currency, CustomerId};

use super::State;
use super::rows::Row;

impl Row for SetFeeRule {
    type Key = (FeeKind, Currency);
    const KIND: u8 = 4;
    const NAME: &'static str = "fee rules";

    fn encode(&self, _: &Self::Key, out: &mut Vec<u8>) {
        Self::encode(self, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<(Self::Key, Self), CodecError> {
        let rule = Self::decode(reader)?;
        Ok(((rule.kind, rule.currency), rule))
    }
}

/// The last day that is closed. There is one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClosedThrough(CivilDate);

impl Row for ClosedThrough {
    type Key = ();
    const KIND: u8 = 5;
    const NAME: &'static str = "closed periods";

    fn encode(&self, (): &(), out: &mut Vec<u8>) {
        put_date(out, self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<((), Self), CodecError> {
        Ok(((), Self(reader.date()?)))
    }
}

/// The version of a customer's notification preferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PreferencesVersion(u64);

impl Row for PreferencesVersion {
    type Key = CustomerId;
    const KIND: u8 = 6;
    const NAME: &'static str = "versions of preferences";

    fn encode(&self, customer: &CustomerId, out: &mut Vec<u8>) {
        put_id(out, customer.0);
        put_varint(out, u128::from(self.0));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<(CustomerId, Self), CodecError> {
        Ok((CustomerId(reader.id("customer")?), Self(reader.number("version of preferences")?)))
    }
}

impl State {
    /// The fee rule of a kind of move in a currency.
    pub fn fee_rule(&self, kind: FeeKind, currency: Currency) -> Option<&SetFeeRule> {
        self.tables.fee_rules.get(&(kind, currency))
    }

    /// The last day that is closed.
    pub fn closed_through(&self) -> Option<CivilDate> {
        self.tables.closed.get(&()).map(|closed| closed.0)
    }

    /// The version of a customer's notification preferences; zero if there are none.
    pub fn preferences_version(&self, owner: &str) -> u64 {
        let customer = CustomerId::from_owner(owner);
        customer.and_then(|customer| self.tables.preferences.get(&customer)).map_or(0, |version| version.0)
    }

    pub(super) fn set_fee_rule(&mut self, rule: &SetFeeRule) {
        self.tables.fee_rules.set((rule.kind, rule.currency), rule.clone());
    }

    pub(super) fn close_period(&mut self, close: &ClosePeriod) {
        self.tables.closed.set((), ClosedThrough(close.through));
    }

    pub(super) fn set_preferences(&mut self, preferences: &SetNotificationPreferences) {
        // The house has no preferences: what has no owner is never admitted.
        if let Some(customer) = CustomerId::from_owner(&preferences.owner) {
            self.tables.preferences.set(customer, PreferencesVersion(preferences.version));
        }
    }
}
