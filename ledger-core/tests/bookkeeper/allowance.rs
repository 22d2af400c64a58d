//! Limits as the second bookkeeper keeps them: a slip for each amount that counts, and for whatever is given back one below zero.

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{AccountKind, Caps, PublishCalendar, SetLimits};
use event_schemas::limits::LimitWindow;
use event_schemas::{AccountId, CivilDate, Currency, Money, Rejection, Timestamp};

use super::{Model, NOON, first, newer};

/// What a customer may let go in a currency, and all that counts towards it.
#[derive(Clone, Default)]
pub struct Allowance {
    pub version: u64,
    pub caps: Caps,
    /// The day of the newest amount that left.
    pub latest: Option<CivilDate>,
    pub slips: Vec<(CivilDate, i128)>,
}

fn month(day: CivilDate) -> String {
    day.to_string()[..7].to_owned()
}

impl Allowance {
    pub fn of_day(&self, day: CivilDate) -> i128 {
        self.slips.iter().filter(|slip| slip.0 == day).map(|slip| slip.1).sum()
    }

    pub fn of_month(&self, day: CivilDate) -> i128 {
        self.slips.iter().filter(|slip| month(slip.0) == month(day)).map(|slip| slip.1).sum()
    }

    pub fn count(&mut self, day: CivilDate, minor: i128) {
        self.slips.push((day, minor));
    }

    /// The windows with their limits and what is used of each.
    fn windows(&self, day: CivilDate) -> [(LimitWindow, Option<i128>, i128); 3] {
        [
            (LimitWindow::PerTransfer, self.caps.per_transfer_minor, 0),
            (LimitWindow::Day, self.caps.daily_minor, self.of_day(day)),
            (LimitWindow::Month, self.caps.monthly_minor, self.of_month(day)),
        ]
    }

    /// How much may leave.
    pub fn left(&self, day: CivilDate) -> Option<i128> {
        self.windows(day).into_iter().filter_map(|(_, cap, used)| Some(cap? - used)).min()
    }
}

/// Whose limits are charged, and the day.
pub type Charge = ((Box<str>, Currency), CivilDate);

impl Model {
    pub(super) fn set_limits(&mut self, set: &SetLimits) -> Result<(), Rejection> {
        let before = self.limits.get(&(set.owner.clone(), set.currency)).map_or(0, |allowance| allowance.version);
        let mut refused: Vec<_> = newer(set.version, before).err().into_iter().collect();
        for cap in set.caps.all().into_iter().flatten() {
            if cap <= 0 {
                refused.push(Rejection::LimitNotPositive);
            }
            if cap > AMOUNT_MAX_MINOR {
                refused.push(Rejection::AmountTooLarge);
            }
        }
        first(refused)?;
        let allowance = self.limits.entry((set.owner.clone(), set.currency)).or_default();
        (allowance.version, allowance.caps) = (set.version, set.caps);
        Ok(())
    }

    pub(super) fn publish(&mut self, calendar: &PublishCalendar) -> Result<(), Rejection> {
        let before = self.calendar.as_ref().map_or(0, |calendar| calendar.version);
        let mut refused: Vec<_> = newer(calendar.version, before).err().into_iter().collect();
        let hour = 3_600_000_000;
        let midnight = i64::from(calendar.first_day.days()) * 24 * hour;
        let wrong = |place: usize| match (place, calendar.starts.get(place)) {
            (_, None) => true,
            (0, Some(first)) => (first.0 - midnight).abs() > 18 * hour,
            (_, Some(start)) => !(20 * hour..=28 * hour).contains(&(start.0 - calendar.starts[place - 1].0)),
        };
        if let Some(place) = (0..calendar.starts.len().max(2)).find(|place| wrong(*place)) {
            refused.push(Rejection::CalendarInvalid { place: place as u32 });
        }
        first(refused)?;
        self.calendar = Some(calendar.clone());
        Ok(())
    }

    /// The number and the start of each day of the calendar; the last is the end.
    fn starts(&self) -> impl Iterator<Item = (i32, Timestamp)> {
        self.calendar.iter().flat_map(|calendar| (calendar.first_day.days()..).zip(calendar.starts.iter().copied()))
    }

    fn day(&self) -> Option<CivilDate> {
        let now = Timestamp(NOON.0 + self.now);
        let begun = self.starts().filter(|(_, start)| *start <= now).last()?;
        self.starts().find(|(_, start)| *start > now)?;
        CivilDate::from_days(begun.0)
    }

    /// Whether limits stand against an amount that leaves an account, and what is charged if not.
    pub(super) fn limited(
        &self,
        from: AccountId,
        to: Option<AccountId>,
        amount: Money,
        refused: &mut Vec<Rejection>,
    ) -> Option<Charge> {
        let customer = |account: AccountId| {
            let page = self.accounts.get(&account).filter(|page| page.kind == AccountKind::Liability)?;
            (!page.owner.is_empty()).then(|| page.owner.clone())
        };
        let owner = customer(from)?;
        if to.and_then(customer).as_ref() == Some(&owner) {
            return None;
        }
        let key = (owner, amount.currency);
        let allowance = self.limits.get(&key).filter(|allowance| allowance.caps != Caps::NONE)?;
        let Some(day) = self.day() else {
            refused.push(Rejection::CalendarMissing);
            return None;
        };
        // Never back to a day before the newest.
        let day = allowance.latest.map_or(day, |latest| latest.max(day));
        for (window, cap, used_minor) in allowance.windows(day) {
            let required_minor = amount.amount_minor;
            let Some(cap_minor) = cap.filter(|cap| used_minor.saturating_add(required_minor) > *cap) else { continue };
            // The first day of the next window, if the calendar has it.
            let next = |number: i32| match window {
                LimitWindow::PerTransfer => false,
                LimitWindow::Day => number == day.days() + 1,
                LimitWindow::Month => {
                    let [last, first] = [number - 1, number].map(|number| month(CivilDate::from_days(number).unwrap()));
                    last == month(day) && first != month(day)
                }
            };
            let resets_at = self.starts().find(|(number, _)| next(*number)).map(|(_, start)| start);
            refused.push(Rejection::LimitExceeded {
                account: from,
                window,
                cap_minor,
                used_minor,
                required_minor,
                resets_at,
            });
        }
        Some((key, day))
    }

    /// Counts what has left, and gives the day that it counts for.
    pub(super) fn count(&mut self, charge: Option<Charge>, minor: i128) -> Option<CivilDate> {
        let (key, day) = charge?;
        let allowance = self.limits.get_mut(&key).unwrap();
        allowance.count(day, minor);
        allowance.latest = Some(day);
        Some(day)
    }
}
