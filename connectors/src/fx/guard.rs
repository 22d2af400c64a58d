//! How old rates may be, and how far from the last sheet. What is refused here waits for a person: `ledgerd rates publish
//! --accept-move`.

use event_schemas::rates::{Mid, PublishRateSheet};
use event_schemas::{CivilDate, Currency, Timestamp};

use super::Quoted;

/// What rates are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// How many days before today the day may lie that is quoted for: over a long weekend nothing new is quoted.
    pub max_age_days: u32,
    /// How far a rate may move against the last sheet, in millionths of it.
    pub band_ppm: u32,
}

/// Why rates are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// They are too old, or of a day to come.
    #[error("{origin} quotes for {quoted_on}, and today is {today}")]
    Stale {
        /// The source.
        origin: &'static str,
        /// The day it quotes for.
        quoted_on: CivilDate,
        /// Today.
        today: CivilDate,
    },
    /// They are older than those of the last sheet.
    #[error("{origin} quotes for {quoted_on}, and the last sheet for {before}")]
    Older {
        /// The source.
        origin: &'static str,
        /// The day it quotes for.
        quoted_on: CivilDate,
        /// The day that the last sheet quotes for.
        before: CivilDate,
    },
    /// A rate has moved too far.
    #[error("{currency} by {origin} is {moved_ppm} millionths from the last sheet; {band_ppm} may be")]
    Moved {
        /// The source.
        origin: &'static str,
        /// The currency.
        currency: Currency,
        /// How far it has moved, in millionths.
        moved_ppm: u128,
        /// How far it may.
        band_ppm: u32,
    },
}

impl Guard {
    /// Whether rates may be published after this sheet.
    pub fn check(&self, quoted: &Quoted, last: Option<&PublishRateSheet>, now: Timestamp) -> Result<(), Refused> {
        let (origin, quoted_on, today) = (quoted.source, quoted.quoted_on, now.date_utc());
        let age = i64::from(today.days()) - i64::from(quoted_on.days());
        // A day ahead is another time zone; more is a mistake.
        if !(-1..=i64::from(self.max_age_days)).contains(&age) {
            return Err(Refused::Stale { origin, quoted_on, today });
        }
        self.check_move(quoted, last)
    }

    /// Whether rates are near enough to those of this sheet, whatever their day.
    pub fn check_move(&self, quoted: &Quoted, last: Option<&PublishRateSheet>) -> Result<(), Refused> {
        let Some(last) = last else { return Ok(()) };
        let (origin, band_ppm) = (quoted.source, self.band_ppm);
        if quoted.quoted_on < last.quoted_on {
            return Err(Refused::Older { origin, quoted_on: quoted.quoted_on, before: last.quoted_on });
        }
        let others = last.rates.iter().map(|rate| rate.currency);
        for currency in others {
            let (Ok(before), Some(after)) = (last.mid(last.pivot, currency), mid(quoted, last.pivot, currency)) else {
                continue;
            };
            let moved_ppm = moved_ppm(before, after);
            if moved_ppm > u128::from(band_ppm) {
                return Err(Refused::Moved { origin, currency, moved_ppm, band_ppm });
            }
        }
        Ok(())
    }
}

fn mid(quoted: &Quoted, sold: Currency, bought: Currency) -> Option<Mid> {
    let rate = |currency: Currency| {
        let found = quoted.rates.iter().find(|rate| rate.currency == currency).map(|rate| rate.per_pivot);
        if currency == quoted.pivot { Some(event_schemas::rates::Rate::ONE) } else { found }
    };
    Some(Mid { sold_per_pivot: rate(sold)?, bought_per_pivot: rate(bought)? })
}

/// Twelve significant digits of a quotient and its power of ten: enough to tell how far a rate has moved.
fn digits(mid: Mid) -> (u128, i32) {
    let (over, under) = (u128::from(mid.bought_per_pivot.mantissa()), u128::from(mid.sold_per_pivot.mantissa()));
    let mut power = i32::from(mid.sold_per_pivot.scale()) - i32::from(mid.bought_per_pivot.scale());
    // 10^14 times 10^24 fits; the quotient has ten digits at least.
    let mut value = over * 10_u128.pow(24) / under;
    power -= 24;
    while value >= 1_000_000_000_000 {
        value /= 10;
        power += 1;
    }
    (value, power)
}

fn moved_ppm(before: Mid, after: Mid) -> u128 {
    let ((mut before, one), (mut after, other)) = (digits(before), digits(after));
    match one - other {
        0 => {}
        // A factor of ten and more is far out of any band, but let the number be right where it is small.
        1 => before *= 10,
        -1 => after *= 10,
        _ => return u128::from(u32::MAX),
    }
    before.abs_diff(after) * 1_000_000 / before.max(1)
}

/// Whether a sheet says nothing but what rates say.
pub fn same_rates(quoted: &Quoted, last: &PublishRateSheet) -> bool {
    (quoted.source, quoted.pivot, quoted.quoted_on) == (&*last.source, last.pivot, last.quoted_on)
        && quoted.rates == last.rates
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use event_schemas::rates::{MarginRule, QuotedRate};

    use super::*;

    fn rates(list: &[(&str, &str)]) -> Vec<QuotedRate> {
        let rate = |(code, rate): &(&str, &str)| QuotedRate {
            currency: code.parse().unwrap(),
            per_pivot: rate.parse().unwrap(),
        };
        list.iter().map(rate).collect()
    }

    fn quoted(pivot: &str, on: &str, list: &[(&str, &str)]) -> Quoted {
        Quoted {
            source: "test",
            pivot: pivot.parse().unwrap(),
            quoted_on: on.parse().unwrap(),
            fetched_at: Timestamp(0),
            rates: rates(list),
        }
    }

    fn sheet() -> PublishRateSheet {
        PublishRateSheet {
            version: 1,
            pivot: "EUR".parse().unwrap(),
            source: "test".into(),
            quoted_on: "2026-11-20".parse().unwrap(),
            fetched_at: Timestamp(0),
            valid_until: Timestamp(1),
            quote_seconds: 30,
            rates: rates(&[("JPY", "178.53"), ("USD", "1.0829")]),
            margins: vec![MarginRule::for_all(0)],
        }
    }

    #[test]
    fn what_is_old_or_far_away_is_refused() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let guard = Guard { max_age_days: 4, band_ppm: 50_000 };
        let (near, sheet) = ([("JPY", "178.00"), ("USD", "1.0900")], sheet());
        let check = |quoted: &Quoted| guard.check(quoted, Some(&sheet), now).map_err(|refused| refused.to_string());
        assert_eq!(check(&quoted("EUR", "2026-11-20", &near)), Ok(()));
        assert_eq!(check(&quoted("EUR", "2026-11-22", &near)), Ok(()));
        assert!(check(&quoted("EUR", "2026-11-23", &near)).unwrap_err().contains("today is 2026-11-21"));
        assert!(check(&quoted("EUR", "2026-11-16", &near)).unwrap_err().contains("today is"));
        assert!(check(&quoted("EUR", "2026-11-19", &near)).unwrap_err().contains("the last sheet for 2026-11-20"));
        // Five per cent to the unit, and one more.
        let usd = |rate| quoted("EUR", "2026-11-21", &[("JPY", "178.53"), ("USD", rate)]);
        assert_eq!(check(&usd("1.137045")), Ok(()));
        assert!(check(&usd("1.13705")).unwrap_err().contains("USD by test is 50004 millionths"));
        assert_eq!(check(&usd("1.028755")), Ok(()));
        assert!(check(&usd("1.028")).unwrap_err().contains("USD"));
        for far in ["10.829", "0.10829", "108.29", "0.0000001", "99999999999999"] {
            assert!(check(&usd(far)).is_err(), "{far}");
        }
        // The same rates against another pivot, and others.
        assert_eq!(check(&quoted("USD", "2026-11-21", &[("EUR", "0.92345"), ("JPY", "164.86")])), Ok(()));
        assert!(check(&quoted("USD", "2026-11-21", &[("EUR", "0.92345"), ("JPY", "264.86")])).is_err());
        assert_eq!(guard.check(&usd("9"), None, now), Ok(()));
    }

    #[test]
    fn the_same_is_not_published_again() {
        let mut same = quoted("EUR", "2026-11-20", &[("JPY", "178.53"), ("USD", "1.0829")]);
        assert!(same_rates(&same, &sheet()));
        same.quoted_on = "2026-11-21".parse().unwrap();
        assert!(!same_rates(&same, &sheet()));
    }
}
