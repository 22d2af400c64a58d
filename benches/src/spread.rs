//! Figures of several rounds: the median, with the lowest and the highest.

use serde::Serialize;

/// Figures of rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spread {
    /// In the order of the rounds.
    rounds: Vec<f64>,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(sorted.len() / 2));
        Self { median, lowest: at(0), highest: at(last), rounds }
    }

    /// How these rounds stand to those of another, round by round.
    pub(crate) fn against(&self, other: &Self) -> Self {
        Self::of(self.rounds.iter().zip(&other.rounds).map(|(one, other)| one / other).collect())
    }

    /// Median, lowest and highest without decimals, with commas.
    pub(crate) fn whole(&self) -> String {
        if self.rounds.len() < 2 {
            return whole(self.median);
        }
        format!("{} ({}–{})", whole(self.median), whole(self.lowest), whole(self.highest))
    }
}

/// A number without decimals, with commas between thousands.
pub(crate) fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;

    #[test]
    fn the_median_stands_in_the_middle_and_ratios_go_round_by_round() {
        let odd = Spread::of(vec![30.0, 10.0, 20.0]);
        assert_eq!((odd.median, odd.lowest, odd.highest), (20.0, 10.0, 30.0));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let ratio = odd.against(&Spread::of(vec![60.0, 10.0, 80.0]));
        assert_eq!((ratio.median, ratio.lowest, ratio.highest), (0.5, 0.25, 1.0));
        assert_eq!(Spread::of(vec![7.4]).whole(), "7");
        assert_eq!(odd.whole(), "20 (10–30)");
    }

    #[test]
    fn thousands_have_commas() {
        for (number, text) in [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(whole(number), text);
        }
    }
}
