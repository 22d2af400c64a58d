//! The arithmetic of conversions: exact quotients of integers, rounded once at the end. Nothing here knows accounts.
//!
//! With the amount sold `A` given, and `cust = mid · (1 − margin)`: `M = half_even(A · mid)` at the mid, `C = floor(A · cust)` for
//! the customer, `G = half_even(A · (mid − cust))` earned, and `R = M − C − G` left over. With the amount bought `B` given:
//! `P = ceil(B / cust)`, `K = half_even(B / mid)`, `G = half_even(B / cust − B / mid)`, `R = P − K − G`.
//!
//! Each of the three roundings is off by a half at most, and that of the customer by less than one and never in its favour: so
//! `R` is −1, 0 or 1. That is asserted, in production too.
//!
//! Bounds: a rate has 14 digits at most and 14 decimals, an exponent is 4 at most, so numerator and denominator stay below
//! 10^38, and a product with an amount of 10^24 below 2^256 ([`wide`]).

mod wide;

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::rates::{FixedSide, Mid};
use event_schemas::sabotage::{Switch, on};
use event_schemas::{Currency, Rejection};

use wide::{Quotient, quotient};

/// The millionths of the whole.
const WHOLE_PPM: u32 = 1_000_000;

/// The price of a pair: the mid as minor units bought for one minor unit sold, and the margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    numerator: u128,
    denominator: u128,
    margin_ppm: u32,
}

/// The amounts of a conversion, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    /// What the customer gives: `A` or `P`.
    pub sold_minor: i128,
    /// What the customer gets: `C` or `B`.
    pub bought_minor: i128,
    /// What the position of the currency sold gets: `A` or `K`.
    pub position_sold_minor: i128,
    /// What the position of the currency bought gives: `M` or `B`.
    pub position_bought_minor: i128,
    /// The margin earned, `G`, in the currency of the amount that was not named.
    pub margin_minor: i128,
    /// What rounding left over, `R`, in the same.
    pub rounding_minor: i128,
}

impl Price {
    /// The price of a mid between two currencies. The margin is at most a half of the mid; published sheets have no other.
    pub fn new(mid: Mid, sold: Currency, bought: Currency, margin_ppm: u32) -> Self {
        // bought / sold in units, and 10^(exponent) minor units a unit: all powers of ten together.
        let up = i32::from(mid.sold_per_pivot.scale()).saturating_add(i32::from(bought.exponent()));
        let down = i32::from(mid.bought_per_pivot.scale()).saturating_add(i32::from(sold.exponent()));
        let power = up.saturating_sub(down);
        let ten = 10_u128.saturating_pow(power.unsigned_abs());
        let (mut numerator, mut denominator) =
            (u128::from(mid.bought_per_pivot.mantissa()), u128::from(mid.sold_per_pivot.mantissa()));
        if power >= 0 {
            numerator = numerator.saturating_mul(ten);
        } else {
            denominator = denominator.saturating_mul(ten);
        }
        Self { numerator, denominator, margin_ppm: margin_ppm.min(WHOLE_PPM.saturating_sub(1)) }
    }

    /// What is left to the customer, in millionths.
    fn kept_ppm(&self) -> u128 {
        u128::from(WHOLE_PPM.saturating_sub(self.margin_ppm))
    }

    /// The amounts of a conversion in which one is named. Refused if the named one is out of bounds, if the other rounds to
    /// zero, or if it is above the greatest amount.
    pub fn amounts(&self, fixed: FixedSide, named_minor: i128) -> Result<Amounts, Rejection> {
        if named_minor <= 0 {
            return Err(Rejection::AmountNotPositive);
        }
        if named_minor > AMOUNT_MAX_MINOR {
            return Err(Rejection::AmountTooLarge);
        }
        let amounts = match fixed {
            FixedSide::Sold => self.sold(named_minor),
            FixedSide::Bought => self.bought(named_minor),
        }?;
        assert!(
            (-1..=1).contains(&amounts.rounding_minor),
            "rounding leaves {} of {named_minor} at {self:?}",
            amounts.rounding_minor
        );
        Ok(amounts)
    }

    fn sold(&self, sold_minor: i128) -> Result<Amounts, Rejection> {
        let whole = u128::from(WHOLE_PPM);
        let amount = sold_minor.unsigned_abs();
        let share =
            |ppm: u128| divided(amount, self.numerator.saturating_mul(ppm), self.denominator.saturating_mul(whole));
        let position_bought_minor = minor(divided(amount, self.numerator, self.denominator)?.half_even())?;
        let customer = share(self.kept_ppm())?;
        let bought_minor = minor(if on(Switch::CustomerRoundedUp) { customer.ceil() } else { Some(customer.floor()) })?;
        let margin_minor = minor(share(u128::from(self.margin_ppm))?.half_even())?;
        let rounding_minor = position_bought_minor.saturating_sub(bought_minor).saturating_sub(margin_minor);
        if bought_minor == 0 {
            return Err(Rejection::ConvertedAmountZero);
        }
        Ok(Amounts {
            sold_minor,
            bought_minor,
            position_sold_minor: sold_minor,
            position_bought_minor,
            margin_minor,
            rounding_minor,
        })
    }

    fn bought(&self, bought_minor: i128) -> Result<Amounts, Rejection> {
        let amount = bought_minor.unsigned_abs();
        let kept = self.numerator.saturating_mul(self.kept_ppm());
        let share = |ppm: u32| divided(amount, self.denominator.saturating_mul(u128::from(ppm)), kept);
        let sold_minor = minor(share(WHOLE_PPM)?.ceil())?;
        let position_sold_minor = minor(divided(amount, self.denominator, self.numerator)?.half_even())?;
        let margin_minor = minor(share(self.margin_ppm)?.half_even())?;
        let rounding_minor = sold_minor.saturating_sub(position_sold_minor).saturating_sub(margin_minor);
        if position_sold_minor == 0 {
            return Err(Rejection::ConvertedAmountZero);
        }
        Ok(Amounts {
            sold_minor,
            bought_minor,
            position_sold_minor,
            position_bought_minor: bought_minor,
            margin_minor,
            rounding_minor,
        })
    }
}

fn divided(amount: u128, by: u128, through: u128) -> Result<Quotient, Rejection> {
    quotient(amount, by, through).ok_or(Rejection::AmountTooLarge)
}

fn minor(rounded: Option<u128>) -> Result<i128, Rejection> {
    let minor = rounded.and_then(|minor| i128::try_from(minor).ok());
    minor.filter(|minor| *minor <= AMOUNT_MAX_MINOR).ok_or(Rejection::AmountTooLarge)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn price(sold: (&str, &str), bought: (&str, &str), margin_ppm: u32) -> Price {
        let mid = Mid { sold_per_pivot: sold.1.parse().unwrap(), bought_per_pivot: bought.1.parse().unwrap() };
        Price::new(mid, sold.0.parse().unwrap(), bought.0.parse().unwrap(), margin_ppm)
    }

    /// Sold, bought, position sold, position bought, margin, rounding.
    fn worked(price: Price, fixed: FixedSide, minor: i128) -> Result<[i128; 6], Rejection> {
        price.amounts(fixed, minor).map(|a| {
            [
                a.sold_minor,
                a.bought_minor,
                a.position_sold_minor,
                a.position_bought_minor,
                a.margin_minor,
                a.rounding_minor,
            ]
        })
    }

    #[test]
    fn the_examples_of_the_templates() {
        use FixedSide::{Bought, Sold};
        // 100 USD to EUR at a mid of .92345 less 1 %.
        let usd_eur = price(("USD", "1"), ("EUR", "0.92345"), 10_000);
        assert_eq!(worked(usd_eur, Sold, 10_000), Ok([10_000, 9_142, 10_000, 9_234, 92, 0]));
        // 500 GBP from EUR at a mid of .86 less 0.5 %: 584.32 with the margin of 2.92, at the mid 581.40.
        let eur_gbp = price(("EUR", "1"), ("GBP", "0.86"), 5_000);
        assert_eq!(worked(eur_gbp, Bought, 50_000), Ok([58_432, 50_000, 58_140, 50_000, 292, 0]));
        // Exponents of 0 and 3, over a pivot that is neither.
        let jpy_bhd = price(("JPY", "178.53"), ("BHD", "0.4071"), 0);
        assert_eq!(worked(jpy_bhd, Sold, 1_000), Ok([1_000, 2_280, 1_000, 2_280, 0, 0]));
        assert_eq!(worked(jpy_bhd, Bought, 2_280), Ok([1_000, 2_280, 1_000, 2_280, 0, 0]));
    }

    #[test]
    fn halves_go_to_the_even_one_and_what_is_left_over_is_one_at_most() {
        use FixedSide::{Bought, Sold};
        for (mid, ppm, fixed, minor, expected) in [
            // The mid gives 2.5: 2 at the mid, and 2 to the customer.
            ("2.5", 0, Sold, 1, [1, 2, 1, 2, 0, 0]),
            ("3.5", 0, Sold, 1, [1, 3, 1, 4, 0, 1]),
            // 0.5 below the mid, which is even already; the margin of 0.75 is rounded up.
            ("1.5", 500_000, Sold, 1, [0, 0, 0, 0, 0, 0]),
            ("2.5", 200_000, Sold, 1, [1, 2, 1, 2, 0, 0]),
            // 4.5 at the mid, 3 to the customer, 1.5 earned: 4 - 3 - 2 is one too little.
            ("4.5", 333_333, Sold, 1, [1, 3, 1, 4, 1, 0]),
            ("1.5", 333_333, Sold, 3, [3, 3, 3, 4, 1, 0]),
            ("2.5", 0, Bought, 4, [2, 4, 2, 4, 0, 0]),
            ("0.4", 0, Bought, 1, [3, 1, 2, 1, 0, 1]),
        ] {
            let price = price(("EUR", "1"), ("USD", mid), ppm);
            let expected = if expected == [0; 6] { Err(Rejection::ConvertedAmountZero) } else { Ok(expected) };
            assert_eq!(worked(price, fixed, minor), expected, "{mid} {ppm} {fixed:?} {minor}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        use FixedSide::{Bought, Sold};
        let one = price(("EUR", "1"), ("USD", "1"), 0);
        assert_eq!(worked(one, Sold, 0), Err(Rejection::AmountNotPositive));
        assert_eq!(worked(one, Bought, -1), Err(Rejection::AmountNotPositive));
        assert_eq!(worked(one, Sold, AMOUNT_MAX_MINOR + 1), Err(Rejection::AmountTooLarge));
        let most = AMOUNT_MAX_MINOR;
        assert_eq!(worked(one, Sold, most), Ok([most, most, most, most, 0, 0]));
        let longest = ("99999999999999", "0.00000000000001");
        let dear = price(("UYW", longest.1), ("CLF", longest.0), 500_000);
        assert_eq!(worked(dear, Sold, most), Err(Rejection::AmountTooLarge));
        assert_eq!(worked(dear, Bought, 1), Err(Rejection::ConvertedAmountZero));
        let cheap = price(("UYW", longest.0), ("CLF", longest.1), 500_000);
        assert_eq!(worked(cheap, Sold, 1), Err(Rejection::ConvertedAmountZero));
        assert_eq!(worked(cheap, Bought, most), Err(Rejection::AmountTooLarge));
        assert_eq!(worked(cheap, Sold, most), Err(Rejection::ConvertedAmountZero));
    }
}
