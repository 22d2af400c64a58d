//! Debits and credits, summed.

use event_schemas::Side;
use event_schemas::bounds::TOTAL_MAX_MINOR;
use event_schemas::command::AccountKind;

/// What was debited and what was credited, in minor units, each zero or above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// The sum of the debits.
    pub debits_minor: i128,
    /// The sum of the credits.
    pub credits_minor: i128,
}

impl Totals {
    /// Adds an amount to a side; `None` if the sum leaves its bounds, which no journal that was decided by the rules does.
    #[must_use]
    pub fn plus(self, side: Side, amount_minor: i128) -> Option<Self> {
        let within = |sum: i128| (0..=TOTAL_MAX_MINOR).contains(&sum).then_some(sum);
        Some(match side {
            Side::Debit => Self { debits_minor: self.debits_minor.checked_add(amount_minor).and_then(within)?, ..self },
            Side::Credit => {
                Self { credits_minor: self.credits_minor.checked_add(amount_minor).and_then(within)?, ..self }
            }
        })
    }

    /// Adds other totals; `None` on overflow of 128 bits.
    #[must_use]
    pub fn sum(self, other: Self) -> Option<Self> {
        Some(Self {
            debits_minor: self.debits_minor.checked_add(other.debits_minor)?,
            credits_minor: self.credits_minor.checked_add(other.credits_minor)?,
        })
    }

    /// The balance on the normal side of an account of this kind, in minor units; below zero where the other side weighs more.
    #[must_use]
    pub const fn balance_minor(self, kind: AccountKind) -> i128 {
        match kind.normal_side() {
            Side::Debit => self.debits_minor - self.credits_minor,
            Side::Credit => self.credits_minor - self.debits_minor,
        }
    }
}
