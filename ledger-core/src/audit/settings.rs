//! Settings as the auditor sees them, and what follows from them: fees, closed periods, transfers up to an amount.

use event_schemas::bounds::{AMOUNT_MAX_MINOR, FEE_RATE_MAX_PPM};
use event_schemas::codec::{put_date, put_id, put_varint};
use event_schemas::command::{ClosePeriod, CommandBody, FeeKind, SetFeeRule, SetNotificationPreferences};
use event_schemas::digest::ElementHash;
use event_schemas::event::{CommandRejected, EntryPosted, HoldCaptured};
use event_schemas::{CivilDate, CustomerId, EntryKind, MultisetHash, Posting, Rejection, Sequence, Side};

use super::{Auditor, Law};

impl Auditor {
    pub(super) fn fee_rule_set(&mut self, sequence: Sequence, rule: &SetFeeRule) {
        let amounts = [rule.fixed_minor, rule.min_minor, rule.max_minor.unwrap_or(rule.min_minor)];
        let sound = amounts.iter().all(|minor| (0..=AMOUNT_MAX_MINOR).contains(minor))
            && rule.rate_ppm <= FEE_RATE_MAX_PPM
            && rule.max_minor.is_none_or(|max| rule.min_minor <= max);
        if !sound {
            self.find(sequence, Law::SettingsInOrder, format!("the rule {rule:?} can't be"));
        }
        let before = self.fee_rules.insert((rule.kind, rule.currency), rule.clone()).map_or(0, |rule| rule.version);
        self.rises(sequence, before, rule.version);
    }

    pub(super) fn preferences_set(&mut self, sequence: Sequence, preferences: &SetNotificationPreferences) {
        let before = self.preferences.insert(preferences.owner.clone(), preferences.version).unwrap_or(0);
        self.rises(sequence, before, preferences.version);
    }

    pub(super) fn rises(&mut self, sequence: Sequence, before: u64, version: u64) {
        if version <= before {
            self.find(sequence, Law::SettingsInOrder, format!("version {version} follows version {before}"));
        }
    }

    pub(super) fn period_closed(&mut self, sequence: Sequence, close: &ClosePeriod) {
        if self.closed.is_some_and(|closed| close.through <= closed) {
            self.find(sequence, Law::SettingsInOrder, format!("{} is closed already", close.through));
        }
        if self.time.is_some_and(|now| close.through >= now.date_utc()) {
            self.find(sequence, Law::SettingsInOrder, format!("{} is not over", close.through));
        }
        self.closed = self.closed.max(Some(close.through));
    }

    /// Nothing counts for a day that is closed.
    pub(super) fn check_period(&mut self, sequence: Sequence, effective_on: CivilDate) {
        if let Some(closed) = self.closed.filter(|closed| effective_on <= *closed) {
            self.find(sequence, Law::PeriodsKept, format!("counts for {effective_on}, closed through {closed}"));
        }
    }

    /// Looks at what an entry says beside its postings, before they are added up.
    pub(super) fn check_entry(&mut self, sequence: Sequence, entry: &EntryPosted) {
        let kind = match entry.kind {
            EntryKind::TopUp => Some(FeeKind::TopUp),
            EntryKind::Withdrawal => Some(FeeKind::Withdrawal),
            EntryKind::Transfer => Some(FeeKind::Transfer),
            EntryKind::General | EntryKind::TransferUpTo => None,
        };
        self.check_fee(sequence, kind, entry.fee_rule, &entry.postings);
        match entry.at_most_minor {
            Some(at_most_minor) if entry.kind == EntryKind::TransferUpTo => {
                self.check_up_to(sequence, at_most_minor, &entry.postings);
            }
            None if entry.kind != EntryKind::TransferUpTo => {}
            _ => self.find(sequence, Law::UpToWhatIsThere, format!("{:?} has or lacks a most", entry.kind)),
        }
    }

    pub(super) fn check_capture(&mut self, sequence: Sequence, captured: &HoldCaptured) {
        self.check_fee(sequence, Some(FeeKind::Capture), captured.fee_rule, &captured.postings);
    }

    /// Adds up a fee that was left to the rule. The amount stands second among the postings, the fee third.
    fn check_fee(&mut self, sequence: Sequence, kind: Option<FeeKind>, version: Option<u64>, postings: &[Posting]) {
        let (Some(version), Some(amount)) = (version, postings.get(1)) else { return };
        let fee_minor = postings.get(2).map_or(0, |posting| posting.money.amount_minor);
        let rule = kind.and_then(|kind| self.fee_rules.get(&(kind, amount.money.currency)));
        let (in_force, expected_minor) = match rule {
            Some(rule) => (rule.version, fee_of(rule, amount.money.amount_minor)),
            None => (0, 0),
        };
        if kind.is_none() || version != in_force || fee_minor != expected_minor {
            let text = format!("{fee_minor} by rule {version}, not {expected_minor} by rule {in_force}");
            self.find(sequence, Law::FeeByRule, text);
        }
    }

    /// At most what was said moves; and if less, then all that was available, or all that limits allowed.
    fn check_up_to(&mut self, sequence: Sequence, at_most_minor: i128, postings: &[Posting]) {
        let [from, to] = postings else {
            return self.find(sequence, Law::UpToWhatIsThere, format!("{} postings", postings.len()));
        };
        let moved_minor = to.money.amount_minor;
        let sides = from.side == Side::Debit && to.side == Side::Credit;
        let available_minor = self
            .accounts
            .get(&from.account)
            .filter(|account| account.kind.normal_side() == Side::Credit)
            .and_then(super::AuditedAccount::available_minor);
        let bounds = [Some(at_most_minor), available_minor, self.allowed_minor()];
        let most_minor = bounds.into_iter().flatten().min().unwrap_or(0);
        if !sides || moved_minor != most_minor {
            let text = format!("{moved_minor} moves of {at_most_minor}, and {available_minor:?} was available");
            self.find(sequence, Law::UpToWhatIsThere, text);
        }
    }

    /// Whether what a rejection says of settings is so.
    pub(super) fn setting_rejection_holds(&self, rejected: &CommandRejected) -> bool {
        match (&rejected.rejection, &rejected.command) {
            (Rejection::PeriodClosed { through }, _) => self.closed == Some(*through),
            (Rejection::PeriodNotOver { today }, CommandBody::ClosePeriod(close)) => {
                close.through >= *today && self.time.is_none_or(|now| now.date_utc() == *today)
            }
            (Rejection::VersionNotNewer { applied }, CommandBody::SetFeeRule(rule)) => {
                let before = self.fee_rules.get(&(rule.kind, rule.currency)).map_or(0, |rule| rule.version);
                *applied == before && rule.version <= before
            }
            (Rejection::VersionNotNewer { .. }, CommandBody::PublishRateSheet(_)) => {
                self.rate_rejection_holds(rejected)
            }
            (Rejection::VersionNotNewer { applied }, CommandBody::SetLimits(set)) => {
                let before = self.limits_version(set);
                *applied == before && set.version <= before
            }
            (Rejection::VersionNotNewer { applied }, CommandBody::PublishCalendar(calendar)) => {
                let before = self.calendar.as_ref().map_or(0, |calendar| calendar.version);
                *applied == before && calendar.version <= before
            }
            (Rejection::VersionNotNewer { applied }, CommandBody::SetNotificationPreferences(preferences)) => {
                let before = self.preferences.get(&preferences.owner).copied().unwrap_or(0);
                *applied == before && preferences.version <= before
            }
            _ => false,
        }
    }

    pub(super) fn add_settings(&self, set: &mut MultisetHash) {
        let mut add = |kind: u8, row: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = vec![kind];
            row(&mut bytes);
            set.insert(ElementHash::of(&bytes));
        };
        for rule in self.fee_rules.values() {
            add(4, &|out| rule.encode(out));
        }
        if let Some(closed) = self.closed {
            add(5, &|out| put_date(out, closed));
        }
        for (owner, version) in &self.preferences {
            if let Some(customer) = CustomerId::from_owner(owner) {
                add(6, &|out| {
                    put_id(out, customer.0);
                    put_varint(out, u128::from(*version));
                });
            }
        }
    }
}

/// The fee of an amount by a rule: twice the millionths, so that a half is a whole number.
fn fee_of(rule: &SetFeeRule, amount_minor: i128) -> i128 {
    let twice = amount_minor.saturating_mul(i128::from(rule.rate_ppm)).saturating_mul(2);
    let (halves, rest) = (twice.checked_div(1_000_000).unwrap_or(0), twice.checked_rem(1_000_000).unwrap_or(0));
    let floor = halves >> 1;
    // An odd number of halves lies between two whole numbers; exactly there, it goes to the even one.
    let above = halves & 1 == 1 && (rest > 0 || floor & 1 == 1);
    let fee_minor = floor.saturating_add(i128::from(above)).saturating_add(rule.fixed_minor).max(rule.min_minor);
    rule.max_minor.unwrap_or(fee_minor).min(fee_minor)
}
