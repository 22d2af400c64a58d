//! Fees: what the command says, or what the rule of its kind and currency says. The event records the rule's version, so that
//! anybody can add it up again; zero stands for "there was no rule", and then nothing is charged.

use event_schemas::Money;
use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{FeeKind, SetFeeRule};
use event_schemas::sabotage::{Switch, on};

use crate::state::State;

/// The millionths of the whole.
const WHOLE_PPM: i128 = 1_000_000;

/// A fee, and the version of the rule if the command left it to the rule.
pub(super) struct Fee {
    pub(super) money: Money,
    pub(super) rule: Option<u64>,
}

/// The fee of a move of money.
pub(super) fn fee(state: &State, kind: FeeKind, amount: Money, named_minor: Option<i128>) -> Fee {
    let of = |minor, rule| Fee { money: Money::new(minor, amount.currency), rule };
    if let Some(minor) = named_minor {
        return of(minor, None);
    }
    match state.fee_rule(kind, amount.currency) {
        Some(rule) => of(by_rule(rule, amount.amount_minor), Some(rule.version)),
        None => of(0, Some(0)),
    }
}

/// What a rule charges for an amount; nothing for one that is out of bounds, and refused for that.
fn by_rule(rule: &SetFeeRule, amount_minor: i128) -> i128 {
    if !(1..=AMOUNT_MAX_MINOR).contains(&amount_minor) {
        return 0;
    }
    // At most 10^24 times 10^6, which an i128 holds with room to spare; nothing here saturates.
    let parts = amount_minor.saturating_mul(i128::from(rule.rate_ppm));
    let (whole, rest) = (parts.checked_div(WHOLE_PPM).unwrap_or(0), parts.checked_rem(WHOLE_PPM).unwrap_or(0));
    let up = match rest.saturating_mul(2).cmp(&WHOLE_PPM) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => whole & 1 == 1,
        std::cmp::Ordering::Less => rest > 0 && on(Switch::FeeRoundedUp),
    };
    let fee_minor = rule.fixed_minor.saturating_add(whole).saturating_add(i128::from(up)).max(rule.min_minor);
    rule.max_minor.map_or(fee_minor, |max_minor| fee_minor.min(max_minor))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_one_and_bounds_are_kept() {
        let rule = |fixed_minor, rate_ppm, min_minor, max_minor| SetFeeRule {
            kind: FeeKind::Transfer,
            currency: "EUR".parse().unwrap(),
            version: 1,
            fixed_minor,
            rate_ppm,
            min_minor,
            max_minor,
        };
        let most = AMOUNT_MAX_MINOR;
        for (rule, amount_minor, fee_minor) in [
            (rule(0, 0, 0, None), 1_000, 0),
            (rule(30, 0, 0, None), 1_000, 30),
            (rule(0, 2_500, 0, None), 10_000, 25),
            // 0.5, 1.5, 2.5, 3.5, and either side of them.
            (rule(0, 500_000, 0, None), 1, 0),
            (rule(0, 500_000, 0, None), 3, 2),
            (rule(0, 500_000, 0, None), 5, 2),
            (rule(0, 500_000, 0, None), 7, 4),
            (rule(0, 499_999, 0, None), 1, 0),
            (rule(0, 500_001, 0, None), 1, 1),
            (rule(0, 499_999, 0, None), 3, 1),
            (rule(1, 500_000, 0, None), 1, 1),
            (rule(0, 1, 0, None), 499_999, 0),
            (rule(0, 1, 0, None), 1_500_000, 2),
            (rule(5, 10_000, 20, Some(100)), 1_000, 20),
            (rule(5, 10_000, 20, Some(100)), 2_000, 25),
            (rule(5, 10_000, 20, Some(100)), 9_500, 100),
            (rule(5, 10_000, 20, Some(100)), 9_551, 100),
            (rule(7, 0, 3, Some(3)), 1, 3),
            (rule(0, 1_000_000, 0, None), most, most),
            (rule(most, 1_000_000, 0, None), most, 2 * most),
            (rule(0, 999_999, 0, None), most, most - 1_000_000_000_000_000_000),
            (rule(7, 0, 7, None), 0, 0),
            (rule(7, 0, 7, None), most + 1, 0),
        ] {
            assert_eq!(by_rule(&rule, amount_minor), fee_minor, "{amount_minor} by {rule:?}");
        }
    }
}
