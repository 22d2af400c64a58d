//! The second bookkeeper: written from the rules and not from the code, on plain maps. It collects every condition that holds
//! and answers with the one of the lowest number.
#![allow(dead_code, unreachable_pub, clippy::cast_possible_truncation, clippy::indexing_slicing, clippy::unwrap_used)]
#![allow(clippy::needless_pass_by_value)]

mod allowance;
mod exchange;

use std::collections::BTreeMap;

use event_schemas::bounds::AMOUNT_MAX_MINOR;
use event_schemas::command::{
    AccountKind, BalancePolicy, CaptureHold, FeeKind, OpenAccount, PlaceHold, PublishCalendar, PublishRateSheet,
    ReverseEntry, SetFeeRule, TransferUpTo,
};
use event_schemas::{
    AccountId, CivilDate, CommandBody, CommandId, Currency, Money, Posting, Rejection, Side, Timestamp,
};

pub use self::allowance::Allowance;
use super::desk::streams::{CODES, system};
use super::desk::{BOOK, NOON};

/// The second bookkeeper.
#[derive(Default)]
pub struct Model {
    pub accounts: BTreeMap<AccountId, Page>,
    pub now: i64,
    pub commands: u128,
    pub holds: BTreeMap<CommandId, Slip>,
    /// The postings of every entry and capture; of a reversal, nothing.
    pub entries: BTreeMap<CommandId, Vec<Posting>>,
    pub reversals: Vec<CommandId>,
    /// What was reversed: of this entry, of the posting in this place, so much.
    pub reversed: Vec<(CommandId, u32, i128)>,
    pub rules: BTreeMap<(FeeKind, Currency), SetFeeRule>,
    pub closed: Option<CivilDate>,
    pub preferences: BTreeMap<Box<str>, u64>,
    pub limits: BTreeMap<(Box<str>, Currency), Allowance>,
    pub calendar: Option<PublishCalendar>,
    pub sheets: Vec<PublishRateSheet>,
}

/// A hold: what is left of it, zero once it has ended.
#[derive(Clone)]
pub struct Slip {
    pub account: AccountId,
    pub left_minor: i128,
    pub deadline: Option<Timestamp>,
    /// The day it counts for in the limits of the account's owner.
    pub charged: Option<CivilDate>,
}

#[derive(Clone)]
pub struct Page {
    pub currency: Currency,
    pub kind: AccountKind,
    pub policy: BalancePolicy,
    pub frozen: bool,
    pub closed: bool,
    pub balance_minor: i128,
    pub held_minor: i128,
    pub owner: Box<str>,
}

impl Page {
    fn room_minor(&self) -> Option<i128> {
        match self.policy {
            BalancePolicy::Unlimited => None,
            BalancePolicy::Limited { overdraft_minor } => Some(self.balance_minor + overdraft_minor - self.held_minor),
        }
    }
}

fn raises(kind: AccountKind, side: Side) -> i128 {
    let debit_raises = matches!(kind, AccountKind::Asset | AccountKind::Expense);
    if (side == Side::Debit) == debit_raises { 1 } else { -1 }
}

impl Model {
    /// Lets time pass: whatever has reached its deadline is let go.
    pub fn wait(&mut self, us: i64) {
        self.now += us;
        for slip in self.holds.values_mut() {
            if slip.deadline.is_some_and(|deadline| deadline.0 <= NOON.0 + self.now) {
                let page = self.accounts.get_mut(&slip.account).unwrap();
                page.held_minor -= slip.left_minor;
                if let Some(day) = slip.charged {
                    self.limits.get_mut(&(page.owner.clone(), page.currency)).unwrap().count(day, -slip.left_minor);
                }
                slip.left_minor = 0;
            }
        }
    }

    /// Counts what is let go of a hold as not used after all.
    fn give_back(&mut self, slip: &Slip, minor: i128) {
        let page = &self.accounts[&slip.account];
        if let Some(day) = slip.charged {
            self.limits.get_mut(&(page.owner.clone(), page.currency)).unwrap().count(day, -minor);
        }
    }

    pub fn say(&mut self, body: &CommandBody) -> Result<(), Rejection> {
        self.commands += 1;
        let id = CommandId(self.commands);
        match body {
            CommandBody::PlaceHold(place) => self.place(id, place),
            CommandBody::CaptureHold(capture) => self.capture(id, capture),
            CommandBody::VoidHold(void) => {
                let slip = self.slip(void.hold)?;
                self.accounts.get_mut(&slip.account).unwrap().held_minor -= slip.left_minor;
                self.give_back(&slip, slip.left_minor);
                self.holds.get_mut(&void.hold).unwrap().left_minor = 0;
                Ok(())
            }
            CommandBody::ReverseEntry(reverse) => self.reverse(id, reverse),
            CommandBody::TransferUpTo(transfer) => self.up_to(id, transfer),
            CommandBody::SetFeeRule(rule) => self.set_rule(rule),
            CommandBody::ClosePeriod(close) => {
                let (mut refused, today) = (Vec::new(), self.today());
                if close.through >= today {
                    refused.push(Rejection::PeriodNotOver { today });
                }
                if let Some(through) = self.closed.filter(|closed| close.through <= *closed) {
                    refused.push(Rejection::PeriodClosed { through });
                }
                first(refused)?;
                self.closed = Some(close.through);
                Ok(())
            }
            CommandBody::SetNotificationPreferences(preferences) => {
                let version = self.preferences.entry(preferences.owner.clone()).or_default();
                newer(preferences.version, *version)?;
                *version = preferences.version;
                Ok(())
            }
            CommandBody::SetLimits(set) => self.set_limits(set),
            CommandBody::PublishRateSheet(sheet) => self.publish_sheet(sheet),
            CommandBody::ConvertFunds(convert) => self.convert(id, convert),
            CommandBody::PublishCalendar(calendar) => self.publish(calendar),
            CommandBody::OpenAccount(open) => self.open(open),
            CommandBody::FreezeAccount(act) => self.act(act.account, |page, refused| {
                if page.frozen {
                    refused.push(Rejection::AccountFrozen { account: act.account });
                }
                page.frozen = true;
            }),
            CommandBody::UnfreezeAccount(act) => self.act(act.account, |page, refused| {
                if !page.frozen {
                    refused.push(Rejection::AccountNotFrozen { account: act.account });
                }
                page.frozen = false;
            }),
            CommandBody::CloseAccount(act) => self.act(act.account, |page, refused| {
                if page.balance_minor != 0 {
                    let balance_minor = page.balance_minor;
                    refused.push(Rejection::AccountNotEmpty { account: act.account, balance_minor });
                }
                if page.held_minor != 0 {
                    let held_minor = page.held_minor;
                    refused.push(Rejection::AccountHasHolds { account: act.account, held_minor });
                }
                page.closed = true;
            }),
            CommandBody::TopUp(cash) => {
                let clearing = system("psp-clearing", cash.amount.currency);
                let fee = self.fee(FeeKind::TopUp, cash.amount, cash.fee_minor);
                let postings = [
                    Posting::debit(clearing, cash.amount),
                    Posting::credit(cash.account, cash.amount),
                    Posting::debit(cash.account, fee),
                    Posting::credit(system("income-fee", fee.currency), fee),
                ];
                let (parties, how) = ((cash.account, clearing), (true, false));
                self.money(id, cash.amount, fee, cash.effective_on, parties, how, &postings, vec![])
            }
            CommandBody::Withdraw(cash) => {
                let clearing = system("psp-clearing", cash.amount.currency);
                let fee = self.fee(FeeKind::Withdrawal, cash.amount, cash.fee_minor);
                let postings = [
                    paid(cash.account, cash.amount, fee),
                    Posting::credit(clearing, cash.amount),
                    Posting::credit(system("income-fee", fee.currency), fee),
                ];
                let (parties, how) = ((cash.account, clearing), (true, true));
                self.money(id, cash.amount, fee, cash.effective_on, parties, how, &postings, vec![])
            }
            CommandBody::PostTransfer(transfer) => {
                let fee = self.fee(FeeKind::Transfer, transfer.amount, transfer.fee_minor);
                let postings = [
                    paid(transfer.from, transfer.amount, fee),
                    Posting::credit(transfer.to, transfer.amount),
                    Posting::credit(system("income-fee", fee.currency), fee),
                ];
                let parties = (transfer.from, transfer.to);
                self.money(id, transfer.amount, fee, transfer.effective_on, parties, (false, true), &postings, vec![])
            }
            CommandBody::PostEntry(entry) => {
                let mut refused = Vec::new();
                if entry.postings.len() < 2 {
                    let count = u32::try_from(entry.postings.len()).unwrap();
                    refused.push(Rejection::PostingsOutOfBounds { count });
                }
                for posting in &entry.postings {
                    amount(posting.money.amount_minor, 1, &mut refused);
                }
                self.date(entry.effective_on, &mut refused);
                self.postings(&entry.postings, refused)?;
                self.entries.insert(id, entry.postings.to_vec());
                Ok(())
            }
        }
    }

    fn today(&self) -> CivilDate {
        Timestamp(NOON.0 + self.now).date_utc()
    }

    fn date(&self, named: Option<CivilDate>, refused: &mut Vec<Rejection>) {
        let (earliest, today) = (CivilDate::from_ymd(1900, 1, 1).unwrap(), self.today());
        let latest = CivilDate::from_days(today.days() + 366).unwrap();
        if named.is_some_and(|date| date < earliest || date > latest) {
            refused.push(Rejection::EffectiveDateOutOfRange { earliest, latest });
        }
        if let Some(through) = self.closed.filter(|closed| named.is_some_and(|date| date <= *closed)) {
            refused.push(Rejection::PeriodClosed { through });
        }
    }

    /// What the command names, or what the rule says: of the two whole numbers about the exact fee, the nearer one, and the even
    /// one where both are as near.
    fn fee(&self, kind: FeeKind, amount: Money, named: Option<i128>) -> Money {
        let by_rule = || {
            let rule = self.rules.get(&(kind, amount.currency))?;
            let exact = amount.amount_minor.checked_mul(i128::from(rule.rate_ppm))?;
            let below = exact.div_euclid(1_000_000);
            let far = |whole: i128| ((whole * 1_000_000 - exact).abs(), whole % 2 != 0);
            let nearest = [below, below + 1].into_iter().min_by_key(|whole| far(*whole))?;
            let fee = (rule.fixed_minor + nearest).max(rule.min_minor);
            Some(rule.max_minor.map_or(fee, |max| fee.min(max)))
        };
        Money::new(named.or_else(by_rule).unwrap_or(0), amount.currency)
    }

    fn set_rule(&mut self, rule: &SetFeeRule) -> Result<(), Rejection> {
        let mut refused = Vec::new();
        for part in [Some(rule.fixed_minor), Some(rule.min_minor), rule.max_minor].into_iter().flatten() {
            if part < 0 {
                refused.push(Rejection::FeeRuleInvalid);
            }
            if part > AMOUNT_MAX_MINOR {
                refused.push(Rejection::AmountTooLarge);
            }
        }
        if rule.rate_ppm > 1_000_000 || rule.max_minor.is_some_and(|max| max < rule.min_minor) {
            refused.push(Rejection::FeeRuleInvalid);
        }
        let key = (rule.kind, rule.currency);
        refused.extend(newer(rule.version, self.rules.get(&key).map_or(0, |rule| rule.version)).err());
        first(refused)?;
        self.rules.insert(key, rule.clone());
        Ok(())
    }

    fn up_to(&mut self, id: CommandId, transfer: &TransferUpTo) -> Result<(), Rejection> {
        let (from, to, at_most) = (transfer.from, transfer.to, transfer.at_most);
        let mut refused = Vec::new();
        amount(at_most.amount_minor, 1, &mut refused);
        self.date(transfer.effective_on, &mut refused);
        if from == to {
            refused.push(Rejection::SameAccount { account: from });
        }
        let lowered = self.accounts.get(&from).filter(|page| raises(page.kind, Side::Debit) < 0);
        let room = lowered.and_then(Page::room_minor);
        if let Some(available_minor) = room.filter(|room| *room <= 0) {
            refused.push(Rejection::InsufficientFunds { account: from, available_minor, required_minor: 1 });
        }
        // If a single unit is too much, so is all.
        let one = Money::new(1, at_most.currency);
        let charge = self.limited(from, Some(to), one, &mut refused);
        let left = charge.as_ref().and_then(|(key, day)| self.limits[key].left(*day));
        let bounds = [Some(at_most.amount_minor), room.filter(|room| *room > 0), left.filter(|left| *left > 0)];
        let minor = bounds.into_iter().flatten().min().unwrap();
        let moved = Money::new(minor, at_most.currency);
        let postings = [Posting::debit(from, moved), Posting::credit(to, moved)];
        self.postings(&postings, refused)?;
        self.count(charge, minor);
        self.entries.insert(id, postings.to_vec());
        Ok(())
    }

    fn place(&mut self, id: CommandId, place: &PlaceHold) -> Result<(), Rejection> {
        let (account, minor) = (place.account, place.amount.amount_minor);
        let (mut refused, now) = (Vec::new(), NOON.0 + self.now);
        amount(minor, 1, &mut refused);
        let latest = now + 400 * 86_400_000_000;
        if place.expires_at.is_some_and(|deadline| deadline.0 <= now || deadline.0 > latest) {
            refused.push(Rejection::ExpiryOutOfRange { after: Timestamp(now), latest: Timestamp(latest) });
        }
        match self.accounts.get(&account) {
            None => refused.push(Rejection::AccountNotFound { account }),
            Some(page) => {
                if page.closed {
                    refused.push(Rejection::AccountClosed { account });
                }
                if page.frozen {
                    refused.push(Rejection::AccountFrozen { account });
                }
                if page.currency != place.amount.currency {
                    refused.push(Rejection::CurrencyMismatch { account, account_currency: page.currency });
                }
                if raises(page.kind, Side::Debit) > 0 {
                    refused.push(Rejection::HoldNotPossible { account });
                }
                if let Some(available_minor) = page.room_minor()
                    && minor > available_minor
                {
                    refused.push(Rejection::InsufficientFunds { account, available_minor, required_minor: minor });
                }
            }
        }
        let charge = self.limited(account, None, place.amount, &mut refused);
        first(refused)?;
        self.accounts.get_mut(&account).unwrap().held_minor += minor;
        let charged = self.count(charge, minor);
        self.holds.insert(id, Slip { account, left_minor: minor, deadline: place.expires_at, charged });
        Ok(())
    }

    /// The hold, if something is left of it.
    fn slip(&self, hold: CommandId) -> Result<Slip, Rejection> {
        match self.holds.get(&hold) {
            None => Err(Rejection::HoldNotFound { hold }),
            Some(Slip { deadline: Some(expires_at), .. }) if expires_at.0 <= NOON.0 + self.now => {
                Err(Rejection::HoldExpired { hold, expires_at: *expires_at })
            }
            Some(slip) if slip.left_minor == 0 => Err(Rejection::HoldNotOpen { hold }),
            Some(slip) => Ok(slip.clone()),
        }
    }

    fn capture(&mut self, id: CommandId, capture: &CaptureHold) -> Result<(), Rejection> {
        let fee = self.fee(FeeKind::Capture, capture.amount, capture.fee_minor);
        let required_minor = capture.amount.amount_minor + fee.amount_minor;
        let mut refused = Vec::new();
        let slip = match self.slip(capture.hold) {
            Ok(slip) => slip,
            Err(rejection) => {
                refused.push(rejection);
                // Nothing is known of the account then: what is left is what the command says of itself.
                let nowhere = (AccountId(1), AccountId(2));
                let on = capture.effective_on;
                return self.money(id, capture.amount, fee, on, nowhere, (false, false), &[], refused);
            }
        };
        if self.accounts[&slip.account].currency == fee.currency && required_minor > slip.left_minor {
            let left_minor = slip.left_minor;
            refused.push(Rejection::CaptureAboveHold { hold: capture.hold, left_minor, required_minor });
        }
        let postings = [
            paid(slip.account, capture.amount, fee),
            Posting::credit(capture.to, capture.amount),
            Posting::credit(system("income-fee", fee.currency), fee),
        ];
        // What is captured is let go first, and so may be taken.
        self.accounts.get_mut(&slip.account).unwrap().held_minor -= required_minor;
        let parties = (slip.account, capture.to);
        let said =
            self.money(id, capture.amount, fee, capture.effective_on, parties, (false, false), &postings, refused);
        let page = self.accounts.get_mut(&slip.account).unwrap();
        if said.is_err() {
            page.held_minor += required_minor;
            return said;
        }
        let left_minor = slip.left_minor - required_minor;
        let kept_minor = if capture.last { 0 } else { left_minor };
        page.held_minor -= left_minor - kept_minor;
        self.give_back(&slip, left_minor - kept_minor);
        self.holds.get_mut(&capture.hold).unwrap().left_minor = kept_minor;
        Ok(())
    }

    fn reverse(&mut self, id: CommandId, reverse: &ReverseEntry) -> Result<(), Rejection> {
        let entry = reverse.entry;
        let mut refused = Vec::new();
        for part in reverse.postings.iter().flatten() {
            amount(part.amount_minor, 1, &mut refused);
        }
        if let Some(parts) = reverse.postings.as_ref().filter(|parts| parts.len() < 2) {
            refused.push(Rejection::PostingsOutOfBounds { count: u32::try_from(parts.len()).unwrap() });
        }
        self.date(reverse.effective_on, &mut refused);
        let known = entry.0 < id.0;
        let Some(original) = self.entries.get(&entry).cloned() else {
            refused.push(match (known, self.reversals.contains(&entry)) {
                (true, true) => Rejection::OriginalIsReversal { entry },
                (true, false) => Rejection::OriginalNotAnEntry { entry },
                (false, _) => Rejection::OriginalNotFound { entry },
            });
            return first(refused);
        };
        let mut slips = self.reversed.clone();
        let left = |slips: &[(CommandId, u32, i128)], place: u32| {
            let gone = slips.iter().filter(|slip| (slip.0, slip.1) == (entry, place)).map(|slip| slip.2).sum::<i128>();
            original.get(place as usize).map_or(0, |posting| posting.money.amount_minor - gone)
        };
        let parts: Vec<(u32, i128)> = match &reverse.postings {
            Some(parts) => parts.iter().map(|part| (part.posting, part.amount_minor)).collect(),
            None => (0..original.len() as u32)
                .map(|place| (place, left(&slips, place)))
                .filter(|(_, left)| *left > 0)
                .collect(),
        };
        if reverse.postings.is_none() && parts.is_empty() {
            refused.push(Rejection::OriginalReversed { entry });
        }
        let mut postings = Vec::new();
        for (posting, required_minor) in parts {
            let left_minor = left(&slips, posting);
            if required_minor > left_minor {
                refused.push(Rejection::ReversalAboveOriginal { entry, posting, left_minor, required_minor });
                break;
            }
            slips.push((entry, posting, required_minor));
            // Only an amount that is refused already, of zero or below, gets here for a posting that the entry does not have.
            let Some(&Posting { account, side, money }) = original.get(posting as usize) else { continue };
            let money = Money::new(required_minor, money.currency);
            postings.push(match side {
                Side::Debit => Posting::credit(account, money),
                Side::Credit => Posting::debit(account, money),
            });
        }
        if !refused.is_empty() {
            return first(refused);
        }
        self.postings(&postings, refused)?;
        self.reversed = slips;
        self.reversals.push(id);
        Ok(())
    }

    fn open(&mut self, open: &OpenAccount) -> Result<(), Rejection> {
        let mut refused = Vec::new();
        if let BalancePolicy::Limited { overdraft_minor } = open.policy {
            amount(overdraft_minor, 0, &mut refused);
        }
        let followed =
            CODES.iter().any(|code| **code == *open.code && AccountId::from_code(BOOK, code) == open.account);
        let bare = open.code.is_empty() && open.account.0 < 100;
        if !followed && !bare {
            refused.push(Rejection::AccountCodeInvalid);
        }
        if self.accounts.contains_key(&open.account) {
            refused.push(Rejection::AccountExists { account: open.account });
        }
        first(refused)?;
        self.insert(open.account, open.kind, open.currency, open.policy);
        self.accounts.get_mut(&open.account).unwrap().owner = open.owner.clone();
        Ok(())
    }

    fn insert(&mut self, id: AccountId, kind: AccountKind, currency: Currency, policy: BalancePolicy) {
        let (frozen, closed, balance_minor, held_minor, owner) = (false, false, 0, 0, "".into());
        let page = Page { currency, kind, policy, frozen, closed, balance_minor, held_minor, owner };
        self.accounts.insert(id, page);
    }

    fn act(&mut self, id: AccountId, act: impl Fn(&mut Page, &mut Vec<Rejection>)) -> Result<(), Rejection> {
        let page = self.accounts.get_mut(&id).ok_or(Rejection::AccountNotFound { account: id })?;
        let mut refused = Vec::new();
        if page.closed {
            refused.push(Rejection::AccountClosed { account: id });
        }
        let mut after = page.clone();
        act(&mut after, &mut refused);
        first(refused)?;
        *page = after;
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn money(
        &mut self,
        id: CommandId,
        money: Money,
        fee: Money,
        effective_on: Option<CivilDate>,
        parties: (AccountId, AccountId),
        (cash, limited): (bool, bool),
        postings: &[Posting],
        mut refused: Vec<Rejection>,
    ) -> Result<(), Rejection> {
        amount(money.amount_minor, 1, &mut refused);
        amount(fee.amount_minor, 0, &mut refused);
        if money.amount_minor.saturating_add(fee.amount_minor) > AMOUNT_MAX_MINOR {
            refused.push(Rejection::AmountTooLarge);
        }
        self.date(effective_on, &mut refused);
        if parties.0 == parties.1 {
            refused.push(Rejection::SameAccount { account: parties.0 });
        }
        let moved: Vec<_> = postings.iter().filter(|posting| posting.money.amount_minor > 0).copied().collect();
        let kept = self.accounts.clone();
        // The book opens its own accounts on first use: clearing if money enters or leaves, income if there is a fee.
        let clearing = system("psp-clearing", money.currency);
        if cash && !self.accounts.contains_key(&clearing) {
            self.insert(clearing, AccountKind::Asset, money.currency, BalancePolicy::Unlimited);
        }
        let income = system("income-fee", money.currency);
        if fee.amount_minor > 0 && !self.accounts.contains_key(&income) {
            self.insert(income, AccountKind::Income, money.currency, BalancePolicy::Unlimited);
        }
        let charge = match (moved.first(), moved.get(1)) {
            // Money that enters, and money that was held, is not limited.
            (Some(paid), Some(got)) if limited => {
                self.limited(paid.account, Some(got.account), paid.money, &mut refused)
            }
            _ => None,
        };
        let said = self.postings(&moved, refused);
        if said.is_ok() {
            self.count(charge, moved.first().map_or(0, |paid| paid.money.amount_minor));
        }
        if said.is_err() {
            self.accounts = kept;
        } else {
            self.entries.insert(id, moved);
        }
        said
    }

    fn postings(&mut self, postings: &[Posting], mut refused: Vec<Rejection>) -> Result<(), Rejection> {
        for posting in postings {
            let account = posting.account;
            let Some(page) = self.accounts.get(&account) else {
                refused.push(Rejection::AccountNotFound { account });
                continue;
            };
            if page.closed {
                refused.push(Rejection::AccountClosed { account });
            }
            if page.frozen {
                refused.push(Rejection::AccountFrozen { account });
            }
            if page.currency != posting.money.currency {
                refused.push(Rejection::CurrencyMismatch { account, account_currency: page.currency });
            }
        }
        for posting in postings {
            let of_currency = postings.iter().filter(|other| other.money.currency == posting.money.currency);
            let of_side = |side| {
                of_currency
                    .clone()
                    .filter(|other| other.side == side)
                    .fold(0_i128, |sum, other| sum.saturating_add(other.money.amount_minor))
            };
            let (debits_minor, credits_minor) = (of_side(Side::Debit), of_side(Side::Credit));
            if debits_minor != credits_minor {
                refused.push(Rejection::EntryUnbalanced {
                    currency: posting.money.currency,
                    debits_minor,
                    credits_minor,
                });
            }
        }
        let mut after = self.accounts.clone();
        for posting in postings {
            if let Some(page) = after.get_mut(&posting.account) {
                let change = posting.money.amount_minor.saturating_mul(raises(page.kind, posting.side));
                page.balance_minor = page.balance_minor.saturating_add(change);
            }
        }
        for posting in postings {
            let account = posting.account;
            if let (Some(before), Some(after)) = (self.accounts.get(&account), after.get(&account)) {
                let required_minor = before.balance_minor.saturating_sub(after.balance_minor);
                if let Some(available_minor) = before.room_minor()
                    && required_minor > 0
                    && after.room_minor().unwrap() < 0
                {
                    refused.push(Rejection::InsufficientFunds { account, available_minor, required_minor });
                }
            }
        }
        first(refused)?;
        self.accounts = after;
        Ok(())
    }
}

/// What is taken from who pays an amount and a fee.
fn paid(account: AccountId, amount: Money, fee: Money) -> Posting {
    Posting::debit(account, Money::new(amount.amount_minor.saturating_add(fee.amount_minor), amount.currency))
}

fn amount(minor: i128, least: i128, refused: &mut Vec<Rejection>) {
    if minor < least {
        refused.push(Rejection::AmountNotPositive);
    }
    if minor > AMOUNT_MAX_MINOR {
        refused.push(Rejection::AmountTooLarge);
    }
}

fn newer(version: u64, applied: u64) -> Result<(), Rejection> {
    if version > applied { Ok(()) } else { Err(Rejection::VersionNotNewer { applied }) }
}

/// The condition of the lowest number; of several, the one met first.
fn first(refused: Vec<Rejection>) -> Result<(), Rejection> {
    refused.into_iter().min_by_key(Rejection::number).map_or(Ok(()), Err)
}
