//! Conversions as the second bookkeeper makes them: fractions, and of all whole numbers about one the right one.

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{AccountKind, BalancePolicy, ConvertFunds, FixedSide, PublishRateSheet};
use event_schemas::rates::{Rate, SheetPart};
use event_schemas::{AccountId, CommandId, Currency, Money, Posting, Rejection, Timestamp};

use super::{Model, NOON, amount, first, newer, system};

/// A fraction above zero.
#[derive(Clone, Copy)]
struct Part {
    over: i128,
    under: i128,
}

impl Part {
    fn of(rate: Rate) -> Self {
        Self { over: i128::from(rate.mantissa()), under: 10_i128.pow(rate.scale().into()) }
    }

    fn times(self, other: Self) -> Self {
        let (over, under) = (self.over * other.over, self.under * other.under);
        let (mut one, mut two) = (over, under);
        while two != 0 {
            (one, two) = (two, one % two);
        }
        Self { over: over / one.max(1), under: under / one.max(1) }
    }

    fn flipped(self) -> Self {
        Self { over: self.under, under: self.over }
    }

    fn less(self, other: Self) -> Self {
        Self { over: self.over * other.under - other.over * self.under, under: self.under * other.under }
    }

    fn down(self) -> i128 {
        self.over.div_euclid(self.under)
    }

    fn up(self) -> i128 {
        -(-self.over).div_euclid(self.under)
    }

    fn near(self) -> i128 {
        let far = |whole: i128| ((whole * self.under - self.over).abs(), whole % 2 != 0);
        [self.down(), self.down() + 1].into_iter().min_by_key(|whole| far(*whole)).unwrap()
    }
}

fn whole(number: i128) -> Part {
    Part { over: number, under: 1 }
}

impl Model {
    pub(super) fn publish_sheet(&mut self, sheet: &PublishRateSheet) -> Result<(), Rejection> {
        let newest = self.sheets.last().map_or(0, |sheet| sheet.version);
        let mut refused: Vec<_> = newer(sheet.version, newest).err().into_iter().collect();
        let codes: Vec<_> = sheet.rates.iter().map(|rate| rate.currency.to_string()).collect();
        let sorted: std::collections::BTreeSet<_> = codes.iter().cloned().collect();
        let part = if codes.is_empty() || codes != sorted.into_iter().collect::<Vec<_>>() {
            Some(SheetPart::Rates)
        } else if sheet.margins.last().is_none_or(|last| last.tier.is_some() || last.bought.is_some()) {
            Some(SheetPart::Margins)
        } else if sheet.valid_until.0 <= NOON.0 + self.now {
            Some(SheetPart::ValidUntil)
        } else {
            (sheet.quote_seconds == 0).then_some(SheetPart::QuoteSeconds)
        };
        refused.extend(part.map(|part| Rejection::RateSheetInvalid { part }));
        first(refused)?;
        self.sheets.push(sheet.clone());
        Ok(())
    }

    fn rate(sheet: &PublishRateSheet, currency: Currency) -> Option<Part> {
        let quoted = sheet.rates.iter().find(|rate| rate.currency == currency);
        if currency == sheet.pivot { Some(whole(1)) } else { quoted.map(|rate| Part::of(rate.per_pivot)) }
    }

    pub(super) fn convert(&mut self, id: CommandId, convert: &ConvertFunds) -> Result<(), Rejection> {
        let (sold, bought) = (convert.sold, convert.bought);
        let (mut refused, now) = (Vec::new(), Timestamp(NOON.0 + self.now));
        amount(sold.amount_minor, 1, &mut refused);
        amount(bought.amount_minor, 1, &mut refused);
        if sold.currency == bought.currency {
            refused.push(Rejection::SameCurrency { currency: sold.currency });
        }
        let newest = self.sheets.last().map_or(0, |sheet| sheet.version);
        let at_hand = self.sheets.iter().rev().take(16).find(|sheet| sheet.version == convert.sheet).cloned();
        let Some(sheet) = at_hand else {
            refused.push(Rejection::RateSheetNotFound { newest });
            return first(refused);
        };
        if now > sheet.valid_until {
            refused.push(Rejection::RateSheetStale { valid_until: sheet.valid_until });
        }
        for currency in [sold.currency, bought.currency] {
            if Self::rate(&sheet, currency).is_none() {
                refused.push(Rejection::RateNotFound { currency });
            }
        }
        if now > convert.expires_at {
            refused.push(Rejection::QuoteExpired { expires_at: convert.expires_at });
        }
        if convert.from == convert.to {
            refused.push(Rejection::SameAccount { account: convert.from });
        }
        if !refused.is_empty() && first(refused.clone()).unwrap_err().number() < 149 {
            return first(refused);
        }
        let rule = sheet.margins.iter().find(|rule| {
            rule.tier.as_deref().is_none_or(|tier| *tier == *convert.tier)
                && rule.bought.is_none_or(|currency| currency == bought.currency)
        });
        let units = |currency: Currency| whole(10_i128.pow(currency.exponent().into()));
        let mid = Self::rate(&sheet, bought.currency)
            .unwrap()
            .times(Self::rate(&sheet, sold.currency).unwrap().flipped())
            .times(units(bought.currency))
            .times(units(sold.currency).flipped());
        let kept = Part { over: 1_000_000 - i128::from(rule.unwrap().margin_ppm), under: 1_000_000 };
        let theirs = mid.times(kept);
        let by_sold = convert.fixed == FixedSide::Sold;
        let [given, got, at_mid_given, at_mid_got, earned, other] = if by_sold {
            let a = whole(sold.amount_minor);
            let (exact, customers) = (a.times(mid), a.times(theirs));
            let (m, c, g) = (exact.near(), customers.down(), exact.less(customers).near());
            [sold.amount_minor, c, sold.amount_minor, m, g, m - c - g]
        } else {
            let b = whole(bought.amount_minor);
            let (exact, customers) = (b.times(mid.flipped()), b.times(theirs.flipped()));
            let (k, p, g) = (exact.near(), customers.up(), customers.less(exact).near());
            [p, bought.amount_minor, k, bought.amount_minor, g, p - k - g]
        };
        if given.max(got) > AMOUNT_MAX_MINOR {
            refused.push(Rejection::AmountTooLarge);
        } else if (by_sold && got == 0) || (!by_sold && at_mid_given == 0) {
            refused.push(Rejection::ConvertedAmountZero);
        } else if (given, got) != (sold.amount_minor, bought.amount_minor) {
            refused.push(Rejection::QuoteMismatch { sold_minor: given, bought_minor: got });
        }
        if !refused.is_empty() {
            return first(refused);
        }
        let kept = self.accounts.clone();
        let mut own = |role: &str, kind: AccountKind, currency: Currency| {
            let account = system(role, currency);
            if !self.accounts.contains_key(&account) {
                self.insert(account, kind, currency, BalancePolicy::Unlimited);
            }
            account
        };
        let left = if by_sold { bought.currency } else { sold.currency };
        let mut postings = vec![
            Posting::debit(convert.from, sold),
            Posting::credit(convert.to, bought),
            Posting::credit(
                own("fx-position", AccountKind::Equity, sold.currency),
                Money::new(at_mid_given, sold.currency),
            ),
            Posting::debit(
                own("fx-position", AccountKind::Equity, bought.currency),
                Money::new(at_mid_got, bought.currency),
            ),
        ];
        if earned > 0 {
            let account = own("income-fx-margin", AccountKind::Income, left);
            postings.push(Posting::credit(account, Money::new(earned, left)));
        }
        if other != 0 {
            let account = own("fx-rounding", AccountKind::Income, left);
            let money = Money::new(other.abs(), left);
            postings.push(if other > 0 { Posting::credit(account, money) } else { Posting::debit(account, money) });
        }
        let strange = |account: &AccountId| self.accounts.get(account).is_some_and(|page| page.owner != convert.owner);
        if let Some(account) = [convert.from, convert.to].into_iter().find(strange) {
            refused.push(Rejection::QuoteOfAnother { account });
        }
        let charge = self.limited(convert.from, None, sold, &mut refused);
        let said = self.postings(&postings, refused);
        if said.is_err() {
            self.accounts = kept;
            return said;
        }
        self.count(charge, sold.amount_minor);
        self.entries.insert(id, postings);
        Ok(())
    }
}
