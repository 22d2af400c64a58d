//! Products of 256 bits, and their quotients. Small and slow where numbers are large; where the product fits 128 bits, as it does
//! for nearly every conversion, it is one multiplication and one division of the machine's.

use std::cmp::Ordering;

/// A product of two 128-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wide {
    high: u128,
    low: u128,
}

const HALF: u128 = 0xffff_ffff_ffff_ffff;

const fn halves(number: u128) -> (u128, u128) {
    (number >> 64, number & HALF)
}

fn product(one: u128, other: u128) -> Wide {
    let ((a, b), (c, d)) = (halves(one), halves(other));
    // Each is below 2^128 - 2^65 + 2: the product of two numbers below 2^64.
    let (high, low) = (a.wrapping_mul(c), b.wrapping_mul(d));
    let (middle, carried) = a.wrapping_mul(d).overflowing_add(b.wrapping_mul(c));
    let (low, carry) = low.overflowing_add(middle << 64);
    let high = high.wrapping_add(middle >> 64).wrapping_add(u128::from(carried) << 64).wrapping_add(u128::from(carry));
    Wide { high, low }
}

/// A whole quotient with its rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quotient {
    whole: u128,
    rest: u128,
    divisor: u128,
}

/// `amount · by / through`; `None` if the whole does not fit 128 bits, or the divisor is zero.
pub(super) fn quotient(amount: u128, by: u128, through: u128) -> Option<Quotient> {
    let of = |whole, rest| Some(Quotient { whole, rest, divisor: through });
    if let Some(product) = amount.checked_mul(by) {
        return of(product.checked_div(through)?, product.checked_rem(through)?);
    }
    let Wide { high, low } = product(amount, by);
    if high >= through {
        return None;
    }
    // Bit by bit, as on paper. The rest is below the divisor; twice that may need one bit more than there are.
    let (mut whole, mut rest) = (0_u128, high);
    for place in (0..128_u32).rev() {
        let carried = rest >> 127 == 1;
        rest = (rest << 1) | ((low >> place) & 1);
        whole <<= 1;
        if carried || rest >= through {
            rest = rest.wrapping_sub(through);
            whole |= 1;
        }
    }
    of(whole, rest)
}

impl Quotient {
    /// Rounded down.
    pub(super) const fn floor(self) -> u128 {
        self.whole
    }

    /// Rounded up.
    pub(super) fn ceil(self) -> Option<u128> {
        if self.rest == 0 { Some(self.whole) } else { self.whole.checked_add(1) }
    }

    /// Rounded to the nearest, halves to the even one.
    pub(super) fn half_even(self) -> Option<u128> {
        let up = match self.rest.cmp(&self.divisor.saturating_sub(self.rest)) {
            Ordering::Greater => true,
            Ordering::Equal => self.whole & 1 == 1,
            Ordering::Less => false,
        };
        if up { self.whole.checked_add(1) } else { Some(self.whole) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(a: Wide, b: u128) -> Wide {
        let (low, carry) = a.low.overflowing_add(b);
        Wide { high: a.high + u128::from(carry), low }
    }

    /// Numbers of all lengths.
    fn number() -> impl Strategy<Value = u128> {
        (any::<u128>(), 0..128_u32).prop_map(|(number, shift)| number >> shift)
    }

    #[test]
    fn products_at_the_edges() {
        let most = u128::MAX;
        assert_eq!(product(most, most), Wide { high: most - 1, low: 1 });
        assert_eq!(product(most, 2), Wide { high: 1, low: most - 1 });
        assert_eq!(product(1 << 64, 1 << 64), Wide { high: 1, low: 0 });
        assert_eq!(product(most, 0), Wide { high: 0, low: 0 });
        assert_eq!(quotient(1, 1, 0), None);
        assert_eq!(quotient(most, most, most - 1), None);
        assert_eq!(quotient(most, most, most).unwrap().floor(), most);
        assert_eq!(quotient(most, 1, most).unwrap().half_even(), Some(1));
        assert_eq!(quotient(most, 1, 1).unwrap().ceil(), Some(most));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// What was multiplied is what quotient and rest give back, and the product does not depend on the order.
        #[test]
        fn a_quotient_is_what_multiplied_gives_the_product(a in number(), b in number(), d in number()) {
            prop_assert_eq!(product(a, b), product(b, a));
            if let Some(narrow) = a.checked_mul(b) {
                prop_assert_eq!(product(a, b), Wide { high: 0, low: narrow });
            }
            match quotient(a, b, d) {
                Some(found) => {
                    prop_assert!(found.rest < d);
                    prop_assert_eq!(sum(product(found.whole, d), found.rest), product(a, b));
                    let (down, up) = (found.floor(), found.ceil());
                    prop_assert!(found.half_even() == Some(down) || found.half_even() == up);
                }
                None => prop_assert!(product(a, b).high >= d),
            }
        }

        #[test]
        fn halves_go_to_the_even_one(whole in 0..1_000_u128, rest in 0..20_u128, divisor in 1..20_u128) {
            let rest = rest % divisor;
            let found = Quotient { whole, rest, divisor }.half_even().unwrap();
            let expected = match (2 * rest).cmp(&divisor) {
                Ordering::Less => whole,
                Ordering::Greater => whole + 1,
                Ordering::Equal => whole + whole % 2,
            };
            prop_assert_eq!(found, expected);
        }
    }
}
