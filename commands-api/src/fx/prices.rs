//! Rates as people read them: ten decimals. What is converted is worked out from the exact quotient, never from these.

use event_schemas::rates::Mid;

const DECIMALS: u32 = 10;

/// A rate in units of 10^-10, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown(u128);

impl Shown {
    /// The mid of a pair: units bought for one unit sold.
    pub(super) fn mid(mid: Mid) -> Self {
        let ten = |power: u32| 10_u128.pow(power);
        // 10^14 times 10^14 times 10^10 at most.
        let over = u128::from(mid.bought_per_pivot.mantissa()) * ten(u32::from(mid.sold_per_pivot.scale()) + DECIMALS);
        let under = u128::from(mid.sold_per_pivot.mantissa()) * ten(mid.bought_per_pivot.scale().into());
        Self(over.checked_div(under).unwrap_or(0))
    }

    /// What is left of it after a margin.
    pub(super) fn less(self, margin_ppm: u32) -> Self {
        let kept = u128::from(1_000_000_u32.saturating_sub(margin_ppm));
        Self(self.0 / 1_000_000 * kept + self.0 % 1_000_000 * kept / 1_000_000)
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = 10_u128.pow(DECIMALS);
        let decimals = format!("{:010}", self.0 % unit);
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / unit),
            decimals => write!(f, "{}.{decimals}", self.0 / unit),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ten_decimals_are_shown() {
        for (sold, bought, ppm, mid, customer) in [
            ("1", "0.92345", 10_000, "0.92345", "0.9142155"),
            ("1.0829", "1", 0, "0.9234463015", "0.9234463015"),
            (
                "0.00000000000001",
                "99999999999999",
                500_000,
                "9999999999999900000000000000",
                "4999999999999950000000000000",
            ),
            ("99999999999999", "0.00000000000001", 0, "0", "0"),
            ("3", "1", 333_333, "0.3333333333", "0.2222223333"),
        ] {
            let shown =
                Shown::mid(Mid { sold_per_pivot: sold.parse().unwrap(), bought_per_pivot: bought.parse().unwrap() });
            assert_eq!((shown.to_string().as_str(), shown.less(ppm).to_string().as_str()), (mid, customer));
        }
    }
}
