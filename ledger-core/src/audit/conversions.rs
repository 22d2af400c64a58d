//! Conversions as the auditor sees them: it keeps every rate sheet there was, and does the sums by another way than [`crate::fx`]:
//! no division, but products of any length, compared. A number is rounded down if it is not above the quotient and one more is.

use event_schemas::bounds::{
    MARGIN_MAX_PPM, MARGIN_RULES_MAX, QUOTE_SECONDS_MAX, RATE_NAME_MAX_BYTES, RATE_SHEETS_KEPT, SHEET_RATES_MAX,
};
use event_schemas::command::{CommandBody, ConvertFunds};
use event_schemas::digest::ElementHash;
use event_schemas::event::{CommandRejected, ConversionPosted, PublishRateSheet};
use event_schemas::rates::{FixedSide, Rate};
use event_schemas::{AccountId, BookId, Currency, MultisetHash, Posting, Rejection, Sequence, Side};

use super::{Auditor, Law};

/// A natural number of any length: digits of 32 bits, the least significant first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Natural(Vec<u32>);

impl Natural {
    fn product(factors: &[u128]) -> Self {
        let mut digits = vec![1_u32];
        for factor in factors {
            let mut sum = vec![0_u32; digits.len().saturating_add(4)];
            for (shift, part) in (0_usize..4).zip([0, 32, 64, 96]) {
                let part = factor >> part & u128::from(u32::MAX);
                let mut carry = 0_u128;
                for place in 0..digits.len().saturating_add(4).saturating_sub(shift) {
                    let digit = u128::from(digits.get(place).copied().unwrap_or(0));
                    let Some(slot) = sum.get_mut(place.saturating_add(shift)) else { break };
                    let total = u128::from(*slot).saturating_add(digit.saturating_mul(part)).saturating_add(carry);
                    *slot = u32::try_from(total & u128::from(u32::MAX)).unwrap_or(0);
                    carry = total >> 32;
                }
            }
            digits = sum;
        }
        Self(digits)
    }

    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let length = self.0.len().max(other.0.len());
        let digit = |of: &Self, place: usize| of.0.get(place).copied().unwrap_or(0);
        (0..length)
            .rev()
            .map(|place| digit(self, place).cmp(&digit(other, place)))
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    }

    fn at_most(&self, other: &Self) -> bool {
        self.compare(other).is_le()
    }
}

/// How an amount was rounded.
#[derive(Debug, Clone, Copy)]
enum Rounded {
    Down,
    Up,
    HalfEven,
}

/// Whether `minor` is `product(over) / product(under)`, rounded so.
fn is_rounded(minor: i128, over: &[u128], under: &[u128], rounded: Rounded) -> bool {
    let Ok(minor) = u128::try_from(minor) else { return false };
    let quotient = Natural::product(over);
    let of = |count: u128| Natural::product(&[under, &[count]].concat());
    match rounded {
        Rounded::Down => of(minor).at_most(&quotient) && quotient.compare(&of(minor.saturating_add(1))).is_lt(),
        Rounded::Up => {
            quotient.at_most(&of(minor)) && (minor == 0 || of(minor.saturating_sub(1)).compare(&quotient).is_lt())
        }
        Rounded::HalfEven => {
            // Twice the quotient lies between twice the number less one and twice the number and one, the ends only if it is even.
            let twice = Natural::product(&[over, &[2]].concat());
            let even = minor.is_multiple_of(2);
            let above = twice.compare(&of(minor.saturating_mul(2).saturating_add(1)));
            let below = match minor.checked_mul(2).and_then(|double| double.checked_sub(1)) {
                Some(least) => of(least).compare(&twice),
                None => std::cmp::Ordering::Less,
            };
            (above.is_lt() || above.is_eq() && even) && (below.is_lt() || below.is_eq() && even)
        }
    }
}

/// Ten to so many.
fn ten(power: u8) -> u128 {
    10_u128.saturating_pow(power.into())
}

impl Auditor {
    pub(super) fn rate_sheet_published(&mut self, sequence: Sequence, sheet: &PublishRateSheet) {
        let mut currencies: Vec<Currency> = sheet.rates.iter().map(|rate| rate.currency).collect();
        currencies.dedup();
        let named = |name: &str| name.len() <= RATE_NAME_MAX_BYTES;
        let sound = (1..=SHEET_RATES_MAX).contains(&sheet.rates.len())
            && currencies.len() == sheet.rates.len()
            && currencies.is_sorted()
            && !currencies.contains(&sheet.pivot)
            && (1..=MARGIN_RULES_MAX).contains(&sheet.margins.len())
            && sheet.margins.iter().all(|rule| rule.margin_ppm <= MARGIN_MAX_PPM)
            && sheet.margins.iter().all(|rule| rule.tier.as_deref().is_none_or(named))
            && sheet.margins.last().map(|rule| (&rule.tier, rule.sold, rule.bought)) == Some((&None, None, None))
            && self.time.is_none_or(|now| now < sheet.valid_until)
            && (1..=QUOTE_SECONDS_MAX).contains(&sheet.quote_seconds)
            && named(&sheet.source)
            && !sheet.source.is_empty();
        if !sound {
            self.find(sequence, Law::SettingsInOrder, format!("rate sheet {} can't be", sheet.version));
        }
        let before = self.rate_sheets.keys().next_back().copied().unwrap_or(0);
        self.rises(sequence, before, sheet.version);
        self.rate_sheets.insert(sheet.version, sheet.clone());
    }

    /// The newest sheets, which quotes may name.
    fn sheets_at_hand(&self) -> impl Iterator<Item = &PublishRateSheet> {
        self.rate_sheets.values().rev().take(RATE_SHEETS_KEPT)
    }

    /// Looks at what a conversion says beside its postings, before they are added up.
    pub(super) fn check_conversion(&mut self, sequence: Sequence, conversion: &ConversionPosted) {
        let wrong = self.wrong_conversion(conversion);
        if let Some(wrong) = wrong {
            self.find(sequence, Law::ConvertedAtTheRate, wrong);
        }
    }

    fn wrong_conversion(&self, conversion: &ConversionPosted) -> Option<String> {
        let Some(sheet) = self.sheets_at_hand().find(|sheet| sheet.version == conversion.sheet) else {
            return Some(format!("rate sheet {} is not at hand", conversion.sheet));
        };
        if self.time.is_some_and(|now| now > sheet.valid_until || now > conversion.expires_at) {
            return Some("the sheet or the quote is over".into());
        }
        let [from, to, position_sold, position_bought, rest @ ..] = conversion.postings.as_slice() else {
            return Some("postings are missing".into());
        };
        let (sold, bought) = (from.money.currency, to.money.currency);
        let rate_of = |currency: Currency| {
            let quoted = sheet.rates.iter().find(|rate| rate.currency == currency).map(|rate| rate.per_pivot);
            if currency == sheet.pivot { Some(Rate::ONE) } else { quoted }
        };
        let fits = |of: Option<Currency>, currency| of.is_none() || of == Some(currency);
        let margin = sheet.margins.iter().find(|rule| {
            rule.tier.as_ref().is_none_or(|tier| *tier == conversion.tier)
                && fits(rule.sold, sold)
                && fits(rule.bought, bought)
        });
        let said = (Some(conversion.sold_per_pivot), Some(conversion.bought_per_pivot), Some(conversion.margin_ppm));
        if said != (rate_of(sold), rate_of(bought), margin.map(|rule| rule.margin_ppm))
            || (&sheet.source, sheet.quoted_on) != (&conversion.source, conversion.quoted_on)
        {
            return Some(format!("sheet {} says otherwise", sheet.version));
        }
        let owner = Some(&conversion.owner).filter(|owner| !owner.is_empty());
        if [from, to].iter().any(|posting| self.owners.get(&posting.account) != owner) {
            return Some("an account is somebody else's".into());
        }
        let other = if conversion.fixed == FixedSide::Sold { bought } else { sold };
        if !self.conversion_is_shaped(conversion, [from, to, position_sold, position_bought], rest, other) {
            return Some("its postings are others".into());
        }
        // The mid in minor units, `over / under`, and what is left of it, both in millionths.
        let over = [
            u128::from(conversion.bought_per_pivot.mantissa()),
            ten(conversion.sold_per_pivot.scale()),
            ten(bought.exponent()),
        ];
        let under = [
            u128::from(conversion.sold_per_pivot.mantissa()),
            ten(conversion.bought_per_pivot.scale()),
            ten(sold.exponent()),
        ];
        let (whole, margin) = (1_000_000_u128, u128::from(conversion.margin_ppm));
        let kept = whole.saturating_sub(margin);
        let of = |posting: &Posting| posting.money.amount_minor;
        let with = |factors: &[u128; 3], more: &[u128]| [factors.as_slice(), more].concat();
        let right = match conversion.fixed {
            FixedSide::Sold => {
                let amount = of(from).unsigned_abs();
                of(position_sold) == of(from)
                    && is_rounded(of(position_bought), &with(&over, &[amount]), &under, Rounded::HalfEven)
                    && is_rounded(of(to), &with(&over, &[amount, kept]), &with(&under, &[whole]), Rounded::Down)
                    && is_rounded(
                        conversion.margin_minor,
                        &with(&over, &[amount, margin]),
                        &with(&under, &[whole]),
                        Rounded::HalfEven,
                    )
            }
            FixedSide::Bought => {
                let amount = of(to).unsigned_abs();
                of(position_bought) == of(to)
                    && is_rounded(of(position_sold), &with(&under, &[amount]), &over, Rounded::HalfEven)
                    && is_rounded(of(from), &with(&under, &[amount, whole]), &with(&over, &[kept]), Rounded::Up)
                    && is_rounded(
                        conversion.margin_minor,
                        &with(&under, &[amount, margin]),
                        &with(&over, &[kept]),
                        Rounded::HalfEven,
                    )
            }
        };
        let left = conversion.rounding_minor;
        (!right || !(-1..=1).contains(&left)).then(|| format!("{:?} is not so by sheet {}", conversion, sheet.version))
    }

    /// Whether the postings stand in their order, on the accounts of the book that they belong to.
    fn conversion_is_shaped(
        &self,
        conversion: &ConversionPosted,
        [from, to, position_sold, position_bought]: [&Posting; 4],
        rest: &[Posting],
        other: Currency,
    ) -> bool {
        let own = |role: &str, currency: Currency| {
            AccountId::from_code(self.book.unwrap_or(BookId::FIRST), &format!("sys:{role}:{currency}"))
        };
        let (sold, bought) = (from.money.currency, to.money.currency);
        let mut expected = Vec::new();
        if conversion.margin_minor > 0 {
            expected.push((own("income-fx-margin", other), Side::Credit, conversion.margin_minor));
        }
        if conversion.rounding_minor != 0 {
            let side = if conversion.rounding_minor > 0 { Side::Credit } else { Side::Debit };
            expected.push((own("fx-rounding", other), side, conversion.rounding_minor.saturating_abs()));
        }
        let found = rest.iter().map(|posting| (posting.account, posting.side, posting.money.amount_minor));
        sold != bought
            && (from.side, to.side) == (Side::Debit, Side::Credit)
            && (position_sold.account, position_sold.side) == (own("fx-position", sold), Side::Credit)
            && (position_bought.account, position_bought.side) == (own("fx-position", bought), Side::Debit)
            && (position_sold.money.currency, position_bought.money.currency) == (sold, bought)
            && rest.iter().all(|posting| posting.money.currency == other)
            && found.eq(expected)
            && conversion.margin_minor >= 0
    }

    /// Whether what a rejection says of rates is so.
    pub(super) fn rate_rejection_holds(&self, rejected: &CommandRejected) -> bool {
        let newest = self.rate_sheets.keys().next_back().copied().unwrap_or(0);
        match (&rejected.rejection, &rejected.command) {
            (Rejection::VersionNotNewer { applied }, CommandBody::PublishRateSheet(sheet)) => {
                *applied == newest && sheet.version <= newest
            }
            (Rejection::RateSheetInvalid { .. }, CommandBody::PublishRateSheet(_)) => true,
            (Rejection::SameCurrency { currency }, CommandBody::ConvertFunds(convert)) => {
                convert.sold.currency == *currency && convert.bought.currency.code() == currency.code()
            }
            (Rejection::RateSheetNotFound { newest: said }, CommandBody::ConvertFunds(convert)) => {
                *said == newest && self.sheet_of(convert).is_none()
            }
            (Rejection::RateSheetStale { valid_until }, CommandBody::ConvertFunds(convert)) => {
                self.sheet_of(convert).is_some_and(|sheet| sheet.valid_until == *valid_until)
                    && self.time.is_none_or(|now| now > *valid_until)
            }
            (Rejection::RateNotFound { currency }, CommandBody::ConvertFunds(convert)) => {
                self.sheet_of(convert).is_some_and(|sheet| {
                    *currency != sheet.pivot && sheet.rates.iter().all(|rate| rate.currency != *currency)
                })
            }
            (Rejection::QuoteExpired { expires_at }, CommandBody::ConvertFunds(convert)) => {
                convert.expires_at == *expires_at && self.time.is_none_or(|now| now > *expires_at)
            }
            (Rejection::QuoteMismatch { sold_minor, bought_minor }, CommandBody::ConvertFunds(convert)) => {
                (*sold_minor, *bought_minor) != (convert.sold.amount_minor, convert.bought.amount_minor)
            }
            (Rejection::ConvertedAmountZero, CommandBody::ConvertFunds(convert)) => self.sheet_of(convert).is_some(),
            (Rejection::QuoteOfAnother { account }, CommandBody::ConvertFunds(convert)) => {
                self.owners.get(account) != Some(&convert.owner).filter(|owner| !owner.is_empty())
            }
            _ => false,
        }
    }

    fn sheet_of(&self, convert: &ConvertFunds) -> Option<&PublishRateSheet> {
        self.sheets_at_hand().find(|sheet| sheet.version == convert.sheet)
    }

    pub(super) fn add_rate_sheets(&self, set: &mut MultisetHash) {
        for sheet in self.sheets_at_hand() {
            let mut bytes = vec![10];
            sheet.encode(&mut bytes);
            set.insert(ElementHash::of(&bytes));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn products_and_roundings() {
        let most = u128::MAX;
        assert!(Natural::product(&[most, most]).compare(&Natural::product(&[most, most - 1])).is_gt());
        assert!(Natural::product(&[most, 6]).compare(&Natural::product(&[most, 2, 3])).is_eq());
        assert!(Natural::product(&[0, most]).compare(&Natural::product(&[0])).is_eq());
        for over in 0..40_u128 {
            for under in 1..9_u128 {
                let (whole, rest) = (over / under, over % under);
                let even = whole + u128::from(2 * rest > under || (2 * rest == under && whole % 2 == 1));
                for (rounded, right) in
                    [(Rounded::Down, whole), (Rounded::Up, whole + u128::from(rest > 0)), (Rounded::HalfEven, even)]
                {
                    for minor in 0..42_u128 {
                        let found = is_rounded(i128::try_from(minor).unwrap(), &[over], &[under], rounded);
                        assert_eq!(found, minor == right, "{minor} is {over} / {under} {rounded:?}");
                    }
                }
            }
        }
    }
}
